"""Fitting a law: rows in, coefficients with intervals and a verdict out.

The steps in order: drop unusable rows, choose coordinates, search from many starts, refit the resamples from what
was found, judge. The record that comes back says how each of them went.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.errors import FitError, UsageError, did_you_mean
from isoflop.queries.fitting import diagnosis
from isoflop.queries.fitting.bootstraps import Choice, choose_bootstrap
from isoflop.queries.fitting.coefficient_intervals import check_intervals, with_intervals
from isoflop.queries.fitting.deleted import deleted_residuals
from isoflop.queries.fitting.free_scale import for_many, with_fitted_scale
from isoflop.queries.fitting.intervals import residual_scale
from isoflop.queries.fitting.likelihood import criteria
from isoflop.queries.fitting.record import Fit, Note
from isoflop.queries.fitting.resampling import GivenWeights, Resampling
from isoflop.queries.fitting.rows import Rows, usable_rows
from isoflop.queries.fitting.solver.choose import model_for
from isoflop.queries.fitting.solver.general import GeneralModel
from isoflop.queries.fitting.solver.model import Array, Model
from isoflop.queries.fitting.solver.replicate import replicate
from isoflop.queries.fitting.solver.search import Found, search
from isoflop.queries.fitting.stand_in import as_fit_of
from isoflop.queries.fitting.widening import size_edge
from isoflop.queries.laws.law import Coefficient, Law, Role, coefficient_names
from isoflop.queries.laws.objectives import Link, Objective, row_factors

BEST_SEEDS = 16  # starts taken from the projection grid, best first
RESAMPLED_TOGETHER = 10_000_000  # weights held at once, 80 MB: resamples of many rows come in parts
MOST_PROJECTED = 64  # given starts also tried with their linear coefficients solved for
MOST_BASINS = 4  # of those found on the screened rows
AS_GOOD = 1e-6  # relative difference in objective [1] up to which an invisible term is as well left out
UNSEEN = 1e-9  # floor in units of the smallest value [1] below which it counts as none
SCREENED_ROWS = 2_000  # rows that choose among the starts of a sum of powers when there are half as many again
FEWEST_SCREENED, ROWS_EACH = 60, 10  # the same for any other law: at least so many, and so many for each coefficient
RANDOM_STARTS = 32  # starts spread over the rest of it, so that the share of agreeing starts means something


@dataclass(frozen=True)
class Problem:
    """A law on usable rows, ready to solve.

    Parameters
    ----------
    law, coefficients : the law, and its coefficients as they hold for this fit
    rows : usable rows
    objective : the penalty
    model : the law on the rows, in the solver's coordinates
    """

    law: Law
    coefficients: tuple[Coefficient, ...]
    rows: Rows
    objective: Objective
    model: Model

    @property
    def free(self) -> tuple[int, ...]:
        """Positions of the K free coefficients among all."""
        return tuple(k for k, one in enumerate(self.coefficients) if one.fixed is None)

    @property
    def weights(self) -> Array:
        """(1, R) row weights, as the objective counts them."""
        return np.asarray(self.rows.weights * row_factors(self.objective, self.rows.values))[None]

    @property
    def targets(self) -> Array:
        """(1, R) targets in the model's units."""
        return self.model.targets(self.rows.values)[None]


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
    stand_in: Law | None = getattr(law, "fitted_as", None)
    if stand_in is not None:
        plain = fit_law(
            stand_in, X, y, sample_weight=sample_weight, objective=objective, groups=groups, resamples=resamples,
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
    found = solve(problem, generator, None if starts is None else np.asarray(starts, dtype=np.float64))
    if found is None:
        return _nothing_found(problem, notes, level, seed)
    problem, found = with_fitted_scale(problem, found)
    fit = _judged(problem, found, notes, resamples, resampling, generator, level, seed, row_name)
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


def solve(problem: Problem, generator: np.random.Generator, given: Array | None = None) -> Found | None:
    """Return the best coordinates of a law on its rows, or None when no start has a finite objective."""
    model, weights, targets = problem.model, problem.weights, problem.targets
    screened = max(FEWEST_SCREENED, ROWS_EACH * len(problem.free)) if isinstance(model, GeneralModel) else SCREENED_ROWS
    if len(problem.rows) > 1.5 * screened and given is None and model.closed_form(weights, targets) is None:
        return _screened(problem, screened, generator)
    closed = model.closed_form(weights, targets)
    if closed is not None:
        residuals, _ = model.residuals(closed, targets, 0)
        penalty, _, _ = problem.objective.weigh(residuals, True)
        value = float((penalty * weights).sum())
        return Found(closed[0], value, bool(np.isfinite(value)), 1.0, None, 1, closed)
    if given is not None:
        theta = model.from_coefficients(np.atleast_2d(given))
        some = theta[np.unique(np.linspace(0, len(theta) - 1, MOST_PROJECTED).astype(int))]
        theta = np.concatenate([theta, model.projected(some, weights, targets)])
    else:
        theta = model.seeds(weights, targets, BEST_SEEDS + RANDOM_STARTS, generator)[0]
        theta[BEST_SEEDS:] = _scattered(model, theta[:BEST_SEEDS], generator)
    init = [one.init if one.init is not None else math.nan for one in problem.coefficients]
    if not all(math.isnan(one) for one in init):
        base = model.to_coefficients(theta[0])
        own = np.where(np.isnan(init), base, init)
        theta = np.concatenate([model.from_coefficients(own[None]), theta])
    return search(model, theta, weights, targets, problem.objective)


def planned_starts(law: Law, X: ArrayLike, y: ArrayLike, objective: Objective | None = None) -> int:
    """Return how many points a fit would search from: one where the best coefficients follow from a formula.

    Parameters
    ----------
    law : what would be fitted
    X, y : (R, P) inputs and (R,) values, usable ones
    objective : the law's own when None
    """
    law = getattr(law, "fitted_as", None) or law
    objective = objective or law.objective
    rows = usable_rows(law, X, y)
    model = model_for(law, law.coefficients, rows.inputs, rows.values, objective)
    if model.closed_form(rows.weights[None], model.targets(rows.values)[None]) is not None:
        return 1
    return BEST_SEEDS + RANDOM_STARTS + any(one.init is not None for one in law.coefficients)


def _screened(problem: Problem, count: int, generator: np.random.Generator) -> Found | None:
    """Search on some of many rows, then follow every basin found there on all of them."""
    some = problem.rows.thinned(count)
    model = model_for(problem.law, problem.coefficients, some.inputs, some.values, problem.objective)
    found = solve(replace(problem, rows=some, model=model), generator)
    if found is None:
        return None
    ends = problem.model.from_coefficients(model.to_coefficients(found.ends[:MOST_BASINS]))
    whole = search(problem.model, ends, problem.weights, problem.targets, problem.objective, is_near=True)
    return None if whole is None else replace(whole, share=found.share, starts=found.starts)


def _scattered(model: Model, best: Array, generator: np.random.Generator) -> Array:
    """Random starts around the best seeds, wide enough to find another basin if there is one."""
    base = best[generator.integers(0, len(best), RANDOM_STARTS)]
    width = np.where(model.is_log, 1.0, 0.3 * np.maximum(np.abs(base), 0.2))
    moved: Array = np.clip(base + width * generator.standard_normal(base.shape), model.lower, model.upper)
    return moved


def _check_options(resamples: int, level: float, seed: int) -> None:
    if resamples < 0:
        raise UsageError(f"resamples is {resamples}, expected 0 or more")
    if not 0 < level < 1:
        raise UsageError(f"level is {level!r}, expected a number between 0 and 1, such as 0.95")
    if seed < 0:
        raise UsageError(f"seed is {seed}, expected 0 or more")


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
        replace(one, init=(init or {}).get(one.name, one.init), fixed=(fixed or {}).get(one.name, one.fixed))
        for one in law.coefficients
    )
    if all(one.fixed is not None for one in changed):
        raise FitError(f"every coefficient of {law.name} is fixed; leave at least one free")
    return changed


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
    draws, choice, resample_notes = _resampled(problem, found, predicted, resamples, resampling, generator)
    tail = 0.5 * (1 - level)
    if choice is not None:
        tail = choice.resampling.tail(rows, len(free), level, _curved(problem, found))
    errors, lower, upper = _intervals(draws, len(coefficients), tail)
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
    if not total <= found.objective * (1 + AS_GOOD) + 1e-300:
        return None
    return emptied, replace(found, objective=total)


def _resampled(
    problem: Problem,
    found: Found,
    predicted: Array,
    resamples: int,
    resampling: Resampling | None,
    generator: np.random.Generator,
) -> tuple[Array, Choice | None, list[Note]]:
    """Coefficients (B, K_all) of the resamples that could be fitted, their bootstrap, and notes on them."""
    empty = np.empty((0, len(problem.coefficients)))
    rows, num_free = problem.rows, len(problem.free)
    if resamples == 0 or len(rows) <= num_free:  # a law through every row leaves no residual to resample
        return empty, None, []

    def deleted() -> Array:
        coefficients = problem.model.to_coefficients(found.theta)
        residuals = np.log(rows.values / predicted)
        return deleted_residuals(problem.law, coefficients, list(problem.free), rows, residuals, problem.objective)

    choice = choose_bootstrap(resampling, rows, predicted, num_free, deleted)
    chosen = choice.resampling
    objective = for_many(problem.objective)
    parts = []
    step = max(1, RESAMPLED_TOGETHER // len(rows))
    for first in range(0, resamples, step):
        drawn = chosen.draw(rows, predicted, num_free, min(step, resamples - first), generator)
        targets = problem.model.targets(drawn.values)
        weights = np.asarray(drawn.weights * row_factors(objective, drawn.values))
        parts.append(replicate(problem.model, found, weights, targets, objective, generator))
        if isinstance(chosen, GivenWeights):  # they are all there are
            break
    draws = problem.model.to_coefficients(np.concatenate([part.theta for part in parts]))
    _empty_floors(draws, problem)
    usable = np.isfinite(draws).all(axis=1)
    settled = np.concatenate([part.is_settled for part in parts])
    beaten = float(np.average([part.beaten for part in parts], weights=[len(part.theta) for part in parts]))
    failed = int(np.count_nonzero(~usable | ~settled))
    notes = [choice.note] if choice.note is not None and len(draws) else []
    return draws[usable], choice, [*notes, *diagnosis.notes_on_resamples(len(draws), failed, beaten)]


def _curved(problem: Problem, found: Found) -> float:
    """Share of rows where the penalty is curved: all with squares, few where a Huber penalty is mostly linear."""
    residuals, _ = problem.model.residuals(found.theta[None], problem.targets, 0)
    return float(np.mean(problem.objective.weigh(residuals, True)[2] > 0))


def _empty_floors(draws: Array, problem: Problem) -> None:
    """Set floors that no row can show to zero, where their domain begins."""
    for k, one in enumerate(problem.coefficients):
        if one.role is Role.FLOOR and one.lower == 0.0 and one.fixed is None:
            draws[draws[:, k] < UNSEEN * problem.rows.values.min(), k] = 0.0


def _intervals(draws: Array, count: int, tail: float) -> tuple[Array, Array, Array]:
    """Standard errors (K,) of the draws and their quantiles a tail from either end; nan without draws."""
    nothing = np.full(count, np.nan)
    if len(draws) < 2:
        return nothing, nothing, nothing
    lower, upper = np.quantile(draws, [tail, 1 - tail], axis=0)
    return draws.std(axis=0, ddof=1), lower, upper


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
