"""A law over columns: one that was fitted on expressions of columns, written so that it takes the columns themselves.

`chinchilla(params / 1e6, tokens / 1e9)` is fitted on what the expressions give. What is kept is the same curve as a
formula over `params` and `tokens`, with the same coefficients, so that every verb, macro and picture means the columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoflop.lakehouse.errors import StatementError
from isoflop.lakehouse.units import UNITS
from isoflop.queries.fitting.hull import Hull, hull_of, size_edge
from isoflop.queries.fitting.scatter import takes_any_sign
from isoflop.queries.language.bind import Bound, names_in, renamed, tidy, with_names
from isoflop.queries.language.question import Question
from isoflop.queries.language.reading import Piece, columns_needed, read_as_number, source_pieces
from isoflop.queries.language.syntax.nodes import Expression, Source
from isoflop.queries.language.syntax.tokens import quote_name, tokenize
from isoflop.queries.laws import Formula, FormulaError, Law, Objective, find_law, parse_formula
from isoflop.queries.laws.algebra.expression import symbols_of
from isoflop.queries.laws.algebra.parser import parse_expression
from isoflop.queries.laws.form_mixture import FormMixture
from isoflop.queries.laws.law import Input, input_names
from isoflop.queries.laws.over_inputs import OverInputs

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
    hull : where those rows lie, or None where that is not known
    """

    law: Law
    arguments: tuple[str, ...]
    support: Array
    edge: tuple[float, float] | None
    hull: Hull | None


def has_expressions(bound: Bound) -> bool:
    """Return whether a built-in law reads something else than columns."""
    return bound.is_built_in and any(isinstance(each, Expression) and each.column is None for each in bound.columns)


def over_columns(
    question: Question, bound: Bound, source: Source, objective: Objective | None = None
) -> OverColumns | None:
    """Return the law of a FIT over its columns; None where it reads columns only, or what is no formula of ours.

    Parameters
    ----------
    objective : what is minimized; the law's own when None

    Raises
    ------
    StatementError : when DuckDB cannot answer
    """
    found = law_over_columns(question, bound)
    if found is None:
        return None
    law, columns = found
    rows = _rows(question, bound, source, list(columns.values()), takes_any_sign(objective or bound.law.objective))
    names = tuple(map(quote_name, columns))
    if not len(rows):
        return OverColumns(law, names, np.full((len(columns), 2), np.nan), None, None)
    support = np.stack([rows.min(axis=0), rows.max(axis=0)], axis=1)
    edge = size_edge(law, rows) if (support > 0).all() else None
    return OverColumns(law, names, support, edge, hull_of(law, rows) if np.isfinite(rows).all() else None)


def law_over_columns(question: Question, bound: Bound) -> tuple[Law, dict[str, Expression]] | None:
    """Return a law over the columns that its arguments read; None where it reads columns only, or is no formula.

    Returns
    -------
    the law, and the column of each of its inputs in their order, with where it stands
    """
    if not has_expressions(bound):
        return None
    columns: dict[str, Expression] = {}
    for argument in bound.columns:
        if isinstance(argument, Expression):
            for name, place in names_in(question, argument, ()).items():
                columns.setdefault(name, place)
    called = _apart(columns, bound.law)
    texts = [
        f"({renamed(tidy(question, argument), called)})" if isinstance(argument, Expression) else argument.text
        for argument in bound.columns
    ]
    try:
        law = law_over(bound.law, texts, list(called.values()))
    except (FormulaError, RecursionError):
        return None
    names = {name: column for column, name in called.items()}
    read = [given.name for given in law.inputs]
    if set(read) - set(names):  # a column that an argument names in another case
        return None
    return law, {names[name]: columns[names[name]] for name in read}


def _apart(columns: Iterable[str], law: Law) -> dict[str, str]:
    """Return what each column is called in a formula, where a coefficient may have its name: `e` beside `E`."""
    taken = {name.lower() for name in (*columns, *(coefficient.name for coefficient in law.coefficients))}
    coefficients = {coefficient.name.lower() for coefficient in law.coefficients}
    called: dict[str, str] = {}
    for column in columns:
        name = column
        if column.lower() in coefficients:
            while name.lower() in taken:
                name += "_"
            taken.add(name.lower())
        called[column] = name
    return called


def own_law(bound: Bound, fitted: Law | None = None) -> Law:
    """Return a built-in law with the inputs that its form has, but those read from a column called as that is.

    Parameters
    ----------
    fitted : what came of its fit, which of a mixture has fewer forms; None for the law as it is named
    """
    law = fitted if isinstance(fitted, FormMixture) else bound.law
    own = law.forms[0].inputs if isinstance(law, FormMixture) else find_law(bound.form).inputs
    names = [
        argument.column if isinstance(argument, Expression) and argument.column else input_.name
        for argument, input_ in zip(bound.columns, own, strict=True)
    ]
    return with_names(law, names, bound.target_name)


def law_over(law: Law, texts: Sequence[str], columns: list[str]) -> Law:
    """Return a law, or a mixture of several, with its inputs replaced by expressions over columns.

    Parameters
    ----------
    texts : expression of each of the P inputs
    columns : names that the expressions may have

    Raises
    ------
    FormulaError : when an expression is no formula, or a column is called as a coefficient is
    """
    if isinstance(law, FormMixture):
        made = FormMixture(law.name, [law_over(form, texts, columns) for form in law.forms], law.titles)
        made.target, made.unit = law.target, law.unit
        return made
    if law.text is not None:
        return rewritten(law, dict(zip(input_names(law), texts, strict=True)), columns)
    trees = [parse_expression(text, columns) for text in texts]
    read = list(dict.fromkeys(name for tree in trees for name in symbols_of(tree)))
    return OverInputs(law, texts, trees, [Input(name, UNITS.get(name, ""), positive=False) for name in read])


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


def _rows(question: Question, bound: Bound, source: Source, columns: list[Expression], any_sign: bool) -> Array:
    """Return the columns (R, P) of the usable rows; none where DuckDB cannot compute them."""
    known = columns_needed(question, source, (bound.target, *bound.columns))
    pieces: list[Piece] = ["SELECT (", *read_as_number(question, bound.target, known), ")::DOUBLE AS y"]
    for position, argument in enumerate(bound.columns):
        pieces += [", (", *read_as_number(question, argument, known), f")::DOUBLE AS a{position}"]
    for position, column in enumerate(columns):
        pieces += [", (", column, f")::DOUBLE AS x{position}"]
    used = [
        "isfinite(y)" if any_sign else "y > 0",
        *(f"isfinite(a{position})" for position in range(len(bound.columns))),
    ]
    values = ", ".join(f"x{position}" for position in range(len(columns)))
    try:
        table = question.run(
            f"SELECT {values} FROM (", *pieces, *source_pieces(source), f") WHERE {' AND '.join(used)}",
            place=source.relation,
        )  # fmt: skip
    except StatementError:
        return np.empty((0, len(columns)))
    return np.column_stack([column.cast(pa.float64()).to_numpy(zero_copy_only=False) for column in table.columns])
