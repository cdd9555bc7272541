"""Blocks, chunks and batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.grid.samples import small_grid
from zoneraster._grid import grid as grid_module
from zoneraster._grid.chunking import Chunking, block_window, blocks_of, blocks_under, n_blocks
from zoneraster._grid.grid import Grid
from zoneraster._grid.windows import Window
from zoneraster.errors import GridError

# ---- blocks ------------------------------------------------------------------------------------


def test_blocks_are_counted_from_the_corner():
    assert [n_blocks(size, 4) for size in (1, 4, 5, 8)] == [1, 1, 2, 2]
    assert blocks_of(0, 4, 4) == range(1)
    assert blocks_of(3, 5, 4) == range(2)
    assert blocks_of(8, 9, 4) == range(2, 3)
    assert blocks_of(-5, 1, 4) == range(-2, 1)
    assert blocks_of(4, 4, 4) == range(1, 1)
    assert blocks_under(Window(3, 5, 8, 9), (4, 8)) == (range(2), range(1, 2))
    assert block_window((0, 1), (4, 8), (10, 10)) == Window(0, 4, 8, 10)
    with pytest.raises(GridError, match="holds no pixel"):
        block_window((3, 0), (4, 8), (10, 10))


sides = st.integers(1, 9)


@given(st.integers(0, 40), st.integers(1, 40), sides)
def test_the_blocks_of_a_range_are_those_of_its_pixels(start, size, side):
    of_pixels = sorted({pixel // side for pixel in range(start, start + size)})
    assert list(blocks_of(start, start + size, side)) == of_pixels
    assert n_blocks(size, side) == len(blocks_of(0, size, side))


@given(st.tuples(sides, sides), st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_blocks_cover_a_shape_exactly_once(block_sides, shape):
    covered = np.zeros(shape, dtype=int)
    rows, cols = blocks_under(Window(0, shape[0], 0, shape[1]), block_sides)
    for i in rows:
        for j in cols:
            covered[block_window((i, j), block_sides, shape).slices] += 1
    assert (covered == 1).all()


# ---- chunks and batches ------------------------------------------------------------------------


def test_chunks_at_the_south_and_east_edge_are_cut():
    chunking = Chunking((10, 11), (4, 5), 2)
    assert (chunking.n_rows, chunking.n_cols) == (3, 3)
    assert (chunking.batch_rows, chunking.batch_cols, chunking.n_batches) == (2, 2, 4)
    assert chunking.chunk_window(0, 0) == Window(0, 4, 0, 5)
    assert chunking.chunk_window(2, 2) == Window(8, 10, 10, 11)
    assert chunking.batch_window(0) == Window(0, 8, 0, 10)
    assert chunking.batch_window(3) == Window(8, 10, 10, 11)
    assert chunking.batch_chunks(1) == (0, 2, 2, 3)
    assert chunking.batch_chunks(2) == (2, 3, 0, 2)
    assert [chunking.batch_of(i, j) for i in range(3) for j in range(3)] == [0, 0, 1] * 2 + [
        2,
        2,
        3,
    ]


def test_a_chunk_larger_than_the_grid_is_cut_to_it():
    chunking = Chunking.of(small_grid(), 4000)
    assert chunking == Chunking((2, 3), (4000, 4000), 1)
    assert chunking.chunk_window(0, 0) == Window(0, 2, 0, 3)


chunkings = st.builds(
    Chunking,
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.integers(1, 5),
)


@pytest.mark.slow
@given(chunkings)
def test_chunks_cover_the_grid_exactly_once_and_so_do_batches(chunking):
    in_chunks = np.zeros(chunking.shape, dtype=int)
    batch_by_chunk = np.full(chunking.shape, -1)
    for i in range(chunking.n_rows):
        for j in range(chunking.n_cols):
            window = chunking.chunk_window(i, j)
            in_chunks[window.slices] += 1
            batch_by_chunk[window.slices] = chunking.batch_of(i, j)
            assert (window.row0 // chunking.chunks[0], window.col0 // chunking.chunks[1]) == (i, j)
    in_batches = np.zeros(chunking.shape, dtype=int)
    for b in range(chunking.n_batches):
        window = chunking.batch_window(b)
        in_batches[window.slices] += 1
        assert (batch_by_chunk[window.slices] == b).all()
    assert (in_chunks == 1).all()
    assert (in_batches == 1).all()


@given(chunkings)
def test_a_batch_holds_the_chunks_that_name_it(chunking):
    for b in range(chunking.n_batches):
        i0, i1, j0, j1 = chunking.batch_chunks(b)
        assert {chunking.batch_of(i, j) for i in range(i0, i1) for j in range(j0, j1)} == {b}


@given(chunkings)
def test_batches_of_arrays_are_batches_of_their_elements(chunking):
    i, j = np.indices((chunking.n_rows, chunking.n_cols), dtype=np.int16)
    batches = chunking.batch_of(i, j)
    assert batches.dtype == np.int64
    assert batches.tolist() == [
        [chunking.batch_of(row, col) for col in range(chunking.n_cols)]
        for row in range(chunking.n_rows)
    ]


def test_batch_numbers_outgrow_the_dtype_of_their_indices():
    chunking = Chunking((100_000, 100_000), (10, 10), 1)
    index = np.array([9_999], dtype=np.int16)
    assert chunking.batch_of(index, index).tolist() == [99_999_999]


@pytest.mark.parametrize(
    ("rows", "cols", "batch"),
    [(64, 64, 8), (63, 56, 4), (57, 57, 8), (16, 16, 2), (8, 8, 1), (2, 3, 1)],
)
def test_batches_are_as_large_as_leaves_64_of_them(rows, cols, batch):
    grid = Grid("EPSG:3857", (1, 0, 0, 0, -1, 0), (rows * 10, cols * 10 - 1))
    assert Chunking.of(grid, 10).batch == batch


def test_the_globe_has_65_thousand_chunks_in_batches_of_64():
    chunking = Chunking.of(grid_module.GLOBAL_30M, 4000)
    assert (chunking.n_rows, chunking.n_cols, chunking.batch) == (180, 360, 8)
    assert chunking.n_batches == 23 * 45
    assert Chunking.of(grid_module.GLOBAL_30M, (10_000, 4000)).chunks == (10_000, 4000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((10, 10), (0, 4), 1), "chunks of 0 x 4 pixels in batches of 1: all of these must be at"),
        (((10, 10), (4, -4), 1), "chunks of 4 x -4 pixels"),
        (((10, 10), (4, "4"), 1), r"two \(rows, cols\), not \(4, '4'\), and batches a whole"),
        (((10, 10), (4,), 1), r"whole number of pixels, or two \(rows, cols\), not \(4,\)"),
        (((10, 10), (4.0, 4), 1), r"not \(4.0, 4\)"),
        (((10, 10), (4, 4), "2"), "and batches a whole number, not '2'"),
        (((10, 10), (4, 4), 0), "in batches of 0: all of these must be at least 1"),
        (((10, 0), (4, 4), 1), "10 rows x 0 columns: each must be 1 to"),
        (((10, 10), (2**15, 2**14 + 1), 1), "takes 2.0 GiB as uint32, the limit is 2 GiB: take sm"),
        (((10, 10), (10**6, 10**6), 1), "a chunk of 1000000 x 1000000 pixels takes 3725.3 GiB"),
    ],
)
def test_a_chunking_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(GridError, match=message):
        Chunking(*arguments)


def test_a_side_may_be_any_whole_number_and_nothing_else():
    grid = Chunking((10, 10), (4, 4), 1)
    assert Chunking.of(grid, np.int64(5)) == Chunking.of(grid, (5, np.uint8(5)))
    assert type(Chunking.of(grid, np.int64(5)).chunks[0]) is int
    for wrong in ("5", 5.0, None, (5, 5, 5)):
        with pytest.raises(GridError, match="chunks must be a whole number of pixels, or two"):
            Chunking.of(grid, wrong)


def test_the_largest_chunk_is_accepted():
    assert Chunking((10, 10), (2**15, 2**14), 1).n_batches == 1


def test_chunks_and_batches_that_are_not_there_are_refused():
    chunking = Chunking((10, 11), (4, 5), 2)
    for place in ((3, 0), (0, 3), (-1, 0), (0, -1)):
        with pytest.raises(GridError, match=r"there is no chunk \(.*\): rows are 0..2, columns 0"):
            chunking.chunk_window(*place)
    for batch in (-1, 4):
        for ask in (chunking.batch_window, chunking.batch_chunks):
            with pytest.raises(GridError, match=rf"there is no batch {batch}: batches are 0..3"):
                ask(batch)
