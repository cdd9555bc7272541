"""Zones that lie over each other: each is whole, and every pixel is accounted for."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import zoneraster as zr
from tests.stats.samples import raster
from zoneraster.cli import main

GRID = zr.Grid.from_bounds((500_000, 0, 501_200, 1_000), 100, "EPSG:32633")
HEIGHT, WIDTH = GRID.shape
VALUES = np.random.default_rng(5).integers(0, 50, GRID.shape).astype("float32") / 4
STATS = ["pixels", "count", "sum", "min", "max", "median", "var", "majority"]
Masks = dict[int, npt.NDArray[np.bool_]]


def zones_of(boxes: list[tuple[int, int, int, int]]) -> geopandas.GeoDataFrame:
    """A zone for each (row, column, end row, end column), and the region of every other one."""
    west, north = 500_000, 1_000
    shapes = [
        shapely.box(west + 100 * a, north - 100 * d, west + 100 * c, north - 100 * b)
        for b, a, d, c in boxes
    ]
    n = len(boxes)
    return geopandas.GeoDataFrame(
        {"fid": np.arange(1, n + 1), "region": [f"r{i % 2}" for i in range(n)]},
        geometry=shapes,
        crs=GRID.crs,
    )


def masks_of(boxes: list[tuple[int, int, int, int]]) -> Masks:
    """The pixels of each zone, by hand."""
    masks = {i: np.zeros(GRID.shape, bool) for i in range(1, len(boxes) + 1)}
    for mask, (row0, col0, row1, col1) in zip(masks.values(), boxes, strict=True):
        mask[row0:row1, col0:col1] = True
    return masks


def compare(row: pd.Series, values: npt.NDArray[np.float32]) -> None:
    """A row of the table with NumPy over the pixels."""
    assert row["pixels"] == row["count"] == values.size
    if values.size:
        own = values.astype(float)
        kinds, n = np.unique(own, return_counts=True)
        assert row[["sum", "min", "max", "median", "var", "majority"]].tolist() == pytest.approx(
            [own.sum(), own.min(), own.max(), np.median(own), own.var(), kinds[n.argmax()]],
            rel=1e-12,
        )


NESTED = [(0, 0, 8, 9), (1, 1, 7, 7), (2, 2, 6, 12), (9, 10, 10, 12), (3, 3, 5, 4)]
corners = st.tuples(
    st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), st.integers(1, 8), st.integers(1, 8)
)
boxes = corners.map(lambda c: (c[0], c[1], min(HEIGHT, c[0] + c[2]), min(WIDTH, c[1] + c[3])))


@settings(max_examples=8, deadline=None)
@given(st.lists(boxes, min_size=1, max_size=6), st.sampled_from([3, 4, 16]), st.booleans())
@pytest.mark.slow
def test_each_zone_has_all_its_pixels_and_merged_ones_each_pixel_once(
    zones: list[tuple[int, int, int, int]], chunks: int, is_first: bool
) -> None:
    masks = masks_of(zones)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "z.zarr"
        overlap = "first" if is_first else "last"
        zr.build(
            zones_of(zones), store, grid=GRID, key="fid", chunks=chunks, overlap=overlap,
            executor="serial",
        )  # fmt: skip
        table = zr.zonal_stats(store, raster(VALUES, GRID), stats=STATS, executor="serial")
        for zone, mask in masks.items():
            compare(table.loc[zone], VALUES[mask])
        audit = table.attrs["audit"]
        union = np.any(list(masks.values()), axis=0).sum()
        assert audit["in_zones"] == union == audit["pixels_read"] - audit["no_zone"]
        assert audit["shared"] == sum(mask.sum() for mask in masks.values()) - union
        merged = zr.zonal_stats(
            store, raster(VALUES, GRID), stats=STATS, roll_up="region", executor="serial"
        )
        for region, own in zones_of(zones).groupby("region"):
            compare(merged.loc[region], VALUES[np.any([masks[i] for i in own["fid"]], axis=0)])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("claimed") / "zones.zarr"
    with pytest.warns(zr.ZonerasterWarning, match="contested"):
        zr.build(zones_of(NESTED), path, grid=GRID, key="fid", chunks=4)
    return path


def stats(store: Path, **options: Any) -> pd.DataFrame:
    return zr.zonal_stats(store, raster(VALUES, GRID), **options)


def test_owned_zones_are_those_of_the_array(store: Path) -> None:
    table = stats(store, zones="owned", stats=STATS)
    array = zr.open(store).zone.to_numpy()
    for zone in table.index:
        compare(table.loc[zone], VALUES[array == zone])
    assert table.attrs["audit"]["zones"] == "owned"
    assert table.attrs["audit"]["shared"] == 0


def test_zones_are_whole_by_default(store: Path) -> None:
    table = stats(store, stats=STATS)
    for zone, mask in masks_of(NESTED).items():
        compare(table.loc[zone], VALUES[mask])
    assert table.attrs["audit"]["zones"] == "claimed"
    assert table["pixels"].tolist() == zr.zones(store)["claimed"].tolist()


def test_labels_thresholds_and_conditions_cut_each_zone(store: Path) -> None:
    kinds = (np.arange(HEIGHT * WIDTH) % 3).reshape(GRID.shape).astype("uint8")
    kind, limit = raster(kinds, GRID), raster(VALUES, GRID)
    by = {"kind": kind, "over": zr.thresholds(limit, [3, 6])}
    where = zr.Raster(raster(kinds, GRID)) != 2
    table = stats(store, stats="sum", by=by, where=where)
    for zone, mask in masks_of(NESTED).items():
        for label in (0, 1):
            for threshold in (3, 6):
                own = VALUES[mask & (kinds == label) & (threshold <= VALUES)]
                found = table["sum"].get((zone, label, threshold), 0)
                assert found == pytest.approx(own.astype(float).sum())


def test_true_areas_are_those_of_each_zone_alone(store: Path, tmp_path: Path) -> None:
    whole = stats(store, stats=["pixel_area", "area_sum"])
    for zone, box in enumerate(NESTED, start=1):
        zr.build(zones_of([box]), tmp_path / f"{zone}.zarr", grid=GRID, key="fid", chunks=4)
        alone = stats(tmp_path / f"{zone}.zarr", stats=["pixel_area", "area_sum"])
        assert whole.loc[zone].tolist() == pytest.approx(alone.loc[1].tolist(), rel=1e-12)


def test_exact_quantiles_in_several_passes(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["median", "q0.9", "sum"]
    for options in ({}, {"roll_up": "region"}):
        known = stats(store, stats=wanted, **options)
        with monkeypatch.context() as patch:
            patch.setattr("zoneraster._stats.call._FEW_PIXELS", 0)
            assert stats(store, stats=wanted, executor="serial", **options).equals(known)


def test_a_checkpoint_tells_claimed_owned_and_merged_zones_apart(
    store: Path, tmp_path: Path
) -> None:
    calls: list[dict[str, Any]] = [{}, {"zones": "owned"}, {"roll_up": "region"}]
    known = [stats(store, **options) for options in calls]
    for _ in range(2):
        for options, expected in zip(calls, known, strict=True):
            assert stats(store, checkpoint=tmp_path / "kept", **options).equals(expected)


@pytest.mark.slow
def test_the_same_bits_from_processes(store: Path) -> None:
    for options in ({}, {"roll_up": "region"}):
        here = stats(store, stats=STATS, executor="serial", **options)
        there = stats(store, stats=STATS, executor="processes", workers=2, **options)
        assert there.equals(here)


def test_another_word_is_refused(store: Path) -> None:
    with pytest.raises(zr.OptionError, match="zones must be 'claimed' or 'owned', not 'all'"):
        stats(store, zones="all")


def test_the_command_line_knows_both(store: Path, tmp_path: Path) -> None:
    raster(VALUES, GRID).to_dataset(name="v").to_zarr(tmp_path / "v.zarr", consolidated=False)
    for zones in ("claimed", "owned"):
        run = CliRunner().invoke(
            main,
            ["stats", str(store), str(tmp_path / "v.zarr"), "--zones", zones, "--stats", "sum",
             "--output", str(tmp_path / f"{zones}.csv")],
        )  # fmt: skip
        assert run.exit_code == 0, run.output
        found = pd.read_csv(tmp_path / f"{zones}.csv", index_col="fid")["sum"]
        assert found.tolist() == stats(store, zones=zones, stats="sum")["sum"].tolist()
