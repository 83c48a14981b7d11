"""How far a law is from what was measured: the quantity a fit makes as small as it can, summed over rows.

Which one to take:

* losses, some of them off: `Huber(1e-3)` on log residuals, as published scaling laws are fitted;
* losses with clean Gaussian noise: `LeastSquares()` on log residuals;
* losses where half the rows may be off: `LeastAbsolute()`, the limit of Huber for a small delta;
* losses with a scale that is fitted too, or with runs that were not tuned well: see `robust_objectives`;
* step times, linear laws: `RelativeSquares()`, squares of the relative error;
* losses or error rates as some papers fit them, without logarithms: `PlainSquares()`, squares of the error itself;
* a target that may be zero or negative: `PlainSquares()`, or with some rows off `PlainHuber()` of `robust_objectives`.

The sum is never turned into a mean: with rows in the hundreds and residuals near 1e-3 a mean is so small that
the usual stopping rules of optimizers fire at the start.
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.laws.algebra.expression import Array

WIDEST = 0.1  # log residual [1] at which the graduated descent starts: beyond it all landscapes are bowls


class Link(enum.Enum):
    """What a residual is: a difference of logarithms, a relative difference, or a difference in the target's unit.

    The solver takes the last as a relative one whose rows weigh with the square of their value (`row_factors`), where
    values scatter by factors.
    """

    LOG = "log"
    RELATIVE = "relative"
    PLAIN = "plain"


class Objective(ABC):
    """A penalty on residuals.

    One with a scale of its own, which is fitted with the law, says so by `has_scale` and has the methods that speak
    of it; the others keep those of this class.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The word a statement uses for it."""

    @property
    @abstractmethod
    def link(self) -> Link:
        """What the residual is."""

    @abstractmethod
    def weigh(self, residuals: Array, exact: bool) -> tuple[Array, Array, Array]:
        """Return penalty, its first derivative and a curvature, each of the shape of `residuals`.

        With `exact` the curvature is the second derivative, else the one of a parabola that touches the penalty
        and lies above it (iteratively reweighted least squares).
        """

    @abstractmethod
    def graduation(self) -> tuple[Objective, ...]:
        """Return smoother objectives to descend first, widest first; empty when this one has a single bowl."""

    @abstractmethod
    def log_normalizer(self, scale: float) -> float:
        """Return log of the integral of `exp(-penalty / scale)` over all residuals."""

    @property
    def has_scale(self) -> bool:
        """Whether it has a scale of its own, which is part of the penalty and fitted with the law."""
        return False

    @property
    def is_always_additive(self) -> bool:
        """Whether residuals are differences in the target's unit also where all values are positive."""
        return False

    @property
    def known_scale(self) -> float:
        """The scale [1] that it carries."""
        return 1.0

    def rescaled(self, residuals: Array, weights: Array) -> Objective:
        """Return the objective at the scale that makes residuals (R,) of rows with weights (R,) most likely."""
        return self

    def at_scale(self, scale: float) -> Objective:
        """Return the objective at a scale [1]."""
        return self

    def smoothed(self) -> Objective:
        """Return the objective for resamples and folds, where thousands have to converge."""
        return self


@dataclass(frozen=True)
class Huber(Objective):
    """Half the square of a log residual up to `delta`, linear beyond.

    Parameters
    ----------
    delta : log residual [1] beyond which the penalty is linear; > 0

    Raises
    ------
    UsageError : if delta is not a positive number

    Source: Huber 1964, Ann. Math. Stat. 35, 73; Hoffmann et al. 2022 (arXiv:2203.15556), eq. 3 with 1e-3.
    """

    delta: float = 1e-3

    def __post_init__(self) -> None:
        if not (isinstance(self.delta, int | float) and 0 < self.delta < math.inf):
            raise UsageError(f"delta is {self.delta!r}, which is not a positive number; 1e-3 is the published choice")

    @property
    def name(self) -> str:
        """The word a statement uses for it."""
        return "huber_log"

    @property
    def link(self) -> Link:
        """Logarithms."""
        return Link.LOG

    def weigh(self, residuals: Array, exact: bool) -> tuple[Array, Array, Array]:
        """Return penalty, influence and curvature."""
        size = np.abs(residuals)
        inner = np.minimum(size, self.delta)
        influence = np.clip(residuals, -self.delta, self.delta)
        curvature: Array
        if exact:
            curvature = (size <= self.delta).astype(np.float64)
        else:
            curvature = self.delta / np.maximum(size, self.delta)
        size -= 0.5 * inner
        size *= inner
        return size, influence, curvature

    def graduation(self) -> tuple[Huber, ...]:
        """Return Huber objectives from 0.1 down to three times delta."""
        if self.delta >= WIDEST:
            return ()
        steps = math.log10(WIDEST / self.delta)
        deltas = [WIDEST, *(WIDEST * 10 ** -(0.5 * k) for k in range(2, math.ceil(2 * steps - 1e-9)))]
        return tuple(Huber(delta) for delta in deltas)

    def log_normalizer(self, scale: float) -> float:
        """Return log of the integral of the Huber density, for comparing laws by likelihood."""
        inner = math.sqrt(2 * math.pi * scale) * math.erf(self.delta / math.sqrt(2 * scale))
        outer = 2 * scale / self.delta * math.exp(-(self.delta**2) / (2 * scale))
        return math.log(inner + outer)


@dataclass(frozen=True)
class LeastSquares(Objective):
    """Half the square of the log residual."""

    @property
    def name(self) -> str:
        """The word a statement uses for it."""
        return "least_squares_log"

    @property
    def link(self) -> Link:
        """Logarithms."""
        return Link.LOG

    def weigh(self, residuals: Array, exact: bool) -> tuple[Array, Array, Array]:
        """Return penalty, influence and curvature."""
        return 0.5 * residuals * residuals, residuals, np.ones_like(residuals)

    def graduation(self) -> tuple[Objective, ...]:
        """Return nothing: squares need no smoothing."""
        return ()

    def log_normalizer(self, scale: float) -> float:
        """Return log of the integral of the normal density."""
        return 0.5 * math.log(2 * math.pi * scale)


@dataclass(frozen=True)
class LeastAbsolute(Objective):
    """Absolute log residual, rounded off below `smoothing` so that it has derivatives.

    Parameters
    ----------
    smoothing : log residual [1] below which the penalty is a parabola
    """

    smoothing: float = 1e-6

    @property
    def name(self) -> str:
        """The word a statement uses for it."""
        return "least_absolute_log"

    @property
    def link(self) -> Link:
        """Logarithms."""
        return Link.LOG

    def weigh(self, residuals: Array, exact: bool) -> tuple[Array, Array, Array]:
        """Return penalty, influence and curvature."""
        penalty, influence, curvature = Huber(self.smoothing).weigh(residuals, exact)
        return penalty / self.smoothing, influence / self.smoothing, curvature / self.smoothing

    def graduation(self) -> tuple[Objective, ...]:
        """Return absolute residuals with wider rounding, widest first."""
        return tuple(LeastAbsolute(huber.delta) for huber in Huber(self.smoothing).graduation())

    def log_normalizer(self, scale: float) -> float:
        """Return log of the integral of the Laplace density."""
        return math.log(2 * scale)


@dataclass(frozen=True)
class RelativeSquares(Objective):
    """Half the square of the relative residual, `1 - predicted / measured`; for laws linear in their coefficients.

    Source: Inbar and Sernau 2024 (arXiv:2406.18922) fit step times this way, with non-negative coefficients.
    """

    @property
    def name(self) -> str:
        """The word a statement uses for it."""
        return "relative_squares"

    @property
    def link(self) -> Link:
        """Relative differences."""
        return Link.RELATIVE

    def weigh(self, residuals: Array, exact: bool) -> tuple[Array, Array, Array]:
        """Return penalty, influence and curvature."""
        return LeastSquares().weigh(residuals, exact)

    def graduation(self) -> tuple[Objective, ...]:
        """Return nothing: squares need no smoothing."""
        return ()

    def log_normalizer(self, scale: float) -> float:
        """Return log of the integral of the normal density."""
        return LeastSquares().log_normalizer(scale)


@dataclass(frozen=True)
class PlainSquares(RelativeSquares):
    """Half the square of the residual in the target's unit, `measured - predicted`: large values count most.

    Source: Gadre et al. 2024 (arXiv:2403.08540) fit losses and error rates this way.
    """

    @property
    def name(self) -> str:
        """The word a statement uses for it."""
        return "least_squares"

    @property
    def link(self) -> Link:
        """Differences in the target's unit."""
        return Link.PLAIN


def row_factors(objective: Objective, values: Array, is_additive: bool = False) -> Array | float:
    """Return the factors on row weights that turn squares of relative residuals into squares of plain ones.

    Parameters
    ----------
    objective : whose link says whether there is anything to turn
    values : (..., R) measured values
    is_additive : whether residuals are plain ones already (`fitting.scatter`)

    Returns
    -------
    (..., R) float array in the target's unit squared, or 1 for other links
    """
    return np.square(values) if objective.link is Link.PLAIN and not is_additive else 1.0
