"""The random-feature family: time, width and data together, for power-law data and a linear teacher.

    x_k ~ N(0, lambda_k), lambda_k = k^-2alpha, k = 1..M      y = <x, w> + noise, w_k = k^-beta
    f = <theta, A x> / sqrt(N), A_ik ~ N(0, 1), theta(0) = 0      t = eta * steps

The literature's exponents are b = 2 alpha of the variances and a = 2 (alpha + beta) of the power lambda w^2 of a mode.

Source: Bordelon, Atanasov and Pehlevan 2024 (arXiv:2402.01092), sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.linear_descent import LinearDescent
from isoflop.workers.components import ExactFlow, HeavyBall, LinearModelDescent, RoughTeacher, Scalar
from isoflop.workers.devices import Device
from isoflop.workers.families.packed import PackedExperiment, Program
from isoflop.workers.families.refusal import wrong_field
from isoflop.workers.families.students import StudentProgram, check_size, student_counts


class RandomFeatures(PackedExperiment):
    """Random features of power-law data, by the flow, by descent with and without momentum, on all data or in batches.

    Without `samples` the data have no end: the gradient is that of the population, or of fresh batches. Without
    `batch_size` it is the whole one, which is taken in closed form however many steps there are. Several `students`
    predict by their mean.

    `loss` is the exact test loss without the labels' noise, `train_loss` that of the labels that are trained on, with
    it; of data without end it is the population's. Runs of one shape and length train in one program.
    """

    name: ClassVar[str] = "random_features"
    example: ClassVar[Mapping[str, object]] = {
        "dimension": 60, "width": 12, "samples": 20, "spectrum_exponent": 0.75, "target_exponent": 0.125, "steps": 300,
    }  # fmt: skip
    length_settings: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int = Field(gt=0, description="updates of all weights, or pieces of the flow")
    dimension: int = Field(ge=1, description="M, modes of the data")
    width: int = Field(ge=1, description="N, trained features of each student")
    samples: int | None = Field(default=None, ge=1, description="P, drawn once; by default data have no end")
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="B, averaged: of the samples, with replacement, or fresh; by default all at once",
    )
    noise: float = Field(default=0.0, ge=0, description="variance of the labels' noise")
    students: int = Field(default=1, ge=1, description="E, whose mean is the prediction")
    students_draw: Literal["features", "samples", "both"] = Field(
        default="features", description="what each of several students has of its own; the rest they share"
    )
    task: RoughTeacher = Field(description="the data and the target")
    optimizer: LinearModelDescent = Field(default_factory=ExactFlow, description="descent, or the flow")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.students_draw != "features" and self.samples is None:
            raise wrong_field("students_draw", f"is {self.students_draw!r}, but there are no samples; give samples")
        if self.batch_size is not None and isinstance(self.optimizer, ExactFlow):
            raise wrong_field("batch_size", "is of no flow; leave it out, or choose optimizer: gradient_descent")
        check_size(self)
        return self

    @property
    def length(self) -> int:
        """The updates of the run."""
        return self.steps

    @property
    def descent(self) -> LinearDescent:
        """How the weights move."""
        momentum = self.optimizer.momentum if isinstance(self.optimizer, HeavyBall) else 0.0
        return LinearDescent(self.optimizer.learning_rate, momentum, isinstance(self.optimizer, ExactFlow))

    @property
    def tested_exponent(self) -> float:
        """The exponent of the data that are tested on: that of those trained on."""
        return self.task.spectrum_exponent

    def metrics(self) -> Mapping[str, str]:
        """Return both losses, in units of the target squared, which has none."""
        return {"loss": "1", "train_loss": "1"}

    def counts(self) -> Counts:
        """Return weights, operations and memory."""
        return student_counts(self)

    def extra(self) -> dict[str, Scalar]:
        """Return the time t, eta times steps, and N t of all students, the literature's compute."""
        time = self.optimizer.learning_rate * self.steps
        return {**super().extra(), "time": time, "compute": time * self.width * self.students}

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape and one length go together."""
        return (self.name, self.dimension, self.width, self.samples, self.batch_size, self.students, self.steps)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that advances these runs together, on a core."""
        return StudentProgram(runs)
