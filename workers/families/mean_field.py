"""The mean-field family: networks whose features move by O(1) at any width, sampled or trained with weight decay.

    h1 = s_0 W0 x / sqrt(D),  h(l+1) = W(l) phi(h(l)) / sqrt(N),  f = <a, phi(h(L))> / (gamma N),  entries N(0, 1)

`richness` gamma is how far features move: as it goes to 0 the network becomes lazy, regression with its first kernel.
The neurons of the last layer come in pairs with opposite readouts, so that f is 0 at the start.

    langevin            exp(-E),  E = (N gamma^2 beta / 2) sum (y - f)^2 + |theta|^2 / 2      by BAOAB steps
    gradient_descent    d theta / dt = N gamma^2 sum (y - f) df / d theta - lambda theta      by Euler steps
    gradient_flow       the same                                                              by Runge and Kutta

Where a network of two layers comes to rest with decay, f is kernel regression with its own last features and the ridge
lambda; under Langevin, with a ridge 1 / beta, that regression is the mean of f over readouts. `predictor_loss` is its
error.

Source: Lauditi, Bordelon and Pehlevan 2025 (arXiv:2502.07998).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from isoflop.lakehouse.models.counts import Counts
from isoflop.lakehouse.models.mean_field import wrong_size
from isoflop.workers.components import DecayingFlow, Langevin, RegularizedDescent, Scalar
from isoflop.workers.devices import Device
from isoflop.workers.families.mean_field_program import MeanFieldNetwork
from isoflop.workers.families.one_by_one import OneByOne
from isoflop.workers.families.packed import PackedExperiment, Program
from isoflop.workers.families.refusal import wrong_field

MOST_ENTRIES = 2**27  # of weights or of features: 1 GiB, and a few times as much while a step is taken
BYTES = 8  # of a float64


class MeanField(PackedExperiment):
    """A network that learns features at any width, by Langevin sampling or by descent with weight decay.

    `loss` is the test error over that of predicting 0, `train_loss` the same of the noisy samples, `predictor_loss`
    that of kernel regression with the network's own features, `mean_loss` (langevin) that of predictions averaged since
    the burn-in. Of the kernel of the last features, Phi: `overlap` is y' Phi y / |y|^2, `alignment` that over |Phi|,
    and `kernel_change` |Phi - Phi(0)| / |Phi(0)|; deep networks have the overlap of each layer before too. Runs of one
    shape and length train in one program.
    """

    name: ClassVar[str] = "mean_field"
    example: ClassVar[Mapping[str, object]] = {
        "dimension": 4, "samples": 12, "test_samples": 30, "width": 20, "richness": 1.0, "steps": 100,
        "task": "sine", "optimizer": "gradient_flow", "learning_rate": 0.05,
    }  # fmt: skip
    length_settings: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int = Field(gt=0, description="of the time `learning_rate` each")
    dimension: int = Field(ge=1, description="D, of the inputs")
    samples: int = Field(ge=1, description="P, drawn once")
    test_samples: int = Field(default=300, ge=1, description="points on which it is tested")
    width: int = Field(ge=2, description="N, neurons of every hidden layer; even")
    depth: int = Field(default=1, ge=1, description="L, hidden layers")
    activation: Literal["tanh", "relu", "linear"] = Field(default="tanh", description="phi")
    richness: float = Field(default=1.0, gt=0, description="gamma, how far features move; small is lazy")
    input_scale: float = Field(default=1.0, gt=0, description="s_0, of the first layer")
    task: Literal["sine", "tanh_square", "two_tanh", "linear", "white", "digits"] = Field(
        default="sine", description="the data and the target"
    )
    noise: float = Field(default=0.0, ge=0, description="variance of the labels' noise")
    task_seed: int | None = Field(
        default=None, ge=0, description="of the data, for runs that share them; by default their own"
    )
    optimizer: RegularizedDescent = Field(default_factory=Langevin, description="sampling, or descent with decay")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.width % 2:
            raise wrong_field("width", f"is {self.width}; it should be even, for neurons begin in pairs")
        wrong = wrong_size(self.task, self.dimension, self.samples, self.test_samples)
        if wrong is not None:
            raise wrong_field(*wrong)
        entries = max(self._matrices, self.depth * self.width * max(self.samples, self.test_samples))
        if entries > MOST_ENTRIES:
            size = f"weights or features have {entries:.2g} entries, {BYTES * entries / 2**30:.3g} GiB; at most 1"
            raise wrong_field("width", f"is {self.width}: {size}")
        return self

    @property
    def length(self) -> int:
        """The steps of the run."""
        return self.steps

    @property
    def ridge(self) -> float:
        """The ridge of the kernel regression that the network comes to: lambda, or 1 / beta."""
        if isinstance(self.optimizer, Langevin):
            return 1 / self.optimizer.inverse_temperature
        return self.optimizer.weight_decay

    @property
    def data_seed(self) -> int:
        """The seed of the data."""
        return self.seed if self.task_seed is None else self.task_seed

    @property
    def _matrices(self) -> int:
        """Entries of all matrices."""
        return self.width * self.dimension + (self.depth - 1) * self.width**2

    def metrics(self) -> Mapping[str, str]:
        """Return errors over that of predicting 0, and what the kernel has become; none has a unit."""
        names = ["loss", "train_loss", "predictor_loss", "overlap", "alignment", "kernel_change"]
        names += ["mean_loss"] if isinstance(self.optimizer, Langevin) else []
        return dict.fromkeys([*names, *(f"overlap_{layer}" for layer in range(1, self.depth))], "1")

    def counts(self) -> Counts:
        """Return weights, operations and memory; what a step moves in memory is not counted.

        A gradient is three products of the samples with every matrix, two with the first, and two with the readout;
        Runge and Kutta take four a part of a step. A mean of predictions is not counted.
        """
        first, hidden = self.width * self.dimension, (self.depth - 1) * self.width**2
        params = self._matrices + self.width
        gradient = self.samples * (4 * first + 6 * hidden + 4 * self.width)
        gradients = 4 * self.optimizer.substeps if isinstance(self.optimizer, DecayingFlow) else 1
        features = self.depth * self.width * max(2 * self.samples, self.test_samples)
        return Counts(
            params=params,
            params_non_embedding=params,
            flops_per_step=gradients * (gradient + 4 * params),
            memory_bytes=BYTES * (6 * params + features),
            depth=self.depth,
        )

    def extra(self) -> dict[str, Scalar]:
        """Return the time that the run takes in its own dynamics."""
        return {**super().extra(), "time": self.optimizer.learning_rate * self.steps}

    def pack_key(self) -> Hashable:
        """Runs whose arrays have one shape, one length and the same metrics go together."""
        shape = (self.dimension, self.samples, self.test_samples, self.width, self.depth)
        return (self.name, *shape, self.steps, isinstance(self.optimizer, Langevin))

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that advances these runs together, on a core."""
        return OneByOne([MeanFieldNetwork(run) for run in runs], runs[0].metrics())
