"""Windows of pixels: rows and columns, integers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoneraster.errors import GridError


@dataclass(frozen=True, slots=True)
class Window:
    """Rows ``row0 <= row < row1`` and columns ``col0 <= col < col1``; at least one pixel.

    Parameters
    ----------
    row0, row1, col0, col1 : int
        Half-open ranges, in pixels. Negative ones are places north or west of a grid.

    Raises
    ------
    GridError
        For a window without pixels.

    Examples
    --------
    >>> Window(0, 4, 2, 6).intersect(Window(3, 9, 0, 3))
    Window(row0=3, row1=4, col0=2, col1=3)
    """

    row0: int
    row1: int
    col0: int
    col1: int

    def __post_init__(self) -> None:
        if self.row0 >= self.row1 or self.col0 >= self.col1:
            raise GridError(
                f"{self} holds no pixel: give row0 < row1 and col0 < col1 (ends are not included)"
            )

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.row1 - self.row0

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.col1 - self.col0

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as an index of a (rows, cols) array.

        Raises
        ------
        GridError
            For a window that starts before row or column 0, where numpy would count from the end.
        """
        if self.row0 < 0 or self.col0 < 0:
            raise GridError(f"{self} starts outside of the array: intersect it with the grid first")
        return slice(self.row0, self.row1), slice(self.col0, self.col1)

    def intersect(self, other: Window) -> Window | None:
        """Return the pixels in both windows, None when there are none."""
        row0, row1 = max(self.row0, other.row0), min(self.row1, other.row1)
        col0, col1 = max(self.col0, other.col0), min(self.col1, other.col1)
        return Window(row0, row1, col0, col1) if row0 < row1 and col0 < col1 else None

    def moved(self, rows: int, cols: int) -> Window:
        """Return the window moved south and east by some pixels."""
        return Window(self.row0 + rows, self.row1 + rows, self.col0 + cols, self.col1 + cols)

    def within(self, other: Window) -> Window:
        """Return the same pixels, counted from the north-western corner of another window.

        Examples
        --------
        >>> Window(10, 12, 20, 25).within(Window(8, 20, 20, 30))
        Window(row0=2, row1=4, col0=0, col1=5)
        """
        return self.moved(-other.row0, -other.col0)


def hull(windows: Sequence[Window]) -> Window:
    """The smallest window around some, of which there must be one."""
    return Window(
        min(w.row0 for w in windows), max(w.row1 for w in windows),
        min(w.col0 for w in windows), max(w.col1 for w in windows),
    )  # fmt: skip
