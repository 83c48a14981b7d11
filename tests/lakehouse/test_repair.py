"""Damaged files, logs that were cut short, copies that were put back: what is said, and what is saved."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import Result
from typer.testing import CliRunner

from isoflop.cli.lake import lake_app
from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.backends.catalog import LakeDamaged
from isoflop.lakehouse.backends.commits import read_mark
from isoflop.lakehouse.backends.store import Store
from isoflop.lakehouse.errors import StoreError, UsageError
from isoflop.lakehouse.maintenance import copy_lake, find_problems
from isoflop.lakehouse.schema import SCHEMA_VERSION
from isoflop.lakehouse.schema.migrations import scripts, version_by_shape

PATIENCE = 240  # seconds a program of a test may take on a busy machine
BLOCK = 65536  # bytes of a block of a lake's file

# Records two runs and ends without closing, so that the second is in the log only; a third waits in the spool.
ABRUPT = """
import os, sys
from isoflop.lakehouse import Lakehouse, RunRecord, Spool
lake = Lakehouse(sys.argv[1])
def recorded(k):
    run = RunRecord(family="m", config={"k": k})
    lake.record_runs([run])
    with Spool(lake.spool_folder, run.run_id, 1) as spool:
        spool.log(1, loss=float(k))
        spool.ended("finished")
recorded(1); lake.drain(); lake.query("CHECKPOINT")
recorded(2); lake.drain()
recorded(3)
os._exit(0)
"""


@pytest.fixture
def abrupt(tmp_path: Path) -> Path:
    """A lake whose process ended without closing it: one run in the file, one in the log, a batch in the spool."""
    path = tmp_path / "runs.duckdb"
    subprocess.run([sys.executable, "-c", ABRUPT, str(path)], check=True, timeout=PATIENCE)
    assert log_of(path).stat().st_size > 0
    return path


def log_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def flip_last_entry(path: Path) -> None:
    """Change one byte of the log where DuckDB sees it."""
    whole = bytearray(log_of(path).read_bytes())
    whole[-4] ^= 0xFF
    log_of(path).write_bytes(whole)
    with pytest.raises(duckdb.IOException, match="replaying WAL"):
        duckdb.connect(str(path))


def typed(*words: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(lake_app, [str(word) for word in words], input=answer)


def losses(path: Path) -> list[Any]:
    with Lakehouse(path) as lake:
        rows = find_problems(lake).records()
        return [row["k"] for row in lake.query("SELECT k FROM runs ORDER BY k").to_pylist()] + [
            (row["kind"], row["subject"]) for row in rows
        ]


def test_a_lake_with_a_damaged_log_says_what_to_do_and_a_repair_opens_it(abrupt: Path) -> None:
    flip_last_entry(abrupt)
    with pytest.raises(LakeDamaged) as caught:
        Lakehouse(abrupt)
    assert caught.value.exit_code == 3 and f"isoflop lake repair --lake {abrupt}" in str(caught.value)
    damaged = log_of(abrupt).read_bytes()
    refused = typed("repair", "--lake", abrupt, answer="n\n")
    assert refused.exit_code == 1 and "nothing was changed" in refused.stderr
    assert log_of(abrupt).read_bytes() == damaged
    assert isinstance(typed("repair", "--lake", abrupt).exception, UsageError)  # nobody answers
    done = typed("repair", "--lake", abrupt, "--yes", "--json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    assert (row["found"], row["runs_known"], row["log_bytes"]) == ("log damaged", 1, len(damaged))
    assert row["waiting_batches"] == 1 and row["commits_lost"] > 0
    assert "1 batches wait in the spool" in done.stderr and "is lost to the lake" in done.stderr
    moved = Path(row["moved_log"])
    assert moved.read_bytes() == damaged and moved.name.startswith("runs.duckdb.wal.damaged-")
    with Lakehouse(abrupt) as lake:
        assert lake.query("SELECT k FROM runs").to_pylist() == [{"k": 1}]
        assert lake.query("SELECT count(*) AS n FROM store.batches WHERE run_id IS NOT NULL").to_pylist() == [{"n": 2}]
    assert typed("repair", "--lake", abrupt, "--json").exit_code == 0


def test_a_whole_lake_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path) as lake:
        lake.record_runs([RunRecord(family="m")])
    before = path.read_bytes()
    done = typed("repair", "--lake", path, "--json")
    assert done.exit_code == 0 and "nothing to repair" in done.stderr
    assert json.loads(done.stdout)[0]["found"] == "whole"
    assert path.read_bytes() == before and sorted(tmp_path.iterdir()) == [path]


def test_what_cannot_be_repaired_is_said(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    missing = typed("repair", "--lake", path).exception
    assert isinstance(missing, StoreError) and "there is no lake at" in str(missing)
    path.touch()
    empty = typed("repair", "--lake", path).exception
    assert isinstance(empty, StoreError) and "0 bytes" in str(empty)
    path.unlink()
    program = f"import sys, duckdb\ncon = duckdb.connect({str(path)!r})\nprint('held', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        held = typed("repair", "--lake", path, "--yes").exception
        holder.communicate("", timeout=PATIENCE)
    assert isinstance(held, StoreError) and f"held by process {holder.pid}" in str(held)
    shared = typed("repair", "--lake", "postgresql:///runs?data=/x").exception
    assert isinstance(shared, UsageError)


def test_a_log_that_was_cut_short_is_noticed_until_somebody_takes_note(
    abrupt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log_of(abrupt).write_bytes(log_of(abrupt).read_bytes()[:64])
    found = losses(abrupt)
    assert found[0] == 1 and 2 not in found
    assert [kind for kind, _ in found[1:] if kind == "commits lost"] == ["commits lost"]
    assert "lost: it had" in capsys.readouterr().err
    with Lakehouse(abrupt) as lake:
        for number in range(10):  # more commits than were lost
            lake.record_runs([RunRecord(family="later", config={"k": 100 + number})])
    assert "commits lost" in [kind for kind, _ in (row for row in losses(abrupt) if isinstance(row, tuple))]
    said = typed("repair", "--lake", abrupt, "--yes")
    assert said.exit_code == 0 and "noted" in said.stderr
    assert "commits lost" not in [row[0] for row in losses(abrupt) if isinstance(row, tuple)]
    assert "nothing to repair" in typed("repair", "--lake", abrupt).stderr


def test_a_log_that_held_the_whole_lake_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    program = ABRUPT.replace('lake.query("CHECKPOINT")', "None")
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=PATIENCE)
    log_of(path).unlink()
    with Lakehouse(path) as lake:
        assert lake.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 0}]
        assert "commits lost" in [row["kind"] for row in find_problems(lake).records()]


def test_an_older_copy_in_the_lakes_place_is_told_of_and_a_new_lake_is_not(tmp_path: Path) -> None:
    path, copy = tmp_path / "runs.duckdb", tmp_path / "copy.duckdb"

    def run(k: int) -> None:
        with Lakehouse(path) as lake:
            record = RunRecord(family="m", config={"k": k})
            lake.record_runs([record])
            with Spool(lake.spool_folder, record.run_id, 1) as spool:
                spool.log(1, loss=1.0)

    run(1)
    copy_lake(str(path), str(copy))
    run(2)
    os.replace(copy, path)
    done = typed("check", "--lake", path, "--format", "csv")
    assert done.exit_code == 1 and "commits lost" in done.stdout and "older copy" in done.stdout
    path.unlink()
    run(3)
    assert losses(path) == [3]


def test_the_count_of_commits_follows_the_lake(tmp_path: Path) -> None:
    spool = tmp_path / "runs.duckdb.spool"
    store = Store(tmp_path / "runs.duckdb", spool)
    store.write([("CREATE TABLE main.t (x INT)", None)])
    assert read_mark(spool) is None  # nobody made the folder
    spool.mkdir()
    for number in range(3):
        store.write([("INSERT INTO main.t VALUES (?)", [number])])
    mark = read_mark(spool)
    assert mark is not None and mark.number == 4
    assert store.query("SELECT number FROM store.commits").to_pylist() == [{"number": 4}]
    with pytest.raises(duckdb.Error):
        store.write([("INSERT INTO main.t VALUES ('no number')", None)])
    assert store.query("SELECT number FROM store.commits").to_pylist() == [{"number": 4}]
    shutil.rmtree(spool)
    store.write([("INSERT INTO main.t VALUES (9)", None)])  # a mark that cannot be written harms nothing
    store.close()
    (tmp_path / "runs.duckdb.spool").mkdir()
    (spool / "commits.json").write_text("{no json")
    Store(tmp_path / "runs.duckdb", spool).close()


def with_many_points(path: Path) -> int:
    """A lake with a million points in its file, and how many there are."""
    with Lakehouse(path) as lake:
        lake.record_runs([RunRecord(family="m", config={"k": k}) for k in range(3)])
        lake.write(
            [
                (
                    "INSERT INTO store.metrics BY NAME SELECT 'r' || i % 3 AS run_id, 1 AS attempt, 'loss' AS metric, "
                    "i AS step, random() AS value FROM range(1000000) s(i)",
                    None,
                )
            ]
        )
    return 1_000_000


def block_of(path: Path, table: str, column: str) -> int:
    """The place in the file of a block that holds values of a column."""
    with duckdb.connect(str(path), read_only=True) as con:
        rows = con.execute(
            f"SELECT block_id FROM pragma_storage_info('{table}') "
            "WHERE column_name = ? AND persistent AND block_id >= 0 AND segment_type = 'DOUBLE' "
            "ORDER BY row_group_id DESC LIMIT 1",
            [column],
        ).fetchall()
    return 3 * 4096 + BLOCK * int(rows[0][0])


def zero_block(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes(BLOCK))


def test_damage_met_after_opening_is_a_store_error_in_every_path_and_its_rows_are_salvaged(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    total = with_many_points(path)
    zero_block(path, block_of(path, "store.metrics", "value"))
    before = path.read_bytes()
    reading = "SELECT sum(value) FROM store.metrics"
    with Lakehouse(path) as lake:
        with pytest.raises(LakeDamaged, match="checksum"):
            lake.query(reading)
        with lake.session() as session, pytest.raises(LakeDamaged, match="checksum"):
            session.query(reading)
        assert lake.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 3}]  # the rest still answers
    with Lakehouse(path, read_only=True) as lake, pytest.raises(LakeDamaged, match="checksum"):
        lake.query(reading)
    for words in (["sql", reading], ["lake", "check"]):
        done = subprocess.run(
            [sys.executable, "-m", "isoflop", *words, "--lake", str(path)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 3 and "isoflop lake repair" in done.stderr and "Traceback" not in done.stderr
    before = path.read_bytes()
    done = typed("repair", "--lake", path, "--yes", "--json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    assert row["found"] == "file damaged" and "store.metrics" in row["reason"]
    assert 0 < row["rows_lost"] < total / 4 and "store.metrics: " in done.stderr
    assert path.read_bytes() == before
    with Lakehouse(row["salvaged"]) as saved:
        assert saved.query("SELECT count(*) AS n FROM store.metrics").to_pylist() == [{"n": total - row["rows_lost"]}]
        assert saved.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 3}]
        assert saved.query("SELECT max(version) AS v FROM store.schema_migrations").to_pylist() == [
            {"v": SCHEMA_VERSION}
        ]
    again = json.loads(typed("repair", "--lake", path, "--yes", "--json").stdout)
    assert again[0]["salvaged"] == row["salvaged"] + "-2"


@pytest.mark.slow
def test_a_drain_into_a_damaged_lake_keeps_its_batches_and_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    run = RunRecord(family="m")
    with Lakehouse(path) as lake:
        lake.record_runs([run])
        lake.write(
            [("INSERT INTO store.batches (batch_id, points) SELECT 'b' || hash(i), i FROM range(500000) s(i)", None)]
        )
        folder = lake.spool_folder
    with duckdb.connect(str(path), read_only=True) as con:
        rows = con.execute(
            "SELECT DISTINCT block_id FROM pragma_storage_info('store.batches') "
            "WHERE column_name = 'batch_id' AND persistent AND block_id >= 0"
        ).fetchall()
    for (block,) in rows:
        zero_block(path, 3 * 4096 + BLOCK * int(block))
    with Spool(folder, run.run_id, 1) as spool:
        spool.log(1, loss=1.0)
    with Lakehouse(path, drains=False) as lake:
        with pytest.raises(LakeDamaged, match="is damaged"):
            lake.drain()
        assert len(list(folder.glob("*.parquet"))) == 1


def test_a_file_cut_in_half_is_told_from_one_that_somebody_else_wrote(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with_many_points(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(LakeDamaged):
        Lakehouse(path)
    done = typed("repair", "--lake", path, "--yes").exception
    assert isinstance(done, StoreError) and "nothing of" in str(done) and "restore a copy" in str(done)
    assert not list(tmp_path.glob("*.salvaged*"))


def test_a_file_that_lost_its_end_is_saved_as_a_lake_that_opens(tmp_path: Path) -> None:
    path = tmp_path / "copy.duckdb"
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        for width in range(20):
            with lake.run("mine", {"width": width}) as run:
                for step in range(1000):
                    run.log(step=step, loss=1 / (step + 1))
        lake.snapshot(path)
    os.truncate(path, path.stat().st_size - 3 * BLOCK // 4)
    done = typed("repair", "--lake", path, "--yes")
    assert done.exit_code == 0 and f"store.schema_migrations: {SCHEMA_VERSION} rows lost" in done.output
    with Lakehouse(f"{path}.salvaged") as saved:
        counted = "SELECT count(DISTINCT run_id) AS runs, count(*) AS points FROM curves"
        assert saved.query(counted).to_pylist() == [{"runs": 20, "points": 20_000}]
        version = "SELECT max(version) AS v FROM store.schema_migrations"
        assert saved.query(version).to_pylist() == [{"v": SCHEMA_VERSION}]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_the_version_of_a_lake_is_seen_by_its_tables(version: int, tmp_path: Path) -> None:
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA store")
        for number, script in scripts().items():
            if number <= version:
                con.execute(script.read_text())
        con.execute("ALTER TABLE store.runs ADD COLUMN a_setting BIGINT")
        assert version_by_shape(con) == version
