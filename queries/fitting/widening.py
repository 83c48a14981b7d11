"""How much wider intervals must be beyond the rows than resamples say, and how that grows with the distance.

Resamples know how uncertain the coefficients of a law are, not that the law itself may be a little wrong. What the
small rows say about the large ones tells. Intervals are widened until those of the forward cuts hold the stated share
of the rows that the cuts left out, and at least by what few cuts warrant: every cut gives a ratio of errors to
predicted spread; the ratios are pooled with a prior in which forecasts err as much as they say, and a Student quantile
takes the place of a normal one, because a handful of cuts is all there is.

The factor is reached smoothly: none of it at the edge of the rows, two thirds of it once a prediction reaches beyond
them by a twentieth of the range they span. The study behind the constants is in docs/intervals.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.quantiles import student_quantile
from isoflop.queries.laws.algebra.expression import sql_number
from isoflop.queries.laws.law import Law

Array = NDArray[np.float64]
Edge = tuple[float, float]

PRIOR_CUTS = 8  # cuts that the prior counts for
PRIOR_RATIO = 1.0  # errors in units of the predicted spread [1] in the prior: as large as predicted
LARGEST_RATIO = 4.0  # [1]: a cut that missed by more says that its few rows fitted nothing, not how far off fits are
SPARE_ROWS = 3  # training rows beyond the number of coefficients below which a cut says nothing
SPARE_TO_COVER = 5  # the same below which its intervals need not be made to cover: their spread is hardly known
RAMP = 0.05  # reach in units of the rows' span [1] over which 1 - 1/e of the factor comes in
SHORTEST_SPAN = 1.0  # natural logarithm of the span [1] that rows with nearly one value of an input are taken to have


class Cut(Protocol):
    """What is needed of a forward cut: predictions of rows larger than those trained on."""

    @property
    def predicted(self) -> Array:
        """Predictions (T,) of the test rows, in the target's unit."""

    @property
    def lower(self) -> Array:
        """Lower ends (T,) of their intervals."""

    @property
    def upper(self) -> Array:
        """Upper ends (T,) of their intervals."""

    @property
    def measured(self) -> Array:
        """Measured values (T,)."""

    @property
    def n_train(self) -> int:
        """Number of rows trained on."""


def size_edge(law: Law, inputs: Array) -> Edge | None:
    """Return the lowest and largest size of rows: the logarithm of the product of their positive inputs.

    Parameters
    ----------
    law : says which inputs are positive
    inputs : (R, P) usable rows
    """
    logs = _log_sizes(law, inputs)
    return None if logs is None or not len(logs) else (float(logs.min()), float(logs.max()))


def reach(law: Law, inputs: Array, support: Array, edge: Edge | None) -> Array:
    """Return how far predictions reach beyond the rows, in units of the span of the rows.

    Parameters
    ----------
    law : says which inputs count by their logarithm
    inputs : (R, P) places to predict
    support : (P, 2) lowest and largest value of each input among the rows
    edge : `size_edge` of the rows, or None to look at each input alone

    Returns
    -------
    (R,) float array >= 0: the furthest of any input beyond its own range, and of the product of all beyond the
    largest product. The latter sees a corner where every input is usual and the run is still larger than any.
    """
    furthest = np.zeros(len(inputs))
    for p, input_ in enumerate(law.inputs):
        values, (low, high) = inputs[:, p], support[p]
        if input_.positive and low > 0:
            values, low, high = np.log(np.where(values > 0, values, np.nan)), math.log(low), math.log(high)
            span = max(high - low, SHORTEST_SPAN)
        else:
            span = high - low if high > low else max(abs(high), 1.0)
        furthest = np.fmax(furthest, np.maximum(values - high, low - values) / span)
    sizes = _log_sizes(law, inputs)
    if edge is not None and sizes is not None:
        furthest = np.fmax(furthest, (sizes - edge[1]) / max(edge[1] - edge[0], SHORTEST_SPAN))
    return np.where(furthest > 1e-9, furthest, 0.0)


def widened(factor: float, reached: Array) -> Array:
    """Return the factor (R,) on the logarithm of an interval's half width at each reach (R,)."""
    return np.asarray(1.0 + (factor - 1.0) * -np.expm1(-reached / RAMP))


def sql_widened(factor: float, law: Law, support: Array, edge: Edge | None, inputs: Sequence[str]) -> str | None:
    """Return SQL for `widened(factor, reach(…))` at one place, or None where nothing is widened.

    Parameters
    ----------
    inputs : P texts, SQL of type DOUBLE for each input
    """
    if factor <= 1.0:
        return None
    furthest, logs = ["0e0"], []
    for input_, text, (low, high) in zip(law.inputs, inputs, support.tolist(), strict=True):
        if input_.positive:
            logs.append(f"ln({text})")
        if input_.positive and low > 0:
            value, low, high = logs[-1], math.log(low), math.log(high)
            span = max(high - low, SHORTEST_SPAN)
        else:
            value, span = text, high - low if high > low else max(abs(high), 1.0)
        beyond = f"greatest({value} - {sql_number(high)}, {sql_number(low)} - {value})"
        furthest.append(f"{beyond} / {sql_number(span)}")
    if edge is not None and logs:
        span = max(edge[1] - edge[0], SHORTEST_SPAN)
        furthest.append(f"({' + '.join(logs)} - {sql_number(edge[1])}) / {sql_number(span)}")
    reached = f"greatest({', '.join(furthest)})"
    eased = f"1e0 - exp(-{reached} / {sql_number(RAMP)})"
    return f"(1e0 + {sql_number(factor - 1.0)} * CASE WHEN {reached} > 1e-9 THEN {eased} ELSE 0e0 END)"


def widening_factor(cuts: Sequence[Cut], num_rows: int, num_free: int, level: float) -> float:
    """Return the factor >= 1 on intervals beyond the rows that the forward cuts call for.

    Parameters
    ----------
    cuts : with prediction intervals at `level`
    num_rows : of all rows; a cut that trains on most of them says more about their fit
    num_free : fitted coefficients
    level : coverage of the intervals [1]
    """
    quantile = NormalDist().inv_cdf((1 + level) / 2)
    weights, ratios, needed = [], [], [np.zeros(0)]
    for cut in cuts:
        if cut.n_train < num_free + SPARE_ROWS:
            continue
        needs = _needed(cut)
        weights.append((cut.n_train / num_rows) ** 2)
        ratios.append(min(quantile * math.sqrt(np.mean(needs**2)), LARGEST_RATIO))
        if cut.n_train >= num_free + SPARE_TO_COVER:
            needed.append(needs)
    total = sum(weight * ratio**2 for weight, ratio in zip(weights, ratios, strict=True))
    pooled = math.sqrt((total + PRIOR_CUTS * PRIOR_RATIO**2) / (sum(weights) + PRIOR_CUTS))
    warranted = pooled * student_quantile((1 + level) / 2, PRIOR_CUTS + len(ratios)) / quantile
    left_out = np.concatenate(needed)
    covering = float(np.quantile(left_out, level, method="higher")) if len(left_out) else 1.0
    return max(1.0, warranted, covering)


def _needed(cut: Cut) -> Array:
    """(T,) how many times wider, in logarithms, each interval had to be to hold its row."""
    with np.errstate(all="ignore"):
        error = np.log(cut.measured / cut.predicted)
        half = np.where(error > 0, np.log(cut.upper / cut.predicted), np.log(cut.predicted / cut.lower))
        return np.nan_to_num(np.abs(error) / half, nan=1.0, posinf=LARGEST_RATIO)


def _log_sizes(law: Law, inputs: Array) -> Array | None:
    """(R,) logarithm of the product of the positive inputs, or None without any."""
    positive = [p for p, input_ in enumerate(law.inputs) if input_.positive]
    if not positive:
        return None
    columns = inputs[:, positive]
    with np.errstate(all="ignore"):
        return np.asarray(np.log(np.where(columns > 0, columns, np.nan)).sum(axis=1))
