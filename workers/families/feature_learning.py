"""The feature-learning family: a linear network that learns its features by `richness` as much as its readout.

    psi_k ~ N(0, lambda_k), lambda_k = k^-2alpha, k = 1..M      y = <w, psi> + noise, w_k = k^-beta
    f = theta . A psi / N, A (N, M), A(0)_ik ~ N(0, 1), theta(0) = 0      g = the covariance of the batch times w - u

    theta <- theta + eta A g        A <- A + eta gamma theta (P_0 g)^T        u = A^T theta / N, P_0 = A(0)^T A(0) / N

P_0 keeps the rows of A in the span of those it began with, so that width limits the model however rich it is; without
it (`project: false`) P_0 is the identity. Runs are computed one by one, so their bits depend on no other run.

Source: Bordelon et al. 2024 (arXiv:2409.17858), section 2.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.spectrum import power_law
from isoflop.workers.components import RoughTeacher, Scalar
from isoflop.workers.devices import Device
from isoflop.workers.families.one_by_one import OneByOne
from isoflop.workers.families.packed import PackedExperiment, Program
from isoflop.workers.families.refusal import wrong_field
from isoflop.workers.families.seen_rows import SeenRows

FEATURES = 0  # stream of random numbers of a run from which its features are drawn
MOST_ENTRIES = 2**28  # of features and samples: 2 GiB, and as much again for those that it began with
BYTES = 8  # of a float64

Floats = NDArray[np.float64]


class FeatureLearning(PackedExperiment):
    """A linear network from lazy (`richness: 0`) to rich, on a power-law teacher.

    Without `samples` and `batch_size` the gradient is that of the population; with samples that of all of them, or of
    batches drawn from them; with `batch_size` alone every batch is fresh.

    `loss` is the exact test loss without the labels' noise, `train_loss` that of the samples, or the population's, with
    it; `readout` is |theta|^2 / N, `alignment` the cosine between network and teacher. Runs of one shape and length
    train in one program.
    """

    name: ClassVar[str] = "feature_learning"
    example: ClassVar[Mapping[str, object]] = {
        "dimension": 40, "width": 12, "richness": 1.0, "spectrum_exponent": 0.75, "target_exponent": 0.125, "steps": 60,
    }  # fmt: skip
    length_settings: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int = Field(gt=0, description="updates of all weights")
    dimension: int = Field(ge=1, description="M, modes of the data")
    width: int = Field(ge=1, description="N, features")
    samples: int | None = Field(default=None, ge=1, description="P, drawn once; by default data have no end")
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="B, averaged: of the samples, with replacement, or fresh; by default no batches",
    )
    noise: float = Field(default=0.0, ge=0, description="variance of the labels' noise")
    richness: float = Field(default=1.0, ge=0, description="gamma, learning rate of features over that of the readout")
    project: bool = Field(default=True, description="whether features stay in the span of those they began with")
    learning_rate: float = Field(default=0.1, gt=0, description="eta, of the readout")
    task: RoughTeacher = Field(description="the data and the target")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        entries = self.dimension * (self.width + (self.samples or 0))
        if entries > MOST_ENTRIES:
            size = f"features and samples have {entries:.2g} entries, {BYTES * entries / 2**30:.3g} GiB; at most 2"
            raise wrong_field("dimension", f"is {self.dimension}: {size}")
        return self

    @property
    def length(self) -> int:
        """The updates of the run."""
        return self.steps

    def metrics(self) -> Mapping[str, str]:
        """Return losses, in units of the target squared, which has none, and what was learned."""
        return {"loss": "1", "train_loss": "1", "readout": "1", "alignment": "1"}

    def counts(self) -> Counts:
        """Return weights, operations and memory; what a step moves in memory is not counted.

        A step is five products with a matrix of N by M, the outer product among them, two fewer without projection, and
        two with the rows of the batch.
        """
        matrix, seen = self.width * self.dimension, self.batch_size or self.samples or 0
        products = 10 if self.project else 6
        return Counts(
            params=matrix + self.width,
            params_non_embedding=matrix + self.width,
            flops_per_step=products * matrix + 4 * seen * self.dimension,
            memory_bytes=BYTES * self.dimension * (2 * self.width + (self.samples or 0)),
        )

    def extra(self) -> dict[str, Scalar]:
        """Return the time t, eta times steps, and N t, the literature's compute."""
        time = self.learning_rate * self.steps
        return {**super().extra(), "time": time, "compute": time * self.width}

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape and one length go together."""
        return (self.name, self.dimension, self.width, self.samples, self.batch_size, self.steps)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that advances these runs together, on a core."""
        return OneByOne([_Network(run) for run in runs], runs[0].metrics())


class _Network:
    """One run: theta (N,) and A (N, M)."""

    def __init__(self, run: FeatureLearning) -> None:
        self._run, self.step = run, 0
        self._variances = power_law(run.dimension, 2 * run.task.spectrum_exponent)
        self._target = power_law(run.dimension, run.task.target_exponent)
        self.features: Floats = np.random.default_rng([run.seed, FEATURES]).standard_normal((run.width, run.dimension))
        self._drawn = self.features.copy()
        self.readout = np.zeros(run.width)
        self._rows = SeenRows(self._variances, run.noise, run.samples, run.batch_size, run.seed)
        self._initial_loss = self.measure()["loss"]

    def advance(self) -> None:
        """Take one step."""
        run = self._run
        slope = self._rows.pull(self._target - self.features.T @ self.readout / run.width, self.step)
        before = self.readout
        self.readout = before + run.learning_rate * self.features @ slope
        if run.richness:
            kept = self._drawn.T @ (self._drawn @ slope) / run.width if run.project else slope
            self.features += np.multiply.outer(run.learning_rate * run.richness * before, kept)
        self.step += 1

    def measure(self) -> dict[str, float]:
        """Return losses, the size of the readout, and the cosine between network and teacher."""
        learned = self.features.T @ self.readout / self._run.width
        missing = self._target - learned
        loss = float(self._variances @ missing**2)
        size = np.sqrt((self._variances @ learned**2) * (self._variances @ self._target**2))
        overlap = float((self._variances * learned) @ self._target)
        return {
            "loss": loss,
            "train_loss": self._rows.train_loss(missing, loss),
            "readout": float(self.readout @ self.readout) / self._run.width,
            "alignment": overlap / float(size) if size != 0 else 0.0,
        }

    def state(self) -> dict[str, Any]:
        """Return the weights."""
        return {"readout": self.readout.copy(), "features": self.features.copy()}

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Continue from weights after some steps."""
        self.step, self.readout, self.features = step, np.array(state["readout"]), np.array(state["features"])

    def results(self) -> dict[str, float]:
        """Return the loss before the first step."""
        return {"initial_loss": self._initial_loss}
