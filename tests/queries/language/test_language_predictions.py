"""EXTRAPOLATE, PREDICT and RESIDUALS: numbers with intervals, and how far from the rows they are."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError

ADDED = ["predicted_loss", "lower", "upper", "level", "interval", "ratio", "in_support"]


def planted_loss(params: float, tokens: float) -> float:
    return 1.7 + 400 / params**0.34 + 410 / tokens**0.28


def test_lists_make_a_row_for_each_value_and_later_values_see_earlier_columns(planted: Lakehouse) -> None:
    answer = planted.sql("EXTRAPOLATE chin TO params = [1e9, 1e10], multiple = [20, 200], tokens = multiple * params")
    assert answer.columns == ["params", "multiple", "tokens", *ADDED]
    assert [(row["params"], row["tokens"]) for row in answer.records()] == [
        (1e9, 2e10), (1e9, 2e11), (1e10, 2e11), (1e10, 2e12),
    ]  # fmt: skip
    for row in answer.records():
        assert row["predicted_loss"] == pytest.approx(planted_loss(row["params"], row["tokens"]), rel=2e-3)
        assert row["lower"] < row["predicted_loss"] < row["upper"]


def test_a_budget_gives_the_inputs(planted: Lakehouse) -> None:
    (row,) = planted.sql(
        "EXTRAPOLATE chin TO flops = 5.76e23, params = sqrt(flops/6/20), tokens = flops/(6*params)"
    ).records()
    assert row["params"] == pytest.approx(6.9282e10, rel=1e-4) and row["tokens"] == pytest.approx(20 * row["params"])
    assert row["ratio"] == {"params": pytest.approx(6.9282, rel=1e-4), "tokens": pytest.approx(1.3856, rel=1e-4)}


def test_a_query_gives_the_inputs_in_its_own_order(planted: Lakehouse) -> None:
    answer = planted.sql("EXTRAPOLATE chin TO (SELECT id, params, 1e13 AS tokens FROM points ORDER BY id DESC LIMIT 3)")
    assert [row["id"] for row in answer.records()] == [59, 58, 57]


def test_ranges_and_list_expressions_are_lists(planted: Lakehouse) -> None:
    answer = planted.sql("EXTRAPOLATE chin TO params = [10.0 ** k FOR k IN range(8, 11)], tokens = 1e10")
    assert [row["params"] for row in answer.records()] == [1e8, 1e9, 1e10]


def test_support_says_where_the_rows_are(planted: Lakehouse) -> None:
    answer = planted.sql("EXTRAPOLATE chin TO params = [1e6, 1e9, 1e12], tokens = 1e10")
    assert [row["in_support"] for row in answer.records()] == [False, True, False]
    beyond, forward, below = answer.notes
    assert below == "extrapolates 10x below the smallest params of the rows behind law 'chin'"
    assert beyond == "extrapolates 100x beyond the largest params of the rows behind law 'chin'"
    assert re.fullmatch(
        r"trained on the small runs, the 95% interval held \d+% of the large ones; "
        r"beyond the rows its ends move out by 0\.\d+ of the value for each factor of 10",
        forward,
    )


def test_nothing_is_said_within_the_support(planted: Lakehouse) -> None:
    assert planted.sql("EXTRAPOLATE chin TO params = 1e9, tokens = 1e10").notes == ()


def test_level_and_kind_of_interval(planted: Lakehouse) -> None:
    def width(options: str) -> float:
        (row,) = planted.sql(f"EXTRAPOLATE chin TO params = 1e9, tokens = 1e10 WITH ({options})").records()
        return math.log(row["upper"] / row["lower"])

    assert width("level = 0.5") < width("level = 0.95")
    assert width("interval = 'confidence'") < width("interval = 'prediction'")


def test_a_fit_in_parentheses_stands_for_a_law(planted: Lakehouse) -> None:
    fit = "FIT loss ~ chinchilla(params, tokens) FROM points WHERE params < 1e9 AND tokens < params * 1000"
    planted.sql(f"CREATE OR REPLACE LAW small AS {fit} WITH (resamples = 50)")
    for target in ("params = 1e11, tokens = 1e12", "params = 2e9, tokens = 1e11", "params = 1e8, tokens = 1e10"):
        unnamed = planted.sql(f"EXTRAPOLATE ({fit} WITH (resamples = 50)) TO {target}").records()
        assert unnamed == planted.sql(f"EXTRAPOLATE small TO {target}").records()


def test_a_grouped_fit_predicts_for_each_group(planted: Lakehouse) -> None:
    fit = "FIT loss ~ power(params) FROM points GROUP BY corpus WITH (resamples = 5)"
    answer = planted.sql(f"EXTRAPOLATE ({fit}) TO params = [1e9, 1e10]")
    assert answer.columns == ["corpus", "params", *ADDED]
    assert [(row["corpus"], row["params"]) for row in answer.records()] == [
        ("books", 1e9), ("books", 1e10), ("web", 1e9), ("web", 1e10),
    ]  # fmt: skip


def test_a_law_of_an_expression_is_asked_by_its_columns(planted: Lakehouse) -> None:
    fit = "FIT loss ~ chinchilla(params, flops / (6 * params)) FROM points WITH (resamples = 0)"
    (row,) = planted.sql(f"EXTRAPOLATE ({fit}) TO params = 1e9, flops = 1.2e20").records()
    assert row["predicted_loss"] == pytest.approx(planted_loss(1e9, 2e10), rel=2e-3)
    (row,) = planted.sql(f"EXTRAPOLATE ({fit}) TO params = 1e9, tokens = 2e10").records()
    assert row["predicted_loss"] == pytest.approx(planted_loss(1e9, 2e10), rel=2e-3)


def test_without_resamples_there_is_no_interval_and_a_note(planted: Lakehouse) -> None:
    answer = planted.sql("EXTRAPOLATE (FIT loss ~ power(params) FROM points WITH (resamples = 0)) TO params = 1e9")
    assert answer.records()[0]["lower"] is None
    assert "the fit of power has no resamples, so its predictions have no interval" in answer.notes


def test_points_that_cannot_be_predicted_are_null_and_counted(planted: Lakehouse) -> None:
    answer = planted.sql("EXTRAPOLATE chin TO params = [1e9, 0, NULL], tokens = 1e10")
    assert [row["predicted_loss"] is None for row in answer.records()] == [False, True, True]
    assert answer.notes == ("2 of 3 points have no prediction: params is zero or less, params is NULL",)


def test_predict_keeps_the_rows_of_its_source(planted: Lakehouse) -> None:
    answer = planted.sql("PREDICT chin FROM points WHERE id % 2 = 0")
    assert answer.columns == ["id", "name", "corpus", "params", "tokens", "flops", "loss", *ADDED]
    assert len(answer) == 30 and all(row["in_support"] for row in answer.records())


def test_predict_says_which_rows_it_could_not(planted: Lakehouse) -> None:
    answer = planted.sql("PREDICT chin FROM holes")
    assert [row["id"] for row in answer.records() if row["predicted_loss"] is None] == [3]
    assert answer.notes == ("1 of 60 rows have no prediction: tokens is zero or less",)


def test_predict_over_a_join_keeps_both_sides(planted: Lakehouse) -> None:
    answer = planted.sql("PREDICT chin FROM points p JOIN (SELECT id, 1 AS one FROM points) q ON p.id = q.id")
    assert answer.columns[:9] == ["id", "name", "corpus", "params", "tokens", "flops", "loss", "id_1", "one"]


def test_residuals_are_logs_of_measured_over_predicted(planted: Lakehouse) -> None:
    answer = planted.sql("RESIDUALS chin")
    assert answer.columns[-4:] == ["predicted_loss", "residual", "std_residual", "leverage"]
    rows = answer.records()
    for row in rows:
        assert row["residual"] == pytest.approx(math.log(row["loss"] / row["predicted_loss"]), abs=1e-12)
    assert np.std([row["residual"] for row in rows]) == pytest.approx(0.002, rel=0.3)
    assert sum(row["leverage"] for row in rows) == pytest.approx(5, abs=1e-6)


def test_residuals_of_other_rows(planted: Lakehouse) -> None:
    answer = planted.sql("RESIDUALS chin FROM holes")
    assert len(answer) == 56 and answer.notes[0].startswith("dropped 4 of 60 rows: ")


def test_residuals_of_a_fit_are_of_its_own_rows(planted: Lakehouse) -> None:
    answer = planted.sql("RESIDUALS (FIT loss AS nats ~ power(params) FROM points WHERE id < 30 WITH (resamples = 0))")
    assert len(answer) == 30 and "predicted_nats" in answer.columns and "nats" in answer.columns


def test_a_correlation_over_residuals(planted: Lakehouse) -> None:
    ((value,),) = planted.sql("SELECT corr(ln(params), residual) FROM (RESIDUALS chin)").rows()
    assert abs(value) < 0.3


def test_a_column_of_the_answer_is_never_overwritten(planted: Lakehouse) -> None:
    with pytest.raises(StatementError, match="there is one already"):
        planted.sql("EXTRAPOLATE chin TO params = 1e9, tokens = 1e10, lower = 3")


def test_values_of_to_see_each_other_in_any_order(planted: Lakehouse) -> None:
    early = planted.sql("EXTRAPOLATE chin TO tokens = 20 * params, params = [1e9, 1e10]")
    late = planted.sql("EXTRAPOLATE chin TO params = [1e9, 1e10], tokens = 20 * params")
    assert early.columns[:2] == ["tokens", "params"]
    assert [row["predicted_loss"] for row in early.records()] == [row["predicted_loss"] for row in late.records()]
    with pytest.raises(StatementError, match="'tokens' is computed from itself"):
        planted.sql("EXTRAPOLATE chin TO tokens = 20 * params, params = tokens / 20")
