"""A checkpoint never serves partials of other pixels, and never deletes those of another call."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import rioxarray
import xarray as xr
import zarr

import zoneraster as zr
from tests.stats.samples import build, raster
from zoneraster._stats.checkpoint import Checkpoint, _request_digest, partial_name
from zoneraster._stats.families import Stat
from zoneraster._stats.families.custom import Custom
from zoneraster._stats.request import Request, StatsTask
from zoneraster._stats.task import run_task as run_one
from zoneraster._values import Comparison
from zoneraster.blobs import Location

GRID = zr.Grid.from_bounds((500_000, 0, 501_200, 800), 100, "EPSG:32633")
IDS = np.repeat([[1] * 5 + [2] * 4 + [3] * 3], 8, axis=0)
VALUES = np.arange(96.0).reshape(8, 12)
STATS = ["count", "sum"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "zones.zarr"
    return build(path, IDS, GRID, chunks=4, region=["a", "b", "b"])


def values_of(values: npt.ArrayLike = VALUES, **attrs: Any) -> xr.DataArray:
    return raster(values, GRID, **attrs)


def write(path: object, values: npt.ArrayLike = VALUES) -> Any:
    values_of(values).to_dataset().to_zarr(
        path, mode="w", zarr_format=3, consolidated=False, encoding={"value": {"chunks": (4, 4)}}
    )  # type: ignore[call-overload]
    return path


# ---- pixels that change ------------------------------------------------------------------------

# Each writes values to one place in a folder, over those that are there, and opens it.


def in_memory_by_dask(folder: Path, values: npt.ArrayLike) -> xr.DataArray:
    return xr.open_zarr(write(f"memory://{folder.name}/v.zarr", values), consolidated=False)[
        "value"
    ]


def in_a_folder_by_dask(folder: Path, values: npt.ArrayLike) -> xr.DataArray:
    path = folder / "v.zarr"
    if path.exists():
        zarr.open_group(str(path), mode="r+")["value"][...] = values
    else:
        write(path, values)
    return xr.open_zarr(path, consolidated=False)["value"]


def in_a_folder_lazily(folder: Path, values: npt.ArrayLike) -> xr.DataArray:
    in_a_folder_by_dask(folder, values)
    return xr.open_zarr(folder / "v.zarr", consolidated=False, chunks=None)["value"]


def in_a_folder(folder: Path, values: npt.ArrayLike) -> Path:
    in_a_folder_by_dask(folder, values)
    return folder / "v.zarr"


def in_a_zip(folder: Path, values: npt.ArrayLike) -> xr.DataArray:
    with zarr.storage.ZipStore(folder / "v.zip", mode="w") as zipped:
        values_of(values).to_dataset().to_zarr(zipped, zarr_format=3, consolidated=False)
    return xr.open_zarr(zarr.storage.ZipStore(folder / "v.zip"), consolidated=False)["value"]


def in_a_store_of_python(folder: Path, values: npt.ArrayLike) -> xr.DataArray:
    return xr.open_zarr(write(kept_store(folder), values), consolidated=False)["value"]


@functools.cache
def kept_store(folder: Path) -> zarr.storage.MemoryStore:
    return zarr.storage.MemoryStore()


def by_a_vrt(folder: Path, values: npt.ArrayLike) -> Any:
    values_of(values).rio.write_crs(GRID.crs).rio.to_raster(folder / "v.tif")
    (folder / "v.vrt").write_text(
        '<VRTDataset rasterXSize="12" rasterYSize="8"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>500000,100,0,800,0,-100</GeoTransform>"
        '<VRTRasterBand dataType="Float64" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">v.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return rioxarray.open_rasterio(folder / "v.vrt", chunks=4, cache=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "opened",
    [
        in_memory_by_dask, in_a_folder_by_dask, in_a_folder_lazily, in_a_folder, in_a_zip,
        in_a_store_of_python, by_a_vrt,
    ],
)  # fmt: skip
def test_pixels_that_change_under_the_same_name_are_counted_anew(
    store: Path, tmp_path: Path, opened: Callable[[Path, Any], Any], ran: list[StatsTask]
) -> None:
    changed = VALUES.copy()
    changed[0, 0] = -1
    for values, n_tasks in ((VALUES, 6), (VALUES, 0), (changed, 1), (VALUES + 1000, 6)):
        ran.clear()
        if n_tasks:
            source = opened(tmp_path, values)
        table = zr.zonal_stats(store, source, stats=STATS, checkpoint=tmp_path / "kept")
        assert table.equals(zr.zonal_stats(store, values_of(values), stats=STATS))
        assert len(ran) > 0 if n_tasks else not ran
        if opened is in_a_folder_by_dask:
            assert len(ran) == n_tasks


def counting(values: npt.ArrayLike) -> tuple[xr.DataArray, list[int]]:
    """A raster backed by dask, and the blocks that were computed of it."""
    blocks: list[int] = []

    def compute(block: Any) -> Any:
        blocks.append(block.size)
        return block

    array = values_of(values).chunk(y=4, x=4)
    return array.copy(data=array.data.map_blocks(compute, dtype=float, meta=np.zeros(0))), blocks


def test_what_is_computed_is_computed_once_for_its_identity_and_its_statistics(
    store: Path, tmp_path: Path, ran: list[StatsTask]
) -> None:
    source, blocks = counting(VALUES)
    first = zr.zonal_stats(store, source, checkpoint=tmp_path)
    assert len(blocks) == len(ran) == 6
    again = zr.zonal_stats(store, source, checkpoint=tmp_path, executor="serial")
    assert len(blocks) == 12
    assert len(ran) == 6
    assert again.equals(first)


def test_what_is_too_large_to_be_held_is_read_twice(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoneraster._stats.checkpoint._MAX_HELD", 10)
    source, blocks = counting(VALUES)
    first = zr.zonal_stats(store, source, checkpoint=tmp_path)
    assert len(blocks) == 12
    assert zr.zonal_stats(store, source, checkpoint=tmp_path).equals(first)
    assert len(blocks) == 18


def test_a_version_spares_the_reading_and_is_believed(
    store: Path, tmp_path: Path, ran: list[StatsTask]
) -> None:
    source, blocks = counting(VALUES)
    first = zr.zonal_stats(store, zr.Raster(source, version="1"), checkpoint=tmp_path)
    blocks.clear()
    other, _ = counting(VALUES + 1)
    for again in (source, other):
        table = zr.zonal_stats(store, zr.Raster(again, version="1"), checkpoint=tmp_path)
        assert table.equals(first)
    assert not blocks
    assert len(ran) == 6
    table = zr.zonal_stats(store, zr.Raster(other, version="2"), checkpoint=tmp_path)
    assert table.equals(zr.zonal_stats(store, other))


# ---- one folder for many calls -----------------------------------------------------------------


def kept_by(folder: Path) -> dict[str, int]:
    """When each partial was written, ns."""
    found = (folder / "partials").rglob("*.parquet")
    return {path.name: path.stat().st_mtime_ns for path in found}


def calls(store: Path, folder: Path) -> Iterator[Callable[[], pd.DataFrame]]:
    """Calls that have much in common, and a checkpoint."""
    kept = folder / "kept"
    other = build(folder / "other.zarr", IDS[:, ::-1], GRID, chunks=4)
    rasters: list[Any] = [write(folder / f"{n}.zarr", VALUES + n) for n in range(3)]
    rasters += [values_of(VALUES + n) for n in range(3)]
    rasters += [values_of(VALUES + n).chunk(y=4) for n in range(3)]
    rasters += [zr.Raster(rasters[0], nodata=n) for n in range(3)]
    rasters += [zr.Raster(rasters[3], version=str(n)) for n in range(3)]
    for zones in (store, other):
        for source in rasters:
            yield functools.partial(zr.zonal_stats, zones, source, checkpoint=kept)
    for n in range(3):
        yield functools.partial(
            zr.zonal_stats, store, by={"class": folder / f"{n}.zarr"}, checkpoint=kept
        )
        yield functools.partial(
            zr.zonal_stats, store, where=zr.Raster(folder / f"{n}.zarr") > 5, checkpoint=kept
        )


@pytest.mark.slow
def test_one_folder_serves_a_loop_over_many_rasters(
    store: Path, tmp_path: Path, ran: list[StatsTask]
) -> None:
    every = list(calls(store, tmp_path))
    first = [call() for call in every]
    assert ran
    ran.clear()
    before = kept_by(tmp_path / "kept")
    for call, table in zip(every, first, strict=True):
        assert call().equals(table)
    assert not ran
    assert kept_by(tmp_path / "kept") == before


def test_later_passes_of_calls_that_merge_zones_otherwise_are_kept_apart(
    store: Path, tmp_path: Path, ran: list[StatsTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoneraster._stats.call._FEW_PIXELS", 0)
    source = write(tmp_path / "v.zarr", (VALUES * 77.7) ** 2)
    for turn in range(2):
        for options in ({}, {"roll_up": "region"}):
            ran.clear()
            zr.zonal_stats(store, source, stats="median", checkpoint=tmp_path / "kept", **options)
            assert bool(ran) == (turn == 0)


def test_what_a_call_no_longer_needs_is_deleted_and_nothing_of_others(
    store: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    for name in ("a", "b"):
        write(tmp_path / f"{name}.zarr")
        zr.zonal_stats(store, tmp_path / f"{name}.zarr", checkpoint=kept)
    zr.zonal_stats(store, tmp_path / "a.zarr", stats="max", checkpoint=kept)
    before = kept_by(kept)
    write(tmp_path / "a.zarr", VALUES + 1)
    zr.zonal_stats(store, tmp_path / "a.zarr", checkpoint=kept)
    after = kept_by(kept)
    assert len(after) == len(before) == 18
    gone = before.keys() - after.keys()
    assert len(gone) == 6
    zr.zonal_stats(store, tmp_path / "b.zarr", checkpoint=kept)
    assert kept_by(kept) == after


def test_the_command_line_shares_the_folder(store: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from zoneraster.cli import main

    def run(name: str) -> str:
        said = CliRunner().invoke(
            main,
            ["stats", str(store), str(tmp_path / name), "--checkpoint", str(tmp_path / "kept")],
        )
        assert said.exit_code == 0, said.output
        return said.output

    for n in range(2):
        write(tmp_path / f"{n}.zarr", VALUES + n)
    first = [run("0.zarr"), run("1.zarr")]
    before = kept_by(tmp_path / "kept")
    assert len(before) == 12
    assert [run("0.zarr"), run("1.zarr")] == first
    assert kept_by(tmp_path / "kept") == before


@pytest.mark.slow
def test_calls_at_the_same_time_leave_each_other_alone(
    store: Path, tmp_path: Path, ran: list[StatsTask]
) -> None:
    paths = [write(tmp_path / f"{n}.zarr", VALUES + n) for n in range(4)]
    start = threading.Barrier(len(paths))

    def run(path: Path) -> pd.DataFrame:
        start.wait()
        return zr.zonal_stats(store, path, checkpoint=tmp_path / "kept", executor="serial")

    with ThreadPoolExecutor(len(paths)) as pool:
        tables = list(pool.map(run, paths))
    assert len(ran) == len(kept_by(tmp_path / "kept")) == 24
    ran.clear()
    for path, table in zip(paths, tables, strict=True):
        assert zr.zonal_stats(store, path, checkpoint=tmp_path / "kept").equals(table)
    assert not ran


@pytest.mark.slow
def test_a_new_folder_is_begun_by_several_calls_at_once(tmp_path: Path) -> None:
    start = threading.Barrier(4)

    def begin(n: int) -> None:
        start.wait()
        Checkpoint.open(Location.of(tmp_path / str(n)))

    with ThreadPoolExecutor(4) as pool:
        for n in range(100):
            list(pool.map(begin, [n] * 4))
            assert [path.name for path in (tmp_path / str(n)).iterdir()] == ["checkpoint.json"]


def test_what_another_call_is_writing_is_not_swept(store: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "v.zarr")
    zr.zonal_stats(store, source, checkpoint=tmp_path / "kept")
    (folder,) = (tmp_path / "kept" / "partials").iterdir()
    (folder / ".1-2-3-4.parquet.99-0.partial").write_bytes(b"half")
    zr.zonal_stats(store, source, checkpoint=tmp_path / "kept")
    assert (folder / ".1-2-3-4.parquet.99-0.partial").exists()


# ---- names -------------------------------------------------------------------------------------


@pytest.fixture
def task(store: Path, tmp_path: Path) -> StatsTask:
    """A task of a call that asks for much."""
    found: list[StatsTask] = []

    def keep(self: Checkpoint, tasks: Iterable[StatsTask]) -> Any:
        found.extend(tasks)
        return found, {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "split", keep)
        patch.setattr("zoneraster._stats.loop.run_and_keep", lambda *args: run_one(args[-1]))
        zr.zonal_stats(
            store, {"a": values_of(), "b": values_of(VALUES + 1)}, checkpoint=tmp_path / "kept",
            by={"class": values_of(VALUES // 50)}, where=zr.Raster(values_of()) > 3,
        )  # fmt: skip
    return found[0]


def test_everything_that_is_asked_for_is_in_the_name_of_a_partial(task: StatsTask) -> None:
    request = task.request
    grid = request.grid
    west, north = map(float, grid.origin)
    others: Mapping[str, list[Any]] = {
        "grid": [
            zr.Grid(grid.crs, (100, 0, west + 100, 0, -100, north), grid.shape),
            zr.Grid(grid.crs, (100, 0, west, 0, -100, north + 100), grid.shape),
            zr.Grid("EPSG:32634", grid.transform, grid.shape),
            zr.Grid(grid.crs, (50, 0, west, 0, -100, north), grid.shape),
        ],
        "fine": [2],
        "tiling": [replace(request.tiling, side=(8, 8))],
        "placements": [request.placements[:1]],
        "measures": [(1, 0)],
        "families": [request.families[:1]],
        "keys": [(), ((0, request.keys[0][1]),), ((2, zr.labels("a", [1])),)],
        "where": [None, replace(request.where, value=4), replace(request.where, how="<")],  # type: ignore[type-var]
        "dims": [(1,)],
        "with_area": [not request.with_area],
        "weights": [1],
    }
    assert isinstance(request.where, Comparison)
    # The zones are told by the fingerprints of their chunks, and `only` by the families.
    assert {*others, "zones", "only"} == {field.name for field in fields(Request)}
    requests = [request, *(replace(request, **{k: v}) for k, vs in others.items() for v in vs)]
    assert len({_request_digest(one) for one in requests}) == len(requests)


def test_zones_and_pixels_and_the_part_of_a_task_are_in_the_name_of_its_partial(
    task: StatsTask, tmp_path: Path
) -> None:
    class Zones:
        def __init__(self, mark: bytes) -> None:
            self.mark = mark

        def open(self) -> Zones:
            return self

        def fingerprint(self, chunk: tuple[int, int]) -> bytes:
            return self.mark

        def said(self) -> tuple[object, ...]:
            return ()

    changed, (part, *others) = replace(task.rasters[0], version="2"), task.parts
    tasks = [
        task,
        *(replace(task, request=replace(task.request, zones=Zones(m))) for m in (b"1", b"2")),
        replace(task, parts=(part._replace(window=zr.Window(0, 1, 0, 4)), *others)),
        replace(task, parts=(part._replace(chunk=(0, 1)), *others)),
        *(
            replace(task, rasters=(*task.rasters[:n], changed, *task.rasters[n + 1 :]))
            for n in range(len(task.rasters))
        ),
    ]
    assert len({partial_name(one) for one in tasks}) == len(tasks)


def test_every_function_of_a_statistic_is_in_the_name(task: StatsTask) -> None:
    stat = Stat("s", lambda: (0,), lambda s, x, a: s, lambda s, t: s, lambda s: 0.0)
    others = [
        replace(stat, name="t"),
        replace(stat, init=lambda: (1,)),
        replace(stat, update=lambda s, x, a: (s[0] + x.size,)),
        replace(stat, combine=lambda s, t: t),
        replace(stat, version="1"),
        replace(stat, version="2"),
    ]
    said = {Custom((one,)).said() for one in (stat, *others)}
    assert len(said) == len(others) + 1
    # How it is finished decides no partial.
    assert Custom((replace(stat, finalize=lambda s: 1.0),)).said() in said


# ---- order -------------------------------------------------------------------------------------


class Backwards:
    """Runs the last task first."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any], /) -> Iterator[Any]:
        return map(function, list(tasks)[::-1])


@pytest.mark.parametrize("kept", [False, True])
def test_partials_are_merged_in_the_order_of_tasks_whoever_comes_first(
    store: Path, tmp_path: Path, kept: bool
) -> None:
    last = Stat(
        "last",
        init=lambda: (-1.0,),
        update=lambda s, x, a: (float(x[-1]),),
        combine=lambda s, t: t if t[0] >= 0 else s,
        finalize=lambda s: s[0],
    )
    options = {"checkpoint": tmp_path / "kept"} if kept else {}
    source = write(tmp_path / "v.zarr")
    tables = [
        zr.zonal_stats(store, source, stats=last, executor=executor, **options)
        for executor in ("serial", Backwards(), "serial")
    ]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    assert tables[0]["last"].tolist() == [VALUES[7, 4], VALUES[7, 8], VALUES[7, 11]]
