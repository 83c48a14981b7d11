"""Objectives whose scale is fitted with the law: law and scale in turn, until neither moves.

At a given scale such an objective is an ordinary one, so the solver knows nothing of this. Resamples keep the
scale of the rows as they are, as is usual for the bootstrap of a robust fit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isoflop.queries.fitting.problem import Problem
from isoflop.queries.fitting.solver.newton import descend
from isoflop.queries.fitting.solver.search import Found
from isoflop.queries.laws.objectives import Objective

MOST_ROUNDS = 60  # of descents, each at a smaller scale
LARGEST_STEP = 10**0.5  # factor by which the scale shrinks at most between two descents: kinks move with it
SAME_SCALE = 1e-6  # relative change [1] of the scale that ends the rounds
STEPS, TIGHTEST = 60, 1e-12  # of each descent: along kinks the objective decreases by little at a time
MOST_ENDS = 8  # basins followed


def with_fitted_scale(problem: Problem, found: Found) -> tuple[Objective, Found]:
    """Return the objective of a solved problem at its most likely scale, and the optimum there.

    Parameters
    ----------
    problem : with an objective that may have a scale of its own (`Objective.has_scale`); without one nothing changes
    found : its optimum at the scale the search started with
    """
    objective = problem.objective
    if not objective.has_scale:
        return objective, found
    model, weights, targets = problem.model, problem.weights, problem.targets
    ends, best, value, is_settled = found.ends[:MOST_ENDS], found.theta, found.objective, found.is_settled
    for _ in range(MOST_ROUNDS):
        residuals, _ = model.residuals(best[None], targets, 0)
        wanted = objective.rescaled(residuals[0], weights[0]).known_scale
        scale = max(wanted, objective.known_scale / LARGEST_STEP)
        is_same = abs(scale / objective.known_scale - 1) < SAME_SCALE
        objective = objective.at_scale(scale)
        ended = descend(model, ends, weights, targets, objective, exact=True, max_steps=STEPS, tolerance=TIGHTEST)
        first = int(np.argmin(ended.objective))
        ends, best, value = ended.theta, ended.theta[first], float(ended.objective[first])
        is_settled = bool(ended.is_settled[first])
        if is_same:
            break
    settled = replace(found, theta=best, objective=value, is_settled=is_settled, second_best=None, ends=best[None])
    return objective, settled
