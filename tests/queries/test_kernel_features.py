"""The least error of random features: on atoms by minimization, on Gaussian data by sampling."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from isoflop.queries.theory.kernel_features import (
    gaussian_errors,
    optimal_feature_bound,
    optimal_sampling,
    sampling_error,
)


def test_no_sampling_of_atoms_is_better() -> None:
    random = np.random.default_rng(0)
    density = random.dirichlet(np.ones(50))
    features = random.standard_normal((20, 50))
    power, kernel = (features**2).mean(axis=0), (features * density) @ features.T
    best = optimal_sampling(density, power)
    assert sampling_error(density, power, best, kernel) == pytest.approx(optimal_feature_bound(kernel), rel=1e-12)

    def error(logits: np.ndarray) -> float:
        sampling = np.exp(logits - logits.max())
        return sampling_error(density, power, sampling / sampling.sum(), kernel)

    found = minimize(error, np.zeros(50), method="BFGS", options={"gtol": 1e-9})
    sampling = np.exp(found.x - found.x.max())
    np.testing.assert_allclose(sampling / sampling.sum(), best, atol=1e-6)
    assert sampling_error(density, power, np.full(50, 0.02), kernel) > optimal_feature_bound(kernel)


def measured(kind: str, variance: float, dimension: int, *, is_optimal: bool = False) -> tuple[float, float]:
    """Mean squared error of single features over fresh pairs of points, and its standard error."""
    random, count = np.random.default_rng(3), 400_000
    x, y = (random.standard_normal((count, dimension)) * np.sqrt(variance) for _ in range(2))
    exact = np.exp(-((x - y) ** 2).sum(axis=1) / 2)
    spread = 1 + 4 * variance if is_optimal else 1.0
    w = random.standard_normal((count, dimension)) * np.sqrt(spread)
    weight = np.prod(np.sqrt(spread) * np.exp(-(w**2) / 2 * (1 - 1 / spread)), axis=1)
    if kind == "positive":
        product = np.exp((w * (x + y)).sum(axis=1) - (x**2 + y**2).sum(axis=1))
        # k has exp(-|x|^2/2 - |y|^2/2 + x y), whose features are exp(w x - |x|^2)
    else:
        phase = random.uniform(0, 2 * np.pi, count)
        product = 2 * np.cos((w * x).sum(axis=1) + phase) * np.cos((w * y).sum(axis=1) + phase)
    errors = (weight * product - exact) ** 2
    return float(errors.mean()), float(errors.std() / np.sqrt(count))


def test_cosines_and_optimally_sampled_exponentials_have_their_errors() -> None:
    for variance, dimension in ((0.3, 2), (1.0, 1)):
        said = gaussian_errors([variance] * dimension)
        found, error = measured("cosine", variance, dimension)
        assert abs(found - said.cosine) < 4 * error
        found, error = measured("positive", variance, dimension, is_optimal=True)
        assert abs(found - said.bound) < 4 * error and said.positive is None


def test_exponentials_drawn_as_usual_have_theirs() -> None:
    said = gaussian_errors([0.04, 0.04])
    found, error = measured("positive", 0.04, 2)
    assert said.positive is not None and abs(found - said.positive) < 4 * error
    assert said.bound < said.cosine and said.bound < said.positive


def test_the_bound_of_a_sample_is_near_that_of_its_law() -> None:
    points = np.random.default_rng(1).standard_normal((1500, 2)) * np.sqrt([0.2, 0.6])
    distance = ((points[:, None] - points) ** 2).sum(axis=2)
    assert optimal_feature_bound(np.exp(-distance / 2)) == pytest.approx(gaussian_errors([0.2, 0.6]).bound, rel=0.02)
