"""Fitting a law: rows in, coefficients with intervals and a verdict out.

The steps in order: drop unusable rows, choose coordinates, search from many starts, refit the resamples from what
was found, judge. The record that comes back says how each of them went.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.fitting import diagnosis
from isoflop.queries.fitting.coefficient_intervals import check_intervals, with_intervals
from isoflop.queries.fitting.draws import curved_share, refit_resamples, spread_of
from isoflop.queries.fitting.free_scale import with_fitted_scale
from isoflop.queries.fitting.intervals import residual_scale
from isoflop.queries.fitting.likelihood import criteria
from isoflop.queries.fitting.linearized import note_on_cost
from isoflop.queries.fitting.problem import Problem, coefficients_for, solve
from isoflop.queries.fitting.record import Fit, Note
from isoflop.queries.fitting.resampling import Resampling
from isoflop.queries.fitting.rows import Rows, usable_rows
from isoflop.queries.fitting.solver.asked import counting
from isoflop.queries.fitting.solver.choose import model_for
from isoflop.queries.fitting.solver.model import Array
from isoflop.queries.fitting.solver.search import Found
from isoflop.queries.fitting.stand_in import as_fit_of
from isoflop.queries.fitting.widening import size_edge
from isoflop.queries.laws.law import Law, coefficient_names
from isoflop.queries.laws.objectives import Link, Objective

AS_GOOD = 1e-6  # relative difference in objective [1] up to which an invisible term is as well left out


def fit_law(
    law: Law,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    objective: Objective | None = None,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    resamples: int = 1000,
    resampling: Resampling | None = None,
    seed: int = 0,
    level: float = 0.95,
    init: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    starts: ArrayLike | None = None,
    forward: bool = False,
    intervals: str = "percentile",
    row_name: Callable[[int], str] | None = None,
) -> Fit:
    """Fit a law to rows.

    Parameters
    ----------
    law : what to fit
    X : (R, P) inputs in the law's order; nan where missing
    y : (R,) measured values in the target's unit; nan where missing
    sample_weight : (R,) weights >= 0 of the rows
    objective : penalty to minimise; the law's own when None
    groups : (R,) labels of rows that belong together; whole groups are resampled
    resamples : number of bootstrap resamples; 0 leaves intervals empty
    resampling : the bootstrap, such as `AutoBootstrap()`; chosen by `default_resampling` when None
    seed : of random starts and resamples; the same seed gives the same fit
    level : coverage of the intervals [1]
    init : coefficient values to start from as well
    fixed : coefficient values to keep
    starts : (S, K_all) coefficients to start from instead of the built-in seeds; up to 64 of them are also tried
        with their linear coefficients solved for
    forward : also train on the small rows and predict the large ones (`forward_check`)
    intervals : of the coefficients, one of `INTERVALS` (`coefficient_intervals`)
    row_name : what notes call the row at a position; `row` and the position from 0 when None

    Returns
    -------
    Fit, whose status tells whether its coefficients can be used; with too few rows they are nan

    Raises
    ------
    EmptySelection : if no row is usable
    FitError : if shapes do not match or nothing is free to fit
    UsageError : if an option is out of its range, or names a coefficient the law does not have

    Example
    -------
    >>> from isoflop.queries.laws import POWER
    >>> x = np.logspace(6, 9, 20)
    >>> fit = fit_law(POWER, x[:, None], 1.5 + 400 / x**0.3, resamples=0)
    >>> fit.status, [round(float(one), 6) for one in fit.coefficients]
    ('converged', [1.5, 400.0, 0.3])
    """
    _check_options(resamples, level, seed)
    check_intervals(intervals)
    if law.surrogate is not None:
        plain = fit_law(
            law.surrogate, X, y, sample_weight=sample_weight, objective=objective, groups=groups, resamples=resamples,
            resampling=resampling, seed=seed, level=level, init=init, fixed=fixed, starts=starts,
            intervals=intervals, row_name=row_name,
        )  # fmt: skip
        fit = as_fit_of(law, plain, usable_rows(law, X, y, sample_weight, groups))
        return _with_forward(fit, X, y, sample_weight, groups, objective, init, fixed) if forward else fit
    objective = objective or law.objective
    coefficients = coefficients_for(law, init, fixed)
    rows = usable_rows(law, X, y, sample_weight, groups)
    notes = diagnosis.notes_on_rows(law, rows)
    num_free = sum(one.fixed is None for one in coefficients)
    if rows.num_distinct < num_free:
        return _too_few(law, rows, objective, notes, num_free, level, seed)
    model = model_for(law, coefficients, rows.inputs, rows.values, objective)
    problem = Problem(law, coefficients, rows, objective, model)
    generator = np.random.default_rng(seed)
    with counting() as asked:
        found = solve(problem, generator, None if starts is None else np.asarray(starts, dtype=np.float64))
        if found is None:
            return _nothing_found(problem, notes, level, seed)
        problem, found = with_fitted_scale(problem, found)
        fit = _judged(problem, found, notes, resamples, resampling, generator, level, seed, row_name)
    if law.is_costly:
        fit = replace(fit, notes=(*fit.notes, note_on_cost(asked.predictions)))
    fit = with_intervals(fit, X, y, intervals, sample_weight=sample_weight, groups=groups, fixed=fixed)
    return _with_forward(fit, X, y, sample_weight, groups, objective, init, fixed) if forward else fit


def _with_forward(
    fit: Fit,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    groups: Sequence[Any] | NDArray[Any] | None,
    objective: Objective | None,
    init: Mapping[str, float] | None,
    fixed: Mapping[str, float] | None,
) -> Fit:
    """The fit with its forward check."""
    from isoflop.queries.fitting.validation import forward_check

    checked = forward_check(
        fit.law, X, y, sample_weight=sample_weight, groups=groups, objective=objective, level=fit.level,
        seed=fit.seed, init=init, fixed=fixed,
    )  # fmt: skip
    return replace(fit, forward=checked, notes=(*fit.notes, *checked.notes))


def _check_options(resamples: int, level: float, seed: int) -> None:
    if resamples < 0:
        raise UsageError(f"resamples is {resamples}, expected 0 or more")
    if not 0 < level < 1:
        raise UsageError(f"level is {level!r}, expected a number between 0 and 1, such as 0.95")
    if seed < 0:
        raise UsageError(f"seed is {seed}, expected 0 or more")


def _judged(
    problem: Problem,
    found: Found,
    notes: list[Note],
    resamples: int,
    resampling: Resampling | None,
    generator: np.random.Generator,
    level: float,
    seed: int,
    row_name: Callable[[int], str] | None,
) -> Fit:
    """The record of a solved problem: intervals, criteria, notes and status."""
    law, rows, model = problem.law, problem.rows, problem.model
    free = list(problem.free)
    free_coefficients = tuple(problem.coefficients[k] for k in free)
    coefficients = model.to_coefficients(found.theta)
    predicted, residuals = _against(law, coefficients, rows)
    spread = residual_scale(residuals, rows.weights, len(free))
    identified = diagnosis.identify(model, free_coefficients, found.theta, problem.targets, spread)
    reached = diagnosis.bounds_reached(model, found.theta)
    for k in [k for k in free if problem.coefficients[k].name in identified.dead]:
        emptied = _without(problem, found, coefficients, k)
        if emptied is not None:
            coefficients, found = emptied
            reached[free.index(k)] = True
            predicted, residuals = _against(law, coefficients, rows)
    is_convex = model.closed_form(problem.weights, problem.targets) is not None
    notes = [
        *notes,
        *diagnosis.notes_on_search(found, is_convex),
        *diagnosis.notes_on_identification(identified, free_coefficients),
        *diagnosis.notes_on_bounds(free_coefficients, coefficients[free], reached, identified.dead),
        *diagnosis.notes_on_residuals(residuals, rows.kept, len(free), row_name),
    ]
    draws, choice, resample_notes = refit_resamples(problem, found, predicted, resamples, resampling, generator)
    tail = 0.5 * (1 - level)
    if choice is not None:
        tail = choice.resampling.tail(rows, len(free), level, curved_share(problem, found))
    errors, lower, upper = spread_of(draws, len(coefficients), tail)
    notes += [*resample_notes, *diagnosis.notes_on_tails(coefficient_names(law), errors, lower, upper)]
    at_bound = np.zeros(len(coefficients), dtype=bool)
    at_bound[free] = reached
    judged = criteria(np.log(rows.values), residuals, rows.weights, problem.objective, found.objective, len(free))
    is_flat = any(note.code == "constant_target" for note in notes)
    status, reason = "converged", None
    if not found.is_settled:
        status, reason = "not_converged", "the descent ran out of steps"
    elif is_flat or identified.unidentified:
        names = ", ".join(identified.unidentified)
        status = "singular"
        reason = f"{law.target} is constant" if is_flat else f"the rows do not determine {names}"
    return Fit(
        law=law, coefficients=coefficients, std_errors=errors, lower=lower, upper=upper, level=level,
        at_bound=at_bound, draws=draws, residuals=residuals, residual_scale=spread, penalty=problem.objective,
        objective=found.objective, rows=len(rows), dropped=sum(rows.dropped.values()), status=status, reason=reason,
        notes=tuple(notes), condition=identified.condition, basin_share=found.share,
        second_best=found.second_best, starts=found.starts, support=rows.support, data_hash=rows.data_hash,
        r2=judged.r2, rmse_log=judged.rmse_log, log_likelihood=judged.log_likelihood, aicc=judged.aicc,
        bic=judged.bic, seed=seed, kept=rows.kept, edge=size_edge(law, rows.inputs),
        bootstrap=choice.name if choice else None,
    )  # fmt: skip


def _against(law: Law, coefficients: Array, rows: Rows) -> tuple[Array, Array]:
    """Predictions (R,) and log residuals (R,) of the rows."""
    predicted = np.asarray(law.predict(coefficients, rows.inputs))
    with np.errstate(all="ignore"):
        return predicted, np.log(rows.values) - np.log(predicted)


def _without(problem: Problem, found: Found, coefficients: Array, k: int) -> tuple[Array, Found] | None:
    """The solution with the amplitude or floor of an invisible term at zero, if that fits as well.

    A positive coefficient is a logarithm to the solver, so that zero is approached and never reached.
    """
    if problem.coefficients[k].lower != 0.0:
        return None
    emptied = coefficients.copy()
    emptied[k] = 0.0
    predicted = np.asarray(problem.law.predict(emptied, problem.rows.inputs))
    with np.errstate(all="ignore"):
        residuals = np.log(problem.rows.values / predicted)
        if problem.objective.link is not Link.LOG:
            residuals = 1.0 - predicted / problem.rows.values
        total = float(problem.objective.weigh(residuals, True)[0] @ problem.weights[0])
    rounding = 1e-26 * float(problem.weights.sum())  # residuals of 1e-13
    if not total <= found.objective * (1 + AS_GOOD) + rounding:
        return None
    return emptied, replace(found, objective=total)


def _too_few(
    law: Law, rows: Rows, objective: Objective, notes: list[Note], num_free: int, level: float, seed: int
) -> Fit:
    reason = (
        f"{rows.num_distinct} distinct row{'s' * (rows.num_distinct != 1)} for {num_free} coefficients; "
        f"fix some or add runs"
    )
    return _empty(law, rows, objective, [*notes, Note("too_few_rows", reason)], "too_few_rows", reason, level, seed)


def _nothing_found(problem: Problem, notes: list[Note], level: float, seed: int) -> Fit:
    reason = "no start gave a finite objective; declare domains or an INIT where the law is positive"
    note = Note("not_converged", reason)
    return _empty(problem.law, problem.rows, problem.objective, [*notes, note], "not_converged", reason, level, seed)


def _empty(
    law: Law, rows: Rows, objective: Objective, notes: list[Note], status: str, reason: str, level: float, seed: int
) -> Fit:
    """A record that says why there is nothing in it."""
    count = len(law.coefficients)
    nothing = np.full(count, np.nan)
    nan = math.nan
    return Fit(
        law=law, coefficients=nothing, std_errors=nothing, lower=nothing, upper=nothing, level=level,
        at_bound=np.zeros(count, dtype=bool), draws=np.empty((0, count)), residuals=np.full(len(rows), nan),
        residual_scale=nan, penalty=objective, objective=nan, rows=len(rows), dropped=sum(rows.dropped.values()),
        status=status, reason=reason, notes=tuple(notes), condition=nan, basin_share=nan, second_best=None, starts=0,
        support=rows.support, data_hash=rows.data_hash, r2=nan, rmse_log=nan, log_likelihood=nan, aicc=nan, bic=nan,
        seed=seed, kept=rows.kept,
    )  # fmt: skip
