"""Chunks decoded without zarr are what zarr gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from zoneraster._grid.windows import Window
from zoneraster._values.chunks import ChunkLayout, parse_metadata
from zoneraster._values.open import open_raster
from zoneraster._values.zarrs import ZarrPixels

CODECS: dict[str, Any] = {
    "zstd": zarr.codecs.ZstdCodec(level=3),
    "zstd with checksum": zarr.codecs.ZstdCodec(level=3, checksum=True),
    "blosc": zarr.codecs.BloscCodec(cname="lz4", shuffle="shuffle", typesize=4),
    "none": None,
    "gzip": zarr.codecs.GzipCodec(),
    "two": [zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()],
}


def write(path: Path, values: np.ndarray, *, codec: Any = None, **options: Any) -> None:
    """A group with one array, (y, x) last, on whole degrees; the chunk of the corner is absent."""
    group = zarr.create_group(path, zarr_format=3)
    dims = ("time", "y", "x")[3 - values.ndim :]
    array = group.create_array(
        "v", shape=values.shape, dtype=values.dtype, compressors=codec, dimension_names=dims,
        attributes={"crs": "EPSG:3857"}, **options,
    )  # fmt: skip
    array[...] = values
    height, width = values.shape[-2:]
    group.create_array("y", data=height - np.arange(height) - 0.5, dimension_names=("y",))
    group.create_array("x", data=np.arange(width) + 0.5, dimension_names=("x",))


def sample(dtype: str = "f4") -> np.ndarray:
    values = np.random.default_rng(1).integers(0, 9, (3, 25, 40)).astype(dtype)
    values[:, :10, :16] = 0
    return values


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("dtype", ["f4", ">f8", "u1", ">i2", "bool"])
def test_chunks_of_every_codec_are_what_xarray_reads(tmp_path: Path, name: str, dtype: str) -> None:
    values = sample(dtype)
    write(tmp_path / "v.zarr", values, codec=CODECS[name], chunks=(2, 10, 16), fill_value=0)
    opened = open_raster(tmp_path / "v.zarr")
    pixels = opened.pixels
    assert isinstance(pixels, ZarrPixels)
    for lanes, window in (
        ((slice(0, 2),), Window(10, 20, 16, 32)),
        ((slice(2, 3),), Window(20, 25, 32, 40)),
        ((slice(0, 1),), Window(0, 10, 0, 16)),
        ((slice(1, 2),), Window(3, 7, 17, 20)),
        ((slice(0, 3),), Window(5, 25, 3, 40)),
    ):
        expected = values[(*lanes, *window.slices)]
        direct = pixels._plain(lanes, window)
        assert (direct is not None) == (name not in {"gzip", "two"})
        assert np.array_equal(opened.read(lanes, window), expected)
        if direct is not None:
            assert np.array_equal(direct, expected)


def test_shards_other_formats_and_odd_metadata_are_left_to_zarr(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr", sample(), chunks=(1, 5, 8), shards=(1, 10, 16), fill_value=0)
    metadata = json.loads((tmp_path / "s.zarr" / "v" / "zarr.json").read_text())
    assert ChunkLayout.of(metadata) is None
    opened = open_raster(tmp_path / "s.zarr")
    assert np.array_equal(opened.read((slice(0, 1),), Window(0, 5, 8, 16)), sample()[:1, :5, 8:16])
    write(tmp_path / "p.zarr", sample(), chunks=(1, 10, 16), fill_value=0)
    plain = json.loads((tmp_path / "p.zarr" / "v" / "zarr.json").read_text())
    assert ChunkLayout.of(plain) is not None
    for change in (
        {"zarr_format": 2},
        {"data_type": "complex64"},
        {"chunk_key_encoding": {"name": "v2"}},
        {"codecs": [{"name": "transpose"}, *plain["codecs"]]},
        {"fill_value": "0x7fc00000"},
        {"codecs": []},
        {"chunk_grid": {"name": "rectilinear"}},
    ):
        assert ChunkLayout.of({**plain, **change}) is None
    assert parse_metadata(None) is parse_metadata(b"{") is parse_metadata(b"3") is None


def test_missing_chunks_hold_the_fill_value(tmp_path: Path) -> None:
    values = np.full((10, 16), np.nan, "f4")
    write(tmp_path / "n.zarr", values, chunks=(10, 16), fill_value=np.nan)
    assert not (tmp_path / "n.zarr" / "v" / "c").exists()
    assert np.isnan(open_raster(tmp_path / "n.zarr").read((), Window(0, 10, 0, 16))).all()


@pytest.mark.parametrize("name", ["zstd", "blosc", "none"])
def test_a_chunk_of_another_size_is_never_taken_for_pixels(tmp_path: Path, name: str) -> None:
    values = sample()[0]
    write(tmp_path / "a.zarr", values, codec=CODECS[name], chunks=(25, 40), fill_value=0)
    write(tmp_path / "b.zarr", values[:5], codec=CODECS[name], chunks=(5, 40), fill_value=0)
    chunk = Path("v") / "c" / "0" / "0"
    (tmp_path / "a.zarr" / chunk).write_bytes((tmp_path / "b.zarr" / chunk).read_bytes())
    opened = open_raster(tmp_path / "a.zarr")
    assert isinstance(opened.pixels, ZarrPixels)
    assert opened.pixels._plain((), Window(0, 25, 0, 40)) is None
    with pytest.raises(ValueError, match="cannot read"):
        opened.read((), Window(0, 25, 0, 40))


def test_the_same_values_come_from_xarray(tmp_path: Path) -> None:
    write(tmp_path / "v.zarr", sample(), codec=CODECS["zstd"], chunks=(1, 10, 16), fill_value=0)
    given = xr.open_zarr(tmp_path / "v.zarr", chunks=None, consolidated=False)["v"]
    opened = open_raster(tmp_path / "v.zarr")
    for lane in range(3):
        window = Window(20, 25, 0, 16)
        expected = given.values[lane, 20:25, :16]
        assert np.array_equal(opened.read((slice(lane, lane + 1),), window)[0], expected)
