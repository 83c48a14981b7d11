"""The linear-SGD family: linear and random-feature regression by batches that are seen once, again and again, or whole.

    x_k ~ N(0, lambda_k), lambda_k = k^-2alpha, k = 1..M      y = <x, w> + noise, w_k = k^-beta
    f = <theta, phi>, theta(0) = 0, phi = x or A x / sqrt(N)
    theta <- theta + (eta / B) sum over the batch of phi (y - f)

Source: Atanasov et al. 2025 (arXiv:2502.05074).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.linear_descent import LinearDescent
from isoflop.workers.components import RoughTeacher, Scalar
from isoflop.workers.devices import Device
from isoflop.workers.families.packed import PackedFamily, Program
from isoflop.workers.families.refusal import wrong_field
from isoflop.workers.families.students import StudentProgram, check_size, student_counts


class LinearSgd(PackedFamily):
    """Linear regression by SGD, on the data's modes or on random features of them; `tokens` are samples seen.

    Without `samples` every batch is fresh, one pass over data without end; with them a batch is drawn from them with
    replacement, and without `batch_size` it is all of them. The column `sampler` says which: `one_pass`,
    `with_replacement` or `full`. With `test_spectrum_exponent` the loss is that on data of another spectrum.

    `loss` is the exact test loss without the labels' noise, `train_loss` that of the labels that are trained on, with
    it; of one pass it is the population's. Runs of one shape and length train in one program.
    """

    name: ClassVar[str] = "linear_sgd"
    example: ClassVar[Mapping[str, object]] = {
        "dimension": 60, "width": 12, "samples": 20, "batch_size": 2, "spectrum_exponent": 0.625,
        "target_exponent": 0.125, "steps": 300,
    }  # fmt: skip

    dimension: int = Field(ge=1, description="M, modes of the data")
    width: int | None = Field(default=None, ge=1, description="N, random features; by default the modes themselves")
    samples: int | None = Field(default=None, ge=1, description="P, drawn once; by default every batch is fresh")
    batch_size: int | None = Field(default=None, ge=1, description="B, averaged; by default all samples")
    learning_rate: float = Field(default=0.1, gt=0, description="eta, of half the mean squared error")
    noise: float = Field(default=0.0, ge=0, description="variance of the labels' noise")
    task: RoughTeacher = Field(description="the data and the target")
    test_spectrum_exponent: float | None = Field(
        default=None, ge=0, description="alpha of the data that are tested on; by default that of the task"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.samples is None and self.batch_size is None:
            raise wrong_field("batch_size", "and samples are both missing; one pass needs batch_size, descent samples")
        check_size(self)
        return self

    @property
    def batch_tokens(self) -> int:
        """Samples of one step."""
        found = self.batch_size or self.samples
        assert found is not None
        return found

    @property
    def students(self) -> int:
        """One student."""
        return 1

    @property
    def students_draw(self) -> Literal["features", "samples", "both"]:
        """What a second one would have of its own."""
        return "features"

    @property
    def descent(self) -> LinearDescent:
        """How the weights move."""
        return LinearDescent(self.learning_rate)

    @property
    def tested_exponent(self) -> float:
        """The exponent of the data that are tested on."""
        given = self.test_spectrum_exponent
        return self.task.spectrum_exponent if given is None else given

    def metrics(self) -> Mapping[str, str]:
        """Return both losses, in units of the target squared, which has none."""
        return {"loss": "1", "train_loss": "1"}

    def counts(self) -> Counts:
        """Return weights, operations and memory."""
        return student_counts(self)

    def extra(self) -> dict[str, Scalar]:
        """Return where batches come from."""
        whole = "full" if self.batch_size is None else "with_replacement"
        return {**super().extra(), "sampler": "one_pass" if self.samples is None else whole}

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape and one length go together."""
        return (self.name, self.dimension, self.width, self.samples, self.batch_size, self.steps)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that advances these runs together, on a core."""
        return StudentProgram(runs)
