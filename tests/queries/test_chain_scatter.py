"""Chains of laws that scatter by a factor or by an amount: the intervals are those of an independent simulation."""

from __future__ import annotations

import numpy as np
import pytest
from planted_laws import drifting

from isoflop.queries.fitting.chain import Link, predict_chain
from isoflop.queries.fitting.intervals import predict
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.fitting.scatter import MULTIPLICATIVE, Scatter
from isoflop.queries.laws import POWER

FACTOR, AMOUNT = MULTIPLICATIVE, Scatter(0.3)
FIRST = np.array([3.0, 4.0, 0.5])  # 4 at an input of 16, so that every draw is one the second law takes
SECOND = {FACTOR: np.array([0.5, 6.0, 1.0]), AMOUNT: np.array([-1.51, 6.0, 1.0])}  # 2, and just below zero
OPEN = np.array([[np.nan]])
SIMULATED = 1_000_000  # courses: the end of an interval is then known to a three hundredth of its half width


def fitted(center: np.ndarray, scatter: Scatter, noise: float, largest: float, drift: float) -> FittedLaw:
    draws = center * (1 + np.array([0.01, 0.02, 0.01]) * np.random.default_rng(7).standard_normal((500, 3)))
    support = np.array([[0.1, largest]])
    return FittedLaw(POWER, center, draws, noise, support, drifting(POWER, support, drift), scatter=scatter)


def simulated(laws: list[FittedLaw], value: float, chance: np.random.Generator) -> np.ndarray:
    """What a million courses give at the end of the chain."""
    values = np.full(SIMULATED, value)
    for law in laws:
        floor, height, power = law.draws[chance.integers(len(law.draws), size=SIMULATED)].T
        noise = law.residual_scale * chance.standard_normal(SIMULATED)
        if law.widening is not None:
            center = np.array([[float(np.median(values))]])
            noise += law.widening.deviation(center)[0] * chance.standard_t(law.widening.freedom, SIMULATED)
        curve = floor + height * values**-power
        values = curve + noise if law.scatter.is_additive else curve * np.exp(noise)
    return values


@pytest.mark.parametrize("drift", [0.0, 0.004])
@pytest.mark.parametrize("second", [FACTOR, AMOUNT], ids=["factor", "amount"])
@pytest.mark.parametrize("first", [FACTOR, AMOUNT], ids=["factor", "amount"])
def test_intervals_are_those_of_a_simulation(first: Scatter, second: Scatter, drift: float) -> None:
    largest = 0.2 if drift else 1000.0  # far beyond the rows, or among them
    laws = [
        fitted(FIRST, first, 0.02, largest, drift),
        fitted(SECOND[second], second, 0.03, largest, drift),
    ]
    chained = predict_chain([Link(laws[0], np.array([[16.0]])), Link(laws[1], OPEN, 0)])
    found = chained.predictions[1]
    lower, upper = np.quantile(simulated(laws, 16.0, np.random.default_rng(1)), [0.025, 0.975])
    half = 0.5 * (upper - lower)
    assert found.lower[0] == pytest.approx(lower, abs=0.05 * half)  # 10,000 pairs know an end to a thirtieth of it
    assert found.upper[0] == pytest.approx(upper, abs=0.05 * half)
    assert found.lower[0] < found.predicted[0] < found.upper[0]
    assert chained.pairs == 10_000 and chained.carried == 2


@pytest.mark.parametrize("drift", [0.0, 0.01])
@pytest.mark.parametrize("kind", ["prediction", "confidence"])
@pytest.mark.parametrize("second", [FACTOR, AMOUNT], ids=["factor", "amount"])
@pytest.mark.parametrize("first", [FACTOR, AMOUNT], ids=["factor", "amount"])
def test_behind_a_law_without_noise_stands_what_the_second_says_alone(
    first: Scatter, second: Scatter, kind: str, drift: float
) -> None:
    exact = FittedLaw(POWER, FIRST, np.tile(FIRST, (50, 1)), 0.0, np.array([[0.1, 1000.0]]), scatter=first)
    last = fitted(SECOND[second], second, 0.03, 2.0 if drift else 10.0, drift)  # 4 lies beyond its rows, or among them
    found = predict_chain([Link(exact, np.array([[16.0]])), Link(last, OPEN, 0)], 0.9, kind).predictions[1]
    alone = predict(last, np.array([[4.0]]), 0.9, kind)
    assert found.predicted[0] == pytest.approx(alone.predicted[0], rel=1e-12)
    # among the rows the same; beyond, the law's own error is drawn here and a root of squares there
    apart = 0.05 * (alone.upper[0] - alone.lower[0]) if drift else 1e-6 * abs(alone.upper[0])
    assert found.lower[0] == pytest.approx(alone.lower[0], abs=apart)
    assert found.upper[0] == pytest.approx(alone.upper[0], abs=apart)


def test_a_last_law_without_draws_leaves_the_intervals_before_it() -> None:
    laws = [fitted(FIRST, FACTOR, 0.02, 1000.0, 1.0), fitted(SECOND[FACTOR], FACTOR, 0.03, 1000.0, 1.0)]
    links = [Link(laws[0], np.array([[16.0]])), Link(laws[1], OPEN, 0)]
    bare = FittedLaw(POWER, FIRST, np.empty((0, 3)), 0.01, np.array([[0.1, 1000.0]]))
    short, long = predict_chain(links), predict_chain([*links, Link(bare, OPEN, 0)])
    assert (long.carried, long.pairs) == (2, short.pairs)
    assert long.predictions[1].lower == short.predictions[1].lower
    assert long.predictions[1].upper == short.predictions[1].upper
    assert np.isnan(long.predictions[2].lower[0]) and np.isfinite(long.predictions[2].predicted[0])
    middle = predict_chain([links[0], Link(bare, OPEN, 0), links[1]])
    assert (middle.carried, middle.pairs) == (1, 0)
    assert np.isnan(middle.predictions[1].lower[0]) and np.isnan(middle.predictions[2].lower[0])
