"""The command line: each verb parses, makes one library call and prints."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

import zoneraster as zr
from zoneraster import options, words
from zoneraster.errors import (
    BuildInterrupted,
    IdleOption,
    WorkerDiedError,
    ZonerasterError,
    nearest,
)
from zoneraster.notation import raster_of
from zoneraster.shell import completion_script, in_flags, warnings_as_lines, without_warnings

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

        def said(text: object) -> str:
            verb = ctx.invoked_subcommand
            return in_flags(str(text), self.get_command(ctx, verb) if verb else None)

        try:
            with warnings_as_lines(said):
                return super().invoke(ctx)
        except zr.StoreBusyError as err:
            _fail(said(err), EXIT_BUSY)
        except WorkerDiedError as err:
            _fail(f"{said(err)}\ngo on with: {_own_command()}", EXIT_WORKER)
        except BuildInterrupted as err:
            _stop(said(err), err.__context__)
        except KeyboardInterrupt as err:
            _stop("stopped; what is done is safe", err)
        except (ZonerasterError, IdleOption, ValueError, OSError, ImportError) as err:
            _fail(said(err), EXIT_INPUT)
        except MemoryError:
            _fail("out of memory: use fewer --workers, or smaller chunks", EXIT_INPUT)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb; a wrong one is named with the likely one."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            verbs = nearest(name, self.list_commands(ctx), all_of_them=True)
            ctx.fail(f"no command {name!r}: {verbs}")
        return super().resolve_command(ctx, args)


def _fail(text: str, code: int) -> NoReturn:
    click.echo(f"zoneraster: {text}", err=True)
    sys.exit(code)


def _stop(text: str, cause: BaseException | None) -> NoReturn:
    """Leave at Ctrl-C or SIGTERM, with the line that goes on."""
    click.echo(f"\nzoneraster: {text}\ngo on with: {_own_command()}", err=True)
    _exit_now(EXIT_TERMINATED if isinstance(cause, _Terminated) else EXIT_INTERRUPT)


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
        from zoneraster.output import json_text  # noqa: PLC0415 - keep --help quick, here and below

        said = result if isinstance(result, dict) else result.to_dict()
        click.echo(json_text(said))
    else:
        verb = click.get_current_context().command
        click.echo(in_flags(without_warnings(str(result)), verb))


def _split(asked: dict[str, Any]) -> dict[str, Any]:
    """Replace the grid options by the grid itself."""
    names = ("resolution", "bounds", "crs", "like", "global_30m", "snap")
    grid = words.grid_of(*(asked.pop(name) for name in names))
    return {"grid": grid, **asked}


@click.group(
    cls=_Main, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True
)
@click.version_option(zr.__version__, prog_name="zoneraster")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Zone rasters of any size, and statistics of rasters by zone."""
    if ctx.invoked_subcommand is None:
        click.echo(options.FIRST_LINES)


@main.command(
    cls=words.BoundsCommand,
    epilog=options.example("zoneraster build parks.gpkg parks.zarr --like cover.tif --key park"),
)
@click.argument("zones", type=click.Path())
@options.store_argument
@options.plan_options
@options.run_options
@options.part_option
@options.json_option
def build(
    zones: str, store: str, part: tuple[int, int] | None, as_json: bool, **asked: Any
) -> None:
    """Burn ZONES into STORE; resumes and updates."""
    asked = _split(asked)
    if part is None:
        result: Any = zr.build(zones, store, progress=not as_json, **asked)
    else:
        result = zr.build_part(zones, store, part, progress=not as_json, **asked)
    _print(result, as_json=as_json)


@main.command(
    cls=words.BoundsCommand,
    epilog=options.example("zoneraster plan parks.gpkg parks.zarr --like cover.tif --key park"),
)
@click.argument("zones", type=click.Path())
@options.store_argument
@options.plan_options
@options.json_option
def plan(zones: str, store: str, as_json: bool, **asked: Any) -> None:
    """Plan STORE: which zones touch which chunk."""
    result = zr.plan(zones, store, progress=not as_json, **_split(asked))
    _print(result, as_json=as_json)


@main.command(epilog=options.example("zoneraster run parks.zarr --workers 2"))
@options.store_argument
@options.run_options
@options.part_option
@options.json_option
def run(store: str, as_json: bool, **asked: Any) -> None:
    """Burn what the plan of STORE asks for and is not done."""
    result = zr.run(store, progress=not as_json, **asked)
    _print(result, as_json=as_json)


@main.command(epilog=options.example("zoneraster finish parks.zarr"))
@options.store_argument
@options.json_option
def finish(store: str, as_json: bool, **place: Any) -> None:
    """Close STORE when all of it is burned: delete strays, add up counts."""
    _print(zr.finish(store, progress=not as_json, **place), as_json=as_json)


@main.command(epilog=options.example("zoneraster status parks.zarr"))
@options.store_argument
@options.json_option
def status(store: str, as_json: bool, **place: Any) -> None:
    """How far a build is; also while it runs."""
    _print(zr.status(store, **place), as_json=as_json)


@main.command(epilog=options.example("zoneraster verify parks.zarr --deep 2%"))
@options.store_argument
@click.option("--deep", default="0%", help="Share of chunks to burn again: 2% or 0.02.")
@options.json_option
def verify(store: str, deep: str, as_json: bool, **place: Any) -> None:
    """Compare every stored byte with its receipt."""
    try:
        share = float(deep.removesuffix("%")) / (100 if deep.endswith("%") else 1)
    except ValueError:
        raise click.BadParameter(f"--deep {deep!r}: give a share like 2% or 0.02") from None
    report = zr.verify(store, deep=share, **place)
    _print(report, as_json=as_json)
    sys.exit(0 if report.ok else 1)


@main.command(epilog=options.example("zoneraster info parks.zarr --json"))
@options.store_argument
@options.json_option
def info(store: str, as_json: bool, **place: Any) -> None:
    """What a store says about itself."""
    said = zr.info(store, **place)
    if as_json:
        _print(said, as_json=True)
        return
    from zoneraster.output import info_text  # noqa: PLC0415

    click.echo(info_text(said))


@main.command(
    cls=words.BoundsCommand,
    epilog=options.example("zoneraster plot parks.zarr parks.png --width 800"),
)
@options.store_argument
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--table", type=click.Path(), help="A .parquet or .csv of stats: draw values of it.")
@click.option("--column", help="Of the table, or without one of the zones: colour zones by it.")
@click.option("--names", help="Column of the zones: write it where it fits.")
@click.option("--title", help="Above the map.")
@click.option("--source", help="Below the map: whose data these are.")
@click.option("--width", type=click.IntRange(64, 8192), default=1600, show_default=True)
@click.option("--bounds", nargs=4, type=float, help="West, south, east, north.")
@options.overwrite_option
def plot(
    store: str,
    picture: Path,
    storage_options: dict[str, Any] | None,
    overwrite: bool,
    **how: Any,
) -> None:
    """Draw STORE as a map: its zones, or a column of a table."""
    from zoneraster import output  # noqa: PLC0415
    from zoneraster.maps import PICTURES  # noqa: PLC0415

    output.check_output(picture, suffixes=PICTURES, overwrite=overwrite)
    with output.replacing(picture) as new:
        zr.plot(store, picture=new, storage_options=storage_options, **how)
    click.echo(str(picture))


@main.command(
    cls=options.StatsCommand,
    epilog=options.example(
        "zoneraster stats parks.gpkg cover.tif --key park --stats mean,max --output table.csv"
    ),
)
@click.argument("zones_given", metavar="ZONES", type=click.Path())
@click.argument("values", nargs=-1, type=click.Path())
@options.storage_option
@click.option(
    "--stats",
    callback=words.words_of,
    shell_complete=options.complete_stats,
    help="Names, with commas.  [default: count,sum,mean; without VALUES pixels,area]",
)
@click.option(
    "--by", multiple=True, help="NAME=PATH, NAME=PATH:1,2,5-9, NAME=PATH:1=forest: group by labels."
)
@click.option("--thresholds", multiple=True, help="NAME=PATH:10,30,50: group cumulatively.")
@click.option(
    "--weights", type=click.Path(), help="PATH: a raster that weights the values, as people do."
)
@click.option(
    "--where",
    multiple=True,
    help="'PATH >= NUMBER', 'PATH in 1,5-9', 'PATH is valid', with and, or, not; all must hold.",
)
@options.value_options
@click.option("--area", type=click.Choice(["m2", "ha", "km2"]), help="Unit of areas.")
@options.choice(
    "--zones", "claimed", "owned", text="Pixels of several zones: for each, or the owner."
)
@options.pixels_option
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
@options.overwrite_option
@options.worker_options
@options.json_option
def stats(
    zones_given: str, values: tuple[str, ...], by: tuple[str, ...], thresholds: tuple[str, ...],
    where: tuple[str, ...], select: tuple[str, ...], bbox: tuple[float, float, float, float] | None,
    weights: str | None, output: Path | None, overwrite: bool, as_json: bool, **asked: Any,
) -> None:  # fmt: skip
    """Zonal statistics of VALUES ([NAME=]PATH ...) in ZONES: a store, polygons or labels.

    A PATH is a file, a Zarr, a folder of tiles or a pattern such as 'tiles/*.tif'. Behind any PATH
    may stand how it is read: PATH[band=2,nodata=255,crs=EPSG:4326,units=percent].
    """
    from zoneraster import output as written  # noqa: PLC0415

    if output is not None:
        written.check_output(output, suffixes=tuple(written.WRITERS), overwrite=overwrite)
        asked["geometry"] |= output.suffix.lower() in written.WITH_POLYGONS
    elif overwrite:
        raise click.UsageError("--overwrite changes nothing without --output: leave it out")
    words.check_storage(asked["storage_options"], zones_given, asked["checkpoint"])
    table = zr.zonal_stats(
        raster_of(zones_given),
        words.measures_of(values, words.defaults_of(asked)),
        weights=None if weights is None else raster_of(weights),
        by=words.keys_of(by, thresholds) or None,
        where=words.condition_of(where),
        select=words.selection_of(select, bbox),
        progress=not as_json,
        **asked,
    )
    if output is not None:
        written.write_stats(table, output)
    if as_json:
        said = written.stats_json(table)
        _print({"output": str(output), **said} if output else said, as_json=True)
    else:
        click.echo(written.stats_text(table))


@main.command(epilog=options.example("zoneraster sets sets.zarr"))
@options.store_argument
@options.json_option
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


@main.command(epilog=options.example("zoneraster cells parks.zarr cells.parquet --pixels fraction"))
@options.store_argument
@click.argument("output", type=click.Path(path_type=Path))
@click.argument("values", nargs=-1, type=click.Path())
@options.pixels_option
@click.option("--window", nargs=4, type=int, help="Rows and columns: ROW0 ROW1 COL0 COL1.")
@click.option("--zones", callback=words.words_of, help="Keys, with commas: only these zones.")
@click.option("--resample", help="nearest, average, ...: for rasters on another lattice.")
@options.overwrite_option
@options.json_option
def cells(
    store: str,
    output: Path,
    values: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Write the pixels of all zones of STORE to OUTPUT, a .parquet.

    Stretches of rows, or with VALUES ([NAME=]PATH ...) a row for each pixel with their values.
    """
    from zoneraster import output as written  # noqa: PLC0415

    written.check_output(output, suffixes=(".parquet",), overwrite=overwrite)
    if asked["resample"] and not values:
        raise click.UsageError("--resample changes nothing without VALUES: leave it out")
    with written.replacing(output) as new:
        n = written.write_cells(zr.cells(store, words.measures_of(values), **asked), new)
    what = "pixels" if values else "stretches"
    if as_json:
        _print({"output": str(output), what: n}, as_json=True)
    else:
        click.echo(f"{output}: {n:,} {'pixels' if values else 'stretches of pixels'}")


@main.command(epilog=options.example("zoneraster demo counties"))
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False), default="zoneraster-demo"
)
@click.option("--workers", type=click.IntRange(1, 4096), help="Threads.")
@options.json_option
def demo(folder: Path, workers: int | None, as_json: bool) -> None:
    """Build the 30 m raster of all US counties in FOLDER."""
    from zoneraster.demo import run_demo  # noqa: PLC0415

    result = run_demo(folder, workers=workers, progress=not as_json)
    _print(result, as_json=as_json)


@main.command(epilog=options.example("zoneraster warm"))
@click.option("--workers", type=click.IntRange(1, 4096), help="Processes.")
@options.json_option
def warm(workers: int | None, as_json: bool) -> None:
    """Compile all kernels, for images and clusters: no later call waits for that."""
    _print(zr.warm(workers=workers, progress=not as_json), as_json=as_json)


@main.command(epilog=options.example('eval "$(zoneraster completion bash)"'))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what lets SHELL complete verbs, options and files; put the line into its start file."""
    click.echo(completion_script(main, shell))


if __name__ == "__main__":
    main(prog_name="zoneraster")
