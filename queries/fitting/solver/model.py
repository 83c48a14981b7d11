"""What the solver knows of a law: coordinates that are easy to descend in, residuals and their derivatives.

A model holds one law on one set of rows. Its coordinates (theta) are logarithms of positive coefficients on
inputs divided by their geometric mean, and exponents as they are: with these the curvature of the objective does
not depend on the units of the data. Problems come in batches: B rows of theta, each with its own weights.

Shape letters: B problems, R rows, K free coefficients.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws.law import Coefficient

Array = NDArray[np.float64]

DEAD = -40.0  # log of a term's share [1] at which it is held: e-17 of the target, invisible in double precision
SCREENED_ROWS = 2_000  # rows that choose among the starts of a law that is quick to evaluate
HUGE = 30.0  # log of a term's size over the target [1] that no fit reaches


class Curve(Protocol):
    """What a descent needs: residuals at any coordinates, and how the objective moves with them."""

    lower: Array
    """(K,) lowest coordinates"""
    upper: Array
    """(K,) highest coordinates"""
    has_curvature: bool
    """whether `expand` knows second derivatives"""

    def residuals(self, theta: Array, targets: Array, order: int) -> tuple[Array, Any]:
        """Return residuals (B, R) at theta (B, K), and what `expand` needs for derivatives of that order."""

    def expand(self, state: Any, influence: Array, curvature: Array, exact: bool) -> tuple[Array, Array]:
        """Return gradient (B, K) and curvature (B, K, K) of the objective from its weighted row derivatives."""


class Model(Curve, Protocol):
    """One law on one set of rows, in the coordinates it is fitted in."""

    coefficients: tuple[Coefficient, ...]
    """those the coordinates are of, fixed ones included"""
    free: tuple[int, ...]
    """positions of the K free ones among them"""
    names: tuple[str, ...]
    """the law's own names of the K free ones"""
    is_log: NDArray[np.bool_]
    """(K,) which coordinates are logarithms of their coefficient"""
    has_zero_face: NDArray[np.bool_]
    """(K,) which are logarithms of a term's size, which may be zero"""
    proposes_starts: bool
    """whether the law says where to start, so that its seeds are spread already"""
    is_unitless: bool
    """whether inputs and values are divided by their geometric means, so that coefficients have usual ranges"""
    is_compiled: bool
    """whether derivatives over many rows come from compiled code, or there is a formula for the optimum"""
    is_costly: bool
    """whether one prediction takes milliseconds, so that searches and resamples take few"""
    is_difference: bool
    """whether a residual is the target less the prediction, rather than a relative difference"""
    screened_rows: int
    """rows that choose among its starts, where there are half as many again"""

    def targets(self, values: Array) -> Array:
        """Return the targets in the units of `residuals`, for measured values (..., R) in the target's unit."""

    def slopes(self, theta: Array, targets: Array) -> Array:
        """Return the derivatives (B, K, R) of the predictions, in units of the residual."""

    def seeds(self, weights: Array, targets: Array, count: int, generator: np.random.Generator) -> Array:
        """Return (B, S, K) points to descend from, best first, for weights (B, R) and targets (1 or B, R)."""

    def projected(self, theta: Array, weights: Array, targets: Array) -> Array:
        """Return theta (S, K) with the linear coefficients at their best for the others, on weights, targets (1, R)."""

    def closed_form(self, weights: Array, targets: Array) -> Array | None:
        """Return the optimum (B, K) when the objective has one bowl and a formula for it, else None."""

    def to_coefficients(self, theta: Array) -> Array:
        """Return all the law's coefficients (..., K_all) for coordinates (..., K)."""

    def from_coefficients(self, coefficients: Array) -> Array:
        """Return coordinates (..., K) for coefficients (..., K_all), moved into the box."""
