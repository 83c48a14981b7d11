"""COMPARE takes theories beside laws: they are asked about runs at steps, fit nothing, and rank by the same errors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from isoflop.workers import Plrf, TrainOptions
from tests.lakes import open_here

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
    with open_here(str(tmp_path_factory.mktemp("theories") / "lake.duckdb")) as lake:
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
    assert any("volterra_plrf predicts runs of family plrf only (1)" in note for note in answer.notes)


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
        (
            f"COMPARE volterra_plrf, (2 * loss AS loss ~ power(step)) FROM {POINTS}",
            "2 * loss",
            "predict 'loss' and '2*loss'",
        ),
        (f"COMPARE {LAW}, (step AS loss ~ power(step)) FROM {POINTS}", "step AS", "predict 'loss' and 'step'"),
        (f"CREATE LAW Volterra_PLRF AS FIT loss ~ power(step) FROM {POINTS}", "Volterra_PLRF", "is a theory"),
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


def test_a_metric_is_found_in_any_case_and_equal_laws_weigh_the_same(trained: Lakehouse) -> None:
    rows = trained.sql(f"COMPARE volterra_plrf, (LOSS ~ power(step)) FROM {POINTS} WITH (resamples = 0)").records()
    assert [row["law"] for row in rows] == ["volterra_plrf", "power(step)"]
    trained.sql(f"CREATE LAW twin AS FIT loss ~ power(step) FROM {POINTS} WITH (resamples = 0)")
    pair = f"COMPARE twin, {LAW} FROM {POINTS} WITH (resamples = 20, weighing = 'resamples')"
    assert [row["weight"] for row in trained.sql(pair).records()] == [0.5, 0.5]
    trained.sql("DROP LAW twin")


def test_why_a_row_is_not_predicted_is_said(trained: Lakehouse) -> None:
    odd = (
        "(SELECT run_id, CASE WHEN step = 5 THEN NULL WHEN step = 10 THEN 'inf'::DOUBLE WHEN step = 20 THEN 0.5 "
        f"ELSE step END AS step, loss, step AS s FROM {POINTS})"
    )
    answer = trained.sql(f"COMPARE volterra_plrf, (loss ~ power(s)) FROM {odd} WITH (resamples = 0)")
    (note,) = [note for note in answer.notes if "volterra_plrf predicts runs" in note or "whole number" in note]
    assert "the step is no whole number from 0 to 9.0072e+15 (61)" in note


def test_one_run_that_cannot_be_predicted_leaves_the_others(lakehouse: Lakehouse) -> None:
    settings = {"width": 4, "ambient": 40, "spectrum_exponent": 0.8, "target_exponent": 0.7, "batch_size": 1}
    huge = {**settings, "width": 10**7, "ambient": 10**8}
    for config in (settings, {**settings, "feature_seed": -1}, {"width": 3}, huge):
        with lakehouse.run("plrf", config, steps=8) as run:
            run.log(step=8, loss=0.5)
    answer = lakehouse.sql("PREDICT RUNS BY volterra_plrf FROM (SELECT run_id AS Run_ID FROM runs)")
    assert len({row["run_id"] for row in answer.records()}) == 1
    assert any(note.startswith("3 of 4 runs are left out") for note in answer.notes)
    compared = lakehouse.sql("COMPARE volterra_plrf FROM runs")
    assert any("volterra_plrf reads 'ambient'" in note for note in compared.notes)
