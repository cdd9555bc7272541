"""Tasks on any executor: how they end, well and early."""

from __future__ import annotations

import concurrent.futures as cf
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import zoneraster as zr
from tests.samples import is_running, run_python, wait_until
from zoneraster.executors import run_tasks


class Recorder:
    """A task: fails for 0, waits for all others, and remembers which began and which ended."""

    def __init__(self, seconds: float = 0.2) -> None:
        self.seconds = seconds
        self.begun: list[int] = []
        self.ended: list[int] = []

    def __call__(self, number: int) -> int:
        self.begun.append(number)
        if number == 0:
            raise OSError("disk full")
        time.sleep(self.seconds)
        self.ended.append(number)
        return number


def touch(job: tuple[str, int]) -> int:
    """The same in another process: begins and ends are files."""
    folder, number = job
    Path(folder, f"begun-{number}").touch()
    if number == 0:
        raise OSError("disk full")
    time.sleep(0.2)
    Path(folder, f"ended-{number}").touch()
    return number


def die(number: int) -> int:
    """A task that the kernel kills, as it does for want of memory."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def begun_in(folder: Path) -> set[int]:
    return {int(path.name.partition("-")[2]) for path in folder.glob("begun-*")}


def ended_in(folder: Path) -> set[int]:
    return {int(path.name.partition("-")[2]) for path in folder.glob("ended-*")}


@pytest.fixture
def client() -> Iterator[object]:
    """A client of a dask cluster in this process: two workers of two threads."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(2, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("executor", [None, 3, "threads", "serial", cf.ThreadPoolExecutor(2)])
def test_every_task_gives_its_result_once(executor: object) -> None:
    results = run_tasks(lambda n: n * n, iter(range(50)), executor=executor)
    assert sorted(results) == [n * n for n in range(50)]
    assert list(run_tasks(lambda n: n, [], executor=executor)) == []


def test_workers_and_executors_that_cannot_be_are_refused() -> None:
    with pytest.raises(zr.OptionError, match="workers must be 1 or more, not 0"):
        list(run_tasks(int, [1], workers=0))
    with pytest.raises(zr.OptionError, match="unknown executor 'gpu'"):
        list(run_tasks(int, [1], executor="gpu"))


@pytest.mark.parametrize("is_given", [False, True])
def test_after_an_error_no_task_begins_and_those_that_run_are_waited_for(is_given: bool) -> None:
    task = Recorder()
    with cf.ThreadPoolExecutor(4) as pool:
        with pytest.raises(OSError, match="disk full"):
            list(run_tasks(task, range(100), executor=pool if is_given else "threads", workers=4))
        begun, ended = list(task.begun), list(task.ended)
        # Eight were submitted; the thread that failed may have taken up a fifth.
        assert set(begun) <= {0, 1, 2, 3, 4}
        assert set(ended) == set(begun) - {0}
        time.sleep(0.3)
        assert (task.begun, task.ended) == (begun, ended)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "given", "dask"])
def test_a_consumer_that_stops_early_leaves_nothing_running(
    executor: str, request: pytest.FixtureRequest
) -> None:
    task = Recorder()
    with cf.ThreadPoolExecutor(4) as pool:
        who = {"given": pool, "threads": "threads"}.get(executor) or request.getfixturevalue(
            "client"
        )
        run: Callable[[int], int] = task.__call__ if executor != "dask" else _shared(task)
        with closing(run_tasks(run, range(1, 100), executor=who, workers=4)) as results:
            next(results)
        begun, ended = list(task.begun), list(task.ended)
        assert sorted(begun) == sorted(ended)
        assert len(begun) < 16
        time.sleep(0.3)
        assert (task.begun, task.ended) == (begun, ended)


_tasks: dict[str, Recorder] = {}


def _shared(task: Recorder) -> Callable[[int], int]:
    """A task that is not copied on its way to a worker in this process."""
    _tasks["now"] = task
    return _call_shared


def _call_shared(number: int) -> int:
    return _tasks["now"](number)


@pytest.mark.slow
def test_after_an_error_on_a_dask_cluster_nothing_runs_any_more(
    client: object, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="disk full"):
        list(run_tasks(touch, [(str(tmp_path), n) for n in range(40)], executor=client))
    begun, ended = begun_in(tmp_path), ended_in(tmp_path)
    assert ended == begun - {0}
    assert len(begun) < 12
    time.sleep(0.4)
    assert (begun_in(tmp_path), ended_in(tmp_path)) == (begun, ended)
    # The cluster is as good as before.
    assert sorted(run_tasks(abs, [-1, -2], executor=client)) == [1, 2]


@pytest.mark.slow
def test_after_an_error_processes_run_no_more_than_what_they_had_been_given(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"):
        list(
            run_tasks(
                touch, [(str(tmp_path), n) for n in range(50)], executor="processes", workers=2
            )
        )
    begun, ended = begun_in(tmp_path), ended_in(tmp_path)
    assert ended == begun - {0}
    assert len(begun) <= 6
    time.sleep(0.4)
    assert begun_in(tmp_path) == begun


@pytest.mark.slow
@pytest.mark.parametrize("is_given", [False, True])
def test_a_killed_worker_is_one_error_of_ours_and_hangs_nobody(is_given: bool) -> None:
    with cf.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        executor = pool if is_given else "processes"
        with pytest.raises(zr.WorkerDiedError, match=r"killed, often .*: use fewer workers") as err:
            list(run_tasks(die, range(20), executor=executor, workers=2))
    assert isinstance(err.value.__cause__, cf.BrokenExecutor)


def test_a_pool_that_breaks_while_its_tasks_are_called_off_is_not_waited_for() -> None:
    class Breaking(cf.Executor):
        """A pool that dies without a word to its futures, as Python's does over cancelled ones."""

        _broken: object = False

        def submit(self, fn: Callable[..., object], /, *args: object) -> cf.Future[object]:
            future: cf.Future[object] = cf.Future()
            future.set_running_or_notify_cancel()
            if args == (0,):
                future.set_exception(OSError("disk full"))
            else:
                threading.Timer(0.2, lambda: setattr(self, "_broken", "a process died")).start()
            return future

    with pytest.raises(OSError, match="disk full"):
        list(run_tasks(int, [0, 1, 2], executor=Breaking(), workers=4))


UNGUARDED = """
    from zoneraster.executors import run_tasks

    list(run_tasks(abs, range(4), executor="processes", workers=2))
"""


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_of_it_by_worker_and_parent(tmp_path: Path) -> None:
    _, said = run_python(UNGUARDED, script=tmp_path / "unguarded.py").communicate()
    errors = re.findall(r"^zoneraster[.]\S+: .*", said.decode(), re.MULTILINE)
    assert "killed" not in said.decode()
    assert "a worker process would start processes: a script that asks for" in errors[0]
    assert errors[-1].startswith("zoneraster.errors.WorkerDiedError: no worker process came as far")
    assert 'keeps its calls below `if __name__ == "__main__":`' in errors[-1]


ORPHANS = """
    import os, sys, time
    from pathlib import Path
    from zoneraster.executors import run_tasks

    def work(number):
        Path(sys.argv[1], f"{os.getpid()}").touch()
        time.sleep(60)

    if __name__ == "__main__":
        list(run_tasks(work, range(4), executor="processes", workers=2))
"""


@pytest.mark.slow
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    parent = run_python(ORPHANS, tmp_path / "pids", script=tmp_path / "orphans.py")
    wait_until(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
    workers = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    assert all(is_running(pid) for pid in workers)
    parent.kill()
    wait_until(lambda: not any(is_running(pid) for pid in workers), seconds=5)
    parent.communicate()
