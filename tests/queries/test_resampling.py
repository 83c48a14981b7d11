"""Bootstraps: what they draw, and which one is taken by rule."""

from __future__ import annotations

import numpy as np
import pytest
from run_samples import Runs

from isoflop.lakehouse.errors import FitError
from isoflop.queries.fitting import (
    CaseBootstrap,
    ClusterBootstrap,
    Fit,
    GivenWeights,
    ResidualBootstrap,
    WildBootstrap,
    draws,
    fit_law,
)
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.resampling import default_resampling, expanded_tail
from isoflop.queries.laws import CHINCHILLA, KAPLAN, POWER


def test_the_default_depends_on_rows_and_groups(planted_rows: Runs) -> None:
    def chosen(count: int, groups: object = None) -> object:
        rows = usable_rows(CHINCHILLA, planted_rows.inputs[:count], planted_rows.loss[:count], None, groups)  # type: ignore[arg-type]
        return default_resampling(rows)

    assert chosen(60) == CaseBootstrap() == chosen(15)
    assert chosen(14) == ResidualBootstrap()
    assert chosen(60, [k // 3 for k in range(60)]) == ClusterBootstrap()
    assert chosen(60, [k // 10 for k in range(60)]) == WildBootstrap()


def test_case_resamples_keep_the_number_of_rows(planted_rows: Runs) -> None:
    rows = usable_rows(CHINCHILLA, planted_rows.inputs, planted_rows.loss)
    drawn = CaseBootstrap().draw(rows, rows.target, 5, 700, np.random.default_rng(0))
    assert drawn.weights.shape == (700, 60) and (drawn.weights.sum(axis=1) == 60).all()
    assert drawn.weights.mean() == pytest.approx(1) and drawn.weights.var() == pytest.approx(1, rel=0.05)


def test_cluster_resamples_move_whole_groups(planted_rows: Runs) -> None:
    labels = [f"run {k // 4}" for k in range(60)]
    rows = usable_rows(CHINCHILLA, planted_rows.inputs, planted_rows.loss, None, labels)
    drawn = ClusterBootstrap().draw(rows, rows.target, 5, 50, np.random.default_rng(0)).weights
    assert (drawn.reshape(50, 15, 4) == drawn.reshape(50, 15, 4)[:, :, :1]).all()
    assert (drawn.reshape(50, 15, 4)[:, :, 0].sum(axis=1) == 15).all()


def test_wild_resamples_keep_the_rows_and_turn_their_residuals(planted_rows: Runs) -> None:
    rows = usable_rows(CHINCHILLA, planted_rows.inputs, planted_rows.loss, None, [k // 2 for k in range(60)])
    predicted = CHINCHILLA.predict(np.array([1.8, 400.0, 2000.0, 0.34, 0.36]), rows.inputs)
    drawn = WildBootstrap().draw(rows, predicted, 5, 400, np.random.default_rng(0))
    assert drawn.weights.shape == (1, 60)
    factors = np.log(drawn.values / predicted) / (np.sqrt(60 / 55) * np.log(rows.target / predicted))
    np.testing.assert_allclose(factors[:, ::2], factors[:, 1::2], rtol=1e-6)
    assert factors.mean() == pytest.approx(0, abs=0.03) and factors.var() == pytest.approx(1, rel=0.05)


def test_groups_widen_the_intervals_of_correlated_rows() -> None:
    generator = np.random.default_rng(0)
    x = np.repeat(np.logspace(6, 9, 20), 6)
    shared = np.repeat(generator.normal(0, 0.01, 20), 6)
    y = (1.5 + 400 / x**0.3) * np.exp(shared + generator.normal(0, 0.001, 120))
    alone = fit_law(POWER, x, y, resamples=200)
    together = fit_law(POWER, x, y, resamples=200, groups=np.repeat(np.arange(20), 6))
    assert (together.std_errors > 1.5 * alone.std_errors).all()


def test_redrawn_residuals_leave_out_the_rows_that_the_fit_goes_through(planted_rows: Runs) -> None:
    rows = usable_rows(CHINCHILLA, planted_rows.inputs[:12], planted_rows.loss[:12])
    sizes = np.array([1e-9, 1e-9, 1e-9, 2e-9, 2e-9, *np.linspace(0.01, 0.07, 7)])
    drawn = ResidualBootstrap().draw(rows, rows.target * np.exp(sizes), 5, 2000, np.random.default_rng(0))
    found = np.log(drawn.values / (rows.target * np.exp(sizes)))
    assert np.abs(found).min() > 0.0099 and found.mean() == pytest.approx(0, abs=1e-3)
    assert found.var() == pytest.approx(np.mean(sizes[5:] ** 2), rel=0.05)


def test_tails_widen_with_few_rows_and_are_percentiles_with_many(planted_rows: Runs) -> None:
    rows = usable_rows(CHINCHILLA, planted_rows.inputs, planted_rows.loss)
    grouped = usable_rows(CHINCHILLA, planted_rows.inputs, planted_rows.loss, None, [k // 3 for k in range(60)])
    assert CaseBootstrap().tail(rows, 5, 0.9) < CaseBootstrap().tail(rows, 5, 0.9, 0.3) < 0.05
    assert CaseBootstrap().tail(rows, 5, 0.9) < ResidualBootstrap().tail(rows, 5, 0.9) < 0.05
    assert ClusterBootstrap().tail(grouped, 5, 0.9) < WildBootstrap().tail(grouped, 5, 0.9) < 0.05
    assert GivenWeights(np.ones((1, 60))).tail(rows, 5, 0.9) == pytest.approx(0.05)
    assert expanded_tail(0.9, 100_000, 5, 1.0) == pytest.approx(0.05, rel=1e-3) and expanded_tail(0.9, 6, 5, 1.0) < 1e-9


def test_given_weights_are_taken_as_they_are(planted_rows: Runs) -> None:
    counts = np.ones((3, 60))
    counts[1, :20] = 0
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resampling=GivenWeights(counts))
    part = fit_law(CHINCHILLA, planted_rows.inputs[20:], planted_rows.loss[20:], resamples=0)
    np.testing.assert_allclose(fit.draws[0], fit.coefficients, rtol=1e-4)
    np.testing.assert_allclose(fit.draws[1], part.coefficients, rtol=1e-3)
    with pytest.raises(FitError, match="59 columns for 60"):
        fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, resampling=GivenWeights(np.ones((2, 59))))


def test_standard_errors_have_the_size_of_the_spread_over_fresh_data() -> None:
    x, generator = np.logspace(5, 9, 40), np.random.default_rng(0)
    clean = POWER.predict(np.array([1.5, 400.0, 0.3]), x[:, None])

    def fresh(resamples: int) -> Fit:
        return fit_law(POWER, x, clean * np.exp(generator.normal(0, 0.005, 40)), resamples=resamples)

    spread = np.std([fresh(0).coefficients for _ in range(60)], axis=0)
    reported = np.median([fresh(150).std_errors for _ in range(7)], axis=0)
    np.testing.assert_allclose(np.log(reported / spread), 0, atol=0.35)


def test_resamples_of_many_rows_are_those_of_refits(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(7)
    at = np.column_stack([10 ** generator.uniform(7, 10, 3000), 10 ** generator.uniform(9, 12, 3000)])
    truth = np.array([9e13, 5e13, 0.08, 0.1])  # N_c, D_c, alpha_N, alpha_D
    loss = KAPLAN.predict(truth, at) * np.exp(0.01 * generator.standard_normal(3000))
    quick = fit_law(KAPLAN, at, loss, resamples=20, forward=False)
    monkeypatch.setattr(draws, "MANY_ROWS", 10_000)
    whole = fit_law(KAPLAN, at, loss, resamples=20, forward=False)
    np.testing.assert_array_equal(quick.coefficients, whole.coefficients)
    off = (quick.draws - whole.draws) / whole.draws.std(axis=0)
    assert 0 < np.abs(off).max() < 0.1
