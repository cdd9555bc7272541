"""A raster in tiles gives the table of the same raster in one file, to the last bit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner

import zoneraster as zr
from tests.samples import sample_zones
from zoneraster.cli import main
from zoneraster.output import stats_text

GRID = zr.Grid.from_bounds((0, 0, 12, 12), "1/24")
STEP = 1 / 24
SIDE = 48  # 36 tiles
STATS = ["count", "sum", "mean", "std", "min", "max", "median", "q0.9", "majority", "variety"]


def write(path: Path, values: npt.NDArray[Any], row: int, col: int, **profile: Any) -> Path:
    transform = Affine(STEP, 0, col * STEP, 0, -STEP, 12 - row * STEP)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=values.shape[0], width=values.shape[1],
        dtype=values.dtype, crs=4326, transform=transform, tiled=True, blockxsize=16,
        blockysize=16, **profile,
    ) as file:  # fmt: skip
        file.write(values, 1)
    return path


def write_tiles(folder: Path, values: npt.NDArray[Any], **profile: Any) -> list[Path]:
    folder.mkdir()
    starts = range(0, GRID.width, SIDE)
    return [
        write(
            folder / f"{row:03}_{col:03}.tif", values[row : row + SIDE, col : col + SIDE],
            row, col, **profile,
        )
        for row, col in itertools.product(starts, starts)
    ]  # fmt: skip


def values_of(dtype: str) -> npt.NDArray[Any]:
    rng = np.random.default_rng(5)
    return (rng.gamma(2.0, 20.0, GRID.shape) % 200).astype(dtype)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with pytest.warns(zr.ZonerasterWarning):
        zr.build(sample_zones(), tmp_path / "s.zarr", grid=GRID, key="fid", chunks=64)
    return tmp_path / "s.zarr"


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert one.attrs["audit"]["measures"] == other.attrs["audit"]["measures"]


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 3), ("int16", None), ("float32", -1)])
def test_36_tiles_are_the_same_as_one_file_medians_included(
    tmp_path: Path, store: Path, dtype: str, nodata: float | None
) -> None:
    values = values_of(dtype)
    paths = write_tiles(tmp_path / "v", values, nodata=nodata)
    assert len(paths) == 36
    one = write(tmp_path / "v.tif", values, 0, 0, nodata=nodata)
    by = write_tiles(tmp_path / "by", (values // 60).astype("uint8"))
    flat = write(tmp_path / "flat.tif", (values // 60).astype("uint8"), 0, 0)
    folder, pattern = tmp_path / "v", str(tmp_path / "v" / "*.tif")
    zones = sample_zones().set_index("fid")
    for given, tiles in ((store, paths), (store, folder), (zones, pattern)):
        same(zr.zonal_stats(given, tiles, stats=STATS), zr.zonal_stats(given, one, stats=STATS))
    same(
        zr.zonal_stats(store, paths, stats=STATS, by={"class": by}, pixels="fraction"),
        zr.zonal_stats(store, one, stats=STATS, by={"class": flat}, pixels="fraction"),
    )
    stats = ["weighted_mean", "weight_sum"]
    same(
        zr.zonal_stats(store, paths, stats=stats, weights=tmp_path / "by"),
        zr.zonal_stats(store, one, stats=stats, weights=flat),
    )
    table = zr.zonal_stats(store, one, stats=STATS, where=zr.Raster(flat) >= 1)
    same(zr.zonal_stats(store, paths, stats=STATS, where=zr.Raster(by) >= 1), table)
    assert float(table["median"].iloc[0]) > 0


def test_labels_may_come_in_tiles(tmp_path: Path) -> None:
    labels = (values_of("uint8") // 50).astype("uint8")
    write_tiles(tmp_path / "labels", labels)
    one = write(tmp_path / "labels.tif", labels, 0, 0)
    values = write(tmp_path / "v.tif", values_of("float32"), 0, 0)
    expected = zr.zonal_stats(one, values, stats=STATS)
    folder = tmp_path / "labels"
    for given in (folder, str(folder / "*.tif"), [*folder.iterdir()], zr.Raster(folder)):
        same(zr.zonal_stats(given, values, stats=STATS), expected)


def test_holes_are_counted_in_the_audit_and_in_the_text(tmp_path: Path, store: Path) -> None:
    values = values_of("uint8")
    paths = write_tiles(tmp_path / "v", values)
    missing = np.zeros(GRID.shape, bool)
    for path in (paths[8], paths[20]):
        row, col = map(int, path.stem.split("_"))
        missing[row : row + SIDE, col : col + SIDE] = True
        path.unlink()
    holed = np.where(missing, np.float32(np.nan), values.astype("float32"))
    one = write(tmp_path / "one.tif", holed, 0, 0)
    asked: dict[str, Any] = {"stats": ["count", "sum", "median"], "zones": "owned"}
    table = zr.zonal_stats(store, tmp_path / "v", **asked)
    expected = zr.zonal_stats(store, one, **asked)
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
    audit = table.attrs["audit"]["measures"]["v"]
    inside = zr.open(store)["zone"].values > 0
    assert audit["filled"] == int((missing & inside).sum()) > 0
    assert audit["nodata"] == expected.attrs["audit"]["measures"]["one"]["nodata"]
    assert f"{audit['filled']:,} in chunks that are not stored or where no tile lies" in stats_text(
        table
    )


def test_a_changed_tile_is_all_that_a_checkpoint_does_again(tmp_path: Path, store: Path) -> None:
    paths = write_tiles(tmp_path / "v", values_of("uint8"))
    kept = tmp_path / "kept"

    def call() -> tuple[pd.DataFrame, set[str]]:
        table = zr.zonal_stats(store, tmp_path / "v", stats=STATS, checkpoint=kept)
        return table, {path.name for path in kept.rglob("*.parquet")}

    _, before = call()
    changed = values_of("uint8")[::-1]
    write(paths[0], np.ascontiguousarray(changed[:SIDE, :SIDE]), 0, 0)
    table, after = call()
    assert after != before
    assert len(after & before) > len(after) / 2
    pd.testing.assert_frame_equal(table, zr.zonal_stats(store, tmp_path / "v", stats=STATS))


def test_processes_and_the_command_line_take_tiles(tmp_path: Path, store: Path) -> None:
    paths = write_tiles(tmp_path / "v", values_of("int16"))
    table = zr.zonal_stats(store, paths, stats=STATS)
    same(zr.zonal_stats(store, paths, stats=STATS, executor="processes", workers=2), table)
    said = ["stats", str(store), str(tmp_path / "v" / "*.tif"), "--stats", ",".join(STATS)]
    result = CliRunner().invoke(main, [*said, "--output", str(tmp_path / "t.csv")])
    assert result.exit_code == 0, result.output
    written = pd.read_csv(tmp_path / "t.csv", index_col="fid")
    assert np.array_equal(written["median"], table["median"], equal_nan=True)
