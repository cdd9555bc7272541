"""From merged partials to the table that people read."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoneraster._stats.audit import Layout, check_closure, is_excluded
from zoneraster._stats.keys import BELOW_CODE, Key
from zoneraster._stats.partial import Moments, Partial, fold, joined
from zoneraster._stats.quantiles import quantile
from zoneraster._stats.ragged import Ragged, sorted_rows
from zoneraster._stats.slots import value_of
from zoneraster._stats.statistics import AREA_UNITS, Stat
from zoneraster.arrays import Floats, Ints
from zoneraster.errors import StoreError, ValuesError, name_some

if TYPE_CHECKING:
    import pandas as pd

# A histogram has one column per value; more than these are asked for as a key.
_MAX_COLUMNS = 1000


def make_table(partial: Partial, layout: Layout, zones: pa.Table, key: str) -> pd.DataFrame:
    """The table of a merged partial.

    Parameters
    ----------
    partial : Partial
    layout : Layout
    zones : pyarrow.Table
        The zone table; empty where the store has none.
    key : str
        Its key column.

    Raises
    ------
    ClosureError
        When a zone has more or fewer pixels than the build counted.
    """
    audit = check_closure(partial, layout, zones)
    excluded = is_excluded(partial)
    if excluded.any():
        partial = partial.take(np.flatnonzero(~excluded))
    # A predicate without keys leaves a column of its own.
    partial = replace(partial, index=partial.index[:, : 2 + len(layout.keys)])
    stats = _all_stats(layout)
    partial = _cumulated(partial, layout, stats)
    partial, owners = _owners(partial, layout, zones, key, stats)
    if not layout.keys:
        partial = _completed(partial, layout, owners.n, stats)
    columns = [1, 0, *range(2, partial.index.shape[1])]
    partial = partial.take(sorted_rows(partial.index[:, columns])[0])
    return _frame(partial, layout, owners, audit)


def _all_stats(layout: Layout) -> list[Stat]:
    """Custom statistics in the order of `Partial.states`."""
    return [stat for _ in layout.measures for stat in layout.wanted.custom]


# ---- rows --------------------------------------------------------------------------------------


def _cumulated(partial: Partial, layout: Layout, stats: Sequence[Stat]) -> Partial:
    """Let each class of a threshold key count for all thresholds that it reaches."""
    for k, key in enumerate(layout.keys.values()):
        if not key.cumulative:
            continue
        code = partial.index[:, 2 + k]
        # One threshold after the other, so that no row is held several times.
        parts = [partial.take(np.flatnonzero((code < 0) & (code != BELOW_CODE)))]
        for reached in range(int(code.max(initial=-1)) + 1):
            part = partial.take(np.flatnonzero(code >= reached))
            part.index[:, 2 + k] = reached
            parts.append(fold([part], stats))
        partial = joined(parts)
    return partial


@dataclass(frozen=True, slots=True)
class Owners:
    """What rows of the table are about: zones, or groups of zones.

    Parameters
    ----------
    columns : mapping of name to (n,) values
        What they are called.
    attributes : mapping of name to (n,) values
    """

    columns: Mapping[str, Any]
    attributes: Mapping[str, Any]

    @property
    def n(self) -> int:
        """How many there are."""
        return len(next(iter(self.columns.values())))


def _column(table: pa.Table, name: str) -> Any:  # Any: a pandas array of the column's type
    import pandas as pd  # noqa: PLC0415 - slow import

    series = table.select([name]).to_pandas()[name]
    return (
        series.array
        if isinstance(series.dtype, pd.api.extensions.ExtensionDtype)
        else (series.to_numpy())
    )


def _owners(
    partial: Partial, layout: Layout, zones: pa.Table, key: str, stats: Sequence[Stat]
) -> tuple[Partial, Owners]:
    """Number the owners of rows in the order of the zone table, merging zones by attribute."""
    if not zones.num_rows:
        zones = pa.table({"zone_id": np.unique(partial.index[:, 1]).astype(np.uint32)})
    known = zones["zone_id"].to_numpy().astype(np.int64)
    order = np.argsort(known)
    place = np.searchsorted(known[order], partial.index[:, 1])
    found = known[order][np.minimum(place, known.size - 1)] == partial.index[:, 1]
    if not found.all():
        ids = np.unique(partial.index[~found, 1]).tolist()
        raise StoreError(
            f"the raster holds zone ids that the zone table does not know ({name_some(ids)}): "
            "build the store again"
        )
    number = order[np.minimum(place, known.size - 1)].astype(np.int64)
    index = partial.index.copy()
    if not layout.roll_up:
        index[:, 1] = number
        attributes = {name: _column(zones, name) for name in layout.attributes}
        return replace(partial, index=index), Owners({key: _column(zones, key)}, attributes)
    groups, group = _rolled_up(zones, layout.roll_up)
    # Zones are merged in the order of their ids.
    index[:, 1] = group[number]
    rolled = replace(partial, index=index)
    return (fold([rolled], stats) if rolled.n_rows else rolled), groups


def _rolled_up(zones: pa.Table, names: Sequence[str]) -> tuple[Owners, Ints]:
    """Groups of equal attributes, in the order of their first zones, and the group of each zone."""
    import pandas as pd  # noqa: PLC0415 - slow import

    frame = pd.DataFrame({name: _column(zones, name) for name in names})
    group = (
        frame.groupby(list(names), sort=False, dropna=False).ngroup().to_numpy().astype(np.int64)
    )
    first = frame.loc[np.unique(group, return_index=True)[1]]
    return Owners({name: first[name].array for name in names}, {}), group


def _completed(partial: Partial, layout: Layout, n: int, stats: Sequence[Stat]) -> Partial:
    """Add rows for owners without a pixel."""
    n_lanes = max(1, int(np.prod([c.size for c in layout.dims.values()], dtype=np.int64)))
    rows = n * n_lanes
    lane, owner = np.divmod(np.arange(rows), n)
    blank = Partial(
        np.stack([lane, owner], axis=1).astype(np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows if not layout.measures or "pixel_area" in layout.wanted.names else 0),
        tuple(
            Moments.empty((rows,), layout.wanted.parts, is_integer=m.is_integer)
            for m in partial.moments
        ),
        tuple(
            t and Ragged(np.zeros(rows + 1, np.int64), t.code[:0], t.count[:0])
            for t in partial.tallies
        ),
        tuple([stat.initial()] * rows for stat in stats),
        0, 0, (0,) * len(partial.outside),
    )  # fmt: skip
    return fold([partial, blank], stats)


# ---- columns -----------------------------------------------------------------------------------


def _frame(partial: Partial, layout: Layout, owners: Owners, audit: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - slow import

    levels: dict[str, Any] = {}
    owner = partial.index[:, 1]
    for name, values in owners.columns.items():
        levels[name] = values[owner]
    sizes = [c.size for c in layout.dims.values()]
    at = np.unravel_index(partial.index[:, 0], sizes) if sizes else ()
    for (name, values), i in zip(layout.dims.items(), at, strict=True):
        levels[name] = values[i]
    for k, (name, key) in enumerate(layout.keys.items()):
        levels[name] = _labels(partial.index[:, 2 + k], key, name)
    columns = {name: values[owner] for name, values in owners.attributes.items()}
    for name, values in _columns(partial, layout).items():
        if name in columns or name in levels:
            raise ValuesError(f"two columns would be named {name!r}: rename a measure or key")
        columns[name] = values
    if len(levels) == 1:
        ((name, values),) = levels.items()
        index = pd.Index(values, name=name)
    else:
        index = _ordered_index(levels, sort=layout.keys)
    frame = pd.DataFrame(columns, index=index)
    frame.attrs["audit"] = audit
    return frame


def _ordered_index(levels: Mapping[str, Any], *, sort: Container[str]) -> pd.MultiIndex:
    """An index whose levels keep the order of zones and coordinates, and sort the labels of keys.

    `MultiIndex.from_arrays` sorts all of them, and `to_xarray` then mixes up the zones.
    """
    import pandas as pd  # noqa: PLC0415 - slow import

    found = [pd.factorize(values, sort=name in sort) for name, values in levels.items()]
    return pd.MultiIndex(
        levels=[unique for _, unique in found],
        codes=[codes for codes, _ in found],
        names=list(levels),
    )


def _labels(code: Ints, key: Key, name: str) -> npt.NDArray[Any]:
    """What the codes of a key are called."""
    codes, where = np.unique(code, return_inverse=True)
    called = [key.name_of(int(c)) for c in codes]
    if len(set(called)) != len(called):
        raise ValuesError(
            f"key {name!r} has a label that is also the name of a bucket ({name_some(called)}): "
            "give other names with nodata= and unlisted="
        )
    values = np.array(called, object if key.names else None)
    return values[where]


def _columns(partial: Partial, layout: Layout) -> dict[str, npt.NDArray[Any]]:
    """All columns of statistics."""
    if not layout.measures:
        unit = AREA_UNITS[layout.area_unit]
        whole: dict[str, npt.NDArray[Any]] = dict.fromkeys(
            ("pixels", "count", "valid"), partial.pixels
        )
        whole |= dict.fromkeys(("area", "pixel_area"), partial.area / unit)
        return {name: whole[name] for name in layout.wanted.names}
    columns: dict[str, npt.NDArray[Any]] = {}
    n_custom = len(layout.wanted.custom)
    for m, info in enumerate(layout.measures):
        states = dict(
            zip(
                (stat.name for stat in layout.wanted.custom),
                partial.states[m * n_custom : (m + 1) * n_custom],
                strict=True,
            )
        )
        prefix = f"{info.name}_" if len(layout.measures) > 1 else ""
        for name in layout.wanted.names:
            if name in states:
                stat = next(s for s in layout.wanted.custom if s.name == name)
                found = np.array([stat.finalize(state) for state in states[name]], np.float64)
                more = {name: found}
            else:
                more = _statistic(name, partial, layout, m)
            for column, values in more.items():
                if prefix + column in columns:
                    raise ValuesError(
                        f"two columns would be named {prefix + column!r}: rename a measure or "
                        "statistic"
                    )
                columns[prefix + column] = values
    return columns


def _statistic(name: str, partial: Partial, layout: Layout, m: int) -> dict[str, npt.NDArray[Any]]:
    """Columns of one statistic; most have one."""
    moments, info, tally = partial.moments[m], layout.measures[m], partial.tallies[m]
    if name in {"histogram", "fractions"}:
        assert tally is not None
        return _histogram(name, tally, moments.n, info.dtype)
    q = layout.wanted.quantiles.get(name)
    if q is not None:
        assert tally is not None
        return {name: quantile(tally, moments.n, q, info.dtype)}
    if name in {"majority", "minority", "variety"}:
        assert tally is not None
        return {name: _category(name, tally, info.dtype)}
    if name == "pixel_area":
        return {name: partial.area / AREA_UNITS[layout.area_unit]}
    return {name: _moment(name, partial.pixels, moments, layout.area_unit, info.area_unit)}


def _moment(
    name: str, pixels: Ints, moments: Moments, area_unit: str, rate_unit: str
) -> npt.NDArray[Any]:
    """Statistics that need counts, sums and extremes only."""
    n, some = moments.n, moments.n > 0
    at_least_one = np.where(some, n, 1)
    formulas: dict[str, Callable[[], npt.NDArray[Any]]] = {
        "pixels": lambda: pixels,
        "count": lambda: n,
        "valid": lambda: n,
        "nodata": lambda: pixels - n,
        "sum": moments.sums,
        "mean": lambda: _where(some, moments.sums() / at_least_one),
        "min": lambda: _where(some, moments.lowest.astype(np.float64)),
        "max": lambda: _where(some, moments.highest.astype(np.float64)),
        "range": lambda: _where(some, moments.highest.astype(np.float64) - moments.lowest),
        "var": lambda: _where(some, moments.m2 / at_least_one),
        "std": lambda: _where(some, np.sqrt(moments.m2 / at_least_one)),
        "area": lambda: moments.area / AREA_UNITS[area_unit],
        "area_sum": lambda: moments.area_total / AREA_UNITS[rate_unit],
        "area_mean": lambda: _where(some, moments.area_total / np.where(some, moments.area, 1)),
    }
    with np.errstate(invalid="ignore"):
        return formulas[name]()


def _where(some: npt.NDArray[np.bool_], values: npt.NDArray[Any]) -> Floats:
    """Values of groups that have pixels, NaN for the others."""
    return np.where(some, values, np.nan)


def _category(name: str, tally: Ragged, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Number of values, or the most or least frequent one; the smallest of several such."""
    sizes = np.diff(tally.ptr)
    if name == "variety":
        return sizes
    rows = np.repeat(np.arange(sizes.size), sizes)
    count = tally.count if name == "minority" else -tally.count
    order = np.lexsort((tally.code, count, rows))
    found = np.full(sizes.size, np.nan)
    some = sizes > 0
    found[some] = value_of(tally.code[order[tally.ptr[:-1][some]]], dtype)
    return found


def _histogram(
    name: str, tally: Ragged, n: Ints, dtype: np.dtype[Any]
) -> dict[str, npt.NDArray[Any]]:
    """One column per value: how many pixels, or which share of the valid ones."""
    codes, column = np.unique(tally.code, return_inverse=True)
    if codes.size > _MAX_COLUMNS:
        raise ValuesError(
            f"a {name} of {codes.size:,} different values is too wide: group by the raster "
            "instead, by={'value': ...}, or ask for quantiles"
        )
    table = np.zeros((n.size, codes.size), np.int64)
    table[np.repeat(np.arange(n.size), np.diff(tally.ptr)), column] = tally.count
    values = value_of(codes, dtype)
    # Whole numbers in full: two of them must not share a column.
    is_whole = [float(v).is_integer() and abs(v) < 2**53 for v in values.tolist()]
    names = [
        f"{name}_{int(v)}" if whole else f"{name}_{v!r}"
        for v, whole in zip(values.tolist(), is_whole, strict=True)
    ]
    if name == "histogram":
        return dict(zip(names, table.T, strict=True))
    shares: Floats = table / np.where(n > 0, n, np.nan)[:, None]
    return dict(zip(names, shares.T, strict=True))
