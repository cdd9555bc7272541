"""The spec: what its hash covers, and which changes are refused."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from zoneraster._grid import Grid
from zoneraster._store.spec import MAX_BYTES, Spec, check_same, load_spec
from zoneraster.blobs import Location
from zoneraster.errors import CorruptStoreError, GridError, StoreError, StoreMismatchError

GRID = Grid.from_bounds((0, 0, 10, 10), "1/50", "EPSG:4326")
SPEC = Spec(GRID, (60, 60), 4, "uint8")
# Another value of each field; the first group decides the bytes of a chunk beside its records.
HASHED: dict[str, Any] = {
    "grid": Grid.from_bounds((0, 0, 10, 10), "1/40", "EPSG:4326"),
    "chunks": (64, 60),
    "dtype": "uint16",
    "all_touched": True,
    "integrity": "crc32c",
    "rule": 1,
    "product": "count",
}
REFUSED: dict[str, Any] = {"min_pixels": 1, "key": "fid"}
FREE: dict[str, Any] = {
    "batch": 8, "plan": "1f", "inputs": "2e", "overlap": "first", "priority": "rank",
    "n_layers": 3,
}  # fmt: skip
# By another rule chunks are burned again.
NOT_REFUSED = {*FREE, "rule", "all_touched"}


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
    if name in NOT_REFUSED:
        check_same(SPEC, other, where="zones.zarr")
        return
    with pytest.raises(StoreMismatchError, match=rf"zones\.zarr was built.*(?s:.*)\n  {name} "):
        check_same(SPEC, other, where="zones.zarr")


@pytest.mark.parametrize(
    ("old", "new", "is_refused"),
    [
        ("last", "error", True), ("error", "last", False), ("last", "sets", True),
        ("sets", "last", True), ("error", "error", False), ("sets", "sets", False),
        ("last", "layers", False), ("layers", "first", False), ("layers", "error", True),
        ("layers", "sets", True), ("sets", "layers", True), ("layers", "layers", False),
    ],
)  # fmt: skip
def test_what_is_told_of_all_pixels_or_of_none_does_not_change(
    old: str, new: str, is_refused: bool
) -> None:
    specs = replace(SPEC, overlap=old), replace(SPEC, overlap=new)
    # Sets, layers and zones have other bytes for the same records.
    kinds = [name if name in {"sets", "layers"} else "" for name in (old, new)]
    assert (specs[0].hash() == specs[1].hash()) == (kinds[0] == kinds[1])
    with ExitStack() as stack:
        if is_refused:
            stack.enter_context(pytest.raises(StoreMismatchError, match=rf"overlap +{old} +{new}"))
        check_same(*specs, where="zones.zarr")


@pytest.mark.parametrize("shape", [(1, 2**28), (2**31, 1), (268_435_454, 2)])
def test_a_grid_whose_coordinates_cannot_be_written_is_too_long(shape: tuple[int, int]) -> None:
    grid = Grid("EPSG:6933", (1, 0, 0, 0, -1, 0), shape)
    with pytest.raises(GridError, match=r"too long for a store: .* at most 268,435,453 coordin"):
        replace(SPEC, grid=grid)
    assert replace(SPEC, grid=Grid("EPSG:6933", (1, 0, 0, 0, -1, 0), (1, 268_435_453)))


# ---- what others wrote ---------------------------------------------------------------------------

WRONG: list[dict[str, Any]] = [
    {"chunks": ["a", 1]}, {"chunks": [5]}, {"chunks": [0, 0]}, {"chunks": [5, 5, 5]},
    {"chunks": 5}, {"chunks": None}, {"chunks": [2**40, 2**40]}, {"chunks": [1.5, 2]},
    {"batch": "x"}, {"batch": 0}, {"batch": 2**70}, {"batch": True}, {"batch": None},
    {"dtype": "quux"}, {"dtype": "float64"}, {"dtype": ["uint8"]}, {"dtype": {}},
    {"overlap": "average"}, {"overlap": []}, {"priority": 5}, {"all_touched": "no"},
    {"all_touched": 1}, {"min_pixels": 2}, {"min_pixels": 10**400}, {"min_pixels": True},
    {"integrity": None}, {"key": 5}, {"key": None}, {"plan": 7}, {"inputs": {}},
    {"rule": 0}, {"rule": 3}, {"rule": "2"}, {"rule": True}, {"rule": None},
    {"grid": None}, {"grid": []}, {"grid": {"crs": {"wkt": "x"}}}, {"extra": 1},
    {"format_version": 2}, {"format_version": "1"}, {"format_version": None},
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_a_spec_of_another_type_or_value_is_refused_by_name(change: dict[str, Any]) -> None:
    said = {**json.loads(SPEC.to_json()), **change}
    with pytest.raises(
        StoreError, match=r"^a/spec\.json (cannot be read|has format version|has extra)"
    ):
        Spec.from_json(json.dumps(said).encode(), where="a/spec.json")


def test_a_spec_without_a_rule_is_of_rule_1_and_one_of_a_newer_rule_says_update() -> None:
    said = json.loads(SPEC.to_json())
    assert said.pop("rule") == 2
    assert Spec.from_json(json.dumps(said).encode(), where="spec.json") == replace(SPEC, rule=1)
    said["rule"] = 3
    with pytest.raises(StoreError, match=r"burn rule 3 is not known, .* rules 1 to 2: update"):
        Spec.from_json(json.dumps(said).encode(), where="spec.json")


@pytest.mark.parametrize("name", json.loads(SPEC.to_json()))
@pytest.mark.parametrize("value", [None, [], {}, "", -1, 1e300, [[1, 2]], "\ud800", 10**30])
def test_no_value_of_a_member_gets_past_as_another_error(name: str, value: Any) -> None:
    said = {**json.loads(SPEC.to_json()), name: value}
    try:
        assert isinstance(Spec.from_json(json.dumps(said).encode(), where="spec.json"), Spec)
    except StoreError as err:
        assert str(err).startswith("spec.json ")  # noqa: PT017 - some values are right
    del said[name]
    if name in {"format_version", "grid", "chunks", "batch", "dtype"}:
        with pytest.raises(StoreError, match=r"^spec\.json cannot be read"):
            Spec.from_json(json.dumps(said).encode(), where="spec.json")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", CorruptStoreError), (SPEC.to_json()[:-9], CorruptStoreError),
        (b"\xff", CorruptStoreError),
        (b"[" * 100_000, CorruptStoreError), (b"9" * 10_000, CorruptStoreError),
        (b"[]", StoreError), (b"null", StoreError), (b"1", StoreError), (b"{}", StoreError),
        (b" " * (MAX_BYTES + 1), StoreError),
    ],
    ids=lambda one: str(one)[:12],
)  # fmt: skip
def test_what_is_no_spec_at_all_is_refused_with_the_cure(
    data: bytes, error: type[StoreError]
) -> None:
    with pytest.raises(error, match=r"^spec\.json .*: delete it and build again with the same"):
        Spec.from_json(data, where="spec.json")


def test_a_place_is_a_store_or_none_or_said_to_have_lost_its_spec(tmp_path: Path) -> None:
    location = Location.of(tmp_path / "zones.zarr")
    assert load_spec(location, location.blobs()) is None
    location.blobs().put(".zoneraster/plan.json", b"{}")
    with pytest.raises(CorruptStoreError, match=r"spec\.json is not there, though the rest of a"):
        load_spec(location, location.blobs())
    location.blobs().put(".zoneraster/spec.json", SPEC.to_json())
    assert load_spec(location, location.blobs()) == SPEC
    (tmp_path / "zones.zarr" / ".zoneraster" / "spec.json").unlink()
    (tmp_path / "zones.zarr" / ".zoneraster" / "spec.json").mkdir()
    with pytest.raises(StoreError, match=r"spec\.json cannot be read \(IsADirectoryError"):
        load_spec(location, location.blobs())
