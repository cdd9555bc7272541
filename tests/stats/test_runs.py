"""Zones as runs: what is read of a store, how often, and of which state of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
import xarray as xr
import zarr

import zoneraster as zr
from zoneraster._stats import runs
from zoneraster._store import Manifest, Records

# ---- batches are read once ---------------------------------------------------------------------


def slow_squares(read: Counter[int]) -> runs._Shared[int]:
    def square(number: int) -> int:
        read[number] += 1
        time.sleep(0.001)
        return number**2

    return runs._Shared(square, lambda _: 1)


def test_threads_that_ask_for_one_batch_at_a_time_read_it_once() -> None:
    read: Counter[int] = Counter()
    shared = slow_squares(read)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(shared.get, [n % 10 for n in range(400)]))
    assert found == [(n % 10) ** 2 for n in range(400)]
    assert set(read.values()) == {1}


def test_the_latest_batches_are_kept_and_four_for_each_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "_KEPT_BYTES", 0)
    read: Counter[int] = Counter()
    shared, room = slow_squares(read), 4 * threading.active_count()
    for number in [*range(room), 0, room, 0, 1]:
        assert shared.get(number) == number**2
    assert read[0] == 1
    assert read[1] == 2


def test_a_batch_that_cannot_be_read_is_tried_again() -> None:
    tries = iter([OSError("no"), None])

    def read(number: int) -> int:
        err = next(tries)
        if err:
            raise err
        return number

    shared = runs._Shared(read, lambda _: 1)
    with pytest.raises(OSError, match="no"):
        shared.get(3)
    assert shared.get(3) == 3


@pytest.mark.slow
@pytest.mark.parametrize("side", [32, 24])
def test_a_row_group_of_the_manifest_is_read_once_by_any_number_of_threads(
    tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, k = 256, np.arange(8)
    grid = zr.Grid.from_bounds((0, 0, n, n), 1, 3857)
    boxes = [shapely.box(32 * i + 1, 32 * j + 1, 32 * i + 30, 32 * j + 30) for i in k for j in k]
    zones = geopandas.GeoDataFrame({"k": np.arange(1, 65)}, geometry=boxes, crs=3857)
    zr.build(zones, tmp_path / "z.zarr", grid=grid, key="k", chunks=8)
    ones = xr.DataArray(
        np.ones((n, n), "u1"), dims=("y", "x"), attrs={"crs": "EPSG:3857"},
        coords={"y": grid.y_centres(), "x": grid.x_centres()},
    )  # fmt: skip
    ones.to_dataset(name="v").to_zarr(tmp_path / "v.zarr", encoding={"v": {"chunks": (side, side)}})
    read: Counter[int] = Counter()
    records = Manifest.records

    def counted(self: Manifest, row_group: int) -> Records:
        read[row_group] += 1
        return records(self, row_group)

    monkeypatch.setattr(Manifest, "records", counted)
    batches = zr.status(tmp_path / "z.zarr").batches
    for workers in (1, 8):
        runs._open.cache_clear()
        read.clear()
        table = zr.zonal_stats(tmp_path / "z.zarr", tmp_path / "v.zarr", workers=workers)
        assert (table["count"] == 29 * 29).all()
        assert len(read) == batches == 64
        assert set(read.values()) == {1}


# ---- arrays of others ----------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [None, 3])
def test_chunks_that_are_not_stored_hold_the_zone_that_the_array_says(
    tmp_path: Path, layers: int | None
) -> None:
    lead = () if layers is None else (layers,)
    group = zarr.create_group(tmp_path / "f.zarr")
    for name, values in (("lat", 7.5 - np.arange(8.0)), ("lon", np.arange(8.0) + 0.5)):
        group.create_array(name, data=values, dimension_names=(name,))
    names = ("layer", "lat", "lon")[-2 - len(lead) :]
    array = group.create_array(
        "zone", shape=(*lead, 8, 8), chunks=(*(2 for _ in lead), 4, 4), dtype="u1", fill_value=7,
        dimension_names=names,
    )  # fmt: skip
    array[..., :4, :4] = 1
    ids, counts = np.unique(array[:], return_counts=True)
    table = zr.zonal_stats(tmp_path / "f.zarr", stats="pixels")
    assert table["pixels"].to_dict() == dict(zip(ids.tolist(), counts.tolist(), strict=True))
