"""Draw burn-rule.svg: two polygons, the pixel centres, and who owns which pixel."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import geopandas
import numpy as np
import shapely

import zoneraster as zr

ROWS, COLS, SIDE, MARGIN = 8, 12, 44, 16
# In pixels from the north-western corner. The slanted edge is shared.
ZONES = {
    "A": [(1.5, 1.5), (6.5, 1.5), (5.0, 6.5), (1.5, 6.5)],
    "B": [(6.5, 1.5), (10.5, 3.2), (10.5, 6.5), (5.0, 6.5)],
}
COLOURS = {0: "#ffffff", 1: "#f6c98f", 2: "#9ecae1"}
LINES = {"A": "#b35806", "B": "#08519c"}


def owners() -> np.ndarray:
    """Zone id of each pixel, burned by zoneraster."""
    shapes = [shapely.Polygon([(u, ROWS - v) for u, v in ring]) for ring in ZONES.values()]
    zones = geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:3857")
    grid = zr.Grid.from_bounds((0, 0, COLS, ROWS), 1, "EPSG:3857")
    with tempfile.TemporaryDirectory() as folder:
        zr.build(zones, f"{folder}/zones.zarr", grid=grid, chunks=5, executor="serial")
        return zr.open(f"{folder}/zones.zarr").zone.values


def at(number: float) -> str:
    """Pixels of the grid as units of the drawing."""
    return f"{MARGIN + number * SIDE:g}"


def figure() -> str:
    """The drawing as SVG text."""
    ids = owners()
    width, height = COLS * SIDE + 2 * MARGIN, ROWS * SIDE + 2 * MARGIN
    size = f'width="{width}" height="{height}"'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size}>',
        f'<rect {size} fill="#ffffff"/>',
    ]
    for (row, col), zone in np.ndenumerate(ids):
        out.append(
            f'<rect x="{at(col)}" y="{at(row)}" width="{SIDE}" height="{SIDE}" '
            f'fill="{COLOURS[int(zone)]}" stroke="#cccccc"/>'
        )
    for name, ring in ZONES.items():
        points = " ".join(f"{at(u)},{at(v)}" for u, v in ring)
        out.append(
            f'<polygon points="{points}" fill="none" stroke="{LINES[name]}" stroke-width="2"/>'
        )
    for (row, col), zone in np.ndenumerate(ids):
        fill = "#222222" if zone else "#ffffff"
        out.append(
            f'<circle cx="{at(col + 0.5)}" cy="{at(row + 0.5)}" r="3" fill="{fill}" '
            'stroke="#222222"/>'
        )
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    (folder / "burn-rule.svg").write_text(figure())
