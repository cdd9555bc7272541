"""Polygons and their keys, from a file or frame to rings of pixel coordinates.

One way down: `paths` finds out what a source is, `frames`, `geoparquet` and `vectors` open it,
`columns` keeps what a store can hold, `keys` checks the names of zones, `wkb` walks through the
geometry once, `seams` puts together what is torn at the seam of the globe, `checks` judges every
row, GEOS those that are not `simple` beyond doubt, `reproject` brings the rings to the grid's
reference system, `rings` to its pixels; `read` is the walk through all of them. Rings are flat
arrays all the way; shapely objects are made to check, repair and rescue zones, and are not kept.
"""

from zoneraster._zones.columns import LAYER as LAYER
from zoneraster._zones.columns import given_name as given_name
from zoneraster._zones.columns import stored_name as stored_name
from zoneraster._zones.columns import tells_layers as tells_layers
from zoneraster._zones.keys import Kept as Kept
from zoneraster._zones.keys import whole_numbers as whole_numbers
from zoneraster._zones.paths import READABLE as READABLE
from zoneraster._zones.paths import is_polygons as is_polygons
from zoneraster._zones.paths import source_digest as source_digest
from zoneraster._zones.read import OnInvalid as OnInvalid
from zoneraster._zones.read import Zones as Zones
from zoneraster._zones.read import read_stable_zones as read_stable_zones
from zoneraster._zones.read import read_zones as read_zones
from zoneraster._zones.read import zone_rings as zone_rings
from zoneraster._zones.rings import Rings as Rings
from zoneraster._zones.rings import moved_onto as moved_onto
from zoneraster._zones.rings import pixel_places as pixel_places
from zoneraster._zones.wkb import FINE as FINE
from zoneraster._zones.wkb import NULL as NULL
from zoneraster._zones.wkb import objects_of as objects_of
from zoneraster._zones.wkb import walk_wkb as walk_wkb
