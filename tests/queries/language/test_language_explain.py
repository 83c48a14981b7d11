"""EXPLAIN says what every verb would do and does none of it; EXPLAIN ANALYZE does it and says how long that took."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import QuerySyntaxError, StatementError, UnknownName
from isoflop.lakehouse.session import Session
from isoflop.queries.language.verb import Verb
from isoflop.queries.language.verbs import EXPLAIN
from isoflop.queries.language.verbs import VERBS as KNOWN
from tests.queries.language.statements import CHANGED, RELATIONS

QUICK = "WITH (resamples = 0)"
TO = "TO params = [1e9, 1e11, 0], tokens = 20 * params"
# A verb, and steps that its explanation must hold word for word.
VERBS = {
    f"FIT loss ~ power(params) FROM holes GROUP BY corpus {QUICK}": {
        "law": "loss ~ E + A / params ^ alpha",
        "rows": "57 of 60, loss is NULL (1), loss is NaN (1), loss is zero or less (1)",
        "fits": "2, one for each group",
        "objective": "huber_log, delta 0.001",
        "starts": "48: seed 0",
    },
    "CREATE LAW another AS FIT params ~ optimal_params(flops) FROM points WITH (objective = 'relative_squares')": {
        "starts": "48: seed 0",
        "keep": "as law 'another', with its SQL functions, in one transaction",
    },
    "REFIT LAW chin": {
        "law": "loss ~ E + A / params ^ alpha + B / tokens ^ beta",
        "intervals": "0.95 from 50 resamples of rows, seed 0",
        "keep": "as version 2, unless it comes out bit for bit as it was",
    },
    "CROSS VALIDATE chin FROM points HOLDOUT LARGEST 2 BY params": {
        "rows": "60 of 60",
        "folds": "1: HOLDOUT LARGEST 2 BY params",
        "fold 1": "fitted to 40 rows, judged on 20",
        "intervals": "0.95 from 200 resamples of rows, seed 0",
    },
    "COMPARE chin, (loss ~ power(params)) FROM holes KFOLD 5": {
        "candidate chin": "loss ~ E + A / params ^ alpha + B / tokens ^ beta; 5 free coefficients; 56 of",
        "candidate power(params)": "loss ~ E + A / params ^ alpha; 3 free coefficients; 57 of 60 rows usable",
        "rows": "56 of 60, which every candidate can use",
        "folds": "5: KFOLD 5",
    },
    f"EXTRAPOLATE chin {TO}": {
        "law": "chin version 1: loss ~ E + A / params ^ alpha + B / tokens ^ beta",
        "status": "converged",
        "rows behind it": "60 of 60, fitted by huber_log, delta 0.001",
        "input params": "1e+07 to 1e+10 among them",
        "stale": "no",
        "points": "3 with params, tokens",
        "without prediction": "1 of 3: params is zero or less (1)",
        "farthest params": "10x the largest among its rows",
    },
    f"FORECAST chin {TO} WITH (level = 0.5)": {
        "keep": "each point in forecasts, scored once a run with its inputs has finished",
    },
    "PREDICT chin FROM points WHERE params < 1e8": {"rows": "20 of points", "farthest params": "0.00398x the largest"},
    "RESIDUALS chin": {"rows": "60 of points"},
    f"RESIDUALS (FIT loss ~ power(params) FROM points {QUICK})": {"law": "loss ~ E + A / params ^ alpha"},
    "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG "
    "SUBJECT TO 6 * params * tokens <= budget FOR EACH budget IN [1e20, 1e21]": {
        "minimize": "loss",
        "over params": "1e7 to 1e12 on a log scale",
        "subject to": "6 * params * tokens <= budget",
        "for each budget": "[1e20, 1e21]",
    },
    "OPTIMIZE chin MAXIMIZE params OVER params IN [1e7, 1e12] INTEGER, tokens = 20 * params SUBJECT TO loss >= 2 "
    "WITH (time_law = chin)": {
        "maximize": "params",
        "over params": "1e7 to 1e12, whole numbers",
        "over tokens": "= 20 * params",
        "subject to": "loss >= 2",
        "seconds": "by law chin version 1",
        "intervals": "prediction at 0.95 from 50 resamples",
    },
    "COMPARE APPROACHES FROM holes GROUP BY corpus AT flops = [1e21, 1e22] WITH (tolerance = 0.2)": {
        "law": "loss ~ E + A / params ^ alpha + B / tokens ^ beta",
        "rows": "56 of 60, loss is NULL (1), loss is NaN (1), loss is zero or less (1)",
        "comparisons": "2, one for each group",
        "slices": "of the budgets found, within 20%",
        "best sizes at": "1e+21, 1e+22",
        "intervals": "0.95 from 200 resamples of rows, seed 0",
    },
    "COMPARE APPROACHES (loss ~ kaplan(params, tokens)) FROM points "
    "WITH (budgets = [1e19, 1e20], flops = 6 * params * tokens, resamples = 0)": {
        "law": "loss ~ ((N_c / params) ^ (alpha_N / alpha_D) + D_c / tokens) ^ alpha_D",
        "slices": "of 1e+19, 1e+20, within 10%",
        "intervals": "none, without resamples",
    },
    "EXTRAPOLATE AVERAGE OF chin, (loss ~ power(params)) FROM holes WEIGHT BY id + 1 "
    "TO params = [1e11, 1e12], tokens = 20 * params WITH (weighing = 'aicc', interval = 'confidence')": {
        "law chin": "loss ~ E + A / params ^ alpha + B / tokens ^ beta; 5 free coefficients",
        "law power(params)": "loss ~ E + A / params ^ alpha; 3 free coefficients",
        "rows": "56 of 60, which every law can use",
        "weight by": "id + 1",
        "points": "2 with params, tokens",
        "weighed by": "aicc",
        "interval": "confidence",
    },
    "EXTRAPOLATE AVERAGE OF chin, solo TO params = 1e11, tokens = 2e12": {
        "law solo": "loss ~ E + A / params ^ alpha; 3 free coefficients",
        "rows": "60 of 60, those that the laws were fitted to",
        "weighed by": "resamples",
    },
    f"DESIGN 3 RUNS FOR chin {TO} OVER params IN [1e7, 1e11] LOG, depth IN (4, 8), tokens = 20 * params "
    "SUBJECT TO SUM(6 * params * tokens) <= 1e22, params <= 1e10 WITH (per = 'flops', time_law = chin, level = 0.5)": {
        "law": "chin version 1: loss ~ E + A / params ^ alpha + B / tokens ^ beta",
        "runs": "3",
        "forecast": "3 with params, tokens",
        "over params": "1e7 to 1e11 on a log scale",
        "over depth": "one of 4, 8",
        "over tokens": "= 20 * params",
        "per": "'flops'",
        "seconds": "by law chin version 1",
        "intervals": "confidence at 0.5 from 50 resamples",
    },
    f"DESIGN 1 RUN FOR (FIT loss ~ power(params) FROM points {QUICK}) TO params = 1e12 OVER params IN [1e7, 1e11]": {
        "law": "loss ~ E + A / params ^ alpha",
        "forecast": "1 with params",
    },
}  # fmt: skip


def state(lake: Lakehouse) -> list[object]:
    """What a verb could have changed."""
    text = (
        "SELECT (SELECT count(*) FROM store.laws) AS laws, (SELECT count(*) FROM store.forecasts) AS forecasts, "
        "(SELECT count(*) FROM duckdb_functions() WHERE NOT internal) AS functions"
    )
    return lake.query(text).to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_explained_and_nothing_is_done(
    planted: Lakehouse, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("EXPLAIN does nothing")

    if not len(planted.sql("SHOW LAWS LIKE 'solo'")):
        planted.sql(f"CREATE LAW solo AS FIT loss ~ power(params) FROM points {QUICK}")
    before = state(planted)
    for place in (
        "fits.fit_data",
        "select.cross_validate",
        "prediction.predict",
        "plans.optimize.optimize",
        "select.average_laws",
        "plans.approaches.compared",
        "plans.design.plan_runs",
    ):
        monkeypatch.setattr(f"isoflop.queries.language.{place}", refuse)
    answer = planted.sql(f"EXPLAIN {verb}")
    assert answer.columns == ["step", "detail"]
    steps = dict(answer.rows())
    for step, detail in VERBS[verb].items():
        assert steps[step].startswith(detail), (step, steps[step])
    assert all("isoflop" not in detail or step == "sql" for step, detail in answer.rows())
    is_read = not verb.startswith("OPTIMIZE") or "FOR EACH" in verb
    assert any(step == "sql" and detail.lstrip().startswith("SELECT") for step, detail in answer.rows()) is is_read
    assert planted.sql(f"SELECT count(*) FROM (EXPLAIN {verb})").rows() == [(len(answer),)]
    assert state(planted) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        (f"FIT loss ~ power(params) FROM points {QUICK}", "1 rows of law, form, rows,"),
        ("EXTRAPOLATE chin TO params = [1e9, 1e10], tokens = 1e10", "2 rows of params, tokens, predicted_loss,"),
        ("CROSS VALIDATE chin FROM points KFOLD 3 WITH (resamples = 0)", "3 rows of fold, n_train,"),
        (f"COMPARE chin, (loss ~ power(params)) FROM points {QUICK}", "2 rows of rank, law,"),
        (
            "COMPARE APPROACHES (loss ~ chinchilla(params, tokens)) FROM points "
            "WITH (resamples = 0, budgets = [6e17, 6e18, 6e19], tolerance = 2)",
            "4 rows of approach, params_exponent,",
        ),
        (
            "EXTRAPOLATE AVERAGE OF chin, (loss ~ power(params)) FROM points TO params = 1e11, tokens = 2e12 "
            "WITH (resamples = 0, weighing = 'aicc', forward = false)",
            "1 rows of params, tokens, predicted_loss,",
        ),
        (
            "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens = 20 * params",
            "1 rows of params, tokens,",
        ),
        (
            "DESIGN 2 RUNS FOR chin TO params = 1e12, tokens = 2e13 OVER params IN [1e7, 1e11] LOG, tokens = params",
            "2 rows of run, params, tokens,",
        ),
        ("REFIT LAW chin", "1 rows of law, form,"),
        ("PREDICT chin FROM points", "60 rows of id, name,"),
        ("RESIDUALS chin", "60 rows of id, name,"),
    ],
)
def test_analyze_does_it_and_says_how_long_that_took(planted: Lakehouse, verb: str, answer: str) -> None:
    rows = planted.sql(f"EXPLAIN ANALYZE {verb}").rows()
    steps = dict(rows)
    assert steps["answer"].startswith(answer)
    assert {"time in DuckDB", "time for the rest", "time in all"} <= steps.keys()
    assert rows[: len(planted.sql(f"EXPLAIN {verb}")) - 1][0] == planted.sql(f"EXPLAIN {verb}").rows()[0]


def sent(session: Session, monkeypatch: pytest.MonkeyPatch, text: str) -> tuple[list[str], list[str]]:
    """What EXPLAIN or EXPLAIN ANALYZE shows as SQL, and what went to DuckDB meanwhile, each on one line."""
    recorded: list[str] = []
    query = Session.query

    def recording(self: Session, sql: str, *arguments: Any, **named: Any) -> pa.Table:
        recorded.append(" ".join(sql.split()))
        return query(self, sql, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Session, "query", recording)
        answer = session.sql(text)
    return [" ".join(detail.split()) for step, detail in answer.rows() if step == "sql"], recorded


def is_about_rows(sql: str) -> bool:
    """Whether a statement reads what a verb works on; the others look up laws, names and scores."""
    return not re.search(r"store\.|duckdb_|sum\(hash\(|_isoflop_targets|^FROM runs LIMIT 0$", sql)


@pytest.mark.slow
@pytest.mark.parametrize("verb", [verb for verb in KNOWN if verb is not EXPLAIN], ids=lambda verb: verb.key)
def test_the_sql_that_is_shown_is_the_sql_that_is_sent(
    planted: Lakehouse, monkeypatch: pytest.MonkeyPatch, verb: Verb[Any]
) -> None:
    text = CHANGED[verb.key] if verb.is_statement else RELATIONS[verb.key][0]
    with planted.session() as session:
        session.sql("BEGIN")
        shown, _ = sent(session, monkeypatch, f"EXPLAIN {text}")
        analyzed, recorded = sent(session, monkeypatch, f"EXPLAIN ANALYZE {text}")
        session.sql("ROLLBACK")
    assert shown == analyzed
    assert {sql for sql in shown if is_about_rows(sql)} == {sql for sql in recorded if is_about_rows(sql)}
    assert set(shown) <= set(recorded)


def test_runs_that_are_resampled_as_a_whole_are_read_and_said(
    planted: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = "FIT loss ~ power(params) FROM curves WITH (resamples = 20, bootstrap = 'auto', forward = false)"
    with planted.session() as session:
        session.sql("CREATE TEMP TABLE curves AS SELECT * EXCLUDE (name), 'run ' || id % 12 AS run_id FROM points")
        shown, recorded = sent(session, monkeypatch, f"EXPLAIN ANALYZE {fit}")
        assert [sql for sql in shown if '("run_id") AS g0' in sql] and set(shown) <= set(recorded)
        steps = dict(session.sql(f"EXPLAIN {fit}").rows())
    assert steps["intervals"] == "0.95 from 20 resamples of whole groups by run_id, seed 0"


def test_the_number_of_starts_is_the_one_of_the_fit(planted: Lakehouse) -> None:
    for name, fit in (
        ("searched", "FIT loss ~ chinchilla(params, tokens) FROM points"),
        ("hinted", "FIT loss ~ power(params) PARAMETERS (alpha IN [0, 1] INIT 0.3) FROM points"),
        ("solved", "FIT loss ~ step_time(flops, params, tokens) FROM points"),
    ):
        planted.sql(f"CREATE OR REPLACE LAW {name} AS {fit} WITH (resamples = 0)")
        (kept,) = planted.query(
            "SELECT (diagnosis->>'$.starts')::INT AS n FROM laws WHERE name = $1", [name]
        ).to_pylist()
        steps = dict(planted.sql(f"EXPLAIN {fit}").rows())
        assert steps["starts"].startswith(f"{kept['n']}:"), (name, kept, steps["starts"])
        planted.sql(f"DROP LAW {name}")


def test_analyzing_a_change_changes(planted: Lakehouse) -> None:
    planted.sql(f"EXPLAIN ANALYZE CREATE OR REPLACE LAW brief AS FIT loss ~ power(params) FROM points {QUICK}")
    assert len(planted.sql("SHOW LAWS LIKE 'brief'")) == 1
    planted.sql("DROP LAW brief")


def test_explaining_sql_around_a_forecast_keeps_none(planted: Lakehouse) -> None:
    before = state(planted)
    planted.sql("EXPLAIN SELECT * FROM (FORECAST chin TO params = 1e9, tokens = 1e10)")
    assert state(planted) == before


def test_errors_are_those_of_the_verb(planted: Lakehouse) -> None:
    with pytest.raises(UnknownName, match="did you mean 'chin'") as caught:
        planted.sql("EXPLAIN\nEXTRAPOLATE chim TO params = 1")
    assert "LINE 2: EXTRAPOLATE chim TO params = 1\n                    ^^^^" in str(caught.value)
    with pytest.raises(StatementError, match="no row matched"):
        planted.sql("EXPLAIN CROSS VALIDATE chin FROM points WHERE params > 1e20 KFOLD 3")
    for verb, message in (
        ("COMPARE chin, (params ~ optimal_params(flops)) FROM points", "the candidates of COMPARE predict"),
        ("COMPARE APPROACHES FROM points AT flops = [[1]]", "budgets are numbers above 0"),
        ("COMPARE APPROACHES FROM points WHERE params > 1e20", "no row matched"),
        ("EXTRAPOLATE AVERAGE OF chin, chin TO params = 1", "chin stands twice"),
        ("EXTRAPOLATE AVERAGE OF chin, (loss ~ power(params)) FROM points TO params = 1e11", "needs params, tokens"),
        ("DESIGN 2 RUNS FOR chin TO params = 1 OVER params IN [1e7, 1e9]", "needs params, tokens"),
    ):
        with pytest.raises(StatementError, match=message) as refused:
            planted.sql(f"EXPLAIN {verb}")
        with pytest.raises(StatementError) as asked:
            planted.sql(f"        {verb}")
        assert str(refused.value).partition("LINE")[0] == str(asked.value).partition("LINE")[0]
        assert refused.value.start == asked.value.start
    with pytest.raises(QuerySyntaxError, match="expected PARAMETERS or FROM"):
        planted.sql("EXPLAIN ANALYZE FIT loss ~ power(params) FORM points")
