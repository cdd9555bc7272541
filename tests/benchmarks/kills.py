"""Builds that are killed while another one with other zones begins at once, many times.

    python tests/benchmarks/kills.py 200

A store is built with one set of zones, by worker processes, by a pool of the caller's own, or on a
dask cluster. At a random moment a worker, the coordinator or the whole group gets SIGKILL. At once
the same store is built with other zones, by this process. When it returns, and again when all
tasks of the older build have ended, every chunk is compared with a fresh build of these zones.
Chunks of the older build are put slowly, as on a bad network drive, so that many are on their way.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import geopandas
import numpy as np
import shapely
from distributed import Client, LocalCluster

import zoneraster as zr
from zoneraster.blobs import LocalBlobs

GRID = zr.Grid.from_bounds((0, 0, 10, 10), "1/80")
OPTIONS = {"grid": GRID, "key": "fid", "chunks": 100}
EXECUTORS = ("processes", "dask", "pool", "dask")
VICTIMS = ("worker", "coordinator", "group")
# Set for processes that put chunks slowly; their workers import this file, and inherit it.
SLOW = "KILLS_PUT_SLOWLY"


def zones_of(seed: int) -> geopandas.GeoDataFrame:
    """Overlapping stars that leave hardly a chunk empty."""
    rng = np.random.default_rng(seed)
    shapes = []
    for x, y in rng.uniform(0, 10, (60, 2)):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 200))
        radius = rng.uniform(0.3, 2.0) * rng.uniform(0.2, 1, 200)
        points = np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])
        shapes.append(shapely.Polygon(points))
    return geopandas.GeoDataFrame({"fid": range(1, 61)}, geometry=shapes, crs=4326)


def put_slowly() -> None:
    """Let each put of a chunk by this process take up to 0.3 s."""
    put = LocalBlobs.put

    def late(self: LocalBlobs, key: str, data: bytes, **how: bool) -> None:
        if key.startswith("zone/c/"):
            time.sleep(random.uniform(0, 0.3))
        put(self, key, data, **how)

    LocalBlobs.put = late


if os.environ.get(SLOW):
    put_slowly()


def start(function: Callable[..., None], *arguments: object) -> int:
    """Fork a process in a group of its own that puts slowly; its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        os.environ[SLOW] = "1"
        put_slowly()
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 2)
        function(*arguments)
    finally:
        os._exit(0)


def build_slowly(executor: str, zones: Path, store: Path, address: str) -> None:
    """The build that is killed."""
    who: object = executor
    if executor == "pool":
        who = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
    if executor == "dask":
        who = Client(address)
    zr.build(zones, store, executor=who, workers=2, **OPTIONS)


def run_cluster(address: Path) -> None:
    """A cluster that outlives its clients."""
    cluster = LocalCluster(2, threads_per_worker=1, dashboard_address=":0")
    address.write_text(cluster.scheduler_address)
    signal.pause()


def chunks_of(store: Path) -> dict[str, str]:
    """Hash of every chunk."""
    folder = store / "zone" / "c"
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".partial")
    }


def differing(found: dict[str, str], expected: dict[str, str]) -> int:
    return sum(found.get(key) != expected.get(key) for key in {*found, *expected})


def processes_of(session: int) -> list[int]:
    """Processes of a session that still run, the worker processes of its Pythons first."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, own = status.read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z":
                found.append(int(status.parent.name))
    return found


def is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def strike(victim: str, older: int, cluster: int, rng: random.Random) -> None:
    """SIGKILL to a worker, the coordinator or everybody of the older build."""
    workers = [pid for pid in processes_of(cluster or older) if is_worker(pid)]
    if victim == "worker" and workers:
        kill(rng.choice(workers))
        # The build mends it or ends by itself: what is left of it goes a little later.
        time.sleep(rng.uniform(0, 0.3))
    if victim == "group":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(older, signal.SIGKILL)
    kill(older)


def build_at_once(zones: Path, store: Path) -> None:
    """Build, as soon as the lock is free."""
    while True:
        try:
            zr.build(zones, store, workers=2, **OPTIONS)
        except zr.StoreBusyError:
            time.sleep(0.005)
        else:
            return


def one_round(
    folder: Path, expected: dict[str, str], executor: str, victim: str, cluster: int,
    rng: random.Random, said: Counter[str],
) -> None:  # fmt: skip
    """Kill one build, build with other zones, compare."""
    store = folder / "zones.zarr"
    spec = store / ".zoneraster" / "spec.json"
    before = spec.read_bytes() if spec.exists() else b""
    address = (folder / "address").read_text()
    older = start(build_slowly, executor, folder / "older.parquet", store, address)
    while is_there(older) and (spec.read_bytes() if spec.exists() else b"") == before:
        time.sleep(0.005)
    # Some are killed before the first chunk is put, most while chunks are.
    while rng.random() > 0.002 and is_there(older) and chunks_of(store) == expected:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 2))
    said["killed while it ran"] += is_there(older)
    said["had put chunks"] += differing(chunks_of(store), expected) > 0
    strike(victim, older, cluster if executor == "dask" else 0, rng)
    build_at_once(folder / "newer.parquet", store)
    said["wrong at return"] += differing(chunks_of(store), expected)
    time.sleep(1.2)
    said["wrong later"] += differing(chunks_of(store), expected)
    os.waitpid(older, 0)
    left = processes_of(older)
    said["workers that lived on"] += len(left)
    for pid in left:
        kill(pid)


def is_there(pid: int) -> bool:
    """A child has not ended yet."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=12)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng, said = random.Random(options.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for which, seed in (("older", 1), ("newer", 2)):
            zones_of(seed).to_parquet(folder / f"{which}.parquet")
        for store in ("fresh.zarr", "zones.zarr"):
            zr.build(folder / "newer.parquet", folder / store, **OPTIONS)
        expected = chunks_of(folder / "fresh.zarr")
        cluster = start(run_cluster, folder / "address")
        while not (folder / "address").exists():
            time.sleep(0.05)
        try:
            for number in range(options.rounds):
                executor, victim = EXECUTORS[number % 4], VICTIMS[number // 4 % 3]
                one_round(folder, expected, executor, victim, cluster, rng, said)
                print(number + 1, executor, victim, dict(said), flush=True)
        finally:
            os.killpg(cluster, signal.SIGKILL)
    sys.exit(int(said["wrong at return"] + said["wrong later"] > 0))


if __name__ == "__main__":
    main()
