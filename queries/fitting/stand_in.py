"""Laws that are not fitted themselves: they predict with the coefficients of a fit of another (`law.surrogate`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isoflop.queries.fitting.intervals import residual_scale
from isoflop.queries.fitting.likelihood import criteria
from isoflop.queries.fitting.record import Fit, Note
from isoflop.queries.fitting.rows import Rows
from isoflop.queries.laws.law import Law
from isoflop.queries.laws.objectives import row_factors


def as_fit_of(law: Law, plain: Fit, rows: Rows) -> Fit:
    """Return the fit of one law as that of another with the same coefficients, judged by its own predictions.

    Parameters
    ----------
    law : predicts with the coefficients
    plain : the fit of `law.surrogate`
    rows : that were fitted
    """
    note = Note("fitted_as", f"the coefficients are those of {plain.law.name}; {law.name} predicts with them")
    if np.isnan(plain.coefficients).any():
        return replace(plain, law=law, notes=(*plain.notes, note))
    with np.errstate(all="ignore"):
        residuals = np.log(rows.values / np.asarray(law.predict(plain.coefficients, rows.inputs)))
    num_free = len(plain.coefficients) - int(np.count_nonzero(plain.std_errors == 0))
    total = float(plain.penalty.weigh(residuals, True)[0] @ (rows.weights * row_factors(plain.penalty, rows.values)))
    judged = criteria(np.log(rows.values), residuals, rows.weights, plain.penalty, total, num_free)
    return replace(
        plain, law=law, residuals=residuals, residual_scale=residual_scale(residuals, rows.weights, num_free),
        objective=total, r2=judged.r2, rmse_log=judged.rmse_log, log_likelihood=judged.log_likelihood,
        aicc=judged.aicc, bic=judged.bic, notes=(*plain.notes, note),
    )  # fmt: skip
