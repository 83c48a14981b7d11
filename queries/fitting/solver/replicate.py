"""The same law on many re-weighted or re-drawn versions of the same rows: bootstraps, folds, cuts.

With many rows a descent from the full fit ends in the right basin of every resample. With few it does not, and
the resamples' other basins are found by searching a handful of them in earnest: those ends are then candidates
for all. The candidates are compared after a few coarse steps, so only the promising ones are followed down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.solver.model import Array, Model
from isoflop.queries.fitting.solver.newton import LAST_STEPS, TIGHT, Descent, descend, descend_to_rest, evaluate
from isoflop.queries.fitting.solver.search import EXACT, FIRST_EXACT_STAGE, Found, descend_all
from isoflop.queries.laws.objectives import Objective

ENOUGH_ROWS = 120  # rows from which the full fit's basin was the best one in every resample tried
POOL_ROWS = 60  # rows below which other basins are looked for
POOL_RESAMPLES = 20  # resamples searched in earnest for the pool
POOL_SEEDS = 12  # starts of each of those searches
CANDIDATES = 6  # pool members followed per resample
FEWEST_ROWS = 20  # rows below which twice as many are followed
COARSE_STEPS, FINALISTS = 6, 2  # steps that tell good starts of a resample from bad ones; how many go on
COSTLY_STEPS, COSTLY_TOLERANCE = 30, 1e-7  # of each resample of a law that takes milliseconds to evaluate
BETWEEN = (0.25, 0.5, 0.75)  # of the way from one end to another, where a ridge is looked for
RIDGE = 1e-3  # height of a ridge over the worse end, in units of its objective [1]
HIGH = 0.1  # the same that no bent valley has between two points of nearly one height
PATIENT_ROUNDS = 4  # of those descents; of 13 coefficients on 36 rows 12 % are left by one, 4 % by two, .8 % by three
FAILED_SHARE = 0.01  # of versions that did not settle, up to which the ends of an interval hardly move
BETTER = 1e-6  # relative difference in objective [1] that counts as beating the full fit's basin
ELSEWHERE = 2.0  # standard errors beyond which coefficients are others altogether: half of a 95 % interval
NORMAL_SPREAD = 1.4826  # standard deviation of a normal over its median absolute deviation [1]
AT_REST = 1e-6  # spread of a coordinate in units of one and its size [1] that is none


@dataclass(frozen=True)
class Replicates:
    """Fits of a law to B versions of the rows.

    Parameters
    ----------
    theta : (B, K) coordinates
    is_settled : (B,) whether each descent converged
    beaten : fraction of versions whose best basin was another one than the full fit's
    """

    theta: Array
    is_settled: NDArray[np.bool_]
    beaten: float


def replicate(
    model: Model,
    found: Found,
    weights: Array,
    targets: Array,
    objective: Objective,
    generator: np.random.Generator,
) -> Replicates:
    """Fit a law to many versions of the same rows.

    Parameters
    ----------
    model : law on R rows
    found : the fit to the rows as they are
    weights : (1 or B, R) row weights of each version
    targets : (1 or B, R) targets of each version
    objective : penalty on residuals
    generator : for the seeds of the pool
    """
    weights, targets = np.asarray(weights, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    count, num_rows = max(len(weights), len(targets)), targets.shape[1]
    closed = model.closed_form(np.broadcast_to(weights, (count, num_rows)), targets)
    if closed is not None:
        return Replicates(closed, np.asarray(np.isfinite(closed).all(axis=1)), 0.0)
    warm = np.repeat(found.theta[None], count, axis=0)
    if model.is_costly:  # a law of sums: steps from the full fit, without other basins
        nearby = descend(
            model, warm, weights, targets, objective, exact=True, max_steps=COSTLY_STEPS, tolerance=COSTLY_TOLERANCE
        )
        return Replicates(nearby.theta, np.isfinite(nearby.objective), 0.0)
    if len(objective.graduation()) > FIRST_EXACT_STAGE:  # too sharp to be entered without its smoother versions
        direct = descend_all(model, warm, weights, targets, objective)
    else:
        direct = descend_to_rest(model, warm, weights, targets, objective)
    if num_rows >= ENOUGH_ROWS or count == 0:
        return Replicates(direct.theta, direct.is_settled, 0.0)
    if num_rows >= POOL_ROWS:
        other = descend_all(model, warm, weights, targets, objective)
    else:
        pool = _pool(model, found, weights, targets, objective, generator)
        other = _from_pool(model, pool, weights, targets, objective)
    is_exact = direct.objective <= EXACT * weights.sum(axis=1)  # rounding, of which less is not better
    wins = (other.objective < direct.objective * (1 - BETTER)) & ~is_exact
    best = Descent(
        np.where(wins[:, None], other.theta, direct.theta),
        np.where(wins, other.objective, direct.objective),
        np.where(wins, other.is_settled, direct.is_settled),
    )
    apart = _are_apart(model, np.flatnonzero(wins), direct, other, weights, targets, objective)
    best = _with_patience(model, best, weights, targets, objective)
    return Replicates(best.theta, best.is_settled, apart / count)


def _with_patience(model: Model, ended: Descent, weights: Array, targets: Array, objective: Objective) -> Descent:
    """Go on with descents that ran out of steps in a bent valley, where they are so many that intervals would tell."""
    for _ in range(PATIENT_ROUNDS):
        slow = np.flatnonzero(~ended.is_settled & np.isfinite(ended.objective))
        if len(slow) <= FAILED_SHARE * len(ended.theta):
            break
        own_weights = weights if len(weights) == 1 else weights[slow]
        own_targets = targets if len(targets) == 1 else targets[slow]
        longer = descend_to_rest(model, ended.theta[slow], own_weights, own_targets, objective)
        ended.theta[slow], ended.objective[slow] = longer.theta, longer.objective
        ended.is_settled[slow] = longer.is_settled
    return ended


def _are_apart(
    model: Model,
    versions: NDArray[np.intp],
    direct: Descent,
    other: Descent,
    weights: Array,
    targets: Array,
    objective: Objective,
) -> int:
    """Count the versions of which two ends lie in different basins: far apart, with a ridge on the line between them.

    Without a ridge the first descent has only stopped early, as it may along the kinks of a sharp objective. A low one
    is no proof: a bent valley has one on every line between two of its points. There ends count as other ones only
    where they lie further apart than the ends of all versions that began in the full fit's basin scatter.
    """
    if not versions.size:
        return 0
    middle = np.median(direct.theta, axis=0)
    spread = NORMAL_SPREAD * np.median(np.abs(direct.theta - middle), axis=0)
    spread = np.maximum(spread, AT_REST * (1 + np.abs(middle)))
    is_far = (np.abs(other.theta - direct.theta)[versions] > ELSEWHERE * spread).any(axis=1)
    first, second = direct.theta[versions], other.theta[versions]
    own_weights = weights if len(weights) == 1 else weights[versions]
    own_targets = targets if len(targets) == 1 else targets[versions]
    height = ridge(model, first, second, own_weights, own_targets, objective) / direct.objective[versions] - 1
    return int(np.count_nonzero((height > HIGH) | (is_far & (height > RIDGE))))


def ridge(model: Model, first: Array, second: Array, weights: Array, targets: Array, objective: Objective) -> Array:
    """Return the largest objective (B,) on the lines between two points (B, K) each."""
    between = [evaluate(model, first + step * (second - first), weights, targets, objective) for step in BETWEEN]
    return np.asarray(np.max(between, axis=0))


def _pool(
    model: Model,
    found: Found,
    weights: Array,
    targets: Array,
    objective: Objective,
    generator: np.random.Generator,
) -> Array:
    """Ends (M, K) of searches on the first resamples, with the basins of the full fit."""
    some = min(POOL_RESAMPLES, max(len(weights), len(targets)))
    few_weights = weights if len(weights) == 1 else weights[:some]
    few_targets = targets if len(targets) == 1 else targets[:some]
    ends = [found.ends[:8]]
    every_weight = np.broadcast_to(few_weights, (some, weights.shape[1]))
    seeds = model.seeds(every_weight, few_targets, POOL_SEEDS, generator)  # (some, POOL_SEEDS, K)
    flat = seeds.reshape(-1, seeds.shape[2])
    ended = descend_all(model, flat, _repeated(few_weights, POOL_SEEDS), _repeated(few_targets, POOL_SEEDS), objective)
    best = np.argmin(ended.objective.reshape(some, POOL_SEEDS), axis=1)
    ends.append(ended.theta.reshape(some, POOL_SEEDS, -1)[np.arange(some), best])
    return np.concatenate(ends)


def _from_pool(model: Model, pool: Array, weights: Array, targets: Array, objective: Objective) -> Descent:
    """The best descent of every problem from the members of a pool that promise most."""
    count = max(len(weights), len(targets))
    level = evaluate(
        model, np.tile(pool, (count, 1)), _repeated(weights, len(pool)), _repeated(targets, len(pool)), objective
    ).reshape(count, len(pool))
    wider = 2 if targets.shape[1] < FEWEST_ROWS else 1
    followed = min(wider * CANDIDATES, len(pool))
    starts = pool[np.argsort(level, axis=1, kind="stable")[:, :followed]]  # (B, followed, K)
    coarse = _race(model, starts, weights, targets, objective, steps=COARSE_STEPS, tolerance=1e-3)
    kept = np.argsort(coarse.objective, axis=1, kind="stable")[:, : min(wider * FINALISTS, followed)]
    rows = np.arange(count)[:, None]
    fine = _race(model, coarse.theta[rows, kept], weights, targets, objective, steps=LAST_STEPS, tolerance=TIGHT)
    best = np.argmin(fine.objective, axis=1)
    rows = np.arange(count)
    return Descent(fine.theta[rows, best], fine.objective[rows, best], fine.is_settled[rows, best])


def _race(
    model: Model, starts: Array, weights: Array, targets: Array, objective: Objective, *, steps: int, tolerance: float
) -> Descent:
    """Descend from (B, S, K) starts; the result keeps that shape."""
    count, followed, size = starts.shape
    ended = descend(
        model,
        starts.reshape(-1, size),
        _repeated(weights, followed),
        _repeated(targets, followed),
        objective,
        exact=True,
        max_steps=steps,
        tolerance=tolerance,
    )
    return Descent(
        ended.theta.reshape(count, followed, size),
        ended.objective.reshape(count, followed),
        ended.is_settled.reshape(count, followed),
    )


def _repeated(array: Array, times: int) -> Array:
    """Every problem's row `times` in a row; a single row serves all as it is."""
    return array if len(array) == 1 else np.repeat(array, times, axis=0)
