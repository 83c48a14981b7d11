"""Whether what a law leaves of its rows is alike within groups of them, or along a curve: these are not independent.

Two tests, of residuals by their ranks, so that a few wild rows neither hide a likeness nor make one:

* groups: an analysis of variance of their normal scores. The law's coefficients are taken off the degrees of freedom
  within groups, which makes the test careful whether groups go across the inputs or follow them;
* a curve: the correlation of neighbors, against its standard error among independent rows.

Both are made at `CHANCE`, groups at that over the number of columns that are looked at.

Source: Fisher 1925, Statistical Methods for Research Workers, ch. 7 (intra-class correlation); Conover 1999, Practical
Nonparametric Statistics, section 5.10 (normal scores); Sokal 1997, Monte Carlo Methods in Statistical Mechanics,
section 3 (autocorrelation time and the window of its sum).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.quantiles import fisher_tail

Array = NDArray[np.float64]
Places = NDArray[np.intp]

CHANCE = 1e-4  # that independent rows are taken for dependent ones [1]: one false alarm in 10,000 fits
FEWEST_GROUPS = 4  # below which whole groups say nothing of their own spread
FEWEST_SPARE = 4  # degrees of freedom within groups from which their spread is known well enough
ROWS_A_GROUP = 2  # on average, from which groups are some
NEARLY = 0.8  # of the largest correlation [1] up to which wider groups explain as much
EXACT = 1e-9  # spread of residuals in units of the target [1] that is rounding
WINDOW = 5.0  # autocorrelation times over which correlations are summed: beyond, they are noise
MOST_TAKEN = 0.5  # share of the residuals' variance [1] that a fit is held to have taken along at most
FEWEST_TIMES = 5  # autocorrelation times in a curve below which it does not show its own
ROUNDS = 20  # until the time and what the fit has taken along agree
SHORTEST_CURVE = 20  # points from which neighbors tell a correlation


@dataclass(frozen=True)
class Alike:
    """Groups of rows whose residuals are alike.

    Parameters
    ----------
    name : what the groups share
    labels : (R,) group of each row
    correlation : intra-class correlation of the residuals [1]
    num_groups : number of groups
    """

    name: str
    labels: Places
    correlation: float
    num_groups: int


@dataclass(frozen=True)
class Serial:
    """Curves whose neighboring residuals are alike.

    Parameters
    ----------
    along : positions (R,) of the rows along their curves, one curve after another
    correlation : of neighbors [1]
    time : integrated autocorrelation time in points, 1 for independent ones
    """

    along: Places
    correlation: float
    time: float

    @property
    def effective(self) -> float:
        """How many independent rows say as much as these."""
        return len(self.along) / self.time


def alike_groups(
    residuals: Array, candidates: Mapping[str, Sequence[Any]], num_free: int, first: str | None = None
) -> Alike | None:
    """Return the groups within which residuals are alike beyond chance, or None where none is.

    Of several the one with the largest correlation is taken, or wider groups that explain nearly as much.

    Parameters
    ----------
    residuals : (R,) what a law leaves of the rows
    candidates : (R,) labels of the groups of the rows, by what they share
    num_free : coefficients that were fitted
    first : the candidate that is taken whatever the others explain
    """
    scores = _scores(residuals)
    if scores is None:
        return None
    numbered = {name: _numbered(labels) for name, labels in candidates.items()}
    looked = {
        name: labels
        for name, labels in numbered.items()
        if (count := int(labels.max()) + 1) >= FEWEST_GROUPS
        and len(labels) >= ROWS_A_GROUP * count
        and len(labels) - count - num_free >= FEWEST_SPARE
    }
    found = []
    for name, labels in looked.items():
        correlation, chance = _likeness(scores, labels, num_free)
        if chance < CHANCE / len(looked):
            found.append(Alike(name, labels, correlation, int(labels.max()) + 1))
    if not found:
        return None
    preferred = [each for each in found if each.name == first]
    most = max(each.correlation for each in found)
    nearly = preferred or [each for each in found if each.correlation >= NEARLY * most]
    return min(nearly, key=lambda each: each.num_groups)


def are_apart(residuals: Array, labels: Sequence[Any], num_free: int) -> bool:
    """Return whether residuals lie elsewhere in one group than in another beyond chance; two groups are enough.

    Parameters
    ----------
    residuals : (R,) what a law leaves of the rows
    labels : (R,) group of each row
    num_free : coefficients that were fitted
    """
    scores, numbered = _scores(residuals), _numbered(labels)
    count = int(numbered.max(initial=-1)) + 1
    if scores is None or count < 2 or len(numbered) - count - num_free < FEWEST_SPARE:
        return False
    return _likeness(scores, numbered, num_free)[1] < CHANCE


def serial_curves(residuals: Array, inputs: Array, curves: Sequence[Any], num_free: int) -> Serial | None:
    """Return the curves whose neighboring residuals are alike beyond chance, or None where they are not.

    A law follows the slow part of what its rows have in common, and leaves correlations smaller than they are: K
    coefficients take K autocorrelation times of R points along, which is put back.

    Parameters
    ----------
    residuals : (R,) what a law leaves of the rows
    inputs : (R, P) of the rows; the first that changes along a curve puts its points in order
    curves : (R,) label of the curve of each row
    num_free : coefficients that were fitted
    """
    scores = _scores(residuals)
    parts = [part for part in along_curves(inputs, curves) if len(part) >= SHORTEST_CURVE]
    if scores is None or not parts:
        return None
    pairs = sum(len(part) - 1 for part in parts)
    correlation = _lagged(scores, parts, 1)
    if correlation < NormalDist().inv_cdf(1 - CHANCE) / np.sqrt(pairs):
        return None
    time = _time(scores, parts, num_free)
    return Serial(np.concatenate(along_curves(inputs, curves)), correlation, time)


def _time(scores: Array, parts: Sequence[Places], num_free: int) -> float:
    """Integrated autocorrelation time in points, at least 1."""
    count, longest = sum(map(len, parts)), max(map(len, parts))
    first = _lagged(scores, parts, 1)
    decaying = 1.0
    for _ in range(ROUNDS):  # correlations that decay as those of an autoregression do
        taken = min(num_free * decaying / count, MOST_TAKEN)
        correlation = first * (1 - taken) + taken
        decaying = min((1 + correlation) / (1 - correlation), longest / FEWEST_TIMES)
    summed, lag = 1.0, 0
    while lag < min(longest // FEWEST_TIMES, WINDOW * summed):  # noise of each point over a slow drift does not
        lag += 1
        summed += 2 * _lagged(scores, parts, lag)
    return max(decaying, min(summed, longest / FEWEST_TIMES), 1.0)


def along_curves(inputs: Array, curves: Sequence[Any]) -> list[Places]:
    """Return the positions of the rows of each curve, in the order of the first input that changes along it."""
    places: dict[Any, list[int]] = {}
    for place, curve in enumerate(curves):
        places.setdefault(curve, []).append(place)
    found = []
    for members in places.values():
        own = np.array(members)
        moving = np.flatnonzero(np.ptp(inputs[own], axis=0) > 0)
        found.append(own[np.argsort(inputs[own, moving[0]], kind="stable")] if len(moving) else own)
    return found


def blocks(serial: Serial, length: int) -> Places:
    """Return the block (R,) of each row: neighbors of a curve, `length` rows each but for what is left."""
    found = np.empty(len(serial.along), dtype=np.intp)
    found[serial.along] = np.arange(len(serial.along)) // length
    return np.minimum(found, max(len(found) // length, 1) - 1)


def _scores(residuals: Array) -> Array | None:
    """Normal scores (R,) of residuals, equal ones alike; None where nothing but rounding is left of them."""
    if len(residuals) < 2 or not np.isfinite(residuals).all() or np.max(np.abs(residuals)) < EXACT:
        return None
    values, inverse, counts = np.unique(residuals, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - 0.5 * counts
    normal = NormalDist()
    scores = np.array([normal.inv_cdf(float(middle) / len(residuals)) for middle in middles])
    return None if len(values) < 2 else np.asarray(scores[inverse.reshape(-1)] - np.mean(scores[inverse.reshape(-1)]))


def _numbered(labels: Sequence[Any]) -> Places:
    """Labels as numbers from 0, in order of first appearance."""
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels], dtype=np.intp)


def _likeness(scores: Array, labels: Places, num_free: int) -> tuple[float, float]:
    """Intra-class correlation [1], and the chance [1] of one as large among independent rows."""
    sizes = np.bincount(labels).astype(np.float64)
    means = np.bincount(labels, scores) / sizes
    count, num_groups = len(scores), len(sizes)
    within = float(np.sum((scores - means[labels]) ** 2)) / (count - num_groups - num_free)
    between = float(np.sum(sizes * means**2)) / (num_groups - 1)
    usual = (count - float(np.sum(sizes**2)) / count) / (num_groups - 1)
    if within <= 0:
        return 1.0, 0.0
    correlation = (between - within) / (between + (usual - 1) * within)
    return correlation, fisher_tail(between / within, num_groups - 1, count - num_groups - num_free)


def _lagged(scores: Array, parts: Sequence[Places], lag: int) -> float:
    """Correlation [1] of scores `lag` points apart on the same curve, each sum over all points."""
    product = sum(float(scores[part[:-lag]] @ scores[part[lag:]]) for part in parts if len(part) > lag)
    return product / sum(float(scores[part] @ scores[part]) for part in parts)
