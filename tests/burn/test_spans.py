"""Spans, runs and counts, against pixels painted one by one."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import burned, claims, painted, rings_of, runs_of, snapped, star, unit_grid
from zoneraster._burn.frame import paint
from zoneraster._zones import Rings


def ring_arrays(*parts: list[tuple[float, float]]) -> Rings:
    """Parts of one zone each, in pixel coordinates."""
    closed = [np.array([*part, part[0]], float) for part in parts]
    sizes = np.cumsum([0, *(len(ring) for ring in closed)])
    xy = np.concatenate(closed)
    count = np.arange(len(parts) + 1)
    return Rings(xy[:, 0], xy[:, 1], sizes, count, count[:-1])


def one_box(u0: float, v0: float, u1: float, v1: float) -> str:
    """The 4 x 4 canvas of one box as text."""
    rings = ring_arrays([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])
    canvas, _ = burned(rings, (4, 4), (4, 4))
    return "/".join("".join(map(str, row)) for row in canvas.tolist())


def test_a_box_on_pixel_edges_fills_its_pixels() -> None:
    assert one_box(1, 1, 3, 2) == "0000/0110/0000/0000"


def test_a_centre_on_the_left_edge_is_out_and_on_the_right_edge_in() -> None:
    assert one_box(0.5, 0, 2.5, 1) == "0110/0000/0000/0000"


def test_a_centre_on_the_top_edge_is_in_and_on_the_bottom_edge_out() -> None:
    assert one_box(0, 0.5, 1, 2.5) == "1000/1000/0000/0000"


def test_a_zone_between_centres_has_no_pixel() -> None:
    assert one_box(1.6, 1.6, 2.4, 2.4) == "0000/0000/0000/0000"


def test_a_zone_that_sticks_out_of_the_grid_is_cut_at_its_edges() -> None:
    assert one_box(-7, -7, 2, 9) == "1100/1100/1100/1100"


def test_coordinates_near_the_largest_float_burn_the_canvas_they_cover() -> None:
    assert one_box(-1e300, -1e300, 1e300, 1e300) == "1111/1111/1111/1111"


def test_boxes_that_share_an_edge_through_centres_share_no_pixel() -> None:
    rings = ring_arrays(
        [(0, 0), (2.5, 0), (2.5, 4), (0, 4)],
        [(2.5, 0), (4, 0), (4, 2.5), (2.5, 2.5)],
        [(2.5, 2.5), (4, 2.5), (4, 4), (2.5, 4)],
    )
    canvas, counts = burned(rings, (4, 4), (4, 4))
    assert canvas.tolist() == [[1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 3], [1, 1, 1, 3]]
    assert [count[2] for count in counts.values()] == [0, 0, 0]


def test_a_hole_is_not_filled_and_overlapping_parts_of_a_zone_are_united() -> None:
    hole = shapely.Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], [[(1, 1), (3, 1), (3, 3), (1, 3)]])
    two = shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 1)])
    grid = unit_grid(4, 4)
    canvas, _ = burned(rings_of(np.array([hole]), grid), (4, 4), (4, 4))
    assert canvas.sum() == 12
    canvas, counts = burned(rings_of(np.array([two]), grid), (4, 4), (4, 4))
    assert canvas.sum() == 5
    assert counts == {1: (5, 5, 0)}


def test_the_last_zone_wins_and_every_claim_is_counted() -> None:
    rings = ring_arrays(
        [(0, 0), (3, 0), (3, 3), (0, 3)],
        [(1, 1), (4, 1), (4, 4), (1, 4)],
        [(2, 2), (3, 2), (3, 3), (2, 3)],
    )
    canvas, counts = burned(rings, (4, 4), (4, 4))
    assert canvas.tolist() == [[1, 1, 1, 0], [1, 2, 2, 2], [1, 2, 3, 2], [0, 2, 2, 2]]
    assert counts == {1: (9, 5, 4), 2: (9, 8, 4), 3: (1, 1, 1)}


def test_paint_is_the_inverse_of_runs() -> None:
    image = np.random.default_rng(3).integers(0, 3, (7, 9)).astype(np.uint16)
    out = np.full((4, 9), 77, np.uint16)
    run_ptr, start, value = runs_of(image)
    paint(run_ptr, start, value, 2, out)
    assert np.array_equal(out, image[2:6])


@given(
    seed=st.integers(0, 10**6),
    how=st.sampled_from(["half", "whole"]),
    chunk=st.sampled_from([(5, 7), (8, 8), (24, 20)]),
)
def test_stars_burn_as_exact_arithmetic_says_whatever_the_chunks(
    seed: int, how: str, chunk: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    shape = (24, 20)
    points = [
        snapped(star(rng, (rng.uniform(-3, 23), rng.uniform(-3, 27)), 14, rng.integers(3, 9)), how)
        for _ in range(4)
    ]
    rings = ring_arrays(*([tuple(p) for p in ring] for ring in points))
    expected, counts = painted([claims([ring], shape) for ring in points])
    canvas, found = burned(rings, shape, chunk)
    assert np.array_equal(canvas, expected)
    assert {z: c for z, c in found.items() if c[0]} == {z: c for z, c in counts.items() if c[0]}


@given(
    seed=st.integers(0, 10**6),
    how=st.sampled_from(["any", "half", "whole"]),
    chunk=st.sampled_from([(5, 7), (20, 20)]),
)
def test_triangles_that_fill_a_square_share_no_pixel_and_leave_none_out(
    seed: int, how: str, chunk: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    inner = snapped(rng.uniform(0, 20, (rng.integers(1, 25), 2)), how)
    corners = [(0, 0), (20, 0), (20, 20), (0, 20)]
    triangles = shapely.get_parts(
        shapely.delaunay_triangles(shapely.multipoints([*corners, *inner]))
    )
    canvas, counts = burned(rings_of(triangles, unit_grid(20, 20)), (20, 20), chunk)
    assert canvas.all()
    assert sum(claimed for claimed, _, _ in counts.values()) == 400
    assert not any(contested for _, _, contested in counts.values())


@given(
    seed=st.integers(0, 10**6),
    how=st.sampled_from(["any", "half", "whole"]),
    chunk=st.sampled_from([(5, 7), (8, 8)]),
)
def test_all_touched_is_the_same_for_all_chunks_and_contains_the_centre_rule(
    seed: int, how: str, chunk: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    shape = (24, 20)
    ring = snapped(star(rng, (10, 12), 16, rng.integers(3, 9)), how)
    rings = ring_arrays([tuple(p) for p in ring])
    canvas, _ = burned(rings, shape, chunk, touched=True)
    whole, _ = burned(rings, shape, shape, touched=True)
    centre, _ = burned(rings, shape, shape)
    assert np.array_equal(canvas, whole)
    assert (whole >= centre).all()


@given(seed=st.integers(0, 10**6))
def test_all_touched_burns_every_pixel_whose_interior_the_outline_meets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (12, 12)
    ring = star(rng, (6, 6), 7, 6)
    rings = ring_arrays([tuple(p) for p in ring])
    canvas, _ = burned(rings, shape, shape, touched=True)
    outline = shapely.LinearRing(ring)
    rows, cols = np.indices(shape)
    pixels = shapely.box(cols, rows, cols + 1, rows + 1)
    crossed = shapely.length(shapely.intersection(outline, pixels)) > 1e-9
    assert (canvas.astype(bool) >= crossed).all()


@pytest.mark.slow
def test_a_comb_with_thousands_of_teeth_in_a_row_burns_right() -> None:
    teeth = 3000
    u = np.repeat(np.arange(teeth + 1), 2)[1:-1] * 0.75
    v = np.tile([0.25, 2.75, 2.75, 0.25], teeth // 2)[: u.size]
    ring = np.concatenate([np.stack([u, v], 1), [[u[-1], 3.9], [u[0], 3.9]]])
    rings = ring_arrays([tuple(p) for p in ring])
    canvas, _ = burned(rings, (4, 2300), (4, 500))
    assert np.array_equal(canvas.astype(bool), claims([ring], (4, 2300)))
