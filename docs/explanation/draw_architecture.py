"""Draw architecture.svg and list the rooms in architecture.md, from the source as it is.

    python docs/explanation/draw_architecture.py [--counts]

Floors and their order are those of the layers contract in pyproject.toml. A module is a room, a
package a floor, a package within it a group of rooms. An arrow is a room that imports another one;
what is imported through the face of a floor counts for the room that it comes from.
"""

from __future__ import annotations

import argparse
import ast
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "zoneraster"
HERE = Path(__file__).parent
MARKS = "<!-- rooms -->", "<!-- /rooms -->"
LONG = 60  # lines of a function that are a reason to talk

# The drawing, in pixels.
WIDTH, MARGIN, RIGHT = 900, 14, 706
ROOM, GAP, PAD, HEAD, BETWEEN = 30, 7, 12, 32, 16
LANE, GLYPH = 19, 7.23  # between vertical lines; a letter of a name, monospaced
# Rounded to these, so that the drawing changes with the house and not with every line.
STEP = 100
THICK = {1: 1.2, 4: 2.2, 10: 3.4, 20: 4.8, 40: 6.4}
LEGEND = (
    "A line: rooms import rooms of the floor it points to; the more do, the thicker it is.",
    "Boxes: rooms, wider where they have more lines. A room imports only rooms that follow it.",
)
COLOURS = [  # a band, its rooms' frames and the lines that lead to it
    ("#f3f1ee", "#8b8378"),
    ("#e9f1fa", "#3d74ad"),
    ("#fdf0e3", "#c8792c"),
    ("#eaf5ea", "#3f8a4a"),
    ("#f5ecf7", "#8d559b"),
    ("#fdeceb", "#bd4f48"),
    ("#e6f4f3", "#2f8583"),
    ("#fbf6dc", "#a08512"),
    ("#eceff3", "#5d6b7e"),
]


# ---- the house, read -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Room:
    """A module: its name below the package, its first sentence, its text."""

    name: str
    says: str
    tree: ast.Module
    lines: int

    @property
    def floor(self) -> str:
        """The package, or the module itself where it is in none."""
        return self.name.split(".")[0]

    @property
    def short(self) -> str:
        """The name within the floor."""
        return self.name.split(".", 1)[-1]


@cache
def modules() -> dict[str, Room]:
    """Every module by dotted name, faces of packages among them ("" is the package itself)."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text()
        tree = ast.parse(text)
        says = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")
        found[name] = Room(name, says, tree, text.count("\n"))
    return found


def is_face(name: str) -> bool:
    """Whether a name is a package: it holds others."""
    return name == "" or any(other.startswith(f"{name}.") for other in modules())


@cache
def rooms() -> dict[str, Room]:
    return {name: room for name, room in modules().items() if not is_face(name)}


@cache
def bands() -> list[list[str]]:
    """Floors from top to bottom, those side by side together; single modules make a band."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c for c in contracts["contracts"] if c["containers"] == ["zoneraster"])["layers"]
    levels = [[name.strip() for name in layer.split("|")] for layer in layers]
    out: list[list[str]] = []
    for level in levels:
        if out and not is_face(level[0]) and not is_face(out[-1][0]):
            out[-1] = out[-1] + level
        else:
            out.append(level)
    return out


def imported(room: Room) -> Iterator[tuple[str, str]]:
    """Module and name of each import from the package."""
    for node in ast.walk(room.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "zoneraster":
                    yield alias.name.partition(".")[2], ""
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "zoneraster":
            for alias in node.names:
                yield (node.module or "").partition(".")[2], alias.name


def room_of(module: str, name: str) -> str:
    """The room behind an import: a module, or the one from which a face has the name."""
    inner = f"{module}.{name}".lstrip(".")
    if inner in modules():
        return inner
    if is_face(module) and name:
        for node in ast.walk(modules()[module].tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        return room_of((node.module or "").partition(".")[2], alias.name)
    return module


@cache
def arrows() -> set[tuple[str, str]]:
    """Pairs of rooms, importing and imported; the public names are those of "", the package."""
    pairs = {(room.name, room_of(*found)) for room in rooms().values() for found in imported(room)}
    return {(a, b) for a, b in pairs if a != b}


def rooms_of(floor: str) -> list[Room]:
    """Rooms of a floor, those of an inner package together; a room before those it imports."""
    ours = {name: room for name, room in rooms().items() if room.floor == floor}
    places = {name: room.short.rpartition(".")[0] or name for name, room in ours.items()}
    inner = depths(ours, {name: name for name in ours})
    outer = depths(ours, places)
    found = sorted(ours, key=lambda n: (-outer[places[n]], places[n], -inner[n], n))
    return [ours[name] for name in found]


def depths(names: Iterable[str], place: Mapping[str, str]) -> dict[str, int]:
    """Length of the longest way down from each place; a ring is an error."""
    below: dict[str, set[str]] = {place[name]: set() for name in names}
    for a, b in arrows():
        if a in place and b in place and place[a] != place[b]:
            below[place[a]].add(place[b])
    depth: dict[str, int] = {}
    for name in TopologicalSorter(below).static_order():
        depth[name] = 1 + max((depth[other] for other in below[name]), default=-1)
    return depth


# ---- what is said of it --------------------------------------------------------------------------


def function_lines(node: ast.FunctionDef) -> int:
    """Lines of a function below its docstring."""
    first = node.body[1:2] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - first[0].lineno + 1 if first else 0


def counts() -> str:
    """The house in numbers, as a Markdown table and two lists."""
    out = ["| floor | rooms | lines | arrows from here | to here |", "|---|---|---|---|---|"]
    for floor in [floor for band in bands() for floor in band]:
        ours = [room for room in rooms().values() if room.floor == floor]
        away = [(a, b) for a, b in arrows() if b and a.split(".")[0] != b.split(".")[0]]
        n_from = sum(a.split(".")[0] == floor for a, _ in away)
        n_to = sum(b.split(".")[0] == floor for _, b in away)
        lines = sum(room.lines for room in ours)
        out.append(f"| {floor} | {len(ours)} | {lines:,} | {n_from} | {n_to} |")
    lines = sum(room.lines for room in modules().values())
    out.append(f"| all, with faces | {len(rooms())} | {lines:,} | {len(arrows())} | |")
    longest = sorted(rooms().values(), key=lambda room: -room.lines)[:5]
    out += ["", "longest modules: " + ", ".join(f"{r.name} {r.lines}" for r in longest)]
    functions = [
        (function_lines(node), f"{room.name}.{node.name}")
        for room in modules().values()
        for node in ast.walk(room.tree)
        if isinstance(node, ast.FunctionDef) and function_lines(node) > LONG
    ]
    out.append(f"functions over {LONG} lines, docstrings left out: {len(functions)}")
    return "\n".join(out + [f"  {n:4} {name}" for n, name in sorted(functions, reverse=True)])


def title(band: list[str]) -> tuple[str, str]:
    """Name and sentence of a band of single modules."""
    if band == bands()[0]:
        return "top", "What people meet: the command line, the demo, maps."
    return "bottom", "What every floor may use: bytes, tasks, errors."


def room_list() -> str:
    """Floors and rooms with the first sentences of their docstrings, as Markdown."""
    out = []
    for band in bands():
        if is_face(band[0]):
            for floor in band:
                out += [f"\n### `{floor}`\n", f"{modules()[floor].says}\n"]
                out += [f"- `{room.short}`: {room.says}" for room in rooms_of(floor)]
        else:
            name, says = title(band)
            out += [f"\n### {name.capitalize()}\n", f"{says}\n"]
            out += [f"- `{name}`: {modules()[name].says}" for name in band]
    return "\n".join(out).strip()


def page_with_rooms(page: str) -> str:
    """A page whose marked section holds the list of rooms."""
    before, _, rest = page.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n\n{room_list()}\n\n{MARKS[1]}{after}"


# ---- the drawing ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Band:
    """A floor, or a row of single modules, as it is drawn."""

    names: tuple[str, ...]
    top: float
    height: float
    svg: tuple[str, ...]


def text(x: float, y: float, said: str, style: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(said)}</text>'


def rectangle(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" {style}/>'


def room_width(room: Room) -> float:
    """Wide enough for its name, and wider the more lines it has."""
    steps = round(room.lines / STEP)
    return max(len(room.short.split(".")[-1]) * GLYPH + 18, 30 + 24 * steps)


def boxes(found: list[Room], left: float, top: float, right: float, ink: str) -> Iterator[tuple]:
    """Rooms in rows: bottom edge and SVG of each; those of an inner package share a frame."""
    x, y = left, top
    groups = groupby(found, key=lambda room: room.short.rpartition(".")[0])
    for inner, group in groups:
        members = list(group)
        label = len(inner) * GLYPH + 2 * GLYPH if inner else 0
        whole = label + sum(room_width(room) + GAP for room in members) + GAP
        if inner and x > left and x + whole > right:
            x, y = left, y + ROOM + GAP
        if inner:
            y += 3
            frame = f'rx="6" fill="none" stroke="{ink}" stroke-dasharray="3 3"'
            yield y + ROOM, rectangle(x, y - 3, whole, ROOM + 6, frame)
            yield y, text(x + 8, y + 20, f"{inner}/", f'class="room" fill="{ink}"')
            x += label + GAP
        for room in members:
            width = room_width(room)
            if x + width > right:
                x, y = left, y + ROOM + GAP
            style = f'rx="4" fill="#ffffff" stroke="{ink}" stroke-opacity="0.75"'
            name = room.short.split(".")[-1]
            yield y + ROOM, rectangle(x, y, width, ROOM, style)
            yield y, text(x + width / 2, y + 20, name, 'class="room" text-anchor="middle"')
            x += width + GAP
        if inner:
            x += GAP


def band_of(names: list[str], number: int, top: float) -> Band:
    """Draw a floor, or single rooms, below a height."""
    paper, ink = COLOURS[number % len(COLOURS)]
    floor = is_face(names[0])
    found = rooms_of(names[0]) if floor else [rooms()[name] for name in names]
    head, said = (names[0], modules()[names[0]].says) if floor else title(names)
    drawn = list(boxes(found, MARGIN + PAD, top + HEAD, RIGHT - PAD + GAP, ink))
    height = max(bottom for bottom, _ in drawn) - top + PAD
    width = RIGHT - MARGIN
    svg = (
        rectangle(MARGIN, top, width, height, f'rx="8" fill="{paper}" stroke="{ink}"'),
        text(MARGIN + PAD, top + 21, head, f'class="floor" fill="{ink}"'),
        text(MARGIN + PAD + len(head) * 8.5 + 12, top + 21, said, 'class="says"'),
        *(piece for _, piece in drawn),
    )
    return Band(tuple(names), top, height, svg)


@cache
def drawn_bands() -> list[Band]:
    """Bands from top to bottom. Floors of one level follow each other closely."""
    out: list[Band] = []
    top = float(MARGIN)
    for band in bands():
        for names in [[name] for name in band] if is_face(band[0]) else [band]:
            out.append(band_of(names, len(out), top))
            top += out[-1].height + BETWEEN / (1 if names == band or names[0] == band[-1] else 3)
    return out


def between() -> Counter[tuple[int, int]]:
    """How many arrows lead from one band to another."""
    of = {name: i for i, band in enumerate(drawn_bands()) for name in band.names}
    pairs = ((of[a.split(".")[0]], of[b.split(".")[0]]) for a, b in arrows() if b)
    return Counter((a, b) for a, b in pairs if a != b)


def lines() -> Iterator[str]:
    """One line for each pair of bands: out to the right, down the lane of its goal, and in."""
    drawn, found = drawn_bands(), between()
    goals = sorted({b for _, b in found})
    for b in reversed(goals):
        ink = COLOURS[b % len(COLOURS)][1]
        x, y1 = RIGHT + 26 + LANE * goals.index(b), drawn[b].top + 17
        wide, paths = [], []
        for count, a in sorted((n, a) for (a, goal), n in found.items() if goal == b):
            down = sorted(goal for start, goal in found if start == a)
            y0 = drawn[a].top + drawn[a].height - 10 - 8 * (len(down) - 1 - down.index(b))
            thick = max(width for n, width in THICK.items() if count >= n)
            path = f'<path d="M{RIGHT} {y0:g}H{x - 6}q6 0 6 6V{y1 - 6:g}q0 6 -6 6H{RIGHT + 9}"'
            wide.append(f'{path} fill="none" stroke="#ffffff" stroke-width="{thick + 3:g}"/>')
            paths.append(f'{path} fill="none" stroke="{ink}" stroke-width="{thick:g}"/>')
        yield from (*wide, *paths)
        tip = f"{RIGHT + 1},{y1:g} {RIGHT + 12},{y1 - 7:g} {RIGHT + 12},{y1 + 7:g}"
        yield f'<polygon points="{tip}" fill="{ink}"/>'


def figure() -> str:
    """The drawing as SVG text."""
    drawn = drawn_bands()
    foot = max(band.top + band.height for band in drawn)
    height = foot + MARGIN + 17 * len(LEGEND)
    size = f'width="{WIDTH}" height="{height:g}"'
    mono = '"DejaVu Sans Mono", Menlo, Consolas, monospace'
    style = (
        f".room {{ font: 12px {mono}; }} .floor {{ font: bold 14px {mono}; }} "
        '.says { font: 12px "DejaVu Sans", Verdana, Helvetica, sans-serif; fill: #444444; }'
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" {size}>',
            f"<style>{style}</style>",
            rectangle(0, 0, WIDTH, height, 'fill="#ffffff"'),
            *lines(),
            *(piece for band in drawn for piece in band.svg),
            *(
                text(MARGIN, foot + 17 * i + 4, said, 'class="says"')
                for i, said in enumerate(LEGEND, 1)
            ),
            "</svg>",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", action="store_true", help="print the house in numbers only")
    if parser.parse_args().counts:
        print(counts())
        return
    (HERE / "architecture.svg").write_text(figure())
    page = HERE / "architecture.md"
    if page.exists():
        page.write_text(page_with_rooms(page.read_text()))


if __name__ == "__main__":
    main()
