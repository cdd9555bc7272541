"""Builds that are killed: SIGKILL of the whole process group at random moments."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

import zoneraster as zr
from tests.samples import kill_after, run_python, tree
from zoneraster._grid.grid import Grid
from zoneraster.demo import counties_path

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
