"""How pixels are cut into blocks: chunks, batches, tiles, units of reading. Integers only.

A *block* is one of the equal rectangles that an array is cut into from its north-western corner. A
`Chunking` is the one of a store: a grid's chunks, and the batches that they are gathered into.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from zoneraster._grid.fractions import counted
from zoneraster._grid.windows import Window
from zoneraster.errors import GridError

MAX_SIDE = 2**31
MAX_CHUNK_BYTES = 2**31
BATCH_SIDES = (8, 4, 2, 1)
MIN_BATCHES = 64


def checked_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns as two integers from 1 to 2**31."""
    try:
        rows, cols = map(operator.index, shape)
    except (TypeError, ValueError) as err:
        raise GridError(f"shape must be two integers (rows, cols), not {shape!r}") from err
    if not (1 <= rows <= MAX_SIDE and 1 <= cols <= MAX_SIDE):
        raise GridError(
            f"{counted(rows)} rows x {counted(cols)} columns: each must be 1 to 2**31; "
            "check that bounds and resolution have the same units"
        )
    return rows, cols


def n_blocks(size: int, side: int) -> int:
    """Number of blocks that a size is cut into; the last one may be cut short."""
    return -(-size // side)


def blocks_near(side: int, size: int) -> int:
    """Pixels of whole blocks, at least one, that are about `size`; exactly that where they can be.

    Examples
    --------
    >>> blocks_near(512, 4000), blocks_near(500, 4000), blocks_near(5000, 4000)
    (4096, 4000, 5000)
    """
    return size if size % side == 0 else max(1, round(size / side)) * side


def blocks_of(start: int, stop: int, side: int) -> range:
    """Numbers of the blocks along one axis that hold a part of ``start <= pixel < stop``.

    Examples
    --------
    >>> blocks_of(3, 9, 4)
    range(0, 3)
    """
    return range(start // side, n_blocks(stop, side))


def blocks_under(window: Window, sides: tuple[int, int]) -> tuple[range, range]:
    """Block rows and block columns that hold a part of a window.

    Parameters
    ----------
    window : Window
        Counted from the corner from which the blocks are cut.
    sides : (int, int)
        Rows and columns of a block, in pixels.

    Examples
    --------
    >>> blocks_under(Window(3, 9, 8, 9), (4, 4))
    (range(0, 3), range(2, 3))
    """
    rows, cols = sides
    return blocks_of(window.row0, window.row1, rows), blocks_of(window.col0, window.col1, cols)


def block_window(block: tuple[int, int], sides: tuple[int, int], shape: tuple[int, int]) -> Window:
    """Pixels of a block, cut to the shape of what holds it.

    Parameters
    ----------
    block : (int, int)
        Block row and block column.
    sides : (int, int)
        Rows and columns of a block, in pixels.
    shape : (int, int)
        Rows and columns of all, in pixels.

    Raises
    ------
    GridError
        For a block south or east of the shape.

    Examples
    --------
    >>> block_window((2, 0), (4, 4), (10, 10))
    Window(row0=8, row1=10, col0=0, col1=4)
    """
    (i, j), (rows, cols), (height, width) = block, sides, shape
    return Window(i * rows, min((i + 1) * rows, height), j * cols, min((j + 1) * cols, width))


class Shaped(Protocol):
    """Anything with a shape of rows and columns."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a grid is cut into chunks, and chunks are gathered into square batches.

    Chunks and batches are numbered from the north-west; those at the south and east edge may reach
    beyond the grid, their windows stop there.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the grid.
    chunks : (int, int)
        Rows and columns of a chunk, in pixels; at most 2 GiB of uint32.
    batch : int
        Chunks along each side of a batch.

    Raises
    ------
    GridError
        For what are no whole numbers, sizes below 1, or a chunk of more than 2 GiB.

    Examples
    --------
    >>> Chunking((10, 10), (4, 4), 2).chunk_window(2, 0)
    Window(row0=8, row1=10, col0=0, col1=4)
    """

    shape: tuple[int, int]
    chunks: tuple[int, int]
    batch: int

    def __post_init__(self) -> None:
        checked_shape(self.shape)
        try:
            rows, cols = map(operator.index, self.chunks)
            object.__setattr__(self, "chunks", (rows, cols))
            object.__setattr__(self, "batch", operator.index(self.batch))
        except (TypeError, ValueError) as err:
            raise GridError(
                f"chunks must be a whole number of pixels, or two (rows, cols), not "
                f"{self.chunks!r:.100}, and batches a whole number, not {self.batch!r:.100}"
            ) from err
        if rows < 1 or cols < 1 or self.batch < 1:
            raise GridError(
                f"chunks of {rows} x {cols} pixels in batches of {self.batch}: "
                "all of these must be at least 1"
            )
        if rows * cols * 4 > MAX_CHUNK_BYTES:
            raise GridError(
                f"a chunk of {rows} x {cols} pixels takes {rows * cols * 4 / 2**30:.1f} GiB as "
                "uint32, the limit is 2 GiB: take smaller chunks, e.g. 4000"
            )

    @classmethod
    def of(cls, grid: Shaped, chunks: int | tuple[int, int]) -> Chunking:
        """Cut a grid, with the largest batches of 8, 4, 2 or 1 chunks a side that leave 64 of them.

        Parameters
        ----------
        grid : Grid, or anything with a shape
        chunks : int or (int, int)
            Rows and columns of a chunk, in pixels.
        """
        # A numpy integer is a number too.
        sides = (chunks, chunks) if isinstance(chunks, SupportsIndex) else chunks
        candidates = (cls(grid.shape, sides, batch) for batch in BATCH_SIDES)
        enough = (chunking for chunking in candidates if chunking.n_batches >= MIN_BATCHES)
        return next(enough, cls(grid.shape, sides, 1))

    @property
    def n_rows(self) -> int:
        """Number of rows of chunks."""
        return n_blocks(self.shape[0], self.chunks[0])

    @property
    def n_cols(self) -> int:
        """Number of columns of chunks."""
        return n_blocks(self.shape[1], self.chunks[1])

    @property
    def batch_rows(self) -> int:
        """Number of rows of batches."""
        return n_blocks(self.n_rows, self.batch)

    @property
    def batch_cols(self) -> int:
        """Number of columns of batches."""
        return n_blocks(self.n_cols, self.batch)

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        return self.batch_rows * self.batch_cols

    def chunk_window(self, i: int, j: int) -> Window:
        """Pixels of the chunk in chunk row i and chunk column j, cut to the grid.

        Raises
        ------
        GridError
            For a chunk that is not there.
        """
        if not (0 <= i < self.n_rows and 0 <= j < self.n_cols):
            raise GridError(
                f"there is no chunk ({i}, {j}): rows are 0..{self.n_rows - 1}, "
                f"columns 0..{self.n_cols - 1}"
            )
        return block_window((i, j), self.chunks, self.shape)

    @overload
    def batch_of(self, i: int, j: int) -> int: ...

    @overload
    def batch_of(
        self, i: npt.NDArray[np.integer], j: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.int64]: ...

    def batch_of(
        self, i: int | npt.NDArray[np.integer], j: int | npt.NDArray[np.integer]
    ) -> int | npt.NDArray[np.int64]:
        """Return the number of the batch that a chunk is in, row by row from 0.

        Parameters
        ----------
        i, j : int, or integer arrays of one shape
            Chunk row and chunk column. They are not checked.

        Returns
        -------
        int, or int64 array
        """
        if isinstance(i, np.ndarray) or isinstance(j, np.ndarray):
            # Batch numbers may not fit the dtype of the indices.
            wide_i, wide_j = np.asarray(i, dtype=np.int64), np.asarray(j, dtype=np.int64)
            return wide_i // self.batch * self.batch_cols + wide_j // self.batch
        return i // self.batch * self.batch_cols + j // self.batch

    def batch_chunks(self, b: int) -> tuple[int, int, int, int]:
        """Chunks of a batch: half-open ranges of chunk rows i0, i1 and chunk columns j0, j1.

        Raises
        ------
        GridError
            For a batch that is not there.
        """
        # A batch is a block of chunks as a chunk is a block of pixels.
        chunks = block_window(self._place(b), (self.batch, self.batch), (self.n_rows, self.n_cols))
        return chunks.row0, chunks.row1, chunks.col0, chunks.col1

    def batch_window(self, b: int) -> Window:
        """Pixels of a batch, cut to the grid; errors as `batch_chunks`."""
        rows, cols = self.chunks
        return block_window(self._place(b), (rows * self.batch, cols * self.batch), self.shape)

    def _place(self, b: int) -> tuple[int, int]:
        """Row and column of a batch among the batches."""
        if not 0 <= b < self.n_batches:
            raise GridError(f"there is no batch {b}: batches are 0..{self.n_batches - 1}")
        return divmod(b, self.batch_cols)
