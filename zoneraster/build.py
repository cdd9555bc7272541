"""The loop over batches: plan, run, finish."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoneraster import ledger
from zoneraster.blobs import Blobs, Location, lock
from zoneraster.errors import BuildInterrupted, OverlapError
from zoneraster.executors import ExecutorLike, run_tasks
from zoneraster.grid import Grid
from zoneraster.inspect import (
    Options,
    StoreLike,
    expected_receipts,
    found_receipts,
    is_done,
    opened,
    refuse_missing,
    status,
    stray_chunks,
)
from zoneraster.plan import (
    COUNTS,
    PlanOptions,
    Progress,
    key_column,
    load_summary,
    plan_store,
    put_table,
)
from zoneraster.results import (
    BuildReport,
    PlanSummary,
    RunSummary,
    name_some,
    number_of,
)
from zoneraster.spec import REPORT_KEY, Spec
from zoneraster.store import ZONES_KEY
from zoneraster.task import Contest, Context, Task, run_batch
from zoneraster.zones import OnInvalid


def _part_of(batches: Sequence[int], part: tuple[int, int] | None) -> list[int]:
    """Batches of part I of N: every N-th, so that all parts get a bit of everything."""
    if part is None:
        return list(batches)
    i, n = part
    if not 1 <= i <= n:
        raise ValueError(f"part must be I/N with 1 <= I <= N, not {i}/{n}")
    return list(batches[i - 1 :: n])


def make_plan(
    zones: object,
    store_: StoreLike,
    *,
    storage_options: Options = None,
    progress: Progress | None = None,
    **options: Any,  # Any: the fields of PlanOptions, checked there
) -> PlanSummary:
    """Plan a store: which zones touch which chunk. Nothing is burned.

    Parameters
    ----------
    zones : path, GeoDataFrame or dask-geopandas frame
    store_ : path or URL
    storage_options : mapping, optional
        For fsspec.
    progress : callable, optional
        Called with ("read", done, 1), then with ("plan", done, total).
    **options
        The options of `build` that decide the store's bytes (`PlanOptions`).

    Returns
    -------
    PlanSummary
    """
    location = Location.of(store_, storage_options)
    with lock(location):
        return plan_store(zones, location, PlanOptions(**options), progress=progress)


def run(
    store_: StoreLike,
    *,
    executor: ExecutorLike = None,
    workers: int | None = None,
    part: tuple[int, int] | None = None,
    check: bool | None = None,
    storage_options: Options = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Burn what the plan of a store asks for and the ledger does not have.

    Parameters
    ----------
    store_ : path or URL
        A planned store.
    executor, workers
        See `zoneraster.executors.run_tasks`.
    part : (int, int), optional
        Only part I of N (from 1), for job arrays.
    check : bool, optional
        Compare the bytes of chunks that have a receipt with it, and repair what disagrees. By
        default on local disk only.
    storage_options : mapping, optional
    progress : callable, optional
        Called with ("burn", work done, work), in crossings.

    Returns
    -------
    RunSummary

    Raises
    ------
    BuildInterrupted
        After Ctrl-C, once the batches in flight are done.
    OverlapError
        With ``overlap="error"``, naming the pairs of zones.
    """
    location = Location.of(store_, storage_options)
    with lock(location, shared=part is not None, wait=part is not None):
        return _run(location, executor, workers, part, check, progress)


def _run(
    location: Location,
    executor: ExecutorLike,
    workers: int | None,
    part: tuple[int, int] | None,
    check: bool | None,
    progress: Progress | None,
) -> RunSummary:
    """`run` under a lock that the caller holds."""
    started = time.perf_counter()
    ctx = opened(location)
    have, expected = found_receipts(ctx.blobs), expected_receipts(ctx)
    check = location.is_local if check is None else check
    wanted = _part_of(sorted(expected), part)
    done = {b for b in wanted if is_done(b, expected, have)}
    digest = ctx.spec.digest()
    tasks = [
        Task(location, digest, batch, tuple(have.get(batch, ())))
        for batch in wanted
        if check or batch not in done
    ]
    work = sum(chunk.work for batch in wanted for chunk in ctx.batches[batch])
    total = RunSummary(kept=0 if check else sum(len(ctx.batches[b]) for b in done))
    work_done = 0 if check else sum(c.work for b in done for c in ctx.batches[b])
    contests: list[Contest] = []
    results = run_tasks(run_batch, tasks, executor=executor, workers=workers)
    finished = 0
    try:
        if progress is not None:
            progress("burn", work_done, work)
        for result in results:
            finished += 1
            contests.extend(result.contests)
            total = replace(
                total,
                burned=total.burned + result.burned,
                kept=total.kept + result.kept,
                nbytes=total.nbytes + result.nbytes,
            )
            work_done += result.work
            if progress is not None:
                progress("burn", work_done, work)
    except KeyboardInterrupt:
        close = getattr(results, "close", None)
        if close is not None:
            close()
        raise BuildInterrupted(
            f"stopped after {finished:,} of {len(tasks):,} batches; what is done is safe"
        ) from None
    if contests:
        raise OverlapError(_contest_text(contests))
    return replace(total, seconds=time.perf_counter() - started)


def _contest_text(contests: Sequence[Contest]) -> str:
    """Which zones overlap, worst pair first."""
    pairs: dict[tuple[int, int], int] = {}
    for contest in contests:
        pair = (min(contest[:2]), max(contest[:2]))
        pairs[pair] = pairs.get(pair, 0) + contest.pixels
    worst = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    named = name_some([f"{a} and {b} share {n:,} pixels" for (a, b), n in worst])
    return (
        f"overlap='error', but {number_of(len(pairs), 'pair')} of zones (ids) claim the same "
        f"pixels: {named}; choose overlap='last' or 'first' in a new store, or mend the zones"
    )


def _zone_counts(ctx: Context, names: Sequence[str]) -> tuple[dict[str, np.ndarray], int, int]:
    """Counts per zone id from all receipts, chunks added in plan order; chunks stored, bytes."""
    tables = [ledger.decode_receipt(name, ctx.blobs.get(name)) for name in names]
    rows = pa.concat_tables([ledger.SCHEMA.empty_table(), *tables])
    # A chunk's size stands in each of its rows, which follow each other.
    place = rows["chunk_row"].to_numpy().astype(np.int64) << 32 | rows["chunk_col"].to_numpy()
    first = np.flatnonzero(np.diff(place, prepend=-1))
    sizes = rows["nbytes"].to_numpy()[first]
    chunks, nbytes = int(np.count_nonzero(sizes)), int(sizes.sum())
    ids, where = np.unique(rows["zone_id"].to_numpy(), return_inverse=True)
    sums: dict[str, np.ndarray] = {"zone_id": ids}
    for name in COUNTS:
        values = rows[name].to_numpy()
        sums[name] = np.zeros(ids.size, values.dtype)
        np.add.at(sums[name], where, values)
    return sums, chunks, nbytes


def finish(
    store_: StoreLike, *, done: RunSummary | None = None, storage_options: Options = None
) -> BuildReport:
    """Close a build: delete what no plan knows, add up the counts, write the zone table.

    Parameters
    ----------
    store_ : path or URL
    done : RunSummary, optional
        What the run before did, for the report.
    storage_options : mapping, optional

    Returns
    -------
    BuildReport

    Raises
    ------
    IncompleteBuildError
        Naming the batches without a receipt.
    """
    location = Location.of(store_, storage_options)
    with lock(location):
        return _finish(location, done or RunSummary())


def _finish(location: Location, done: RunSummary) -> BuildReport:
    """`finish` under a lock that the caller holds."""
    started = time.perf_counter()
    ctx = opened(location)
    expected, have = expected_receipts(ctx), found_receipts(ctx.blobs)
    cure = "run the build again, it goes on where it stopped"
    refuse_missing(expected, have, location, cure=cure)
    # Chunks before receipts: killed in between, the next finish finds the same work.
    stray = stray_chunks(ctx)
    for key in stray:
        ctx.blobs.delete(key)
    names = set(expected.values())
    for keys in have.values():
        for key in keys:
            if key not in names:
                ctx.blobs.delete(key)
    sums, chunks, nbytes = _zone_counts(ctx, [expected[b] for b in sorted(expected)])
    keys, counts = _write_counts(ctx.blobs, ctx.spec, sums)
    summary = load_summary(location, ctx.blobs)
    report = _report(ctx.spec, summary, keys, counts, chunks, nbytes)
    report = replace(
        report,
        burned=done.burned,
        kept=done.kept,
        deleted=len(stray),
        seconds=done.seconds + time.perf_counter() - started,
    )
    # What is stored describes the store alone: equal stores have equal reports.
    said = {**report.to_dict(), "plan": ctx.spec.plan}
    for name in ("store", "burned", "kept", "deleted", "seconds"):
        del said[name]
    ctx.blobs.put(REPORT_KEY, json.dumps(said, indent=1, default=str).encode())
    return report


def _write_counts(
    blobs: Blobs, spec: Spec, sums: Mapping[str, np.ndarray]
) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Put the zone table with its counts; return the keys and the counts in table order."""
    table = pq.read_table(pa.BufferReader(blobs.get(ZONES_KEY)))
    ids = table["zone_id"].to_numpy()
    where = np.searchsorted(sums["zone_id"], ids)
    found = np.zeros(ids.size, bool)
    inside = where < sums["zone_id"].size
    found[inside] = sums["zone_id"][where[inside]] == ids[inside]
    counts = {}
    for name in COUNTS:
        values = np.zeros(ids.size, sums[name].dtype)
        values[found] = sums[name][where[found]]
        counts[name] = values
    metadata = table.schema.metadata
    table = table.drop_columns([name for name in COUNTS if name in table.column_names])
    for name, values in counts.items():
        table = table.add_column(table.num_columns - 1, name, pa.array(values))
    put_table(blobs, ZONES_KEY, table.replace_schema_metadata(metadata))
    return table[key_column(spec, table)].to_pylist(), counts


def _report(
    spec: Spec,
    summary: PlanSummary,
    keys: Sequence[Any],
    counts: Mapping[str, np.ndarray],
    chunks: int,
    nbytes: int,
) -> BuildReport:
    """The report of a finished plan."""
    empty = tuple(keys[i] for i in np.flatnonzero(counts["owned"] == 0).tolist())
    contested = tuple(keys[i] for i in np.flatnonzero(counts["contested"]).tolist())
    warnings = summary.warnings()
    if empty:
        warnings.append(f"{number_of(len(empty), 'zone')} without a pixel: {name_some(empty)}")
    if contested:
        warnings.append(
            f"{number_of(len(contested), 'zone')} with contested pixels, which went to the "
            f"{spec.overlap} one: {name_some(contested)}"
        )
    return BuildReport(
        store=summary.store,
        dtype=spec.dtype,
        shape=spec.grid.shape,
        n_zones=summary.n_zones,
        chunks=chunks,
        grid_chunks=summary.grid_chunks,
        nbytes=nbytes,
        claimed=int(counts["claimed"].sum()),
        owned=int(counts["owned"].sum()),
        contested=int(counts["contested"].sum()),
        zero_pixel_zones=empty,
        contested_zones=contested,
        warnings=tuple(warnings),
    )


def build(
    zones: object,
    store_: StoreLike,
    *,
    grid: Grid | None = None,
    key: str | None = None,
    overlap: str = "last",
    priority: str | None = None,
    all_touched: bool = False,
    min_pixels: int = 0,
    chunks: int | tuple[int, int] = 4000,
    executor: ExecutorLike = None,
    workers: int | None = None,
    on_invalid: OnInvalid = "error",
    integrity: str = "receipt",
    assume_crs: object = None,
    layer: str | None = None,
    check: bool | None = None,
    storage_options: Options = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Burn zones into a Zarr store: plan, run, finish. Resumes, repairs and updates.

    Parameters
    ----------
    zones : path, GeoDataFrame or dask-geopandas frame
        Anything that pyogrio or GeoParquet reads.
    store_ : path or URL
        A new or empty place, or a store to resume or update.
    grid : Grid, optional
        Needed for a new store.
    key : str, optional
        Column that names the zones. By default `zone_id`, and where there is no such column the
        row, counted from 1.
    overlap : {"last", "first", "error"}
        Which zone gets a pixel that several claim: the last or first of the table, or nobody.
    priority : str, optional
        Numeric column: the higher is painted later.
    all_touched : bool
        Also burn every pixel that an edge passes through.
    min_pixels : {0, 1}
        1 gives a zone that holds no pixel centre the pixel under its representative point.
    chunks : int or (int, int)
        Rows and columns of a chunk.
    executor, workers
        See `zoneraster.executors.run_tasks`.
    on_invalid : {"error", "skip", "repair"}
        What happens to rows that cannot be burned.
    integrity : {"receipt", "crc32c"}
        "crc32c" adds Zarr's checksum codec, so that every zarr reader notices a flipped bit (GDAL
        up to 3.12 cannot read it).
    assume_crs : optional
        Reference system of zones that declare none.
    layer : str, optional
        Layer of a file with several.
    check : bool, optional
        See `run`.
    storage_options : mapping, optional
        For fsspec.
    progress : callable, optional
        Called with (phase, done, total).

    Returns
    -------
    BuildReport

    Raises
    ------
    ZonesError, GridError, StoreError, OverlapError, BuildInterrupted

    Examples
    --------
    >>> import geopandas, shapely
    >>> import zoneraster as zr
    >>> zones = geopandas.GeoDataFrame(geometry=[shapely.box(1, 1, 3, 2)], crs=4326)
    >>> grid = zr.Grid.from_bounds((0, 0, 4, 4), 1)
    >>> report = zr.build(zones, getfixture("tmp_path") / "zones.zarr", grid=grid)
    >>> report.owned
    2
    """
    location = Location.of(store_, storage_options)
    options = PlanOptions(
        grid=grid, key=key, overlap=overlap, priority=priority, all_touched=all_touched,
        min_pixels=min_pixels, chunks=chunks, on_invalid=on_invalid, integrity=integrity,
        assume_crs=assume_crs, layer=layer,
    )  # fmt: skip
    started = time.perf_counter()
    with lock(location):
        location.blobs().sweep()
        plan_store(zones, location, options, progress=progress)
        planned = time.perf_counter() - started
        done = _run(location, executor, workers, None, check, progress)
        return _finish(location, replace(done, seconds=done.seconds + planned))


def build_part(
    zones: object,
    store_: StoreLike,
    part: tuple[int, int],
    *,
    executor: ExecutorLike = None,
    workers: int | None = None,
    check: bool | None = None,
    storage_options: Options = None,
    progress: Progress | None = None,
    **options: Any,  # Any: the fields of PlanOptions, checked there
) -> BuildReport | RunSummary:
    """Do part I of N of a build; the part that ends last finishes the store.

    Parts need no coordinator: the first one plans, the others find its plan.

    Parameters
    ----------
    zones, store_, executor, workers, check, storage_options, progress, **options
        As for `build`, the same in all parts.
    part : (int, int)
        I and N, from 1.

    Returns
    -------
    BuildReport or RunSummary
        A report from the part that finished the store.
    """
    location = Location.of(store_, storage_options)
    with lock(location, wait=True):
        plan_store(zones, location, PlanOptions(**options), progress=progress)
    with lock(location, shared=True, wait=True):
        done = _run(location, executor, workers, part, check, progress)
    with lock(location, wait=True):
        if status(location).missing:
            return done
        return _finish(location, done)
