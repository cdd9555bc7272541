"""Stores whose zones stand whole in layers, against zones burned one by one."""

from __future__ import annotations

import itertools
import shutil
import sys
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
import zarr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import zoneraster as zr
from tests.build.test_sets import masks_of, zones_of
from tests.samples import KilledError, check_resumes, kill_at, times, tree
from zoneraster._build.layers import Layering, give_layers
from zoneraster._grid import row_areas
from zoneraster.cli import main

GRID = zr.Grid.from_bounds((10, 40, 16, 45), "1/10")
OPTIONS: dict[str, Any] = {"key": "park", "overlap": "layers", "chunks": 9}


def layers_in(store: Path) -> dict[str, tuple[int, int]]:
    """Layer and id of each zone."""
    table = zr.zones(store)
    return {
        key: (k, i) for key, k, i in table[["park", "layer", "zone_id"]].itertuples(index=False)
    }


def check(store: Path, zones: geopandas.GeoDataFrame) -> None:
    """In its layer each zone has just the pixels that it has when it is burned alone."""
    masks, places = masks_of(zones), layers_in(store)
    array = zr.open(store)["zone"]
    assert array.dims == ("layer", "y", "x")
    expected = np.zeros(array.shape, int)
    for key, mask in masks.items():
        layer, zone_id = places[key]
        assert not expected[layer][mask].any()
        expected[layer][mask] = zone_id
    np.testing.assert_array_equal(array.values, expected)
    claimed = np.stack(list(masks.values()))
    deepest = max(1, claimed.sum(axis=0).max())
    assert deepest <= array.sizes["layer"] <= len(masks)
    assert {k for k, _ in places.values()} == {*range(array.sizes["layer"])}
    areas = np.broadcast_to(row_areas(GRID, 0, GRID.height)[:, None], GRID.shape)
    table, shared = zr.zones(store).set_index("park"), claimed.sum(axis=0) > 1
    for key, mask in masks.items():
        counts = table.loc[key, ["claimed", "owned", "contested"]].tolist()
        assert counts == [mask.sum(), mask.sum(), (mask & shared).sum()]
        assert table.loc[key, "area_m2"] == pytest.approx(areas[mask].sum(), rel=1e-12)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 25), chunks=st.sampled_from([7, 20, 4000]))
@pytest.mark.slow
def test_every_zone_has_all_its_pixels_in_one_layer(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int, chunks: int
) -> None:
    zones, store = zones_of(n, seed), tmp_path_factory.mktemp("layers") / "z.zarr"
    report = zr.build(zones, store, grid=GRID, **{**OPTIONS, "chunks": chunks})
    check(store, zones)
    claims = np.sum(list(masks_of(zones).values()), axis=0)
    assert report.deepest == max(1, claims.max())
    assert report.n_layers == zr.open(store).sizes["layer"]
    assert report.claimed == report.owned == claims.sum()
    assert not any("contested" in line for line in report.warnings)


def test_layers_do_not_depend_on_chunks_workers_or_the_order_of_the_table(tmp_path: Path) -> None:
    zones = zones_of(30, 1).assign(park=range(1, 31))
    built = []
    for i, (chunks, how) in enumerate(
        itertools.product((9, 16, 4000), ({"executor": "serial"}, {"workers": 2}))
    ):
        store, rows = tmp_path / f"{i}.zarr", zones.iloc[::-1] if i % 2 else zones
        zr.build(rows, store, grid=GRID, **{**OPTIONS, "chunks": chunks}, **how)
        built.append((zr.open(store)["zone"].values, layers_in(store)))
    for array, places in built[1:]:
        np.testing.assert_array_equal(array, built[0][0])
        assert places == built[0][1]


def sets_of(many: list[list[int]]) -> dict[bytes, int]:
    return {np.array(sorted(own), "<u4").tobytes(): 1 for own in many}


def given_to(many: list[list[int]], ids: list[int], known: list[int] | None = None) -> Layering:
    before = np.full(len(ids), -1) if known is None else np.array(known)
    return give_layers(sets_of(many), np.array(ids), before)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 12), min_size=2, max_size=5, unique=True), max_size=20),
    st.permutations(range(1, 13)),
    st.lists(st.integers(-1, 9), min_size=12, max_size=12),
)
def test_no_two_zones_of_a_set_are_in_one_layer(
    many: list[list[int]], ids: list[int], known: list[int]
) -> None:
    found = given_to(many, ids, known)
    place = dict(zip(ids, found.layer.tolist(), strict=True))
    assert all(len({place[zone] for zone in own}) == len(own) for own in many)
    assert {*place.values()} == {*range(found.n_layers)}
    assert found.deepest == max([1, *map(len, many)]) <= found.n_layers
    # By no order of zones or sets, and once given they stay.
    again = given_to(many[::-1], sorted(ids), [known[ids.index(zone)] for zone in sorted(ids)])
    assert again.layer.tolist() == [place[zone] for zone in sorted(ids)]
    kept = given_to(many, ids, found.layer.tolist())
    assert kept.layer.tolist() == found.layer.tolist()


def test_graphs_whose_best_layers_are_known() -> None:
    ids = [*range(1, 101)]
    ring = [[i, i % 100 + 1] for i in ids]
    assert given_to(ring, ids).n_layers == 2
    assert given_to([*ring[:98], [99, 1]], ids).n_layers == 3
    assert given_to([ids], ids).n_layers == 100
    # A crown, in which first fit by rows needs 50: each of one side lies over all others but one.
    crown = [[2 * i + 1, 2 * j + 2] for i in range(50) for j in range(50) if i != j]
    assert given_to(crown, ids).n_layers == 2
    assert given_to([], ids).layer.tolist() == [0] * 100


def test_an_update_touches_the_layers_and_chunks_that_change(tmp_path: Path) -> None:
    store = tmp_path / "z.zarr"
    boxes = {
        "base": (10.2, 40.2, 15.8, 44.8), "over": (10.5, 40.5, 12.5, 42.5),
        "high": (11.5, 41.5, 13.5, 43.5), "lone": (15, 44, 15.7, 44.7),
    }  # fmt: skip

    def build(**shapes: tuple[float, ...]) -> zr.BuildReport:
        frame = {"park": [*shapes], "kind": "k"}
        polygons = [shapely.box(*box) for box in shapes.values()]
        zones = geopandas.GeoDataFrame(frame, geometry=polygons, crs=4326)
        report = zr.build(zones, store, **({} if store.exists() else {"grid": GRID}), **OPTIONS)
        check(store, zones)
        assert zr.verify(store, deep=1.0).ok
        return report

    build(**boxes)
    first, written = layers_in(store), times(store)
    assert [first[key][0] for key in boxes] == [0, 1, 2, 1]
    # One that moves within its layer.
    report = build(**{**boxes, "high": (11.5, 41.5, 13.5, 44.5)})
    assert layers_in(store) == first
    changed = {key for key, at in times(store).items() if written.get(key) != at}
    assert {key.split("/")[0] for key in changed} == {"2"}
    assert 0 < report.burned == len(changed)
    # One more on top is one more layer, and the others stay as they are.
    written = times(store)
    report = build(**boxes, new=(12, 42, 12.4, 42.4))
    assert report.n_layers == 4
    changed = {key for key, at in times(store).items() if written.get(key) != at}
    assert {key.split("/")[0] for key in changed} == {"2", "3"}
    # Without the one in the middle the uppermost come down, and nothing is left of their layers.
    report = build(**{key: boxes[key] for key in ("base", "high", "lone")})
    assert report.n_layers == 2
    assert report.deleted > 0
    assert layers_in(store)["base"] == first["base"]
    assert {key.split("/")[0] for key in times(store)} == {"0", "1"}
    assert build(**{key: boxes[key] for key in ("lone", "high", "base")}).burned == 0


def test_zones_keep_their_layers_while_others_come_and_go(tmp_path: Path) -> None:
    zones, store = zones_of(40, 2), tmp_path / "z.zarr"
    zr.build(zones, store, grid=GRID, **OPTIONS)
    more = zones_of(5, 3).assign(park=[f"new{i}" for i in range(5)])
    for now in (zones.iloc[3:], pd.concat([zones.iloc[3:], more]), zones):
        before, n_before = layers_in(store), zr.open(store).sizes["layer"]
        report = zr.build(now, store)
        check(store, now)
        after = layers_in(store)
        moved = [key for key in before.keys() & after.keys() if before[key] != after[key]]
        assert all(before[key][0] >= report.n_layers for key in moved)
        assert not moved or report.n_layers < n_before
        assert report.kept > 0


def test_a_build_that_is_killed_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zones = zones_of(30, 4)
    options: dict[str, Any] = {"grid": GRID, **OPTIONS, "executor": "serial"}

    def build(store: Path) -> None:
        zr.build(zones, store, **options)

    build(tmp_path / "whole")
    check_resumes(monkeypatch, build, tmp_path / "whole", range(1, 60, 7))


@pytest.mark.parametrize(
    ("before", "after"), [("last", "layers"), ("layers", "first"), ("layers", "layers")]
)
@pytest.mark.slow
def test_an_update_that_is_killed_is_the_old_store_or_unfinished_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    zones, store = zones_of(30, 5), tmp_path / "z"
    now = zones.iloc[4:] if before == after else zones
    options: dict[str, Any] = {"key": "park", "chunks": 9, "executor": "serial"}
    zr.build(zones, tmp_path / "old", grid=GRID, overlap=before, **options)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    zr.build(now, tmp_path / "new", overlap=after, **options)
    arrays = [zr.open(tmp_path / name)["zone"].values for name in ("old", "new")]
    for n in itertools.count(1, 9):
        shutil.copytree(tmp_path / "old", store)
        try:
            with monkeypatch.context() as patch:
                kill_at(patch, n)
                zr.build(now, store, overlap=after, **options)
        except KilledError:
            try:
                seen = zr.open(store)["zone"].values
            except zr.StoreError:
                pass
            else:
                assert any(np.array_equal(seen, array) for array in arrays)
            zr.build(now, store, overlap=after, **options)
            assert tree(store) == tree(tmp_path / "new")
            shutil.rmtree(store)
        else:
            break
    assert n > 18


@pytest.mark.parametrize("all_touched", [False, True])
def test_another_overlap_burns_again_from_the_plan_and_back(
    tmp_path: Path, all_touched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    zones, store = zones_of(30, 6), tmp_path / "z.zarr"
    for overlap in ("last", "layers"):
        zr.build(
            zones, tmp_path / overlap, grid=GRID, key="park", chunks=9, overlap=overlap,
            all_touched=all_touched,
        )  # fmt: skip
    zr.build(zones, store, grid=GRID, key="park", chunks=9, all_touched=False)

    def read_again(*_: object) -> None:
        raise AssertionError("zones are read again")

    monkeypatch.setattr("zoneraster._build.plan._read", read_again)
    for overlap in ("layers", "last", "layers", "last"):
        with pytest.warns(zr.ZonerasterWarning, match=f"burned again with .*{overlap!r}"):
            zr.build(zones, store, key="park", overlap=overlap, all_touched=all_touched)
        assert zr.verify(store, deep=1.0).ok
        for part in ("zone/", ".zoneraster/ledger/", ".zoneraster/chunks.parquet"):
            of_part = [
                {key: data for key, data in tree(one).items() if key.startswith(part)}
                for one in (store, tmp_path / overlap)
            ]
            assert of_part[0] == of_part[1] != {}
        pd.testing.assert_frame_equal(zr.zones(store), zr.zones(tmp_path / overlap))
        assert zr.info(store)["plan"] == zr.info(tmp_path / overlap)["plan"]
    with pytest.raises(zr.StoreMismatchError, match="overlap"):
        zr.build(zones, store, overlap="sets")


def test_touched_pixels_in_layers_are_those_of_each_zone_alone(tmp_path: Path) -> None:
    zones, store = zones_of(12, 7), tmp_path / "z.zarr"
    zr.build(zones, store, grid=GRID, **OPTIONS, all_touched=True)
    array, places = zr.open(store)["zone"].values, layers_in(store)
    for i, key in enumerate(zones["park"]):
        if not zones.geometry.iloc[i].intersects(shapely.box(*GRID.bounds)):
            continue
        alone = tmp_path / key
        zr.build(zones.iloc[i : i + 1], alone, grid=GRID, key="park", all_touched=True)
        layer, zone_id = places[key]
        np.testing.assert_array_equal(array[layer] == zone_id, zr.open(alone)["zone"].values > 0)


def test_statistics_of_a_store_of_layers_are_those_of_any_other(tmp_path: Path) -> None:
    zones = zones_of(20, 8)
    for overlap in ("layers", "last"):
        zr.build(zones, tmp_path / overlap, grid=GRID, key="park", overlap=overlap, chunks=13)
    rng = np.random.default_rng(1)
    coords = {"lat": GRID.y_centres(), "lon": GRID.x_centres()}
    height = xr.DataArray(rng.normal(size=GRID.shape), coords=coords, dims=("lat", "lon"))
    last, layers = tmp_path / "last", tmp_path / "layers"
    for options in ({}, {"roll_up": "kind"}, {"pixels": "touched"}, {"pixels": "fraction"}):
        asked: dict[str, Any] = {"values": height, "stats": ["pixels", "sum", "median"], **options}
        expected = zr.zonal_stats(last, **asked)
        for which in ("claimed",) if "pixels" in options else ("claimed", "owned"):
            table = zr.zonal_stats(layers, zones=which, **asked)
            pd.testing.assert_frame_equal(table, expected)
            assert table.attrs["audit"] == expected.attrs["audit"]
    cells = [zr.cells(store).read_pandas() for store in (layers, last)]
    columns = ["zone_id", "row", "col0"]
    cells = [one.sort_values(columns, ignore_index=True) for one in cells]
    pd.testing.assert_frame_equal(*cells)
    kept = {"checkpoint": tmp_path / "kept", "stats": ["pixels", "sum"]}
    first = zr.zonal_stats(layers, height, **kept)
    zr.build(zones.iloc[1:], layers)
    zr.build(zones, layers)
    pd.testing.assert_frame_equal(zr.zonal_stats(layers, height, **kept), first)
    # As an array that anybody wrote: each layer is read.
    (layers / ".zoneraster" / "spec.json").rename(tmp_path / "spec.json")
    shutil.rmtree(layers / ".zoneraster")
    bare = zr.zonal_stats(layers, height, stats=["pixels"])
    assert bare["pixels"].sum() == first["pixels"].sum()


def test_other_readers_take_layers(tmp_path: Path) -> None:
    zones, store = zones_of(20, 9), tmp_path / "z.zarr"
    zr.build(zones, store, grid=GRID, **OPTIONS)
    array = zr.open(store)["zone"]
    np.testing.assert_array_equal(zarr.open_array(store / "zone", mode="r")[:], array.values)
    plain = xr.open_zarr(store, consolidated=True)["zone"]
    np.testing.assert_array_equal(plain.values, array.values)
    rioxarray = pytest.importorskip("rioxarray")
    assert rioxarray is not None
    assert (plain.rio.crs.to_epsg(), plain.rio.shape) == (4326, GRID.shape)
    np.testing.assert_allclose(plain.rio.bounds(), GRID.bounds)
    top = plain.isel(layer=-1)
    top.rio.to_raster(tmp_path / "top.tif")
    with rasterio.open(tmp_path / "top.tif") as opened:
        np.testing.assert_array_equal(opened.read(1), array.values[-1])
    if sys.version_info >= (3, 12):  # GDAL 3.12 comes with rasterio 1.5 only
        for layer, expected in enumerate(array.values):
            with rasterio.open(f'ZARR:"{store}":/zone:{layer}') as opened:
                np.testing.assert_array_equal(opened.read(1), expected)
                np.testing.assert_allclose(opened.bounds, GRID.bounds)


def test_what_is_damaged_or_lost_is_found_and_mended(tmp_path: Path) -> None:
    zones, store = zones_of(20, 10), tmp_path / "z.zarr"
    zr.build(zones, store, grid=GRID, **OPTIONS)
    whole = tree(store)
    top = zr.open(store).sizes["layer"] - 1
    chunk = next((store / "zone" / "c" / str(top)).rglob("[0-9]*/[0-9]*"))
    chunk.write_bytes(b"torn")
    stray = store / "zone" / "c" / "77" / "0" / "0"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"stray")
    key = chunk.relative_to(store).as_posix()
    found = zr.verify(store)
    assert (found.damaged, found.stray) == ((key,), ("zone/c/77/0/0",))
    with pytest.raises(zr.CorruptStoreError, match=f"chunk {key}"):
        zr.open(store)["zone"].load()
    with pytest.raises(zr.CorruptStoreError, match="not as its receipt says"):
        zr.zonal_stats(store, stats="pixels")
    report = zr.build(zones, store, key="park")
    assert (report.burned, report.deleted) == (1, 1)
    assert tree(store) == whole
    (store / "zone" / "zarr.json").write_bytes(
        (store / "zone" / "zarr.json").read_bytes().replace(b'"layer"', b'"level"')
    )
    assert zr.verify(store).damaged == ("zone/zarr.json",)
    report = zr.build(zones, store, key="park")
    assert (report.burned, zr.verify(store, deep=1.0).ok) == (0, True)


def test_parts_of_a_job_array_make_the_same_store(tmp_path: Path) -> None:
    zones, store = zones_of(20, 11), tmp_path / "z.zarr"
    zones.to_parquet(tmp_path / "zones.parquet")
    zr.build(tmp_path / "zones.parquet", tmp_path / "whole", grid=GRID, **OPTIONS)
    for i in (3, 1, 2):
        done = zr.build_part(tmp_path / "zones.parquet", store, (i, 3), grid=GRID, **OPTIONS)
    assert isinstance(done, zr.BuildReport)
    assert tree(store) == tree(tmp_path / "whole")
    assert zr.status(store).finished


@pytest.mark.parametrize("key", ["park", "layer", "layer_input"])
def test_columns_of_the_user_that_are_named_layer_stay_theirs(tmp_path: Path, key: str) -> None:
    zones = zones_of(20, 12)
    zones = zones.assign(layer=[f"L{k}" for k in zones["park"]], layer_input=range(20))
    store, names = tmp_path / "z.zarr", {"layer": "layer_input", "layer_input": "layer_input_input"}
    for overlap in ("layers", "last", "layers"):
        zr.build(zones, store, grid=GRID, key=key, overlap=overlap, chunks=20)
        table = zr.zones(store)
        stored = names if overlap == "layers" else {name: name for name in names}
        for name, under in stored.items():
            assert table[under].tolist() == zones[name].tolist()
        stats = zr.zonal_stats(store, stats="pixels", attributes=[*({*names} - {key})])
        assert stats.index.name == key
        assert stats.reset_index()["layer"].tolist() == zones["layer"].tolist()
    # The zones of a store go into another one as they were.
    other = tmp_path / "other.zarr"
    zr.build(zr.zones(store), other, grid=GRID, key=key, overlap="layers", chunks=20)
    pd.testing.assert_frame_equal(zr.zones(other), zr.zones(store))
    zr.build(store / "zones.parquet", tmp_path / "flat", grid=GRID, key=key)
    flat = zr.zones(tmp_path / "flat")
    assert flat["layer"].tolist() == zones["layer"].tolist()
    assert flat.columns[0] == "zone_id"


def test_what_a_store_of_layers_cannot_do_is_said(tmp_path: Path) -> None:
    zones, store = zones_of(10, 8), tmp_path / "z.zarr"
    zr.build(zones, store, grid=GRID, **OPTIONS)
    with pytest.raises(zr.StoreError, match=r"overlap='layers' and has no sets .* overlap='sets'"):
        zr.sets(store)
    with pytest.raises(zr.StoreMismatchError, match=r"overlap +layers +error"):
        zr.build(zones, store, overlap="error")
    with pytest.raises(zr.StoreError, match="means nothing for product='count'"):
        zr.build(zones, tmp_path / "c", grid=GRID, key="park", overlap="layers", product="count")


def test_layers_on_the_command_line(tmp_path: Path) -> None:
    zones_of(20, 9).to_parquet(tmp_path / "parks.parquet")
    store = str(tmp_path / "parks.zarr")
    run = CliRunner().invoke
    build = ["build", str(tmp_path / "parks.parquet"), store, "--key", "park"]
    build += ["--overlap", "layers", "--resolution", "0.1", "--bounds", "10", "40", "16", "45"]
    built = run(main, build)
    assert built.exit_code == 0, built.output
    n = zr.open(store).sizes["layer"]
    assert f"{n}, for at most" in built.output
    assert f"overlap 'layers' ({n})" in run(main, ["info", store]).output
    assert run(main, ["verify", store, "--deep", "1"]).exit_code == 0
    picture = tmp_path / "map.png"
    assert run(main, ["plot", store, str(picture), "--width", "100"]).exit_code == 0
    assert picture.stat().st_size > 0


def test_a_zone_that_overlaps_nothing_needs_one_layer(tmp_path: Path) -> None:
    store = tmp_path / "z.zarr"
    grid: npt.NDArray[np.float64] = np.arange(10, 16.0)
    squares = [shapely.box(x, 41, x + 1, 42) for x in grid]
    zones = geopandas.GeoDataFrame({"park": range(6)}, geometry=squares, crs=4326)
    report = zr.build(zones, store, grid=GRID, **OPTIONS)
    assert (report.n_layers, report.deepest, report.contested) == (1, 1, 0)
    assert zr.open(store).sizes["layer"] == 1
    assert "for at most 1 zone on a pixel" in str(report)
