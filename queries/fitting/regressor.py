"""A law as a scikit-learn regressor, for pipelines, grids and `cross_validate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from isoflop.lakehouse.errors import FitError
from isoflop.queries.fitting.fit import fit_law
from isoflop.queries.fitting.intervals import predict
from isoflop.queries.laws.law import Law, input_names
from isoflop.queries.laws.objectives import Objective
from isoflop.queries.laws.registry import find_law

Array = NDArray[np.float64]


class LawRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A law with scikit-learn's interface.

    Parameters
    ----------
    law : a law, or the name of one
    objective : penalty to minimise; the law's own when None
    resamples : bootstrap resamples behind `predict_interval`; 0 for point predictions only
    seed : of random starts and resamples
    level : coverage of the coefficient intervals [1]
    fixed : coefficient values to keep, by name

    Attributes
    ----------
    fit_ : the Fit, with everything known about it
    coef_ : (K,) coefficients in the law's order
    n_features_in_ : number of inputs P
    feature_names_in_ : (P,) column names, when X was a data frame

    Example
    -------
    >>> x = np.logspace(6, 9, 20)[:, None]
    >>> model = LawRegressor("power", resamples=0).fit(x, 1.5 + 400 / x[:, 0] ** 0.3)
    >>> [round(float(one), 4) for one in model.predict([[1e10]])]
    [1.9]
    """

    def __init__(
        self,
        law: Law | str = "chinchilla",
        *,
        objective: Objective | None = None,
        resamples: int = 1000,
        seed: int = 0,
        level: float = 0.95,
        fixed: dict[str, float] | None = None,
    ) -> None:
        self.law = law
        self.objective = objective
        self.resamples = resamples
        self.seed = seed
        self.level = level
        self.fixed = fixed

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
        FitError : if there are too few rows, or no start gave a finite objective
        """
        law = self._law()
        columns = getattr(X, "columns", None)
        inputs = self._inputs(X)
        self.n_features_in_ = len(law.inputs)
        if columns is not None:
            self.feature_names_in_ = np.asarray(columns, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self.fit_ = fit_law(
            law, inputs, y, sample_weight=sample_weight, objective=self.objective, groups=groups,
            resamples=self.resamples, seed=self.seed, level=self.level, fixed=self.fixed,
        )  # fmt: skip
        if np.isnan(self.fit_.coefficients).any():
            raise FitError(f"{law.name} could not be fitted: {self.fit_.reason}")
        self.coef_ = self.fit_.coefficients
        return self

    def predict(self, X: Any) -> Array:
        """Return predictions (R,) in the target's unit."""
        check_is_fitted(self)
        return np.asarray(self._law().predict(self.coef_, self._inputs(X)))

    def predict_interval(self, X: Any, level: float | None = None, kind: str = "prediction") -> tuple[Array, Array]:
        """Return lower and upper ends (R,) of the interval; nan without resamples.

        Parameters
        ----------
        X : (R, P) inputs
        level : coverage [1]; the estimator's when None
        kind : `prediction` for a new run, `confidence` for the curve
        """
        check_is_fitted(self)
        found = predict(self.fit_, self._inputs(X), self.level if level is None else level, kind)
        return found.lower, found.upper

    def _law(self) -> Law:
        return find_law(self.law) if isinstance(self.law, str) else self.law

    def _inputs(self, X: Any) -> Array:
        """The (R, P) inputs in the law's order."""
        names = list(input_names(self._law()))
        columns = getattr(X, "columns", None)
        if columns is not None and set(names) <= set(columns):
            X = X[names]
        if hasattr(X, "to_numpy"):
            X = X.to_numpy()
        inputs = np.asarray(X, dtype=np.float64)
        inputs = inputs[:, None] if inputs.ndim == 1 and len(names) == 1 else inputs
        if inputs.ndim != 2 or inputs.shape[1] != len(names):
            raise FitError(f"X has shape {inputs.shape}, expected (rows, {len(names)}) for {', '.join(names)}")
        return inputs
