"""Which rows the table has: zones or what they are rolled up to, by lanes, labels and thresholds.

Decided once, before anything is counted. Tasks count by zone and label; a counted row counts for
one row of the table, for several where thresholds are cumulative, or for none where a condition
leaves it out. Narrowing (`members`), merging (`merged`) and the table (`owners`) all ask here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from zoneraster._stats.families import Members, group_numbers, sorted_rows
from zoneraster._stats.keys import BELOW_CODE, EXCLUDED_CODE, UNKNOWN_CODE, Key
from zoneraster._stats.partial import Families, Partial, blank, fold, joined
from zoneraster._stats.request import Layout
from zoneraster._store import asked_column, groups_of_zones, key_name
from zoneraster.arrays import Bools, Ints
from zoneraster.errors import StoreError, name_some


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


@dataclass(frozen=True, slots=True)
class Groups:
    """The rows of the table.

    Parameters
    ----------
    owners : Owners
        In the order of the table.
    zone : (zones,) int64
        Ids of all zones, ascending.
    owner : (zones,) int64
        Position of each zone's owner.
    keys : tuple of Key
        That split the owners.
    n_lanes : int
        Combinations of extra dimensions, each of which has all rows.
    merges_zones : bool
        Owners may be several zones.
    with_area : bool
        Areas of all pixels are counted.
    is_weighted : bool
        Pixels count by what is covered of them.
    shift : int
        How much more ids are than the labels of a raster.
    """

    owners: Owners
    zone: Ints
    owner: Ints
    keys: tuple[Key, ...]
    n_lanes: int
    merges_zones: bool
    with_area: bool
    is_weighted: bool
    shift: int = 0

    @classmethod
    def of(cls, layout: Layout, zones: pa.Table, key: str, shift: int = 0) -> Groups:
        """Rows that a layout asks for.

        Parameters
        ----------
        layout : Layout
        zones : pyarrow.Table
            The zone table.
        key : str
            Its key column.
        shift : int
            How much more ids are than the labels of a raster.
        """
        ids = zones["zone_id"].to_numpy().astype(np.int64)
        if shift:
            zones = zones.set_column(0, "zone_id", pa.array(ids - shift))
        if layout.roll_up:
            owners, owner = _rolled_up(zones, layout.roll_up)
        else:
            attributes = {name: _asked(zones, name) for name in layout.attributes}
            owners = Owners({key_name(key, zones): _column(zones, key)}, attributes)
            owner = np.arange(ids.size)
        order = np.argsort(ids)
        return cls(
            owners=owners,
            zone=ids[order],
            owner=owner[order],
            keys=tuple(layout.keys.values()),
            n_lanes=layout.n_lanes,
            merges_zones=bool(layout.roll_up),
            with_area=layout.with_area,
            is_weighted=layout.is_weighted,
            shift=shift,
        )

    def knowing(self, zone: Ints) -> Groups:
        """The same; where no zone table names the zones, with rows for those that were met."""
        if self.zone.size:
            return self
        ids = np.unique(zone)
        # Arrays of others may have ids that no store of ours has.
        labels = ids - self.shift
        shown_ids = labels.astype(np.uint32) if labels.max(initial=0) < 2**32 else labels
        named = dict.fromkeys(self.owners.columns, shown_ids)
        shown = dict.fromkeys(self.owners.attributes, shown_ids)
        return replace(self, owners=Owners(named, shown), zone=ids, owner=np.arange(ids.size))

    def name_of(self, zone: int) -> str:
        """How messages call a zone: by its key; by its id where rows are no single zones."""
        if self.merges_zones or not self.zone.size:
            return f"{zone} (id)" if self.merges_zones else f"{zone - self.shift}"
        key = next(iter(self.owners.columns.values()))[self.owner_of(np.array([zone]))[0]]
        return repr(key.item() if isinstance(key, np.generic) else key)

    def owner_of(self, zone: Ints) -> Ints:
        """Owner of each zone id.

        Raises
        ------
        StoreError
            For ids that the zone table does not know.
        """
        if not self.zone.size:
            return zone
        place = np.minimum(np.searchsorted(self.zone, zone), self.zone.size - 1)
        known = self.zone[place] == zone
        if not known.all():
            ids = np.unique(zone[~known]).tolist()
            raise StoreError(
                f"the raster holds zone ids that the zone table does not know ({name_some(ids)}): "
                "build the store again"
            )
        owner: Ints = self.owner[place]
        return owner

    def members(self, index: Ints) -> Members:
        """Which rows of the table counted rows count for.

        Parameters
        ----------
        index : (rows, columns) int64
            Lane, zone id and codes of each counted row.
        """
        row = np.flatnonzero(~is_excluded(index))
        final = index[row, : 2 + len(self.keys)]
        final[:, 1] = self.owner_of(final[:, 1])
        for k, key in enumerate(self.keys, start=2):
            if key.cumulative:
                # A class counts for the thresholds 0 to its own; buckets for themselves alone.
                code = final[:, k]
                times = np.where(code >= 0, code + 1, code != BELOW_CODE)
                row, final = np.repeat(row, times), np.repeat(final, times, axis=0)
                reached = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
                final[:, k] = np.where(final[:, k] >= 0, reached, final[:, k])
        distinct, number = group_numbers(final)
        return Members(row, number, distinct.shape[0])

    def merged(self, partial: Partial, families: Families) -> Partial:
        """Counted rows merged into those of the table, in its order; zone ids become owners."""
        excluded = is_excluded(partial.index)
        if excluded.any():
            partial = partial.take(np.flatnonzero(~excluded))
        # A condition without keys leaves a column of its own.
        partial = replace(partial, index=partial.index[:, : 2 + len(self.keys)])
        for k, key in enumerate(self.keys, start=2):
            if key.cumulative:
                partial = _cumulated(partial, k, families)
        index = partial.index.copy()
        index[:, 1] = self.owner_of(index[:, 1])
        partial = replace(partial, index=index)
        if self.merges_zones and partial.n_rows:
            # Zones are merged in the order of their ids.
            partial = fold([partial], families)
        if not self.keys:
            partial = self._completed(partial, families)
        columns = [1, 0, *range(2, partial.index.shape[1])]
        return partial.take(sorted_rows(partial.index[:, columns])[0])

    def _completed(self, partial: Partial, families: Families) -> Partial:
        """Add rows for owners without a pixel."""
        if partial.n_rows == self.owners.n * self.n_lanes:
            return partial
        lane, owner = np.divmod(np.arange(self.owners.n * self.n_lanes), self.owners.n)
        index = np.stack([lane, owner], axis=1).astype(np.int64)
        more = blank(index, families, with_area=self.with_area, is_weighted=self.is_weighted)
        return fold([partial, more], families)


def is_excluded(index: Ints) -> Bools:
    """Rows that a condition leaves out."""
    if index.shape[1] == 2:
        return np.zeros(index.shape[0], bool)
    return np.isin(index[:, 2], (EXCLUDED_CODE, UNKNOWN_CODE))


def _cumulated(partial: Partial, column: int, families: Families) -> Partial:
    """Let each class of a threshold key count for all thresholds that it reaches."""
    code = partial.index[:, column]
    # One threshold after the other, so that no row is held several times.
    parts = [partial.take(np.flatnonzero((code < 0) & (code != BELOW_CODE)))]
    for reached in range(int(code.max(initial=-1)) + 1):
        part = partial.take(np.flatnonzero(code >= reached))
        part.index[:, column] = reached
        parts.append(fold([part], families))
    return joined(parts)


def _column(table: pa.Table, name: str) -> Any:  # Any: a pandas array of the column's type
    import pandas as pd  # noqa: PLC0415 - slow import

    series = table.select([name]).to_pandas()[name]
    is_extension = isinstance(series.dtype, pd.api.extensions.ExtensionDtype)
    return series.array if is_extension else series.to_numpy()


def _asked(table: pa.Table, name: str) -> Any:  # Any: as above
    """The user's column of a name, or else ours."""
    return _column(table, asked_column(table.column_names, name) or name)


def _rolled_up(zones: pa.Table, names: Sequence[str]) -> tuple[Owners, Ints]:
    """Groups of equal attributes, in the order of their first zones, and the group of each zone."""
    import pandas as pd  # noqa: PLC0415 - slow import

    frame = pd.DataFrame({name: _asked(zones, name) for name in names})
    group = groups_of_zones(zones, names)
    first = frame.loc[np.unique(group, return_index=True)[1]]
    return Owners({name: first[name].array for name in names}, {}), group
