"""Huber penalties with a fitted scale or with two sides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from run_samples import Runs

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import (
    CHINCHILLA,
    OBJECTIVES,
    POWER,
    WITH_DELTA,
    AsymmetricHuber,
    Huber,
    HuberLikelihood,
    Objective,
    find_objective,
)

ALL: list[Objective] = [
    HuberLikelihood(1.3, 0.02),
    HuberLikelihood(0.5, 0.1),
    AsymmetricHuber(0.02),
    AsymmetricHuber(0.02, 4),
]
RESIDUALS = np.array([-0.3, -0.027, -0.019, -1e-4, 1e-4, 0.019, 0.027, 0.3])


@pytest.mark.parametrize("objective", ALL, ids=repr)
def test_influence_and_curvature_are_derivatives_of_the_penalty(objective: Objective) -> None:
    step = 1e-7
    above, below = objective.weigh(RESIDUALS + step, True), objective.weigh(RESIDUALS - step, True)
    here = objective.weigh(RESIDUALS, True)
    np.testing.assert_allclose(here[1], (above[0] - below[0]) / (2 * step), atol=1e-5)
    np.testing.assert_allclose(here[2], (above[1] - below[1]) / (2 * step), atol=1e-5)


@pytest.mark.parametrize("objective", ALL, ids=repr)
def test_the_majorising_parabola_lies_above_the_penalty(objective: Objective) -> None:
    at = np.array([-0.2, -1e-3, 1e-3, 0.05])
    value, slope, curvature = objective.weigh(at, False)
    others = np.linspace(-0.5, 0.5, 201)[:, None]
    parabola = value + slope * (others - at) + 0.5 * curvature * (others - at) ** 2
    assert (parabola >= objective.weigh(np.broadcast_to(others, parabola.shape), False)[0] - 1e-12).all()


@pytest.mark.parametrize("objective", ALL, ids=repr)
def test_the_normaliser_is_the_integral_of_the_density(objective: Objective) -> None:
    grid = np.linspace(-30, 30, 2_000_001)
    for scale in (1e-3, 3e-3):
        mass = np.trapezoid(np.exp(-objective.weigh(grid, True)[0] / scale), grid)
        assert math.exp(objective.log_normalizer(scale)) == pytest.approx(mass, rel=1e-5)


def test_the_scale_is_the_most_likely_one() -> None:
    residuals = np.random.default_rng(3).laplace(0, 0.01, 500)
    weights = np.ones(500)
    for delta in (1e-3, 0.3, 1.345, 20.0):
        best = HuberLikelihood(delta).rescaled(residuals, weights)

        def cost(objective: HuberLikelihood) -> float:
            return float(objective.weigh(residuals, True)[0].mean()) + objective.log_normalizer(1.0)

        for factor in (0.9, 0.999, 1.001, 1.1):
            assert cost(best) <= cost(HuberLikelihood(delta, best.known_scale * factor)) + 1e-12
    assert HuberLikelihood(1e-3).rescaled(residuals, weights).known_scale == pytest.approx(
        1e-3 * np.abs(residuals).mean(), rel=1e-3
    )
    assert HuberLikelihood(20.0).rescaled(residuals, weights).known_scale == pytest.approx(residuals.std(), rel=1e-2)


def test_a_wide_delta_makes_the_likelihood_least_squares(planted_rows: Runs) -> None:
    wide = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, objective=HuberLikelihood(50.0), resamples=0)
    squares = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, objective=Huber(10.0), resamples=0)
    np.testing.assert_allclose(wide.coefficients, squares.coefficients, rtol=1e-5)
    assert wide.criteria.log_likelihood == pytest.approx(squares.criteria.log_likelihood, abs=0.01)


def test_rows_without_noise_come_back_whatever_the_scale(planted_rows: Runs) -> None:
    clean = CHINCHILLA.predict(np.array([1.8, 400.0, 2000.0, 0.34, 0.36]), planted_rows.inputs)
    fit = fit_law(CHINCHILLA, planted_rows.inputs, clean, objective=HuberLikelihood(), resamples=20)
    np.testing.assert_allclose(fit.coefficients, [1.8, 400.0, 2000.0, 0.34, 0.36], rtol=1e-5)


def test_runs_that_were_not_tuned_well_do_not_lift_the_curve() -> None:
    generator = np.random.default_rng(1)
    x = np.exp(generator.uniform(14, 23, 120))
    truth = np.array([1.5, 400.0, 0.3])
    badly_tuned = np.where(generator.random(120) < 0.7, generator.exponential(0.03, 120), 0.0)
    y = POWER.predict(truth, x[:, None]) * np.exp(badly_tuned + generator.normal(0, 5e-4, 120))

    def miss(objective: Objective) -> float:
        fit = fit_law(POWER, x, y, objective=objective, resamples=0)
        return float(
            np.abs(np.log(POWER.predict(fit.coefficients, x[:, None]) / POWER.predict(truth, x[:, None]))).max()
        )

    assert 3 * miss(AsymmetricHuber()) < miss(Huber())


@pytest.mark.parametrize(
    "make", [lambda: HuberLikelihood(0), lambda: HuberLikelihood(1, -1.0), lambda: AsymmetricHuber(1, 0)]
)
def test_what_is_not_positive_is_refused(make: object) -> None:
    with pytest.raises(UsageError, match="not a positive number"):
        make()  # type: ignore[operator]


def test_those_with_a_delta_take_it() -> None:
    assert set(WITH_DELTA) < set(OBJECTIVES)
    for name in WITH_DELTA:
        assert find_objective(name, 0.25).delta == 0.25  # type: ignore[attr-defined]
