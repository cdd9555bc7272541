"""Small zones and stores for the tests, and ways to compare stores."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from tests.oracles import star
from zoneraster._grid.grid import Grid
from zoneraster.blobs import LocalBlobs

GRID = Grid.from_bounds((0, 0, 10, 10), "1/50", "EPSG:4326")
CHUNKS = 60


def sample_zones(n: int = 40, *, seed: int = 1) -> geopandas.GeoDataFrame:
    """Overlapping stars on `GRID`, with an integer key and a name."""
    rng = np.random.default_rng(seed)
    shapes = [
        shapely.Polygon(star(rng, tuple(rng.uniform(0, 10, 2)), rng.uniform(0.05, 2.5), 9))
        for _ in range(n)
    ]
    return geopandas.GeoDataFrame(
        {"fid": np.arange(1, n + 1) * 7, "name": [f"zone {i}" for i in range(n)]},
        geometry=shapes,
        crs="EPSG:4326",
    )


def tree(store: Path, *, what: str = "") -> dict[str, str]:
    """Hash of every key below a folder of a store; locks and the token are no keys."""
    root = store / what
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in {"lock", "planning", "token"}
    }


def times(store: Path) -> dict[str, int]:
    """When each chunk was written, ns."""
    folder = store / "zone" / "c"
    return {
        str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()
    }


def run_python(
    code: str, *arguments: object, script: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a Python process in a group of its own.

    Code whose functions go to worker processes needs a `script` to be written to: they import it.
    """
    code = textwrap.dedent(code)
    if script is not None:
        script.write_text(code)
    return subprocess.Popen(
        [sys.executable, *(["-c", code] if script is None else [script]), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def is_running(pid: int) -> bool:
    """A process is there, and not only its exit code."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait for something that happens in another process or thread; fail where it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """SIGKILL a process group after a while; True when it was still running."""
    time.sleep(seconds)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Let n changes of a local store pass, and no more."""
    left = iter(range(n))

    def limited(real: Any) -> Any:
        def change(self: LocalBlobs, *arguments: Any, **options: Any) -> Any:
            if next(left, None) is None:
                raise KilledError
            return real(self, *arguments, **options)

        return change

    for name in ("put", "delete", "writer"):
        monkeypatch.setattr(LocalBlobs, name, limited(getattr(LocalBlobs, name)))


def check_resumes(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[Path], object], whole: Path, steps: range
) -> None:
    """Builds that are killed after some changes go on to the bytes of one that never was."""
    expected, store = tree(whole), whole.with_name("killed")
    for n in steps:
        with monkeypatch.context() as patch:
            kill_at(patch, n)
            with pytest.raises(KilledError):
                build(store)
        build(store)
        assert tree(store) == expected
        shutil.rmtree(store)
