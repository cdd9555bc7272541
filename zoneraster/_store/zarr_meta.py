"""Metadata of the array: plain Zarr v3 with CF georeferencing, as zarr writes it."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numcodecs import blosc
from pyproj import CRS

from zoneraster._grid import Chunking, Grid, same_crs
from zoneraster.blobs import PRIVATE

ARRAY = "zone"
# Arrays of products: their names, what pixels are, and the dtype that holds that; None: ids.
PRODUCTS: dict[str, tuple[str, str, str | None]] = {
    "ids": (ARRAY, "zone id, 0 = no zone", None),
    "cover": ("cover", "covered part of the pixel, 0 to 1", "float32"),
    "percent": ("cover", "covered part of the pixel, percent", "uint8"),
    "count": ("count", "number of zones", "uint16"),
}
_ARRAYS = tuple(dict.fromkeys(array for array, *_ in PRODUCTS.values()))
# Folders of a store, all that is ours in them.
FOLDERS = (*_ARRAYS, "x", "y", "spatial_ref", PRIVATE.rstrip("/"))
# Attributes that are a reference system as text.
_WKT = {"crs_wkt", "spatial_ref", "proj:wkt2"}
# What says where the whole array lies, and stays behind when it is cut or computed with.
_OF_THE_WHOLE = re.compile(r"proj:.*|spatial:.*|zarr_conventions|GeoTransform")
# Attributes of the array, and of the group, that stores of earlier versions do not have.
_LATER = {"nodata"}
_LATER_OF_GROUP = re.compile(r"proj:.*|spatial:.*|zarr_conventions")
_CHUNK_KEY = re.compile(rf"^(?:{'|'.join(_ARRAYS)})/c/((?:\d+/)?\d+/\d+)$")
_CONVENTIONS = [
    {
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": "proj:",
        "spec_url": "https://github.com/zarr-conventions/proj/blob/v1/README.md",
    },
    {
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": "spatial:",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
    },
]
# Readers go by the uuid, by this name or by that of the array.
_CONVENTIONS_OF_GROUP = [
    {
        "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/zarr-conventions/{name}/blob/v0.1/README.md",
        "uuid": convention["uuid"],
        "name": name,
        "description": description,
    }
    for convention, name, description in zip(
        _CONVENTIONS,
        ("proj", "spatial"),
        (
            "Coordinate reference system information for geospatial data",
            "Spatial coordinate information",
        ),
        strict=True,
    )
] + [{"uuid": convention["uuid"], "name": convention["name"]} for convention in _CONVENTIONS]
# As `proj:code` must look.
_CODE = re.compile(r"[A-Z]+:[0-9]+")


def chunk_key(place: tuple[int, ...], array: str = ARRAY) -> str:
    """Key of a chunk of an array, from its row and column, with a layer before them in layers."""
    return f"{array}/c/{'/'.join(map(str, place))}"


def parse_chunk_key(key: str) -> tuple[int, ...] | None:
    """The place in a `chunk_key`, None when it is not a chunk of an array of ours."""
    match = _CHUNK_KEY.match(key)
    return tuple(map(int, match[1].split("/"))) if match else None


def _array_attributes(grid: Grid, product: str) -> dict[str, Any]:  # Any: JSON
    """CF attributes carry the load; the proj: and spatial: conventions are added."""
    a, b, c, d, e, f = list(grid.transform)[:6]
    attributes: dict[str, Any] = {
        "long_name": PRODUCTS[product][1],
        # For tools that fill what lies beside the array; _FillValue would turn ids into floats.
        # A pixel without a zone is covered by nothing, which is a value.
        **({"nodata": 0} if product == "ids" else {}),
        "grid_mapping": "spatial_ref",
        "coordinates": "spatial_ref",
        "zarr_conventions": _CONVENTIONS,
        "proj:wkt2": grid.crs.to_wkt(),
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": [a, b, c, d, e, f],
        "spatial:bbox": list(grid.bounds),
        "spatial:shape": list(grid.shape),
        "spatial:registration": "pixel",
    }
    # Only a code that stands for exactly this reference system, datum and all.
    authority = grid.crs.to_authority(min_confidence=100)
    if authority:
        attributes["proj:code"] = ":".join(authority)
    return attributes


def _group_attributes(grid: Grid) -> dict[str, Any]:  # Any: JSON
    """Where the array lies, said of the group too: OpenLayers and others look nowhere else."""
    said = _array_attributes(grid, "ids")
    places = {name: value for name, value in said.items() if _LATER_OF_GROUP.fullmatch(name)}
    if not _CODE.fullmatch(places.get("proj:code", "")):
        places.pop("proj:code", None)
    return {
        "Conventions": "CF-1.11",
        "title": "zone raster",
        **places,
        "zarr_conventions": _CONVENTIONS_OF_GROUP,
        "spatial:transform_type": "affine",
    }


def _axis_attributes(grid: Grid) -> tuple[dict[str, Any], dict[str, Any]]:  # Any: JSON
    """CF attributes of the y and x coordinates."""
    if grid.is_geographic:
        return (
            {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
            {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
        )
    unit = grid.crs.axis_info[0].unit_name if grid.crs.axis_info else "metre"
    return (
        {"standard_name": "projection_y_coordinate", "units": unit, "axis": "Y"},
        {"standard_name": "projection_x_coordinate", "units": unit, "axis": "X"},
    )


def zarr_objects(
    grid: Grid,
    chunking: Chunking,
    dtype: np.dtype[Any],
    *,
    crc32c: bool,
    product: str = "ids",
    n_layers: int = 0,
) -> dict[str, bytes]:
    """All keys of an empty zone store but for its chunks.

    Parameters
    ----------
    grid : Grid
    chunking : Chunking
    dtype : uint8, uint16, uint32 or float32
    crc32c : bool
        Add Zarr's crc32c codec behind zstd.
    product : str
        One of `PRODUCTS`.
    n_layers : int
        Of an array (layer, y, x); 0 for (y, x).

    Returns
    -------
    dict of key to bytes
        The root last: a store with a root is complete. Made by the zarr library in memory, so that
        what is stored is what zarr itself writes.
    """
    import zarr  # noqa: PLC0415 - a slow import that only planning needs
    from zarr.codecs import Crc32cCodec, ZstdCodec  # noqa: PLC0415
    from zarr.storage import MemoryStore  # noqa: PLC0415

    memory = MemoryStore()
    group = zarr.create_group(memory, zarr_format=3, attributes=_group_attributes(grid))
    compressors: list[Any] = [ZstdCodec(level=1)]  # Any: codecs share no public base class
    if crc32c:
        compressors.append(Crc32cCodec())
    layers, chunk_depth, first = ((n_layers,), (1,), ("layer",)) if n_layers else ((), (), ())
    group.create_array(
        PRODUCTS[product][0],
        shape=(*layers, *grid.shape),
        chunks=(*chunk_depth, *chunking.chunks),
        dtype=dtype,
        compressors=compressors,
        filters=None,
        fill_value=0,
        dimension_names=(*first, "y", "x"),
        attributes=_array_attributes(grid, product),
    )
    _put_coordinates(group, grid)
    _put_grid_mapping(group, grid)
    with warnings.catch_warnings():
        # Consolidated metadata is not in the v3 specification yet; readers use it all the same.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(memory)
    found = _objects_in(memory)
    root = found.pop("zarr.json")
    return {**dict(sorted(found.items())), "zarr.json": root}


def _objects_in(memory: Any) -> dict[str, bytes]:  # Any: a zarr store, imported lazily
    """All objects of a store of zarr."""
    from zarr.core.buffer import default_buffer_prototype  # noqa: PLC0415
    from zarr.core.sync import sync  # noqa: PLC0415

    prototype = default_buffer_prototype()

    async def read() -> dict[str, bytes]:
        found = {}
        async for key in memory.list():
            value = await memory.get(key, prototype)
            if value is not None:
                found[key] = value.to_bytes()
        return found

    objects: dict[str, bytes] = sync(read())
    return objects


def _put_coordinates(group: Any, grid: Grid) -> None:  # Any: a zarr group, imported lazily
    """Pixel centres as 1-D arrays: what GDAL takes the transform from."""
    from zarr.codecs import BloscCodec  # noqa: PLC0415

    coordinates = (("y", grid.y_centres()), ("x", grid.x_centres()))
    for (name, values), attributes in zip(coordinates, _axis_attributes(grid), strict=True):
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=values.shape,
            dtype="float64",
            # Shuffle is right here: neighbouring coordinates share their high bytes.
            compressors=[BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=8)],
            filters=None,
            dimension_names=(name,),
            attributes=attributes,
        )
        array[:] = values


def _put_grid_mapping(group: Any, grid: Grid) -> None:  # Any: a zarr group, imported lazily
    """The CF grid mapping variable."""
    with warnings.catch_warnings():
        # Some projections have parameters that CF cannot say; the WKT beside it says them.
        warnings.simplefilter("ignore")
        named = grid.crs.to_cf()
    a, b, c, d, e, f = list(grid.transform)[:6]
    mapping = {
        **named,
        "crs_wkt": grid.crs.to_wkt(),
        "spatial_ref": grid.crs.to_wkt(),
        "GeoTransform": " ".join(repr(float(n)) for n in (c, a, b, f, d, e)),
    }
    reference = group.create_array(
        "spatial_ref", shape=(), dtype="int32", compressors=None, attributes=_plain(mapping)
    )
    reference[...] = 0


def _plain(mapping: Mapping[str, object]) -> dict[str, Any]:
    """JSON-able copy: pyproj gives tuples and numpy numbers."""
    plain: dict[str, Any] = json.loads(json.dumps(mapping, default=float))
    return plain


def without_places(attributes: Mapping[Any, Any]) -> dict[Any, Any]:  # Any: names, JSON
    """Attributes without those that hold of the whole array only, or that netCDF cannot hold.

    Coordinates tell where any part of it lies, and the grid mapping in which reference system.
    """
    return {name: v for name, v in attributes.items() if not _OF_THE_WHOLE.fullmatch(str(name))}


def says_the_same(stored: bytes, planned: bytes) -> bool:
    """Two objects of `zarr_objects` say the same, whichever releases of zarr and PROJ wrote them.

    Metadata is compared as JSON, coordinates by their decoded bytes.
    """
    if stored == planned:
        return True
    try:
        if planned.startswith(b"{"):
            return _is_alike(json.loads(stored), json.loads(planned))
        # As many bytes, decoded, as the header of Blosc says: no other size is worth decoding.
        is_as_long = stored[4:8] == planned[4:8]
        return is_as_long and bool(blosc.decompress(stored) == blosc.decompress(planned))
    except (ValueError, RuntimeError, RecursionError, OverflowError):
        return False


def _later(planned: Mapping[str, object]) -> set[str]:
    """Which of some members stores of earlier versions may be without."""
    later = _LATER & planned.keys()
    # The attributes of the group, and of nothing else, name the conventions of CF.
    if "Conventions" in planned:
        later |= {name for name in planned if _LATER_OF_GROUP.fullmatch(name)}
    return later


def _is_alike(stored: object, planned: object, name: str = "") -> bool:
    """Two values of JSON say the same; `name` is the member that they are."""
    match stored, planned:
        case dict(), dict():
            is_same = stored.keys() | _later(planned) == planned.keys()
            return is_same and all(
                _is_alike(value, planned[key], key) for key, value in stored.items()
            )
        case list(), list():
            return len(stored) == len(planned) and all(map(_is_alike, stored, planned))
        case float(), float():
            # A spec keeps a reference system as text, which has 15 digits of a number.
            return math.isclose(stored, planned, rel_tol=1e-12)
        case str(), str() if name in _WKT:
            return stored == planned or same_crs(CRS(stored), CRS(planned))
    return stored == planned
