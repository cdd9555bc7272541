"""What a long call shows: phases, rates and time left, from work that was measured."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoneraster as zr
from tests.samples import GRID, sample_zones
from zoneraster.bars import Meter, shown


def test_work_that_was_found_done_is_no_speed() -> None:
    meter = Meter("burn", began=100.0, before=900, total=1000)
    assert meter.rate(110.0) == 0
    assert meter.left(110.0) is None
    assert meter.text(110.0) == "0:00:10"
    meter.done = 920
    assert meter.rate(110.0) == 2
    assert meter.left(110.0) == 40
    assert meter.text(110.0) == "0:00:10  ETA 0:00:40  2 crossings/s"
    meter.done = 1000
    assert meter.text(150.0) == "0:00:50  2 crossings/s"


@given(st.floats(1e-3, 1e4), st.integers(0, 10**9), st.integers(1, 10**12), st.integers(0, 10**12))
def test_time_left_is_the_rest_at_the_measured_rate(
    seconds: float, before: int, more: int, rest: int
) -> None:
    meter = Meter("stats", began=0.0, before=before, total=before + more + rest)
    meter.done = before + more
    left = meter.left(seconds)
    assert left is not None
    assert left == pytest.approx(rest * seconds / more)


@pytest.mark.parametrize("progress", [None, False, True])
def test_nobody_is_told_where_nobody_looks(
    progress: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown(progress) as tick:
        assert tick is None
    assert capsys.readouterr() == ("", "")


def test_a_callable_is_told_itself() -> None:
    told: list[tuple[str, int, int]] = []
    with shown(lambda *said: told.append(said)) as tick:
        assert tick is not None
        tick("burn", 1, 2)
    assert told == [("burn", 1, 2)]


@pytest.mark.slow
def test_a_terminal_shows_each_phase_and_that_kernels_are_compiled(tmp_path: Path) -> None:
    sample_zones(8).to_parquet(tmp_path / "zones.parquet")
    code = """
        import sys, numba
        from zoneraster.bars import shown
        import zoneraster as zr
        grid = zr.Grid.from_bounds((0, 0, 10, 10), "1/50")
        zr.build("zones.parquet", "zones.zarr", grid=grid, key="fid", progress=True)
        zr.zonal_stats("zones.zarr", progress=True)
        with shown(True) as tick:
            tick("read", 0, 1)
            numba.njit(lambda x: x + 1)(1)
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], cwd=tmp_path, stderr=theirs,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm",
             "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    os.close(theirs)
    said = "".join(_read(ours))
    assert process.wait() == 0, said
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said)
    for phase in ("reading", "planning", "burning", "finishing", "counting", "compiling"):
        assert phase in plain, plain
    assert "crossings/s" in plain
    assert "px/s" in plain


def _read(terminal: int) -> Iterator[str]:
    try:
        while data := os.read(terminal, 1 << 16):
            yield data.decode(errors="replace")
    except OSError:  # its other end is closed
        pass
    finally:
        os.close(terminal)


def test_a_notebook_shows_a_bar_that_is_gone_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shells = pytest.importorskip("IPython.core.interactiveshell")
    display: list[dict[str, Any]] = []
    shell = shells.InteractiveShell.instance()
    monkeypatch.setattr(shell, "kernel", object(), raising=False)
    monkeypatch.setattr(
        shell.display_pub, "publish", lambda data, *_, **how: display.append({**data, **how})
    )
    try:
        with pytest.warns(zr.ZonerasterWarning):
            zr.build(sample_zones(8), tmp_path / "z", grid=GRID, key="fid", progress=True)
    finally:
        shells.InteractiveShell.clear_instance()
    shown_html = [one["text/html"] for one in display]
    bars = [text for text in shown_html if text]
    assert any("burning <progress value=" in text for text in bars)
    assert any("reading <progress max=" in text for text in bars)
    assert shown_html[-1] == ""
    assert len({one["transient"]["display_id"] for one in display}) == 1
