"""Runs at equal compute, and three ways to read the best size off them.

A slice is the runs of one compute budget: their sizes and losses. From finished runs it holds those whose compute
lies near the budget, from learning curves the loss of every run where it passes the budget. On a slice the best size
is that of the lowest run (approach 1, envelope), the vertex of a parabola in log size (approach 2), or the lowest
point of an Akima spline through the runs (approach 2 without its bias, but with all of the noise).

Everything is batched over resamples: weights (B, U) say how often each of U units (a run, a curve) was drawn.

Source: Hoffmann et al. 2022 (arXiv:2203.15556), sections 3.1 and 3.2; Akima splines as in Porian et al. 2024
(arXiv:2406.19146); Akima 1970, J. ACM 17, 589.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.planning.parabola import FEWEST_SIZES, Parabola, grouped, parabola_through

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

POINTS = 400  # of a spline at which it is evaluated
CURVE_BUDGETS = 12  # slices cut from learning curves when no budgets are named


@dataclass(frozen=True, eq=False)
class Slices:
    """Points of M budgets.

    Parameters
    ----------
    budgets : (M,) compute [flop], ascending
    label : (S,) which budget each point belongs to
    unit : (S,) which run or curve each point comes from: what a bootstrap draws
    params : (S,) [count]
    loss : (S,) in the unit of the losses given
    per_token : flops over params and tokens [flop], 6 for dense transformers: how a budget turns into tokens
    """

    budgets: Array
    label: Labels
    unit: Labels
    params: Array
    loss: Array
    per_token: float

    def tokens(self, params: Array) -> Array:
        """Return the tokens (..., M) that the budgets buy for sizes (..., M)."""
        return np.asarray(self.budgets / (self.per_token * params))

    def with_loss(self, loss: Array) -> Slices:
        """Return the same points with other losses (S,)."""
        return Slices(self.budgets, self.label, self.unit, self.params, loss, self.per_token)


def slices_of_runs(
    params: Array, tokens: Array, loss: Array, flops: Array, budgets: Array | None, tolerance: float
) -> Slices:
    """Return the slices of finished runs.

    Budgets that are not named are found among the runs: from the lowest compute up, a budget takes all runs within the
    tolerance either way, and the next run begins another, so that every run counts once. Named or found, a budget
    without four different sizes is left out, because neither parabola nor spline says anything of it.

    Parameters
    ----------
    params, tokens, loss, flops : (R,) positive
    budgets : (M,) compute [flop], or None to find them among the runs
    tolerance : relative distance [1] from a budget within which a run belongs to it

    Example
    -------
    >>> params = np.tile([1e8, 2e8, 4e8, 8e8], 2)
    >>> flops = np.repeat([1e19, 1e20], 4)
    >>> slices_of_runs(params, flops / (6 * params), 2 + 0 * params, flops, None, 0.1).label
    array([0, 0, 0, 0, 1, 1, 1, 1])
    """
    logs = np.log(flops)
    width = np.log1p(tolerance)
    if budgets is None:
        label = grouped(logs, 2 * width)
    else:
        centers = np.log(np.sort(budgets))
        label = np.argmin(np.abs(logs[:, None] - centers), axis=1)
        label = np.where(np.abs(logs - centers[label]) <= width * (1 + 1e-9), label, -1)
    rich = [
        budget for budget in np.unique(label[label >= 0]) if len(np.unique(params[label == budget])) >= FEWEST_SIZES
    ]
    found = [float(np.exp(logs[label == budget].mean())) for budget in rich]
    keep = np.flatnonzero(np.isin(label, rich))
    return Slices(
        budgets=np.array(found),
        label=np.searchsorted(rich, label[keep]) if rich else np.empty(0, dtype=np.int64),
        unit=keep,
        params=params[keep],
        loss=loss[keep],
        per_token=float(np.exp(np.mean(logs - np.log(params * tokens)))),
    )


def slices_of_curves(
    params: Array, tokens: Array, loss: Array, flops: Array, curve: Labels, budgets: Array | None
) -> Slices:
    """Return the slices of learning curves: log loss at each budget, interpolated in log compute.

    Parameters
    ----------
    params, tokens, loss, flops : (R,) positive, one row a point of a curve
    curve : (R,) label of the curve, 0 to U - 1
    budgets : (M,) compute [flop], or None for twelve within the range that enough curves share
    """
    logs = np.log(flops)
    ends = np.array(
        [
            [logs[curve == curve_number].min(), logs[curve == curve_number].max()]
            for curve_number in range(int(curve.max()) + 1)
        ]
    )
    if budgets is None:
        shared = min(FEWEST_SIZES, len(ends))
        low, high = np.sort(ends[:, 0])[shared - 1], np.sort(ends[:, 1])[-shared]
        budgets = np.exp(np.linspace(low, max(high, low), CURVE_BUDGETS))
    budgets = np.sort(budgets)
    parts: list[tuple[int, int, float, float]] = []
    for curve_number in range(len(ends)):
        rows = np.flatnonzero(curve == curve_number)
        rows = rows[np.argsort(logs[rows], kind="stable")]
        inside = np.flatnonzero((np.log(budgets) >= ends[curve_number, 0]) & (np.log(budgets) <= ends[curve_number, 1]))
        found = np.exp(np.interp(np.log(budgets[inside]), logs[rows], np.log(loss[rows])))
        parts += [
            (int(m), curve_number, float(params[rows[0]]), float(value)) for m, value in zip(inside, found, strict=True)
        ]
    table = np.array(parts, dtype=np.float64).reshape(-1, 4)
    label = table[:, 0].astype(np.int64)
    rich = [m for m in range(len(budgets)) if len(np.unique(table[label == m, 2])) >= FEWEST_SIZES]
    keep = np.isin(label, rich)
    return Slices(
        budgets=budgets[rich],
        label=np.searchsorted(rich, label[keep]) if rich else np.empty(0, dtype=np.int64),
        unit=table[keep, 1].astype(np.int64),
        params=table[keep, 2],
        loss=table[keep, 3],
        per_token=float(np.exp(np.mean(logs - np.log(params * tokens)))),
    )


def lowest_runs(slices: Slices, weights: Array) -> Array:
    """Return the size (B, M) of the run with the lowest loss on every slice (approach 1).

    nan where that is the smallest or the largest size drawn: the best one may lie beyond it. On planted runs whose
    sizes miss the best one on some budgets, the interval of the exponent held the truth in 23 % of 60 draws with
    these budgets and in 97 % without them; where sizes hold the best one, both held it in all.

    Parameters
    ----------
    slices : points of M budgets
    weights : (B, U) how often each unit was drawn
    """
    found = np.full((len(weights), len(slices.budgets)), np.nan)
    for m in range(len(slices.budgets)):
        own = slices.label == m
        params, is_drawn = slices.params[own], weights[:, slices.unit[own]] > 0
        best = params[np.argmin(np.where(is_drawn, slices.loss[own], np.inf), axis=1)]
        smallest = np.where(is_drawn, params, np.inf).min(axis=1)
        largest = np.where(is_drawn, params, -np.inf).max(axis=1)
        found[:, m] = np.where((smallest < best) & (best < largest), best, np.nan)
    return found


def parabola_on(slices: Slices, budget: int, weights: Array) -> Parabola:
    """Return the parabolas on a slice; a vertex counts where it opens upwards and smaller and larger sizes were drawn.

    Parameters
    ----------
    budget : index of the slice
    weights : (B, U) how often each unit was drawn
    """
    own = slices.label == budget
    return parabola_through(slices.params[own], slices.loss[own], weights[:, slices.unit[own]])


def parabola_minima(slices: Slices, weights: Array) -> Array:
    """Return the size (B, M) at the vertex of a parabola of loss over log size (approach 2).

    The parabola is symmetric and a scaling law is not: its vertex lies beside the minimum unless the sizes are
    spread evenly around it and the exponents of parameters and tokens are equal. nan where it opens downwards, its
    vertex lies outside the sizes, or fewer than four sizes were drawn.
    """
    found = np.full((len(weights), len(slices.budgets)), np.nan)
    for m in range(len(slices.budgets)):
        found[:, m] = parabola_on(slices, m, weights).vertex
    return found


def akima_minima(slices: Slices, weights: Array) -> Array:
    """Return the size (B, M) at the lowest point of an Akima spline of loss over log size.

    Losses of one size are averaged first. nan where the lowest point is the smallest or largest size, or fewer than
    four sizes were drawn.
    """
    from scipy.interpolate import Akima1DInterpolator

    found = np.full((len(weights), len(slices.budgets)), np.nan)
    for m in range(len(slices.budgets)):
        own = slices.label == m
        sizes, which = np.unique(np.log(slices.params[own]), return_inverse=True)
        onto = np.eye(len(sizes))[which]  # (n, sizes)
        drawn = weights[:, slices.unit[own]]
        count = drawn @ onto
        with np.errstate(all="ignore"):
            mean = ((drawn * slices.loss[own]) @ onto) / count
        for b in range(len(weights)):
            seen = count[b] > 0
            if seen.sum() < FEWEST_SIZES:
                continue
            grid = np.linspace(sizes[seen][0], sizes[seen][-1], POINTS)
            curve = Akima1DInterpolator(sizes[seen], mean[b, seen])(grid)
            at = int(np.argmin(curve))
            if 0 < at < POINTS - 1:
                found[b, m] = np.exp(_refined(grid[at - 1 : at + 2], curve[at - 1 : at + 2]))
    return found


def _refined(x: Array, y: Array) -> float:
    """The vertex of the parabola through three evenly spaced points."""
    bend = y[0] - 2 * y[1] + y[2]
    return float(x[1] if bend <= 0 else x[1] + 0.5 * (x[1] - x[0]) * (y[0] - y[2]) / bend)


def power_through(budgets: Array, sizes: Array) -> tuple[Array, Array]:
    """Return exponent (B,) and log factor (B,) of the power of compute through sizes (B, M), by least squares.

    Sizes that are nan are left out; below two of them both are nan.

    Example
    -------
    >>> power_through(np.array([1e18, 1e20]), np.array([[1e8, 1e9]]))[0].round(9)
    array([0.5])
    """
    x = np.log(budgets)
    seen = np.isfinite(sizes)
    with np.errstate(all="ignore"):
        y = np.where(seen, np.log(np.where(seen, sizes, 1.0)), 0.0)
        count = seen.sum(axis=1)
        x_mean, y_mean = (seen @ x) / count, y.sum(axis=1) / count
        apart = np.where(seen, x - x_mean[:, None], 0.0)
        exponent = np.where(count >= 2, (apart * y).sum(axis=1) / (apart**2).sum(axis=1), np.nan)
        return exponent, y_mean - exponent * x_mean
