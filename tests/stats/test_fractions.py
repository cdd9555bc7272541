"""Statistics of pixels that zones cover a part of: beside exactextract, polygons and NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

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
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import geometry_mask

import zoneraster as zr
from tests.oracles import star
from zoneraster._stats.families.parts import Counted, pairs_of, weighted_quantile
from zoneraster.cli import main

GRID = zr.Grid.from_bounds((500_000, 0, 506_000, 5_000), 100, "EPSG:32633")
Array = npt.NDArray[Any]
# Names of ours and of exactextract's, as functions of covered parts.
SAME = {
    "count": "count", "sum": "sum", "mean": "mean", "min": "min", "max": "max",
    "var": "variance", "std": "stdev", "variety": "variety", "median": "median",
    "q0.9": "quantile(q=0.9)",
}  # fmt: skip


def zones(n: int = 40, *, seed: int = 3) -> geopandas.GeoDataFrame:
    """Stars of all sizes, many of them within a pixel, that lie over each other."""
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(n):
        at = (500_300 + rng.uniform(0, 5_400), 300 + rng.uniform(0, 4_400))
        size = 10 ** rng.uniform(0.7, 3.2)
        ring = shapely.Polygon(star(rng, at, size, int(rng.integers(3, 14))))
        shapes.append(shapely.make_valid(ring))
    columns = {"name": [f"z{i}" for i in range(n)], "group": np.arange(n) % 3}
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=GRID.crs)


def areas() -> Array:
    """Of the zones on the grid, in pixels."""
    inside = shapely.intersection(zones().geometry.to_numpy(), shapely.box(*GRID.bounds))
    return np.asarray(shapely.area(inside) / 1e4)


def build(path: Path, frame: geopandas.GeoDataFrame, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zr.ZonerasterWarning)
        zr.build(frame, path, grid=GRID, key="name", **options)
    return path


def raster(values: Array, grid: zr.Grid = GRID, name: str = "v") -> xr.DataArray:
    coords = {"y": grid.y_centres(), "x": grid.x_centres()}
    array = xr.DataArray(values, coords=coords, dims=("y", "x"), name=name)
    return array.assign_attrs(crs="EPSG:32633")


def heights(seed: int = 1) -> Array:
    """No two are equal, as exactextract takes equal ones for one; a tenth is missing."""
    rng = np.random.default_rng(seed)
    values = rng.permutation(GRID.height * GRID.width).reshape(GRID.shape).astype(float)
    values[rng.random(GRID.shape) < 0.1] = np.nan
    return values


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("fractions") / "zones.zarr", zones(), chunks=16)


def exact(values: Array, frame: geopandas.GeoDataFrame, operations: list[str]) -> pd.DataFrame:
    source = exactextract.raster.NumPyRasterSource(
        values, *GRID.bounds, srs_wkt=GRID.crs.to_wkt(), nodata=np.nan
    )
    return exactextract.exact_extract(source, frame, operations, output="pandas")


def test_all_that_exactextract_has_is_the_same(store: Path) -> None:
    values, frame = heights(), zones()
    table = zr.zonal_stats(store, raster(values), stats=[*SAME], pixels="fraction")
    right = exact(values, frame, [*SAME.values()]).to_numpy(float)
    # Its covered parts are float32.
    scale = np.maximum(np.abs(right), 1.0)
    found = table[[*SAME]].to_numpy(float)
    assert np.array_equal(np.isnan(found), np.isnan(right))
    assert np.nanmax(np.abs(found - right) / scale) < 2e-5


def test_classes_are_those_of_exactextract(store: Path) -> None:
    values = np.random.default_rng(4).integers(0, 4, GRID.shape)
    table = zr.zonal_stats(
        store, raster(values), stats=["fractions", "histogram", "variety", "majority", "minority"],
        pixels="fraction",
    )  # fmt: skip
    right = exact(values.astype(float), zones(), ["unique", "frac", "variety", "mode"])
    shares = np.zeros((len(right), 4))
    for i, (unique, share) in enumerate(zip(right["unique"], right["frac"], strict=True)):
        shares[i, np.asarray(unique, int)] = share
    assert np.allclose(table[[f"fractions_{value}" for value in range(4)]], shares, atol=1e-6)
    assert table["variety"].tolist() == right["variety"].tolist()
    # Ties within rounding are settled by chance there.
    parts = np.sort(table[[f"fractions_{value}" for value in range(4)]].to_numpy(), axis=1)
    is_clear = parts[:, -1] - parts[:, -2] > 1e-5
    assert is_clear.sum() > 20
    assert np.array_equal(table["majority"][is_clear], right["mode"].to_numpy()[is_clear])
    total = table[[f"histogram_{value}" for value in range(4)]].sum(axis=1)
    assert np.allclose(total, areas(), rtol=1e-9)


@pytest.mark.slow
def test_random_polygons_beside_exactextract_differ_for_causes_alone() -> None:
    """Two rasters at a time with weights on the same pixels, finer and coarser ones."""
    script = Path(__file__).parents[1] / "benchmarks" / "beside_exactextract.py"
    done = subprocess.run(
        [sys.executable, script, "1500", "2"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "0 without a cause"


def test_pixels_are_the_areas_of_the_polygons(store: Path) -> None:
    table = zr.zonal_stats(store, stats=["pixels", "count"], pixels="fraction")
    area = areas()
    assert np.abs(table["pixels"] / area - 1).max() < 1e-9
    audit = table.attrs["audit"]
    assert audit["pixels"] == "fraction"
    assert audit["covered"] == pytest.approx(area.sum(), rel=1e-12)
    assert audit["pixels_read"] == audit["in_zones"] + audit["no_zone"]
    assert (area < 0.1).sum() > 3  # zones that hold no centre


@pytest.mark.slow
def test_neither_chunks_nor_workers_change_a_number(store: Path, tmp_path: Path) -> None:
    stats = [*SAME, "histogram", "area", "area_mean", "majority"]
    values = np.where(heights() % 3 == 0, np.nan, heights() % 50)
    expected = zr.zonal_stats(store, raster(values), stats=stats, pixels="fraction")
    lazy = raster(values).chunk({"y": 13, "x": 29})
    same = zr.zonal_stats(store, lazy, stats=stats, pixels="fraction", executor=2)
    pd.testing.assert_frame_equal(same, expected, rtol=1e-12)
    for chunks in (7, 33, 64):
        other = build(tmp_path / f"{chunks}.zarr", zones(), chunks=chunks)
        found = zr.zonal_stats(other, raster(values), stats=stats, pixels="fraction")
        pd.testing.assert_frame_equal(found, expected, rtol=1e-11)


@pytest.mark.slow
def test_keys_conditions_and_checkpoints_split_covered_parts(store: Path, tmp_path: Path) -> None:
    values, kind = heights(), np.random.default_rng(9).integers(0, 3, GRID.shape)
    options: dict[str, Any] = {
        "stats": ["count", "sum", "median"], "pixels": "fraction",
        "by": {"kind": raster(kind, name="kind")}, "where": zr.Raster(raster(values)) > 500,
    }  # fmt: skip
    table = zr.zonal_stats(store, raster(values), checkpoint=tmp_path / "kept", **options)
    again = zr.zonal_stats(store, raster(values), checkpoint=tmp_path / "kept", **options)
    pd.testing.assert_frame_equal(table, again)
    for label in range(3):
        masked = np.where((kind == label) & (values > 500), values, np.nan)
        alone = zr.zonal_stats(
            store, raster(masked), stats=["count", "sum", "median"], pixels="fraction"
        )
        own = table.xs(label, level="kind")
        pd.testing.assert_frame_equal(own, alone.loc[own.index], rtol=1e-12)


def test_finer_and_coarser_values_are_met_as_the_pixels_of_the_store(store: Path) -> None:
    values = heights()
    expected = zr.zonal_stats(store, raster(values), stats=["sum", "count"], pixels="fraction")
    finer = zr.Grid(GRID.crs, (50, 0, 500_000, 0, -50, 5_000), (100, 120))
    fine = np.repeat(np.repeat(values, 2, 0), 2, 1)
    table = zr.zonal_stats(store, raster(fine, finer), stats=["sum", "count"], pixels="fraction")
    pd.testing.assert_frame_equal(table, 4 * expected, rtol=1e-12)
    coarser = zr.Grid(GRID.crs, (200, 0, 500_000, 0, -200, 5_000), (25, 30))
    coarse = values[::2, ::2]
    spread = np.repeat(np.repeat(coarse, 2, 0), 2, 1)
    table, expected = (
        zr.zonal_stats(store, given, stats=["sum", "median"], pixels="fraction")
        for given in (raster(coarse, coarser), raster(spread))
    )
    pd.testing.assert_frame_equal(table, expected, rtol=1e-12)


def test_zones_that_tile_add_up_to_their_parent(tmp_path: Path) -> None:
    """Neighbours within a pixel: rolled up they cover it once."""
    rng = np.random.default_rng(5)
    sites = shapely.MultiPoint(rng.uniform((500_000, 0), (506_000, 5_000), (300, 2)))
    cells = shapely.voronoi_polygons(sites, extend_to=shapely.box(*GRID.bounds))
    parts = shapely.intersection(shapely.get_parts(cells), shapely.box(*GRID.bounds))
    frame = geopandas.GeoDataFrame(
        {"name": range(len(parts)), "half": rng.integers(0, 2, len(parts))},
        geometry=parts, crs=GRID.crs,
    )  # fmt: skip
    store = build(tmp_path / "cells.zarr", frame, chunks=23)
    each = zr.zonal_stats(store, raster(heights()), stats=["pixels", "sum"], pixels="fraction")
    assert each["pixels"].sum() == pytest.approx(GRID.height * GRID.width, rel=1e-12)
    assert each["sum"].sum() == pytest.approx(np.nansum(heights()), rel=1e-9)
    rolled = zr.zonal_stats(
        store, raster(heights()), stats=["pixels", "sum"], pixels="fraction", roll_up="half"
    )
    summed = each.groupby(frame["half"].to_numpy()).sum()
    assert np.allclose(rolled, summed.loc[rolled.index], rtol=1e-9)
    # A parent covers no pixel twice.
    twice = build(tmp_path / "twice.zarr", pd.concat([frame, frame.assign(name=frame.name + 1000)]))
    again = zr.zonal_stats(
        twice, raster(heights()), stats=["pixels", "sum"], pixels="fraction", roll_up="half"
    )
    pd.testing.assert_frame_equal(again, rolled, rtol=1e-12)


def test_a_parent_covers_what_the_union_of_its_zones_covers(tmp_path: Path) -> None:
    frame = zones(120)
    for chunks in (16, 1000):
        store = build(tmp_path / f"{chunks}.zarr", frame, chunks=chunks)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = zr.zonal_stats(
                store, raster(heights()), stats=["pixels", "sum"], pixels="fraction",
                roll_up="group",
            )  # fmt: skip
        united = frame.dissolve("group")
        inside = shapely.intersection(united.geometry, shapely.box(*GRID.bounds))
        assert np.allclose(table["pixels"], shapely.area(inside) / 1e4, rtol=1e-10)
        right = exact(heights(), united, ["sum"])["sum"]
        assert np.allclose(table["sum"], right, rtol=1e-6)  # its covered parts are float32


@pytest.mark.parametrize("touched", [False, True])
def test_other_rules_need_no_other_store(tmp_path: Path, touched: bool) -> None:
    frame = zones()
    store = build(tmp_path / "zones.zarr", frame, all_touched=not touched)
    table = zr.zonal_stats(store, stats="pixels", pixels="touched" if touched else "centre")
    right = [
        geometry_mask([shape], GRID.shape, GRID.transform, invert=True, all_touched=touched).sum()
        for shape in frame.geometry
    ]
    assert table["pixels"].tolist() == right
    own = zr.zonal_stats(store, stats="pixels", pixels="centre" if touched else "touched")
    pd.testing.assert_frame_equal(own, zr.zonal_stats(store, stats="pixels"))


def test_rings_that_cross_themselves_are_even_odd_and_named_in_the_audit(tmp_path: Path) -> None:
    west, south, _, _ = GRID.bounds
    step = float(GRID.resolution[0])
    bow = np.array([(1.0, 1.0), (9.0, 7.0), (9.0, 1.0), (1.0, 7.0)]) * step + (west, south)
    frame = geopandas.GeoDataFrame(
        {"name": ["bow", "box"]},
        geometry=[shapely.Polygon(bow), shapely.box(west, south, west + step, south + step)],
        crs=GRID.crs,
    )
    store = build(tmp_path / "z", frame)
    table = zr.zonal_stats(store, stats="pixels", pixels="fraction")
    assert table.attrs["audit"]["zones_crossing_themselves"] == ["bow"]
    # Two lobes of 12 pixels each, which meet on a corner of four pixels.
    assert table["pixels"].tolist() == pytest.approx([24, 1])
    clean = build(tmp_path / "clean", frame.iloc[1:])
    audit = zr.zonal_stats(clean, stats="pixels", pixels="fraction").attrs["audit"]
    assert "zones_crossing_themselves" not in audit


@pytest.mark.parametrize("key", ["name", "number"])
def test_rings_that_cross_themselves_have_the_area_of_the_valid_polygon(
    tmp_path: Path, key: str
) -> None:
    rng, (west, south, east, north) = np.random.default_rng(2), GRID.bounds
    at = rng.uniform((west + 300, south + 300), (east - 300, north - 300), (30, 1, 2))
    rings = at + rng.uniform(-1, 1, (30, 7, 2)) * 10 ** rng.uniform(1, 2.4, (30, 1, 1))
    shapes = shapely.polygons(rings)
    right = shapely.make_valid(shapes)
    assert (~shapely.is_valid(shapes)).sum() > 20
    # A whole pixel of the first two: a bow tie in it, whose mean winding is 0.
    bow = np.array([(0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)]) * 100 + (west, south)
    shapes, right = ([shapely.Polygon(bow), *of] for of in (shapes, right))
    right[0] = shapely.make_valid(right[0])
    columns = {"name": [f"z{i}" for i in range(31)], "number": 7 * np.arange(31)}
    frame = geopandas.GeoDataFrame({**columns, "group": 0}, geometry=shapes, crs=GRID.crs)
    store = tmp_path / "zones.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zr.ZonerasterWarning)
        zr.build(frame, store, grid=GRID, key=key, chunks=16)
    table = zr.zonal_stats(store, raster(heights()), stats=["pixels", "sum"], pixels="fraction")
    areas_of = shapely.area(np.array(right)) / 1e4
    assert table["pixels"].to_numpy() == pytest.approx(areas_of, abs=1e-9)
    repaired = frame.set_geometry(right, crs=GRID.crs)
    found = exact(heights(), repaired, ["sum"])["sum"].to_numpy()
    assert np.allclose(table["sum"], found, rtol=1e-5, atol=1e-2)
    at_once = zr.zonal_stats(frame, raster(heights()), key=key, stats="pixels", pixels="fraction")
    assert at_once["pixels"].to_numpy() == pytest.approx(areas_of, abs=1e-9)
    united = zr.zonal_stats(store, stats="pixels", pixels="fraction", roll_up="group")
    assert united["pixels"].item() == pytest.approx(shapely.union_all(right).area / 1e4, abs=1e-9)
    cells = zr.cells(store, pixels="fraction").read_pandas()
    total = ((cells.col1 - cells.col0) * cells.fraction).groupby(cells.zone_id).sum()
    assert sorted(total) == pytest.approx(sorted(areas_of), abs=1e-9)


def test_what_has_no_parts_says_so(store: Path, tmp_path: Path) -> None:
    with pytest.raises(zr.OptionError, match="pixels must be one of centre, touched, fraction"):
        zr.zonal_stats(store, pixels="half")  # type: ignore[arg-type]
    with pytest.raises(zr.OptionError, match="zones='owned' has the pixels of the array"):
        zr.zonal_stats(store, pixels="fraction", zones="owned")
    small = build(tmp_path / "small.zarr", zones(), min_pixels=1)
    with pytest.raises(zr.StoreError, match="min_pixels=1"):
        zr.zonal_stats(small, pixels="fraction")
    own = zr.Stat("own", tuple, lambda s, x, a: s, lambda s, t: s, lambda s: 0.0)
    with pytest.raises(zr.ValuesError, match="'own' is of your own and gets whole pixels"):
        zr.zonal_stats(store, raster(heights()), stats=own, pixels="fraction")
    array = raster(np.ones(GRID.shape, "u1"), name="zone")
    array.to_dataset().to_zarr(tmp_path / "array.zarr", consolidated=False)
    with pytest.raises(zr.StoreError, match="array of zones without a plan"):
        zr.zonal_stats(tmp_path / "array.zarr", pixels="fraction")


def test_the_command_line_has_them_too(store: Path, tmp_path: Path) -> None:
    raster(heights()).to_dataset().to_zarr(tmp_path / "v.zarr", consolidated=False)
    arguments = ["stats", str(store), str(tmp_path / "v.zarr"), "--pixels", "fraction"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert f"covered     {f'{areas().sum():,.3f}':>18}" in result.output


# ---- weighted quantiles --------------------------------------------------------------------------


def by_cells(values: Array, weights: Array, q: float) -> float:
    """The formula, one cell after the other."""
    order = np.lexsort((weights, values))
    x, w, n = values[order], weights[order], values.size
    s = np.array([i * w[i] + (n - 1) * w[:i].sum() for i in range(n)])
    return float(np.interp(q * (n - 1) * w.sum(), s, x))


@settings(max_examples=200)
@given(st.data())
def test_weighted_quantiles_are_those_of_their_cells(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    group = np.sort(rng.integers(0, 3, data.draw(st.integers(1, 40))))
    values = rng.integers(0, data.draw(st.sampled_from([2, 6, 1000])), group.size)
    weights = rng.choice([0.25, 0.5, 1.0, rng.random() + 1e-3], group.size)
    q = data.draw(st.sampled_from([0.0, 0.1, 0.5, 0.75, 1.0]))
    pairs = pairs_of(group, values, weights, np.ones(group.size, np.int64), 4)
    found = weighted_quantile(Counted(pairs, np.dtype("int32")), q)
    for g in range(4):
        own = group == g
        if not own.any():
            assert np.isnan(found[g])
            continue
        assert found[g] == pytest.approx(by_cells(values[own], weights[own], q), abs=1e-9)
        same = weighted_quantile(
            Counted(
                pairs_of(
                    np.zeros(own.sum(), np.int64), values[own],
                    np.full(own.sum(), 0.3), np.ones(own.sum(), np.int64), 1,
                ),
                np.dtype("int32"),
            ),
            q,
        )  # fmt: skip
        assert same[0] == pytest.approx(np.quantile(values[own], q), abs=1e-9)
