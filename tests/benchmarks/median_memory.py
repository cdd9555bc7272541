"""Peak memory of an exact median above that of the mean: python tests/benchmarks/median_memory.py.

62,500 square zones on 16 and on 64 million float32 pixels in memory of a process of its own each:
it should follow the zones and be the same for both.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ALONG = 250  # zones


def prepare(folder: Path, side: int) -> None:
    """Zones and values of `side` pixels a side, in 8 x 8 chunks."""
    import geopandas
    import shapely
    import xarray as xr

    import zoneraster as zr

    grid, width = zr.Grid.from_bounds((0, 0, side, side), 1, 3857), side // ALONG
    x, y = (own.ravel() * width for own in np.meshgrid(np.arange(ALONG), np.arange(ALONG)))
    boxes = shapely.box(x, y, x + width, y + width)
    zones = geopandas.GeoDataFrame({"k": np.arange(1, x.size + 1)}, geometry=boxes, crs=3857)
    zr.build(zones, folder / "zones.zarr", grid=grid, key="k", chunks=side // 8)
    values = np.random.default_rng(0).random((side, side), "f4")
    array = xr.DataArray(
        values, dims=("y", "x"), coords={"y": grid.y_centres(), "x": grid.x_centres()},
        attrs={"crs": "EPSG:3857"}, name="v",
    )  # fmt: skip
    chunks = {"v": {"chunks": (side // 8, side // 8)}}
    array.to_dataset().to_zarr(folder / "values.zarr", encoding=chunks, consolidated=False)


def peak(folder: Path, stat: str) -> None:
    """Print the peak of a call in MB."""
    import zoneraster as zr

    zr.zonal_stats(folder / "zones.zarr", folder / "values.zarr", stats=[stat], executor="serial")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def in_a_process(*arguments: object) -> str:
    command = [sys.executable, "-W", "ignore", __file__, *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def main() -> None:
    if sys.argv[1:]:
        verb, folder, what = sys.argv[1:]
        if verb == "prepare":
            prepare(Path(folder), int(what))
        else:
            peak(Path(folder), what)
        return
    for side in (4000, 8000):
        with tempfile.TemporaryDirectory() as folder:
            in_a_process("prepare", folder, side)
            mean, median = (float(in_a_process("peak", folder, s)) for s in ("mean", "median"))
        more = (median - mean) * 2**20 / ALONG**2
        print(json.dumps({
            "Mpx": side**2 / 1e6, "mean MB": round(mean), "median MB": round(median),
            "bytes a zone": round(more),
        }))  # fmt: skip


if __name__ == "__main__":
    main()
