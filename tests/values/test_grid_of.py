"""Grids of rasters that exist."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from tests.grid.samples import small_grid
from zoneraster._grid.grid import Grid
from zoneraster._values.open import grid_like
from zoneraster.errors import GridError, ZonerasterWarning


def raster_of(grid: Grid, *, names: tuple[str, str] = ("y", "x")) -> xr.DataArray:
    """Zeros with coordinates at the pixel centres, and no CRS."""
    coordinates = dict(zip(names, (grid.y_centres(), grid.x_centres()), strict=True))
    return xr.DataArray(np.zeros(grid.shape, dtype=np.uint8), coordinates, names)


def with_grid_mapping(raster: xr.DataArray, grid: Grid, *, transform: bool = True) -> xr.DataArray:
    """Add the CF grid mapping that GDAL and rioxarray write."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    attributes = {"crs_wkt": grid.crs.to_wkt()}
    if transform:
        attributes["GeoTransform"] = " ".join(map(repr, (c, a, b, f, d, e)))
    return raster.assign_coords(spatial_ref=((), 0, attributes))


THIRDS = Grid("EPSG:4326", (1 / 3600, 0, -180, 0, -1 / 3600, 90), (100, 200))
MERCATOR = Grid(
    "EPSG:3857", (19.109257071294063, 0, -20037508.342789244, 0, -19.109257071294063, 0), (30, 40)
)


@pytest.mark.parametrize("grid", [small_grid(), THIRDS, MERCATOR])
@pytest.mark.parametrize("transform", [True, False])
def test_the_grid_of_an_array_with_grid_mapping(grid, transform):
    raster = with_grid_mapping(raster_of(grid), grid, transform=transform)
    found = grid_like(raster)
    assert found.shape == grid.shape
    assert found.bounds == pytest.approx(grid.bounds, rel=1e-12)
    if transform or grid != MERCATOR:
        assert found == grid


def test_the_grid_of_an_array_needs_no_coordinates_when_it_has_a_transform():
    raster = with_grid_mapping(raster_of(THIRDS), THIRDS).drop_vars(["x", "y"])
    assert grid_like(raster) == THIRDS


def test_the_grid_of_a_dataset_follows_the_named_grid_mapping():
    grid = small_grid(crs="EPSG:32633")
    raster = raster_of(grid).assign_attrs(grid_mapping="utm: x y")
    attributes = grid.crs.to_cf()
    del attributes["crs_wkt"]
    dataset = xr.Dataset({"cover": raster, "utm": ((), 0, attributes)})
    found = grid_like(dataset)
    assert found.crs.to_cf()["grid_mapping_name"] == "transverse_mercator"
    assert (found.resolution, found.origin, found.shape) == (grid.resolution, grid.origin, (2, 3))
    decoded = raster.drop_attrs().assign_coords(utm=((), 0, {"crs_wkt": grid.crs.to_wkt()}))
    decoded.encoding["grid_mapping"] = "utm"
    assert grid_like(decoded) == grid


def test_the_grid_of_an_array_with_the_attributes_of_zarr_conventions():
    attributes = {
        "proj:wkt2": MERCATOR.crs.to_wkt(),
        "spatial:dimensions": ["row", "col"],
        "spatial:transform": list(MERCATOR.transform)[:6],
        "spatial:registration": "pixel",
    }
    raster = xr.DataArray(np.zeros((30, 40)), dims=("row", "col"), attrs=attributes)
    assert grid_like(raster) == MERCATOR
    code = raster.assign_attrs({"proj:wkt2": None, "proj:code": "EPSG:3857"})
    assert grid_like(xr.Dataset({"cover": code.drop_attrs()}, attrs=code.attrs)) == MERCATOR
    with pytest.raises(GridError, match="spatial:registration is not 'pixel': shift"):
        grid_like(raster.assign_attrs({"spatial:registration": "node"}))


@pytest.mark.parametrize("names", [("lat", "lon"), ("latitude", "longitude")])
def test_latitudes_and_longitudes_without_crs_are_wgs84(names):
    assert grid_like(raster_of(THIRDS, names=names)) == THIRDS


def test_more_dimensions_do_not_disturb():
    raster = raster_of(THIRDS, names=("lat", "lon")).expand_dims(time=3).transpose("lon", ...)
    assert grid_like(raster) == THIRDS
    assert grid_like(raster.to_dataset(name="rain")) == THIRDS


@pytest.mark.parametrize("grid", [THIRDS, MERCATOR])
def test_a_slice_is_on_the_lattice_of_the_whole(grid):
    whole = with_grid_mapping(raster_of(grid), grid)
    part = grid_like(whole.isel(y=slice(5, 9), x=slice(7, 8)))
    assert part.shape == (4, 1)
    assert part.offset_in(grid) == (5, 7, 1)


def test_every_third_pixel_is_another_lattice():
    whole = with_grid_mapping(raster_of(THIRDS), THIRDS)
    part = grid_like(whole.isel(y=slice(None, None, 3), x=slice(1, None, 3)))
    assert part.resolution == (Fraction(3, 3600), Fraction(3, 3600))
    assert part.offset_in(THIRDS) == (-1, 0, 3)


@given(st.integers(0, 1_439_000), st.integers(2, 900), st.sampled_from(["1/4000", "1/3600"]))
def test_short_stretches_of_coordinates_still_tell_the_lattice(col, width, resolution):
    step = Fraction(resolution)
    grid = Grid("EPSG:4326", (step, 0, -180 + col * step, 0, -step, 50), (2, width))
    assert grid_like(raster_of(grid, names=("lat", "lon"))) == grid


def test_float32_coordinates_take_the_transform_that_fits_them_and_are_refused_where_too_coarse():
    grid = Grid("EPSG:3857", (19.109257071294063, 0, 5000.1, 0, -19.109257071294063, 0), (30, 40))
    for one in (grid, MERCATOR):
        raster = raster_of(one)
        raster = raster.assign_coords({n: raster[n].astype(np.float32) for n in ("y", "x")})
        if one is grid:
            assert grid_like(with_grid_mapping(raster, one)) == one
        else:  # 2 m are the last bit of its coordinates
            with pytest.raises(GridError, match=r"x coordinates are uneven by .* 1/1000 pixel"):
                grid_like(with_grid_mapping(raster, one))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.isel(lat=slice(None, None, -1)), "must run from west to east and from north"),
        (lambda r: r.isel(lon=slice(None, None, -1)), r"use obj.sortby\(x\).sortby\(y, asc"),
        (lambda r: r.isel(lat=[0]), "1 y coordinate has no step: write a transform"),
        (lambda r: r.isel(lon=[0, 0, 2]), "x coordinates are uneven by up to"),
        (lambda r: r.isel(lon=[0, 0]), "x coordinates are uneven by up to 0 at a mean step of 0"),
        (lambda r: r.assign_coords(lon=list("abc")), r"coordinate 'lon' \(<U1\) is not a row of"),
        (lambda r: r.assign_coords(lon=[0, 1, np.nan]), "is not a row of finite numbers: give"),
        (lambda r: r.drop_vars("lat"), "neither coordinates 'lat' and 'lon' nor a transform"),
        (lambda r: r.rename(lat="y", lon="x"), r"no CRS: write one, e.g. obj.rio.write_crs"),
        (lambda r: r.rename(lat="a"), r"cannot tell rows from columns in dimensions \('a', 'lon"),
        (lambda r: r.assign_attrs(crs="garbage"), "unknown CRS 'garbage'"),
        (
            lambda r: r.assign_coords(spatial_ref=((), 0, {"grid_mapping_name": "nonsense"})),
            "cannot read the CF grid mapping .*nonsense",
        ),
        (lambda r: r.assign_attrs({"spatial:transform": [1, 2]}), r"cannot read the transform \[1"),
        (
            lambda r: r.assign_coords(spatial_ref=((), 0, {"GeoTransform": "0 1 x 0 0 -1"})),
            "cannot read the transform '0 1 x 0 0 -1': expected six numbers",
        ),
        (
            lambda r: r.assign_attrs({"spatial:transform": [1, 0.1, 0, 0, -1, 0]}),
            "rotated or sheared",
        ),
    ],
)
def test_an_array_without_a_grid_is_refused(change, message):
    with pytest.raises(GridError, match=message):
        grid_like(change(raster_of(small_grid(), names=("lat", "lon"))))


@pytest.mark.parametrize("obj", [np.zeros((2, 2)), None, 7])
def test_what_is_no_raster_is_refused(obj):
    with pytest.raises(
        GridError, match=r"cannot tell the grid of a .*: give a Grid, an xarray DataArray"
    ):
        grid_like(obj)


def test_the_grid_of_an_array_written_by_rioxarray():
    pytest.importorskip("rioxarray")
    raster = raster_of(MERCATOR).rio.write_crs("EPSG:3857").rio.write_transform(MERCATOR.transform)
    assert grid_like(raster) == MERCATOR


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_grid_of_a_file(tmp_path):
    rasterio = pytest.importorskip("rasterio")

    def write(name: str, **profile: object) -> Path:
        shape = {"height": 30, "width": 40, "count": 1, "dtype": "uint8", "driver": "GTiff"}
        with rasterio.open(tmp_path / name, "w", **shape, **profile):
            return tmp_path / name

    path = write("good.tif", crs="EPSG:3857", transform=MERCATOR.transform)
    assert grid_like(path) == grid_like(str(path)) == MERCATOR
    with pytest.raises(GridError, match=r"bare.tif' has no CRS: write one, e.g. rio edit-info"):
        grid_like(write("bare.tif", transform=MERCATOR.transform))
    turned = Affine(0.8, -0.6, 0, 0.6, 0.8, 0)
    with pytest.raises(GridError, match="rotated or sheared"):
        grid_like(write("turned.tif", crs="EPSG:3857", transform=turned))
    with pytest.raises(GridError, match=r"cannot open raster '.*absent.tif'"):
        grid_like(tmp_path / "absent.tif")


@pytest.mark.parametrize(
    ("module", "obj", "message"),
    [
        (
            "rasterio",
            "a.tif",
            r"the grid of 'a.tif' needs rasterio, which is not there: pip install ra",
        ),
        ("xarray", 7, "grid_like needs xarray, which is not there: pip install xarray"),
    ],
)
def test_a_missing_package_is_named_with_the_pip_line(monkeypatch, module, obj, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=message):
        grid_like(obj)


# ---- reference systems that are said in other ways ---------------------------------------------

ELLIPSOID = {"semi_major_axis": 6378137.0, "inverse_flattening": 298.257223563}
PLAIN = {"grid_mapping_name": "latitude_longitude"}


def mapped(attributes: dict[str, object], names=("y", "x"), said: str = "crs") -> xr.DataArray:
    raster = raster_of(small_grid(), names=names).assign_attrs(grid_mapping=said)
    return raster.assign_coords(crs=((), 0, attributes))


@pytest.mark.parametrize(
    "attributes",
    [
        PLAIN,
        {**PLAIN, **ELLIPSOID},
        {**PLAIN, **ELLIPSOID, "longitude_of_prime_meridian": 0.0},
        {**PLAIN, "semi_major_axis": 6378137.0, "semi_minor_axis": 6356752.314245},
        {**PLAIN, "semi_major_axis": 6378137.0, "inverse_flattening": 298.257222101},
        {"proj:projjson": small_grid().crs.to_json_dict()},
        {"proj:code": "EPSG:4326"},
        {"esri_pe_string": small_grid().crs.to_wkt("WKT1_ESRI")},
    ],
)
def test_grid_mappings_without_a_datum_or_in_other_words_are_wgs84(attributes):
    assert grid_like(mapped(attributes)) == small_grid()


def test_a_sphere_is_not_wgs84_and_the_error_says_how_to_name_the_system():
    found = grid_like(mapped({**PLAIN, "earth_radius": 6371229.0}))
    with pytest.raises(GridError, match=r"6371229.*and WGS 84 \(EPSG:4326.*Raster\(..., crs="):
        found.offset_in(small_grid())


@pytest.mark.parametrize("said", ["crs: lat lon osgb: n e", "osgb: n e crs: lat lon"])
def test_of_several_grid_mappings_that_of_the_coordinates_counts(said):
    raster = mapped({"crs_wkt": small_grid().crs.to_wkt()}, ("lat", "lon"), said)
    raster = raster.assign_coords(osgb=((), 0, {"crs_wkt": CRS(27700).to_wkt()}))
    assert grid_like(raster) == small_grid()


def test_a_grid_mapping_that_stayed_behind_in_the_dataset_is_named():
    dataset = mapped({"crs_wkt": CRS(32632).to_wkt()}).to_dataset(name="v").reset_coords("crs")
    assert grid_like(dataset.set_coords("crs")["v"]).crs == CRS(32632)
    with pytest.raises(GridError, match=r"mapping 'crs' stayed behind in the Dataset: give the"):
        grid_like(dataset["v"])
    dataset = dataset.rename(y="lat", x="lon")
    with pytest.warns(ZonerasterWarning, match="lat and lon are taken for EPSG:4326, as its grid"):
        assert grid_like(dataset["v"]) == small_grid()


@pytest.mark.parametrize("key", ["wkt", "projjson", "url"])
def test_the_attribute_that_gdal_writes_names_the_system(key):
    said = {
        "wkt": CRS(3857).to_wkt(),
        "projjson": CRS(3857).to_json_dict(),
        "url": "http://www.opengis.net/def/crs/EPSG/0/3857",
    }
    raster = raster_of(MERCATOR, names=("Y", "X"))
    assert grid_like(raster.assign_attrs(_CRS={key: said[key]})).crs == CRS(3857)
    assert grid_like(raster.assign_attrs(crs=np.int64(3857))).crs == CRS(3857)


def test_rotation_that_moves_no_corner_is_none():
    turn = {"spatial:transform": [1, 6.1e-17, 0, -1e-9, -1, 0], "crs": "EPSG:32632"}
    raster = xr.DataArray(np.zeros((4, 5)), dims=("y", "x"), attrs=turn)
    assert grid_like(raster).transform == Affine(1, 0, 0, 0, -1, 0)
    with pytest.raises(GridError, match="rotated or sheared"):
        grid_like(raster.assign_attrs({"spatial:transform": [1, 3e-4, 0, 0, -1, 0]}))


def test_what_was_computed_keeps_its_grid_mapping_by_its_coordinate():
    raster = mapped({"crs_wkt": CRS(32632).to_wkt()}).rename(crs="of_it")
    del raster.attrs["grid_mapping"]
    assert grid_like(raster).crs == CRS(32632)
