"""Intervals of coefficients by name: from the resamples, the profile of the objective, or the jackknife.

* `percentile`: quantiles of the resamples. Cheap, follows skew, as good as the bootstrap behind it;
* `profile`: how far a coefficient goes before the others no longer make up for it. Sees bent valleys and works with
  few rows; an end that the rows do not limit is the edge of the coefficient's domain;
* `jackknife`: estimate less bias, plus and minus a Student quantile of the standard error over the fits without each
  row or group. Without chance, symmetric, and too short where the penalty is nearly the absolute value or the valley
  is bent: it is for finding bias and the rows that pull.

Predictions keep the resamples whatever is chosen here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import FitError
from isoflop.queries.fitting.draws import Intervals
from isoflop.queries.fitting.jackknife import jackknife
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.options import check_intervals
from isoflop.queries.fitting.profile import profile_intervals
from isoflop.queries.fitting.quantiles import student_quantile
from isoflop.queries.fitting.record import Fit

Array = NDArray[np.float64]


def with_intervals(fit: Fit, kind: str) -> Fit:
    """Return a fit whose coefficients have intervals of another kind; where there can be none, a note says why.

    Parameters
    ----------
    fit : of a law to data
    kind : one of `INTERVALS`

    Raises
    ------
    UsageError : if the kind does not exist

    Example
    -------
    >>> from isoflop.queries.fitting.fit import fit_law
    >>> from isoflop.queries.laws import POWER
    >>> x = np.logspace(6, 9, 20)
    >>> y = (1.5 + 400 / x**0.3) * np.exp(0.001 * np.sin(np.arange(20)))
    >>> found = with_intervals(fit_law(POWER, x, y, resamples=0), "profile")
    >>> found.intervals.kind, bool(found.lower[2] < 0.3 < found.upper[2])
    ('profile', True)
    """
    check_intervals(kind)
    if kind == "percentile" or np.isnan(fit.coefficients).any():
        return fit
    found = _profiled if kind == "profile" else _jackknifed
    try:
        intervals, notes = found(fit)
    except FitError as error:
        return fit.noting([Note("no_intervals", f"no {kind} intervals: {error.message}")])
    return replace(fit, intervals=intervals).noting(notes)


def _profiled(fit: Fit) -> tuple[Intervals, list[Note]]:
    """Profile likelihood intervals, and notes on them."""
    found = profile_intervals(fit)
    lower, upper = fit.coefficients.copy(), fit.coefficients.copy()
    for interval in found:
        position = fit.names.index(interval.name)
        lower[position], upper[position] = interval.lower, interval.upper
    notes = [Note("intervals", f"{fit.level:.0%} profile likelihood intervals of the coefficients")]
    ends = [
        f"{interval.name} {side}"
        for interval in found
        for side, is_open in zip(("below", "above"), interval.is_open, strict=True)
        if is_open
    ]
    if ends:
        notes.append(Note("open_interval", f"the rows do not limit {', '.join(ends)}: the end is that of its domain"))
    return Intervals("profile", fit.std_errors, lower, upper), notes


def _jackknifed(fit: Fit) -> tuple[Intervals, list[Note]]:
    """Intervals, standard errors and bias of the jackknife, and a note on them."""
    found = jackknife(fit)
    reach = student_quantile((1 + fit.level) / 2, len(found.coefficients) - 1) * found.std_errors
    center = fit.coefficients - found.bias
    domain = np.array([[coefficient.lower, coefficient.upper] for coefficient in fit.law.coefficients])
    lower, upper = (np.clip(end, domain[:, 0], domain[:, 1]) for end in (center - reach, center + reach))
    left_out = f"{len(found.coefficients)} {'rows' if fit.data.group is None else 'groups'}"
    note = Note("intervals", f"{fit.level:.0%} jackknife intervals of the coefficients, each of {left_out} left out")
    return Intervals("jackknife", found.std_errors, lower, upper, found.bias), [note]
