"""Rows and columns: which dimensions, which units, edges or centres, rounded by how much."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from zoneraster._grid.grid import Grid
from zoneraster._values.open import grid_like, open_raster
from zoneraster._values.raster import Raster
from zoneraster.errors import GridError, ValuesError, ZonerasterWarning

GRID = Grid.from_bounds((20, 44, 32, 52), 1)
VALUES = np.arange(96.0).reshape(8, 12)
EASE = Grid.from_bounds((-100_000, -100_000, 100_000, 75_000), 25_000, "EPSG:6931")


def array(
    grid: Grid = GRID, dims: tuple[str, str] = ("lat", "lon"), *, y: Any = None, x: Any = None
) -> xr.DataArray:
    """Values on a grid; `y` and `x` are (numbers, attributes) in place of the centres."""
    given = [
        (name, *((centres, {}) if said is None else said))
        for name, centres, said in zip(
            dims, (grid.y_centres(), grid.x_centres()), (y, x), strict=True
        )
    ]
    coords = {name: (name, numbers, said) for name, numbers, said in given}
    values = np.arange(float(grid.height * grid.width)).reshape(grid.shape)
    return xr.DataArray(values, coords, dims, name="v")


# ---- dimensions --------------------------------------------------------------------------------

NORTH = {"units": "degrees_north"}
EAST = {"units": "degrees_east"}


@pytest.mark.parametrize(
    ("dims", "y", "x"),
    [
        (("Y", "X"), NORTH, EAST),
        (("LAT", "LON"), {}, {}),
        (("Latitude", "Longitude"), {}, {}),
        (("nlat", "nlon"), NORTH, EAST),
        (("a", "b"), {"standard_name": "latitude"}, {"standard_name": "longitude"}),
        (("a", "b"), {"axis": "Y", **NORTH}, {"axis": "X", **EAST}),
        (("a", "b"), {"units": "degree_N"}, {"units": "degree_E"}),
        (("x", "y"), NORTH, EAST),  # what they say goes before what they are called
    ],
)
def test_rows_and_columns_of_degrees_are_told_by_attributes_or_names(dims, y, x) -> None:
    raster = array(dims=dims, y=(GRID.y_centres(), y), x=(GRID.x_centres(), x))
    assert grid_like(raster) == GRID
    assert open_raster(raster.transpose()).grid == GRID


@pytest.mark.parametrize(
    ("dims", "y", "x"),
    [
        (("northing", "easting"), {}, {}),
        (("YC", "XC"), {}, {}),
        (("YDim", "XDim"), {}, {}),
        (
            ("a", "b"),
            {"standard_name": "projection_y_coordinate"},
            {"standard_name": "projection_x_coordinate"},
        ),
        (("a", "x"), {"axis": "Y"}, {"axis": "X"}),
    ],
)
def test_rows_and_columns_of_metres_are_told_by_attributes_or_names(dims, y, x) -> None:
    raster = array(EASE, dims, y=(EASE.y_centres(), y), x=(EASE.x_centres(), x))
    assert grid_like(raster.assign_attrs(crs="EPSG:6931")) == EASE
    with pytest.raises(GridError, match="no CRS"):
        grid_like(raster)


def test_dimensions_that_nothing_tells_can_be_named(tmp_path: Path) -> None:
    raster = array(dims=("a", "b")).assign_attrs(crs="EPSG:4326")
    with pytest.raises(ValuesError, match=r"Raster\(..., dims=\('y', 'x'\)\)"):
        open_raster(raster)
    assert open_raster(Raster(raster, dims=("a", "b"))).grid == GRID
    with pytest.raises(ValuesError, match=r"dims=\('a', 'c'\) are not two of .*'a', 'b'"):
        open_raster(Raster(raster, dims=("a", "c")))
    for dims in (("a",), ("a", "a"), "ab"):
        with pytest.raises(ValuesError, match="are not two of the dimensions"):
            open_raster(Raster(raster, dims=dims))  # type: ignore[arg-type]
    raster.to_dataset().to_zarr(tmp_path / "a.zarr", consolidated=False)
    assert open_raster(Raster(tmp_path / "a.zarr", dims=("a", "b"))).grid == GRID


def test_a_row_of_numbers_of_another_name_is_the_coordinate_of_a_dimension() -> None:
    raster = array(dims=("j", "i")).drop_vars(["j", "i"])
    raster = raster.assign_coords(
        lat=("j", GRID.y_centres(), NORTH), lon=("i", GRID.x_centres(), EAST)
    )
    assert grid_like(raster) == GRID


def test_places_in_two_dimensions_are_said_to_need_warping() -> None:
    lon, lat = np.meshgrid(GRID.x_centres(), GRID.y_centres())
    swath = xr.DataArray(VALUES, dims=("y", "x"), attrs={"crs": "EPSG:4326"})
    swath = swath.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))
    with pytest.raises(GridError, match=r"places are two-dimensional \(lat, lon\).*: warp it"):
        grid_like(swath)


# ---- packed, other units, edges ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(("scale", "offset"), [(0.01, 0.0), (0.1, 0.05)])
def test_packed_coordinates_are_unpacked_wherever_they_come_from(
    tmp_path: Path, zarr_format: Any, scale: float, offset: float
) -> None:
    grid = Grid.from_bounds((0, 0, 4, 3), "1/10")
    said = {"scale_factor": scale, "add_offset": offset}
    packed = [
        np.round((centres - offset) / scale).astype("i2")
        for centres in (grid.y_centres(), grid.x_centres())
    ]
    raster = array(grid, y=(packed[0], said), x=(packed[1], said))
    path = tmp_path / "p.zarr"
    raster.to_dataset().to_zarr(path, zarr_format=zarr_format, consolidated=False)
    opened = xr.open_zarr(path, consolidated=False)
    raw = xr.open_zarr(path, consolidated=False, mask_and_scale=False)
    for source in (path, path / "v", opened, opened["v"], raw["v"], raster):
        assert open_raster(source).grid == grid
    computed = opened["v"].assign_coords({n: opened[n].variable for n in ("lat", "lon")}) + 0
    assert open_raster(computed).grid == grid


@pytest.mark.parametrize("scale", ["x", [], np.array([0.1])])
def test_a_scale_of_coordinates_is_one_number(scale: Any) -> None:
    numbers = np.round(GRID.x_centres() * 10).astype("i2")
    raster = array(x=(numbers, {"scale_factor": scale}))
    if isinstance(scale, np.ndarray):
        assert grid_like(raster) == GRID
    else:
        with pytest.raises(GridError, match=r"'lon' declares .*, no numbers: correct it"):
            grid_like(raster)


def test_scale_and_offset_that_computed_coordinates_kept_are_ignored_and_named() -> None:
    said = {"scale_factor": 0.01}
    raster = array(y=(GRID.y_centres(), said), x=(GRID.x_centres(), said))
    with pytest.warns(ZonerasterWarning, match="'lat' holds float64 and declares.*: ignored"):
        assert grid_like(raster) == GRID


@pytest.mark.parametrize(
    ("units", "metres"),
    [("km", 1000), ("kilometers", 1000), ("1000 meter", 1000), ("1e3 m", 1000), ("m", 1),
     ("US_survey_foot", 1200 / 3937), ("foot", 0.3048)],
)  # fmt: skip
def test_coordinates_are_brought_to_the_units_of_the_reference_system(units, metres) -> None:
    y, x = EASE.y_centres() / metres, EASE.x_centres() / metres
    raster = array(EASE, ("y", "x"), y=(y, {"units": units}), x=(x, {"units": units}))
    found = grid_like(raster.assign_attrs(crs="EPSG:6931"))
    assert found.bounds == pytest.approx(EASE.bounds, rel=1e-12)
    if metres in {1, 1000}:
        assert found == EASE
    exact = raster.assign_coords(
        spatial_ref=((), 0, {"crs_wkt": EASE.crs.to_wkt(), "GeoTransform": _gdal(EASE)})
    )
    assert grid_like(exact) == EASE


def _gdal(grid: Grid) -> str:
    return " ".join(map(repr, grid.transform.to_gdal()))


def test_a_reference_system_in_feet_has_coordinates_in_metres() -> None:
    grid = Grid.from_bounds((900_000, 100_000, 960_000, 150_000), 5000, "EPSG:2263")
    foot = 1200 / 3937
    y, x = grid.y_centres() * foot, grid.x_centres() * foot
    raster = array(grid, ("y", "x"), y=(y, {"units": "m"}), x=(x, {"units": "m"}))
    assert grid_like(raster.assign_attrs(crs="EPSG:2263")).bounds == pytest.approx(grid.bounds)


def test_a_geostationary_view_in_radians_is_in_metres_times_its_height() -> None:
    crs = CRS("+proj=geos +h=35786023 +lon_0=-75 +sweep=x +ellps=GRS80")
    grid = Grid.from_bounds((-30_000, 0, 30_000, 40_000), 2000, crs)
    y, x = grid.y_centres() / 35786023, grid.x_centres() / 35786023
    raster = array(grid, ("y", "x"), y=(y, {"units": "rad"}), x=(x, {"units": "rad"}))
    found = grid_like(raster.assign_attrs(crs=crs.to_wkt()))
    assert found.bounds == pytest.approx(grid.bounds, abs=1e-6)
    micro = array(grid, ("y", "x"), y=(y * 1e6, {"units": "microradian"}),
                  x=(x * 1e6, {"units": "microradian"}))  # fmt: skip
    assert grid_like(micro.assign_attrs(crs=crs.to_wkt())).bounds == pytest.approx(
        grid.bounds, abs=1e-6
    )


@pytest.mark.parametrize(
    ("units", "crs"), [("degrees", "EPSG:6931"), ("km", "EPSG:4326"), ("rad", "EPSG:32632")]
)
def test_units_of_another_kind_than_those_of_the_reference_system_are_refused(units, crs) -> None:
    said = (GRID.y_centres(), {"units": units})
    raster = array(dims=("y", "x"), y=said).assign_attrs(crs=crs)
    with pytest.raises(GridError, match=rf"'y' is in {units}, and the CRS in \w+: correct"):
        grid_like(raster)


def test_units_that_nobody_knows_are_said_to_be_taken_for_those_of_the_reference_system() -> None:
    raster = array(y=(GRID.y_centres(), {"units": "pixels"}))
    with pytest.warns(ZonerasterWarning, match="units 'pixels', which say nothing here"):
        assert grid_like(raster) == GRID


def with_bounds(shift: float, *, half: float = 0.5) -> xr.Dataset:
    """Coordinates `shift` pixels north and west of the centres, and bounds of the pixels."""
    y, x = GRID.y_centres(), GRID.x_centres()
    coords = {
        "lat": ("lat", y + shift, {"bounds": "lat_bnds"}),
        "lon": ("lon", x - shift, {"bounds": "lon_bnds"}),
        "lat_bnds": (("lat", "nv"), np.stack([y + half, y - half], 1)),
        "lon_bnds": (("lon", "nv"), np.stack([x - half, x + half], 1)),
    }
    return xr.Dataset({"v": (("lat", "lon"), VALUES)}, coords)


def test_bounds_tell_centres_from_edges() -> None:
    assert grid_like(with_bounds(0)) == GRID
    with pytest.warns(ZonerasterWarning, match="has the (lower|upper) edges of its bounds"):
        assert grid_like(with_bounds(0.5)) == GRID
    with pytest.warns(ZonerasterWarning, match="has the (lower|upper) edges of its bounds"):
        assert open_raster(with_bounds(-0.5).reset_coords()).grid == GRID
    with pytest.raises(GridError, match="neither at the centres nor at the edges of its bounds"):
        grid_like(with_bounds(0.2))


def test_bounds_that_stayed_behind_are_asked_for_where_coordinates_look_like_edges() -> None:
    with pytest.raises(GridError, match="bounds, which tell, stayed behind in the Dataset"):
        grid_like(with_bounds(0.5)["v"])
    assert grid_like(with_bounds(0)["v"]) == GRID


def test_outer_cells_may_be_cut_at_the_poles_and_one_cell_has_the_width_of_its_bounds() -> None:
    y = np.arange(90, -91, -30.0)
    bounds = np.clip(np.stack([y + 15, y - 15], 1), -90, 90)
    coords = {
        "lat": ("lat", y, {"bounds": "b"}),
        "lon": np.arange(0.0, 360, 30),
        "b": (("lat", "n"), bounds),
    }
    given = xr.Dataset({"v": (("lat", "lon"), np.zeros((7, 12)))}, coords)
    assert grid_like(given).bounds == (-15, -105, 345, 105)
    assert grid_like(with_bounds(0).isel(lat=[2])).bounds == (20, 49, 32, 50)


# ---- rounded -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("bounds", "step"),
    [
        ((20, -10, 28, -6), 0.05),  # CHIRPS
        ((-180, -90, 180, 90), 0.1),  # IMERG
        ((-20, -10, 20, 10), "1/12"),
        ((-180, -60, 180, 60), 0.25),
        ((100, 0, 100.75, 0.375), "3/64"),
        ((0, 0, 0.1, 0.2), 0.05),  # two columns
    ],
)
def test_float32_coordinates_are_the_lattice_that_they_were_rounded_from(
    bounds, step, wide
) -> None:
    grid = Grid.from_bounds(bounds, step)
    raster = array(
        grid, y=(grid.y_centres().astype("f4"), {}), x=(grid.x_centres().astype("f4"), {})
    )
    if wide:
        raster = raster.assign_coords({n: raster[n].astype("f8") for n in ("lat", "lon")})
    assert grid_like(raster) == grid


@given(
    step=st.sampled_from(["1/12", "1/120", "1/240", "1/7", "0.05", "0.0089", "30", "1/3", "2.5"]),
    decimals=st.integers(4, 9),
    first=st.integers(-2000, 2000),
    size=st.integers(4, 400),
)
def test_decimals_that_were_cut_are_the_lattice_or_are_refused(step, decimals, first, size) -> None:
    exact = Fraction(step)
    crs = "EPSG:32632"
    grid = Grid(crs, (exact, 0, first * exact, 0, -exact, 0), (4, size))
    raster = array(grid, ("y", "x"), x=(grid.x_centres().round(decimals), {}))
    error = float(np.abs(raster.x.values - grid.x_centres()).max() / exact)
    try:
        found = grid_like(raster.assign_attrs(crs=crs))
    except GridError:
        assert error > 2e-4
        return
    row, col, ratio = found.offset_in(grid) if found.resolution[0] == exact else (0, 0, 0)
    # Whatever was found, no centre is off by more than rounding and 1/1000 pixel.
    assert np.abs(found.x_centres() - raster.x.values).max() <= 1.001e-3 * exact
    if error > 1e-9 and size > 50:
        assert (row, col, ratio) == (0, 0, 1)


@pytest.mark.parametrize(
    "bend", [lambda x: x + 0.01 * np.sin(x), lambda x: x + 0.002 * (np.arange(x.size) % 2)]
)
def test_coordinates_that_rounding_does_not_explain_are_refused(bend) -> None:
    with pytest.raises(GridError, match=r"x coordinates are uneven by .*: give exact centres"):
        grid_like(array(x=(bend(GRID.x_centres()), {})))


def test_three_decimals_of_a_fine_grid_are_too_few() -> None:
    grid = Grid.from_bounds((0, 0, 1, 1), "1/120")
    with pytest.raises(GridError, match="at most 1/1000 pixel"):
        grid_like(array(grid, x=(grid.x_centres().round(3), {})))
