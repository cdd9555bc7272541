"""The house: rooms of a readable size, and floors that are entered by their face."""

from __future__ import annotations

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest

import zoneraster

PACKAGE = Path(zoneraster.__file__).parent
ROOMS = sorted(PACKAGE.rglob("*.py"))
# Longer than 60 lines on purpose: public signatures with their docstrings, and kernels of one loop.
LONG = {"build", "build_part", "zonal_stats", "cells", "plot", "read_zones", "sequences",
        "overlay_spans", "covered_spans", "_sweep", "partition_edges", "refine", "accumulate",
        "tally", "weigh"}  # fmt: skip


def room_name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def floor_of(module: str) -> str:
    """ "zoneraster._zones.read" is on the floor "_zones"; rooms without a floor have none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1].startswith("_") else ""


@pytest.mark.parametrize("path", ROOMS, ids=room_name)
def test_other_floors_are_entered_by_their_face(path: Path) -> None:
    own = floor_of(".".join(("zoneraster", *path.relative_to(PACKAGE).parts)))
    lazy = {"zoneraster._grid.grid"} if path == PACKAGE / "__init__.py" else set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zoneraster._"):
            module = node.module or ""
            is_face = module.count(".") == 1
            assert floor_of(module) == own or is_face or module in lazy, (
                f"line {node.lineno}: import from {'.'.join(module.split('.')[:2])}, its face"
            )


@pytest.mark.slow
@pytest.mark.parametrize("path", ROOMS, ids=room_name)
def test_rooms_and_functions_are_of_a_readable_size(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    functions = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef))
    sizes = {f.name: (f.end_lineno or 0) - f.lineno + 1 for f in functions}
    assert {name for name, size in sizes.items() if size > 60} <= LONG


def test_every_floor_says_what_it_is_for_and_every_room_too() -> None:
    for path in ROOMS:
        said = ast.get_docstring(ast.parse(path.read_text()))
        assert said, f"{room_name(path)} has no docstring"
        assert said.splitlines()[0].endswith((".", ":")), room_name(path)


@pytest.mark.slow
def test_no_name_is_handed_out_that_no_other_floor_uses() -> None:
    used: dict[str, set[str]] = {}
    for path in ROOMS:
        own = floor_of(".".join(("zoneraster", *path.relative_to(PACKAGE).parts)))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zoneraster._"):
                floor = floor_of(node.module or "")
                if floor != own:
                    used.setdefault(floor, set()).update(alias.name for alias in node.names)
    for face in PACKAGE.glob("_*/__init__.py"):
        given = {
            alias.name
            for node in ast.parse(face.read_text()).body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert given <= used.get(face.parent.name, set()), f"{face.parent.name}: unused names"


def test_no_public_name_is_that_of_a_room() -> None:
    """Whoever imports the room first would get it in place of what is public."""
    assert zoneraster.__all__
    assert not set(zoneraster.__all__) & {path.stem for path in PACKAGE.glob("*")}


def test_pytest_looks_into_every_folder_of_tests(pytestconfig: pytest.Config) -> None:
    left_out = pytestconfig.getini("norecursedirs")
    for path in Path(__file__).parent.rglob("test_*.py"):
        for folder in path.relative_to(pytestconfig.rootpath).parts[:-1]:
            assert not any(fnmatch(folder, pattern) for pattern in left_out), path
