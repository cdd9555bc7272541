"""Rasters, labels and conditions as the command line writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

import zoneraster as zr
from tests.stats.samples import GRID, ZONES, zones_of
from zoneraster.cli import main
from zoneraster.notation import condition, in_words, labelled, raster_of
from zoneraster.words import keys_of, measures_of


def said(raster: Any) -> dict[str, Any]:
    """What is said of a raster."""
    assert isinstance(raster, zr.Raster)
    names = (
        "source", "variable", "band", "nodata", "units", "crs", "dims", "raw", "resample",
        "version", "storage_options",
    )  # fmt: skip
    given = {name: getattr(raster, name) for name in names}
    return {name: value for name, value in given.items() if value not in (None, False)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.tif[band=2]", {"source": "a.tif", "band": 2}),
        (
            "t/*.tif[band=2,nodata=255,crs=EPSG:4326,units=percent]",
            {"source": "t/*.tif", "band": 2, "nodata": 255, "crs": "EPSG:4326", "units": "percent"},
        ),
        ("t/[0-9].tif[nodata=-99, nodata=-0.5]", {"source": "t/[0-9].tif", "nodata": (-99, -0.5)}),
        ("a.nc[variable=g/v,dims=lat,dims=lon]",
         {"source": "a.nc", "variable": "g/v", "dims": ("lat", "lon")}),
        ("s3://b/a.zarr[storage.anon=true,raw,resample=mode]",
         {"source": "s3://b/a.zarr", "storage_options": {"anon": True}, "raw": True,
          "resample": "mode"}),
        ('a.tif[crs="+proj=longlat, +datum=WGS84",version=2]',
         {"source": "a.tif", "crs": "+proj=longlat, +datum=WGS84", "version": "2"}),
    ],
)  # fmt: skip
def test_brackets_say_what_a_raster_says(text: str, expected: dict[str, Any]) -> None:
    assert said(raster_of(text)) == expected


def test_paths_alone_stay_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("a.tif", "t/[0-9][0-9].tif", "t/*", "http://h:80/a.tif?x=1", "a[1]"):
        assert raster_of(path) == path
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a[band=2]").touch()
    assert raster_of("a[band=2]") == "a[band=2]"
    assert said(raster_of("a.tif", {"band": 3})) == {"source": "a.tif", "band": 3}
    assert said(raster_of("a.tif[band=1]", {"band": 3, "nodata": 9})) == {
        "source": "a.tif", "band": 1, "nodata": 9,
    }  # fmt: skip


def test_measures_have_names_and_options() -> None:
    found = measures_of(["cover=t/*.tif[band=2]", "loss/2001/*.tif", "x.tif[units=m]"])
    assert list(found) == ["cover", "2001", "x"]
    assert said(found["cover"]) == {"source": "t/*.tif", "band": 2}
    assert found["2001"] == "loss/2001/*.tif"
    assert said(measures_of(["lc.tif[band=2]"])) == {"source": "lc.tif", "band": 2}


@pytest.mark.parametrize(
    ("text", "path", "labels"),
    [
        ("a.tif", "a.tif", None),
        ("a.tif:1,2.5,-3", "a.tif", [1, 2.5, -3]),
        ("a.tif:1,4-6,-2-0", "a.tif", [1, 4, 5, 6, -2, -1, 0]),
        ("a.tif:1-3=2001-2003", "a.tif", {1: "2001", 2: "2002", 3: "2003"}),
        ("a.tif:10=forest: dense/wet,20-21=7-8,30", "a.tif",
         {10: "forest: dense/wet", 20: "7", 21: "8", 30: "30"}),
        ("http://h:8080/a.tif:1,2", "http://h:8080/a.tif", [1, 2]),
        ("http://h:8080/a.tif", "http://h:8080/a.tif", None),
        ("a.tif[crs=EPSG:4326,band=1]:5", "a.tif[crs=EPSG:4326,band=1]", [5]),
        ("a.tif:1e3", "a.tif", [1000]),
    ],
)  # fmt: skip
def test_labels_have_ranges_and_names(text: str, path: str, labels: Any) -> None:
    assert labelled(text) == (path, labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.tif[bnd=1]", "there is no option 'bnd': there are band, variable, nodata"),
        ("a.tif[band=x]", "band=x: invalid literal"),
        ("a.tif[band=1,band=2]", "given twice"),
        ("a.tif[dims=y]", "dims=lat,dims=lon"),
        ("a.tif[band=1 2=]", "is not of the form OPTION=VALUE|invalid literal"),
        ("a.tif[raw=perhaps]", "true or false"),
        ("a.tif:5-1", "no range of whole numbers"),
        ("a.tif:0.5-2", "no range of whole numbers"),
        ("a.tif:1-3=1-2", "3 labels are named '1-2'"),
        ("a.tif:1=", "are named ''"),
        ("a.tif:1-99999999", "no range"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_form(text: str, message: str) -> None:
    with pytest.raises(click.BadParameter, match=message):
        raster_of(labelled(text)[0])


def test_conditions_have_lists_validity_and_words_between_them() -> None:
    assert repr(condition("a.tif[band=2] >= 3")) == "a.tif >= 3.0"
    assert repr(condition("a.tif in 1,3-4")) == "a.tif isin (1, 3, 4)"
    assert repr(condition("a.tif is valid")) == "a.tif isvalid"
    text = "a.tif>1 and not b.tif == 2 or c.tif in 5"
    assert repr(condition(text)) == "((a.tif > 1.0 & ~b.tif == 2.0) | c.tif isin (5,))"
    assert condition("a.tif[band=2] >= 3").raster.band == 2
    for wrong in ("a.tif in forest", "a.tif", "a.tif >= x", "a.tif > 1 or b.tif"):
        with pytest.raises(click.BadParameter, match="is not of the form"):
            condition(wrong)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("choose one, Raster(..., band=1), or", "choose one, PATH[band=1], or"),
        ("zr.Raster(..., nodata=float('nan')) ends", "PATH[nodata=nan] ends"),
        ("Raster('a.tif', crs='EPSG:4326')", "PATH[crs=EPSG:4326]"),
        ("Raster(..., dims=('y', 'x')), or", "PATH[dims=y,dims=x], or"),
        ("zr.Raster(..., nodata=[-1, 2], raw=True)", "PATH[nodata=-1,nodata=2,raw]"),
        ("zr.Raster(..., units='') where", "PATH[units=] where"),
        ("e.g. zr.Raster(path) >= 30", "e.g. zr.Raster(path) >= 30"),
    ],
)
def test_advice_for_python_is_said_in_words_of_the_command_line(
    message: str, expected: str
) -> None:
    assert in_words(message) == expected


def write(path: Path, *bands: Any) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), width=3, height=3, dtype="uint8",
        crs="EPSG:32633", transform=GRID.transform,
    ) as file:  # fmt: skip
        file.write(np.array(bands, "uint8"))


def test_one_notation_for_values_keys_conditions_weights_and_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ids = np.array(ZONES)
    values = np.arange(9).reshape(3, 3)
    kinds = values % 3 + 1
    write(tmp_path / "v.tif", values * 0, values)
    write(tmp_path / "k.tif", kinds, ids)
    zr.build(zones_of(ids), "s.zarr", grid=GRID, key="fid")
    result = CliRunner().invoke(
        main,
        ["stats", "s.zarr", "v=v.tif[band=2,nodata=5]", "--by", "year=k.tif[band=1]:1-3=2001-2003",
         "--where", "v.tif[band=2] in 1-8 and not k.tif[band=1] == 3",
         "--weights", "k.tif[band=1]", "--stats", "count,sum,weight_sum", "--output", "t.parquet"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    import pandas as pd

    table = pd.read_parquet("t.parquet")
    for zone in (1, 2):
        for kind in (1, 2):
            chosen = (ids == zone) & (kinds == kind) & (values >= 1)
            n = int((chosen & (values != 5)).sum())
            if chosen.any():
                row = table.loc[(zone, str(2000 + kind))]
                assert row["count"] == n
                assert row["sum"] == values[chosen & (values != 5)].sum()
    assert "2003" not in table.index.get_level_values("year")
    labels = CliRunner().invoke(
        main, ["stats", "k.tif[band=2]", "v.tif", "--band", "2", "--nodata", "5", "--stats", "sum"]
    )
    assert labels.exit_code == 0, labels.output
    for zone in (1, 2):
        total = values[(ids == zone) & (values != 5)].sum()
        assert f"{zone} {total}" in " ".join(labels.output.replace(".0", "").split())
    refused = CliRunner().invoke(main, ["stats", "s.zarr", "v.tif", "--by", "a=k.tif"])
    assert refused.exit_code == 2
    assert "PATH[band=1]" in refused.output
    assert list(keys_of(["a=k.tif[band=1]:1=x"], [])) == ["a"]
