"""Names to objectives, for statements and stored laws."""

from __future__ import annotations

from collections.abc import Callable

from isoflop.lakehouse.errors import UsageError, did_you_mean
from isoflop.queries.laws.objectives import Huber, LeastAbsolute, LeastSquares, Objective, PlainSquares, RelativeSquares
from isoflop.queries.laws.robust_objectives import AsymmetricHuber, HuberLikelihood, PlainHuber

OBJECTIVES: dict[str, Callable[[float], Objective]] = {
    "huber_log": Huber,
    "huber_likelihood": HuberLikelihood,
    "asymmetric_huber": AsymmetricHuber,
    "least_squares_log": lambda delta: LeastSquares(),
    "least_absolute_log": lambda delta: LeastAbsolute(),
    "relative_squares": lambda delta: RelativeSquares(),
    "least_squares": lambda delta: PlainSquares(),
    "huber_plain": PlainHuber,
}

WITH_DELTA = ("huber_log", "huber_likelihood", "asymmetric_huber", "huber_plain")
ANY_SIGN = (
    "least_squares",
    "huber_plain",
)  # whose residuals are plain differences, of a target that need not be positive


def find_objective(name: str, delta: float = 1e-3) -> Objective:
    """Return the objective a statement names.

    Parameters
    ----------
    name : one of `OBJECTIVES`
    delta : residual [1] beyond which those of `WITH_DELTA` are linear

    Raises
    ------
    UsageError : with the nearest name

    Example
    -------
    >>> find_objective("huber_log", 0.01)
    Huber(delta=0.01)
    """
    if name not in OBJECTIVES:
        hint = did_you_mean(name, OBJECTIVES, f"choose from {', '.join(OBJECTIVES)}")
        raise UsageError(f"objective '{name}' does not exist", hint=hint)
    return OBJECTIVES[name](delta)
