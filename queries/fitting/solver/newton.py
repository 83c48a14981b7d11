"""Batched damped Newton descent within a box.

Problems are independent, so a batch is many descents side by side: each keeps its own damping and stops on its
own. Blocks are small enough for their (B, R) arrays to stay in cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.sql.cancellation import check, report
from isoflop.queries.fitting.solver.compiled import descend_compiled
from isoflop.queries.fitting.solver.model import Array, Curve
from isoflop.queries.fitting.solver.steps import (
    CALM_STEPS,
    EASED,
    FIRST_DAMPING,
    FLAT,
    HOPELESS_DAMPING,
    LEAST_DAMPING,
    LEAST_RAISED,
    LONGEST_STEP,
    NEGLIGIBLE,
    RAISED,
    TINY,
)
from isoflop.queries.laws.objectives import Objective

BLOCK_VALUES = 16_384  # B * R per block: 128 KiB an array
LAST_STEPS, PATIENT_STEPS = 80, 400  # of the last descent, and of the few in a bent valley that need more
TIGHT = 1e-9  # relative decrease [1] that ends the last stage


@dataclass(frozen=True)
class Descent:
    """Where a batch of descents ended.

    Parameters
    ----------
    theta : (B, K) coordinates
    objective : (B,) sum over rows; inf where a start had no finite value
    is_settled : (B,) whether the decrease fell below the tolerance, rather than the steps running out
    """

    theta: Array
    objective: Array
    is_settled: NDArray[np.bool_]


def descend(
    model: Curve,
    theta: Array,
    weights: Array,
    targets: Array,
    objective: Objective,
    *,
    exact: bool,
    max_steps: int,
    tolerance: float,
) -> Descent:
    """Minimize the weighted objective from every row of `theta`.

    Parameters
    ----------
    model : law on R rows
    theta : (B, K) starts
    weights : (1 or B, R) row weights; one row serves all problems
    targets : (1 or B, R) targets in the model's units
    objective : penalty on residuals
    exact : true second derivatives, else the majorising parabola (slower near the end, safe far away)
    max_steps : most steps of one descent
    tolerance : relative decrease [1] below which a step counts as calm
    """
    compiled = descend_compiled(
        model, theta, weights, targets, objective, exact=exact, max_steps=max_steps, tolerance=tolerance
    )
    if compiled is not None:
        return Descent(*compiled)
    size = max(1, min(512, BLOCK_VALUES // max(targets.shape[1], 1)))
    parts = []
    with np.errstate(all="ignore"):
        for first in range(0, len(theta), size):
            block = slice(first, first + size)
            parts.append(
                _descend_block(
                    model,
                    theta[block],
                    _rows(weights, block),
                    _rows(targets, block),
                    objective,
                    exact,
                    max_steps,
                    tolerance,
                )
            )
            report("descents", min(first + size, len(theta)), len(theta))
    return Descent(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def descend_to_rest(model: Curve, theta: Array, weights: Array, targets: Array, objective: Objective) -> Descent:
    """Minimize the weighted objective itself, with patience for the few problems that lie in a bent valley.

    Those run out of the usual steps; they are gathered from all blocks and continued together.
    """
    ended = descend(model, theta, weights, targets, objective, exact=True, max_steps=LAST_STEPS, tolerance=TIGHT)
    slow = np.flatnonzero(~ended.is_settled & np.isfinite(ended.objective))
    if not slow.size:
        return ended
    longer = descend(
        model,
        ended.theta[slow],
        weights if len(weights) == 1 else weights[slow],
        targets if len(targets) == 1 else targets[slow],
        objective,
        exact=True,
        max_steps=PATIENT_STEPS,
        tolerance=TIGHT,
    )
    ended.theta[slow], ended.objective[slow] = longer.theta, longer.objective
    ended.is_settled[slow] = longer.is_settled
    return ended


def evaluate(model: Curve, theta: Array, weights: Array, targets: Array, objective: Objective) -> Array:
    """Return the objective (B,) at theta (B, K)."""
    size = max(1, min(512, BLOCK_VALUES // max(targets.shape[1], 1)))
    found = np.empty(len(theta))
    with np.errstate(all="ignore"):
        for first in range(0, len(theta), size):
            block = slice(first, first + size)
            residuals, _ = model.residuals(theta[block], _rows(targets, block), 0)
            penalty, _, _ = objective.weigh(residuals, False)
            found[block] = _total(penalty, _rows(weights, block))
    return np.where(np.isfinite(found), found, np.inf)


def _rows(array: Array, block: slice) -> Array:
    return array if len(array) == 1 else array[block]


def _total(penalty: Array, weights: Array) -> Array:
    """Weighted sum over rows; a row of weight zero counts nothing, whatever its penalty."""
    return np.asarray(penalty @ weights[0] if len(weights) == 1 else np.einsum("br,br->b", penalty, weights))


def _derivatives(
    model: Curve, theta: Array, weights: Array, targets: Array, objective: Objective, exact: bool
) -> tuple[Array, Array, Array]:
    """Objective (B,), gradient (B, K) and curvature (B, K, K)."""
    residuals, state = model.residuals(theta, targets, 2 if exact and model.has_curvature else 1)
    penalty, influence, curvature = objective.weigh(residuals, exact)
    value = _total(penalty, weights)
    gradient, matrix = model.expand(state, influence * weights, curvature * weights, exact and model.has_curvature)
    return np.where(np.isfinite(value), value, np.inf), gradient, matrix


def _descend_block(
    model: Curve,
    theta: Array,
    weights: Array,
    targets: Array,
    objective: Objective,
    exact: bool,
    max_steps: int,
    tolerance: float,
) -> tuple[Array, Array, NDArray[np.bool_]]:
    count = len(theta)
    theta = np.clip(theta, model.lower, model.upper)
    final, final_value, settled = theta.copy(), np.full(count, np.inf), np.zeros(count, dtype=bool)
    active = np.arange(count)
    value, gradient, matrix = _derivatives(model, theta, weights, targets, objective, exact)
    damping = np.full(count, FIRST_DAMPING)
    calm = np.zeros(count, dtype=int)
    negligible = NEGLIGIBLE * np.sum(weights, axis=1)
    negligible = np.broadcast_to(negligible, (count,))
    for _ in range(max_steps):
        check()
        step = _damped_step(theta, gradient, matrix, damping, model, exact)
        trial = np.clip(theta + step, model.lower, model.upper)
        new_value, new_gradient, new_matrix = _derivatives(model, trial, weights, targets, objective, exact)
        better = np.asarray(new_value < value)
        decrease = np.where(better, value - new_value, np.inf)
        calm = np.where(better, np.where(decrease <= tolerance * value, calm + 1, 0), calm)
        theta[better], value[better] = trial[better], new_value[better]
        gradient[better], matrix[better] = new_gradient[better], new_matrix[better]
        eased, raised = np.maximum(damping * EASED, LEAST_DAMPING), np.maximum(damping, LEAST_RAISED) * RAISED
        damping = np.where(better, eased, raised)
        done = (calm >= CALM_STEPS) | (damping > HOPELESS_DAMPING) | (value <= negligible) | ~np.isfinite(value)
        if done.any() and (done.all() or np.count_nonzero(done) * 8 >= len(done)):
            ended = active[done]
            final[ended], final_value[ended], settled[ended] = theta[done], value[done], np.isfinite(value[done])
            if done.all():
                return final, final_value, settled
            left = ~done
            active, theta, value = active[left], theta[left], value[left]
            gradient, matrix, damping, calm = gradient[left], matrix[left], damping[left], calm[left]
            negligible = negligible[left]
            weights = weights if len(weights) == 1 else weights[left]
            targets = targets if len(targets) == 1 else targets[left]
    final[active], final_value[active] = theta, value
    settled[active] = (calm >= CALM_STEPS) | (damping > HOPELESS_DAMPING) | (value <= negligible)
    return final, final_value, settled


def _damped_step(theta: Array, gradient: Array, matrix: Array, damping: Array, model: Curve, exact: bool) -> Array:
    """Levenberg-Marquardt step with coordinates frozen that press against their bound."""
    size = gradient.shape[1]
    eye = np.arange(size)
    diagonal = np.abs(matrix[:, eye, eye])
    diagonal = np.maximum(diagonal, FLAT * diagonal.max(axis=1, keepdims=True) + TINY)
    damped = matrix.copy()
    damped[:, eye, eye] += damping[:, None] * diagonal
    frozen = np.asarray(((theta <= model.lower) & (gradient > 0)) | ((theta >= model.upper) & (gradient < 0)))
    if frozen.any():
        damped[frozen[:, :, None] | frozen[:, None, :]] = 0.0
        damped[:, eye, eye] = np.where(frozen, 1.0, damped[:, eye, eye])
        gradient = np.where(frozen, 0.0, gradient)
    broken = np.asarray(~np.isfinite(damped).all(axis=(1, 2)) | ~np.isfinite(gradient).all(axis=1))
    if broken.any():
        damped[broken], gradient = np.eye(size), np.where(broken[:, None], 0.0, gradient)
    try:
        step = -np.linalg.solve(damped, gradient[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        damped[:, eye, eye] += 1e-8 * diagonal
        step = -np.linalg.solve(damped, gradient[:, :, None])[:, :, 0]
    if exact:  # an indefinite curvature can point uphill
        uphill = np.asarray(np.einsum("bk,bk->b", step, gradient) > 0)
        if uphill.any():
            step[uphill] = _away_from_saddles(damped[uphill], gradient[uphill], diagonal[uphill], damping[uphill])
    longest = LONGEST_STEP * np.maximum(1.0, np.abs(theta))
    ratio = np.max(np.abs(step) / longest, axis=1, keepdims=True)
    capped: Array = step / np.maximum(1.0, ratio)
    return capped


def _away_from_saddles(matrix: Array, gradient: Array, diagonal: Array, damping: Array) -> Array:
    """Steps (B, K) downhill with the sizes of all curvatures, in coordinates in which the diagonal (B, K) is one.

    Source: Dauphin et al. 2014 (arXiv:1406.2572).
    """
    unit = 1.0 / np.sqrt(diagonal)
    curvatures, directions = np.linalg.eigh(matrix * unit[:, :, None] * unit[:, None, :])
    least = np.maximum(np.abs(curvatures), damping[:, None] + FLAT)
    along = np.einsum("bkj,bk->bj", directions, gradient * unit) / least
    return np.asarray(-unit * np.einsum("bkj,bj->bk", directions, along))
