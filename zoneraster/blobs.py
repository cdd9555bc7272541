"""Named bytes, on local disk or anything fsspec reaches: where a store lives.

Objects are written whole: locally to a temporary name in the same folder, then renamed; on an
object store with one PUT. Nothing is appended to and nothing is read back to be modified.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import itertools
import os
import pickle
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, TypeAlias

import fsspec

from zoneraster.errors import NOT_THERE, StoreError, cure_of, place_error, without
from zoneraster.remote import FsspecBlobs
from zoneraster.zipped import ZipBlobs, zip_blobs

PRIVATE = ".zoneraster/"
_AGAIN = "mend that and run the same command again, what is done is safe"
_SYNCED_AT_ONCE = 64  # files that are open while the kernel writes them
_TEMPORARY = re.compile(r"^\..+\.\d+-\d+\.partial$")
# Variables that clients of object stores find endpoints, accounts and credentials in.
_ENVIRONMENT = ("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST")
# A client may hold credentials that expire; after so many seconds a new one finds those of today.
_CLIENT_SECONDS = 60.0
# What fsspec reaches places by.
_CLIENTS = {
    "s3": "s3fs", "http": "aiohttp", "https": "aiohttp", "gs": "gcsfs", "gcs": "gcsfs",
    "abfs": "adlfs", "abfss": "adlfs",
}  # fmt: skip
_LOCAL_SCHEMES = ("file", "local")
# Others that name bytes elsewhere (reference://), or chains of them, could read files nobody meant
# to open.
URL_SCHEMES = (
    *_LOCAL_SCHEMES, "memory", "s3", "gs", "gcs", "az", "abfs", "abfss", "http", "https",
)  # fmt: skip


class Blobs(Protocol):
    """Named bytes: all that a store needs."""

    def get(self, key: str) -> bytes:
        """Bytes of a key; FileNotFoundError when there is none."""

    def put(self, key: str, data: bytes, *, synced: bool = False) -> None:
        """Write all of a key, or nothing; `synced`: so that a power cut leaves the old or new."""

    def sync(self, keys: Iterable[str]) -> None:
        """Wait until what was put or deleted under these keys would outlive a power cut."""

    def open(self, key: str) -> BinaryIO:
        """Open a key for reading at any place."""

    def writer(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Write a big key piece by piece; it appears as a whole when the context ends well."""

    def delete(self, key: str) -> None:
        """Delete a key; a missing one is no error."""

    def clear(self, folder: str) -> None:
        """Delete all keys below a folder, which may have the name of a key later, and so it."""

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below a folder and their sizes in bytes.

        PermissionError or NotImplementedError where the place cannot be asked for them.
        """

    def has(self, key: str) -> bool:
        """There is such a key."""


class LocalBlobs:
    """Blobs in a local folder.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made: set[str] = set()
        self._named: set[str] = set()  # folders whose own names are on disk

    def get(self, key: str) -> bytes:
        """Bytes of a key."""
        with place_error(f"{self.root}/{key} cannot be read", passing=NOT_THERE):
            return (self.root / key).read_bytes()

    def put(self, key: str, data: bytes, *, synced: bool = False) -> None:
        """Write to a temporary name in the same folder and rename."""
        folder, _, name = key.rpartition("/")
        temporary = f"{self.root}/{folder}/{_temporary_name(name)}"
        try:
            if folder not in self._made:
                self._make(folder)
            if not self._put(temporary, key, data, synced):
                # Somebody deleted the folder since we made it.
                self._make(folder)
                if not self._put(temporary, key, data, synced):
                    raise FileNotFoundError(f"{self.root}/{folder} vanishes while it is written to")
        except OSError as err:
            raise StoreError(
                f"cannot write {len(data):,} bytes to {self.root}/{key}: {err.strerror or err}; "
                f"{cure_of(err) or _AGAIN}"
            ) from err

    def _make(self, folder: str) -> None:
        """Make a folder of the store, once; links that lead out of the store are refused."""
        path = self.root / folder
        path.mkdir(parents=True, exist_ok=True)
        if path.resolve() != self.root.resolve() / folder:
            raise StoreError(f"{path} is a link that leads out of the store: remove it")
        self._made.add(folder)

    def _put(self, temporary: str, key: str, data: bytes, synced: bool) -> bool:
        """Write and rename; False when the folder is not there."""
        try:
            with open(temporary, "xb", buffering=0) as file:  # noqa: PTH123 - hot path
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
                if synced:
                    _sync_data(file.fileno())
            os.replace(temporary, f"{self.root}/{key}")  # noqa: PTH105
        except FileNotFoundError:
            return False
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return True

    def open(self, key: str) -> BinaryIO:
        """Open a key for reading."""
        with place_error(f"{self.root}/{key} cannot be read", passing=NOT_THERE):
            return (self.root / key).open("rb")

    @contextmanager
    def writer(self, key: str) -> Iterator[BinaryIO]:
        """Write to a temporary name and rename at the end."""
        path = self.root / key
        temporary = path.with_name(_temporary_name(path.name))
        try:
            with place_error(f"{path} cannot be written"):
                path.parent.mkdir(parents=True, exist_ok=True)
                with temporary.open("xb") as file:
                    yield file
                    file.flush()
                    _sync_data(file.fileno())
                temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def sync(self, keys: Iterable[str]) -> None:
        """Have the kernel write these files, then their names in their folders."""
        keys = list(keys)
        try:
            paths = [f"{self.root}/{key}" for key in keys]
            for start in range(0, len(paths), _SYNCED_AT_ONCE):
                _sync_files(paths[start : start + _SYNCED_AT_ONCE], _sync_data)
            for folder in dict.fromkeys(key.rpartition("/")[0] for key in keys):
                self._sync_names(folder)
        except OSError as err:
            raise StoreError(
                f"cannot write to the disk of {self.root}: {err.strerror or err}; "
                f"{cure_of(err) or _AGAIN}"
            ) from err

    def _sync_names(self, folder: str) -> None:
        """Have the kernel write the names in a folder, and once that of the folder itself."""
        _sync_files([f"{self.root}/{folder}"], _sync_folder)
        if folder not in self._named:
            if folder:
                self._sync_names(folder.rpartition("/")[0])
            else:
                _sync_files([str(self.root.parent)], _sync_folder)
            self._named.add(folder)

    def delete(self, key: str) -> None:
        """Delete a key."""
        with place_error(f"{self.root}/{key} cannot be deleted"):
            (self.root / key).unlink(missing_ok=True)

    def clear(self, folder: str) -> None:
        """Delete all keys below a folder, and the folders that hold nothing else."""
        for key, _ in list(self.list(folder)):
            self.delete(key)
        for path, _, _ in os.walk(self.root / folder, topdown=False):
            with suppress(OSError):  # whatever others keep in it stays
                Path(path).rmdir()
        self._made.clear()
        self._named.clear()

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below a folder, our temporary ones left out, and those that vanish meanwhile."""
        for key, entry in self._walk(prefix.rstrip("/")):
            if not _TEMPORARY.match(entry.name):
                try:
                    size = entry.stat().st_size
                except FileNotFoundError:
                    continue
                yield key, size

    def has(self, key: str) -> bool:
        """There is such a file."""
        return (self.root / key).is_file()

    def sweep(self, min_age: float = 0.0, *, folders: Sequence[str] | None = None) -> int:
        """Delete temporary files of our own that were left behind; return how many.

        Parameters
        ----------
        min_age : float
            Seconds since they were written to, for folders in which others may be writing.
        folders : sequence of str, optional
            Only below these, and in the root itself.
        """
        left, latest = 0, time.time() - min_age
        entries = self._walk("", is_deep=folders is None)
        ours = [name for name in folders or () if not (self.root / name).is_symlink()]
        for key, entry in itertools.chain(entries, *map(self._walk, ours)):
            with suppress(FileNotFoundError):
                if _TEMPORARY.match(entry.name) and entry.stat().st_mtime <= latest:
                    self.delete(key)
                    left += 1
        return left

    def _walk(self, folder: str, *, is_deep: bool = True) -> Iterator[tuple[str, os.DirEntry[str]]]:
        try:
            entries = sorted(os.scandir(self.root / folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        for entry in entries:
            key = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if is_deep:
                    yield from self._walk(key)
            elif entry.is_file(follow_symlinks=False):
                yield key, entry


# Of a file the size too, of which reading depends, but not its times; not every system has it.
_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


def _sync_folder(file: int) -> None:
    try:
        os.fsync(file)
    except OSError as err:
        # Some network file systems sync no folders.
        if err.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise


def _sync_files(paths: Sequence[str], sync: Callable[[int], None]) -> None:
    """Have the kernel write some files or folders; those that are not there were deleted."""
    with ExitStack() as stack:
        files = []
        for path in paths:
            with suppress(FileNotFoundError):
                files.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                stack.callback(os.close, files[-1])
        # All are on their way before the first is waited for.
        for file in files if len(files) > 1 and hasattr(os, "posix_fadvise") else ():
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        for file in files:
            sync(file)


def _temporary_name(name: str) -> str:
    """A name beside another one that no thread, process or machine takes too."""
    return f".{name}.{os.getpid()}-{secrets.randbits(48)}.partial"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a store is: picklable and free of secrets unless the caller put them into the options.

    Two places are equal when URL and options are: an endpoint or an account leads elsewhere under
    the same URL, whether it stands in the options, in fsspec's configuration or in the environment.

    Parameters
    ----------
    url : str
        A local path or a URL.
    options : tuple of (str, object)
        fsspec storage options.

    Attributes
    ----------
    options_hash : str
        What the options, and others that hold here, are compared by: not by what can be shown.
    """

    url: str
    options: tuple[tuple[str, object], ...] = field(default=(), compare=False, repr=False)
    options_hash: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        said: list[object] = [dict(self.options)]
        if not self.is_local:
            said.append(fsspec.config.conf)
            said.append({k: v for k, v in os.environ.items() if k.startswith(_ENVIRONMENT)})
        hashed = hashlib.blake2b(_text_of_option(said).encode(), digest_size=16).hexdigest()
        object.__setattr__(self, "options_hash", hashed)

    @classmethod
    def of(
        cls, store: str | os.PathLike[str] | Location, options: Mapping[str, object] | None = None
    ) -> Location:
        """Normalise a path, URL or location.

        Raises
        ------
        StoreError
            For what is no path, chained URLs, unknown schemes and credentials inside a URL.
        """
        if isinstance(store, Location):
            return store
        url = _text_of_place(store)
        if "\0" in url or not url:
            raise StoreError(f"not a store path: {url!r}")
        scheme, has_scheme, rest = url.partition("://")
        if "::" in url:
            raise StoreError("chained URLs ('::') are not accepted for stores: give a plain URL")
        if has_scheme and scheme not in URL_SCHEMES:
            raise StoreError(
                f"cannot open a {scheme}:// store: use a local path or one of "
                + ", ".join(sorted(URL_SCHEMES))
            )
        if has_scheme and "@" in rest.split("/", 1)[0]:
            raise StoreError("the store URL holds credentials: put them into the environment")
        if scheme in _LOCAL_SCHEMES and has_scheme:
            url = rest
        if "://" not in url:
            # A local path leads to one place, whatever the options are for.
            return cls(str(Path(url).expanduser().absolute()))
        return cls(url, tuple(sorted((options or {}).items())))

    @property
    def is_local(self) -> bool:
        """The store is a folder of this machine."""
        return "://" not in self.url

    @property
    def is_zip(self) -> bool:
        """The place is a zip file of this machine."""
        return self.is_local and self.url.lower().endswith(".zip") and Path(self.url).is_file()

    def blobs(self) -> LocalBlobs | FsspecBlobs | ZipBlobs:
        """Open the place itself; never a local path through fsspec, which tears files."""
        if self.is_zip:
            return zip_blobs(self.url)
        if self.is_local:
            return LocalBlobs(Path(self.url))
        return _client(self, os.getpid(), int(time.monotonic() // _CLIENT_SECONDS))

    def beside(self, url: str) -> Location:
        """Another URL, reached by the same options."""
        return replace(self, url=url)

    def __str__(self) -> str:
        return self.url


@functools.lru_cache(maxsize=8)
def _client(location: Location, process: int, period: int) -> FsspecBlobs:
    """A place through fsspec, opened once in a process and again in the next period."""
    try:
        fs, root = fsspec.core.url_to_fs(
            location.url, **{**dict(location.options), "skip_instance_cache": True}
        )
    except ImportError as err:
        raise without_client(location.url) or ImportError(
            f"cannot reach {location}: {err}"
        ) from err
    return FsspecBlobs(fs, root, location.url)


def suffix_of(place: str) -> str:
    """Ending of the name of a path or URL, in lower case: ".tif", or "" where there is none."""
    return PurePosixPath(place.partition("?")[0]).suffix.lower()


def _text_of_place(store: object) -> str:
    """Path or URL as text."""
    if isinstance(store, str | os.PathLike):
        return os.fsdecode(store)
    raise StoreError(
        f"a store is named by a path or URL, not by a {type(store).__name__}: build one of "
        "polygons with zoneraster.build, or write ids in memory as an array `zone` with "
        "zone.to_dataset(name='zone').to_zarr(path)"
    )


def _text_of_option(value: object) -> str:
    """Text that is the same for the same content, however a mapping is ordered.

    What cannot even be pickled is equal to nothing.
    """
    if isinstance(value, Mapping):
        pairs = (f"{_text_of_option(k)}: {_text_of_option(v)}" for k, v in value.items())
        return f"{{{', '.join(sorted(pairs))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text_of_option, value))}]"
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return repr(value)
    try:
        return f"{type(value).__qualname__} {pickle.dumps(value).hex()}"
    except (pickle.PicklingError, TypeError, AttributeError):
        return uuid.uuid4().hex


def without_client(url: str) -> ImportError | None:
    """The error where the package that reaches a URL is not installed; None for other schemes."""
    package = _CLIENTS.get(url.partition("://")[0])
    place = url.partition("?")[0].rpartition("@")[2]
    return None if package is None else without(package, f"reaching {place}")


# What names a store, and the fsspec options of its place.
StoreLike: TypeAlias = str | os.PathLike[str] | Location
Options: TypeAlias = Mapping[str, object] | None


def get_or_none(blobs: Blobs, key: str) -> bytes | None:
    """Bytes of a key; None where there is no such file."""
    try:
        return blobs.get(key)
    except NOT_THERE:
        return None


def file_state(path: Path) -> tuple[int, int, int] | None:
    """Size (bytes), time (ns) and number of a local file: they change when it is written again.

    None where there is none.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def object_state(info: Mapping[str, object]) -> str | None:
    """What changes when an object is written again, by what its file system says of it.

    None where it says nothing but a size.
    """
    said = {name.lower(): value for name, value in info.items()}
    names = (
        "etag", "generation", "md5hash", "content-md5", "mtime", "lastmodified", "last_modified",
        "updated", "created",
    )  # fmt: skip
    marks = [said.get(name) for name in names]
    return None if marks == [None] * len(names) else repr([said.get("size"), *marks])
