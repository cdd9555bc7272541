"""Covered parts of plots smaller than pixels: python tests/benchmarks/plots.py [N].

N plots (2,000,000) with a median of 0.2 ha on 10 x 10 degrees at 1 arc-second, a float32 raster of
36,000 x 36,000 pixels: from a Parquet file to count, sum, mean and area by covered parts, in one
call, and over a store. exactextract does the first 20,000 of them, without areas, and is scaled up
by their number. Each in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIDE, PART = 36_000, 20_000


def prepare(folder: Path, n: int) -> None:
    """Plots, and values as Zarr and GeoTIFF."""
    import geopandas
    import rasterio
    import shapely
    import zarr

    rng = np.random.default_rng(1)
    along = int(np.ceil(np.sqrt(n)))
    pitch, i = 10 / along, np.arange(n)
    radius = np.sqrt(np.exp(rng.normal(np.log(0.2), 1.0, n)).clip(0.02, 30) * 1e4 / np.pi) / 111_320
    angle = np.arange(8) / 8 * 2 * np.pi + rng.random((n, 1)) * 6
    reach = np.minimum(radius[:, None] * rng.uniform(0.8, 1.2, (n, 8)), 0.495 * pitch)
    x = (i % along + 0.5)[:, None] * pitch + reach * np.cos(angle)
    y = (i // along + 0.5)[:, None] * pitch + reach * np.sin(angle)
    shapes = shapely.polygons(np.stack([x, y], axis=-1))
    plots = geopandas.GeoDataFrame({"plot": i}, geometry=shapes, crs=4326)
    plots.to_parquet(folder / "plots.parquet")
    group = zarr.create_group(folder / "values.zarr")
    centres = (np.arange(SIDE) + 0.5) / 3600
    for name, places in (("lat", 10 - centres), ("lon", centres)):
        array = group.create_array(
            name, shape=(SIDE,), chunks=(SIDE,), dtype="f8", dimension_names=(name,)
        )
        array[...] = places
    values = group.create_array(
        "values", shape=(SIDE, SIDE), chunks=(2000, 2000), dtype="f4",
        dimension_names=("lat", "lon"), attributes={"crs": "EPSG:4326"},
    )  # fmt: skip
    with rasterio.open(
        folder / "values.tif", "w", driver="GTiff", height=SIDE, width=SIDE, count=1,
        dtype="float32", crs=4326, transform=rasterio.Affine(1 / 3600, 0, 0, 0, -1 / 3600, 10),
        tiled=True, blockxsize=512, blockysize=512, compress="zstd", BIGTIFF="YES",
    ) as file:  # fmt: skip
        for row in range(0, SIDE, 2000):
            block = (rng.random((2000, SIDE), dtype="f4") * 100).round(1)
            values[row : row + 2000] = block
            file.write(block, 1, window=rasterio.windows.Window(0, row, SIDE, 2000))


STATS = ["count", "sum", "mean", "area"]


def one_call(folder: Path) -> dict[str, float]:
    import zoneraster as zr

    begun = time.perf_counter()
    table = zr.zonal_stats(
        folder / "plots.parquet", folder / "values.zarr", key="plot", stats=STATS,
        pixels="fraction",
    )  # fmt: skip
    return {"stats": time.perf_counter() - begun, "plots": len(table)}


def over_a_store(folder: Path) -> dict[str, float]:
    import zoneraster as zr

    begun = time.perf_counter()
    grid = zr.Grid.from_bounds((0, 0, 10, 10), "1/3600")
    zr.build(folder / "plots.parquet", folder / "plots.zarr", grid=grid, key="plot")
    built = time.perf_counter()
    table = zr.zonal_stats(
        folder / "plots.zarr", folder / "values.zarr", stats=STATS, pixels="fraction"
    )
    done = time.perf_counter()
    return {"build": built - begun, "stats": done - built, "plots": len(table)}


def exactextract(folder: Path) -> dict[str, float]:
    import geopandas
    from exactextract import exact_extract

    plots = geopandas.read_parquet(folder / "plots.parquet").iloc[:PART]
    begun = time.perf_counter()
    exact_extract(folder / "values.tif", plots, ["count", "sum", "mean"], output="pandas")
    return {"stats": time.perf_counter() - begun, "plots": len(plots)}


def in_a_process(verb: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", __file__, verb, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    candidates = {
        "one_call": one_call, "over_a_store": over_a_store, "exactextract": exactextract
    }  # fmt: skip
    if sys.argv[1:] and sys.argv[1] in candidates:
        found = candidates[sys.argv[1]](Path(sys.argv[2]))
        status = Path("/proc/self/status").read_text()  # getrusage knows of the parent, too
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        print(json.dumps({**found, "peak MB": peak}))
        return
    n = int(sys.argv[1]) if sys.argv[1:] else 2_000_000
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place), n)
        found = {name: in_a_process(name, Path(place)) for name in candidates}
    for name, one in found.items():
        print(name, {what: round(value, 1) for what, value in one.items()})
    theirs = found.pop("exactextract")
    scaled = theirs["stats"] / theirs["plots"] * n
    for name, one in found.items():
        seconds = one["stats"] + one.get("build", 0)
        print(f"{name}: {scaled / seconds:.1f} times quicker than {scaled:.0f} s, scaled up")


if __name__ == "__main__":
    main()
