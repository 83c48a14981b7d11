"""How sure an optimum is: where it moves when the law's coefficients move as its resamples say.

Each resample has its own optimum, found by Newton steps from the best point, or by the whole local method where these
do not arrive. Whole numbers are taken for real ones meanwhile, and the ends of their intervals are rounded outwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.planning.optimum import STATIONARY, Optimum, grid
from isoflop.queries.planning.polish import polish, refine
from isoflop.queries.planning.problem import TOLERANCE, Array, ConstrainedProblem, Local, Scaled

UNIT_POINTS = 500  # of the box, from which units are taken
FEWEST_FOUND = 0.8  # share of the resamples whose optimum must be found


@dataclass(frozen=True, eq=False)
class OptimumSpread:
    """Intervals of an optimum.

    Parameters
    ----------
    lower, upper : (V,) of each variable; nan where it is not known
    value_lower, value_upper : of the best value
    found : share of the resamples whose optimum was found [1]
    """

    lower: Array
    upper: Array
    value_lower: float
    value_upper: float
    found: float


def optimum_spread(
    problem: ConstrainedProblem, optimum: Optimum, use: Callable[[Array], None], draws: Array, *, level: float = 0.95
) -> OptimumSpread:
    """Return the intervals of an optimum.

    Parameters
    ----------
    problem : whose functions read the coefficients that `use` sets
    optimum : with the coefficients of the fit
    use : makes the problem's functions take (K,) other coefficients
    draws : (B, K) coefficients of the resamples
    level : coverage of the intervals [1]
    """
    count = len(problem.variables)
    nothing = OptimumSpread(np.full(count, np.nan), np.full(count, np.nan), np.nan, np.nan, 0.0)
    if optimum.status == "infeasible" or len(draws) < 2:
        return nothing
    relaxed = replace(problem, variables=tuple(replace(optimum, is_integer=False) for optimum in problem.variables))
    scaled = Scaled.of(relaxed, grid(relaxed.variables, UNIT_POINTS))
    start = polish(scaled, optimum.point).point
    found = [optimum for optimum in (_moved(scaled, start, use, draw) for draw in draws) if optimum is not None]
    share = len(found) / len(draws)
    if share < FEWEST_FOUND:
        return replace(nothing, found=share)
    tail = (1 - level) / 2
    lower, upper = np.quantile([optimum.point for optimum in found], [tail, 1 - tail], axis=0)
    low, high = np.quantile([scaled.sign * optimum.value for optimum in found], [tail, 1 - tail])
    is_integer: NDArray[np.bool_] = np.array([optimum.is_integer for optimum in problem.variables])
    lower, upper = np.where(is_integer, np.floor(lower), lower), np.where(is_integer, np.ceil(upper), upper)
    # Rounding moves the optimum itself, by less than a whole number.
    lower, upper = np.minimum(lower, optimum.point), np.maximum(upper, optimum.point)
    return OptimumSpread(lower, upper, float(min(low, optimum.value)), float(max(high, optimum.value)), share)


def _moved(scaled: Scaled, start: Array, use: Callable[[Array], None], draw: Array) -> Local | None:
    """Return the optimum of one resample, or None when there is none nearby."""
    use(draw)
    for method in (refine, polish):
        found = method(scaled, start)
        if found.violation <= TOLERANCE and np.isfinite(found.value) and found.stationarity <= STATIONARY:
            return found
    return None
