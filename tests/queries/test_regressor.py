"""Laws as scikit-learn regressors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from run_samples import Runs
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from isoflop.lakehouse.errors import FitError, UnknownName
from isoflop.queries.fitting import ForwardCuts, LargestHoldout, LawRegressor, fit_law
from isoflop.queries.laws import CHINCHILLA, Huber, LeastSquares


def test_it_fits_predicts_and_scores(planted_rows: Runs) -> None:
    model = LawRegressor(CHINCHILLA, resamples=100).fit(planted_rows.inputs, planted_rows.loss)
    np.testing.assert_allclose(
        model.coef_, fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=0).coefficients
    )
    assert model.score(planted_rows.inputs, planted_rows.loss) > 0.99
    lower, upper = model.predict_interval(planted_rows.inputs)
    predicted = model.predict(planted_rows.inputs)
    assert ((lower < predicted) & (predicted < upper)).all() and model.n_features_in_ == 2


def test_parameters_can_be_read_set_and_cloned() -> None:
    model = LawRegressor("chinchilla", objective=Huber(1e-2), resamples=7, seed=5)
    assert model.get_params()["objective"] == Huber(1e-2)
    other = clone(model).set_params(resamples=9)
    assert other.resamples == 9 and other.seed == 5 and not hasattr(other, "fit_")


def test_columns_of_a_data_frame_are_matched_by_name(planted_rows: Runs) -> None:
    frame = pd.DataFrame({"tokens": planted_rows.inputs[:, 1], "seed": 0, "params": planted_rows.inputs[:, 0]})
    model = LawRegressor(resamples=0).fit(frame, planted_rows.loss)
    plain = LawRegressor(resamples=0).fit(planted_rows.inputs, planted_rows.loss)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    assert model.feature_names_in_.tolist() == ["tokens", "seed", "params"] and not hasattr(plain, "feature_names_in_")
    np.testing.assert_array_equal(model.predict(frame), plain.predict(planted_rows.inputs))


def test_it_works_in_cross_validate_with_our_splitters_and_theirs(planted_rows: Runs) -> None:
    model = LawRegressor(resamples=0)
    for splitter, groups in ((LargestHoldout(8), None), (ForwardCuts(), None), (GroupKFold(3), np.arange(60) // 6)):
        found = cross_validate(
            model, planted_rows.inputs, planted_rows.loss, cv=splitter, groups=groups, error_score="raise"
        )
        assert len(found["test_score"]) == splitter.get_n_splits() and (found["test_score"] > 0.8).all()


def test_it_works_in_pipelines_and_grids(planted_rows: Runs) -> None:
    pipeline = make_pipeline(FunctionTransformer(lambda rows: rows * 1e-9), LawRegressor(resamples=0))
    pipeline.fit(planted_rows.inputs, planted_rows.loss)
    assert pipeline.score(planted_rows.inputs, planted_rows.loss) > 0.99
    grid = GridSearchCV(
        LawRegressor(resamples=0), {"objective": [Huber(), LeastSquares()], "law": ["chinchilla", "kaplan"]}, cv=2
    )
    grid.fit(planted_rows.inputs, planted_rows.loss)
    assert grid.best_params_["law"] == "chinchilla"


def test_weights_reach_the_fit(planted_rows: Runs) -> None:
    weights = np.random.default_rng(0).uniform(0.1, 2, 60)
    model = LawRegressor(resamples=0).fit(planted_rows.inputs, planted_rows.loss, sample_weight=weights)
    direct = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, sample_weight=weights, resamples=0)
    np.testing.assert_array_equal(model.coef_, direct.coefficients)


def test_it_raises_when_there_is_nothing_to_return(planted_rows: Runs) -> None:
    with pytest.raises(FitError, match="could not be fitted: 3 distinct rows"):
        LawRegressor(resamples=0).fit(planted_rows.inputs[:3], planted_rows.loss[:3])
    with pytest.raises(UnknownName, match="does not exist"):
        LawRegressor("chinchila").fit(planted_rows.inputs, planted_rows.loss)
    with pytest.raises(FitError, match="expected"):
        LawRegressor().fit(planted_rows.inputs[:, :1], planted_rows.loss)
    with pytest.raises(NotFittedError):
        LawRegressor().predict(planted_rows.inputs)
