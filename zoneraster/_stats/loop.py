"""The loop over tasks, pass after pass, and their partials merged in the order of tasks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from zoneraster._stats.checkpoint import Checkpoint, run_and_keep
from zoneraster._stats.families import Family
from zoneraster._stats.groups import Groups
from zoneraster._stats.partial import Partial, blank, fold
from zoneraster._stats.request import Request, StatsTask, Tasks
from zoneraster._stats.task import LabelError, are_whole, run_task
from zoneraster.arrays import Bools, Ints
from zoneraster.errors import BuildInterrupted, ValuesError, WorkerDiedError
from zoneraster.executors import ExecutorLike, Tick, run_tasks

# Partials that wait to be merged are merged when they are as large as this.
_FOLD_BYTES = 2**23
# Families of each measure, None for those that need no other pass.
Narrowed: TypeAlias = tuple[tuple[Family | None, ...], ...]
# Zone ids that each task has met, ascending.
ZonesOf: TypeAlias = dict[int, Ints]


@dataclass(frozen=True, slots=True)
class Loop:
    """How tasks are run."""

    checkpoint: Checkpoint | None
    executor: ExecutorLike
    workers: int | None
    progress: Tick | None

    def count(self, request: Request, tasks: Tasks, groups: Groups) -> tuple[Partial, Groups]:
        """Count in as many passes over the values as the families need.

        Parameters
        ----------
        request : Request
            With the families of the first pass.
        tasks : Tasks
        groups : Groups
            Rows of the table.

        Returns
        -------
        Partial, Groups
            What was counted, not yet merged into the rows of the table; and those rows, with the
            zones that were met where no table names them.
        """
        partial, zones_of = self._pass(request, tasks, dict.fromkeys(tasks.parts, request), groups)
        groups = groups.knowing(partial.index[:, 1])
        again = _again(request.families, partial, groups)
        while any(family is not None for own in again for family in own):
            families = tuple(tuple(f for f in own if f is not None) for own in again)
            finer_request = replace(request, families=families, with_area=False)
            finer, _ = self._pass(finer_request, tasks, _requests(finer_request, zones_of), groups)
            partial = _refined(partial, again, finer)
            again = _again(again, partial, groups)
        if self.checkpoint is not None:
            self.checkpoint.sweep()
        self._tick(0, 1, phase="finish")
        return partial, groups

    def _pass(
        self, request: Request, tasks: Tasks, requests: Mapping[int, Request], groups: Groups
    ) -> tuple[Partial, ZonesOf]:
        """Run tasks, each with its own request, and merge their partials in the order of tasks.

        Returns
        -------
        Partial
        ZonesOf
            Which zones each task has met.
        """
        merger = _Merger(request, sorted(requests))
        work = {number: n for number, n in tasks.work.items() if number in requests}
        total, done = sum(work.values()), 0
        queue: Iterable[StatsTask] = tasks.of(requests)
        function: Callable[[StatsTask], tuple[int, Partial]] = run_task
        try:
            self._tick(done, total)
            if self.checkpoint is not None:
                queue, kept = self.checkpoint.split(queue)
                kept_in = self.checkpoint
                function = functools.partial(run_and_keep, kept_in.location, kept_in.owner)
                for number, partial in kept.items():
                    merger.add(number, partial)
                    done += work[number]
                self._tick(done, total)
            with closing(
                run_tasks(function, queue, executor=self.executor, workers=self.workers)
            ) as results:
                for number, partial in results:
                    merger.add(number, partial)
                    done += work[number]
                    self._tick(done, total)
        except KeyboardInterrupt:
            raise BuildInterrupted(f"stopped after {self._so_far(done, total)}") from None
        except WorkerDiedError as err:
            raise WorkerDiedError(f"{err}; stopped after {self._so_far(done, total)}") from err
        except LabelError as err:
            raise ValuesError(err.of(groups.name_of(err.zone))) from err
        return merger.result(), merger.zones_of

    def _so_far(self, done: int, total: int) -> str:
        """How far a pass came that did not end, and what of it is safe."""
        return (f"{done / total:.0%}" if total else "all") + f" of the pixels; {self.safe()}"

    def safe(self) -> str:
        """What of the work is safe, wherever it ends."""
        if self.checkpoint is None:
            return "give checkpoint= to keep what is done"
        return f"what is done is safe in {self.checkpoint.location}"

    def _tick(self, done: int, total: int, phase: str = "stats") -> None:
        if self.progress is not None:
            self.progress(phase, done, total)


def _again(families: Narrowed, partial: Partial, groups: Groups) -> Narrowed:
    """Families of another pass, None for those that know everything."""
    if not any(family is not None and family.has_more for own in families for family in own):
        return tuple(tuple(None for _ in own) for own in families)
    members = groups.members(partial.index)
    return tuple(
        tuple(
            family.again(rows, partial.index, members) if family and family.has_more else None
            for family, rows in zip(own, counted, strict=True)
        )
        for own, counted in zip(families, partial.counted, strict=True)
    )


def _requests(request: Request, zones_of: ZonesOf) -> dict[int, Request]:
    """What is asked of tasks in another pass: of their own zones, and of some tasks nothing."""
    found = {}
    for number, zones in zones_of.items():
        own = [[family.within(zones) for family in families] for families in request.families]
        families = tuple(tuple(family for family, _ in pairs) for pairs in own)
        only = np.unique(np.concatenate([looked for pairs in own for _, looked in pairs]))
        if only.size:
            found[number] = replace(request, families=families, only=only)
    return found


def _refined(partial: Partial, again: Narrowed, finer: Partial) -> Partial:
    """What was counted, made sharper by another pass."""
    counted = []
    for own, columns, found in zip(again, partial.counted, finer.counted, strict=True):
        more = iter(found)
        counted.append(
            tuple(
                rows
                if family is None
                else family.refined(rows, partial.index, next(more), finer.index)
                for family, rows in zip(own, columns, strict=True)
            )
        )
    return replace(partial, counted=tuple(counted))


class _Merger:
    """Merges partials in the order of tasks, whatever order they come in."""

    def __init__(self, request: Request, numbers: Sequence[int]) -> None:
        columns = 2 + max(len(request.keys), request.where is not None)
        nothing = np.zeros((0, columns), np.int64)
        self._request = request
        self._merged = blank(nothing, request.families, with_area=False)
        self._order = list(numbers)
        self._next = 0
        self._early: dict[int, Partial] = {}
        self._waiting: list[Partial] = []
        self._waiting_bytes = 0
        self.zones_of: dict[int, Ints] = {}

    def add(self, number: int, partial: Partial) -> None:
        """Take the partial of a task."""
        self.zones_of[number] = np.unique(partial.index[:, 1])
        self._early[number] = partial
        while self._next < len(self._order) and self._order[self._next] in self._early:
            self._waiting.append(self._early.pop(self._order[self._next]))
            self._next += 1
            # Looked at after each one, so that the steps do not depend on what came when.
            self._waiting_bytes += self._waiting[-1].n_bytes
            if self._waiting_bytes > max(_FOLD_BYTES, self._merged.n_bytes):
                self._fold()

    def _fold(self) -> None:
        merged = fold([self._merged, *self._waiting], self._request.families)

        @functools.cache
        def is_whole() -> Bools:
            # Lanes have the same groups.
            lane, zone = merged.index[:, 0], merged.index[:, 1]
            own = zone[lane == 0]
            done = own[are_whole(self._request, own, merged.pixels[lane == 0])]
            return np.isin(zone, done)

        counted = tuple(
            tuple(
                family.condensed(rows, is_whole) for family, rows in zip(own, columns, strict=True)
            )
            for own, columns in zip(self._request.families, merged.counted, strict=True)
        )
        self._merged = replace(merged, counted=counted)
        self._waiting, self._waiting_bytes = [], 0

    def result(self) -> Partial:
        """Everything merged."""
        self._fold()
        return self._merged
