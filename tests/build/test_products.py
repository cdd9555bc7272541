"""Stores of covered parts and of numbers of zones, against polygons cut at pixels."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import rasterio
import shapely
import zarr
from click.testing import CliRunner

import zoneraster as zr
from tests.build.test_sets import masks_of, zones_of
from tests.samples import check_resumes
from zoneraster.cli import main

GRID = zr.Grid.from_bounds((10, 40, 16, 45), "1/10")


def plots(n: int = 60) -> geopandas.GeoDataFrame:
    """Cells that share borders, and small ones apart."""
    rng = np.random.default_rng(3)
    points = shapely.MultiPoint(rng.uniform((10, 42), (14, 45), (n, 2)))
    cells = shapely.get_parts(shapely.voronoi_polygons(points))
    cells = shapely.intersection(cells, shapely.box(10.3, 42.3, 13.7, 44.7))
    small = [shapely.Point(x, 41).buffer(0.03) for x in np.arange(10.2, 16, 0.31)]
    shapes = [*cells[~shapely.is_empty(cells)], *small]
    return geopandas.GeoDataFrame({"plot": range(len(shapes))}, geometry=shapes, crs=4326)


def covered(zones: geopandas.GeoDataFrame) -> npt.NDArray[np.float64]:
    """What the union of the zones covers of each pixel, by GEOS."""
    west, north = np.meshgrid(10 + 0.1 * np.arange(60), 45 - 0.1 * np.arange(50))
    pixels = shapely.box(west, north - 0.1, west + 0.1, north)
    return shapely.area(shapely.intersection(pixels, zones.union_all())) / 0.01


@pytest.mark.parametrize("chunks", [7, 20, 4000])
def test_pixels_are_what_zones_cover_of_them(tmp_path: Path, chunks: int) -> None:
    zones, expected = plots(), covered(plots())
    options: dict[str, Any] = {"grid": GRID, "key": "plot", "chunks": chunks}
    report = zr.build(zones, tmp_path / "cover", product="cover", **options)
    assert report.dtype == "float32"
    cover = zr.open(tmp_path / "cover")["cover"]
    np.testing.assert_allclose(cover.values, expected, rtol=1e-6, atol=1e-7)
    assert cover.dtype == np.float32
    assert "nodata" not in cover.attrs
    zr.build(zones, tmp_path / "percent", product="percent", **options)
    percent = zr.open(tmp_path / "percent")["cover"]
    assert percent.dtype == np.uint8
    np.testing.assert_array_equal(percent.values, np.rint(100 * cover.values.astype(float)))
    for store in (tmp_path / "cover", tmp_path / "percent"):
        assert zr.verify(store, deep=1.0).ok
        np.testing.assert_array_equal(
            zarr.open_array(store / "cover", mode="r")[:], zr.open(store)["cover"].values
        )


@pytest.mark.parametrize("all_touched", [False, True])
def test_pixels_are_how_many_zones_claim_them(tmp_path: Path, all_touched: bool) -> None:
    zones, store = zones_of(40, 3), tmp_path / "z.zarr"
    zr.build(
        zones, store, grid=GRID, key="park", product="count", all_touched=all_touched, chunks=16
    )
    count = zr.open(store)["count"]
    if not all_touched:
        np.testing.assert_array_equal(count.values, sum(map(np.int64, masks_of(zones).values())))
    assert count.dtype == np.uint16
    assert count.values.sum() == zr.zones(store)["claimed"].sum()
    assert count.values.max() >= 3
    assert zr.verify(store, deep=1.0).ok


@pytest.mark.parametrize("product", ["cover", "count"])
def test_what_is_killed_goes_on_and_what_changes_is_burned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: str
) -> None:
    zones, changed = plots(), plots().iloc[5:]
    options: dict[str, Any] = {
        "grid": GRID, "key": "plot", "product": product, "chunks": 9, "executor": "serial",
    }  # fmt: skip

    def build(store: Path) -> None:
        zr.build(zones, store, **options)

    build(tmp_path / "whole")
    zr.build(changed, tmp_path / "changed", **options)
    check_resumes(monkeypatch, build, tmp_path / "whole", range(1, 60, 9))
    report = zr.build(changed, tmp_path / "whole", key="plot")
    assert report.kept > 0
    np.testing.assert_array_equal(
        zr.open(tmp_path / "whole")[product].values, zr.open(tmp_path / "changed")[product].values
    )


def test_statistics_and_other_readers_take_such_stores(tmp_path: Path) -> None:
    zones, stores = plots(), {}
    for product in ("ids", "cover", "percent", "count"):
        stores[product] = tmp_path / product
        zr.build(zones, stores[product], grid=GRID, key="plot", product=product, chunks=20)
    tables = [zr.zonal_stats(store, stats=["pixels", "area"]) for store in stores.values()]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])
    # The cover as values of other zones.
    table = zr.zonal_stats(stores["ids"], stores["cover"], stats=["mean"], pixels="fraction")
    inner = table["mean"].iloc[:60].max()
    assert inner == pytest.approx(1, abs=1e-6)
    if sys.version_info >= (3, 12):  # GDAL 3.12 comes with rasterio 1.5 only
        with rasterio.open(f'ZARR:"{stores["cover"]}":/cover') as opened:
            np.testing.assert_array_equal(opened.read(1), zr.open(stores["cover"])["cover"].values)


@pytest.mark.parametrize("chunks", [7, 4000])
def test_zones_over_each_other_cover_what_their_union_covers(tmp_path: Path, chunks: int) -> None:
    parks = shapely.make_valid(zones_of(60, 1).geometry.to_numpy())
    # The same again, and two that lie over each other within a pixel only.
    small = [shapely.box(10.42, 44.12, 10.47, 44.17), shapely.box(10.45, 44.14, 10.49, 44.18)]
    shapes = [*parks, *parks[:20], *small]
    zones = geopandas.GeoDataFrame({"park": range(len(shapes))}, geometry=shapes, crs=4326)
    options: dict[str, Any] = {"grid": GRID, "key": "park", "chunks": chunks}
    for product in ("cover", "percent"):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*contested")
            report = zr.build(zones, tmp_path / product, product=product, **options)
        assert report.contested > 0
        # Those without a pixel are those without a centre, whoever lies over them.
        none = zr.zones(tmp_path / product).query("claimed == 0")["park"]
        assert sorted(report.zero_pixel_zones) == sorted(none)
        assert (zr.zones(tmp_path / product)["owned"] == 0).sum() > len(none)
        assert zr.verify(tmp_path / product, deep=1.0).ok
    expected = covered(zones)
    cover = zr.open(tmp_path / "cover")["cover"].values
    np.testing.assert_allclose(cover, expected, rtol=1e-6, atol=1e-7)
    off = np.abs(zr.open(tmp_path / "percent")["cover"].values - 100 * expected)
    assert off.max() <= 0.5 + 1e-6


def test_rings_that_cross_themselves_cover_even_odd(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rings = rng.uniform((10.5, 40.5), (15.5, 44.5), (40, 1, 2)) + rng.uniform(-0.3, 0.3, (40, 6, 2))
    zones = geopandas.GeoDataFrame({"plot": range(40)}, geometry=shapely.polygons(rings), crs=4326)
    options: dict[str, Any] = {"grid": GRID, "key": "plot", "product": "cover", "chunks": 16}
    report = zr.build(zones, tmp_path / "z", executor="processes", workers=2, **options)
    assert any("rings that cross themselves" in said for said in report.warnings)
    expected = covered(zones.set_geometry(zones.make_valid()))
    cover = zr.open(tmp_path / "z")["cover"].values
    np.testing.assert_allclose(cover, expected, rtol=1e-6, atol=1e-7)
    assert zr.verify(tmp_path / "z", deep=1.0).ok


def test_options_that_mean_nothing_for_a_product_are_refused(tmp_path: Path) -> None:
    given: dict[str, Any] = {"grid": GRID, "key": "plot"}
    for product, option in (
        ("cover", {"overlap": "first"}), ("percent", {"all_touched": True}),
        ("count", {"priority": "plot"}), ("count", {"overlap": "sets"}),
        ("cover", {"min_pixels": 1}),
    ):  # fmt: skip
        with pytest.raises(zr.StoreError, match=f"means nothing for product='{product}'"):
            zr.build(plots(), tmp_path / "z", product=product, **given, **option)
    with pytest.raises(zr.StoreError, match="product must be one of ids, cover, percent, count"):
        zr.build(plots(), tmp_path / "z", product="area", **given)
    zr.build(plots(), tmp_path / "z", product="count", **given)
    with pytest.raises(zr.StoreMismatchError, match=r"product +count +cover"):
        zr.build(plots(), tmp_path / "z", product="cover", key="plot")


def test_products_on_the_command_line(tmp_path: Path) -> None:
    plots().to_parquet(tmp_path / "plots.parquet")
    store = str(tmp_path / "plots.zarr")
    words = ["build", str(tmp_path / "plots.parquet"), store, "--key", "plot"]
    words += ["--product", "percent", "--resolution", "1/10", "--bounds", "10,40,16,45"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert zr.open(store)["cover"].max() == 100
