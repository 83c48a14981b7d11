"""The deep linear family: a linear network of several layers that learns a linear teacher by the exact gradient.

    x_k ~ N(0, lambda_k), k = 1..D        target <x, b> / sqrt(D)
    h1 = W0 x / sqrt(D),  h(l+1) = W(l) h(l) / sqrt(N), l = 1..L-1,   f = sqrt(D) / (gamma N) <w, h(L)>
    all entries N(0, 1) at the start;  nu = N / D

With V0 = W0 / sqrt(D) and V(l) = W(l) / sqrt(N) the network is f = <u, x> / sqrt(D). Let v = b - u be what is not
learned yet and q = lambda * v. One forward pass h of the vector q and one backward pass g from w give the gradient of
the population risk without any sample:

    h(1) = V0 q,  h(l+1) = V(l) h(l);     g(L) = w,  g(l) = V(l)^T g(l+1);     u = V0^T g(1) / (gamma nu)
    V0 += eta gamma g(1) q^T / D,   V(l) += eta gamma g(l+1) h(l)^T / N,   w += eta gamma h(L)

which is gradient descent on half the risk with the learning rate eta gamma^2 N of the entries. The modes of the
data are scaled so that their mean variance is 1 and the teacher's risk is 1: with both exponents 0 they are isotropic.

Arrays: D modes, N width, L hidden layers, R runs. Each run is computed by itself in float64, so its bits do not
depend on its company.

Source: Bordelon and Pehlevan 2025 (arXiv:2502.02531), for the scalings.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.spectrum import unit_task
from isoflop.workers.components import AnyDescent, GradientDescent, GradientFlow, Scalar, Teacher
from isoflop.workers.devices import Device
from isoflop.workers.families.packed import PackedExperiment, Program

Floats = NDArray[np.float64]
BYTES = 8  # of a float64
MOST_MODES = 100_000  # a matrix of so many by so many takes 80 GB


class DeepLinear(PackedExperiment):
    """A deep linear network on a power-law teacher, by the exact gradient of the population risk.

    It sees no samples, so a run has steps and no tokens. Runs of one shape and length train in one program.
    """

    name: ClassVar[str] = "deep_linear"
    example: ClassVar[Mapping[str, object]] = {
        "dimension": 12, "width": 8, "depth": 2, "spectrum_exponent": 0.5, "target_exponent": 0.3, "steps": 40,
    }  # fmt: skip
    length_settings: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int = Field(gt=0, description="updates of all weights")
    dimension: int = Field(ge=1, le=MOST_MODES, description="D, modes of the data")
    width: int = Field(ge=1, le=MOST_MODES, description="N, of every hidden layer")
    depth: int = Field(ge=1, description="L, hidden layers; L + 1 matrices")
    task: Teacher = Field(description="the data and the target")
    optimizer: AnyDescent = Field(default_factory=GradientDescent, description="steps of descent, or the flow")
    richness: float = Field(default=1.0, gt=0, description="gamma; small is lazy, large learns features")
    parametrization: Literal["mean_field", "ntk"] = Field(
        default="mean_field", description="ntk divides gamma by sqrt(nu), so that wide networks are lazy"
    )

    @property
    def length(self) -> int:
        """The updates of the run."""
        return self.steps

    @property
    def gamma(self) -> float:
        """The richness that the width makes of the one given."""
        return self.richness if self.parametrization == "mean_field" else self.richness / np.sqrt(self.ratio)

    @property
    def ratio(self) -> float:
        """The width over the dimension, nu."""
        return self.width / self.dimension

    def metrics(self) -> Mapping[str, str]:
        """Return the exact risk, and how much of the teacher the network has: over all modes, and of single ones."""
        return {"loss": "1", "alignment": "1", **{f"alignment_{mode}": "1" for mode in shown_modes(self.dimension)}}

    def counts(self) -> Counts:
        """Return weights, operations and memory; what a step moves in memory is not counted.

        A gradient is two passes of 4 M operations in all, M entries in the matrices, and M products; descent adds
        two operations an entry. Runge and Kutta take four gradients and 13 operations an entry a part of a step.
        """
        matrices = self.width * self.dimension + (self.depth - 1) * self.width**2
        params = matrices + self.width
        flow = self.optimizer if isinstance(self.optimizer, GradientFlow) else None
        once = 5 * matrices + 2 * params if flow is None else flow.substeps * (20 * matrices + 13 * params)
        return Counts(
            params=params,
            params_non_embedding=params,
            flops_per_step=once,
            memory_bytes=BYTES * params * (2 if flow is None else 6),
            depth=self.depth,
        )

    def extra(self) -> dict[str, Scalar]:
        """Return the learning rate of the entries of W, which the normalized one stands for."""
        return {**super().extra(), "entry_learning_rate": self.optimizer.learning_rate * self.gamma**2 * self.width}

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape and one length go together."""
        return (self.name, self.dimension, self.width, self.depth, self.steps)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that advances these runs together, on a core."""
        return DeepLinearProgram(runs)


def shown_modes(dimension: int) -> tuple[int, ...]:
    """Return the modes whose alignment is measured: the powers of two.

    Example
    -------
    >>> shown_modes(10)
    (1, 2, 4, 8)
    """
    return tuple(2**power for power in range(dimension.bit_length()))


class DeepLinearProgram:
    """R networks of one shape, one after another."""

    def __init__(self, runs: Sequence[DeepLinear]) -> None:
        self._networks = [_Network(run) for run in runs]
        self._metrics = tuple(runs[0].metrics())

    def advance(self, num_steps: int) -> None:
        """Take `num_steps` steps in every run; one that grows without bound overflows quietly."""
        with np.errstate(over="ignore", invalid="ignore"):
            for network in self._networks:
                for _ in range(num_steps):
                    network.step()

    def measure(self) -> dict[str, Floats]:
        """Return risk and alignments of every run now, each (R,)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            rows = [network.measure() for network in self._networks]
        return {name: np.array([row[name] for row in rows]) for name in self._metrics}

    def state(self, run: int) -> dict[str, Any]:
        """Return the weights of one run."""
        return {f"weight_{number}": weight.copy() for number, weight in enumerate(self._networks[run].weights)}

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every run from its weights."""
        for network, state in zip(self._networks, states, strict=True):
            for number, weight in enumerate(network.weights):
                weight[:] = state[f"weight_{number}"]

    def results(self, run: int) -> dict[str, float]:
        """Return the risk before the first step."""
        return {"initial_loss": self._networks[run].initial_loss}


class _Network:
    """One run: its weights V0 (N, D), V1 to V(L-1) (N, N) and w (N,)."""

    def __init__(self, run: DeepLinear) -> None:
        self.variances, self.target = unit_task(run.dimension, run.task.spectrum_exponent, run.task.target_exponent)
        self._gamma, self._ratio, self._optimizer = run.gamma, run.ratio, run.optimizer
        self._modes = np.array(shown_modes(run.dimension)) - 1
        generator = np.random.default_rng(run.seed)
        inputs = [run.dimension, *[run.width] * (run.depth - 1)]
        self.weights: list[Floats] = [
            *(generator.standard_normal((run.width, count)) / np.sqrt(count) for count in inputs),
            generator.standard_normal(run.width),
        ]
        self.initial_loss = self.measure()["loss"]

    def step(self) -> None:
        """Take one step, or let the time of one pass."""
        rate = self._optimizer.learning_rate
        if isinstance(self._optimizer, GradientDescent):
            self.weights = _moved(self.weights, self._velocity(self.weights), rate)
            return
        part = rate / self._optimizer.substeps
        for _ in range(self._optimizer.substeps):
            self.weights = self._after(self.weights, part)

    def measure(self) -> dict[str, float]:
        """Return the risk, the cosine between network and teacher, and u/b of single modes."""
        learned, _ = self._backward(self.weights)
        missing = self.target - learned
        ours, theirs = self.variances * learned, self.variances * self.target
        size = np.sqrt((ours @ learned) * (theirs @ self.target))
        modes = (learned / self.target)[self._modes]
        return {
            "loss": float(np.mean(self.variances * missing**2)),
            "alignment": float((ours @ self.target) / size) if size != 0 else 0.0,
            **{f"alignment_{mode + 1}": float(value) for mode, value in zip(self._modes, modes, strict=True)},
        }

    def _backward(self, weights: list[Floats]) -> tuple[Floats, list[Floats]]:
        """Return u, (D,), and g(1) to g(L), each (N,)."""
        *hidden, last = weights
        backward = [last]
        for matrix in hidden[:0:-1]:
            backward.insert(0, matrix.T @ backward[0])
        return hidden[0].T @ backward[0] / (self._gamma * self._ratio), backward

    def _velocity(self, weights: list[Floats]) -> list[Floats]:
        """Return how fast each weight moves at learning rate 1, in the shapes of the weights."""
        learned, backward = self._backward(weights)
        *hidden, _ = weights
        forward = [self.variances * (self.target - learned)]  # q, then h(1) to h(L)
        for matrix in hidden:
            forward.append(matrix @ forward[-1])
        return [
            *(
                np.multiply.outer(after * (self._gamma / count), before)
                for after, before, count in zip(
                    backward, forward[:-1], [matrix.shape[1] for matrix in hidden], strict=True
                )
            ),
            self._gamma * forward[-1],
        ]

    def _after(self, weights: list[Floats], time: float) -> list[Floats]:
        """Return the weights after a time of flow, by one step of the classical method of fourth order."""
        first = self._velocity(weights)
        second = self._velocity(_moved(weights, first, time / 2))
        third = self._velocity(_moved(weights, second, time / 2))
        fourth = self._velocity(_moved(weights, third, time))
        return [
            weight + (time / 6) * (one + 2 * two + 2 * three + four)
            for weight, one, two, three, four in zip(weights, first, second, third, fourth, strict=True)
        ]


def _moved(weights: list[Floats], velocity: list[Floats], time: float) -> list[Floats]:
    """Return weights that went on for a time, without a change of those given."""
    return [weight + time * speed for weight, speed in zip(weights, velocity, strict=True)]
