"""Compiled kernels that know their sources.

numba keeps machine code on disk and compiles a function anew when its own file has changed. A
kernel that another file's kernel is inlined into has that other code inside, and would keep it:
so the stamp of every cached kernel covers the sources of all of them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numba as nb

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
    dispatcher = nb.njit(nogil=True, cache=True, **options)(function)
    # What numba compares with the stamp in its index; without a compiler there is none.
    files = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if files is not None:
        files._source_stamp = (files._source_stamp, _STAMP)
    resolve = getattr(dispatcher, "get_call_template", None)
    if resolve is not None:
        # As numba sees it, 0 where it is written down is a type of its own: a kernel that another
        # one calls with it, and with a variable later, would be compiled twice.
        dispatcher.get_call_template = lambda args, kws: resolve(
            tuple(map(nb.types.unliteral, args)),
            {name: nb.types.unliteral(kind) for name, kind in kws.items()},
        )
    return dispatcher


def kernel(function: Any) -> Any:
    """Compile a function over arrays and numbers, without the GIL, cached on disk."""
    return _compiled(function)


def inlined(function: Any) -> Any:
    """As `kernel`, for helpers of a few lines that are inlined where they are called."""
    return _compiled(function, inline="always")
