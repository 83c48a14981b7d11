"""Where a verb may stand within SQL, and what is said where it may not; notes beside several groups."""

from __future__ import annotations

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError

FIT = "FIT loss ~ power(params) FROM points WITH (resamples = 0)"
ASKED = "EXTRAPOLATE chin TO params = 3e11, tokens = 1e13"


@pytest.fixture(scope="module")
def kept(planted: Lakehouse) -> Lakehouse:
    """The lake with a table of one answer."""
    planted.sql(f"CREATE TABLE kept AS {ASKED}")
    return planted


@pytest.mark.parametrize(
    "into", ["INTO kept", "INTO kept BY NAME", "INTO main.kept BY POSITION", "INTO kept AS other", "INTO kept ("]
)
def test_the_rows_of_a_verb_are_inserted(kept: Lakehouse, into: str) -> None:
    before = kept.query("SELECT count(*) AS n FROM kept").column("n")[0].as_py()
    kept.sql(f"INSERT {into} {ASKED}{')' if into.endswith('(') else ''}")
    assert kept.query("SELECT count(*) AS n FROM kept").column("n")[0].as_py() == before + 1


@pytest.mark.parametrize("word", ["DESCRIBE", "DESC", "SUMMARIZE"])
def test_an_answer_is_described(kept: Lakehouse, word: str) -> None:
    names = [row["column_name"] for row in kept.sql(f"{word} {ASKED}").records()]
    assert names[:3] == ["params", "tokens", "predicted_loss"]
    assert names == [row["column_name"] for row in kept.sql(f"{word} ({ASKED})").records()]


@pytest.mark.parametrize("begun", ["EXPLAIN (ANALYZE)", "EXPLAIN (ANALYSE true)", "EXPLAIN ANALYSE"])
def test_explain_takes_the_list_that_duckdb_takes(kept: Lakehouse, begun: str) -> None:
    steps = [row["step"] for row in kept.sql(f"{begun} {FIT}").records()]
    assert "answer" in steps and "time in all" in steps
    assert "answer" not in [row["step"] for row in kept.sql(f"EXPLAIN (ANALYZE false) {FIT}").records()]


SAID = {
    f"EXPLAIN (FORMAT json) {FIT}": ("has no FORMAT", "FORMAT"),
    f"EXPLAIN (COSTS) {FIT}": ("has no option COSTS", "COSTS"),
    f"EXPLAIN VERBOSE {FIT}": ("has no VERBOSE", "VERBOSE"),
    f"COPY {FIT} TO 'answer.csv'": ("COPY (FIT …) TO …", "FIT"),
    f"WITH x AS {FIT} SELECT * FROM x": ("WITH x AS (FIT …)", "FIT"),
    f"SELECT * FROM {FIT}": ("FROM (FIT …)", "FIT"),
    f"SELECT loss FROM points UNION {ASKED}": ("FROM (EXTRAPOLATE …)", "EXTRAPOLATE"),
    f"SELECT * FROM ({ASKED}) UNION ALL EXTRAPOLATE chin TO params = 1": ("in parentheses", "EXTRAPOLATE chin TO p"),
    f"{ASKED} UNION {ASKED}": ("FROM (EXTRAPOLATE …) UNION FROM (EXTRAPOLATE …)", "UNION"),
    f"{ASKED} ORDER BY params": ("FROM (EXTRAPOLATE …) ORDER", "ORDER"),
    f"{ASKED} LIMIT 3": ("FROM (EXTRAPOLATE …) LIMIT", "LIMIT"),
    f"PREPARE p AS {FIT}": ("a prepared statement cannot hold FIT", "FIT"),
    f"CREATE VIEW v AS {FIT}": ("a view cannot hold FIT", "FIT"),
    f"CREATE OR REPLACE TEMP VIEW v AS {FIT}": ("a view cannot hold FIT", "FIT"),
    f"CREATE MACRO m() AS TABLE {FIT}": ("a macro cannot hold FIT", "FIT"),
    f"CREATE TABLE tt AS CREATE LAW zz AS {FIT}": ("CREATE LAW is a statement of its own", "CREATE LAW"),
}


@pytest.mark.parametrize("text", SAID)
def test_a_verb_that_cannot_stand_there_is_named(kept: Lakehouse, text: str) -> None:
    said, place = SAID[text]
    with pytest.raises(StatementError) as caught:
        kept.sql(text)
    assert said in str(caught.value) and "\nHint: " in str(caught.value)
    assert caught.value.text[caught.value.start :].startswith(place.split(" ")[0])


@pytest.mark.parametrize(
    "text",
    [
        "SELECT fit x y FROM points",  # a column called so
        "DESCRIBE fit",
        "INSERT INTO predict VALUES (1)",
        "SELECT 1 FROM points a JOIN points b USING (fit, predict) ORDER",
    ],
)
def test_names_that_verbs_have_too_stay_with_duckdb(kept: Lakehouse, text: str) -> None:
    with pytest.raises(Exception) as caught:
        kept.sql(text)
    assert not isinstance(caught.value, StatementError)


GROUPS = "(SELECT *, CASE WHEN id < 3 THEN 'tiny' WHEN id < 10 THEN NULL ELSE 'wide' END AS g FROM points)"


def test_notes_name_their_group(planted: Lakehouse) -> None:
    answer = planted.sql(f"FIT loss ~ chinchilla(params, tokens) FROM {GROUPS} GROUP BY g WITH (resamples = 0)")
    by_group = {row["g"]: row for row in answer.records()}
    assert [by_group[g]["status"] for g in ("tiny", None, "wide")] == ["too_few_rows", "singular", "converged"]
    assert any(note.startswith("group 'tiny': the fit has too few rows: 3 distinct rows") for note in answer.notes)
    assert any(note.startswith("group 'NULL': the fit is singular: ") for note in answer.notes)
    assert not any("'wide'" in note for note in answer.notes)


def test_of_many_groups_one_line_counts_those_without_a_fit(planted: Lakehouse) -> None:
    asked = "FIT loss ~ chinchilla(params, tokens) FROM points GROUP BY params WITH (resamples = 0)"
    answer = planted.sql(asked)
    (line,) = [note for note in answer.notes if "groups have no fit" in note]
    assert line.startswith("6 of 6 groups have no fit to rely on (singular: ") and "3 more" in line
    assert len(answer.notes) < 10


def test_predictions_of_groups_say_which_is_not_to_be_relied_on(planted: Lakehouse) -> None:
    fit = f"(FIT loss ~ chinchilla(params, tokens) FROM {GROUPS} GROUP BY g WITH (resamples = 0))"
    notes = planted.sql(f"EXTRAPOLATE {fit} TO params = 1e11, tokens = 1e13").notes
    assert any(note.startswith("group 'NULL': the fit is singular") for note in notes)
    assert "1 of 3 groups has no numbers and is left out" in notes
    assert any(note.endswith("of the rows behind the fit of chinchilla to group 'wide'") for note in notes)
    assert sum("no resamples" in note for note in notes) == 1  # the same of every group


def test_functions_of_a_law_are_null_where_extrapolate_has_no_prediction(planted: Lakehouse) -> None:
    bad = ("0", "-1", "NULL", "'nan'::DOUBLE", "'inf'::DOUBLE", "'-inf'::DOUBLE")
    for end in ("", "_lower", "_upper"):
        found = planted.sql("SELECT " + ", ".join(f"chin{end}({value}, 1e10)" for value in bad)).rows()
        assert found == [(None,) * len(bad)]
    assert planted.sql("SELECT chin(1e9, 1e10), chin(params := (SELECT 1e9), tokens := 1e10)").rows()[0][0] > 2


def test_functions_of_a_law_that_is_not_finite_are_null(planted: Lakehouse) -> None:
    planted.sql("CREATE LAW grows AS loss ~ b * exp(a * params) WITH COEFFICIENTS (a = 1e-8, b = 1)")
    assert planted.sql("SELECT grows(1e9) > 2e4, grows(1e12)").rows() == [(True, None)]
    answer = planted.sql("EXTRAPOLATE grows TO params = [1e9, 1e12]")
    assert [row["predicted_loss"] is None for row in answer.records()] == [False, True]
    assert "1 of 2 points have no prediction: law 'grows' is not finite there" in answer.notes


def test_a_law_that_calls_its_parameters_itself_is_guarded_too(planted: Lakehouse) -> None:
    numbers = "(p = 1.5, q = 1.2, P_1 = 1, Q_1 = 0.9, e = 0.5, R_1 = 1, r = 1.3)"
    planted.sql(f"CREATE LAW noisy AS loss ~ nqs(params, tokens, flops) WITH COEFFICIENTS {numbers}")
    (row,) = planted.sql("EXTRAPOLATE noisy TO params = 100, tokens = 4, flops = 50").records()
    value, *outside = planted.sql(
        "SELECT noisy(100, 4, 50), noisy(-1, 1, 1), noisy(1, 0, 1), noisy(1, 1, 'nan')"
    ).rows()[0]
    assert value == pytest.approx(row["predicted_loss"], rel=1e-9) and outside == [None] * 3


def test_groups_whose_names_read_alike_are_kept_apart(planted: Lakehouse) -> None:
    source = "(SELECT *, CASE WHEN id % 2 = 0 THEN NULL ELSE 'NULL' END AS g, loss * (1 + id % 2) AS l FROM points)"
    fit = f"FIT l ~ power(params) FROM {source} GROUP BY g SHARING (alpha) WITH (resamples = 0)"
    rows = {row["g"]: row["coefficients"] for row in planted.sql(fit).records()}
    assert rows["NULL"]["E"] > 1.5 * rows[None]["E"] and rows["NULL"]["alpha"] == rows[None]["alpha"]
    (row,) = planted.sql(f"COMPARE GAIN OF 'NULL' OVER '''NULL''' IN ({fit}) AT params = 1e9").records()
    assert row["predicted_l"] == pytest.approx(rows[None]["E"] + rows[None]["A"] / 1e9 ** rows[None]["alpha"])


def test_laws_of_given_coefficients_have_a_gain(planted: Lakehouse) -> None:
    numbers = "(E = 1.8, A = 406, B = {}, alpha = 0.34, beta = 0.34)"
    for name, b in (("sparing", 406), ("costly", 812)):
        planted.sql(f"CREATE LAW {name} AS chinchilla(params, tokens) WITH COEFFICIENTS {numbers.format(b)}")
    (row,) = planted.sql("COMPARE GAIN OF sparing OVER costly AT flops = 1e22").records()
    # With equal exponents the best loss is E + 2 (A B)^(1/2) (6/C)^(alpha/2), so compute goes with (A B)^(1/alpha).
    assert row["gain"] == pytest.approx(2 ** (1 / 0.34), rel=1e-6)
    assert row["params"] == pytest.approx((1e22 / 6) ** 0.5, rel=1e-3) and row["in_support"] is None
    with pytest.raises(StatementError, match="no rows say up to which compute"):
        planted.sql("COMPARE GAIN OF sparing OVER costly")
    (row,) = planted.sql("COMPARE GAIN OF published:besiroglu_2024 OVER chin AT flops = 1e21").records()
    assert 0.1 < row["gain"] < 10
    (row,) = planted.sql(
        "EXTRAPOLATE sparing THROUGH (FIT wrong ~ power(loss) FROM (SELECT loss, loss / 9 AS wrong FROM points) "
        "WITH (resamples = 0)) TO params = 1e9, tokens = 1e10"
    ).records()
    assert row["in_support"] is None


@pytest.mark.parametrize("asked", ["x.y.z * params", "y.z * params", "z * params"])
def test_an_error_does_not_name_a_relation_that_nobody_typed(planted: Lakehouse, asked: str) -> None:
    with pytest.raises(StatementError, match=r"Referenced (table|column)") as caught:
        planted.sql(f"EXTRAPOLATE chin TO params = [1e9, 1e10], tokens = {asked}")
    assert "_isoflop_" not in str(caught.value)
    assert caught.value.text[caught.value.start :].startswith(asked.split(".")[0].split(" ")[0])


def test_a_table_that_is_not_there_is_not_taken_for_a_relation_that_nobody_typed(planted: Lakehouse) -> None:
    with pytest.raises(StatementError, match="Table with name of does not exist") as caught:
        planted.sql("SELECT * FROM of, LATERAL (SHOW LAWS) v")
    assert "_isoflop_" not in str(caught.value)


def test_a_table_that_is_not_there_is_not_taken_for_one_of_duckdbs_catalog(planted: Lakehouse) -> None:
    with pytest.raises(StatementError, match="Table with name pg_indexe does not exist") as caught:
        planted.sql("FIT loss ~ power(params) FROM pg_indexe")
    assert "pg_indexes" not in str(caught.value)
