"""From tokens to OPTIMUM OF: what was swept, what tells cells apart, what is to be small, the rows."""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.queries.language.syntax.nodes import Expression, Name, NewLaw, Option, Source, Span
from isoflop.queries.language.syntax.parts import read_options, read_source
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.syntax.tokens import matching

OPTIMUM_USAGE = "OPTIMUM OF learning_rate BY (params, tokens) MINIMIZE loss FROM runs"
_AIMS = ("MINIMIZE", "MAXIMIZE")


@dataclass(frozen=True)
class Called:
    """`expression [AS name]`."""

    expression: Expression
    alias: Name | None = None

    @property
    def name(self) -> str:
        """What its values are called: by the name that is given, a column's own, or the expression as typed."""
        return self.alias.text if self.alias else self.expression.column or self.expression.text


@dataclass(frozen=True)
class OptimumClause(Span):
    """`OPTIMUM OF swept BY (column, …) [MINIMIZE target | MAXIMIZE target] FROM … [GROUP BY …] [WITH (…)]`.

    Parameters
    ----------
    name : the word OPTIMUM
    swept : what was tried at several values in each cell
    cells : what the rows of a cell have in common
    target : what is to be small, or large; the column loss when None
    """

    name: Span
    swept: Called
    cells: tuple[Called, ...]
    target: Expression | None
    maximize: bool
    source: Source
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CreateOptimum(NewLaw):
    """`CREATE LAW name AS OPTIMUM OF …`: the power law through the optima of the cells."""

    optimum: OptimumClause


def read_optimum(reader: TokenReader) -> OptimumClause:
    """Read `OPTIMUM OF swept BY (column, …) [MINIMIZE target] FROM … [WITH (…)]`.

    Raises
    ------
    QuerySyntaxError : when it does not parse
    """
    word = Span(reader.current.start, reader.current.end)
    start = reader.begin("OPTIMUM OF")
    swept = _called(reader, "what was swept", "BY", *_AIMS, "FROM")
    reader.expect("BY", OPTIMUM_USAGE, what="BY and what the rows of a cell have in common")
    cells = _cells(reader)
    target, maximize = None, False
    if reader.at(*_AIMS):
        maximize = reader.next().upper == "MAXIMIZE"
        what = f"what is to be {'large' if maximize else 'small'}"
        target = reader.expression(what, "FROM", hint=OPTIMUM_USAGE)
    source = read_source(reader, f"OPTIMUM OF {swept.expression.text} BY …", *_AIMS)
    if reader.at(*_AIMS):
        raise reader.error(f"{reader.current.upper} stands before FROM", hint=OPTIMUM_USAGE)
    if source.sharing:
        raise reader.error("OPTIMUM does not take SHARING", source.sharing[0])
    if source.weight is not None:
        raise reader.error("OPTIMUM has no weights", source.weight)
    return OptimumClause(start, reader.end, word, swept, cells, target, maximize, source, read_options(reader))


def _cells(reader: TokenReader) -> tuple[Called, ...]:
    """Read `(column [AS name], …)`, or the same without parentheses."""
    is_listed = False
    if reader.at("("):
        close = matching(reader.tokens, reader.index)
        is_listed = close < reader.last and reader.tokens[close + 1].upper in (*_AIMS, "FROM")
    part = reader.inside() if is_listed else reader
    found = [_called(part, "a column after BY", ",", *_AIMS, "FROM")]
    while part.accept(","):
        found.append(_called(part, "a column", ",", *_AIMS, "FROM"))
    if is_listed:
        part.finish(OPTIMUM_USAGE)
    return tuple(found)


def _called(reader: TokenReader, what: str, *stops: str) -> Called:
    expression = reader.expression(what, "AS", *stops, hint=OPTIMUM_USAGE)
    return Called(expression, reader.name("a name") if reader.accept("AS") else None)
