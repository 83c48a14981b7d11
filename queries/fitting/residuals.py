"""What a fitted law leaves of each row, and how much each row could move it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.queries.fitting.record import Fit, FittedLaw
from isoflop.queries.laws.derivatives import differences
from isoflop.queries.laws.law import Law

Array = NDArray[np.float64]

STEP = 1e-5  # relative step [1] of the central differences


@dataclass(frozen=True, eq=False)
class Residuals:
    """Rows beside a fitted law.

    Parameters
    ----------
    predicted : (R,) in the target's unit
    residual : (R,) log measured - log predicted [1]
    std_residual : (R,) residual in units of the fit's residual scale [1]
    leverage : (R,) between 0 and 1: the share of a row in its own prediction, over the rows given
    """

    predicted: Array
    residual: Array
    std_residual: Array
    leverage: Array


def residuals(fit: Fit | FittedLaw, X: ArrayLike, y: ArrayLike) -> Residuals:
    """Return what a fitted law leaves of rows.

    Parameters
    ----------
    fit : a fit, or a law with stored coefficients
    X : (R, P) inputs in the law's order
    y : (R,) measured values; nan where missing
    """
    fitted = fit.fitted if isinstance(fit, Fit) else fit
    inputs, values = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64).reshape(-1)
    inputs = inputs[:, None] if inputs.ndim == 1 else inputs
    predicted = np.asarray(fitted.law.predict(fitted.coefficients, inputs))
    with np.errstate(all="ignore"):
        residual = np.log(values / predicted)
        return Residuals(predicted, residual, residual / fitted.residual_scale, _leverage(fitted, inputs))


def _leverage(fitted: FittedLaw, inputs: Array) -> Array:
    """Diagonal of the projection on the law's slopes, by an orthonormal basis of them."""
    found = np.full(len(inputs), np.nan)
    with np.errstate(all="ignore"):
        usable = np.isfinite(_log_slopes(fitted.law, fitted.coefficients, inputs)).all(axis=0)
    basis = slope_basis(fitted.law, fitted.coefficients, inputs[usable]) if usable.any() else None
    if basis is not None:
        found[usable] = np.sum(basis**2, axis=1)
    return found


def slope_basis(
    law: Law,
    coefficients: Array,
    inputs: Array,
    free: Sequence[int] | None = None,
    scale: Array | None = None,
) -> Array | None:
    """Return an orthonormal basis (R, rank) of how log predictions move with the coefficients; None without any.

    Parameters
    ----------
    law, coefficients : K coefficients
    inputs : (R, P)
    free : positions of the coefficients that may move; all when None
    scale : (R,) factor of each row, such as the root of its weight
    """
    with np.errstate(all="ignore"):
        slopes = _log_slopes(law, coefficients, inputs)
    slopes = slopes if free is None else slopes[list(free)]
    slopes = slopes if scale is None else slopes * scale
    norms = np.linalg.norm(slopes, axis=1)
    inside = norms > 1e-9 * STEP
    if not inside.any() or not np.isfinite(slopes[inside]).all():
        return None
    basis, strength, _ = np.linalg.svd((slopes[inside] / norms[inside, None]).T, full_matrices=False)
    return np.asarray(basis[:, strength > 1e-7 * strength[0]])


def _log_slopes(law: Law, coefficients: Array, inputs: Array) -> Array:
    """Central differences (K, R) of log predictions over relative steps of the coefficients."""
    steps = STEP * np.where(coefficients != 0, np.abs(coefficients), 1.0)
    return differences(lambda moved: np.log(np.asarray(law.predict(moved, inputs))), coefficients, steps) / 2
