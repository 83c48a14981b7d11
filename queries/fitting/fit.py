"""Fitting a law: rows in, coefficients with intervals and a verdict out.

`fit_data` is the door for usable rows, `fit_law` the one for what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.queries.fitting import mixing
from isoflop.queries.fitting.data import Data, usable_rows
from isoflop.queries.fitting.options import FitKeywords, FitOptions
from isoflop.queries.fitting.record import Fit
from isoflop.queries.fitting.validation import forward_check
from isoflop.queries.laws.form_mixture import FormMixture
from isoflop.queries.laws.law import Law

CUT_STARTS = 8  # points that a forward cut starts from: the coefficients of the whole fit, and draws of it
CUT_RESAMPLES = 100  # of each forward cut: the ends of an interval within a twelfth, at half the price of 200


@np.errstate(all="ignore")  # what is not finite is looked at where it counts
def fit_data(law: Law, data: Data, options: FitOptions) -> Fit:
    """Return a law fitted to data, with its forward check where the options ask for one.

    Parameters
    ----------
    law : what to fit
    data : usable rows (`usable_rows`)
    options : how

    Returns
    -------
    Fit, whose status tells whether its coefficients can be used; with too few rows they are nan, and there is no
    forward check

    Raises
    ------
    FitError : if nothing is free to fit
    UsageError : if the options name a coefficient the law does not have
    """
    return checked_forward(mixing.run(law, data, options))


def checked_forward(found: Fit) -> Fit:
    """Return a fit of `mixing.run` with its forward check, where its options ask for one and it has coefficients."""
    options = found.options
    if not options.checks_forward or not np.isfinite(found.coefficients).all():
        return found
    return replace(found, forward=forward_check(found.law, found.data, _of_cuts(found, options)))


def _of_cuts(fit: Fit, options: FitOptions) -> FitOptions:
    """How the forward check fits the small rows: from where the fit to all rows ended, and where its resamples did."""
    how = options.of_cuts
    how = replace(how, resamples=min(how.resamples, CUT_RESAMPLES))
    draws = fit.draws[np.isfinite(fit.draws).all(axis=1)]
    if len(draws) < CUT_STARTS and not isinstance(fit.law, FormMixture):
        return how  # it searches as a fit of its own does
    some = np.unique(np.linspace(0, max(len(draws) - 1, 0), CUT_STARTS - 1).astype(int))[: len(draws)]
    return replace(how, starts=np.concatenate([fit.coefficients[None], draws[some]]))


def fit_law(
    law: Law,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    row_name: Callable[[int], str] | None = None,
    **options: Unpack[FitKeywords],
) -> Fit:
    """Fit a law to rows.

    Parameters
    ----------
    law : what to fit
    X : (R, P) inputs in the law's order; nan where missing
    y : (R,) measured values in the target's unit; nan where missing
    sample_weight : (R,) weights >= 0 of the rows
    groups : (R,) labels of rows that belong together; whole groups are resampled
    row_name : what notes call the row at a position; `row` and the position from 0 when None
    options : the fields of `FitOptions`, such as `objective`, `resamples`, `seed`, `level`, `fixed`, `forward`

    Returns
    -------
    Fit, whose status tells whether its coefficients can be used; with too few rows they are nan

    Raises
    ------
    EmptySelection : if no row is usable
    FitError : if shapes do not match or nothing is free to fit
    UsageError : if an option is out of its range, or names a coefficient the law does not have

    Example
    -------
    >>> from isoflop.queries.laws import POWER
    >>> x = np.logspace(6, 9, 20)
    >>> fit = fit_law(POWER, x[:, None], 1.5 + 400 / x**0.3, resamples=0)
    >>> fit.status, [round(float(one), 6) for one in fit.coefficients]
    ('converged', [1.5, 400.0, 0.3])
    """
    how = FitOptions(**options)
    return fit_data(law, usable_rows(law, X, y, sample_weight, groups, row_name, how.objective), how)
