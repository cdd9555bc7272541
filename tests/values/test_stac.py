"""STAC items as tiles of one raster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.values.samples import check_reading, pixels
from tests.values.test_mosaic import write_tiles
from zoneraster._values.open import open_raster
from zoneraster._values.raster import Raster
from zoneraster.errors import ValuesError


def item(path: Path | str, **more: Any) -> dict[str, Any]:
    return {
        "type": "Feature", "id": Path(path).stem, "stac_version": "1.0.0",
        "assets": {
            "loss": {"href": str(path), "type": "image/tiff; application=geotiff", **more},
            "thumb": {"href": "a.png", "type": "image/png", "roles": ["thumbnail"]},
            "meta": {"href": "a.xml", "type": "application/xml"},
        },
    }  # fmt: skip


class Item:
    """As pystac has it."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.assets, self._said = said["assets"], said

    def to_dict(self) -> dict[str, Any]:
        return self._said


def test_items_are_tiles_of_one_raster(tmp_path: Path) -> None:
    values = pixels()
    paths = write_tiles(tmp_path / "t", values, nodata=4)
    items = [item(path) for path in paths]
    below = [item(f"./t/{path.name}") for path in paths]
    collection = {"type": "FeatureCollection", "features": items}
    (tmp_path / "items.json").write_text(json.dumps({**collection, "features": below}))
    given: list[Any] = [items, [*map(Item, items)], Raster(collection), tmp_path / "items.json"]
    for source in given:
        opened = open_raster(source)
        assert (opened.nodata, opened.assumed()["tiles"]) == (4, 9)
        check_reading(opened, values)
    assert open_raster(Raster(items, variable="loss", nodata=5)).name == "loss"
    own = {**item("t/00.tif"), "links": [{"rel": "self", "href": str(tmp_path / "i.json")}]}
    check_reading_part = open_raster([own])
    assert check_reading_part.grid.shape == (16, 25)


def test_the_asset_has_to_be_told_where_there_are_several(tmp_path: Path) -> None:
    path = write_tiles(tmp_path / "t", pixels())[0]
    both = item(path)
    both["assets"]["gain"] = both["assets"]["loss"]
    with pytest.raises(ValuesError, match=r"has 2 rasters among its assets .*variable='loss'"):
        open_raster([both])
    assert open_raster(Raster([both], variable="gain")).name == "gain"
    with pytest.raises(ValuesError, match="has no asset 'B04': it has loss, thumb, meta"):
        open_raster(Raster([item(path)], variable="B04"))
    with pytest.raises(ValuesError, match="has 0 rasters"):
        open_raster([item(path, roles=["overview"])])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as STAC items"),
        ("[1]", "holds no STAC items"),
        ('{"type": "FeatureCollection", "features": []}', "holds no STAC items: search again"),
        ('{"type": "FeatureCollection", "features": [1]}', "is no STAC item"),
        (json.dumps(item("/etc/passwd")), "leads to '/etc/passwd', which does not lie beside it"),
        (json.dumps(item("../other/a.tif")), "does not lie beside it"),
        (json.dumps(item("/vsicurl/http://x/a.tif")), "no path or URL of a raster"),
        (json.dumps(item("ftp://x/a.tif")), "no path or URL of a raster"),
    ],
)
def test_files_of_items_lead_to_rasters_beside_them(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "items.json").write_text(text)
    with pytest.raises(ValuesError, match=said):
        open_raster(tmp_path / "i" / "items.json")
    with pytest.raises(ValuesError, match="no such file"):
        open_raster(tmp_path / "none.json")
