"""What several parts cover of a pixel: unions by shapely, whatever the chunks."""

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
from zoneraster._burn.cells import make_cells
from zoneraster._burn.rule import snap
from zoneraster._zones.rings import Rings

Canvas = npt.NDArray[np.float64]
Shapes = list[shapely.Geometry]
HEIGHT, WIDTH = 9, 11
SQUARES = np.array(
    [
        [shapely.box(c, HEIGHT - r - 1, c + 1, HEIGHT - r) for c in range(WIDTH)]
        for r in range(HEIGHT)
    ]
)
WHOLE = (HEIGHT, WIDTH)


def together(rings: Rings, chunks: tuple[int, int] = WHOLE, *, crossing: bool = False) -> Canvas:
    """What all zones cover as one, from the manifest, chunk by chunk."""
    for places in (rings.u, rings.v):
        snap(places)
    opened, cut = planned(rings, WHOLE, chunks)
    found = np.zeros(WHOLE)
    for chunk in opened.index.to_pylist():
        records = opened.records(chunk["row_group"])
        own = records.of_chunk(chunk["first_record"], chunk["n_records"])
        window = cut.chunk_window(chunk["chunk_row"], chunk["chunk_col"])
        corner = (window.row0, window.col0, window.height, window.width)
        number = np.zeros(own.zone_id.size, np.int64)
        may_cross = np.full(number.size, crossing)
        for r, a, b, _, share in zip(*make_cells(number, *own[3:], corner, may_cross), strict=True):
            at = (window.row0 + r, slice(window.col0 + a, window.col0 + b))
            assert not found[at].any(), "stretches do not overlap"
            found[at] = share
    return found


def covered(shapes: Shapes, chunks: tuple[int, int] = WHOLE) -> Canvas:
    return together(rings_of(np.array(shapes, object), unit_grid(*WHOLE)), chunks)


def snapped(points: Canvas) -> Canvas:
    """As the burn rule takes them."""
    half = np.round(points * 2) / 2
    return np.where(np.abs(points - half) <= 2.0**-20, half, points)


def union_of(shapes: Shapes) -> Canvas:
    """Area of the union in each pixel, by shapely."""
    places = shapely.make_valid(shapely.transform(np.array(shapes, object), snapped))
    return np.asarray(shapely.area(shapely.intersection(SQUARES, shapely.union_all(places))))


def polygons_of(shape: shapely.Geometry) -> Shapes:
    """A multipolygon of what has an area; none where nothing has."""
    parts = shapely.get_parts(shapely.make_valid(shape))
    parts = [part for part in parts if part.geom_type == "Polygon" and part.area > 1e-9]
    return [shapely.MultiPolygon(parts)] if parts else []


def random_polygon(rng: np.random.Generator) -> shapely.Geometry:
    """Boxes off and on the lattice, slivers, stars with holes, stars on it, frames, stars."""
    at, size, kind = rng.uniform((0, 0), (12, 9)), 10 ** rng.uniform(-1, 0.9), rng.integers(8)
    if kind < 2:
        corner = at if kind else np.round(at * 2) / 2
        return shapely.box(*corner, *(corner + rng.integers(1, 9, 2) / 2))
    if kind == 2:
        return shapely.Polygon([at, at + size, at + size + [0, 1e-3 * rng.random()]])
    if kind == 3:
        outer, inner = (
            shapely.make_valid(shapely.Polygon(star(rng, tuple(at), radius, n)))
            for radius, n in ((size, 8), (size / 2, 6))
        )
        return shapely.difference(outer, inner)
    if kind == 4:
        return shapely.Polygon(np.round(np.array(star(rng, tuple(at), size, 7)) * 2) / 2)
    if kind == 5:
        hole = shapely.box(*(at + size * 0.2), *(at + size * 0.8))
        return shapely.difference(shapely.box(*at, *(at + size)), hole)
    return shapely.Polygon(star(rng, tuple(at), size, int(rng.integers(3, 20))))


def tiling(rng: np.random.Generator, n: int) -> Shapes:
    points = shapely.MultiPoint(rng.uniform((0, 0), (WIDTH, HEIGHT), (n, 2)))
    area = shapely.box(0, 0, WIDTH, HEIGHT)
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=area))
    return list(shapely.intersection(cells, area))


@pytest.mark.parametrize("seed", range(30))
def test_shares_are_areas_of_unions_whatever_the_chunks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = [
        shape for _ in range(rng.integers(2, 25)) for shape in polygons_of(random_polygon(rng))
    ]
    if seed % 3 == 0:
        shapes += shapes[:5]
    if seed % 4 == 0:
        shapes += tiling(rng, 12)
    found = covered(shapes)
    assert found == pytest.approx(union_of(shapes), abs=1e-9)
    assert found.max() <= 1
    for chunks in ((1, 1), (3, 2), (4, 11)):
        assert covered(shapes, chunks) == pytest.approx(found, abs=1e-12)


# Anywhere, on borders and centres of pixels, and close to each other.
places = st.floats(-1, 12) | st.integers(-1, 12) | st.integers(-2, 24).map(lambda n: n / 2)
points = st.lists(st.tuples(places, places), min_size=3, max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(points, min_size=2, max_size=5),
    st.lists(st.integers(0, 4), max_size=3),
    st.tuples(st.integers(1, 9), st.integers(1, 11)),
)
@pytest.mark.slow
def test_any_polygons_are_united(
    rings: list[list[tuple[float, float]]], again: list[int], chunks: tuple[int, int]
) -> None:
    shapes = [shape for ring in rings for shape in polygons_of(shapely.Polygon(ring))]
    shapes += [shapes[i] for i in again if i < len(shapes)]
    if not shapes:
        return
    found = covered(shapes)
    # Places of parts that make_valid has made are rounded, and snapped by a millionth of a pixel.
    assert found == pytest.approx(union_of(shapes), abs=1e-5)
    assert covered(shapes, chunks) == pytest.approx(found, abs=1e-12)


def test_the_same_twice_covers_once_and_neighbours_cover_all() -> None:
    rng = np.random.default_rng(4)
    shapes = tiling(rng, 40)
    whole = covered(shapes)
    # Where all edges are those of two neighbours there is no rounding.
    assert (whole == 1).all()
    assert covered([*shapes, *shapes[::2]]) == pytest.approx(whole, abs=1e-12)
    alone = [shape for _ in range(6) for shape in polygons_of(random_polygon(rng))]
    assert covered([*alone, *alone]) == pytest.approx(union_of(alone), abs=1e-12)
    for shape in alone:
        assert covered([shape, shape]) == pytest.approx(covered([shape]), abs=1e-12)
    # Neighbours, one of which has vertices on the border that the other has not.
    left = shapely.Polygon([(1, 1), (4.3, 0.4), (5.9, 6.2), (2, 7)])
    right = shapely.Polygon([(4.3, 0.4), (9, 1), (8, 7), (5.9, 6.2), (5.1, 3.3)])
    assert covered([left, right]) == pytest.approx(covered([left]) + covered([right]), abs=1e-9)


def test_parts_of_a_zone_that_lie_over_each_other_are_united() -> None:
    shapes = [shapely.box(2.2, 3.1, 2.7, 3.6), shapely.box(2.5, 3.3, 2.9, 3.9)]
    both = shapely.MultiPolygon(shapes)
    # 0.25 and 0.24, less 0.2 x 0.3 which they share.
    assert covered([both])[5, 2] == pytest.approx(0.43, abs=1e-12)


def test_each_part_is_even_odd_in_a_union() -> None:
    # A ring around a square that it winds around twice, in one pixel with a box over both.
    twice = [(1.1, 1.1), (1.9, 1.1), (1.9, 1.9), (1.1, 1.9), (1.1, 1.1),
             (1.3, 1.3), (1.7, 1.3), (1.7, 1.7), (1.3, 1.7), (1.3, 1.3)]  # fmt: skip
    box = [(1.0, 1.0), (1.5, 1.0), (1.5, 2.0), (1.0, 2.0)]
    # The ring without its middle, 0.48, and of the box what is not in it: 0.5 less 0.24.
    found = together(ring_arrays(twice, box))
    assert found[1, 1] == pytest.approx(0.48 + 0.5 - 0.24, abs=1e-12)
    # Both loops of a bow tie count, though the ring turns in each another way.
    bow = [(3.1, 3.1), (3.9, 3.7), (3.9, 3.1), (3.1, 3.9)]
    loops = shapely.make_valid(shapely.Polygon(bow)).area
    assert together(ring_arrays(bow, bow[::-1]))[3, 3] == pytest.approx(loops, abs=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_rings_that_cross_themselves_are_united_even_odd(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rings = [rng.uniform((0, 0), (11, 9), (rng.integers(3, 8), 2)) for _ in range(5)]
    rings += [star(rng, (5.5, 4.5), 4, 7), rings[0]]
    places = ring_arrays(*([tuple(at) for at in ring] for ring in rings))
    shapes = [shapely.Polygon(ring * (1, -1) + (0, HEIGHT)) for ring in rings]
    right = union_of([shapely.make_valid(shape) for shape in shapes])
    for chunks in (WHOLE, (3, 2)):
        assert together(places, chunks, crossing=True) == pytest.approx(right, abs=1e-9)


def test_unions_are_exact_far_from_the_corner_of_the_grid() -> None:
    row0, col0 = 700_000, 1_400_000
    first = np.array([(3.25, 2.5), (9.75, 4.125), (6.5, 10.875), (3.25, 2.5)])
    second = np.array([(4.5, 3.75), (11.25, 3.5), (5.125, 8.625), (4.5, 3.75)])
    edges = np.vstack([np.hstack([r[1:], r[:-1]]) + [col0, row0] * 2 for r in (first, second)])
    _, begin, end, _, share = make_cells(
        np.zeros(2, np.int64), np.zeros(2, bool), np.array([0, 3, 6]), edges,
        np.zeros(3, np.int64), np.zeros(0, np.int32), (row0, col0, 12, 12), np.zeros(2, bool),
    )  # fmt: skip
    expected = shapely.union(shapely.Polygon(first), shapely.Polygon(second)).area
    assert ((end - begin) * share).sum() == pytest.approx(expected, rel=1e-13)


def crowds() -> dict[str, Shapes]:
    """Thousands of edges in one pixel."""
    rng = np.random.default_rng(0)
    n = 50 if numba.config.DISABLE_JIT else 500
    angle = rng.uniform(0, 2 * np.pi, n)
    reach = 0.4 * np.stack([np.cos(angle), np.sin(angle)], 1)
    houses = rng.uniform(4.01, 4.98, (8 * n, 2))
    stars = [star(rng, tuple(rng.uniform(4.05, 4.95, 2)), 0.3 * rng.random(), 5) for _ in angle]
    return {
        "stars": [shape for ring in stars for shape in polygons_of(shapely.Polygon(ring))],
        "houses": [shapely.Point(*at).buffer(0.004, quad_segs=1) for at in houses],
        "needles": [
            shapely.Polygon([4.5 + way, 4.5 - way, 4.501 - way]) for way in reach
        ],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["stars", "houses", "needles"])
def test_a_crowd_in_a_pixel_is_united_in_time(name: str) -> None:
    shapes = crowds()[name]
    covered(shapes[:2])  # compiled
    begun = time.perf_counter()
    found = covered(shapes)
    assert time.perf_counter() - begun < 20
    assert found == pytest.approx(union_of(shapes), abs=1e-9)
