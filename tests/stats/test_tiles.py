"""Tasks and cells: every pixel in one of them, every chunk of a raster read in one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoneraster._grid import Window, blocks_near, blocks_under, n_blocks
from zoneraster._stats.blocks import hulls_of
from zoneraster._stats.tiles import Tiling, cells_of
from zoneraster._values import Placement

SIDE = 20_000
Places = Sequence[tuple[int, int]]


def placed(
    chunk: int, *, size: int = SIDE, row: int = 0, col: int = 0, factor: int = 1, lead: int = 0,
    near: int = 4000,
) -> Placement:  # fmt: skip
    """A square raster in square chunks, read in units of about `near` lattice pixels."""
    unit = blocks_near(chunk, max(1, near // factor))
    return Placement(factor, row, col, size, size, (unit, unit), (chunk, chunk), lead)


def all_chunks(shape: tuple[int, int], chunks: tuple[int, int]) -> Places:
    rows, cols = (n_blocks(n, c) for n, c in zip(shape, chunks, strict=True))
    return [(i, j) for i in range(rows) for j in range(cols)]


def reads(
    tiling: Tiling, rasters: Sequence[Placement], chunks: Iterable[tuple[int, int]]
) -> list[Counter[tuple[int, int]]]:
    """How often each chunk of each raster is read by all tasks, block by block."""
    counts: list[Counter[tuple[int, int]]] = [Counter() for _ in rasters]
    for parts in tiling.tasks_of(chunks).values():
        for (number, block), within in hulls_of(cells_of(parts, rasters)).items():
            raster = rasters[number]
            window = raster.block_window(block, within).moved(raster.lead, 0)
            rows, cols = blocks_under(window, raster.chunk)
            counts[number].update((i, j) for i in rows for j in cols)
    return counts


def once(counts: Counter[tuple[int, int]]) -> bool:
    return set(counts.values()) <= {1}


# ---- one read ----------------------------------------------------------------------------------

SIDES = (512, 1024, 2048, 4096, 4000, 2000, 5000, 3600, 256)
SPARSE = [(0, 0), (0, 3), (1, 1), (2, 4), (4, 0), (4, 4)]


@pytest.mark.parametrize("chunks", [all_chunks((SIDE, SIDE), (4000, 4000)), SPARSE])
@pytest.mark.parametrize("side", SIDES)
def test_chunks_of_any_side_are_read_once_by_many_tasks(side: int, chunks: Places) -> None:
    raster = placed(side)
    tiling = Tiling.of((SIDE, SIDE), (4000, 4000), [raster])
    assert tiling.n_tasks >= 16
    assert max(tiling.side) <= max(side, 4096)
    (counts,) = reads(tiling, [raster], chunks)
    assert once(counts)


def test_no_strip_is_read_for_a_neighbour_that_has_no_zones() -> None:
    raster = placed(512)
    tiling = Tiling.of((SIDE, SIDE), (4000, 4000), [raster])
    (counts,) = reads(tiling, [raster], [(1, 1), (3, 3)])
    # Rows and columns 4000 to 7999 and 12000 to 15999.
    assert set(counts) == {
        (i, j) for a, b in ((7, 16), (23, 32)) for i in range(a, b) for j in range(a, b)
    }


@pytest.mark.parametrize(
    "raster",
    [
        placed(4000, row=1000, col=-700),
        placed(512, row=-77, col=3),
        placed(512, size=10_000, factor=2, row=1, col=1),
        placed(512, size=SIDE - 96, lead=96 + 352),
        placed(4096, row=4096),
    ],
)
def test_a_raster_that_begins_anywhere_is_read_once(raster: Placement) -> None:
    tiling = Tiling.of((SIDE, SIDE), (4000, 4000), [raster])
    for chunks in (all_chunks((SIDE, SIDE), (4000, 4000)), SPARSE):
        (counts,) = reads(tiling, [raster], chunks)
        assert once(counts)


def test_rasters_of_several_chunks_are_each_read_once() -> None:
    rasters = [placed(512), placed(2048), placed(1024, row=1024), placed(4096)]
    tiling = Tiling.of((SIDE, SIDE), (4000, 4000), rasters)
    assert tiling.side == (4096, 4096)
    found = reads(tiling, rasters, all_chunks((SIDE, SIDE), (4000, 4000)))
    assert all(map(once, found))


def test_where_chunks_have_no_common_multiple_the_largest_are_read_once() -> None:
    rasters = [placed(512), placed(4000)]
    tiling = Tiling.of((SIDE, SIDE), (4000, 4000), rasters)
    small, large = reads(tiling, rasters, all_chunks((SIDE, SIDE), (4000, 4000)))
    assert once(large)
    assert max(small.values()) == 4


def test_strips_across_a_wide_raster_are_read_once() -> None:
    shape = (300_000, 1_440_000)
    strips = Placement(1, 0, 0, *shape, (46, shape[1]), (1, shape[1]))
    tiling = Tiling.of(shape, (4000, 4000), [strips])
    assert tiling.side[1] == shape[1]
    assert tiling.n_tasks == 75


# ---- tasks as they have been --------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 250, 1000, 2000, 4000, 8000])
def test_tasks_hold_whole_chunks_of_the_store_where_chunks_nest(side: int) -> None:
    for size, times in ((SIDE, 1), (320_000, 8)):
        tiling = Tiling.of((size, size), (4000, 4000), [placed(side, size=size)])
        assert tiling.lead == (0, 0)
        assert tiling.side == (max(times * 4000, side),) * 2


def test_other_common_multiples_are_taken_where_they_leave_enough_tasks() -> None:
    large = Tiling.of((400_000, 400_000), (4000, 4000), [placed(5000, size=400_000)])
    assert large.side == (20_000, 20_000)
    small = Tiling.of((SIDE, SIDE), (4000, 4000), [placed(5000)])
    assert small.side == (5000, 5000)


def test_without_rasters_tasks_are_chunks() -> None:
    assert Tiling.of((SIDE, SIDE), (4000, 4000), []) == Tiling(
        (SIDE, SIDE), (4000, 4000), (4000, 4000)
    )


# ---- at random ---------------------------------------------------------------------------------

small_rasters = st.builds(
    placed,
    chunk=st.integers(1, 9),
    size=st.integers(1, 40),
    row=st.integers(-9, 20),
    col=st.integers(-9, 20),
    factor=st.integers(1, 3),
    lead=st.integers(0, 3),
    near=st.just(6),
)
sides = st.integers(1, 40)


@given(
    st.tuples(sides, sides),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.lists(small_rasters, max_size=3),
    st.randoms(use_true_random=False),
)
def test_cells_hold_every_pixel_once_and_the_first_raster_is_read_once(
    shape: tuple[int, int],
    chunks: tuple[int, int],
    rasters: list[Placement],
    random: object,
) -> None:
    tiling = Tiling.of(shape, chunks, rasters)
    some = [c for c in all_chunks(shape, chunks) if random.random() < 0.7]  # type: ignore[attr-defined]
    seen: Counter[tuple[int, int]] = Counter()
    for number, parts in tiling.tasks_of(some).items():
        assert 0 <= number < tiling.n_tasks
        for cell in cells_of(parts, rasters):
            window = cell.window
            assert tiling.chunk_window(*cell.chunk).intersect(window) == window
            pixels = ((r, c) for r in range(window.row0, window.row1) for c in _cols(window))
            seen.update(pixels)
    wanted = {
        (r, c)
        for chunk in some
        for r in range(tiling.chunk_window(*chunk).row0, tiling.chunk_window(*chunk).row1)
        for c in _cols(tiling.chunk_window(*chunk))
    }
    assert set(seen) == wanted
    assert set(seen.values()) <= {1}
    # Small multiples always fit: all are read once that can be.
    if len(rasters) == 1:
        assert once(reads(tiling, rasters, some)[0])


def _cols(window: Window) -> range:
    return range(window.col0, window.col1)
