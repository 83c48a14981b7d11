"""What the forms of the field say: limits their papers state, forms that contain one another, values of any sign."""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import (
    CHINCHILLA,
    CRITICAL_BATCH,
    CRITICAL_BATCH_OF_LOSS,
    DISTILLATION,
    EXP4,
    ILOG2,
    KAPLAN,
    KAPLAN_FLOOR,
    MMF4,
    MOE,
    MOE_GRANULARITY,
    PLAIN_POWER,
    POWER,
    SHIFTED_POWER,
    SIGMOID,
    TASK_ACCURACY,
    VAP3,
    VOCABULARY,
    WBL4,
    Law,
)

X = np.geomspace(16, 2e5, 40)[:, None]
SIZES = np.exp(np.random.default_rng(0).uniform([16, 20], [23, 26], (50, 2)))  # params, tokens


def test_kaplan_has_no_floor_and_kaplan_floor_has_one() -> None:
    four = np.array([8.8e13, 5.4e13, 0.076, 0.095])
    bracket = KAPLAN.predict(four, SIZES)
    np.testing.assert_allclose(KAPLAN_FLOOR.predict(np.array([0.0, *four]), SIZES), bracket, rtol=1e-12)
    np.testing.assert_allclose(KAPLAN_FLOOR.predict(np.array([1.3, *four]), SIZES), 1.3 + bracket, rtol=1e-12)


def test_a_floor_that_is_left_out_is_paid_for_with_exponents() -> None:
    true = np.array([1.5, 4.6e6, 2.7e7, 0.3, 0.35])
    loss = KAPLAN_FLOOR.predict(true, SIZES)
    with_floor, without = (fit_law(law, SIZES, loss, resamples=0) for law in (KAPLAN_FLOOR, KAPLAN))
    np.testing.assert_allclose(with_floor.coefficients, true, rtol=1e-6)
    assert without.coefficients[2] < 0.1 and without.criteria.rmse_log > 100 * with_floor.criteria.rmse_log


def test_a_sigmoid_is_half_way_at_its_middle_and_ends_in_its_levels() -> None:
    four = np.array([-0.5, 2.0, 3e19, 1.7])
    ends = SIGMOID.predict(four, np.array([[1e-30], [3e19], [1e60]]))
    np.testing.assert_allclose(ends, [-0.5, 0.75, 2.0], rtol=1e-12)
    middle = 3e3
    same = MMF4.predict(np.array([0.2, middle**1.7, 0.9, 1.7]), X)
    np.testing.assert_allclose(SIGMOID.predict(np.array([0.2, 0.9, middle, 1.7]), X), same, rtol=1e-12)


@pytest.mark.parametrize(("start", "end"), [(-1.2, 0.8), (0.7, -0.4), (-3.0, -1.0)])
def test_rewards_of_any_sign_rise_and_fall_along_a_sigmoid(start: float, end: float) -> None:
    flops = np.geomspace(1e17, 1e22, 60)[:, None]
    true = np.array([start, end, 3e19, 1.1])
    reward = SIGMOID.predict(true, flops) + 0.01 * np.random.default_rng(2).standard_normal(60)
    fit = fit_law(SIGMOID, flops, reward, resamples=200, seed=1)
    assert fit.is_converged and "additive" in fit.codes
    assert np.all(np.abs(fit.coefficients - true) <= 4 * fit.std_errors)
    assert fit.solution.residual_scale == pytest.approx(0.01, rel=0.4)


def test_a_sigmoid_whose_end_is_not_seen_says_so() -> None:
    flops = np.geomspace(1e15, 1e17, 40)[:, None]  # far before the middle: a power of compute
    reward = SIGMOID.predict(np.array([0.0, 0.9, 1e22, 0.8]), flops) * np.exp(
        0.01 * np.random.default_rng(3).standard_normal(40)
    )
    fit = fit_law(SIGMOID, flops, reward, resamples=100)
    end = 1
    assert not fit.is_converged or fit.upper[end] - fit.lower[end] > abs(fit.coefficients[end])


def test_accuracy_is_chance_at_a_high_loss_and_best_at_a_low_one() -> None:
    four = np.array([-0.6, 4.0, 2.5, 0.85])
    accuracy = TASK_ACCURACY.predict(four, np.array([[0.0], [2.5], [50.0]]))
    np.testing.assert_allclose(accuracy, [0.85, 0.55, 0.25], atol=1e-4)


def test_the_zoo_is_what_its_page_says() -> None:
    rising = EXP4.predict(np.array([0.05, np.log(0.7), 0.9, 0.4]), X)
    np.testing.assert_allclose(WBL4.predict(np.array([0.05, 0.7, 0.9, 0.4]), X), rising, rtol=1e-12)
    power = POWER.predict(np.array([0.1, 2.0, 0.3]), X)
    np.testing.assert_allclose(0.1 + PLAIN_POWER.predict(np.array([2.0, 0.3]), X), power, rtol=1e-12)  # pow2, pow3
    slope, offset = 0.02, 1.5  # pow4: c - (a x + b) ^ -alpha, of an accuracy
    pow4 = 0.9 - (slope * X[:, 0] + offset) ** -0.3
    same = 0.1 + SHIFTED_POWER.predict(np.array([0.0, slope**-0.3, offset / slope, 0.3]), X)
    np.testing.assert_allclose(1 - same, pow4, rtol=1e-12)
    exp3 = 0.3 * np.exp(-0.001 * X[:, 0]) + 0.2
    np.testing.assert_allclose(WBL4.predict(np.array([0.001, -0.3, 0.2, 1.0]), X), exp3, rtol=1e-12)


@pytest.mark.parametrize(
    ("law", "true"),
    [
        (MMF4, [0.7, 60.0, 0.1, 0.6]),
        (WBL4, [0.05, -0.6, 0.1, 0.4]),
        (VAP3, [-0.5, 20.0, -0.1]),
        (ILOG2, [-0.9, 0.05]),
    ],
    ids=lambda one: one.name if isinstance(one, Law) else "",
)
def test_errors_that_fall_have_curves_in_the_zoo_too(law: Law, true: list[float]) -> None:
    error = law.predict(np.array(true), X)
    assert (np.diff(error) < 0).all()
    np.testing.assert_allclose(fit_law(law, X, error, resamples=0).coefficients, true, rtol=1e-6)


def test_ilog2_cannot_be_asked_of_one_example() -> None:
    rows = np.vstack([[[1.0]], X])
    accuracy = np.append(0.3, ILOG2.predict(np.array([0.9, 0.95]), X))
    fit = fit_law(ILOG2, rows, accuracy, resamples=0)
    assert not fit.is_converged and fit.reason is not None
    assert "x_at_one" in fit.codes
    np.testing.assert_allclose(fit_law(ILOG2, rows[1:], accuracy[1:], resamples=0).coefficients, [0.9, 0.95], rtol=1e-6)


def test_experts_count_from_e_start_to_e_max_and_help_large_models_less() -> None:
    a, b, c, d, first, last = paper = [-0.082, -0.108, 0.009, 1.104, 1.847, 314.478]
    dense = MOE.predict(np.array(paper), np.array([[1e9, 1.0]]))
    assert np.log10(dense[0]) == pytest.approx(9 * a + (b + 9 * c) * np.log10(first) + d, rel=1e-12)
    many = MOE.predict(np.array(paper), np.array([[1e9, 1e12]]))
    assert np.log10(many[0]) == pytest.approx(9 * a + (b + 9 * c) * np.log10(last) + d, rel=1e-9)
    rows = np.array([[1e7, 1.0], [1e7, 128.0], [1e10, 1.0], [1e10, 128.0]])
    small, large = MOE.predict(np.array(paper), rows).reshape(2, 2)
    assert small[1] / small[0] < large[1] / large[0] < 1


def test_at_one_granularity_experts_follow_chinchilla() -> None:
    c, a, g, b, alpha, beta, gamma = paper = [0.47, 18.1, 2.1, 30.8, 0.115, 0.147, 0.58]
    for granularity in (1.0, 8.0):
        rows = np.column_stack([SIZES, np.full(50, granularity)])
        plain = CHINCHILLA.predict(np.array([c, a + g * granularity**-gamma, b, alpha, beta]), SIZES)
        np.testing.assert_allclose(MOE_GRANULARITY.predict(np.array(paper), rows), plain, rtol=1e-12)


def test_losses_below_zero_have_a_law_of_the_vocabulary() -> None:
    generator = np.random.default_rng(4)
    low, high = np.log([[3e7, 4e6, 1e9], [3e9, 3e8, 5e11]])
    rows = np.exp(generator.uniform(low, high, (120, 3)))
    true = np.array([5.2, 60.0, 20.0, 900.0, 0.3, 0.35, 0.35])
    loss = VOCABULARY.predict(true, rows) + 0.005 * generator.standard_normal(120)
    assert (loss < 0).all()
    fit = fit_law(VOCABULARY, rows, loss, resamples=200)
    assert fit.is_converged and "additive" in fit.codes
    assert np.all(np.abs(fit.coefficients - true) <= 4 * fit.std_errors)


def test_steps_and_examples_lie_on_a_hyperbola() -> None:
    fewest, critical = 4000.0, 250.0
    batch = np.geomspace(4, 1e5, 20)
    steps = CRITICAL_BATCH.predict(np.array([fewest, critical]), batch[:, None])
    examples = steps * batch
    np.testing.assert_allclose((steps / fewest - 1) * (examples / (fewest * critical) - 1), 1, rtol=1e-9)
    (at,) = CRITICAL_BATCH.predict(np.array([fewest, critical]), np.array([[critical]]))
    assert at == pytest.approx(2 * fewest)
    doubled = CRITICAL_BATCH_OF_LOSS.predict(np.array([2e8, 0.5]), np.array([[3.0], [3.0 / 2**0.5]]))
    assert doubled[1] / doubled[0] == pytest.approx(2)


def test_a_student_stays_behind_its_teacher_and_the_bend_lies_at_d_1() -> None:
    coefficients = np.array([1.5, 2.0, 0.9, 0.02, 2000.0, 1e4, 0.35, 0.4, 0.6])
    alone, bare = 2.6, np.sum([2000.0 / 3e8**0.35, 1e4 / 2e10**0.4]) ** 0.6
    teachers = np.array([1.8, 2.0, 2.9, 3.2])  # the bend lies at 2.34
    rows = np.column_stack([teachers, np.full(4, alone), np.full(4, 3e8), np.full(4, 2e10)])
    behind = DISTILLATION.predict(coefficients, rows) - teachers
    poorer = np.maximum(teachers / (0.9 * alone), 1.0) ** -2.0  # what is left of the bend where it is a kink
    np.testing.assert_allclose(behind, bare * teachers**-1.5 * poorer, rtol=1e-3)


def test_one_teacher_does_not_tell_how_much_a_teacher_matters() -> None:
    generator = np.random.default_rng(6)
    size, tokens = np.exp(generator.uniform(np.log([1e8, 4e9]), np.log([8e9, 5e11]), (60, 2))).T
    alone = CHINCHILLA.predict(np.array([1.8, 480.0, 2000.0, 0.35, 0.37]), np.column_stack([size, tokens]))
    rows = np.column_stack([np.full(60, 2.2), alone, size, tokens])
    loss = DISTILLATION.predict(np.array([1.5, 2.0, 0.9, 0.1, 2000.0, 1e4, 0.35, 0.4, 0.6]), rows)
    fit = fit_law(DISTILLATION, rows, loss * np.exp(0.003 * generator.standard_normal(60)), resamples=0)
    assert fit.status == "singular" and fit.reason is not None and "c_0" in fit.reason
    assert any("teacher_loss has one value" in note.message for note in fit.notes)
