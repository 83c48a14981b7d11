"""Which bootstrap is taken, by name or by a rule that says why.

The rule of `auto`, in order; the first that applies is taken:

1. rows come in groups (points of one run, seeds of one shape): rows of a group share their luck, so whole groups are
   drawn (`cluster`), or keep their place and change sign together where there are fewer than 15 groups (`wild`);
2. the spread of the residuals changes with size: each row keeps its own residual, whose sign and size are redrawn
   (`wild`). A rank correlation of size and absolute residual beyond chance at 1 % shows it;
3. a resample of rows would hold fewer than two different rows a coefficient, so that some resamples could not be
   fitted at all: the rows stay and their residuals are exchanged (`residual`);
4. else rows are drawn with replacement (`case`).

Source: Davison and Hinkley 1997, Bootstrap Methods and their Application, ch. 6; Cameron, Gelbach and Miller 2008,
Rev. Econ. Stat. 90, 414 (few groups).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import UsageError, did_you_mean
from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.resampling import (
    FEW,
    CaseBootstrap,
    ClusterBootstrap,
    Resamples,
    Resampling,
    ResidualBootstrap,
    WildBootstrap,
    default_resampling,
)

Array = NDArray[np.float64]

DISTINCT = 1 - math.exp(-1)  # share of different rows that a resample holds [1]
ROWS_A_COEFFICIENT = 2  # different rows a coefficient below which a resample of rows may not be fitted
BEYOND_CHANCE = 2.576  # normal quantile of a two-sided test at 1 %


@dataclass(frozen=True)
class ChosenBootstrap:
    """The bootstrap of one fit.

    Parameters
    ----------
    resampling : what draws
    name : one of `BOOTSTRAPS`, or None for weights that were given
    note : what the user should know about it, or None
    """

    resampling: Resampling
    name: str | None
    note: Note | None


@dataclass(frozen=True)
class AutoBootstrap(Resampling):
    """The bootstrap that suits the rows and what the law leaves of them, by the rule of this module."""

    name: ClassVar[str | None] = "auto"

    def chosen(self, rows: Data, predicted: Array, num_free: int) -> tuple[Resampling, str]:
        """Return the bootstrap for rows that a law predicts as `predicted` (R,), and why."""
        found, reason = self._choose(rows, predicted, num_free)
        return found, f"because {reason}"

    def _choose(self, rows: Data, predicted: Array, num_free: int) -> tuple[Resampling, str]:
        """Return the bootstrap for rows that a law predicts as `predicted` (R,), and why."""
        count = len(rows)
        if rows.group is not None:
            groups = rows.num_groups
            if groups < FEW:
                return WildBootstrap(), f"{count} rows come in {groups} groups, too few to draw from"
            return ClusterBootstrap(), f"{count} rows come in {groups} groups, and rows of a group share their luck"
        correlation = spread_over_size(rows, predicted)
        if abs(correlation) * math.sqrt(max(count - 1, 0)) > BEYOND_CHANCE:
            grows = "grows" if correlation > 0 else "shrinks"
            return (
                WildBootstrap(),
                f"the spread of the residuals {grows} with size (rank correlation {correlation:+.2f})",
            )
        if rows.num_distinct * DISTINCT < ROWS_A_COEFFICIENT * num_free:
            different = f"about {rows.num_distinct * DISTINCT:.0f} different ones for {num_free} coefficients"
            return ResidualBootstrap(), f"a resample of {count} rows would hold {different}"
        return CaseBootstrap(), f"{count} rows on their own, with residuals about equally wide at every size"

    def tail(self, rows: Data, num_free: int, level: float, curved: float = 1.0) -> float:
        """Return the plain percentile: which bootstrap it is shows only once it is chosen."""
        return (1 - level) / 2

    def draw(
        self, rows: Data, predicted: Array, num_free: int, count: int, generator: np.random.Generator
    ) -> Resamples:
        """Return what the chosen bootstrap draws."""
        chosen, _ = self._choose(rows, predicted, num_free)
        return chosen.draw(rows, predicted, num_free, count, generator)


_ALL = (AutoBootstrap(), CaseBootstrap(), ClusterBootstrap(), WildBootstrap(), ResidualBootstrap())
BOOTSTRAPS: Mapping[str, Resampling] = {str(bootstrap.name): bootstrap for bootstrap in _ALL}


def find_bootstrap(name: str) -> Resampling:
    """Return the bootstrap of a name.

    Raises
    ------
    UsageError : if there is none

    Example
    -------
    >>> isinstance(find_bootstrap("wild"), WildBootstrap)
    True
    """
    if name not in BOOTSTRAPS:
        hint = did_you_mean(name, BOOTSTRAPS, f"choose from {', '.join(BOOTSTRAPS)}")
        raise UsageError(f"bootstrap '{name}' does not exist", hint=hint)
    return BOOTSTRAPS[name]


def choose_bootstrap(
    wanted: Resampling | None, rows: Data, predicted: Array, num_free: int, deleted: Callable[[], Array]
) -> ChosenBootstrap:
    """Return the bootstrap of a fit, and what is to be said about it.

    Parameters
    ----------
    wanted : what was asked for; None takes `default_resampling`, which looks at numbers of rows and groups only
    rows : usable rows
    predicted : (R,) what the law says of them
    num_free : coefficients that were fitted
    deleted : gives the (R,) residuals without their own rows, which a named bootstrap of residuals redraws
    """
    if wanted is None:
        chosen = default_resampling(rows)
        few = f"fewer than {FEW} {'rows' if rows.group is None else 'rows or groups'}: {chosen.note}"
        return ChosenBootstrap(chosen, chosen.name, Note("small_sample", few) if chosen.note else None)
    chosen, why = wanted.chosen(rows, predicted, num_free)
    if chosen.name is None:
        return ChosenBootstrap(chosen, None, Note("bootstrap", chosen.note) if chosen.note else None)
    note = Note("bootstrap", f"{chosen.name} bootstrap, {why}; {chosen.draws}")
    return ChosenBootstrap(chosen.with_residuals(deleted), chosen.name, note)


def spread_over_size(rows: Data, predicted: Array) -> float:
    """Return the rank correlation [1] of absolute residual and size, the product of the positive inputs."""
    with np.errstate(all="ignore"):
        size = np.sum(np.log(np.where(rows.inputs > 0, rows.inputs, 1.0)), axis=1)
        spread = np.abs(rows.scatter.between(rows.target, predicted))
    if len(rows) < 3 or not np.isfinite(spread).all():
        return 0.0
    first, second = _ranks(size), _ranks(spread)
    scale = float(first.std() * second.std())
    return float(np.mean((first - first.mean()) * (second - second.mean()))) / scale if scale > 0 else 0.0


def _ranks(values: Array) -> Array:
    """Ranks (R,) of values, equal ones sharing the middle of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - 0.5 * (counts - 1)
    return np.asarray(middles[inverse.reshape(-1)], dtype=np.float64)
