"""Predictions with intervals, and how far beyond the rows they reach.

A resample gives one plausible curve; all of them give the spread of the curve itself (`confidence`). A new run
also scatters around its curve, so its interval adds the residuals' spread (`prediction`). Beyond the rows both are
too narrow where the law is a little wrong; a fit with a forward check adds what that check found, the more the
further a prediction lies from the rows (`widening`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.errors import FitError, UsageError
from isoflop.queries.fitting.record import Fit, FittedLaw
from isoflop.queries.laws.law import input_names

Array = NDArray[np.float64]

KINDS = ("prediction", "confidence")
FEWEST_VALUES = 1000  # values a quantile is taken of: few draws are repeated, each with other noise
CHUNK = 2_000_000  # values computed at a time


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a law predicts for rows, with intervals.

    Parameters
    ----------
    predicted : (R,) in the target's unit
    lower, upper : (R,) ends of the interval; nan when the fit has no resamples
    level : coverage of the interval [1]
    kind : `prediction` for a new run, `confidence` for the curve
    ratio : (R, P) input over the largest one fitted on; 10 is one decade beyond
    in_support : (R,) whether every input lies between the lowest and the largest fitted on
    """

    predicted: Array
    lower: Array
    upper: Array
    level: float
    kind: str
    ratio: Array
    in_support: NDArray[np.bool_]


def predict(fit: Fit | FittedLaw, X: ArrayLike, level: float = 0.95, kind: str = "prediction") -> Prediction:
    """Return predictions of a fitted law with intervals.

    Parameters
    ----------
    fit : a fit, or a law with stored coefficients and draws
    X : (R, P) inputs in the law's order
    level : coverage of the interval [1], between 0 and 1
    kind : `prediction` for where a new run falls, `confidence` for where the curve lies

    Raises
    ------
    UsageError : if level or kind is not one of those
    FitError : if X does not have the law's inputs
    """
    if not 0 < level < 1:
        raise UsageError(f"level is {level!r}, expected a number between 0 and 1, such as 0.95")
    if kind not in KINDS:
        raise UsageError(f"interval kind '{kind}' does not exist; choose from {', '.join(KINDS)}")
    fitted = fit.fitted if isinstance(fit, Fit) else fit
    inputs = np.asarray(X, dtype=np.float64)
    inputs = inputs[:, None] if inputs.ndim == 1 and len(fitted.law.inputs) == 1 else inputs
    if inputs.ndim != 2 or inputs.shape[1] != len(fitted.law.inputs):
        names = ", ".join(input_names(fitted.law))
        raise FitError(f"inputs have shape {inputs.shape}, expected (rows, {len(fitted.law.inputs)}) for {names}")
    predicted = np.asarray(fitted.law.predict(fitted.coefficients, inputs))
    lower, upper = _interval(fitted, inputs, level, kind)
    with np.errstate(all="ignore"):
        ratio = inputs / fitted.support[:, 1]
    slack = 1e-12 * np.abs(fitted.support)
    inside = (inputs >= (fitted.support - slack)[:, 0]) & (inputs <= (fitted.support + slack)[:, 1])
    in_support = np.asarray(inside.all(axis=1))
    widening = fitted.widening
    if widening is not None:
        half = widening.times(level) * widening.deviation(inputs)
        lower, upper = (
            widening.ends(fitted.scatter, predicted, end, half, side) for end, side in ((lower, -1), (upper, 1))
        )
    return Prediction(predicted, lower, upper, level, kind, ratio, in_support)


def spread(fitted: FittedLaw, kind: str = "prediction") -> tuple[Array, Array]:
    """Return the curves whose quantiles are an interval.

    Parameters
    ----------
    kind : `prediction` for where a new run falls, `confidence` for where the curve lies

    Returns
    -------
    (V, K) coefficients and (V,) what noise does to their predictions (`Scatter.noisy`); V is 0 without
    resamples. For predictions few draws are repeated, each with other noise
    """
    draws = fitted.draws[np.isfinite(fitted.draws).all(axis=1)]
    if kind == "prediction" and 0 < len(draws) < FEWEST_VALUES:
        draws = np.tile(draws, (-(-FEWEST_VALUES // len(draws)), 1))
    scale = fitted.residual_scale if kind == "prediction" else 0.0
    noise = scale * _normal_quantiles(len(draws))
    return draws, noise if fitted.scatter.is_additive else np.exp(noise)


def _interval(fitted: FittedLaw, inputs: Array, level: float, kind: str) -> tuple[Array, Array]:
    """Quantiles (R,) of the draws' predictions, with noise for a new run."""
    draws, noise = spread(fitted, kind)
    nothing = np.full(len(inputs), np.nan)
    if not len(draws):
        return nothing, nothing
    tail = (1 - level) / 2
    lower, upper = nothing.copy(), nothing.copy()
    size = max(1, CHUNK // len(draws))
    for first in range(0, len(inputs), size):
        chunk = slice(first, first + size)
        curves = fitted.scatter.noisy(np.asarray(fitted.law.predict(draws, inputs[chunk])), noise[:, None])
        usable = np.isfinite(curves).all(axis=0)
        curves[:, ~usable] = np.nan
        lower[chunk], upper[chunk] = np.quantile(curves, [tail, 1 - tail], axis=0)
    return lower, upper


@functools.lru_cache(maxsize=8)
def _normal_quantiles(count: int) -> Array:
    """Evenly spaced normal quantiles in an order that has nothing to do with the draws'."""
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf((k + 0.5) / count) for k in range(count)])
    return quantiles[np.random.default_rng(count).permutation(count)]
