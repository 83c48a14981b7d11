"""A law as SQL functions: `chin(params, tokens)`, and the ends of its interval, `chin_lower` and `chin_upper`.

The functions are macros with their numbers written in, so that any DuckDB client that reads the lake has them, under
whatever name it is attached. Where EXTRAPOLATE has no prediction, because an input is not finite, or not positive and
has to be, or the law is not finite there, they are NULL. The ends are what EXTRAPOLATE prints at the law's level:
quantiles of the resampled curves with the scatter of a new run, widened beyond the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.intervals import spread
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.language.own_domain import conditions
from isoflop.queries.laws import Law, find_law
from isoflop.queries.laws.algebra.expression import sql_number

if TYPE_CHECKING:
    from isoflop.queries.language.records import LawRecord

from isoflop.queries.language.syntax.tokens import quote_name

Array = NDArray[np.float64]

BOUNDS = ("lower", "upper")
_INPUTS, _DRAW, _CURVES, _ENDS, _BEYOND = (f"_isoflop_{letter}" for letter in "xdcyb")  # names in lambdas
_NOTHING = "CAST(NULL AS DOUBLE)"


def macro_names(name: str) -> tuple[str, ...]:
    """Return the names of the SQL functions of a law: its own, and those of the ends of its interval."""
    return (name, *(f"{name}_{bound}" for bound in BOUNDS))


def macros_of(record: LawRecord) -> list[str]:
    """Return the statements that make the SQL functions of a named law; none for a law that SQL cannot compute."""
    name = str(record.name)
    macro = record.law.macro(name, record.fitted.coefficients)
    if macro is None:
        return []
    made = [_guarded(record, name, macro)]
    tail = (1 - record.level) / 2
    parameters = ", ".join(quote_name(input_) for input_ in record.inputs)
    for function, share in zip(macro_names(name)[1:], (tail, 1 - tail), strict=True):
        body = bound_sql(record.fitted, share, lambda inputs: _where_bounded(record, inputs))
        if body is not None:
            made.append(f"CREATE OR REPLACE MACRO {quote_name(function)}({parameters}) AS ({body})")
    return made


def _guarded(record: LawRecord, name: str, macro: str) -> str:
    """Return the statement that makes the law's own function, with NULL where EXTRAPOLATE has no prediction.

    Parameters
    ----------
    macro : the statement that computes the law whatever its inputs are
    """
    columns = record.inputs
    head = f"CREATE OR REPLACE MACRO {quote_name(name)}({', '.join(map(quote_name, columns))}) AS ("
    if not macro.startswith(head):  # a law that calls its parameters after its own inputs, whatever it is fitted on
        head, _, _ = macro.partition(") AS (")
        head, columns = f"{head}) AS (", tuple(input_.name for input_ in find_law(record.form).inputs)
    inputs = [f"CAST({quote_name(column)} AS DOUBLE)" for column in columns]
    usable = _usable(record.law, inputs, conditions(record, inputs))
    value = f"CASE WHEN {usable} THEN {macro[len(head) : -1]} END"
    finite = f"CASE WHEN isfinite({_ENDS}) THEN {_ENDS} END"
    return f"{head}{_named(_ENDS, value, finite)})"


def _usable(law: Law, inputs: Sequence[str], further: Sequence[str]) -> str:
    """Return the condition in SQL that a law predicts at these inputs: they are finite, and positive where need be.

    What is computed of them is asked only where they are: DuckDB refuses the logarithm of zero.
    """
    usable = " AND ".join(
        f"isfinite({text})" + (f" AND {text} > 0" if input_.positive else "")
        for text, input_ in zip(inputs, law.inputs, strict=True)
    )
    own = " AND ".join(further)
    return f"CASE WHEN {usable} THEN {own} ELSE false END" if own else usable


def _where_bounded(record: LawRecord, inputs: Sequence[str]) -> list[str]:
    """Return further conditions that a prediction has an interval: no run scatters by a share of zero or less."""
    found = conditions(record, inputs)
    if record.is_given and not record.fitted.scatter.is_additive:
        value = record.law.sql([sql_number(each) for each in record.fitted.coefficients], inputs)
        found += [] if value is None else [f"coalesce({value} > 0, false)"]
    return found


def dropped_macros(name: str) -> list[str]:
    """Return the statements that remove the SQL functions of a law."""
    return [f"DROP MACRO IF EXISTS {quote_name(macro)}" for macro in macro_names(name)]


def bound_sql(
    fitted: FittedLaw, share: float, further: Callable[[Sequence[str]], list[str]] | None = None
) -> str | None:
    """Return SQL over the inputs' names that computes one end of the prediction interval; None for a law without SQL.

    Parameters
    ----------
    share : of new runs that fall below it [1]
    further : returns conditions on the inputs beyond those of each; none when None

    A list of one element stands for a name that SQL has no other way to give: what the only lambda over it calls so
    is computed once for a row, and may hold a subquery, which a lambda may not.
    """
    law = fitted.law
    inputs = [f"{_INPUTS}[{p + 1}]" for p in range(len(law.inputs))]
    predicted = law.sql([sql_number(coefficient) for coefficient in fitted.coefficients], inputs)
    if predicted is None:
        return None
    draws, noise = spread(fitted)
    if not len(draws) or not np.isfinite(noise).all():
        return _NOTHING
    varying = [k for k in range(draws.shape[1]) if np.ptp(draws[:, k]) > 0]
    texts = [
        f"{_DRAW}[{varying.index(k) + 1}]" if k in varying else sql_number(draws[0, k]) for k in range(draws.shape[1])
    ]
    values = np.column_stack([draws[:, varying], noise])
    is_additive = fitted.scatter.is_additive
    curve = f"{_DRAW}[{len(varying) + 1}] {'+' if is_additive else '*'} {law.sql(texts, inputs)}"
    curves = f"list_transform(CAST('{_literal(values)}' AS DOUBLE[][]), lambda {_DRAW}: {curve})"
    quantile = f"list_aggregate({_CURVES}, 'quantile_cont', {sql_number(share)})"
    end = _named(_CURVES, curves, f"CASE WHEN isfinite(list_sum({_CURVES})) THEN {quantile} END")
    reached = f"{_ENDS}[2]"
    if fitted.widening is not None:
        reached = fitted.widening.sql(_ENDS, inputs, _BEYOND, share=share, is_additive=is_additive)
    ends = _named(_ENDS, f"[{predicted}, {end}]", f"CASE WHEN isfinite({_ENDS}[1]) THEN {reached} END")
    usable = _usable(law, inputs, further(inputs) if further else [])
    given = ", ".join(f"CAST({quote_name(input_.name)} AS DOUBLE)" for input_ in law.inputs)
    return _named(_INPUTS, f"[{given}]", f"CASE WHEN {usable} THEN {ends} END")


def _named(name: str, value: str, body: str) -> str:
    """Return SQL in which `name` stands for `value` within `body`."""
    return f"list_transform([{value}], lambda {name}: {body})[1]"


def _literal(rows: Array) -> str:
    """Return a text that DuckDB casts to exactly these lists of numbers."""
    lists: Sequence[Sequence[float]] = rows.tolist()
    return "[" + ",".join("[" + ",".join(map(repr, row)) + "]" for row in lists) + "]"
