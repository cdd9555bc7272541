"""Groups and values as small integers: slots, codes and their counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zoneraster._stats.keys import EXCLUDED_CODE, INCLUDED_CODE, NODATA_CODE, UNKNOWN_CODE
from zoneraster._stats.ragged import Ragged, ragged_of
from zoneraster.arrays import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """Codes of several keys as one number, where there are few enough of them.

    Parameters
    ----------
    codes : tuple of (n,) int64
        For each key, all codes that a pixel may have, ascending; a pixel's number is that of its
        codes' positions, the last key's running fastest.
    """

    codes: tuple[Ints, ...]

    @classmethod
    def of(cls, codes: Sequence[Ints]) -> Joint | None:
        """Of all codes that may occur; None where numbers would leave 31 bits."""
        distinct = tuple(np.union1d(own, [NODATA_CODE]) for own in codes)
        return cls(distinct) if math.prod(own.size for own in distinct) < 2**31 else None

    def split(self, numbers: Ints) -> Ints:
        """Codes of all keys, (n, keys) int64."""
        places = np.unravel_index(numbers, [own.size for own in self.codes])
        return np.stack([own[at] for own, at in zip(self.codes, places, strict=True)], axis=1)


class Slots:
    """Numbers of the groups that a task meets, in order of appearance.

    Zones are cut by the codes of one key after the other, or by those of all at once where `joint`
    is given.
    """

    def __init__(self) -> None:
        self.joint: Joint | None = None
        self.places = np.full(1024, -1, np.int32)
        self.entries = np.empty((512, 2), np.int64)
        self.n = 0

    def take(self, found: tuple[Any, ...]) -> tuple[Any, ...]:
        """Keep the table that a kernel returns behind its runs, and return the runs."""
        self.places, self.entries, self.n = found[-3:]
        return found[:-3]

    @property
    def table(self) -> tuple[Any, Any, int]:
        """The table, as kernels take it."""
        return self.places, self.entries, self.n

    @property
    def is_excluded(self) -> npt.NDArray[np.bool_]:
        """Slots of pixels that the predicate leaves out."""
        return np.isin(self.entries[: self.n, 1], (EXCLUDED_CODE, UNKNOWN_CODE))

    def index(self, slots: Ints, n_keys: int, *, has_where: bool) -> Ints:
        """Zone id and codes of slots, (n, 1 + n_keys) int64; all codes of excluded ones say so.

        A predicate without keys has a code too. Of slots that others are cut from the row means
        nothing: zones have the parent -1, which is no place in the table.
        """
        rows = np.full((slots.size, 1 + max(n_keys, has_where)), EXCLUDED_CODE, np.int64)
        at = slots.astype(np.int64)
        left_out = self.is_excluded[at]
        rows[left_out, 1:] = self.entries[at[left_out], 1][:, None]
        if self.joint is not None:
            rows[~left_out, 1:] = self.joint.split(self._codes_of(at[~left_out]))
            at = np.where(left_out, at, np.maximum(self.entries[at, 0], 0))
            n_keys = 0
        for k in range(n_keys, 0, -1):
            rows[~left_out, k] = self.entries[at[~left_out], 1]
            at = np.where(left_out, at, np.maximum(self.entries[at, 0], 0))
        if has_where:
            if rows.shape[1] == 2 and not n_keys and self.joint is None:
                rows[~left_out, 1] = INCLUDED_CODE
            at = np.maximum(self.entries[at, 0], 0)
        rows[:, 0] = self.entries[at, 1]
        return rows

    def _codes_of(self, slots: Ints) -> Ints:
        """Numbers of `joint`; of slots that others are cut from any."""
        codes: Ints = self.entries[slots, 1]
        room = math.prod(own.size for own in self.joint.codes) if self.joint else 1
        clipped: Ints = np.clip(codes, 0, room - 1)
        return clipped


class Tally:
    """Counts of values by slot, for one measure and lane."""

    def __init__(self) -> None:
        self.counts = np.zeros(0, np.int64)
        self.table = (np.full(1024, -1, np.int32), np.empty((512, 2), np.int64), 0)

    def ragged(self, owner_of_slot: Ints, n_owners: int) -> Ragged:
        """The counts of owners, each slot belonging to one."""
        entries, n = self.table[1], self.table[2]
        owner = owner_of_slot[entries[:n, 0]]
        return ragged_of(owner, entries[:n, 1], self.counts[:n], n_owners)


def limits_of(dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    """Zero of the sum's type, largest and smallest value of the dtype."""
    if dtype.kind == "f":
        return np.float64(0), dtype.type(np.inf), dtype.type(-np.inf)
    limits = np.iinfo(dtype)
    return np.int64(0), dtype.type(limits.max), dtype.type(limits.min)


def bits_of(pixels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], bool, int]:
    """Pixels as integers that can be told apart, if they are floats, all bits but a sign."""
    if pixels.dtype.kind == "f":
        size = pixels.dtype.itemsize
        return pixels.view(f"i{size}"), True, 2 ** (8 * size - 1) - 1
    return pixels, False, 0


def value_of(code: Ints, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Values that full codes of `reduce.tally` stand for."""
    if dtype.kind != "f":
        return code
    size = dtype.itemsize
    top = 2 ** (8 * size - 1) - 1
    bits = np.where(code >= 0, code, code ^ top)
    return bits.astype(f"i{size}").view(dtype).astype(np.float64)
