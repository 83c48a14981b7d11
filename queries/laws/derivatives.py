"""Derivatives by differences, for every function that has no formula for them.

A step is chosen by the caller, who knows in which coordinate the function is smooth: `CENTRAL` times the size of a
coordinate balances what the step leaves out against what rounding hides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from isoflop.queries.laws.algebra.expression import Array

Function = Callable[[Array], Array]

CENTRAL = 6e-6  # relative step [1] of central differences: the cube root of the rounding error of a double
_OFFSETS = np.array([-2.0, -1.0, 1.0, 2.0])
_WEIGHTS = np.array([1.0, -8.0, 8.0, -1.0]) / 12


def differences(function: Function, at: Array, steps: Array) -> Array:
    """Return how much a function changes from one step below to one step above, by each coordinate.

    Parameters
    ----------
    function : takes points (..., K) to values (..., R)
    at : (..., K) points
    steps : (..., K) or (K,) positive steps

    Returns
    -------
    (..., K, R), the change over two steps

    Example
    -------
    >>> differences(lambda points: points**2, np.array([3.0]), np.array([0.5]))
    array([[6.]])
    """
    moves = steps[..., None, :] * np.eye(at.shape[-1])  # (..., K, K)
    above = np.asarray(function(at[..., None, :] + moves), dtype=np.float64)
    below = np.asarray(function(at[..., None, :] - moves), dtype=np.float64)
    return above - below


def central(function: Function, at: Array, steps: Array) -> Array:
    """Return the slopes (..., K, R) of a function by central differences, good to the square of the steps.

    Parameters
    ----------
    function, at, steps : as for `differences`

    Example
    -------
    >>> central(lambda points: points**2, np.array([3.0]), np.array([0.5]))
    array([[6.]])
    """
    return differences(function, at, steps) / (2 * steps[..., None])


def fourth_order(function: Function, at: Array, free: Sequence[int], steps: Array) -> tuple[Array, Array]:
    """Return values and slopes by differences that are good to the fourth power of the steps.

    Where a step leads out of the function's domain, the difference is taken on the side that has values.

    Parameters
    ----------
    function : takes points (M, V) to values (C, M)
    at : (V,) point
    free : F coordinates to move
    steps : (F,) positive steps

    Returns
    -------
    (C,) values and (C, F) slopes; nan where there are none

    Example
    -------
    >>> value, slopes = fourth_order(lambda points: points.T**3, np.array([2.0]), [0], np.array([0.1]))
    >>> value, slopes.round(12)
    (array([8.]), array([[12.]]))
    """
    moves = np.zeros((len(free), len(_OFFSETS), len(at)))
    for f, v in enumerate(free):
        moves[f, :, v] = _OFFSETS * steps[f]
    found = function(np.concatenate([at[None], at + moves.reshape(-1, len(at))]))
    here = found[:, 0]
    around = found[:, 1:].reshape(len(found), len(free), len(_OFFSETS))
    slopes = (around @ _WEIGHTS) / steps
    with np.errstate(all="ignore"):
        ahead = (around[..., 2] - here[:, None]) / steps
        behind = (here[:, None] - around[..., 1]) / steps
    return here, np.where(np.isfinite(slopes), slopes, np.where(np.isfinite(ahead), ahead, behind))
