"""Files that a statement names by their bare names lie where the asker works, although another process runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import isoflop
from isoflop.lakehouse.sql.folder import with_whole_paths

FOLDERS = ("plain", "with space, and comma", "it's")


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / str(request.param)
    made.mkdir()
    (made / "runs.csv").write_text("x,y\n1,2\n10,1.5\n100,1.2\n1000,1.05\n10000,1.02\n")
    (made / "more").mkdir()
    (made / "more" / "a.csv").write_text("x,y\n7,7\n")
    monkeypatch.chdir(made)
    return made


def test_statements_read_and_write_where_the_asker_works(folder: Path) -> None:
    with isoflop.open("lake.duckdb") as lake:
        assert lake.sql("SELECT count(*) AS n FROM 'runs.csv'").records() == [{"n": 5}]
        assert lake.sql("SELECT count(*) AS n FROM read_csv('more/*.csv')").records() == [{"n": 1}]
        assert lake.sql("SELECT count(*) AS n FROM read_csv($1)", ["runs.csv"]).records() == [{"n": 5}]
        assert lake.query("SELECT count(*) AS n FROM 'runs.csv'").to_pylist() == [{"n": 5}]
        assert lake.sql("FIT y ~ power(x) FROM 'runs.csv' WITH (resamples = 0)").records()[0]["rows"] == 5
        lake.sql("COPY (SELECT 'a' AS a) TO 'out.csv' (FORMAT csv)")
        assert (folder / "out.csv").read_text() == "a\na\n"
        lake.sql("ATTACH 'other.duckdb' AS other; CREATE TABLE other.t AS FROM 'runs.csv'; DETACH other")
        assert (folder / "other.duckdb").exists()
        with lake.session() as session:
            session.sql("CREATE TEMP TABLE t (x DOUBLE, y DOUBLE); COPY t FROM 'runs.csv'")
            assert session.sql("SELECT count(*) AS n FROM t").records() == [{"n": 5}]
            session.sql("BEGIN")
            assert session.sql("SELECT count(*) AS n FROM 'runs.csv'").records() == [{"n": 5}]
            session.sql("COMMIT")


def test_the_folder_is_that_of_each_statement_and_of_each_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("first", "second")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "n.csv").write_text(f"n\n{number}\n")
    monkeypatch.chdir(tmp_path / "first")
    script = "import isoflop, sys\nwith isoflop.open(sys.argv[1]) as lake: print(lake.sql('FROM \"n.csv\"').records())"
    with isoflop.open(tmp_path / "lake.duckdb") as lake, lake.session() as session:
        assert session.sql("FROM 'n.csv'").records() == [{"n": 0}]
        command = [sys.executable, "-c", script, str(tmp_path / "lake.duckdb")]
        done = subprocess.run(command, cwd=tmp_path / "second", capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[{'n': 1}]"
        assert session.sql("FROM 'n.csv'").records() == [{"n": 0}]
        os.chdir(tmp_path / "second")
        assert session.sql("FROM 'n.csv'").records() == [{"n": 1}]
        assert lake.query("FROM 'n.csv'").to_pylist() == [{"n": 1}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COPY t TO 's3://bucket/x.parquet'", "COPY t TO 's3://bucket/x.parquet'"),
        ("COPY t TO '/x.csv'", "COPY t TO '/x.csv'"),
        ("COPY t TO '~/x.csv'", "COPY t TO '~/x.csv'"),
        ("ATTACH IF NOT EXISTS 'x.db' AS x", "ATTACH IF NOT EXISTS '/w/x.db' AS x"),
        ("ATTACH ':memory:' AS x", "ATTACH ':memory:' AS x"),
        ("ATTACH 'postgres:dbname=x' AS x", "ATTACH 'postgres:dbname=x' AS x"),
        ("EXPORT DATABASE 'out' (FORMAT parquet)", "EXPORT DATABASE '/w/out' (FORMAT parquet)"),
        ("EXPORT DATABASE d TO 'out'", "EXPORT DATABASE d TO '/w/out'"),
        ("-- COPY\nSELECT 'a' AS copy", "-- COPY\nSELECT 'a' AS copy"),
        ("COPY (SELECT 'it''s') TO 'it''s.csv'; SELECT 'x'", "COPY (SELECT 'it''s') TO '/w/it''s.csv'; SELECT 'x'"),
        ("COPY t TO 'x.csv' (FORMAT 'csv', DELIMITER ';')", "COPY t TO '/w/x.csv' (FORMAT 'csv', DELIMITER ';')"),
        ("PREPARE p AS COPY t TO 'x.csv'", "PREPARE p AS COPY t TO '/w/x.csv'"),
        ("EXPLAIN ANALYZE COPY t TO 'x.csv'", "EXPLAIN ANALYZE COPY t TO '/w/x.csv'"),
        ("PREPARE p AS SELECT 'x.csv'; COPY t TO 'x.csv'", "PREPARE p AS SELECT 'x.csv'; COPY t TO '/w/x.csv'"),
        ("COPY t /* TO 'a' */ FROM 'é.csv'", "COPY t /* TO 'a' */ FROM '/w/é.csv'"),
    ],
)  # fmt: skip
def test_paths_that_are_not_whole_become_so(text: str, expected: str) -> None:
    assert with_whole_paths(text, "/w") == expected


def test_a_file_without_an_ending_is_found_by_a_function(folder: Path) -> None:
    (folder / "plain").write_text("n\n7\n")
    with isoflop.open("lake.duckdb") as lake:
        for text in ("FROM read_csv('plain')", "FROM read_csv($1)", "SELECT n FROM  Read_Csv_Auto ( 'plain' )"):
            assert lake.sql(text, ["plain"] if "$" in text else None).records() == [{"n": 7}]


def test_files_of_variables_prepared_statements_and_expressions_lie_where_the_asker_works(folder: Path) -> None:
    with isoflop.open("lake.duckdb") as lake, lake.session() as session:
        session.sql("SET VARIABLE f = 'by_variable.csv'; COPY (SELECT 1 AS a) TO (getvariable('f')) (FORMAT csv)")
        session.sql("PREPARE p AS COPY (SELECT 2 AS a) TO 'prepared.csv'")
        session.sql("EXECUTE p")
        session.sql("PREPARE q AS COPY (SELECT 3 AS a) TO $1")
        session.sql("EXECUTE q('by_parameter.csv')")
        session.sql("COPY (SELECT 4 AS a) TO ('by_' || 'expression.csv')")
        session.sql("COPY (SELECT 5 AS a) TO $1", ["bound.csv"])
        session.sql("COPY (SELECT 6 AS a) TO ?", [str(folder / "whole.csv")])
        for number, name in enumerate(
            ("by_variable", "prepared", "by_parameter", "by_expression", "bound", "whole"), 1
        ):
            assert (folder / f"{name}.csv").read_text() == f"a\n{number}\n"
        session.sql(
            "CREATE TEMP TABLE t (x DOUBLE, y DOUBLE); SET VARIABLE g = 'runs.csv'; COPY t FROM (getvariable('g'))"
        )
        session.sql("PREPARE r AS COPY t FROM ?")
        session.sql("EXECUTE r('runs.csv')")
        assert session.sql("SELECT count(*) AS n FROM t").records() == [{"n": 10}]
        assert session.sql("SELECT count(*) AS n FROM read_csv(getvariable('g'))").records() == [{"n": 5}]
