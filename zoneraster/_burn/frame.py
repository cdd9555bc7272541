"""Zstandard frames straight from runs: cost follows the runs, not the pixels (RFC 8878).

A pixel row is described by what changes: a stretch that equals the row above is a match at the
distance of one row, the rest of a run is a match at the distance of one pixel, and only the first
pixel of a new run is a literal. libzstd has to find such matches in 64 MB of pixels; here they are
known. The frame says its content size, asks for a window of one row (128 KiB at least), carries no
checksum, and uses raw literals and the predefined FSE tables, so that any decoder reads it.

Where a block would not become smaller that way (noise), or a row does not fit into the window that
decoders allow, `encode_runs` gives up and the caller paints bands of pixels and hands them to
libzstd: `encode_bands`. Which way is taken depends on the runs and the width alone, so equal runs
give equal bytes.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import zstandard

from zoneraster._burn.arrays import put
from zoneraster._burn.cache import inlined, kernel

BLOCK = 128 * 1024
# Level of `encode_bands`: label images gain nothing from higher ones.
LEVEL = 1
BAND_ROWS = 64
# Of wide rows there are fewer in a band.
BAND_BYTES = 1 << 26
# A decoder that streams refuses a larger window, and with it rows that do not fit in. Far beyond,
# the predefined table has no code for the distance of a row.
MAX_WINDOW_LOG = 27
_MIN_MATCH = 3
# A block can end this much early so that no shorter match is left over, see `_pack_block`.
_SLACK = 2 * _MIN_MATCH
_MAGIC = 0xFD2FB528

_Ints: TypeAlias = npt.NDArray[np.int64]

# RFC 8878, 3.1.1.3.2.2: default distributions of literal length, match length and offset codes.
_LL_NORM = [4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1]  # fmt: skip # noqa: E501
_ML_NORM = [1, 4, 3, 2, 2, 2, 2, 2, 2, *[1] * 37, *[-1] * 7]
_OF_NORM = [1, 1, 1, 1, 1, 1, 2, 2, 2, *[1] * 15, *[-1] * 5]
# RFC 8878, 3.1.1.3.2.1.1: extra bits of each literal length and match length code.
_LL_BITS = [*[0] * 16, 1, 1, 1, 1, 2, 2, 3, 3, 4, *range(6, 17)]
_ML_BITS = [*[0] * 32, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, *range(7, 17)]


def _baselines(bits: list[int], start: int) -> _Ints:
    """Smallest value of each code, from the number of extra bits of those before it."""
    steps = np.cumsum([0, *(1 << b for b in bits[:-1])])
    return (start + steps).astype(np.int64)


def _encoding_table(norm: list[int], log: int) -> tuple[_Ints, _Ints, _Ints]:
    """FSE encoding table of a normalized distribution (RFC 8878, 4.1.1).

    Returns
    -------
    next_state : (2**log,) int64
        State after a symbol, indexed by ``(state >> n_bits) + find_state[symbol]``.
    delta_bits, find_state : (n_symbols,) int64
        ``n_bits = (state + delta_bits[symbol]) >> 16`` bits of the state are written.
    """
    size = 1 << log
    symbol_at = np.full(size, -1, np.int64)
    high = size - 1
    for symbol, count in enumerate(norm):
        if count == -1:
            symbol_at[high] = symbol
            high -= 1
    position, step = 0, (size >> 1) + (size >> 3) + 3
    for symbol, count in enumerate(norm):
        for _ in range(max(count, 0)):
            symbol_at[position] = symbol
            position = (position + step) & (size - 1)
            while position > high:
                position = (position + step) & (size - 1)
    counts = np.abs(norm)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    next_state = np.empty(size, np.int64)
    seen = first.copy()
    for state in range(size):
        symbol = symbol_at[state]
        next_state[seen[symbol]] = size + state
        seen[symbol] += 1
    # A symbol with n of the 2**log slots costs log - floor(log2(n)) bits, or one less.
    most_bits = np.array(
        [log if c == 1 else log - ((int(c) - 1).bit_length() - 1) for c in counts], np.int64
    )
    return next_state, (most_bits << 16) - (counts << most_bits), first - counts


_LL_BASE, _ML_BASE = _baselines(_LL_BITS, 0), _baselines(_ML_BITS, _MIN_MATCH)
_TABLES = (
    *_encoding_table(_LL_NORM, 6),
    *_encoding_table(_ML_NORM, 6),
    *_encoding_table(_OF_NORM, 5),
    # The code of a length is a table for the short ones, and follows from its highest bit beyond.
    np.searchsorted(_LL_BASE, np.arange(64), side="right") - 1,
    _LL_BASE,
    np.array(_LL_BITS, np.int64),
    np.searchsorted(_ML_BASE, np.arange(128) + _MIN_MATCH, side="right") - 1,
    _ML_BASE,
    np.array(_ML_BITS, np.int64),
)


@inlined
def _value_above(run, end, start, x, stop):  # type: ignore[no-untyped-def]
    """Advance `run` to the one that holds column `x`; return it and where it stops."""
    while run + 1 < end and start[run + 1] <= x:
        run += 1
    return run, start[run + 1] if run + 1 < end else stop


@kernel
def sequences(run_ptr, start, value, width, itemsize):  # type: ignore[no-untyped-def]
    """Describe a chunk as literals and matches.

    Parameters
    ----------
    run_ptr : (height + 1,) int64
    start : (m,) int32
    value : (m,) int64, zone ids
    width, itemsize : int

    Returns
    -------
    literals : (k,) uint8
    n_literals : (s,) int64
        Literal bytes before each match.
    match : (s,) int64
        Bytes of each match, 3 at least.
    above : (s,) bool
        The match is at the distance of a row, otherwise of a pixel.
    tail : int
        Literal bytes after the last match.
    """
    height = run_ptr.size - 1
    # Each run gives one literal pixel and one match, and each change of the row above may split
    # one; a stretch shorter than a match is literal.
    room = 2 * value.size + 2
    literals = np.empty((room + value.size) * (itemsize + 2 * _MIN_MATCH), np.uint8)
    n_literals, match = np.empty(room, np.int64), np.empty(room, np.int64)
    above = np.empty(room, np.bool_)
    n = n_lit = pending = 0
    for r in range(height):
        i, i_end = run_ptr[r], run_ptr[r + 1]
        j, j_end = (run_ptr[r - 1], run_ptr[r]) if r > 0 else (0, 0)
        x = 0
        while x < width:
            i, i_stop = _value_above(i, i_end, start, x, width)
            # How far do this row and the one above agree from x on?
            same = x
            if r > 0:
                j, j_stop = _value_above(j, j_end, start, x, width)
                q, q_stop, p, p_stop = i, i_stop, j, j_stop
                while value[q] == value[p] and same < width:
                    same = min(q_stop, p_stop)
                    if same < width:
                        q, q_stop = _value_above(q, i_end, start, same, width)
                        p, p_stop = _value_above(p, j_end, start, same, width)
            inside = x > start[i]
            if (same - x) * itemsize >= _MIN_MATCH and not (inside and i_stop > same):
                stop, is_above = same, True
            else:
                stop, is_above = i_stop, False
                if not inside or (stop - x) * itemsize < _MIN_MATCH:
                    n_pixels = 1 if (stop - x - 1) * itemsize >= _MIN_MATCH else stop - x
                    for _ in range(n_pixels):
                        for b in range(itemsize):
                            literals[n_lit] = (value[i] >> (8 * b)) & 255
                            n_lit += 1
                    pending += n_pixels * itemsize
                    x += n_pixels
                if x == stop:
                    continue
            if pending == 0 and n > 0 and above[n - 1] == is_above:
                match[n - 1] += (stop - x) * itemsize
            else:
                n_literals[n], match[n], above[n] = pending, (stop - x) * itemsize, is_above
                n += 1
                pending = 0
            x = stop
    return literals[:n_lit], n_literals[:n], match[:n], above[:n], pending


@inlined
def _high_bit(value):  # type: ignore[no-untyped-def]
    """Position of the highest bit of a value below 2**32."""
    high = 0
    for shift in (16, 8, 4, 2, 1):
        if value >> shift:
            value >>= shift
            high += shift
    return high


@inlined
def _flush(out, n, bits, n_bits):  # type: ignore[no-untyped-def]
    """Write the whole bytes of a bit buffer; return the end and what is left.

    Always stores eight bytes (one instruction), of which only the whole ones count.
    """
    for b in range(8):
        out[n + b] = np.uint8((bits >> np.uint64(8 * b)) & np.uint64(255))
    whole = n_bits >> 3
    return n + whole, bits >> np.uint64(8 * whole), n_bits & 7


@inlined
def _repeat_offset(distance, n_literals, repeat):  # type: ignore[no-untyped-def]
    """Offset value of a match (RFC 8878, 3.1.1.5), updating the three repeat offsets."""
    r1, r2, r3 = repeat[0], repeat[1], repeat[2]
    shift = 0 if n_literals > 0 else 1  # without literals, the last offset itself is not offered
    if distance == r1 and shift == 0:
        return 1
    repeat[0], repeat[1] = distance, r1
    if distance == r2:
        return 2 - shift
    repeat[2] = r2
    if distance == r3:
        return 3 - shift
    return distance + 3


@inlined
def _put(out, n, value, size):  # type: ignore[no-untyped-def]
    """Write `size` little-endian bytes."""
    for b in range(size):
        out[n + b] = (value >> (8 * b)) & 255
    return n + size


@kernel
def _put_bitstream(out, n, seq, count, tables):  # type: ignore[no-untyped-def]
    """Write the sequences of a block, last one first, as an FSE bitstream.

    `seq` is (3, count): literal length, match length, offset value. The order of fields is that of
    RFC 8878, 3.1.1.3.2.1.2, backwards: offset, match length, literal length bits are read first to
    last, so they are written last to first.
    """
    (ll_next, ll_delta, ll_find, ml_next, ml_delta, ml_find, of_next, of_delta, of_find,
     ll_code, ll_base, ll_bits, ml_code, ml_base, ml_bits) = tables  # fmt: skip
    bits, n_bits = np.uint64(0), 0
    ll_state = ml_state = of_state = 0
    for k in range(count - 1, -1, -1):
        ll = ll_code[seq[0, k]] if seq[0, k] < 64 else _high_bit(seq[0, k]) + 19
        ml = seq[1, k] - 3
        ml = ml_code[ml] if ml < 128 else _high_bit(ml) + 36
        of = _high_bit(seq[2, k])
        if k == count - 1:  # the first state of a symbol costs no bits
            x = (of_delta[of] + (1 << 15)) >> 16
            of_state = of_next[(((x << 16) - of_delta[of]) >> x) + of_find[of]]
            x = (ml_delta[ml] + (1 << 15)) >> 16
            ml_state = ml_next[(((x << 16) - ml_delta[ml]) >> x) + ml_find[ml]]
            x = (ll_delta[ll] + (1 << 15)) >> 16
            ll_state = ll_next[(((x << 16) - ll_delta[ll]) >> x) + ll_find[ll]]
        else:
            x = (of_state + of_delta[of]) >> 16
            bits |= np.uint64(of_state & ((1 << x) - 1)) << np.uint64(n_bits)
            n_bits += x
            of_state = of_next[(of_state >> x) + of_find[of]]
            x = (ml_state + ml_delta[ml]) >> 16
            bits |= np.uint64(ml_state & ((1 << x) - 1)) << np.uint64(n_bits)
            n_bits += x
            ml_state = ml_next[(ml_state >> x) + ml_find[ml]]
            x = (ll_state + ll_delta[ll]) >> 16
            bits |= np.uint64(ll_state & ((1 << x) - 1)) << np.uint64(n_bits)
            n_bits += x
            ll_state = ll_next[(ll_state >> x) + ll_find[ll]]
        bits |= np.uint64(seq[0, k] - ll_base[ll]) << np.uint64(n_bits)
        n, bits, n_bits = _flush(out, n, bits, n_bits + ll_bits[ll])
        bits |= np.uint64(seq[1, k] - ml_base[ml]) << np.uint64(n_bits)
        n_bits += ml_bits[ml]
        bits |= np.uint64(seq[2, k] - (1 << of)) << np.uint64(n_bits)
        n, bits, n_bits = _flush(out, n, bits, n_bits + of)
    bits |= np.uint64(ml_state & 63) << np.uint64(n_bits)
    bits |= np.uint64(of_state & 31) << np.uint64(n_bits + 6)
    bits |= np.uint64(ll_state & 63) << np.uint64(n_bits + 11)
    bits |= np.uint64(1) << np.uint64(
        n_bits + 17
    )  # the end mark, so that the decoder finds the top
    n, _, n_bits = _flush(out, n, bits, n_bits + 18)
    return n + 1 if n_bits else n


@kernel
def _put_block(out, n, literals, seq, count, content, is_last, tables):  # type: ignore[no-untyped-def]
    """Write one compressed block; return -1 where it is not smaller than its content."""
    head = n
    n += 3
    size = literals.size
    if size < 32:
        n = _put(out, n, size << 3, 1)
    elif size < 4096:
        n = _put(out, n, (size << 4) | (1 << 2), 2)
    else:
        n = _put(out, n, (size << 4) | (3 << 2), 3)
    put(out, n, literals)
    n += size
    if count < 128:
        n = _put(out, n, count, 1)
    elif count < 0x7F00:
        out[n], out[n + 1] = (count >> 8) + 128, count & 255
        n += 2
    else:
        out[n] = 255
        n = _put(out, n + 1, count - 0x7F00, 2)
    if count:
        out[n] = 0  # all three code tables are the predefined ones
        n = _put_bitstream(out, n + 1, seq, count, tables)
    if n - head - 3 >= content:
        return -1
    _put(out, head, is_last | (2 << 1) | ((n - head - 3) << 3), 3)
    return n


@kernel
def blocks(parts, row_bytes, itemsize, tables, out, n):  # type: ignore[no-untyped-def]
    """Cut `parts`, as `sequences` gives them, into blocks of at most 128 KiB of content.

    Blocks are written to `out` from `n` on.

    Returns the end in `out`, or -1 where a block would not be smaller than its content.
    """
    literals, n_literals, match, above, tail = parts
    seq = np.empty((3, BLOCK // _MIN_MATCH + 1), np.int64)
    repeat = np.array([1, 4, 8])
    s, n_seq, lit = 0, match.size, 0
    lit_left, match_left = (n_literals[0], match[0]) if n_seq else (tail, 0)
    done = False
    while not done:
        content = count = run = 0
        lit0 = lit
        while True:
            take = min(lit_left, BLOCK - content)
            lit, lit_left, content, run = lit + take, lit_left - take, content + take, run + take
            if s == n_seq:
                done = lit_left == 0
                break
            room = BLOCK - content
            take = match_left
            if take > room:  # leave no piece that is shorter than a match
                take = room if match_left - room >= _MIN_MATCH else room - _MIN_MATCH
            if lit_left > 0 or take < _MIN_MATCH:
                break
            distance = row_bytes if above[s] else itemsize
            seq[0, count], seq[1, count] = run, take
            seq[2, count] = _repeat_offset(distance, run, repeat)
            count, content, run, match_left = count + 1, content + take, 0, match_left - take
            if match_left > 0:
                break
            s += 1
            lit_left, match_left = (n_literals[s], match[s]) if s < n_seq else (tail, 0)
            if s == n_seq and tail == 0:
                done = True
                break
        n = _put_block(out, n, literals[lit0:lit], seq, count, content, int(done), tables)
        if n < 0:
            return -1
    return n


def _window_log(row_bytes: int) -> int:
    """Logarithm of the smallest window that holds a row; 128 KiB at least."""
    return max(17, (row_bytes - 1).bit_length())


def _header(n_bytes: int, row_bytes: int) -> bytes:
    """Frame header with an 8-byte content size and a window that holds one row."""
    log = _window_log(row_bytes)
    return struct.pack("<IBBQ", _MAGIC, 0xC0, (log - 10) << 3, n_bytes)


def encode_runs(
    run_ptr: _Ints, start: npt.NDArray[np.int32], value: _Ints, *, width: int, itemsize: int
) -> bytes | None:
    """Zstandard frame of a chunk given by its runs.

    Parameters
    ----------
    run_ptr : (height + 1,) int64
        Runs of row ``r`` are ``run_ptr[r]:run_ptr[r + 1]``.
    start : (m,) int32
        First column of each run.
    value : (m,) int64
        Zone id of each run.
    width : int
        Columns of the chunk.
    itemsize : int
        Bytes of a pixel: 1, 2 or 4, little endian.

    Returns
    -------
    bytes or None
        None where libzstd would do better, or a row exceeds the window: use `encode_bands`.
    """
    n_bytes, row_bytes = (run_ptr.size - 1) * width * itemsize, width * itemsize
    if _window_log(row_bytes) > MAX_WINDOW_LOG:
        return None
    parts = sequences(run_ptr, start, value, width, itemsize)
    n_blocks = n_bytes // (BLOCK - _SLACK) + 2
    # A sequence takes at most 16 + 16 + 30 extra bits and 17 of states,
    # and the last store of the bitstream reaches 8 bytes further.
    room = parts[0].size + 10 * (parts[2].size + n_blocks) + 32 * n_blocks + 8
    out = np.empty(room, np.uint8)
    end = blocks(parts, row_bytes, itemsize, _TABLES, out, 0)
    if end < 0:
        return None
    return _header(n_bytes, row_bytes) + out[:end].tobytes()


def encode_constant(value: int, *, shape: tuple[int, int], itemsize: int) -> bytes:
    """Frame of a chunk whose pixels all equal `value`."""
    run_ptr = np.arange(shape[0] + 1, dtype=np.int64)
    start = np.zeros(shape[0], np.int32)
    values = np.full(shape[0], value, np.int64)
    frame = encode_runs(run_ptr, start, values, width=shape[1], itemsize=itemsize)
    return frame or encode_bands(run_ptr, start, values, width=shape[1], itemsize=itemsize)


def encode_bands(
    run_ptr: _Ints, start: npt.NDArray[np.int32], value: _Ints, *, width: int, itemsize: int
) -> bytes:
    """Frame of a chunk painted band by band and compressed by libzstd; as `encode_runs`."""
    height = run_ptr.size - 1
    n_bytes = height * width * itemsize
    n_rows = max(min(BAND_ROWS, height, BAND_BYTES // (width * itemsize)), 1)
    band = np.empty((n_rows, width), f"<u{itemsize}")
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False)
    stream = compressor.compressobj(size=n_bytes)
    frame = []
    for row in range(0, height, n_rows):
        rows = band[: min(n_rows, height - row)]
        paint(run_ptr, start, value, row, rows)
        frame.append(stream.compress(rows.data))
    frame.append(stream.flush())
    return b"".join(frame)


def encode(
    run_ptr: _Ints, start: npt.NDArray[np.int32], value: _Ints, *, width: int, itemsize: int
) -> bytes:
    """Frame of a chunk given by its runs, by the shorter way (see `encode_runs`)."""
    frame = encode_runs(run_ptr, start, value, width=width, itemsize=itemsize)
    if frame is None:
        frame = encode_bands(run_ptr, start, value, width=width, itemsize=itemsize)
    return frame


@kernel
def paint(run_ptr, start, value, row0, out):  # type: ignore[no-untyped-def]
    """Write the runs of rows ``row0 ...`` into the pixels of `out`.

    Parameters
    ----------
    run_ptr : (height + 1,) int64
    start : (m,) int32
    value : (m,) any unsigned integer, zone ids
    row0 : int
    out : (rows, width) unsigned integer, written in place
    """
    height, width = out.shape
    for r in range(height):
        for i in range(run_ptr[row0 + r], run_ptr[row0 + r + 1]):
            stop = start[i + 1] if i + 1 < run_ptr[row0 + r + 1] else width
            for c in range(start[i], stop):
                out[r, c] = value[i]
