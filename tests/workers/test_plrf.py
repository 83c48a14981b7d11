"""Random features: the packed program against the definition, against theory, and against itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.lakehouse import Lakehouse, Spool
from isoflop.lakehouse.models.random_features import draw_weights, features_of
from isoflop.workers import Outcome, Plrf, TrainOptions, train, train_packed
from isoflop.workers.families.plrf_program import RandomFeatureProgram, features_for
from isoflop.workers.packed_training import log_steps

Floats = NDArray[np.float64]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lakehouse]:
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        yield lake


def plrf(**changes: Any) -> Plrf:
    shape = {"width": 20, "ambient": 60, "spectrum_exponent": 0.8, "target_exponent": 0.7, "steps": 300}
    return Plrf.parse({**shape, **changes})


def weights_of(run: Plrf) -> Floats:
    """W of a run with a feature seed, drawn as the family draws it."""
    return draw_weights(run.ambient, run.width, np.random.default_rng((run.feature_seed,)))


def train_all(lake: Lakehouse, runs: list[Plrf], **options: Any) -> list[Outcome]:
    """Train runs in one program as their next attempts, and land them."""
    lake.record_runs([run.record() for run in runs])
    attempts = lake.begin_attempts([run.record().run_id for run in runs], "test")
    spools = [Spool(lake.spool_folder, run_id, attempts[run_id]) for run_id in (run.record().run_id for run in runs)]
    outcomes = train_packed(runs, spools, options=dataclasses.replace(TrainOptions(), **options))
    for spool in spools:
        spool.close()
    lake.drain()
    return outcomes


def curves(lake: Lakehouse) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for point in lake.query("SELECT run_id, step, loss FROM curves ORDER BY run_id, step").to_pylist():
        found.setdefault(point["run_id"], []).append((point["step"], point["loss"]))
    return found


def expected_risk(run: Plrf, weights: Floats) -> Floats:
    """Expected risk after 0..steps steps given W, (steps + 1,), by the Volterra equation of the risk.

    Source: Paquette et al. 2024 (arXiv:2405.15074), with the batch summed.
    """
    index = np.arange(1, run.ambient + 1)
    variances = index ** (-2 * run.task.spectrum_exponent)
    target = index**-run.task.target_exponent
    rate, batch = run.rate, run.batch_size
    values, vectors = np.linalg.eigh(np.sqrt(variances)[:, None] * weights @ weights.T * np.sqrt(variances))
    values, squares = values[-run.width :], (vectors.T @ (np.sqrt(variances) * target)) ** 2
    residual, squares = squares[: -run.width].sum(), squares[-run.width :]
    steps = np.arange(run.steps + 1)[:, None]
    powers = (1 - 2 * rate * batch * values + rate**2 * batch * (batch + 1) * values**2) ** steps
    forcing = residual + powers @ squares
    kernel = rate**2 * batch * (powers @ values**2)
    risk = np.empty(run.steps + 1)
    for step in range(run.steps + 1):
        risk[step] = forcing[step] + kernel[:step][::-1] @ risk[:step]
    return risk


def simulated_risk(runs: list[Plrf], marks: list[int]) -> Floats:
    """Risk of each run at each mark, (runs, marks)."""
    program = RandomFeatureProgram(runs)
    losses, done = [], 0
    for mark in marks:
        program.advance(mark - done)
        losses.append(program.measure()["loss"])
        done = mark
    return np.stack(losses, axis=1)


def literal_risk(run: Plrf, weights: Floats, num_runs: int, marks: list[int]) -> Floats:
    """The definition, word for word: draw x, step on W^T x; risk of each run at each mark."""
    generator = np.random.default_rng(99)
    index = np.arange(1, run.ambient + 1)
    scale, target = index**-run.task.spectrum_exponent, index**-run.task.target_exponent
    theta = np.zeros((num_runs, run.width))
    losses = []
    for step in range(1, max(marks) + 1):
        x = generator.standard_normal((num_runs, run.batch_size, run.ambient)) * scale
        features = x @ weights
        errors = np.einsum("rbd,rd->rb", features, theta) - x @ target
        theta = theta - run.rate * np.einsum("rb,rbd->rd", errors, features)
        if step in marks:
            losses.append((((theta @ weights.T - target) * scale) ** 2).sum(axis=1))
    return np.stack(losses, axis=1)


def test_the_features_are_the_spectrum_of_the_covariance_of_the_weights() -> None:
    weights = draw_weights(60, 20, np.random.default_rng(0))
    features = features_of(weights, 0.8, 0.7)
    index = np.arange(1, 61)
    covariance = weights.T @ (index[:, None] ** -1.6 * weights)
    np.testing.assert_allclose(np.sort(features.eigenvalues), np.linalg.eigvalsh(covariance), rtol=1e-10)
    total = (index**-3.0).sum()
    assert (features.target**2).sum() + features.residual == pytest.approx(total, rel=1e-12)
    best = np.linalg.lstsq(index[:, None] ** -0.8 * weights, index**-1.5, rcond=None)[1][0]
    assert features.residual == pytest.approx(best, rel=1e-10)
    assert (features.target >= 0).all()


def test_as_many_features_as_dimensions_reach_the_target() -> None:
    features = features_for(plrf(width=10, ambient=10))
    assert features.residual == 0
    assert features.eigenvalues.shape == (10,)


@pytest.mark.parametrize(("alpha", "beta", "batch_size"), [(0.8, 0.7, 1), (0.4, 0.8, 1), (0.75, 1.0, 3)])
def test_the_mean_risk_of_many_runs_is_the_volterra_prediction(alpha: float, beta: float, batch_size: int) -> None:
    shape = {
        "width": 50,
        "ambient": 200,
        "spectrum_exponent": alpha,
        "target_exponent": beta,
        "batch_size": batch_size,
        "steps": 800,
    }
    runs = [plrf(**shape, feature_seed=5, seed=seed) for seed in range(400)]
    marks = [1, 3, 10, 30, 100, 300, 800]
    found = simulated_risk(runs, marks)
    expected = expected_risk(runs[0], weights_of(runs[0]))
    np.testing.assert_allclose(RandomFeatureProgram(runs[:1]).measure()["loss"], expected[0], rtol=1e-12)
    error = found.std(axis=0) / np.sqrt(len(runs))
    z = (found.mean(axis=0) - expected[marks]) / error
    assert np.abs(z).max() < 3.5
    assert np.abs(found.mean(axis=0) / expected[marks] - 1).max() < 0.05


def test_the_short_step_has_the_law_of_the_literal_one() -> None:
    marks = [1, 2, 5, 20, 60]
    runs = [plrf(width=6, ambient=24, batch_size=2, steps=60, feature_seed=1, seed=seed) for seed in range(3000)]
    short, literal = simulated_risk(runs, marks), literal_risk(runs[0], weights_of(runs[0]), 3000, marks)
    for moment in (1, 2):  # of the log risk, whose spread is small
        one, two = np.log(short) ** moment, np.log(literal) ** moment
        error = np.sqrt((one.var(axis=0) + two.var(axis=0)) / 3000)
        assert (np.abs(one.mean(axis=0) - two.mean(axis=0)) < 4 * error).all()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_run_has_the_same_bits_alone_and_in_any_company(batch_size: int) -> None:
    runs = [plrf(seed=seed, batch_size=batch_size) for seed in range(17)]
    marks = [1, 2, 7, 100, 300]
    together = simulated_risk(runs, marks)
    for size in (1, 2, 5, 16):
        np.testing.assert_array_equal(simulated_risk(runs[:size], marks), together[:size])
    np.testing.assert_array_equal(simulated_risk(runs[::-1], marks)[::-1], together)
    np.testing.assert_array_equal(simulated_risk(runs[3:4], [300])[:, 0], together[3:4, -1])


def test_runs_of_other_exponents_and_rates_share_a_program() -> None:
    runs = [plrf(spectrum_exponent=alpha, learning_rate_constant=c) for alpha in (0.4, 1.2) for c in (0.2, 0.5)]
    together = simulated_risk(runs, [300])
    for row, run in enumerate(runs):
        np.testing.assert_array_equal(simulated_risk([run], [300])[0], together[row])


def test_runs_share_features_only_when_told_to() -> None:
    assert features_for(plrf(seed=1, feature_seed=4)) is features_for(plrf(seed=2, feature_seed=4))
    own = [features_for(plrf(seed=seed)) for seed in (1, 2)]
    assert not np.array_equal(own[0].eigenvalues, own[1].eigenvalues)


def test_packed_runs_land_with_curves_at_log_spaced_steps(lake: Lakehouse) -> None:
    runs = [plrf(seed=seed, batch_size=2) for seed in range(5)]
    outcomes = train_all(lake, runs)
    found = {row["run_id"]: row for row in lake.query("SELECT * FROM runs").to_pylist()}
    landed = curves(lake)
    for run, outcome in zip(runs, outcomes, strict=True):
        row = found[outcome.run_id]
        assert (outcome.run_id, outcome.status, row["status"]) == (run.record().run_id, "finished", "finished")
        assert [step for step, _ in landed[outcome.run_id]] == log_steps(300)
        assert landed[outcome.run_id][-1][1] == row["loss"] == outcome.loss
        assert (row["params"], row["tokens"], row["width"], row["ambient"]) == (20, 600, 20, 60)
        assert row["flops"] == 300 * (4 * 20 * 2 + 20)
        assert row["learning_rate"] == pytest.approx(run.rate)
        assert 0 < row["step_seconds"] < row["train_seconds"]
        assert outcome.loss is not None and features_for(run).residual < outcome.loss
    [timed] = lake.query("SELECT DISTINCT phase, count FROM timings").to_pylist()
    assert timed == {"phase": "step", "count": 300}


def test_one_run_alone_is_recorded_as_in_a_pack(lake: Lakehouse, tmp_path: Path) -> None:
    packed = train_all(lake, [plrf(seed=seed) for seed in range(16)])
    with Spool(tmp_path / "alone", "x", 1) as spool:
        alone = train(plrf(seed=7), spool)
    assert alone.loss == packed[7].loss


def test_a_stopped_pack_continues_in_other_company_to_the_same_bits(lake: Lakehouse, tmp_path: Path) -> None:
    runs = [plrf(seed=seed, steps=10_000) for seed in range(6)]
    train_all(lake, runs)
    expected = curves(lake)
    folder = tmp_path / "checkpoints"
    with Lakehouse(tmp_path / "other.duckdb") as other:
        asked = iter(range(1000))
        stopped = train_all(other, runs[:4], checkpoint_folder=folder, stop=lambda: next(asked) >= 60)
        assert {outcome.reason for outcome in stopped} == {"stopped"}
        assert len(list(folder.iterdir())) == 4
        resumed = train_all(other, [runs[5], runs[1], runs[4], *runs[2:4], runs[0]], checkpoint_folder=folder)
        assert {outcome.status for outcome in resumed} == {"finished"}
        assert curves(other) == expected
    assert list(folder.iterdir()) == []


def test_a_run_that_diverges_does_not_disturb_its_company(lake: Lakehouse) -> None:
    calm, wild = plrf(steps=2000), plrf(steps=2000, learning_rate_constant=50)
    outcomes = train_all(lake, [calm, wild])
    assert [outcome.reason for outcome in outcomes] == [None, "diverged"]
    assert outcomes[1].loss is None
    assert 0 < len(curves(lake)[wild.record().run_id]) < len(curves(lake)[calm.record().run_id])
    np.testing.assert_array_equal(simulated_risk([calm], [2000])[0, 0], outcomes[0].loss)


def test_log_steps_are_all_steps_at_first_and_thirty_a_decade_later() -> None:
    steps = log_steps(100_000)
    assert steps[:12] == list(range(1, 13))
    assert steps[-1] == 100_000
    assert sum(10_000 < step <= 100_000 for step in steps) == 30
    assert log_steps(1) == [1]
    assert log_steps(37)[-2:] == [34, 37]
