"""Draw the three pixel rules: python docs/explanation/draw_rules.py."""

from __future__ import annotations

import tempfile
from pathlib import Path

import geopandas
import shapely

import zoneraster as zr

SIDE, GAP, TOP = 44, 40, 34  # of a pixel, between panels, for titles
SHAPE = shapely.Polygon([(0.7, 0.6), (4.4, 1.3), (5.2, 3.4), (2.6, 4.5), (2.2, 2.8), (1.1, 3.3)])
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 0 {width} {height}" width="{width}" \
height="{height}">
<style>.says {{ font: 12px "DejaVu Sans", Verdana, sans-serif; fill: #333 }} \
.part {{ font-size: 11px; fill: #1d3d60 }} .dot {{ fill: #777 }}</style>"""
RULES = {
    "centre": "centre: the zone holds the pixel's centre",
    "touched": "touched: an edge or the zone is in it",
    "fraction": "fraction: what the zone covers of it",
}


def figure() -> str:
    """The figure as SVG."""
    grid = zr.Grid.from_bounds((0, 0, 6, 5), 1, "EPSG:3857")
    width, height = 3 * 6 * SIDE + 2 * GAP + 4, 5 * SIDE + TOP + 4
    lines = [HEAD.format(width=width, height=height)]
    with tempfile.TemporaryDirectory() as folder:
        frame = geopandas.GeoDataFrame(geometry=[SHAPE], crs=grid.crs)
        zr.build(frame, f"{folder}/zones.zarr", grid=grid)
        for panel, (rule, says) in enumerate(RULES.items()):
            left = panel * (6 * SIDE + GAP)
            lines.append(f'<text x="{left}" y="18" class="says">{says}</text>')
            cells = zr.cells(f"{folder}/zones.zarr", pixels=rule).read_pandas()
            lines += _pixels(cells.itertuples(index=False), left, with_parts=rule == "fraction")
            points = " ".join(
                f"{left + x * SIDE:g},{TOP + (5 - y) * SIDE:g}" for x, y in SHAPE.exterior.coords
            )
            lines.append(
                f'<polygon points="{points}" fill="none" stroke="#b3541e" stroke-width="2"/>'
            )
    return "\n".join([*lines, "</svg>", ""])


def _pixels(cells: object, left: int, *, with_parts: bool) -> list[str]:
    """Pixels of a zone, then the lines and centres of all."""
    lines = []
    for _, row, first, end, part in cells:
        for col in range(first, end):
            x, y = left + col * SIDE, TOP + row * SIDE
            lines.append(
                f'<rect x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" fill="#3d74ad" '
                f'fill-opacity="{0.75 * part:.3f}"/>'
            )
            if with_parts and part < 1:
                lines.append(
                    f'<text x="{x + SIDE / 2:g}" y="{y + SIDE / 2 + 4:g}" text-anchor="middle" '
                    f'class="says part">{part:.2f}</text>'
                )
    for col in range(7):
        x = left + col * SIDE
        lines.append(f'<path d="M{x} {TOP}v{5 * SIDE}" stroke="#bbb" fill="none"/>')
    for row in range(6):
        y = TOP + row * SIDE
        lines.append(f'<path d="M{left} {y}h{6 * SIDE}" stroke="#bbb" fill="none"/>')
    if not with_parts:
        lines += [
            f'<circle cx="{left + (col + 0.5) * SIDE:g}" cy="{TOP + (row + 0.5) * SIDE:g}" r="2" '
            'class="dot"/>'
            for row in range(5)
            for col in range(6)
        ]
    return lines


if __name__ == "__main__":
    Path(__file__).with_name("rules.svg").write_text(figure())
