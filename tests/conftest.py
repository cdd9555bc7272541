"""What every test module may use."""

from __future__ import annotations

import functools
import http.server
import importlib
import os
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# Another one for a run: pytest --hypothesis-profile=thorough.
# No deadlines: the first call of a kernel compiles it.
settings.register_profile("default", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile("default")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of large real files that the project does not carry; without it the test skips."""
    folder = Path(os.environ.get("ZONERASTER_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set ZONERASTER_DATA to the folder of the real zone files")
    return folder


@dataclass(frozen=True)
class FakeS3:
    """An object store of the test's own.

    `files` is its file system. fsspec, obstore and GDAL find the place of any ``s3://bucket/key``
    by themselves; `options` are the storage options for code that is to be told.
    """

    files: Any  # Any: s3fs has no types
    endpoint: str  # host:port
    options: dict[str, Any]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """An empty S3 on this machine, for the test alone: ``s3.files.mkdir("bucket")`` first."""
    import fsspec
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        environment = {
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_S3_ENDPOINT": f"{host}:{port}",  # these three for GDAL
            "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": url})
        s3fs.S3FileSystem.clear_instance_cache()
        options = {"key": "test", "secret": "test", "endpoint_url": url}
        yield FakeS3(fsspec.filesystem("s3"), f"{host}:{port}", options)
    finally:
        # All servers of one process have the same buckets.
        urllib.request.urlopen(f"{url}/moto-api/reset", data=b"").close()
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()


@dataclass(frozen=True)
class Web:
    """A web server that gives files and lists none, as most do that are for files.

    `folder` is what it serves under `url`; `asked` are the paths that it was asked for. What is not
    there is 404, or 403 where nobody may know what there is.
    """

    folder: Path
    url: str
    asked: list[str]


@pytest.fixture(params=[404, 403], ids=["404", "403"])
def web(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Web]:
    """A web server on this machine, for the test alone."""
    asked: list[str] = []

    class Files(http.server.SimpleHTTPRequestHandler):
        def list_directory(self, path: Any) -> None:
            self.send_error(request.param)

        def send_error(self, code: int, *args: Any, **options: Any) -> None:
            super().send_error(request.param if code == 404 else code, *args, **options)

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args: Any) -> None:
            pass

    handler = functools.partial(Files, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    # It looks as often whether it is to end.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield Web(tmp_path, f"http://127.0.0.1:{server.server_port}", asked)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def abfs(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """An object store with accounts: objects of each account by key, all under ``abfs://``.

    The option `account_name` says in which account a URL is meant.
    """
    from fsspec.implementations.memory import MemoryFileSystem

    accounts: dict[str, dict[str, Any]] = {}
    folders: dict[str, list[str]] = {}

    class Accounts(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
        protocol = "abfs"

        def __init__(self, account_name: str = "", **options: Any) -> None:
            super().__init__(**options)
            self.store = accounts.setdefault(account_name, {})
            self.pseudo_dirs = folders.setdefault(account_name, [""])

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(super()._strip_protocol(path.replace("abfs://", "memory://")))

    monkeypatch.setitem(importlib.import_module("fsspec.registry")._registry, "abfs", Accounts)
    # A client of another test holds the accounts of that one.
    monkeypatch.setenv("AZURE_TEST", str(id(accounts)))
    return accounts
