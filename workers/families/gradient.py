"""Families trained by back-propagation: the settings of the recipe, and what a trainer asks of a model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from isoflop.lakehouse.models.one_rate import STANDARD, said_of_one_rate
from isoflop.workers.components import AdamW, AnyOptimizer, AnyParametrization, Precision, RoleWeight, Scalar, Standard
from isoflop.workers.families.experiment import Experiment
from isoflop.workers.families.family import Family
from isoflop.workers.families.refusal import divides
from isoflop.workers.families.repeats import repeated_data

if TYPE_CHECKING:
    import torch

    from isoflop.workers.corpora import Corpus
    from isoflop.workers.devices import TorchDevice


@dataclass(frozen=True)
class HeldOut:
    """Text that a run is evaluated on when it is done.

    Parameters
    ----------
    suffix : of its metrics: none of the corpus's own, `_name` of another
    batches : (sequences, sequence_length + 1) tokens each, none where nothing is held out
    bytes_per_token : of its text, None where it is not known
    """

    suffix: str
    batches: list[NDArray[np.int64]]
    bytes_per_token: float | None = None


class GradientFamily(Family):
    """A family trained by back-propagation: the recipe's components and the four parts of a model."""

    batch_size: int = Field(default=16, ge=1, description="sequences a step, over all micro-batches")
    micro_batches: int = Field(default=1, ge=1, description="forward and backward passes a step; divides batch_size")
    optimizer: AnyOptimizer = Field(default_factory=AdamW, description="how gradients become updates")
    precision: Precision = Field(default_factory=Precision, description="number formats")
    parametrization: AnyParametrization = Field(
        default_factory=Standard, description="scheme of initial scales and rates"
    )
    compile: bool = Field(default=False, description="whether torch.compile builds the model's kernels")
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="decay of a mean of weights that is evaluated too; null for none"
    )

    # Settings that runs were recorded without: at their usual value they are columns, and no part of the identity.
    later_settings: ClassVar[tuple[str, ...]] = ()

    @field_validator("micro_batches")
    @classmethod
    def _divides_the_batch(cls, value: int, info: ValidationInfo) -> int:
        return divides("micro_batches", value, "batch_size", info)

    def usual(self) -> dict[str, Scalar]:
        """Return those of the later settings that have their usual value."""
        own, fields = dict(self), type(self).model_fields
        return {name: own[name] for name in self.later_settings if own[name] == fields[name].get_default()}

    def config(self) -> dict[str, Scalar]:
        """Return the settings that identify a run; what is as it was before it could be set counts as absent."""
        return {**super().config(), **dict.fromkeys(self.usual())}

    def extra(self) -> dict[str, Scalar]:
        """Return the columns that follow from the config, and the later settings that are as usual."""
        return {**super().extra(), **{name: value for name, value in self.usual().items() if value is not None}}

    @classmethod
    def notes(cls, runs: Sequence[Experiment], read: frozenset[str]) -> list[str]:
        """Say what one learning rate does to the widths that it is for, and where data repeat."""
        return [*cls._one_rate(runs), *repeated_data(runs)]

    @classmethod
    def _one_rate(cls, runs: Sequence[Experiment]) -> list[str]:
        settings = [run.values() for run in runs if isinstance(run, GradientFamily)]
        rated = [each for each in settings if "width" in each]
        rates = {each["learning_rate"] for each in rated}
        if len(rates) != 1 or {each["parametrization"] for each in rated} != {STANDARD}:
            return []
        widths = [each["width"] for each in rated]
        said = said_of_one_rate(min(widths), max(widths), rates.pop())
        return [] if said is None else [f"one rate: {said}"]

    def metrics(self) -> Mapping[str, str]:
        """Return the loss, and the gradient's norm where it is clipped."""
        clipped = {} if self.optimizer.gradient_clip is None else {"gradient_norm": "nat/token"}
        return {"loss": "nat/token", **clipped}

    @abstractmethod
    def open_corpus(self) -> Corpus:
        """Return the data, opened."""

    def unique_tokens(self, corpus: Corpus) -> int | None:
        """Return the different tokens that the run trains on: all, or as many as the corpus has."""
        return None

    @abstractmethod
    def build(self, device: TorchDevice, generator: torch.Generator) -> torch.nn.Module:
        """Return the model on `device`, its weights drawn from `generator` (a CPU one, so alike everywhere)."""

    @abstractmethod
    def roles(self, model: torch.nn.Module) -> Sequence[RoleWeight]:
        """Return the weights of a model with the role of each, in the order in which they are drawn."""

    @abstractmethod
    def batches(self, corpus: Corpus, *, first_step: int = 0) -> Iterator[NDArray[np.int64]]:
        """Yield the batch of each step from `first_step` on; a batch depends on the seed and its step only."""

    @abstractmethod
    def loss(self, model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        """Return the mean training loss of a batch [nat/token], a scalar."""

    @abstractmethod
    def validation_batches(self, corpus: Corpus) -> list[NDArray[np.int64]]:
        """Return the held-out batches, the same for every run on this corpus; empty if there are none."""

    def held_out(self, corpus: Corpus) -> list[HeldOut]:
        """Return all text that a run is evaluated on, the corpus's own first."""
        return [HeldOut("", self.validation_batches(corpus))]

    @abstractmethod
    def loss_of_knowing_nothing(self) -> float:
        """Return the loss of a uniform guess [nat/token], the yardstick of divergence."""
