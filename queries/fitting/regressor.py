"""A law as a scikit-learn regressor, for pipelines, grids and `cross_validate`.

It is also a transformer: `transform` gives the prediction with its interval as columns, which `set_output` turns into
a polars or pandas frame.

Four of scikit-learn's own checks ask for something else, and `EXPECTED_FAILED_CHECKS` names them:

* two say that data is positive and put zeros in it. A power of zero does not exist, and a law that took one for a
  small number would answer with a size that was not given;
* one fits rows below zero and expects a ValueError. They are left out and counted as in every other fit, and
  EmptySelection says so when none is left;
* one fits a single row and expects a ValueError. No law can be told from one row; the error is FitError, which every
  other too small fit raises, and a ValueError beside it would be caught by code that means bad input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from isoflop.lakehouse.errors import FitError
from isoflop.queries.fitting.fit import fit_law
from isoflop.queries.fitting.intervals import predict
from isoflop.queries.laws.auto import AUTO, auto_law
from isoflop.queries.laws.law import Law, input_names
from isoflop.queries.laws.objectives import Objective
from isoflop.queries.laws.registry import find_law

Array = NDArray[np.float64]
LawOfSize = Callable[[int], Law]

_ZERO = "the check counts zero as positive; a power of zero does not exist"
EXPECTED_FAILED_CHECKS = {
    "check_fit_score_takes_y": f"{_ZERO}, so the row with a zero has an infinite prediction",
    "check_positive_only_tag_during_fit": f"{_ZERO}, and its data is mostly zeros",
    "check_fit_non_negative": "rows with inputs below zero are left out and counted; EmptySelection says so",
    "check_fit2d_1sample": "one row is too few for any law; the error is isoflop's own, not a ValueError",
}


class LawRegressor(RegressorMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A law with scikit-learn's interface.

    Parameters
    ----------
    law : a law, the name of one or `auto`, or a function from the number of columns to a law, such as `separable`
    objective : penalty to minimize; the law's own when None
    resamples : bootstrap resamples behind intervals; 0 for point predictions only
    seed : of random starts and resamples
    level : coverage of all intervals [1]
    fixed : coefficient values to keep, by name
    forward : whether the forward check widens intervals beyond the rows

    Attributes
    ----------
    law_ : the law that was fitted
    fit_ : the Fit, with everything known about it
    coef_ : (K,) coefficients in the law's order
    n_features_in_ : number of columns of X
    feature_names_in_ : column names, when X was a data frame

    Example
    -------
    >>> x = np.logspace(6, 9, 20)[:, None]
    >>> model = LawRegressor("power", resamples=0).fit(x, 1.5 + 400 / x[:, 0] ** 0.3)
    >>> [round(float(one), 4) for one in model.predict([[1e10]])]
    [1.9]
    """

    def __init__(
        self,
        law: Law | str | LawOfSize = "chinchilla",
        *,
        objective: Objective | None = None,
        resamples: int = 1000,
        seed: int = 0,
        level: float = 0.95,
        fixed: dict[str, float] | None = None,
        forward: bool = False,
    ) -> None:
        self.law = law
        self.objective = objective
        self.resamples = resamples
        self.seed = seed
        self.level = level
        self.fixed = fixed
        self.forward = forward

    def fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, groups: Sequence[Any] | None = None
    ) -> LawRegressor:
        """Fit the law.

        Parameters
        ----------
        X : (R, P) inputs in the law's order, or a data frame, whose columns are matched by name when it has them
        y : (R,) measured values
        sample_weight : (R,) weights >= 0
        groups : (R,) labels of rows that are resampled together

        Raises
        ------
        FitError : if there are too few rows, the columns are not the law's, or no start gave a finite objective
        ValueError : if X or y is empty, missing, infinite or of no use as numbers
        """
        rows, values = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, rows, dtype=np.float64)
        law = self._law(rows.shape[1])
        names = list(input_names(law))
        known = list(getattr(self, "feature_names_in_", ()))
        self._columns = [known.index(name) for name in names] if set(names) <= set(known) else None
        fit = fit_law(
            law, self._in_order(law, rows), values, sample_weight=sample_weight, objective=self.objective,
            groups=groups, resamples=self.resamples, seed=self.seed, level=self.level, fixed=self.fixed,
            forward=self.forward,
        )  # fmt: skip
        if np.isnan(fit.coefficients).any():
            raise FitError(f"{law.name} could not be fitted: {fit.reason}")
        self.law_, self.fit_, self.coef_ = fit.law, fit, fit.coefficients
        return self

    def predict(self, X: Any) -> Array:
        """Return predictions (R,) in the target's unit."""
        inputs = self._inputs(X)
        with np.errstate(all="ignore"):
            return np.asarray(self.law_.predict(self.coef_, inputs))

    def predict_interval(self, X: Any, level: float | None = None, kind: str = "prediction") -> tuple[Array, Array]:
        """Return lower and upper ends (R,) of the interval; nan without resamples.

        Parameters
        ----------
        X : (R, P) inputs
        level : coverage [1]; the estimator's when None
        kind : `prediction` for a new run, `confidence` for the curve
        """
        found = predict(self._fitted(), self._inputs(X), self.level if level is None else level, kind)
        return found.lower, found.upper

    def transform(self, X: Any) -> Array:
        """Return predictions as columns (R, 1), with resamples (R, 3): predicted, lower, upper."""
        inputs = self._inputs(X)
        with np.errstate(all="ignore"):
            found = predict(self.fit_, inputs, self.level)
        columns = [found.predicted, found.lower, found.upper] if self.resamples else [found.predicted]
        return np.column_stack(columns)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns of `transform`."""
        names = [f"predicted_{self._fitted().law.target}", "lower", "upper"]
        return np.array(names if self.resamples else names[:1], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.target_tags.positive_only = True
        tags.regressor_tags.poor_score = True  # the checks' data is no power of anything
        return tags

    def _fitted(self) -> Any:
        check_is_fitted(self)
        return self.fit_

    def _law(self, num_columns: int) -> Law:
        if isinstance(self.law, str):
            return auto_law(num_columns) if self.law.lower() == AUTO else find_law(self.law)
        return self.law if isinstance(self.law, Law) else self.law(num_columns)

    def _inputs(self, X: Any) -> Array:
        """The (R, P) inputs in the law's order, from columns in the order of the fit or, by name, in any."""
        check_is_fitted(self)
        names = list(input_names(self.law_))
        columns = getattr(X, "columns", None)
        if self._columns is not None and columns is not None and set(names) <= set(columns):
            return np.asarray(X[names].to_numpy(), dtype=np.float64)
        return self._in_order(self.law_, validate_data(self, X, reset=False, dtype=np.float64))

    def _in_order(self, law: Law, rows: Array) -> Array:
        """The law's columns of checked rows."""
        if self._columns is not None:
            return np.asarray(rows[:, self._columns])
        if rows.shape[1] != len(law.inputs):
            names = ", ".join(input_names(law))
            raise FitError(f"X has shape {rows.shape}, expected (rows, {len(law.inputs)}) for {names}")
        return rows
