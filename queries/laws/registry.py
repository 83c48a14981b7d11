"""Names to laws: the built-in ones and those that installed packages declare."""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

from isoflop.lakehouse.errors import UnknownName, UsageError, did_you_mean
from isoflop.queries.laws.additive import ADDITIVE
from isoflop.queries.laws.annealing_curve import ANNEALING_CURVE
from isoflop.queries.laws.bnsl import BNSL, BNSL2, BNSL3
from isoflop.queries.laws.bounded_power import BOUNDED_POWER
from isoflop.queries.laws.chinchilla import CHINCHILLA
from isoflop.queries.laws.chinchilla_tied import CHINCHILLA_TIED
from isoflop.queries.laws.compute_loss import COMPUTE_LOSS
from isoflop.queries.laws.critical_batch import CRITICAL_BATCH, CRITICAL_BATCH_OF_LOSS
from isoflop.queries.laws.data_constrained import DATA_CONSTRAINED
from isoflop.queries.laws.distillation import DISTILLATION
from isoflop.queries.laws.kaplan import KAPLAN
from isoflop.queries.laws.kaplan_floor import KAPLAN_FLOOR
from isoflop.queries.laws.law import Law, coefficient_names, input_names
from isoflop.queries.laws.learning_curves import EXP4, ILOG2, MMF4, VAP3, WBL4
from isoflop.queries.laws.loss_in_time import LOSS_IN_TIME
from isoflop.queries.laws.margin_growth import MARGIN_GROWTH
from isoflop.queries.laws.mixture import FAMILIES, FEWEST, MIXTURE3, MIXTURE_ADDITIVE3, MOST
from isoflop.queries.laws.moe import MOE
from isoflop.queries.laws.moe_granularity import MOE_GRANULARITY
from isoflop.queries.laws.multi_power import MULTI_POWER
from isoflop.queries.laws.nqs import NQS, NQS_REGULARIZED
from isoflop.queries.laws.optimal_batch import OPTIMAL_BATCH
from isoflop.queries.laws.optimal_learning_rate import OPTIMAL_LEARNING_RATE
from isoflop.queries.laws.optimal_params import OPTIMAL_PARAMS
from isoflop.queries.laws.optimal_tokens import OPTIMAL_TOKENS
from isoflop.queries.laws.overtraining import OVERTRAINING
from isoflop.queries.laws.plain_power import PLAIN_POWER
from isoflop.queries.laws.power import POWER
from isoflop.queries.laws.precision import PRECISION
from isoflop.queries.laws.ptq import PTQ
from isoflop.queries.laws.saturating_power import SATURATING_POWER
from isoflop.queries.laws.shifted_power import SHIFTED_POWER
from isoflop.queries.laws.sigmoid import SIGMOID
from isoflop.queries.laws.smooth_max import SMOOTH_MAX
from isoflop.queries.laws.step_time import STEP_TIME
from isoflop.queries.laws.task_accuracy import TASK_ACCURACY
from isoflop.queries.laws.task_error import TASK_ERROR
from isoflop.queries.laws.transfer import TRANSFER
from isoflop.queries.laws.vocabulary import VOCABULARY
from isoflop.queries.laws.width_depth import WIDTH_DEPTH

GROUP = "isoflop.laws"  # entry-point group; each entry names a law object

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        POWER,
        PLAIN_POWER,
        SHIFTED_POWER,
        SATURATING_POWER,
        BOUNDED_POWER,
        BNSL,
        BNSL2,
        BNSL3,
        COMPUTE_LOSS,
        CHINCHILLA,
        CHINCHILLA_TIED,
        KAPLAN,
        KAPLAN_FLOOR,
        OVERTRAINING,
        TASK_ERROR,
        TASK_ACCURACY,
        SIGMOID,
        MMF4,
        WBL4,
        EXP4,
        VAP3,
        ILOG2,
        MARGIN_GROWTH,
        DATA_CONSTRAINED,
        WIDTH_DEPTH,
        PRECISION,
        PTQ,
        MOE,
        MOE_GRANULARITY,
        VOCABULARY,
        TRANSFER,
        DISTILLATION,
        MIXTURE3,
        MIXTURE_ADDITIVE3,
        ADDITIVE,
        SMOOTH_MAX,
        NQS,
        NQS_REGULARIZED,
        ANNEALING_CURVE,
        MULTI_POWER,
        OPTIMAL_PARAMS,
        OPTIMAL_TOKENS,
        OPTIMAL_LEARNING_RATE,
        OPTIMAL_BATCH,
        CRITICAL_BATCH,
        CRITICAL_BATCH_OF_LOSS,
        STEP_TIME,
        LOSS_IN_TIME,
    )
}


def known_laws() -> dict[str, Law]:
    """Return every law by name: the built-in ones, then those of installed packages, which replace none."""
    return {**_outside_laws(), **_of_other_sizes(), **LAWS}


def listed_laws() -> dict[str, Law]:
    """Return the laws to show: all that are known, of a family with a number in its name only one."""
    return {**_outside_laws(), **LAWS}


@functools.cache
def _of_other_sizes() -> dict[str, Law]:
    """The laws of mixtures of every number of proportions, which one of each family in LAWS stands for."""
    laws = [family(count) for family, _ in FAMILIES.values() for count in range(FEWEST, MOST + 1)]
    return {law.name: law for law in laws}


@functools.cache
def _outside_laws() -> dict[str, Law]:
    found: dict[str, Law] = {}
    for entry in entry_points(group=GROUP):
        law = entry.load()
        if not isinstance(law, Law):
            raise UsageError(
                f"entry point '{entry.name}' of group {GROUP} has the type {type(law).__name__}, which is no law; "
                f"make it an object of a class that inherits from Law (isoflop.queries.laws) and defines predict"
            )
        try:
            found[law.name] = law
            coefficient_names(law), input_names(law)
        except AttributeError as error:
            raise UsageError(
                f"entry point '{entry.name}' of group {GROUP}, of type {type(law).__name__}, has no {error.name}; "
                f"a law says name, inputs, coefficients and predict"
            ) from error
    return found


def find_law(name: str) -> Law:
    """Return the law of a name.

    Parameters
    ----------
    name : as in `SHOW LAW FORMS`, in any case

    Raises
    ------
    UnknownName : with the nearest name

    Example
    -------
    >>> find_law("chinchilla").formula
    'E + A / params ^ alpha + B / tokens ^ beta'
    """
    laws = known_laws()
    law = laws.get(name) or laws.get(name.lower())
    if law is None:
        hint = did_you_mean(name, laws, f"SHOW LAW FORMS lists all {len(listed_laws())}")
        raise UnknownName("Catalog", f"law form '{name}' does not exist", name, 0, len(name), hint=hint)
    return law
