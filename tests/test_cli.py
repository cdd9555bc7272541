"""The command line: every verb for real, and what it says when something is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import geopandas
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from shapely import box

import zoneraster as zr
from tests.conftest import FakeS3
from tests.samples import GRID, sample_zones, tree
from zoneraster.blobs import Location
from zoneraster.cli import main
from zoneraster.lock import lock
from zoneraster.output import stats_json

GRID_OPTIONS = ["--resolution", "1/50", "--bounds", "0", "0", "10", "10", "--chunks", "60"]


@pytest.fixture
def zones(tmp_path: Path) -> Path:
    path = tmp_path / "zones.parquet"
    sample_zones().to_parquet(path)
    return path


def zoneraster(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def built(zones: Path) -> Path:
    store = zones.parent / "zones.zarr"
    result = zoneraster("build", zones, store, "--key", "fid", *GRID_OPTIONS)
    assert result.exit_code == 0, result.output
    return store


@pytest.mark.slow
def test_plan_build_status_verify_info_and_plot_work_on_one_store(zones: Path) -> None:
    store = zones.parent / "zones.zarr"
    planned = zoneraster("plan", zones, store, "--key", "fid", *GRID_OPTIONS, "--json")
    assert json.loads(planned.stdout)["n_zones"] == 40
    assert "0.0% of the work done" in zoneraster("status", store).output
    result = zoneraster("build", zones, store, "--key", "fid", *GRID_OPTIONS, "--workers", "1")
    assert "40 zones on 500 x 500 pixels" in result.output
    assert "finished" in zoneraster("status", store).output
    assert json.loads(zoneraster("status", store, "--json").output)["finished"] is True
    verified = zoneraster("verify", store, "--deep", "50%", "--json")
    assert verified.exit_code == 0
    assert json.loads(verified.output)["reburned"] > 10
    assert "500 x 500 px of 1/50" in zoneraster("info", store).output
    assert json.loads(zoneraster("info", store, "--json").output)["report"]["n_zones"] == 40
    picture = zones.parent / "map.png"
    assert zoneraster("plot", store, picture, "--width", "200").exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_warnings_are_lines_on_stderr_and_json_stays_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zones = geopandas.GeoDataFrame({"fid": [1, 2]}, geometry=[box(1, 1, 2, 2)] * 2, crs=4326)
    zones.to_parquet(tmp_path / "zones.parquet")
    arguments = ["build", f"{tmp_path / 'zones.parquet'}", f"{tmp_path / 'a'}", *GRID_OPTIONS]
    lines = [
        "  ! 1 zone with pixels that all belong to others in the array: 0",
        "  ! 2 zones with contested pixels",
    ]
    for more in ([], ["--json"]):
        main([*arguments, *more], standalone_mode=False)
        written = capsys.readouterr()
        assert [line for line in lines if line in written.err] == lines
    assert len(json.loads(written.out)["warnings"]) == 2


@pytest.mark.slow
def test_verify_exits_1_on_damage_and_names_the_key(zones: Path) -> None:
    store = built(zones)
    chunk = next((store / "zone" / "c").rglob("*/*"))
    chunk.write_bytes(b"x")
    result = zoneraster("verify", store)
    assert result.exit_code == 1
    assert str(chunk.relative_to(store)) in result.output


@pytest.mark.slow
def test_parts_of_a_job_array_finish_the_store(zones: Path) -> None:
    store = zones.parent / "parts.zarr"
    for part in ("2/2", "1/2"):
        result = zoneraster(
            "build", zones, store, "--key", "fid", *GRID_OPTIONS, "--part", part, "--json"
        )
        assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["n_zones"] == 40
    assert zr.status(store).finished


@pytest.mark.slow
def test_a_planned_store_is_run_part_by_part_and_finished(zones: Path) -> None:
    store = zones.parent / "zones.zarr"
    assert zoneraster("plan", zones, store, "--key", "fid", *GRID_OPTIONS).exit_code == 0
    first = json.loads(zoneraster("run", store, "--part", "1/2", "--json").output)
    assert 0 < first["burned"] < zr.status(store).chunks
    early = zoneraster("finish", store)
    assert early.exit_code == 2
    assert "have no receipt" in early.output
    assert "chunks burned" in zoneraster("run", store, "--executor", "serial").output
    assert "40 zones on 500 x 500 pixels" in zoneraster("finish", store).output
    expected = tree(store)
    shutil.rmtree(store)
    assert tree(built(zones)) == expected


@pytest.mark.slow
@pytest.mark.s3
def test_every_verb_takes_the_options_of_its_place(
    zones: Path, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.files.mkdir("bucket")
    monkeypatch.setitem(fsspec.config.conf, "s3", {})
    url, place = (
        "s3://bucket/zones.zarr",
        ["--storage-option", f"endpoint_url=http://{s3.endpoint}"],
    )
    plan = [zones, url, "--key", "fid", *GRID_OPTIONS[:-1], "250"]
    for verb in (
        ["build", *plan], ["plan", *plan], ["run", url], ["finish", url], ["status", url],
        ["verify", url], ["info", url], ["stats", url],
        ["plot", url, zones.parent / "map.png", "--width", "64"],
    ):  # fmt: skip
        done = zoneraster(*verb, *place)
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("5", 5), ('{"a": 1}', {"a": 1}), ("a=b", "a=b"), ('"5"', "5"), ("", "")],
)
def test_storage_options_are_json_where_they_are_json(
    zones: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: object
) -> None:
    given: list[object] = []
    monkeypatch.setattr(zr, "status", lambda store, **options: given.append(options) or {})
    zoneraster("status", "memory://zones", "--storage-option", f"anon={text}")
    assert given == [{"storage_options": {"anon": value}}]


@pytest.mark.slow
def test_like_takes_the_grid_of_a_raster(zones: Path) -> None:
    store = built(zones)
    rows = zr.open(store)
    raster = zones.parent / "like.tif"
    import rioxarray  # noqa: F401

    rows["zone"].astype("uint8").rio.to_raster(raster)
    other = zones.parent / "like.zarr"
    result = zoneraster("build", zones, other, "--like", raster, "--key", "fid", "--chunks", "60")
    assert result.exit_code == 0, result.output
    assert zr.open(other)["zone"].equals(rows["zone"])
    assert zr.grid_like(zr.open(other)) == zr.grid_like(rows)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["status", "nowhere.zarr"], 2, "no zone store at"),
        (["build", "none.parquet", "s.zarr", "--resolution", "1"], 2, "none.parquet"),
        (["build", "ZONES", "s.zarr"], 2, "a new store needs a grid"),
        (["build", "ZONES", "s.zarr", "--bounds", "0", "0", "1", "1"], 2, "--bounds needs"),
        (["plan", "ZONES", "s.zarr", "--resolution", "30", "--crs", "EPSG:32632"], 2, "is needed"),
        (["plan", "ZONES", "s.zarr", "--resolution", "1", "--crs", "EPSG:4807"], 2, "is needed"),
        (["build", "ZONES", "s.zarr", "--resolution", "0.7"], 2, "whole number"),
        (["build", "ZONES", "s.zarr", "--resolution", "-1"], 2, "resolution"),
        (["build", "ZONES", "s.zarr", "--resolution", "1", "--global-30m"], 2, "exclude"),
        (["build", "ZONES", "s.zarr", "--resolution", "1", "--part", "3/2"], 2, "from 1 to N"),
        (["build", "ZONES", "s.zarr", "--resolution", "1", "--part", "half"], 2, "I/N"),
        (["build", "ZONES", "s.zarr", "--resolution", "1", "--key", "no"], 2, "fid"),
        (["build", "ZONES", "s.zarr", "--workers", "0"], 2, "workers"),
        (["verify", "s.zarr", "--deep", "much"], 2, "2%"),
        (["verify", "s.zarr", "--deep", "2"], 2, "between 0 and 1"),
        (["status", "s.zarr", "--storage-option", "anon"], 2, "KEY=VALUE"),
        (["run", "none.zarr"], 2, "no zone store at"),
        (["finish", "none.zarr"], 2, "no zone store at"),
        (["bild"], 2, "bild"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    zones: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(zones.parent)
    result = zoneraster(*(str(zones) if a == "ZONES" else a for a in arguments))
    assert result.exit_code == code
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_a_busy_store_exits_75(zones: Path) -> None:
    store = built(zones)
    with lock(Location.of(store)):
        result = zoneraster("build", zones, store, "--key", "fid", *GRID_OPTIONS)
    assert result.exit_code == 75
    assert "another build" in result.output


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_exits_soon_and_prints_the_command_to_go_on(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    zones = tmp_path / "zones.parquet"
    sample_zones(4000).to_parquet(zones)
    store = tmp_path / "zones.zarr"
    command = [
        sys.executable, "-m", "zoneraster.cli", "build", str(zones), str(store), "--key", "fid",
        "--resolution", "1/2000", "--bounds", "0", "0", "10", "10", "--chunks", "250",
        "--workers", "1",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ledger = store / ".zoneraster" / "ledger"
    deadline = time.monotonic() + 120
    while not (ledger.is_dir() and len(list(ledger.iterdir())) > 2) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "go on with: zoneraster build" in said
    status = zr.status(store)
    assert 0 < status.batches_done < status.batches
    report = zr.build(zones, store, key="fid", chunks=250)
    assert report.kept >= status.chunks_done


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_statistics_stop_as_builds_do_and_go_on(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    zones, store, kept = tmp_path / "zones.parquet", tmp_path / "zones.zarr", tmp_path / "kept"
    sample_zones(400).to_parquet(zones)
    grid = ["--resolution", "1/400", "--bounds", "0", "0", "10", "10", "--chunks", "50"]
    assert zoneraster("build", zones, store, "--key", "fid", *grid).exit_code == 0
    whole = zr.zonal_stats(store)
    stats = ["stats", store, "--workers", "1", "--checkpoint", kept]
    process = subprocess.Popen(
        [sys.executable, "-m", "zoneraster.cli", *map(str, stats)],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (kept.is_dir() and len(list(kept.rglob("*.parquet"))) > 1) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert f"of the pixels; what is done is safe in {kept}" in said
    assert f"go on with: zoneraster stats {store} --workers 1 --checkpoint {kept}" in said
    assert "Traceback" not in said
    assert zr.zonal_stats(store, checkpoint=kept).equals(whole)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["build", "stats"])
def test_ctrl_c_while_planning_prints_the_line_that_goes_on(tmp_path: Path, verb: str) -> None:
    zones, store = tmp_path / "zones.parquet", tmp_path / "zones.zarr"
    shapes = sample_zones(20).geometry
    many = geopandas.GeoDataFrame(geometry=[shapes.iloc[i % 20] for i in range(200_000)], crs=4326)
    many.to_parquet(zones)
    like = tmp_path / "like.zarr"
    grid = zr.Grid.from_bounds((0, 0, 10, 10), "1/400")
    zr.build(sample_zones(2), like, grid=grid)
    words = [str(zones), *([str(store), "--like", str(like)] if verb == "build" else [str(like)])]
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zoneraster.cli", verb, *words]
    process = subprocess.Popen(command, stderr=theirs, stdout=theirs)
    os.close(theirs)
    said = ""
    with os.fdopen(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        while data := terminal.read(1 << 16):
            # A terminal is told what happens.
            if "reading" in data.decode() and "reading" not in said:
                process.send_signal(signal.SIGINT)
            said += data.decode()
    assert process.wait(timeout=60) == 130, said
    stage = "while planning; the store is as it was"
    if verb == "stats":
        stage = "while zones and rasters were opened; nothing was counted yet"
    assert f"zoneraster: stopped {stage}" in said
    assert f"go on with: zoneraster {verb} {zones}" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_the_demo_leaves_store_table_and_picture(tmp_path: Path) -> None:
    import pandas as pd

    result = zoneraster("demo", tmp_path / "demo", "--json")
    said = json.loads(result.stdout)
    assert said["report"]["owned"] > 1e10
    assert said["report"]["contested"] == 0
    assert said["total"]["area_km2"] == pytest.approx(said["total"]["geodesic_km2"], rel=5e-4)
    table = pd.read_csv(said["csv"])
    assert len(table) == 3235
    assert table["state"].nunique() == 56
    assert table.loc[table["name"].str.startswith("county record"), "name"].count() == 16
    shares = table[
        [f"{name}_percent" for name in ("tropical", "arid", "temperate", "cold", "polar")]
    ]
    # The classes leave out Guam, Samoa and the Northern Marianas.
    assert 0 < shares.isna().any(axis=1).sum() < 20
    assert shares.dropna().sum(axis=1).to_numpy() == pytest.approx(100)
    places = table.set_index(["name", "state"])["climate"]
    for place, climate in {
        ("Maricopa", "Arizona"): "arid",
        ("Miami-Dade", "Florida"): "tropical",
        ("King", "Washington"): "temperate",
        ("Cook", "Illinois"): "cold",
        ("North Slope", "Alaska"): "polar",
    }.items():
        assert places[place] == climate
    for name in ("picture", "climate_picture"):
        assert Path(said[name]).read_bytes().startswith(b"\x89PNG")
    assert zr.status(said["store"]).finished
    text = zoneraster("demo", tmp_path / "demo").stdout
    assert "Yukon-Koyukuk, Alaska " in text
    assert "% of polygon" in text
    shown = text[text.index("the 10 largest") : text.index("all counties")]
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert len(shown.splitlines()) == 13


# ---- stats -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and values on its grid: 100 times the column, no data in the first ten rows."""
    import numpy as np
    import xarray as xr

    folder = tmp_path_factory.mktemp("counted")
    sample_zones().to_parquet(folder / "zones.parquet")
    zone = zr.open(built(folder / "zones.parquet")).zone
    pixels = np.broadcast_to(np.arange(500) * 100.0, (500, 500)).copy()
    pixels[:10] = np.nan
    array = xr.DataArray(pixels, coords={"y": zone.y, "x": zone.x}, dims=("y", "x"))
    array.assign_coords(spatial_ref=zone.spatial_ref).to_dataset(name="column").to_zarr(
        folder / "values.zarr", zarr_format=3, consolidated=False
    )
    return folder


@pytest.fixture
def values(counted: Path, tmp_path: Path) -> Path:
    """The raster of `counted`, beside its store, in a folder of the test's own."""
    shutil.copytree(counted, tmp_path, dirs_exist_ok=True)
    return tmp_path / "values.zarr"


@pytest.mark.slow
def test_stats_prints_rows_and_where_all_pixels_went(values: Path) -> None:
    store = values.parent / "zones.zarr"
    result = zoneraster("stats", store, values, "--stats", "count,nodata,max")
    assert result.exit_code == 0, result.output
    assert "pixels read" in result.output
    assert "20 more rows" in result.output
    said = json.loads(zoneraster("stats", store, values, "--json").output)
    assert [row["fid"] for row in said["rows"]] == [7 * (i + 1) for i in range(40)]
    expected = zr.zonal_stats(store, values)
    assert [row["sum"] for row in said["rows"]] == expected["sum"].tolist()
    assert said["audit"] == expected.attrs["audit"]


def test_what_json_does_not_have_is_null(tmp_path: Path) -> None:
    import numpy as np
    import pandas as pd

    table = pd.DataFrame({"sum": [np.inf, -np.inf, np.nan, 1.5]}, index=pd.Index([1, 2, 3, 4]))
    table["lists"] = [[1.0, np.inf], [], [np.float32("nan")], [2]]
    table.attrs["audit"] = {"measures": {"v": {"high": np.inf}}}
    said = json.dumps(stats_json(table), allow_nan=False)
    assert [row["sum"] for row in json.loads(said)["rows"]] == [None, None, None, 1.5]
    assert [row["lists"] for row in json.loads(said)["rows"]] == [[1.0, None], [], [None], [2]]
    assert json.loads(said)["audit"] == {"measures": {"v": {"high": None}}}


@pytest.mark.slow
def test_stats_writes_what_it_is_asked_for(values: Path) -> None:
    import pandas as pd
    import xarray as xr

    store, folder = values.parent / "zones.zarr", values.parent
    expected = zr.zonal_stats(store, {"a": values, "b": values}, stats="mean")
    for name in ("table.parquet", "table.csv", "table.zarr"):
        result = zoneraster(
            "stats", store, f"a={values}", f"b={values}", "--stats", "mean", "--output",
            folder / name,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "table.parquet"), expected)
    read = pd.read_csv(folder / "table.csv", index_col="fid")
    pd.testing.assert_frame_equal(read, expected)
    cube = xr.open_zarr(folder / "table.zarr")
    assert cube["a_mean"].values.tolist() == pytest.approx(expected["a_mean"].tolist(), nan_ok=True)


@pytest.mark.slow
def test_stats_groups_chooses_rolls_up_and_resumes(values: Path) -> None:
    store = values.parent / "zones.zarr"
    options = (
        "--by", f"class={values}:100,200", "--thresholds", f"high={values}:200,300", "--where",
        f"{values} >= 100", "--where", f"{values} < 500", "--area", "ha", "--roll-up", "name",
        "--checkpoint", values.parent / "kept", "--json",
    )  # fmt: skip
    first = zoneraster("stats", store, *options)
    assert first.exit_code == 0, first.output
    rows = json.loads(first.output)["rows"]
    layer = zr.Raster(values)
    expected = zr.zonal_stats(
        store,
        by={"class": zr.labels(layer, [100, 200]), "high": zr.thresholds(layer, [200, 300])},
        where=(layer >= 100) & (layer < 500),
        area="ha",
        roll_up="name",
    )
    assert [row["pixels"] for row in rows] == expected["pixels"].tolist()
    assert {row["class"] for row in rows} == {200, -2}
    assert zoneraster("stats", store, *options).output == first.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.zarr", "VALUES"], "no zone store at"),
        (["STORE", "none.tif"], "no such file"),
        (["STORE", "VALUES", "--stats", "sun"], "unknown statistic 'sun'"),
        (["STORE", "--stats", "sum"], "needs values"),
        (["STORE", "--by", "path.zarr"], "NAME=PATH"),
        (["STORE", "--thresholds", "a=path.zarr"], "NAME=PATH:10,30,50"),
        (["STORE", "--by", "a=VALUES", "--by", "a=VALUES"], "two keys are named 'a'"),
        (["STORE", "--by", "a=VALUES:1,,2"], "are not numbers"),
        (["STORE", "--where", "VALUES is 3"], "PATH >= NUMBER"),
        (["STORE", "--where", "VALUES >= much"], "PATH >= NUMBER"),
        (["STORE", "--roll-up", "adm1"], "no column 'adm1'"),
        (["STORE", "--area", "acre"], "acre"),
        (["STORE", "VALUES", "--resample", "best"], "unknown resampling method 'best'"),
        (["STORE", "VALUES", "--output", "table.xlsx"], "must end in .parquet, .csv, .zarr"),
        (["STORE", "VALUES", "--output", "no/table.csv"], "there is no folder"),
    ],
)
def test_wrong_stats_are_one_line_and_exit_code_2(
    values: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(values.parent)
    given = [a.replace("STORE", "zones.zarr").replace("VALUES", "values.zarr") for a in arguments]
    result = zoneraster("stats", *given)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output


# ---- polygons and some zones ---------------------------------------------------------------------


@pytest.fixture
def two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    zones = sample_zones(20)
    zones["half"] = np.arange(20) % 2
    zones.to_file("zones.gpkg")
    values = np.random.default_rng(2).integers(0, 90, GRID.shape).astype("int16")
    write_tif(tmp_path / "values.tif", values)
    return tmp_path


def read_zones() -> Any:
    return geopandas.read_file("zones.gpkg", fid_as_index=True)


def write_tif(path: Path, values: Any) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1,
        dtype=values.dtype, crs=4326, transform=rasterio.Affine(0.02, 0, 0, 0, -0.02, 10),
    ) as file:  # fmt: skip
        file.write(values, 1)


def test_statistics_of_two_files_leave_a_table_and_a_map(two_files: Path) -> None:
    stats = ["stats", "zones.gpkg", "values.tif", "--key", "fid", "--stats", "sum,mean"]
    wanted = zr.zonal_stats("zones.gpkg", "values.tif", key="fid", stats=["sum", "mean"])
    shapes = read_zones().geometry
    for name in ("t.gpkg", "t.geojson", "t.parquet"):
        more = ["--geometry"] if name.endswith(".parquet") else []
        done = CliRunner().invoke(main, [*stats, "--output", name, *more])
        assert done.exit_code == 0, done.output
        read = geopandas.read_parquet if more else geopandas.read_file
        found = read(name)
        found = found.set_index("fid")
        assert found.index.tolist() == shapes.index.tolist()
        assert found["sum"].tolist() == wanted["sum"].tolist()
        assert found.crs == shapes.crs
        same = found.geometry.normalize().geom_equals_exact(shapes.normalize(), 1e-9, align=False)
        assert same.all()
    assert {path.name for path in two_files.iterdir()} == {
        "zones.gpkg", "values.tif", "t.gpkg", "t.geojson", "t.parquet"
    }  # fmt: skip


def test_some_zones_are_selected_by_key_column_and_box(two_files: Path) -> None:
    for words, keys in (
        (["--select", "7,21"], [7, 21]),
        (["--select", "half=1", "--select", "fid=7,14,28"], [14, 28]),
        (["--bbox", "0,0,2,2"], None),
        (["--bbox", "0", "0", "2", "2"], None),
    ):
        asked = ["stats", "zones.gpkg", "values.tif", "--key", "fid", "--json", *words]
        done = CliRunner().invoke(main, asked)
        assert done.exit_code == 0, done.output
        found = [row["fid"] for row in json.loads(done.stdout.splitlines()[-1])["rows"]]
        if keys is None:
            zones = read_zones()
            keys = zones.index[zones.intersects(box(0, 0, 2, 2))].tolist()
        assert found == keys


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--select", "7", "--bbox", "0", "0", "1", "1"], "--select and --bbox exclude each other"),
        (["--select", "7", "--select", "half=1"], "give COLUMN=A,B for the key, too"),
        (["--bbox", "2", "0", "1", "1"], "it is west, south, east, north"),
        (["--select", "halv=1"], "did you mean 'half'"),
    ],
)
def test_selections_that_cannot_be_are_told(two_files: Path, words: list[str], text: str) -> None:
    asked = ["stats", "zones.gpkg", "values.tif", "--key", "fid", *words]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 2
    assert text in done.output
