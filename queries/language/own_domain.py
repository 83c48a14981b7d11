"""Where a law of expressions is defined: each expression that has to be positive is, whatever its columns are.

`power(log(tokens))` is kept as a formula of `tokens`, and an even power of a negative logarithm is a number all the
same; the law knows nothing of it, because no row that it is fitted to has one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws import FormulaError
from isoflop.queries.laws.algebra.expression import Expression, evaluate, to_sql
from isoflop.queries.laws.algebra.parser import parse_expression

if TYPE_CHECKING:
    from isoflop.queries.language.records import LawRecord


def positive_expressions(record: LawRecord) -> dict[str, Expression]:
    """Return the expressions that have to be positive, by their text; none for a law of columns."""
    if record.own is None:
        return {}
    columns = list(_columns(record))
    found = {}
    for input_, argument in zip(record.own.law.inputs, record.own.arguments, strict=True):
        if input_.positive and argument not in record.arguments:
            with contextlib.suppress(FormulaError):  # of a version that wrote it otherwise: the formula stands alone
                found[argument] = parse_expression(argument, columns)
    return found


def outside(record: LawRecord, inputs: NDArray[np.float64]) -> dict[str, NDArray[np.str_]]:
    """Return what is wrong with the expressions of each row, empty for nothing.

    Parameters
    ----------
    inputs : (R, P) of the law's columns
    """
    values = dict(zip(_columns(record), inputs.T, strict=True))
    found = {}
    for text, expression in positive_expressions(record).items():
        value = np.broadcast_to(evaluate(expression, values), len(inputs))
        found[text] = np.where(value > 0, "", "not a positive number there")
    return found


def conditions(record: LawRecord, sql: Sequence[str]) -> list[str]:
    """Return the conditions in SQL that the expressions are positive.

    Parameters
    ----------
    sql : the text that stands for each of the law's columns
    """
    names: Mapping[str, str] = dict(zip(_columns(record), sql, strict=True))
    return [f"coalesce({to_sql(each, names)} > 0, false)" for each in positive_expressions(record).values()]


def _columns(record: LawRecord) -> list[str]:
    """Return the column that each input of a law over columns is read from, as an expression names it."""
    return [argument[1:-1].replace('""', '"') if argument[:1] == '"' else argument for argument in record.arguments]
