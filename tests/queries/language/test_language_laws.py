"""CREATE, DROP, ALTER and COMMENT: a law, its versions and its macro change together."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError, UnknownName

POINTS = (
    "CREATE TABLE points AS SELECT 10.0 ** (6 + i / 4) AS params, 2 + 100 / params ** 0.3 AS loss FROM range(12) t(i)"
)
FIT = "FIT loss ~ power(params) FROM points WITH (resamples = 5)"


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Iterator[Lakehouse]:
    lakehouse.query(POINTS)
    yield lakehouse


def test_a_law_is_an_sql_function_of_any_client(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}")
    path = lake.address
    lake.close()
    with duckdb.connect(path) as client:
        assert client.sql("SELECT best(1e8)").fetchone() == (pytest.approx(2 + 100 / 1e8**0.3, rel=1e-6),)
        assert client.sql("SELECT best(params := 1e8) > 2").fetchone() == (True,)


def test_creating_a_law_answers_with_its_fit(lake: Lakehouse) -> None:
    answer = lake.sql(f"CREATE LAW best AS {FIT}")
    assert answer.records()[0]["law"] == "best" and answer.records()[0]["status"] == "converged"
    assert answer.notes[0] == "law 'best' saved; SELECT best(params) computes it in any DuckDB client"


def test_a_law_is_kept_with_all_that_made_it(lake: Lakehouse) -> None:
    statement = (
        "CREATE LAW best AS\nFIT loss ~ power(params) -- by size\n"
        "FROM points WHERE params < $most WITH (resamples = 5, seed = 3)"
    )
    lake.sql(statement, {"most": 1e8})
    (row,) = lake.query("FROM store.laws").to_pylist()
    assert row["statement"] == statement and row["source"] == "FROM points WHERE params < $most"
    assert (row["form"], row["formula"], row["inputs"]) == ("power", "E + A / params ^ alpha", ["params"])
    assert (row["rows"], row["dropped"], row["seed"], row["status"]) == (8, 0, 3, "converged")
    assert len(row["draws"]) == 5 and len(row["residuals"]) == 8 and row["data_hash"]
    assert row["support"] == [{"input": "params", "lowest": pytest.approx(1e6), "largest": pytest.approx(10**7.75)}]
    assert lake.sql("RESIDUALS best").table.num_rows == 8


def test_a_law_exists_once(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}")
    with pytest.raises(StatementError, match="'BEST' exists"):
        lake.sql(f"CREATE LAW BEST AS {FIT}")
    answer = lake.sql(f"CREATE LAW IF NOT EXISTS best AS {FIT}")
    assert answer.notes == ("law 'best' exists; nothing was fitted",) and len(answer) == 0


def test_replacing_a_law_keeps_the_version_before(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}")
    lake.sql(
        "CREATE OR REPLACE LAW Best AS FIT loss ~ power(params) PARAMETERS (E FIXED 1) FROM points WITH (resamples = 0)"
    )
    assert lake.query("SELECT name, version FROM laws ORDER BY version").to_pylist() == [
        {"name": "best", "version": 1},
        {"name": "best", "version": 2},
    ]
    assert len(lake.sql("SHOW LAWS")) == 1
    newest, before = lake.sql("DESCRIBE LAW best"), lake.sql("DESCRIBE LAW best VERSION 1")
    assert newest.records()[0]["estimate"] == 1.0 and before.records()[0]["estimate"] == pytest.approx(2.0, abs=1e-3)
    by_macro = lake.query("SELECT best(1e8) AS y").to_pylist()[0]["y"]
    by_verb = lake.sql("EXTRAPOLATE best TO params = 1e8").records()[0]["predicted_loss"]
    assert by_macro == pytest.approx(by_verb, rel=1e-12)


def test_dropping_a_law_takes_every_version_and_the_macro(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}; CREATE OR REPLACE LAW best AS {FIT}")
    answer = lake.sql("DROP LAW best")
    assert answer.notes == ("law 'best' dropped with its 2 versions",)
    assert lake.query("FROM store.laws").num_rows == 0
    with pytest.raises(duckdb.CatalogException):
        lake.query("SELECT best(1e8)")
    with pytest.raises(UnknownName):
        lake.sql("DROP LAW best")
    assert lake.sql("DROP LAW IF EXISTS best").notes == ("law 'best' does not exist; nothing was dropped",)


def test_renaming_a_law_renames_its_macro(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}")
    lake.sql(f"CREATE LAW other AS {FIT}")
    with pytest.raises(StatementError, match="'other' exists"):
        lake.sql("ALTER LAW best RENAME TO other")
    lake.sql("ALTER LAW best RENAME TO good")
    assert [row["name"] for row in lake.sql("SHOW LAWS").records()] == ["good", "other"]
    assert lake.query("SELECT good(1e8) > 2 AS ok").to_pylist() == [{"ok": True}]
    with pytest.raises(duckdb.CatalogException):
        lake.query("SELECT best(1e8)")


def test_a_comment_shows_in_the_list(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}; COMMENT ON LAW best IS 'it''s the best'")
    assert lake.sql("SHOW LAWS LIKE 'B%'").records()[0]["comment"] == "it's the best"
    lake.sql("COMMENT ON LAW best IS NULL")
    assert lake.sql("SHOW LAWS").records()[0]["comment"] is None


@pytest.mark.parametrize("name", ["my law", "größe", "1st", 'a"b'])
def test_a_quoted_name_may_be_anything(lake: Lakehouse, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    lake.sql(f"CREATE LAW {quoted} AS {FIT}")
    assert lake.sql(f"SELECT {quoted}(1e8) > 2").rows() == [(True,)]
    assert len(lake.sql(f"EXTRAPOLATE {quoted} TO params = 1e8")) == 1
    lake.sql(f"DROP LAW {quoted}")


@pytest.mark.parametrize("name", ["sum", "SQRT", "coalesce", '"select"', "round"])
def test_a_law_never_hides_a_function_or_a_keyword(lake: Lakehouse, name: str) -> None:
    with pytest.raises(StatementError, match="Catalog Error"):
        lake.sql(f"CREATE LAW {name} AS {FIT}")
    assert lake.query("SELECT sum(x) AS s FROM range(3) t(x)").to_pylist() == [{"s": 3}]


def test_a_law_never_replaces_a_macro_of_somebody_else(lake: Lakehouse) -> None:
    lake.query("CREATE MACRO mine(x) AS x + 1")
    with pytest.raises(StatementError, match="macro in this lake"):
        lake.sql(f"CREATE OR REPLACE LAW mine AS {FIT}")
    assert lake.query("SELECT mine(1) AS y").to_pylist() == [{"y": 2}]


def test_a_fit_without_numbers_makes_no_law(lake: Lakehouse) -> None:
    with pytest.raises(StatementError, match="Data Error"):
        lake.sql("CREATE LAW best AS FIT loss ~ power(params) FROM points WHERE params < 2e6")
    assert len(lake.sql("SHOW LAWS")) == 0


def test_a_typed_law_comes_back_as_it_was(lake: Lakehouse) -> None:
    parameters = "E IN [0, 3], A > 0, a IN [0, 1] INIT 0.2"
    fit = f"FIT loss ~ E + A / params ^ a PARAMETERS ({parameters}) FROM points WITH (resamples = 5)"
    lake.sql(f"CREATE LAW typed AS {fit}")
    again = lake.sql("CROSS VALIDATE typed FROM points HOLDOUT LARGEST 2 BY params WITH (resamples = 0)").records()[0]
    assert again["coefficients"]["a"] == pytest.approx(0.3, abs=1e-3)
    assert lake.sql("SHOW LAWS").records()[0]["form"] == "E + A / params ^ a"


def test_describing_a_law_shows_each_coefficient(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS {FIT}")
    answer = lake.sql("DESCRIBE LAW best")
    columns = ["coefficient", "estimate", "std_error", "lower", "upper", "level", "at_bound", "unit", "stale"]
    assert answer.columns == columns
    assert [(row["coefficient"], row["unit"]) for row in answer.records()] == [
        ("E", None),  # of runs without tokens or a loss_unit, nobody knows the loss's unit
        ("A", None),
        ("alpha", "1"),
    ]


def test_forms_are_listed_with_their_sources(lake: Lakehouse) -> None:
    rows = {row["form"]: row for row in lake.sql("SHOW LAW FORMS").records()}
    assert rows["chinchilla"]["inputs"] == ["params", "tokens"] and "2203.15556" in rows["chinchilla"]["source"]
    assert [row["form"] for row in lake.sql("SHOW LAW FORMS LIKE 'CHINCHILLA'").records()] == ["chinchilla"]


def test_what_a_failed_statement_began_is_not_there(lake: Lakehouse) -> None:
    lake.query("CREATE MACRO best(x) AS x")
    lake.query("DROP MACRO best")
    lake.sql(f"CREATE LAW best AS {FIT}")
    with pytest.raises(StatementError):
        lake.sql("CREATE OR REPLACE LAW best AS FIT loss ~ power(nothing) FROM points")
    assert lake.query("SELECT max(version) AS v FROM laws").to_pylist() == [{"v": 1}]


def test_laws_outlive_the_process(lake: Lakehouse) -> None:
    lake.sql("CREATE LAW best AS FIT loss AS nats ~ power(params * 2) FROM points WITH (resamples = 5)")
    first = lake.sql("EXTRAPOLATE best TO params = 1e10").records()
    path = lake.address
    lake.close()
    with isoflop.open(path) as again:
        assert again.sql("EXTRAPOLATE best TO params = 1e10").records() == first
        assert "predicted_nats" in first[0]


def test_residuals_say_when_the_rows_behind_a_law_have_changed(lake: Lakehouse) -> None:
    lake.sql(f"CREATE LAW best AS ({FIT})")
    before = lake.sql("RESIDUALS best").notes  # what the fit found against itself
    assert not any("have changed" in note for note in before)
    lake.query("INSERT INTO points VALUES (1e12, 2.1)")
    changed = "the rows behind law 'best' have changed since it was fitted: 12 then, 13 now"
    assert set(lake.sql("RESIDUALS best").notes) == {*before, changed}


def test_two_processes_cannot_both_make_a_law(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from isoflop.queries.language.plans import create

    lake.sql(f"CREATE LAW best AS {FIT}")
    monkeypatch.setattr(create, "law_exists", lambda lake, name: False)  # as when the other one is a moment earlier
    with pytest.raises(StatementError, match="'best' exists"):
        lake.sql(f"CREATE LAW best AS {FIT}")
    assert lake.query("SELECT count(*) AS n FROM laws").to_pylist() == [{"n": 1}]
