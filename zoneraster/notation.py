"""How rasters are written on the command line: ``[NAME=]PATH[OPTION=VALUE,...][:LABELS]``.

One notation for values, keys, conditions, weights and labels: what `Raster` says in Python stands
in brackets behind a path, labels and their names behind a colon.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import click

import zoneraster as zr
from zoneraster.errors import name_some

# A name has neither what paths have between folders nor what URLs have behind their scheme.
_NAMED = re.compile(r"([^\s=:/\\\[](?:[^=:/\\\[]*[^\s=:/\\\[])?)=(.+)")
_OPTIONS = re.compile(r"(.+)\[([^\[\]]*)\]")
_OPTION = re.compile(r'\s*([a-z_]+(?:\.\w+)?)(?:=("[^"]*"|[^,"]*))?\s*(?:,|$)')
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_LABEL = re.compile(rf"({_NUMBER})(?:-([-+]?\d+))?(?:=([^,]*))?")
# What was meant for numbers, and may be none.
_NUMBERS = re.compile(r"(.+):([-+\d.,e]+)")
_CONDITION = re.compile(r"(.*\S)\s*(<=|>=|<|>|==|!=)\s*([^\s<>=!]+)")
_AMONG = re.compile(r"(.*\S)\s+in\s+(\S+)")
_VALID = re.compile(r"(.*\S)\s+is\s+valid")
_MANY = 100_000  # labels of a range
_WORDS = {"true": True, "false": False, "1": True, "0": False}


# ---- rasters -------------------------------------------------------------------------------------


def raster_of(text: str, defaults: Mapping[str, Any] | None = None) -> Any:  # Any: a path or Raster
    """PATH[OPTION=VALUE,...]; the path itself where nothing else is said.

    Parameters
    ----------
    text : str
    defaults : mapping, optional
        Options that hold where the text has none of their name.
    """
    path, written = _split_options(text)
    options = {**(defaults or {}), **_options_of(written, text)}
    return zr.Raster(path, **options) if options else path


def _split_options(text: str) -> tuple[str, str | None]:
    """A path and what stands in brackets behind it; None where that belongs to the path."""
    match = _OPTIONS.fullmatch(text)
    if match is None or is_there(text):
        return text, None
    is_said = "=" in match[2] or match[2].strip() == "raw"
    return (match[1], match[2]) if is_said else (text, None)


def _options_of(written: str | None, text: str) -> dict[str, Any]:
    """What the words in brackets say: keyword arguments of `Raster`, hence Any."""
    found: dict[str, list[str]] = {}
    at = 0
    while written is not None and at < len(written):
        match = _OPTION.match(written, at)
        if match is None:
            raise click.BadParameter(
                f"{text!r}: {written[at:]!r} is not of the form OPTION=VALUE,OPTION=VALUE"
            )
        value = match[2] if match[2] is not None else "true"
        found.setdefault(match[1], []).append(value.strip('"'))
        at = match.end()
    options: dict[str, Any] = {}
    places = {name: values for name, values in found.items() if name.startswith("storage.")}
    if places:
        options["storage_options"] = {
            name.removeprefix("storage."): _WORDS.get(values[-1].lower(), values[-1])
            for name, values in places.items()
        }
    for name, values in found.items():
        if name in places:
            continue
        if name not in _READERS:
            known = ", ".join([*_READERS, "storage.KEY"])
            raise click.BadParameter(f"{text!r}: there is no option {name!r}: there are {known}")
        try:
            options[name] = _READERS[name](values)
        except ValueError as err:
            raise click.BadParameter(f"{text!r}: {name}={','.join(values)}: {err}") from None
    return options


def number(text: str) -> int | float:
    """A number, whole where it is written so."""
    return int(text) if re.fullmatch(r"[-+]?\d+", text.strip()) else float(text)


def _one(values: list[str]) -> str:
    if len(values) != 1:
        raise ValueError("given twice")
    return values[0]


def _numbers_of(values: list[str]) -> Any:
    numbers = [number(value) for value in values]
    return numbers[0] if len(numbers) == 1 else numbers


def _truth(values: list[str]) -> bool:
    if _one(values).lower() not in _WORDS:
        raise ValueError("true or false")
    return _WORDS[values[0].lower()]


def _two(values: list[str]) -> tuple[str, str]:
    if len(values) != 2:
        raise ValueError("rows and columns are needed, dims=lat,dims=lon")
    return values[0], values[1]


_READERS: dict[str, Callable[[list[str]], Any]] = {
    "band": lambda values: int(_one(values)),
    "variable": _one,
    "nodata": _numbers_of,
    "units": _one,
    "crs": _one,
    "dims": _two,
    "raw": _truth,
    "resample": _one,
    "version": _one,
}


def named(text: str) -> tuple[str | None, str]:
    """NAME=PATH, or a PATH alone, which may hold an equals sign, too."""
    match = _NAMED.fullmatch(text)
    if match is None:
        return None, text
    if not is_there(_split_options(text)[0]):
        return match[1], match[2]
    if is_there(_split_options(match[2])[0]):
        raise click.BadParameter(
            f"{text!r} is a path, and {match[2]!r} is one, too: write ./{text} for the first, or "
            f"{match[1]}=./{match[2]} for the second"
        )
    return None, text


def is_there(path: str) -> bool:
    """There is such a file or folder."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def stem_of_path(text: str) -> str:
    """What a raster is called by its place: of tiles that a pattern names, by their folder."""
    path = PurePosixPath(_split_options(text)[0].partition("?")[0].rstrip("/"))
    while any(mark in path.name for mark in "*?[") and path.parent != path:
        path = path.parent
    return path.stem or "value"


# ---- labels --------------------------------------------------------------------------------------


def labelled(text: str) -> tuple[str, list[float] | dict[float, str] | None]:
    """PATH[...]:1,2,5-9 or PATH[...]:1=forest,5-9=2001-2005, or the rest alone.

    Returns
    -------
    str
        What stands before the colon.
    list, dict or None
        Labels; names of labels; nothing.
    """
    if is_there(text):
        return text, None
    for colon in re.finditer(":", text):
        labels = _labels_of(text[colon.end() :], text)
        if labels is not None and colon.start():
            return text[: colon.start()], labels
    match = _NUMBERS.fullmatch(text)
    if match is not None:
        raise click.BadParameter(
            f"{match[2]!r} are not numbers, like 10,30,50, or ranges and names, like 1-5 or "
            "1=forest,2=crop"
        )
    return text, None


def _labels_of(written: str, text: str) -> list[float] | dict[float, str] | None:
    """Labels with commas between them; None for anything else."""
    matches = [_LABEL.fullmatch(part) for part in written.split(",")]
    labels: list[float] = []
    names: dict[float, str] = {}
    for match in matches:
        if match is None:
            return None
        first = number(match[1])
        many = _range(first, int(match[2]), text) if match[2] is not None else [first]
        labels += many
        if match[3] is not None:
            names |= zip(many, _names_of(match[3], len(many), text), strict=True)
    if not names:
        return labels
    return {label: names.get(label, f"{label}") for label in labels}


def _range(first: float, last: int, text: str) -> list[float]:
    if not isinstance(first, int) or not first <= last < first + _MANY:
        raise click.BadParameter(f"{text!r}: {first}-{last} is no range of whole numbers, like 1-5")
    return list(range(first, last + 1))


def _names_of(written: str, n: int, text: str) -> Iterator[str]:
    """One name, or a range of as many numbers as there are labels."""
    match = re.fullmatch(r"(\d+)-(\d+)", written.strip())
    if n > 1 and match is not None and int(match[2]) - int(match[1]) == n - 1:
        return map(str, range(int(match[1]), int(match[2]) + 1))
    if n > 1 or not written.strip():
        raise click.BadParameter(
            f"{text!r}: {n:,} labels are named {written!r}: give as many names, like 1-3=2001-2003"
        )
    return iter([written.strip()])


# ---- conditions ----------------------------------------------------------------------------------


def condition(text: str) -> Any:  # Any: a predicate
    """PATH >= NUMBER, PATH in 1,2,5-9, PATH is valid, joined by and, or, not; no parentheses."""
    from zoneraster._values import Comparison, as_raster  # noqa: PLC0415 - keep --help quick

    first, is_joined, rest = text.partition(" or ")
    if is_joined:
        return condition(first) | condition(rest)
    first, is_joined, rest = text.partition(" and ")
    if is_joined:
        return condition(first) & condition(rest)
    text = text.strip()
    if text.startswith("not "):
        return ~condition(text[4:])
    if match := _VALID.fullmatch(text):
        return as_raster(raster_of(match[1])).is_valid()
    if match := _AMONG.fullmatch(text):
        labels = _labels_of(match[2], text)
        if isinstance(labels, list):
            return as_raster(raster_of(match[1])).isin(labels)
    match = _CONDITION.fullmatch(text)
    try:
        value = None if match is None else float(match[3])
    except ValueError:
        value = None
    if match is None or value is None:
        raise click.BadParameter(
            f"{text!r} is not of the form 'PATH >= NUMBER', 'PATH in 1,2,5-9' or 'PATH is valid'"
        )
    return Comparison(as_raster(raster_of(match[1])), match[2], value)


# ---- advice --------------------------------------------------------------------------------------

_ADVICE = re.compile(r"\b(?:zr\.)?Raster\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)")
_ARGUMENT = re.compile(r"(\w+)=((?:[^,()\[\]]|\([^()]*\)|\[[^\[\]]*\])+)")


def in_words(message: str) -> str:
    """A message with what it advises for Python as it is written here: ``PATH[band=1]``."""

    def written(match: re.Match[str]) -> str:
        said = []
        for name, value in _ARGUMENT.findall(match[1]):
            value = value.strip()
            if value == "True":
                said.append(name)
                continue
            inside = re.sub(r"^float\((.*)\)$", r"\1", value).strip("()[]")
            parts = [part.strip().strip("'\"") for part in inside.split(",")]
            said += [f"{name}={part}" for part in parts if part or len(parts) == 1]
        return f"PATH[{','.join(said)}]" if said else match[0]

    return _ADVICE.sub(written, message)


def names_twice(name: str, texts: list[str]) -> click.BadParameter:
    """What to say of several measures of one name."""
    return click.BadParameter(
        f"{len(texts)} measures are named {name!r} ({name_some(texts)}): give each a name of its "
        f"own, NAME={texts[0]}"
    )
