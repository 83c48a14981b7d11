"""From a good point to the local optimum: sequential quadratic programming, then Newton on the optimality conditions.

Derivatives are differences of fourth order in the chart, so any law and any condition will do; they are good to
some 1e-11, and an optimum to better than 1e-8 in the logarithm of a variable, although a loss is flat there.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.laws.derivatives import fourth_order
from isoflop.queries.planning.problem import TOLERANCE, Array, Local, Scaled

STEP = 1e-3  # of differences, in the chart: relative for a logarithm
ACTIVE = 1e-7  # margin [1] below which a condition holds with equality
NEWTON_STEPS = 6  # each about doubles the digits that are right


def polish(scaled: Scaled, start: Array, fixed: Sequence[int] = ()) -> Local:
    """Return the local optimum that a point leads to.

    Parameters
    ----------
    start : (V,) point of the box; conditions may be broken there
    fixed : variables that keep their values
    """
    best = scaled.at(start)
    if not np.isfinite(best.value) or len(fixed) == len(start):
        return best
    chart = scaled.to_chart(start)
    for _ in range(2):  # the second time in units of the first time's value
        model = _Model(scaled, chart, fixed)
        chart = model.descend(chart)
        found = model.judged(chart)
        if _is_better(found, best):
            best = found
        if not np.isfinite(found.value):
            return best
    finished = model.judged(model.newton(chart))
    is_tighter = finished.stationarity <= best.stationarity and finished.violation <= max(best.violation, TOLERANCE)
    same = abs(finished.value - best.value) <= 1e-7 * max(abs(best.value), model.unit)
    return finished if (is_tighter and same) or _is_better(finished, best) else best


def refine(scaled: Scaled, start: Array) -> Local:
    """Return where Newton steps on the optimality conditions lead from a point that is nearly optimal."""
    chart = scaled.to_chart(start)
    model = _Model(scaled, chart, ())
    return model.judged(model.newton(chart))


def stationary(scaled: Scaled, point: Array, fixed: Sequence[int] = ()) -> tuple[float, Array, NDArray[np.bool_]]:
    """Return how well the optimality conditions hold at a point, the multipliers, and which conditions bind.

    Returns
    -------
    residual [1] of the gradient that no binding condition or end of a range explains;
    (C,) change of the objective for each unit that a right-hand side is raised by;
    (C,) which conditions hold with equality
    """
    chart = scaled.to_chart(point)
    model = _Model(scaled, chart, fixed)
    residual, weights, _ = model.optimality(chart)
    margins = scaled.margins(point[None])[:, 0]
    multipliers = np.zeros(len(weights))
    for c, condition in enumerate(scaled.problem.conditions):
        right = float(np.broadcast_to(condition.right(point[None]), (1,))[0])
        unit = right if scaled.compares_logs[c] else scaled.scale[c]
        direction = 1.0 if condition.relation == ">=" else -1.0
        multipliers[c] = scaled.sign * model.unit * direction * weights[c] / unit + 0.0
    return residual, multipliers, np.abs(margins) <= ACTIVE


def _is_better(one: Local, other: Local) -> bool:
    """Whether a point breaks conditions less, or is feasible too and has the lower value."""
    if max(one.violation, other.violation) <= TOLERANCE:
        return one.value < other.value
    return one.violation < other.violation


class _Model:
    """Objective and margins with their slopes by the free chart coordinates.

    Parameters
    ----------
    center : (V,) chart coordinates whose value sets the unit of the objective
    fixed : variables that keep their values
    """

    def __init__(self, scaled: Scaled, center: Array, fixed: Sequence[int]) -> None:
        self.scaled = scaled
        self.free = np.array([v for v in range(len(center)) if v not in set(fixed)], dtype=np.intp)
        value = float(scaled.value(self._points(center[None]))[0])
        self.unit = max(abs(value) if np.isfinite(value) else 0.0, 1e-6 * scaled.spread)
        self._known: dict[bytes, tuple[Array, Array]] = {}

    def _points(self, chart: Array) -> Array:
        return self.scaled.from_chart(chart)

    def values(self, chart: Array) -> Array:
        """Return (1 + C, M): the objective in its unit, and the margins."""
        points = self._points(chart)
        value = self.scaled.value(points) / self.unit
        return np.concatenate([np.where(np.isfinite(value), value, np.nan)[None], self.scaled.margins(points)])

    def steps(self, chart: Array) -> Array:
        """Return the steps of differences by each free coordinate."""
        width = self.scaled.high - self.scaled.low
        linear = STEP * np.clip(np.abs(chart), 1e-2 * width, width)
        found: Array = np.where(self.scaled.is_log, STEP, linear)[self.free]
        return found

    def both(self, chart: Array) -> tuple[Array, Array]:
        """Return (1 + C,) values and their (1 + C, F) slopes by the F free coordinates."""
        key = chart.tobytes()
        known = self._known.get(key)
        if known is not None:
            return known
        here, slopes = fourth_order(self.values, chart, self.free.tolist(), self.steps(chart))
        result = (np.where(np.isfinite(here), here, 1e6), np.where(np.isfinite(slopes), slopes, 0.0))
        self._known[key] = result
        return result

    def _whole(self, chart: Array, free: Array) -> Array:
        whole = chart.copy()
        whole[self.free] = free
        return np.clip(whole, self.scaled.low, self.scaled.high)

    def descend(self, start: Array) -> Array:
        """Return where sequential quadratic programming ends."""
        from scipy.optimize import minimize

        is_equation = self.scaled.is_equation
        constraints = [
            {
                "type": kind,
                "fun": lambda free, chosen=chosen: self.both(self._whole(start, free))[0][1:][chosen],
                "jac": lambda free, chosen=chosen: self.both(self._whole(start, free))[1][1:][chosen],
            }
            for kind, chosen in (("eq", is_equation), ("ineq", ~is_equation))
            if chosen.any()
        ]
        with warnings.catch_warnings():  # it says so when it steps out of the box and back
            warnings.simplefilter("ignore")
            found = minimize(
                lambda free: float(self.both(self._whole(start, free))[0][0]),
                start[self.free],
                jac=lambda free: self.both(self._whole(start, free))[1][0],
                bounds=list(zip(self.scaled.low[self.free], self.scaled.high[self.free], strict=True)),
                constraints=constraints,
                method="SLSQP",
                options={"maxiter": 150, "ftol": 1e-15},
            )
        return self._whole(start, found.x) if np.isfinite(found.x).all() else start

    def optimality(self, chart: Array) -> tuple[float, Array, Array]:
        """Return the residual of the optimality conditions, (C,) weights of conditions and (F,) pushes of ends."""
        from scipy.optimize import nnls

        values, slopes = self.both(chart)
        gradient, normals = slopes[0], slopes[1:]
        is_equation = self.scaled.is_equation
        columns, owners = [], []
        for c in range(len(normals)):
            if is_equation[c] or abs(values[1 + c]) <= ACTIVE:
                columns.append(normals[c])
                owners.append((c, 1.0))
            if is_equation[c]:
                columns.append(-normals[c])
                owners.append((c, -1.0))
        near = 1e-9 * (self.scaled.high - self.scaled.low)
        for k, v in enumerate(self.free):
            for end, direction in ((self.scaled.low[v], 1.0), (self.scaled.high[v], -1.0)):
                if abs(chart[v] - end) <= near[v]:
                    columns.append(direction * np.eye(len(self.free))[k])
                    owners.append((-1 - k, direction))
        weights, pushes = np.zeros(len(normals)), np.zeros(len(self.free))
        residual = float(np.linalg.norm(gradient))
        if columns and residual > 0:
            # Unit columns: a condition far steeper than the others would otherwise be all that is fitted.
            matrix = np.stack(columns, axis=1)
            sizes = np.maximum(np.linalg.norm(matrix, axis=0), 1e-300)
            found, residual = nnls(matrix / sizes, gradient)
            for (owner, direction), weight in zip(owners, found / sizes, strict=True):
                if owner >= 0:
                    weights[owner] += direction * weight
                else:
                    pushes[-1 - owner] += direction * weight
        return float(residual) / max(float(np.linalg.norm(gradient)), 1.0), weights, pushes

    def newton(self, chart: Array) -> Array:
        """Return where Newton steps on the optimality conditions lead, with the binding conditions kept."""
        width = self.scaled.high - self.scaled.low
        for _ in range(NEWTON_STEPS):
            _, weights, pushes = self.optimality(chart)
            binding = np.flatnonzero(self.scaled.is_equation | (weights > 1e-12))
            moving = np.flatnonzero(np.abs(pushes) <= 1e-12)
            if not len(moving):
                break
            values, slopes = self.both(chart)
            normals = slopes[1:][binding][:, moving]
            curvature = self._curvature(chart, weights)[np.ix_(moving, moving)]
            corner = np.zeros((len(binding), len(binding)))
            system = np.block([[curvature, -normals.T], [normals, corner]])
            try:
                solved = np.linalg.lstsq(
                    system, -np.concatenate([slopes[0][moving], values[1:][binding]]), rcond=1e-14
                )[0]
            except np.linalg.LinAlgError:
                break
            step = np.zeros(len(chart))
            step[self.free[moving]] = solved[: len(moving)]
            if not np.isfinite(step).all() or (np.abs(step) > 0.05 * width).any():
                break
            chart = np.clip(chart + step, self.scaled.low, self.scaled.high)
            if np.abs(step).max() < 1e-13:
                break
        return chart

    def _curvature(self, chart: Array, weights: Array) -> Array:
        """Return (F, F) second derivatives of the objective less the weighted margins."""
        steps = self.steps(chart)
        rows = []
        for k, v in enumerate(self.free):
            slopes = []
            for sign in (1.0, -1.0):
                moved = chart.copy()
                moved[v] += sign * steps[k]
                found = self.both(moved)[1]
                slopes.append(found[0] - weights @ found[1:])
            rows.append((slopes[0] - slopes[1]) / (2 * steps[k]))
        matrix = np.stack(rows)
        symmetric: Array = 0.5 * (matrix + matrix.T)
        return symmetric

    def judged(self, chart: Array) -> Local:
        """Return a point with its value, its breach and how well the optimality conditions hold."""
        point = self._points(chart)
        lower = np.array([variable.lower for variable in self.scaled.problem.variables])
        upper = np.array([variable.upper for variable in self.scaled.problem.variables])
        is_integer = np.array([variable.is_integer for variable in self.scaled.problem.variables])
        is_integer[self.free] = False
        point = np.clip(np.where(is_integer, np.rint(point), point), lower, upper)
        plain = self.scaled.at(point)
        return Local(point, plain.value, plain.violation, self.optimality(chart)[0])
