"""Adaptive kernels: the acceptance checks of their specification by number, and the theory beside runs of its family.

Check 4 is in `tests/workers/test_mean_field_family.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse.models.mean_field import draw_task
from isoflop.queries.theory.adaptive_kernels.flow import Motion, flow_curves
from isoflop.queries.theory.adaptive_kernels.lazy import lazy_kernels, regressed
from isoflop.queries.theory.adaptive_kernels.linear import layer_overlaps, solve_linear
from isoflop.queries.theory.adaptive_kernels.saddle import Problem, action, solve_saddle
from isoflop.queries.theory.adaptive_kernels.theory import ADAPTIVE_KERNEL
from isoflop.workers import TrainOptions
from isoflop.workers.families import MeanField
from isoflop.workers.families.mean_field_program import MeanFieldNetwork
from isoflop.workers.families.one_by_one import OneByOne

Array = np.ndarray
PRINTED = {  # c of white data at beta = 100: gamma = 10^-1.8, 10^-0.4, 10^0.2, 10^1.2 and 100, by layers
    1: (1.0002462, 1.1369755, 2.1549127, 16.347134, 100.4913),
    2: (1.0004925, 1.2624, 3.1832, 44.358, 478.85),
    4: (1.0010, 1.4905, 5.0289, 111.605, 1810.56),
    8: (1.0020, 1.8913, 8.2837, 252.128, 5220.5),
    16: (1.0039, 2.5786, 13.9912, 524.35, 12455.6),
}
RICHNESS = 10 ** np.array([-1.8, -0.4, 0.2, 1.2, 2.0])
SMALL: dict[str, Any] = {
    "dimension": 6, "samples": 30, "test_samples": 300, "task": "tanh_square", "input_scale": 1.5, "task_seed": 0,
    "inverse_temperature": 10.0,
}  # fmt: skip


def small_problem(richness: float, activation: str = "tanh") -> tuple[Problem, Array]:
    """The problem of checks 1 to 3, and its scaled test inputs."""
    data = draw_task("tanh_square", 6, 30, 300, 0.0, 0)
    problem = Problem(inputs=1.5 * data.inputs, labels=data.labels, activation=activation, richness=richness, ridge=0.1)
    return problem, 1.5 * data.test_inputs


def adaptive(problem: Problem, tests: Array, particles: int) -> Array:
    saddle = solve_saddle(problem, particles, 0)
    found: Array = saddle.kernel(problem, tests) @ saddle.missing
    return found


def nngp(problem: Problem, tests: Array) -> Array:
    among, across = (lazy_kernels(each, problem.inputs, problem.activation)[0] for each in (problem.inputs, tests))
    return regressed(among, across, problem.labels, problem.ridge)


def distance(found: Array, wanted: Array) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def trained(count: int = 1, **settings: Any) -> tuple[list[MeanField], OneByOne[MeanFieldNetwork]]:
    """Runs with seeds from 0, trained to their end."""
    runs = [MeanField.parse({**settings, "seed": seed}) for seed in range(count)]
    program = MeanField.program(runs, MeanField.device(TrainOptions()))
    assert isinstance(program, OneByOne)
    program.advance(runs[0].steps)
    return runs, program


@pytest.mark.parametrize("particles", [6000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_check_1_a_lazy_one_is_nngp_regression(particles: int) -> None:
    problem, tests = small_problem(1e-3)
    assert distance(adaptive(problem, tests, particles), nngp(problem, tests)) < 0.01


@pytest.mark.parametrize("richness", [0.6, 1.0])
@pytest.mark.parametrize("particles", [2000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_check_2_the_saddle_is_one(richness: float, particles: int) -> None:
    problem, _ = small_problem(richness)
    found = solve_saddle(problem, particles, 0)
    again = np.linalg.solve(found.kernel(problem) + 0.1 * np.eye(30), problem.labels)
    assert distance(found.missing, again) < 0.01
    assert 1 / np.sum(found.shares**2) > 0.9 * len(found.shares), "the particles are not those of this Delta"
    features = problem.features(found.weights)
    tilt = np.log(found.shares) - richness**2 / 2 * (features @ found.missing) ** 2
    lowest, slope = action(problem, richness, features, tilt, found.missing)
    assert np.linalg.norm(slope) < 1e-3 * np.linalg.norm(problem.labels)
    random = np.random.default_rng(1)
    for size in (0.01, 0.1):
        for _ in range(10):
            other = found.missing + size * np.linalg.norm(found.missing) * random.standard_normal(30) / np.sqrt(30)
            assert action(problem, richness, features, tilt, other)[0] >= lowest


def test_check_3_a_network_is_the_adaptive_kernel_and_not_the_lazy_one() -> None:
    problem, tests = small_problem(0.6)
    _, program = trained(**SMALL, richness=0.6, width=400, steps=12_000)
    network = program.networks[0].mean_predictions()
    missed = distance(adaptive(problem, tests, 2000), network)
    assert missed <= 0.05
    assert distance(nngp(problem, tests), network) >= 5 * missed


@pytest.mark.slow
@pytest.mark.parametrize("richness", [0.6, 1.0])
def test_check_5_wider_networks_are_nearer(richness: float) -> None:
    problem, tests = small_problem(richness)
    limit, misses = adaptive(problem, tests, 20_000), []
    for width in (100, 1600):
        _, program = trained(4 if width == 100 else 1, **SMALL, richness=richness, width=width, steps=12_000)
        misses.append(np.mean([distance(limit, each.mean_predictions()) for each in program.networks]))
    assert misses[1] < misses[0]


@pytest.mark.parametrize("richness", [0.6, 1.0])
@pytest.mark.parametrize("particles", [4000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_check_6_particles_of_a_linear_network_follow_its_algebra(richness: float, particles: int) -> None:
    problem, tests = small_problem(richness, "linear")
    problem = replace(problem, ridge=10.0)  # so strong that the size of the kernel is seen
    found = solve_linear(problem)
    exact = found.scale * tests @ problem.inputs.T @ found.missing
    assert distance(adaptive(problem, tests, particles), exact) < 0.02
    assert distance(nngp(problem, tests), exact) > 0.02


@pytest.mark.parametrize("particles", [300, pytest.param(3000, marks=pytest.mark.slow)])
def test_check_7_a_target_of_one_direction_is_learned_better(particles: int) -> None:
    data = draw_task("sine", 10, 150, 800, 0.01 / 0.5, 0)  # labels' noise of 0.1, of a sine with a variance of a half
    problem = Problem(
        inputs=2 * data.inputs, labels=data.labels, activation="tanh", richness=0.5, ridge=1 / 3
    )  # fmt: skip
    tests, errors = 2 * data.test_inputs, list[float]()
    kernels = zip(*(lazy_kernels(each, problem.inputs, "tanh") for each in (problem.inputs, tests)), strict=True)
    for among, across in kernels:
        for ridge in (1.0, 1 / 3, 0.1, 1 / 30, 0.01, 0.001):
            errors.append(distance(regressed(among, across, data.labels, ridge), data.test_targets) ** 2)
    assert distance(adaptive(problem, tests, particles), data.test_targets) ** 2 <= 0.6 * min(errors)


@pytest.mark.parametrize("layers", PRINTED)
def test_check_8_linear_networks_have_the_printed_overlaps(layers: int) -> None:
    for richness, printed in zip(RICHNESS, PRINTED[layers], strict=True):
        white = Problem(
            inputs=np.eye(8), labels=np.eye(8)[0], activation="linear", richness=float(richness), ridge=0.01
        )
        found = solve_linear(white, layers).scale
        digits = max(5, len(f"{printed}".replace(".", "")))
        assert found == pytest.approx(printed, rel=0.6 * 10 ** (1 - min(digits, 5)))
        assert layer_overlaps(white, layers)[-1] == pytest.approx(found, rel=1e-9)


def test_check_8_sixteen_layers_have_the_printed_overlaps() -> None:
    white = Problem(inputs=np.eye(8), labels=np.eye(8)[0], activation="linear", richness=4.0, ridge=0.1)
    found = layer_overlaps(white, 16)
    np.testing.assert_allclose(found[:4], [1.286, 1.653, 2.126, 2.733], rtol=4e-4)
    assert found[-1] == pytest.approx(55.791, rel=1e-5)


@pytest.mark.parametrize(
    ("richness", "particles"), [(0.398, 2000), (1.585, 2000), pytest.param(15.85, 20_000, marks=pytest.mark.slow)]
)
def test_check_8_particles_of_one_linear_layer_have_them_too(richness: float, particles: int) -> None:
    white = Problem(inputs=np.eye(8), labels=np.eye(8)[0], activation="linear", richness=richness, ridge=0.01)
    found = solve_saddle(white, particles, 0).kernel(white)[0, 0]
    assert found == pytest.approx(solve_linear(white).scale, rel=0.02)


DIGITS: dict[str, Any] = {
    "dimension": 64, "samples": 300, "test_samples": 60, "task": "digits", "activation": "relu", "richness": 4.0,
    "optimizer": "gradient_descent", "learning_rate": 0.0005, "weight_decay": 2.0, "steps": 4000, "task_seed": 0,
}  # fmt: skip


@pytest.mark.parametrize("width", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_check_9_digits_come_to_rest_at_their_own_kernel_which_beats_the_lazy_one(width: int) -> None:
    _, program = trained(**DIGITS, width=width)
    found = program.measure()
    loss, regression = found["loss"][0], found["predictor_loss"][0]
    assert regression == pytest.approx(loss, rel=0.03)
    assert all(regression <= errors[0] for errors in lazy_digits((2.0,)))


def lazy_digits(ridges: tuple[float, ...]) -> list[list[float]]:
    """Test errors of NNGP and NTK regression on the digits of check 9, at some ridges."""
    data = draw_task("digits", 64, 300, 60, 0.0, 0)
    kernels = zip(*(lazy_kernels(each, data.inputs, "relu") for each in (data.inputs, data.test_inputs)), strict=True)
    return [
        [distance(regressed(among, across, data.labels, ridge), data.test_targets) ** 2 for ridge in ridges]
        for among, across in kernels
    ]


@pytest.mark.slow
def test_check_9_the_best_decay_beats_the_best_ridge() -> None:
    digits = {**DIGITS, "width": 100, "steps": 12_000}
    best = min(trained(**{**digits, "weight_decay": decay})[1].measure()["loss"][0] for decay in (0.5, 0.1))
    assert best <= min(min(errors) for errors in lazy_digits((2.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)))


LANGEVIN = [
    {**SMALL, "richness": 0.6, "width": 100, "steps": 2000},
    {**SMALL, "task": "sine", "richness": 1.0, "width": 100, "steps": 2000, "activation": "relu"},
    {"task": "white", "dimension": 8, "samples": 8, "width": 100, "steps": 2000, "activation": "linear",
     "richness": 1.0, "task_seed": 0},
]  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [LANGEVIN[0], pytest.param(LANGEVIN[1], marks=pytest.mark.slow), LANGEVIN[2]],
    ids=("tanh", "relu", "linear"),
)
def test_sampled_networks_have_its_means_and_scatter(settings: dict[str, Any]) -> None:
    """Thirty networks: means within 4 standard errors and 5 per cent, for what 1 / N adds; scatter by 0.6 to 1.5."""
    runs, program = trained(30, **settings)
    measured = program.measure()
    found = ADAPTIVE_KERNEL.predict({**runs[0].config(), "seed": 0}, np.array([0, runs[0].steps]))
    for metric in ("loss", "train_loss", "predictor_loss", "overlap", "alignment", "kernel_change"):
        said, spread = found.mean[metric][1], found.deviation[metric][1]
        error = spread / np.sqrt(30)
        assert abs(measured[metric].mean() - said) < 4 * error + 0.05 * said, metric
        assert 0.6 < measured[metric].std() / spread < 1.5, metric


@pytest.mark.slow
def test_deep_linear_networks_have_its_errors_and_overlap() -> None:
    """Twelve networks at eight times, so far apart that they are nearly independent."""
    settings: dict[str, Any] = {
        "task": "linear", "dimension": 4, "samples": 12, "depth": 2, "width": 60, "steps": 1000, "noise": 0.2,
        "activation": "linear", "richness": 1.0, "task_seed": 0, "learning_rate": 0.02,
    }  # fmt: skip
    runs, program = trained(12, **settings)
    found = ADAPTIVE_KERNEL.predict({**runs[0].config(), "seed": 0}, np.array([0, 1000]))
    rows = []
    for _ in range(8):
        program.advance(100)
        rows.append(program.measure())
    for metric in ("loss", "train_loss", "overlap"):
        measured, said = np.array([row[metric] for row in rows]), found.mean[metric][1]
        error = measured.mean(axis=0).std() / np.sqrt(12)
        assert abs(measured.mean() - said) < 4 * error + 0.08 * said, metric
        if metric != "overlap":  # of which the deviation is that of the last layer alone
            assert 0.6 < measured.std() / found.deviation[metric][1] < 1.5, metric


@pytest.mark.parametrize("optimizer", ["gradient_descent", "gradient_flow"])
def test_networks_under_decay_follow_its_trajectory(optimizer: str) -> None:
    """Twenty networks at four times, within 4 standard errors and 3 per cent."""
    settings: dict[str, Any] = {
        "task": "sine", "dimension": 4, "samples": 15, "test_samples": 100, "richness": 1.0, "width": 100,
        "optimizer": optimizer, "learning_rate": 0.05, "weight_decay": 0.1, "steps": 400, "task_seed": 1,
    }  # fmt: skip
    at = np.array([0, 10, 40, 100, 400])
    runs = [MeanField.parse({**settings, "seed": seed}) for seed in range(20)]
    found = ADAPTIVE_KERNEL.predict({**runs[0].config(), "seed": 0}, at)
    program, done = MeanField.program(runs, MeanField.device(TrainOptions())), 0
    for place, step in enumerate(at):
        program.advance(int(step) - done)
        measured, done = program.measure(), int(step)
        for metric in ("loss", "train_loss", "predictor_loss", "overlap", "alignment", "kernel_change"):
            error = measured[metric].std() / np.sqrt(20)
            said = found.mean[metric][place]
            assert abs(measured[metric].mean() - said) < 4 * error + 0.03 * abs(said) + 1e-12, (metric, step)
            if step == 400:
                assert 0.4 < measured[metric].std() / found.deviation[metric][place] < 2.5, metric


@pytest.mark.slow
def test_neurons_at_rest_are_regression_with_their_kernel() -> None:
    problem, tests = small_problem(1.0)
    data = draw_task("tanh_square", 6, 30, 300, 0.0, 0)
    found = flow_curves(problem, data, tests, Motion(0.02, 0), np.array([0, 2500]), 0)
    assert found.limit["loss"][1] == pytest.approx(found.limit["predictor_loss"][1], rel=0.005)
    assert found.limit["kernel_change"][1] > 0.5


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"depth": 2}, "it has 2 hidden layers, tanh; deep networks are solved where they are linear and sampled"),
        ({"depth": 2, "activation": "linear", "optimizer": "gradient_flow", "weight_decay": 0.1}, "under weight decay"),
        (
            {"optimizer": "gradient_descent", "weight_decay": 0.1, "learning_rate": 30.0, "activation": "relu"},
            "the neurons run away",
        ),
    ],
)
def test_what_is_not_solved_is_refused(settings: dict[str, Any], sentence: str) -> None:
    given = {**SMALL, "richness": 1.0, "width": 20, "steps": 20, "optimizer": "langevin", **settings}
    if given["optimizer"] != "langevin":
        del given["inverse_temperature"]
    run = MeanField.parse(given)
    with pytest.raises(ArithmeticError, match=sentence):
        ADAPTIVE_KERNEL.predict({**run.config(), "seed": 0}, np.array([0, 20]))
