"""Laws of given coefficients: every verb takes them, says what it cannot know, and fits nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.queries.laws import find_law
from isoflop.queries.laws.atlas import ATLAS, find_published_law
from tests.queries.language.given_laws import (
    BUDGET,
    COEFFICIENTS,
    NUMBERS,
    OVER,
    PAPER,
    PLACE,
    SURE,
    loss,
    message,
    one,
    under,
)

# Making it


def test_it_answers_as_a_fit_does_with_nulls_for_what_only_rows_say(planted: Lakehouse) -> None:
    answer = planted.sql(PAPER.replace("paper", "made"))
    row = answer.records()[0]
    assert row["status"] == "given" and row["coefficients"] == NUMBERS and row["form"] == "chinchilla"
    assert [row[name] for name in ("rows", "dropped", "objective", "r2", "aicc")] == [None] * 5
    assert row["support"] == {"params": None, "tokens": None}
    assert answer.table.column_names == planted.sql("FIT loss ~ power(params) FROM points").table.column_names
    assert any("SELECT made(params, tokens)" in note for note in answer.notes)
    planted.sql("DROP LAW made")


@pytest.mark.parametrize(
    ("text", "at", "wanted"),
    [
        ("loss ~ chinchilla(params, tokens)", PLACE, loss(7e10, 1.4e12)),
        ("chinchilla", PLACE, loss(7e10, 1.4e12)),
        ("validation AS bits ~ chinchilla(params, tokens)", PLACE, loss(7e10, 1.4e12)),
        ("chinchilla(params / 1e3, tokens)", PLACE, loss(7e7, 1.4e12)),
        ("loss ~ E + A / params ^ alpha + B / tokens ^ beta", PLACE, loss(7e10, 1.4e12)),
        ("CHINCHILLA(tokens, params)", PLACE, loss(1.4e12, 7e10)),
    ],
)
def test_a_form_an_expression_or_a_formula_makes_the_same_law(
    planted: Lakehouse, text: str, at: str, wanted: float
) -> None:
    planted.sql(f"CREATE LAW made AS {text} {COEFFICIENTS}")
    row = one(planted, f"EXTRAPOLATE made TO {at}")
    predicted = next(value for name, value in row.items() if name.startswith("predicted_"))
    assert predicted == pytest.approx(wanted, rel=1e-12)
    called = one(planted, "SELECT made(params := 7e10, tokens := 1.4e12) AS y")["y"]
    assert called == pytest.approx(wanted, rel=1e-12)
    planted.sql("DROP LAW made")


@pytest.mark.parametrize("law", ATLAS, ids=lambda law: law.name)
def test_every_published_law_is_kept_and_asked_with_and_without_a_lake_of_its_own(planted: Lakehouse, law: Any) -> None:
    at = ", ".join(f"{input_.name} = {4 + k}e1" for k, input_ in enumerate(law.law.inputs))
    inputs = np.array([[(4 + k) * 10.0 for k in range(len(law.law.inputs))]])
    wanted = float(law.law.predict(law.values, inputs)[0])
    planted.sql(f"CREATE OR REPLACE LAW kept AS published:{law.name}")
    for name in ("kept", f"published:{law.name}", f"PUBLISHED : {law.name.upper()}"):
        row = one(planted, f"EXTRAPOLATE {name} TO {at}")
        assert row[f"predicted_{law.law.target}"] == pytest.approx(wanted, rel=1e-12)
        assert row["lower"] is None and row["in_support"] is None
    arguments = ", ".join(f"{input_.name} := {4 + k}e1" for k, input_ in enumerate(law.law.inputs))
    assert one(planted, f"SELECT kept({arguments}) AS y")["y"] == pytest.approx(wanted, rel=1e-9)
    planted.sql("DROP LAW kept")


def test_parameters_of_the_statement_are_its_numbers(planted: Lakehouse) -> None:
    text = "CREATE OR REPLACE LAW made AS power(params) WITH COEFFICIENTS (E = $floor, A = 2 * 15, alpha = 0.3)"
    planted.sql(text, {"floor": 1.5})
    assert one(planted, "EXTRAPOLATE made TO params = 1")["predicted_loss"] == pytest.approx(31.5)
    planted.sql("DROP LAW made")


@pytest.mark.parametrize(
    ("numbers", "said", "place"),
    [
        ("(E = 1, A = 2)", "needs alpha too", "(E = 1, A = 2)"),
        ("(E = 1, A = 2, alpha = 0.3, beta = 1)", "no coefficient 'beta'", "beta"),
        ("(E = 1, A = 2, alpha = 0.3, E = 1)", "given twice", "E"),
        ("(E = 1, A = 2, alpha = 0.3, ALPHA = 1)", "given twice", "ALPHA"),
        ("(E = 1, A = -2, alpha = 0.3)", "A = -2 lies outside [0, inf]", "-2"),
        ("(E = 1, A = 2, alpha = 'x')", "the value of 'alpha'", "'x'"),
        ("(E = 1, A = 2, alpha = 0.3) STANDARD ERRORS (b = 1)", "no coefficient 'b'", "b"),
        ("(E = 1, A = 2, alpha = 0.3) STANDARD ERRORS (E = -1)", "0 or more", "-1"),
        ("(E = 1, A = 2, alpha = 0.3) STANDARD ERRORS (E = 1) COVARIANCE [[1]]", "exclude each other", "COVARIANCE"),
        ("(E = 1, A = 2, alpha = 0.3) COVARIANCE [[1]]", "3 lists of 3 numbers", "[[1]]"),
        ("(E = 1, A = 2, alpha = 0.3) COVARIANCE [[1,0,0],[0,1,0],[1,0,1]]", "symmetric", "[[1,0,0],[0,1,0],[1,0,1]]"),
        ("(E = 1, A = 2, alpha = 0.3) COVARIANCE [[1,2,0],[2,1,0],[0,0,1]]", "eigenvalue", "[[1,2,0],[2,1,0],[0,0,1]]"),
        ("(E = 1, A = 2, alpha = 0.3) WITH (residual_scale = 0)", "residual_scale is a number above 0", "0"),
        ("(E = 1, A = 2, alpha = 0.3) WITH (delta = 1)", "has no option 'delta'", "delta"),
    ],
)  # fmt: skip
def test_wrong_numbers_are_said_with_a_caret(planted: Lakehouse, numbers: str, said: str, place: str) -> None:
    text = f"CREATE LAW wrong AS power(params) WITH COEFFICIENTS {numbers}"
    assert said in message(planted, text)
    assert under(planted, text) == place


@pytest.mark.parametrize(
    ("law", "said"),
    [
        ("powr(params) WITH COEFFICIENTS (E = 1)", "law form 'powr' does not exist"),
        ("power(params, tokens) WITH COEFFICIENTS (E = 1, A = 1, alpha = 1)", "takes 1 column, got 2"),
        ("E + A / params WITH COEFFICIENTS (E = 1, A = 1)", "does not say what it predicts"),
        ("loss ~ E + A / params WITH COEFFICIENTS (E = 1, A = 1, b = 2)", "'b' is declared but not used"),
        ("power(params) PARAMETERS (E > 0) WITH COEFFICIENTS (E = 1, A = 1, alpha = 1)", "have no PARAMETERS"),
        ("power(params) WITH (E = 1, A = 1, alpha = 1)", "WITH COEFFICIENTS behind a law"),
        ("published:besiroglu", "published law 'besiroglu' does not exist"),
        ("power(params) WITH COEFFICIENTS", 'expected "("'),
    ],
)
def test_what_is_no_law_is_said(planted: Lakehouse, law: str, said: str) -> None:
    assert said in message(planted, f"CREATE LAW wrong AS {law}")


def test_a_name_of_a_formula_without_a_number_is_an_input_and_said(planted: Lakehouse) -> None:
    answer = planted.sql("CREATE LAW made AS loss ~ E + A / params ^ alpha WITH COEFFICIENTS (E = 1.7, A = 400)")
    assert any(note == "alpha is an input of the law, since no coefficient is called so" for note in answer.notes)
    planted.sql("DROP LAW made")


def test_a_taken_name_needs_or_replace_and_makes_a_version(planted: Lakehouse) -> None:
    planted.sql("CREATE LAW made AS power(params) WITH COEFFICIENTS (E = 1, A = 2, alpha = 0.3)")
    again = "LAW made AS power(params) WITH COEFFICIENTS (E = 2, A = 2, alpha = 0.3)"
    assert "law 'made' exists" in message(planted, f"CREATE {again}")
    kept = planted.sql(f"CREATE {again}".replace("LAW made", "LAW IF NOT EXISTS made"))
    assert kept.notes == ("law 'made' exists; nothing was made",)
    planted.sql(f"CREATE OR REPLACE {again}")
    assert one(planted, "SHOW LAWS LIKE 'made'")["version"] == 2
    assert planted.sql("DESCRIBE LAW made").records()[0]["estimate"] == 2.0
    assert planted.sql("DESCRIBE LAW made VERSION 1").records()[0]["estimate"] == 1.0
    planted.sql("CREATE OR REPLACE LAW made AS FIT loss ~ power(params) FROM points WITH (resamples = 0)")
    assert one(planted, "SHOW LAWS LIKE 'made'")["status"] != "given"
    planted.sql("DROP LAW made")


# Every verb


def test_optimize_finds_the_size_that_the_formula_gives(given: Lakehouse) -> None:
    a, b = NUMBERS["alpha"], NUMBERS["beta"]
    best = (a * NUMBERS["A"] / (b * NUMBERS["B"])) ** (1 / (a + b)) * (BUDGET / 6) ** (b / (a + b))
    row = one(given, f"OPTIMIZE paper MINIMIZE loss {OVER}")
    assert row["params"] == pytest.approx(best, rel=1e-4) and row["params_lower"] is None
    sure = one(given, f"OPTIMIZE sure MINIMIZE loss {OVER}")
    assert sure["params_lower"] < best < sure["params_upper"]
    published = one(given, f"OPTIMIZE published:hoffmann_2022 MINIMIZE loss {OVER}")
    assert published["params"] == pytest.approx(best, rel=1e-4)


def test_predict_and_residuals_take_rows(given: Lakehouse) -> None:
    rows = given.sql("SELECT * FROM (PREDICT paper FROM points) ORDER BY id").records()
    assert rows[7]["predicted_loss"] == pytest.approx(loss(rows[7]["params"], rows[7]["tokens"]), rel=1e-12)
    left = given.sql("SELECT * FROM (RESIDUALS paper FROM points) ORDER BY id").records()
    assert left[7]["residual"] == pytest.approx(np.log(rows[7]["loss"] / rows[7]["predicted_loss"]), rel=1e-9)
    assert left[7]["leverage"] is None and left[7]["std_residual"] is None  # the rows had no say in it
    sure = one(given, "SELECT * FROM (RESIDUALS sure FROM points) WHERE id = 7")
    assert sure["std_residual"] == pytest.approx(left[7]["residual"] / 0.02, rel=1e-9)
    assert len(given.sql("PREDICT published:besiroglu_2024 FROM points")) == 60
    said = message(given, "RESIDUALS paper")
    assert "no rows of its own" in said and "FROM runs" in said


def test_compare_scores_it_as_it_is(given: Lakehouse) -> None:
    text = "COMPARE paper, published:besiroglu_2024, (loss ~ chinchilla(params, tokens)) FROM points"
    answer = given.sql(text)
    rows = {row["law"]: row for row in answer.records()}
    assert rows["paper"]["k"] == rows["published:besiroglu_2024"]["k"] == 0
    assert rows["paper"]["status"] == "given" and rows["chinchilla(params, tokens)"]["k"] == 5
    assert rows["chinchilla(params, tokens)"]["rank"] == 1 and rows["paper"]["rank"] == 2  # planted near it
    assert any("scored as given" in note for note in answer.notes)
    held = given.sql("COMPARE paper, sure FROM points HOLDOUT LARGEST 20 PERCENT BY params").records()
    off = given.sql(
        "SELECT avg(abs(predicted_loss / loss - 1)) AS mape FROM (PREDICT paper FROM points) "
        "WHERE params >= (SELECT max(params) FROM points)"
    ).records()[0]["mape"]
    scored = {row["law"]: row for row in held}
    assert scored["paper"]["cv_mape"] == pytest.approx(scored["sure"]["cv_mape"])
    assert scored["paper"]["cv_coverage"] is None and 0 <= scored["sure"]["cv_coverage"] <= 1
    assert off == pytest.approx(scored["paper"]["cv_mape"], rel=0.5)  # the cut holds out at least the largest size
    assert "no resamples weigh it" in message(given, text + " WITH (weighing = 'resamples')")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("REFIT LAW paper", "nothing to refit"),
        ("CROSS VALIDATE paper FROM points KFOLD 3", "nothing is fitted"),
        ("CROSS VALIDATE published:kumar_2024 FROM points KFOLD 3", "nothing is fitted"),
        (f"EXTRAPOLATE AVERAGE OF paper, chin FROM points TO {PLACE}", "nothing is fitted"),
        (f"EXTRAPOLATE AVERAGE OF chin, published:besiroglu_2024 TO {PLACE}", "nothing is fitted"),
        (f"FORECAST published:besiroglu_2024 TO {PLACE}", "a law of the lake"),
        (f"DESIGN 2 RUNS FOR paper TO {PLACE} OVER params IN (1e9, 1e10), tokens = 20 * params", "not say how sure"),
        (f"EXTRAPOLATE published:nobody TO {PLACE}", "published law 'nobody' does not exist"),
    ],
)  # fmt: skip
def test_what_needs_a_fit_is_one_clear_error(given: Lakehouse, text: str, said: str) -> None:
    assert said in message(given, text)


def test_design_narrows_a_law_that_says_how_sure_it_is(given: Lakehouse) -> None:
    text = f"DESIGN 2 RUNS FOR sure TO {PLACE} OVER params IN (1e9, 1e10), tokens = 20 * params"
    rows = given.sql(text).records()
    assert len(rows) == 2 and rows[1]["width_after"] < rows[0]["width_before"]


def test_a_forecast_is_kept_with_its_law(given: Lakehouse) -> None:
    row = one(given, "FORECAST paper TO params = 3e9, tokens = 6e10")
    kept = [each for each in given.sql("SHOW FORECASTS LIKE 'paper'").records()]
    assert [each["forecast_id"] for each in kept] == [row["forecast_id"]]
    assert kept[0]["predicted"] == pytest.approx(loss(3e9, 6e10)) and kept[0]["lower"] is None


def test_it_is_listed_described_explained_and_never_stale(given: Lakehouse) -> None:
    listed = one(given, "SHOW LAWS LIKE 'paper'")
    assert listed["status"] == "given" and listed["rows"] is None and listed["stale"] is False
    described = given.sql("DESCRIBE LAW paper")
    assert [row["estimate"] for row in described.records()] == list(NUMBERS.values())
    assert all(row["stale"] is False and row["std_error"] is None for row in described.records())
    assert any("nothing was fitted" in note for note in described.notes)
    steps = {row["step"]: row["detail"] for row in given.sql(f"EXPLAIN EXTRAPOLATE paper TO {PLACE}").records()}
    assert steps["status"].startswith("given") and steps["coefficient alpha"] == "0.34"
    assert steps["intervals"] == "none" and "rows behind it" not in steps
    planned = given.sql(f"EXPLAIN {PAPER.replace('paper', 'planned')}").records()
    assert "nothing is fitted" in planned[-1]["detail"] or any("nothing is fitted" in row["detail"] for row in planned)
    assert not given.sql("SHOW LAWS LIKE 'planned'").records()


def test_it_is_renamed_commented_and_dropped(planted: Lakehouse) -> None:
    planted.sql(PAPER.replace("paper", "made"))
    planted.sql("COMMENT ON LAW made IS 'of a paper'")
    planted.sql("ALTER LAW made RENAME TO other")
    assert one(planted, "SHOW LAWS LIKE 'other'")["comment"] == "of a paper"
    assert one(planted, "SELECT other(7e10, 1.4e12) AS y")["y"] == pytest.approx(loss(7e10, 1.4e12))
    planted.sql("DROP LAW other")
    assert "does not exist" in message(planted, f"EXTRAPOLATE other TO {PLACE}")


def test_it_stands_where_a_query_does(given: Lakehouse) -> None:
    text = f"SELECT round(predicted_loss, 4) AS y FROM (EXTRAPOLATE published:hoffmann_2022 TO {PLACE})"
    assert one(given, text)["y"] == 1.9366
    both = "WITH a AS (EXTRAPOLATE paper TO params = [1e9, 1e10], tokens = 20 * params) SELECT count(*) AS n FROM a"
    assert one(given, both)["n"] == 2


def test_it_comes_back_from_the_file(tmp_path: Path) -> None:
    place = tmp_path / "lake.duckdb"
    with isoflop.open(place) as lake:
        lake.sql(PAPER.replace("chinchilla(params, tokens)", "chinchilla(params / 10, tokens)"))
        lake.sql(SURE)
        lake.sql("CREATE LAW batch AS published:deepseek_2024_batch")
        before = lake.sql(f"EXTRAPOLATE sure TO {PLACE}").records()
    with isoflop.open(place) as lake:
        assert one(lake, f"EXTRAPOLATE paper TO {PLACE}")["predicted_loss"] == pytest.approx(loss(7e9, 1.4e12))
        assert lake.sql(f"EXTRAPOLATE sure TO {PLACE}").records() == before
        assert one(lake, "EXTRAPOLATE batch TO flops = 1e20")["predicted_batch_tokens"] == pytest.approx(
            1.017e6, rel=1e-3
        )


def test_show_published_laws_lists_the_atlas(planted: Lakehouse) -> None:
    rows = planted.sql("SHOW PUBLISHED LAWS").records()
    assert [row["law"] for row in rows] == sorted(law.name for law in ATLAS)
    row = one(planted, "SHOW PUBLISHED LAWS LIKE 'besi%'")
    found = find_published_law(ATLAS, "besiroglu_2024")
    assert {each["name"]: each["value"] for each in row["coefficients"]} == found.coefficients
    assert {each["name"]: each["std_error"] for each in row["coefficients"]} == found.std_errors
    assert row["inputs"] == [{"name": "params", "unit": "count"}, {"name": "tokens", "unit": "count"}]


# Computed laws with coefficients that are fixed


def test_a_coefficient_of_a_computed_law_is_fixed(planted: Lakehouse) -> None:
    law = find_law("nqs")
    generator = np.random.default_rng(0)
    logs = generator.uniform(np.log([1e6, 32, 500]), np.log([1e9, 4096, 1e5]), (30, 3))
    inputs = np.exp(logs)
    truth = np.array([1.113, 0.584, 3.39, 0.885, 0.354, 8.41, 2.58])
    import pyarrow as pa

    table = pa.table(
        {
            **dict(zip(("params", "batch", "steps"), inputs.T, strict=True)),
            "loss": law.predict(truth, inputs) * np.exp(0.002 * generator.standard_normal(30)),
        }
    )
    planted.write([("CREATE OR REPLACE TABLE quadratic AS FROM _q", None)], {"_q": table})
    for form in ("nqs", "nqs_regularised"):
        text = (
            f"FIT loss ~ {form}(params, batch, steps) PARAMETERS (e FIXED 0.354, p IN [1.1, 1.2]) FROM quadratic "
            "WITH (resamples = 0)"
        )
        found = one(planted, text)["coefficients"]
        assert found["e"] == 0.354 and 1.1 <= found["p"] <= 1.2
        assert found["p"] == pytest.approx(1.113, abs=0.005) and found["q"] == pytest.approx(0.584, abs=0.02)
    planted.sql(
        "CREATE OR REPLACE LAW fixed AS FIT loss ~ nqs(params, batch, steps) PARAMETERS (e FIXED 0.354) "
        "FROM quadratic WITH (resamples = 0)"
    )
    described = {row["coefficient"]: row["estimate"] for row in planted.sql("DESCRIBE LAW fixed").records()}
    assert described["e"] == 0.354
    planted.sql("DROP LAW fixed")
