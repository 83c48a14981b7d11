"""A computed law whose inputs are expressions over columns: `bounded_power(flops / 1e18)` as a law of flops.

A law that is a formula is written over its columns instead; one that is computed is asked at what they give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from isoflop.queries.laws.algebra.expression import Array, Expression, evaluate, to_sql
from isoflop.queries.laws.law import Coefficient, Input, Law, Rewrite


class OverInputs(Law):
    """A law at expressions over columns.

    Parameters
    ----------
    base : with P inputs
    texts, expressions : of each of them, as typed and as trees, over the columns
    inputs : the columns

    Example
    -------
    >>> from isoflop.queries.laws.algebra.parser import parse_expression
    >>> from isoflop.queries.laws.power import POWER
    >>> law = OverInputs(POWER, ["n / 1e6"], [parse_expression("n / 1e6", ["n"])], [Input("n", "count")])
    >>> law.predict(np.array([1.0, 8.0, 0.5]), np.array([[4e6]])), law.formula
    (array([5.]), 'power(n / 1e6)')
    """

    def __init__(
        self, base: Law, texts: Sequence[str], expressions: Sequence[Expression], inputs: Sequence[Input]
    ) -> None:
        self.base, self.texts, self.expressions, self.inputs = base, tuple(texts), tuple(expressions), tuple(inputs)
        self.columns = tuple(given.name for given in self.inputs)  # as the expressions have them
        self.name, self.target, self.unit, self.source = base.name, base.target, base.unit, base.source
        self.objective, self.cost, self.coefficients = base.objective, base.cost, base.coefficients

    @property
    def formula(self) -> str:
        """How it is written for display."""
        return f"{self.base.name}({', '.join(self.texts)})"

    def latex(self) -> str:
        """Return the law in LaTeX, as it is by itself."""
        return self.base.latex()

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return predictions (..., R) for coefficients (..., K) and columns (R, C)."""
        return np.asarray(self.base.predict(coefficients, self.given(inputs)))

    def value_and_slopes(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return predictions (..., R) and their derivatives (..., K, R)."""
        return self.base.value_and_slopes(coefficients, self.given(inputs))

    def jacobian(self, coefficients: Array, inputs: Array) -> Array:
        """Return the derivatives (..., K, R) of the prediction by the coefficients."""
        return self.base.jacobian(coefficients, self.given(inputs))

    def given(self, columns: Array) -> Array:
        """Return the inputs (R, P) of the law by itself, at columns (R, C)."""
        columns = np.asarray(columns, dtype=np.float64)
        named = {name: columns[:, place] for place, name in enumerate(self.columns)}
        with np.errstate(all="ignore"):
            found = [np.broadcast_to(evaluate(each, named), len(columns)) for each in self.expressions]
        return np.stack(found, axis=1)

    def sql(self, coefficients: Sequence[str], inputs: Sequence[str]) -> str | None:
        """Return SQL that computes the law from its columns; None where SQL cannot."""
        named = dict(zip(self.columns, inputs, strict=True))
        return self.base.sql(coefficients, [to_sql(each, named) for each in self.expressions])

    def with_coefficients(self, coefficients: tuple[Coefficient, ...], *, keeps_chart: bool = False) -> Law | None:
        """Return the law with other domains, or None where it takes none."""
        made = self.base.with_coefficients(coefficients, keeps_chart=keeps_chart)
        return None if made is None else OverInputs(made, self.texts, self.expressions, self.inputs)

    def renamed(self, inputs: Sequence[str], target: str, unit: str, rewrite: Rewrite) -> Law:
        """Return the law in the words of a table."""
        new = dict(zip(self.columns, inputs, strict=True))
        texts = [rewrite(text, new) for text in self.texts]
        made = OverInputs(self.base, texts, self.expressions, self.inputs)
        made.inputs = tuple(replace(given, name=name) for given, name in zip(self.inputs, inputs, strict=True))
        made.target, made.unit = target, self.unit if target == self.target else unit
        return made
