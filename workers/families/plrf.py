"""The random-feature family: power-law random features trained by one-pass SGD, with an exact risk.

    x_j = j^-alpha z_j, z_j ~ N(0, 1), j = 1..v        target <x, b>, b_j = j^-beta
    W (v x d), W_ij ~ N(0, 1/d)                         predictor <W^T x, theta>, theta(0) = 0
    theta <- theta - gamma * sum over the batch of W^T x (<W^T x, theta> - <x, b>)
    risk P = E (<W^T x, theta> - <x, b>)^2              no factor 1/2; the batch is summed, not averaged

Source: Paquette et al. 2024, 4+3 Phases of Compute-Optimal Neural Scaling Laws (arXiv:2405.15074), section 1.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from isoflop.lakehouse.models.counts import Counts, plrf_counts
from isoflop.lakehouse.models.random_features import MOST_ENTRIES, rate_from_constant, usual_rate_constant
from isoflop.workers.components import DecayingTeacher, Scalar
from isoflop.workers.devices import Device
from isoflop.workers.families.packed import PackedFamily, Program
from isoflop.workers.families.plrf_program import RandomFeatureProgram
from isoflop.workers.families.refusal import wrong_field

AMBIENT_PER_WIDTH = 10  # v / d where the spectrum is summable, close enough to v = infinity
AMBIENT_PER_WIDTH_FLAT = 4  # v / d kept fixed where it is not (2 * alpha < 1)


def _usual_ambient(known: dict[str, Any]) -> int:
    """Return 10 d for a summable spectrum, 4 d otherwise."""
    ratio = AMBIENT_PER_WIDTH if 2 * known["task"].spectrum_exponent > 1 else AMBIENT_PER_WIDTH_FLAT
    return int(ratio * known["width"])


class Plrf(PackedFamily):
    """Power-law random features by one-pass SGD; `tokens` are samples, `params` are features.

    Runs of one width, batch size and length train in one program, whatever their exponents, rates and
    seeds; each gives the same bits alone and in any company.

    `flops` counts the operations that are done, 4*d*B + d a step. The literature's compute is
    `params * tokens` = d*B*r.
    """

    name: ClassVar[str] = "plrf"
    example: ClassVar[Mapping[str, object]] = {
        "width": 16,
        "spectrum_exponent": 0.8,
        "target_exponent": 0.7,
        "steps": 300,
    }

    width: int = Field(ge=1, description="d, trained features")
    task: DecayingTeacher = Field(description="the data and the target")
    ambient: int = Field(
        default_factory=_usual_ambient,
        ge=1,
        description="v, dimension of the data; by default 10 d, or 4 d for 2 alpha < 1",
    )
    batch_size: int = Field(default=1, ge=1, description="B, samples a step")
    learning_rate: float | None = Field(default=None, gt=0, description="gamma; by default from its constant")
    learning_rate_constant: float | None = Field(
        default=None, gt=0, description="c of gamma = c / sum of j^-2alpha; by default 1 / (B + 1)"
    )
    feature_seed: int | None = Field(
        default=None, ge=0, description="of W, for runs that share it; by default their own"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.ambient * self.width > MOST_ENTRIES:
            entries = self.ambient * self.width
            problem = f"is {self.ambient}: W has {entries:.2g} entries, {8 * entries / 2**30:.3g} GiB; at most 64"
            raise wrong_field("ambient", problem)
        if self.ambient < self.width:
            raise wrong_field(
                "ambient", f"is {self.ambient}, less than width {self.width}; features cannot outnumber the data"
            )
        if self.learning_rate is not None and self.learning_rate_constant is not None:
            raise wrong_field("learning_rate_constant", "and learning_rate are both given; give one of the two")
        if self.learning_rate is None and self.learning_rate_constant is None:
            object.__setattr__(self, "learning_rate_constant", usual_rate_constant(self.batch_size))
        return self

    @property
    def batch_tokens(self) -> int:
        """Samples of one step."""
        return self.batch_size

    @property
    def rate(self) -> float:
        """The learning rate gamma, given or from its constant."""
        if self.learning_rate is not None:
            return self.learning_rate
        assert self.learning_rate_constant is not None
        return rate_from_constant(self.learning_rate_constant, self.ambient, self.task.spectrum_exponent)

    def metrics(self) -> Mapping[str, str]:
        """Return the exact population risk, which has no unit."""
        return {"loss": "1"}

    def counts(self) -> Counts:
        """Return what a step costs; see `isoflop.lakehouse.models.counts`."""
        return plrf_counts(width=self.width, batch_size=self.batch_size, ambient=self.ambient)

    def config(self) -> dict[str, Scalar]:
        """Return the settings as scalars; `batch_tokens` as every family has it."""
        return {**super().config(), "batch_tokens": self.batch_tokens}

    def extra(self) -> dict[str, Scalar]:
        """Return the learning rate where the config gives its constant: a computed number is no identity."""
        rate = {"learning_rate": self.rate} if self.learning_rate is None else {}
        return {**super().extra(), **rate}

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape and one length go together."""
        return (self.name, self.width, self.batch_size, self.steps)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that advances these runs together, on a core."""
        return RandomFeatureProgram(runs)
