"""The lock on a lake's file, and everybody who tries to get past it."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import duckdb
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.backends.catalog import LakeDamaged, LakeHeld, StoreDead, open_claimed
from isoflop.lakehouse.backends.store import Store
from isoflop.lakehouse.errors import StoreError, UsageError
from isoflop.lakehouse.maintenance import find_problems
from isoflop.lakehouse.maintenance.repair import repairing
from isoflop.lakehouse.schema import SCHEMA_VERSION

STORES = Path(__file__).parent.parent / "fixtures" / "stores"
PATIENCE = 240  # seconds a program of a test may take on a busy machine

# Opens a lake again and again, writes a run each time, and prints how many it has been told were written.
HAMMER = """
import pathlib, sys, isoflop
from isoflop.lakehouse.errors import StoreError
path, stop = sys.argv[1], pathlib.Path(sys.argv[2])
written = 0
print("ready", flush=True)
while not stop.exists() or not written:
    try:
        with isoflop.open(path) as lake:
            with lake.run("h", {"k": written}) as run:
                run.log(step=1, loss=1.0)
    except StoreError:
        continue
    written += 1
print(written, flush=True)
"""


def old_lake(path: Path, version: int) -> Path:
    path.write_bytes(gzip.decompress((STORES / f"schema-{version}.store.gz").read_bytes()))
    return path


def can_open(path: Path) -> bool:
    """Whether another process gets the file from DuckDB itself."""
    done = subprocess.run(
        [sys.executable, "-c", f"import duckdb; duckdb.connect({str(path)!r}).close()"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0 or "Could not set lock" in done.stderr
    return done.returncode == 0


def hammering(path: Path, stop: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HAMMER, str(path), str(stop)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def written_by(process: subprocess.Popen[str], stop: Path) -> int:
    stop.touch()
    said, complained = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, complained
    return int(said)


def patiently(path: Path) -> Lakehouse:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return isoflop.open(path)
        except LakeHeld:
            assert time.monotonic() < until


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_lake_that_was_brought_up_to_date_stays_locked(tmp_path: Path, version: int) -> None:
    path = old_lake(tmp_path / "old.duckdb", version)
    with Lakehouse(path):
        assert (tmp_path / f"old.duckdb.schema-{version}.backup").exists()
        assert not can_open(path)
    assert can_open(path)


@pytest.mark.slow
@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_an_old_lake_opens_under_a_process_that_hammers_it_and_no_run_is_lost(tmp_path: Path, version: int) -> None:
    path, stop = old_lake(tmp_path / "old.duckdb", version), tmp_path / "stop"
    hammer = hammering(path, stop)
    with patiently(path) as lake, lake.run("own", {"k": 1}) as run:
        run.log(step=1, loss=1.0)
    written = written_by(hammer, stop)
    with Lakehouse(path) as lake:
        counts = lake.query("SELECT family, count(*) AS n, count(loss) AS m FROM runs GROUP BY family").to_pylist()
        found = {row["family"]: (row["n"], row["m"]) for row in counts}
        assert found["h"] == (written, written)
        assert found["own"] == (1, 1)
        assert sum(n for n, _ in found.values()) == 3 + written + 1
        assert find_problems(lake).records() == []


def test_a_compaction_under_a_process_that_hammers_the_lake_loses_no_run(tmp_path: Path) -> None:
    path, stop = tmp_path / "runs.duckdb", tmp_path / "stop"
    with Lakehouse(path):
        pass
    hammer = hammering(path, stop)
    compacted = 0
    until = time.monotonic() + PATIENCE
    while compacted < 3 and time.monotonic() < until:
        try:
            store = Store(path, tmp_path / "none")
        except LakeHeld:
            continue
        try:
            store.compact()
            compacted += 1
            assert not can_open(path)
        finally:
            store.close()
    written = written_by(hammer, stop)
    assert compacted == 3
    with Lakehouse(path) as lake:
        assert lake.query("SELECT count(*) AS n, count(loss) AS m FROM runs").to_pylist() == [
            {"n": written, "m": written}
        ]
        assert find_problems(lake).records() == []


def test_reading_the_file_beside_duckdb_gives_it_away_only_until_the_next_statement(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path) as lake:
        lake.query("SELECT size FROM read_blob(?)", [str(path)])
        assert can_open(path)
        lake.query("SELECT 1")
        assert not can_open(path)


def test_a_file_that_another_process_took_is_noticed_and_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    lake = Lakehouse(path)
    with lake.run("mine", {"k": 1}) as run:
        run.log(step=1, loss=1.0)
    lake.query("CHECKPOINT")  # without a log, which DuckDB locks as well
    path.open("rb").close()  # the lock goes with the descriptor
    program = f"""
        import sys, isoflop
        with isoflop.open({str(path)!r}) as lake:
            with lake.run("theirs", {{"k": 2}}) as run:
                run.log(step=1, loss=2.0)
            print("has it", flush=True)
            sys.stdin.read()
    """
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "has it\n"
    with pytest.raises(StoreDead, match="opened by another process"):
        lake.write([("CREATE TABLE t (x INT)", None)])
    other.communicate("", timeout=PATIENCE)
    lake.close()
    with Lakehouse(path) as again:
        assert again.query("SELECT loss FROM runs ORDER BY loss").to_pylist() == [{"loss": 1.0}, {"loss": 2.0}]
        assert find_problems(again).records() == []


def test_a_file_that_was_replaced_while_it_was_open_is_noticed(tmp_path: Path) -> None:
    path, copy = tmp_path / "runs.duckdb", tmp_path / "copy.duckdb"
    store = Store(path, tmp_path / "none")
    store.write([("CREATE TABLE main.t (x INT)", None)])
    store.snapshot(copy)
    os.replace(copy, path)
    with pytest.raises(StoreDead, match="moved, removed or replaced"):
        store.write([("INSERT INTO main.t VALUES (1)", None)])
    store.close()
    with pytest.raises(LakeDamaged, match="does not match") as caught:  # the replaced file's log lies beside it
        Store(path, tmp_path / "none")
    assert f"isoflop lake repair --lake {path}" in str(caught.value)
    with repairing(str(path)) as patient:
        assert patient.repair(patient.examine()).moved_log is not None
    again = Store(path, tmp_path / "none")
    again.write([("INSERT INTO main.t VALUES (2)", None)])
    assert again.query("SELECT x FROM main.t").to_pylist() == [{"x": 2}]
    again.close()


def test_two_names_of_one_file_are_one_database_in_a_process(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path) as lake:
        lake.query("CREATE TABLE t AS SELECT 1 AS x")
        os.link(path, tmp_path / "also.duckdb")
        with Lakehouse(tmp_path / "also.duckdb") as other:
            other.query("INSERT INTO t VALUES (2)")
            assert lake.query("SELECT count(*) AS n FROM t").to_pylist() == [{"n": 2}]
            with pytest.raises(StoreError, match="more than once in this process"):
                lake.compact()
        assert not can_open(path)
        lake.compact()
        assert lake.query("SELECT count(*) AS n FROM t").to_pylist() == [{"n": 2}]


def test_a_link_is_the_lake_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link, circle = tmp_path / "real" / "a.duckdb", tmp_path / "link.duckdb", tmp_path / "circle.duckdb"
    link.symlink_to(real)
    with isoflop.open(link) as lake:  # makes the file the link leads to
        assert lake.path == real
        with lake.run("m", {"k": 1}) as run:
            run.log(step=1, loss=1.0)
    assert real.exists() and not (tmp_path / "link.duckdb.spool").exists()
    circle.symlink_to(circle)
    with pytest.raises(UsageError, match="link"):
        Lakehouse(circle)


def test_somebody_elses_connection_keeps_the_lock_when_the_lake_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    con, claim = open_claimed(path)
    own = duckdb.connect(str(path))  # a notebook's own, which shares the database
    con.close()
    claim.release()
    assert not can_open(path)
    own.close()
    again, claim = open_claimed(path)
    again.close()
    claim.release()
    assert can_open(path)
