"""What a task reads: no more of a chunk than what lies between its zones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

import zoneraster as zr
from zoneraster._build import ChunkRuns
from zoneraster._grid import Window
from zoneraster._stats import cut
from zoneraster._stats.blocks import reach
from zoneraster._stats.planes import Planes

WHERE = ("OFFSET", "SIZE")


@pytest.mark.parametrize("fine", [1, 3])
def test_the_reach_of_zones_is_the_box_around_their_pixels(fine: int) -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        shape, n = rng.integers(1, 9, 2), int(rng.integers(1, 4))
        layers = rng.integers(1, 4, (n, *shape)) * (rng.random((n, *shape)) < 0.15)
        planes = [ChunkRuns(*cut.runs_of_pixels(layer)) for layer in layers]
        height, width = map(int, shape * fine)
        chunk = Window(7, 7 + height, 20, 20 + width)
        rows, cols = np.nonzero(layers.any(axis=0))
        wanted = None
        if rows.size:
            ends = (rows.min(), rows.max() + 1, cols.min(), cols.max() + 1)
            wanted = Window(*(int(end) * fine for end in ends)).moved(7, 20)
        assert reach(Planes(planes[:1], planes[1:]), chunk, fine) == wanted


@pytest.mark.parametrize("pixels", ["centre", "fraction"])
def test_blocks_beside_the_zones_are_not_read(tmp_path: Path, pixels: str) -> None:
    """Whatever may be wrong with them: zones in a corner of the one chunk of a call."""
    values = np.random.default_rng(5).integers(0, 90, (256, 256)).astype("uint8")
    profile = {"driver": "GTiff", "width": 256, "height": 256, "count": 1, "dtype": "uint8"}
    place = {"crs": 32633, "transform": rasterio.Affine(10, 0, 0, 0, -10, 2560)}
    tiled = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}
    for name in ("v.tif", "by.tif"):
        with rasterio.open(tmp_path / name, "w", **profile, **place, **tiled) as file:
            file.write(values, 1)
    zones = geopandas.GeoDataFrame(
        geometry=[shapely.box(655, 1605, 800, 1800), shapely.Point(1100, 1500).buffer(90)],
        crs=32633,
    )
    how: dict[str, Any] = {"stats": ["count", "sum", "median"], "pixels": pixels}
    how["by"] = {"key": zr.thresholds(tmp_path / "by.tif", [20, 50])}
    how["where"] = zr.Raster(tmp_path / "v.tif") != 3
    whole = zr.zonal_stats(zones, tmp_path / "v.tif", **how)
    # They lie in rows 76 to 115 and columns 65 to 119.
    with rasterio.open(tmp_path / "v.tif") as file:
        damaged = [
            [int(file.get_tag_item(f"BLOCK_{what}_{j}_{i}", "TIFF", 1)) for what in WHERE]
            for i, j in np.ndindex(8, 8)
            if i not in {2, 3} or j not in {2, 3}
        ]
    for name in ("v.tif", "by.tif"):
        data = bytearray((tmp_path / name).read_bytes())
        for offset, size in damaged:
            data[offset : offset + size] = b"\xff" * size
        (tmp_path / f"damaged_{name}").write_bytes(data)
    how["by"] = {"key": zr.thresholds(tmp_path / "damaged_by.tif", [20, 50])}
    how["where"] = zr.Raster(tmp_path / "damaged_v.tif") != 3
    found = zr.zonal_stats(zones, tmp_path / "damaged_v.tif", **how)
    pd.testing.assert_frame_equal(found, whole, check_exact=True)
    with pytest.raises(zr.ZonerasterError):
        zr.zonal_stats(zones.buffer(800), tmp_path / "damaged_v.tif")
