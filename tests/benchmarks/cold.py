"""First use on a new machine: python tests/benchmarks/cold.py [COUNTIES.parquet].

Makes an environment of its own, installs this checkout there with nothing compiled, and runs, as
processes of their own and twice each: --help, a build of the counties (squares, without a file of
them), statistics over it, and one call, with empty caches before the first round. What the second
round takes less is compilation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
BOUNDS, STEP = (-110, 30, -100, 40), "1/1200"
PREPARE = f"""
import sys
import geopandas, numpy as np, rasterio, shapely
west, south, east, north = {BOUNDS}
x, y = (own.ravel() for own in np.meshgrid(np.arange(west, east, .5), np.arange(south, north, .5)))
squares = shapely.box(x + .01, y + .01, x + .4, y + .4)
geopandas.GeoDataFrame(geometry=squares, crs=4326).to_parquet("zones.parquet")
side = (east - west) * 1200
values = np.random.default_rng(0).random((side, side), np.float32)
with rasterio.open(
    "values.tif", "w", driver="GTiff", width=side, height=side, count=1, dtype="float32",
    crs=4326, transform=rasterio.Affine({STEP}, 0, west, 0, -{STEP}, north), tiled=True,
) as file:
    file.write(values, 1)
"""


def seconds(command: list[str], folder: Path, **environment: str) -> float:
    begun = time.perf_counter()
    subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return round(time.perf_counter() - begun, 2)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        venv.create(folder / "env", with_pip=True)
        python = str(folder / "env" / "bin" / "python")
        seconds([python, "-m", "pip", "install", "-q", f"{CHECKOUT}[raster]"], folder)
        subprocess.run([python, "-c", PREPARE], cwd=folder, check=True)
        zones = sys.argv[1:] or ["zones.parquet"]
        grid = ["--resolution", STEP, "--bounds", *map(str, BOUNDS), "--on-invalid", "skip"]
        program = str(folder / "env" / "bin" / "zoneraster")
        verbs = {
            "help": ["--help"],
            "build": ["build", str(Path(zones[0]).resolve()) if sys.argv[1:] else zones[0]],
            "stats": ["stats", "store.zarr", "values.tif"],
            "one call": ["stats", "zones.parquet", "values.tif"],
            "covered parts": ["stats", "zones.parquet", "values.tif", "--pixels", "fraction"],
        }
        found: dict[str, list[float]] = {verb: [] for verb in verbs}
        for n in range(2):
            for verb, words in verbs.items():
                own = [f"store{n}.zarr", *grid] if verb == "build" else []
                words = [word.replace("store.zarr", f"store{n}.zarr") for word in words]
                found[verb].append(seconds([program, *words, *own], folder))
        for verb, (first, again) in found.items():
            print(json.dumps({"verb": verb, "first": first, "again": again}))


if __name__ == "__main__":
    main()
