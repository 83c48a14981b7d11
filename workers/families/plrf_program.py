"""One-pass SGD on power-law random features, many runs at once, in the coordinates where a step is cheapest.

The data are Gaussian, so features W^T x and target <x, b> are jointly Gaussian and a step needs nothing
else of x. With D = diag(j^-2alpha) and the singular value decomposition D^(1/2) W = P diag(s) Q^T, let
c = P^T D^(1/2) b and let residual be the part of |D^(1/2) b|^2 outside the range of P. In the coordinates
m = s * (Q^T theta) - c, with z ~ N(0, I_d) and e ~ N(0, 1) fresh for each sample,

    prediction error  = <z, m> - sqrt(residual) * e
    m                <- m - gamma * s^2 * sum over the batch of error * z
    risk P            = |m|^2 + residual,    m(0) = -c

which is the same law of trajectories as drawing x itself, at d instead of v*d operations a sample. The
constant -sqrt(residual) is kept as one more coordinate of m whose rate is zero.

Arrays: R runs, B samples, d features. Normals are drawn in chunks whose size depends on d and B alone, each
from the run's seed and the number of the chunk, and every operation is elementwise or sums along d and B in a
fixed order: a run's bits do not depend on which others are packed with it, nor on where it was interrupted.
Normals are float32, which is three times faster to draw and moves the risk by less than 1e-6; the state and
all sums are float64, since small steps would be lost in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.models.random_features import Features, draw_features, weights_seed
from isoflop.workers.components import Teacher

SAMPLES = 1  # stream of random numbers of a run from which its data are drawn
DRAWN_TOGETHER = 2**15  # normals of one run; seeding a generator costs as much as drawing a thousand

Floats = NDArray[np.float64]


class FeatureRun(Protocol):
    """What the program needs to know of a run; see `isoflop.workers.families.plrf`."""

    @property
    def seed(self) -> int:
        """Of the samples, and of W where the run has its own."""

    @property
    def feature_seed(self) -> int | None:
        """Of W, for runs that share it."""

    @property
    def task(self) -> Teacher:
        """The exponents of the data and the target."""

    @property
    def width(self) -> int:
        """Trained features, d."""

    @property
    def ambient(self) -> int:
        """Dimension of the data, v."""

    @property
    def batch_size(self) -> int:
        """Samples a step, B."""

    @property
    def rate(self) -> float:
        """The learning rate, gamma."""


def features_for(run: FeatureRun) -> Features:
    """Return the features of a run; runs with one `feature_seed` share W, others have their own."""
    seed = weights_seed(run.seed, run.feature_seed)
    return draw_features(run.ambient, run.width, run.task.spectrum_exponent, run.task.target_exponent, seed)


class RandomFeatureProgram:
    """R runs with one width, batch size and length, advancing together.

    Parameters
    ----------
    runs : R configs with equal pack keys
    features : of each run, where they are not to be drawn from its seeds
    """

    def __init__(self, runs: Sequence[FeatureRun], features: Sequence[Features] | None = None) -> None:
        self._features = list(features) if features is not None else [features_for(run) for run in runs]
        self._batch_size = runs[0].batch_size
        width = runs[0].width
        self._m = np.empty((len(runs), width + 1))
        self._rates = np.zeros((len(runs), width + 1))  # gamma * eigenvalue; 0 for the constant coordinate
        for row, (run, drawn) in enumerate(zip(runs, self._features, strict=True)):
            self._m[row, :width] = -drawn.target
            self._m[row, width] = -np.sqrt(drawn.residual)
            self._rates[row, :width] = run.rate * drawn.eigenvalues
        self._seeds = [run.seed for run in runs]
        self._chunk_steps = max(1, DRAWN_TOGETHER // (self._batch_size * (width + 1)))
        self._chunk = -1  # number of the chunk that is drawn
        self._normals = np.empty((len(runs), self._chunk_steps, self._batch_size, width + 1), np.float32)
        self._step = 0
        self._initial_risks = self._risks()

    def advance(self, num_steps: int) -> None:
        """Take `num_steps` steps in every run; a run that grows without bound overflows quietly."""
        last = self._step + num_steps
        with np.errstate(over="ignore", invalid="ignore"):
            while self._step < last:
                chunk, first = divmod(self._step, self._chunk_steps)
                if chunk != self._chunk:
                    self._draw(chunk)
                together = min(last - self._step, self._chunk_steps - first)
                self._advance(self._normals[:, first : first + together])
                self._step += together

    def measure(self) -> dict[str, Floats]:
        """Return the population risk of every run now, (R,), as `loss`."""
        return {"loss": self._risks()}

    def state(self, run: int) -> dict[str, Any]:
        """Return one run's coordinates, (d + 1,)."""
        return {"m": self._m[run].copy()}

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every run from its state after `step` steps."""
        self._step = step
        for row, state in zip(self._m, states, strict=True):
            row[:] = state["m"]

    def results(self, run: int) -> dict[str, float]:
        """Return the risk before the first step and that of the best theta."""
        return {"initial_loss": float(self._initial_risks[run]), "best_loss": self._features[run].residual}

    def _risks(self) -> Floats:
        with np.errstate(over="ignore", invalid="ignore"):
            risks: Floats = np.add.reduce(self._m * self._m, axis=-1)
        return risks

    def _draw(self, chunk: int) -> None:
        """Fill the normals of every run, (R, steps, B, d + 1), with those of a chunk of steps."""
        import torch

        for seed, own in zip(self._seeds, self._normals, strict=True):
            state = np.random.SeedSequence([seed, SAMPLES, chunk]).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
            torch.from_numpy(own).normal_(generator=generator)
        self._chunk = chunk

    def _advance(self, normals: NDArray[np.float32]) -> None:
        m, rates = self._m, self._rates
        z, products = np.empty((2, len(m), self._batch_size, m.shape[1]))  # (R, B, d + 1)
        for step in range(normals.shape[1]):
            np.copyto(z, normals[:, step])  # converted once, used twice
            np.multiply(z, m[:, None, :], out=products)
            errors = np.add.reduce(products, axis=-1, keepdims=True)  # (R, B, 1)
            np.multiply(z, errors, out=products)
            gradient = products[:, 0] if self._batch_size == 1 else np.add.reduce(products, axis=1)  # (R, d + 1)
            gradient *= rates
            m -= gradient
