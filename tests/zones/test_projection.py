"""The one operation of PROJ between zones and grid."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import shapely
from pyproj import CRS, Transformer

from zoneraster._grid import Grid
from zoneraster._zones.projection import Projection
from zoneraster._zones.read import read_zones

ITALY = Grid.from_bounds((1_500_000, 4_900_000, 1_530_000, 4_930_000), 30, "EPSG:3003")


def test_one_operation_holds_for_all_places() -> None:
    # PROJ alone has others in Sicily and beyond: coordinates jump by many metres.
    x, y = np.full(2_001, 13.5), np.linspace(37.5, 38.5, 2_001)
    alone = np.diff(Transformer.from_crs(4326, 3003, always_xy=True).transform(x, y)[1])
    ours = np.diff(Projection.between(CRS(4326), ITALY).project(np.stack([x, y], axis=1))[:, 1])
    assert np.ptp(alone) > 10
    assert np.ptp(ours) < 0.01


def test_it_is_the_one_of_the_grids_area_and_named_with_its_accuracy() -> None:
    projection = Projection.between(CRS(4326), ITALY)
    assert projection.operation == (
        "EPSG:4326 to EPSG:3003: Inverse of Monte Mario to WGS 84 (4) + Italy zone 1, accuracy 4 m"
    )
    assert projection.doubts == ()
    sardinia = Grid.from_bounds((1_470_000, 4_400_000, 1_500_000, 4_430_000), 30, "EPSG:3003")
    assert "Monte Mario to WGS 84 (2)" in Projection.between(CRS(4326), sardinia).operation


def test_a_projection_alone_is_exact() -> None:
    grid = Grid.from_bounds((0, 0, 30_000, 30_000), 30, "EPSG:3857")
    said = Projection.between(CRS(4326), grid).operation
    assert said == "EPSG:4326 to EPSG:3857: Popular Visualisation Pseudo-Mercator, accuracy 0 m"


def test_a_guess_is_doubted() -> None:
    unknown = CRS("+proj=longlat +ellps=clrk66 +type=crs")
    (doubt,) = Projection.between(unknown, Grid.from_bounds((0, 0, 1, 1), 0.1)).doubts
    assert doubt.startswith("zones were reprojected by a ballpark operation (Ballpark geographic")


def test_a_missing_file_of_a_better_operation_is_named() -> None:
    london = Grid.from_bounds((500_000, 200_000, 510_000, 210_000), 10, "EPSG:27700")
    doubts = Projection.between(CRS(4326), london).doubts
    if not doubts:
        pytest.skip("PROJ has the file here")
    assert "uk_os_OSTN15_NTv2_OSGBtoETRS.tif: get it with projsync" in doubts[0]
    assert "OSGB36 to WGS 84 (9)" in doubts[0]


def test_reports_tell_the_operation_and_its_doubts() -> None:
    zones = geopandas.GeoDataFrame(
        {"k": [1]}, geometry=[shapely.box(9.05, 44.28, 9.2, 44.4)], crs=4326
    )
    found = read_zones(zones, ITALY, key="k")
    said, measured = found.operation.split("; ")
    assert said == Projection.between(CRS(4326), ITALY).operation
    assert measured == "edges measured 0.023 pixel off their curves at most"
    same = Grid.from_bounds((9, 44, 10, 45), 0.01)
    assert read_zones(zones, same, key="k").operation == ""


@pytest.mark.parametrize(
    ("bounds", "step", "crs"),
    [
        ((-180, -90, 180, 90), 1, "EPSG:4326"),
        ((0, -90, 360, 90), 1, "EPSG:4326"),
        ((170, -20, 190, 0), 1, "EPSG:4326"),
        ((-4_000_000, -4_000_000, 4_000_000, 4_000_000), 25_000, "EPSG:3413"),
        ((-20_000_000, -9_000_000, 20_000_000, 9_000_000), 50_000, "+proj=igh +datum=WGS84"),
        ((-10_000_000, -10_000_000, 10_000_000, 10_000_000), 50_000, "EPSG:27700"),
    ],
)
def test_a_grid_may_lie_anywhere(bounds: tuple[float, ...], step: int, crs: str) -> None:
    projection = Projection.between(CRS(4267), Grid.from_bounds(bounds, step, crs))
    assert projection.operation
