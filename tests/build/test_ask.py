"""Questions to stores that are not finished, or being planned: how far they are is always said."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import zoneraster as zr
from tests.samples import sample_zones
from zoneraster._store import mending
from zoneraster.blobs import Location
from zoneraster.cli import main
from zoneraster.lock import PLANNING, lock
from zoneraster.maps import sample_zone_ids

pytestmark = pytest.mark.slow
GRID = zr.Grid.from_bounds((0, 0, 10, 10), "1/20")
OPTIONS = {"grid": GRID, "key": "fid", "chunks": 20}


@pytest.fixture(autouse=True)
def _of_zones() -> Iterator[None]:
    """What builds warn of is no matter here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*(contested|without a) pixel")
        yield


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    zr.build_part(sample_zones(), tmp_path / "zones.zarr", (1, 3), **OPTIONS)
    status = zr.status(tmp_path / "zones.zarr")
    assert 0 < status.chunks_done < status.chunks
    return tmp_path / "zones.zarr"


def test_what_reads_an_unfinished_store_says_how_many_chunks_are_done(unfinished: Path) -> None:
    status = zr.status(unfinished)
    said = f"not finished: {status.chunks_done} of {status.chunks} chunks done"
    with pytest.warns(zr.ZonerasterWarning, match=said):
        assert "owned" not in zr.zones(unfinished)
    with pytest.warns(zr.ZonerasterWarning, match=said):
        assert zr.info(unfinished)["report"] is None
    with pytest.warns(zr.ZonerasterWarning, match=said):
        opened = zr.open(unfinished, unfinished=True)
    whole = unfinished.parent / "whole.zarr"
    zr.build(sample_zones(), whole, **OPTIONS)
    expected = zr.open(whole)["zone"].values
    got = opened["zone"].values
    assert np.isin(got, expected).all()
    assert 0 < np.count_nonzero(got) < np.count_nonzero(expected)
    assert (got[got > 0] == expected[got > 0]).all()
    with pytest.raises(zr.IncompleteBuildError, match="unfinished=True"):
        zr.open(unfinished)


def test_a_finished_store_is_read_without_a_word(unfinished: Path) -> None:
    zr.build(sample_zones(), unfinished, **OPTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert zr.open(unfinished, unfinished=True).equals(zr.open(unfinished))
        assert "owned" in zr.zones(unfinished)
        zr.info(unfinished)
        sample_zone_ids(unfinished, width=50)


def test_a_store_that_is_burned_and_not_closed_is_said_to_be_so(tmp_path: Path) -> None:
    zr.plan(sample_zones(), tmp_path / "s.zarr", **OPTIONS)
    zr.run(tmp_path / "s.zarr")
    with pytest.warns(zr.ZonerasterWarning, match="counts not added up"):
        zr.zones(tmp_path / "s.zarr")
    zr.finish(tmp_path / "s.zarr")
    assert zr.status(tmp_path / "s.zarr").warning is None


def test_a_picture_shows_what_is_stored_and_not_the_plan(unfinished: Path) -> None:
    with pytest.warns(zr.ZonerasterWarning, match=r"of 1?\d\d chunks done, the rest is drawn as"):
        ids, _ = sample_zone_ids(unfinished, width=200)
    with pytest.warns(zr.ZonerasterWarning):
        stored = zr.open(unfinished, unfinished=True)["zone"].values
    assert np.array_equal(ids, stored)
    zr.build(sample_zones(), unfinished, **OPTIONS)
    ids, _ = sample_zone_ids(unfinished, width=200)
    assert np.array_equal(ids, zr.open(unfinished)["zone"].values)
    chunk = next((unfinished / "zone" / "c").rglob("*/*"))
    chunk.unlink()
    with pytest.raises(zr.CorruptStoreError, match="is not as its receipt says"):
        sample_zone_ids(unfinished, width=200)


def test_status_says_that_a_store_is_being_planned(tmp_path: Path) -> None:
    store = tmp_path / "zones.zarr"
    seen: list[zr.Status] = []

    def look(phase: str, done: int, total: int) -> None:
        if phase == "read" and not done:
            seen.append(zr.status(store))
            with (
                pytest.raises(zr.StoreBusyError, match="is just being planned")
                if first
                else (
                    pytest.warns(zr.ZonerasterWarning, match="is being planned by another process")
                )
            ):
                zr.info(store)

    first = True
    zr.build(sample_zones(), store, progress=look, **OPTIONS)
    first = False
    zr.plan(sample_zones().iloc[1:], store, progress=look, **OPTIONS)
    new, update = seen
    assert new.planning
    assert not new.finished
    assert str(new) == f"{store}: being planned\n  batches 0 of 0\n  chunks  0 of 0"
    assert update.planning
    assert update.finished
    assert "being planned, before that finished" in str(update)
    assert not zr.status(store).planning


def test_who_asks_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(zr.StoreError, match="no zone store at"):
        zr.status(tmp_path / "none.zarr")
    assert not list(tmp_path.iterdir())


def test_the_command_line_shows_how_far_a_store_is(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in (["info", unfinished], ["plot", unfinished, unfinished.parent / "a.png"]):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in verb])
        assert ended.value.code == 0
        assert "  ! " in capsys.readouterr().err
    with lock(Location.of(unfinished), name=PLANNING), pytest.raises(SystemExit):
        main(["status", str(unfinished)])
    assert "being planned, before that" in capsys.readouterr().out


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_what_is_opened_goes_into_netcdf_and_a_part_of_it_stays_at_its_place(
    tmp_path: Path, engine: str
) -> None:
    pytest.importorskip("netCDF4" if engine == "netcdf4" else "h5py")
    zr.build(sample_zones(), tmp_path / "s.zarr", **OPTIONS)
    opened = zr.open(tmp_path / "s.zarr")
    part = opened.isel(x=slice(40, 90), y=slice(10, 50))
    for name, data in {
        "dataset": part, "array": part["zone"], "computed": (part["zone"] == 7).astype("u1")
    }.items():  # fmt: skip
        data.to_netcdf(tmp_path / f"{name}.nc", engine=engine)
    back = xr.open_dataset(tmp_path / "dataset.nc", engine=engine)
    assert back["zone"].dtype == opened["zone"].dtype
    assert np.array_equal(back["zone"], part["zone"])
    found = zr.grid_like(tmp_path / "dataset.nc")
    assert found.bounds == (2.0, 7.5, 4.5, 9.5)
    assert found.crs == GRID.crs


def test_rioxarray_fills_with_no_zone_and_keeps_the_place_of_a_part(tmp_path: Path) -> None:
    import rioxarray  # noqa: F401

    zr.build(sample_zones(), tmp_path / "s.zarr", **OPTIONS)
    for zone in (zr.open(tmp_path / "s.zarr")["zone"], xr.open_zarr(tmp_path / "s.zarr")["zone"]):
        ids = {0, *np.unique(zone).tolist()}
        assert {*np.unique(zone.rio.reproject("EPSG:32631")).tolist()} <= ids
        assert {*np.unique(zone.rio.pad_box(-2, -2, 12, 12)).tolist()} <= ids
    part = zr.open(tmp_path / "s.zarr").isel(x=slice(40, 80), y=slice(20, 60))  # whole chunks
    assert part["zone"].rio.bounds() == pytest.approx((2.0, 7.0, 4.0, 9.0))
    part.to_zarr(tmp_path / "part.zarr")
    assert zr.grid_like(xr.open_zarr(tmp_path / "part.zarr")).bounds == (2.0, 7.0, 4.0, 9.0)


def test_cures_hold_for_stores_that_are_not_on_local_disk() -> None:
    found = {"checked": 1, "missing": ("zone/c/0/0",)}
    here, there = zr.VerifyReport("/a/s.zarr", **found), zr.VerifyReport("s3://a/s.zarr", **found)
    assert "check=True: it repairs exactly these" in str(there)
    assert "check=True" not in str(here)
    assert "with check=True" in mending(Location("s3://a/s.zarr"))
    assert "check=True" not in mending(Location("/a/s.zarr"))
