"""Zstandard frames from runs, decoded by libzstd to the painted pixels."""

from __future__ import annotations

import io

import numcodecs
import numpy as np
import numpy.typing as npt
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import decoded, runs_of
from zoneraster._burn import frame

KINDS = (
    "constant",
    "noise",
    "boxes",
    "slivers",
    "lines",
    "stripes",
    "same rows",
    "long then noise",
)


def drawn(rng: np.random.Generator, kind: str, shape: tuple[int, int], itemsize: int):
    """An image that is hard on the encoder in its own way."""
    height, width = shape
    top = 2 ** (8 * itemsize)
    image = np.zeros(shape, f"<u{itemsize}")
    if kind == "constant":
        image[:] = rng.integers(0, top)
    elif kind == "noise":
        image[:] = rng.integers(0, top, shape)
    elif kind == "stripes":
        image[:] = np.arange(width) % rng.integers(1, 9)
    elif kind == "same rows":
        image[:] = rng.integers(0, 4, width)
    elif kind == "long then noise":
        image[:] = 7
        image[height // 2, :: rng.integers(1, 5)] = 9
        image[-1] = rng.integers(0, top, width)
    else:
        for _ in range(rng.integers(1, 60)):
            a, b = np.sort(rng.integers(0, height + 1, 2))
            c, d = np.sort(rng.integers(0, width + 1, 2))
            if kind == "slivers":
                d = min(width, c + rng.integers(1, 4))
            if kind == "lines":
                b = min(height, a + 2)
            image[a:b, c:d] = rng.integers(0, top)
    return image


def both_ways(image: npt.NDArray[np.unsignedinteger]) -> tuple[bytes | None, bytes]:
    """The frame straight from runs, and the one through libzstd."""
    runs = runs_of(image)
    options = {"width": image.shape[1], "itemsize": image.itemsize}
    return frame.encode_runs(*runs, **options), frame.encode_bands(*runs, **options)


@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(KINDS),
    height=st.integers(1, 40),
    width=st.one_of(st.integers(1, 9), st.integers(60, 300)),
    itemsize=st.sampled_from([1, 2, 4]),
)
def test_libzstd_decodes_every_frame_to_the_painted_pixels(
    seed: int, kind: str, height: int, width: int, itemsize: int
) -> None:
    image = drawn(np.random.default_rng(seed), kind, (height, width), itemsize)
    straight, banded = both_ways(image)
    assert np.array_equal(decoded(banded, image.shape, itemsize), image)
    if straight is not None:
        assert np.array_equal(decoded(straight, image.shape, itemsize), image)
        assert bytes(numcodecs.Zstd().decode(straight)) == image.tobytes()


@pytest.mark.parametrize("itemsize", [1, 2, 4])
@pytest.mark.parametrize("width", [1, 3, 1000, 32767, 32768, 32769, 131072, 131075])
def test_runs_across_block_boundaries_decode_right(itemsize: int, width: int) -> None:
    height = max(2, 400_000 // (width * itemsize) + 1)
    height = min(height, 500)
    image = np.zeros((height, width), f"<u{itemsize}")
    image[:, : width // 2 + 1] = 5
    image[height // 2 :, width // 3 :] = 77
    image[::7, -1] = 3
    straight, _ = both_ways(image)
    data = straight or frame.encode(*runs_of(image), width=width, itemsize=itemsize)
    assert np.array_equal(decoded(data, image.shape, itemsize), image)


def test_every_remainder_at_a_block_boundary_decodes_right() -> None:
    # One row of bytes, so that a change can lie at every place around 128 KiB.
    for shift in range(-9, 10):
        image = np.full((1, 2 * frame.BLOCK + 50), 3, np.uint8)
        image[0, frame.BLOCK + shift] = 4
        image[0, frame.BLOCK + shift + 1 : frame.BLOCK + shift + 3] = 5
        straight, _ = both_ways(image)
        assert straight is not None
        assert np.array_equal(decoded(straight, image.shape, 1), image)


def test_a_constant_chunk_is_small_and_says_its_size() -> None:
    data = frame.encode_constant(57, shape=(1000, 1000), itemsize=4)
    assert len(data) < 600
    assert zstandard.frame_content_size(data) == 4_000_000
    assert (decoded(data, (1000, 1000), 4) == 57).all()


def test_a_frame_asks_for_a_window_of_one_row_at_most() -> None:
    data = frame.encode_constant(57, shape=(1000, 1000), itemsize=4)
    assert zstandard.get_frame_parameters(data).window_size == frame.BLOCK
    # A streaming decoder with a small limit reads it.
    reader = zstandard.ZstdDecompressor(max_window_size=frame.BLOCK).stream_reader(io.BytesIO(data))
    assert len(reader.read()) == 4_000_000


def test_rows_beyond_128_kib_have_a_window_that_holds_them() -> None:
    image = drawn(np.random.default_rng(2), "boxes", (40, 200_000), 1)
    straight, _ = both_ways(image)
    assert straight is not None
    assert zstandard.get_frame_parameters(straight).window_size >= 200_000
    # A decoder that streams keeps a window, and nothing further back.
    pixels = io.BytesIO()
    with zstandard.ZstdDecompressor().stream_writer(pixels, closefd=False) as writer:
        for at in range(0, len(straight), 1000):
            writer.write(straight[at : at + 1000])
    assert pixels.getvalue() == image.tobytes()


@pytest.mark.parametrize(("width", "is_straight"), [(2**25, True), (2**25 + 1, False)])
def test_rows_beyond_the_window_of_streaming_decoders_go_through_libzstd(
    width: int, is_straight: bool
) -> None:
    runs = np.array([0, 2, 4]), np.array([0, 9, 0, 9], np.int32), np.array([1, 2, 1, 2])
    data = frame.encode_runs(*runs, width=width, itemsize=4)
    assert (data is not None) == is_straight
    if data is not None:
        assert zstandard.get_frame_parameters(data).window_size == 2**27


def test_bands_of_wide_rows_are_lower_and_have_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = drawn(np.random.default_rng(3), "noise", (150, 700), 2)
    _, banded = both_ways(image)
    for n_bytes in (1, 10_000):
        monkeypatch.setattr(frame, "BAND_BYTES", n_bytes)
        assert both_ways(image)[1] == banded


def test_noise_goes_through_libzstd_and_is_never_larger_than_its_pixels_by_much() -> None:
    image = np.random.default_rng(1).integers(0, 2**32, (50, 60), dtype=np.uint32)
    straight, _ = both_ways(image)
    assert straight is None
    data = frame.encode(*runs_of(image), width=60, itemsize=4)
    assert len(data) < image.nbytes + 100


def test_equal_runs_give_equal_bytes() -> None:
    image = drawn(np.random.default_rng(8), "boxes", (200, 300), 2)
    assert both_ways(image) == both_ways(image.copy())
