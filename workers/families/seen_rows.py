"""What linear networks see of their data: the population, samples, batches of them, or fresh batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLES, BATCHES = 1, 2  # streams of random numbers of a run

Floats = NDArray[np.float64]


class SeenRows:
    """Normal inputs of M independent modes, labeled by a linear teacher with noise.

    Parameters
    ----------
    variances : (M,) of the inputs
    noise : variance of the labels' noise
    samples : P, drawn once; None for data without end
    batch_size : B of a step, of the samples with replacement, or fresh; None for all there are
    seed : of the run
    """

    def __init__(self, variances: Floats, noise: float, samples: int | None, batch_size: int | None, seed: int) -> None:
        self._variances, self._spread, self._scale = variances, np.sqrt(variances), np.sqrt(noise)
        self._batch_size, self._seed, self._noise_variance = batch_size, seed, noise
        self._inputs: Floats | None = None
        if samples is not None:
            self._inputs, self._noise = self._draw(np.random.default_rng([seed, SAMPLES]), samples)

    def pull(self, missing: Floats, step: int) -> Floats:
        """Return the mean of x (x . missing + noise) over what is seen at a step, (M,), for what is missing, (M,)."""
        inputs = self._inputs
        if self._batch_size is not None:
            generator = np.random.default_rng([self._seed, BATCHES, step])
            if inputs is None:
                inputs, noise = self._draw(generator, self._batch_size)
            else:
                chosen = generator.integers(len(inputs), size=self._batch_size)
                inputs, noise = inputs[chosen], self._noise[chosen]
        elif inputs is None:
            return self._variances * missing
        else:
            noise = self._noise
        return inputs.T @ (inputs @ missing + noise) / len(inputs)

    def train_loss(self, missing: Floats, loss: float) -> float:
        """Return the mean squared error on the samples; without any that of the population, which has `loss`."""
        if self._inputs is None:
            return loss + self._noise_variance
        return float(np.mean((self._inputs @ missing + self._noise) ** 2))

    def _draw(self, generator: np.random.Generator, count: int) -> tuple[Floats, Floats]:
        """Return inputs (count, M) and the noise of their labels, (count,)."""
        inputs = generator.standard_normal((count, len(self._variances))) * self._spread
        return inputs, self._scale * generator.standard_normal(count)
