"""A sheet with a map: title, frame, names, scale, legend and source, each at a place of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pyproj import CRS

from zoneraster._grid import is_in_degrees
from zoneraster.cartography import degrees, name_places, round_length

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# West, south, east, north.
Extent: TypeAlias = tuple[float, float, float, float]

# All in pixels; a point of a letter is 100/72 of one.
_DPI = 100
_LEFT, _RIGHT, _TOP, _BELOW = 78, 26, 14, 34
_ROW, _GAP, _SWATCH, _BAR, _COLOURS = 30, 34, 20, 0.2, 300
_CORNER, _LINE, _LEAST = 36, 16, 320
_TITLE, _TEXT, _SMALL = 14.0, 10.0, 9.0
_INK, _FAINT, _ON_DARK = "#222222", "#666666", "#FFFFFF"
# Names are written in the largest of these sizes that fits, points.
_NAME_SIZES = (10.0, 8.5, 7.5)
# No name is narrower than so much of its height for each letter.
_NARROW = 0.3


@dataclass(frozen=True, slots=True)
class _Item:
    """Something of the legend: its size, and how it is drawn from its lower left corner."""

    width: float
    height: float
    draw: Callable[[Any, float, float], None]  # Any: a figure


class Sheet:
    """A map that is being composed.

    Parameters
    ----------
    image : (rows, cols, 3) uint8
    extent : west, south, east, north
    crs : pyproj.CRS
    """

    def __init__(self, image: npt.NDArray[np.uint8], extent: Extent, crs: CRS) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional extra

        self._image, self._extent, self._crs = image, extent, crs
        self._figure: Figure = Figure(dpi=_DPI)
        canvas: Any = FigureCanvasAgg(self._figure)  # Any: not all of it is typed
        self._renderer = canvas.get_renderer()
        # What the texts may take, which is more than a small map.
        self._room = max(image.shape[1], _LEAST)
        self._items: list[_Item] = []
        self._names: list[tuple[float, float, str, float]] = []

    def add_scale(self, metres: float, where: str) -> None:
        """A bar of a round length; none where the length of a pixel is not known."""
        if not math.isfinite(metres) or metres <= 0:
            return
        length = round_length(_BAR * self._image.shape[1] * metres)
        text = (f"{length / 1000:,g} km" if length >= 1000 else f"{length:g} m") + where
        pixels = length / metres

        def draw(figure: Any, x: float, y: float) -> None:  # Any: a figure
            xs, ys = (x, x, x + pixels, x + pixels), (y + 18, y + 12, y + 12, y + 18)
            _line(figure, xs, ys)
            _text(figure, x + pixels + 8, y + 15, text, _TEXT)

        self._items.append(_Item(pixels + 8 + self._width(text, _TEXT), _ROW, draw))

    def add_class(self, colour: str | None, text: str) -> None:
        """A patch of a colour and what it means, or words alone."""
        before = 0 if colour is None else _SWATCH + 8
        lines = self._wrapped(text, _TEXT, self._room - before)
        height = _ROW + _LINE * (len(lines) - 1)

        def draw(figure: Any, x: float, y: float) -> None:  # Any: a figure
            if colour is not None:
                _box(figure, (x, y + height - 23, _SWATCH, 16), colour)
            for k, line in enumerate(lines):
                _text(figure, x + before, y + height - 15 - _LINE * k, line, _TEXT)

        longest = max(self._width(line, _TEXT) for line in lines)
        self._items.append(_Item(before + longest, height, draw))

    def add_colours(self, name: str, low: float, high: float, text: str, arrows: str) -> None:
        """A scale of colours; `arrows` says where values go on beyond it, as matplotlib does."""
        width = min(_COLOURS, self._room - 20)
        widest = max(self._width(_number(value), _SMALL) for value in (low, high))
        n_labels = max(1, int(width / (1.5 * widest + 20)))

        def draw(figure: Any, x: float, y: float) -> None:  # Any: a figure
            from matplotlib import cm, colors, ticker  # noqa: PLC0415 - optional extra

            axes = _axes(figure, x + 10, y + 38, width, 13)
            colours = cm.ScalarMappable(colors.Normalize(low, high), name)
            bar = figure.colorbar(colours, axes, orientation="horizontal", extend=arrows)
            bar.locator = ticker.MaxNLocator(min(5, n_labels))
            bar.formatter = ticker.FuncFormatter(lambda value, _: _number(value))
            bar.update_ticks()
            axes.tick_params(labelsize=_SMALL, labelcolor=_INK, pad=2)
            _text(figure, x + 10 + width / 2, y + 9, text, _TEXT, ha="center")

        self._items.append(_Item(max(width, self._width(text, _TEXT)) + 20, 58, draw))

    def add_names(self, ids: npt.NDArray[np.uint32], texts: Mapping[int, str]) -> None:
        """Names of the zones that have room for them, and how many these are."""
        zones, counts = np.unique(ids, return_counts=True)
        room = {int(zone): int(n) for zone, n in zip(zones, counts, strict=True) if zone in texts}
        left = {zone: texts[zone] for zone in room}
        n = len(left)
        for points in _NAME_SIZES:
            for folded in (False, True):
                written = {zone: _folded(text) if folded else text for zone, text in left.items()}
                # Measuring takes longer than all else.
                sizes = {
                    zone: self._size(text, points)
                    for zone, text in written.items()
                    if room[zone] >= _least_pixels(text, points)
                }
                found = name_places(ids, sizes)
                self._names += [(x, y, written[zone], points) for zone, (x, y) in found.items()]
                left = {zone: text for zone, text in left.items() if zone not in found}
        if len(self._names) < n:
            self.add_class(None, f"names fit into {len(self._names):,} of {n:,}")

    def made(self, title: str, source: str) -> Figure:
        """The sheet with its title and source."""
        rows, cols = self._image.shape[:2]
        titles = self._wrapped(title, _TITLE, self._room)
        sources = self._wrapped(source, _SMALL, self._room)
        lines = self._flowed(self._room)
        legend = sum(max(item.height for item in line) for line in lines)
        above = _TOP + 24 * len(titles) + 8
        below = _BELOW + legend + 16 * len(sources) + 12
        width, height = _LEFT + self._room + _RIGHT, above + rows + below
        figure = self._figure
        figure.set_size_inches(width / _DPI, height / _DPI)
        figure.set_facecolor("white")
        for k, text in enumerate(titles):
            y = height - _TOP - 12 - 24 * k
            _text(figure, _LEFT, y, text, _TITLE, weight="bold")
        self._draw_map(_axes(figure, _LEFT, below, cols, rows))
        y = below - _BELOW
        for line in lines:
            y -= max(item.height for item in line)
            x: float = _LEFT
            for item in line:
                # Rows of different heights are aligned at their tops.
                item.draw(figure, x, y + max(one.height for one in line) - item.height)
                x += item.width + _GAP
        for k, text in enumerate(sources):
            _text(figure, _LEFT, y - 8 - 16 * k, text, _SMALL, color=_FAINT)
        return figure

    def _draw_map(self, axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - optional extra

        rows, cols = self._image.shape[:2]
        west, south, east, north = self._extent
        axes.imshow(
            self._image, extent=(west, east, south, north), interpolation="nearest", aspect="auto"
        )
        is_round = is_in_degrees(self._crs)
        for axis, size, low, high, letters in (
            (axes.xaxis, cols, west, east, "EW"),
            (axes.yaxis, rows, south, north, "NS"),
        ):
            places = MaxNLocator(max(1, size // 160), steps=[1, 2, 5, 10]).tick_values(low, high)
            # Upright numbers at a corner would lie on level ones.
            free = 0 if is_round else min(_CORNER, size // 3) * (high - low) / size
            places = [one for one in places if low + free <= one <= high - free]
            said = [degrees(one, letters) if is_round else _number(one) for one in places]
            axis.set_ticks(places, labels=said)
        axes.tick_params(labelsize=_SMALL, labelcolor=_INK, color=_FAINT)
        if not is_round:
            axes.tick_params("y", labelrotation=90)
        for spine in axes.spines.values():
            spine.set_color(_FAINT)
        x_step, y_step = (east - west) / cols, (north - south) / rows
        for x, y, text, points in self._names:
            axes.text(
                west + x * x_step, north - y * y_step, text,
                fontsize=points, color=self._ink_at(x, y), ha="center", va="center",
                linespacing=1.0,
            )  # fmt: skip

    def _ink_at(self, x: float, y: float) -> str:
        """What can be read on the colour of a place: that with the higher contrast (WCAG 2)."""
        share = self._image[int(y), int(x)] / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return _INK if linear @ (0.2126, 0.7152, 0.0722) > 0.213 else _ON_DARK

    def _flowed(self, width: float) -> list[list[_Item]]:
        """The legend in lines that are no longer than the map is wide."""
        lines: list[list[_Item]] = []
        used = 0.0
        for item in self._items:
            if not lines or used + _GAP + item.width > width:
                lines.append([])
                used = -_GAP
            lines[-1].append(item)
            used += _GAP + item.width
        return lines

    # ---- measuring -------------------------------------------------------------------------------

    def _width(self, text: str, points: float, weight: str = "normal") -> float:
        from matplotlib.font_manager import FontProperties  # noqa: PLC0415 - optional extra

        font = FontProperties(size=points, weight=weight)
        width, _, _ = self._renderer.get_text_width_height_descent(text, font, False)
        return float(width)

    def _size(self, text: str, points: float) -> tuple[int, int]:
        """Width and height of some lines."""
        lines = text.split("\n")
        widest = max(self._width(line, points) for line in lines)
        return math.ceil(widest), math.ceil(len(lines) * points * _DPI / 72 * 1.15)

    def _wrapped(self, text: str, points: float, width: float) -> list[str]:
        """Words in lines that are no longer than this, where words allow it."""
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self._width(longer, points, "bold") > width:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines


def _least_pixels(text: str, points: float) -> float:
    """What a name takes at least."""
    height, lines = points * _DPI / 72, text.split("\n")
    return max(map(len, lines)) * _NARROW * height * len(lines) * height


def _number(value: float) -> str:
    return f"{value:,.9g}"


def _folded(text: str) -> str:
    """In two lines of about the same length, at a space or behind a hyphen."""
    places = [i for i, letter in enumerate(text) if letter in " -"]
    if not places:
        return text
    at = min(places, key=lambda i: abs(i - len(text) / 2))
    return f"{text[: at + 1].rstrip()}\n{text[at + 1 :]}"


# ---- at a place of the sheet, in pixels from its lower left corner -------------------------------


def _axes(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    total_x, total_y = figure.get_size_inches() * _DPI
    axes: Axes = figure.add_axes((x / total_x, y / total_y, width / total_x, height / total_y))
    return axes


def _text(figure: Figure, x: float, y: float, text: str, points: float, **how: Any) -> None:
    total_x, total_y = figure.get_size_inches() * _DPI
    style = {"color": _INK, "va": "center", **how}
    figure.text(x / total_x, y / total_y, text, fontsize=points, **style)


def _line(figure: Figure, xs: tuple[float, ...], ys: tuple[float, ...]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - optional extra

    total_x, total_y = figure.get_size_inches() * _DPI
    places = [x / total_x for x in xs], [y / total_y for y in ys]
    figure.add_artist(Line2D(*places, color=_INK, linewidth=1.5))


def _box(figure: Figure, box: tuple[float, float, float, float], colour: str) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - optional extra

    x, y, width, height = box
    total_x, total_y = figure.get_size_inches() * _DPI
    figure.add_artist(
        Rectangle(
            (x / total_x, y / total_y), width / total_x, height / total_y,
            facecolor=colour, edgecolor=_FAINT, linewidth=0.6,
        )
    )  # fmt: skip
