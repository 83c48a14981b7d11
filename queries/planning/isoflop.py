"""Compute-optimal exponents by the three approaches of Hoffmann et al., side by side, from the same resamples.

How the approaches fail, and what is reported about it:

* the envelope takes the luckiest run of each budget and only knows sizes that were trained. Where the luckiest is the
  smallest or largest of its budget, the best size may lie beyond: such a budget is named and left out;
* the parabola is symmetric and the law is not. `bias` is what an approach finds on the fitted law's own values, at
  the same sizes and budgets and without noise, minus what is true of that law: a parabola's bias is part of its
  answer, not of its interval. Best sizes have one of their own, `bias_at`: on sizes that reach further on one side a
  parabola's line has the right slope and lies a quarter off;
* the spline follows the law's shape and the noise alike;
* the law is as right as its form. Its interval does not know that the form may be wrong.

Source: Hoffmann et al. 2022 (arXiv:2203.15556), section 3; bias of the parabola: arXiv:2603.22339.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.errors import FitError, UsageError
from isoflop.queries.fitting import GivenWeights, fit_law
from isoflop.queries.laws.chinchilla import CHINCHILLA
from isoflop.queries.laws.law import Law, input_names
from isoflop.queries.laws.objectives import Objective
from isoflop.queries.planning.approaches import (
    Slices,
    akima_minima,
    lowest_runs,
    parabola_minima,
    power_through,
    slices_of_curves,
    slices_of_runs,
)
from isoflop.queries.planning.best_size import best_sizes
from isoflop.queries.planning.comparison import BIASED, Approach, ApproachComparison, quantiles
from isoflop.queries.planning.profiles import assumed_compute, listed_budgets, no_minimum, usable_columns

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

APPROACHES: dict[str, Callable[[Slices, Array], Array]] = {
    "envelope": lowest_runs,
    "isoflop_parabola": parabola_minima,
    "isoflop_akima": akima_minima,
}
MANY_FAILED = 0.2  # share of resamples without an answer worth a note


def compare_approaches(
    params: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    flops: ArrayLike | None = None,
    *,
    curves: Sequence[Any] | NDArray[Any] | None = None,
    budgets: ArrayLike | None = None,
    tolerance: float = 0.1,
    law: Law = CHINCHILLA,
    objective: Objective | None = None,
    resamples: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> ApproachComparison:
    """Return the exponents of the compute-optimal size by every approach.

    Parameters
    ----------
    params, tokens, loss : (R,) of runs, or of points of learning curves; rows that are not positive are left out
    flops : (R,) training compute; 6 params tokens when None, and where it is nan, which a note says
    curves : (R,) label of the learning curve of each point; None when each row is a finished run
    budgets : (M,) compute of the slices; found from the rows when None, as `slices_of_runs` says
    tolerance : relative distance [1] from a budget within which a finished run belongs to it
    law : of params and tokens, in this order
    objective : penalty of its fit; the law's own when None
    resamples : bootstrap resamples, of runs within their budget or of whole curves; 0 leaves intervals empty
    seed : of the resamples
    level : coverage of the intervals [1]

    Raises
    ------
    EmptySelection : if no row is usable
    FitError : if the columns differ in length, fewer than two budgets have four sizes each, or the law cannot be
        fitted
    UsageError : if an option is out of its range, or the law is not one of params and tokens

    Example
    -------
    >>> sizes, compute = np.meshgrid(np.logspace(7, 11, 25), np.logspace(18, 22, 5))
    >>> within = np.abs(np.log10(sizes**2 / (compute / 60))) < 1.5
    >>> sizes, compute = sizes[within], compute[within]
    >>> tokens = compute / (6 * sizes)
    >>> found = compare_approaches(sizes, tokens, 1.8 + 400 / sizes**0.34 + 400 / tokens**0.28, resamples=0)
    >>> round(found["law"].params_exponent, 6), round(0.28 / (0.34 + 0.28), 6)
    (0.451613, 0.451613)
    """
    if resamples < 0 or not 0 < level < 1 or tolerance <= 0 or seed < 0:
        raise UsageError(
            f"resamples {resamples}, level {level}, tolerance {tolerance}, seed {seed}: expected a count, a number "
            "between 0 and 1, a positive number and a count"
        )
    if len(law.inputs) != 2:
        raise UsageError(
            f"law '{law.name}' predicts from {', '.join(input_names(law))}; expected one of params and tokens"
        )
    rows, labels, num_assumed = usable_columns(params, tokens, loss, flops, curves)
    named = None if budgets is None else np.atleast_1d(np.asarray(budgets, dtype=np.float64))
    sliced = slices_of_runs(*rows, named, tolerance) if labels is None else slices_of_curves(*rows, labels, named)
    if len(sliced.budgets) < 2:
        raise FitError(
            f"{len(sliced.budgets)} compute budgets have four sizes or more, expected two at least; "
            "name the budgets, widen the tolerance or add runs"
        )
    generator = np.random.default_rng(seed)
    drawn = _draws(
        sliced, len(rows[0]) if labels is None else int(labels.max()) + 1, labels is None, resamples, generator
    )
    row_counts = drawn if labels is None else drawn[:, labels]
    fit = fit_law(
        law, np.column_stack(rows[:2]), rows[2], objective=objective, resamples=resamples, seed=seed, level=level,
        resampling=GivenWeights(row_counts) if resamples else None,
    )  # fmt: skip
    if not np.isfinite(fit.coefficients).all():
        raise FitError(f"{law.name} cannot be fitted: {fit.reason}")
    best = law_minima(law, np.vstack([fit.coefficients[None], fit.draws]), sliced)
    exponents, factors = power_through(sliced.budgets, best)
    clean = sliced.with_loss(
        np.asarray(law.predict(fit.coefficients, np.column_stack([sliced.params, _slice_tokens(sliced)])))
    )
    everything = np.ones((1, drawn.shape[1]))
    found = []
    for name, approach in APPROACHES.items():
        sizes = approach(sliced, np.vstack([everything, drawn]))
        found.append(_judged(name, sliced, sizes[0], power_through(sliced.budgets, sizes), level))
        (slope,), (factor,) = power_through(sliced.budgets, approach(clean, everything))
        found[-1] = _with_bias(found[-1], (float(slope), float(factor)), float(exponents[0]))
        edges = _on_edge(sliced) if name == "envelope" else no_minimum(sliced.budgets, sizes[0])
        found[-1] = replace(found[-1], notes=(*edges, *found[-1].notes))
    law_sizes = _judged("law", sliced, best[0], (exponents, factors), level)
    planted = (float(exponents[0]), float(factors[0]))
    notes = (*no_minimum(sliced.budgets, best[0]), *_beyond(sliced, best[0]), *law_sizes.notes)
    found.append(replace(law_sizes, planted=planted, rows=len(fit.data), notes=notes))
    return ApproachComparison(
        tuple(found), fit, sliced, level, resamples, seed, tuple(assumed_compute(num_assumed, len(rows[0])))
    )


def _on_edge(sliced: Slices) -> list[str]:
    """Return a note where the run with the lowest loss of a budget has the smallest or largest size trained on it."""
    ends: dict[str, list[float]] = {"smallest": [], "largest": []}
    for budget, flops in enumerate(sliced.budgets):
        own = sliced.label == budget
        size = sliced.params[own][np.argmin(sliced.loss[own])]
        if size <= sliced.params[own].min():
            ends["smallest"].append(flops)
        elif size >= sliced.params[own].max():
            ends["largest"].append(flops)
    notes = []
    for end, budgets in ends.items():
        if budgets:
            further = "smaller" if end == "smallest" else "larger"
            which = f"on {len(budgets)} of {len(sliced.budgets)} budgets ({listed_budgets(np.array(budgets))})"
            todo = f"add {further} sizes there; they are left out"
            notes.append(f"optimum_on_edge: {which} the best size is the {end}; {todo}")
    return notes


def _beyond(sliced: Slices, sizes: Array) -> list[str]:
    """Return a note where the law's best size (M,) of a budget lies beyond the sizes trained on it."""
    own = [sliced.params[sliced.label == budget] for budget in range(len(sizes))]
    outside = np.array([not each.min() <= size <= each.max() for each, size in zip(own, sizes, strict=True)])
    outside &= np.isfinite(sizes)
    if not outside.any():
        return []
    which = f"on {np.count_nonzero(outside)} of {len(sizes)} budgets ({listed_budgets(sliced.budgets[outside])})"
    return [f"optimum_beyond_sizes: {which} the law's best size lies beyond those trained there; it is kept"]


def _draws(
    sliced: Slices, num_units: int, within_budget: bool, resamples: int, generator: np.random.Generator
) -> Array:
    """(B, U) how often each unit is drawn: runs within their budget, the rest among themselves; or whole curves."""
    group = np.full(num_units, -1)
    if within_budget:
        group[sliced.unit] = sliced.label
    found = np.zeros((resamples, num_units))
    for budget in np.unique(group):
        members = np.flatnonzero(group == budget)
        picks = members[generator.integers(0, len(members), size=(resamples, len(members)))]
        np.add.at(found, (np.arange(resamples)[:, None], picks), 1.0)
    return found


def _slice_tokens(sliced: Slices) -> Array:
    """(S,) tokens that the budget of each point buys at its size."""
    return np.asarray(sliced.budgets[sliced.label] / (sliced.per_token * sliced.params))


def law_minima(law: Law, coefficients: Array, sliced: Slices) -> Array:
    """Return the size (B, M) at which a law of params and tokens is lowest on every budget (approach 3).

    Parameters
    ----------
    law : of params and tokens
    coefficients : (B, K)
    sliced : budgets, and the range of sizes around which to look

    Returns
    -------
    sizes [count]; nan where the lowest lies a thousand times beyond the sizes given
    """
    smallest, largest = float(sliced.params.min()), float(sliced.params.max())
    found = np.empty((len(coefficients), len(sliced.budgets)))
    for row, drawn in zip(found, coefficients, strict=True):
        predict = partial(_losses, law, drawn)
        row[:] = best_sizes(predict, sliced.budgets, sliced.per_token, smallest, largest)
    return found


def _losses(law: Law, coefficients: Array, params: Array, tokens: Array) -> Array:
    """The law at N sizes and lengths."""
    return np.asarray(law.predict(coefficients, np.column_stack([params, tokens])))


def _judged(name: str, sliced: Slices, sizes: Array, powers: tuple[Array, Array], level: float) -> Approach:
    """The record of an approach from its sizes (M,), and exponents and log factors (1 + B,) of rows and resamples."""
    slopes, factors = powers
    exponent, draws = float(slopes[0]), slopes[1:]
    usable = draws[np.isfinite(draws)]
    lower, upper = quantiles(usable, level)
    notes = []
    if len(draws) and len(usable) < (1 - MANY_FAILED) * len(draws):
        notes.append(f"failed_resamples: {len(draws) - len(usable)} of {len(draws)} give no exponent")
    if lower > exponent or upper < exponent:
        notes.append("outside_interval: the resamples disagree with the rows as they are; a few runs decide")
    return Approach(
        name=name, params_exponent=exponent, params_lower=lower, params_upper=upper,
        tokens_exponent=1 - exponent, tokens_lower=1 - upper, tokens_upper=1 - lower,
        log_factor=float(factors[0]), per_token=sliced.per_token, rows=len(sliced.params), bias=0.0,
        planted=(np.nan, np.nan), budgets=sliced.budgets, params=sizes, tokens=sliced.tokens(sizes), draws=draws,
        log_factor_draws=factors[1:], notes=tuple(notes),
    )  # fmt: skip


def _with_bias(approach: Approach, planted: tuple[float, float], truth: float) -> Approach:
    """The record with what the approach finds in runs made from the law, whose exponent is `truth`."""
    bias = planted[0] - truth
    notes = approach.notes
    if abs(bias) > BIASED * (approach.params_upper - approach.params_lower) / 2:
        notes = (*notes, f"biased: on the fitted law itself, without noise, it is off by {bias:+.4f}")
    return replace(approach, bias=bias, planted=planted, notes=notes)
