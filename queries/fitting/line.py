"""The line that every fit goes through: solve, resample, intervals, judge."""

from __future__ import annotations

import numpy as np

from isoflop.queries.fitting.coefficient_intervals import with_intervals
from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.draws import percentiles, resample
from isoflop.queries.fitting.judge import judge
from isoflop.queries.fitting.likelihood import Criteria, criteria
from isoflop.queries.fitting.linearized import note_on_cost
from isoflop.queries.fitting.mistakes import notes_on_misfit
from isoflop.queries.fitting.options import FitOptions
from isoflop.queries.fitting.problem import Problem
from isoflop.queries.fitting.record import Fit
from isoflop.queries.fitting.solution import Solution, solve
from isoflop.queries.fitting.solver.asked import counting
from isoflop.queries.fitting.surrogate import as_fit_of
from isoflop.queries.laws.law import Law


@np.errstate(all="ignore")  # what is not finite is looked at where it counts
def run(law: Law, data: Data, options: FitOptions) -> Fit:
    """Return a law fitted to data, without a forward check.

    Parameters
    ----------
    law : what to fit
    data : usable rows
    options : how

    Raises
    ------
    FitError : if nothing is free to fit
    UsageError : if the options name a coefficient the law does not have
    """
    problem = Problem.of(law, data, options)
    generator = np.random.default_rng(options.seed)
    with counting() as asked:
        solution = solve(problem, options, generator)
        resampled = resample(problem, solution, options, generator)
        intervals = percentiles(resampled)
        verdict = judge(problem, solution, resampled, intervals)
    found = Fit(
        law=problem.law,
        data=data,
        options=options,
        solution=solution,
        resampled=resampled,
        intervals=intervals,
        criteria=_criteria(problem, solution),
        verdict=verdict,
    )
    if problem.law.is_costly and solution.is_found:
        found = found.noting([note_on_cost(asked.predictions)])
    found = with_intervals(noting_misfit(found, len(problem.free)), options.intervals)
    return found if problem.law is law else as_fit_of(law, found)


def noting_misfit(fit: Fit, num_free: int) -> Fit:
    """Return the fit, with a note where its law explains little of what varies.

    Parameters
    ----------
    num_free : fitted coefficients
    """
    if not fit.solution.is_found or any(note.code == "constant_target" for note in fit.verdict.notes):
        return fit
    values = fit.data.scatter.on_scale(fit.data.target)
    return fit.noting(notes_on_misfit(fit.law, values, fit.solution.residuals, num_free))


def _criteria(problem: Problem, solution: Solution) -> Criteria:
    """How well the law describes the rows; nan where there are no coefficients."""
    if not solution.is_found:
        return Criteria()
    data, num_free, total = problem.data, len(problem.free), solution.objective
    values = data.scatter.on_scale(data.target)
    return criteria(values, solution.residuals, data.weight, solution.penalty, total, num_free, data.scatter)
