"""Optimizers: how gradients become updates, with the learning rate over the steps."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from isoflop.workers.components.component import Component, Scalar

if TYPE_CHECKING:
    import torch

EPSILON = 1e-8  # added to the root of the second moment
RATE_FACTOR = "rate_factor"  # key of a group of weights: its share of the learning rate


class Optimizer(Component):
    """What every optimizer has: a peak, a linear rise before it, half a cosine after it, and a clip of the gradient."""

    kind: str
    learning_rate: float = Field(default=3e-3, gt=0, description="peak, after warm-up")
    warmup_fraction: float = Field(default=0.02, ge=0, le=1, description="of the steps, rising linearly")
    final_learning_rate_fraction: float = Field(default=0.1, ge=0, le=1, description="of the peak, at the last step")
    gradient_clip: float | None = Field(default=1.0, gt=0, description="largest global norm; null for none")

    @property
    @abstractmethod
    def traffic(self) -> str:
        """Key of `isoflop.lakehouse.models.counts.OPTIMIZER_TRAFFIC`: what a step moves and keeps."""

    @abstractmethod
    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return the optimizer over groups of weights; those with `is_matrix` decay, each has a rate factor."""

    def rate_at(self, step: int, num_steps: int) -> float:
        """Return the rate of a step: a linear rise, then half a cosine down to the final fraction.

        Parameters
        ----------
        step : 0 to num_steps - 1; the last step uses the final fraction of the peak exactly
        """
        num_warmup = round(self.warmup_fraction * num_steps)
        if step < num_warmup:
            return self.learning_rate * (step + 1) / num_warmup
        progress = (step - num_warmup) / max(1, num_steps - 1 - num_warmup)
        floor = self.final_learning_rate_fraction
        return self.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


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
        return {**self.values(name), name: None}

    def extra(self, name: str) -> dict[str, Scalar]:
        """Return the optimizer's name."""
        return {name: self.kind}

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.AdamW:
        """Return AdamW in one kernel a step."""
        import torch

        return torch.optim.AdamW(
            _decaying(groups, self.weight_decay), lr=self.learning_rate, betas=(self.beta1, self.beta2), eps=EPSILON,
            fused=True,
        )  # fmt: skip


class Sgd(Optimizer):
    """Stochastic gradient descent: velocity = momentum * velocity + gradient, weights -= rate * velocity."""

    kind: Literal["sgd"] = Field(default="sgd", description="which optimizer")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="of sgd, on the sum of gradients; 0 for none")
    weight_decay: float = Field(default=0.0, ge=0, description="added to the gradient, of matrices only")

    @property
    def traffic(self) -> str:
        """With a velocity beside each weight, or without."""
        return "momentum" if self.momentum else "sgd"

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.SGD:
        """Return SGD over the weights."""
        import torch

        return torch.optim.SGD(_decaying(groups, self.weight_decay), lr=self.learning_rate, momentum=self.momentum)


AnyOptimizer = Annotated[AdamW | Sgd, Field(discriminator="kind")]


def _decaying(groups: Sequence[dict[str, Any]], weight_decay: float) -> list[dict[str, Any]]:
    return [
        {**{key: value for key, value in group.items() if key != "is_matrix"},
         "weight_decay": weight_decay if group["is_matrix"] else 0.0}
        for group in groups
    ]  # fmt: skip


def weight_groups(model: torch.nn.Module, factors: Sequence[tuple[torch.Tensor, float]] = ()) -> list[dict[str, Any]]:
    """Return the weights of a model in groups that learn alike.

    Parameters
    ----------
    factors : weights whose learning rate is a multiple of the common one, with that multiple

    Returns
    -------
    matrices, which decay, then the others; for each multiple that occurs, the common rate first
    """
    multiples = {id(weight): factor for weight, factor in factors}
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    found = [1.0, *dict.fromkeys(factor for _, factor in factors if factor != 1.0)]
    groups: list[dict[str, Any]] = [
        {
            "params": [
                weight
                for weight in weights
                if (weight.ndim >= 2) == is_matrix and multiples.get(id(weight), 1.0) == factor
            ],
            "is_matrix": is_matrix,
            RATE_FACTOR: factor,
        }
        for factor in found
        for is_matrix in (True, False)
    ]
    return [group for group in groups if group["params"]]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate`, times each group's factor, from the next update on."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)  # a checkpoint need not say it
