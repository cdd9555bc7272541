"""Grids, windows and how they are cut: integers and fractions, no I/O.

A `Grid` is a reference system, a north-up lattice and a shape; `crs` compares reference systems;
`fractions` tells which number a float stands for; a `Window` is rows and columns; a `Chunking` cuts
a grid into chunks and batches; `areas` has the true area of the pixels of a row; `apart` says why
places do not meet.
"""

from zoneraster._grid.apart import likely_reason as likely_reason
from zoneraster._grid.areas import row_areas as row_areas
from zoneraster._grid.chunking import BATCH_SIDES as BATCH_SIDES
from zoneraster._grid.chunking import MIN_BATCHES as MIN_BATCHES
from zoneraster._grid.chunking import Chunking as Chunking
from zoneraster._grid.chunking import block_window as block_window
from zoneraster._grid.chunking import blocks_near as blocks_near
from zoneraster._grid.chunking import blocks_of as blocks_of
from zoneraster._grid.chunking import blocks_under as blocks_under
from zoneraster._grid.chunking import n_blocks as n_blocks
from zoneraster._grid.crs import checked_crs as checked_crs
from zoneraster._grid.crs import crs_name as crs_name
from zoneraster._grid.crs import has_wgs84_shape as has_wgs84_shape
from zoneraster._grid.crs import is_in_degrees as is_in_degrees
from zoneraster._grid.crs import same_crs as same_crs
from zoneraster._grid.fractions import SNAP_PIXELS as SNAP_PIXELS
from zoneraster._grid.fractions import STEP_TOLERANCE as STEP_TOLERANCE
from zoneraster._grid.fractions import exact as exact
from zoneraster._grid.fractions import simplest as simplest
from zoneraster._grid.fractions import simplest_between as simplest_between
from zoneraster._grid.grid import MAX_PIXEL_COORDINATE as MAX_PIXEL_COORDINATE
from zoneraster._grid.grid import Grid as Grid
from zoneraster._grid.grid import columns_around as columns_around
from zoneraster._grid.windows import Window as Window
from zoneraster._grid.windows import hull as hull
