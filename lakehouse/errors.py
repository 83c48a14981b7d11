"""Every error a user can cause or meet, with the exit code the command line gives it.

IsoflopError
 ├─ UsageError          2  a wrong option or a wrong file given as an argument
 ├─ StoreError          3  the lakehouse cannot be opened, read or written
 │   └─ DataFileMissing      a Parquet file of a shared lake's table is gone or damaged
 ├─ RecordError         1  a value that no run can have
 ├─ StatementError      1  a statement that cannot be answered, with a caret under its token
 │   ├─ QuerySyntaxError     it does not parse
 │   └─ UnknownName          a law, column or option that does not exist
 ├─ UnitMismatch        1  two quantities that cannot be compared
 ├─ EmptySelection      1  no rows left to work on
 ├─ FitError            1  a fit with nothing to return
 ├─ RunFailed           4  a training run that did not finish
 └─ Interrupted       130  the caller asked to stop

A message has three parts: what is wrong with the value seen, what was expected, what to do.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from isoflop.lakehouse.visible import visible

WIDEST_LINE = 200  # characters of a line that an error shows whole; of a longer one it shows a part
CONTEXT = 60  # characters before the caret that it then shows, and half of those after it
CLOSE = 0.6  # likeness of two words, by difflib [1], from which one is offered for the other


class IsoflopError(Exception):
    """The root of the tree; `exit_code` is what the process returns.

    Messages quote what strangers wrote, so control characters in them are written out.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = visible(message)
        self.hint = None if hint is None else visible(hint)
        super().__init__(self.message if self.hint is None else f"{self.message}\nHint: {self.hint}")


class UsageError(IsoflopError):
    """A wrong option, or a wrong file given as an argument."""

    exit_code = 2


class StoreError(IsoflopError):
    """The lakehouse cannot be opened, read or written."""

    exit_code = 3


class DataFileMissing(StoreError):
    """A file that a table of a shared lake is kept in is gone, or cannot be read."""


class RecordError(IsoflopError):
    """A value that no run can have."""


class UnitMismatch(IsoflopError):
    """Two quantities that cannot be compared."""


class EmptySelection(IsoflopError):
    """No rows are left to work on."""


class FitError(IsoflopError):
    """A fit with nothing to return."""


class RunFailed(IsoflopError):
    """A training run that did not finish."""

    exit_code = 4


class Interrupted(IsoflopError):
    """Somebody asked to stop what was being answered."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted")


class StatementError(IsoflopError):
    """A statement that cannot be answered, printed as DuckDB prints its own.

    Parameters
    ----------
    kind : class shown to the user: `Parser`, `Binder`, `Catalog`, `Data` or `Fit`
    message : one line, lower case
    text : the whole statement as it was typed
    start, end : character positions in `text` that the caret underlines
    hint : what to do about it
    """

    def __init__(self, kind: str, message: str, text: str, start: int, end: int, *, hint: str | None = None) -> None:
        self.kind, self.text, self.start, self.end = kind, text, start, end
        super().__init__(f"{kind} Error: {message}\n\n{underline(text, start, end)}", hint=hint)


class QuerySyntaxError(StatementError):
    """A statement that does not parse."""


class UnknownName(StatementError):
    """A law, column, form or option that does not exist."""


class FileError(UsageError):
    """A wrong line in a file a user wrote, printed as `file:line: message`."""

    def __init__(self, path: str | Path, line: int | None, message: str, *, hint: str | None = None) -> None:
        where = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{where}: {message}", hint=hint)


def underline(text: str, start: int, end: int) -> str:
    """Return the line that holds `start` with a caret under each character up to `end`.

    Example
    -------
    >>> print(underline("FIT loss ~ chinchila(n)", 11, 20))
    LINE 1: FIT loss ~ chinchila(n)
                       ^^^^^^^^^
    """
    start = min(max(start, 0), len(text))
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", start)
    last = len(text) if last < 0 else last
    label = f"LINE {text.count(chr(10), 0, start) + 1}: "
    shown_first, shown_last, before, after = first, last, "", ""
    if last - first > WIDEST_LINE:
        shown_first, shown_last = max(first, start - CONTEXT), min(last, start + 2 * CONTEXT)
        before, after = "..." * (shown_first > first), "..." * (shown_last < last)
    line = before + visible(text[shown_first:shown_last].replace("\t", " ").rstrip("\r")) + after
    left = display_width(label + before + visible(text[shown_first:start]))
    return f"{label}{line}\n{' ' * left}{'^' * max(1, display_width(visible(text[start : min(end, shown_last)])))}"


def display_width(text: str) -> int:
    """Return how many columns a terminal gives a text: none for accents on their own, two for wide characters.

    Example
    -------
    >>> display_width("loss"), display_width("損失")
    (4, 4)
    """
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def nearest(word: str, known: Iterable[str], cutoff: float = CLOSE) -> str | None:
    """Return the known name closest to `word`, or None when nothing is as much like it as the cutoff [1]."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return the hint for an unknown name: the nearest one, else `otherwise`."""
    best = nearest(word, known)
    if best is None:
        return otherwise
    return f"did you mean '{best}'?" + (f" {otherwise}" if otherwise else "")
