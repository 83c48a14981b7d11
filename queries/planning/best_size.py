"""The size at which a law of params and tokens is lowest, for every budget: one search, whoever asks.

The law is evaluated on a grid of log sizes, then on finer ones around the lowest, and the vertex of the parabola
through the last three points is the answer. What `OPTIMIZE` finds for the same law and budget agrees with it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FAR = 1e3  # factor beyond the sizes given within which a law's optimum is looked for
COARSE, FINE, ROUNDS = 81, 41, 3  # sizes per budget, first and then around the lowest


def best_sizes(
    predict: Callable[[Array, Array], Array], budgets: Array, per_token: float, smallest: float, largest: float
) -> Array:
    """Return the size (M,) of lowest loss on each budget.

    Parameters
    ----------
    predict : loss (N,) of params (N,) and tokens (N,); nan where the law gives none
    budgets : (M,) compute [flop]
    per_token : flops over params and tokens [flop], 6 for dense transformers
    smallest, largest : sizes [count] around which to look, a thousand times beyond either

    Returns
    -------
    sizes [count]; nan where the lowest lies at an end of what was looked at

    Example
    -------
    >>> def loss(params, tokens):
    ...     return 1.8 + 400 / params**0.3 + 400 / tokens**0.3
    >>> best_sizes(loss, np.array([6e18, 6e20]), 6.0, 1e7, 1e10).round(-3)
    array([1.e+09, 1.e+10])
    """
    low = np.full(len(budgets), np.log(smallest / FAR))
    high = np.full_like(low, np.log(largest * FAR))
    edges = low, high
    for count in (COARSE, *[FINE] * ROUNDS):
        at, low, high = _narrowed(predict, budgets, per_token, low, high, count)
    step = (edges[1] - edges[0]) / COARSE
    inside = (at > edges[0] + step) & (at < edges[1] - step)
    return np.where(inside, np.exp(at), np.nan)


def _narrowed(
    predict: Callable[[Array, Array], Array], budgets: Array, per_token: float, low: Array, high: Array, count: int
) -> tuple[Array, Array, Array]:
    """The lowest of `count` log sizes on every budget, moved to its parabola's vertex, and its neighbors."""
    logs = np.linspace(low, high, count, axis=-1)  # (M, count)
    sizes = np.exp(logs)
    tokens = budgets[:, None] / (per_token * sizes)
    values = predict(sizes.ravel(), tokens.ravel()).reshape(sizes.shape)
    best = np.clip(np.argmin(np.where(np.isfinite(values), values, np.inf), axis=-1), 1, count - 2)[..., None]
    left, middle, right = (np.take_along_axis(values, best + k, axis=-1)[..., 0] for k in (-1, 0, 1))
    center = np.take_along_axis(logs, best, axis=-1)[..., 0]
    step = (high - low) / (count - 1)
    bend = left - 2 * middle + right
    with np.errstate(all="ignore"):
        shift = np.where(bend > 0, 0.5 * (left - right) / bend, 0.0)
    return center + step * np.clip(shift, -1.0, 1.0), center - step, center + step
