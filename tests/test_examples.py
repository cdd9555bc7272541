"""The examples run and check themselves; here on a small canvas."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.conftest import ROOT


def imported(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def seed_case() -> ModuleType:
    return imported("seed_case")


@pytest.fixture(scope="module")
def forest_loss() -> ModuleType:
    return imported("forest_loss")


@pytest.mark.slow
def test_the_seed_case_has_200_000_squares_on_40_000_pixels_a_side(seed_case: ModuleType) -> None:
    squares, grid = seed_case.make_squares(200_000)
    assert len(squares) == 200_000
    assert grid.shape == (40_000, 40_000)


@pytest.mark.slow
@pytest.mark.parametrize("n", ["2,000", "200,000"])
def test_the_seed_case_finds_every_count_as_expected(
    seed_case: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], n: str
) -> None:
    assert seed_case.main([str(tmp_path / "squares.zarr"), "--zones", n.replace(",", "")]) == 0
    assert f"{n} of {n} squares have the expected pixels" in capsys.readouterr().out


@pytest.mark.slow
def test_the_seed_case_fails_on_a_wrong_count(
    seed_case: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = seed_case.claimed_pixels
    one_off = np.arange(50) == 6
    monkeypatch.setattr(seed_case, "claimed_pixels", lambda *given: right(*given) + one_off)
    assert seed_case.main([str(tmp_path / "squares.zarr"), "--zones", "50"]) == 1
    said = capsys.readouterr()
    assert "49 of 50 squares have the expected pixels" in said.out
    assert said.err.startswith("square 7: ")


def test_the_closed_form_counts_centres(seed_case: ModuleType) -> None:
    import geopandas
    import shapely

    import zoneraster as zr

    grid = zr.Grid.from_bounds((0, 0, 300, 300), 30, "EPSG:6933")
    # In pixels: columns 0.5..2.5 and rows 0.5..2.5, where a west and a south edge leave out a
    # centre; one that sticks out; one without a centre.
    boxes = [
        shapely.box(15, 225, 75, 285),
        shapely.box(-60, -60, 60, 30),
        shapely.box(16, 16, 40, 40),
    ]
    squares = geopandas.GeoDataFrame(geometry=boxes, crs="EPSG:6933")
    assert seed_case.claimed_pixels(squares, grid).tolist() == [4, 2, 0]


def test_districts_of_the_forest_example_tile_their_countries(forest_loss: ModuleType) -> None:
    import shapely

    districts = forest_loss.make_districts()
    assert 200 < len(districts) < 300
    assert districts["adm0"].nunique() == 5
    assert (districts.groupby("adm1")["adm0"].nunique() == 1).all()
    areas = shapely.area(districts.geometry.to_numpy())
    assert areas.sum() == pytest.approx(districts.union_all().area, rel=1e-12)


def test_pixels_of_the_forest_example_do_not_depend_on_chunks(forest_loss: ModuleType) -> None:
    for name in forest_loss.LAYERS:
        whole = forest_loss.make_pixels(name, (0, 90), (0, 90), 90)
        part = forest_loss.make_pixels(name, (31, 77), (12, 60), 90)
        np.testing.assert_array_equal(part, whole[31:77, 12:60])


@pytest.mark.slow
def test_the_forest_example_finds_what_numpy_finds_and_goes_on(
    forest_loss: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = [str(tmp_path), "--pixels", "400"]
    assert forest_loss.main(options) == 0
    first = capsys.readouterr().out
    assert "267 of 267 districts checked are as NumPy has them" in first
    assert "the sums of districts" in first
    assert "NOT" not in first
    # A second run makes nothing anew, and a large canvas is checked in part.
    monkeypatch.setattr(forest_loss, "write_raster", None)
    monkeypatch.setattr(forest_loss, "CHECK_ALL", 399)
    assert forest_loss.main(options) == 0
    assert "10 of 10 districts checked" in capsys.readouterr().out


@pytest.mark.slow
def test_the_forest_example_fails_on_a_wrong_number(
    forest_loss: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = forest_loss.row_hectares
    monkeypatch.setattr(forest_loss, "row_hectares", lambda grid: right(grid) * 1.001)
    assert forest_loss.main([str(tmp_path), "--pixels", "200"]) == 1
    assert "instead of" in capsys.readouterr().err
