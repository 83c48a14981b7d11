"""Exponents of lazy and rich linear networks, and their curve against a wide network that is trained."""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.queries.theory.feature_learning import rich_curve, rich_exponents
from isoflop.queries.theory.phases import phase_of


@pytest.mark.parametrize(
    ("alpha", "beta", "difficulty", "lazy", "rich"),
    [(2, 0.5, "hard", 1 / 3, 2 / 5), (1.5, 1.2, "easy", 1.8 / 2.8, 1.8 / 2.8), (1.5, 1.5, "super-easy", 2 / 3, 2 / 3)],
)
def test_the_exponents(alpha: float, beta: float, difficulty: str, lazy: float, rich: float) -> None:
    found = rich_exponents(alpha, beta)
    assert (found.difficulty, found.compute_lazy, found.compute_rich) == (
        difficulty, pytest.approx(lazy), pytest.approx(rich),
    )  # fmt: skip


def test_the_lazy_exponents_are_those_of_the_phases() -> None:
    random = np.random.default_rng(1)
    met = set()
    for _ in range(200):
        alpha, beta = random.uniform(1.05, 3), random.uniform(0.05, 2.5)
        phase, found = phase_of(alpha / 2, (alpha * beta - alpha + 1) / 2), rich_exponents(alpha, beta)
        if phase is None:
            continue
        met.add((phase.name, found.difficulty))
        assert (phase.eta, phase.xi) == pytest.approx((found.compute_lazy, found.best_width_lazy), abs=1e-12)
    assert met == {("Ia", "hard"), ("II", "easy"), ("III", "super-easy")}


def test_a_spectrum_without_a_sum_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="above 1"):
        rich_exponents(1.0, 0.5)


@pytest.mark.slow
def test_the_curve_is_that_of_a_wide_network() -> None:
    size, width, rate, alpha, beta = 200, 4000, 0.005, 2.0, 0.5
    number = np.arange(1, size + 1)
    variance = number**-alpha
    target = np.sqrt(number ** -(alpha * beta + 1) / variance)
    features = np.random.default_rng(0).standard_normal((width, size))
    drawn = features.T @ features / width
    readout, losses = np.zeros(width), {}
    for step in range(1, int(4 / rate) + 1):
        slope = variance * (target - features.T @ readout / width)
        before = readout
        readout = readout + rate * features @ slope
        features += rate * np.outer(before, drawn @ slope)
        if step in (200, 400, 800):
            losses[step * rate] = float(variance @ (target - features.T @ readout / width) ** 2)
    said = rich_curve(alpha, beta, 1.0, np.array(list(losses)), size)
    np.testing.assert_allclose(said, list(losses.values()), rtol=0.02)


BANDS = {
    (0.5, 0): (-0.51, -0.49), (0.5, 1): (-0.69, -0.62), (0.7, 1): (-0.84, -0.79), (1.5, 0): (-1.55, -1.47),
    (1.5, 1): (-1.55, -1.47),
}  # fmt: skip


@pytest.mark.slow
def test_the_slopes_of_the_curve_and_what_a_hard_task_gains() -> None:
    at, found = np.geomspace(20, 2000, 6), {}
    for (beta, richness), (low, high) in BANDS.items():
        losses = rich_curve(2.0, beta, richness, at, 10**4)
        found[beta, richness] = np.polyfit(np.log(at), np.log(losses), 1)[0]
        assert low < found[beta, richness] < high
    assert 1.22 < found[0.5, 1] / found[0.5, 0] < 1.38


def test_more_richness_is_a_lower_loss() -> None:
    losses = [float(rich_curve(2.0, 0.5, richness, np.array([1000.0]), 400)[0]) for richness in (0.0, 0.1, 1.0)]
    assert losses == [pytest.approx(each, rel=0.05) for each in (0.0174, 0.0098, 0.0041)]
