"""Quadratic networks on a quadratic rule: their steps against gradients of the definition, and what is measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from isoflop.lakehouse.models.grokking import draw_task
from isoflop.workers import TrainOptions
from isoflop.workers.families import ConfigError, Grokking
from isoflop.workers.families.packed import Program

Floats = NDArray[np.float64]


def network(**changes: Any) -> Grokking:
    return Grokking.parse({**Grokking.example, "seed": 3, **changes})


def program(run: Grokking) -> Program:
    return Grokking.program([run], Grokking.device(TrainOptions()))


def measured(run: Grokking, steps: int) -> dict[str, float]:
    found = program(run)
    found.advance(steps)
    return {name: float(value[0]) for name, value in found.measure().items()}


def outputs(run: Grokking, weights: Floats, inputs: Floats) -> Floats:
    """f without what it was before training."""
    fields = inputs @ weights.T
    return run.output_scale * np.mean(fields + run.epsilon / 2 * fields**2, axis=1)


@pytest.mark.parametrize("changes", [{}, {"output_scale": 0.3, "epsilon": 1.0, "paired": True}])
def test_steps_are_descent_on_the_definition(changes: dict[str, Any]) -> None:
    run = network(learning_rate=0.2, **changes)
    task = draw_task(run.dimension, run.samples, run.seed)
    inputs, target = torch.from_numpy(task.inputs), torch.from_numpy(task.target)
    weights = torch.from_numpy(program(run).state(0)["weights"])
    first = weights.clone()
    rate = run.optimizer.learning_rate * run.width / run.output_scale**2
    for _ in range(40):
        weights.requires_grad_()
        now, before = (inputs @ each.T for each in (weights, first))
        changed = now + run.epsilon / 2 * now**2 - before - run.epsilon / 2 * before**2
        loss = ((run.output_scale / run.width * changed.sum(1) - target) ** 2).mean()
        (slope,) = torch.autograd.grad(loss / 2, weights)
        weights = weights.detach() - rate * slope
    found = program(run)
    found.advance(40)
    np.testing.assert_allclose(found.state(0)["weights"], weights.numpy(), rtol=1e-9, atol=1e-12)
    assert found.measure()["train_loss"][0] < 0.8 * program(run).measure()["train_loss"][0], "nothing was learned"


def test_the_flow_is_what_small_steps_become() -> None:
    flow = measured(network(optimizer="gradient_flow"), 20)
    errors = [
        measured(network(learning_rate=1 / parts), 20 * parts)["train_loss"] / flow["train_loss"] - 1
        for parts in (8, 16, 32)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05) and errors[1] / errors[2] == pytest.approx(2, rel=0.03)


def test_the_test_loss_is_that_of_inputs_not_seen() -> None:
    run = network()
    task, found = draw_task(run.dimension, run.samples, run.seed), program(run)
    before = found.state(0)["weights"]
    inputs = np.random.default_rng(0).standard_normal((20_000, run.dimension)) / np.sqrt(run.dimension)
    for steps in (0, 30, 170):
        found.advance(steps)
        changed = outputs(run, found.state(0)["weights"], inputs) - outputs(run, before, inputs)
        squares = (changed - (inputs @ task.direction) ** 2 / 2) ** 2
        apart = found.measure()["loss"][0] - squares.mean()
        assert abs(apart) < 3 * squares.std() / np.sqrt(len(squares))


def test_before_training_nothing_is_known() -> None:
    run = network()
    task, found = draw_task(run.dimension, run.samples, run.seed), measured(run, 0)
    assert task.direction @ task.direction == pytest.approx(run.dimension, rel=1e-12)
    assert found["loss"] == pytest.approx(0.75, rel=1e-12), "the mean of y^2, y = z^2 / 2"
    assert found["train_loss"] == pytest.approx(np.mean(task.target**2), rel=1e-12)


def test_the_alignments_are_those_of_the_network() -> None:
    run = network()
    task, found = draw_task(run.dimension, run.samples, run.seed), program(run)
    found.advance(100)
    weights = found.state(0)["weights"]
    slopes = 1 + run.epsilon * task.inputs @ weights.T
    gradients = np.einsum("pn,pd->pnd", slopes, task.inputs).reshape(run.samples, -1) / np.sqrt(run.width)
    center = np.eye(run.samples) - 1 / run.samples
    kernel, labels = center @ gradients @ gradients.T @ center, center @ task.target
    expected = labels @ kernel @ labels / (np.linalg.norm(kernel) * (labels @ labels))
    now = {name: float(value[0]) for name, value in found.measure().items()}
    assert now["kernel_alignment"] == pytest.approx(expected, rel=1e-10)
    second = weights.T @ weights / run.width
    along = task.direction @ second @ task.direction / (run.dimension * np.linalg.norm(second))
    assert now["alignment"] == pytest.approx(along, rel=1e-12)
    assert now["weight_norm"] == pytest.approx(np.mean(weights**2), rel=1e-12)


def test_results_say_when_samples_and_rule_were_learned_and_a_resumed_run_says_the_same() -> None:
    run = network(steps=800, dimension=6, samples=24, output_scale=0.5)
    straight, first = program(run), program(run)
    losses = [{name: float(value[0]) for name, value in straight.measure().items()}]
    for _ in range(800):
        straight.advance(1)
        losses.append({name: float(value[0]) for name, value in straight.measure().items()})
    found = straight.results(0)
    for name, metric in (("t_train", "train_loss"), ("t_test", "loss")):
        crossed = next(step for step, row in enumerate(losses) if row[metric] < 0.05 * losses[0][metric])
        assert crossed <= found[name] <= crossed * (1 + 1 / 64) + 1e-9
        assert found[f"alignment_at_{name}"] == losses[int(found[name])]["alignment"]
    assert found["gap"] == found["t_test"] / found["t_train"] > 1
    assert found["test_ratio_at_t_train"] == losses[int(found["t_train"])]["loss"] / losses[0]["loss"]
    middle = int(found["t_train"]) + 1
    first.advance(middle)
    resumed = program(run)
    resumed.restore(middle, [first.state(0)])
    resumed.advance(800 - middle)
    assert resumed.results(0) == found


def test_what_was_not_learned_is_not_there() -> None:
    found = program(network(samples=10, steps=100))
    found.advance(100)
    assert "t_test" not in found.results(0) and "gap" not in found.results(0)
    assert all(math.isfinite(value) for value in found.results(0).values())


def test_there_is_no_weight_decay_and_the_record_says_so() -> None:
    assert network().record().config["weight_decay"] == 0.0
    with pytest.raises(ConfigError, match="'weight_decay' is not a field of grokking"):
        network(weight_decay=0.1)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"paired": True, "width": 21}, "'width' is 21; paired neurons come in twos, so give an even number"),
        ({"samples": 1_000_000}, r"'samples' is 1000000: weights, samples .* at most 1"),
        ({"epsilon": 0}, "'epsilon' is 0; it should be more than 0"),
        ({"output_scale": 0}, "'output_scale' is 0; it should be more than 0"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        network(**changes)
