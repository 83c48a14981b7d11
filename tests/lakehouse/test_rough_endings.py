"""Endings that nobody planned: Ctrl-C again and again, killed scripts and keepers, a full disk, dropped views."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.ingest.signals import interrupts_held_back
from isoflop.lakehouse.maintenance import find_problems
from isoflop.lakehouse.rpc import keeper
from isoflop.lakehouse.runs import provenance
from tests.keepers import endpoint_of, has_keeper, kill_keeper

IMPATIENT = """
import os, sys, threading, time
import isoflop

def press():
    time.sleep(0.5)
    for _ in range(8):
        os.kill(os.getpid(), 2)
        time.sleep(float(sys.argv[2]))

with isoflop.open(sys.argv[1]) as lake:
    with lake.run("impatient", {"gap": sys.argv[2]}) as run:
        threading.Thread(target=press, daemon=True).start()
        for step in range(10_000):
            run.log(step=step, loss=1.0)
            print(step, flush=True)
            time.sleep(0.01)
"""
KILLED = """
import os, sys, time
import isoflop
lake = isoflop.open(sys.argv[1])
with lake.run("killed", {}) as run:
    run.log(step=1, loss=1.0)
    run._spool.flush()
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.01, 0.1])
def test_ctrl_c_again_and_again_ends_the_run_with_all_its_points(tmp_path: Path, gap: float) -> None:
    path = tmp_path / "runs.duckdb"
    said = subprocess.run(
        [sys.executable, "-c", IMPATIENT, str(path), str(gap)], capture_output=True, text=True, timeout=300
    )
    assert said.returncode != 0 and "KeyboardInterrupt" in said.stderr
    logged = len(said.stdout.split())
    with Lakehouse(path) as lake:
        (row,) = lake.query("SELECT status, reason, (SELECT count(*) FROM curves) AS points FROM runs").to_pylist()
        # The signal may come between log() and the line that says so.
        assert (row["status"], row["reason"]) == ("failed", "interrupted") and 0 <= row["points"] - logged <= 1
        assert find_problems(lake).records() == []


def test_an_interrupt_is_heard_once_what_must_be_done_is_done() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_held_back():
        for number in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            done.append(number)
    assert done == [0, 1, 2] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_the_run_of_a_killed_script_becomes_lost_without_a_command(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    script = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert script.stdout is not None and script.stdout.readline() == "ready\n"
    script.kill()
    script.communicate()
    until = time.monotonic() + 300
    while has_keeper(path) and time.monotonic() < until:
        time.sleep(0.1)
    with duckdb.connect(str(path), read_only=True) as con:
        assert con.execute("SELECT status, reason FROM runs").fetchall() == [("lost", "driver_died")]


def test_the_next_keeper_takes_the_socket_of_a_killed_one_away(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with isoflop.open(path) as lake:
        socket = Path(endpoint_of(path).socket)
        assert socket.parent.is_dir()
        kill_keeper(path)
        assert lake.query("SELECT 1 AS x").to_pylist() == [{"x": 1}]
        assert not socket.parent.exists() and Path(endpoint_of(path).socket).exists()


def test_a_log_that_cannot_be_written_does_not_end_the_keeper() -> None:
    said = []
    with contextlib.suppress(OSError), open("/dev/full", "w") as full:  # closing it fails
        print("what nobody can read", file=keeper._Log(full), flush=True)
        said.append("it goes on")
    assert said == ["it goes on"]


def test_views_that_were_dropped_are_there_again_when_the_lake_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path) as lake, lake.run("a", {}) as run:
        run.log(step=1, loss=1.0)
    with Lakehouse(path) as lake:
        lake.write([("DROP VIEW curves", None), ("DROP VIEW metric_curves", None)])
    with Lakehouse(path) as lake:
        assert lake.query("SELECT loss FROM curves").to_pylist() == [{"loss": 1.0}]
        assert lake.query("SELECT metric, value FROM metric_curves").to_pylist() == [{"metric": "loss", "value": 1.0}]


def test_the_best_of_a_run_that_went_on_is_that_of_its_whole_curve(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        with lake.run("a", {}) as run:
            for step, reward in enumerate((1.0, 9.0, 3.0, 50.0)):
                run.log(step=step, reward=reward)
        with lake.run("a", {}, resume=True) as run:
            for step, reward in ((3, 4.0), (4, 5.0)):  # the 50 is trained again
                run.log(step=step, reward=reward)
        found = lake.query("SELECT max(value) AS best, count(*) AS n FROM metric_curves WHERE metric = 'reward'")
        assert found.to_pylist() == [{"best": 9.0, "n": 5}]


def test_a_direction_can_be_taken_back(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        with lake.run("a", {}) as run:
            for step, value in enumerate((1.0, 3.0, 2.0)):
                run.log(step=step, accuracy=value)
        bests = []
        for best in ("lowest", None):
            lake.metric("accuracy", best=best)
            bests += [row["best"] for row in lake.query("SELECT best FROM finals").to_pylist()]
        assert bests == [1.0, 3.0]
        assert lake.query("SELECT count(*) AS n FROM store.metric_directions").to_pylist() == [{"n": 0}]


def test_nobody_has_to_read_what_is_said(tmp_path: Path) -> None:
    program = """
import os, sys
import isoflop
read, write = os.pipe()
os.close(read)
os.dup2(write, 2)  # as in `python train.py 2>&1 | head -1`
with isoflop.open(sys.argv[1]) as lake:
    with lake.run("a", {}) as run:
        run.log(step=1, loss=1.0)
    run.log(step=2, loss=1.0)  # too late, which is said
print("done")
"""
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "runs.duckdb")], stdout=subprocess.PIPE, text=True, timeout=300
    )
    assert said.stdout == "done\n"


def test_a_step_that_is_not_whole_is_noted_not_cut(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        with lake.run("a", {}) as run:
            for step in (1, 2.0, 2.7, "4"):
                run.log(step=step, loss=1.0)  # type: ignore[arg-type]
        assert lake.query("SELECT step FROM metrics ORDER BY step").to_pylist() == [{"step": 1}, {"step": 2}]
        assert lake.query("SELECT count(*) AS n FROM logs WHERE message LIKE '%not a whole number%'").to_pylist() == [
            {"n": 2}
        ]


def test_a_run_that_is_open_is_not_entered_again_and_goes_on(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        with lake.run("a", {}) as run:
            run.log(step=1, loss=1.0)
            with pytest.raises(RecordError, match="is open already"), run:
                pass
            run.log(step=2, loss=1.0)
        assert lake.query("SELECT status, last_step FROM runs").to_pylist() == [{"status": "finished", "last_step": 2}]


def test_what_a_summary_says_that_does_not_fit_is_named_in_the_log(tmp_path: Path) -> None:
    with isoflop.open(tmp_path / "runs.duckdb") as lake:
        with lake.run("a", {}) as run:
            run.summary(tokens="abc", steps=2**70, train_seconds="x", mine="free text")
        said = [row["message"] for row in lake.query("SELECT message FROM logs ORDER BY message").to_pylist()]
        assert [line.split()[0] for line in said] == ["'steps'", "'tokens'", "'train_seconds'"]
        assert all("does not take" in line for line in said)


def test_a_process_number_of_another_container_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    label = provenance.process_label()
    assert provenance.is_running(label) is True
    monkeypatch.setattr(provenance, "process_space", lambda: f"{provenance.host_name()}+4026532999")
    assert provenance.is_running(label) is None
