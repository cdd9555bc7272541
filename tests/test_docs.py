"""The documentation does what it says.

Every page runs in an empty folder of its own, its blocks in order and in one namespace:

* ``python`` blocks are executed.
* ``bash`` blocks hold lines that start with ``zoneraster``; each is run. One that is to fail ends
  in ``# exit code N``.
* A ``text`` block that follows such a block is what it prints. There ``...`` stands for anything
  within a line, ``/home/me`` for the folder, and times such as ``0.6 s`` are not compared.
* ``<!-- not run: reason -->`` on the line above a block leaves it out.

The set-up commands of the README install packages; they are compared with ``.ci/run`` instead.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import itertools
import pkgutil
import re
import runpy
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import zoneraster
from tests.conftest import ROOT
from zoneraster.cli import main

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r"^(?P<fence>```+)(?P<kind>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
FAILS = re.compile(r"\s*# exit code (\d+)$")
TIME = re.compile(r"\s+\d[\d,.]* s\b")
SETUP = "python3 -m venv "
TEST_COMMAND = (
    "python3 -m venv .venv-test && .venv-test/bin/pip install -q 'tox>=4.22' && "
    ".venv-test/bin/tox run -m check"
)
DEMO_COMMAND = (
    "python3 -m venv .venv && .venv/bin/pip install -q '.[plot,raster]' && "
    ".venv/bin/zoneraster demo"
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the text block that follows it."""

    kind: str
    text: str
    line: int
    reason: str | None
    printed: str | None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    found = list(FENCE.finditer(text))
    for match, after in itertools.zip_longest(found, found[1:]):
        follows = after is not None and not text[match.end() : after.start()].strip()
        yield Block(
            match["kind"],
            match["text"],
            text[: match.start("text")].count("\n") + 1,
            match["reason"],
            after["text"] if follows and after["kind"] == "text" else None,
        )


def is_run(block: Block) -> bool:
    return block.kind in {"python", "bash"} and block.reason is None


def execute(block: Block, page: Path, namespace: dict[str, object]) -> str:
    """Run a Python block; the line numbers of a traceback are those of the page."""
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, namespace)
    return out.getvalue()


def command_line(line: str, where: str) -> str:
    """Run one zoneraster command; what it prints, errors included."""
    fails = FAILS.search(line)
    words = shlex.split(line, comments=True)
    assert words[0] == "zoneraster", f"{where}: not run: {line}"
    before = signal.getsignal(signal.SIGTERM)
    try:
        result = CliRunner().invoke(main, words[1:])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert result.exit_code == (int(fails[1]) if fails else 0), f"{where}: {line}\n{result.output}"
    return result.output


def commands(block: Block) -> list[str]:
    joined = block.text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line and not line.startswith(("#", SETUP))]


def same_text(said: str, printed: str) -> bool:
    """Whether the printed text is what the page shows, up to the documented rule."""
    shown = TIME.sub(" # s", said).rstrip().splitlines()
    got = TIME.sub(" # s", printed).rstrip().splitlines()
    patterns = [re.escape(line.rstrip()).replace(r"\.\.\.", ".*") for line in shown]
    return len(shown) == len(got) and all(
        re.fullmatch(pattern, line.rstrip()) for pattern, line in zip(patterns, got, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(is_run(block) for block in blocks(page))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_block_of_a_page_does_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "page"}
    for block in filter(is_run, blocks(page)):
        where = f"{page.name}:{block.line}"
        if block.kind == "python":
            printed = execute(block, page, namespace)
        else:
            printed = "".join(command_line(line, where) for line in commands(block))
        if block.printed is not None:
            printed = printed.replace(str(tmp_path), "/home/me")
            assert same_text(block.printed, printed), (
                f"{where} shows\n{block.printed}\nbut prints\n{printed}"
            )


@pytest.mark.parametrize(
    "module", [m.name for m in pkgutil.walk_packages(zoneraster.__path__, "zoneraster.")]
)
def test_examples_in_docstrings_do_what_they_say(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = doctest.DocTestFinder().find(importlib.import_module(module))
    runner = doctest.DocTestRunner(verbose=False)
    for number, example in enumerate(found):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


def test_a_text_block_compares_all_but_wildcards_and_times() -> None:
    assert same_text("a ... c\ntime   0.6 s\n", "a b c\ntime  12.0 s")
    assert not same_text("a\n", "a\nb\n")
    assert not same_text("a c\n", "a b c\n")
    assert not same_text("6 zones\n", "7 zones\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_a_page_are_run_or_say_why_not(page: Path) -> None:
    text = page.read_text()
    assert text.count("<!-- not run:") == sum(block.reason is not None for block in blocks(page))
    for block in blocks(page):
        assert block.kind not in {"sh", "shell", "console", "py"}, (
            f"{page.name}:{block.line}: fence it as bash or python, so that it is run"
        )


def test_the_test_command_of_the_readme_is_the_one_that_ci_runs() -> None:
    grep = re.search(r"grep -m 1 -E '([^']+)' README\.md", (ROOT / ".ci" / "run").read_text())
    assert grep is not None
    lines = [
        line for line in (ROOT / "README.md").read_text().splitlines() if re.search(grep[1], line)
    ]
    assert lines == [TEST_COMMAND]
    assert TEST_COMMAND in (ROOT / "docs" / "contributing.md").read_text().splitlines()


def test_the_readme_has_exactly_two_set_up_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert [line for line in lines if line.startswith(SETUP)] == [DEMO_COMMAND, TEST_COMMAND]
    assert "demo" in main.commands


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def script(name: str) -> dict[str, Any]:
    """What a script beside the explanations defines."""
    return runpy.run_path(str(ROOT / "docs" / "explanation" / name))


def test_the_figure_of_the_burn_rule_is_what_the_rule_burns() -> None:
    drawn = script("draw_burn_rule.py")["figure"]()
    assert drawn == (ROOT / "docs" / "explanation" / "burn-rule.svg").read_text()


def test_the_figure_of_the_pixel_rules_is_what_cells_says() -> None:
    drawn = script("draw_rules.py")["figure"]()
    assert drawn == (ROOT / "docs" / "explanation" / "rules.svg").read_text()


REDRAW = "run python docs/explanation/draw_architecture.py"


@pytest.mark.slow
def test_the_figure_of_the_architecture_is_what_the_imports_say() -> None:
    drawn = script("draw_architecture.py")["figure"]()
    assert drawn == (ROOT / "docs" / "explanation" / "architecture.svg").read_text(), REDRAW


@pytest.mark.slow
def test_the_list_of_rooms_is_what_their_docstrings_say() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    assert page == script("draw_architecture.py")["page_with_rooms"](page), REDRAW


@pytest.mark.slow
def test_the_figure_of_the_architecture_has_every_room_and_no_two_on_each_other() -> None:
    house = script("draw_architecture.py")
    boxes = re.findall(
        r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="30"', house["figure"]()
    )
    assert len(boxes) == len(house["rooms"]())
    places = [tuple(map(float, box)) for box in boxes]
    for i, (x, y, width) in enumerate(places):
        assert x + width <= house["RIGHT"]
        for other_x, other_y, other_width in places[:i]:
            apart = other_x + other_width <= x or x + width <= other_x
            assert apart or abs(other_y - y) >= house["ROOM"]
