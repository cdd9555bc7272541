"""The burn rule, compiled: edges in, runs and bytes out.

`rule` says which row and column an edge decides; `edges` gathers the edges of parts; `partition`
hands them to chunks; `spans` and `overlay` turn a chunk's edges into runs, `sets` into runs of
zone sets, `cells` into covered fractions, for which `pieces` says what lies of an edge in a pixel
and `unions` what several parts cover of it; `frame` turns runs into a zstd frame; `layers` hands
zones that share pixels to layers; `arrays` copies and sorts. Arrays and integers only: numba and
NumPy are all that is imported here.
"""

from zoneraster._burn import frame as frame
from zoneraster._burn.arrays import grown as grown
from zoneraster._burn.arrays import grown_rows as grown_rows
from zoneraster._burn.arrays import put as put
from zoneraster._burn.arrays import sort_stretch as sort_stretch
from zoneraster._burn.cache import inlined as inlined
from zoneraster._burn.cache import is_compiled as is_compiled
from zoneraster._burn.cache import kept_in as kept_in
from zoneraster._burn.cache import kernel as kernel
from zoneraster._burn.cells import make_cells as make_cells
from zoneraster._burn.cells import runs_of_cells as runs_of_cells
from zoneraster._burn.cells import whole_cells as whole_cells
from zoneraster._burn.centres import zones_with_centres as zones_with_centres
from zoneraster._burn.edges import edges_in_rows as edges_in_rows
from zoneraster._burn.edges import gather_records as gather_records
from zoneraster._burn.layers import colour_zones as colour_zones
from zoneraster._burn.overlay import contested_pairs as contested_pairs
from zoneraster._burn.overlay import covered_spans as covered_spans
from zoneraster._burn.overlay import overlay_spans as overlay_spans
from zoneraster._burn.partition import partition_edges as partition_edges
from zoneraster._burn.rule import BURN_RULE as BURN_RULE
from zoneraster._burn.rule import FAR as FAR
from zoneraster._burn.rule import snap as snap
from zoneraster._burn.sets import count_values as count_values
from zoneraster._burn.sets import set_spans as set_spans
from zoneraster._burn.spans import make_spans as make_spans
