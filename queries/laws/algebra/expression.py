"""What a formula is made of: numbers, symbols and calls of the operations in `OPERATIONS`.

The tree is small on purpose. It is evaluated by NumPy and written as SQL without SymPy, so that a law whose
shape is known (a sum of powers) is fitted and stored before the half second that importing SymPy takes.
Every operation says in one line how NumPy, SQL and SymPy spell it; a new one is a new line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Number:
    """A constant of a formula."""

    value: float


@dataclass(frozen=True)
class Symbol:
    """A coefficient or an input, by name."""

    name: str


@dataclass(frozen=True)
class Call:
    """An operation of `OPERATIONS` on one or more expressions."""

    operation: str
    arguments: tuple[Expression, ...]


Expression = Number | Symbol | Call


@dataclass(frozen=True)
class Operation:
    """One operation as NumPy computes it, as SQL writes it and as SymPy knows it.

    `sql` holds `{0}`, `{1}` for the arguments; None joins any number of them under the operation's own name.
    `symbolic` takes the SymPy module first, so that declaring the table does not import it.
    """

    arity: tuple[int, int]
    numeric: Callable[..., Any]
    sql: str | None
    symbolic: Callable[..., Any]


OPERATIONS: dict[str, Operation] = {
    "add": Operation((2, 2), np.add, "({0} + {1})", lambda sp, a, b: a + b),
    "subtract": Operation((2, 2), np.subtract, "({0} - {1})", lambda sp, a, b: a - b),
    "multiply": Operation((2, 2), np.multiply, "({0} * {1})", lambda sp, a, b: a * b),
    "divide": Operation((2, 2), np.divide, "({0} / {1})", lambda sp, a, b: a / b),
    "power": Operation((2, 2), np.power, "pow({0}, {1})", lambda sp, a, b: a**b),
    "negate": Operation((1, 1), np.negative, "(-{0})", lambda sp, a: -a),
    "exp": Operation((1, 1), np.exp, "exp({0})", lambda sp, a: sp.exp(a)),
    "ln": Operation((1, 1), np.log, "ln({0})", lambda sp, a: sp.log(a)),
    "log10": Operation((1, 1), np.log10, "log10({0})", lambda sp, a: sp.log(a) / sp.log(10)),
    "log2": Operation((1, 1), np.log2, "log2({0})", lambda sp, a: sp.log(a) / sp.log(2)),
    "sqrt": Operation((1, 1), np.sqrt, "sqrt({0})", lambda sp, a: sp.sqrt(a)),
    "cbrt": Operation((1, 1), np.cbrt, "cbrt({0})", lambda sp, a: sp.cbrt(a)),
    "abs": Operation((1, 1), np.abs, "abs({0})", lambda sp, a: sp.Abs(a)),
    "tanh": Operation((1, 1), np.tanh, "tanh({0})", lambda sp, a: sp.tanh(a)),
    "greatest": Operation((1, 99), lambda *a: reduce(np.maximum, a), None, lambda sp, *a: sp.Max(*a)),
    "least": Operation((1, 99), lambda *a: reduce(np.minimum, a), None, lambda sp, *a: sp.Min(*a)),
}


def evaluate(expression: Expression, values: Mapping[str, Array | float]) -> Array:
    """Return the value of an expression, broadcast over the arrays given for its symbols.

    Parameters
    ----------
    expression : tree of numbers, symbols and calls
    values : arrays of any shapes that broadcast, by symbol name

    Returns
    -------
    float array of the broadcast shape; nan or inf where the formula is not defined

    Example
    -------
    >>> tree = Call("divide", (Symbol("A"), Symbol("x")))
    >>> evaluate(tree, {"A": 6.0, "x": np.array([1.0, 2.0])})
    array([6., 3.])
    """
    with np.errstate(all="ignore"):
        return np.asarray(_evaluate(expression, values), dtype=np.float64)


def _evaluate(expression: Expression, values: Mapping[str, Array | float]) -> Any:
    match expression:
        case Number(value):
            return np.float64(value)
        case Symbol(name):
            return values[name]
        case Call(operation, arguments):
            return OPERATIONS[operation].numeric(*(_evaluate(argument, values) for argument in arguments))


def to_sql(expression: Expression, symbols: Mapping[str, str]) -> str:
    """Return the expression as DuckDB SQL in DOUBLE arithmetic, in the same order of operations.

    Parameters
    ----------
    expression : tree of numbers, symbols and calls
    symbols : the SQL text that stands for each symbol

    Example
    -------
    >>> to_sql(Call("power", (Symbol("x"), Number(0.5))), {"x": "n"})
    'pow(n, 0.5e0)'
    """
    match expression:
        case Number(value):
            return sql_number(value)
        case Symbol(name):
            return symbols[name]
        case Call(operation, arguments):
            texts = [to_sql(argument, symbols) for argument in arguments]
            template = OPERATIONS[operation].sql
            return f"{operation}({', '.join(texts)})" if template is None else template.format(*texts)


def sql_number(value: float) -> str:
    """Return a number that DuckDB reads back as exactly this DOUBLE; without an exponent it would be a DECIMAL."""
    if not math.isfinite(value):
        return f"CAST('{value}' AS DOUBLE)"
    text = repr(float(value))
    text = text if "e" in text else f"{text}e0"
    return f"({text})" if value < 0 else text


def quoted(name: str) -> str:
    """Return an SQL identifier, quoted so that no keyword or blank in it matters."""
    return '"' + name.replace('"', '""') + '"'


def symbols_of(expression: Expression) -> tuple[str, ...]:
    """Return the names in an expression, in order of first appearance."""
    return tuple(dict.fromkeys(_names(expression)))


def _names(expression: Expression) -> Iterator[str]:
    match expression:
        case Symbol(name):
            yield name
        case Call(_, arguments):
            for argument in arguments:
                yield from _names(argument)


def needing_positive(expression: Expression) -> frozenset[str]:
    """Return the symbols that stand inside a logarithm, a root or a base whose exponent is not a whole number.

    These are real numbers only for positive values, so a row with zero or less there cannot be used.
    """
    return frozenset(_needing_positive(expression))


def _needing_positive(expression: Expression) -> Iterator[str]:
    if not isinstance(expression, Call):
        return
    match expression:
        case Call("ln" | "log10" | "log2" | "sqrt", (argument,)):
            yield from _names(argument)
        case Call("power", (base, exponent)) if not (
            isinstance(exponent, Number) and exponent.value == int(exponent.value)
        ):
            yield from _names(base)
    for argument in expression.arguments:
        yield from _needing_positive(argument)


def is_identifier(name: str) -> bool:
    """Return whether a name can stand in SQL and Python without quotes."""
    return re.fullmatch(r"[A-Za-z_]\w*", name) is not None
