"""What functions do, as bytes: the same code on the same values, the same bytes.

A function is taken apart into its code, what it holds (defaults, closure, the object of a method)
and what its names stand for. Libraries are told apart by name and version, everything else by
content. What has no content that can be looked at, such as an open file, is refused.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib.metadata
import platform
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from zoneraster.errors import ValuesError

# What a value is made of: a text or bytes of its own, and other values with their names.
_Parts: TypeAlias = tuple[str | bytes, list[tuple[str, object]]]

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), range)
# What these give depends on more than can be looked at.
_OPAQUE = frozenset({"open", "eval", "exec", "compile", "globals", "locals", "vars", "input"})
# Of a class, what says nothing of what it does.
_NOISE = frozenset(
    {
        "__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__",
        "__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl",
        "__dataclass_fields__", "__dataclass_params__", "__match_args__", "__annotate__",
        "__annotate_func__", "__annotations_cache__", "__classdictcell__",
    }
)  # fmt: skip


def digest_of_function(function: object, label: str) -> bytes:
    """16 bytes that change with what a function does.

    Parameters
    ----------
    function : callable
    label : str
        For errors.

    Raises
    ------
    ValuesError
        Naming what the function works with that cannot be told from a changed one.
    """
    try:
        return _Walk().digest(function, label)
    except RecursionError as err:
        raise ValuesError(f"{label} is nested too deeply to be told from others") from err


class _Walk:
    """A walk through all that a value is made of, once for each value."""

    def __init__(self) -> None:
        # With the values, so that none is freed and its id given to another.
        self._known: dict[int, tuple[object, bytes]] = {}
        self._begun: dict[int, int] = {}

    def digest(self, value: object, name: str) -> bytes:
        """Digest of a value; of one that holds itself, how far up it was met."""
        key = id(value)
        if key in self._known:
            return self._known[key][1]
        if key in self._begun:
            return str(len(self._begun) - self._begun[key]).encode()
        self._begun[key] = len(self._begun)
        own, children = _taken_apart(value, name)
        found = [self.digest(child, child_name) for child_name, child in children]
        del self._begun[key]
        if isinstance(value, set | frozenset):
            found.sort()
        text = own.encode() if isinstance(own, str) else own
        hashed = hashlib.blake2b(digest_size=16)
        for part in (type(value).__qualname__.encode(), text, *found):
            hashed.update(len(part).to_bytes(8, "little") + part)
        self._known[key] = value, hashed.digest()
        return hashed.digest()


def _taken_apart(value: Any, name: str) -> _Parts:  # Any: whatever functions hold
    """A value as a text and other values."""
    if isinstance(value, _PLAIN) and type(value).__module__ == "builtins":
        return repr(value), []
    if type(value) in (tuple, list, set, frozenset):
        return "", [(name, item) for item in value]
    if type(value) in (dict, types.MappingProxyType):
        return "", [(name, part) for pair in value.items() for part in pair]
    if isinstance(value, np.ndarray | np.generic | np.dtype | np.ufunc):
        return _of_numpy(value, name)
    if isinstance(value, types.CodeType):
        return _of_code(value, name)
    return _of_callable(value, name) or _of_object(value, name)


def _of_numpy(value: Any, name: str) -> _Parts:
    """An array, a scalar, a dtype, or a function of NumPy's kind."""
    if isinstance(value, np.dtype):
        return repr(value), []
    if isinstance(value, np.ufunc):
        called = str(getattr(value, "__name__", ""))
        for home in ("numpy", "scipy.special"):
            if getattr(sys.modules.get(home), called, None) is value:
                return f"{home}.{called} {_version_of(home)}", []
        raise _refusal(value, name)
    array = np.asarray(value)
    if array.dtype.hasobject:
        return f"{array.dtype} {array.shape}", [(name, item) for item in array.ravel().tolist()]
    return f"{array.dtype} {array.shape} ".encode() + array.tobytes(), []


def _of_code(code: types.CodeType, name: str) -> _Parts:
    """What is executed, without the lines it came from."""
    own = (
        code.co_code, code.co_exceptiontable, code.co_names, code.co_varnames, code.co_freevars,
        code.co_cellvars, code.co_flags, code.co_argcount, code.co_posonlyargcount,
        code.co_kwonlyargcount, platform.python_version(),
    )  # fmt: skip
    return repr(own), [(name, constant) for constant in code.co_consts]


def _of_callable(value: Any, name: str) -> _Parts | None:
    """A function, a class, or what is made of one; None for anything else."""
    known = _in_library(value)
    if known is not None:
        return known, []
    if isinstance(value, types.FunctionType):
        return "", list(_held_by(value, name))
    if isinstance(value, type):
        kept = [(f"{name}.{k}", v) for k, v in vars(value).items() if k not in _NOISE]
        names = repr((value.__qualname__, [k for k, _ in kept]))
        return names, [*kept, *((name, base) for base in (*value.__bases__, type(value)))]
    made_of = _made_of(value)
    return None if made_of is None else ("", [(f"what {name} holds", part) for part in made_of])


def _made_of(value: Any) -> tuple[object, ...] | None:  # Any: as above
    """Parts of what wraps a function; None for anything else."""
    parts: tuple[object, ...] | None = None
    match value:
        case types.MethodType():
            parts = (value.__func__, value.__self__)
        case types.BuiltinFunctionType() if not isinstance(value.__self__, types.ModuleType):
            parts = (value.__name__, value.__self__)
        case functools.partial():
            parts = (value.func, value.args, value.keywords)
        case staticmethod() | classmethod():
            parts = (value.__func__,)
        case property():
            parts = (value.fget, value.fset, value.fdel)
        case functools.cached_property():
            parts = (value.func,)
        case types.MemberDescriptorType() | types.GetSetDescriptorType():
            parts = (value.__name__,)
        case types.MethodDescriptorType() | types.WrapperDescriptorType():
            parts = (value.__name__, value.__objclass__)
        case _ if hasattr(value, "cache_parameters"):
            parts = (value.__wrapped__,)
        case _ if type(value).__module__.startswith("numba.") and hasattr(value, "py_func"):
            parts = (value.py_func, value.targetoptions, _version_of("numba"))
    return parts


def _of_object(value: Any, name: str) -> _Parts:
    """An object of a class of the user's, of Python or NumPy: its class and its state."""
    home = type(value).__module__.partition(".")[0]
    is_foreign = _version_of(home) is not None and home not in {*sys.stdlib_module_names, "numpy"}
    if is_foreign or isinstance(value, types.ModuleType):
        raise _refusal(value, name)
    try:
        reduced = value.__reduce_ex__(4)
    except (TypeError, AttributeError, ValueError, OSError) as err:
        raise _refusal(value, name) from err
    if isinstance(reduced, str):
        raise _refusal(value, name)
    lists = [list(part) if isinstance(part, Iterator) else part for part in reduced]
    return "", [(f"the state of {name}", part) for part in lists]


def _refusal(value: object, name: str) -> ValuesError:
    kind = type(value)
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return ValuesError(f"{name} is a {where}{kind.__qualname__}")


def _held_by(function: types.FunctionType, name: str) -> Iterator[tuple[str, object]]:
    """Code, defaults, closure, attributes, and what the names in the code stand for."""
    code = function.__code__
    yield name, code
    yield f"a default of {name}", (function.__defaults__, function.__kwdefaults__)
    for free, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            held = cell.cell_contents
        except ValueError:
            held = ("not set",)
        yield from _reached(f"{free!r} in {name}", held, _names_in(code))
    yield f"an attribute of {name}", function.__dict__
    for kind, used in sorted({*_uses_of(code)}):
        where = f"{used!r} in {name}"
        if kind == "module":
            __import__(used)
            yield from _reached(where, sys.modules[used], _names_in(code))
        elif used in function.__globals__:
            yield from _reached(where, function.__globals__[used], _names_in(code))
        elif used in _OPAQUE:
            raise ValuesError(f"{where} may read anything")
        else:
            yield where, used


def _uses_of(code: types.CodeType) -> Iterator[tuple[str, str]]:
    """Global names and modules that code and the functions in it look up."""
    for step in dis.get_instructions(code):
        if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
            yield "name", str(step.argval)
        elif step.opname == "IMPORT_NAME":
            yield "module", str(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _uses_of(constant)


def _names_in(code: types.CodeType) -> frozenset[str]:
    """Names of all attributes that code and the functions in it may ask for."""
    inner = [_names_in(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return frozenset(code.co_names).union(*inner)


def _reached(
    name: str, value: object, names: frozenset[str], within: tuple[object, ...] = ()
) -> Iterator[tuple[str, object]]:
    """A value; of a module that is no library, what some names stand for in it."""
    if not isinstance(value, types.ModuleType) or _in_library(value) is not None:
        yield name, value
    elif value not in within:
        yield name, value.__name__
        for used in sorted(names & vars(value).keys()):
            yield from _reached(f"{used!r} of {name}", vars(value)[used], names, (*within, value))


def _in_library(value: Any) -> str | None:
    """Name and version of what a library has under its name; None for anything else."""
    if isinstance(value, types.ModuleType):
        version = _version_of(value.__name__)
        return None if version is None else f"{value.__name__} {version}"
    home, path = getattr(value, "__module__", None), str(getattr(value, "__qualname__", ""))
    found: Any = sys.modules.get(home) if isinstance(home, str) else None
    for step in path.split("."):
        found = getattr(found, step, None)
    if found is not value or not isinstance(home, str):
        return None
    version = _version_of(home)
    return None if version is None else f"{home}.{path} {version}"


@functools.cache
def _version_of(module: str) -> str | None:
    """Version of the library that a module belongs to; None for code of the user's own."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == "builtins":
        return platform.python_version()
    home = sys.modules.get(top)
    file = getattr(home, "__file__", None)
    installed = {Path(sysconfig.get_paths()[kind]).resolve() for kind in ("purelib", "platlib")}
    if file is None or installed.isdisjoint(Path(file).resolve().parents):
        return None
    version = getattr(home, "__version__", None)
    if version is None:
        try:
            version = importlib.metadata.version(top)
        except importlib.metadata.PackageNotFoundError:
            return None
    return str(version)
