"""Columns named by words of DuckDB's without AS, wherever a statement runs."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import isoflop
from isoflop.lakehouse.sql.bare_names import run_named, with_as

NAMED = "SELECT min(range) first, max(range) last, count(*) value FROM range(5)"
ROW = [{"first": 0, "last": 4, "value": 5}]


def test_words_of_duckdb_name_columns(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with isoflop.open(path) as lake:
        assert lake.sql(NAMED).records() == ROW
        assert lake.sql(f"SELECT 1; {NAMED};").records() == ROW
        lake.sql("CREATE TABLE kept AS SELECT 1 first, 'a first, b' second")
        assert lake.sql("FROM kept").records() == [{"first": 1, "second": "a first, b"}]
        with lake.session() as session:
            session.query("BEGIN")
            session.query("INSERT INTO kept SELECT 2 first, 'c' second")
            session.query("COMMIT")
        assert lake.sql("SELECT count(*) large FROM kept").records() == [{"large": 2}]
    with isoflop.open(path, read_only=True) as lake:
        assert lake.sql(NAMED).records() == ROW


def test_they_do_in_a_statement_with_a_verb(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        fitted = "FIT y ~ power(x) FROM (SELECT range + 1 AS x, 2 + 3 * (range + 1) ^ -0.5 AS y FROM range(20))"
        named = lake.sql(f"SELECT count(*) first FROM ({fitted})").arrow()
        assert named.equals(lake.sql(f"SELECT count(*) AS first FROM ({fitted})").arrow())


@pytest.mark.parametrize(
    "text",
    ["SELECT 1 first second", "SELECT a FRM t", "SELECT 1 select", "SELECT 1 + first first first", "(("],
)
def test_what_as_does_not_mend_fails_as_it_is(text: str, tmp_path: Path) -> None:
    assert with_as(text) is None
    with isoflop.open(tmp_path / "runs.duckdb") as lake, pytest.raises(duckdb.ParserException) as said:
        lake.query(text)
    assert " AS first" not in str(said.value)


def test_a_text_that_parses_is_not_run_again() -> None:
    ran: list[str] = []

    def fails(text: str) -> pa.Table:
        ran.append(text)
        raise duckdb.ParserException("Parser Error: something that only running shows")

    with pytest.raises(duckdb.ParserException):
        run_named("INSERT INTO t VALUES (1); SELECT 1", fails)
    assert ran == ["INSERT INTO t VALUES (1); SELECT 1"]
