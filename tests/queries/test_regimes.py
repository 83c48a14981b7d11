"""The four regimes: exponents and duality of the loss, labels of cells, and least squares on draws."""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.queries.theory.equivalents import power_law_modes
from isoflop.queries.theory.regimes import cell_of, resolution_limit

FEW = 2000  # modes of what is simulated


def slope(sizes: np.ndarray, values: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_the_exponents(exponent: float) -> None:
    sizes, large = np.geomspace(64, 1024, 5), np.geomspace(1000, 16_000, 5)
    assert slope(sizes, [cell_of(size, 1e12, exponent).loss for size in sizes]) == pytest.approx(-exponent, abs=0.03)
    assert slope(sizes, [cell_of(1e12, size, exponent).loss for size in sizes]) == pytest.approx(-exponent, abs=0.03)
    for cells in ([cell_of(size, 32, exponent) for size in large], [cell_of(32, size, exponent) for size in large]):
        assert slope(large, [cell.loss - cell.limit for cell in cells]) == pytest.approx(-1, abs=0.03)


def test_data_and_params_may_change_places() -> None:
    one, other = cell_of(64, 200, 0.7), cell_of(200, 64, 0.7)
    assert one.loss == pytest.approx(other.loss, rel=1e-12) and one.limit == other.limit


def test_cells_are_labeled() -> None:
    labels = {
        place: (cell.regime, cell.limited_by)
        for place in ((16_000, 32), (32, 16_000), (64, 10**6), (10**6, 64), (64, 64), (64, 100))
        for cell in (cell_of(*place, 0.5),)
    }
    assert list(labels.values()) == [
        ("variance", "data"), ("variance", "params"), ("resolution", "data"), ("resolution", "params"),
        ("mixed", None), ("mixed", None),
    ]  # fmt: skip


def test_the_loss_solves_the_two_equations_of_the_equivalent() -> None:
    """At a small ridge, solved for kappa between both sizes, the pair of equations has the closed form's value."""
    modes, data, params = power_law_modes(FEW, 1.5, 1.5), 40.0, 160.0
    kappa = resolution_limit(data, modes) / data
    inverse = 1 / (modes.variance + kappa)
    one = float(modes.count @ (modes.variance * inverse**2))
    two = float(modes.count @ (modes.variance**2 * inverse**2))
    matrix = [[1 - two / data, -(kappa**2) * one / params], [-one / data, 1 - two / params]]
    solved = np.linalg.solve(matrix, [kappa**2 * one, two])[0]
    assert cell_of(data, params, 0.5, modes).loss == pytest.approx(solved, rel=1e-9)
    assert solved == pytest.approx(0.688, abs=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("data", "params"), [(40, 160), (160, 40), (80, 400)])
def test_least_squares_on_draws_has_the_loss(data: int, params: int) -> None:
    variance = np.arange(1, FEW + 1) ** -1.5
    random, losses = np.random.default_rng(data), []
    for _ in range(60):
        inputs = random.standard_normal((data, FEW)) * np.sqrt(variance)
        features, teacher = random.standard_normal((params, FEW)), random.standard_normal(FEW)
        student = np.linalg.lstsq(inputs @ features.T, inputs @ teacher, rcond=None)[0]
        losses.append(float(variance @ (teacher - student @ features) ** 2))
    error = np.std(losses) / np.sqrt(len(losses))
    said = cell_of(data, params, 0.5, power_law_modes(FEW, 1.5, 1.5)).loss
    assert abs(np.mean(losses) - said) < 3 * error and error < 0.1 * said


def test_more_samples_than_modes_leave_nothing() -> None:
    with pytest.raises(ArithmeticError, match="nothing to learn"):
        resolution_limit(3000, power_law_modes(FEW, 1.5, 1.5))
