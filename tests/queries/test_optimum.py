"""The best point under conditions: closed forms, brute force, whole numbers, and problems that have none."""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.queries.laws import CHINCHILLA
from isoflop.queries.planning.optimum import grid, optimize
from isoflop.queries.planning.problem import Array, Condition, ConstrainedProblem, Variable

COEFFICIENTS = np.array([1.69, 406.4, 410.7, 0.34, 0.28])
SIZES = (Variable("params", 1e5, 1e14, is_log=True), Variable("tokens", 1e6, 1e16, is_log=True))


def loss(points: Array) -> Array:
    return CHINCHILLA.predict(COEFFICIENTS, points)


def within(budget: float, relation: str = "<=") -> Condition:
    return Condition("budget", lambda p: 6 * p[:, 0] * p[:, 1], lambda p: np.full(len(p), budget), relation)


def closed_form(budget: float) -> tuple[float, float]:
    """Hoffmann et al. 2022 (arXiv:2203.15556), eq. 4."""
    _, a, b, alpha, beta = COEFFICIENTS
    params = (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (budget / 6) ** (beta / (alpha + beta))
    return params, budget / 6 / params


@pytest.mark.parametrize("budget", np.geomspace(1e18, 1e26, 10))
@pytest.mark.parametrize("relation", ["<=", "="])
def test_the_compute_optimum_is_the_closed_form(budget: float, relation: str) -> None:
    found = optimize(ConstrainedProblem(SIZES, loss, (within(budget, relation),)))
    np.testing.assert_allclose(np.log(found.point), np.log(closed_form(budget)), atol=1e-6)
    assert found.status == "optimal" and found.binding == ("budget",) and found.edges == ()
    raised = (loss(np.array([closed_form(budget * 1.001)])) - loss(np.array([closed_form(budget / 1.001)])))[0]
    assert found.multipliers[0] == pytest.approx(raised / (budget * (1.001 - 1 / 1.001)), rel=1e-5)


def test_the_cheapest_run_of_a_loss_is_the_compute_optimum_turned_round() -> None:
    goal = Condition("loss", loss, lambda p: np.full(len(p), loss(np.array([closed_form(1e22)]))[0]))
    found = optimize(ConstrainedProblem(SIZES, lambda p: 6 * p[:, 0] * p[:, 1], (goal,)))
    assert found.status == "optimal" and found.value == pytest.approx(1e22, rel=1e-6)
    np.testing.assert_allclose(np.log(found.point), np.log(closed_form(1e22)), atol=1e-6)


@pytest.mark.parametrize("seed", range(25))
def test_nothing_found_by_brute_force_is_better(seed: int) -> None:
    chance = np.random.default_rng(seed)
    variables = (Variable("x", 0.1, 10.0), Variable("y", -3.0, 3.0))
    waves, limits = chance.uniform(0.3, 1.5, 4), chance.uniform(-1, 1, 3)

    def objective(p: Array) -> Array:
        x, y = p.T
        return np.sin(waves[0] * x + y) + 0.1 * waves[1] * (x - 5) ** 2 + waves[2] * np.cos(2 * y) * waves[3]

    conditions = (
        Condition("disc", lambda p: (p[:, 0] - 5) ** 2 + p[:, 1] ** 2, lambda p: np.full(len(p), 9 + limits[0])),
        Condition("line", lambda p: p[:, 0] + limits[1] * p[:, 1], lambda p: np.full(len(p), 4 + limits[2]), ">="),
    )
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0.1, 10, 1201), np.linspace(-3, 3, 1201)))
    points = np.stack([x, y], axis=1)
    feasible = (conditions[0].left(points) <= 9 + limits[0]) & (conditions[1].left(points) >= 4 + limits[2])
    for maximize in (False, True):
        found = optimize(ConstrainedProblem(variables, objective, conditions, maximize))
        values = objective(points[feasible])
        best = values.max() if maximize else values.min()
        assert found.status == "optimal" and found.stationarity < 1e-6
        assert found.value >= best - 1e-9 if maximize else found.value <= best + 1e-9
        assert abs(found.value - best) < 0.02 and found.slack.min() > -1e-7


@pytest.mark.parametrize("seed", [0, 7, 13, 21, 29, 37])
def test_on_an_equation_nothing_found_by_brute_force_is_better(seed: int) -> None:
    chance = np.random.default_rng(seed)
    k, total = chance.uniform(0.3, 3, 4), chance.uniform(2, 6)
    variables = tuple(Variable(name, 0.1, 10) for name in "xyz")

    def objective(p: Array) -> Array:
        x, y, z = p.T
        return np.sin(k[0] * x) * y + (z - k[1]) ** 2 + 0.1 * y**2

    conditions = (
        Condition("sum", lambda p: p[:, 0] + p[:, 1] * p[:, 2] ** 0.5, lambda p: np.full(len(p), total), "="),
        Condition("product", lambda p: p[:, 0] * p[:, 2], lambda p: np.full(len(p), 3 * k[2])),
    )
    y, z = (axis.ravel() for axis in np.meshgrid(np.linspace(0.1, 10, 1200), np.linspace(0.1, 10, 1200)))
    x = total - y * z**0.5
    points = np.stack([x, y, z], axis=1)[(x >= 0.1) & (x <= 10) & (x * z <= 3 * k[2])]
    found = optimize(ConstrainedProblem(variables, objective, conditions))
    assert found.status == "optimal" and found.value <= objective(points).min() + 1e-9


@pytest.mark.parametrize("seed", range(12))
def test_whole_numbers_are_the_best_of_all_whole_numbers(seed: int) -> None:
    chance = np.random.default_rng(seed)
    price, worth, limit = chance.uniform(1, 9, 3), chance.uniform(1, 9, 3), chance.uniform(60, 200)
    variables = tuple(Variable(name, 1, 40, is_integer=True) for name in "abc")
    problem = ConstrainedProblem(
        variables,
        lambda p: np.log(p) @ worth,
        (Condition("price", lambda p: p @ price, lambda p: np.full(len(p), limit)),),
        maximize=True,
    )
    axes = np.arange(1.0, 41.0)
    points = np.stack([axis.ravel() for axis in np.meshgrid(axes, axes, axes)], axis=1)
    points = points[points @ price <= limit]
    assert optimize(problem).value == pytest.approx((np.log(points) @ worth).max(), abs=1e-9)


def test_a_whole_number_beside_a_real_one_is_polished_again() -> None:
    variables = (Variable("depth", 1, 200, is_integer=True), Variable("width", 1.0, 1e4, is_log=True))
    budget = Condition("budget", lambda p: p[:, 0] * p[:, 1] ** 2, lambda p: np.full(len(p), 1e6))
    found = optimize(ConstrainedProblem(variables, lambda p: 3 / p[:, 0] + 20 / p[:, 1], (budget,)))
    depths = np.arange(1, 201)
    values = 3 / depths + 20 / np.sqrt(1e6 / depths)
    assert found.point[0] == depths[values.argmin()] and found.value == pytest.approx(values.min(), abs=1e-12)


def test_without_conditions_the_lowest_point_of_the_box_is_found() -> None:
    box = (Variable("x", -4, 4), Variable("y", 0.5, 4))
    found = optimize(ConstrainedProblem(box, lambda p: (p[:, 0] - 1) ** 2 + p[:, 1]))
    assert found.status == "optimal" and found.edges == ("y",)
    np.testing.assert_allclose(found.point, [1, 0.5], atol=1e-6)


def test_a_problem_that_nothing_satisfies_names_what_is_broken() -> None:
    few = Condition("few", lambda p: p[:, 0], lambda p: np.full(len(p), 1e3))
    found = optimize(ConstrainedProblem(SIZES, loss, (few, within(1e30))))
    assert found.status == "infeasible" and found.binding == ("few",)


def test_a_feasible_corner_between_the_points_of_the_grid_is_found() -> None:
    low = Condition("low", lambda p: p[:, 0], lambda p: np.full(len(p), 1.23456e9), ">=")
    high = Condition("high", lambda p: p[:, 0], lambda p: np.full(len(p), 1.23457e9))
    found = optimize(ConstrainedProblem(SIZES, loss, (low, high, within(1e22))))
    assert found.status == "optimal" and 1.23456e9 * (1 - 1e-9) <= found.point[0] <= 1.23457e9 * (1 + 1e-9)


def test_the_grid_holds_both_ends_of_every_range() -> None:
    points = grid((Variable("x", 2, 2e5), Variable("n", 3, 9, is_integer=True), Variable("z", 1e-3, 1e3, is_log=True)))
    assert points.min(axis=0).tolist() == [2, 3, 1e-3] and points.max(axis=0).tolist() == [2e5, 9, 1e3]
    assert set(points[:, 1]) == set(range(3, 10))
