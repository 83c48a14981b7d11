"""Objectives whose scale is fitted with the law: law and scale in turn, until neither moves.

At a given scale such an objective is an ordinary one, so the solver knows nothing of this. Resamples keep the
scale of the rows as they are, as is usual for the bootstrap of a robust fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from isoflop.queries.fitting.solver.model import Array
from isoflop.queries.fitting.solver.search import Found, search
from isoflop.queries.laws.objectives import Objective

if TYPE_CHECKING:
    from isoflop.queries.fitting.fit import Problem

MOST_ROUNDS = 25
SAME_SCALE = 1e-6  # relative change [1] of the scale that ends the rounds

Rescale = Callable[[Array, Array], Objective]


def with_fitted_scale(problem: Problem, found: Found) -> tuple[Problem, Found]:
    """Return a solved problem with its objective at the most likely scale, and its optimum there.

    Parameters
    ----------
    problem : whose objective may have a method `rescaled(residuals, weights)`; without one nothing changes
    found : its optimum at the scale the search started with
    """
    rescaled: Rescale | None = getattr(problem.objective, "rescaled", None)
    if rescaled is None:
        return problem, found
    model, weights, targets = problem.model, problem.weights, problem.targets
    settled = found
    for _ in range(MOST_ROUNDS):
        residuals, _ = model.residuals(settled.theta[None], targets, 0)
        before = getattr(problem.objective, "known_scale", np.nan)
        problem = replace(problem, objective=rescaled(residuals[0], weights[0]))
        again = search(model, settled.ends[:8], weights, targets, problem.objective)
        if again is None:
            break
        settled = replace(again, share=found.share, starts=found.starts)
        if abs(getattr(problem.objective, "known_scale", np.nan) / before - 1) < SAME_SCALE:
            break
    return problem, settled
