"""Laws that are linear in every coefficient, on relative residuals: one convex bowl with a formula for its bottom.

Columns are divided by their largest relative value, so that prices of 1e-11 seconds per operation and of 1e-3
seconds per layer weigh the same in the solve.
"""

from __future__ import annotations

import numpy as np

from isoflop.queries.fitting.solver.model import SCREENED_ROWS, Array
from isoflop.queries.fitting.solver.nonnegative import solve_nonnegative
from isoflop.queries.laws.law import Coefficient, Law


class LinearModel:
    """A linear law on a set of rows; implements `Model`.

    Parameters
    ----------
    law : linear in its coefficients
    coefficients : of the law, fixed ones included; each domain is all numbers or the non-negative ones
    inputs : (R, P) array
    values : (R,) measured values, positive without a unit
    unit : in which residuals are plain differences, of values of any sign; None for relative ones
    """

    has_curvature = True
    screened_rows = SCREENED_ROWS
    is_costly = False
    is_compiled = True
    proposes_starts = False
    is_unitless = False

    def __init__(
        self,
        law: Law,
        coefficients: tuple[Coefficient, ...],
        inputs: Array,
        values: Array,
        unit: float | None = None,
    ) -> None:
        self.coefficients = coefficients
        self.free = tuple(k for k, coefficient in enumerate(coefficients) if coefficient.fixed is None)
        self.names = tuple(coefficients[k].name for k in self.free)
        held = np.array([0.0 if coefficient.fixed is None else coefficient.fixed for coefficient in coefficients])
        self.held = held
        self.constant = np.asarray(law.predict(held, inputs))  # (R,)
        ones = np.eye(len(coefficients))[list(self.free)] + held
        features = np.asarray(law.predict(ones, inputs)) - self.constant  # (K, R)
        self.unit = unit
        self.is_difference = unit is not None
        self.scale = np.max(np.abs(features / (values if unit is None else unit)), axis=1)
        self.scale = np.where(self.scale > 0, self.scale, 1.0)
        self.features = features / self.scale[:, None]
        self.is_log = np.zeros(len(self.free), dtype=bool)
        self.has_zero_face = self.is_log  # its one bowl is compared with nothing
        self.signed = np.array([coefficients[k].lower < 0 for k in self.free])
        self.lower = np.where(self.signed, -np.inf, 0.0)
        self.upper = np.full(len(self.free), np.inf)

    def targets(self, values: Array) -> Array:
        """Return the measured values, in the unit of plain residuals."""
        return np.asarray(values, dtype=np.float64) / (1.0 if self.unit is None else self.unit)

    def residuals(self, theta: Array, targets: Array, order: int) -> tuple[Array, Array]:
        """Return residuals, and what the law's values are relative to."""
        if self.unit is not None:
            predicted = (theta @ self.features + self.constant) / self.unit
            return targets - predicted, np.full((1, targets.shape[1]), self.unit)
        return 1.0 - (theta @ self.features + self.constant) / targets, targets

    def expand(self, state: Array, influence: Array, curvature: Array, exact: bool) -> tuple[Array, Array]:
        """Return gradient and curvature of the weighted objective."""
        gradient = -(influence / state) @ self.features.T
        weights = curvature / state**2
        matrix = np.einsum("jr,br,kr->bjk", self.features, weights, self.features, optimize=True)
        return gradient, np.asarray(matrix)

    def slopes(self, theta: Array, targets: Array) -> Array:
        """Return the derivatives (B, K, R) of the predictions over the measured values."""
        shape = (len(theta), *self.features.shape)
        relative = self.features[None] / (targets[:, None, :] if self.unit is None else self.unit)
        return np.array(np.broadcast_to(relative, shape))

    def seeds(self, weights: Array, targets: Array, count: int, generator: np.random.Generator) -> Array:
        """Return the optimum, `count` times: there is nothing else to start from."""
        return np.repeat(self.closed_form(weights, targets)[:, None, :], count, axis=1)

    def projected(self, theta: Array, weights: Array, targets: Array) -> Array:
        """Return the optimum for every theta: all coefficients are linear."""
        return np.repeat(self.closed_form(weights, targets), len(theta), axis=0)

    def closed_form(self, weights: Array, targets: Array) -> Array:
        """Return the non-negative least-squares solution of every problem."""
        relative = weights / targets**2 if self.unit is None else weights / self.unit**2  # (B, R)
        values = targets if self.unit is None else targets * self.unit
        pairs = (self.features[:, None, :] * self.features[None, :, :]).reshape(-1, self.features.shape[1])
        size = len(self.free)
        gram = (relative @ pairs.T).reshape(-1, size, size)
        moment = (relative * (values - self.constant)) @ self.features.T
        return solve_nonnegative(gram, moment, self.signed)

    def to_coefficients(self, theta: Array) -> Array:
        """Return the law's coefficients."""
        theta = np.asarray(theta, dtype=np.float64)
        found = np.broadcast_to(self.held, (*theta.shape[:-1], len(self.coefficients))).copy()
        found[..., self.free] = theta / self.scale
        return found

    def from_coefficients(self, coefficients: Array) -> Array:
        """Return coordinates for the law's coefficients, moved into the box."""
        theta = np.asarray(coefficients, dtype=np.float64)[..., self.free] * self.scale
        return np.asarray(np.clip(theta, self.lower, self.upper))
