"""Partials on disk: one immutable Parquet object per task, named by what it was made of.

The name of a partial holds a hash of all options, the number of its task, and a hash over the zones
of its chunks and the identity of the values under them. A task whose object is there is done;
changed zones, values or options give other names, and what equal calls left is deleted at the end.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from zoneraster._stats.partial import Partial, decode_partial, encode_partial
from zoneraster._stats.request import Request, StatsTask
from zoneraster._stats.task import run_task
from zoneraster._store import crc32c
from zoneraster._values import pixels_under
from zoneraster.blobs import Location
from zoneraster.errors import CorruptStoreError, StoreError

_MARK = "checkpoint.json"
_FOLDER = "partials/"
FORMAT_VERSION = 1
# Raised whenever equal inputs would give other partials.
REDUCE_VERSION = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder of partials.

    Parameters
    ----------
    location : Location
    used : set of str
        Names that this call has asked for.
    """

    location: Location
    used: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, location: Location) -> Checkpoint:
        """Open a folder, or begin a new one.

        Raises
        ------
        StoreError
            When the place holds something else, or another version's partials.
        """
        blobs = location.blobs()
        try:
            version = json.loads(blobs.get(_MARK))["zoneraster_checkpoint"]
        except FileNotFoundError:
            if next(iter(blobs.list("")), None) is not None:
                raise StoreError(
                    f"{location} is not empty and no checkpoint: give an empty or new folder"
                ) from None
            blobs.put(_MARK, json.dumps({"zoneraster_checkpoint": FORMAT_VERSION}).encode())
        except (ValueError, KeyError, TypeError) as err:
            raise StoreError(f"{location}/{_MARK} cannot be read ({err}): delete it") from err
        else:
            if version != FORMAT_VERSION:
                raise StoreError(
                    f"{location} has format version {version}, this zoneraster reads "
                    f"{FORMAT_VERSION}: give another folder"
                )
        return cls(location)

    def split(self, tasks: Iterable[StatsTask]) -> tuple[list[StatsTask], dict[int, Partial]]:
        """Tasks that are to be run, and the partials of the others.

        A partial that is damaged is made again.
        """
        blobs = self.location.blobs()
        there = {_without_checksum(key): key for key, _ in blobs.list(_FOLDER)}
        missing: list[StatsTask] = []
        kept: dict[int, Partial] = {}
        for task in tasks:
            name = partial_name(task)
            self.used.add(name)
            try:
                key = there[name]
                data = blobs.get(key)
                if key != _with_checksum(name, data):
                    raise CorruptStoreError(f"partial {key} is not what was written")
                kept[task.number] = decode_partial(key, data)
            except (CorruptStoreError, FileNotFoundError, KeyError):
                missing.append(replace(task, keep_as=name))
        return missing, kept

    def sweep(self) -> None:
        """Delete what equal calls left and this one did not ask for, and torn files.

        Partials of other calls, with other statistics or keys, stay.
        """
        blobs = self.location.blobs()
        blobs.sweep()
        for folder in {name.rpartition("/")[0] for name in self.used}:
            for key, _ in list(blobs.list(folder)):
                if _without_checksum(key) not in self.used:
                    blobs.delete(key)


def run_and_keep(location: Location, task: StatsTask) -> tuple[int, Partial]:
    """Reduce a task and put its partial under the name that the task carries."""
    number, partial = run_task(task)
    data = encode_partial(partial)
    location.blobs().put(_with_checksum(task.keep_as, data), data)
    return number, partial


def _with_checksum(name: str, data: bytes) -> str:
    """Key of a partial: Parquet does not checksum its headers and footer, so the key does."""
    return f"{name}-{crc32c(data):08x}.parquet"


def _without_checksum(key: str) -> str:
    return key.rpartition("-")[0]


def partial_name(task: StatsTask) -> str:
    """Name of a task's partial: equal zones, values and options, equal names."""
    request = task.request
    options, prefixes = _request_digest(request)
    digest = hashlib.blake2b(prefixes, digest_size=12)
    zones = request.zones.open()
    for chunk, window in task.parts:
        digest.update(repr((chunk, window)).encode())
        digest.update(zones.fingerprint(chunk))
    windows = [part.window for part in task.parts]
    for raster, placement in zip(task.rasters, request.placements, strict=True):
        met = pixels_under(placement, windows)
        digest.update(b"outside" if met is None else raster.identity(met))
    return f"{_FOLDER}{options.hex()}/{task.number}-{digest.hexdigest()}"


@functools.lru_cache(maxsize=4)
def _request_digest(request: Request) -> tuple[bytes, bytes]:
    """Hash of all options that decide partials, and of what earlier passes found."""
    families = [family for own in request.families for family in own]
    said: list[Any] = [  # Any: whatever has a stable repr
        REDUCE_VERSION, request.grid.to_dict(), request.fine, request.tiling, request.placements,
        request.measures, request.where, request.dims, request.with_area,
        [(i, k.listed, k.cumulative, k.nodata == "error", k.unlisted == "error")
         for i, k in request.keys],
        [[family.said() for family in own] for own in request.families],
    ]  # fmt: skip
    options = hashlib.blake2b(repr(said).encode(), digest_size=8).digest()
    digest = hashlib.blake2b(digest_size=16)
    for family in families:
        digest.update(family.found())
    return options, digest.digest()
