"""What the reduction knows of zones: runs in planes, chunk by chunk, from some source.

The first plane is the array; where zones lie over each other, more of them hold what each claims
and does not own, so that every zone is met whole and every pixel once per zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa

from zoneraster._build import ChunkRuns
from zoneraster._grid import Grid, Window
from zoneraster._store import PixelRule
from zoneraster.arrays import Ints

if TYPE_CHECKING:
    import geopandas


class Planes(NamedTuple):
    """Runs of a chunk.

    Parameters
    ----------
    painted : sequence of ChunkRuns
        What is read of it: the array, or its layers.
    covered : sequence of ChunkRuns
        What zones claim of pixels that others own: pixels of `painted` once more.
    """

    painted: Sequence[ChunkRuns] = ()
    covered: Sequence[ChunkRuns] = ()


class ZoneRuns(Protocol):
    """Zones, chunk by chunk: what the reduction knows of them."""

    grid: Grid
    chunks: tuple[int, int]

    def positions(self) -> list[tuple[int, int]]:
        """Chunk rows and columns that hold zones, ascending."""

    def fingerprint(self, chunk: tuple[int, int]) -> bytes:
        """What changes whenever the zones of a chunk do."""

    def planes(self, chunk: tuple[int, int], only: Ints | None = None) -> Planes:
        """Runs of a chunk, without those layers that have no zone in it.

        Of zones that are not in `only` none need be there.
        """


class ZoneSource(Protocol):
    """Where zones come from: what travels to workers. Another source is another such record."""

    def __hash__(self) -> int:
        """Equal sources are opened once per process."""

    def open(self) -> ZoneRuns:
        """The zones, opened once per process."""

    def table(self) -> tuple[pa.Table, str]:
        """The zone table without geometries, and the name of its key column."""

    def rows(self, table: pa.Table) -> pa.Table:
        """Of a table of all zones, the rows of those that are looked at."""

    def ruled(self, rule: PixelRule) -> ZoneSource:
        """The zones with the pixels that they have by a rule.

        Raises
        ------
        StoreError
            Where these are not known.
        """

    def claimed(self, table: pa.Table, merged_by: tuple[str, ...]) -> ZoneSource:
        """The zones with all that they claim, those that agree in some columns as one."""

    def selecting(self, zones: Ints) -> ZoneSource:
        """Some zones alone, by their ids; pixels of others have no zone."""

    def narrowed(self, windows: Sequence[Window]) -> ZoneSource:
        """What a worker needs to look at some windows of the grid."""

    def polygons(self) -> geopandas.GeoSeries:
        """The polygon of each zone, by its id.

        Raises
        ------
        StoreError
            Where none are known.
        """

    def said(self) -> tuple[object, ...]:
        """What decides which pixels a zone has, beside the fingerprints of chunks."""

    @property
    def place(self) -> str:
        """What calls have in common that ask the same zones; empty where nothing tells."""

    @property
    def remarkable(self) -> dict[str, Any]:
        """Zones of which more is to be known, for the audit; JSON, hence Any."""

    @property
    def shift(self) -> int:
        """How much more the id of a zone is than its number in a raster of labels."""

    @property
    def is_selected(self) -> bool:
        """Not all zones are looked at."""

    @property
    def owns_all(self) -> bool:
        """Zones own all that they claim, also where they lie over each other."""

    @property
    def are_claimed(self) -> bool:
        """Zones have all that they claim."""

    @property
    def merged_by(self) -> tuple[str, ...]:
        """Columns of the zone table: zones that agree in them count as one."""

    @property
    def rule(self) -> PixelRule | None:
        """By which rule zones have pixels, where it is another than that of the array."""
