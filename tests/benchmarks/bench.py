"""Measure whole builds as processes: python tests/benchmarks/bench.py seed | planet ZONES.

Not a test: it prints figures, and compares only what ran in the same call. Each candidate runs in a
process of its own, so that wall time, CPU time and peak memory are those of the whole thing, from
an interpreter that has to start to a file system that has everything.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

RASTERIO = """
import sys, geopandas, rasterio.features
from affine import Affine
zones = geopandas.read_parquet(sys.argv[1])
rasterio.features.rasterize(
    zip(zones.geometry, zones.square), out_shape=(40000, 40000),
    transform=Affine(30, 0, 0, 0, -30, 1200000), dtype="uint32",
)
"""


def measured(command: list[str]) -> dict[str, float]:
    """Run a command; wall and CPU seconds, peak resident megabytes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    if code:
        raise SystemExit(f"{command} failed")
    return {
        "wall_s": round(time.perf_counter() - started, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def stored(store: Path) -> dict[str, int]:
    """Bytes and files of a store by kind."""
    return {
        "array_bytes": size(store / "zone"),
        "array_files": sum(p.is_file() for p in (store / "zone" / "c").rglob("*")),
        "zones_parquet_bytes": (store / "zones.parquet").stat().st_size,
        "plan_and_ledger_bytes": size(store / ".zoneraster"),
    }


def build_command(zones: Path, store: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "zoneraster.cli", "build", str(zones), str(store), *options]


def seed(folder: Path) -> dict[str, object]:
    """200,000 squares on 1.6e9 pixels: zoneraster to disk against rasterio into memory."""
    sys.path.insert(0, str(ROOT / "examples"))
    import seed_case

    zones = folder / "squares.parquet"
    seed_case.make_squares(200_000)[0].to_parquet(zones)
    options = ("--resolution", "30", "--bounds", "0", "0", "1200000", "1200000")
    options += ("--crs", "EPSG:6933", "--key", "square")
    measured(build_command(zones, folder / "warm.zarr", *options))  # kernels into their cache
    ours = measured(build_command(zones, folder / "squares.zarr", *options))
    theirs = measured([sys.executable, "-c", RASTERIO, str(zones)])
    return {
        "zoneraster": {**ours, **stored(folder / "squares.zarr")},
        "rasterio": theirs,
        "times_faster": round(theirs["wall_s"] / ours["wall_s"], 2),
    }


def gdal_per_chunk(zones: Path, store: Path, n_chunks: int) -> dict[str, float]:
    """CPU seconds of the usual idiom, STRtree and rasterize per chunk, from a sample of chunks."""
    import geopandas
    import pyarrow.parquet as pq
    import rasterio.features
    import shapely

    import zoneraster as zr

    geometry = geopandas.read_parquet(zones, columns=["zone_id", "geometry"])
    shapes, ids = geometry.geometry.to_numpy(), geometry["zone_id"].to_numpy()
    tree = shapely.STRtree(shapes)
    index = pq.read_table(store / ".zoneraster" / "chunks.parquet").to_pandas()
    sample = index.sample(n_chunks, random_state=5)
    grid = zr.GLOBAL_30M
    step, side = grid.transform.a, 4000
    started = time.process_time()
    for row, col in zip(sample["chunk_row"], sample["chunk_col"], strict=True):
        west, north = -180 + col * side * step, 90 - row * side * step
        hits = np.sort(
            tree.query(shapely.box(west, north - side * step, west + side * step, north))
        )
        rasterio.features.rasterize(
            zip(shapes[hits], ids[hits].tolist(), strict=True),
            (side, side),
            transform=(step, 0, west, 0, -step, north),
            dtype="uint32",
        )
    cpu = time.process_time() - started
    return {"sample_cpu_s": round(cpu, 2), "all_cpu_s": round(cpu / n_chunks * len(index), 1)}


def planet(folder: Path, zones: Path) -> dict[str, object]:
    """The globe at 30 m, 1.04e12 pixels, from a file of zones with a column zone_id."""
    store = folder / "planet.zarr"
    options = ("--global-30m", "--key", "zone_id")
    ours = measured(build_command(zones, store, *options))
    again = measured(build_command(zones, store, *options))
    idiom = gdal_per_chunk(zones, store, 60)
    return {
        "zoneraster": {**ours, **stored(store)},
        "build_again": again,
        "gdal_per_chunk": idiom,
        "times_less_cpu": round(idiom["all_cpu_s"] / ours["cpu_s"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["seed", "planet"])
    parser.add_argument("zones", nargs="?", type=Path)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    given = parser.parse_args()
    if given.what == "planet" and given.zones is None:
        parser.error("planet needs a file of zones")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        said = seed(folder) if given.what == "seed" else planet(folder, given.zones)
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
