"""Compiled kernels that know their sources.

numba keeps machine code on disk and compiles a function anew when its own file has changed. A
kernel that another file's kernel is inlined into has that other code inside, and would keep it:
so the stamp of every cached kernel covers the sources of all of them. It is made of what they hold,
not of their dates, which images of containers cut to seconds.

numba looks only into folders that it can write to. What was compiled when an image was made is
found by users who may only read it, too.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numba as nb

from zoneraster.errors import warn

_PACKAGE = Path(__file__).parents[1]
# Where kernels are; a test finds those that are elsewhere.
SOURCES = (
    "_burn/*.py",
    "_zones/simple.py",
    "_zones/wkb.py",
    "_stats/cut.py",
    "_stats/families/*.py",
)


def _digest_of_sources() -> str:
    digest = hashlib.blake2b(digest_size=16)
    for pattern in SOURCES:
        for path in sorted(_PACKAGE.glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


_STAMP = _digest_of_sources()


# Any, here and below: kernels are typed by numba, when they are called.
def _compiled(function: Any, **options: Any) -> Any:
    dispatcher = nb.njit(nogil=True, **options)(function)
    if dispatcher is function:  # without a compiler
        return function
    _keep(dispatcher)
    # As numba sees it, 0 where it is written down is a type of its own: a kernel that another one
    # calls with it, and with a variable later, would be compiled twice.
    resolve = dispatcher.get_call_template
    dispatcher.get_call_template = lambda args, kws: resolve(
        tuple(map(nb.types.unliteral, args)),
        {name: nb.types.unliteral(kind) for name, kind in kws.items()},
    )
    return dispatcher


def _keep(dispatcher: Any) -> None:
    """Let numba keep machine code on disk, and take what lies where it can only be read."""
    given = nb.config.CACHE_DIR
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # nowhere can be written
        nb.config.CACHE_DIR = _passing_folder()
        dispatcher.enable_caching()
        nb.config.CACHE_DIR = given
    cache, file = dispatcher._cache, Path(dispatcher.py_func.__code__.co_filename)
    first = file.parent / "__pycache__"
    if given:
        first = Path(given) / cache._impl.locator.get_suitable_cache_subpath(str(file))
    files = cache._cache_file
    # What numba compares with the stamp in its index.
    files._source_stamp = _STAMP
    cache.places = [files]
    if first != Path(cache.cache_path) and first.is_dir():
        read_only = type(files)(str(first), cache._impl.filename_base, _STAMP)
        cache.places.append(read_only)
        load = files.load
        files.load = lambda key: load(key) or read_only.load(key)


@functools.cache
def _passing_folder() -> str:
    """A folder for this process alone, of which nothing is left."""
    path = tempfile.mkdtemp(prefix="zoneraster-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    if not any(_PACKAGE.glob("_burn/__pycache__/*.nbi")) and not nb.config.CACHE_DIR:
        warn(
            f"compiled kernels cannot be kept, neither in {_PACKAGE} nor in the folder of the "
            "user's caches, so that each process will compile its own: set NUMBA_CACHE_DIR to a "
            "folder that can be written"
        )
    return path


def kept_in(kernel: Any) -> Path:
    """The folder below which numba keeps machine code of all kernels, as it does that of one."""
    cache = getattr(kernel, "_cache", None)
    folder = _PACKAGE if cache is None else Path(cache.cache_path)
    return _PACKAGE if folder.is_relative_to(_PACKAGE) else folder.parent


def is_compiled(kernel: Any) -> bool:
    """Whether a kernel need not be compiled: it is loaded or on disk, or is plain Python."""
    cache = getattr(kernel, "_cache", None)
    return cache is None or bool(kernel.overloads) or any(p._load_index() for p in cache.places)


def kernel(function: Any) -> Any:
    """Compile a function over arrays and numbers, without the GIL, cached on disk."""
    return _compiled(function)


def inlined(function: Any) -> Any:
    """As `kernel`, for helpers of a few lines that are inlined where they are called."""
    return _compiled(function, inline="always")
