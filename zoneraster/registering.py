"""Arrays of xarray get their accessor `zones`, whichever of the two packages is imported first."""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoneraster.accessor import ZonesAccessor


def register_with_xarray() -> None:
    """Give arrays of xarray the accessor: now, or when xarray is imported.

    xarray is slow to import, and who builds a store on the command line needs none of it. It knows
    no entry point for accessors.
    """
    if "xarray" in sys.modules:
        _register(sys.modules["xarray"])
    else:
        sys.meta_path.insert(0, _Finder())


def _register(xarray: Any) -> None:  # Any: the module
    for register in (xarray.register_dataarray_accessor, xarray.register_dataset_accessor):
        register("zones")(_accessor_of)


def _accessor_of(array: Any) -> ZonesAccessor:  # Any: an array or a Dataset
    """The accessor of an array, whose room is opened when it is first asked for."""
    from zoneraster.accessor import ZonesAccessor  # noqa: PLC0415 - slow import

    return ZonesAccessor(array)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds xarray as the others do, with a loader that registers the accessor behind it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of xarray; None for any other module."""
        if fullname != "xarray":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((one for one in found if one is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec


class _Loader(importlib.abc.Loader):
    """A loader of others, and what is to be done when it is through."""

    def __init__(self, loader: importlib.abc.Loader, finder: _Finder) -> None:
        self._loader, self._finder = loader, finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The module that the loader makes."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Load it, and register."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
            _register(module)
