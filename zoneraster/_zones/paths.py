"""Open vector files and frames, whatever they are and wherever they lie; and tell when they change.

GDAL runs what a VRT or a pipeline tells it to, whatever the file is called. So the content chooses
the driver here, and GDAL gets the path of nothing else.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from shutil import copyfileobj
from typing import Any
from urllib.parse import unquote

from zoneraster._zones.columns import utf8_text
from zoneraster._zones.frames import frame_digest, from_frame
from zoneraster._zones.geoparquet import from_parquet
from zoneraster._zones.sources import Source
from zoneraster._zones.vectors import from_json, from_ogr, from_shapefile
from zoneraster.blobs import URL_SCHEMES, suffix_of, without_client
from zoneraster.errors import ZonesError, cure_of, told_as

SHAPEFILE_MAGIC = b"\x00\x00\x27\x0a"
READABLE = "GeoParquet, GeoPackage, Shapefile (also zipped), FlatGeobuf or GeoJSON"
_RASTER = "a raster"
# What people have instead, by the ends of names.
_OTHERS = {
    ".kml": "KML", ".kmz": "KML", ".gml": "GML", ".gdb": "a file geodatabase", ".tab": "MapInfo",
    ".mif": "MapInfo", ".csv": "CSV", ".gpx": "GPX", ".dxf": "DXF", ".sqlite": "SQLite",
    ".xlsx": "Excel", ".gz": "compressed", ".tar": "an archive", ".7z": "an archive",
    ".dbf": "a part of a Shapefile", ".shx": "a part of a Shapefile", ".osm": "OpenStreetMap",
    ".pbf": "OpenStreetMap", ".mbtiles": "tiles", ".pmtiles": "tiles",
    ".tif": _RASTER, ".tiff": _RASTER,
    ".feather": "Feather", ".arrow": "Arrow",
}  # fmt: skip
_READ = (".shp", ".gpkg", ".fgb", ".parquet", ".geojson", ".geojsonl", ".geojsons", ".topojson")
# Ends of names that only files of zones have, some of which are to be converted first, and of those
# that are looked for in a zip.
VECTOR_SUFFIXES = (*_READ, ".kml", ".kmz", ".gml", ".gdb", ".tab", ".mif")
_ZIPPED = (*_READ, ".json")
# Where a store has the polygons that it was built of.
ZONES_OF_STORE = "zones.parquet"
# A zip that grows to more bytes and by more than this factor is not unpacked.
_GROWN_BYTES, _GROWN = 1 << 30, 200


def is_polygons(path: str) -> bool:
    """The name of a path or URL is one that only files of polygons have."""
    return suffix_of(path) in VECTOR_SUFFIXES


def open_source(source: object, layer: str | None, wanted: str | None = None) -> Source:
    """Open a path, URL or frame; nothing is checked yet but that it can be read.

    Parameters
    ----------
    source : path, URL or frame
    layer : str or None
    wanted : str, optional
        The key, which may be what the ids of features are called.
    """
    if isinstance(source, (str, os.PathLike)):
        with _door(_label_of(source)):
            return _open_path(os.fspath(source), layer, wanted)
    if layer is not None:
        raise ZonesError(f"layer={layer!r} is for files with several layers, not for a frame")
    import geopandas  # noqa: PLC0415 - whoever has a frame has it already

    given: Any = source  # Any: duck-typed frames
    for method in ("compute", "to_geopandas"):
        # Not on a GeoDataFrame: a column may be called "compute".
        if hasattr(given, method) and not isinstance(given, geopandas.GeoDataFrame):
            given = getattr(given, method)()
    if isinstance(given, geopandas.GeoSeries):
        given = geopandas.GeoDataFrame(geometry=given)
    if not isinstance(given, geopandas.GeoDataFrame):
        raise ZonesError(
            f"cannot read zones from a {type(source).__name__}: give the path of a file "
            f"({READABLE}), a GeoDataFrame, a GeoSeries or a dask-geopandas frame"
        )
    with told_as(ZonesError, "GeoDataFrame cannot be read as zones", "simplify its columns"):
        return utf8_text(from_frame(given))


def _label_of(source: str | os.PathLike[str]) -> str:
    """How messages name a file; of a URL, which may hold a password or signature, the last part."""
    path = str(source)
    return path.split("?", maxsplit=1)[0].rpartition("/")[2] or "URL" if "://" in path else path


def _door(label: str) -> AbstractContextManager[None]:
    """Where foreign bytes come in: whatever readers raise becomes an error that names the file."""
    cure = "it may be damaged; copy it again, or write it anew as GeoParquet or GeoPackage"
    return told_as(ZonesError, f"{label} cannot be read as zones", cure)


# ---- where it lies -------------------------------------------------------------------------------


def _open_path(path: str, layer: str | None, wanted: str | None) -> Source:
    local = _local_path(path)
    if local is None:
        return _from_url(path, layer)
    label = _label_of(path) if "://" in path else path
    if path.startswith("/vsi"):
        raise ZonesError(f"{path}: paths of GDAL's are not followed; give the file's own path")
    if not Path(local).exists():
        raise ZonesError(f"{label}: no such file{_likely(Path(local))}: check the path")
    if Path(local).is_dir():
        if path.rstrip("/").lower().endswith(".gdb"):
            raise ZonesError(f"{label} is a file geodatabase, {_convert(path.rstrip('/'))}")
        if (Path(local) / ZONES_OF_STORE).is_file():
            raise ZonesError(
                f"{label} is a zone store, not polygons: those that it was built of are in "
                f"{path.rstrip('/')}/{ZONES_OF_STORE}"
            )
        raise ZonesError(f"{label} is a folder: give one file, or a dask-geopandas frame of many")
    if path.endswith("/"):
        raise ZonesError(f"{label} is a file and no folder: leave out the / at its end")
    return _open_local(local, label, layer, wanted)


def _likely(path: Path) -> str:
    """The name of a file beside a path that is not there, where one is much like it."""
    with contextlib.suppress(OSError):
        names = [one.name for one in path.parent.iterdir()]
        close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
        return f" (there is {path.with_name(close[0])})" if close else ""
    return ""


def _local_path(path: str) -> str | None:
    """Where a path or ``file://`` URL lies on this machine; None for what lies elsewhere."""
    scheme, found, rest = path.partition("://")
    if not found:
        return path if Path(path).exists() else _at_home(path)
    if scheme not in ("file", "local") or "::" in path or "?" in rest:
        return None
    host, _, _ = rest.partition("/")
    if host in ("", "localhost", "~"):
        rest = rest.removeprefix("localhost")
        literal, escaped = _at_home(rest), _at_home(unquote(rest))
        # Escapes are what the standard says; a file that is named with a percent sign is one, too.
        return literal if Path(literal).exists() and not Path(escaped).exists() else escaped
    return None


def _at_home(path: str) -> str:
    """A path without its ``~``."""
    # Whoever has no home has no such file either.
    with contextlib.suppress(RuntimeError):
        return str(Path(path).expanduser()) if path.startswith("~") else path
    return path


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
            return from_parquet(file, label)
    except ZonesError:
        raise
    except ImportError as err:
        raise without_client(url) or err from err
    except Exception as err:
        # Of a dead host fsspec says that there is no file, and why in its causes. What stands
        # behind the path or before the host may be secret.
        causes: list[BaseException] = [err]
        while causes[-1].__cause__ is not None:
            causes.append(causes[-1].__cause__)
        cure = next(filter(None, map(cure_of, causes)), "check the URL")
        host, _, path = url.partition("?")[0].partition("://")[2].partition("/")
        shown = f"{scheme}://{host.rpartition('@')[2]}/{path}"
        raise ZonesError(f"{shown} cannot be opened ({type(err).__name__}): {cure}") from err


def _no_layers(label: str, layer: str | None) -> None:
    if layer is not None:
        raise ZonesError(f"{label} is Parquet and has no layers: leave out layer={layer!r}")


# ---- what it is ----------------------------------------------------------------------------------


def _open_local(path: str, label: str, layer: str | None, wanted: str | None) -> Source:
    """A local file, by its content."""
    with Path(path).open("rb") as file:
        head = file.read(4096)
    suffix = Path(path).suffix.lower()
    if head.startswith(b"PAR1"):
        _no_layers(label, layer)
        return from_parquet(path, label)
    if head.startswith(b"PK\x03\x04") and suffix not in _OTHERS:
        return _from_zip(path, label, layer, wanted)
    if head.startswith(SHAPEFILE_MAGIC) and suffix == ".shp":
        declared, size = 2 * int.from_bytes(head[24:28], "big"), Path(path).stat().st_size
        if size < declared:
            raise ZonesError(
                f"{label} is truncated: {size} bytes, its header says {declared}; copy it again"
            )
        with _for_gdal(path) as readable:
            return from_shapefile(label, readable, layer, wanted)
    is_package = head.startswith(b"SQLite format 3") and suffix == ".gpkg"
    if is_package or head.startswith(b"fgb"):
        with _for_gdal(path) as readable:
            return utf8_text(from_ogr(label, readable, layer, wanted))
    if _is_json(head):
        return from_json(label, str(Path(path).absolute()), layer, wanted)
    raise ZonesError(
        f"{label} is not {READABLE} (it begins with {head[:16]!r}){_named(suffix)}: "
        + (
            f"give polygons, or make them, e.g. with gdal_polygonize.py {Path(path).name} "
            f"{Path(path).stem}.gpkg"
            if _OTHERS.get(suffix) == _RASTER
            else f"{_convert(path)}; unpack archives; of a Shapefile give the .shp"
        )
    )


def _is_json(head: bytes) -> bool:
    """Text of JSON, in any of the encodings that it is found in."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head[2:].replace(b"\0", b"")
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.removeprefix(b"\x1e").lstrip().startswith(b"{")


def _named(suffix: str) -> str:
    return f" but {_OTHERS[suffix]}" if suffix in _OTHERS else ""


def _convert(path: str) -> str:
    """How other files become readable ones."""
    name = Path(path).name
    return f"convert it, e.g. with ogr2ogr -f GPKG {Path(name).stem}.gpkg {name}"


@contextlib.contextmanager
def _for_gdal(path: str) -> Iterator[str]:
    """A path of the same file that pyogrio does not take apart: at ``!`` and ``;`` it would."""
    whole = Path(path).absolute()
    if not set("!;") & set(str(whole)):
        yield str(whole)
        return
    with tempfile.TemporaryDirectory(prefix="zoneraster-") as folder:
        stem = whole.stem.translate({ord(c): "_" for c in "!;"})
        for part in _files_read(whole):
            # SQLite finds what lies beside the file itself.
            if part == whole or whole.suffix.lower() == ".shp":
                (Path(folder) / f"{stem}{part.name[len(whole.stem) :]}").symlink_to(part)
        yield str(Path(folder) / f"{stem}{whole.suffix}")


def _from_zip(path: str, label: str, layer: str | None, wanted: str | None) -> Source:
    """The one file of zones in a zip; of several the one whose name is the layer."""
    with zipfile.ZipFile(path) as archive:
        entries = [one for one in archive.infolist() if not one.is_dir()]
        entries = [one for one in entries if not one.filename.startswith("__MACOSX/")]
        names = [one.filename for one in entries if one.filename.lower().endswith(_ZIPPED)]
        chosen = names if len(names) == 1 else [n for n in names if PurePosixPath(n).stem == layer]
        if len(chosen) != 1:
            wish = f"holds {len(names)} files of zones" if names else "holds no file of zones"
            rest = ": choose one with layer=: " if names else f" ({READABLE}); it has: "
            listed = [PurePosixPath(name).stem for name in names] or [e.filename for e in entries]
            raise ZonesError(f"{label} {wish}{rest}{', '.join(listed[:20])}")
        stem = chosen[0].rpartition(".")[0]
        parts = [one for one in entries if one.filename.startswith(f"{stem}.")]
        grown, packed = sum(p.file_size for p in parts), sum(p.compress_size for p in parts)
        if grown > max(_GROWN_BYTES, _GROWN * packed):
            raise ZonesError(
                f"{label} would grow from {packed:,} to {grown:,} bytes: unpack it yourself, and "
                "give the path of the file"
            )
        with tempfile.TemporaryDirectory(prefix="zoneraster-") as folder:
            for one in parts:
                with (
                    archive.open(one) as packed_file,
                    (Path(folder) / PurePosixPath(one.filename).name).open("wb") as file,
                ):
                    copyfileobj(packed_file, file, 1 << 20)
            inner = str(Path(folder) / PurePosixPath(chosen[0]).name)
            found = _open_local(
                inner, f"{label} ({chosen[0]})", layer if len(names) == 1 else None, wanted
            )
    return replace(found, label=label)


# ---- whether it has changed ----------------------------------------------------------------------


def source_digest(source: object) -> str:
    """Hash of all that is read of a local file or a GeoDataFrame; hex.

    Empty for a URL and a lazy frame, which are not read for it.
    """
    # Whoever has a GeoDataFrame has imported geopandas.
    geopandas = sys.modules.get("geopandas")
    if geopandas is not None and isinstance(source, geopandas.GeoDataFrame):
        return frame_digest(from_frame(source))
    return file_digest(source)


def file_digest(source: object) -> str:
    """Hash of a local file and of all files beside it that its driver reads; hex.

    Those are, of a Shapefile, all files of its stem (.dbf, .shx, .cpg, ...); of a GeoPackage, what
    SQLite has not yet written into it (-wal, -journal; -shm holds nothing that lasts). GeoParquet,
    FlatGeobuf and GeoJSON stand alone.

    Empty for a frame, a URL, and whatever else is no local file.
    """
    if not isinstance(source, str | os.PathLike):
        return ""
    path = _local_path(os.fspath(source))
    if path is None or not Path(path).is_file():
        return ""
    digest = hashlib.blake2b(digest_size=16)
    with _door(_label_of(source)):
        for part in _files_read(Path(path)):
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
