"""Run a function over tasks on threads, processes, a dask cluster or anything with ``map``.

Knows nothing of rasters. Tasks are submitted a few ahead of the workers, so that an interrupt stops
the issue of new ones at once and waits for those in flight only.
"""

from __future__ import annotations

import concurrent.futures as cf
import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

T = TypeVar("T")
R = TypeVar("R")


@runtime_checkable
class Mapper(Protocol):
    """Anything with ``map(function, tasks)``."""

    def map(self, function: Callable[[Any], Any], tasks: Any, /) -> Any:
        """Apply a function to every task."""


# None: threads on all cores; int: that many threads; "threads", "processes", "serial".
ExecutorLike: TypeAlias = int | str | Mapper | None

# Called with the name of a phase, what is done of it and its total.
Progress: TypeAlias = Callable[[str, int, int], None]


def cpu_count() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # pragma: no cover - not Linux
        return os.cpu_count() or 1


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent, which stops issuing tasks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _pool(executor: ExecutorLike, workers: int) -> AbstractContextManager[cf.Executor]:
    """The pool that an executor setting stands for."""
    if isinstance(executor, cf.Executor):
        return nullcontext(executor)
    if executor == "processes":
        # Never fork: neither threads nor object store clients survive it.
        context = multiprocessing.get_context("spawn")
        return cf.ProcessPoolExecutor(workers, context, initializer=_ignore_interrupts)
    return cf.ThreadPoolExecutor(workers)


def run_tasks(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    executor: ExecutorLike = None,
    workers: int | None = None,
) -> Iterator[R]:
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
    ValueError
        For an unknown executor or fewer than one worker.

    Notes
    -----
    When the consumer stops early (an exception, ``close``), tasks in flight are waited for and no
    new ones are issued.
    """
    if isinstance(executor, int):
        workers, executor = executor, "threads"
    workers = cpu_count() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, not {workers}")
    if executor == "serial":
        yield from map(function, tasks)
    elif executor in {None, "threads", "processes"} or isinstance(executor, cf.Executor):
        with _pool(executor, workers) as pool:
            yield from _windowed(pool, function, tasks, ahead=2 * workers)
    elif hasattr(executor, "scheduler_info") and hasattr(executor, "submit"):
        yield from _on_dask(executor, function, tasks)
    elif isinstance(executor, Mapper):
        yield from getattr(executor, "imap_unordered", executor.map)(function, list(tasks))
    else:
        raise ValueError(
            f"unknown executor {executor!r}: give None, 'threads', 'processes', 'serial', "
            "a dask.distributed Client, or an object with map()"
        )


def _windowed(
    pool: cf.Executor, function: Callable[[T], R], tasks: Iterable[T], *, ahead: int
) -> Iterator[R]:
    """Submit `ahead` tasks at a time to a concurrent.futures pool."""
    queue = iter(tasks)
    flying: set[cf.Future[R]] = set()
    try:
        for task in queue:
            flying.add(pool.submit(function, task))
            if len(flying) >= ahead:
                done, flying = cf.wait(flying, return_when=cf.FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        for future in cf.as_completed(flying):
            yield future.result()
    finally:
        for future in flying:
            future.cancel()
        cf.wait(flying)


# Any: dask.distributed is optional and its client is not typed.
def _on_dask(client: Any, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """The same on a dask cluster; a lost worker's tasks are tried again."""
    as_completed: Any = importlib.import_module("distributed").as_completed
    queue = iter(tasks)
    ahead = 4 * max(1, len(client.scheduler_info()["workers"]))

    def submit(task: T) -> Any:
        return client.submit(function, task, pure=False, retries=2)

    flying = as_completed([submit(task) for _, task in zip(range(ahead), queue, strict=False)])
    for future in flying:
        yield future.result()
        for task in queue:
            flying.add(submit(task))
            break
