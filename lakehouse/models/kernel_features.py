"""Random features of the Gaussian kernel, as arithmetic: points, their kernel, and features by either sampling.

    k(x, y) = exp(-|x - y|^2 / 2) = int p(w) phi(x, w) phi(y, w) dw, p = N(0, 1)      s(w) = mean over points of phi^2
    cosine     phi = sqrt(2) cos(w x + b), b uniform          positive     phi = exp(w x - |x|^2)

The best sampling is q ~ p s, with the weight p / q = 1 / s, for the mean of k(x, x) is 1. It is a mixture over the
points, so it is drawn exactly. Positive: p(w) phi(x, w)^2 = N(w; 2 x, 1). Cosine: w is as it was, and c = w x + b has
the density cos(c)^2 / pi, which is that of the angle of (g, h), h normal and g of the size of three normals.

Source: Sernau et al. 2024 (arXiv:2406.18802), for q ~ p s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
POINTS = 0  # stream of random numbers of a run from which its points are drawn


@dataclass(frozen=True)
class KernelPoints:
    """Points, and what their kernel says of errors.

    Parameters
    ----------
    points : (n, dimension)
    kernel : (n, n)
    """

    points: Floats
    kernel: Floats


@dataclass(frozen=True)
class DrawnFeatures:
    """Features of some points.

    Parameters
    ----------
    values : (K, n), phi of each feature at each point
    weights : (K,), p / q
    """

    values: Floats
    weights: Floats


def draw_points(num_points: int, dimension: int, variance: float, decay: float, seed: int) -> KernelPoints:
    """Return normal points whose coordinate j has the variance `variance` * j^-decay."""
    spread = np.sqrt(variance * np.arange(1, dimension + 1, dtype=np.float64) ** -decay)
    points = np.random.default_rng([seed, POINTS]).standard_normal((num_points, dimension)) * spread
    squares = np.add.reduce(points**2, axis=1)
    apart = np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0.0)
    np.fill_diagonal(apart, 0.0)
    return KernelPoints(points, np.exp(-apart / 2))


def draw_kernel_features(
    points: Floats, representation: str, sampling: str, count: int, generator: np.random.Generator
) -> DrawnFeatures:
    """Return features drawn independently of each other.

    Parameters
    ----------
    points : (n, dimension)
    representation : `cosine` or `positive`
    sampling : `default`, from p, or `optimal`, from q ~ p s over the points
    count : K
    """
    num_points, dimension = points.shape
    frequencies = generator.standard_normal((count, dimension))
    near = points[generator.integers(num_points, size=count)]
    if representation == "positive":
        if sampling == "optimal":
            frequencies = frequencies + 2 * near
        values: Floats = np.exp(frequencies @ points.T - np.add.reduce(points**2, axis=1))
    else:
        size = np.sqrt(np.add.reduce(generator.standard_normal((count, 3)) ** 2, axis=1))
        angle = np.arctan2(generator.standard_normal(count), size * np.sign(generator.uniform(-1, 1, count)))
        phase = generator.uniform(0, 2 * np.pi, count)
        if sampling == "optimal":
            phase = angle - np.add.reduce(frequencies * near, axis=1)
        values = np.sqrt(2) * np.cos(frequencies @ points.T + phase[:, None])
    weights = 1 / np.mean(values**2, axis=1) if sampling == "optimal" else np.ones(count)
    return DrawnFeatures(values, weights)
