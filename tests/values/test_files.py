"""Raster files against rasterio itself."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from tests.values.samples import (
    GRID,
    WHOLE,
    WIDTH,
    check_reading,
    every,
    pixels,
    windows,
    write_tif,
)
from zoneraster._values.open import open_raster
from zoneraster._values.raster import Raster
from zoneraster.errors import ValuesError


def test_raster_files_read_like_rasterio(tmp_path: Path) -> None:
    source = pixels(3)
    opened = open_raster(write_tif(tmp_path / "loss.tif", source, nodata=7))
    assert (opened.name, opened.nodata, opened.grid, opened.units) == ("loss", 7, GRID, None)
    assert (opened.dims, opened.coords[0].tolist()) == (("band",), [1, 2, 3])
    assert opened.chunks[1:] == (16, 32)
    check_reading(opened, source)
    second = open_raster(Raster(tmp_path / "loss.tif", band=2, units="ha"))
    assert (second.name, second.dims, second.units) == ("loss", (), "ha")
    check_reading(second, source[1])


def test_a_raster_file_is_read_by_threads_at_once(tmp_path: Path) -> None:
    source = pixels(3)
    opened = open_raster(write_tif(tmp_path / "a.tif", source, compress="deflate"))
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(lambda window: every(opened, window), windows(100)))
    for window, block in zip(windows(100), blocks, strict=True):
        assert np.array_equal(block, source[(..., *window.slices)])


def test_a_raster_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    opened = open_raster(write_tif(path, pixels()))
    before = opened.identity(WHOLE)
    every(opened)
    path.unlink()
    write_tif(path, pixels(seed=2))
    os.utime(path, ns=(1, 1))
    assert np.array_equal(every(opened), pixels(seed=2))
    assert opened.identity(WHOLE) != before


def test_a_mask_and_an_alpha_band_become_nodata(tmp_path: Path) -> None:
    source = pixels(3, dtype="uint8")
    source[2] = np.where(np.arange(WIDTH) < 30, 0, 255)
    path = write_tif(tmp_path / "alpha.tif", source)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.alpha]
    opened = open_raster(path)
    assert (opened.dtype, opened.nodata, opened.coords[0].tolist()) == (np.int16, -(2**15), [1, 2])
    expected = np.where(source[2] > 0, source[:2].astype(np.int16), -(2**15))
    check_reading(opened, expected)
    assert every(open_raster(Raster(path, band=3))).max() == 255

    for dtype, nodata in (("uint16", -(2**31)), ("float32", np.nan)):
        path = write_tif(tmp_path / f"{dtype}.tif", pixels(dtype=dtype))
        with rasterio.open(path, "r+") as file:
            file.write_mask(source[2])
        expected = np.where(source[2] > 0, pixels().astype(np.float64), nodata)
        assert np.array_equal(every(open_raster(path)), expected, equal_nan=True)
    declared = open_raster(Raster(path.replace("float32", "uint16"), nodata=9))
    assert (declared.dtype, declared.nodata) == (np.uint16, 9)
    assert (every(declared)[:, :30] == 9).all()


def test_what_is_no_raster_is_refused_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text('<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    with pytest.raises(ValuesError, match=r"a\.tif is a VRT without bands"):
        open_raster(path)
    path.write_text("no raster")
    with pytest.raises(ValuesError, match=r"a\.tif: cannot be opened.*GTiff"):
        open_raster(path)


def test_a_truncated_file_is_named_with_its_window(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tif(path, pixels())
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValuesError, match=r"a\.tif: cannot read Window\(row0=0, row1=40.*damaged"):
        every(open_raster(path))


def test_bands_that_differ_need_a_choice(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", pixels(2))
    with rasterio.open(path, "r+") as file:
        file.scales = (1.0, 0.5)
    with pytest.raises(ValuesError, match=r"bands differ in scale \(1.0, 0.5\): choose one"):
        open_raster(path)
    assert open_raster(Raster(path, band=2)).dtype == np.float64
