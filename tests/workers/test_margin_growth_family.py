"""Classifiers past their last mistake: their steps against gradients of the definition, what is measured, reversal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from isoflop.workers import TrainOptions
from isoflop.workers.components import Odor, Xor
from isoflop.workers.families import ConfigError, MarginGrowth
from isoflop.workers.families.margin_program import (
    MarginNetwork,
    decoding_accuracy,
    draw_trials,
    draw_weights,
    representation_margin,
    separation,
)
from isoflop.workers.families.one_by_one import OneByOne

Floats = NDArray[np.float64]


def network(**changes: Any) -> MarginGrowth:
    return MarginGrowth.parse({**MarginGrowth.example, "seed": 3, **changes})


def program(run: MarginGrowth) -> OneByOne[MarginNetwork]:
    found = MarginGrowth.program([run], MarginGrowth.device(TrainOptions()))
    assert isinstance(found, OneByOne)
    return found


def now(found: OneByOne[MarginNetwork]) -> dict[str, float]:
    return {name: float(value[0]) for name, value in found.measure().items()}


def outputs(run: MarginGrowth, state: dict[str, Floats], inputs: Floats) -> Floats:
    said: Floats = run.output_scale / run.width * np.maximum(inputs @ state["features"].T, 0) @ state["readout"]
    return said


@pytest.mark.parametrize("changes", [{}, {"output_scale": 5.0}, {"frozen": True}])
def test_steps_are_descent_on_the_definition(changes: dict[str, Any]) -> None:
    run = network(**changes)
    trials, _ = draw_trials(run.task, run.samples, run.probes, run.seed)
    inputs, labels = torch.from_numpy(trials.inputs), torch.from_numpy(trials.labels)
    drawn = draw_weights(run.width, run.task.dimension, run.seed)
    features, readout = torch.from_numpy(drawn.features), torch.from_numpy(drawn.readout)
    rate = run.learning_rate * run.width / run.output_scale**2
    for _ in range(20):
        features.requires_grad_()
        readout.requires_grad_()
        said = run.output_scale / run.width * torch.relu(inputs @ features.T) @ readout
        loss = torch.nn.functional.softplus(-labels * said).mean()
        of_features, of_readout = torch.autograd.grad(loss, (features, readout))
        features = features.detach() - (0 if run.frozen else rate) * of_features
        readout = readout.detach() - rate * of_readout
    found = program(run)
    found.advance(20)
    np.testing.assert_allclose(found.state(0)["features"], features.detach().numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.state(0)["readout"], readout.detach().numpy(), rtol=1e-9, atol=1e-12)
    assert now(found)["train_loss"] < 0.9 * math.log(2), "nothing was learned, so nothing was compared"


def test_6_nothing_is_said_before_training() -> None:
    run = network(width=200, output_scale=100.0)
    _, probes = draw_trials(run.task, run.samples, run.probes, run.seed)
    found = program(run)
    assert np.abs(outputs(run, found.state(0), probes.inputs)).max() < 1e-12
    assert now(found)["train_loss"] == pytest.approx(math.log(2), abs=1e-12)


def test_losses_accuracies_and_margins_are_their_definitions() -> None:
    run = network(output_scale=3.0)
    trials, probes = draw_trials(run.task, run.samples, run.probes, run.seed)
    found = program(run)
    found.advance(300)
    state, measured = found.state(0), now(found)
    right, probed = (each.labels * outputs(run, state, each.inputs) for each in (trials, probes))
    size = 3.0 * (np.sum(state["readout"] ** 2) + np.sum(state["features"] ** 2)) / run.width
    expected = {
        "train_loss": np.mean(np.log(1 + np.exp(-right))), "loss": np.mean(np.log(1 + np.exp(-probed))),
        "train_accuracy": np.mean(right > 0), "probe_accuracy": np.mean(probed > 0), "margin": right.min() / size,
        "soft_margin": -np.log(np.exp(-right).sum()) / size,
    }  # fmt: skip
    for name, value in expected.items():
        assert measured[name] == pytest.approx(value, rel=1e-9), name
    assert measured["soft_margin"] <= measured["margin"]


def test_a_soft_margin_is_not_defined_before_the_loss_is_low() -> None:
    run = network()
    found = program(run)
    for steps in (0, 1, 5, 300):
        found.advance(steps)
        measured = now(found)
        assert math.isnan(measured["soft_margin"]) == (measured["train_loss"] * run.samples >= 0.5)


def test_the_margin_of_a_representation_is_the_hard_one() -> None:
    random = np.random.default_rng(2)
    labels = np.where(np.arange(12) % 2 == 0, 1.0, -1.0)
    activity = random.standard_normal((12, 3)) + 3 * labels[:, None] * [1.0, 0.5, 0.0]
    centered = activity - activity.mean(axis=0)
    centered /= np.sqrt(np.mean(np.sum(centered**2, axis=1)))
    start = np.array([5.0, 2.5, 0.0, 0.0])
    rule = {"type": "ineq", "fun": lambda v: labels * (centered @ v[:3] + v[3]) - 1}
    best = minimize(lambda v: v[:3] @ v[:3] / 2, start, constraints=[rule], method="SLSQP", options={"ftol": 1e-12})
    assert best.success
    assert representation_margin(activity, labels) == pytest.approx(1 / np.linalg.norm(best.x[:3]), rel=2e-3)
    assert representation_margin(7 * activity + 2, labels) == pytest.approx(
        representation_margin(activity, labels), rel=1e-3
    )
    assert math.isnan(representation_margin(random.standard_normal((400, 3)), np.resize(labels, 400)))


def test_separation_and_decoding_tell_classes_apart() -> None:
    random = np.random.default_rng(1)
    labels = np.where(random.uniform(size=4000) > 0.5, 1.0, -1.0)
    activity = random.standard_normal((4000, 2)) + labels[:, None] * [1.0, 0.0]
    assert separation(activity, labels) == pytest.approx(1.0, rel=0.1), "(2^2 + 0) / (2 + 2)"
    right = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    assert decoding_accuracy(activity, labels) == pytest.approx(right, abs=4 * math.sqrt(right * (1 - right) / 4000))
    assert decoding_accuracy(random.standard_normal((4000, 2)), labels) == pytest.approx(0.5, abs=0.04)


def test_xor_is_balanced_and_no_linear_function() -> None:
    trials, probes = draw_trials(Xor(dimension=30), 3000, 500, 0)
    assert trials.inputs.shape == (3000, 30) and probes.inputs.shape == (500, 30)
    assert np.mean(np.sum(trials.inputs**2, axis=1)) == pytest.approx(4.0, rel=0.03)
    assert np.abs(trials.inputs.T @ trials.labels / 3000).max() < 0.03
    assert set(np.unique(trials.labels)) == {-1.0, 1.0} and abs(trials.labels.mean()) < 0.07


def test_odors_of_the_target_share_five_molecules_and_others_two_or_three() -> None:
    task = Odor(dimension=200, noise=0.0)
    trials, _ = draw_trials(task, 200, 20, 0)
    generator = np.random.default_rng([0, 0])
    patterns = generator.standard_normal((60, 200)) / np.sqrt(200)
    target = generator.permutation(60)[:6]
    found = np.linalg.lstsq(patterns.T, np.sqrt(6) * trials.inputs.T, rcond=None)[0].T  # (trials, molecules)
    np.testing.assert_allclose(found, np.round(found), atol=1e-8)
    np.testing.assert_array_equal(np.round(found).sum(axis=1), 6)
    shared = np.round(found[:, target]).sum(axis=1)
    assert set(shared[trials.labels > 0]) == {5} and set(shared[trials.labels < 0]) == {2, 3}
    noisy, _ = draw_trials(Odor(dimension=200, noise=0.6), 200, 20, 0)
    apart = np.mean(np.sum((noisy.inputs - trials.inputs) ** 2, axis=1))
    assert apart == pytest.approx(0.36, rel=0.1), "of the size of a mixture, whose square is 1"


def test_results_say_what_was_at_t99_and_a_resumed_run_says_the_same() -> None:
    run = network(steps=100)
    straight, first = program(run), program(run)
    accuracies = [now(straight)["train_accuracy"]]
    for _ in range(100):
        straight.advance(1)
        accuracies.append(now(straight)["train_accuracy"])
    results = straight.results(0)
    t99 = next(step for step, accuracy in enumerate(accuracies) if accuracy >= 0.99)
    assert results["t99"] == t99 > 1
    first.advance(t99)
    then = {f"{name}_at_t99": value for name, value in now(first).items() if not math.isnan(value)}
    assert {name: results[name] for name in then} == then
    first.advance(5)
    resumed = program(run)
    resumed.restore(t99 + 5, [first.state(0)])
    resumed.advance(100 - t99 - 5)
    assert resumed.results(0) == results
    early = program(run)
    early.restore(3, [state_after(run, 3)])
    early.advance(97)
    assert early.results(0) == results


def state_after(run: MarginGrowth, steps: int) -> dict[str, Floats]:
    found = program(run)
    found.advance(steps)
    return found.state(0)


def test_reversal_is_training_with_flipped_labels() -> None:
    run = network(reversal_steps=200)
    found = program(run)
    found.advance(300)
    trials, _ = draw_trials(run.task, run.samples, run.probes, run.seed)
    state = found.state(0)
    features, readout = state["features"], state["readout"]
    rate, step = run.learning_rate / run.output_scale, 0
    while np.mean(-trials.labels * outputs(run, {"features": features, "readout": readout}, trials.inputs) > 0) < 0.9:
        fields = trials.inputs @ features.T
        said = outputs(run, {"features": features, "readout": readout}, trials.inputs)
        pull = -trials.labels / (1 + np.exp(-trials.labels * said)) / run.samples
        moved = ((fields > 0) * pull[:, None]).T @ trials.inputs * readout[:, None]
        features, readout = features + rate * moved, readout + rate * np.maximum(fields, 0).T @ pull
        step += 1
    assert found.results(0)["reversal_at_end"] == step > 0
    assert not any("reversal" in name for name in program(network(reversal_steps=0)).results(0))


def test_what_is_not_defined_is_not_logged_and_no_failure(tmp_path: Any) -> None:
    from isoflop.lakehouse import Lakehouse, Spool
    from isoflop.workers import train_packed

    run = network(task="xor", dimension=4, samples=200, frozen=True, steps=20)
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        lake.record_runs([run.record()])
        spool = Spool(
            lake.spool_folder,
            run.record().run_id,
            lake.begin_attempts([run.record().run_id], "test")[run.record().run_id],
        )
        [outcome] = train_packed([run], [spool], options=TrainOptions(device="cpu", threads=1))
        spool.close()
        lake.drain()
        assert outcome.status == "finished"
        logged = {row["metric"] for row in lake.query("SELECT DISTINCT metric FROM metric_curves").to_pylist()}
    assert logged == set(run.metrics()) - {"soft_margin", "representation_margin", "decoding_accuracy_50"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"width": 41}, "'width' is 41; the halves cancel at first, so give an even number"),
        ({"task": "odour"}, "'task' is 'odour'; it should be 'xor' or 'odor'"),
        ({"noise": 0.1}, "'noise' is not a setting of the task xor"),
        ({"weight_decay": 0.1}, "'weight_decay' is not a field of margin_growth"),
        ({"task": "odor", "molecules": 11}, "'molecules' is 11; it should be at least 12"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        network(**changes)
