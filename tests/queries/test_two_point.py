"""Train and test loss of SGD on a fixed set of samples: against training, against ridge regression, and its limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isoflop.queries.theory.equivalents import power_law_modes
from isoflop.queries.theory.two_point import LinearSgd, pair_losses, sgd_losses

MODES = 300


def task(samples: float, features: float, batch_size: float, learning_rate: float, noise: float = 0.0) -> LinearSgd:
    """Variances k^-1.25 and shares k^-1.5 of the target."""
    return LinearSgd(
        modes=power_law_modes(MODES, 1.25, 1.5), samples=samples, features=features, batch_size=batch_size,
        learning_rate=learning_rate, noise=noise,
    )  # fmt: skip


def trained(asked: LinearSgd, steps: int, num_draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Test and train losses (draws, steps + 1) of four runs on each draw of samples and features."""
    number = np.arange(1, MODES + 1)
    variance = number**-1.25
    target = np.sqrt(number**-1.5 / variance)
    samples, features, batch = int(asked.samples), int(asked.features), int(asked.batch_size)
    tests, trains = [], []
    for draw in range(num_draws):
        random = np.random.default_rng(draw)
        inputs = random.standard_normal((samples, MODES)) * np.sqrt(variance)
        projection = random.standard_normal((features, MODES)) / np.sqrt(features)
        labels = inputs @ target + np.sqrt(asked.noise) * random.standard_normal(samples)
        seen = inputs @ projection.T
        weights = np.zeros((4, features))
        test, train = [], []
        for step in range(steps + 1):
            if step:
                chosen = random.integers(samples, size=(4, batch))
                misses = labels[chosen] - np.einsum("rbf,rf->rb", seen[chosen], weights)
                weights += asked.learning_rate / batch * np.einsum("rb,rbf->rf", misses, seen[chosen])
            test.append(((target - weights @ projection) ** 2 @ variance).mean())
            train.append(((labels - weights @ seen.T) ** 2).mean())
        tests.append(test)
        trains.append(train)
    return np.array(tests), np.array(trains)


@pytest.mark.parametrize(
    ("samples", "features", "batch_size", "learning_rate", "noise"),
    [(200, 100, 1, 0.15, 0.0), (100, 150, 4, 0.1, 0.2)],
)
def test_training_has_the_losses(
    samples: int, features: int, batch_size: int, learning_rate: float, noise: float
) -> None:
    asked, at = task(samples, features, batch_size, learning_rate, noise), np.array([1, 10, 50, 150, 300])
    said = sgd_losses(asked, 300)
    for found, measured, tolerance in zip((said.test, said.train), trained(asked, 300, 40), (0.04, 0.07), strict=True):
        mean, error = measured.mean(axis=0)[at], measured.std(axis=0)[at] / np.sqrt(len(measured))
        assert np.all(np.abs(found[at] - mean) < 3.5 * error), (found[at] - mean) / error
        assert np.all(np.abs(found[at] / mean - 1) < tolerance), found[at] / mean - 1


def test_before_training_the_loss_is_that_of_the_target() -> None:
    said = sgd_losses(task(200, 100, 4, 0.1, 0.3), 100)
    total = (np.arange(1, MODES + 1) ** -1.5).sum()
    assert said.test[0] == pytest.approx(total, rel=1e-5)
    assert said.train[0] == pytest.approx(total + 0.3, rel=1e-5)


def test_large_batches_are_gradient_descent_and_noise_falls_as_their_size() -> None:
    asked = task(200, 100, np.inf, 0.05)
    descent = sgd_losses(asked, 300).test[300]
    assert sgd_losses(replace(asked, batch_size=1e12), 300).test[300] == pytest.approx(descent, rel=1e-8)
    small, large = (sgd_losses(replace(asked, batch_size=size), 300).test[300] - descent for size in (16, 32))
    assert small / large == pytest.approx(2, rel=0.01) and large > 0


def test_one_ridge_is_ridge_regression() -> None:
    samples, ridge = 150, 0.02
    asked = task(samples, np.inf, np.inf, 0.1, 0.1)
    test, train = (pair[0, 0].real for pair in pair_losses(asked, np.array([ridge + 0j])))
    number = np.arange(1, MODES + 1)
    variance = number**-1.25
    target, found = np.sqrt(number**-1.5 / variance), []
    for draw in range(50):
        random = np.random.default_rng(draw)
        inputs = random.standard_normal((samples, MODES)) * np.sqrt(variance)
        labels = inputs @ target + np.sqrt(0.1) * random.standard_normal(samples)
        weights = np.linalg.solve(inputs.T @ inputs / samples + ridge * np.eye(MODES), inputs.T @ labels / samples)
        found.append((variance @ (target - weights) ** 2, np.mean((labels - inputs @ weights) ** 2)))
    mean = np.mean(found, axis=0)
    assert ridge**2 * test == pytest.approx(mean[0], rel=0.03)
    assert ridge**2 * train == pytest.approx(mean[1], rel=0.03)


def test_infinitely_many_samples_and_features_leave_each_mode_alone() -> None:
    asked = task(np.inf, np.inf, np.inf, 0.3)
    number = np.arange(1, MODES + 1)
    kept = (1 - 0.3 * number**-1.25) ** (2 * 200)
    assert sgd_losses(asked, 200).test[200] == pytest.approx((number**-1.5 * kept).sum(), rel=1e-4)


def test_a_rate_that_is_too_large_is_said() -> None:
    with pytest.raises(ArithmeticError, match="diverges"):
        sgd_losses(task(200, 100, 4, 5.0), 10)
