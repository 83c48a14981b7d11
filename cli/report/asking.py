"""Asks a lake what a report says: every answer with its statement, every part that cannot be had with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from isoflop.cli.report.content import Asked, Missing, Part

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse


@dataclass
class Asker:
    """Asks the statements of one section; a note that several answers have is said once.

    Parameters
    ----------
    lake : that answers
    """

    lake: Lakehouse
    _said: set[str] = field(default_factory=set)

    def ask(
        self, caption: str, statement: str, *, units: Mapping[str, str | None] | None = None, is_on_side: bool = False
    ) -> Asked:
        """Return an answer with the notes that the section has not said before.

        Parameters
        ----------
        units : of columns whose names do not tell; None for one that has none
        is_on_side : one row, shown a line a column
        """
        answer = self.lake.sql(statement)
        known = {name: unit for name, unit in (units or {}).items() if unit is not None}
        answer = replace(answer, units={**answer.units, **known})
        notes = tuple(note for note in answer.notes if note not in self._said)
        self._said.update(notes)
        return Asked(caption, answer, notes, is_on_side)


def parts_of(what: str, make: Callable[[], tuple[Part, ...]]) -> tuple[Part, ...]:
    """Return parts, or what is missing and why, where the lake has nothing to say or cannot.

    Parameters
    ----------
    what : the parts in a few words
    make : asks for them
    """
    import duckdb

    from isoflop.lakehouse.errors import Interrupted, IsoflopError, StoreError

    try:
        return make()
    except (Interrupted, StoreError):  # which no other part would fare better with
        raise
    except (IsoflopError, duckdb.Error) as error:
        return (Missing(what, _reason(error)),)


def _reason(error: Exception) -> str:
    """Return the first line of an error without the class in front, and its hint."""
    first, *others = str(error).strip().splitlines() or [type(error).__name__]
    kind, colon, rest = first.partition(" Error: ")
    hints = [line for line in others if line.startswith("Hint: ")]
    return "; ".join([rest if colon and " " not in kind else first, *(hint[len("Hint: ") :] for hint in hints)])
