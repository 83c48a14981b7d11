"""The jackknife: the fit without each row, or each group of rows, in turn.

It says which rows a coefficient hangs on, and gives standard errors without chance. All fits are one call of the
solver.

Source: Efron and Tibshirani 1993, ch. 11; without groups Quenouille 1956, Biometrika 43, 353.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.errors import FitError
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.fit import fit_law
from isoflop.queries.fitting.record import Fit
from isoflop.queries.fitting.resampling import GivenWeights

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


def jackknife(
    fit: Fit,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Jackknife:
    """Return the jackknife of a fit.

    Parameters
    ----------
    fit : of the rows
    X, y, sample_weight, groups : the rows, as for `fit_law`; whole groups are left out
    fixed : coefficient values that the fit kept

    Raises
    ------
    FitError : if a fit without a row cannot be made: there are no more rows than coefficients
    """
    rows = usable_rows(fit.law, X, y, sample_weight, groups)
    labels = np.arange(len(rows)) if rows.groups is None else rows.groups
    count = int(labels.max()) + 1
    if np.isnan(fit.coefficients).any() or count <= len(fit.coefficients):
        raise FitError(f"{count} rows or groups are too few to leave one out of {fit.law.name}")
    masks = (labels[None, :] != np.arange(count)[:, None]).astype(np.float64)
    own = {name: float(value) for name, value in zip(fit.names, fit.coefficients, strict=True)}
    again = fit_law(
        fit.law, rows.inputs, rows.values, sample_weight=rows.weights, objective=fit.penalty,
        resampling=GivenWeights(masks), resamples=count, starts=fit.coefficients[None],
        init={name: value for name, value in own.items() if np.isfinite(value)}, seed=fit.seed, fixed=fixed,
    )  # fmt: skip
    if len(again.draws) < count:
        raise FitError(f"{count - len(again.draws)} of {count} fits without a row fell apart")
    left_out = again.draws
    middle = left_out.mean(axis=0)
    errors = np.sqrt((count - 1) / count * ((left_out - middle) ** 2).sum(axis=0))
    with np.errstate(all="ignore"):
        influence = np.where(errors > 0, (fit.coefficients - left_out) / errors, 0.0)
    return Jackknife(left_out, errors, (count - 1) * (middle - fit.coefficients), influence)
