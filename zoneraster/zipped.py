"""Named bytes inside a zip file: a store or a Zarr that was packed, to be read as it is."""

from __future__ import annotations

import functools
import io
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, NoReturn

from zoneraster.errors import NOT_THERE, StoreError, place_error

_ROOTS = ("zarr.json", ".zgroup", ".zmetadata")


class ZipBlobs:
    """Blobs in a local zip file, which is read and never written.

    Parameters
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with place_error(f"{path} cannot be read", passing=NOT_THERE):
            try:
                self._file = zipfile.ZipFile(path)
            except zipfile.BadZipFile as err:
                raise StoreError(f"{path} is no zip file ({err}): pack it again") from err
        # The last of one name counts, as for zarr's own zip store.
        self._infos = {info.filename: info for info in self._file.infolist() if not info.is_dir()}
        self.folder = self._folder()

    def _folder(self) -> str:
        """The one folder that everything lies in, with its slash; "" where there is none."""
        tops = {name.partition("/")[0] for name in self._infos}
        if len(tops) != 1 or any(name in self._infos for name in _ROOTS):
            return ""
        return f"{next(iter(tops))}/"

    def get(self, key: str) -> bytes:
        """Bytes of a key."""
        info = self._infos.get(self.folder + key)
        if info is None:
            raise FileNotFoundError(f"{self.path}/{key}")
        with place_error(f"{key} in {self.path} cannot be read", passing=NOT_THERE):
            try:
                return self._file.read(info)
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as err:
                raise StoreError(
                    f"{key} in {self.path} cannot be read ({err}): pack it again"
                ) from err

    def open(self, key: str) -> BinaryIO:
        """Open a key for reading."""
        return io.BytesIO(self.get(key))

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below a folder."""
        below = self.folder + (f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else "")
        for name in sorted(self._infos):
            if name.startswith(below):
                yield name[len(self.folder) :], self._infos[name].file_size

    def has(self, key: str) -> bool:
        """There is such a key."""
        return self.folder + key in self._infos

    def put(self, key: str, data: bytes, *, synced: bool = False) -> None:
        """Refuse."""
        self._refuse()

    def writer(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Refuse."""
        self._refuse()

    def delete(self, key: str) -> None:
        """Refuse."""
        self._refuse()

    def clear(self, folder: str) -> None:
        """Refuse."""
        self._refuse()

    def sync(self, keys: Iterable[str]) -> None:
        """Nothing to wait for."""

    def sweep(self, min_age: float = 0.0, *, folders: Sequence[str] | None = None) -> int:
        """Nothing to sweep."""
        return 0

    def _refuse(self) -> NoReturn:
        raise StoreError(f"{self.path} is a zip file, which is read and not written: unpack it")


def zip_blobs(path: str) -> ZipBlobs:
    """The blobs of a zip file, opened once in a process and again once it is written anew."""
    state = os.stat(path)  # noqa: PTH116 - beside its neighbours of the standard library
    return _opened(path, (state.st_size, state.st_mtime_ns, state.st_ino), os.getpid())


@functools.lru_cache(maxsize=16)
def _opened(path: str, state: object, process: int) -> ZipBlobs:
    return ZipBlobs(path)
