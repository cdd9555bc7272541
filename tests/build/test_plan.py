"""Planning: what it refuses before anything is touched, and what it puts back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
import zarr

import zoneraster as zr
from tests.samples import tree
from zoneraster._build.slabs import PartTree

GRID = zr.Grid.from_bounds((0, 0, 10, 10), 1)
OPTIONS = {"grid": GRID, "key": "k", "chunks": 5}
PRIVATE = ".zoneraster"
OBJECTS = [
    f"{PRIVATE}/spec.json", f"{PRIVATE}/plan.json", f"{PRIVATE}/manifest.parquet",
    f"{PRIVATE}/chunks.parquet", f"{PRIVATE}/keys.parquet", f"{PRIVATE}/report.json",
    "zones.parquet", "zarr.json", "zone/zarr.json", "x/zarr.json", "x/c/0", "y/c/0",
    "spatial_ref/zarr.json",
]  # fmt: skip


def pair(keys: object, border: float = 5, **columns: object) -> geopandas.GeoDataFrame:
    """Two zones side by side, and one without a pixel."""
    shapes = [
        shapely.box(0, 0, border, 10),
        shapely.box(border, 0, 10, 10),
        shapely.box(0.1, 0.1, 0.2, 0.2),
    ]
    return geopandas.GeoDataFrame({"k": keys, **columns}, geometry=shapes, crs=4326)


def files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, folders too."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def part_of_build(zones: geopandas.GeoDataFrame, store: Path, **options: Any) -> object:
    """Do the first of two parts."""
    return zr.build_part(zones, store, (1, 2), **options)


def error_of(verb: Callable[[], object]) -> str:
    """What a store says that cannot be read; nothing where it can."""
    try:
        verb()
    except zr.StoreError as err:
        return str(err)
    return ""


# ---- places --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "there", ["notes.txt", "downloads/scene.tif.partial", ".chunk.partial", "zarr.json", "x/c/0"]
)
@pytest.mark.parametrize("verb", [zr.build, zr.plan, part_of_build])
def test_a_folder_of_others_is_left_exactly_as_it_was(
    tmp_path: Path, there: str, verb: Any
) -> None:
    path = tmp_path / there
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"theirs")
    before, zones = files(tmp_path), pair(["a", "b", "c"])
    with pytest.raises(zr.StoreError, match=r"holds something else already .* was touched"):
        verb(zones, tmp_path, **OPTIONS)
    assert files(tmp_path) == before


def test_an_array_of_others_is_not_taken_for_a_store(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "other.zarr")
    for name in ("zone", "x", "y", "spatial_ref"):
        group.create_array(name, shape=(1,), dtype="uint8")
    before = files(tmp_path)
    with pytest.raises(zr.StoreError, match="holds something else already"):
        zr.build(pair(["a", "b", "c"]), tmp_path / "other.zarr", **OPTIONS)
    assert files(tmp_path) == before


def test_temporary_files_of_others_beside_a_store_stay(tmp_path: Path) -> None:
    zones, store = pair(["a", "b", "c"]), tmp_path / "zones.zarr"
    zr.build(zones, store, **OPTIONS)
    ours = store / "zone" / "c" / "0" / ".0.123-456.partial"
    theirs = store / "download.partial"
    for path in (ours, theirs):
        path.write_bytes(b"half")
    zr.build(zones, store, **OPTIONS)
    assert theirs.exists()
    assert not ours.exists()


@pytest.mark.parametrize("verb", [zr.run, zr.finish, zr.status, zr.verify, zr.info, zr.zones])
def test_a_place_without_a_store_is_said_to_be_none_and_nothing_is_made(
    tmp_path: Path, verb: Any
) -> None:
    with pytest.raises(zr.StoreError, match="typo"):
        verb(tmp_path / "typo")
    (tmp_path / "file").write_bytes(b"no folder")
    with pytest.raises(zr.StoreError, match="file is a file, not the folder of a store"):
        verb(tmp_path / "file")
    assert files(tmp_path) == {"file": b"no folder"}


def test_a_build_that_fails_on_its_input_leaves_no_new_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "deep/new", "empty"):
        for verb in (zr.build, zr.plan, part_of_build):
            with pytest.raises(zr.ZonesError, match="not unique"):
                verb(pair([1, 1, 2]), tmp_path / name, **OPTIONS)
            with pytest.raises(zr.StoreError, match="needs a grid"):
                verb(pair([1, 2, 3]), tmp_path / name, key="k")
    assert files(tmp_path) == {"empty": b""}


def test_a_file_is_no_place_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(zr.StoreError, match="is a file: a store needs an empty or new folder"):
        zr.build(pair([1, 2, 3]), tmp_path / "file", **OPTIONS)


def test_a_grid_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(zr.GridError, match="cannot tell the grid of a ndarray: give a Grid"):
        zr.build(pair([1, 2, 3]), tmp_path / "new", grid=np.zeros((2, 2)), key="k")


# ---- objects that are lost -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of a file of zones."""
    folder = tmp_path_factory.mktemp("whole")
    pair(["a", "b", "off"]).to_parquet(folder / "zones.parquet")
    zr.build(folder / "zones.parquet", folder / "zones.zarr", **OPTIONS)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    ["lost", *(pytest.param(damage, marks=pytest.mark.slow) for damage in ("empty", "cut"))],
)
@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_lost_or_torn_is_named_by_verify_and_put_back_by_build(
    whole: Path, tmp_path: Path, name: str, damage: str
) -> None:
    store = tmp_path / "zones.zarr"
    shutil.copytree(whole / "zones.zarr", store)
    before, path = tree(store), store / name
    data = path.read_bytes()
    path.unlink()
    if damage != "lost":
        path.write_bytes(b"" if damage == "empty" else data[: len(data) // 2])
    said = error_of(lambda: zr.verify(store))
    if said:
        assert "build again" in said
    else:
        found = zr.verify(store)
        assert name in (found.missing if damage == "lost" else found.damaged)
        assert not found.ok
    # Either the table that is right, or an error that names the cure.
    said = error_of(lambda: zr.zonal_stats(store))
    assert "build again" in said or zr.zonal_stats(store).index.tolist() == ["a", "b", "off"]
    report = zr.build(whole / "zones.parquet", store, **OPTIONS)
    assert report.burned == 0
    assert tree(store) == before
    assert zr.verify(store).ok


def test_a_zone_table_that_is_not_as_counted_is_named(whole: Path, tmp_path: Path) -> None:
    store = tmp_path / "zones.zarr"
    shutil.copytree(whole / "zones.zarr", store)
    table = geopandas.read_parquet(store / "zones.parquet")
    table.loc[0, "owned"] += 1
    table.to_parquet(store / "zones.parquet")
    assert zr.verify(store).damaged == ("zones.parquet",)


@pytest.mark.slow
def test_a_lost_spec_and_another_grid_leave_no_receipt_of_before(tmp_path: Path) -> None:
    zones, store = pair(["a", "b", "c"]), tmp_path / "zones.zarr"
    zr.build(zones, store, **OPTIONS)
    expected = zr.open(store)["zone"].to_numpy()
    spec = store / PRIVATE / "spec.json"
    other = {**OPTIONS, "chunks": 2}
    spec.unlink()
    zr.plan(zones, store, **other)
    zr.run(store, part=(1, 2))
    spec.unlink()
    # Trusting receipts: those of the first plan are gone with the chunks that they named.
    zr.build(zones, store, **OPTIONS, check=False)
    assert (zr.open(store)["zone"].to_numpy() == expected).all()
    assert zr.verify(store, deep=1.0).ok


@pytest.mark.slow
def test_ids_outlive_the_spec_and_the_table_of_keys(whole: Path, tmp_path: Path) -> None:
    for lost in (["spec.json"], ["keys.parquet"], ["keys.parquet", "spec.json"]):
        store = tmp_path / "_".join(lost)
        shutil.copytree(whole / "zones.zarr", store)
        for name in lost:
            (store / PRIVATE / name).unlink()
        later = pair(["new", "a", "off"])
        if "keys.parquet" in lost:
            with pytest.warns(zr.ZonerasterWarning, match=r"keys.parquet was lost or damaged"):
                zr.build(later, store, **OPTIONS)
        else:
            zr.build(later, store, **OPTIONS)
        assert zr.zones(store).set_index("k")["zone_id"].to_dict() == {"new": 4, "a": 1, "off": 3}


# ---- updates that fail ---------------------------------------------------------------------------

KEYS = [
    pa.array([0, 7, 9], pa.int64()), pa.array([0, 7, 9], pa.int32()),
    pa.array([0, 7, 9], pa.uint16()), pa.array([0, 7, 9], pa.uint64()),
    pa.array([0.0, 7.0, 9.0]), pa.array([Decimal(n) for n in (0, 7, 9)], pa.decimal128(18, 0)),
    pa.array([0, 7, 9], pa.int16()).dictionary_encode(),
]  # fmt: skip
TEXTS = [
    pa.array(["a", "b", "c"]), pa.array(["a", "b", "c"], pa.large_string()),
    pa.array(["a", "b", "c"], pa.string_view()), pa.array(["a", "b", "c"]).dictionary_encode(),
]  # fmt: skip


def typed(keys: pa.Array, border: float = 5) -> geopandas.GeoDataFrame:
    return pair(pd.Series(pd.arrays.ArrowExtensionArray(keys)), border)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [KEYS, TEXTS], ids=["numbers", "text"])
def test_keys_may_come_in_any_type_of_their_kind(tmp_path: Path, kind: list[pa.Array]) -> None:
    store = tmp_path / "zones.zarr"
    zr.build(typed(kind[0]), store, **OPTIONS)
    kept = (store / PRIVATE / "keys.parquet").read_bytes()
    for n, keys in enumerate(kind):
        assert zr.build(typed(keys, 4 + n % 2), store, **OPTIONS).n_zones == 3
        assert zr.zones(store)["zone_id"].tolist() == [1, 2, 3]
        assert (store / PRIVATE / "keys.parquet").read_bytes() == kept


@pytest.mark.parametrize(("first", "then"), [(KEYS, TEXTS), (TEXTS, KEYS)])
def test_keys_of_another_kind_are_refused_and_the_store_stays(
    tmp_path: Path, first: list[pa.Array], then: list[pa.Array]
) -> None:
    store = tmp_path / "zones.zarr"
    zr.build(typed(first[0]), store, **OPTIONS)
    before = tree(store)
    with pytest.raises(zr.ZonesError, match=r"keys are (text|whole numbers) \(.*give the same key"):
        zr.build(typed(then[0]), store, **OPTIONS)
    assert tree(store) == before


def test_a_key_that_cannot_be_stored_leaves_a_finished_store_as_it_was(tmp_path: Path) -> None:
    store = tmp_path / "zones.zarr"
    zr.build(pair(["a", "b", "c"]), store, **OPTIONS)
    before = tree(store)
    spans = pa.array([(1, 15, -30)] * 3, pa.month_day_nano_interval())
    bad = pair(pd.Series(pd.arrays.ArrowExtensionArray(spans)), 4)
    for place in (store, tmp_path / "new.zarr"):
        with pytest.raises(zr.ZonesError, match=r"column 'k' cannot be told: .*no month_day"):
            zr.build(bad, place, **OPTIONS)
    assert tree(store) == before
    assert not (tmp_path / "new.zarr").exists()


@pytest.mark.slow
def test_an_id_that_is_a_key_by_chance_is_given_to_no_other_zone(tmp_path: Path) -> None:
    store = tmp_path / "zones.zarr"
    for keys, ids in (([0, 5, 6], [1, 2, 3]), ([4, 0, 5], [4, 1, 2]), ([4, 9, 8], [4, 5, 6])):
        zr.build(pair(keys), store, **OPTIONS)
        assert zr.zones(store)["zone_id"].tolist() == ids


@pytest.mark.slow
def test_a_sound_store_in_any_reference_system_is_all_right_and_its_plan_is_reused(
    tmp_path: Path,
) -> None:
    # Parameters of more digits than WKT has: 46 degrees 57' 8.66", and feet of a survey.
    for code, (west, south) in {
        2056: (2.6e6, 1.2e6),
        2263: (9e5, 1e5),
        3003: (1.5e6, 4.5e6),
    }.items():
        box = shapely.box(west, south, west + 300, south + 300)
        zones = geopandas.GeoDataFrame({"k": ["a"]}, geometry=[box], crs=code)
        grid = zr.Grid.from_bounds((west, south, west + 1000, south + 1000), 100, f"EPSG:{code}")
        store = tmp_path / f"{code}.zarr"
        zr.build(zones, store, grid=grid, key="k", chunks=5)
        assert zr.verify(store).ok
        before = files(store)
        assert zr.plan(zones, store, grid=grid, key="k", chunks=5).reused
        assert files(store) == before


@pytest.mark.slow
def test_a_changed_parameter_of_the_reference_system_is_damage(tmp_path: Path) -> None:
    box = shapely.box(2.6e6, 1.2e6, 2.6e6 + 300, 1.2e6 + 300)
    zones = geopandas.GeoDataFrame({"k": ["a"]}, geometry=[box], crs=2056)
    grid = zr.Grid.from_bounds((2.6e6, 1.2e6, 2.601e6, 1.201e6), 100, "EPSG:2056")
    store = tmp_path / "zones.zarr"
    zr.build(zones, store, grid=grid, key="k", chunks=5)
    path = store / "spatial_ref" / "zarr.json"
    sound = path.read_text()
    for old, new in (
        ("46.95240555555556", "46.95240556555556"),  # a number
        ('Bessel 1841\\",6377397.155', 'Bessel 1841\\",6377398.155'),  # in the text
        ("PROJCRS[", "PROJCRS"),  # a text that is none
    ):
        assert old in sound
        path.write_text(sound.replace(old, new))
        assert zr.verify(store).damaged == ("spatial_ref/zarr.json",)


def test_a_tree_over_neighbours_finds_what_a_tree_over_all_parts_finds() -> None:
    rng = np.random.default_rng(5)
    for n in (0, 1, 63, 64, 65, 1000):
        corner = rng.uniform(0, 1000, (n, 2)).round(int(rng.integers(0, 3)))
        boxes = np.hstack([corner, corner + rng.exponential(20, (n, 2))])
        tree, whole = PartTree(boxes), shapely.STRtree(shapely.box(*boxes.T))
        for _ in range(20):
            a, b = np.sort(rng.uniform(0, 1000, (2, 2)).round(1), axis=0)
            window = (*a.tolist(), *b.tolist())
            wanted = np.sort(whole.query(shapely.box(*window)))
            assert tree.query(window).tolist() == wanted.tolist()
