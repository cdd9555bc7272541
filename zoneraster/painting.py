"""Values by zone, found by what the table of a call is indexed by, for the ids of the array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zoneraster._build import open_sets
from zoneraster._store import asked_column, load_spec, read_zone_table
from zoneraster._zones import given_name
from zoneraster.arrays import Ints, Later
from zoneraster.blobs import Location
from zoneraster.errors import ValuesError, ZonesError, name_some, number_of, warn

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = Later("pandas")

# Ids up to so many times their number are looked up by place, others are searched for.
_SPARSE = 8
_SMALL = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class LookUp:
    """Values of ids.

    Parameters
    ----------
    known : (n,) int64
        Ids in ascending order; none where values lie at the place of their id.
    values : array
        The last one is that of any other id.
    """

    known: Ints
    values: npt.NDArray[Any]

    def __call__(self, ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of some ids, of their shape."""
        if self.known.size:
            place = np.minimum(np.searchsorted(self.known, ids), self.known.size - 1)
            place = np.where(self.known[place] == ids, place, -1)
        else:
            place = np.minimum(ids, self.values.size - 1)
        found: npt.NDArray[Any] = self.values[place]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Painting:
    """A value for some ids.

    Parameters
    ----------
    known : (n,) int64
        Ids of zones and of sets of zones.
    values : (n,) array
        Numbers, times or texts.
    empty : number, time or text
        Of all other ids.
    name : str, optional
    unit : str, optional
    """

    known: Ints
    values: npt.NDArray[Any]
    empty: Any
    name: str | None
    unit: str | None

    def look_up(self) -> LookUp:
        """A function of arrays of ids."""
        last = np.array([self.empty], self.values.dtype)
        top = int(self.known.max(initial=0))
        if top > max(_SMALL, _SPARSE * self.known.size):
            order = np.argsort(self.known)
            return LookUp(self.known[order], np.concatenate([self.values[order], last]))
        by_id = np.repeat(last, top + 2)
        by_id[self.known] = self.values
        return LookUp(self.known[:0], by_id)


def rows_of_zones(location: Location) -> tuple[pa.Table, str]:
    """The rows of the zone table with an id, without geometries, and the name of its key column."""
    table, key = read_zone_table(location)
    return table.filter(pc.greater(table["zone_id"], 0)), key


def column_asked(table: pa.Table, name: str, location: Location) -> str:
    """The column of a zone table that a name asks for.

    Raises
    ------
    ZonesError
        Where there is none.
    """
    column = asked_column(table.column_names, name)
    if column is None:
        raise ZonesError(
            f"the zones of {location} have no column {name!r}, but "
            + ", ".join(map(given_name, table.column_names))
        )
    return column


def column_of(table: pa.Table, name: str, *, by: str) -> pd.Series[Any]:  # Any: whatever it holds
    """A stored column by another one."""
    values, index = (table[one].to_pandas().to_numpy() for one in (name, by))
    return pd.Series(values, index, name=given_name(name))


def has_sets(location: Location) -> bool:
    """Whether pixels may stand for sets of zones."""
    spec = load_spec(location, location.blobs())
    return spec is not None and spec.has_sets


def painting_of(location: Location, values: Any, *, fill: Any = None) -> Painting:
    """What the ids of a store stand for.

    Parameters
    ----------
    location : Location
    values : Series, mapping, or name of a column of the zone table
        By the key of the zones, or by the column that the index is named like.
    fill : optional
        For what has no value: NaN, or "" of texts.

    Raises
    ------
    ValuesError
        For an index with several levels, for keys that come twice or that no zone has.
    ZonesError
        For a column that the zones do not have.
    """
    table, key = rows_of_zones(location)
    series = _series_of(values, table, key, location)
    known, painted, empty = _plain(_by_zone(series, table, key, location), fill)
    unit = series.attrs.get("units", {}).get(series.name)
    name = None if series.name is None else str(series.name)
    painting = Painting(known, painted, empty, name, unit)
    return _with_sets(painting, location) if has_sets(location) else painting


def _series_of(
    values: Any, table: pa.Table, key: str, location: Location
) -> pd.Series[Any]:  # Any: as in `painting_of`
    if isinstance(values, str):
        column = column_asked(table, values, location)
        return column_of(table, column, by=key).rename_axis(given_name(key))
    if not isinstance(values, pd.Series | Mapping):
        raise ValuesError(f"give a column, such as table['mean'], not {type(values).__name__}")
    series = values if isinstance(values, pd.Series) else pd.Series(values)
    if series.index.nlevels > 1:
        raise ValuesError(
            f"values are by {', '.join(map(str, series.index.names))}, so a zone may have "
            f"several: take one of them, with .xs(..., level={series.index.names[-1]!r})"
        )
    twice = series.index[series.index.duplicated()].unique()
    if len(twice):
        raise ValuesError(f"several values for {name_some(list(twice))}: a zone has one")
    return series


def _by_zone(
    series: pd.Series[Any], table: pa.Table, key: str, location: Location
) -> pd.Series[Any]:  # Any: as in `painting_of`
    """Values by zone id, of the zones that have one."""
    if series.index.name is not None:
        key = asked_column(table.column_names, str(series.index.name)) or key
    keys = table[key].to_pandas()
    unknown = series.index[~series.index.isin(keys)]
    if len(unknown):
        raise ValuesError(
            f"no zone of {location} has {given_name(key)} = {name_some(list(unknown))}: "
            "values are found by the key of the zones"
        )
    has_value = keys.isin(series.index)
    if not has_value.all():
        without = list(keys[~has_value])
        warn(f"{number_of(len(without), 'zone')} without a value: {name_some(without)}")
    found = series.reindex(keys[has_value])
    found.index = table["zone_id"].to_pandas()[has_value].to_numpy()
    return found


def _plain(
    values: pd.Series[Any], fill: Any
) -> tuple[Ints, npt.NDArray[Any], Any]:  # Any: numbers, times or texts
    """Ids, their values as NumPy has them, and what is painted elsewhere."""
    types = pd.api.types
    known, dtype = values.index.to_numpy().astype(np.int64), values.dtype
    if types.is_datetime64_any_dtype(dtype):
        empty: Any = np.datetime64("NaT" if fill is None else fill)
        return known, values.to_numpy("datetime64[ns]"), empty
    if not types.is_numeric_dtype(dtype):
        empty = "" if fill is None else str(fill)
        texts = values.astype(object).where(values.notna(), empty).astype(str)
        width = max(len(empty), 1, *texts.str.len()) if len(texts) else 1
        return known, texts.to_numpy(f"<U{width}"), empty
    if fill is None or values.isna().any():
        plain = values.to_numpy(np.float32 if dtype == np.float32 else np.float64, na_value=np.nan)
    else:
        plain = values.to_numpy()
    empty = np.nan if fill is None else fill
    # Whole numbers and their fill in what holds both.
    plain = plain.astype(np.result_type(plain.dtype, np.min_scalar_type(empty)))
    return known, np.where(np.isnan(plain), plain.dtype.type(empty), plain), empty


def _with_sets(painting: Painting, location: Location) -> Painting:
    """With values of the sets of zones that all have the same."""
    sets = open_sets(location)
    ids, own = sets["set_id"].to_numpy(), painting.look_up()(sets["zone_id"].to_numpy())
    first = np.flatnonzero(np.diff(ids, prepend=0))
    sizes = np.diff(first, append=ids.size)
    of_first = np.repeat(own[first], sizes)
    # What is missing differs from itself.
    is_alike = (own == of_first) | ((own != own) & (of_first != of_first))
    agree = np.logical_and.reduceat(is_alike, first) if first.size else np.zeros(0, bool)
    if not agree.all():
        pixels = int(sets["pixels"].to_numpy()[first][~agree].sum())
        n = int((~agree).sum())
        warn(
            f"{number_of(pixels, 'pixel')} of {number_of(n, 'set')} of zones have no value, as "
            "these zones have different ones"
        )
    known = np.concatenate([painting.known, ids[first][agree].astype(np.int64)])
    values = np.concatenate([painting.values, own[first][agree]])
    return Painting(known, values, painting.empty, painting.name, painting.unit)
