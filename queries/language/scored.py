"""Candidates of COMPARE that are not fitted: theories, and laws of given coefficients. They are scored as they are."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.folds import Fold, mean_error
from isoflop.queries.fitting.intervals import predict
from isoflop.queries.fitting.likelihood import criteria
from isoflop.queries.fitting.scatter import scatter_of, takes_any_sign
from isoflop.queries.language.bind import Bound
from isoflop.queries.language.clause_options import ClauseOptions
from isoflop.queries.language.records import GIVEN, LawRecord
from isoflop.queries.language.rows import Rows
from isoflop.queries.language.select import Splits
from isoflop.queries.laws import Law
from isoflop.queries.laws.objectives import Huber, row_factors
from isoflop.queries.laws.robust_objectives import PlainHuber

Array = NDArray[np.float64]

COMPUTED = "computed"  # status of a theory
SCORED = (COMPUTED, GIVEN)  # of all that is not fitted


class ScoredLaw(Law):
    """What is said of rows without a fit, in the place of a law: it has no free number."""

    coefficients = ()
    status: str
    """what COMPARE says of it in the place of how a fit went"""

    @abstractmethod
    def ends(self, inputs: Array, level: float) -> tuple[Array, Array, Array]:
        """Return what is expected (R,), and the ends of an interval that holds a share `level` of runs; NaN for none.

        Parameters
        ----------
        inputs : (R, P) as `read_rows` finds them
        """

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return the expected values (R,); there are no coefficients."""
        return self.ends(inputs, 0.5)[0]


class GivenCandidate(ScoredLaw):
    """A law of given coefficients.

    Parameters
    ----------
    record : the law
    """

    status = GIVEN

    def __init__(self, record: LawRecord) -> None:
        self.record, law = record, record.law
        self.name, self.inputs, self.target = str(record.name), law.inputs, record.target
        self.unit, self.source, self.objective = law.unit, law.source, law.objective
        if self.states_scatter and self.is_additive != takes_any_sign(law.objective):
            self.objective = PlainHuber() if self.is_additive else Huber()

    @property
    def states_scatter(self) -> bool:
        """Whether it says how runs scatter about it."""
        return bool(np.isfinite(self.record.fitted.residual_scale))

    @property
    def is_additive(self) -> bool:
        """Whether runs scatter about it by an amount, and not by a share of its value."""
        return self.record.fitted.scatter.is_additive

    @property
    def formula(self) -> str:
        """The formula of the law."""
        return self.record.law.formula

    def ends(self, inputs: Array, level: float) -> tuple[Array, Array, Array]:
        """Return predictions (R,) and the ends of their intervals, NaN where no scatter of a run is stated."""
        found = predict(self.record.fitted, inputs, level=level)
        return found.predicted, found.lower, found.upper


def score(bound: Bound, rows: Rows, splits: Splits | None, options: ClauseOptions) -> tuple[float, list[Fold]]:
    """Return how well a candidate that is not fitted describes usable rows: AICc, and its errors on each fold."""
    law = bound.law
    assert isinstance(law, ScoredLaw)
    mean, lower, upper = law.ends(rows.inputs, options.level)
    weights = np.ones(len(mean)) if rows.weight is None else rows.weight
    objective = options.objective or law.objective
    scatter = scatter_of(objective, rows.target)
    values = scatter.on_scale(rows.target)
    with np.errstate(all="ignore"):
        residuals = values - scatter.on_scale(mean)
    counted = weights * row_factors(objective, rows.target, scatter.is_additive)
    total = float(objective.weigh(residuals / scatter.size, True)[0] @ counted)
    judged = criteria(values, residuals, weights, objective, total, 0, scatter)
    folds = []
    for number, (train, test) in enumerate(splits.parts if splits is not None else ()):
        measured, expected = rows.target[test], mean[test]
        error = scatter.between(expected, measured)
        inside = (lower[test] <= measured) & (measured <= upper[test])
        folds.append(
            Fold(
                fold=number,
                train=train,
                test=test,
                coefficients=np.empty(0),
                predicted=expected,
                lower=lower[test],
                upper=upper[test],
                measured=measured,
                mape=mean_error(scatter, measured, expected),
                rmse_log=np.nan if scatter.is_additive else float(np.sqrt(np.mean(error**2))),
                bias=float(np.mean(error)),
                coverage=float(np.mean(inside)) if np.isfinite(lower[test]).all() else np.nan,
                status=law.status,
            )
        )
    return judged.aicc, folds
