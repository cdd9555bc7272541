"""Zarr of every format against xarray itself, and what its identity is made of."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
import zarr

from tests.values.samples import (
    CORNER,
    GRID,
    HEIGHT,
    TIMES,
    WHOLE,
    WIDTH,
    array,
    check_reading,
    dataset,
    every,
    pixels,
    write_tif,
    write_zarr,
)
from zoneraster._grid.windows import Window
from zoneraster._values.open import open_raster, source_key
from zoneraster._values.raster import Raster, as_raster
from zoneraster.blobs import Location
from zoneraster.errors import GridError, ValuesError, ZonerasterWarning


@pytest.mark.slow
@pytest.mark.parametrize(("zarr_format", "sharded"), [(2, False), (3, False), (3, True)])
def test_zarr_of_every_format_reads_like_xarray(
    tmp_path: Path, zarr_format: int, sharded: bool
) -> None:
    source = dataset(_FillValue=np.int16(99))
    path = write_zarr(tmp_path / "cover.zarr", source, zarr_format=zarr_format, sharded=sharded)
    opened = open_raster(path)
    assert (opened.name, opened.label, opened.units) == ("cover", path, "%")
    assert (opened.dtype, opened.nodata, opened.grid) == (np.int16, 99, GRID)
    assert (opened.dims, opened.chunks) == (("time",), (1, 10, 20))
    assert np.array_equal(opened.coords[0], TIMES)
    check_reading(opened, source["tcd"].values)
    assert len(pickle.dumps(opened)) < 6000


def test_alert_dates_stay_the_numbers_they_are_stored_as(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", dataset(units="days since 2014-12-31"))
    assert open_raster(path).dtype == np.int16
    assert open_raster(path).units == "days since 2014-12-31"


@pytest.mark.slow
def test_the_path_of_an_array_within_a_group_chooses_it(tmp_path: Path) -> None:
    for zarr_format in (2, 3):
        path = write_zarr(tmp_path / f"{zarr_format}.zarr", dataset(), zarr_format=zarr_format)
        opened = open_raster(f"{path}/tcd")
        assert (opened.name, opened.label) == ("tcd", f"{path}/tcd")
        assert np.array_equal(every(opened), pixels(3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zarr_format", "sharded", "near"), [(2, False, 10), (3, False, 10), (3, True, 20)]
)
def test_identity_of_a_zarr_changes_with_the_chunks_of_the_window_only(
    tmp_path: Path, zarr_format: int, sharded: bool, near: int
) -> None:
    path = write_zarr(
        tmp_path / "a.zarr", dataset(), zarr_format=zarr_format, sharded=sharded
    )  # fmt: skip
    opened = open_raster(path)
    touched, other = Window(0, near, 0, 20), Window(near, HEIGHT, 0, WIDTH)
    before = opened.identity(touched), opened.identity(other)
    assert open_raster(path).identity(touched) == before[0]
    key = "c/1/0/0" if zarr_format == 3 else "1.0.0"
    os.utime(Path(path) / "tcd" / key, ns=(1, 1))
    assert opened.identity(touched) != before[0]
    assert opened.identity(other) == before[1]
    (Path(path) / "tcd" / key).unlink()
    assert opened.identity(touched) not in (before[0], open_raster(array()).identity(touched))


def check_remote(url: str, files: Any, chunk: str) -> None:
    """A Zarr behind fsspec: read, shipped, and its identity taken from a listing."""
    opened = open_raster(url)
    assert (opened.name, opened.label, opened.grid) == ("cover", url, GRID)
    check_reading(opened, pixels(3))
    touched, other = Window(0, 10, 0, 20), Window(10, HEIGHT, 0, WIDTH)
    before = opened.identity(touched), opened.identity(other)
    data = files.cat(chunk)
    files.pipe(chunk, data + b"!")
    assert opened.identity(touched) == before[0]  # one listing for each raster that is opened
    again = open_raster(url)
    assert again.identity(touched) != before[0]
    assert again.identity(other) == before[1]


@pytest.mark.slow
def test_a_zarr_in_memory_of_fsspec_is_read_and_identified() -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    url = write_zarr("memory://values/cover.zarr", dataset())
    check_remote(url, files, "/values/cover.zarr/tcd/c/0/0/0")
    assert open_raster(f"{url}/tcd").name == "tcd"


def test_options_lead_to_other_pixels_under_the_same_url(
    abfs: dict[str, dict[str, Any]],
) -> None:
    url, found = "abfs://values/cover.zarr", []
    with xr.set_options(keep_attrs=True):
        more = dataset() + 1
    for account, values in (("one", dataset()), ("two", more)):
        options = {"account_name": account}
        values.to_zarr(url, storage_options=options, zarr_format=3)
        opened = open_raster(Location.of(url, options))
        check_reading(opened, values["tcd"].values)
        check_reading(open_raster(Location.of(f"{url}/tcd", options)), values["tcd"].values)
        found.append(opened.identity(WHOLE))
    assert set(abfs) == {"one", "two"}
    again = open_raster(Location.of(url, {"account_name": "one"}))
    assert again.identity(WHOLE) == found[0] != found[1]
    assert again.label == url
    asked = as_raster(url)
    other = open_raster(Location.of(url, {"account_name": "two"}))
    assert source_key(asked, again) != source_key(asked, other)


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
        opened = open_raster("s3://values/a.tif")
        check_reading(opened, pixels())
        files.put(write_tif(tmp_path / "b.tif", pixels(seed=2)), "values/a.tif")
        assert open_raster("s3://values/a.tif").identity(WHOLE) != opened.identity(WHOLE)
    finally:
        server.stop()


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


# ---- what a file may say -------------------------------------------------------------------------


def changed(path: str, key: str, change: Callable[[Any], Any]) -> None:
    """Write the metadata of a node anew."""
    file = Path(path) / key
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def with_chunks(*sides: int) -> Callable[[Any], Any]:
    def change(said: Any) -> Any:
        said["chunk_grid"]["configuration"]["chunk_shape"] = list(sides)
        return said

    return change


HOSTILE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "array is a list": ("tcd/zarr.json", lambda _: []),
    "array without a shape": ("tcd/zarr.json", lambda said: {**said, "shape": None}),
    "array of no dtype": ("tcd/zarr.json", lambda said: {**said, "data_type": "quux"}),
    "codecs null": ("tcd/zarr.json", lambda said: {**said, "codecs": None}),
    "codec unknown": ("tcd/zarr.json", lambda said: {**said, "codecs": [{"name": "quux"}]}),
    "attributes a number": ("tcd/zarr.json", lambda said: {**said, "attributes": 5}),
    "chunks of nothing": ("tcd/zarr.json", with_chunks(0, 0, 0)),
    "group is a list": ("zarr.json", lambda _: []),
    "group is null": ("zarr.json", lambda _: None),
    "group of another format": ("zarr.json", lambda said: {**said, "zarr_format": "x"}),
    "coordinate without a shape": ("x/zarr.json", lambda said: {**said, "shape": "x"}),
    "scale is a mapping": (
        "tcd/zarr.json", lambda said: {**said, "attributes": {"scale_factor": {}}}
    ),
    "spatial dimensions are numbers": (
        "tcd/zarr.json", lambda said: {**said, "attributes": {"spatial:dimensions": 7}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE)
def test_whatever_metadata_say_the_error_is_ours_and_names_the_raster(
    tmp_path: Path, key: str
) -> None:
    path = write_zarr(tmp_path / "cover.zarr", dataset())
    changed(path, *HOSTILE[key])
    with pytest.raises((ValuesError, GridError), match=r"cover\.zarr"):
        every(open_raster(path))


@pytest.mark.slow
@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[]", b"7"])
@pytest.mark.parametrize("node", ["zarr.json", "tcd/zarr.json"])
def test_torn_metadata_are_named(tmp_path: Path, node: str, text: bytes) -> None:
    path = write_zarr(tmp_path / "cover.zarr", dataset())
    (Path(path) / node).write_bytes(text)
    with pytest.raises(ValuesError, match=r"cover\.zarr.*cannot be opened"):
        open_raster(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("node", "sides", "said"),
    [
        ("tcd", (1, 200_000, 200_000), r"1 x 200,000 x 200,000 pixels takes 74\.5 GiB"),
        ("tcd", (2**40, 1, 1), r"takes 2,048\.0 GiB"),
        ("x", (2**40,), r"takes 8,192\.0 GiB"),
    ],
)
def test_chunks_that_no_memory_holds_are_refused_before_one_is_made(
    tmp_path: Path, node: str, sides: tuple[int, ...], said: str
) -> None:
    path = write_zarr(tmp_path / "cover.zarr", dataset())
    changed(path, f"{node}/zarr.json", with_chunks(*sides))
    match = rf"cover\.zarr/{node}: a chunk of .*{said}.*the limit is 4 GiB: write it in smaller"
    with pytest.raises(ValuesError, match=match):
        open_raster(path)


# ---- fill values -------------------------------------------------------------------------------


def write_filled(
    path: Path, values: npt.NDArray[Any], fill: float | None, zarr_format: int, **attrs: Any
) -> str:
    """A Zarr group as zarr itself writes it: the fill value stands with the array alone."""
    group = zarr.create_group(str(path), zarr_format=zarr_format)
    coords = {"y": GRID.y_centres(), "x": GRID.x_centres()}
    for name, data, dims in (
        ("tcd", values, ("y", "x")), *((dim, data, (dim,)) for dim, data in coords.items())
    ):  # fmt: skip
        said = {**attrs, "crs": "EPSG:4326"} if name == "tcd" else {}
        array = group.create_array(
            name, shape=data.shape, chunks=(10, 20) if name == "tcd" else data.shape,
            dtype=data.dtype, fill_value=fill if name == "tcd" else None,
            dimension_names=dims if zarr_format == 3 else None,
            attributes=said if zarr_format == 3 else {**said, "_ARRAY_DIMENSIONS": list(dims)},
        )  # fmt: skip
        array[...] = data
    return str(path)


def forms(path: str) -> list[Any]:
    """A path, and what xarray opens there, if it tells the fill value: since 2026.7 it does."""
    array = xr.open_zarr(path, mask_and_scale=False, consolidated=False)["tcd"]
    is_told = not {"_FillValue", "fill_value"}.isdisjoint([*array.attrs, *array.encoding])
    fill = zarr.open_group(path, mode="r")["tcd"].fill_value
    return [path, array] if is_told or fill is None else [path]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_a_fill_value_means_the_same_in_both_formats(tmp_path: Path, zarr_format: int) -> None:
    holes = np.where(pixels() < 20, -9999, pixels()).astype("float32")
    for fill, expected in ((-9999.0, -9999.0), (0.0, None), (None, None), (np.nan, None)):
        path = write_filled(tmp_path / f"{fill}.zarr", holes, fill, zarr_format)
        for given in forms(path):
            assert open_raster(given).nodata == expected
            assert open_raster(Raster(given, nodata=np.nan)).nodata is None
            assert open_raster(Raster(given, nodata=0)).decoding.nodata in (0, -9999)


@pytest.mark.parametrize(
    ("fill", "zarr_format", "question"),
    [(0.0, 2, "are zeros values"), (-9999.0, 3, "is -9999.0 a value"), (1e20, 3, "is 1e"),
     (0.0, 3, None), (50.0, 3, None), (-9999.0, 2, None)],
)  # fmt: skip
def test_a_fill_value_is_asked_about_where_it_is_all_there_is(
    tmp_path: Path, fill: float, zarr_format: int, question: str | None
) -> None:
    source = pixels(dtype="float32")
    path = write_filled(tmp_path / "a.zarr", source, fill, zarr_format)
    said = write_filled(tmp_path / "b.zarr", source, fill, zarr_format, missing_value=-1.0)
    for given, asks in [*((one, question) for one in forms(path)), (said, None)]:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            open_raster(given)
        texts = [str(one.message) for one in told if one.category is ZonerasterWarning]
        assert len(texts) == (asks is not None)
        assert all(str(asks) in text and "nodata=float('nan')" in text for text in texts)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ZonerasterWarning)
        open_raster(Raster(path, nodata=fill))
        open_raster(Raster(path, nodata=np.nan))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_fill_value_of_integers_is_nodata_where_none_of_them_is_likely(
    tmp_path: Path, zarr_format: int
) -> None:
    path = write_filled(tmp_path / "a.zarr", pixels(), -32768, zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZonerasterWarning)
        assert open_raster(path).nodata == -32768


def test_the_fill_value_of_gdal_is_its_nodata(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ZonerasterWarning)
        for fill, zarr_format, expected in ((-9.0, 3, -9), (0.0, 3, None), (0.0, 2, 0)):
            path = write_filled(
                tmp_path / f"{fill}{zarr_format}.zarr", pixels(dtype="float32"), fill, zarr_format,
                _CRS={"wkt": GRID.crs.to_wkt()},
            )  # fmt: skip
            assert open_raster(path).nodata == expected
