"""Zones: polygons and their keys, read, checked and brought to the grid.

Keys stay exact (nothing passes through float64 on the way), coordinates stay exact where the
reference systems agree, and no row is dropped without being named.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError

from zoneraster.errors import ZonerasterWarning, ZonesError
from zoneraster.grid import Grid
from zoneraster.reproject import Projection, reproject_rings

log = logging.getLogger(__name__)

Objects = npt.NDArray[np.object_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
OnInvalid = Literal["error", "skip", "repair"]

MAX_ID = 2**32 - 1
SHOWN = 5
ROWS_AT_ONCE = 16_384
MAX_LATITUDE = 90 + 1e-9
MAX_LONGITUDE = 540.0
# Others, such as reference://, lead from one URL to any other file.
URL_SCHEMES = ("file", "memory", "s3", "gs", "gcs", "az", "abfs", "abfss", "http", "https")
SHAPEFILE_MAGIC = b"\x00\x00\x27\x0a"
READABLE = "GeoParquet, GeoPackage, Shapefile, FlatGeobuf or GeoJSON"

# What is found in a row's WKB; a positive code is the type of something that is not a polygon.
FINE, NULL, EMPTY, BROKEN, SHORT_RING, NOT_FINITE, SRID = 0, -1, -2, -3, -4, -5, -6
POLYGON, MULTIPOLYGON = 3, 6
REASONS = {
    NULL: "geometry is null",
    EMPTY: "geometry is empty",
    BROKEN: "geometry is not readable WKB",
    SHORT_RING: "a ring has only {detail} vertices",
    NOT_FINITE: "vertex {detail} (counted from 0) is not finite",
    SRID: "geometry is EWKB with an SRID, not plain WKB",
}
TYPE_NAMES = (
    "Geometry", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
    "GeometryCollection", "CircularString", "CompoundCurve", "CurvePolygon", "MultiCurve",
    "MultiSurface", "Curve", "Surface", "PolyhedralSurface", "TIN", "Triangle",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row of the input that is not burned.

    Parameters
    ----------
    row : int
        0-based row number in the input.
    key : object
        The zone's key.
    reason : str
    """

    row: int
    key: object
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Zones:
    """Zones that can be burned, in input order.

    Parameters
    ----------
    table : pyarrow.Table
        Attributes without geometry.
    key : str
        Name of the column that names the zones.
    geometry : (n,) object
        shapely Polygon or MultiPolygon, 2-D, in the CRS of the grid.
    row : (n,) int64
        0-based row numbers in the input.
    skipped : tuple of SkippedRow
    invalid : tuple
        Keys of the zones whose rings cross themselves or each other. They are burned even-odd; with
        ``on_invalid="repair"`` they were repaired first.
    digest : str
        Hash of what will be burned, keys and pixel coordinates.
    """

    table: pa.Table
    key: str
    geometry: Objects
    row: Ints
    skipped: tuple[SkippedRow, ...]
    invalid: tuple[object, ...]
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Closed rings of all parts, in global pixel coordinates.

    Parameters
    ----------
    u, v : (n_vertices,) float64, pixels east and south of the grid's north-western corner
    ring_offsets : (n_rings + 1,) int64, into the vertices
    part_offsets : (n_parts + 1,) int64, into the rings
    part_zone : (n_parts,) int64, position of the part's zone in `Zones`
    """

    u: Floats
    v: Floats
    ring_offsets: Ints
    part_offsets: Ints
    part_zone: Ints


@dataclass(frozen=True, slots=True)
class _Input:
    """What a source holds; `geometry` only where it comes as objects already."""

    label: str
    table: pa.Table
    wkb: pa.LargeBinaryArray
    crs: CRS | None
    geometry: Objects | None = None
    is_spherical: bool = False

    def zone(self, key: str, row: int) -> str:
        """How a message names a row."""
        if key not in self.table.column_names:
            return f"row {row}"
        return f"row {row} (key {self.table[key][row].as_py()!r})"


@dataclass(frozen=True, slots=True, eq=False)
class _Ragged:
    """As `Rings`, with ``xy`` (n_vertices, 2) in units of a CRS."""

    xy: Floats
    ring_offsets: Ints
    part_offsets: Ints
    part_zone: Ints


def read_zones(
    source: object,
    grid: Grid,
    *,
    key: str | None = None,
    on_invalid: OnInvalid = "error",
    assume_crs: object = None,
    layer: str | None = None,
) -> Zones:
    """Read zones, check every row and bring them to the CRS of a grid.

    Parameters
    ----------
    source : path, URL or frame
        GeoParquet (also by URL, such as ``s3://bucket/zones.parquet``), GeoPackage, Shapefile,
        FlatGeobuf or GeoJSON; a GeoDataFrame, or anything whose ``compute()`` or ``to_geopandas()``
        gives one. Columns with further geometries or boxes of them are left out.
    grid : Grid
    key : str, optional
        Column that names the zones: unique whole numbers or text, without gaps. Default: a column
        "row" with the row numbers, counted from 1.
    on_invalid : {"error", "skip", "repair"}
        What to do with rows that are null, empty, not polygons, or not finite: raise, or leave them
        out and list them. "repair" also rebuilds rings that cross themselves; otherwise these are
        burned even-odd.
    assume_crs : anything that `pyproj.CRS.from_user_input` takes, optional
        CRS of a source that declares none.
    layer : str, optional
        Layer of a file with several.

    Returns
    -------
    Zones
        Coordinates are those of the file, bit for bit, when its CRS is the grid's (in whatever axis
        order). Otherwise edges are densified and stay within 0.1 pixel of their true curves.

    Raises
    ------
    ZonesError
        Naming the file, the first rows with their keys, how many there are, and the cure.
    """
    if on_invalid not in ("error", "skip", "repair"):
        raise ZonesError(f"on_invalid is {on_invalid!r}: choose 'error', 'skip' or 'repair'")
    found = _open(source, layer)
    if len(found.wkb) == 0:
        raise ZonesError(f"{found.label}: 0 zones; give a file or layer with at least one polygon")
    if found.is_spherical:
        warnings.warn(
            f"{found.label} declares spherical edges: they are burned as straight lines in its CRS",
            ZonerasterWarning,
            stacklevel=2,
        )
    found, key = _with_key(found, key)
    geometry, skipped = _checked(found, key, raising=on_invalid == "error")
    row = np.flatnonzero(~shapely.is_missing(geometry))
    crossed = row[~_is_valid(geometry[row])]
    invalid = _keys(found, key, crossed)
    wkb = found.wkb
    if on_invalid == "repair" and crossed.size:
        geometry[crossed] = _repaired(geometry[crossed])
        gone = crossed[shapely.is_missing(geometry[crossed])]
        reason = "nothing is left of it after the repair"
        skipped += _skipped(found, key, gone, [reason] * gone.size)
        wkb = _wkb_of(geometry)
        row = np.setdiff1d(row, gone)
    if row.size == 0:
        raise ZonesError(f"{found.label}: 0 zones left, all {len(skipped)} rows were skipped")
    table, geometry = found.table, geometry[row]
    if row.size < table.num_rows:
        table, wkb = table.take(pa.array(row)), wkb.take(pa.array(row))
    geometry, ragged = _brought(found, key, row, geometry, _ragged(wkb), grid, assume_crs)
    log.info("%s: %d zones, %d rows skipped", found.label, row.size, len(skipped))
    return Zones(
        table=table,
        key=key,
        geometry=geometry,
        row=row,
        skipped=tuple(sorted(skipped, key=lambda one: one.row)),
        invalid=invalid,
        digest=_digest(table[key], _pixel_rings(ragged, grid)),
    )


def zone_rings(zones: Zones, grid: Grid) -> Rings:
    """Rings of zones in global pixel coordinates of a grid; empty rings and parts are left out."""
    return _pixel_rings(_ragged(_wkb_of(zones.geometry)), grid)


def assign_ids(
    keys: pa.ChunkedArray, *, previous: pa.Table | None = None
) -> npt.NDArray[np.uint32]:
    """Zone ids for keys.

    Parameters
    ----------
    keys : (n,) unique keys
    previous : pyarrow.Table, optional
        Columns "key" and "zone_id" of all keys that ever had an id.

    Returns
    -------
    (n,) uint32
        The keys themselves when all are whole numbers in 1..2**32-1, and so were all before.
        Otherwise 1..n in row order; a key that had an id keeps it, others follow the largest.

    Raises
    ------
    ZonesError
        When the type of the keys has changed, or no ids are left.

    Examples
    --------
    >>> assign_ids(pa.chunked_array([["b", "a"]])).tolist()
    [1, 2]
    """
    known, known_ids = keys.slice(0, 0), np.empty(0, np.int64)
    if previous is not None and previous.num_rows:
        known, known_ids = previous["key"], previous["zone_id"].to_numpy().astype(np.int64)
    keys, known = _whole_numbers(keys), _whole_numbers(known)
    is_whole = pa.types.is_integer(keys.type)
    if is_whole != pa.types.is_integer(known.type):
        raise ZonesError(
            f"keys are {keys.type}, those of the last build are {known.type}: "
            "give the same key column, or build a new store"
        )
    if is_whole and known_ids.tolist() == known.to_pylist():
        low, high = pc.min(keys).as_py(), pc.max(keys).as_py()
        if len(keys) == 0 or (low >= 1 and high <= MAX_ID):
            return np.asarray(keys.to_numpy()).astype(np.uint32)
    # As text they compare exactly, whatever the widths of the integers.
    place = pc.index_in(keys.cast(pa.large_string()), known.cast(pa.large_string()))
    ids: Ints = pc.fill_null(place, -1).to_numpy().astype(np.int64)
    new = ids < 0
    ids[~new] = known_ids[ids[~new]]
    ids[new] = known_ids.max(initial=0) + np.arange(1, new.sum() + 1)
    if ids.max(initial=0) > MAX_ID:
        raise ZonesError(
            f"{new.sum()} new zones need ids beyond {MAX_ID}, the largest of uint32: "
            "build a new store"
        )
    return ids.astype(np.uint32)


def id_dtype(max_id: int) -> np.dtype[Any]:  # Any: which unsigned integer depends on the value
    """Return the smallest unsigned dtype, of at most 32 bits, that holds `max_id`.

    Examples
    --------
    >>> id_dtype(255), id_dtype(256)
    (dtype('uint8'), dtype('uint16'))
    """
    if not 0 <= max_id <= MAX_ID:
        raise ZonesError(f"zone id {max_id} is outside of 0..{MAX_ID}")
    return np.dtype(np.min_scalar_type(max_id))


# ---- sources -------------------------------------------------------------------------------------


def _open(source: object, layer: str | None) -> _Input:
    if isinstance(source, (str, os.PathLike)):
        return _open_path(os.fspath(source), layer)
    if layer is not None:
        raise ZonesError(f"layer={layer!r} is for files with several layers, not for a frame")
    import geopandas  # noqa: PLC0415 - whoever has a frame has it already

    given: Any = source  # Any: duck-typed frames
    for method in ("compute", "to_geopandas"):
        # Not on a GeoDataFrame: a column may be called "compute".
        if hasattr(given, method) and not isinstance(given, geopandas.GeoDataFrame):
            given = getattr(given, method)()
    if not isinstance(given, geopandas.GeoDataFrame):
        raise ZonesError(
            f"cannot read zones from a {type(source).__name__}: give the path of a file "
            f"({READABLE}), a GeoDataFrame or a dask-geopandas frame"
        )
    return _from_frame(given)


def _open_path(path: str, layer: str | None) -> _Input:
    if "://" in path:
        return _from_url(path, layer)
    if not Path(path).exists():
        raise ZonesError(f"{path}: no such file")
    if Path(path).is_dir():
        raise ZonesError(f"{path} is a folder: give one file, or a dask-geopandas frame of many")
    with Path(path).open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"PAR1"):
        _no_layers(path, layer)
        return _from_parquet(path, path)
    # GDAL runs what a VRT or a pipeline tells it to, whatever the file is called. So the content
    # chooses the driver; GeoJSON, which has no magic bytes, by GDAL's own prefix.
    suffix = Path(path).suffix.lower()
    if head.startswith(SHAPEFILE_MAGIC) and suffix == ".shp":
        declared, size = 2 * int.from_bytes(head[24:28], "big"), Path(path).stat().st_size
        if size < declared:
            raise ZonesError(
                f"{path} is truncated: {size} bytes, its header says {declared}; copy it again"
            )
        return _from_ogr(path, path, layer)
    is_package = head.startswith(b"SQLite format 3") and suffix == ".gpkg"
    if is_package or head.startswith(b"fgb"):
        return _from_ogr(path, path, layer)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return _from_ogr(path, f"GEOJSON:{path}", layer)
    raise ZonesError(
        f"{path} is not {READABLE} (it begins with {head[:16]!r}): convert it to one of these, "
        "e.g. with ogr2ogr; unpack archives; of a Shapefile give the .shp"
    )


def _from_url(url: str, layer: str | None) -> _Input:
    import fsspec  # noqa: PLC0415 - only needed here

    # A URL may carry a password or a signature.
    label = url.split("?", maxsplit=1)[0].rpartition("/")[2] or "URL"
    if "::" in url:
        raise ZonesError(f"{label}: chained URLs (::) are not followed; give the file's own URL")
    scheme = url.partition("://")[0]
    if scheme not in URL_SCHEMES:
        raise ZonesError(
            f"{label}: no scheme {scheme!r} here; download the file, or use {', '.join(URL_SCHEMES)}"
        )
    _no_layers(label, layer)
    try:
        with fsspec.open(url, "rb") as file:
            if file.read(4) != b"PAR1":
                raise ZonesError(f"{label} is not GeoParquet: download it and give its path")
            file.seek(0)
            return _from_parquet(file, label)
    except (OSError, ValueError, ImportError) as err:
        if isinstance(err, ZonesError):
            raise
        raise ZonesError(f"{label} cannot be opened ({type(err).__name__}): check the URL") from err


def _no_layers(label: str, layer: str | None) -> None:
    if layer is not None:
        raise ZonesError(f"{label} is Parquet and has no layers: leave out layer={layer!r}")


def _from_parquet(source: Any, label: str) -> _Input:  # Any: path or file object
    try:
        file = pq.ParquetFile(source)
    except (pa.ArrowException, OSError) as err:
        raise ZonesError(f"{label} is not readable Parquet: {err}") from err
    schema = file.schema_arrow
    primary, column, left_out = _geo_metadata(schema, label)
    is_spherical = column.get("edges") == "spherical"
    crs = _parsed_crs(column.get("crs"), label)
    names = [name for name in schema.names if name not in left_out]
    if column.get("encoding", "WKB") == "WKB":
        try:
            table = file.read(columns=names)
        except (pa.ArrowException, OSError) as err:
            raise ZonesError(f"{label} is not readable Parquet: {err}") from err
        wkb = _combined(table[primary])
        return _Input(label, table.drop_columns([primary]), wkb, crs, None, is_spherical)
    import geopandas  # noqa: PLC0415 - rarely needed, and slow to import

    table = file.read(columns=[name for name in names if name != primary])
    if hasattr(source, "seek"):
        source.seek(0)
    geometry = np.asarray(geopandas.read_parquet(source, columns=[primary]).geometry, dtype=object)
    return _Input(label, table, _wkb_of(geometry), crs, geometry, is_spherical)


def _geo_metadata(schema: pa.Schema, label: str) -> tuple[str, dict[str, Any], set[str]]:
    """Name and description (JSON, hence Any) of the geometry column, and columns to leave out."""
    if b"geo" in (schema.metadata or {}):
        geo = json.loads(schema.metadata[b"geo"])
        primary, columns = geo["primary_column"], geo["columns"]
        covering = [column.get("covering", {}).get("bbox", {}) for column in columns.values()]
        boxes = {path[0] for box in covering for path in box.values()}
        # A CRS that is absent is OGC:CRS84; one that is null is unknown.
        description = {"crs": "OGC:CRS84", **columns[primary]}
        return primary, description, (boxes | set(columns)) - {primary}
    for field in schema:
        if (field.metadata or {}).get(b"ARROW:extension:name") == b"geoarrow.wkb":
            said = json.loads(field.metadata.get(b"ARROW:extension:metadata") or "{}")
            return field.name, {"crs": said.get("crs")}, set()
    raise ZonesError(
        f"{label} has no 'geo' metadata, so it is not GeoParquet: write it with "
        f"GeoDataFrame.to_parquet (columns: {', '.join(schema.names)})"
    )


def _from_ogr(label: str, dataset: str, layer: str | None) -> _Input:
    import pyogrio  # noqa: PLC0415 - loads GDAL
    from pyogrio.errors import DataLayerError, DataSourceError  # noqa: PLC0415

    try:
        layers = [name for name, kind in pyogrio.list_layers(dataset) if kind is not None]
        if (layer is None and len(layers) > 1) or layer not in (None, *layers):
            wish = (
                "has several layers" if layer is None else f"has no layer {layer!r} of geometries"
            )
            raise ZonesError(f"{label} {wish}: choose one with layer= (--layer): {layers}")
        if not layers:
            raise ZonesError(f"{label} has no layer with geometries: zones must be polygons")
        meta, table = pyogrio.read_arrow(dataset, layer=layer or layers[0])
    except (DataSourceError, DataLayerError, pa.ArrowException) as err:
        raise ZonesError(f"{label} cannot be read: {err}") from err
    geometry = meta["geometry_name"] or "wkb_geometry"
    wkb = _combined(table[geometry])
    return _Input(label, table.drop_columns([geometry]), wkb, _parsed_crs(meta["crs"], label))


def _from_frame(frame: Any) -> _Input:  # Any: geopandas has no types
    label = "GeoDataFrame"
    try:
        geometry = np.array(frame.geometry, dtype=object)
    except AttributeError as err:
        raise ZonesError("GeoDataFrame has no active geometry: call set_geometry first") from err
    is_geometry = [str(dtype) == "geometry" for dtype in frame.dtypes]
    attributes = frame.loc[:, [not one for one in is_geometry]]
    named = [name for name in frame.index.names if name is not None]
    if named and not set(named) & set(frame.columns):
        attributes = attributes.reset_index(level=named)
    try:
        columns = [pa.array(attributes[name], from_pandas=True) for name in attributes.columns]
    except (pa.ArrowException, TypeError) as err:
        raise ZonesError(f"{label}: a column mixes types ({err}): convert it to one type") from err
    names = [str(name) for name in attributes.columns]
    table = pa.Table.from_arrays(columns, names=names)
    return _Input(label, table, _wkb_of(geometry), _parsed_crs(frame.crs, label), geometry)


def _parsed_crs(crs: object, label: str) -> CRS | None:
    try:
        return None if crs is None else CRS.from_user_input(crs)
    except CRSError as err:
        raise ZonesError(f"{label}: unknown CRS {str(crs)[:200]!r}: {err}") from err


def _combined(column: pa.ChunkedArray) -> pa.LargeBinaryArray:
    """One array with 64-bit offsets, so that no file is too large for it."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array(
            [chunk.storage for chunk in column.chunks], column.type.storage_type
        )
    column = column.cast(pa.large_binary())
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks or [pa.array([], pa.large_binary())])


# ---- keys ----------------------------------------------------------------------------------------


def _with_key(found: _Input, key: str | None) -> tuple[_Input, str]:
    """The input with a checked key column, and its name."""
    table, label = found.table, found.label
    names = ", ".join(table.column_names) or "none"
    if key is None:
        if "row" in table.column_names:
            raise ZonesError(
                f"{label}: a column 'row' is there already, and zones without a key are named by "
                f"one: give key='row' or another column ({names})"
            )
        rows = pa.array(np.arange(1, len(found.wkb) + 1))
        # Rebuilt, because a table without columns forgets how many rows it has.
        table = pa.Table.from_arrays([*table.columns, rows], names=[*table.column_names, "row"])
        return replace(found, table=table.replace_schema_metadata(None)), "row"
    if table.column_names.count(key) != 1:
        raise ZonesError(f"{label}: no single key column {key!r}; columns: {names}")
    column = table[key]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    _check_keys(column, f"{label}: key column {key!r}")
    index = table.column_names.index(key)
    table = table.set_column(index, key, _whole_numbers(column)).replace_schema_metadata(None)
    return replace(found, table=table), key


def _check_keys(column: pa.ChunkedArray, label: str) -> None:
    kind = column.type
    is_float = pa.types.is_floating(kind)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_float or is_text or pa.types.is_integer(kind) or pa.types.is_string_view(kind)):
        raise ZonesError(f"{label} is {kind}: choose or make one of whole numbers or text")
    if column.null_count:
        _refuse_keys(column, column.is_null(), label, "null", "give every zone a key")
    if is_float:
        _refuse_keys(column, pc.is_nan(column), label, "NaN", "give every zone a key")
        halves = pc.not_equal(column, pc.floor(column))
        halves = pc.or_(halves, pc.is_inf(column))
        _refuse_keys(column, halves, label, "not a whole number", "make keys integers or text")
        # From here on neighbouring integers share one float: an exact key cannot be told.
        limit = 2.0 ** (np.finfo(kind.to_pandas_dtype()).nmant + 1)
        large = pc.greater_equal(pc.abs(column.cast(pa.float64())), limit)
        cure = "it has lost digits already; write the keys as integers or text"
        _refuse_keys(column, large, label, f"a float of at least {limit:.0f}", cure)
    codes = pc.index_in(column, value_set=pc.unique(column)).to_numpy()
    twice = np.bincount(codes)[codes] > 1
    # Equal keys next to each other, in order of their first rows.
    order = np.lexsort((np.arange(codes.size), codes))
    rows = order[twice[order]]
    cure = "make keys unique, or dissolve the zones by key first"
    _refuse_keys(column, twice, label, "not unique", cure, rows=rows)


def _refuse_keys(
    column: pa.ChunkedArray, bad: Any, label: str, what: str, cure: str, *, rows: Any = None
) -> None:  # Any: numpy or Arrow mask
    """Raise when any key is bad, showing the first rows and their keys."""
    rows = np.flatnonzero(np.asarray(bad)) if rows is None else rows
    if len(rows):
        shown = [f"row {row} ({column[int(row)].as_py()!r})" for row in rows[:SHOWN]]
        raise ZonesError(f"{label} is {what} in {_list(shown, len(rows), len(column))}; {cure}")


def _list(shown: Sequence[str], n: int, total: int) -> str:
    more = f" and {n - len(shown)} more" if n > len(shown) else ""
    return f"{n} of {total} rows: {', '.join(shown)}{more}"


def _whole_numbers(keys: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats as int64; they are known to be whole numbers."""
    return keys.cast(pa.int64()) if pa.types.is_floating(keys.type) else keys


def _keys(found: _Input, key: str, rows: Ints) -> tuple[object, ...]:
    return tuple(found.table[key].take(pa.array(rows)).to_pylist())


# ---- rows ----------------------------------------------------------------------------------------


def _checked(found: _Input, key: str, *, raising: bool) -> tuple[Objects, list[SkippedRow]]:
    """Geometry of every row, 2-D, None where it cannot be burned, and the list of these rows."""
    survey = _survey(found.wkb)
    fine = survey[:, 0] == FINE
    geometry = _parsed(found.wkb, fine) if found.geometry is None else found.geometry.copy()
    geometry[~fine] = None
    survey[fine & shapely.is_missing(geometry), 0] = BROKEN
    bad = np.flatnonzero(survey[:, 0] != FINE)
    if raising and bad.size:
        shown = [f"{found.zone(key, r)}: {_reason(*survey[r, :2])}" for r in bad[:SHOWN]]
        codes = set(survey[bad, 0].tolist())
        cures = ["on_invalid='skip' (--on-invalid skip) leaves these rows out and lists them"]
        if max(codes) > 0:
            cures.append(
                "polygons come out of collections with GeoDataFrame.explode, out of curves with "
                "ogr2ogr -nlt CONVERT_TO_LINEAR"
            )
        if NULL in codes and found.label.lower().endswith(".shp"):
            cures.append("a Shapefile with null geometries may be damaged: compare with its source")
        listing = _list(shown, bad.size, len(fine))
        raise ZonesError(f"{found.label}: cannot burn {listing}; {'; '.join(cures)}")
    reasons = [_reason(*survey[r, :2]) for r in bad]
    deep = shapely.has_z(geometry) | shapely.has_m(geometry)
    geometry[deep] = shapely.force_2d(geometry[deep])
    return geometry, _skipped(found, key, bad, reasons)


def _skipped(found: _Input, key: str, rows: Ints, reasons: list[str]) -> list[SkippedRow]:
    keys = _keys(found, key, rows)
    return [SkippedRow(*one) for one in zip(rows.tolist(), keys, reasons, strict=True)]


def _reason(code: int, detail: int) -> str:
    if code > 0:
        name = TYPE_NAMES[code] if code < len(TYPE_NAMES) else f"geometry of WKB type {code}"
        return f"{name}, not Polygon or MultiPolygon"
    return REASONS[code].format(detail=detail)


def _parsed(wkb: pa.LargeBinaryArray, fine: npt.NDArray[np.bool_]) -> Objects:
    """Geometry of the rows that are fine; None where GEOS disagrees. Open rings are closed."""
    geometry = np.full(len(wkb), None, dtype=object)
    for start in range(0, len(wkb), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        blobs = wkb.slice(start, ROWS_AT_ONCE).to_numpy(zero_copy_only=False)
        blobs[~fine[rows]] = None
        geometry[rows] = shapely.from_wkb(blobs, on_invalid="fix")
    return geometry


def _is_valid(geometry: Objects) -> npt.NDArray[np.bool_]:
    if geometry.size <= ROWS_AT_ONCE:
        return np.asarray(shapely.is_valid(geometry))
    blocks = np.array_split(geometry, geometry.size // ROWS_AT_ONCE * 4)
    with ThreadPoolExecutor(2) as threads:
        return np.concatenate(list(threads.map(shapely.is_valid, blocks)))


def _repaired(geometry: Objects) -> Objects:
    """Valid polygons that cover what the rings enclose; None where no area is left."""
    repaired = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    parts, owner = shapely.get_parts(repaired, return_index=True)
    keep = (shapely.get_type_id(parts) == POLYGON) & ~shapely.is_empty(parts)
    out = np.full(geometry.size, None, dtype=object)
    shapely.multipolygons(parts[keep], indices=owner[keep], out=out)
    return out


def _brought(
    found: _Input,
    key: str,
    row: Ints,
    geometry: Objects,
    ragged: _Ragged,
    grid: Grid,
    assume_crs: object,
) -> tuple[Objects, _Ragged]:
    """Bring geometry to the CRS of the grid."""
    source = _source_crs(found, assume_crs)

    def name(ring: int) -> str:
        part = np.searchsorted(ragged.part_offsets, ring, side="right") - 1
        return f"{found.label}: {found.zone(key, int(row[ragged.part_zone[part]]))}"

    _check_degrees(source, ragged, name)
    if source.equals(grid.crs, ignore_axis_order=True):
        return geometry, ragged
    projection = Projection.between(source, grid)
    xy, ring_offsets = reproject_rings(ragged.xy, ragged.ring_offsets, projection, ring_name=name)
    ragged = replace(ragged, xy=xy, ring_offsets=ring_offsets)
    zone_offsets = np.searchsorted(ragged.part_zone, np.arange(row.size + 1))
    offsets = (ring_offsets, ragged.part_offsets, zone_offsets)
    return shapely.from_ragged_array(shapely.GeometryType.MULTIPOLYGON, xy, offsets), ragged


def _source_crs(found: _Input, assume_crs: object) -> CRS:
    assumed = _parsed_crs(assume_crs, "assume_crs")
    crs = found.crs or assumed
    if crs is None:
        raise ZonesError(
            f"{found.label} declares no CRS: say which it is with assume_crs= (--assume-crs), "
            "e.g. 'EPSG:4326'"
        )
    if assumed is not None and not crs.equals(assumed, ignore_axis_order=True):
        raise ZonesError(
            f"{found.label} declares the CRS {crs.name}, not {assumed.name}: leave out "
            "assume_crs, or correct the CRS in the file"
        )
    return crs


def _check_degrees(source: CRS, ragged: _Ragged, name: Callable[[int], str]) -> None:
    """Refuse coordinates that no longitude and latitude can have."""
    if not source.is_geographic or source.axis_info[0].unit_name != "degree":
        return
    checks = (
        (1, "y", MAX_LATITUDE, "-90..90: are the axes swapped, or is it another CRS?"),
        (0, "x", MAX_LONGITUDE, "-540..540: are these degrees, or is it another CRS?"),
    )
    for axis, letter, limit, rest in checks:
        far = np.flatnonzero(np.abs(ragged.xy[:, axis]) > limit)
        if far.size:
            ring = int(np.searchsorted(ragged.ring_offsets, far[0], side="right")) - 1
            raise ZonesError(
                f"{name(ring)}: {letter} = {ragged.xy[far[0], axis]:.10g} ({far.size} such "
                f"vertices in all) in {source.name} lies outside of {rest}"
            )


def _digest(keys: pa.ChunkedArray, rings: Rings) -> str:
    found = hashlib.blake2b(json.dumps(keys.to_pylist()).encode(), digest_size=16)
    for numbers in (rings.u, rings.v, rings.ring_offsets, rings.part_offsets, rings.part_zone):
        found.update(np.ascontiguousarray(numbers).data)
    return found.hexdigest()


# ---- well-known binary ---------------------------------------------------------------------------
# GEOS recurses into collections without a limit and can be crashed by a nested one. So it is given
# only what has been walked through here, and what has been walked through has its vertices as well.


def _wkb_of(geometry: Objects) -> pa.LargeBinaryArray:
    """WKB of objects; of anything but polygons the header alone."""
    kind = shapely.get_type_id(geometry)
    foreign = (kind >= 0) & (kind != POLYGON) & (kind != MULTIPOLYGON)
    polygons = geometry.copy()
    polygons[foreign] = None
    wkb = shapely.to_wkb(polygons, byte_order=1)
    # shapely counts points as 0, lines as 1 and rings as 2, WKB points as 1 and lines as 2.
    headers = [b"\x01" + int(k + (k < 2)).to_bytes(4, "little") for k in kind[foreign]]
    wkb[foreign] = headers
    return pa.array(wkb, pa.large_binary())


def _buffers(wkb: pa.LargeBinaryArray) -> tuple[npt.NDArray[np.uint8], Ints]:
    _, offsets, content = wkb.buffers()
    ends = np.frombuffer(offsets, np.int64)[wkb.offset : wkb.offset + len(wkb) + 1]
    return np.frombuffer(content or b"", np.uint8), ends


def _survey(wkb: pa.LargeBinaryArray) -> Ints:
    """Code, detail, and numbers of parts, rings and vertices of each row, (n, 5) int64."""
    content, ends = _buffers(wkb)
    survey = np.zeros((len(wkb), 5), np.int64)
    _survey_rows(content, ends, survey)
    survey[wkb.is_null().to_numpy(zero_copy_only=False)] = (NULL, 0, 0, 0, 0)
    return survey


def _ragged(wkb: pa.LargeBinaryArray) -> _Ragged:
    """Rings of all rows; those that are not fine have none."""
    survey = _survey(wkb)
    n_parts, n_rings, n_vertices = survey[:, 2:].sum(axis=0)
    ragged = _Ragged(
        np.empty((n_vertices, 2), np.float64),
        np.zeros(n_rings + 1, np.int64),
        np.zeros(n_parts + 1, np.int64),
        np.empty(n_parts, np.int64),
    )
    out = (ragged.xy, ragged.ring_offsets, ragged.part_offsets, ragged.part_zone)
    _fill_rows(*_buffers(wkb), survey, *out)
    return ragged


def _pixel_rings(ragged: _Ragged, grid: Grid) -> Rings:
    u, v = grid.to_pixels(ragged.xy[:, 0], ragged.xy[:, 1])
    return Rings(u, v, ragged.ring_offsets, ragged.part_offsets, ragged.part_zone)


@nb.njit(nogil=True, cache=True)
def _uint32(content, at, little):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for i in range(4):
        value |= np.int64(content[at + (i if little else 3 - i)]) << (8 * i)
    return value


@nb.njit(nogil=True, cache=True)
def _header(content, at, end):  # type: ignore[no-untyped-def]
    """Byte order, type (or a code below 0) and numbers per vertex of the geometry at `at`."""
    if end - at < 5 or content[at] > 1:
        return True, BROKEN, 2
    little = content[at] == 1
    kind = _uint32(content, at + 1, little)
    if kind & 0x20000000:
        return little, SRID, 2
    has_z, has_m = kind & 0x80000000 != 0, kind & 0x40000000 != 0
    kind &= 0x0FFFFFFF
    if kind < 4000:
        has_z |= kind // 1000 in (1, 3)
        has_m |= kind // 1000 in (2, 3)
        kind %= 1000
    return little, kind if kind > 0 else BROKEN, 2 + has_z + has_m


@nb.njit(nogil=True, cache=True)
def _vertices(content, at, count, numbers, little):  # type: ignore[no-untyped-def]
    """Vertices of the ring at `at`, (count, numbers) float64; copied, because WKB is unaligned."""
    piece = content[at : at + 8 * count * numbers].copy()
    if not little:
        for i in range(0, piece.size, 8):
            piece[i : i + 8] = piece[i : i + 8][::-1].copy()
    return piece.view(np.float64).reshape((count, numbers))


@nb.njit(nogil=True, cache=True)
def _survey_row(content, at, end):  # type: ignore[no-untyped-def]  # noqa: PLR0911 - one a finding
    little, kind, _ = _header(content, at, end)
    if kind not in (POLYGON, MULTIPOLYGON):
        return kind, 0, 0, 0, 0
    parts, n_parts, n_rings, n_vertices, seen = 1, 0, 0, 0, 0
    if kind == MULTIPOLYGON:
        if end - at < 9:
            return BROKEN, 0, 0, 0, 0
        parts, at = _uint32(content, at + 5, little), at + 9
    for _ in range(parts):
        little, kind, numbers = _header(content, at, end)
        if kind != POLYGON or end - at < 9:
            return BROKEN, 0, 0, 0, 0
        rings, at, before = _uint32(content, at + 5, little), at + 9, n_rings
        for _ in range(rings):
            if end - at < 4:
                return BROKEN, 0, 0, 0, 0
            count, at = _uint32(content, at, little), at + 4
            if 8 * count * numbers > end - at:
                return BROKEN, 0, 0, 0, 0
            ring = _vertices(content, at, count, numbers, little)
            at += 8 * count * numbers
            for i in range(count):
                if not (np.isfinite(ring[i, 0]) and np.isfinite(ring[i, 1])):
                    return NOT_FINITE, seen + i, 0, 0, 0
            seen += count
            if count == 0:
                continue
            if count < 3:
                return SHORT_RING, count, 0, 0, 0
            is_open = ring[0, 0] != ring[-1, 0] or ring[0, 1] != ring[-1, 1]
            n_rings += 1
            n_vertices += count + is_open
        n_parts += n_rings > before
    return FINE if n_vertices else EMPTY, 0, n_parts, n_rings, n_vertices


@nb.njit(nogil=True, cache=True)
def _survey_rows(content, ends, out):  # type: ignore[no-untyped-def]
    for row in range(out.shape[0]):
        code, detail, n_parts, n_rings, n_vertices = _survey_row(content, ends[row], ends[row + 1])
        out[row, 0], out[row, 1], out[row, 2] = code, detail, n_parts
        out[row, 3], out[row, 4] = n_rings, n_vertices


@nb.njit(nogil=True, cache=True)
def _fill_rows(content, ends, survey, xy, ring_offsets, part_offsets, part_zone):  # type: ignore[no-untyped-def]
    """Write what `_survey_rows` has counted; rings are closed, empty ones left out."""
    part, ring_number, vertex = 0, 0, 0
    for row in range(survey.shape[0]):
        if survey[row, 0] != FINE:
            continue
        at, end = ends[row], ends[row + 1]
        little, kind, _ = _header(content, at, end)
        parts = 1
        if kind == MULTIPOLYGON:
            parts, at = _uint32(content, at + 5, little), at + 9
        for _ in range(parts):
            little, _, numbers = _header(content, at, end)
            rings, at, before = _uint32(content, at + 5, little), at + 9, ring_number
            for _ in range(rings):
                count, at = _uint32(content, at, little), at + 4
                ring = _vertices(content, at, count, numbers, little)
                at += 8 * count * numbers
                if count == 0:
                    continue
                xy[vertex : vertex + count] = ring[:, :2]
                vertex += count
                if ring[0, 0] != ring[-1, 0] or ring[0, 1] != ring[-1, 1]:
                    xy[vertex] = ring[0, :2]
                    vertex += 1
                ring_number += 1
                ring_offsets[ring_number] = vertex
            if ring_number > before:
                part_zone[part] = row
                part += 1
                part_offsets[part] = ring_number
