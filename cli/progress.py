"""How a running sweep looks: a live table on a terminal, plain lines anywhere else. All on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from isoflop.lakehouse.units import format_number, format_seconds
from isoflop.lakehouse.visible import visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from isoflop.workers.cluster import Event, SweepState

SHOWN_RUNS = 12  # lines of a board
LINE_SECONDS = 10.0  # between plain lines while nothing happens
_STYLES = {"warning": "yellow", "error": "red"}


@contextlib.contextmanager
def watching(console: Console | None = None) -> Iterator[Callable[[SweepState], None]]:
    """Give a function that shows each picture of a sweep; what is printed meanwhile goes to stderr."""
    from isoflop.cli.output import stderr_console

    console = console or stderr_console()
    with contextlib.redirect_stdout(sys.stderr):  # stdout carries the answer only
        if not console.is_terminal:
            lines = LineProgress(console)
            yield lines
            lines.finish()
            return
        from rich.live import Live

        with Live(console=console, auto_refresh=False, transient=True) as live:
            progress = LiveProgress(live)
            yield progress
        if progress.last is not None:
            console.print(visible(headline(progress.last)), markup=False)


class LiveProgress:
    """Redraws the picture in place; warnings and errors stay on the screen above it."""

    def __init__(self, live: Live) -> None:
        self._live, self._seen = live, 0
        self.last: SweepState | None = None

    def __call__(self, state: SweepState) -> None:
        """Show a picture."""
        for event in state.events_after(self._seen):
            self._seen = event.number
            if event.level != "info":
                self._live.console.print(visible(event.message), style=_STYLES[event.level], markup=False)
        self.last = state
        self._live.update(picture(state), refresh=True)


class LineProgress:
    """Prints every event, and how far the sweep is every ten seconds and at the end."""

    def __init__(self, console: Console) -> None:
        self._console, self._seen, self._printed = console, 0, time.monotonic()
        self._last: SweepState | None = None

    def __call__(self, state: SweepState) -> None:
        """Print what is new."""
        self._last = state
        for event in state.events_after(self._seen):
            self._seen = event.number
            self._print(_line(event), _STYLES.get(event.level))
        if time.monotonic() - self._printed > LINE_SECONDS:
            self._print(headline(state))

    def finish(self) -> None:
        """Print how the sweep ended."""
        if self._last is not None:
            self._print(headline(self._last))

    def _print(self, text: str, style: str | None = None) -> None:
        self._printed = time.monotonic()
        self._console.print(visible(text), style=style, markup=False, soft_wrap=True)


def headline(state: SweepState) -> str:
    """Return a sweep in one line.

    Example
    -------
    >>> from isoflop.workers.cluster import SweepState
    >>> headline(SweepState("id", "demo", 12, skipped=4, finished=3, queued=5, seconds=62, remaining_seconds=100))
    'demo: 7 of 12 done (4 before), 5 queued; 1m02s, about 1m40s left'
    """
    before = f" ({state.skipped} before)" if state.skipped else ""
    parts = [f"{state.done} of {state.total} done{before}"]
    ends = (("diverged", state.diverged), ("stopped early", state.stopped_early))
    counts = (("running", len(state.running)), ("queued", state.queued), *ends)
    parts += [
        f"{count} {name}"
        for name, count in (*counts, ("failed", state.failed), ("over budget", state.over_budget))
        if count
    ]
    left = state.remaining_seconds
    unfinished = state.queued or state.running
    rest = (
        f", about {format_seconds(round(left))} left"
        if left is not None and unfinished and not state.is_interrupted
        else ""
    )
    return f"{state.name}: {', '.join(parts)}; {format_seconds(round(state.seconds))}{rest}"


def picture(state: SweepState) -> RenderableType:
    """Return the live view: a line, a bar, and the runs in training."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    bar = Table.grid()  # a bar by itself does not end its line
    bar.add_row(ProgressBar(total=max(1, state.total), completed=state.done, width=60))
    parts: list[RenderableType] = [Text(visible(headline(state))), bar]
    if state.running:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("run", overflow="ellipsis", no_wrap=True)
        for name in ("step", "loss", "time", "attempt"):
            table.add_column(name, justify="right", no_wrap=True)
        for run in state.running[:SHOWN_RUNS]:
            step = "-" if run.step is None else f"{run.step}/{run.steps}" if run.steps else str(run.step)
            seconds = format_seconds(round(run.seconds))
            table.add_row(Text(visible(run.label)), step, format_number(run.loss), seconds, str(run.attempt))
        parts.append(table)
        if len(state.running) > SHOWN_RUNS:
            parts.append(Text(f"and {len(state.running) - SHOWN_RUNS} more", style="dim"))
    return Group(*parts)


def _line(event: Event) -> str:
    return event.message if event.level == "info" else f"{event.level}: {event.message}"
