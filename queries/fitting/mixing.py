"""The line that a mixture of forms goes through: fit each form, leave out what the rows do not determine, weigh.

Every form is fitted to the rows and to the same resamples of them. In each resample the form that predicts the rows it
left out best is chosen, and a form's weight is how often that happens. One draw of the mixture is the chosen form of
one resample, so that an interval holds both how a form moves and how the forms differ.

Left out are forms whose fit fails, forms with a coefficient that the rows do not determine or that ends where its
domain does, and forms with an upper bound where the rows do not show one. Such a form stays where the rows speak
against every other one: what a broken curve does is then known, if not by which coefficients. Where no form is left,
those that have numbers stay, and the fit says that it is singular.

A resample starts from the fit to all rows, and so do the fits to the small rows of the forward check: that makes both
of them cheap.

Source: Buckland, Burnham and Augustin 1997, Biometrics 53, 603.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.fitting import diagnosis, line
from isoflop.queries.fitting.bounds_shown import shows_upper_bound
from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.draws import Intervals, Resampled, percentiles
from isoflop.queries.fitting.judge import Verdict, judge
from isoflop.queries.fitting.likelihood import Criteria, criteria
from isoflop.queries.fitting.mistakes import notes_on_mistakes
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.options import FitOptions
from isoflop.queries.fitting.problem import MIXTURE_STARTS, Problem, optimum
from isoflop.queries.fitting.record import Fit
from isoflop.queries.fitting.resampling import GivenWeights, paired_counts
from isoflop.queries.fitting.scale import residual_scale
from isoflop.queries.fitting.solution import Solution, no_solution, solution_at
from isoflop.queries.fitting.solver.model import Array
from isoflop.queries.fitting.solver.newton import descend
from isoflop.queries.fitting.solver.search import FIRST_EXACT_STAGE, Found, descend_all, search
from isoflop.queries.laws.form_mixture import FormMixture
from isoflop.queries.laws.law import Law, Role
from isoflop.queries.laws.objectives import Objective

RESAMPLE_STEPS, RESAMPLE_TOLERANCE = 25, 1e-6  # of each resample [1]: leaves it 0.3 % above its least objective
NO_SUPPORT = 10.0  # more in AICc [1] leaves a model "essentially none": Burnham and Anderson 2002, section 2.6
NEAR_END = 1 - 1e-6  # of the upper end of a domain [1], from which a coefficient lies there


@dataclass(frozen=True, eq=False)
class _Part:
    """One form of a mixture, fitted.

    Parameters
    ----------
    title : what the form is called
    form : the form
    problem, solution, verdict : its fit to the rows
    draws : (B, K) its coefficients in each resample; nan where that has none
    """

    title: str
    form: Law
    problem: Problem
    solution: Solution
    verdict: Verdict
    draws: Array


@np.errstate(all="ignore")  # what is not finite is looked at where it counts
def run(law: Law, data: Data, options: FitOptions) -> Fit:
    """Return a law fitted to data, without a forward check; a mixture through the line of this module.

    Parameters
    ----------
    law : what to fit
    data : usable rows
    options : how

    Returns
    -------
    Fit; of a mixture its law has only the forms that are not left out, unless none could be fitted

    Raises
    ------
    FitError : if nothing is free to fit
    UsageError : if the options name a coefficient the law does not have, or ask of a mixture what it has not
    """
    if not isinstance(law, FormMixture):
        return line.run(law, data, options)
    _check(law, options)
    penalty = options.objective or law.objective
    found = [_fitted(law, k, data, replace(options, objective=penalty)) for k in range(len(law.forms))]
    kept, notes = _admitted(found)
    if not kept:
        return _nothing(law, data, options, found, notes)
    law = law.of_forms([part.title for part in kept])
    counts = _counts(data, options)
    parts = [_resampled(part, counts) for part in kept]
    chosen = _winners(parts, data, counts, penalty)
    weights = _weights(parts, data, chosen)
    shown = ", ".join(f"{part.title} {share:.0%}" for part, share in zip(parts, weights, strict=True))
    how = f"share of {len(counts)} resamples whose left-out rows each predicts best"
    notes.append(Note("weighed_by", f"{shown}: {how if options.resamples else 'exp(-aicc / 2), without resamples'}"))
    return line.noting_misfit(_composed(law, data, options, parts, weights, chosen, notes), law.num_free)


def in_order_of(law: Law, fit: Fit) -> Array:
    """Return the coefficients (K,) of a fit in the order of the law that was asked for: nan for forms left out."""
    if not isinstance(law, FormMixture):
        return fit.coefficients
    return np.array([fit.values.get(coefficient.name, math.nan) for coefficient in law.coefficients])


def _check(law: FormMixture, options: FitOptions) -> None:
    """Check that options are such as a mixture has."""
    hint = "fit one of the forms for that"
    if options.fixed or options.init:
        raise UsageError(f"{law.name} has the coefficients of several forms: none is fixed or started from", hint=hint)
    if options.intervals != "percentile":
        raise UsageError(f"{law.name} has no {options.intervals} intervals, percentiles of resamples only", hint=hint)
    name = None if options.resampling is None else options.resampling.name
    if name not in (None, "auto", "case", "cluster"):
        message = (
            f"{law.name} is weighed by the rows that resamples leave out, and the {name} bootstrap leaves out none"
        )
        raise UsageError(message, hint="take 'case' or 'cluster'")


def _fitted(law: FormMixture, k: int, data: Data, options: FitOptions) -> _Part:
    """One form on the rows, not resampled yet."""
    title, form = law.titles[k], law.forms[k]
    problem = Problem.of(form, data, options)
    nothing = np.empty((0, len(form.coefficients)))
    is_bounded = "E_0" in (coefficient.name for coefficient in form.coefficients)
    if is_bounded and not shows_upper_bound(data):
        verdict = Verdict("singular", "the rows show no upper bound", ())
        return _Part(title, form, problem, no_solution(problem), verdict, nothing)
    given = None if options.starts is None else np.asarray(options.starts)[:, law.places[k][1]]
    solution = _solved(problem, given, np.random.default_rng(options.seed))
    resampled = Resampled(nothing, None, 0.0, ())
    verdict = judge(problem, solution, resampled, percentiles(resampled))
    return _Part(title, form, problem, solution, verdict, nothing)


def _solved(problem: Problem, given: Array | None, generator: np.random.Generator) -> Solution:
    """The best coefficients of a form, from a few good starts, or from those given (S, K).

    A fit of the form alone searches from more of them and from far away, to say how sure its optimum is.
    """
    model, weights, targets = problem.model, problem.weights, problem.targets
    if problem.data.num_distinct < len(problem.free):
        return no_solution(problem)
    is_large = len(problem.data) > 1.5 * model.screened_rows
    found: Found | None
    if is_large or model.is_costly or model.closed_form(weights, targets) is not None:
        found = optimum(problem, generator, given)
    else:
        theta = (
            model.seeds(weights, targets, MIXTURE_STARTS, generator)[0]
            if given is None
            else model.from_coefficients(given)
        )
        found = search(model, theta, weights, targets, problem.objective, is_near=True)
    return no_solution(problem) if found is None else solution_at(problem, found)


def _admitted(found: Sequence[_Part]) -> tuple[list[_Part], list[Note]]:
    """The forms that are weighed, and what is to be said of the others."""
    usable = [part for part in found if np.isfinite(part.solution.coefficients).all()]
    reasons = {part.title: _why_left_out(part) for part in found}
    kept = [part for part in usable if reasons[part.title] is None]
    if kept:
        best = min(_criteria(part).aicc for part in kept)
        kept = [part for part in usable if part in kept or _criteria(part).aicc < best - NO_SUPPORT]
    kept = kept or [part for part in usable if part.verdict.status == "converged"] or usable
    notes = [
        Note("form_left_out", f"{part.title} has no weight: {reasons[part.title]}")
        for part in found
        if part not in kept
    ]
    return kept, notes


def _why_left_out(part: _Part) -> str | None:
    """Why a form is not weighed, or None where it is.

    An exponent or a place at the end of its domain says that the form is not what the rows follow. A floor or an
    amplitude of zero says that there is none to see, which is well possible.
    """
    if part.verdict.status != "converged":
        return part.verdict.reason
    ends = [
        coefficient.name
        for coefficient, touches, value in zip(
            part.form.coefficients, part.solution.at_bound, part.solution.coefficients, strict=True
        )
        if touches and (coefficient.role not in (Role.FLOOR, Role.AMPLITUDE) or value >= NEAR_END * coefficient.upper)
    ]
    return f"{' and '.join(ends)} at the end of the domain" if ends else None


def _counts(data: Data, options: FitOptions) -> Array:
    """(B, R) how often each row stands in each resample."""
    if isinstance(options.resampling, GivenWeights):
        return np.atleast_2d(options.resampling.counts)
    return paired_counts(data, options.resamples, options.seed)


def _resampled(part: _Part, counts: Array) -> _Part:
    """A form refitted to resamples, each from the fit to all rows."""
    if not len(counts):
        return part
    problem, solution = part.problem, part.solution
    objective = solution.penalty.smoothed()
    weights = replace(problem, objective=objective).counted(problem.data.weight * counts, problem.data.target)
    warm = np.repeat(solution.search.theta[None], len(counts), axis=0)
    is_sharp = len(objective.graduation()) > FIRST_EXACT_STAGE
    if is_sharp:  # too sharp to be entered without its smoother versions
        descent = descend_all(problem.model, warm, weights, problem.targets, objective)
    else:
        descent = descend(
            problem.model, warm, weights, problem.targets, objective, exact=True, max_steps=RESAMPLE_STEPS,
            tolerance=RESAMPLE_TOLERANCE,
        )  # fmt: skip
    draws = problem.model.to_coefficients(descent.theta)
    draws[~np.isfinite(descent.objective)] = math.nan
    return replace(part, draws=draws)


def _winners(parts: Sequence[_Part], data: Data, counts: Array, penalty: Objective) -> Array:
    """(B,) which form predicts the rows that each resample left out best; -1 where none has a prediction.

    What ties is won in turn: forms that are one curve are as likely each.
    """
    costs = np.full((len(parts), len(counts)), np.inf)
    for k, part in enumerate(parts):
        predicted = data.scatter.on_scale(np.asarray(part.form.predict(part.draws, data.inputs)))
        left = (data.scatter.on_scale(data.target) - predicted) / data.scatter.size
        cost, _, _ = penalty.weigh(left, True)
        costs[k] = np.nan_to_num(np.where(counts == 0, data.weight * cost, 0.0), nan=np.inf).sum(axis=1)
    least = costs.min(axis=0)
    is_best = (costs == least) & np.isfinite(least)
    turn = np.arange(len(counts)) % np.maximum(is_best.sum(axis=0), 1)
    place = np.cumsum(is_best, axis=0) - 1
    chosen = np.argmax(is_best & (place == turn), axis=0)
    return np.where(np.isfinite(least), chosen, -1)


def _weights(parts: Sequence[_Part], data: Data, chosen: Array) -> Array:
    """Weights, 1 together: shares of the resamples, or by criterion without any."""
    won = np.array([np.count_nonzero(chosen == k) for k in range(len(parts))], dtype=np.float64)
    if won.sum():
        return np.asarray(won / won.sum())
    aicc = np.array([_criteria(part).aicc for part in parts])
    weights = np.exp(-0.5 * np.nan_to_num(aicc - np.nanmin(aicc, initial=np.inf), nan=np.inf))
    return np.asarray(weights / weights.sum() if weights.sum() > 0 else np.full(len(parts), 1 / len(parts)))


def _criteria(part: _Part) -> Criteria:
    solution, count, data = part.solution, len(part.problem.free), part.problem.data
    values = data.scatter.on_scale(data.target)
    return criteria(values, solution.residuals, data.weight, solution.penalty, solution.objective, count, data.scatter)


def _composed(
    law: FormMixture, data: Data, options: FitOptions, parts: Sequence[_Part], weights: Array, chosen: Array,
    notes: list[Note],
) -> Fit:  # fmt: skip
    """The forms as one fit."""
    coefficients = np.empty(len(law.coefficients))
    draws = np.empty((len(chosen), len(coefficients)))
    at_bound = np.zeros(len(coefficients), dtype=bool)
    for k, (part, (first, rest)) in enumerate(zip(parts, law.places, strict=True)):
        own = part.solution.coefficients
        coefficients[first], coefficients[rest] = weights[k], own
        draws[:, first] = chosen == k
        # a form that is not chosen says nothing, and where its resample has no numbers it stays as it is
        draws[:, rest] = np.where(np.isfinite(part.draws).all(axis=1, keepdims=True), part.draws, own)
        at_bound[rest] = part.solution.at_bound
    draws = draws[chosen >= 0]
    values = data.scatter.on_scale(data.target)
    residuals = np.asarray(values - data.scatter.on_scale(law.predict(coefficients, data.inputs)))
    count = float(weights @ [len(part.problem.free) for part in parts])
    spread = residual_scale(residuals, data.weight, round(count))
    best = parts[int(np.argmax(weights))].solution
    total = float(best.penalty.weigh(residuals / data.scatter.size, True)[0] @ data.weight)
    search = replace(
        best.search, theta=coefficients, objective=total, starts=sum(part.solution.search.starts for part in parts),
        ends=coefficients[None],
    )  # fmt: skip
    worst = max(part.solution.identified.condition for part in parts)
    solution = Solution(
        coefficients=coefficients, at_bound=at_bound, residuals=residuals, residual_scale=spread, penalty=best.penalty,
        identified=diagnosis.Identification(worst, (), ()), search=search,
    )  # fmt: skip
    resampled = Resampled(draws, "case" if data.group is None else "cluster", (1 - options.level) / 2, ())
    known = criteria(values, residuals, data.weight, best.penalty, total, round(count), data.scatter)
    verdict = _verdict(law, data, parts, notes)
    # an average is no most likely law: it has no criterion of one
    return Fit(
        law=law, data=data, options=options, solution=solution, resampled=resampled,
        intervals=_without_weights(law, resampled), verdict=verdict, criteria=Criteria(known.r2, known.rmse_log),
    )  # fmt: skip


def _without_weights(law: FormMixture, resampled: Resampled) -> Intervals:
    """Intervals of the forms' coefficients. Draws say of a weight whether its form was chosen: that is no interval."""
    found = percentiles(resampled)
    is_weight = np.zeros(len(law.coefficients), dtype=bool)
    is_weight[[first for first, _ in law.places]] = True
    std_errors, lower, upper = (
        np.where(is_weight, math.nan, values) for values in (found.std_errors, found.lower, found.upper)
    )
    return Intervals(found.kind, std_errors, lower, upper)


def _verdict(law: FormMixture, data: Data, parts: Sequence[_Part], notes: list[Note]) -> Verdict:
    """Whether the mixture can be used: as its forms can."""
    own = [*diagnosis.notes_on_rows(law, data), *notes_on_mistakes(law, data)]
    first = next((part.verdict for part in parts if part.verdict.status == "converged"), parts[0].verdict)
    if any(note.code == "constant_target" for note in own):
        return Verdict("singular", f"{law.target} is constant", (*own, *notes))
    if first.status != "converged":
        return Verdict(first.status, f"no form is determined by the rows: {first.reason}", (*own, *notes))
    return Verdict("converged", None, (*own, *notes))


def _nothing(law: FormMixture, data: Data, options: FitOptions, found: Sequence[_Part], notes: list[Note]) -> Fit:
    """The fit of a mixture none of whose forms has numbers."""
    few = [part for part in found if part.verdict.status == "too_few_rows"]
    least = min(few or found, key=lambda part: len(part.problem.free))
    own = (*diagnosis.notes_on_rows(law, data), *notes)
    empty = np.empty((0, len(law.coefficients)))
    resampled = Resampled(empty, None, (1 - options.level) / 2, ())
    return Fit(
        law=law, data=data, options=options, solution=no_solution(Problem(law, law.coefficients, data, law.objective)),
        resampled=resampled, intervals=percentiles(resampled), criteria=Criteria(),
        verdict=Verdict(least.verdict.status, least.verdict.reason, own),
    )  # fmt: skip
