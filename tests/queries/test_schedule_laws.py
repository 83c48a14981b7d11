"""Laws of whole curves: they agree with sums over steps, and predict the curve of a schedule they have not seen."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.lakehouse.errors import EmptySelection, FitError
from isoflop.queries.fitting import fit_law
from isoflop.queries.fitting.intervals import predict
from isoflop.queries.laws import ANNEALING_CURVE, MULTI_POWER
from isoflop.queries.laws.schedule import COSINE, EXPONENTIAL, LINEAR, SQUARE_ROOT, faults_of
from isoflop.queries.laws.schedule_law import ScheduleLaw

Array = NDArray[np.float64]

STEPS, PEAK, FINAL, WARM = 24_000, 3e-4, 3e-5, 500
MULTI = np.array([2.65, 0.62, 0.44, 448.0, 2.07, 0.56, 0.61])
ANNEALED = np.array([2.628, 0.429, 0.507, 0.41, 1000.0])
PLANTED = [(MULTI_POWER, MULTI), (ANNEALING_CURVE, ANNEALED)]
NOISE = 0.002  # of the log loss [1], as smoothed training losses scatter
AGREES = 5e-5  # relative difference [1] of integrals and sums over 20,000 steps


def points(start: float, shape: float, final: float = FINAL, count: int = 60) -> Array:
    """Points of a run after its warm-up, as the laws take them."""
    step = np.linspace(1000, STEPS, count).round()
    return np.column_stack([step, *(np.full(count, value) for value in (PEAK, WARM, start, STEPS, final, shape))])


def rates(start: float, shape: float, final: float) -> Array:
    """The learning rate of every step."""
    step = np.arange(1, STEPS + 1)
    done = np.clip((step - start) / max(STEPS - start, 1), 0, 1)
    left = {LINEAR: 1 - done, COSINE: (1 + np.cos(np.pi * done)) / 2, SQUARE_ROOT: 1 - np.sqrt(done)}.get(shape)
    if left is None:
        left = ((final / PEAK) ** done - final / PEAK) / (1 - final / PEAK)
    return np.asarray(np.where(step <= WARM, PEAK * step / WARM, final + (PEAK - final) * left))


def summed(law: ScheduleLaw, rate: Array, step: int) -> float:
    """The law as the papers write it: sums over the steps."""
    area, drops = np.cumsum(rate), rate[:-1] - rate[1:]
    k = np.arange(WARM + 1, step)
    if law is MULTI_POWER:
        E, A, alpha, B, C, beta, gamma = MULTI
        since = area[step - 1] - area[k - 1]
        brought = B * np.sum(drops[k - 1] * (1 - (C * rate[k] ** -gamma * since + 1) ** -beta))
    else:
        E, A, alpha, factor, memory = ANNEALED
        momentum = annealed = 0.0
        for index in k:
            momentum = (1 - 1 / memory) * momentum + drops[index - 1]
            annealed += momentum
        brought = factor * annealed
    return float(E + A * area[step - 1] ** -alpha - brought)


@pytest.mark.parametrize(("law", "coefficients"), PLANTED, ids=lambda each: getattr(each, "name", ""))
@pytest.mark.parametrize(
    ("start", "shape", "final"),
    [(WARM, COSINE, FINAL), (19_200, LINEAR, FINAL), (19_200, SQUARE_ROOT, FINAL), (19_200, EXPONENTIAL, FINAL),
     (19_200, LINEAR, 1e-8), (STEPS, LINEAR, PEAK)],
)  # fmt: skip
def test_integrals_agree_with_sums_over_steps(
    law: ScheduleLaw, coefficients: Array, start: float, shape: float, final: float
) -> None:
    rate = rates(start, shape, final)
    for step in (5_000, 19_500, 21_000, STEPS):
        row = np.array([[step, PEAK, WARM, start, STEPS, final, shape]])
        assert law.predict(coefficients, row)[0] == pytest.approx(summed(law, rate, step), rel=AGREES)


@pytest.mark.parametrize(("law", "coefficients"), PLANTED, ids=lambda each: getattr(each, "name", ""))
def test_cosine_and_constant_predict_warmup_stable_decay(law: ScheduleLaw, coefficients: Array) -> None:
    seen = np.vstack([points(WARM, COSINE), points(STEPS, LINEAR, PEAK)])
    unseen = points(0.8 * STEPS, EXPONENTIAL)
    truth = law.predict(coefficients, unseen)
    exact = fit_law(law, seen, law.predict(coefficients, seen), resamples=0)
    np.testing.assert_allclose(law.predict(exact.coefficients, unseen), truth, rtol=1e-6)
    noise = NOISE * np.random.default_rng(0).standard_normal(len(seen))
    fit = fit_law(law, seen, law.predict(coefficients, seen) * np.exp(noise), resamples=20)
    found = predict(fit, unseen)
    off = np.abs(found.predicted / truth - 1)
    # The papers report mean errors of 0.1 to 0.3 % on schedules they have not fitted.
    assert off.mean() < 1e-3 and off.max() < 4e-3
    assert np.mean((found.lower < truth) & (truth < found.upper)) > 0.9
    stable = unseen.copy()
    stable[:, 3], stable[:, 5] = STEPS, PEAK  # what the decay brings is far more than what it is mistaken by
    assert (law.predict(coefficients, stable) / truth - 1).max() > 10 * off.mean()


def test_annealing_finds_its_memory_and_keeps_one_that_is_given() -> None:
    seen = np.vstack([points(WARM, COSINE), points(0.8 * STEPS, LINEAR)])
    values = ANNEALING_CURVE.predict(ANNEALED, seen)
    assert fit_law(ANNEALING_CURVE, seen, values, resamples=0).values["memory"] == pytest.approx(1000, rel=1e-3)
    kept = fit_law(ANNEALING_CURVE, seen, values, resamples=0, fixed={"memory": 200.0})
    assert kept.values["memory"] == 200 and kept.objective > 0


def test_after_its_end_a_schedule_stays() -> None:
    rows = points(STEPS, LINEAR, PEAK)[-2:]
    rows[:, 0] = [30_000, 60_000]
    area = PEAK * (rows[:, 0] - WARM / 2)
    np.testing.assert_allclose(MULTI_POWER.predict(MULTI, rows), MULTI[0] + MULTI[1] / area ** MULTI[2], rtol=1e-12)
    decayed = points(19_200, LINEAR, 0.0)[-2:]
    decayed[:, 0] = [STEPS, 60_000]
    same = MULTI_POWER.predict(MULTI, decayed)
    assert same[0] == pytest.approx(same[1], rel=1e-12)  # at rate zero nothing is learned any more


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [(6, 5.0, "decay_shape is none of"), (6, 1.5, "decay_shape is none of"), (2, -1.0, "warmup_steps are below zero"),
     (3, 100.0, "before the end of the warm-up"), (4, 10_000.0, "behind steps"), (5, 1e-3, "not between zero")],
)  # fmt: skip
def test_what_is_no_schedule_is_named_and_left_out(column: int, value: float, words: str) -> None:
    rows = points(19_200, LINEAR)
    rows[:5, column] = value
    assert [words in fault for fault in faults_of(rows)] == [True] * 5 + [False] * 55
    assert np.isnan(MULTI_POWER.predict(MULTI, rows)[:5]).all()
    fit = fit_law(ANNEALING_CURVE, rows, np.full(60, 3.0) + 1 / rows[:, 0], resamples=0)
    assert len(fit.data) == 55 and any(words in reason for reason in fit.data.dropped)
    with pytest.raises(EmptySelection, match=words):
        fit_law(ANNEALING_CURVE, rows[:5], np.full(5, 3.0), resamples=0)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(FitError, match=r"expected \(rows, 7\) and"):
        MULTI_POWER.predict(MULTI[:5], points(19_200, LINEAR))
