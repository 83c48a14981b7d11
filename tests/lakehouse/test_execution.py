"""Texts of several statements: each error points into the whole text, as it was written."""

from __future__ import annotations

import threading
import time

import duckdb
import pytest

from isoflop.lakehouse.sql.cancellation import STOPPED_EVERY, Progress, watched
from isoflop.lakehouse.sql.execution import run_text

GOLDEN = [
    ("SELECT nope FROM range(3)", "LINE 1: SELECT nope FROM range(3)\n               ^"),
    ("SELECT 1; SELECT nope FROM range(3)", "LINE 1: SELECT 1; SELECT nope FROM range(3)\n                         ^"),
    ("SELECT 1;\nSELECT nope FROM range(3)", "LINE 2: SELECT nope FROM range(3)\n               ^"),
    ("SELECT 1;\n\n  SELECT *\n  FROM nowhere;\n", "LINE 4:   FROM nowhere;\n               ^"),
    ("SELECT 1;\nSELECT 2; SELECT 3 +;", "LINE 2: SELECT 2; SELECT 3 +;\n                            ^"),
    (
        "SELECT 'größe; 損失'; SELECT nope",
        "LINE 1: SELECT 'größe; 損失'; SELECT nope\n                                     ^",
    ),
    ("SELECT 1;\r\nSELECT nope", "LINE 2: SELECT nope\n               ^"),
    ("-- first\nSELECT 1; -- SELECT nope;\nSELECT nope", "LINE 3: SELECT nope\n               ^"),
    ("SELECT 1; SELECT CAST('a' AS INT)", "LINE 1: SELECT 1; SELECT CAST('a' AS INT)\n                         ^"),
    ("CREATE TABLE t (x INT); INSERT INTO t VALUES (1, 2)", None),
    ("SELECT 1;\nSELECT nope(2)", "LINE 2: SELECT nope(2)\n               ^"),
    ("SELECT $a; SELECT $a + nope", "LINE 1: SELECT $a; SELECT $a + nope\n                               ^"),
]


@pytest.mark.parametrize(("text", "place"), GOLDEN)
def test_an_error_points_into_the_whole_text(text: str, place: str | None) -> None:
    with duckdb.connect() as con, pytest.raises(duckdb.Error) as raised:
        run_text(con, text, {"a": 1} if "$a" in text else None)
    if place is not None:
        assert str(raised.value).endswith(f"\n\n{place}")


def test_the_last_statement_is_answered_and_each_takes_its_own_parameters() -> None:
    with duckdb.connect() as con:
        assert run_text(
            con, "CREATE TABLE t AS SELECT $x AS x; SELECT x + $y AS z FROM t;", {"x": 1, "y": 2}
        ).to_pylist() == [{"z": 3}]
        assert run_text(con, "SELECT 1; ; -- nothing\n").num_rows == 1
        assert run_text(con, "FROM t; PIVOT (SELECT 1 AS i, 2 AS j) ON i USING sum(j)").column_names == ["1"]


def test_a_long_query_says_how_far_it_is() -> None:
    heard: list[Progress] = []
    with duckdb.connect() as con, watched(heard.append):
        con.execute("SET threads = 1")
        con.execute("CREATE TABLE t AS SELECT range AS i FROM range(300000)")
        run_text(con, "SELECT count(DISTINCT md5(i::VARCHAR)) FROM t")
    assert {one.part for one in heard} <= {"percent of a query"}


def test_what_has_not_quite_begun_is_stopped_a_moment_later() -> None:
    asked = threading.Event()
    told: list[float] = []

    def stop() -> None:
        told.append(time.monotonic())
        if len(told) == 3:  # it took no notice of the first two
            asked.set()

    with watched() as watch, watch.stoppable(stop):
        watch.cancel()
        assert asked.wait(30)
    count = len(told)
    time.sleep(2 * STOPPED_EVERY)
    assert len(told) == count  # nobody waits any more
