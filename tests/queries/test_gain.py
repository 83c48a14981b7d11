"""The compute multiplier between two laws: closed forms, intervals, and what is never reached."""

from __future__ import annotations

import numpy as np
import pytest
from planted_laws import drifting

from isoflop.queries.fitting.fit import fit_law
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.laws import CHINCHILLA, POWER, LeastSquares
from isoflop.queries.planning.gain import Recipe, compute_gain

NEW = {"E": 1.7, "A": 400.0, "B": 410.0, "alpha": 0.34, "beta": 0.28}
SIZE, LENGTH = 2.0, 1.5  # how many times the params and the tokens the old recipe needs
OLD = {**NEW, "A": 400.0 * SIZE**0.34, "B": 410.0 * LENGTH**0.28}
SUPPORT = np.array([[1e7, 1e10], [1e9, 1e12]])


def recipe(values: dict[str, float], drift: float = 0.0) -> Recipe:
    coefficients = np.array([values[one.name] for one in CHINCHILLA.coefficients])
    return Recipe(
        FittedLaw(CHINCHILLA, coefficients, np.empty((0, 5)), 0.0, SUPPORT, drifting(CHINCHILLA, SUPPORT, drift))
    )


@pytest.mark.parametrize("compute", [1e17, 1e21, 1e25])
def test_a_recipe_that_needs_more_of_both_needs_their_product_of_compute(compute: float) -> None:
    found = compute_gain(recipe(NEW), recipe(OLD), compute)
    assert found.gain == pytest.approx(SIZE * LENGTH, rel=1e-9) and found.reason == ""
    assert compute_gain(recipe(OLD), recipe(NEW), compute).gain == pytest.approx(1 / (SIZE * LENGTH), rel=1e-9)
    assert found.needed_sizes[0] == pytest.approx(SIZE * found.sizes[0], rel=1e-6)
    assert 6 * np.prod(found.needed_sizes) == pytest.approx(found.needed)


def test_the_size_is_the_closed_form_of_the_best_one() -> None:
    """Hoffmann et al. 2022 (arXiv:2203.15556), eq. 4."""
    factor = (0.34 * 400 / (0.28 * 410)) ** (1 / 0.62)
    assert compute_gain(recipe(NEW), recipe(OLD), 6e20).sizes[0] == pytest.approx(factor * 1e20 ** (0.28 / 0.62), 1e-4)


def test_a_ratio_of_tokens_to_params_is_kept_by_both() -> None:
    same = {**NEW, "A": 400.0 * 3**0.34, "B": 410.0 * 3**0.28}  # 3 times of both: the ratio stays the best one's
    found = compute_gain(recipe(NEW), recipe(same), 1e21, ratio=20.0)
    assert found.gain == pytest.approx(9.0, rel=1e-9)
    assert found.sizes[1] / found.sizes[0] == pytest.approx(20) and found.needed_sizes[1] == pytest.approx(
        20 * found.needed_sizes[0]
    )


def test_a_floor_above_the_loss_is_never_reached_and_says_so() -> None:
    high = {**NEW, "E": 2.1}
    assert compute_gain(recipe(NEW), recipe(high), 1e18).gain > 1
    found = compute_gain(recipe(NEW), recipe(high), 1e24)
    assert np.isnan(found.gain) and np.isnan(found.needed)
    assert found.reason.startswith("it is never reached: the other law stays at 2.1")
    tiny = compute_gain(recipe({**NEW, "E": 3.0}), recipe({**NEW, "E": 0.0}), 1e24)
    assert tiny.gain < 1e-3  # far less compute is a gain below 1, not an error


def test_a_law_that_does_not_fall_has_no_gain() -> None:
    flat = Recipe(FittedLaw(POWER, np.array([2.0, 0.0, 0.3]), np.empty((0, 3)), 0.0, np.ones((1, 2))))
    falling = Recipe(FittedLaw(POWER, np.array([1.0, 400.0, 0.3]), np.empty((0, 3)), 0.0, np.ones((1, 2))))
    found = compute_gain(falling, flat, 1e12)
    assert np.isnan(found.gain) and found.reason == "the other law does not fall with compute"


def spread_draws(values: dict[str, float], count: int, scale: float, seed: int) -> np.ndarray:
    base = np.array([values[one.name] for one in CHINCHILLA.coefficients])
    return base * np.exp(scale * np.random.default_rng(seed).standard_normal((count, 5)) * [0, 1, 1, 0, 0])


def test_pairs_give_the_interval_and_shared_draws_cancel() -> None:
    draws = spread_draws(NEW, 400, 0.02, 0)
    itself = compute_gain(recipe(NEW), recipe(NEW), 1e21, pairs=(draws, draws))
    assert itself.gain == pytest.approx(1, rel=1e-9) and itself.lower <= itself.gain <= itself.upper
    assert itself.upper - itself.lower < 1e-9
    apart = compute_gain(recipe(NEW), recipe(NEW), 1e21, pairs=(draws, spread_draws(NEW, 400, 0.02, 1)))
    assert apart.lower < 0.99 < 1 < 1.01 < apart.upper
    shared = compute_gain(recipe(NEW), recipe(OLD), 1e21, pairs=(draws, draws * [1, SIZE**0.34, LENGTH**0.28, 1, 1]))
    assert shared.lower == pytest.approx(3, rel=1e-6) and shared.upper == pytest.approx(3, rel=1e-6)


def test_a_forward_check_widens_the_gain_as_it_widens_the_loss() -> None:
    pairs = (spread_draws(NEW, 200, 0.02, 0), spread_draws(OLD, 200, 0.02, 1))
    usual = compute_gain(recipe(NEW), recipe(OLD), 1e24, pairs=pairs)
    wide = compute_gain(recipe(NEW, 0.01), recipe(OLD, 0.01), 1e24, pairs=pairs)
    assert wide.lower < 0.95 * usual.lower and wide.upper > 1.05 * usual.upper
    inside = compute_gain(recipe(NEW, 0.01), recipe(OLD, 0.01), 1e20, pairs=pairs)
    assert inside.upper == pytest.approx(compute_gain(recipe(NEW), recipe(OLD), 1e20, pairs=pairs).upper, rel=1e-6)


def test_an_end_that_some_pairs_never_reach_is_open() -> None:
    draws = np.tile([recipe(NEW).fitted.coefficients], (100, 1))
    high = draws.copy()
    high[:10, 0] = 2.5  # a tenth of the draws has a floor above the loss
    found = compute_gain(recipe(NEW), recipe(OLD), 1e22, pairs=(draws, high * [1, SIZE**0.34, LENGTH**0.28, 1, 1]))
    assert found.gain == pytest.approx(3) and np.isfinite(found.lower) and np.isnan(found.upper)
    assert found.reached == pytest.approx(0.9) and "reached in 90%" in found.reason


@pytest.mark.long
def test_intervals_hold_the_gain_as_often_as_they_say() -> None:
    """200 planted worlds with two recipes, fitted apart: the gain is 3."""
    assert 0.90 <= coverage(200) <= 0.99


def coverage(worlds: int) -> float:
    """Share of planted worlds whose 95 % interval holds the gain, within the rows."""
    params, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    inputs = np.column_stack([params, tokens])
    held = []
    for world in range(worlds):
        generator = np.random.default_rng(world)
        fits = []
        for values in (NEW, OLD):
            loss = CHINCHILLA.predict(recipe(values).fitted.coefficients, inputs)
            loss = loss * np.exp(0.005 * generator.standard_normal(len(loss)))
            found = fit_law(
                CHINCHILLA, inputs, loss, objective=LeastSquares(), resamples=200, forward=False, seed=len(fits)
            )
            fits.append(found.fitted)
        pairs = (fits[0].draws, fits[1].draws)
        found = compute_gain(Recipe(fits[0]), Recipe(fits[1]), 1e21, pairs=pairs)
        held.append(found.lower <= SIZE * LENGTH <= found.upper)
    return float(np.mean(held))
