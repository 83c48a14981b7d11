"""From ranges, conditions and budgets to the runs of a design: candidates on a grid, chosen, then moved between it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.planning.design import Choices, choose
from isoflop.queries.planning.optimum import grid
from isoflop.queries.planning.posterior import Posterior
from isoflop.queries.planning.problem import TOLERANCE, Array, Condition, Function, Variable, call
from isoflop.queries.planning.repeats import merged

CANDIDATES, SLOW_CANDIDATES = 2000, 400  # on the grid; of laws that are slow to compute
NEARBY = 150  # further candidates around each chosen one
STEPS = (0.5, 0.15)  # how far around, in steps of the grid, one round after another


@dataclass(frozen=True)
class Budget:
    """What all runs together may cost: `cost` takes (M, V) points to (M,) values, `limit` is the most of their sum."""

    text: str
    cost: Function
    limit: float


@dataclass(frozen=True, eq=False)
class RunPlan:
    """Runs to train, the one first that helps most.

    Parameters
    ----------
    points : (n, V) values of the variables
    narrowing : (n + 1, T) standard deviation of each log forecast before any run, after the first, and so on [1]
    considered : candidates on the grid that satisfy the conditions
    """

    points: Array
    narrowing: Array
    considered: int


class NothingToChoose(Exception):
    """No candidate satisfies the conditions, or no number of runs the budgets; the message says which."""


class NothingToNarrow(NothingToChoose):
    """A forecast that the fit is sure of already."""


def plan_runs(
    make_posterior: Callable[[Array], Posterior],
    inputs: Function,
    targets: Array,
    variables: Sequence[Variable],
    count: int,
    *,
    conditions: Sequence[Condition] = (),
    budgets: Sequence[Budget] = (),
    per: Function | None = None,
    is_slow: bool = False,
    seed: int = 0,
) -> RunPlan:
    """Return the runs that most narrow a forecast.

    Parameters
    ----------
    make_posterior : makes the cloud of curves from (M, P) inputs that show where it is wide
    inputs : takes (M, V) points to the law's (M, P) inputs
    targets : (T, P) inputs of what is forecast
    variables : what is chosen for each run
    count : number of runs
    conditions : on each run
    budgets : on all runs together
    per : cost of a run; when given, what counts is how much narrower a forecast is for each unit of it
    is_slow : whether the law takes long to compute
    seed : of candidates beside the grid

    Raises
    ------
    NothingToChoose : when no run is possible
    NothingToNarrow : when all curves of the cloud say the same at the targets
    """
    variables = tuple(variables)
    points = grid(variables, SLOW_CANDIDATES if is_slow else CANDIDATES)
    usable = _possible(points, inputs, conditions, budgets)
    if not usable.any():
        raise NothingToChoose(_why(points, inputs, conditions, budgets))
    points = points[usable]
    considered = len(points)
    posterior = make_posterior(np.concatenate([inputs(points), targets]))
    generator = np.random.default_rng(seed)
    choices = _choices(posterior, inputs, targets, points, budgets, per)
    if not choices.variance(()) > 0:
        raise NothingToNarrow("every resample of the law says the same there, so no run can narrow the forecast")
    chosen = choose(choices, count, seed=seed)
    if chosen is None:
        raise NothingToChoose(f"{count} runs do not fit {' and '.join(budget.text for budget in budgets)}")
    for step in STEPS:
        around = _around(points[np.unique(chosen)], variables, step, is_slow, generator)
        around = around[_possible(around, inputs, conditions, budgets)]
        points = np.concatenate([points[chosen], around])
        choices = _choices(posterior, inputs, targets, points, budgets, per)
        chosen = choose(choices, count, seed=seed, start=range(count)) or list(range(count))
    points, choices, chosen = merged(
        points[chosen],
        variables,
        lambda places: _possible(places, inputs, conditions, budgets),
        lambda places: _choices(posterior, inputs, targets, places, budgets, per),
        seed,
    )
    narrowing = np.sqrt([choices.variances(chosen[:k]) for k in range(count + 1)])
    return RunPlan(points[chosen], narrowing, considered)


def _choices(
    posterior: Posterior,
    inputs: Function,
    targets: Array,
    points: Array,
    budgets: Sequence[Budget],
    per: Function | None,
) -> Choices:
    """Return points as candidates."""
    costs = np.array([call(budget.cost, points) for budget in budgets]).reshape(len(budgets), len(points))
    return Choices(
        features=posterior.features(inputs(points)),
        targets=posterior.features(targets),
        noise=posterior.noise,
        costs=costs,
        limits=np.array([budget.limit for budget in budgets]),
        per=None if per is None else np.where(np.isfinite(cost := call(per, points)), cost, np.inf),
    )


def _possible(
    points: Array, inputs: Function, conditions: Sequence[Condition], budgets: Sequence[Budget]
) -> NDArray[np.bool_]:
    """(M,) which points satisfy each condition, and each budget alone."""
    if not len(points):
        return np.zeros(0, dtype=bool)
    possible: NDArray[np.bool_] = np.asarray(np.isfinite(inputs(points)).all(axis=1))
    for condition in conditions:
        left, right = call(condition.left, points), call(condition.right, points)
        room = left - right if condition.relation == ">=" else right - left
        possible = possible & (room >= -TOLERANCE * np.maximum(np.abs(left), np.abs(right)))
    for budget in budgets:
        possible = possible & (call(budget.cost, points) <= budget.limit * (1 + TOLERANCE))
    return possible


def _why(points: Array, inputs: Function, conditions: Sequence[Condition], budgets: Sequence[Budget]) -> str:
    """Return which conditions leave no candidate."""
    alone = [condition.text for condition in conditions if not _possible(points, inputs, (condition,), ()).any()]
    alone += [budget.text for budget in budgets if not _possible(points, inputs, (), (budget,)).any()]
    every = alone or [*(condition.text for condition in conditions), *(budget.text for budget in budgets)]
    return f"nothing in OVER satisfies {' and '.join(every)}" if every else "nothing in OVER is a run"


def _around(
    points: Array, variables: Sequence[Variable], step: float, is_slow: bool, generator: np.random.Generator
) -> Array:
    """Return candidates around chosen points, whole numbers and lists kept."""
    each = max(3, int((SLOW_CANDIDATES if is_slow else CANDIDATES) ** (1 / len(variables))))
    size = (len(points), NEARBY, len(variables))
    moves = step * generator.standard_normal(size) * (generator.random(size) < 0.8)
    found = np.repeat(points[:, None, :], NEARBY, axis=1)
    for v, variable in enumerate(variables):
        if variable.values:
            continue
        low, high = variable.lower, variable.upper
        if low > 0:
            found[..., v] *= np.exp(moves[..., v] * np.log(high / low) / (each - 1))
        else:
            found[..., v] += moves[..., v] * (high - low) / (each - 1)
        found[..., v] = np.clip(found[..., v], low, high)
        if variable.is_integer:
            found[..., v] = np.clip(np.rint(found[..., v]), np.ceil(low), np.floor(high))
    return np.unique(found.reshape(-1, len(variables)), axis=0)
