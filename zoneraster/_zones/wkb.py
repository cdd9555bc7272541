"""Polygons in well-known binary, read without trusting a byte of it.

GEOS crashes on deeply nested collections and believes every count, so each row is surveyed here
first: what its type is, how many rings and vertices it holds, whether all of them are finite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from zoneraster.arrays import Floats, Ints, Objects

# What is found in a row's WKB; a positive code is the type of something that is not a polygon.
FINE, NULL, EMPTY, BROKEN, SHORT_RING, NOT_FINITE, SRID = 0, -1, -2, -3, -4, -5, -6
POLYGON, MULTIPOLYGON = 3, 6


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """As `Rings`, with ``xy`` (n_vertices, 2) in units of a CRS."""

    xy: Floats
    ring_offsets: Ints
    part_offsets: Ints
    part_zone: Ints


def wkb_of(geometry: Objects) -> pa.LargeBinaryArray:
    """WKB of objects; of anything but polygons the header alone."""
    kind = shapely.get_type_id(geometry)
    foreign = (kind >= 0) & (kind != POLYGON) & (kind != MULTIPOLYGON)
    polygons = geometry.copy()
    polygons[foreign] = None
    wkb = shapely.to_wkb(polygons, byte_order=1)
    # shapely counts points as 0, lines as 1 and rings as 2, WKB points as 1 and lines as 2.
    headers = [b"\x01" + int(k + (k < 2)).to_bytes(4, "little") for k in kind[foreign]]
    wkb[foreign] = headers
    return pa.array(wkb, pa.large_binary())


def _buffers(wkb: pa.LargeBinaryArray) -> tuple[npt.NDArray[np.uint8], Ints]:
    _, offsets, content = wkb.buffers()
    ends = np.frombuffer(offsets, np.int64)[wkb.offset : wkb.offset + len(wkb) + 1]
    return np.frombuffer(content or b"", np.uint8), ends


def survey_rows(wkb: pa.LargeBinaryArray) -> Ints:
    """Code, detail, and numbers of parts, rings and vertices of each row, (n, 5) int64."""
    content, ends = _buffers(wkb)
    survey = np.zeros((len(wkb), 5), np.int64)
    _survey_all(content, ends, survey)
    survey[wkb.is_null().to_numpy(zero_copy_only=False)] = (NULL, 0, 0, 0, 0)
    return survey


def ragged_of(wkb: pa.LargeBinaryArray) -> Ragged:
    """Rings of all rows; those that are not fine have none."""
    survey = survey_rows(wkb)
    n_parts, n_rings, n_vertices = survey[:, 2:].sum(axis=0)
    ragged = Ragged(
        np.empty((n_vertices, 2), np.float64),
        np.zeros(n_rings + 1, np.int64),
        np.zeros(n_parts + 1, np.int64),
        np.empty(n_parts, np.int64),
    )
    out = (ragged.xy, ragged.ring_offsets, ragged.part_offsets, ragged.part_zone)
    _fill_rows(*_buffers(wkb), survey, *out)
    return ragged


@nb.njit(nogil=True, cache=True)
def _uint32(content, at, little):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for i in range(4):
        value |= np.int64(content[at + (i if little else 3 - i)]) << (8 * i)
    return value


@nb.njit(nogil=True, cache=True)
def _header(content, at, end):  # type: ignore[no-untyped-def]
    """Byte order, type (or a code below 0) and numbers per vertex of the geometry at `at`."""
    if end - at < 5 or content[at] > 1:
        return True, BROKEN, 2
    little = content[at] == 1
    kind = _uint32(content, at + 1, little)
    if kind & 0x20000000:
        return little, SRID, 2
    has_z, has_m = kind & 0x80000000 != 0, kind & 0x40000000 != 0
    kind &= 0x0FFFFFFF
    if kind < 4000:
        has_z |= kind // 1000 in (1, 3)
        has_m |= kind // 1000 in (2, 3)
        kind %= 1000
    return little, kind if kind > 0 else BROKEN, 2 + has_z + has_m


@nb.njit(nogil=True, cache=True)
def _vertices(content, at, count, numbers, little):  # type: ignore[no-untyped-def]
    """Vertices of the ring at `at`, (count, numbers) float64; copied, because WKB is unaligned."""
    piece = content[at : at + 8 * count * numbers].copy()
    if not little:
        for i in range(0, piece.size, 8):
            piece[i : i + 8] = piece[i : i + 8][::-1].copy()
    return piece.view(np.float64).reshape((count, numbers))


@nb.njit(nogil=True, cache=True)
def _survey_row(content, at, end):  # type: ignore[no-untyped-def]  # noqa: PLR0911 - one a finding
    little, kind, _ = _header(content, at, end)
    if kind not in (POLYGON, MULTIPOLYGON):
        return kind, 0, 0, 0, 0
    parts, n_parts, n_rings, n_vertices, seen = 1, 0, 0, 0, 0
    if kind == MULTIPOLYGON:
        if end - at < 9:
            return BROKEN, 0, 0, 0, 0
        parts, at = _uint32(content, at + 5, little), at + 9
    for _ in range(parts):
        little, kind, numbers = _header(content, at, end)
        if kind != POLYGON or end - at < 9:
            return BROKEN, 0, 0, 0, 0
        rings, at, before = _uint32(content, at + 5, little), at + 9, n_rings
        for _ in range(rings):
            if end - at < 4:
                return BROKEN, 0, 0, 0, 0
            count, at = _uint32(content, at, little), at + 4
            if 8 * count * numbers > end - at:
                return BROKEN, 0, 0, 0, 0
            ring = _vertices(content, at, count, numbers, little)
            at += 8 * count * numbers
            for i in range(count):
                if not (np.isfinite(ring[i, 0]) and np.isfinite(ring[i, 1])):
                    return NOT_FINITE, seen + i, 0, 0, 0
            seen += count
            if count == 0:
                continue
            if count < 3:
                return SHORT_RING, count, 0, 0, 0
            is_open = ring[0, 0] != ring[-1, 0] or ring[0, 1] != ring[-1, 1]
            n_rings += 1
            n_vertices += count + is_open
        n_parts += n_rings > before
    return FINE if n_vertices else EMPTY, 0, n_parts, n_rings, n_vertices


@nb.njit(nogil=True, cache=True)
def _survey_all(content, ends, out):  # type: ignore[no-untyped-def]
    for row in range(out.shape[0]):
        code, detail, n_parts, n_rings, n_vertices = _survey_row(content, ends[row], ends[row + 1])
        out[row, 0], out[row, 1], out[row, 2] = code, detail, n_parts
        out[row, 3], out[row, 4] = n_rings, n_vertices


@nb.njit(nogil=True, cache=True)
def _fill_rows(content, ends, survey, xy, ring_offsets, part_offsets, part_zone):  # type: ignore[no-untyped-def]
    """Write what `_survey_all` has counted; rings are closed, empty ones left out."""
    part, ring_number, vertex = 0, 0, 0
    for row in range(survey.shape[0]):
        if survey[row, 0] != FINE:
            continue
        at, end = ends[row], ends[row + 1]
        little, kind, _ = _header(content, at, end)
        parts = 1
        if kind == MULTIPOLYGON:
            parts, at = _uint32(content, at + 5, little), at + 9
        for _ in range(parts):
            little, _, numbers = _header(content, at, end)
            rings, at, before = _uint32(content, at + 5, little), at + 9, ring_number
            for _ in range(rings):
                count, at = _uint32(content, at, little), at + 4
                ring = _vertices(content, at, count, numbers, little)
                at += 8 * count * numbers
                if count == 0:
                    continue
                xy[vertex : vertex + count] = ring[:, :2]
                vertex += count
                if ring[0, 0] != ring[-1, 0] or ring[0, 1] != ring[-1, 1]:
                    xy[vertex] = ring[0, :2]
                    vertex += 1
                ring_number += 1
                ring_offsets[ring_number] = vertex
            if ring_number > before:
                part_zone[part] = row
                part += 1
                part_offsets[part] = ring_number
