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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.errors import FitError, UsageError, did_you_mean
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.quantiles import student_quantile
from isoflop.queries.fitting.record import INTERVALS, Fit

Array = NDArray[np.float64]


def check_intervals(kind: str) -> None:
    """Check that intervals of a name exist.

    Raises
    ------
    UsageError : if they do not
    """
    if kind not in INTERVALS:
        hint = did_you_mean(kind, INTERVALS, f"choose from {', '.join(INTERVALS)}")
        raise UsageError(f"intervals '{kind}' do not exist", hint=hint)


def with_intervals(
    fit: Fit,
    X: ArrayLike,
    y: ArrayLike,
    kind: str,
    *,
    sample_weight: ArrayLike | None = None,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Fit:
    """Return a fit whose coefficients have intervals of another kind; where there can be none, a note says why.

    Parameters
    ----------
    fit : of the rows
    X, y, sample_weight, groups, fixed : as for the fit
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
    >>> found = with_intervals(fit_law(POWER, x, y, resamples=0), x, y, "profile")
    >>> found.intervals, bool(found.lower[2] < 0.3 < found.upper[2])
    ('profile', True)
    """
    check_intervals(kind)
    if kind == "percentile" or np.isnan(fit.coefficients).any():
        return fit
    found = _profiled if kind == "profile" else _jackknifed
    try:
        return found(fit, X, y, sample_weight, groups, fixed)
    except FitError as error:
        return replace(fit, notes=(*fit.notes, Note("no_intervals", f"no {kind} intervals: {error.message}")))


def _profiled(fit: Fit, X: ArrayLike, y: ArrayLike, sample_weight: Any, groups: Any, fixed: Any) -> Fit:
    """The fit with profile likelihood intervals."""
    from isoflop.queries.fitting.profile import profile_intervals

    found = profile_intervals(fit, X, y, sample_weight=sample_weight, groups=groups, fixed=fixed)
    lower, upper = fit.coefficients.copy(), fit.coefficients.copy()
    for one in found:
        position = fit.names.index(one.name)
        lower[position], upper[position] = one.lower, one.upper
    notes = [Note("intervals", f"{fit.level:.0%} profile likelihood intervals of the coefficients")]
    ends = [f"{one.name} {side}" for one in found for side, is_open in zip(("below", "above"), one.is_open, strict=True)
            if is_open]  # fmt: skip
    if ends:
        notes.append(Note("open_interval", f"the rows do not limit {', '.join(ends)}: the end is that of its domain"))
    return replace(fit, lower=lower, upper=upper, intervals="profile", notes=(*fit.notes, *notes))


def _jackknifed(fit: Fit, X: ArrayLike, y: ArrayLike, sample_weight: Any, groups: Any, fixed: Any) -> Fit:
    """The fit with intervals, standard errors and bias of the jackknife."""
    from isoflop.queries.fitting.jackknife import jackknife

    found = jackknife(fit, X, y, sample_weight=sample_weight, groups=groups, fixed=fixed)
    reach = student_quantile((1 + fit.level) / 2, len(found.coefficients) - 1) * found.std_errors
    centre = fit.coefficients - found.bias
    domain = np.array([[one.lower, one.upper] for one in fit.law.coefficients])
    lower, upper = (np.clip(end, domain[:, 0], domain[:, 1]) for end in (centre - reach, centre + reach))
    left_out = f"{len(found.coefficients)} {'rows' if groups is None else 'groups'}"
    note = Note("intervals", f"{fit.level:.0%} jackknife intervals of the coefficients, each of {left_out} left out")
    return replace(
        fit, std_errors=found.std_errors, lower=lower, upper=upper, bias=found.bias, intervals="jackknife",
        notes=(*fit.notes, note),
    )  # fmt: skip
