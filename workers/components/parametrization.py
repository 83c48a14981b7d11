"""How initial weights, products and learning rates scale with the shape: a table from a weight's role to its scaling.

A family says which role each of its weights has; a parametrization says what that means. So one table serves every
family, and one family takes any table that knows its roles.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from isoflop.workers.components.component import Component

if TYPE_CHECKING:
    import torch

Role = Literal["embedding", "hidden", "into_residual", "readout"]
EMBEDDING_SCALE = 0.02  # standard deviation of token vectors and, through an untied head, of small first logits


@dataclass(frozen=True)
class Shape:
    """What a scaling depends on: inputs and outputs of the matrix, layers of the network."""

    inputs: int
    outputs: int
    depth: int


@dataclass(frozen=True)
class Scaling:
    """How one weight is treated.

    Parameters
    ----------
    initial_scale : standard deviation of its first entries
    multiplier : of what the weight puts out
    rate_factor : of the learning rate
    """

    initial_scale: float
    multiplier: float = 1.0
    rate_factor: float = 1.0


@dataclass(frozen=True)
class RoleWeight:
    """A layer with one weight, and the role that weight has in its network."""

    role: Role
    layer: torch.nn.Module
    shape: Shape

    @property
    def weight(self) -> torch.nn.Parameter:
        """The weight itself."""
        weight: torch.nn.Parameter = self.layer.weight  # type: ignore[assignment]
        return weight


class Parametrization(Component):
    """A table of scalings."""

    kind: str

    @abstractmethod
    def scaling(self, role: Role, shape: Shape) -> Scaling:
        """Return how a weight of this role and shape is treated."""

    def initialize(self, weights: Sequence[RoleWeight], generator: torch.Generator) -> None:
        """Draw every weight from `generator`, in this order, and let its layer apply its multiplier."""
        from torch import nn

        for each in weights:
            scaling = self.scaling(each.role, each.shape)
            nn.init.normal_(each.weight, std=scaling.initial_scale, generator=generator)
            if scaling.multiplier != 1.0:
                each.layer.register_forward_hook(_Times(scaling.multiplier))

    def rate_factors(self, weights: Sequence[RoleWeight]) -> list[tuple[torch.Tensor, float]]:
        """Return every weight with the factor of its learning rate."""
        return [(each.weight, self.scaling(each.role, each.shape).rate_factor) for each in weights]


class Standard(Parametrization):
    """One learning rate for every matrix.

    Matrices are N(0, 1/inputs), so that a layer's outputs are as large as its inputs. The matrices that write into
    the residual stream are smaller by sqrt(2*depth), so that the stream does not grow with depth. Token vectors and
    head are N(0, 0.02^2), so that the first loss is that of a uniform guess.

    Source: Radford et al. 2019 (GPT-2), section 2.3, for the depth factor.
    """

    kind: Literal["standard"] = Field(default="standard", description="scheme of initial scales and rates")

    def scaling(self, role: Role, shape: Shape) -> Scaling:
        """Return the initial scale; multiplier and factor are 1."""
        match role:
            case "embedding" | "readout":
                return Scaling(EMBEDDING_SCALE)
            case "hidden":
                return Scaling(1.0 / math.sqrt(shape.inputs))
            case "into_residual":
                return Scaling(1 / math.sqrt(2 * shape.depth) / math.sqrt(shape.inputs))


class _Times:
    """A forward hook that multiplies what a layer puts out."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def __call__(self, layer: torch.nn.Module, inputs: object, outputs: torch.Tensor) -> torch.Tensor:
        return self._factor * outputs
