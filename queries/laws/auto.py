"""The forms that `auto` averages: those which rows of one input, or of two, may follow.

Forms of different shapes: with a floor, with a late start, with a plateau, between two bounds, with a break.
What their mean predicts of planted curves and of published runs is printed by tests/bench/bench_auto.py.
"""

from __future__ import annotations

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.laws.bnsl import BNSL
from isoflop.queries.laws.bounded_power import BOUNDED_POWER
from isoflop.queries.laws.chinchilla import CHINCHILLA
from isoflop.queries.laws.chinchilla_tied import CHINCHILLA_TIED
from isoflop.queries.laws.form_mixture import FormMixture
from isoflop.queries.laws.kaplan import KAPLAN
from isoflop.queries.laws.law import Law
from isoflop.queries.laws.power import POWER
from isoflop.queries.laws.saturating_power import SATURATING_POWER
from isoflop.queries.laws.shifted_power import SHIFTED_POWER
from isoflop.queries.laws.smooth_max import SMOOTH_MAX

AUTO = "auto"
USAGES = ("auto(x)", "auto(params, tokens)")
FORMS: dict[int, tuple[Law, ...]] = {
    1: (POWER, SHIFTED_POWER, SATURATING_POWER, BOUNDED_POWER, BNSL),
    2: (CHINCHILLA, CHINCHILLA_TIED, KAPLAN, SMOOTH_MAX),
}


def auto_law(count: int) -> FormMixture:
    """Return the mixture of the forms of a number of inputs.

    Raises
    ------
    UsageError : if there are forms for one input and for two, not for so many

    Example
    -------
    >>> auto_law(2).formula
    'auto(params, tokens), a weighted mean of chinchilla, chinchilla_tied, kaplan, smooth_max'
    """
    if count not in FORMS:
        raise UsageError(f"auto takes one input or two, got {count}", hint=f"write {' or '.join(USAGES)}")
    return FormMixture(AUTO, FORMS[count])


def auto_laws() -> tuple[FormMixture, ...]:
    """Return the mixtures of all numbers of inputs, the fewest first."""
    return tuple(map(auto_law, sorted(FORMS)))
