"""Random calls: zones, rasters and options of every kind, and the grid of the store to compare.

All places are drawn as whole numbers on a lattice, so that the grid of the store is known without
asking the code that is tested.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio
import shapely
import xarray as xr

import zoneraster as zr
from tests.oracles import star
from tests.stats.samples import raster

Rng = np.random.Generator
TIMES = np.array(["2020-01-01", "2021-01-01"], "datetime64[ns]")
DTYPES = ["uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "float32", "float64"]
OF_CLASSES = ["majority", "minority", "variety", "histogram", "fractions"]
PLAIN = [
    "pixels", "count", "valid", "nodata", "sum", "mean", "min", "max", "range", "var", "std",
    "median", "q0.1", "q0.97", "majority", "minority", "variety", "area", "pixel_area", "area_sum",
    "area_mean",
]  # fmt: skip
OF_WEIGHTS = ["weighted_mean", "weighted_sum", "weight_sum", "weighted_var", "weighted_area"]


@dataclass(frozen=True)
class Lattice:
    """Unit pixels that all rasters of a call consist of; places are rows and columns of it."""

    crs: str
    step: Fraction
    west: Fraction
    north: Fraction
    others: tuple[str, ...] = ()
    is_globe: bool = False

    def grid(self, row: Fraction, col: Fraction, size: Fraction, shape: tuple[int, int]) -> zr.Grid:
        side = self.step * size
        west, north = self.west + col * self.step, self.north - row * self.step
        return zr.Grid(self.crs, (side, 0, west, 0, -side, north), shape)

    def place(self, xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Coordinates of columns and rows."""
        corner = np.array([float(self.west), float(self.north)])
        return corner + xy * float(self.step) * np.array([1, -1])


LATTICES = [
    Lattice("EPSG:4326", Fraction(1, 90), Fraction(4), Fraction(52), ("EPSG:3857", "EPSG:3035")),
    Lattice("EPSG:4326", Fraction(1, 4000), Fraction(10), Fraction(47), ("EPSG:32632",)),
    Lattice(
        "EPSG:32633", Fraction(10), Fraction(500_000), Fraction(5_000_000),
        ("EPSG:4326", "EPSG:3035"),
    ),
    Lattice("EPSG:2056", Fraction(25), Fraction(2_600_000), Fraction(1_200_000), ("EPSG:4326",)),
]  # fmt: skip
GLOBE = Lattice("EPSG:4326", Fraction(2), Fraction(0), Fraction(90), is_globe=True)


@dataclass(frozen=True)
class Layer:
    """A raster of a call: what is given, and where it lies on the lattice of the call."""

    given: Any
    row: Fraction
    col: Fraction
    size: Fraction
    shape: tuple[int, int]

    @property
    def asked(self) -> zr.Raster:
        return self.given if isinstance(self.given, zr.Raster) else zr.Raster(self.given)


@dataclass(frozen=True)
class Call:
    """Arguments of `zonal_stats` with polygons, and of the build of a store that stands for it."""

    zones: Any
    values: Any
    grid: Callable[[], zr.Grid]
    reading: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def one_of(rng: Rng, *choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def some_of(rng: Rng, choices: Sequence[Any], least: int = 1) -> list[Any]:
    n = int(rng.integers(least, min(len(choices), least + 6) + 1))
    return [choices[i] for i in rng.permutation(len(choices))[:n]]


# ---- rasters -------------------------------------------------------------------------------------


def pixels(rng: Rng, dtype: str, shape: tuple[int, ...], kind: str) -> npt.NDArray[Any]:
    if kind == "classes" or dtype in {"uint8", "int8"}:
        return rng.integers(0, int(one_of(rng, 3, 6, 90)), shape).astype(dtype)
    if dtype.startswith("f"):
        values = rng.normal(100, 40, shape) if kind == "noise" else rng.integers(0, 999, shape) / 8
        values[rng.random(shape) < 0.1] = np.nan
        return np.asarray(values, dtype)
    return rng.integers(0, 30_000, shape).astype(dtype)


def nodata_of(rng: Rng, dtype: str) -> float | None:
    if rng.random() < 0.4:
        return None
    if dtype.startswith("f"):
        return one_of(rng, -9999, float("nan"), 7)
    return one_of(rng, 0, min(int(np.iinfo(dtype).max), 2**31), 2)


def draw_pixels(
    rng: Rng, shape: tuple[int, ...], kind: str | None = None
) -> tuple[npt.NDArray[Any], float | None]:
    kind = kind or one_of(rng, "classes", "noise", "eighths")
    dtype = one_of(rng, *(["uint8", "int16", "float32"] if kind == "classes" else DTYPES))
    values, nodata = pixels(rng, dtype, shape, kind), nodata_of(rng, dtype)
    if nodata is not None:
        values[rng.random(shape) < 0.2] = nodata
    return values, nodata


def as_given(
    rng: Rng,
    values: npt.NDArray[Any],
    grid: zr.Grid,
    nodata: float | None,
    place: Path,
    *,
    is_whole: bool = False,
) -> Any:
    """Some pixels in one of the forms that a raster may have; what is written goes to a folder."""
    lanes = values.ndim - 2
    forms: list[Callable[..., Any]] = [as_array, as_array, as_tif, as_tif, as_zarr, as_netcdf]
    if not lanes:
        forms += [as_bare, as_whole_tiles if is_whole else as_tiles]
    if values.dtype.name in {"int8", "int64"}:
        # Which older versions of rasterio do not write.
        forms = [form for form in forms if form not in {as_tif, as_tiles, as_whole_tiles}]
    place.mkdir(parents=True)
    return one_of(rng, *forms)(rng, values, grid, nodata, place)


def as_array(
    rng: Rng, values: npt.NDArray[Any], grid: zr.Grid, nodata: float | None, _: Path
) -> xr.DataArray:
    dims, coords = (("time",), {"time": TIMES}) if values.ndim > 2 else ((), {})
    attrs = {} if nodata is None else {"_FillValue": nodata}
    if rng.random() < 0.15:
        attrs |= {"scale_factor": 0.25, "add_offset": 3.0}
    made = raster(values, grid, dims=dims, coords=coords, **attrs)
    if rng.random() < 0.3:
        # From south to north.
        made = made.isel(y=slice(None, None, -1))
        made.attrs.pop("spatial:transform")
    if rng.random() < 0.4:
        made = made.chunk({"y": int(rng.integers(7, 90)), "x": int(rng.integers(7, 90))})
    return made


def write_tif(
    path: Path, values: npt.NDArray[Any], grid: zr.Grid, nodata: float | None, **profile: Any
) -> Path:
    bands = values[None] if values.ndim == 2 else values
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2],
        dtype=bands.dtype, crs=grid.crs.to_wkt(), transform=grid.transform, nodata=nodata,
        **profile,
    ) as file:  # fmt: skip
        file.write(bands)
    return path


def as_tif(
    rng: Rng, values: npt.NDArray[Any], grid: zr.Grid, nodata: float | None, place: Path
) -> Any:
    profile: dict[str, Any] = {"compress": one_of(rng, "deflate", "zstd", "lzw", "none")}
    if rng.random() < 0.6:
        profile |= {"tiled": True, "blockxsize": 32, "blockysize": 16}
    path = write_tif(place / "raster.tif", values, grid, nodata, **profile)
    return one_of(rng, path, str(path), zr.Raster(path))


def as_tiles(
    rng: Rng,
    values: npt.NDArray[Any],
    grid: zr.Grid,
    nodata: float | None,
    place: Path,
    *,
    is_whole: bool = False,
) -> Any:
    """Tiles of one raster, cut at any row and column; one in five is not there, or none."""
    (step_x, step_y), (west, north) = grid.resolution, grid.origin
    height, width = values.shape
    cuts = [
        sorted({0, n, *map(int, rng.integers(1, n, 2))}) if n > 1 else [0, n]
        for n in (height, width)
    ]
    paths = []
    for row, row1 in zip(cuts[0], cuts[0][1:], strict=False):
        for col, col1 in zip(cuts[1], cuts[1][1:], strict=False):
            # The corners make the raster as large as it is.
            is_corner = (row == 0 and col == 0) or (row1 == height and col1 == width)
            if rng.random() < 0.2 and not is_corner and not is_whole:
                continue
            corner = (step_x, 0, west + col * step_x, 0, -step_y, north - row * step_y)
            tile = zr.Grid(grid.crs, corner, (row1 - row, col1 - col))
            path = place / f"{row:05}_{col:05}.tif"
            paths.append(write_tif(path, values[row:row1, col:col1], tile, nodata))
    return one_of(rng, paths, place, str(place / "*.tif"))


as_whole_tiles = functools.partial(as_tiles, is_whole=True)


def as_dataset(
    rng: Rng, values: npt.NDArray[Any], grid: zr.Grid, nodata: float | None
) -> xr.Dataset:
    dims = ("time", "lat", "lon") if grid.crs.is_geographic else ("time", "y", "x")
    coords: dict[str, Any] = {dims[1]: grid.y_centres(), dims[2]: grid.x_centres()}
    if values.ndim > 2:
        coords["time"] = TIMES
    attrs: dict[str, Any] = {"grid_mapping": "spatial_ref"}
    if nodata is not None:
        attrs["_FillValue"] = values.dtype.type(nodata)
    return xr.Dataset(
        {
            "value": (dims[-values.ndim :], values, attrs),
            "spatial_ref": ((), 0, {"crs_wkt": grid.crs.to_wkt()}),
        },
        coords,
    )


def as_zarr(
    rng: Rng, values: npt.NDArray[Any], grid: zr.Grid, nodata: float | None, place: Path
) -> Path:
    chunks = (*(1,) * (values.ndim - 2), *(int(rng.integers(5, n + 6)) for n in values.shape[-2:]))
    zarr_format = one_of(rng, 2, 3)
    as_dataset(rng, values, grid, nodata).to_zarr(
        place / "raster.zarr", encoding={"value": {"chunks": chunks}}, zarr_format=zarr_format,
        consolidated=zarr_format == 2,
    )  # fmt: skip
    return place / "raster.zarr"


def as_netcdf(
    rng: Rng, values: npt.NDArray[Any], grid: zr.Grid, nodata: float | None, place: Path
) -> Any:
    as_dataset(rng, values, grid, nodata).to_netcdf(place / "raster.nc")
    return one_of(rng, place / "raster.nc", zr.Raster(place / "raster.nc", variable="value"))


def as_bare(
    _: Rng, values: npt.NDArray[Any], grid: zr.Grid, nodata: float | None, __: Path
) -> zr.Raster:
    return zr.Raster(values, transform=list(grid.transform)[:6], crs=grid.crs, nodata=nodata)


# ---- where rasters lie ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Maker:
    """Draws the layers of a call, each in a folder of its own."""

    rng: Rng
    lattice: Lattice
    folder: Path
    shape: tuple[int, int]

    def layer(self, name: str, size: int = 1, *, is_first: bool = False, **options: Any) -> Layer:
        """A raster whose pixels are `size` units wide, somewhere near the first one."""
        rng, (height, width) = self.rng, self.shape
        if self.lattice.is_globe:
            row, col, shape = 0, one_of(rng, 0, 0, -90), (90 // size, 180 // size)
        elif is_first:
            row, col, shape = 0, 0, (-(-height // size), -(-width // size))
        else:
            row, col = (size * int(rng.integers(-n // 3, n // 3) // size) for n in self.shape)
            shape = (
                int(rng.integers(max(2, height // 2), height + 9)) // size + 1,
                int(rng.integers(max(2, width // 2), width + 9)) // size + 1,
            )
        return self.made(name, (Fraction(row), Fraction(col), Fraction(size)), shape, **options)

    def off(self, name: str, **options: Any) -> Layer:
        """A raster off the lattice of the others, which has to be resampled."""
        size = one_of(self.rng, Fraction(1), Fraction(3, 2), Fraction(7, 3))
        shape = tuple(int(n / size) + 2 for n in self.shape)
        return self.made(name, (Fraction(1, 3), Fraction(-2, 3), size), shape, **options)

    def made(
        self, name: str, where: tuple[Fraction, Fraction, Fraction], shape: Any, *,
        lanes: int = 0, kind: str | None = None,
    ) -> Layer:  # fmt: skip
        values, nodata = draw_pixels(self.rng, (*(lanes,) * bool(lanes), *shape), kind)
        grid = self.lattice.grid(*where, shape)
        given = as_given(self.rng, values, grid, nodata, self.folder / name)
        return Layer(given, *where, shape)


def grid_of(layers: Sequence[Layer], *, is_globe: bool) -> zr.Grid:
    """The lattice of the finest layer, as far as any of them reaches; a globe is one as it is."""
    finest = min(layers, key=lambda layer: layer.size)
    if is_globe:
        return zr.grid_like(finest.asked)
    size = finest.size
    first = [min((getattr(one, a) - getattr(finest, a)) // size for one in layers) for a in AXES]
    last = [
        max(
            -((getattr(finest, a) - getattr(one, a) - n * one.size) // size)
            for one, n in ((one, one.shape[i]) for one in layers)
        )
        for i, a in enumerate(AXES)
    ]
    own = zr.grid_like(finest.asked)
    (step_x, step_y), (west, north) = own.resolution, own.origin
    corner = (step_x, 0, west + first[1] * step_x, 0, -step_y, north - first[0] * step_y)
    return zr.Grid(own.crs, corner, (last[0] - first[0], last[1] - first[1]))


AXES = ("row", "col")


# ---- zones ---------------------------------------------------------------------------------------


def stars(rng: Rng, low: Any, high: Any, at: Any) -> list[Any]:
    reach = float(min(high - low)) / 2
    return [shapely.Polygon(star(rng, tuple(xy), rng.uniform(0.5, reach), 9)) for xy in at]


def nested(_: Rng, low: Any, high: Any, at: Any) -> list[Any]:
    reach, n = float(min(high - low)) / 2, len(at)
    return [shapely.Point(*at[0]).buffer(reach * (n - i) / n) for i in range(n)]


def tiling(rng: Rng, low: Any, high: Any, _: Any) -> list[Any]:
    """Boxes that share their edges, half of the time on edges and centres of pixels."""
    cuts = [np.unique([a, *rng.uniform(a, b, 3), b]) for a, b in zip(low, high, strict=True)]
    if rng.random() < 0.5:
        cuts = [np.unique(np.round(2 * cut) / 2) for cut in cuts]
    cells = itertools.product(itertools.pairwise(cuts[0]), itertools.pairwise(cuts[1]))
    return [shapely.box(x0, y0, x1, y1) for (x0, x1), (y0, y1) in cells]


def slivers(rng: Rng, low: Any, high: Any, at: Any) -> list[Any]:
    ends, widths = rng.uniform(low, high, at.shape), rng.uniform(0.02, 0.4, len(at))
    lines = [shapely.LineString(pair) for pair in zip(at, ends, strict=True)]
    return list(shapely.buffer(lines, widths, cap_style="flat"))


def specks(rng: Rng, _: Any, __: Any, at: Any) -> list[Any]:
    return list(shapely.box(*at.T, *(at + rng.uniform(0.01, 0.8, at.shape)).T))


def snapped(rng: Rng, low: Any, high: Any, at: Any) -> list[Any]:
    """Boxes with corners on edges and centres of pixels."""
    sides = rng.integers(1, max(2, int(min(high - low) / 2)), at.shape)
    return list(shapely.box(*np.round(2 * at).T / 2, *np.round(2 * (at + sides)).T / 2))


def beyond(_: Rng, low: Any, high: Any, __: Any) -> list[Any]:
    return [shapely.box(*(high + 5), *(high + 9)), shapely.box(*(low - 4), *(low + 4))]


def holes(_: Rng, low: Any, high: Any, at: Any) -> list[Any]:
    reach, middle = float(min(high - low)), shapely.Point(*at[0])
    parts = shapely.union_all(shapely.box(*at.T, *(at + reach / 6).T))
    return [middle.buffer(reach / 3).difference(middle.buffer(reach / 5)), parts]


SHAPES = [stars, nested, tiling, slivers, specks, snapped, beyond, holes]


def draw_zones(
    rng: Rng, lattice: Lattice, box: tuple[float, float, float, float]
) -> geopandas.GeoDataFrame:
    low, high, shapes = np.array(box[:2]), np.array(box[2:]), []
    for make in some_of(rng, SHAPES[:6] if lattice.is_globe else SHAPES):
        at = rng.uniform(low, high, (int(rng.integers(1, 9)), 2))
        shapes += make(rng, low, high, at)
    shapes = [shapes[i] for i in rng.permutation(len(shapes))]
    if lattice.is_globe:
        # Not over the poles.
        shapes = [shape.buffer(0).intersection(shapely.box(-1, 1, 181, 89)) for shape in shapes]
        shapes = [shape for shape in shapes if shape.area > 0]
    placed = [shapely.transform(shape, lattice.place) for shape in shapes]
    if lattice.is_globe:
        placed = [
            shapely.transform(shape, lambda xy: xy - [360, 0]) if shape.centroid.x > 180 else shape
            for shape in placed
        ]
    n = len(placed)
    return geopandas.GeoDataFrame(
        {
            "code": rng.permutation(np.arange(1, n + 1) * 7),
            "name": [f"zone {i}" for i in range(n)],
            "half": np.arange(n) % 2,
            "kind": [["wood", "lake", "town"][i % 3] for i in rng.integers(0, 3, n)],
            "rate": rng.random(n).round(3),
        },
        geometry=placed,
        crs=lattice.crs,
    )


FILES = ["gpkg", "layer.gpkg", "geojson", "parquet", "shp"]


def zones_given(
    rng: Rng, zones: geopandas.GeoDataFrame, place: Path
) -> tuple[Any, dict[str, Any], pd.Index[Any]]:
    """Zones in one of the forms that they may have, how they are read, and their keys."""
    key = one_of(rng, None, "code", "name")
    reading: dict[str, Any] = {} if key is None else {"key": key}
    keys = pd.Index(zones[key]) if key else pd.RangeIndex(len(zones))
    form = one_of(rng, "frame", "frame", "series", *FILES)
    if form == "frame":
        how = rng.random()
        if how < 0.2:
            return (
                zones.set_crs(None, allow_override=True), {**reading, "assume_crs": zones.crs}, keys
            )  # fmt: skip
        if how < 0.5:
            return zones.set_index("name"), {}, pd.Index(zones["name"])
        return zones, reading, keys
    if form == "series":
        return zones.set_index("code").geometry, {}, pd.Index(zones["code"])
    place.mkdir(parents=True)
    path = place / f"zones.{form}"
    if form == "parquet":
        zones.to_parquet(path)
    elif form == "layer.gpkg":
        zones.to_file(path, layer="zones")
        zones[:1].to_file(path, layer="another")
        reading["layer"] = "zones"
    else:
        (zones.to_crs(4326) if form == "geojson" else zones).to_file(path)
    return one_of(rng, path, str(path)), reading, keys


# ---- options -------------------------------------------------------------------------------------


def draw_key(rng: Rng, layer: Layer) -> Any:
    return one_of(
        rng,
        layer.given,
        zr.labels(layer.given, [0, 1, 2]),
        zr.labels(layer.given, {0: "none", 1: "some"}),
        zr.thresholds(layer.given, [1, 2, 4]),
    )


def draw_where(rng: Rng, layer: Layer) -> Any:
    asked = layer.asked
    return one_of(rng, asked >= 2, ~(asked == 0), asked.isin([0, 1, 3]) | (asked > 40))


def draw_select(rng: Rng, zones: geopandas.GeoDataFrame, keys: Any, *, columns: bool) -> Any:
    chosen = list(rng.permutation(keys.to_numpy())[: int(rng.integers(1, len(keys) + 1))])
    x, y = zones.geometry.representative_point().get_coordinates().to_numpy()[0]
    near = shapely.Point(x, y).buffer(float(np.ptp(zones.total_bounds[[0, 2]])) / 7)
    choices = [chosen, chosen[:1], near]
    if columns:
        choices += [{"kind": zones["kind"].iloc[0]}, {"half": [0, 1], "kind": ["wood", "lake"]}]
    chosen = one_of(rng, *range(len(choices)))
    return choices[chosen]


def draw_stats(rng: Rng, *, weights: bool, classes: bool, values: bool, own: bool) -> list[Any]:
    if not values:
        return some_of(rng, ["pixels", "area"])
    stats: list[Any] = some_of(rng, PLAIN, 3)
    if weights:
        stats += some_of(rng, OF_WEIGHTS)
    if classes:
        stats += [name for name in some_of(rng, OF_CLASSES) if name not in stats]
    if own and rng.random() < 0.1:
        stats.append(zr.Stat("squares", *OWN))
    return stats


OWN = (
    lambda: np.zeros(1),
    lambda state, values, _: state + (values.astype(float) ** 2).sum(),
    lambda one, other: one + other,
    lambda state: float(state[0]),
)


def draw_shape(rng: Rng) -> tuple[int, int]:
    """Mostly small; now and then one that reaches over chunks of 4,000 pixels."""
    if rng.random() < 0.12:
        long, short = int(rng.integers(4001, 8600)), int(rng.integers(12, 40))
        return one_of(rng, (long, short), (short, long))
    return int(rng.integers(4, 110)), int(rng.integers(4, 110))


def draw_measures(rng: Rng, make: Maker, kind: str | None) -> tuple[list[Layer], Any]:
    """Layers whose values are reduced, and how they are given; none now and then."""
    how = rng.random()
    if how < 0.1:
        return [], None
    if how < 0.2:
        layer = make.layer("first", is_first=True, lanes=2, kind=kind)
        return [layer], layer.given
    first = make.layer("first", is_first=True, kind=kind)
    if how < 0.75:
        return [first], first.given
    both = [first, make.layer("second", int(one_of(rng, 1, 2, 3, 5)), kind=kind)]
    both = both if how < 0.9 else both[::-1]
    return both, {f"v{i}": layer.given for i, layer in enumerate(both)}


def draw_options(rng: Rng, make: Maker, kind: str | None, *, values: bool) -> dict[str, Any]:
    """Options of rasters and statistics."""
    rule = one_of(rng, None, None, "centre", "touched", "fraction")
    options: dict[str, Any] = {} if rule is None else {"pixels": rule}
    if rule is None and rng.random() < 0.4:
        options["zones"] = "owned"
    if values and rng.random() < 0.2:
        is_off = rng.random() < 0.4 and not make.lattice.is_globe
        sizes = one_of(rng, 1, 1, 2, 3)
        weights = make.off("weights") if is_off else make.layer("weights", sizes)
        options["weights"] = weights.given
        if is_off:
            options["resample"] = one_of(rng, "nearest", "bilinear", "average")
    if rng.random() < 0.25:
        options["where"] = draw_where(rng, make.layer("where", one_of(rng, 1, 2)))
    options["stats"] = draw_stats(
        rng, weights="weights" in options, classes=kind == "classes", values=values,
        own=rule != "fraction",
    )  # fmt: skip
    if any("area" in str(stat) for stat in options["stats"]) and rng.random() < 0.6:
        options["area"] = one_of(rng, "m2", "ha", "km2")
    return options


def draw_call(seed: int, folder: Path) -> Call:
    """A call of its own for each seed."""
    rng = np.random.default_rng(seed)
    lattice = GLOBE if rng.random() < 0.15 else one_of(rng, *LATTICES)
    height, width = (90, 180) if lattice.is_globe else draw_shape(rng)
    make = Maker(rng, lattice, folder, (height, width))
    kind = "classes" if rng.random() < 0.3 else None
    measures, values = draw_measures(rng, make, kind)
    n_keys = int(rng.integers(1, 3)) if rng.random() < 0.4 or not measures else 0
    by = [
        make.layer(f"by{i}", one_of(rng, 1, 1, 2, 3) if measures else 1, kind="classes")
        for i in range(n_keys)
    ]
    options = draw_options(rng, make, kind, values=bool(measures))
    if by:
        options["by"] = {f"key{i}": draw_key(rng, layer) for i, layer in enumerate(by)}
    box = (0.0, 0.0, 180.0, 90.0) if lattice.is_globe else (-2.0, -2.0, width + 2.0, height + 2.0)
    drawn = draw_zones(rng, lattice, box)
    if lattice.others and rng.random() < 0.3:
        drawn = drawn.to_crs(one_of(rng, *lattice.others))
    zones, reading, keys = zones_given(rng, drawn, folder / "zones")
    has_columns = not isinstance(zones, geopandas.GeoSeries)
    if has_columns and rng.random() < 0.25:
        options["roll_up"] = one_of(rng, "half", ["kind", "half"])
    elif rng.random() < 0.3:
        options["geometry"] = True
        if has_columns:
            options["attributes"] = ["rate", "kind"]
    if rng.random() < 0.3:
        on_grid = drawn.to_crs(lattice.crs)
        options["select"] = draw_select(rng, on_grid, keys, columns=has_columns)
    grid = functools.partial(grid_of, measures or by, is_globe=lattice.is_globe)
    return Call(zones, values, grid, reading, options)
