"""What is asked of a store that is planned: options, and what the store had before."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from zoneraster._grid import Chunking, Grid
from zoneraster._store import Spec, has_plan, load_spec
from zoneraster._values import RasterLike, grid_like
from zoneraster._zones import OnInvalid, is_polygons
from zoneraster.blobs import PRIVATE, Location
from zoneraster.errors import CorruptStoreError, StoreError, told_as

# A grid, or the raster that has it.
GridLike: TypeAlias = Grid | RasterLike
# Options that a store remembers, and what they are in a new one.
_REMEMBERED: dict[str, Any] = {
    "overlap": "last", "priority": None, "all_touched": False, "min_pixels": 0,
    "integrity": "receipt", "chunks": 4000, "product": "ids",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """How zones are read and burned; None stands for what the store has, or the default.

    Parameters
    ----------
    grid : Grid or None
        None takes the grid of an existing store; a raster, or its path, stands for its grid.
    key : str or None
    overlap : {"last", "first", "error", "sets", "layers"} or None
    priority : str or None
        A numeric column: zones are painted in ascending order of it, or with "-" before it in
        descending order; "" for none.
    all_touched : bool or None
    min_pixels : {0, 1} or None
    chunks : int or (int, int) or None
    on_invalid : {"error", "skip", "repair"}
    integrity : {"receipt", "crc32c"} or None
    product : {"ids", "cover", "percent", "count"} or None
    assume_crs : object
        Reference system of zones that declare none.
    layer : str or None
    """

    grid: Any = None  # a Grid, once this is made; None
    key: str | None = None
    overlap: str | None = None
    priority: str | None = None
    all_touched: bool | None = None
    min_pixels: int | None = None
    chunks: int | tuple[int, int] | None = None
    on_invalid: OnInvalid = "error"
    integrity: str | None = None
    product: str | None = None
    assume_crs: object = None
    layer: str | None = None

    def __post_init__(self) -> None:
        """Look up the grid of a raster."""
        if self.grid is not None and not isinstance(self.grid, Grid):
            object.__setattr__(self, "grid", grid_like(self.grid))


def refuse_foreign(location: Location) -> None:
    """Refuse a place that holds something, none of it a plan of ours; nothing is touched.

    Raises
    ------
    StoreError
        Naming what is there.
    """
    blobs = location.blobs()
    with told_as(StoreError, f"{location} cannot be read", "check the path and the rights for it"):
        if location.url.startswith(("http://", "https://")):
            raise StoreError(
                f"{location} is on a web server, which takes no files: build on a disk or an "
                "object store, and publish that"
            )
        if location.is_local and Path(location.url).is_file():
            cure = ": zones come first, then the store" if is_polygons(location.url) else ""
            raise StoreError(f"{location} is a file: a store needs an empty or new folder{cure}")
        if has_plan(blobs):
            return
        for key, _ in blobs.list(""):
            if not key.startswith(PRIVATE):
                raise StoreError(
                    f"{location} holds something else already ({key}): nothing was touched, "
                    "choose an empty or new folder"
                )


def old_spec(location: Location) -> Spec | None:
    """Spec of a store; None for a new one, and where it was torn or lost: it is planned again."""
    try:
        return load_spec(location, location.blobs())
    except CorruptStoreError:
        return None


def asked_spec(options: PlanOptions, old: Spec | None) -> Spec:
    """The spec asked for, its dtype not yet known."""
    grid = options.grid if options.grid is not None or old is None else old.grid
    if grid is None:
        raise StoreError(
            "a new store needs a grid: give grid=, the path of a raster, or Grid.from_bounds(...)"
        )
    given = {name: getattr(options, name) for name in _REMEMBERED}
    before = {name: getattr(old, name) for name in _REMEMBERED} if old else _REMEMBERED
    said = {name: before[name] if value is None else value for name, value in given.items()}
    said["priority"] = said["priority"] or None
    cut = Chunking.of(grid, said.pop("chunks"))
    return Spec(
        grid=grid,
        chunks=cut.chunks,
        batch=cut.batch,
        dtype=old.dtype if old else "uint8",
        key=options.key or (old.key if old else "row"),
        **said,
    )


def inputs_digest(content: str, options: PlanOptions, spec: Spec) -> str:
    """Hash of the zones (their digest `content`) and all options; empty where that is."""
    if not content:
        return ""
    said = [
        content, options.on_invalid, str(options.assume_crs), options.layer, options.key,
        spec.overlap, spec.priority, spec.min_pixels, spec.hash().hex(),
    ]  # fmt: skip
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).hexdigest()
