"""Profile likelihood: how far a coefficient can go before the best of the others no longer makes up for it.

Unlike a standard error it sees bent valleys, and unlike resamples it works with few rows. How much the objective may
rise follows from the residuals themselves, because a Huber penalty is not the density they have: twice the rise, times
the mean slope of the influence over its mean square, is a squared Student variable. With least squares that is the
classical profile interval, exact for linear laws.

Source: Bates and Watts 1988, ch. 6 (profile t); Schrader and Hettmansperger 1980, Biometrika 67, 93 (robust penalties).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import FitError, UsageError, did_you_mean
from isoflop.queries.fitting.deleted import mean_slope
from isoflop.queries.fitting.problem import Problem, coefficients_for
from isoflop.queries.fitting.quantiles import student_quantile
from isoflop.queries.fitting.record import Fit
from isoflop.queries.fitting.solver.newton import descend_to_rest
from isoflop.queries.laws.law import Coefficient
from isoflop.queries.laws.objectives import row_factors

Array = NDArray[np.float64]

FIRST_STEP = 0.02  # relative to the coefficient [1]
MOST_DOUBLINGS, MOST_HALVINGS = 24, 24  # of a step to an interval's end: factors of 1e7, beyond which it has none
CLOSE = 1e-3  # of the threshold [1]


@dataclass(frozen=True)
class ProfileInterval:
    """Where a coefficient may lie.

    Parameters
    ----------
    name : of the coefficient
    estimate : its fitted value
    lower, upper : ends of the interval; the edge of the domain where the profile never rises enough
    level : coverage [1]
    is_open : whether an end is the edge of the domain, or the search for it gave up: the rows do not limit it there
    """

    name: str
    estimate: float
    lower: float
    upper: float
    level: float
    is_open: tuple[bool, bool]


def profile_intervals(fit: Fit, names: Iterable[str] | None = None) -> list[ProfileInterval]:
    """Return profile likelihood intervals of coefficients.

    Parameters
    ----------
    fit : of a law to data. With groups of correlated rows the intervals count groups instead of rows
    names : coefficients; all that are free when None

    Raises
    ------
    FitError : if the fit has no coefficients, or no row to spare
    UsageError : if a name is none of the law's
    """
    if np.isnan(fit.coefficients).any():
        raise FitError(f"{fit.law.name} has no coefficients to profile: {fit.reason}")
    coefficients = coefficients_for(fit.law, None, fit.options.fixed)
    held = {coefficient.name for coefficient in coefficients if coefficient.fixed is not None}
    wanted = [name for name in fit.names if name not in held] if names is None else list(names)
    for name in wanted:
        if name not in fit.names:
            hint = did_you_mean(name, fit.names, f"it has {', '.join(fit.names)}")
            raise UsageError(f"{fit.law.name} has no coefficient '{name}'", hint=hint)
    count, num_free = fit.data.num_groups, len(fit.names) - len(held)
    spare = count - num_free
    if spare < 1:
        raise FitError(f"{count} rows or groups for {num_free} coefficients leave none to profile by")
    problem = Problem(fit.law, coefficients, fit.data, fit.solution.penalty)
    return [_Profile(fit, problem, name, spare).interval() for name in wanted]


class _Profile:
    """The least objective over all coefficients but one."""

    def __init__(self, fit: Fit, problem: Problem, name: str, spare: int) -> None:
        self.fit, self.problem, self.name = fit, problem, name
        self.position = fit.names.index(name)
        self.one: Coefficient = fit.law.coefficients[self.position]
        self.estimate = float(fit.coefficients[self.position])
        quantile = student_quantile((1 + fit.level) / 2, spare)
        self.threshold = quantile**2 / (2 * _sharpness(fit, len(problem.free)) * spare / len(fit.data))
        self.best = fit.solution.objective
        self.last = fit.coefficients

    def interval(self) -> ProfileInterval:
        """Both ends."""
        ends = [self._end(-1.0, self.one.lower), self._end(1.0, self.one.upper)]
        lower, upper = (end for end, _ in ends)
        return ProfileInterval(self.name, self.estimate, lower, upper, self.fit.level, (ends[0][1], ends[1][1]))

    def _rise(self, value: float) -> float:
        """How much the objective rises when the coefficient is held at a value and the others make up for it."""
        held = self.problem.coefficients
        coefficients = tuple(
            replace(coefficient, fixed=value) if coefficient.name == self.name else coefficient for coefficient in held
        )
        problem = replace(self.problem, coefficients=coefficients)
        model = problem.model
        if not model.names:
            total, _ = self._at(problem, np.empty((1, 0)))
            return total - self.best
        starts = []
        for known in (self.last, self.fit.coefficients):
            moved = np.array(known)
            moved[self.position] = value
            starts.append(model.from_coefficients(moved[None])[0])
        theta = np.array([*starts, *model.projected(np.array(starts), problem.weights, problem.targets)])
        ended = descend_to_rest(model, theta, problem.weights, problem.targets, problem.objective)
        first = int(np.argmin(ended.objective))
        if np.isfinite(ended.objective[first]):
            self.last = model.to_coefficients(ended.theta[first])
        return float(ended.objective[first]) - self.best

    def _at(self, problem: Problem, theta: Array) -> tuple[float, Array]:
        residuals, _ = problem.model.residuals(theta, problem.targets, 0)
        penalty, _, _ = problem.objective.weigh(residuals, True)
        return float((penalty * problem.weights).sum()), residuals

    def _end(self, sign: float, edge: float) -> tuple[float, bool]:
        """The value at which the objective has risen by the threshold, and whether it never did."""
        self.last = self.fit.coefficients
        scale = abs(self.estimate) if self.estimate else 1.0
        inner, step = 0.0, FIRST_STEP * scale
        outer = math.nan
        for _ in range(MOST_DOUBLINGS):
            value = self.estimate + sign * step
            at_edge = sign * (value - edge) >= 0
            if at_edge:
                value = edge
            rise = self._rise(value)
            if rise >= self.threshold:
                outer = abs(value - self.estimate)
                break
            if at_edge:
                return edge, True
            inner, step = abs(value - self.estimate), 1.7 * step
        if math.isnan(outer):
            return self.estimate + sign * inner, True
        for _ in range(MOST_HALVINGS):
            middle = 0.5 * (inner + outer)
            rise = self._rise(self.estimate + sign * middle)
            if abs(rise - self.threshold) < CLOSE * self.threshold:
                return self.estimate + sign * middle, False
            inner, outer = (middle, outer) if rise < self.threshold else (inner, middle)
        return self.estimate + sign * 0.5 * (inner + outer), False


def _sharpness(fit: Fit, num_free: int) -> float:
    """Mean slope of the influence over its mean square: the inverse of the variance that the penalty acts on."""
    penalty, residuals = fit.solution.penalty, fit.solution.residuals
    scatter = fit.data.scatter
    residuals = residuals / scatter.size
    weights = fit.data.weight * row_factors(penalty, fit.data.target, scatter.is_additive)
    influence = penalty.weigh(residuals, True)[1]
    square = float(weights**2 @ influence**2)
    slope = mean_slope(residuals, weights, penalty, num_free) * float(weights.sum())
    return slope / square if square > 0 else math.inf
