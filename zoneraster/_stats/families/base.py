"""The four steps that every family of statistics has, and what travels between them.

start
    empty accumulators of a task, for some lanes;
add
    the values of one lane below the runs of a cell, to the accumulators of their slots;
merge
    rows of accumulators that belong to one group;
finish
    from a merged row to the numbers of the table.

The loop, the checkpoint and the table know these steps only. Between `add` and `merge` a task hands
its accumulators up as `rows`: named columns with one entry per group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from zoneraster._burn import inlined
from zoneraster._stats.families.rows import Rows
from zoneraster.arrays import WHOLE, Bools, Floats, Ints, Numbers

Block: TypeAlias = npt.NDArray[Any]  # Any: of every dtype
Place: TypeAlias = tuple[int, int, int]
# Columns of one statistic by what follows its name: most have one, {"": values}.
Columns: TypeAlias = dict[str, Numbers]
T = TypeVar("T")


class Band(NamedTuple):
    """Rows of a cell as runs of slots (see `cut`): first row, pointers, first columns, slots.

    And what is covered of the pixels of each run; without entries all of it.
    """

    row: int
    ptr: Ints
    begin: npt.NDArray[np.int32]
    slot: npt.NDArray[np.int32]
    share: Floats = WHOLE


class Piece(NamedTuple):
    """What a kernel takes of a band: its runs, and where they lie in what was read.

    `share` is None where all pixels are whole: kernels are compiled for one or the other.
    """

    runs: tuple[Ints, npt.NDArray[np.int32], npt.NDArray[np.int32], int]
    share: Floats | None
    place: Place
    row_area: Floats
    weights: tuple[Floats, Place] | None


@dataclass(frozen=True, slots=True)
class Values:
    """Values of one lane below the runs of a cell.

    Parameters
    ----------
    label : str
        How a message names the raster.
    lane : int
    bands : sequence of Band
    width : int
        Columns of the cell.
    pixels : (h, w) any number
        What was read: C-contiguous, or where it lies in memory, if all families take it so.
    place : (row, column, k) int
        Where the cell lies in it, in lattice pixels, of which `k` make a side of its own.
    nodata : int, float or None
    row_area : (rows,) float64
        Area of a pixel in each row of the cell, square metres.
    skip : (slots,) bool
        Slots of pixels that a condition leaves out.
    keys_of : callable
        Zone id and codes of some slots, (n, columns) int64.
    is_whole : callable
        Which slots are groups that get no more values than these, as far as is known, (slots,)
        bool.
    weights : (pixels, place), optional
        (h, w) float64 of a raster of weights, NaN where it has none, and where the cell lies in it.
    """

    label: str
    lane: int
    bands: Sequence[Band]
    width: int
    pixels: Block
    place: Place
    nodata: int | float | None
    row_area: Floats
    skip: Bools
    keys_of: Callable[[Ints], Ints]
    is_whole: Callable[[], Bools]
    weights: tuple[Floats, Place] | None = None

    @property
    def n_slots(self) -> int:
        """Number of slots that may occur."""
        return self.skip.size

    @property
    def mask(self) -> tuple[Any, bool]:
        """The nodata value in the dtype of the pixels, and whether there is one."""
        kind = self.pixels.dtype.type
        return kind(0 if self.nodata is None else self.nodata), self.nodata is not None

    @property
    def flat(self) -> tuple[Block, int, int]:
        """Pixels as they lie in memory, (n,); where the first row begins; and from row to row."""
        (height, width), size = self.pixels.shape, self.pixels.dtype.itemsize
        step = self.pixels.strides[0] // size
        first = self.pixels if step >= 0 else self.pixels[::-1]
        n = (height - 1) * abs(step) + width
        memory = np.lib.stride_tricks.as_strided(first, (n,), (size,))
        return memory, 0 if step >= 0 else n - width, step

    def below(self, bands: Sequence[Band]) -> Values:
        """Those below other runs of the same rows."""
        return replace(self, bands=bands)

    def pieces(self) -> Iterator[Piece]:
        """Band after band."""
        for band in self.bands:
            weights = self.weights and (self.weights[0], _moved(self.weights[1], band.row))
            rows = slice(band.row, band.row + band.ptr.size - 1)
            runs = (band.ptr, band.begin, band.slot, self.width)
            share = band.share if band.share.size else None
            place = _moved(self.place, band.row)
            yield Piece(runs, share, place, self.row_area[rows], weights)


def _moved(place: Place, rows: int) -> Place:
    """Where some rows of a cell begin."""
    row, col, k = place
    return row + rows, col, k


class Leaves(NamedTuple):
    """The slots of a task that are groups in the end.

    Parameters
    ----------
    slot : (n,) int64
    n_slots : int
        Number of all slots.
    is_whole : callable
        Which of them are groups of which other tasks have nothing, as far as is known, (n,) bool.
    """

    slot: Ints
    n_slots: int
    is_whole: Callable[[], Bools]

    def places(self) -> Ints:
        """Which of the leaves each slot is, (n_slots,) int64; -1 for others."""
        place = np.full(self.n_slots, -1, np.int64)
        place[self.slot] = np.arange(self.slot.size)
        return place


class Group(NamedTuple):
    """What the table knows of its rows beside a measure's own accumulators.

    Parameters
    ----------
    pixels : (rows,) int64, or float64 of covered parts
        With a value or not.
    area : (rows,) float64, square metres
        Empty where nobody asked for it.
    unit, rate_unit : float
        Square metres of the unit of areas, and of the unit of area sums.
    """

    pixels: Numbers
    area: Floats
    unit: float
    rate_unit: float


class Members(NamedTuple):
    """Which rows of the table each counted row counts for (see `groups`).

    Parameters
    ----------
    row, final : (m,) int64
        Pairs; a row may count for several final ones (thresholds), or for none.
    n : int
        Number of final rows.
    """

    row: Ints
    final: Ints
    n: int


@dataclass(frozen=True, slots=True)
class Statistic(Generic[T]):
    """A statistic: one record in its family.

    Parameters
    ----------
    name : str
    formula : str
        As in the table of docs/explanation/statistics.md.
    finish : callable
        Columns of the table from merged accumulators.
    needs : str
        Accumulators beyond those that are always there; "" for none.
    kind : str
        Of its unit, see `units.unit_of`; "" for plain numbers.
    """

    name: str
    formula: str
    finish: Callable[[T, Group], Columns]
    needs: str = ""
    kind: str = ""


class Family(Protocol):
    """How the values of a measure are counted; see the module. Travels to workers."""

    def start(self, n_lanes: int) -> Any:  # Any, here and below: the family's own accumulators
        """Empty accumulators."""

    def add(self, into: Any, values: Values) -> None:
        """Add values to the accumulators of their slots."""

    def rows(self, into: Any, leaves: Leaves) -> Rows:
        """Rows of some slots, lane by lane."""

    def blank(self, n: int) -> Rows:
        """Rows of groups without a pixel."""

    def merge(self, rows: Rows, number: Ints, n: int) -> Rows:
        """Merge rows into groups 0 to n - 1, given by `number`, one row after the other."""

    def finish(self, rows: Rows, name: str, group: Group) -> Columns | None:
        """Columns of a statistic; None where it belongs to another family."""

    def condensed(self, rows: Rows, is_whole: Callable[[], Bools]) -> Rows:
        """Rows in less memory, good enough for `again`; never those of the table.

        `is_whole` says of which groups nothing is to come any more, as far as is known.
        """

    @property
    def in_place(self) -> bool:
        """It takes `Values.flat` alone: pixels need not be C-contiguous."""

    @property
    def has_more(self) -> bool:
        """Another pass over the values may be needed after this one."""

    def again(self, rows: Rows, index: Ints, members: Members) -> Family | None:
        """The same family in another pass: where it has to look is known from this one."""

    def within(self, zones: Ints) -> tuple[Family, Ints]:
        """What a task with some zones, ascending, needs of it; and which of them it looks at."""

    def refined(self, rows: Rows, index: Ints, finer: Rows, finer_index: Ints) -> Rows:
        """Rows made sharper by what `finer`, the pass that `self` made, has found."""

    def said(self) -> tuple[object, ...]:
        """What decides its rows, in plain values: part of a checkpoint's name."""

    def found(self) -> bytes:
        """Digest of what earlier passes found that decides its rows too."""


class OnePass:
    """What families share that know everything after one pass."""

    __slots__ = ()

    in_place = False
    has_more = False

    def condensed(self, rows: Rows, is_whole: Callable[[], Bools]) -> Rows:
        """Nothing can be left out."""
        return rows

    def again(self, rows: Rows, index: Ints, members: Members) -> Family | None:
        """Nothing is unknown."""
        return None

    def within(self, zones: Ints) -> tuple[Family, Ints]:
        """Never called."""
        raise AssertionError("there is no second pass")

    def refined(self, rows: Rows, index: Ints, finer: Rows, finer_index: Ints) -> Rows:
        """Never called."""
        raise AssertionError("there is no second pass")

    def found(self) -> bytes:
        """Nothing."""
        return b""


@inlined
def is_valid(x, nodata, has_nodata):  # type: ignore[no-untyped-def]
    """Neither NaN nor the nodata value."""
    return (x == x) & ((x != nodata) | (not has_nodata))


@inlined
def rounded_off(total, x, both):  # type: ignore[no-untyped-def]
    """What ``both = total + x`` has lost by rounding (Neumaier, 1974); 0 of integers."""
    if abs(total) >= abs(x):
        return (total - both) + x
    return (x - both) + total
