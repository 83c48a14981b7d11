"""Fits: what comes back, how sure it is, and that printing it shows its health."""

from __future__ import annotations

import math

import numpy as np
import pytest
from planted_laws import drifting
from run_samples import Runs

from isoflop.lakehouse.errors import EmptySelection, FitError, UsageError
from isoflop.queries.fitting import FittedLaw, fit_law, predict, residuals
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.likelihood import criteria
from isoflop.queries.fitting.scale import residual_scale
from isoflop.queries.laws import CHINCHILLA, POWER, Huber, LeastSquares

TRUTH = np.array([1.8, 400.0, 2000.0, 0.34, 0.36])


def test_a_fit_prints_its_coefficients_and_its_health(planted_rows: Runs) -> None:
    text = repr(fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=50, forward=True))
    for part in (
        "[converged]",
        "std_error",
        "alpha",
        "objective",
        "straight starts agree",
        "condition",
        "forward check",
        "fitted on",
    ):
        assert part in text


def test_a_failed_fit_prints_why(planted_rows: Runs) -> None:
    text = repr(fit_law(CHINCHILLA, planted_rows.inputs[:3], planted_rows.loss[:3]))
    assert "[too_few_rows: 3 distinct rows for 5 coefficients; fix some or add runs]" in text


def test_the_same_seed_gives_the_same_fit_and_another_seed_other_resamples(planted_rows: Runs) -> None:
    first, again, other = (
        fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=40, seed=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.draws, again.draws)
    assert first.objective == pytest.approx(other.objective, rel=1e-9)
    assert not np.array_equal(first.draws, other.draws)
    assert first.options.seed == 3


def test_the_order_of_the_rows_does_not_matter(planted_rows: Runs) -> None:
    order = np.random.default_rng(0).permutation(60)
    first = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=0)
    second = fit_law(CHINCHILLA, planted_rows.inputs[order], planted_rows.loss[order], resamples=0)
    assert first.data.data_hash == second.data.data_hash
    np.testing.assert_allclose(first.coefficients, second.coefficients, rtol=1e-5)


def test_the_data_hash_sees_every_value_and_the_weights(planted_rows: Runs) -> None:
    def hash_of(inputs: np.ndarray, loss: np.ndarray, weight: np.ndarray | None = None) -> str:
        return usable_rows(CHINCHILLA, inputs, loss, weight).data_hash

    base = hash_of(planted_rows.inputs, planted_rows.loss)
    moved = planted_rows.loss.copy()
    moved[7] = np.nextafter(moved[7], 9)
    assert len(base) == 16
    assert (
        len(
            {
                base,
                hash_of(planted_rows.inputs, moved),
                hash_of(planted_rows.inputs, planted_rows.loss, np.full(60, 2.0)),
            }
        )
        == 3
    )


def test_fixed_values_stay_and_starting_values_do_no_harm(planted_rows: Runs) -> None:
    free = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=30)
    fixed = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=30, fixed={"E": 1.8, "alpha": 0.34})
    started = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=0, init={"alpha": 1.9, "A": 1e9})
    assert fixed.values["E"] == 1.8 and fixed.values["alpha"] == 0.34
    assert (fixed.draws[:, 0] == 1.8).all() and fixed.objective >= free.objective
    assert fixed.std_errors[1] < free.std_errors[1]
    assert started.objective == pytest.approx(free.objective, rel=1e-8)
    assert started.solution.search.starts == free.solution.search.starts + 1


def test_fixing_a_term_at_zero_leaves_it_out(planted_rows: Runs) -> None:
    fit = fit_law(
        CHINCHILLA,
        planted_rows.inputs,
        planted_rows.loss,
        resamples=0,
        fixed={"B": 0.0, "beta": 0.3},
        objective=LeastSquares(),
    )
    power = fit_law(POWER, planted_rows.inputs[:, :1], planted_rows.loss, resamples=0, objective=LeastSquares())
    np.testing.assert_allclose(fit.coefficients[[0, 1, 3]], power.coefficients, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fixed": {"Alpha": 1.0}}, "fixed names 'Alpha'"),
        ({"init": {"gamma": 1.0}}, "init names 'gamma'"),
        ({"fixed": {"alpha": math.nan}}, "expected a finite number"),
        ({"resamples": -1}, "resamples is -1"),
        ({"level": 1.0}, "level is 1.0"),
        ({"seed": -3}, "seed is -3"),
    ],
)
def test_wrong_options_are_refused_at_once(planted_rows: Runs, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, **options)  # type: ignore[arg-type]


def test_something_must_be_free(planted_rows: Runs) -> None:
    with pytest.raises(FitError, match="every coefficient of chinchilla is fixed"):
        fit_law(
            CHINCHILLA, planted_rows.inputs, planted_rows.loss,
            fixed={"E": 1.0, "A": 1.0, "B": 1.0, "alpha": 0.3, "beta": 0.3},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "loss", "extra", "message"),
    [
        (np.ones((3, 1)), np.ones(3), {}, r"expected \(3, 2\)"),
        (np.ones((3, 2)), np.ones(4), {}, r"expected \(4, 2\)"),
        (np.ones((3, 2)), np.ones(3), {"sample_weight": np.ones(2)}, "2 weights for 3 rows"),
        (np.ones((3, 2)), np.ones(3), {"sample_weight": -np.ones(3)}, "is negative"),
        (np.ones((3, 2)), np.ones(3), {"groups": ["a"]}, "1 group labels for 3 rows"),
    ],
)
def test_shapes_that_do_not_match_say_so(
    inputs: np.ndarray, loss: np.ndarray, extra: dict[str, object], message: str
) -> None:
    with pytest.raises(FitError, match=message):
        fit_law(CHINCHILLA, inputs, loss, **extra)  # type: ignore[arg-type]


def test_no_usable_rows_is_an_empty_selection_with_reasons() -> None:
    with pytest.raises(EmptySelection, match="2 because loss is missing; 1 because params is zero or less"):
        fit_law(CHINCHILLA, [[1, 1], [2, 2], [0, 3]], [np.nan, np.nan, 2.0])
    with pytest.raises(EmptySelection, match="none were given"):
        fit_law(CHINCHILLA, np.empty((0, 2)), [])


def test_one_input_may_be_a_flat_list() -> None:
    x = np.logspace(3, 6, 10)
    fit = fit_law(POWER, x, 1 + 30 / x**0.5, resamples=0)
    np.testing.assert_allclose(fit.coefficients, [1, 30, 0.5], rtol=1e-6)
    assert predict(fit, [1e7]).predicted[0] == pytest.approx(1 + 30 / 1e7**0.5, rel=1e-6)


# intervals


def test_intervals_contain_their_estimate_and_grow_with_the_level(planted_rows: Runs) -> None:
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=300)
    target = [[1e12, 1e13], [1e9, 1e11]]
    narrow, wide = predict(fit, target, level=0.5), predict(fit, target, level=0.99)
    assert (wide.lower < narrow.lower).all() and (narrow.upper < wide.upper).all()
    assert ((narrow.lower < narrow.predicted) & (narrow.predicted < narrow.upper)).all()
    curve = predict(fit, target, kind="confidence")
    run = predict(fit, target, kind="prediction")
    assert (run.lower < curve.lower).all() and (curve.upper < run.upper).all()


def test_prediction_intervals_cover_new_runs_of_the_same_law(planted_rows: Runs) -> None:
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=300)
    generator = np.random.default_rng(99)
    inputs = np.exp(generator.uniform([18, 21], [23.5, 26.5], (2000, 2)))
    measured = CHINCHILLA.predict(TRUTH, inputs) * np.exp(generator.normal(0, 0.003, 2000))
    found = predict(fit, inputs)
    assert np.mean((found.lower <= measured) & (measured <= found.upper)) > 0.9


def test_ratio_and_support_tell_how_far_a_prediction_reaches() -> None:
    x = np.logspace(6, 9, 20)
    fit = fit_law(POWER, x, 1.5 + 400 / x**0.3, resamples=20)
    found = predict(fit, [[1e6], [1e9], [1e10], [1e5]])
    np.testing.assert_allclose(found.ratio[:, 0], [1e-3, 1, 10, 1e-4])
    assert found.in_support.tolist() == [True, True, False, False]


def test_a_stored_law_predicts_what_its_fit_predicts(planted_rows: Runs) -> None:
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=100)
    stored = FittedLaw(
        CHINCHILLA, fit.coefficients, np.array(fit.draws.tolist()), fit.solution.residual_scale, fit.data.support
    )
    first, second = predict(fit, [[1e10, 1e12]]), predict(stored, [[1e10, 1e12]])
    assert (first.predicted, first.lower, first.upper) == (second.predicted, second.lower, second.upper)


def test_without_resamples_intervals_are_missing_not_zero(planted_rows: Runs) -> None:
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=0)
    assert np.isnan(fit.std_errors).all() and np.isnan(fit.lower).all()
    assert np.isnan(predict(fit, [[1e9, 1e10]]).lower).all()


def test_widening_acts_beyond_the_support_only(planted_rows: Runs) -> None:
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=100)
    wider = FittedLaw(
        CHINCHILLA, fit.coefficients, fit.draws, fit.solution.residual_scale, fit.data.support,
        drifting(CHINCHILLA, fit.data.support, 0.01),
    )  # fmt: skip
    inside, beyond = planted_rows.inputs[:1], np.array([[1e13, 1e15]])
    assert predict(wider, inside).lower == predict(fit, inside).lower
    plain, wide = predict(fit, beyond), predict(wider, beyond)
    assert wider.widening is not None
    half = wider.widening.times(0.95) * wider.widening.deviation(beyond)
    for end in ("lower", "upper"):
        before, after = (np.log(getattr(found, end) / found.predicted) for found in (plain, wide))
        assert after == pytest.approx(np.sign(before) * np.hypot(before, half))


@pytest.mark.parametrize(("options", "message"), [({"level": 0}, "level is 0"), ({"kind": "normal"}, "kind 'normal'")])
def test_wrong_interval_options_are_refused(planted_rows: Runs, options: dict[str, object], message: str) -> None:
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=0)
    with pytest.raises(UsageError, match=message):
        predict(fit, [[1e9, 1e10]], **options)  # type: ignore[arg-type]
    with pytest.raises(FitError, match="expected"):
        predict(fit, [[1e9]])


def test_many_rows_are_predicted_in_pieces(planted_rows: Runs) -> None:
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=100)
    inputs = np.tile(planted_rows.inputs, (80, 1))
    found = predict(fit, inputs)
    np.testing.assert_array_equal(found.lower[:60], found.lower[-60:])


# residuals and criteria


def test_residuals_and_leverage_of_the_training_rows(planted_rows: Runs) -> None:
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resamples=0)
    found = residuals(fit, planted_rows.inputs, planted_rows.loss)
    np.testing.assert_allclose(found.residual, fit.solution.residuals)
    assert found.leverage.sum() == pytest.approx(5, rel=1e-6)
    assert ((found.leverage > 0) & (found.leverage < 1)).all()
    assert np.isnan(residuals(fit, planted_rows.inputs[:1], [np.nan]).residual).all()


def test_the_residual_scale_ignores_a_few_wild_rows_but_not_fat_tails() -> None:
    generator = np.random.default_rng(0)
    normal = generator.normal(0, 0.01, 400)
    wild = normal.copy()
    wild[:4] = 3.0
    ones = np.ones(400)
    assert residual_scale(normal, ones, 0) == pytest.approx(0.01, rel=0.1)
    assert residual_scale(wild, ones, 0) == pytest.approx(residual_scale(normal, ones, 0), rel=0.1)
    assert residual_scale(generator.standard_t(2, 400) * 0.01, ones, 0) > 0.015
    assert math.isnan(residual_scale(np.zeros(3), np.ones(3), 5))


def test_criteria_of_least_squares_are_the_gaussian_ones() -> None:
    generator = np.random.default_rng(0)
    left = generator.normal(0, 0.1, 50)
    values = generator.normal(0, 1, 50)
    found = criteria(values, left, np.ones(50), LeastSquares(), float(0.5 * (left**2).sum()), 3)
    variance = float(np.mean(left**2))
    likelihood = -25 * (math.log(2 * math.pi * variance) + 1)
    assert found.log_likelihood == pytest.approx(likelihood, rel=1e-9)
    assert found.bic == pytest.approx(4 * math.log(50) - 2 * likelihood, rel=1e-9)
    assert found.aicc == pytest.approx(8 - 2 * likelihood + 40 / 45, rel=1e-9)
    assert found.r2 == pytest.approx(1 - variance / np.var(values), rel=1e-9)


def test_criteria_prefer_the_law_that_made_the_rows(published: Runs) -> None:
    full = fit_law(CHINCHILLA, published.inputs, published.loss, resamples=0)
    less = fit_law(CHINCHILLA, published.inputs, published.loss, resamples=0, fixed={"E": 0.0})
    assert full.criteria.aicc < less.criteria.aicc - 100 and full.criteria.bic < less.criteria.bic - 100


def test_a_few_wild_rows_do_not_decide_between_laws(planted_rows: Runs) -> None:
    loss = planted_rows.loss.copy()
    loss[[3, 30]] *= 10
    robust = fit_law(CHINCHILLA, planted_rows.inputs, loss, resamples=0, objective=Huber())
    floorless = fit_law(CHINCHILLA, planted_rows.inputs, loss, resamples=0, objective=Huber(), fixed={"E": 0.0})
    assert robust.criteria.aicc < floorless.criteria.aicc
    np.testing.assert_allclose(robust.coefficients[[0, 3, 4]], TRUTH[[0, 3, 4]], rtol=0.1)
