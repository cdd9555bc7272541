"""One zone set, all its files: the same table, or a clear error; never two tables.

Zones with keys of any kind, text in any script and any reference system are written in a dozen
formats. Opened by its path, each file gives the table that was worked out by hand, or an error of
ours. The long form: ``pytest --hypothesis-profile=thorough``.
"""

from __future__ import annotations

import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import xarray as xr
from hypothesis import event, given
from hypothesis import strategies as st
from pyproj import CRS, Transformer

import zoneraster as zr

GRID = zr.Grid.from_bounds((10, 40, 16, 44), 1)
VALUES = np.arange(24.0).reshape(4, 6) ** 2
# Systems whose lines are those of longitude and latitude, so that boxes stay boxes.
SYSTEMS = ["EPSG:4326", "OGC:CRS84", "EPSG:3857", "EPSG:3395", "EPSG:4979", "ESRI:54034"]


def owned(n: int) -> list[str]:
    """A column of the user's that is called like one of ours."""
    return [f"o{i}" for i in range(n)]


@dataclass(frozen=True)
class ZoneSet:
    """Zones that are cells of the grid, each a little smaller than it.

    Parameters
    ----------
    keys : list
        None: the zones have no key but their index.
    names : list of str
    cells : list of list of (row, col)
        None has no geometry.
    crs : str
    is_declared : bool
        The file says so.
    index : list or None
        Of the frame; None counts from 0.
    """

    keys: list[Any] | None
    names: list[str]
    cells: list[list[tuple[int, int]] | None]
    crs: str
    is_declared: bool
    index: list[Any] | None

    @property
    def counts(self) -> list[tuple[int, float]]:
        """Count and sum of each zone, by NumPy."""
        found = []
        for cells in self.cells:
            values = [VALUES[row, col] for row, col in cells or ()]
            found.append((len(values), float(np.sum(values)) if values else 0.0))
        return found

    def frame(self) -> gpd.GeoDataFrame:
        """The zones as geopandas has them."""
        there = Transformer.from_crs("EPSG:4326", self.crs, always_xy=True)
        shapes = []
        for cells in self.cells:
            boxes = [
                shapely.box(10.2 + col, 43.2 - row, 10.8 + col, 43.8 - row)
                for row, col in cells or ()
            ]
            corners = [there.transform(*box.exterior.xy) for box in boxes]
            parts = [shapely.Polygon(np.column_stack(xy)) for xy in corners]
            shapes.append(None if cells is None else shapely.MultiPolygon(parts))
        columns: dict[str, Any] = {
            "name": self.names,
            "owned": [f"o{n}" for n in range(len(shapes))],
        }
        if self.keys is not None:
            columns["key"] = self.keys
        index = None if self.index is None else pd.Index(self.index)
        crs = self.crs if self.is_declared else None
        return gpd.GeoDataFrame(columns, geometry=shapes, crs=crs, index=index)


def texts(alphabet: str) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=12)


KEYS = {
    "ids": st.integers(1, 2**32 - 1),
    "small": st.integers(-3, 12),
    "huge": st.integers(2**53, 2**62),
    "ascii": texts("abcXYZ019_-"),
    "latin": texts("aZéöüñÅß "),
    "any script": texts("aéЖ東م🌍"),
}
ALPHABETS = {"ascii": "abc XYZ", "latin": "aéöüñÅß", "script": "éЖ東م🌍ł"}


def bare(key: Any) -> Any:
    """Text without blanks around it, which are no text in a dBASE file."""
    return key.strip() or "_" if isinstance(key, str) else key


@st.composite
def zone_sets(draw: st.DrawFn) -> ZoneSet:
    n = draw(st.integers(1, 5))
    kind = draw(st.sampled_from([*KEYS, None]))
    keys = None
    if kind is not None:
        keys = draw(
            st.lists(KEYS[kind], min_size=n, max_size=n, unique_by=lambda k: str(k).strip())
        )
        keys = [key.strip() or "_" if isinstance(key, str) else key for key in keys]
    words = st.text(ALPHABETS[draw(st.sampled_from([*ALPHABETS]))], min_size=1, max_size=9)
    order = draw(st.permutations(range(24)))
    cells: list[list[tuple[int, int]] | None] = []
    for i in range(n):
        own = order[i * 3 : i * 3 + draw(st.integers(1, 3))]
        cells.append([(place // 6, place % 6) for place in own])
    if n > 1 and draw(st.booleans()):
        cells[draw(st.integers(0, n - 1))] = None
    if all(one is None for one in cells):
        cells[0] = [(0, 0)]
    index = draw(st.none() | st.lists(st.integers(-5, 50), min_size=n, max_size=n, unique=True))
    return ZoneSet(
        keys=keys,
        names=[f"{i}{draw(words).strip()}" for i in range(n)],
        cells=cells,
        crs=draw(st.sampled_from(SYSTEMS)),
        is_declared=draw(st.booleans()),
        index=index,
    )


# ---- formats: each writes a zone set, and says what it is opened by ------------------------------


def features(zones: ZoneSet) -> list[dict[str, Any]]:
    frame = zones.frame()
    attributes = frame.drop(columns="geometry").to_dict("records")
    shapes = [one and shapely.geometry.mapping(one) for one in frame.geometry.to_list()]
    return [
        {"type": "Feature", "properties": said, "geometry": shape}
        for said, shape in zip(attributes, shapes, strict=True)
    ]


def geojson(zones: ZoneSet, folder: Path, encoding: str = "utf-8") -> Path:
    said: dict[str, Any] = {"type": "FeatureCollection", "features": features(zones)}
    if zones.is_declared:
        said["crs"] = {"type": "name", "properties": {"name": zones.crs}}
    path = folder / "zones.geojson"
    path.write_text(json.dumps(said, ensure_ascii=False), encoding=encoding)
    return path


def geojson_in_cp1252(zones: ZoneSet, folder: Path) -> Path:
    return geojson(zones, folder, "cp1252")


def geojson_in_utf_16(zones: ZoneSet, folder: Path) -> Path:
    return geojson(zones, folder, "utf-16")


def geojson_sequence(zones: ZoneSet, folder: Path) -> Path:
    path = folder / "zones.geojsonl"
    path.write_text("\n".join(json.dumps(one) for one in features(zones)))
    return path


def topojson(zones: ZoneSet, folder: Path) -> Path:
    arcs: list[Any] = []
    geometries = []
    for one in features(zones):
        shape = one["geometry"]
        found: dict[str, Any] = {"type": None, "properties": one["properties"]}
        if shape is not None:
            found = {**found, "type": "MultiPolygon", "arcs": []}
            for part in shape["coordinates"]:
                found["arcs"].append([[len(arcs)]])
                arcs.append(part[0])
        geometries.append(found)
    objects = {"zones": {"type": "GeometryCollection", "geometries": geometries}}
    path = folder / "zones.json"
    path.write_text(json.dumps({"type": "Topology", "objects": objects, "arcs": arcs}))
    return path


def esri_json(zones: ZoneSet, folder: Path) -> Path:
    said: dict[str, Any] = {"geometryType": "esriGeometryPolygon", "fields": [], "features": []}
    authority = CRS(zones.crs).to_authority()
    if zones.is_declared and authority is not None and authority[0] == "EPSG":
        said["spatialReference"] = {"wkid": int(authority[1])}
    for name, dtype in zones.frame().dtypes.items():
        if name != "geometry":
            kind = "esriFieldTypeBigInteger" if dtype == np.int64 else "esriFieldTypeString"
            said["fields"].append({"name": name, "type": kind})
    for one in features(zones):
        feature: dict[str, Any] = {"attributes": one["properties"]}
        if one["geometry"] is not None:
            rings = [part[0] for part in one["geometry"]["coordinates"]]
            feature["geometry"] = {"rings": [ring[::-1] for ring in rings]}
        said["features"].append(feature)
    path = folder / "zones.json"
    path.write_text(json.dumps(said))
    return path


def frame(zones: ZoneSet, folder: Path) -> gpd.GeoDataFrame:
    return zones.frame()


def geoparquet(zones: ZoneSet, folder: Path, **options: Any) -> Path:
    zones.frame().to_parquet(folder / "zones.parquet", **options)
    return folder / "zones.parquet"


def geoparquet_native(zones: ZoneSet, folder: Path) -> Path:
    return geoparquet(zones, folder, geometry_encoding="geoarrow")


def geoparquet_rewritten(zones: ZoneSet, folder: Path) -> Path:
    """As a tool of others leaves it: views, dictionaries, another column first."""
    path = geoparquet(zones, folder)
    table = pq.read_table(path)
    names = table.column_names[::-1]
    columns = [
        table[name].cast(pa.string_view()) if pa.types.is_string(table[name].type) else table[name]
        for name in names
    ]
    pq.write_table(pa.table(columns, names).replace_schema_metadata(table.schema.metadata), path)
    return path


def geopackage(zones: ZoneSet, folder: Path) -> Path:
    zones.frame().to_file(folder / "zones.gpkg", index=False)
    return folder / "zones.gpkg"


def flatgeobuf(zones: ZoneSet, folder: Path) -> Path:
    # Without an index of places it has rows without a geometry, too.
    zones.frame().to_file(folder / "zones.fgb", index=False, SPATIAL_INDEX="NO")
    return folder / "zones.fgb"


def shapefile(zones: ZoneSet, folder: Path, encoding: str = "UTF-8") -> Path:
    zones.frame().to_file(folder / "zones.shp", index=False, encoding=encoding)
    return folder / "zones.shp"


def shapefile_in_cp1252(zones: ZoneSet, folder: Path) -> Path:
    return shapefile(zones, folder, "CP1252")


def shapefile_without_cpg(zones: ZoneSet, folder: Path) -> Path:
    path = shapefile(zones, folder)
    path.with_suffix(".cpg").unlink(missing_ok=True)
    return path


def zipped_shapefile(zones: ZoneSet, folder: Path) -> Path:
    path = shapefile(zones, folder)
    with zipfile.ZipFile(folder / "a!b;.zip", "w") as archive:
        for part in folder.glob("zones.*"):
            archive.write(part, f"in/{part.name}")
    assert path.is_file()
    return folder / "a!b;.zip"


FORMATS: list[Callable[[ZoneSet, Path], Any]] = [
    frame, geoparquet, geoparquet_native, geoparquet_rewritten, geopackage, flatgeobuf, shapefile,
    shapefile_in_cp1252, shapefile_without_cpg, zipped_shapefile, geojson, geojson_in_cp1252,
    geojson_in_utf_16, geojson_sequence, topojson, esri_json,
]  # fmt: skip


# ---- the property --------------------------------------------------------------------------------


def can_be_written(zones: ZoneSet, form: Callable[..., Any]) -> bool:
    """The format can say all of it; otherwise the writer would make another zone set of it."""
    every = [*zones.names, *map(str, zones.keys or ())]
    if "cp1252" in form.__name__:
        try:
            "".join(every).encode("cp1252")
        except UnicodeEncodeError:
            return False
    return True


def table_of(zones: ZoneSet, source: Any, store: Path) -> dict[str, tuple[Any, ...]]:
    """What the table says of each zone, by its name."""
    key = None if zones.keys is None else "key"
    zr.build(
        source, store, grid=GRID, key=key, on_invalid="skip", executor="serial",
        # Of formats that have none, or whose writer was told none, it is said.
        assume_crs=zones.crs,
    )  # fmt: skip
    raster = {"lat": GRID.y_centres(), "lon": GRID.x_centres()}
    values = xr.DataArray(VALUES, coords=raster, dims=("lat", "lon"))
    table = zr.zonal_stats(store, values, stats=["count", "sum"], attributes=["name", "owned"])
    assert zr.verify(store).ok
    rows = zip(
        table.index, table["name"], table["owned"], table["count"], table["sum"], strict=True
    )
    return {name: (index, *rest) for index, name, *rest in rows}


@pytest.mark.slow
@given(zones=zone_sets(), form=st.sampled_from(FORMATS))
def test_one_zone_set_gives_one_table_in_all_its_files(
    zones: ZoneSet, form: Callable[[ZoneSet, Path], Any]
) -> None:
    if not can_be_written(zones, form):
        return
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = form(zones, Path(folder))
        got, refusal = None, None
        try:
            got = table_of(zones, source, Path(folder) / "zones.zarr")
        except zr.ZonesError as err:
            refusal = str(err).replace(folder, "")
        if refusal is not None:
            event(f"{form.__name__}: refused, {' '.join(refusal.split())[:60]}")
            assert Path(str(source)).name in refusal or "GeoDataFrame" in refusal
            assert not (Path(folder) / "zones.zarr").exists()
            return
    event(f"{form.__name__}: the same")
    right: dict[str, tuple[Any, ...]] = {}
    keeps_index = form.__name__ in {"frame", "geoparquet", "geoparquet_native",
                                    "geoparquet_rewritten"}  # fmt: skip
    for n, (name, counts) in enumerate(zip(zones.names, zones.counts, strict=True)):
        key: Any = n
        if zones.keys is not None:
            key = zones.keys[n]
        elif zones.index is not None and keeps_index:
            key = zones.index[n]
        right[name] = (key, f"o{n}", *counts)
    assert got == right
