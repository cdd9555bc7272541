"""What a long call shows while it works: which phase it is in, how fast, and for how long yet.

Phases are "compile", "read", "plan", "burn", "stats" and "finish". On a terminal they are lines on
stderr, in a notebook one bar; anywhere else nothing is shown.
"""

from __future__ import annotations

import html
import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from zoneraster.executors import Progress, Tick

# What people call a phase, and what its work is counted in where that says something.
_NAMES = {
    "compile": "compiling", "read": "reading", "plan": "planning", "burn": "burning",
    "stats": "counting", "finish": "finishing",
}  # fmt: skip
_UNITS = {"burn": "crossings", "stats": "px"}
# A notebook is told so often, in seconds.
_OFTEN = 0.2


@dataclass(slots=True)
class Meter:
    """Work of one phase, as it was measured: what was done before it began is no speed.

    Parameters
    ----------
    phase : str
    began : float
        Seconds.
    before, done, total : int
        Work found done, done by now, and in all.
    """

    phase: str
    began: float
    before: int
    total: int
    done: int = field(init=False)

    def __post_init__(self) -> None:
        self.done = self.before

    def rate(self, now: float) -> float:
        """Work a second; 0 while nothing is measured."""
        seconds = now - self.began
        return (self.done - self.before) / seconds if seconds > 0 else 0.0

    def left(self, now: float) -> float | None:
        """Seconds that the rest will take at this rate; None while that is not known."""
        rate = self.rate(now)
        return (self.total - self.done) / rate if rate > 0 else None

    def text(self, now: float) -> str:
        """Time, time left and rate, as far as they are known."""
        said = [_clock(now - self.began)]
        left, unit = self.left(now), _UNITS.get(self.phase)
        if left is not None and self.done < self.total:
            said.append(f"ETA {_clock(left)}")
        if unit is not None and self.rate(now) > 0:
            said.append(f"{_short(self.rate(now))}{unit}/s")
        return "  ".join(said)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _short(number: float) -> str:
    """A number with its thousands as letters: 1.2 G."""
    for letter in ("", "k", "M"):
        if number < 1000:
            return f"{number:.3g} {letter}"
        number /= 1000
    return f"{number:.3g} G"


@contextmanager
def shown(progress: Progress | None) -> Iterator[Tick | None]:
    """What tells of progress, as the user asked for it.

    Parameters
    ----------
    progress : bool, callable or None
        True shows bars where somebody looks; a callable is told (phase, done, total); None and
        False tell nobody.

    Yields
    ------
    callable or None
    """
    if progress is None or isinstance(progress, bool):
        draw = _drawing() if progress else None
        if draw is None:
            yield None
            return
        with ExitStack() as held:
            tick = held.enter_context(draw())
            held.enter_context(_told_of_compiling(tick))
            yield tick
        return
    yield progress


def _drawing() -> Callable[[], Any] | None:  # Any: a context manager
    """How to draw here; None where nobody looks."""
    if _kernel() is not None:
        return _in_notebook
    return _on_terminal if sys.stderr.isatty() else None


def _kernel() -> Any:  # Any: IPython's
    """The kernel of the notebook that this process works for; None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None)


@contextmanager
def _on_terminal() -> Iterator[Tick]:
    """A line for each phase."""
    from rich.console import Console  # noqa: PLC0415 - slow import
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.fields[share]:>6}"),
        TextColumn("{task.fields[said]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bars:
        meters: dict[str, tuple[Any, Meter]] = {}  # Any: rich's number of a line
        guard = threading.Lock()

        def tick(phase: str, done: int, total: int) -> None:
            now = time.perf_counter()
            with guard:
                if phase not in meters or meters[phase][1].done > done:
                    line = bars.add_task(_NAMES.get(phase, phase), total=None, share="", said="")
                    meters[phase] = line, Meter(phase, now, done, total)
                line, meter = meters[phase]
                meter.done, meter.total = done, total
                # Nothing is known of work that is one piece, but that it goes on.
                is_known = total > 1 or done > 0
                bars.update(
                    line, completed=done, total=total if is_known else None,
                    share=f"{done / total:.1%}" if total > 1 else "", said=meter.text(now),
                    visible=phase != "compile" or done < total,
                )  # fmt: skip

        yield tick


@contextmanager
def _in_notebook() -> Iterator[Tick]:
    """One bar, which is gone at the end."""
    display: Any = importlib.import_module("IPython.display")
    handle = display.display(display.HTML(""), display_id=True)
    meters: dict[str, Meter] = {}
    guard, last = threading.Lock(), [0.0]

    def tick(phase: str, done: int, total: int) -> None:
        now = time.perf_counter()
        with guard:
            is_new = phase not in meters or meters[phase].done > done
            if is_new:
                meters[phase] = Meter(phase, now, done, total)
            meter = meters[phase]
            meter.done, meter.total = done, total
            if is_new or done == total or now - last[0] > _OFTEN:
                last[0] = now
                handle.update(display.HTML(_bar_html(meter, now)))

    try:
        yield tick
    finally:
        handle.update(display.HTML(""))


def _bar_html(meter: Meter, now: float) -> str:
    """A bar of HTML; without a value, which browsers show as moving, where nothing is known."""
    is_known = meter.total > 1 or meter.done > 0
    value = f'value="{meter.done}" ' if is_known else ""
    name = html.escape(_NAMES.get(meter.phase, meter.phase))
    return (
        f'<div>{name} <progress {value}max="{max(meter.total, 1)}"></progress> '
        f"{html.escape(meter.text(now))}</div>"
    )


@contextmanager
def _told_of_compiling(tick: Tick) -> Iterator[None]:
    """Say so while kernels are compiled in this process, as they are once on each machine."""
    events: Any = importlib.import_module("numba.core.event")
    # Compiling one kernel begins with those that it calls.
    depth, guard = [0], threading.Lock()

    class Compiling(events.Listener):  # type: ignore[misc]  # numba has no types
        """What numba tells."""

        def on_start(self, event: Any) -> None:
            """A kernel begins."""
            self._move(1)

        def on_end(self, event: Any) -> None:
            """A kernel is done."""
            self._move(-1)

        def _move(self, by: int) -> None:
            with guard:
                depth[0] += by
                if depth[0] == max(by, 0):
                    tick("compile", int(by < 0), 1)

    with events.install_listener("numba:compile", Compiling()):
        yield
