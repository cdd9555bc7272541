"""Zones as rows: beside exactextract, the array and polygons by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import duckdb
import exactextract
import exactextract.raster
import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import shapely
import xarray as xr
from click.testing import CliRunner

import zoneraster as zr
from tests.oracles import star
from zoneraster.cli import main

GRID = zr.Grid.from_bounds((500_000, 0, 503_100, 2_300), 100, "EPSG:32633")


def zones() -> geopandas.GeoDataFrame:
    """Stars that lie over each other, in two parts or one, a speck, and one off the grid."""
    rng = np.random.default_rng(2)
    west, south = 500_000, 0

    def one(n: int) -> shapely.Geometry:
        at = tuple(rng.uniform((0, 0), (3_100, 2_300)) + (west, south))
        ring = shapely.Polygon(star(rng, at, rng.uniform(100, 900), n))
        return shapely.make_valid(ring)

    shapes = [one(int(n)) for n in rng.integers(3, 30, 12)]
    shapes[4] = shapely.union_all([one(5), one(7)])
    shapes.append(shapely.box(501_010, 1_010, 501_020, 1_020))
    shapes.append(shapely.box(0, 0, 10, 10))
    names = [f"z{i}" for i in range(len(shapes))]
    return geopandas.GeoDataFrame({"name": names}, geometry=shapes, crs=GRID.crs)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells") / "zones.zarr"
    with pytest.warns(zr.ZonerasterWarning):
        zr.build(zones(), path, grid=GRID, key="name", chunks=7)
    return path


def canvas(table: pd.DataFrame) -> dict[int, npt.NDArray[np.float64]]:
    """Fractions of each zone; no pixel of a zone comes twice."""
    found: dict[int, npt.NDArray[np.float64]] = {}
    for zone, row, col0, col1, share in table.itertuples(index=False):
        own = found.setdefault(zone, np.zeros(GRID.shape))
        assert not own[row, col0:col1].any()
        own[row, col0:col1] = share
    return found


def test_fractions_are_those_of_exactextract(store: Path) -> None:
    found = canvas(zr.cells(store, pixels="fraction").read_pandas())
    raster = exactextract.raster.NumPyRasterSource(
        np.arange(GRID.height * GRID.width, dtype=float).reshape(GRID.shape),
        *GRID.bounds,
        srs_wkt=GRID.crs.to_wkt(),
    )
    shapes = zones()
    results = exactextract.exact_extract(raster, shapes, ["values", "coverage"], output="pandas")
    for zone, (values, coverage) in enumerate(
        zip(results["values"], results["coverage"], strict=True), start=1
    ):
        own = np.zeros(GRID.shape)
        own.flat[np.asarray(values, int)] = coverage
        # Its weights are float32.
        assert found.pop(zone, np.zeros(GRID.shape)) == pytest.approx(own, abs=1e-6), zone
    assert not found


def test_areas_of_zones_are_those_of_polygons(store: Path) -> None:
    table = zr.cells(store, pixels="fraction").read_pandas()
    pixels = (table["col1"] - table["col0"]) * table["fraction"]
    area = pixels.groupby(table["zone_id"]).sum() * 100 * 100
    inside = zones().geometry.intersection(shapely.box(*GRID.bounds)).area
    assert area.tolist() == pytest.approx(inside[inside > 0].tolist(), rel=1e-6)


def test_centres_are_those_that_the_build_counted(store: Path) -> None:
    table = zr.cells(store).read_pandas()
    counted = (table["col1"] - table["col0"]).groupby(table["zone_id"]).sum()
    claimed = zr.zones(store)["claimed"]
    assert counted.tolist() == claimed[claimed > 0].tolist()
    assert (table["fraction"] == 1).all()
    array, alone = zr.open(store).zone.to_numpy(), canvas(table)
    painted = np.zeros(GRID.shape, int)
    for zone in sorted(alone):
        painted[alone[zone] > 0] = zone
    assert np.array_equal(painted, array)


@pytest.mark.slow
def test_touched_pixels_are_those_of_a_store_that_burns_them(store: Path, tmp_path: Path) -> None:
    with pytest.warns(zr.ZonerasterWarning):
        zr.build(zones(), tmp_path / "t.zarr", grid=GRID, key="name", chunks=9, all_touched=True)
    one = canvas(zr.cells(store, pixels="touched").read_pandas())
    other = canvas(zr.cells(tmp_path / "t.zarr").read_pandas())
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[zone], other[zone]) for zone in one)
    # One plan for all rules.
    again = canvas(zr.cells(tmp_path / "t.zarr", pixels="fraction").read_pandas())
    whole = canvas(zr.cells(store, pixels="fraction").read_pandas())
    assert all(whole[zone] == pytest.approx(again[zone], abs=1e-12) for zone in whole)


def test_a_window_and_some_zones(store: Path) -> None:
    window = zr.Window(3, 17, 5, 26)
    whole = canvas(zr.cells(store, pixels="fraction").read_pandas())
    inside = [zone for zone in sorted(whole) if whole[zone][window.slices].any()]
    assert 2 < len(inside) < len(whole)
    keys = [f"z{zone - 1}" for zone in inside[::2]]
    some = zr.cells(store, pixels="fraction", window=window, zones=keys).read_pandas()
    found = canvas(some)
    assert sorted(found) == inside[::2]
    for zone, own in found.items():
        expected = np.zeros(GRID.shape)
        expected[window.slices] = whole[zone][window.slices]
        assert np.array_equal(own, expected)
    assert zr.cells(store, window=(0, 1, 0, 1)).read_all().num_rows == 0


def test_duckdb_joins_them_with_the_zone_table(store: Path) -> None:
    cells = zr.cells(store, pixels="fraction")  # noqa: F841 - named in the query
    found = duckdb.sql(
        f"SELECT name, sum((col1 - col0) * fraction) AS pixels FROM cells "
        f"JOIN '{store}/zones.parquet' USING (zone_id) GROUP BY name ORDER BY name"
    ).fetchall()
    assert dict(found)["z12"] == pytest.approx(0.01, rel=1e-4)


def test_a_batch_is_made_when_it_is_asked_for(store: Path) -> None:
    reader = zr.cells(store, pixels="fraction")
    first = reader.read_next_batch()
    assert 0 < first.num_rows < zr.cells(store, pixels="fraction").read_all().num_rows / 4


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"pixels": "all"}, zr.OptionError, "pixels must be one of centre, touched, fraction, not"),
        ({"zones": ["z1", "x"]}, zr.ZonesError, "has no zones x: its keys are those of 'name'"),
    ],
)
def test_what_is_not_there_is_refused(
    store: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        zr.cells(store, **options)


def test_squares_of_rescued_zones_are_no_fractions(tmp_path: Path) -> None:
    with pytest.warns(zr.ZonerasterWarning):
        zr.build(zones(), tmp_path / "z.zarr", grid=GRID, key="name", min_pixels=1)
    with pytest.raises(zr.StoreError, match="min_pixels=1, which gives a whole pixel to zones"):
        zr.cells(tmp_path / "z.zarr", pixels="fraction")
    assert zr.cells(tmp_path / "z.zarr").read_all().num_rows > 0


def test_the_command_line_writes_parquet(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "cells.parquet"
    run = CliRunner().invoke(
        main, ["cells", str(store), str(path), "--pixels", "fraction", "--zones", "z0,z4"]
    )
    assert run.exit_code == 0, run.output
    known = zr.cells(store, pixels="fraction", zones=["z0", "z4"]).read_pandas()
    assert pd.read_parquet(path).equals(known)
    assert run.output == f"{path}: {len(known):,} stretches of pixels\n"
    assert [p.name for p in tmp_path.iterdir()] == ["cells.parquet"]


# ---- with values ---------------------------------------------------------------------------------


def raster(values: npt.NDArray[Any], grid: zr.Grid = GRID, **attrs: Any) -> xr.DataArray:
    coords = {"y": grid.y_centres(), "x": grid.x_centres()}
    array = xr.DataArray(values, coords=coords, dims=("y", "x"), name="v")
    return array.assign_attrs(crs="EPSG:32633", **attrs)


@pytest.mark.parametrize("rule", ["centre", "touched", "fraction"])
def test_a_row_for_each_pixel_has_its_values(
    store: Path, monkeypatch: pytest.MonkeyPatch, rule: Any
) -> None:
    # The function hides its room.
    monkeypatch.setattr(sys.modules["zoneraster._stats.cells"], "_ROWS", 50)
    values = np.arange(GRID.height * GRID.width, dtype="int32").reshape(GRID.shape)
    coarse = zr.Grid(GRID.crs, (200, 0, 500_000, 0, -200, 2_300), (11, 15))
    given = {"v": raster(values, _FillValue=77), "w": raster(np.ones(coarse.shape), coarse)}
    reader = zr.cells(store, given, pixels=rule)
    assert reader.schema.names == ["name", "x", "y", "area_m2", "fraction", "v", "w"]
    table = reader.read_pandas()
    stretches = zr.cells(store, pixels=rule).read_pandas()
    ids = {name: i for i, name in enumerate(zones()["name"], start=1)}
    expected = [
        (zone, row, col, share)
        for zone, row, col0, col1, share in stretches.itertuples(index=False)
        for col in range(col0, col1)
    ]
    found = zip(
        table["name"].map(ids), GRID.height - 1 - (table["y"] // 100).astype(int),
        ((table["x"] - 500_000) // 100).astype(int), table["fraction"], strict=True,
    )  # fmt: skip
    assert [*found] == expected
    at = np.array([values[row, col] for _, row, col, _ in expected])
    assert table["v"].isna().equals(pd.Series(at == 77))
    assert table["v"].dropna().tolist() == at[at != 77].tolist()
    assert (table["area_m2"] == 10_000).all()
    # The other raster ends before the last row and columns.
    beyond = np.array([row >= 22 or col >= 30 for _, row, col, _ in expected])
    assert beyond.any()
    assert table["w"].isna().to_numpy().tolist() == beyond.tolist()


def test_samples_add_up_to_the_statistics(store: Path) -> None:
    values = np.random.default_rng(3).random(GRID.shape)
    table = zr.cells(store, raster(values), pixels="fraction").read_pandas()
    stats = zr.zonal_stats(store, raster(values), pixels="fraction", stats=["sum", "area"])
    sums = (table["v"] * table["fraction"]).groupby(table["name"]).sum()
    areas = (table["area_m2"] * table["fraction"]).groupby(table["name"]).sum()
    assert np.allclose(sums, stats.loc[sums.index, "sum"], rtol=1e-12)
    assert np.allclose(areas, stats.loc[areas.index, "area_m2"], rtol=1e-12)


def test_rasters_that_have_no_value_for_a_pixel_are_refused(store: Path) -> None:
    cube = raster(np.ones(GRID.shape)).expand_dims(time=[1, 2])
    with pytest.raises(zr.ValuesError, match=r"extra dimensions \('time',\)"):
        zr.cells(store, cube)
    finer = zr.Grid(GRID.crs, (50, 0, 500_000, 0, -50, 2_300), (46, 62))
    with pytest.raises(zr.ValuesError, match=r"average them first.*y=2, x=2"):
        zr.cells(store, raster(np.ones(finer.shape), finer))
    shifted = zr.Grid(GRID.crs, (100, 0, 500_030, 0, -100, 2_300), GRID.shape)
    with pytest.raises(zr.AlignmentError):
        zr.cells(store, raster(np.ones(GRID.shape), shifted))
    near = zr.cells(store, raster(np.ones(GRID.shape), shifted), resample="nearest").read_pandas()
    assert near["v"].dropna().eq(1).all()
    with pytest.raises(zr.ValuesError, match="two columns would be named 'fraction'"):
        zr.cells(store, {"fraction": raster(np.ones(GRID.shape))})


def test_the_command_line_writes_samples(store: Path, tmp_path: Path) -> None:
    raster(np.ones(GRID.shape)).to_dataset().to_zarr(tmp_path / "v.zarr", consolidated=False)
    out = tmp_path / "samples.parquet"
    result = CliRunner().invoke(main, ["cells", str(store), str(out), f"{tmp_path}/v.zarr"])
    assert result.exit_code == 0, result.output
    n = len(pd.read_parquet(out))
    assert n == zr.zonal_stats(store, stats="pixels")["pixels"].sum()
    assert f"{n:,} pixels" in result.output
