"""Opening, asking, recording, and sharing the file with other processes."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Client
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from isoflop.lakehouse import Lakehouse, RunRecord
from isoflop.lakehouse.backends.catalog import LakeHeld, resolve
from isoflop.lakehouse.errors import StoreError, UsageError
from isoflop.lakehouse.rpc.endpoint import endpoint_file, read_endpoint
from tests.keepers import endpoint_of, kill_keeper, spool_of


def child(path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has `lake` open at `path`."""
    program = f"from isoflop.lakehouse import Lakehouse\nlake = Lakehouse({str(path)!r})\n{body}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)


def test_a_config_key_becomes_a_typed_column_and_widens_when_it_must(lakehouse: Lakehouse) -> None:
    lakehouse.record_runs([RunRecord(family="f", config={"dataset": "web", "k": 1, "clip": True, "loss": "mse"})])
    lakehouse.record_runs([RunRecord(family="f", config={"dataset": "code", "K": 1.5, "clip": False})])
    lakehouse.record_runs([RunRecord(family="f", config={"k": "many"})])
    types = {
        row["column_name"]: row["column_type"] for row in lakehouse.query("SELECT * FROM (DESCRIBE runs)").to_pylist()
    }
    assert (types["dataset"], types["k"], types["clip"], types["loss"]) == ("VARCHAR", "VARCHAR", "BOOLEAN", "DOUBLE")
    rows = lakehouse.query("SELECT k, config->>'loss' AS objective FROM runs ORDER BY k").to_pylist()
    assert [row["k"] for row in rows] == ["1.0", "1.5", "many"]
    assert rows[0]["objective"] == "mse"  # the name is taken by a measured column, so it stays in config


def test_recording_a_sweep_twice_changes_nothing(lakehouse: Lakehouse) -> None:
    runs = [RunRecord(family="f", config={"width": width}) for width in (1, 2, 3)]
    first = lakehouse.record_sweep(name="s", spec="text", runs=runs)
    assert lakehouse.record_sweep(name="s", spec="text", runs=runs) == first
    (sweep,) = lakehouse.query("SELECT runs, queued, name FROM sweeps").to_pylist()
    assert sweep == {"runs": 3, "queued": 3, "name": "s"}
    assert {row["sweep_id"] for row in lakehouse.query("SELECT sweep_id FROM runs").to_pylist()} == {first}


def test_attempts_are_numbered_and_a_worker_s_own_end_is_kept(lakehouse: Lakehouse) -> None:
    run = RunRecord(family="f")
    lakehouse.record_runs([run])
    assert lakehouse.begin_attempts([run.run_id], "me") == {run.run_id: 1}
    lakehouse.end_attempt(run.run_id, 1, "lost", "dead driver")
    assert lakehouse.begin_attempts([run.run_id], "me") == {run.run_id: 2}
    lakehouse.end_attempt(run.run_id, 2, "finished")
    lakehouse.end_attempt(run.run_id, 2, "lost")
    assert lakehouse.query("SELECT attempt, status FROM attempts ORDER BY attempt").to_pylist() == [
        {"attempt": 1, "status": "lost"},
        {"attempt": 2, "status": "finished"},
    ]


def test_a_failing_block_is_a_failed_run_with_its_traceback(lakehouse: Lakehouse) -> None:
    with pytest.raises(ZeroDivisionError), lakehouse.run("mine", {"a": 1}) as run:
        run.log(step=1, loss=2.0)
        1 / 0  # noqa: B018
    (row,) = lakehouse.query("SELECT status, reason, error, loss FROM runs").to_pylist()
    assert row == {"status": "failed", "reason": "crash", "error": "ZeroDivisionError: division by zero", "loss": 2.0}
    (attempt,) = lakehouse.query("SELECT traceback FROM attempts").to_pylist()
    assert "1 / 0" in attempt["traceback"] or "test_lake.py" in attempt["traceback"]


def test_the_same_config_again_is_a_second_attempt(lakehouse: Lakehouse) -> None:
    for value in (2.0, 1.0):
        with lakehouse.run("mine", {"a": 1}) as run:
            run.log(step=1, loss=value)
            run.summary(validation_loss=value / 2)
    (row,) = lakehouse.query("SELECT attempt, loss, validation_loss FROM runs").to_pylist()
    assert row == {"attempt": 2, "loss": 1.0, "validation_loss": 0.5}


def test_a_transaction_is_all_or_nothing(lakehouse: Lakehouse) -> None:
    with pytest.raises(duckdb.Error):
        lakehouse.write([("CREATE TABLE t (a INT)", None), ("INSERT INTO nowhere VALUES (1)", None)])
    assert len(lakehouse.query("SELECT 1 FROM duckdb_tables() WHERE table_name = 't'")) == 0


def test_another_process_reads_and_writes_through_the_keeper(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path, hold=True) as lake:
        with lake.run("mine", {"width": 8}) as run:
            run.log(step=1, loss=2.5)
        assert stat.S_IMODE(os.stat(endpoint_file(spool_of(path))).st_mode) == 0o600
        done = child(
            path,
            """
import duckdb, pyarrow as pa
print(lake.is_owner, lake.query("SELECT width FROM runs WHERE loss > ?", [2]).to_pylist())
print(lake.query("SELECT max(x) AS s FROM given", None, {"given": pa.table({"x": [1, 2]})}).to_pylist())
try:
    lake.query("SELECT nope FROM runs")
except duckdb.BinderException as error:
    print(str(error).splitlines()[0], "LINE 1" in str(error))
with lake.run("theirs", {"width": 9}) as run:
    run.log(step=3, loss=1.5)
print(lake.query("SELECT status, loss FROM runs WHERE family = 'theirs'").to_pylist())
""",
        )
        assert done.stderr == ""
        assert done.stdout.splitlines() == [
            "False [{'width': 8}]",
            "[{'s': 2}]",
            'Binder Error: Referenced column "nope" not found in FROM clause! True',
            "[{'status': 'finished', 'loss': 1.5}]",
        ]
        assert lake.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 2}]
    until = time.monotonic() + 300
    while sorted(tmp_path.glob("**/*")) != [path, spool_of(path), spool_of(path) / "commits.json"]:
        assert time.monotonic() < until, list(tmp_path.glob("**/*"))
        time.sleep(0.05)


def test_a_caller_without_the_token_hears_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path, hold=True) as lake:
        endpoint = endpoint_of(path)
        for greeting in (b"guess 1", b"", b"x" * 200):
            with Client(endpoint.socket, "AF_UNIX") as channel:
                channel.send_bytes(greeting)
                with pytest.raises((EOFError, ConnectionError)):
                    channel.send_bytes(b'{"kind": "query", "statements": [["SELECT 1", null]], "tables": []}')
                    channel.recv_bytes()
        with Client(endpoint.socket, "AF_UNIX") as channel:
            with pytest.raises((OSError, EOFError)):
                for _ in range(100):  # it reads no more than a greeting of somebody who has not said the token
                    channel.send_bytes(b"x" * 2**20)
                channel.recv_bytes()
        assert lake.query("SELECT 1 AS x").to_pylist() == [{"x": 1}]


@pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator can take another user's part")
def test_another_user_can_neither_read_nor_use_what_the_keeper_offers(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="isoflop-open-", dir="/tmp"))
    try:
        folder.chmod(0o777)
        path = folder / "runs.duckdb"
        with Lakehouse(path, hold=True) as lake:
            endpoint = endpoint_of(path)
            program = f"""
import os, socket
os.setgid(65534); os.setuid(65534)
try:
    print(open({str(endpoint_file(spool_of(path)))!r}).read())
except PermissionError:
    print("cannot read")
try:
    caller = socket.socket(socket.AF_UNIX)
    caller.connect({endpoint.socket!r})
    print("connected")
except PermissionError:
    print("cannot connect")
from isoflop.lakehouse.rpc.endpoint import Endpoint, publish, read_endpoint
from pathlib import Path
mine = Path({str(folder)!r}) / "theirs.json"
publish(Endpoint("/nowhere", "token", 1), mine)
"""
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd="/")
            assert done.stdout.splitlines() == ["cannot read", "cannot connect"], done.stderr
            assert read_endpoint(folder / "theirs.json") is None  # what another user says is not believed
            os.chmod(Path(endpoint.socket).parent, 0o755)
            os.chmod(endpoint.socket, 0o777)
            done = subprocess.run(
                [sys.executable, "-c", STRANGER.format(socket=endpoint.socket, token=endpoint.token)],
                capture_output=True, text=True, cwd="/",
            )  # fmt: skip
            assert done.stdout.strip() == "sent away", done.stderr  # though the socket was open and the token known
            assert lake.query("SELECT 1 AS x").to_pylist() == [{"x": 1}]
    finally:
        shutil.rmtree(folder)


STRANGER = """
import os
from multiprocessing.connection import Client
os.setgid(65534); os.setuid(65534)
try:
    channel = Client({socket!r}, "AF_UNIX")
    channel.send_bytes({token!r}.encode() + b" me")
    channel.send_bytes(b'{{"kind": "query", "statements": [["SELECT 1", null]], "tables": []}}')
    print(channel.recv_bytes())
except (EOFError, OSError):
    print("sent away")
"""


def test_when_the_keeper_dies_another_one_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path, hold=True) as lake:
        assert not lake.is_owner
        assert lake.query("SELECT 1 AS x").to_pylist() == [{"x": 1}]
        dead = kill_keeper(path)
        assert lake.query("SELECT 2 AS x").to_pylist() == [{"x": 2}]
        assert endpoint_of(path).pid != dead


@pytest.mark.slow
def test_a_keeper_that_is_stopped_is_one_clear_error_and_a_run_ends_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.duckdb"
    monkeypatch.setattr("isoflop.lakehouse.rpc.wire.SILENCE", 2)
    with Lakehouse(path, hold=True) as lake:
        lake.query("SELECT 1")
        pid = endpoint_of(path).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with lake.session() as session, pytest.raises(StoreError, match=f"process {pid}.* has not answered"):
                session.query("SELECT 2")
            began = time.monotonic()
            with lake.run("mine", {"k": 1}) as run:
                run.log(step=1, loss=1.0)
            assert time.monotonic() - began < 20
            assert f"process {pid} commits them when it can" in capsys.readouterr().err
        finally:
            os.kill(pid, signal.SIGCONT)
        lake.drain()
        assert lake.query("SELECT status FROM runs").to_pylist() == [{"status": "finished"}]


def test_a_file_held_by_a_program_that_does_not_answer_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.duckdb"
    monkeypatch.setattr("isoflop.lakehouse.rpc.access.WAIT_FOR_OWNER", 0.3)
    program = f"import duckdb, time\ncon = duckdb.connect({str(path)!r})\nprint('held', flush=True)\ntime.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline().strip() == "held"
    try:
        with pytest.raises(LakeHeld, match=f"process {holder.pid}"):
            Lakehouse(path)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_file_that_is_no_database_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    junk = tmp_path / "junk.duckdb"
    junk.write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreError, match="is not a DuckDB database"):
        Lakehouse(junk)
    damaged = tmp_path / "damaged.duckdb"
    with Lakehouse(damaged) as lake:
        lake.query("CREATE TABLE t AS SELECT range AS x FROM range(100000)")
    content = bytearray(damaged.read_bytes())
    content[4096 : len(content)] = b"\xff" * (len(content) - 4096)
    damaged.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        Lakehouse(damaged)


def test_somebody_else_s_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.duckdb"
    con = duckdb.connect(str(path))
    con.execute("CREATE TABLE runs (a INT)")
    con.close()
    with pytest.raises(StoreError, match="not an isoflop lake"):
        Lakehouse(path)
    con = duckdb.connect(str(path))
    assert con.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("runs",)]
    con.close()


def test_a_newer_lake_is_refused_with_the_version_needed(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path) as lake:
        lake.query("INSERT INTO store.schema_migrations VALUES (99, 'later', now()::TIMESTAMP, '7.0.0')")
    with pytest.raises(StoreError, match=r"schema 99[\s\S]*7\.0\.0"):
        Lakehouse(path)


def test_addresses_that_name_no_file_are_usage_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        resolve(tmp_path)
    with pytest.raises(UsageError, match="not the path"):
        resolve("https://example.org/x")
    with pytest.raises(StoreError, match="does not exist"):
        Lakehouse(tmp_path / "no" / "such" / "folder.duckdb")
    monkeypatch.setenv("ISOFLOP_LAKE", str(tmp_path / "a.duckdb"))
    assert resolve(None) == tmp_path / "a.duckdb"


def test_a_plain_duckdb_client_reads_the_views(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path) as lake, lake.run("mine", {"width": 8}) as run:
        run.log(step=1, loss=2.5)
    con = duckdb.connect(str(path), read_only=True)
    assert con.execute("SELECT width, loss, status FROM runs").fetchall() == [(8, 2.5, "finished")]
    views = {name for (name,) in con.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
    con.close()
    assert views >= {
        "sweeps", "runs", "curves", "metrics", "finals", "timings", "attempts", "laws", "forecasts", "logs",
    }  # fmt: skip


def test_relations_are_visible_under_their_names(lakehouse: Lakehouse) -> None:
    answer = lakehouse.query("SELECT max(x) AS m FROM numbers", None, {"numbers": pa.table({"x": [1, 5, 3]})})
    assert answer.to_pylist() == [{"m": 5}]


def test_counts_that_are_known_at_the_end_become_columns(address: str) -> None:
    with Lakehouse(address) as lake:
        with lake.run("mine", {"width": 8}, params=10.0) as run:
            run.log(step=1, loss=2.0)
            run.summary(tokens=4096, flops=2.5e9, steps=1, params=12, loss=1.5, note="mine")
        (row,) = lake.query("SELECT params, tokens, flops, steps, loss, results->>'note' AS note FROM runs").to_pylist()
        assert row == {"params": 12.0, "tokens": 4096.0, "flops": 2.5e9, "steps": 1, "loss": 1.5, "note": "mine"}
        with lake.run("mine", {"width": 8}) as run:
            run.summary(tokens="many")
        (row,) = lake.query("SELECT tokens, results->>'tokens' AS said FROM runs").to_pylist()
        assert row == {"tokens": 4096.0, "said": "many"}
