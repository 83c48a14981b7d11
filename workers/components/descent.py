"""Exact dynamics of the whole gradient: steps of gradient descent, or the flow that they become when they are small."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from isoflop.workers.components.component import Component


class GradientDescent(Component):
    """Weights move against the gradient by the learning rate, step by step."""

    kind: Literal["gradient_descent"] = Field(default="gradient_descent", description="which one moves the weights")
    learning_rate: float = Field(default=0.1, gt=0, description="eta, of the loss in its own normalization")


class GradientFlow(Component):
    """Weights follow the gradient continuously; a step is the time `learning_rate`, integrated by Runge and Kutta."""

    kind: Literal["gradient_flow"] = Field(default="gradient_flow", description="which one moves the weights")
    learning_rate: float = Field(default=0.1, gt=0, description="eta, of the loss in its own normalization")
    substeps: int = Field(default=1, ge=1, description="of gradient_flow, parts of a step of fourth order each")


class HeavyBall(Component):
    """Gradient descent that keeps a part of its last step."""

    kind: Literal["momentum"] = Field(default="momentum", description="which one moves the weights")
    learning_rate: float = Field(default=0.1, gt=0, description="eta, of the loss in its own normalization")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of momentum, the part of the last step that is kept")


class ExactFlow(Component):
    """Weights of a linear model follow the gradient, in closed form; a step is the time `learning_rate`."""

    kind: Literal["gradient_flow"] = Field(default="gradient_flow", description="which one moves the weights")
    learning_rate: float = Field(default=0.1, gt=0, description="eta, of the loss in its own normalization")


AnyDescent = Annotated[GradientDescent | GradientFlow, Field(discriminator="kind")]
LinearModelDescent = Annotated[ExactFlow | GradientDescent | HeavyBall, Field(discriminator="kind")]
