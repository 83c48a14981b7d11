"""The second step of a fit: the law refitted to resamples, and what their spread says of its coefficients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from isoflop.queries.fitting import diagnosis
from isoflop.queries.fitting.bootstraps import choose_bootstrap
from isoflop.queries.fitting.deleted import deleted_residuals
from isoflop.queries.fitting.linearized import BENT, linearized, note_on_tangent
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.options import FitOptions
from isoflop.queries.fitting.problem import Problem
from isoflop.queries.fitting.resampling import Resampling
from isoflop.queries.fitting.solution import Solution
from isoflop.queries.fitting.solver.model import Array
from isoflop.queries.fitting.solver.replicate import Replicates, replicate
from isoflop.queries.laws.law import Role

RESAMPLED_TOGETHER = 10_000_000  # weights held at once, 80 MB: resamples of many rows come in parts
UNSEEN = 1e-9  # floor in units of the smallest value [1] below which it counts as none
# Rows from which resamples are looked for along the slopes of any law, and the departure from them as a share of what
# a resample moves [1] up to which they stay there: a twentieth of a standard error is not seen in an interval.
MANY_ROWS, STRAIGHT = 2_000, 0.05


@dataclass(frozen=True, eq=False)
class Resampled:
    """A law refitted to resamples of its data.

    Parameters
    ----------
    draws : (B, K) coefficients of the resamples that could be fitted; B may be 0
    bootstrap : name of the bootstrap behind them; None without any, or with weights that were given
    tail : share of them [1] to leave out at each end of an interval
    notes : what the user should know
    """

    draws: Array
    bootstrap: str | None
    tail: float
    notes: tuple[Note, ...]


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals of coefficients.

    Parameters
    ----------
    kind : one of `INTERVALS`
    std_errors : (K,) standard deviations over the resamples, or of the jackknife; nan without either
    lower, upper : (K,) ends of the intervals
    bias : (K,) by which the jackknife estimates the coefficients to lie off; None with other intervals
    """

    kind: str
    std_errors: Array
    lower: Array
    upper: Array
    bias: Array | None = None


def resample(problem: Problem, solution: Solution, options: FitOptions, generator: np.random.Generator) -> Resampled:
    """Return the law refitted to resamples.

    Parameters
    ----------
    problem, solution : law and data, and their best coefficients
    options : number and kind of the resamples, and the coverage of the intervals
    generator : of the resamples
    """
    data, num_free = problem.data, len(problem.free)
    # A law through every row leaves no residual to resample.
    if not solution.is_found or options.resamples == 0 or len(data) <= num_free:
        return Resampled(np.empty((0, len(problem.coefficients))), None, (1 - options.level) / 2, ())
    predicted = np.asarray(problem.law.predict(solution.coefficients, data.inputs))

    def deleted() -> Array:
        coefficients = problem.model.to_coefficients(solution.search.theta)
        residuals = data.scatter.between(data.target, predicted)
        return deleted_residuals(problem.law, coefficients, list(problem.free), data, residuals, solution.penalty)

    choice = choose_bootstrap(options.resampling, data, predicted, num_free, deleted)
    parts, bent = _refitted(problem, solution, predicted, choice.resampling, options.resamples, generator)
    draws = problem.model.to_coefficients(np.concatenate([part.theta for part in parts]))
    _empty_floors(draws, problem)
    usable = np.isfinite(draws).all(axis=1)
    settled = np.concatenate([part.is_settled for part in parts])
    beaten = float(np.average([part.beaten for part in parts], weights=[len(part.theta) for part in parts]))
    failed = int(np.count_nonzero(~usable | ~settled))
    notes = [choice.note] if choice.note is not None and len(draws) else []
    notes += [note_on_tangent(len(draws), bent)] if problem.model.is_costly else []
    notes += diagnosis.notes_on_resamples(len(draws), failed, beaten)
    tail = choice.resampling.tail(data, num_free, options.level, _curved_share(problem, solution))
    return Resampled(draws[usable], choice.name, tail, tuple(notes))


def _refitted(
    problem: Problem,
    solution: Solution,
    predicted: Array,
    chosen: Resampling,
    resamples: int,
    generator: np.random.Generator,
) -> tuple[list[Replicates], float]:
    """The law, which predicts the rows as `predicted` (R,), refitted to resamples in parts that fit in memory.

    A costly one is followed along its slopes where it hardly departs from them, and on many rows, whose resamples lie
    close together, any that is not compiled, where it departs even less; how far it does [1] is returned too.
    """
    data, num_free = problem.data, len(problem.free)
    objective = solution.penalty.smoothed()
    parts: list[Replicates] = []
    bent = 0.0
    step = max(1, RESAMPLED_TOGETHER // len(data))
    for first in range(0, resamples, step):
        drawn = chosen.draw(data, predicted, num_free, min(step, resamples - first), generator)
        targets = problem.model.targets(drawn.values)
        weights = replace(problem, objective=objective).counted(drawn.weights, drawn.values)
        is_slow = len(data) >= MANY_ROWS and not problem.model.is_compiled
        most_bent = BENT if problem.model.is_costly else STRAIGHT if is_slow else -1.0
        follows_slopes = bent <= most_bent
        if follows_slopes:
            part, bent = linearized(problem.model, solution.search, weights, targets, objective)
        if not follows_slopes or bent > most_bent:
            part = replicate(problem.model, solution.search, weights, targets, objective, generator)
        parts.append(part)
        if chosen.is_all:
            break
    return parts, bent


def _curved_share(problem: Problem, solution: Solution) -> float:
    """Share of rows where the penalty is curved: all with squares, few where a Huber penalty is mostly linear."""
    residuals, _ = problem.model.residuals(solution.search.theta[None], problem.targets, 0)
    return float(np.mean(solution.penalty.weigh(residuals, True)[2] > 0))


def _empty_floors(draws: Array, problem: Problem) -> None:
    """Set floors that no row can show to zero, where their domain begins."""
    for k, coefficient in enumerate(problem.coefficients):
        if coefficient.role is Role.FLOOR and coefficient.lower == 0.0 and coefficient.fixed is None:
            smallest = problem.data.scatter.unit or problem.data.target.min()
            draws[draws[:, k] < UNSEEN * smallest, k] = 0.0


def percentiles(resampled: Resampled) -> Intervals:
    """Return the quantiles of the resamples a tail from either end, and their spread; nan without any."""
    draws = resampled.draws
    if len(draws) < 2:
        nothing = np.full(draws.shape[1], np.nan)
        return Intervals("percentile", nothing, nothing, nothing)
    lower, upper = np.quantile(draws, [resampled.tail, 1 - resampled.tail], axis=0)
    return Intervals("percentile", draws.std(axis=0, ddof=1), lower, upper)
