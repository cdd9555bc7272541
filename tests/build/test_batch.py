"""What one task does: receipts are true wherever a build is killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import geopandas
import pytest
import shapely

import zoneraster as zr
from tests.conftest import FakeS3
from tests.samples import KilledError, kill_at, tree
from zoneraster._store import ledger
from zoneraster.blobs import Location

# Batches of 2 x 2 chunks.
GRID = zr.Grid.from_bounds((0, 0, 32, 32), 1)
OPTIONS = {"grid": GRID, "key": "k", "chunks": 2, "check": False}


def halves(border: float, height: float) -> geopandas.GeoDataFrame:
    """A western and an eastern zone in the south-western corner."""
    shapes = [shapely.box(0, 0, border, height), shapely.box(border, 0, 8, height)]
    return geopandas.GeoDataFrame({"k": [1, 2]}, geometry=shapes, crs=4326)


# A border that moves within chunks and to others; chunks that are emptied, and some that are gone.
BEFORE, AFTER = halves(3, 8), halves(5, 4.4)


def untrue_receipts(place: object) -> list[str]:
    """Receipts that say what is not stored."""
    blobs = Location.of(place).blobs()
    return [
        f"{key}: {chunk.row}/{chunk.col}"
        for key, _ in blobs.list(ledger.LEDGER)
        for chunk in ledger.chunk_receipts(ledger.decode_receipt(key, blobs.get(key)))
        if not ledger.stored_as_promised(blobs, "zone", chunk)
    ]


@pytest.mark.slow
def test_receipts_are_true_wherever_an_update_is_killed_and_the_way_back_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zr.build(BEFORE, tmp_path / "before", **OPTIONS)
    shutil.copytree(tmp_path / "before", tmp_path / "planned")
    plan = {name: value for name, value in OPTIONS.items() if name != "check"}
    zr.plan(AFTER, tmp_path / "planned", **plan)
    expected, store = tree(tmp_path / "before"), tmp_path / "store"
    for n in range(100):
        shutil.copytree(tmp_path / "planned", store)
        with monkeypatch.context() as patch:
            kill_at(patch, n)
            try:
                zr.run(store, executor="serial", check=False)
                zr.finish(store)
            except KilledError:
                is_killed = True
            else:
                is_killed = False
        assert not untrue_receipts(store), n
        zr.build(BEFORE, store, executor="serial", **OPTIONS)
        assert tree(store) == expected, n
        shutil.rmtree(store)
        if not is_killed:
            break
    assert 20 < n < 99


def back_and_forth(url: str, options: dict[str, str] | None = None) -> None:
    """Stop an update half way and build the old zones again."""
    how = {"storage_options": options}
    plan = {name: value for name, value in OPTIONS.items() if name != "check"}
    zr.build(BEFORE, url, **OPTIONS, **how)
    pixels = zr.open(url, **how)["zone"].to_numpy()
    zr.plan(AFTER, url, **plan, **how)
    zr.run(url, part=(1, 2), **how)
    assert not untrue_receipts(Location.of(url, options))
    report = zr.build(BEFORE, url, **OPTIONS, **how)
    assert report.burned > 0
    assert (zr.open(url, **how)["zone"].to_numpy() == pixels).all()
    assert zr.verify(url, **how).ok


@pytest.mark.slow
def test_back_to_the_old_zones_after_half_an_update_on_an_object_store(tmp_path: Path) -> None:
    back_and_forth(f"memory://{tmp_path.name}/zones.zarr")


@pytest.mark.s3
@pytest.mark.slow
def test_back_to_the_old_zones_after_half_an_update_on_s3(s3: FakeS3) -> None:
    s3.files.mkdir("zones")
    back_and_forth("s3://zones/zones.zarr", s3.options)
