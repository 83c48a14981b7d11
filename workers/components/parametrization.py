"""How initial weights, products and learning rates scale with the shape: a table from a weight's role to its scaling.

A family says which role each of its weights has; a parametrization says what that means. So one table serves every
family, and one family takes any table that knows its roles. The tables themselves are in `scalings.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from isoflop.workers.components.component import Component
from isoflop.workers.components.scalings import (
    COMPLETEP,
    DEPTH_MUP,
    INNER,
    MUP,
    NTK,
    STANDARD,
    Role,
    Rule,
    Table,
    value,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Shape:
    """What a scaling depends on: inputs and outputs of the matrix, layers of the network, width of its residual stream.

    A width of 0 is not known, and counts as the base's.
    """

    inputs: int
    outputs: int
    depth: int
    width: int = 0


@dataclass(frozen=True)
class Scaling:
    """How one weight is treated.

    Parameters
    ----------
    initial_scale : standard deviation of its first entries; None leaves what the layer begins with
    multiplier : of what the weight puts out
    rate_factor : of the learning rate
    decay_factor : of the weight decay
    epsilon_factor : of what Adam adds to the root of the second moment
    is_inner : whether it is a matrix of a layer, which Muon makes orthogonal; it has Adam for all others
    """

    initial_scale: float | None
    multiplier: float = 1.0
    rate_factor: float = 1.0
    decay_factor: float = 1.0
    epsilon_factor: float = 1.0
    is_inner: bool = False


@dataclass(frozen=True)
class RoleWeight:
    """A layer with one weight, and the role that weight has in its network.

    Parameters
    ----------
    is_shared : whether the weight is another layer's, as a tied head's is: drawn and learning as that one, with a
        multiplier of its own
    """

    role: Role
    layer: torch.nn.Module
    shape: Shape
    is_shared: bool = False

    @property
    def weight(self) -> torch.nn.Parameter:
        """The weight itself."""
        weight: torch.nn.Parameter = self.layer.weight  # type: ignore[assignment]
        return weight


class Parametrization(Component):
    """A table of scalings."""

    kind: str

    @abstractmethod
    def scaling(self, role: Role, shape: Shape, rule: Rule = "adam") -> Scaling:
        """Return how a weight of this role and shape is treated by optimizers of one kind."""

    def attention_scale(self, head_width: int) -> float:
        """Return what products of queries and keys are multiplied by: 1 / sqrt(head_width)."""
        return float(head_width**-0.5)

    def initialize(self, weights: Sequence[RoleWeight], generator: torch.Generator) -> None:
        """Draw every weight from `generator`, in this order, and let its layer apply its multiplier."""
        from torch import nn

        for each in weights:
            scaling = self.scaling(each.role, each.shape)
            if scaling.initial_scale is not None and not each.is_shared:
                nn.init.normal_(each.weight, std=scaling.initial_scale, generator=generator)
            if scaling.multiplier != 1.0:
                each.layer.register_forward_hook(_Times(scaling.multiplier))

    def treatments(self, weights: Sequence[RoleWeight], rule: Rule) -> list[tuple[torch.Tensor, Scaling]]:
        """Return every weight with how it learns by optimizers of one kind."""
        return [(each.weight, self.scaling(each.role, each.shape, rule)) for each in weights if not each.is_shared]


class TableParametrization(Parametrization):
    """A parametrization whose table is written down as formulas, from a base of its own shape on."""

    table: ClassVar[Table]

    def base(self) -> tuple[int, int] | None:
        """Return the width and depth at which all parametrizations agree, None where the table needs none."""
        return None

    def scaling(self, role: Role, shape: Shape, rule: Rule = "adam") -> Scaling:
        """Return the values of the table's row."""
        row = self.table[role]
        width, depth = self.base() or (shape.width, shape.depth)
        names = {
            "inputs": shape.inputs,
            "depth": shape.depth,
            "base_depth": depth,
            "wider": shape.width / width if shape.width else 1.0,
            "deeper": shape.depth / depth,
        }
        is_inner = role in INNER
        learning = row.learning("adam" if rule == "muon" and not is_inner else rule)
        return Scaling(
            None if row.initial is None else value(row.initial, names),
            multiplier=value(row.multiplier, names),
            rate_factor=value(learning.rate, names),
            decay_factor=value(learning.decay, names),
            epsilon_factor=value(learning.epsilon, names),
            is_inner=is_inner,
        )


class Standard(TableParametrization):
    """One learning rate for every matrix.

    Matrices are N(0, 1/inputs), so that a layer's outputs are as large as its inputs. The matrices that write into
    the residual stream are smaller by sqrt(2*depth), so that the stream does not grow with depth. Token vectors and
    head are N(0, 0.02^2), so that the first loss is that of a uniform guess.

    Source: Radford et al. 2019 (GPT-2), section 2.3, for the depth factor.
    """

    table: ClassVar[Table] = STANDARD
    kind: Literal["standard"] = Field(default="standard", description="scheme of initial scales and rates")


class FromBase(TableParametrization):
    """A parametrization that scales from a base: there it is `standard`, and learning rates are those of the base."""

    base_width: int = Field(default=64, ge=1, description="width at which a scheme is standard; rates are of there")
    base_depth: int = Field(default=2, ge=1, description="depth at which a scheme is standard")

    def base(self) -> tuple[int, int]:
        """Return the base's width and depth."""
        return self.base_width, self.base_depth


class Ntk(FromBase):
    """Unit weights, layers that divide by the root of their inputs: wide networks train, and their features stay.

    Source: Jacot et al. 2018 (arXiv:1806.07572) for SGD; rates of Adam are those at which outputs move alike at every
    width, as Sernau 2024 (arXiv:2406.18800) has them for one hidden layer.
    """

    table: ClassVar[Table] = NTK
    kind: Literal["ntk"] = Field(default="ntk", description="scheme of initial scales and rates")


class Mup(FromBase):
    """Maximal updates: features move as much at every width, and so the best learning rate stays.

    Source: Yang et al. 2022 (arXiv:2203.03466), table 8.
    """

    table: ClassVar[Table] = MUP
    kind: Literal["mup"] = Field(default="mup", description="scheme of initial scales and rates")
    base_head_width: int = Field(
        default=32, ge=1, description="head width at which attention's 1 / head_width is 1 / sqrt(head_width)"
    )

    def attention_scale(self, head_width: int) -> float:
        """Return 1 / head_width, in units in which it is 1 / sqrt(head_width) at the base."""
        return float(self.base_head_width**0.5 / head_width)


class DepthMup(Mup):
    """Maximal updates, and layers that add 1 / sqrt(depth): the best learning rate stays with depth too.

    Source: Bordelon et al. 2023 (arXiv:2309.16620); Yang et al. 2023 (arXiv:2310.02244).
    """

    table: ClassVar[Table] = DEPTH_MUP
    kind: Literal["depth_mup"] = Field(default="depth_mup", description="scheme of initial scales and rates")  # type: ignore[assignment]


class CompleteP(Mup):
    """Maximal updates, and layers that add 1 / depth, so that each goes on learning features at any depth.

    Source: Dey et al. 2025 (arXiv:2505.01618), table 1 with alpha = 1.
    """

    table: ClassVar[Table] = COMPLETEP
    kind: Literal["completep"] = Field(default="completep", description="scheme of initial scales and rates")  # type: ignore[assignment]


AnyParametrization = Annotated[Standard | Ntk | Mup | DepthMup | CompleteP, Field(discriminator="kind")]


class _Times:
    """A forward hook that multiplies what a layer puts out."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def __call__(self, layer: torch.nn.Module, inputs: object, outputs: torch.Tensor) -> torch.Tensor:
        return self._factor * outputs
