"""What a fitted law leaves of each row, and how much each row could move it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.queries.fitting.record import Fit, FittedLaw
from isoflop.queries.fitting.slopes import relative_slopes, slope_basis

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Residuals:
    """Rows beside a fitted law.

    Parameters
    ----------
    predicted : (R,) in the target's unit
    residual : (R,) log measured - log predicted [1], or measured - predicted where the scatter is additive
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
        residual = fitted.scatter.between(values, predicted)
        return Residuals(predicted, residual, residual / fitted.residual_scale, _leverage(fitted, inputs))


def _leverage(fitted: FittedLaw, inputs: Array) -> Array:
    """Diagonal of the projection on the law's slopes, by an orthonormal basis of them."""
    found = np.full(len(inputs), np.nan)
    is_log = not fitted.scatter.is_additive
    with np.errstate(all="ignore"):
        usable = np.isfinite(relative_slopes(fitted.law, fitted.coefficients, inputs, is_log=is_log)).all(axis=0)
    if not usable.any():
        return found
    basis = slope_basis(fitted.law, fitted.coefficients, inputs[usable], is_log=is_log)
    if basis is not None:
        found[usable] = np.sum(basis**2, axis=1)
    return found
