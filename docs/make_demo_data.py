"""Make the demo data of the package from its three sources.

usage: python docs/make_demo_data.py COUNTIES.parquet ATLAS.parquet KOPPEN.tif [OUT_FOLDER]

COUNTIES  US counties of 2023 (Census cartographic boundaries 1:5,000,000) with zone_id, name,
          geometry; the names are running numbers
ATLAS     US counties of 2017, drawn more coarsely, with their names; zone_id is the FIPS code
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
# By the first two digits of a FIPS code.
STATES = {
    1: "Alabama", 2: "Alaska", 4: "Arizona", 5: "Arkansas", 6: "California", 8: "Colorado",
    9: "Connecticut", 10: "Delaware", 11: "District of Columbia", 12: "Florida", 13: "Georgia",
    15: "Hawaii", 16: "Idaho", 17: "Illinois", 18: "Indiana", 19: "Iowa", 20: "Kansas",
    21: "Kentucky", 22: "Louisiana", 23: "Maine", 24: "Maryland", 25: "Massachusetts",
    26: "Michigan", 27: "Minnesota", 28: "Mississippi", 29: "Missouri", 30: "Montana",
    31: "Nebraska", 32: "Nevada", 33: "New Hampshire", 34: "New Jersey", 35: "New Mexico",
    36: "New York", 37: "North Carolina", 38: "North Dakota", 39: "Ohio", 40: "Oklahoma",
    41: "Oregon", 42: "Pennsylvania", 44: "Rhode Island", 45: "South Carolina",
    46: "South Dakota", 47: "Tennessee", 48: "Texas", 49: "Utah", 50: "Vermont", 51: "Virginia",
    53: "Washington", 54: "West Virginia", 55: "Wisconsin", 56: "Wyoming", 60: "American Samoa",
    66: "Guam", 69: "Northern Mariana Islands", 72: "Puerto Rico", 78: "US Virgin Islands",
}  # fmt: skip
# Degrees. Borders that moved less are those of another drawing.
CHANGED = 0.06
DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / "zoneraster" / "data"


def write_counties(source: Path, atlas: Path, target: Path) -> None:
    """Copy the counties bit for bit, name them, and compress them harder than the source does."""
    counties = gpd.read_parquet(source, columns=["zone_id", "name", "geometry"])
    name, state = names_and_states(counties, gpd.read_parquet(atlas))
    named = counties.assign(name=name, state=state)[["zone_id", "name", "state", "geometry"]]
    # A border is stored twice, once per neighbour. zstd sees the second copy only when both lie in
    # one page, so the page must hold the whole column: 1.5 MB instead of 1.8 MB.
    named.to_parquet(
        target,
        index=False,
        compression="zstd",
        compression_level=19,
        data_page_size=1 << 24,
        use_dictionary=False,
    )
    check_counties(named, gpd.read_parquet(target))


def names_and_states(
    counties: gpd.GeoDataFrame, atlas: gpd.GeoDataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """The name and the state of each county.

    A county has the name of that county of the atlas of which it is the likest and that is the
    likest of it, unless a piece wider than `CHANGED` lies in one of the two only: then its borders
    have changed since, and it keeps its own name. The atlas is drawn so coarsely that all others
    differ by slivers.
    """
    new = np.asarray(counties.geometry.array)
    old = shapely.make_valid(np.asarray(atlas.geometry.array))
    one, other = shapely.STRtree(old).query(new, predicate="intersects")
    common = shapely.area(shapely.intersection(new[one], old[other]))
    likeness = common / (shapely.area(new)[one] + shapely.area(old)[other] - common)
    best_old, best_new = (
        likest(one, other, likeness, len(new)),
        likest(other, one, likeness, len(old)),
    )
    # Islands that the atlas lacks are in the state of the next one.
    state_of = np.where(best_old >= 0, best_old, shapely.STRtree(old).nearest(new))
    is_same = (best_old >= 0) & (best_new[best_old] == np.arange(len(new)))
    apart = shapely.symmetric_difference(new[is_same], old[best_old[is_same]])
    is_same[is_same] = shapely.is_empty(shapely.buffer(apart, -CHANGED / 2))
    name = np.where(is_same, atlas["name"].to_numpy()[best_old], counties["name"].to_numpy())
    state = [STATES[int(code) // 1000] for code in atlas["zone_id"].to_numpy()[state_of]]
    print(f"{(~is_same).sum()} counties without a name: {', '.join(sorted(name[~is_same]))}")
    return name, np.array(state, object)


def likest(one: np.ndarray, other: np.ndarray, likeness: np.ndarray, n: int) -> np.ndarray:
    """For each of n, the other that is the likest; -1 for none."""
    best = np.full(n, -1)
    order = np.argsort(likeness, kind="stable")
    best[one[order]] = other[order]
    return best


def check_counties(expected: gpd.GeoDataFrame, written: gpd.GeoDataFrame) -> None:
    """Stop unless what was written equals what was to be, and is a clean coverage."""
    geometry = np.asarray(written.geometry.array)
    if not np.array_equal(
        shapely.to_wkb(np.asarray(expected.geometry.array)), shapely.to_wkb(geometry)
    ):
        raise SystemExit("counties changed while being written: coordinates differ from the source")
    names = [name for name in expected if name != "geometry"]
    if not all(expected[name].tolist() == written[name].tolist() for name in names):
        raise SystemExit("counties changed while being written: attributes differ from the source")
    if not shapely.is_valid(geometry).all() or not shapely.coverage_is_valid(geometry):
        raise SystemExit("the counties are not a clean coverage: look at the source")
    n_vertices = shapely.get_num_coordinates(geometry).sum()
    print(
        f"{len(written)} counties, {n_vertices} vertices, valid coverage, {', '.join(names)} and "
        "coordinates as they were to be"
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
    if len(arguments) not in (3, 4):
        raise SystemExit(__doc__)
    counties, atlas, koppen = map(Path, arguments[:3])
    folder = Path(arguments[3]) if len(arguments) == 4 else DEFAULT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_counties(counties, atlas, folder / "us_counties.parquet")
    write_koppen(koppen, folder / "koppen_us.tif")
    for name in ("us_counties.parquet", "koppen_us.tif"):
        print(f"{name}: {(folder / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
