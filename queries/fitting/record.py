"""What a fit is, once made: coefficients with their uncertainty, and everything needed to judge them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.fitting.data import Data
from isoflop.queries.fitting.draws import Intervals, Resampled
from isoflop.queries.fitting.folds import ForwardCheck
from isoflop.queries.fitting.hull import size_edge
from isoflop.queries.fitting.judge import Verdict
from isoflop.queries.fitting.likelihood import Criteria
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.options import FitOptions
from isoflop.queries.fitting.scatter import MULTIPLICATIVE, Scatter
from isoflop.queries.fitting.solution import Solution
from isoflop.queries.fitting.widening import Widening
from isoflop.queries.laws.law import Law, coefficient_names, input_names

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FittedLaw:
    """A law with fitted coefficients: what a prediction needs, and what the table `laws` keeps.

    Parameters
    ----------
    law : with K coefficients and P inputs
    coefficients : (K,) in the law's order
    draws : (B, K) coefficients of the resamples; B may be 0
    residual_scale : spread of the residuals, as the scale of a normal: of logs [1], or in the target's unit
    support : (P, 2) lowest and largest value of each input among the rows
    widening : how intervals grow beyond the rows, as the forward check found; None where they do not
    edge : lowest and largest log of the product of a row's inputs, or None when it is not known
    scatter : how new runs scatter about the law
    """

    law: Law
    coefficients: Array
    draws: Array
    residual_scale: float
    support: Array
    widening: Widening | None = None
    edge: tuple[float, float] | None = None
    scatter: Scatter = MULTIPLICATIVE


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A law fitted to rows. Printing it shows its coefficients and its health.

    Parameters
    ----------
    law : with K coefficients and P inputs
    data : the R usable rows
    options : how it was fitted
    solution : the best coefficients, what they leave of each row, and how sure the search is of them
    resampled : the law refitted to resamples
    intervals : of the coefficients
    criteria : how well the law describes the rows
    verdict : whether the coefficients can be used
    forward : the forward check, if one was asked for
    """

    law: Law
    data: Data
    options: FitOptions
    solution: Solution
    resampled: Resampled
    intervals: Intervals
    criteria: Criteria
    verdict: Verdict
    forward: ForwardCheck | None = None

    @property
    def coefficients(self) -> Array:
        """(K,) in the law's order; nan when there was nothing to return."""
        return self.solution.coefficients

    @property
    def objective(self) -> float:
        """Sum of what was minimized over rows, with weights; in the target's unit squared where residuals are plain."""
        return self.solution.objective * self.data.scatter.size**2

    @property
    def draws(self) -> Array:
        """(B, K) coefficients of the resamples."""
        return self.resampled.draws

    @property
    def std_errors(self) -> Array:
        """(K,) standard errors of the coefficients; nan without resamples."""
        return self.intervals.std_errors

    @property
    def lower(self) -> Array:
        """(K,) lower ends of the coefficients' intervals."""
        return self.intervals.lower

    @property
    def upper(self) -> Array:
        """(K,) upper ends of the coefficients' intervals."""
        return self.intervals.upper

    @property
    def level(self) -> float:
        """Coverage of all intervals [1]."""
        return self.options.level

    @property
    def status(self) -> str:
        """`converged`, `not_converged`, `singular` or `too_few_rows`."""
        return self.verdict.status

    @property
    def reason(self) -> str | None:
        """Why the status is not `converged`, else None."""
        return self.verdict.reason

    @property
    def notes(self) -> tuple[Note, ...]:
        """What a user should know, of the forward check last."""
        return self.verdict.notes if self.forward is None else (*self.verdict.notes, *self.forward.notes)

    @property
    def is_converged(self) -> bool:
        """Whether the coefficients are the optimum and told apart by the rows."""
        return self.verdict.status == "converged"

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
    def widening(self) -> Widening | None:
        """How intervals grow beyond the rows; None without a forward check."""
        return None if self.forward is None else self.forward.widening

    @functools.cached_property
    def fitted(self) -> FittedLaw:
        """What predictions need of this fit."""
        return FittedLaw(
            law=self.law,
            coefficients=self.coefficients,
            draws=self.draws,
            residual_scale=self.solution.residual_scale,
            support=self.data.support,
            widening=self.widening,
            edge=size_edge(self.law, self.data.inputs),
            scatter=self.data.scatter,
        )

    def noting(self, notes: Iterable[Note]) -> Fit:
        """Return the fit with more notes."""
        return replace(self, verdict=replace(self.verdict, notes=(*self.verdict.notes, *notes)))

    def without(self, code: str) -> Fit:
        """Return the fit without the notes of a name."""
        kept = tuple(note for note in self.verdict.notes if note.code != code)
        return replace(self, verdict=replace(self.verdict, notes=kept))

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
            rows.append(
                (name, *(_shown(number) for number in numbers), "at bound" if self.solution.at_bound[k] else "")
            )
        widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        solution, search, criteria = self.solution, self.solution.search, self.criteria
        spread = f"{solution.residual_scale:.2%}"
        if self.data.scatter.is_additive:
            spread = f"{solution.residual_scale:.4g}"
        second = "none" if search.second_best is None else f"{search.second_best:.6g}"
        ranges = ", ".join(
            f"{name} {low:.3g} to {high:.3g}"
            for name, (low, high) in zip(input_names(self.law), self.data.support.tolist(), strict=True)
        )
        dropped = self.data.num_dropped
        health = [
            f"objective {self.objective:.8g} ({solution.penalty.name}), {len(self.data)} rows, {dropped} dropped",
            f"{search.share:.0%} of straight starts agree, next basin {second}",
            f"condition {solution.identified.condition:.2g}, residuals {spread}",
            f"r2 {criteria.r2:.5f}, rmse_log {criteria.rmse_log:.3g}, aicc {criteria.aicc:.2f}, "
            f"{len(self.draws)} resamples",
            f"fitted on {ranges}",
        ]
        if self.forward is not None:
            health.append(str(self.forward))
        return "\n".join([head, "", *table, "", *health, *(str(note) for note in self.notes)])


def _shown(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
