"""Names for annotations: arrays, and packages that are slow to import."""

from __future__ import annotations

import importlib
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Objects: TypeAlias = npt.NDArray[np.object_]
# int64 or float64, as the values are.
Numbers: TypeAlias = npt.NDArray[Any]

# What is covered of pixels that are whole: nothing need be said.
WHOLE: Floats = np.zeros(0)


class Later:
    """A package that is imported when a name of it is first asked for.

    Annotations of what is public name tables and arrays of packages that are slow to import. They
    are to be found in the room by whoever looks annotations up (`typing.get_type_hints`), and cost
    nothing as long as nobody does.

    Parameters
    ----------
    package : str
    """

    def __init__(self, package: str) -> None:
        self.package = package

    def __getattr__(self, name: str) -> Any:  # Any: whatever the package has
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.package), name)
