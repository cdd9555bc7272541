"""Who may write: one builder at a time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoneraster.blobs import PRIVATE, Location
from zoneraster.errors import StoreBusyError


@contextmanager
def lock(location: Location, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold a local store's lock: one builder at a time, or many parts of one build.

    The kernel frees the lock when the process dies, however it dies. Stores elsewhere are not
    locked.

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
