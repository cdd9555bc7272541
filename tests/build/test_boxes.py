"""Where zones lie, before anything is burned."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

import zoneraster as zr
from tests.oracles import rings_of
from zoneraster._build.boxes import SIDES, columns_twice, sides_beyond, zones_outside
from zoneraster._grid import Grid
from zoneraster._zones import Rings

GLOBE = Grid.from_bounds((-180, -90, 180, 90), 0.5)


def boxes_of(*shapes: shapely.Geometry, grid: Grid = GLOBE) -> tuple[np.ndarray, np.ndarray]:
    rings = rings_of(np.array(shapes, dtype=object), grid)
    return rings.boxes, rings.part_zone


def test_boxes_hold_all_rings_of_a_part() -> None:
    two = shapely.MultiPolygon([shapely.box(0, 0, 1, 2), shapely.box(5, 5, 6, 6)])
    boxes, part_zone = boxes_of(shapely.Point(0, 0).buffer(3), two)
    assert part_zone.tolist() == [0, 1, 1]
    assert boxes.tolist()[1:] == [[360, 176, 362, 180], [370, 168, 372, 170]]
    empty, none = np.empty(0), np.zeros(1, np.int64)
    assert Rings(empty, empty, none, none, none[:0]).boxes.shape == (0, 4)


def test_a_zone_is_outside_when_none_of_its_parts_meets_the_grid() -> None:
    grid = Grid.from_bounds((0, 0, 10, 10), 1, 3857)
    parts = shapely.MultiPolygon([shapely.box(-9, 0, -8, 1), shapely.box(1, 1, 2, 2)])
    shapes = [
        shapely.box(9.5, 9.5, 12, 12), parts, shapely.box(10, 0, 11, 1), shapely.box(-1, 0, 0, 1),
        shapely.box(0, -1, 1, 0), shapely.box(0, 10, 1, 11),
    ]  # fmt: skip
    boxes, part_zone = boxes_of(*shapes, grid=grid)
    assert zones_outside(boxes, part_zone, grid, len(shapes)).tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("box", "sides"),
    [
        ((1, 1, 9, 9), []),
        ((0, 0, 10, 10), []),
        ((-0.5, -0.5, 10.5, 10.5), []),  # no centre beyond
        ((-0.6, 1, 9, 9), ["west"]),
        ((1, 1, 10.6, 11), ["north", "east"]),
        ((1, -3, 2, 2), ["south"]),
        ((-3, -3, 13, 13), ["west", "north", "east", "south"]),
    ],
)
def test_sides_are_those_where_a_centre_may_lie_beyond(
    box: tuple[float, ...], sides: list[str]
) -> None:
    grid = Grid.from_bounds((0, 0, 10, 10), 1, 3857)
    found = sides_beyond(*boxes_of(shapely.box(4, 4, 5, 5), shapely.box(*box), grid=grid), grid, 2)
    assert not found[0].any()
    assert list(itertools.compress(SIDES, found[1])) == sides


def test_the_globe_has_no_west_and_no_east() -> None:
    found = sides_beyond(*boxes_of(shapely.box(170, -90, 190, 90)), GLOBE, 1)
    assert not found.any()


@pytest.mark.parametrize(
    ("shape", "crs", "grid", "reason"),
    [
        (shapely.box(50, 5, 51, 6), 4326, ((5, 50, 6, 51), 0.1), "x and y of the zones seem to be"),
        (shapely.box(5, 50, 6, 51), 3857, ((500_000, 6_000_000, 600_000, 6_100_000), 100, 3857),
         "the zones seem to be in degrees: do they declare"),
        (shapely.box(5, 50, 6, 51), 4326, ((900_000, 6_000_000, 990_000, 6_100_000), 100, 3857),
         "are these the zones of another place"),
        (shapely.box(5, 50, 6, 51), 4326, ((70, 10, 80, 20), 1), "are these the zones of another"),
    ],
)  # fmt: skip
def test_zones_none_of_which_meets_the_grid_are_refused_with_both_boxes_and_a_reason(
    shape: shapely.Polygon, crs: int, grid: tuple[Any, ...], reason: str, tmp_path: Path
) -> None:
    zones = geopandas.GeoDataFrame({"k": ["a"]}, geometry=[shape], crs=crs)
    start = r"^no zone meets the grid: the zones lie in .*: "
    with pytest.raises(zr.ZonesError, match=start + re.escape(reason)) as caught:
        zr.build(zones, tmp_path / "a", grid=Grid.from_bounds(*grid), key="k")
    said = str(caught.value)
    box, bounds = (", ".join(f"{x:.10g}" for x in one) for one in (shape.bounds, grid[0]))
    assert f"the grid in ({bounds}), west, south, east and north of EPSG:" in said
    if crs == (grid[2] if len(grid) > 2 else 4326):
        assert f"the zones lie in ({box})" in said
    assert not (tmp_path / "a/.zoneraster/spec.json").exists()


def test_zones_partly_outside_are_named_with_their_sides(tmp_path: Path) -> None:
    shapes = [
        shapely.box(1, 1, 2, 2), shapely.box(-1, 1, 2, 2), shapely.box(20, 0, 21, 1),
        shapely.box(5, 9, 11, 12),
    ]  # fmt: skip
    zones = geopandas.GeoDataFrame({"k": list("abcd")}, geometry=shapes, crs=4326)
    said = "2 zones partly outside the grid, of which only what is inside counts: b (west), "
    said += "d (north, east)"
    grid = Grid.from_bounds((0, 0, 10, 10), 1)
    with pytest.warns(zr.ZonerasterWarning, match=re.escape(said)):
        summary = zr.plan(zones, tmp_path / "a", grid=grid, key="k")
    assert summary.partly == (("b", "west"), ("d", "north, east"))
    with pytest.warns(zr.ZonerasterWarning, match=re.escape(said)):
        report = zr.build(zones, tmp_path / "a", grid=grid, key="k")
    assert said in report.warnings
    # The plan of a store says it again.
    assert zr.plan(zones, tmp_path / "a", grid=grid, key="k").partly == summary.partly
    # And so does the audit of its statistics.
    audit = zr.zonal_stats(tmp_path / "a", stats="pixels").attrs["audit"]
    assert audit["zones_outside"] == 1
    assert audit["zones_partly_outside"] == [["b", "west"], ["d", "north, east"]]


@pytest.mark.parametrize(("first", "last", "n"), [(0, 361, 1), (-180, 200, 20), (0, 360, 0)])
def test_columns_that_come_twice_are_told_of(
    first: int, last: int, n: int, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    zones = geopandas.GeoDataFrame({"k": ["a"]}, geometry=[shapely.box(5, 1, 9, 2)], crs=4326)
    grid = Grid.from_bounds((first, 0, last, 10), 1)
    summary = zr.plan(zones, tmp_path / "a", grid=grid, key="k")
    said = [text for text in summary.notes if "counts twice" in text]
    assert len(said) == len([w for w in recwarn if "counts twice" in str(w.message)]) == (n > 0)
    if n:
        assert f"on for {n} column" in said[0]
        assert "one of its first 360 columns" in said[0]
    metres = Grid.from_bounds((0, 0, 4000, 10), 1, 3857)
    assert columns_twice(metres) == ()
