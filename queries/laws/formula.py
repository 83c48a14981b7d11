"""A closed-form law is a declaration; everything else about it is derived from its text.

Prediction and the SQL macro come from the expression tree, derivatives and LaTeX from SymPy, the terms for the
fast solver from the tree again. A formula typed into a statement becomes the same object by `parse_formula`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from isoflop.lakehouse.errors import FitError
from isoflop.queries.laws.algebra.expression import (
    Array,
    Call,
    Expression,
    Symbol,
    evaluate,
    needing_positive,
    symbols_of,
    to_sql,
)
from isoflop.queries.laws.algebra.parser import FormulaError, match_name, parse_expression
from isoflop.queries.laws.algebra.scaling import degrees
from isoflop.queries.laws.algebra.terms import Term, power_sum
from isoflop.queries.laws.law import Coefficient, Input, Law, Rewrite, Role, coefficient_names, input_names
from isoflop.queries.laws.objectives import Huber, Objective


@dataclass(frozen=True)
class Chart:
    """Better-conditioned coefficients in which a law is fitted, and the way back to those of the paper.

    Parameters
    ----------
    law : the same law written in the chart's coefficients
    coefficients : the chart's coefficients, as many as the law has
    back : formula of each of the law's coefficients over the chart's
    forth : formula of each of the chart's coefficients over the law's
    """

    law: str
    coefficients: tuple[Coefficient, ...]
    back: tuple[tuple[str, str], ...]
    forth: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Formula(Law):
    """A law written as an expression over inputs and coefficients.

    Parameters
    ----------
    name : the word a statement uses for it
    law : the expression, in DuckDB's syntax
    coefficients : its K free numbers, in the order of every coefficient array
    inputs : its P inputs, in the order of the columns of X
    target, unit : the quantity it predicts and that quantity's unit
    objective : what a fit minimizes unless told otherwise
    source : paper and equation
    chart : other coefficients to fit it in, or None

    Raises
    ------
    FormulaError : on first use, when the text cannot be read

    Example
    -------
    >>> from isoflop.queries.laws.law import amplitude, exponent, floor
    >>> law = Formula(
    ...     name="power", law="E + A / x ^ alpha", inputs=(Input("x"),),
    ...     coefficients=(floor("E"), amplitude("A"), exponent("alpha")),
    ... )
    >>> law.predict(np.array([1.0, 8.0, 0.5]), np.array([[4.0], [16.0]]))
    array([5., 3.])
    """

    name: str
    law: str
    coefficients: tuple[Coefficient, ...]
    inputs: tuple[Input, ...]
    target: str = "loss"
    unit: str = "nat/token"
    objective: Objective = field(default_factory=Huber)
    source: str = ""
    chart: Chart | None = None
    has_curvatures = True

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is derived: compiled functions cannot be pickled and come back when needed."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @property
    def formula(self) -> str:
        """The text of the law."""
        return self.law

    @functools.cached_property
    def expression(self) -> Expression:
        """The tree of the law."""
        return parse_expression(self.law, [*coefficient_names(self), *input_names(self)])

    @functools.cached_property
    def terms(self) -> tuple[Term, ...] | None:
        """The terms of a sum of powers with non-negative amplitudes, or None when the law has another shape."""
        terms = power_sum(self.expression, coefficient_names(self))
        lowest = {
            coefficient.name: coefficient.lower if coefficient.fixed is None else coefficient.fixed
            for coefficient in self.coefficients
        }
        if terms is None or any(term.amplitude and lowest[term.amplitude] < 0 for term in terms):
            return None
        return terms

    @functools.cached_property
    def derived(self) -> Any:
        """Derivatives by SymPy (`algebra.symbolic.Derived`)."""
        from isoflop.queries.laws.algebra.symbolic import derive

        return derive(
            self.expression,
            tuple((coefficient.name, coefficient.lower >= 0) for coefficient in self.coefficients),
            tuple((input_.name, input_.positive) for input_ in self.inputs),
        )

    @functools.cached_property
    def linear(self) -> tuple[str, ...]:
        """Names of the coefficients in which the law is jointly linear."""
        if self.terms is not None:
            return tuple(term.amplitude for term in self.terms if term.amplitude)
        found: tuple[str, ...] = self.derived.linear
        return found

    @functools.cached_property
    def charted(self) -> Formula | None:
        """The same law in the coefficients of its chart, or None without one or when a domain rules it out.

        Coefficients that both share keep the law's domain. One that only the law has must be free and positive,
        because a bound on it is not a bound on any one of the chart's.
        """
        if self.chart is None:
            return None
        shared = {coefficient.name: coefficient for coefficient in self.coefficients}
        in_chart = {coefficient.name for coefficient in self.chart.coefficients}
        for coefficient in self.coefficients:
            unbounded = coefficient.fixed is None and coefficient.lower <= 0 and coefficient.upper == math.inf
            if coefficient.name not in in_chart and not unbounded:
                return None
        coefficients = tuple(shared.get(coefficient.name, coefficient) for coefficient in self.chart.coefficients)
        return replace(self, law=self.chart.law, coefficients=coefficients, chart=None)

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return the law's value.

        Parameters
        ----------
        coefficients : (..., K) float array, in the law's order
        inputs : (R, P) float array, in the order of `inputs`

        Returns
        -------
        (..., R) float array in the target's unit; nan or inf outside the law's domain
        """
        coefficients, inputs = self._checked(coefficients, inputs)
        values: dict[str, Array | float] = dict(zip(input_names(self), inputs.T, strict=True))
        for k, name in enumerate(coefficient_names(self)):
            values[name] = coefficients[..., k, None]
        shape = (*coefficients.shape[:-1], len(inputs))
        return np.array(np.broadcast_to(evaluate(self.expression, values), shape))

    def jacobian(self, coefficients: Array, inputs: Array) -> Array:
        """Return the derivatives of the prediction by the coefficients.

        Parameters
        ----------
        coefficients : (..., K) float array
        inputs : (R, P) float array

        Returns
        -------
        (..., K, R) float array, target's unit per coefficient's unit
        """
        coefficients, inputs = self._checked(coefficients, inputs)
        flat = coefficients.reshape(-1, len(self.coefficients))
        slopes: Array = self.derived.first(flat, inputs)[1]
        return slopes.reshape(*coefficients.shape, len(inputs))

    def value_and_slopes(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return the law's value (..., R) and its derivatives (..., K, R)."""
        coefficients, inputs = self._checked(coefficients, inputs)
        value, slopes = self.derived.first(coefficients.reshape(-1, len(self.coefficients)), inputs)
        shape = coefficients.shape[:-1]
        return value.reshape(*shape, len(inputs)), slopes.reshape(*coefficients.shape, len(inputs))

    def curvatures(self, coefficients: Array, inputs: Array) -> tuple[Array, Array, Array]:
        """Return value (B, R), first (B, K, R) and second derivatives (B, K(K+1)/2, R), upper triangle by rows."""
        found: tuple[Array, Array, Array] = self.derived.second(*self._checked(coefficients, inputs))
        return found

    def latex(self) -> str:
        """Return the law in LaTeX."""
        text: str = self.derived.latex()
        return text

    def sql(self, coefficients: Sequence[str], inputs: Sequence[str]) -> str:
        """Return SQL that computes the law.

        Parameters
        ----------
        coefficients : K texts, SQL of type DOUBLE for each coefficient
        inputs : P texts, SQL of type DOUBLE for each input
        """
        texts = dict(zip(coefficient_names(self), coefficients, strict=True))
        return to_sql(self.expression, texts | dict(zip(input_names(self), inputs, strict=True)))

    def degrees(self, dimension: str | None) -> dict[str, Expression] | None:
        """Return how each coefficient grows with the unit of an input, or of the value with None; None if they cannot.

        Parameters
        ----------
        dimension : name of an input
        """
        return degrees(self.expression, dimension, coefficient_names(self))

    def with_coefficients(self, coefficients: tuple[Coefficient, ...], *, keeps_chart: bool = False) -> Formula:
        """Return the law with other domains of its coefficients."""
        if keeps_chart and self.coefficients == coefficients:
            return self
        return replace(self, coefficients=coefficients, chart=self.chart if keeps_chart else None)

    @property
    def text(self) -> str:
        """The formula as it was typed."""
        return self.law

    def renamed(self, inputs: Sequence[str], target: str, unit: str, rewrite: Rewrite) -> Formula:
        """Return the law in the words of a table; inputs stay where the formula could no longer be read."""
        law = self if target == self.target else replace(self, target=target, unit=unit)
        in_chart = law.chart.coefficients if law.chart else ()
        taken = {coefficient.name.lower() for coefficient in (*law.coefficients, *in_chart)}
        is_clear = len({name.lower() for name in inputs}) == len(inputs) and not any(
            name.lower() in taken for name in inputs
        )
        new = {old.name: name for old, name in zip(law.inputs, inputs, strict=True) if old.name != name}
        if not new or not is_clear:
            return law
        renamed = tuple(replace(old, name=new.get(old.name, old.name)) for old in law.inputs)
        chart = law.chart and replace(law.chart, law=rewrite(law.chart.law, new))
        return replace(law, law=rewrite(law.law, new), inputs=renamed, chart=chart)

    def from_chart(self, values: Array) -> Array:
        """Return the law's coefficients (..., K) for the chart's (..., K)."""
        return self._translate(values, self.chart.back if self.chart else (), coefficient_names(self))

    def to_chart(self, values: Array) -> Array:
        """Return the chart's coefficients (..., K) for the law's (..., K)."""
        chart = self.chart
        names = tuple(coefficient.name for coefficient in chart.coefficients) if chart else ()
        return self._translate(values, chart.forth if chart else (), names)

    def _translate(self, values: Array, formulas: tuple[tuple[str, str], ...], names: tuple[str, ...]) -> Array:
        chart_names = tuple(coefficient.name for coefficient in self.chart.coefficients) if self.chart else ()
        sources = chart_names if names == coefficient_names(self) else coefficient_names(self)
        known: dict[str, Array | float] = {name: values[..., k] for k, name in enumerate(sources)}
        found = {name: evaluate(parse_expression(text, sources), known) for name, text in formulas}
        return np.stack([found.get(name, np.asarray(known.get(name))) for name in names], axis=-1)

    def _checked(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        coefficients = np.asarray(coefficients, dtype=np.float64)
        inputs = np.asarray(inputs, dtype=np.float64)
        if inputs.ndim != 2 or inputs.shape[1] != len(self.inputs):
            names = ", ".join(input_names(self))
            raise FitError(f"inputs have shape {inputs.shape}, expected (rows, {len(self.inputs)}) for {names}")
        if coefficients.shape[-1:] != (len(self.coefficients),):
            raise FitError(
                f"coefficients have shape {coefficients.shape}, expected (..., {len(self.coefficients)}) "
                f"for {', '.join(coefficient_names(self))}"
            )
        return coefficients, inputs


def parse_formula(
    text: str,
    coefficients: Iterable[Coefficient | str],
    columns: Iterable[str] | None = None,
    *,
    name: str = "",
    target: str = "loss",
    unit: str = "",
    objective: Objective | None = None,
) -> Formula:
    """Return a law from an expression that was typed.

    Parameters
    ----------
    text : expression over columns and coefficients, in DuckDB's syntax
    coefficients : the free numbers; a name alone may be any real number. A `Coefficient` without a role gets the
        one its place in the formula gives it; its domain stays as declared
    columns : names that may be inputs; with None, every name that is no coefficient is one
    name, target, unit : of the law; the name is the text when empty
    objective : what a fit minimizes; Huber(1e-3) when None

    Raises
    ------
    FormulaError : with character positions inside `text`, when it does not parse, names what does not exist, or
        leaves a declared coefficient or every column unused

    Example
    -------
    >>> law = parse_formula("E + A / n ^ a", ["E", "A", "a"], ["n", "loss"])
    >>> [(c.name, c.role.value) for c in law.coefficients], [input_.name for input_ in law.inputs]
    ([('E', 'floor'), ('A', 'amplitude'), ('a', 'exponent')], ['n'])
    """
    declared = [given if isinstance(given, Coefficient) else Coefficient(given) for given in coefficients]
    known = [coefficient.name for coefficient in declared]
    names = known if columns is None else [*known, *columns]
    expression = _parse_any_inputs(text, known) if columns is None else parse_expression(text, names)
    used = symbols_of(expression)
    for coefficient in declared:
        if coefficient.name not in used:
            reason = f"coefficient '{coefficient.name}' is declared but not used"
            raise FormulaError("Binder", reason, text, 0, len(text), hint="remove it or write it into the formula")
    inputs = [symbol for symbol in used if symbol not in known]
    if not inputs:
        raise FormulaError("Binder", "the formula has no column in it", text, 0, len(text), hint="a law needs an input")
    positive = needing_positive(expression)
    law = Formula(
        name=name or text.strip(),
        law=text,
        coefficients=tuple(_with_role(coefficient, expression, frozenset(inputs)) for coefficient in declared),
        inputs=tuple(Input(input_, "", input_ in positive) for input_ in inputs),
        target=target,
        unit=unit,
        objective=objective or Huber(),
    )
    law.__dict__["expression"] = expression
    return law


def _parse_any_inputs(text: str, known: list[str]) -> Expression:
    """Parse with every name allowed; those that spell a coefficient in another case are that coefficient."""
    written = symbols_of(parse_expression(text))
    return parse_expression(text, [*known, *(name for name in written if match_name(name, known) is None)])


def _with_role(coefficient: Coefficient, expression: Expression, inputs: frozenset[str]) -> Coefficient:
    """The coefficient with the role its place in the formula gives it, unless it has one already."""
    if coefficient.role is not Role.FREE:
        return coefficient
    if _is_exponent(coefficient.name, expression, inputs):
        return replace(coefficient, role=Role.EXPONENT)
    at_zero = _is_term(coefficient.name, expression)
    if at_zero is None:
        return coefficient
    return replace(coefficient, role=Role.FLOOR if at_zero else Role.AMPLITUDE)


def _is_exponent(name: str, expression: Expression, inputs: frozenset[str]) -> bool:
    """Whether a coefficient stands in an exponent that holds no input."""
    if not isinstance(expression, Call):
        return False
    if expression.operation == "power":
        names = set(symbols_of(expression.arguments[1]))
        if name in names and not names & inputs:
            return True
    return any(_is_exponent(name, argument, inputs) for argument in expression.arguments)


def _is_term(name: str, expression: Expression) -> bool | None:
    """True when the coefficient alone is a summand of the law, False when it is a factor of one, else None."""
    match expression:
        case Symbol(found):
            return True if found == name else None
        case Call("add" | "subtract", (left, right)):
            first = _is_term(name, left)
            return first if first is not None else _is_term(name, right)
        case Call("multiply" | "divide" as operation, (left, right)):
            parts = (left, right) if operation == "multiply" else (left,)
            return False if any(_is_factor(name, part) for part in parts) else None
        case _:
            return None


def _is_factor(name: str, expression: Expression) -> bool:
    match expression:
        case Symbol(found):
            return found == name
        case Call("multiply", (left, right)):
            return _is_factor(name, left) or _is_factor(name, right)
        case Call("divide", (left, _)):
            return _is_factor(name, left)
        case _:
            return False
