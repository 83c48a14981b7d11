"""Bootstraps: other data sets that might have been seen, as weights or as targets for the same solver call.

Which one is taken when none is named:

* rows come in groups (points of one run, seeds of one shape): whole groups are drawn;
* fewer than 15 groups: they stay, and the residuals of each change sign and size together (wild bootstrap);
* fewer than 15 rows: a case resample would hold fewer distinct rows than a law has coefficients, so the rows stay
  and their residuals are redrawn. A wild bootstrap would keep the residuals near zero of the rows that a robust
  fit goes through;
* else rows are drawn with replacement.

A FIT statement first looks for groups and for curves whose neighbors are alike (`dependence`, `block_bootstrap`).

Percentiles of resamples are too narrow with few rows: they are taken at the levels that make them as wide as Student's
interval where that is exact, and stay percentiles otherwise. docs/intervals.md has the coverage for every law.

Source of the levels: Hesterberg 2015, Am. Stat. 69, 371 (expanded percentiles), with R - K for R - 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import FitError
from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.quantiles import student_quantile

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


class Resampling(ABC):
    """A way to draw versions of the rows.

    Attributes
    ----------
    name : the word that chooses it, or None for one that is given
    draws : what it draws, as a note says it
    is_all : whether `draw` gives all the versions there are at once, however many are asked for
    """

    name: ClassVar[str | None] = None
    draws: ClassVar[str] = ""
    is_all: ClassVar[bool] = False

    @abstractmethod
    def tail(self, rows: Data, num_free: int, level: float, curved: float = 1.0) -> float:
        """Return the share [1] of resamples to leave out at each end for an interval that covers `level`.

        Parameters
        ----------
        rows, num_free : rows and number of coefficients that were fitted
        level : coverage of the interval [1]
        curved : share of rows [1] where the penalty is curved: all with squares, few with a sharp Huber penalty
        """

    @abstractmethod
    def draw(
        self, rows: Data, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return `count` versions of the rows, whose values the law predicts as `predicted` (R,)."""

    @property
    def note(self) -> str | None:
        """What a user should know about it, or None for the usual one."""
        return None

    def chosen(self, rows: Data, predicted: Array, num_free: int) -> tuple[Resampling, str]:
        """Return the bootstrap that is taken for rows that a law predicts as `predicted` (R,), and why."""
        return self, "as asked for"

    def with_residuals(self, deleted: Callable[[], Array]) -> Resampling:
        """Return the bootstrap with the (R,) residuals that it redraws, where it redraws any and has none."""
        return self


@dataclass(frozen=True)
class CaseBootstrap(Resampling):
    """Rows drawn with replacement.

    Source: Efron 1979, Ann. Stat. 7, 1.
    """

    name: ClassVar[str | None] = "case"
    draws: ClassVar[str] = "rows are drawn with replacement"

    def tail(self, rows: Data, num_free: int, level: float, curved: float = 1.0) -> float:
        """Return the share to leave out at each end."""
        return expanded_tail(level, len(rows), num_free, curved)

    def draw(
        self, rows: Data, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return counts of each row times its weight."""
        counts = _counts(len(rows), count, generator)
        return Resamples(counts * rows.weight, rows.target[None])


@dataclass(frozen=True)
class ClusterBootstrap(Resampling):
    """Whole groups drawn with replacement."""

    name: ClassVar[str | None] = "cluster"
    draws: ClassVar[str] = "whole groups are drawn with replacement"

    def tail(self, rows: Data, num_free: int, level: float, curved: float = 1.0) -> float:
        """Return the share to leave out at each end."""
        return expanded_tail(level, rows.num_groups, 1, curved)

    def draw(
        self, rows: Data, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return counts of each row's group times its weight."""
        counts = _counts(rows.num_groups, count, generator)
        return Resamples(counts[:, rows.labels] * rows.weight, rows.target[None])


@dataclass(frozen=True)
class WildBootstrap(Resampling):
    """Residuals multiplied by random signs and sizes, the same for a whole group, and put back on the fit.

    Below 15 rows or groups the factors take six values; from there on they are signs, under which a penalty that is
    nearly the absolute value keeps its precision as well.

    Parameters
    ----------
    residuals : (R,) residuals to redraw; when None those of the fit, widened by `sqrt(R / (R - K))`, because a
        law with K coefficients follows R rows closely

    Source: Webb 2023, Can. J. Econ. 56, 839 (six-point weights); Feng, He and Hu 2011, Biometrika 98, 995 (signs).
    """

    name: ClassVar[str | None] = "wild"
    draws: ClassVar[str] = "residuals stay with their rows or groups and change sign and size"

    residuals: Array | None = field(default=None, compare=False)

    @property
    def note(self) -> str | None:
        """What it draws."""
        return "intervals come from a wild bootstrap of the residuals"

    def tail(self, rows: Data, num_free: int, level: float, curved: float = 1.0) -> float:
        """Return the share to leave out at each end."""
        taken = num_free if rows.group is None else 1
        return expanded_tail(level, rows.num_groups, taken, 0.0)

    def draw(
        self, rows: Data, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return measured values redrawn around the prediction."""
        size = rows.num_groups
        factors = generator.choice(WEBB if size < FEW else SIGNS, size=(count, size))[:, rows.labels]
        residuals = _widened(rows, predicted, num_free) if self.residuals is None else self.residuals
        return Resamples(rows.weight[None], rows.scatter.moved(predicted, factors * residuals))

    def with_residuals(self, deleted: Callable[[], Array]) -> WildBootstrap:
        """Return the bootstrap with residuals to redraw."""
        return self if self.residuals is not None else replace(self, residuals=deleted())


@dataclass(frozen=True)
class ResidualBootstrap(Resampling):
    """Sizes of residuals drawn with replacement and put back on the fit with random signs, for planned rows.

    Only the `R - K` largest of R sizes are drawn: a law with K coefficients follows the rows closely, and a robust fit
    goes through K of them, whose residuals near zero say nothing of the noise. Sizes are taken for equally wide
    everywhere, and signs for equally likely.

    Parameters
    ----------
    residuals : (R,) residuals to draw from as they are; None for the sizes above

    Source: Efron 1979, Ann. Stat. 7, 1, section 7; without the K smallest it has the variance of `R - K` degrees of
    freedom, as residuals widened by `sqrt(R / (R - K))` have, and stays right for absolute residuals.
    """

    name: ClassVar[str | None] = "residual"
    draws: ClassVar[str] = "redrawn residuals are put back on the fit, taken for equally wide at every size"

    residuals: Array | None = field(default=None, compare=False)

    @property
    def note(self) -> str | None:
        """What it assumes."""
        return "intervals come from redrawn residuals, taken for equally wide at every size"

    def tail(self, rows: Data, num_free: int, level: float, curved: float = 1.0) -> float:
        """Return the share to leave out at each end."""
        return expanded_tail(level, len(rows), num_free, 0.0)

    def draw(
        self, rows: Data, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return measured values redrawn around the prediction."""
        shape = (count, len(rows))
        if self.residuals is not None:
            residuals = self.residuals - np.average(self.residuals, weights=rows.weight)
            drawn = generator.choice(residuals, size=shape)
            return Resamples(rows.weight[None], rows.scatter.moved(predicted, drawn))
        sizes = np.sort(np.abs(rows.scatter.between(rows.target, predicted)))[min(num_free, len(rows) - 1) :]
        redrawn = generator.choice([-1.0, 1.0], size=shape) * generator.choice(sizes, size=shape)
        return Resamples(rows.weight[None], rows.scatter.moved(predicted, redrawn))

    def with_residuals(self, deleted: Callable[[], Array]) -> ResidualBootstrap:
        """Return the bootstrap with residuals to redraw."""
        return self if self.residuals is not None else replace(self, residuals=deleted())


@dataclass(frozen=True, eq=False)
class GivenWeights(Resampling):
    """Versions of the rows decided elsewhere: published index sets, folds, Bayesian weights.

    Parameters
    ----------
    counts : (B, R) factor of each usable row's weight in each version
    """

    is_all: ClassVar[bool] = True

    counts: Array

    def tail(self, rows: Data, num_free: int, level: float, curved: float = 1.0) -> float:
        """Return the plain percentile: nothing is known of where the weights come from."""
        return (1 - level) / 2

    def draw(
        self, rows: Data, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return the given weights, however many there are.

        Raises
        ------
        FitError : if they are not one for each usable row
        """
        counts = np.atleast_2d(np.asarray(self.counts, dtype=np.float64))
        if counts.shape[1] != len(rows):
            raise FitError(f"resampling weights have {counts.shape[1]} columns for {len(rows)} usable rows")
        return Resamples(counts * rows.weight, rows.target[None])


def default_resampling(rows: Data) -> Resampling:
    """Return the bootstrap that suits the number of rows and their groups."""
    if rows.group is None:
        return ResidualBootstrap() if len(rows) < FEW else CaseBootstrap()
    return WildBootstrap() if rows.num_groups < FEW else ClusterBootstrap()


def expanded_tail(level: float, count: int, taken: int, curved: float) -> float:
    """Return the share of resamples [1] to leave out at each end of an interval.

    Parameters
    ----------
    level : coverage of the interval [1]
    count : rows or groups R
    taken : degrees of freedom that the fit takes, K coefficients or one mean
    curved : share of `taken` [1] by which the resamples are too narrow: 1 for squares, 0 for absolute residuals,
        whose resamples scatter more than fresh runs do by about as much, and for residuals that were widened

    Example
    -------
    >>> round(expanded_tail(0.9, 60, 5, 1.0), 4), round(expanded_tail(0.9, 10_000, 5, 1.0), 4)
    (0.0403, 0.0499)
    """
    reach = student_quantile((1 + level) / 2, max(count - taken, 1))
    return NormalDist().cdf(-reach * math.sqrt(count / max(count - curved * taken, 1.0)))


def _widened(rows: Data, predicted: Array, num_free: int) -> Array:
    """Residuals (R,), widened for the coefficients that follow the rows."""
    widened = np.sqrt(len(rows) / max(len(rows) - num_free, 1))
    return np.asarray(widened * rows.scatter.between(rows.target, predicted))


def _counts(size: int, count: int, generator: np.random.Generator) -> Array:
    """(count, size) how often each of `size` things is drawn in `size` draws."""
    found = np.empty((count, size), dtype=np.float64)
    step = max(1, DRAWN_TOGETHER // size)
    for first in range(0, count, step):
        rows = min(step, count - first)
        drawn = generator.integers(0, size, size=(rows, size)) + size * np.arange(rows)[:, None]
        found[first : first + rows] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
    return found


def paired_counts(data: Data, resamples: int, seed: int) -> Array:
    """Return (B, R) how often each row stands in each resample, of rows or of groups where rows belong together."""
    count = data.num_groups
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    return np.asarray(drawn[:, data.labels], dtype=np.float64)
