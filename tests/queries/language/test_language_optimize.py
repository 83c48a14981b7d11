"""OPTIMIZE: the best point under conditions, for each of some values, with errors where people made them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError

OVER = "OVER params IN [1e5, 1e14] LOG, tokens IN [1e6, 1e16] LOG"
COMPUTE = "6 * params * tokens"


def closed_form(planted: Lakehouse, budget: float) -> tuple[float, float]:
    """Hoffmann et al. 2022 (arXiv:2203.15556), eq. 4, with the numbers of the law `chin`."""
    law = {row["coefficient"]: row["estimate"] for row in planted.sql("DESCRIBE LAW chin").records()}
    alpha, beta = law["alpha"], law["beta"]
    factor = (alpha * law["A"] / (beta * law["B"])) ** (1 / (alpha + beta))
    params = factor * (budget / 6) ** (beta / (alpha + beta))
    return params, budget / 6 / params


@pytest.mark.slow
def test_the_frontier_is_the_closed_form(planted: Lakehouse) -> None:
    answer = planted.sql(
        f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO {COMPUTE} <= budget "
        "FOR EACH budget IN [10.0 ** (18 + 8 * k / 9) FOR k IN range(10)]"
    )
    assert answer.columns == [
        "budget", "params", "tokens", "predicted_loss", "lower", "upper", "slack", "binding", "multiplier", "status",
        "optimum", "optimum_lower", "optimum_upper", "params_lower", "params_upper", "tokens_lower", "tokens_upper",
    ]  # fmt: skip
    assert len(answer) == 10
    for row in answer.records():
        params, tokens = closed_form(planted, row["budget"])
        assert math.log(row["params"] / params) == pytest.approx(0, abs=1e-6)
        assert math.log(row["tokens"] / tokens) == pytest.approx(0, abs=1e-6)
        assert row["status"] == "optimal" and row["binding"] == [f"{COMPUTE} <= budget"]
        assert row["slack"] == {f"{COMPUTE} <= budget": 0.0} and row["multiplier"][f"{COMPUTE} <= budget"] < 0
        assert row["lower"] < row["predicted_loss"] < row["upper"]


def test_without_an_aim_the_target_is_optimized(planted: Lakehouse) -> None:
    said = planted.sql(f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO {COMPUTE} <= 1e22")
    assert planted.sql(f"OPTIMIZE chin {OVER} SUBJECT TO {COMPUTE} <= 1e22").arrow().equals(said.arrow())
    hits = "(SELECT *, 1.5 - 0.5 * loss AS accuracy FROM points WHERE loss < 2.9)"
    fit = f"(FIT accuracy ~ 0.75 - a / params^b PARAMETERS (a > 0, b > 0) FROM {hits} WITH (resamples = 0))"
    (row,) = planted.sql(f"OPTIMIZE {fit} OVER params IN [1e7, 1e10] LOG").records()
    assert row["params"] == pytest.approx(1e10)


def test_the_prediction_and_interval_are_those_of_extrapolate(planted: Lakehouse) -> None:
    (row,) = planted.sql(
        f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO {COMPUTE} <= 1e22 WITH (level = 0.5)"
    ).records()
    (same,) = planted.sql("EXTRAPOLATE chin TO params = $1, tokens = $2 WITH (level = 0.5)", [
        row["params"], row["tokens"],
    ]).records()  # fmt: skip
    assert [row[key] for key in ("predicted_loss", "lower", "upper")] == [
        same[key] for key in ("predicted_loss", "lower", "upper")
    ]


def test_the_cheapest_way_to_a_loss(planted: Lakehouse) -> None:
    (best,) = planted.sql(f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO {COMPUTE} <= 1e22").records()
    (row,) = planted.sql(
        f"OPTIMIZE chin MINIMIZE {COMPUTE} {OVER} SUBJECT TO loss <= $goal", {"goal": best["predicted_loss"]}
    ).records()
    assert math.log(row["params"] / best["params"]) == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "each",
    [
        "[1e20, 1e21]",
        "(1e20, 1e21)",
        "(SELECT unnest([1e20, 1e21]) AS c)",
        "$budgets",
        "(FROM (VALUES (1e20), (1e21)))",
    ],
)
def test_values_come_from_a_list_or_a_query(planted: Lakehouse, each: str) -> None:
    text = f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO {COMPUTE} <= c FOR EACH c IN {each}"
    parameters = {"budgets": [1e20, 1e21]} if "$" in each else None
    assert [row["c"] for row in planted.sql(text, parameters).records()] == [1e20, 1e21]


def test_for_each_may_give_an_input_and_ratios_may_bind(planted: Lakehouse) -> None:
    answer = planted.sql(
        "OPTIMIZE chin MAXIMIZE -predicted_loss OVER tokens IN [1e9, 1e13] "
        f"SUBJECT TO {COMPUTE} <= 1e22, tokens <= 20 * params FOR EACH params IN [1e9, 1e11]"
    )
    tokens = [row["tokens"] for row in answer.records()]
    assert tokens == pytest.approx([2e10, 1e22 / 6e11], rel=1e-9)
    assert [row["binding"] for row in answer.records()] == [["tokens <= 20 * params"], [f"{COMPUTE} <= 1e22"]]


@pytest.mark.slow
def test_whole_numbers_are_whole(planted: Lakehouse) -> None:
    text = (
        "OPTIMIZE (FIT loss ~ chinchilla(12 * depth * width ^ 2, tokens) "
        "FROM (SELECT *, 8 AS depth, sqrt(params / 96) AS width FROM points) WITH (resamples = 0)) MINIMIZE loss "
        "OVER depth IN [1, 64] INTEGER, width IN [64, 8192] LOG INTEGER, tokens IN [1e9, 1e14] LOG "
        "SUBJECT TO 72 * depth * width ^ 2 * tokens <= 1e21, width >= 64 * depth, width <= 128 * depth"
    )
    (row,) = planted.sql(text).records()
    assert isinstance(row["depth"], int) and isinstance(row["width"], int)
    assert 72 * row["depth"] * row["width"] ** 2 * row["tokens"] <= 1e21 * (1 + 1e-8)
    params, _ = closed_form(planted, 1e21)
    assert 12 * row["depth"] * row["width"] ** 2 == pytest.approx(params, rel=0.02)


def test_what_nothing_satisfies_is_a_row(planted: Lakehouse) -> None:
    answer = planted.sql(
        f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO {COMPUTE} <= c, loss <= 1 FOR EACH c IN [1e20, 1e21]"
    )
    for row in answer.records():
        assert row["status"] == "infeasible" and row["params"] is None and row["predicted_loss"] is None
        assert row["slack"] is None and row["binding"] == [f"{COMPUTE} <= c", "loss <= 1"]
    assert answer.notes == (f"nothing in OVER satisfies {COMPUTE} <= c and loss <= 1 for 2 of 2 values",)


def test_the_edge_of_a_range_is_said(planted: Lakehouse) -> None:
    answer = planted.sql(
        f"OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e9], tokens IN [1e9, 1e15] SUBJECT TO {COMPUTE} <= 1e22"
    )
    assert answer.records()[0]["params"] == pytest.approx(1e9)
    assert "'params' ends at the edge of its range in 1 of 1 rows: OVER decides there" in answer.notes


def test_the_answer_is_a_relation(planted: Lakehouse) -> None:
    inner = f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO {COMPUTE} <= c FOR EACH c IN [1e20, 1e24]"
    ((slope,),) = planted.sql(f"SELECT regr_slope(ln(params), ln(c)) FROM ({inner})").rows()
    law = {row["coefficient"]: row["estimate"] for row in planted.sql("DESCRIBE LAW chin").records()}
    assert slope == pytest.approx(law["beta"] / (law["alpha"] + law["beta"]), abs=1e-6)


@pytest.mark.parametrize(
    ("statement", "message", "marked"),
    [
        ("OPTIMIZE chinn MINIMIZE loss OVER params IN [1, 2]", "law 'chinn' does not exist", "chinn"),
        ("OPTIMIZE chin loss OVER params IN [1, 2]", "expected MINIMIZE or MAXIMIZE", "loss"),
        ("OPTIMIZE chin MINIMIZE loss", "expected OVER", ""),
        ("OPTIMIZE chin MINIMIZE loss OVER params [1, 2]", "expected IN and a range", "["),
        ("OPTIMIZE chin MINIMIZE loss OVER params IN [2, 1], tokens IN [1, 2]", "no values between 2 and 1", "2, 1"),
        ("OPTIMIZE chin MINIMIZE loss OVER params IN [0, 1] LOG", "a LOG range begins above 0", "0"),
        ("OPTIMIZE chin MINIMIZE loss OVER params IN [1.2, 1.8] INTEGER", "has no whole numbers", "1.2, 1.8"),
        ("OPTIMIZE chin MINIMIZE loss OVER params IN [1, 2]", "needs params, tokens, and OVER gives params", None),
        (f"OPTIMIZE chin MINIMIZE los {OVER}", "'los' is neither given by OVER", "los"),
        (f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO params * tokns <= 3", "'tokns' is neither", "tokns"),
        (f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO params < 3", '"<" is no condition', "<"),
        (f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO params", "expected a condition", "params"),
        (f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO 1 <= params <= 3", "syntax error", "<="),
        (f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO params <= $most", "no value is given", "$most"),
        (f"OPTIMIZE chin MINIMIZE loss {OVER}, depth IN [1, 9]", "nothing in OPTIMIZE depends on 'depth'", "depth"),
        (f"OPTIMIZE chin MINIMIZE round(loss) {OVER}", "not a function a formula can use", "round"),
        (f"OPTIMIZE chin MINIMIZE loss {OVER}, params IN [1, 9]", "'params' is given twice", "params"),
        (f"OPTIMIZE chin MINIMIZE loss {OVER} FOR EACH status IN [1]", "a column 'status' of its own", "status"),
        (f"OPTIMIZE chin MINIMIZE loss {OVER} FOR EACH c IN ['a']", "a law takes numbers", "['a']"),
        (f"OPTIMIZE chin MINIMIZE loss {OVER} FOR EACH c IN ()", "expected values or a query", ")"),
        (f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO params <= 1e9 FOR EACH c IN [1] LIMIT 1", "error", None),
    ],
)
def test_errors_have_their_caret_under_what_is_wrong(
    planted: Lakehouse, statement: str, message: str, marked: str | None
) -> None:
    with pytest.raises(StatementError) as caught:
        planted.sql(statement)
    assert message in str(caught.value)
    if marked:
        error = caught.value
        assert statement[error.start : error.end] == marked


def test_columns_called_like_the_verb_keep_working(planted: Lakehouse) -> None:
    assert planted.sql("SELECT (optimize + 1) AS y FROM (SELECT 1 AS optimize, 2 AS forecast)").rows() == [(2,)]
    assert np.isfinite(planted.sql("SELECT (forecast) FROM (SELECT 2e0 AS forecast)").rows()[0][0])


def test_intervals_of_the_optimum_hold_the_optima_of_resamples(planted: Lakehouse) -> None:
    text = f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO {COMPUTE} <= 1e22 WITH (resamples = $n)"
    (row,) = planted.sql(text, {"n": 50}).records()
    draws = planted.query("SELECT draws FROM store.laws WHERE name = 'chin'").column("draws")[0].as_py()
    optima = []
    for _, a, b, alpha, beta in draws:
        optima.append((alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (1e22 / 6) ** (beta / (alpha + beta)))
    low, high = np.quantile(optima, [0.025, 0.975])
    assert row["params_lower"] == pytest.approx(low, rel=1e-4) and row["params_upper"] == pytest.approx(high, rel=1e-4)
    assert row["params_lower"] < row["params"] < row["params_upper"]
    assert row["optimum_lower"] < row["optimum"] < row["optimum_upper"] and row["optimum"] == row["predicted_loss"]
    (without,) = planted.sql(text, {"n": 0}).records()
    assert without["params_lower"] is None and without["params"] == row["params"]


def test_a_loss_is_minimised_within_the_time_that_another_law_predicts(planted: Lakehouse) -> None:
    planted.sql(
        "CREATE OR REPLACE LAW step AS FIT step_seconds ~ step_time(flops, memcpy_bytes, depth) FROM (SELECT x * 1e12 "
        "AS flops, x * x * 1e7 AS memcpy_bytes, x % 7 + 1 AS depth, 1e-3 + x * 1e12 / 1e14 + x * x * 1e7 / 1e12 + "
        "(x % 7 + 1) * 1e-4 AS step_seconds FROM range(1, 40) t(x)) WITH (resamples = 0)"
    )
    answer = planted.sql(
        "OPTIMIZE chin MINIMIZE loss OVER width IN [256, 8192] LOG, depth = width / 64, "
        "tokens IN [1e9, 1e13] LOG, vocabulary = 50304, sequence_length = 1024, feed_forward = 4 * width, "
        "days = steps * step(flops_per_step, memcpy_bytes_per_step, depth) / 86400 "
        "SUBJECT TO days <= most, memory_bytes <= 8e10 FOR EACH most IN [1, 10] "
        "WITH (resamples = 0)"
    )
    first, second = answer.records()
    for row in (first, second):
        assert row["status"] == "optimal" and row["days"] <= row["most"] * (1 + 1e-8)
        assert "days <= most" in row["binding"] and row["multiplier"]["days <= most"] < 0
        params = 12 * row["depth"] * row["width"] ** 2 + 2 * 50304 * row["width"]
        (same,) = planted.sql("SELECT chin($1, $2) AS loss", [params, row["tokens"]]).records()
        assert row["predicted_loss"] == pytest.approx(same["loss"])
    assert second["predicted_loss"] < first["predicted_loss"]


def test_money_and_bits_are_conditions_like_any_other(planted: Lakehouse) -> None:
    (row,) = planted.sql(
        "OPTIMIZE (FIT loss ~ E + A / (params * (1 - exp(-bits / g))) ^ a + B / tokens ^ b "
        "PARAMETERS (E > 0, A > 0, B > 0, a > 0, b > 0, g FIXED 2) FROM (SELECT *, 16 AS bits FROM points) "
        "WITH (resamples = 0)) MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e13] LOG, "
        "bits IN [2, 16] INTEGER SUBJECT TO 6 * params * tokens * bits / 16 / 4e14 * 2.5 / 3600 <= 1000"
    ).records()
    assert isinstance(row["bits"], int) and row["status"] == "optimal" and len(row["binding"]) == 1
    money = 6 * row["params"] * row["tokens"] * row["bits"] / 16 / 4e14 * 2.5 / 3600
    assert money == pytest.approx(1000)


@pytest.mark.parametrize(
    ("target", "best", "is_said"), [("mmlu", 1e18, False), ("accuracy", 1e24, True), ("eval_loss", 1e18, True)]
)
def test_a_direction_that_no_name_says_is_said(planted: Lakehouse, target: str, best: float, is_said: bool) -> None:
    planted.sql(
        f"CREATE OR REPLACE LAW quality AS {target} ~ a - b / flops ^ c WITH COEFFICIENTS (a = 1, b = 3, c = 0.2)"
    )
    answer = planted.sql("OPTIMIZE quality OVER flops IN [1e18, 1e24] LOG")
    assert answer.records()[0]["flops"] == pytest.approx(best)
    assert any(f"MAXIMIZE {target} asks for the most of it" in note for note in answer.notes) is not is_said
    assert not [note for note in planted.sql(f"OPTIMIZE quality MINIMIZE {target} OVER flops IN [1e18, 1e24] LOG").notes
                if "MAXIMIZE" in note]  # fmt: skip


@pytest.mark.parametrize("rest", ["SUBJECT TO flops <= 1e21", "FOR EACH b IN [1, 2]", "", "WITH (level = 0.5)"])
def test_what_is_missing_without_over_is_over(planted: Lakehouse, rest: str) -> None:
    with pytest.raises(StatementError, match="expected OVER"):
        planted.sql(f"OPTIMIZE chin {rest}")
