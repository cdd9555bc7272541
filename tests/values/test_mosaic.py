"""Tiles as one raster: where they lie, what they hold, what of them is read, what is refused."""

from __future__ import annotations

import itertools
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine

from tests.values.samples import (
    HEIGHT,
    WHOLE,
    WIDTH,
    array,
    check_reading,
    dataset,
    every,
    pixels,
    write_tif,
)
from zoneraster._grid.windows import Window
from zoneraster._values.mosaic import MosaicPixels
from zoneraster._values.open import open_raster, open_rasters, place_of, source_key
from zoneraster._values.raster import Raster
from zoneraster.errors import ValuesError, ZonerasterWarning

ROWS, COLS = 16, 25  # neither divides the raster


def corner(row: float, col: float) -> Affine:
    return Affine(0.25, 0, 10 + col * 0.25, 0, -0.25, 50 - row * 0.25)


def write_tiles(
    folder: Path,
    values: npt.NDArray[Any],
    *,
    rows: int = ROWS,
    cols: int = COLS,
    without: tuple[str, ...] = (),
    **profile: Any,
) -> list[Path]:
    """Tiles of an array (lanes..., rows, cols) as files named by their numbers."""
    folder.mkdir(exist_ok=True)
    found = []
    for row, col in itertools.product(range(0, HEIGHT, rows), range(0, WIDTH, cols)):
        path = folder / f"{row // rows}{col // cols}.tif"
        if path.stem not in without:
            part = values[..., row : row + rows, col : col + cols]
            write_tif(path, part, transform=corner(row, col), **profile)
            found.append(path)
    return found


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float32"])
@pytest.mark.parametrize("lanes", [(), (3,)])
def test_list_folder_and_pattern_read_what_one_file_has(
    tmp_path: Path, dtype: str, lanes: tuple[int, ...]
) -> None:
    values = pixels(*lanes, dtype=dtype)
    paths = write_tiles(tmp_path / "loss", values)
    one = open_raster(write_tif(tmp_path / "loss.tif", values))
    (tmp_path / "loss" / "notes.txt").write_text("no tile")
    for given in (paths, paths[::-1], tmp_path / "loss", str(tmp_path / "l*s" / "*.tif")):
        opened = open_raster(given)
        assert (opened.name, opened.grid, opened.dtype) == ("loss", one.grid, one.dtype)
        assert (opened.nodata, opened.dims, opened.units) == (one.nodata, one.dims, one.units)
        assert opened.assumed() == {**one.assumed(), "tiles": 9}
        check_reading(opened, every(one))


def test_what_is_declared_is_decoded_once(tmp_path: Path) -> None:
    values = pixels()
    said = {"nodata": 7}

    def scaled(path: Path | str) -> None:
        with rasterio.open(path, "r+") as file:
            file.scales, file.offsets = (0.1,), (2.0,)

    paths = write_tiles(tmp_path / "t", values, **said)
    one = write_tif(tmp_path / "one.tif", values, **said)
    for path in (*paths, one):
        scaled(path)
    opened = open_raster(paths)
    assert opened.assumed() == {**open_raster(one).assumed(), "tiles": 9}
    check_reading(opened, np.where(values == 7, np.nan, (values + 20) / 10))
    assert open_raster(Raster(paths, nodata=[7, 8])).assumed()["nodata"] == [7, 8]
    assert open_raster(Raster(paths, raw=True)).dtype == np.int16


def test_a_hole_is_no_value_and_told(tmp_path: Path) -> None:
    values = pixels(dtype="uint8")
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[ROWS : 2 * ROWS, COLS : 2 * COLS] = True
    opened = open_raster(write_tiles(tmp_path / "a", values, without=("11",)))
    # No number of uint8 is free.
    assert opened.dtype == np.int16
    assert opened.nodata == np.iinfo("int16").min
    check_reading(opened, np.where(hole, np.int16(np.iinfo("int16").min), values))
    declared = open_raster(write_tiles(tmp_path / "b", values, without=("11",), nodata=255))
    assert (declared.dtype, declared.nodata) == (np.uint8, 255)
    check_reading(declared, np.where(hole, np.uint8(255), values))
    floats = open_raster(write_tiles(tmp_path / "c", values.astype("f4"), without=("11",)))
    check_reading(floats, np.where(hole, np.float32(np.nan), values))
    for one, window in itertools.product((opened, floats), (WHOLE, Window(3, 30, 20, 40))):
        told = np.zeros((HEIGHT, WIDTH), int)
        for n_lanes, part in one.not_stored((), window, every(one, window)):
            told[part.slices] += n_lanes
        assert np.array_equal(told[window.slices], hole[window.slices].astype(int))


def test_where_tiles_lie_over_each_other_the_last_value_counts(tmp_path: Path) -> None:
    values = pixels()
    below, above = values[:, :40], values[:, 20:].copy()
    above[:5] = -1
    paths = [
        write_tif(tmp_path / "0.tif", below, nodata=-1),
        write_tif(tmp_path / "1.tif", above + np.int16(0), transform=corner(0, 20), nodata=-1),
    ]
    with rasterio.open(paths[1], "r+") as file:
        block = file.read(1)
        block[block >= 0] += 100
        file.write(block, 1)
    expected = values.copy()
    expected[5:, 20:] += 100
    expected[:5, 40:] = -1
    with pytest.warns(ZonerasterWarning, match="800 pixels lie in several tiles"):
        opened = open_raster(paths)
    check_reading(opened, expected)
    assert opened.assumed()["overlap"] == 800
    with pytest.warns(ZonerasterWarning):
        turned = every(open_raster(paths[::-1]))
    assert np.array_equal(turned[:, 20:40], values[:, 20:40])


def test_tiles_from_south_to_north_and_arrays_fit_too(tmp_path: Path) -> None:
    values = pixels()
    south_up = Affine(0.25, 0, 10, 0, 0.25, 50 - 0.25 * 20)
    paths = [
        write_tif(tmp_path / "0.tif", values[:20][::-1], transform=south_up),
        write_tif(tmp_path / "1.tif", values[20:], transform=corner(20, 0)),
    ]
    check_reading(open_raster(paths), values)
    given = array(values)
    parts = [given[:20, :30], given[:20, 30:], given[20:]]
    opened = open_raster(parts)
    check_reading(opened, values)
    assert opened.name == "value"
    assert opened.chunks == (20, 30)


def test_only_tiles_that_a_window_meets_are_read_and_shipped(tmp_path: Path) -> None:
    values = pixels()
    paths = write_tiles(tmp_path / "t", values)
    opened = open_raster(paths)
    met = Window(0, 10, 0, 30)
    shipped = opened.narrowed(met)
    assert isinstance(shipped.pixels, MosaicPixels)
    assert [Path(tile.raster.label).stem for tile in shipped.pixels.tiles] == ["00", "01"]
    assert len(pickle.dumps(shipped)) < len(pickle.dumps(opened)) / 2
    for path in paths[2:]:
        path.unlink()
    assert np.array_equal(every(opened, met), values[met.slices])
    with pytest.raises(ValuesError, match=r"02\.tif: cannot read"):
        every(opened)


def test_a_tile_that_changes_changes_the_identity_of_its_own_windows(tmp_path: Path) -> None:
    paths = write_tiles(tmp_path / "t", pixels())
    near, far = Window(0, 10, 0, 10), Window(20, 40, 40, 60)
    before = open_raster(paths)
    known = [before.quick_identity(window) for window in (near, far)]
    write_tif(paths[0], pixels(seed=9)[:ROWS, :COLS], transform=corner(0, 0))
    os.utime(paths[0], ns=(1, 1))
    after = open_raster(paths)
    assert after.quick_identity(near) != known[0]
    assert after.quick_identity(far) == known[1] is not None
    assert place_of(after) == place_of(before)
    assert place_of(open_raster([array(pixels())[:20], array(pixels())[20:]])) is None


def test_one_raster_is_one_however_it_is_named(tmp_path: Path) -> None:
    paths = write_tiles(tmp_path / "t", pixels())
    given = [Raster(source) for source in (paths, tmp_path / "t", str(tmp_path / "t" / "*.tif"))]
    keys = {source_key(asked, open_raster(asked)) for asked in given}
    assert len(keys) == 1
    assert source_key(Raster(paths[1:]), open_raster(paths[1:])) not in keys


def test_blocks_that_do_not_fit_into_tiles_give_whole_tiles(tmp_path: Path) -> None:
    fitting = write_tiles(tmp_path / "a", pixels(), rows=16, cols=32)
    assert open_raster(fitting).chunks == (16, 32)
    assert open_raster(write_tiles(tmp_path / "b", pixels())).chunks == (16, 25)


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"dtype": "int32"}, "has dtype 'int32' where .*00.tif has 'int16'"),
        ({"nodata": 3}, r"has nodata \(3.0,\) where .*nodata=\.\.\."),
        ({"crs": "EPSG:3857"}, "is in WGS 84 / Pseudo-Mercator, and .* lie on one lattice"),
        ({"transform": corner(0, 30.5)}, "from the corner 17.625, 50"),
        ({"transform": Affine(0.5, 0, 17.5, 0, -0.5, 50)}, "has pixels of 0.5 x 0.5 from"),
        ({"transform": corner(0, 0)}, "cover the same pixels, so they are no tiles"),
    ],
)
def test_tiles_that_are_not_alike_are_refused_by_name(
    tmp_path: Path, profile: dict[str, Any], said: str
) -> None:
    values = pixels()
    paths = [write_tif(tmp_path / "00.tif", values[:, :30])]
    other = values[:, 30:].astype(profile.get("dtype", "int16"))
    paths.append(write_tif(tmp_path / "01.tif", other, **{"transform": corner(0, 30), **profile}))
    with pytest.raises(ValuesError, match=said) as caught:
        open_raster(paths)
    assert "01.tif" in str(caught.value)


def test_what_are_no_tiles_is_refused_with_the_cure(tmp_path: Path) -> None:
    paths = write_tiles(tmp_path / "t", pixels())
    with pytest.raises(ValuesError, match="nothing matches this pattern"):
        open_raster(str(tmp_path / "t" / "*.jp2"))
    with pytest.raises(ValuesError, match="without raster files"):
        open_raster(tmp_path)
    with pytest.raises(ValuesError, match="say of all tiles together"):
        open_raster([Raster(paths[0], band=1), paths[1]])
    with pytest.raises(ValuesError, match="a list without tiles"):
        open_raster([])
    with pytest.raises(ValuesError, match=r"missing\.tif: no such file"):
        open_raster([*paths, tmp_path / "missing.tif"])
    with pytest.raises(ValuesError, match="virtual paths are not followed"):
        open_raster([paths[0], "/vsicurl/http://x/a.tif"])
    with pytest.raises(ValuesError, match="lists no files"):
        open_raster("http://127.0.0.1:9/tiles/*.tif")
    (tmp_path / "t" / "preview.png").write_bytes(b"")
    with pytest.raises(ValuesError, match=r"several kinds \(9 \.tif, 1 \.png\).*\*\.tif"):
        open_raster(tmp_path / "t")


def test_a_name_with_brackets_that_is_there_is_no_pattern(tmp_path: Path) -> None:
    values = pixels()
    path = write_tif(tmp_path / "a[1].tif", values)
    assert np.array_equal(every(open_raster(path)), values)


def test_datasets_in_tiles_give_a_raster_for_each_variable() -> None:
    whole = array().to_dataset(name="tcd").isel(time=0, drop=True)
    whole["gain"] = whole["tcd"] + 1
    whole["gain"].encoding = whole["tcd"].encoding
    found = open_rasters([whole.isel(y=slice(0, 15)), whole.isel(y=slice(15, None))])
    assert [one.name for one in found] == ["tcd", "gain"]
    for one in found:
        assert np.array_equal(every(one), whole[one.name].values)


def test_patterns_and_folders_of_object_stores_name_zarrs_too() -> None:
    values = pixels()
    given = dataset(values)
    for name, rows in (("a", slice(0, 16)), ("b", slice(16, 40))):
        given.isel(y=rows).to_zarr(
            f"memory://tiles/{name}.zarr", zarr_format=3, consolidated=False, mode="w"
        )
    for pattern in ("memory://tiles/*.zarr", "memory://tiles/**/[ab].zarr"):
        opened = open_raster(pattern)
        assert opened.name == "tiles"
        check_reading(opened, values)
    with pytest.raises(ValuesError, match="nothing matches this pattern"):
        open_raster("memory://tiles/*.tif")
