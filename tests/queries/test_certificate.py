"""The share of starts that a fit prints is one of random points of the domain; a face is compared with the inside."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.fit import fit_law
from isoflop.queries.fitting.options import FitOptions
from isoflop.queries.fitting.problem import Problem
from isoflop.queries.fitting.solver.drawn import LOGS, drawn
from isoflop.queries.laws import (
    BNSL,
    BOUNDED_POWER,
    DATA_CONSTRAINED,
    KAPLAN,
    POWER,
    SATURATING_POWER,
    Huber,
    Law,
    LeastSquares,
    Objective,
)
from tests.bench.bench_curves import random_ends
from tests.bench.curve_worlds import curve

Array = NDArray[np.float64]


@pytest.mark.slow
@pytest.mark.parametrize("objective", [Huber(), LeastSquares()], ids=["huber", "squares"])
@pytest.mark.parametrize(
    ("law", "number"), [(POWER, 3), (SATURATING_POWER, 6), (BOUNDED_POWER, 1), (KAPLAN, 24), (BNSL, 0)]
)
def test_the_printed_share_is_that_of_another_optimizer(law: Law, number: int, objective: Objective) -> None:
    planted = curve(number)
    inputs = planted.inputs_of(law)
    assert inputs is not None
    fit = fit_law(law, inputs, planted.values, objective=objective, resamples=0)
    ends = random_ends(law, inputs, planted.values, objective, 40, np.random.default_rng(0))
    assert fit.objective <= ends.min() * 1.001
    assert 0.4 < fit.solution.search.share / np.mean(ends <= fit.objective * 1.001) < 2.5  # 40 starts are few


def test_random_points_know_nothing_of_the_rows() -> None:
    planted = curve(0)
    for values in (planted.values, planted.values[::-1]):
        problem = Problem.of(POWER, usable_rows(POWER, planted.inputs, values), FitOptions())
        points = drawn(problem.model, problem.targets, 200, np.random.default_rng(0))
        assert points.shape == (200, 3)
        for one, column in zip(POWER.coefficients, points.T, strict=True):
            low, high = (0.02, 1.5) if one.name == "alpha" else LOGS[one.role]
            assert low <= column.min() < column.max() <= high
            assert np.ptp(column) > 0.9 * (high - low)


@pytest.mark.slow
def test_a_better_basin_beside_one_that_all_good_starts_end_in() -> None:
    """A plateau, then a power: starts with the heights solved for all bend the curve where the plateau ends."""
    planted = curve(0)
    fit = fit_law(BNSL, planted.inputs, planted.values, objective=LeastSquares(), resamples=0)
    ends = random_ends(BNSL, planted.inputs, planted.values, LeastSquares(), 20, np.random.default_rng(1))
    assert fit.objective <= ends.min() * 1.001


@pytest.mark.parametrize("gamma", [0.0, 1e-9, 0.05, 1.0, 9.9])
def test_slopes_and_bends_of_the_bounded_power(gamma: float) -> None:
    x = np.geomspace(1, 1e6, 30)[:, None]
    point, sizes = np.array([[0.5, 3.0, 40.0, 0.5, gamma]]), np.array([1e-5, 1e-5, 1e-4, 1e-6, 1e-6])
    chart = BOUNDED_POWER.charted
    assert chart is not None
    np.testing.assert_allclose(BOUNDED_POWER.from_chart(BOUNDED_POWER.to_chart(point)), point, rtol=1e-12)
    known = 5 if gamma > 1e-6 else 4  # no difference across the face of the domain
    for law in (BOUNDED_POWER, chart):
        slopes = law.jacobian(point, x)[0]
        assert np.isfinite(slopes).all()
        for k in range(known):
            moved = np.eye(5)[k] * sizes[k]
            by_difference = (law.predict(point + moved, x) - law.predict(point - moved, x))[0] / (2 * sizes[k])
            np.testing.assert_allclose(slopes[k], by_difference, atol=1e-6 * np.abs(by_difference).max())
    _, _, bends = chart.curvatures(point, x)
    assert bends is not None and np.isfinite(bends).all()
    for at, (j, k) in enumerate(zip(*np.triu_indices(5), strict=True)):
        if k < known and gamma >= 0.05:
            moved = np.eye(5)[k] * sizes[k]
            by_difference = (chart.jacobian(point + moved, x) - chart.jacobian(point - moved, x))[0, j] / (2 * sizes[k])
            np.testing.assert_allclose(bends[0, at], by_difference, atol=1e-5)


@pytest.mark.parametrize("objective", [Huber(), LeastSquares()], ids=["huber", "squares"])
def test_a_curve_without_the_bounding_factor_is_found_at_gamma_zero(objective: Objective) -> None:
    x = np.geomspace(1e3, 1e7, 40)[:, None]
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(40))
    values = BOUNDED_POWER.predict(np.array([0.5, 3.0, 300.0, 0.5, 0.0]), x) * noise  # at its bound, then a power
    fit = fit_law(BOUNDED_POWER, x, values, objective=objective, resamples=0)
    least = min(
        fit_law(BOUNDED_POWER, x, values, objective=objective, resamples=0, fixed={"gamma": gamma}).objective
        for gamma in (0.0, 0.01, 0.1)
    )
    assert fit.objective <= least * 1.0001
    assert fit.values["gamma"] < 0.1 and fit.values["E_0"] == pytest.approx(3.0, rel=0.01)


def test_units_of_tokens_and_losses_are_absorbed_by_repeated_tokens() -> None:
    point = np.array([1.87, 521.0, 1488.0, 0.353, 0.32, 15.4, 5.31])
    inputs = np.array([[1e9, 1e9, 30.0], [3e8, 2e10, 2.0], [1e10, 3e9, 1.0]])
    for dimension, factors in (
        ("unique_tokens", np.array([1, 1, 1e6**-0.32, 1, 1, 1, 1])),
        (None, np.array([7, 7, 7, 1, 1, 1, 1])),
    ):
        assert DATA_CONSTRAINED.degrees(dimension) is not None
        scale = np.array([1, 1e6 if dimension else 1, 1])
        moved = DATA_CONSTRAINED.predict(point * factors, inputs / scale)
        np.testing.assert_allclose(moved, DATA_CONSTRAINED.predict(point, inputs) * (1 if dimension else 7), rtol=1e-9)
