"""The best point of a box under conditions: a grid finds where to look, a local method says where exactly.

The grid covers the whole box, so a basin wider than one of its cells is not missed; its best cells are polished
in logarithms of the variables (`polish`). Three facts certify an answer: `stationarity` says how well the
Karush-Kuhn-Tucker conditions hold, `agreement` how many of the polished cells came to the same value, and no
point of the grid or of a cloud around the answer is better.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.planning.polish import polish, stationary
from isoflop.queries.planning.problem import (
    TOLERANCE,
    Array,
    ConstrainedProblem,
    Local,
    Scaled,
    Variable,
    call,
    names_where,
)

GRID_POINTS = 40_000  # of all variables together
WHOLE_POINTS = 400_000  # of whole numbers alone, up to which each is on the grid
SEEDS = 6  # cells that are polished
CORNERS = 6  # whole-number variables of which every rounding is tried; of more, only the nearest
MOST_ROUNDINGS = 150  # whole-number points tried from one cell
CLOUD = 1000  # points around an answer that are compared with it
ROUNDS = 3  # how often a better point of the cloud is polished again
NEARLY = 0.02  # share of the grid that breaks the conditions least and counts as beside them
ROUNDING = 1e-13  # relative slack [1] that is nothing but rounding
STATIONARY = 1e-6  # relative residual [1] of the optimality conditions up to which they hold


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best point that was found.

    Parameters
    ----------
    status : `optimal`; `not_converged` when the optimality conditions do not hold there; `infeasible`
    point : (V,) values of the variables; where infeasible, the point that breaks the conditions least
    value : of the objective
    slack : (C,) how far each side may still move, right - left for <= and =, left - right for >=
    binding : texts of the conditions that hold with equality; where infeasible, of those broken at `point`
    multipliers : (C,) change of the best value for each unit that a right-hand side is raised by; nan where
        it is not known
    edges : names of the variables that lie on an end of their range
    stationarity : relative residual [1] of the optimality conditions over the variables that are not whole numbers
    agreement : share of the polished cells that came to this value [1]
    """

    status: str
    point: Array
    value: float
    slack: Array
    binding: tuple[str, ...]
    multipliers: Array
    edges: tuple[str, ...]
    stationarity: float
    agreement: float


@dataclass
class _Search:
    """The best of what was polished so far."""

    scaled: Scaled
    found: list[Local] = field(default_factory=list)

    def add(self, local: Local | None) -> None:
        if local is not None:
            self.found.append(local)

    @property
    def best(self) -> Local | None:
        """The best feasible one, or None."""
        feasible = [local for local in self.found if local.violation <= TOLERANCE and np.isfinite(local.value)]
        lowest = min(feasible, key=lambda local: local.value, default=None)
        if lowest is None:
            return None
        # Of values that are the same, the one that is an optimum to more digits: a loss is flat at its lowest.
        close = lowest.value + 1e-8 * max(abs(lowest.value), 1e-6 * self.scaled.spread)
        return min((local for local in feasible if local.value <= close), key=lambda local: local.stationarity)


def optimize(problem: ConstrainedProblem, *, seed: int = 0) -> Optimum:
    """Return the best point of a problem.

    Parameters
    ----------
    problem : with V >= 1 variables; functions may give nan where they are not defined, which counts as infeasible
    seed : of the cloud that the answer is compared with

    Source: the local method is sequential quadratic programming (Kraft 1988), finished by Newton steps on the
    Karush-Kuhn-Tucker conditions (Nocedal, Wright 2006, section 18.1).

    Example
    -------
    >>> from isoflop.queries.planning.problem import Condition
    >>> area = Condition("x + y <= 10", lambda p: p[:, 0] + p[:, 1], lambda p: np.full(len(p), 10.0))
    >>> both = (Variable("x", 1, 9), Variable("y", 1, 9))
    >>> found = optimize(ConstrainedProblem(both, lambda p: p[:, 0] * p[:, 1], (area,), maximize=True))
    >>> found.status, found.point.round(6).tolist(), found.multipliers.round(6).tolist()
    ('optimal', [5.0, 5.0], [5.0])
    """
    points = grid(problem.variables)
    scaled = Scaled.of(problem, points)
    values, violations = scaled.value(points), scaled.violation(points)
    search = _Search(scaled)
    for start in _seeds(values, violations, points, scaled):
        _descend(problem, search, start)
    feasible = (violations <= TOLERANCE) & np.isfinite(values)
    if feasible.any():
        first = points[np.flatnonzero(feasible)[np.argmin(values[feasible])]]
        search.add(scaled.at(first))
    generator = np.random.default_rng(seed)
    for _ in range(ROUNDS):
        better = _better_nearby(problem, search, generator)
        if better is None:
            break
        _descend(problem, search, better)
        search.add(scaled.at(better))
    return _optimum(problem, search, points[np.argmin(violations)])


def grid(variables: Sequence[Variable], count: int = GRID_POINTS) -> Array:
    """Return (M, V) points that cover the box, about `count` of them, both ends of every range included."""
    each = max(3, int(count ** (1 / len(variables))))
    if all(variable.is_integer for variable in variables):  # few enough whole numbers are all tried
        counts = [np.floor(variable.upper) - np.ceil(variable.lower) + 1 for variable in variables]
        each = each if np.prod(counts) > WHOLE_POINTS / GRID_POINTS * count else int(max(counts))
    return np.stack(
        [axis.ravel() for axis in np.meshgrid(*(_axis(variable, each) for variable in variables))], axis=1
    ).astype(np.float64)


def _axis(variable: Variable, count: int) -> Array:
    """Return the values of one variable on the grid, in order."""
    if variable.values:
        return np.array(variable.values)
    if variable.is_integer and np.floor(variable.upper) - np.ceil(variable.lower) < count:
        return np.arange(np.ceil(variable.lower), np.floor(variable.upper) + 1)
    if variable.is_log:
        values = np.geomspace(variable.lower, variable.upper, count)
    elif variable.lower > 0 and variable.upper / variable.lower > 100:  # equal steps alone would skip the small values
        values = np.union1d(
            np.geomspace(variable.lower, variable.upper, count - count // 2),
            np.linspace(variable.lower, variable.upper, count // 2),
        )
    else:
        values = np.linspace(variable.lower, variable.upper, count)
    values = np.clip(values, variable.lower, variable.upper)
    return np.unique(_whole(variable, values)) if variable.is_integer else values


def _whole(variable: Variable, values: Array) -> Array:
    """Return values rounded to whole numbers of the range."""
    rounded: Array = np.clip(np.rint(values), np.ceil(variable.lower), np.floor(variable.upper))
    return rounded


def _seeds(values: Array, violations: Array, points: Array, scaled: Scaled) -> list[Array]:
    """Return the points to polish, apart from one another: the best feasible ones, and those that nearly are.

    Equations and narrow conditions hold on no point of the grid, but nearly hold on those beside them.
    """
    order = [index for index in np.argsort(values, kind="stable") if violations[index] <= TOLERANCE]
    chosen = _apart(order, points, scaled, SEEDS)
    usable = np.flatnonzero(np.isfinite(violations) & np.isfinite(values))
    near = usable[np.argsort(violations[usable], kind="stable")]
    beside = near[: max(int(NEARLY * len(near)), 200)]
    beside = beside[np.argsort(values[beside], kind="stable")]
    return [
        *chosen,
        *_apart(beside.tolist(), points, scaled, 2 if chosen else SEEDS),
        *_apart(near.tolist(), points, scaled, 1 if chosen else 3),
    ]


def _apart(order: Sequence[int], points: Array, scaled: Scaled, count: int) -> list[Array]:
    """Return the first points of an order that are not close to one another."""
    chosen: list[Array] = []
    width = scaled.high - scaled.low
    for index in order[:4000]:
        place = scaled.to_chart(points[index]) / width
        if all(np.abs(place - scaled.to_chart(taken) / width).max() > 0.1 for taken in chosen):
            chosen.append(points[index])
            if len(chosen) == count:
                break
    return chosen


def _descend(problem: ConstrainedProblem, search: _Search, start: Array) -> None:
    """Polish a start; round the whole-number variables of what comes out and polish the others again."""
    scaled = search.scaled
    relaxed = polish(scaled, start)
    whole = [v for v, variable in enumerate(problem.variables) if variable.is_integer]
    if not whole:
        search.add(relaxed)
        return
    tried: set[tuple[float, ...]] = set()
    best: Local | None = None

    def attempt(point: Array) -> bool:
        """Polish the other variables with the whole ones kept; return whether that is the best so far."""
        nonlocal best
        key = tuple(point[whole].tolist())
        if key in tried:
            return False
        tried.add(key)
        local = polish(scaled, point, fixed=whole) if len(whole) < len(point) else scaled.at(point)
        search.add(local)
        if local.violation > TOLERANCE or not (best is None or local.value < best.value - 1e-15 * abs(best.value)):
            return False
        best = local
        return True

    for base in (relaxed.point, start):
        for rounded in _roundings(problem.variables, whole, base):
            attempt(rounded)
    improved = best is not None
    while improved and len(tried) < MOST_ROUNDINGS:
        improved = False
        assert best is not None
        for step in _steps(len(whole)):
            moved = best.point.copy()
            moved[whole] += step
            inside = all(problem.variables[v].lower <= moved[v] <= problem.variables[v].upper for v in whole)
            if inside and attempt(moved):
                improved = True
                break


def _roundings(variables: Sequence[Variable], whole: Sequence[int], base: Array) -> list[Array]:
    """Return a point with its whole-number variables rounded up and down in every combination."""
    ways = [(np.rint,)] * len(whole) if len(whole) > CORNERS else [(np.floor, np.ceil)] * len(whole)
    found = []
    for combination in itertools.product(*ways):
        point = base.copy()
        for v, round_ in zip(whole, combination, strict=True):
            point[v] = _whole(variables[v], round_(base[v]))
        found.append(point)
    return found


def _steps(count: int) -> list[Array]:
    """Return the moves of whole-number variables: each by one, and pairs of them against each other."""
    eye = np.eye(count)
    moves = [sign * row for row in eye for sign in (1.0, -1.0)]
    for a, b in itertools.combinations(range(count), 2):
        moves += [sign * (eye[a] + other * eye[b]) for sign in (1.0, -1.0) for other in (1.0, -1.0)]
    return moves


def _better_nearby(problem: ConstrainedProblem, search: _Search, generator: np.random.Generator) -> Array | None:
    """Return a feasible point of a cloud around the best that beats it, or None."""
    best, scaled = search.best, search.scaled
    if best is None:
        return None
    width = scaled.high - scaled.low
    size = 10.0 ** generator.uniform(-5, -0.5, (CLOUD, 1))
    chart = scaled.to_chart(best.point) + size * width * generator.standard_normal((CLOUD, len(width)))
    cloud = scaled.from_chart(np.clip(chart, scaled.low, scaled.high))
    for v, variable in enumerate(problem.variables):
        if variable.is_integer:
            cloud[:, v] = _whole(variable, cloud[:, v] + generator.integers(-2, 3, CLOUD))
    values = np.where(scaled.violation(cloud) <= TOLERANCE, scaled.value(cloud), np.inf)
    index = int(np.argmin(values))
    return cloud[index] if values[index] < best.value - 1e-9 * max(abs(best.value), scaled.spread * 1e-6) else None


def _optimum(problem: ConstrainedProblem, search: _Search, closest: Array) -> Optimum:
    """Return the best of what was polished with its certificate."""
    scaled, best = search.scaled, search.best
    if best is None:
        least = min([*search.found, scaled.at(closest)], key=lambda local: local.violation)
        broken = scaled.violations(least.point[None])[:, 0] > TOLERANCE
        return _described(problem, scaled, least.point, "infeasible", broken, np.full(len(broken), np.nan), np.nan, 0.0)
    whole = [v for v, variable in enumerate(problem.variables) if variable.is_integer]
    residual, multipliers, binding = stationary(scaled, best.point, fixed=whole)
    close = 1e-7 * max(abs(best.value), 1e-12 * scaled.spread)
    agreed = [abs(local.value - best.value) <= close for local in search.found if local.violation <= TOLERANCE]
    status = "optimal" if residual <= STATIONARY else "not_converged"
    return _described(problem, scaled, best.point, status, binding, multipliers, residual, float(np.mean(agreed)))


def _described(
    problem: ConstrainedProblem,
    scaled: Scaled,
    point: Array,
    status: str,
    binding: NDArray[np.bool_],
    multipliers: Array,
    residual: float,
    agreement: float,
) -> Optimum:
    """Return a point with what holds there."""
    slack = []
    for condition in problem.conditions:
        left, right = (float(call(side, point[None])[0]) for side in (condition.left, condition.right))
        room = left - right if condition.relation == ">=" else right - left
        slack.append(0.0 if abs(room) <= ROUNDING * max(abs(left), abs(right)) else room)
    chart = scaled.to_chart(point)
    at_end = (chart - scaled.low <= 1e-9 * (scaled.high - scaled.low)) | (
        scaled.high - chart <= 1e-9 * (scaled.high - scaled.low)
    )
    return Optimum(
        status=status,
        point=point,
        value=float(call(problem.objective, point[None])[0]),
        slack=np.array(slack),
        binding=names_where([condition.text for condition in problem.conditions], binding),
        multipliers=multipliers,
        edges=names_where([variable.name for variable in problem.variables], at_end),
        stationarity=residual,
        agreement=agreement,
    )
