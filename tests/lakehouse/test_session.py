"""Sessions: what lasts between statements, at home and at the keeper, and who is not kept waiting by it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.backends import connection as connections
from isoflop.lakehouse.errors import Interrupted, StoreError
from isoflop.lakehouse.maintenance import find_problems
from tests.keepers import kill_keeper

FOREVER = "SELECT sum(i * j % 7) FROM range(1000000000) t(i), range(1000) u(j)"


@contextlib.contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the lake."""
    program = (
        f"import sys\nfrom isoflop.lakehouse import Lakehouse\nwith Lakehouse({str(path)!r}, hold=True):\n"
        "    print('held', flush=True)\n    sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None and holder.stdout is not None and holder.stdout.readline().strip() == "held"
    try:
        yield holder
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()


@pytest.fixture(scope="module")
def held_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of a lake that is kept by another process."""
    path = tmp_path_factory.mktemp("held") / "my runs.duckdb"
    with held(path):
        yield path


@pytest.fixture(params=["own", "held"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lakehouse]:
    """A lake whose file this process has open, and one that another process holds."""
    is_held = request.param == "held"
    with Lakehouse(request.getfixturevalue("held_path") if is_held else tmp_path / "my runs.duckdb") as opened:
        assert opened.is_owner is not is_held
        yield opened


def test_what_statements_leave_behind_lasts_until_the_end(lake: Lakehouse, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    with lake.session() as session:
        session.query("CREATE TEMP TABLE t AS SELECT 1 AS x")
        session.query("PREPARE p AS SELECT $1 + x AS y FROM t")
        session.query("SET VARIABLE v = 7")
        session.query("SET default_null_order = 'nulls_first'")
        assert session.query("EXECUTE p(4)").to_pylist() == [{"y": 5}]
        assert session.query("SELECT getvariable('v') AS v").to_pylist() == [{"v": 7}]
        assert session.query("SELECT max(x) AS m FROM given", None, {"given": pa.table({"x": [3]})}).to_pylist() == [
            {"m": 3}
        ]
        session.query(f"ATTACH '{other}' AS other; USE other; CREATE TABLE theirs AS SELECT 2 AS x")
        assert session.query("SELECT x, (SELECT count(*) FROM runs) AS n FROM theirs").to_pylist() == [{"x": 2, "n": 0}]
        assert session.query("SELECT count(*) AS n FROM store.laws").to_pylist() == [{"n": 0}]
    with pytest.raises(duckdb.Error):
        lake.query("FROM t")
    assert "other" not in lake.query("SELECT database_name FROM duckdb_databases()").column(0).to_pylist()
    with pytest.raises(StoreError, match="session is closed"):
        session.query("SELECT 1")
    con = duckdb.connect(str(other))
    assert con.execute("FROM theirs").fetchall() == [(2,)]
    con.close()


def test_a_transaction_is_committed_rolled_back_or_given_up(lake: Lakehouse, capfd: pytest.CaptureFixture[str]) -> None:
    with lake.session() as session:
        session.query("CREATE TABLE t (x INTEGER)")
        session.query("BEGIN; INSERT INTO t VALUES (1)")
        assert lake.query("FROM t").num_rows == 0 and session.query("FROM t").num_rows == 1
        session.query("COMMIT")
        session.query("BEGIN")
        session.write([("INSERT INTO t VALUES (2)", None)])
        session.query("ROLLBACK")
        session.write([("INSERT INTO t VALUES (3)", None)])
        assert lake.query("FROM t ORDER BY x").to_pylist() == [{"x": 1}, {"x": 3}]
    assert "rolled back" not in capfd.readouterr().err
    with lake.session() as session:
        session.query("BEGIN; INSERT INTO t VALUES (4)")
    assert "open transaction was rolled back" in capfd.readouterr().err
    assert lake.query("FROM t").num_rows == 2


def test_errors_do_not_end_a_session(lake: Lakehouse) -> None:
    with lake.session() as session:
        session.query("CREATE TEMP TABLE t AS SELECT 1 AS x")
        with pytest.raises(duckdb.BinderException, match="LINE 2"):
            session.query("SELECT 1;\nSELECT nope FROM t")
        assert session.query("FROM t").num_rows == 1


def test_a_statement_is_interrupted_from_another_thread(lake: Lakehouse) -> None:
    with lake.session() as session:
        session.query("CREATE TEMP TABLE t AS SELECT 1 AS x")
        for asked in (session, lake):
            stopper = threading.Timer(0.4, asked.interrupt)
            stopper.start()
            began = time.monotonic()
            with pytest.raises(Interrupted):
                asked.query(FOREVER)
            stopper.join()
            assert time.monotonic() - began < 20
            assert asked.query("SELECT 1 AS x").to_pylist() == [{"x": 1}]
        assert session.query("FROM t").num_rows == 1


def test_a_sweep_lands_while_a_session_has_an_open_transaction(address: str) -> None:
    run = RunRecord(family="mine", config={"width": 8})
    with Lakehouse(address) as lake, lake.session() as session:
        session.query("BEGIN")
        session.query("CREATE TABLE notes AS SELECT 'mine' AS text")
        lake.record_runs([run])
        with Spool(lake.spool_folder, run.run_id, 1, flush_seconds=60) as spool:
            for step in range(10):
                spool.log(step, loss=1.0 / (step + 1))
        lake.drain()
        assert lake.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 10}]
        assert session.query("SELECT count(*) AS n FROM notes").to_pylist() == [{"n": 1}]
        session.query("COMMIT")
        assert find_problems(lake).records() == []


def test_a_forgotten_transaction_on_the_same_rows_makes_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_TRANSACTION", 0.0)
    run = RunRecord(family="mine", config={"width": 8})
    with Lakehouse(tmp_path / "runs.duckdb") as lake, lake.session() as session:
        lake.record_runs([run])
        with Spool(lake.spool_folder, run.run_id, 1, flush_seconds=60) as spool:
            spool.log(1, loss=2.0)
            spool.flush()
            lake.drain()
            session.query("BEGIN; DELETE FROM store.finals")
            spool.log(2, loss=1.0)
        with pytest.raises(StoreError):
            lake.drain()
        lake.drain()
        assert lake.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 2}]
        with pytest.raises(duckdb.TransactionException, match="was rolled back: it kept new measurements"):
            session.query("COMMIT")
        assert session.query("SELECT 1 AS x").num_rows == 1


def test_a_lake_is_not_rewritten_under_a_session(lakehouse: Lakehouse) -> None:
    with lakehouse.session() as session:
        session.query("CREATE TEMP TABLE t AS SELECT 1 AS x")
        with pytest.raises(StoreError, match="while a session is open"):
            lakehouse.compact()
    lakehouse.compact()


def test_the_session_of_a_process_that_has_gone_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    program = (
        f"import os\nfrom isoflop.lakehouse import Lakehouse\nlake = Lakehouse({str(path)!r})\n"
        "session = lake.session()\n"
        "session.query('BEGIN; CREATE TABLE theirs (x INTEGER)')\nos._exit(0)"
    )
    with Lakehouse(path, hold=True) as lake:
        subprocess.run([sys.executable, "-c", program], check=True)
        until = time.monotonic() + 300
        while True:
            try:
                lake.query("CREATE TABLE theirs (y INTEGER)")
                break
            except duckdb.TransactionException:  # that of the process that has gone has not been rolled back yet
                assert time.monotonic() < until
                time.sleep(0.1)


def test_a_session_outlives_its_keeper_only_when_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with held(path):
        lake = Lakehouse(path)
        plain, stateful = lake.session(), lake.session()
        assert plain.query("SELECT 1 AS x").num_rows == 1
        stateful.query("CREATE TEMP TABLE t AS SELECT 1 AS x")
        kill_keeper(path)
    assert plain.query("SELECT 2 AS x").to_pylist() == [{"x": 2}]
    with pytest.raises(StoreError, match="temporary tables, settings and transaction"):
        stateful.query("FROM t")
    assert stateful.query("SELECT 3 AS x").to_pylist() == [{"x": 3}]
    plain.close()
    stateful.close()
    lake.close()
