"""What can be opened, what rasters are called, and what must be refused."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
import rasterio
from affine import Affine

from tests.values.samples import (
    GRID,
    array,
    dataset,
    pixels,
    write_tif,
    write_zarr,
)
from zoneraster._grid.grid import Grid
from zoneraster._values.open import open_raster, open_rasters
from zoneraster._values.raster import Raster
from zoneraster._values.resample import resampled
from zoneraster.errors import GridError, ValuesError


def test_names_come_from_stems_variables_and_keys(tmp_path: Path) -> None:
    both = dataset(pixels()).assign(gain=lambda given: given["tcd"] + 1)
    path = write_zarr(tmp_path / "cover.zarr", both)
    assert [opened.name for opened in open_rasters(path)] == ["gain", "tcd"]
    assert [opened.label for opened in open_rasters(path)] == [f"{path}/gain", f"{path}/tcd"]
    assert [opened.name for opened in open_rasters(both)] == ["tcd", "gain"]
    assert open_raster(Raster(path, variable="gain")).name == "gain"
    assert open_raster(Raster(both, variable="gain")).name == "gain"
    named = open_rasters({"a": path, "b": array(), "c": Raster(path, variable="tcd")})
    assert [opened.name for opened in named] == ["a_gain", "a_tcd", "b", "c"]
    assert open_raster(array().rename(None)).name == "value"


def test_another_crs_may_be_given(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", pixels(), crs=None)
    web = Grid("EPSG:3857", GRID.transform, GRID.shape)
    zarr = write_zarr(tmp_path / "a.zarr", dataset(pixels()))
    nameless = array(pixels()).drop_vars("spatial_ref")
    for given in (path, zarr, array(pixels()), nameless):
        assert open_raster(Raster(given, crs="EPSG:3857")).grid == web
    assert open_raster(Raster(dataset(), crs=3857)).grid == web
    assert array().coords["spatial_ref"].attrs["crs_wkt"] == GRID.crs.to_wkt()


def test_several_variables_need_a_choice(tmp_path: Path) -> None:
    both = dataset(pixels()).assign(gain=lambda given: given["tcd"] + 1)
    with pytest.raises(ValuesError, match=r"several variables \(tcd, gain\).*variable='tcd'"):
        open_raster(both)
    with pytest.raises(ValuesError, match="has no variable 'loss', its are: tcd, spatial_ref"):
        open_raster(Raster(both, variable="loss"))
    with pytest.raises(ValuesError, match="cannot tell rows from columns in dimensions"):
        open_raster(Raster(both, variable="row"))
    with pytest.raises(ValuesError, match="has no variable with rows and columns"):
        open_rasters(both[["row"]])
    with pytest.raises(ValuesError, match="variable='loss' is for a Dataset"):
        open_raster(Raster(array(), variable="loss"))
    path = write_tif(tmp_path / "a.tif", pixels())
    with pytest.raises(ValuesError, match=r"is a raster file.*by band=1"):
        open_raster(Raster(path, variable="tcd"))
    with pytest.raises(ValuesError, match="has no band 2, its are 1 to 1"):
        open_raster(Raster(path, band=2))
    with pytest.raises(ValuesError, match="has no dimension 'band': leave band=1 away"):
        open_raster(Raster(array(), band=1))
    with pytest.raises(ValuesError, match="has no band 3, its are 1"):
        open_raster(Raster(array().expand_dims(band=[1]), band=3))


def test_names_of_rasters_must_differ() -> None:
    both = dataset().assign(b=lambda given: given["tcd"])
    with pytest.raises(ValuesError, match=r"two rasters have the name 'a_b' \(.*give a mapping"):
        open_rasters({"a": both, "a_b": array()})


def test_a_raster_without_a_usable_grid_is_named(tmp_path: Path) -> None:
    with pytest.raises(GridError, match=r"^DataArray 'tcd': the raster has no CRS"):
        open_raster(array().drop_vars("spatial_ref"))
    path = write_tif(tmp_path / "a.tif", pixels(), crs=None)
    with pytest.raises(GridError, match=r"a\.tif has no CRS: give it, Raster"):
        open_raster(path)
    turned = Affine(0.2, 0.1, 10, 0.1, -0.2, 50)
    with pytest.raises(GridError, match=r"turned\.tif: the transform is rotated"):
        open_raster(write_tif(tmp_path / "turned.tif", pixels(), transform=turned))
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        bare = write_tif(tmp_path / "bare.tif", pixels(), crs=None, transform=None)
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        pytest.raises(GridError, match="is not georeferenced"),
    ):
        open_raster(bare)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("/vsicurl/http://x/a.tif", "virtual paths are not followed"),
        ("zip::s3://bucket/a.tif", "chained URLs"),
        ("ftp://x/a.tif", "cannot open a ftp://"),
        ("s3+zip://x/a.tif", "cannot open a s3"),
        ("memory://x/a.tif", "raster files are not read from memory://"),
        ("missing.tif", "no such file: check the path"),
        ("GTIFF_DIR:1:a.tif", "no such file"),
        ("missing.zarr", "no such file"),
        ("memory://x/missing.zarr", "has no Zarr metadata"),
        (".", "is a folder without Zarr metadata"),
    ],
)
def test_paths_that_lead_elsewhere_or_nowhere_are_refused(source: str, said: str) -> None:
    with pytest.raises(ValuesError, match=said):
        open_raster(source)


def test_credentials_in_a_url_are_refused_and_not_shown() -> None:
    with pytest.raises(ValuesError, match="holds credentials") as caught:
        open_raster("s3://key:secret@bucket/a.tif?signature=abc")
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_something_else_is_no_source() -> None:
    with pytest.raises(ValuesError, match="cannot read values from a int"):
        open_raster(3)  # type: ignore[arg-type]


def test_without_rasterio_the_pip_line_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tif(tmp_path / "a.tif", pixels())
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("rasterio"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ImportError, match="needs rasterio, which is not there: pip install rasterio"
    ):
        open_raster(path)
    with pytest.raises(ImportError, match=r"resampling .* needs rasterio, .* pip install rasterio"):
        resampled(open_raster(array()), GRID, "nearest")
