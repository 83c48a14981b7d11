"""Train and test loss of SGD on a fixed set of samples: against training, against ridge regression, and its limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse.models.linear_descent import LinearDescent
from isoflop.queries.theory.equivalents import Modes, power_law_modes
from isoflop.queries.theory.student_pairs import Resolvents, Student
from isoflop.queries.theory.two_point import TWO_POINT, LinearSgd, ridge_losses, sgd_losses
from isoflop.workers import TrainOptions
from isoflop.workers.families import LinearSgd as LinearSgdRun

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
    test, train = ridge_losses(asked, ridge)
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
    assert test == pytest.approx(mean[0], rel=0.03)
    assert train == pytest.approx(mean[1], rel=0.03)


def test_a_ridge_is_tested_on_data_of_another_spectrum() -> None:
    """200 draws of linear regression on variances k^-1.25, tested on k^-0.5."""
    samples, ridge = 100, 0.01
    asked = task(samples, np.inf, np.inf, 0.1)
    number = np.arange(1, MODES + 1)
    variance, tested = number**-1.25, number**-0.5
    said = ridge_losses(asked, ridge, asked.modes.variance ** (0.5 / 1.25))[0]
    target, found = np.sqrt(number**-1.5 / variance), []
    for draw in range(200):
        random = np.random.default_rng(draw)
        inputs = random.standard_normal((samples, MODES)) * np.sqrt(variance)
        dual = np.linalg.solve(inputs @ inputs.T / samples + ridge * np.eye(samples), inputs @ target / samples)
        found.append(tested @ (target - inputs.T @ dual) ** 2)
    assert said == pytest.approx(np.mean(found), rel=0.015)
    assert ridge_losses(asked, ridge)[0] < said / 2, "the shift matters"


@pytest.mark.slow
@pytest.mark.parametrize(("times", "draws", "tolerance"), [(1, 400, 0.015), (4, 80, 0.006), (16, 8, 0.002)])
def test_two_resolvents_become_more_than_the_product_of_their_limits(times: int, draws: int, tolerance: float) -> None:
    """tr C s (s + S)^-1 M s~ (s~ + S)^-1 for diagonal C and M, 60 variances repeated, at two complex ridges."""
    number, ridges = np.arange(1, 61), (0.02 + 0.03j, 0.01 - 0.05j)
    variance, middle, outside = number**-1.2, 1 / (1 + number / 20), number**-0.5
    modes = Modes(variance, variance * middle, np.full(60, float(times)))
    student = Student(
        modes=modes, samples=30.0 * times, features=np.inf, noise=0.0, descent=LinearDescent(0.1), tested=outside,
    )  # fmt: skip
    at = Resolvents(student, -np.array(ridges))
    said = ridges[0] * ridges[1] * at.own[0].above[0, 1]
    naive = ridges[0] * ridges[1] * times * np.sum(outside * middle * at.inverse[0] * at.inverse[1])
    repeated, found = np.tile(variance, times), []
    for draw in range(draws):
        inputs = np.random.default_rng(draw).standard_normal((30 * times, 60 * times)) * np.sqrt(repeated)
        covariance = inputs.T @ inputs / len(inputs)
        first, second = (np.linalg.inv(covariance + ridge * np.eye(len(repeated))) for ridge in ridges)
        weighed = np.tile(outside, times)[:, None] * first * np.tile(middle, times)
        found.append(ridges[0] * ridges[1] * np.sum(weighed * second.T))
    mean = np.mean(found)
    assert abs(said / mean - 1) < tolerance
    assert abs(naive / mean - 1) > 0.03, "each alone is wrong together"


RUNS: dict[str, dict[str, Any]] = {
    "again and again": {"width": 100, "samples": 200, "batch_size": 1, "learning_rate": 0.15},
    "noisy labels": {"width": 150, "samples": 100, "batch_size": 4, "noise": 0.2},
    "all at once": {"samples": 100, "noise": 0.1, "learning_rate": 0.3},
    "the modes themselves": {"samples": 100, "batch_size": 2},
    "one pass": {"width": 80, "batch_size": 2, "noise": 0.1},
    "one pass, other data": {"width": 80, "batch_size": 4, "test_spectrum_exponent": 0.25},
    "other data": {"samples": 100, "batch_size": 4, "test_spectrum_exponent": 0.25},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", RUNS)
def test_runs_of_the_family_lie_where_it_says(case: str) -> None:
    at, num_runs = np.array([0, 1, 3, 10, 30, 100, 300]), 60
    settings = {"dimension": 300, "spectrum_exponent": 0.625, "target_exponent": 0.125, "steps": 300, **RUNS[case]}
    runs = [LinearSgdRun.parse({**settings, "seed": seed}) for seed in range(num_runs)]
    program = LinearSgdRun.program(runs, LinearSgdRun.device(TrainOptions()))
    said = TWO_POINT.predict({**runs[0].config(), "steps": 300, "seed": 0}, at)
    for t in range(1, len(at)):
        program.advance(int(at[t] - at[t - 1]))
        for metric, losses in program.measure().items():
            distance = (losses.mean() - said.mean[metric][t]) / (losses.std() / np.sqrt(num_runs))
            assert abs(distance) < 3.5, (at[t], metric, distance)
            assert 0.5 < said.deviation[metric][t] / losses.std() < 1.7, (at[t], metric)


def test_infinitely_many_samples_and_features_leave_each_mode_alone() -> None:
    asked = task(np.inf, np.inf, np.inf, 0.3)
    number = np.arange(1, MODES + 1)
    kept = (1 - 0.3 * number**-1.25) ** (2 * 200)
    assert sgd_losses(asked, 200).test[200] == pytest.approx((number**-1.5 * kept).sum(), rel=1e-4)


def test_a_rate_that_is_too_large_is_said() -> None:
    with pytest.raises(ArithmeticError, match="diverges"):
        sgd_losses(task(200, 100, 4, 5.0), 10)
