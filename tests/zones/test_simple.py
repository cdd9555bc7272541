"""What is called simple is valid to GEOS, and small simple polygons are called so."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import star
from zoneraster._zones.simple import is_surely_simple
from zoneraster._zones.wkb import walk_wkb


def judged(shapes: list[shapely.Geometry]) -> npt.NDArray[np.bool_]:
    walk = walk_wkb(pa.array(shapely.to_wkb(shapes, byte_order=1), pa.large_binary()))
    return is_surely_simple(walk.ragged, len(shapes))


# Few places, so that vertices meet, segments touch, and edges lie on each other.
places = st.tuples(st.integers(0, 4), st.integers(0, 4))


@given(st.lists(st.lists(places, min_size=3, max_size=9), min_size=1, max_size=20))
def test_nothing_that_geos_calls_invalid_is_called_simple(
    rings: list[list[tuple[int, int]]],
) -> None:
    shapes = [shapely.Polygon([*ring, ring[0]]) for ring in rings]
    simple = judged(shapes)
    assert not (simple & ~shapely.is_valid(shapes)).any()


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-9, 1.0, 1e9]), st.sampled_from([0.0, 1e6]))
def test_nor_where_vertices_all_but_touch(seed: int, size: float, far: float) -> None:
    rng = np.random.default_rng(seed)
    rings = rng.random((60, 6, 2))
    # A vertex on an edge of the same ring, give or take the last digit.
    along = rng.random((60, 1))
    rings[:, 4] = rings[:, 0] + along * (rings[:, 1] - rings[:, 0])
    rings = far + rings * size
    rings[::3, 4] = np.nextafter(rings[::3, 4], 0)
    shapes = [*shapely.polygons(rings)]
    assert not (judged(shapes) & ~shapely.is_valid(shapes)).any()


def test_small_polygons_are_simple_and_all_else_is_left_to_geos() -> None:
    rng = np.random.default_rng(3)
    stars = [shapely.Polygon(star(rng, (5.0, 5.0), 1.0, n)) for n in range(5, 48)]
    assert judged(stars).all()
    box = shapely.box(0, 0, 4, 4)
    left = [
        box - shapely.box(1, 1, 2, 2),
        shapely.MultiPolygon([box, shapely.box(6, 6, 7, 7)]),
        shapely.Point(0, 0).buffer(1),
        shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]),
        shapely.Polygon([(0, 0), (2, 0), (2, 0), (2, 2)]),
    ]
    assert not judged(left).any()
    assert judged([shapely.Polygon([(0, 0), (1, 0), (0, 1)]), box]).all()
