"""Pictures: a store as a map."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zoneraster._grid import Chunking, Grid, Window
from zoneraster._stats import StoredZones, ZoneRuns
from zoneraster._store import (
    BatchChunk,
    expected_receipts,
    found_receipts,
    is_done,
    open_snapshot,
)
from zoneraster.blobs import Location, StoreLike
from zoneraster.errors import ZonerasterError, number_of, warn, without
from zoneraster.executors import cpu_count

PICTURES = (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".tif", ".tiff", ".webp")
_GOLDEN = 0.6180339887498949


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
    for chunk in chunks:
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
        raise without("matplotlib", "drawing") from None
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
