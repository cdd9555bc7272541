"""Value rasters: how they are opened, where they lie, how a window of them is read.

A `Raster` says what to open and how; `open` opens it, by kind: `files` (GeoTIFF), `zarrs` (with
`chunks`), `datasets` (NetCDF, HDF, GRIB) and `arrays` (xarray, NumPy); several of them, which
`listing` finds, a `vrt` places or `stac` items name, make a `mosaic`. An `OpenRaster` (`opened`) is
read window by window, whatever it is made of, and `decoding` turns what is stored into values.
`grid_of` finds a raster's grid, with `axes`, which tells rows, columns and their places; `align`
places it on the lattice, by its `relation` to the store's grid and whole turns of `longitudes`, and
`resample` (with `warp`) brings it there where it does not fit. No store is known here.
"""

from zoneraster._values.align import AlignedRaster as AlignedRaster
from zoneraster._values.align import Placement as Placement
from zoneraster._values.align import aligned as aligned
from zoneraster._values.align import common_fineness as common_fineness
from zoneraster._values.align import pixels_under as pixels_under
from zoneraster._values.align import place as place
from zoneraster._values.attributes import NODATA_NAMES as NODATA_NAMES
from zoneraster._values.attributes import is_improbable as is_improbable
from zoneraster._values.decoding import Block as Block
from zoneraster._values.numbers import as_precise as as_precise
from zoneraster._values.numbers import least_whole as least_whole
from zoneraster._values.numbers import plain_number as plain_number
from zoneraster._values.open import grid_like as grid_like
from zoneraster._values.open import is_raster_place as is_raster_place
from zoneraster._values.open import open_raster as open_raster
from zoneraster._values.open import open_rasters as open_rasters
from zoneraster._values.open import place_of as place_of
from zoneraster._values.open import source_key as source_key
from zoneraster._values.opened import Lanes as Lanes
from zoneraster._values.opened import OpenRaster as OpenRaster
from zoneraster._values.raster import Combination as Combination
from zoneraster._values.raster import Comparison as Comparison
from zoneraster._values.raster import Negation as Negation
from zoneraster._values.raster import Predicate as Predicate
from zoneraster._values.raster import Raster as Raster
from zoneraster._values.raster import RasterLike as RasterLike
from zoneraster._values.raster import as_raster as as_raster
from zoneraster._values.raster import label_of as label_of
from zoneraster._values.resample import check_method as check_method
from zoneraster._values.resample import method_of as method_of
from zoneraster._values.zarrs import ZARR_NODES as ZARR_NODES
