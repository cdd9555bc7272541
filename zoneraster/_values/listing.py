"""Which files a folder or a pattern names: places of tiles, in the order of their names."""

from __future__ import annotations

import fnmatch
import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from zoneraster.blobs import Location
from zoneraster.errors import ValuesError

_MAGIC = "*?["


def is_pattern(location: Location) -> bool:
    """A path with ``*``, ``?`` or ``[..]`` that is not there as it is written."""
    path = location.url if location.is_local else location.url.partition("://")[2]
    if not any(mark in path for mark in _MAGIC):
        return False
    # What follows a question mark belongs to an address of the web.
    is_web = location.url.startswith(("http://", "https://"))
    if is_web:
        return any(mark in path.partition("?")[0] for mark in "*[")
    return not (location.is_local and Path(location.url).exists())


def matching(location: Location, label: str) -> list[str]:
    """Places that a pattern matches.

    Raises
    ------
    ValuesError
        When there are none, and for a web server, which lists no files.
    """
    if location.is_local:
        # Of `glob`, as it alone begins where the pattern says.
        found = sorted(glob.glob(location.url, recursive=True))  # noqa: PTH207
    else:
        scheme, _, path = location.url.partition("://")
        parts = path.split("/")
        fixed = next(i for i, part in enumerate(parts) if any(mark in part for mark in _MAGIC))
        base = f"{scheme}://{'/'.join(parts[:fixed])}"
        wanted = parts[fixed:]
        keys = _keys_below(location.beside(base), label)
        # Of a Zarr the folder is meant, not a file in it.
        places = {tuple(key.split("/")[: n + 1]) for key in keys for n in range(key.count("/") + 1)}
        found = [f"{base}/{'/'.join(parts)}" for parts in sorted(places) if _fits(parts, wanted)]
    if not found:
        raise ValuesError(f"{label}: nothing matches this pattern: check it")
    return found


def files_within(location: Location, suffixes: tuple[str, ...], label: str) -> list[str]:
    """Raster files directly in a folder; none where it is no folder of such.

    Raises
    ------
    ValuesError
        Where they are of several kinds.
    """
    if location.is_local:
        folder = Path(location.url)
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    else:
        try:
            keys = _keys_below(location, label)
        except ValuesError:
            return []  # it may be a file all the same
        names = sorted(key for key in keys if "/" not in key)
    kinds = Counter(PurePosixPath(name).suffix.lower() for name in names)
    kinds = Counter({kind: n for kind, n in kinds.items() if kind in suffixes})
    if len(kinds) > 1:
        said = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        raise ValuesError(
            f"{label} holds rasters of several kinds ({said}): choose by a pattern such as "
            f"'{label}/*{next(iter(kinds))}'"
        )
    chosen = [name for name in names if PurePosixPath(name).suffix.lower() in kinds]
    return [f"{location.url.rstrip('/')}/{name}" for name in chosen]


def _keys_below(location: Location, label: str) -> list[str]:
    try:
        return sorted(key for key, _ in location.blobs().list(""))
    except (PermissionError, NotImplementedError) as err:
        raise ValuesError(
            f"{label}: its server lists no files ({err}): give a list of the tiles' addresses"
        ) from err


def _fits(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether the parts of a key are those of a pattern; ``**`` stands for any number of them."""
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_fits(parts[i:], wanted[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], wanted[0]) and _fits(parts[1:], wanted[1:])


def name_of(places: list[str]) -> str:
    """What tiles are called together: their folder."""
    folders = {place.partition("?")[0].rstrip("/").rpartition("/")[0] for place in places}
    stem = PurePosixPath(next(iter(folders))).name if len(folders) == 1 else ""
    return stem or "value"
