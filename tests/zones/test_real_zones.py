"""Real and adversarial zones against GDAL's burn of the whole canvas, pixel for pixel."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
import zarr
from affine import Affine
from rasterio.features import rasterize

import zoneraster as zr
from tests.oracles import star
from tests.samples import tree
from zoneraster._burn.rule import snap
from zoneraster._grid.grid import Grid
from zoneraster._zones import objects_of
from zoneraster._zones.read import read_zones
from zoneraster.demo import counties_path

pytestmark = pytest.mark.slow


def pixels(store: Path) -> np.ndarray:
    return zarr.open_array(store / "zone", mode="r")[:]


def gdal(shapes: object, ids: object, grid: Grid) -> np.ndarray:
    pairs = zip(shapes, (int(i) for i in ids), strict=True)
    return rasterize(pairs, grid.shape, transform=grid.transform, dtype="uint32")


def holes(canvas: np.ndarray) -> int:
    """Pixels without a zone between the first and the last zone of both their row and column,
    all of whose 8 neighbours have one."""
    inside = canvas > 0
    ring = np.ones_like(inside[1:-1, 1:-1])
    for i in (0, 1, 2):
        for j in (0, 1, 2):
            if (i, j) != (1, 1):
                ring &= inside[i : inside.shape[0] - 2 + i, j : inside.shape[1] - 2 + j]
    return int((ring & ~inside[1:-1, 1:-1]).sum())


def on_centre_rows(canvas: np.ndarray, other: np.ndarray, zones: object, grid: Grid) -> bool:
    """Every differing pixel lies on a horizontal edge that runs through its row of centres."""
    rows, cols = np.nonzero(canvas != other)
    edges = set()
    for ring in shapely.get_rings(zones):
        u, v = grid.to_pixels(*shapely.get_coordinates(ring).T)
        snap(u)
        snap(v)
        for k in np.flatnonzero((v[1:] == v[:-1]) & (v[1:] % 1 == 0.5)):
            row = int(v[k])
            lo, hi = sorted((u[k], u[k + 1]))
            edges |= {(row, c) for c in range(int(np.floor(lo)), int(np.ceil(hi)) + 1)}
    return {(int(r), int(c)) for r, c in zip(rows, cols, strict=True)} <= edges


def test_us_counties_equal_gdal_share_no_pixel_and_leave_no_hole(tmp_path: Path) -> None:
    grid = Grid.from_bounds((-125, 24, -66, 50), "1/240", "EPSG:4269")
    zones = geopandas.read_parquet(counties_path())
    stores = []
    for chunks in (97, 128, 250, 1000, 14160):
        store = tmp_path / f"{chunks}.zarr"
        report = zr.build(zones, store, grid=grid, key="zone_id", chunks=chunks)
        assert report.contested == 0
        stores.append(pixels(store))
    expected = gdal(zones.geometry, zones["zone_id"], grid)
    assert all(np.array_equal(canvas, expected) for canvas in stores)
    # Lakes of less than a pixel are holes of the zones themselves: the union says how many.
    union = gdal([shapely.union_all(zones.geometry.to_numpy(), grid_size=0)], [1], grid)
    assert holes(expected) == holes(union)


def test_swiss_municipalities_equal_gdal_after_the_same_reprojection(
    tmp_path: Path, data_dir: Path
) -> None:
    source = data_dir / "swiss_municipalities_2025.parquet"
    grid = Grid.from_bounds((5.9, 45.8, 10.5, 47.9), "1/1000", "EPSG:4326")
    report = zr.build(source, tmp_path / "a.zarr", grid=grid, key="zone_id", chunks=333)
    assert report.contested == 0
    zones = read_zones(source, grid, key="zone_id")
    ids = zones.table["zone_id"].to_pylist()
    canvas = pixels(tmp_path / "a.zarr")
    assert np.array_equal(canvas, gdal(objects_of(zones.wkb), ids, grid))
    own = Grid.from_bounds((2_480_000, 1_070_000, 2_840_000, 1_300_000), 100, "EPSG:2056")
    report = zr.build(source, tmp_path / "b.zarr", grid=own, key="zone_id", chunks=500)
    assert report.contested == 0
    frame = geopandas.read_parquet(source)
    canvas = pixels(tmp_path / "b.zarr")
    assert np.array_equal(canvas, gdal(frame.geometry, frame["zone_id"], own))
    union = gdal([shapely.union_all(frame.geometry.to_numpy())], [1], own)
    assert holes(canvas) == holes(union)


def test_the_swiss_update_rewrites_only_what_changed_and_equals_a_fresh_build(
    tmp_path: Path, data_dir: Path
) -> None:
    old, new = (data_dir / f"swiss_municipalities_{year}.parquet" for year in (2025, 2026))
    grid = Grid.from_bounds((2_480_000, 1_069_990, 2_840_000, 1_300_000), 30, "EPSG:2056")
    options = {"grid": grid, "key": "zone_id", "chunks": 250}
    zr.build(old, tmp_path / "a.zarr", **options)
    before = tree(tmp_path / "a.zarr", what="zone/c")
    when = {key: (tmp_path / "a.zarr" / key).stat().st_mtime_ns for key in before}
    report = zr.build(new, tmp_path / "a.zarr", **options)
    zr.build(new, tmp_path / "fresh.zarr", **options)
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "fresh.zarr")
    after = tree(tmp_path / "a.zarr", what="zone/c")
    rewritten = {
        key for key in after if when.get(key) != (tmp_path / "a.zarr" / key).stat().st_mtime_ns
    }
    # Chunks that a changed zone touches, from the polygons alone.
    a, b = (geopandas.read_parquet(path).set_index("zone_id").geometry for path in (old, new))
    both = a.index.intersection(b.index)
    changed = both[~np.array([x.equals_exact(y, 0) for x, y in zip(a[both], b[both], strict=True)])]
    shapes = [*a[changed], *b[changed], *a.drop(both), *b.drop(both)]
    tree_of_changes = shapely.STRtree(shapes)
    side = 250 * 30
    near = set()
    for key in {*before, *after}:
        row, col = map(int, key.split("/")[-2:])
        x, y = 2_480_000 + col * side, 1_300_000 - row * side
        if tree_of_changes.query(shapely.box(x, y - side, x + side, y), "intersects").size:
            near.add(key)
    assert rewritten <= near
    assert 0 < report.burned == len(rewritten) < len(after)
    assert report.kept == len(after) - len(rewritten)


@pytest.mark.parametrize("kind", ["irrational", "half", "whole", "1e-4", "1e-5"])
def test_stars_at_column_700000_of_the_globe_equal_gdal(tmp_path: Path, kind: str) -> None:
    step, rng = 0.00025, np.random.default_rng(7)
    side, row0, col0 = 1500, 300_000, 700_000
    transform = Affine(step, 0, -180 + col0 * step, 0, -step, 90 - row0 * step)
    grid = Grid("EPSG:4326", transform, (side, side))
    shapes, rings = [], []
    for _ in range(600):
        ring = star(rng, tuple(rng.uniform(-20, side + 20, 2)), rng.uniform(1, 150), 12)
        if kind in {"half", "whole"}:
            ring = np.round(ring * 2) / 2 if kind == "half" else np.round(ring)
        rings.append(ring)
        lonlat = np.stack([(ring[:, 0] + col0) * step - 180, 90 - (ring[:, 1] + row0) * step], 1)
        shapes.append(
            shapely.Polygon(np.round(lonlat, int(kind[-1])) if kind[0] == "1" else lonlat)
        )
    ids = np.arange(1, len(shapes) + 1)
    zones = geopandas.GeoDataFrame({"zone_id": ids}, geometry=shapes, crs="EPSG:4326")
    expected = gdal(shapes, ids, grid)
    if kind in {"half", "whole"}:
        # GDAL takes the noise of degrees as it is; without it the rule is the same.
        local = [shapely.Polygon(ring) for ring in rings]
        expected = rasterize(zip(local, ids, strict=True), (side, side), dtype="uint32")
    for chunks in (97, 500):
        store = tmp_path / f"{chunks}.zarr"
        zr.build(zones, store, grid=grid, key="zone_id", chunks=chunks)
        canvas = pixels(store)
        if kind == "half":
            # GDAL gives a horizontal edge on a row of centres to both sides; we to one.
            assert np.count_nonzero(canvas != expected) < 0.0001 * canvas.size
            assert on_centre_rows(canvas, expected, shapes, grid)
        else:
            assert np.array_equal(canvas, expected)


def test_gdal_gives_a_horizontal_edge_on_a_row_of_centres_to_both_sides_and_we_to_one(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(3)
    grid = Grid("EPSG:3857", (1, 0, 0, 0, -1, 400), (400, 400))
    corner, size = rng.integers(0, 800, (300, 2)) / 2, rng.integers(1, 90, (300, 2)) / 2
    shapes = shapely.box(*corner.T, *(corner + size).T)
    ids = np.arange(1, 301)
    zones = geopandas.GeoDataFrame({"zone_id": ids}, geometry=shapes, crs="EPSG:3857")
    zr.build(zones, tmp_path / "a.zarr", grid=grid, key="zone_id", chunks=97)
    canvas, expected = pixels(tmp_path / "a.zarr"), gdal(shapes, ids, grid)
    assert np.count_nonzero(canvas != expected) == 2358
    assert on_centre_rows(canvas, expected, shapes, grid)


def test_italian_municipalities_with_broken_rings_burn_as_gdal_does_on_its_own(
    tmp_path: Path, data_dir: Path
) -> None:
    source = data_dir / "italy_municipalities_2022.parquet"
    grid = Grid.from_bounds((6, 35, 19, 48), "1/200", "EPSG:4326")
    report = zr.build(source, tmp_path / "a.zarr", grid=grid, key="zone_id", chunks=400)
    assert any("cross themselves" in text for text in report.warnings)
    frame = geopandas.read_parquet(source)
    assert np.array_equal(pixels(tmp_path / "a.zarr"), gdal(frame.geometry, frame["zone_id"], grid))
