"""Zarr of every format against xarray itself, and what its identity is made of."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
from zoneraster._values.raster import as_raster
from zoneraster.blobs import Location
from zoneraster.errors import ValuesError


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


def test_the_path_of_an_array_within_a_group_chooses_it(tmp_path: Path) -> None:
    for zarr_format in (2, 3):
        path = write_zarr(tmp_path / f"{zarr_format}.zarr", dataset(), zarr_format=zarr_format)
        opened = open_raster(f"{path}/tcd")
        assert (opened.name, opened.label) == ("tcd", f"{path}/tcd")
        assert np.array_equal(every(opened), pixels(3))


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
    for account, values in (("one", dataset()), ("two", dataset() + 1)):
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
