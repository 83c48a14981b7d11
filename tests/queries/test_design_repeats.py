"""Chosen runs that are nearly one point become one point, and that costs a forecast nothing."""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.queries.fitting import fit_law
from isoflop.queries.planning import plan as planning
from isoflop.queries.planning.problem import Variable
from isoflop.queries.planning.repeats import NEAR, merged
from tests.bench.design_worlds import WORLDS


def is_near(one: np.ndarray, other: np.ndarray) -> bool:  # type: ignore[type-arg]
    return bool((np.abs(one - other) <= NEAR * np.minimum(one, other)).all())


@pytest.mark.parametrize("world", [WORLDS[0], WORLDS[2]], ids=["chinchilla", "kaplan"])
def test_merging_leaves_fewer_places_and_a_forecast_as_narrow(world, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(3)
    fit = fit_law(world.law, world.rows, world.measured(world.truth(3), world.rows, generator), resamples=100)
    budget = 10 * world.spent
    plan = world.designed(fit, budget)

    def apart(points, variables, possible, choices_of, seed):  # type: ignore[no-untyped-def]
        return points, choices_of(points), list(range(len(points)))

    monkeypatch.setattr(planning, "merged", apart)
    before = world.designed(fit, budget)
    places = np.unique(plan.points, axis=0)
    assert len(places) < len(np.unique(before.points, axis=0)) and len(plan.points) == len(before.points)
    assert not any(is_near(one, other) for k, one in enumerate(places) for other in places[:k])
    assert plan.narrowing[-1].mean() <= before.narrowing[-1].mean() * 1.001
    assert world.flops(plan.points).sum() <= budget * (1 + 1e-8)
    assert (np.diff(plan.narrowing[:, 0]) <= 1e-12).all()


def test_what_conditions_budgets_and_lists_leave_apart_stays_apart() -> None:
    variables = (Variable("params", 1.0, 100.0), Variable("depth", 1.0, 8.0, is_integer=True, values=(1.0, 2.0)))
    points = np.array([[10.0, 1.0], [10.3, 1.0], [10.2, 2.0], [50.0, 2.0]])

    def choices_of(places: np.ndarray) -> planning.Choices:  # type: ignore[type-arg]
        features = np.stack([np.log(places[:, 0]), places[:, 1]], axis=1)
        costs = places[:, :1].T
        return planning.Choices(features, np.array([[1.0, 1.0]]), 0.1, costs, np.array([81.0]))

    candidates, choices, chosen = merged(
        points, variables, lambda places: np.asarray(places[:, 0] != 10.0), choices_of, seed=0
    )
    found = candidates[chosen]
    assert len(found) == 4 and choices.left(chosen)[0] >= -1e-6
    assert set(found[:, 1]) <= {1.0, 2.0} and 10.0 not in found[:, 0]
    assert len(np.unique(found[found[:, 1] == 1.0], axis=0)) <= 1
