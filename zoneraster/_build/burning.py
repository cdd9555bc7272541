"""The loop over batches, on any executor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from zoneraster._build.batch import Task, run_batch
from zoneraster._build.results import RunSummary
from zoneraster._store import expected_receipts, found_receipts, is_done, open_snapshot
from zoneraster.blobs import Location
from zoneraster.errors import (
    BuildInterrupted,
    OptionError,
    WorkerDiedError,
)
from zoneraster.executors import ExecutorLike, Tick, check_executor, run_tasks
from zoneraster.lock import read_token


def part_of(batches: Sequence[int], part: tuple[int, int] | None) -> list[int]:
    """Batches of part I of N: every N-th, so that all parts get a bit of everything."""
    if part is None:
        return list(batches)
    i, n = part
    if not 1 <= i <= n:
        raise OptionError(f"part must be I/N with 1 <= I <= N, not {i}/{n}")
    return list(batches[i - 1 :: n])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How batches are run, see `verbs.run`; none of it decides a byte of the store.

    Parameters
    ----------
    executor : see `zoneraster.executors.run_tasks`
    workers : int or None
    part : (int, int) or None
    check : bool or None
    progress : callable or None
    """

    executor: ExecutorLike = None
    workers: int | None = None
    part: tuple[int, int] | None = None
    check: bool | None = None
    progress: Tick | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be, before anything is planned."""
        check_executor(self.executor, self.workers)
        part_of([], self.part)


def run_batches(location: Location, options: RunOptions) -> RunSummary:
    """`run` under a lock that the caller holds."""
    started, progress = time.perf_counter(), options.progress
    # Before the plan: a token that is too old is refused, one that is too new is not.
    token = read_token(location.blobs())
    ctx = open_snapshot(location)
    expected = expected_receipts(ctx)
    have = found_receipts(ctx.blobs, expected)
    check = location.is_local if options.check is None else options.check
    wanted = part_of(sorted(expected), options.part)
    done = {b for b in wanted if is_done(b, expected, have)}
    digest = ctx.spec.digest()
    tasks = [
        Task(location, digest, token, batch, tuple(have.get(batch, ())))
        for batch in wanted
        if check or batch not in done
    ]
    work = sum(chunk.work for batch in wanted for chunk in ctx.batches[batch])
    total = RunSummary(kept=0 if check else sum(len(ctx.batches[b]) for b in done))
    work_done = 0 if check else sum(c.work for b in done for c in ctx.batches[b])
    finished = 0
    try:
        with closing(
            run_tasks(run_batch, tasks, executor=options.executor, workers=options.workers)
        ) as results:
            if progress is not None:
                progress("burn", work_done, work)
            for result in results:
                finished += 1
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
        raise BuildInterrupted(f"stopped after {_so_far(finished, tasks)}") from None
    except WorkerDiedError as err:
        raise WorkerDiedError(f"{err}; stopped after {_so_far(finished, tasks)}") from err
    return replace(total, seconds=time.perf_counter() - started)


def _so_far(finished: int, tasks: Sequence[Task]) -> str:
    """How far a run came that did not end."""
    return f"{finished:,} of {len(tasks):,} batches; what is done is safe"
