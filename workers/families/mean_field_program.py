"""Networks in the mean-field scale: their motion, and what is measured of them.

Weights are kept as W0 (N, D), W1 to W(L-1) (N, N) and a (N,), in float64. Langevin steps are BAOAB: half a kick, half a
drift, a turn of the velocities by friction and noise, half a drift, half a kick. The noise of a step is drawn from the
run's seed and the step's number, so a run that goes on from a checkpoint has the same bits.

Source: Lauditi, Bordelon and Pehlevan 2025 (arXiv:2502.07998); Leimkuhler and Matthews 2013 for BAOAB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.models.mean_field import ACTIVATIONS, draw_task
from isoflop.workers.components import DecayingFlow, Langevin

WEIGHTS, KICKS = 0, 1  # streams of random numbers of a run
BETWEEN_MEANS = 20  # steps from one prediction to the next that goes into the mean; neighbors hardly differ

Floats = NDArray[np.float64]
Weights = list[Floats]


class MeanFieldRun(Protocol):
    """What the program needs to know of a run; see `isoflop.workers.families.mean_field`."""

    seed: int
    steps: int
    dimension: int
    samples: int
    test_samples: int
    width: int
    depth: int
    activation: Any
    richness: float
    input_scale: float
    task: Any
    noise: float
    optimizer: Any

    @property
    def ridge(self) -> float:
        """Of the kernel regression."""

    @property
    def data_seed(self) -> int:
        """Of the data."""


class MeanFieldNetwork:
    """One run."""

    def __init__(self, run: MeanFieldRun) -> None:
        self._run, self._step, self._data = (
            run, 0, draw_task(run.task, run.dimension, run.samples, run.test_samples, run.noise, run.data_seed),
        )  # fmt: skip
        self._phi = ACTIVATIONS[run.activation]
        self._inputs = run.input_scale * self._data.inputs
        self._tests = run.input_scale * self._data.test_inputs
        self.weights = _first_weights(run)
        self._velocities: Weights = []
        if isinstance(run.optimizer, Langevin):
            generator = np.random.default_rng([run.seed, KICKS])
            self._velocities = [generator.standard_normal(weight.shape) for weight in self.weights]
        self._sum, self._count = np.zeros(run.test_samples), 0
        self._force: Weights | None = None  # at the weights now, where a Langevin step has left it
        first = self._last_features(self._inputs)
        self._kernel = first.T @ first / run.width  # Phi(0), (P, P)
        self.initial_predictor_loss = self.measure()["predictor_loss"]

    def advance(self) -> None:
        """Take a step."""
        optimizer = self._run.optimizer
        if isinstance(optimizer, Langevin):
            self._langevin(optimizer)
        elif isinstance(optimizer, DecayingFlow):
            self._flow(optimizer)
        else:
            self.weights = _moved(self.weights, self._velocity(self.weights), optimizer.learning_rate)
        self._step += 1
        if isinstance(optimizer, Langevin):
            since = self._step - optimizer.burn_in * self._run.steps
            if since > 0 and self._step % BETWEEN_MEANS == 0:
                self._sum, self._count = self._sum + self.predictions(), self._count + 1

    def predictions(self) -> Floats:
        """Return f at the test points, (T,)."""
        return self._outputs(self._last_features(self._tests))

    def mean_predictions(self) -> Floats:
        """Return f at the test points averaged since the burn-in, (T,); that of now before."""
        return self._sum / self._count if self._count else self.predictions()

    def features(self) -> tuple[Floats, Floats]:
        """Return the last features at samples and test points, (N, P) and (N, T)."""
        return self._last_features(self._inputs), self._last_features(self._tests)

    def residual_gradient(self) -> float:
        """Return the root mean square of the velocity of the readout under decay: 0 where the network rests."""
        return float(np.sqrt(np.mean(self._velocity(self.weights)[-1] ** 2)))

    def kernel_predictions(self) -> Floats:
        """Return kernel regression with the network's own features at the test points, (T,)."""
        seen, tested = self.features()
        return self._regressed(seen, tested)

    def measure(self) -> dict[str, float]:
        """Return errors and what the kernel has become."""
        run, data = self._run, self._data
        layers = self._forward(self.weights, self._inputs)
        seen, tested = layers[-1][1], self._last_features(self._tests)
        kernel = seen.T @ seen / run.width
        overlaps = [float(np.sum((value @ data.labels) ** 2)) / run.width / _square(data.labels) for _, value in layers]
        norm = float(np.linalg.norm(kernel))  # 0 where decay has put every neuron to rest
        found = {
            "loss": _error(self._outputs(tested), data.test_targets),
            "train_loss": _error(self._outputs(seen), data.labels),
            "predictor_loss": _error(self._regressed(seen, tested), data.test_targets),
            "overlap": overlaps[-1],
            "alignment": overlaps[-1] / norm if norm else 0.0,
            "kernel_change": float(np.linalg.norm(kernel - self._kernel) / np.linalg.norm(self._kernel)),
            "mean_loss": _error(self.mean_predictions(), data.test_targets),
        }
        return {**found, **{f"overlap_{layer}": value for layer, value in enumerate(overlaps, 1)}}

    def state(self) -> dict[str, Any]:
        """Return what continues the run."""
        parts = {"weight": self.weights, "velocity": self._velocities}
        arrays = {f"{name}_{place}": each.copy() for name, part in parts.items() for place, each in enumerate(part)}
        return {**arrays, "sum": self._sum.copy(), "count": np.array(self._count)}

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self._step, self._force = step, None
        self.weights = [np.array(state[f"weight_{place}"]) for place in range(len(self.weights))]
        self._velocities = [np.array(state[f"velocity_{place}"]) for place in range(len(self._velocities))]
        self._sum, self._count = np.array(state["sum"]), int(state["count"])

    def results(self) -> dict[str, float]:
        """Return the error of the kernel regression before the first step: that of the lazy network."""
        return {"initial_predictor_loss": self.initial_predictor_loss}

    def _forward(self, weights: Weights, inputs: Floats) -> list[tuple[Floats, Floats]]:
        """Return h and phi(h) of each layer, (N, n) each, for n scaled inputs (n, D)."""
        layers, before, scale = list[tuple[Floats, Floats]](), inputs.T, 1.0
        for weight in weights[:-1]:
            field = weight @ before * scale
            before, scale = self._phi.value(field), 1 / np.sqrt(self._run.width)
            layers.append((field, before))
        return layers

    def _last_features(self, inputs: Floats) -> Floats:
        return self._forward(self.weights, inputs)[-1][1]

    def _outputs(self, features: Floats) -> Floats:
        found: Floats = self.weights[-1] @ features / (self._run.richness * self._run.width)
        return found

    def _regressed(self, seen: Floats, tested: Floats) -> Floats:
        """Kernel regression of the labels with features (N, P), at the points of features (N, T)."""
        kernel = seen.T @ seen / self._run.width
        if not np.isfinite(kernel).all():
            return np.full(tested.shape[1], np.nan)
        missing = np.linalg.solve(kernel + self._run.ridge * np.eye(len(kernel)), self._data.labels)
        found: Floats = (seen @ missing) @ tested / self._run.width
        return found

    def _velocity(self, weights: Weights) -> Weights:
        """Return N gamma^2 gain sum (y - f) df / d theta - decay theta, in the shapes of the weights."""
        run, optimizer = self._run, self._run.optimizer
        sampled = isinstance(optimizer, Langevin)
        gain, decay = (optimizer.inverse_temperature, 1.0) if sampled else (1.0, optimizer.weight_decay)
        layers, readout = self._forward(weights, self._inputs), weights[-1]
        missing = self._data.labels - readout @ layers[-1][1] / (run.richness * run.width)
        pull = gain * run.richness * missing  # (P,)
        velocities = [layers[-1][1] @ pull - decay * readout]
        back = readout[:, None] * self._phi.slope(*layers[-1])  # g(L), (N, P)
        for place in range(run.depth - 1, 0, -1):
            weight, (field, value) = weights[place], layers[place - 1]
            velocities.insert(0, (back * pull) @ value.T / np.sqrt(run.width) - decay * weight)
            back = self._phi.slope(field, value) * (weight.T @ back) / np.sqrt(run.width)
        velocities.insert(0, (back * pull) @ self._inputs - decay * weights[0])
        return velocities

    def _langevin(self, optimizer: Langevin) -> None:
        half, kept = optimizer.learning_rate / 2, np.exp(-optimizer.friction * optimizer.learning_rate)
        force = self._velocity(self.weights) if self._force is None else self._force
        generator = np.random.default_rng([self._run.seed, KICKS, self._step])
        velocities = _moved(self._velocities, force, half)
        weights = _moved(self.weights, velocities, half)
        turned = [
            kept * velocity + np.sqrt(1 - kept**2) * generator.standard_normal(velocity.shape)
            for velocity in velocities
        ]
        self.weights = _moved(weights, turned, half)
        self._force = self._velocity(self.weights)
        self._velocities = _moved(turned, self._force, half)

    def _flow(self, optimizer: DecayingFlow) -> None:
        time = optimizer.learning_rate / optimizer.substeps
        for _ in range(optimizer.substeps):
            now = self.weights
            first = self._velocity(now)
            second = self._velocity(_moved(now, first, time / 2))
            third = self._velocity(_moved(now, second, time / 2))
            fourth = self._velocity(_moved(now, third, time))
            self.weights = [
                weight + (time / 6) * (one + 2 * two + 2 * three + four)
                for weight, one, two, three, four in zip(now, first, second, third, fourth, strict=True)
            ]


def _first_weights(run: MeanFieldRun) -> Weights:
    """Weights before the first step: those of the last layer in pairs with opposite readouts."""
    generator = np.random.default_rng([run.seed, WEIGHTS])
    inputs = [run.dimension, *[run.width] * (run.depth - 1)]
    weights = [generator.standard_normal((run.width, count)) for count in inputs]
    half = run.width // 2
    weights[-1][half:] = weights[-1][:half]
    readout = generator.standard_normal(half)
    return [*weights, np.concatenate([readout, -readout])]


def _moved(weights: Weights, velocity: Weights, time: float) -> Weights:
    """Return weights that went on for a time, without a change of those given."""
    return [weight + time * speed for weight, speed in zip(weights, velocity, strict=True)]


def _square(values: Floats) -> float:
    return float(values @ values)


def _error(found: Floats, wanted: Floats) -> float:
    """Squared error over that of predicting 0."""
    return _square(found - wanted) / _square(wanted)
