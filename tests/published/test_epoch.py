"""The two published answers on the 240 runs of the Chinchilla replication, and its bootstrap.

| number | value | tolerance | source |
| --- | --- | --- | --- |
| likelihood with a free scale: A, B | 482.00572, 2085.43420 | 1e-5 | replication notebook (arXiv:2404.10102), cell 25 |
| E, alpha, beta | 1.81686, 0.34781, 0.36585 | as printed | same |
| its scale | 4.7e-6 | as printed | same |
| sum of Huber(1e-3): A, B | 477.84171, 2143.86379 | 1 % | same, cell 18 |
| E, alpha, beta | 1.8172355, 0.3473127, 0.3671826 | 1e-4 | same |
| standard errors A, B, E, alpha, beta | 124.52, 1293.28, 0.02566, 0.01540, 0.02060 | 1 % | same, 4,000 of seed 42 |
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.lakehouse import Lakehouse
from isoflop.queries.fitting import FitOptions, GivenWeights, LeaveOneOut, cross_validate, fit_law, usable_rows
from isoflop.queries.laws import CHINCHILLA, Huber, HuberLikelihood

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def runs() -> tuple[Array, Array]:
    """Inputs (240, 2) and losses (240,)."""
    from isoflop.lakehouse.exchange.published import find_published

    with Path(find_published("chinchilla_epoch")).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["outlier"] == "0"]
    inputs = np.array([[float(row["params"]), float(row["tokens"])] for row in rows])
    return inputs, np.array([float(row["loss"]) for row in rows])


def test_the_likelihood_with_a_free_scale_gives_the_headline_row(runs: tuple[Array, Array]) -> None:
    fit = fit_law(CHINCHILLA, *runs, objective=HuberLikelihood(1e-3), resamples=0)
    assert fit.is_converged and isinstance(fit.solution.penalty, HuberLikelihood)
    np.testing.assert_allclose(fit.coefficients[[1, 2]], [482.00572, 2085.43420], rtol=1e-5)
    np.testing.assert_allclose(fit.coefficients[[0, 3, 4]], [1.81686, 0.34781, 0.36585], atol=5.1e-6)
    assert fit.solution.penalty.known_scale == pytest.approx(4.7e-6, abs=5e-8)
    residuals = np.log(runs[1] / CHINCHILLA.predict(fit.coefficients, runs[0]))
    assert np.abs(residuals).sum() <= 1.1294947
    assert fit.criteria.log_likelihood > fit_law(CHINCHILLA, *runs, resamples=0).criteria.log_likelihood - 40


def test_the_sum_of_huber_terms_gives_the_other_row(runs: tuple[Array, Array]) -> None:
    fit = fit_law(CHINCHILLA, *runs, objective=Huber(1e-3), resamples=0)
    np.testing.assert_allclose(fit.coefficients[[0, 3, 4]], [1.8172355, 0.3473127, 0.3671826], rtol=1e-4)
    np.testing.assert_allclose(fit.coefficients[[1, 2]], [477.84171, 2143.86379], rtol=1e-2)


def test_four_thousand_published_index_sets_give_the_published_standard_errors(runs: tuple[Array, Array]) -> None:
    generator = np.random.RandomState(42)
    counts = np.stack([np.bincount(generator.choice(240, 240, replace=True), minlength=240) for _ in range(4000)])
    fit = fit_law(CHINCHILLA, *runs, objective=Huber(1e-3), resampling=GivenWeights(counts))
    assert len(fit.draws) == 4000
    np.testing.assert_allclose(fit.std_errors, [0.02566, 124.52, 1293.28, 0.01540, 0.02060], rtol=0.01)


def test_resamples_and_folds_of_the_likelihood_are_close_to_those_of_the_sum(runs: tuple[Array, Array]) -> None:
    fit = fit_law(CHINCHILLA, *runs, objective=HuberLikelihood(1e-3), resamples=300)
    np.testing.assert_allclose(fit.std_errors[[0, 1, 3, 4]], [0.02566, 124.52, 0.01540, 0.02060], rtol=0.2)
    splits = list(LeaveOneOut().split(runs[0]))[::12]
    how = FitOptions(objective=HuberLikelihood(), resamples=0)
    folds = cross_validate(CHINCHILLA, usable_rows(CHINCHILLA, *runs), splits, how)
    assert max(fold.mape for fold in folds) < 0.05
    np.testing.assert_allclose([fold.coefficients[3] for fold in folds], 0.348, atol=0.02)


def test_a_statement_names_either_objective(lakehouse: Lakehouse, chinchilla_csv: Path) -> None:
    found = {}
    for name in ("huber_log", "huber_likelihood", "asymmetric_huber"):
        answer = lakehouse.sql(
            f"FIT loss ~ chinchilla(params, tokens) FROM '{chinchilla_csv}' WHERE outlier = 0 "
            f"WITH (objective = '{name}', delta = 1e-3, resamples = 0)"
        )
        found[name] = answer.records()[0]["coefficients"]
    assert found["huber_log"]["A"] == pytest.approx(477.84, rel=1e-3)
    assert found["huber_likelihood"]["A"] == pytest.approx(482.006, rel=1e-5)
    assert found["asymmetric_huber"]["E"] < found["huber_log"]["E"]
