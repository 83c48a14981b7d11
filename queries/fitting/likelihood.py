"""Criteria that compare laws on the same rows: explained variance and information criteria.

The penalty of a fit is the negative logarithm of a density up to its scale, which is fitted too. So a Huber fit
is judged by the Huber density and a few wild rows do not decide between laws. Least squares gives the usual
Gaussian criteria.

Source: Akaike 1974; Hurvich and Tsai 1989, Biometrika 76, 297; Schwarz 1978, Ann. Stat. 6, 461.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.scatter import MULTIPLICATIVE, Scatter
from isoflop.queries.laws.objectives import Objective

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Criteria:
    """How well a law describes the rows it was fitted to.

    Parameters
    ----------
    r2 : explained share of the variance of log values, or of values where the scatter is additive [1]
    rmse_log : root mean square of the log residuals [1]; nan where the scatter is additive
    log_likelihood : at the best scale [nat]
    aicc, bic : criteria [1], lower is better; aicc is inf when there are too few rows for it

    All are nan where there is no fit.
    """

    r2: float = math.nan
    rmse_log: float = math.nan
    log_likelihood: float = math.nan
    aicc: float = math.nan
    bic: float = math.nan


def criteria(
    values: Array,
    residuals: Array,
    weights: Array,
    objective: Objective,
    total: float,
    num_free: int,
    scatter: Scatter = MULTIPLICATIVE,
) -> Criteria:
    """Return the criteria of a fit.

    Parameters
    ----------
    values, residuals : (R,) measured values on the scale of their scatter, and what the law leaves of them
    weights : (R,) row weights
    objective : the penalty
    total : its weighted sum over the rows
    num_free : fitted coefficients; the scale is counted as one more
    scatter : the scale of values and residuals
    """
    count = len(residuals)
    share = weights / weights.sum()
    mean = float(share @ values)
    variance = float(share @ (values - mean) ** 2)
    error = float(share @ residuals**2)
    fitted = num_free + 1
    # of residuals in units of the scatter's size; a density is one in the target's unit
    likelihood = greatest_log_likelihood(objective, total / float(weights.sum()), count) - count * math.log(
        scatter.size
    )
    aic = 2 * fitted - 2 * likelihood
    spare = count - fitted - 1
    return Criteria(
        r2=1 - error / variance if variance > 0 else math.nan,
        rmse_log=math.nan if scatter.is_additive else math.sqrt(error),
        log_likelihood=likelihood,
        aicc=aic + 2 * fitted * (fitted + 1) / spare if spare > 0 else math.inf,
        bic=fitted * math.log(count) - 2 * likelihood,
    )


def greatest_log_likelihood(objective: Objective, mean_penalty: float, count: int) -> float:
    """Return the greatest log likelihood [nat] over the scale, for `count` rows of a given mean penalty."""
    if not (0 < mean_penalty < math.inf):
        return math.inf if mean_penalty == 0 else math.nan
    if objective.has_scale:  # its scale is fitted already and part of the penalty
        return -count * (mean_penalty + objective.log_normalizer(1.0))

    def negative(log_scale: float) -> float:
        scale = math.exp(log_scale)
        return mean_penalty / scale + objective.log_normalizer(scale)

    low, high = math.log(mean_penalty) - 8.0, math.log(mean_penalty) + 8.0
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    while high - low > 1e-9:
        if negative(left) < negative(right):
            high, right = right, left
            left = high - golden * (high - low)
        else:
            low, left = left, right
            right = low + golden * (high - low)
    return -count * negative((low + high) / 2)
