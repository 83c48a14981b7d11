"""The resamples of a fit: the law refitted to each, and what their spread says of its coefficients."""

from __future__ import annotations

import numpy as np

from isoflop.queries.fitting import diagnosis
from isoflop.queries.fitting.bootstraps import Choice, choose_bootstrap
from isoflop.queries.fitting.deleted import deleted_residuals
from isoflop.queries.fitting.free_scale import for_many
from isoflop.queries.fitting.linearized import BENT, linearized, note_on_tangent
from isoflop.queries.fitting.problem import Problem
from isoflop.queries.fitting.record import Note
from isoflop.queries.fitting.resampling import GivenWeights, Resampling
from isoflop.queries.fitting.solver.model import Array
from isoflop.queries.fitting.solver.replicate import Replicates, replicate
from isoflop.queries.fitting.solver.search import Found
from isoflop.queries.laws.law import Role
from isoflop.queries.laws.objectives import row_factors

RESAMPLED_TOGETHER = 10_000_000  # weights held at once, 80 MB: resamples of many rows come in parts
UNSEEN = 1e-9  # floor in units of the smallest value [1] below which it counts as none


def refit_resamples(
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
    parts: list[Replicates] = []
    bent = 0.0  # how far a costly law departs from its slopes [1]
    step = max(1, RESAMPLED_TOGETHER // len(rows))
    for first in range(0, resamples, step):
        drawn = chosen.draw(rows, predicted, num_free, min(step, resamples - first), generator)
        targets = problem.model.targets(drawn.values)
        weights = np.asarray(drawn.weights * row_factors(objective, drawn.values))
        follows_slopes = problem.model.is_costly and bent <= BENT
        if follows_slopes:
            part, bent = linearized(problem.model, found, weights, targets, objective)
        if not follows_slopes or bent > BENT:
            part = replicate(problem.model, found, weights, targets, objective, generator)
        parts.append(part)
        if isinstance(chosen, GivenWeights):  # they are all there are
            break
    draws = problem.model.to_coefficients(np.concatenate([part.theta for part in parts]))
    _empty_floors(draws, problem)
    usable = np.isfinite(draws).all(axis=1)
    settled = np.concatenate([part.is_settled for part in parts])
    beaten = float(np.average([part.beaten for part in parts], weights=[len(part.theta) for part in parts]))
    failed = int(np.count_nonzero(~usable | ~settled))
    notes = [choice.note] if choice.note is not None and len(draws) else []
    notes += [note_on_tangent(len(draws), bent)] if problem.model.is_costly else []
    return draws[usable], choice, [*notes, *diagnosis.notes_on_resamples(len(draws), failed, beaten)]


def curved_share(problem: Problem, found: Found) -> float:
    """Share of rows where the penalty is curved: all with squares, few where a Huber penalty is mostly linear."""
    residuals, _ = problem.model.residuals(found.theta[None], problem.targets, 0)
    return float(np.mean(problem.objective.weigh(residuals, True)[2] > 0))


def _empty_floors(draws: Array, problem: Problem) -> None:
    """Set floors that no row can show to zero, where their domain begins."""
    for k, one in enumerate(problem.coefficients):
        if one.role is Role.FLOOR and one.lower == 0.0 and one.fixed is None:
            draws[draws[:, k] < UNSEEN * problem.rows.values.min(), k] = 0.0


def spread_of(draws: Array, count: int, tail: float) -> tuple[Array, Array, Array]:
    """Standard errors (K,) of the draws and their quantiles a tail from either end; nan without draws."""
    nothing = np.full(count, np.nan)
    if len(draws) < 2:
        return nothing, nothing, nothing
    lower, upper = np.quantile(draws, [tail, 1 - tail], axis=0)
    return draws.std(axis=0, ddof=1), lower, upper
