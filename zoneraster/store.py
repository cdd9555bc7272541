"""The store: plain Zarr v3 with CF georeferencing, written object by object.

Objects are written whole: locally to a temporary name in the same folder, then renamed; on an object
store with one PUT. This is the only module that imports zarr for writing.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import fsspec
import numpy as np
import pyarrow as pa

from zoneraster.errors import StoreBusyError, StoreError
from zoneraster.grid import Chunking, Grid

if TYPE_CHECKING:
    import geopandas
    import xarray as xr

ARRAY = "zone"
ZONES_KEY = "zones.parquet"
PRIVATE = ".zoneraster/"
# Schemes that name bytes elsewhere, or chains of them, could read files nobody meant to open.
_SCHEMES = {"file", "local", "memory", "s3", "gs", "gcs", "az", "abfs", "abfss", "http", "https"}
_CHUNK_KEY = re.compile(rf"^{ARRAY}/c/(\d+)/(\d+)$")
_CONVENTIONS = [
    {
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": "proj:",
        "spec_url": "https://github.com/zarr-conventions/proj/blob/v1/README.md",
    },
    {
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": "spatial:",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
    },
]


class Blobs(Protocol):
    """Named bytes: all that a store needs."""

    def get(self, key: str) -> bytes:
        """Bytes of a key; FileNotFoundError when there is none."""

    def put(self, key: str, data: bytes) -> None:
        """Write all of a key, or nothing."""

    def open(self, key: str) -> BinaryIO:
        """Open a key for reading at any place."""

    def writer(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Write a big key piece by piece; it appears as a whole when the context ends well."""

    def delete(self, key: str) -> None:
        """Delete a key; a missing one is no error."""

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below a folder and their sizes in bytes."""


class LocalBlobs:
    """Blobs in a local folder.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made: set[str] = set()
        self._count = itertools.count()

    def get(self, key: str) -> bytes:
        """Bytes of a key."""
        return (self.root / key).read_bytes()

    def put(self, key: str, data: bytes) -> None:
        """Write to a temporary name in the same folder and rename."""
        folder, _, name = key.rpartition("/")
        if folder not in self._made:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
            self._made.add(folder)
        temporary = f"{self.root}/{folder}/.{name}.{os.getpid()}-{next(self._count)}.partial"
        try:
            with open(temporary, "xb", buffering=0) as file:  # noqa: PTH123 - hot path
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
            os.replace(temporary, f"{self.root}/{key}")  # noqa: PTH105
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def open(self, key: str) -> BinaryIO:
        """Open a key for reading."""
        return (self.root / key).open("rb")

    @contextmanager
    def writer(self, key: str) -> Iterator[BinaryIO]:
        """Write to a temporary name and rename at the end."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(self._count)}.partial")
        try:
            with temporary.open("xb") as file:
                yield file
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        """Delete a key."""
        (self.root / key).unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below a folder, temporary ones left out."""
        for key, entry in self._walk(prefix.rstrip("/")):
            if not key.endswith(".partial"):
                yield key, entry.stat().st_size

    def sweep(self) -> int:
        """Delete temporary files that a killed build left behind; return how many."""
        left = [key for key, _ in self._walk("") if key.endswith(".partial")]
        for key in left:
            self.delete(key)
        return len(left)

    def _walk(self, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        try:
            entries = sorted(os.scandir(self.root / folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        for entry in entries:
            key = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(key)
            elif entry.is_file(follow_symlinks=False):
                yield key, entry


class FsspecBlobs:
    """Blobs on anything fsspec reaches: one PUT per key.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
    root : str
    """

    def __init__(self, fs: Any, root: str) -> None:  # Any: fsspec carries no types
        self.fs = fs
        self.root = root.rstrip("/")

    def get(self, key: str) -> bytes:
        """Bytes of a key."""
        return bytes(self.fs.cat_file(f"{self.root}/{key}"))

    def put(self, key: str, data: bytes) -> None:
        """Write all of a key."""
        self.fs.pipe_file(f"{self.root}/{key}", data)

    def open(self, key: str) -> BinaryIO:
        """Open a key for reading."""
        file: BinaryIO = self.fs.open(f"{self.root}/{key}", "rb")
        return file

    @contextmanager
    def writer(self, key: str) -> Iterator[BinaryIO]:
        """Write to a local temporary file and upload it at the end."""
        with tempfile.NamedTemporaryFile(suffix=".partial") as file:
            yield file  # type: ignore[misc]  # a wrapper that has every method of BinaryIO
            file.flush()
            self.fs.put_file(file.name, f"{self.root}/{key}")

    def delete(self, key: str) -> None:
        """Delete a key."""
        try:
            self.fs.rm_file(f"{self.root}/{key}")
        except FileNotFoundError:
            return

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below a folder."""
        self.fs.invalidate_cache()
        found = self.fs.find(f"{self.root}/{prefix.rstrip('/')}", detail=True)
        skip = len(self.root.removeprefix("/")) + 1
        for name, info in sorted(found.items()):
            yield name.removeprefix("/")[skip:], int(info["size"])

    def sweep(self) -> int:
        """Nothing to sweep: a PUT leaves no temporary object."""
        return 0


@dataclass(frozen=True, slots=True)
class Location:
    """Where a store is: picklable and free of secrets unless the caller put them into the options.

    Parameters
    ----------
    url : str
        A local path or a URL.
    options : tuple of (str, object)
        fsspec storage options.
    """

    url: str
    options: tuple[tuple[str, object], ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(
        cls, store: str | os.PathLike[str] | Location, options: Mapping[str, object] | None = None
    ) -> Location:
        """Normalise a path, URL or location.

        Raises
        ------
        StoreError
            For chained URLs, unknown schemes and credentials inside a URL.
        """
        if isinstance(store, Location):
            return store
        url = os.fspath(store)
        if "\0" in url or not url:
            raise StoreError(f"not a store path: {url!r}")
        scheme, has_scheme, rest = url.partition("://")
        if "::" in url:
            raise StoreError("chained URLs ('::') are not accepted for stores: give a plain URL")
        if has_scheme and scheme not in _SCHEMES:
            raise StoreError(
                f"cannot open a {scheme}:// store: use a local path or one of "
                + ", ".join(sorted(_SCHEMES))
            )
        if has_scheme and "@" in rest.split("/", 1)[0]:
            raise StoreError("the store URL holds credentials: put them into the environment")
        if scheme in {"file", "local"} and has_scheme:
            url = rest
        if "://" not in url:
            url = str(Path(url).expanduser().absolute())
        return cls(url, tuple(sorted((options or {}).items())))

    @property
    def is_local(self) -> bool:
        """The store is a folder of this machine."""
        return "://" not in self.url

    def blobs(self) -> LocalBlobs | FsspecBlobs:
        """Open the place itself; never a local path through fsspec, which tears files."""
        if self.is_local:
            return LocalBlobs(Path(self.url))
        fs, root = fsspec.core.url_to_fs(self.url, **dict(self.options))
        return FsspecBlobs(fs, root)

    def __str__(self) -> str:
        return self.url


@contextmanager
def lock(location: Location, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold a local store's lock: one builder at a time, or many parts of one build.

    The kernel frees the lock when the process dies, however it dies. Stores elsewhere are not locked.

    Parameters
    ----------
    location : Location
    shared : bool
        Together with other shared holders (the parts of a job array).
    wait : bool
        Wait for the present holder instead of raising.

    Raises
    ------
    StoreBusyError
        Naming the holder.
    """
    if not location.is_local:
        yield
        return
    import fcntl  # noqa: PLC0415 - not on every platform

    path = Path(location.url) / PRIVATE / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(file, how if wait else how | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StoreBusyError(
                f"another build of {location} is running ({file.read().strip() or 'unknown'}): "
                "wait for it, or stop it"
            ) from None
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def chunk_key(row: int, col: int) -> str:
    """Key of a chunk of the zone array."""
    return f"{ARRAY}/c/{row}/{col}"


def parse_chunk_key(key: str) -> tuple[int, int] | None:
    """Chunk row and column of a key, None when it is not a chunk of the zone array."""
    match = _CHUNK_KEY.match(key)
    return (int(match[1]), int(match[2])) if match else None


def _array_attributes(grid: Grid) -> dict[str, object]:
    """CF attributes carry the load; the proj: and spatial: conventions are added."""
    a, b, c, d, e, f = list(grid.transform)[:6]
    attributes: dict[str, object] = {
        "long_name": "zone id, 0 = no zone",
        "grid_mapping": "spatial_ref",
        "coordinates": "spatial_ref",
        "zarr_conventions": _CONVENTIONS,
        "proj:wkt2": grid.crs.to_wkt(),
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": [a, b, c, d, e, f],
        "spatial:bbox": list(grid.bounds),
        "spatial:shape": list(grid.shape),
        "spatial:registration": "pixel",
    }
    authority = grid.crs.to_authority()
    if authority:
        attributes["proj:code"] = ":".join(authority)
    return attributes


def _axis_attributes(grid: Grid) -> tuple[dict[str, str], dict[str, str]]:
    """CF attributes of the y and x coordinates."""
    if grid.is_geographic:
        return (
            {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
            {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
        )
    unit = grid.crs.axis_info[0].unit_name if grid.crs.axis_info else "metre"
    return (
        {"standard_name": "projection_y_coordinate", "units": unit, "axis": "Y"},
        {"standard_name": "projection_x_coordinate", "units": unit, "axis": "X"},
    )


def zarr_objects(
    grid: Grid, chunking: Chunking, dtype: np.dtype[Any], *, crc32c: bool
) -> dict[str, bytes]:
    """All keys of an empty zone store but for its chunks.

    Parameters
    ----------
    grid : Grid
    chunking : Chunking
    dtype : uint8, uint16 or uint32
    crc32c : bool
        Add Zarr's crc32c codec behind zstd.

    Returns
    -------
    dict of key to bytes
        Made by the zarr library in memory, so that what is stored is what zarr itself writes.
    """
    import zarr  # noqa: PLC0415 - a slow import that only planning needs
    from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec  # noqa: PLC0415
    from zarr.core.buffer import default_buffer_prototype  # noqa: PLC0415
    from zarr.core.sync import sync  # noqa: PLC0415
    from zarr.storage import MemoryStore  # noqa: PLC0415

    memory = MemoryStore()
    title = {"Conventions": "CF-1.11", "title": "zone raster"}
    group = zarr.create_group(memory, zarr_format=3, attributes=title)
    compressors: list[Any] = [ZstdCodec(level=1)]  # Any: codecs share no public base class
    if crc32c:
        compressors.append(Crc32cCodec())
    group.create_array(
        ARRAY,
        shape=grid.shape,
        chunks=chunking.chunks,
        dtype=dtype,
        compressors=compressors,
        filters=None,
        fill_value=0,
        dimension_names=("y", "x"),
        attributes=_array_attributes(grid),
    )
    coordinates = (("y", grid.y_centres()), ("x", grid.x_centres()))
    for (name, values), attributes in zip(coordinates, _axis_attributes(grid), strict=True):
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=values.shape,
            dtype="float64",
            # Shuffle is right here: neighbouring coordinates share their high bytes.
            compressors=[BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=8)],
            filters=None,
            dimension_names=(name,),
            attributes=attributes,
        )
        array[:] = values
    a, b, c, d, e, f = list(grid.transform)[:6]
    mapping = {
        **grid.crs.to_cf(),
        "crs_wkt": grid.crs.to_wkt(),
        "spatial_ref": grid.crs.to_wkt(),
        "GeoTransform": " ".join(repr(float(n)) for n in (c, a, b, f, d, e)),
    }
    reference = group.create_array(
        "spatial_ref", shape=(), dtype="int32", compressors=None, attributes=_plain(mapping)
    )
    reference[...] = 0
    with warnings.catch_warnings():
        # Consolidated metadata is not in the v3 specification yet; readers use it all the same.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(memory)
    prototype = default_buffer_prototype()

    async def read() -> dict[str, bytes]:
        found = {}
        async for key in memory.list():
            value = await memory.get(key, prototype)
            if value is not None:
                found[key] = value.to_bytes()
        return found

    return dict(sorted(sync(read()).items()))


def _plain(mapping: Mapping[str, object]) -> dict[str, Any]:
    """JSON-able copy: pyproj gives tuples and numpy numbers."""
    plain: dict[str, Any] = json.loads(json.dumps(mapping, default=float))
    return plain


def write_zarr(blobs: Blobs, objects: Mapping[str, bytes]) -> None:
    """Put the metadata of a store, its root last: a store with a root is complete."""
    for key, data in objects.items():
        if key != "zarr.json":
            blobs.put(key, data)
    blobs.put("zarr.json", objects["zarr.json"])


def geoparquet_metadata(crs_json: dict[str, Any]) -> dict[bytes, bytes]:
    """The "geo" entry of a GeoParquet 1.1 file with a WKB column `geometry`."""
    column = {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"], "crs": crs_json}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return {b"geo": json.dumps(geo).encode()}


def open_zones(store: str | os.PathLike[str] | Location, **options: object) -> geopandas.GeoDataFrame:
    """The zone table of a store: ids, the user's key and attributes, pixel counts, areas.

    Parameters
    ----------
    store : path, URL or Location
    **options
        fsspec storage options.

    Returns
    -------
    geopandas.GeoDataFrame
        One row per zone, in the order of the user's table.
    """
    import geopandas  # noqa: PLC0415 - slow import
    import pyarrow.parquet as pq  # noqa: PLC0415

    location = Location.of(store, options)
    try:
        data = location.blobs().get(ZONES_KEY)
    except FileNotFoundError:
        raise StoreError(f"no zone table in {location}: is it a zoneraster store?") from None
    return geopandas.GeoDataFrame.from_arrow(pq.read_table(pa.BufferReader(data)))


def open_store(store: str | os.PathLike[str] | Location, **options: object) -> xr.Dataset:
    """Open a store with xarray, lazily.

    Parameters
    ----------
    store : path, URL or Location
    **options
        fsspec storage options.

    Returns
    -------
    xarray.Dataset
        Variable `zone` (y, x), unsigned integers, with `spatial_ref`.
    """
    import xarray as xr  # noqa: PLC0415 - slow import

    location = Location.of(store, options)
    try:
        return xr.open_zarr(
            location.url, storage_options=dict(location.options) or None, consolidated=True
        )
    except FileNotFoundError:
        raise StoreError(f"no zone store at {location}: build it first") from None
