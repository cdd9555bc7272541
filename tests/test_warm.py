"""Kernels that are compiled before they are needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import zoneraster
from zoneraster.warming import _TASKS

PACKAGE = Path(zoneraster.__file__).parent
# Prints the kernels that numba compiles while it runs, and does not find on disk.
LISTEN = """
    import contextlib, sys, tempfile
    import geopandas, numpy as np, shapely, xarray as xr
    from numba.core import event
    import zoneraster as zr

    missed = set()

    class Misses(event.Listener):
        def on_start(self, told):
            pass

        def on_end(self, told):
            kernel = told.data["dispatcher"]
            if kernel.py_func.__module__.startswith("zoneraster") and kernel.stats.cache_misses:
                missed.add(kernel.py_func.__name__)

    shapes = [shapely.box(1.3, 1.2, 7, 6), shapely.Point(9, 9).buffer(4.3)]
    zones = geopandas.GeoDataFrame(geometry=shapes, crs=3857)
    grid = zr.Grid.from_bounds((0, 0, 20, 20), 1, 3857)
    values = xr.DataArray(
        np.ones((20, 20), np.float32), {"y": grid.y_centres(), "x": grid.x_centres()}, ("y", "x"),
        "v", {"crs": "EPSG:3857"},
    )
    with event.install_listener("numba:compile", Misses()), tempfile.TemporaryDirectory() as folder:
"""


def missed(work: str, **environment: str) -> set[str]:
    """Kernels of ours that a process has to compile for some work."""
    program = textwrap.dedent(LISTEN) + textwrap.indent(work, "    ") + "\nprint(*missed)\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, **environment}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return set(done.stdout.split())


pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="kernels are not compiled"
)


@pytest.mark.slow
def test_what_was_warmed_up_is_not_compiled_again() -> None:
    """In the folder that all tests use, where some of it is compiled already."""
    command = [sys.executable, "-m", "zoneraster.cli", "warm", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["compiled"] >= 0
    work = """
for rule in ("centre", "fraction"):
    zr.zonal_stats(zones, values, pixels=rule, stats=["count", "median", "majority"])
for overlap in ("last", "sets", "layers"):
    zr.build(zones, f"{folder}/{overlap}", grid=grid, overlap=overlap)
"""
    assert not missed(work)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "work", "ahead"),
    [
        ("store", "zr.build(zones, folder, grid=grid)", {"make_spans", "overlay_spans", "blocks"}),
        ("centre", "zr.zonal_stats(zones, values)", {"make_spans", "overlay_spans"}),
        (
            "fraction",
            "zr.zonal_stats(zones, values, pixels='fraction')",
            {"make_cells", "overlay_spans", "covered_spans"},
        ),
    ],
)
def test_another_process_compiles_just_what_burning_needs(
    tmp_path: Path, what: str, work: str, ahead: set[str]
) -> None:
    """And for the same types: what is compiled for others is compiled again."""
    squares = f"from zoneraster._build.ahead import burn_squares; burn_squares({what!r})"
    subprocess.run(
        [sys.executable, "-c", squares], env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        check=True,
    )  # fmt: skip
    found = missed(work, NUMBA_CACHE_DIR=str(tmp_path))
    assert "partition_edges" in found, "nothing was measured"
    assert not ahead & found


@pytest.mark.slow
def test_each_task_is_one_that_can_be_done(tmp_path: Path) -> None:
    for name in ("build", "layers", "min_pixels", "count", "uint8 fraction"):
        _TASKS[name](tmp_path / name)


@pytest.mark.slow
def test_without_a_place_for_machine_code_it_works_and_says_so(tmp_path: Path) -> None:
    """A package that cannot be written to, even by root, and a user without a home."""
    package = tmp_path / "zoneraster"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").write_text("no folder")
    nowhere = {"HOME": "/proc/no", "XDG_CACHE_HOME": "/proc/no"}
    without = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    without |= nowhere
    program = """
        import numpy as np
        from zoneraster._burn import sort_stretch
        values = np.array([3, 1, 2])
        sort_stretch(values, 0, 3)
        print(values.tolist())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path, env={**without, "PYTHONPATH": str(tmp_path)}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[1, 2, 3]"
    assert done.stderr.count("set NUMBA_CACHE_DIR to a folder that can be written") == 1


@pytest.mark.slow
@pytest.mark.parametrize("is_given", [False, True])
def test_what_an_image_has_is_found_where_nothing_can_be_written(
    tmp_path: Path, is_given: bool
) -> None:
    """`load` is what numba calls; where it can write, it looks there first."""
    program = """
        import sys
        from pathlib import Path
        import numba as nb, numpy as np
        from zoneraster._burn import cache, sort_stretch
        there = Path(nb.config.CACHE_DIR or Path(cache.__file__).parent / "__pycache__")
        if sys.argv[1] == "read":
            # As the operating system does it for others than root.
            from numba.core import caching
            ensure = caching._CacheLocator.ensure_cache_path
            def refuse(self):
                if Path(self.get_cache_path()).is_relative_to(there):
                    raise PermissionError(self.get_cache_path())
                ensure(self)
            caching._CacheLocator.ensure_cache_path = refuse
            sort_stretch = cache.kernel(sort_stretch.py_func)
            assert cache.is_compiled(sort_stretch)
        sort_stretch(np.array([3, 1, 2]), 0, 3)
        print(sum(sort_stretch.stats.cache_misses.values()))
    """
    shutil.copytree(PACKAGE, tmp_path / "zoneraster", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(tmp_path), "HOME": "/proc/no", "XDG_CACHE_HOME": "/proc/no"}
    if is_given:
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "image")

    def misses(mode: str) -> int:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(program), mode],
            cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return int(done.stdout)

    assert misses("write") == 1
    assert misses("read") == 0
