"""What notebooks show of a record: its title, its fields and its warnings, as HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape


def record_html(title: str, fields: Mapping[str, object], notes: Sequence[str] = ()) -> str:
    """A small table.

    Parameters
    ----------
    title : str
    fields : mapping of name to value
        Those of a mapping within it are shown behind its name.
    notes : sequence of str
        Warnings, listed below.
    """
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(text_of(value))}</td></tr>'
        for name, value in _flat(fields)
    )
    table = f"<table><caption>{escape(title)}</caption>{rows}</table>"
    return table + (f"<ul>{''.join(f'<li>{escape(n)}</li>' for n in notes)}</ul>" if notes else "")


def text_of(value: object) -> str:
    """A value as people write it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.10g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(text_of, value)) or "-"
    return str(value)


def _flat(fields: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """Names and values, those of inner mappings in the place of these."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}: ")
        else:
            yield f"{before}{name}", value
