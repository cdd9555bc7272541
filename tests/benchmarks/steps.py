"""Means of time steps beside extractrs: python tests/benchmarks/steps.py [centre or fraction].

225,064 Voronoi cells on a float32 cube of 7,814 x 8,075 pixels in memory, by both in one process.
extractrs has its weights made before the clock starts, and its own copy of the cube, as float64.
Compile kernels before: `zoneraster warm`.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from typing import Any

import numpy as np

HEIGHT, WIDTH, CELLS = 7_814, 8_075, 225_064
STEPS, ALL = 12, 365


def voronoi(rng: np.random.Generator) -> Any:
    import shapely

    points = shapely.MultiPoint(rng.random((CELLS, 2)) * (WIDTH, HEIGHT))
    canvas = shapely.box(0, 0, WIDTH, HEIGHT)
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=canvas))
    return shapely.intersection(cells, canvas)


def ours(cells: Any, cube: np.ndarray, rule: str, folder: str) -> tuple[float, float, np.ndarray]:
    """Seconds of the first step and of each further one, and means of (step, cell)."""
    import geopandas
    import xarray as xr

    import zoneraster as zr

    grid = zr.Grid.from_bounds((0, 0, WIDTH, HEIGHT), 1, 3857)
    zones = geopandas.GeoDataFrame({"k": np.arange(CELLS)}, geometry=cells, crs=3857)
    begun = time.perf_counter()
    zr.build(zones, folder, grid=grid, key="k", chunks=1000)
    print(f"zoneraster: store {time.perf_counter() - begun:.1f} s")
    coords = {"time": np.arange(STEPS), "y": grid.y_centres(), "x": grid.x_centres()}
    array = xr.DataArray(cube, coords, ("time", "y", "x"), "v", {"crs": "EPSG:3857"})

    def table(n: int) -> tuple[float, Any]:
        begun = time.perf_counter()
        found = zr.zonal_stats(folder, array[:n], stats="mean", pixels=rule)
        return time.perf_counter() - begun, found["mean"]

    table(1)
    first, (all_steps, means) = table(1)[0], table(STEPS)
    per_step = (all_steps - first) / (STEPS - 1)
    return first, per_step, means.unstack("k").to_numpy()


def theirs(cells: Any, cube: np.ndarray, rule: str) -> tuple[float, float, np.ndarray]:
    """The same, by weights that are made before."""
    import extractrs
    import shapely

    begun = time.perf_counter()
    weights = extractrs.build_cache(
        list(shapely.to_wkb(cells)), list(range(CELLS)), 0.0, 0.0, float(WIDTH), float(HEIGHT),
        1.0, 1.0, "exact" if rule == "fraction" else "center",
    )  # fmt: skip
    print(f"extractrs: weights {time.perf_counter() - begun:.1f} s")
    cube = cube.astype(np.float64)

    def table(n: int) -> tuple[float, Any]:
        begun = time.perf_counter()
        found = extractrs.apply_stat_batch(weights, cube[:n], float("nan"), "mean")
        return time.perf_counter() - begun, found

    first, (all_steps, means) = table(1)[0], table(STEPS)
    return first, (all_steps - first) / (STEPS - 1), np.asarray(means).reshape(STEPS, CELLS)


def main() -> None:
    warnings.simplefilter("ignore")
    rule, rng = (sys.argv[1:] or ["fraction"])[0], np.random.default_rng(0)
    cells, cube = voronoi(rng), rng.random((STEPS, HEIGHT, WIDTH), dtype="f4")
    with tempfile.TemporaryDirectory() as folder:
        first, step, means = ours(cells, cube, rule, f"{folder}/cells.zarr")
    their_first, their_step, their_means = theirs(cells, cube, rule)
    print(f"first step {first:.2f} and {their_first:.2f} s, further ones {step:.3f} and ", end="")
    print(f"{their_step:.3f} s: {step / their_step:.2f} of it, ", end="")
    whole, their_whole = first + (ALL - 1) * step, their_first + (ALL - 1) * their_step
    print(f"{whole / their_whole:.2f} with the first one of {ALL}")
    print(f"means differ by {np.nanmax(np.abs(means - their_means)):.2g} at most")


if __name__ == "__main__":
    main()
