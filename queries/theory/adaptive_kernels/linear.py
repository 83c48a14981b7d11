"""The adaptive kernel of a linear network of any depth under Langevin sampling: algebra in one unknown.

With x the scaled inputs and K = x x', every layer's kernel is K with a spike along K Delta, and Delta' Phi(l) Delta
grows from layer to layer by one factor, 1 + chi. With c = (1 + chi)^L, for L hidden layers,

    Delta = (c K + 1 / beta)^-1 y        f(x*) = c k(x*) Delta        chi = gamma^2 c r,   r = Delta' K Delta

The root that is found is the smallest, which the lazy one becomes as gamma grows. To leading order in 1 / N the outputs
of one sample from such a network scatter about f as a Gaussian process with the kernel M / (N gamma^2) would under the
noise 1 / (beta N gamma^2),

    M = c K + 2 c' (K Delta) (K Delta)',        c' = dc / dr = (L gamma^2 c^2 / (1 + chi)) / (1 - L chi / (1 + chi))

Source: Lauditi, Bordelon and Pehlevan 2025 (arXiv:2502.07998), appendix on deep linear networks; M is derived here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.queries.theory.adaptive_kernels.saddle import Problem
from isoflop.queries.theory.equivalents import Array

GRID = np.concatenate([[0.0], np.geomspace(1e-12, 100.0, 2000)])  # of ln(1 + chi), where a change of sign is sought


@dataclass(frozen=True)
class LinearSaddle:
    """Where the kernels of a linear network are.

    Parameters
    ----------
    growth : 1 + chi, the factor of one layer
    scale : c, that of all
    missing : (P,), Delta
    spike : s of the last kernel, K + s (K Delta) (K Delta)'
    curvature : c', of M; infinite where c has no slope
    """

    growth: float
    scale: float
    missing: Array
    spike: float
    curvature: float


def solve_linear(problem: Problem, depth: int = 1) -> LinearSaddle:
    """Return the saddle point of a linear network.

    Parameters
    ----------
    problem : its activation is not read
    depth : L, hidden layers

    Raises
    ------
    ArithmeticError : if there is none, for labels without any signal

    Example
    -------
    >>> white = Problem(inputs=np.eye(8), labels=np.eye(8)[0], activation="linear", richness=10**1.2, ridge=0.01)
    >>> round(solve_linear(white).scale, 4)
    16.3471
    """
    from scipy.optimize import brentq

    values, vectors = np.linalg.eigh(problem.inputs @ problem.inputs.T)
    values = np.maximum(values, 0.0)
    power, square = (vectors.T @ problem.labels) ** 2, problem.richness**2

    def power_missing(scale: float) -> float:
        return float(np.sum(values * power / (scale * values + problem.ridge) ** 2))

    def excess(rise: float) -> float:
        """Chi of ln(1 + chi) less gamma^2 c r."""
        scale = float(np.exp(depth * rise))
        return float(np.expm1(rise)) - square * scale * power_missing(scale)

    grid = GRID / depth  # so that c stays finite
    rise = 0.0
    if excess(0.0) < 0:
        signs = np.array([excess(each) >= 0 for each in grid])
        if not signs.any():
            raise ArithmeticError(f"the equation of {depth} linear layers has no root")
        place = int(np.argmax(signs))
        rise = float(brentq(excess, grid[place - 1], grid[place], xtol=1e-15, rtol=1e-13))
    chi, scale = float(np.expm1(rise)), float(np.exp(depth * rise))
    missing = vectors @ ((vectors.T @ problem.labels) / (scale * values + problem.ridge))
    steepness = 1 - depth * chi / (1 + chi)
    curvature = depth * square * scale**2 / (1 + chi) / steepness if steepness else np.inf
    remains = power_missing(scale)
    spike = (scale - 1) / remains if remains > 0 else 0.0
    return LinearSaddle(1 + chi, scale, missing, spike, curvature)


def layer_overlaps(problem: Problem, depth: int) -> Array:
    """Return y' Phi(l) y / |y|^2 of each layer, (L,).

    Raises
    ------
    ArithmeticError : as `solve_linear`
    """
    found = solve_linear(problem, depth)
    kernel = problem.inputs @ problem.inputs.T
    along = kernel @ found.missing
    remains, size = float(found.missing @ along), float(problem.labels @ problem.labels)
    first, spiked = float(problem.labels @ kernel @ problem.labels), float(problem.labels @ along) ** 2
    rises = found.growth ** np.arange(1, depth + 1) - 1
    return np.asarray((first + (rises / remains if remains > 0 else 0 * rises) * spiked) / size)
