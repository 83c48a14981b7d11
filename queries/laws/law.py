"""What every law has: inputs, coefficients with domains, and a prediction for any values of both.

A closed-form law is a `Formula`; a computed one inherits from `Law` and defines `predict`. The fitter, the language
and the tables ask for nothing that is not defined here.
"""

from __future__ import annotations

import copy
import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isoflop.queries.laws.algebra.expression import Array, Expression, quoted, sql_number
from isoflop.queries.laws.algebra.terms import Term
from isoflop.queries.laws.derivatives import CENTRAL, central
from isoflop.queries.laws.objectives import Huber, Objective

Rewrite = Callable[[str, Mapping[str, str]], str]

SMALLEST_SIZE = 1e-3  # [1] that a coefficient near zero is taken to have when a difference is made
LARGEST_EXPONENT = 5.0  # [1]; published exponents lie below 1, so an exponent that ends here has run away


class Role(enum.Enum):
    """What a coefficient does in its law, which decides where its search starts and what it is called when dead."""

    FLOOR = "floor"
    AMPLITUDE = "amplitude"
    EXPONENT = "exponent"
    FREE = "free"


@dataclass(frozen=True)
class Input:
    """A quantity a law predicts from.

    Parameters
    ----------
    name : column of `runs`, or any name
    unit : for display, e.g. `count`, `flop/step`
    positive : whether rows with zero or less are unusable
    is_setting : whether it says how a run is made, as the steps of its schedule do: nothing falls with it as with a
        size, so that it need not vary, and another value of it is no distance
    least, most : what no run lies beyond, as a proportion not beyond 0 and 1
    """

    name: str
    unit: str = ""
    positive: bool = True
    is_setting: bool = False
    least: float = -math.inf
    most: float = math.inf


@dataclass(frozen=True)
class Coefficient:
    """A free number of a law with the closed interval it may lie in.

    Parameters
    ----------
    name : as written in the formula
    role : what it does
    lower, upper : domain, in the coefficient's own unit
    init : a value to start from as well, or None
    fixed : a value it keeps, or None
    """

    name: str
    role: Role = Role.FREE
    lower: float = -math.inf
    upper: float = math.inf
    init: float | None = None
    fixed: float | None = None


def floor(name: str) -> Coefficient:
    """Return a non-negative constant: what no size removes."""
    return Coefficient(name, Role.FLOOR, 0.0)


def amplitude(name: str) -> Coefficient:
    """Return a non-negative factor of a term."""
    return Coefficient(name, Role.AMPLITUDE, 0.0)


def exponent(name: str) -> Coefficient:
    """Return a power in (0, 5]."""
    return Coefficient(name, Role.EXPONENT, 0.0, LARGEST_EXPONENT)


def free(name: str, lower: float = -math.inf, upper: float = math.inf) -> Coefficient:
    """Return a number with no special role."""
    return Coefficient(name, Role.FREE, lower, upper)


class Cost(enum.Enum):
    """What one prediction takes, which decides how many a fit may ask for."""

    CHEAP = "cheap"
    COSTLY = "costly"
    """milliseconds and more: searches and resamples take few steps"""


class Law(ABC):
    """A named curve with free coefficients.

    A law says its `name`, its `inputs` and its `coefficients`, and defines `predict`. Everything else that a caller
    may ask has an answer here already, and a law overrides what it knows better. One outside this project inherits
    from this class too, and is registered under the entry-point group `isoflop.laws`.

    Example
    -------
    >>> class Halving(Law):
    ...     name, inputs, coefficients = "halving", (Input("x"),), (amplitude("A"),)
    ...     def predict(self, coefficients, inputs):
    ...         return coefficients[..., 0, None] * 0.5 ** inputs[:, 0]
    >>> law, at = Halving(), np.array([[1.0], [2.0]])
    >>> law.formula, law.predict(np.array([8.0]), at), law.jacobian(np.array([8.0]), at).round(9)
    ('halving(x)', array([4., 2.]), array([[0.5 , 0.25]]))
    """

    name: str
    """the word a statement uses for it"""
    inputs: tuple[Input, ...]
    """the P quantities it predicts from, in the order of the columns of X"""
    coefficients: tuple[Coefficient, ...]
    """the K free numbers, in the order of every coefficient array"""
    target: str = "loss"
    """the quantity it predicts"""
    unit: str = "nat/token"
    """the unit of the target"""
    source: str = ""
    """paper and equation"""
    objective: Objective = Huber()
    """what a fit minimizes unless told otherwise"""
    cost: Cost = Cost.CHEAP
    """what one prediction takes"""
    surrogate: Law | None = None
    """the law that is fitted in its place, whose coefficients it predicts with; None where it is fitted itself"""
    start_ranges: tuple[tuple[str, float, float], ...] = ()
    """name, lowest and largest value of where a search starts, for coefficients that the usual ranges do not suit"""
    has_curvatures: ClassVar[bool] = False
    """whether `curvatures` knows second derivatives"""
    tells_shares_apart: bool = False
    """whether it has a coefficient for each of some shares that make a whole, and rows can determine them all"""

    @abstractmethod
    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return predictions (..., R) in the target's unit for coefficients (..., K) and inputs (R, P)."""

    def faults(self, inputs: Array) -> Sequence[str] | None:
        """Return why rows (R, P) of usable numbers are none of the law's, each empty for one that is; None for none."""
        return None

    @property
    def formula(self) -> str:
        """How it is written for display."""
        return f"{self.name}({', '.join(input_names(self))})"

    @property
    def is_costly(self) -> bool:
        """Whether one prediction takes milliseconds and more."""
        return self.cost is Cost.COSTLY

    @property
    def predictions_per_slope(self) -> int:
        """Predictions that `value_and_slopes` takes: 1 + 2 K by differences, 1 where the law knows better."""
        is_by_differences = type(self).jacobian is Law.jacobian and type(self).value_and_slopes is Law.value_and_slopes
        return 1 + 2 * len(self.coefficients) if is_by_differences else 1

    def latex(self) -> str:
        """Return the law in LaTeX, as a function of its inputs where it has no formula."""
        names = ", ".join(_upright(name) for name in input_names(self))
        return f"{_upright(self.target)} = {_upright(self.name)}({names})"

    def jacobian(self, coefficients: Array, inputs: Array) -> Array:
        """Return the derivatives of the prediction by the coefficients, by central differences.

        Parameters
        ----------
        coefficients : (..., K) float array
        inputs : (R, P) float array

        Returns
        -------
        (..., K, R) float array, target's unit per coefficient's unit
        """
        coefficients = np.asarray(coefficients, dtype=np.float64)
        size = np.abs(coefficients)
        is_scale = np.array([known.lower >= 0 and known.role is not Role.EXPONENT for known in self.coefficients])
        # what scales may be of any size; the others matter by what is added to them
        size = np.where(is_scale & (size > 0), size, np.maximum(size, SMALLEST_SIZE))
        return central(lambda moved: self.predict(moved, inputs), coefficients, CENTRAL * size)

    def value_and_slopes(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return predictions (..., R) and their derivatives (..., K, R), for laws that share work between both."""
        return self.predict(coefficients, inputs), self.jacobian(coefficients, inputs)

    def curvatures(self, coefficients: Array, inputs: Array) -> tuple[Array, Array, Array | None]:
        """Return predictions (B, R), first (B, K, R) and second derivatives (B, K(K+1)/2, R), upper triangle by rows.

        The second ones are None where the law does not know them (`has_curvatures`).
        """
        return (*self.value_and_slopes(coefficients, inputs), None)

    def starts(self, inputs: Array, values: Array, count: int, generator: np.random.Generator) -> Array | None:
        """Return coefficients (count, K) to descend from for inputs (R, P) and values (R,); None for the usual ones."""
        return None

    def sql(self, coefficients: Sequence[str], inputs: Sequence[str]) -> str | None:
        """Return SQL that computes the law, or None where SQL cannot.

        Parameters
        ----------
        coefficients : K texts, SQL of type DOUBLE for each coefficient
        inputs : P texts, SQL of type DOUBLE for each input
        """
        return None

    def macro(self, name: str, coefficients: Mapping[str, float] | Sequence[float] | Array) -> str | None:
        """Return the statement that creates the law as an SQL macro with its numbers written in; None without SQL.

        Parameters
        ----------
        name : of the macro; its parameters are the law's inputs, cast to DOUBLE
        coefficients : values by name, or K numbers in the law's order

        Example
        -------
        >>> from isoflop.queries.laws.power import POWER
        >>> print(POWER.macro("p", [1.5, 400.0, 0.25]))
        CREATE OR REPLACE MACRO "p"("x") AS ((1.5e0 + (400.0e0 / pow(CAST("x" AS DOUBLE), 0.25e0))))
        """
        values = as_values(self, coefficients)
        texts = [sql_number(values[coefficient]) for coefficient in coefficient_names(self)]
        body = self.sql(texts, [f"CAST({quoted(column)} AS DOUBLE)" for column in input_names(self)])
        parameters = ", ".join(quoted(column) for column in input_names(self))
        return None if body is None else f"CREATE OR REPLACE MACRO {quoted(name)}({parameters}) AS ({body})"

    @property
    def terms(self) -> tuple[Term, ...] | None:
        """The terms of a sum of powers with non-negative amplitudes, or None when the law has another shape."""
        return None

    @property
    def expression(self) -> Expression | None:
        """The law as an expression over inputs and coefficients, or None where it is computed."""
        return None

    @property
    def linear(self) -> tuple[str, ...]:
        """Names of the coefficients in which the law is jointly linear, as far as it is known."""
        return ()

    @property
    def charted(self) -> Law | None:
        """The same law in coefficients that are better conditioned, or None where it has no others."""
        return None

    def from_chart(self, values: Array) -> Array:
        """Return the law's coefficients (..., K) for those (..., K) of `charted`."""
        return values

    def to_chart(self, values: Array) -> Array:
        """Return the coefficients (..., K) of `charted` for the law's (..., K)."""
        return values

    def degrees(self, dimension: str | None) -> dict[str, Expression] | None:
        """Return how each coefficient grows with the unit of an input, or of the value with None.

        Returns None where the coefficients cannot absorb a change of that unit, or it is not known
        (`algebra.scaling.degrees`).
        """
        return None

    def with_coefficients(self, coefficients: tuple[Coefficient, ...], *, keeps_chart: bool = False) -> Law | None:
        """Return the law with other domains of its coefficients, or None when its domains cannot be changed.

        A law that takes them from elsewhere than its attribute `coefficients` overrides this.

        Parameters
        ----------
        coefficients : of the same names, in the law's order
        keeps_chart : whether it is still fitted in its chart
        """
        made = copy.copy(self)
        try:
            object.__setattr__(made, "coefficients", coefficients)  # also of a frozen dataclass
            if self.surrogate is not None:
                object.__setattr__(made, "surrogate", self.surrogate.with_coefficients(coefficients))
        except AttributeError:  # a property without a setter, or slots without room
            return None
        return made

    @property
    def text(self) -> str | None:
        """The formula over inputs and coefficients, as `parse_formula` reads it; None for a computed law."""
        return None

    def renamed(self, inputs: Sequence[str], target: str, unit: str, rewrite: Rewrite) -> Law:
        """Return the law in the words of a table; a law whose names cannot change stays as it is.

        Parameters
        ----------
        inputs : P names
        target, unit : of what it predicts
        rewrite : takes a formula and new names by old ones to the formula with its names exchanged
        """
        return self


def coefficient_names(law: Law) -> tuple[str, ...]:
    """Return the K coefficient names of a law, in order."""
    return tuple(coefficient.name for coefficient in law.coefficients)


def input_names(law: Law) -> tuple[str, ...]:
    """Return the P input names of a law, in order."""
    return tuple(input_.name for input_ in law.inputs)


def as_values(law: Law, values: Mapping[str, float] | Sequence[float] | Array) -> dict[str, float]:
    """Return coefficient values by name, from a mapping or from K numbers in the law's order."""
    if isinstance(values, Mapping):
        return {name: float(value) for name, value in values.items()}
    return {name: float(value) for name, value in zip(coefficient_names(law), values, strict=True)}


def _upright(name: str) -> str:
    return rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}"
