"""Functions that do the same have the same digest; others, whatever differs, have another."""

from __future__ import annotations

import functools
import io
import math
import operator
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
import pytest

from zoneraster._stats.families.functions import digest_of_function
from zoneraster.errors import ValuesError

ROOT = Path(__file__).resolve().parents[3]


def digest(function: object) -> bytes:
    return digest_of_function(function, "update")


# Each makes the same function of the same number, and another one of another.


def closure(n: int) -> Any:
    return lambda x: x + n


def closure_of_a_long_array(n: int) -> Any:
    weights = np.zeros(5000)
    weights[2500] = n
    return lambda x: x * weights


def closure_of_an_object_array(n: int) -> Any:
    names = np.array(["a", n, None], object)
    return lambda x: names[x]


def closure_of_a_closure(n: int) -> Any:
    inner = closure(n)
    return lambda x: 2 * inner(x)


def default(n: int) -> Any:
    def update(x: Any, m: int = n) -> Any:
        return x + m

    return update


def default_keyword(n: int) -> Any:
    def update(x: Any, *, m: int = n) -> Any:
        return x + m

    return update


def constant(n: int) -> Any:
    return (lambda x: x + 1) if n == 1 else (lambda x: x + 2)


def constant_of_an_inner_function(n: int) -> Any:
    def one() -> Any:
        return [(lambda y: y + 1) for _ in range(1)]

    def two() -> Any:
        return [(lambda y: y + 2) for _ in range(1)]

    return one if n == 1 else two


def operation(n: int) -> Any:
    return (lambda x: x + 1) if n == 1 else (lambda x: x - 1)


def asked_attribute(n: int) -> Any:
    return (lambda x: x.size) if n == 1 else (lambda x: x.ndim)


def with_globals(n: int, **others: Any) -> dict[str, Any]:
    return {"LIMIT": n, "np": np, "math": math, **others}


def uses_a_global(n: int) -> Any:
    return types.FunctionType((lambda x: x > LIMIT).__code__, with_globals(n))  # type: ignore[name-defined]  # noqa: F821


def uses_a_global_deep_inside(n: int) -> Any:
    code = (lambda x: (y > LIMIT for y in x)).__code__  # type: ignore[name-defined]  # noqa: F821
    return types.FunctionType(code, with_globals(n))


def calls_a_global_function(n: int) -> Any:
    code = (lambda x: 2 * helper(x)).__code__  # type: ignore[name-defined]  # noqa: F821
    return types.FunctionType(code, with_globals(0, helper=closure(n)))


def uses_a_module_of_its_own(n: int) -> Any:
    own = types.ModuleType("own")
    own.LIMIT = n  # type: ignore[attr-defined]
    own.unused = threading.Lock()  # type: ignore[attr-defined]
    code = (lambda x: x > settings.LIMIT).__code__  # type: ignore[name-defined]  # noqa: F821
    return types.FunctionType(code, {"settings": own})


def imports_inside(n: int) -> Any:
    def update(x: Any) -> Any:
        import own_settings  # type: ignore[import-not-found]

        return x > own_settings.LIMIT

    own = types.ModuleType("own_settings")
    own.LIMIT = n  # type: ignore[attr-defined]
    sys.modules["own_settings"] = own
    return update


def attribute_of_a_function(n: int) -> Any:
    def update(x: Any) -> Any:
        return x

    update.limit = n  # type: ignore[attr-defined]
    return update


def partial(n: int) -> Any:
    return functools.partial(operator.add, n)


def partial_keyword(n: int) -> Any:
    return functools.partial(np.quantile, q=n)


def cached(n: int) -> Any:
    return functools.lru_cache(closure(n))


class Above:
    def __init__(self, limit: int) -> None:
        self.limit = limit

    def update(self, x: Any) -> Any:
        return x > self.limit

    def __call__(self, x: Any) -> Any:
        return x > self.limit


class Slotted:
    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def update(self, x: Any) -> Any:
        return x > self.limit


@dataclass(frozen=True)
class Record:
    limit: int
    names: tuple[str, ...] = ("a",)

    def update(self, x: Any) -> Any:
        return x > self.limit


def bound_method(n: int) -> Any:
    return Above(n).update


def bound_method_with_slots(n: int) -> Any:
    return Slotted(n).update


def bound_method_of_a_record(n: int) -> Any:
    return Record(n).update


def callable_object(n: int) -> Any:
    return Above(n)


def method_of_a_class_that_is_written_anew(n: int) -> Any:
    class Own:
        step = n

        def update(self, x: Any) -> Any:
            return x + self.step

    return Own().update


def method_of_a_list(n: int) -> Any:
    return [1, n].index


def method_of_another_kind(n: int) -> Any:
    return str.upper if n == 1 else str.lower


def of_numpy(n: int) -> Any:
    return np.add if n == 1 else np.subtract


def of_python(n: int) -> Any:
    return math.fsum if n == 1 else math.prod


def compiled(n: int) -> Any:
    return numba.njit(closure(n))


def compiled_with_options(n: int) -> Any:
    return numba.njit(fastmath=n == 1)(lambda x: x + 1)


def dictionary_of_sets(n: int) -> Any:
    wanted = {"forest": {"a", "b", "c", str(n)}, "lake": frozenset({("x", n), ("y", 2)})}
    return lambda x: x in wanted["forest"]


def random_state(n: int) -> Any:
    rng = np.random.default_rng(n)
    return lambda x: rng.random(x.size)


def holds_itself(n: int) -> Any:
    known: list[Any] = [n]
    known.append(known)

    def update(x: Any) -> Any:
        return update(known) if x else n

    return update


MAKERS = [
    value
    for name, value in list(globals().items())
    if isinstance(value, types.FunctionType)
    and value.__module__ == __name__
    and name not in {"digest", "with_globals"}
    # Nothing is compiled, so options of the compiler change nothing.
    and not (numba.config.DISABLE_JIT and name == "compiled_with_options")
]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_changed_function_has_another_digest_and_an_equal_one_the_same(
    make: Callable[[int], Any],
) -> None:
    one, two, again = digest(make(1)), digest(make(2)), digest(make(1))
    assert one == again
    assert one != two


def test_kinds_of_numbers_and_the_shape_of_arrays_tell_functions_apart() -> None:
    values: list[Any] = [
        1, 1.0, True, "1", b"1", (1,), [1], {1}, {1: 1}, None, -0.0, 0.0, np.float32(1),
        np.float64(1), np.array([1]), np.array([[1]]), np.array([1], np.int8), range(1), slice(1),
        ((1, 2), 3), (1, (2, 3)), ("ab", "c"), ("a", "bc"), {1: 2, 3: 4}, {1: 4, 3: 2},
    ]  # fmt: skip
    assert len({digest(closure(value)) for value in values}) == len(values)


def test_lines_comments_and_docstrings_of_other_functions_do_not_matter() -> None:
    space: dict[str, Any] = {}
    exec("def a(x):\n    return x + 1\n", space)
    first = digest(space["a"])
    exec("# moved\n\n\ndef a(x):\n    # and remarked upon\n    return x + 1\n", space)
    assert digest(space["a"]) == first


@pytest.mark.slow
def test_another_process_with_another_order_of_sets_finds_the_same_digests() -> None:
    code = (
        "from tests.stats.families import test_functions as t\n"
        "print([t.digest(make(1)).hex() for make in t.MAKERS])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def rows() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (threading.Lock(), "'held' in update is a _thread.lock"),
        (io.TextIOWrapper(io.BytesIO()), "'held' in update is a _io.TextIOWrapper"),
        (pd.Series([1]), "'held' in update is a pandas.*Series"),
        (rows(), "'held' in update is a generator"),
        (np.frompyfunc(closure(1), 1, 1), "'held' in update is a numpy.ufunc"),
        ([{"a": threading.Lock()}], "'held' in update is a _thread.lock"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_by_name(held: Any, message: str) -> None:
    with pytest.raises(ValuesError, match=message):
        digest(lambda x: (x, held))


def test_a_function_that_may_read_anything_is_refused() -> None:
    with pytest.raises(ValuesError, match=r"'eval' in update may read anything"):
        digest(lambda x: eval(x) + 1)
