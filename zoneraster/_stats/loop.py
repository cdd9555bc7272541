"""The loop over tasks, and partials merged in their order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoneraster._stats.checkpoint import Checkpoint, run_and_keep
from zoneraster._stats.partial import Moments, Partial, fold
from zoneraster._stats.ragged import Ragged
from zoneraster._stats.request import Request, StatsTask, Tasks
from zoneraster._stats.statistics import (
    Stat,
)
from zoneraster._stats.task import run_task
from zoneraster._values import OpenRaster
from zoneraster.errors import BuildInterrupted
from zoneraster.executors import ExecutorLike, Progress, run_tasks

if TYPE_CHECKING:
    pass


# Partials that wait to be merged are merged when they have this many rows.
_FOLD_ROWS = 2**18


@dataclass(frozen=True, slots=True)
class Loop:
    """How tasks are run."""

    checkpoint: Checkpoint | None
    executor: ExecutorLike
    workers: int | None
    progress: Progress | None

    def run(self, request: Request, tasks: Tasks, empty: Partial) -> Partial:
        """Run all tasks of a request and merge their partials in the order of tasks."""
        custom = [stat for _ in request.measures for stat in request.wanted.custom]
        custom = custom if request.moments else []
        merger = _Merger(empty, custom, sorted(tasks.parts))
        work = {
            number: sum(w.height * w.width for _, w in parts)
            for number, parts in tasks.parts.items()
        }
        total, done = sum(work.values()), 0
        self._tick(done, total)
        queue: Iterable[StatsTask] = tasks.of(request)
        function: Callable[[StatsTask], tuple[int, Partial]] = run_task
        if self.checkpoint is not None:
            queue, kept = self.checkpoint.split(queue)
            function = functools.partial(run_and_keep, self.checkpoint.location)
            for number, partial in kept.items():
                merger.add(number, partial)
                done += work[number]
            self._tick(done, total)
        results = run_tasks(function, queue, executor=self.executor, workers=self.workers)
        try:
            for number, partial in results:
                merger.add(number, partial)
                done += work[number]
                self._tick(done, total)
        except KeyboardInterrupt:
            close = getattr(results, "close", None)
            if close is not None:
                close()
            safe = "give checkpoint= to keep what is done"
            if self.checkpoint is not None:
                safe = f"what is done is safe in {self.checkpoint.location}"
            share = f"{done / total:.0%}" if total else "all"
            raise BuildInterrupted(f"stopped after {share} of the pixels; {safe}") from None
        return merger.result()

    def _tick(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress("stats", done, total)


class _Merger:
    """Merges partials in the order of tasks, whatever order they come in."""

    def __init__(self, empty: Partial, stats: Sequence[Stat], numbers: Sequence[int]) -> None:
        self._merged, self._stats = empty, stats
        self._order = list(numbers)
        self._next = 0
        self._early: dict[int, Partial] = {}
        self._waiting: list[Partial] = []

    def add(self, number: int, partial: Partial) -> None:
        """Take the partial of a task."""
        self._early[number] = partial
        while self._next < len(self._order) and self._order[self._next] in self._early:
            self._waiting.append(self._early.pop(self._order[self._next]))
            self._next += 1
        if sum(p.n_rows for p in self._waiting) > max(_FOLD_ROWS, self._merged.n_rows):
            self._fold()

    def _fold(self) -> None:
        self._merged = fold([self._merged, *self._waiting], self._stats)
        self._waiting = []

    def result(self) -> Partial:
        """Everything merged."""
        self._fold()
        return self._merged


def empty_partial(request: Request, rasters: Sequence[OpenRaster]) -> Partial:
    """The partial of no task."""
    n_stats = len(request.measures) * len(request.wanted.custom) if request.moments else 0
    none = np.zeros(0, np.int64)
    return Partial(
        np.zeros((0, 2 + max(len(request.keys), request.where is not None)), np.int64),
        none,
        np.zeros(0),
        tuple(
            Moments.empty((0,), request.wanted.parts, is_integer=rasters[i].dtype.kind in "iu")
            for i in request.measures
        ),
        tuple(d and Ragged(np.zeros(1, np.int64), none, none) for d in request.digits),
        tuple([] for _ in range(n_stats)),
        0,
        0,
        (0,) * len(request.measures),
    )
