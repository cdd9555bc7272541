"""Builds that are killed, by SIGKILL and SIGTERM, and what is left of them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import zoneraster as zr
from tests import samples
from tests.samples import kill_after, run_python, sample_zones, tree, wait_until
from zoneraster._grid.grid import Grid
from zoneraster.blobs import Location
from zoneraster.demo import counties_path
from zoneraster.lock import lock

GRID = Grid.from_bounds((-125, 24, -66, 50), "1/480", "EPSG:4269")
OPTIONS = {"grid": GRID, "key": "zone_id", "chunks": 240}

BUILD = """
    import sys
    import zoneraster as zr
    from tests.build.test_kill import OPTIONS
    from zoneraster.demo import counties_path
    zr.build(counties_path(), sys.argv[1], workers=2, **OPTIONS)
"""


@pytest.mark.slow
def test_counties_killed_ten_times_resume_to_the_bytes_of_an_uninterrupted_build(
    tmp_path: Path,
) -> None:
    started = time.perf_counter()
    run_python(BUILD, tmp_path / "whole").communicate()
    seconds = time.perf_counter() - started
    expected = tree(tmp_path / "whole")
    total = zr.status(tmp_path / "whole").chunks
    rng, killed, interrupted = random.Random(11), 0, 0
    for _ in range(10):
        store = tmp_path / "killed"
        killed += kill_after(run_python(BUILD, store), rng.uniform(0.3, 1.0) * seconds)
        done = 0
        if (store / ".zoneraster" / "spec.json").exists():
            done = zr.status(store).chunks_done
        interrupted += 0 < done < total
        report = zr.build(counties_path(), store, **OPTIONS)
        # What had a receipt was kept, and only the rest was burned.
        assert report.kept >= done
        assert report.burned + report.kept == total
        assert tree(store) == expected
        assert zr.verify(store).ok
        shutil.rmtree(store)
    assert killed >= 5
    assert interrupted >= 1


@pytest.mark.slow
def test_a_store_killed_again_and_again_gets_finished_all_the_same(tmp_path: Path) -> None:
    run_python(BUILD, tmp_path / "whole").communicate()
    store, done = tmp_path / "killed", 0
    for n in range(30):
        alive = kill_after(run_python(BUILD, store), 1.0 + 0.15 * n)
        if (store / ".zoneraster" / "spec.json").exists():
            assert zr.status(store).chunks_done >= done
            done = zr.status(store).chunks_done
        if not alive:
            break
    assert zr.status(store).finished
    assert tree(store) == tree(tmp_path / "whole")


SMALL = {"grid": samples.GRID, "key": "fid", "chunks": samples.CHUNKS}

# Workers of a pool of the caller's own outlive it. Each holds its chunk back until it may go on.
ORPHANS = """
    import multiprocessing, os, sys, time
    from concurrent.futures import ProcessPoolExecutor
    from pathlib import Path
    import zoneraster as zr
    from tests.build.test_kill import SMALL
    from zoneraster._build import batch
    from zoneraster.lock import Fence

    folder = Path(sys.argv[1])
    real_burn, real_put = batch.burn_chunk, Fence.put

    def burn_chunk(*arguments):
        made = real_burn(*arguments)
        (folder / f"held-{os.getpid()}").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
        return made

    def put(self, key, data, **how):
        try:
            real_put(self, key, data, **how)
        except zr.StoreBusyError:
            (folder / f"refused-{os.getpid()}").touch()
            raise

    batch.burn_chunk, Fence.put = burn_chunk, put

    if __name__ == "__main__":
        pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
        zr.build(folder / "older.parquet", folder / "zones.zarr", executor=pool, **SMALL)
"""


@pytest.mark.slow
def test_orphans_of_a_killed_build_put_nothing_into_the_next_one(tmp_path: Path) -> None:
    sample_zones(seed=2).to_parquet(tmp_path / "older.parquet")
    zones, store = sample_zones(), tmp_path / "zones.zarr"
    zr.build(zones, tmp_path / "whole", **SMALL)
    older = run_python(ORPHANS, tmp_path, script=tmp_path / "older.py")
    try:
        wait_until(lambda: len(list(tmp_path.glob("held-*"))) == 2)
        older.kill()
        older.wait()
        zr.build(zones, store, **SMALL)
        assert tree(store) == tree(tmp_path / "whole")
        (tmp_path / "go").touch()
        wait_until(lambda: len(list(tmp_path.glob("refused-*"))) == 2, seconds=10)
        time.sleep(0.2)
        assert tree(store) == tree(tmp_path / "whole")
    finally:
        os.killpg(older.pid, signal.SIGKILL)
        older.communicate()


@pytest.mark.slow
def test_builds_that_are_killed_while_others_begin_leave_them_no_chunk() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "kills.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, "2"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert "'wrong at return': 0, 'wrong later': 0" in last
    # A build that ended by itself would show nothing.
    assert "'killed while it ran': 2" in last


def command_line_build(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """A build by worker processes that has put a chunk, and its store."""
    zones, store = folder / "zones.parquet", folder / "zones.zarr"
    sample_zones(4000).to_parquet(zones)
    command = [
        sys.executable, "-m", "zoneraster.cli", "build", str(zones), str(store), "--key", "fid",
        "--resolution", "1/2000", "--bounds", "0", "0", "10", "10", "--chunks", "250",
        "--workers", "2", "--executor", "processes",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until((store / "zone" / "c" / "0").is_dir)
    return process, store


def members_of(session: int) -> dict[int, str]:
    """Processes of a session that run, and their command lines."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = status.read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z":
                found[int(status.parent.name)] = (status.parent / "cmdline").read_text()
        except OSError:
            continue  # it has just ended
    return found


@pytest.mark.slow
def test_sigterm_to_the_group_ends_a_build_with_processes_within_seconds(tmp_path: Path) -> None:
    process, store = command_line_build(tmp_path)
    os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=15)
    assert process.returncode == 143, said
    assert "what is done is safe" in said
    assert "go on with: zoneraster build" in said
    assert "Traceback" not in said
    wait_until(lambda: not members_of(process.pid), seconds=5)
    with lock(Location.of(store)):
        pass
    assert not zr.status(store).finished
    assert not zr.verify(store).damaged


@pytest.mark.slow
def test_a_killed_worker_ends_a_build_with_one_line_and_a_code_of_its_own(tmp_path: Path) -> None:
    process, store = command_line_build(tmp_path)
    workers = [pid for pid, said in members_of(process.pid).items() if "spawn_main" in said]
    os.kill(workers[0], signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 71, said
    lines = [line for line in said.splitlines() if not line.startswith("  ! ")]
    assert lines[0].startswith("zoneraster: a worker process was killed, often for want of memory")
    assert "what is done is safe" in lines[0]
    assert lines[1].startswith("go on with: zoneraster build")
    assert len(lines) == 2
    wait_until(lambda: not members_of(process.pid), seconds=5)
    assert not zr.status(store).finished


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_nothing_is_written_after_a_progress_callback_has_raised(
    executor: str, tmp_path: Path
) -> None:
    store = tmp_path / "zones.zarr"

    def progress(phase: str, done: int, _total: int) -> None:
        if phase == "burn" and done:
            raise BrokenPipeError("the widget is gone")

    with pytest.raises(BrokenPipeError, match="the widget is gone"):
        zr.build(sample_zones(), store, executor=executor, workers=2, progress=progress, **SMALL)
    with lock(Location.of(store)):
        before = tree(store)
        time.sleep(0.3)
        assert tree(store) == before
    assert 0 < zr.status(store).chunks_done < zr.status(store).chunks
