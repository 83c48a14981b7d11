"""Broken laws: breaks come back, in order, past them the curve is right, and a fit is quick."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting import fit_law, predict
from isoflop.queries.laws import BNSL, BNSL2, POWER, Formula

Array = NDArray[np.float64]

ONE_BREAK = np.array([0.4, 30.0, 0.12, 0.35, 3e7, 0.3])
DOUBLE_DESCENT = np.array([0.2, 40.0, 0.3, -0.55, 1e6, 0.15, 0.7, 2e7, 0.15])


def rows_of(law: Formula, coefficients: Array, low: float, high: float, rows: int, noise: float) -> tuple[Array, Array]:
    """Inputs (R, 1) between two sizes and noisy losses (R,)."""
    generator = np.random.default_rng(3)
    inputs = np.exp(generator.uniform(np.log(low), np.log(high), (rows, 1)))
    return inputs, law.predict(coefficients, inputs) * np.exp(generator.normal(0, noise, rows))


def test_double_descent_comes_back() -> None:
    inputs, loss = rows_of(BNSL2, DOUBLE_DESCENT, 1e4, 1e10, 80, 0.0)
    rising = BNSL2.predict(DOUBLE_DESCENT, np.array([[3e6], [1e7]]))
    assert rising[1] > rising[0]
    fit = fit_law(BNSL2, inputs, loss, resamples=0)
    np.testing.assert_allclose(fit.coefficients, DOUBLE_DESCENT, rtol=1e-6)


def test_breaks_come_in_order_however_they_were_planted() -> None:
    swapped = DOUBLE_DESCENT[[0, 1, 2, 6, 7, 8, 3, 4, 5]]
    inputs, loss = rows_of(BNSL2, swapped, 1e4, 1e10, 80, 0.0)
    fit = fit_law(BNSL2, inputs, loss, resamples=0)
    np.testing.assert_allclose(fit.coefficients, DOUBLE_DESCENT, rtol=1e-6)


def test_a_broken_curve_is_extrapolated_where_a_power_is_not() -> None:
    inputs, loss = rows_of(BNSL, ONE_BREAK, 1e5, 1e9, 60, 0.003)
    beyond = np.array([[1e10], [1e11]])
    truth = BNSL.predict(ONE_BREAK, beyond)
    broken = predict(fit_law(BNSL, inputs, loss, resamples=400), beyond)
    assert np.all((broken.lower <= truth) & (truth <= broken.upper))
    plain = fit_law(POWER, inputs, loss, resamples=0)
    off = np.abs(np.log(POWER.predict(plain.coefficients, beyond) / truth))
    assert np.abs(np.log(broken.predicted / truth))[-1] < 0.2 * off[-1]
    assert off[-1] > 0.1
