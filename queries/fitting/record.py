"""What a fit is, once made: coefficients with their uncertainty, and everything needed to judge them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.laws.law import Law, coefficient_names, input_names
from isoflop.queries.laws.objectives import Objective

if TYPE_CHECKING:
    from isoflop.queries.fitting.validation import ForwardCheck

Array = NDArray[np.float64]

INTERVALS = ("percentile", "profile", "jackknife")  # of coefficients (`coefficient_intervals`)


@dataclass(frozen=True)
class Note:
    """Something a person should know about a fit.

    Parameters
    ----------
    code : machine-readable name, e.g. `exponent_at_bound`
    message : one line for people
    """

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@dataclass(frozen=True, eq=False)
class FittedLaw:
    """A law with fitted coefficients: what a prediction needs, and what the table `laws` keeps.

    Parameters
    ----------
    law : with K coefficients and P inputs
    coefficients : (K,) in the law's order
    draws : (B, K) coefficients of the resamples; B may be 0
    residual_scale : spread of log residuals [1], as the scale of a normal
    support : (P, 2) lowest and largest value of each input among the rows
    widening : factor >= 1 by which the forward check widens intervals far beyond the rows
    edge : lowest and largest log of the product of a row's inputs, or None when it is not known
    """

    law: Law
    coefficients: Array
    draws: Array
    residual_scale: float
    support: Array
    widening: float = 1.0
    edge: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A law fitted to rows. Printing it shows its coefficients and its health.

    Parameters
    ----------
    law : with K coefficients and P inputs
    coefficients : (K,) in the law's order; nan when there was nothing to return
    std_errors : (K,) standard deviations over the resamples; nan without resamples
    lower, upper : (K,) ends of the coefficients' intervals at `level`; percentiles are expanded where rows are few
    level : coverage of all intervals [1]
    at_bound : (K,) whether a coefficient lies on the edge of its domain
    draws : (B, K) coefficients of the resamples
    residuals : (R,) log measured minus log predicted [1], in the order of the usable rows
    residual_scale : spread of the residuals [1], as the scale of a normal with the same central range
    penalty : what was minimised
    objective : its sum over rows, with weights
    rows : number of usable rows
    dropped : number of unusable rows
    status : `converged`, `not_converged`, `singular` or `too_few_rows`
    reason : why the status is not `converged`, else None
    notes : what a person should know
    condition : condition number [1] of the coefficients' curvature, scaled to unit diagonal
    basin_share : fraction of starts that reached the best objective
    second_best : objective of the next basin, or None when all starts agree
    starts : number of starts
    support : (P, 2) lowest and largest value of each input among the rows
    data_hash : 16 hexadecimal digits that identify the rows, in any order
    r2, rmse_log : of log values [1]
    log_likelihood, aicc, bic : under the density whose negative logarithm is the penalty, its scale fitted
    seed : of the starts and the resamples
    forward : the forward check, if one was asked for
    kept : (R,) positions of the usable rows among those given
    edge : lowest and largest log of the product of a row's inputs
    bootstrap : name of the bootstrap behind the draws; None without draws, or with weights that were given
    intervals : what `lower` and `upper` are, one of `INTERVALS`
    bias : (K,) by which the jackknife estimates the coefficients to lie off; None with other intervals
    """

    law: Law
    coefficients: Array
    std_errors: Array
    lower: Array
    upper: Array
    level: float
    at_bound: NDArray[np.bool_]
    draws: Array
    residuals: Array
    residual_scale: float
    penalty: Objective
    objective: float
    rows: int
    dropped: int
    status: str
    reason: str | None
    notes: tuple[Note, ...]
    condition: float
    basin_share: float
    second_best: float | None
    starts: int
    support: Array
    data_hash: str
    r2: float
    rmse_log: float
    log_likelihood: float
    aicc: float
    bic: float
    seed: int
    kept: NDArray[np.int64]
    forward: ForwardCheck | None = None
    edge: tuple[float, float] | None = None
    bootstrap: str | None = None
    intervals: str = "percentile"
    bias: Array | None = None

    @property
    def is_converged(self) -> bool:
        """Whether the coefficients are the optimum and told apart by the rows."""
        return self.status == "converged"

    @property
    def names(self) -> tuple[str, ...]:
        """The K coefficient names."""
        return coefficient_names(self.law)

    @property
    def values(self) -> dict[str, float]:
        """Coefficients by name."""
        return dict(zip(self.names, self.coefficients.tolist(), strict=True))

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the notes."""
        return tuple(note.code for note in self.notes)

    @property
    def widening(self) -> float:
        """Factor by which intervals far beyond the rows are widened; 1 without a forward check."""
        return 1.0 if self.forward is None else self.forward.widening

    @property
    def fitted(self) -> FittedLaw:
        """What predictions need of this fit."""
        return FittedLaw(
            self.law, self.coefficients, self.draws, self.residual_scale, self.support, self.widening, self.edge
        )

    def macro(self, name: str) -> str:
        """Return the statement that creates this fit as an SQL macro.

        Raises
        ------
        UsageError : if SQL cannot compute the law
        """
        text = self.law.macro(name, self.coefficients)
        if text is None:
            raise UsageError(f"law '{self.law.name}' has no SQL function", hint="predict() computes it")
        return text

    def __repr__(self) -> str:
        head = f"{self.law.name}: {self.law.formula}   [{self.status}{f': {self.reason}' if self.reason else ''}]"
        rows: list[tuple[str, ...]] = [("coefficient", "estimate", "std_error", "lower", "upper", "")]
        for k, name in enumerate(self.names):
            numbers = (self.coefficients[k], self.std_errors[k], self.lower[k], self.upper[k])
            rows.append((name, *(_shown(one) for one in numbers), "at bound" if self.at_bound[k] else ""))
        widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        second = "none" if self.second_best is None else f"{self.second_best:.6g}"
        ranges = ", ".join(
            f"{name} {low:.3g} to {high:.3g}"
            for name, (low, high) in zip(input_names(self.law), self.support.tolist(), strict=True)
        )
        health = [
            f"objective {self.objective:.8g} ({self.penalty.name}), {self.rows} rows, {self.dropped} dropped",
            f"{self.basin_share:.0%} of {self.starts} starts agree, next basin {second}",
            f"condition {self.condition:.2g}, residuals {self.residual_scale:.2%}",
            f"r2 {self.r2:.5f}, rmse_log {self.rmse_log:.3g}, aicc {self.aicc:.2f}, {len(self.draws)} resamples",
            f"fitted on {ranges}",
        ]
        if self.forward is not None:
            health.append(str(self.forward))
        return "\n".join([head, "", *table, "", *health, *(str(note) for note in self.notes)])


def _shown(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
