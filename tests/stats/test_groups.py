"""Rows of the table: what is merged into them, by roll-up, thresholds and lanes, in any pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoneraster as zr
from tests.stats.samples import build, raster

SIDE = 12
GRID = zr.Grid.from_bounds((0, 0, SIDE * 100, SIDE * 100), 100, "EPSG:32633")
ZONES = np.repeat(np.repeat(np.arange(1, 17).reshape(4, 4), 3, 0), 3, 1)
COUNTRY = np.array([f"c{i % 3}" for i in range(16)])
QUANTILES = {"q0": 0, "q0.25": 0.25, "median": 0.5, "q0.9": 0.9, "q1": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groups")
    return build(folder / "zones.zarr", ZONES, GRID, chunks=5, country=COUNTRY)


def wide(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values whose upper bits agree by zone and differ between zones, the lower ones at random."""
    base = rng.choice([1e3, 1e3, 2e5, 1e6], ZONES.max() + 1)[ZONES]
    values = np.broadcast_to(base, shape) * rng.uniform(1, 1.001, shape)
    values[rng.random(shape) < 0.2] = 123_456.7  # where no zone of its own has its middle
    return values.astype(dtype)


def expected(values: np.ndarray, mask: np.ndarray) -> list[float]:
    own = values[mask].astype(np.float64)
    own = own[~np.isnan(own)]
    if not own.size:
        return [0, np.nan, *(np.nan for _ in QUANTILES)]
    found = [np.quantile(own, q) if name != "median" else np.median(own)
             for name, q in QUANTILES.items()]  # fmt: skip
    return [own.size, own.mean(), *found]


@pytest.mark.slow
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", "float64", "int32", "int64"]),
    rolled=st.booleans(),
    n_lanes=st.sampled_from([0, 3]),
    by=st.booleans(),
)
def test_quantiles_of_merged_groups_in_several_passes_are_those_of_numpy(
    store: Path, seed: int, dtype: str, rolled: bool, n_lanes: int, by: bool
) -> None:
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
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoneraster._stats.call._FEW_PIXELS", 0)
        table = zr.zonal_stats(store, array, stats=["count", "mean", *QUANTILES], **options)
    for key, row in table.iterrows():
        at = dict(zip(table.index.names, key if isinstance(key, tuple) else (key,), strict=True))
        owner = COUNTRY[ZONES - 1] == at["country"] if rolled else at["fid"] == ZONES
        mask = owner & (cover >= at["cover"]) if by else owner
        own = values[at["time"]] if n_lanes else values
        np.testing.assert_allclose(
            row.to_numpy(float), expected(own, mask), rtol=1e-12, err_msg=str(at)
        )
    assert len(table) >= (3 if rolled else 16) * max(1, n_lanes) - (16 if by else 0)


def test_zones_without_a_value_have_no_median_in_any_number_of_passes(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoneraster._stats.call._FEW_PIXELS", 0)
    values = np.full((SIDE, SIDE), np.nan, "float32")
    table = zr.zonal_stats(store, raster(values, GRID), stats=["count", "median"])
    assert (table["count"] == 0).all()
    assert table["median"].isna().all()
    assert len(table) == 16
