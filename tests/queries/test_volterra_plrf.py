"""The exact risk of random features: against its recursion, against training, and its exponents."""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.lakehouse.models.random_features import draw_features
from isoflop.queries.theory.volterra_plrf import VOLTERRA_PLRF, expected_risk
from isoflop.workers import Plrf, TrainOptions


def test_the_exponents_are_those_of_the_phase() -> None:
    found = VOLTERRA_PLRF.exponents({"spectrum_exponent": 0.7, "target_exponent": 1.2})
    assert found == {"loss": pytest.approx(-0.6429, abs=1e-4), "width": 0.5}
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
