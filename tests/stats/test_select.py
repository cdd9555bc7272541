"""Some zones alone: by key, by attributes, by place; and what is read for them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr

import zoneraster as zr
from tests.samples import GRID, sample_zones
from tests.stats.samples import raster
from zoneraster._stats.runs import forget_opened
from zoneraster._store import read_zone_table
from zoneraster.blobs import Location

STATS = ["count", "sum", "mean", "median", "majority", "pixel_area"]
BOX = shapely.box(0, 0, 3, 3)


@pytest.fixture(scope="module")
def values() -> xr.DataArray:
    return raster(np.random.default_rng(3).integers(0, 90, GRID.shape).astype("int16"), GRID)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("select") / "zones.zarr"
    with pytest.warns(zr.ZonerasterWarning):
        zr.build(frame(), path, grid=GRID, key="fid", chunks=60)
    return path


def frame() -> Any:
    zones = sample_zones(30, seed=5)
    zones["half"] = np.arange(30) % 2
    zones["kind"] = [["wood", "lake", "town"][i % 3] for i in range(30)]
    return zones


SELECTIONS = [
    ([7, 70, 210], [7, 70, 210]),
    (70, [70]),
    ({"kind": "lake"}, [7 * (i + 1) for i in range(30) if i % 3 == 1]),
    ({"kind": ["lake", "town"], "half": 0},
     [7 * (i + 1) for i in range(30) if i % 3 and i % 2 == 0]),
    ({"half": "1"}, [7 * (i + 1) for i in range(1, 30, 2)]),
    (BOX, [k for k, g in zip(frame().fid, frame().geometry, strict=True) if g.intersects(BOX)]),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
@pytest.mark.parametrize("zones", ["claimed", "owned"])
@pytest.mark.parametrize(("select", "keys"), SELECTIONS)
def test_selected_zones_have_what_they_have_among_all(
    select: Any, keys: list[int], zones: Any, store: Path, values: xr.DataArray
) -> None:
    whole = zr.zonal_stats(store, values, zones=zones, stats=STATS)
    found = zr.zonal_stats(store, values, zones=zones, stats=STATS, select=select)
    assert found.index.tolist() == keys
    pd.testing.assert_frame_equal(found, whole.loc[keys], rtol=1e-13)
    assert found.attrs["audit"]["zones_selected"] == len(keys)
    once = zr.zonal_stats(frame(), values, zones=zones, stats=STATS, select=select, key="fid")
    pd.testing.assert_frame_equal(once, found, rtol=1e-13)


@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_groups_are_made_of_selected_zones_alone(store: Path, values: xr.DataArray) -> None:
    zones = frame()
    wanted = zones[zones.kind == "lake"]
    found = zr.zonal_stats(store, values, select={"kind": "lake"}, roll_up="half", stats=STATS)
    alone = zr.zonal_stats(wanted, values, roll_up="half", key="fid", stats=STATS)
    pd.testing.assert_frame_equal(found.sort_index(), alone.sort_index(), rtol=1e-13)
    sevenths = raster(values.values / 7, GRID)
    exact = zr.zonal_stats(
        store, sevenths, select={"kind": "lake"}, roll_up="half",
        stats=["median", "q0.9"], pixels="fraction",
    )  # fmt: skip
    by_hand = zr.zonal_stats(
        wanted, sevenths, roll_up="half", key="fid",
        stats=["median", "q0.9"], pixels="fraction",
    )  # fmt: skip
    pd.testing.assert_frame_equal(exact.sort_index(), by_hand.sort_index(), rtol=1e-13)


def test_only_their_chunks_are_read(store: Path, tmp_path: Path) -> None:
    zones = frame()
    smallest = int(zones.fid[zones.area.idxmin()])
    values = raster(np.ones(GRID.shape, "float32"), GRID).chunk({"y": 60, "x": 60})
    values.attrs.pop("spatial:transform")
    values.to_dataset(name="v").to_zarr(tmp_path / "v.zarr", consolidated=True)
    copy = tmp_path / "zones.zarr"
    shutil.copytree(store, copy)
    whole = zr.zonal_stats(copy, tmp_path / "v.zarr", select=[smallest])
    # What is not read may be damaged.
    window = zones.geometry[zones.fid == smallest].iloc[0].bounds
    rows = {int((10 - y) * 50) // 60 for y in (window[1], window[3])}
    cols = {int(x * 50) // 60 for x in (window[0], window[2])}
    kept = {
        (r, c) for r in range(min(rows), max(rows) + 1) for c in range(min(cols), max(cols) + 1)
    }
    damaged = 0
    for folder in (copy / "zone" / "c", tmp_path / "v.zarr" / "v" / "c"):
        for chunk in folder.rglob("*"):
            if chunk.is_file() and (int(chunk.parent.name), int(chunk.name)) not in kept:
                chunk.write_bytes(b"damaged")
                damaged += 1
    assert damaged > 60
    pd.testing.assert_frame_equal(
        zr.zonal_stats(copy, tmp_path / "v.zarr", select=[smallest]), whole
    )
    with pytest.raises(zr.ZonerasterError):
        zr.zonal_stats(copy, tmp_path / "v.zarr")


@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_the_zone_table_is_read_once(
    store: Path, values: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []

    def counted(location: Location) -> Any:
        read.append(location)
        return read_zone_table(location)

    monkeypatch.setattr("zoneraster._stats.runs.read_zone_table", counted)
    found = zr.zonal_stats(store, values, stats=["count", "mean"], select={"kind": "lake"})
    assert len(found) == 10
    assert len(read) == 1


def n_read() -> int:
    """Bytes that this process has read so far, from files of any kind, whoever asked."""
    said = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(said["rchar"])


def n_stored(place: Path) -> int:
    paths = place.rglob("*") if place.is_dir() else [place]
    return sum(path.stat().st_size for path in paths if path.is_file())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts by /proc")
@pytest.mark.parametrize("form", ["zarr", "tif"])
def test_one_percent_of_the_zones_reads_at_most_three_percent_of_the_bytes(
    form: str, tmp_path: Path
) -> None:
    """Zones that are side by side: 50 x 50 of 160 pixels, of which 5 x 5 are asked for."""
    side, n, width = 8000, 50, 160
    grid = zr.Grid("EPSG:32633", (10, 0, 500_000, 0, -10, 80_000), (side, side))
    noise = np.random.default_rng(1).integers(0, 2**16, grid.shape, np.uint16)
    place, zones = tmp_path / f"values.{form}", tmp_path / "zones.parquet"
    if form == "zarr":
        array = raster(noise, grid).chunk({"y": 400, "x": 400})
        array.to_dataset(name="value").to_zarr(place, consolidated=False)
    else:
        with rasterio.open(
            place, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint16",
            crs=32633, transform=grid.transform, tiled=True, blockxsize=128, blockysize=128,
            compress="zstd",
        ) as file:  # fmt: skip
            file.write(noise, 1)
    row, col = (at.ravel() for at in np.indices((n, n)))
    west, north = 500_000 + 10 * width * col, 80_000 - 10 * width * row
    shapes = shapely.box(west, north - 10 * width, west + 10 * width, north)
    table = geopandas.GeoDataFrame({"row": row, "col": col}, geometry=shapes, crs=32633)
    table.to_parquet(zones)
    zr.build(zones, tmp_path / "zones.zarr", grid=grid, chunks=400)
    of_zones = noise.reshape(n, width, n, width).swapaxes(1, 2)
    # Elsewhere each time, as files are cached.
    for first, given in ((21, tmp_path / "zones.zarr"), (31, zones)):
        # What is imported and opened once is not counted.
        zr.zonal_stats(given, place, stats=STATS, select={"row": [1], "col": [1]})
        forget_opened()
        before, near = n_read(), range(first, first + 5)
        found = zr.zonal_stats(given, place, stats=STATS, select={"row": near, "col": near})
        share = (n_read() - before) / (n_stored(place) + n_stored(given))
        assert 0.01 <= share <= 0.03
        of_some = of_zones[first : first + 5, first : first + 5].reshape(25, -1)
        assert found["sum"].tolist() == of_some.sum(axis=1, dtype="int64").tolist()
        assert found["median"].tolist() == np.median(of_some, axis=1).tolist()


@pytest.mark.parametrize(
    ("select", "text"),
    [
        ([7, 8], r"select= asks for fid=8, which no zone has: did you mean|there are"),
        ({"kimd": "lake"}, "column 'kimd', which the zones do not have: did you mean 'kind'"),
        ({"kind": "lakes"}, r"kind=lakes, which no zone has: did you mean 'lake'\?"),
        ({"half": "some"}, r"compares column 'half' \(int64\) with \['some'\]"),
        ({"kind": "lake", "fid": 7}, r"no zone has all of select="),
        ({}, "names no column"),
        (shapely.box(50, 50, 60, 60), r"no zone meets select=\(50.0, 50.0, 60.0, 60.0\)"),
    ],
)
def test_what_no_zone_has_is_told(
    select: Any, text: str, store: Path, values: xr.DataArray
) -> None:
    with pytest.raises(zr.ZonesError, match=text):
        zr.zonal_stats(store, values, select=select)
