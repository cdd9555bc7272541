"""Arrays of xarray: in memory, backed by dask, opened lazily."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from tests.values.samples import (
    CORNER,
    HEIGHT,
    TIMES,
    WHOLE,
    WIDTH,
    array,
    check_reading,
    dataset,
    every,
    lazy,
    pixels,
    write_tif,
    write_zarr,
)
from zoneraster._grid.windows import Window
from zoneraster._values.open import open_raster, open_rasters
from zoneraster._values.raster import Raster


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numpy", "dask", "lazy", "turned", "turned dask", "turned lazy"])
def test_arrays_of_every_kind_read_like_xarray(tmp_path: Path, kind: str) -> None:
    source = dataset(nodata=5).set_coords("spatial_ref")["tcd"]
    if "lazy" in kind:
        turned = source.to_dataset().transpose("x", "time", "y") if "turned" in kind else None
        path = str(tmp_path / "a.zarr")
        (source.to_dataset() if turned is None else turned).to_zarr(path, consolidated=False)
        given = lazy(path) if turned is None else xr.open_zarr(path, consolidated=False)["tcd"]
    else:
        given = source.transpose("x", "time", "y") if "turned" in kind else source
        given = given.chunk(y=7, x=11, time=1) if "dask" in kind else given
    opened = open_raster(given)
    assert (opened.name, opened.nodata, opened.dims) == ("tcd", 5, ("time",))
    check_reading(opened, source.values)


def test_arrays_have_the_chunks_of_dask_or_of_their_encoding(tmp_path: Path) -> None:
    assert open_raster(array()).chunks == (1, HEIGHT, WIDTH)
    assert open_raster(array().chunk(time=2, y=7, x=11)).chunks == (2, 7, 11)
    path = write_zarr(tmp_path / "a.zarr", dataset())
    assert open_raster(lazy(path)).chunks == (1, 10, 20)
    large = xr.DataArray(
        np.broadcast_to(np.uint8(1), (5000, 9000)), dims=("y", "x"),
        attrs={"crs": "EPSG:4326", "spatial:transform": [0.01, 0, 0, 0, -0.01, 50]},
    )  # fmt: skip
    assert open_raster(large).chunks == (4000, 4000)


def test_what_is_shipped_is_as_small_as_its_window(tmp_path: Path) -> None:
    large = xr.DataArray(
        np.random.default_rng(1).random((1000, 1000)),
        {"y": 50 - np.arange(1000) * 0.01, "x": 10 + np.arange(1000) * 0.01},
        ("y", "x"),
        attrs={"crs": "EPSG:4326"},
    )
    window = Window(100, 110, 200, 210)
    for given in (large, large.chunk(y=100, x=100)):
        shipped = open_raster(given).narrowed(window)
        # A dask chunk of 100 x 100 float64 is 80 kB.
        assert len(pickle.dumps(shipped)) < 100_000
        assert np.array_equal(every(shipped, window), large.values[window.slices])
        part = Window(102, 104, 205, 210)
        again = pickle.loads(pickle.dumps(shipped.narrowed(part)))
        assert np.array_equal(every(again, part), large.values[part.slices])


def test_decoded_data_have_nan_and_no_nodata(tmp_path: Path) -> None:
    source = dataset(_FillValue=np.int16(7))
    path = write_zarr(tmp_path / "a.zarr", source)
    decoded = xr.open_zarr(path, consolidated=False).set_coords("spatial_ref")["tcd"]
    opened = open_raster(decoded)
    assert opened.nodata is None
    assert np.isnan(every(opened)).sum() == (source["tcd"].values == 7).sum()


def test_a_band_of_size_one_is_no_dimension_but_a_time_is(tmp_path: Path) -> None:
    source = pixels(1)
    banded = array(source[0]).expand_dims(band=[1])
    assert open_raster(banded).dims == ()
    check_reading(open_raster(banded), source[0])
    check_reading(open_raster(Raster(banded.chunk(), band=1)), source[0])
    timed = array(source[0]).expand_dims(time=TIMES[:1])
    assert open_raster(timed).dims == ("time",)
    zarr = str(tmp_path / "a.zarr")
    banded.to_dataset().to_zarr(zarr, consolidated=False)
    check_reading(open_raster(zarr), source[0])
    assert open_raster(zarr).identity(CORNER)
    several = xr.concat([banded, banded.assign_coords(band=[5])], "band")
    assert open_raster(several).coords[0].tolist() == [1, 5]
    assert open_raster(Raster(several, band=5)).dims == ()


def test_what_rioxarray_opens_is_read(tmp_path: Path) -> None:
    import rioxarray

    source = pixels(dtype="uint8")
    path = write_tif(tmp_path / "tcd.tif", source, nodata=7)
    plain, masked = (rioxarray.open_rasterio(path, masked=flag) for flag in (False, True))
    assert (open_raster(plain).dtype, open_raster(plain).nodata) == (np.uint8, 7)
    check_reading(open_raster(plain), source)
    check_reading(open_raster(masked), np.where(source == 7, np.nan, source))
    given = xr.open_dataset(path, engine="rasterio")
    assert [opened.name for opened in open_rasters(given)] == ["tcd"]
    assert open_raster(given["band_data"]).name == "tcd"


def test_coordinates_are_dates_numbers_texts_or_counted() -> None:
    labelled = array(pixels(3)).assign_coords(time=np.array(["a", "b", "c"], object))
    assert open_raster(labelled).coords[0].dtype == np.dtype("<U1")
    counted = array(pixels(3)).drop_vars("time")
    assert open_raster(counted).coords[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("chunks", [None, 10])
def test_identity_of_an_array_changes_with_the_pixels_of_the_window(chunks: int | None) -> None:
    one, other = pixels(), pixels()
    other[30, 30] += 1

    def identity(values: npt.NDArray[Any], window: Window) -> bytes:
        given = array(values)
        return open_raster(given if chunks is None else given.chunk(y=chunks)).identity(window)

    if chunks is None:  # a graph has the name of the whole array in it
        assert identity(one, CORNER) == identity(other, CORNER)
    assert identity(one, CORNER) == identity(one.copy(), CORNER)
    assert identity(one, WHOLE) != identity(other, WHOLE)
