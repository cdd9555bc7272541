"""The loop over tasks of a statistic: how it ends early."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zoneraster as zr
from tests.samples import CHUNKS, GRID, sample_zones


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of more tasks than workers."""
    zr.build(sample_zones(), tmp_path / "zones.zarr", grid=GRID, key="fid", chunks=CHUNKS)
    return tmp_path / "zones.zarr"


def heights() -> xr.DataArray:
    return xr.DataArray(
        np.ones(GRID.shape, np.float32),
        coords={"lat": GRID.y_centres(), "lon": GRID.x_centres()},
        dims=("lat", "lon"),
    )


def nothing() -> tuple[int]:
    return (0,)


def first(state: Any, *_: object) -> Any:
    return state


def die(*_: object) -> tuple[int]:
    """An update that the kernel kills, as it does for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return (0,)


@pytest.mark.slow
@pytest.mark.parametrize("keeps", [False, True])
def test_a_killed_worker_is_one_error_that_says_what_is_safe(
    store: Path, tmp_path: Path, keeps: bool
) -> None:
    deadly = zr.Stat("deadly", init=nothing, update=die, combine=first, finalize=sum)
    checkpoint = tmp_path / "partials" if keeps else None
    safe = "what is done is safe in .*partials" if keeps else "give checkpoint= to keep what is"
    with pytest.raises(zr.WorkerDiedError, match=rf"worker process was killed, .* 0% .*; {safe}"):
        zr.zonal_stats(
            store, heights(), stats=deadly, executor="processes", workers=2, checkpoint=checkpoint
        )


@pytest.mark.slow
def test_no_task_runs_after_a_progress_callback_has_raised(store: Path) -> None:
    running: set[int] = set()
    begun: list[int] = []

    def slow(state: Any, *_: object) -> Any:
        me = threading.get_ident()
        begun.append(me)
        running.add(me)
        time.sleep(0.004)
        running.discard(me)
        return state

    def progress(_phase: str, done: int, _total: int) -> None:
        if done:
            raise BrokenPipeError("the widget is gone")

    patient = zr.Stat("slow", init=nothing, update=slow, combine=first, finalize=sum)
    with pytest.raises(BrokenPipeError, match="the widget is gone"):
        zr.zonal_stats(store, heights(), stats=patient, workers=4, progress=progress)
    assert not running
    n_begun = len(begun)
    time.sleep(0.15)
    assert len(begun) == n_begun > 0
