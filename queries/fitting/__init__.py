"""Fitting: laws to rows, with intervals, validation and a verdict.

`LawRegressor` is loaded when first asked for: scikit-learn takes a second to import.
"""

from typing import TYPE_CHECKING, Any

from isoflop.queries.fitting.averaging import LawAverage, average_laws, shared_data
from isoflop.queries.fitting.bootstraps import BOOTSTRAPS, AutoBootstrap, find_bootstrap
from isoflop.queries.fitting.data import Data, usable_rows
from isoflop.queries.fitting.fit import fit_data, fit_law
from isoflop.queries.fitting.folds import Fold, ForwardCheck
from isoflop.queries.fitting.intervals import Prediction, predict
from isoflop.queries.fitting.jackknife import Jackknife, jackknife
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.options import INTERVALS, FitOptions
from isoflop.queries.fitting.profile import ProfileInterval, profile_intervals
from isoflop.queries.fitting.record import Fit, FittedLaw
from isoflop.queries.fitting.resampling import (
    CaseBootstrap,
    ClusterBootstrap,
    GivenWeights,
    ResidualBootstrap,
    WildBootstrap,
)
from isoflop.queries.fitting.residuals import Residuals, residuals
from isoflop.queries.fitting.splits import ForwardCuts, KFold, LargestHoldout, LeaveOneOut
from isoflop.queries.fitting.validation import cross_validate, forward_check

if TYPE_CHECKING:
    from isoflop.queries.fitting.regressor import LawRegressor

__all__ = [
    "BOOTSTRAPS",
    "INTERVALS",
    "AutoBootstrap",
    "CaseBootstrap",
    "ClusterBootstrap",
    "Data",
    "Fit",
    "FitOptions",
    "FittedLaw",
    "Fold",
    "ForwardCheck",
    "ForwardCuts",
    "GivenWeights",
    "Jackknife",
    "KFold",
    "LargestHoldout",
    "LawAverage",
    "LawRegressor",
    "LeaveOneOut",
    "Note",
    "Prediction",
    "ProfileInterval",
    "ResidualBootstrap",
    "Residuals",
    "WildBootstrap",
    "average_laws",
    "cross_validate",
    "find_bootstrap",
    "fit_data",
    "fit_law",
    "forward_check",
    "jackknife",
    "predict",
    "profile_intervals",
    "residuals",
    "shared_data",
    "usable_rows",
]


def __getattr__(name: str) -> Any:
    if name == "LawRegressor":
        from isoflop.queries.fitting.regressor import LawRegressor

        return LawRegressor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
