"""Measure zonal statistics: python tests/benchmarks/bench_stats.py [--side 40000].

Not a test: it prints figures, and compares only what ran in the same call. Every candidate runs in
a process of its own, with as many threads as there are cores. Times are those of the reduction
itself, without imports, after a first call that compiles or loads kernels; peak memory is that of
the whole process. Candidates that would take hours get a part of the canvas, in memory where they
allow it, and are compared by pixels a second.
"""

from __future__ import annotations

import argparse
import concurrent.futures as cf
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CHUNK, METRES = 4000, 30
STATS = ("count", "sum", "mean", "min", "max")
THRESHOLDS = [10, 15, 20, 25, 30, 50, 75]
THREADS = len(os.sched_getaffinity(0))


# ---- data --------------------------------------------------------------------------------------


def smooth(rng: np.random.Generator, step: int) -> np.ndarray:
    """A chunk of a field that changes over `step` pixels, 0 to 1, float32."""
    n = CHUNK // step
    coarse = rng.random((n + 1, n + 1)).astype(np.float32)
    at = np.arange(CHUNK) / step
    low, share = at.astype(int), (at % 1).astype(np.float32)
    rows = coarse[low] * (1 - share)[:, None] + coarse[low + 1] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, low + 1] * share


def biomass(rng: np.random.Generator) -> np.ndarray:
    field = 300 * smooth(rng, 200) + 40 * smooth(rng, 20)
    field += 8 * rng.standard_normal((CHUNK, CHUNK), np.float32)
    field = np.maximum(field, 0).round(1)
    field[smooth(rng, 400) < 0.2] = np.nan
    return field


LAYERS: dict[str, tuple[str, Callable[[np.random.Generator], np.ndarray]]] = {
    "biomass": ("float32", biomass),
    "loss": ("uint8", lambda r: (smooth(r, 25) > 0.85) * (1 + 23 * smooth(r, 100)).astype("u1")),
    "cover": ("uint8", lambda r: (100 * smooth(r, 50)).astype(np.uint8)),
    "driver": ("uint8", lambda r: (8 * smooth(r, 250)).astype(np.uint8)),
}


def write_layer(folder: Path, name: str, side: int) -> None:
    import pyproj
    import zarr

    dtype, make = LAYERS[name]
    group = zarr.create_group(folder / f"{name}.zarr")
    array = group.create_array(
        name, shape=(side, side), chunks=(CHUNK, CHUNK), dtype=dtype, fill_value=0,
        compressors=[zarr.codecs.ZstdCodec(level=1)], dimension_names=("y", "x"),
        attributes={"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"},
    )  # fmt: skip
    for i in range(0, side, CHUNK):
        for j in range(0, side, CHUNK):
            array[i : i + CHUNK, j : j + CHUNK] = make(np.random.default_rng([i, j, len(name)]))
    centres = METRES * (np.arange(side) + 0.5)
    for axis, values in (("y", side * METRES - centres), ("x", centres)):
        group.create_array(axis, shape=(side,), dtype="f8", dimension_names=(axis,))[:] = values
    crs = {"crs_wkt": pyproj.CRS(6933).to_wkt()}
    group.create_array("spatial_ref", shape=(), dtype="i4", attributes=crs)


def districts(side: int, n: int) -> Any:
    """Voronoi cells that fill the canvas, with borders of many vertices."""
    import geopandas
    import shapely

    canvas = shapely.box(0, 0, side * METRES, side * METRES)
    seeds = np.random.default_rng(1).random((n, 2)) * side * METRES
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(seeds), extend_to=canvas))
    cells = shapely.segmentize(shapely.intersection(cells, canvas), 500)
    return geopandas.GeoDataFrame({"district": np.arange(1, n + 1)}, geometry=cells, crs=6933)


def prepare(folder: Path, side: int) -> None:
    import zoneraster as zr

    sys.path.insert(0, str(ROOT / "examples"))
    import seed_case

    squares, grid = seed_case.make_squares(round((side / 100) ** 2 / 0.8))
    assert grid.shape == (side, side)
    cells = districts(side, max(4, round(1000 * (side / 40_000) ** 2)))
    few = squares.iloc[:1].set_geometry(
        [__import__("shapely").box(0, 0, CHUNK * METRES, CHUNK * METRES)], crs=6933
    )
    for name, zones, key in (
        ("seed", squares, "square"), ("districts", cells, "district"), ("few", few, "square")
    ):  # fmt: skip
        zones.to_parquet(folder / f"{name}.parquet")
        zr.build(zones, folder / f"{name}.zarr", grid=grid, key=key, chunks=CHUNK)
    for name in LAYERS:
        write_layer(folder, name, side)


# ---- candidates --------------------------------------------------------------------------------


def chunk_files(folder: Path, store: str) -> list[tuple[Path, Path]]:
    root = folder / f"{store}.zarr" / "zone" / "c"
    values = folder / "biomass.zarr" / "biomass" / "c"
    keys = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())
    return [(root / key, values / key) for key in keys]


def decode(folder: Path, store: str) -> int:
    """Read and decode both arrays with the codec itself, and do nothing with them."""
    import numcodecs

    def one(pair: tuple[Path, Path]) -> None:
        for path in pair:
            numcodecs.Zstd().decode(path.read_bytes())

    files = chunk_files(folder, store)
    with cf.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, files))
    return len(files) * CHUNK * CHUNK


def inflate(folder: Path, store: str) -> int:
    """Read the value chunks and let libzstd decompress them: less than this no call can do."""
    import numcodecs

    def one(pair: tuple[Path, Path]) -> None:
        numcodecs.Zstd().decode(pair[1].read_bytes())

    files = chunk_files(folder, store)
    with cf.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, files))
    return len(files) * CHUNK * CHUNK


def basic(folder: Path, store: str) -> int:
    import zoneraster as zr

    table = zr.zonal_stats(folder / f"{store}.zarr", folder / "biomass.zarr", stats=STATS)
    return int(table.attrs["audit"]["pixels_read"])


def median(folder: Path, store: str) -> int:
    import zoneraster as zr

    table = zr.zonal_stats(folder / f"{store}.zarr", folder / "biomass.zarr", stats=["median"])
    return int(table.attrs["audit"]["pixels_read"])


def grouped(folder: Path, store: str) -> int:
    import zoneraster as zr

    keys = {
        "loss": folder / "loss.zarr",
        "cover": zr.thresholds(folder / "cover.zarr", THRESHOLDS),
        "driver": folder / "driver.zarr",
    }
    table = zr.zonal_stats(
        folder / f"{store}.zarr", folder / "biomass.zarr", stats=("count", "sum"), by=keys
    )
    return int(table.attrs["audit"]["pixels_read"])


def opened(folder: Path, name: str, variable: str, side: int) -> Any:
    import xarray as xr

    data = xr.open_zarr(folder / f"{name}.zarr", consolidated=False)[variable]
    return data.isel(y=slice(0, side), x=slice(0, side))


def flox(folder: Path, store: str) -> int:
    """Five reductions, computed together so that each block is read once, of 2 x 2 chunks."""
    import dask
    from flox.xarray import xarray_reduce

    side = 2 * CHUNK
    zone, values = opened(folder, store, "zone", side), opened(folder, "biomass", "biomass", side)
    labels = np.arange(1, int(zone.max()) + 1)
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        lazy = [
            xarray_reduce(values, zone, func=func, expected_groups=labels, fill_value=0)
            for func in ("count", "nansum", "nanmean", "nanmin", "nanmax")
        ]
        dask.compute(*lazy)
    return side * side


def flox_grouped(folder: Path, store: str) -> int:
    """Two reductions by zone and three keys, the thresholds as classes."""
    import dask
    import pandas as pd
    import xarray as xr
    from flox.xarray import xarray_reduce

    side = 2 * CHUNK
    zone, values = opened(folder, store, "zone", side), opened(folder, "biomass", "biomass", side)
    keys = [opened(folder, name, name, side) for name in ("loss", "cover", "driver")]
    keys[1] = xr.apply_ufunc(
        np.digitize, keys[1], kwargs={"bins": THRESHOLDS}, dask="parallelized",
        output_dtypes=["int64"],
    ).rename("cover")  # fmt: skip
    groups = tuple(pd.RangeIndex(n) for n in (int(zone.max()) + 1, 25, len(THRESHOLDS) + 1, 9))
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        lazy = [
            xarray_reduce(
                values, zone.astype("int32"), *(k.astype("int32") for k in keys), func=func,
                expected_groups=groups, fill_value=0,
            )
            for func in ("count", "nansum")
        ]  # fmt: skip
        dask.compute(*lazy)
    return side * side


def part_of_zones(folder: Path, store: str, side: int) -> tuple[Any, Path]:
    """Zones of the south-western corner of the canvas, and the values there as a GeoTIFF."""
    import geopandas
    import rasterio
    from affine import Affine

    reach = side * METRES
    zones = geopandas.read_parquet(folder / f"{store}.parquet").cx[0:reach, 0:reach]
    zones = zones.clip((0, 0, reach, reach), keep_geom_type=True)
    path = folder / f"part-{side}.tif"
    if not path.exists():
        full = opened(folder, "biomass", "biomass", 10**9)
        values = full.isel(y=slice(-side, None), x=slice(0, side)).values
        profile = {
            "driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "float32",
            "crs": "EPSG:6933", "transform": Affine(METRES, 0, 0, 0, -METRES, reach),
            "nodata": np.nan, "tiled": True, "blockxsize": 512, "blockysize": 512,
            "compress": "zstd", "zstd_level": 1,
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as raster:
            raster.write(values, 1)
    return zones, path


def exactextract(folder: Path, store: str) -> int:
    import exactextract as ee

    side = 2 * CHUNK
    zones, path = part_of_zones(folder, store, side)
    started = time.perf_counter()
    ee.exact_extract(str(path), zones, ["count", "sum", "mean", "min", "max"], output="pandas")
    exactextract.seconds = time.perf_counter() - started
    return side * side


def rasterstats(folder: Path, store: str) -> int:
    from rasterstats import zonal_stats

    side = CHUNK
    zones, path = part_of_zones(folder, store, side)
    started = time.perf_counter()
    zonal_stats(zones, str(path), stats=list(STATS))
    rasterstats.seconds = time.perf_counter() - started
    return side * side


CANDIDATES: dict[str, Callable[[Path, str], int]] = {
    f.__name__: f
    for f in (
        decode,
        inflate,
        basic,
        median,
        grouped,
        flox,
        flox_grouped,
        exactextract,
        rasterstats,
    )
}


def run_candidate(name: str, folder: Path, store: str) -> None:
    """Called in a process of its own: prints seconds, pixels and peak memory."""
    candidate = CANDIDATES[name]
    if candidate in (basic, median, grouped):
        candidate(folder, "few")  # kernels from their cache
    started, busy = time.perf_counter(), time.process_time()
    pixels = candidate(folder, store)
    busy = time.process_time() - busy
    seconds = getattr(candidate, "seconds", time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = {
        "s": round(seconds, 3), "cpu_s": round(busy, 3),
        "Mpx/s": round(pixels / seconds / 1e6, 2), "MB": round(peak),
    }  # fmt: skip
    print(json.dumps(said))


def measured(name: str, folder: Path, store: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--candidate", name, "--store", store, "--folder", folder]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def compare(folder: Path) -> dict[str, Any]:
    """All candidates on both stores; ratios of pixels a second to those of zoneraster."""
    said: dict[str, Any] = {}
    measured("grouped", folder, "few")  # kernels into their cache
    for store in ("seed", "districts"):
        runs = {
            name: measured(name, folder, store)
            for name in (
                "decode", "inflate", "basic", "median", "flox", "exactextract", "rasterstats"
            )
        }  # fmt: skip
        if store == "districts":
            runs |= {n: measured(n, folder, store) for n in ("grouped", "flox_grouped")}
        ours = runs["basic"]["Mpx/s"]
        ratios = {
            f"basic/{n}": round(ours / runs[n]["Mpx/s"], 2)
            for n in ("decode", "flox", "exactextract", "rasterstats")
        }
        # Times as long as libzstd needs, by the clock and by the work of all cores.
        for name in ("basic", "median"):
            for clock in ("s", "cpu_s"):
                times = runs[name][clock] / runs["inflate"][clock]
                ratios[f"{name}/inflate {clock}"] = round(times, 2)
        if "grouped" in runs:
            by = runs["grouped"]["Mpx/s"] / runs["flox_grouped"]["Mpx/s"]
            ratios["grouped/flox_grouped"] = round(by, 2)
        said[store] = {**runs, "ratios": ratios}
    few = measured("basic", folder, "few")
    share = few["s"] / said["districts"]["basic"]["s"]
    said["few"] = {**few, "share_of_time": round(share, 4)}
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=40_000, help="pixels, a multiple of 4,000")
    parser.add_argument("--folder", type=Path, help="where to work; data found there are used")
    parser.add_argument("--candidate", choices=["prepare", *CANDIDATES], help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.candidate == "prepare":
        prepare(given.folder, given.side)
        return
    if given.candidate:
        run_candidate(given.candidate, given.folder, given.store)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)) / str(given.side)
        if not (folder / "ready").exists():
            folder.mkdir(parents=True, exist_ok=True)
            # In a process of its own: a child's peak memory starts with that of its parent.
            options = ["--candidate", "prepare", "--folder", folder, "--side", given.side]
            subprocess.run([sys.executable, __file__, *map(str, options)], check=True)
            (folder / "ready").touch()
        print(json.dumps(compare(folder), indent=1))


if __name__ == "__main__":
    main()
