"""Files that the command line writes: looked at before the work, whole or not there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from zoneraster.errors import ZonerasterError
from zoneraster.output import check_output, json_text, replacing, write_stats

NAMES = ["t.csv", "t.parquet", "t.zarr"]


def table(value: float = 1.0) -> pd.DataFrame:
    frame = pd.DataFrame({"mean": [value]}, index=pd.Index(["x"], name="k"))
    frame.attrs = {"audit": {"pixels_read": 1}, "units": {"mean": "mm"}, "attributes": []}
    return frame


def read(path: Path) -> float:
    readers: dict[str, Callable[[Path], object]] = {
        ".csv": pd.read_csv, ".parquet": pd.read_parquet, ".zarr": xr.open_zarr
    }  # fmt: skip
    return float(readers[path.suffix](path)["mean"].values[0])  # type: ignore[index]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_there_is_refused_or_replaced_whatever_its_format(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    check_output(path)
    write_stats(table(1), path)
    with pytest.raises(ZonerasterError, match=rf"{name}: it is there already.*--overwrite"):
        check_output(path)
    check_output(path, overwrite=True)
    write_stats(table(2), path)
    assert read(path) == 2
    beside = ["t.csv-metadata.json"] if name == "t.csv" else []
    assert sorted(p.name for p in tmp_path.iterdir()) == [name, *beside]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_is_no_table_is_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name / ".zoneraster").mkdir(parents=True)
    said = {"attributes": {"audit": "{}"}, "node_type": "group"}
    (tmp_path / name / "zarr.json").write_text(json.dumps(said))
    with pytest.raises(ZonerasterError, match="a folder that no table was written to"):
        check_output(tmp_path / name, overwrite=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [("t.xlsx", r"end in .parquet, .csv, .zarr"), ("no/t.csv", "there is no folder"),
     ("t", "must end in")],
)  # fmt: skip
def test_names_that_cannot_be_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ZonerasterError, match=message):
        check_output(tmp_path / name)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="/proc takes no files")
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_takes_no_files_is_named_before_the_work(name: str) -> None:
    with pytest.raises(ZonerasterError, match=rf"cannot write /proc/self/{name} .*mend that"):
        check_output(Path("/proc/self") / name)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is the full disk of Linux")
def test_a_full_disk_is_our_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_stats(table(1), path)
    with pytest.raises(ZonerasterError, match=r"t\.csv .*No space left.*make room"):
        fill_the_disk(path)
    assert read(path) == 1
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]


def fill_the_disk(path: Path) -> None:
    with replacing(path) as new:
        new.write_text("half")
        with Path("/dev/full").open("w") as full:
            full.write("x" * 10)


def test_json_of_any_verb_has_null_for_what_is_not_finite_and_numbers_of_numpy() -> None:
    said = {"a": np.float64("inf"), "b": [np.int64(3), float("nan")], "c": Path("x"), "d": (1.5,)}
    assert json.loads(json_text(said)) == {"a": None, "b": [3, None], "c": "x", "d": [1.5]}
