"""Zones as runs: what is read of a store, how often, and of which state of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
import xarray as xr
import zarr

import zoneraster as zr
from zoneraster._stats import runs
from zoneraster._store import Manifest, Records

# ---- batches are read once ---------------------------------------------------------------------


def slow_squares(read: Counter[int]) -> runs._Shared[int]:
    def square(number: int) -> int:
        read[number] += 1
        time.sleep(0.001)
        return number**2

    return runs._Shared(square, lambda _: 1)


def test_threads_that_ask_for_one_batch_at_a_time_read_it_once() -> None:
    read: Counter[int] = Counter()
    shared = slow_squares(read)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(shared.get, [n % 10 for n in range(400)]))
    assert found == [(n % 10) ** 2 for n in range(400)]
    assert set(read.values()) == {1}


def test_the_latest_batches_are_kept_and_four_for_each_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "_KEPT_BYTES", 0)
    read: Counter[int] = Counter()
    shared, room = slow_squares(read), 4 * threading.active_count()
    for number in [*range(room), 0, room, 0, 1]:
        assert shared.get(number) == number**2
    assert read[0] == 1
    assert read[1] == 2


def test_a_batch_that_cannot_be_read_is_tried_again() -> None:
    tries = iter([OSError("no"), None])

    def read(number: int) -> int:
        err = next(tries)
        if err:
            raise err
        return number

    shared = runs._Shared(read, lambda _: 1)
    with pytest.raises(OSError, match="no"):
        shared.get(3)
    assert shared.get(3) == 3


@pytest.mark.slow
@pytest.mark.parametrize("side", [32, 24])
def test_a_row_group_of_the_manifest_is_read_once_by_any_number_of_threads(
    tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, k = 256, np.arange(8)
    grid = zr.Grid.from_bounds((0, 0, n, n), 1, 3857)
    boxes = [shapely.box(32 * i + 1, 32 * j + 1, 32 * i + 30, 32 * j + 30) for i in k for j in k]
    zones = geopandas.GeoDataFrame({"k": np.arange(1, 65)}, geometry=boxes, crs=3857)
    zr.build(zones, tmp_path / "z.zarr", grid=grid, key="k", chunks=8)
    ones = xr.DataArray(
        np.ones((n, n), "u1"), dims=("y", "x"), attrs={"crs": "EPSG:3857"},
        coords={"y": grid.y_centres(), "x": grid.x_centres()},
    )  # fmt: skip
    ones.to_dataset(name="v").to_zarr(tmp_path / "v.zarr", encoding={"v": {"chunks": (side, side)}})
    read: Counter[int] = Counter()
    records = Manifest.records

    def counted(self: Manifest, row_group: int, *, is_checked: bool = True) -> Records:
        read[row_group] += 1
        return records(self, row_group, is_checked=is_checked)

    monkeypatch.setattr(Manifest, "records", counted)
    batches = zr.status(tmp_path / "z.zarr").batches
    for workers in (1, 8):
        runs._open.cache_clear()
        read.clear()
        table = zr.zonal_stats(tmp_path / "z.zarr", tmp_path / "v.zarr", workers=workers)
        assert (table["count"] == 29 * 29).all()
        assert len(read) == batches == 64
        assert set(read.values()) == {1}


# ---- arrays of others ----------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [None, 3])
def test_chunks_that_are_not_stored_hold_the_zone_that_the_array_says(
    tmp_path: Path, layers: int | None
) -> None:
    lead = () if layers is None else (layers,)
    group = zarr.create_group(tmp_path / "f.zarr")
    for name, values in (("lat", 7.5 - np.arange(8.0)), ("lon", np.arange(8.0) + 0.5)):
        group.create_array(name, data=values, dimension_names=(name,))
    names = ("layer", "lat", "lon")[-2 - len(lead) :]
    array = group.create_array(
        "zone", shape=(*lead, 8, 8), chunks=(*(2 for _ in lead), 4, 4), dtype="u1", fill_value=7,
        dimension_names=names,
    )  # fmt: skip
    array[..., :4, :4] = 1
    ids, counts = np.unique(array[:], return_counts=True)
    table = zr.zonal_stats(tmp_path / "f.zarr", stats="pixels")
    assert table["pixels"].to_dict() == dict(zip(ids.tolist(), counts.tolist(), strict=True))


SIDES = {"lat": 7.5 - np.arange(8.0), "lon": np.arange(8.0) + 0.5}


def foreign(
    path: Path,
    ids: object,
    dtype: str,
    *,
    fill: int = 0,
    zarr_format: int = 3,
    **attributes: object,
) -> Path:
    """An array of zones as zarr writes it: chunks of 4 x 4, those of `fill` alone not stored."""
    group = zarr.create_group(path, zarr_format=zarr_format)
    said: dict[str, dict[str, object]] = {"lat": {}, "lon": {}, "zone": attributes}
    for name, values in (*SIDES.items(), ("zone", np.asarray(ids, dtype))):
        names = [*SIDES] if name == "zone" else [name]
        if zarr_format == 2:
            said[name] = {**said[name], "_ARRAY_DIMENSIONS": names}
        array = group.create_array(
            name, shape=values.shape, chunks=(4,) * values.ndim, dtype=values.dtype,
            fill_value=fill if name == "zone" else 0, attributes=said[name],
            config={"write_empty_chunks": False},
            **({"dimension_names": names} if zarr_format == 3 else {}),
        )  # fmt: skip
        array[...] = values
    return path


def halves(dtype: str, other: int) -> np.ndarray:
    """8 x 8: zones 1 and 2 in the north, another number in the south."""
    ids = np.full((8, 8), other, dtype)
    ids[:4, :4], ids[:4, 4:] = 1, 2
    return ids


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ["_FillValue", "missing_value", "nodata", "NoData_Value"])
@pytest.mark.parametrize(("dtype", "nodata"), [("u1", 255), ("u2", 7), ("i4", -9999), ("i8", -1)])
def test_what_an_array_declares_as_nodata_is_no_zone(
    tmp_path: Path, zarr_format: int, name: str, dtype: str, nodata: int
) -> None:
    values: object = nodata
    if name == "_FillValue" and zarr_format == 3:  # as xarray writes it
        values = xr.backends.zarr.FillValueCoder.encode(nodata, np.dtype(dtype))
    ids = halves(dtype, nodata)
    path = foreign(
        tmp_path / "z.zarr", ids, dtype, zarr_format=zarr_format, fill=nodata, **{name: values}
    )
    assert not (path / "zone/c/1/0").exists()
    table = zr.zonal_stats(path, stats="pixels")
    assert table["pixels"].to_dict() == {1: 16, 2: 16}


def test_several_nodata_values_are_no_zone(tmp_path: Path) -> None:
    ids = halves("i2", -99)
    ids[6:] = -88
    path = foreign(tmp_path / "z.zarr", ids, "i2", missing_value=[-99, -88])
    assert zr.zonal_stats(path, stats="pixels")["pixels"].to_dict() == {1: 16, 2: 16}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_fill_value_that_no_id_is_like_is_no_zone_and_a_warning(
    tmp_path: Path, zarr_format: int
) -> None:
    ids = halves("u2", 65535)
    path = foreign(tmp_path / "z.zarr", ids, "u2", fill=65535, zarr_format=zarr_format)
    with pytest.warns(zr.ZonerasterWarning, match="65535 and no nodata is declared: taken") as told:
        table = zr.zonal_stats(path, stats="pixels")
    assert len(told) == 1
    assert table["pixels"].to_dict() == {1: 16, 2: 16}


def test_a_fill_value_of_format_2_like_an_id_is_a_zone_and_a_warning(tmp_path: Path) -> None:
    path = foreign(tmp_path / "z.zarr", halves("u2", 7), "u2", fill=7, zarr_format=2)
    with pytest.warns(zr.ZonerasterWarning, match="fill_value is 7 .* taken for zone 7"):
        table = zr.zonal_stats(path, stats="pixels")
    assert table["pixels"].to_dict() == {1: 16, 2: 16, 7: 32}


@pytest.mark.parametrize("least", [2**32 - 1, 2**32, 2**40, 2**62])
def test_ids_of_any_size_are_rows(tmp_path: Path, least: int) -> None:
    ids = halves("i8", 0)
    ids[ids > 0] += least
    table = zr.zonal_stats(foreign(tmp_path / "z.zarr", ids, "i8"), stats="pixels")
    assert table["pixels"].to_dict() == {least + 1: 16, least + 2: 16}


@pytest.mark.parametrize(
    ("zones", "text"),
    [
        (xr.DataArray([[1]]), "cannot tell rows from columns"),
        (np.ones((2, 2)), r"zones from a ndarray: .*labels, zr.Raster\(array, transform="),
        (7, "zones from a int: give a store, polygons"),
        (None, "zones from a NoneType: give a store, polygons"),
        ({"a": 1}, "zones from a dict: give a store, polygons"),
    ],
)
def test_what_cannot_be_zones_is_refused_with_what_can(zones: object, text: str) -> None:
    with pytest.raises(zr.ZonerasterError, match=text):
        zr.zonal_stats(zones, stats="pixels")
