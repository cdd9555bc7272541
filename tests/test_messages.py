"""What is said when something is wrong: exact, on one line, in the words of the command line.

Every message names what is wrong, the value and the cure; every one leaves with exit code 2 and
without a traceback.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from rasterio.transform import from_origin

import zoneraster as zr
from tests.conftest import ROOT
from zoneraster.cli import main
from zoneraster.shell import in_flags

PACKAGE = ROOT / "zoneraster"


def write_raster(path: Path, west: float, *, crs: int = 4326, step: float = 0.5) -> None:
    """20 x 16 pixels, whose values are their numbers."""
    with rasterio.open(
        path, "w", driver="GTiff", height=16, width=20, count=1, dtype="float32", crs=crs,
        transform=from_origin(west, 8, step, step),
    ) as file:  # fmt: skip
        file.write(np.arange(320, dtype="float32").reshape(16, 20), 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with polygons, rasters and stores, as the examples of the help have them."""
    folder = tmp_path_factory.mktemp("messages")
    shapes = [shapely.box(0, 0, 4.4, 3), shapely.box(4.4, 0, 8, 3), shapely.box(2, 2, 6, 6)]
    attributes = {"park": ["west", "east", "lake"], "region": ["a", "a", "b"]}
    parks = geopandas.GeoDataFrame(attributes, geometry=shapes, crs=4326)
    parks.to_file(folder / "parks.gpkg")
    with zipfile.ZipFile(folder / "parks.zip", "w") as archive:
        archive.write(folder / "parks.gpkg", "parks.gpkg")
    write_raster(folder / "cover.tif", 0)
    write_raster(folder / "half.tif", 0.25)
    write_raster(folder / "far.tif", 100)
    write_raster(folder / "metres.tif", 500_000, crs=32632, step=1000)
    grid = zr.Grid.from_bounds((0, 0, 10, 8), 0.5)
    with pytest.warns(zr.ZonerasterWarning):
        zr.build(parks, folder / "parks.zarr", grid=grid, key="park")
    zr.build(parks, folder / "sets.zarr", grid=grid, key="park", overlap="sets")
    return folder


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def said(folder: Path, line: str) -> str:
    """What a command that fails says, all of it; the folder is called /home/me."""
    result = CliRunner().invoke(main, line.split()[1:], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.output.replace(str(folder), "/home/me").removesuffix("\n")


STATISTICS = (
    "pixels, count, valid, nodata, sum, mean, min, max, range, var, std, area, pixel_area, "
    "area_sum, area_mean, median, majority, minority, variety, histogram, fractions, weighted_sum, "
    "weighted_mean, weighted_var, weighted_std, weight_sum, weighted_area, weighted_area_sum, "
    "weighted_area_mean, weighted_frac"
)
READABLE = "GeoParquet, GeoPackage, Shapefile (also zipped), FlatGeobuf or GeoJSON"
CASES = {
    # swapped arguments
    "zoneraster stats cover.tif parks.gpkg": (
        "parks.gpkg holds polygons, which are no values, and cover.tif is a raster: zones come "
        "first, then values: swap them"
    ),
    "zoneraster stats cover.tif parks.zarr": (
        "zones of cover.tif are float32: they must be integers; or are zones and values swapped? "
        "Zones come first"
    ),
    "zoneraster build new.zarr parks.gpkg --resolution 1": (
        "/home/me/parks.gpkg is a file: a store needs an empty or new folder: zones come first, "
        "then the store"
    ),
    # polygons where a store is wanted, and the other way round
    "zoneraster status parks.gpkg": (
        "/home/me/parks.gpkg is a file, not the folder of a store: it holds polygons, build a "
        "store of them first"
    ),
    "zoneraster build parks.zarr new.zarr --resolution 1": (
        "parks.zarr is a zone store, not polygons: those that it was built of are in "
        "parks.zarr/zones.parquet"
    ),
    "zoneraster build cover.tif new.zarr --resolution 1": (
        f"cover.tif is not {READABLE} (it begins with b'II*\\x00\\x08\\x00\\x00\\x00"
        "\\x10\\x00\\x00\\x01\\x03\\x00\\x01\\x00') but a raster: give polygons, or make them, "
        "e.g. with gdal_polygonize.py cover.tif cover.gpkg"
    ),
    "zoneraster stats parks.zarr parks.gpkg": (
        "parks.gpkg holds polygons, which are no values: give a raster to reduce in the zones of "
        "parks.zarr"
    ),
    "zoneraster stats parks.gpkg": (
        "parks.gpkg has no pixels of its own: give VALUES, or --by, or build a store on a grid of "
        "your choice"
    ),
    # a file or zip as store
    "zoneraster verify cover.tif": (
        "/home/me/cover.tif is a file, not the folder of a store: check the path, or build a store "
        "first"
    ),
    "zoneraster info parks.zip": (
        "no zone store at /home/me/parks.zip: build it first"
    ),
    # a missing file, a folder
    "zoneraster stats park.gpkg cover.tif": (
        "park.gpkg: no such file (there is parks.gpkg): check the path"
    ),
    "zoneraster build none.shp new.zarr --resolution 1": (
        "none.shp: no such file: check the path"
    ),
    "zoneraster stats parks.zarr none.tif": "none.tif: no such file: check the path",
    "zoneraster stats none cover.tif": (
        f"there is nothing at none: give a store, a file of polygons ({READABLE}) or a raster of "
        "labels"
    ),
    "zoneraster stats none.zarr cover.tif": (
        "no zone store at none.zarr: build it first, or give polygons or a raster of "
        "labels in its place"
    ),
    "zoneraster build . new.zarr --resolution 1": ". is a folder: give one file",
    "zoneraster build parks.gpkg new.zarr --like none.tif": (
        "cannot open raster 'none.tif': none.tif: No such file or directory: check the path"
    ),
    "zoneraster build parks.gpkg new.zarr": (
        "a new store needs a grid: give --resolution or --like RASTER, or --global-30m"
    ),
    "zoneraster build parks.gpkg new.zarr --resolution 1 --bounds 0 0 10 8.003": (
        "bounds (0.0, 0.0, 10.0, 8.003) hold 8.003 rows x 10 columns of 1, not a whole number: "
        "--snap takes bounds (0.0, 0.0, 10.0, 9.0) around them; or take resolution (1, 1.000375)"
    ),
    # a wrong column, key or value, with the nearest
    "zoneraster build parks.gpkg new.zarr --resolution 1 --key prak": (
        "parks.gpkg: no single key column 'prak': did you mean 'park'? There are park, region"
    ),
    "zoneraster build parks.gpkg new.zarr --resolution 1 --priority regiom": (
        "the zones have no priority column 'regiom': did you mean 'region'? There are park, "
        "region, row"
    ),
    "zoneraster stats parks.zarr cover.tif --roll-up regiom": (
        "the zones have no column 'regiom': did you mean 'region'? There are zone_id, park, "
        "region, claimed, owned and 2 more"
    ),
    "zoneraster stats parks.zarr cover.tif --attributes height": (
        "the zones have no column 'height': there are zone_id, park, region, claimed, owned and 2 "
        "more"
    ),
    "zoneraster stats parks.zarr cover.tif --select weest": (
        "--select asks for park=weest, which no zone has: did you mean 'west'? There "
        "are west, east, lake"
    ),
    "zoneraster stats parks.zarr cover.tif --select regiom=a": (
        "--select asks for a column 'regiom', which the zones do not have: did you mean 'region'? "
        "There are zone_id, park, region, claimed, owned and 2 more"
    ),
    "zoneraster stats parks.zarr cover.tif --select park=west --select region=b": (
        "no zone has all of --select park=west region=b"
    ),
    "zoneraster stats parks.zarr cover.tif --bbox 50 50 60 60": (
        "no zone meets --bbox 50.0 50.0 60.0 60.0, west, south, east and north in the reference "
        "system of the grid"
    ),
    # a raster that does not meet
    "zoneraster stats parks.zarr far.tif": (
        "far.tif covers (100.0, 0.0, 110.0, 8.0), the grid (0.0, 0.0, 10.0, 8.0), west, south, "
        "east and north of EPSG:4326: they do not meet: are these the pixels of another place, or "
        "is the CRS of one of both another?"
    ),
    "zoneraster stats parks.gpkg far.tif": (
        "no zone meets the grid: the zones lie in (0, 0, 8, 6) and the grid in (100, 0, 110, 8), "
        "west, south, east and north of EPSG:4326: are these the zones of another place, or is the "
        "CRS of one of both another?"
    ),
    "zoneraster stats parks.zarr half.tif": (
        "half.tif: its corner lies at row 0, column 0.5 of the grid, between the pixels "
        "(ratio 1): check for a shift by half a pixel, or give --resample nearest, --resample "
        "average or another method, --resample sum for totals per pixel, or build a store on a "
        "grid like it"
    ),
    "zoneraster stats parks.zarr metres.tif": (
        "metres.tif: the grids have different CRS, WGS 84 / UTM zone 32N (EPSG:32632) and WGS 84 "
        "(EPSG:4326): reproject one of them first, or, where a raster is in the other one all the "
        "same, say so, PATH[crs=...], or give --resample nearest, --resample "
        "average or another method, --resample sum for totals per pixel, or build a store on a "
        "grid like it"
    ),
    # a typo in a statistic
    "zoneraster stats parks.zarr cover.tif --stats meen": (
        f"unknown statistic 'meen': did you mean 'mean'? There are {STATISTICS}, quantiles like "
        "q0.25"
    ),
    "zoneraster stats parks.zarr cover.tif --stats weighted_mean": (
        "statistic 'weighted_mean' needs weights: give a raster, --weights PATH"
    ),
    "zoneraster stats parks.zarr --stats sum": (
        "statistic 'sum' needs values, and there are none: give a raster, VALUES, or ask only for "
        "pixels, count, valid, area, pixel_area"
    ),
    # an unwritable output
    "zoneraster stats parks.zarr cover.tif --output none/t.csv": (
        "cannot write none/t.csv: there is no folder none"
    ),
    "zoneraster stats parks.zarr cover.tif --output t.xlsx": (
        "cannot write t.xlsx: its name must end in .parquet, .csv, .zarr, .gpkg, .geojson"
    ),
    "zoneraster stats parks.zarr cover.tif --output parks.gpkg": (
        "cannot write parks.gpkg: it is there already; choose another name, or --overwrite it"
    ),
    # options without effect
    "zoneraster stats parks.zarr cover.tif --area ha --stats mean": (
        "--area ha changes nothing: none of mean is an area; ask for 'area' (of pixels with a "
        "value) or 'pixel_area' (of all), or leave it out"
    ),
    "zoneraster stats parks.zarr cover.tif --weights cover.tif --stats mean": (
        "--weights changes nothing: none of mean is weighted; ask for weighted_sum, weighted_mean "
        "or the like, or leave it out"
    ),
    "zoneraster stats parks.zarr cover.tif --bounded": (
        "--bounded changes nothing: none of count, sum, mean is a quantile; leave it out"
    ),
    "zoneraster stats parks.zarr cover.tif --executor serial --workers 2": (
        "--workers 2 changes nothing with --executor serial, which is one: leave one of them out"
    ),
    "zoneraster run parks.zarr --executor serial --workers 3": (
        "--workers 3 changes nothing with --executor serial, which is one: leave one of them out"
    ),
    "zoneraster stats parks.zarr cover.tif --key park": (
        "--key park would say how polygons are read, and /home/me/parks.zarr has read its own "
        "already: leave it out"
    ),
    "zoneraster stats parks.zarr cover.tif --zones owned --pixels touched": (
        "--zones owned has the pixels of the array as it was burned: leave out --pixels touched"
    ),
    "zoneraster stats parks.zarr cover.tif --roll-up region --geometry": (
        "--roll-up has rows for groups of zones, which have no --geometry: leave out one of them"
    ),
    "zoneraster build parks.gpkg new.zarr --resolution 1 --product count --min-pixels 1": (
        "--min-pixels 1 means nothing for --product count, in which every zone counts: leave it out"
    ),
    "zoneraster stats newer.zarr": (
        "/home/me/newer.zarr/.zoneraster/spec.json has format version 2, this zoneraster reads 1: "
        "update zoneraster"
    ),
    "zoneraster status odd.zarr": (
        "/home/me/odd.zarr/.zoneraster/spec.json has glow, which this zoneraster does not know: "
        "update zoneraster"
    ),
}  # fmt: skip
# Of the words themselves: click says how the command is used, and then this.
USAGE = {
    "zoneraster bild": (
        "no command 'bild': did you mean 'build'? There are build, cells, completion, demo, "
        "finish, info, plan, plot, run, sets, stats, status, verify, warm"
    ),
    "zoneraster stats parks.zarr cover.tif --overwrite": (
        "--overwrite changes nothing without --output: leave it out"
    ),
    "zoneraster cells parks.zarr new.parquet --resample nearest": (
        "--resample changes nothing without VALUES: leave it out"
    ),
    "zoneraster stats parks.zarr --storage-option anon=true": (
        "--storage-option anon=... changes nothing for files of this machine: leave it out"
    ),
    "zoneraster build parks.gpkg new.zarr --resolution 1 --snap": (
        "--snap changes nothing without --bounds: give them, or leave it out"
    ),
    "zoneraster build parks.gpkg new.zarr --like cover.tif --bounds 0 0 1 1": (
        "--bounds needs --resolution, and --like has its own"
    ),
}


@pytest.fixture(scope="module", autouse=True)
def newer(made: Path) -> None:
    """Stores of versions to come."""
    for name, more in (("newer", {"format_version": 2}), ("odd", {"glow": True})):
        shutil.copytree(made / "parks.zarr", made / f"{name}.zarr")
        spec = made / f"{name}.zarr" / ".zoneraster" / "spec.json"
        spec.write_text(json.dumps({**json.loads(spec.read_text()), **more}))


@pytest.mark.slow
@pytest.mark.parametrize("line", CASES)
def test_what_is_wrong_its_value_and_the_cure(folder: Path, line: str) -> None:
    assert said(folder, line) == f"zoneraster: {CASES[line]}"


@pytest.mark.parametrize("line", USAGE)
def test_words_that_cannot_be_are_told_below_how_they_are_used(folder: Path, line: str) -> None:
    usage, _, error = said(folder, line).partition("\n\nError: ")
    assert usage.startswith("Usage: ")
    assert error == USAGE[line]


@pytest.mark.slow
def test_a_folder_that_takes_no_files_is_named(folder: Path) -> None:
    line = "zoneraster stats parks.zarr cover.tif --output /proc/self/t.csv"
    assert re.fullmatch(
        r"zoneraster: cannot write /proc/self/t\.csv \(FileNotFoundError: .*\): mend that, or "
        "choose another place",
        said(folder, line),
    )


def test_a_label_that_is_not_listed_is_named_with_the_key_of_its_zone(folder: Path) -> None:
    cover = zr.labels("cover.tif", [1, 2], unlisted="error")
    with pytest.raises(zr.ValuesError) as refused:
        zr.zonal_stats("parks.zarr", by={"cover": cover})
    assert str(refused.value) == (
        "key cover.tif has the label 84, which is not listed, in zone 'lake' and 2 other zones: "
        "list it, or give what is not listed a name, e.g. unlisted=-2"
    )
    cover = zr.labels(zr.Raster("cover.tif", nodata=84), nodata="error")
    with pytest.raises(zr.ValuesError, match="has no value in zone 'lake': give pixels without a"):
        zr.zonal_stats("parks.zarr", by={"cover": cover})


# ---- in Python they speak Python, on the command line the command line's words -------------------


def test_the_same_mistake_speaks_python_in_python(folder: Path) -> None:
    with pytest.raises(zr.OptionError, match=r"^key='park' would say how polygons are read, and"):
        zr.zonal_stats("parks.zarr", "cover.tif", key="park")
    with pytest.warns(zr.ZonerasterWarning, match=r"^area='ha' changes nothing"):
        zr.zonal_stats("parks.zarr", "cover.tif", stats="mean", area="ha")


@pytest.mark.parametrize(
    ("verb", "python", "shell"),
    [
        ("build", "give assume_crs=, e.g. 'EPSG:4326'", "give --assume-crs, e.g. 'EPSG:4326'"),
        ("build", "all_touched=True or all_touched=False", "--all-touched or --centres"),
        ("build", "with check=True: it", "with --check: it"),
        ("stats", "exact=False, exact=True", "--bounded, --exact"),
        ("stats", "select={'a b': ['x y', 'z']}", "--select 'a b=x y,z'"),
        ("stats", "storage_options={'anon': True}", "--storage-option anon=true"),
        ("stats", "weights=... or by={'v': ...}", "--weights PATH or --by v=PATH"),
        # Not of this verb, and no options at all.
        ("status", "check=True", "check=True"),
        ("build", "/data/layer=3/x.tif, s3://b/key=4: y", "/data/layer=3/x.tif, s3://b/key=4: y"),
        ("build", "x==3 and key==3", "x==3 and key==3"),
        # What only Python has says so.
        ("build", "use obj.sortby(x).sortby(y)", "use obj.sortby(x).sortby(y) (in Python)"),
        ("build", "Raster('a.tif', crs='EPSG:1')", "PATH[crs=EPSG:1]"),
        ("stats", "zr.Raster(..., nodata=float('nan')) or", "PATH[nodata=nan] or"),
        ("stats", "say so, Raster(..., crs=...), or", "say so, PATH[crs=...], or"),
        ("stats", "zr.Raster(..., units='') where", "PATH[units=] where"),
        ("stats", "Raster(..., dims=('y', 'x'))", "PATH[dims=y,dims=x]"),
    ],
)
def test_options_of_python_become_flags(verb: str, python: str, shell: str) -> None:
    assert in_flags(python, main.commands[verb]) == shell


# Rooms whose words are for those who have objects of Python in their hands: arrays, frames, keys
# with buckets. None of them is reached by a path.
OF_PYTHON = {
    "_build/ask.py": "unfinished=",  # of zr.open
    "_stats/keys.py": "nodata=",  # of zr.labels
    "_stats/table.py": "nodata= and unlisted=",
    "_stats/task.py": "=-",
    "_values/arrays.py": "",
    "_values/raster.py": r"nodata=|xr\.DataArray",
    "_values/open.py": "version=|DataArray|transform=",
    "_values/datasets.py": "xarray",
    "_values/stac.py": r"with xarray|zr\.Raster\(json",
    "painting.py": "level=",
    "_values/grid_of.py": "",
    "_values/attributes.py": r"computed|array, nodata=0\)|ends? this warning",
    "_stats/front.py": "cannot take zones from",  # a path is text
    "_stats/decoded.py": "an attribute nodata=",
    "_grid/grid.py": r"b=|e=|Grid\(",
    "_stats/inputs.py": "is no condition",
    "_zones/frames.py": "",
    "_zones/paths.py": "frame|GeoDataFrame",
    "_zones/geoparquet.py": "GeoDataFrame.to_parquet",
    "_zones/checks.py": "GeoDataFrame.explode",
    "_zones/keys.py": "reset_index|index of the frame",
    "_values/zarrs.py": "write it with xarray|xarray.open_zarr|open the group with xarray",
    "_values/files.py": "variable=",
    "blobs.py": "zone.to_dataset",
}


def literals() -> Iterator[tuple[str, str]]:
    """Room and text of all literals with several words that are no docstrings."""
    for path in sorted(PACKAGE.rglob("*.py")):
        room = str(path.relative_to(PACKAGE))
        if room in {
            "cli.py",
            "words.py",
            "shell.py",
            "options.py",
            "demo.py",
            "bars.py",
            "notation.py",
            "notebook.py",
        }:
            continue
        tree = ast.parse(path.read_text())
        alone = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        alone |= {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
        for node in ast.walk(tree):
            if id(node) in alone:
                continue
            text = ""
            if isinstance(node, ast.JoinedStr):
                for value in node.values:
                    is_text = isinstance(value, ast.Constant)
                    text += str(value.value) if is_text else "'x'"  # type: ignore[attr-defined]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            if " " in text:
                yield room, text


def test_no_message_that_a_command_may_meet_is_left_in_python() -> None:
    params = {p.name: p for verb in main.commands.values() for p in verb.params}
    every = click.Command("every", params=list(params.values()))
    python = re.compile(r"\b(zr\.|[a-z_]+=(?!=)|DataArray|GeoDataFrame|Dataset\b|frame\b|xarray)")
    code = re.compile(r"\S*(Raster|Stat|array|obj)\b\S*.*? \(in Python\)")
    left = []
    for room, text in literals():
        spoken = re.sub(r"--[\w-]+( \S+)?", "", code.sub("", in_flags(text, every)))
        spoken = re.sub(r"\S+\[\S*\]", "", spoken)
        allowed = OF_PYTHON.get(room)
        if python.search(spoken) and (allowed is None or not re.search(allowed, text)):
            left.append(f"{room}: {spoken}")
    assert left == []


# ---- without the extras --------------------------------------------------------------------------

HIDDEN = ("rasterio", "rioxarray", "matplotlib", "s3fs", "aiohttp", "distributed", "IPython")
EXTRAS = {
    "zoneraster stats parks.zarr cover.tif": (
        "reading '/home/me/cover.tif' needs rasterio, which is not there: pip install rasterio "
        "(the extra 'raster' of zoneraster)"
    ),
    "zoneraster build parks.gpkg new.zarr --like cover.tif": (
        "reading the grid of 'cover.tif' needs rasterio, which is not there: pip install rasterio "
        "(the extra 'raster' of zoneraster)"
    ),
    "zoneraster plot parks.zarr map.png": (
        "drawing needs matplotlib, which is not there: pip install matplotlib (the extra 'plot' of "
        "zoneraster)"
    ),
    "zoneraster status s3://bucket/parks.zarr": (
        "reaching s3://bucket/parks.zarr needs s3fs, which is not there: pip install s3fs (the "
        "extra 's3' of zoneraster)"
    ),
    "zoneraster stats https://example.org/parks.zarr": (
        "reaching https://example.org/parks.zarr needs aiohttp, which is not there: pip install "
        "aiohttp (the extra 'http' of zoneraster)"
    ),
    "zoneraster build s3://bucket/parks.parquet new.zarr --resolution 1": (
        "reaching s3://bucket/parks.parquet needs s3fs, which is not there: pip install s3fs (the "
        "extra 's3' of zoneraster)"
    ),
    "zoneraster stats parks.zarr half.zarr --resample nearest": (
        "resampling half.zarr needs rasterio, which is not there: pip install rasterio (the extra "
        "'raster' of zoneraster)"
    ),
}


@pytest.mark.slow
def test_a_base_install_says_what_to_install_and_does_all_else(made: Path) -> None:
    import xarray as xr

    y, x = 8 - (np.arange(16) + 0.5) / 2, 0.25 + (np.arange(20) + 0.5) / 2
    array = xr.DataArray(np.zeros((16, 20)), {"lat": y, "lon": x}, ("lat", "lon"), name="half")
    array.to_dataset().to_zarr(made / "half.zarr", zarr_format=3, consolidated=False, mode="w")
    lines = [*EXTRAS, "zoneraster status parks.zarr", "zoneraster stats parks.zarr"]
    code = f"""
        import sys
        class Hidden:
            def find_spec(self, name, *_):
                if name.partition(".")[0] in {HIDDEN!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        sys.meta_path.insert(0, Hidden())
        from click.testing import CliRunner
        from zoneraster.cli import main
        import json
        done = [CliRunner().invoke(main, line.split()[1:]) for line in {lines!r}]
        print(json.dumps([(one.exit_code, one.output, repr(one.exception)) for one in done]))
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=made, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}, check=True,
    )  # fmt: skip
    done = json.loads(ran.stdout)
    for line, (code, output, error) in zip(EXTRAS, done, strict=False):
        assert (code, error) == (2, "SystemExit(2)"), output
        assert output.replace(str(made), "/home/me") == f"zoneraster: {EXTRAS[line]}\n"
    assert [code for code, *_ in done[len(EXTRAS) :]] == [0, 0]


# ---- help ----------------------------------------------------------------------------------------


def test_zoneraster_alone_shows_four_lines_and_each_of_them_works(folder: Path) -> None:
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert len(lines) == 4
    for line in lines:
        run = line.partition("#")[0].replace("parks.zarr --like", "four.zarr --like")
        done = CliRunner().invoke(main, run.split()[1:], catch_exceptions=False)
        assert done.exit_code == 0, done.output


@pytest.mark.slow
@pytest.mark.parametrize("verb", sorted(main.commands))
def test_the_help_of_each_verb_has_a_line_that_works(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    Path("table.csv").unlink(missing_ok=True)
    shown = CliRunner().invoke(main, [verb, "--help"]).output
    line = shown.partition("Example:\n")[2].strip().splitlines()[0].strip()
    assert line.startswith(("zoneraster ", 'eval "$(zoneraster '))
    if verb == "demo":
        return  # takes a minute, and has a test of its own
    if verb in {"build", "plan"}:
        shutil.rmtree("parks.zarr")
    words = line.removeprefix('eval "$(').removesuffix(')"').split()
    done = CliRunner().invoke(main, words[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_the_help_of_stats_lists_the_statistics() -> None:
    shown = " ".join(CliRunner().invoke(main, ["stats", "--help"]).output.split())
    assert f"Statistics: {STATISTICS}; quantiles like q0.9." in shown


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_shells_complete_verbs_options_and_statistics(shell: str) -> None:
    script = CliRunner().invoke(main, ["completion", shell])
    assert script.exit_code == 0
    assert "_ZONERASTER_COMPLETE" in script.output
    words = {"COMP_WORDS": "zoneraster stats --stats mean,max", "COMP_CWORD": "3"}
    asked = {"_ZONERASTER_COMPLETE": f"{shell}_complete", "COMP_WORDS": words["COMP_WORDS"]}
    asked["COMP_CWORD"] = "mean,ma" if shell == "fish" else "3"
    asked["COMP_WORDS"] = "zoneraster stats --stats mean,ma"
    done = CliRunner().invoke(main, [], prog_name="zoneraster", env=asked)
    assert {"mean,max", "mean,majority"} <= {*re.split(r"[\s,](?=mean)|\n", done.output)}
