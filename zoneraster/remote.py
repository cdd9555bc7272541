"""Named bytes on anything that fsspec reaches: one PUT per key, and errors of ours."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from zoneraster.errors import NOT_THERE, StoreError, place_error


class FsspecBlobs:
    """Blobs on anything fsspec reaches: one PUT per key.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
    root : str
        As the file system names it.
    url : str, optional
        As people name it.
    """

    def __init__(self, fs: Any, root: str, url: str = "") -> None:  # Any: fsspec has no types
        self.fs = fs
        self.root = root.rstrip("/")
        self._url = (url or root).rstrip("/")
        # Links of a page for people may be read as a listing: it proves nothing.
        self._is_web = self.root.startswith(("http://", "https://"))
        self._is_memory = getattr(fs, "protocol", "") == "memory"
        self._listing = threading.Lock()

    def get(self, key: str) -> bytes:
        """Bytes of a key."""
        with place_error(f"{self._url}/{key} cannot be read", passing=NOT_THERE):
            try:
                return bytes(self.fs.cat_file(f"{self.root}/{key}"))
            except Exception as err:
                # What a web server says that may not tell which files there are.
                if self._is_web and getattr(err, "status", None) in {403, 410}:
                    raise FileNotFoundError(f"{self.root}/{key}") from err
                raise

    def put(self, key: str, data: bytes, *, synced: bool = False) -> None:
        """Write all of a key; what was put is safe when the request ends."""
        with self._writing(key):
            self.fs.pipe_file(f"{self.root}/{key}", data)

    def sync(self, keys: Iterable[str]) -> None:
        """Nothing to wait for."""

    def open(self, key: str) -> BinaryIO:
        """Open a key for reading."""
        with place_error(f"{self._url}/{key} cannot be read", passing=NOT_THERE):
            file: BinaryIO = self.fs.open(f"{self.root}/{key}", "rb")
            # In memory all who open a key get one object, with one place to read at.
            return io.BytesIO(file.getvalue()) if isinstance(file, io.BytesIO) else file

    @contextmanager
    def writer(self, key: str) -> Iterator[BinaryIO]:
        """Write to a temporary file, or to memory what goes there, and upload it at the end."""
        if self._is_memory:
            memory = io.BytesIO()
            yield memory
            self.put(key, memory.getvalue())
            return
        with tempfile.NamedTemporaryFile(suffix=".partial") as file:
            yield file  # type: ignore[misc]  # a wrapper that has every method of BinaryIO
            file.flush()
            with self._writing(key):
                self.fs.put_file(file.name, f"{self.root}/{key}")

    @contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        """The door for what writing raises."""
        if self._is_web:
            raise StoreError(
                f"{self._url} is on a web server, which takes no files: build on a disk or an "
                "object store, and publish that"
            )
        with place_error(f"{self._url}/{key} cannot be written"):
            yield

    def delete(self, key: str) -> None:
        """Delete a key."""
        with place_error(f"{self._url}/{key} cannot be deleted"), suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.root}/{key}")

    def clear(self, folder: str) -> None:
        """Delete all keys below a folder; folders are no more than names of keys."""
        for key, _ in list(self.list(folder)):
            self.delete(key)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below a folder."""
        folder = prefix.rstrip("/")
        for key, info in self.infos(folder):
            yield f"{folder}/{key}" if folder else key, int(info["size"])

    def infos(self, folder: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Keys below a folder, from there on, and what the file system says of each."""
        if self._is_web:
            raise PermissionError(f"{self._url}: a web server lists no files")
        # The listings that a client remembers are no place for two threads.
        failed = f"the files below {self._url}/{folder} cannot be listed"
        with (
            self._listing,
            place_error(failed, passing=(*NOT_THERE, PermissionError, NotImplementedError)),
        ):
            self.fs.invalidate_cache()
            found = self.fs.find(f"{self.root}/{folder}", detail=True)
        skip = len(f"{self.root}/{folder}".strip("/")) + 1
        for name, info in sorted(found.items()):
            yield name.removeprefix("/")[skip:], info

    def has(self, key: str) -> bool:
        """There is such an object."""
        return bool(self.fs.exists(f"{self.root}/{key}"))

    def sweep(self, min_age: float = 0.0, *, folders: Sequence[str] | None = None) -> int:
        """Nothing to sweep: a PUT leaves no temporary object."""
        return 0
