"""What a table function is: how it is called, what it answers with, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Value = int | float | None
Row = dict[str, object]
Asked = Sequence[Mapping[str, Value]]


@dataclass(frozen=True)
class Argument:
    """An argument: a number.

    Parameters
    ----------
    name : by which it can be given, and that of the column of a query
    meaning : what it is, and its unit
    above : it is larger
    may_be_zero : whether it may be what it is above as well
    is_whole : whether it is a whole number
    is_optional : whether it may be left out; the function then says what it is
    """

    name: str
    meaning: str
    above: float = 0.0
    may_be_zero: bool = False
    is_whole: bool = False
    is_optional: bool = False


@dataclass(frozen=True, kw_only=True)
class TableFunction:
    """A function that stands where a table does.

    Parameters
    ----------
    name : of it
    purpose : what it is for
    module : where it is derived
    source : paper and equation
    arguments : in the order in which they are given; two of them at least are needed
    columns : what it answers with behind its arguments, in order: name -> meaning with unit
    texts, lists : those of the columns that are texts, and lists of texts; the others are numbers, or true and false
    rows : takes the arguments of some rows, none of them missing but optional ones, and returns their columns
    examples, mistakes : statements whose answers and errors the reference shows
    """

    name: str
    purpose: str
    module: str
    source: str
    arguments: tuple[Argument, ...]
    columns: Mapping[str, str]
    rows: Callable[[Asked], list[Row]]
    examples: tuple[str, ...]
    texts: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """How it is called, such as `phases(alpha, beta)`."""
        names = [f"{each.name} := …" if each.is_optional else each.name for each in self.arguments]
        return f"{self.name}({', '.join(names)})"


def number(value: Value) -> float:
    """Return the value of an argument that cannot be left out."""
    assert value is not None  # arguments that are not optional are there
    return value
