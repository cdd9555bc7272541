"""VRT mosaics against rasterio's reading of them, and VRTs that lead elsewhere or compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window as RasterioWindow

from tests.values.samples import GRID, HEIGHT, WIDTH, check_reading, pixels, write_tif
from tests.values.test_mosaic import corner, write_tiles
from zoneraster._values.open import open_raster
from zoneraster._values.raster import Raster
from zoneraster.errors import GridError, ValuesError, ZonerasterWarning

FIRST = ("00.tif", (0, 0, 25, 16), (0, 0, 25, 16))


def source(
    name: str = "t/00.tif",
    shown: tuple[float, ...] | None = (0, 0, 25, 16),
    placed: tuple[float, ...] | None = (0, 0, 25, 16),
    *,
    kind: str = "SimpleSource",
    more: str = "",
    relative: int = 1,
    band: object = 1,
) -> str:
    def rect(tag: str, at: tuple[float, ...] | None) -> str:
        if at is None:
            return ""
        return f'<{tag} xOff="{at[0]}" yOff="{at[1]}" xSize="{at[2]}" ySize="{at[3]}"/>'

    return (
        f'<{kind}><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>{rect('SrcRect', shown)}{rect('DstRect', placed)}"
        f"{more}</{kind}>"
    )


def write_vrt(
    path: Path, *sources: str, dtype: str = "Int16", band: str = "", dataset: str = "",
    subclass: str = "", n_bands: int = 1, head: str = "",
) -> Path:  # fmt: skip
    bands = "".join(
        f'<VRTRasterBand dataType="{dtype}" band="{i + 1}"{subclass}>{band}'
        + "".join(one.replace("<SourceBand>1<", f"<SourceBand>{i + 1}<") for one in sources)
        + "</VRTRasterBand>"
        for i in range(n_bands)
    )
    a, b, c, d, e, f = tuple(GRID.transform)[:6]
    path.write_text(
        f'{head}<VRTDataset rasterXSize="{WIDTH}" rasterYSize="{HEIGHT}"><SRS>EPSG:4326</SRS>'
        f"<GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>{dataset}{bands}</VRTDataset>"
    )
    return path


def all_sources(paths: list[Path], **how: str) -> list[str]:
    found = []
    for path in paths:
        row, col = 16 * int(path.stem[0]), 25 * int(path.stem[1])
        size = (min(25, WIDTH - col), min(16, HEIGHT - row))
        found.append(source(f"t/{path.name}", (0, 0, *size), (col, row, *size), **how))
    return found


@pytest.mark.parametrize("n_bands", [1, 3])
def test_a_mosaic_reads_as_rasterio_reads_it(tmp_path: Path, n_bands: int) -> None:
    values = pixels(n_bands)
    paths = write_tiles(tmp_path / "t", values, nodata=7)
    path = write_vrt(
        tmp_path / "m.vrt", *all_sources(paths), band="<NoDataValue>7</NoDataValue>",
        n_bands=n_bands,
    )  # fmt: skip
    with rasterio.open(path) as file:
        expected = file.read()
    assert np.array_equal(expected, values)
    opened = open_raster(path)
    assert (opened.name, opened.grid, opened.nodata) == ("m", GRID, 7)
    check_reading(opened, expected if n_bands > 1 else expected[0])
    last = open_raster(Raster(path, band=n_bands))
    check_reading(last, expected[-1])
    assert last.assumed()["tiles"] == 9


def test_parts_of_tiles_overlaps_and_holes_read_as_rasterio_reads_them(tmp_path: Path) -> None:
    values = pixels()
    (tmp_path / "t").mkdir()
    write_tif(tmp_path / "t" / "a.tif", values[:, :40], nodata=5)
    write_tif(tmp_path / "t" / "b.tif", values[8:, 20:] // 2, transform=corner(8, 20), nodata=5)
    parts = [
        source("t/a.tif", (3, 2, 30, 20), (3, 2, 30, 20)),
        source("t/b.tif", (0, 0, 35, 25), (20, 8, 35, 25), kind="ComplexSource",
               more="<NODATA>5</NODATA>"),
        source("t/a.tif", (35, 0, 5, 30), (35, 0, 5, 30)),
    ]  # fmt: skip
    path = write_vrt(tmp_path / "m.vrt", *parts, band="<NoDataValue>5</NoDataValue>")
    with rasterio.open(path) as file:
        expected = file.read(1)
    with pytest.warns(ZonerasterWarning, match="lie in several tiles"):
        opened = open_raster(path)
    check_reading(opened, expected)


def test_a_vrt_may_have_any_name_and_ends_that_stick_out(tmp_path: Path) -> None:
    values = pixels()
    write_tiles(tmp_path / "t", values)
    whole = write_tif(tmp_path / "t" / "w.tif", np.pad(values, 4), transform=corner(-4, -4))
    path = write_vrt(
        tmp_path / "m.tif", source(whole, (0, 0, 68, 48), (-4, -4, 68, 48), relative=0)
    )
    with rasterio.open(path, driver="VRT") as file:
        assert np.array_equal(file.read(1, window=RasterioWindow(0, 0, WIDTH, HEIGHT)), values)
    check_reading(open_raster(path), values)


@pytest.mark.parametrize(
    ("name", "relative"),
    [
        ("../other/secret.tif", 1),
        ("/etc/passwd", 0),
        ("/vsicurl/http://127.0.0.1:9/a.tif", 0),
        ("http://127.0.0.1:9/a.tif", 0),
        ("GTIFF_DIR:1:t/00.tif", 1),
        ("linked.tif", 1),
        ("&lt;VRTDataset/&gt;", 0),
        ("", 1),
    ],
)
def test_sources_elsewhere_are_refused(tmp_path: Path, name: str, relative: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write_tiles(home / "t", pixels())
    write_tiles(tmp_path / "other", pixels())
    (tmp_path / "other" / "00.tif").rename(tmp_path / "other" / "secret.tif")
    (home / "linked.tif").symlink_to(tmp_path / "other" / "secret.tif")
    path = write_vrt(home / "m.vrt", source(name, relative=relative))
    with pytest.raises(ValuesError, match=r"is no file beside it.*give the tiles themselves"):
        open_raster(path)


def test_a_vrt_inside_of_a_vrt_is_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path / "t", pixels())
    write_vrt(tmp_path / "inner.tif", source())
    path = write_vrt(tmp_path / "m.vrt", source("inner.tif", None, None))
    with pytest.raises(ValuesError, match=r"inner\.tif is a VRT inside of another"):
        open_raster(path)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"subclass": ' subClass="VRTDerivedRasterBand"'}, "computes its pixels"),
        ({"subclass": ' subClass="VRTRawRasterBand"'}, "computes its pixels"),
        ({"band": "<PixelFunctionCode>x</PixelFunctionCode>"}, "<PixelFunctionCode>"),
        ({"band": "<KernelFilteredSource/>"}, "<KernelFilteredSource>"),
        ({"dataset": "<GDALWarpOptions/>"}, "<GDALWarpOptions>"),
        ({"dataset": "<MaskBand/>"}, "<MaskBand>"),
        ({"head": '<!DOCTYPE a [<!ENTITY b "c">]>'}, "declares entities"),
        ({"dtype": "Float32"}, "has pixels of Float32, and its source .* of int16"),
        ({"band": "<NoDataValue>3</NoDataValue>"}, None),
        ({"band": "<Scale>0.5</Scale>"}, "other scales and offsets"),
    ],
)
def test_what_is_more_than_pixels_side_by_side_is_refused(
    tmp_path: Path, how: dict[str, str], said: str | None
) -> None:
    write_tiles(tmp_path / "t", pixels())
    path = write_vrt(tmp_path / "m.vrt", source(), **how)  # type: ignore[arg-type]
    if said is None:  # what the VRT declares holds of sources that declare nothing
        assert open_raster(path).nodata == 3
        return
    with pytest.raises(ValuesError, match=said):
        open_raster(path)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (source(placed=(0, 0, 50, 32)), "that resamples"),
        (source(placed=(0.5, 0, 25, 16)), "between the pixels"),
        (source(placed=(1, 0, 25, 16)), "puts .*00.tif at row 0, column 1, and its own place"),
        (source(kind="ComplexSource", more="<ScaleRatio>2</ScaleRatio>"), "<ScaleRatio>"),
        (source(kind="ComplexSource", more="<LUT>0:1</LUT>"), "<LUT>"),
        (source(more="<OpenOptions/>"), "<OpenOptions>"),
        (source(band="mask,1"), "no band by number"),
        (source(band=2), "has no band 2"),
        (source("t/missing.tif"), r"missing\.tif: no such file"),
        (source(shown=None), "that resamples"),
        ("", "without a source"),
    ],
)
def test_sources_that_are_moved_or_changed_are_refused(
    tmp_path: Path, made: str, said: str
) -> None:
    write_tiles(tmp_path / "t", pixels())
    with pytest.raises(ValuesError, match=said):
        open_raster(write_vrt(tmp_path / "m.vrt", made))


def test_what_it_and_its_sources_say_must_agree(tmp_path: Path) -> None:
    paths = write_tiles(tmp_path / "t", pixels(), nodata=7)
    path = write_vrt(tmp_path / "m.vrt", *all_sources(paths))
    with pytest.raises(ValuesError, match=r"declares nodata=None, and its source .* 7\.0: say"):
        open_raster(path)
    assert open_raster(Raster(path, nodata=7)).nodata == 7
    assert open_raster(Raster(path, nodata=float("nan"))).nodata is None
    path.write_text("<VRTDataset")
    with pytest.raises(ValuesError, match="cannot be read as a VRT"):
        open_raster(path)
    text = write_vrt(path, *all_sources(paths)).read_text()
    path.write_text(text.replace("EPSG:4326", ""))
    with pytest.raises(GridError, match="has no CRS"):
        open_raster(path)
    path.write_text(text.replace('rasterXSize="60"', ""))
    with pytest.raises(ValuesError, match="rasterXSize"):
        open_raster(path)
