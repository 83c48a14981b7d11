"""What a user sees while an answer takes long: one line on stderr, only on a terminal, only after a moment."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from isoflop.lakehouse.sql.cancellation import OnProgress, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

FIRST_AFTER = 1.0  # seconds before anything is shown
SHOWN_EVERY = 0.1  # seconds between two pictures


@contextlib.contextmanager
def waiting(console: Console | None = None) -> Iterator[OnProgress | None]:
    """Give a function that shows how far an answer is, or None where it is not shown."""
    from isoflop.cli.output import stderr_console

    console = console or stderr_console()
    if not console.is_terminal:
        yield None
        return
    line = WaitingLine(console)
    try:
        yield line
    finally:
        line.stop()


class WaitingLine:
    """A line that is drawn over itself and leaves nothing behind.

    Parameters
    ----------
    console : the terminal
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = self._shown = time.monotonic()
        self._parts: dict[str, Progress] = {}
        self._live: Live | None = None

    def __call__(self, progress: Progress) -> None:
        """Take how far one part is, and show all of them."""
        self._parts[progress.part] = progress
        now = time.monotonic()
        if now - self._began < FIRST_AFTER or now - self._shown < SHOWN_EVERY:
            return
        self._shown = now
        if self._live is None:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(describe(list(self._parts.values()), now - self._began), refresh=True)

    def stop(self) -> None:
        """Take the line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def describe(parts: list[Progress], seconds: float) -> str:
    """Return how far an answer is in one line.

    Example
    -------
    >>> describe([Progress("folds", 1, 3), Progress("descents", 400, 1000)], 7.2)
    'fold 2 of 3, descents 400 of 1000; 7 s (Ctrl-C stops it)'
    >>> describe([Progress("percent of a query", 0, 100)], 3.0)
    '3 s (Ctrl-C stops it)'
    """
    from isoflop.lakehouse.units import format_seconds

    words = []
    for progress in parts:
        match progress.part:
            case "percent of a query":
                words += [f"query {progress.done}%"] if 0 < progress.done < 100 else []
            case "folds":
                words.append(f"fold {min(progress.done + 1, progress.total)} of {progress.total}")
            case part:
                words.append(f"{part} {progress.done} of {progress.total}")
    said = f"{', '.join(words)}; " if words else ""
    return f"{said}{format_seconds(round(seconds))} (Ctrl-C stops it)"
