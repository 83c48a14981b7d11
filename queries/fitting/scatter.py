"""How measured values scatter about a law: by a factor, as losses do, or by an amount, as a target of any sign does.

Every residual, spread, resample and interval of a fit is on one of the two scales:

* multiplicative: a residual is a difference of logarithms [1], noise multiplies a prediction, an interval keeps its
  sign. It is the scale of every fit whose objective compares logarithms or relative differences, and that of
  `least_squares` where all values are positive;
* additive: a residual is a difference in the target's unit, noise is added, an interval may cross zero. It is the
  scale of `least_squares` where a value is zero or less, and always that of `huber_plain`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws.objectives import Link, Objective

Array = NDArray[np.float64]

NORMAL_SPREAD = 1.4826  # standard deviation of a normal over its median absolute deviation [1]


@dataclass(frozen=True)
class Scatter:
    """One of the two scales.

    Parameters
    ----------
    unit : robust spread of the target, in its unit, by which residuals are divided for the solver; None when the
        scatter is multiplicative
    """

    unit: float | None = None

    @property
    def is_additive(self) -> bool:
        """Whether a residual is a difference in the target's unit."""
        return self.unit is not None

    @property
    def size(self) -> float:
        """What a residual is divided by to be a pure number, as the solver and the objectives take it."""
        return 1.0 if self.unit is None else self.unit

    def on_scale(self, values: Array) -> Array:
        """Return values in the coordinate in which they scatter: their logarithms, or themselves."""
        return np.log(values) if self.unit is None else np.asarray(values, dtype=np.float64)

    def off_scale(self, values: Array) -> Array:
        """Return what `on_scale` was given."""
        return np.exp(values) if self.unit is None else np.asarray(values, dtype=np.float64)

    def between(self, measured: Array, predicted: Array) -> Array:
        """Return residuals: log of the ratio [1], or the difference in the target's unit."""
        return np.log(measured / predicted) if self.unit is None else measured - predicted

    def moved(self, predicted: Array, residuals: Array) -> Array:
        """Return what was measured where a prediction leaves residuals."""
        return predicted * np.exp(residuals) if self.unit is None else predicted + residuals

    def noisy(self, predicted: Array, noise: Array) -> Array:
        """Return predictions with noise: factors [1], or amounts in the target's unit."""
        return predicted * noise if self.unit is None else predicted + noise

    def stretched(self, predicted: Array, end: Array, times: Array) -> Array:
        """Return the end of an interval moved away from the prediction, `times` as far on the scale."""
        if self.unit is None:
            return np.asarray(predicted * (end / predicted) ** times)
        return np.asarray(predicted + (end - predicted) * times)


MULTIPLICATIVE = Scatter()


def takes_any_sign(objective: Objective) -> bool:
    """Return whether an objective can be minimized where a value is zero or less: residuals are plain differences."""
    return objective.link is Link.PLAIN


def scatter_of(objective: Objective, values: Array) -> Scatter:
    """Return how the values of a fit scatter.

    Parameters
    ----------
    objective : what is minimized
    values : (R,) usable values

    Example
    -------
    >>> from isoflop.queries.laws.objectives import Huber, PlainSquares
    >>> values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    >>> scatter_of(PlainSquares(), values).is_additive, scatter_of(PlainSquares(), values + 3).is_additive
    (True, False)
    >>> round(scatter_of(PlainSquares(), values).size, 4)
    1.4826
    """
    is_positive = bool((values > 0).all())
    if not takes_any_sign(objective) or (is_positive and not objective.is_always_additive):
        return MULTIPLICATIVE
    return Scatter(_spread(values))


def _spread(values: Array) -> float:
    """Robust spread of values; the standard deviation where half of them are equal, and their size without any."""
    middle = float(np.median(values))
    candidates = (
        NORMAL_SPREAD * float(np.median(np.abs(values - middle))),
        float(np.std(values)),
        float(np.max(np.abs(values))),
    )
    return next((spread for spread in candidates if np.isfinite(spread) and spread > 1e-12 * candidates[2]), 1.0)
