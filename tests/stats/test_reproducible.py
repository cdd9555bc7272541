"""The same bytes whoever runs the tasks, in which order, from where, and however often killed."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
import zarr

import zoneraster as zr
from tests.samples import GRID, run_python, sample_zones
from tests.stats.samples import sparing
from zoneraster._grid.windows import Window, hull
from zoneraster._stats.decoded import ArrayRuns
from zoneraster._stats.planes import Planes
from zoneraster._stats.request import StatsTask
from zoneraster._stats.runs import find_zones
from zoneraster.blobs import LocalBlobs, Location

Array = npt.NDArray[Any]
CHUNKS, TILE = 48, 96  # of zones, of values
STATS = [
    "pixels", "count", "sum", "mean", "min", "max", "var", "std", "median", "q0.9", "majority",
    "variety", "histogram", "area", "area_sum", "area_mean",
]  # fmt: skip
EXACT = ["pixels", "count", "min", "max", "median", "q0.9", "majority", "variety"]


def heights(*, seed: int = 5, grid: zr.Grid = GRID) -> xr.DataArray:
    """Heights, float32, some missing, few enough different ones for a histogram."""
    rng = np.random.default_rng(seed)
    values = (rng.normal(20, 3, grid.shape).round() * np.float32(0.1)).astype(np.float32)
    values[rng.random(grid.shape) < 0.05] = np.nan
    return on_grid(values, "height", grid)


def classes(*, seed: int = 6, grid: zr.Grid = GRID) -> xr.DataArray:
    """Classes 0 to 3, uint8."""
    values = np.random.default_rng(seed).integers(0, 4, grid.shape).astype(np.uint8)
    return on_grid(values, "class", grid)


def on_grid(values: Array, name: str, grid: zr.Grid = GRID) -> xr.DataArray:
    dims = ("time", "lat", "lon")[3 - values.ndim :]
    coords = {"lat": grid.y_centres(), "lon": grid.x_centres()}
    return xr.DataArray(values, coords=coords, dims=dims, name=name)


def write_zarr(array: xr.DataArray, path: object, *, side: int = TILE) -> None:
    depth = (1,) * (array.ndim - 2)
    array.to_dataset().to_zarr(str(path), encoding={array.name: {"chunks": (*depth, side, side)}})


def write_tif(array: xr.DataArray, path: Path) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", dtype=array.dtype, count=1, crs="EPSG:4326",
        height=GRID.height, width=GRID.width, transform=GRID.transform, nodata=np.nan,
        tiled=True, blockxsize=TILE, blockysize=TILE,
    ) as file:  # fmt: skip
        file.write(array.values, 1)


def table_bytes(table: pd.DataFrame) -> bytes:
    """The table as people would write it; `attrs` are in it too."""
    sink = io.BytesIO()
    table.to_parquet(sink)
    return sink.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Zones and values of all kinds."""
    path = tmp_path_factory.mktemp("same")
    zr.build(sample_zones(), path / "zones.zarr", grid=GRID, key="fid", chunks=CHUNKS)
    write_zarr(heights(), path / "heights.zarr")
    write_zarr(classes(), path / "classes.zarr")
    write_tif(heights(), path / "heights.tif")
    return path


def stats_of(folder: Path, values: Any = None, **options: Any) -> pd.DataFrame:
    """Statistics of heights by class and zone; in memory by default."""
    values = heights().chunk({"lat": TILE, "lon": TILE}) if values is None else values
    options = {"stats": STATS, "by": {"class": folder / "classes.zarr"}, **options}
    return zr.zonal_stats(folder / "zones.zarr", {"height": values}, **options)


@pytest.fixture(scope="module")
def expected(folder: Path) -> bytes:
    table = stats_of(folder, executor="serial")
    assert len(table) > 100
    assert table["count"].sum() > 50_000
    return table_bytes(table)


# ---- who runs the tasks ------------------------------------------------------------------------


class Shuffled:
    """Runs tasks one after the other in a random order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any], /) -> Iterator[Any]:
        tasks = list(tasks)
        random.Random(self.seed).shuffle(tasks)
        return map(function, tasks)


@pytest.mark.slow
@pytest.mark.parametrize("executor", [1, 2, 8, Shuffled(1), Shuffled(2), None])
def test_threads_and_any_order_of_tasks_give_the_same_bytes(
    folder: Path, expected: bytes, executor: Any
) -> None:
    assert table_bytes(stats_of(folder, executor=executor)) == expected


@pytest.mark.slow
def test_merging_in_many_small_steps_gives_the_same_bytes(
    folder: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoneraster._stats.loop._FOLD_BYTES", 1)
    for seed in range(3):
        assert table_bytes(stats_of(folder, executor=Shuffled(seed))) == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "zarr", "tif"])
def test_spawned_processes_give_the_same_bytes(folder: Path, expected: bytes, kind: str) -> None:
    values = {"memory": None, "zarr": folder / "heights.zarr", "tif": folder / "heights.tif"}
    table = stats_of(folder, values[kind], executor="processes", workers=2)
    assert table_bytes(table) == expected


@pytest.mark.slow
@pytest.mark.parametrize("processes", [True, False])
def test_a_dask_cluster_gives_the_same_bytes(
    folder: Path, expected: bytes, tmp_path: Path, processes: bool
) -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2 if processes else 1,
            threads_per_worker=1 if processes else 4,
            processes=processes,
            dashboard_address=":0",
            local_directory=str(tmp_path),
        ) as cluster,
        Client(cluster) as client,
    ):
        assert table_bytes(stats_of(folder, executor=client)) == expected
        table = stats_of(
            folder, folder / "heights.zarr", executor=client, checkpoint=tmp_path / "c"
        )
        assert table_bytes(table) == expected
    assert table_bytes(stats_of(folder, folder / "heights.zarr", checkpoint=tmp_path / "c")) == (
        expected
    )


# ---- where zones and values are ----------------------------------------------------------------


@pytest.mark.slow
def test_zarr_tif_and_dask_in_equal_chunks_give_the_same_bytes(
    folder: Path, expected: bytes
) -> None:
    for name in ("heights.zarr", "heights.tif"):
        assert table_bytes(stats_of(folder, folder / name)) == expected
    lazy = xr.open_zarr(folder / "heights.zarr")["height"]
    assert table_bytes(stats_of(folder, lazy)) == expected
    whole = heights().chunk(lat=-1, lon=-1)
    assert table_bytes(stats_of(folder, whole)) == table_bytes(stats_of(folder, heights()))


def turned(array: xr.DataArray) -> xr.DataArray:
    """Rows in memory from south to north."""
    return array[..., ::-1, :].copy()[..., ::-1, :]


def wider(array: xr.DataArray) -> xr.DataArray:
    """A cut of a larger array."""
    return array.pad(lat=5, lon=5)[..., 5:-5, 5:-5].assign_coords(array.coords)


def by_columns(array: xr.DataArray) -> xr.DataArray:
    return array.copy(data=np.asfortranarray(array.values))


def unwritable(array: xr.DataArray) -> xr.DataArray:
    values = np.frombuffer(array.values.tobytes(), array.dtype).reshape(array.shape)
    return array.copy(data=values)


def backwards(array: xr.DataArray) -> xr.DataArray:
    """Big endian, with the rows last."""
    return array.astype(array.dtype.newbyteorder(">")).transpose(..., "lon", "lat")


@pytest.mark.parametrize("lie", [turned, wider, by_columns, unwritable, backwards])
@pytest.mark.parametrize("stats", [["count", "sum", "var", "min"], ["sum", "median", "majority"]])
def test_pixels_count_the_same_wherever_they_lie_in_memory(
    lie: Callable[[xr.DataArray], xr.DataArray], stats: list[str], folder: Path
) -> None:
    year = on_grid(np.stack([heights(seed=seed) for seed in (1, 2, 3)]), "height")
    for pixels in ("centre", "fraction"):
        options: dict[str, Any] = {"stats": stats, "pixels": pixels, "executor": "serial"}
        expected = zr.zonal_stats(folder / "zones.zarr", year, **options)
        found = zr.zonal_stats(folder / "zones.zarr", lie(year), **options)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        named = {"by": {"class": classes()}, "where": zr.Raster(lie(year[0])) > 1.5, **options}
        expected = zr.zonal_stats(folder / "zones.zarr", year[0], **named)
        found = zr.zonal_stats(
            folder / "zones.zarr", lie(year[0]), **{**named, "by": {"class": lie(classes())}}
        )
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.slow
def test_other_chunks_change_no_more_than_the_rounding_of_float_sums(folder: Path) -> None:
    first = stats_of(folder)
    for values in (heights(), heights().chunk(lat=33, lon=500), heights().chunk(lat=500, lon=7)):
        table = stats_of(folder, values)
        exact = [*EXACT, *(name for name in table if name.startswith("histogram"))]
        assert table[exact].equals(first[exact])
        pd.testing.assert_frame_equal(table, first, rtol=1e-13, atol=0)
        assert table.attrs == first.attrs


@pytest.mark.slow
def test_zones_and_values_in_memory_of_fsspec_give_the_same_bytes(
    folder: Path, expected: bytes
) -> None:
    zr.build(sample_zones(), "memory://stats/zones.zarr", grid=GRID, key="fid", chunks=CHUNKS)
    write_zarr(heights(), "memory://stats/heights.zarr")
    write_zarr(classes(), "memory://stats/classes.zarr")
    for _ in range(2):
        table = zr.zonal_stats(
            "memory://stats/zones.zarr",
            {"height": "memory://stats/heights.zarr"},
            stats=STATS,
            by={"class": "memory://stats/classes.zarr"},
            checkpoint="memory://stats/partials",
        )
        assert table_bytes(table) == expected


@pytest.mark.s3
@pytest.mark.slow
def test_zones_values_and_checkpoint_on_s3_give_the_same_bytes(
    folder: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{host}:{port}"})
        s3fs.S3FileSystem.clear_instance_cache()
        files = fsspec.filesystem("s3")
        files.mkdir("same")
        for name in ("zones.zarr", "heights.zarr", "classes.zarr"):
            files.put(str(folder / name), f"same/{name}", recursive=True)
        states = []
        for _ in range(2):
            table = zr.zonal_stats(
                "s3://same/zones.zarr",
                {"height": "s3://same/heights.zarr"},
                stats=STATS,
                by={"class": "s3://same/classes.zarr"},
                checkpoint="s3://same/partials",
            )
            assert table_bytes(table) == expected
            files.invalidate_cache()
            found = files.find("same/partials", detail=True)
            states.append({k: (v["ETag"], v["LastModified"]) for k, v in found.items()})
        assert states[0] == states[1]
        assert len(states[0]) > 20
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.slow
def test_a_grid_whose_crs_has_no_code_and_a_datum_shift_is_read_from_its_manifest(
    tmp_path: Path,
) -> None:
    # Its WKT changes when it is written and read for the first time.
    crs = "+proj=tmerc +lat_0=0 +lon_0=9 +ellps=bessel +towgs84=598,73,418,0.2,0,-2.4,6.7"
    grid = zr.Grid(crs, (100, 0, 0, 0, -100, 5_000_000), (50, 50))
    box = shapely.box(1000, 4_996_000, 2000, 4_999_000)
    zones = geopandas.GeoDataFrame(geometry=[box], crs=grid.crs)
    zr.build(zones, tmp_path / "a.zarr", grid=grid, chunks=20)
    assert zr.zonal_stats(tmp_path / "a.zarr", stats="pixels")["pixels"].tolist() == [300]
    report = zr.build(zones, tmp_path / "a.zarr", grid=grid, chunks=20)
    assert report.burned == 0


# ---- checkpoints -------------------------------------------------------------------------------


def partials(checkpoint: Path) -> dict[str, int]:
    """When each partial was written, ns."""
    if not (checkpoint / "partials").is_dir():
        return {}
    folder = checkpoint / "partials"
    found = (p for p in folder.rglob("*") if p.suffix == ".parquet")
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in found}


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of the zones and values, to be changed."""
    for name in ("zones.zarr", "heights.zarr", "classes.zarr"):
        shutil.copytree(folder / name, tmp_path / name)
    return tmp_path


def run_kept(folder: Path, **options: Any) -> pd.DataFrame:
    return stats_of(folder, folder / "heights.zarr", checkpoint=folder / "kept", **options)


@pytest.mark.slow
def test_a_second_run_with_a_checkpoint_runs_nothing_whoever_made_it(
    own: Path, expected: bytes, ran: list[StatsTask]
) -> None:
    assert table_bytes(run_kept(own)) == expected
    assert len(ran) == len(partials(own / "kept")) > 20
    before = partials(own / "kept")
    ran.clear()
    for executor in ("serial", 2, "processes", Shuffled(3)):
        assert table_bytes(run_kept(own, executor=executor, workers=2)) == expected
    assert not ran
    assert partials(own / "kept") == before


@pytest.mark.slow
def test_partials_have_the_same_bytes_whoever_made_them(own: Path) -> None:
    found = []
    for executor in ("serial", "processes"):
        run_kept(own, executor=executor, workers=2)
        files = sorted((own / "kept" / "partials").rglob("*.parquet"))
        found.append({path.name: path.read_bytes() for path in files})
        shutil.rmtree(own / "kept")
    assert found[0] == found[1]


@pytest.mark.slow
def test_one_changed_value_chunk_runs_only_the_tasks_that_meet_it(
    own: Path, ran: list[StatsTask]
) -> None:
    run_kept(own)
    every = list(ran)
    before = partials(own / "kept")
    ran.clear()
    values = zarr.open_array(own / "heights.zarr" / "height", mode="r+")
    values[2 * TILE + 3, 3 * TILE + 5] = 7.5
    chunk = Window(2 * TILE, 3 * TILE, 3 * TILE, 4 * TILE)
    table = run_kept(own)
    assert table_bytes(table) == table_bytes(stats_of(own, own / "heights.zarr"))
    again = {task.number for task in ran}
    meet = {t.number for t in every if any(w.intersect(chunk) for _, w in t.parts)}
    around = {t.number for t in every if hull([w for _, w in t.parts]).intersect(chunk)}
    assert meet <= again <= around
    assert 0 < len(again) < len(every) // 2
    check_rewritten(before, partials(own / "kept"), again)


def check_rewritten(before: Mapping[str, int], after: Mapping[str, int], again: set[int]) -> None:
    """Partials of some tasks have new names, all others are untouched, and none is left over."""
    numbers = [int(Path(name).name.partition("-")[0]) for name in after]
    assert len(set(numbers)) == len(numbers)
    assert {n for n, name in zip(numbers, after, strict=True) if name not in before} == again
    kept = {name: when for name, when in after.items() if name in before}
    assert kept == {name: before[name] for name in kept}


@pytest.mark.slow
def test_an_update_of_the_zones_runs_only_the_tasks_whose_chunks_changed(
    own: Path, ran: list[StatsTask]
) -> None:
    run_kept(own)
    before = partials(own / "kept")
    zones = find_zones(Location.of(own / "zones.zarr")).open()
    old = {chunk: zones.fingerprint(chunk) for chunk in zones.positions()}
    every = {task.number: {chunk for chunk, _ in task.parts} for task in ran}
    ran.clear()
    changed = sample_zones()
    shape = changed.geometry[7]
    changed.loc[7, "geometry"] = shapely.affinity.translate(shape, 0.3, -0.2)
    zr.build(changed, own / "zones.zarr", grid=GRID, key="fid", chunks=CHUNKS)
    table = run_kept(own)
    assert table_bytes(table) == table_bytes(stats_of(own, own / "heights.zarr"))
    zones = find_zones(Location.of(own / "zones.zarr")).open()
    new = {chunk: zones.fingerprint(chunk) for chunk in zones.positions()}
    other = {chunk for chunk in {*old, *new} if old.get(chunk) != new.get(chunk)}
    again = {task.number for task in ran}
    assert again <= {number for number, chunks in every.items() if chunks & other} | {
        task.number for task in ran if {chunk for chunk, _ in task.parts} & other
    }
    assert {number for number, chunks in every.items() if chunks & other & {*new}} <= again
    assert 0 < len(again) < len(every)
    check_rewritten(before, partials(own / "kept"), again)


@pytest.mark.slow
def test_other_options_run_everything_anew_and_leave_the_partials_of_others(
    own: Path, ran: list[StatsTask]
) -> None:
    run_kept(own)
    n_tasks, before = len(ran), partials(own / "kept")
    for options in (
        {"where": zr.Raster(own / "classes.zarr") >= 1},
        {"where": zr.Raster(own / "classes.zarr") >= 2},
        {"stats": [*STATS, Slow()]},
        {"by": {"class": zr.labels(own / "classes.zarr", [1, 2])}},
        {"by": None},
    ):
        ran.clear()
        table = run_kept(own, **options)
        assert len(ran) == n_tasks
        after = partials(own / "kept")
        assert before.items() < after.items()
        assert len(after) == len(before) + n_tasks
        assert table_bytes(table) == table_bytes(stats_of(own, own / "heights.zarr", **options))
        before = after
    ran.clear()
    run_kept(own)
    assert not ran


@pytest.mark.slow
def test_a_damaged_partial_is_made_again_wherever_it_is_hit(
    own: Path, expected: bytes, ran: list[StatsTask]
) -> None:
    run_kept(own, executor="serial")
    kept = sorted((own / "kept" / "partials").rglob("*.parquet"))
    whole = {path: path.read_bytes() for path in kept}
    rng = random.Random(4)
    for _ in range(6):
        hit = rng.sample(kept, 8)
        for i, path in enumerate(hit):
            data = bytearray(whole[path])
            if i < 6:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            elif i == 6:
                del data[rng.randrange(len(data)) :]
            else:
                data = bytearray()
            path.write_bytes(data)
        ran.clear()
        assert table_bytes(run_kept(own, executor="serial")) == expected
        numbers = {int(path.name.partition("-")[0]) for path in hit}
        assert {task.number for task in ran} == numbers
        assert {path: path.read_bytes() for path in kept} == whole


@pytest.mark.slow
def test_a_partial_under_the_name_of_another_task_is_made_again(own: Path, expected: bytes) -> None:
    run_kept(own)
    one, other = sorted((own / "kept" / "partials").rglob("*.parquet"))[3:5]
    data = other.read_bytes()
    other.write_bytes(one.read_bytes())
    assert table_bytes(run_kept(own)) == expected
    assert other.read_bytes() == data


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(
    own: Path, folder: Path
) -> None:
    other = own / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("all of it")
    with pytest.raises(zr.StoreError, match="is not empty and no checkpoint: give an empty"):
        stats_of(own, checkpoint=other)
    with pytest.raises(zr.StoreError, match="is not empty and no checkpoint"):
        stats_of(own, checkpoint=own / "zones.zarr")
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    assert zr.verify(own / "zones.zarr").ok
    (other / "thesis.txt").unlink()
    (other / "checkpoint.json").write_text('{"zoneraster_checkpoint": 99}')
    with pytest.raises(zr.StoreError, match="has format version 99, this zoneraster reads 1"):
        stats_of(own, checkpoint=other)
    (other / "checkpoint.json").write_text("{")
    with pytest.raises(zr.StoreError, match=r"checkpoint\.json cannot be read .*delete it"):
        stats_of(own, checkpoint=other)


# ---- killed and interrupted --------------------------------------------------------------------


def no_values() -> tuple[float, ...]:
    return (0.0,)


def add_slowly(state: Any, values: Array, areas: Array) -> tuple[float, ...]:
    time.sleep(0.002)
    return (state[0] + values.size,)


def add_states(one: Any, other: Any) -> tuple[float, ...]:
    return (one[0] + other[0],)


def first_of(state: Any) -> float:
    return float(state[0])


def Slow() -> zr.Stat:  # noqa: N802
    """A count that takes its time."""
    return zr.Stat("slow", no_values, add_slowly, add_states, first_of)


SLOWLY = """
    import sys
    from pathlib import Path
    import zoneraster as zr
    from tests.stats.test_reproducible import STATS, Slow, run_kept, table_bytes
    folder = Path(sys.argv[1])
    try:
        table = run_kept(folder, stats=[*STATS, Slow()], executor=sys.argv[2], workers=2)
    except zr.BuildInterrupted as err:
        print(f"interrupted: {err}")
        sys.exit(7)
    (folder / "table.parquet").write_bytes(table_bytes(table))
"""


def wait_for_partials(process: subprocess.Popen[bytes], kept: Path, n: int) -> None:
    while process.poll() is None and len(partials(kept)) < n:
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_run_killed_again_and_again_ends_with_the_bytes_of_an_undisturbed_one(
    own: Path, executor: str
) -> None:
    rng, killed, counts = random.Random(5), 0, [0]
    for _ in range(12):
        process = run_python(SLOWLY, own, executor)
        wait_for_partials(process, own / "kept", counts[-1] + rng.randrange(5, 12))
        time.sleep(rng.uniform(0, 0.1))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        _, said = process.communicate()
        found = partials(own / "kept")
        assert len(found) >= counts[-1]
        counts.append(len(found))
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said
    assert killed >= 2
    whole = stats_of(own, own / "heights.zarr", stats=[*STATS, Slow()])
    assert (whole["slow"] == whole["count"]).all()
    assert (own / "table.parquet").read_bytes() == table_bytes(whole)
    files = [path.name for path in (own / "kept").rglob("*") if path.is_file()]
    assert len(files) == len(partials(own / "kept")) + 1


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_ctrl_c_stops_at_once_and_says_where_the_partials_are(own: Path, executor: str) -> None:
    process = run_python(SLOWLY, own, executor)
    wait_for_partials(process, own / "kept", 10)
    os.killpg(process.pid, signal.SIGINT)
    started = time.perf_counter()
    said, errors = process.communicate(timeout=60)
    assert time.perf_counter() - started < 5
    assert process.returncode == 7, errors
    text = said.decode()
    assert text.startswith("interrupted: stopped after ")
    assert f"% of the pixels; what is done is safe in {own / 'kept'}" in text
    there = partials(own / "kept")
    assert len(there) >= 10
    table = run_kept(own, stats=[*STATS, Slow()])
    assert {name: partials(own / "kept")[name] for name in there} == there
    whole = stats_of(own, own / "heights.zarr", stats=[*STATS, Slow()])
    assert table_bytes(table) == table_bytes(whole)


# ---- exact quantiles in several passes ---------------------------------------------------------

QUANTILES = ["q0", "q0.01", "q0.25", "median", "q0.9", "q1"]


def wide_values(dtype: str, shape: tuple[int, ...]) -> Array:
    rng = np.random.default_rng(9)
    if dtype == "int32":
        return rng.integers(-(2**31), 2**31, shape).astype(np.int32)
    values = (rng.normal(0, 1, shape) * 10.0 ** rng.integers(-30, 30, shape)).astype(dtype)
    values[rng.random(shape) < 0.05] = np.nan
    values[rng.random(shape) < 0.02] = -0.0
    return values


def check_quantiles(table: pd.DataFrame, groups: Mapping[Any, Array]) -> None:
    """Bit for bit what NumPy says of the values of each group."""
    assert (table["count"] > 0).sum() == len(groups)
    for group, values in groups.items():
        row, wide = table.loc[group], values.astype(np.float64)
        for name in QUANTILES:
            said = np.median(wide) if name == "median" else np.quantile(wide, float(name[1:]))
            assert row[name] == said, (group, name)


def grouped(valid: Array, values: Array, *labels: Array) -> dict[Any, Array]:
    stacked = np.stack([label[valid] for label in labels], axis=1).astype(np.int64)
    names, number = np.unique(stacked, axis=0, return_inverse=True)
    order = np.argsort(number.ravel(), kind="stable")
    parts = np.split(values[valid][order], np.cumsum(np.bincount(number.ravel()))[:-1])
    keys = [tuple(n) if len(labels) > 1 else n[0] for n in names.tolist()]
    return dict(zip(keys, parts, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("few", [False, True])
def test_quantiles_in_several_passes_are_those_of_numpy(
    folder: Path, own: Path, dtype: str, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not few:
        sparing(monkeypatch)
    values = wide_values(dtype, GRID.shape)
    zones = np.asarray(zr.open(folder / "zones.zarr")["zone"].values).astype(np.int64)
    valid = (zones > 0) & ~np.isnan(values)
    array, stats = on_grid(values, "wide"), ["count", *QUANTILES]
    table = zr.zonal_stats(folder / "zones.zarr", array, stats=stats, zones="owned")
    check_quantiles(table, grouped(valid, values, zones))
    # Keys, a predicate and a checkpoint, twice.
    where, label = classes(seed=8), classes().values
    chosen = where.values >= 2
    for _ in range(2):
        table = zr.zonal_stats(
            folder / "zones.zarr", array, stats=stats, by={"class": classes()},
            where=zr.Raster(where) >= 2, checkpoint=own / "kept", zones="owned",
        )  # fmt: skip
        check_quantiles(table, grouped(valid & chosen, values, zones, label))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quantiles_of_lanes_in_several_passes_are_those_of_numpy(
    folder: Path, own: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparing(monkeypatch)
    values = wide_values(dtype, (3, *GRID.shape))
    write_zarr(on_grid(values, "wide"), own / "wide.zarr", side=200)
    zones = np.asarray(zr.open(folder / "zones.zarr")["zone"].values).astype(np.int64)
    table = zr.zonal_stats(
        folder / "zones.zarr", own / "wide.zarr", stats=["count", *QUANTILES], by={"c": classes()},
        zones="owned",
    )  # fmt: skip
    assert table.index.names == ["fid", "time", "c"]
    for lane in range(3):
        valid = (zones > 0) & ~np.isnan(values[lane])
        groups = grouped(valid, values[lane], zones, classes().values)
        check_quantiles(table.xs(lane, level="time"), groups)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inexact_quantiles_are_off_by_no_more_than_one_part_in_256(
    folder: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoneraster._stats.call._FEW_PIXELS", 0)
    array = on_grid(wide_values(dtype, GRID.shape), "wide")
    names = ["q0", "q1"]  # no interpolation, so that values of any size may be there
    exact = zr.zonal_stats(folder / "zones.zarr", array, stats=names)
    rough = zr.zonal_stats(folder / "zones.zarr", array, stats=names, exact=False)
    np.testing.assert_allclose(rough, exact, rtol=1 / 256)
    assert not rough.equals(exact)
    smooth = on_grid(np.abs(np.random.default_rng(3).normal(50, 9, GRID.shape)).astype(dtype), "s")
    names = ["q0.25", "median", "q0.9"]
    exact = zr.zonal_stats(folder / "zones.zarr", smooth, stats=names)
    rough = zr.zonal_stats(folder / "zones.zarr", smooth, stats=names, exact=False)
    np.testing.assert_allclose(rough, exact, rtol=1 / 256)


# ---- zones from the manifest and from the array ------------------------------------------------


def merged(planes: Planes, shape: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Row, first column and zone of every run, neighbours of one zone joined, cut to a window."""
    pixels = np.zeros(shape, np.int64)
    for runs in planes.painted:
        for row in range(shape[0]):
            part = slice(runs.run_ptr[row], runs.run_ptr[row + 1])
            ends = np.append(runs.start[part][1:], shape[1])
            for begin, end, zone in zip(runs.start[part], ends, runs.zone_id[part], strict=True):
                pixels[row, begin:end] = zone
    first = np.ones(shape, bool)
    first[:, 1:] = pixels[:, 1:] != pixels[:, :-1]
    rows, cols = np.nonzero(first)
    return rows, cols, pixels[first]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"all_touched": True},
        {"overlap": "first"},
        {"all_touched": True, "overlap": "first", "min_pixels": 1},
        {"chunks": (70, 41)},
        {"chunks": 1000},
        {"integrity": "crc32c"},
    ],
    ids=str,
)
def test_zones_burned_from_the_manifest_are_those_decoded_from_the_array(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    options = {"chunks": CHUNKS, "grid": GRID, "key": "fid", **options}
    zr.build(sample_zones(), tmp_path / "a.zarr", **options)
    location = Location.of(tmp_path / "a.zarr")
    planned, decoded = find_zones(location).open(), ArrayRuns.of_store(location)
    assert type(planned).__name__ == "PlannedRuns"
    assert planned.grid == decoded.grid
    assert planned.chunks == decoded.chunks
    stored = zarr.open_array(tmp_path / "a.zarr" / "zone", mode="r")[:]
    height, width = planned.chunks
    both = {*planned.positions(), *decoded.positions()}
    assert {*decoded.positions()} <= {*planned.positions()}
    for row, col in sorted(both):
        own = stored[row * height : (row + 1) * height, col * width : (col + 1) * width]
        one = merged(planned.planes((row, col)), own.shape)
        other = merged(decoded.planes((row, col)), own.shape)
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)), (row, col)
        rows, cols, zones = one
        assert np.array_equal(own[rows, cols], zones)
        assert len(zones) >= own.shape[0]


@pytest.mark.slow
def test_a_plain_array_of_zones_gives_the_statistics_of_the_store_and_notices_changes(
    own: Path, ran: list[StatsTask]
) -> None:
    plain = own / "plain.zarr"
    shutil.copytree(own / "zones.zarr", plain)
    shutil.rmtree(plain / ".zoneraster")
    (plain / "zones.parquet").unlink()
    options: dict[str, Any] = {"stats": EXACT, "checkpoint": own / "kept"}
    first = zr.zonal_stats(own / "zones.zarr", own / "heights.zarr", stats=EXACT, zones="owned")
    table = zr.zonal_stats(plain, own / "heights.zarr", **options)
    ids = zr.zones(own / "zones.zarr").set_index("fid")["zone_id"]
    rows = first[first["pixels"] > 0]
    assert table.index.tolist() == sorted(ids[rows.index])
    assert np.array_equal(table.loc[ids[rows.index]], rows, equal_nan=True)
    # A chunk more and a chunk less, in the same process.
    n_tasks = len(ran)
    ran.clear()
    zone = zarr.open_array(plain / "zone", mode="r+")
    zone[:CHUNKS, :CHUNKS] = 50_000
    gone = Path(plain / "zone" / "c" / "3" / "3")
    gone.unlink()
    table = zr.zonal_stats(plain, own / "heights.zarr", **options)
    assert table["pixels"].sum() == np.count_nonzero(zone[:])
    assert table.loc[50_000, "pixels"] == CHUNKS**2
    assert len(ran) < n_tasks


def test_a_chunk_that_is_added_to_a_plain_array_is_found_in_the_same_process(
    tmp_path: Path,
) -> None:
    zones = geopandas.GeoDataFrame(geometry=[shapely.box(1, 1, 1.5, 1.5)], crs="EPSG:4326")
    zr.build(zones, tmp_path / "a.zarr", grid=GRID, chunks=100)
    shutil.rmtree(tmp_path / "a.zarr" / ".zoneraster")
    (tmp_path / "a.zarr" / "zones.parquet").unlink()
    assert zr.zonal_stats(tmp_path / "a.zarr", stats="pixels")["pixels"].to_dict() == {1: 625}
    zarr.open_array(tmp_path / "a.zarr" / "zone", mode="r+")[:5, :5] = 9
    table = zr.zonal_stats(tmp_path / "a.zarr", stats="pixels")
    assert table["pixels"].to_dict() == {1: 625, 9: 25}


# ---- every chunk is decoded once ---------------------------------------------------------------


class Decoded:
    """Counts how often each chunk of arrays and Zarr groups is decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        get, get_blob = zarr.storage.LocalStore.get, LocalBlobs.get

        def count(key: str) -> None:
            group, _, chunk = key.partition("/c/")
            if chunk:
                self.counts[group, chunk] += 1

        async def counted(store: Any, key: str, *args: Any, **options: Any) -> Any:
            count(key)
            return await get(store, key, *args, **options)

        def counted_blob(blobs: LocalBlobs, key: str) -> bytes:
            count(key)
            return get_blob(blobs, key)

        # Chunks are read by zarr, or as they lie where we know how to decode them.
        monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
        monkeypatch.setattr(LocalBlobs, "get", counted_blob)

    def lazily(self, array: xr.DataArray, side: int) -> xr.DataArray:
        """The array in dask chunks that are counted when they are computed."""
        import dask.array

        chunks = tuple(
            tuple(min(c, n - i) for i in range(0, n, c))
            for n, c in zip(array.shape, (*(1,) * (array.ndim - 2), side, side), strict=True)
        )

        def load(block_info: Any = None) -> Array:
            found = block_info[None]
            self.counts[str(array.name), "/".join(map(str, found["chunk-location"]))] += 1
            place = tuple(slice(a, b) for a, b in found["array-location"])
            return np.asarray(array.values[place])

        # Without meta dask would call it once to see what comes.
        lazy = dask.array.map_blocks(
            load, chunks=chunks, dtype=array.dtype, meta=np.empty((0,) * array.ndim, array.dtype)
        )
        return array.copy(data=lazy)

    def once(self, name: str) -> set[str]:
        """Chunks of an array that were decoded; none more than once."""
        own = {chunk: n for (group, chunk), n in self.counts.items() if group == name}
        assert set(own.values()) == {1}, (name, own)
        return set(own)


SMALL = zr.Grid.from_bounds((0, 0, 8, 8), "1/50", "EPSG:4326")  # 400 x 400


def meeting(mask: Array, side: int) -> set[str]:
    """Chunks that hold a pixel of a mask."""
    rows, cols = np.nonzero(mask)
    return {f"{r}/{c}" for r, c in set(zip((rows // side).tolist(), (cols // side).tolist()))}  # noqa: B905


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "zones.zarr"
    zr.build(sample_zones(), path, grid=SMALL, key="fid", chunks=40)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("stats", [["mean"], ["median", "variety"]], ids=str)
@pytest.mark.parametrize("sides", [(20, 40, 100), (100, 20, 40), (40, 100, 20), (60, 100, 400)])
def test_each_chunk_is_decoded_once_however_often_it_is_named(
    small: Path,
    tmp_path: Path,
    sides: tuple[int, int, int],
    stats: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, third = sides
    a, b, c = tmp_path / "a.zarr", tmp_path / "b.zarr", tmp_path / "c.zarr"
    write_zarr(heights(grid=SMALL).rename("a"), a, side=first)
    write_zarr(heights(seed=7, grid=SMALL).rename("b"), b, side=second)
    write_zarr(classes(grid=SMALL).rename("c"), c, side=third)
    decoded = Decoded(monkeypatch)
    lazy = decoded.lazily(classes(seed=9, grid=SMALL).rename("d"), third)
    where = (zr.Raster(a) >= 1.5) & (zr.Raster(c) < 3) & ~(zr.Raster(c) == 2) | (zr.Raster(a) > 2.4)
    table = zr.zonal_stats(
        small, {"a": a, "b": b}, stats=stats, by={"c": c, "d": lazy}, where=where, executor="serial"
    )
    assert len(table) > 100
    zones = zr.open(small)["zone"].values > 0
    stored = np.kron(zones.reshape(10, 40, 10, 40).any(axis=(1, 3)), np.ones((40, 40), bool))
    for name, side in (("a", first), ("b", second), ("c", third), ("d", third)):
        found = decoded.once(name)
        assert found <= meeting(stored, side), name
        if name in "acd":
            assert found >= meeting(zones, side), name


@pytest.mark.slow
@pytest.mark.parametrize("side", [20, 40, 100, 400])
def test_each_chunk_of_each_lane_is_decoded_once(
    small: Path, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = Decoded(monkeypatch)
    cube = on_grid(np.stack([heights(seed=s, grid=SMALL) for s in range(3)]), "cube", SMALL)
    lazy = decoded.lazily(cube, side)
    for by in (None, {"c": classes(grid=SMALL)}):
        decoded.counts.clear()
        zr.zonal_stats(small, lazy, stats=["mean", "median"], by=by, executor="serial")
        found = decoded.once("cube")
        assert len(found) == 3 * len({chunk.partition("/")[2] for chunk in found})


@pytest.mark.slow
def test_values_under_chunks_that_are_not_stored_are_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two of 100 chunks hold a zone.
    shapes = [shapely.box(0.1, 7.3, 0.7, 7.9), shapely.box(5.7, 2.5, 6.3, 3.1)]
    zones = geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:4326")
    zr.build(zones, tmp_path / "a.zarr", grid=SMALL, chunks=40)
    mask = zr.open(tmp_path / "a.zarr")["zone"].values > 0
    stored = np.kron(mask.reshape(10, 40, 10, 40).any(axis=(1, 3)), np.ones((40, 40), bool))
    assert stored.sum() == 2 * 40 * 40
    decoded = Decoded(monkeypatch)
    for side in (10, 20, 40, 100):
        values = decoded.lazily(heights(grid=SMALL).rename(f"v{side}"), side)
        table = zr.zonal_stats(tmp_path / "a.zarr", values, stats=["count"])
        assert decoded.once(f"v{side}") == meeting(stored, side)
        assert table.attrs["audit"]["pixels_read"] == 2 * 40 * 40
