"""Estimated kernels: unbiased under both samplings, with the errors of the theory; what regression gains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse.models.kernel_features import draw_kernel_features, draw_points
from isoflop.queries.theory.feature_errors import OPTIMAL_FEATURE_BOUND
from isoflop.queries.theory.kernel_features import gaussian_errors
from isoflop.workers import TrainOptions
from isoflop.workers.families import KernelFeatures

ANISOTROPIC: dict[str, Any] = {"points": 60, "dimension": 4, "variance": 0.5, "variance_decay": 0.7, "features": 64}
KINDS = [("cosine", "default"), ("cosine", "optimal"), ("positive", "optimal")]


def runs_of(count: int, **settings: Any) -> list[KernelFeatures]:
    return [KernelFeatures.parse({**ANISOTROPIC, **settings, "seed": seed}) for seed in range(count)]


def measured(runs: list[KernelFeatures], marks: list[int]) -> dict[str, np.ndarray]:
    """Every metric of every run after some features, (marks, R)."""
    program = KernelFeatures.program(runs, KernelFeatures.device(TrainOptions()))
    rows, done = [], 0
    for mark in marks:
        program.advance(mark - done)
        rows.append(program.measure())
        done = mark
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize(("representation", "sampling"), [*KINDS, ("positive", "default")])
def test_estimates_are_right_in_the_mean(representation: str, sampling: str) -> None:
    variance = 0.05 if sampling == "default" else 0.5  # small enough for the mean of exponentials to be seen
    drawn = draw_points(12, 3, variance, 0.0, 1)
    features = draw_kernel_features(drawn.points, representation, sampling, 100_000, np.random.default_rng(0))
    products = features.weights[:, None, None] * features.values[:, :, None] * features.values[:, None, :]
    error = products.std(axis=0) / np.sqrt(len(products))
    distance = (products.mean(axis=0) - drawn.kernel) / np.maximum(error, 1e-12)
    assert np.abs(distance[error > 1e-9]).max() < 4.5  # the largest of 144
    np.testing.assert_allclose(products.mean(axis=0)[error <= 1e-9], drawn.kernel[error <= 1e-9], rtol=1e-9)


@pytest.mark.parametrize(("representation", "sampling"), KINDS)
def test_errors_and_their_scatter_are_those_of_the_theory(representation: str, sampling: str) -> None:
    runs, at = runs_of(100, representation=representation, sampling=sampling), np.array([0, 1, 4, 16, 64])
    found = measured(runs, at.tolist())
    said = [OPTIMAL_FEATURE_BOUND.predict({**run.config(), "seed": run.seed}, at) for run in runs]
    for place in range(1, len(at)):
        misses = found["loss"][place] - [each.mean["loss"][place] for each in said]
        assert abs(misses.mean()) < 3.5 * misses.std() / 10, at[place]
        deviation = np.sqrt(np.mean([each.deviation["loss"][place] ** 2 for each in said]))
        assert misses.std() == pytest.approx(deviation, rel=0.3)
    ratio = {"default": (1.02, 1.12), "optimal": (0.93, 1.05)}[sampling]
    assert ratio[0] < found["ratio"][1:].mean() < ratio[1]
    worth = found["effective_features"][-1]
    if sampling == "optimal":
        np.testing.assert_allclose(worth, 64, rtol=1e-9)
    else:
        assert (worth < 64).all()


def test_the_error_falls_as_one_over_the_features() -> None:
    at = [16, 32, 64, 128, 256, 512]
    losses = measured(runs_of(100, sampling="optimal", features=512), at)["loss"].mean(axis=1)
    assert np.polyfit(np.log(at), np.log(losses), 1)[0] == pytest.approx(-1, abs=0.03)


def test_exponentials_of_the_usual_sampling_are_far_from_the_bound_and_nothing_is_predicted_of_them() -> None:
    runs = runs_of(100, variance=0.8, variance_decay=0.3)
    ratio = measured(runs, [64])["ratio"][0]
    assert ratio.mean() > 10 and np.median(ratio) > 1.5
    with pytest.raises(ArithmeticError, match="tails that features do not show; 512 of them have"):
        OPTIMAL_FEATURE_BOUND.predict({**runs[0].config(), "seed": 0}, np.array([64]))


def test_many_points_have_the_bound_of_their_law() -> None:
    drawn = draw_points(3000, 2, 0.4, 0.0, 5)
    pairs = drawn.kernel[~np.eye(3000, dtype=bool)]
    assert 1 - float(np.mean(pairs**2)) == pytest.approx(gaussian_errors([0.4, 0.4]).bound, rel=0.02)


def test_regression_on_the_best_features_is_better_with_a_ridge_and_not_without() -> None:
    """Ridge regression on 64 positive exponentials, of functions that the kernel itself draws; 20 seeds."""
    wins = {1.0: 0, 1e-3: 0}  # ridge, in units of one point's kernel
    for seed in range(20):
        drawn, random = draw_points(300, 4, 0.8, 0.5, seed), np.random.default_rng([seed, 9])
        target = np.linalg.cholesky(drawn.kernel + 1e-9 * np.eye(300)) @ random.standard_normal(300)
        errors: dict[float, list[float]] = {ridge: [] for ridge in wins}
        for sampling in ("default", "optimal"):
            found = draw_kernel_features(drawn.points, "positive", sampling, 64, np.random.default_rng([seed, 1]))
            features = (found.values * np.sqrt(found.weights)[:, None]).T / 8  # (n, m)
            seen, kept = features[:200], features[200:]
            for ridge in wins:
                weights = np.linalg.solve(seen.T @ seen + ridge * np.eye(64), seen.T @ target[:200])
                errors[ridge].append(float(np.mean((target[200:] - kept @ weights) ** 2)))
        for ridge, (usual, best) in errors.items():
            wins[ridge] += best < usual
    assert wins[1.0] >= 18
    assert wins[1e-3] <= 10, "without a ridge the span of the features decides, not their kernel"
