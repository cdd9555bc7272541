"""Projected edges stay where they were, and shared edges stay shared."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS, Transformer

from zoneraster._grid.grid import Grid
from zoneraster._zones import reproject
from zoneraster._zones.projection import Projection
from zoneraster._zones.reproject import reproject_rings
from zoneraster.errors import ZonesError

EUROPE = Grid("EPSG:3035", (30, 0, 2_000_000, 0, -30, 5_000_000), (150_000, 150_000))
WORLD = Grid.from_bounds((-180, -90, 180, 90), "1/4000")

Floats = npt.NDArray[np.float64]


def run(rings: list[object], source: object, grid: Grid) -> list[Floats]:
    arrays = [np.asarray(ring, float) for ring in rings]
    offsets = np.cumsum([0, *map(len, arrays)])
    projection = Projection.between(CRS(source), grid)
    brought = reproject_rings(np.concatenate(arrays), offsets, projection)
    if brought.failed:
        raise ZonesError(f"{brought.failed}")
    return [brought.xy[a:b] for a, b in itertools.pairwise(brought.ring_offsets)]


def deviation(ring: Floats, out: Floats, source: object, grid: Grid, n: int) -> float:
    """Largest distance in pixels from the true curve, by brute force, to the projected ring."""
    along = np.linspace(0, 1, n)[:, None, None]
    points = (ring[:-1] + along * (ring[1:] - ring[:-1])).reshape(-1, 2)
    transformer = Transformer.from_crs(source, grid.crs, always_xy=True)
    pixel = np.array([float(step) for step in grid.resolution])
    true = np.stack(transformer.transform(*points.T), axis=1) / pixel
    return float(shapely.distance(shapely.LineString(out / pixel), shapely.points(true)).max())


@pytest.mark.slow
def test_a_large_triangle_stays_within_a_tenth_of_a_pixel() -> None:
    ring = np.array([(0.0, 40.0), (25.0, 45.0), (10.0, 65.0), (0.0, 40.0)])
    (out,) = run([ring], "EPSG:4326", EUROPE)
    assert 1_000 < len(out) < 50_000
    assert deviation(ring, out, "EPSG:4326", EUROPE, 20_001) < 0.1
    # Without new points it would be off by more than 1000 pixels.
    bare = np.stack(Projection.between(CRS(4326), EUROPE).project(ring).T, axis=1)
    assert deviation(ring, bare, "EPSG:4326", EUROPE, 101) > 1_000


@pytest.mark.parametrize(("size", "step"), [(0.01, 30), (0.3, 30), (5.0, 300), (25.0, 3000)])
def test_how_far_edges_are_off_their_curves_is_measured(size: float, step: int) -> None:
    grid = Grid("EPSG:3035", (step, 0, 2_000_000, 0, -step, 5_000_000), (150_000, 150_000))
    ring = np.array([(5.0, 40.0), (5 + size, 40.0), (5 + size / 2, 40 + size), (5.0, 40.0)])
    brought = reproject_rings(ring, np.array([0, 4]), Projection.between(CRS(4326), grid))
    brute = deviation(ring, brought.xy, "EPSG:4326", grid, 2_001)
    assert 0.4 * brute < brought.deviation <= 1.01 * brute


def test_old_vertices_are_projected_as_they_are() -> None:
    ring = np.array([(0.0, 40.0), (25.0, 45.0), (10.0, 65.0), (0.0, 40.0)])
    (out,) = run([ring], "EPSG:4326", EUROPE)
    expected = Projection.between(CRS(4326), EUROPE).project(ring)
    assert {tuple(point) for point in expected} <= {tuple(point) for point in out}
    assert (out[0] == out[-1]).all()


def test_a_shared_edge_gets_the_same_points_in_both_directions() -> None:
    low, high = (5.1, 41.3), (17.7, 52.9)
    left = [low, high, (3.0, 50.0), low]
    right = [high, low, (20.0, 45.0), high]
    one, two = run([left, right], "EPSG:4326", EUROPE)
    shared_one = one[: np.flatnonzero((one == run_point(high)).all(axis=1))[0] + 1]
    shared_two = two[: np.flatnonzero((two == run_point(low)).all(axis=1))[0] + 1]
    assert len(shared_one) > 100
    assert (shared_one == shared_two[::-1]).all()


def run_point(point: tuple[float, float]) -> Floats:
    return Projection.between(CRS(4326), EUROPE).project(np.array([point]))[0]


def test_short_edges_get_no_points() -> None:
    ring = [(10.0, 50.0), (10.001, 50.0), (10.0, 50.001), (10.0, 50.0)]
    (out,) = run([ring], "EPSG:4326", EUROPE)
    assert len(out) == 4


def test_offsets_follow_the_rings_and_empty_rings_stay_empty() -> None:
    small = [(10.0, 50.0), (10.001, 50.0), (10.0, 50.001), (10.0, 50.0)]
    large = [(0.0, 40.0), (25.0, 45.0), (10.0, 65.0), (0.0, 40.0)]
    empty = np.empty((0, 2))
    alone = [run([ring], "EPSG:4326", EUROPE)[0] for ring in (small, large)]
    both = run([small, empty, large, small], "EPSG:4326", EUROPE)
    assert [len(ring) for ring in both] == [4, 0, len(alone[1]), 4]
    assert (both[2] == alone[1]).all()
    assert (both[3] == alone[0]).all()


@pytest.mark.parametrize("source", ["EPSG:4326", "EPSG:3857"])
def test_skipping_edges_by_one_probe_changes_nothing(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(7)
    centre = random.uniform((0, 40), (25, 60), (300, 1, 2))
    angle = np.linspace(0, 2 * np.pi, 8)[:, None]
    size = 10 ** random.uniform(-4, 0.3, (300, 1, 1))
    rings = centre + size * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    rings[:, -1] = rings[:, 0]
    if source != "EPSG:4326":
        transformer = Transformer.from_crs(4326, source, always_xy=True)
        rings = np.stack(transformer.transform(rings[..., 0], rings[..., 1]), axis=-1)
    skipping = run(list(rings), source, EUROPE)
    monkeypatch.setattr(reproject, "SHORT_PIXELS", 0.0)
    every = run(list(rings), source, EUROPE)
    assert all(np.array_equal(a, b) for a, b in zip(every, skipping, strict=True))


def test_a_vertex_without_a_place_is_named() -> None:
    ring = [(0.0, 10.0), (1.0, 10.0), (1.0, 95.0), (0.0, 10.0)]
    with pytest.raises(ZonesError, match=r"1: .vertex \(1, 95\) has no place in the grid's CRS"):
        run([[(0, 0), (1, 0), (1, 1), (0, 0)], ring], "EPSG:4326", EUROPE)


WORLD_OF_LOBES = Grid.from_bounds(
    (-20_000_000, -9_000_000, 20_000_000, 9_000_000), 50_000, "+proj=igh +datum=WGS84"
)


@pytest.mark.parametrize(
    ("west", "east"), [(-90.0, -10.0), (-40.4, -39.7), (-40.03, -39.98)], ids=str
)
def test_an_edge_over_a_tear_of_the_projection_is_refused(west: float, east: float) -> None:
    # The lobes of Goode's projection part at 40 W: places jump along the edge, and not off it.
    box = shapely.get_coordinates(shapely.box(west, 60, east, 61))
    with pytest.raises(ZonesError, match=r"cannot be followed into the grid's CRS: it crosses"):
        run([box], "EPSG:4326", WORLD_OF_LOBES)


def test_an_edge_inside_a_lobe_is_followed() -> None:
    box = shapely.get_coordinates(shapely.box(-35, 1, 70, 80))
    (out,) = run([box], "EPSG:4326", WORLD_OF_LOBES)
    assert deviation(box, out, "EPSG:4326", WORLD_OF_LOBES, 2_001) < 0.1


def test_edges_that_cannot_reach_the_grid_are_not_followed() -> None:
    here = Grid.from_bounds((2_000_000, 2_000_000, 2_100_000, 2_100_000), 1, "EPSG:3035")
    far = [(100.0, 40.0), (125.0, 45.0), (110.0, 65.0), (100.0, 40.0)]
    assert len(run([far], "EPSG:4326", here)[0]) == 4
    around = [(-60.0, 10.0), (70.0, 10.0), (70.0, 70.0), (-60.0, 70.0), (-60.0, 10.0)]
    assert 5 < len(run([around], "EPSG:4326", here)[0]) < 100
    # The grid is inside, and would not be within chords alone.
    over = [(-20.0, 30.0), (40.0, 30.0), (10.0, 71.0), (-20.0, 30.0)]
    assert len(run([over], "EPSG:4326", EUROPE)[0]) > 1_000


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:3995", "EPSG:5936"])
def test_a_pole_at_infinity_costs_nothing_and_is_named(crs: str) -> None:
    arctic = Grid.from_bounds((-4_000_000, -4_000_000, 4_000_000, 4_000_000), 25_000, crs)
    with pytest.raises(ZonesError, match=r"vertex \(.*-90\) has no place in the grid's CRS"):
        run([shapely.get_coordinates(shapely.box(-180, -90, 180, -60))], "EPSG:4326", arctic)
    (out,) = run(
        [shapely.get_coordinates(shapely.box(-180, -89.999, 180, -60))], "EPSG:4326", arctic
    )
    assert len(out) < 1_000


def test_an_edge_has_a_budget_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = [(0.0, 40.0), (25.0, 45.0), (10.0, 65.0), (0.0, 40.0)]
    monkeypatch.setattr(reproject, "MAX_PIECES", 8)
    with pytest.raises(ZonesError, match=r"the edge .* cannot be followed"):
        run([ring], "EPSG:4326", EUROPE)


@pytest.mark.slow
def test_real_municipalities_stay_within_a_tenth_of_a_pixel(data_dir: Path) -> None:
    path = data_dir / "swiss_municipalities_2025.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    column = pq.read_table(path, columns=["geometry"])["geometry"]
    polygons = shapely.get_parts(shapely.from_wkb(column.to_numpy()))
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_exterior_ring(polygons[::20])]
    # 1 m pixels, so that edges of a few kilometres bend.
    grid = Grid.from_bounds((5, 45, 11, 48), "1/100000")
    out = run(rings, "EPSG:2056", grid)
    assert sum(map(len, out)) > sum(map(len, rings))
    worst = [deviation(a, b, "EPSG:2056", grid, 33) for a, b in zip(rings, out, strict=True)]
    assert max(worst) < 0.1
