"""Named bytes are whole or absent, and stay where they belong."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import zoneraster as zr
from tests.samples import run_python
from zoneraster.blobs import LocalBlobs, Location


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
    assert b"run the same command again" in said
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
