"""How the modes of the data answer a linear network: what is missing of a teacher, given how the network responds.

Let u = z + R q be what a network has learned of a mode after each of T steps, for the gradient q of that mode at all
steps: R is its response, lower triangular, and z the part that its random weights make, with the correlations S. With
w_k the teacher and H_k = (1 + lambda_k R R_1)^-1, the mode misses w_k - u, and over modes

    C_0 = sum lambda_k H_k (w_k^2 + S + lambda_k R c R') H_k'           Y_k = lambda_k R_1 H_k
    C_q = sum Y_k (w_k^2 + S) Y_k' + lambda_k (1 - Y_k R) c (1 - Y_k R)'

are the correlations of losses and of gradients. For the population R_1 = 1 and c = 0, for fresh batches R_1 = 1 and
c = diag(C_0 + noise) / B, and for P samples

    R_1 = (1 + sum lambda_k H_k R / P)^-1       C_1 = R_1 (C_0 + noise) R_1'        c = C_1 / P

with the train loss on the diagonal of C_1. Counts of modes may be shares of them, with P and B shares as well.

Source: Bordelon et al. 2024 (arXiv:2409.17858), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.theory.equivalents import Array, Modes
from isoflop.queries.theory.marching import held_on, padded


@dataclass(frozen=True, kw_only=True)
class SeenData:
    """A task, and what is seen of it.

    Parameters
    ----------
    modes : variances, and powers of the target
    samples, batch_size : P, or B of fresh batches; infinite for the population
    noise : variance of the labels' noise [target^2]
    """

    modes: Modes
    samples: float = np.inf
    batch_size: float = np.inf
    noise: float = 0.0


@dataclass(frozen=True)
class LossCurves:
    """Losses before each of T steps, (T,) each, and the variance of the test loss over draws of independent modes."""

    test: Array
    variance: Array
    train: Array


class InputSite:
    """The modes of the data over a window of T steps.

    Parameters
    ----------
    size : T at first
    losses : value that the correlations of losses begin with
    """

    def __init__(self, data: SeenData, size: int, losses: float) -> None:
        self._data, self.size = data, size
        self.losses: Array = np.full((size, size), losses)  # C_0
        self.gradients: Array = np.zeros((size, size))  # C_q
        self.taught: Array = np.zeros((size, size))  # sum lambda_k R_1 H_k, what gradients answer to a mode's teacher
        self._by_samples: Array = np.eye(size)  # R_1
        self._spread: Array = np.empty(0)  # (K, T), variance of what is missing of each mode
        self._mean: Array = np.empty(0)

    def grow(self, size: int) -> None:
        """Go on to a longer window."""
        self.losses, self._by_samples = held_on(self.losses, size), padded(self._by_samples, size, 1.0)
        self.gradients, self.taught, self.size = held_on(self.gradients, size), padded(self.taught, size), size

    def sweep(self, response: Array, random: Array) -> None:
        """Put the modes through their equations.

        Parameters
        ----------
        response : (T, T) R
        random : (T, T) S
        """
        modes, one = self._data.modes, np.eye(self.size)
        variance, weight = modes.variance[:, None, None], modes.count * modes.variance
        held: Array = np.linalg.inv(one + variance * (response @ self._by_samples)).astype(
            np.float64, copy=False
        )  # H, (K, T, T)
        self.taught = self._by_samples @ _summed(weight, held)
        source = (modes.power / modes.variance)[:, None, None] + random
        batches = self._batches()
        kicked = response @ batches @ response.T
        unlearned = held @ (source + variance * kicked) @ held.transpose(0, 2, 1)
        seen = variance * (self._by_samples @ held)  # Y
        self.gradients = _summed(modes.count, seen @ source @ seen.transpose(0, 2, 1))
        if batches.any():
            left = one - seen @ response
            self.gradients = self.gradients + _summed(weight, left @ batches @ left.transpose(0, 2, 1))
        if np.isfinite(self._data.samples):
            answered = _summed(weight, held) @ response
            self._by_samples = np.asarray(np.linalg.inv(one + answered / self._data.samples), np.float64)
        self.losses = _summed(weight, unlearned)
        self._mean = held.sum(axis=2) * np.sqrt(modes.power / modes.variance)[:, None]
        self._spread = np.einsum("ktt->kt", unlearned) - self._mean**2

    def curves(self) -> LossCurves:
        """Return the losses of the window."""
        modes, data = self._data.modes, self._data
        spread = np.maximum(self._spread, 0.0)
        variance = (modes.count * modes.variance**2) @ (4 * self._mean**2 * spread + 2 * spread**2)
        test = np.diag(self.losses).copy()
        train = np.diag(self._seen()).copy() if np.isfinite(data.samples) else test + data.noise
        return LossCurves(test, variance, train)

    def _seen(self) -> Array:
        """The correlations C_1 of what is missed on the samples."""
        found: Array = self._by_samples @ (self.losses + self._data.noise) @ self._by_samples.T
        return found

    def _batches(self) -> Array:
        """The correlations c that a step's data add."""
        data = self._data
        if np.isfinite(data.samples):
            return self._seen() / data.samples
        return np.diag(np.diag(self.losses) + data.noise) / data.batch_size


def _summed(weight: Array, each: NDArray[np.float64]) -> Array:
    """The sum over modes, (T, T), of a matrix for each, (K, T, T)."""
    found: Array = np.tensordot(weight, each, axes=1)
    return found
