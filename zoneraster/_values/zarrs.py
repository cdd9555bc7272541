"""Zarr groups: found at a path or URL, opened through xarray, read chunk by chunk.

Chunks of plain arrays are decoded here (`chunks`), everything else goes through xarray and zarr.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoneraster._grid import Window, blocks_of
from zoneraster._values.arrays import Axes, chosen_variables, open_dataset, raster_of, with_dates
from zoneraster._values.chunks import ChunkLayout, parse_metadata
from zoneraster._values.decoding import Block
from zoneraster._values.opened import (
    Lanes,
    OpenRaster,
    check_chunk,
    digest_of,
    foreign_errors,
)
from zoneraster._values.raster import Raster, stem_of
from zoneraster.blobs import (
    Blobs,
    LocalBlobs,
    Location,
    file_state,
    get_or_none,
    object_state,
    suffix_of,
)
from zoneraster.errors import ValuesError, name_some
from zoneraster.remote import FsspecBlobs
from zoneraster.zipped import ZipBlobs

if TYPE_CHECKING:
    import xarray as xr

ZARR_NODES = ("zarr.json", ".zmetadata", ".zgroup", ".zarray")


# ---- finding -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """A Zarr group to open.

    Parameters
    ----------
    location : Location
    root : str or None
        Place of the group, this one or one above it, whose consolidated metadata tell of all of its
        arrays; None where each array tells itself.
    variable : str or None
        The array inside of it that a path led to.
    """

    location: Location
    root: str | None
    variable: str | None = None


def find_group(location: Location, label: str, other_suffixes: tuple[str, ...]) -> Group | None:
    """The Zarr group at a path or URL; None for anything else.

    Parameters
    ----------
    location : Location
    label : str
        For errors.
    other_suffixes : tuple of str
        Endings of what is never Zarr, so that no request is made for it.

    Raises
    ------
    ValuesError
        For a ``.zarr`` without metadata, and for an array outside of a group.
    """
    url = location.url.rstrip("/")
    suffix = suffix_of(url)
    is_other = location.is_local and not (Path(url).is_dir() or location.is_zip)
    if suffix in other_suffixes or is_other:
        return None
    found = _nodes(location)
    if not found and suffix != ".zarr":
        return None
    if not found:
        raise ValuesError(f"{label} has no Zarr metadata ({', '.join(ZARR_NODES)}): check the path")
    if not _is_array(found):
        group = location.beside(url)
        return Group(group, _root_of(group, found))
    url, _, variable = url.rpartition("/")
    parent = location.beside(url)
    around = _nodes(parent)
    if not around or _is_array(around):
        raise ValuesError(
            f"{label} is a Zarr array without a group, so nothing says where it lies: write it "
            "with xarray, Dataset.to_zarr"
        )
    return Group(parent, _root_of(parent, around), variable)


def _root_of(group: Location, nodes: Mapping[str, bytes]) -> str | None:
    """The group, this one or one above it, whose consolidated metadata tell of all its arrays.

    Above it is looked only where nothing can be listed, or only at a price.
    """
    if _is_consolidated(nodes):
        return group.url
    url = group.url
    while not group.is_local and url.rpartition("/")[0].count("/") > 2:
        url = url.rpartition("/")[0]
        above = _nodes(group.beside(url))
        if not above:
            return None
        if _is_consolidated(above):
            return url
    return None


def _nodes(location: Location) -> dict[str, bytes]:
    blobs = location.blobs()
    found = {name: get_or_none(blobs, name) for name in ZARR_NODES}
    return {name: data for name, data in found.items() if data is not None}


def _is_array(nodes: Mapping[str, bytes]) -> bool:
    v3 = json.loads(nodes.get("zarr.json", b"{}"))
    return ".zarray" in nodes or v3.get("node_type") == "array"


def _is_consolidated(nodes: Mapping[str, bytes]) -> bool:
    v3 = json.loads(nodes.get("zarr.json", b"{}"))
    return ".zmetadata" in nodes or v3.get("consolidated_metadata") is not None


# ---- opening -----------------------------------------------------------------------------------


def open_zarr(group: Group, asked: Raster, label: str) -> list[OpenRaster]:
    """The rasters of a group, by name; no pixel is read.

    Raises
    ------
    ValuesError, GridError
        For what cannot be opened, reduced or placed.
    """
    opening = uuid.uuid4().hex
    asked = asked if group.variable is None else replace(asked, variable=group.variable)
    with foreign_errors(label, "cannot be opened as Zarr", "check that xarray.open_zarr opens it"):
        dataset = _open_group(group.location, group.root, opening)
    if not dataset.data_vars:
        raise ValuesError(_nothing_in(group, label))
    # Sorted, as the group may have been found by listing a folder.
    names = sorted(chosen_variables(dataset, asked, label))
    is_only = len(names) == 1 and asked.variable is None

    def opened_as(name: str) -> OpenRaster:
        def pixels(_: xr.Variable, axes: Axes) -> ZarrPixels:
            return ZarrPixels(group.location, name, group.root, opening, axes)

        named = label if is_only or group.variable else f"{label}/{name}"
        return raster_of(dataset, name, asked, named, pixels)

    opened = [opened_as(name) for name in names]
    return [replace(opened[0], name=stem_of(group.location.url))] if is_only else opened


def _nothing_in(group: Group, label: str) -> str:
    """What to say of a group without arrays: which groups it has, or that it cannot be listed."""
    if group.root is None and group.location.url.startswith(("http://", "https://")):
        return (
            f"{label}: a web server lists no files, and the metadata of this group are not "
            "consolidated: run zarr.consolidate_metadata on it, or give the path of an array in it"
        )
    url, inner, options = _address(group.location, group.root)
    try:
        found = _stored(url, inner, group.root is not None, options).zarr_group
        members = sorted(name for name, _ in found.members(max_depth=None))
    except Exception:  # noqa: BLE001 - of whatever lists it, for a message
        members = []
    groups = sorted({name.rpartition("/")[0] for name in members} - {""})
    leaves = [name for name in groups if any(m.rpartition("/")[0] == name for m in members)]
    if not leaves:
        return f"{label} is a Zarr group that tells of no arrays and no groups: check the path"
    return (
        f"{label} has no arrays, and groups ({name_some(leaves)}): give the path of one, "
        f"{label}/{leaves[-1]}"
    )


def open_zarr_store(store: Any, asked: Raster, label: str) -> list[OpenRaster]:
    """The rasters of a store of zarr, such as a ZipStore; errors as `open_zarr`."""
    dataset = _as_stored(_stored(store, None, None, None), label)
    if not dataset.data_vars:
        raise ValuesError(f"{label} holds no arrays at its root: open the group with xarray")
    return open_dataset(dataset, asked, label)


def is_zarr_store(source: object) -> bool:
    """A store of zarr or of what builds on it, such as icechunk."""
    return any(
        kind.__name__ == "Store" and kind.__module__.startswith("zarr.")
        for kind in type(source).__mro__
    )


def _address(location: Location, root: str | None) -> tuple[str, str | None, dict[str, Any] | None]:
    """URL, group below it and options by which xarray opens a group."""
    url = location.url if root is None else root
    inner = location.url[len(url) :].strip("/") or None
    if location.is_zip:
        blobs = location.blobs()
        assert isinstance(blobs, ZipBlobs)
        return f"zip://{blobs.folder}::{url}", inner, None
    # zarr 3.4 knows this scheme itself, and then takes no options for it.
    options = {} if url.startswith("memory:") else dict(location.options)
    return url, inner, options or None


def _stored(
    store: Any, group: str | None, consolidated: bool | None, options: dict[str, Any] | None
) -> Any:
    """What xarray opens of a Zarr group."""
    import xarray as xr  # noqa: PLC0415 - slow, and not needed for raster files

    return xr.backends.ZarrStore.open_group(
        store, group=group, mode="r", consolidated=consolidated, storage_options=options
    )


@functools.lru_cache(maxsize=64)
def _open_group(location: Location, root: str | None, opening: str) -> xr.Dataset:
    """Open a Zarr group as it is stored."""
    url, inner, options = _address(location, root)
    return _as_stored(_stored(url, inner, root is not None, options), location)


def _as_stored(stored: Any, location: object) -> xr.Dataset:
    """A Zarr group: data stay as stored, times among the coordinates become dates."""
    import xarray as xr  # noqa: PLC0415

    # Coordinates are decoded as soon as the dataset is made.
    for name, variable in stored.load()[0].items():
        sides = variable.encoding.get("chunks") or ()
        check_chunk(f"{location}/{name}", sides, variable.dtype.itemsize)
    opened = xr.open_dataset(
        stored, engine="store", chunks=None, cache=False, mask_and_scale=False, decode_times=False
    )
    if stored.zarr_group.metadata.zarr_format == 3:
        # xarray before 2026.7 drops it.
        for name, one in opened.data_vars.items():
            if "fill_value" not in one.encoding:
                one.encoding["fill_value"] = stored.zarr_group[name].fill_value
    return with_dates(opened)


# ---- pixels ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ZarrPixels:
    """Pixels of a variable of a Zarr group, which each process opens for itself, once."""

    location: Location
    variable: str
    root: str | None
    opening: str  # names one call of open_zarr: what is written anew later is opened anew
    axes: Axes

    def _opened(self) -> xr.Variable:
        dataset = _open_group(self.location, self.root, self.opening)
        return dataset.variables[self.variable]

    def read(self, lanes: Lanes, window: Window) -> Block:
        """Stored pixels."""
        block = self._plain(lanes, window)
        if block is not None:
            return block
        return self.axes.load(self.axes.cut(self._opened(), lanes, window))

    def _plain(self, lanes: Lanes, window: Window) -> Block | None:
        """Stored pixels of a plain array; None for others."""
        blobs, layout = _open_chunks(self.location, self.variable, self.opening)
        if layout is None:
            return None
        variable = self._opened()
        keys = dict(zip(self.axes.kept, (*lanes, *window.slices), strict=True))
        fixed = {name: slice(at, at + 1) for name, at in self.axes.fixed}
        sizes = [(str(name), size) for name, size in variable.sizes.items()]
        spans = [{**keys, **fixed}[name].indices(size)[:2] for name, size in sizes]
        block = layout.read(lambda key: get_or_none(blobs, f"{self.variable}/{key}"), spans)
        if block is None:
            return None
        names = [name for name, _ in sizes]
        block = block[tuple(0 if name in fixed else slice(None) for name in names)]
        left = [name for name in names if name not in fixed]
        return block.transpose([left.index(name) for name in self.axes.kept])

    def not_stored(self, lanes: Lanes, window: Window, block: Block) -> list[tuple[int, Window]]:
        """Parts of a window in chunks that are not stored: those of one value are asked for."""
        variable = self._opened()
        keys = dict(zip(self.axes.kept, (*lanes, *window.slices), strict=True))
        keys |= {name: slice(at, at + 1) for name, at in self.axes.fixed}
        names = [str(name) for name in variable.sizes]
        spans = [keys[name].indices(variable.sizes[name])[:2] for name in names]
        chunks = _chunks_under(_metadata(self.location, self.variable, self.opening), spans)
        order = [names.index(name) for name in self.axes.kept]
        found = []
        for key, parts in chunks or ():
            part = block[tuple(parts[i] for i in order)]
            # A few pixels tell of nearly all that others must not be looked at.
            if not all(map(_is_one_value, (part[..., ::64, ::64], part))):
                continue
            if get_or_none(self.location.blobs(), f"{self.variable}/{key}") is None:
                *along, rows, cols = (parts[i] for i in order)
                within = Window(rows.start, rows.stop, cols.start, cols.stop)
                n_lanes = math.prod(lane.stop - lane.start for lane in along)
                found.append((n_lanes, within.moved(window.row0, window.col0)))
        return found

    def narrowed(self, window: Window) -> ZarrPixels:
        """The path is all there is to ship."""
        return self

    def identity(self, window: Window) -> bytes | None:
        """Digest of the metadata and of the state of each chunk that the window touches."""
        blobs = self.location.blobs()
        metadata = [
            get_or_none(blobs, f"{self.variable}/{name}") for name in (*ZARR_NODES, ".zattrs")
        ]
        said = json.loads(metadata[0] or metadata[3] or b"{}")
        keys = _chunk_keys(said, self._spans(window))
        if keys is None or self.location.url.startswith("http"):
            # Neither chunks to look at nor a listing of them.
            return None
        if isinstance(blobs, LocalBlobs):
            folder = blobs.root / self.variable
            states = [repr(file_state(folder / key)) for key in keys]
        elif isinstance(blobs, ZipBlobs):
            states = [repr(file_state(Path(blobs.path)))]
        else:
            listing = _listing(self.location, self.variable, self.opening)
            found = [listing.get(key, "") for key in keys]
            if None in found:
                return None
            states = [str(state) for state in found]
        return digest_of(*(repr(part) for part in metadata), repr(states))

    def _spans(self, window: Window) -> list[tuple[int, int]]:
        """Half-open ranges along the stored dimensions, in their order; lanes are whole."""
        spans = {name: (at, at + 1) for name, at in self.axes.fixed}
        *_, y, x = self.axes.kept
        spans |= {y: (window.row0, window.row1), x: (window.col0, window.col1)}
        return [spans.get(str(name), (0, size)) for name, size in self._opened().sizes.items()]


def _is_one_value(block: Block) -> bool:
    """All pixels are the same, or all NaN."""
    first = block.flat[0]
    return bool(np.all(block == first) if first == first else np.all(block != block))


@functools.lru_cache(maxsize=64)
def _open_chunks(
    location: Location, variable: str, opening: str
) -> tuple[Blobs, ChunkLayout | None]:
    """Where the chunks of a Zarr array are, and how they are stored."""
    blobs = location.blobs()
    return blobs, parse_metadata(get_or_none(blobs, f"{variable}/zarr.json"))


@functools.lru_cache(maxsize=64)
def _metadata(location: Location, variable: str, opening: str) -> dict[str, Any]:
    """Metadata of a Zarr array, of format 2 or 3: JSON, hence Any."""
    blobs = location.blobs()
    nodes = (get_or_none(blobs, f"{variable}/{name}") for name in ("zarr.json", ".zarray"))
    said: dict[str, Any] = json.loads(next((node for node in nodes if node is not None), b"{}"))
    return said


def _chunk_keys(metadata: Mapping[str, Any], spans: list[tuple[int, int]]) -> Iterator[str] | None:
    """Keys, below the array, of all chunks that hold a part of some ranges; None as below."""
    chunks = _chunks_under(metadata, spans)
    return None if chunks is None else (key for key, _ in chunks)


def _chunks_under(
    metadata: Mapping[str, Any], spans: list[tuple[int, int]]
) -> Iterator[tuple[str, tuple[slice, ...]]] | None:
    """Keys, below the array, of all chunks that hold a part of some ranges, and which part.

    Parameters
    ----------
    metadata : mapping
        Of the array, format 2 or 3: JSON, hence Any.
    spans : list of (int, int)
        Half-open ranges, one for each dimension.

    Returns
    -------
    iterator of (str, slices), or None
        Slices count from where the ranges begin. None for layouts unknown here.
    """
    prefix: list[str] = []
    if metadata.get("zarr_format") == 2:
        sides, separator = metadata["chunks"], metadata.get("dimension_separator", ".")
    elif metadata.get("chunk_grid", {}).get("name") == "regular":
        sides = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        encoding = metadata["chunk_key_encoding"]
        is_v3 = encoding["name"] == "default"
        prefix = ["c"] if is_v3 else []
        said = encoding.get("configuration") or {}
        separator = said.get("separator", "/" if is_v3 else ".")
    else:
        return None
    ranges = [blocks_of(*span, side) for span, side in zip(spans, sides, strict=True)]
    indices = itertools.product(*ranges)

    def part(index: tuple[int, ...]) -> tuple[slice, ...]:
        whole = zip(index, spans, sides, strict=True)
        return tuple(
            slice(max(i * side, start) - start, min((i + 1) * side, stop) - start)
            for i, (start, stop), side in whole
        )

    return ((separator.join([*prefix, *map(str, index)]), part(index)) for index in indices)


@functools.lru_cache(maxsize=16)
def _listing(location: Location, variable: str, opening: str) -> dict[str, str | None]:
    """States of everything below an array by key: one listing, no request for each chunk."""
    blobs = location.blobs()
    assert isinstance(blobs, FsspecBlobs)
    return {key: object_state(info) for key, info in blobs.infos(variable)}
