"""Make or reuse the plan of a store: spec, manifest, chunk index, zone table."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zoneraster._build.order import paint_ranks
from zoneraster._build.rescue import rescue_zones
from zoneraster._build.results import PlanSummary
from zoneraster._build.slabs import ManifestInput, part_boxes, write_manifest
from zoneraster._grid import Chunking
from zoneraster._grid import Grid
from zoneraster._store import are_ids, assign_ids, id_dtype, known_ids, remember_ids
from zoneraster._store import plan_digest
from zoneraster._store import put_table
from zoneraster._store import plan_is_whole
from zoneraster._store import INDEX_KEY, MANIFEST_KEY, PLAN_KEY, SPEC_KEY, Spec, check_same, load_spec
from zoneraster._store import ARRAY, write_zarr, zarr_objects
from zoneraster._store import ZONES_KEY, put_zone_table, make_zone_table
from zoneraster._zones import OnInvalid, read_zones, zone_rings
from zoneraster.blobs import PRIVATE, Blobs, Location
from zoneraster.errors import StoreError, StoreMismatchError
from zoneraster.executors import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """How zones are read and burned; None stands for what the store has, or the default.

    Parameters
    ----------
    grid : Grid or None
        None takes the grid of an existing store.
    key : str or None
    overlap : {"last", "first", "error"}
    priority : str or None
        A numeric column: zones are painted in ascending order of it.
    all_touched : bool
    min_pixels : {0, 1}
    chunks : int or (int, int)
    on_invalid : {"error", "skip", "repair"}
    integrity : {"receipt", "crc32c"}
    assume_crs : object
        Reference system of zones that declare none.
    layer : str or None
    """

    grid: Grid | None = None
    key: str | None = None
    overlap: str = "last"
    priority: str | None = None
    all_touched: bool = False
    min_pixels: int = 0
    chunks: int | tuple[int, int] = 4000
    on_invalid: OnInvalid = "error"
    integrity: str = "receipt"
    assume_crs: object = None
    layer: str | None = None


def _file_digest(path: Path) -> str:
    """Hash of a file, and of those that belong to it (.dbf, .shx, ...)."""
    digest = hashlib.blake2b(digest_size=16)
    for part in sorted(path.parent.glob(f"{glob_escape(path.stem)}.*")):
        if part == path or path.suffix.lower() == ".shp":
            digest.update(part.suffix.encode())
            with part.open("rb") as file:
                while block := file.read(1 << 24):
                    digest.update(block)
    return digest.hexdigest()


def glob_escape(text: str) -> str:
    """`text` with the wildcards of `Path.glob` taken literally."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _inputs_digest(source: object, options: PlanOptions, spec_: Spec) -> str:
    """Hash of the zones' file and all options; empty for zones that are not a local file."""
    if not isinstance(source, str | os.PathLike) or not Path(source).is_file():
        return ""
    said = [
        _file_digest(Path(source)), options.on_invalid, str(options.assume_crs), options.layer,
        options.key, spec_.overlap, spec_.priority, spec_.min_pixels, spec_.hash().hex(),
    ]  # fmt: skip
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).hexdigest()


def _first_spec(options: PlanOptions, old: Spec | None) -> Spec:
    """The spec asked for, its dtype not yet known."""
    grid = options.grid or (old.grid if old else None)
    if grid is None:
        raise StoreError("a new store needs a grid: give grid=, e.g. Grid.from_bounds(...)")
    cut = Chunking.of(grid, options.chunks)
    return Spec(
        grid=grid,
        chunks=cut.chunks,
        batch=cut.batch,
        dtype=old.dtype if old else "uint8",
        overlap=options.overlap,
        priority=options.priority,
        all_touched=options.all_touched,
        min_pixels=options.min_pixels,
        integrity=options.integrity,
        key=options.key or (old.key if old else "row"),
    )


def _outside(
    boxes: npt.NDArray[np.float64], part_zone: npt.NDArray[np.int64], grid: Grid, n_zones: int
) -> npt.NDArray[np.int64]:
    """Positions of zones none of whose parts has a box that meets the grid."""
    height, width = grid.shape
    meets = (boxes[:, 2] > 0) & (boxes[:, 0] < width) & (boxes[:, 3] > 0) & (boxes[:, 1] < height)
    inside = np.zeros(n_zones, bool)
    inside[part_zone[meets]] = True
    return np.flatnonzero(~inside)


def _wide(
    boxes: npt.NDArray[np.float64], part_zone: npt.NDArray[np.int64], grid: Grid
) -> npt.NDArray[np.int64]:
    """Positions of zones with a part wider than half the globe."""
    if not grid.is_geographic:
        return np.zeros(0, np.int64)
    half = 180.0 / float(grid.resolution[0])
    return np.unique(part_zone[boxes[:, 2] - boxes[:, 0] > half])


def plan_store(
    source: object, location: Location, options: PlanOptions, *, progress: Progress | None = None
) -> PlanSummary:
    """Plan a store, or find that it holds this very plan already.

    Parameters
    ----------
    source : path, GeoDataFrame or lazy frame
    location : Location
    options : PlanOptions
    progress : callable, optional
        Called with ("read", done, 1), then with ("plan", done, total).

    Raises
    ------
    StoreError
        When the place holds something else; `StoreMismatchError` for other options.
    ZonesError
        For zones that cannot be burned.
    """
    blobs = location.blobs()
    old = load_spec(location, blobs)
    if old is None:
        _refuse_foreign(location, blobs)
    new = _first_spec(options, old)
    if old is not None:
        check_same(old, new, where=str(location))
        inputs = _inputs_digest(source, options, new)
        if inputs and inputs == old.inputs and plan_is_whole(blobs, old.plan):
            return replace(load_summary(location, blobs), reused=True)
    if progress is not None:
        progress("read", 0, 1)
    prepared = _prepare(source, location, options, old, new)
    if progress is not None:
        progress("read", 1, 1)
    return _write_plan(prepared, location, progress)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a plan is made of; the polygons themselves are not kept."""

    spec: Spec
    source: ManifestInput
    keys: pa.ChunkedArray
    known: pa.Table | None
    table: pa.Table
    notes: dict[str, Any]  # Any: tuples of the user's keys


def _prepare(
    source: object, location: Location, options: PlanOptions, old: Spec | None, new: Spec
) -> _Prepared:
    """Read the zones, give them ids and complete the spec."""
    zones = read_zones(
        source,
        new.grid,
        # A store that is resumed knows its key; only row numbers are not a column to ask for.
        key=options.key or (old.key if old is not None and old.key != "row" else None),
        on_invalid=options.on_invalid,
        assume_crs=options.assume_crs,
        layer=options.layer,
    )
    known = known_ids(location.blobs()) if old is not None else None
    keys = zones.table[zones.key]
    ids = assign_ids(keys, previous=known)
    if old is not None and known is None and not are_ids(keys, ids):
        raise StoreMismatchError(
            f"the keys of {location} were its zone ids, which these keys cannot all be (whole "
            "numbers from 1 to 2**32 - 1): mend the keys, or build into a new folder"
        )
    dtype = id_dtype(int(ids.max()))
    if old is not None and dtype.itemsize <= old.itemsize:
        dtype = np.dtype(old.dtype)
    new = replace(new, dtype=dtype.name, key=zones.key)
    new = replace(new, inputs=_inputs_digest(source, options, new))
    if old is not None:
        check_same(old, new, where=str(location))
    rings = zone_rings(zones, new.grid)
    boxes = part_boxes(rings)
    found = {
        "outside": _outside(boxes, rings.part_zone, new.grid, len(keys)),
        "wide": _wide(boxes, rings.part_zone, new.grid),
    }
    if new.min_pixels:
        rings, found["rescued"] = rescue_zones(zones, rings, new.grid)
    notes: dict[str, Any] = {
        name: tuple(keys.take(pa.array(at)).to_pylist()) for name, at in found.items()
    }
    notes["skipped"] = tuple((int(s.row), s.key, s.reason) for s in zones.skipped)
    notes["invalid"] = zones.invalid
    return _Prepared(
        spec=new,
        source=ManifestInput(
            rings=rings,
            zone_id=ids,
            paint_rank=paint_ranks(zones, new),
            chunking=new.chunking,
            touched=new.all_touched,
            spec_hash=new.hash(),
        ),
        keys=keys,
        known=known,
        table=make_zone_table(zones, ids),
        notes=notes,
    )


def _write_plan(prepared: _Prepared, location: Location, progress: Progress | None) -> PlanSummary:
    """Write every object of a plan; the spec, which names it, comes last."""
    blobs, new, ids = location.blobs(), prepared.spec, prepared.source.zone_id
    tick = None if progress is None else lambda done, total: progress("plan", done, total)
    with blobs.writer(MANIFEST_KEY) as sink:
        index = write_manifest(prepared.source, sink, progress=tick)
    put_table(blobs, INDEX_KEY, index)
    if not are_ids(prepared.keys, ids):
        remember_ids(blobs, prepared.known, prepared.keys, ids)
    put_zone_table(blobs, prepared.table, new.grid)
    cut = new.chunking
    objects = zarr_objects(new.grid, cut, np.dtype(new.dtype), crc32c=new.integrity == "crc32c")
    write_zarr(blobs, objects)
    summary = PlanSummary(
        store=str(location),
        plan=plan_digest(index),
        n_zones=ids.size,
        n_chunks=index.num_rows,
        n_batches=len(index["batch"].unique()),
        grid_chunks=cut.n_rows * cut.n_cols,
        work=int(pc.sum(index["work"]).as_py() or 0),
        **prepared.notes,
    )
    # The place is not recorded: a store can be moved.
    said = summary.to_dict()
    said["store"] = ""
    del said["warnings"]
    blobs.put(PLAN_KEY, json.dumps(said, indent=1, default=str).encode())
    blobs.put(SPEC_KEY, replace(new, plan=summary.plan).to_json())
    return summary


def _refuse_foreign(location: Location, blobs: Blobs) -> None:
    """Refuse a place that holds something we did not put there."""
    for key, _ in blobs.list(""):
        if not key.startswith(PRIVATE) and key not in _OURS:
            raise StoreError(
                f"{location} holds something else already ({key}): nothing was touched, "
                "choose an empty or new folder"
            )


_OURS = {
    ZONES_KEY,
    "zarr.json",
    *(f"{name}/zarr.json" for name in (ARRAY, "x", "y", "spatial_ref")),
    "x/c/0", "y/c/0", "spatial_ref/c",
}  # fmt: skip


def load_summary(location: Location, blobs: Blobs) -> PlanSummary:
    """What `make_plan` said about the plan of a store."""
    try:
        said = json.loads(blobs.get(PLAN_KEY))
    except (FileNotFoundError, ValueError) as err:
        raise StoreError(f"the plan of {location} is not readable: build again") from err
    said["skipped"] = tuple(tuple(row) for row in said["skipped"])
    tuples = {name: tuple(said[name]) for name in ("invalid", "outside", "rescued", "wide")}
    return PlanSummary(**{**said, **tuples, "store": str(location)})
