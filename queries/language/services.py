"""What the answering of a text rests on: the lake that SQL goes to, and what is gathered for the user on the way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StatementError
from isoflop.queries.language.rewrite import Composed
from isoflop.queries.language.staleness import Staleness

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse import Asked


@dataclass(frozen=True)
class Sent:
    """A query as DuckDB got it, on one line, and the wall time [s] that its answer took."""

    sql: str
    seconds: float


@dataclass(frozen=True)
class Reworded:
    """A clause asked in other words than it was typed in, with its rows' FROM written into it.

    Parameters
    ----------
    typed : the text as it was typed
    start : where the clause begins in it
    kept : characters of the clause before what was written in
    added : characters that were written in
    stands_for : start and end of what an error among these is shown at
    """

    typed: str
    start: int
    kept: int
    added: int
    stands_for: tuple[int, int]

    def as_typed(self, error: StatementError) -> StatementError:
        """Return an error of the other words with its place in the text as it was typed."""
        message = error.message.partition("\n\n")[0].removeprefix(f"{error.kind} Error: ")
        start, end = self.stands_for
        if not self.kept <= error.start < self.kept + self.added:
            start, end = (
                self.start + place - (self.added if place > self.kept else 0) for place in (error.start, error.end)
            )
        return type(error)(error.kind, message, self.typed, start, max(end, start + 1), hint=error.hint)


@dataclass
class Services:
    """A lake, and what its answers are told with.

    Parameters
    ----------
    lake : whom DuckDB's part goes to
    given : tables that the text can name beside those of the lake
    notes : sentences for the user, in order
    asides : sentences on the rows that were read, which follow what is said of the answer
    units : of the columns of the answer
    beside : a table that people are shown under the answer, and programs are not
    sent : what DuckDB got
    looked : which laws are stale, by name, version and how many rows may be read to tell
    keeps_forecasts : whether FORECAST keeps what it says; not where DuckDB only explains the query around it
    reworded : clauses that are asked in other words, by these
    """

    lake: Asked
    given: Mapping[str, pa.Table] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    asides: list[str] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    beside: pa.Table | None = None
    sent: list[Sent] = field(default_factory=list)
    looked: dict[tuple[str, int, int], Staleness] = field(default_factory=dict)
    keeps_forecasts: bool = True
    reworded: dict[str, Reworded] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def hear(self, other: Services) -> None:
        """Take over what another text's answer is told with."""
        for text in other.notes:
            self.note(text)
        self.asides += other.asides

    @property
    def said(self) -> tuple[str, ...]:
        """All that is said to the user, in order."""
        return (*self.notes, *(aside for aside in dict.fromkeys(self.asides) if aside not in self.notes))

    def send(self, composed: Composed, relations: Mapping[str, pa.Table]) -> pa.Table:
        """Return DuckDB's answer to a text, and remember that it was asked.

        Parameters
        ----------
        relations : tables that the text names, beside those that are given

        Raises
        ------
        duckdb.Error : as DuckDB words it
        """
        began = time.perf_counter()
        table = self.lake.query(composed.text, composed.parameters or None, {**self.given, **relations})
        self.sent.append(Sent(composed.line, time.perf_counter() - began))
        return table
