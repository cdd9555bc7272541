"""Open vector files and frames: attributes, keys and geometry as they are stored."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyproj import CRS
from pyproj.exceptions import CRSError

from zoneraster._grid import same_crs
from zoneraster._zones.wkb import wkb_of
from zoneraster.arrays import Ints, Objects
from zoneraster.blobs import URL_SCHEMES
from zoneraster.errors import ZonesError, told_as

SHAPEFILE_MAGIC = b"\x00\x00\x27\x0a"
# Of GeoParquet; points and lines are read too, so that the message tells which rows they are.
NATIVE_ENCODINGS = (
    "polygon", "multipolygon", "point", "linestring", "multipoint", "multilinestring",
)  # fmt: skip
READABLE = "GeoParquet, GeoPackage, Shapefile, FlatGeobuf or GeoJSON"


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
    """

    label: str
    table: pa.Table
    wkb: pa.LargeBinaryArray
    crs: CRS | None
    geometry: Objects | None = None
    is_spherical: bool = False

    def zone(self, key: str, row: int) -> str:
        """How a message names a row."""
        return f"row {row} (key {self.table[key][row].as_py()!r})"

    def keys(self, key: str, rows: Ints) -> tuple[object, ...]:
        """The user's keys of some rows."""
        return tuple(self.table[key].take(pa.array(rows)).to_pylist())


def open_source(source: object, layer: str | None) -> Source:
    """Open a path, URL or frame; nothing is checked yet but that it can be read."""
    if isinstance(source, (str, os.PathLike)):
        with _door(_label_of(source)):
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
    with told_as(ZonesError, "GeoDataFrame cannot be read as zones", "simplify its columns"):
        return _from_frame(given)


def _label_of(source: str | os.PathLike[str]) -> str:
    """How messages name a file; of a URL, which may hold a password or signature, the last part."""
    path = str(source)
    return path.split("?", maxsplit=1)[0].rpartition("/")[2] or "URL" if "://" in path else path


def _door(label: str) -> AbstractContextManager[None]:
    """Where foreign bytes come in: whatever readers raise becomes an error that names the file."""
    cure = "it may be damaged; copy it again, or write it anew as GeoParquet or GeoPackage"
    return told_as(ZonesError, f"{label} cannot be read as zones", cure)


def _open_path(path: str, layer: str | None) -> Source:
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


def _from_url(url: str, layer: str | None) -> Source:
    import fsspec  # noqa: PLC0415 - only needed here

    label = _label_of(url)
    if "::" in url:
        raise ZonesError(f"{label}: chained URLs (::) are not followed; give the file's own URL")
    scheme = url.partition("://")[0]
    if scheme not in URL_SCHEMES:
        raise ZonesError(
            f"{label}: no scheme {scheme!r} here; download the file, "
            f"or use one of {', '.join(URL_SCHEMES)}"
        )
    _no_layers(label, layer)
    try:
        with fsspec.open(url, "rb") as file:
            if file.read(4) != b"PAR1":
                raise ZonesError(f"{label} is not GeoParquet: download it and give its path")
            file.seek(0)
            return _from_parquet(file, label)
    except ZonesError:
        raise
    except Exception as err:
        raise ZonesError(f"{label} cannot be opened ({type(err).__name__}): check the URL") from err


def _no_layers(label: str, layer: str | None) -> None:
    if layer is not None:
        raise ZonesError(f"{label} is Parquet and has no layers: leave out layer={layer!r}")


def _from_parquet(source: Any, label: str) -> Source:  # Any: path or file object
    try:
        file = pq.ParquetFile(source)
    except (pa.ArrowException, OSError) as err:
        raise ZonesError(f"{label} is not readable Parquet: {err}") from err
    schema = file.schema_arrow
    primary, column, left_out = _geometry_column(schema, label)
    is_spherical = column.get("edges") == "spherical"
    crs = parsed_crs(column.get("crs"), label)
    names = [name for name in schema.names if name not in left_out]
    encoding = column.get("encoding", "WKB")
    if encoding == "WKB":
        try:
            table = file.read(columns=names)
        except (pa.ArrowException, OSError) as err:
            raise ZonesError(f"{label} is not readable Parquet: {err}") from err
        wkb = _combined(table[primary])
        return Source(label, table.drop_columns([primary]), wkb, crs, None, is_spherical)
    if encoding not in NATIVE_ENCODINGS:
        raise ZonesError(
            f"{label}: geometry column {primary!r} is encoded as {encoding!r:.100}: zones must be "
            "WKB, polygon or multipolygon; write it anew with GeoDataFrame.to_parquet"
        )
    import geopandas  # noqa: PLC0415 - rarely needed, and slow to import

    table = file.read(columns=[name for name in names if name != primary])
    if hasattr(source, "seek"):
        source.seek(0)
    geometry = np.asarray(geopandas.read_parquet(source, columns=[primary]).geometry, dtype=object)
    return Source(label, table, wkb_of(geometry), crs, geometry, is_spherical)


def _geometry_column(schema: pa.Schema, label: str) -> tuple[str, dict[str, Any], set[str]]:
    """Name and description (JSON, hence Any) of the geometry column, and columns to leave out."""
    if b"geo" in (schema.metadata or {}):
        primary, columns = _geo_metadata(schema, label)
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


def _from_ogr(label: str, dataset: str, layer: str | None) -> Source:
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
    return Source(label, table.drop_columns([geometry]), wkb, parsed_crs(meta["crs"], label))


def _from_frame(frame: Any) -> Source:  # Any: geopandas has no types
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
        # By place: several columns may have one name.
        columns = [pa.array(column, from_pandas=True) for _, column in attributes.items()]
    except (pa.ArrowException, TypeError) as err:
        raise ZonesError(f"{label}: a column mixes types ({err}): convert it to one type") from err
    names = [str(name) for name in attributes.columns]
    table = pa.Table.from_arrays(columns, names=names)
    return Source(label, table, wkb_of(geometry), parsed_crs(frame.crs, label), geometry)


def parsed_crs(crs: object, label: str) -> CRS | None:
    """A reference system, or None where none is declared."""
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


def crs_of(found: Source, assume_crs: object) -> CRS:
    """The reference system that a source declares, or that is assumed where it declares none."""
    assumed = parsed_crs(assume_crs, "assume_crs")
    crs = found.crs or assumed
    if crs is None:
        raise ZonesError(
            f"{found.label} declares no CRS: say which it is with assume_crs= (--assume-crs), "
            "e.g. 'EPSG:4326'"
        )
    if assumed is not None and not same_crs(crs, assumed):
        raise ZonesError(
            f"{found.label} declares the CRS {crs.name}, not {assumed.name}: leave out "
            "assume_crs, or correct the CRS in the file"
        )
    return crs


def source_digest(source: object) -> str:
    """Hash of all that is read of a local file or a GeoDataFrame; hex.

    Empty for a URL and a lazy frame, which are not read for it.
    """
    # Whoever has a GeoDataFrame has imported geopandas.
    geopandas = sys.modules.get("geopandas")
    if geopandas is not None and isinstance(source, geopandas.GeoDataFrame):
        return _frame_digest(_from_frame(source))
    return file_digest(source)


def _frame_digest(found: Source) -> str:
    """Hash of attributes, geometry and reference system."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update((found.crs.to_wkt() if found.crs is not None else "").encode())

    class Sink(io.RawIOBase):
        """Feeds the hash with what is written."""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:  # Any: whatever has a buffer
            digest.update(data)
            return memoryview(data).nbytes

    # As streams of Arrow, which have types and names, and the categories of a categorical, too.
    for table in (pa.table({"geometry": found.wkb}), found.table.combine_chunks()):
        with pa.ipc.new_stream(pa.PythonFile(Sink(), "w"), table.schema) as stream:
            stream.write_table(table)
    return digest.hexdigest()


def file_digest(source: object) -> str:
    """Hash of a local file and of all files beside it that its driver reads; hex.

    Those are, of a Shapefile, all files of its stem (.dbf, .shx, .cpg, ...); of a GeoPackage, what
    SQLite has not yet written into it (-wal, -journal; -shm holds nothing that lasts). GeoParquet,
    FlatGeobuf and GeoJSON stand alone.

    Empty for a frame, a URL, and whatever else is no local file.
    """
    if not isinstance(source, str | os.PathLike) or not Path(source).is_file():
        return ""
    digest = hashlib.blake2b(digest_size=16)
    with _door(_label_of(source)):
        for part in _files_read(Path(source)):
            # A journal may be gone by now, and its file another one.
            with contextlib.suppress(FileNotFoundError), part.open("rb") as file:
                digest.update(part.suffix.encode())
                while block := file.read(1 << 24):
                    digest.update(block)
    return digest.hexdigest()


def _files_read(path: Path) -> list[Path]:
    """A file, and those beside it that its driver reads."""
    if path.suffix.lower() == ".shp":
        # The wildcards of a name are taken literally.
        stem = "".join(f"[{c}]" if c in "*?[" else c for c in path.stem)
        return sorted(part for part in path.parent.glob(f"{stem}.*") if part.is_file())
    # SQLite keeps them beside the file itself, not beside a link to it. An empty one says nothing:
    # whoever opens a database only to read it may leave one.
    target = path.resolve()
    journals = [target.with_name(f"{target.name}-{kind}") for kind in ("wal", "journal")]
    return [path, *(part for part in journals if part.is_file() and part.stat().st_size)]
