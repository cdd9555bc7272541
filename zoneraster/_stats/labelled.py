"""Tables that take what is known of their columns along: into xarray, Parquet, CSV and Zarr."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoneraster._store import geoparquet_metadata

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

# Where pandas looks for `DataFrame.attrs` in a Parquet file.
_PANDAS_ATTRS = b"PANDAS_ATTRS"


def with_labels(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table, whose own `to_xarray` gives units, and attributes along the zones alone."""
    # Not a class of its own: tables are compared and pickled as those of pandas.
    object.__setattr__(frame, "to_xarray", lambda: as_dataset(frame))
    return frame


def as_dataset(frame: pd.DataFrame) -> xr.Dataset:
    """A table as a Dataset: a dimension for each level of the index, statistics as variables.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `zonal_stats` gives it: the zones are its first level.

    Returns
    -------
    xarray.Dataset
        Statistics with the attribute `units` where it is known; attributes of zones as coordinates
        along the zones; the audit as JSON.
    """
    import pandas as pd  # noqa: PLC0415 - slow import
    import xarray as xr  # noqa: PLC0415 - slow import

    shown = [name for name in frame.attrs.get("attributes", ()) if name in frame]
    made = xr.Dataset.from_dataframe(pd.DataFrame(frame.drop(columns=shown)))
    zones = next(iter(made.sizes))
    if shown:
        level = frame.index.get_level_values(0)
        first = frame[shown][~level.duplicated()]
        first.index = level[~level.duplicated()]
        first = first.reindex(made.indexes[zones])
        columns = {name: (zones, np.asarray(first[name])) for name in shown}
        made = made.assign_coords(columns)
    for name, unit in frame.attrs.get("units", {}).items():
        if name in made:
            made[name].attrs["units"] = unit
    if "audit" in frame.attrs:
        made.attrs["audit"] = json.dumps(finite(frame.attrs["audit"]), allow_nan=False)
    return made


def finite(said: Any) -> Any:  # Any: JSON
    """The same with null for NaN and infinities, which JSON does not have."""
    if isinstance(said, dict):
        return {name: finite(value) for name, value in said.items()}
    if isinstance(said, list | tuple):
        return [finite(value) for value in said]
    is_number = isinstance(said, float | np.floating)
    return None if is_number and not np.isfinite(said) else said


# ---- files -------------------------------------------------------------------------------------


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Parquet: the index as columns of its own names, units with each column."""
    frame = _with_names(frame)
    if "geometry" in frame:
        shapes: Any = frame  # Any: geopandas has no types
        table = pa.table(shapes.to_arrow(index=True, geometry_encoding="WKB"))
        table = table.replace_schema_metadata(geoparquet_metadata(shapes.crs.to_json_dict()))
    else:
        table = pa.Table.from_pandas(frame, preserve_index=True)
    units = frame.attrs.get("units", {})
    fields = [
        field.with_metadata({"units": units[field.name]}) if field.name in units else field
        for field in table.schema
    ]
    said = json.dumps(finite(frame.attrs), allow_nan=False, default=str)
    schema = pa.schema(fields, {**(table.schema.metadata or {}), _PANDAS_ATTRS: said.encode()})
    pq.write_table(table.cast(schema), path)


def write_vectors(frame: pd.DataFrame, path: Path) -> None:
    """A GeoPackage or GeoJSON: the index as columns of its own names, and the polygons."""
    shapes: Any = _with_names(frame).reset_index()  # Any: geopandas has no types
    # A time with the unit that GDAL has.
    for name in shapes.select_dtypes("datetime").columns:
        shapes[name] = shapes[name].astype("datetime64[ms]")
    if path.suffix.lower() == ".gpkg":
        # GDAL's own ids in a column of their own, so that one called "fid" stays.
        shapes.to_file(path, layer="zones", driver="GPKG", FID="ogc_fid")
    else:
        shapes.to_file(path, driver="GeoJSON")


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """CSV, and beside it what is known of its columns, as "CSV on the Web" has it."""
    frame = _with_names(frame)
    frame.to_csv(path)


def csv_metadata(frame: pd.DataFrame, name: str) -> bytes:
    """Columns and units of a CSV of some name: JSON of "CSV on the Web"."""
    frame = _with_names(frame)
    units = frame.attrs.get("units", {})
    columns: list[dict[str, str]] = []
    for column in [*frame.index.names, *frame.columns]:
        columns.append({"name": str(column), "titles": str(column)})
        if column in units:
            columns[-1]["schema:unitText"] = units[column]
    said = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": name,
        "tableSchema": {"columns": columns},
        "notes": [{"audit": finite(frame.attrs.get("audit", {}))}],
    }
    return json.dumps(said, indent=1, allow_nan=False, default=str).encode()


def write_zarr(frame: pd.DataFrame, path: Path) -> None:
    """Zarr, consolidated so that it opens at once and without a warning."""
    dataset = as_dataset(_with_names(frame))
    with warnings.catch_warnings():
        # Consolidated metadata is not in the v3 specification yet; readers use it all the same.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        dataset.to_zarr(path, mode="w-", consolidated=True)


def _with_names(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with a name for each level of the index: files have no columns without."""
    taken = {*frame.columns, *frame.index.names}
    names: list[Any] = []  # Any: the user's
    for number, name in enumerate(frame.index.names):
        free = "index" if number == 0 and "index" not in taken else f"level_{number}"
        names.append(free if name is None else name)
    return frame.rename_axis(index=names)
