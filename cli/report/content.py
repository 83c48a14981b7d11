"""What a report says, before anything decides how it is written: sections of words, answers and pictures.

Every number of a report is in an answer, whose statement stands beside it; words quote a cell of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from isoflop.cli.plot.figure import Figure
from isoflop.lakehouse.visible import visible

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer


@dataclass(frozen=True, eq=False)
class Asked:
    """A statement with its answer.

    Parameters
    ----------
    caption : what the answer is, in words
    answer : the rows, with the statement that gives them again
    notes : those of the answer that the section has not said before
    is_on_side : one row, shown a line a column
    """

    caption: str
    answer: Answer
    notes: tuple[str, ...] = ()
    is_on_side: bool = False

    @property
    def statement(self) -> str:
        """The statement, without the semicolon."""
        return self.answer.statement.strip().rstrip(";")


@dataclass(frozen=True, eq=False)
class Quoted:
    """A cell of an answer, quoted in a sentence."""

    asked: Asked
    column: str
    row: int = 0

    @property
    def text(self) -> str:
        """The cell as its table shows it."""
        from isoflop.cli.cells import table_cells

        names, rows = table_cells(self.asked.answer)
        return rows[self.row][names.index(visible(self.column))]


@dataclass(frozen=True, eq=False)
class Sentence:
    """Words, and numbers quoted from answers."""

    parts: tuple[str | Quoted, ...]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture; its statements are in the figure."""

    caption: str
    figure: Figure


@dataclass(frozen=True)
class Code:
    """A statement to run again, such as the one that made a law, which the report itself has not asked."""

    caption: str
    statement: str


@dataclass(frozen=True)
class Health:
    """How the fit of a law went: its status and its notes, each `kind: sentence`."""

    status: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """A part that is not there, and why."""

    what: str
    why: str


Part: TypeAlias = Asked | Sentence | Drawn | Code | Health | Missing


@dataclass(frozen=True, eq=False)
class Section:
    """Parts under one heading.

    Parameters
    ----------
    anchor : unique on the page, of letters, digits and hyphens
    title : the heading
    parts : in the order in which they are read
    is_inner : a part of the section before
    """

    anchor: str
    title: str
    parts: tuple[Part, ...]
    is_inner: bool = False


@dataclass(frozen=True, eq=False)
class Report:
    """A page that is not written yet.

    Parameters
    ----------
    title : of the page
    made_with : what it was made with and when: pairs of a name and a value
    sections : from top to bottom
    """

    title: str
    made_with: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]

    def parts(self) -> Iterator[Part]:
        """Return the parts of all sections, from top to bottom."""
        for section in self.sections:
            yield from section.parts

    def statements(self) -> tuple[str, ...]:
        """Return every statement that was asked, once each, in the order of the page."""
        found: dict[str, None] = {}
        for part in self.parts():
            match part:
                case Asked():
                    found[part.statement] = None
                case Drawn():
                    found.update((text.strip().rstrip(";"), None) for text in part.figure.statements)
                case _:
                    pass
        return tuple(found)
