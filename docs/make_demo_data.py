"""Make the demo data of the package from its two sources.

usage: python docs/make_demo_data.py COUNTIES.parquet KOPPEN.tif [OUT_FOLDER]

COUNTIES  US counties (Census cartographic boundaries 1:5,000,000) with zone_id, name, geometry
KOPPEN    Koeppen-Geiger main classes, uint8, 30 arc-seconds, EPSG:4326, 0 = no data

Writes us_counties.parquet and koppen_us.tif (default folder: zoneraster/data), and prints what
it checked.
Needs the extra `raster`. Where the data come from: docs/data.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio.windows import from_bounds

# Whole degrees around the 50 states and Puerto Rico, east of the antimeridian.
US_BOUNDS = (-180.0, 17.0, -64.0, 72.0)
TILE = 512
DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / "zoneraster" / "data"


def write_counties(source: Path, target: Path) -> None:
    """Copy the counties bit for bit, and compress them harder than the source does."""
    counties = gpd.read_parquet(source, columns=["zone_id", "name", "geometry"])
    # A border is stored twice, once per neighbour. zstd sees the second copy only when both lie in
    # one page, so the page must hold the whole column: 1.5 MB instead of 1.8 MB.
    counties.to_parquet(
        target,
        index=False,
        compression="zstd",
        compression_level=19,
        data_page_size=1 << 24,
        use_dictionary=False,
    )
    check_counties(counties, gpd.read_parquet(target))


def check_counties(expected: gpd.GeoDataFrame, written: gpd.GeoDataFrame) -> None:
    """Stop unless the copy equals the source and is a clean coverage."""
    geometry = np.asarray(written.geometry.array)
    if not np.array_equal(
        shapely.to_wkb(np.asarray(expected.geometry.array)), shapely.to_wkb(geometry)
    ):
        raise SystemExit("counties changed while being written: coordinates differ from the source")
    if not expected.drop(columns="geometry").equals(written.drop(columns="geometry")):
        raise SystemExit("counties changed while being written: attributes differ from the source")
    if not shapely.is_valid(geometry).all() or not shapely.coverage_is_valid(geometry):
        raise SystemExit("the counties are not a clean coverage: look at the source")
    n_vertices = shapely.get_num_coordinates(geometry).sum()
    print(
        f"{len(written)} counties, {n_vertices} vertices, valid coverage, identical to the source"
    )


def write_koppen(source: Path, target: Path) -> None:
    """Cut the climate classes to `US_BOUNDS` along the source's own pixels."""
    with rasterio.open(source) as raster:
        window = from_bounds(*US_BOUNDS, raster.transform).round_offsets().round_lengths()
        classes = raster.read(1, window=window)
        profile = {
            "driver": "GTiff",
            "dtype": "uint8",
            "count": 1,
            "height": classes.shape[0],
            "width": classes.shape[1],
            "crs": "EPSG:4326",
            "transform": raster.window_transform(window),
            "nodata": 0,
            "tiled": True,
            "blockxsize": TILE,
            "blockysize": TILE,
            "compress": "deflate",
            "zlevel": 9,
            "sparse_ok": True,
        }
    with rasterio.open(target, "w", **profile) as raster:
        raster.write(classes, 1)
    with rasterio.open(target) as raster:
        if not np.array_equal(raster.read(1), classes):
            raise SystemExit("climate classes changed while being written")
        print(f"{raster.height} x {raster.width} pixels of climate, bounds {tuple(raster.bounds)}")


def main(arguments: list[str]) -> None:
    """Make both files."""
    if len(arguments) not in (2, 3):
        raise SystemExit(__doc__)
    counties, koppen = Path(arguments[0]), Path(arguments[1])
    folder = Path(arguments[2]) if len(arguments) == 3 else DEFAULT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_counties(counties, folder / "us_counties.parquet")
    write_koppen(koppen, folder / "koppen_us.tif")
    for name in ("us_counties.parquet", "koppen_us.tif"):
        print(f"{name}: {(folder / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
