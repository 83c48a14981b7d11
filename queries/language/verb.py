"""What a verb is: its words, its grammar, how it is read, what it does, and what is said about it.

Everything that knows the verbs is derived from the one tuple `VERBS` of such records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from isoflop.queries.language.syntax.nodes import Span
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.syntax.words import Spelled

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.queries.language.question import Question

N = TypeVar("N", bound=Span)
Steps: TypeAlias = list[tuple[str, str]]


class Plan(Protocol):
    """A clause bound to its laws, rows and points: what EXPLAIN shows, and what answers it, of the same objects."""

    def steps(self) -> Steps:
        """Return what the verb will do: steps and the detail of each."""

    def run(self) -> pa.Table:
        """Do it and return the rows of the answer.

        Raises
        ------
        StatementError : with a caret under the part at fault
        """


@dataclass(frozen=True)
class Page:
    """What the reference says of a verb beyond its grammar.

    Parameters
    ----------
    purpose : what it is for, and what is not obvious about it
    sample : a statement with the verb and nothing around it, over published runs; empty when it has no rows
    columns : what it answers with, in order: name -> meaning with unit. `<target>` stands for the target's name,
        a name with a blank in it for columns that are named elsewhere
    options : keys of its WITH list
    defaults : what a key is without it, where that is not what `describe_option` says
    examples : statements whose answers are shown
    mistakes : statements whose errors are shown
    """

    purpose: str
    sample: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Brief:
    """What the shell says of a verb.

    Parameters
    ----------
    meaning : what it does, in a few words
    example : a statement over any lake's runs, without its semicolon; it may use what earlier examples made
    words : as it is typed, where that is not the verb's words
    """

    meaning: str
    example: str
    words: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Verb(Spelled, Generic[N]):
    """A verb of the language.

    Parameters
    ----------
    rule : its grammar, as `syntax/grammar.py` reads it; diagrams and statements of tests are made from it
    node : what a clause of it is read into, or what that is derived from
    parse : reads a clause, from its first word on
    plan : binds a clause; nothing is done before the plan runs
    page : what the reference says
    briefs : what the shell says, and what is completed
    clauses : keywords of its own that are completed, with what they mean
    changes : whether it writes into the lake, which one that is open for reading only refuses
    is_of_program : whether it lists what comes with the program, whatever a lake holds
    """

    rule: str
    node: type[N]
    parse: Callable[[TokenReader], N]
    plan: Callable[[Question, N], Plan]
    page: Page
    briefs: tuple[Brief, ...]
    clauses: Mapping[str, str] = field(default_factory=dict)
    changes: bool = False
    is_of_program: bool = False
