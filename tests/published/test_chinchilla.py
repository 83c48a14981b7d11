"""The published Chinchilla fits, from the 240 runs read off figure 4 of Hoffmann et al. 2022.

| number | value | tolerance | source |
| --- | --- | --- | --- |
| sum of Huber(1e-3) | 1.0182740e-3 | at most 1.01828e-3 | replication notebook (arXiv:2404.10102), cell 18 |
| E, alpha, beta | 1.8172355, 0.3473127, 0.3671826 | 1e-4 | same |
| A, B | 477.84171, 2143.86379 | 1 % | same |
| standard errors (A, B, E, alpha, beta) | 124.52, 1293.28, 0.02566, 0.01540, 0.02060 | 1 % | same, 4,000 resamples |
| 95 % intervals of A, B | (285, 744), (1042, 5810) | 0.5 % | same |
| 95 % intervals of E, alpha, beta | (1.769, 1.871), (0.317, 0.373), (0.331, 0.415) | 0.5 % | same |
| beta / (alpha + beta) | 0.513 (0.020) | 0.0015 (5 %) | same; its center is the headline row's, 0.5126 |
| Hoffmann et al.'s own coefficients | 0.0012312 | as printed | arXiv:2203.15556, unrounded log form |
| least squares on log loss | 593.322, 4875.64, 1.86455, 0.360253, 0.405883 | 1e-4 | computed independently with SciPy |
| all 245 rows, Huber(1e-3) | 495.726, 12845.6, 1.89134, 0.349313, 0.453049; 0.00182601 | 1e-3; as printed | same |
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.queries.fitting import GivenWeights, fit_law
from isoflop.queries.laws import CHINCHILLA, Huber, LeastSquares

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def every_row() -> tuple[Array, Array, Array]:
    """Inputs (245, 2), losses (245,) and whether each row is an outlier."""
    from isoflop.lakehouse.exchange.published import find_published

    with Path(find_published("chinchilla_epoch")).open(newline="") as file:
        rows = list(csv.DictReader(file))
    inputs = np.array([[float(row["params"]), float(row["tokens"])] for row in rows])
    return inputs, np.array([float(row["loss"]) for row in rows]), np.array([row["outlier"] == "1" for row in rows])


@pytest.fixture(scope="module")
def runs(every_row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """The 240 rows that are no outliers."""
    inputs, loss, outlier = every_row
    assert len(loss) == 245 and outlier.sum() == 5
    return inputs[~outlier], loss[~outlier]


def _objective(coefficients: list[float], runs: tuple[Array, Array]) -> float:
    residuals = np.log(runs[1]) - np.log(CHINCHILLA.predict(np.array(coefficients), runs[0]))
    return float(Huber(1e-3).weigh(residuals, True)[0].sum())


def test_the_point_fit_is_the_published_optimum(runs: tuple[Array, Array]) -> None:
    fit = fit_law(CHINCHILLA, *runs, resamples=0)
    assert fit.is_converged and len(fit.data) == 240
    assert fit.objective <= 1.01828e-3
    assert fit.objective == pytest.approx(1.0182740e-3, rel=1e-7)
    assert fit.objective == pytest.approx(_objective(fit.coefficients.tolist(), runs), rel=1e-9)
    np.testing.assert_allclose(fit.coefficients[[0, 3, 4]], [1.8172355, 0.3473127, 0.3671826], rtol=1e-4)
    np.testing.assert_allclose(fit.coefficients[[1, 2]], [477.84171, 2143.86379], rtol=1e-2)
    assert fit.solution.search.share > 0.5 and fit.solution.identified.condition < 1e5


def test_published_coefficients_score_what_was_published(runs: tuple[Array, Array]) -> None:
    assert _objective([1.8172, 482.01, 2085.43, 0.3478, 0.3658], runs) == pytest.approx(0.0010228, abs=5e-7)
    hoffmann = [np.exp(0.5267228), np.exp(6.0073404), np.exp(6.0179186), 0.33917084, 0.2849083]
    assert _objective(hoffmann, runs) == pytest.approx(0.0012312, abs=5e-7)


def test_the_bootstrap_of_the_replication_is_reproduced(runs: tuple[Array, Array]) -> None:
    generator = np.random.RandomState(42)
    counts = np.stack([np.bincount(generator.choice(240, 240, replace=True), minlength=240) for _ in range(4000)])
    fit = fit_law(CHINCHILLA, *runs, resampling=GivenWeights(counts))
    np.testing.assert_allclose(fit.std_errors, [0.02566, 124.52, 1293.28, 0.01540, 0.02060], rtol=0.01)
    np.testing.assert_allclose(fit.lower, [1.769, 285, 1042, 0.317, 0.331], rtol=5e-3)
    np.testing.assert_allclose(fit.upper, [1.871, 744, 5810, 0.373, 0.415], rtol=5e-3)
    share = fit.draws[:, 4] / (fit.draws[:, 3] + fit.draws[:, 4])
    estimate = fit.coefficients[4] / (fit.coefficients[3] + fit.coefficients[4])
    assert np.std(share) == pytest.approx(0.020, rel=0.05) and estimate == pytest.approx(0.513, abs=0.0015)
    assert len(fit.draws) == 4000 and "failed_resamples" not in fit.codes


def test_our_own_resamples_agree_with_it(runs: tuple[Array, Array]) -> None:
    fit = fit_law(CHINCHILLA, *runs, resamples=1000)
    np.testing.assert_allclose(fit.std_errors[[0, 1, 3, 4]], [0.02566, 124.52, 0.01540, 0.02060], rtol=0.15)


def test_other_objectives_and_rows_give_their_own_answers(
    runs: tuple[Array, Array], every_row: tuple[Array, Array, Array]
) -> None:
    squares = fit_law(CHINCHILLA, *runs, objective=LeastSquares(), resamples=0)
    np.testing.assert_allclose(squares.coefficients, [1.86455, 593.322, 4875.64, 0.360253, 0.405883], rtol=1e-4)
    whole = fit_law(CHINCHILLA, *every_row[:2], resamples=0)
    assert whole.objective == pytest.approx(0.00182601, abs=5e-9)
    np.testing.assert_allclose(whole.coefficients, [1.89134, 495.726, 12845.6, 0.349313, 0.453049], rtol=1e-3)
