"""Compare two versions byte by byte: python tests/benchmarks/same_bytes.py OLD_CHECKOUT.

Not a test: it needs another checkout, and the larger inputs need the folder of real files
(ZONERASTER_DATA). Each version builds the same stores and makes the same tables in processes of its
own. A store of the old version is then damaged, and resumed, verified and asked by the new one.
Prints a line for each kind of thing, with the names that differ, and exits with 1 if any does.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ZONERASTER_DATA") or ROOT.parent / "shared" / "data")
KOPPEN = ROOT / "zoneraster" / "data" / "koppen_us.tif"
ALTITUDE = DATA / "values" / "altitude_5min_pvlib.tif"
NEEDS = {
    "counties": [KOPPEN],
    "swiss": [DATA / "swiss_municipalities_2025.parquet", ALTITUDE],
    "seed": [],
    "districts": [DATA / "geoboundaries_adm.parquet"],
}
MOMENTS = ("pixels", "count", "nodata", "sum", "mean", "min", "max", "range", "var", "std")
AREAS = ("area", "pixel_area", "area_sum", "area_mean")
# What a line of the comparison is about: the first pattern that a file's path matches.
KINDS = {
    "tables": "tables/*.parquet",
    "audits": "tables/*.json",
    "chunks": "*/zone/c/*",
    "manifest": "*/manifest.parquet",
    "chunk index": "*/chunks.parquet",
    "keys": "*/keys.parquet",
    "zone table": "*/zones.parquet",
    "spec": "*/spec.json",
    "plan report": "*/plan.json",
    "receipts": "*/ledger/*.parquet",
    "build report": "*/report.json",
    "Zarr metadata": "*.zarr/*",
    "answers": "answers.json",
}
SECONDS = {"seconds"}  # of the reports, not compared


# ---- what each version does, in its own process --------------------------------------------------


def rms_stat(zr: Any) -> Any:
    """A statistic of one's own."""
    return zr.Stat(
        "rms",
        init=lambda: (0.0, 0.0),
        update=lambda s, x, a: (s[0] + x.size, s[1] + (x.astype(float) ** 2).sum()),
        combine=lambda s, t: (s[0] + t[0], s[1] + t[1]),
        finalize=lambda s: (s[1] / s[0]) ** 0.5 if s[0] else float("nan"),
    )


def build_counties(zr: Any, store: str, inputs: Path) -> Any:
    grid = zr.Grid.from_bounds((-180, -15, 180, 72), Fraction(1, 3600), "EPSG:4269")
    return zr.build(inputs / "counties.parquet", store, grid=grid, chunks=3600)


def counties(zr: Any, raster: Any, inputs: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    classes = functools.partial(raster, KOPPEN, crs="EPSG:4269")
    names = {1: "tropical", 2: "arid", 3: "temperate", 4: "cold", 5: "polar"}
    climates = {"climate": zr.labels(classes(), names)}
    yield "zones", {"stats": ("pixels", "area"), "attributes": ["name"]}
    yield "climates", {"stats": ("pixels", "area"), "by": climates, "area": "km2"}
    yield "moments", {"values": classes(), "stats": MOMENTS}
    yield "arid", {"values": classes(), "where": classes() == 2, "stats": ("count", "area")}


def build_swiss(zr: Any, store: str, inputs: Path) -> Any:
    import geopandas

    zones = geopandas.read_parquet(DATA / "swiss_municipalities_2025.parquet")
    zones["name"] = [f"municipality {i}" for i in zones["zone_id"]]
    zones["district"] = zones["zone_id"].to_numpy() % 26
    grid = zr.Grid.from_bounds((2485000, 1075000, 2835000, 1300000), 25, "EPSG:2056")
    return zr.build(zones, store, grid=grid, key="name", chunks=1000)


def swiss(zr: Any, raster: Any, inputs: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    height = functools.partial(raster, inputs / "altitude.tif")
    level = functools.partial(raster, inputs / "level.tif")
    levels = {"from": zr.thresholds(height(), [500, 1000, 2000])}
    both = {"band": zr.labels(level(), list(range(2, 12))), **levels}
    quantiles = ("median", "q0.1", "q0.99", "majority", "minority", "variety")
    yield "all", {"values": height(), "stats": (*MOMENTS, *AREAS, *quantiles), "area": "ha"}
    yield "classes", {"values": level(), "stats": ("histogram", "fractions")}
    yield "own", {"values": height(), "stats": ("count", rms_stat(zr))}
    yield "keys", {"values": height(), "stats": ("count", "sum", "q0.5"), "by": both}
    yield "districts", {"values": height(), "stats": (*MOMENTS, "q0.3"), "roll_up": "district"}
    yield "high", {"values": {"a": height(), "b": level()}, "where": ~(height() < 800)}
    yield "resampled", {"values": raster(ALTITUDE, resample="bilinear"), "stats": MOMENTS}


def build_seed(zr: Any, store: str, inputs: Path) -> Any:
    grid = zr.Grid.from_bounds((0, 0, 1200000, 1200000), 30, "EPSG:6933")
    return zr.build(inputs / "squares.parquet", store, grid=grid, key="square")


def seed(zr: Any, raster: Any, inputs: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    values = functools.partial(raster, inputs / "values.zarr", variable="height")
    levels = {"from": zr.thresholds(raster(inputs / "values.zarr", variable="level"), [0, 1])}
    yield "all", {"values": values(), "stats": (*MOMENTS, *AREAS)}
    yield "quantiles", {"values": values(), "stats": ("median", "q0.9")}
    yield "nearly", {"values": values(), "stats": ("median", "q0.9"), "exact": False}
    yield "levels", {"values": values(), "stats": ("count", "mean"), "by": levels}


def build_districts(zr: Any, store: str, inputs: Path) -> Any:
    zones = DATA / "geoboundaries_adm.parquet"
    return zr.build(zones, store, grid=zr.GLOBAL_30M, key="zone_id")


def districts(zr: Any, raster: Any, inputs: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    values = raster(inputs / "coarse.zarr", variable="rain")
    yield "all", {"values": values, "stats": (*MOMENTS, "area_mean"), "area": "km2"}


BUILDS = {
    "counties": build_counties,
    "swiss": build_swiss,
    "seed": build_seed,
    "districts": build_districts,
}
CALLS = {"counties": counties, "swiss": swiss, "seed": seed, "districts": districts}


def work(case: str, inputs: Path, checkout: Path) -> None:
    """Build the store of a case in the current folder, verify it, make its tables."""
    import zoneraster as zr

    assert checkout in Path(zr.__file__).parents, f"{zr.__file__} is not of {checkout}"
    raster = getattr(zr, "Raster", None) or zr.Layer  # its name in 0.1
    store = f"{case}.zarr"
    BUILDS[case](zr, store, inputs)
    zone = zr.open(store).zone
    verified = zr.verify(store)
    answers = {"ok": verified.ok, "shape": zone.shape, "dtype": str(zone.dtype)}
    Path("answers.json").write_text(json.dumps(answers))
    Path("tables").mkdir(exist_ok=True)
    for name, options in CALLS[case](zr, raster, inputs):
        table = zr.zonal_stats(store, options.pop("values", None), **options)
        audit, table.attrs = table.attrs, {}
        table.to_parquet(f"tables/{name}.parquet")
        Path(f"tables/{name}.json").write_text(json.dumps(audit, indent=1, sort_keys=True))


# ---- inputs, the same for both -------------------------------------------------------------------


def write_zarr(path: Path, bounds: tuple[float, ...], shape: tuple[int, int], **names: Any) -> None:
    """A Zarr group of noise on smooth fields, a fifth of it no data."""
    import xarray as xr

    west, south, east, north = bounds
    rng, (height, width) = np.random.default_rng(3), shape
    y = north - (np.arange(height) + 0.5) * (north - south) / height
    x = west + (np.arange(width) + 0.5) * (east - west) / width
    fields = {}
    for name in names["variables"]:
        field = np.sin(9 * y / north)[:, None] * np.cos(7 * x / east) + rng.normal(0, 1, shape)
        field[rng.random(shape) < 0.2] = np.nan
        fields[name] = (("y", "x"), field.astype("float32"), {"crs": names["crs"]})
    data = xr.Dataset(fields, coords={"y": y, "x": x}, attrs={"crs": names["crs"]})
    data.chunk(y=1000, x=1000).to_zarr(path)


def write_altitude(path: Path, levels: Path) -> None:
    """Altitudes on the Swiss grid, and in steps of 200 m."""
    import rasterio
    from rasterio.vrt import WarpedVRT

    transform = rasterio.Affine(25, 0, 2485000, 0, -25, 1300000)
    shape = {"height": 9000, "width": 14000, "transform": transform, "crs": "EPSG:2056"}
    options = {"driver": "GTiff", "tiled": True, "blockxsize": 512, "blockysize": 512, "count": 1}
    options |= {"compress": "deflate", "dtype": "int16", "nodata": -9999, **shape}
    with (
        rasterio.open(ALTITUDE) as source,
        WarpedVRT(source, resampling=rasterio.enums.Resampling.bilinear, **shape) as warped,
    ):
        heights = warped.read(1)
    heights[:3000, :900] = -9999
    for where, pixels in ((path, heights), (levels, np.where(heights < 0, -9999, heights // 200))):
        with rasterio.open(where, "w", **options) as file:
            file.write(pixels.astype("int16"), 1)


def prepare(case: str, inputs: Path) -> None:
    """Write what a case needs and the data folder does not have."""
    inputs.mkdir(parents=True, exist_ok=True)
    if case == "counties":
        shutil.copy(ROOT / "zoneraster/data/us_counties.parquet", inputs / "counties.parquet")
    elif case == "seed":
        sys.path.insert(0, str(ROOT / "examples"))
        import seed_case

        seed_case.make_squares(200_000)[0].to_parquet(inputs / "squares.parquet")
        bounds = (0.0, 0.0, 1.2e6, 1.2e6)
        names = {"variables": ["height", "level"], "crs": "EPSG:6933"}
        write_zarr(inputs / "values.zarr", bounds, (8000, 8000), **names)
    elif case == "swiss":
        write_altitude(inputs / "altitude.tif", inputs / "level.tif")
    elif case == "districts":
        bounds = (-180.0, -90.0, 180.0, 90.0)
        names = {"variables": ["rain"], "crs": "EPSG:4326"}
        write_zarr(inputs / "coarse.zarr", bounds, (1800, 3600), **names)


def run(checkout: Path, case: str, inputs: Path, folder: Path) -> None:
    """Run a case with one version, in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, __file__, str(checkout), "--work", case, "--folder", str(inputs)]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    print(f"{case:10} {folder.parent.name} took {time.perf_counter() - started:.0f} s", flush=True)


# ---- comparison ----------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, Path]:
    found = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
    # Who writes is no part of what is written.
    beside = {"lock", "planning", "token"}
    return {name: path for name, path in found.items() if path.name not in beside}


def kind_of(name: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if fnmatch(name, pattern)), "other")


def content(path: Path) -> Any:
    """Bytes of a file; of a report, what it says apart from the time that it took."""
    if path.name == "report.json":
        said = json.loads(path.read_text())
        return {name: value for name, value in said.items() if name not in SECONDS}
    return path.read_bytes()


def same_rows(a: Path, b: Path) -> bool:
    """Whether two files that differ hold the same Arrow table all the same."""
    import pyarrow.parquet as pq

    return a.suffix == ".parquet" and bool(pq.read_table(a).equals(pq.read_table(b)))


def compare(title: str, old: Path, new: Path, *, skip: tuple[str, ...] = ()) -> bool:
    """Print a line for each kind of file; whether all are equal."""
    ours, theirs = files(new), files(old)
    by_kind: dict[str, list[str]] = {}
    for name in sorted(ours.keys() | theirs.keys()):
        by_kind.setdefault(kind_of(name), []).append(name)
    equal = True
    for kind in [kind for kind in [*KINDS, "other"] if kind in by_kind and kind not in skip]:
        names = by_kind[kind]
        only_old = [name for name in names if name not in ours]
        only_new = [name for name in names if name not in theirs]
        both = [name for name in names if name in ours and name in theirs]
        differ = [name for name in both if content(ours[name]) != content(theirs[name])]
        said = [
            f"{what}: {', '.join(some[:5])}{f' and {len(some) - 5} more' if some[5:] else ''}"
            for what, some in (
                ("DIFFERENT", [n for n in differ if not same_rows(ours[n], theirs[n])]),
                ("OTHER BYTES, SAME ROWS", [n for n in differ if same_rows(ours[n], theirs[n])]),
                ("ONLY OLD", only_old),
                ("ONLY NEW", only_new),
            )
            if some
        ]
        print(f"{title:18} {kind:14} {len(names):7,}  {'; '.join(said) or 'equal'}", flush=True)
        equal = equal and not said
    return equal


def damage(folder: Path, case: str) -> None:
    """Take every third receipt, every fifth chunk, and one byte of the last chunk that is left."""
    store = folder / f"{case}.zarr"
    for path in sorted((store / ".zoneraster" / "ledger").iterdir())[::3]:
        path.unlink()
    chunks = sorted(path for path in (store / "zone" / "c").rglob("*") if path.is_file())
    for path in chunks[::5]:
        path.unlink()
    last = [path for path in chunks if path.exists()][-1]
    stored = last.read_bytes()
    last.write_bytes(stored[:-1] + bytes([stored[-1] ^ 255]))
    shutil.rmtree(folder / "tables", ignore_errors=True)


def check(old: Path, case: str, folder: Path) -> bool:
    """Run a case with both versions, compare; then the old version's store with the new one."""
    inputs, here = folder / "inputs" / case, {n: folder / n / case for n in ("old", "new", "mixed")}
    prepare(case, inputs)
    run(old, case, inputs, here["old"])
    run(ROOT, case, inputs, here["new"])
    equal = compare(case, here["old"], here["new"])
    shutil.copytree(here["old"], here["mixed"])
    damage(here["mixed"], case)
    run(ROOT, case, inputs, here["mixed"])
    # Its last build burned less than the first, and says so.
    resumed = compare(f"{case}, resumed", here["old"], here["mixed"], skip=("build report",))
    return equal and resumed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="a checkout of the other version")
    parser.add_argument("--only", default=",".join(NEEDS), help="cases, with commas between")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    parser.add_argument("--work", choices=NEEDS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    old = given.old.resolve()
    if given.work:
        work(given.work, given.folder, old)
        return 0
    cases = given.only.split(",")
    if unknown := set(cases) - set(NEEDS):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    equal = True
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        for case in cases:
            if missing := [path for path in NEEDS[case] if not path.exists()]:
                print(f"{case:18} left out: there is no {missing[0]}")
            else:
                equal = check(old, case, Path(name)) and equal
    print("all equal" if equal else "NOT equal")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
