"""The compute multiplier between two laws: how many times the compute one needs to reach what the other reaches.

A law says the loss of a compute budget: at its own best size for laws of params and tokens, at a fixed number of tokens
for each parameter where one is given, directly for a law of one input. The gain of `a` over `b` at a budget is the
compute at which `b` comes down to the loss of `a`, over that budget. Draws of both laws give its interval. A loss may
be any target that falls, of any sign.

Source: the effective compute of Erdil and Besiroglu 2022 (arXiv:2212.05153), section 2, between two fitted laws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.fitting.widening import draw_errors
from isoflop.queries.laws.law import input_names
from isoflop.queries.laws.pairwise import predict_each
from isoflop.queries.planning.best_size import best_sizes

Array = NDArray[np.float64]

PER_TOKEN = 6.0  # flops over params and tokens [flop], of dense transformers
FARTHEST = 1e9  # factor on the compute of a budget within which what the other law needs is looked for
MOST_STEPS = 100  # of the search for it, which takes some 15
SUPPORT_ROUNDING = 1e-9  # relative step [1] within the rows from a compute that is found where they end
SAME = 1e-12  # width of the logarithm of compute [1] at which the search ends
BARE = 50.0  # logarithm of a gain [1] beyond what is looked for: in its place stands that there is none
FEWEST_FOUND = 0.8  # share of the pairs of draws that must have a gain, or none at all, for an interval


@dataclass(frozen=True, eq=False)
class Recipe:
    """A law as compute sees it.

    Parameters
    ----------
    fitted : of params and tokens, in any order, or of one input, which is the compute
    """

    fitted: FittedLaw

    @property
    def has_sizes(self) -> bool:
        """Whether compute is split into params and tokens."""
        return len(self.fitted.law.inputs) == 2

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and largest compute among the rows."""
        if not self.has_sizes:
            return float(self.fitted.support[0, 0]), float(self.fitted.support[0, 1])
        if self.fitted.edge is not None:
            low, high = PER_TOKEN * np.exp(self.fitted.edge)
            return float(low), float(high)
        low, high = PER_TOKEN * self.fitted.support.prod(axis=0)
        return float(low), float(high)

    def sizes(self, coefficients: Array, compute: Array, ratio: Array | None) -> tuple[Array, Array]:
        """Return the params and tokens (N,) that compute (N,) is spent on, with coefficients (N, K).

        Parameters
        ----------
        ratio : (N,) tokens for each parameter; None for what the law says is best, nan where it says nothing
        """
        if ratio is not None:
            params = np.sqrt(compute / PER_TOKEN / ratio)
            return params, ratio * params

        def predict(params: Array, tokens: Array) -> Array:
            shape = (len(compute), -1)
            return self._at(coefficients, params.reshape(shape), tokens.reshape(shape)).ravel()

        low, high = self.fitted.support[input_names(self.fitted.law).index("params")]
        square = np.sqrt(compute / PER_TOKEN)
        smallest, largest = np.fmin(low, square.min()), np.fmax(high, square.max())  # a law without rows has no sizes
        params = best_sizes(predict, compute, PER_TOKEN, float(smallest), float(largest))
        return params, compute / PER_TOKEN / params

    def loss(self, coefficients: Array, compute: Array, ratio: Array | None) -> Array:
        """Return the loss (N,) of compute (N,) with coefficients (N, K); nan where the law gives none."""
        if not self.has_sizes:
            return predict_each(self.fitted.law, coefficients, compute[:, None, None])[:, 0]
        params, tokens = self.sizes(coefficients, compute, ratio)
        return self._at(coefficients, params[:, None], tokens[:, None])[:, 0]

    def errors(self, compute: float, ratio: Array | None, count: int, seed: int) -> Array | None:
        """Return errors (count,) of the law itself at a compute, on the scale of the scatter; None without any."""
        widening = self.fitted.widening
        if widening is None:
            return None
        at = np.array([[compute]])
        if self.has_sizes:
            params, tokens = self.sizes(self.fitted.coefficients[None], at[0], ratio)
            at = self._inputs(params[:, None], tokens[:, None])[0]
        deviation = float(widening.deviation(at)[0])
        return deviation * draw_errors(widening, count, seed) if deviation > 0 else None

    def _inputs(self, params: Array, tokens: Array) -> Array:
        by_name = {"params": params, "tokens": tokens}
        return np.stack([by_name[name] for name in input_names(self.fitted.law)], axis=-1)

    def _at(self, coefficients: Array, params: Array, tokens: Array) -> Array:
        return predict_each(self.fitted.law, coefficients, self._inputs(params, tokens))


@dataclass(frozen=True)
class Gain:
    """The gain of one law over another at one budget; nan where there is none.

    Parameters
    ----------
    compute : of the first law, in its unit
    loss : that it reaches
    needed : compute at which the second law reaches it
    gain : needed over compute [1]
    lower, upper : ends of its interval; nan where it has none, or an end is open
    sizes, needed_sizes : params and tokens [count] of either; nan for laws of one input
    reached : share [1] of the pairs of draws in which the second law reaches the loss; nan without draws
    reason : why there is no gain, no interval or an open end; empty where there is nothing to say
    """

    compute: float
    loss: float
    needed: float
    gain: float
    lower: float
    upper: float
    sizes: tuple[float, float]
    needed_sizes: tuple[float, float]
    reached: float
    reason: str


def compute_gain(
    first: Recipe,
    second: Recipe,
    compute: float,
    *,
    ratio: float | None = None,
    level: float = 0.95,
    pairs: tuple[Array, Array] | None = None,
) -> Gain:
    """Return how many times the compute of a budget the second law needs to reach what the first reaches with it.

    Parameters
    ----------
    first, second : laws with the same target, which falls with compute
    compute : the first law's
    ratio : tokens for each parameter of both; None for each law's best
    level : coverage of the interval [1]
    pairs : (N, K) draws of the first and (N, L) of the second, one of each to a pair; none for no interval

    Example
    -------
    >>> from isoflop.queries.laws import POWER
    >>> fits = [FittedLaw(POWER, np.array([1.0, a, 0.5]), np.empty((0, 3)), 0.0, np.ones((1, 2))) for a in (8, 16)]
    >>> found = compute_gain(Recipe(fits[0]), Recipe(fits[1]), 100.0)
    >>> round(found.loss, 9), round(found.needed, 6), round(found.gain, 9)
    (1.8, 400.0, 4.0)
    """
    given = None if ratio is None else np.array([ratio])
    own, others = first.fitted.coefficients[None], second.fitted.coefficients[None]
    at = np.array([compute])
    loss = first.loss(own, at, given)
    needed, reason = _needed(second, others, loss, at, given)
    sizes = _pair(first, own, at, given)
    needed_sizes = _pair(second, others, needed, given)
    factor = float(needed[0] / compute)
    lower = upper = reached = np.nan
    if pairs is not None and len(pairs[0]) and np.isfinite(loss[0]):
        lower, upper, reached = _ends(first, second, compute, float(loss[0]), float(needed[0]), given, level, pairs)
        lower, upper = min(lower, factor), max(upper, factor)  # nan stays nan, as the first of the two
        if not reason and not np.isfinite(lower):
            reason = f"there is no interval: it is reached in only {reached:.0%} of the pairs of resamples"
        elif not reason and not np.isfinite(upper):
            reason = f"the upper end is open: it is reached in {reached:.0%} of the pairs of resamples"
    return Gain(compute, float(loss[0]), float(needed[0]), factor, lower, upper, sizes, needed_sizes, reached, reason)


def largest_budget(first: Recipe, second: Recipe) -> float:
    """Return the largest compute of the first law at which both it and what the second needs lie within their rows.

    Where rows do not allow it, the largest that both laws have rows of; inf for two laws without rows.

    Example
    -------
    >>> from isoflop.queries.laws import POWER
    >>> rows = np.array([[1.0, 1000.0]])
    >>> fits = [FittedLaw(POWER, np.array([1.0, a, 0.5]), np.empty((0, 3)), 0.0, rows) for a in (8, 16)]
    >>> better, worse = map(Recipe, fits)
    >>> round(largest_budget(better, worse)), round(largest_budget(worse, better))
    (250, 1000)
    """
    ends = first.support[1], second.support[1]
    budgets = []
    if np.isfinite(ends[0]) and compute_gain(first, second, ends[0]).needed <= ends[1] * (1 + SUPPORT_ROUNDING):
        budgets.append(ends[0])
    if np.isfinite(ends[1]):
        needed = compute_gain(second, first, ends[1]).needed
        if first.support[0] <= needed <= ends[0] or (np.isfinite(needed) and not np.isfinite(ends[0])):
            budgets.append(needed * (1 - SUPPORT_ROUNDING))
    return max(budgets) if budgets else float(np.fmin(*ends))


def _pair(recipe: Recipe, coefficients: Array, compute: Array, ratio: Array | None) -> tuple[float, float]:
    """Params and tokens of a compute; nan for none."""
    if not recipe.has_sizes or not np.isfinite(compute[0]):
        return np.nan, np.nan
    params, tokens = recipe.sizes(coefficients, compute, ratio)
    return float(params[0]), float(tokens[0])


def _ends(
    first: Recipe, second: Recipe, compute: float, loss: float, needed: float, ratio: Array | None, level: float,
    pairs: tuple[Array, Array],
) -> tuple[float, float, float]:  # fmt: skip
    """Ends of a gain's interval, and the share of pairs in which the loss is reached."""
    own, others = pairs
    count = len(own)
    each = None if ratio is None else np.repeat(ratio, count)
    losses = first.loss(own, np.full(count, compute), each)
    errors = first.errors(compute, ratio, count, 0)
    if errors is not None:
        losses = first.fitted.scatter.moved(losses, errors)
    start = needed if np.isfinite(needed) else compute
    own_error = second.errors(start, ratio, count, 0 if _is_same(first.fitted, second.fitted) else 1)
    found, _ = _needed(second, others, losses, np.full(count, start), each, own_error)
    never = np.isposinf(_unreached(second, others, losses, found, start, each))
    logs = np.where(never, 2 * BARE, np.log(found / compute))
    logs = logs[~np.isnan(logs)]
    reached = float(np.mean(np.isfinite(found)))
    if len(logs) < FEWEST_FOUND * count:
        return np.nan, np.nan, reached
    tail = (1 - level) / 2
    low, high = np.quantile(logs, [tail, 1 - tail])
    ends = [float(np.exp(end)) if end < BARE else np.nan for end in (low, high)]
    return ends[0], ends[1], reached


def _is_same(first: FittedLaw, second: FittedLaw) -> bool:
    """Whether two laws are one, which errs with itself alike."""
    return first.widening == second.widening and np.array_equal(first.coefficients, second.coefficients)


def _unreached(
    recipe: Recipe, coefficients: Array, losses: Array, found: Array, start: float, ratio: Array | None
) -> Array:
    """(N,) inf where no compute that is looked for is enough for a loss, 0 elsewhere."""
    highest = recipe.loss(coefficients, np.full(len(losses), start * FARTHEST), ratio)
    return np.where(np.isnan(found) & (highest > losses), np.inf, 0.0)


def _needed(
    recipe: Recipe, coefficients: Array, losses: Array, start: Array, ratio: Array | None, errors: Array | None = None
) -> tuple[Array, str]:
    """Compute (N,) at which a law reaches losses (N,), nan where it does not, and why the first does not.

    Parameters
    ----------
    errors : (N,) of the law itself, on the scale of the scatter; None for none
    """

    def above(log_compute: Array) -> Array:
        """How far the law's loss lies above the one to be reached: as a logarithm where both are above 0."""
        values = recipe.loss(coefficients, np.exp(log_compute), ratio)
        if errors is not None:
            values = recipe.fitted.scatter.moved(values, errors)
        return np.asarray(np.where(is_ratio, np.log(values / losses), values - losses))

    low, high = np.log(start / FARTHEST), np.log(start * FARTHEST)
    is_ratio = np.zeros(len(losses), dtype=np.bool_)
    with np.errstate(all="ignore"):
        at_low, at_high = above(low), above(high)
        reason = _reason(losses[0], at_low[0], at_high[0])
        is_ratio = (losses > 0) & (losses + at_low > 0) & (losses + at_high > 0)  # bends less, so it is found sooner
        at_low, at_high = (np.where(is_ratio, np.log1p(end / losses), end) for end in (at_low, at_high))
        is_inside = (at_low >= 0) & (at_high <= 0)
        logs = _root(above, np.where(is_inside, low, np.nan), high, at_low, at_high)
        return np.exp(logs), reason


def _reason(loss: float, at_low: float, at_high: float) -> str:
    """Return why a loss is not reached between two computes, from how far above it the law lies; empty where it is."""
    if not np.isfinite([loss, at_low, at_high]).all():
        return "there is no loss: a law has none there, or no best size"
    if at_low <= at_high:
        return "the other law does not fall with compute"
    if at_high > 0:
        floor = loss + at_high
        return f"it is never reached: the other law stays at {floor:.6g} with {FARTHEST:.0e} times the compute"
    if at_low < 0:
        return f"it is reached with less than {1 / FARTHEST:.0e} times the compute"
    return ""


def _root(function: Callable[[Array], Array], low: Array, high: Array, at_low: Array, at_high: Array) -> Array:
    """Where falling functions (N,) are zero between two ends: false position, halved where it creeps (Illinois)."""
    low, high, at_low, at_high = low.copy(), high.copy(), at_low.copy(), at_high.copy()
    side = np.zeros(len(low))
    middle = low
    for step in range(MOST_STEPS):
        secant = low + (high - low) * at_low / (at_low - at_high)
        halves = step % 3 == 2  # every third step halves, so that a curve that is flat at one end costs little
        middle = np.where(halves | ~np.isfinite(secant), 0.5 * (low + high), secant)
        value = function(middle)
        is_above = value > 0
        at_high = np.where(is_above & (side > 0), 0.5 * at_high, at_high)
        at_low = np.where(~is_above & (side < 0), 0.5 * at_low, at_low)
        low, at_low = np.where(is_above, middle, low), np.where(is_above, value, at_low)
        high, at_high = np.where(is_above, high, middle), np.where(is_above, at_high, value)
        side = np.where(is_above, 1.0, -1.0)
        if not ((high - low > SAME) & (value != 0)).any():
            break
    return middle
