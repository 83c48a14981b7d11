"""The risk averaged over features: against draws of W, against the equation summed step by step, and its frontier."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from isoflop.lakehouse.models.random_features import draw_features
from isoflop.queries.theory.phases import phase_of
from isoflop.queries.theory.plrf_risk import (
    RandomFeatures,
    asymptotic_parts,
    contour_nodes,
    risk_curve,
    unreachable,
)
from isoflop.queries.theory.volterra_plrf import expected_risk


def problem(width: int, alpha: float, beta: float, *, batch_size: int = 1) -> RandomFeatures:
    """Features of the usual ambient dimension."""
    ambient = (10 if 2 * alpha > 1 else 4) * width
    return RandomFeatures(
        width=width, ambient=ambient, spectrum_exponent=alpha, target_exponent=beta, batch_size=batch_size
    )


@pytest.mark.parametrize(("alpha", "beta", "batch_size"), [(0.8, 0.7, 1), (0.4, 0.8, 1), (1.2, 0.2, 8)])
def test_forcing_and_kernel_are_exact_before_training(alpha: float, beta: float, batch_size: int) -> None:
    asked = problem(300, alpha, beta, batch_size=batch_size)
    number = np.arange(1, asked.ambient + 1)
    variance = number ** (-2 * alpha)
    forcing, kernel = contour_nodes(asked, 1000).sums(np.array([0]))
    assert asked.rate == pytest.approx(1 / (batch_size + 1) / variance.sum(), rel=1e-6)
    assert forcing[0] == pytest.approx((variance * number ** (-2 * beta)).sum(), rel=1e-5)
    squares = (variance**2).sum() + variance.sum() ** 2 / asked.width
    assert kernel[0] == pytest.approx(asked.rate**2 * batch_size * squares, rel=1e-6)


# Far beyond the slowest direction, 0.4 to 10,000 steps, what is left of the kernel is that of the rarest draws.
@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "beta", "longest"), [(0.8, 0.7, 10_000), (0.4, 0.8, 1000), (0.8, 1.2, 10_000)])
def test_forcing_and_kernel_are_the_means_over_draws_of_w(alpha: float, beta: float, longest: int) -> None:
    asked, at = problem(200, alpha, beta), np.array([1, 10, 100, longest])
    forcings, kernels = [], []
    for seed in range(30):
        drawn = draw_features(asked.ambient, asked.width, alpha, beta, (seed,))
        pull = asked.rate * drawn.eigenvalues
        powers = (1 - 2 * pull + 2 * pull**2) ** at[:, None]
        forcings.append(drawn.residual + powers @ drawn.target**2)
        kernels.append(powers @ pull**2)
    for found, drawn_ones in zip(contour_nodes(asked, longest).sums(at), (forcings, kernels), strict=True):
        mean, error = np.mean(drawn_ones, axis=0), np.std(drawn_ones, axis=0) / np.sqrt(30)
        assert np.all(np.abs(found / mean - 1) < 0.07), found / mean
        assert np.all(np.abs(found - mean) < 3 * error), (found - mean) / error


def test_the_mean_of_the_exact_risk_over_draws_of_w_is_the_curve() -> None:
    asked, at = problem(60, 0.8, 0.7, batch_size=2), np.array([10, 100, 1000, 10_000])
    exact = []
    for seed in range(60):
        drawn = draw_features(asked.ambient, asked.width, 0.8, 0.7, (seed,))
        exact.append(drawn.residual + expected_risk(drawn, asked.rate, 2, at).sum(axis=1))
    error = np.std(exact, axis=0) / np.sqrt(60)
    assert np.all(np.abs(np.mean(exact, axis=0) - risk_curve(asked, at)) < 3.5 * error)


@pytest.mark.parametrize(("width", "alpha", "beta"), [(200, 0.8, 0.7), (20_000, 0.8, 1.2), (1000, 0.4, 0.8)])
def test_steps_at_once_are_the_equation_summed(width: int, alpha: float, beta: float) -> None:
    asked, every = problem(width, alpha, beta), np.arange(1001)
    forcing, kernel = contour_nodes(asked, 1000).sums(every)
    summed = np.zeros(1001)
    for step in range(1001):
        summed[step] = forcing[step] + kernel[:step][::-1] @ summed[:step]
    np.testing.assert_allclose(risk_curve(asked, every), summed, rtol=1e-10)
    places = np.array([0, 30, 100, 300, 1000])
    np.testing.assert_allclose(risk_curve(asked, places), summed[places], rtol=1e-4)


def test_a_curve_does_not_depend_on_where_it_is_asked() -> None:
    asked = problem(10**6, 1.0, 0.3)
    few = risk_curve(asked, np.array([10**3, 10**6, 10**9]))
    places = np.unique(np.geomspace(1, 10**9, 91).round().astype(np.int64))
    many = risk_curve(asked, places)
    np.testing.assert_allclose(few, many[np.isin(places, [10**3, 10**6, 10**9])], rtol=1e-4)
    assert np.all(np.diff(many) < 0)


def test_a_long_curve_ends_at_the_floor_and_the_noise_about_it() -> None:
    """The risk settles at F_0 / (1 - the sum of the kernel over all steps)."""
    asked = problem(50, 1.0, 0.3)
    nodes = contour_nodes(asked, 10**8)
    total = 2 * float((nodes.kernel / nodes.slowness).sum().real)
    assert 0 < total < 1
    assert risk_curve(asked, np.array([10**8]))[0] == pytest.approx(
        unreachable(asked.modes, 50) / (1 - total), rel=1e-3
    )
    assert unreachable(RandomFeatures(width=8, ambient=8, spectrum_exponent=1, target_exponent=1).modes, 8) == 0


def test_the_parts_are_of_the_risk() -> None:
    """K / K_pp and F over the sum of its parts, for c = 1/2 and an ambient dimension that is as good as infinite."""
    asked = RandomFeatures(width=20_000, ambient=2 * 10**7, spectrum_exponent=0.8, target_exponent=1.2)
    at = np.array([10**3, 10**4, 10**5, 3 * 10**5])
    parts = asymptotic_parts(asked, at)
    forcing, kernel = contour_nodes(asked, int(at[-1])).sums(at)
    np.testing.assert_allclose(kernel / (asked.rate * parts["K_pp"]), [1.003, 1.01, 1.05, 1.08], atol=0.01)
    np.testing.assert_allclose(
        forcing / (parts["F_pp"] + parts["F_ac"] + parts["F_0"]), [0.97, 0.9, 0.8, 0.74], atol=0.02
    )
    flat = asymptotic_parts(problem(2000, 0.2, 0.8), at)
    assert not flat["F_ac"].any() and not flat["K_pp"].any() and flat["F_pp"].all()


def test_a_rate_that_is_too_large_is_said() -> None:
    wild = RandomFeatures(width=100, ambient=1000, spectrum_exponent=0.8, target_exponent=0.7, rate_constant=1.5)
    with pytest.raises(ArithmeticError, match="SGD diverges"):
        risk_curve(wild, np.array([10_000]))


def measured_frontier(
    alpha: float, beta: float, widths: np.ndarray, compute: tuple[float, float]
) -> tuple[float, float]:
    """Eta and xi of the lowest curve over compute."""
    budgets = np.geomspace(*compute, 8)
    risks = [risk_curve(problem(int(width), alpha, beta), (budgets / width).astype(np.int64)) for width in widths]
    grid = np.linspace(np.log(widths[0]), np.log(widths[-1]), 4001)
    between = CubicSpline(np.log(widths), np.log(risks))(grid)
    best = between.argmin(axis=0)
    assert 0 < best.min() and best.max() < 4000
    spread = np.log(budgets)
    return -np.polyfit(spread, between.min(axis=0), 1)[0], np.polyfit(spread, grid[best], 1)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.3), (0.7, 0.3), (1.0, 0.7), (0.8, 1.3)])
def test_the_frontier_of_the_curves_has_the_exponents(alpha: float, beta: float) -> None:
    eta, xi = measured_frontier(alpha, beta, np.geomspace(30, 1e6, 10).round(), (1e8, 1e11))
    phase = phase_of(alpha, beta)
    assert phase is not None and abs(eta - phase.eta) < 0.02 and abs(xi - phase.xi) < 0.02


@pytest.mark.parametrize(
    ("alpha", "beta", "num_widths"),
    [(0.4, 0.3, 15), (0.45, 0.8, 15), pytest.param(0.2, 0.8, 29, marks=pytest.mark.slow)],  # Ic has the sharpest bend
)
def test_the_frontier_below_the_high_dimensional_line(alpha: float, beta: float, num_widths: int) -> None:
    eta, _ = measured_frontier(alpha, beta, np.geomspace(1e3, 1e10, num_widths).round(), (10**13.5, 1e17))
    phase = phase_of(alpha, beta)
    assert phase is not None and abs(eta - phase.eta) < 0.015
