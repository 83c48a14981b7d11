"""The margin-growth family: a two-layer classifier that goes on changing after its last mistake in training.

    f(x) = (alpha / N) sum over neurons of a relu(w . x)        a, w ~ N(0, 1), the second half with w again and -a
    a, w go against the gradient of the mean logistic loss by eta N / alpha^2 a step; no weight decay

The halves make f(0) = 0. The output scale alpha is how lazy training is; `frozen` trains a alone. The classes are those
of xor in the first two of some coordinates, or of mixtures of odors that share most molecules with a target.

`isoflop.workers.families.margin_program` draws, trains and measures.

Source: Kumar et al. 2024 (arXiv:2411.03541), whose data are neural; the network and the tasks are a design after it.
Margins: Lyu and Li 2020 (arXiv:1906.05890).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar, Self

from pydantic import Field, field_validator

from isoflop.lakehouse.models.counts import Counts
from isoflop.workers.components import AnyClasses, Scalar
from isoflop.workers.devices import Device
from isoflop.workers.families.margin_program import DECODED, MarginNetwork
from isoflop.workers.families.one_by_one import OneByOne
from isoflop.workers.families.packed import PackedExperiment, Program
from isoflop.workers.families.refusal import wrong_field

BYTES = 8  # of a float64


class MarginGrowth(PackedExperiment):
    """Two-layer classifiers from rich (a small `output_scale`) to lazy or `frozen`, trained past their last mistake.

    `loss` is the mean logistic loss on probes, inputs that are not trained on, and `train_loss` that of the samples.
    `margin` is the least of y f over the samples, by alpha times (|a|^2 + |W|^2) / N, `soft_margin` its smooth form,
    -log(sum of exp(-y f)) by the same, from when `train_loss` times samples is below a half. Of the hidden layer on its
    own there are `representation_margin`, that of a linear support vector machine on the samples' activity, centered
    and of mean square 1; `separation`, the squared distance of the classes' means on probes by the sum of their
    variances; and `decoding_accuracy_20` and so on, of linear decoders of so many neurons with noise added, five-fold
    on probes. What is not defined yet, such as a margin of activity that no plane separates, is not measured.

    `results` has `t99`, the first step with a train accuracy of 0.99, every measure then (`margin_at_t99`), and of
    reversal, where all labels are flipped and training goes on, the steps to a train accuracy of 0.9: from where the
    run stood at t99, and from its end, `reversal_at_t99` and `reversal_at_end`; what was not reached is not there.

    Weight decay is zero, and the config says so. Runs of one shape, length and
    output scale train in one program.
    """

    name: ClassVar[str] = "margin_growth"
    example: ClassVar[Mapping[str, object]] = {
        "task": "xor", "dimension": 4, "width": 40, "samples": 16, "probes": 60, "steps": 300, "reversal_steps": 50,
    }  # fmt: skip
    length_settings: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int = Field(gt=0, description="updates of all weights")
    task: AnyClasses = Field(description="what is told apart")
    width: int = Field(default=200, ge=2, description="N, neurons")
    samples: int = Field(default=300, ge=2, description="P, trained on, half of odors of each class")
    probes: int = Field(default=2000, ge=20, description="inputs that are not trained on")
    output_scale: float = Field(default=1.0, gt=0, description="alpha; 1 to 4 is rich, 100 lazy")
    frozen: bool = Field(default=False, description="whether the features stay as they began")
    learning_rate: float = Field(default=2.0, gt=0, description="eta; weights move by N / alpha^2 times that")
    readout_noise: float = Field(default=0.5, ge=0, description="of a decoded neuron, in root mean squares of activity")
    reversal_steps: int = Field(default=2000, ge=0, description="at most, with flipped labels; 0 for no reversal")

    @field_validator("width")
    @classmethod
    def _is_even(cls, width: int) -> int:
        if width % 2:
            raise wrong_field("width", f"is {width}; the halves cancel at first, so give an even number")
        return width

    @property
    def length(self) -> int:
        """The updates of the run."""
        return self.steps

    def metrics(self) -> Mapping[str, str]:
        """Return losses, accuracies, margins, and what is read off the hidden layer."""
        return {
            "loss": "nat",
            "train_loss": "nat",
            "train_accuracy": "1",
            "probe_accuracy": "1",
            "margin": "1",
            "soft_margin": "1",
            "representation_margin": "1",
            "separation": "1",
            **{f"decoding_accuracy_{count}": "1" for count in DECODED if count <= self.width},
        }

    def counts(self) -> Counts:
        """Return weights and operations: products of all weights with all samples and back, eight at each neuron."""
        matrix = self.width * self.task.dimension
        params = self.width if self.frozen else matrix + self.width
        products = (2 if self.frozen else 4) * matrix * self.samples
        return Counts(
            params=params,
            params_non_embedding=params,
            flops_per_step=products + 8 * self.width * self.samples + 2 * params,
            memory_bytes=BYTES * (4 * matrix + (self.samples + self.probes) * (self.task.dimension + 2 * self.width)),
        )

    def config(self) -> dict[str, Scalar]:
        """Return the settings as scalars; that there is no weight decay is one of them."""
        return {**super().config(), "weight_decay": 0.0}

    def pack_key(self) -> Hashable:
        """Runs of one shape, length and output scale go together; lazy ones take twice as long to measure."""
        shape = (self.task.kind, self.task.dimension, self.width, self.samples, self.probes, self.steps)
        return (self.name, *shape, self.output_scale)

    @classmethod
    def program(cls, runs: Sequence[Self], device: Device) -> Program:
        """Return the program that advances these runs together, on a core."""
        return OneByOne([MarginNetwork(run) for run in runs], runs[0].metrics())
