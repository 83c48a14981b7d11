"""The best setting of a sweep, cell by cell: the minimum of a parabola over the log of the setting, and how sure it is.

A cell is the runs that differ in the swept setting alone: the learning rates tried for one model on so many tokens.
How sure its optimum is follows from the scatter of its runs about the parabola: draws of the coefficients, Student's t
with as many degrees of freedom as runs above three. A bootstrap of the five or eight runs of a cell would hold too few
different settings. A draw that opens downwards has its minimum nowhere: it counts as far out, half on either side.

Which cells say nothing, and what they are called:

* `too_few_rows`: fewer than four different settings;
* `no_minimum`: the parabola opens downwards, or the values are all alike;
* `at_lower_edge`, `at_upper_edge`: its minimum lies outside what was tried, so there may be better beyond;
* `unsure`: the scatter leaves an end of the interval open, so there may be no minimum at all.

Source: Hoffmann et al. 2022 (arXiv:2203.15556), section 3.2; sweeps of settings: Bi et al. 2024 (arXiv:2401.02954),
section 3.1, Li et al. 2025 (arXiv:2503.04715).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.planning.parabola import FEWEST_SIZES, grouped, parabola_through, vertices

Array = NDArray[np.float64]

OPTIMAL, TOO_FEW, NO_MINIMUM, UNSURE = "optimal", "too_few_rows", "no_minimum", "unsure"
LOWER_EDGE, UPPER_EDGE = "at_lower_edge", "at_upper_edge"
ONE_SIGMA = 0.6827  # share of a normal [1] within one standard deviation
APART = 1e-3  # of a log [1]: settings closer than that are one, and no parabola goes through them
ROUNDING = 1e-12  # of the values [1], up to which a bend is none
AROUND, PARABOLA = 2, 3  # settings either way of the lowest, and coefficients of a parabola
BY_CHANCE = (
    2.0  # of the scatter [1] by which the lowest value lies lower than beside the optimum in 1 of 2,000 parabolas
)
EXACT = 1e-9  # scatter of a log optimum [1] below which cells are equally sure


@dataclass(frozen=True)
class CellOptimum:
    """What one cell says.

    Parameters
    ----------
    status : `optimal`, or why there is no optimum to use
    rows : how many were used
    lowest, largest : settings that were tried
    optimum : setting at the minimum, in its own unit; nan where there is none
    lower, upper : ends of its interval; nan without draws, or where the scatter leaves an end open
    value : the parabola's value at the optimum
    spread : standard deviation of the log optimum [1]; nan without draws
    is_off : whether the lowest value was found farther from the minimum than the next setting tried
    """

    status: str
    rows: int
    lowest: float
    largest: float
    optimum: float = np.nan
    lower: float = np.nan
    upper: float = np.nan
    value: float = np.nan
    spread: float = np.nan
    is_off: bool = False


def cell_optimum(
    settings: Array,
    values: Array,
    *,
    within: float | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    generator: np.random.Generator | None = None,
) -> CellOptimum:
    """Return where the values of a cell are lowest.

    Parameters
    ----------
    settings : (n,) positive, what was swept
    values : (n,) what is to be small
    within : share [1] of the lowest value above which rows are left out; None leaves none out
    resamples : draws of the parabola's coefficients; 0 leaves the interval empty
    level : coverage of the interval [1]
    generator : of the draws; one with seed 0 when None

    Example
    -------
    >>> tried = np.array([1e-4, 3e-4, 1e-3, 3e-3, 1e-2])
    >>> found = cell_optimum(tried, 2 + 0.1 * np.log(tried / 2e-3) ** 2)
    >>> found.status, round(found.optimum, 6), round(found.value, 6)
    ('optimal', 0.002, 2.0)
    >>> cell_optimum(tried, 2 + 0.1 * np.log(tried / 2e-2) ** 2).status
    'at_upper_edge'
    """
    if within is not None:
        near = values <= values.min() + within * abs(values.min())
        settings, values = settings[near], values[near]
    rows, lowest, largest = len(settings), float(settings.min()), float(settings.max())
    if grouped(np.log(settings), APART).max() + 1 < FEWEST_SIZES:
        return CellOptimum(TOO_FEW, rows, lowest, largest)
    parabola = parabola_through(settings, values, np.ones((1, rows)))
    constant, slope, bend = parabola.coefficients[0]
    if not bend > ROUNDING * np.abs(values).max():
        return CellOptimum(NO_MINIMUM, rows, lowest, largest)
    optimum = float(parabola.vertex[0])
    if not np.isfinite(optimum):
        return CellOptimum(LOWER_EDGE if slope > 0 else UPPER_EDGE, rows, lowest, largest)
    lower = upper = spread = np.nan
    if resamples:
        x = (np.log(settings) - parabola.center) / parabola.scale
        drawn = _drawn(x, values, parabola.coefficients[0], resamples, generator or np.random.default_rng(0))
        logs = np.where(drawn[:, 2] > 0, parabola.center + parabola.scale * vertices(drawn), np.nan)
        with np.errstate(over="ignore"):
            lower, upper = (_finite(np.exp(end)) for end in _ends(logs, level))
        low, high = _ends(logs, ONE_SIGMA)
        spread = (high - low) / 2
    return CellOptimum(
        status=UNSURE if resamples and not np.isfinite([lower, upper]).all() else OPTIMAL,
        rows=rows,
        lowest=lowest,
        largest=largest,
        optimum=optimum,
        lower=lower,
        upper=upper,
        value=float(constant - slope**2 / (4 * bend)),
        spread=spread,
        is_off=_is_off(settings, values, optimum),
    )


def _drawn(x: Array, values: Array, coefficients: Array, count: int, generator: np.random.Generator) -> Array:
    """Draws (B, 3) of a parabola's coefficients from what the scatter of the values leaves possible."""
    design = np.stack([x**0, x, x**2], axis=1)
    freedom = len(x) - 3
    variance = float(np.sum((values - design @ coefficients) ** 2)) / freedom
    root = np.linalg.cholesky(np.linalg.inv(design.T @ design))
    normal = generator.standard_normal((count, 3)) @ root.T
    return np.asarray(coefficients + normal * np.sqrt(variance * freedom / generator.chisquare(freedom, (count, 1))))


def _ends(logs: Array, level: float) -> tuple[float, float]:
    """Ends of the central share of draws (B,); those that are nan lie infinitely far out, half on either side."""
    finite = np.sort(logs[np.isfinite(logs)])
    tail, missing = (1 - level) / 2, 1 - len(finite) / len(logs)
    share = (tail - missing / 2) / (1 - missing) if len(finite) else -1.0
    if share < 0:
        return -np.inf, np.inf
    low, high = np.quantile(finite, [share, 1 - share])
    return float(low), float(high)


def _finite(end: float) -> float:
    """The end of an interval, nan where it is open: a setting is neither zero nor infinite."""
    return float(end) if 0 < end < np.inf else np.nan


def _is_off(settings: Array, values: Array, optimum: float) -> bool:
    """Whether the setting with the lowest mean value has another one between it and the minimum, for no chance.

    Chance is what a parabola through the settings around the lowest leaves: the one through all of them may miss some
    by far, which is what this looks for.
    """
    tried, which = np.unique(settings, return_inverse=True)
    means = np.bincount(which, weights=values) / np.bincount(which)
    best = int(np.argmin(means))
    if tried[max(best - 1, 0)] <= optimum <= tried[min(best + 1, len(tried) - 1)]:
        return False
    around = np.abs(which - best) <= AROUND
    if np.count_nonzero(around) <= PARABOLA or len(np.unique(which[around])) < PARABOLA:
        return True
    x = np.log(settings[around] / tried[best])
    left = values[around] - np.polyval(np.polyfit(x, values[around], PARABOLA - 1), x)
    scatter = np.sqrt(np.sum(left**2) / (np.count_nonzero(around) - PARABOLA))
    above = int(np.searchsorted(tried, optimum))
    beside = min(means[max(above - 1, 0)], means[min(above, len(tried) - 1)])
    return bool(beside - means[best] > BY_CHANCE * scatter)


def cell_weights(inputs: Array, optima: Array, spreads: Array) -> Array:
    """Return what each cell counts in the power law through all of them, one on average.

    One over the variance of its log optimum: its own, and that by which cells scatter about the law beyond their own,
    which the residuals tell (DerSimonian and Laird's estimate, with regressors).

    Parameters
    ----------
    inputs : (M, P) positive, what the cells are told apart by
    optima : (M,) positive
    spreads : (M,) standard deviation of each log optimum [1]; equal weights where one is not known

    Source: DerSimonian and Laird 1986, Control. Clin. Trials 7, 177; Thompson and Sharp 1999, Stat. Med. 18, 2693.
    """
    if not len(optima) or not np.isfinite(spreads).all():
        return np.ones(len(optima))
    own = np.maximum(spreads, EXACT) ** 2
    design = np.column_stack([np.ones(len(optima)), np.log(inputs)])
    weights = 1 / own
    residuals = np.log(optima) - design @ _least_squares(design, np.log(optima), weights)
    inverse = np.linalg.pinv((design.T * weights) @ design)
    room = weights.sum() - np.trace(inverse @ ((design.T * weights**2) @ design))
    left = len(optima) - np.linalg.matrix_rank(design)
    beyond = max(0.0, (float(np.sum(weights * residuals**2)) - left) / room) if left > 0 and room > 0 else 0.0
    weights = 1 / (own + beyond)
    return np.asarray(weights / weights.mean())


def power_of(inputs: Array, optima: Array, weights: Array) -> Array | None:
    """Return the factor's log and the exponents (1 + P,) of the power law through cells, by weighted least squares.

    Parameters
    ----------
    inputs : (M, P) positive
    optima, weights : (M,)

    Returns
    -------
    None where the cells do not tell the exponents apart

    Example
    -------
    >>> power_of(np.array([[1.0], [10.0], [100.0]]), np.array([2.0, 20.0, 200.0]), np.ones(3)).round(6)
    array([0.693147, 1.      ])
    """
    design = np.column_stack([np.ones(len(optima)), np.log(inputs)])
    centered = np.log(inputs) - np.log(inputs).mean(axis=0) if len(optima) else np.empty((0, inputs.shape[1]))
    if len(optima) < design.shape[1] or np.linalg.matrix_rank(centered, tol=1e-6) < inputs.shape[1]:
        return None
    return _least_squares(design, np.log(optima), weights)


def _least_squares(design: Array, values: Array, weights: Array) -> Array:
    root = np.sqrt(weights)
    return np.asarray(np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0])
