"""Huber penalties with something more: a scale that is fitted too, two sides that weigh differently, plain residuals.

* `HuberLikelihood()` lets the residuals decide where the penalty turns linear, as the replication of Hoffmann et
  al. does. With its delta of 1e-3 scales the answer is in effect the least absolute deviation;
* `AsymmetricHuber()` takes a loss above the curve for a run that was not tuned well and lets it count less, so the
  law follows the lower edge of the runs;
* `PlainHuber()` compares values, not their logarithms, so that a target may be zero or negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.laws.algebra.expression import Array
from isoflop.queries.laws.objectives import Huber, Link, Objective

FIRST_KNEE = 1e-3  # log residual [1] beyond which the penalty is linear before a scale is known
SMOOTH = 0.02  # knee in units of the mean absolute residual [1] that changes no resample by a visible amount
SMALLEST_KNEE = 1e-12  # log residual [1]: rounding of the logarithms themselves


@dataclass(frozen=True)
class HuberLikelihood(Objective):
    """Negative log of the Huber density of a log residual in units of a scale, which is fitted with the law.

    The density is `exp(-rho(r / scale)) / (scale Z)` with rho the Huber penalty. `weigh` returns rho at the scale
    the objective carries; `rescaled` gives the objective with the most likely scale of some residuals.

    Parameters
    ----------
    delta : residual in units of the scale [1] beyond which the penalty is linear; > 0
    scale : of log residuals [1]; None before a fit

    Raises
    ------
    UsageError : if delta or scale is not a positive number

    Source: Huber 1964, Ann. Math. Stat. 35, 73; Besiroglu et al. 2024 (arXiv:2404.10102), the notebook's estimates.
    """

    delta: float = 1e-3
    scale: float | None = None

    def __post_init__(self) -> None:
        Huber(self.delta)
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise UsageError(f"scale is {self.scale!r}, which is not a positive number; leave it out to have it fitted")

    @property
    def name(self) -> str:
        """The word a statement uses for it."""
        return "huber_likelihood"

    @property
    def link(self) -> Link:
        """Logarithms."""
        return Link.LOG

    @property
    def known_scale(self) -> float:
        """The scale [1], or before a fit the one that makes the penalty linear beyond 0.1 %."""
        return FIRST_KNEE / self.delta if self.scale is None else self.scale

    @property
    def has_scale(self) -> bool:
        """Yes."""
        return True

    def at_scale(self, scale: float) -> HuberLikelihood:
        """Return the objective at a scale [1]."""
        return replace(self, scale=scale)

    def smoothed(self) -> HuberLikelihood:
        """Return the objective with a knee that thousands of resamples can be brought to.

        A small delta makes the mean absolute residual `scale / delta`, and the knee far smaller than it.
        """
        return replace(self, scale=self.known_scale * max(1.0, SMOOTH / self.delta**2))

    def rescaled(self, residuals: Array, weights: Array) -> HuberLikelihood:
        """Return the objective at the scale that makes residuals most likely.

        Parameters
        ----------
        residuals : (R,) log residuals [1]
        weights : (R,) row weights
        """
        share, size = weights / weights.sum(), np.abs(residuals)
        log_normalizer = Huber(self.delta).log_normalizer(1.0)

        def cost(log_scale: float) -> float:
            scaled = size * math.exp(-log_scale)
            inner = np.minimum(scaled, self.delta)
            return float(share @ (inner * (scaled - 0.5 * inner))) + log_scale + log_normalizer

        smallest = math.log(SMALLEST_KNEE / self.delta)
        largest = math.log(float(size.max()) * max(1.0, self.delta) + 2 * math.exp(smallest)) + 1.0
        return replace(self, scale=math.exp(_lowest(cost, smallest, largest)))

    def weigh(self, residuals: Array, exact: bool) -> tuple[Array, Array, Array]:
        """Return penalty, influence and curvature at the objective's scale."""
        scale = self.known_scale
        penalty, influence, curvature = Huber(self.delta).weigh(residuals / scale, exact)
        return penalty, influence / scale, curvature / scale**2

    def graduation(self) -> tuple[Objective, ...]:
        """Return Huber objectives from 0.1 down to three times the log residual where this one turns linear."""
        return Huber(self.delta * self.known_scale).graduation()

    def log_normalizer(self, scale: float) -> float:
        """Return log of the integral of `exp(-penalty / scale)` over log residuals."""
        return math.log(self.known_scale) + Huber(self.delta).log_normalizer(scale)


@dataclass(frozen=True)
class AsymmetricHuber(Objective):
    """Huber on log residuals, with rows above the curve counted less.

    Parameters
    ----------
    delta : log residual [1] beyond which the penalty is linear; > 0
    above : factor [1] of the penalty of rows whose measured value exceeds the prediction; > 0, and 1 is `Huber`

    Raises
    ------
    UsageError : if delta or above is not a positive number

    Source: expectile-like weights of Newey and Powell 1987, Econometrica 55, 819, on the Huber penalty; a ratio of
    ten follows the loop of published lower-envelope fits.
    """

    delta: float = 1e-3
    above: float = 0.1

    def __post_init__(self) -> None:
        Huber(self.delta)
        if not (isinstance(self.above, int | float) and 0 < self.above < math.inf):
            raise UsageError(f"above is {self.above!r}, which is not a positive number; 0.1 counts such rows a tenth")

    @property
    def name(self) -> str:
        """The word a statement uses for it."""
        return "asymmetric_huber"

    @property
    def link(self) -> Link:
        """Logarithms."""
        return Link.LOG

    def weigh(self, residuals: Array, exact: bool) -> tuple[Array, Array, Array]:
        """Return penalty, influence and curvature."""
        penalty, influence, curvature = Huber(self.delta).weigh(residuals, exact)
        side = np.where(residuals > 0, self.above, 1.0)
        # a parabola that touches on the light side still has to lie above the heavy one
        return penalty * side, influence * side, curvature * (side if exact else max(self.above, 1.0))

    def graduation(self) -> tuple[Objective, ...]:
        """Return the same with wider deltas, widest first."""
        return tuple(replace(self, delta=wider.delta) for wider in Huber(self.delta).graduation())

    def log_normalizer(self, scale: float) -> float:
        """Return log of the integral of the density, half a Huber density on each side."""
        huber = Huber(self.delta)
        above, below = huber.log_normalizer(scale / self.above), huber.log_normalizer(scale)
        return float(np.logaddexp(above, below)) - math.log(2)


@dataclass(frozen=True)
class PlainHuber(Objective):
    """Huber on differences in the target's unit, which are divided by a robust spread of the target.

    Parameters
    ----------
    delta : residual in units of the target's spread [1] beyond which the penalty is linear; > 0. The spread is 1.4826
        times the median absolute deviation of the measured values (`fitting.scatter`)

    Raises
    ------
    UsageError : if delta is not a positive number

    Source: Huber 1964, Ann. Math. Stat. 35, 73; Huber 1981, Robust Statistics, 5.1 (spread by the median deviation).
    """

    delta: float = 1e-3

    def __post_init__(self) -> None:
        Huber(self.delta)

    @property
    def name(self) -> str:
        """The word a statement uses for it."""
        return "huber_plain"

    @property
    def link(self) -> Link:
        """Differences in the target's unit."""
        return Link.PLAIN

    @property
    def is_always_additive(self) -> bool:
        """Yes."""
        return True

    def weigh(self, residuals: Array, exact: bool) -> tuple[Array, Array, Array]:
        """Return penalty, influence and curvature."""
        return Huber(self.delta).weigh(residuals, exact)

    def graduation(self) -> tuple[Objective, ...]:
        """Return the same with wider deltas, widest first."""
        return tuple(PlainHuber(wider.delta) for wider in Huber(self.delta).graduation())

    def log_normalizer(self, scale: float) -> float:
        """Return log of the integral of the Huber density."""
        return Huber(self.delta).log_normalizer(scale)


def _lowest(cost: Callable[[float], float], low: float, high: float) -> float:
    """Place of the single minimum of a function between two numbers, by golden sections."""
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = cost(left), cost(right)
    while high - low > 1e-10:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = cost(right)
    return (low + high) / 2
