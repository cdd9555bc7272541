"""Covered parts of polygons beside exactextract: python tests/benchmarks/plots.py [N or FILE].

N plots (2,000,000) with a median of 0.2 ha on 10 x 10 degrees at 1 arc-second, a float32 raster of
36,000 x 36,000 pixels: from a Parquet file to count, sum, mean and area by covered parts, in one
call, and over a store. exactextract does the first 20,000 of them, without areas, and is scaled up
by their number. With a FILE of polygons, such as counties, those that meet 100 to 90 degrees west
and 30 to 40 north, all of them by both. Each in a process of its own. Compile kernels before:
`zoneraster warm`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PART = 20_000


def prepare(folder: Path, n: int) -> None:
    """Plots on 10 x 10 degrees, and values."""
    import geopandas
    import shapely

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
    write_values(folder, rng, (0, 10), 36_000)


def prepare_part(folder: Path, path: str) -> None:
    """Polygons of a file that meet 10 x 10 degrees, as WGS 84, and values."""
    import geopandas

    read = geopandas.read_parquet if path.endswith(".parquet") else geopandas.read_file
    zones = read(path).to_crs(4326)[["geometry"]].cx[-100:-90, 30:40]
    zones["plot"] = np.arange(len(zones))
    zones.to_parquet(folder / "plots.parquet")
    write_values(folder, np.random.default_rng(1), (-100, 40), 36_000)


def write_values(
    folder: Path, rng: np.random.Generator, corner: tuple[float, float], side: int
) -> None:
    """Random values at 1 arc-second from the north-west corner on, as Zarr and GeoTIFF."""
    import rasterio
    import zarr

    west, north = corner
    group = zarr.create_group(folder / "values.zarr")
    centres = (np.arange(side) + 0.5) / 3600
    for name, places in (("lat", north - centres), ("lon", west + centres)):
        array = group.create_array(
            name, shape=(side,), chunks=(side,), dtype="f8", dimension_names=(name,)
        )
        array[...] = places
    values = group.create_array(
        "values", shape=(side, side), chunks=(2000, 2000), dtype="f4",
        dimension_names=("lat", "lon"), attributes={"crs": "EPSG:4326"},
    )  # fmt: skip
    with rasterio.open(
        folder / "values.tif", "w", driver="GTiff", height=side, width=side, count=1,
        dtype="float32", crs=4326,
        transform=rasterio.Affine(1 / 3600, 0, west, 0, -1 / 3600, north),
        tiled=True, blockxsize=512, blockysize=512, compress="zstd", BIGTIFF="YES",
    ) as file:  # fmt: skip
        for row in range(0, side, 2000):
            block = (rng.random((2000, side), dtype="f4") * 100).round(1)
            values[row : row + 2000] = block
            file.write(block, 1, window=rasterio.windows.Window(0, row, side, 2000))


STATS = ["count", "sum", "mean", "area"]


def one_call(folder: Path) -> dict[str, float]:
    import zoneraster as zr

    reduce = zr.zonal_stats  # rooms are opened before the clock starts, as those of others are
    begun = time.perf_counter()
    table = reduce(
        folder / "plots.parquet", folder / "values.zarr", key="plot", stats=STATS,
        pixels="fraction",
    )  # fmt: skip
    return {"stats": time.perf_counter() - begun, "plots": len(table)}


def over_a_store(folder: Path) -> dict[str, float]:
    import zoneraster as zr

    build, reduce = zr.build, zr.zonal_stats
    begun = time.perf_counter()
    build(folder / "plots.parquet", folder / "plots.zarr", grid=folder / "values.tif", key="plot")
    built = time.perf_counter()
    table = reduce(folder / "plots.zarr", folder / "values.zarr", stats=STATS, pixels="fraction")
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
    given = sys.argv[1] if sys.argv[1:] else "2000000"
    with tempfile.TemporaryDirectory() as place:
        if given.isdigit():
            prepare(Path(place), int(given))
        else:
            prepare_part(Path(place), given)
        found = {name: in_a_process(name, Path(place)) for name in candidates}
    for name, one in found.items():
        print(name, {what: round(value, 1) for what, value in one.items()})
    theirs = found.pop("exactextract")
    scaled = theirs["stats"] / theirs["plots"] * found["one_call"]["plots"]
    for name, one in found.items():
        seconds = one["stats"] + one.get("build", 0)
        print(f"{name}: {scaled / seconds:.1f} times quicker than {scaled:.0f} s, scaled up")


if __name__ == "__main__":
    main()
