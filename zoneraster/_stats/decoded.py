"""Zones of arrays and rasters that anybody made: runs of the decoded pixels."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace

import numpy as np

from zoneraster._build import ChunkRuns
from zoneraster._grid import Chunking, Window, n_blocks
from zoneraster._stats import cut
from zoneraster._stats.planes import Planes
from zoneraster._store import ARRAY
from zoneraster._values import NODATA_NAMES, OpenRaster, Raster, is_improbable, open_raster
from zoneraster.arrays import Ints
from zoneraster.blobs import Location, get_or_none
from zoneraster.errors import StoreError

_CHUNK_KEY = re.compile(rf"^{ARRAY}/c/((?:\d+/)*\d+)$")


class ArrayRuns:
    """Runs of integers in an array, (y, x) or (layer, y, x).

    What the array declares as nodata is no zone. 0 is none either, unless ids are `shift` more than
    what the array holds.

    Parameters
    ----------
    raster : OpenRaster
    chunks : (int, int)
        Rows and columns of what is read at once.
    places : frozenset of (int, int, int), optional
        Layer, row and column of the stored chunks, as they are counted; by default all.
    depth : int
        Layers of a stored chunk.
    selected : bytes
        Ids of the zones that are looked at, int64; none for all of them.
    shift : int
    """

    def __init__(
        self,
        raster: OpenRaster,
        chunks: tuple[int, int],
        places: frozenset[tuple[int, int, int]] | None = None,
        *,
        depth: int = 1,
        selected: bytes = b"",
        shift: int = 0,
    ) -> None:
        self._raster, self.remark, self._shift, self._depth = raster, "", shift, depth
        self._among = np.frombuffer(selected, np.int64) if selected else None
        label = raster.label
        if raster.dtype.kind not in "iu":
            raise StoreError(
                f"zones of {label} are {raster.dtype}: they must be integers, e.g. "
                "zone.fillna(0).astype('uint32'); or are zones and values swapped? Zones come first"
            )
        _check_dims(raster)
        self.grid, self.chunks = raster.grid, chunks
        self._n_layers = raster.coords[0].size if raster.dims else 1
        if places is None:
            cut = Chunking(self.grid.shape, chunks, 1)
            layers = range(n_blocks(self._n_layers, depth))
            places = frozenset(itertools.product(layers, range(cut.n_rows), range(cut.n_cols)))
        self._places = places

    @classmethod
    def of_store(cls, location: Location, selected: bytes = b"") -> ArrayRuns:
        """Runs of the array `zone` of a Zarr group, of which chunks may be missing."""
        raster, remark = _open_array(location)
        _check_dims(raster)
        shape, places = _stored_chunks(location, raster)
        depth, rows, cols = shape or (1, *raster.chunks[-2:])
        found = cls(raster, (rows, cols), places, depth=depth, selected=selected)
        found.remark = remark
        return found

    def positions(self) -> list[tuple[int, int]]:
        """Chunks that may hold zones in any layer."""
        return sorted({(place[1], place[2]) for place in self._places})

    def fingerprint(self, chunk: tuple[int, int]) -> bytes:
        """Identity of the stored chunks."""
        return self._raster.identity(self._window(chunk))

    def planes(self, chunk: tuple[int, int], only: Ints | None = None) -> Planes:
        """Runs of the decoded pixels, layer by layer."""
        is_there = [(i // self._depth, *chunk) in self._places for i in range(self._n_layers)]
        return Planes([self._runs(chunk, i) for i, there in enumerate(is_there) if there])

    def _runs(self, chunk: tuple[int, int], layer: int) -> ChunkRuns:
        lanes = (slice(layer, layer + 1),) if self._raster.dims else ()
        window = self._window(chunk)
        pixels = self._raster.read(lanes, window).reshape(window.shape)
        if self._raster.nodata:  # neither None nor 0
            is_none = pixels == self._raster.nodata
            if self._shift:
                pixels = pixels.astype(np.int64) + self._shift
            pixels = np.where(is_none, 0, pixels)
        if pixels.dtype.kind == "i" and pixels.min() < 0:
            raise StoreError(
                f"chunk {chunk[0]}/{chunk[1]} of the zones holds {pixels.min() - self._shift}: "
                "zone ids are positive, 0 is no zone"
            )
        found = ChunkRuns(*cut.runs_of_pixels(pixels))
        if self._among is None:
            return found
        is_wanted = np.isin(found.zone_id, self._among)
        return found._replace(zone_id=np.where(is_wanted, found.zone_id, 0))

    def _window(self, chunk: tuple[int, int]) -> Window:
        return Chunking(self.grid.shape, self.chunks, 1).chunk_window(*chunk)


# ---- arrays of stores ----------------------------------------------------------------------------


def _open_array(location: Location) -> tuple[OpenRaster, str]:
    """The array of zones, and what is assumed of it.

    Chunks that were never written hold its fill value. That is a zone like any other, unless the
    array declares it as nodata, or no id is like it.
    """
    asked = Raster(location, variable=ARRAY, raw=True)
    fill, declares, is_v2 = _fill_of(location)
    if declares or not isinstance(fill, int) or fill == 0:
        return open_raster(asked), ""
    where = f"{location}/{ARRAY}: fill_value is {fill} and no nodata is declared"
    opened = open_raster(replace(asked, nodata=math.nan))
    if opened.dtype.kind in "iu" and is_improbable(fill, opened.dtype):
        opened = open_raster(replace(asked, nodata=fill))
        return opened, f"{where}: taken for no zone; an attribute nodata={fill} says so for good"
    # xarray makes it nodata in this format.
    remark = f"{where}: taken for zone {fill}; an attribute nodata={fill} makes it no zone"
    return opened, remark if is_v2 else ""


def _fill_of(location: Location) -> tuple[object, bool, bool]:
    """Fill value of an array of zones, whether it declares nodata, and is of format 2."""
    blobs = location.blobs()
    try:
        said = json.loads(get_or_none(blobs, f"{ARRAY}/zarr.json") or b"null")
        is_v2 = said is None
        if not is_v2:
            attributes = said.get("attributes", {})
        else:
            said = json.loads(get_or_none(blobs, f"{ARRAY}/.zarray") or b"{}")
            attributes = json.loads(get_or_none(blobs, f"{ARRAY}/.zattrs") or b"{}")
        # GDAL declares nodata by the fill value alone.
        names = {str(name).lower() for name in attributes}
        return said.get("fill_value"), bool(names & {*NODATA_NAMES, "_crs"}), is_v2
    except (ValueError, AttributeError, TypeError):
        return None, True, False


def _is_no_zone(raster: OpenRaster, stored: object) -> bool:
    """Whether a stored number means "no zone"."""
    decoding = raster.decoding
    try:
        pixel = np.full((1, 1), stored, decoding.turned or decoding.stored)
    except (TypeError, ValueError, OverflowError):
        return False
    return decoding.values(pixel, raster.label).item() in (0, raster.nodata)


def _check_dims(raster: OpenRaster) -> None:
    """Refuse more dimensions than layers."""
    if len(raster.dims) > 1:
        raise StoreError(
            f"zones of {raster.label} have dimensions {(*raster.dims, 'y', 'x')}: "
            "(y, x) or (layer, y, x) is needed"
        )


def _stored_chunks(
    location: Location, raster: OpenRaster
) -> tuple[tuple[int, int, int] | None, frozenset[tuple[int, int, int]] | None]:
    """Shape of the stored objects of a Zarr v3 array, (layers, rows, cols), and which hold zones.

    None for what is not known of other formats and key encodings; and any chunk may hold zones
    where one that is not stored does, as the fill value says, or where nothing can be listed.
    """
    blobs = location.blobs()
    try:
        said = json.loads(blobs.get(f"{ARRAY}/zarr.json"))
        shape = tuple(said["chunk_grid"]["configuration"]["chunk_shape"])
        encoding, fill = said["chunk_key_encoding"], said["fill_value"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None, None
    if encoding.get("name") != "default" or encoding["configuration"].get("separator") != "/":
        return None, None
    flat = len(shape) == 2
    depth, rows, cols = (1, *shape) if flat else shape
    if not _is_no_zone(raster, fill):
        return (depth, rows, cols), None
    try:
        keys = [_CHUNK_KEY.match(key) for key, _ in blobs.list(f"{ARRAY}/c")]
    except (PermissionError, NotImplementedError):
        return (depth, rows, cols), None
    found = [tuple(map(int, match[1].split("/"))) for match in keys if match]
    places = frozenset((0, *place) if flat else place for place in found)
    return (depth, rows, cols), places  # type: ignore[return-value]
