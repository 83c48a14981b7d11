"""SciPy's L-BFGS-B from many starts on a law's own objective: the peer of a fit that knows none of its starts.

Coordinates are logarithms of coefficients that may not be negative, exponents are themselves; slopes are the law's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from isoflop.queries.laws import Law, Role
from isoflop.queries.laws.objectives import Link, Objective

Array = NDArray[np.float64]
Missed = Callable[[Array], tuple[float, Array]]

TRIES = 3  # descents one after another: a line search along a kink gives up early
LARGEST = 300.0  # logarithm of a coefficient
FARTHEST = 1e6  # coefficient that is no logarithm
# SciPy stops at a gradient of 1e-5, which objectives of residuals near 1e-3 have far from their optimum
STOPS = {"ftol": 1e-13, "gtol": 1e-11, "maxiter": 2_000, "maxfun": 4_000}
UNUSABLE = 1e10  # objective where the law has no value


def missed_by(law: Law, inputs: Array, values: Array, objective: Objective | None = None) -> Missed:
    """Return an objective, summed over rows, and its slopes (K,) as a function of a law's coefficients (K,).

    Parameters
    ----------
    law : with K coefficients
    inputs, values : (R, P) and (R,)
    objective : the law's own when None
    """
    penalty_of = objective or law.objective

    def missed(coefficients: Array) -> tuple[float, Array]:
        with np.errstate(all="ignore"):
            predicted, slopes = law.value_and_slopes(coefficients, inputs)
            residuals, chain = _residuals(penalty_of, values, predicted)
            penalty, influence, _ = penalty_of.weigh(residuals, True)
            total, slope = float(penalty.sum()), -(slopes * chain) @ influence
        return (total, slope) if np.isfinite(total) and np.isfinite(slope).all() else (UNUSABLE, np.zeros_like(slope))

    return missed


def objective_at(
    law: Law, inputs: Array, values: Array, coefficients: Array, objective: Objective | None = None
) -> float:
    """Return the objective at coefficients (K,), which also has a value where the law has no slope."""
    penalty_of = objective or law.objective
    with np.errstate(all="ignore"):
        residuals, _ = _residuals(penalty_of, values, np.asarray(law.predict(coefficients, inputs)))
        return float(penalty_of.weigh(residuals, False)[0].sum())


def _residuals(objective: Objective, values: Array, predicted: Array) -> tuple[Array, Array]:
    """Residuals (R,) and what a unit of the prediction takes from each."""
    match objective.link:
        case Link.LOG:
            return np.log(values / predicted), 1 / predicted
        case Link.RELATIVE:
            return 1 - predicted / values, 1 / values
        case Link.PLAIN:
            return values - predicted, np.ones_like(values)


def descended(law: Law, missed: Missed, start: Array, tries: int = TRIES) -> tuple[float, Array]:
    """Return the objective and the coefficients (K,) in which L-BFGS-B from coefficients (K,) ends.

    Parameters
    ----------
    law : whose domains hold
    missed : what is minimized (`missed_by`)
    start : (K,)
    tries : descents one after another
    """
    is_log = np.array([one.lower >= 0 and one.role is not Role.EXPONENT for one in law.coefficients])

    def natural(theta: Array) -> Array:
        return np.where(is_log, np.exp(np.where(is_log, theta, 0.0)), theta)

    def lowered(theta: Array) -> tuple[float, Array]:
        coefficients = natural(theta)
        total, slope = missed(coefficients)
        return total, slope * np.where(is_log, coefficients, 1.0)

    bounds = [
        (np.log(max(one.lower, np.exp(-LARGEST))), np.log(min(one.upper, np.exp(LARGEST))))
        if log
        else (max(one.lower, -FARTHEST), min(one.upper, FARTHEST))
        for log, one in zip(is_log, law.coefficients, strict=True)
    ]
    theta = np.where(is_log, np.log(np.where(is_log, np.maximum(start, 1e-100), 1.0)), start)
    for _ in range(tries):
        found = minimize(lowered, theta, jac=True, method="L-BFGS-B", bounds=bounds, options=STOPS)
        theta = found.x
    return float(found.fun), natural(theta)
