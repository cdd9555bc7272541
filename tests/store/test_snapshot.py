"""What fits together in a store, whoever reads it, from where, and while others write."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import zarr

import zoneraster as zr
from tests.conftest import Web
from tests.stats.samples import ZONES, build, raster, write_zones
from zoneraster._store import found_receipts, ledger, open_snapshot, shared_snapshot
from zoneraster.blobs import FsspecBlobs, LocalBlobs, Location

# ---- the ledger ----------------------------------------------------------------------------------

STRAY = (
    ".DS_Store",
    ".nfs00000000012a0001",
    "desktop.ini",
    "0-abc.parquet~",
    "7-0123456789abcdef.parquet.crc",
    "x-0123456789abcdef.parquet",
    "readme.txt",
    "old/1-0123456789abcdef.parquet",
)


def test_receipts_are_told_by_their_names() -> None:
    name = ledger.receipt_name(12, [b"a"])
    assert ledger.parse_receipt_name(name) == 12
    for other in STRAY:
        assert ledger.parse_receipt_name(f"{ledger.LEDGER}{other}") is None


@pytest.mark.slow
def test_files_of_others_in_the_ledger_are_ignored_by_every_verb(tmp_path: Path) -> None:
    store = build(tmp_path / "a.zarr")
    for name in STRAY:
        path = store / ledger.LEDGER / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert zr.status(store).finished
    assert zr.verify(store).ok
    assert zr.info(store)["status"]["finished"]
    assert zr.zonal_stats(store)["pixels"].tolist() == [4, 4]
    assert zr.run(store).kept == zr.status(store).chunks
    zr.finish(store)
    build(store)
    assert all((store / ledger.LEDGER / name).exists() for name in STRAY)


def test_names_that_vanish_while_they_are_listed_are_left_out(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    for n in range(4):
        blobs.put(f"{ledger.LEDGER}{n}-0123456789abcdef.parquet", b"")
    blobs.put(f"{ledger.LEDGER}sub/4", b"")
    listing = blobs.list(ledger.LEDGER)
    first, _ = next(listing)
    for path in (tmp_path / ledger.LEDGER).glob("[12]-*"):
        path.unlink()
    rest = [key for key, _ in listing]
    assert [ledger.parse_receipt_name(key) for key in (first, *rest)] == [0, 3, None]


# ---- a web server --------------------------------------------------------------------------------

READ: dict[str, Callable[[Any], Any]] = {
    "open": lambda store: zr.open(store)["zone"].values.tolist(),
    "zones": lambda store: zr.zones(store)["fid"].tolist(),
    "status": lambda store: zr.status(store).finished,
    "info": lambda store: zr.info(store)["status"]["batches_done"],
    "verify": lambda store: zr.verify(store, deep=1).ok,
    "zonal_stats": lambda store: zr.zonal_stats(store, raster([[1, 2, 3]] * 3))["sum"].tolist(),
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", READ)
def test_a_store_on_a_server_that_lists_nothing_is_read_to_the_end(web: Web, verb: str) -> None:
    build(web.folder / "a.zarr")
    url = f"{web.url}/a.zarr"
    assert READ[verb](url) == READ[verb](web.folder / "a.zarr")
    assert not any(path.endswith("/") for path in web.asked)


@pytest.mark.slow
def test_a_server_without_a_receipt_has_an_unfinished_store(web: Web) -> None:
    store = build(web.folder / "a.zarr", chunks=1)
    url = f"{web.url}/a.zarr"
    gone = sorted((store / ledger.LEDGER).iterdir())[3]
    gone.unlink()
    status = zr.status(url)
    assert not status.finished
    assert status.missing == (ledger.parse_receipt_name(f"{ledger.LEDGER}{gone.name}"),)
    with pytest.raises(zr.IncompleteBuildError, match=r"1 of \d+ batches of http.* have"):
        zr.zonal_stats(url)


@pytest.mark.parametrize("web", [404], indirect=True)
def test_an_array_of_zones_on_a_server_is_read(web: Web) -> None:
    ids = np.array(ZONES, np.uint8)
    write_zones(web.folder / "f.zarr", ids, chunks=(2, 2))
    zarr.consolidate_metadata(web.folder / "f.zarr")
    table = zr.zonal_stats(f"{web.url}/f.zarr", stats="pixels")
    assert table["pixels"].to_dict() == {1: 4, 2: 4}


def test_a_place_that_may_not_be_listed_is_asked_by_name(tmp_path: Path) -> None:
    build(tmp_path / "a.zarr")
    import fsspec

    class Secret(FsspecBlobs):
        def infos(self, folder: str) -> Any:
            raise PermissionError(folder)

    blobs = Secret(fsspec.filesystem("file"), str(tmp_path / "a.zarr"))
    known = found_receipts(LocalBlobs(tmp_path / "a.zarr"), {})
    names = {batch: keys[0] for batch, keys in known.items()}
    assert found_receipts(blobs, {**names, 99: ledger.receipt_name(99, [b""])}) == known


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(*args: object, **options: object) -> None:
        raise ImportError("no aiohttp")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(
        ImportError, match=r"reaching http.* needs aiohttp, .*: pip install aiohttp"
    ):
        Location.of("https://nowhere.example/a.zarr").blobs()


# ---- while others write --------------------------------------------------------------------------

BEFORE = [[1, 1, 1, 0], [1, 2, 2, 0], [0, 2, 2, 3], [0, 0, 0, 3]]
AFTER = [[1, 1, 0, 0], [4, 4, 0, 0], [4, 2, 2, 2], [0, 0, 2, 2]]
WIDE = zr.Grid.from_bounds((500_000, 0, 500_400, 400), 100, "EPSG:32633")
HEIGHTS = raster(np.arange(16.0).reshape(4, 4), WIDE)


def as_before(path: Path) -> Path:
    return build(path, BEFORE, WIDE, owner=["a", "b", "c"])


def as_after(path: Path) -> Path:
    """Zone 1 shrinks, 3 goes, 4 comes; a chunk vanishes, and owners change."""
    return build(path, AFTER, WIDE, owner=["c", "b", "a"])


def sums(store: Path, **options: Any) -> dict[str, float]:
    table = zr.zonal_stats(
        store, HEIGHTS, stats="sum", roll_up="owner", executor="serial", **options
    )
    return {str(owner): float(total) for owner, total in table["sum"].items()}


def zones_of_manifest(store: Path) -> list[int]:
    with zr.open_manifest(store) as manifest:
        return manifest.zones_in((0, 4, 0, 4)).tolist()


ANSWERS: dict[str, Callable[[Path], Any]] = {
    "open": lambda store: zr.open(store)["zone"].values.tolist(),
    "zones": lambda store: zr.zones(store)[["fid", "owner"]].to_dict("list"),
    "zonal_stats": sums,
    "verify": lambda store: (zr.verify(store).ok, zr.status(store).finished),
    "manifest": zones_of_manifest,
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each verb says before and after an update."""
    store = as_before(tmp_path_factory.mktemp("answers") / "a.zarr")
    before = {name: ask(store) for name, ask in ANSWERS.items()}
    as_after(store)
    found = {name: [before[name], ask(store)] for name, ask in ANSWERS.items()}
    assert all(old != new for name, (old, new) in found.items() if name != "verify")
    return found


class Watched:
    """Runs something before and after each write below a folder, and in between each read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on_write: Callable[[], None] | None = None
        self.on_read: Callable[[], None] | None = None
        self._busy = False
        for name in ("put", "delete"):
            monkeypatch.setattr(LocalBlobs, name, self._after(getattr(LocalBlobs, name)))
        for name in ("get", "open", "list"):
            monkeypatch.setattr(LocalBlobs, name, self._before(getattr(LocalBlobs, name)))

    def _run(self, hook: Callable[[], None] | None) -> None:
        if hook is not None and not self._busy:
            self._busy = True
            try:
                hook()
            finally:
                self._busy = False

    def _after(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            done = write(*args, **options)
            self._run(self.on_write)
            return done

        return watched

    def _before(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any) -> Any:
            self._run(self.on_read)
            return read(*args)

        return watched


def told(ask: Callable[[], Any]) -> Any:
    """The answer, or the error of ours."""
    try:
        return ask()
    except zr.ZonerasterError as err:
        return err


@pytest.mark.slow
def test_between_any_two_writes_of_an_update_readers_get_one_state_or_an_error(
    tmp_path: Path, answers: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = as_before(tmp_path / "a.zarr")
    opened = zr.open(store)
    watched, seen = Watched(monkeypatch), []

    def pixels_opened_before() -> list[list[int]]:
        found: list[list[int]] = opened["zone"].values.tolist()
        return found

    def look() -> None:
        said = {name: told(lambda ask=ask: ask(store)) for name, ask in ANSWERS.items()}
        said["opened before"] = told(pixels_opened_before)
        said["status"] = told(lambda: zr.status(store))
        seen.append(said)

    watched.on_write = look
    as_after(store)
    assert len(seen) > 12
    for said in seen:
        for name, pair in answers.items():
            if name != "verify":
                assert said[name] in pair or isinstance(said[name], zr.StoreError), (name, said)
        assert said["opened before"] == answers["open"][0] or isinstance(
            said["opened before"], zr.StoreError
        )
        if isinstance(said["status"], zr.Status) and said["status"].finished:
            assert said["open"] in answers["open"]
            assert said["verify"] == (True, True)
    assert {str(said["open"]) for said in seen} & {str(answers["open"][1])}


@pytest.mark.slow
@pytest.mark.parametrize("verb", ANSWERS)
def test_an_update_between_any_two_reads_gives_one_state_or_an_error(
    tmp_path: Path, answers: dict[str, list[Any]], verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, reads = Watched(monkeypatch), 0
    while True:
        store = as_before(tmp_path / f"{reads}.zarr")
        left = reads

        def update(store: Path = store) -> None:
            nonlocal left
            if left == 0:
                as_after(store)
            left -= 1

        watched.on_read = update
        said = told(lambda store=store: ANSWERS[verb](store))
        watched.on_read = None
        if left >= 0:
            break  # there are no more reads
        assert said in answers[verb] or isinstance(said, zr.StoreError) or verb == "verify", said
        reads += 1
    assert reads >= 3


def test_an_update_while_tasks_run_ends_the_call(tmp_path: Path) -> None:
    store = as_before(tmp_path / "a.zarr")

    def update(_: str, done: int, total: int) -> None:
        if not done:
            as_after(store)

    with pytest.raises(zr.StoreError, match=r"a.zarr was planned anew while it was read"):
        sums(store, progress=update)
    assert sums(store) == {"c": 1.0, "b": 59.0, "a": 17.0}


@pytest.mark.parametrize("key", ["name", "number"])
def test_zones_that_cross_themselves_are_those_of_the_plan(tmp_path: Path, key: str) -> None:
    shapes = [
        shapely.box(1, 1, 3, 3),
        shapely.Polygon([(4, 1), (6, 3), (6, 1), (4, 3)]),
        shapely.box(6, 6, 8, 8),
    ]
    columns = {"name": ["a", "b", "c"], "number": [30, 20, 10]}
    zones = geopandas.GeoDataFrame(columns, geometry=shapes, crs=4326)
    store = Location.of(tmp_path / "z")
    zr.build(zones, store.url, grid=zr.Grid.from_bounds((0, 0, 10, 10), 1), key=key)
    plan, table = open_snapshot(store), zr.zones(store.url)
    assert plan.crossing.tolist() == table["zone_id"][table["name"] == "b"].tolist()
    shared_snapshot.cache_clear()
    late = open_snapshot(store)
    zr.build(zones.iloc[::2], store.url, key=key)
    with pytest.raises(zr.StoreBusyError):
        late.crossing  # noqa: B018
    assert plan.crossing.size == 1
    assert open_snapshot(store).crossing.size == 0


def test_a_store_that_is_not_finished_is_not_opened(tmp_path: Path) -> None:
    store = as_before(tmp_path / "a.zarr")
    gone = next((store / ledger.LEDGER).iterdir())
    gone.unlink()
    with pytest.raises(zr.IncompleteBuildError, match=r"1 of \d+ batches .*unfinished=True shows"):
        zr.open(store)


def test_an_opened_store_gives_no_chunk_that_is_missing_or_changed(tmp_path: Path) -> None:
    store = as_before(tmp_path / "a.zarr")
    zone = zr.open(store)["zone"]
    again = pickle.loads(pickle.dumps(zone))
    assert again.values.tolist() == BEFORE
    (store / "zone/c/0/0").unlink()
    with pytest.raises(zr.CorruptStoreError, match=r"chunk zone/c/0/0 of .* is not as its receipt"):
        zone.values  # noqa: B018
    assert zone[2:, 2:].values.tolist() == [[2, 3], [0, 3]]
    (store / "zone/c/1/1").write_bytes((store / "zone/c/1/0").read_bytes())
    with pytest.raises(zr.CorruptStoreError, match="chunk zone/c/1/1"):
        again[2:, 2:].values  # noqa: B018


def test_the_array_of_a_store_alone_is_opened(tmp_path: Path) -> None:
    store = as_before(tmp_path / "a.zarr")
    shutil.rmtree(store / ".zoneraster")
    assert zr.open(store)["zone"].values.tolist() == BEFORE
