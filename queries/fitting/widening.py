"""How much wider intervals must be beyond the rows than resamples say, and how that grows with the distance.

Resamples know how uncertain the coefficients of a law are, not that the law itself may be a little wrong. Where it is,
its error grows with the distance from the rows: `drift` is that error, as a standard deviation for each unit of the
distance that `Hull.distance` gives. What the small rows say about the large ones tells it: every forward cut gives the
squares of its errors, less what its resamples predicted, over the squares of its distances. They are averaged with
what planted worlds of slightly wrong laws call for, and because few cuts are all there is, a Student quantile takes the
place of a normal one. The study behind the constants is in docs/intervals.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.hull import Hull, boxed, corners, kept_hull
from isoflop.queries.fitting.quantiles import student_quantile
from isoflop.queries.fitting.scatter import MULTIPLICATIVE, Scatter
from isoflop.queries.laws.algebra.expression import sql_number
from isoflop.queries.laws.law import Law

Array = NDArray[np.float64]

PRIOR_DRIFT = 0.045  # of the values' own slope over the rows [1]: how wrong laws were in planted worlds
PRIOR_WEIGHT = 1.0  # cuts with all rows that the prior counts for
FREEDOM = 3.0  # degrees of freedom of a cut: its errors are of one sign and grow alike
LARGEST_DRIFT = 30.0  # times the prior [1]: a cut that missed by more says that its few rows fitted nothing
SPARE_ROWS = 3  # training rows beyond the number of coefficients below which a cut says nothing
NODES = 257  # quantiles that are computed; those between are right to a ten thousandth
SMALLEST = 1e-9  # distance [1] below which a row lies among the others


class Cut(NamedTuple):
    """A forward cut: rows larger than those trained on.

    Parameters
    ----------
    predicted, lower, upper, measured : (T,) of the larger rows, in the target's unit
    distance : (T,) of them beyond the rows trained on
    n_train : number of those
    """

    predicted: Array
    lower: Array
    upper: Array
    measured: Array
    distance: Array
    n_train: int


@dataclass(frozen=True)
class Widening:
    """How intervals grow beyond the rows.

    Parameters
    ----------
    hull : where the rows lie
    drift : standard deviation of a law's error for each unit of distance, on the scale of the scatter
    freedom : degrees of freedom that is known with
    """

    hull: Hull
    drift: float
    freedom: int

    def deviation(self, inputs: Array) -> Array:
        """Return the standard deviation (R,) of the law's own error at places (R, P), on the scale of the scatter."""
        return self.drift * self.hull.distance(inputs)

    def over(self, hull: Hull | None) -> Widening | None:
        """Return the same growth over other inputs for the same rows; None where it is not known where they lie."""
        if hull is None or not hull.size > 0:
            return None
        return Widening(hull, self.drift * self.hull.size / hull.size, self.freedom)

    def times(self, level: float) -> float:
        """Return how many deviations an interval of some coverage [1] reaches to either side."""
        return student_quantile((1 + level) / 2, self.freedom)

    def ends(self, scatter: Scatter, predicted: Array, end: Array, half: Array, side: int) -> Array:
        """Return the end of an interval when the law's own error is added.

        Parameters
        ----------
        predicted, end : (R,) the prediction and the end that the resamples give
        half : (R,) `times` deviations
        side : 1 for the upper end, -1 for the lower

        Returns
        -------
        (R,) further out by the root of the sum of squares; the end itself where half is 0
        """
        with np.errstate(all="ignore"):
            away = side * scatter.between(end, predicted)
            wider = np.where(away > 0, np.sqrt(away**2 + half**2), away + half)
            return np.asarray(np.where(half > 0, scatter.moved(predicted, side * wider), end))

    def moved(self, scatter: Scatter, values: Array, inputs: Array, errors: Array) -> Array:
        """Return curves of resamples moved by the law's own error.

        Parameters
        ----------
        values : (B, R) of B resamples
        inputs : (R, P) where
        errors : (B,) of each resample, in deviations
        """
        return scatter.moved(values, errors[:, None] * self.deviation(inputs))

    def sql(self, ends: str, inputs: Sequence[str], name: str, *, share: float, is_additive: bool) -> str:
        """Return SQL for the end of an interval at one place, as `ends` gives it.

        Parameters
        ----------
        ends : SQL of a list of the prediction and the end that the resamples give
        inputs : P texts, SQL of type DOUBLE for each input
        name : of a lambda's variable that the texts do not use
        share : of new runs that fall below the end [1]
        is_additive : whether the scatter is
        """
        side, predicted, end = (1 if share > 0.5 else -1), f"{ends}[1]", f"{ends}[2]"
        distance = self.hull.sql(inputs, name)
        away = f"({end} - {predicted})" if is_additive else f"ln({end} / {predicted})"
        half = f"({sql_number(self.drift * self.times(abs(2 * share - 1)))} * {name}[1])"
        pair = f"list_transform([[{distance}, {side} * {away}]], lambda {name}: [{half}, {name}[2]])"
        wider = (
            f"CASE WHEN {name}[2] > 0 THEN sqrt(pow({name}[2], 2) + pow({name}[1], 2)) ELSE {name}[2] + {name}[1] END"
        )
        found = f"{predicted} + {side} * ({wider})" if is_additive else f"{predicted} * exp({side} * ({wider}))"
        return f"list_transform({pair}, lambda {name}: CASE WHEN {name}[1] > 0 THEN {found} ELSE {end} END)[1]"


def draw_errors(widening: Widening, count: int, seed: int = 0) -> Array:
    """Return errors (B,) of a law in deviations, evenly spread over their distribution, in a random order.

    Example
    -------
    >>> hull = Hull((1.0,), (True,), (0.0,), (-1.0,), (1.0,), 1.0)
    >>> errors = draw_errors(Widening(hull, 0.01, 10), 4000)
    >>> bool(abs(np.quantile(errors, 0.975) - student_quantile(0.975, 10)) < 0.01)
    True
    """
    return np.random.default_rng(seed).permutation(_even_errors(widening.freedom, count))


@functools.lru_cache(maxsize=8)
def _even_errors(freedom: int, count: int) -> Array:
    """Quantiles (B,) of Student's distribution at the middles of equal shares, interpolated over normal ones."""
    normal = NormalDist()
    scores = np.array([normal.inv_cdf((k + 0.5) / count) for k in range(count)])
    nodes = np.linspace(0, scores[-1], NODES)
    found = [student_quantile(normal.cdf(node), freedom) for node in nodes.tolist()]
    return np.asarray(np.copysign(np.interp(np.abs(scores), nodes, found), scores))


def learnt(
    hull: Hull, values: Array, cuts: Sequence[Cut], num_free: int, level: float,
    scatter: Scatter = MULTIPLICATIVE,
) -> Widening:  # fmt: skip
    """Return how intervals grow beyond rows, from what the forward cuts among them show.

    Parameters
    ----------
    hull : where all rows lie
    values : (R,) of all rows
    cuts : with prediction intervals at `level`
    num_free : fitted coefficients
    level : coverage of the intervals [1]
    """
    prior = PRIOR_DRIFT * _slope(hull, scatter.on_scale(values))
    total, weight = PRIOR_WEIGHT * prior**2, PRIOR_WEIGHT
    quantile = NormalDist().inv_cdf((1 + level) / 2)
    for cut in cuts:
        found = _drift(cut, quantile, scatter) if cut.n_train >= num_free + SPARE_ROWS else None
        if found is not None:
            share = (cut.n_train / len(values)) ** 2  # a cut that trains on most rows says more about their fit
            total += share * min(found, (LARGEST_DRIFT * prior) ** 2)
            weight += share
    return Widening(hull, math.sqrt(total / weight), round(FREEDOM * weight))


def from_range(
    law: Law, coefficients: Array, support: Array, edge: tuple[float, float] | None, scatter: Scatter
) -> Widening | None:
    """Return how intervals grow where only the range of the rows is known: as planted worlds call for.

    Parameters
    ----------
    coefficients : (K,) of the law
    support, edge : as `boxed` takes them
    """
    hull = boxed(law, support, edge)
    if hull is None:
        return None
    with np.errstate(all="ignore"):
        values = scatter.on_scale(np.asarray(law.predict(coefficients, corners(support))))
    if not np.isfinite(values).all():
        return None
    drift = PRIOR_DRIFT * _slope(hull, values)
    return Widening(hull, drift, round(FREEDOM * PRIOR_WEIGHT))


def kept(widening: Widening | None) -> dict[str, Any] | None:
    """Return what JSON keeps of it."""
    if widening is None:
        return None
    return {"hull": widening.hull.kept(), "drift": widening.drift, "freedom": widening.freedom}


def kept_widening(kept: Mapping[str, Any]) -> Widening:
    """Return what `kept` gave."""
    return Widening(kept_hull(kept["hull"]), kept["drift"], kept["freedom"])


def growth(widening: Widening, level: float, scatter: Scatter) -> str:
    """Return what intervals do beyond the rows, for a sentence: how far out their ends move for a factor of ten."""
    decade = widening.times(level) * widening.drift * math.log(10)
    if scatter.is_additive:
        return f"its ends move out by {decade:.3g} for each factor of 10"
    return f"its ends move out by {math.expm1(decade):.2g} of the value for each factor of 10"


def _slope(hull: Hull, values: Array) -> float:
    """How much values (R,) on the scale of the scatter vary for each unit of distance among their rows."""
    return float(np.std(values)) / hull.size if hull.size > 0 else 0.0


def _drift(cut: Cut, quantile: float, scatter: Scatter) -> float | None:
    """Mean square of a cut's errors beyond what its resamples predict, per square of distance; None without any."""
    with np.errstate(all="ignore"):
        error = scatter.between(cut.measured, cut.predicted)
        half = np.where(error > 0, scatter.between(cut.upper, cut.predicted), scatter.between(cut.predicted, cut.lower))
        excess = error**2 - (half / quantile) ** 2
    is_beyond = (cut.distance > SMALLEST) & np.isfinite(excess)
    if not is_beyond.any():
        return None
    return max(float(excess[is_beyond].sum() / (cut.distance[is_beyond] ** 2).sum()), 0.0)
