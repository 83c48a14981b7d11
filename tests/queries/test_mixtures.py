"""A mean of several forms: the law it is, what is fitted, left out and weighed, and what its draws say."""

import numpy as np
import pytest

from isoflop.lakehouse.errors import UsageError
from isoflop.queries.fitting import fit_law, predict
from isoflop.queries.fitting.bounds_shown import shows_upper_bound
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.regressor import LawRegressor
from isoflop.queries.laws import CHINCHILLA, POWER, find_law
from isoflop.queries.laws.auto import auto_law
from isoflop.queries.laws.derivatives import CENTRAL, central
from isoflop.queries.laws.form_mixture import FormMixture
from tests.bench.bench_auto import error, learning_curves

X = np.logspace(2, 6, 50)[:, None]
PLATEAU = POWER.predict(np.array([1.5, 40.0, 0.3]), X)
BOUNDED = find_law("bounded_power").predict(np.array([1.0, 5.0, 120.0, 0.6, 0.9]), X)
BREAK = 3 * X[:, 0] ** -0.1 * (1 + (X[:, 0] / 1e4) ** 2) ** -0.1


def noisy(values, seed=0, scale=0.005):
    return values * np.exp(np.random.default_rng(seed).normal(0, scale, len(values)))


def test_a_mean_is_the_weighted_sum_and_one_form_alone_is_that_form():
    both = FormMixture("auto", [POWER, find_law("plain_power")])
    own, plain = np.array([1.0, 8.0, 0.5]), np.array([6.0, 0.2])
    mean = both.predict(np.concatenate([[0.25], own, [0.75], plain]), X)
    expected = 0.25 * POWER.predict(own, X) + 0.75 * find_law("plain_power").predict(plain, X)
    np.testing.assert_allclose(mean, expected, rtol=1e-14)
    alone = both.predict(np.concatenate([[1.0], own, [0.0], [np.nan, np.nan]]), X)  # no number, and not asked
    np.testing.assert_array_equal(alone, POWER.predict(own, X))
    assert np.isnan(both.predict(np.concatenate([[0.0], own, [0.0], plain]), X)).all()


def test_slopes_of_a_mean_are_those_of_differences():
    law = FormMixture("auto", [POWER, find_law("bnsl")])
    at = np.array([0.4, 1.0, 8.0, 0.5, 0.6, 0.8, 6.0, 0.2, 0.3, 5e3, 0.7])
    differences = central(lambda moved: law.predict(moved, X), at, CENTRAL * at)
    np.testing.assert_allclose(law.jacobian(at, X), differences, rtol=1e-5, atol=1e-12)


def test_a_form_that_the_rows_do_not_determine_has_no_weight_and_a_note_says_why():
    fit = fit_law(auto_law(1), X, noisy(PLATEAU), resamples=100)
    assert fit.is_converged
    assert "bounded_power" not in fit.law.titles
    assert any("bounded_power has no weight: the rows show no upper bound" in str(note) for note in fit.notes)
    weights = [fit.values[f"{title}_weight"] for title in fit.law.titles]
    assert sum(weights) == pytest.approx(1.0, abs=1e-12)
    assert fit.values["saturating_power_weight"] < 0.1 if "saturating_power" in fit.law.titles else True
    assert fit.values["power_alpha"] == pytest.approx(0.3, abs=0.01)
    assert np.isnan(fit.criteria.aicc)


def test_each_draw_is_one_form_and_shares_of_draws_are_the_weights():
    fit = fit_law(auto_law(1), X, noisy(BOUNDED, 1), resamples=100)
    first = [place for place, _ in fit.law.places]
    assert set(np.unique(fit.draws[:, first])) <= {0.0, 1.0}
    np.testing.assert_array_equal(fit.draws[:, first].sum(axis=1), 1.0)
    np.testing.assert_allclose(fit.draws[:, first].mean(axis=0), fit.coefficients[first], atol=1e-12)
    assert np.isnan(fit.std_errors[first]).all()


@pytest.mark.parametrize("values", [PLATEAU, BOUNDED, BREAK], ids=["plateau", "bounded", "break"])
def test_the_larger_part_is_predicted_within_its_interval(values):
    measured = noisy(values, 3)
    fit = fit_law(auto_law(1), X[:38], measured[:38], resamples=100, forward=True)
    found = predict(fit, X[38:])
    assert np.mean(np.abs(np.log(found.predicted / values[38:]))) < 0.05
    assert np.mean((found.lower < measured[38:]) & (measured[38:] < found.upper)) > 0.8
    assert fit.forward is not None
    assert len(fit.forward.folds) == 3


def test_the_same_seed_gives_the_same_mean():
    one, other = (fit_law(auto_law(1), X, noisy(BREAK), resamples=50, forward=True, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.coefficients, other.coefficients)
    np.testing.assert_array_equal(one.draws, other.draws)
    assert one.widening == other.widening


def test_two_inputs_find_the_law_that_made_the_rows():
    params, tokens = (grid.ravel() for grid in np.meshgrid(np.logspace(7, 10, 7), np.logspace(9, 12, 7)))
    inputs = np.column_stack([params, tokens])
    fit = fit_law(
        auto_law(2), inputs, noisy(CHINCHILLA.predict(np.array([1.7, 400, 410, 0.34, 0.28]), inputs)), resamples=100
    )
    assert fit.values["chinchilla_weight"] > 0.5
    assert fit.values["chinchilla_E"] == pytest.approx(1.7, abs=0.1)


def test_too_few_rows_say_so():
    fit = fit_law(auto_law(1), X[:2], PLATEAU[:2], resamples=20)
    assert fit.status == "too_few_rows"
    assert np.isnan(fit.coefficients).all()


def test_without_resamples_the_criterion_weighs():
    fit = fit_law(auto_law(1), X, noisy(BOUNDED), resamples=0)
    assert len(fit.draws) == 0
    assert any("exp(-aicc / 2)" in str(note) for note in fit.notes)


@pytest.mark.parametrize("option", [{"fixed": {"power_E": 1.0}}, {"init": {"power_E": 1.0}}, {"intervals": "profile"}])
def test_what_a_mean_does_not_have_is_refused(option):
    with pytest.raises(UsageError, match="auto has"):
        fit_law(auto_law(1), X, PLATEAU, resamples=20, **option)


def test_forms_are_for_one_input_or_two():
    with pytest.raises(UsageError, match="one input or two, got 3"):
        auto_law(3)


def test_a_bound_is_shown_by_rows_that_are_flat_where_they_begin():
    flat = 1 + 4 / (1 + (X[:, 0] / 1e4) ** 0.8)
    assert shows_upper_bound(usable_rows(POWER, X, noisy(flat)))
    assert not shows_upper_bound(usable_rows(POWER, X, noisy(PLATEAU)))
    assert not shows_upper_bound(usable_rows(POWER, X[:8], flat[:8]))


def test_the_regressor_takes_the_word():
    model = LawRegressor("auto", resamples=50).fit(X, noisy(PLATEAU))
    np.testing.assert_allclose(model.predict(X), PLATEAU, rtol=0.02)
    assert model.law_.name == "auto"


def test_a_form_that_is_not_determined_stays_where_the_rows_speak_against_every_other():
    """A published learning curve without visible noise: its break is certain, where and how sharp it is is not."""
    curve = list(learning_curves())[6]
    alone = fit_law(find_law("bnsl"), curve.inputs, curve.values, resamples=0)
    power = fit_law(POWER, curve.inputs, curve.values, resamples=0)
    assert power.is_converged and alone.criteria.aicc < power.criteria.aicc - 50
    fit = fit_law(auto_law(1), curve.inputs, curve.values, resamples=60)
    assert fit.is_converged and fit.values["bnsl_weight"] > 0.9
    off = error(curve, lambda inputs: fit.law.predict(fit.coefficients, inputs))
    assert off < error(curve, lambda inputs: POWER.predict(power.coefficients, inputs)) / 3
