"""COMPARE takes theories beside laws: they are asked about runs at steps, fit nothing, and rank by the same errors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from isoflop.workers import Plrf, TrainOptions

STEPS = [5, 10, 20, 40, 80, 160, 320]
POINTS = "(SELECT run_id, step, value AS loss FROM metric_curves WHERE metric = 'loss')"
LAW = "(loss ~ power(step))"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with twenty trained runs of random features, and one run of something else."""
    runs = [
        Plrf(width=16, spectrum_exponent=0.8, target_exponent=0.7, steps=STEPS[-1], seed=seed) for seed in range(20)
    ]
    program = Plrf.program(runs, Plrf.device(TrainOptions()))
    losses = {}
    for step, before in zip(STEPS, [0, *STEPS], strict=False):
        program.advance(step - before)
        losses[step] = program.measure()["loss"]
    with isoflop.open(str(tmp_path_factory.mktemp("theories") / "lake.duckdb")) as lake:
        for number, run in enumerate(runs):
            with lake.run("plrf", run.config(), seed=run.seed, steps=run.steps) as logged:
                for step in STEPS:
                    logged.log(step=step, loss=float(losses[step][number]))
        with lake.run("other", {"width": 3}, steps=5) as logged:
            logged.log(step=5, loss=1.0)
        yield lake


def test_a_theory_ranks_before_a_law_that_knows_nothing_of_it(trained: Lakehouse) -> None:
    answer = trained.sql(f"COMPARE {LAW}, volterra_plrf FROM {POINTS} WITH (resamples = 0)")
    first, second = answer.records()
    assert (first["law"], first["k"], first["status"]) == ("volterra_plrf", 0, "computed")
    assert second["law"] == "power(step)" and second["k"] == 3
    assert first["aicc"] < second["aicc"] and first["delta_aicc"] == 0
    assert any("volterra_plrf says nothing of it (1)" in note for note in answer.notes)


def test_rows_held_out_are_scored_without_fitting(trained: Lakehouse) -> None:
    split = "HOLDOUT LARGEST 2 BY step WITH (resamples = 20)"
    rows = trained.sql(f"COMPARE volterra_plrf, {LAW} FROM {POINTS} {split}").records()
    scores = {row["law"]: row for row in rows}
    measured = trained.sql(f"SELECT run_id, step, loss FROM {POINTS} WHERE step >= 160 ORDER BY ALL")
    trained.sql("PREDICT RUNS BY volterra_plrf")
    kept = trained.sql("SELECT value, deviation FROM predictions WHERE step >= 160 ORDER BY run_id, step").records()
    errors = [abs(row["value"] / loss - 1) for row, (_, _, loss) in zip(kept, measured.rows(), strict=True)]
    inside = [
        abs(row["value"] - loss) < 1.96 * row["deviation"]
        for row, (_, _, loss) in zip(kept, measured.rows(), strict=True)
    ]
    assert scores["volterra_plrf"]["cv_mape"] == pytest.approx(np.mean(errors), rel=1e-9)
    assert scores["volterra_plrf"]["cv_coverage"] == pytest.approx(np.mean(inside))


def test_finished_runs_are_compared_at_their_last_step(trained: Lakehouse) -> None:
    (row,) = trained.sql("COMPARE VOLTERRA_PLRF FROM runs WHERE family = 'plrf' LEAVE ONE OUT").records()
    assert row["law"] == "VOLTERRA_PLRF" and row["cv_mape"] < 0.5 and row["cv_coverage"] > 0.8


def test_it_is_explained(trained: Lakehouse) -> None:
    steps = dict(trained.sql(f"EXPLAIN COMPARE volterra_plrf, {LAW} FROM {POINTS}").rows())
    assert "0 free coefficients" in steps["candidate volterra_plrf"]
    assert "140 of 141 rows usable" in steps["candidate volterra_plrf"]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("COMPARE volterra_plrf, (loss ~ power(x)) FROM (SELECT 1 AS loss, 2 AS x)", "(SELECT", "no column run_id"),
        ("COMPARE volterra_plrf FROM (SELECT run_id, loss FROM runs)", "(SELECT", "no column step or steps"),
        ("COMPARE volterra_plrf, (flops ~ power(steps)) FROM runs", "volterra_plrf", "predicts loss, not 'flops'"),
        (f"COMPARE volterra_plrf, {LAW} FROM {POINTS} WITH (weighing = 'resamples')", "COMPARE", "is not fitted"),
        ("COMPARE volterra FROM runs", "volterra", "'volterra' does not exist"),
    ],
)
def test_what_cannot_be_compared_is_said_where_it_stands(
    trained: Lakehouse, text: str, place: str, message: str
) -> None:
    with pytest.raises(StatementError) as caught:
        trained.sql(text)
    assert message in str(caught.value)
    assert caught.value.text[caught.value.start :].startswith(place)
