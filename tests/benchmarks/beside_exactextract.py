"""Random polygons and rasters beside exactextract: python beside_exactextract.py [20000] [SEED].

500 polygons at a time (stars, slivers, frames, several parts, vertices on borders and centres of
pixels, some partly off the raster) on two random rasters of 80 x 60 pixels, in metres or degrees:
eight dtypes; nodata none, NaN or a number; values that all differ, classes, noise; weights with and
without nodata, on the raster's pixels or coarser, or finer and then with a store on their pixels.

Each part of a pixel must be the area that GEOS finds there to 1e-11 of the pixel, and whatever both
can do be what NumPy makes of these parts to 1e-9. Where exactextract differs by more than 1e-6
there must be a cause that numbers show: `causes` has them all, and most go by what NumPy makes of
the parts that exactextract tells. What has none is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely
import xarray as xr
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource

import zoneraster as zr

Array = npt.NDArray[Any]
Table = dict[str, Array]
HEIGHT, WIDTH, N = 60, 80, 500
GRIDS = {
    "metres": zr.Grid.from_bounds((500_000, 0, 508_000, 6_000), 100, "EPSG:32633"),
    "degrees": zr.Grid.from_bounds((10, 40, 18, 46), "1/10", "EPSG:4326"),
}
DTYPES = ("uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64")
QUANTILES = (0.1, 0.5, 0.9)
WGS84, SPHERE = "+ellps=WGS84", "+R=6378137"
CLOSE, SAME, PARTS = 1e-6, 1e-9, 1e-11
MEMORY = 4 * 2**30


# ---- polygons and rasters ------------------------------------------------------------------------


def snapped(places: Array) -> Array:
    """As the burn rule takes them: within a millionth of half a pixel on it."""
    half = np.round(places * 2) / 2
    return np.where(np.abs(places - half) <= 2.0**-20, half, places)


def star(rng: np.random.Generator, at: Array, radius: float) -> Array:
    n = int(rng.integers(3, 16))
    angle, reach = np.sort(rng.random(n)) * 2 * np.pi, radius * rng.uniform(0.2, 1, n)
    return at + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def polygon(rng: np.random.Generator) -> shapely.Geometry | None:
    """A random one in pixels, valid where the burn rule takes it; None where it has collapsed."""
    kind, at = rng.integers(6), rng.uniform((0, 0), (WIDTH, HEIGHT))
    radius = 10 ** rng.uniform(-1.5, 1.2)
    points = star(rng, at, radius)
    if kind == 1:
        points = at + (points - at) * (0.02, 1)
    if kind in (2, 3):
        points = np.round(points * (kind - 1)) / (kind - 1)
    shape = shapely.make_valid(shapely.Polygon(points))
    if kind == 4:
        shape = shape.difference(shapely.make_valid(shapely.Polygon(at + 0.5 * (points - at))))
    if kind == 5:
        other = shapely.make_valid(shapely.Polygon(star(rng, at + radius, radius)))
        shape = shapely.union(shape, other)
    shape = shapely.transform(shape, snapped)
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    found = shapely.MultiPolygon(parts)
    return found if found.is_valid and found.area > 1e-5 else None


@dataclass(frozen=True)
class Raster:
    """Pixels, where they lie, and what stands for none."""

    pixels: Array
    grid: zr.Grid
    nodata: float | int | None

    def ours(self, name: str) -> xr.DataArray:
        coords = {"y": self.grid.y_centres(), "x": self.grid.x_centres()}
        array = xr.DataArray(self.pixels, coords=coords, dims=("y", "x"), name=name)
        array = array.assign_attrs(crs=self.grid.crs.to_string())
        return array if self.nodata is None else array.assign_attrs(_FillValue=self.nodata)

    def theirs(self) -> NumPyRasterSource:
        return NumPyRasterSource(
            self.pixels, *self.grid.bounds, nodata=self.nodata, srs_wkt=self.grid.crs.to_wkt()
        )

    def at(self, cell: Array, width: int) -> Array:
        """Values below pixels of a finer lattice, NaN without one, float64."""
        factor = width // self.grid.width
        found = self.pixels[cell // width // factor, cell % width // factor]
        is_none = np.isnan(found) if self.nodata is None else found == self.nodata
        return np.where(is_none | (found != found), np.nan, found.astype(float))


def scaled(grid: zr.Grid, factor: int) -> zr.Grid:
    """The same place with pixels so many times finer."""
    step = [float(size) / factor for size in grid.resolution]
    origin = grid.origin
    shape = (int(grid.height * factor), int(grid.width * factor))
    return zr.Grid(grid.crs, (step[0], 0, origin[0], 0, -step[1], origin[1]), shape)


def values(rng: np.random.Generator, grid: zr.Grid, kind: str) -> Raster:
    dtype = np.dtype(rng.choice(DTYPES))
    if kind == "distinct":
        pixels: Array = rng.permutation(grid.height * grid.width).reshape(grid.shape) % 65_000
        pixels = pixels % 250 if dtype == np.uint8 else pixels
    elif kind == "classes":
        pixels = (1 + (dtype == np.int16)) * rng.integers(0, 5, grid.shape)
    else:
        pixels = rng.choice([0, 1e4]) + 1000 * rng.standard_normal(grid.shape)
        limits = (0, 250) if dtype == np.uint8 else (0 if dtype.kind == "u" else -9000, 30_000)
        pixels = np.clip(pixels, *limits)
    if dtype == np.int16:
        pixels = pixels // 2
    pixels = pixels.astype(dtype)
    nodata: float | int | None = None
    share = rng.choice([0, 0.1, 0.5])
    if share:
        number = np.iinfo(dtype).max if dtype.kind == "u" else -9999
        nodata = float(rng.choice([np.nan, number])) if dtype.kind == "f" else int(number)
        pixels[rng.random(grid.shape) < share] = nodata
    return Raster(pixels, grid, nodata)


def weights(rng: np.random.Generator, grid: zr.Grid) -> Raster:
    dtype = str(rng.choice(["float32", "float64", "uint8"]))
    pixels = (rng.gamma(0.7, 20.0, grid.shape) % 250).astype(dtype)
    nodata: float | int | None = None
    share = rng.choice([0, 0.1])
    if share:
        nodata = 255 if dtype == "uint8" else float(rng.choice([np.nan, -1]))
        pixels[rng.random(grid.shape) < share] = nodata
    return Raster(pixels, grid, nodata)


# ---- by NumPy ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """What is covered of pixels: zone, pixel of the lattice and part, one row for each pair."""

    zone: Array
    cell: Array
    part: Array

    def take(self, some: Array) -> Parts:
        return Parts(self.zone[some], self.cell[some], self.part[some])


def parts_by_geos(shapes: list[shapely.Geometry], factor: int) -> Parts:
    """Areas of polygons in the pixels of a lattice `factor` times finer."""
    found = []
    # The burn rule takes vertices by the pixels of the lattice.
    placed = [shapely.transform(shape, lambda at: snapped(at * factor)) for shape in shapes]
    for number, shape in enumerate(placed):
        low_x, low_y, high_x, high_y = shape.bounds
        cols = np.arange(max(int(low_x), 0), min(int(np.ceil(high_x)), WIDTH * factor))
        rows = np.arange(max(int(low_y), 0), min(int(np.ceil(high_y)), HEIGHT * factor))
        col, row = (places.ravel() for places in np.meshgrid(cols, rows))
        squares = shapely.box(col, row, col + 1, row + 1)
        shapely.prepare(shape)
        part = shapely.contains(shape, squares).astype(float)
        cut = shapely.intersects(shape, squares) & (part == 0)
        part[cut] = shapely.area(shapely.intersection(shape, squares[cut]))
        some = part > 0
        cell = row[some] * WIDTH * factor + col[some]
        found.append((np.full(cell.size, number), cell, part[some]))
    return Parts(*map(np.concatenate, zip(*found, strict=True)))


def areas_of(grid: zr.Grid, ellipsoid: str) -> Array:
    """Of each pixel, by an equal-area projection of its corners in degrees."""
    x = np.linspace(grid.bounds[0], grid.bounds[2], grid.width + 1)
    y = np.linspace(grid.bounds[3], grid.bounds[1], grid.height + 1)
    if grid.is_geographic:
        equal_area = pyproj.Proj(f"+proj=cea {ellipsoid}")
        x, y = equal_area(x, 0 * x)[0], equal_area(0 * y, y)[1]
    return (-np.diff(y)[:, None] * np.diff(x)[None]).ravel()


def quantile(x: Array, part: Array, q: float, *, are_joined: bool) -> float:
    """The formula of the page on statistics, equal values first joined or not."""
    if not x.size:
        return np.nan
    if are_joined:
        x, where = np.unique(x, return_inverse=True)
        part = np.bincount(where, part)
    order = np.lexsort((part, x))
    x, part, n = x[order], part[order], x.size
    s = np.arange(n) * part + (n - 1) * np.concatenate([[0.0], np.cumsum(part)[:-1]])
    return float(np.interp(q * (n - 1) * part.sum(), s, x))


def moments(zone: Array, x: Array, part: Array) -> Table:
    """Count, sum, mean and variance of values by zone, and what they are measured by."""

    def total(amount: Array) -> Array:
        return np.bincount(zone, amount, N)

    count, amount = total(part), total(part * x)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = amount / count
        variance = total(part * (x - mean[zone]) ** 2) / count
        size = total(part * np.abs(x))
        most = np.zeros(N)
        np.maximum.at(most, zone, np.abs(x))
        return {
            "count": count, "sum": amount, "mean": mean, "var": variance, "std": np.sqrt(variance),
            "count by": count, "sum by": size, "mean by": size / count,
            "var by": variance + 1e-6 * most**2,
        }  # fmt: skip


def by_numpy(parts: Parts, case: Case) -> Table:
    """All statistics from what is covered of pixels; "by" is what differences are measured by."""
    x, w = (raster.at(parts.cell, case.lattice.width) for raster in (case.values, case.weights))
    areas = [areas_of(case.lattice, ellipsoid)[parts.cell] for ellipsoid in (WGS84, SPHERE)]
    has = x == x
    zone, x, w, part = parts.zone[has], x[has], w[has], parts.part[has]
    area, sphere = (a[has] for a in areas)
    found = moments(zone, x, part)
    with np.errstate(divide="ignore", invalid="ignore"):
        for what, a in (("", area), ("sphere ", sphere)):
            total, amount = (np.bincount(zone, part * a * y, N) for y in (1.0, x))
            found |= {
                f"{what}area": total, f"{what}area_sum": amount,
                f"{what}area_mean": amount / total,
            }  # fmt: skip
        found["area by"] = found["area"]
        found["area_sum by"] = np.bincount(zone, part * area * np.abs(x), N)
        found["area_mean by"] = found["area_sum by"] / found["area"]
    low, high = np.full(N, np.inf), np.full(N, -np.inf)
    np.minimum.at(low, zone, x)
    np.maximum.at(high, zone, x)
    is_some = np.bincount(zone, minlength=N) > 0
    found["min"], found["max"] = (np.where(is_some, y, np.nan) for y in (low, high))
    touched = moments(zone, x, np.ones(x.size))
    found |= {f"touched {name}": one for name, one in touched.items()}
    found |= order_statistics(zone, x, part)
    weighed = w == w
    loaded = moments(zone[weighed], x[weighed], (part * w)[weighed])
    found |= {f"weighted_{name}": one for name, one in loaded.items()}
    found["without"] = np.bincount(zone, ~weighed, N)
    if case.has_classes:
        for value in range(5):
            for name, load, some in (
                ("fractions", part, has[has]),
                ("weighted_frac", part * w, weighed),
            ):
                own, of = (np.bincount(zone[k], load[k], N) for k in (some & (x == value), some))
                found[f"{name}_{value}"] = np.divide(own, of, out=np.full(N, np.nan), where=of != 0)
    return found


def order_statistics(zone: Array, x: Array, part: Array) -> Table:
    """What needs the values of each zone one by one."""
    names = ["majority", "minority", *(f"{how}{q}" for q in QUANTILES for how in ("q", "joined q"))]
    found = {name: np.full(N, np.nan) for name in names} | {"variety": np.zeros(N)}
    order = np.argsort(zone, kind="stable")
    cuts = np.searchsorted(zone[order], np.arange(1, N))
    for number, own in enumerate(np.split(order, cuts)):
        kinds, where = np.unique(x[own], return_inverse=True)
        found["variety"][number] = kinds.size
        if not kinds.size:
            continue
        amount = np.bincount(where, part[own])
        found["majority"][number] = kinds[amount.argmax()]
        found["minority"][number] = kinds[amount.argmin()]
        for q in QUANTILES:
            found[f"q{q}"][number] = quantile(x[own], part[own], q, are_joined=False)
            found[f"joined q{q}"][number] = quantile(x[own], part[own], q, are_joined=True)
    return found


# ---- here and by exactextract --------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Zones, a raster and weights, on the pixels of one of them."""

    frame: geopandas.GeoDataFrame
    lattice: zr.Grid
    values: Raster
    weights: Raster
    has_classes: bool

    @property
    def weights_are_finer(self) -> bool:
        return self.weights.grid.width > self.values.grid.width


def make_cases(rng: np.random.Generator) -> tuple[list[Case], list[shapely.Geometry]]:
    """Two rasters for the same zones and weights, and the zones in pixels."""
    shapes: list[shapely.Geometry] = []
    while len(shapes) < N:
        shapes += [shape for shape in [polygon(rng)] if shape is not None]
    grid = GRIDS[str(rng.choice(["metres", "degrees"]))]
    (west, _, _, north), (step_x, step_y) = grid.bounds, map(float, grid.resolution)
    origin, step = np.array([west, north]), np.array([step_x, -step_y])
    placed = [shapely.transform(shape, lambda at: origin + step * at) for shape in shapes]
    frame = geopandas.GeoDataFrame({"zone": np.arange(N)}, geometry=placed, crs=grid.crs)
    has_classes = rng.random() < 0.3
    kinds = ["classes"] if has_classes else ["distinct", "noise"]
    rasters = [values(rng, grid, str(rng.choice(kinds))) for _ in range(2)]
    factor = rng.choice([1, 1, 1, 0.5, 0.25, 2, 3])
    loads = weights(rng, scaled(grid, factor))
    lattice = loads.grid if factor > 1 else grid
    return [Case(frame, lattice, raster, loads, has_classes) for raster in rasters], shapes


PLAIN = {
    "count": "count", "sum": "sum", "mean": "mean", "min": "min", "max": "max", "var": "variance",
    "std": "stdev", "variety": "variety", "majority": "mode", "minority": "minority",
    "q0.1": "quantile(q=0.1)", "q0.5": "median", "q0.9": "quantile(q=0.9)",
}  # fmt: skip
WEIGHTED = {
    "weighted_sum": "weighted_sum", "weighted_mean": "weighted_mean",
    "weighted_var": "weighted_variance", "weighted_std": "weighted_stdev",
}  # fmt: skip
AREAS = {"area": "count", "area_sum": "sum", "area_mean": "mean"}
TOUCHED = {"count": "count", "sum": "sum", "mean": "mean", "var": "variance", "std": "stdev"}


def here(cases: list[Case], folder: Path, chunks: int) -> tuple[list[Table], Parts, Parts]:
    """By zoneraster, all rasters in one call; covered parts, and pixels that are touched."""
    store, case = folder / "zones.zarr", cases[0]
    zr.build(case.frame, store, grid=case.lattice, key="zone", chunks=chunks)
    loads = case.weights.ours("w")
    of = {f"v{i}": one.values.ours(f"v{i}") for i, one in enumerate(cases)}
    stats = [*PLAIN, *AREAS, *WEIGHTED]
    if case.has_classes:
        stats += ["fractions", "weighted_frac"]
    table = zr.zonal_stats(store, of, weights=loads, stats=stats, pixels="fraction", area="m2")
    touched = zr.zonal_stats(store, of, stats=[*TOUCHED], pixels="touched")
    found: list[Table] = [{} for _ in cases]
    for how, columns in (("", table), ("touched ", touched)):
        for column in columns:
            raster, _, name = str(column).replace("_m2", "").partition("_")
            found[int(raster[1:])][how + name] = columns[column].to_numpy(float)
    return found, cells_of(store, "fraction", case), cells_of(store, "touched", case)


def cells_of(store: Path, rule: str, case: Case) -> Parts:
    """Pixels of zones, one by one."""
    found = []
    for batch in zr.cells(store, pixels=rule):
        zone_id, row, col0, col1, part = (column.to_numpy() for column in batch.columns)
        size = col1 - col0
        col = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size - col0, size)
        cell = np.repeat(row, size) * case.lattice.width + col
        found.append((np.repeat(zone_id.astype(int) - 1, size), cell, np.repeat(part, size)))
    return Parts(*map(np.concatenate, zip(*found, strict=True)))


def extracted(
    source: NumPyRasterSource, frame: geopandas.GeoDataFrame, operations: list[str], **options: Any
) -> pd.DataFrame:
    """Of exactextract, zone by zone where it fails on some: `attrs` say on which."""
    rows, failed = [], np.zeros(N, bool)
    try:
        rows.append(exact_extract(source, frame, operations, output="pandas", **options))
    except (RuntimeError, MemoryError):
        for number in range(N):
            one = frame.iloc[[number]]
            try:
                rows.append(exact_extract(source, one, operations, output="pandas", **options))
            except (RuntimeError, MemoryError):
                rows.append(pd.DataFrame(index=[0]))
                failed[number] = True
    table = pd.concat(rows, ignore_index=True)
    table.attrs["failed"] = failed
    return table


def there(case: Case) -> tuple[Table, Parts]:
    """By exactextract, and what it says is covered of pixels."""
    source, found, areas = case.values.theirs(), {}, "area_cartesian"
    if case.lattice.is_geographic:
        areas = "area_spherical_m2"
    if not case.weights_are_finer:
        asked = {**PLAIN}
        asked |= {n: f"{n}={of}(coverage_weight={areas})" for n, of in AREAS.items()}
        asked |= {
            f"touched {n}": f"touched_{n}={of}(coverage_weight=none)" for n, of in TOUCHED.items()
        }
        table = extracted(source, case.frame, [*asked.values()])
        found |= dict(zip(asked, table.to_numpy(float).T, strict=True))
    loads = case.weights.theirs()
    asked = {**WEIGHTED}
    asked |= {
        f"{name}, default_weight=0": f"{name}_0={of}(default_weight=0)"
        for name, of in WEIGHTED.items()
    }
    table = extracted(source, case.frame, [*asked.values()], weights=loads)
    found |= dict(zip(asked, table.to_numpy(float).T, strict=True))
    if case.has_classes:
        found |= classes_there(case, source, loads)
    index = np.arange(case.lattice.height * case.lattice.width, dtype=float)
    index = index.reshape(case.lattice.shape)
    table = extracted(
        Raster(index, case.lattice, None).theirs(), case.frame, ["values", "coverage"]
    )
    sizes = [0 if isinstance(one, float) else len(one) for one in table["values"]]
    cell, part = (
        np.concatenate([np.zeros(0), *(one for one in table[name] if not isinstance(one, float))])
        for name in ("values", "coverage")
    )
    found["failed"] = table.attrs["failed"]
    return found, Parts(np.repeat(np.arange(N), sizes), cell.astype(int), part).take(part > 0)


def classes_there(case: Case, source: NumPyRasterSource, loads: NumPyRasterSource) -> Table:
    """Parts of classes, a column for each."""
    found = {}
    for name, operation, options in (
        ("fractions", "frac", {}),
        ("weighted_frac", "weighted_frac", {"weights": loads}),
    ):
        if case.weights_are_finer and not options:
            continue
        table = extracted(source, case.frame, ["unique", operation], **options)
        columns = {f"{name}_{value}": np.zeros(N) for value in range(5)}
        for number, (kinds, parts) in enumerate(
            zip(table["unique"], table[operation], strict=True)
        ):
            if isinstance(kinds, float) or not len(kinds) or np.isnan(parts).any():
                for column in columns.values():
                    column[number] = np.nan
                continue
            for kind, part in zip(kinds, parts, strict=True):
                columns[f"{name}_{int(kind)}"][number] = part
        found |= columns
    return found


# ---- what differs, and why -----------------------------------------------------------------------


def size_of(name: str, truth: Table) -> Array:
    """What a difference is measured by."""
    own = name.partition(",")[0]
    if f"{own} by" in truth:
        return truth[f"{own} by"]
    if own.endswith("std"):
        return np.sqrt(truth[f"{own[:-3]}var by"])
    values = np.stack([np.abs(truth["min"]), np.abs(truth["max"])]).max(axis=0)
    is_value = own in PLAIN and own != "variety"
    return values if is_value else np.ones(N)


def off(name: str, one: Array, other: Array, truth: Table) -> Array:
    """How far numbers are apart, measured by their size; 0 where both are NaN."""
    by = size_of(name, truth)
    if name.partition(",")[0].endswith("std"):
        one, other, by = one**2, other**2, by**2  # where a variance is 0 its root has few digits
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(one - other) / np.where(by > 0, by, 1.0)
    apart[np.isnan(one) & np.isnan(other)] = 0.0
    return np.where(np.isnan(apart), np.inf, apart)


def causes(
    name: str, ours: Table, theirs: Table, truth: Table, again: Table, facts: Table
) -> Table:
    """Zones in which a cause explains why exactextract has another number.

    `again` are the formulas with what exactextract says is covered; `facts` say of each zone by how
    much that is wrong at most, whether exactextract failed, and of pixels that one of the two does
    not have how much is covered at most.
    """
    own, e = name.partition(",")[0], theirs[name]

    def is_their(numbers: Array) -> Array:
        return off(name, numbers, e, again) <= CLOSE

    found = {"exactextract fails on the polygon, or takes all memory": facts["failed"]}
    if own.startswith("weighted"):
        zero = theirs.get(f"{own}, default_weight=0")
        is_zero = np.ones(N, bool)
        if zero is not None:
            is_zero = off(own, ours[own], zero, truth) <= CLOSE
            is_zero |= off(own, again[own], zero, again) <= CLOSE
        found["a pixel without a weight: NaN there, left out here"] = (
            (again["without"] > 0) & np.isnan(e) & is_zero
        )
    is_again = is_their(again[own])
    if f"joined {own}" in truth:
        joined = [truth[f"joined {own}"], again[f"joined {own}"]]
        found["equal values are joined there"] = is_their(joined[0]) | is_their(joined[1])
        if facts["of integers"]:
            found["quantiles of integers are cut to integers there"] = np.logical_or.reduce(
                [
                    (np.abs(e - one) < 1 + CLOSE) & (np.abs(e) <= np.abs(one) + CLOSE)
                    for one in joined
                ]
            )
    if own in ("majority", "minority"):
        found["values that cover as much to 1e-6: another of them there"] = facts[f"tied {own}"]
    is_close = facts["wrong by"] <= CLOSE
    found["parts are float32 there"] = is_again & is_close & (facts["one alone"] == 0)
    found["a pixel of which less than 1e-6 is covered"] = (
        is_again & is_close & (facts["one alone"] > 0)
    )
    found["parts are wrong there by more than 1e-6"] = is_again & ~is_close
    if own in AREAS:
        found["areas are those of a sphere there"] = is_their(again[f"sphere {own}"])
    return found


def apart(one: Parts, other: Parts, case: Case) -> tuple[Array, Array]:
    """By how much parts of a zone differ at most, and how many pixels one of the two has alone."""
    width = case.lattice.width * case.lattice.height
    keys = [p.zone * width + p.cell for p in (one, other)]
    both, where = np.unique(np.concatenate(keys), return_inverse=True)
    part = [
        np.bincount(own, p.part, both.size)
        for own, p in zip(np.split(where, [keys[0].size]), (one, other), strict=True)
    ]
    found, is_alone = np.zeros(N), (part[0] == 0) != (part[1] == 0)
    np.maximum.at(found, both // width, np.abs(part[0] - part[1]))
    return found, np.bincount(both[is_alone] // width, minlength=N)


def are_tied(name: str, one: Table, other: Table, parts: Parts, case: Case) -> Array:
    """Whether the values that two say are the most or least common cover as much."""
    x, found = case.values.at(parts.cell, case.lattice.width), []
    for table in (one, other):
        is_it = x == table.get(name, other[name])[parts.zone]
        found.append(np.bincount(parts.zone, np.where(is_it, parts.part, 0.0), N))
    return np.abs(found[0] - found[1]) <= CLOSE * np.maximum(*found)


def facts_of(parts: Parts, theirs: Parts, case: Case, tables: tuple[Table, Table, Table]) -> Table:
    """What `causes` goes by: how wrong parts are, pixels of one side, values that tie."""
    ours, there, truth = tables
    found = {"failed": there["failed"], "of integers": case.values.pixels.dtype.kind != "f"}
    found["wrong by"], found["one alone"] = apart(parts, theirs, case)
    for name in ("majority", "minority"):
        found[f"tied {name}"] = are_tied(name, there, ours, parts, case)
        found[f"tied {name}"] |= are_tied(name, there, ours, theirs, case)
        found[f"tied {name} here"] = are_tied(name, ours, truth, parts, case)
    return found


class Tally:
    """What was compared, and what came of it."""

    def __init__(self) -> None:
        self.compared, self.differing = Counter[str](), Counter[str]()
        self.causes: dict[str, Counter[str]] = defaultdict(Counter)
        self.farthest, self.close = defaultdict[str, float](float), defaultdict[str, float](float)
        self.unexplained = 0

    def add(self, case: Case, shapes: list[shapely.Geometry], tables: Any, facts: Table) -> None:
        ours, theirs, truth, again = tables
        for name in ours.keys() & truth.keys():
            far = off(name, ours[name], truth[name], truth)
            if name in ("majority", "minority"):
                far[facts[f"tied {name} here"]] = 0.0  # decided by rounding
            self.farthest[name] = max(self.farthest[name], far.max())
            for number in np.flatnonzero(far > SAME)[:3]:
                self.say("not as NumPy", name, number, case, shapes, tables)
        for name in theirs.keys() - {"failed"}:
            own = name.partition(",")[0]
            far = off(name, ours[own], theirs[name], truth)
            differs = far > CLOSE
            self.close[name] = max(self.close[name], far[~differs].max())
            found = causes(name, ours, theirs, truth, again, facts)
            self.compared[name] += N
            self.differing[name] += int(differs.sum())
            for cause, some in found.items():
                self.causes[cause][name] += int((differs & some).sum())
                differs &= ~some
            for number in np.flatnonzero(differs)[:3]:
                self.say("no cause", name, number, case, shapes, tables)

    def say(self, what: str, name: str, number: int, case: Case, shapes: Any, tables: Any) -> None:
        self.unexplained += 1
        own = name.partition(",")[0]
        said = [
            float(table[key][number]) if key in table else None
            for table, key in zip(tables, (own, name, own, own), strict=True)
        ]
        kind = case.values.pixels.dtype, case.values.nodata, case.lattice.shape
        print(what, name, *kind, dict(zip(("here", "there", "NumPy", "again"), said, strict=True)))
        print("   ", shapes[number].wkt[:400], flush=True)

    def report(self) -> None:
        print(f"{'':34}{'compared':>9}{'apart':>8}{'others':>9}{'NumPy':>9}")
        for name, n in sorted(self.compared.items()):
            said = f"{self.farthest[name]:.1e}" if name in self.farthest else ""
            print(f"{name:34}{n:9,}{self.differing[name]:8,}{self.close[name]:9.1e}{said:>9}")
        for cause, names in self.causes.items():
            some = {name: n for name, n in sorted(names.items()) if n}
            print(f"{cause}: {sum(some.values()):,}", some)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("polygons", type=int, nargs="?", default=20_000)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    options = parser.parse_args()
    tally, far, hair, n_wrong = Tally(), 0.0, 0, 0
    for seed in range(options.seed, options.seed + -(-options.polygons // N)):
        rng = np.random.default_rng(seed)
        cases, shapes = make_cases(rng)
        with tempfile.TemporaryDirectory() as folder:
            tables, parts, touched = here(cases, Path(folder), int(rng.integers(7, 70)))
        by_geos = apart(parts, parts_by_geos(shapes, cases[0].lattice.width // WIDTH), cases[0])
        far, hair = max(far, by_geos[0].max()), hair + int(by_geos[1].sum())
        for case, ours in zip(cases, tables, strict=True):
            theirs, parts_there = there(case)
            truth, again = by_numpy(parts, case), by_numpy(parts_there, case)
            x = case.values.at(touched.cell, case.lattice.width)
            whole = moments(touched.zone[x == x], x[x == x], touched.part[x == x])
            truth |= {f"touched {name}": one for name, one in whole.items()}
            facts = facts_of(parts, parts_there, case, (ours, theirs, truth))
            tally.add(case, shapes, (ours, theirs, truth, again), facts)
            print(seed, case.values.pixels.dtype, case.values.nodata, case.weights.grid, flush=True)
        n_wrong += int((facts["wrong by"] > CLOSE).sum())
    tally.report()
    print(f"parts here and by GEOS: {far:.1e} apart at most, {hair} pixels that one has alone")
    print(f"of {options.polygons:,} polygons {n_wrong} have parts that exactextract has wrong")
    print(f"{tally.unexplained} without a cause")
    sys.exit(int(tally.unexplained > 0 or far > PARTS))


if __name__ == "__main__":
    # On some polygons exactextract takes memory without end.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    main()
