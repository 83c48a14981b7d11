"""Optimizers: how gradients become updates, with the learning rate over the steps.

Schedules rise linearly to the peak and then: `cosine`, half of one down to the final fraction; `linear`, a line there;
`constant`, none; `wsd`, warm-up, stable, decay: the peak until the last `decay_fraction` of the steps, then a line.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from isoflop.workers.components.component import Component, Scalar, wrong_field
from isoflop.workers.components.parametrization import Scaling
from isoflop.workers.components.scalings import Rule

if TYPE_CHECKING:
    import torch

USUAL_DECAY = 0.2  # of the steps, as Hu et al. 2024 (arXiv:2404.06395) and Hagele et al. 2024 (arXiv:2405.18392) find
EPSILON = 1e-8  # added to the root of the second moment
RATE_FACTOR = "rate_factor"  # key of a group of weights: its share of the learning rate
PLAIN = Scaling(None)  # of weights that no parametrization speaks of


@dataclass(frozen=True, eq=False)
class WeightGroup:
    """Weights that learn alike; matrices decay."""

    weights: list[torch.Tensor]
    is_matrix: bool
    scaling: Scaling = PLAIN


class Optimizer(Component):
    """What every optimizer has: a peak, a linear rise before it, a way down after it, and a clip of the gradient."""

    rule: ClassVar[Rule] = "adam"  # the columns of a parametrization's table that it learns by

    kind: str
    learning_rate: float = Field(default=3e-3, gt=0, description="peak, after warm-up")
    warmup_fraction: float = Field(default=0.02, ge=0, le=1, description="of the steps, rising linearly")
    final_learning_rate_fraction: float = Field(default=0.1, ge=0, le=1, description="of the peak, at the last step")
    schedule: Literal["cosine", "linear", "constant", "wsd"] = Field(
        default="cosine", description="of the learning rate after warm-up; wsd is constant, then falls linearly"
    )
    decay_fraction: float | None = Field(
        default=None, gt=0, le=1, description="of wsd, the steps at the end in which the rate falls; by default 0.2"
    )
    gradient_clip: float | None = Field(default=1.0, gt=0, description="largest global norm; null for none")

    @property
    @abstractmethod
    def traffic(self) -> str:
        """Key of `isoflop.lakehouse.models.update_costs.OPTIMIZER_TRAFFIC`, or `muon`: what a step moves and keeps."""

    @abstractmethod
    def build(self, groups: Sequence[WeightGroup]) -> torch.optim.Optimizer:
        """Return the optimizer over groups of weights, each with its share of rate, decay and epsilon."""

    def config(self, name: str) -> dict[str, Scalar]:
        """Return the settings that identify a run; a cosine counts as absent, as runs were before there was another."""
        own = super().config(name)
        if self.schedule == "cosine":
            own["schedule"] = None
        if self.schedule == "wsd":
            own["decay_fraction"] = self.decayed
        return own

    def extra(self, name: str) -> dict[str, Scalar]:
        """Return the schedule where it is no part of the identity."""
        return {**super().extra(name), **({"schedule": "cosine"} if self.schedule == "cosine" else {})}

    @property
    def decayed(self) -> float:
        """The share of the steps in which the rate falls at the end, under wsd."""
        return USUAL_DECAY if self.decay_fraction is None else self.decay_fraction

    def rate_at(self, step: int, num_steps: int) -> float:
        """Return the rate of a step: a linear rise, then the schedule down to the final fraction.

        Parameters
        ----------
        step : 0 to num_steps - 1; the last step uses the final fraction of the peak exactly, but for `constant`
        """
        num_warmup = round(self.warmup_fraction * num_steps)
        if step < num_warmup:
            return self.learning_rate * (step + 1) / num_warmup
        if self.schedule == "wsd":
            num_decay = max(1, min(num_steps - num_warmup, round(self.decayed * num_steps)))
            progress = max(0.0, (step + 1 - (num_steps - num_decay)) / num_decay)
        else:
            progress = (step - num_warmup) / max(1, num_steps - 1 - num_warmup)
        floor = self.final_learning_rate_fraction
        match self.schedule:
            case "constant":
                return self.learning_rate
            case "cosine":
                return self.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
            case "linear" | "wsd":
                return self.learning_rate * (floor + (1 - floor) * (1 - min(1.0, progress)))

    @model_validator(mode="after")
    def _decays_as_scheduled(self) -> Self:
        if self.decay_fraction is not None and self.schedule != "wsd":
            raise wrong_field(
                "decay_fraction", f"is of the schedule wsd, not of {self.schedule}; leave one of them out"
            )
        return self


class AdamW(Optimizer):
    """Adam with decay apart from the gradient.

    It is what runs without a word on their optimizer were trained by, so its name is a column but no part of a
    run's identity.

    Source: Loshchilov and Hutter 2019 (arXiv:1711.05101).
    """

    kind: Literal["adamw"] = Field(default="adamw", description="which optimizer")
    weight_decay: float = Field(default=0.1, ge=0, description="decoupled, of matrices only")
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)

    @property
    def traffic(self) -> str:
        """All in one kernel a step."""
        return "adamw"

    def config(self, name: str) -> dict[str, Scalar]:
        """Return the settings without the optimizer's name."""
        return {**super().config(name), name: None}

    def extra(self, name: str) -> dict[str, Scalar]:
        """Return the optimizer's name."""
        return {**super().extra(name), name: self.kind}

    def build(self, groups: Sequence[WeightGroup]) -> torch.optim.AdamW:
        """Return AdamW in one kernel a step."""
        import torch

        return torch.optim.AdamW(
            _decaying(groups, self.weight_decay, EPSILON), lr=self.learning_rate, betas=(self.beta1, self.beta2),
            eps=EPSILON, fused=True,
        )  # fmt: skip


class Sgd(Optimizer):
    """Stochastic gradient descent: velocity = momentum * velocity + gradient, weights -= rate * velocity."""

    rule: ClassVar[Rule] = "sgd"
    kind: Literal["sgd"] = Field(default="sgd", description="which optimizer")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="of sgd, on the sum of gradients; 0 for none")
    weight_decay: float = Field(default=0.0, ge=0, description="added to the gradient, of matrices only")

    @property
    def traffic(self) -> str:
        """With a velocity beside each weight, or without."""
        return "momentum" if self.momentum else "sgd"

    def build(self, groups: Sequence[WeightGroup]) -> torch.optim.SGD:
        """Return SGD over the weights."""
        import torch

        return torch.optim.SGD(_decaying(groups, self.weight_decay), lr=self.learning_rate, momentum=self.momentum)


class Lion(Optimizer):
    """Steps by the sign of a moving mean of gradients: every weight moves by the rate.

    Source: Chen et al. 2023 (arXiv:2302.06675).
    """

    kind: Literal["lion"] = Field(default="lion", description="which optimizer")
    learning_rate: float = Field(default=3e-4, gt=0, description="peak, after warm-up; about a tenth of AdamW's")
    weight_decay: float = Field(default=1.0, ge=0, description="decoupled, of matrices only")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="of lion, of the mean whose sign is the step")
    beta2: float = Field(default=0.99, ge=0, lt=1, description="of lion, of the mean that is kept")

    @property
    def traffic(self) -> str:
        """With a momentum beside each weight."""
        return "lion"

    def build(self, groups: Sequence[WeightGroup]) -> torch.optim.Optimizer:
        """Return Lion over the weights."""
        from isoflop.workers.components.torch_optimizers import LionSteps

        return LionSteps(_decaying(groups, self.weight_decay), lr=self.learning_rate, betas=(self.beta1, self.beta2))


class Muon(Optimizer):
    """Orthogonal steps for the matrices of layers; AdamW, at a rate of its own, for all other weights.

    Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); a step's spectral norm is sqrt(outputs / inputs)
    of a matrix with more outputs than inputs, and 1 otherwise.
    """

    rule: ClassVar[Rule] = "muon"
    kind: Literal["muon"] = Field(default="muon", description="which optimizer")
    learning_rate: float = Field(default=2e-2, gt=0, description="peak, after warm-up, of the matrices of layers")
    adam_learning_rate: float = Field(default=3e-3, gt=0, description="of muon, peak for all other weights")
    momentum: float = Field(default=0.95, ge=0, lt=1, description="of muon, of the mean that is made orthogonal")
    weight_decay: float = Field(default=0.1, ge=0, description="decoupled, of matrices only")
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)

    @property
    def traffic(self) -> str:
        """With products of matrices, and AdamW's for other weights."""
        return "muon"

    def build(self, groups: Sequence[WeightGroup]) -> torch.optim.Optimizer:
        """Return Muon and AdamW, each over its weights."""
        import torch

        from isoflop.workers.components.torch_optimizers import Together

        inner = [group for group in groups if group.scaling.is_inner and group.is_matrix]
        share = self.adam_learning_rate / self.learning_rate
        others = [
            replace(group, scaling=replace(group.scaling, rate_factor=share * group.scaling.rate_factor))
            for group in groups
            if group not in inner
        ]
        adam = (
            AdamW(weight_decay=self.weight_decay, beta1=self.beta1, beta2=self.beta2).build(others) if others else None
        )
        muon = None
        if inner:
            muon = torch.optim.Muon(_decaying(inner, self.weight_decay), lr=self.learning_rate, momentum=self.momentum)
        return Together([part for part in (muon, adam) if part is not None])


AnyOptimizer = Annotated[AdamW | Sgd | Lion | Muon, Field(discriminator="kind")]


def _decaying(groups: Sequence[WeightGroup], weight_decay: float, epsilon: float | None = None) -> list[dict[str, Any]]:
    """Return the groups as torch takes them: matrices decay; `epsilon` for an optimizer that has one."""
    return [
        {
            "params": group.weights,
            RATE_FACTOR: group.scaling.rate_factor,
            "weight_decay": weight_decay * group.scaling.decay_factor if group.is_matrix else 0.0,
            **({} if epsilon is None else {"eps": epsilon * group.scaling.epsilon_factor}),
        }
        for group in groups
    ]


def weight_groups(model: torch.nn.Module, treatments: Sequence[tuple[torch.Tensor, Scaling]] = ()) -> list[WeightGroup]:
    """Return the weights of a model in groups that learn alike.

    Parameters
    ----------
    treatments : weights with how they learn; all others learn by the common rate

    Returns
    -------
    matrices, which decay, then the others; for each way to learn that occurs, the common one first
    """
    known = {id(weight): _learning(scaling) for weight, scaling in treatments}
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    found = dict.fromkeys([PLAIN, *known.values()])
    groups = [
        WeightGroup(
            [
                weight
                for weight in weights
                if (weight.ndim >= 2) == is_matrix and known.get(id(weight), PLAIN) == scaling
            ],
            is_matrix,
            scaling,
        )
        for scaling in found
        for is_matrix in (True, False)
    ]
    return [group for group in groups if group.weights]


def _learning(scaling: Scaling) -> Scaling:
    """Return what matters to an optimizer."""
    return replace(PLAIN, rate_factor=scaling.rate_factor, decay_factor=scaling.decay_factor,
                   epsilon_factor=scaling.epsilon_factor, is_inner=scaling.is_inner)  # fmt: skip


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate`, times each group's factor, from the next update on."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)  # a checkpoint need not say it
