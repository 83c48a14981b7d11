"""Deep linear networks as arithmetic: the weights that a seed draws, and the function that weights compute.

    V0 (N, D) and V1 to V(L-1) (N, N), entries N(0, 1 / columns); w (N,), entries N(0, 1)
    g(L) = w,  g(l) = V(l)^T g(l+1), with residual branches g(l+1) + b V(l)^T g(l+1)       u = V0^T g(1) / (gamma nu)

What trains and what predicts draw the same weights from the same run.

Source: Bordelon and Pehlevan 2025 (arXiv:2502.02531), for the scalings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def draw_layers(dimension: int, width: int, depth: int, seed: int) -> list[Floats]:
    """Return V0, V1 to V(L-1) and w of a seed."""
    generator = np.random.default_rng(seed)
    inputs = [dimension, *[width] * (depth - 1)]
    return [
        *(generator.standard_normal((width, count)) / np.sqrt(count) for count in inputs),
        generator.standard_normal(width),
    ]


def learned_by(weights: list[Floats], scale: float, branch: float | None) -> tuple[Floats, list[Floats]]:
    """Return the network as a vector on the modes, u, (D,), and its backward pass g(1) to g(L), each (N,).

    Parameters
    ----------
    weights : V0, V1 to V(L-1) and w
    scale : gamma nu
    branch : b, factor of a residual branch; None without residuals
    """
    *hidden, last = weights
    backward = [last]
    for matrix in hidden[:0:-1]:
        passed = matrix.T @ backward[0]
        backward.insert(0, passed if branch is None else backward[0] + branch * passed)
    return hidden[0].T @ backward[0] / scale, backward


def gamma_of(richness: float, parametrization: str, ratio: float) -> float:
    """Return gamma of the richness given: that itself for `mean_field`, over the root of nu = N / D for `ntk`."""
    return richness if parametrization == "mean_field" else float(richness / np.sqrt(ratio))


def branch_of(scale: float | None, exponent: float | None, depth: int) -> float | None:
    """Return the factor b of a residual branch, scale / L^exponent; None for a plain network."""
    return None if scale is None or exponent is None else float(scale * depth**-exponent)
