"""GeoParquet, and Parquet whose columns are declared to be geometries."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoneraster._zones.columns import kept_columns, utf8_text
from zoneraster._zones.sources import Source, with_crs
from zoneraster._zones.wkb import wkb_of
from zoneraster.errors import ZonesError

# Of GeoParquet; points and lines are read too, so that the message tells which rows they are.
NATIVE_ENCODINGS = (
    "polygon", "multipolygon", "point", "linestring", "multipoint", "multilinestring",
)  # fmt: skip


def from_parquet(source: Any, label: str) -> Source:  # Any: path or file object
    """Attributes, the index that pandas left, and geometry of a Parquet file."""
    try:
        # Read ahead in large pieces: page by page takes twice as long.
        file = pq.ParquetFile(source, pre_buffer=True)
    except (pa.ArrowException, OSError) as err:
        raise ZonesError(f"{label} is not readable Parquet: {err}") from err
    primary, column, left_out = _geometry_column(file, label)
    encoding = column.get("encoding", "WKB")
    if encoding != "WKB" and encoding not in NATIVE_ENCODINGS:
        raise ZonesError(
            f"{label}: geometry column {primary!r} is encoded as {encoding!r:.100}: zones must be "
            "WKB, polygon or multipolygon; write it anew with GeoDataFrame.to_parquet"
        )
    schema = file.schema_arrow
    is_read = encoding == "WKB"
    names = [n for n in schema.names if n not in left_out and (is_read or n != primary)]
    try:
        table = file.read(columns=names)
    except (pa.ArrowException, OSError) as err:
        raise ZonesError(f"{label} is not readable Parquet: {err}") from err
    geometry = None
    if is_read:
        wkb = combined(table[primary])
        table = table.drop_columns([primary])
    else:
        geometry = _native_geometry(source, primary)
        wkb = wkb_of(geometry)
    is_spherical = column.get("edges", "planar") != "planar"
    found = Source(label, pa.table({}), wkb, None, geometry, is_spherical)
    found = replace(found, index=_pandas_index(schema, table), notes=column.get("notes", ()))
    columns = [(n, c) for n, c in zip(table.column_names, table.columns, strict=True)
               if not n.startswith("__index_level_")]  # fmt: skip
    return with_crs(utf8_text(kept_columns(found, columns)), column.get("crs"))


def _native_geometry(source: Any, primary: str) -> Any:  # Any: path or file object; geometries
    """Objects of a column that is encoded by coordinates."""
    import geopandas  # noqa: PLC0415 - rarely needed, and slow to import

    if hasattr(source, "seek"):
        source.seek(0)
    return np.asarray(geopandas.read_parquet(source, columns=[primary]).geometry, dtype=object)


def combined(column: pa.ChunkedArray) -> pa.LargeBinaryArray:
    """One array with 64-bit offsets, so that no file is too large for it."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array(
            [chunk.storage for chunk in column.chunks], column.type.storage_type
        )
    column = column.cast(pa.large_binary())
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks or [pa.array([], pa.large_binary())])


def _pandas_index(
    schema: pa.Schema, table: pa.Table
) -> tuple[tuple[str | None, pa.ChunkedArray], ...]:
    """The index of the frame that was written, as geopandas reads it again."""
    levels: list[tuple[str | None, pa.ChunkedArray]] = []
    try:
        said = schema.pandas_metadata or {}
        named = {one["field_name"]: one["name"] for one in said.get("columns", ())}
        for one in said.get("index_columns", ()):
            if isinstance(one, str):
                name = named.get(one, one)
                levels.append((None if name is None else str(name), table[one]))
                continue
            rows = np.arange(one["start"], one["stop"], one["step"], dtype=np.int64)
            name = one["name"]
            levels.append((None if name is None else str(name), pa.chunked_array([rows])))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()  # what pandas says is damaged, or of other columns
    if any(len(column) != table.num_rows for _, column in levels):
        return ()
    return tuple(levels)


# ---- which column, and what is said of it --------------------------------------------------------


def _geometry_column(file: pq.ParquetFile, label: str) -> tuple[str, dict[str, Any], set[str]]:
    """Name and description (JSON, hence Any) of the geometry column, and columns to leave out."""
    schema = file.schema_arrow
    if b"geo" in (schema.metadata or {}):
        primary, columns = _geo_metadata(schema, label)
        covering = [column.get("covering", {}).get("bbox", {}) for column in columns.values()]
        boxes = {path[0] for box in covering for path in box.values()}
        # A CRS that is absent is OGC:CRS84; one that is null is unknown.
        description = {"crs": "OGC:CRS84", **columns[primary]}
        return primary, description, (boxes | set(columns)) - {primary}
    declared = {**_extension_columns(schema), **_logical_columns(file)}
    if not declared:
        raise ZonesError(
            f"{label} has no 'geo' metadata and no column of geometries, so it is not GeoParquet: "
            f"write it with GeoDataFrame.to_parquet (columns: {', '.join(schema.names)})"
        )
    primary, *rest = sorted(declared, key=schema.names.index)
    notes: tuple[str, ...] = ()
    if rest:
        note = (
            f"{label}: zones are {primary!r}, the first of its columns of geometries; left out: "
            f"{', '.join(rest)}"
        )
        notes = (note,)
    return primary, {**declared[primary], "notes": notes}, set(rest)


def _geo_metadata(schema: pa.Schema, label: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """Name of the primary geometry column and descriptions of all, as far as they can be trusted.

    Any: whatever JSON holds.
    """
    text = schema.metadata[b"geo"]
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    match said:
        case {"primary_column": str(primary), "columns": dict(columns)} if all(
            isinstance(one, dict) for one in columns.values()
        ):
            if primary in columns and schema.names.count(primary) == 1:
                return primary, columns
            wrong = f"no single column {primary!r} of geometries; columns: {schema.names}"
        case _:
            wrong = f"no primary_column and columns in {text[:100]!r}"
    raise ZonesError(
        f"{label}: its 'geo' metadata is damaged, {wrong}; write it anew with "
        "GeoDataFrame.to_parquet"
    )


def _logical_columns(file: pq.ParquetFile) -> dict[str, dict[str, Any]]:
    """Columns of Parquet's own types GEOMETRY and GEOGRAPHY, and what the types say."""
    found = {}
    for at in range(len(file.schema)):
        column = file.schema.column(at)
        said = json.loads(column.logical_type.to_json())
        kind = said.get("Type")
        if kind in ("Geometry", "Geography") and column.path in file.schema_arrow.names:
            crs = _parquet_crs(said.get("crs") or "", file.metadata.metadata or {})
            found[column.path] = {"crs": crs}
            if kind == "Geography":
                found[column.path]["edges"] = said.get("algorithm") or "spherical"
    return found


def _parquet_crs(text: str, metadata: dict[bytes, bytes]) -> Any:  # Any: JSON or text
    """What the type of a column says of its reference system; nothing is OGC:CRS84."""
    if not text:
        return "OGC:CRS84"
    kind, _, rest = text.partition(":")
    if kind == "srid":
        return f"EPSG:{rest}"
    if kind == "projjson":
        return metadata.get(rest.encode(), text.encode()).decode("utf-8", "replace")
    return text


def _extension_columns(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Columns of the Arrow type geoarrow.wkb, whether a library has registered it or not."""
    found = {}
    for field in schema:
        metadata = field.metadata or {}
        name = metadata.get(b"ARROW:extension:name", b"").decode("utf-8", "replace")
        text: Any = metadata.get(b"ARROW:extension:metadata")
        if isinstance(field.type, pa.BaseExtensionType):
            name = field.type.extension_name
            text = field.type.__arrow_ext_serialize__()
        if name in ("geoarrow.wkb", "ogc.wkb"):
            said = json.loads(text or b"{}")
            found[field.name] = {"crs": said.get("crs"), "edges": said.get("edges") or "planar"}
    return found
