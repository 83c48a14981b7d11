"""Starts that go straight to the objective: what smoothing hides is found, and what is printed was counted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import least_squares

from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.fit import fit_law
from isoflop.queries.fitting.options import FitOptions
from isoflop.queries.fitting.problem import Problem
from isoflop.queries.fitting.solver.faces import SHARES, STEEPER, starts_beyond_faces
from isoflop.queries.laws import BNSL, PLAIN_POWER, POWER, SATURATING_POWER, LeastSquares, Objective

Array = NDArray[np.float64]
DELTA = 1e-3  # of the published Huber objective


def plateau(seed: int) -> tuple[Array, Array]:
    """A curve of 60 points that begins with a plateau: a wide bowl with a narrower, deeper one beside it."""
    generator = np.random.default_rng(seed)
    x = np.linspace(8e6, 1e9, 60)
    y = ((1 / x + 10 ** generator.uniform(-9.3, -8.6)) * 1e8) ** generator.uniform(0.25, 0.45)
    count = generator.integers(4, 9)
    y[:count] = np.minimum(y[:count], y[count] * generator.uniform(1.0, 1.06))
    return x, y * np.exp(0.004 * generator.standard_normal(60))


def penalty(theta: Array, x: Array, y: Array) -> Array:
    residuals = np.abs(np.log(y) - theta[0] - theta[1] * np.log(1 / x + np.exp(theta[2])))
    return np.where(residuals <= DELTA, 0.5 * residuals**2, DELTA * (residuals - 0.5 * DELTA))


def by_scipy(x: Array, y: Array) -> float:
    """The least objective of SciPy's least squares from a grid of starts."""
    found = np.inf
    for gamma in np.log(10.0) * np.array([-10.5, -9.8, -9.3, -9.0, -8.7, -8.4]):
        for alpha in (0.2, 0.35, 0.5):
            level = np.median(np.log(y) - alpha * np.log(1 / x + np.exp(gamma)))
            ended = least_squares(
                lambda theta: np.sqrt(2 * penalty(theta, x, y)), [level, alpha, gamma], x_scale=[1, 0.1, 1]
            )
            found = min(found, float(penalty(ended.x, x, y).sum()))
    return found


@pytest.mark.parametrize("seed", [0, 1, 3, 8, 9, 12])
def test_a_plateau_hides_nothing(seed: int) -> None:
    x, y = plateau(seed)
    fit = fit_law(SATURATING_POWER, x[:, None], y, resamples=0)
    assert fit.objective <= by_scipy(x, y) * 1.001


def test_the_share_is_of_starts_that_nothing_brought_together() -> None:
    for seed in (1, 3, 8):  # smoothing first brings all starts of these into one wide bowl
        x, y = plateau(seed)
        assert 0.0 < fit_law(SATURATING_POWER, x[:, None], y, resamples=0).solution.search.share < 1.0


@pytest.mark.parametrize("noise", [0.03, 0.12])
@pytest.mark.parametrize("count", [6, 8, 12, 20, 40])
def test_one_bowl_is_never_called_two(count: int, noise: float) -> None:
    generator = np.random.default_rng(count)
    x = np.geomspace(1e3, 1e7, count)
    fit = fit_law(PLAIN_POWER, x[:, None], 0.8 * x**-0.3 * np.exp(noise * generator.standard_normal(count)))
    assert "unstable_basin" not in {note.code for note in fit.notes}


def test_an_exact_fit_is_no_rare_one() -> None:
    x = np.geomspace(1e3, 1e7, 30)
    fit = fit_law(POWER, x[:, None], 1.5 + 40 / x**0.3, resamples=0)
    assert "rare_basin" not in {note.code for note in fit.notes}


def test_a_dead_term_is_tried_alive_and_a_living_one_dead() -> None:
    x = np.geomspace(1e3, 1e7, 30)
    data = usable_rows(POWER, x[:, None], 1.5 + 40 / x**0.3)
    problem = Problem.of(POWER, data, FitOptions())
    model = problem.model
    floor, size = model.names.index("E"), model.names.index("A")
    dead = model.from_coefficients(np.array([0.0, 40.0, 0.2]))
    tried = starts_beyond_faces(model, dead, problem.weights, problem.targets)
    alive = tried[: len(SHARES) * len(STEEPER), floor]
    assert np.unique(np.exp(alive).round(6)).tolist() == list(SHARES)
    assert (tried[len(SHARES) * len(STEEPER), size] < -30).all()


@pytest.mark.slow
@pytest.mark.parametrize("objective", [None, LeastSquares()], ids=["huber", "squares"])
def test_seeds_agree_on_broken_curves(objective: Objective | None) -> None:
    for world in range(3):
        generator = np.random.default_rng(world)
        x = np.geomspace(1e4, 1e9, 40)
        u, place, width = x / 3e6, np.exp(generator.uniform(-2, 2)), 10 ** generator.uniform(-1.5, 0.3)
        y = 0.4 + u**-0.2 * (1 + (u / place) ** (1 / width)) ** (-generator.uniform(0.2, 1.0) * width)
        y *= np.exp(0.003 * generator.standard_normal(40))
        found = [fit_law(BNSL, x[:, None], y, resamples=0, objective=objective, seed=seed).objective for seed in (0, 1)]
        assert max(found) <= min(found) * 1.001


def test_a_break_may_be_as_steep_as_that_of_the_paper() -> None:
    x = np.geomspace(1.0, 100.0, 60)
    truth = np.array([0.1, 1.0, 0.05, 12.0, 20.0, 0.05])
    fit = fit_law(BNSL, x[:, None], np.asarray(BNSL.predict(truth, x[:, None])), resamples=0)
    assert fit.coefficients[3] == pytest.approx(12.0, rel=0.01)
