"""The exact risk of random features: against its recursion, against training, and its exponents as published."""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.lakehouse.models.random_features import draw_features
from isoflop.queries.theory.volterra_plrf import VOLTERRA_PLRF, expected_risk, frontier
from isoflop.workers import Plrf, TrainOptions

# alpha, beta, eta, xi of the paper's phases Ia to IVb (arXiv:2405.15074)
PUBLISHED = [
    (0.7, 0.3, 0.4167, 0.4167), (1.2, 0.2, 0.5294, 0.2941), (0.4, 0.3, 0.2, 0.5), (0.3, 0.4, 0.2, 0.5),
    (0.2, 0.7, 0.2222, 0.5556), (0.15, 1.2, 0.1711, 0.5705), (1.0, 0.7, 0.7059, 0.4118), (0.7, 0.6, 0.6154, 0.4615),
    (0.7, 1.2, 0.6429, 0.5), (0.6, 0.9, 0.5833, 0.5), (0.45, 0.8, 0.45, 0.5), (0.35, 0.7, 0.35, 0.5),
    (0.27, 0.7, 0.2875, 0.5718), (0.28, 1.5, 0.2996, 0.6489),
]  # fmt: skip


@pytest.mark.parametrize(("alpha", "beta", "eta", "xi"), PUBLISHED)
def test_the_exponents_are_those_published(alpha: float, beta: float, eta: float, xi: float) -> None:
    assert frontier(alpha, beta) == pytest.approx((eta, xi), abs=1e-4)
    found = VOLTERRA_PLRF.exponents({"spectrum_exponent": alpha, "target_exponent": beta})
    assert found == {"loss": pytest.approx(-eta, abs=1e-4), "width": pytest.approx(xi, abs=1e-4)}


def test_there_is_no_power_law_below_the_line() -> None:
    assert frontier(0.2, 0.2) is None
    assert VOLTERRA_PLRF.exponents({"spectrum_exponent": 0.2, "target_exponent": 0.2}) == {}


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(("ambient", "width"), [(60, 12), (12, 12)])
def test_any_step_at_once_is_the_recursion_step_by_step(ambient: int, width: int, batch_size: int) -> None:
    features, rate, steps = draw_features(ambient, width, 0.8, 0.7, (1,)), 0.1, 1000
    omega, rho = features.eigenvalues, features.target**2
    kept = 1 - 2 * rate * batch_size * omega + rate**2 * batch_size * (batch_size + 1) * omega**2
    found = expected_risk(features, rate, batch_size, np.arange(steps + 1))
    for step in range(steps + 1):
        np.testing.assert_allclose(found[step], rho, rtol=1e-9, atol=1e-12)
        rho = kept * rho + rate**2 * batch_size * omega**2 * (rho.sum() + features.residual)


@pytest.mark.parametrize(("alpha", "beta", "batch_size"), [(0.8, 0.7, 1), (0.4, 0.8, 1), (0.75, 1.0, 2), (1.2, 0.2, 8)])
def test_the_mean_of_many_runs_lies_where_it_says(alpha: float, beta: float, batch_size: int) -> None:
    """300 runs on the same features: their mean, and how far they scatter."""
    shared = {"width": 20, "spectrum_exponent": alpha, "target_exponent": beta, "batch_size": batch_size}
    runs = [Plrf(**shared, feature_seed=7, steps=400, seed=seed) for seed in range(300)]
    program = Plrf.program(runs, Plrf.device(TrainOptions()))
    at = np.array([0, 20, 100, 400])
    found = VOLTERRA_PLRF.predict({**runs[0].config(), "seed": 0}, at)
    mean, deviation = found.mean["loss"], found.deviation["loss"]
    for t in range(1, len(at)):
        program.advance(int(at[t] - at[t - 1]))
        losses = program.measure()["loss"]
        assert abs(losses.mean() - mean[t]) < 4 * losses.std() / np.sqrt(len(runs))
        assert abs(losses.mean() - mean[t]) < deviation[t]
        assert losses.std() == pytest.approx(deviation[t], rel=0.35)
