"""Compiled descent of sums of powers; imported only where numba is installed. The steps are those of `newton`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

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

FAST = {"contract", "reassoc", "nsz", "arcp"}
LOG2_E = 1.4426950408889634  # log2(e)
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # ln 2 in two parts: multiples of the first are exact
ONE_BITS, MANTISSA_BITS = 0x3FF0000000000000, 0x000FFFFFFFFFFFFF  # of a double: 1.0, and the mask of the mantissa
ROOT_TWO = 1.4142135623730951  # mantissas are moved to between its inverse and it


@numba.njit(cache=True, fastmath={"contract"})  # the two parts of ln 2 must stay apart
def _exp_in_place(x: Any, bits: Any) -> None:
    """Replace x by its exponential: 2^n times a polynomial, in loops that become vector instructions."""
    scale = bits.view(np.float64)
    for i in range(len(x)):
        value = min(max(x[i], -700.0), 700.0)
        whole = np.floor(value * LOG2_E + 0.5)
        r = value - whole * LN2_HIGH - whole * LN2_LOW
        p = 1.0 / 6227020800.0
        p = p * r + 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
        x[i] = (p * r + 1.0) * r + 1.0
        bits[i] = (np.int64(whole) + 1023) << 52
    for i in range(len(x)):
        x[i] *= scale[i]


@numba.njit(cache=True, fastmath={"contract"})
def _log_into(x: Any, found: Any, bits: Any) -> None:
    """Write the logarithm of positive x into found: exponent times ln 2, and a series in (m - 1) / (m + 1)."""
    source, mantissa = x.view(np.int64), bits.view(np.float64)
    for i in range(len(x)):
        bits[i] = (source[i] & MANTISSA_BITS) | ONE_BITS
        found[i] = np.float64((source[i] >> 52) - 1023)
    for i in range(len(x)):
        is_high = mantissa[i] > ROOT_TWO
        m = 0.5 * mantissa[i] if is_high else mantissa[i]
        power = found[i] + 1.0 if is_high else found[i]
        z = (m - 1.0) / (m + 1.0)
        w = z * z
        p = 1.0 / 23.0
        p = p * w + 1.0 / 21.0
        p = p * w + 1.0 / 19.0
        p = p * w + 1.0 / 17.0
        p = p * w + 1.0 / 15.0
        p = p * w + 1.0 / 13.0
        p = p * w + 1.0 / 11.0
        p = p * w + 1.0 / 9.0
        p = p * w + 1.0 / 7.0
        p = p * w + 0.2
        p = p * w + 1.0 / 3.0
        found[i] = 2.0 * z * (1.0 + w * p) + power * LN2_LOW + power * LN2_HIGH


@numba.njit(cache=True, fastmath=FAST)
def _evaluate(
    theta: Any, rows: Any, tables: Any, penalty: Any, exact: bool, room: Any, gradient: Any, matrix: Any
) -> float:
    """Objective of one problem; gradient (K,) and matrix (K, K) are written in place.

    rows : weights and targets (R,); tables : as of `term_tables`, on those rows; penalty : as of `penalty_of`;
    room : of `_room`, in which the rows of each term are worked out
    """
    weights, targets = rows
    widths, indices, regressors, offsets = tables
    delta, factor = penalty
    logs, total, pull, both, bits = room
    num_terms, num_rows = offsets.shape
    total[:] = 0.0
    for j in range(num_terms):
        share = logs[j]
        for i in range(num_rows):
            share[i] = offsets[j, i]
        for d in range(widths[j]):
            value = theta[indices[j, d]]
            for i in range(num_rows):
                share[i] += value * regressors[j, d, i]
        _exp_in_place(share, bits)
        for i in range(num_rows):
            total[i] += share[i]
    _log_into(total, both, bits)
    found = 0.0
    for i in range(num_rows):
        residual = targets[i] - both[i]
        size = abs(residual)
        inner = min(size, delta)
        found += weights[i] * inner * (size - 0.5 * inner) * factor
        influence = min(max(residual, -delta), delta)
        curvature = (1.0 if size <= delta else 0.0) if exact else (1.0 if size <= delta else delta / size)
        pull[i] = weights[i] * influence * factor
        both[i] = weights[i] * curvature * factor + (pull[i] if exact else 0.0)
        total[i] = 1.0 / total[i]
    gradient[:] = 0.0
    matrix[:] = 0.0
    for j in range(num_terms):
        share = logs[j]
        for i in range(num_rows):
            share[i] *= total[i]
    mixed = total  # its values are in the shares by now
    for j in range(num_terms):
        share = logs[j]
        for i in range(num_rows):
            mixed[i] = pull[i] * share[i]
        for d in range(widths[j]):
            slope = 0.0
            for i in range(num_rows):
                slope += mixed[i] * regressors[j, d, i]
            gradient[indices[j, d]] -= slope
        for i in range(num_rows):
            mixed[i] = both[i] * share[i] * share[i] - (mixed[i] if exact else 0.0)
        for d in range(widths[j]):
            first = indices[j, d]
            for e in range(d + 1):
                second = indices[j, e]
                bend = 0.0
                for i in range(num_rows):
                    bend += mixed[i] * regressors[j, d, i] * regressors[j, e, i]
                matrix[first, second] += bend
                if d != e:
                    matrix[second, first] += bend
        for k in range(j + 1, num_terms):
            other = logs[k]
            for i in range(num_rows):
                mixed[i] = both[i] * share[i] * other[i]
            for d in range(widths[j]):
                first = indices[j, d]
                for e in range(widths[k]):
                    second = indices[k, e]
                    bend = 0.0
                    for i in range(num_rows):
                        bend += mixed[i] * regressors[j, d, i] * regressors[k, e, i]
                    matrix[first, second] += bend
                    matrix[second, first] += bend
    return found


@numba.njit(cache=True)
def _solve(matrix: Any, right: Any) -> bool:
    """Solve in place by elimination with row exchange; False when a pivot is zero."""
    size = len(right)
    for k in range(size):
        best = k
        for i in range(k + 1, size):
            if abs(matrix[i, k]) > abs(matrix[best, k]):
                best = i
        if matrix[best, k] == 0.0:
            return False
        if best != k:
            for c in range(size):
                matrix[k, c], matrix[best, c] = matrix[best, c], matrix[k, c]
            right[k], right[best] = right[best], right[k]
        for i in range(k + 1, size):
            ratio = matrix[i, k] / matrix[k, k]
            for c in range(k, size):
                matrix[i, c] -= ratio * matrix[k, c]
            right[i] -= ratio * right[k]
    for k in range(size - 1, -1, -1):
        for c in range(k + 1, size):
            right[k] -= matrix[k, c] * right[c]
        right[k] /= matrix[k, k]
    return True


@numba.njit(cache=True)
def _step(theta: Any, gradient: Any, matrix: Any, damping: float, box: Any, exact: bool, work: Any, step: Any) -> None:
    """Levenberg-Marquardt step with coordinates frozen that press against their bound.

    box : lowest and highest coordinates (K,); work (K, K) is overwritten, step (K,) is the answer
    """
    lower, upper = box
    size = len(theta)
    largest = 0.0
    for k in range(size):
        largest = max(largest, abs(matrix[k, k]))
    smallest = FLAT * largest + TINY
    is_broken = False
    for k in range(size):
        step[k] = -gradient[k]
        is_broken = is_broken or not np.isfinite(gradient[k])
        for c in range(size):
            work[k, c] = matrix[k, c]
            is_broken = is_broken or not np.isfinite(matrix[k, c])
        work[k, k] += damping * max(abs(matrix[k, k]), smallest)
    for k in range(size):
        if (theta[k] <= lower[k] and gradient[k] > 0) or (theta[k] >= upper[k] and gradient[k] < 0):
            for c in range(size):
                work[k, c] = 0.0
                work[c, k] = 0.0
            work[k, k] = 1.0
            step[k] = 0.0
    if is_broken or not _solve(work, step):
        for k in range(size):
            step[k] = 0.0
        return
    if exact:
        uphill = 0.0
        for k in range(size):
            uphill += step[k] * gradient[k]
        if uphill > 0:
            for k in range(size):
                pressed = (theta[k] <= lower[k] and gradient[k] > 0) or (theta[k] >= upper[k] and gradient[k] < 0)
                step[k] = 0.0 if pressed else -gradient[k] / (max(abs(matrix[k, k]), smallest) * (1.0 + damping))
    ratio = 1.0
    for k in range(size):
        ratio = max(ratio, abs(step[k]) / (LONGEST_STEP * max(1.0, abs(theta[k]))))
    for k in range(size):
        step[k] /= ratio


@numba.njit(cache=True)
def _weighted_rows(weights: Any, targets: Any, regressors: Any, offsets: Any) -> tuple[Any, Any, Any, Any]:
    """The rows of one problem that weigh anything: of a case resample that is 63 in 100, and cost goes with rows."""
    kept = np.flatnonzero(weights)
    if len(kept) > 0.9 * len(weights):
        return weights, targets, regressors, offsets
    num_terms, widest, _ = regressors.shape
    own_weights, own_targets = np.empty(len(kept)), np.empty(len(kept))
    own_regressors, own_offsets = np.empty((num_terms, widest, len(kept))), np.empty((num_terms, len(kept)))
    for i in range(len(kept)):
        own_weights[i], own_targets[i] = weights[kept[i]], targets[kept[i]]
    for j in range(num_terms):
        for i in range(len(kept)):
            own_offsets[j, i] = offsets[j, kept[i]]
        for d in range(widest):
            for i in range(len(kept)):
                own_regressors[j, d, i] = regressors[j, d, kept[i]]
    return own_weights, own_targets, own_regressors, own_offsets


@numba.njit(cache=True)
def _room(num_terms: int, num_rows: int) -> tuple[Any, Any, Any, Any, Any]:
    """Room to evaluate a problem in: (J, R) of the terms, three of (R,), and the bits of (R,) numbers."""
    total, pull, both = np.empty(num_rows), np.empty(num_rows), np.empty(num_rows)
    return np.empty((num_terms, num_rows)), total, pull, both, np.empty(num_rows, dtype=np.int64)


@numba.njit(cache=True, nogil=True)
def descend(
    theta: Any, weights: Any, targets: Any, box: Any, tables: Any, penalty: Any, how: Any
) -> tuple[Any, Any, Any]:
    """Ends (B, K), objectives (B,) and whether each descent converged.

    box : lowest and highest coordinates (K,); tables : as of `term_tables`; penalty : as of `penalty_of`;
    how : exact, max_steps and tolerance as for `newton.descend`
    """
    lower, upper = box
    widths, indices, regressors, offsets = tables
    exact, max_steps, tolerance = how
    count, size = theta.shape
    num_terms = len(offsets)
    ends = theta.copy()
    values = np.full(count, np.inf)
    settled = np.zeros(count, dtype=np.bool_)
    for b in range(count):
        own_weights, own_targets, own_regressors, own_offsets = _weighted_rows(
            weights[b] if len(weights) > 1 else weights[0], targets[b] if len(targets) > 1 else targets[0],
            regressors, offsets,
        )  # fmt: skip
        rows, own_tables = (own_weights, own_targets), (widths, indices, own_regressors, own_offsets)
        room = _room(num_terms, len(own_weights))
        gradient, new_gradient, step, trial = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
        matrix, new_matrix, work = np.empty((size, size)), np.empty((size, size)), np.empty((size, size))
        point = ends[b]
        if not np.isfinite(point).all():
            continue
        value = _evaluate(point, rows, own_tables, penalty, exact, room, gradient, matrix)
        if not np.isfinite(value):
            continue
        negligible = NEGLIGIBLE * own_weights.sum()
        damping, calm = FIRST_DAMPING, 0
        done = False
        for _ in range(max_steps):
            _step(point, gradient, matrix, damping, box, exact, work, step)
            for k in range(size):
                trial[k] = min(max(point[k] + step[k], lower[k]), upper[k])
            new_value = _evaluate(trial, rows, own_tables, penalty, exact, room, new_gradient, new_matrix)
            if new_value < value:
                calm = calm + 1 if value - new_value <= tolerance * value else 0
                value = new_value
                for k in range(size):
                    point[k] = trial[k]
                    gradient[k] = new_gradient[k]
                    for c in range(size):
                        matrix[k, c] = new_matrix[k, c]
                damping = max(damping * EASED, LEAST_DAMPING)
            else:
                damping = max(damping, LEAST_RAISED) * RAISED
            done = calm >= CALM_STEPS or damping > HOPELESS_DAMPING or value <= negligible
            if done:
                break
        values[b] = value
        settled[b] = done
    return ends, values, settled
