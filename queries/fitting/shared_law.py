"""A law on several groups of rows at once, some of its coefficients common to all and the others each group's own.

It is one law to everything that fits laws: its inputs are those of the law it stacks and the number of the group, its
coefficients the common ones once and the others once a group, called like `A[web]`. A prediction of a row is that of
the stacked law with the coefficients of the row's group, and so are its derivatives, so that one search, one
certificate and one set of resamples hold for all groups together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws.algebra.expression import Call, Expression, Number, Symbol, symbols_of
from isoflop.queries.laws.law import Coefficient, Input, Law, coefficient_names

Array = NDArray[np.float64]
Positions = NDArray[np.intp]


class SharedLaw(Law):
    """A law on G groups.

    Parameters
    ----------
    base : the law of each group, with Q coefficients and P inputs
    shared : names of the coefficients that all groups have in common
    labels : G names of the groups

    Example
    -------
    >>> from isoflop.queries.laws import POWER
    >>> law = SharedLaw(POWER, ("E", "alpha"), ("web", "books"))
    >>> [coefficient.name for coefficient in law.coefficients]
    ['E', 'alpha', 'A[web]', 'A[books]']
    >>> law.predict(np.array([1.0, 0.5, 8.0, 4.0]), np.array([[4.0, 0.0], [4.0, 1.0]]))
    array([5., 3.])
    """

    def __init__(self, base: Law, shared: Sequence[str], labels: Sequence[str]) -> None:
        self.base, self.shared, self.labels = base, tuple(shared), tuple(labels)
        own = [coefficient for coefficient in base.coefficients if coefficient.name not in self.shared]
        found = [coefficient for coefficient in base.coefficients if coefficient.name in self.shared]
        for label in self.labels:
            found += [replace(coefficient, name=f"{coefficient.name}[{label}]") for coefficient in own]
        self.name, self.target, self.unit, self.source = base.name, base.target, base.unit, base.source
        self.objective, self.cost = base.objective, base.cost
        self.inputs = (*base.inputs, Input("group", "", positive=False))
        self.coefficients: tuple[Coefficient, ...] = tuple(found)
        names = {coefficient.name: k for k, coefficient in enumerate(found)}
        # (G, Q) where the coefficients of each group stand among all
        self.places: Positions = np.array(
            [
                [names.get(name, names.get(f"{name}[{label}]", -1)) for name in coefficient_names(base)]
                for label in self.labels
            ],
            dtype=np.intp,
        )
        self.start_ranges = tuple(
            (name, low, high)
            for each, low, high in base.start_ranges
            for name in names
            if name == each or name.startswith(f"{each}[")
        )

    @property
    def has_curvatures(self) -> bool:  # type: ignore[override]
        """Whether the stacked law knows second derivatives."""
        return self.base.has_curvatures

    @property
    def formula(self) -> str:
        """The stacked law's formula."""
        return self.base.formula

    @property
    def linear(self) -> tuple[str, ...]:
        """Names of the coefficients in which the law is jointly linear."""
        positions = [coefficient_names(self.base).index(name) for name in self.base.linear]
        found = dict.fromkeys(int(k) for k in self.places[:, positions].T.ravel())
        return tuple(self.coefficients[k].name for k in found)

    def groups(self, inputs: Array) -> list[Positions]:
        """Return the positions of the rows (R, P + 1) of each group."""
        return [np.flatnonzero(inputs[:, -1] == group) for group in range(len(self.labels))]

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return predictions (..., R) for coefficients (..., K) and inputs (R, P + 1), the last the group's number."""
        coefficients = np.asarray(coefficients, dtype=np.float64)
        found = np.empty((*coefficients.shape[:-1], len(inputs)))
        for places, rows in zip(self.places, self.groups(inputs), strict=True):
            found[..., rows] = self.base.predict(coefficients[..., places], inputs[rows, :-1])
        return found

    def value_and_slopes(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return predictions (..., R) and their derivatives (..., K, R)."""
        coefficients = np.asarray(coefficients, dtype=np.float64)
        values = np.empty((*coefficients.shape[:-1], len(inputs)))
        slopes = np.zeros((*coefficients.shape, len(inputs)))
        for places, rows in zip(self.places, self.groups(inputs), strict=True):
            value, slope = self.base.value_and_slopes(coefficients[..., places], inputs[rows, :-1])
            values[..., rows] = value
            slopes[..., places[:, None], rows] = slope
        return values, slopes

    def jacobian(self, coefficients: Array, inputs: Array) -> Array:
        """Return the derivatives (..., K, R) of the prediction by the coefficients."""
        return self.value_and_slopes(coefficients, inputs)[1]

    def curvatures(self, coefficients: Array, inputs: Array) -> tuple[Array, Array, Array | None]:
        """Return value (B, R), first (B, K, R) and second derivatives (B, K(K+1)/2, R), upper triangle by rows."""
        count, size = coefficients.shape
        values, slopes = np.empty((count, len(inputs))), np.zeros((count, size, len(inputs)))
        bends = np.zeros((count, size * (size + 1) // 2, len(inputs))) if self.has_curvatures else None
        left, right = np.triu_indices(self.places.shape[1])
        for places, rows in zip(self.places, self.groups(inputs), strict=True):
            value, slope, bend = self.base.curvatures(coefficients[:, places], inputs[rows, :-1])
            values[:, rows] = value
            slopes[:, places[:, None], rows] = slope
            if bends is not None and bend is not None:
                low, high = np.minimum(places[left], places[right]), np.maximum(places[left], places[right])
                pairs = low * size - low * (low - 1) // 2 + high - low
                bends[:, pairs[:, None], rows] = bend
        return values, slopes, bends

    def degrees(self, dimension: str | None) -> dict[str, Expression] | None:
        """Return how each coefficient grows with the unit of an input; None where a common one would differ."""
        if dimension == self.inputs[-1].name:
            return None
        own = self.base.degrees(dimension)
        if own is None:
            return None
        found: dict[str, Expression] = {}
        for name, degree in own.items():
            if name in self.shared:
                if not set(symbols_of(degree)) <= set(self.shared):
                    return None
                found[name] = degree
                continue
            for label in self.labels:
                words = {each: f"{each}[{label}]" for each in coefficient_names(self.base) if each not in self.shared}
                found[f"{name}[{label}]"] = _renamed(degree, words)
        return found


def _renamed(expression: Expression, words: Mapping[str, str]) -> Expression:
    """An expression with other names in it."""
    match expression:
        case Symbol(name):
            return Symbol(words.get(name, name))
        case Call(operation, arguments):
            return Call(operation, tuple(_renamed(argument, words) for argument in arguments))
        case Number():
            return expression
