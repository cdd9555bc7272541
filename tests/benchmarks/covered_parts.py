"""Parts of pixels against areas of polygons: python tests/benchmarks/covered_parts.py [100000].

Random stars, slivers, rings with holes and several parts, some with vertices on pixel corners and
centres. Their covered parts must add up to the area, whatever the chunks.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path

import geopandas
import numpy as np
import numpy.typing as npt
import shapely

import zoneraster as zr

SIDE, MARGIN = 2000, 200
GRID = zr.Grid.from_bounds((0, 0, SIDE, SIDE), 1, 3857)


def ring(rng: np.random.Generator, centre: npt.NDArray[np.float64], radius: float, thin: float = 1):
    """Points around a centre, in a random direction `thin` times as wide."""
    n = int(rng.integers(3, 14))
    angle, length = np.sort(rng.random(n)) * 2 * np.pi, radius * (0.2 + 0.8 * rng.random(n))
    turn = rng.random() * np.pi
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.stack([length * np.cos(angle), thin * length * np.sin(angle)], 1) @ rotation + centre


def polygon(rng: np.random.Generator) -> shapely.Geometry:
    """A random one; None where it has collapsed."""
    kind, centre = rng.integers(6), rng.random(2) * (SIDE - 2 * MARGIN) + MARGIN
    radius = 10 ** rng.uniform(-1, 1.6)
    points = ring(rng, centre, radius, 0.01 if kind == 1 else 1.0)
    if kind in (2, 3):
        points = np.round(points * (4 - kind)) / (4 - kind)
    shape = shapely.Polygon(points).buffer(0)
    if kind == 4:
        shape = shape.difference(shapely.Polygon(ring(rng, centre, radius * 0.4)).buffer(0))
    if kind == 5:
        other = shapely.Polygon(ring(rng, centre + 2 * radius, radius / 2)).buffer(0)
        shape = shapely.union(shape, other)
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon" and part.area]
    return shapely.MultiPolygon(parts) if parts else None


def snapped(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """As the burn rule takes them: within a millionth of half a pixel on it."""
    half = np.round(points * 2) / 2
    return np.where(np.abs(points - half) <= 2.0**-20, half, points)


def covered(zones: geopandas.GeoDataFrame, chunks: int) -> npt.NDArray[np.float64]:
    """Sum of the covered parts of each zone, pixels."""
    total = np.zeros(len(zones))
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "zones.zarr"
        zr.build(zones, store, grid=GRID, chunks=chunks)
        for batch in zr.cells(store, pixels="fraction"):
            zone_id, _, col0, col1, fraction = (column.to_numpy() for column in batch.columns)
            np.add.at(total, zone_id.astype(int) - 1, (col1 - col0) * fraction)
    return total


def main() -> None:
    n, rng = int(sys.argv[1]) if sys.argv[1:] else 100_000, np.random.default_rng(1)
    shapes: list[shapely.Geometry] = []
    while len(shapes) < n:
        shapes += [shape for shape in [polygon(rng)] if shape is not None]
    area = shapely.area(shapely.transform(np.array(shapes), snapped))
    zones = geopandas.GeoDataFrame(geometry=shapes, crs=3857)
    whole = covered(zones, SIDE)
    for chunks in (SIDE, 1000, 250, 97):
        parts = whole if chunks == SIDE else covered(zones, chunks)
        off = np.abs(parts - area)
        is_off = off > 1e-9 * area
        said = {
            "chunks": chunks, "farthest px": off.max(), "beyond 1e-9": int(is_off.sum()),
            "the largest of these px": area[is_off].max(initial=0),
            "from one chunk px": np.abs(parts - whole).max(),
        }  # fmt: skip
        print(json.dumps(said))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
