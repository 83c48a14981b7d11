"""What the laws say about one another: limits in which they agree, and where their fits part."""

from __future__ import annotations

import numpy as np

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import (
    ADDITIVE,
    BNSL,
    BOUNDED_POWER,
    CHINCHILLA,
    CHINCHILLA_TIED,
    DATA_CONSTRAINED,
    LOSS_IN_TIME,
    OVERTRAINING,
    POWER,
    PRECISION,
    SATURATING_POWER,
    SHIFTED_POWER,
    SMOOTH_MAX,
)

SIZES = np.exp(np.random.default_rng(0).uniform([16, 20], [23, 26], (50, 2)))  # params, tokens


def test_laws_contain_one_another() -> None:
    five, x = np.array([1.8, 400.0, 2000.0, 0.34, 0.34]), SIZES[:, :1]
    plain = CHINCHILLA.predict(five, SIZES)
    np.testing.assert_allclose(CHINCHILLA_TIED.predict(five[:4], SIZES), plain)
    ratio = np.column_stack([SIZES[:, 0], SIZES[:, 1] / SIZES[:, 0]])
    np.testing.assert_allclose(OVERTRAINING.predict(five[:4], ratio), plain)
    bits = np.column_stack([SIZES, np.full((50, 3), 1e4)])
    np.testing.assert_allclose(PRECISION.predict(np.array([*five, 2.7, 2.2, 1.0]), bits), plain)
    seconds = np.column_stack([SIZES[:, 0], np.full((50, 2), [1e5, 0.25]), SIZES[:, 1] * 0.25 / 1e5])
    np.testing.assert_allclose(LOSS_IN_TIME.predict(five, seconds), plain)
    power = POWER.predict(np.array([1.5, 30.0, 0.2]), x)
    np.testing.assert_allclose(SHIFTED_POWER.predict(np.array([1.5, 30.0, 0.0, 0.2]), x), power)
    np.testing.assert_allclose(BNSL.predict(np.array([1.5, 30.0, 0.2, 0.0, 1e8, 0.3]), x), power)
    saturated = SATURATING_POWER.predict(np.array([30.0, 0.0, 0.2]), x)
    np.testing.assert_allclose(saturated, power - 1.5)


def test_the_bounded_law_ends_in_its_bounds_and_is_a_power_between() -> None:
    far = np.array([[1e-30], [1e30]])
    np.testing.assert_allclose(BOUNDED_POWER.predict(np.array([1.0, 4.0, 50.0, 0.5, 0.7]), far), [4.0, 1.0])
    high = np.array([1.0, 1e9, 50.0 * 1e9**-1.0, 0.5, 1.0])  # an upper bound out of reach
    x = np.array([[1e4], [1e8]])
    np.testing.assert_allclose(BOUNDED_POWER.predict(high, x), 1.0 + 50.0 / x[:, 0] ** 0.5, rtol=1e-8)
    assert np.isnan(BOUNDED_POWER.predict(np.array([4.0, 1.0, 50.0, 0.5, 0.7]), x)).all()


def test_repeated_tokens_are_worth_less_until_they_are_worth_nothing() -> None:
    paper = np.array([1.87, 521.0, 1488.0, 0.353, 0.353, 15.4, 5.31])
    fresh = CHINCHILLA.predict(paper[:5], SIZES)
    once = DATA_CONSTRAINED.predict(paper, np.column_stack([SIZES, np.ones(50)]))
    small = SIZES[:, 0] <= SIZES[:, 1] * (521 / 1488) ** (1 / 0.353)
    np.testing.assert_allclose(once[small], fresh[small], rtol=1e-12)
    assert np.all(once[~small] > fresh[~small])
    epochs = np.array([1.0, 2.0, 4.0, 16.0, 100.0, 1000.0])
    rows = np.column_stack([np.full(6, 1e8), np.full(6, 1e9), epochs])
    loss = DATA_CONSTRAINED.predict(paper, rows)
    assert np.all(np.diff(loss) <= 0)
    all_fresh = CHINCHILLA.predict(paper[:5], np.column_stack([rows[:, 0], rows[:, 1] * epochs]))
    four = (loss[0] - loss[2]) / (all_fresh[0] - all_fresh[2])
    assert 0.9 < four < 1.0  # up to four epochs repeated tokens are nearly as good as new ones
    assert loss[4] - loss[5] < 0.01 * (all_fresh[4] - all_fresh[5]) + 1e-3


def test_adding_terms_that_take_over_from_one_another_biases_their_exponents() -> None:
    steps, params = (axis.ravel() for axis in np.meshgrid(np.geomspace(10, 1e5, 25), np.geomspace(16, 512, 25)))
    rows = np.column_stack([steps, params])
    loss = SMOOTH_MAX.predict(np.array([1.4, 2.3, 0.5, 0.75, 2.2]), rows)
    smooth = fit_law(SMOOTH_MAX, rows, loss, resamples=0)
    added = fit_law(ADDITIVE, rows, loss, resamples=0)
    np.testing.assert_allclose(smooth.coefficients[2:], [0.5, 0.75, 2.2], rtol=1e-6)
    assert added.coefficients[3] > 0.55 and added.criteria.rmse_log > 0.03 and added.criteria.bic > smooth.criteria.bic


def test_losses_in_time_are_predicted_for_shapes_held_out() -> None:
    generator = np.random.default_rng(1)
    rows = np.exp(generator.uniform(np.log([1e6, 1e4, 0.01, 1e3]), np.log([1e9, 1e6, 3.0, 1e6]), (200, 4)))
    loss = LOSS_IN_TIME.predict(np.array([1.8, 400.0, 2000.0, 0.34, 0.36]), rows) * np.exp(
        generator.normal(0, 0.01, 200)
    )
    fit = fit_law(LOSS_IN_TIME, rows[:150], loss[:150], resamples=0)
    truth = LOSS_IN_TIME.predict(np.array([1.8, 400.0, 2000.0, 0.34, 0.36]), rows[150:])
    assert np.max(np.abs(np.log(LOSS_IN_TIME.predict(fit.coefficients, rows[150:]) / truth))) < 0.015
