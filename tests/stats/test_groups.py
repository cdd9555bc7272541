"""Rows of the table: what is merged into them, by roll-up, thresholds and lanes, in any pass."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoneraster as zr
from tests.stats.samples import build, raster, sparing, write_zones
from zoneraster._stats.loop import _Merger
from zoneraster._stats.partial import Partial
from zoneraster._stats.request import StatsTask
from zoneraster._stats.task import run_task
from zoneraster.executors import run_tasks

SIDE = 24
GRID = zr.Grid.from_bounds((0, 0, SIDE * 100, SIDE * 100), 100, "EPSG:32633")
ZONES = np.repeat(np.repeat(np.arange(1, 17).reshape(4, 4), 6, 0), 6, 1)
COUNTRY = np.array([f"c{i % 3}" for i in range(16)])
QUANTILES = {"q0": 0, "q0.25": 0.25, "median": 0.5, "q0.9": 0.9, "q1": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groups")
    return build(folder / "zones.zarr", ZONES, GRID, chunks=10, country=COUNTRY)


def wide(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values whose upper bits agree by zone and differ between zones, the lower ones at random."""
    base = rng.choice([1e3, 1e3, 2e5, 1e6], ZONES.max() + 1)[ZONES]
    values = np.broadcast_to(base, shape) * rng.uniform(1, 1.001, shape)
    values[rng.random(shape) < 0.2] = 123_456.7  # where no zone of its own has its middle
    return values.astype(dtype)


def expected(values: np.ndarray, mask: np.ndarray, names: Iterable[str] = QUANTILES) -> list[float]:
    own = values[mask].astype(np.float64)
    own = own[~np.isnan(own)]
    if not own.size:
        return [0, np.nan, *(np.nan for _ in names)]
    found = [np.median(own) if name == "median" else np.quantile(own, QUANTILES[name])
             for name in names]  # fmt: skip
    return [own.size, own.mean(), *found]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zones as an array that zoneraster did not write: no build has counted their pixels."""
    path = tmp_path_factory.mktemp("foreign") / "zones.zarr"
    return write_zones(path, ZONES.astype("uint32"), GRID, chunks=(10, 10))


def never(task: StatsTask) -> tuple[int, Partial]:
    raise AssertionError("a partial that is there is made again")


def passes(patch: pytest.MonkeyPatch) -> list[list[StatsTask]]:
    """Tasks of each pass, as they are run."""
    found: list[list[StatsTask]] = []

    def spied(function: Any, queue: Any, **options: Any) -> Any:
        found.append(list(queue))
        return run_tasks(function, found[-1], **options)

    patch.setattr("zoneraster._stats.loop.run_tasks", spied)
    return found


@pytest.mark.slow
def test_quantiles_of_merged_groups_in_several_passes_are_those_of_numpy(store: Path) -> None:
    n_passes = []

    @settings(max_examples=30)
    @given(
        seed=st.integers(0, 2**32 - 1),
        dtype=st.sampled_from(["float32", "float64", "int32", "int64"]),
        rolled=st.booleans(),
        n_lanes=st.sampled_from([0, 3]),
        by=st.booleans(),
        kept=st.booleans(),
        names=st.sampled_from([["median"], ["q0.25", "q0.9"], list(QUANTILES)]),
    )
    def hold(**case: Any) -> None:
        n_passes.append(check_quantiles_of_merged_groups(store, **case))

    hold()
    assert max(n_passes) > 2


def check_quantiles_of_merged_groups(
    store: Path,
    *,
    seed: int,
    dtype: str,
    rolled: bool,
    n_lanes: int,
    by: bool,
    kept: bool,
    names: list[str],
) -> int:
    """Compare with NumPy; how many passes it took."""
    rng = np.random.default_rng(seed)
    values = wide(rng, dtype, (n_lanes, SIDE, SIDE) if n_lanes else (SIDE, SIDE))
    cover = rng.integers(0, 100, (SIDE, SIDE)).astype("uint8")
    options: dict[str, Any] = {"roll_up": "country"} if rolled else {}
    if by:
        options["by"] = {"cover": zr.thresholds(raster(cover, GRID), [10, 50, 90])}
    array = (
        raster(values, GRID, dims=("time",), coords={"time": [0, 1, 2]})
        if n_lanes
        else raster(values, GRID)
    ).chunk(y=10, x=10)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        sparing(patch)
        counted = passes(patch)
        options |= {"stats": ["count", "mean", *names], "executor": "serial"}
        options |= {"checkpoint": Path(folder) / "kept"} if kept else {}
        table = zr.zonal_stats(store, array, **options)
        n_passes = len(counted)
        if kept:
            patch.setattr("zoneraster._stats.checkpoint.run_task", never)
            assert zr.zonal_stats(store, array, **options).equals(table)
    for key, row in table.iterrows():
        at = dict(zip(table.index.names, key if isinstance(key, tuple) else (key,), strict=True))
        owner = COUNTRY[ZONES - 1] == at["country"] if rolled else at["fid"] == ZONES
        mask = owner & (cover >= at["cover"]) if by else owner
        own = values[at["time"]] if n_lanes else values
        np.testing.assert_allclose(
            row.to_numpy(float), expected(own, mask, names), rtol=1e-12, err_msg=str(at)
        )
    assert len(table) >= (3 if rolled else 16) * max(1, n_lanes) - (16 if by else 0)
    return n_passes


def test_zones_without_a_value_have_no_median_in_any_number_of_passes(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoneraster._stats.call._FEW_PIXELS", 0)
    values = np.full((SIDE, SIDE), np.nan, "float32")
    table = zr.zonal_stats(store, raster(values, GRID), stats=["count", "median"])
    assert (table["count"] == 0).all()
    assert table["median"].isna().all()
    assert len(table) == 16


@pytest.mark.slow
@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["uint8", "uint16", "float32", "float64", "uint32"]),
    where=st.booleans(),
)
def test_quantiles_of_zones_in_one_and_in_several_tasks_are_those_of_numpy(
    store: Path, foreign: Path, seed: int, dtype: str, where: bool
) -> None:
    rng = np.random.default_rng(seed)
    values = (wide(rng, "float64", (SIDE, SIDE)) % (200 if dtype == "uint8" else 60_000)).astype(
        dtype
    )
    labels = rng.integers(0, 3, (SIDE, SIDE)).astype("uint8")
    chosen = rng.integers(0, 2, (SIDE, SIDE)).astype("uint8")
    array, keys = raster(values, GRID).chunk(y=10, x=10), {"label": raster(labels, GRID)}
    options: dict[str, Any] = {"stats": ["count", "mean", *QUANTILES], "by": keys}
    if where:
        options["where"] = zr.Raster(raster(chosen, GRID)) == 1
    with pytest.MonkeyPatch.context() as patch:
        sparing(patch)
        tables = [zr.zonal_stats(path, array, **options) for path in (store, foreign)]
    for (zone, label), row in tables[0].iterrows():  # type: ignore[misc]
        mask = (zone == ZONES) & (labels == label) & (chosen == 1 if where else True)
        np.testing.assert_allclose(row.to_numpy(float), expected(values, mask), rtol=1e-12)
    np.testing.assert_array_equal(tables[0].to_numpy(), tables[1].to_numpy())


# ---- what passes, tasks and partials cost ------------------------------------------------------


def squares(path: Path, side: int, *, shift: int = 0) -> tuple[Path, zr.Grid]:
    """100 squares in four chunks, one task each, which they cross when they are shifted."""
    n = 10 * side
    grid = zr.Grid.from_bounds((0, 0, n, n), 1, "EPSG:32633")
    ids = np.repeat(np.repeat(np.arange(1, 101).reshape(10, 10), side, 0), side, 1)
    return build(path, np.roll(ids, (shift, shift), (0, 1)), grid, chunks=5 * side), grid


def noise(grid: zr.Grid) -> Any:
    """In as many blocks as `squares` has chunks."""
    values = np.random.default_rng(5).normal(0, 1, grid.shape).astype("float32")
    return raster(values, grid).chunk(y=grid.height // 2, x=grid.width // 2)


def test_zones_that_lie_in_one_task_are_done_in_the_first_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, grid = squares(tmp_path / "zones.zarr", 6)
    sparing(monkeypatch)
    counted = passes(monkeypatch)
    table = zr.zonal_stats(store, noise(grid), stats=["median"], executor="serial")
    assert [len(tasks) for tasks in counted] == [4]
    own = noise(grid).values.reshape(10, 6, 10, 6).swapaxes(1, 2).reshape(100, 36)
    np.testing.assert_array_equal(table["median"], np.median(own.astype(float), axis=1))


def test_few_values_of_zones_in_several_tasks_take_one_pass_and_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, grid = squares(tmp_path / "zones.zarr", 40, shift=2)
    monkeypatch.setattr("zoneraster._stats.call._FEW_PIXELS", 0)
    monkeypatch.setattr("zoneraster._stats.loop._FOLD_BYTES", 1)
    counted, merged = passes(monkeypatch), []

    class Spied(_Merger):
        def result(self) -> Partial:
            merged.append(super().result())
            return merged[-1]

    monkeypatch.setattr("zoneraster._stats.loop._Merger", Spied)
    table = zr.zonal_stats(store, noise(grid), stats=["median"], executor="serial")
    assert [len(tasks) for tasks in counted] == [4]
    # Once a zone has all its pixels, what is known of it alone is kept.
    assert [partial.n_bytes / partial.n_rows < 200 for partial in merged] == [True]
    own = np.roll(noise(grid).values, (-2, -2), (0, 1)).reshape(10, 40, 10, 40).swapaxes(1, 2)
    expected = np.median(own.reshape(100, 1600).astype(float), axis=1)
    np.testing.assert_array_equal(table["median"], expected)


def test_another_pass_reads_only_where_something_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = zr.Grid.from_bounds((0, 0, 40, 40), 1, "EPSG:32633")
    ids = np.zeros((40, 40), int)
    ids[2:6, 2:6], ids[10:30, 30:36], ids[33:38, 3:8] = 1, 2, 3
    store = build(tmp_path / "zones.zarr", ids, grid, chunks=20)
    sparing(monkeypatch)
    counted = passes(monkeypatch)
    zr.zonal_stats(store, noise(grid), stats=["median"], executor="serial")
    # Zone 2 lies in the two tasks to the right.
    assert [len(tasks) for tasks in counted][:2] == [4, 2]
    for tasks in counted[1:]:
        for task in tasks:
            assert task.request.only is not None
            assert task.request.only.tolist() == [2]


def partials(patch: pytest.MonkeyPatch) -> list[Partial]:
    found: list[Partial] = []

    def spied(task: StatsTask) -> tuple[int, Partial]:
        number, partial = run_task(task)
        found.append(partial)
        return number, partial

    patch.setattr("zoneraster._stats.loop.run_task", spied)
    return found


@pytest.mark.parametrize("shift", [0, 2])
def test_partials_grow_with_groups_and_not_with_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    monkeypatch.setattr("zoneraster._stats.call._FEW_PIXELS", 0)
    monkeypatch.setattr("zoneraster._stats.families.ranges._IN_ALL", 0)
    found = partials(monkeypatch)
    sizes = []
    for side in (10, 40):
        store, grid = squares(tmp_path / f"{side}.zarr", side, shift=shift)
        found.clear()
        zr.zonal_stats(store, noise(grid), stats=["median"], executor="serial")
        sizes.append(max(partial.n_bytes / partial.n_rows for partial in found))
    # Of what lies in one task a few numbers; of the rest no more than is allowed on average.
    assert sizes[1] < (1.05 * sizes[0] if not shift else 2000)
    assert sizes[1] < (200 if not shift else 2000)


def test_a_task_carries_what_it_looks_for_in_its_own_zones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, grid = squares(tmp_path / "zones.zarr", 8, shift=3)
    values = tmp_path / "values.zarr"
    noise(grid).to_dataset(name="v").to_zarr(values, consolidated=False)
    sparing(monkeypatch)
    counted = passes(monkeypatch)
    zr.zonal_stats(store, values, stats=["median"], executor="serial")
    first = max(len(pickle.dumps(task)) for task in counted[0])
    assert len(counted) > 1
    for tasks in counted[1:]:
        for task in tasks:
            assert task.request.only is not None
            assert task.request.only.size <= 36
            assert len(pickle.dumps(task)) < first + 1000 + 60 * task.request.only.size
