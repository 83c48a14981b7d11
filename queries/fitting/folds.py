"""What a law makes of rows it has not seen: a fold, and the forward check from small runs to large ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.scatter import MULTIPLICATIVE, Scatter
from isoflop.queries.fitting.splits import Indices
from isoflop.queries.fitting.widening import Widening, growth

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fold:
    """A law fitted to some rows and judged on others.

    Parameters
    ----------
    fold : number of the fold, from 0
    train, test : positions among the given rows; unusable rows are left out
    coefficients : (K,) fitted to the training rows; nan when they are too few
    predicted, lower, upper : (T,) for the test rows, with prediction intervals
    measured : (T,) test values
    mape : mean of |predicted / measured - 1| [1]; mean of |predicted - measured| over that of |measured| where the
        scatter is additive
    rmse_log : root mean square of log predicted - log measured [1]; nan where the scatter is additive
    bias : mean of log predicted - log measured [1], or of predicted - measured in the target's unit; positive
        when the law is pessimistic about loss
    coverage : share of test rows inside their interval [1]
    status : of the fit
    """

    fold: int
    train: Indices
    test: Indices
    coefficients: Array
    predicted: Array
    lower: Array
    upper: Array
    measured: Array
    mape: float
    rmse_log: float
    bias: float
    coverage: float
    status: str

    @property
    def n_train(self) -> int:
        """Number of training rows."""
        return len(self.train)

    @property
    def n_test(self) -> int:
        """Number of test rows."""
        return len(self.test)


@dataclass(frozen=True, eq=False, repr=False)
class ForwardCheck:
    """How well the small runs foretold the large ones.

    Parameters
    ----------
    folds : one per cut, from little to learn from to much
    median_error, p90_error : quantiles of |log predicted - log measured| over all held-out rows [1], or of
        |predicted - measured| in the target's unit
    coverage : share of them inside their intervals [1]
    level : what it should be [1]
    widening : how intervals grow beyond the rows
    notes : what the user should know
    scatter : the scale of the errors
    """

    folds: tuple[Fold, ...]
    median_error: float
    p90_error: float
    coverage: float
    level: float
    widening: Widening
    notes: tuple[Note, ...]
    scatter: Scatter = MULTIPLICATIVE

    def __repr__(self) -> str:
        if not self.folds:
            return "forward check: not enough rows"
        middle, ninth = (
            f"{error:.4g}" if self.scatter.is_additive else f"{error:.2%}"
            for error in (self.median_error, self.p90_error)
        )
        return (
            f"forward check over {len(self.folds)} cuts: median error {middle}, "
            f"p90 {ninth}, {self.coverage:.0%} inside the {self.level:.0%} interval, "
            f"beyond the rows {growth(self.widening, self.level, self.scatter)}"
        )


def mean_error(scatter: Scatter, measured: Array, predicted: Array) -> float:
    """Return the mean of relative errors [1]; where the scatter is additive, the mean error over the mean size.

    Parameters
    ----------
    measured, predicted : (R,) in the target's unit

    Example
    -------
    >>> mean_error(Scatter(1.0), np.array([-1.0, 3.0]), np.array([0.0, 3.0]))
    0.25
    """
    if scatter.is_additive:
        return float(np.mean(np.abs(predicted - measured)) / np.mean(np.abs(measured)))
    return float(np.mean(np.abs(predicted / measured - 1)))
