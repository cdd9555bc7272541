"""The accessor `zones` of xarray: statistics of an array, and the zones of an opened store."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zoneraster._build import open_sets, open_zones
from zoneraster._grid import crs_name
from zoneraster._stats import zonal_stats
from zoneraster._store import ARRAY, load_spec, require_spec
from zoneraster._zones import given_name
from zoneraster.blobs import Location
from zoneraster.errors import StoreError, ValuesError, ZonesError, name_some
from zoneraster.notebook import record_html, text_of
from zoneraster.painting import column_of, has_sets, painting_of, rows_of_zones

if TYPE_CHECKING:
    import geopandas
    import pandas as pd
    import xarray as xr


class ZonesAccessor:
    """What `zones` of a DataArray or a Dataset has.

    Parameters
    ----------
    array : xarray.DataArray or xarray.Dataset
        Values; or what `zoneraster.open` returned, or a part of it: then the zones of that store
        can be asked for.
    """

    def __init__(self, array: xr.DataArray | xr.Dataset) -> None:
        self._given = array

    # ---- values ---------------------------------------------------------------------------------

    def stats(self, zones: Any, **options: Any) -> pd.DataFrame:  # Any: as zonal_stats takes them
        """Zonal statistics of this array, or of each variable of this Dataset.

        Parameters
        ----------
        zones : path or URL of a store or of polygons, frame, labels, or what `zoneraster.open` gave
        **options
            All others of `zoneraster.zonal_stats`, which says what is returned and raised.
        """
        if self._place is not None:
            raise ValuesError(
                f"these are the zones of {self._place}, not values: "
                "values.zones.stats(zones), or zoneraster.zonal_stats(store, values)"
            )
        return zonal_stats(_store_of(zones), self._given, **options)

    # ---- zones ----------------------------------------------------------------------------------

    @property
    def table(self) -> geopandas.GeoDataFrame:
        """The zone table of the store, as `zoneraster.zones` gives it."""
        return open_zones(self._store)

    @property
    def names(self) -> pd.Series[Any]:  # Any: keys are the user's
        """What the ids stand for: the key of each zone, by its id in the array."""
        table, key = self._zones
        return column_of(table, key, by="zone_id").rename(given_name(key))

    def mask(self, key: Any) -> xr.DataArray:  # Any: keys are the user's
        """Pixels of a zone, or of any of several.

        Parameters
        ----------
        key : key, or list of keys

        Returns
        -------
        xarray.DataArray
            bool, as lazy as the array is: what the zones own, and with ``overlap="sets"`` all that
            they claim.

        Raises
        ------
        ZonesError
            For a key that no zone has.
        """
        names = self.names
        keys = key if isinstance(key, list) else [key]
        unknown = [one for one in keys if not (names == one).any()]
        if unknown:
            raise ZonesError(f"no zone of {self._store} has the key {name_some(unknown)}")
        ids = names.index[names.isin(keys)].to_numpy()
        if has_sets(self._store):
            sets = open_sets(self._store)
            ids = np.union1d(ids, sets["set_id"][sets["zone_id"].isin(ids)])
        found = _each_pixel(self._pixels, functools.partial(np.isin, test_elements=ids), np.bool_)
        if "layer" in found.dims:
            found = found.any("layer", keep_attrs=True)
        return found.rename("mask")

    def paint(self, values: Any, *, fill: Any = None) -> xr.DataArray:  # Any: numbers, texts
        """A value of each zone on its pixels, as lazy as the array is.

        Parameters
        ----------
        values : Series, mapping, or name of a column of the zone table
            By the key of the zones, such as ``table["mean"]`` of `zoneraster.zonal_stats`; by
            another column of the zone table where the index is named like that, as ``roll_up=``
            names it.
        fill : optional
            For pixels without a zone, and for zones without a value: by default NaN, of texts "".
            With a number integers stay integers.

        Returns
        -------
        xarray.DataArray
            Like the array of zones. A pixel that stands for a set of zones has their value where it
            is the same for all of them.

        Raises
        ------
        ValuesError
            For an index with several levels, for keys that come twice or that no zone has.
        ZonesError
            For a column that the zones do not have.
        """
        painting = painting_of(self._store, values, fill=fill)
        look_up = painting.look_up()
        found = _each_pixel(self._pixels, look_up, look_up.values.dtype).rename(painting.name)
        return found.assign_attrs(units=painting.unit) if painting.unit else found

    # ---- the store -------------------------------------------------------------------------------

    @functools.cached_property
    def _place(self) -> Location | None:
        return _place_of(self._given)

    @property
    def _store(self) -> Location:
        if self._place is None:
            raise StoreError(
                "this is no opened store, whose zones could be asked for: open one with "
                "zoneraster.open(store)"
            )
        return self._place

    @property
    def _pixels(self) -> xr.DataArray:
        """The array of ids."""
        given: Any = self._given  # Any: an array or a Dataset
        pixels: xr.DataArray | None = given.get(ARRAY) if hasattr(given, "data_vars") else given
        if self._place is None or pixels is None or pixels.name != ARRAY:
            raise StoreError(f"there are no ids of zones in it ({self._store} may hold some)")
        return pixels

    @functools.cached_property
    def _zones(self) -> tuple[Any, str]:  # Any: an Arrow table
        return rows_of_zones(self._store)

    def _said(self) -> dict[str, object]:
        """What there is to say of the store."""
        place, given = self._store, self._given
        spec = require_spec(place, place.blobs())
        step_x, step_y = map(float, spec.grid.resolution)
        return {
            "store": str(place),
            "zones": self._zones[0].num_rows,
            "key": given_name(self._zones[1]),
            "pixels here": " x ".join(f"{n:,}" for n in given.sizes.values()),
            "pixels": " x ".join(f"{n:,}" for n in spec.grid.shape),
            "resolution": f"{step_x:g} x {step_y:g}",
            "bounds": spec.grid.bounds,
            "reference system": crs_name(spec.grid.crs),
            "overlap": spec.overlap,
        }

    def __repr__(self) -> str:
        if self._place is None:
            return "zones of other places: .stats(zones)"
        return "\n".join(f"{name:<17} {text_of(value)}" for name, value in self._said().items())

    def _repr_html_(self) -> str:
        if self._place is None:
            return f"<code>{self!r}</code>"
        return record_html("zones", self._said())


def _place_of(array: Any) -> Location | None:  # Any: an array or a Dataset
    """Where a store lies that was opened by `zoneraster.open`, or by xarray itself."""
    if hasattr(array, "data_vars"):
        said = (one.encoding.get("zone_store") for one in array.data_vars.values())
        found = next((one for one in said if one is not None), None)
        if found is None and ARRAY in array and "source" in array.encoding:
            place = Location.of(array.encoding["source"])
            return place if load_spec(place, place.blobs()) is not None else None
    else:
        found = array.encoding.get("zone_store")
    return found if isinstance(found, Location) else None


def _store_of(zones: Any) -> Any:  # Any: as zonal_stats takes them
    """The store where its Dataset or array is given, anything else as it is."""
    place = _place_of(zones) if hasattr(zones, "dims") and hasattr(zones, "encoding") else None
    if place is None:
        return zones
    shape = require_spec(place, place.blobs()).grid.shape
    here = tuple(zones.sizes[name] for name in ("y", "x") if name in zones.sizes)
    if here != shape:
        raise ZonesError(
            f"the zones are cut to {here} of {shape} pixels of {place}, and what lies beyond "
            f"would be missing: give {str(place)!r}, with select= where not all zones are meant"
        )
    return place


# ---- pixels --------------------------------------------------------------------------------------


def _each_pixel(
    pixels: xr.DataArray, function: Any, dtype: npt.DTypeLike
) -> xr.DataArray:  # Any: of one array
    """A function of the ids, chunk by chunk where they are lazy."""
    import xarray as xr  # noqa: PLC0415 - slow import

    found: xr.DataArray = xr.apply_ufunc(
        function, pixels, dask="parallelized", output_dtypes=[dtype]
    )
    kept = {name: pixels.attrs[name] for name in ("grid_mapping",) if name in pixels.attrs}
    return found.assign_attrs(kept)
