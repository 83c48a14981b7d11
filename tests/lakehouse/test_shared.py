"""The shared catalog: the same lake in PostgreSQL and Parquet, with readers anywhere and one committer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.maintenance import find_problems
from isoflop.lakehouse.schema import migrations
from isoflop.lakehouse.shared import SharedStore
from isoflop.lakehouse.shared.lease import Fenced
from isoflop.lakehouse.shared.outage import CatalogAway
from tests.keepers import kill_keeper
from tests.postgres import Postgres


def shared_store(lake: Lakehouse) -> SharedStore:
    store = lake._reach()
    assert isinstance(store, SharedStore)
    return store


def spooled(lake: Lakehouse, run: RunRecord, steps: range, attempt: int = 1) -> None:
    with Spool(lake.spool_folder, run.run_id, attempt, flush_seconds=60) as spool:
        for step in steps:
            spool.log(step, loss=1.0 / (step + 1))


@pytest.mark.slow
def test_both_catalogs_answer_alike(address: str) -> None:
    with Lakehouse(address, hold=True) as lake:
        assert lake.is_new
        with lake.run("mine", {"width": 8, "k": 1}, params=10.0, tokens=100.0, steps=3, tags=["a", "b"]) as run:
            for step in range(3):
                run.log(step=step, loss=3.0 - step)
            run.note("hello")
        lake.record_runs([RunRecord(family="mine", config={"k": 1.5}), RunRecord(family="mine", config={"flag": True})])
        lake.record_runs([RunRecord(family="mine", config={"k": "many", "flag": 2})])
        assert lake.query("SELECT status, loss, tags, k FROM runs WHERE width = 8").to_pylist() == [
            {"status": "finished", "loss": 1.0, "tags": ["a", "b"], "k": "1.0"}
        ]
        assert lake.query("SELECT step, loss FROM curves ORDER BY step").to_pylist() == [
            {"step": step, "loss": 3.0 - step} for step in range(3)
        ]
        assert lake.query("SELECT message FROM logs").to_pylist() == [{"message": "hello"}]
        lake.write([("CREATE OR REPLACE MACRO main.twice(x) AS 2 * x", None)])
        assert lake.query("SELECT twice(21) AS x").to_pylist() == [{"x": 42}]
        with pytest.raises(duckdb.BinderException, match="LINE 1"):
            lake.query("SELECT nope FROM runs")
        with pytest.raises(duckdb.Error):
            lake.write([("INSERT INTO store.sweeps (name) VALUES ('x')", None), ("SELECT nope", None)])
        assert lake.query("SELECT count(*) AS n FROM sweeps").to_pylist() == [{"n": 0}]
        assert find_problems(lake).records() == []
    with Lakehouse(address) as lake:
        assert not lake.is_new
        assert lake.query("SELECT count(*) AS n, twice(1) AS x FROM runs").to_pylist() == [{"n": 4, "x": 2}]


def test_another_process_reads_while_one_commits(shared_address: str) -> None:
    with Lakehouse(shared_address, hold=True) as lake, lake.run("mine", {"width": 8}) as run:
        run.log(step=1, loss=2.5)
        until = time.monotonic() + 300
        while lake.query("SELECT status FROM runs").to_pylist() != [{"status": "running"}]:
            assert time.monotonic() < until
            lake.drain()
        program = (
            f"from isoflop.lakehouse import Lakehouse\nlake = Lakehouse({shared_address!r})\n"
            "print(lake.query('SELECT width, status FROM runs').to_pylist())\n"
            "with lake.run('theirs', {'width': 9}) as run: run.log(step=3, loss=1.5)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
        assert (done.stdout, done.stderr) == ("[{'width': 8, 'status': 'running'}]\n", "")
        lake.drain()
        assert lake.query("SELECT loss FROM runs WHERE family = 'theirs'").to_pylist() == [{"loss": 1.5}]
        assert find_problems(lake).records() == []


@pytest.mark.slow
def test_of_two_committers_the_older_is_fenced_out_within_one_commit(shared_address: str) -> None:
    run = RunRecord(family="mine")
    with Lakehouse(shared_address) as older, Lakehouse(shared_address) as newer:
        older.record_runs([run])
        spooled(older, run, range(10))
        assert older.drain().points == 10
        spooled(older, run, range(10, 20), attempt=2)
        assert newer.drain().files == 0  # a live committer is left in peace
        assert shared_store(newer).take_lease(by_force=True)
        with pytest.raises(Fenced, match=rf"process {os.getpid()} on .* has taken over"):
            older.drain()
        assert older.drain().files == 0
        assert newer.drain().points == 10
        older.write([("INSERT INTO store.sweeps (name) VALUES ('people still write')", None)])
        assert find_problems(older).records() == []
        assert older.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 20}]


@pytest.mark.slow
def test_a_killed_committer_is_replaced_at_once_and_a_closed_one_lets_go(shared_address: str) -> None:
    program = (
        f"import time\nfrom isoflop.lakehouse import Lakehouse\nlake = Lakehouse({shared_address!r}, hold=True)\n"
        "run = lake.run('mine', {'a': 1}).__enter__()\n"
        "for step in range(100): run.log(step=step, loss=1.0)\n"
        "run._spool.flush(); lake.drain()\nprint('committed', flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline()
    with Lakehouse(shared_address) as lake:
        run = RunRecord(family="other")
        lake.record_runs([run])
        spooled(lake, run, range(5))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        kill_keeper(lake.path)
        lake.drain()
        assert lake.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 105}]
        lake._mark_lost()
        assert lake.query("SELECT status FROM runs WHERE family = 'mine'").to_pylist() == [{"status": "lost"}]
    with Lakehouse(shared_address) as lake:
        spooled(lake, run, range(5, 9), attempt=2)
        assert lake.drain().points == 4


@pytest.mark.slow
def test_many_writers_at_once_lose_and_double_nothing(shared_address: str) -> None:
    run = RunRecord(family="mine")
    with Lakehouse(shared_address) as lake:
        lake.record_runs([run])
    numbers: list[int] = []

    def work() -> None:
        with Lakehouse(shared_address, drains=False) as lake:
            for i in range(3):
                lake.record_runs([RunRecord(family="same", config={"i": i})])
                numbers.append(lake.begin_attempts([run.run_id], "driver")[run.run_id])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 10))
    with Lakehouse(shared_address) as lake:
        assert lake.query("SELECT count(*) AS n FROM runs WHERE family = 'same'").to_pylist() == [{"n": 3}]
        assert find_problems(lake).records() == []


@pytest.mark.slow
def test_the_spool_waits_while_the_catalog_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Postgres
) -> None:
    monkeypatch.setattr("isoflop.lakehouse.shared.store.PATIENCE", 1.0)
    own = Postgres()
    try:
        with Lakehouse(own.address(tmp_path / "data")) as lake:
            run = RunRecord(family="mine")
            lake.record_runs([run])
            spooled(lake, run, range(10))
            lake.drain()
            own.stop(hard=True)
            spooled(lake, run, range(10, 30), attempt=2)
            for ask in (
                lake.drain,
                lambda: lake.query("SELECT 1 FROM runs"),
                lambda: lake.record_runs([RunRecord(family="x")]),
            ):
                with pytest.raises(CatalogAway, match="does not answer"):
                    ask()
            threading.Timer(0.5, own.start).start()
            monkeypatch.setattr("isoflop.lakehouse.shared.store.PATIENCE", 20.0)
            lake.drain()
            assert lake.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 30}]
            assert find_problems(lake).records() == []
    finally:
        own.close()


def test_a_catalog_that_refuses_us_says_where_the_password_goes(
    shared_address: str, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match=r"does not exist[\s\S]*createdb nowhere"):
        Lakehouse(server.address(Path("/tmp/nowhere"), "nowhere"))
    monkeypatch.setenv("PGPASSWORD", "guess")
    with pytest.raises(StoreError, match=r"password authentication failed[\s\S]*PGPASSWORD") as caught:
        Lakehouse(shared_address)
    assert "guess" not in str(caught.value)


@pytest.mark.slow
def test_upkeep_merges_files_in_order_and_changes_no_answer(shared_address: str) -> None:
    runs = [RunRecord(family="mine", config={"i": i}) for i in range(3)]
    with Lakehouse(shared_address) as lake:
        lake.record_runs(runs)
        for attempt in (1, 2, 3):
            for run in runs:
                spooled(lake, run, range(50), attempt=attempt)
            lake.drain()
        everything = "SELECT * FROM store.{} ORDER BY ALL"
        tables = ("metrics", "finals", "attempts", "batches", "runs")
        before = [lake.query(everything.format(table)) for table in tables]
        files = "SELECT file_count AS n FROM ducklake_table_info('lake') WHERE table_name = 'metrics'"
        assert lake.query(files).to_pylist() == [{"n": 3}]
        lake.compact()
        assert lake.query(files).to_pylist() == [{"n": 1}]
        assert [lake.query(everything.format(table)) for table in tables] == before
        stored = lake.query("SELECT run_id, attempt, step FROM store.metrics").to_pylist()
        assert stored == sorted(stored, key=lambda row: (row["run_id"], row["attempt"], row["step"]))
        assert find_problems(lake).records() == []


@pytest.mark.long
def test_the_committer_merges_small_files_now_and_then_by_itself(
    shared_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isoflop.lakehouse.shared.store.UPKEEP_EVERY", 3)
    run = RunRecord(family="mine")
    files = "SELECT file_count AS n FROM ducklake_table_info('lake') WHERE table_name = 'metrics'"
    with Lakehouse(shared_address) as lake:
        lake.record_runs([run])
        found = []
        for attempt in (1, 2, 3):
            spooled(lake, run, range(50), attempt=attempt)
            lake.drain()
            found += lake.query(files)["n"].to_pylist()
        assert found == [1, 2, 1]
        assert find_problems(lake).records() == []


def test_a_frozen_catalog_only_takes_longer(tmp_path: Path, server: Postgres) -> None:
    own = Postgres()
    try:
        with Lakehouse(own.address(tmp_path / "data"), hold=True) as lake, lake.run("mine", {"a": 1}) as run:
            run.log(step=1, loss=1.0)
            own.freeze()
            for step in range(2, 200):
                before = time.perf_counter()
                run.log(step=step, loss=1.0)
                assert time.perf_counter() - before < 0.5
            threading.Timer(1.0, own.thaw).start()
        with Lakehouse(lake.address) as lake:
            assert lake.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 199}]
    finally:
        own.close()


def test_a_committer_that_was_paused_finds_itself_replaced_and_commits_nothing(shared_address: str) -> None:
    program = (
        "import sys\nfrom isoflop.lakehouse import Lakehouse, RunRecord, Spool\n"
        "from isoflop.lakehouse.errors import StoreError\n"
        "lake = Lakehouse(sys.argv[1])\nrun = RunRecord(family='mine')\nlake.record_runs([run])\n"
        "def log(start, stop, attempt):\n"
        "    with Spool(lake.spool_folder, run.run_id, attempt) as spool:\n"
        "        for step in range(start, stop): spool.log(step, loss=1.0)\n"
        "log(0, 10, 1)\nprint(lake.drain().points, flush=True)\n"
        "for line in sys.stdin:\n"
        "    try:\n        print(lake.drain().files, flush=True)\n"
        "    except StoreError as error:\n        print(type(error).__name__, error.message, flush=True)\n"
    )
    older = subprocess.Popen(
        [sys.executable, "-c", program, shared_address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert older.stdout is not None and older.stdin is not None

    def answer() -> str:
        assert older.stdin is not None and older.stdout is not None
        older.stdin.write("drain\n")
        older.stdin.flush()
        return older.stdout.readline().strip()

    try:
        assert older.stdout.readline() == "10\n"
        os.kill(older.pid, signal.SIGSTOP)
        with Lakehouse(shared_address) as newer:
            run = RunRecord(family="mine")
            spooled(newer, run, range(10, 20), attempt=2)
            assert newer.drain().files == 0  # the older one lives, for all anybody can see
            # As if half a minute had passed in which the older one did not commit.
            newer.write([("UPDATE store.lease SET renewed_at = renewed_at - INTERVAL 1 MINUTE", None)])
            store = shared_store(newer)
            store._lease.holder = "elsewhere:1:1:0000"  # of another machine, which cannot see processes here
            assert store.take_lease(by_force=True)
            spooled(newer, run, range(20, 30), attempt=3)
            os.kill(older.pid, signal.SIGCONT)
            said = answer()
            assert said.startswith("Fenced process 1 on elsewhere has taken over committing the spool"), said
            assert newer.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 10}]
            assert newer.drain().points == 20
            assert answer() == "0"
            assert find_problems(newer).records() == []
            assert newer.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 30}]
    finally:
        os.kill(older.pid, signal.SIGCONT)
        older.kill()
        older.communicate()


@pytest.mark.slow
def test_a_silent_committer_of_another_machine_is_replaced_without_force(shared_address: str) -> None:
    run = RunRecord(family="mine")
    with Lakehouse(shared_address) as older, Lakehouse(shared_address) as newer:
        shared_store(older)._lease.holder = "elsewhere:1:1:0000"
        older.record_runs([run])
        spooled(older, run, range(10))
        assert older.drain().points == 10
        spooled(older, run, range(10, 20), attempt=2)
        assert newer.drain().files == 0
        newer.write([("UPDATE store.lease SET renewed_at = renewed_at - INTERVAL 1 MINUTE", None)])
        assert newer.drain().points == 10
        spooled(older, run, range(20, 30), attempt=3)
        with pytest.raises(Fenced, match=rf"process {os.getpid()} on "):
            older.drain()
        assert newer.drain().points == 10
        assert find_problems(newer).records() == []


@pytest.mark.slow
def test_a_migration_is_one_transaction_and_keeps_the_old_tables(
    shared_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunRecord(family="mine", config={"k": 1})
    with Lakehouse(shared_address) as lake:
        lake.record_runs([run])
        spooled(lake, run, range(10))
        lake.drain()
        before = lake.query("SELECT * FROM store.metrics ORDER BY ALL")
    old, new = migrations.SCHEMA_VERSION, migrations.SCHEMA_VERSION + 1
    scripts = migrations.scripts()
    step = tmp_path / f"{new:04d}_another_column.sql"
    monkeypatch.setattr(migrations, "SCHEMA_VERSION", new)
    monkeypatch.setattr(migrations, "scripts", lambda: {**scripts, new: step})
    step.write_text("ALTER TABLE store.runs ADD COLUMN further BIGINT; UPDATE store.runs SET further = nothing;")
    with pytest.raises(StoreError, match="nothing"):
        Lakehouse(shared_address)
    step.write_text("ALTER TABLE store.runs ADD COLUMN further BIGINT; UPDATE store.runs SET further = 7;")
    opened: list[int] = []

    def open_one() -> None:
        with Lakehouse(shared_address) as lake:
            opened.append(lake.query("SELECT further FROM runs")["further"].to_pylist()[0])

    threads = [threading.Thread(target=open_one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [7, 7]
    with Lakehouse(shared_address) as lake:
        versions = "SELECT version FROM {}.schema_migrations ORDER BY version"
        assert lake.query(versions.format("store"))["version"].to_pylist() == list(range(1, new + 1))
        kept = migrations.backup_schema(old)
        assert lake.query(versions.format(kept))["version"].to_pylist() == list(range(1, new))
        assert lake.query(f"SELECT * FROM {kept}.metrics ORDER BY ALL") == before
        assert "further" not in lake.query(f"FROM {kept}.runs").column_names
        assert find_problems(lake).records() == []
        lake.write([(f"DROP SCHEMA {kept} CASCADE", None)])
        assert lake.query("SELECT count(*) AS n FROM curves").to_pylist() == [{"n": 10}]


@pytest.mark.slow
def test_a_check_beside_training_waits_for_the_process_that_commits(address: str) -> None:
    with Lakehouse(address, hold=True) as training, training.run("mine", {"a": 1}) as run:
        for step in range(30):
            run.log(step=step, loss=1.0)
            if step % 10 == 9:
                assert run._spool is not None and run._spool.flush()
                with Lakehouse(address) as other:
                    assert find_problems(other).records() == []
