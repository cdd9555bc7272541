"""Columns of the user's table: what a store can keep of them, and their text as UTF-8.

A column that nobody asked for never stops a build: what cannot be kept is left out and named.
"""

from __future__ import annotations

import codecs
import io
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zoneraster._zones.sources import Source
from zoneraster.errors import NAMED, name_some, number_of

# Of the zone table of a store, its pixel counts among them.
OUR_COLUMNS = ("zone_id", "claimed", "owned", "contested", "area_m2")
# Of that of a store with layers, before the first of them: in which one a zone is.
LAYER = "layer"
_OURS = {
    with_layers: re.compile(rf"({'|'.join((*OUR_COLUMNS, 'geometry', *more))})(_input)*")
    for with_layers, more in ((False, ()), (True, (LAYER,)))
}
# What text is taken for that is neither UTF-8 nor what its file says.
FALLBACK = "cp1252"


def kept_columns(found: Source, columns: Iterable[tuple[str, Any]]) -> Source:
    """A source with those columns that a store can keep; the others are named.

    Parameters
    ----------
    found : Source
    columns : iterable of (name, values)
        Arrow arrays, or whatever `pyarrow.array` takes.
    """
    names: list[str] = []
    arrays: list[pa.ChunkedArray] = []
    refused = dict(found.refused)
    for name, values in columns:
        if name in names:
            refused[name] = "another column has its name"
            continue
        try:
            array = _arrow(values)
            _check_type(array.type)
        except Exception as err:  # noqa: BLE001 - whatever the objects of a column make Arrow raise
            refused[name] = _reason(err)
        else:
            names.append(name)
            arrays.append(array)
    table = pa.Table.from_arrays(arrays, names=names)
    new = [f"{name!r} ({why})" for name, why in refused.items() if name not in found.refused]
    notes = found.notes
    if new:
        said = "column" if len(new) == 1 else "columns"
        notes = (*notes, f"{found.label}: {len(new)} {said} left out: {name_some(new)}")
    return replace(found, table=table, refused=refused, notes=notes)


def _arrow(values: Any) -> pa.ChunkedArray:  # Any: a pandas or Arrow column
    """Values as Arrow has them."""
    if isinstance(values, pa.ChunkedArray):
        return values
    if type(getattr(values, "dtype", None)).__name__ == "SparseDtype":
        values = values.sparse.to_dense()
    found = pa.array(values, from_pandas=True)
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def _check_type(kind: pa.DataType) -> None:
    """Raise where Parquet has no such type; flat ones are all there."""
    if pa.types.is_nested(kind) or pa.types.is_dictionary(kind) or _is_extension(kind):
        sink = io.BytesIO()
        pq.write_table(pa.table({"column": pa.array([], kind)}), sink)
        pq.read_table(sink)
        if pa.types.is_dictionary(kind):
            _check_type(kind.value_type)
            pa.array([], kind).cast(kind.value_type)
    elif pa.types.is_union(kind) or pa.types.is_interval(kind):
        raise TypeError(f"Parquet has no {kind}")


def _is_extension(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType)


def _reason(err: Exception) -> str:
    """Why a column cannot be kept, on one line."""
    return f"{type(err).__name__}: {' '.join(str(err).split())[:120]}"


# ---- names that are ours -------------------------------------------------------------------------


def tells_layers(names: Sequence[str]) -> bool:
    """Whether columns are those of the zone table of a store with layers.

    In that of others nothing stands before the zone id, and a column `layer` is the user's.
    """
    return (LAYER, "zone_id") in itertools.pairwise(names)


def stored_name(name: str, *, with_layers: bool = False) -> str:
    """Name of a user's column in the stored zone table.

    What such a name comes from is renamed too, when the zones of a store go into another one: no
    two names become one.

    Parameters
    ----------
    name : str
    with_layers : bool
        It is the table of a store with layers, see `tells_layers`.

    Examples
    --------
    >>> stored_name("claimed"), stored_name("claimed_input"), stored_name("name")
    ('claimed_input', 'claimed_input_input', 'name')
    """
    return f"{name}_input" if _OURS[with_layers].fullmatch(name) else name


def given_name(stored: str, *, with_layers: bool = False) -> str:
    """Inverse of `stored_name`: what the user calls a column of the stored zone table.

    Examples
    --------
    >>> given_name("claimed_input"), given_name("claimed"), given_name("name")
    ('claimed', 'claimed', 'name')
    """
    name = stored.removesuffix("_input")
    return name if _OURS[with_layers].fullmatch(name) else stored


def of_a_store(found: Source) -> Source:
    """The zone table of a store as the user's own table again, and which columns are the store's.

    What was stored with ``_input`` behind its name has its own name again.
    """
    table = found.table
    kinds = {name: table.schema.field(name).type for name in table.column_names}
    is_number = [
        name in kinds and (pa.types.is_integer(kinds[name]) or pa.types.is_floating(kinds[name]))
        for name in OUR_COLUMNS
    ]
    if not all(is_number):
        return found
    with_layers = tells_layers(table.column_names)
    ours = (LAYER, *OUR_COLUMNS) if with_layers else OUR_COLUMNS
    given = [given_name(name, with_layers=with_layers) for name in table.column_names]
    own = [name for name in ours if given.count(name) == 1]
    kept = [
        (stored, name) for stored, name in zip(table.column_names, given, strict=True)
        if stored != name or stored in own or stored not in ours
    ]  # fmt: skip
    table = table.select([stored for stored, _ in kept]).rename_columns([name for _, name in kept])
    return replace(found, table=table, own=tuple(own))


# ---- text ----------------------------------------------------------------------------------------


def utf8_text(found: Source) -> Source:
    """A source without text that is not UTF-8: such values are taken for Windows-1252, and named.

    Files carry any bytes where they promise UTF-8, and Arrow passes them on.
    """
    table, said = found.table, []
    for at, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        if not _is_text(column.type) or _is_valid(column):
            continue
        values = _bytes_of(column)
        bad = [row for row, value in enumerate(values) if not _is_utf8(value)]
        texts = [None if value is None else decoded(value, "utf-8") for value in values]
        table = table.set_column(at, name, pa.chunked_array([pa.array(texts, pa.large_string())]))
        rows = ", ".join(str(row) for row in bad[:NAMED])
        said.append(f"{name!r} in {number_of(len(bad), 'row')} (first: {rows})")
    if not said:
        return found
    note = (
        f"{found.label}: text that is not UTF-8 was read as Windows-1252: {name_some(said)}; "
        "write it as UTF-8 where that is wrong"
    )
    return replace(found, table=table, notes=(*found.notes, note))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_valid(column: pa.ChunkedArray) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _bytes_of(column: pa.ChunkedArray) -> list[bytes | None]:
    is_large = pa.types.is_large_string(column.type)
    values: list[bytes | None] = column.cast(
        pa.large_binary() if is_large else pa.binary()
    ).to_pylist()
    return values


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def decoded(value: bytes, encoding: str) -> str:
    """Text of bytes, in an encoding where they are, else in the fallback; any bytes are text."""
    for name in (encoding, FALLBACK):
        try:
            return value.decode(name)
        except UnicodeDecodeError:
            continue
    return value.decode("latin-1")


def _text(value: bytes, encoding: str) -> str:
    """Text of bytes of an encoding, without the half of a character at its end."""
    found = _cut(value, encoding)
    return decoded(value, encoding) if found is None else found


def _cut(value: bytes, encoding: str) -> str | None:
    """Text of bytes whose last character may be cut off, as in a full field; None for others."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(value, final=False)
    except UnicodeDecodeError:
        return None


def _fits(texts: list[bytes], encoding: str) -> bool:
    """Texts, none of them ASCII alone, are of an encoding.

    One whole character has to be there: the last letter of a word in Windows-1252 looks like the
    beginning of one that is cut off.
    """
    found = [_cut(text, encoding) for text in texts]
    return None not in found and not all((text or "").isascii() for text in found)


def decoded_dbf(found: Source, stated: str | None, hint: str | None) -> Source:
    """Text of a Shapefile that was read as ISO 8859-1, which keeps its bytes, in its encoding.

    Parameters
    ----------
    found : Source
    stated : str or None
        What the .cpg says, as Python calls it.
    hint : str or None
        The code page in the header of the .dbf, which many writers do not care for: UTF-8 goes
        before it where all text is UTF-8.
    """
    table = found.table
    texts = [name.encode("latin-1", "replace") for name in table.column_names]
    foreign: dict[int, list[bytes | None]] = {}
    for at, column in enumerate(table.columns):
        if _is_text(column.type) and not pc.all(pc.string_is_ascii(column)).as_py():
            values = [None if v is None else v.encode("latin-1") for v in column.to_pylist()]
            foreign[at] = values
            texts += [value for value in values if value is not None]
    texts = [text for text in texts if not text.isascii()]
    if not texts:
        return found
    wishes = [stated, "utf-8", hint] if stated else ["utf-8", hint]
    tried = [name for name in wishes if name is not None]
    encoding = next((name for name in tried if _fits(texts, name)), FALLBACK)
    for at, values in foreign.items():
        column = [None if value is None else _text(value, encoding) for value in values]
        arrays = pa.chunked_array([pa.array(column, pa.large_string())])
        table = table.set_column(at, table.column_names[at], arrays)
    names = [_text(name.encode("latin-1"), encoding) for name in table.column_names]
    found = replace(found, table=table.rename_columns(names))
    if encoding in (stated, hint) or (encoding == "utf-8" and not stated):
        return found
    why = f"its .cpg says {stated}, which it is not" if stated else "no .cpg says which it is"
    note = (
        f"{found.label}: text was read as {encoding}, {why}; where that is wrong, write the name "
        "of the encoding into a file of the same name that ends in .cpg"
    )
    return replace(found, notes=(*found.notes, note))


def dbf_codec(name: str) -> str | None:
    """What Python calls the encoding that a .cpg names; None for one that it does not know.

    Examples
    --------
    >>> dbf_codec("ANSI 1252"), dbf_codec("65001"), dbf_codec("ISO 88591"), dbf_codec("none")
    ('cp1252', 'utf-8', 'iso8859-1', None)
    """
    text = name.strip().lower().removeprefix("ansi").removeprefix("oem").strip(" -_")
    if text.isdigit() and text.startswith("8859"):
        text = f"iso8859-{text[4:]}"
    elif text.startswith("iso") and text.replace(" ", "").replace("-", "")[3:].startswith("8859"):
        digits = text.replace(" ", "").replace("-", "").replace("_", "")[7:]
        text = f"iso8859-{digits}"
    for guess in ("utf-8" if text == "65001" else text, f"cp{text}"):
        try:
            return codecs.lookup(guess).name
        except (LookupError, ValueError):
            continue
    return None


# Language driver of a .dbf (byte 29 of its header): code pages that Python has.
_DRIVERS = {
    0x01: "cp437", 0x02: "cp850", 0x03: "cp1252", 0x08: "cp865", 0x0A: "cp850", 0x0D: "cp437",
    0x13: "cp932", 0x1F: "cp852", 0x22: "cp852", 0x23: "cp852", 0x24: "cp860", 0x26: "cp866",
    0x40: "cp852", 0x4D: "gbk", 0x4E: "cp949", 0x4F: "cp950", 0x50: "cp874", 0x57: "cp1252",
    0x58: "cp1252", 0x59: "cp1252", 0x64: "cp852", 0x65: "cp866", 0x66: "cp865", 0x67: "cp861",
    0x6A: "cp737", 0x6B: "cp857", 0x78: "cp950", 0x79: "cp949", 0x7A: "gbk", 0x7B: "cp932",
    0x7C: "cp874", 0x7D: "cp1255", 0x7E: "cp1256", 0x87: "cp852", 0x88: "cp857", 0xC8: "cp1250",
    0xC9: "cp1251", 0xCA: "cp1254", 0xCB: "cp1253", 0xCC: "cp1257",
}  # fmt: skip


def dbf_hint(header: bytes) -> str | None:
    """Code page in the header of a .dbf, where it has one."""
    return _DRIVERS.get(header[29]) if len(header) > 29 else None
