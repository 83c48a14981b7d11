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


class Langevin(Component):
    """Weights wander by underdamped Langevin dynamics among those that explain the labels up to a noise.

    The law that they settle in is exp(-E), E = N gamma^2 beta / 2 times the squared errors, plus half the weights'.
    """

    kind: Literal["langevin"] = Field(default="langevin", description="which one moves the weights")
    learning_rate: float = Field(default=0.01, gt=0, description="h, time of a step")
    inverse_temperature: float = Field(default=10.0, gt=0, description="of langevin, beta; 1 / beta is a ridge")
    friction: float = Field(default=1.0, gt=0, description="of langevin, per time")
    burn_in: float = Field(default=0.25, ge=0, lt=1, description="of langevin, part of the steps before means")


class DecayingDescent(Component):
    """Weights move against the gradient, and decay; a step is the time `learning_rate`."""

    kind: Literal["gradient_descent"] = Field(default="gradient_descent", description="which one moves the weights")
    learning_rate: float = Field(default=0.01, gt=0, description="h, time of a step")
    weight_decay: float = Field(default=0.1, gt=0, description="lambda of the decay, per time; a ridge in the end")


class DecayingFlow(Component):
    """Weights follow the gradient continuously, and decay; integrated by Runge and Kutta."""

    kind: Literal["gradient_flow"] = Field(default="gradient_flow", description="which one moves the weights")
    learning_rate: float = Field(default=0.01, gt=0, description="h, time of a step")
    weight_decay: float = Field(default=0.1, gt=0, description="lambda of the decay, per time; a ridge in the end")
    substeps: int = Field(default=1, ge=1, description="of gradient_flow, parts of a step of fourth order each")


RegularizedDescent = Annotated[Langevin | DecayingDescent | DecayingFlow, Field(discriminator="kind")]
