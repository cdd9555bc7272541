"""Value rasters of every kind against xarray and rasterio themselves, and what must be refused."""

from __future__ import annotations

import builtins
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import xarray as xr
from affine import Affine
from pyproj import Transformer
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

from zoneraster._grid.grid import Grid
from zoneraster._grid.windows import Window
from zoneraster._values.open import open_raster, open_rasters
from zoneraster._values.opened import OpenRaster
from zoneraster._values.raster import Raster
from zoneraster._values.resample import METHODS, resampled
from zoneraster.errors import AlignmentError, GridError, ValuesError

HEIGHT, WIDTH = 40, 60
GRID = Grid("EPSG:4326", (0.25, 0, 10, 0, -0.25, 50), (HEIGHT, WIDTH))
CORNER = Window(0, 10, 0, 10)
WHOLE = Window(0, HEIGHT, 0, WIDTH)
TIMES = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "datetime64[ns]")


def pixels(*lanes: int, dtype: Any = "int16", seed: int = 1) -> npt.NDArray[Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 100, (*lanes, HEIGHT, WIDTH)).astype(dtype)


def dataset(
    values: npt.NDArray[Any] | None = None, *, grid: Grid = GRID, **attrs: object
) -> xr.Dataset:
    """A variable `tcd` over time, a 1-D one and the grid mapping, as other tools write it."""
    values = pixels(3) if values is None else values
    dims = ("time", "y", "x")[-values.ndim :]
    coords: dict[str, Any] = {"y": grid.y_centres(), "x": grid.x_centres()}
    if "time" in dims:
        coords["time"] = TIMES
    said = {"grid_mapping": "spatial_ref", "units": "%", **attrs}
    spatial_ref = xr.Variable((), 0, {"crs_wkt": grid.crs.to_wkt()})
    return xr.Dataset(
        {"tcd": (dims, values, said), "spatial_ref": spatial_ref, "row": ("y", grid.y_centres())},
        coords,
    )


def array(values: npt.NDArray[Any] | None = None, **attrs: object) -> xr.DataArray:
    return dataset(values, **attrs).set_coords("spatial_ref")["tcd"]


def write_zarr(
    path: Path | str, opened: xr.Dataset, *, zarr_format: int = 3, sharded: bool = False
) -> str:
    lanes = (1,) * (opened["tcd"].ndim - 2)
    encoding: dict[str, object] = {"chunks": (*lanes, 10, 20)}
    if sharded:
        encoding["shards"] = (*lanes, 20, 40)
    opened.to_zarr(
        str(path), zarr_format=zarr_format, encoding={"tcd": encoding},
        consolidated=zarr_format == 2,
    )  # fmt: skip
    return str(path)


def write_tif(path: Path, values: npt.NDArray[Any], **profile: Any) -> str:
    values = values[None] if values.ndim == 2 else values
    said = {
        "driver": "GTiff", "crs": "EPSG:4326", "transform": GRID.transform, "tiled": True,
        "blockxsize": 32, "blockysize": 16, "dtype": values.dtype, "count": len(values),
        "height": values.shape[1], "width": values.shape[2],
    }  # fmt: skip
    with rasterio.open(path, "w", **{**said, **profile}) as file:
        file.write(values)
    return str(path)


def windows(n: int = 12, *, seed: int = 3) -> list[Window]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        row0, col0 = rng.integers(0, HEIGHT), rng.integers(0, WIDTH)
        row1, col1 = rng.integers(row0, HEIGHT) + 1, rng.integers(col0, WIDTH) + 1
        found.append(Window(int(row0), int(row1), int(col0), int(col1)))
    return found


def every(raster: OpenRaster, window: Window = WHOLE) -> npt.NDArray[Any]:
    return raster.read((slice(None),) * len(raster.dims), window)


def check_reading(raster: OpenRaster, expected: npt.NDArray[Any]) -> None:
    """Windows, shipped or not, are those of the expected array (lanes..., rows, cols)."""
    for window in windows():
        shipped = pickle.loads(pickle.dumps(raster.narrowed(window)))
        for one in (raster, shipped):
            block = every(one, window)
            assert block.dtype == raster.dtype
            assert block.flags.c_contiguous
            assert np.array_equal(block, expected[(..., *window.slices)], equal_nan=True)
    again: OpenRaster = pickle.loads(pickle.dumps(raster))
    assert np.array_equal(every(again), expected, equal_nan=True)
    assert again.grid == raster.grid
    assert again.identity(CORNER) == raster.identity(CORNER)


def lazy(path: str) -> xr.DataArray:
    opened = xr.open_zarr(path, chunks=None, mask_and_scale=False, consolidated=False)
    return opened.set_coords("spatial_ref")["tcd"]


# ---- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("zarr_format", "sharded"), [(2, False), (3, False), (3, True)])
def test_zarr_of_every_format_reads_like_xarray(
    tmp_path: Path, zarr_format: int, sharded: bool
) -> None:
    source = dataset(_FillValue=np.int16(99))
    path = write_zarr(tmp_path / "cover.zarr", source, zarr_format=zarr_format, sharded=sharded)
    raster = open_raster(path)
    assert (raster.name, raster.label, raster.units) == ("cover", path, "%")
    assert (raster.dtype, raster.nodata, raster.grid) == (np.int16, 99, GRID)
    assert (raster.dims, raster.chunks) == (("time",), (1, 10, 20))
    assert np.array_equal(raster.coords[0], TIMES)
    check_reading(raster, source["tcd"].values)
    assert len(pickle.dumps(raster)) < 6000


def test_lanes_are_chosen_by_slices(tmp_path: Path) -> None:
    source = pixels(3)
    paths = write_zarr(tmp_path / "a.zarr", dataset(source)), write_tif(tmp_path / "a.tif", source)
    for opened in (*paths, array(source), array(source).chunk(y=7)):
        block = open_raster(opened).read((slice(1, 3),), CORNER)
        assert np.array_equal(block, source[1:3, :10, :10])


@pytest.mark.parametrize("kind", ["numpy", "dask", "lazy", "turned", "turned dask", "turned lazy"])
def test_arrays_of_every_kind_read_like_xarray(tmp_path: Path, kind: str) -> None:
    source = dataset(nodata=5).set_coords("spatial_ref")["tcd"]
    if "lazy" in kind:
        turned = source.to_dataset().transpose("x", "time", "y") if "turned" in kind else None
        path = str(tmp_path / "a.zarr")
        (source.to_dataset() if turned is None else turned).to_zarr(path, consolidated=False)
        opened = lazy(path) if turned is None else xr.open_zarr(path, consolidated=False)["tcd"]
        given = opened
    else:
        given = source.transpose("x", "time", "y") if "turned" in kind else source
        given = given.chunk(y=7, x=11, time=1) if "dask" in kind else given
    raster = open_raster(given)
    assert (raster.name, raster.nodata, raster.dims) == ("tcd", 5, ("time",))
    check_reading(raster, source.values)


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


def test_raster_files_read_like_rasterio(tmp_path: Path) -> None:
    source = pixels(3)
    raster = open_raster(write_tif(tmp_path / "loss.tif", source, nodata=7))
    assert (raster.name, raster.nodata, raster.grid, raster.units) == ("loss", 7, GRID, None)
    assert (raster.dims, raster.coords[0].tolist()) == (("band",), [1, 2, 3])
    assert raster.chunks[1:] == (16, 32)
    check_reading(raster, source)
    second = open_raster(Raster(tmp_path / "loss.tif", band=2, units="ha"), name="second")
    assert (second.name, second.dims, second.units) == ("second", (), "ha")
    check_reading(second, source[1])


def test_a_raster_file_is_read_by_threads_at_once(tmp_path: Path) -> None:
    source = pixels(3)
    raster = open_raster(write_tif(tmp_path / "a.tif", source, compress="deflate"))
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(lambda window: every(raster, window), windows(100)))
    for window, block in zip(windows(100), blocks, strict=True):
        assert np.array_equal(block, source[(..., *window.slices)])


def test_a_raster_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    raster = open_raster(write_tif(path, pixels()))
    before = raster.identity(WHOLE)
    every(raster)
    path.unlink()
    write_tif(path, pixels(seed=2))
    os.utime(path, ns=(1, 1))
    assert np.array_equal(every(raster), pixels(seed=2))
    assert raster.identity(WHOLE) != before


def test_a_mask_and_an_alpha_band_become_nodata(tmp_path: Path) -> None:
    source = pixels(3, dtype="uint8")
    source[2] = np.where(np.arange(WIDTH) < 30, 0, 255)
    path = write_tif(tmp_path / "alpha.tif", source)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.alpha]
    raster = open_raster(path)
    assert (raster.dtype, raster.nodata, raster.coords[0].tolist()) == (np.int16, -(2**15), [1, 2])
    expected = np.where(source[2] > 0, source[:2].astype(np.int16), -(2**15))
    check_reading(raster, expected)
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


def test_scale_and_offset_are_applied_and_nodata_becomes_nan(tmp_path: Path) -> None:
    source = pixels()
    expected = np.where(source == 7, np.nan, source * 0.5 + 3)
    packed = array(source, scale_factor=0.5, add_offset=3.0, missing_value=7)
    zarr = write_zarr(tmp_path / "a.zarr", packed.to_dataset().reset_coords("spatial_ref"))
    tif = write_tif(tmp_path / "a.tif", source, nodata=7)
    with rasterio.open(tif, "r+") as file:
        file.scales, file.offsets, file.units = (0.5,), (3.0,), ("m",)
    assert open_raster(tif).units == "m"
    for given in (packed, packed.chunk(), zarr, tif):
        raster = open_raster(given)
        assert (raster.dtype, raster.nodata) == (np.float64, None)
        check_reading(raster, expected)
        raw = open_raster(Raster(given, raw=True))
        assert (raw.dtype, raw.nodata) == (np.int16, 7)
        check_reading(raw, source)


def test_alert_dates_stay_the_numbers_they_are_stored_as(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", dataset(units="days since 2014-12-31"))
    assert open_raster(path).dtype == np.int16
    assert open_raster(path).units == "days since 2014-12-31"


def test_decoded_data_have_nan_and_no_nodata(tmp_path: Path) -> None:
    source = dataset(_FillValue=np.int16(7))
    path = write_zarr(tmp_path / "a.zarr", source)
    decoded = xr.open_zarr(path, consolidated=False).set_coords("spatial_ref")["tcd"]
    raster = open_raster(decoded)
    assert raster.nodata is None
    assert np.isnan(every(raster)).sum() == (source["tcd"].values == 7).sum()


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("bool", "u1"), ("int8", "i2"), ("uint8", "u1"), (">i4", "i4"), ("uint32", "u4"),
        ("uint64", "i8"), ("int64", "i8"), ("float16", "f4"), (">f8", "f8"), ("float32", "f4"),
    ],
)  # fmt: skip
def test_dtypes_become_those_of_the_reductions(given: str, read: str) -> None:
    source = (pixels() % 2).astype(given)
    raster = open_raster(array(source))
    assert raster.dtype == np.dtype(read)
    assert raster.dtype.isnative
    check_reading(raster, source.astype(read))


def test_uint64_has_nodata_beyond_int64_but_no_values_there() -> None:
    source = pixels(dtype="uint64")
    source[0, 0] = 2**64 - 1
    raster = open_raster(array(source, _FillValue=2**64 - 1))
    assert raster.nodata == -1
    assert every(raster)[0, 0] == -1
    assert every(raster)[1, 1] == source[1, 1]
    with pytest.raises(ValuesError, match="value 18446744073709551615 does not fit int64"):
        every(open_raster(array(source)))


@pytest.mark.parametrize(
    ("dtype", "nodata", "expected"),
    [
        ("uint8", -9999, None), ("uint8", 7.5, None), ("uint8", np.inf, None), ("uint8", 255, 255),
        ("float32", 0.1, float(np.float32(0.1))), ("float32", 1e300, None),
        ("float32", np.nan, None),
        ("float64", -np.inf, -np.inf), ("bool", 2, None), ("int64", -(2**63), -(2**63)),
    ],
)  # fmt: skip
def test_nodata_that_no_pixel_can_hold_is_none(
    dtype: str, nodata: float, expected: float | None
) -> None:
    assert open_raster(Raster(array(pixels(dtype=dtype)), nodata=nodata)).nodata == expected
    assert open_raster(array(pixels(dtype=dtype), _FillValue=nodata)).nodata == expected


def test_rows_that_run_north_are_flipped_when_read(tmp_path: Path) -> None:
    source = pixels()
    upward = array(source).isel(y=slice(None, None, -1))
    upward.coords["spatial_ref"].attrs["GeoTransform"] = "10 0.25 0 40 0 0.25"
    zarr = str(tmp_path / "a.zarr")
    upward.to_dataset().to_zarr(zarr, consolidated=False)
    transform = Affine(0.25, 0, 10, 0, 0.25, 40)
    tif = write_tif(tmp_path / "a.tif", source[::-1], transform=transform)
    for given in (upward, upward.chunk(y=7), zarr, tif):
        raster = open_raster(given)
        assert raster.grid == GRID
        check_reading(raster, source)


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
    opened = xr.open_dataset(path, engine="rasterio")
    assert [raster.name for raster in open_rasters(opened)] == ["tcd"]
    assert open_raster(opened["band_data"]).name == "tcd"


def test_coordinates_are_dates_numbers_texts_or_counted() -> None:
    labelled = array(pixels(3)).assign_coords(time=np.array(["a", "b", "c"], object))
    assert open_raster(labelled).coords[0].dtype == np.dtype("<U1")
    counted = array(pixels(3)).drop_vars("time")
    assert open_raster(counted).coords[0].tolist() == [0, 1, 2]


# ---- names -------------------------------------------------------------------------------------


def test_names_come_from_stems_variables_and_keys(tmp_path: Path) -> None:
    both = dataset(pixels()).assign(gain=lambda opened: opened["tcd"] + 1)
    path = write_zarr(tmp_path / "cover.zarr", both)
    assert [raster.name for raster in open_rasters(path)] == ["gain", "tcd"]
    assert [raster.label for raster in open_rasters(path)] == [f"{path}/gain", f"{path}/tcd"]
    assert [raster.name for raster in open_rasters(both)] == ["tcd", "gain"]
    assert open_raster(Raster(path, variable="gain")).name == "gain"
    assert open_raster(Raster(both, variable="gain")).name == "gain"
    named = open_rasters({"a": path, "b": array(), "c": Raster(path, variable="tcd")})
    assert [raster.name for raster in named] == ["a_gain", "a_tcd", "b", "c"]
    assert [raster.name for raster in open_rasters(both, names=["x", "y"])] == ["x", "y"]
    assert open_raster(array().rename(None)).name == "value"
    assert open_raster(array(), name="other").name == "other"


def test_the_path_of_an_array_within_a_group_chooses_it(tmp_path: Path) -> None:
    for zarr_format in (2, 3):
        path = write_zarr(tmp_path / f"{zarr_format}.zarr", dataset(), zarr_format=zarr_format)
        raster = open_raster(f"{path}/tcd")
        assert (raster.name, raster.label) == ("tcd", f"{path}/tcd")
        assert np.array_equal(every(raster), pixels(3))


def test_another_crs_may_be_given(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", pixels(), crs=None)
    web = Grid("EPSG:3857", GRID.transform, GRID.shape)
    zarr = write_zarr(tmp_path / "a.zarr", dataset(pixels()))
    nameless = array(pixels()).drop_vars("spatial_ref")
    for given in (path, zarr, array(pixels()), nameless):
        assert open_raster(Raster(given, crs="EPSG:3857")).grid == web
    assert open_raster(Raster(dataset(), crs=3857)).grid == web
    assert array().coords["spatial_ref"].attrs["crs_wkt"] == GRID.crs.to_wkt()


# ---- identity ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zarr_format", "sharded", "near"), [(2, False, 10), (3, False, 10), (3, True, 20)]
)
def test_identity_of_a_zarr_changes_with_the_chunks_of_the_window_only(
    tmp_path: Path, zarr_format: int, sharded: bool, near: int
) -> None:
    path = write_zarr(
        tmp_path / "a.zarr", dataset(), zarr_format=zarr_format, sharded=sharded
    )  # fmt: skip
    raster = open_raster(path)
    touched, other = Window(0, near, 0, 20), Window(near, HEIGHT, 0, WIDTH)
    before = raster.identity(touched), raster.identity(other)
    assert open_raster(path).identity(touched) == before[0]
    key = "c/1/0/0" if zarr_format == 3 else "1.0.0"
    os.utime(Path(path) / "tcd" / key, ns=(1, 1))
    assert raster.identity(touched) != before[0]
    assert raster.identity(other) == before[1]
    (Path(path) / "tcd" / key).unlink()
    assert raster.identity(touched) not in (before[0], open_raster(array()).identity(touched))


def test_identity_changes_with_what_gives_pixels_their_meaning(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", dataset())
    tif = write_tif(tmp_path / "a.tif", pixels(2))
    layers = [
        Raster(path), Raster(path, nodata=3), Raster(path, crs=3857), Raster(tif),
        Raster(tif, band=1), Raster(tif, band=2), Raster(array()),
        Raster(array().astype("int32")), Raster(array().chunk()), Raster(array(scale_factor=2.0)),
    ]  # fmt: skip
    assert len({open_raster(layer).identity(CORNER) for layer in layers}) == len(layers)
    assert len({open_raster(path).identity(window) for window in windows()}) == len(windows())


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


def check_remote(url: str, files: Any, chunk: str) -> None:
    """A Zarr behind fsspec: read, shipped, and its identity taken from a listing."""
    raster = open_raster(url)
    assert (raster.name, raster.label, raster.grid) == ("cover", url, GRID)
    check_reading(raster, pixels(3))
    touched, other = Window(0, 10, 0, 20), Window(10, HEIGHT, 0, WIDTH)
    before = raster.identity(touched), raster.identity(other)
    data = files.cat(chunk)
    files.pipe(chunk, data + b"!")
    assert raster.identity(touched) == before[0]  # one listing for each raster that is opened
    again = open_raster(url)
    assert again.identity(touched) != before[0]
    assert again.identity(other) == before[1]


def test_a_zarr_in_memory_of_fsspec_is_read_and_identified() -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    url = write_zarr("memory://values/cover.zarr", dataset())
    check_remote(url, files, "/values/cover.zarr/tcd/c/0/0/0")
    assert open_raster(f"{url}/tcd").name == "tcd"


@pytest.mark.s3
@pytest.mark.slow
def test_a_zarr_and_a_tif_on_s3_are_read_and_identified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"{host}:{port}"
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_S3_ENDPOINT", endpoint)
        monkeypatch.setenv("AWS_HTTPS", "NO")
        monkeypatch.setenv("AWS_VIRTUAL_HOSTING", "FALSE")
        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{endpoint}"})
        s3fs.S3FileSystem.clear_instance_cache()
        files = fsspec.filesystem("s3")
        files.mkdir("values")
        local = write_zarr(tmp_path / "cover.zarr", dataset())
        files.put(local, "values/cover.zarr", recursive=True)
        check_remote("s3://values/cover.zarr", files, "values/cover.zarr/tcd/c/0/0/0")
        files.put(write_tif(tmp_path / "a.tif", pixels()), "values/a.tif")
        raster = open_raster("s3://values/a.tif")
        check_reading(raster, pixels())
        files.put(write_tif(tmp_path / "b.tif", pixels(seed=2)), "values/a.tif")
        assert open_raster("s3://values/a.tif").identity(WHOLE) != raster.identity(WHOLE)
    finally:
        server.stop()


# ---- refusals ----------------------------------------------------------------------------------


def test_several_variables_need_a_choice(tmp_path: Path) -> None:
    both = dataset(pixels()).assign(gain=lambda opened: opened["tcd"] + 1)
    with pytest.raises(ValuesError, match=r"several variables \(tcd, gain\).*variable='tcd'"):
        open_raster(both)
    with pytest.raises(ValuesError, match="has no variable 'loss', its are: tcd, spatial_ref"):
        open_raster(Raster(both, variable="loss"))
    with pytest.raises(ValuesError, match="cannot tell rows from columns in dimensions"):
        open_raster(Raster(both, variable="row"))
    with pytest.raises(ValuesError, match="has no variable with rows and columns"):
        open_rasters(both[["row"]])
    with pytest.raises(ValuesError, match="variable='loss' is for a Dataset"):
        open_raster(Raster(array(), variable="loss"))
    path = write_tif(tmp_path / "a.tif", pixels())
    with pytest.raises(ValuesError, match=r"is a raster file.*by band=1"):
        open_raster(Raster(path, variable="tcd"))
    with pytest.raises(ValuesError, match="has no band 2, its are 1 to 1"):
        open_raster(Raster(path, band=2))
    with pytest.raises(ValuesError, match="has no dimension 'band': leave band=1 away"):
        open_raster(Raster(array(), band=1))
    with pytest.raises(ValuesError, match="has no band 3, its are 1"):
        open_raster(Raster(array().expand_dims(band=[1]), band=3))


def test_names_must_be_one_for_each_raster_and_different() -> None:
    both = dataset().assign(b=lambda opened: opened["tcd"])
    with pytest.raises(ValuesError, match=r"two rasters have the name 'a_b' \(.*give a mapping"):
        open_rasters({"a": both, "a_b": array()})
    with pytest.raises(ValuesError, match="two rasters have the name 'a'"):
        open_rasters(both, names=["a", "a"])
    with pytest.raises(ValuesError, match=r"names=\['a', 'b'\] for 1 rasters \(tcd\)"):
        open_rasters(array(), names=["a", "b"])
    with pytest.raises(ValuesError, match="names='a' for 1 rasters"):
        open_rasters(array(), names="a")


@pytest.mark.parametrize(
    ("values", "cure"),
    [
        (pixels().astype("complex64"), "its real part"),
        (pixels().astype("datetime64[ns]"), r"np.timedelta64\(1, 'D'\)"),
        (pixels().astype("timedelta64[ns]"), "array / np.timedelta64"),
        (pixels().astype(str), r"astype\('float32'\)"),
        (pixels().astype(object), r"astype\('float32'\)"),
    ],
)
def test_what_is_no_number_is_refused_with_the_cure(values: npt.NDArray[Any], cure: str) -> None:
    with pytest.raises(ValuesError, match=f"DataArray 'tcd' holds .*cannot be reduced.*{cure}"):
        open_raster(array(values))


def test_attributes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValuesError, match="attribute _FillValue='none' is not a number"):
        open_raster(array(_FillValue="none"))
    with pytest.raises(ValuesError, match=r"several nodata values \(1, 2\): choose one"):
        open_raster(array(_FillValue=1, missing_value=2))
    with pytest.raises(ValuesError, match="attribute _Unsigned"):
        open_raster(array(_Unsigned="true"))
    with pytest.raises(ValuesError, match="unknown CRS 'EPSG:1'"):
        open_raster(Raster(array(), crs="EPSG:1"))
    assert open_raster(array(_FillValue="7", missing_value=[7])).nodata == 7


def test_a_raster_without_a_usable_grid_is_named(tmp_path: Path) -> None:
    with pytest.raises(GridError, match=r"^DataArray 'tcd': the raster has no CRS"):
        open_raster(array().drop_vars("spatial_ref"))
    path = write_tif(tmp_path / "a.tif", pixels(), crs=None)
    with pytest.raises(GridError, match=r"a\.tif has no CRS: give it, Raster"):
        open_raster(path)
    turned = Affine(0.2, 0.1, 10, 0.1, -0.2, 50)
    with pytest.raises(GridError, match=r"turned\.tif: the transform is rotated"):
        open_raster(write_tif(tmp_path / "turned.tif", pixels(), transform=turned))
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        bare = write_tif(tmp_path / "bare.tif", pixels(), crs=None, transform=None)
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        pytest.raises(GridError, match="is not georeferenced"),
    ):
        open_raster(bare)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("/vsicurl/http://x/a.tif", "virtual paths are not followed"),
        ("zip::s3://bucket/a.tif", "chained URLs"),
        ("ftp://x/a.tif", "cannot open a ftp://"),
        ("s3+zip://x/a.tif", "cannot open a s3"),
        ("memory://x/a.tif", "raster files are not read from memory://"),
        ("missing.tif", "no such file: check the path"),
        ("GTIFF_DIR:1:a.tif", "no such file"),
        ("missing.zarr", "no such file"),
        ("memory://x/missing.zarr", "has no Zarr metadata"),
        (".", "is a folder without Zarr metadata"),
    ],
)
def test_paths_that_lead_elsewhere_or_nowhere_are_refused(source: str, said: str) -> None:
    with pytest.raises(ValuesError, match=said):
        open_raster(source)


def test_credentials_in_a_url_are_refused_and_not_shown() -> None:
    with pytest.raises(ValuesError, match="holds credentials") as caught:
        open_raster("s3://key:secret@bucket/a.tif?signature=abc")
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_a_vrt_is_refused_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text('<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    with pytest.raises(ValuesError, match=r"a\.tif is a VRT.*gdal_translate"):
        open_raster(path)
    path.write_text("no raster")
    with pytest.raises(ValuesError, match=r"a\.tif: cannot be opened.*GTiff"):
        open_raster(path)


def test_something_else_is_no_source() -> None:
    with pytest.raises(ValuesError, match="cannot read values from a int"):
        open_raster(3)  # type: ignore[arg-type]


def test_a_truncated_file_is_named_with_its_window(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tif(path, pixels())
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValuesError, match=r"a\.tif: cannot read Window\(row0=0, row1=40.*damaged"):
        every(open_raster(path))


def test_a_damaged_zarr_is_named_with_its_window(tmp_path: Path) -> None:
    path = Path(write_zarr(tmp_path / "a.zarr", dataset()))
    (path / "tcd" / "c" / "0" / "0" / "0").write_bytes(b"damage")
    with pytest.raises(ValuesError, match=r"a\.zarr: cannot read Window\(row0=0, row1=10"):
        every(open_raster(path), CORNER)
    (path / "tcd" / "zarr.json").write_text('{"zarr_format": 3}')
    with pytest.raises(ValuesError, match=r"a\.zarr: cannot be opened as Zarr"):
        open_raster(path)


def test_a_zarr_array_without_a_group_is_refused(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", dataset())
    shutil.copytree(f"{path}/tcd", tmp_path / "tcd")
    with pytest.raises(ValuesError, match="is a Zarr array without a group"):
        open_raster(tmp_path / "tcd")


def test_bands_that_differ_need_a_choice(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", pixels(2))
    with rasterio.open(path, "r+") as file:
        file.scales = (1.0, 0.5)
    with pytest.raises(ValuesError, match=r"bands differ in scale \(1.0, 0.5\): choose one"):
        open_raster(path)
    assert open_raster(Raster(path, band=2)).dtype == np.float64


def test_without_rasterio_the_pip_line_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tif(tmp_path / "a.tif", pixels())
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("rasterio"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'zoneraster\[raster\]'"):
        open_raster(path)
    with pytest.raises(ImportError, match=r"resampling .* pip install 'zoneraster\[raster\]'"):
        resampled(open_raster(array()), GRID, "nearest")


# ---- on another lattice ------------------------------------------------------------------------

COARSE = Grid("EPSG:4326", (0.7, 0, 9.3, 0, -0.7, 50.9), (17, 25))
METRES = Grid("EPSG:3035", (20_000, 0, 4_200_000, 0, -20_000, 3_100_000), (60, 70))


def small_tiles(raster: OpenRaster, side: int = 8) -> OpenRaster:
    """The same cut into small tiles, so that small windows touch several."""
    from dataclasses import replace

    return replace(raster, pixels=replace(raster.pixels, tile=side))  # type: ignore[type-var]


@pytest.mark.parametrize("grid", [COARSE, METRES], ids=["same CRS", "another CRS"])
@pytest.mark.slow
@pytest.mark.parametrize("method", ["nearest", "average"])
def test_windows_cut_in_any_way_give_the_same_pixels(grid: Grid, method: str) -> None:
    height, width = grid.shape
    raster = small_tiles(resampled(open_raster(array(pixels(), _FillValue=7)), grid, method), 20)
    whole = every(raster, Window(0, height, 0, width))
    rng = np.random.default_rng(4)
    for _ in range(3):
        row, col = int(rng.integers(1, height)), int(rng.integers(1, width))
        for window in (
            Window(0, row, 0, col), Window(0, row, col, width), Window(row, height, 0, col),
            Window(row, height, col, width), Window(row - 1, row, col - 1, col),
        ):  # fmt: skip
            shipped = pickle.loads(pickle.dumps(raster.narrowed(window)))
            for one in (raster, shipped):
                block = every(one, window)
                assert np.array_equal(block, whole[(..., *window.slices)], equal_nan=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grid", [COARSE, METRES], ids=["same CRS", "another CRS"])
def test_tiles_give_what_gdal_gives_at_once(grid: Grid, method: str) -> None:
    source = pixels(dtype="float64")
    profile = {
        "driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 1, "dtype": "float64",
        "crs": "EPSG:4326", "transform": GRID.transform, "nodata": np.nan,
    }  # fmt: skip
    raster = small_tiles(resampled(open_raster(array(source)), grid, method), 500)
    if grid is COARSE:  # elsewhere scales are those of a tile, and differ from one to the next
        raster = small_tiles(raster)
    scales = raster.pixels._scales(Window(0, grid.height, 0, grid.width))  # type: ignore[attr-defined]
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(source, 1)
        with memory.open() as file, WarpedVRT(
            file, crs=grid.crs.to_wkt(), transform=grid.transform, height=grid.height,
            width=grid.width, resampling=Resampling[method], tolerance=1e-9, **scales,
        ) as warped:  # fmt: skip
            expected = warped.read(1)
    got = every(raster, Window(0, grid.height, 0, grid.width))
    assert np.isfinite(got).sum() > 100
    assert np.array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_nearest_takes_the_pixel_that_the_centre_lies_in() -> None:
    source = pixels(dtype="float64")
    x, y = np.meshgrid(METRES.x_centres(), METRES.y_centres())
    transformer = Transformer.from_crs(METRES.crs, GRID.crs, always_xy=True)
    u, v = GRID.to_pixels(*transformer.transform(x, y))
    inside = (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
    expected = np.full(METRES.shape, np.nan)
    expected[inside] = source[v[inside].astype(int), u[inside].astype(int)]
    raster = resampled(open_raster(array(source)), METRES, "nearest")
    assert np.array_equal(every(raster, Window(0, 60, 0, 70)), expected, equal_nan=True)


def test_averages_of_whole_blocks_are_those_of_numpy() -> None:
    source = pixels()
    blocks = Grid("EPSG:4326", (1, 0, 10, 0, -1, 50), (HEIGHT // 4, WIDTH // 4))
    raster = resampled(open_raster(array(source)), blocks, "average")
    expected = source.reshape(HEIGHT // 4, 4, WIDTH // 4, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(every(raster, Window(0, 10, 0, 15)), expected)
    assert (raster.dtype, raster.nodata, raster.chunks) == (np.float64, None, (10, 15))


def test_outside_of_the_source_there_is_nodata() -> None:
    around = Grid("EPSG:4326", (0.25, 0, 9, 0, -0.25, 51), (HEIGHT + 8, WIDTH + 8))
    inside = (slice(4, HEIGHT + 4), slice(4, WIDTH + 4))
    for dtype, attrs, expected in (
        ("uint8", {}, (np.int16, -(2**15))),
        ("uint8", {"_FillValue": 3}, (np.uint8, 3)),
        ("int64", {}, (np.int64, -(2**63))),
        ("uint32", {}, (np.int64, -(2**63))),
        ("float32", {"_FillValue": 3}, (np.float32, None)),
    ):
        source = pixels(dtype=dtype)
        raster = resampled(open_raster(array(source, **attrs)), around, "nearest")
        assert (raster.dtype, raster.nodata) == expected
        block = every(raster, Window(0, HEIGHT + 8, 0, WIDTH + 8))
        wanted = np.where(source == 3, np.nan, source) if expected[1] is None else source
        assert np.array_equal(block[inside], wanted, equal_nan=True)
        outside = np.delete(np.delete(block, range(4, HEIGHT + 4), 0), range(4, WIDTH + 4), 1)
        assert (np.isnan(outside) if expected[1] is None else outside == expected[1]).all()
    far = Grid("EPSG:4326", (0.25, 0, 100, 0, -0.25, 50), (5, 5))
    assert np.isnan(
        every(resampled(open_raster(array()), far, "average"), Window(0, 5, 0, 5))
    ).all()


def test_nodata_of_one_lane_is_not_taken_for_a_value_of_it() -> None:
    source = pixels(3)
    source[0] = 7
    raster = resampled(open_raster(array(source, _FillValue=7)), COARSE, "average")
    block = every(raster, Window(0, 17, 0, 25))
    assert np.isnan(block[0]).all()
    assert np.isfinite(block[1]).any()


def test_identity_of_a_resampled_raster_is_that_of_its_source_and_method(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", dataset())
    raster = small_tiles(resampled(open_raster(path), COARSE, "nearest"), 4)
    near, far = Window(0, 2, 0, 2), Window(15, 17, 23, 25)
    before = raster.identity(near), raster.identity(far)
    os.utime(Path(path) / "tcd/c/1/0/0", ns=(1, 1))
    assert raster.identity(near) != before[0]
    assert raster.identity(far) == before[1]
    other = small_tiles(resampled(open_raster(path), COARSE, "average"), 4)
    assert other.identity(far) != before[1]


def test_what_is_resampled_far_down_is_read_in_small_tiles() -> None:
    world = Grid("EPSG:4326", (100, 0, -180, 0, -60, 90), (3, 3))
    assert resampled(open_raster(array()), world, "average").pixels.tile == 10  # type: ignore[attr-defined]
    assert resampled(open_raster(array()), COARSE, "average").pixels.tile == 500  # type: ignore[attr-defined]


def test_unknown_methods_and_impossible_ways_are_refused() -> None:
    raster = open_raster(array())
    with pytest.raises(ValuesError, match="unknown resampling method 'gauss': use one of nearest"):
        resampled(raster, COARSE, "gauss")
    local = Grid('LOCAL_CS["site",UNIT["metre",1]]', (1, 0, 0, 0, -1, 0), (5, 5))
    with pytest.raises(AlignmentError, match="PROJ cannot bring"):
        resampled(raster, local, "nearest")
    large = pixels(dtype="int64")
    large[0, 0] = 2**60 + 1
    with pytest.raises(ValuesError, match=r"value 1152921504606846977 is beyond 2\*\*53"):
        every(resampled(open_raster(array(large)), COARSE, "nearest"), Window(0, 17, 0, 25))


def test_threads_resample_at_once() -> None:
    raster = small_tiles(resampled(open_raster(array(pixels()).chunk(y=7)), METRES, "bilinear"), 20)
    whole = every(raster, Window(0, 60, 0, 70))
    rows = [Window(row, row + 15, 0, 70) for row in range(0, 60, 15)]
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(lambda window: every(raster, window), rows))
    assert np.array_equal(np.concatenate(blocks, axis=-2), whole, equal_nan=True)
