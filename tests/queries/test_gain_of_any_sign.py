"""The compute multiplier between laws of a target of any sign, and what is said where pairs do not reach it."""

from __future__ import annotations

import numpy as np
import pytest
from planted_laws import drifting

from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.fitting.scatter import MULTIPLICATIVE, Scatter
from isoflop.queries.laws import POWER
from isoflop.queries.planning.gain import Recipe, compute_gain

NEW, OLD = np.array([-2.0, 8.0, 0.5]), np.array([-2.0, 16.0, 0.5])  # the old one needs 4 times the compute everywhere
AMOUNT = Scatter(0.3)
ROWS = np.array([[1.0, 1e3]])


def recipe(values: np.ndarray, drift: float = 0.0, scatter: Scatter = AMOUNT) -> Recipe:
    return Recipe(FittedLaw(POWER, values, np.empty((0, 3)), 0.0, ROWS, drifting(POWER, ROWS, drift), scatter=scatter))


@pytest.mark.parametrize("compute", [4.0, 16.0, 1e4])  # where the target is above zero, zero, and below
@pytest.mark.parametrize("scatter", [AMOUNT, MULTIPLICATIVE], ids=["amount", "factor"])
def test_a_gain_does_not_ask_for_the_sign_of_the_target(compute: float, scatter: Scatter) -> None:
    found = compute_gain(recipe(NEW, 0.0, scatter), recipe(OLD, 0.0, scatter), compute)
    assert found.loss == pytest.approx(-2 + 8 / np.sqrt(compute), abs=1e-12)
    assert found.gain == pytest.approx(4.0, rel=1e-9) and found.reason == ""
    assert compute_gain(recipe(OLD), recipe(NEW), compute).gain == pytest.approx(0.25, rel=1e-9)


def heights(values: np.ndarray, seed: int) -> np.ndarray:
    draws = np.tile(values, (4000, 1))
    draws[:, 1] *= np.exp(0.05 * np.random.default_rng(seed).standard_normal(4000))
    return draws


def test_pairs_give_the_interval_in_closed_form() -> None:
    """The gain is the square of the ratio of the heights, whose logarithm is normal."""
    found = compute_gain(recipe(NEW), recipe(OLD), 64.0, pairs=(heights(NEW, 1), heights(OLD, 2)))
    half = 1.96 * 2 * np.hypot(0.05, 0.05)
    assert np.log(found.upper / 4) == pytest.approx(half, rel=0.06)  # 4,000 pairs know an end to a twentieth of it
    assert np.log(4 / found.lower) == pytest.approx(half, rel=0.06)


def test_a_forward_check_widens_the_difference() -> None:
    """Both laws are off by an amount: 16 / sqrt(needed) + e' = 8 / sqrt(compute) + e."""
    exact = np.tile(NEW, (4000, 1)), np.tile(OLD, (4000, 1))
    first, second = recipe(NEW, 0.001), recipe(OLD, 0.001)
    wide = compute_gain(first, second, 1e4, pairs=exact)
    assert first.fitted.widening is not None
    chance = np.random.default_rng(3)
    errors = [
        float(first.fitted.widening.deviation(np.array([[at]]))[0]) * chance.standard_t(10, 10**6) for at in (1e4, 4e4)
    ]
    gains = (16 / (8 / 100 + errors[0] - errors[1])) ** 2 / 1e4
    lower, upper = np.quantile(gains, [0.025, 0.975])
    assert wide.lower == pytest.approx(lower, rel=0.02) and wide.upper == pytest.approx(upper, rel=0.02)


def test_a_floor_below_zero_is_named() -> None:
    found = compute_gain(recipe(NEW), recipe(np.array([-1.0, 8.0, 0.5])), 1e4)
    assert np.isnan(found.gain)
    assert found.reason.startswith("it is never reached: the other law stays at -0.99")


def test_where_too_few_pairs_have_a_gain_the_reason_says_so() -> None:
    draws, lost = np.tile(NEW, (100, 1)), np.tile(OLD, (100, 1))
    lost[:29, 0] = np.nan  # as where a law has no best size
    found = compute_gain(recipe(NEW), recipe(OLD), 16.0, pairs=(draws, lost))
    assert found.gain == pytest.approx(4) and np.isnan([found.lower, found.upper]).all()
    assert found.reached == pytest.approx(0.71)
    assert found.reason == "there is no interval: it is reached in only 71% of the pairs of resamples"
