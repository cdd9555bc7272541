"""The command line: each verb parses, makes one library call and prints."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

import zoneraster as zr
from zoneraster import words
from zoneraster.errors import BuildInterrupted, WorkerDiedError, ZonerasterError
from zoneraster.notation import in_words, raster_of
from zoneraster.output import (
    check_output,
    json_text,
    progress_bars,
    replacing,
    warnings_as_lines,
    without_warnings,
)

# Exit codes: wrong input or options, and work that a killed worker, another build or a signal
# stopped.
EXIT_INPUT, EXIT_WORKER, EXIT_BUSY, EXIT_INTERRUPT, EXIT_TERMINATED = 2, 71, 75, 130, 143


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it before it kills."""


def _on_terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated


class _Main(click.Group):
    """The group of verbs: turns our errors into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:  # Any: click's own signature
        """Run a verb."""
        signal.signal(signal.SIGTERM, _on_terminate)
        try:
            with warnings_as_lines(in_words):
                return super().invoke(ctx)
        except zr.StoreBusyError as err:
            _fail(err, EXIT_BUSY)
        except WorkerDiedError as err:
            click.echo(f"zoneraster: {err}\ngo on with: {_own_command()}", err=True)
            sys.exit(EXIT_WORKER)
        except BuildInterrupted as err:
            asked = isinstance(err.__context__, _Terminated)
            click.echo(f"\nzoneraster: {err}\ngo on with: {_own_command()}", err=True)
            _exit_now(EXIT_TERMINATED if asked else EXIT_INTERRUPT)
        except KeyboardInterrupt as err:
            click.echo("\nzoneraster: stopped; finished batches are safe", err=True)
            _exit_now(EXIT_TERMINATED if isinstance(err, _Terminated) else EXIT_INTERRUPT)
        except (ZonerasterError, ValueError, OSError, ImportError) as err:
            _fail(err, EXIT_INPUT)


def _fail(err: Exception, code: int) -> NoReturn:
    click.echo(f"zoneraster: {in_words(str(err))}", err=True)
    sys.exit(code)


def _exit_now(code: int) -> NoReturn:
    """Leave without waiting for threads that a second Ctrl-C meant to stop."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _own_command() -> str:
    """The command line as it was given, quoted for a shell."""
    import shlex  # noqa: PLC0415 - only when interrupted

    return shlex.join(["zoneraster", *sys.argv[1:]])


def _print(result: Any, *, as_json: bool) -> None:  # Any: one of our reports, or a dict
    if as_json:
        said = result if isinstance(result, dict) else result.to_dict()
        click.echo(json_text(said))
    else:
        click.echo(without_warnings(str(result)))


Command = Callable[..., Any]


_storage_option = click.option(
    "--storage-option",
    "storage_options",
    multiple=True,
    callback=words.storage_options,
    metavar="KEY=VALUE",
    help="Option of fsspec for the store, several times.",
)


def _store_argument(command: Command) -> Command:
    """STORE, and the options of its place."""
    return click.argument("store", type=click.Path())(_storage_option(command))


def _choice(
    name: str, *choices: str, text: str, is_kept: bool = False
) -> Callable[[Command], Command]:
    """An option that is one of some words, by default the first, or what a store has."""
    kind = click.Choice(choices)
    if is_kept:
        text += f"  [default: the store's, or {choices[0]}]"
        return click.option(name, type=kind, help=text)
    return click.option(name, type=kind, default=choices[0], show_default=True, help=text)


def _plan_options(command: Command) -> Command:
    """Options that decide the bytes of a store."""
    options: list[Callable[[Command], Command]] = [
        click.option("--resolution", help="Units of the CRS per pixel; 1/3600 is exact."),
        click.option("--bounds", nargs=4, type=float, help="West, south, east, north (the globe)."),
        click.option("--crs", help="CRS of the grid.  [default: EPSG:4326]"),
        click.option("--like", help="Take the grid of this raster."),
        click.option("--global-30m", is_flag=True, help="The globe at 0.00025 degree."),
        click.option("--key", help="Column or ids (fid) that name zones; else rows from 0."),
        _choice(
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
        _choice("--on-invalid", "error", "skip", "repair", text="Rows that cannot be burned."),
        _choice(
            "--integrity",
            "receipt",
            "crc32c",
            is_kept=True,
            text="Add Zarr's checksum codec, or not.",
        ),
        _choice(
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


def _worker_options(command: Command) -> Command:
    """Who does the tasks."""
    option = _choice("--executor", "threads", "processes", "serial", text="Where tasks run.")
    how_many = click.option("--workers", type=click.IntRange(1, 4096), help="Threads or processes.")
    return how_many(option(command))


def _run_options(command: Command) -> Command:
    """Options of whatever burns."""
    option = click.option("--check/--no-check", default=None, help="Compare chunks that are done.")
    return _worker_options(option(command))


_part_option = click.option("--part", callback=words.part_of, help="Part I/N of a job array.")
_pixels_option = click.option(
    "--pixels",
    type=click.Choice(["centre", "touched", "fraction"]),
    help="Which pixels a zone has.  [default: those that the store was burned by]",
)
_overwrite_option = click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _split(options: dict[str, Any]) -> dict[str, Any]:
    """Replace the grid options by the grid itself."""
    names = ("resolution", "bounds", "crs", "like", "global_30m")
    grid = words.grid_of(*(options.pop(name) for name in names))
    return {"grid": grid, **options}


def _value_options(command: Command) -> Command:
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


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(zr.__version__, prog_name="zoneraster")
def main() -> None:
    """Zone rasters of any size: plan, burn, resume, verify."""


@main.command(cls=words.BoundsCommand)
@click.argument("zones", type=click.Path())
@_store_argument
@_plan_options
@_run_options
@_part_option
@_json_option
def build(
    zones: str, store: str, part: tuple[int, int] | None, as_json: bool, **options: Any
) -> None:
    """Burn ZONES into STORE; resumes and updates."""
    options = _split(options)
    grid = options["grid"]
    pixels = grid.height * grid.width if grid else 0
    with progress_bars(quiet=as_json, pixels=pixels) as progress:
        if part is None:
            result: Any = zr.build(zones, store, progress=progress, **options)
        else:
            result = zr.build_part(zones, store, part, progress=progress, **options)
    _print(result, as_json=as_json)


@main.command(cls=words.BoundsCommand)
@click.argument("zones", type=click.Path())
@_store_argument
@_plan_options
@_json_option
def plan(zones: str, store: str, as_json: bool, **options: Any) -> None:
    """Plan STORE: which zones touch which chunk."""
    with progress_bars(quiet=as_json) as progress:
        result = zr.plan(zones, store, progress=progress, **_split(options))
    _print(result, as_json=as_json)


@main.command()
@_store_argument
@_run_options
@_part_option
@_json_option
def run(store: str, as_json: bool, **options: Any) -> None:
    """Burn what the plan of STORE asks for and is not done."""
    with progress_bars(quiet=as_json) as progress:
        result = zr.run(store, progress=progress, **options)
    _print(result, as_json=as_json)


@main.command()
@_store_argument
@_json_option
def finish(store: str, as_json: bool, **place: Any) -> None:
    """Close STORE when all of it is burned: delete strays, add up counts."""
    _print(zr.finish(store, **place), as_json=as_json)


@main.command()
@_store_argument
@_json_option
def status(store: str, as_json: bool, **place: Any) -> None:
    """How far a build is; also while it runs."""
    _print(zr.status(store, **place), as_json=as_json)


@main.command()
@_store_argument
@click.option("--deep", default="0%", help="Share of chunks to burn again: 2% or 0.02.")
@_json_option
def verify(store: str, deep: str, as_json: bool, **place: Any) -> None:
    """Compare every stored byte with its receipt."""
    try:
        share = float(deep.removesuffix("%")) / (100 if deep.endswith("%") else 1)
    except ValueError:
        raise click.BadParameter(f"--deep {deep!r}: give a share like 2% or 0.02") from None
    report = zr.verify(store, deep=share, **place)
    _print(report, as_json=as_json)
    sys.exit(0 if report.ok else 1)


@main.command()
@_store_argument
@_json_option
def info(store: str, as_json: bool, **place: Any) -> None:
    """What a store says about itself."""
    said = zr.info(store, **place)
    if as_json:
        _print(said, as_json=True)
        return
    from zoneraster.output import info_text  # noqa: PLC0415 - keep the other verbs quick

    click.echo(info_text(said))


@main.command(cls=words.BoundsCommand)
@_store_argument
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--table", type=click.Path(), help="A .parquet or .csv of stats: draw values of it.")
@click.option("--column", help="Of the table, or without one of the zones: colour zones by it.")
@click.option("--names", help="Column of the zones: write it where it fits.")
@click.option("--title", help="Above the map.")
@click.option("--source", help="Below the map: whose data these are.")
@click.option("--width", type=click.IntRange(64, 8192), default=1600, show_default=True)
@click.option("--bounds", nargs=4, type=float, help="West, south, east, north.")
@_overwrite_option
def plot(
    store: str,
    picture: Path,
    storage_options: dict[str, Any] | None,
    overwrite: bool,
    **how: Any,
) -> None:
    """Draw STORE as a map: its zones, or a column of a table."""
    from zoneraster.maps import PICTURES  # noqa: PLC0415 - keep the other verbs quick

    check_output(picture, suffixes=PICTURES, overwrite=overwrite)
    with replacing(picture) as new:
        zr.plot(store, picture=new, storage_options=storage_options, **how)
    click.echo(str(picture))


@main.command(cls=words.BoundsCommand)
@click.argument("zones_given", metavar="ZONES", type=click.Path())
@click.argument("values", nargs=-1)
@_storage_option
@click.option(
    "--stats",
    callback=words.words_of,
    help="Names, with commas.  [default: count,sum,mean; without VALUES pixels,area]",
)
@click.option(
    "--by", multiple=True, help="NAME=PATH, NAME=PATH:1,2,5-9, NAME=PATH:1=forest: group by labels."
)
@click.option("--thresholds", multiple=True, help="NAME=PATH:10,30,50: group cumulatively.")
@click.option("--weights", help="PATH: a raster that weights the values, as people do.")
@click.option(
    "--where",
    multiple=True,
    help="'PATH >= NUMBER', 'PATH in 1,5-9', 'PATH is valid', with and, or, not; all must hold.",
)
@_value_options
@click.option("--area", type=click.Choice(["m2", "ha", "km2"]), help="Unit of areas.")
@_choice("--zones", "claimed", "owned", text="Pixels of several zones: for each, or the owner.")
@_pixels_option
@click.option("--select", multiple=True, help="Keys A,B or COLUMN=A,B: these zones; all hold.")
@click.option("--bbox", nargs=4, type=float, help="Zones that meet west, south, east, north.")
@click.option("--roll-up", multiple=True, help="Column of the zones to merge them by.")
@click.option("--attributes", callback=words.words_of, default="", help="Columns of the zones.")
@click.option("--geometry", is_flag=True, help="Polygons too; .gpkg and .geojson have them anyway.")
@click.option("--key", help="Polygons: column or ids (fid) that name them; else rows from 0.")
@click.option(
    "--on-invalid",
    type=click.Choice(["error", "skip", "repair"]),
    help="Polygons: rows that cannot be burned.",
)
@click.option("--assume-crs", help="Polygons: CRS where they declare none.")
@click.option("--layer", help="Polygons: layer of a file with several.")
@click.option("--resample", help="nearest, average, ...: for rasters on another lattice.")
@click.option("--exact/--bounded", default=True, help="Quantiles of floats: exact, or to 1/256.")
@click.option("--checkpoint", type=click.Path(), help="Folder of partials, to resume and update.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A .parquet, .csv, .zarr, .gpkg or .geojson.",
)
@_overwrite_option
@_worker_options
@_json_option
def stats(
    zones_given: str, values: tuple[str, ...], by: tuple[str, ...], thresholds: tuple[str, ...],
    where: tuple[str, ...], select: tuple[str, ...], bbox: tuple[float, float, float, float] | None,
    weights: str | None, output: Path | None, overwrite: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Zonal statistics of VALUES ([NAME=]PATH ...) in ZONES: a store, polygons or labels.

    A PATH is a file, a Zarr, a folder of tiles or a pattern such as 'tiles/*.tif'. Behind any PATH
    may stand how it is read: PATH[band=2,nodata=255,crs=EPSG:4326,units=percent].
    """
    from zoneraster import output as written  # noqa: PLC0415 - keep the other verbs quick

    if output is not None:
        check_output(output, suffixes=tuple(written.WRITERS), overwrite=overwrite)
        options["geometry"] |= output.suffix.lower() in written.WITH_POLYGONS
    with progress_bars(quiet=as_json) as progress:
        table = zr.zonal_stats(
            raster_of(zones_given),
            words.measures_of(values, words.defaults_of(options)),
            weights=None if weights is None else raster_of(weights),
            by=words.keys_of(by, thresholds) or None,
            where=words.condition_of(where),
            select=words.selection_of(select, bbox),
            progress=progress,
            **options,
        )
    if output is not None:
        written.write_stats(table, output)
    if as_json:
        said = written.stats_json(table)
        _print({"output": str(output), **said} if output else said, as_json=True)
    else:
        click.echo(written.stats_text(table))


@main.command()
@_store_argument
@_json_option
def sets(store: str, as_json: bool, **place: Any) -> None:
    """Zones that share pixels, and how many, of a STORE built with --overlap sets."""
    table = zr.sets(store, **place)
    if as_json:
        _print({"sets": table.to_dict("records")}, as_json=True)
        return
    shown = table.head(20).to_string(index=False)
    click.echo(shown if len(table) else "no two zones share a pixel")
    if len(table) > 20:
        click.echo(f"... {len(table) - 20:,} more rows, all in {store}/sets.parquet")


@main.command()
@_store_argument
@click.argument("output", type=click.Path(path_type=Path))
@click.argument("values", nargs=-1)
@_pixels_option
@click.option("--window", nargs=4, type=int, help="Rows and columns: ROW0 ROW1 COL0 COL1.")
@click.option("--zones", callback=words.words_of, help="Keys, with commas: only these zones.")
@click.option("--resample", help="nearest, average, ...: for rasters on another lattice.")
@_overwrite_option
@_json_option
def cells(
    store: str,
    output: Path,
    values: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write the pixels of all zones of STORE to OUTPUT, a .parquet.

    Stretches of rows, or with VALUES ([NAME=]PATH ...) a row for each pixel with their values.
    """
    from zoneraster.output import write_cells  # noqa: PLC0415 - keep the other verbs quick

    check_output(output, suffixes=(".parquet",), overwrite=overwrite)
    with replacing(output) as new:
        n = write_cells(zr.cells(store, words.measures_of(values), **options), new)
    what = "pixels" if values else "stretches"
    if as_json:
        _print({"output": str(output), what: n}, as_json=True)
    else:
        click.echo(f"{output}: {n:,} {'pixels' if values else 'stretches of pixels'}")


@main.command()
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False), default="zoneraster-demo"
)
@click.option("--workers", type=click.IntRange(1, 4096), help="Threads.")
@_json_option
def demo(folder: Path, workers: int | None, as_json: bool) -> None:
    """Build the 30 m raster of all US counties in FOLDER."""
    from zoneraster.demo import run_demo  # noqa: PLC0415 - keep the other verbs quick

    with progress_bars(quiet=as_json) as progress:
        result = run_demo(folder, workers=workers, progress=progress)
    _print(result, as_json=as_json)


if __name__ == "__main__":
    main()
