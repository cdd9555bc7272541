"""Run a function over tasks on threads, processes, a dask cluster or anything with ``map``.

Knows nothing of rasters. Tasks are submitted a few ahead of the workers, so that an early end stops
the issue of new ones at once and waits for those that run only.
"""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import importlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.synchronize
import os
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from zoneraster.errors import IdleOption, OptionError, WorkerDiedError, warn

T = TypeVar("T")
R = TypeVar("R")


@runtime_checkable
class Mapper(Protocol):
    """Anything with ``map(function, tasks)``."""

    def map(self, function: Callable[[Any], Any], tasks: Any, /) -> Any:
        """Apply a function to every task."""


# None: threads on all cores; int: that many threads; "threads", "processes", "serial".
ExecutorLike: TypeAlias = int | str | Mapper | None

DIED = "a worker process was killed, often for want of memory: use fewer workers, or smaller chunks"
_GUARD = (
    'a script that asks for processes keeps its calls below `if __name__ == "__main__":`, since '
    "each of them imports it; without a script, on standard input, use threads"
)
NEVER_BEGAN = f"no worker process came as far as to begin, what stopped them stands above: {_GUARD}"

# Called with the name of a phase, what is done of it and its total.
Tick: TypeAlias = Callable[[str, int, int], None]
# Who is told of progress: True stands for bars, where somebody looks.
Progress: TypeAlias = Tick | bool


def cpu_count() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # pragma: no cover - not Linux
        return os.cpu_count() or 1


def _begin_worker(has_begun: multiprocessing.synchronize.Event) -> None:
    """Leave Ctrl-C to the parent, which stops issuing tasks, and end when the parent does.

    Workers hold each other's pipes open: none would notice by itself that nobody reads its results.
    """
    has_begun.set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _pool(
    executor: ExecutorLike, workers: int, flying: set[cf.Future[Any]]
) -> Iterator[cf.Executor]:
    """The pool that an executor setting stands for.

    At the end none of the tasks in `flying` runs any more, and those that have not begun never do.
    """
    if isinstance(executor, cf.Executor):
        try:
            yield executor
        finally:
            _call_off(executor, flying)
        return
    pool: cf.Executor
    if executor == "processes":
        # Never fork: neither threads nor object store clients survive it.
        context = multiprocessing.get_context("spawn")
        has_begun = context.Event()
        pool = cf.ProcessPoolExecutor(workers, context, _begin_worker, (has_begun,))
    else:
        pool, has_begun = cf.ThreadPoolExecutor(workers), None
    try:
        yield pool
    except cf.BrokenExecutor as err:
        if has_begun is None or has_begun.is_set():
            raise
        raise WorkerDiedError(NEVER_BEGAN) from err
    finally:
        # Not by Future.cancel: a pool of processes that breaks over futures which others have
        # cancelled leaves the rest of them waiting for ever.
        pool.shutdown(cancel_futures=True)


def _call_off(pool: cf.Executor, flying: set[cf.Future[Any]]) -> None:
    """Cancel what has not begun on a pool that goes on living, and wait for the rest."""
    running = flying if _is_broken(pool) else {f for f in flying if not f.cancel()}
    while running and not _is_broken(pool):
        # A pool that breaks now may not tell the futures, see `_pool`.
        running = cf.wait(running, timeout=0.2).not_done


def _is_broken(pool: cf.Executor) -> bool:
    """A pool of processes of which one has died."""
    return bool(getattr(pool, "_broken", False))


def check_executor(executor: ExecutorLike, workers: int | None) -> None:
    """Refuse an executor or a number of workers that `run_tasks` cannot take.

    Raises
    ------
    OptionError
    """
    if isinstance(executor, str):
        is_known = executor in {"threads", "processes", "serial"}
    else:
        is_known = executor is None or isinstance(executor, int | cf.Executor | Mapper)
    if isinstance(executor, bool) or not (is_known or _is_dask(executor)):
        raise OptionError(
            f"unknown executor {executor!r}: give None, 'threads', 'processes', 'serial', "
            "a dask.distributed Client, or an object with map()"
        )
    # As Python itself tells that a process is still importing the script that it was started for.
    if executor == "processes" and getattr(multiprocessing.current_process(), "_inheriting", False):
        raise OptionError(f"a worker process would start processes: {_GUARD}")
    n = executor if isinstance(executor, int) else workers
    if n is not None and n < 1:
        raise OptionError(f"workers must be 1 or more, not {n}")
    if executor == "serial" and n is not None and n > 1:
        warn(
            f"workers={n} changes nothing with executor='serial', which is one: leave one of them "
            "out",
            kind=IdleOption,
        )


def _is_dask(executor: object) -> bool:
    return hasattr(executor, "scheduler_info") and hasattr(executor, "submit")


def run_tasks(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    executor: ExecutorLike = None,
    workers: int | None = None,
) -> Generator[R, None, None]:
    """Apply a function to tasks, yielding results as they complete.

    Parameters
    ----------
    function : callable
        Importable, so that other processes find it.
    tasks : iterable
    executor : None, int, str, concurrent.futures.Executor, dask Client or object with ``map``
        None and "threads" are threads on all cores, an int that many; "processes" are spawned;
        "serial" is the calling thread.
    workers : int, optional
        How many threads or processes; all cores by default.

    Yields
    ------
    object
        Results in order of completion.

    Raises
    ------
    OptionError
        For an unknown executor or fewer than one worker.
    WorkerDiedError
        When a process that ran tasks was killed.

    Notes
    -----
    When the consumer stops early (an exception, ``close``), no new task begins and those that run
    are waited for; with processes, those that a worker has already been given run too. An object
    with ``map`` does as it does. A generator that is left without being closed ends whenever
    Python finds it: use ``contextlib.closing``.
    """
    check_executor(executor, workers)
    if isinstance(executor, int):
        workers, executor = executor, "threads"
    workers = cpu_count() if workers is None else workers
    try:
        yield from _results(function, tasks, executor, workers)
    except cf.BrokenExecutor as err:
        raise WorkerDiedError(DIED) from err


def _results(
    function: Callable[[T], R], tasks: Iterable[T], executor: ExecutorLike, workers: int
) -> Iterator[R]:
    """`run_tasks` by kind of executor."""
    if executor == "serial":
        yield from map(function, tasks)
    elif executor in {None, "threads", "processes"} or isinstance(executor, cf.Executor):
        flying: set[cf.Future[R]] = set()
        with _pool(executor, workers, flying) as pool:
            yield from _windowed(pool, function, tasks, flying, ahead=2 * workers)
    elif _is_dask(executor):
        yield from _on_dask(executor, function, tasks)
    else:
        mapper: Any = executor
        yield from getattr(mapper, "imap_unordered", mapper.map)(function, list(tasks))


def _windowed(
    pool: cf.Executor,
    function: Callable[[T], R],
    tasks: Iterable[T],
    flying: set[cf.Future[R]],
    *,
    ahead: int,
) -> Iterator[R]:
    """Submit `ahead` tasks at a time to a concurrent.futures pool; `flying` holds those."""
    queue = iter(tasks)
    while True:
        for task in queue:
            flying.add(pool.submit(function, task))
            if len(flying) >= ahead:
                break
        if not flying:
            return
        done = cf.wait(flying, return_when=cf.FIRST_COMPLETED).done
        flying -= done
        for future in done:
            yield future.result()


# ---- dask ----------------------------------------------------------------------------------------


# Any: dask.distributed is optional and its client is not typed.
def _on_dask(client: Any, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """The same on a dask cluster; a lost worker's tasks are tried again."""
    distributed: Any = importlib.import_module("distributed")
    run, queue = uuid.uuid4().hex, iter(tasks)
    ahead = 4 * max(1, len(client.scheduler_info()["workers"]))
    pending: set[Any] = set()

    def submit(task: T) -> Any:
        future = client.submit(_run_here, run, function, task, pure=False, retries=2)
        pending.add(future)
        return future

    flying = distributed.as_completed()
    try:
        for _, task in zip(range(ahead), queue, strict=False):
            flying.add(submit(task))
        for future in flying:
            pending.discard(future)
            yield future.result()
            for task in queue:
                flying.add(submit(task))
                break
    except distributed.KilledWorker as err:
        raise WorkerDiedError(DIED) from err
    finally:
        if pending and client.status == "running":
            client.cancel(list(pending))
            # A cancelled task that has begun goes on, and only its worker knows.
            client.run(_wait_here, run, on_error="ignore")


# What this process, as a dask worker, does for each run of tasks; one worker may serve many.
_here = threading.Lock()
_running: Counter[str] = Counter()
_called_off: set[str] = set()


def _run_here(run: str, function: Callable[[T], R], task: T) -> R:
    """Run a task of a run on a worker, unless the run was called off."""
    with _here:
        if run in _called_off:
            raise RuntimeError(f"run {run} was called off")
        _running[run] += 1
    try:
        return function(task)
    finally:
        with _here:
            _running[run] -= 1
            if not _running[run]:
                del _running[run]


async def _wait_here(run: str) -> None:
    """Call a run off on a worker, and wait until none of its tasks runs there."""
    with _here:
        _called_off.add(run)
    while run in _running:
        await asyncio.sleep(0.02)
