"""Maps: colours, names and scales against brute force, and the picture as its pixels are."""

from __future__ import annotations

import itertools
import math
import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import zoneraster as zr
from zoneraster import cli
from zoneraster.cartography import (
    CLASSES,
    borders,
    degrees,
    distinct_colours,
    name_places,
    rgb,
    round_length,
)

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("matplotlib.lines")

GRID = zr.Grid.from_bounds((0, 40, 12, 48), "1/10", "EPSG:4326")
LEFT, RIGHT, TOP = 78, 26, 46


def blocky(seed: int, shape: tuple[int, int] = (30, 40), n: int = 12) -> Any:
    """Zones as the nearest of some points, with holes of no zone."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 1, (n, 2)) * shape
    y, x = np.mgrid[: shape[0], : shape[1]]
    nearest = np.argmin((y[..., None] - places[:, 0]) ** 2 + (x[..., None] - places[:, 1]) ** 2, -1)
    ids = nearest.astype(np.uint32) * 3
    ids[rng.uniform(size=shape) < 0.02] = 0
    return ids


# ---- colours, names, scales ----------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_zones_that_touch_have_different_colours(seed: int) -> None:
    ids = blocky(seed)
    colours = distinct_colours(ids)
    assert colours.keys() == set(np.unique(ids).tolist()) - {0}
    rows, cols = ids.shape
    for row, col in itertools.product(range(rows), range(cols)):
        for r, c in ((row, col + 1), (row + 1, col)):
            if r < rows and c < cols and ids[r, c] != ids[row, col] and ids[r, c] and ids[row, col]:
                assert colours[ids[r, c]] != colours[ids[row, col]]


def test_more_zones_in_one_place_than_colours_still_differ() -> None:
    ids = np.zeros((40, 40), np.uint32)
    for i in range(12):  # every pair touches somewhere
        for j in range(i):
            ids[3 * i, 3 * j : 3 * j + 2] = i + 1, j + 1
    assert len(set(distinct_colours(ids).values())) == 12


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 5))
def test_names_lie_within_their_zones_wherever_they_fit(seed: int, width: int, height: int) -> None:
    ids = blocky(seed)
    zones = set(np.unique(ids).tolist()) - {0}
    found = name_places(ids, dict.fromkeys(zones, (width, height)))
    w, h = width + 4, height + 4  # two pixels free on each side
    for zone in zones:
        fits = [
            (row, col)
            for row in range(ids.shape[0] - h + 1)
            for col in range(ids.shape[1] - w + 1)
            if (ids[row : row + h, col : col + w] == zone).all()
        ]
        assert (zone in found) == bool(fits)
        if zone in found:
            x, y = found[zone]
            assert (int(y - h / 2), int(x - w / 2)) in fits


def test_lines_between_zones_are_left_out_where_there_is_little_else() -> None:
    ids = np.ones((20, 20), np.uint32)
    ids[:, 10:] = 2
    assert np.flatnonzero(borders(ids).any(0)).tolist() == [9]
    assert not borders(np.arange(400, dtype=np.uint32).reshape(20, 20)).any()


@given(st.floats(1e-3, 1e9))
def test_lengths_of_scales_are_round_and_as_long_as_they_may_be(longest: float) -> None:
    found = round_length(longest)
    assert 0.39 * longest <= found <= longest * (1 + 1e-6)
    assert f"{found:.0e}"[0] in "125"


def test_degrees_are_written_as_maps_write_them() -> None:
    said = [degrees(value, "EW") for value in (-120.0, 0.0, 7.5)]
    assert said == ["120° W", "0°", "7.5° E"]


# ---- the picture ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four fields of 3 degrees, the last of which is off by a gap."""
    boxes = [shapely.box(3 * k, 41, 3 * k + 3 - (k == 2), 47) for k in range(4)]
    columns = {"field": ["north", "b", "Two Words", "d"], "crop": ["oats", "rye", "oats", None]}
    fields = geopandas.GeoDataFrame(columns, geometry=boxes, crs=4326)
    path = tmp_path_factory.mktemp("maps") / "fields.zarr"
    zr.build(fields, path, grid=GRID, key="field", chunks=40)
    return path


def pixels(picture: Path) -> Any:
    from matplotlib.image import imread

    return (imread(picture)[..., :3] * 255).round().astype(int)


def at(image: Any, x: float, y: float, width: int = 600) -> list[int]:
    """The colour of a place of a map of all of the grid."""
    row = TOP + (48 - y) / 8 * (image.shape[0] - TOP - below(image, width))
    found: list[int] = image[round(row), LEFT + round(x / 12 * width)].tolist()
    return found


def below(image: Any, width: int) -> int:
    height = round(width * 8 / 12 / math.cos(math.radians(44)))
    return int(image.shape[0]) - TOP - height


def texts_of(figure: Any) -> list[Any]:
    """All texts that are drawn."""
    figure.canvas.draw()
    found = [*figure.texts]
    for axes in figure.axes:
        found += axes.texts
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            # Ticks beyond the map are kept, and not drawn.
            ticks = [one for one in axis.get_major_ticks() if low <= one.get_loc() <= high]
            found += [one.label1 for one in ticks]
    return [one for one in found if one.get_text() and one.get_visible()]


def check_nothing_overlaps(figure: Any) -> None:
    """All texts lie on the sheet, and none on another."""
    boxes = [(one.get_text(), one.get_window_extent()) for one in texts_of(figure)]
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        assert apart, f"{one!r} lies on {other!r}"


@pytest.mark.slow
def test_a_map_of_zones_has_title_names_scale_and_source(store: Path, tmp_path: Path) -> None:
    figure = zr.plot(store, picture=tmp_path / "f.png", width=600, source="by hand")
    check_nothing_overlaps(figure)
    said = {one.get_text() for one in texts_of(figure)}
    assert {"fields.zarr", "north", "b", "d", "by hand", "no zone"} <= said
    assert any("Words" in one for one in said)
    image = pixels(tmp_path / "f.png")
    assert image.shape[1] == LEFT + 600 + RIGHT
    seen = [tuple(at(image, x, 41.3)) for x in (1.5, 4.5, 7, 10.5)]
    assert all(one != other for one, other in itertools.pairwise(seen))
    assert at(image, 8.5, 44) == at(image, 1, 40.5) == rgb(("#F2F2F2",))[0].tolist()


@pytest.mark.slow
def test_the_scale_is_as_long_on_the_ground_as_it_says(store: Path) -> None:
    figure = zr.plot(store, width=600)
    (bar,) = (one for one in figure.get_children() if isinstance(one, matplotlib.lines.Line2D))
    share = np.ptp(bar.get_xdata()) * figure.bbox.width / 600
    # Of 12 degrees on a sphere, which differs by 0.3 % at most.
    km = share * 12 * math.pi / 180 * 6371 * math.cos(math.radians(44))
    text = next(one.get_text() for one in figure.texts if " km" in one.get_text())
    assert text.endswith(" km at 44° N")
    assert km == pytest.approx(float(text.split()[0]), rel=0.005)


@pytest.mark.slow
def test_numbers_are_coloured_by_a_scale_and_gaps_are_named(store: Path, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"mean": [0.0, 5.0, 10.0, np.nan], "n": [1, 2, 3, 4]},
        index=pd.Index(["north", "b", "Two Words", "d"], name="field"),
    )
    table.attrs["units"] = {"mean": "mm"}
    figure = zr.plot(store, table, "mean", picture=tmp_path / "f.png", width=600)
    check_nothing_overlaps(figure)
    said = {one.get_text() for one in texts_of(figure)}
    assert {"mean, mm", "no value", "no zone", "mean: fields.zarr"} <= said
    image = pixels(tmp_path / "f.png")
    for x, share in ((1.5, 0.0), (4.5, 0.5), (7, 1.0)):
        colour = np.array(matplotlib.colormaps["viridis"](share)[:3]) * 255
        assert np.abs(at(image, x, 44) - colour).max() <= 1
    assert at(image, 10.5, 44) == rgb(("#B8B8B8",))[0].tolist()


@pytest.mark.slow
def test_texts_are_coloured_by_classes(store: Path, tmp_path: Path) -> None:
    figure = zr.plot(store, column="crop", picture=tmp_path / "f.png", width=600, names="field")
    check_nothing_overlaps(figure)
    image = pixels(tmp_path / "f.png")
    oats, rye = rgb(CLASSES[:2]).tolist()  # oats are on more of the map
    seen = [at(image, x, 41.3) for x in (1.5, 4.5, 7, 10.5)]
    assert seen == [oats, rye, oats, rgb(("#B8B8B8",))[0].tolist()]
    assert {"oats", "rye", "no value"} <= {one.get_text() for one in figure.texts}


@pytest.mark.slow
@pytest.mark.parametrize("width", [150, 400, 1600])
def test_nothing_overlaps_whatever_the_size(store: Path, width: int) -> None:
    table = pd.DataFrame({"mean": [1e6, -2.5, 1e-3, 7]}, ["north", "b", "Two Words", "d"])
    said = "a source that has a good deal to say " * 4
    check_nothing_overlaps(zr.plot(store, table, width=width, title=said, source=said, names=True))
    check_nothing_overlaps(zr.plot(store, width=width))


@pytest.mark.slow
def test_a_map_in_metres_has_a_scale_in_metres(tmp_path: Path) -> None:
    grid = zr.Grid.from_bounds((2_600_000, 1_200_000, 2_600_520, 1_200_300), 1, "EPSG:2056")
    zones = geopandas.GeoDataFrame(
        geometry=[shapely.box(2_600_100, 1_200_100, 2_600_300, 1_200_200)], crs=2056
    )
    zr.build(zones, tmp_path / "s.zarr", grid=grid)
    figure = zr.plot(tmp_path / "s.zarr", width=520)
    check_nothing_overlaps(figure)
    assert "100 m" in {one.get_text() for one in figure.texts}
    (bar,) = (one for one in figure.get_children() if isinstance(one, matplotlib.lines.Line2D))
    assert np.ptp(bar.get_xdata()) * figure.bbox.width == pytest.approx(100, rel=1e-3)


@pytest.mark.slow
def test_the_command_line_draws_tables_that_it_wrote(store: Path, tmp_path: Path) -> None:
    table = zr.zonal_stats(store, stats=("pixels", "area"), area="km2")
    table.to_parquet(tmp_path / "t.parquet")
    table.to_csv(tmp_path / "t.csv")
    zr.plot(store, table, "area_km2", picture=tmp_path / "expected.png", width=300)
    for name in ("t.parquet", "t.csv"):
        picture = tmp_path / f"{name}.png"
        words = ["plot", store, picture, "--table", tmp_path / name, "--column", "area_km2"]
        result = CliRunner().invoke(cli.main, [*map(str, words), "--width", "300"])
        assert result.exit_code == 0, result.output
    # Units are in the table that was counted, and in Parquet, not in CSV.
    one, other = (pixels(tmp_path / f"{name}.png") for name in ("t.parquet", "t.csv"))
    assert np.array_equal(one[:200], other[:200])
    assert np.array_equal(one[:200], pixels(tmp_path / "expected.png")[:200])


def test_what_cannot_be_drawn_is_refused(store: Path, tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1], "b": [2]}, ["b"])
    with pytest.raises(zr.ValuesError, match=r"several columns: give column= one of a, b"):
        zr.plot(store, table)
    with pytest.raises(zr.ValuesError, match=r"no column 'c': give column= one of a, b"):
        zr.plot(store, table, "c")
    with pytest.raises(zr.ZonesError, match="no column 'krop'"):
        zr.plot(store, column="krop")
    with pytest.raises(zr.ZonesError, match="no column 'krop'"):
        zr.plot(store, names="krop")
    with pytest.raises(zr.ValuesError, match=r"nothing.parquet cannot be read as a table"):
        zr.plot(store, tmp_path / "nothing.parquet", "a")
    many = pd.Series([f"class {k}" for k in range(4)], ["north", "b", "Two Words", "d"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zr.plot(store, many.to_frame("text"), "text", width=100)
    boxes = [shapely.box(k, 41, k + 1, 47) for k in range(10)]
    names = {"name": [f"class {k}" for k in range(10)]}
    zones = geopandas.GeoDataFrame(names, geometry=boxes, crs=4326)
    zr.build(zones, tmp_path / "s.zarr", grid=GRID)
    with pytest.raises(zr.ValuesError, match="10 different texts are too many"):
        zr.plot(tmp_path / "s.zarr", column="name", width=100)


def luminance(colour: Any) -> float:
    """Of WCAG 2, of three shares."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.slow
def test_names_can_be_read_on_every_colour(tmp_path: Path) -> None:
    boxes = [shapely.box(k, 41, k + 1, 47) for k in range(12)]
    zones = geopandas.GeoDataFrame({"name": [*"abcdefghijkl"]}, geometry=boxes, crs=4326)
    zr.build(zones, tmp_path / "s.zarr", grid=GRID, key="name")
    table = pd.DataFrame({"v": range(12)}, [*"abcdefghijkl"])
    figure = zr.plot(tmp_path / "s.zarr", table, width=600, names=True)
    names = {one.get_text(): one for one in figure.axes[0].texts}
    assert names.keys() == {*"abcdefghijkl"}
    for value, name in enumerate("abcdefghijkl"):
        below = luminance(matplotlib.colormaps["viridis"](value / 11)[:3])
        ink = luminance(matplotlib.colors.to_rgb(names[name].get_color()))
        low, high = sorted((below, ink))
        assert (high + 0.05) / (low + 0.05) > 3.9
