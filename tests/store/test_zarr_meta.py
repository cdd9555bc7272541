"""Metadata of the array: what it names, and what counts as the same."""

from __future__ import annotations

import json

import numcodecs
import numpy as np
import pytest
from pyproj import CRS

from zoneraster._grid import Chunking, Grid
from zoneraster._store.zarr_meta import says_the_same, zarr_objects

GRID = Grid.from_bounds((0, 0, 10, 10), "1/50", "EPSG:4326")


def objects(grid: Grid = GRID) -> dict[str, bytes]:
    return zarr_objects(grid, Chunking.of(grid, 100), np.dtype("uint8"), crc32c=False)


def test_the_code_of_a_reference_system_is_written_where_it_is_exactly_that() -> None:
    utm = CRS("EPSG:25832")
    other = CRS(utm.to_wkt().replace("European Terrestrial Reference System 1989 ensemble", "Mine"))
    for crs, code in ((utm, "EPSG:25832"), (other, None)):
        grid = Grid.from_bounds((0, 0, 10, 10), 1, crs)
        said = json.loads(objects(grid)["zone/zarr.json"])["attributes"]
        assert said.get("proj:code") == code


def test_the_root_comes_last() -> None:
    assert list(objects())[-1] == "zarr.json"


def test_other_text_and_other_compression_say_the_same_and_other_content_does_not() -> None:
    planned = objects()
    text = planned["zone/zarr.json"]
    said = json.loads(text)
    assert says_the_same(json.dumps(dict(reversed(said.items()))).encode(), text)
    assert not says_the_same(json.dumps({**said, "shape": [1, 1]}).encode(), text)
    centres = planned["x/c/0"]
    values = numcodecs.Blosc().decode(centres)
    assert says_the_same(numcodecs.Blosc("lz4", shuffle=0).encode(values), centres)
    moved = np.frombuffer(values, np.float64) + 1
    assert not says_the_same(numcodecs.Blosc().encode(moved), centres)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["zone/zarr.json", "x/c/0"])
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff" * 40, b"[" * 100_000, bytes(16)])
def test_what_is_no_such_object_says_nothing_of_the_kind(key: str, data: bytes) -> None:
    assert not says_the_same(data, objects()[key])
    assert not says_the_same(objects()[key][:-3], objects()[key])


def test_the_array_says_what_is_no_zone_and_one_of_an_earlier_version_is_as_good() -> None:
    planned = objects()
    for key, at in (("zone/zarr.json", ()), ("zarr.json", ("consolidated_metadata", "metadata"))):
        said = json.loads(planned[key])
        zone = said
        for name in at:
            zone = zone[name]
        zone = zone["zone"] if at else zone
        assert zone["attributes"].pop("nodata") == 0
        assert says_the_same(json.dumps(said).encode(), planned[key])
        zone["attributes"]["nodata"] = 255
        assert not says_the_same(json.dumps(said).encode(), planned[key])
        del zone["attributes"]["nodata"], zone["attributes"]["long_name"]
        assert not says_the_same(json.dumps(said).encode(), planned[key])


def test_the_group_says_where_the_array_lies_and_one_of_an_earlier_version_is_as_good() -> None:
    planned = objects()
    said = json.loads(planned["zarr.json"])
    attributes = said["attributes"]
    array = json.loads(planned["zone/zarr.json"])["attributes"]
    for name in ("proj:code", "proj:wkt2", "spatial:bbox", "spatial:shape", "spatial:transform"):
        assert attributes[name] == array[name]
    found = {(one["name"], one["uuid"][:8]) for one in attributes["zarr_conventions"]}
    # Some readers go by the name, and not all by the same one.
    ids = {"proj": "f17cb550", "spatial": "689b58e2"}
    assert found == {(name + colon, uuid) for name, uuid in ids.items() for colon in ("", ":")}
    earlier = {"Conventions": "CF-1.11", "title": "zone raster"}
    assert says_the_same(json.dumps({**said, "attributes": earlier}).encode(), planned["zarr.json"])
    for wrong in ({}, {**earlier, "title": "mine"}, {**attributes, "spatial:shape": [1, 1]}):
        text = json.dumps({**said, "attributes": wrong}).encode()
        assert not says_the_same(text, planned["zarr.json"])
    # Of the array they are not missing from any version.
    del array["spatial:shape"]
    text = json.dumps({**json.loads(planned["zone/zarr.json"]), "attributes": array}).encode()
    assert not says_the_same(text, planned["zone/zarr.json"])


def test_the_group_names_no_code_that_is_not_of_the_form_of_one() -> None:
    named = {"OGC:CRS84": None, "EPSG:3857": "EPSG:3857"}
    for crs, code in named.items():
        grid = Grid.from_bounds((0, 0, 10, 10), 1, crs)
        said = json.loads(objects(grid)["zarr.json"])["attributes"]
        assert said.get("proj:code") == code
        assert CRS(said["proj:wkt2"]) == CRS(crs)
