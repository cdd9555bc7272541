"""From what was counted to the table that people read."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoneraster._stats.audit import check_closure, ends_inside
from zoneraster._stats.families import (
    AREA_UNITS,
    OF_PIXELS,
    Columns,
    Family,
    Group,
    Rows,
)
from zoneraster._stats.groups import Groups, Owners
from zoneraster._stats.keys import Key
from zoneraster._stats.labelled import with_labels
from zoneraster._stats.partial import Families, Partial
from zoneraster._stats.request import Layout
from zoneraster.arrays import Ints
from zoneraster.errors import ValuesError, name_some, warn

if TYPE_CHECKING:
    import geopandas
    import pandas as pd


def make_table(
    partial: Partial, groups: Groups, layout: Layout, families: Families, zones: pa.Table
) -> pd.DataFrame:
    """The table of what was counted.

    Parameters
    ----------
    partial : Partial
        Of all tasks.
    groups : Groups
        Rows of the table.
    layout : Layout
    families : tuple of tuple of Family
        That have counted.
    zones : pyarrow.Table
        The zone table; empty where the store has none.

    Raises
    ------
    ClosureError
        When a zone has more or fewer pixels than the build counted.
    """
    audit = check_closure(partial, layout, zones)
    warn(*ends_inside(partial, layout))
    partial = groups.merged(partial, families)
    columns, units = _columns(partial, layout, families)
    frame = _frame(partial, groups.owners, layout, columns)
    frame.attrs = {"audit": audit, "units": units, "attributes": [*groups.owners.attributes]}
    return with_labels(frame)


def with_polygons(
    table: pd.DataFrame, polygons: geopandas.GeoSeries, zones: pa.Table, key: str
) -> geopandas.GeoDataFrame:
    """A table with the polygon of each zone.

    Parameters
    ----------
    table : pandas.DataFrame
        Whose first level of the index are the zones.
    polygons : geopandas.GeoSeries
        By the ids of the zones.
    zones : pyarrow.Table
        The zone table.
    key : str
        Its key column.
    """
    import geopandas  # noqa: PLC0415 - slow import
    import pandas as pd  # noqa: PLC0415 - slow import

    if "geometry" in table.columns or "geometry" in table.index.names:
        raise ValuesError("a column of the table is named 'geometry', as polygons are: rename it")
    ids = pd.Series(zones["zone_id"].to_numpy(), index=zones[key].to_pandas())
    of_rows = ids.reindex(table.index.get_level_values(0)).to_numpy()
    shapes = polygons[polygons.index > 0].reindex(of_rows)
    frame = geopandas.GeoDataFrame(table, geometry=shapes.to_numpy(), crs=polygons.crs)
    frame.attrs = table.attrs
    return with_labels(frame)


def _frame(partial: Partial, owners: Owners, layout: Layout, statistics: Columns) -> pd.DataFrame:
    """Levels of the index, attributes of the owners, statistics."""
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
    for name, values in statistics.items():
        if name in columns or name in levels:
            raise ValuesError(f"two columns would be named {name!r}: rename a measure or key")
        columns[name] = values
    if len(levels) == 1:
        ((name, values),) = levels.items()
        index = pd.Index(values, name=name)
    else:
        index = _ordered_index(levels, sort=layout.keys)
    return pd.DataFrame(columns, index=index)


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


def _columns(
    partial: Partial, layout: Layout, families: Families
) -> tuple[Columns, dict[str, str]]:
    """All columns of statistics, and units of those that have one."""
    unit = AREA_UNITS[layout.area_unit]
    units: dict[str, str] = {}
    columns: Columns = {}
    if not layout.measures:
        group = Group(partial.amount, partial.area, unit, unit)
        for name in layout.wanted.names:
            column, said = layout.column_of(name, None)
            _add(columns, units, column, OF_PIXELS[name](group), said)
    for m, measure in enumerate(layout.measures):
        group = Group(partial.amount, partial.area, unit, AREA_UNITS[measure.rate_unit])
        for name in layout.wanted.names:
            column, said = layout.column_of(name, measure)
            for suffix, values in _finished(name, families[m], partial.counted[m], group).items():
                _add(columns, units, column + suffix, values, said)
    return columns, units


def _add(
    columns: Columns, units: dict[str, str], name: str, values: Any, unit: str | None
) -> None:  # Any: a column
    if name in columns:
        raise ValuesError(f"two columns would be named {name!r}: rename a measure or statistic")
    columns[name] = values
    if unit is not None:
        units[name] = unit


def _finished(
    name: str, families: Sequence[Family], counted: Sequence[Rows], group: Group
) -> Columns:
    """Columns of a statistic, by what follows its name."""
    # Statistics of one's own come last, and go first where they are named like one of ours.
    for family, rows in zip(reversed(families), reversed(counted), strict=True):
        found = family.finish(rows, name, group)
        if found is not None:
            return found
    raise AssertionError(f"no family counts for {name!r}")
