"""What every law has: inputs, coefficients with domains, and a prediction for any values of both.

A closed-form law is a `Formula`; a computed one is any object with the attributes of `Law`. The fitter, the
language and the tables ask for nothing else.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from isoflop.queries.laws.algebra.expression import Array
from isoflop.queries.laws.objectives import Objective

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
    unit : for people, e.g. `count`, `flop/step`
    positive : whether rows with zero or less are unusable
    """

    name: str
    unit: str = ""
    positive: bool = True


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


@runtime_checkable
class Law(Protocol):
    """A named curve with free coefficients.

    An outside law implements these attributes and `predict`, and is registered under the entry-point group
    `isoflop.laws`. `jacobian(coefficients, inputs) -> (..., K, R)` is used when it has one; derivatives are taken by
    differences otherwise. `macro(name, coefficients) -> str` makes a saved law an SQL function, and
    `sql(coefficients, inputs) -> str` the ends of its interval two more. So are `value_and_slopes` (both in one pass),
    `start_ranges` (name, lowest, largest of where a search starts), `is_costly` (resamples take few steps) and
    `fitted_as` (the law that is fitted in its place).
    """

    @property
    def name(self) -> str:
        """The word a statement uses for it."""

    @property
    def formula(self) -> str:
        """How it is written for people."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The P quantities it predicts from, in the order of the columns of X."""

    @property
    def target(self) -> str:
        """The quantity it predicts, e.g. `loss`."""

    @property
    def unit(self) -> str:
        """The unit of the target, e.g. `nat/token`."""

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """The K free numbers, in the order of every coefficient array."""

    @property
    def objective(self) -> Objective:
        """What a fit minimises unless told otherwise."""

    @property
    def source(self) -> str:
        """Paper and equation."""

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return predictions (..., R) for coefficients (..., K) and inputs (R, P)."""


def coefficient_names(law: Law) -> tuple[str, ...]:
    """Return the K coefficient names of a law, in order."""
    return tuple(coefficient.name for coefficient in law.coefficients)


def input_names(law: Law) -> tuple[str, ...]:
    """Return the P input names of a law, in order."""
    return tuple(one.name for one in law.inputs)


def as_values(law: Law, values: Mapping[str, float] | Sequence[float] | Array) -> dict[str, float]:
    """Return coefficient values by name, from a mapping or from K numbers in the law's order."""
    if isinstance(values, Mapping):
        return {name: float(value) for name, value in values.items()}
    return {name: float(value) for name, value in zip(coefficient_names(law), values, strict=True)}
