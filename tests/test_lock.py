"""Who may write: the lock, and the token of a plan."""

from __future__ import annotations

import multiprocessing
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import zoneraster as zr
from tests.samples import wait_until
from zoneraster import lock as locks
from zoneraster.blobs import LocalBlobs, Location
from zoneraster.lock import Fence, lock, read_token, renew_token


def place(folder: Path) -> Location:
    """A store's place, planned once."""
    (folder / ".zoneraster").mkdir(parents=True, exist_ok=True)
    location = Location.of(folder)
    renew_token(location, location.blobs())
    return location


def fence_of(location: Location, blobs: object = None) -> Fence:
    """What a task that is issued now puts through."""
    blobs = location.blobs() if blobs is None else blobs
    return Fence(location, blobs, read_token(blobs))


def test_a_lock_is_for_one_or_for_many_that_share_it(tmp_path: Path) -> None:
    location = Location.of(tmp_path)
    with lock(location):
        for shared in (False, True):
            with pytest.raises(zr.StoreBusyError, match=r"another build .* \(pid \d+ on "):
                lock(location, shared=shared).__enter__()
        with lock(location, name="planning"):
            pass
    with lock(location, shared=True), lock(location, shared=True), pytest.raises(zr.StoreBusyError):
        lock(location).__enter__()
    with lock(location):
        pass


def test_a_lock_that_is_waited_for_comes_when_the_holder_goes(tmp_path: Path) -> None:
    location, got = Location.of(tmp_path), threading.Event()

    def wait() -> None:
        with lock(location, wait=True):
            got.set()

    thread = threading.Thread(target=wait)
    with lock(location):
        thread.start()
        assert not got.wait(0.1)
    assert got.wait(5)
    thread.join()


def test_many_may_lock_a_place_that_others_make_and_remove_meanwhile(tmp_path: Path) -> None:
    location, inside = Location.of(tmp_path / "new" / "store"), []

    def take(_: int) -> None:
        with lock(location, wait=True):
            inside.append(1)
            assert len(inside) == 1
            inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(400)))
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {"lock"}


def test_a_process_that_was_forked_meanwhile_does_not_keep_the_lock(tmp_path: Path) -> None:
    location, context = Location.of(tmp_path), multiprocessing.get_context("fork")
    over = context.Event()
    with lock(location):
        child = context.Process(target=over.wait)
        child.start()
    with lock(location):
        pass
    over.set()
    child.join()


@pytest.mark.parametrize("where", ["disk", "memory"])
def test_a_task_of_an_older_plan_puts_and_deletes_nothing(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_BELIEVED", 0.05)
    location = place(tmp_path) if where == "disk" else Location.of(f"memory://{tmp_path.name}")
    blobs = location.blobs()
    renew_token(location, blobs)
    old = fence_of(location)
    old.put("zone/c/0/0", b"old")
    renew_token(location, blobs)
    new = fence_of(location)
    new.put("zone/c/0/0", b"new")
    with pytest.raises(zr.StoreBusyError, match="was planned anew while this build ran"):
        old.put("zone/c/0/0", b"old")
    with pytest.raises(zr.StoreBusyError, match="run it again if its zones are the right ones"):
        old.delete("zone/c/0/0")
    assert blobs.get("zone/c/0/0") == b"new"
    new.delete("zone/c/0/0")
    assert not list(blobs.list("zone/c"))


def test_a_store_that_never_had_a_token_is_written_until_it_is_planned(tmp_path: Path) -> None:
    location = Location.of(tmp_path)
    (tmp_path / ".zoneraster").mkdir()
    fence = fence_of(location)
    fence.put("a", b"1")
    renew_token(location, location.blobs())
    with pytest.raises(zr.StoreBusyError):
        fence.put("a", b"2")


def test_a_store_that_was_removed_is_not_written_nor_made_again(tmp_path: Path) -> None:
    location = place(tmp_path / "store")
    fence = fence_of(location)
    fence.put("a", b"1")
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(zr.StoreBusyError):
        fence.put("a", b"2")
    assert not (tmp_path / "store").exists()
    place(tmp_path / "store")
    with pytest.raises(zr.StoreBusyError):
        fence.put("a", b"2")


def test_a_new_plan_waits_for_puts_in_flight_and_refuses_those_that_come(tmp_path: Path) -> None:
    location, begun, go_on = place(tmp_path), threading.Event(), threading.Event()

    class Slow(LocalBlobs):
        def put(self, key: str, data: bytes, *, synced: bool = False) -> None:
            if key == "slow":
                begun.set()
                assert go_on.wait(10)
            super().put(key, data, synced=synced)
            order.append(key)

    order: list[str] = []
    blobs = Slow(tmp_path)
    fence = fence_of(location, blobs)

    def plan() -> None:
        renew_token(location, location.blobs())
        order.append("planned")

    before = read_token(blobs)
    threads = [
        threading.Thread(target=fence.put, args=("slow", b"old")),
        threading.Thread(target=plan),
    ]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    wait_until(lambda: read_token(blobs) != before, seconds=5)
    assert not order
    with pytest.raises(zr.StoreBusyError):
        fence.put("late", b"old")
    go_on.set()
    for thread in threads:
        thread.join()
    assert order == ["slow", "planned"]
    assert not (tmp_path / "late").exists()


def test_an_object_store_is_asked_for_the_token_once_a_second_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    location = Location.of("memory://asked-once")
    renew_token(location, location.blobs())
    blobs, asked = location.blobs(), []
    real = type(blobs).get
    monkeypatch.setattr(type(blobs), "get", lambda self, key: asked.append(key) or real(self, key))
    now = [100.0]
    fence = fence_of(location, blobs)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    asked.clear()
    for _ in range(5):
        fence.put("zone/c/0/0", b"x")
    assert len(asked) == 1
    now[0] += 1.0
    fence.put("zone/c/0/0", b"x")
    assert len(asked) == 2


def test_folders_that_were_made_for_a_lock_go_with_it_unless_something_came_into_them(
    tmp_path: Path,
) -> None:
    with lock(Location.of(tmp_path / "deep" / "new"), name="planning"):
        with lock(Location.of(tmp_path / "deep" / "new")):
            pass
        assert (tmp_path / "deep" / "new" / ".zoneraster").is_dir()
    assert not list(tmp_path.iterdir())
    with lock(Location.of(tmp_path / "new")):
        (tmp_path / "new" / ".zoneraster" / "spec.json").write_bytes(b"")
    assert (tmp_path / "new" / ".zoneraster" / "lock").exists()


def test_a_lock_that_was_removed_while_it_was_waited_for_is_made_again(tmp_path: Path) -> None:
    location, got, go_on = Location.of(tmp_path / "new"), threading.Event(), threading.Event()

    def wait() -> None:
        with lock(location, wait=True):
            got.set()
            assert go_on.wait(10)

    thread = threading.Thread(target=wait)
    with lock(location):
        thread.start()
        assert not got.wait(0.1)
    assert got.wait(5)
    # It is the lock that others meet.
    with pytest.raises(zr.StoreBusyError):
        lock(location).__enter__()
    go_on.set()
    thread.join()
