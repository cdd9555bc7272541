"""Things to look at: the text of `info`, and a map."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zoneraster._build import chunk_runs
from zoneraster._grid import Grid, Window
from zoneraster._store import BatchChunk, Snapshot, open_snapshot
from zoneraster.blobs import Location, StoreLike
from zoneraster.errors import ZonerasterError
from zoneraster.executors import cpu_count

if TYPE_CHECKING:
    import pandas as pd

_GOLDEN = 0.6180339887498949


def info_text(said: dict[str, Any]) -> str:  # Any: JSON
    """`info` as lines for people."""
    spec, status, report = said["spec"], said["status"], said["report"]
    grid = Grid.from_dict(spec["grid"])
    rows, cols = grid.shape
    lines = [
        said["store"],
        f"  grid     {cols:,} x {rows:,} px of {grid.resolution[0]}, {grid.crs.name}",
        f"  bounds   {grid.bounds}",
        f"  chunks   {spec['chunks'][0]} x {spec['chunks'][1]} px, {spec['dtype']}",
        f"  zones    {said['plan']['n_zones']:,} by {spec['key']!r}, overlap {spec['overlap']!r}",
        f"  done     {status['chunks_done']:,} of {status['chunks']:,} chunks"
        + (", finished" if status["finished"] else ""),
    ]
    if report is not None:
        lines.append(f"  stored   {report['nbytes']:,} bytes in {report['chunks']:,} chunks")
        lines += [f"  ! {text}" for text in report["warnings"]]
    return "\n".join(lines)


def sample_zone_ids(
    store: StoreLike, *, width: int, bounds: Sequence[float] | None = None
) -> tuple[npt.NDArray[np.uint32], tuple[float, float, float, float]]:
    """Zone ids at the nodes of a coarse raster.

    Parameters
    ----------
    store : path or URL
    width : int
        Columns of the sample.
    bounds : west, south, east, north, optional
        The whole grid by default.

    Returns
    -------
    (height, width) uint32
        The zone id of the pixel under each node.
    (float, float, float, float)
        West, south, east and north of what was sampled.

    Notes
    -----
    The runs of each chunk are burned again from the manifest, which is an order of magnitude
    quicker than decoding 64 MB of pixels for a few thousand of them.
    """
    ctx = open_snapshot(Location.of(store))
    window, extent = _window_of(ctx.spec.grid, bounds)
    width = min(width, window.width)
    height = max(1, round(width * window.height / window.width))
    rows = window.row0 + ((np.arange(height) + 0.5) * window.height / height).astype(np.int64)
    cols = window.col0 + ((np.arange(width) + 0.5) * window.width / width).astype(np.int64)
    out = np.zeros((height, width), np.uint32)
    with ThreadPoolExecutor(cpu_count()) as pool:
        batches = ctx.batches.values()
        list(pool.map(lambda chunks: _sample_batch(ctx, chunks, rows, cols, out), batches))
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
    ctx: Snapshot,
    chunks: Sequence[BatchChunk],
    rows: npt.NDArray[np.int64],
    cols: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint32],
) -> None:
    """Fill the nodes that lie in the chunks of one batch; its records are read once, or never."""
    records = None
    for chunk in chunks:
        window = ctx.spec.chunking.chunk_window(chunk.row, chunk.col)
        r0, r1 = np.searchsorted(rows, [window.row0, window.row1])
        c0, c1 = np.searchsorted(cols, [window.col0, window.col1])
        if r0 == r1 or c0 == c1:
            continue
        if records is None:
            records = ctx.manifest.records(chunk.row_group)
        run_ptr, start, zone_id = chunk_runs(ctx, records, chunk)
        own = cols[c0:c1] - window.col0
        for r in range(r0, r1):
            a, b = run_ptr[rows[r] - window.row0 : rows[r] - window.row0 + 2]
            out[r, c0:c1] = zone_id[a:b][np.searchsorted(start[a:b], own, side="right") - 1]


def zone_colours(zone_id: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Colours that tell neighbouring ids apart; no zone is light grey.

    Parameters
    ----------
    zone_id : (...) uint32

    Returns
    -------
    (..., 3) uint8
    """
    hue = (zone_id.astype(np.float64) * _GOLDEN) % 1.0
    light = 0.55 + 0.35 * ((zone_id.astype(np.float64) * _GOLDEN * _GOLDEN) % 1.0)
    phase = 2 * np.pi * (hue[..., None] + np.array([0.0, 1 / 3, 2 / 3]))
    colour = light[..., None] * (0.72 + 0.28 * np.cos(phase))
    colour[zone_id == 0] = 0.94
    scaled: npt.NDArray[np.uint8] = (255 * colour).astype(np.uint8)
    return scaled


def stats_text(table: pd.DataFrame, *, rows: int = 20) -> str:
    """A table of statistics as lines for people: its first rows, and where all pixels went."""
    audit = table.attrs["audit"]
    lines = [table.head(rows).to_string(float_format="{:,.7g}".format)]
    if len(table) > rows:
        lines.append(f"... {len(table) - rows:,} more rows")
    lines += [
        "",
        f"pixels read   {audit['pixels_read']:>18,}",
        f"  in zones    {audit['in_zones']:>18,}",
        f"  no zone     {audit['no_zone']:>18,}",
    ]
    if audit["excluded"]:
        lines.append(f"  excluded    {audit['excluded']:>18,} of those in zones")
    for name, counts in audit["measures"].items():
        said = ", ".join(f"{n:,} {what}" for what, n in counts.items())
        lines.append(f"  {name}: {said}")
    for name, counts in audit["keys"].items():
        said = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
        if said:
            lines.append(f"  ! key {name}: {said}")
    return "\n".join(lines)


def stats_json(table: pd.DataFrame) -> dict[str, Any]:  # Any: JSON
    """A table of statistics for JSON: rows with index and columns, NaN as null."""
    rows = [
        {name: None if value != value else value for name, value in row.items()}
        for row in table.reset_index().to_dict("records")
    ]
    return {"rows": rows, "audit": table.attrs["audit"]}


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    ".parquet": lambda table, path: table.to_parquet(path),
    ".csv": lambda table, path: table.to_csv(path),
    ".zarr": lambda table, path: table.to_xarray().to_zarr(path, mode="w-", consolidated=False),
}


def check_output(path: Path) -> None:
    """Refuse a file that a table cannot be written to, before the table is made.

    Raises
    ------
    ZonerasterError
    """
    if path.suffix.lower() not in _WRITERS:
        raise ZonerasterError(f"cannot write {path}: its name must end in {', '.join(_WRITERS)}")
    if not path.absolute().parent.is_dir():
        raise ZonerasterError(f"cannot write {path}: there is no folder {path.parent}")


def write_stats(table: pd.DataFrame, path: Path) -> None:
    """Write a table of statistics as Parquet, CSV or Zarr, as the name of the file says."""
    _WRITERS[path.suffix.lower()](table, path)


def draw_map(
    store: StoreLike,
    picture: str | os.PathLike[str],
    *,
    width: int = 1600,
    bounds: Sequence[float] | None = None,
    title: str | None = None,
) -> None:
    """Draw a store as a PNG map.

    Parameters
    ----------
    store : path or URL
    picture : path
    width : int
        Pixels of the map itself.
    bounds : west, south, east, north, optional
    title : str, optional
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional extra
    except ImportError:
        raise ZonerasterError("drawing needs matplotlib: pip install 'zoneraster[plot]'") from None
    ids, (west, south, east, north) = sample_zone_ids(store, width=width, bounds=bounds)
    height, width = ids.shape
    figure = Figure(figsize=((width + 140) / 100, (height + 110) / 100), dpi=100)
    axes = figure.add_subplot()
    axes.imshow(
        zone_colours(ids),
        extent=(west, east, south, north),
        interpolation="nearest",
        aspect="auto",
    )
    axes.set_title(title or Path(os.fspath(str(store))).name)
    figure.tight_layout()
    figure.savefig(picture)
