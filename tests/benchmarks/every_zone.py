"""Zones that lie over each other, each burned alone: python every_zone.py ZONES [N] [STORE].

ZONES are the districts of the world (geoboundaries_adm.parquet), on 30 m pixels of the whole globe;
STORE is where they are built, or have been. Of N random ones (500), whatever lies over them, the
statistics of a raster of 1/20 degree are compared with those of the zone alone: by centres and by
touch with the pixels that GDAL burns of it on its own window, by covered parts with exactextract,
and parts with the area of the polygon. Where GDAL has another pixel, GEOS is asked. By covered
parts all zones must have a row, and those without a centre a part.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio
import shapely
import xarray as xr
from exactextract import exact_extract
from exactextract.raster import RasterSource
from rasterio.features import rasterize

import zoneraster as zr

Array = npt.NDArray[Any]
STEP, COARSE = 1 / 4000, 200
GRID = zr.GLOBAL_30M
STATS = ["count", "sum", "mean", "min", "max", "var"]
# Larger windows are left out: pixels for GDAL and for exactextract.
LARGEST = 1_500_000_000


def heights() -> xr.DataArray:
    """A raster of 1/20 degree, no two pixels of which are likely to be equal."""
    rng, grid = np.random.default_rng(1), zr.Grid.from_bounds((-180, -90, 180, 90), "1/20")
    pixels = 1000 * rng.standard_normal(grid.shape)
    pixels[rng.random(grid.shape) < 0.1] = np.nan
    coords = {"y": grid.y_centres(), "x": grid.x_centres()}
    array = xr.DataArray(pixels, coords=coords, dims=("y", "x"), name="height")
    return array.assign_attrs(crs="EPSG:4326")


class Window(RasterSource):
    """The raster on pixels of 30 m, as far as a zone goes, made as it is read."""

    def __init__(self, pixels: Array, window: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.pixels, self.window = pixels, window

    def res(self) -> tuple[float, float]:
        return STEP, STEP

    def extent(self) -> tuple[float, float, float, float]:
        row0, row1, col0, col1 = self.window
        return col0 / 4000 - 180, 90 - row1 / 4000, col1 / 4000 - 180, 90 - row0 / 4000

    def nodata_value(self) -> float:
        return np.nan

    def srs_wkt(self) -> None:
        return None

    def read_window(self, x0: int, y0: int, nx: int, ny: int) -> Array:
        rows = (self.window[0] + y0 + np.arange(ny)) // COARSE
        cols = (self.window[2] + x0 + np.arange(nx)) // COARSE
        return self.pixels[rows[:, None], cols[None]]


def window_of(shape: shapely.Geometry) -> tuple[int, int, int, int]:
    """First and end rows and columns around a zone."""
    west, south, east, north = shape.bounds
    row0, row1 = int((90 - north) * 4000) - 2, int((90 - south) * 4000) + 3
    col0, col1 = int((west + 180) * 4000) - 2, int((east + 180) * 4000) + 3
    return max(row0, 0), min(row1, GRID.height), max(col0, 0), min(col1, GRID.width)


def by_gdal(shape: shapely.Geometry, window: tuple[int, int, int, int], touched: bool) -> Array:
    row0, row1, col0, col1 = window
    transform = rasterio.Affine(STEP, 0, col0 / 4000 - 180, 0, -STEP, 90 - row0 / 4000)
    return rasterize([shape], (row1 - row0, col1 - col0), transform=transform, all_touched=touched)


def moments(x: Array, n: Array) -> dict[str, float]:
    """Statistics of values that occur n times."""
    has = x == x
    x, n = x[has], n[has]
    if not x.size:
        return dict.fromkeys(STATS, np.nan) | {"count": 0, "sum": 0.0}
    mean = (n * x).sum() / n.sum()
    return {
        "count": n.sum(), "sum": (n * x).sum(), "mean": mean, "min": x.min(), "max": x.max(),
        "var": (n * (x - mean) ** 2).sum() / n.sum(),
    }  # fmt: skip


def of_pixels(burned: Array, window: tuple[int, int, int, int], values: Array) -> dict[str, float]:
    """Statistics of the pixels that are burned, of each coarse pixel as often as it has some."""
    row0, row1, col0, col1 = window
    edges = [
        np.unique(np.maximum(np.arange(first // COARSE, end // COARSE + 1) * COARSE - first, 0))
        for first, end in ((row0, row1), (col0, col1))
    ]
    edges = [e[e < size] for e, size in zip(edges, burned.shape, strict=True)]
    n = np.add.reduceat(np.add.reduceat(burned, edges[1], axis=1, dtype=np.int32), edges[0], axis=0)
    rows, cols = ((first + e) // COARSE for first, e in zip((row0, col0), edges, strict=True))
    some = n > 0
    return moments(values[rows[:, None], cols[None]][some], n[some].astype(float))


def pixels_here(store: Path, key: Any, rule: str, window: tuple[int, int, int, int]) -> Array:
    """Pixels of one zone, on its window."""
    row0, row1, col0, col1 = window
    found = np.zeros((row1 - row0, col1 - col0), np.uint8)
    for batch in zr.cells(store, pixels=rule, window=window, zones=[key]):
        for r, a, b in zip(*(batch.column(i).to_numpy() for i in (1, 2, 3)), strict=True):
            found[r - row0, a - col0 : b - col0] = 1
    return found


def wrong_here(
    shape: shapely.Geometry, ours: Array, theirs: Array, corner: tuple[int, int], touched: bool
) -> tuple[int, int]:
    """Pixels of which GDAL says another thing, and those of them where GEOS is of its opinion.

    Within a millionth of a pixel of a border it has none, as the burn rule moves vertices by that.
    """
    rows, cols = np.nonzero(ours != theirs)
    x, y = (corner[1] + cols) / 4000 - 180, 90 - (corner[0] + rows) / 4000
    little = STEP * 2e-6
    if touched:
        square = shapely.box(x, y - STEP, x + STEP, y)
        is_in = shapely.area(shapely.intersection(shape, square)) > little * STEP
        is_out = shapely.distance(shape, square) > little
    else:
        centre = shapely.points(x + STEP / 2, y - STEP / 2)
        is_far = shapely.distance(shapely.boundary(shape), centre) > little
        inside = shapely.contains(shape, centre)
        is_in, is_out = is_far & inside, is_far & ~inside
    mine = ours[rows, cols] == 1
    return rows.size, int((is_in & ~mine).sum() + (is_out & mine).sum())


def far(table: pd.Series, right: dict[str, float]) -> float:
    """How far statistics are apart, each by its size."""
    size = max(abs(right["min"]), abs(right["max"]))
    sizes = {"count": right["count"], "sum": right["count"] * size, "var": size**2}
    apart = [0.0]
    for name, number in right.items():
        if np.isnan(number) and np.isnan(table[name]):
            continue
        off = abs(table[name] - number)
        apart.append(off / (sizes.get(name, size) or 1.0) if off else 0.0)
    return max(apart)


class Found:
    """What was compared, and how far it is apart at most."""

    def __init__(self) -> None:
        self.counts: dict[str, float] = dict.fromkeys(
            ["zones", "too large", "pixels", "zones with other pixels than GDAL", "such pixels",
             "wrong by GEOS"], 0
        )  # fmt: skip
        self.farthest: dict[str, float] = {}

    def add(self, name: str, apart: float) -> None:
        # A comparison with NaN is one that failed.
        self.farthest[name] = max(
            self.farthest.get(name, 0.0), np.inf if np.isnan(apart) else apart
        )


def compare(
    key: Any, shape: shapely.Geometry, store: Path, tables: dict[str, pd.DataFrame],
    values: Array, found: Found,
) -> None:  # fmt: skip
    """One zone by all rules."""
    window = window_of(shape)
    if (window[1] - window[0]) * (window[3] - window[2]) > LARGEST:
        found.counts["too large"] += 1
        return
    found.counts["zones"] += 1
    for rule in ("centre", "touched"):
        burned, own = by_gdal(shape, window, rule == "touched"), tables[rule].loc[key]
        right = of_pixels(burned, window, values)
        n = int(burned.sum(dtype=np.int64))
        found.counts["pixels"] += n
        apart = far(own, right)
        if own["pixels"] != n or apart > 1e-12:
            ours = pixels_here(store, key, rule, window)
            n_other, n_wrong = wrong_here(shape, ours, burned, window[::2], rule == "touched")
            found.counts["zones with other pixels than GDAL"] += 1
            found.counts["such pixels"] += n_other
            found.counts["wrong by GEOS"] += n_wrong
            n, apart = int(ours.sum(dtype=np.int64)), far(own, of_pixels(ours, window, values))
        found.add(f"{rule}, pixels", abs(own["pixels"] - n))
        found.add(f"{rule}, statistics", apart)
    own = tables["fraction"].loc[key]
    zone = geopandas.GeoDataFrame(geometry=[shape], crs=4326)
    names = ["count", "sum", "mean", "min", "max", "variance"]
    right = (
        exact_extract(Window(values, window), zone, names, output="pandas").astype(float).iloc[0]
    )
    found.add("fraction, exactextract", far(own, dict(zip(STATS, right.tolist(), strict=True))))
    if shape.is_valid:
        found.add("fraction, areas of valid", abs(own["pixels"] / (shape.area / STEP**2) - 1))


def all_rows(store: Path, centre: pd.DataFrame) -> dict[str, float]:
    """Covered parts of all zones."""
    begun = time.perf_counter()
    table = zr.zonal_stats(store, stats=["pixels"], pixels="fraction")
    none = centre["pixels"] == 0
    return {
        "rows": len(table), "s": time.perf_counter() - begun, "without a centre": int(none.sum()),
        "least part of these px": float(table["pixels"][none].min()),
        "without a part": int((table["pixels"] == 0).sum()),
    }  # fmt: skip


def main() -> None:
    zones, n = Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 500
    with tempfile.TemporaryDirectory() as place:
        store = Path(sys.argv[3]) if sys.argv[3:] else Path(place) / "zones.zarr"
        if not store.exists():
            zr.build(zones, store, grid=GRID, key="zone_id")
        frame = geopandas.read_parquet(zones).set_index("zone_id")
        raster, rng = heights(), np.random.default_rng(2)
        keys = rng.choice(frame.index.to_numpy(), n, replace=False)
        tables = {
            rule: zr.zonal_stats(
                store, raster, stats=["pixels", *STATS], pixels=rule, select=keys.tolist()
            )
            for rule in ("centre", "touched", "fraction")
        }  # fmt: skip
        found = Found()
        for number, key in enumerate(keys, start=1):
            compare(key, frame.geometry[key], store, tables, raster.values, found)
            if number % 100 == 0:
                print(number, found.counts, found.farthest, flush=True)
        print(json.dumps(found.counts | found.farthest, indent=1), flush=True)
        centre = zr.zonal_stats(store, stats=["pixels"])
        print(json.dumps(all_rows(store, centre)))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
