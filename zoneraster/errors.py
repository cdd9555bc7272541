"""Errors and warnings of zoneraster, and how they name what they are about.

Each class is also the builtin that a caller would expect::

    ZonerasterError
    ├── OptionError               ValueError    an option that no verb has
    ├── GridError                 ValueError    a grid, window or chunk shape that cannot be
    ├── ZonesError                ValueError    zones, keys or a CRS that cannot be burned
    │   └── OverlapError                        zones overlap although ``overlap="error"``
    ├── ValuesError               ValueError    rasters or statistics that cannot be reduced
    │   └── AlignmentError                      pixels that do not fit those of the store
    ├── StoreError                RuntimeError  a store that is not ours, or not readable
    │   ├── StoreMismatchError                  the store was built with other options
    │   ├── IncompleteBuildError                batches are missing
    │   ├── CorruptStoreError                   stored bytes disagree with their receipts
    │   ├── ClosureError                        pixels counted are not the pixels read
    │   └── StoreBusyError                      another builder holds the lock
    ├── WorkerDiedError           RuntimeError  a process that ran tasks was killed
    └── BuildInterrupted          RuntimeError  stopped by the user, finished batches are safe
    ZonerasterWarning             UserWarning   the result is right, but may surprise
    └── IdleOption                              an option that changes nothing
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import re
import socket
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

# How many names a message lists before it says how many more there are.
NAMED = 5
# What says that a file is not there, or is none.
NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# Frames of the package itself, and of its context managers, which no warning points at.
_HERE = (str(Path(__file__).parent / "_")[:-1], contextlib.__file__)


class ZonerasterError(Exception):
    """Base of every error that zoneraster raises on purpose."""


class OptionError(ZonerasterError, ValueError):
    """A part, an executor, a number of workers or a share that cannot be."""


class GridError(ZonerasterError, ValueError):
    """A grid, window or chunk shape that cannot be."""


class ZonesError(ZonerasterError, ValueError):
    """Polygons, keys or reference systems that cannot be burned."""


class OverlapError(ZonesError):
    """Zones overlap although ``overlap="error"`` was asked for."""


class ValuesError(ZonerasterError, ValueError):
    """A value raster, key, predicate or statistic that cannot be reduced."""


class AlignmentError(ValuesError):
    """The pixels of a raster do not fit those of the store."""


class StoreError(ZonerasterError, RuntimeError):
    """A store that is not ours, or that cannot be read."""


class StoreMismatchError(StoreError):
    """The store was built with another grid, dtype or rule."""


class IncompleteBuildError(StoreError):
    """Some batches of the plan have no receipt yet."""


class CorruptStoreError(StoreError):
    """Stored bytes disagree with their receipts."""


class ClosureError(StoreError):
    """Zones, no zone and nodata do not add up to the pixels read."""


class StoreBusyError(StoreError):
    """Another builder holds the store's lock."""


class WorkerDiedError(ZonerasterError, RuntimeError):
    """A process that ran tasks was killed; what is finished is safe."""


class BuildInterrupted(ZonerasterError, RuntimeError):
    """The user stopped the build; everything with a receipt is safe."""


class ZonerasterWarning(UserWarning):
    """The result is right, but may surprise."""


class IdleOption(ZonerasterWarning):
    """An option changes nothing: a warning in Python, an error where whoever asked reads none."""


def warn(
    *texts: str, told: Iterable[str] = (), kind: type[ZonerasterWarning] = ZonerasterWarning
) -> None:
    """Say each text as a `ZonerasterWarning` at the line of the user's that called us.

    Parameters
    ----------
    *texts : str
    told : iterable of str
        Texts that the same call has said already, and that are not said again.
    kind : type of ZonerasterWarning
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        level, frame = level + 1, frame.f_back
    known = set(told)
    for text in texts:
        if text not in known:
            warnings.warn(text, kind, stacklevel=level)


@contextlib.contextmanager
def stopping(what: str) -> Iterator[None]:
    """A door for Ctrl-C: inside, the user stops what has no tasks.

    Parameters
    ----------
    what : str
        When it was, and what is left then: "while planning; the store is as it was".

    Raises
    ------
    BuildInterrupted
    """
    try:
        yield
    except KeyboardInterrupt:
        raise BuildInterrupted(f"stopped {what}") from None


@contextlib.contextmanager
def told_as(error: type[ZonerasterError], what: str, cure: str) -> Iterator[None]:
    """A door for what others made: whatever is raised inside comes out as one of our errors.

    Parameters
    ----------
    error : type of ZonerasterError
    what : str
        What cannot be done, with the name of the file: "zones.parquet cannot be read".
    cure : str
    """
    try:
        yield
    except (ZonerasterError, ImportError):
        raise
    except Exception as err:
        said = " ".join(str(err).split())[:300]
        cure = cure_of(err) or cure
        raise error(f"{what} ({type(err).__name__}{said and ': '}{said}): {cure}") from err


@contextlib.contextmanager
def place_error(what: str, *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """A door for what disks and networks raise.

    Parameters
    ----------
    what : str
        What cannot be done, with the path or URL.
    passing : tuple of exception types
        What the caller makes something of, such as `NOT_THERE`.

    Raises
    ------
    StoreError
        With what went wrong, and the cure for it.
    """
    try:
        yield
    except passing:
        raise
    except (ZonerasterError, ImportError, AssertionError):
        raise
    except Exception as err:
        cure = cure_of(err)
        if cure is None and not isinstance(err, OSError):
            raise  # not of a place
        said = " ".join(str(err).split())[:300]
        cure = cure or "mend that and run the same again, what is done is safe"
        raise StoreError(f"{what} ({type(err).__name__}{said and ': '}{said}): {cure}") from err


def cure_of(err: BaseException) -> str | None:
    """What helps against an error of a disk or a network; None for other errors.

    Clients of object stores have errors of their own, which are known by their names.
    """
    name, status = type(err).__name__, getattr(err, "status", None)
    number = err.errno if isinstance(err, OSError) else None
    is_gone = isinstance(err, ConnectionError | TimeoutError | socket.gaierror)
    cures = {
        "make room there, and run the same again; what is done is safe": (
            number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        ),
        "choose a place that can be written to": number == errno.EROFS,
        "give credentials in the environment or in storage_options=; for what is open to all "
        "storage_options={'anon': True}": "Credentials" in name or status == 401,
        "check that you, or the credentials in use, have the right to do that": (
            isinstance(err, PermissionError) or status == 403
        ),
        "check the host's name and the network, and run the same again; what is done is safe": (
            is_gone or bool(re.search(r"Connect|Timeout|Proxy|Disconnected", name))
        ),
        "check the path, and what the server says; what is done is safe": (
            name in {"ClientError", "ClientResponseError"} or name.startswith("HTTP")
        ),
    }
    return next((cure for cure, helps in cures.items() if helps), None)


# What else is there when a package is.
_EXTRAS = {
    "rasterio": "raster", "matplotlib": "plot", "s3fs": "s3", "aiohttp": "http",
    "distributed": "distributed",
}  # fmt: skip


def without(package: str, what: str) -> ImportError:
    """The error where a package is not installed, which the extras of zoneraster bring.

    The package itself is asked for: that works in a clone, and wherever zoneraster came from.

    Parameters
    ----------
    package : str
    what : str
        What needs it: "reading 'cover.tif'".
    """
    extra = f" (the extra {_EXTRAS[package]!r} of zoneraster)" if package in _EXTRAS else ""
    return ImportError(f"{what} needs {package}, which is not there: pip install {package}{extra}")


def nearest(
    name: str,
    names: Iterable[str],
    *,
    all_of_them: bool = False,
    alias: Mapping[str, str] | None = None,
) -> str:
    """How a message goes on about a name that is not there: the likely one, and which there are.

    Parameters
    ----------
    name : str
    names : iterable of str
        Those that there are.
    all_of_them : bool
        All of these are listed, not the first ones.
    alias : mapping of str to str, optional
        What is called otherwise elsewhere.
    """
    names = [*names]
    known = (alias or {}).get(name.lower())
    close = [known] if known else difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    there = (", ".join(names) if all_of_them else name_some(names)) or "none"
    return f"did you mean {close[0]!r}? There are {there}" if close else f"there are {there}"


def number_of(n: int, noun: str) -> str:
    """A number and its noun: "1 zone", "2 zones"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def name_some(names: Sequence[object], n: int | None = None) -> str:
    """The first few names and how many more there are; `n` in all where not all are given."""
    text = ", ".join(str(name) for name in names[:NAMED])
    more = (len(names) if n is None else n) - NAMED
    return f"{text} and {more:,} more" if more > 0 else text
