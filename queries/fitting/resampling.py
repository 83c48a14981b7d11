"""Bootstraps: other data sets that might have been seen, as weights or as targets for the same solver call.

Which one is taken when none is named:

* rows come in groups (points of one run, seeds of one shape): whole groups are drawn;
* fewer than 15 rows: a case resample would hold fewer distinct rows than a law has coefficients, so the rows stay
  and their residuals change sign and size (wild bootstrap);
* else rows are drawn with replacement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import FitError
from isoflop.queries.fitting.rows import Rows

Array = NDArray[np.float64]

FEW = 15  # rows, or groups, below which drawing them leaves too few distinct ones
DRAWN_TOGETHER = 1_000_000  # values per call of the generator
SIGNS = np.array([-1.0, 1.0])
WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])  # mean 0, variance 1


@dataclass(frozen=True)
class Resamples:
    """B versions of the rows: other weights, or other measured values.

    Parameters
    ----------
    weights : (1 or B, R) row weights
    values : (1 or B, R) measured values
    """

    weights: Array
    values: Array


class Resampling(Protocol):
    """A way to draw versions of the rows."""

    @property
    def note(self) -> str | None:
        """What a person should know about it, or None for the usual one."""

    def draw(
        self, rows: Rows, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return `count` versions of the rows, whose values the law predicts as `predicted` (R,)."""


@dataclass(frozen=True)
class CaseBootstrap:
    """Rows drawn with replacement.

    Source: Efron 1979, Ann. Stat. 7, 1.
    """

    @property
    def note(self) -> str | None:
        """Nothing to say."""
        return None

    def draw(
        self, rows: Rows, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return counts of each row times its weight."""
        counts = _counts(len(rows), count, generator)
        return Resamples(counts * rows.weights, rows.values[None])


@dataclass(frozen=True)
class ClusterBootstrap:
    """Whole groups drawn with replacement."""

    @property
    def note(self) -> str | None:
        """Nothing to say."""
        return None

    def draw(
        self, rows: Rows, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return counts of each row's group times its weight."""
        labels = np.arange(len(rows)) if rows.groups is None else rows.groups
        counts = _counts(int(labels.max()) + 1, count, generator)
        return Resamples(counts[:, labels] * rows.weights, rows.values[None])


@dataclass(frozen=True)
class WildBootstrap:
    """Residuals multiplied by random signs and sizes, the same for a whole group, and put back on the fit.

    Below 15 rows or groups the factors take six values; from there on they are signs, under which a penalty that is
    nearly the absolute value keeps its precision as well.

    Parameters
    ----------
    residuals : (R,) log residuals to redraw; when None those of the fit, widened by `sqrt(R / (R - K))`, because a
        law with K coefficients follows R rows closely

    Source: Webb 2023, Can. J. Econ. 56, 839 (six-point weights); Feng, He and Hu 2011, Biometrika 98, 995 (signs).
    """

    residuals: Array | None = field(default=None, compare=False)

    @property
    def note(self) -> str | None:
        """What it draws."""
        return "intervals come from a wild bootstrap of the residuals"

    def draw(
        self, rows: Rows, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return measured values redrawn around the prediction."""
        labels = np.arange(len(rows)) if rows.groups is None else rows.groups
        size = int(labels.max()) + 1
        factors = generator.choice(WEBB if size < FEW else SIGNS, size=(count, size))[:, labels]
        residuals = _widened(rows, predicted, num_free) if self.residuals is None else self.residuals
        return Resamples(rows.weights[None], predicted * np.exp(factors * residuals))


@dataclass(frozen=True)
class ResidualBootstrap:
    """Residuals drawn with replacement and put back on the fit, for rows whose sizes were planned, not drawn.

    Log residuals are first centred. It takes them for equally wide everywhere.

    Parameters
    ----------
    residuals : (R,) log residuals to draw from; when None those of the fit, widened by `sqrt(R / (R - K))`

    Source: Efron 1979, Ann. Stat. 7, 1, section 7.
    """

    residuals: Array | None = field(default=None, compare=False)

    @property
    def note(self) -> str | None:
        """What it assumes."""
        return "intervals come from redrawn residuals, taken for equally wide at every size"

    def draw(
        self, rows: Rows, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return measured values redrawn around the prediction."""
        residuals = _widened(rows, predicted, num_free) if self.residuals is None else self.residuals
        residuals = residuals - np.average(residuals, weights=rows.weights)
        drawn = generator.integers(0, len(rows), size=(count, len(rows)))
        return Resamples(rows.weights[None], predicted * np.exp(residuals[drawn]))


@dataclass(frozen=True, eq=False)
class GivenWeights:
    """Versions of the rows decided elsewhere: published index sets, folds, Bayesian weights.

    Parameters
    ----------
    counts : (B, R) factor of each usable row's weight in each version
    """

    counts: Array

    @property
    def note(self) -> str | None:
        """Nothing to say."""
        return None

    def draw(
        self, rows: Rows, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return the given weights, however many there are.

        Raises
        ------
        FitError : if they are not one for each usable row
        """
        counts = np.atleast_2d(np.asarray(self.counts, dtype=np.float64))
        if counts.shape[1] != len(rows):
            raise FitError(f"resampling weights have {counts.shape[1]} columns for {len(rows)} usable rows")
        return Resamples(counts * rows.weights, rows.values[None])


def default_resampling(rows: Rows) -> Resampling:
    """Return the bootstrap that suits the number of rows and their groups."""
    if rows.groups is None:
        return WildBootstrap() if len(rows) < FEW else CaseBootstrap()
    return WildBootstrap() if int(rows.groups.max()) + 1 < FEW else ClusterBootstrap()


def _widened(rows: Rows, predicted: Array, num_free: int) -> Array:
    """Log residuals (R,), widened for the coefficients that follow the rows."""
    return np.asarray(np.sqrt(len(rows) / max(len(rows) - num_free, 1)) * np.log(rows.values / predicted))


def _counts(size: int, count: int, generator: np.random.Generator) -> Array:
    """(count, size) how often each of `size` things is drawn in `size` draws."""
    found = np.empty((count, size), dtype=np.float64)
    step = max(1, DRAWN_TOGETHER // size)
    for first in range(0, count, step):
        rows = min(step, count - first)
        drawn = generator.integers(0, size, size=(rows, size)) + size * np.arange(rows)[:, None]
        found[first : first + rows] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
    return found
