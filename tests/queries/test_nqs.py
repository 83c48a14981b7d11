"""The noisy quadratic system: its sums, published predictions, limits, and fits judged by runs they have not seen."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import zeta

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FitError
from isoflop.queries.fitting import fit_law, predict
from isoflop.queries.laws import CHINCHILLA, NQS, NQS_REGULARIZED, find_law
from isoflop.queries.laws.nqs import LEARNING_RATE, NoisyQuadratic
from isoflop.queries.laws.quadratic_sums import zeta_tail

Array = NDArray[np.float64]

# p, q, P_1, Q_1, e, R_1, r as published (arXiv:2605.09154)
PUBLISHED = np.array([1.1131253732848405, 0.584242820729791, 3.3926855412266743, 0.8853327469240055,
                      0.35449737765209993, 8.410028810517371, 2.5829307382669966])  # fmt: skip


def _runs(
    low: float, high: float, count: int, seed: int, noise: float = 0.0, budget: float = 0.0
) -> tuple[Array, Array]:
    """Inputs (R, 3) and losses (R,) of runs with logarithms of their compute between two numbers."""
    generator = np.random.default_rng(seed)
    params = np.exp(generator.uniform(0.32 * low, 0.36 * high, count))
    batch = np.exp(generator.uniform(4.0, 7.5, count))
    steps = np.maximum(np.exp(generator.uniform(low, high, count)) / (6 * params * batch * 128), 200.0)
    inputs = np.column_stack([params, batch, np.floor(steps)])
    return inputs, NQS.predict(PUBLISHED, inputs) * np.exp(generator.normal(0, noise, count))


def _one_by_one(inputs: Array, coefficients: Array) -> float:
    """The loss of one run summed direction by direction."""
    p, q, P, Q, e, R, r = coefficients
    params, batch, steps = inputs
    n = np.arange(1.0, params + 1)
    curvature = Q * n**-q
    left = (1 - LEARNING_RATE * curvature) ** 2
    bias = P / 2 * n**-p * left**steps
    noise = 0.5 * curvature * R * n**-r * LEARNING_RATE**2 / batch * (1 - left**steps) / (1 - left)
    return float(e + P / 2 * zeta(p, params + 1) + np.sum(bias + noise))


@pytest.mark.parametrize("run", [(2e5, 64, 1000), (2e6, 4, 2e5), (5000, 512, 30), (101, 8, 50), (7, 2, 3), (1, 1, 1)])
def test_the_fast_sum_is_the_sum_over_all_directions(run: tuple[float, float, float]) -> None:
    exact = _one_by_one(np.array(run), PUBLISHED)
    assert NQS.predict(PUBLISHED, np.array([run]))[0] == pytest.approx(exact, rel=1e-8)


def test_the_tail_of_the_zeta_function_and_its_slope() -> None:
    p, first = np.array([1.005, 1.1, 2.0, 4.0])[:, None], np.array([2.0, 50.0, 101.0, 1e6, 1e11])
    value, slope = zeta_tail(p, first)
    np.testing.assert_allclose(value, zeta(p, first), rtol=1e-12)
    above, below = zeta_tail(p + 1e-6, first)[0], zeta_tail(p - 1e-6, first)[0]
    np.testing.assert_allclose(slope, (above - below) / 2e-6, rtol=1e-6)


def test_the_formula_agrees_with_simulated_training() -> None:
    generator = np.random.default_rng(0)
    p, q, P, Q, e, R, r = 1.3, 0.8, 4.0, 0.5, 0.2, 2.0, 1.1
    n = np.arange(1.0, 301)
    curvature, size = Q * n**-q, 4000
    weights = np.sqrt(P * n**-p / curvature) * generator.choice([-1.0, 1.0], (size, 300))
    for _ in range(50):
        noise = generator.normal(0, 1, (size, 300)) * np.sqrt(R * n**-r / 8)
        weights = weights - LEARNING_RATE * (curvature * weights + noise)
    losses = e + P / 2 * zeta(p, 301) + 0.5 * (curvature * weights**2).sum(axis=1)
    expected = NQS.predict(np.array([p, q, P, Q, e, R, r]), np.array([[300.0, 8.0, 50.0]]))[0]
    assert abs(losses.mean() - expected) < 4 * losses.std() / np.sqrt(size)


def test_published_predictions_are_reproduced() -> None:
    runs = np.array([[64e6, 9134, 135200], [1.024e9, 2695, 27794]])
    np.testing.assert_allclose(NQS_REGULARIZED.predict(PUBLISHED, runs), [2.31779, 1.97264], atol=6e-6)
    assert np.abs(NQS.predict(PUBLISHED, runs) / [2.31779, 1.97264] - 1).max() < 0.005


@pytest.mark.parametrize("law", [NQS, NQS_REGULARIZED], ids=lambda law: law.name)
def test_slopes_agree_with_differences(law: object) -> None:
    inputs = _runs(30.0, 40.0, 6, 3)[0]
    value, slopes = law.value_and_slopes(PUBLISHED, inputs)
    np.testing.assert_array_equal(value, law.predict(PUBLISHED, inputs))
    for k in range(7):
        step = np.zeros(7)
        step[k] = 1e-5 * PUBLISHED[k]
        above, below = law.predict(PUBLISHED + step, inputs), law.predict(PUBLISHED - step, inputs)
        np.testing.assert_allclose(slopes[k], (above - below) / (2 * step[k]), rtol=2e-4, atol=1e-7)


def test_limits_of_batch_steps_and_parameters() -> None:
    p, _, P, _, e, _, _ = PUBLISHED
    endless = np.array([[1e6, 1e30, 1e30]])
    assert NQS.predict(PUBLISHED, endless)[0] == pytest.approx(e + P / 2 * zeta(p, 1e6 + 1), rel=1e-6)
    quiet = PUBLISHED.copy()
    quiet[5] = 0.0
    large_batch = NQS.predict(PUBLISHED, np.array([[1e6, 1e30, 1e4]]))[0]
    assert large_batch == pytest.approx(NQS.predict(quiet, np.array([[1e6, 8.0, 1e4]]))[0], rel=1e-12)
    ladder = np.geomspace(1, 1e4, 40)

    def falls(coefficients: Array, column: int) -> bool:
        rows = np.tile([1e7, 64.0, 1e4], (40, 1))
        rows[:, column] = ladder * (1e3 if column == 0 else 1)
        return bool((np.diff(NQS.predict(coefficients, rows)) < 0).all())

    assert falls(PUBLISHED, 1) and falls(quiet, 0) and falls(quiet, 2)


def test_a_learning_rate_that_falls_changes_nothing_when_weights_do_not_grow() -> None:
    small = PUBLISHED.copy()
    small[[2, 5]] = 1e-9
    runs = _runs(30.0, 40.0, 5, 1)[0]
    np.testing.assert_allclose(NQS_REGULARIZED.predict(small, runs), NQS.predict(small, runs), rtol=1e-9)


def test_batches_of_coefficients_keep_their_shape_and_wrong_shapes_are_refused() -> None:
    runs = _runs(30.0, 40.0, 3, 1)[0]
    many = np.tile(PUBLISHED, (2, 4, 1))
    for law in (NQS, NQS_REGULARIZED):
        assert law.predict(many, runs).shape == (2, 4, 3) and law.jacobian(many, runs).shape == (2, 4, 7, 3)
        with pytest.raises(FitError, match="expected"):
            law.predict(PUBLISHED, runs[:, :2])
        with pytest.raises(FitError, match="expected"):
            law.predict(PUBLISHED[:6], runs)
        assert find_law(law.name) is law


@pytest.mark.parametrize("law", [NQS, NQS_REGULARIZED], ids=lambda law: law.name)
@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_the_macro_predicts_what_the_law_predicts(law: NoisyQuadratic, shift: float) -> None:
    coefficients = PUBLISHED * np.exp(shift * np.array([1, 1, 1, -1, 1, 1, 1]))
    edges = [[1, 1, 1], [7, 2, 3], [99, 3, 5], [100, 3, 11], [101, 8, 50], [5000, 512, 30], [64e6, 9134, 135200]]
    runs = np.concatenate([_runs(30.0, 44.0, 20, 0)[0], edges, [[1e11, 1e4, 1e6], [50.5, 3, 9.5], [1e6, 8, 199]]])
    connection = duckdb.connect()
    connection.execute(law.macro("fitted law", coefficients))
    connection.execute("CREATE TABLE rows (params DOUBLE, batch DOUBLE, steps DOUBLE)")
    connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", runs.tolist())
    found = connection.execute('SELECT "fitted law"(params, batch, steps) FROM rows').fetchall()
    np.testing.assert_allclose(np.array(found)[:, 0], law.predict(coefficients, runs), rtol=1e-12)
    whole = connection.execute('SELECT "fitted law"(1000000, 64, 5000), "fitted law"(100000000000::HUGEINT, 8, 300)')
    expected = law.predict(coefficients, np.array([[1e6, 64, 5000], [1e11, 8, 300]]))
    np.testing.assert_allclose(whole.fetchall()[0], expected, rtol=1e-12)


@pytest.fixture(scope="module")
def planted() -> tuple[Array, Array, Array, Array]:
    """64 small runs with 0.5 % noise, and 30 with up to 1,000 times their compute."""
    small, large = _runs(32.0, 37.0, 64, 5, 0.005), _runs(38.0, 44.0, 30, 6)
    return (*small, *large)


@pytest.mark.slow
def test_a_fit_predicts_much_larger_runs_and_beats_a_law_without_batch(
    planted: tuple[Array, Array, Array, Array],
) -> None:
    inputs, loss, larger, measured = planted
    fit = fit_law(NQS, inputs, loss, resamples=200)
    assert fit.is_converged and fit.criteria.rmse_log < 0.0065 and fit.solution.search.share > 0.01
    error = np.sqrt(np.mean(np.log(predict(fit, larger).predicted / measured) ** 2))
    tokens = np.column_stack([inputs[:, 0], inputs[:, 1] * inputs[:, 2] * 128])
    other = fit_law(CHINCHILLA, tokens, loss, resamples=0)
    theirs = predict(other, np.column_stack([larger[:, 0], larger[:, 1] * larger[:, 2] * 128])).predicted
    assert error < 0.03 and np.sqrt(np.mean(np.log(theirs / measured) ** 2)) >= 1.8 * error
    assert len(fit.draws) == 200 and (fit.upper[:2] > fit.lower[:2]).all()


def test_the_regularised_law_predicts_with_the_coefficients_of_the_plain_one(
    planted: tuple[Array, Array, Array, Array],
) -> None:
    inputs, loss, _, _ = planted
    plain = fit_law(NQS, inputs[::2], loss[::2], resamples=0, init={"p": 1.1}, seed=3)
    other = fit_law(NQS_REGULARIZED, inputs[::2], loss[::2], resamples=0, init={"p": 1.1}, seed=3)
    np.testing.assert_array_equal(plain.coefficients, other.coefficients)
    assert other.law is NQS_REGULARIZED and "fitted_as" in other.codes
    np.testing.assert_allclose(
        other.solution.residuals, np.log(loss[::2] / NQS_REGULARIZED.predict(plain.coefficients, inputs[::2]))
    )


def test_a_statement_fits_and_extrapolates_it(lakehouse: Lakehouse, planted: tuple[Array, Array, Array, Array]) -> None:
    inputs, loss, _, _ = planted
    lakehouse.query("CREATE TABLE small (params DOUBLE, batch DOUBLE, steps DOUBLE, loss DOUBLE)")
    values = ", ".join(str(tuple(map(float, row))) for row in np.column_stack([inputs, loss]))
    lakehouse.query(f"INSERT INTO small VALUES {values}")
    lakehouse.sql(
        "CREATE LAW noisy AS FIT loss ~ nqs(params, batch, steps) FROM small WITH (resamples = 20, forward = false)"
    )
    (row,) = lakehouse.sql("EXTRAPOLATE noisy TO params = 3e6, batch = 300, steps = 1e5").records()
    assert row["lower"] < row["predicted_loss"] < row["upper"]
    assert lakehouse.query("SELECT noisy(3e6, 300, 1e5)").column(0)[0].as_py() == pytest.approx(row["predicted_loss"])
    assert row["predicted_loss"] == pytest.approx(NQS.predict(PUBLISHED, np.array([[3e6, 300, 1e5]]))[0], rel=0.03)
