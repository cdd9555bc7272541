"""What the library says, in the words of the command line.

Errors and warnings speak Python: ``assume_crs=`` is an option, ``values=...`` an argument. Whoever
types a command has flags: here each word of Python becomes the flag of the command that runs, so
that no message has to be written twice.
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

import click
from click.shell_completion import get_completion_class

from zoneraster.errors import IdleOption, ZonerasterWarning
from zoneraster.notation import in_words

# How a line begins that tells of a warning.
BANG = "  ! "
# Several flags stand for a grid.
_GRID = "--resolution or --like"
# Code that nothing on the command line stands for, once brackets stand for `Raster`.
_INSIDE = r"\((?:[^()]|\([^()]*\))*\)"
_CODE = rf"(?:zr\.)?(?:Raster|Grid|Stat){_INSIDE}|\b(?:array|obj)\.\w[\w.]*(?:{_INSIDE}(?:\.\w+)*)+"
# A value: a text, dots, brackets, or what a number or a word is made of.
_BRACKETS = r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}"
_VALUE = rf"'[^']*'|\"[^\"]*\"|\.\.\.|{_BRACKETS}|-?\w[\w.+-]*\w|-?\w"
# An option with its value; not what stands in a path or a comparison.
_OPTION = re.compile(
    rf"(?P<code>{_CODE})"
    rf"|(?<![\w./\\=(\[,-])\b(?P<name>[a-z]\w*)=(?!=)(?P<value>{_VALUE})?"
)
# What Python has and a shell has not, and what helps there.
_PHRASES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r", the path of a raster, or Grid\.from_bounds\(\.\.\.\)", " RASTER, or --global-30m"),
        (r"Grid\.covering\(\.\.\.\)", "--snap"),
        (r"zr\.cells\(store, pixels='(\w+)'\)", r"zoneraster cells --pixels \1"),
        (r", or give a zr\.Stat\b", ""),
        (r"zr\.thresholds for ranges, or list the labels with zr\.labels",
         "--thresholds for ranges, or list the labels, --by NAME=PATH:1,2,3"),
        (r", or open it with xarray and give the DataArray", ""),
        (r", or a dask-geopandas frame of many", ""),
        (r", a GeoDataFrame, a GeoSeries or a dask-geopandas frame", ""),
        (r"(, e\.g\. )?zone\.fillna\(0\)\.astype\('uint32'\)", ""),
    )
)  # fmt: skip


def in_flags(text: str, command: click.Command | None) -> str:
    """A message in which options of Python are those of a command.

    Parameters
    ----------
    text : str
    command : click.Command or None
        The verb that runs; words that it has no flag for stay as they are.
    """
    text = in_words(text)
    for pattern, instead in _PHRASES:
        text = pattern.sub(instead, text)
    params = {} if command is None else {str(param.name): param for param in command.params}
    return _OPTION.sub(lambda match: _flag(match, params), text)


def _flag(match: re.Match[str], params: Mapping[str, click.Parameter]) -> str:
    """The flag that an option of Python has, with its value as it is typed."""
    if match["code"]:
        return f"{match['code']} (in Python)"
    name, text = match["name"], match["value"] or ""
    value = _value_of(text)
    if name == "select" and isinstance(value, tuple) and "bbox" in params:
        name = "bbox"
    param = params.get(name)
    if name == "exact" and isinstance(param, click.Option):
        return param.opts[0] if value is not False else param.secondary_opts[0]
    if isinstance(param, click.Option):
        said = max(param.opts, key=len)
        if param.is_flag:
            is_off = value is False and bool(param.secondary_opts)
            return param.secondary_opts[0] if is_off else said
        shown = _typed(value, several=param.nargs != 1)
        if text == "..." and isinstance(param.type, click.Path):
            shown = "PATH"
        return f"{said} {shown}" if shown else said
    if isinstance(param, click.Argument):
        return param.human_readable_name.upper()
    return _GRID if name == "grid" and "resolution" in params else match[0]


def _value_of(text: str) -> Any:  # Any: whatever a message shows
    """The value behind an option; None where none is shown."""
    if text in {"", "..."}:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _typed(value: Any, *, several: bool) -> str:
    """A value as a shell takes it; nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return " ".join(shlex.quote(f"{name}={_plain(one)}") for name, one in value.items())
    if several and isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return shlex.quote(_plain(value))


def _plain(value: Any) -> str:  # Any: as above
    """A value as text; of several with commas between them."""
    if isinstance(value, list | tuple):
        return ",".join(map(_plain, value))
    if value is ...:
        return "PATH"
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextmanager
def warnings_as_lines(said: Callable[[object], str] = str) -> Iterator[None]:
    """Our warnings become lines on stderr, ``  ! text``, at once and however often they come.

    An option that changes nothing is an error here: nobody reads that line in a script.

    Parameters
    ----------
    said : callable
        The text of a warning in the words of the command line.
    """
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
                sys.stderr.write(f"{BANG}{said(message)}\n")
                sys.stderr.flush()
            else:
                shown(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        if not sys.warnoptions:
            warnings.simplefilter("always", ZonerasterWarning)
        warnings.simplefilter("error", IdleOption)
        yield


def without_warnings(text: str) -> str:
    """The text of a report without its warnings, which stderr has shown already."""
    return "\n".join(line for line in text.split("\n") if not line.startswith(BANG))


def completion_script(command: click.Command, shell: str) -> str:
    """What a shell reads to complete the words of a command."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    return kind(command, {}, "zoneraster", "_ZONERASTER_COMPLETE").source()
