"""Value rasters: how they are opened, where they lie, how a window of them is read.

A `Raster` says what to open and how; `open` opens it; an `OpenRaster` is read window by window,
whatever it is made of; `grid_of` finds a raster's grid; `align` places it on the lattice, and
`resample` brings it there where it does not fit. No store is known here.
"""

from zoneraster._values.align import Placement as Placement
from zoneraster._values.align import hull as hull
from zoneraster._values.align import pixels_under as pixels_under
from zoneraster._values.align import place as place
from zoneraster._values.align import read_unit as read_unit
from zoneraster._values.align import relation as relation
from zoneraster._values.grid_of import grid_like as grid_like
from zoneraster._values.open import open_raster as open_raster
from zoneraster._values.open import open_rasters as open_rasters
from zoneraster._values.opened import Block as Block
from zoneraster._values.opened import Lanes as Lanes
from zoneraster._values.opened import OpenRaster as OpenRaster
from zoneraster._values.pixels import ZARR_NODES as ZARR_NODES
from zoneraster._values.pixels import FilePixels as FilePixels
from zoneraster._values.pixels import ZarrPixels as ZarrPixels
from zoneraster._values.pixels import get_or_none as get_or_none
from zoneraster._values.raster import COMPARISONS as COMPARISONS
from zoneraster._values.raster import Combination as Combination
from zoneraster._values.raster import Comparison as Comparison
from zoneraster._values.raster import Negation as Negation
from zoneraster._values.raster import Predicate as Predicate
from zoneraster._values.raster import Raster as Raster
from zoneraster._values.raster import RasterLike as RasterLike
from zoneraster._values.raster import as_raster as as_raster
from zoneraster._values.raster import label_of as label_of
from zoneraster._values.resample import check_method as check_method
from zoneraster._values.resample import resampled as resampled
