"""Partials on disk: one immutable Parquet object per task, named by what it was made of.

The name of a partial holds a hash of all options, the number of its task, and a hash over the zones
of its chunks and the identity of the values under them. A task whose object is there is done;
changed zones, values or options give other names. The name holds an owner too: a call deletes what
it has made before in the same place and no longer needs, and nothing else, so that one folder
serves many rasters, and calls that run at the same time.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zoneraster._grid import Window
from zoneraster._stats.partial import Partial, decode_partial, encode_partial
from zoneraster._stats.request import Request, StatsTask
from zoneraster._stats.task import run_task
from zoneraster._store import crc32c
from zoneraster._values import OpenRaster, pixels_under, place_of
from zoneraster.blobs import Blobs, Location, get_or_none
from zoneraster.errors import CorruptStoreError, StoreError

_MARK = "checkpoint.json"
_FOLDER = "partials/"
FORMAT_VERSION = 1
# In the place of an owner: nobody deletes it.
NOBODY = "nobody"
# What is read to tell whether it changed is kept for the task up to so many bytes of a raster.
_MAX_HELD = 2**28
# Seconds after which a half-written file is nobody's any more.
_TORN_AGE = 86_400.0
# Raised whenever equal inputs would give other partials.
REDUCE_VERSION = 7


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder of partials.

    Parameters
    ----------
    location : Location
    owner : str
        Whose partials may be deleted once others have taken their place, see `owner_of`.
    used : set of str
        Names that this call has asked for.
    """

    location: Location
    owner: str = ""
    used: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, location: Location, owner: str = "") -> Checkpoint:
        """Open a folder, or begin a new one.

        Raises
        ------
        StoreError
            When the place holds something else, or another version's partials.
        """
        if location.is_local and Path(location.url).is_file():
            raise StoreError(f"{location} is a file: a checkpoint needs an empty or new folder")
        blobs = location.blobs()
        mark = get_or_none(blobs, _MARK)
        if mark is None and next(iter(blobs.list("")), None) is not None:
            # Another call may have begun it since.
            mark = get_or_none(blobs, _MARK)
            if mark is None:
                raise StoreError(
                    f"{location} is not empty and no checkpoint: give an empty or new folder"
                )
        if mark is None:
            mark = json.dumps({"zoneraster_checkpoint": FORMAT_VERSION}).encode()
            blobs.put(_MARK, mark)
        try:
            version = json.loads(mark)["zoneraster_checkpoint"]
        except (ValueError, KeyError, TypeError) as err:
            raise StoreError(f"{location}/{_MARK} cannot be read ({err}): delete it") from err
        if version != FORMAT_VERSION:
            raise StoreError(
                f"{location} has format version {version}, this zoneraster reads "
                f"{FORMAT_VERSION}: give another folder"
            )
        return cls(location, owner)

    def split(self, tasks: Iterable[StatsTask]) -> tuple[list[StatsTask], dict[int, Partial]]:
        """Tasks that are to be run, and the partials of the others.

        A partial that is damaged is made again. Where only pixels tell whether they changed, the
        worker that reads them looks among the `candidates` itself.
        """
        blobs = self.location.blobs()
        there: dict[str, list[str]] = {}
        missing: list[StatsTask] = []
        kept: dict[int, Partial] = {}
        for task in tasks:
            folder = _folder_of(task.request)
            if folder not in there:
                there[folder] = []
                for key, _ in blobs.list(folder):
                    there.setdefault(_task_of(key), []).append(key)
            candidates = tuple(there.get(f"{folder}/{task.number}", ()))
            name = partial_name(task)
            partial = None
            if name is not None:
                self.used.add(name)
                partial = _found(blobs, name, candidates)
            if partial is None:
                missing.append(replace(task, keep_as=name, candidates=candidates))
            else:
                kept[task.number] = partial
        return missing, kept

    def sweep(self) -> None:
        """Delete the owner's partials that this call did not ask for, and torn files."""
        blobs = self.location.blobs()
        blobs.sweep(min_age=_TORN_AGE)
        if not self.owner:
            return
        for folder in {name.rpartition("/")[0] for name in self.used}:
            for key, _ in list(blobs.list(folder)):
                name, _, owner = _without_checksum(key).rpartition("-")
                if owner == self.owner and name not in self.used:
                    blobs.delete(key)


def owner_of(zones: str, rasters: Iterable[OpenRaster], table: object) -> str:
    """What calls have in common of which a later one makes the partials of an earlier one useless.

    Parameters
    ----------
    zones : str
        Where they lie, see `ZoneSource.place`.
    rasters : iterable of OpenRaster
    table : object
        What the table is made of that decides later passes; compared by its repr.

    Returns
    -------
    str
        "" when there are frames or arrays, or what a user gave a version: two of them are never
        known to be an older and a newer one.
    """
    if not zones:
        return ""
    said: list[object] = [zones, table]
    for raster in rasters:
        where = None if raster.version is not None else place_of(raster)
        if where is None:
            return ""
        said.append((where, raster.grid.to_dict(), raster.dims, raster.decoding))
    return hashlib.blake2b(repr(said).encode(), digest_size=8).hexdigest()


def run_and_keep(location: Location, owner: str, task: StatsTask) -> tuple[int, Partial]:
    """Reduce a task and put its partial, unless it turns out to be there."""
    blobs = location.blobs()
    name = task.keep_as
    if name is None:
        task, name = _told_by_pixels(task)
        known = _found(blobs, name, task.candidates)
        if known is not None:
            return task.number, known
    number, partial = run_task(task)
    data = encode_partial(partial)
    blobs.put(f"{name}-{owner or NOBODY}-{crc32c(data):08x}.parquet", data)
    return number, partial


def _found(blobs: Blobs, name: str, candidates: Iterable[str]) -> Partial | None:
    """The partial of a name, None where there is none that is whole."""
    for key in candidates:
        if _without_checksum(key).rpartition("-")[0] != name:
            continue
        try:
            data = blobs.get(key)
            # Parquet does not checksum its headers and footer, so the key does.
            if key == f"{_without_checksum(key)}-{crc32c(data):08x}.parquet":
                return decode_partial(key, data)
        except (CorruptStoreError, FileNotFoundError):
            continue
    return None


def _without_checksum(key: str) -> str:
    return key.rpartition("-")[0]


def _task_of(key: str) -> str:
    """Folder and number of the task that a key is of."""
    folder, _, name = key.rpartition("/")
    return f"{folder}/{name.partition('-')[0]}"


def _folder_of(request: Request) -> str:
    return f"{_FOLDER}{_request_digest(request)[0].hex()}"


def _told_by_pixels(task: StatsTask) -> tuple[StatsTask, str]:
    """The task with what it had to read held in memory, and the name of its partial."""
    rasters, identities = [], []
    for raster, met in zip(task.rasters, _met(task), strict=True):
        if met is None:
            identity = b"outside"
        else:
            quick = raster.quick_identity(met)
            if quick is None:
                raster = raster.held(met, _MAX_HELD)
            identity = raster.identity(met) if quick is None else quick
        rasters.append(raster)
        identities.append(identity)
    return replace(task, rasters=tuple(rasters)), _name(task, identities)


def _met(task: StatsTask) -> list[Window | None]:
    """What a task reads of each raster."""
    windows = [part.window for part in task.parts]
    return [pixels_under(placement, windows) for placement in task.request.placements]


def partial_name(task: StatsTask) -> str | None:
    """Name of a task's partial: equal zones, values and options, equal names.

    None where only pixels tell whether they changed.
    """
    identities = []
    for raster, met in zip(task.rasters, _met(task), strict=True):
        identity = b"outside" if met is None else raster.quick_identity(met)
        if identity is None:
            return None
        identities.append(identity)
    return _name(task, identities)


def _name(task: StatsTask, identities: Sequence[bytes]) -> str:
    """Name of a partial without owner and checksum."""
    request = task.request
    digest = hashlib.blake2b(_request_digest(request)[1], digest_size=12)
    zones = request.zones.open()
    for chunk, window in task.parts:
        digest.update(repr((chunk, window)).encode())
        digest.update(zones.fingerprint(chunk))
    for identity in identities:
        digest.update(identity)
    return f"{_folder_of(request)}/{task.number}-{digest.hexdigest()}"


@functools.lru_cache(maxsize=4)
def _request_digest(request: Request) -> tuple[bytes, bytes]:
    """Hash of all options that decide partials, and of what earlier passes found."""
    families = [family for own in request.families for family in own]
    said: list[Any] = [  # Any: whatever has a stable repr
        REDUCE_VERSION, request.grid.to_dict(), request.fine, request.tiling, request.placements,
        request.measures, request.where, request.dims, request.with_area,
        [(i, k.listed, k.cumulative, k.nodata == "error", k.unlisted == "error")
         for i, k in request.keys],
        [[family.said() for family in own] for own in request.families], request.zones.said(),
        *([request.weights] if request.weights is not None else []),
    ]  # fmt: skip
    options = hashlib.blake2b(repr(said).encode(), digest_size=8).digest()
    digest = hashlib.blake2b(digest_size=16)
    for family in families:
        digest.update(family.found())
    return options, digest.digest()
