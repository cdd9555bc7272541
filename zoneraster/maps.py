"""Pictures: a store as a map, of its zones or of a value of each."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyproj import Transformer

from zoneraster._grid import Chunking, Grid, Window, crs_name, is_in_degrees
from zoneraster._stats import StoredZones, ZoneRuns
from zoneraster._store import (
    BatchChunk,
    expected_receipts,
    found_receipts,
    is_done,
    of_all_layers,
    open_snapshot,
    require_spec,
)
from zoneraster._zones import given_name
from zoneraster.arrays import Later
from zoneraster.blobs import Location, Options, StoreLike
from zoneraster.cartography import CLASSES, LIGHT, borders, degrees, distinct_colours, rgb
from zoneraster.errors import (
    ValuesError,
    ZonerasterError,
    number_of,
    told_as,
    warn,
    without,
)
from zoneraster.executors import cpu_count
from zoneraster.painting import Painting, column_asked, painting_of, rows_of_zones
from zoneraster.sheet import Extent, Sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib import figure
else:
    figure, pd = Later("matplotlib.figure"), Later("pandas")

PICTURES = (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".tif", ".tiff", ".webp")
# Pixels of a picture without a zone, and of zones without a value.
_NO_ZONE, _NO_VALUE = "#F2F2F2", "#B8B8B8"
_DARKER = 0.78  # lines between zones
# Columns of names, where the key is no text.
_NAMES = ("name", "Name", "NAME")
# Shares of the zones whose values lie beyond the ends of the colour scale.
_TAILS = (0.02, 0.98)


def sample_zone_ids(
    store: StoreLike,
    *,
    width: int,
    height: int | None = None,
    bounds: Sequence[float] | None = None,
) -> tuple[npt.NDArray[np.uint32], tuple[float, float, float, float]]:
    """Zone ids at the nodes of a coarse raster.

    Parameters
    ----------
    store : path or URL
    width : int
        Columns of the sample; without a height no more than the grid has.
    height : int, optional
        Rows of the sample; by default as many as make nodes as far apart as columns.
    bounds : west, south, east, north, optional
        The whole grid by default.

    Returns
    -------
    (height, width) uint32
        The id in the pixel under each node: of a zone, or of a set of zones.
    (float, float, float, float)
        West, south, east and north of what was sampled.

    Notes
    -----
    The runs of each chunk are burned again from the manifest, which is an order of magnitude
    quicker than decoding 64 MB of pixels for a few thousand of them. They are those of the pixels:
    stored bytes are compared with the receipt, and a batch without one is left empty. Then a
    `ZonerasterWarning` says how far the build is.
    """
    location = Location.of(store)
    ctx = open_snapshot(location)
    expected = expected_receipts(ctx)
    have = found_receipts(ctx.blobs, expected)
    done = [chunks for b, chunks in ctx.batches.items() if is_done(b, expected, have)]
    if len(done) < len(expected):
        n = sum(map(len, done))
        warn(
            f"{location} is not finished: {n:,} of {number_of(ctx.index.num_rows, 'chunk')} done, "
            "the rest is drawn as no zone"
        )
    runs = StoredZones(location, ctx.spec.digest(), is_planned=True, with_sets=True).open()
    window, extent = _window_of(ctx.spec.grid, bounds)
    if height is None:
        width = min(width, window.width)
        height = max(1, round(width * window.height / window.width))
    rows = window.row0 + ((np.arange(height) + 0.5) * window.height / height).astype(np.int64)
    cols = window.col0 + ((np.arange(width) + 0.5) * window.width / width).astype(np.int64)
    out = np.zeros((height, width), np.uint32)
    with ThreadPoolExecutor(cpu_count()) as pool:
        cut = ctx.spec.chunking
        list(pool.map(lambda chunks: _sample_batch(runs, cut, chunks, rows, cols, out), done))
    return out, extent


def _window_of(
    grid: Grid, bounds: Sequence[float] | None
) -> tuple[Window, tuple[float, float, float, float]]:
    """The window of a grid inside bounds, and its own bounds."""
    if bounds is None:
        return Window(0, grid.height, 0, grid.width), grid.bounds
    west, south, east, north = bounds
    u, v = grid.to_pixels(np.array([west, east]), np.array([north, south]))
    asked = Window(
        *(int(n) for n in (np.floor(v[0]), np.ceil(v[1]), np.floor(u[0]), np.ceil(u[1])))
    )
    window = asked.intersect(Window(0, grid.height, 0, grid.width))
    if window is None:
        raise ZonerasterError(f"bounds {tuple(bounds)} lie outside the grid {grid.bounds}")
    (step_x, step_y), (x0, y0) = grid.resolution, grid.origin
    extent = (
        float(x0 + window.col0 * step_x),
        float(y0 - window.row1 * step_y),
        float(x0 + window.col1 * step_x),
        float(y0 - window.row0 * step_y),
    )
    return window, extent


def _sample_batch(
    runs: ZoneRuns,
    cut: Chunking,
    chunks: Sequence[BatchChunk],
    rows: npt.NDArray[np.int64],
    cols: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint32],
) -> None:
    """Fill the nodes that lie in the chunks of one batch."""
    for chunk in of_all_layers(chunks):
        window = cut.chunk_window(chunk.row, chunk.col)
        r0, r1 = np.searchsorted(rows, [window.row0, window.row1])
        c0, c1 = np.searchsorted(cols, [window.col0, window.col1])
        if r0 == r1 or c0 == c1:
            continue
        own = cols[c0:c1] - window.col0
        for run_ptr, start, zone_id, _ in runs.planes((chunk.row, chunk.col)).painted:
            for r in range(r0, r1):
                a, b = run_ptr[rows[r] - window.row0 : rows[r] - window.row0 + 2]
                out[r, c0:c1] = zone_id[a:b][np.searchsorted(start[a:b], own, side="right") - 1]


def plot(
    store: StoreLike,
    table: pd.DataFrame | str | os.PathLike[str] | None = None,
    column: str | None = None,
    *,
    picture: str | os.PathLike[str] | None = None,
    names: str | bool | None = None,
    bounds: Sequence[float] | None = None,
    width: int = 1600,
    title: str | None = None,
    source: str | None = None,
    storage_options: Options = None,
) -> figure.Figure:
    """Draw a store as a map: its zones, or a value of each.

    Parameters
    ----------
    store : path or URL
    table : pandas.DataFrame or path, optional
        Of `zonal_stats`, or a .parquet or .csv that it was written to.
    column : str, optional
        A column of the table, or without one of the zones themselves: numbers are coloured by a
        scale, texts by classes. Without column and table zones are coloured so that neighbours
        differ.
    picture : path, optional
        A file to write: PNG, PDF, SVG, ...
    names : str or bool, optional
        Write names where they fit into their zones: of this column of the zones, or True, by
        default on maps of zones, their key or their column `name`.
    bounds : west, south, east, north, optional
        In the reference system of the grid; all of it by default.
    width : int
        Pixels of the map itself.
    title, source : str, optional
        Above and below the map.
    storage_options : mapping, optional
        For fsspec.

    Returns
    -------
    matplotlib.figure.Figure
        Which notebooks show.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValuesError
        For a column that the table does not have, and values that fit no zones.
    ZonesError
        For a column that the zones do not have.
    ZonerasterError
        For bounds beside the grid.
    StoreError
        For a place that holds no store.
    """
    _need_matplotlib()
    location = Location.of(store, storage_options)
    grid = require_spec(location, location.blobs()).grid
    window, _ = _window_of(grid, bounds)
    height = _height_of(grid, window, width)
    painting = None
    if table is not None or column is not None:
        painting = painting_of(location, _values_of(location, table, column))
    ids, extent = sample_zone_ids(location, width=width, height=height, bounds=bounds)
    drawn = _zones_drawn(ids) if painting is None else _values_drawn(ids, painting)
    if names is None:
        names = painting is None
    sheet = Sheet(drawn.image, extent, grid.crs)
    sheet.add_scale(*_metres(grid, extent, width))
    if drawn.scale is not None:
        sheet.add_colours(*drawn.scale)
    for colour, text in drawn.classes:
        sheet.add_class(colour, text)
    if names is not False:
        sheet.add_names(ids, _texts_of(location, names))
    place = PurePosixPath(str(location)).name
    made = sheet.made(
        title or (place if painting is None else f"{painting.name}: {place}"),
        source or f"{place}, pixels of {float(grid.resolution[0]):.6g} in {crs_name(grid.crs)}",
    )
    if picture is not None:
        made.savefig(picture)
    return made


def _need_matplotlib() -> None:
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise without("matplotlib", "drawing") from None


def _height_of(grid: Grid, window: Window, width: int) -> int:
    """Rows of a picture: lengths along and across are alike in the middle of a map in degrees."""
    step_x, step_y = map(float, grid.resolution)
    ratio = window.height * step_y / (window.width * step_x)
    if is_in_degrees(grid.crs):
        middle = float(grid.origin[1]) - (window.row0 + window.row1) / 2 * step_y
        ratio /= max(0.2, math.cos(math.radians(middle)))
    return max(1, round(width * ratio))


def _metres(grid: Grid, extent: Extent, width: int) -> tuple[float, str]:
    """Metres on the ground along a pixel of a picture in its middle row, and where that holds.

    NaN where the middle is on no map.
    """
    west, south, east, north = extent
    base, globe = grid.crs.geodetic_crs, grid.crs.get_geod()
    if base is None or globe is None:
        return math.nan, ""
    to_degrees = Transformer.from_crs(grid.crs, base, always_xy=True)
    x = (west + east) / 2 + np.array([-0.005, 0.005]) * (east - west)
    found = []
    for share in (0.5, 0.1, 0.9):
        lon, lat = to_degrees.transform(x, np.full(2, south + share * (north - south)))
        if not np.isfinite([lon, lat]).all():
            return math.nan, ""
        _, _, length = globe.inv(lon[0], lat[0], lon[1], lat[1])
        found.append((length / (0.01 * width), float(lat[0])))
    (scale, lat), *others = found
    is_alike = all(math.isclose(scale, other, rel_tol=0.02) for other, _ in others)
    return scale, "" if is_alike else f" at {degrees(lat, 'NS')}"


# ---- what is drawn -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A picture, and what its colours mean.

    Parameters
    ----------
    image : (rows, cols, 3) uint8
    classes : list of (colour, text)
    scale : (colour map, low, high, text, arrows), optional
    """

    image: npt.NDArray[np.uint8]
    classes: list[tuple[str | None, str]]
    scale: tuple[str, float, float, str, str] | None = None


def _zones_drawn(ids: npt.NDArray[np.uint32]) -> Drawn:
    """Zones in colours that differ between neighbours."""
    numbers = distinct_colours(ids)
    zones = np.array(sorted(numbers), np.int64)
    number = np.array([numbers[int(zone)] for zone in zones], np.int64)
    palette = np.concatenate([rgb(LIGHT)[number % len(LIGHT)], rgb((_NO_ZONE,))])
    place = np.where(ids > 0, np.searchsorted(zones, ids), zones.size)
    classes: list[tuple[str | None, str]] = [
        (None, f"{number_of(zones.size, 'zone')}; colours only tell neighbours apart")
    ]
    return Drawn(_lined(palette[place], ids), _with_no_zone(classes, ids))


def _values_drawn(ids: npt.NDArray[np.uint32], painting: Painting) -> Drawn:
    """Zones in the colours of their values."""
    values = painting.look_up()(ids)
    if values.dtype.kind in "mMU":
        return _classes_drawn(ids, values.astype(str))
    values = values.astype(np.float64)
    is_known = np.isfinite(values) & (ids > 0)
    of_zones = painting.values[np.isin(painting.known, np.unique(ids[is_known]))]
    image = np.where(ids[..., None] > 0, rgb((_NO_VALUE,)), rgb((_NO_ZONE,)))
    scale = None
    if is_known.any():
        from matplotlib import colormaps  # noqa: PLC0415 - optional extra

        low, high, arrows = _ends(of_zones.astype(np.float64))
        share = np.clip((values[is_known] - low) / (high - low), 0, 1)
        image[is_known] = (255 * colormaps["viridis"](share)[:, :3]).round()
        name = painting.name or "value"
        said = f"{name}, {painting.unit}" if painting.unit else name
        scale = ("viridis", low, high, said, arrows)
    has_gaps = ((ids > 0) & ~is_known).any()
    classes: list[tuple[str | None, str]] = [(_NO_VALUE, "no value")] if has_gaps else []
    return Drawn(_lined(image.astype(np.uint8), ids), _with_no_zone(classes, ids), scale)


def _classes_drawn(ids: npt.NDArray[np.uint32], values: npt.NDArray[np.str_]) -> Drawn:
    """Zones in the colours of their classes, the most frequent ones first."""
    has_value = (values != "") & (values != "NaT") & (ids > 0)
    found, number, sizes = np.unique(values[has_value], return_inverse=True, return_counts=True)
    if found.size > len(CLASSES):
        raise ValuesError(
            f"{found.size:,} different texts are too many to be told apart by colours, "
            f"{len(CLASSES)} at most: draw numbers, or names= of the zones"
        )
    rank = np.empty(found.size, np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(found.size)
    image = np.where(ids[..., None] > 0, rgb((_NO_VALUE,)), rgb((_NO_ZONE,)))
    image[has_value] = rgb(CLASSES)[rank[number]]
    classes: list[tuple[str | None, str]] = [
        (CLASSES[k], str(found[i])) for k, i in enumerate(np.argsort(rank))
    ]
    if ((ids > 0) & ~has_value).any():
        classes.append((_NO_VALUE, "no value"))
    return Drawn(_lined(image, ids), _with_no_zone(classes, ids))


def _with_no_zone(
    classes: list[tuple[str | None, str]], ids: npt.NDArray[np.uint32]
) -> list[tuple[str | None, str]]:
    return classes + ([] if ids.all() else [(_NO_ZONE, "no zone")])


def _lined(image: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """With darker lines between zones."""
    out = image.copy()
    at = borders(ids)
    out[at] = (_DARKER * out[at]).astype(np.uint8)
    return out


def _ends(values: npt.NDArray[np.float64]) -> tuple[float, float, str]:
    """Ends of the colour scale, and at which of them it goes on."""
    values = values[np.isfinite(values)]
    low, high = (float(n) for n in np.quantile(values, _TAILS, method="nearest"))
    if low == high:
        low, high = float(values.min()), float(values.max())
    arrows = {(True, True): "both", (True, False): "min", (False, True): "max"}
    said = arrows.get((bool(values.min() < low), bool(values.max() > high)), "neither")
    return (low, high, said) if low < high else (low - 0.5, high + 0.5, said)


# ---- what is given -------------------------------------------------------------------------------


def _values_of(
    location: Location, table: Any, column: str | None
) -> Any:  # Any: a frame, a path or None; a Series, or the name of a column of the zones
    """The column that is meant."""
    if table is None:
        return column
    frame = table if hasattr(table, "columns") else _read_table(location, Path(table))
    numbers = [name for name in frame.columns if frame[name].dtype.kind in "iuf"]
    if column is None and len(numbers) == 1:
        column = str(numbers[0])
    if column not in frame.columns:
        named = f"no column {column!r}" if column else "several columns"
        raise ValuesError(
            f"the table has {named}: give column= one of {', '.join(map(str, frame.columns))}"
        )
    return frame[column]


def _read_table(location: Location, path: Path) -> pd.DataFrame:
    """A table that was written, by the key of the zones."""
    zones, key = rows_of_zones(location)
    name = given_name(key)
    with told_as(ValuesError, f"{path} cannot be read as a table", "give a .parquet or a .csv"):
        if path.suffix.lower() == ".csv":
            frame = pd.read_csv(path, dtype={name: zones[key].to_pandas().dtype})
        else:
            frame = pd.read_parquet(path)
    return frame.set_index(name) if name in frame.columns else frame


def _texts_of(location: Location, names: str | bool) -> dict[int, str]:
    """What to write into zones, by their ids."""
    table, key = rows_of_zones(location)
    if isinstance(names, str):
        column = column_asked(table, names, location)
    else:
        others = (one for one in _NAMES if one in table.column_names)
        is_text = pa.types.is_string(table[key].type) or pa.types.is_large_string(table[key].type)
        column = key if is_text else next(others, key)
    found = zip(table["zone_id"].to_pylist(), table[column].to_pylist(), strict=True)
    return {zone: str(text) for zone, text in found if text is not None}
