"""Options of the verbs of the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from zoneraster import words

Command = Callable[..., Any]


storage_option = click.option(
    "--storage-option",
    "storage_options",
    multiple=True,
    callback=words.storage_options,
    metavar="KEY=VALUE",
    help="Option of fsspec for the store, several times.",
)


def store_argument(command: Command) -> Command:
    """STORE, and the options of its place."""
    return click.argument("store", type=click.Path())(storage_option(command))


def choice(
    name: str, *choices: str, text: str, is_kept: bool = False
) -> Callable[[Command], Command]:
    """An option that is one of some words, by default the first, or what a store has."""
    kind = click.Choice(choices)
    if is_kept:
        text += f"  [default: the store's, or {choices[0]}]"
        return click.option(name, type=kind, help=text)
    return click.option(name, type=kind, default=choices[0], show_default=True, help=text)


def plan_options(command: Command) -> Command:
    """Options that decide the bytes of a store."""
    options: list[Callable[[Command], Command]] = [
        click.option("--resolution", help="Units of the CRS per pixel; 1/3600 is exact."),
        click.option("--bounds", nargs=4, type=float, help="West, south, east, north (the globe)."),
        click.option("--crs", help="CRS of the grid.  [default: EPSG:4326]"),
        click.option("--like", type=click.Path(), help="Take the grid of this raster."),
        click.option("--snap", is_flag=True, help="Widen --bounds to whole steps of --resolution."),
        click.option("--global-30m", is_flag=True, help="The globe at 0.00025 degree."),
        click.option("--key", help="Column or ids (fid) that name zones; else rows from 0."),
        choice(
            "--overlap",
            "last",
            "first",
            "error",
            "sets",
            "layers",
            is_kept=True,
            text="Who gets what several zones claim.",
        ),
        click.option("--priority", help="Numeric column; the higher is painted later; -COLUMN."),
        click.option(
            "--all-touched/--centres",
            default=None,
            help="Burn every pixel an edge passes through, or pixel centres.",
        ),
        click.option("--min-pixels", type=click.IntRange(0, 1), help="[default: 0]"),
        click.option(
            "--chunks", type=int, help="Side of a chunk.  [default: the store's, or 4000]"
        ),
        choice("--on-invalid", "error", "skip", "repair", text="Rows that cannot be burned."),
        choice(
            "--integrity",
            "receipt",
            "crc32c",
            is_kept=True,
            text="Add Zarr's checksum codec, or not.",
        ),
        choice(
            "--product",
            "ids",
            "cover",
            "percent",
            "count",
            is_kept=True,
            text="Zone ids, covered parts of pixels, or zones per pixel.",
        ),
        click.option("--assume-crs", help="CRS of zones that declare none."),
        click.option("--layer", help="Layer of a file with several."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def worker_options(command: Command) -> Command:
    """Who does the tasks."""
    option = choice("--executor", "threads", "processes", "serial", text="Where tasks run.")
    how_many = click.option("--workers", type=click.IntRange(1, 4096), help="Threads or processes.")
    return how_many(option(command))


def run_options(command: Command) -> Command:
    """Options of whatever burns."""
    option = click.option("--check/--no-check", default=None, help="Compare chunks that are done.")
    return worker_options(option(command))


def value_options(command: Command) -> Command:
    """How VALUES are read that do not say it in brackets."""
    for option in (
        click.option("--variable", help="VALUES: variable of a Zarr or NetCDF with several."),
        click.option("--band", type=int, help="VALUES: band of a file with several, from 1."),
        click.option(
            "--nodata", multiple=True, type=float, help="VALUES: a number that is no value, too."
        ),
        click.option("--units", help="VALUES: their units, such as Mg/ha."),
        click.option("--values-crs", help="VALUES: CRS to take in place of theirs."),
    ):
        command = option(command)
    return command


part_option = click.option("--part", callback=words.part_of, help="Part I/N of a job array.")
pixels_option = click.option(
    "--pixels",
    type=click.Choice(["centre", "touched", "fraction"]),
    help="Which pixels a zone has.  [default: those that the store was burned by]",
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def example(line: str) -> str:
    """What the help of a verb ends in: one whole line that works.

    The files are those of the documentation: polygons `parks.gpkg` with the columns park and
    region, a raster `cover.tif`, and the store `parks.zarr` of both.
    """
    return f"\b\nExample:\n  {line}"


def complete_stats(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> Sequence[str]:
    """Names of statistics behind the last comma."""
    from zoneraster._stats import STATISTICS  # noqa: PLC0415 - keep --help quick, here and below

    done, comma, last = incomplete.rpartition(",")
    return [f"{done}{comma}{name}" for name in STATISTICS if name.startswith(last)]


class StatsCommand(words.BoundsCommand):
    """A verb whose help ends in the names of all statistics."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example, and the names."""
        from zoneraster._stats import STATISTICS  # noqa: PLC0415

        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"Statistics: {', '.join(STATISTICS)}; quantiles like q0.9.")


# What `zoneraster` alone says.
FIRST_LINES = """\
zoneraster stats parks.gpkg cover.tif                     # a raster by zone, at once
zoneraster build parks.gpkg parks.zarr --like cover.tif   # a store of the zones, to use again
zoneraster stats parks.zarr cover.tif --output table.csv  # by the zones of the store, as a file
zoneraster --help                                         # all commands; each has --help"""
