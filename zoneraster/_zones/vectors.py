"""Vector files that GDAL reads, each with the driver that its content asks for."""

from __future__ import annotations

import codecs
import contextlib
import json
import mmap
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from zoneraster._zones.columns import (
    FALLBACK,
    dbf_codec,
    dbf_hint,
    decoded,
    decoded_dbf,
    kept_columns,
    utf8_text,
)
from zoneraster._zones.geoparquet import combined
from zoneraster._zones.sources import Source, with_crs
from zoneraster._zones.wkb import bytes_of
from zoneraster.arrays import Ints
from zoneraster.errors import ZonesError

# Types of WKB that have arcs, whatever their dimensions.
_CURVES = (8, 9, 10, 11, 12)
# Bytes of a text that are looked at for what it is, and at a time for whether it is UTF-8.
_HEAD, _BLOCK = 1 << 16, 1 << 24


def from_ogr(
    label: str,
    dataset: str,
    layer: str | None,
    wanted: str | None = None,
    *,
    encoding: str | None = None,
) -> Source:
    """Attributes and geometry of a layer, as GDAL reads them.

    Parameters
    ----------
    label : str
    dataset : str
        What GDAL opens.
    layer : str or None
        Needed where there are several.
    wanted : str, optional
        The key: where it is no column but what GDAL calls the ids of features, these are read.
    encoding : str, optional
        Of text; by default what GDAL finds.
    """
    import pyogrio  # noqa: PLC0415 - loads GDAL
    from pyogrio.errors import DataLayerError, DataSourceError  # noqa: PLC0415

    try:
        layers = [name for name, kind in pyogrio.list_layers(dataset) if kind is not None]
        if (layer is None and len(layers) > 1) or layer not in (None, *layers):
            wish = (
                "has several layers" if layer is None else f"has no layer {layer!r} of geometries"
            )
            raise ZonesError(f"{label} {wish}: choose one with layer=: {layers}")
        if not layers:
            raise ZonesError(f"{label} has no layer with geometries: zones must be polygons")
        name = layer or layers[0]
        with _every_null_geometry_read():
            meta, table = pyogrio.read_arrow(dataset, layer=name, encoding=encoding)
        geometry = meta["geometry_name"] or "wkb_geometry"
        wkb, notes = _linear(label, dataset, name, combined(table[geometry]))
        ids = {}
        if (
            wanted is not None
            and wanted in {"fid", meta.get("fid_column")}
            and wanted not in table.column_names
        ):
            _, fids = pyogrio.read_arrow(
                dataset, layer=name, columns=[], read_geometry=False, return_fids=True
            )
            ids[wanted] = fids.column(0)
    except (DataSourceError, DataLayerError, pa.ArrowException) as err:
        raise ZonesError(f"{label} cannot be read: {err}") from err
    table = table.drop_columns([geometry])
    found = Source(label, table, wkb, None, notes=notes, feature_ids=ids)
    found = kept_columns(found, zip(table.column_names, table.columns, strict=True))
    return with_crs(found, meta["crs"])


@contextlib.contextmanager
def _every_null_geometry_read() -> Iterator[None]:
    """FlatGeobuf row by row: what GDAL 3.12 reads at once is damaged where geometries are null."""
    import pyogrio  # noqa: PLC0415

    name = "OGR_FLATGEOBUF_STREAM_BASE_IMPL"
    before = pyogrio.get_gdal_config_option(name)
    pyogrio.set_gdal_config_options({name: "YES"})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({name: before})


def _linear(
    label: str, dataset: str, layer: str, wkb: pa.LargeBinaryArray
) -> tuple[pa.LargeBinaryArray, tuple[str, ...]]:
    """WKB in which arcs are the chords that GDAL makes of them, and what is said of it."""
    is_curve = np.isin(_kinds(wkb), _CURVES)
    if not is_curve.any():
        return wkb, ()
    from pyogrio import raw  # noqa: PLC0415 - loads GDAL

    lines = raw.read(dataset, layer=layer, columns=[])[2]
    if len(lines) != len(wkb):
        raise ZonesError(f"{label} changed while it was read: read it again")
    note = (
        f"{label}: arcs in {int(is_curve.sum()):,} of {len(wkb):,} rows were made lines, as GDAL "
        "makes them (a line for each 4 degrees of an arc)"
    )
    return pa.array(lines, pa.large_binary()), (note,)


def _kinds(wkb: pa.LargeBinaryArray) -> Ints:
    """Type of the geometry of each row without its dimensions; 0 where none can be read."""
    content, ends = bytes_of(wkb)
    kinds = np.zeros(len(wkb), np.int64)
    long = np.flatnonzero(np.diff(ends) >= 5)
    head = content[ends[long][:, None] + np.arange(5)].astype(np.int64)
    little = head[:, 1:] @ np.array([1, 1 << 8, 1 << 16, 1 << 24])
    big = head[:, 1:] @ np.array([1 << 24, 1 << 16, 1 << 8, 1])
    kinds[long] = np.where(head[:, 0] == 1, little, big) & 0x0FFFFFFF
    return np.where(kinds < 4000, kinds % 1000, 0)


# ---- Shapefiles ----------------------------------------------------------------------------------


def from_shapefile(label: str, path: str, layer: str | None, wanted: str | None) -> Source:
    """A Shapefile, its text in the encoding that it is in."""
    said = _beside(path, ".cpg", ".cst").decode("latin-1").strip()
    stated = dbf_codec(said) if said else None
    # ISO 8859-1 keeps the bytes.
    found = from_ogr(label, path, layer, wanted, encoding="ISO-8859-1")
    if said and stated is None:
        note = f"{label}: its .cpg names an encoding that is not known, {said[:40]!r}"
        found = replace(found, notes=(*found.notes, note))
    return decoded_dbf(found, stated, dbf_hint(_beside(path, ".dbf")))


def _beside(path: str, *suffixes: str) -> bytes:
    """The first bytes of a file of the same name with another suffix; empty where there is none."""
    for suffix in suffixes:
        for name in (suffix, suffix.upper()):
            with (
                contextlib.suppress(FileNotFoundError),
                Path(path).with_suffix(name).open("rb") as file,
            ):
                return file.read(64)
    return b""


# ---- JSON ----------------------------------------------------------------------------------------


def from_json(label: str, path: str, layer: str | None, wanted: str | None) -> Source:
    """GeoJSON, a sequence of its features (GeoJSONL), TopoJSON or Esri JSON."""
    with _as_utf8(label, path) as (readable, notes):
        driver = _json_driver(readable)
        found = from_ogr(label, f"{driver}:{readable}", layer, wanted)
        found = replace(utf8_text(found), notes=(*notes, *found.notes))
        if driver == "TopoJSON":
            _refuse_null_objects(label, readable, layer, len(found.wkb))
        if driver not in ("GEOJSON", "GeoJSONSeq"):
            return found
        if driver == "GeoJSONSeq":
            _refuse_lost(label, readable, len(found.wkb))
        if wanted == "id" and "id" not in found.table.column_names:
            ids = _feature_ids(readable, driver, len(found.wkb))
            found = replace(found, feature_ids={} if ids is None else {"id": ids})
        return _with_geojson_crs(found, readable)


@contextlib.contextmanager
def _as_utf8(label: str, path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Path of the same text in UTF-8, the file itself where it is, and what is said of it."""
    encoding = _text_encoding(path)
    if encoding is None:
        yield path, ()
        return
    with tempfile.TemporaryDirectory(prefix="zoneraster-") as folder:
        copy = Path(folder) / Path(path).name
        content = Path(path).read_bytes()
        copy.write_text(decoded(content, encoding).lstrip("\ufeff"), encoding="utf-8")
        note = (
            f"{label} is not UTF-8: it was read as {encoding}; write it as UTF-8 where that is "
            "wrong"
        )
        yield str(copy), () if encoding == "utf-8-sig" else (note,)


def _text_encoding(path: str) -> str | None:
    """Encoding of a text; None for plain UTF-8, which JSON is."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with Path(path).open("rb") as file:
        head = file.read(4)
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            return "utf-16"
        # GDAL passes over the first feature of a sequence that begins with a byte order mark.
        if head.startswith(codecs.BOM_UTF8):
            return "utf-8-sig"
        file.seek(0)
        try:
            while block := file.read(_BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return FALLBACK
    return None


def _json_driver(path: str) -> str:
    """Which of GDAL's drivers reads a text."""
    with Path(path).open("rb") as file:
        head = file.read(_HEAD).removeprefix(codecs.BOM_UTF8).lstrip()
        if re.search(rb'"type"\s*:\s*"Topology"', head):
            return "TopoJSON"
        if re.search(rb'"type"\s*:\s*"(FeatureCollection|GeometryCollection)"', head):
            return "GEOJSON"
        if re.search(rb'"geometryType"\s*:\s*"esri|"esriFieldType', head):
            return "ESRIJSON"
        if head.startswith(b"\x1e"):
            return "GeoJSONSeq"
        file.seek(0)
        first = file.readline().removeprefix(codecs.BOM_UTF8)
        rest = next((line for line in iter(file.readline, b"") if line.strip()), b"")
    try:
        is_feature = isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        is_feature = False
    return "GeoJSONSeq" if is_feature and rest.lstrip().startswith(b"{") else "GEOJSON"


def _refuse_lost(label: str, path: str, n: int) -> None:
    """Raise where GDAL has passed over records of a sequence; it does so without a word."""
    with Path(path).open("rb") as file:
        head = file.read(1)
        file.seek(0)
        if head == b"\x1e":
            records = sum(line.count(head) for line in file)
        else:
            records = sum(1 for line in file if line.strip())
    if records != n:
        raise ZonesError(
            f"{label} has {records:,} records, GDAL reads {n:,} of them: look for one that is no "
            "whole feature on a line of its own"
        )


def _refuse_null_objects(label: str, path: str, layer: str | None, n: int) -> None:
    """Raise where GDAL has passed over objects of a topology; it does so where they are null."""
    objects = json.loads(Path(path).read_text(encoding="utf-8"))["objects"]
    chosen = [one for name, one in objects.items() if layer in (None, name)]
    held = sum(len(one.get("geometries", [one])) for one in chosen)
    if held != n:
        raise ZonesError(
            f"{label} has {held:,} objects, GDAL reads {n:,} of them: leave out those whose "
            "geometry is null"
        )


def _feature_ids(path: str, driver: str, n: int) -> pa.ChunkedArray | None:
    """Member "id" of each feature; None where they have none.

    From the text itself: GDAL numbers features anew where ids are missing or not unique.
    """
    text = Path(path).read_text(encoding="utf-8-sig")
    if driver == "GeoJSONSeq":
        lines = text.split("\x1e") if "\x1e" in text[:1] else text.splitlines()
        features = [json.loads(line) for line in lines if line.strip()]
    else:
        said = json.loads(text)
        features = said.get("features", [said])
    ids = [feature.get("id") for feature in features]
    if len(ids) != n or all(one is None for one in ids):
        return None
    try:
        return pa.chunked_array([pa.array(ids)])
    except (pa.ArrowException, OverflowError):
        # Numbers and text: as text they are what they are.
        return pa.chunked_array([pa.array([None if one is None else str(one) for one in ids])])


def _with_geojson_crs(found: Source, path: str) -> Source:
    """The source with the reference system that the file itself names.

    GDAL takes WGS 84 where the file names none, which is right by RFC 7946, and where it names one
    that GDAL does not know, which is not.
    """
    is_named, name = _crs_member(path)
    if not is_named:
        return replace(found, is_assumable=True)
    return with_crs(found, name) if name else replace(found, crs=None, said_crs="null")


def _crs_member(path: str) -> tuple[bool, str | None]:
    """Whether a GeoJSON file has a member "crs", and the name in it; None for null."""
    with (
        Path(path).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
    ):
        features = text.find(b'"features"')
        for match in re.finditer(rb'"crs"\s*:\s*', text):
            try:
                near = text[match.end() : match.end() + _HEAD].decode("utf-8", "ignore")
                said, _ = json.JSONDecoder().raw_decode(near)
            except (ValueError, RecursionError):
                continue
            if said is None and match.start() < features:
                return True, None
            name = _crs_name(said)
            if name is not None:
                return True, name
    return False, None


def _crs_name(said: Any) -> str | None:  # Any: JSON
    """Name of a reference system in the form of GeoJSON 2008; None for anything else."""
    match said:
        case {"type": "name", "properties": {"name": str(name)}}:
            # Also with the version of a registry in it: urn:ogc:def:crs:EPSG:6.9:3857.
            found = re.fullmatch(r"urn:(?:x-)?ogc:def:crs:EPSG:[\d.]*:(\d+)", name, re.IGNORECASE)
            return f"EPSG:{found[1]}" if found else name
        case {"type": str(kind), "properties": {"code": int() | str() as code}} if (
            kind.upper() == "EPSG"
        ):
            return f"EPSG:{code}"
        case {"type": "link", "properties": dict(link)}:
            return f"link {link.get('href')}"
    return None
