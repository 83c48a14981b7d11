"""What is thought of a law after its runs: how far, and how much together, its values at any two places may move.

A fitted law is not one curve but a cloud of them. Here the cloud is written in a few independent directions of unit
variance: each place x has a vector of features, the covariance of the logarithms of two predictions (where scatter is
additive, of the predictions in units of the target's spread) is the product
of their features, and a run at x with noise sigma adds `features features' / sigma^2` to the information. The runs
that made the fit are in the directions already, so they count without being known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.fitting.scatter import MULTIPLICATIVE, Scatter
from isoflop.queries.laws.law import Law

Array = NDArray[np.float64]

MOST_DRAWS = 1000  # resamples that make a cloud
FEW_DRAWS = 120  # of a law that is slow to compute
MOST_DIRECTIONS = 16  # in which coefficients move together; more than any built-in law has
SMALLEST_FEATURE = 0.1  # of the noise of a run: a direction that moves no prediction by more is left out
TAIL = 0.005  # share of resamples at either end that count as no further out than the rest
SMALLEST_NOISE = 1e-6  # scatter of runs in log value [1] below which nothing is measured


class Posterior(Protocol):
    """A cloud of curves."""

    @property
    def noise(self) -> float:
        """Scatter of a run in log value, or in units of the target's spread [1]."""

    def features(self, inputs: Array) -> Array:
        """Return (M, D) features of the logarithm of the prediction at (M, P) inputs."""


@dataclass(frozen=True, eq=False)
class PosteriorDraws:
    """The cloud of a fit's resamples.

    Parameters
    ----------
    law : what predicts
    draws : (B, K) coefficients of the resamples
    scores : (B, D) uncorrelated coordinates of the resamples, each of unit variance
    noise : scatter of a run in log value, or in units of the target's spread [1]
    scatter : which of the two
    """

    law: Law
    draws: Array
    scores: Array
    noise: float
    scatter: Scatter = MULTIPLICATIVE

    @classmethod
    def of(cls, fitted: FittedLaw, places: Array) -> PosteriorDraws:
        """Return the cloud of a fit in the directions that matter at (M, P) places.

        Raises
        ------
        ValueError : when the fit has fewer than three resamples
        """
        draws = fitted.draws[np.isfinite(fitted.draws).all(axis=1)]
        most = FEW_DRAWS if fitted.law.is_costly else MOST_DRAWS
        draws = draws[:: -(-len(draws) // most)] if len(draws) > most else draws
        if len(draws) < 3:
            raise ValueError(f"{len(draws)} resamples are no cloud")
        noise = fitted.residual_scale / fitted.scatter.size if np.isfinite(fitted.residual_scale) else 0.0
        moved = _moved(fitted.law, draws, places, fitted.scatter)
        left, sizes, right = np.linalg.svd(moved[:, np.ptp(moved, axis=0) > 0], full_matrices=False)
        noise = max(noise, SMALLEST_NOISE)
        largest = sizes * np.abs(right).max(axis=1, initial=0.0) / np.sqrt(len(draws) - 1)
        kept = (largest > SMALLEST_FEATURE * noise) & (sizes > 1e-9 * sizes.max(initial=0.0))
        scores = left[:, kept][:, :MOST_DIRECTIONS] * np.sqrt(len(draws) - 1)
        return cls(fitted.law, draws, scores, noise, fitted.scatter)

    def features(self, inputs: Array) -> Array:
        """Return (M, D) features of the logarithm of the prediction at (M, P) inputs."""
        found: Array = _moved(self.law, self.draws, inputs, self.scatter).T @ self.scores / (len(self.draws) - 1)
        return found


def _moved(law: Law, draws: Array, inputs: Array, scatter: Scatter) -> Array:
    """(B, M) how far each resample's prediction lies from the mean, on the scatter's scale; wild ones brought in."""
    with np.errstate(all="ignore"):
        logs = scatter.on_scale(np.asarray(law.predict(draws, inputs), dtype=np.float64)) / scatter.size
    usable = np.isfinite(logs)
    middle = np.array(
        [
            np.median(column[is_usable]) if is_usable.any() else 0.0
            for column, is_usable in zip(logs.T, usable.T, strict=True)
        ]
    )
    logs = np.where(usable, logs, middle)
    lowest, highest = np.quantile(logs, [TAIL, 1 - TAIL], axis=0)
    logs = np.clip(logs, lowest, highest)
    centered: Array = logs - logs.mean(axis=0)
    return centered
