"""The spec: what its hash covers, and which changes are refused."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from zoneraster._grid import Grid
from zoneraster._store.spec import Spec, check_same
from zoneraster.errors import GridError, StoreMismatchError

GRID = Grid.from_bounds((0, 0, 10, 10), "1/50", "EPSG:4326")
SPEC = Spec(GRID, (60, 60), 4, "uint8")
# Another value of each field; the first group decides the bytes of a chunk beside its records.
HASHED: dict[str, Any] = {
    "grid": Grid.from_bounds((0, 0, 10, 10), "1/40", "EPSG:4326"),
    "chunks": (64, 60),
    "dtype": "uint16",
    "all_touched": True,
    "integrity": "crc32c",
}
REFUSED: dict[str, Any] = {
    "overlap": "first", "priority": "rank", "min_pixels": 1, "key": "fid",
}  # fmt: skip
FREE: dict[str, Any] = {"batch": 8, "plan": "1f", "inputs": "2e"}


def test_every_field_is_spoken_for() -> None:
    assert {*HASHED, *REFUSED, *FREE} == {field.name for field in fields(Spec)}


@pytest.mark.parametrize("name", [*HASHED, *REFUSED, *FREE])
def test_the_hash_covers_what_decides_the_bytes_of_a_chunk(name: str) -> None:
    other = replace(SPEC, **{name: (HASHED | REFUSED | FREE)[name]})
    assert (other.hash() != SPEC.hash()) == (name in HASHED)
    # What workers have to agree on is all of it.
    assert other.digest() != SPEC.digest()


@pytest.mark.parametrize("name", [*HASHED, *REFUSED, *FREE])
def test_another_spec_is_refused_with_a_table(name: str) -> None:
    other = replace(SPEC, **{name: (HASHED | REFUSED | FREE)[name]})
    if name in FREE:
        check_same(SPEC, other, where="zones.zarr")
        return
    with pytest.raises(StoreMismatchError, match=rf"zones\.zarr was built.*(?s:.*)\n  {name} "):
        check_same(SPEC, other, where="zones.zarr")


@pytest.mark.parametrize("shape", [(1, 2**28), (2**31, 1), (268_435_454, 2)])
def test_a_grid_whose_coordinates_cannot_be_written_is_too_long(shape: tuple[int, int]) -> None:
    grid = Grid("EPSG:6933", (1, 0, 0, 0, -1, 0), shape)
    with pytest.raises(GridError, match=r"too long for a store: .* at most 268,435,453 coordin"):
        replace(SPEC, grid=grid)
    assert replace(SPEC, grid=Grid("EPSG:6933", (1, 0, 0, 0, -1, 0), (1, 268_435_453)))
