"""Slots: the groups that a task meets as small integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoneraster._stats.keys import EXCLUDED_CODE, INCLUDED_CODE, NODATA_CODE, UNKNOWN_CODE
from zoneraster.arrays import Bools, Ints


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

    Parameters
    ----------
    n_keys : int
    has_where : bool
        A condition cuts the zones before the keys do.
    """

    def __init__(self, n_keys: int, *, has_where: bool) -> None:
        self.joint: Joint | None = None
        self._n_keys, self._has_where = n_keys, has_where
        self._places = np.full(1024, -1, np.int32)
        self._entries = np.empty((512, 2), np.int64)
        self._skip = np.zeros(0, bool)
        self.n = 0

    def take(self, found: tuple[Any, ...]) -> tuple[Any, ...]:
        """Keep the table that a kernel returns behind its runs, and return the runs."""
        self._places, self._entries, self.n = found[-3:]
        return found[:-3]

    @property
    def table(self) -> tuple[Any, Any, int]:
        """The table, as kernels take it."""
        return self._places, self._entries, self.n

    @property
    def skip(self) -> Bools:
        """Slots of pixels that the condition leaves out, (n,) bool."""
        if self._skip.size < self.n:
            new = self._entries[self._skip.size : self.n, 1]
            self._skip = np.append(self._skip, np.isin(new, (EXCLUDED_CODE, UNKNOWN_CODE)))
        return self._skip

    def is_of(self, zones: Ints) -> Bools:
        """Which slots are some zones, uncut; (n + 1,) bool, of which the last is for no slot."""
        parent, zone = self._entries[: self.n].T
        return np.append((parent < 0) & np.isin(zone, zones), False)

    def keys_of(self, slots: Ints) -> Ints:
        """Zone id and codes of slots, (n, 1 + keys) int64; all codes of excluded ones say so.

        A condition without keys has a code too. Of slots that others are cut from the row means
        nothing: zones have the parent -1, which is no place in the table.
        """
        n_keys, entries = self._n_keys, self._entries
        rows = np.full((slots.size, 1 + max(n_keys, self._has_where)), EXCLUDED_CODE, np.int64)
        at = slots.astype(np.int64)
        left_out = self.skip[at]
        rows[left_out, 1:] = entries[at[left_out], 1][:, None]
        if self.joint is not None:
            rows[~left_out, 1:] = self.joint.split(self._numbers_of(at[~left_out], self.joint))
            at = np.where(left_out, at, np.maximum(entries[at, 0], 0))
            n_keys = 0
        for k in range(n_keys, 0, -1):
            rows[~left_out, k] = entries[at[~left_out], 1]
            at = np.where(left_out, at, np.maximum(entries[at, 0], 0))
        if self._has_where:
            if not self._n_keys:
                rows[~left_out, 1] = INCLUDED_CODE
            at = np.maximum(entries[at, 0], 0)
        rows[:, 0] = entries[at, 1]
        return rows

    def _numbers_of(self, slots: Ints, joint: Joint) -> Ints:
        """Numbers of `joint`; of slots that others are cut from any."""
        room = math.prod(own.size for own in joint.codes)
        clipped: Ints = np.clip(self._entries[slots, 1], 0, room - 1)
        return clipped
