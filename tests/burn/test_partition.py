"""Edges to chunks: who gets what, and what cancels."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.burn.test_spans import ring_arrays
from tests.oracles import star
from zoneraster._burn.edges import edges_in_rows
from zoneraster._burn.partition import partition_edges
from zoneraster._burn.rule import crossing


def parted(points: list[tuple[float, float]], *, width: int = 12, rows: tuple[int, int] = (0, 12)):
    """Records of one part on chunks of 4 x 4."""
    rings = ring_arrays(points)
    edges, offsets = edges_in_rows(
        rings.u, rings.v, rings.ring_offsets, rings.part_offsets, np.array([0]), *rows
    )
    return edges, partition_edges(edges, offsets, *rows, width, 4, 4)


BOX = [(1.0, 1.0), (11.0, 1.0), (11.0, 11.0), (1.0, 11.0)]


def test_a_box_over_nine_chunks_has_one_full_chunk_and_no_edge_in_the_middle_columns() -> None:
    _, (part, chunk, full, edges, _, toggles, rows) = parted(BOX)
    assert part.tolist() == [0] * 9
    assert chunk.tolist() == list(range(9))
    assert full.tolist() == [False] * 4 + [True] + [False] * 4
    assert np.diff(edges).tolist() == [1, 0, 1, 1, 0, 1, 1, 0, 1]
    # Inside at the left boundary: rows 1-3 of the top chunks, 0-2 of the bottom ones.
    assert np.split(rows, toggles[1:-1])[1].tolist() == [1, 4]
    assert np.split(rows, toggles[1:-1])[7].tolist() == [0, 3]


def test_a_part_inside_one_chunk_leaves_no_toggle_anywhere() -> None:
    _, (_, chunk, full, _, index, _, rows) = parted([(5.0, 5.0), (7.0, 5.0), (6.0, 7.5)])
    assert chunk.tolist() == [4]
    assert not full.any()
    assert rows.size == 0
    assert index.size == 2


def test_a_part_of_one_chunk_is_one_record_near_its_sides_as_far_from_them() -> None:
    for west, east in ((27, 33), (20.25, 39.25), (22, 38), (21.99, 38.01)):
        rings = ring_arrays([(west, west), (east, west), (east - 1, east)])
        edges, offsets = edges_in_rows(
            rings.u, rings.v, rings.ring_offsets, np.array([0, 1]), np.array([0]), 0, 60
        )
        _, chunk, full, ptr, index, _, rows = partition_edges(edges, offsets, 0, 60, 60, 20, 20)
        assert chunk.tolist() == [4]
        assert ptr.tolist() == [0, len(edges)]
        assert index.tolist() == [*range(len(edges))]
        assert full.tolist() == [False]
        assert rows.size == 0


def test_a_part_without_an_edge_in_the_rows_has_no_record() -> None:
    rings = ring_arrays([(5.0, 5.0), (7.0, 5.0), (6.0, 7.5)])
    edges, offsets = edges_in_rows(
        rings.u, rings.v, rings.ring_offsets, np.array([0, 1]), np.array([0, 0]), 20, 40
    )
    assert offsets.tolist() == [0, 0, 0]
    part, chunk, *_ = partition_edges(edges, offsets, 20, 40, 60, 20, 20)
    assert part.size == chunk.size == 0


def test_edges_along_a_border_of_rows_are_dropped_and_all_others_go_where_they_pass() -> None:
    edges, _ = parted([(1.0, 2.0), (9.0, 2.0), (5.0, 3.0)])
    assert edges[:, [1, 3]].tolist() == [[3.0, 2.0], [2.0, 3.0]]
    # Between two lines of centres: no crossing, and all three are there.
    edges, (_, chunk, full, ptr, index, _, rows) = parted([(1.0, 1.6), (9.0, 2.4), (5.0, 2.3)])
    assert edges.shape == (3, 4)
    assert chunk.tolist() == [0, 1, 2]
    assert not full.any()
    assert [index[a:b].size for a, b in itertools.pairwise(ptr)] == [2, 3, 2]
    assert rows.size == 0


def test_a_vertical_edge_on_a_border_of_chunks_goes_to_the_right() -> None:
    _, (_, chunk, _, ptr, *_) = parted([(4.0, 1.1), (6.0, 1.1), (6.0, 1.3), (4.0, 1.3)])
    assert chunk.tolist() == [1]
    assert ptr.tolist() == [0, 4]


def test_edges_that_go_down_have_the_inside_to_their_right_whichever_way_rings_turn() -> None:
    shell, hole = BOX, [(3.0, 3.0), (3.0, 5.0), (5.0, 5.0), (5.0, 3.0)]
    for outer in (shell, shell[::-1]):
        for inner in (hole, hole[::-1]):
            rings = ring_arrays(outer, inner)
            one_part = np.array([0, 2])
            edges, _ = edges_in_rows(
                rings.u, rings.v, rings.ring_offsets, one_part, np.array([0]), 0, 12
            )
            downward = {edge[0] for edge in edges.tolist() if edge[3] > edge[1]}
            assert downward == {1.0, 5.0}


def test_a_part_left_of_the_grid_reaches_in_and_one_right_of_it_does_not() -> None:
    _, (_, chunk, *_) = parted([(-9.0, 0.0), (4.0, 0.0), (4.0, 4.0), (-9.0, 4.0)])
    assert chunk.tolist()[0] == 0
    _, (_, chunk, *_) = parted([(13.0, 0.0), (19.0, 0.0), (19.0, 4.0), (13.0, 4.0)])
    assert chunk.size == 0


def test_a_grid_inside_a_part_is_all_full_also_where_its_last_chunks_are_cut() -> None:
    around = [(-5.0, -5.0), (50.0, -5.0), (50.0, 50.0), (-5.0, 50.0)]
    _, (_, chunk, full, *_) = parted(around, width=10, rows=(0, 10))
    assert chunk.tolist() == list(range(9))
    assert full.all()


def test_crossing_follows_the_formula_to_the_last_bit() -> None:
    u1, v1, u2, v2 = 700000.1, 3.3, 700004.7, 9.9
    for row in range(3, 9):
        expected = int(np.floor((row + 0.5 - v1) * (u2 - u1) / (v2 - v1) + u1 + 0.5))
        assert crossing(u1, v1, u2, v2, row) == expected


@given(seed=st.integers(0, 10**6), row0=st.sampled_from([0, 4, 8]))
def test_rows_planned_alone_give_the_same_records_as_the_whole_grid(seed: int, row0: int) -> None:
    rng = np.random.default_rng(seed)
    points = [tuple(p) for p in star(rng, (6, 6), 9, rng.integers(3, 12))]
    whole_edges, whole = parted(points)
    slab_edges, slab = parted(points, rows=(row0, row0 + 4))
    wanted = [k for k in range(whole[1].size) if whole[1][k] // 3 == row0 // 4]
    assert [int(whole[1][k]) % 3 for k in wanted] == slab[1].tolist()
    for k, j in zip(wanted, range(slab[1].size), strict=True):
        a = whole_edges[whole[4][whole[3][k] : whole[3][k + 1]]]
        b = slab_edges[slab[4][slab[3][j] : slab[3][j + 1]]]
        assert np.array_equal(a, b)
        assert whole[6][whole[5][k] : whole[5][k + 1]].tolist() == (
            slab[6][slab[5][j] : slab[5][j + 1]].tolist()
        )
