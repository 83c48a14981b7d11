"""The first step of a fit: the best coefficients of a law on its data, and what the rows say about each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting import diagnosis
from isoflop.queries.fitting.free_scale import with_fitted_scale
from isoflop.queries.fitting.options import FitOptions
from isoflop.queries.fitting.problem import Problem, optimum
from isoflop.queries.fitting.scale import residual_scale
from isoflop.queries.fitting.solver.model import Array
from isoflop.queries.fitting.solver.search import ROUNDING, Found
from isoflop.queries.laws.objectives import Link, Objective

AS_GOOD = 1e-6  # relative difference in objective [1] up to which an invisible term is as well left out


@dataclass(frozen=True, eq=False)
class Solution:
    """The best coefficients of a law on its data.

    Parameters
    ----------
    coefficients : (K,) in the law's order; nan when there was nothing to return
    at_bound : (K,) whether a coefficient lies on the edge of its domain
    residuals : (R,) log measured minus log predicted [1], or their difference where the scatter is additive
    residual_scale : spread of the residuals in their unit, as the scale of a normal with the same central range
    penalty : what was minimized, at its own scale where it has one
    identified : what the rows say about each coefficient
    search : where the search ended and how sure it is; no starts when there was none
    """

    coefficients: Array
    at_bound: NDArray[np.bool_]
    residuals: Array
    residual_scale: float
    penalty: Objective
    identified: diagnosis.Identification
    search: Found

    @property
    def is_found(self) -> bool:
        """Whether there was anything to return."""
        return self.search.starts > 0

    @property
    def objective(self) -> float:
        """Sum of the penalty over rows, with weights."""
        return self.search.objective


def solve(problem: Problem, options: FitOptions, generator: np.random.Generator) -> Solution:
    """Return the best coefficients of a law on its data.

    Parameters
    ----------
    problem : law and data
    options : where to start from
    generator : of random starts

    Returns
    -------
    Solution without coefficients when there are too few rows, or no start has a finite objective
    """
    if problem.data.num_distinct < len(problem.free):
        return no_solution(problem)
    found = optimum(problem, generator, options.starts)
    return no_solution(problem) if found is None else solution_at(problem, found)


def solution_at(problem: Problem, found: Found) -> Solution:
    """Return the solution of a law on its data that a search ended in.

    Parameters
    ----------
    problem : law and data
    found : where the search ended
    """
    penalty, found = with_fitted_scale(problem, found)
    model, free = problem.model, list(problem.free)
    free_coefficients = tuple(problem.coefficients[k] for k in free)
    coefficients = model.to_coefficients(found.theta)
    residuals = _residuals(problem, coefficients)
    spread = residual_scale(residuals, problem.data.weight, len(free))
    share = spread / problem.data.scatter.size
    identified = diagnosis.identify(model, free_coefficients, found.theta, problem.targets, share)
    at_bound = np.zeros(len(coefficients), dtype=bool)
    at_bound[free] = diagnosis.bounds_reached(model, found.theta)
    for k in [k for k in free if problem.coefficients[k].name in identified.dead]:
        emptied = _without(replace(problem, objective=penalty), found, coefficients, k)
        if emptied is not None:
            coefficients, found = emptied
            at_bound[k] = True
            residuals = _residuals(problem, coefficients)
    return Solution(coefficients, at_bound, residuals, spread, penalty, identified, found)


def _residuals(problem: Problem, coefficients: Array) -> Array:
    """Residuals (R,) of the rows."""
    scatter = problem.data.scatter
    predicted = np.asarray(problem.law.predict(coefficients, problem.data.inputs))
    with np.errstate(all="ignore"):
        return np.asarray(scatter.on_scale(problem.data.target) - scatter.on_scale(predicted))


def _without(problem: Problem, found: Found, coefficients: Array, k: int) -> tuple[Array, Found] | None:
    """The solution with the amplitude or floor of an invisible term at zero, if that fits as well.

    A positive coefficient is a logarithm to the solver, so that zero is approached and never reached.
    """
    if problem.coefficients[k].lower != 0.0:
        return None
    emptied = coefficients.copy()
    emptied[k] = 0.0
    predicted = np.asarray(problem.law.predict(emptied, problem.data.inputs))
    with np.errstate(all="ignore"):
        residuals = problem.data.scatter.between(problem.data.target, predicted) / problem.data.scatter.size
        if problem.objective.link is not Link.LOG and not problem.data.scatter.is_additive:
            residuals = 1.0 - predicted / problem.data.target
        total = float(problem.objective.weigh(residuals, True)[0] @ problem.weights[0])
    if not total <= found.objective * (1 + AS_GOOD) + ROUNDING * float(problem.weights.sum()):
        return None
    return emptied, replace(found, objective=total)


def no_solution(problem: Problem) -> Solution:
    """Return a solution that says there is nothing in it."""
    count, nan = len(problem.coefficients), math.nan
    empty = np.empty((0, len(problem.free)))
    return Solution(
        coefficients=np.full(count, nan),
        at_bound=np.zeros(count, dtype=bool),
        residuals=np.full(len(problem.data), nan),
        residual_scale=nan,
        penalty=problem.objective,
        identified=diagnosis.Identification(nan, (), ()),
        search=Found(np.full(len(problem.free), nan), nan, False, nan, None, 0, empty),
    )
