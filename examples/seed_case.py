"""The case that started this project: 200,000 squares on 40,000 x 40,000 pixels.

    python examples/seed_case.py [STORE] [--zones N] [--workers N]

Makes the squares, burns them into STORE (default ``./seed-case.zarr``), prints the report and
compares the claimed pixels of every square with the closed form. Exits with 1 on a mismatch.
"""

# ruff: noqa: T201 - an example prints
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import geopandas
import numpy as np
import numpy.typing as npt
import shapely

import zoneraster as zr

# Four of five squares sit in a lattice of cells and share no pixel; the others lie anywhere.
CELL = 100
METRES = 30


def make_squares(n: int, *, seed: int = 7) -> tuple[geopandas.GeoDataFrame, zr.Grid]:
    """Squares in random order, and the grid they lie on.

    Parameters
    ----------
    n : int
        200,000 gives a lattice of 400 x 400 cells, so 40,000 x 40,000 pixels.
    seed : int
    """
    rng = np.random.default_rng(seed)
    lattice = max(1, round((0.8 * n) ** 0.5))
    if lattice**2 > n:
        lattice -= 1
    canvas, n_anywhere = lattice * CELL, n - lattice**2
    row, col = np.divmod(np.arange(lattice**2), lattice)
    side = rng.uniform(4, 90, lattice**2)
    u = col * CELL + rng.uniform(0, 1, side.size) * (CELL - side)
    v = row * CELL + rng.uniform(0, 1, side.size) * (CELL - side)
    other = np.exp(rng.uniform(np.log(0.5), np.log(400), n_anywhere))
    side = np.concatenate([side, other])
    u = np.concatenate([u, rng.uniform(0, canvas, n_anywhere)])
    v = np.concatenate([v, rng.uniform(0, canvas, n_anywhere)])
    order = rng.permutation(n)
    west, south, side = u[order] * METRES, v[order] * METRES, side[order] * METRES
    squares = geopandas.GeoDataFrame(
        {"square": np.arange(1, n + 1)},
        geometry=shapely.box(west, south, west + side, south + side),
        crs="EPSG:6933",
    )
    grid = zr.Grid.from_bounds((0, 0, canvas * METRES, canvas * METRES), METRES, "EPSG:6933")
    return squares, grid


def claimed_pixels(squares: geopandas.GeoDataFrame, grid: zr.Grid) -> npt.NDArray[np.int64]:
    """Pixel centres inside each square by counting, without burning.

    A square from (u0, v0) to (u1, v1) in pixels holds column k where ``u0 < k + 0.5 <= u1`` and row
    r where ``v0 <= r + 0.5 < v1``.

    Returns
    -------
    (n,) int64
    """
    west, south, east, north = shapely.bounds(squares.geometry.to_numpy()).T
    u0, v0 = grid.to_pixels(west, north)
    u1, v1 = grid.to_pixels(east, south)
    height, width = grid.shape
    cols = np.diff(np.clip(np.floor([u0 + 0.5, u1 + 0.5]), 0, width), axis=0)[0]
    rows = np.diff(np.clip(np.ceil([v0 - 0.5, v1 - 0.5]), 0, height), axis=0)[0]
    return (rows * cols).astype(np.int64)


def main(arguments: list[str] | None = None) -> int:
    """Run the case; 0 when every count agrees."""
    parser = argparse.ArgumentParser(description="Burn 200,000 squares and check every count.")
    parser.add_argument("store", nargs="?", type=Path, default=Path("seed-case.zarr"))
    parser.add_argument("--zones", type=int, default=200_000, help="how many squares")
    parser.add_argument("--workers", type=int, help="threads; all cores by default")
    options = parser.parse_args(arguments)
    if options.zones < 1:
        parser.error("--zones must be 1 or more")
    squares, grid = make_squares(options.zones)
    report = zr.build(squares, options.store, grid=grid, key="square", workers=options.workers)
    print(report)
    table = zr.zones(options.store)
    expected = claimed_pixels(squares, grid)
    wrong = np.flatnonzero(table["claimed"].to_numpy() != expected)
    for i in wrong[:10]:
        claimed = table["claimed"].iloc[i]
        print(f"square {i + 1}: {claimed:,} pixels, {expected[i]:,} expected", file=sys.stderr)
    print(f"{len(table) - wrong.size:,} of {len(table):,} squares have the expected pixels")
    return 1 if wrong.size else 0


if __name__ == "__main__":
    sys.exit(main())
