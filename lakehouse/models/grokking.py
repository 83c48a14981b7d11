"""The network and the task of the grokking family, as arithmetic: what a run draws, and what its neurons say together.

    x ~ N(0, I / D)        y = (beta . x)^2 / 2, |beta|^2 = D        phi(h) = h + eps h^2 / 2
    f(x) = alpha (mean of phi(w . x) over neurons - the same before training)

phi is quadratic, so f depends on the mean w_ and the second moment M = mean of w w^T of the neurons alone: with a =
alpha (w_ - w_(0)) and B = alpha eps (M - M(0)) it is f = a . x + x' B x / 2, and what it misses is a quadratic form of
a normal vector, whose square has the mean |a|^2 / D + ((tr C)^2 + 2 |C|^2) / (4 D^2), C = B - beta beta^T.

Arrays: P samples, D dimensions, N neurons.

Source: Kumar et al. 2024 (arXiv:2310.06110); the moments are Gaussian identities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TASK, WEIGHTS = 0, 1  # streams of random numbers of a run

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QuadraticTask:
    """What a network is taught.

    Parameters
    ----------
    inputs : (P, D)
    direction : (D,), beta
    target : (P,), y
    """

    inputs: Floats
    direction: Floats
    target: Floats


@dataclass(frozen=True)
class Neurons:
    """What a network knows of its neurons.

    Parameters
    ----------
    mean : (D,), w_
    second : (D, D), M
    """

    mean: Floats
    second: Floats


def draw_task(dimension: int, samples: int, seed: int) -> QuadraticTask:
    """Return the samples of a run and the direction that their labels depend on."""
    generator = np.random.default_rng([seed, TASK])
    inputs = generator.standard_normal((samples, dimension)) / np.sqrt(dimension)
    direction = generator.standard_normal(dimension)
    direction *= np.sqrt(dimension / (direction @ direction))
    return QuadraticTask(inputs, direction, (inputs @ direction) ** 2 / 2)


def draw_neurons(dimension: int, width: int, paired: bool, generator: np.random.Generator) -> Floats:
    """Return weights (N, D), normal; paired ones are w and -w, so that their mean is 0 as at infinite width."""
    if not paired:
        return generator.standard_normal((width, dimension))
    half = generator.standard_normal((width // 2, dimension))
    return np.concatenate([half, -half])


def neurons_of(weights: Floats) -> Neurons:
    """Return the statistics of weights (N, D)."""
    return Neurons(weights.mean(axis=0), weights.T @ weights / len(weights))


def population_loss(task: QuadraticTask, now: Neurons, first: Neurons, output_scale: float, epsilon: float) -> float:
    """Return the mean squared error over all inputs.

    Parameters
    ----------
    now, first : after training and before
    output_scale, epsilon : alpha and eps
    """
    dimension = len(task.direction)
    linear = output_scale * (now.mean - first.mean)
    missed = output_scale * epsilon * (now.second - first.second) - np.outer(task.direction, task.direction)
    spread = np.trace(missed) ** 2 + 2 * np.sum(missed**2)
    return float(linear @ linear / dimension + spread / (4 * dimension**2))


def tangent_kernel(inputs: Floats, neurons: Neurons, epsilon: float) -> Floats:
    """Return K (P, P), by which outputs move: df/dt = -K (f - y) / P."""
    along = epsilon * inputs @ neurons.mean
    features = 1 + along[:, None] + along + epsilon**2 * inputs @ neurons.second @ inputs.T
    kernel: Floats = inputs @ inputs.T * features
    return kernel


def kernel_alignment(kernel: Floats, target: Floats) -> float:
    """Return y' K y / (|K| |y|^2) with both centered, in [0, 1]; 1 where the kernel is that of the target alone."""
    centered = kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()
    labels = target - target.mean()
    size = float(np.sqrt(np.sum(centered**2)) * (labels @ labels))
    return float(labels @ centered @ labels) / size if size else 0.0


def feature_alignment(direction: Floats, second: Floats) -> float:
    """Return beta' M beta / (D |M|): 1 / sqrt(D) for neurons in all directions, 1 for those along beta alone."""
    return float(direction @ second @ direction / (len(direction) * np.sqrt(np.sum(second**2))))


def measures(
    task: QuadraticTask, now: Neurons, first: Neurons, output_scale: float, epsilon: float
) -> dict[str, float]:
    """Return all that is measured of a network but its train loss."""
    return {
        "loss": population_loss(task, now, first, output_scale, epsilon),
        "alignment": feature_alignment(task.direction, now.second),
        "kernel_alignment": kernel_alignment(tangent_kernel(task.inputs, now, epsilon), task.target),
        "weight_norm": float(np.trace(now.second)) / len(task.direction),
    }
