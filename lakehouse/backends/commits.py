"""Counting commits twice, in the lake and beside it, so that a loss of the last ones is noticed.

A write-ahead log that is cut short, or an older copy put in the lake's place, opens without a word from
DuckDB. So every transaction raises a number in the lake, and after it the number is noted in the lake's
spool folder. A lake that knows fewer commits than were noted has lost some.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

NAME = "commits.json"
RAISE = "UPDATE store.commits SET number = number + 1 RETURNING number"
# When a lake was made tells it from another one that has its name after it was removed.
STATE = """
SELECT (SELECT max(number) FROM store.commits) AS number,
       (SELECT min(applied_at)::VARCHAR FROM store.schema_migrations) AS made
"""


@dataclass(frozen=True)
class Loss:
    """Commits that a lake had and does not have any more."""

    known: int
    noted: int
    noted_at: str

    def __str__(self) -> str:
        lost = self.noted - self.known
        return (
            f"{lost} {'commit' if lost == 1 else 'commits'} lost: it had {self.noted} on {self.noted_at} UTC, "
            f"and had {self.known} when it was opened again"
        )


@dataclass(frozen=True)
class Mark:
    """What is noted beside a lake.

    Parameters
    ----------
    made : when the lake was made, which tells it from others
    number : how many commits it has
    at : when it had as many, UTC
    losses : what was found missing and not taken note of
    """

    made: str
    number: int
    at: str
    losses: tuple[Loss, ...] = ()


class CommitCount:
    """The number of commits of an open lake, and its mark beside the lake.

    Parameters
    ----------
    con : connection to the lake
    spool_folder : where the mark is; without that folder there is none
    was_empty : whether the file was there and held no lake: what it held, if anything, is lost
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, spool_folder: Path, was_empty: bool = False) -> None:
        self._spool_folder = spool_folder
        (row,) = con.execute(STATE).fetchall()
        self.number, self._made = int(row[0] or 0), str(row[1])
        mark = read_mark(spool_folder)
        self.losses = mark.losses if mark is not None and (mark.made == self._made or was_empty) else ()
        if mark is not None and (self.number < mark.number if mark.made == self._made else was_empty and mark.number):
            self.losses = (*self.losses, Loss(self.number, mark.number, mark.at))
            self.note(self.number)

    def note(self, number: int) -> None:
        """Note beside the lake that it has so many commits; whatever goes wrong with that is left alone."""
        self.number = number
        mark = Mark(self._made, number, datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"), self.losses)
        path = self._spool_folder / NAME
        partial = path.with_name(f"{NAME}.{os.getpid()}.partial")
        try:
            partial.write_text(json.dumps(asdict(mark)))
            os.replace(partial, path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def forgive(self) -> Sequence[Loss]:
        """Take note of what is lost, so that it is not reported again, and return it."""
        losses, self.losses = self.losses, ()
        self.note(self.number)
        return losses


def raise_number(con: duckdb.DuckDBPyConnection) -> int:
    """Count the transaction that is open on `con`, and return the number it has when it is committed."""
    row = con.execute(RAISE).fetchone()
    return int(row[0]) if row else 0


def read_mark(spool_folder: Path) -> Mark | None:
    """Return the mark beside a lake, or None when there is none that can be read."""
    try:
        about = json.loads((spool_folder / NAME).read_text())
        losses = tuple(
            Loss(int(each["known"]), int(each["noted"]), str(each["noted_at"])) for each in about.pop("losses")
        )
        return replace(Mark(str(about["made"]), int(about["number"]), str(about["at"])), losses=losses)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
