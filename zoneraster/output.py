"""What the command line shows and writes: texts for people, JSON, files of tables."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from zoneraster._grid import Grid
from zoneraster._stats import (
    csv_metadata,
    finite,
    write_csv,
    write_parquet,
    write_vectors,
    write_zarr,
)
from zoneraster.blobs import PRIVATE
from zoneraster.errors import ZonerasterError, number_of, told_as

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_CURE = "mend that, or choose another place"


def info_text(said: dict[str, Any]) -> str:  # Any: JSON
    """`info` as lines for people."""
    spec, status, report = said["spec"], said["status"], said["report"]
    grid = Grid.from_dict(spec["grid"])
    rows, cols = grid.shape
    lines = [
        said["store"],
        f"  grid     {cols:,} x {rows:,} px of {grid.resolution[0]}, {grid.crs.name}",
        f"  bounds   {grid.bounds}",
        f"  chunks   {spec['chunks'][0]} x {spec['chunks'][1]} px, {spec['dtype']}",
        f"  zones    {said['plan']['n_zones']:,} by {spec['key']!r}, overlap {spec['overlap']!r}"
        + (f" ({spec['n_layers']})" if "n_layers" in spec else ""),
        f"  done     {status['chunks_done']:,} of {status['chunks']:,} chunks"
        + (", finished" if status["finished"] else ""),
    ]
    if report is not None:
        lines.append(f"  stored   {report['nbytes']:,} bytes in {report['chunks']:,} chunks")
        lines += [f"  ! {text}" for text in report["warnings"]]
    return "\n".join(lines)


def stats_text(table: pd.DataFrame, *, rows: int = 20) -> str:
    """A table of statistics as lines for people: its first rows, and where all pixels went."""
    audit = table.attrs["audit"]
    shown = table.drop(columns="geometry", errors="ignore").head(rows)
    lines = [shown.to_string(float_format="{:,.7g}".format)]
    if len(table) > rows:
        lines.append(f"... {len(table) - rows:,} more rows")
    lines += [
        "",
        f"pixels read   {audit['pixels_read']:>18,}",
        f"  in zones    {audit['in_zones']:>18,}",
        f"  no zone     {audit['no_zone']:>18,}",
    ]
    if "covered" in audit:
        lines.append(f"  covered     {_pixels_text(audit['covered']):>18}")
    if audit["excluded"]:
        lines.append(f"  excluded    {_pixels_text(audit['excluded']):>18} of those in zones")
    words = {"filled": "in chunks that are not stored or where no tile lies"}
    for name, counts in audit["measures"].items():
        numbers = [f"{_pixels_text(n)} {words.get(what, what)}" for what, n in counts.items()]
        lines += [
            f"  {name}: {', '.join(numbers)}",
            f"    taken for granted: {_assumed_text(audit['assumed'][name])}",
        ]
    if "weights" in audit:
        lines.append(f"  weights {audit['weights']['assumed']['name']}")
        lines.append(f"    taken for granted: {_assumed_text(audit['weights']['assumed'])}")
        for name, met in audit["weights"]["measures"].items():
            said = f"{_pixels_text(met['valid'])} valid, {_pixels_text(met['without'])} without"
            lines.append(f"    {name}: {said}, in all {met['total']:,.6g}")
    for name, counts in audit["keys"].items():
        said = ", ".join(f"{_pixels_text(n)} {what}" for what, n in counts.items() if n)
        if said:
            lines.append(f"  ! key {name}: {said}")
    return "\n".join(lines)


def _pixels_text(n: float) -> str:
    """A number of pixels, or what of them is covered."""
    return f"{n:,}" if isinstance(n, int) else f"{n:,.3f}"


def _assumed_text(assumed: dict[str, Any]) -> str:  # Any: JSON
    """What is taken for granted of a raster, as one line."""
    nodata = ", ".join(map(str, assumed["nodata"])) or "none"
    said = [f"nodata {nodata}"]
    if (assumed["scale"], assumed["offset"]) != (1.0, 0.0):
        said.append(f"scale {assumed['scale']:g}, offset {assumed['offset']:g}")
    if "valid_range" in assumed:
        said.append("valid {} to {}".format(*assumed["valid_range"]))
    if "fill_value" in assumed:
        said.append(f"fill value {assumed['fill_value']}")
    if "tiles" in assumed:
        said.append(number_of(assumed["tiles"], "tile"))
    if "longitudes" in assumed:
        said.append(f"longitudes {assumed['longitudes']}")
    return "; ".join([*said, assumed["crs"], assumed["match"]])


def stats_json(table: pd.DataFrame) -> dict[str, Any]:  # Any: JSON
    """A table of statistics for JSON: rows with index and columns, units, audit; see `finite`."""
    rows, attrs = table.reset_index().to_dict("records"), table.attrs
    said = {"rows": rows, "units": attrs.get("units", {}), "audit": attrs["audit"]}
    return {name: finite(value) for name, value in said.items()}


def json_text(said: Any) -> str:  # Any: JSON, and what NumPy and pandas have for it
    """JSON that every reader takes: what is not finite is null."""

    def plain(value: object) -> object:
        return finite(value.item()) if isinstance(value, np.generic) else str(value)

    return json.dumps(finite(said), default=plain, allow_nan=False)


# ---- files -------------------------------------------------------------------------------------


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    ".parquet": write_parquet,
    ".csv": write_csv,
    ".zarr": write_zarr,
    ".gpkg": write_vectors,
    ".geojson": write_vectors,
}
# Files that are made of polygons.
WITH_POLYGONS = (".gpkg", ".geojson")


def check_output(
    path: Path, *, suffixes: Sequence[str] = tuple(WRITERS), overwrite: bool = False
) -> None:
    """Refuse a file that cannot be written, before what goes into it is made.

    Parameters
    ----------
    path : Path
    suffixes : sequence of str
        Of what can be written.
    overwrite : bool
        The file may be there.

    Raises
    ------
    ZonerasterError
    """
    if path.suffix.lower() not in suffixes:
        raise ZonerasterError(f"cannot write {path}: its name must end in {', '.join(suffixes)}")
    if not path.absolute().parent.is_dir():
        raise ZonerasterError(f"cannot write {path}: there is no folder {path.parent}")
    if path.exists() and not overwrite:
        raise ZonerasterError(
            f"cannot write {path}: it is there already; choose another name, or --overwrite it"
        )
    if path.is_dir() and not _is_table(path):
        raise ZonerasterError(
            f"cannot write {path}: it is a folder that no table was written to; choose another name"
        )
    with (
        told_as(ZonerasterError, f"cannot write {path}", _CURE),
        tempfile.TemporaryFile(dir=path.absolute().parent),
    ):
        pass  # the folder can be written to


def _is_table(path: Path) -> bool:
    """The Zarr group of a table of statistics, and nothing else."""
    try:
        said = json.loads((path / "zarr.json").read_text())
        return "audit" in said["attributes"] and not (path / PRIVATE).exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_stats(table: pd.DataFrame, path: Path) -> None:
    """Write a table of statistics as Parquet, CSV or Zarr, as the name of the file says.

    What `check_output` let pass is replaced, once all of the new is there. Beside a CSV lies what
    is known of its columns, ``NAME.csv-metadata.json``.

    Raises
    ------
    ZonerasterError
        Naming the file, when the disk is full or cannot be written.
    """
    suffix = path.suffix.lower()
    with replacing(path) as new:
        WRITERS[suffix](table, new)
    if suffix == ".csv":
        with replacing(path.with_name(f"{path.name}-metadata.json")) as new:
            new.write_bytes(csv_metadata(table, path.name))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to; what is there in the end becomes `path`, or nothing does.

    Raises
    ------
    ZonerasterError
        For whatever goes wrong meanwhile.
    """
    new, old = (
        path.with_name(f".{path.stem}.{os.getpid()}.{state}{path.suffix}")
        for state in ("partial", "old")
    )
    try:
        with told_as(ZonerasterError, f"cannot write {path}", _CURE):
            yield new
            if path.is_dir():  # no system replaces a folder that holds something
                path.rename(old)
            new.replace(path)
    finally:
        for left in (new, old):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def write_cells(cells: pa.RecordBatchReader, path: Path) -> int:
    """Write what `zoneraster.cells` gives to Parquet, batch after batch; the number of rows."""
    n = 0
    with pq.ParquetWriter(path, cells.schema, compression="zstd") as writer:
        for batch in cells:
            writer.write_batch(batch)
            n += batch.num_rows
    return n
