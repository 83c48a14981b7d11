"""Plain SQL goes through untouched; verbs are relations wherever a query may stand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from isoflop.lakehouse.session import Session
from isoflop.queries.language import execute

FIT = "FIT loss ~ power(params) FROM points WITH (resamples = 0)"
AHEAD = "EXTRAPOLATE chin TO params = [1e9, 1e10], tokens = 20 * params"


class Listening(Session):
    """A session that writes down what is sent to it."""

    def __init__(self, lake: Lakehouse) -> None:
        super().__init__(lake)
        self.sent: list[str] = []

    def query(self, sql, parameters=None, relations=None):
        self.sent.append(sql)
        return super().query(sql, parameters, relations)


PLAIN = (
    "SELECT 1",
    "  SELECT count(*)\n FROM points -- all of them\n",
    "SELECT fit FROM (SELECT 1 AS fit) WHERE (fit > 0)",
    "CREATE OR REPLACE TABLE residuals (fit DOUBLE, law VARCHAR, predict INTEGER)",
    "INSERT INTO residuals (fit, law) VALUES (1, 'FIT loss ~ power(x)')",
    "SELECT law AS extrapolate FROM residuals r WHERE (predict IS NULL) AND law LIKE 'FIT%'",
    "SELECT 1; SELECT 2",
)


@pytest.mark.parametrize("text", PLAIN)
def test_plain_sql_is_sent_as_it_is(planted: Lakehouse, text: str) -> None:
    listening = Listening(planted)
    execute(listening, text)
    assert listening.sent == [text]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT los FROM points",
        "SELEC 1",
        "SELECT 1\nFROM nope",
        "SELECT 'a'::INT",
        "SELECT x FROM (SELECT 1 AS fit)",
        "IT loss",
    ],
)
def test_errors_of_plain_sql_are_duckdbs_own(planted: Lakehouse, text: str) -> None:
    with pytest.raises(duckdb.Error) as direct:
        planted.query(text)
    with pytest.raises(type(direct.value)) as through:
        planted.sql(text)
    assert str(through.value) == str(direct.value)


@pytest.mark.parametrize("text", ["", "  \n", ";", "-- nothing but a comment", "/* FIT loss */ ;;"])
def test_a_text_without_a_statement_has_an_empty_answer(planted: Lakehouse, text: str) -> None:
    assert len(planted.sql(text)) == 0


@pytest.mark.parametrize(
    "text",
    [
        FIT,
        f"({FIT})",
        f"FROM ({FIT})",
        f"SELECT * FROM ({FIT}) AS f WHERE f.rows = 60",
        f"SELECT f.* FROM (SELECT 1) one JOIN ({FIT}) f ON true",
        f"SELECT f.* FROM (VALUES (1)) v, ({FIT}) f",
        f"WITH f AS ({FIT}) FROM f",
        f"WITH f AS MATERIALIZED ({FIT}), g AS (FROM f) SELECT * FROM g",
        f"WITH p AS (FROM points) {FIT.replace('points', 'p')}",
        f"WITH p AS (FROM points), q AS (FROM p) SELECT * FROM ({FIT.replace('points', 'q')})",
        f"FROM (WITH p AS (FROM points) FROM ({FIT.replace('points', 'p')}))",
        f"SELECT 1; {FIT};",
        "fit loss ~ power(params) -- from nowhere\nfrom /* the */ points with (resamples = 0)",
        "FIT loss ~ power(params) FROM (FROM points) WITH (resamples = 0)",
        "FIT loss ~ power(params) FROM points p JOIN (SELECT id FROM points) q USING (id) WITH (resamples = 0)",
        "FIT loss ~ power FROM (SELECT loss, params AS x FROM points) WITH (resamples = 0)",
    ],
)
def test_a_verb_is_a_relation_wherever_a_query_may_stand(planted: Lakehouse, text: str) -> None:
    (row,) = planted.sql(text).records()
    assert (row["rows"], row["status"], row["form"]) == (60, "converged", "power")
    assert row["objective"] == pytest.approx(0.0056756986, abs=1e-9)  # flat in alpha: tokens vary too


def test_a_verb_fills_a_table(planted: Lakehouse) -> None:
    planted.sql(f"CREATE OR REPLACE TABLE ahead AS {AHEAD}")
    planted.sql(f"INSERT INTO ahead FROM ({AHEAD})")
    assert planted.query("SELECT count(*) AS n, max(params) AS most FROM ahead").to_pylist() == [{"n": 4, "most": 1e10}]


def test_a_verb_is_copied_to_a_file(planted: Lakehouse, tmp_path: Path) -> None:
    file = tmp_path / "ahead.parquet"
    planted.sql(f"COPY ({AHEAD}) TO '{file}'")
    assert planted.query(f"SELECT ratio.params > 0.09 AS is_near FROM '{file}'").to_pylist() == [{"is_near": True}] * 2


def test_verbs_nest(planted: Lakehouse) -> None:
    points = "EXTRAPOLATE chin TO params = [1e6, 1e7, 1e8, 1e9, 1e10, 1e11], tokens = 1e12"
    text = f"SELECT coefficients.alpha AS alpha FROM (FIT predicted_loss ~ power(params) FROM ({points}))"
    (row,) = planted.sql(text).records()
    assert row["alpha"] == pytest.approx(0.34, abs=0.01)


def test_two_verbs_of_one_statement_are_joined(planted: Lakehouse) -> None:
    text = (
        "SELECT p.id, x.predicted_loss - p.loss AS off FROM points p JOIN (PREDICT chin FROM points) x USING (id) "
        "JOIN (SHOW LAWS) s ON s.name = 'chin' ORDER BY p.id"
    )
    rows = planted.sql(text).records()
    assert len(rows) == 60 and all(abs(row["off"]) < 0.05 for row in rows)


def test_a_verb_is_a_scalar_subquery(planted: Lakehouse) -> None:
    near = "FROM (EXTRAPOLATE chin TO params = 1e9, tokens = 2e10) SELECT predicted_loss"
    text = f"SELECT ({near}) > chin(1e10, 2e11) AS is_above"
    assert planted.sql(text).rows() == [(True,)]


def test_a_union_of_verbs(planted: Lakehouse) -> None:
    text = "(SHOW LAWS LIKE 'chin') UNION ALL (SHOW LAWS LIKE 'chin')"
    assert len(planted.sql(text)) == 2


def test_several_statements_answer_with_the_last(planted: Lakehouse) -> None:
    answer = planted.sql("SHOW LAWS; CREATE OR REPLACE TABLE one AS SELECT 1 AS x; SHOW LAW FORMS; FROM one")
    assert answer.rows() == [(1,)]


def test_a_clause_that_is_named_twice_is_answered_once(planted: Lakehouse) -> None:
    listening = Listening(planted)
    execute(listening, f"WITH a AS ({AHEAD}) SELECT * FROM a, (FIT predicted_loss ~ power(points.id) FROM points, a)")
    assert sum('AS "tokens"' in sent and "unnest" not in sent for sent in listening.sent) == 1


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        (
            "SELECT count(*) FROM (PREDICT chin FROM points WHERE id < $most) WHERE params > $least",
            {"most": 30, "least": 1e8},
        ),
        ("SELECT count(*) FROM (PREDICT chin FROM points WHERE id < ?) WHERE params > ?", [30, 1e8]),
        ("SELECT count(*) FROM (PREDICT chin FROM points WHERE id < $2) WHERE params > $1", [1e8, 30]),
        ("SELECT count(*) FROM (PREDICT chin FROM points WHERE id < $2) WHERE params > $1 AND id < $2", [1e8, 30]),
        ("WITH p AS (FROM points WHERE id < ?) SELECT count(*) FROM (PREDICT chin FROM p) WHERE params > ?", [30, 1e8]),
    ],
)
def test_parameters_reach_the_verb_and_the_sql_around_it(planted: Lakehouse, text: str, parameters: object) -> None:
    plain = planted.query("SELECT count(*) AS n FROM points WHERE id < 30 AND params > 1e8").to_pylist()[0]["n"]
    assert planted.sql(text, parameters).rows() == [(plain,)]


def test_parameters_are_values_of_options_and_targets(planted: Lakehouse) -> None:
    answer = planted.sql(
        "EXTRAPOLATE chin TO params = $sizes, tokens = 1e10 WITH (level = $level)", {"sizes": [1e9, 1e10], "level": 0.5}
    )
    assert [row["params"] for row in answer.records()] == [1e9, 1e10] and answer.records()[0]["level"] == 0.5


def test_a_table_called_like_a_verb_keeps_working(planted: Lakehouse) -> None:
    planted.sql("CREATE OR REPLACE TABLE predict AS SELECT 1 AS fit, 2 AS law")
    assert planted.sql("SELECT p.fit FROM (predict p JOIN points r ON r.id = p.fit)").rows() == [(1,)]
    assert planted.sql("FROM predict SELECT (fit + law), (fit) ORDER BY fit").rows() == [(3, 1)]
    fit = "FIT fit ~ power(law) PARAMETERS (A FIXED 0, alpha FIXED 1) FROM predict WITH (resamples = 0)"
    answer = planted.sql(f"SELECT rows FROM ({fit})")
    assert answer.rows() == [(1,)]


WORDS = ("fit", "law", "optimize", "design", "forecast", "compare", "predict", "extrapolate", "residuals", "refit")
SQL_OVER_A_WORD = (
    "SELECT W FROM W", "FROM W", "SELECT (W) FROM W WHERE (W > 0)", "SELECT t.W, W AS x FROM W t ORDER BY W, (W)",
    "SELECT * FROM (W JOIN other USING (W))", "SELECT * FROM (W CROSS JOIN other)", "SELECT * FROM W, other W2",
    "SELECT sum(W) AS W FROM W GROUP BY (W) ORDER BY 1", "SELECT (W - 1), -(W), abs(W) FROM W",
    "WITH W AS (SELECT 1 AS W) SELECT W FROM W", "SELECT (SELECT max(W) FROM W) AS W",
    "SELECT W IN (SELECT W FROM W) FROM W", "SELECT CASE WHEN (W) > 1 THEN (W) ELSE (W + 1) END FROM W",
    "SELECT count(*) FILTER (W > 1) OVER (ORDER BY W) FROM W", "UPDATE W SET W = (W + 1) WHERE (W IS NOT NULL)",
    "INSERT INTO W (W) VALUES (7)", "DELETE FROM W WHERE W = 7", "DESCRIBE W", "SUMMARIZE SELECT W FROM W",
    "SELECT W.W FROM W AS W", "EXPLAIN SELECT W FROM W", "DROP TABLE W",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("word", WORDS)
def test_plain_sql_over_a_table_and_a_column_called_like_a_verb_is_duckdbs(tmp_path: Path, word: str) -> None:
    rows = f"INSERT INTO {word} VALUES (1), (2), (NULL)"
    made = f"CREATE TABLE {word} ({word} INTEGER); {rows}; CREATE TABLE other AS FROM {word}"
    with isoflop.open(tmp_path / "ours.duckdb") as lake, duckdb.connect() as plain:
        lake.sql(made)
        plain.execute(made)
        for template in SQL_OVER_A_WORD:
            text = re.sub(r"\bW\b", word, template)
            expected, found = plain.execute(text).to_arrow_table(), lake.sql(text).table
            assert found == expected or (text.startswith("EXPLAIN") and found.num_rows), text


def test_a_text_with_verbs_and_a_zero_byte_is_refused(planted: Lakehouse) -> None:
    with pytest.raises(StatementError, match="zero byte"):
        planted.sql("SELECT * FROM (SHOW LAWS) \0 WHERE name = 'x'")


@pytest.mark.parametrize("kept", ["VIEW v", "OR REPLACE TEMP VIEW v", "MACRO m()", "FUNCTION m()"])
def test_what_keeps_the_text_of_its_query_cannot_hold_a_verb(planted: Lakehouse, kept: str) -> None:
    table = "TABLE " if "()" in kept else ""
    with pytest.raises(StatementError, match="answered once"):
        planted.sql(f"CREATE {kept} AS {table}SELECT * FROM ({AHEAD})")
    with pytest.raises(StatementError, match="answered once"):
        planted.sql(f"PREPARE p AS SELECT * FROM ({AHEAD})")


def test_notes_and_units_come_with_the_answer(planted: Lakehouse) -> None:
    answer = planted.sql("EXTRAPOLATE chin TO params = 1e12, tokens = 1e13")
    assert answer.notes[0] == (
        "extrapolates 100x beyond the largest params and 10x beyond the largest tokens of the rows behind law 'chin'"
    )
    assert len(answer.notes) == 2
    assert answer.notes[1].startswith("trained on the small runs, the 95% interval held ")
    assert answer.units["predicted_loss"] == "nat/token" and answer.units["params"] == "count"


def test_another_process_asks_the_one_that_holds_the_lake(tmp_path: Path) -> None:
    path = tmp_path / "held.duckdb"
    program = (
        "import isoflop, json, sys\n"
        "with isoflop.open(sys.argv[1]) as lake:\n"
        "    lake.sql('CREATE LAW far AS FIT loss ~ power(params) FROM points WITH (resamples = 5)')\n"
        "    text = 'SELECT lower < upper AS ok FROM (EXTRAPOLATE far TO params = $p)'\n"
        "    rows = lake.sql(text, {'p': 1e11}).records()\n"
        "    try:\n"
        "        lake.sql('SELECT nope FROM (SHOW LAWS)')\n"
        "    except Exception as error:\n"
        "        print(json.dumps([rows, type(error).__name__, str(error).splitlines()[-2:]]))\n"
    )
    with isoflop.open(path) as lake, lake.hold():
        lake.query(
            "CREATE TABLE points AS "
            "SELECT 10.0 ** (6 + i / 4) AS params, 2 + 100 / params ** 0.3 AS loss FROM range(12) t(i)"
        )
        done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == [
            [{"ok": True}],
            "StatementError",
            ["LINE 1: SELECT nope FROM (SHOW LAWS)", "               ^^^^"],
        ]
        assert lake.query("SELECT far(1e9) > 2 AS ok").to_pylist() == [{"ok": True}]
