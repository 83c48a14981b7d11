"""Names to theories: the built-in ones and those that installed packages declare."""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

from isoflop.lakehouse.errors import UnknownName, UsageError, did_you_mean
from isoflop.queries.theory.adaptive_kernels.theory import ADAPTIVE_KERNEL
from isoflop.queries.theory.covariance_sde import COVARIANCE_SDE
from isoflop.queries.theory.deep_linear_dmft import DEEP_LINEAR_DMFT
from isoflop.queries.theory.dmft_random_features import DMFT_RANDOM_FEATURES
from isoflop.queries.theory.feature_errors import OPTIMAL_FEATURE_BOUND
from isoflop.queries.theory.four_regimes import FOUR_REGIMES
from isoflop.queries.theory.grokking import GROKKING, GROKKING_WIDE
from isoflop.queries.theory.kernel_recursion import KERNEL_RECURSION
from isoflop.queries.theory.rich_training import RICH_TRAINING
from isoflop.queries.theory.theory import Theory
from isoflop.queries.theory.two_point import TWO_POINT
from isoflop.queries.theory.volterra_plrf import VOLTERRA_PLRF

GROUP = "isoflop.theories"  # entry-point group; each entry names a theory object

THEORIES: tuple[Theory, ...] = (
    VOLTERRA_PLRF,
    DMFT_RANDOM_FEATURES,
    TWO_POINT,
    RICH_TRAINING,
    DEEP_LINEAR_DMFT,
    OPTIMAL_FEATURE_BOUND,
    ADAPTIVE_KERNEL,
    GROKKING,
    GROKKING_WIDE,
    FOUR_REGIMES,
    COVARIANCE_SDE,
    KERNEL_RECURSION,
)


def known_theories() -> dict[str, Theory]:
    """Return every theory by name: the built-in ones, then those of installed packages, which replace none."""
    return {**_outside_theories(), **{theory.name: theory for theory in THEORIES}}


@functools.cache
def _outside_theories() -> dict[str, Theory]:
    found: dict[str, Theory] = {}
    for entry in entry_points(group=GROUP):
        theory = entry.load()
        if not isinstance(theory, Theory):
            raise UsageError(
                f"entry point '{entry.name}' of group {GROUP} has the type {type(theory).__name__}, which is no "
                f"theory; make it an object of a class that inherits from Theory (isoflop.queries.theory)"
            )
        try:
            found[theory.name] = theory
            _ = theory.family, theory.fields, theory.metrics, theory.source
        except AttributeError as error:
            raise UsageError(
                f"entry point '{entry.name}' of group {GROUP}, of type {type(theory).__name__}, has no {error.name}; "
                f"a theory says name, family, fields, metrics, source and predict"
            ) from error
    return found


def find_theory(name: str) -> Theory:
    """Return the theory of a name, in any case.

    Raises
    ------
    UnknownName : with the nearest name

    Example
    -------
    >>> find_theory("volterra_plrf").family
    'plrf'
    """
    theories = known_theories()
    theory = theories.get(name) or theories.get(name.lower())
    if theory is None:
        hint = did_you_mean(name, theories, f"there are {', '.join(theories)}")
        raise UnknownName("Catalog", f"theory '{name}' does not exist", name, 0, len(name), hint=hint)
    return theory
