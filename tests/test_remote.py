"""Errors of disks and networks are ours: the path, what went wrong, and the cure."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

import zoneraster as zr
from tests.conftest import FakeS3
from zoneraster._values import open_raster
from zoneraster.blobs import LocalBlobs, Location
from zoneraster.errors import NOT_THERE, StoreError, cure_of, place_error
from zoneraster.remote import FsspecBlobs


class NoCredentialsError(Exception):
    """As botocore names it."""


class ClientConnectorDNSError(Exception):
    """As aiohttp names it."""


class RefusedError(Exception):
    """An answer of a web server."""

    status = 403


@pytest.mark.parametrize(
    ("err", "cure"),
    [
        (OSError(errno.ENOSPC, "full"), "make room"),
        (OSError(errno.EDQUOT, "full"), "make room"),
        (OSError(errno.EROFS, "ro"), "choose a place that can be written to"),
        (PermissionError(errno.EACCES, "no"), "have the right"),
        (RefusedError(), "have the right"),
        (NoCredentialsError(), "give credentials"),
        (ClientConnectorDNSError(), "the host's name"),
        (socket.gaierror(-2, "unknown"), "the host's name"),
        (ConnectionRefusedError(), "the host's name"),
        (TimeoutError(), "the host's name"),
    ],
)
def test_what_disks_and_networks_raise_has_a_cure(err: Exception, cure: str) -> None:
    assert cure in (cure_of(err) or "")
    with pytest.raises(
        StoreError, match=rf"s3://a/b cannot be read \({type(err).__name__}"
    ) as told:
        fail_with(err)
    assert cure in str(told.value)


def fail_with(err: Exception) -> None:
    with place_error("s3://a/b cannot be read", passing=NOT_THERE):
        raise err


@pytest.mark.parametrize("err", [FileNotFoundError("x"), ValueError("x"), KeyError("x")])
def test_what_is_no_fault_of_a_place_passes(err: Exception) -> None:
    assert cure_of(err) is None
    with pytest.raises(type(err)):
        fail_with(err)


class Broken(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A file system on which every request fails."""

    protocol = "broken"

    def _fail(self, *_: object, **__: object) -> None:
        raise NoCredentialsError("Unable to locate credentials")

    cat_file = pipe_file = put_file = rm_file = find = _open = _fail


def written(blobs: FsspecBlobs | LocalBlobs) -> None:
    with blobs.writer("k") as file:
        file.write(b"x")


@pytest.mark.parametrize(
    "request_",
    [
        lambda blobs: blobs.get("k"),
        lambda blobs: blobs.put("k", b""),
        lambda blobs: blobs.open("k"),
        lambda blobs: blobs.delete("k"),
        lambda blobs: list(blobs.list("k")),
        written,
    ],
    ids=["get", "put", "open", "delete", "list", "writer"],
)
def test_every_request_names_the_url_and_the_cure(request_: Callable[[FsspecBlobs], None]) -> None:
    blobs = FsspecBlobs(Broken(), "bucket/s.zarr", "s3://bucket/s.zarr")
    with pytest.raises(StoreError, match=r"s3://bucket/s.zarr/k .*NoCredentials.*give credentials"):
        request_(blobs)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="/proc takes no files")
@pytest.mark.parametrize("request_", [lambda blobs: blobs.put("k", b""), written])
def test_a_disk_that_takes_no_files_is_named(request_: Callable[[LocalBlobs], None]) -> None:
    with pytest.raises(StoreError, match=r"/proc/self/k.*mend that"):
        request_(LocalBlobs(Path("/proc/self")))


def test_a_web_server_takes_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="takes no files: build on a disk or an object store"):
        zr.build(tmp_path, "http://127.0.0.1:9/s.zarr", grid=zr.GLOBAL_30M)


@pytest.mark.parametrize("ask", [zr.status, zr.open, zr.zones, zr.info, zr.verify])
def test_a_dead_host_is_named_with_the_cure(ask: Callable[[str], object]) -> None:
    pytest.importorskip("aiohttp")
    with pytest.raises(StoreError, match=r"http://127.0.0.1:9/s.zarr.*the host's name"):
        ask("http://127.0.0.1:9/s.zarr")


def test_a_raster_on_a_dead_host_is_a_values_error(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with pytest.raises(zr.ValuesError, match=r"http://127.0.0.1:9/v.zarr.*the host's name"):
        open_raster(zr.Raster("http://127.0.0.1:9/v.zarr"))


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    from zoneraster._stats.checkpoint import Checkpoint

    (tmp_path / "f").touch()
    with pytest.raises(StoreError, match="is a file: a checkpoint needs an empty or new folder"):
        Checkpoint.open(Location.of(tmp_path / "f"), "")


@pytest.mark.slow
@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_named(s3: FakeS3) -> None:
    place = {"endpoint_url": f"http://{s3.endpoint}"}
    blobs = Location.of("s3://none/s.zarr", place).blobs()
    with pytest.raises(StoreError, match=r"s3://none/s.zarr/k cannot be written"):
        blobs.put("k", b"x")


def test_zones_on_a_dead_host_are_named_without_secrets(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    grid = zr.Grid.from_bounds((0, 0, 1, 1), 1)
    url = "127.0.0.1:9/a/z.parquet"
    with pytest.raises(zr.ZonesError, match=rf"http://{url} .*the host's name") as told:
        zr.build(f"http://{url}?token=abc", tmp_path / "s.zarr", grid=grid)
    assert "abc" not in str(told.value)
    with pytest.raises(zr.ZonesError, match=rf"http://{url} cannot be opened") as told:
        zr.build(f"http://me:word@{url}", tmp_path / "s.zarr", grid=grid)
    assert "word" not in str(told.value)


def test_all_who_open_a_key_in_memory_read_at_their_own_place() -> None:
    blobs = Location.of("memory://test-remote").blobs()
    blobs.put("key", bytes(range(100)))
    one, other = blobs.open("key"), blobs.open("key")
    assert one.read(50) == bytes(range(50))
    assert other.read(1) == b"\0"
    assert one.read() == bytes(range(50, 100))
    blobs.delete("key")


def test_what_is_written_to_memory_is_there_in_the_end_or_not_at_all() -> None:
    blobs = Location.of("memory://test-writer").blobs()
    with blobs.writer("key") as file:
        file.write(b"first")
        assert not blobs.has("key")
    assert blobs.get("key") == b"first"

    def stopped() -> None:
        with blobs.writer("key") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert blobs.get("key") == b"first"
    blobs.delete("key")
