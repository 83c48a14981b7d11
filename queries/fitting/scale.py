"""How widely the residuals of a fit spread, in one number."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROBUST_ROWS = 40  # from which on 5 % are two rows or more, so that leaving them out still leaves 95 % to read off


def residual_scale(residuals: Array, weights: Array, num_free: int) -> float:
    """Return the spread of log residuals as the scale of a normal whose central 95 % hold 95 % of them.

    Parameters
    ----------
    residuals : (R,) log residuals [1]
    weights : (R,) row weights
    num_free : coefficients that were fitted, for which the spread is widened by sqrt(R / (R - K))

    Returns
    -------
    float >= 0. A few wild rows do not widen it; fat tails do. Below 40 rows it is the root mean square.
    """
    count = len(residuals)
    if count <= num_free:
        return float("nan")
    widened = np.sqrt(count / (count - num_free))
    size = np.abs(residuals)
    if count < ROBUST_ROWS:
        return float(widened * np.sqrt(np.average(size**2, weights=weights)))
    order = np.argsort(size)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(widened * size[order][np.searchsorted(reached, 0.95)] / NormalDist().inv_cdf(0.975))
