"""Polygons in well-known binary, read without trusting a byte of it.

GEOS crashes on deeply nested collections and believes every count, so each row is walked through
here first: what its type is, whether its counts are true and all of its vertices finite. The same
walk hands out the rings, so that nobody has to walk again.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from zoneraster._burn import kernel
from zoneraster.arrays import Bools, Floats, Ints, Objects
from zoneraster.errors import ZonesError

# What is found in a row's WKB; a positive code is the type of something that is not a polygon.
FINE, NULL, EMPTY, BROKEN, SHORT_RING, NOT_FINITE, SRID = 0, -1, -2, -3, -4, -5, -6
POLYGON, MULTIPOLYGON = 3, 6

# Bytes of the smallest ring that is fine, three vertices of 16 bytes after their number, and what
# there is of it at least for each vertex that it gets, the closing one among them.
_RING_BYTES, _BYTES_PER_VERTEX = 52, 13


@dataclass(frozen=True, eq=False)  # no slots: bounds are kept beside the fields
class Ragged:
    """Closed rings of all parts, without empty ones.

    Parameters
    ----------
    xy : (n_vertices, 2) float64, in units of a CRS
    ring_offsets : (n_rings + 1,) int64, into the vertices
    part_offsets : (n_parts + 1,) int64, into the rings
    part_zone : (n_parts,) int64, ascending
        Which row of the WKB, or which zone, the part belongs to.
    """

    xy: Floats
    ring_offsets: Ints
    part_offsets: Ints
    part_zone: Ints

    @functools.cached_property
    def bounds(self) -> tuple[Floats, Floats]:
        """Least and largest x and y, (2,) float64 each; of at least one vertex."""
        # Many side by side, which NumPy takes twelve times quicker than pairs.
        n = len(self.xy) // 512 * 512
        many, rest = self.xy[:n].reshape(-1, 1024), self.xy[n:]
        low = many.min(axis=0, initial=np.inf).reshape(-1, 2)
        high = many.max(axis=0, initial=-np.inf).reshape(-1, 2)
        return np.vstack([low, rest]).min(axis=0), np.vstack([high, rest]).max(axis=0)


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """What a walk through the WKB of all rows found.

    Parameters
    ----------
    code, detail : (n,) int64
        What a row is (`FINE`, `NULL`, ...), and a number that its message needs.
    is_plain : (n,) bool
        The bytes are those that GEOS itself would write: little endian, 2-D, every ring closed.
    ragged : Ragged
        Rings of the rows that are fine.
    """

    code: Ints
    detail: Ints
    is_plain: Bools
    ragged: Ragged


def walk_wkb(wkb: pa.LargeBinaryArray, *, drop_short: bool = False) -> Walk:
    """Walk through the WKB of all rows, once.

    Parameters
    ----------
    wkb : (n,) pyarrow.LargeBinaryArray
    drop_short : bool
        Pass over rings of less than three vertices, and over the holes of a shell that has no more.
    """
    content, ends = bytes_of(wkb)
    is_null = wkb.is_null().to_numpy(zero_copy_only=False)
    n, n_bytes = len(wkb), int(ends[-1] - ends[0])
    # Room for the most that so many bytes can hold; what is not written to costs no memory.
    n_rings = n_bytes // _RING_BYTES
    places = np.empty(16 * (n_bytes // _BYTES_PER_VERTEX + 1), np.uint8)
    ring_offsets, part_offsets = np.zeros((2, n_rings + 1), np.int64)
    part_zone = np.empty(n_rings, np.int64)
    found, is_plain = np.zeros((n, 2), np.int64), np.zeros(n, np.bool_)
    parts, rings, vertices = _walk_rows(
        content, ends, is_null, found, is_plain,
        (places, ring_offsets, part_offsets, part_zone), drop_short,
    )  # fmt: skip
    ragged = Ragged(
        xy=places[: 16 * vertices].view(np.float64).reshape(vertices, 2),
        ring_offsets=ring_offsets[: rings + 1],
        part_offsets=part_offsets[: parts + 1],
        part_zone=part_zone[:parts],
    )
    return Walk(found[:, 0], found[:, 1], is_plain, ragged)


def bytes_of(wkb: pa.LargeBinaryArray) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Bytes of all rows, and where each begins and the last one ends.

    Raises
    ------
    ZonesError
        When rows do not follow each other, as some readers leave them.
    """
    _, offsets, buffer = wkb.buffers()
    ends = np.frombuffer(offsets, np.int64)[wkb.offset : wkb.offset + len(wkb) + 1]
    content = np.frombuffer(buffer or b"", np.uint8)
    if ends[0] < 0 or ends[-1] > content.size or (np.diff(ends) < 0).any():
        raise ZonesError(
            "the geometries were read into damaged memory, their offsets do not ascend: write them "
            "to GeoParquet with another library, and please report this"
        )
    return content, ends


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


def objects_of(wkb: pa.LargeBinaryArray) -> Objects:
    """Objects of WKB that was walked through; None where GEOS disagrees.

    Open rings are closed.
    """
    blobs = wkb.to_numpy(zero_copy_only=False)
    return np.asarray(shapely.from_wkb(blobs, on_invalid="fix"), dtype=object)


def taken(ragged: Ragged, keep: Bools) -> Ragged:
    """Rings of some zones, which are numbered anew; `keep` is (n_zones,) bool."""
    keep_part = keep[ragged.part_zone]
    keep_ring = np.repeat(keep_part, np.diff(ragged.part_offsets))
    vertices = np.diff(ragged.ring_offsets)
    return Ragged(
        ragged.xy[np.repeat(keep_ring, vertices)],
        np.concatenate([[0], np.cumsum(vertices[keep_ring])]),
        np.concatenate([[0], np.cumsum(np.diff(ragged.part_offsets)[keep_part])]),
        (np.cumsum(keep) - 1)[ragged.part_zone[keep_part]],
    )


def multipolygon_wkb(ragged: Ragged, n_zones: int) -> pa.LargeBinaryArray:
    """WKB of a multipolygon for each zone, as GEOS writes it."""
    ring_bytes = 4 + 16 * np.diff(ragged.ring_offsets)
    of_rings = np.concatenate([[0], np.cumsum(ring_bytes)])
    part_bytes = 9 + np.diff(of_rings[ragged.part_offsets])
    of_parts = np.concatenate([[0], np.cumsum(part_bytes)])
    first_part = np.searchsorted(ragged.part_zone, np.arange(n_zones + 1))
    ends = 9 * np.arange(n_zones + 1) + of_parts[first_part]
    content = np.empty(ends[-1], np.uint8)
    places = np.ascontiguousarray(ragged.xy).view(np.uint8).reshape(-1)
    _write_multipolygons(first_part, ragged.part_offsets, ragged.ring_offsets, places, content)
    buffers = [None, pa.py_buffer(ends.astype(np.int64)), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.large_binary(), n_zones, buffers)


@kernel
def _uint32(content, at, little):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for i in range(4):
        value |= np.int64(content[at + (i if little else 3 - i)]) << (8 * i)
    return value


@kernel
def _header(content, at, end):  # type: ignore[no-untyped-def]
    """Byte order, type (or a code below 0), numbers per vertex of the geometry at `at`, plain."""
    if end - at < 5 or content[at] > 1:
        return True, BROKEN, 2, False
    little = content[at] == 1
    kind = _uint32(content, at + 1, little)
    if kind & 0x20000000:
        return little, SRID, 2, False
    is_plain = little and kind < 1000  # heights, measures and all flags make it larger
    has_z, has_m = kind & 0x80000000 != 0, kind & 0x40000000 != 0
    kind &= 0x0FFFFFFF
    if kind < 4000:
        has_z |= kind // 1000 in (1, 3)
        has_m |= kind // 1000 in (2, 3)
        kind %= 1000
    return little, kind if kind > 0 else BROKEN, 2 + has_z + has_m, is_plain


@kernel
def _copy_ring(content, at, count, numbers, little, places):  # type: ignore[no-untyped-def]
    """Bytes of x and y of the ring at `at` to `places`: WKB is not aligned, `places` is."""
    if little and numbers == 2:
        # As one block: an index that cannot be negative lets the compiler see it.
        ring = content[at : at + 16 * count]
        for i in range(ring.size):
            places[i] = ring[i]
        return
    for i in range(count):
        for j in range(16):
            k = j if little else (j & 8) + 7 - (j & 7)
            places[16 * i + j] = content[at + 8 * numbers * i + k]


@kernel
def _walk_row(content, at, end, row, place, out, drop_short):  # type: ignore[no-untyped-def]  # noqa: PLR0911 - one a finding
    """Walk through the row's bytes ``at`` to ``end``, and write its rings behind `place`.

    Returns code, detail, whether it is plain, and the place behind its last part, ring and vertex,
    which holds when the row is fine.
    """
    part, ring, vertex = place
    places, ring_offsets, part_offsets, part_zone = out
    little, kind, _, is_plain = _header(content, at, end)
    if kind not in (POLYGON, MULTIPOLYGON):
        return kind, 0, False, place
    n_parts, seen = 1, 0
    if kind == MULTIPOLYGON:
        if end - at < 9:
            return BROKEN, 0, False, place
        n_parts, at = _uint32(content, at + 5, little), at + 9
    for _ in range(n_parts):
        little, kind, numbers, is_plain_part = _header(content, at, end)
        if kind != POLYGON or end - at < 9:
            return BROKEN, 0, False, place
        n_rings, at, before = _uint32(content, at + 5, little), at + 9, ring
        is_plain &= is_plain_part and n_rings > 0
        is_passed_over = False
        for r in range(n_rings):
            if end - at < 4:
                return BROKEN, 0, False, place
            count, at = _uint32(content, at, little), at + 4
            if 8 * count * numbers > end - at:
                return BROKEN, 0, False, place
            is_passed_over |= drop_short and r == 0 and count < 3
            if count == 0 or is_passed_over or (drop_short and count < 3):
                is_plain = False
                at += 8 * count * numbers
                seen += count
                continue
            _copy_ring(content, at, count, numbers, little, places[16 * vertex :])
            at += 8 * count * numbers
            numbers_of_ring = places[16 * vertex : 16 * (vertex + count)].view(np.float64)
            for i in range(2 * count):
                if not np.isfinite(numbers_of_ring[i]):
                    return NOT_FINITE, seen + i // 2, False, place
            seen += count
            if count < 3:
                return SHORT_RING, count, False, place
            vertex += count
            x, y = numbers_of_ring[0], numbers_of_ring[1]
            if x != numbers_of_ring[-2] or y != numbers_of_ring[-1]:
                is_plain = False
                last = places[16 * vertex : 16 * (vertex + 1)].view(np.float64)
                last[0], last[1] = x, y
                vertex += 1
            ring += 1
            ring_offsets[ring] = vertex
        if ring > before:
            part_zone[part] = row
            part += 1
            part_offsets[part] = ring
    if vertex == place[2]:
        return EMPTY, 0, False, place
    return FINE, 0, is_plain and at == end, (part, ring, vertex)


@kernel
def _walk_rows(content, ends, is_null, found, is_plain, out, drop_short):  # type: ignore[no-untyped-def]
    """Walk through all rows; return the numbers of parts, rings and vertices of those fine."""
    place = (0, 0, 0)
    for row in range(is_null.size):
        if is_null[row]:
            found[row, 0] = NULL
            continue
        code, detail, is_plain[row], then = _walk_row(
            content, ends[row], ends[row + 1], row, place, out, drop_short
        )
        found[row, 0], found[row, 1] = code, detail
        if code == FINE:
            place = then
    return place


@kernel
def _write_header(content, at, kind, count):  # type: ignore[no-untyped-def]
    content[at] = 1
    for i in range(4):
        content[at + 1 + i] = (kind >> (8 * i)) & 255
        content[at + 5 + i] = (count >> (8 * i)) & 255
    return at + 9


@kernel
def _write_multipolygons(first_part, part_offsets, ring_offsets, places, content):  # type: ignore[no-untyped-def]
    at = 0
    for zone in range(first_part.size - 1):
        a, b = first_part[zone], first_part[zone + 1]
        at = _write_header(content, at, MULTIPOLYGON, b - a)
        for part in range(a, b):
            rings = part_offsets[part + 1] - part_offsets[part]
            at = _write_header(content, at, POLYGON, rings)
            for ring in range(part_offsets[part], part_offsets[part + 1]):
                start, end = ring_offsets[ring], ring_offsets[ring + 1]
                for i in range(4):
                    content[at + i] = ((end - start) >> (8 * i)) & 255
                at += 4
                for i in range(16 * start, 16 * end):
                    content[at] = places[i]
                    at += 1
