"""Whole builds: what is stored, resumed, updated, refused and repaired."""

from __future__ import annotations

import json
import multiprocessing.pool
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rioxarray  # noqa: F401 - gives arrays their `rio`
import shapely
import xarray as xr
import zarr
from rasterio.features import rasterize

import zoneraster as zr
from tests.samples import CHUNKS, GRID, sample_zones, times, tree
from zoneraster._build import plan
from zoneraster._burn import frame
from zoneraster._zones import read_stable_zones
from zoneraster.blobs import Location
from zoneraster.lock import lock


def built(folder: Path, zones: object = None, **options: object) -> tuple[Path, zr.BuildReport]:
    """A store of the sample zones."""
    store = folder / "zones.zarr"
    zones = sample_zones() if zones is None else zones
    options = {"grid": GRID, "key": "fid", "chunks": CHUNKS, **options}
    return store, zr.build(zones, store, **options)


def pixels(store: Path) -> np.ndarray:
    return zarr.open_array(store / "zone", mode="r")[:]


def gdal(zones: geopandas.GeoDataFrame) -> np.ndarray:
    shapes = zip(zones.geometry, zones["fid"].tolist(), strict=True)
    return rasterize(shapes, GRID.shape, transform=GRID.transform, dtype="uint32")


def boxes(*bounds: tuple[float, float, float, float]) -> geopandas.GeoDataFrame:
    shapes = [shapely.box(*b) for b in bounds]
    return geopandas.GeoDataFrame({"fid": range(1, len(shapes) + 1)}, geometry=shapes, crs=4326)


@pytest.mark.slow
def test_the_store_holds_what_gdal_burns_on_the_whole_canvas(tmp_path: Path) -> None:
    store, report = built(tmp_path)
    assert np.array_equal(pixels(store), gdal(sample_zones()))
    assert report.dtype == "uint16"
    assert report.owned == np.count_nonzero(pixels(store))
    table = zr.zones(store)
    ids, counts = np.unique(pixels(store), return_counts=True)
    found = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    assert table["owned"].tolist() == [found.get(i, 0) for i in table["zone_id"]]
    assert table["name"].tolist() == sample_zones()["name"].tolist()
    assert zr.verify(store, deep=1.0).ok


@pytest.mark.slow
def test_claimed_owned_and_contested_pixels_are_those_of_painted_masks(tmp_path: Path) -> None:
    zones = sample_zones()
    store, report = built(tmp_path, zones)
    masks = np.array([gdal(zones.iloc[[i]]) > 0 for i in range(len(zones))])
    depth = masks.sum(axis=0)
    table = zr.zones(store)
    assert table["claimed"].tolist() == masks.sum(axis=(1, 2)).tolist()
    assert table["contested"].tolist() == (masks & (depth > 1)).sum(axis=(1, 2)).tolist()
    assert report.contested == int(depth[depth > 1].sum())


@pytest.mark.slow
def test_first_wins_where_asked_and_a_priority_column_orders_the_painting(tmp_path: Path) -> None:
    zones = sample_zones()
    store, _ = built(tmp_path / "first", zones, overlap="first")
    assert np.array_equal(pixels(store), gdal(zones[::-1]))
    zones["rank"] = np.random.default_rng(4).permutation(len(zones)).astype(float)
    store, _ = built(tmp_path / "rank", zones, priority="rank")
    assert np.array_equal(pixels(store), gdal(zones.sort_values("rank")))


@pytest.mark.parametrize("all_touched", [False, True])
def test_overlap_error_names_the_pairs_before_anything_is_burned(
    tmp_path: Path, all_touched: bool
) -> None:
    zones = boxes((1, 1, 3, 3), (2, 2, 4, 4), (6, 6, 7.001, 7), (7.002, 6, 8, 7))
    zones["name"] = ["a", "b", "c", "d"]
    options = {"overlap": "error", "key": "name", "all_touched": all_touched}
    said = r"1 pair of zones .*: 'a' and 'b' share 2,500 pixels"
    if all_touched:
        # c and d touch the same column of pixels, and the rows of centres at both ends...
        zones = zones.iloc[2:]
        said = r"1 pair of zones .*: 'c' and 'd' share 100 pixels"
    with pytest.raises(zr.OverlapError, match=said):
        built(tmp_path, zones, **options)
    assert not list((tmp_path / "zones.zarr").rglob("c/*/*"))
    store, report = built(tmp_path, zones.iloc[:1], **options)
    assert report.contested == 0
    before = tree(store)
    with pytest.raises(zr.OverlapError, match=said):
        built(tmp_path, zones, **options)
    assert tree(store) == before
    assert zr.status(store).finished


def test_zones_that_overlap_by_another_rule_only_are_found_when_it_is_asked_for(
    tmp_path: Path,
) -> None:
    zones = boxes((1, 1, 3, 3.001), (1, 3.002, 3, 4))
    store, _ = built(tmp_path, zones, overlap="error")
    before = tree(store)
    with pytest.raises(zr.OverlapError, match="1 and 2 share 200 pixels"):
        built(tmp_path, zones, all_touched=True)
    assert tree(store) == before


def test_a_plan_that_nobody_looked_through_is_refused_as_it_burns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "refuse_contests", lambda contests, ids: None)
    with pytest.raises(zr.OverlapError, match=r"zones overlap in chunk \d/\d: build again"):
        built(tmp_path, boxes((1, 1, 3, 3), (2, 2, 4, 4)), overlap="error", executor="serial")
    assert not zr.status(tmp_path / "zones.zarr").finished


def test_overlap_error_names_the_worst_of_very_many_pairs(tmp_path: Path) -> None:
    # 40 boxes in each other, in four chunks, and one pair apart.
    nested = [(5 - 0.1 * i, 5 - 0.1 * i, 5 + 0.1 * i, 5 + 0.1 * i) for i in range(1, 41)]
    zones = boxes(*nested, (9.5, 0, 10, 1), (9.5, 0, 10, 1))
    said = (
        r"at least 781 pairs of zones .*: 39 and 40 share 152,100 pixels, "
        r"38 and 39 share 144,400 pixels, 38 and 40 share 144,400 pixels.* and 776 more"
    )
    with pytest.raises(zr.OverlapError, match=said):
        built(tmp_path, zones, overlap="error", chunks=250)


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [97, 128, 250, 500, (30, 501)])
def test_any_chunk_size_gives_the_same_pixels(tmp_path: Path, chunks: object) -> None:
    store, _ = built(tmp_path, chunks=chunks)
    assert np.array_equal(pixels(store), gdal(sample_zones()))


@pytest.mark.slow
def test_threads_processes_a_dask_cluster_parts_and_any_order_give_identical_bytes(
    tmp_path: Path,
) -> None:
    store, _ = built(tmp_path / "serial", executor="serial")
    expected = tree(store)

    class Shuffled:
        def map(self, function, tasks):
            tasks = list(tasks)
            random.Random(3).shuffle(tasks)
            return map(function, tasks)

    from distributed import Client, LocalCluster

    zones = sample_zones()
    zones.to_parquet(tmp_path / "zones.parquet")
    with (
        multiprocessing.pool.ThreadPool(2) as pool,
        LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        for name, executor in (
            ("threads", 8), ("processes", "processes"), ("shuffled", Shuffled()), ("pool", pool),
            ("dask", client),
        ):  # fmt: skip
            store, _ = built(tmp_path / name, executor=executor)
            assert tree(store) == expected, name
    options = {"grid": GRID, "key": "fid", "chunks": CHUNKS}
    results = [zr.build_part(zones, tmp_path / "parts", (i, 3), **options) for i in (2, 3, 1)]
    assert [type(r).__name__ for r in results] == ["RunSummary", "RunSummary", "BuildReport"]
    assert tree(tmp_path / "parts") == expected


def test_a_second_build_burns_nothing_and_changes_no_byte(tmp_path: Path) -> None:
    store, first = built(tmp_path)
    before, when = tree(store), times(store)
    _, second = built(tmp_path)
    assert (second.burned, second.kept) == (0, first.burned)
    assert tree(store) == before
    assert times(store) == when


@pytest.mark.slow
def test_a_moved_zone_rewrites_exactly_the_chunks_it_left_and_entered(tmp_path: Path) -> None:
    zones = boxes((1, 1, 3, 3), (6, 6, 7, 7), (9, 9, 9.5, 9.5))
    store, _ = built(tmp_path, zones)
    when = times(store)
    moved = boxes((1, 1, 3, 3), (4, 6, 5, 7), (9, 9, 9.5, 9.5))
    _, report = built(tmp_path, moved)
    fresh, _ = built(tmp_path / "fresh", moved)
    assert tree(store) == tree(fresh)
    touched = {key for key, at in times(store).items() if when.get(key) != at}
    side = CHUNKS / 50
    cells = {
        f"{int((10 - y) // side)}/{int(x // side)}"
        for x in np.arange(4.01, 5, 0.02)
        for y in np.arange(6.01, 7, 0.02)
    }
    assert touched <= cells
    assert report.burned == len(touched)
    assert report.deleted > 0


@pytest.mark.slow
def test_a_plan_is_reused_for_the_same_file_and_options_only(tmp_path: Path) -> None:
    path, other = tmp_path / "zones.gpkg", tmp_path / "other.gpkg"
    for name, top in ((path, 3), (other, 4)):
        zones = boxes((0, 0, 1, 1), (2, 2, 3, top)).rename(columns={"fid": "gid"})
        zones.to_file(name, layer="zones")
    store = tmp_path / "zones.zarr"

    def planned(**options: object) -> bool:
        return zr.plan(path, store, grid=GRID, key="gid", chunks=CHUNKS, **options).reused

    assert not planned()
    assert planned()
    for option in ({"on_invalid": "skip"}, {"layer": "zones"}, {"assume_crs": 4326}):
        assert not planned(**option), option
        assert planned(**option)
    other.replace(path)
    assert not planned()
    assert planned()


@pytest.mark.slow
def test_a_chunk_that_stays_in_the_plan_and_owns_nothing_any_more_is_deleted(
    tmp_path: Path,
) -> None:
    zones = boxes((0.1, 9.1, 0.9, 9.9), (5, 5, 6, 6))
    store, _ = built(tmp_path, zones)
    assert (store / "zone" / "c" / "0" / "0").exists()
    # Crosses rows of centres between two columns of them.
    sliver = boxes((0.112, 9.1, 0.116, 9.9), (5, 5, 6, 6))
    _, report = built(tmp_path, sliver)
    planned = pq.read_table(store / ".zoneraster" / "chunks.parquet")
    places = zip(planned["chunk_row"].to_pylist(), planned["chunk_col"].to_pylist(), strict=True)
    assert (0, 0) in set(places)
    assert not (store / "zone" / "c" / "0" / "0").exists()
    assert report.zero_pixel_zones == (1,)
    assert np.unique(pixels(store)).tolist() == [0, 2]
    assert zr.verify(store, deep=1.0).ok
    fresh, _ = built(tmp_path / "fresh", sliver)
    assert tree(store) == tree(fresh)


@pytest.mark.slow
def test_removed_and_added_zones_give_a_fresh_store_and_ids_are_never_reused(
    tmp_path: Path,
) -> None:
    zones = sample_zones(12)
    zones["code"] = [f"c{i}" for i in range(12)]
    store, _ = built(tmp_path, zones, key="code")
    ids = dict(zip(zr.zones(store)["code"], zr.zones(store)["zone_id"], strict=True))
    later = zones.iloc[[0, 2, 3, 5]].copy()
    added = zones.iloc[[1]].copy()
    added["code"] = ["new"]
    import pandas as pd

    built(tmp_path, pd.concat([later, added]), key="code")
    now = dict(zip(zr.zones(store)["code"], zr.zones(store)["zone_id"], strict=True))
    assert {code: now[code] for code in ("c0", "c2", "c3", "c5")} == {
        code: ids[code] for code in ("c0", "c2", "c3", "c5")
    }
    assert now["new"] == 13
    assert zr.verify(store, deep=1.0).ok


def test_verify_names_every_damage_and_build_repairs_exactly_that(tmp_path: Path) -> None:
    store, _ = built(tmp_path)
    expected = tree(store)
    chunks = sorted((store / "zone" / "c").rglob("*/*"))
    data = bytearray(chunks[0].read_bytes())
    data[len(data) // 2] ^= 16
    chunks[0].write_bytes(data)
    chunks[1].unlink()
    chunks[2].write_bytes(b"")
    (store / "zone" / "c" / "8" / "77").write_bytes(b"stray")
    report = zr.verify(store)
    keys = [str(path.relative_to(store)) for path in chunks[:3]]
    assert set(report.damaged) == {keys[0], keys[2]}
    assert report.missing == (keys[1],)
    assert report.stray == ("zone/c/8/77",)
    assert not report.ok
    assert "NOT all right" in str(report)
    _, repaired = built(tmp_path)
    assert repaired.burned == 3
    assert tree(store) == expected
    assert zr.verify(store).ok


@pytest.mark.slow
def test_a_damaged_receipt_promises_nothing_and_its_batch_is_burned_again(tmp_path: Path) -> None:
    store, _ = built(tmp_path)
    expected = tree(store)
    receipts = sorted((store / ".zoneraster" / "ledger").iterdir())
    receipts[0].write_bytes(receipts[0].read_bytes()[:100])
    receipts[1].write_bytes(b"")
    assert len(zr.verify(store).unreceipted) == 2
    _, report = built(tmp_path)
    assert report.burned == 2
    assert tree(store) == expected


@pytest.mark.slow
def test_a_verified_opening_refuses_damage_that_an_ordinary_one_does_not_see(
    tmp_path: Path,
) -> None:
    store, _ = built(tmp_path)
    assert zr.open(store, verified=True)["zone"].dtype == np.uint16
    next((store / "zone" / "c").rglob("*/*")).unlink()
    zr.open(store)
    with pytest.raises(zr.CorruptStoreError, match="missing"):
        zr.open(store, verified=True)


@pytest.mark.slow
def test_a_resumed_store_knows_its_key(tmp_path: Path) -> None:
    zones = boxes((1, 1, 3, 3), (6, 6, 7, 7))
    for name, source in {
        "row": zones,
        "index": zones.set_index(np.array([9, 4])),
        "column": zones.set_index("fid"),
        "zone_id": zones.rename(columns={"fid": "zone_id"}),
    }.items():
        key = "zone_id" if name == "zone_id" else None
        built(tmp_path / name, source, key=key)
        _, again = built(tmp_path / name, source, key=None)
        assert again.burned == 0
    built(tmp_path / "fid", zones)
    _, again = built(tmp_path / "fid", zones, key=None)
    assert again.burned == 0


@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_text_in_a_zone_id_column_is_what_the_report_names(tmp_path: Path) -> None:
    zones = boxes((1, 1, 3, 3), (20, 20, 21, 21))
    zones["zone_id"] = ["here", "gone"]
    store, report = built(tmp_path, zones, key="zone_id")
    assert report.zero_pixel_zones == ("gone",)
    assert zr.zones(store)["zone_id_input"].tolist() == ["here", "gone"]


@pytest.mark.slow
def test_verify_deep_notices_a_chunk_whose_receipt_agrees_but_whose_pixels_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = frame.encode

    def wrong(*runs, width, itemsize):
        return real(runs[0], runs[1], runs[2] + 1, width=width, itemsize=itemsize)

    monkeypatch.setattr(frame, "encode", wrong)
    store, _ = built(tmp_path, executor="serial")
    monkeypatch.undo()
    assert zr.verify(store).ok
    report = zr.verify(store, deep=1.0)
    assert report.differing
    assert not report.ok


@pytest.mark.slow
@pytest.mark.parametrize("form", ["frame", "file"])
def test_another_order_or_rule_burns_again_from_the_plan_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    zones = sample_zones().assign(size=np.random.default_rng(2).integers(0, 4, 40))
    given: Any = zones
    if form == "file":
        given = tmp_path / "zones.parquet"
        zones.to_parquet(given)
    store, first = built(tmp_path, given)
    changes: list[dict[str, Any]] = [
        {"overlap": "first"}, {"priority": "size"}, {"all_touched": True}, {"priority": "-size"},
        {"overlap": "last"}, {"all_touched": False, "priority": ""}, {"priority": "owned"},
    ]  # fmt: skip
    asked: dict[str, Any] = {}
    with monkeypatch.context() as patch:
        patch.setattr(plan, "read_stable_zones", None)
        for change in changes[:-1]:
            asked |= change
            with pytest.warns(zr.ZonerasterWarning, match="is burned again with"):
                _, report = built(tmp_path, given, **change)
            shutil.rmtree(tmp_path / "new", ignore_errors=True)
            (tmp_path / "new").mkdir()
            with monkeypatch.context() as reading:
                reading.setattr(plan, "read_stable_zones", read_stable_zones)
                anew, _ = built(tmp_path / "new", given, **asked)
            assert tree(store) == tree(anew)
            assert zr.verify(store, deep=1.0).ok
            assert report.burned > 0
    # What is left out is as the store has it, and nothing changes.
    built(tmp_path, given, overlap="first")
    _, report = built(tmp_path, given)
    assert (report.burned, zr.info(store)["spec"]["overlap"]) == (0, "first")
    assert report.owned == first.owned
    with pytest.raises(zr.ZonesError, match="no priority column 'owned'"):
        built(tmp_path, given, **changes[-1])
    assert zr.verify(store).ok


def test_zones_that_have_changed_are_read_for_another_rule(tmp_path: Path) -> None:
    zones = sample_zones()
    store, _ = built(tmp_path, zones)
    built(tmp_path, zones.iloc[5:], all_touched=True)
    (tmp_path / "new").mkdir()
    built(tmp_path / "new", zones, all_touched=True)
    anew, _ = built(tmp_path / "new", zones.iloc[5:])
    assert tree(store) == tree(anew)


@pytest.mark.slow
def test_another_grid_dtype_or_rule_is_refused_with_a_table(tmp_path: Path) -> None:
    store, _ = built(tmp_path)
    before = tree(store)
    with pytest.raises(zr.StoreMismatchError, match=r"overlap +last +sets"):
        built(tmp_path, overlap="sets")
    with pytest.raises(zr.StoreMismatchError, match=r"chunks +\(60, 60\) +\(64, 64\)"):
        built(tmp_path, chunks=64)
    zones = sample_zones()
    zones["fid"] += 70000
    with pytest.raises(zr.StoreMismatchError, match=r"dtype +uint16 +uint32"):
        built(tmp_path, zones)
    assert tree(store) == before


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "zones.zarr").mkdir()
    (tmp_path / "zones.zarr" / "thesis.txt").write_text("do not lose")
    with pytest.raises(zr.StoreError, match="holds something else already"):
        built(tmp_path)
    assert (tmp_path / "zones.zarr" / "thesis.txt").read_text() == "do not lose"


@pytest.mark.slow
def test_a_store_without_a_grid_cannot_be_begun_but_an_existing_one_knows_its_own(
    tmp_path: Path,
) -> None:
    with pytest.raises(zr.StoreError, match="a new store needs a grid"):
        zr.build(sample_zones(), tmp_path / "zones.zarr", key="fid")
    built(tmp_path)
    report = zr.build(sample_zones(), tmp_path / "zones.zarr", key="fid", chunks=CHUNKS)
    assert report.burned == 0


@pytest.mark.slow
def test_two_builders_on_one_store_do_not_run_together(tmp_path: Path) -> None:
    store, _ = built(tmp_path)
    with lock(Location.of(store)), pytest.raises(zr.StoreBusyError, match=r"pid \d+ on "):
        built(tmp_path)


@pytest.mark.slow
def test_finish_refuses_while_batches_are_missing_and_status_names_them(tmp_path: Path) -> None:
    store, _ = built(tmp_path)
    next((store / ".zoneraster" / "ledger").iterdir()).unlink()
    status = zr.status(store)
    assert status.batches_done == status.batches - 1
    assert len(status.missing) == 1
    with pytest.raises(zr.IncompleteBuildError, match="1 of "):
        zr.finish(store)


@pytest.mark.slow
def test_zones_without_a_pixel_are_named_and_min_pixels_gives_them_one(tmp_path: Path) -> None:
    zones = boxes((1, 1, 3, 3), (5.001, 5.001, 5.003, 5.003), (20, 20, 21, 21))
    _, report = built(tmp_path, zones)
    assert report.zero_pixel_zones == (2, 3)
    assert any("2 zones without a pixel: 2, 3" in text for text in report.warnings)
    assert any("1 zone outside the grid: 3" in text for text in report.warnings)
    store, report = built(tmp_path / "one", zones, min_pixels=1)
    assert report.zero_pixel_zones == (3,)
    assert any("got the pixel under" in text for text in report.warnings)
    assert zr.zones(store)["owned"].tolist() == [10000, 1, 0]
    assert pixels(store)[int((10 - 5.002) * 50), int(5.002 * 50)] == 2


@pytest.mark.parametrize(
    ("overlap", "pixel", "without"),
    [("last", 3, (1, 2)), ("first", 1, (2, 3)), ("sets", None, ())],
)
def test_several_zones_that_vanish_in_one_pixel_all_count(
    tmp_path: Path, overlap: str, pixel: int | None, without: tuple[int, ...]
) -> None:
    dots = [
        (5.001, 5.001, 5.003, 5.003),
        (5.004, 5.002, 5.006, 5.004),
        (5.012, 5.014, 5.013, 5.016),
    ]
    zones = boxes(*dots, (1, 1, 3, 3))
    store, report = built(tmp_path, zones, overlap=overlap, min_pixels=1)
    assert zr.zones(store)["claimed"].tolist() == [1, 1, 1, 10_000]
    assert report.zero_pixel_zones == without
    said = "2 zones with pixels that all belong to others in the array: " + ", ".join(
        map(str, without)
    )
    assert (said in report.warnings) == bool(without)
    assert any("3 zones without a pixel centre got the pixel" in text for text in report.warnings)
    row, col = int((10 - 5.002) * 50), int(5.002 * 50)
    found = int(pixels(store)[row, col])
    if pixel is None:
        shared = zr.sets(store)
        assert sorted(shared[shared["set_id"] == found]["zone_id"]) == [1, 2, 3]
    else:
        assert found == pixel
    grid = zr.open(store)
    values = xr.DataArray(
        np.arange(250_000.0).reshape(500, 500),
        {"y": grid.y.values, "x": grid.x.values}, ("y", "x"), attrs={"crs": "EPSG:4326"},
    )  # fmt: skip
    table = zr.zonal_stats(store, values, stats=["count", "sum"])
    assert table["count"].tolist() == [1, 1, 1, 10_000]
    assert table["sum"].tolist()[:3] == [500 * row + col] * 3
    owned = zr.zonal_stats(store, values, stats=["count"], zones="owned")
    assert owned["count"].tolist() == zr.zones(store)["owned"].tolist()


def test_zones_that_vanish_in_one_pixel_are_an_overlap(tmp_path: Path) -> None:
    zones = boxes((5.001, 5.001, 5.003, 5.003), (5.004, 5.002, 5.006, 5.004))
    with pytest.raises(zr.OverlapError, match=r"1 and 2 share 1 pixel"):
        built(tmp_path, zones, overlap="error", min_pixels=1)


def test_zones_that_all_miss_the_grid_are_refused_and_a_finished_store_stays(
    tmp_path: Path,
) -> None:
    away = boxes((20, 20, 21, 21), (30, 1, 31, 2))
    with pytest.raises(zr.ZonesError, match="no zone meets the grid: the zones lie in"):
        built(tmp_path, away)
    store, report = built(tmp_path, boxes((1, 1, 2, 2), (30, 1, 31, 2)))
    assert report.owned == 2500
    assert any("1 zone outside the grid: 2" in text for text in report.warnings)
    before = tree(store)
    with pytest.raises(zr.ZonesError, match="no zone meets the grid: the zones lie in"):
        built(tmp_path, away)
    assert tree(store) == before
    assert zr.status(store).finished


@pytest.mark.slow
def test_all_touched_burns_more_and_is_the_same_for_all_chunks(tmp_path: Path) -> None:
    store, _ = built(tmp_path / "a", all_touched=True)
    other, _ = built(tmp_path / "b", all_touched=True, chunks=97)
    centre, _ = built(tmp_path / "c")
    assert np.array_equal(pixels(store), pixels(other))
    assert (pixels(store) > 0).sum() > (pixels(centre) > 0).sum()


@pytest.mark.slow
def test_a_report_is_text_json_and_html(tmp_path: Path) -> None:
    _, report = built(tmp_path)
    assert "40 zones on 500 x 500 pixels" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["n_zones"] == 40
    assert "<table>" in report._repr_html_()


def test_keys_of_zones_are_text_in_html(tmp_path: Path) -> None:
    zones = boxes((20, 20, 21, 21), (1, 1, 1.1, 1.1))
    zones["name"] = ["<script>alert(1)</script>", "on the grid"]
    _, report = built(tmp_path / "<b>", zones, key="name")
    assert "&lt;script&gt;" in report._repr_html_()
    assert "<script>" not in report._repr_html_()
    assert "<b>" not in report._repr_html_()


def test_unknown_options_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(zr.StoreError, match="overlap must be one of last, first, error"):
        built(tmp_path, overlap="average")
    for executor in ("gpu", "dask", True):
        with pytest.raises(zr.OptionError, match=f"unknown executor {executor!r}"):
            built(tmp_path, executor=executor)
    for options in ({"workers": 0}, {"executor": 0}):
        with pytest.raises(zr.OptionError, match="workers must be 1 or more, not 0"):
            built(tmp_path, **options)
    for part in ((3, 2), (0, 2)):
        with pytest.raises(zr.OptionError, match="part must be I/N with 1 <= I <= N"):
            zr.build_part(sample_zones(), tmp_path / "s.zarr", part, grid=GRID, key="fid")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_ctrl_c_keeps_finished_batches_and_names_them(tmp_path: Path) -> None:
    store = tmp_path / "zones.zarr"
    zones = sample_zones(300)

    class Interrupting:
        def map(self, function, tasks):
            for number, task in enumerate(tasks):
                if number == 5:
                    signal.raise_signal(signal.SIGINT)
                yield function(task)

    with pytest.raises(zr.BuildInterrupted, match=r"stopped after 5 of \d+ batches"):
        zr.build(zones, store, grid=GRID, key="fid", chunks=25, executor=Interrupting())
    assert zr.status(store).batches_done == 5
    report = zr.build(zones, store, grid=GRID, key="fid", chunks=25)
    assert report.kept > 0
    assert zr.status(store).finished


@pytest.mark.slow
def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    built(tmp_path, progress=lambda *tick: said.append(tick))
    assert said[:2] == [("read", 0, 1), ("read", 1, 1)]
    assert [t for t in said if t[0] == "plan"][-1][1:] == (said[2][2], said[2][2])
    burned = [t for t in said if t[0] == "burn"][-1]
    assert burned[1] == burned[2] > 0
    assert said[-2:] == [("finish", 0, 1), ("finish", 1, 1)]


def test_the_report_of_an_update_names_new_gone_and_changed_zones(tmp_path: Path) -> None:
    zones = sample_zones(8)
    _, first = built(tmp_path, zones)
    assert (first.new, first.gone, first.changed) == ((), (), ())
    stored = (tmp_path / "zones.zarr/.zoneraster/report.json").read_bytes()
    changed = zones.drop(index=[2, 5]).reset_index(drop=True)
    changed.loc[changed.fid == 7, "geometry"] = shapely.box(1, 1, 3, 3)
    changed.loc[changed.fid == 14, "name"] = "another name"
    more = sample_zones(1, seed=9).assign(fid=[70])
    changed = geopandas.pd.concat([changed, more], ignore_index=True)
    _, report = built(tmp_path, changed)
    assert (report.new, report.gone, report.changed) == ((70,), (21, 42), (7,))
    assert "  new                         1 zone: 70\n" in str(report)
    assert "  gone                        2 zones: 21, 42\n" in str(report)
    assert "  changed                     1 zone: 7\n" in str(report)
    assert report.to_dict()["gone"] == (21, 42)
    _, again = built(tmp_path, changed)
    assert (again.new, again.gone, again.changed) == ((), (), ())
    _, back = built(tmp_path, zones)
    assert (back.new, back.gone, back.changed) == ((21, 42), (70,), (7,))
    # What is stored is about the store alone.
    assert (tmp_path / "zones.zarr/.zoneraster/report.json").read_bytes() == stored


def test_an_update_that_was_stopped_is_told_against_the_last_finished_build(
    tmp_path: Path,
) -> None:
    zones, store = sample_zones(8), tmp_path / "zones.zarr"
    built(tmp_path, zones)
    zr.plan(zones.iloc[1:], store, key="fid")
    zr.plan(zones.iloc[:6], store, key="fid")
    zr.run(store)
    assert zr.finish(store).gone == (49, 56)


def test_ctrl_c_while_planning_says_that_the_store_is_as_it_was(tmp_path: Path) -> None:
    built(tmp_path, sample_zones(8))
    before = tree(tmp_path / "zones.zarr")

    def stop(phase: str, _done: int, _total: int) -> None:
        if phase == "plan":
            raise KeyboardInterrupt

    with pytest.raises(
        zr.BuildInterrupted, match=r"^stopped while planning; the store is as it was"
    ):
        zr.build(sample_zones(7), tmp_path / "zones.zarr", key="fid", progress=stop)
    assert tree(tmp_path / "zones.zarr") == before


def test_a_raster_or_its_path_stands_for_its_grid(tmp_path: Path) -> None:
    grid = zr.Grid.from_bounds((0, 0, 10, 10), 0.25)
    zr.build(sample_zones(3), tmp_path / "a.zarr", grid=grid, key="fid")
    zone = zr.open(tmp_path / "a.zarr").zone
    zone.drop_encoding().rio.to_raster(tmp_path / "like.tif")
    for name, like in (
        ("b", tmp_path / "like.tif"), ("c", str(tmp_path / "a.zarr")), ("d", zone),
        ("e", zr.Raster(tmp_path / "like.tif", crs="EPSG:4326")),
    ):  # fmt: skip
        zr.build(sample_zones(3), tmp_path / name, grid=like, key="fid")
        # Fingerprints hold the text of the reference system, chunks do not.
        assert tree(tmp_path / name, what="zone/c") == tree(tmp_path / "a.zarr", what="zone/c")
        assert zr.grid_like(tmp_path / name) == grid
