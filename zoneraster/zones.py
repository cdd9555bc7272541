"""Zones: polygons and their keys, read, checked and brought to the grid.

Keys stay exact (nothing passes through float64 on the way), coordinates stay exact where the
reference systems agree, and no row is dropped without being named.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyproj import CRS

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
SHAPEFILE_MAGIC = b"\x00\x00\x27\x0a"
READABLE = "GeoParquet, GeoPackage, Shapefile, FlatGeobuf or GeoJSON"

# What is found in a row's WKB; other codes are the geometry type of something not a polygon.
FINE, EMPTY, BROKEN, SHORT_RING, NOT_FINITE, SRID = 0, -1, -2, -3, -4, -5
POLYGON, MULTIPOLYGON = 3, 6
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
    if found.table.num_rows == 0:
        raise ZonesError(f"{found.label}: 0 zones; give a file or layer with at least one polygon")
    found, key = _with_key(found, key)
    survey = _survey(found.wkb)
    skipped = _unusable(found, key, survey, raising=on_invalid == "error")
    row = np.setdiff1d(np.arange(found.table.num_rows), np.array([s.row for s in skipped], int))
    geometry = _objects(found, row, survey)
    crossed = ~_is_valid(geometry)
    invalid = _keys(found, key, row[crossed])
    if on_invalid == "repair" and crossed.any():
        geometry[crossed] = _repaired(geometry[crossed])
        gone = np.equal(geometry, None)
        reason = "nothing is left of it after the repair"
        skipped += [SkippedRow(int(r), *_keys(found, key, [r]), reason) for r in row[gone]]
        row, geometry = row[~gone], geometry[~gone]
    if row.size == 0:
        raise ZonesError(f"{found.label}: 0 zones left, all {len(skipped)} rows were skipped")
    geometry, ragged = _brought(found, key, row, geometry, grid, assume_crs)
    log.info("%s: %d zones, %d skipped", found.label, row.size, len(skipped))
    table = found.table if row.size == found.table.num_rows else found.table.take(pa.array(row))
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
    """Rings of zones in global pixel coordinates of the grid; empty rings and parts are left out."""
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
        Otherwise 1..n in row order; a key that had an id keeps it, others continue after the largest.

    Raises
    ------
    ZonesError
        When the type of the keys has changed, or no ids are left.

    Examples
    --------
    >>> assign_ids(pa.chunked_array([["b", "a"]])).tolist()
    [1, 2]
    """
    whole = pa.types.is_integer(keys.type) or pa.types.is_floating(keys.type)
    if previous is None or previous.num_rows == 0:
        known, known_ids = keys.slice(0, 0), np.empty(0, np.int64)
    else:
        known, known_ids = previous["key"], previous["zone_id"].to_numpy().astype(np.int64)
        if whole != (pa.types.is_integer(known.type) or pa.types.is_floating(known.type)):
            raise ZonesError(
                f"keys are {keys.type}, those of the last build are {known.type}: "
                "give the same key column, or build a new store"
            )
    if whole:
        # Text compares exactly, whatever the widths of the integers.
        keys, known = (_as_whole_numbers(one) for one in (keys, known))
        low, high = pc.min(keys).as_py(), pc.max(keys).as_py()
        own = known_ids.tolist() == known.to_pylist()
        if own and (low is None or (low >= 1 and high <= MAX_ID)):
            return keys.to_numpy().astype(np.uint32)
    place = pc.index_in(keys.cast(pa.large_string()), known.cast(pa.large_string()))
    ids = pc.fill_null(place, -1).to_numpy().astype(np.int64)
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
    return np.min_scalar_type(max_id)


# ---- sources -------------------------------------------------------------------------------------


def _open(source: object, layer: str | None) -> _Input:
    if isinstance(source, (str, os.PathLike)):
        return _open_path(os.fspath(source), layer)
    if layer is not None:
        raise ZonesError(f"layer={layer!r} is for files with several layers, not for a frame")
    given: Any = source  # Any: duck-typed frames
    for method in ("compute", "to_geopandas"):
        if hasattr(given, method):
            given = getattr(given, method)()
    if not (hasattr(given, "_geometry_column_name") and hasattr(given, "columns")):
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
    label = url.split("?")[0].rpartition("/")[2] or "URL"
    if "::" in url:
        raise ZonesError(f"{label}: chained URLs (::) are not followed; give the file's own URL")
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
    if column.get("edges") == "spherical":
        warnings.warn(
            f"{label} declares spherical edges: they are burned as straight lines in its CRS",
            ZonerasterWarning,
            stacklevel=6,
        )
    crs = _parsed_crs(column.get("crs"), label)
    names = [name for name in schema.names if name not in left_out]
    if column.get("encoding", "WKB") == "WKB":
        try:
            table = file.read(columns=names)
        except (pa.ArrowException, OSError) as err:
            raise ZonesError(f"{label} is not readable Parquet: {err}") from err
        return _Input(label, table.drop_columns([primary]), _combined(table[primary]), crs)
    import geopandas  # noqa: PLC0415 - rarely needed, and slow to import

    table = file.read(columns=[name for name in names if name != primary])
    if hasattr(source, "seek"):
        source.seek(0)
    geometry = np.asarray(geopandas.read_parquet(source, columns=[primary]).geometry, dtype=object)
    return _Input(label, table, _wkb_of(geometry), crs, geometry)


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
            wish = "has several layers" if layer is None else f"has no layer {layer!r} of geometries"
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
    # Without a column a table has no rows; the key's is added later.
    table = pa.Table.from_arrays(columns, names=names) if names else _row_table(len(geometry))
    return _Input(label, table, _wkb_of(geometry), frame.crs, geometry)


def _row_table(n: int) -> pa.Table:
    return pa.table({"row": np.arange(1, n + 1)})


def _parsed_crs(crs: object, label: str) -> CRS | None:
    try:
        return None if crs is None else CRS.from_user_input(crs)
    except CRSError as err:
        raise ZonesError(f"{label}: unknown CRS {str(crs)[:200]!r}: {err}") from err


def _combined(column: pa.ChunkedArray) -> pa.LargeBinaryArray:
    """One array with 64-bit offsets, so that no file is too large for it."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    column = column.cast(pa.large_binary())
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
