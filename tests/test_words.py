"""Words of the command line: what they stand for, and what they cannot."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

import zoneraster as zr
from tests.samples import sample_zones
from zoneraster import cli
from zoneraster.words import condition_of, grid_of, keys_of, measures_of


def test_one_path_keeps_the_name_of_its_raster_and_several_are_named_by_their_files() -> None:
    assert measures_of([]) is None
    assert measures_of(["a/rain.tif"]) == "a/rain.tif"
    assert measures_of(["a/rain.tif", "snow.zarr/"]) == {"rain": "a/rain.tif", "snow": "snow.zarr/"}
    assert measures_of(["r-1=a.tif"]) == {"r-1": "a.tif"}


@pytest.mark.parametrize(
    "values",
    [
        ["2020/rain.tif", "2021/rain.tif"],
        ["rain.tif", "s3://bucket/rain.zarr/"],
        ["rain=x.tif", "y/rain.nc"],
        ["snow.tif", "rain=x.tif", "rain=y.tif"],
    ],
)
def test_measures_of_one_name_are_refused_with_both_paths(values: list[str]) -> None:
    with pytest.raises(click.BadParameter, match="2 measures are named 'rain'") as refused:
        measures_of(values)
    for path in values[-2:]:
        assert path.removeprefix("rain=") in refused.value.message


@pytest.mark.parametrize(
    "path", ["./year=2020/v.tif", "/data/year=2020/v.tif", "s3://b/year=2020/v.zarr", "=v.tif"]
)
def test_an_equals_sign_behind_a_folder_or_a_scheme_belongs_to_the_path(path: str) -> None:
    assert measures_of([path]) == path
    assert measures_of([f"a={path}"]) == {"a": path}


def test_a_path_that_is_there_is_no_name_and_two_readings_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert measures_of(["year=2020/v.tif"]) == {"year": "2020/v.tif"}
    (tmp_path / "year=2020").mkdir()
    (tmp_path / "year=2020" / "v.tif").touch()
    assert measures_of(["year=2020/v.tif"]) == "year=2020/v.tif"
    assert measures_of(["v=year=2020/v.tif"]) == {"v": "year=2020/v.tif"}
    assert list(keys_of(["lc=year=2020/v.tif:1,2"], [])) == ["lc"]
    assert condition_of(["year=2020/v.tif>=3"]).raster.source == "year=2020/v.tif"
    (tmp_path / "2020").mkdir()
    (tmp_path / "2020" / "v.tif").touch()
    with pytest.raises(click.BadParameter, match=r"\./year=2020/v\.tif for the first"):
        measures_of(["year=2020/v.tif"])


@pytest.mark.parametrize(
    "words",
    [
        ["--bounds", "-10", "0", "10", "8"],
        ["--bounds", "-10,0,10,8"],
        ["--bounds=-10,0,10,8"],
        ["--bounds", "-10, 0, 10, 8"],
        ["--bounds", "-10,", "0,", "10,", "8"],
        ["--bounds", "-10,0", "10,8"],
    ],
)
def test_bounds_may_have_commas(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(zr, "plan", lambda *_, grid, **__: seen.append(grid.bounds) or {})
    result = CliRunner().invoke(cli.main, ["plan", "z", "s", "--resolution", "1", *words, "--json"])
    assert result.exit_code == 0, result.output
    assert seen == [(-10, 0, 10, 8)]


@pytest.mark.parametrize("words", ["1,2,3", "1,2,3,4,5", "a,b,c,d"])
def test_bounds_that_are_not_four_numbers_are_refused(words: str) -> None:
    given = ["plan", "z", "s", "--bounds", words, "--resolution", "1"]
    result = CliRunner().invoke(cli.main, given)
    assert result.exit_code == 2
    assert "--bounds" in result.output


def test_options_that_a_grid_has_no_use_for_are_refused() -> None:
    with pytest.raises(click.UsageError, match="--bounds needs --resolution, and --like has its"):
        grid_of(None, (0, 0, 1, 1), None, "r.tif", False)
    with pytest.raises(click.UsageError, match="--crs needs --resolution, and --global-30m has"):
        grid_of(None, None, "EPSG:32632", None, True)
    with pytest.raises(click.UsageError, match="--crs needs --resolution"):
        grid_of(None, None, "EPSG:32632", None, False)


@pytest.mark.slow
def test_area_beside_values_is_shown_or_said_to_change_nothing(tmp_path: Path) -> None:
    grid = zr.Grid.from_bounds((0, 0, 10, 10), "1/2")
    zones, path = sample_zones(), tmp_path / "v.tif"
    with pytest.warns(zr.ZonerasterWarning):
        zr.build(zones, tmp_path / "s.zarr", grid=grid, key="fid")
    with rasterio.open(
        path, "w", driver="GTiff", count=1, width=20, height=20, dtype="float32", crs=4326,
        transform=grid.transform,
    ) as file:  # fmt: skip
        file.write(np.ones((1, 20, 20), "float32"))
    table = zr.zonal_stats(tmp_path / "s.zarr", path, area="ha")
    in_m2 = zr.zonal_stats(tmp_path / "s.zarr", path, stats=["area"])
    assert list(table.columns)[:3] == ["count", "sum", "mean"]
    assert table.iloc[:, 3].to_numpy() * 1e4 == pytest.approx(in_m2.iloc[:, 0].to_numpy())
    given = ["stats", str(tmp_path / "s.zarr"), str(path), "--stats", "mean", "--area", "ha"]
    result = CliRunner().invoke(cli.main, given)
    assert result.exit_code == 2
    assert "zoneraster: --area ha changes nothing: none of mean is an area" in result.stderr
