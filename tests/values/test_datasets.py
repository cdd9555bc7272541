"""NetCDF by path, zipped Zarr, groups below a root, and bare arrays: the same pixels each time."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import zarr

from tests.values.samples import (
    CORNER,
    GRID,
    TIMES,
    array,
    check_reading,
    dataset,
    every,
    pixels,
    write_zarr,
)
from zoneraster._values.open import open_raster, open_rasters, place_of
from zoneraster._values.opened import OpenRaster
from zoneraster._values.raster import Raster
from zoneraster.errors import ValuesError, ZonerasterWarning

TRANSFORM = tuple(GRID.transform)[:6]


# ---- NetCDF ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nc", ".nc4", ".h5"])
def test_netcdf_reads_as_the_dataset_does(tmp_path: Path, suffix: str) -> None:
    values = pixels(3)
    path = tmp_path / f"cover{suffix}"
    given = dataset(values, scale_factor=0.5, _FillValue=7)
    given.to_netcdf(path, encoding={"tcd": {"chunksizes": (1, 10, 20), "zlib": True}})
    opened = open_raster(path)
    assert (opened.name, opened.dims, opened.chunks) == ("cover", ("time",), (1, 10, 20))
    assert (opened.grid, opened.units) == (GRID, "%")
    assert np.array_equal(opened.coords[0], TIMES)
    check_reading(opened, np.where(values == 7, np.nan, values * 0.5))
    assert open_raster(Raster(path, variable="tcd")).name == "tcd"
    assert place_of(opened) is not None


def test_south_up_netcdf_is_turned_and_text_is_skipped(tmp_path: Path) -> None:
    values = pixels()
    given = dataset(values).isel(y=slice(None, None, -1))
    given["note"] = (("y", "x"), np.full(GRID.shape, "a", object))
    given["two"] = given["tcd"] + 1
    given.to_netcdf(tmp_path / "v.nc")
    with pytest.warns(ZonerasterWarning, match="variables of text are left out: note"):
        found = {opened.name: opened for opened in open_rasters(tmp_path / "v.nc")}
    assert [*found] == ["tcd", "two"]
    check_reading(found["tcd"], values)
    check_reading(found["two"], values + 1)


def test_groups_of_netcdf_are_named_in_the_variable(tmp_path: Path) -> None:
    dataset(pixels()).to_netcdf(tmp_path / "v.nc", group="deep/down")
    check_reading(open_raster(Raster(tmp_path / "v.nc", variable="deep/down/tcd")), pixels())
    with pytest.raises(ValuesError, match="has no variable with rows and columns"):
        open_raster(tmp_path / "v.nc")


def test_netcdf_changes_its_identity_with_the_file_and_comes_in_tiles(tmp_path: Path) -> None:
    values = pixels()
    parts = {"a": slice(0, 16), "b": slice(16, 40)}
    for name, rows in parts.items():
        dataset(values).isel(y=rows).to_netcdf(tmp_path / f"{name}.nc")
    opened = open_raster([tmp_path / f"{name}.nc" for name in parts])
    check_reading(opened, values)
    before = opened.quick_identity(CORNER)
    dataset(values + 1).isel(y=parts["a"]).to_netcdf(tmp_path / "new.nc")
    (tmp_path / "new.nc").replace(tmp_path / "a.nc")
    again = open_raster([tmp_path / f"{name}.nc" for name in parts])
    assert again.quick_identity(CORNER) != before is not None


def test_what_cannot_be_opened_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v.grib").write_bytes(b"GRIB")
    (tmp_path / "v.nc").write_bytes(b"no netcdf")
    with pytest.raises(ValuesError, match=r"v\.nc: cannot be opened by xarray's engine"):
        open_raster(tmp_path / "v.nc")
    with pytest.raises(ValuesError, match="no such file"):
        open_raster(tmp_path / "w.nc")
    with pytest.raises(ValuesError, match="are read from disk: download it"):
        open_raster("https://127.0.0.1:9/v.nc")
    with pytest.raises(ValuesError, match="takes no storage options"):
        open_raster(Raster(tmp_path / "v.nc", storage_options={"anon": True}))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match="needs cfgrib: pip install cfgrib"):
        open_raster(tmp_path / "v.grib")
    with pytest.raises(ImportError, match="needs netCDF4 or h5netcdf: pip install netCDF4"):
        open_raster(tmp_path / "v.nc")


# ---- zipped Zarr -------------------------------------------------------------------------------


@pytest.mark.skipif(
    tuple(map(int, zarr.__version__.split(".")[:3])) < (3, 1, 6), reason="zarr opens no zip by URL"
)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("folder", [None, "v.zarr"])
def test_a_zipped_zarr_reads_as_the_folder_does(
    tmp_path: Path, zarr_format: int, folder: str | None
) -> None:
    values = pixels(3)
    path = write_zarr(tmp_path / "v.zarr", dataset(values), zarr_format=zarr_format)
    packed = shutil.make_archive(str(tmp_path / "p"), "zip", tmp_path if folder else path, folder)
    opened = open_raster(packed)
    assert opened.assumed() == open_raster(path).assumed()
    check_reading(opened, values)
    before = opened.quick_identity(CORNER)
    assert before is not None
    write_zarr(tmp_path / "w.zarr", dataset(values + 1), zarr_format=zarr_format)
    shutil.make_archive(str(tmp_path / "p"), "zip", tmp_path / "w.zarr")
    assert open_raster(packed).quick_identity(CORNER) != before


def test_a_store_of_zarr_is_read_itself(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "v.zarr", dataset(pixels(3), _FillValue=3))
    opened = open_raster(zarr.storage.LocalStore(path))
    assert opened.nodata == 3
    check_reading_unhashed(opened, pixels(3))
    memory = zarr.storage.MemoryStore()
    dataset(pixels()).to_zarr(memory, group="deep", consolidated=False)
    with pytest.raises(ValuesError, match="holds no arrays at its root"):
        open_raster(memory)


def check_reading_unhashed(opened: OpenRaster, expected: Any) -> None:
    assert np.array_equal(every(opened), expected)
    assert opened.quick_identity(CORNER) is None


def test_what_is_no_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.zip").write_bytes(b"no zip")
    with pytest.raises(ValuesError, match="is no zip file"):
        open_raster(tmp_path / "v.zip")


# ---- groups ------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A web server of the folder that lists nothing."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def list_directory(self, path: Any) -> None:
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_group_below_a_consolidated_root_opens_where_nothing_is_listed(
    tmp_path: Path, served: str, zarr_format: Any
) -> None:
    pytest.importorskip("aiohttp")
    values = pixels()
    root = tmp_path / "s.zarr"
    dataset(values).to_zarr(
        root, group="measurements/r10m", zarr_format=zarr_format, consolidated=False
    )
    with pytest.raises(ValuesError, match=r"give the path of one, .*/measurements/r10m"):
        open_raster(root)
    with pytest.raises(ValuesError, match=r"server lists no files.*consolidate_metadata"):
        open_raster(f"{served}/s.zarr")
    zarr.consolidate_metadata(str(root))
    opened = open_raster(f"{served}/s.zarr/measurements/r10m")
    assert opened.name == "r10m"
    assert np.array_equal(every(opened), values)
    assert np.array_equal(every(open_raster(f"{served}/s.zarr/measurements/r10m/tcd")), values)


# ---- bare arrays -------------------------------------------------------------------------------


def test_arrays_lie_where_they_are_said_to() -> None:
    values = pixels(3)
    for given in (values, dask.array.from_array(values, chunks=(1, 10, 20))):
        opened = open_raster(Raster(given, transform=GRID.transform, crs=4326, nodata=5))
        assert (opened.name, opened.grid, opened.nodata) == ("value", GRID, 5)
        assert (opened.dims, opened.coords[0].tolist()) == (("band",), [1, 2, 3])
        assert np.array_equal(every(opened), values)
        second = open_raster(Raster(given, transform=TRANSFORM, crs=4326, band=2))
        assert np.array_equal(every(second), values[1])
    check_reading(open_raster(Raster(values[0], transform=TRANSFORM, crs=4326)), values[0])
    a, b, c, d, e, f = TRANSFORM
    turned = (a, b, c, d, -e, f + 40 * e)
    check_reading(open_raster(Raster(values[0][::-1], transform=turned, crs=4326)), values[0])


def test_masked_pixels_are_no_values() -> None:
    for dtype in ("uint8", "float32"):
        values = pixels(dtype=dtype)
        masked = np.ma.masked_greater(values, 90)
        opened = open_raster(Raster(masked, transform=TRANSFORM, crs=4326))
        found = every(opened)
        is_missing = opened.decoding.is_missing(found)
        assert np.array_equal(is_missing, values > 90)
        assert np.array_equal(found[~is_missing], values[values <= 90])


def test_arrays_without_a_place_are_refused_and_others_have_their_own() -> None:
    with pytest.raises(
        ValuesError, match=r"an array of \(40, 60\) does not say where it lies.*crs"
    ):
        open_raster(pixels())
    with pytest.raises(ValuesError, match="does not say where it lies"):
        open_raster(Raster(pixels(), transform=TRANSFORM))
    with pytest.raises(ValuesError, match="dimensions must be"):
        open_raster(Raster(np.zeros(3), transform=TRANSFORM, crs=4326))
    with pytest.raises(ValuesError, match="a DataArray has its own places"):
        open_raster(Raster(array(), transform=TRANSFORM))
    with pytest.raises(ValuesError, match="for what is opened from a URL"):
        open_raster(Raster(array(), storage_options={"anon": True}))
    assert "secret" not in repr(Raster("s3://b/a.zarr", storage_options={"key": "secret"}))


def test_options_of_a_raster_reach_its_place() -> None:
    import fsspec

    path = "memory://options/v.zarr"
    dataset(pixels()).to_zarr(path, consolidated=False, zarr_format=3)
    opened = open_raster(Raster(path, storage_options={"use_listings_cache": False}))
    assert np.array_equal(every(opened), pixels())
    assert place_of(opened) != place_of(open_raster(path))
    fsspec.filesystem("memory").rm("/options", recursive=True)


def test_datasets_with_text_give_their_numbers_alone() -> None:
    given = dataset(pixels())
    given["name"] = (("y", "x"), np.full(GRID.shape, "a"))
    with pytest.warns(ZonerasterWarning, match="variables of text are left out: name"):
        assert [opened.name for opened in open_rasters(given)] == ["tcd"]
    with pytest.raises(ValuesError, match="which cannot be reduced: turn it into numbers"):
        open_rasters(Raster(given, variable="name"))
