"""What a fit solves: a law on its data, and the search for the best coefficients."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from isoflop.lakehouse.errors import FitError, UsageError, did_you_mean
from isoflop.queries.fitting.data import Data, usable_rows
from isoflop.queries.fitting.options import FitOptions
from isoflop.queries.fitting.solver.choose import model_for
from isoflop.queries.fitting.solver.drawn import drawn
from isoflop.queries.fitting.solver.model import Array, Model
from isoflop.queries.fitting.solver.search import MOST_STRAIGHT, Found, scattered, search
from isoflop.queries.laws.form_mixture import FormMixture
from isoflop.queries.laws.law import Coefficient, Law, coefficient_names
from isoflop.queries.laws.objectives import Objective, row_factors

BEST_SEEDS = 16  # starts taken from the projection grid, best first
MOST_PROJECTED = 64  # given starts also tried with their linear coefficients solved for
MOST_BASINS = 4  # of those found on the screened rows
MIXTURE_STARTS = 12  # of each form of a mixture: ended as low as all of them on planted curves of every shape
RANDOM_STARTS = 32  # starts spread over the rest of it, so that the share of agreeing starts means something


@dataclass(frozen=True)
class Problem:
    """A law on its data, ready to solve.

    Parameters
    ----------
    law, coefficients : the law, and its coefficients as they hold for this fit
    data : R usable rows
    objective : the penalty
    """

    law: Law
    coefficients: tuple[Coefficient, ...]
    data: Data
    objective: Objective

    @classmethod
    def of(cls, law: Law, data: Data, options: FitOptions) -> Problem:
        """Return the problem of a fit; of the law that is fitted in its place, where a law has one.

        Raises
        ------
        UsageError : if the options name a coefficient that the law does not have, or a value that is not finite
        FitError : if nothing is left to fit
        """
        if isinstance(law, FormMixture):
            raise FitError(f"{law.name} is a mean of several forms, and this takes one", hint="name one form")
        law = law.surrogate or law
        coefficients = coefficients_for(law, options.init, options.fixed)
        return cls(law, coefficients, data, options.objective or law.objective)

    @functools.cached_property
    def model(self) -> Model:
        """The law on the rows, in the solver's coordinates."""
        return model_for(
            self.law, self.coefficients, self.data.inputs, self.data.target, self.objective, self.data.scatter
        )

    @property
    def free(self) -> tuple[int, ...]:
        """Positions of the K free coefficients among all."""
        return tuple(k for k, coefficient in enumerate(self.coefficients) if coefficient.fixed is None)

    @property
    def weights(self) -> Array:
        """(1, R) row weights, as the objective counts them."""
        return self.counted(self.data.weight, self.data.target)[None]

    def counted(self, weights: Array, values: Array) -> Array:
        """Return row weights (..., R) as the solver counts them, for values (..., R) of the rows."""
        return np.asarray(weights * row_factors(self.objective, values, self.data.scatter.is_additive))

    @property
    def targets(self) -> Array:
        """(1, R) targets in the model's units."""
        return self.model.targets(self.data.target)[None]


def optimum(problem: Problem, generator: np.random.Generator, given: ArrayLike | None = None) -> Found | None:
    """Return the best coordinates of a law on its data, or None when no start has a finite objective.

    Parameters
    ----------
    generator : of random starts
    given : (S, K_all) coefficients to start from instead of the built-in seeds
    """
    model, weights, targets = problem.model, problem.weights, problem.targets
    if len(problem.data) > 1.5 * model.screened_rows and given is None and model.closed_form(weights, targets) is None:
        return _screened(problem, model.screened_rows, generator)
    closed = model.closed_form(weights, targets)
    if closed is not None:
        residuals, _ = model.residuals(closed, targets, 0)
        penalty, _, _ = problem.objective.weigh(residuals, True)
        value = float((penalty * weights).sum())
        return Found(closed[0], value, bool(np.isfinite(value)), 1.0, None, 1, closed)
    if given is not None:
        theta = model.from_coefficients(np.atleast_2d(np.asarray(given, dtype=np.float64)))
        some = theta[np.unique(np.linspace(0, len(theta) - 1, MOST_PROJECTED).astype(int))]
        theta = np.concatenate([theta, model.projected(some, weights, targets)])
    else:
        theta = model.seeds(weights, targets, BEST_SEEDS + RANDOM_STARTS, generator)[0]
        kept = BEST_SEEDS * (2 if model.proposes_starts else 1)
        theta[kept:] = scattered(model, theta[:BEST_SEEDS], len(theta) - kept, generator)
    init = [coefficient.init if coefficient.init is not None else math.nan for coefficient in problem.coefficients]
    if not all(math.isnan(value) for value in init):
        base = model.to_coefficients(theta[0])
        own = np.where(np.isnan(init), base, init)
        theta = np.concatenate([model.from_coefficients(own[None]), theta])
    straight = None
    if given is None and model.is_unitless and not model.is_costly:
        straight = drawn(model, targets, MOST_STRAIGHT, generator.spawn(1)[0])  # resamples stay what they are
    return search(model, theta, weights, targets, problem.objective, straight=straight)


def planned_starts(law: Law, X: ArrayLike, y: ArrayLike, objective: Objective | None = None) -> int:
    """Return how many points a fit would search from: one where the best coefficients follow from a formula.

    Parameters
    ----------
    law : what would be fitted
    X, y : (R, P) inputs and (R,) values, usable ones
    objective : the law's own when None
    """
    if isinstance(law, FormMixture):
        return MIXTURE_STARTS * len(law.forms)
    law = law.surrogate or law
    objective = objective or law.objective
    data = usable_rows(law, X, y, objective=objective)
    model = model_for(law, law.coefficients, data.inputs, data.target, objective, data.scatter)
    if model.closed_form(data.weight[None], model.targets(data.target)[None]) is not None:
        return 1
    return BEST_SEEDS + RANDOM_STARTS + any(coefficient.init is not None for coefficient in law.coefficients)


def _screened(problem: Problem, count: int, generator: np.random.Generator) -> Found | None:
    """Search on some of many rows, then follow every basin found there on all of them."""
    some = replace(problem, data=problem.data.thinned(count))
    found = optimum(some, generator)
    if found is None:
        return None
    ends = problem.model.from_coefficients(some.model.to_coefficients(found.ends[:MOST_BASINS]))
    whole = search(problem.model, ends, problem.weights, problem.targets, problem.objective, is_near=True)
    return None if whole is None else replace(whole, share=found.share, starts=found.starts)


def coefficients_for(
    law: Law, init: Mapping[str, float] | None, fixed: Mapping[str, float] | None
) -> tuple[Coefficient, ...]:
    """Return the law's coefficients with the starting and fixed values of one fit.

    Raises
    ------
    UsageError : if a name is none of the law's, or a value is not finite
    FitError : if nothing is left to fit
    """
    names = coefficient_names(law)
    for word, given in (("init", init or {}), ("fixed", fixed or {})):
        for name, value in given.items():
            if name not in names:
                hint = did_you_mean(name, names, f"it has {', '.join(names)}")
                raise UsageError(f"{word} names '{name}', which {law.name} does not have", hint=hint)
            if not math.isfinite(value):
                raise UsageError(f"{word} value of {name} is {value}, expected a finite number")
    changed = tuple(
        replace(
            coefficient,
            init=(init or {}).get(coefficient.name, coefficient.init),
            fixed=(fixed or {}).get(coefficient.name, coefficient.fixed),
        )
        for coefficient in law.coefficients
    )
    if all(coefficient.fixed is not None for coefficient in changed):
        raise FitError(f"every coefficient of {law.name} is fixed; leave at least one free")
    return changed
