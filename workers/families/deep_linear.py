"""The deep linear family: a linear network of several layers that learns a linear teacher by the exact gradient.

    x_k ~ N(0, lambda_k), k = 1..D        y = <x, b> / sqrt(D) + noise
    h1 = W0 x / sqrt(D),  h(l+1) = W(l) h(l) / sqrt(N), l = 1..L-1,   f = sqrt(D) / (gamma N) <w, h(L)>
    all entries N(0, 1) at the start;  nu = N / D;  with residual branches h(l+1) = h(l) + b W(l) h(l) / sqrt(N)

With V0 = W0 / sqrt(D) and V(l) = W(l) / sqrt(N) the network is f = <u, x> / sqrt(D). Let v = b - u be what is not
learned yet and q = lambda * v, or X^T r sqrt(D) / P where P samples X miss their labels by r. One forward pass h of the
vector q and one backward pass g from w give the gradient:

    h(1) = V0 q,  h(l+1) = V(l) h(l);     g(L) = w,  g(l) = V(l)^T g(l+1);     u = V0^T g(1) / (gamma nu)
    V0 += eta gamma g(1) q^T / D,   V(l) += eta gamma g(l+1) h(l)^T / N,   w += eta gamma h(L)

(branches add what they are added to, and V(l) moves b times as much), which is gradient descent on half the mean
squared error with the learning rate eta gamma^2 N of the entries. The modes of the data are scaled so that their mean
variance is 1 and the teacher's risk is 1: with both exponents 0 they are isotropic.

Arrays: D modes, N width, L hidden layers, R runs. Each run is computed by itself in float64, so its bits do not
depend on its company.

Source: Bordelon and Pehlevan 2025 (arXiv:2502.02531), for the scalings.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.deep_linear import branch_of, draw_layers, gamma_of, learned_by
from isoflop.lakehouse.models.spectrum import unit_task
from isoflop.workers.components import AnyDescent, GradientDescent, GradientFlow, Scalar, Teacher
from isoflop.workers.devices import Device
from isoflop.workers.families.one_by_one import OneByOne
from isoflop.workers.families.packed import PackedExperiment, Program
from isoflop.workers.families.refusal import wrong_field
from isoflop.workers.families.seen_rows import SeenRows

Floats = NDArray[np.float64]
BYTES = 8  # of a float64
MOST_ENTRIES = 2**28  # of samples: 2 GiB
MOST_MODES = 100_000  # a matrix of so many by so many takes 80 GB


class DeepLinear(PackedExperiment):
    """A deep linear network on a power-law teacher, plain or with residual branches.

    Without `samples` and `batch_size` the gradient is that of the population; with samples that of all of them, or of
    batches drawn from them, with replacement; with `batch_size` alone every batch is fresh, one pass over data without
    end. `branch_scale` makes the layers residual, their branches `branch_scale` / depth^`branch_exponent`: 1/2 has a
    limit of depth, 0 has none.

    `loss` is the exact test loss without the labels' noise, `train_loss` that of the samples, or the population's, with
    it. Runs of one shape and length train in one program.
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
    samples: int | None = Field(default=None, ge=1, description="P, drawn once; by default data have no end")
    batch_size: int | None = Field(
        default=None, ge=1, description="B, averaged: of the samples, or fresh; by default no batches"
    )
    noise: float | None = Field(default=None, ge=0, description="variance of the labels' noise; by default none")
    branch_scale: float | None = Field(
        default=None, ge=0, description="beta_r of residual branches; by default layers are plain"
    )
    branch_exponent: float | None = Field(
        default=None, ge=0, description="branches are branch_scale / depth^this; by default 1/2 of residual ones"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        entries = self.dimension * max(self.samples or 0, self.batch_size or 0)
        if entries > MOST_ENTRIES:
            field, size = ("samples", self.samples) if self.samples else ("batch_size", self.batch_size)
            problem = f"of {self.dimension} modes: {entries:.2g} entries, {BYTES * entries / 2**30:.3g} GiB; at most 2"
            raise wrong_field(field, f"is {size}, {problem}")
        if self.batch_size is not None and isinstance(self.optimizer, GradientFlow):
            raise wrong_field("batch_size", f"is {self.batch_size}, and a flow has no batches; leave one of both out")
        if self.branch_scale is None and self.branch_exponent is not None:
            raise wrong_field("branch_exponent", "is given without branch_scale, which makes a network residual")
        if self.branch_scale is not None and self.branch_exponent is None:
            object.__setattr__(self, "branch_exponent", 0.5)
        return self

    @property
    def length(self) -> int:
        """The updates of the run."""
        return self.steps

    @property
    def gamma(self) -> float:
        """The richness that the width makes of the one given."""
        return gamma_of(self.richness, self.parametrization, self.ratio)

    @property
    def branch(self) -> float | None:
        """The factor of a residual branch, b; None in a plain network."""
        return branch_of(self.branch_scale, self.branch_exponent, self.depth)

    @property
    def ratio(self) -> float:
        """The width over the dimension, nu."""
        return self.width / self.dimension

    def metrics(self) -> Mapping[str, str]:
        """Return the losses, and how much of the teacher the network has: over all modes, and of single ones."""
        return {
            "loss": "1",
            "train_loss": "1",
            "alignment": "1",
            **{f"alignment_{mode}": "1" for mode in shown_modes(self.dimension)},
        }

    def counts(self) -> Counts:
        """Return weights, operations and memory; what a step moves in memory is not counted.

        A gradient is two passes of 4 M operations in all, M entries in the matrices, and M products; descent adds
        two operations an entry. Runge and Kutta take four gradients and 13 operations an entry a part of a step. Each
        gradient takes two products with the rows of the batch.
        """
        matrices = self.width * self.dimension + (self.depth - 1) * self.width**2
        params = matrices + self.width
        flow = self.optimizer if isinstance(self.optimizer, GradientFlow) else None
        rows = 4 * (self.batch_size or self.samples or 0) * self.dimension
        once = 5 * matrices + 2 * params + rows
        if flow is not None:
            once = flow.substeps * (20 * matrices + 13 * params + 4 * rows)
        return Counts(
            params=params,
            params_non_embedding=params,
            flops_per_step=once,
            memory_bytes=BYTES * (params * (2 if flow is None else 6) + (self.samples or 0) * self.dimension),
            depth=self.depth,
        )

    def extra(self) -> dict[str, Scalar]:
        """Return the learning rate of the entries of W, which the normalized one stands for."""
        return {**super().extra(), "entry_learning_rate": self.optimizer.learning_rate * self.gamma**2 * self.width}

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape and one length go together."""
        return (self.name, self.dimension, self.width, self.depth, self.samples, self.batch_size, self.steps)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that advances these runs together, on a core."""
        return OneByOne([_Network(run) for run in runs], runs[0].metrics())


def shown_modes(dimension: int) -> tuple[int, ...]:
    """Return the modes whose alignment is measured: the powers of two.

    Example
    -------
    >>> shown_modes(10)
    (1, 2, 4, 8)
    """
    return tuple(2**power for power in range(dimension.bit_length()))


class _Network:
    """One run: its weights V0 (N, D), V1 to V(L-1) (N, N) and w (N,)."""

    def __init__(self, run: DeepLinear) -> None:
        self.variances, self.target = unit_task(run.dimension, run.task.spectrum_exponent, run.task.target_exponent)
        self._run, self._optimizer, self.steps = run, run.optimizer, 0
        self._modes = np.array(shown_modes(run.dimension)) - 1
        noise = run.dimension * (run.noise or 0.0)  # errors of <b - u, x> are sqrt(D) times those of f
        self._rows = SeenRows(self.variances, noise, run.samples, run.batch_size, run.seed)
        self.weights = draw_layers(run.dimension, run.width, run.depth, run.seed)
        self.initial_loss = self.measure()["loss"]

    def advance(self) -> None:
        """Take one step, or let the time of one pass."""
        rate = self._optimizer.learning_rate
        if isinstance(self._optimizer, GradientDescent):
            self.weights = _moved(self.weights, self._velocity(self.weights), rate)
        else:
            part = rate / self._optimizer.substeps
            for _ in range(self._optimizer.substeps):
                self.weights = self._after(self.weights, part)
        self.steps += 1

    def measure(self) -> dict[str, float]:
        """Return the losses, the cosine between network and teacher, and u/b of single modes."""
        learned, _ = self._backward(self.weights)
        missing = self.target - learned
        ours, theirs = self.variances * learned, self.variances * self.target
        size = np.sqrt((ours @ learned) * (theirs @ self.target))
        modes = (learned / self.target)[self._modes]
        loss = float(np.mean(self.variances * missing**2))
        return {
            "loss": loss,
            "train_loss": self._rows.train_loss(missing, loss * self._run.dimension) / self._run.dimension,
            "alignment": float((ours @ self.target) / size) if size != 0 else 0.0,
            **{f"alignment_{mode + 1}": float(value) for mode, value in zip(self._modes, modes, strict=True)},
        }

    def state(self) -> dict[str, Any]:
        """Return the weights."""
        return {f"weight_{number}": weight.copy() for number, weight in enumerate(self.weights)}

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Continue from weights after some steps."""
        self.steps = step
        for number, weight in enumerate(self.weights):
            weight[:] = state[f"weight_{number}"]

    def results(self) -> dict[str, float]:
        """Return the risk before the first step."""
        return {"initial_loss": self.initial_loss}

    def _backward(self, weights: list[Floats]) -> tuple[Floats, list[Floats]]:
        """Return u, (D,), and g(1) to g(L), each (N,)."""
        return learned_by(weights, self._run.gamma * self._run.ratio, self._run.branch)

    def _velocity(self, weights: list[Floats]) -> list[Floats]:
        """Return how fast each weight moves at learning rate 1, in the shapes of the weights."""
        learned, backward = self._backward(weights)
        *hidden, _ = weights
        branch = self._run.branch
        forward = [self._rows.pull(self.target - learned, self.steps)]  # q, then h(1) to h(L)
        for layer, matrix in enumerate(hidden):
            passed = matrix @ forward[-1]
            forward.append(passed if branch is None or layer == 0 else forward[-1] + branch * passed)
        gains = [1.0, *[1.0 if branch is None else branch] * (len(hidden) - 1)]
        return [
            *(
                np.multiply.outer(after * (gain * self._run.gamma / len(before)), before)
                for after, before, gain in zip(backward, forward[:-1], gains, strict=True)
            ),
            self._run.gamma * forward[-1],
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
