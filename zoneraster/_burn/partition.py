"""Edges to chunks, exactly and once: the kernel behind the manifest.

A part that spans many chunks is swept one chunk row at a time. Each edge goes to the chunks in
which its crossings fall; for all chunks to the right it only *toggles* "inside at the left
boundary" on its rows. Toggles of neighbouring edges share ends, so that along a closed boundary
nearly all of them cancel: what is left per chunk is a few row intervals, kept as a sorted list of
row numbers. The end points of an edge are never changed, so a chunk computes the integers of the
whole canvas.
"""

from __future__ import annotations

import numpy as np

from zoneraster._burn.arrays import grown, put, sort_stretch, stable_order
from zoneraster._burn.cache import inlined, kernel
from zoneraster._burn.rule import (
    crossing,
    first_row,
    last_column,
    touched_columns,
    touched_rows,
    upper_first,
)

# Pixels between the edges of a part and the sides of the one chunk that it needs.
_MARGIN = 2


@kernel
def _edge_columns(edge, a, b):  # type: ignore[no-untyped-def]
    """Crossing rows of an edge within [a, b), and the columns (lo, hi) it needs, both inclusive.

    By any rule: those of its crossings, those that it touches, those that it bounds.
    """
    u1, v1, u2, v2 = upper_first(edge)
    ca, cb = max(a, first_row(v1)), min(b, first_row(v2))
    lo, hi = int(2**41), -int(2**41)
    if ca < cb:
        k0, k1 = crossing(u1, v1, u2, v2, ca), crossing(u1, v1, u2, v2, cb - 1)
        lo, hi = min(k0, k1), max(k0, k1)
    ta, tb = touched_rows(v1, v2)
    ta, tb = max(a, ta), min(b, tb)
    if ta < tb:
        p0, _ = touched_columns(u1, v1, u2, v2, ta)
        p1, _ = touched_columns(u1, v1, u2, v2, tb - 1)
        q0, q1 = last_column(u1, v1, u2, v2, ta), last_column(u1, v1, u2, v2, tb - 1)
        lo, hi = min(lo, min(p0, p1)), max(hi, max(q0, q1))
    return ca, cb, lo, hi


@kernel
def _pieces(edges, e0, e1, band_of_rows, pieces, toggles):  # type: ignore[no-untyped-def]
    """Cut the edges of one part at chunk rows: (chunk, edge) pieces and toggles.

    `band_of_rows` is (row0, row1, width, chunk height, chunk width), as `partition_edges` has them;
    `pieces` are (key, edge) and `toggles` (key, first row, end row), written to and grown.
    A chunk's key is ``band * (n_cols + 1) + column`` with bands counted from `row0`; toggle rows
    are counted from the top of their band. Consecutive toggles of one key that share an end are
    joined on the way (interval XOR), which leaves one for a whole monotone or winding chain.
    """
    row0, row1, width, chunk_h, chunk_w = band_of_rows
    key, eid = pieces
    tkey, ta, tb = toggles
    n_cols = (width + chunk_w - 1) // chunk_w
    n = t = 0
    for e in range(e0, e1):
        a, b = touched_rows(min(edges[e, 1], edges[e, 3]), max(edges[e, 1], edges[e, 3]))
        a, b = max(a, row0), min(b, row1)
        if a >= b:
            continue
        for band in range((a - row0) // chunk_h, (b - 1 - row0) // chunk_h + 1):
            top = row0 + band * chunk_h
            ca, cb, lo, hi = _edge_columns(edges[e], max(a, top), min(b, top + chunk_h))
            if lo >= width or lo > hi:
                continue
            last = min(hi, width - 1) // chunk_w if hi >= 0 else -1
            for column in range(max(lo, 0) // chunk_w, last + 1):
                if n == key.size:
                    key, eid = grown(key, n + 1), grown(eid, n + 1)
                key[n] = band * (n_cols + 1) + column
                eid[n] = e
                n += 1
            if last + 1 >= n_cols or ca >= cb:
                continue
            k, x, y = band * (n_cols + 1) + last + 1, ca - top, cb - top
            if t > 0 and tkey[t - 1] == k:
                p, q = ta[t - 1], tb[t - 1]
                if x == p or x == q or y == p or y == q:
                    if x == p:
                        x, y = min(y, q), max(y, q)
                    elif y == q:
                        x, y = min(x, p), max(x, p)
                    elif x == q:
                        x = p
                    else:
                        y = q
                    ta[t - 1], tb[t - 1] = x, y
                    if x == y:
                        t -= 1
                    continue
            if t == tkey.size:
                tkey, ta, tb = grown(tkey, t + 1), grown(ta, t + 1), grown(tb, t + 1)
            tkey[t], ta[t], tb[t] = k, x, y
            t += 1
    return n, t, (key, eid), (tkey, ta, tb)


@kernel
def _stable_order(key, n, n_keys):  # type: ignore[no-untyped-def]
    """Stable ascending order of ``key[:n]``: by counting when that is cheaper than comparing."""
    if n < n_keys // 8:
        return stable_order(key[:n])
    start = np.zeros(n_keys + 1, np.int64)
    for i in range(n):
        start[key[i] + 1] += 1
    for k in range(n_keys):
        start[k + 1] += start[k]
    order = np.empty(n, np.int64)
    for i in range(n):
        order[start[key[i]]] = i
        start[key[i]] += 1
    return order


@kernel
def _xor_rows(state, n, new, m, out):  # type: ignore[no-untyped-def]
    """Symmetric difference of two row lists into `out`: `state` is sorted and distinct, `new` any.

    `new` is left sorted.
    """
    sort_stretch(new, 0, m)
    i = j = k = 0
    while i < n or j < m:
        if j < m and j + 1 < m and new[j] == new[j + 1]:
            j += 2
        elif i < n and (j >= m or state[i] < new[j]):
            out[k] = state[i]
            i += 1
            k += 1
        elif i < n and state[i] == new[j]:
            i += 1
            j += 1
        else:
            out[k] = new[j]
            j += 1
            k += 1
    return k


@kernel
def _event_rows(tkey, ta, tb, order, j, t, k, rows):  # type: ignore[no-untyped-def]
    """Collect both ends of every toggle with key `k`, from position `j` of `order` on."""
    m = 0
    while j < t and tkey[order[j]] == k:
        if m + 2 > rows.size:
            rows = grown(rows, m + 2)
        rows[m], rows[m + 1] = ta[order[j]], tb[order[j]]
        m += 2
        j += 1
    return j, m, rows


@inlined
def _column_in_band(key, band, n_cols):  # type: ignore[no-untyped-def]
    """Chunk column of a key; the end of the band when it belongs to a later one."""
    return key - band * (n_cols + 1) if key // (n_cols + 1) == band else n_cols


@inlined
def _appended(out, n, more):  # type: ignore[no-untyped-def]
    """`out` with `more` behind its first `n` items, grown where needed."""
    if n + more.size > out.size:
        out = grown(out, n + more.size)
    put(out, n, more)
    return out


@kernel
def _twice_the_room(part, chunk, full, e_ptr, t_ptr):  # type: ignore[no-untyped-def]
    """Records, as `partition_edges` gathers them."""
    return grown(part, 0), grown(chunk, 0), grown(full, 0), grown(e_ptr, 0), grown(t_ptr, 0)


@kernel
def _only_chunk(edges, e0, e1, band_of_rows):  # type: ignore[no-untyped-def]
    """The chunk that all edges of a part lie in, or -1 where they are near the sides of one.

    A closed boundary leaves no toggles to the right of all its edges.
    """
    row0, row1, width, chunk_h, chunk_w = band_of_rows
    west, north, east, south = np.inf, np.inf, -np.inf, -np.inf
    for e in range(e0, e1):
        west, east = min(west, edges[e, 0], edges[e, 2]), max(east, edges[e, 0], edges[e, 2])
        north, south = min(north, edges[e, 1], edges[e, 3]), max(south, edges[e, 1], edges[e, 3])
    # With a margin, so that what an edge crosses, touches or bounds is in the same chunk.
    west, north, east, south = west - _MARGIN, north - _MARGIN, east + _MARGIN, south + _MARGIN
    if not (0 <= west <= east < width and row0 <= north <= south < row1):
        return np.int64(-1)
    column, band = int(west) // chunk_w, (int(north) - row0) // chunk_h
    if east >= (column + 1) * chunk_w or south >= row0 + (band + 1) * chunk_h:
        return np.int64(-1)
    return band * ((width + chunk_w - 1) // chunk_w) + column


@kernel
def partition_edges(edges, edge_offsets, row0, row1, width, chunk_h, chunk_w):  # type: ignore[no-untyped-def]
    """Hand the edges of parts to the chunks of rows ``[row0, row1)``.

    Parameters
    ----------
    edges : (n, 4) float64, global pixel coordinates, see `edges_in_rows`
    edge_offsets : (n_parts + 1,) int64
    row0, row1 : int
        A whole number of chunk rows, but for the end of the grid.
    width : int
        Columns of the grid.
    chunk_h, chunk_w : int

    Returns
    -------
    part : (m,) int64
        The part of each record; parts ascend.
    chunk : (m,) int64
        ``band * n_chunk_columns + chunk_column``, bands counted from `row0`.
    full : (m,) bool
        The part covers the chunk (as far as the grid goes) and has no edge in it.
    record_edges : (m + 1,) int64 offsets, edge_index : (k,) int64 into `edges`
    record_toggles : (m + 1,) int64 offsets, toggles : (t,) int32
        Sorted rows, counted from the chunk's top, at which "inside at the left boundary" flips.
    """
    n_cols = (width + chunk_w - 1) // chunk_w
    n_bands = (row1 - row0 + chunk_h - 1) // chunk_h
    m = n_out = t_out = 0
    part, chunk = np.empty(1024, np.int64), np.empty(1024, np.int64)
    full = np.empty(1024, np.bool_)
    e_ptr, t_ptr = np.zeros(1025, np.int64), np.zeros(1025, np.int64)
    out_edges, out_rows = np.empty(1024, np.int64), np.empty(1024, np.int32)
    pieces = (np.empty(1024, np.int64), np.empty(1024, np.int64))
    toggles = (np.empty(64, np.int64), np.empty(64, np.int32), np.empty(64, np.int32))
    rows = np.empty(64, np.int32)
    band_of_rows = (row0, row1, width, chunk_h, chunk_w)
    for p in range(edge_offsets.size - 1):
        if m + 1 >= part.size:
            part, chunk, full, e_ptr, t_ptr = _twice_the_room(part, chunk, full, e_ptr, t_ptr)
        e0, e1 = edge_offsets[p], edge_offsets[p + 1]
        only = _only_chunk(edges, e0, e1, band_of_rows)
        if only >= 0:
            part[m], chunk[m], full[m] = p, only, False
            if n_out + e1 - e0 > out_edges.size:
                out_edges = grown(out_edges, n_out + e1 - e0)
            for e in range(e0, e1):
                out_edges[n_out] = e
                n_out += 1
            m += 1
            e_ptr[m], t_ptr[m] = n_out, t_out
            continue
        n, t, pieces, toggles = _pieces(edges, e0, e1, band_of_rows, pieces, toggles)
        key, eid = pieces
        tkey, ta, tb = toggles
        order = _stable_order(key, n, n_bands * (n_cols + 1))
        t_order = stable_order(tkey[:t])
        i = j = n_state = 0
        band = -1
        state, spare = np.empty(2 * t, np.int32), np.empty(2 * t, np.int32)
        while i < n or j < t:
            k = key[order[i]] if i < n else tkey[t_order[j]]
            if j < t:
                k = min(k, tkey[t_order[j]])
            if k // (n_cols + 1) != band:
                band, n_state = k // (n_cols + 1), 0
            band_h = min(chunk_h, row1 - row0 - band * chunk_h)
            column = k - band * (n_cols + 1)
            j, n_new, rows = _event_rows(tkey, ta, tb, t_order, j, t, k, rows)
            if n_new:
                n_state = _xor_rows(state, n_state, rows, n_new, spare)
                state, spare = spare, state
            i0 = i
            while i < n and key[order[i]] == k:
                i += 1
            # Up to the next event the chunks repeat: what has an edge here continues without one.
            stop = n_cols
            if i < n:
                stop = _column_in_band(key[order[i]], band, n_cols)
            if j < t:
                stop = min(stop, _column_in_band(tkey[t_order[j]], band, n_cols))
            first = column if i > i0 or n_state else stop
            last = stop if n_state else column + 1
            for c in range(first, min(last, stop)):
                if m + 1 >= part.size:
                    part, chunk, full, e_ptr, t_ptr = _twice_the_room(
                        part, chunk, full, e_ptr, t_ptr
                    )
                part[m], chunk[m] = p, band * n_cols + c
                has_edges = c == column and i > i0
                full[m] = not has_edges and n_state == 2 and state[0] == 0 and state[1] == band_h
                if has_edges:
                    out_edges = _appended(out_edges, n_out, eid[order[i0:i]])
                    n_out += i - i0
                if not full[m]:
                    out_rows = _appended(out_rows, t_out, state[:n_state])
                    t_out += n_state
                m += 1
                e_ptr[m], t_ptr[m] = n_out, t_out
    return (
        part[:m], chunk[:m], full[:m],
        e_ptr[: m + 1], out_edges[:n_out], t_ptr[: m + 1], out_rows[:t_out],
    )  # fmt: skip
