"""Penalties: their derivatives, their densities, and the smoother versions of themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.laws import (
    OBJECTIVES,
    Huber,
    LeastAbsolute,
    LeastSquares,
    Objective,
    RelativeSquares,
    find_objective,
)

ALL: list[Objective] = [Huber(0.02), LeastSquares(), LeastAbsolute(1e-3), RelativeSquares()]
RESIDUALS = np.array([-0.3, -0.021, -0.019, -1e-4, 0.0, 1e-4, 0.019, 0.021, 0.3])


@pytest.mark.parametrize("objective", ALL, ids=lambda one: one.name)
def test_the_influence_is_the_slope_of_the_penalty(objective: Objective) -> None:
    step = 1e-7
    above, below = objective.weigh(RESIDUALS + step, True)[0], objective.weigh(RESIDUALS - step, True)[0]
    np.testing.assert_allclose(objective.weigh(RESIDUALS, True)[1], (above - below) / (2 * step), atol=1e-6)


@pytest.mark.parametrize("objective", ALL, ids=lambda one: one.name)
def test_the_majorising_parabola_lies_above_the_penalty(objective: Objective) -> None:
    at = np.array([-0.2, -1e-3, 0.05])
    value, slope, curvature = objective.weigh(at, False)
    others = np.linspace(-0.5, 0.5, 101)[:, None]
    parabola = value + slope * (others - at) + 0.5 * curvature * (others - at) ** 2
    assert (parabola >= objective.weigh(np.broadcast_to(others, parabola.shape), False)[0] - 1e-12).all()


@pytest.mark.parametrize("objective", [Huber(0.02), LeastSquares()], ids=lambda one: one.name)
def test_the_normaliser_is_the_integral_of_the_density(objective: Objective) -> None:
    grid = np.linspace(-30, 30, 2_000_001)
    for scale in (1e-4, 1e-2, 0.03):
        mass = np.trapezoid(np.exp(-objective.weigh(grid, True)[0] / scale), grid)
        assert math.exp(objective.log_normalizer(scale)) == pytest.approx(mass, rel=1e-5)


def test_graduation_goes_from_wide_to_just_above_the_penalty() -> None:
    assert [round(one.delta, 6) for one in Huber(1e-3).graduation()] == [0.1, 0.01, 0.003162]
    assert Huber(0.5).graduation() == () == LeastSquares().graduation()
    assert len(LeastAbsolute().graduation()) > 6


@pytest.mark.parametrize("delta", [0, -1, math.inf, math.nan, "x"])
def test_delta_must_be_a_positive_number(delta: object) -> None:
    with pytest.raises(UsageError, match="delta is"):
        Huber(delta)  # type: ignore[arg-type]


def test_every_objective_is_found_by_its_own_name() -> None:
    assert all(find_objective(name).name == name for name in OBJECTIVES)
    assert find_objective("huber_log", 0.5) == Huber(0.5)
