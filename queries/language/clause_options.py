"""What the WITH list of each verb comes to."""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.queries.fitting import options as fitting
from isoflop.queries.language.defaults import OPTIMUM_RESAMPLES
from isoflop.queries.language.syntax.nodes import Expression, Name


@dataclass(frozen=True)
class ClauseOptions(fitting.FitOptions):
    """How a law is fitted, and what a statement may say beyond that.

    Parameters
    ----------
    forward : as for any fit; one that says nothing does so where there are intervals
    cluster : value that rows which belong together share, or None
    together : what the rows of a group were found to share without being told, or None
    compiled : whether all of the fit runs compiled; None where that pays. Its last digits depend on it
    is_asked : whether bootstrap or intervals were named, so that the answer shows them
    """

    forward: bool | None = None
    cluster: Expression | None = None
    together: str | None = None
    compiled: bool | None = None
    is_asked: bool = False

    @property
    def bootstrap(self) -> str | None:
        """How rows are redrawn, one of `BOOTSTRAPS`; None goes by the numbers of rows and groups alone."""
        return None if self.resampling is None else self.resampling.name


@dataclass(frozen=True)
class IntervalOptions:
    """What interval a prediction has; `level` None takes the one of the law."""

    level: float | None = None
    interval: str = "prediction"


@dataclass(frozen=True)
class ForecastOptions(IntervalOptions):
    """How a forecast is made; `tolerance` is the relative distance up to which a run's inputs are those of it.

    A run stops at a whole batch and counts its parameters exactly, while a forecast is made at round numbers: that
    is parts in a thousand at most. It moves the loss by less than another seed does.
    """

    tolerance: float = 1e-3


@dataclass(frozen=True)
class ApproachOptions:
    """How the approaches to the best size are compared.

    Parameters
    ----------
    fit : of the law of approach 3, with the resamples that all approaches share
    budgets : compute [flop] of the slices of equal compute; None finds them among the rows
    tolerance : relative distance [1] from a budget within which a run belongs to it
    curves : value that the points of one learning curve share; None when every row is a finished run
    flops : training compute [flop]; None takes the column `flops`, or 6 params tokens without one
    """

    fit: ClauseOptions
    budgets: tuple[float, ...] | None = None
    tolerance: float = 0.1
    curves: Expression | None = None
    flops: Expression | None = None


@dataclass(frozen=True)
class OptimumOptions:
    """How the optimum of a swept setting is read off each cell.

    Parameters
    ----------
    tolerance : relative distance [1] up to which rows are of one cell
    within : share [1] of the best value of a cell beyond which rows are left out; None leaves none out
    resamples, seed : draws of each parabola, and of which random numbers
    level : share that intervals cover [1]
    """

    tolerance: float = 1e-3
    within: float | None = None
    resamples: int = fitting.FitOptions.resamples
    seed: int = 0
    level: float = fitting.FitOptions.level


@dataclass(frozen=True)
class PlanOptions(IntervalOptions):
    """How a plan is made.

    Parameters
    ----------
    resamples : how many resamples of the law say how sure an optimum is; 0 for none
    seed : of random steps
    time_law : name of the law that `seconds` are computed by, or None
    per : cost that what is gained is divided by, as typed, or None
    """

    resamples: int = OPTIMUM_RESAMPLES
    seed: int = 0
    time_law: Name | None = None
    per: Expression | None = None


@dataclass(frozen=True)
class GivenOptions:
    """What is said of a law of given coefficients.

    Parameters
    ----------
    residual_scale : scatter of a run about the law, of its log [1] or in the target's unit; None where it is not known
    scatter : which of the two, `relative` or `additive`
    resamples, seed : how many draws of the coefficients are made of their errors, and of which random numbers
    level : share that intervals cover [1]
    """

    residual_scale: float | None = None
    scatter: str = "relative"
    resamples: int = fitting.FitOptions.resamples
    seed: int = 0
    level: float = fitting.FitOptions.level
