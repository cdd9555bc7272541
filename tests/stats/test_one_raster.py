"""One raster, all its forms: the same table or a clear error, and never two tables.

The same pixels are written as Zarr (both formats), GeoTIFF and NetCDF, their nodata, scale,
coordinates and reference system said in any of the usual ways, and given as path, as what xarray
and rioxarray make of it (masked or not), as Dataset, and computed from that (``+ 0``). The right
table comes from NumPy. The long form has 2,000 cases: ``--hypothesis-profile=thorough``.
"""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import rasterio
import rioxarray
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, note
from hypothesis import strategies as st

import zoneraster as zr

Pixels = npt.NDArray[Any]

HEIGHT, WIDTH = 6, 8
GRIDS = {
    "degrees": zr.Grid.from_bounds((-12, 40, -4, 46), 1),
    "tenths": zr.Grid.from_bounds((-10.4, 40.2, -9.6, 40.8), 0.1),
    "twelfths": zr.Grid("EPSG:4326", ("1/12", 0, "-10/12", 0, "-1/12", 41), (HEIGHT, WIDTH)),
    "utm": zr.Grid("EPSG:32632", (30, 0, 500_010, 0, -30, 5_000_040), (HEIGHT, WIDTH)),
    "polar": zr.Grid("EPSG:6931", (25_000, 0, -100_000, 0, -25_000, 75_000), (HEIGHT, WIDTH)),
}
ZONES = np.repeat([[1] * 5 + [2] * 3], HEIGHT, axis=0)
FORMATS = ("zarr 2", "zarr 3", "tif", "netcdf")
COORDINATES = ("plain", "float32", "decimals", "packed", "km", "edges", "centres", "none", "0..360")
SPELLINGS = (
    "mapping", "mapping wkt1", "mapping cf", "mapping projjson", "code", "wkt2", "projjson",
    "compound", "gdal", "nothing",
)  # fmt: skip
NAMES = (("lat", "lon"), ("y", "x"), ("Y", "X"), ("Latitude", "Longitude"), ("a", "b"))
SCALES = ((1.0, 0.0), (0.1, 0.0), (0.01, -5.0), (0.5, 100.0), (0.0001, 0.0), (1.0, -7.0))
NODATA: dict[str, tuple[float, ...]] = {
    "int8": (-128, 127, 0, -1), "uint8": (255, 0, 254, 7), "int16": (-9999, -32768, 0, 32767),
    "uint16": (65535, 0, 9999), "int32": (-9999, -(2**31), 0, 2**31 - 1),
    "uint32": (2**32 - 1, 0, 99), "int64": (-9999, -(2**63), 2**53 + 1),
    "float32": (-9999.0, 1e20, 0.1, float(np.finfo("f4").min)), "float64": (-9999.0, 1e20, 0.1),
}  # fmt: skip
USUAL = [1, 2, 3, 50, 100, 0]
MEASURES = ["count", "sum", "min", "max"]


@dataclass(frozen=True)
class Case:
    """A raster, how it is written, and how it speaks of itself."""

    grid: str
    dtype: str
    seed: int  # of the pixels
    nodata: tuple[float, ...]
    is_asked: bool  # nodata but the first stand in no file: `Raster(nodata=)` says them
    scale: float
    offset: float
    form: str
    coordinates: str
    spelling: str
    names: tuple[str, str]
    is_flipped: bool

    @property
    def lattice(self) -> zr.Grid:
        return GRIDS[self.grid]

    @property
    def is_in_degrees(self) -> bool:
        return self.lattice.is_geographic

    def pixels(self) -> Pixels:
        """As they are stored, from the north: some usual numbers, and all that are nodata."""
        usual = [1.5, 2.25, -3.0, 7.0, 100.0, 0.0, np.nan] if self.dtype[0] == "f" else USUAL
        among = np.array([*usual, *self.nodata], self.dtype)
        return np.random.default_rng(self.seed).choice(among, (HEIGHT, WIDTH))

    def right(self) -> pd.DataFrame:
        """Count, sum, least and greatest of both zones."""
        stored = self.pixels()
        is_valid = ~np.isin(stored, np.array(self.nodata, stored.dtype))
        if stored.dtype.kind == "f":
            is_valid &= ~np.isnan(stored)
        values = stored.astype(float) * self.scale + self.offset
        rows = [values[is_valid & (zone == ZONES)] for zone in (1, 2)]
        return pd.DataFrame(
            [
                (len(row), row.sum(), row.min(), row.max()) if len(row) else (0, 0, np.nan, np.nan)
                for row in rows
            ],
            columns=MEASURES,
        )


@st.composite
def cases(draw: Callable[..., Any]) -> Case:
    dtype = draw(st.sampled_from(sorted(NODATA)))
    nodata = tuple(draw(st.lists(st.sampled_from(NODATA[dtype]), max_size=3, unique=True)))
    seed = draw(st.integers(0, 1000))
    grid = draw(st.sampled_from(sorted(GRIDS)))
    is_geographic = GRIDS[grid].is_geographic
    # What says nothing has to have names that say it; km are lengths, a turn of 360 is in degrees.
    left_out = {"km"} if is_geographic else {"0..360"}
    coordinates = draw(st.sampled_from([one for one in COORDINATES if one not in left_out]))
    spelling = draw(
        st.sampled_from([one for one in SPELLINGS if is_geographic or one != "nothing"])
    )
    names = draw(st.sampled_from(NAMES if is_geographic else NAMES[1:3]))
    if (coordinates, spelling) == ("none", "nothing") and names in NAMES[1:3]:
        names = NAMES[0]
    scale, offset = draw(st.sampled_from(SCALES))
    form = draw(st.sampled_from(FORMATS))
    return Case(
        grid, dtype, seed, nodata, draw(st.booleans()), scale, offset, form, coordinates,
        spelling, names, draw(st.booleans()),
    )  # fmt: skip


# ---- writing -----------------------------------------------------------------------------------


def dataset_of(case: Case) -> xr.Dataset:
    """The raster as a file holds it: numbers as they are stored, everything else in attributes."""
    grid, (rows, cols) = case.lattice, case.names
    turn = slice(None, None, -1) if case.is_flipped else slice(None)
    array = xr.Variable(case.names, case.pixels()[turn], _said(case))
    coords: dict[str, Any] = {}
    for name, role, centres, step in (
        (rows, "y", grid.y_centres()[turn], float(grid.resolution[1])),
        (cols, "x", grid.x_centres(), float(grid.resolution[0])),
    ):
        coords |= _coordinate(case, name, role, centres, step)
    mapping = _mapping(case)
    if mapping is not None:
        array.attrs["grid_mapping"] = "crs_of_it"
        coords["crs_of_it"] = xr.Variable((), 0, mapping)
    made = xr.Dataset({"v": array}, coords)
    # As most writers leave them: bounds and grid mappings are variables, not coordinates.
    return made.reset_coords([str(name) for name in coords if name not in case.names])


def _said(case: Case) -> dict[str, Any]:
    said: dict[str, Any] = {}
    in_file = case.nodata[:1] if case.is_asked else case.nodata
    values = np.array(in_file, case.dtype)
    if in_file:
        said["_FillValue"] = values[0]
    if in_file[1:]:
        said["missing_value"] = values[1:] if case.form == "netcdf" else values[1:].tolist()
    if case.scale != 1:
        said["scale_factor"] = case.scale
    if case.offset != 0:
        said["add_offset"] = case.offset
    crs = case.lattice.crs
    spelled = {
        "code": {"crs": ":".join(crs.to_authority())},
        "wkt2": {"proj:wkt2": crs.to_wkt()},
        "projjson": {"proj:projjson": crs.to_json_dict()},
        "gdal": {"_CRS": {"wkt": crs.to_wkt(), "projjson": crs.to_json_dict()}},
    }.get(case.spelling, {})
    # NetCDF has no nested attributes.
    if case.form == "netcdf" and case.spelling in {"projjson", "gdal"}:
        spelled = {"proj:wkt2": crs.to_wkt()}
    if case.coordinates == "none":
        said["spatial:transform"] = [float(number) for number in _transform(case)[:6]]
    return said | spelled


def _transform(case: Case) -> Affine:
    a, b, c, d, e, f = case.lattice.transform[:6]
    if case.coordinates == "0..360":
        c += 360
    return Affine(a, b, c, d, -e, f + e * HEIGHT) if case.is_flipped else Affine(a, b, c, d, e, f)


def _mapping(case: Case) -> dict[str, Any] | None:
    crs = case.lattice.crs
    parameters = {key: value for key, value in crs.to_cf().items() if key != "crs_wkt"}
    if case.form == "netcdf" and case.spelling == "mapping projjson":
        return {"crs_wkt": crs.to_wkt()}
    return {
        "mapping": {"crs_wkt": crs.to_wkt()},
        "mapping wkt1": {"spatial_ref": crs.to_wkt("WKT1_GDAL")},
        "mapping cf": parameters,
        "mapping projjson": {"proj:projjson": crs.to_json_dict()},
        "compound": {"crs_wkt": _compound(case)},
    }.get(case.spelling)


def _compound(case: Case) -> str:
    code = case.lattice.crs.to_authority()[1]
    return rasterio.crs.CRS.from_string(f"EPSG:{code}+5773").to_wkt(version="WKT2_2019")


def _coordinate(
    case: Case, name: str, role: str, centres: Pixels, step: float
) -> dict[str, xr.Variable]:
    said: dict[str, Any] = {}
    if name in {"a", "b"} or (case.spelling == "nothing" and name.lower() == role):
        said = {"units": {"y": "degrees_north", "x": "degrees_east"}[role]}
    kind, extra = case.coordinates, {}
    if kind == "none":
        return {} if name not in {"a", "b"} else {name: xr.Variable(name, centres, said)}
    if kind == "0..360" and role == "x":
        centres = centres + 360
    if kind == "float32":
        centres = centres.astype("f4")
    elif kind == "decimals":
        centres = centres.round(5)
    elif kind == "km":
        centres, said = centres / 1000, {"units": "km"}
    elif kind == "packed":
        first, scale = float(centres[0]), step / 4
        said |= {"scale_factor": scale, "add_offset": first}
        centres = np.round((centres - first) / scale).astype("i2")
    elif kind in {"edges", "centres"}:
        said |= {"bounds": f"{name}_bnds"}
        bounds = np.stack([centres - step / 2, centres + step / 2], 1)
        extra = {f"{name}_bnds": xr.Variable((name, "nv"), bounds)}
        centres = centres - step / 2 if kind == "edges" else centres
    return {name: xr.Variable(name, centres, said), **extra}


def nodata_of_tif(case: Case) -> float | None:
    """The one that stands in a file: rasterio has a float for 64-bit integers, and cuts it."""
    first = next(iter(case.nodata), None)
    is_cut = first is not None and case.dtype.endswith("int64") and abs(first) >= 2**53
    return None if is_cut else first


def write_tif(case: Case, path: Path) -> None:
    turn = slice(None, None, -1) if case.is_flipped else slice(None)
    code = "EPSG:" + case.lattice.crs.to_authority()[1]
    crs = {
        # GDAL writes neither scale nor offset beside heights.
        "compound": f"{code}+5773" if (case.scale, case.offset) == (1, 0) else code,
        "mapping wkt1": case.lattice.crs.to_wkt("WKT1_GDAL"),
        "wkt2": case.lattice.crs.to_wkt(),
    }.get(case.spelling, code)
    with rasterio.open(
        path, "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype=case.dtype, crs=crs,
        transform=_transform(case), nodata=nodata_of_tif(case),
    ) as file:  # fmt: skip
        file.write(case.pixels()[turn], 1)
        file.scales, file.offsets = [case.scale], [case.offset]


# ---- opening -----------------------------------------------------------------------------------


def forms(case: Case, folder: Path) -> Iterator[tuple[str, Any]]:
    """All that can be given for the raster that is written to a folder."""
    if case.form == "tif":
        path = folder / "v.tif"
        write_tif(case, path)
        yield "path", path
        for masked in (False, True):
            yield from _opened(
                f"rioxarray, {masked=}", rioxarray.open_rasterio(path, masked=masked)
            )
        yield from _opened("rioxarray, scaled", rioxarray.open_rasterio(path, mask_and_scale=True))
        yield from _opened("xarray", xr.open_dataset(path, engine="rasterio"))
        return
    if case.form == "netcdf":
        path = folder / "v.nc"
        dataset_of(case).to_netcdf(path, engine="netcdf4")
        options: dict[str, Any] = {"engine": "netcdf4"}
    else:
        path = folder / "v.zarr"
        dataset_of(case).to_zarr(path, zarr_format=int(case.form[-1]), consolidated=False)
        options = {"engine": "zarr", "backend_kwargs": {"consolidated": False}}
        yield "path", path
        yield "path of the array", path / "v"
    for masked in (False, True):
        for decode in (True, "all"):
            opened = xr.open_dataset(path, mask_and_scale=masked, decode_coords=decode, **options)
            yield from _opened(f"xarray, {masked=}, decode_coords={decode}", opened)


def _opened(what: str, opened: Any) -> Iterator[tuple[str, Any]]:
    yield what, opened
    if isinstance(opened, xr.Dataset):
        array = opened["v" if "v" in opened else "band_data"]
        yield f"{what}, array", array
    else:
        array = opened
    with xr.set_options(keep_attrs=True):
        yield f"{what}, computed", array + 0
    yield f"{what}, loaded", array.load()


# ---- the property ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A store on each grid: zone 1 has five columns, zone 2 three."""
    made = {}
    for name, grid in GRIDS.items():
        west, south, east, north = grid.bounds
        middle = west + 5 * float(grid.resolution[0])
        boxes = [shapely.box(west, south, middle, north), shapely.box(middle, south, east, north)]
        zones = geopandas.GeoDataFrame({"k": [1, 2]}, geometry=boxes, crs=grid.crs)
        made[name] = tmp_path_factory.mktemp("stores") / f"{name}.zarr"
        zr.build(zones, made[name], grid=grid, key="k")
    return made


def says_less(case: Case, what: str) -> bool:
    """Whether nodata that the user names in stored units is asked of an array that has others."""
    is_unpacked = (
        "masked=True" in what or "scaled" in what or what.split(",", maxsplit=1)[0] == "xarray"
    )
    is_unpacked &= "masked=False" not in what
    return is_unpacked and (case.scale, case.offset) != (1, 0) and bool(asked_of(case))


def asked_of(case: Case) -> list[float]:
    """Nodata that stands in no file: GeoTIFF has one at most."""
    if case.form == "tif" and nodata_of_tif(case) is None:
        return list(case.nodata)
    has_more = len(case.nodata) > 1 and (case.is_asked or case.form == "tif")
    return list(case.nodata) if has_more else []


def table_of(store: Path, source: Any, case: Case) -> tuple[pd.DataFrame | str, list[str]]:
    """The table or the error, and what was warned of."""
    nodata = asked_of(case) or None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            table = zr.zonal_stats(store, zr.Raster(source, nodata=nodata), stats=MEASURES)
        except zr.ZonerasterError as err:
            return f"{type(err).__name__}: {err}", []
    said = [str(one.message) for one in told if issubclass(one.category, zr.ZonerasterWarning)]
    return table[MEASURES].reset_index(drop=True), said


def is_right(got: pd.DataFrame, right: pd.DataFrame) -> bool:
    # xarray unpacks small integers to float32.
    return bool(np.allclose(got.astype(float), right.astype(float), 2e-6, 1e-6, equal_nan=True))


@pytest.mark.slow
@given(case=cases())
def test_one_raster_has_one_table_in_all_its_forms(case: Case, stores: dict[str, Path]) -> None:
    if case.form == "netcdf" and importlib.util.find_spec("netCDF4") is None:
        return
    right = case.right()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray's, of several nodata values
        for what, source in forms(case, Path(folder)):
            if says_less(case, what):
                continue
            got, told = table_of(stores[case.grid], source, case)
            note(f"{what}: {got}\n{told}")
            if isinstance(got, str):
                assert may_be_refused(case, what, got), f"{what}: {got}"
            elif not is_right(got, right):
                assert "computed" in what, f"{what}:\n{got}\n{right}\n{told}"
                assert any("ignored" in text for text in told), f"{what}:\n{got}\n{right}\n{told}"


def may_be_refused(case: Case, what: str, error: str) -> bool:
    """Whether a form lies elsewhere, or has lost what tells where, and the error says so."""
    is_array = "array" in what or "computed" in what or "loaded" in what
    has_lost = is_array and what.startswith("xarray")
    return (has_lost and "stayed behind in the Dataset" in error) or (
        has_lost and case.coordinates == "edges" and "shift by half a pixel" in error
    )
