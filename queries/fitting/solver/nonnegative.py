"""Least squares with non-negative unknowns, for many small problems at once.

The optimum is the ordinary solution on some subset of the unknowns, with the others at zero, and that subset is
the one whose solution is feasible and lowest. With at most a handful of unknowns all subsets are tried, which is
exact, has no iteration to tune and runs over a whole batch in a few calls.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST_UNKNOWNS = 10  # 2^10 subsets
RIDGE = 1e-13  # relative to the diagonal: keeps proportional columns solvable without moving the answer


def solve_nonnegative(gram: Array, moment: Array, signed: NDArray[np.bool_] | None = None) -> Array:
    """Return the minimizer of `x G x / 2 - m x` with x >= 0.

    Parameters
    ----------
    gram : (..., J, J) positive semi-definite matrices G
    moment : (..., J) vectors m
    signed : (J,) which unknowns may be negative; none when not given

    Returns
    -------
    (..., J) float array; zeros where an unknown is left out

    Raises
    ------
    ValueError : if J exceeds 10

    Example
    -------
    >>> solve_nonnegative(np.eye(2), np.array([3.0, -1.0]))
    array([3., 0.])
    """
    count = moment.shape[-1]
    if count > MOST_UNKNOWNS:
        raise ValueError(f"{count} unknowns, at most {MOST_UNKNOWNS} can be solved together")
    signs = np.zeros(count, dtype=bool) if signed is None else signed
    shape = moment.shape
    grams, moments = gram.reshape(-1, count, count), moment.reshape(-1, count)
    best, gain = _on_subset(grams, moments, list(range(count)), signs)
    pending = np.flatnonzero(gain < 0)
    optional = [k for k in range(count) if not signs[k]]
    for size in range(len(optional)) if pending.size else ():
        for kept in itertools.combinations(optional, size):
            subset = sorted([*kept, *np.flatnonzero(signs)])
            found, reached = _on_subset(grams[pending], moments[pending], subset, signs)
            better = reached > gain[pending]
            best[pending[better]], gain[pending[better]] = found[better], reached[better]
    return best.reshape(shape)


def _on_subset(grams: Array, moments: Array, subset: list[int], signs: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Solutions with only `subset` in play and the decrease they give; -1 where one is infeasible."""
    found = np.zeros_like(moments)
    if not subset:
        return found, np.zeros(len(moments))
    part = grams[:, subset][:, :, subset].copy()
    diagonal = np.einsum("bkk->bk", part)
    scale = np.sqrt(np.maximum(diagonal, 1e-300))
    part /= scale[:, :, None] * scale[:, None, :]
    part[:, range(len(subset)), range(len(subset))] += RIDGE
    right = moments[:, subset] / scale
    with np.errstate(all="ignore"):
        usable = np.isfinite(part).all(axis=(1, 2)) & np.isfinite(right).all(axis=1)
        part[~usable], right[~usable] = np.eye(len(subset)), 0.0
        solved = np.linalg.solve(part, right[:, :, None])[:, :, 0]
        gain = np.einsum("bk,bk->b", solved, right)
        feasible = usable & ((solved >= 0) | signs[subset]).all(axis=1) & np.isfinite(gain)
        found[:, subset] = solved / scale
    return found, np.where(feasible, gain, -1.0)
