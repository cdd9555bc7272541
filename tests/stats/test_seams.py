"""The globe has no seam: zones, stores and rasters of all longitudes give the same numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pytest
import shapely
from pyproj import Geod

import zoneraster as zr
from tests.stats.samples import raster

# Of the ellipsoid of WGS 84, in square metres: 2 pi a^2 + pi b^2 / e ln((1 + e) / (1 - e)).
_A, _F = 6378137.0, 1 / 298.257223563
_B, _E = _A * (1 - _F), math.sqrt(_F * (2 - _F))
GLOBE = 2 * math.pi * _A**2 + math.pi * _B**2 / _E * math.log((1 + _E) / (1 - _E))

LATITUDES = (-90, -61.3, -12.7, 25.2, 70.4, 90)
LONGITUDES = (-160.3, -95.1, -20.7, 33.3, 101.9, 155.5, 199.7)


def world(seed: int = 0) -> list[shapely.Polygon]:
    """Zones that tile the globe, with slanted sides; every sixth goes over 180."""
    shift = np.random.default_rng(seed).uniform(-9, 9, (len(LATITUDES), len(LONGITUDES)))
    shift[:, -1] = shift[:, 0]
    x, y = np.array(LONGITUDES) + shift, LATITUDES
    return [
        shapely.Polygon([(x[r, c], y[r]), (x[r, c + 1], y[r]), (x[r + 1, c + 1], y[r + 1]),
                         (x[r + 1, c], y[r + 1])])
        for r in range(len(LATITUDES) - 1) for c in range(len(LONGITUDES) - 1)
    ]  # fmt: skip


def torn(shape: Any) -> Any:
    return shapely.transform(shape, lambda xy: np.c_[(xy[:, 0] + 180) % 360 - 180, xy[:, 1]])


def split(shape: Any) -> Any:
    beyond = shape.intersection(shapely.box(180, -90, 540, 90))
    beyond = shapely.transform(beyond, lambda xy: xy - np.array([360.0, 0.0]))
    return shapely.MultiPolygon([shape.intersection(shapely.box(-180, -90, 180, 90)), beyond])


def gone_on(shape: Any) -> Any:
    return shape


def frame(form: Any) -> geopandas.GeoDataFrame:
    shapes = [form(one) if one.bounds[2] > 180 else one for one in world()]
    return geopandas.GeoDataFrame({"k": range(len(shapes))}, geometry=shapes, crs=4326)


@pytest.mark.filterwarnings("ignore:.*torn at the seam")
@pytest.mark.parametrize("form", [gone_on, split, torn])
@pytest.mark.parametrize(
    "bounds", [(-180, -90, 180, 90), (0, -90, 360, 90), (-170.5, -90, 189.5, 90)]
)
def test_a_world_of_zones_has_the_area_of_the_globe(
    tmp_path: Path, form: Any, bounds: tuple[float, ...]
) -> None:
    grid = zr.Grid.from_bounds(bounds, 0.5)
    report = zr.build(frame(form), tmp_path / "z", grid=grid, key="k", chunks=100)
    assert report.owned == report.claimed == grid.height * grid.width
    assert (zr.open(tmp_path / "z").zone.values > 0).all()
    for pixels in ("centre", "fraction"):
        table = zr.zonal_stats(tmp_path / "z", None, stats="area", pixels=pixels)
        assert table["area_m2"].sum() == pytest.approx(GLOBE, rel=1e-9)
    # Fractions are of pixels, whose true area is a number for a row: so is what is expected.
    expected = [_area(shape, grid) for shape in world()]
    assert table["area_m2"].tolist() == pytest.approx(expected, rel=2e-4)


def _area(shape: Any, grid: zr.Grid) -> float:
    """Geodesic area of a polygon whose edges are straight in degrees."""
    line = shapely.segmentize(shape, 0.05)
    return abs(Geod(ellps="WGS84").geometry_area_perimeter(line)[0])


def values_on(grid: zr.Grid) -> npt.NDArray[np.int32]:
    """A number for each place."""
    x, y = np.meshgrid(grid.x_centres() % 360, grid.y_centres())
    return (x * 7 + (y + 90) * 1000).astype(np.int32)


STATS = ("count", "sum", "min", "max", "median", "majority", "variety")


@pytest.mark.filterwarnings("ignore:.*with contested pixels")
@pytest.mark.parametrize("pixels", ["centre", "touched", "fraction"])
def test_0_to_360_is_180_to_180_but_for_the_columns(tmp_path: Path, pixels: Any) -> None:
    grids = {
        "a": zr.Grid.from_bounds((-180, -90, 180, 90), 1),
        "b": zr.Grid.from_bounds((0, -90, 360, 90), 1),
        "c": zr.Grid.from_bounds((-170, -90, 190, 90), 1),
    }
    shapes = [*world(), shapely.box(-10.2, -5, 9.7, 5), shapely.Point(180, 60).buffer(25)]
    zones = geopandas.GeoDataFrame({"k": range(len(shapes))}, geometry=shapes, crs=4326)
    tables, arrays = [], []
    for name, grid in grids.items():
        zr.build(zones, tmp_path / name, grid=grid, key="k", chunks=50)
        array = zr.open(tmp_path / name).zone.values
        arrays.append(np.roll(array, round(grid.bounds[0]) + 180, axis=1))
        for other in grids.values():
            given = raster(values_on(other), other)
            table = zr.zonal_stats(tmp_path / name, given, stats=STATS, pixels=pixels)
            audit = table.attrs["audit"]
            assert audit["measures"]["value"]["outside"] == 0
            assert ("longitudes" in audit["assumed"]["value"]) == (other is not grid)
            tables.append(table)
    assert all(np.array_equal(arrays[0], other) for other in arrays)
    for table in tables:
        exact = ["min", "max", "majority", "variety"]
        assert table[exact].equals(tables[0][exact])
        if pixels != "fraction":
            assert table.equals(tables[0])
        np.testing.assert_allclose(table, tables[0], rtol=1e-12)


@pytest.mark.parametrize("west", [-180, 0])
def test_a_store_of_a_part_over_180_reads_rasters_of_all_longitudes(
    tmp_path: Path, west: int
) -> None:
    grid = zr.Grid.from_bounds((160, -20, 200, 20), 1)
    zone = shapely.MultiPolygon([shapely.box(170, -9, 180, 7), shapely.box(-180, -9, -165, 7)])
    zones = geopandas.GeoDataFrame({"k": [1]}, geometry=[zone], crs=4326)
    assert zr.build(zones, tmp_path / "z", grid=grid, key="k").warnings == ()
    whole = zr.Grid.from_bounds((west, -90, west + 360, 90), 1)
    x, y = np.meshgrid(whole.x_centres() % 360, whole.y_centres())
    inside = (x > 170) & (x < 195) & (y > -9) & (y < 7)
    table = zr.zonal_stats(tmp_path / "z", raster(values_on(whole), whole), stats=["count", "sum"])
    assert table.loc[1].tolist() == [25 * 16, values_on(whole)[inside].sum()]


@pytest.mark.filterwarnings("ignore:.*with contested pixels")
@pytest.mark.parametrize("west", [-180, 0])
def test_a_raster_of_all_longitudes_is_resampled_to_a_projected_store_over_180(
    tmp_path: Path, west: int
) -> None:
    grid = zr.Grid.from_bounds((-3_000_000, 0, 1_000_000, 2_400_000), 40_000, "EPSG:3338")
    shapes = [shapely.box(170, 50, 190, 60), shapely.box(-175, 50, -150, 60)]
    zones = geopandas.GeoDataFrame({"k": [1, 2]}, geometry=shapes, crs=4326)
    zr.build(zones, tmp_path / "z", grid=grid, key="k")
    globe = zr.Grid.from_bounds((west, -90, west + 360, 90), 0.5)
    x, _ = np.meshgrid(globe.x_centres() % 360, globe.y_centres())
    table = zr.zonal_stats(
        tmp_path / "z", raster(x, globe), stats=["nodata", "min", "max"], resample="nearest"
    )
    assert table["nodata"].tolist() == [0, 0]
    for column, edges in (("min", (170, 185)), ("max", (190, 210))):
        assert table[column].tolist() == pytest.approx(edges, abs=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bounds", "step", "crs", "tolerance"),
    [
        ((-180, 48, 180, 58), "1/100", "EPSG:4269", 1e-4),
        ((0, 48, 360, 58), "1/100", "EPSG:4269", 1e-4),
        ((170, 48, 200, 58), "1/100", "EPSG:4269", 1e-4),
        ((-2_400_000, 200_000, -400_000, 1_400_000), 500, "EPSG:3338", 1e-4),
    ],
)
def test_the_aleutians_are_whole(
    tmp_path: Path, data_dir: Path, bounds: tuple[int, ...], step: Any, crs: str, tolerance: float
) -> None:
    path = data_dir / "us_counties_2023.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    counties = geopandas.read_parquet(path)
    # Aleutians West, the only one on both sides of 180.
    west = counties[counties.bounds["maxx"] - counties.bounds["minx"] > 100]
    assert len(west) == 1
    expected = abs(Geod(ellps="GRS80").geometry_area_perimeter(west.geometry.iloc[0])[0])
    grid = zr.Grid.from_bounds(bounds, step, crs)
    report = zr.build(west, tmp_path / "z", grid=grid, key="zone_id")
    assert report.warnings == ()
    for pixels, off in (("centre", 30 * tolerance), ("fraction", tolerance)):
        table = zr.zonal_stats(tmp_path / "z", None, stats="area", pixels=pixels, area="km2")
        assert table["area_km2"].iloc[0] == pytest.approx(expected / 1e6, rel=off)
