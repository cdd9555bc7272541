"""Independent answers: the burn rule in exact fractions, runs and pixels in plain Python."""

from __future__ import annotations

import io
import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import shapely
import zstandard

from zoneraster._build.slabs import ManifestInput, write_manifest
from zoneraster._burn import frame
from zoneraster._burn.overlay import overlay_spans
from zoneraster._burn.spans import make_spans
from zoneraster._grid.chunking import Chunking
from zoneraster._grid.grid import Grid
from zoneraster._store.manifest import Manifest
from zoneraster._zones import Rings


def claims(rings: list[npt.NDArray[np.float64]], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Pixels that one part claims, even-odd, in exact arithmetic.

    A centre (c + 1/2, r + 1/2) is inside when an odd number of edges cross its row at or left of
    it: an edge from v1 to v2 crosses when v1 <= r + 1/2 < v2, and "left" means u - 1/2 < c + ...
    exactly ``floor(u + 1/2) <= c``.
    """
    inside = np.zeros(shape, bool)
    for ring in rings:
        points = [(Fraction(float(u)), Fraction(float(v))) for u, v in ring]
        for (ua, va), (ub, vb) in zip(points, points[1:] + points[:1], strict=True):
            (u1, v1), (u2, v2) = ((ua, va), (ub, vb)) if va <= vb else ((ub, vb), (ua, va))
            for row in range(shape[0]):
                centre = row + Fraction(1, 2)
                if v1 <= centre < v2:
                    u = u1 + (centre - v1) * (u2 - u1) / (v2 - v1)
                    inside[row, max(math.floor(u + Fraction(1, 2)), 0) :] ^= True
    return inside


def runs_of(
    image: npt.NDArray[np.unsignedinteger],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Runs of an image: row pointers, first columns, values."""
    starts = [np.flatnonzero(np.diff(row.astype(np.int64), prepend=-1)) for row in image]
    ptr = np.cumsum([0, *(s.size for s in starts)]).astype(np.int64)
    values = [row[s].astype(np.int64) for row, s in zip(image, starts, strict=True)]
    return ptr, np.concatenate(starts).astype(np.int32), np.concatenate(values)


def decoded(data: bytes, shape: tuple[int, int], itemsize: int) -> npt.NDArray[np.unsignedinteger]:
    """Pixels of a frame, by libzstd."""
    size = shape[0] * shape[1] * itemsize
    raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    assert len(raw) == size
    return np.frombuffer(raw, f"<u{itemsize}").reshape(shape)


def unit_grid(height: int, width: int) -> Grid:
    """A grid whose pixel coordinates are (x, height - y)."""
    return Grid("EPSG:3857", (1, 0, 0, 0, -1, height), (height, width))


def rings_of(geometries: npt.NDArray[np.object_], grid: Grid) -> Rings:
    """Ragged pixel coordinates of polygons."""
    parts, zone = shapely.get_parts(geometries, return_index=True)
    _, xy, (ring_offsets, part_offsets) = shapely.to_ragged_array(parts)
    u, v = grid.to_pixels(xy[:, 0], xy[:, 1])
    return Rings(
        u, v, ring_offsets.astype(np.int64), part_offsets.astype(np.int64), zone.astype(np.int64)
    )


def planned(
    rings: Rings,
    shape: tuple[int, int],
    chunks: tuple[int, int],
    *,
    touched: bool = False,
    batch: int = 2,
) -> tuple[Manifest, Chunking]:
    """Manifest of zones 1, 2, 3, ... painted in that order."""
    cut = Chunking(shape, chunks, batch)
    n = int(rings.part_zone.max(initial=-1)) + 1
    source = ManifestInput(rings, np.arange(1, n + 1, dtype=np.uint32), np.arange(n), cut, b"spec")
    sink = io.BytesIO()
    index, *_ = write_manifest(source, sink)
    return Manifest(sink, index, chunking=cut, spec_hash=b"spec", touched=touched), cut


def burned(
    rings: Rings, shape: tuple[int, int], chunks: tuple[int, int], *, touched: bool = False
) -> tuple[npt.NDArray[np.uint32], dict[int, tuple[int, int, int]]]:
    """Canvas burned chunk by chunk through manifest, runs and frames; counts per zone."""
    opened, cut = planned(rings, shape, chunks, touched=touched)
    canvas = np.zeros(shape, np.uint32)
    totals: dict[int, tuple[int, int, int]] = {}
    for chunk in opened.index.to_pylist():
        records = opened.records(chunk["row_group"])
        own = records.of_chunk(chunk["first_record"], chunk["n_records"])
        window = cut.chunk_window(chunk["chunk_row"], chunk["chunk_col"])
        new = np.concatenate([[True], np.diff(own.zone_id.astype(np.int64)) != 0])
        ids, number = own.zone_id[new].astype(np.int64), np.cumsum(new) - 1
        corner = (window.row0, window.col0, window.height, window.width)
        spans = make_spans(number, *own[3:], corner, touched)
        run_ptr, start, value, *counts, _ = overlay_spans(
            *spans, ids.size, *chunks, np.ones(window.height)
        )
        data = frame.encode(
            run_ptr, start, np.concatenate([[0], ids])[value], width=chunks[1], itemsize=4
        )
        pixels = decoded(data, chunks, 4)
        assert not pixels[window.height :].any(), "nothing may be burned below the grid"
        assert not pixels[:, window.width :].any(), "nothing may be burned right of the grid"
        canvas[window.slices] = pixels[: window.height, : window.width]
        for zone, *new_counts in zip(ids.tolist(), *(c.tolist() for c in counts), strict=True):
            old = totals.get(zone, (0, 0, 0))
            totals[zone] = tuple(a + b for a, b in zip(old, new_counts, strict=True))
    return canvas, totals


def painted(
    masks: list[npt.NDArray[np.bool_]],
) -> tuple[npt.NDArray[np.uint32], dict[int, tuple[int, int, int]]]:
    """The same by painting whole masks one over the other."""
    canvas = np.zeros(masks[0].shape, np.uint32)
    depth = np.sum(masks, axis=0)
    for number, mask in enumerate(masks, start=1):
        canvas[mask] = number
    counts = {
        number: (int(mask.sum()), int((canvas == number).sum()), int((mask & (depth > 1)).sum()))
        for number, mask in enumerate(masks, start=1)
    }
    return canvas, counts


def star(
    rng: np.random.Generator, centre: tuple[float, float], radius: float, n: int
) -> npt.NDArray[np.float64]:
    """A random star-shaped ring, (n, 2) float64."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, n))
    length = radius * rng.uniform(0.2, 1.0, n)
    return np.stack(
        [centre[0] + length * np.cos(angle), centre[1] + length * np.sin(angle)], axis=1
    )


def snapped(points: npt.NDArray[np.float64], how: str) -> npt.NDArray[np.float64]:
    """Points as they are, on half pixels, or on whole pixels."""
    if how == "half":
        return np.round(points * 2) / 2
    return np.round(points) if how == "whole" else points
