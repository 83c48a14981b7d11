"""Profiles, the jackknife, redrawn residuals and averages of laws."""

from __future__ import annotations

import numpy as np
import pytest
from run_samples import Runs

from isoflop.lakehouse.errors import EmptySelection, FitError, UsageError
from isoflop.queries.fitting import (
    FitOptions,
    ResidualBootstrap,
    average_laws,
    fit_law,
    jackknife,
    predict,
    profile_intervals,
    shared_data,
)
from isoflop.queries.fitting.quantiles import student_quantile
from isoflop.queries.laws import CHINCHILLA, KAPLAN, POWER, LeastSquares, parse_formula
from isoflop.queries.laws.law import Coefficient, Input

TRUTH = np.array([1.8, 400.0, 2000.0, 0.34, 0.36])


def test_the_profile_of_a_linear_law_is_the_students_interval() -> None:
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 3, 25)
    law = parse_formula("exp(a + b * x)", [Coefficient("a"), Coefficient("b")], ["x"], objective=LeastSquares())
    y = np.exp(0.7 + 0.4 * x + generator.normal(0, 0.1, 25))
    fit = fit_law(law, x, y, resamples=0)
    design = np.column_stack([np.ones(25), x])
    coefficients, squares, _, _ = np.linalg.lstsq(design, np.log(y), rcond=None)
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * squares[0] / 23)
    for one, value, error in zip(profile_intervals(fit), coefficients, errors, strict=True):
        assert one.estimate == pytest.approx(value, rel=1e-6)
        assert one.lower == pytest.approx(value - 2.0687 * error, abs=2e-3 * error)
        assert one.upper == pytest.approx(value + 2.0687 * error, abs=2e-3 * error)
        assert one.is_open == (False, False)


def test_profiles_hold_the_planted_coefficients_and_agree_with_resamples() -> None:
    generator = np.random.default_rng(100)
    inputs = np.exp(generator.uniform([17.5, 20.5], [24.0, 27.0], (60, 2)))
    loss = CHINCHILLA.predict(TRUTH, inputs) * np.exp(generator.normal(0, 0.003, 60))
    fit = fit_law(CHINCHILLA, inputs, loss, resamples=300)
    found = profile_intervals(fit)
    assert [one.name for one in found] == ["E", "A", "B", "alpha", "beta"]
    for one, truth, low, high in zip(found, TRUTH, fit.lower, fit.upper, strict=True):
        assert one.lower < truth < one.upper and one.lower < one.estimate < one.upper
        assert 0.5 < (one.upper - one.lower) / (high - low) < 2


def test_a_profile_that_never_rises_is_open_at_the_edge() -> None:
    generator = np.random.default_rng(2)
    x = np.exp(generator.uniform(14, 20, 30))
    fit = fit_law(POWER, x, 400 / x**0.3 * np.exp(generator.normal(0, 0.01, 30)), resamples=0)
    (floor,) = profile_intervals(fit, ["E"])
    assert floor.lower == 0.0 and floor.is_open[0]


def test_profiles_refuse_what_they_cannot_answer(planted_rows: Runs) -> None:
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=0)
    with pytest.raises(UsageError, match="no coefficient 'alfa'"):
        profile_intervals(fit, ["alfa"])
    few = fit_law(CHINCHILLA, planted_rows.inputs[:3], planted_rows.loss[:3], resamples=0)
    with pytest.raises(FitError, match="no coefficients to profile"):
        profile_intervals(few)


def test_the_jackknife_gives_errors_near_those_of_resamples_and_finds_the_row_that_pulls(planted_rows: Runs) -> None:
    loss = planted_rows.loss.copy()
    loss[7] *= 1.05
    fit = fit_law(CHINCHILLA, planted_rows.inputs, loss, objective=LeastSquares(), resamples=400)
    found = jackknife(fit)
    assert found.coefficients.shape == (60, 5)
    assert (np.abs(np.log(found.std_errors[[0, 3, 4]] / fit.std_errors[[0, 3, 4]])) < 0.6).all()
    assert np.argmax(np.abs(found.influence).max(axis=1)) == 7
    without = np.arange(60) != 7
    alone = fit_law(CHINCHILLA, planted_rows.inputs[without], loss[without], objective=LeastSquares(), resamples=0)
    np.testing.assert_allclose(found.coefficients[7], alone.coefficients, rtol=1e-3)


def test_the_jackknife_leaves_whole_groups_out(planted_rows: Runs) -> None:
    groups = np.repeat(np.arange(12), 5)
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, groups=groups, resamples=0)
    assert jackknife(fit).coefficients.shape == (12, 5)
    few = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, groups=groups // 3, resamples=0)
    with pytest.raises(FitError, match="too few to leave one out"):
        jackknife(few)


def test_redrawn_residuals_give_the_spread_of_the_noise(planted_rows: Runs) -> None:
    cases = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=300)
    redrawn = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=300, resampling=ResidualBootstrap())
    assert (np.abs(np.log(redrawn.std_errors / cases.std_errors)) < 0.6).all()
    assert any("redrawn residuals" in note.message for note in redrawn.notes)


@pytest.mark.parametrize("weighing", ["resamples", "aicc"])
def test_the_true_law_weighs_most_and_the_average_predicts_as_it_does(planted_rows: Runs, weighing: str) -> None:
    laws = [KAPLAN, CHINCHILLA]
    data = shared_data(laws, planted_rows.inputs, planted_rows.loss)
    found = average_laws(laws, data, FitOptions(resamples=60), weighing=weighing)
    weights = {fit.law.name: weight for fit, weight in zip(found.fits, found.weights, strict=True)}
    assert weights["chinchilla"] > 0.9 and sum(weights.values()) == pytest.approx(1)
    assert found.notes[-1].code == "weighed_by"
    larger = np.array([[1e11, 1e12], [1e10, 3e11]])
    alone = predict(found.fits[1], larger)
    averaged = found.predict(larger)
    np.testing.assert_allclose(averaged.predicted, alone.predicted, rtol=0.02)
    assert (averaged.lower < averaged.predicted).all() and (averaged.predicted < averaged.upper).all()


def test_laws_that_disagree_widen_the_interval() -> None:
    generator = np.random.default_rng(4)
    x = np.exp(generator.uniform(14, 18, 20))
    y = (1.2 + 60 / x**0.25) * np.exp(generator.normal(0, 0.01, 20))
    plain = parse_formula("A / x ^ a", ["A", "a"], ["x"], name="no_floor")
    found = average_laws([POWER, plain], shared_data([POWER, plain], x, y), FitOptions(resamples=100))
    assert 0.05 < found.weights[0] < 0.95
    far = found.predict(np.array([1e11]))
    own = [float(predict(fit, np.array([1e11])).predicted[0]) for fit in found.fits]
    assert far.lower[0] < min(own) * 1.05 and far.upper[0] > max(own) * 0.95


def test_laws_may_take_different_inputs_but_need_rows_in_common(planted_rows: Runs) -> None:
    flops = 6 * planted_rows.inputs.prod(axis=1)
    inputs = {"chinchilla": planted_rows.inputs, "power": flops}
    laws = [CHINCHILLA, POWER]
    data = shared_data(laws, inputs, planted_rows.loss)
    found = average_laws(laws, data, FitOptions(resamples=40))
    assert found.weights[0] > 0.9
    assert found.predict({"chinchilla": [[1e10, 1e11]], "power": [6e21]}).predicted.shape == (1,)
    with pytest.raises(UsageError, match="each once"):
        average_laws([POWER], data[1:])
    with pytest.raises(UsageError, match="weighing 'vote'"):
        average_laws(laws, data, weighing="vote")
    with pytest.raises(UsageError, match="no inputs for kaplan"):
        shared_data([POWER, KAPLAN], inputs, planted_rows.loss)
    with pytest.raises(EmptySelection, match="used by every law"):
        shared_data(laws, inputs, -planted_rows.loss)
    with pytest.raises(UsageError, match="different rows"):
        average_laws(laws, [data[0], data[1].take(np.arange(5))])
    assert Input("x").positive


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 55, 56, 199, 200, 1001, 10**6])
def test_student_quantiles_are_those_of_scipy(freedom: int) -> None:
    from scipy.special import stdtrit

    for share in (0.6, 0.9, 0.975, 0.9999):
        assert student_quantile(share, freedom) == pytest.approx(stdtrit(freedom, share), rel=1e-9)
