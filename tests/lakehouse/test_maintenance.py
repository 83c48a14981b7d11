"""Looking after a lake, of either kind."""

from __future__ import annotations

import gzip
import math
import random
import struct
import threading
from pathlib import Path

import duckdb
import pytest

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.errors import StoreError, UsageError
from isoflop.lakehouse.maintenance import (
    copy_lake,
    delete_runs,
    describe,
    drop_old_attempts,
    find_problems,
    note_runs,
    tag_runs,
    thin_curves,
)
from isoflop.lakehouse.schema import SCHEMA_VERSION

STORES = Path(__file__).parent.parent / "fixtures" / "stores"


def filled(lake: Lakehouse, runs: int = 3, steps: int = 100) -> list[RunRecord]:
    """Runs with two attempts each: the first stopped half way, the second from the start."""
    records = [RunRecord(family="mine", config={"i": i, "width": 2**i}, name=f"run {i}") for i in range(runs)]
    lake.record_sweep(name="some", spec="text", runs=records)
    for record in records:
        for attempt, upto in ((1, steps // 2), (2, steps)):
            with Spool(lake.spool_folder, record.run_id, attempt) as spool:
                spool.started(host="here", device="cpu")
                for step in range(upto):
                    spool.log(step, loss=float(steps - step), accuracy=step / steps)
                spool.note("a line")
                spool.ended("finished" if attempt == 2 else "failed", loss=1.0)
    lake.drain()
    return records


def count(lake: Lakehouse, table: str) -> int:
    return int(lake.query(f"SELECT count(*) AS n FROM store.{table}")["n"][0].as_py())


def test_deleted_runs_are_gone_from_every_table_and_the_rest_is_whole(address: str) -> None:
    with Lakehouse(address) as lake:
        first, *_ = filled(lake)
        planned = delete_runs(lake, "i = 0", dry_run=True)
        assert (planned.runs, planned.points) == (1, 300)
        assert count(lake, "runs") == 3
        assert delete_runs(lake, "i = 0") == planned
        for table in ("runs", "attempts", "metrics", "finals", "batches", "logs", "sweep_runs"):
            assert first.run_id not in set(lake.query(f"SELECT run_id FROM store.{table}")["run_id"].to_pylist())
        assert (count(lake, "runs"), count(lake, "metrics")) == (2, 600)
        assert find_problems(lake).records() == []
        with pytest.raises(duckdb.Error):
            delete_runs(lake, "no_such_column = 1")


def test_a_run_in_training_is_not_deleted(lakehouse: Lakehouse) -> None:
    with lakehouse.run("mine", {"a": 1}) as run:
        assert run._spool is not None and run._spool.flush()
        assert delete_runs(lakehouse, "true").running == 1
    assert count(lakehouse, "runs") == 1


def test_points_of_replaced_attempts_go_and_the_curves_stay(address: str) -> None:
    with Lakehouse(address) as lake:
        filled(lake)
        before = lake.query("SELECT run_id, step, loss FROM curves ORDER BY ALL")
        removed = drop_old_attempts(lake)
        assert (removed.runs, removed.points) == (3, 300)
        assert lake.query("SELECT run_id, step, loss FROM curves ORDER BY ALL") == before
        assert count(lake, "attempts") == 6
        assert find_problems(lake).records() == []


def test_an_attempt_that_a_resumed_one_goes_on_from_is_kept(lakehouse: Lakehouse) -> None:
    run = RunRecord(family="mine")
    lakehouse.record_runs([run])
    for attempt, steps in ((1, range(0, 6)), (2, range(4, 8))):
        with Spool(lakehouse.spool_folder, run.run_id, attempt) as spool:
            spool.started(host="here", device="cpu", resumed_step=3 if attempt == 2 else None)
            for step in steps:
                spool.log(step, loss=float(step))
            spool.ended("finished")
    assert drop_old_attempts(lakehouse).points == 0
    assert lakehouse.query("SELECT step FROM curves ORDER BY step")["step"].to_pylist() == list(range(8))


def test_thinning_keeps_first_last_and_log_spaced_points(lakehouse: Lakehouse) -> None:
    filled(lakehouse, runs=1, steps=1000)
    removed = thin_curves(lakehouse, "true", 20)
    steps = lakehouse.query("SELECT step FROM curves ORDER BY step")["step"].to_pylist()
    assert steps[0] == 0 and steps[-1] == 999 and 10 <= len(steps) <= 21
    assert removed.points == 3000 - count(lakehouse, "metrics")
    assert lakehouse.query("SELECT loss FROM runs").to_pylist() == [{"loss": 1.0}]
    assert find_problems(lakehouse).records() == []
    with pytest.raises(UsageError):
        thin_curves(lakehouse, "true", 1)


@pytest.mark.slow
def test_a_snapshot_while_others_write_is_a_whole_lake_of_one_moment(address: str, tmp_path: Path) -> None:
    with Lakehouse(address) as lake:
        filled(lake)
        run = RunRecord(family="other")
        lake.record_runs([run])
        stop = threading.Event()

        def write() -> None:
            attempt = 0
            while not stop.is_set():
                attempt += 1
                with Spool(lake.spool_folder, run.run_id, attempt) as spool:
                    spool.log(1, loss=1.0)
                lake.drain()

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for number in range(3):
                lake.snapshot(tmp_path / f"copy{number}.duckdb")
        finally:
            stop.set()
            thread.join()
        with pytest.raises(StoreError, match="overwrites nothing"):
            lake.snapshot(tmp_path / "copy0.duckdb")
    for number in range(3):
        with Lakehouse(tmp_path / f"copy{number}.duckdb") as copy:
            assert find_problems(copy).records() == []
            assert copy.query("SELECT count(*) AS n FROM curves WHERE family = 'mine'").to_pylist() == [{"n": 300}]


@pytest.mark.slow
def test_a_compacted_file_is_clustered_smaller_and_the_same(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path, hold=True) as lake:
        records = [RunRecord(family="mine", config={"i": i}) for i in range(20)]
        lake.record_runs(records)
        for attempt in range(1, 5):
            for record in records:
                with Spool(lake.spool_folder, record.run_id, attempt) as spool:
                    for step in range(2500):
                        spool.log(step, loss=random.random(), norm=1.0)
                    spool.ended("finished")
            lake.drain()
        lake.query("CHECKPOINT")
        delete_runs(lake, "i >= 10")
        everything = [
            lake.query(f"SELECT * FROM store.{table} ORDER BY ALL") for table in ("metrics", "finals", "runs")
        ]
        lake.write([("CREATE MACRO main.f(a, b := 2) AS a * b", None), ("CREATE VIEW main.mine AS FROM runs", None)])
        lake.query("CHECKPOINT")
        before = path.stat().st_size
        other = threading.Thread(target=lambda: [lake.query("SELECT count(*) FROM curves") for _ in range(20)])
        other.start()
        lake.compact()
        other.join()
        assert path.stat().st_size < before
        assert everything == [
            lake.query(f"SELECT * FROM store.{table} ORDER BY ALL") for table in ("metrics", "finals", "runs")
        ]
        assert lake.query("SELECT f(4) AS x, (SELECT count(*) FROM mine) AS n").to_pylist() == [{"x": 8, "n": 10}]
        order = "SELECT metric, run_id, attempt, step FROM store.metrics"
        assert lake.query(order) == lake.query(f"{order} ORDER BY ALL")
        assert lake.query("SELECT block_size FROM pragma_database_size()").to_pylist() == [{"block_size": 65536}]
        with pytest.raises(duckdb.ConstraintException):
            lake.write([("INSERT INTO store.batches SELECT * FROM store.batches LIMIT 1", None)])
        assert find_problems(lake).records() == []


@pytest.mark.slow
def test_a_lake_copied_there_and_back_is_the_same(tmp_path: Path, shared_address: str) -> None:
    first, back = tmp_path / "first.duckdb", tmp_path / "back.duckdb"
    with Lakehouse(first) as lake:
        filled(lake)
        lake.record_runs([RunRecord(family="f", config={"i": "text now", "own key": True})])
        lake.write(
            [
                ("CREATE MACRO main.f(a, b := 2) AS a * b", None),
                ("CREATE TABLE main.own AS SELECT 'nan'::DOUBLE AS x, [1, 2] AS y, now()::TIMESTAMP AS t", None),
                ("CREATE VIEW main.one AS SELECT x FROM main.own", None),
                ("CREATE VIEW main.another AS SELECT * FROM main.one", None),
            ]
        )
    there = copy_lake(str(first), shared_address)
    assert there.rows > 900
    with pytest.raises(StoreError, match="holds runs or laws already"):
        copy_lake(str(first), shared_address)
    with pytest.raises(StoreError, match="exists"):
        copy_lake(shared_address, str(first))
    assert copy_lake(shared_address, str(back)) == there
    with Lakehouse(first) as lake, Lakehouse(back) as copy, Lakehouse(shared_address) as shared:
        for table in (
            "runs",
            "attempts",
            "metrics",
            "finals",
            "batches",
            "logs",
            "sweeps",
            "sweep_runs",
            "schema_migrations",
        ):
            rows = lake.query(f"SELECT * FROM store.{table} ORDER BY ALL")
            assert copy.query(f"SELECT * FROM store.{table} ORDER BY ALL") == rows, table
            assert shared.query(f"SELECT * FROM store.{table} ORDER BY ALL") == rows, table
        for other in (copy, shared):
            assert other.query(
                "SELECT f(3) AS x, f(3, b := 3) AS y, (SELECT count(*) FROM another) AS n"
            ).to_pylist() == [{"x": 6, "y": 9, "n": 1}]
            assert find_problems(other).records() == []


def test_tags_and_notes_are_said_of_runs_afterwards(address: str) -> None:
    with Lakehouse(address) as lake:
        filled(lake)
        assert tag_runs(lake, "i < 2", add=["baseline", "best"]) == 2
        assert tag_runs(lake, "i = 0", add=["best"], remove=["baseline"]) == 1
        tags = lake.query("SELECT i, tags FROM runs ORDER BY i").to_pylist()
        assert [row["tags"] for row in tags] == [["best"], ["baseline", "best"], []]
        assert note_runs(lake, "i = 0", "the one to beat") == 1
        assert lake.query("SELECT message FROM logs WHERE level = 'note'").to_pylist() == [
            {"message": "the one to beat"}
        ]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_store_of_an_older_schema_is_brought_up_to_date_and_a_copy_kept(tmp_path: Path, version: int) -> None:
    path = tmp_path / "old.duckdb"
    path.write_bytes(gzip.decompress((STORES / f"schema-{version}.store.gz").read_bytes()))
    with Lakehouse(path) as lake:
        assert lake.query("SELECT max(version) AS v FROM store.schema_migrations").to_pylist() == [
            {"v": SCHEMA_VERSION}
        ]
        assert lake.query("SELECT count(*) AS n, count(loss) AS m FROM runs").to_pylist() == [{"n": 3, "m": 3}]
        assert lake.query("SELECT count(*) AS n FROM curves").to_pylist() == [{"n": 60}]
        assert find_problems(lake).records() == []
        with lake.run("mine", {"new": True}) as run:
            run.log(step=1, loss=1.0)
        assert count(lake, "runs") == 4
    backup = tmp_path / f"old.duckdb.schema-{version}.backup"
    con = duckdb.connect(str(backup), read_only=True)
    assert con.execute(
        "SELECT max(version), (SELECT count(*) FROM store.runs) FROM store.schema_migrations"
    ).fetchone() == (version, 3)
    con.close()
    backup.unlink()
    with Lakehouse(path):
        assert not backup.exists()


EXTREMES = [1e300, 5e-324, 1e-40, 2.0**-149, 2.0**24 + 1, 3.4028235e38, 3.5e38]
ODD = [0.1, 0.5, math.nan, math.inf, -math.inf, -0.0, *EXTREMES]


def bits(values: list[float]) -> list[bytes]:
    return [struct.pack("<d", value) for value in values]


def odd_values(lake: Lakehouse) -> list[list[bytes]]:
    table = lake.query("SELECT run_id, value FROM metrics WHERE metric = 'odd' ORDER BY run_id, step")
    curves: dict[str, list[float]] = {}
    for row in table.to_pylist():
        curves.setdefault(row["run_id"], []).append(row["value"])
    return [bits(values) for values in curves.values()]


def test_every_bit_of_a_value_is_kept_in_whichever_column_it_lies(address: str, tmp_path: Path) -> None:
    with Lakehouse(address) as lake:
        run = RunRecord(family="mine")
        lake.record_runs([run])
        with Spool(lake.spool_folder, run.run_id, 1) as spool:
            for step, value in enumerate(ODD):
                spool.log(step, odd=value)
        lake.drain()
        assert odd_values(lake) == [bits(ODD)]
        (row,) = lake.query("SELECT count(value) AS wide, count(single) AS narrow FROM store.metrics").to_pylist()
        assert row == {"wide": 7, "narrow": 6}
        if not lake.is_shared:
            lake.compact()
            assert odd_values(lake) == [bits(ODD)]
        lake.snapshot(tmp_path / "copy.duckdb")
    with Lakehouse(tmp_path / "copy.duckdb") as copy:
        assert odd_values(copy) == [bits(ODD)]


def test_compacting_narrows_the_values_of_an_older_store_and_changes_none(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    path.write_bytes(gzip.decompress((STORES / "schema-2.store.gz").read_bytes()))
    with Lakehouse(path) as lake:
        before = odd_values(lake)
        assert before == [bits([ODD[step % len(ODD)] for step in range(20)])] * 3
        points = lake.query("SELECT * FROM metrics WHERE NOT isnan(value) ORDER BY ALL")
        narrow = "SELECT count(single) AS n FROM store.metrics"
        assert lake.query(narrow).to_pylist() == [{"n": 0}]
        assert copy_lake(str(path), str(tmp_path / "copy.duckdb")).rows > 120
        lake.compact()
        assert lake.query(narrow).to_pylist()[0]["n"] > 30
        assert lake.query("SELECT * FROM metrics WHERE NOT isnan(value) ORDER BY ALL") == points
        assert odd_values(lake) == before
    with Lakehouse(tmp_path / "copy.duckdb") as copy:
        assert odd_values(copy) == before


def test_check_names_each_kind_of_damage(lakehouse: Lakehouse) -> None:
    first, second, third = filled(lakehouse)
    assert find_problems(lakehouse).records() == []

    def kinds() -> set[str]:
        return {row["kind"] for row in find_problems(lakehouse).records()}

    def damage(statement: str, kind: str) -> None:
        known = kinds()
        lakehouse.write([(statement, None)])
        assert kinds() - known == {kind}

    spool = lakehouse.spool_folder
    with Spool(spool, third.run_id, 3) as late:
        late.started(host="here", device="cpu")
        late.flush()
        late.log(1, loss=1.0)
    kept, lost = sorted(spool.glob("*.parquet"))
    whole = lost.read_bytes()
    kept.unlink()
    assert kinds() == {"gap in sequence"}
    (spool / lost.name.replace("00000001", "00000002")).write_bytes(whole[: len(whole) // 2])
    assert kinds() == {"gap in sequence", "file is not a batch"}
    with Spool(spool, "nobody", 1) as stray:
        stray.log(1, loss=1.0)
    assert kinds() == {"gap in sequence", "file is not a batch", "attempt without run", "points without run"}
    damage(f"UPDATE store.finals SET best = 50 WHERE run_id = '{first.run_id}'", "finals disagree")
    lakehouse.write([("UPDATE store.finals SET best = NULL, last = 7", None)])
    assert "finals disagree" in kinds()
    damage(f"INSERT INTO store.runs BY NAME FROM store.runs WHERE run_id = '{first.run_id}'", "run twice")
    damage(f"DELETE FROM store.metrics WHERE run_id = '{second.run_id}' AND step = 3", "points differ from ledger")
    damage(f"INSERT INTO store.attempts BY NAME FROM store.attempts WHERE run_id = '{second.run_id}'", "attempt twice")


def test_info_describes_either_kind(address: str) -> None:
    with Lakehouse(address) as lake:
        filled(lake, runs=1)
        (row,) = describe(lake).records()
        assert (row["address"], row["runs"], row["points"], row["batches"]) == (lake.address, 1, 300, 2)


@pytest.mark.slow
def test_an_attempt_that_never_spoke_takes_nothing_over(address: str) -> None:
    run = RunRecord(family="mine")
    with Lakehouse(address) as lake:
        lake.record_runs([run])

        def attempt(steps: range, resumed_step: int | None) -> None:
            (number,) = lake.begin_attempts([run.run_id], "elsewhere:1:1").values()
            if steps:
                with Spool(lake.spool_folder, run.run_id, number) as spool:
                    spool.started(host="elsewhere", device="cpu", resumed_step=resumed_step)
                    for step in steps:
                        spool.log(step, loss=float(number))
                lake.drain()
            lake.end_attempt(run.run_id, number, "lost", "driver_died", None)

        def curve() -> list[int]:
            return list(lake.query("SELECT step FROM curves ORDER BY step")["step"].to_pylist())

        attempt(range(10), None)
        attempt(range(0), None)  # its worker died before it said anything
        assert curve() == list(range(10))
        assert drop_old_attempts(lake).points == 0
        attempt(range(6, 20), 5)
        assert curve() == list(range(20))
        assert drop_old_attempts(lake).points == 0
        attempt(range(3), None)  # begins anew and takes everything over
        assert curve() == list(range(3))
        assert drop_old_attempts(lake).points == 24
        assert find_problems(lake).records() == []
