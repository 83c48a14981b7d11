"""Random-feature students: closed forms and coordinates against the definition, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.lakehouse.models.linear_descent import LinearDescent
from isoflop.lakehouse.models.spectrum import power_law
from isoflop.workers import TrainOptions
from isoflop.workers.families import ConfigError, RandomFeatures
from isoflop.workers.families.students import StudentProgram

Floats = NDArray[np.float64]
TASK: dict[str, Any] = {
    "dimension": 50, "width": 12, "samples": 20, "spectrum_exponent": 0.7, "target_exponent": 0.1, "noise": 0.1,
    "steps": 60, "learning_rate": 0.3, "seed": 4,
}  # fmt: skip


def student(**changes: Any) -> RandomFeatures:
    return RandomFeatures.parse({**TASK, **changes})


def measured(runs: list[RandomFeatures], marks: list[int]) -> dict[str, Floats]:
    """Every metric of every run at each mark, (marks, R)."""
    program = RandomFeatures.program(runs, RandomFeatures.device(TrainOptions()))
    rows, done = [], 0
    for mark in marks:
        program.advance(mark - done)
        rows.append(program.measure())
        done = mark
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def world(run: RandomFeatures, member: int = 0) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Variances, target, features A / sqrt(N), inputs and labels of a run as the definition has them."""
    variances = power_law(run.dimension, 2 * run.task.spectrum_exponent)
    target = power_law(run.dimension, run.task.target_exponent)
    own_features = member if run.students_draw != "samples" else 0
    own_samples = member if run.students_draw != "features" else 0
    drawn = np.random.default_rng([run.seed, 0, own_features]).standard_normal((run.dimension, run.width))
    generator = np.random.default_rng([run.seed, 1, own_samples])
    inputs = generator.standard_normal((run.samples or 1, run.dimension)) * np.sqrt(variances)
    labels = inputs @ target + np.sqrt(run.noise) * generator.standard_normal(len(inputs))
    return variances, target, drawn.T / np.sqrt(run.width), inputs, labels


def stepped(run: RandomFeatures, rate: float, momentum: float, num_steps: int, member: int = 0) -> list[Floats]:
    """The weights before each step of descent on all samples, or on the population, by the definition."""
    variances, target, features, inputs, labels = world(run, member)
    theta, velocity, found = np.zeros(run.width), np.zeros(run.width), []
    for _ in range(num_steps + 1):
        found.append(theta)
        if run.samples is None:
            slope = features @ (variances * (target - features.T @ theta))
        else:
            seen = inputs @ features.T
            slope = seen.T @ (labels - seen @ theta) / len(labels)
        velocity = momentum * velocity + rate * slope
        theta = theta + velocity
    return found


@pytest.mark.parametrize("samples", [None, 8, 20])
@pytest.mark.parametrize("optimizer", ["gradient_descent", "momentum"])
@pytest.mark.parametrize("width", [12, 70])
def test_closed_forms_are_the_steps_of_the_definition(samples: int | None, optimizer: str, width: int) -> None:
    momentum = {"momentum": 0.6} if optimizer == "momentum" else {}
    run, marks = student(samples=samples, optimizer=optimizer, width=width, **momentum), [0, 1, 2, 7, 60]
    variances, target, features, inputs, labels = world(run)
    thetas = stepped(run, 0.3, momentum.get("momentum", 0.0), 60)
    found = measured([run], marks)
    loss = [variances @ (target - features.T @ thetas[mark]) ** 2 for mark in marks]
    np.testing.assert_allclose(found["loss"][:, 0], loss, rtol=1e-9)
    assert loss[-1] < 0.7 * loss[0], "nothing was learned, so nothing was compared"
    if samples is None:
        np.testing.assert_allclose(found["train_loss"][:, 0], np.array(loss) + run.noise, rtol=1e-9)
    else:
        trained = [np.mean((labels - inputs @ features.T @ thetas[mark]) ** 2) for mark in marks]
        np.testing.assert_allclose(found["train_loss"][:, 0], trained, rtol=1e-9, atol=1e-12)


def test_the_flow_is_the_limit_of_small_steps() -> None:
    [limit] = measured([student(optimizer="gradient_flow", learning_rate=0.2, steps=100)], [100])["loss"]
    errors = []
    for parts in (10, 20, 40):
        run = student(optimizer="gradient_descent", learning_rate=0.2 / parts, steps=100 * parts)
        errors.append(abs(measured([run], [100 * parts])["loss"][0] - limit)[0])
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 2.0, rtol=0.05)  # first order


def test_heavy_balls_whose_two_rates_meet_have_a_limit() -> None:
    """At curvature (1 - sqrt(mu))^2 / eta the closed form divides zero by zero."""
    momentum, rate = 0.49, 0.5
    curvature = (1 - np.sqrt(momentum)) ** 2 / rate
    value, before, expected = 1.0, 1.0, [1.0]
    for _ in range(30):
        value, before = value - rate * curvature * value + momentum * (value - before), value
        expected.append(value)
    for near in (0.0, 1e-13, 1e-5):
        descent = LinearDescent(rate, momentum)
        found = [descent.unlearned(np.array([curvature * (1 + near)]), np.array([n]))[0] for n in range(31)]
        np.testing.assert_allclose(found, expected, rtol=1e-3 if near == 1e-5 else 1e-6)


@pytest.mark.parametrize("drawn", ["features", "samples", "both"])
def test_an_ensemble_predicts_by_the_mean_of_students_that_each_learn_alone(drawn: str) -> None:
    run = student(students=3, students_draw=drawn, optimizer="gradient_descent")
    parts = [world(run, member) for member in range(3)]
    thetas = [stepped(run, 0.3, 0.0, 40, member)[40] for member in range(3)]
    variances, target = parts[0][:2]
    mean = np.mean([part[2].T @ theta for part, theta in zip(parts, thetas, strict=True)], axis=0)
    found = measured([run], [40])
    assert found["loss"][0, 0] == pytest.approx(variances @ (target - mean) ** 2, rel=1e-9)
    own = [np.mean((part[4] - part[3] @ part[2].T @ theta) ** 2) for part, theta in zip(parts, thetas, strict=True)]
    assert found["train_loss"][0, 0] == pytest.approx(np.mean(own), rel=1e-9)
    assert len({float(each) for each in own}) == 3


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_batches_of_the_samples_are_the_steps_of_the_definition(momentum: float) -> None:
    run = student(optimizer="momentum", momentum=momentum, learning_rate=0.05, batch_size=3, steps=40)
    variances, target, features, inputs, labels = world(run)
    seen = inputs @ features.T
    chosen = np.random.default_rng([run.seed, 2, 0, 0]).integers(20, size=(2**15 // 3, 3))
    theta, velocity = np.zeros(run.width), np.zeros(run.width)
    for step in range(40):
        rows = seen[chosen[step]]
        velocity = momentum * velocity + 0.05 * rows.T @ (labels[chosen[step]] - rows @ theta) / 3
        theta = theta + velocity
    found = measured([run], [40])
    assert found["loss"][0, 0] == pytest.approx(variances @ (target - features.T @ theta) ** 2, rel=1e-9)
    assert found["train_loss"][0, 0] == pytest.approx(np.mean((labels - seen @ theta) ** 2), rel=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_fresh_batches_scatter_as_data_drawn_mode_by_mode(momentum: float) -> None:
    """The same features and 400 courses of data each: means and deviations agree within four standard errors."""
    run = student(samples=None, optimizer="momentum", momentum=momentum, learning_rate=0.05, batch_size=2, steps=30)
    variances, target, features, _, _ = world(run)
    random, num_runs = np.random.default_rng(0), 400
    theta, velocity = np.zeros((num_runs, run.width)), np.zeros((num_runs, run.width))
    for _ in range(30):
        inputs = random.standard_normal((num_runs, 2, run.dimension)) * np.sqrt(variances)
        labels = inputs @ target + np.sqrt(run.noise) * random.standard_normal((num_runs, 2))
        seen = inputs @ features.T
        misses = labels - np.einsum("rbn,rn->rb", seen, theta)
        velocity = momentum * velocity + 0.05 / 2 * np.einsum("rb,rbn->rn", misses, seen)
        theta = theta + velocity
    literal = (target - theta @ features) ** 2 @ variances
    program = on_the_features_of([run.model_copy(update={"seed": seed}) for seed in range(num_runs)], run)
    program.advance(30)
    found = program.measure()["loss"]
    error = np.hypot(found.std(), literal.std()) / np.sqrt(num_runs)
    assert abs(found.mean() - literal.mean()) < 4 * error
    assert found.std() == pytest.approx(literal.std(), rel=4 * np.sqrt(1 / num_runs) * 2)
    quiet = measured([student(samples=None, optimizer="momentum", momentum=momentum, learning_rate=0.05)], [30])
    assert found.mean() > quiet["loss"][0, 0] + 4 * error, "batches add loss"


def on_the_features_of(runs: list[RandomFeatures], drawn: RandomFeatures) -> StudentProgram:
    """A program of runs with their own batches, on the features of one of them."""
    program = StudentProgram([drawn] * len(runs))
    program._steps.keys = [(run.seed, 2, 0) for run in runs]
    return program


def test_what_does_not_go_together_is_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="'students_draw' is 'both', but there are no samples"):
        student(samples=None, students_draw="both")
    with pytest.raises(ConfigError, match="'batch_size' is of no flow"):
        student(batch_size=3, optimizer="gradient_flow")
    with pytest.raises(ConfigError, match=r"'dimension' is 10000000: features and samples have 5.4e\+08"):
        student(dimension=10_000_000, samples=42)


def test_a_rate_that_is_too_large_grows_without_bound_and_without_a_warning() -> None:
    run = student(optimizer="gradient_descent", learning_rate=9.0, steps=2000)
    assert not np.isfinite(measured([run], [2000])["loss"]).all()
