"""STAC items as tiles: which file of each item is meant, and where it lies."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoneraster.blobs import URL_SCHEMES, Location, get_or_none, suffix_of
from zoneraster.errors import ValuesError, name_some

_SUFFIXES = (".json", ".geojson")
_MAX_BYTES = 2**28
_RASTER_TYPES = ("image/tiff", "image/vnd.stac.geotiff", "image/jp2", "application/vnd+zarr")
_RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".zarr", ".nc")


def is_items_file(location: Location) -> bool:
    """A JSON file, by its ending."""
    return suffix_of(location.url) in _SUFFIXES


def is_items(source: object) -> bool:
    """An item or a collection of items, of pystac or as JSON has them."""
    if isinstance(source, Mapping):
        kind = source.get("type")
        return kind in {"Feature", "FeatureCollection"} and bool({"assets", "features"} & {*source})
    return hasattr(source, "to_dict") and (
        hasattr(source, "assets") or type(source).__name__ == "ItemCollection"
    )


def files_of_items(source: Any, asset: str | None, label: str) -> list[str]:
    """Places of one asset of each item.

    Parameters
    ----------
    source : item, or collection of items
        Any: of pystac, or a mapping.
    asset : str or None
        Name of the asset; None where each item has one raster.
    label : str
        For errors.

    Raises
    ------
    ValuesError
        For what are no items, and where the asset is not told.
    """
    said = source if isinstance(source, Mapping) else source.to_dict()
    return [_href(item, asset, _own_place(item), label) for item in _items(said, label)]


def files_of_items_file(location: Location, asset: str | None, label: str) -> list[str]:
    """The same of a JSON file, whose items may lead to files beside it and to URLs."""
    folder, _, name = location.url.rpartition("/")
    data = get_or_none(location.beside(folder).blobs(), name)
    if data is None:
        raise ValuesError(f"{label}: no such file: check the path")
    try:
        said = json.loads(data) if len(data) <= _MAX_BYTES else None
    except ValueError as err:
        raise ValuesError(f"{label} cannot be read as STAC items ({err})") from err
    if not is_items(said):
        raise ValuesError(
            f"{label} holds no STAC items: give an item or an ItemCollection, or open what it "
            "refers to with xarray and give the Dataset"
        )
    assert isinstance(said, Mapping)
    found = []
    for item in _items(said, label):
        href = _href(item, asset, location.url, label)
        if "://" not in href and not _is_beside(href, location):
            raise ValuesError(
                f"{label} leads to {href!r}, which does not lie beside it: open the items "
                "yourself, e.g. zr.Raster(json.load(open(path)))"
            )
        found.append(href)
    return found


def _is_beside(path: str, location: Location) -> bool:
    if not location.is_local:
        return False
    folder = Path(location.url).parent.resolve()
    return Path(path).resolve().is_relative_to(folder)


def _items(said: Mapping[str, Any], label: str) -> Sequence[Mapping[str, Any]]:
    """All items; JSON, hence Any."""
    items = said["features"] if said.get("type") == "FeatureCollection" else [said]
    if not isinstance(items, list) or not items:
        raise ValuesError(f"{label} holds no STAC items: search again")
    for item in items:
        if not isinstance(item, Mapping) or not isinstance(item.get("assets"), Mapping):
            raise ValuesError(f"{label}: one of {len(items):,} features is no STAC item: no assets")
    return items


def _own_place(item: Mapping[str, Any]) -> str:
    """Where an item says that it lies; "" where it does not."""
    links = item.get("links") or []
    return next((str(one["href"]) for one in links if one.get("rel") == "self"), "")


def _href(item: Mapping[str, Any], asset: str | None, place: str, label: str) -> str:
    """Where an asset lies, seen from the place of its item."""
    assets = item["assets"]
    named = f"{label}: item {item.get('id')!r}"
    if asset is None:
        rasters = [name for name, one in assets.items() if _is_raster(one)]
        if len(rasters) != 1:
            raise ValuesError(
                f"{named} has {len(rasters)} rasters among its assets ({name_some([*assets])}): "
                f"choose one, Raster(..., variable={next(iter(rasters or assets))!r})"
                if assets
                else f"{named} has no assets"
            )
        asset = rasters[0]
    if asset not in assets:
        raise ValuesError(f"{named} has no asset {asset!r}: it has {name_some([*assets])}")
    href = str(assets[asset].get("href", ""))
    scheme, has_scheme, _ = href.partition("://")
    if not href or href.startswith("/vsi") or (has_scheme and scheme not in URL_SCHEMES):
        raise ValuesError(f"{named} leads to {href!r}, no path or URL of a raster")
    if has_scheme or href.startswith("/") or not place:
        return href
    scheme, has_scheme, path = place.partition("://")
    folder = (path if has_scheme else scheme).rpartition("/")[0]
    joined = posixpath.normpath(f"{folder}/{href}")
    return f"{scheme}://{joined}" if has_scheme else joined


def _is_raster(asset: Mapping[str, Any]) -> bool:
    """Whether an asset is a raster with values, and no picture of one."""
    roles = {*(asset.get("roles") or [])}
    if roles & {"thumbnail", "overview", "metadata"}:
        return False
    kind = str(asset.get("type", "")).partition(";")[0].strip().lower()
    suffix = suffix_of(str(asset.get("href", "")))
    return kind in _RASTER_TYPES or (not kind and suffix in _RASTER_SUFFIXES)
