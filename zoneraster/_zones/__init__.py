"""Polygons and their keys, from a file or frame to rings of pixel coordinates.

One way down: `sources` opens, `keys` checks the names of zones, `wkb` reads the geometry once,
`checks` judges every row, `reproject` brings rings to the grid's reference system, and `read` is
the walk through all of them.
"""

from zoneraster._zones.keys import whole_numbers as whole_numbers
from zoneraster._zones.read import OnInvalid as OnInvalid
from zoneraster._zones.read import Rings as Rings
from zoneraster._zones.read import Zones as Zones
from zoneraster._zones.read import read_zones as read_zones
from zoneraster._zones.read import zone_rings as zone_rings
