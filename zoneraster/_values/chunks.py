"""Decoding Zarr chunks without zarr: for plain arrays, which most large rasters are.

zarr gives a chunk through two more copies of it and keeps them together, which is what decides how
much memory a thread needs. Everything that is not a plain Zarr v3 array (numbers in a regular grid,
compressed by zstd or Blosc or not at all) is left to zarr.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numcodecs
import numpy as np
import numpy.typing as npt
import zstandard

from zoneraster._grid import blocks_of
from zoneraster._values.decoding import Block

_NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
            "float32", "float64")  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """How the chunks of a plain array are stored.

    Parameters
    ----------
    shape, chunks : tuple of int
    dtype : numpy.dtype
    compressor : {"zstd", "blosc", ""}
    separator : str
        Between the numbers of a key.
    fill : number
        Value of chunks that are not stored.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    compressor: str
    separator: str
    fill: Any  # Any: bool, int or float

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> ChunkLayout | None:
        """Layout of an array by its ``zarr.json``; None for what is to be left to zarr."""
        try:
            return cls._of(metadata)
        except (LookupError, TypeError, ValueError, AttributeError):
            return None

    @classmethod
    def _of(cls, metadata: Mapping[str, Any]) -> ChunkLayout | None:
        encoding, name = metadata["chunk_key_encoding"], metadata["data_type"]
        codecs = [(codec["name"], codec.get("configuration") or {}) for codec in metadata["codecs"]]
        is_plain = (
            metadata["zarr_format"] == 3
            and metadata["chunk_grid"]["name"] == "regular"
            and encoding["name"] == "default"
            and name in _NUMBERS
            and codecs[0][0] == "bytes"
            and not metadata.get("storage_transformers")
        )
        if not is_plain or len(codecs) > 2 or (len(codecs) == 2 and codecs[1][0] not in _DECODERS):
            return None
        order = "<" if codecs[0][1].get("endian", "little") == "little" else ">"
        fill = metadata["fill_value"]
        if isinstance(fill, str):
            fill = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}[fill]
        return cls(
            tuple(metadata["shape"]),
            tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"]),
            np.dtype(name).newbyteorder(order),
            codecs[1][0] if len(codecs) == 2 else "",
            (encoding.get("configuration") or {}).get("separator", "/"),
            fill,
        )

    def pieces(
        self, spans: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[str, tuple[slice, ...], tuple[slice, ...]]]:
        """Chunks that hold some ranges: their keys, what of each, and its place in the ranges."""
        touched = [blocks_of(*span, n) for span, n in zip(spans, self.chunks, strict=True)]
        for index in itertools.product(*touched):
            parts, places = [], []
            for (start, stop), i, n in zip(spans, index, self.chunks, strict=True):
                first, last = max(start, i * n), min(stop, (i + 1) * n)
                parts.append(slice(first - i * n, last - i * n))
                places.append(slice(first - start, last - start))
            yield self.separator.join(["c", *map(str, index)]), tuple(parts), tuple(places)

    def read(
        self, get: Callable[[str], bytes | None], spans: Sequence[tuple[int, int]]
    ) -> Block | None:
        """Pixels of some ranges; None where zarr has to do it.

        Parameters
        ----------
        get : callable
            Bytes of a key, None where it is not stored.
        spans : sequence of (int, int)
            Half-open, of all dimensions.
        """
        pieces = [*self.pieces(spans)]
        if len(pieces) == 1:
            ((key, parts, _),) = pieces
            return self.decode(get(key), parts)
        whole = np.empty([stop - start for start, stop in spans], self.dtype)
        for key, parts, places in pieces:
            block = self.decode(get(key), parts)
            if block is None:
                return None
            whole[places] = block
        return whole

    def decode(self, data: bytes | None, parts: tuple[slice, ...]) -> Block | None:
        """Pixels of a part of a chunk from its stored bytes; None where zarr has to do it."""
        if data is None:
            return np.full([s.stop - s.start for s in parts], self.fill, self.dtype)
        size = int(np.prod(self.chunks)) * self.dtype.itemsize
        if not self.compressor:
            raw = np.frombuffer(bytearray(data), np.uint8) if len(data) == size else None
        else:
            raw = _DECODERS[self.compressor](data, size)
        return None if raw is None else raw.view(self.dtype).reshape(self.chunks)[parts]


def _decode_zstd(data: bytes, size: int) -> npt.NDArray[np.uint8] | None:
    try:
        # A frame may keep its size to itself, or be followed by others.
        if zstandard.frame_content_size(data) != size:
            return None
    except zstandard.ZstdError:
        return None
    out = np.empty(size, np.uint8)
    numcodecs.Zstd().decode(data, out=out)
    return out


def _decode_blosc(data: bytes, size: int) -> npt.NDArray[np.uint8] | None:
    # The header has 16 bytes, the decoded size is its second word.
    if len(data) < 16 or int.from_bytes(data[4:8], "little") != size:
        return None
    out = np.empty(size, np.uint8)
    numcodecs.Blosc().decode(data, out=out)
    return out


_DECODERS = {"zstd": _decode_zstd, "blosc": _decode_blosc}


def parse_metadata(data: bytes | None) -> ChunkLayout | None:
    """Layout by the bytes of a ``zarr.json``."""
    try:
        said = json.loads(data or b"null")
    except ValueError:
        return None
    return ChunkLayout.of(said) if isinstance(said, dict) else None
