"""Exact fractions: areas by shapely, whatever the chunks."""

from __future__ import annotations

import time

import numba
import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.burn.test_spans import ring_arrays
from tests.oracles import planned, rings_of, star, unit_grid
from zoneraster._burn.cells import folded, make_cells, whole_cells
from zoneraster._burn.rule import snap
from zoneraster._burn.spans import make_spans
from zoneraster._zones.rings import Rings

Canvas = npt.NDArray[np.float64]
HEIGHT, WIDTH = 23, 31
SQUARES = np.array(
    [
        [shapely.box(c, HEIGHT - r - 1, c + 1, HEIGHT - r) for c in range(WIDTH)]
        for r in range(HEIGHT)
    ]
)


def covered(
    rings: Rings,
    chunks: tuple[int, int],
    shape: tuple[int, int] = (HEIGHT, WIDTH),
    *,
    crossing: bool = False,
) -> dict[int, Canvas]:
    """Fractions of each zone, from the manifest, chunk by chunk; rings may cross themselves."""
    for places in (rings.u, rings.v):
        snap(places)
    opened, cut = planned(rings, shape, chunks)
    found: dict[int, Canvas] = {}
    for chunk in opened.index.to_pylist():
        records = opened.records(chunk["row_group"])
        own = records.of_chunk(chunk["first_record"], chunk["n_records"])
        window = cut.chunk_window(chunk["chunk_row"], chunk["chunk_col"])
        corner = (window.row0, window.col0, window.height, window.width)
        ids, number = np.unique(own.zone_id, return_inverse=True)
        seen = np.zeros((ids.size, *shape), bool)
        may_cross = np.full(number.size, crossing)
        for r, a, b, z, share in zip(*make_cells(number, *own[3:], corner, may_cross), strict=True):
            assert 0 < share <= 1
            assert share == 1 or b == a + 1
            at = (window.row0 + r, slice(window.col0 + a, window.col0 + b))
            assert not seen[z][at].any(), "stretches of a zone do not overlap"
            seen[z][at] = True
            found.setdefault(int(ids[z]), np.zeros(shape))[at] = share
    return found


def areas_of(polygon: shapely.Geometry) -> Canvas:
    """Area of a polygon in each pixel of the unit grid, by shapely."""
    return np.asarray(shapely.area(shapely.intersection(polygon, SQUARES)))


# Anywhere, on borders and centres of pixels, on borders of chunks.
places = st.floats(-4, 34) | st.integers(-4, 34) | st.integers(-8, 68).map(lambda n: n / 2)
points = st.lists(st.tuples(places, places), min_size=3, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(points, min_size=1, max_size=3), st.tuples(st.integers(1, 12), st.integers(1, 12)))
@pytest.mark.slow
def test_fractions_are_areas_and_follow_no_chunks(
    polygons: list[list[tuple[float, float]]], chunks: tuple[int, int]
) -> None:
    shapes = [shapely.make_valid(shapely.Polygon(p)) for p in polygons]
    parts = [
        shapely.MultiPolygon([g for g in shapely.get_parts(s) if g.geom_type == "Polygon"])
        for s in shapes
    ]
    parts = [p for p in parts if p.area > 1e-6]
    if not parts:
        return
    rings = rings_of(np.array(parts, object), unit_grid(HEIGHT, WIDTH))
    whole = covered(rings, (HEIGHT, WIDTH))
    for zone, polygon in enumerate(parts, start=1):
        found = whole.get(zone, np.zeros((HEIGHT, WIDTH)))
        # Places are snapped by a millionth of a pixel at most.
        assert found == pytest.approx(areas_of(polygon), abs=1e-5)
    pieces = covered(rings, chunks)
    for zone in whole.keys() | pieces.keys():
        nothing = np.zeros((HEIGHT, WIDTH))
        assert pieces.get(zone, nothing) == pytest.approx(whole.get(zone, nothing), abs=1e-12)


@pytest.mark.slow
def test_stars_with_holes_and_many_vertices() -> None:
    rng = np.random.default_rng(11)
    for _ in range(40):
        outer = shapely.make_valid(shapely.Polygon(star(rng, (15, 12), 14, 60)))
        inner = shapely.make_valid(shapely.Polygon(star(rng, (15, 12), 6, 20)))
        rings = rings_of(
            np.array([shapely.difference(outer, inner)], object), unit_grid(HEIGHT, WIDTH)
        )
        expected = areas_of(shapely.difference(outer, inner))
        for chunks in ((HEIGHT, WIDTH), (7, 5), (1, 1)):
            assert covered(rings, chunks)[1] == pytest.approx(expected, abs=1e-9)


def test_far_from_the_corner_no_digit_is_lost() -> None:
    # Places of a million pixels have steps of 1e-10, but differences of them have none.
    row0, col0 = 700_000, 1_400_000
    near = np.array([(3.25, 2.5), (9.75, 4.125), (6.5, 10.875), (3.25, 2.5)])
    far = near + (col0, row0)
    edges = np.hstack([far[:-1], far[1:]])[::-1].copy()
    edges = edges[:, [2, 3, 0, 1]]
    n = np.array([0, 3])
    window = (row0, col0, 12, 12)
    nothing = np.zeros(2, np.int64)
    _, first, end, _, share = make_cells(
        np.zeros(1, np.int64),
        np.zeros(1, bool),
        n,
        edges,
        nothing,
        np.zeros(0, np.int32),
        window,
        np.zeros(1, bool),
    )
    area = ((end - first) * share).sum()
    assert area == pytest.approx(shapely.Polygon(near).area, rel=1e-14)


def test_neighbours_add_up_to_one() -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform((0, 0), (WIDTH, HEIGHT), (40, 2))
    area = shapely.box(0, 0, WIDTH, HEIGHT)
    cells = shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=area)
    zones = shapely.intersection(shapely.get_parts(cells), area)
    rings = rings_of(zones, unit_grid(HEIGHT, WIDTH))
    total = sum(covered(rings, (8, 8)).values())
    assert total == pytest.approx(np.ones((HEIGHT, WIDTH)), abs=1e-9)


def test_a_ring_that_crosses_itself_is_even_odd() -> None:
    bow = [(1.0, 1.0), (9.0, 7.0), (9.0, 1.0), (1.0, 7.0)]
    found = covered(ring_arrays(bow), (HEIGHT, WIDTH))[1]
    # Both lobes count, though the ring turns in each another way; they meet at (5, 4).
    assert found.sum() == pytest.approx(24, abs=0.5)
    assert found[3, 1] == found[3, 8] == 1
    twice = [(1.0, 1.0), (5.0, 1.0), (5.0, 5.0), (1.0, 5.0), (1.0, 1.0),
             (2.0, 2.0), (4.0, 2.0), (4.0, 4.0), (2.0, 4.0), (2.0, 2.0)]  # fmt: skip
    ring = covered(ring_arrays(twice), (HEIGHT, WIDTH))[1]
    assert ring.sum() == pytest.approx(16 - 4), "what is wound around twice is outside"


def windings(ring: npt.NDArray[np.float64], places: npt.NDArray[np.float64]) -> Canvas:
    """How often a closed ring winds around some places, by crossings to their right."""
    a, b, (x, y) = ring[:-1], ring[1:], places.T[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        at = a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
    up, down = (a[:, 1] <= y) & (b[:, 1] > y), (b[:, 1] <= y) & (a[:, 1] > y)
    return ((up.astype(int) - down) * (at > x)).sum(axis=1).astype(float)


def turning_ring(seed: int) -> tuple[npt.NDArray[np.float64], Canvas, Canvas]:
    """A ring that crosses itself, areas of the faces that it makes in each pixel, and its turns."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((1, 1), (WIDTH - 1, HEIGHT - 1), (rng.integers(4, 9), 2))
    if seed % 3 == 0:
        points = np.concatenate([points, points[: len(points) // 2 + 1]])  # there again
    ring = np.concatenate([points, points[:1]])
    # Rows count from the north.
    flat = np.stack([ring[:, 0], HEIGHT - ring[:, 1]], axis=1)
    faces = shapely.get_parts(shapely.polygonize([shapely.node(shapely.LineString(flat))]))
    inside = shapely.get_coordinates(shapely.point_on_surface(faces))
    return points, np.array([areas_of(face) for face in faces]), windings(flat, inside)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([(HEIGHT, WIDTH), (7, 5), (1, 1)]))
def test_a_ring_that_may_cross_itself_is_even_odd_in_every_pixel(
    seed: int, chunks: tuple[int, int]
) -> None:
    """The oracle nodes the ring and polygonizes it."""
    points, areas, turns = turning_ring(seed)
    rings = ring_arrays([tuple(one) for one in points])
    share = covered(rings, chunks, crossing=True).get(1, np.zeros((HEIGHT, WIDTH)))
    assert share == pytest.approx(areas[turns % 2 == 1].sum(axis=0), abs=1e-9)
    whole = covered(rings, (HEIGHT, WIDTH), crossing=True).get(1, np.zeros((HEIGHT, WIDTH)))
    assert share == pytest.approx(whole, abs=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([(HEIGHT, WIDTH), (7, 5)]))
def test_of_others_it_is_the_fold_of_the_mean_where_windings_are_further_apart_than_one(
    seed: int, chunks: tuple[int, int]
) -> None:
    points, areas, turns = turning_ring(seed)
    found = covered(ring_arrays([tuple(one) for one in points]), chunks)
    share = found.get(1, np.zeros((HEIGHT, WIDTH)))
    odd = areas[turns % 2 == 1].sum(axis=0)
    levels = np.concatenate([turns, [0.0]])[:, None, None]
    held = np.concatenate([areas, 1 - areas.sum(axis=0, keepdims=True)]) > 1e-9
    low, high = (np.where(held, levels, end) for end in (np.inf, -np.inf))
    is_plain = high.max(axis=0) - low.min(axis=0) <= 1
    assert share[is_plain] == pytest.approx(odd[is_plain], abs=1e-7)
    mean = (areas * turns[:, None, None]).sum(axis=0)
    expected = [folded(one) for one in mean[~is_plain]]
    assert share[~is_plain] == pytest.approx(expected, abs=1e-7)


def test_valid_polygons_cover_the_same_where_they_may_cross() -> None:
    rng = np.random.default_rng(6)
    shapes = [shapely.make_valid(shapely.Polygon(star(rng, (15, 12), 14, 60))) for _ in range(5)]
    frame = shapely.difference(shapely.box(3, 3, 20, 20), shapely.box(5.5, 6.25, 9, 9))
    rings = rings_of(np.array([*shapes, frame], object), unit_grid(HEIGHT, WIDTH))
    plain, followed = (covered(rings, (8, 8), crossing=crossing) for crossing in (False, True))
    assert plain.keys() == followed.keys()
    for zone, share in plain.items():
        assert followed[zone] == pytest.approx(share, abs=1e-12)


def test_a_ring_of_very_many_edges_in_a_pixel_is_followed_in_time() -> None:
    rng = np.random.default_rng(12)
    n = 600 if numba.config.DISABLE_JIT else 60_000
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    reach = 1.2 + 0.01 * rng.random(angle.size)
    coast = np.stack([4.5 + reach * np.cos(angle), 4.5 + reach * np.sin(angle)], axis=1)
    coast[n // 60] = coast[n // 46]  # a loop
    rings = ring_arrays([tuple(one) for one in coast])
    covered(rings, (HEIGHT, WIDTH), crossing=True)  # compiled
    begun = time.perf_counter()
    share = covered(rings, (HEIGHT, WIDTH), crossing=True)[1]
    assert time.perf_counter() - begun < 10
    flat = np.stack([coast[:, 0], HEIGHT - coast[:, 1]], axis=1)
    right = areas_of(shapely.make_valid(shapely.Polygon(flat)))
    assert share == pytest.approx(right, abs=1e-9)


def test_parts_of_a_zone_share_a_pixel_and_cover_it_once() -> None:
    left, right = shapely.box(2.2, 5, 2.6, 6), shapely.box(2.6, 5, 4, 6)
    both = shapely.MultiPolygon([left, right])
    found = covered(rings_of(np.array([both], object), unit_grid(HEIGHT, WIDTH)), (8, 8))[1]
    assert found[17, 2:4].tolist() == pytest.approx([0.8, 1])
    over = shapely.MultiPolygon([shapely.box(1, 5, 4, 6), shapely.box(2, 5, 3.5, 6)])
    found = covered(rings_of(np.array([over], object), unit_grid(HEIGHT, WIDTH)), (8, 8))[1]
    assert found[17, 1:5].tolist() == [1, 1, 1, 0]


def test_shares_are_folded() -> None:
    assert [folded(x) for x in (0.0, 1.0, 2.0, -1.0, 0.25, 1.75)] == [0, 1, 0, 1, 0.25, 0.25]


@pytest.mark.parametrize("touched", [False, True])
def test_whole_cells_are_the_union_of_a_zones_spans(touched: bool) -> None:
    rng = np.random.default_rng(7)
    polygons = [shapely.Polygon(star(rng, tuple(rng.uniform(2, 20, 2)), 9, 12)) for _ in range(6)]
    zones = np.array([shapely.MultiPolygon(polygons[i : i + 2]) for i in (0, 2, 4)], object)
    opened, _ = planned(rings_of(zones, unit_grid(HEIGHT, WIDTH)), (HEIGHT, WIDTH), (HEIGHT, WIDTH))
    own = opened.records(0)
    number = own.zone_id.astype(np.int64) - 1
    spans = make_spans(number, *own[3:], (0, 0, HEIGHT, WIDTH), touched)
    expected, counted = np.zeros((2, 3, HEIGHT, WIDTH), int)
    row = np.repeat(np.arange(HEIGHT), np.diff(spans[0]))
    for r, a, b, z in zip(row, *spans[1:], strict=True):
        expected[z, r, a:b] = 1
    for r, a, b, z, share in zip(*whole_cells(*spans), strict=True):
        counted[z, r, a:b] += 1
        assert share == 1
    assert np.array_equal(counted, expected)
