"""Stores of what plots cover of pixels: python tests/benchmarks/unions.py [N] [OLD_CHECKOUT].

N plots (500,000) of 0.2 ha (median) at random places, 20,000 to a square degree, so that some lie
over each other, on pixels of 1 arc-second; from a Parquet file to a store of covered parts, and one
of numbers of zones, each in a process of its own, by another checkout, too, where one is given.
Then 40 random windows of 300 x 300 pixels: the part that the union of their plots covers, as
exactextract has it, beside the store; its seconds are scaled up by the number of plots. With
COUNTIES=FILE in the environment the same of these zones, without exactextract.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WINDOWS, SIDE = 40, 300


def degrees(n: int) -> int:
    """Sides of the canvas."""
    return max(1, round(np.sqrt(n / 20_000)))


def prepare(folder: Path, n: int) -> None:
    import geopandas
    import shapely

    rng = np.random.default_rng(1)
    radius = np.sqrt(np.exp(rng.normal(np.log(0.2), 1.0, n)).clip(0.02, 30) * 1e4 / np.pi) / 111_320
    angle = np.arange(8) / 8 * 2 * np.pi + rng.random((n, 1)) * 6
    reach = radius[:, None] * rng.uniform(0.8, 1.2, (n, 8))
    x, y = rng.uniform(0, degrees(n), (2, n, 1))
    points = np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], axis=-1)
    frame = geopandas.GeoDataFrame(
        {"plot": np.arange(n)}, geometry=shapely.polygons(points), crs=4326
    )
    frame.to_parquet(folder / "zones.parquet")


def build(folder: Path, product: str, name: str) -> dict[str, float]:
    """CPU seconds of a build, once the kernels are there."""
    import geopandas

    import zoneraster as zr

    counties = os.environ.get("COUNTIES")
    zones = Path(counties) if counties else folder / "zones.parquet"
    side = degrees(int((folder / "n").read_text()))
    grid = zr.Grid.from_bounds((0, 0, side, side), "1/3600")
    if counties:
        grid = zr.Grid.from_bounds((-125, 24, -66, 50), "1/1200", "EPSG:4269")
    few = geopandas.read_parquet(zones).iloc[:9]
    zr.build(few, folder / f"warm-{name}.zarr", grid=grid, product=product)
    begun, cpu = time.perf_counter(), time.process_time()
    report = zr.build(zones, folder / f"{name}.zarr", grid=grid, product=product)
    return {
        "cpu s": time.process_time() - cpu, "s": time.perf_counter() - begun,
        "MB": report.nbytes / 1e6,
    }  # fmt: skip


def exactextract(folder: Path) -> dict[str, float]:
    """Random windows, plots united in each."""
    import geopandas
    import shapely
    from exactextract import exact_extract
    from exactextract.raster import NumPyRasterSource

    import zoneraster as zr

    plots = geopandas.read_parquet(folder / "zones.parquet")
    cover = zr.open(folder / "cover.zarr")["cover"]
    rng, tree = np.random.default_rng(2), plots.sindex
    seconds = n = united = 0
    farthest = area = added = 0.0
    for _ in range(WINDOWS):
        row, col = rng.integers(0, cover.shape[0] - SIDE, 2)
        north, west = degrees(len(plots)) - row / 3600, col / 3600
        box = shapely.box(west, north - SIDE / 3600, west + SIDE / 3600, north)
        own = plots.geometry.to_numpy()[tree.query(box)]
        begun = time.process_time()
        whole = geopandas.GeoDataFrame(geometry=[shapely.union_all(own)], crs=4326)
        source = NumPyRasterSource(np.arange(SIDE**2, dtype=float).reshape(SIDE, SIDE), *box.bounds)
        found = exact_extract(source, whole, ["values", "coverage"], output="pandas")
        seconds += time.process_time() - begun
        theirs = np.zeros(SIDE**2)
        theirs[np.asarray(found["values"][0], int)] = found["coverage"][0]
        ours = cover[row : row + SIDE, col : col + SIDE].values.astype(float).ravel()
        farthest = max(farthest, np.abs(ours - theirs).max())
        n, united, area = n + len(own), united + 1, area + ours.sum()
        added += shapely.area(shapely.intersection(own, box)).sum() * 3600**2
    return {
        "windows": united, "plots": n, "farthest apart": farthest, "covered px": area,
        "sum of plots px": added, "cpu s scaled up": seconds / n * len(plots),
    }  # fmt: skip


def in_a_process(*words: str, checkout: str = "") -> None:
    command = [sys.executable, "-W", "ignore", __file__, *words]
    env = {**os.environ, **({"PYTHONPATH": checkout} if checkout else {})}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=env)
    print(words[0], *words[2:], checkout, done.stdout.strip(), flush=True)


def main() -> None:
    if sys.argv[1:] and sys.argv[1] in {"build", "exactextract"}:
        verb = {"build": build, "exactextract": exactextract}[sys.argv[1]]
        found = verb(Path(sys.argv[2]), *sys.argv[3:])
        print(json.dumps({name: round(value, 7) for name, value in found.items()}))
        return
    n = int(sys.argv[1]) if sys.argv[1:] else 500_000
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "n").write_text(str(n))
        if not os.environ.get("COUNTIES"):
            prepare(Path(place), n)
        for checkout in sys.argv[2:]:
            in_a_process("build", place, "cover", "old", checkout=checkout)
        in_a_process("build", place, "cover", "cover")
        in_a_process("build", place, "count", "count")
        if not os.environ.get("COUNTIES"):
            in_a_process("exactextract", place)


if __name__ == "__main__":
    main()
