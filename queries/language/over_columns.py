"""A law over columns: one that was fitted on expressions of columns, written so that it takes the columns themselves.

`chinchilla(params / 1e6, tokens / 1e9)` is fitted on what the expressions give. What is kept is the same curve as a
formula over `params` and `tokens`, with the same coefficients, so that every verb, macro and picture means the columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import StatementError
from isoflop.lakehouse.units import UNITS
from isoflop.queries.language.bind import Bound, names_in, tidy, with_names
from isoflop.queries.language.question import Question
from isoflop.queries.language.rows import Piece, source_pieces
from isoflop.queries.language.syntax.nodes import Expression, Source
from isoflop.queries.language.syntax.tokens import quote_name, tokenize
from isoflop.queries.laws import Formula, FormulaError, Law, find_law, parse_formula

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OverColumns:
    """A law whose inputs are columns.

    Parameters
    ----------
    law : with P columns as its inputs
    arguments : SQL of each of them
    support : (P, 2) lowest and largest value of each among the rows that were fitted to
    edge : lowest and largest log of their product, or None where they are not all positive
    """

    law: Formula
    arguments: tuple[str, ...]
    support: Array
    edge: tuple[float, float] | None


def has_expressions(bound: Bound) -> bool:
    """Return whether a built-in law reads something else than columns."""
    return bound.is_built_in and any(isinstance(each, Expression) and each.column is None for each in bound.columns)


def over_columns(question: Question, bound: Bound, source: Source) -> OverColumns | None:
    """Return the law of a FIT over its columns; None where it reads columns only, or what is no formula of ours.

    Raises
    ------
    StatementError : when DuckDB cannot answer
    """
    if not has_expressions(bound) or bound.law.text is None:
        return None
    columns: dict[str, Expression] = {}
    texts: dict[str, str] = {}
    for given, argument in zip(bound.law.inputs, bound.columns, strict=True):
        if isinstance(argument, Expression):
            for name, place in names_in(question, argument, ()).items():
                columns.setdefault(name, place)
        texts[given.name] = f"({tidy(question, argument)})" if isinstance(argument, Expression) else argument.text
    try:
        law = rewritten(bound.law, texts, list(columns))
    except (FormulaError, RecursionError):
        return None
    names = [given.name for given in law.inputs]
    if set(names) - set(columns):  # a column that an argument names in another case
        return None
    support, edge = _support(question, bound, source, [columns[name] for name in names])
    return OverColumns(law, tuple(quote_name(name) for name in names), support, edge)


def own_law(bound: Bound) -> Law:
    """Return a built-in law with the inputs that its form has, but those read from a column called as that is."""
    own = find_law(bound.form).inputs
    names = [
        argument.column if isinstance(argument, Expression) and argument.column else input_.name
        for argument, input_ in zip(bound.columns, own, strict=True)
    ]
    return with_names(bound.law, names, bound.target_name)


def rewritten(law: Law, texts: dict[str, str], columns: list[str]) -> Formula:
    """Return a law with its inputs replaced by expressions over columns.

    Parameters
    ----------
    texts : input of the law -> expression
    columns : names that the expressions may have

    Raises
    ------
    FormulaError : when an expression is no formula, or a column is called as a coefficient is

    Example
    -------
    >>> from isoflop.queries.laws import POWER
    >>> law = rewritten(POWER, {"x": "(params / 1e6)"}, ["params"])
    >>> law.law, [given.name for given in law.inputs]
    ('E + A / (params / 1e6) ^ alpha', ['params'])
    """
    written = str(law.text)
    names = {coefficient.name.lower() for coefficient in law.coefficients}
    if clash := [column for column in columns if column.lower() in names]:
        raise FormulaError("Binder", f"'{clash[0]}' is a column and a coefficient", written, 0, len(written))
    parts, position = [], 0
    for token in tokenize(written):
        parts.append(written[position : token.start])
        parts.append(texts.get(token.name, token.text) if token.is_name else token.text)
        position = token.end
    text = "".join((*parts, written[position:]))
    made = parse_formula(
        text, law.coefficients, columns, name=law.name, target=law.target, unit=law.unit, objective=law.objective
    )
    inputs = tuple(type(given)(given.name, UNITS.get(given.name, given.unit), given.positive) for given in made.inputs)
    return Formula(
        name=made.name, law=text, coefficients=law.coefficients, inputs=inputs, target=law.target, unit=law.unit,
        objective=law.objective, source=law.source,
    )  # fmt: skip


def _support(
    question: Question, bound: Bound, source: Source, columns: list[Expression]
) -> tuple[Array, tuple[float, float] | None]:
    """Return the range of each column among the usable rows, and of the log of their product."""
    pieces: list[Piece] = ["SELECT (", bound.target, ")::DOUBLE AS y"]
    for position, argument in enumerate(bound.columns):
        pieces += [", (", argument, f")::DOUBLE AS a{position}"]
    for position, column in enumerate(columns):
        pieces += [", (", column, f")::DOUBLE AS x{position}"]
    places = range(len(columns))
    used = ["y > 0", *(f"isfinite(a{position})" for position in range(len(bound.columns)))]
    ranges = ", ".join(f"min(x{position}) AS l{position}, max(x{position}) AS h{position}" for position in places)
    product = " + ".join(f"ln(CASE WHEN x{position} > 0 THEN x{position} END)" for position in places)
    try:
        table = question.run(
            f"SELECT {ranges}, min({product}) AS l, max({product}) AS h FROM (", *pieces, *source_pieces(source),
            f") WHERE {' AND '.join(used)}", place=source.relation,
        )  # fmt: skip
    except StatementError:
        return np.full((len(columns), 2), np.nan), None
    (row,) = table.to_pylist()
    support = np.array([[row[f"l{place}"], row[f"h{place}"]] for place in places], dtype=np.float64)
    is_whole = row["l"] is not None and bool((support > 0).all())
    return support, (float(row["l"]), float(row["h"])) if is_whole else None
