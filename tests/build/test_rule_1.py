"""Stores of burn rule 1, which version 0.1 made: read and finished as they are, built again whole.

``rule_1.tar.xz`` holds two of them, made by the last commit of rule 1 from `tiles`, with
``all_touched=True`` and chunks of 10: one that is finished, one that is only planned. The noise of
the coordinates gave the tiles 156 pixels of 144.
"""

from __future__ import annotations

import json
import tarfile
import warnings
from fractions import Fraction
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
import xarray as xr

import zoneraster as zr
from tests.samples import tree

GRID = zr.Grid.from_bounds((-124, 32, "-123.8", "32.2"), "1/100")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(Path(__file__).with_name("rule_1.tar.xz")) as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path


def tiles() -> geopandas.GeoDataFrame:
    """Four tiles of 6 x 6 pixels, aligned to the grid."""
    x = [float(Fraction(-12400 + i, 100)) for i in (2, 8, 14)]
    y = [float(Fraction(3200 + i, 100)) for i in (3, 9, 15)]
    shapes = [shapely.box(x[i], y[j], x[i + 1], y[j + 1]) for i in (0, 1) for j in (0, 1)]
    return geopandas.GeoDataFrame({"tile": list("abcd")}, geometry=shapes, crs=4326)


def counted(store: Path) -> list[int]:
    ones = xr.DataArray(
        np.ones(GRID.shape), dims=("y", "x"), coords={"y": GRID.y_centres(), "x": GRID.x_centres()}
    )
    return zr.zonal_stats(store, zr.Raster(ones, crs=4326), stats="count")["count"].tolist()


def test_a_store_of_rule_1_opens_reads_and_verifies_as_before(folder: Path) -> None:
    store = folder / "done.zarr"
    before = tree(store)
    with warnings.catch_warnings():
        warnings.simplefilter("error", zr.ZonerasterWarning)
        assert zr.verify(store, deep=1.0).ok
        assert zr.status(store).finished
        assert np.bincount(zr.open(store).zone.values.ravel()).tolist() == [256, 36, 36, 36, 36]
        assert zr.zones(store)["claimed"].tolist() == [42, 36, 42, 36]
        assert counted(store) == zr.zones(store)["claimed"].tolist()
    assert zr.info(store)["spec"].get("rule", 1) == 1
    assert tree(store) == before


def test_a_plan_of_rule_1_is_run_and_finished_by_rule_1(folder: Path) -> None:
    store = folder / "planned.zarr"
    zr.run(store)
    with pytest.warns(zr.ZonerasterWarning, match="contested pixels"):
        report = zr.finish(store)
    assert (report.claimed, report.contested) == (156, 24)
    assert tree(store, what="zone") == tree(folder / "done.zarr", what="zone")
    assert zr.verify(store, deep=1.0).ok


@pytest.mark.parametrize("name", ["done.zarr", "planned.zarr"])
def test_a_build_says_that_all_is_burned_again_and_burns_rule_2(folder: Path, name: str) -> None:
    store = folder / name
    again = {"grid": GRID, "key": "tile", "all_touched": True, "chunks": 10}
    with pytest.warns(zr.ZonerasterWarning, match="burned by rule 1: all its chunks .* by rule 2"):
        report = zr.build(tiles(), store, **again)
    assert (report.claimed, report.contested, report.burned, report.kept) == (144, 0, 4, 0)
    assert json.loads((store / ".zoneraster/spec.json").read_text())["rule"] == 2
    assert counted(store) == [36] * 4
    assert zr.verify(store, deep=1.0).ok
    with warnings.catch_warnings():
        warnings.simplefilter("error", zr.ZonerasterWarning)
        assert zr.build(tiles(), store, **again).burned == 0
