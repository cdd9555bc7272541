"""The examples run and check themselves; here on a small canvas."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def seed_case() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seed_case", ROOT / "examples" / "seed_case.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
