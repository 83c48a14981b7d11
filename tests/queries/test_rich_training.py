"""Networks of finite width that learn features: against training, and against random features where they are lazy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse.models.linear_descent import LinearDescent
from isoflop.queries.theory.equivalents import power_law_modes
from isoflop.queries.theory.feature_learning import rich_curve
from isoflop.queries.theory.rich_training import RICH_TRAINING, RichStudent, rich_losses
from isoflop.queries.theory.student_losses import StudentTheory
from isoflop.queries.theory.student_pairs import Student
from isoflop.workers import TrainOptions
from isoflop.workers.families import FeatureLearning

TASK: dict[str, Any] = {"dimension": 200, "spectrum_exponent": 0.75, "target_exponent": 0.125}


@pytest.mark.parametrize("changes", [{}, {"samples": 80.0, "noise": 0.1}])
def test_without_richness_they_are_random_features(changes: dict[str, float]) -> None:
    modes = power_law_modes(200, 1.5, 1.75, exact=60, per_decade=4)
    found = rich_losses(RichStudent(modes=modes, width=100, richness=0.0, rate=0.1, **changes), 40)
    known = Student(
        modes=modes, features=100, samples=changes.get("samples", np.inf), noise=changes.get("noise", 0.0),
        descent=LinearDescent(0.1),
    )  # fmt: skip
    test, train = StudentTheory(known, 39).every_step()
    np.testing.assert_allclose(found.test, test, rtol=1e-6)
    np.testing.assert_allclose(found.train, train, rtol=1e-6)


@pytest.mark.slow
def test_at_infinite_width_small_steps_are_the_flow() -> None:
    modes = power_law_modes(400, 2.0, 2.0)
    errors = []
    for rate in (0.1, 0.05):
        found = rich_losses(RichStudent(modes=modes, width=np.inf, richness=1.0, rate=rate), round(4 / rate) + 1)
        errors.append(found.test[-1] / rich_curve(2.0, 0.5, 1.0, np.array([4.0]), 400)[0] - 1)
    assert abs(2 * errors[1] - errors[0]) < 0.005, "what is left at small steps, to second order"


CASES: dict[str, dict[str, Any]] = {
    "lazy": {"width": 100, "richness": 0.0, "learning_rate": 0.3, "steps": 50},
    "rich": {"width": 100, "richness": 1.0, "steps": 60},
    "fresh batches": {"width": 60, "richness": 0.5, "batch_size": 32, "steps": 60},
    "samples": {"width": 100, "richness": 0.5, "samples": 80, "steps": 50},
    "noisy samples": {"width": 80, "richness": 0.5, "samples": 60, "noise": 0.2, "steps": 40},
}


@pytest.mark.parametrize("case", CASES)
def test_the_mean_of_many_runs_lies_where_it_says(case: str) -> None:
    """60 runs: within 5 per cent and 3.5 standard errors at every step."""
    settings, num_runs = {**TASK, **CASES[case]}, 60
    runs = [FeatureLearning.parse({**settings, "seed": seed}) for seed in range(num_runs)]
    program = FeatureLearning.program(runs, FeatureLearning.device(TrainOptions()))
    at = np.array([0, 1, 3, 10, 20, 40, runs[0].steps])
    said = RICH_TRAINING.predict({**runs[0].config(), "steps": runs[0].steps, "seed": 0}, at)
    for t in range(1, len(at)):
        program.advance(int(at[t] - at[t - 1]))
        measured = program.measure()
        for metric in RICH_TRAINING.metrics:
            mean, losses = said.mean[metric][t], measured[metric]
            distance = (losses.mean() - mean) / (losses.std() / np.sqrt(num_runs))
            assert abs(distance) < 3.5, (at[t], metric, distance)
            assert abs(losses.mean() / mean - 1) < 0.05, (at[t], metric)
            assert 0.3 < said.deviation[metric][t] / losses.std() < 2, (at[t], metric)


def test_the_exponents_are_those_of_the_task_and_of_richness() -> None:
    task = {"spectrum_exponent": 1.0, "target_exponent": 0.0}
    lazy = RICH_TRAINING.exponents({**task, "richness": 0.0})
    assert lazy == pytest.approx({"time": -0.5, "width": -1.0, "compute": -1 / 3, "best_width": 1 / 3})
    rich = RICH_TRAINING.exponents({**task, "richness": 0.2})
    assert rich == pytest.approx({"time": -2 / 3, "width": -1.0, "compute": -0.4, "best_width": 0.4})
    assert RICH_TRAINING.exponents({**task, "spectrum_exponent": 0.4, "richness": 0.2}) == {}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"steps": 151}, "it is rich and has 151 steps; at most 150"),
        ({"project": False}, "not kept in the span"),
        ({"samples": 20, "batch_size": 2}, "draws batches from samples"),
        ({"learning_rate": 3.0, "steps": 40}, "do not settle"),
    ],
)
def test_what_it_cannot_say_it_refuses(changes: dict[str, Any], problem: str) -> None:
    run = FeatureLearning.parse({**TASK, "width": 20, "steps": 30, **changes})
    with pytest.raises(ArithmeticError, match=problem):
        RICH_TRAINING.predict({**run.config(), "steps": run.steps, "seed": 0}, np.array([0, 1]))
