"""What is promised: the names of `zoneraster.__all__`, and how they present themselves."""

from __future__ import annotations

import builtins
import inspect
import re
import subprocess
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely

import zoneraster as zr
from zoneraster import errors

VERBS = [
    name
    for name in [*zr.__all__, "open"]
    if inspect.isfunction(getattr(zr, name))
]  # fmt: skip
CLASSES = [name for name in zr.__all__ if inspect.isclass(getattr(zr, name))]
RECORDS = [name for name in CLASSES if not issubclass(getattr(zr, name), Exception)]
# Their first argument is no store.
WITHOUT_STORE = {"labels", "thresholds", "grid_like", "warm"}


def callables(name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """A public name and, of a class, what can be called on it."""
    thing = getattr(zr, name)
    yield name, thing
    if inspect.isclass(thing):
        for attribute, value in vars(thing).items():
            function = value.fget if isinstance(value, property) else value
            function = getattr(function, "__func__", function)
            if not attribute.startswith("_") and inspect.isfunction(function):
                yield f"{name}.{attribute}", function


ALL = [pair for name in [*VERBS, *RECORDS] for pair in callables(name)]


def sections(function: Callable[..., Any]) -> dict[str, str]:
    """Sections of a numpydoc docstring."""
    parts = re.split(r"^(\w+)\n-{3,}\n", inspect.getdoc(function) or "", flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented(function: Callable[..., Any]) -> list[str]:
    """Parameters that the docstring describes."""
    lines = sections(function).get("Parameters", "").splitlines()
    heads = [line.partition(" : ")[0] for line in lines if line and not line.startswith(" ")]
    return [name for head in heads for name in head.split(", ")]


def test_all_names_are_there_and_dir_lists_them() -> None:
    assert len(set(zr.__all__)) == len(zr.__all__)
    assert set(zr.__all__) | {"open"} <= set(dir(zr))
    for name in zr.__all__:
        assert getattr(zr, name) is not None


def test_a_star_import_leaves_the_builtins_alone() -> None:
    namespace: dict[str, object] = {}
    exec("from zoneraster import *", namespace)
    assert set(zr.__all__) <= set(namespace)
    assert not [name for name in namespace if hasattr(builtins, name) and name[0] != "_"]


def test_importing_the_package_imports_nothing_that_is_slow() -> None:
    code = """
        import sys, zoneraster, zoneraster.cli
        slow = "geopandas numba numpy pandas pyarrow pyproj rasterio shapely xarray zarr".split()
        sys.exit(str(sorted({*slow} & sys.modules.keys())) if {*slow} & sys.modules.keys() else 0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "function"), ALL, ids=[name for name, _ in ALL])
def test_signatures_are_written_out_and_their_types_can_be_looked_up(
    name: str, function: Callable[..., Any]
) -> None:
    hints = typing.get_type_hints(function)
    if inspect.isclass(function):
        hints = typing.get_type_hints(function.__init__) | hints
        if function is zr.Predicate:  # made by comparing rasters
            return
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        assert parameter.kind is not parameter.VAR_KEYWORD, f"{name} takes any option"
        assert parameter.name in hints or parameter.name in ("self", "cls"), parameter.name


@pytest.mark.parametrize("name", [name for name in VERBS if name not in WITHOUT_STORE])
def test_the_store_is_called_store(name: str) -> None:
    names = list(inspect.signature(getattr(zr, name)).parameters)
    assert names.index("store") == (1 if names[0] == "zones" else 0)


@pytest.mark.parametrize("name", VERBS)
def test_verbs_say_what_they_take_give_and_raise(name: str) -> None:
    verb = getattr(zr, name)
    assert sorted(documented(verb)) == sorted(inspect.signature(verb).parameters)
    said = sections(verb)
    assert said["Returns"].strip()
    assert said["Raises"].strip()
    raised = re.findall(r"^(?!\s)(.+)$", said["Raises"], flags=re.MULTILINE)
    for error in ", ".join(raised).split(", "):
        assert hasattr(zr, error) or hasattr(builtins, error), error


@pytest.mark.parametrize("name", RECORDS)
def test_records_describe_their_fields(name: str) -> None:
    record = getattr(zr, name)
    assert inspect.getdoc(record)
    if record is not zr.Predicate:
        assert documented(record) == list(inspect.signature(record).parameters)


def test_every_annotation_of_a_verb_is_public_or_of_another_library() -> None:
    for name in VERBS:
        returned = typing.get_type_hints(getattr(zr, name))["return"]
        for one in typing.get_args(returned) or (returned,):
            if one.__module__.startswith("zoneraster"):
                assert getattr(zr, one.__name__) is one


def test_plan_and_build_part_take_the_options_of_build() -> None:
    build = inspect.signature(zr.build).parameters
    for verb in (zr.plan, zr.build_part):
        for name, parameter in inspect.signature(verb).parameters.items():
            if name != "part":
                assert parameter == build[name]
    left_out = build.keys() - inspect.signature(zr.plan).parameters.keys()
    assert left_out == {"executor", "workers", "check"}
    assert build.keys() <= inspect.signature(zr.build_part).parameters.keys()


def test_the_store_may_be_given_by_name_or_by_place(tmp_path: Path) -> None:
    zones = geopandas.GeoDataFrame(geometry=[shapely.box(1, 1, 3, 2)], crs=4326)
    grid = zr.Grid.from_bounds((0, 0, 4, 4), 1)
    assert zr.build(zones, store=tmp_path / "named.zarr", grid=grid).owned == 2
    assert zr.build(zones, tmp_path / "placed.zarr", grid=grid).owned == 2
    assert zr.status(store=tmp_path / "named.zarr").finished


def test_the_tree_of_errors_in_the_docstring_is_that_of_the_classes() -> None:
    drawn = dict(
        re.findall(r"(\w+(?:Error|Interrupted|Warning|Option)) +(\w+)? ", errors.__doc__ or "")
    )
    classes = {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert drawn.keys() | {"ZonerasterError"} == classes.keys()
    for name, builtin in drawn.items():
        if hasattr(builtins, builtin):
            assert getattr(builtins, builtin) in classes[name].__bases__


def test_a_manifest_closes(tmp_path: Path) -> None:
    zones = geopandas.GeoDataFrame(geometry=[shapely.box(1, 1, 3, 2)], crs=4326)
    store = tmp_path / "zones.zarr"
    zr.build(zones, store, grid=zr.Grid.from_bounds((0, 0, 4, 4), 1))
    with zr.open_manifest(store) as manifest:
        assert manifest.zones_in(zr.Window(0, 4, 0, 4)).tolist() == [1]
    with pytest.raises(zr.StoreError, match="this manifest is closed"):
        manifest.zones_in(zr.Window(0, 4, 0, 4))
    manifest.close()
    # Closed for its owner alone.
    with zr.open_manifest(store) as other:
        assert other.zones_in(zr.Window(0, 4, 0, 4)).tolist() == [1]
