"""The jackknife: the fit without each row, or each group of rows, in turn.

It says which rows a coefficient hangs on, and gives standard errors without chance. All fits are one call of the
solver.

Source: Efron and Tibshirani 1993, ch. 11; without groups Quenouille 1956, Biometrika 43, 353.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import FitError
from isoflop.queries.fitting.draws import resample
from isoflop.queries.fitting.options import FitOptions
from isoflop.queries.fitting.problem import Problem
from isoflop.queries.fitting.record import Fit
from isoflop.queries.fitting.resampling import GivenWeights
from isoflop.queries.fitting.solution import solve

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Jackknife:
    """A fit without each of its rows or groups.

    Parameters
    ----------
    coefficients : (G, K) without each of the G rows or groups, in order of first appearance
    std_errors : (K,) standard errors of the coefficients
    bias : (K,) by which the fit is estimated to lie off; subtract it
    influence : (G, K) by how much each row or group moves the fit, in standard errors [1]
    """

    coefficients: Array
    std_errors: Array
    bias: Array
    influence: Array


def jackknife(fit: Fit) -> Jackknife:
    """Return the jackknife of a fit, which leaves out whole groups where its rows come in groups.

    Parameters
    ----------
    fit : of a law to data

    Raises
    ------
    FitError : if a fit without a row cannot be made: there are no more rows than coefficients
    """
    labels, count = fit.data.labels, fit.data.num_groups
    if np.isnan(fit.coefficients).any() or count <= len(fit.coefficients):
        raise FitError(f"{count} rows or groups are too few to leave one out of {fit.law.name}")
    masks = (labels[None, :] != np.arange(count)[:, None]).astype(np.float64)
    left_out = _refitted(fit, masks)
    if len(left_out) < count:
        raise FitError(f"{count - len(left_out)} of {count} fits without a row failed")
    middle = left_out.mean(axis=0)
    errors = np.sqrt((count - 1) / count * ((left_out - middle) ** 2).sum(axis=0))
    with np.errstate(all="ignore"):
        influence = np.where(errors > 0, (fit.coefficients - left_out) / errors, 0.0)
    return Jackknife(left_out, errors, (count - 1) * (middle - fit.coefficients), influence)


def _refitted(fit: Fit, masks: Array) -> Array:
    """Coefficients (G, K) of the fit to rows with weights times masks (G, R); fewer where some failed."""
    options = FitOptions(
        objective=fit.solution.penalty, resamples=len(masks), resampling=GivenWeights(masks), seed=fit.options.seed,
        init={name: value for name, value in fit.values.items() if np.isfinite(value)}, fixed=fit.options.fixed,
        starts=fit.coefficients[None],
    )  # fmt: skip
    problem = Problem.of(fit.law, fit.data, options)
    generator = np.random.default_rng(options.seed)
    return resample(problem, solve(problem, options, generator), options, generator).draws
