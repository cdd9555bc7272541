"""The loop over batches: plan, run, finish; and the questions status and verify."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoneraster import ledger, plan, store
from zoneraster.errors import BuildInterrupted, IncompleteBuildError, OverlapError, StoreError
from zoneraster.executors import ExecutorLike, run_tasks
from zoneraster.grid import Grid
from zoneraster.plan import PlanOptions, Progress
from zoneraster.results import (
    BuildReport,
    PlanSummary,
    RunSummary,
    Status,
    VerifyReport,
    name_some,
)
from zoneraster.spec import PLAN_KEY, REPORT_KEY, Spec, require_spec
from zoneraster.store import Blobs, Location, chunk_key, parse_chunk_key
from zoneraster.task import BatchChunk, Contest, Context, Task, context, reburn, run_batch

StoreLike = str | os.PathLike[str] | Location
Options = Mapping[str, object] | None


def _expected(ctx: Context) -> dict[int, str]:
    """Receipt name of every batch of the plan."""
    return {
        batch: ledger.receipt_name(batch, (chunk.fingerprint for chunk in chunks))
        for batch, chunks in ctx.batches.items()
    }


def _receipts(blobs: Blobs) -> dict[int, list[str]]:
    """Receipts in the ledger, by batch."""
    found: dict[int, list[str]] = {}
    for key, _ in blobs.list(ledger.LEDGER):
        found.setdefault(ledger.batch_of_name(key), []).append(key)
    return found


def _opened(location: Location) -> Context:
    """The context of a store's present plan."""
    spec = require_spec(location, location.blobs())
    if not plan.plan_is_whole(location.blobs(), spec.plan):
        raise StoreError(f"the plan of {location} is not whole: build again with the same zones")
    return context(location, spec.plan)


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
        Called with ("plan", done, total).
    **options
        The options of `build` that decide the store's bytes (`PlanOptions`).

    Returns
    -------
    PlanSummary
    """
    location = Location.of(store_, storage_options)
    with store.lock(location):
        return plan.make_plan(zones, location, PlanOptions(**options), progress=progress)


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
    with store.lock(location, shared=part is not None, wait=part is not None):
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
    ctx = _opened(location)
    have, expected = _receipts(ctx.blobs), _expected(ctx)
    check = location.is_local if check is None else check
    wanted = _part_of(sorted(expected), part)
    done = {b for b in wanted if expected[b] in have.get(b, ())}
    tasks = [
        Task(location, ctx.spec.plan, batch, tuple(have.get(batch, ())))
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
        f"{len(pairs):,} pairs of zones overlap although overlap='error' was asked for "
        f"(zone ids): {named}; choose overlap='last' or 'first' in a new store, or mend the zones"
    )


def _zone_counts(ctx: Context, names: Sequence[str]) -> tuple[dict[str, np.ndarray], int, int]:
    """Counts per zone id from all receipts, chunks added in plan order; chunks stored, bytes."""
    columns = ("zone_id", *plan.COUNTS)
    parts: list[pa.Table] = []
    chunks = nbytes = 0
    for name in names:
        table = ledger.decode_receipt(name, ctx.blobs.get(name))
        parts.append(table.select(columns))
        for chunk in ledger.chunk_receipts(table):
            chunks += chunk.nbytes > 0
            nbytes += chunk.nbytes
    rows = pa.concat_tables(parts) if parts else ledger.SCHEMA.empty_table().select(columns)
    ids, where = np.unique(rows["zone_id"].to_numpy(), return_inverse=True)
    sums: dict[str, np.ndarray] = {"zone_id": ids}
    for name in plan.COUNTS:
        values = rows[name].to_numpy()
        sums[name] = np.zeros(ids.size, values.dtype)
        np.add.at(sums[name], where, values)
    return sums, chunks, nbytes


def _stray_chunks(ctx: Context) -> list[str]:
    """Chunk keys that the plan does not know."""
    planned = {(chunk.row, chunk.col) for chunks in ctx.batches.values() for chunk in chunks}
    stray = []
    for key, _ in ctx.blobs.list(f"{store.ARRAY}/c"):
        place = parse_chunk_key(key)
        if place is not None and place not in planned:
            stray.append(key)
    return stray


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
    with store.lock(location):
        return _finish(location, done or RunSummary())


def _finish(location: Location, done: RunSummary) -> BuildReport:
    """`finish` under a lock that the caller holds."""
    started = time.perf_counter()
    ctx = _opened(location)
    expected, have = _expected(ctx), _receipts(ctx.blobs)
    missing = [b for b, name in sorted(expected.items()) if name not in have.get(b, ())]
    if missing:
        raise IncompleteBuildError(
            f"{len(missing):,} of {len(expected):,} batches of {location} have no receipt "
            f"(batches {name_some(missing)}): run the build again, it goes on where it stopped"
        )
    # Chunks before receipts: killed in between, the next finish finds the same work.
    stray = _stray_chunks(ctx)
    for key in stray:
        ctx.blobs.delete(key)
    names = set(expected.values())
    for keys in have.values():
        for key in keys:
            if key not in names:
                ctx.blobs.delete(key)
    sums, chunks, nbytes = _zone_counts(ctx, [expected[b] for b in sorted(expected)])
    keys, counts = _write_counts(ctx.blobs, ctx.spec, sums)
    summary = plan.load_summary(location, ctx.blobs)
    report = _report(ctx.spec, summary, keys, counts, chunks, nbytes)
    report = replace(
        report,
        burned=done.burned,
        kept=done.kept,
        deleted=len(stray),
        seconds=done.seconds + time.perf_counter() - started,
    )
    said = {**report.to_dict(), "store": "", "plan": ctx.spec.plan, "seconds": 0.0}
    ctx.blobs.put(REPORT_KEY, json.dumps(said, indent=1, default=str).encode())
    return report


def _write_counts(
    blobs: Blobs, spec: Spec, sums: Mapping[str, np.ndarray]
) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Put the zone table with its counts; return the keys and the counts in table order."""
    table = pq.read_table(pa.BufferReader(blobs.get(store.ZONES_KEY)))
    ids = table["zone_id"].to_numpy()
    where = np.searchsorted(sums["zone_id"], ids)
    found = np.zeros(ids.size, bool)
    inside = where < sums["zone_id"].size
    found[inside] = sums["zone_id"][where[inside]] == ids[inside]
    counts = {}
    for name in plan.COUNTS:
        values = np.zeros(ids.size, sums[name].dtype)
        values[found] = sums[name][where[found]]
        counts[name] = values
    metadata = table.schema.metadata
    table = table.drop_columns([name for name in plan.COUNTS if name in table.column_names])
    for name, values in counts.items():
        table = table.add_column(table.num_columns - 1, name, pa.array(values))
    sink = io.BytesIO()
    table = table.replace_schema_metadata(metadata)
    pq.write_table(table, sink, compression="zstd", compression_level=1)
    blobs.put(store.ZONES_KEY, sink.getvalue())
    return table[plan.key_column(spec)].to_pylist(), counts


def _report(
    spec: Spec,
    summary: PlanSummary,
    keys: Sequence[Any],
    counts: Mapping[str, np.ndarray],
    chunks: int,
    nbytes: int,
) -> BuildReport:
    """The report of a finished plan."""
    empty = tuple(keys[i] for i in np.flatnonzero(counts["owned"] == 0))
    contested = tuple(keys[i] for i in np.flatnonzero(counts["contested"]))
    warnings = summary.warnings()
    if empty:
        warnings.append(f"{len(empty):,} zones own no pixel: {name_some(empty)}")
    if contested:
        warnings.append(
            f"{len(contested):,} zones share pixels with others, which went to the "
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
    on_invalid: str = "error",
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
        Column that names the zones; without one they are known by their row, counted from 1.
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
    with store.lock(location):
        location.blobs().sweep()
        plan.make_plan(zones, location, options, progress=progress)
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
    with store.lock(location, wait=True):
        plan.make_plan(zones, location, PlanOptions(**options), progress=progress)
    with store.lock(location, shared=True, wait=True):
        done = _run(location, executor, workers, part, check, progress)
    with store.lock(location, wait=True):
        if status(location).batches_done < status(location).batches:
            return done
        return _finish(location, done)


def status(store_: StoreLike, *, storage_options: Options = None) -> Status:
    """How far a build is, from the names in the ledger; also while it runs.

    Parameters
    ----------
    store_ : path or URL
    storage_options : mapping, optional
    """
    location = Location.of(store_, storage_options)
    ctx = _opened(location)
    expected, have = _expected(ctx), _receipts(ctx.blobs)
    done = [b for b, name in expected.items() if name in have.get(b, ())]
    try:
        reported = json.loads(ctx.blobs.get(REPORT_KEY))["plan"]
    except (FileNotFoundError, ValueError, KeyError):
        reported = ""
    return Status(
        store=str(location),
        batches_done=len(done),
        batches=len(expected),
        chunks_done=sum(len(ctx.batches[b]) for b in done),
        chunks=ctx.index.num_rows,
        work_done=sum(chunk.work for b in done for chunk in ctx.batches[b]),
        work=sum(chunk.work for chunks in ctx.batches.values() for chunk in chunks),
        finished=len(done) == len(expected) and reported == ctx.spec.plan,
        missing=tuple(sorted(set(expected) - set(done))),
    )


def _sample(chunks: Sequence[BatchChunk], share: float) -> list[BatchChunk]:
    """Evenly spread share of the chunks; at least one for any share above 0."""
    if share <= 0 or not chunks:
        return []
    n = min(len(chunks), max(1, round(len(chunks) * share)))
    return [chunks[i] for i in np.linspace(0, len(chunks) - 1, n).astype(int)]


def verify(
    store_: StoreLike, *, deep: float = 0.0, storage_options: Options = None
) -> VerifyReport:
    """Compare every stored chunk with its receipt, and burn a share of them again.

    Parameters
    ----------
    store_ : path or URL
    deep : float
        Share of the chunks to burn again, 0 to 1.
    storage_options : mapping, optional

    Returns
    -------
    VerifyReport
    """
    if not 0.0 <= deep <= 1.0:
        raise ValueError(f"deep must be a share between 0 and 1, not {deep}")
    location = Location.of(store_, storage_options)
    ctx = _opened(location)
    checked, missing, damaged, bare = 0, [], [], []
    for batch, name in sorted(_expected(ctx).items()):
        try:
            table = ledger.decode_receipt(name, ctx.blobs.get(name))
        except FileNotFoundError:
            bare += [chunk_key(chunk.row, chunk.col) for chunk in ctx.batches[batch]]
            continue
        for chunk in ledger.chunk_receipts(table):
            checked += 1
            key = chunk_key(chunk.row, chunk.col)
            try:
                if not chunk.agrees(ctx.blobs.get(key)):
                    damaged.append(key)
            except FileNotFoundError:
                if chunk.nbytes:
                    missing.append(key)
    everything = [chunk for batch in sorted(ctx.batches) for chunk in ctx.batches[batch]]
    again = _sample(everything, deep)
    differing = []
    for chunk in again:
        key = chunk_key(chunk.row, chunk.col)
        try:
            stored = ctx.blobs.get(key)
        except FileNotFoundError:
            stored = b""
        if key not in missing and reburn(location, ctx.spec.plan, chunk) != stored:
            differing.append(key)
    return VerifyReport(
        store=str(location),
        checked=checked,
        reburned=len(again),
        missing=tuple(missing),
        damaged=tuple(damaged),
        differing=tuple(differing),
        stray=tuple(_stray_chunks(ctx)),
        unreceipted=tuple(bare),
    )


def info(store_: StoreLike, *, storage_options: Options = None) -> dict[str, Any]:
    """Everything a store says about itself, JSON-able: spec, plan, report, status."""
    location = Location.of(store_, storage_options)
    blobs = location.blobs()
    spec = require_spec(location, blobs)
    said: dict[str, Any] = {"store": str(location), "spec": json.loads(spec.to_json())}
    for name, key in (("plan", PLAN_KEY), ("report", REPORT_KEY)):
        try:
            said[name] = json.loads(blobs.get(key))
        except FileNotFoundError:
            said[name] = None
    said["status"] = status(location).to_dict()
    return said
