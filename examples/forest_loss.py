"""Forest loss on a tile of 10 x 10 degrees: the table of Global Forest Watch, on made-up data.

    python examples/forest_loss.py [FOLDER] [--pixels N] [--workers N]

Makes districts and three rasters in FOLDER (default ``./forest-loss``), N pixels a side: year of
loss, tree cover and emissions. 40,000 is a tile at 30 m; the default of 4,000 is quick.
Then sums up lost hectares and emissions by district, year and tree cover, rolls them up to
provinces and countries, and compares districts with plain NumPy. Exits with 1 on a mismatch. A
second run finds rasters, zones and partials and only merges.
"""

# ruff: noqa: T201 - an example prints
from __future__ import annotations

import argparse
import sys
import time
from fractions import Fraction
from pathlib import Path

import dask.array as da
import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import xarray as xr

import zoneraster as zr

WEST, SOUTH, SIDE = 10, 0, 10
YEARS = range(1, 24)
THRESHOLDS = (10, 15, 20, 25, 30, 50, 75)
NODATA = -9999.0
PATCH = 16  # pixels a side that are lost together
LAYERS = {
    "lossyear": ("uint8", None, None),
    "treecover": ("uint8", "percent", None),
    "co2e": ("float32", "Mg/ha", NODATA),
}
# With more pixels a side, this many districts are checked instead of all.
CHECK_ALL, CHECKED = 4_000, 10


# ---- zones -------------------------------------------------------------------------------------


def make_districts(n: int = 300, *, seed: int = 5) -> geopandas.GeoDataFrame:
    """Cells around random points, in provinces of six countries, of which one is sea.

    Parameters
    ----------
    n : int
        Number of points.
    seed : int
    """
    rng = np.random.default_rng(seed)
    corner, tile = (WEST, SOUTH), shapely.box(WEST, SOUTH, WEST + SIDE, SOUTH + SIDE)
    points = shapely.MultiPoint(rng.uniform(0, SIDE, (n, 2)) + corner)
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=tile))
    cells = shapely.intersection(cells, tile)
    centres = shapely.get_coordinates(shapely.centroid(cells))
    order = np.lexsort(centres.T)
    cells, centres = cells[order], centres[order]
    province = nearest(centres, rng.uniform(0, SIDE, (30, 2)) + corner)
    middles = np.array([centres[province == p].mean(axis=0) for p in np.unique(province)])
    country = nearest(middles, rng.uniform(0, SIDE, (6, 2)) + corner)[
        np.searchsorted(np.unique(province), province)
    ]
    names = np.array(["Avaria", "Borland", "Cestria", "Dolvia", "Elmark", "sea"])
    districts = geopandas.GeoDataFrame(
        {
            "adm2": np.arange(1, cells.size + 1),
            "adm1": [
                f"{names[c][:3].upper()}.{p + 1}" for c, p in zip(country, province, strict=True)
            ],
            "adm0": names[country],
        },
        geometry=cells,
        crs="EPSG:4326",
    )
    return districts[districts["adm0"] != "sea"].reset_index(drop=True)


def nearest(
    places: npt.NDArray[np.float64], seeds: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Number of the seed that is nearest to each place; (n, 2) and (m, 2) to (n,)."""
    return np.hypot(*(places[:, None] - seeds[None]).T).argmin(axis=0)


# ---- rasters -----------------------------------------------------------------------------------


def make_pixels(
    name: str, rows: tuple[int, int], cols: tuple[int, int], pixels: int
) -> npt.NDArray[np.uint8 | np.float32]:
    """Pixels of a window of a raster; each depends on its place alone."""
    row, col = np.arange(*rows)[:, None], np.arange(*cols)[None, :]
    u, v = (row / pixels).astype("float32"), (col / pixels).astype("float32")
    wave = 45 + 40 * np.sin(17 * u) * np.cos(13 * v) + 30 * np.sin(41 * u + 1) * np.sin(37 * v)
    cover = np.clip(wave, 0, 100).astype("uint8")
    if name == "treecover":
        return cover
    chance = hashed(row // PATCH, col // PATCH)
    ragged = (row * 7 + col * 5) % PATCH > 2
    lost = np.where((chance % 1000 < 45) & ragged & (cover > 0), chance % len(YEARS) + 1, 0)
    if name == "lossyear":
        return lost.astype("uint8")
    rate = cover * np.float32(4.5) + (chance % 97).astype("float32")
    unknown = chance // 1000 % 50 == 0
    return np.where((lost == 0) | unknown, np.float32(NODATA), rate).astype("float32")


def hashed(row: npt.NDArray[np.int64], col: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """A number for each place that looks random."""
    x = row.astype("uint64") * np.uint64(0x9E3779B1) + col.astype("uint64") * np.uint64(0x85EBCA77)
    x = (x ^ (x >> np.uint64(15))) * np.uint64(0x2C1B3C6D)
    return (x ^ (x >> np.uint64(12))) & np.uint64(2**32 - 1)


def write_raster(path: Path, name: str, grid: zr.Grid, side: int) -> None:
    """Write a raster chunk by chunk, under its name once it is whole."""
    dtype, units, nodata = LAYERS[name]
    height, width = grid.shape

    def block(block_info: dict[object, dict[str, object]]) -> npt.NDArray[np.generic]:
        rows, cols = block_info[None]["array-location"]  # type: ignore[misc]
        return make_pixels(name, rows, cols, height)

    chunks = tuple(
        tuple(min(side, n - start) for start in range(0, n, side)) for n in (height, width)
    )
    array = xr.DataArray(
        da.map_blocks(block, chunks=chunks, dtype=dtype, meta=np.empty((0, 0), dtype)),
        coords={"lat": grid.y_centres(), "lon": grid.x_centres()},
        dims=("lat", "lon"),
        attrs={} if units is None else {"units": units},
    )
    encoding = {} if nodata is None else {name: {"_FillValue": nodata}}
    unfinished = path.with_suffix(".partial.zarr")
    array.to_dataset(name=name).to_zarr(unfinished, mode="w", encoding=encoding, consolidated=False)
    unfinished.rename(path)


# ---- tables ------------------------------------------------------------------------------------


def make_table(
    zones: Path, rasters: dict[str, Path], kept: Path, workers: int | None, **options: object
) -> pd.DataFrame:
    """Lost hectares and emissions by zone or `roll_up`, year and tree cover.

    Lost pixels without an emission count for the area too, hence `pixel_area`.
    """
    loss = zr.Raster(rasters["lossyear"])
    table = zr.zonal_stats(
        zones,
        {"co2e": rasters["co2e"]},
        stats=["pixels", "pixel_area", "nodata", "area_sum"],
        by={
            "year": zr.labels(loss, list(YEARS), unlisted="error"),
            "tree_cover": zr.thresholds(rasters["treecover"], THRESHOLDS),
        },
        where=loss >= 1,
        area="ha",
        checkpoint=kept,
        workers=workers,
        **options,
    )
    names = {"pixel_area_ha": "area_ha", "nodata": "no_emission", "area_sum_Mg": "co2e_mg"}
    return table.rename(columns=names)


# ---- checks ------------------------------------------------------------------------------------


def row_hectares(grid: zr.Grid) -> npt.NDArray[np.float64]:
    """Area of a pixel of each row by the radii of curvature in its middle, no closed form."""
    a, f = 6378137.0, 1 / 298.257223563
    step, e2 = np.radians(float(grid.resolution[0])), f * (2 - f)
    latitude = np.radians(grid.y_centres())
    w2 = 1 - e2 * np.sin(latitude) ** 2
    return a * a * (1 - e2) / w2**2 * np.cos(latitude) * step * step / 1e4


def expected_rows(
    opened: dict[str, xr.DataArray], number: int, district: shapely.Polygon, grid: zr.Grid
) -> dict[tuple[int, int], tuple[int, float, float]]:
    """Pixels, hectares and emissions of a district by year and threshold, from whole arrays."""
    west, south, east, north = district.bounds
    (u0, u1), (v0, v1) = grid.to_pixels([west, east], [north, south])
    rows = slice(max(0, int(v0) - 1), int(v1) + 2)
    cols = slice(max(0, int(u0) - 1), int(u1) + 2)
    own = opened["zone"][rows, cols].to_numpy() == number
    loss, cover, rate = (opened[name][rows, cols].to_numpy()[own] for name in LAYERS)
    area = np.broadcast_to(row_hectares(grid)[rows, None], own.shape)[own]
    total = np.where(rate == np.float32(NODATA), 0, rate.astype("float64")) * area
    found = {}
    for year in YEARS:
        for threshold in THRESHOLDS:
            chosen = (loss == year) & (cover >= threshold)
            if chosen.any():
                found[year, threshold] = (
                    int(chosen.sum()), float(area[chosen].sum()), float(total[chosen].sum())
                )  # fmt: skip
    return found


def n_wrong_districts(
    table: pd.DataFrame, zones: Path, rasters: dict[str, Path], grid: zr.Grid
) -> int:
    """Compare districts with plain NumPy and tell about those that differ."""
    districts = zr.zones(zones)
    if grid.height > CHECK_ALL:
        districts = districts.iloc[:: -(-len(districts) // CHECKED)]
    opened = {"zone": zr.open(zones).zone}
    for name, path in rasters.items():
        opened[name] = xr.open_zarr(path, mask_and_scale=False, consolidated=False)[name]
    if grid.height <= CHECK_ALL:
        opened = {name: array.compute() for name, array in opened.items()}
    wrong = 0
    for number, name, shape in zip(
        districts["zone_id"], districts["adm2"], districts.geometry, strict=True
    ):
        expected = expected_rows(opened, number, shape, grid)
        rows = table[table.index.get_level_values("adm2") == name].droplevel("adm2")
        found = {
            key: (row.pixels, row.area_ha, row.co2e_mg)
            for key, row in zip(rows.index, rows.itertuples(index=False), strict=True)
        }
        same = found.keys() == expected.keys() and all(
            np.allclose(found[key], expected[key], rtol=1e-6) for key in expected
        )
        if not same:
            wrong += 1
            print(f"district {name}: {found} instead of {expected}", file=sys.stderr)
    print(f"{len(districts) - wrong} of {len(districts)} districts checked are as NumPy has them")
    return wrong


def is_sum_of(rolled: pd.DataFrame, table: pd.DataFrame, names: list[str]) -> bool:
    """Whether a table that was rolled up holds the sums of districts."""
    sums = table.groupby([*names, "year", "tree_cover"])[list(rolled.columns)].sum()
    same = len(sums) == len(rolled) and np.allclose(sums.loc[rolled.index], rolled, rtol=1e-9)
    print(
        f"{' x '.join(names)}: {len(rolled):,} rows, {'' if same else 'NOT '}the sums of districts"
    )
    return same


# ---- main --------------------------------------------------------------------------------------


def prepare(
    folder: Path, pixels: int, workers: int | None
) -> tuple[zr.Grid, Path, dict[str, Path]]:
    """Make what is not there yet: the zone store and the rasters."""
    side = min(4_000, max(1, pixels // 10))
    bounds = (WEST, SOUTH, WEST + SIDE, SOUTH + SIDE)
    grid = zr.Grid.from_bounds(bounds, Fraction(SIDE, pixels))
    zones = folder / "zones.zarr"
    print(zr.build(make_districts(), zones, grid=grid, key="adm2", chunks=side, workers=workers))
    rasters = {name: folder / f"{name}.zarr" for name in LAYERS}
    for name, path in rasters.items():
        if not path.exists():
            write_raster(path, name, grid, side)
    return grid, zones, rasters


def main(arguments: list[str] | None = None) -> int:
    """Run the example; 0 when all checks agree."""
    parser = argparse.ArgumentParser(description="Forest loss by district, year and tree cover.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("forest-loss"))
    parser.add_argument("--pixels", type=int, default=4_000, help="side; 40,000 is a tile at 30 m")
    parser.add_argument("--workers", type=int, help="threads; all cores by default")
    options = parser.parse_args(arguments)
    if options.pixels < 1:
        parser.error("--pixels must be 1 or more")
    folder = options.folder / str(options.pixels)
    grid, zones, rasters = prepare(folder, options.pixels, options.workers)
    kept = folder / "checkpoint"
    start = time.perf_counter()
    table = make_table(zones, rasters, kept, options.workers)
    seconds = time.perf_counter() - start
    print(f"districts: {len(table):,} rows in {seconds:.1f} s")
    provinces = make_table(zones, rasters, kept, options.workers, roll_up=["adm0", "adm1"])
    countries = make_table(zones, rasters, kept, options.workers, roll_up="adm0")
    forest = countries.xs(30, level="tree_cover")
    for column in ("area_ha", "co2e_mg"):
        print(f"\n{column} where tree cover is 30 % or more, first years")
        by_year = forest[column].unstack("year", fill_value=0).sort_index(axis=1)
        print(by_year.iloc[:, :6].round().to_string())
    print("\naudit", *table.attrs["audit"].items(), sep="\n  ")
    wrong = n_wrong_districts(table, zones, rasters, grid)
    wrong += not is_sum_of(provinces, table.join(district_names(zones)), ["adm0", "adm1"])
    wrong += not is_sum_of(countries, table.join(district_names(zones)), ["adm0"])
    return 1 if wrong else 0


def district_names(zones: Path) -> pd.DataFrame:
    """Province and country of each district."""
    return pd.DataFrame(zr.zones(zones)[["adm2", "adm1", "adm0"]]).set_index("adm2")


if __name__ == "__main__":
    sys.exit(main())
