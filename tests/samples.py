"""Small zones and stores for the tests, and ways to compare stores."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import geopandas
import numpy as np
import shapely

from tests.oracles import star
from zoneraster._grid.grid import Grid

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
    """Hash of every key below a folder of a store; the lock is no key."""
    root = store / what
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def times(store: Path) -> dict[str, int]:
    """When each chunk was written, ns."""
    folder = store / "zone" / "c"
    return {
        str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()
    }


def run_python(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a Python process in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """SIGKILL a process group after a while; True when it was still running."""
    time.sleep(seconds)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive
