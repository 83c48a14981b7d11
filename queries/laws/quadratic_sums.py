"""Sums over the directions of a noisy quadratic with a power-law spectrum, at a cost that does not grow with them.

The first hundred directions are summed one by one. The rest, up to 1e11 of them, is smooth in the logarithm of
their number and is an integral: 20 Gauss-Legendre points and the first correction of Euler and Maclaurin.

Shape letters: R runs, J nodes.

Source: Li and Maddison 2026 (arXiv:2605.09154); Euler-Maclaurin as in DLMF 2.10.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from isoflop.queries.laws.algebra.expression import Array

EXACT = 100  # directions summed one by one, at most
ASYMPTOTIC = 100.0  # first direction from which four terms of the zeta function's expansion are exact


@dataclass(frozen=True)
class Nodes:
    """Places and weights that turn a sum over directions 1 to N into a short one, for R values of N.

    Parameters
    ----------
    logs : (R, J) natural logarithm of the direction
    weights : (R, J) weights, with the correction at both ends of the integral
    open_weights : (R, J) weights without that correction
    """

    logs: Array
    weights: Array
    open_weights: Array


def nodes_for(directions: Array) -> Nodes:
    """Return nodes for sums over n = 1 to N.

    Parameters
    ----------
    directions : (R,) number N of directions [count], 1 or more

    Example
    -------
    >>> nodes = nodes_for(np.array([5000.0]))
    >>> exact = np.sum(np.arange(1, 5001) ** -1.2)
    >>> bool(abs(np.sum(nodes.weights * np.exp(-1.2 * nodes.logs)) / exact - 1) < 1e-6)
    True
    """
    total = np.maximum(np.asarray(directions, dtype=np.float64), 1.0)[:, None]  # (R, 1)
    exact = np.minimum(np.floor(total), EXACT)
    count = np.arange(1.0, EXACT + 1)
    points, areas = legendre()
    low, high = np.log(exact), np.log(total)
    inner = low + 0.5 * (points + 1.0) * (high - low)  # (R, 20)
    areas = 0.5 * (high - low) * areas * np.exp(inner)
    summed = (count <= exact).astype(np.float64)
    nothing = np.zeros_like(total)
    ends = np.where(count == exact, -0.5, 0.0)
    logs = np.concatenate([np.broadcast_to(np.log(count), summed.shape), inner, high], axis=1)
    return Nodes(
        logs,
        np.concatenate([summed + ends, areas, nothing + 0.5], axis=1),
        np.concatenate([summed, areas, nothing], axis=1),
    )


@functools.cache
def legendre() -> tuple[Array, Array]:
    """Return the 20 points and areas of Gauss-Legendre quadrature on [-1, 1]."""
    points, areas = np.polynomial.legendre.leggauss(20)
    return np.asarray(points), np.asarray(areas)


def zeta_tail(exponent: Array, first: Array) -> tuple[Array, Array]:
    """Return the sum of n^-p over all n >= a, and its derivative by p.

    Parameters
    ----------
    exponent : p > 1, any shape that broadcasts with `first`
    first : a >= 1 [count]

    Source: DLMF 25.11.43 (Hurwitz zeta for large a), after the terms below 100 one by one.
    """
    exponent, first = np.broadcast_arrays(np.asarray(exponent, np.float64), np.asarray(first, np.float64))
    total, slope = np.zeros(first.shape), np.zeros(first.shape)
    start = np.maximum(first, ASYMPTOTIC)
    if (first < ASYMPTOTIC).any():
        start = np.where(first < ASYMPTOTIC, first + ASYMPTOTIC, first)
        for k in range(int(ASYMPTOTIC)):
            log = np.log(first + k)
            term = np.where(first < ASYMPTOTIC, np.exp(-exponent * log), 0.0)
            total, slope = total + term, slope - term * log
    log = np.log(start)
    power = np.exp(-exponent * log)  # a^-p
    less = exponent - 1.0
    cubic = exponent * (exponent + 1.0) * (exponent + 2.0)
    bracket = start / less + 0.5 + exponent / (12.0 * start) - cubic / (720.0 * start**3)
    bent = -start / less**2 + 1.0 / (12.0 * start) - (3.0 * exponent**2 + 6.0 * exponent + 2.0) / (720.0 * start**3)
    return total + power * bracket, slope + power * (bent - log * bracket)
