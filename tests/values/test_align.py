"""Where rasters lie on the store's grid and on the lattice."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.values.samples import array
from zoneraster._grid.grid import Grid
from zoneraster._grid.windows import Window
from zoneraster._values.align import (
    SAME,
    AlignedRaster,
    Placement,
    Relation,
    aligned,
    common_fineness,
    pixels_under,
    place,
    read_unit,
    relation,
)
from zoneraster._values.open import open_raster
from zoneraster._values.opened import OpenRaster
from zoneraster.errors import AlignmentError, ValuesError

# 3 x 3 pixels of one hectare.
STORE = Grid.from_bounds((500_000, 0, 500_300, 300), 100, "EPSG:32633")


def grid_of(
    ratio: float, *, rows: float = 0, cols: float = 0, shape: tuple[int, int] = (3, 3)
) -> Grid:
    """A grid with pixels `ratio` times as wide as the store's, moved by some of the store's."""
    step = 100 * ratio
    transform = (step, 0, 500_000 + 100 * cols, 0, -step, 300 - 100 * rows)
    return Grid(STORE.crs, transform, shape)


def opened_on(grid: Grid, *, chunks: tuple[int, int] = (3, 3)) -> OpenRaster:
    return replace(
        open_raster(array(np.zeros((40, 60)))), grid=grid, label="tcd", chunks=chunks, dims=()
    )


# ---- a raster and the store's grid -------------------------------------------------------------


@pytest.mark.parametrize(
    ("grid", "expected", "fineness"),
    [
        (grid_of(1), SAME, 1),
        (grid_of(1, rows=-2, cols=1), Relation(Fraction(-2), Fraction(1), Fraction(1)), 1),
        (grid_of(3, rows=1), Relation(Fraction(1), Fraction(0), Fraction(3)), 1),
        (grid_of(0.5, rows=0.5), Relation(Fraction(1, 2), Fraction(0), Fraction(1, 2)), 2),
        (grid_of(0.25, cols=3), Relation(Fraction(0), Fraction(3), Fraction(1, 4)), 4),
        # cut decimals: within 1/1000 pixel
        (grid_of(1.0003, rows=0.0005), SAME, 1),
    ],
)
def test_a_relation_is_found_in_whole_pixels(grid: Grid, expected: Relation, fineness: int) -> None:
    assert relation(grid, STORE, label="tcd") == expected
    assert expected.fineness == fineness


def test_grids_that_do_not_fit_are_refused() -> None:
    cure = "give resample='nearest', resample='average' or another method, resample='sum' for "
    with pytest.raises(AlignmentError, match=f"tcd: its pixels are 1.5 times as wide.*{cure}"):
        relation(grid_of(1.5), STORE, label="tcd")
    with pytest.raises(
        AlignmentError,
        match=rf"tcd: its corner lies at row 0.25, column 2 of the .*\(ratio 1\).*half.*{cure}",
    ):
        relation(grid_of(1, rows=0.25, cols=2), STORE, label="tcd")
    with pytest.raises(AlignmentError, match=r"row 0.75, column 0 .*\(ratio 1/2\)"):
        relation(grid_of(0.5, rows=0.75), STORE, label="tcd")
    # 1/20 and 1/500 of a pixel are no decimals that were cut.
    for shift in (0.05, 0.002):
        with pytest.raises(AlignmentError, match=f"row {shift}, column 0 .*between the pixels"):
            relation(grid_of(1, rows=shift), STORE, label="tcd")
    with pytest.raises(AlignmentError, match=r"1\.001 times as wide"):
        relation(grid_of(1.001), STORE, label="tcd")
    other = Grid("EPSG:32634", STORE.transform, STORE.shape)
    with pytest.raises(AlignmentError, match=f"tcd: the grids have different CRS.*or {cure}"):
        relation(other, STORE, label="tcd")
    flat = Grid(STORE.crs, (200, 0, 500_000, 0, -100, 300), (3, 3))
    with pytest.raises(
        AlignmentError, match=f"tcd: pixels are 2 times as wide and 1 times as high.*or {cure}"
    ):
        relation(flat, STORE, label="tcd")


def test_only_what_does_not_fit_is_resampled() -> None:
    fits, finer, off = (opened_on(grid_of(ratio)) for ratio in (2, 0.5, 1.5))
    for opened in (fits, finer):
        for method, fine in ((None, None), ("nearest", None), (None, 1), ("nearest", 2)):
            one = aligned(opened, STORE, method, fine)
            assert one.opened is opened
            assert one.relation == relation(opened.grid, STORE, label="tcd")
    for opened, fine in ((finer, 1), (finer, 3), (off, None)):
        one = aligned(opened, STORE, "nearest", fine)
        assert (one.opened.grid, one.relation) == (STORE, SAME)
        assert relation(one.opened.grid, STORE, label="tcd") == SAME
    with pytest.raises(AlignmentError, match=r"tcd: its pixels are 1\.5 times as wide"):
        aligned(off, STORE, None)


# ---- a raster on the lattice -------------------------------------------------------------------


def on_store(opened: OpenRaster) -> AlignedRaster:
    return aligned(opened, STORE, None)


def test_the_lattice_is_as_fine_as_the_rasters_that_must_agree() -> None:
    same, coarse, half, third = (opened_on(grid_of(1 / n)) for n in (1, 0.5, 2, 3))
    assert common_fineness([]) == 1
    assert common_fineness(map(on_store, [same, coarse])) == 1
    assert common_fineness([on_store(half)]) == 2
    with pytest.raises(ValuesError, match=r"different sizes .*: tcd \(1/2\) and tcd \(1/3\): call"):
        common_fineness(map(on_store, [half, third]))


def test_a_placement_follows_from_the_relation() -> None:
    one = on_store(opened_on(grid_of(0.5, rows=-1, cols=1.5, shape=(4, 6)), chunks=(1, 100)))
    assert place(one, 2, (3, 3)) == Placement(1, -2, 3, 4, 6, (4, 6), (1, 100))
    assert place(one, 4, (1, 3)) == Placement(2, -4, 6, 4, 6, (2, 6), (1, 100))
    coarse = on_store(opened_on(grid_of(2, shape=(8, 8)), chunks=(2, 2)))
    assert place(coarse, 1, (12, 3)) == Placement(2, 0, 0, 8, 8, (6, 2), (2, 2))


def test_a_raster_finer_than_the_lattice_is_refused() -> None:
    with pytest.raises(
        AlignmentError,
        match=r"tcd: its pixels are 0.5 times as wide as the grid's, finer than the values that "
        "they choose or group: give resample='nearest' for it, or values as fine, or leave it out",
    ):
        place(on_store(opened_on(grid_of(0.5))), 1, (3, 3))


@pytest.mark.parametrize(
    ("chunks", "near", "unit"),
    [
        ((4, 4), (4, 4), (4, 4)),
        ((4, 4), (2, 3), (4, 4)),
        ((4, 4), (8, 12), (8, 12)),
        ((4, 4), (9, 11), (8, 12)),
        # strips of a wide raster: no more than 2**26 pixels, and at least one chunk
        ((1, 2**20), (4000, 4000), (64, 2**20)),
        ((100, 2**20), (4000, 4000), (100, 2**20)),
    ],
)
def test_whole_chunks_are_read_at_once(
    chunks: tuple[int, int], near: tuple[int, int], unit: tuple[int, int]
) -> None:
    assert read_unit(chunks, near) == unit


def test_chunks_of_a_raster_stored_from_south_to_north_count_from_the_south() -> None:
    opened = replace(opened_on(grid_of(1, shape=(10, 8)), chunks=(4, 4)), is_flipped=True)
    placed = place(on_store(opened), 1, (8, 4))
    assert placed == Placement(1, 0, 0, 10, 8, (8, 4), (4, 4), lead=2)
    assert placed.first == (-2, 0)
    assert list(placed.cuts(0, 0, 10)) == [0, 6, 10]
    assert placed.block_of(Window(5, 6, 0, 1)) == (0, 0)
    assert placed.block_of(Window(6, 7, 0, 1)) == (1, 0)
    assert placed.block_window((0, 0), Window(0, 10, 0, 8)) == Window(0, 6, 0, 4)
    assert placed.block_window((1, 1), Window(0, 10, 0, 8)) == Window(6, 10, 4, 8)


def test_pixels_and_units_of_a_placement_by_hand() -> None:
    placed = Placement(factor=2, row=-3, col=4, height=5, width=4, unit=(2, 3), chunk=(1, 1))
    assert placed.extent == Window(-3, 7, 4, 12)
    assert placed.pixels_of(Window(0, 2, 5, 6)) == Window(1, 3, 0, 1)
    assert placed.block_of(Window(1, 3, 10, 12)) == (1, 1)
    assert placed.block_window((1, 0), Window(0, 9, 0, 9)) == Window(2, 4, 0, 3)
    assert placed.block_window((2, 1), Window(0, 9, 0, 11)) == Window(4, 5, 3, 4)
    assert list(placed.cuts(0, 0, 9)) == [-3, 1, 5, 7]
    assert list(placed.cuts(0, 2, 4)) == [1, 7]
    assert list(placed.cuts(1, 0, 5)) == [4, 12]
    assert list(placed.cuts(1, 50, 60)) == [12]
    assert pixels_under(placed, [Window(0, 1, 4, 5), Window(2, 3, 9, 10)]) == Window(1, 3, 0, 3)
    assert pixels_under(placed, [Window(0, 1, 12, 13)]) is None


placements = st.builds(
    Placement,
    factor=st.integers(1, 4),
    row=st.integers(-9, 9),
    col=st.integers(-9, 9),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    unit=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    chunk=st.just((1, 1)),
    lead=st.integers(0, 3),
)


@given(placements, st.integers(-5, 30), st.integers(1, 20))
def test_between_two_cuts_a_raster_has_one_unit(placed: Placement, start: int, size: int) -> None:
    stop = start + size
    units: dict[int, set[int]] = {}
    cuts = sorted({n for n in placed.cuts(0, start, stop) if start < n < stop})
    for row in range(start, stop):
        inside = row - placed.row
        # -1 outside of the raster
        is_in = 0 <= inside < placed.height * placed.factor
        unit = (inside // placed.factor + placed.lead) // placed.unit[0] if is_in else -1
        units.setdefault(sum(cut <= row for cut in cuts), set()).add(unit)
        if unit >= 0:
            assert placed.block_of(Window(row, row + 1, placed.col, placed.col + 1)) == (unit, 0)
    assert all(len(found) == 1 for found in units.values())


@pytest.mark.parametrize("lead", [0, 2])
def test_whole_chunks_are_all_that_hold_a_pixel_of_a_window(lead: int) -> None:
    placed = Placement(1, 0, 0, height=20, width=30, unit=(8, 14), chunk=(4, 7), lead=lead)
    rows, cols = (np.arange(-8, 40) + lead) // 4, np.arange(-8, 40) // 7
    rng = np.random.default_rng(2)
    for _ in range(100):
        row, col = (int(n) for n in rng.integers(0, 19, 2))
        window = Window(row, row + int(rng.integers(1, 9)), col, col + int(rng.integers(1, 9)))
        found = placed.whole_chunks(window)
        for number, (start, stop), (first, end) in (
            (rows, (found.row0, found.row1), (window.row0, window.row1)),
            (cols, (found.col0, found.col1), (window.col0, window.col1)),
        ):
            met = np.isin(number, number[first + 8 : end + 8])
            assert (np.flatnonzero(met) - 8).tolist() == list(range(start, stop))
