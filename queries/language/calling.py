"""A call of a table function answered: its arguments as numbers, lists or the columns of a query, its rows a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import StatementError, did_you_mean
from isoflop.queries.language.functions import NAMES, Argument, TableFunction, Value
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.calls import arguments_of
from isoflop.queries.language.syntax.clauses import Clause
from isoflop.queries.language.syntax.nodes import Expression, Span

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 100_000  # of one call; more take minutes


@dataclass(frozen=True)
class _Asked:
    """The rows of a call: what they are asked about, and the further columns of the query they come from."""

    arguments: list[dict[str, Value]]
    beside: list[dict[str, Any]]


def answer_call(question: Question, call: Clause) -> pa.Table:
    """Return the rows of a table function: a grid of its lists, or a row for each row of a query.

    Raises
    ------
    StatementError : with a caret under the argument at fault
    """
    import pyarrow as pa

    assert call.call is not None
    function = NAMES[call.call]
    given = _given(question, function, call)
    if len(given) == 1 and None in given:
        asked = _of_query(question, function, given[None])
    else:
        asked = _of_grid(question, function, call, given)
    needed = [each.name for each in function.arguments if not each.is_optional]
    is_whole = [all(row[name] is not None for name in needed) for row in asked.arguments]
    whole = [row for row, is_there in zip(asked.arguments, is_whole, strict=True) if is_there]
    if len(whole) < len(is_whole):
        count = len(is_whole) - len(whole)
        question.note(f"{count} of {len(is_whole)} rows have no number for an argument of {function.name}: nulls there")
    try:
        found = iter(function.rows(whole))
    except ArithmeticError as error:
        raise question.error("Data", f"{function.name}: {error}", _span(question, call.first, call.last)) from None
    rows = []
    for arguments, beside, is_there in zip(asked.arguments, asked.beside, is_whole, strict=True):
        computed = next(found) if is_there else {}
        rows.append({**beside, **arguments, **computed})
    names = [*(asked.beside[0] if asked.beside else ()), *(each.name for each in function.arguments), *function.columns]
    columns = {name: pa.array([row.get(name) for row in rows]) for name in dict.fromkeys(names)}
    return pa.table({name: _typed(function, name, column) for name, column in columns.items()})


def _typed(function: TableFunction, name: str, column: pa.Array) -> pa.Array:
    """Return a column that is null throughout with the type that its values have elsewhere."""
    import pyarrow as pa

    if not pa.types.is_null(column.type):
        return column
    if name in function.lists:
        return column.cast(pa.list_(pa.string()))
    return column.cast(pa.string() if name in function.texts else pa.float64())


def _span(question: Question, first: int, last: int) -> Span:
    return Span(question.tokens[first].start, question.tokens[max(first, last - 1)].end)


def _given(question: Question, function: TableFunction, call: Clause) -> dict[str | None, Expression]:
    """Return the expression of each argument by its name; under None the one argument that is a query.

    Raises
    ------
    StatementError : for one that is empty, unknown, given twice or missing
    """
    tokens = question.tokens
    hint = f"{function.usage}, or {function.name}((SELECT …)) of a query with these columns"
    ranges = arguments_of(tokens, call)
    given: dict[str | None, Expression] = {}
    names = {each.name: each for each in function.arguments}
    for position, (first, last) in enumerate(ranges):
        name: str | None = function.arguments[position].name if position < len(function.arguments) else None
        is_named = last - first > 1 and tokens[first].is_name and tokens[first + 1].text in (":=", "=>")
        if is_named:
            name = tokens[first].name.lower()
            if name not in names:
                message = f"{function.name} has no argument '{tokens[first].name}'"
                raise question.error("Binder", message, tokens[first], did_you_mean(name, names, hint))
            first += 2
        elif name is None:
            message = f"{function.name} takes {len(names)} arguments, got {len(ranges)}"
            raise question.error("Binder", message, tokens[first], hint)
        if first >= last:
            raise question.error("Parser", f"an argument of {function.name} is empty", tokens[min(first, last)], hint)
        if name in given:
            raise question.error("Binder", f"{name} is given twice", tokens[first], hint)
        span = _span(question, first, last)
        expression = Expression(span.start, span.end, first, last, question.text[span.start : span.end])
        if len(ranges) == 1 and not is_named:
            return {None: expression} if _is_relation(question, expression) else {name: expression}
        given[name] = expression
    return given


def _is_relation(question: Question, expression: Expression) -> bool:
    """Return whether an argument is a query in parentheses, or the name of a table."""
    tokens = question.tokens[expression.first : expression.last]
    return tokens[0].text == "(" or (tokens[0].is_name and all(token.is_name or token.text == "." for token in tokens))


def _of_grid(
    question: Question, function: TableFunction, call: Clause, given: Mapping[str | None, Expression]
) -> _Asked:
    """Return every combination of the values of the arguments, the first one slowest."""
    axes: list[Sequence[Value]] = []
    for argument in function.arguments:
        expression = given.get(argument.name)
        if expression is None:
            if not argument.is_optional:
                message = f"{function.name} needs {argument.name}, {argument.meaning}"
                hint = f"{function.usage}, or {function.name}((SELECT …)) of a query with these columns"
                raise question.error("Binder", message, _span(question, call.first, call.last), hint)
            axes.append([None])
            continue
        value = _constant(question, function, expression)
        values = list(value) if isinstance(value, list | tuple) else [value]
        axes.append([_checked(question, argument, each, expression) for each in values])
    size = 1
    for axis in axes:
        size *= len(axis)
    if size > MOST_ROWS:
        message = f"{function.name} is asked about {size:,} rows; {MOST_ROWS:,} are the most"
        raise question.error("Binder", message, _span(question, call.first, call.last), "shorten its lists")
    names = [argument.name for argument in function.arguments]
    rows = [dict(zip(names, values, strict=True)) for values in product(*axes)]
    return _Asked(rows, [{}] * len(rows))


def _constant(question: Question, function: TableFunction, expression: Expression) -> Any:
    """Return the value of an argument, which names no column."""
    try:
        return question.constant(expression)
    except StatementError as error:
        if not error.message.startswith("Referenced "):
            raise
        hint = f"{function.name}((SELECT …)) takes columns, those of a query by the names of its arguments"
        message = f"{function.name} is answered before the query around it: {error.message.partition(chr(10))[0]}"
        raise question.error("Binder", message, expression, hint) from None


def _of_query(question: Question, function: TableFunction, expression: Expression) -> _Asked:
    """Return a row for each row of a query, its columns by the names of the arguments."""
    table = question.run("SELECT * FROM ", expression, place=expression)
    if table.num_rows > MOST_ROWS:
        message = f"{function.name} is asked about {table.num_rows:,} rows; {MOST_ROWS:,} are the most"
        raise question.error("Binder", message, expression, "choose among them, LIMIT is one way")
    columns = {name.lower(): name for name in table.column_names}
    chosen: dict[str, str] = {}
    for argument in function.arguments:
        if argument.name in columns:
            chosen[argument.name] = columns[argument.name]
        elif not argument.is_optional:
            message = f"the query has no column '{argument.name}', {argument.meaning}"
            have = f"it has {', '.join(table.column_names)}; {function.usage} takes numbers and lists too"
            raise question.error("Binder", message, expression, have)
    rows, beside = [], []
    for row in table.to_pylist():
        rows.append(
            {
                argument.name: _checked(question, argument, row[chosen[argument.name]], expression)
                if argument.name in chosen
                else None
                for argument in function.arguments
            }
        )
        beside.append({name: value for name, value in row.items() if name not in chosen.values()})
    return _Asked(rows, beside)


def _checked(question: Question, argument: Argument, value: Any, place: Expression) -> Value:
    """Return the value of an argument as a number; None for null.

    Raises
    ------
    StatementError : when it is no number, or not one of those that the argument can be
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise question.error("Binder", f"{argument.name} is a number or a list of numbers, got {value!r}", place)
    number = float(value)
    kind, bound = "whole number" if argument.is_whole else "number", f"above {argument.above:g}"
    wanted = f"a {kind} {bound}" if not argument.may_be_zero else f"{argument.above:g} or a {kind} {bound}"
    is_right = argument.above < number < float("inf") or (argument.may_be_zero and number == argument.above)
    if not is_right or (argument.is_whole and not number.is_integer()):
        raise question.error("Binder", f"{argument.name}, {argument.meaning}, is {wanted}, got {number:g}", place)
    return int(number) if argument.is_whole else number
