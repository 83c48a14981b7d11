"""Laws one behind another: the interval of the last holds what all of them leave open."""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.queries.fitting.chain import Link, predict_chain
from isoflop.queries.fitting.fit import fit_law
from isoflop.queries.fitting.intervals import predict
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.laws import NQS, POWER, TASK_ERROR, LeastSquares
from isoflop.queries.laws.pairwise import predict_each

LOSS = np.array([1.7, 60.0, 0.25])  # E, A, alpha of the first law, over params
ERROR = np.array([0.85, 3.0, 1.1])  # epsilon, k, gamma of the second, over the loss


def noiseless(scale: float = 0.0) -> FittedLaw:
    support = np.array([[1e6, 1e9]])
    return FittedLaw(POWER, LOSS, np.tile(LOSS, (50, 1)), scale, support)


def second(seed: int = 0, noise: float = 0.01) -> FittedLaw:
    generator = np.random.default_rng(seed)
    loss = np.linspace(2.2, 4.0, 30)
    error = TASK_ERROR.predict(ERROR, loss[:, None]) * np.exp(noise * generator.standard_normal(30))
    return fit_law(TASK_ERROR, loss, error, objective=LeastSquares(), resamples=1000, forward=False).fitted


@pytest.mark.parametrize("kind", ["prediction", "confidence"])
def test_behind_a_law_without_noise_stands_what_the_second_says_alone(kind: str) -> None:
    params = np.array([[1e8], [1e10]])
    task = second()
    chained = predict_chain([Link(noiseless(), params), Link(task, np.full((2, 1), np.nan), 0)], 0.95, kind)
    alone = predict(task, POWER.predict(LOSS, params)[:, None], 0.95, kind)
    np.testing.assert_allclose(chained.predictions[1].predicted, alone.predicted, rtol=1e-12)
    np.testing.assert_allclose(chained.predictions[1].lower, alone.lower, rtol=1e-9)
    np.testing.assert_allclose(chained.predictions[1].upper, alone.upper, rtol=1e-9)
    assert chained.pairs == 10_000


def test_what_the_first_law_leaves_open_widens_the_second() -> None:
    params = np.array([[1e10]])
    task = second()
    widths = []
    for scale in (0.0, 0.01, 0.05):
        chained = predict_chain([Link(noiseless(scale), params), Link(task, np.full((1, 1), np.nan), 0)])
        widths.append(chained.predictions[1].upper[0] - chained.predictions[1].lower[0])
    assert widths[0] < widths[1] < widths[2]
    curve = predict_chain([Link(noiseless(0.05), params), Link(task, np.full((1, 1), np.nan), 0)], kind="confidence")
    alone = predict(task, POWER.predict(LOSS, params)[:, None], kind="confidence")
    np.testing.assert_allclose(curve.predictions[1].upper, alone.upper, rtol=1e-9)  # a curve has no scatter to hand on


def test_the_spread_of_a_sum_in_logarithms_is_carried_exactly() -> None:
    """Two plain powers without draws' spread: log error = exponent times log scatter, plus that of the second."""
    first = FittedLaw(POWER, np.array([0.0, 8.0, 0.5]), np.tile([0.0, 8.0, 0.5], (10, 1)), 0.03, np.array([[1.0, 9.0]]))
    last = FittedLaw(POWER, np.array([0.0, 5.0, 2.0]), np.tile([0.0, 5.0, 2.0], (10, 1)), 0.02, np.array([[0.1, 9.0]]))
    found = predict_chain([Link(first, np.array([[4.0]])), Link(last, np.array([[np.nan]]), 0)]).predictions[1]
    half = 1.959964 * np.hypot(2.0 * 0.03, 0.02)
    assert np.log(found.upper[0] / found.predicted[0]) == pytest.approx(half, rel=0.05)  # of 10,000 pairs
    assert np.log(found.predicted[0] / found.lower[0]) == pytest.approx(half, rel=0.05)


def test_three_laws_follow_one_another_and_a_seed_gives_one_answer() -> None:
    plain = FittedLaw(POWER, np.array([0.0, 2.0, 1.0]), np.tile([0.0, 2.0, 1.0], (9, 1)), 0.01, np.array([[1.0, 9.0]]))
    open_ = np.array([[np.nan]])
    links = [Link(plain, np.array([[4.0]])), Link(plain, open_, 0), Link(plain, open_, 0)]
    chained = predict_chain(links, seed=3)
    assert [round(float(one.predicted[0]), 9) for one in chained.predictions] == [0.5, 4.0, 0.5]
    ratio = [np.log(one.upper / one.lower)[0] for one in chained.predictions]
    assert ratio[1] == pytest.approx(np.sqrt(2) * ratio[0], rel=0.05)
    assert ratio[2] == pytest.approx(np.sqrt(3) * ratio[0], rel=0.05)
    again = predict_chain(links, seed=3)
    assert again.predictions[2].upper == chained.predictions[2].upper
    assert predict_chain(links, seed=4).predictions[2].upper != chained.predictions[2].upper


def test_a_law_without_draws_leaves_no_interval_behind_it() -> None:
    bare = FittedLaw(POWER, LOSS, np.empty((0, 3)), 0.01, np.array([[1e6, 1e9]]))
    chained = predict_chain([Link(bare, np.array([[1e10]])), Link(second(), np.array([[np.nan]]), 0)])
    assert chained.pairs == 0 and np.isnan(chained.predictions[1].lower[0])
    assert np.isfinite(chained.predictions[1].predicted[0])


def test_pairs_are_predicted_as_each_alone_whatever_the_law() -> None:
    sizes = np.array([[[1e8], [1e9]], [[3e8], [2e9]]])  # two draws with two points each
    nqs = np.concatenate([sizes, np.full_like(sizes, 64.0), np.full_like(sizes, 1e3)], axis=2)
    draws = np.array([1.2, 0.7, 1.0, 0.5, 0.3, 1.0, 0.6])
    for law, coefficients, inputs in ((POWER, LOSS, sizes), (NQS, draws, nqs)):  # a formula, and a computed law
        each = np.stack([coefficients, coefficients * 1.1])
        found = predict_each(law, each, inputs)
        for n in range(2):
            np.testing.assert_allclose(found[n], law.predict(each[n], inputs[n]))


@pytest.mark.long
def test_intervals_of_a_chain_hold_as_many_new_runs_as_they_say() -> None:
    """200 planted worlds: 40 runs for the loss, 40 others for the error, a run 10 times larger than any."""
    assert 0.90 <= coverage(200) <= 0.99


def coverage(worlds: int) -> float:
    """Share of the errors of a new run that the 95 % interval of the chain holds, and of the curve."""
    held = []
    for world in range(worlds):
        generator = np.random.default_rng(world)
        params = np.geomspace(1e6, 1e9, 40)

        def runs(size: np.ndarray, chance: np.random.Generator = generator) -> tuple[np.ndarray, np.ndarray]:
            loss = POWER.predict(LOSS, size[:, None]) * np.exp(0.01 * chance.standard_normal(len(size)))
            error = TASK_ERROR.predict(ERROR, loss[:, None]) * np.exp(0.02 * chance.standard_normal(len(size)))
            return loss, error

        loss, _ = runs(params)
        seen, error = runs(params)
        options = {"objective": LeastSquares(), "resamples": 200, "forward": False}
        first = fit_law(POWER, params, loss, **options).fitted
        task = fit_law(TASK_ERROR, seen, error, **options).fitted
        at = np.array([[1e10]])
        found = predict_chain([Link(first, at), Link(task, np.full((1, 1), np.nan), 0)]).predictions[1]
        _, measured = runs(at[:, 0])
        held.append(bool(found.lower[0] <= measured[0] <= found.upper[0]))
    return float(np.mean(held))
