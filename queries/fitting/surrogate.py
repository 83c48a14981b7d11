"""Laws that are not fitted themselves: they predict with the coefficients of a fit of another (`law.surrogate`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isoflop.queries.fitting.likelihood import criteria
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.record import Fit
from isoflop.queries.fitting.scale import residual_scale
from isoflop.queries.laws.law import Law
from isoflop.queries.laws.objectives import row_factors


def as_fit_of(law: Law, plain: Fit) -> Fit:
    """Return the fit of one law as that of another with the same coefficients, judged by its own predictions.

    Parameters
    ----------
    law : predicts with the coefficients
    plain : the fit of `law.surrogate`
    """
    note = Note("fitted_as", f"the coefficients are those of {plain.law.name}; {law.name} predicts with them")
    if np.isnan(plain.coefficients).any():
        return replace(plain, law=law).noting([note])
    data, penalty = plain.data, plain.solution.penalty
    with np.errstate(all="ignore"):
        residuals = data.scatter.between(data.target, np.asarray(law.predict(plain.coefficients, data.inputs)))
    num_free = len(plain.coefficients) - int(np.count_nonzero(plain.std_errors == 0))
    factors = row_factors(penalty, data.target, data.scatter.is_additive)
    total = float(penalty.weigh(residuals / data.scatter.size, True)[0] @ (data.weight * factors))
    solution = replace(
        plain.solution, residuals=residuals, residual_scale=residual_scale(residuals, data.weight, num_free),
        search=replace(plain.solution.search, objective=total),
    )  # fmt: skip
    values = data.scatter.on_scale(data.target)
    judged = criteria(values, residuals, data.weight, penalty, total, num_free, data.scatter)
    return replace(plain, law=law, solution=solution, criteria=judged).noting([note])
