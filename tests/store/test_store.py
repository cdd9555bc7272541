"""The store as other people's tools see it, and the blobs below it."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr

import zoneraster as zr
from tests.conftest import FakeS3
from tests.samples import CHUNKS, GRID, run_python, sample_zones, tree
from zoneraster.lock import TOKEN_KEY


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "zones.zarr"
    zr.build(sample_zones(), path, grid=GRID, key="fid", chunks=CHUNKS)
    return path


def test_xarray_opens_it_without_a_warning_and_ids_stay_integers(store: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xr.open_zarr(store)
        ours = zr.open(store)
    assert dataset["zone"].dtype == np.uint16
    assert ours["zone"].dims == ("y", "x")
    assert dataset["zone"].chunks is not None
    assert np.array_equal(dataset["x"], GRID.x_centres())
    assert np.array_equal(dataset["y"], GRID.y_centres())


def test_rioxarray_finds_crs_and_transform(store: Path) -> None:
    import rioxarray  # noqa: F401

    zone = xr.open_zarr(store)["zone"]
    assert zone.rio.crs.to_epsg() == 4326
    assert tuple(zone.rio.transform())[:6] == pytest.approx(tuple(GRID.transform)[:6], abs=0)


def test_rasterix_finds_crs_and_transform(store: Path) -> None:
    rasterix = pytest.importorskip("rasterix")
    found = rasterix.assign_index(xr.open_zarr(store), x_dim="x", y_dim="y")
    assert found.proj.crs.to_epsg() == 4326
    transform = found.xindexes["x"].transform()
    assert tuple(transform)[:6] == pytest.approx(tuple(GRID.transform)[:6], abs=0)


@pytest.mark.slow
def test_a_store_of_a_group_that_says_no_place_is_neither_damaged_nor_rewritten(
    tmp_path: Path,
) -> None:
    path = tmp_path / "zones.zarr"
    zr.build(sample_zones(), path, grid=GRID, key="fid", chunks=CHUNKS)
    said = json.loads((path / "zarr.json").read_text())
    # As earlier versions wrote it.
    said["attributes"] = {"Conventions": "CF-1.11", "title": "zone raster"}
    (path / "zarr.json").write_text(json.dumps(said, indent=2))
    before = tree(path)
    assert zr.verify(path).ok
    again = zr.build(sample_zones(), path, grid=GRID, key="fid", chunks=CHUNKS)
    assert again.burned == 0
    assert tree(path) == before


def test_odc_geo_finds_the_geobox(store: Path) -> None:
    import odc.geo.xr  # noqa: F401

    geobox = xr.open_zarr(store)["zone"].odc.geobox
    assert geobox.crs.to_epsg() == 4326
    assert geobox.shape == GRID.shape


@pytest.mark.skipif(sys.version_info < (3, 12), reason="GDAL 3.12 comes with rasterio 1.5 only")
def test_rasterio_opens_it_with_crs_transform_and_pixels(store: Path) -> None:
    import rasterio

    with rasterio.open(f'ZARR:"{store}":/zone') as raster:
        assert raster.crs.to_epsg() == 4326
        assert tuple(raster.transform)[:6] == pytest.approx(tuple(GRID.transform)[:6], rel=1e-12)
        assert raster.dtypes == ("uint16",)
        assert np.array_equal(raster.read(1), zarr.open_array(store / "zone", mode="r")[:])


def test_our_own_reader_of_grids_finds_the_grid_again(store: Path) -> None:
    assert zr.grid_like(zr.open(store)) == GRID


def test_there_is_no_fill_value_attribute_and_metadata_is_consolidated(store: Path) -> None:
    said = json.loads((store / "zone" / "zarr.json").read_text())
    assert "_FillValue" not in said["attributes"]
    assert said["fill_value"] == 0
    root = json.loads((store / "zarr.json").read_text())
    names = set(root["consolidated_metadata"]["metadata"])
    assert names == {"zone", "x", "y", "spatial_ref"}


def test_chunks_are_what_zarr_itself_would_decode_after_rewriting_them(
    store: Path, tmp_path: Path
) -> None:
    ours = zarr.open_array(store / "zone", mode="r")[:]
    copy = zarr.create_array(tmp_path / "copy", data=ours, chunks=(CHUNKS, CHUNKS))
    assert np.array_equal(copy[:], ours)
    assert ours.any()


@pytest.mark.slow
def test_the_crc32c_codec_lets_zarr_notice_a_flipped_bit(tmp_path: Path) -> None:
    path = tmp_path / "zones.zarr"
    zr.build(sample_zones(), path, grid=GRID, key="fid", chunks=CHUNKS, integrity="crc32c")
    plain = tmp_path / "plain.zarr"
    zr.build(sample_zones(), plain, grid=GRID, key="fid", chunks=CHUNKS)
    pixels = zarr.open_array(plain / "zone", mode="r")[:]
    assert np.array_equal(zarr.open_array(path / "zone", mode="r")[:], pixels)
    chunk = next((path / "zone" / "c").rglob("*/*"))
    data = bytearray(chunk.read_bytes())
    data[20] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(Exception, match=r"(?i)checksum"):
        zarr.open_array(path / "zone", mode="r")[:]


def test_the_manifest_answers_duckdb_and_names_the_zones_of_a_window(store: Path) -> None:
    import duckdb

    rows = duckdb.sql(
        f"select chunk_row, chunk_col, list(distinct zone_id) from "
        f"'{store}/.zoneraster/manifest.parquet' group by all"
    ).fetchall()
    assert len(rows) == len(pq.read_table(store / ".zoneraster" / "chunks.parquet"))
    pixels = zarr.open_array(store / "zone", mode="r")[:]
    manifest = zr.open_manifest(store)
    for window in (
        zr.Window(0, 60, 0, 60),
        zr.Window(55, 130, 200, 201),
        zr.Window(0, 500, 0, 500),
    ):
        found = set(manifest.zones_in(window).tolist())
        assert set(np.unique(pixels[window.slices]).tolist()) - {0} <= found
        single = manifest.zones_in(zr.Window(100, 101, 100, 101)).tolist()
        assert (pixels[100, 100] in single) == bool(pixels[100, 100])


@pytest.mark.slow
def test_stores_on_an_object_store_hold_the_same_bytes(store: Path) -> None:
    import fsspec

    url = "memory://bucket/zones.zarr"
    report = zr.build(sample_zones(), url, grid=GRID, key="fid", chunks=CHUNKS)
    files = fsspec.filesystem("memory")
    found = {k.split("zones.zarr/")[1]: files.cat(k) for k in files.find("/bucket/zones.zarr")}
    assert found.pop(TOKEN_KEY)
    local = {key: (store / key).read_bytes() for key in tree(store)}
    assert found == local
    assert report.burned > 0
    again = zr.build(sample_zones(), url, grid=GRID, key="fid", chunks=CHUNKS)
    assert again.burned == 0
    assert zr.verify(url).ok


@pytest.mark.s3
@pytest.mark.slow
def test_a_build_on_s3_resumes_verifies_and_opens(store: Path, s3: FakeS3) -> None:
    files, options = s3.files, s3.options
    files.mkdir("zones")
    url = "s3://zones/a/zones.zarr"
    zr.build(sample_zones(), url, grid=GRID, key="fid", chunks=CHUNKS, storage_options=options)
    for key, data in ((k, (store / k).read_bytes()) for k in tree(store, what="zone")):
        assert files.cat(f"zones/a/zones.zarr/{key}") == data
    receipt = next(k for k in files.find("zones/a/zones.zarr/.zoneraster/ledger"))
    files.rm(receipt)
    files.rm("zones/a/zones.zarr/zone/c/3/3")
    assert not zr.verify(url, storage_options=options).ok
    report = zr.build(
        sample_zones(), url, grid=GRID, key="fid", chunks=CHUNKS,
        storage_options=options, check=True,
    )  # fmt: skip
    assert report.burned >= 1
    assert zr.verify(url, storage_options=options).ok
    opened = zr.open(url, storage_options=options)["zone"]
    assert np.array_equal(opened, zarr.open_array(store / "zone", mode="r")[:])


@pytest.mark.slow
def test_one_url_with_other_options_is_another_store(
    store: Path, abfs: dict[str, dict[str, Any]]
) -> None:
    url = "abfs://zones/zones.zarr"
    for account, is_new in (("one", True), ("two", True), ("one", False)):
        options = {"account_name": account}
        report = zr.build(
            sample_zones(), url, grid=GRID, key="fid", chunks=CHUNKS, storage_options=options
        )
        assert zr.verify(url, storage_options=options).ok
        assert bool(report.burned) == is_new
    held = {name: {key: file.getvalue() for key, file in abfs[name].items()} for name in abfs}
    tokens = {account.pop(f"/zones/zones.zarr/{TOKEN_KEY}") for account in held.values()}
    assert len(tokens) == 2
    assert held["one"] == held["two"]
    assert len(held["one"]) == len(tree(store))
    del abfs["two"]["/zones/zones.zarr/zone/c/3/3"]
    assert zr.verify(url, storage_options={"account_name": "one"}).ok
    assert not zr.verify(url, storage_options={"account_name": "two"}).ok


@pytest.mark.s3
@pytest.mark.slow
def test_one_bucket_name_at_two_endpoints_is_two_stores(store: Path, s3: FakeS3) -> None:
    import s3fs

    # All servers of one process have the same buckets.
    code = """
        import contextlib, logging, threading
        from moto.server import ThreadedMotoServer
        logging.getLogger("werkzeug").setLevel("ERROR")
        with contextlib.redirect_stdout(None):
            server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
            server.start()
        print("{}:{}".format(*server.get_host_and_port()), flush=True)
        threading.Event().wait()
    """
    url, other = "s3://places/zones.zarr", run_python(code)
    try:
        assert other.stdout is not None
        there = {**s3.options, "endpoint_url": f"http://{other.stdout.readline().decode().strip()}"}
        for options in (s3.options, there):
            files = s3fs.S3FileSystem(**options)
            files.mkdir("places")
            report = zr.build(
                sample_zones(), url, grid=GRID, key="fid", chunks=CHUNKS, storage_options=options
            )
            assert report.burned
            assert len(files.find("places")) == len(tree(store)) + 1  # and the token
            assert zr.verify(url, storage_options=options).ok
    finally:
        other.kill()
        other.communicate()
