"""What a source of zones holds: attributes, geometry as it is stored, its reference system."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
from pyproj import CRS
from pyproj.exceptions import CRSError

from zoneraster._grid import same_crs
from zoneraster.arrays import Ints, Objects
from zoneraster.errors import ZonesError

# Placeholders that files and drivers write where nobody has said which system it is.
_UNDEFINED = re.compile(r"undefined\b.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """What a source holds.

    Parameters
    ----------
    label : str
        How messages name it.
    table : pyarrow.Table
        Attributes without geometry.
    wkb : (n,) pyarrow.LargeBinaryArray
    crs : pyproj.CRS or None
        None where none is declared.
    geometry : (n,) object or None
        shapely objects, only where the source has them already.
    is_spherical : bool
        Edges are declared to be arcs.
    index : tuple of (name or None, (n,) pyarrow.ChunkedArray)
        Levels of the frame's own index; none where rows are counted.
    feature_ids : mapping of str to (n,) pyarrow.ChunkedArray
        Ids that features have beside their attributes; read where they were asked for.
    refused : mapping of str to str
        Columns that were left out, and why; one of a name that others have had too is kept.
    notes : tuple of str
        What was guessed or left out, in sentences for the report.
    said_crs : str
        What the source says of a reference system that is not known.
    own : tuple of str
        Columns that the store has added that the zones come from.
    is_assumable : bool
        The reference system is the format's default, not the file's word.
    """

    label: str
    table: pa.Table
    wkb: pa.LargeBinaryArray
    crs: CRS | None
    geometry: Objects | None = None
    is_spherical: bool = False
    index: tuple[tuple[str | None, pa.ChunkedArray], ...] = ()
    feature_ids: Mapping[str, pa.ChunkedArray] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    said_crs: str = ""
    own: tuple[str, ...] = ()
    is_assumable: bool = False

    def zone(self, key: str, row: int) -> str:
        """How a message names a row."""
        return f"row {row} (key {self.table[key][row].as_py()!r})"

    def keys(self, key: str, rows: Ints) -> tuple[object, ...]:
        """The user's keys of some rows."""
        return tuple(self.table[key].take(pa.array(rows)).to_pylist())


def parsed_crs(crs: object, label: str) -> CRS | None:
    """A reference system, or None where none is declared."""
    try:
        return None if crs is None else CRS.from_user_input(crs)
    except CRSError as err:
        raise ZonesError(f"{label}: unknown CRS {str(crs)[:200]!r}: {err}") from err


def with_crs(found: Source, crs: object) -> Source:
    """The source with the reference system that it declares, as far as that says anything."""
    try:
        known = None if crs is None else CRS.from_user_input(crs)
    except (CRSError, TypeError):
        return replace(found, crs=None, said_crs=" ".join(str(crs).split())[:100])
    if known is not None and _is_undefined(known):
        return replace(found, crs=None, said_crs=known.name)
    return replace(found, crs=known)


def _is_undefined(crs: CRS) -> bool:
    """A placeholder: no place on Earth follows from it."""
    return crs.type_name == "Engineering CRS" or bool(_UNDEFINED.fullmatch(crs.name))


def crs_of(found: Source, assume_crs: object) -> tuple[CRS, tuple[str, ...]]:
    """The reference system that a source declares, or that is assumed where it declares none.

    Returns
    -------
    crs : pyproj.CRS
    notes : tuple of str
        What the report says of it.
    """
    assumed = parsed_crs(assume_crs, "assume_crs")
    crs = found.crs or assumed
    if crs is None:
        said = "no CRS"
        if found.said_crs:
            said = f"a CRS that says nothing or that PROJ does not know ({found.said_crs!r})"
        raise ZonesError(
            f"{found.label} declares {said}: say which it is with assume_crs=, e.g. 'EPSG:4326'"
        )
    if assumed is None or same_crs(crs, assumed):
        return crs, ()
    if found.is_assumable:
        note = (
            f"{found.label} declares no CRS, which stands for {crs.name}: its coordinates are "
            f"taken for {assumed.name}, as assume_crs= says"
        )
        return assumed, (note,)
    raise ZonesError(
        f"{found.label} declares the CRS {crs.name}, not {assumed.name}: leave out "
        "assume_crs=, or correct the CRS in the file"
    )
