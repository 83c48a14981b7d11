"""What networks in the mean-field scale are taught: inputs, labels, test points, drawn from a seed; and activations.

    f(x) = (1 / (gamma N)) sum_i a_i phi(h_i(x))        h_i = s_0 <w_i, x> / sqrt(D)

Inputs are returned as x / sqrt(D). Those of the drawn tasks are normal, z = x, and their targets have unit deviation
over all points that are drawn:

    sine         sin(1.5 z_1)                     tanh_square  tanh(1.5 z_1) + (z_1^2 - 1) / (2 sqrt(2))
    two_tanh     tanh(2 z_1) + tanh(2 z_2) / 2    linear       z_1

`white` has x = sqrt(D) e_mu, one sample for each coordinate, and labels of unit length, those of a random linear
target; `digits` has the images of 0 and 1 that scikit-learn ships, each scaled to |x|^2 = D, with labels -1 and 1.

Source: Lauditi, Bordelon and Pehlevan 2025 (arXiv:2502.07998) for the scale and the white data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PIXELS, IMAGES = 64, 360  # of scikit-learn's digits 0 and 1
TASK = 7  # stream of random numbers of a run from which its data are drawn


@dataclass(frozen=True)
class Activation:
    """A nonlinearity.

    Parameters
    ----------
    value : phi of h
    slope : phi' of h and phi(h), in the shape of both
    """

    value: Callable[[Floats], Floats]
    slope: Callable[[Floats, Floats], Floats]


ACTIVATIONS: Mapping[str, Activation] = {
    "tanh": Activation(np.tanh, lambda field, value: 1 - value**2),
    "relu": Activation(lambda field: np.maximum(field, 0.0), lambda field, value: (field > 0).astype(np.float64)),
    "linear": Activation(lambda field: field, lambda field, value: np.ones_like(field)),
}
TARGETS: Mapping[str, Callable[[Floats], Floats]] = {
    "sine": lambda z: np.sin(1.5 * z[:, 0]),
    "tanh_square": lambda z: np.tanh(1.5 * z[:, 0]) + (z[:, 0] ** 2 - 1) / (2 * np.sqrt(2)),
    "two_tanh": lambda z: np.tanh(2 * z[:, 0]) + np.tanh(2 * z[:, 1]) / 2,
    "linear": lambda z: z[:, 0],
}


@dataclass(frozen=True)
class DrawnTask:
    """P samples and T points on which they are tested.

    Parameters
    ----------
    inputs : (P, D), x / sqrt(D)
    labels : (P,), with their noise
    test_inputs : (T, D)
    test_targets : (T,), without noise
    """

    inputs: Floats
    labels: Floats
    test_inputs: Floats
    test_targets: Floats


def draw_task(task: str, dimension: int, samples: int, test_samples: int, noise: float, seed: int) -> DrawnTask:
    """Return the data of a task.

    Parameters
    ----------
    task : `digits`, `white`, or a key of `TARGETS`
    dimension : D
    samples, test_samples : P and T
    noise : variance of the labels' noise, in the targets' unit squared
    seed : two runs with the same one have the same data

    Raises
    ------
    ValueError : if the task has no such data
    """
    problem = wrong_size(task, dimension, samples, test_samples)
    if problem is not None:
        raise ValueError(f"{problem[0]} {problem[1]}")
    generator = np.random.default_rng([seed, TASK])
    if task == "digits":
        images, kinds = _digits()
        chosen = generator.permutation(IMAGES)[: samples + test_samples]
        inputs, targets = images[chosen], kinds[chosen]
    elif task == "white":
        direction = generator.standard_normal(dimension)
        direction /= np.linalg.norm(direction)
        test = generator.standard_normal((test_samples, dimension)) / np.sqrt(dimension)
        inputs = np.concatenate([np.eye(dimension), test])
        targets = inputs @ direction
    else:
        points = generator.standard_normal((samples + test_samples, dimension))
        targets = TARGETS[task](points)
        inputs, targets = points / np.sqrt(dimension), targets / targets.std()
    labels = targets[:samples] + np.sqrt(noise) * generator.standard_normal(samples)
    return DrawnTask(inputs[:samples], labels, inputs[samples:], targets[samples:])


def wrong_size(task: str, dimension: int, samples: int, test_samples: int) -> tuple[str, str] | None:
    """Return the setting that a task cannot have and what is wrong with it, or None.

    Example
    -------
    >>> wrong_size("digits", 10, 300, 60)
    ('dimension', 'is 10; digits have 64 pixels')
    """
    if task == "digits":
        if dimension != PIXELS:
            return "dimension", f"is {dimension}; digits have {PIXELS} pixels"
        if samples + test_samples > IMAGES:
            return "test_samples", f"is {test_samples}, beside {samples} samples; there are {IMAGES} images of 0 and 1"
    if task == "white" and samples != dimension:
        return "samples", f"is {samples}; white data has one sample for each of {dimension} dimensions"
    if task == "two_tanh" and dimension < 2:
        return "dimension", f"is {dimension}; two_tanh reads two coordinates"
    return None


@lru_cache(maxsize=1)
def _digits() -> tuple[Floats, Floats]:
    """Images (360, 64) of length 1, and their labels, -1 for 0 and 1 for 1."""
    from sklearn.datasets import load_digits

    images, kinds = load_digits(n_class=2, return_X_y=True)
    return images / np.linalg.norm(images, axis=1, keepdims=True), np.where(kinds == 1, 1.0, -1.0)
