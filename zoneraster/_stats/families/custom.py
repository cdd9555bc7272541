"""Statistics of one's own: the values of each group, handed to functions of the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from zoneraster._burn import kernel
from zoneraster._stats.families.base import Columns, Group, Leaves, OnePass, Values, is_valid
from zoneraster._stats.families.functions import digest_of_function
from zoneraster._stats.families.rows import Lists, Rows
from zoneraster.arrays import Floats, Ints
from zoneraster.errors import ValuesError

# What a custom statistic keeps: numbers.
State: TypeAlias = "Sequence[float] | Floats"


@dataclass(frozen=True, slots=True)
class Stat:
    """A statistic of your own.

    Parameters
    ----------
    name : str
        Of the column.
    init : callable
        ``init()`` gives the state of a group without pixels: numbers in a tuple or array.
    update : callable
        ``update(state, values, areas)`` adds valid values of a group, (m,) in the raster's dtype,
        with the areas of their pixels, (m,) float64, square metres.
    combine : callable
        ``combine(a, b)`` merges two states.
    finalize : callable
        ``finalize(state)`` gives the number for the table.
    version : str, optional
        Stands for the functions in a checkpoint: give another one whenever they change. Without it
        a checkpoint goes by their code and all they work with.

    Notes
    -----
    States travel to workers and into checkpoints as float64; with processes the four functions have
    to be importable. The values of a group come in the order of tasks, cells, rows and columns.

    Functions depend on their arguments, and on numbers, text, arrays and functions that they hold
    or name. A checkpoint refuses those that hold anything else, such as an open file, and asks for
    `version`.

    Examples
    --------
    >>> rms = Stat(
    ...     "rms",
    ...     init=lambda: (0, 0),
    ...     update=lambda s, x, a: (s[0] + x.size, s[1] + (x.astype(float) ** 2).sum()),
    ...     combine=lambda s, t: (s[0] + t[0], s[1] + t[1]),
    ...     finalize=lambda s: (s[1] / s[0]) ** 0.5 if s[0] else float("nan"),
    ... )
    >>> round(float(rms.finalize(rms.update(rms.init(), np.array([3, 4]), np.ones(2)))), 6)
    3.535534
    """

    name: str
    init: Callable[[], State]
    update: Callable[[State, npt.NDArray[Any], Floats], State]  # Any: the dtype of the raster
    combine: Callable[[State, State], State]
    finalize: Callable[[State], float]
    version: str | None = field(default=None, kw_only=True)


# States of the slots of a lane, one mapping per statistic.
States: TypeAlias = list[dict[int, Floats]]


@dataclass(frozen=True, slots=True)
class Custom(OnePass):
    """The family for one measure.

    Parameters
    ----------
    stats : tuple of Stat
    """

    stats: tuple[Stat, ...]

    def start(self, n_lanes: int) -> list[States]:
        """No states, for each lane and statistic."""
        return [[{} for _ in self.stats] for _ in range(n_lanes)]

    def add(self, into: list[States], values: Values) -> None:
        """Give the values of each slot to the statistics."""
        for piece in values.pieces():
            offset, found, areas = gather(
                piece.runs, values.pixels, piece.place, values.mask, piece.row_area, values.n_slots
            )
            for slot in np.flatnonzero(np.diff(offset)).tolist():
                if values.skip[slot]:
                    continue
                own = slice(offset[slot], offset[slot + 1])
                for stat, states in zip(self.stats, into[values.lane], strict=True):
                    old = states[slot] if slot in states else _numbers(stat.init())
                    states[slot] = _numbers(stat.update(old, found[own], areas[own]))

    def rows(self, into: list[States], leaves: Leaves) -> Rows:
        """States of some slots, lane by lane."""
        slots = leaves.slot.tolist()
        return self._rows(
            [
                [lane[s].get(slot, first) for lane in into for slot in slots]
                for s, first in enumerate(self._initial())
            ]
        )

    def _initial(self) -> list[Floats]:
        return [_numbers(stat.init()) for stat in self.stats]

    def _rows(self, states: Sequence[Sequence[Floats]]) -> Rows:
        """A column per statistic."""
        columns: Rows = {}
        for s, own in enumerate(states):
            ptr = np.cumsum([0, *(state.size for state in own)]).astype(np.int64)
            columns[f"state{s}"] = Lists(ptr, (np.concatenate([np.zeros(0), *own]),))
        return columns

    def blank(self, n: int) -> Rows:
        """States of groups without a pixel."""
        return self._rows([[first] * n for first in self._initial()])

    def merge(self, rows: Rows, number: Ints, n: int) -> Rows:
        """Combine the states of each group, one row after the other."""
        merged = []
        for s, stat in enumerate(self.stats):
            own: list[Floats | None] = [None] * n
            for group, state in zip(number.tolist(), _states_of(rows, s), strict=True):
                old = own[group]
                own[group] = state if old is None else _numbers(stat.combine(old, state))
            first = _numbers(stat.init())
            merged.append([first if state is None else state for state in own])
        return self._rows(merged)

    def finish(self, rows: Rows, name: str, group: Group) -> Columns | None:
        """The column of a statistic."""
        for s, stat in enumerate(self.stats):
            if stat.name == name:
                found = [stat.finalize(state) for state in _states_of(rows, s)]
                return {"": np.array(found, np.float64)}
        return None

    def said(self) -> tuple[object, ...]:
        """What the functions do, or the version that says so."""
        return ("custom", *((stat.name, *_identity_of(stat)) for stat in self.stats))


def _numbers(state: State) -> Floats:
    return np.array(state, np.float64)


def _states_of(rows: Rows, s: int) -> list[Floats]:
    """States of statistic `s`, row by row."""
    column = rows[f"state{s}"]
    assert isinstance(column, Lists)
    return np.split(column.values[0], column.ptr[1:-1])[: column.ptr.size - 1]


def _identity_of(stat: Stat) -> tuple[str | bytes, ...]:
    """What changes with the states of a statistic.

    Raises
    ------
    ValuesError
        When that cannot be told.
    """
    if stat.version is not None:
        return ("version", stat.version)
    parts = {"init": stat.init, "update": stat.update, "combine": stat.combine}
    try:
        return tuple(digest_of_function(part, name) for name, part in parts.items())
    except ValuesError as err:
        raise ValuesError(
            f"cannot tell whether the statistic {stat.name!r} is still what the checkpoint was "
            f"made with: {err}; give zr.Stat(..., version='1'), and another version when it changes"
        ) from err


@kernel
def gather(runs, values, place, nodata, row_area, n_slots):  # type: ignore[no-untyped-def]
    """Valid values of some rows, slot by slot, with the areas of their pixels.

    Returns
    -------
    offset : (n_slots + 1,) int64
    value : (m,) dtype of `values`
    area : (m,) float64
        Those of slot ``g`` are ``offset[g]:offset[g + 1]``, in the order of rows and columns.
    """
    ptr, begin, slot, width = runs
    row_origin, col_origin, k = place
    offset = np.zeros(n_slots + 2, np.int64)
    for filling in range(2):
        if filling:
            for g in range(2, n_slots + 2):
                offset[g] += offset[g - 1]
            value = np.empty(offset[n_slots + 1], values.dtype)
            area = np.empty(offset[n_slots + 1], np.float64)
        for r in range(ptr.size - 1):
            row = values[(row_origin + r) // k]
            for i in range(ptr[r], ptr[r + 1]):
                g = slot[i]
                if g < 0:
                    continue
                stop = begin[i + 1] if i + 1 < ptr[r + 1] else width
                for c in range(begin[i], stop):
                    x = row[(col_origin + c) // k]
                    if not is_valid(x, nodata[0], nodata[1]):
                        continue
                    if filling:
                        value[offset[g + 1]], area[offset[g + 1]] = x, row_area[r]
                        offset[g + 1] += 1
                    else:
                        offset[g + 2] += 1
    return offset[: n_slots + 1], value, area
