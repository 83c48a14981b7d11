"""DESIGN: the runs that most narrow a forecast, wherever a relation can stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse

TARGET = "TO params = 1e12, tokens = 2e13"
OVER = "OVER params IN [1e7, 1e11] LOG, tokens IN [1e9, 1e13] LOG"
DESIGN = f"DESIGN 3 RUNS FOR chin {TARGET} {OVER} SUBJECT TO SUM(flops) <= 1e22"


def test_a_row_is_a_run_with_what_it_costs_and_how_much_it_narrows(planted: Lakehouse) -> None:
    answer = planted.sql(DESIGN)
    assert answer.columns == [
        "run", "params", "tokens", "predicted_loss", "flops", "seconds", "cost", "width_before", "width_after", "ratio",
        "level", "interval",
    ]  # fmt: skip
    rows = answer.records()
    assert [row["run"] for row in rows] == [1, 2, 3]
    assert sum(row["flops"] for row in rows) <= 1e22 * (1 + 1e-8)
    (now,) = planted.sql(f"EXTRAPOLATE chin {TARGET} WITH (interval = 'confidence')").records()
    assert rows[0]["width_before"] == pytest.approx(now["upper"] - now["lower"], rel=1e-9)
    assert [row["width_before"] for row in rows[1:]] == [row["width_after"] for row in rows[:-1]]
    assert rows[2]["ratio"] == pytest.approx(rows[0]["width_before"] / rows[2]["width_after"])
    for row in rows:
        assert row["width_after"] < row["width_before"] and row["seconds"] is None
        assert row["cost"] == row["flops"] == pytest.approx(6 * row["params"] * row["tokens"])


def test_the_answer_is_a_relation_and_the_same_every_time(planted: Lakehouse, tmp_path: Path) -> None:
    rows = planted.sql(DESIGN).rows()
    assert planted.sql(f"FROM ({DESIGN}) SELECT * ORDER BY run").rows() == rows
    assert planted.sql(f"WITH next AS ({DESIGN}) SELECT count(*), max(run) FROM next").rows() == [(3, 3)]
    planted.sql(f"COPY ({DESIGN}) TO '{tmp_path / 'next.parquet'}'")
    assert planted.sql(f"SELECT count(*) FROM '{tmp_path / 'next.parquet'}'").rows() == [(3,)]


def test_a_shape_is_chosen_with_lists_whole_numbers_and_what_follows(planted: Lakehouse) -> None:
    answer = planted.sql(
        f"DESIGN $n RUNS FOR (FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 50)) {TARGET} "
        "OVER width IN [128, 4096] INTEGER, depth IN (4, 8, 16), vocabulary = 50304, each IN [5, 200] LOG, "
        "tokens = each * params SUBJECT TO SUM(flops / 4e14 * 2.5 / 3600) <= 2000, width <= 128 * depth",
        {"n": 2},
    )
    for row in answer.records():
        params = row["depth"] * 12 * row["width"] ** 2 + 2 * 50304 * row["width"]
        assert isinstance(row["width"], int) and row["depth"] in (4, 8, 16) and row["width"] <= 128 * row["depth"]
        assert row["tokens"] == pytest.approx(row["each"] * params)
    assert sum(row["cost"] for row in answer.records()) <= 2000 * (1 + 1e-8)


def test_seconds_are_those_of_a_time_law(planted: Lakehouse) -> None:
    planted.sql(
        "CREATE OR REPLACE LAW hours AS FIT train_seconds ~ c * flops PARAMETERS (c > 0) "
        "FROM (SELECT flops, flops / 1e14 AS train_seconds FROM points) WITH (resamples = 0)"
    )
    answer = planted.sql(
        f"DESIGN 2 RUNS FOR chin {TARGET} {OVER} SUBJECT TO SUM(seconds) <= 1e8 WITH (time_law = hours, seed = 1)"
    )
    for row in answer.records():
        assert row["seconds"] == pytest.approx(row["flops"] / 1e14) and row["cost"] == row["seconds"]


def test_without_a_budget_the_cost_does_not_count_and_that_is_said(planted: Lakehouse) -> None:
    free = planted.sql(f"DESIGN 1 RUN FOR chin {TARGET} {OVER}")
    assert "whatever they cost" in free.notes[0] and free.records()[0]["cost"] is None
    cheap = planted.sql(f"DESIGN 1 RUN FOR chin {TARGET} {OVER} WITH (per = 'flops')")
    assert cheap.records()[0]["flops"] < free.records()[0]["flops"]
    assert cheap.records()[0]["cost"] == cheap.records()[0]["flops"]


def test_several_targets_are_narrowed_together(planted: Lakehouse) -> None:
    answer = planted.sql(f"DESIGN 2 RUNS FOR chin TO params = [1e11, 1e12], tokens = 20 * params {OVER}")
    assert answer.records()[-1]["ratio"] > 1.2


def test_a_column_called_design_keeps_working(planted: Lakehouse) -> None:
    assert planted.sql("SELECT (design) + 1 AS y FROM (SELECT 1 AS design)").rows() == [(2,)]
    assert planted.sql("SELECT (design.a) AS y FROM (SELECT 3 AS a) AS design").rows() == [(3,)]


def test_runs_have_tokens_per_parameter_like_the_forecast_unless_something_else_is_said(planted: Lakehouse) -> None:
    asked = (
        "DESIGN 3 RUNS FOR chin TO params = 7e9, tokens = 1.4e11 "
        "OVER params IN [1e7, 1e10] LOG, tokens IN [1e8, 1e12] LOG"
    )
    answer = planted.sql(f"{asked} SUBJECT TO SUM(flops) <= 1e21")
    ratios = [row["tokens"] / row["params"] for row in answer.records()]
    assert 2 * (1 - 1e-9) <= min(ratios) <= max(ratios) <= 200 * (1 + 1e-9)
    assert any(note.startswith("runs have 2 to 200 tokens per parameter") for note in answer.notes)
    own = planted.sql(f"{asked} SUBJECT TO SUM(flops) <= 1e21, tokens <= 1e5 * params")
    assert not any("tokens per parameter" in note for note in own.notes)
