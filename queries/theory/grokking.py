"""Two-layer quadratic networks that learn their samples before their rule, from a few statistics of their neurons.

With residuals e = f(x) - y on P samples, all neurons w move by one affine law,

    dw/dt = v + eps V w        v = -(1 / (alpha P)) sum of e x        V = -(1 / (alpha P)) sum of e x x'

so that at any time w = A w(0) + b, and the residuals depend on the mean w_ and the second moment M of w alone:

    dA/dt = eps V A        db/dt = v + eps V b
    w_ = A w_(0) + b       M = A M(0) A' + A w_(0) b' + b w_(0)' A' + b b'

which for the moments is dw_/dt = v + eps V w_ and dM/dt = v w_' + w_ v' + eps (V M + M V). D^2 + D numbers stand for a
network of any width, step by step of gradient descent as well as in the flow, without an approximation.

`grokking` begins with the statistics that a run has drawn, so it is exact for that run, to rounding, and its deviation
is 0. `grokking_wide` begins with w_ = 0 and M = I, as at infinite width, on the samples of the run; its deviation is
how far networks of the run's width are from that, a root mean square over 16 draws of their neurons.

Large output scales are kernel regression by x.x' + eps^2 (x.x')^2 on the samples. The rule is learned late, or never,
where this kernel has little of it (a small epsilon), samples are fewer than the D (D + 3) / 2 numbers of a quadratic
form but not too few, and the output scale is large, but not so large that features never move.

Source: Kumar et al. 2024 (arXiv:2310.06110); the equations are derived here.

>>> config = {"dimension": 8, "width": 200, "samples": 40, "output_scale": 2.0, "epsilon": 0.5, "paired": False,
...           "optimizer": "gradient_descent", "learning_rate": 0.25, "steps": 800, "seed": 0}
>>> found = GROKKING.predict(config, np.array([0, 80, 800]))
>>> found.mean["train_loss"].round(4), found.mean["loss"].round(4)
(array([0.6425, 0.1254, 0.004 ]), array([0.75  , 0.4704, 0.0664]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.models.grokking import (
    WEIGHTS,
    Neurons,
    QuadraticTask,
    draw_neurons,
    draw_task,
    measures,
    neurons_of,
)
from isoflop.lakehouse.models.runge_kutta import stepped
from isoflop.queries.theory.theory import PredictedCurves, Steps, Theory

Array = NDArray[np.float64]

NETWORKS = 16  # draws of neurons that the deviation of finite width comes from
STREAM = 2  # of random numbers of a run, apart from those of its samples and neurons


@dataclass(frozen=True)
class _Settings:
    """What the equations depend on besides samples and neurons."""

    output_scale: float
    epsilon: float
    rate: float
    substeps: int | None


def neuron_curves(
    task: QuadraticTask, firsts: Sequence[Neurons], settings: _Settings, at: Steps
) -> list[dict[str, Array]]:
    """Return every measure (T,) of networks that began with these statistics, at (T,) steps in order.

    Raises
    ------
    ArithmeticError : if a network grows without bound
    """
    inputs, (samples, dimension) = task.inputs, task.inputs.shape
    quadratic = (inputs[:, :, None] * inputs[:, None, :]).reshape(samples, -1)  # x x', (P, D D)
    mean = np.stack([first.mean for first in firsts])  # (n, D)
    second = np.stack([first.second for first in firsts])  # (n, D, D)

    def moments(state: Array) -> tuple[Array, Array]:
        """w_, (n, D), and M, (n, D, D), of the maps [A, b], (n, D, D + 1)."""
        turned, moved = state[:, :, :-1], state[:, :, -1]
        along = np.einsum("nij,nj->ni", turned, mean)
        crossed = along[:, :, None] * moved[:, None, :]
        spread = turned @ second @ turned.transpose(0, 2, 1)
        return along + moved, spread + crossed + crossed.transpose(0, 2, 1) + moved[:, :, None] * moved[:, None, :]

    def residuals(state: Array) -> Array:
        """The errors (n, P) on the samples."""
        now_mean, now_second = moments(state)
        grown = (now_second - second).reshape(len(firsts), -1)
        outputs = (now_mean - mean) @ inputs.T + settings.epsilon / 2 * grown @ quadratic.T
        errors: Array = settings.output_scale * outputs - task.target
        return errors

    def velocity(state: Array) -> Array:
        errors = residuals(state) / (-settings.output_scale * samples)
        pull = settings.epsilon * (errors @ quadratic).reshape(len(firsts), dimension, dimension)
        moving: Array = pull @ state
        moving[:, :, -1] += errors @ inputs
        return moving

    state = np.zeros((len(firsts), dimension, dimension + 1))
    state[:, :, :-1] = np.eye(dimension)
    done, rows = 0, []
    with np.errstate(over="ignore", invalid="ignore"):
        for place in at.tolist():
            for _ in range(place - done):
                state = stepped(state, velocity, settings.rate, settings.substeps)
            done = place
            if not np.isfinite(state).all():
                raise ArithmeticError("its weights grow without bound: the learning rate is too large")
            train = np.mean(residuals(state) ** 2, axis=1).tolist()
            rows.append([
                {"train_loss": loss, **measures(task, Neurons(*now), first, settings.output_scale, settings.epsilon)}
                for loss, first, *now in zip(train, firsts, *moments(state), strict=True)
            ])  # fmt: skip
    return [{name: np.array([row[n][name] for row in rows]) for name in rows[0][n]} for n in range(len(firsts))]


class Grokking(Theory):
    """The curves of a network of `grokking` from the statistics that it has drawn."""

    name = "grokking"
    family = "grokking"
    fields = (
        "dimension", "width", "samples", "output_scale", "epsilon", "paired", "optimizer", "learning_rate", "substeps",
    )  # fmt: skip
    optional_fields = ("substeps",)
    metrics: Mapping[str, str] = {
        "loss": "1", "train_loss": "1", "alignment": "1", "kernel_alignment": "1", "weight_norm": "1",
    }  # fmt: skip
    source = "Kumar et al. 2024 (arXiv:2310.06110)"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return the curves of this run at (T,) steps; they are exact.

        Raises
        ------
        ArithmeticError : if the run grows without bound
        """
        generator = np.random.default_rng([int(config["seed"]), WEIGHTS])
        [found] = neuron_curves(_task(config), [_drawn(config, generator)], _settings(config), at)
        return PredictedCurves(found, {name: np.zeros(len(at)) for name in found})


class GrokkingWide(Grokking):
    """The curves of a network of infinite width on the samples of a run."""

    name = "grokking_wide"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return the curves of infinite width at (T,) steps, and how far networks of the run's width are from them.

        Raises
        ------
        ArithmeticError : if a network grows without bound
        """
        dimension = int(config["dimension"])
        generator = np.random.default_rng([int(config["seed"]), STREAM])
        drawn = [_drawn(config, generator) for _ in range(NETWORKS)]
        wide = Neurons(np.zeros(dimension), np.eye(dimension))
        found, *others = neuron_curves(_task(config), [wide, *drawn], _settings(config), at)
        apart = {name: np.stack([other[name] - found[name] for other in others]) for name in found}
        return PredictedCurves(found, {name: np.sqrt(np.mean(each**2, axis=0)) for name, each in apart.items()})


def _task(config: Mapping[str, Any]) -> QuadraticTask:
    return draw_task(int(config["dimension"]), int(config["samples"]), int(config["seed"]))


def _drawn(config: Mapping[str, Any], generator: np.random.Generator) -> Neurons:
    return neurons_of(draw_neurons(int(config["dimension"]), int(config["width"]), bool(config["paired"]), generator))


def _settings(config: Mapping[str, Any]) -> _Settings:
    substeps = int(config["substeps"]) if config["optimizer"] == "gradient_flow" else None
    return _Settings(
        float(config["output_scale"]), float(config["epsilon"]), float(config["learning_rate"]), substeps
    )  # fmt: skip


GROKKING, GROKKING_WIDE = Grokking(), GrokkingWide()
