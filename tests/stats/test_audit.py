"""What the audit says was assumed, and what a raster does not reach or hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import zoneraster as zr
from tests.stats.samples import GRID, VALUES, build, moved, raster
from zoneraster.output import stats_text


def measures(table: Any) -> Any:
    return table.attrs["audit"]["measures"]


def assumed(table: Any) -> Any:
    return table.attrs["audit"]["assumed"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return build(tmp_path / "zones.zarr")


def test_the_audit_says_what_was_taken_for_granted(store: Path) -> None:
    packed = raster(
        VALUES, dtype="int16", scale_factor=0.1, add_offset=2.0, missing_value=[1, 9],
        valid_range=[0, 8], nodata=-1e9,
    )  # fmt: skip
    table = zr.zonal_stats(store, packed)
    assert assumed(table)["value"] == {
        "nodata": [1, 9], "scale": 0.1, "offset": 2.0, "crs": "EPSG:32633",
        "valid_range": [0, 8], "match": "the grid's pixels",
    }  # fmt: skip
    line = "nodata 1, 9; scale 0.1, offset 2; valid 0.0 to 8.0; EPSG:32633; the grid's pixels"
    assert f"taken for granted: {line}" in stats_text(table)


def test_the_audit_says_how_a_raster_was_matched(store: Path) -> None:
    def match(values: Any, **options: Any) -> str:
        said: str = assumed(zr.zonal_stats(store, values, **options))["value"]["match"]
        return said

    assert match(moved(np.ones((2, 2)), ratio=2)) == "pixels 2 times as wide as the grid's"
    assert match(moved(np.ones((6, 6)), ratio=0.5)) == "pixels 1/2 as wide"
    assert match(moved(np.ones((6, 6)), ratio=0.75), resample="mode") == "resampled by 'mode'"


def test_a_raster_that_ends_inside_zones_is_a_warning_with_their_number(store: Path) -> None:
    part = raster(VALUES).isel(y=slice(0, 1))
    with pytest.warns(zr.ZonerasterWarning) as told:
        table = zr.zonal_stats(store, part, where=zr.Raster(raster(VALUES)) < 8)
    (text,) = (str(one.message) for one in told)
    # Of zone 1 pixel (1, 0), of zone 2 all that the condition leaves in.
    assert text.startswith(
        "value does not reach 3 pixels of 2 zones, all pixels of 1 of them; they"
    )
    assert f"it covers (500000.0, 200.0, 500300.0, 300.0), the grid {GRID.bounds}" in text
    assert measures(table)["value"]["outside"] == 3


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("flipped", [False, True])
def test_pixels_in_chunks_that_were_never_written_are_counted(
    tmp_path: Path, zarr_format: int, sharded: bool, flipped: bool
) -> None:
    """Some chunks are never written, others hold the fill value; the second time is whole."""
    if sharded and zarr_format == 2:
        return
    rng = np.random.default_rng(1)
    grid = zr.Grid.from_bounds((0, 0, 23, 19), 1)
    ids = rng.integers(0, 4, (19, 23))
    store = build(tmp_path / "zones.zarr", ids, grid, chunks=8)
    group = zarr.create_group(str(tmp_path / "v.zarr"), zarr_format=zarr_format)
    y = grid.y_centres()[:: -1 if flipped else 1]
    side = (10, 12) if sharded else (5, 6)
    written = rng.random((2, 19, 23)) < 2  # all
    for name, data, dims in (
        ("v", np.zeros((2, 19, 23), "f4"), ("time", "lat", "lon")),
        ("time", np.arange(2), ("time",)), ("lat", y, ("lat",)),
        ("lon", grid.x_centres(), ("lon",)),
    ):  # fmt: skip
        options: dict[str, Any] = {"dimension_names": dims} if zarr_format == 3 else {}
        attrs = {} if zarr_format == 3 else {"_ARRAY_DIMENSIONS": list(dims)}
        array = group.create_array(
            name, shape=data.shape, chunks=(1, 5, 6) if name == "v" else data.shape,
            shards=(1, 10, 12) if sharded and name == "v" else None, dtype=data.dtype,
            fill_value=0, attributes=attrs, config={"write_empty_chunks": name != "v"}, **options,
        )  # fmt: skip
        if name != "v":
            array[...] = data
            continue
        for row in range(0, 19, side[0]):
            for col in range(0, 23, side[1]):
                where = (0, slice(row, row + side[0]), slice(col, col + side[1]))
                if (row + col) % 3:
                    array[where] = 7
                else:
                    written[where] = False
        array[1] = 5
    table = zr.zonal_stats(store, zr.Raster(str(tmp_path / "v.zarr"), nodata=np.nan))
    seen = written[:, ::-1] if flipped else written
    found = assumed(table)["v"]
    filled = measures(table)["v"]["filled"]
    assert filled == int((~seen & (ids > 0)).sum()) > 0
    assert found["fill_value"] == 0
    assert measures(table)["v"]["valid"] == 2 * int((ids > 0).sum())
    assert f"{filled:,} in chunks that are not stored" in stats_text(table)
    array = xr.open_zarr(tmp_path / "v.zarr", consolidated=False, mask_and_scale=False)["v"]
    table = zr.zonal_stats(store, zr.Raster(array, nodata=np.nan))
    assert "filled" not in measures(table)["v"]
