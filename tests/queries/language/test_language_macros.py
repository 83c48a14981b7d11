"""A saved law is three SQL functions: its prediction and the ends of the interval that EXTRAPOLATE prints."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError

POINTS = [(1e8, 1e10), (3e9, 2e11), (1e11, 2e12), (1e13, 1e8), (1e5, 1e14)]  # within the rows, and beyond on each side
FIT = "FIT loss ~ chinchilla(params, tokens) FROM points"


def near(value: float) -> object:
    return pytest.approx(value, rel=1e-9)


def test_the_functions_say_what_extrapolate_prints(planted: Lakehouse) -> None:
    planted.sql(f"CREATE OR REPLACE LAW narrow AS {FIT} WITH (resamples = 30, level = 0.8, seed = 5)")
    for name in ("chin", "narrow"):
        for params, tokens in POINTS:
            (row,) = planted.sql(f"EXTRAPOLATE {name} TO params = {params!r}, tokens = {tokens!r}").records()
            functions = ", ".join(f"{name}{end}({params!r}, {tokens!r})" for end in ("", "_lower", "_upper"))
            (found,) = planted.sql(f"SELECT {functions}").rows()
            assert found == (near(row["predicted_loss"]), near(row["lower"]), near(row["upper"])), (name, params)


def test_the_functions_say_what_predict_prints(planted: Lakehouse) -> None:
    text = (
        "SELECT max(abs(predicted_loss / chin(params, tokens) - 1)), max(abs(lower / chin_lower(params, tokens) - 1)), "
        "max(abs(upper / chin_upper(params, tokens) - 1)), count(chin_lower(params, tokens)) "
        "FROM (PREDICT chin FROM points)"
    )
    *off, count = planted.sql(text).rows()[0]
    assert count == 60 and max(off) < 1e-9


def test_what_cannot_be_predicted_is_null(planted: Lakehouse) -> None:
    bad = ("0", "-1", "NULL", "'nan'::DOUBLE", "'inf'::DOUBLE")
    found = planted.sql("SELECT " + ", ".join(f"chin_lower({value}, 1e10)" for value in bad)).rows()
    assert found == [(None,) * len(bad)]


def test_arguments_may_be_whole_numbers_subqueries_and_named(planted: Lakehouse) -> None:
    text = (
        "SELECT chin_upper(params := (SELECT max(params) FROM points)::BIGINT, tokens := 20 * 10000000000::HUGEINT) "
        "- chin_upper(1e10, 2e11)"
    )
    assert planted.sql(text).rows()[0][0] == pytest.approx(0.0, abs=1e-12)


def test_bounds_of_a_law_without_resamples_are_null(planted: Lakehouse) -> None:
    planted.sql(f"CREATE OR REPLACE LAW bare AS {FIT} WITH (resamples = 0)")
    assert planted.sql("SELECT bare(1e9, 1e10) > 2, bare_lower(1e9, 1e10), bare_upper(1e9, 1e10)").rows() == [
        (True, None, None)
    ]


def test_any_client_has_the_functions_under_any_name(lakehouse: Lakehouse, tmp_path: Path) -> None:
    lakehouse.query(
        "CREATE TABLE points AS SELECT 10.0 ** (6 + i / 4) AS params, 2 + 100 / params ** 0.3 + 0.01 * sin(i) AS loss "
        "FROM range(12) t(i)"
    )
    lakehouse.sql('CREATE LAW "the law" AS FIT loss ~ power(params * 2) FROM points WITH (resamples = 20)')
    (row,) = lakehouse.sql('EXTRAPOLATE "the law" TO "x" = 4e8').records()
    path = lakehouse.address
    copy = tmp_path / "copy.duckdb"
    lakehouse.snapshot(copy)
    lakehouse.close()
    for file in (path, str(copy)):
        with duckdb.connect() as client:
            client.execute(f"ATTACH '{file}' AS elsewhere (READ_ONLY)")
            found = client.sql('SELECT elsewhere."the law_lower"(2e8), elsewhere."the law_upper"(2e8)').fetchone()
            assert found == (near(row["lower"]), near(row["upper"]))


def test_functions_follow_their_law(lakehouse: Lakehouse) -> None:
    def functions() -> list[str]:
        table = lakehouse.query(
            "SELECT DISTINCT function_name AS f FROM duckdb_functions() WHERE NOT internal ORDER BY f"
        )
        return [str(name) for name in table.column("f").to_pylist()]

    lakehouse.query(
        "CREATE TABLE points AS SELECT 10.0 ** i AS params, 2 + 100 / params ** 0.3 AS loss FROM range(9) t(i)"
    )
    lakehouse.sql("CREATE LAW best AS FIT loss ~ power(params) FROM points WITH (resamples = 5)")
    assert functions() == ["best", "best_lower", "best_upper"]
    before = lakehouse.sql("SELECT best_lower(1e12)").rows()
    lakehouse.sql("CREATE OR REPLACE LAW best AS FIT loss ~ power(params) FROM points WITH (resamples = 0)")
    assert before != lakehouse.sql("SELECT best_lower(1e12)").rows() == [(None,)]
    lakehouse.sql("ALTER LAW best RENAME TO good")
    assert functions() == ["good", "good_lower", "good_upper"]
    lakehouse.sql("DROP LAW good")
    assert functions() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "name", "message"),
    [
        ("CREATE MACRO best(x) AS x", "best", "'best' is a macro in this lake"),
        ("CREATE MACRO best(x) AS TABLE SELECT x", "best", "'best' is a macro in this lake"),
        ("CREATE MACRO best_lower(x) AS x", "best", "'best_lower', a bound of the law as an SQL function, is a"),
        ("CREATE TABLE best (x INTEGER)", "best", "'best' is a table in this lake"),
        ("CREATE VIEW best AS SELECT 1", "BEST", "'BEST' is a view in this lake"),
        (None, "runs", "'runs' is a view in this lake"),
        (None, "law_upper", "'law_upper' is a bound of law 'law'"),
        (None, "other", "'other_lower', a bound of the law as an SQL function, is a law already"),
        (None, "sum", "'sum' is a function of DuckDB"),
    ],
)  # fmt: skip
def test_a_law_hides_nothing(lakehouse: Lakehouse, made: str | None, name: str, message: str) -> None:
    fit = "FIT y ~ plain_power(x) FROM (SELECT 10.0 ** i AS x, 3 / x AS y FROM range(5) t(i)) WITH (resamples = 0)"
    lakehouse.sql(f"CREATE LAW law AS {fit}; CREATE LAW other_lower AS {fit}")
    if made is not None:
        lakehouse.query(made)
    for text in (
        f"CREATE LAW {name} AS {fit}",
        f"CREATE OR REPLACE LAW {name} AS {fit}",
        f"ALTER LAW law RENAME TO {name}",
    ):
        if text.startswith("ALTER LAW law") and name == "law_upper":
            continue  # its own bound
        with pytest.raises(StatementError) as caught:
            lakehouse.sql(text)
        assert message in str(caught.value)
    assert sorted(row["name"] for row in lakehouse.sql("SHOW LAWS").records()) == ["law", "other_lower"]


NOISY = (
    "CREATE LAW noisy AS FIT loss ~ nqs(params, batch, steps) FROM (SELECT 2.0 ** (10 + i) AS params, 32 AS batch, "
    "100 * 2 ** (i % 4) AS steps, 1 + 9 / params ** 0.2 + 3 / steps ** 0.3 AS loss FROM range(9) t(i)) "
    "WITH (resamples = 0)"
)


def test_a_law_without_a_formula_has_its_prediction_and_no_bounds(lakehouse: Lakehouse) -> None:
    answer = lakehouse.sql(NOISY)
    saved = "law 'noisy' saved; SELECT noisy(params, batch, steps) computes it in any DuckDB client"
    assert saved in answer.notes
    ((computed,),) = lakehouse.sql("SELECT noisy(4096, 32, 400)").rows()
    (row,) = lakehouse.sql("EXTRAPOLATE noisy TO params = 4096, batch = 32, steps = 400").records()
    assert computed == pytest.approx(row["predicted_loss"], rel=1e-9)
    bounds = "SELECT count(*) FROM duckdb_functions() WHERE function_name IN ('noisy_lower', 'noisy_upper')"
    assert lakehouse.sql(bounds).rows() == [(0,)]


def test_a_law_that_sql_cannot_compute_says_so(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from isoflop.queries.laws.nqs import NoisyQuadratic

    monkeypatch.delattr(NoisyQuadratic, "macro")
    answer = lakehouse.sql(NOISY)
    assert "law 'noisy' saved; SQL cannot compute it, so it is no SQL function: use PREDICT" in answer.notes
