"""Named bytes are whole or absent, and stay where they belong."""

from __future__ import annotations

import datetime as dt
import errno
import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

import zoneraster as zr
from tests.samples import GRID, run_python, sample_zones
from zoneraster import blobs as blobs_room
from zoneraster.blobs import FsspecBlobs, LocalBlobs, Location, file_state, object_state


def test_a_local_put_is_whole_or_absent_and_leaves_nothing_behind(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    seen: set[bytes] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(blobs.get("a/b"))
            except FileNotFoundError:
                continue

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(200):
        blobs.put("a/b", bytes([n % 7]) * 50_000)
    stop.set()
    reader.join()
    assert {(len(data), len(set(data))) for data in seen} == {(50_000, 1)}
    assert [key for key, _ in blobs.list("")] == ["a/b"]
    (tmp_path / "a" / ".b.1-2.partial").write_bytes(b"half")
    assert [key for key, _ in blobs.list("")] == ["a/b"]
    assert blobs.sweep() == 1


@pytest.mark.slow
def test_a_file_system_that_refuses_a_chunk_is_named_and_the_old_chunk_stays(
    tmp_path: Path,
) -> None:
    code = """
        import resource, signal, sys
        from pathlib import Path
        from zoneraster.blobs import LocalBlobs
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        blobs = LocalBlobs(Path(sys.argv[1]))
        blobs.put("c/0", b"old")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        blobs.put("c/0", bytes(100_000))
    """
    process = run_python(code, tmp_path)
    _, said = process.communicate()
    assert process.returncode == 1
    assert b"StoreError: cannot write 100,000 bytes to" in said
    assert b"make room there, and run the same again; what is done is safe" in said
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["0"]
    assert (tmp_path / "c" / "0").read_bytes() == b"old"


def test_a_link_that_leads_out_of_the_store_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "zone").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(zr.StoreError, match="leads out of the store"):
        LocalBlobs(tmp_path / "store").put("zone/c", b"x")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("reference::s3://x/y", "chained URLs"),
        ("github://me:repo@/x", "cannot open a github:// store"),
        ("s3://key:secret@bucket/x", "holds credentials"),
        ("", "not a store path"),
    ],
)
def test_suspicious_urls_are_refused(url: str, message: str) -> None:
    with pytest.raises(zr.StoreError, match=message) as caught:
        Location.of(url)
    assert "secret" not in str(caught.value)


def test_only_temporary_files_of_our_own_that_are_old_enough_are_swept(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    names = (".b.1-2.partial", "mine.partial", ".hidden.partial", ".b.1-2.partial.txt")
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert blobs.sweep(min_age=60) == 0
    os.utime(tmp_path / names[0], (1, 1))
    assert blobs.sweep(min_age=60) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_a_file_in_the_place_of_another_has_another_state(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    for one in (path, other):
        one.write_bytes(b"same size")
        os.utime(one, ns=(1, 1))
    before = file_state(path)
    assert file_state(path) == before
    other.replace(path)
    assert file_state(path) != before


@pytest.mark.parametrize("mark", ["ETag", "generation", "LastModified", "created", "Content-MD5"])
def test_an_object_has_a_state_when_its_file_system_says_more_than_a_size(mark: str) -> None:
    assert object_state({"name": "a", "size": 3, "type": "file"}) is None
    one, two = ({"size": 3, mark: value} for value in ("x", "y"))
    assert object_state(one) == object_state(one) != object_state(two)
    assert object_state(two) is not None
    assert object_state({**one, "size": 4}) != object_state(one)


# ---- places ------------------------------------------------------------------------------------


def test_options_belong_to_a_place_and_are_compared_by_content_and_never_shown() -> None:
    options = {"secret": "hush", "client_kwargs": {"region_name": "eu", "verify": False}}
    same = {"client_kwargs": {"verify": False, "region_name": "eu"}, "secret": "hush"}
    place = Location.of("s3://bucket/zones.zarr", options)
    assert place == Location.of("s3://bucket/zones.zarr", same)
    assert hash(place) == hash(Location.of("s3://bucket/zones.zarr", same))
    assert pickle.loads(pickle.dumps(place)) == place
    others = (None, {}, {"secret": "hush"}, {**options, "secret": "other"}, {**options, "anon": 1})
    assert all(Location.of("s3://bucket/zones.zarr", other) != place for other in others)
    assert place.beside("s3://bucket/other.zarr") != place
    assert place.beside("s3://bucket/other.zarr").options == place.options
    assert "hush" not in f"{place!r} {place} {place.options_hash}"


def test_an_endpoint_in_the_environment_makes_another_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = [Location.of("s3://bucket/a")]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    places.append(Location.of("s3://bucket/a"))
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": "http://127.0.0.1:2"})
    places.append(Location.of("s3://bucket/a"))
    assert len(set(places)) == 3
    assert places[2] == Location.of("s3://bucket/a")


def test_an_option_that_is_an_object_is_compared_by_its_content_or_else_to_itself(
    tmp_path: Path,
) -> None:
    def of(option: object) -> Location:
        return Location.of("memory://a", {"session": option})

    assert of(dt.timedelta(1)) == of(dt.timedelta(1)) != of(dt.timedelta(2))
    lock = threading.Lock()
    assert of(lock) != of(threading.Lock())
    assert Location.of(tmp_path, {"anon": True}) == Location.of(tmp_path)


def test_a_client_is_kept_for_a_while_and_then_opened_with_the_credentials_of_the_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Location.of("memory://clients")
    monkeypatch.setattr("zoneraster.blobs._CLIENT_SECONDS", 1e9)
    first = place.blobs()
    assert place.blobs() is first
    assert Location.of("memory://clients", {"token": "b"}).blobs() is not first
    monkeypatch.setattr("zoneraster.blobs._CLIENT_SECONDS", 1e-4)
    time.sleep(0.001)
    again = place.blobs()
    assert isinstance(first, FsspecBlobs)
    assert isinstance(again, FsspecBlobs)
    assert again.fs is not first.fs


# ---- power cuts ----------------------------------------------------------------------------------


def calls_of(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What a build writes and waits for, in order: the real calls, and what each was of."""
    said: list[tuple[str, str]] = []

    def noted(name: str, real: Callable[..., Any], of: Callable[..., str]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = real(*arguments, **options)
            said.append((name, of(*arguments)))
            return result

        return call

    def path_of(file: int) -> str:
        return str(Path(f"/proc/self/fd/{file}").readlink())

    monkeypatch.setattr(blobs_room, "_sync_data", noted("sync", os.fdatasync, path_of))
    monkeypatch.setattr(os, "fsync", noted("names", os.fsync, path_of))
    monkeypatch.setattr(os, "replace", noted("put", os.replace, lambda _, path: str(path)))
    monkeypatch.setattr(Path, "unlink", noted("delete", Path.unlink, str))
    return said


def test_what_is_synced_is_written_before_its_name_and_sync_waits_for_names_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    blobs = LocalBlobs(root)
    said = calls_of(monkeypatch)
    blobs.put("a/b", b"1", synced=True)
    assert [name for name, _ in said] == ["sync", "put"]
    said.clear()
    blobs.put("a/c", b"2")
    blobs.sync(["a/c", "a/gone"])
    folders = [root / "a", root, tmp_path]
    assert said == [
        ("put", f"{root}/a/c"), ("sync", f"{root}/a/c"), *(("names", str(f)) for f in folders),
    ]  # fmt: skip
    said.clear()
    # The names of the folders themselves stay.
    blobs.sync(["a/c"])
    assert said == [("sync", f"{root}/a/c"), ("names", f"{root}/a")]


def test_chunks_are_on_disk_before_their_receipt_and_a_plan_before_its_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "zones.zarr"
    said = calls_of(monkeypatch)
    zr.build(sample_zones(5), root, grid=GRID, key="fid", chunks=100, executor="serial")
    keys = [(name, path.removeprefix(f"{root}/")) for name, path in said]
    put = [key for name, key in keys if name == "put"]
    is_on_disk: set[str] = set()
    names: set[str] = set()
    for name, key in keys:
        if name == "sync":
            is_on_disk.add(key)
        elif name == "names":
            names.add(key)
        elif key.startswith(".zoneraster/ledger/"):
            chunks = {one for one in put[: put.index(key)] if one.startswith("zone/c/")}
            assert chunks <= is_on_disk
            assert {one.rpartition("/")[0] for one in chunks} <= names
        elif key == ".zoneraster/spec.json":
            assert {".zoneraster", "zone", "x", "y"} <= names
    assert any(key.startswith("zone/c/") for key in put)
    last = [key for name, key in keys if name == "names"][-1]
    assert last == ".zoneraster"


def test_a_disk_that_fails_while_it_is_waited_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    blobs = LocalBlobs(tmp_path / "store")
    blobs.put("a/b", b"1")
    monkeypatch.setattr(blobs_room, "_sync_data", fail)
    with pytest.raises(zr.StoreError, match=r"cannot write to the disk of .*store: Input/output"):
        blobs.sync(["a/b"])
    with pytest.raises(zr.StoreError, match=r"cannot write 1 bytes to .*a/c: Input/output error"):
        blobs.put("a/c", b"1", synced=True)
    assert [key for key, _ in blobs.list("")] == ["a/b"]
