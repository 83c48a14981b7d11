"""What a fitted law leaves of each row, and how much each row could move it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.queries.fitting.record import Fit, FittedLaw

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
    steps = STEP * np.where(fitted.coefficients != 0, np.abs(fitted.coefficients), 1.0)
    moved = np.concatenate([fitted.coefficients + np.diag(steps), fitted.coefficients - np.diag(steps)])
    logs = np.log(np.asarray(fitted.law.predict(moved, inputs)))  # (2K, R)
    slopes = (logs[: len(steps)] - logs[len(steps) :]) / 2
    usable = np.isfinite(slopes).all(axis=0)
    found = np.full(len(inputs), np.nan)
    norms = np.linalg.norm(slopes[:, usable], axis=1)
    inside = norms > 1e-9 * STEP
    if usable.any() and inside.any():
        scaled = slopes[inside][:, usable] / norms[inside, None]
        basis, strength, _ = np.linalg.svd(scaled.T, full_matrices=False)
        found[usable] = np.sum(basis[:, strength > 1e-7 * strength[0]] ** 2, axis=1)
    return found
