"""VRT mosaics: read here, never by GDAL, and leading to raster files beside them alone.

GDAL's virtual rasters can name any file, address or program. Of theirs, those that put pixels of
files side by side are tiles; whatever scales, warps or computes is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from zoneraster._grid import Grid, Window
from zoneraster._values.files import FilePixels, open_file
from zoneraster._values.mosaic import Tile, mosaic
from zoneraster._values.opened import OpenRaster
from zoneraster._values.raster import Raster, stem_of
from zoneraster._values.relation import relation
from zoneraster.blobs import Location, get_or_none, suffix_of
from zoneraster.errors import AlignmentError, GridError, ValuesError

_MAX_BYTES = 2**26
_CURE = "write it out, e.g. gdal_translate mosaic.vrt mosaic.tif"
_TILES_CURE = "give the tiles themselves, as a list or a pattern such as 'tiles/*.tif'"
_OF_DATASET = (
    "SRS", "GeoTransform", "VRTRasterBand", "Metadata", "OverviewList", "BlockXSize", "BlockYSize",
)  # fmt: skip
_OF_BAND = (
    "NoDataValue", "HideNoDataValue", "ColorInterp", "ColorTable", "Metadata", "Histograms",
    "Description", "UnitType", "Offset", "Scale", "CategoryNames", "Overview",
    "GDALRasterAttributeTable", "SimpleSource", "ComplexSource",
)  # fmt: skip
_OF_SOURCE = ("SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "NODATA")
# These change nothing.
_IDLE = {"ScaleOffset": 0.0, "ScaleRatio": 1.0}
_DTYPES = {
    "Byte": "u1", "Int8": "i1", "UInt16": "u2", "Int16": "i2", "UInt32": "u4", "Int32": "i4",
    "UInt64": "u8", "Int64": "i8", "Float16": "f2", "Float32": "f4", "Float64": "f8",
}  # fmt: skip


# ---- what it says ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """A part of a file, and where it lies in the VRT."""

    path: str
    band: int
    shown: Window | None  # None for the whole file
    placed: Window | None
    is_opaque: bool


@dataclass(frozen=True, slots=True)
class _Band:
    dtype: str
    nodata: float | None
    scale: float
    offset: float
    units: str | None
    sources: tuple[_Source, ...]


@dataclass(frozen=True, slots=True)
class _Said:
    """What a VRT says."""

    shape: tuple[int, int]
    transform: tuple[float, ...] | None
    crs: str | None
    bands: tuple[_Band, ...]


def text_of_vrt(location: Location) -> str | None:
    """The text of a VRT, whatever its name; None for anything else.

    Raises
    ------
    ValuesError
        For one that is too large, or not there.
    """
    if not location.is_local:
        if suffix_of(location.url) != ".vrt":
            return None
        folder, _, name = location.url.rpartition("/")
        data = get_or_none(location.beside(folder).blobs(), name)
        if data is None:
            raise ValuesError(f"{location}: no such file: check the address")
    else:
        path = Path(location.url)
        if not path.is_file():
            return None
        with path.open("rb") as file:
            if b"<VRTDataset" not in file.read(4096):
                return None
            file.seek(0)
            data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValuesError(f"{location}: a VRT of more than {_MAX_BYTES >> 20} MiB: {_TILES_CURE}")
    return data.decode("utf-8", "replace")


def _parsed(text: str, label: str) -> _Said:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValuesError(f"{label}: a VRT that declares entities: {_CURE}")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as err:
        raise ValuesError(f"{label}: cannot be read as a VRT ({err}): {_CURE}") from err
    if root.tag != "VRTDataset" or root.get("subClass"):
        kind = root.get("subClass") or root.tag
        raise ValuesError(f"{label} is a VRT that computes its pixels ({kind}): {_CURE}")
    _check_names(root, _OF_DATASET, label)
    try:
        written = root.findtext("GeoTransform")
        transform = None if written is None else tuple(float(n) for n in written.split(","))
        bands = tuple(_band_of(band, label) for band in root.findall("VRTRasterBand"))
        shape = (int(root.attrib["rasterYSize"]), int(root.attrib["rasterXSize"]))
    except (KeyError, TypeError, OverflowError) as err:
        raise ValuesError(f"{label}: cannot be read as a VRT ({err!r}): {_CURE}") from err
    except ValueError as err:
        if isinstance(err, ValuesError):
            raise
        raise ValuesError(f"{label}: cannot be read as a VRT ({err}): {_CURE}") from err
    return _Said(shape, transform, (root.findtext("SRS") or "").strip() or None, bands)


def _check_names(element: Any, known: Iterable[str], label: str) -> None:
    """Refuse what means something that is not known; `element` is of XML, hence Any."""
    for child in element:
        if child.tag not in known:
            raise ValuesError(
                f"{label} is a VRT with <{child.tag}>, which is more than pixels of files side by "
                f"side: {_CURE}"
            )


def _band_of(element: Any, label: str) -> _Band:
    if element.get("subClass"):
        raise ValuesError(
            f"{label} is a VRT that computes its pixels ({element.get('subClass')}): {_CURE}"
        )
    _check_names(element, _OF_BAND, label)
    nodata = element.findtext("NoDataValue")
    is_hidden = (element.findtext("HideNoDataValue") or "0").strip() not in ("0", "")
    sources = tuple(
        _source_of(child, label)
        for child in element
        if child.tag in ("SimpleSource", "ComplexSource")
    )
    return _Band(
        dtype=element.get("dataType", "Byte"),
        nodata=None if nodata is None or is_hidden else _number(nodata),
        scale=float(element.findtext("Scale") or 1),
        offset=float(element.findtext("Offset") or 0),
        units=(element.findtext("UnitType") or "").strip() or None,
        sources=sources,
    )


def _number(text: str) -> float:
    """A whole number as it is, beyond the digits of a float too."""
    text = text.strip()
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def _source_of(element: Any, label: str) -> _Source:
    idle = [
        child.tag for child in element
        if child.tag in _IDLE and float(child.text or "nan") == _IDLE[child.tag]
    ]  # fmt: skip
    _check_names(element, (*_OF_SOURCE, *idle), label)
    said = element.find("SourceFilename")
    name = "" if said is None else (said.text or "").strip()
    if said is not None and said.get("relativeToVRT") == "1":
        name = f"./{name}" if not name.startswith("/") else f".{name}"
    number = element.findtext("SourceBand") or "1"
    if not number.strip().isdigit():
        raise ValuesError(f"{label} is a VRT of {number.strip()!r}, no band by number: {_CURE}")
    shown, placed = (_rect_of(element.find(rect), label) for rect in ("SrcRect", "DstRect"))
    if (shown is None) != (placed is None) or (
        shown is not None and placed is not None and shown.shape != placed.shape
    ):
        raise ValuesError(
            f"{label} is a VRT that resamples {name} ({shown} to {placed}): {_TILES_CURE}"
        )
    is_opaque = element.find("NODATA") is None
    return _Source(name, int(number), shown, placed, is_opaque)


def _rect_of(element: Any, label: str) -> Window | None:
    if element is None:
        return None
    x, y, width, height = (float(element.get(name)) for name in ("xOff", "yOff", "xSize", "ySize"))
    whole = [round(n) for n in (y, y + height, x, x + width)]
    if max(abs(n - m) for n, m in zip((y, y + height, x, x + width), whole, strict=True)) > 1e-3:
        raise ValuesError(
            f"{label} is a VRT that puts {dict(element.attrib)} between the pixels: {_TILES_CURE}"
        )
    try:
        return Window(whole[0], whole[1], whole[2], whole[3])
    except GridError as err:
        raise ValuesError(f"{label}: {err}") from err


# ---- opening it --------------------------------------------------------------------------------


def open_vrt(text: str, location: Location, asked: Raster, label: str) -> OpenRaster:
    """The raster of a VRT whose sources lie beside it; headers of these are read, no pixel.

    Raises
    ------
    ValuesError, GridError
        For one that does more than put pixels of files side by side, that leads elsewhere, or
        that says other things of its sources than these do.
    """
    said = _parsed(text, label)
    band, numbers = _chosen(said, asked, label)
    if said.crs is None and asked.crs is None:
        raise GridError(f"{label} has no CRS: give it, Raster({label!r}, crs='EPSG:4326')")
    if said.transform is None or len(said.transform) != 6:
        raise GridError(f"{label} is not georeferenced: it has no GeoTransform of six numbers")
    c, a, b, f, d, e = said.transform
    try:
        grid = Grid(said.crs if asked.crs is None else asked.crs, (a, b, c, d, e, f), said.shape)
    except GridError as err:
        raise GridError(f"{label}: {err}") from err
    files: dict[tuple[str, int | None], OpenRaster] = {}

    def opened(source: _Source) -> OpenRaster:
        key = (source.path, None if numbers else source.band)
        if key not in files:
            files[key] = _file_of(source, location, band, replace(asked, band=key[1]), label)
            if numbers is not None and [*files[key].coords[0]] != [*numbers]:
                raise ValuesError(f"{label}: its bands are not those of {source.path}: {_one(1)}")
        return files[key]

    tiles = [tile for one in band.sources if (tile := _tile_of(opened(one), one, grid, label))]
    if not tiles:
        raise ValuesError(f"{label} is a VRT without a source: check it")
    made = mosaic(tiles, grid, stem_of(location.url), label)
    return made if asked.units or not band.units else replace(made, units=band.units)


def _one(band: int) -> str:
    return f"choose one, Raster(..., band={band})"


def _chosen(said: _Said, asked: Raster, label: str) -> tuple[_Band, list[int] | None]:
    """The band to read, with the numbers of all that its sources have where all are asked for."""
    n_bands = len(said.bands)
    if asked.variable is not None:
        raise ValuesError(f"{label} is a VRT, with bands and no variables: say band=1, 2, ...")
    if not n_bands:
        raise ValuesError(f"{label} is a VRT without bands: check it")
    if asked.band is not None:
        if not 1 <= asked.band <= n_bands:
            raise ValuesError(f"{label} has no band {asked.band}, its are 1 to {n_bands}")
        return said.bands[asked.band - 1], None
    first = said.bands[0]
    if n_bands == 1:
        return first, None
    for number, band in enumerate(said.bands, 1):
        alike = tuple(replace(source, band=number) for source in first.sources)
        if band != replace(first, sources=alike):
            raise ValuesError(
                f"{label}: its bands differ in more than the band of their sources: {_one(number)}"
            )
    return first, list(range(1, n_bands + 1))


def _file_of(source: _Source, vrt: Location, band: _Band, asked: Raster, label: str) -> OpenRaster:
    """A source, opened as the VRT and the user say."""
    given = asked.asked_nodata or ()
    if band.nodata is not None and not any(value != value for value in given):
        asked = replace(
            asked, nodata=(*given, band.nodata) if band.nodata == band.nodata else given
        )
    place = _beside(vrt, source.path, label)
    raster = open_file(replace(asked, source=place), place, str(place))
    said = raster.decoding.said
    if said is not None and not given:
        wanted = () if band.nodata is None or band.nodata != band.nodata else (band.nodata,)
        if {*said.nodata} != {*wanted}:
            raise ValuesError(
                f"{label} declares nodata={band.nodata}, and its source {raster.label} "
                f"{', '.join(map(str, said.nodata)) or None}: say which holds, zr.Raster(..., "
                "nodata=...), with NaN among them in place of both"
            )
    if not asked.raw and (raster.decoding.scale, raster.decoding.offset) != (
        band.scale, band.offset
    ):  # fmt: skip
        raise ValuesError(
            f"{label} and its source {raster.label} have other scales and offsets "
            f"({band.scale}, {band.offset} and {raster.decoding.scale}, "
            f"{raster.decoding.offset}): zr.Raster(..., raw=True) leaves them alone"
        )
    pixels = raster.pixels
    assert isinstance(pixels, FilePixels)
    if pixels.mask_value is None and pixels.dtype != np.dtype(_DTYPES.get(band.dtype, "V1")):
        raise ValuesError(
            f"{label} has pixels of {band.dtype}, and its source {raster.label} of "
            f"{pixels.dtype}: {_TILES_CURE}"
        )
    return raster


def _beside(vrt: Location, name: str, label: str) -> Location:
    """The place of a source, which must lie in the folder of the VRT or below it."""

    def elsewhere() -> ValuesError:
        return ValuesError(
            f"{label} is a VRT that leads to {name!r}, which is no file beside it: {_TILES_CURE}"
        )

    if name in ("", "./") or ":" in name or name.startswith(("<", "/vsi")) or "\0" in name:
        raise elsewhere()
    if not vrt.is_local:
        parts = [part for part in name.split("/") if part != "."]
        if name.startswith("/") or ".." in parts or "?" in name:
            raise elsewhere()
        return vrt.beside(f"{vrt.url.rpartition('/')[0]}/{'/'.join(parts)}")
    # Links count as where they lead: the VRT may have come with them.
    folder = Path(vrt.url).parent.resolve()
    path = (folder / name if name.startswith("./") else Path(name)).resolve()
    if not path.is_relative_to(folder):
        raise elsewhere()
    return Location.of(path)


def _tile_of(raster: OpenRaster, source: _Source, grid: Grid, label: str) -> Tile | None:
    """A source where the VRT puts it, which is where it says itself; None outside of the VRT."""
    shown = source.shown or Window(0, raster.grid.height, 0, raster.grid.width)
    placed = source.placed or Window(0, grid.height, 0, grid.width)
    moved = (placed.row0 - shown.row0, placed.col0 - shown.col0)
    try:
        found = relation(raster.grid, grid, label=raster.label)
    except AlignmentError as err:
        raise ValuesError(f"{label}: {err}") from err
    if found.ratio != 1 or [found.row, found.col] != [*moved] or shown.shape != placed.shape:
        raise ValuesError(
            f"{label} puts {raster.label} at row {moved[0]}, column {moved[1]}, and its own place "
            f"is row {float(found.row):g}, column {float(found.col):g}: {_TILES_CURE}"
        )
    whole = Window(0, grid.height, 0, grid.width)
    own = Window(0, raster.grid.height, 0, raster.grid.width).moved(*moved)
    within = placed.intersect(whole)
    within = within and within.intersect(own)
    if within is None:
        return None
    here = within.moved(-moved[0], -moved[1])
    return Tile(raster, here, within.row0, within.col0, source.is_opaque)
