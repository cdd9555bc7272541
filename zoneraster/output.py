"""What the command line shows and writes: progress, texts for people, JSON, files of tables."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from zoneraster._grid import Grid
from zoneraster.errors import ZonerasterError, ZonerasterWarning

if TYPE_CHECKING:
    import pandas as pd

# How a line begins that tells of a warning.
BANG = "  ! "


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Our warnings become lines on stderr, ``  ! text``, at once and however often they come."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, ZonerasterWarning):
                sys.stderr.write(f"{BANG}{message}\n")
                sys.stderr.flush()
            else:
                shown(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        if not sys.warnoptions:
            warnings.simplefilter("always", ZonerasterWarning)
        yield


def without_warnings(text: str) -> str:
    """The text of a report without its warnings, which stderr has shown already."""
    return "\n".join(line for line in text.split("\n") if not line.startswith(BANG))


@contextmanager
def progress_bars(
    *, quiet: bool, pixels: int = 0
) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar per phase on a terminal's stderr; nothing when `quiet` or not a terminal.

    With the pixels of the grid it also shows a rate: work is weighted by crossings, so the rate is
    that of an average part of the canvas.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    with Progress(
        TextColumn("{task.description:<5}"),
        BarColumn(),
        TextColumn("{task.percentage:>5.1f}%"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
        console=console,
    ) as bars:
        known: dict[str, Any] = {}  # Any: rich's TaskID and a float
        started: dict[str, float] = {}

        def tick(phase: str, done: int, total: int) -> None:
            if phase not in known:
                known[phase] = bars.add_task(phase, total=total, rate="")
                started[phase] = time.perf_counter()
            seconds = time.perf_counter() - started[phase]
            rate = ""
            if phase == "burn" and pixels and total and seconds > 0:
                rate = f"{pixels * done / total / seconds / 1e9:.2f} Gpx/s"
            bars.update(known[phase], completed=done, total=total, rate=rate)

        yield tick


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
        f"  zones    {said['plan']['n_zones']:,} by {spec['key']!r}, overlap {spec['overlap']!r}",
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
    lines = [table.head(rows).to_string(float_format="{:,.7g}".format)]
    if len(table) > rows:
        lines.append(f"... {len(table) - rows:,} more rows")
    lines += [
        "",
        f"pixels read   {audit['pixels_read']:>18,}",
        f"  in zones    {audit['in_zones']:>18,}",
        f"  no zone     {audit['no_zone']:>18,}",
    ]
    if audit["excluded"]:
        lines.append(f"  excluded    {audit['excluded']:>18,} of those in zones")
    for name, counts in audit["measures"].items():
        said = ", ".join(f"{n:,} {what}" for what, n in counts.items())
        lines.append(f"  {name}: {said}")
    for name, counts in audit["keys"].items():
        said = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
        if said:
            lines.append(f"  ! key {name}: {said}")
    return "\n".join(lines)


def stats_json(table: pd.DataFrame) -> dict[str, Any]:  # Any: JSON
    """A table of statistics for JSON: rows with index and columns, what is not finite as null."""
    rows = table.reset_index().to_dict("records")
    return {"rows": _finite(rows), "audit": _finite(table.attrs["audit"])}


def _finite(said: Any) -> Any:  # Any: JSON
    """The same with null for NaN and infinities, which JSON does not have."""
    if isinstance(said, dict):
        return {name: _finite(value) for name, value in said.items()}
    if isinstance(said, list | tuple):
        return [_finite(value) for value in said]
    is_number = isinstance(said, float | np.floating)
    return None if is_number and not np.isfinite(said) else said


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    ".parquet": lambda table, path: table.to_parquet(path),
    ".csv": lambda table, path: table.to_csv(path),
    ".zarr": lambda table, path: table.to_xarray().to_zarr(path, mode="w-", consolidated=False),
}


def check_output(path: Path) -> None:
    """Refuse a file that a table cannot be written to, before the table is made.

    Raises
    ------
    ZonerasterError
    """
    if path.suffix.lower() not in _WRITERS:
        raise ZonerasterError(f"cannot write {path}: its name must end in {', '.join(_WRITERS)}")
    if not path.absolute().parent.is_dir():
        raise ZonerasterError(f"cannot write {path}: there is no folder {path.parent}")


def write_stats(table: pd.DataFrame, path: Path) -> None:
    """Write a table of statistics as Parquet, CSV or Zarr, as the name of the file says."""
    _WRITERS[path.suffix.lower()](table, path)
