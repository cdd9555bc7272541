"""The verbs: plan, run, finish, and build, which is all three."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

from zoneraster._build.ahead import compiled_ahead
from zoneraster._build.ask import status
from zoneraster._build.asked import GridLike, PlanOptions, refuse_foreign
from zoneraster._build.burning import RunOptions, run_batches
from zoneraster._build.closing import finish_store
from zoneraster._build.plan import find_plan, plan_store
from zoneraster._build.results import BuildReport, PlanSummary, RunSummary
from zoneraster._store import FOLDERS, require_spec
from zoneraster._zones import OnInvalid, source_digest
from zoneraster.bars import shown
from zoneraster.blobs import Location, Options, StoreLike
from zoneraster.errors import StoreBusyError, stopping, warn
from zoneraster.executors import ExecutorLike, Progress, Tick
from zoneraster.lock import PLANNING, lock, lock_planning


def make_plan(
    zones: object,
    store: StoreLike,
    *,
    grid: GridLike | None = None,
    key: str | None = None,
    overlap: str | None = None,
    priority: str | None = None,
    all_touched: bool | None = None,
    min_pixels: int | None = None,
    chunks: int | tuple[int, int] | None = None,
    on_invalid: OnInvalid = "error",
    integrity: str | None = None,
    product: str | None = None,
    assume_crs: object = None,
    layer: str | None = None,
    storage_options: Options = None,
    progress: Progress | None = None,
) -> PlanSummary:
    """Plan a store: which zones touch which chunk. Nothing is burned.

    Parameters
    ----------
    zones : path, GeoDataFrame or dask-geopandas frame
    store : path or URL
    grid, key, overlap, priority, all_touched, min_pixels, chunks
        As for `build`.
    on_invalid, integrity, product, assume_crs, layer
        As for `build`.
    storage_options : mapping, optional
        For fsspec.
    progress : bool or callable, optional
        As for `build`.

    Returns
    -------
    PlanSummary

    Raises
    ------
    ZonesError, GridError, StoreError
    """
    location = Location.of(store, storage_options)
    options = PlanOptions(
        grid=grid, key=key, overlap=overlap, priority=priority, all_touched=all_touched,
        min_pixels=min_pixels, chunks=chunks, on_invalid=on_invalid, integrity=integrity,
        product=product, assume_crs=assume_crs, layer=layer,
    )  # fmt: skip
    refuse_foreign(location)
    with shown(progress) as tick, lock(location), lock_planning(location), _stopping():
        planned = plan_store(zones, location, options, progress=tick)
    warn(*planned.warnings())
    return planned


def run(
    store: StoreLike,
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
    store : path or URL
        A planned store.
    executor, workers
        See `zoneraster.executors.run_tasks`.
    part : (int, int), optional
        Only part I of N (from 1), for job arrays.
    check : bool, optional
        Compare the bytes of chunks that have a receipt with it, and repair what disagrees. By
        default on local disk only.
    storage_options : mapping, optional
    progress : bool or callable, optional
        As for `build`; work is counted in crossings.

    Returns
    -------
    RunSummary

    Raises
    ------
    BuildInterrupted
        After Ctrl-C, once the batches in flight are done.
    WorkerDiedError
        When a process that ran batches was killed.
    OverlapError
        With ``overlap="error"``, naming the pairs of zones.
    StoreError
        For a store without a plan; `StoreBusyError` while another builder is at it, or when one has
        planned the store anew since.
    """
    location = Location.of(store, storage_options)
    options = RunOptions(executor=executor, workers=workers, part=part, check=check)
    require_spec(location, location.blobs())
    with (
        shown(progress) as tick,
        lock(location, shared=part is not None, wait=part is not None),
    ):
        return run_batches(location, replace(options, progress=tick))


def finish(
    store: StoreLike,
    *,
    done: RunSummary | None = None,
    storage_options: Options = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Close a build: delete what no plan knows, add up the counts, write the zone table.

    Parameters
    ----------
    store : path or URL
    done : RunSummary, optional
        What the run before did, for the report.
    storage_options : mapping, optional
    progress : bool or callable, optional
        As for `build`.

    Returns
    -------
    BuildReport

    Raises
    ------
    IncompleteBuildError
        Naming the batches without a receipt.
    StoreError
        For a store without a plan; `StoreBusyError` while another builder is at it.
    """
    location = Location.of(store, storage_options)
    require_spec(location, location.blobs())
    with shown(progress) as tick, lock(location):
        report = _finished(location, done or RunSummary(), tick)
    warn(*report.warnings)
    return report


def build(
    zones: object,
    store: StoreLike,
    *,
    grid: GridLike | None = None,
    key: str | None = None,
    overlap: str | None = None,
    priority: str | None = None,
    all_touched: bool | None = None,
    min_pixels: int | None = None,
    chunks: int | tuple[int, int] | None = None,
    executor: ExecutorLike = None,
    workers: int | None = None,
    on_invalid: OnInvalid = "error",
    integrity: str | None = None,
    product: str | None = None,
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
        GeoParquet, GeoPackage, Shapefile (also zipped), FlatGeobuf, GeoJSON and its sequences,
        TopoJSON, Esri JSON.
    store : path or URL
        A new or empty place, or a store to resume or update.
    grid : Grid, path of a raster, DataArray or Raster, optional
        Needed for a new store; a raster stands for its grid, see `grid_like`.
    key : str, optional
        Column that names the zones, or what the ids of features are called ("fid", "id" of
        GeoJSON). By default the index of a frame, and the rows of a file, counted from 0.
    overlap : {"last", "first", "error", "sets", "layers"}, optional
        Who gets a pixel that several zones claim: the last or first of the table, nobody, the set
        of these zones, which has an id of its own (see `sets`), or each of them, in a layer of its
        own: the array is (layer, y, x), and the zone table tells the layer of a zone. By default,
        as all options down to `chunks`, and `integrity`, what the store has; "last" in a new one.
    priority : str, optional
        Numeric column: the higher is painted later; with "-" before its name the lower. "" for
        none.
    all_touched : bool, optional
        Also burn every pixel that an edge passes through; not in a new store.
    min_pixels : {0, 1}, optional
        1 gives a zone that holds no pixel centre the pixel under its representative point; 0 in a
        new store.
    chunks : int or (int, int), optional
        Rows and columns of a chunk; 4000 in a new store.
    executor, workers
        See `zoneraster.executors.run_tasks`.
    on_invalid : {"error", "skip", "repair"}
        What happens to rows that cannot be burned: refused; left out, listed and counted as 0; or
        repaired where that is possible.
    integrity : {"receipt", "crc32c"}, optional
        "crc32c" adds Zarr's checksum codec, so that every zarr reader notices a flipped bit (GDAL
        up to 3.12 cannot read it).
    product : {"ids", "cover", "percent", "count"}, optional
        What pixels are: ids of zones, which is the default; what is covered of the pixel, as
        float32 from 0 to 1 or in whole percent; or how many zones claim it. The array is called
        `zone`, `cover` or `count`.
    assume_crs : optional
        Reference system of zones that declare none, or one that says nothing.
    layer : str, optional
        Layer of a file with several, or the file of a zip with several.
    check : bool, optional
        See `run`.
    storage_options : mapping, optional
        For fsspec.
    progress : bool or callable, optional
        True shows a bar with rate and time left, in a notebook or on a terminal. A callable is
        called with (phase, done, total); phases are "read", "plan", "burn", "finish".

    Returns
    -------
    BuildReport

    Raises
    ------
    ZonesError, GridError, StoreError, OverlapError, WorkerDiedError, BuildInterrupted

    Examples
    --------
    >>> import geopandas, shapely
    >>> import zoneraster as zr
    >>> zones = geopandas.GeoDataFrame(geometry=[shapely.box(1, 1, 3, 2)], crs=4326)
    >>> grid = zr.Grid.from_bounds((0, 0, 4, 4), 1)
    >>> report = zr.build(zones, "zones.zarr", grid=grid)
    >>> report.owned
    2
    """
    location = Location.of(store, storage_options)
    options = PlanOptions(
        grid=grid, key=key, overlap=overlap, priority=priority, all_touched=all_touched,
        min_pixels=min_pixels, chunks=chunks, on_invalid=on_invalid, integrity=integrity,
        product=product, assume_crs=assume_crs, layer=layer,
    )  # fmt: skip
    how = RunOptions(executor=executor, workers=workers, check=check)
    started = time.perf_counter()
    refuse_foreign(location)
    with (
        shown(progress) as tick,
        lock(location),
        compiled_ahead("store", tick) as wait_for_kernels,
    ):
        location.blobs().sweep(folders=FOLDERS)
        with lock_planning(location), _stopping():
            told = plan_store(zones, location, options, progress=tick).warnings()
        warn(*told)  # before the hours that burning may take
        wait_for_kernels()
        planned = time.perf_counter() - started
        done = run_batches(location, replace(how, progress=tick))
        report = _finished(location, replace(done, seconds=done.seconds + planned), tick)
    warn(*report.warnings, told=told)
    return report


def build_part(
    zones: object,
    store: StoreLike,
    part: tuple[int, int],
    *,
    grid: GridLike | None = None,
    key: str | None = None,
    overlap: str | None = None,
    priority: str | None = None,
    all_touched: bool | None = None,
    min_pixels: int | None = None,
    chunks: int | tuple[int, int] | None = None,
    executor: ExecutorLike = None,
    workers: int | None = None,
    on_invalid: OnInvalid = "error",
    integrity: str | None = None,
    product: str | None = None,
    assume_crs: object = None,
    layer: str | None = None,
    check: bool | None = None,
    storage_options: Options = None,
    progress: Progress | None = None,
) -> BuildReport | RunSummary:
    """Do part I of N of a build; the part that ends last finishes the store.

    Parts need no coordinator: the first one plans, the others find its plan and begin at once. None
    waits for others when it is done.

    Parameters
    ----------
    zones, store
        As for `build`, the same in all parts.
    part : (int, int)
        I and N, from 1.
    grid, key, overlap, priority, all_touched, min_pixels, chunks
        As for `build`, the same in all parts.
    on_invalid, integrity, product, assume_crs, layer
        As for `build`, the same in all parts.
    executor, workers, check, storage_options, progress
        As for `build`.

    Returns
    -------
    BuildReport or RunSummary
        A report from the part that finished the store.

    Raises
    ------
    ZonesError, GridError, StoreError, OverlapError, WorkerDiedError, BuildInterrupted
    """
    location = Location.of(store, storage_options)
    options = PlanOptions(
        grid=grid, key=key, overlap=overlap, priority=priority, all_touched=all_touched,
        min_pixels=min_pixels, chunks=chunks, on_invalid=on_invalid, integrity=integrity,
        product=product, assume_crs=assume_crs, layer=layer,
    )  # fmt: skip
    how = RunOptions(executor=executor, workers=workers, part=part, check=check)
    with shown(progress) as tick:
        with _stopping(), compiled_ahead("store", tick) as wait_for_kernels:
            planned = _plan_once(zones, location, options, tick)
            wait_for_kernels()
        warn(*planned.warnings())
        with lock(location, shared=True, wait=True):
            if require_spec(location, location.blobs()).plan != planned.plan:
                raise StoreBusyError(
                    f"{location} was planned with other zones before part {part[0]} of {part[1]} "
                    "began: give all parts the same zones, and run them again"
                )
            done = run_batches(location, replace(how, progress=tick))
        report = _finish_or_leave(location, done, tick)
    if isinstance(report, BuildReport):
        warn(*report.warnings, told=planned.warnings())
    return report


def _stopping() -> AbstractContextManager[None]:
    """Ctrl-C while there is no plan yet."""
    return stopping("while planning; the store is as it was")


def _finished(location: Location, done: RunSummary, tick: Tick | None) -> BuildReport:
    """The end of a build, with its phase."""
    if tick is not None:
        tick("finish", 0, 1)
    with stopping("while finishing; all chunks are done"):
        report = finish_store(location, done)
    if tick is not None:
        tick("finish", 1, 1)
    return report


def _plan_once(
    zones: object, location: Location, options: PlanOptions, progress: Tick | None
) -> PlanSummary:
    """Plan as the first of the parts, while the others wait, or take the plan of the first."""
    content = source_digest(zones)
    refuse_foreign(location)
    while True:
        # Many look at the same time: only those that find nothing stand in each other's way.
        with lock(location, shared=True, wait=True):
            found = find_plan(content, location, options)
        if found is not None:
            return found
        with ExitStack() as held:
            try:
                held.enter_context(lock(location, name=PLANNING))
            except StoreBusyError:
                held.enter_context(lock(location, shared=True, wait=True, name=PLANNING))
                continue
            held.enter_context(lock(location, wait=True))
            return plan_store(zones, location, options, progress=progress)


def _finish_or_leave(
    location: Location, done: RunSummary, tick: Tick | None
) -> BuildReport | RunSummary:
    """Finish what is complete, or leave that to the parts that still hold the lock.

    Each part comes here after its run, so the last one meets nobody.
    """
    try:
        with lock(location):
            if not status(location).missing:
                return _finished(location, done, tick)
    except StoreBusyError:
        pass
    return done
