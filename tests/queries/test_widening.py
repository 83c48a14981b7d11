"""Intervals beyond the rows: how far a prediction reaches, how much wider it gets, and whether that is enough."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from run_samples import Runs

from isoflop.lakehouse import Lakehouse
from isoflop.queries.fitting import fit_law, predict
from isoflop.queries.fitting.widening import LARGEST_RATIO, reach, size_edge, widened, widening_factor
from isoflop.queries.laws import CHINCHILLA, POWER, STEP_TIME
from tests.bench.bench_calibration import coverage
from tests.bench.planted_worlds import WORLDS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FakeCut:
    """A cut whose errors are a given number of times what was predicted."""

    times: float
    n_train: int = 40
    size: int = 400
    measured: Array = field(init=False)

    def __post_init__(self) -> None:
        errors = np.random.default_rng(0).normal(0, self.times, self.size)
        object.__setattr__(self, "measured", np.exp(0.01 * errors / errors.std() * self.times))

    @property
    def predicted(self) -> Array:
        return np.ones(self.size)

    @property
    def lower(self) -> Array:
        return np.full(self.size, np.exp(-0.0196))

    @property
    def upper(self) -> Array:
        return np.full(self.size, np.exp(0.0196))


def test_reach_is_zero_among_the_rows_and_counts_spans_beyond_them() -> None:
    inputs = np.array([[1e6, 1e8], [1e9, 1e9], [1e7, 1e10]])
    edge, support = size_edge(CHINCHILLA, inputs), np.array([[1e6, 1e9], [1e8, 1e10]])
    places = np.array([[1e8, 1e9], [1e10, 1e9], [1e6, 1e7], [1e9, 1e10], [1e7, 1e12]])
    found = reach(CHINCHILLA, places, support, edge)
    span = 18 - 14
    np.testing.assert_allclose(found, [0, 1 / 3, 1 / 2, (19 - 18) / span, 1.0], atol=1e-12)
    np.testing.assert_allclose(reach(CHINCHILLA, places, support, None), [0, 1 / 3, 1 / 2, 0, 1], atol=1e-12)


def test_reach_copes_with_single_values_and_inputs_that_may_be_zero() -> None:
    assert reach(POWER, np.array([[np.e * 5.0]]), np.array([[5.0, 5.0]]), None) == pytest.approx(1.0)
    support = np.array([[0.0, 10.0], [0.0, 0.0], [2.0, 4.0]])
    places = np.array([[20.0, 0.0, 3.0], [5.0, 0.0, 5.0]])
    np.testing.assert_allclose(reach(STEP_TIME, places, support, None), [1.0, 0.5])
    assert size_edge(STEP_TIME, places) is None


def test_the_ramp_starts_at_nothing_and_has_no_step() -> None:
    reached = np.linspace(0, 1, 2001)
    factor = widened(3.0, reached)
    assert factor[0] == 1.0 and factor[-1] == pytest.approx(3.0, abs=1e-6)
    assert (np.diff(factor) >= 0).all() and np.diff(factor).max() < 0.025
    assert widened(3.0, np.array([0.05]))[0] == pytest.approx(1 + 2 * (1 - np.exp(-1)))


def test_the_factor_grows_with_the_errors_of_the_cuts_within_limits() -> None:
    factors = [widening_factor([FakeCut(times)] * 3, 50, 5, 0.95) for times in (0.1, 1.0, 2.0, 3.0)]
    assert factors == sorted(factors) and 1.0 <= factors[0] < 1.1 < factors[1] < 1.6 < factors[3]
    tiny = [FakeCut(3.0, n_train=6)] * 3
    assert widening_factor(tiny, 50, 5, 0.95) == widening_factor([], 50, 5, 0.95)
    wild = [FakeCut(1.0)] * 9 + [FakeCut(50.0, size=4)]  # four rows of 3,604 must not decide
    assert widening_factor(wild, 50, 5, 0.95) < LARGEST_RATIO


@pytest.mark.parametrize("times", [0.5, 1.3, 4.0, 50.0])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_widened_intervals_hold_the_stated_share_of_what_the_cuts_left_out(times: float, level: float) -> None:
    cut = FakeCut(times)
    factor = widening_factor([cut] * 3, 50, 5, level)
    assert level <= np.mean(np.abs(np.log(cut.measured)) <= factor * 0.0196 * (1 + 1e-9))


def test_intervals_leave_the_rows_without_a_step(published: Runs) -> None:
    fit = fit_law(CHINCHILLA, published.inputs, published.loss, resamples=300, forward=True)
    assert fit.widening > 1.2
    corner = published.inputs[np.argmax(published.inputs.prod(axis=1))]
    path = corner * np.exp(np.linspace(-0.5, 3, 400))[:, None]
    found = predict(fit, path)
    half = np.log(found.upper / found.lower)
    assert np.max(np.abs(np.diff(half))) < 0.05 * (half.max() - half.min())
    plain = predict(replace(fit.fitted, widening=1.0), path)
    np.testing.assert_array_equal(found.upper[:10], plain.upper[:10])
    assert found.upper[-1] > plain.upper[-1]


def test_a_stored_law_keeps_its_widening_and_edge(lakehouse: Lakehouse, chinchilla_csv: object) -> None:
    lakehouse.sql(f"CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM '{chinchilla_csv}' WHERE outlier = 0 "
                  "WITH (resamples = 100)")  # fmt: skip
    rows = lakehouse.sql("EXTRAPOLATE chin TO params = [1e10, 1e12], tokens = 3e11").records()
    inputs = [[row["params"], row["tokens"]] for row in rows]
    table = lakehouse.query(f"SELECT params, tokens, loss FROM '{chinchilla_csv}' WHERE outlier = 0").to_pydict()
    fit = fit_law(
        CHINCHILLA, np.column_stack([table["params"], table["tokens"]]), table["loss"], resamples=100, forward=True
    )
    (kept,) = lakehouse.query("SELECT diagnosis FROM store.laws").to_pydict()["diagnosis"]
    diagnosis = json.loads(kept)
    assert diagnosis["edge"] == pytest.approx(fit.fitted.edge)
    assert diagnosis["widening"] == pytest.approx(fit.widening, rel=0.05)  # the order of rows decides the resamples
    wide, plain = predict(fit, inputs), predict(replace(fit.fitted, widening=1.0), inputs)
    uppers = np.array([row["upper"] for row in rows])
    assert (np.abs(np.log(uppers / wide.upper)) < 0.2 * np.log(wide.upper / plain.upper)).all()


def test_calibrated_intervals_hold_what_they_say_where_plain_ones_do_not() -> None:
    found = []
    for world in (world for world in WORLDS if world.name == "chinchilla on kaplan"):
        for seed in range(500, 506):
            one = world.draw(seed)
            found.append(coverage(one.law, (one.inputs, one.values), (one.larger_inputs, one.larger_values)))
    plain, calibrated = (np.mean([getattr(one, key) for one in found]) for key in ("plain", "calibrated"))
    assert plain < 0.93 and 0.93 < calibrated <= 1.0
