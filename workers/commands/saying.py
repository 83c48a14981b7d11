"""What a script says while it trains, from its output and from a file that it writes, as points."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isoflop.lakehouse.exchange.naming import our_metric, setting
from isoflop.lakehouse.exchange.recognizing import STEP_WORDS
from isoflop.lakehouse.exchange.table_shapes import CHART_STEPS

STEP_NAMES = (*CHART_STEPS, *STEP_WORDS)  # the first of them that a line has numbers its values
SECONDS = "seconds"  # since the run started, where a line says it

Point = tuple[int, float | None, dict[str, float]]


def point_of(line: Mapping[str, Any]) -> Point | None:
    """Return step, seconds and values of what a script said at a step, None for what is no such thing.

    Values that are no numbers are left out; a loss by another of its usual names is ours.

    Example
    -------
    >>> point_of({"step": 3, "train/loss": 2.5, "phase": "warm-up", "lr": 1})
    (3, None, {'loss': 2.5, 'lr': 1.0})
    >>> point_of({"message": "step 3"}) is None
    True
    """
    name = next((name for name in STEP_NAMES if name in line), None)
    step: Any = None if name is None else line[name]
    if not _is_number(step) or not math.isfinite(step) or step != int(step):
        return None
    numbers = {key: float(value) for key, value in line.items() if key != name and _is_number(value)}
    seconds = numbers.pop(SECONDS, None)
    values: dict[str, float] = {}
    for key, value in numbers.items():
        ours = our_metric(key)
        values[key if ours in numbers and ours != key else ours] = value
    return (int(step), seconds, values) if values else None


def object_in(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a line is, None for any other line."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class GrowingFile:
    """A file of lines that somebody writes to: what has been added since the last look.

    A line counts when its end is there. A file that was replaced or cut is read from its beginning.

    Parameters
    ----------
    path : of the file, which need not be there yet
    from_end : pass over what is in it now, left by an earlier attempt
    """

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None
        self._at = 0
        if from_end and path.is_file():
            state = path.stat()
            self._identity, self._at = (state.st_dev, state.st_ino), state.st_size

    @property
    def was_there(self) -> bool:
        """Whether the file has been seen."""
        return self._identity is not None

    def lines(self, *, is_last: bool = False) -> Iterator[str]:
        """Yield the lines that are new; the last look takes one without an end too."""
        try:
            with open(self.path, "rb") as file:
                state = self.path.stat()
                identity = (state.st_dev, state.st_ino)
                if identity != self._identity or state.st_size < self._at:
                    self._identity, self._at = identity, 0
                    self.began()
                file.seek(self._at)
                while line := file.readline():
                    if not line.endswith(b"\n") and not is_last:
                        break
                    self._at += len(line)
                    yield line.decode("utf-8", "replace").rstrip("\r\n")
        except OSError:
            return

    def began(self) -> None:
        """Take note that the file is read from its beginning."""


class MetricsFile(GrowingFile):
    """Metrics as JSON lines, or as CSV with a heading, as they are written.

    Parameters
    ----------
    path, from_end : as of any growing file; the heading of a CSV is read all the same
    """

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        super().__init__(path, from_end=from_end)
        self._heading: list[str] | None = None
        self.passed_over = 0  # lines that were no point
        if self.was_there:
            with open(path, encoding="utf-8", errors="replace") as file:
                self._take_heading(file.readline())

    def began(self) -> None:
        """Forget the heading of the file that was there before."""
        self._heading = None

    def points(self, *, is_last: bool = False) -> Iterator[Point]:
        """Yield the points that are new."""
        for line in self.lines(is_last=is_last):
            if not line.strip() or (self._heading is None and self._take_heading(line)):
                continue
            found = object_in(line)
            if found is None and self._heading:
                cells = next(csv.reader([line]))
                found = {name: setting(cell) for name, cell in zip(self._heading, cells, strict=False)}
            point = None if found is None else point_of(found)
            if point is None:
                self.passed_over += 1
            else:
                yield point

    def _take_heading(self, line: str) -> bool:
        """Return whether the first line is the heading of a CSV."""
        is_heading = object_in(line) is None and bool(line.strip())
        self._heading = [name.strip() for name in next(csv.reader([line.rstrip("\r\n")]))] if is_heading else []
        return is_heading


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
