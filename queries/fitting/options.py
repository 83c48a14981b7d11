"""How a law is fitted: what is minimized, from where, with which resamples and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from numpy.typing import ArrayLike

from isoflop.lakehouse.errors import UsageError, did_you_mean
from isoflop.queries.fitting.resampling import Resampling
from isoflop.queries.laws.objectives import Objective

INTERVALS = ("percentile", "profile", "jackknife")  # of coefficients (`coefficient_intervals`)
FORWARD_RESAMPLES = 200  # of each fold, each forward cut and each law of an average: enough for the ends of an interval


def check_intervals(kind: str) -> None:
    """Check that intervals of a name exist.

    Raises
    ------
    UsageError : if they do not
    """
    if kind not in INTERVALS:
        hint = did_you_mean(kind, INTERVALS, f"choose from {', '.join(INTERVALS)}")
        raise UsageError(f"intervals '{kind}' do not exist", hint=hint)


@dataclass(frozen=True)
class FitOptions:
    """How a law is fitted.

    Parameters
    ----------
    objective : penalty to minimize; the law's own when None
    resamples : number of bootstrap resamples; 0 leaves intervals empty
    resampling : the bootstrap, such as `AutoBootstrap()`; chosen by `default_resampling` when None
    seed : of random starts and resamples; the same seed gives the same fit
    level : coverage of the intervals [1]
    init : coefficient values to start from as well
    fixed : coefficient values to keep
    starts : (S, K_all) coefficients to start from instead of the built-in seeds; up to 64 of them are also tried
        with their linear coefficients solved for
    forward : whether the large rows are also predicted from the small ones (`forward_check`), to widen intervals
        beyond the rows; None does so where there are resamples
    intervals : of the coefficients, one of `INTERVALS` (`coefficient_intervals`)

    Raises
    ------
    UsageError : if an option is out of its range
    """

    objective: Objective | None = None
    resamples: int = 1000
    resampling: Resampling | None = None
    seed: int = 0
    level: float = 0.95
    init: Mapping[str, float] | None = None
    fixed: Mapping[str, float] | None = None
    starts: ArrayLike | None = field(default=None, compare=False)
    forward: bool | None = False
    intervals: str = "percentile"

    def __post_init__(self) -> None:
        if self.resamples < 0:
            raise UsageError(f"resamples is {self.resamples}, expected 0 or more")
        if not 0 < self.level < 1:
            raise UsageError(f"level is {self.level!r}, expected a number between 0 and 1, such as 0.95")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}, expected 0 or more")
        check_intervals(self.intervals)

    @property
    def checks_forward(self) -> bool:
        """Whether the large rows are predicted from the small ones."""
        return self.resamples > 0 if self.forward is None else self.forward

    @property
    def of_cuts(self) -> FitOptions:
        """How the forward check of a fit fits the small rows: one with few resamples is meant to be quick."""
        resamples = min(self.resamples, FORWARD_RESAMPLES) or FORWARD_RESAMPLES
        return FitOptions(
            objective=self.objective, resamples=resamples, seed=self.seed, level=self.level, init=self.init,
            fixed=self.fixed,
        )  # fmt: skip


FOLD_OPTIONS = FitOptions(resamples=FORWARD_RESAMPLES)  # of folds, forward cuts and averages, unless others are given


class FitKeywords(TypedDict, total=False):
    """The fields of `FitOptions`, as keywords of `fit_law`."""

    objective: Objective | None
    resamples: int
    resampling: Resampling | None
    seed: int
    level: float
    init: Mapping[str, float] | None
    fixed: Mapping[str, float] | None
    starts: ArrayLike | None
    forward: bool | None
    intervals: str
