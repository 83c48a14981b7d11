"""The least error of random features: what sampling can do for the estimate of a kernel, whatever its representation.

A kernel k(x, y) = int p(w) phi(x, w) phi(y, w) dw is estimated from m independent w_i ~ q, each weighted by p / q. For
x and y independent, and s(w) = E phi(x, w)^2, the mean squared error over pairs is

    (1/m) (int p^2 s^2 / q dw - E k(x, y)^2)        least for q ~ p s, where it is (1/m) ((E k(x, x))^2 - E k(x, y)^2)

The least error holds the kernel and the data alone: every representation reaches it under its own q, and none that is
sampled independently goes below. Features that are drawn together (a cosine and its sine, orthogonal draws) can.

For the kernel exp(-|x - y|^2 / 2) and x ~ N(0, S), S diagonal, all of it is closed: E k^2 = prod (1 + 4 S)^-1/2,
cosines with a random phase have int p s^2 = 1 + prod (1 + 8 S)^-1/2 / 2, positive exponentials exp(w x - x^2) have

    int p s^2 = prod (1 + 4 S)^-1 (1 - 8 S / (1 + 4 S))^-1/2

without end from S = 1/4 on, and their q is N(0, 1 + 4 S).

Source: Sernau et al. 2024 (arXiv:2406.18802); derived by Cauchy and Schwarz.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoflop.queries.theory.equivalents import Array


@dataclass(frozen=True)
class FeatureErrors:
    """Mean squared errors of one random feature; m of them have the m-th part.

    Parameters
    ----------
    bound : the least
    cosine : of cosines with a random phase, w drawn from p
    positive : of positive exponentials, w drawn from p; None where it has no end
    """

    bound: float
    cosine: float
    positive: float | None


def gaussian_errors(variances: Sequence[float]) -> FeatureErrors:
    """Return the errors for the kernel exp(-|x - y|^2 / 2) and independent normal coordinates.

    Parameters
    ----------
    variances : of each coordinate, > 0

    Example
    -------
    >>> gaussian_errors([0.5]).bound == 1 - 3**-0.5
    True
    """
    spread = np.asarray(variances, dtype=np.float64)
    squared = float(np.prod((1 + 4 * spread) ** -0.5))
    left = 1 - 8 * spread / (1 + 4 * spread)
    positive = None
    if np.all(left > 0):
        positive = float(np.prod(1 / (1 + 4 * spread) * left**-0.5)) - squared
    return FeatureErrors(1 - squared, 1 + float(np.prod((1 + 8 * spread) ** -0.5)) / 2 - squared, positive)


def optimal_feature_bound(kernel: Array) -> float:
    """Return the least error of one random feature for a kernel matrix (n, n), on data drawn from its points."""
    return float(np.mean(np.diag(kernel)) ** 2 - np.mean(kernel**2))


def optimal_sampling(density: Array, power: Array) -> Array:
    """Return the probabilities (K,) of atoms at which the error is least.

    Parameters
    ----------
    density : (K,) p, sums to 1
    power : (K,) s, mean of phi^2 over the data
    """
    found: Array = density * power / float(density @ power)
    return found


def sampling_error(density: Array, power: Array, sampling: Array, kernel: Array) -> float:
    """Return the error of one feature of atoms drawn with probabilities `sampling` (K,), for a kernel matrix (n, n)."""
    there = density * power > 0
    weighed = float(np.sum((density[there] * power[there]) ** 2 / sampling[there]))
    return weighed - float(np.mean(kernel**2))
