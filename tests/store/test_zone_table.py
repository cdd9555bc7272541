"""The zone table: planned, closed once, and right wherever a build is killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal

import zoneraster as zr
from tests.samples import CHUNKS, GRID, KilledError, kill_at, sample_zones, tree
from zoneraster._store import zone_table

OPTIONS = {"grid": GRID, "key": "fid", "chunks": 250}


def renamed(zones: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """The same zones with other names and one of them elsewhere."""
    later = zones.copy()
    later["name"] = [f"later {name}" for name in zones["name"]]
    later.loc[2, "geometry"] = shapely.box(7, 7, 8, 8)
    return later


def is_finished(store: Path) -> bool:
    try:
        return zr.status(store).finished
    except zr.StoreError:  # a manifest without its spec
        return False


def test_the_zone_table_is_geoparquet_with_exact_keys(tmp_path: Path) -> None:
    zones = sample_zones(3)
    zones["big"] = np.array([2**53 + 1, 2**62 + 3, 5], np.int64)
    zones["claimed"] = ["a", "b", "c"]
    path = tmp_path / "zones.zarr"
    zr.build(zones, path, grid=GRID, key="big", chunks=CHUNKS)
    table = zr.zones(path)
    assert table["big"].tolist() == [2**53 + 1, 2**62 + 3, 5]
    assert table["zone_id"].tolist() == [1, 2, 3]
    assert table["claimed_input"].tolist() == ["a", "b", "c"]
    assert table.crs.to_epsg() == 4326
    assert table.geometry.geom_equals(zones.geometry).all()
    columns = pq.read_schema(path / "zones.parquet").names
    assert columns[-5:] == ["claimed", "owned", "contested", "area_m2", "geometry"]


def test_a_planned_store_has_a_zone_table_without_counts_and_nothing_public(tmp_path: Path) -> None:
    zones, store = sample_zones(5), tmp_path / "zones.zarr"
    zr.plan(zones, store, **OPTIONS)
    assert not (store / "zones.parquet").exists()
    assert zr.zones(store).columns.tolist() == ["zone_id", "fid", "name", "geometry"]
    zr.run(store)
    zr.finish(store)
    assert zr.zones(store)["owned"].sum() > 0
    assert not (store / ".zoneraster" / "zones.parquet").exists()
    before = tree(store)
    zr.finish(store)
    assert tree(store) == before


@pytest.mark.slow
def test_an_update_leaves_the_public_table_alone_until_it_is_finished(tmp_path: Path) -> None:
    zones, store = sample_zones(5), tmp_path / "zones.zarr"
    zr.build(zones, store, **OPTIONS)
    public = (store / "zones.parquet").read_bytes()
    zr.plan(renamed(zones), store, **OPTIONS)
    assert (store / "zones.parquet").read_bytes() == public
    assert zr.zones(store)["name"].str.startswith("later").all()
    zr.run(store)
    zr.finish(store)
    zr.build(renamed(zones), tmp_path / "fresh.zarr", **OPTIONS)
    assert tree(store) == tree(tmp_path / "fresh.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["new", "update", "attributes"])
def test_a_build_killed_at_any_change_has_a_whole_table_and_is_mended_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    old, new, is_update = sample_zones(5), renamed(sample_zones(5)), what != "new"
    if what == "attributes":
        # No chunk changes, and so the digest of the plan neither.
        new["geometry"] = old["geometry"]
    zr.build(new, tmp_path / "fresh.zarr", **OPTIONS)
    expected, store = tree(tmp_path / "fresh.zarr"), tmp_path / "zones.zarr"
    for n in range(200):
        shutil.rmtree(store, ignore_errors=True)
        if is_update:
            zr.build(old, store, **OPTIONS)
        with monkeypatch.context() as patch:
            kill_at(patch, n)
            try:
                zr.build(new, store, executor="serial", **OPTIONS)
            except KilledError:
                is_killed = True
            else:
                is_killed = False
        if is_update or (store / ".zoneraster" / "spec.json").exists():
            names = zr.zones(store)["name"].tolist()
            assert names in (old["name"].tolist(), new["name"].tolist())
            assert not is_finished(store) or "owned" in zr.zones(store)
            # Readers see the old zones, the new ones, or that the store is being changed.
            try:
                table = zr.zonal_stats(store, attributes=["name"])
            except zr.StoreError:
                pass
            else:
                assert table["name"].tolist() == names
        zr.build(new, store, **OPTIONS)
        assert tree(store) == expected, n
        if not is_killed:
            break
    assert 15 < n < 199


def test_a_store_planned_by_zoneraster_0_1_is_finished_with_its_public_table(
    tmp_path: Path,
) -> None:
    zones, store = sample_zones(5), tmp_path / "zones.zarr"
    zr.build(zones, tmp_path / "fresh.zarr", **OPTIONS)
    zr.plan(zones, store, **OPTIONS)
    planned = pq.read_table(store / ".zoneraster" / "zones.parquet")
    (store / ".zoneraster" / "zones.parquet").unlink()
    geo = {b"geo": planned.schema.metadata[b"geo"]}
    pq.write_table(planned.replace_schema_metadata(geo), store / "zones.parquet")
    assert zr.zones(store).columns.tolist() == ["zone_id", "fid", "name", "geometry"]
    zr.run(store)
    zr.finish(store)
    assert tree(store) == tree(tmp_path / "fresh.zarr")


def test_a_planned_table_of_another_plan_is_not_believed(tmp_path: Path) -> None:
    zones, store = sample_zones(5), tmp_path / "zones.zarr"
    zr.build(zones, store, **OPTIONS)
    before = tree(store)
    zr.plan(renamed(zones), tmp_path / "other.zarr", **OPTIONS)
    private = Path(".zoneraster") / "zones.parquet"
    shutil.copy(tmp_path / "other.zarr" / private, store / private)
    assert zr.zones(store)["name"].tolist() == zones["name"].tolist()
    assert "owned" in zr.zones(store)
    zr.finish(store)
    assert tree(store) == before


@pytest.mark.slow
def test_a_lost_table_is_named_with_the_cure_and_the_cure_works(tmp_path: Path) -> None:
    zones, store = sample_zones(5), tmp_path / "zones.zarr"
    zr.build(sample_zones(2), store, **OPTIONS)
    zr.plan(zones, store, **OPTIONS)
    zr.run(store)
    (store / ".zoneraster" / "zones.parquet").unlink()
    with pytest.raises(zr.CorruptStoreError, match=r"of an older plan: build again"):
        zr.finish(store)
    (store / "zones.parquet").unlink()
    with pytest.raises(zr.CorruptStoreError, match=r"is not there, it was lost: build again"):
        zr.finish(store)
    zr.build(zones, store, **OPTIONS)
    zr.build(zones, tmp_path / "fresh.zarr", **OPTIONS)
    assert tree(store) == tree(tmp_path / "fresh.zarr")


def test_a_damaged_planned_table_is_named(tmp_path: Path) -> None:
    zr.plan(sample_zones(2), tmp_path / "zones.zarr", **OPTIONS)
    (tmp_path / "zones.zarr" / ".zoneraster" / "zones.parquet").write_bytes(b"PAR1")
    with pytest.raises(zr.CorruptStoreError, match=r"zones\.parquet cannot be read .* build again"):
        zr.zones(tmp_path / "zones.zarr")


def test_geometry_beyond_what_one_array_holds_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_table, "_MAX_BYTES", 10)
    wkb = pa.array([b"1234", b"56", b"7890", b"", b"a" * 10, b"b"], pa.large_binary())
    cut = zone_table._short_binary(wkb)
    assert cut.to_pylist() == wkb.to_pylist()
    assert [len(chunk) for chunk in cut.chunks] == [4, 1, 1]
    assert cut.type == pa.binary()


def nested(depth: int) -> bytes:
    """WKB of collections within collections, on which GEOS overflows its stack."""
    head = b"\x01" + (7).to_bytes(4, "little") + (1).to_bytes(4, "little")
    return head * depth + b"\x01" + (7).to_bytes(4, "little") + bytes(4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wkb", [nested(100_000), b"", b"\x01\x03\x00\x00\x00\xff\xff\xff\xff", None, b"text"]
)
def test_geometry_of_a_table_of_others_never_reaches_geos_unread(
    tmp_path: Path, wkb: bytes | None
) -> None:
    store = tmp_path / "zones.zarr"
    zr.build(sample_zones(3), store, **OPTIONS)
    table = pq.read_table(store / "zones.parquet")
    column = pa.array([table["geometry"][0].as_py(), wkb, wkb], pa.binary())
    place = table.column_names.index("geometry")
    pq.write_table(table.set_column(place, "geometry", column), store / "zones.parquet")
    with pytest.raises(zr.CorruptStoreError, match=r"no polygon .* in 2 rows, first in row 1"):
        zr.zones(store)
    assert zr.verify(store).damaged == ("zones.parquet",)
    zr.build(sample_zones(3), store, **OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("geo", [b"{", b"[]", b"{}", b'{"columns": {"geometry": {"crs": 5}}}'])
def test_a_table_whose_metadata_is_damaged_is_named(tmp_path: Path, geo: bytes) -> None:
    store = tmp_path / "zones.zarr"
    zr.build(sample_zones(3), store, **OPTIONS)
    table = pq.read_table(store / "zones.parquet").replace_schema_metadata({b"geo": geo})
    pq.write_table(table, store / "zones.parquet")
    with pytest.raises(zr.CorruptStoreError, match=r"zone table of .* cannot be read .*: build ag"):
        zr.zones(store)


def test_the_frame_of_a_zone_table_is_the_one_that_geopandas_reads(tmp_path: Path) -> None:
    store = tmp_path / "zones.zarr"
    zr.build(sample_zones(3), store, **OPTIONS)
    expected = geopandas.read_parquet(store / "zones.parquet")
    assert_geodataframe_equal(zr.zones(store), expected)
    assert zr.zones(store).columns.tolist() == expected.columns.tolist()


@pytest.mark.slow
def test_zones_of_a_store_are_zones_of_another_any_number_of_times(tmp_path: Path) -> None:
    zones = sample_zones(3)
    for n in range(4):
        store = tmp_path / f"{n}.zarr"
        zr.build(zones, store, **OPTIONS)
        zones = zr.zones(store)
        assert zones.columns.tolist() == zr.zones(tmp_path / "0.zarr").columns.tolist()
        assert zr.zonal_stats(store).index.tolist() == [7, 14, 21]


def test_a_column_of_a_name_that_another_has_is_left_out_and_named(tmp_path: Path) -> None:
    zones = sample_zones(3)
    zones["other"] = 1
    zones = zones.rename(columns={"other": "name"})
    with pytest.warns(zr.ZonerasterWarning, match="1 column left out: 'name' .another column has"):
        zr.build(zones, tmp_path / "zones.zarr", **OPTIONS)
    assert zr.zones(tmp_path / "zones.zarr")["name"].tolist() == ["zone 0", "zone 1", "zone 2"]
    for option in ({"key": "name"}, {"priority": "name"}):
        with pytest.raises(zr.ZonesError, match="'name' cannot be told: another column has its na"):
            zr.build(zones, tmp_path / "other.zarr", **{**OPTIONS, **option})
