"""Who may write: one builder at a time, and tasks of the present plan only."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from zoneraster.blobs import PRIVATE, Blobs, Location, get_or_none
from zoneraster.errors import StoreBusyError, StoreError, told_as

TOKEN_KEY = f"{PRIVATE}token"
PLANNING = "planning"
_LOCKS = {"lock", PLANNING}
# On an object store a token that was read is believed for so long (seconds).
_BELIEVED = 1.0


@contextmanager
def lock(
    location: Location, *, shared: bool = False, wait: bool = False, name: str = "lock"
) -> Iterator[None]:
    """Hold a local store's lock: one builder at a time, or many parts of one build.

    The kernel frees the lock when the process dies, however it dies. Stores elsewhere are not
    locked. A folder that was made for the lock goes with it when nothing was put there.

    Parameters
    ----------
    location : Location
    shared : bool
        Together with other shared holders (the parts of a job array).
    wait : bool
        Wait for the present holder instead of raising.
    name : str
        Of the lock; those of other names do not meet.

    Raises
    ------
    StoreBusyError
        Naming the holder.
    """
    if not location.is_local:
        yield
        return
    import fcntl  # noqa: PLC0415 - not on every platform

    path = Path(location.url) / PRIVATE / name
    made = [folder for folder in (path.parent, *path.parents[1:]) if not folder.exists()]
    try:
        with _opened(path, location, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait) as file:
            try:
                file.truncate(0)
                file.write(f"pid {os.getpid()} on {socket.gethostname()}")
                file.flush()
                yield
            finally:
                # Closing would not do while a process that was forked meanwhile has the file open.
                fcntl.flock(file, fcntl.LOCK_UN)
    finally:
        _leave_nothing(path.parent, made)


@contextmanager
def _opened(path: Path, location: Location, how: int, wait: bool) -> Iterator[TextIO]:
    """The file of a lock, open and locked, and not one that was removed meanwhile."""
    import fcntl  # noqa: PLC0415 - not on every platform

    while True:
        with told_as(StoreError, f"cannot lock {location}", "mend that, and run the same again"):
            file = _made(path)
        with file:
            try:
                fcntl.flock(file, how if wait else how | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise StoreBusyError(
                    f"another build of {location} is running ({file.read().strip() or 'unknown'}): "
                    "wait for it, or stop it"
                ) from None
            if _is_still(path, file):
                yield file
                return


def _made(path: Path) -> TextIO:
    """Open the file of a lock, and make it and its folders where they are not there."""
    for left in reversed(range(100)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("a+")
        except (FileNotFoundError, FileExistsError):
            # Others may just be removing the folders that they had made, see `_leave_nothing`.
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def _is_still(path: Path, file: TextIO) -> bool:
    """The file that was opened is the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def holder_of(location: Location, name: str = "lock") -> str | None:
    """Who holds a lock alone; None where nobody does, and for stores elsewhere. Nothing is made."""
    path = Path(location.url) / PRIVATE / name
    if not location.is_local or not path.is_file():
        return None
    import fcntl  # noqa: PLC0415 - not on every platform

    with suppress(FileNotFoundError, PermissionError), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "unknown"
        fcntl.flock(file, fcntl.LOCK_UN)
    return None


@contextmanager
def lock_planning(location: Location) -> Iterator[None]:
    """Hold, beside the lock of a store, the one that tells others that it is being planned."""
    with ExitStack() as held:
        # A part of a job array that holds it waits for the store's own.
        with suppress(StoreBusyError):
            held.enter_context(lock(location, name=PLANNING))
        yield


def _leave_nothing(folder: Path, made: Sequence[Path]) -> None:
    """Remove folders that were made for a lock, where nothing but unheld locks came into them."""
    import fcntl  # noqa: PLC0415 - not on every platform

    if folder not in made:
        return
    with ExitStack() as held, suppress(OSError):
        names = {path.name for path in folder.iterdir()}
        if not names <= _LOCKS:
            return
        for name in names:
            file = held.enter_context((folder / name).open("a+"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever waits for one of them finds that it is gone, and makes it again.
        for name in names:
            (folder / name).unlink()
        for one in made:
            one.rmdir()


# ---- the token of a plan -------------------------------------------------------------------------


def read_token(blobs: Blobs) -> str:
    """Token of the present plan; empty where no plan has written one."""
    return (get_or_none(blobs, TOKEN_KEY) or b"").decode()


def renew_token(location: Location, blobs: Blobs) -> None:
    """Call off the tasks of all plans so far, whoever runs them.

    When it returns, nothing of theirs is put or deleted any more: on local disk for certain, on an
    object store except for a request that takes longer than a second.

    Parameters
    ----------
    location : Location
        Of a store that the caller holds the lock of.
    blobs : Blobs
        Of the same place.
    """
    token = uuid.uuid4().hex.encode()
    if not location.is_local:
        has_older = bool(read_token(blobs))
        blobs.put(TOKEN_KEY, token)
        if has_older:
            time.sleep(_BELIEVED)
        return
    import fcntl  # noqa: PLC0415 - not on every platform

    file = _open_token(location)
    try:
        # First the token, then the wait: puts that begin from now on read it and stop.
        os.pwrite(file, token, 0)
        fcntl.flock(file, fcntl.LOCK_EX)
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def _open_token(location: Location) -> int:
    """Open the token of a local store for reading and writing."""
    return os.open(f"{location.url}/{TOKEN_KEY}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


class Fence:
    """Puts and deletes of a task, refused once its plan is not the present one any more.

    A task may outlive the build that issued it: a worker process whose parent was killed, a task of
    a cluster. What it would put belongs to the plan that it was issued for.

    Parameters
    ----------
    location : Location
    blobs : Blobs
        Of the same place.
    token : str
        Of the plan that the task belongs to, see `read_token`.
    """

    def __init__(self, location: Location, blobs: Blobs, token: str) -> None:
        self._location, self._blobs, self._token = location, blobs, token
        self._read = -_BELIEVED

    def put(self, key: str, data: bytes, *, synced: bool = False) -> None:
        """Write all of a key.

        Raises
        ------
        StoreBusyError
            When the store has been planned anew.
        """
        with self._held():
            self._blobs.put(key, data, synced=synced)

    def delete(self, key: str) -> None:
        """Delete a key; raises as `put` does."""
        with self._held():
            self._blobs.delete(key)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Keep the plan from being changed, where that is possible, and see that it was not."""
        if not self._location.is_local:
            # time.monotonic goes on while a process is stopped.
            if time.monotonic() - self._read >= _BELIEVED:
                self._check(read_token(self._blobs))
                self._read = time.monotonic()
            yield
            return
        import fcntl  # noqa: PLC0415 - not on every platform

        # Opened for each put: the store may have been removed and built again.
        try:
            file = _open_token(self._location)
        except FileNotFoundError:
            raise self._superseded() from None
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
            self._check(os.pread(file, 64, 0).decode())
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # see `lock`
            os.close(file)

    def _check(self, token: str) -> None:
        if token != self._token:
            raise self._superseded()

    def _superseded(self) -> StoreBusyError:
        return StoreBusyError(
            f"{self._location} was planned anew while this build ran: this build has stopped, "
            "and put nothing since; run it again if its zones are the right ones"
        )
