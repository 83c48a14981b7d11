"""A problem of best choice, and the same problem in units in which a local method works.

Variables with positive ranges become their logarithms, and a condition between positive sides is compared in
logarithms as well: `6 * params * tokens <= budget` is then linear, whatever the size of the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

TOLERANCE = 1e-9  # relative breach [1] up to which a condition holds


@dataclass(frozen=True)
class Variable:
    """A number that may be chosen from `lower` to `upper`.

    Parameters
    ----------
    is_log : whether the grid has equal ratios rather than equal steps; needs lower > 0
    is_integer : whether only whole numbers count
    values : the only values there are, in order; empty for all of the range
    """

    name: str
    lower: float
    upper: float
    is_log: bool = False
    is_integer: bool = False
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Condition:
    """`left relation right`, where both sides take (M, V) points to (M,) values; the relation is <=, >= or =."""

    text: str
    left: Function
    right: Function
    relation: str = "<="


@dataclass(frozen=True)
class ConstrainedProblem:
    """What is to be made small, or large, by choosing V variables.

    Parameters
    ----------
    variables : with their ranges
    objective : takes (M, V) points to (M,) values
    conditions : C of them, all of which must hold
    maximize : whether the largest value is best
    """

    variables: tuple[Variable, ...]
    objective: Function
    conditions: tuple[Condition, ...] = ()
    maximize: bool = False


@dataclass(frozen=True, eq=False)
class Local:
    """A point as a local method left it: its value to be minimized, its breach, its optimality residual."""

    point: Array
    value: float
    violation: float
    stationarity: float = float("inf")


@dataclass(frozen=True, eq=False)
class Scaled:
    """A problem in chart coordinates.

    Parameters
    ----------
    problem : what is scaled
    is_log : (V,) which variables are charted by their logarithm
    low, high : (V,) ends of the ranges in the chart
    compares_logs : (C,) which conditions are compared in logarithms
    scale : (C,) unit of the other conditions
    spread : typical size of the objective over the box
    """

    problem: ConstrainedProblem
    is_log: NDArray[np.bool_]
    low: Array
    high: Array
    compares_logs: NDArray[np.bool_]
    scale: Array
    spread: float

    @classmethod
    def of(cls, problem: ConstrainedProblem, points: Array) -> Scaled:
        """Return a problem in units that its values at (M, V) points suggest."""
        lower = np.array([variable.lower for variable in problem.variables])
        upper = np.array([variable.upper for variable in problem.variables])
        is_log = lower > 0
        compares_logs, scale = [], []
        for condition in problem.conditions:
            sides = np.stack([call(condition.left, points), call(condition.right, points)])
            sides = sides[:, np.isfinite(sides).all(axis=0)]
            compares_logs.append(bool(sides.size and (sides > 0).all()))
            scale.append(_typical(np.abs(sides).sum(axis=0)))
        with np.errstate(all="ignore"):
            low, high = np.where(is_log, np.log(lower), lower), np.where(is_log, np.log(upper), upper)
        return cls(
            problem, is_log, low, high, np.array(compares_logs, dtype=bool), np.array(scale),
            _typical(np.abs(call(problem.objective, points))),
        )  # fmt: skip

    @property
    def sign(self) -> float:
        """The factor that turns the objective into something to minimize."""
        return -1.0 if self.problem.maximize else 1.0

    @property
    def is_equation(self) -> NDArray[np.bool_]:
        """(C,) which conditions are equations."""
        return np.array([condition.relation == "=" for condition in self.problem.conditions], dtype=bool)

    def to_chart(self, points: Array) -> Array:
        """Return (..., V) chart coordinates of points."""
        with np.errstate(all="ignore"):
            return np.where(self.is_log, np.log(points), points)

    def from_chart(self, chart: Array) -> Array:
        """Return the (..., V) points of chart coordinates."""
        with np.errstate(all="ignore"):
            return np.where(self.is_log, np.exp(chart), chart)

    def value(self, points: Array) -> Array:
        """Return (M,) values to minimize; infinite where the objective is not defined."""
        values = self.sign * call(self.problem.objective, points)
        return np.where(np.isfinite(values), values, np.inf)

    def margins(self, points: Array) -> Array:
        """Return (C, M) how far each condition is from its edge, in its scale: negative where broken."""
        found = np.empty((len(self.problem.conditions), len(points)))
        for c, condition in enumerate(self.problem.conditions):
            left, right = call(condition.left, points), call(condition.right, points)
            with np.errstate(all="ignore"):
                margin = np.log(right) - np.log(left) if self.compares_logs[c] else (right - left) / self.scale[c]
            found[c] = -margin if condition.relation == ">=" else margin
        return found

    def violations(self, points: Array) -> Array:
        """Return (C, M) by how much each condition is broken; infinite where a side is not defined."""
        margins = self.margins(points)
        broken = np.where(self.is_equation[:, None], np.abs(margins), np.maximum(-margins, 0.0))
        return np.where(np.isnan(margins), np.inf, broken)

    def violation(self, points: Array) -> Array:
        """Return (M,) the largest breach at each point."""
        found: Array = self.violations(points).max(axis=0, initial=0.0)
        return found

    def at(self, point: Array) -> Local:
        """Return a point as it is."""
        return Local(point, float(self.value(point[None])[0]), float(self.violation(point[None])[0]))


def call(function: Function, points: Array) -> Array:
    """Return (M,) values of a function that may give a constant or leave its domain."""
    with np.errstate(all="ignore"):
        return np.array(np.broadcast_to(function(points), (len(points),)), dtype=np.float64)


def _typical(values: Array) -> float:
    """Return the median of the finite values, 1 when there is none above zero."""
    values = values[np.isfinite(values)]
    middle = float(np.median(values)) if len(values) else 0.0
    return middle if middle > 0 else float(values.max(initial=0.0)) or 1.0


def names_where(texts: Sequence[str], chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the texts that are chosen."""
    return tuple(text for text, is_chosen in zip(texts, chosen, strict=True) if is_chosen)
