"""Stores whose pixels stand for sets of zones, against zones burned one by one."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import zoneraster as zr
from tests.oracles import claims, star
from tests.samples import check_resumes
from zoneraster._grid import row_areas
from zoneraster._store import shared_snapshot
from zoneraster.cli import main

GRID = zr.Grid.from_bounds((10, 40, 16, 45), "1/10")
PRIVATE_SETS = ".zoneraster/sets.parquet"


def zones_of(n: int, seed: int) -> geopandas.GeoDataFrame:
    """Stars that lie over each other, and some beyond the grid."""
    rng = np.random.default_rng(seed)
    # The first one within the grid.
    centres = np.concatenate([[[13, 42.5]], rng.uniform((9, 39), (17, 46), (n - 1, 2))])
    stars = [
        shapely.Polygon(star(rng, centre, rng.uniform(0.2, 1.5), rng.integers(3, 12)))
        for centre in centres
    ]
    keys = rng.permutation(n) + 100
    table = {"park": [f"p{k}" for k in keys], "kind": [f"k{k % 3}" for k in keys]}
    return geopandas.GeoDataFrame(table, geometry=stars, crs=4326)


def masks_of(zones: geopandas.GeoDataFrame) -> dict[str, npt.NDArray[np.bool_]]:
    """The pixels of each zone, burned alone."""
    masks = {}
    for key, shape in zip(zones["park"], zones.geometry, strict=True):
        u, v = GRID.to_pixels(*shapely.get_coordinates(shape.exterior).T)
        masks[key] = claims([np.stack([u, v], axis=1)], GRID.shape)
    return masks


def members_of(store: Path) -> dict[int, frozenset[str]]:
    """Keys of the zones that each number of the array stands for."""
    zones, sets = zr.zones(store), zr.sets(store)
    found = {0: frozenset[str]()}
    found |= {i: frozenset([key]) for i, key in zip(zones["zone_id"], zones["park"], strict=True)}
    return found | {i: frozenset(own) for i, own in sets.groupby("set_id")["park"]}


def check(store: Path, zones: geopandas.GeoDataFrame) -> None:
    """Pixels, counts and areas are those of the zones burned one by one."""
    masks, members = masks_of(zones), members_of(store)
    array = zr.open(store)["zone"].values
    claimed = np.stack(list(masks.values()))
    areas = np.broadcast_to(row_areas(GRID, 0, GRID.height)[:, None], GRID.shape)
    for i, keys in members.items():
        mask = np.all([own == (key in keys) for key, own in masks.items()], axis=0)
        np.testing.assert_array_equal(array == i, mask)
    sets = zr.sets(store).drop_duplicates("set_id")
    for i, n, area in sets[["set_id", "pixels", "area_m2"]].itertuples(index=False):
        assert n == (array == i).sum() > 0
        assert area == pytest.approx(areas[array == i].sum(), rel=1e-12)
    table = zr.zones(store).set_index("park")
    shared = claimed.sum(axis=0) > 1
    for key, mask in masks.items():
        counts = table.loc[key, ["claimed", "owned", "contested"]].tolist()
        assert counts == [mask.sum(), (mask & ~shared).sum(), (mask & shared).sum()]
        alone = areas[mask & ~shared].sum()
        assert table.loc[key, "area_m2"] == pytest.approx(alone, rel=1e-12)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 25), chunks=st.sampled_from([7, 20, 4000]))
@pytest.mark.slow
def test_each_pixel_stands_for_all_zones_that_claim_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int, chunks: int
) -> None:
    zones, store = zones_of(n, seed), tmp_path_factory.mktemp("sets") / "z.zarr"
    report = zr.build(zones, store, grid=GRID, key="park", overlap="sets", chunks=chunks)
    check(store, zones)
    array = zr.open(store)["zone"].values
    assert report.n_sets == zr.sets(store)["set_id"].nunique()
    assert report.together == (array >= 10_000).sum()
    assert report.owned + report.together == (array > 0).sum()
    assert not any("contested" in line for line in report.warnings)


def test_sets_do_not_depend_on_chunks_or_workers(tmp_path: Path) -> None:
    zones = zones_of(30, 1)
    built = []
    for i, (chunks, how) in enumerate(
        itertools.product((9, 16, 4000), ({"executor": "serial"}, {"workers": 2}))
    ):
        store = tmp_path / f"{i}.zarr"
        zr.build(zones, store, grid=GRID, key="park", overlap="sets", chunks=chunks, **how)
        built.append((zr.open(store)["zone"].values, zr.sets(store)))
    for array, sets in built[1:]:
        np.testing.assert_array_equal(array, built[0][0])
        pd.testing.assert_frame_equal(
            sets.drop(columns="area_m2"), built[0][1].drop(columns="area_m2")
        )
        np.testing.assert_allclose(sets["area_m2"], built[0][1]["area_m2"], rtol=1e-12)


def test_a_set_keeps_its_id_while_zones_come_and_go(tmp_path: Path) -> None:
    zones, store = zones_of(30, 2), tmp_path / "z.zarr"
    options: dict[str, Any] = {"key": "park", "overlap": "sets", "chunks": 9}
    zr.build(zones, store, grid=GRID, **options)
    first = {i: keys for i, keys in members_of(store).items() if i >= 10_000}
    more = zones_of(5, 3).assign(park=[f"new{i}" for i in range(5)])
    for now in (zones.iloc[5:], pd.concat([zones.iloc[5:], more]), zones.iloc[::-1]):
        report = zr.build(now, store, **options)
        check(store, now)
        second = {i: keys for i, keys in members_of(store).items() if i >= 10_000}
        assert {i: first[i] for i in first.keys() & second.keys()} == {
            i: second[i] for i in first.keys() & second.keys()
        }
        known = {keys: i for i, keys in first.items()}
        assert all(known.get(keys, i) == i for i, keys in second.items())
        first |= second
    assert report.kept > 0
    assert zr.build(zones.iloc[::-1], store, **options).burned == 0


def test_a_build_that_is_killed_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zones = zones_of(30, 4)
    options: dict[str, Any] = {
        "grid": GRID, "key": "park", "overlap": "sets", "chunks": 9, "executor": "serial",
    }  # fmt: skip

    def build(store: Path) -> None:
        zr.build(zones, store, **options)

    build(tmp_path / "whole")
    check_resumes(monkeypatch, build, tmp_path / "whole", range(1, 60, 7))


@pytest.mark.parametrize("key", [PRIVATE_SETS, "sets.parquet"])
def test_a_lost_table_of_sets_is_noticed_and_made_again(tmp_path: Path, key: str) -> None:
    zones, store = zones_of(30, 5), tmp_path / "z.zarr"
    options: dict[str, Any] = {"key": "park", "overlap": "sets", "chunks": 9}
    zr.build(zones, store, grid=GRID, **options)
    # So that ids given anew are others.
    zones = zones.iloc[3:]
    zr.build(zones, store, **options)
    (store / key).unlink()
    assert key in zr.verify(store).missing
    if key == PRIVATE_SETS:
        shared_snapshot.cache_clear()  # as in another process
        with pytest.raises(zr.CorruptStoreError, match=r"sets\.parquet cannot be read"):
            zr.zonal_stats(store, stats="pixels")
    zr.build(zones, store, **options)
    check(store, zones)
    assert zr.verify(store, deep=1.0).ok


def test_statistics_of_a_store_of_sets_are_those_of_any_other(tmp_path: Path) -> None:
    zones = zones_of(20, 6)
    for overlap in ("sets", "last"):
        zr.build(zones, tmp_path / overlap, grid=GRID, key="park", overlap=overlap, chunks=13)
    stats = ["pixels", "area"]
    for roll_up in (None, "kind"):
        sets, last = (
            zr.zonal_stats(tmp_path / overlap, stats=stats, roll_up=roll_up)
            for overlap in ("sets", "last")
        )
        pd.testing.assert_frame_equal(sets, last)
    alone = zr.zonal_stats(tmp_path / "sets", stats="pixels", zones="owned")
    assert alone["pixels"].tolist() == zr.zones(tmp_path / "sets")["owned"].tolist()
    touched = [
        zr.zonal_stats(tmp_path / overlap, stats="pixels", pixels="touched", zones=zones_)
        for overlap, zones_ in (("sets", "claimed"), ("last", "claimed"))
    ]
    pd.testing.assert_frame_equal(*touched)


def test_unions_and_overlaps_follow_from_the_sets(tmp_path: Path) -> None:
    zones, store = zones_of(20, 7), tmp_path / "z.zarr"
    zr.build(zones, store, grid=GRID, key="park", overlap="sets", all_touched=True, chunks=13)
    array, members = zr.open(store)["zone"].values, members_of(store)
    table, sets = zr.zones(store).set_index("park"), zr.sets(store)
    union = table["owned"].sum() + sets.drop_duplicates("set_id")["pixels"].sum()
    assert union == (array > 0).sum()
    pairs = sets.merge(sets, on=["set_id", "pixels"])
    shared = pairs[pairs["park_x"] < pairs["park_y"]].groupby(["park_x", "park_y"])["pixels"].sum()
    for (one, other), n in shared.items():
        both = [i for i, keys in members.items() if {one, other} <= keys]
        assert n == np.isin(array, both).sum() > 0


def test_what_a_store_of_sets_cannot_do_is_said(tmp_path: Path) -> None:
    zones, store = zones_of(10, 8), tmp_path / "z.zarr"
    zr.build(zones, store, grid=GRID, key="park")
    with pytest.raises(zr.StoreError, match=r"overlap='last' and has no sets .* overlap='sets'"):
        zr.sets(store)
    with pytest.raises(zr.StoreMismatchError, match="overlap"):
        zr.build(zones, store, key="park", overlap="sets")
    numbered = geopandas.GeoDataFrame(
        {"id": [1, 2]},
        geometry=[shapely.box(10, 40, 12, 42), shapely.box(11, 41, 13, 43)],
        crs=4326,
    )
    sets = tmp_path / "sets.zarr"
    zr.build(numbered, sets, grid=GRID, key="id", overlap="sets")
    assert zr.sets(sets)["set_id"].tolist() == [10_000, 10_000]
    with pytest.raises(zr.StoreError, match=r"go up to 10,000, and those of the sets .* begin at"):
        zr.build(numbered.assign(id=[1, 10_000]), sets, key="id", overlap="sets")
    zr.build(numbered, tmp_path / "far.zarr", grid=GRID, key="id", overlap="sets")
    many = numbered.assign(id=[1, 4_000_000_000])
    zr.build(many, tmp_path / "many.zarr", grid=GRID, key="id", overlap="sets")
    assert zr.sets(tmp_path / "many.zarr")["set_id"].tolist() == [4_000_000_001] * 2


def test_sets_on_the_command_line(tmp_path: Path) -> None:
    zones_of(20, 9).to_parquet(tmp_path / "parks.parquet")
    store = str(tmp_path / "parks.zarr")
    run = CliRunner().invoke
    build = ["build", str(tmp_path / "parks.parquet"), store, "--key", "park", "--overlap", "sets"]
    built = run(main, [*build, "--resolution", "0.1", "--bounds", "10", "40", "16", "45"])
    assert built.exit_code == 0, built.output
    assert "together" in built.output
    text = run(main, ["sets", store]).output
    assert "set_id" in text
    said = run(main, ["sets", store, "--json"]).output
    assert said.count("set_id") == pq.read_table(f"{store}/sets.parquet").num_rows
