"""Which model a law gets: the one whose shape it has, so that the usual laws take the fast path."""

from __future__ import annotations

import math

from isoflop.lakehouse.errors import FitError
from isoflop.queries.fitting.scatter import MULTIPLICATIVE, Scatter
from isoflop.queries.fitting.shared_law import SharedLaw
from isoflop.queries.fitting.solver.general import GeneralModel
from isoflop.queries.fitting.solver.linear import LinearModel
from isoflop.queries.fitting.solver.model import Array, Model
from isoflop.queries.fitting.solver.nonnegative import MOST_UNKNOWNS
from isoflop.queries.fitting.solver.power_sum import PowerSumModel
from isoflop.queries.fitting.solver.stacked import StackedModel
from isoflop.queries.laws.law import Coefficient, Law, input_names
from isoflop.queries.laws.objectives import Link, Objective


def model_for(
    law: Law,
    coefficients: tuple[Coefficient, ...],
    inputs: Array,
    values: Array,
    objective: Objective,
    scatter: Scatter = MULTIPLICATIVE,
) -> Model:
    """Return a law on a set of rows, in the coordinates that suit it.

    Parameters
    ----------
    law : any law
    coefficients : the law's, with domains and fixed values as they hold for this fit
    inputs : (R, P) usable rows
    values : (R,) measured values, positive where their scatter is multiplicative
    objective : decides what a residual is
    scatter : whether residuals are plain differences, and in which unit

    Raises
    ------
    FitError : if the law is a sum of powers with more free amplitudes than can be solved for together
    """
    if objective.link is not Link.LOG and not objective.graduation() and _is_linear(law, coefficients):
        return LinearModel(law, coefficients, inputs, values, scatter.unit)
    if isinstance(law, SharedLaw):
        return StackedModel(law, coefficients, inputs, values, objective.link, unit=scatter.unit)
    law = law.with_coefficients(coefficients, keeps_chart=True) or law
    chart = law.charted
    if chart is not None:
        return GeneralModel(chart, chart.coefficients, inputs, values, objective.link, law, scatter.unit)
    if objective.link is Link.LOG and law.terms is not None and _has_terms(law) and _has_logs(law, inputs):
        _check_amplitudes(law)
        return PowerSumModel(law.terms, coefficients, input_names(law), inputs, values)
    return GeneralModel(law, coefficients, inputs, values, objective.link, unit=scatter.unit)


def _check_amplitudes(law: Law) -> None:
    """Refuse more free amplitudes than every subset of which can be tried."""
    fixed = {coefficient.name for coefficient in law.coefficients if coefficient.fixed is not None}
    free = {term.amplitude for term in law.terms or () if term.amplitude} - fixed
    if len(free) > MOST_UNKNOWNS:
        raise FitError(
            f"the law has {len(free)} free amplitudes, and at most {MOST_UNKNOWNS} are solved for together",
            hint=f"fix {len(free) - MOST_UNKNOWNS} of them, or leave terms out",
        )


def _is_linear(law: Law, coefficients: tuple[Coefficient, ...]) -> bool:
    free = [coefficient for coefficient in coefficients if coefficient.fixed is None]
    if len(free) > MOST_UNKNOWNS:
        return False
    if any(coefficient.upper != math.inf or coefficient.lower not in (0.0, -math.inf) for coefficient in free):
        return False
    return {coefficient.name for coefficient in free} <= set(law.linear)


def _has_terms(law: Law) -> bool:
    """Whether a sum of powers has a term left when fixed amplitudes of zero are out, and none is negative."""
    fixed = {coefficient.name: coefficient.fixed for coefficient in law.coefficients if coefficient.fixed is not None}
    sizes = [fixed.get(term.amplitude or "", 1.0) for term in law.terms or ()]
    return min(sizes) >= 0 and max(sizes) > 0


def _has_logs(law: Law, inputs: Array) -> bool:
    """Whether every input that is raised to a power is positive on all rows."""
    used = {name for term in law.terms or () for name in term.exponents}
    return bool((inputs[:, [name in used for name in input_names(law)]] > 0).all())
