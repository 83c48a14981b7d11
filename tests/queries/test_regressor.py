"""Laws as scikit-learn regressors."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from run_samples import Runs
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from isoflop.lakehouse.errors import FitError, UnknownName, UsageError
from isoflop.queries.fitting import ForwardCuts, LargestHoldout, LawRegressor, fit_law
from isoflop.queries.fitting.regressor import EXPECTED_FAILED_CHECKS
from isoflop.queries.laws import (
    CHINCHILLA,
    KAPLAN,
    Formula,
    Huber,
    LeastSquares,
    amplitude,
    exponent,
    floor,
    parse_formula,
)
from isoflop.queries.laws.separable import separable


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


def _power_of_the_product(num_columns: int) -> Formula:
    names = [f"x_{i}" for i in range(num_columns)]
    law = f"E + A / ({' * '.join(names)}) ^ alpha"
    return parse_formula(law, [floor("E"), amplitude("A"), exponent("alpha")], names)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_own_checks_pass_but_for_the_listed_ones() -> None:
    model = LawRegressor(_power_of_the_product, resamples=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks provoke warnings on purpose
        found = check_estimator(model, expected_failed_checks=EXPECTED_FAILED_CHECKS, on_skip=None)
    failed = {one["check_name"] for one in found if one["status"] == "xfail"}
    assert failed == set(EXPECTED_FAILED_CHECKS)
    assert sum(one["status"] == "passed" for one in found) > 50


def test_a_law_for_as_many_columns_as_there_are(planted_rows: Runs) -> None:
    model = LawRegressor(separable, resamples=0).fit(planted_rows.inputs, planted_rows.loss)
    named = LawRegressor("chinchilla", resamples=0).fit(planted_rows.inputs, planted_rows.loss)
    assert model.law_.name == "separable" and len(model.law_.inputs) == 2
    np.testing.assert_allclose(model.predict(planted_rows.inputs), named.predict(planted_rows.inputs), rtol=1e-6)
    with pytest.raises(UsageError, match="0 inputs"):
        separable(0)


def test_polars_frames_go_in_and_come_out(planted_rows: Runs) -> None:
    frame = pl.DataFrame({"tokens": planted_rows.inputs[:, 1], "params": planted_rows.inputs[:, 0]})
    model = LawRegressor(resamples=50).set_output(transform="polars").fit(frame, pl.Series(planted_rows.loss))
    found = model.transform(frame)
    assert isinstance(found, pl.DataFrame) and found.columns == ["predicted_loss", "lower", "upper"]
    assert (found["lower"] < found["predicted_loss"]).all() and (found["predicted_loss"] < found["upper"]).all()
    np.testing.assert_array_equal(found["predicted_loss"].to_numpy(), model.predict(frame.select("params", "tokens")))
    plain = LawRegressor(resamples=0).fit(planted_rows.inputs, planted_rows.loss)
    assert plain.transform(planted_rows.inputs).shape == (60, 1)
    assert plain.get_feature_names_out().tolist() == ["predicted_loss"]


def test_it_feeds_the_next_step_of_a_pipeline(planted_rows: Runs) -> None:
    frame = pl.DataFrame({"params": planted_rows.inputs[:, 0], "tokens": planted_rows.inputs[:, 1]})
    steps = make_pipeline(LawRegressor(resamples=0), LinearRegression()).set_output(transform="polars")
    assert steps.fit(frame, planted_rows.loss).score(frame, planted_rows.loss) > 0.99


def test_laws_compete_in_a_grid_and_the_forward_check_can_be_asked_for(planted_rows: Runs) -> None:
    grid = GridSearchCV(LawRegressor(resamples=0), {"law": [CHINCHILLA, KAPLAN, separable]}, cv=LargestHoldout(12))
    grid.fit(planted_rows.inputs, planted_rows.loss)
    assert grid.best_params_["law"] in (CHINCHILLA, separable) and len(grid.cv_results_["params"]) == 3
    model = LawRegressor(resamples=60, forward=True).fit(planted_rows.inputs, planted_rows.loss)
    assert model.fit_.widening is not None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_and_infinite_values_are_refused_as_scikit_learn_does(planted_rows: Runs, bad: float) -> None:
    loss = planted_rows.loss.copy()
    loss[3] = bad
    with pytest.raises(ValueError, match="contains"):
        LawRegressor(resamples=0).fit(planted_rows.inputs, loss)
