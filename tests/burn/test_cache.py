"""Compiled kernels are compiled anew when any kernel's source has changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import zoneraster
from zoneraster._burn.cache import SOURCES, kernel

PACKAGE = Path(zoneraster.__file__).parent
BURN = """
import numpy as np
from zoneraster._burn import make_spans
edges = np.array([[2.0, 2.0, 2.0, 5.0], [5.0, 2.0, 5.0, 5.0]])
none, ptr = np.zeros(0, np.int32), np.array([0, 2])
spans = make_spans(
    np.array([0]), np.array([False]), ptr, edges, np.array([0, 0]), none, (0, 0, 8, 8), False
)
print(spans[1].tolist())
"""


@pytest.mark.slow
def test_a_change_of_the_rule_is_burned_though_other_kernels_are_cached(tmp_path: Path) -> None:
    shutil.copytree(
        PACKAGE, tmp_path / "zoneraster", ignore=shutil.ignore_patterns("__pycache__", "data")
    )
    rule = tmp_path / "zoneraster" / "_burn" / "rule.py"

    def first_columns() -> str:
        done = subprocess.run(
            [sys.executable, "-B", "-c", BURN],
            env={**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "c")},
            cwd=tmp_path, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    assert first_columns() == "[2, 2, 2]"
    text = rule.read_text()
    assert text.count("+ u1 + 0.5") == 2, "the formula, and in the docstring"
    rule.write_text(text.replace("+ u1 + 0.5", "+ u1 + 1.5"))
    assert first_columns() == "[3, 3, 3]"


def test_all_files_with_kernels_are_part_of_the_stamp() -> None:
    stamped = {path for pattern in SOURCES for path in PACKAGE.glob(pattern)}
    kernels = {
        path
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^@(kernel|inlined|nb\.)", path.read_text(), re.MULTILINE)
    }
    assert kernels
    assert kernels <= stamped
    assert all(list(PACKAGE.glob(pattern)) for pattern in SOURCES)


@kernel
def _twice(x):  # type: ignore[no-untyped-def]
    return 2 * x


@kernel
def _with_a_number_and_a_variable(x):  # type: ignore[no-untyped-def]
    return _twice(0) + _twice(x)


@pytest.mark.skipif(not hasattr(_twice, "overloads"), reason="kernels are not compiled")
def test_a_number_in_a_call_is_no_type_of_its_own() -> None:
    for one in (_twice, _with_a_number_and_a_variable):
        one._cache.flush()  # what an earlier run has left
    assert _with_a_number_and_a_variable(2) == 4
    assert len(_twice.overloads) == 1
