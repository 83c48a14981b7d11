"""Mean-field networks: motion against slopes by differences, Langevin's law, the rest under decay, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse.models.mean_field import draw_task
from isoflop.workers import TrainOptions
from isoflop.workers.families import ConfigError, MeanField
from isoflop.workers.families.mean_field_program import MeanFieldNetwork
from isoflop.workers.families.one_by_one import OneByOne

SMALL: dict[str, Any] = {
    "dimension": 3, "samples": 5, "test_samples": 7, "width": 8, "steps": 40, "richness": 0.7, "input_scale": 1.3,
    "noise": 0.05, "task": "sine",
}  # fmt: skip
PHI: dict[str, Any] = {"tanh": np.tanh, "relu": lambda h: np.maximum(h, 0), "linear": lambda h: h}


def network_of(**settings: Any) -> MeanFieldNetwork:
    run = MeanField.parse({**SMALL, **settings})
    program = MeanField.program([run], MeanField.device(TrainOptions()))
    assert isinstance(program, OneByOne)
    found: MeanFieldNetwork = program.networks[0]
    return found


def advance(network: MeanFieldNetwork, steps: int) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            network.advance()


def outputs(weights: list[np.ndarray], inputs: np.ndarray, **settings: Any) -> np.ndarray:
    """The network as the module's first lines define it, at inputs x / sqrt(D)."""
    given = {**SMALL, "activation": "tanh", **settings}
    width, phi = given["width"], PHI[given["activation"]]
    field = given["input_scale"] * weights[0] @ inputs.T
    for weight in weights[1:-1]:
        field = weight @ phi(field) / np.sqrt(width)
    found: np.ndarray = weights[-1] @ phi(field) / (given["richness"] * width)
    return found


def energy(weights: list[np.ndarray], gain: float, decay: float, **settings: Any) -> float:
    """N gamma^2 gain / 2 of the squared errors, plus decay / 2 of the squared weights."""
    data = draw_task("sine", 3, 5, 7, SMALL["noise"], 0)
    misses = data.labels - outputs(weights, data.inputs, **settings)
    squares = sum(float(np.sum(weight**2)) for weight in weights)
    return float(SMALL["width"] * SMALL["richness"] ** 2 * gain / 2 * misses @ misses + decay / 2 * squares)


@pytest.mark.parametrize("activation", PHI)
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(
    ("optimizer", "gain", "decay"), [({"optimizer": "gradient_descent", "weight_decay": 0.3}, 1.0, 0.3),
                                     ({"optimizer": "langevin", "inverse_temperature": 4.0}, 4.0, 1.0)],
)  # fmt: skip
def test_weights_move_down_the_energy(
    activation: str, depth: int, optimizer: dict[str, Any], gain: float, decay: float
) -> None:
    shape: dict[str, Any] = {"activation": activation, "depth": depth}
    network = network_of(**shape, **optimizer)
    random = np.random.default_rng(3)
    weights = [random.standard_normal(weight.shape) for weight in network.weights]
    for weight, velocity in zip(weights, network._velocity(weights), strict=True):
        for _ in range(4):
            place = tuple(random.integers(size) for size in weight.shape)
            ends = []
            for shift in (1e-5, -1e-5):
                kept, weight[place] = weight[place], weight[place] + shift
                ends.append(energy(weights, gain, decay, **shape))
                weight[place] = kept
            assert velocity[place] == pytest.approx(-(ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-5)


def test_it_measures_what_it_says() -> None:
    network = network_of(optimizer="gradient_flow", depth=2)
    first = [weight.copy() for weight in network.weights]
    advance(network, 40)
    data, found = draw_task("sine", 3, 5, 7, SMALL["noise"], 0), network.measure()
    misses = outputs(network.weights, data.test_inputs) - data.test_targets
    assert found["loss"] == pytest.approx(misses @ misses / (data.test_targets @ data.test_targets), rel=1e-12)
    kernels = []
    for weights in (first, network.weights):
        hidden = np.tanh(SMALL["input_scale"] * weights[0] @ data.inputs.T)
        last = np.tanh(weights[1] @ hidden / np.sqrt(8))
        kernels.append(last.T @ last / 8)
    change = np.linalg.norm(kernels[1] - kernels[0]) / np.linalg.norm(kernels[0])
    overlap = data.labels @ kernels[1] @ data.labels / (data.labels @ data.labels)
    assert found["kernel_change"] == pytest.approx(change, rel=1e-12) and found["kernel_change"] > 0
    assert found["overlap"] == pytest.approx(overlap, rel=1e-12)
    assert found["overlap_1"] == pytest.approx(
        np.sum((hidden @ data.labels) ** 2) / 8 / (data.labels @ data.labels), rel=1e-12
    )
    assert found["alignment"] == pytest.approx(overlap / np.linalg.norm(kernels[1]), rel=1e-12)


def test_langevin_settles_in_the_posterior_of_a_network_that_has_one_in_closed_form() -> None:
    """Lazy linear networks are a Gaussian process of their inputs; means of six networks over 120 states each."""
    lazy: dict[str, Any] = {
        "activation": "linear", "richness": 0.05, "width": 400, "steps": 3000, "inverse_temperature": 20.0,
        "learning_rate": 0.05, "burn_in": 0.2, "task_seed": 4, "noise": 0.0,
    }  # fmt: skip
    data = draw_task("sine", 3, 5, 7, 0.0, 4)
    inputs, tests = 1.3 * data.inputs, 1.3 * data.test_inputs
    expected = tests @ inputs.T @ np.linalg.solve(inputs @ inputs.T + np.eye(5) / 20, data.labels)
    networks = [network_of(**lazy, seed=seed) for seed in range(6)]
    for network in networks:
        advance(network, 3000)
    found = np.mean([network.mean_predictions() for network in networks], axis=0)
    scatter = np.std([network.mean_predictions() for network in networks], axis=0) / np.sqrt(6)
    assert np.max(np.abs(found - expected) / scatter) < 5  # the largest of 7, of 6 networks each
    assert np.linalg.norm(scatter) < 0.3 * np.linalg.norm(expected)


def test_weights_without_labels_keep_their_prior() -> None:
    """Nothing pulls at beta near 0: every weight has the variance 1 that it began with, and velocities too."""
    network = network_of(width=400, inverse_temperature=1e-9, learning_rate=0.3, steps=300)
    advance(network, 300)
    variances = [np.var(np.concatenate([each.ravel() for each in part])) for part in (network.weights,
                                                                                     network._velocities)]  # fmt: skip
    assert variances[1] == pytest.approx(1, abs=0.12)  # of 1,600 weights: 3.4 standard errors
    assert variances[0] == pytest.approx(1, abs=0.12)  # BAOAB has no error in positions of a quadratic well


def test_the_flow_is_the_limit_of_descent() -> None:
    ends = []
    for optimizer, rate, steps in (("gradient_flow", 0.1, 40), ("gradient_descent", 0.001, 4000)):
        network = network_of(optimizer=optimizer, learning_rate=rate, steps=steps)
        advance(network, steps)
        ends.append(network.predictions())
    np.testing.assert_allclose(ends[0], ends[1], rtol=5e-3, atol=5e-4)


@pytest.mark.parametrize(
    ("richness", "width", "steps"),
    [
        (1.0, 100, 60_000),
        pytest.param(0.5, 400, 60_000, marks=pytest.mark.slow),
        pytest.param(1.0, 400, 120_000, marks=pytest.mark.slow),
    ],
)
def test_check_4_a_network_at_rest_is_regression_with_its_own_kernel(richness: float, width: int, steps: int) -> None:
    network = network_of(
        dimension=6, samples=30, test_samples=300, task="tanh_square", input_scale=1.5, noise=0.0, richness=richness,
        width=width, optimizer="gradient_descent", learning_rate=0.01, weight_decay=0.1, steps=steps, task_seed=0,
    )  # fmt: skip
    done = 0
    while network.residual_gradient() > 2e-3 or not done:
        assert done < steps, f"the gradient is {network.residual_gradient()} still"
        advance(network, 5000)
        done += 5000
    found, regressed = network.predictions(), network.kernel_predictions()
    assert np.linalg.norm(found - regressed) <= 2e-3 * np.linalg.norm(found)
    assert network.measure()["kernel_change"] > 0.5


def test_neurons_begin_in_pairs_so_that_nothing_is_predicted() -> None:
    for depth in (1, 2):
        found = network_of(depth=depth).measure()
        assert found["loss"] == pytest.approx(1, rel=1e-12) and found["train_loss"] == pytest.approx(1, rel=1e-12)
        assert found["kernel_change"] == 0


def test_tasks_have_the_targets_that_they_say() -> None:
    white = draw_task("white", 8, 8, 5, 0.0, 3)
    np.testing.assert_array_equal(white.inputs, np.eye(8))
    assert np.linalg.norm(white.labels) == pytest.approx(1)
    np.testing.assert_allclose(white.test_inputs @ white.labels, white.test_targets)
    digits = draw_task("digits", 64, 300, 60, 0.0, 0)
    assert set(digits.labels) == set(digits.test_targets) == {-1.0, 1.0}
    np.testing.assert_allclose(np.linalg.norm(digits.inputs, axis=1), 1)
    both = {tuple(row) for row in np.concatenate([digits.inputs, digits.test_inputs])}
    assert len(both) == 360, "an image is among samples and test points"
    sine = draw_task("sine", 5, 2000, 2000, 0.25, 0)
    clean = np.sin(1.5 * np.sqrt(5) * np.concatenate([sine.inputs, sine.test_inputs])[:, 0])
    np.testing.assert_allclose(sine.test_targets, clean[2000:] / clean.std())
    assert np.std(sine.labels - clean[:2000] / clean.std()) == pytest.approx(0.5, rel=0.08)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"width": 7}, "'width' is 7; it should be even, for neurons begin in pairs"),
        ({"task": "digits"}, "'dimension' is 3; digits have 64 pixels"),
        ({"task": "digits", "dimension": 64, "samples": 300, "test_samples": 100},
         "'test_samples' is 100, beside 300 samples; there are 360 images of 0 and 1"),
        ({"task": "white"}, "'samples' is 5; white data has one sample for each of 3 dimensions"),
        ({"task": "two_tanh", "dimension": 1}, "'dimension' is 1; two_tanh reads two coordinates"),
        ({"richness": 0}, "'richness' is 0; it should be more than 0"),
        ({"optimizer": "gradient_flow", "inverse_temperature": 3.0}, "'inverse_temperature' is not a setting"),
        ({"width": 40_000, "depth": 2}, "'width' is 40000: weights or features have 1.6e"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MeanField.parse({**SMALL, **settings})
    assert str(caught.value).startswith(sentence)
