"""The whole way from a source to zones."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS, Transformer

from tests.zones.samples import BOWTIE, GRID, ODD, SQUARES, content, frame, says, shapes, write
from zoneraster._grid.grid import Grid
from zoneraster._zones.paths import file_digest
from zoneraster._zones.read import READINGS, read_stable_zones, read_zones, zone_rings


def test_another_key_or_place_or_grid_has_other_keys_or_rings() -> None:
    same = content(read_zones(frame(), GRID, key="gid"))
    moved = [*SQUARES[:2], shapely.box(2, 0, 3, 1.5)]
    coarse = Grid.from_bounds((0, 0, 10, 10), 2)
    assert content(read_zones(frame(gid=[1, 2, 4]), GRID, key="gid")) != same
    assert content(read_zones(frame(gid=["1", "2", "3"]), GRID, key="gid")) != same
    assert content(read_zones(frame(moved), GRID, key="gid")) != same
    assert content(read_zones(frame(), coarse, key="gid"), coarse) != same


def test_attributes_are_kept_in_input_order(tmp_path: Path) -> None:
    source = frame(gid=[3, 1, 2], name=["c", None, "b"], size=[1.5, 2.5, np.nan])
    for given in (source, write(source, tmp_path / "zones.parquet")):
        table = read_zones(given, GRID, key="gid").table
        assert table.column_names == ["gid", "name", "size"]
        assert table.to_pylist()[:2] == [
            {"gid": 3, "name": "c", "size": 1.5},
            {"gid": 1, "name": None, "size": 2.5},
        ]


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with says("GeoDataFrame: 0 zones; give a file"):
        read_zones(frame([], gid=[]), GRID, key="gid")
    with says("zones.gpkg: 0 zones"):
        read_zones(write(frame().iloc[:0], tmp_path / "zones.gpkg"), GRID)
    with says("0 zones left, all 1 rows were skipped"):
        read_zones(frame([None]), GRID, on_invalid="skip")


def test_an_unknown_on_invalid_is_refused() -> None:
    with says("on_invalid is 'ignore'", "'error', 'skip' or 'repair'"):
        read_zones(frame(), GRID, on_invalid="ignore")  # type: ignore[arg-type]


def test_spherical_edges_are_warned_of(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "zones.parquet")
    table = pq.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    geo["columns"]["geometry"]["edges"] = "spherical"
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    (note,) = read_zones(path, GRID).notes
    assert "zones.parquet declares spherical edges" in note


@pytest.mark.parametrize("crs", ["EPSG:4326", "OGC:CRS84", CRS(4326).to_wkt("WKT1_GDAL")])
def test_the_same_crs_keeps_every_bit(tmp_path: Path, crs: str) -> None:
    for source in (frame(ODD, crs), write(frame(ODD, crs), tmp_path / "zones.parquet")):
        assert shapes(read_zones(source, GRID))[0].wkb == ODD[0].wkb


def test_other_reference_systems_are_brought_to_the_grid(tmp_path: Path) -> None:
    swiss = shapely.box(2_600_000, 1_200_000, 2_610_000, 1_210_000)
    hole = shapely.Polygon(swiss.exterior, [swiss.centroid.buffer(100).exterior])
    two = shapely.MultiPolygon([shapely.box(2_620_000, 1_200_000, 2_621_000, 1_201_000), hole])
    grid = Grid.from_bounds((5, 45, 11, 48), "1/4000")
    zones = read_zones(frame([hole, None, two], 2056), grid, key="gid", on_invalid="skip")
    transformer = Transformer.from_crs(2056, 4326, always_xy=True)
    for old, new in zip((hole, two), shapes(zones), strict=True):
        expected = shapely.transform(old, lambda xy: np.stack(transformer.transform(*xy.T), axis=1))
        assert new.symmetric_difference(expected).area < 1e-3 * expected.area
        assert shapely.get_num_interior_rings(shapely.get_parts(new)).sum() == 1
    assert zones.row.tolist() == [0, 2]
    rings = zone_rings(zones, grid)
    assert rings.part_zone.tolist() == [0, 1, 1]


def test_a_place_that_cannot_be_projected_is_named() -> None:
    europe = Grid("EPSG:3035", (30, 0, 0, 0, -30, 0), (10, 10))
    antipode = shapely.Polygon([(-170, -52), (-169, -52), (-169, -51)])
    zones = frame([SQUARES[0], antipode, BOWTIE, antipode, SQUARES[1]])
    text = "vertex (-170, -52) has no place in the grid's CRS"
    with says("GeoDataFrame: cannot burn 2 of 5 rows: ", f"row 1 (key 2): {text}", "row 3 (key 4)"):
        read_zones(zones, europe, key="gid")
    found = read_zones(zones, europe, key="gid", on_invalid="skip")
    assert [(one.row, one.key) for one in found.skipped] == [(1, 2), (3, 4)]
    assert all(one.reason.startswith(text) for one in found.skipped)
    assert found.keys().to_pylist() == [1, 3, 5]
    assert found.row.tolist() == [0, 2, 4]
    assert found.invalid == (3,)
    # What is left is what the others give alone.
    alone = read_zones(frame([SQUARES[0], BOWTIE, SQUARES[1]]), europe, key="gid")
    assert np.array_equal(found.ragged.xy, alone.ragged.xy)
    assert found.wkb.equals(alone.wkb)
    with says("0 zones left, all 2 rows were skipped: row 0: vertex (-170, -52)"):
        read_zones(frame([antipode] * 2), europe, key="gid", on_invalid="skip")


def test_neighbours_stay_neighbours_after_reprojection() -> None:
    metres = Grid("EPSG:3035", (10, 0, 0, 0, -10, 6_000_000), (600_000, 600_000))
    corner = [shapely.Polygon([(x, 44), (x + 9, 44), (x + 9, 57), (x, 57)]) for x in (2, 11)]
    one, two = shapes(read_zones(frame(corner), metres))
    places = [set(map(tuple, shapely.get_coordinates(each))) for each in (one, two)]
    assert len(places[0] & places[1]) > 20
    assert one.intersection(two).area == 0
    assert shapely.is_valid([one, two]).all()


@pytest.mark.slow
def test_real_neighbours_stay_neighbours(data_dir: Path) -> None:
    path = data_dir / "swiss_municipalities_2025.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    grid = Grid.from_bounds((5, 45, 11, 48), "1/100000")

    def lonely(geometry: Any) -> int:
        """How many edges no other ring shares in the opposite direction."""
        edges: set[tuple[float, ...]] = set()
        for ring in shapely.get_rings(shapely.get_parts(geometry)):
            xy = shapely.get_coordinates(ring)
            edges |= set(map(tuple, np.concatenate([xy[:-1], xy[1:]], axis=1)))
        return sum((c, d, a, b) not in edges for a, b, c, d in edges)

    before = shapely.from_wkb(pq.read_table(path)["geometry"].to_numpy())
    after = shapes(read_zones(path, grid, key="zone_id"))
    n_before, n_after = (shapely.get_num_coordinates(each).sum() for each in (before, after))
    assert n_after > n_before
    # The outer border grows with its new points, the shared edges stay shared.
    assert lonely(after) - lonely(before) < (n_after - n_before) * 0.2


@pytest.mark.slow
def test_all_districts_of_the_world_are_read(data_dir: Path) -> None:
    path = data_dir / "geoboundaries_adm.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    zones = read_zones(path, GRID, key="zone_id")
    rings = zone_rings(zones, GRID)
    assert (zones.row.size, rings.u.size, rings.part_zone.size) == (142_896, 4_529_538, 198_285)


@contextmanager
def after_each_reading(act: Callable[[], object]) -> Iterator[None]:
    """Whatever reads zones says so when it has read them: then `act`."""
    log = logging.getLogger("zoneraster._zones.read")
    handler, level = logging.Handler(), log.level
    handler.emit = lambda record: act() if "rows skipped" in record.msg else None  # type: ignore[method-assign]
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "zones.parquet")
    new = write(frame(SQUARES[:2]), tmp_path / "new.parquet")
    with after_each_reading(lambda: new.replace(path) if new.exists() else None):
        zones, digest = read_stable_zones(path, GRID, digest=file_digest(path), key="gid")
    assert zones.row.size == 2
    assert digest == file_digest(path)


def test_a_file_that_keeps_changing_is_refused(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "zones.geojson")

    def grow() -> None:
        path.write_text(path.read_text() + " ")

    with (
        after_each_reading(grow),
        says(f"zones.geojson changed while it was read, {READINGS} times in a row", "build again"),
    ):
        read_stable_zones(path, GRID, digest=file_digest(path), key="gid")
