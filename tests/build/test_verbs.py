"""The verbs: how parts of a build meet, and what is not done twice."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely

import zoneraster as zr
from tests.samples import CHUNKS, GRID, sample_zones, tree
from zoneraster._build import verbs

OPTIONS: dict[str, Any] = {"grid": GRID, "key": "fid", "chunks": CHUNKS}


class Meeting:
    """An executor that begins when as many parts as are expected have come to their tasks."""

    def __init__(self, parts: int) -> None:
        self._barrier = threading.Barrier(parts, timeout=20)

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        self._barrier.wait()
        return map(function, tasks)


class Held:
    """An executor that begins when it is let go."""

    def __init__(self) -> None:
        self.has_come, self.go_on = threading.Event(), threading.Event()

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        self.has_come.set()
        assert self.go_on.wait(20)
        return map(function, tasks)


@pytest.mark.slow
@pytest.mark.parametrize("is_planned", [False, True])
@pytest.mark.parametrize("kind", ["file", "frame"])
def test_parts_burn_at_the_same_time_and_the_last_one_finishes(
    kind: str, is_planned: bool, tmp_path: Path
) -> None:
    zones: Any = sample_zones()
    zr.build(zones, tmp_path / "whole", **OPTIONS)
    if kind == "file":
        zones.to_parquet(tmp_path / "zones.parquet")
        zones = tmp_path / "zones.parquet"
        zr.build(zones, tmp_path / "whole", **OPTIONS)
    store, meeting = tmp_path / "parts", Meeting(4)
    if is_planned:
        zr.plan(zones, store, **OPTIONS)

    def part(i: int) -> object:
        own = zones if kind == "file" else zones.copy()
        return zr.build_part(own, store, (i, 4), executor=meeting, **OPTIONS)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(part, range(1, 5)))
    assert any(isinstance(result, zr.BuildReport) for result in results)
    assert sum(result.burned for result in results) == zr.status(store).chunks
    assert zr.status(store).finished
    assert tree(store) == tree(tmp_path / "whole")


@pytest.mark.slow
def test_a_part_that_is_done_waits_for_nobody(tmp_path: Path) -> None:
    zones, held = sample_zones(), Held()
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(
            zr.build_part, zones, tmp_path / "parts", (2, 2), executor=held, **OPTIONS
        )
        assert held.has_come.wait(20)
        first = zr.build_part(zones, tmp_path / "parts", (1, 2), executor="serial", **OPTIONS)
        assert isinstance(first, zr.RunSummary)
        assert not second.done()
        held.go_on.set()
        assert isinstance(second.result(), zr.BuildReport)
    assert zr.status(tmp_path / "parts").finished


@pytest.mark.slow
def test_parts_of_zones_that_cannot_be_known_again_plan_one_after_the_other(
    tmp_path: Path,
) -> None:
    class Lazy:
        def to_geopandas(self) -> geopandas.GeoDataFrame:
            return sample_zones()

    zr.build(Lazy(), tmp_path / "whole", **OPTIONS)
    with ThreadPoolExecutor(3) as pool:
        results = list(
            pool.map(
                lambda i: zr.build_part(Lazy(), tmp_path / "parts", (i, 3), **OPTIONS), (1, 2, 3)
            )
        )
    assert any(isinstance(result, zr.BuildReport) for result in results)
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")


def test_a_part_whose_zones_are_not_those_of_the_plan_any_more_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = verbs._plan_once

    def overtaken(*arguments: Any) -> Any:
        planned = real(*arguments)
        zr.plan(sample_zones(seed=2), tmp_path / "parts", **OPTIONS)
        return planned

    monkeypatch.setattr(verbs, "_plan_once", overtaken)
    with pytest.raises(zr.StoreBusyError, match=r"planned with other zones before part 1 of 2"):
        zr.build_part(sample_zones(), tmp_path / "parts", (1, 2), **OPTIONS)


def phases_of(zones: object, store: Path, **options: Any) -> list[str]:
    """What a build went through."""
    said: list[str] = []
    zr.build(zones, store, **{**OPTIONS, **options}, progress=lambda phase, *_: said.append(phase))
    return list(dict.fromkeys(said))


@pytest.mark.slow
def test_a_plan_of_a_frame_is_found_again_and_one_of_a_changed_frame_is_not(
    tmp_path: Path,
) -> None:
    zones, store = sample_zones(), tmp_path / "zones.zarr"
    assert phases_of(zones, store) == ["read", "plan", "burn", "finish"]
    assert phases_of(zones.copy(), store) == ["burn", "finish"]
    zones.loc[3, "name"] = "another"
    assert phases_of(zones, store) == ["read", "plan", "burn", "finish"]
    assert zr.zones(store)["name"][3] == "another"
    assert phases_of(zones.iloc[:30], store) == ["read", "plan", "burn", "finish"]


@pytest.mark.slow
def test_a_build_that_is_overtaken_by_another_plan_puts_nothing_more_and_says_so(
    tmp_path: Path,
) -> None:
    store, others = tmp_path / "zones.zarr", sample_zones(seed=2)
    zr.build(others, tmp_path / "whole", **OPTIONS)

    class Overtaken:
        """An executor of a build that has lost its lock: its tasks go on after another build."""

        def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
            tasks = list(tasks)
            yield function(tasks[0])
            (store / ".zoneraster" / "lock").unlink()
            zr.build(others, store, **OPTIONS)
            yield from map(function, tasks[1:])

    with pytest.raises(zr.StoreBusyError, match="was planned anew while "):
        zr.build(sample_zones(), store, executor=Overtaken(), **OPTIONS)
    assert tree(store) == tree(tmp_path / "whole")


def odd_zones() -> geopandas.GeoDataFrame:
    """One zone on the grid, one beside it, and two on the same pixels."""
    shapes = [shapely.box(1, 1, 2, 2), shapely.box(20, 1, 21, 2), shapely.box(1.5, 1, 2, 2)]
    return geopandas.GeoDataFrame({"fid": [1, 2, 3]}, geometry=shapes, crs=4326)


def said(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(w.message) for w in caught if w.category is zr.ZonerasterWarning]


def test_what_a_report_warns_of_is_a_warning_at_the_callers_line_and_once(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = zr.build(odd_zones(), tmp_path / "a", **OPTIONS)
    assert len(report.warnings) == 3
    assert sorted(said(caught)) == sorted(report.warnings)
    assert {w.filename for w in caught if w.category is zr.ZonerasterWarning} == {__file__}


def test_each_verb_warns_of_what_it_knows(tmp_path: Path) -> None:
    store = tmp_path / "a"
    with warnings.catch_warnings(record=True) as planned:
        warnings.simplefilter("always")
        summary = zr.plan(odd_zones(), store, **OPTIONS)
    assert said(planned) == summary.warnings() == ["1 zone outside the grid: 2"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zr.run(store)
    with warnings.catch_warnings(record=True) as finished:
        warnings.simplefilter("always")
        report = zr.finish(store)
    assert said(finished) == list(report.warnings)
    assert len(report.warnings) == 3


def test_what_a_plan_warns_of_is_said_before_anything_is_burned(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", zr.ZonerasterWarning)
        with pytest.raises(zr.ZonerasterWarning, match="outside the grid: 2"):
            zr.build(odd_zones(), tmp_path / "a", **OPTIONS)
    assert zr.status(tmp_path / "a").chunks_done == 0


def test_the_part_that_finishes_warns_of_what_the_plan_did_not_know(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = zr.build_part(odd_zones(), tmp_path / "a", (1, 1), **OPTIONS)
    assert isinstance(report, zr.BuildReport)
    assert sorted(said(caught)) == sorted(report.warnings)
