"""Tasks with two classes whose rule is no linear function of the inputs, or hardly one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from isoflop.workers.components.component import Component

MIXTURE = 6  # molecules in an odor


class Xor(Component):
    """Normal inputs whose class is the sign of the product of the first two coordinates."""

    kind: Literal["xor"] = Field(default="xor", description="which classes are told apart")
    dimension: int = Field(default=30, ge=2, description="D, of the inputs")


class Odor(Component):
    """Mixtures of six molecules, each with a random pattern over receptors; the class is whether five are the target's.

    A mixture of the other class has two or three molecules of the target.
    """

    kind: Literal["odor"] = Field(default="odor", description="which classes are told apart")
    dimension: int = Field(default=100, ge=1, description="D, of the inputs")
    molecules: int = Field(default=60, ge=2 * MIXTURE, description="of odor, kinds there are")
    noise: float = Field(default=0.6, ge=0, description="of odor, of receptors, in sizes of a mixture")


AnyClasses = Annotated[Xor | Odor, Field(discriminator="kind")]
