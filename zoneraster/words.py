"""Words of the command line: which grids, rasters, keys, conditions and places they stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

import zoneraster as zr
from zoneraster.notation import condition, labelled, named, names_twice, raster_of, stem_of_path

# ---- places and parts ----------------------------------------------------------------------------


def part_of(
    _ctx: click.Context, _param: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    """I/N, a part of a job array."""
    if text is None:
        return None
    try:
        first, second = (int(n) for n in text.split("/"))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not of the form I/N, like 3/100") from None
    if not 1 <= first <= second:
        raise click.BadParameter(f"{text}: I must be from 1 to N")
    return first, second


def storage_options(
    _ctx: click.Context, _param: click.Parameter, texts: Sequence[str]
) -> dict[str, Any] | None:
    """Options of a place; values are JSON where they are JSON, else text."""
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{text!r} is not of the form KEY=VALUE, like anon=true")
        if name in options:
            raise click.BadParameter(f"{name!r} is given twice")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options or None


def check_storage(options: dict[str, Any] | None, *places: str | None) -> None:
    """Refuse options of a place elsewhere where all places are on this machine."""
    if options and not any("://" in place for place in places if place):
        named = " ".join(f"--storage-option {name}=..." for name in options)
        raise click.UsageError(f"{named} changes nothing for files of this machine: leave it out")


def words_of(_ctx: click.Context, _param: click.Parameter, text: str | None) -> list[str] | None:
    """Names with commas between them."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


# ---- grids ---------------------------------------------------------------------------------------


_BOXES = ("--bounds", "--bbox")


class BoundsCommand(click.Command):
    """A verb whose ``--bounds`` may have spaces or commas between its four numbers."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what is left when commas are gone."""
        return super().parse_args(ctx, _without_commas(args))


def _without_commas(args: Sequence[str]) -> list[str]:
    """The same arguments with ``--bounds W S E N``, or --bbox, however they were written."""
    spread: list[str] = []
    waiting = list(args)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        spread.append(name if name in _BOXES else word)
        if name not in _BOXES:
            continue
        if equals:
            waiting.insert(0, value)
        numbers: list[str] = []
        while waiting and len(numbers) < 4 and not waiting[0].startswith("--"):
            numbers += waiting.pop(0).replace(",", " ").split()
        if len(numbers) > 4:
            raise click.UsageError(f"{name} takes four numbers, not {len(numbers)}: W S E N")
        spread += numbers
    return spread


def grid_of(
    resolution: str | None,
    bounds: tuple[float, float, float, float] | None,
    crs: str | None,
    like: str | None,
    global_30m: bool,
    snap: bool = False,
) -> zr.Grid | None:
    """The grid that the options name; None when they name none (then the store has one)."""
    named = [
        text
        for text, given in (
            ("--resolution", resolution), ("--like", like), ("--global-30m", global_30m)
        )
        if given
    ]  # fmt: skip
    if len(named) > 1:
        raise click.UsageError(f"{' and '.join(named)} exclude each other")
    if snap and bounds is None:
        raise click.UsageError(
            "--snap changes nothing without --bounds: give them, or leave it out"
        )
    for text, given in (("--bounds", bounds), ("--crs", crs)):
        if given and resolution is None:
            because = f", and {named[0]} has its own" if named else ""
            raise click.UsageError(f"{text} needs --resolution{because}")
    if global_30m:
        return zr.GLOBAL_30M
    if like:
        return zr.grid_like(like)
    if resolution is None:
        return None
    crs = crs or "EPSG:4326"
    make = zr.Grid.covering if snap else zr.Grid.from_bounds
    return make(bounds or _globe(crs), resolution, crs)


def _globe(crs: str) -> tuple[float, float, float, float]:
    """Bounds where none are given: only degrees have some of their own."""
    from zoneraster._grid import checked_crs, is_in_degrees  # noqa: PLC0415 - keep --help quick

    if not is_in_degrees(checked_crs(crs)):
        raise click.UsageError(f"--bounds is needed: {crs} is not in degrees")
    return -180, -90, 180, 90


# ---- rasters -------------------------------------------------------------------------------------


def keys_of(by: Sequence[str], thresholds: Sequence[str]) -> dict[str, Any]:
    """Keys of --by and --thresholds."""
    keys: dict[str, Any] = {}
    for text, is_cumulative in [*((t, False) for t in by), *((t, True) for t in thresholds)]:
        before, labels = labelled(text)
        name, path = named(before)
        if name is None or (is_cumulative and not isinstance(labels, list)):
            form = (
                "NAME=PATH:10,30,50"
                if is_cumulative
                else "NAME=PATH, NAME=PATH:1,2,5-9 or NAME=PATH:1=forest,2=crop"
            )
            raise click.BadParameter(f"{text!r} is not of the form {form}")
        if name in keys:
            raise click.BadParameter(f"two keys are named {name!r}")
        raster = raster_of(path)
        if is_cumulative and isinstance(labels, list):
            keys[name] = zr.thresholds(raster, labels)
        else:
            keys[name] = zr.labels(raster, labels)
    return keys


def condition_of(texts: Sequence[str]) -> Any:  # Any: a predicate, or None
    """All conditions together."""
    found: Any = None
    for text in texts:
        one = condition(text)
        found = one if found is None else found & one
    return found


def selection_of(texts: Sequence[str], bbox: Sequence[float] | None) -> Any:
    """Keys, columns with values or a box: what zonal_stats takes to select zones by, or None."""
    if bbox is not None:
        if texts:
            raise click.UsageError("--select and --bbox exclude each other")
        west, south, east, north = bbox
        if west > east or south > north:
            raise click.BadParameter(f"--bbox {bbox}: it is west, south, east, north")
        import shapely  # noqa: PLC0415 - slow import

        return shapely.box(west, south, east, north)
    columns: dict[str, list[str]] = {}
    keys: list[str] = []
    for text in texts:
        name, equals, values = text.partition("=")
        found = columns.setdefault(name, []) if equals else keys
        found += [word.strip() for word in (values if equals else text).split(",")]
    if columns and keys:
        raise click.UsageError("--select has keys and columns: give COLUMN=A,B for the key, too")
    return columns or keys or None


def defaults_of(options: dict[str, Any]) -> dict[str, Any]:
    """Take --band, --nodata and their like out of options: what `raster_of` takes, hence Any."""
    said = {name: options.pop(name) for name in ("variable", "band", "units")}
    said["crs"] = options.pop("values_crs")
    numbers = [int(n) if float(n).is_integer() else n for n in options.pop("nodata")]
    said["nodata"] = numbers or None
    return {name: value for name, value in said.items() if value is not None}


def measures_of(
    values: Sequence[str], defaults: Mapping[str, Any] | None = None
) -> Any:  # Any: what zonal_stats takes
    """What is to be reduced, by name; a single path keeps the name that its raster has.

    Parameters
    ----------
    values : sequence of str
    defaults : mapping, optional
        Options of all rasters that do not say otherwise.
    """
    found = [named(text) for text in values]
    if not found:
        return None
    if len(found) == 1 and found[0][0] is None:
        return raster_of(found[0][1], defaults)
    measures: dict[str, list[str]] = {}
    for name, path in found:
        measures.setdefault(name or stem_of_path(path), []).append(path)
    for name, paths in measures.items():
        if len(paths) > 1:
            raise names_twice(name, paths)
    return {name: raster_of(paths[0], defaults) for name, paths in measures.items()}
