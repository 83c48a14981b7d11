"""Which runs to train next: the choice against brute force, budgets, and the forecast against a uniform grid."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import CHINCHILLA
from isoflop.queries.planning.design import Choices, choose
from isoflop.queries.planning.plan import Budget, NothingToChoose, plan_runs
from isoflop.queries.planning.posterior import PosteriorDraws
from isoflop.queries.planning.problem import Array, Condition, Variable
from tests.bench.design_worlds import WORLDS

SIZES = (Variable("params", 1e7, 1e10, is_log=True), Variable("tokens", 2e8, 1e12, is_log=True))
TARGET = np.array([[7e10, 1.4e12]])


def flops(points: Array) -> Array:
    return 6 * points[:, 0] * points[:, 1]


def some_choices(seed: int, num: int, *, limits: tuple[float, ...] = ()) -> Choices:
    chance = np.random.default_rng(seed)
    features = chance.normal(size=(num, 4)) * np.array([3, 2, 1, 0.3])
    costs = np.exp(chance.normal(size=(len(limits), num)))
    return Choices(features, chance.normal(size=(2, 4)), 0.7, costs, np.array(limits))


def fitted_world() -> PosteriorDraws:
    world = WORLDS[0]
    generator = np.random.default_rng(3)
    old = world.measured(world.truth(3), world.rows, generator)
    fit = fit_law(CHINCHILLA, world.rows, old, resamples=100)
    return PosteriorDraws.of(fit.fitted, np.concatenate([world.rows, TARGET]))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limits", [(), (2.0,), (2.0, 3.0)])
def test_the_choice_is_nearly_that_of_brute_force(seed: int, limits: tuple[float, ...]) -> None:
    choices = some_choices(seed, 18, limits=limits)
    chosen = choose(choices, 3, seed=seed)
    assert chosen is not None and (choices.left(chosen) >= -1e-9).all()
    every = [one for one in itertools.combinations_with_replacement(range(18), 3) if (choices.left(one) >= 0).all()]
    best = min(choices.variance(one) for one in every)
    assert choices.variance(chosen) <= 1.03 * best


def test_a_run_lowers_the_variance_by_as_much_as_is_said() -> None:
    choices = some_choices(1, 30)
    after = choices.after_one_more([4, 4, 7])
    np.testing.assert_allclose(after, [choices.variance([4, 4, 7, k]) for k in range(30)], rtol=1e-9)


def test_the_first_run_is_the_one_that_helps_most() -> None:
    choices = some_choices(2, 40, limits=(3.0,))
    chosen = choose(choices, 5)
    assert chosen is not None
    alone = [choices.variance([k]) for k in chosen]
    assert alone[0] == min(alone)


def test_per_cost_a_cheap_run_is_worth_more_than_a_dear_one_that_says_the_same() -> None:
    features = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    choices = Choices(features, np.eye(2), 1.0, np.empty((0, 3)), np.empty(0), per=np.array([1.0, 10.0, 50.0]))
    assert choose(choices, 2) == [0, 0]


def test_no_choice_fits_a_budget_that_is_too_small() -> None:
    assert choose(some_choices(0, 10, limits=(1e-3,)), 3) is None


def test_the_cloud_is_as_wide_as_the_resamples() -> None:
    chance = np.random.default_rng(0)
    rows = WORLDS[0].rows
    loss = CHINCHILLA.predict(np.array([1.82, 480, 2140, 0.348, 0.366]), rows) * np.exp(chance.normal(0, 0.004, 20))
    fit = fit_law(CHINCHILLA, rows, loss, resamples=300)
    posterior = PosteriorDraws.of(fit.fitted, np.concatenate([rows, TARGET]))
    features = posterior.features(TARGET)
    logs = np.log(CHINCHILLA.predict(fit.draws, TARGET))
    assert np.sqrt((features**2).sum()) == pytest.approx(logs.std(), rel=0.05)
    assert posterior.noise == fit.solution.residual_scale


def test_conditions_and_budgets_hold_and_lists_and_whole_numbers_are_kept() -> None:
    variables = (
        Variable("params", 1e7, 1e10, is_log=True),
        Variable("per_param", 5, 80, is_integer=True, values=(5, 20, 80)),
    )
    ratio = Condition("ratio", lambda p: p[:, 1], lambda p: np.full(len(p), 20.0))
    budget = Budget("SUM(flops) <= 1e20", lambda p: 6 * p[:, 0] ** 2 * p[:, 1], 1e20)
    posterior = fitted_world()
    plan = plan_runs(
        lambda places: posterior, lambda p: np.stack([p[:, 0], p[:, 0] * p[:, 1]], axis=1), TARGET, variables, 4,
        conditions=(ratio,), budgets=(budget,),
    )  # fmt: skip
    assert set(plan.points[:, 1]) <= {5.0, 20.0}
    assert budget.cost(plan.points).sum() <= 1e20 * (1 + 1e-8)
    assert (np.diff(plan.narrowing[:, 0]) <= 1e-12).all() and plan.narrowing[-1, 0] < plan.narrowing[0, 0]


def test_what_cannot_be_chosen_is_said() -> None:
    posterior = fitted_world()
    few = Condition("params <= 1", lambda p: p[:, 0], lambda p: np.ones(len(p)))
    with pytest.raises(NothingToChoose, match="nothing in OVER satisfies params <= 1"):
        plan_runs(lambda places: posterior, lambda p: p, TARGET, SIZES, 2, conditions=(few,))
    with pytest.raises(NothingToChoose, match="9 runs do not fit SUM"):
        plan_runs(lambda places: posterior, lambda p: p, TARGET, SIZES, 9, budgets=(Budget("SUM(flops)", flops, 5e16),))


@pytest.mark.parametrize("world", [WORLDS[1], WORLDS[3]], ids=["chinchilla", "width_depth"])
def test_the_same_flops_are_expected_to_narrow_more_than_on_a_uniform_grid(world) -> None:  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(11)
    old = world.measured(world.truth(11), world.rows, generator)
    fit = fit_law(world.law, world.rows, old, resamples=100)
    budget = 10 * world.spent
    plan, grid = world.designed(fit, budget, guarded=False), world.grid_of(budget)
    assert world.flops(plan.points).sum() <= budget * (1 + 1e-8)
    assert world.flops(grid).sum() == pytest.approx(budget)
    posterior = PosteriorDraws.of(fit.fitted, np.concatenate([plan.points, grid, [world.target]]))
    nothing = np.empty((0, len(grid)))
    uniform = Choices(
        posterior.features(grid), posterior.features(np.array([world.target])), posterior.noise, nothing, nothing[:, 0]
    )
    assert uniform.variance(range(len(grid))) > 1.5 * plan.narrowing[-1, 0] ** 2


@pytest.mark.slow
def test_simulated_designs_err_less_than_a_uniform_grid_for_the_same_flops() -> None:
    world, errors = WORLDS[0], {"design": [], "grid": []}  # type: ignore[var-annotated]
    target = np.array([world.target])
    for seed in range(100, 103):
        truth, generator = world.truth(seed), np.random.default_rng(seed)
        old = world.measured(truth, world.rows, generator)
        fit = fit_law(world.law, world.rows, old, resamples=100)
        runs = {
            "design": world.designed(fit, 10 * world.spent, guarded=False).points,
            "grid": world.grid_of(10 * world.spent),
        }
        for way, new in runs.items():
            inputs = np.concatenate([world.rows, new])
            for _ in range(4):
                losses = np.concatenate([old, world.measured(truth, new, generator)])
                found = fit_law(world.law, inputs, losses, resamples=0).coefficients
                errors[way].append(np.log(world.law.predict(found, target) / world.law.predict(truth, target))[0])
    design, grid = (np.mean(np.square(errors[way])) for way in ("design", "grid"))
    assert grid > 2 * design
