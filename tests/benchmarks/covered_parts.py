"""Parts of pixels against areas of polygons: python covered_parts.py [100000] [COUNTIES].

Random stars, slivers, rings with holes and several parts, some with vertices on pixel corners and
centres. Their covered parts must add up to the area, whatever the chunks. With a file of counties
(us_counties_2023.parquet) also these, on pixels of 3 arc-seconds: in pixels that lie wholly in
their union the parts of neighbours must add up to 1.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import geopandas
import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from rasterio.features import rasterize

import zoneraster as zr

Floats, Ints = npt.NDArray[np.float64], npt.NDArray[np.int64]
SIDE, MARGIN = 2000, 200
GRID = zr.Grid.from_bounds((0, 0, SIDE, SIDE), 1, 3857)


def ring(rng: np.random.Generator, centre: Floats, radius: float, thin: float = 1):
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


def in_pixels(points: Floats) -> Floats:
    """Places as the burn rule has them: from the north-western corner, near half a pixel on it."""
    places = np.stack([points[:, 0], SIDE - points[:, 1]], axis=1)
    half = np.round(places * 2) / 2
    return np.where(np.abs(places - half) <= 2.0**-20, half, places)


def covered(zones: geopandas.GeoDataFrame, chunks: int) -> tuple[Floats, Ints, Floats]:
    """Sum of the covered parts of each zone, pixels; and zone and pixel of each part, with it."""
    total, keys, parts = np.zeros(len(zones)), [], []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "zones.zarr"
        zr.build(zones, store, grid=GRID, chunks=chunks)
        for batch in zr.cells(store, pixels="fraction"):
            zone_id, row, col0, col1, fraction = (column.to_numpy() for column in batch.columns)
            np.add.at(total, zone_id.astype(int) - 1, (col1 - col0) * fraction)
            some = fraction < 1
            keys.append((zone_id[some] * SIDE + row[some]) * SIDE + col0[some])
            parts.append(fraction[some])
    key, part = np.concatenate(keys), np.concatenate(parts)
    order = np.argsort(key)
    return total, key[order], part[order]


def farthest_apart(one: tuple[Floats, Ints, Floats], other: tuple[Floats, Ints, Floats]) -> float:
    """Of two parts of the same pixel; what only one has is as good as nothing or whole in both."""
    _, at, at_other = np.intersect1d(one[1], other[1], return_indices=True)
    alone = [np.delete(one[2], at), np.delete(other[2], at_other)]
    apart = [np.minimum(parts, 1 - parts) for parts in alone]
    return float(np.concatenate([np.abs(one[2][at] - other[2][at_other]), *apart]).max())


def sums(store: Path) -> Iterator[tuple[int, int, Floats]]:
    """First row and column of each chunk that has zones, and what they cover of its pixels."""
    for batch in zr.cells(store, pixels="fraction"):
        _, row, col0, col1, part = (column.to_numpy() for column in batch.columns)
        total = np.zeros((row.max() - row.min() + 1, col1.max() - col0.min()))
        is_one = col1 - col0 == 1
        at = row[is_one] - row.min(), col0[is_one] - col0.min()
        np.add.at(total, at, part[is_one])
        for r, a, b in zip(row[~is_one], col0[~is_one], col1[~is_one], strict=True):
            total[r - row.min(), a - col0.min() : b - col0.min()] += 1
        yield int(row.min()), int(col0.min()), total


def neighbours(counties: Path) -> dict[str, object]:
    """How far parts of counties are from 1 in pixels that their union covers wholly."""
    grid = zr.Grid.from_bounds((-125, 24, -66, 50), "1/1200", "EPSG:4269")
    zones = geopandas.read_parquet(counties).to_crs(4269).cx[-125:-66, 24:50]
    shapes = zones.geometry.to_numpy()
    union = shapely.union_all(shapes)
    lines = shapely.get_parts(shapely.boundary(union))
    tree = shapely.STRtree(lines)
    n = off = 0
    farthest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "zones.zarr"
        zr.build(zones, store, grid=grid)
        for row0, col0, total in sums(store):
            west, north = -125 + col0 / 1200, 50 - row0 / 1200
            box = (west, north - total.shape[0] / 1200, west + total.shape[1] / 1200, north)
            near = lines[tree.query(shapely.box(*box))]
            transform = rasterio.Affine(1 / 1200, 0, west, 0, -1 / 1200, north)
            inner = rasterize([union], total.shape, transform=transform) == 1
            if near.size:
                border = shapely.buffer(near, 1 / 1200)
                inner &= rasterize(border, total.shape, transform=transform, all_touched=True) == 0
            n += int(inner.sum())
            apart = np.where(inner, np.abs(total - 1), 0.0)
            farthest = max(farthest, apart.max(initial=0))
            off += int((apart > 1e-9).sum())
    return {"pixels inside": n, "farthest from 1": farthest, "beyond 1e-9": off}


def main() -> None:
    n, rng = int(sys.argv[1]) if sys.argv[1:] else 100_000, np.random.default_rng(1)
    shapes: list[shapely.Geometry] = []
    while len(shapes) < n:
        shapes += [shape for shape in [polygon(rng)] if shape is not None]
    area = shapely.area(shapely.transform(np.array(shapes), in_pixels))
    zones = geopandas.GeoDataFrame(geometry=shapes, crs=3857)
    whole = covered(zones, SIDE)
    for chunks in (SIDE, 1000, 250, 97):
        found = whole if chunks == SIDE else covered(zones, chunks)
        off = np.abs(found[0] - area)
        is_off = off > 1e-9 * area
        said = {
            "chunks": chunks, "farthest px": off.max(), "beyond 1e-9": int(is_off.sum()),
            "the largest of these px": area[is_off].max(initial=0),
            "zones from one chunk px": np.abs(found[0] - whole[0]).max(),
            "pixels from one chunk px": farthest_apart(found, whole),
        }  # fmt: skip
        print(json.dumps(said), flush=True)
    if sys.argv[2:]:
        print(json.dumps(neighbours(Path(sys.argv[2]))))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
