"""Zones over the seam of the globe: split, gone on, or torn, they are the same pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from tests.oracles import burned
from tests.zones.samples import frame, says, shapes
from zoneraster._grid import Grid
from zoneraster._zones.read import read_zones, zone_rings

Floats = npt.NDArray[np.float64]

BOUNDS = {
    "-180..180": (-180, -90, 180, 90),
    "0..360": (0, -90, 360, 90),
    "-170..190": (-170, -90, 190, 90),
    "over 180": (150, -40, 210, 40),
    "over -180": (-210, -40, -150, 40),
    "west of 180": (150, -40, 180, 40),
    "east of -180": (-180, -40, -150, 40),
    "in 0..360": (180, -40, 210, 40),
    "most of it": (-179, -40, 179, 40),
}


def canvas(shape: Any, grid: Grid) -> npt.NDArray[np.bool_]:
    """Pixels of a zone that reads without a word but for where it was torn."""
    rings = zone_rings(read_zones(frame([shape]), grid), grid)
    return burned(rings, grid.shape, (50, 64))[0] > 0


def wrapped(shape: Any) -> Any:
    """Every longitude by itself brought to -180..180, as many programs do it."""
    return shapely.transform(shape, lambda xy: np.c_[(xy[:, 0] + 180) % 360 - 180, xy[:, 1]])


def split(shape: Any) -> Any:
    """The same cut at 180."""
    west = shape.intersection(shapely.box(-180, -90, 180, 90))
    east = shape.intersection(shapely.box(180, -90, 540, 90))
    parts = [*shapely.get_parts(west), *shapely.get_parts(shifted(east, -360))]
    return shapely.MultiPolygon([one for one in parts if one.geom_type == "Polygon"])


def shifted(shape: Any, by: float) -> Any:
    return shapely.transform(shape, lambda xy: xy + np.array([by, 0.0]))


FORMS: dict[str, Callable[[Any], Any]] = {
    "split": split,
    "west": lambda shape: shifted(shape, -360),
    "torn": wrapped,
    "torn, from another vertex": lambda shape: wrapped(shapely.normalize(shape)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", BOUNDS)
@pytest.mark.parametrize("step", [1, "7/10"])
def test_a_zone_over_180_is_the_same_pixels_however_it_is_stored(
    form: str, where: str, step: int | str
) -> None:
    """The oracle is the polygon beyond 180 and the longitudes of the pixels counted on from 150."""
    west, south, east, north = BOUNDS[where]
    size = 0.7 if isinstance(step, str) else 1.0
    cols, rows = int((east - west) / size), int((north - south) / size)
    grid = Grid("EPSG:4326", (step, 0, west, 0, -size, north), (rows, cols))
    zone = shapely.Polygon(
        [(171.2, -30.1), (198.3, -20.2), (203.4, 25.5), (183, 37.7), (160.6, 11.3)],
        [[(178.1, -8.8), (188.2, -11.7), (184.4, 14.4)], [(190, 1), (195, 1), (195, 9)]],
    )
    x, y = np.meshgrid((grid.x_centres() - 150) % 360 + 150, grid.y_centres())
    expected = shapely.contains_xy(zone, x, y)
    assert expected.any()
    assert np.array_equal(canvas(zone, grid), expected)
    assert np.array_equal(canvas(FORMS[form](zone), grid), expected)


@given(st.integers(0, 2**32), st.floats(100, 260), st.sampled_from([180.0, 360.0]))
def test_any_torn_zone_is_the_one_that_goes_on(seed: int, middle: float, seam: float) -> None:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 12)))
    size = rng.uniform(1, 80) * rng.uniform(0.3, 1, angle.size)
    middle += seam - 180
    ring = np.c_[middle + size * np.cos(angle), size * np.sin(angle)]
    zone = shapely.Polygon(ring)
    torn = shapely.transform(zone, lambda xy: np.c_[(xy[:, 0] - seam) % 360 + seam - 360, xy[:, 1]])
    grid = Grid.from_bounds((-180, -90, 180, 90), 2)
    steps = np.abs(np.diff(shapely.get_coordinates(torn)[:, 0]))
    if np.abs(np.diff(shapely.get_coordinates(zone)[:, 0])).max() >= 90 or (steps == 180).any():
        return
    assert np.array_equal(canvas(torn, grid), canvas(zone, grid))


@pytest.mark.parametrize("pole", [1, -1])
@pytest.mark.parametrize("seam", [180, 360])
@pytest.mark.parametrize("seed", range(8))
def test_a_ring_around_a_pole_holds_all_up_to_it(pole: int, seam: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    around = np.sort(rng.uniform(seam - 360, seam, 12))
    lat = pole * rng.uniform(20, 80, 12)
    order = np.roll(np.arange(12), rng.integers(12))[:: rng.choice([-1, 1])]
    zone = shapely.Polygon(np.c_[around, lat][order])
    grid = Grid.from_bounds((-180, -90, 180, 90), 1.5)
    x = (grid.x_centres() - seam) % 360 + seam - 360
    border = np.interp(
        x, np.r_[around[-1] - 360, around, around[0] + 360], np.r_[lat[-1], lat, lat[0]]
    )
    expected = pole * grid.y_centres()[:, None] > pole * border
    found = read_zones(frame([zone]), grid)
    assert "1 zone with a ring around a pole and no edge along it" in found.notes[0]
    assert found.wide == found.invalid == ()
    assert np.array_equal(canvas(zone, grid), expected)


def test_what_is_put_together_is_said_and_stored_and_keeps_its_digits() -> None:
    grid = Grid.from_bounds((-180, -90, 180, 90), 1)
    zone = shapely.Polygon([(170.1, -1.3), (-170.7, -1.3), (-170.7, 7.7), (170.1, 7.7)])
    found = read_zones(frame([shapely.box(0, 0, 1, 1), zone], gid=[4, 9]), grid, key="gid")
    (said,) = found.notes
    assert said.startswith("1 zone torn at the seam of the globe, put together: ")
    assert said.endswith(": 9")
    assert found.wide == found.invalid == ()
    whole = shapes(found)[1]
    assert whole.bounds == (170.1, -1.3, -170.7 + 360, 7.7)
    assert shapely.get_coordinates(whole)[0].tolist() == [170.1, -1.3]
    assert shapes(found)[0] == shapely.box(0, 0, 1, 1)


def test_rows_that_are_left_out_change_nothing_of_what_is_said_of_others() -> None:
    grid = Grid.from_bounds((-180, -90, 180, 90), 1)
    around = shapely.Polygon([(x, 70 + abs(x) % 3) for x in range(-170, 180, 20)])
    far = shapely.Polygon([(0, 0), (700, 0), (0, 5)])
    wide = shapely.box(-100, 0, 85, 1)
    found = read_zones(frame([far, around, wide]), grid, on_invalid="skip")
    assert [one.row for one in found.skipped] == [0]
    assert found.wide == (2,)
    assert found.notes[0].endswith("led to the pole: 1")


def test_repair_looks_at_zones_in_one_piece() -> None:
    grid = Grid.from_bounds((-180, -90, 180, 90), 1)
    zone = shapely.Polygon(
        [(170, -30), (195, -30), (195, 20), (178, 20), (178, 5), (183, 5), (183, 0), (170, 0)]
    )
    torn = wrapped(zone)
    assert not torn.is_valid
    found = read_zones(frame([torn]), grid, on_invalid="repair")
    assert found.invalid == ()
    rings = zone_rings(found, grid)
    assert np.array_equal(burned(rings, grid.shape, (64, 64))[0] > 0, canvas(zone, grid))


@pytest.mark.parametrize(
    ("zone", "is_wide"),
    [
        (shapely.box(-180, -90, 180, 90), True),
        (shapely.box(-180, 60, 180, 90), True),
        (shapely.box(0, -10, 360, 10), True),
        (shapely.box(-100, 0, 85, 1), True),
        (shapely.Polygon([(-170, 0), (0, 5), (170, 0), (170, 9), (-170, 9.5)]), True),
        (shapely.Polygon([(-179, -90), (179, -90), (179, -70), (0, -60), (-179, -70)]), True),
        (shapely.box(-100, 0, 80, 1), False),
    ],
)  # fmt: skip
def test_wide_zones_that_are_not_torn_stay_as_they_are_drawn(zone: Any, is_wide: bool) -> None:
    grid = Grid.from_bounds((-180, -90, 180, 90), 1)
    found = read_zones(frame([zone]), grid)
    assert found.notes == ()
    assert found.wide == (0,) * is_wide
    assert shapes(found)[0] == zone


# ---- other reference systems ---------------------------------------------------------------------


def labels(
    grid: Grid, crs: str, holds: Callable[[Floats, Floats], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """What a pixel may be: by its centre, and by places a tenth of a pixel from it, (5, h, w)."""
    back = Transformer.from_crs(grid.crs, crs, always_xy=True)
    forth = Transformer.from_crs(crs, grid.crs, always_xy=True)
    step = np.array([float(one) for one in grid.resolution])
    out = []
    for by in ((0, 0), (0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)):
        east, north = np.meshgrid(
            grid.x_centres() + by[0] * step[0], grid.y_centres() + by[1] * step[1]
        )
        x, y = back.transform(east, north)
        # Beyond the border of a projection PROJ goes on, and does not come back.
        again = np.array(forth.transform(x, y)) - [east, north]
        again[~np.isfinite(again)] = 1e19
        again[0] -= 360 * np.round(again[0] / 360) * grid.is_geographic
        lost = ~(np.hypot(*again) < step[0] / 1000)
        out.append(holds(np.where(lost, 1e19, x), np.where(lost, 1e19, y)))
    return np.stack(out)


@pytest.mark.parametrize("bounds", [(-180, -90, 180, 90), (0, -90, 360, 90), (150, 40, 210, 90)])
@pytest.mark.parametrize(
    ("crs", "shape"),
    [
        ("EPSG:3413", shapely.Point(2e5, -3e5).buffer(2e6)),
        ("EPSG:3413", shapely.Point(-1.5e6, 2e6).buffer(1.3e6) - shapely.box(-2e6, 1e6, -1e6, 2e6)),
        ("EPSG:3413", shapely.box(-2e6, 1e6, -1e6, 2.5e6) - shapely.Point(-1.5e6, 2e6).buffer(2e5)),
        ("EPSG:3413", shapely.Point(0, 0).buffer(1.8e7)),  # its ring lies south of the equator
        ("EPSG:3031", shapely.Point(2e5, -3e5).buffer(2e6)),
        ("EPSG:3832", shapely.box(1e6, -2e6, 6e6, 9e6)),
        ("EPSG:3338", shapely.box(-3e6, 0, -1e6, 1e6)),
        ("EPSG:32660", shapely.box(4e5, 5e6, 1e6, 7e6)),
    ],
)
def test_zones_in_metres_are_whole_over_180_and_around_a_pole(
    crs: str, shape: Any, bounds: tuple[float, ...]
) -> None:
    grid = Grid.from_bounds(bounds, 1)
    rings = zone_rings(read_zones(frame([shape], crs), grid, on_invalid="error"), grid)
    may = labels(grid, crs, lambda x, y: shapely.contains_xy(shape, x, y))
    found = burned(rings, grid.shape, (50, 64))[0] > 0
    assert (found == may).any(axis=0).all()
    if crs != "EPSG:3031" or bounds[1] < 0:
        assert found.any()


@pytest.mark.parametrize(
    ("crs", "half"),
    [
        ("EPSG:3857", (20_100_000, 12_000_000)),
        ("EPSG:3832", (20_100_000, 12_000_000)),  # torn at 30 W
        ("EPSG:6933", (17_400_000, 7_400_000)),
        ("EPSG:8857", (17_400_000, 8_400_000)),  # the seam is a curve
        ("ESRI:54009", (18_200_000, 9_200_000)),
        ("EPSG:3338", (10_000_000, 10_000_000)),  # a cone, torn at 26 E
        ("EPSG:3413", (8_000_000, 8_000_000)),
    ],
)
def test_zones_in_degrees_are_whole_on_projected_grids_whatever_they_are_torn_at(
    crs: str, half: tuple[int, int]
) -> None:
    grid = Grid.from_bounds((-half[0], -half[1], *half), 200_000, crs)
    x, y = np.arange(-190, 170, 45), np.arange(-75, 75, 30)
    tiles = [shapely.box(a, b, a + 45, b + 30) for a in x for b in y]
    found = read_zones(frame(tiles), grid)
    assert found.skipped == ()

    def holds(lon: Floats, lat: Floats) -> npt.NDArray[np.int64]:
        col, row = ((lon + 190) % 360) // 45, (lat + 75) // 30
        inside = (np.abs(lat) < 75) & (lon < 1e18)
        return np.where(inside, col * len(y) + row + 1, 0).astype(np.int64)

    canvas, counts = burned(zone_rings(found, grid), grid.shape, (50, 64))
    assert (canvas == labels(grid, "EPSG:4326", holds)).any(axis=0).all()
    assert not any(contested for _, _, contested in counts.values())


@pytest.mark.parametrize(
    ("crs", "shape"),
    [
        *(("EPSG:3857", shapely.box(-share * 20037508.342789244, 0, share * 20037508, 5e6))
          for share in (1.0000001, 1.05, 1.25, 2.0, 3.1, 4.0, 8.0)),
        ("EPSG:3413", shapely.Point(0, 0).buffer(2e6) - shapely.Point(0, 0).buffer(5e5)),
        ("EPSG:3413", shapely.box(0, 0, 1e6, 1e6)),
    ],
)  # fmt: skip
def test_what_has_no_one_piece_around_the_globe_is_refused_by_row(crs: str, shape: Any) -> None:
    grid = Grid.from_bounds((-180, -90, 180, 90), 1)
    with says("cannot burn 1 of 1 rows: row 0 (key 0): ", "cut the polygon there"):
        read_zones(frame([shape], crs), grid)
