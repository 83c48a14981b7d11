"""What killed processes leave beside a lake, and that it goes without anybody's file going with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.backends.leftovers import partial_of
from isoflop.lakehouse.maintenance import find_problems
from isoflop.lakehouse.runs.provenance import host_name
from isoflop.lakehouse.runs.records import digest

PATIENCE = 240  # seconds a program of a test may take on a busy machine

# Compacts, copies and migrates for ever; the name of the half-written file is what tells that it is at it.
WORK = """
import itertools, pathlib, sys
from isoflop.lakehouse import Lakehouse
path, what = pathlib.Path(sys.argv[1]), sys.argv[2]
with Lakehouse(path) as lake:
    for number in itertools.count():
        lake.compact() if what == "compact" else lake.snapshot(path.with_name(f"copy{number}.duckdb"))
"""


def a_partial_of_a_dead_process(path: Path) -> Path:
    program = (
        "import sys, pathlib\nfrom isoflop.lakehouse.backends.leftovers import partial_of\n"
        f"name = partial_of(pathlib.Path({str(path)!r}))\nname.write_text('half')\nprint(name)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True)
    return Path(done.stdout.strip())


def test_half_written_files_of_dead_processes_go_at_the_next_opening(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    names = (path, path.with_name("runs.duckdb.schema-1.backup"), tmp_path / "copy.duckdb")
    dead = [a_partial_of_a_dead_process(name) for name in names]
    dead.append(dead[0].with_name(dead[0].name + ".wal"))
    dead[-1].touch()
    living = partial_of(tmp_path / "other.duckdb")
    living.touch()
    theirs = tmp_path / "runs.duckdb.partial"  # not named as ours are
    theirs.touch()
    with Lakehouse(path) as lake:
        assert [left for left in dead if left.exists()] == []
        assert living.exists() and theirs.exists()
        assert find_problems(lake).records() == []


def test_a_half_written_file_that_may_have_a_writer_is_reported_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    host = digest("another machine", 6)
    assert host != digest(host_name(), 6)
    foreign = tmp_path / f"runs.duckdb.{host}-17-123.partial"
    unknown = tmp_path / "runs.duckdb.999999999.partial"  # as earlier versions named them, without a machine
    for left in (foreign, unknown):
        left.write_text("half")
    with Lakehouse(path) as lake:
        problems = [(row["kind"], row["subject"]) for row in find_problems(lake).records()]
    assert problems == [("file left half written", left.name) for left in sorted((foreign, unknown))]
    old = time.time() - 7200
    os.utime(unknown, (old, old))
    with Lakehouse(path):
        assert foreign.exists() and not unknown.exists()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["compact", "snapshot"])
def test_a_rewrite_killed_at_any_moment_leaves_a_whole_lake_and_no_file(tmp_path: Path, what: str) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path) as lake:
        run = RunRecord(family="m")
        lake.record_runs([run])
        with Spool(lake.spool_folder, run.run_id, 1) as spool:
            for step in range(50_000):
                spool.log(step, loss=1.0 / (step + 1))
            spool.ended("finished")
    for after in (0.0, 0.02, 0.1):  # seconds from the first half-written file to the end
        process = subprocess.Popen([sys.executable, "-c", WORK, str(path), what])
        until = time.monotonic() + PATIENCE
        while not list(tmp_path.glob("*.partial")):
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.001)
        time.sleep(after)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with Lakehouse(path) as lake:
            assert not list(tmp_path.glob("*.partial*"))
            assert lake.query("SELECT count(*) AS n FROM curves").to_pylist() == [{"n": 50_000}]
            assert find_problems(lake).records() == []
        for copy in tmp_path.glob("copy*.duckdb"):
            with Lakehouse(copy) as lake:
                assert lake.query("SELECT count(*) AS n FROM curves").to_pylist() == [{"n": 50_000}]
            copy.unlink()


def test_batches_beside_a_link_come_into_the_lake_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "a.duckdb", tmp_path / "link.duckdb"
    run = RunRecord(family="m")
    with Lakehouse(real) as lake:
        lake.record_runs([run])
    link.symlink_to(real)
    stray = tmp_path / "link.duckdb.spool"  # where it was while a link was a lake of its own
    with Spool(stray, run.run_id, 1) as spool:
        spool.log(1, loss=1.0)
    with Lakehouse(link) as lake:
        assert lake.path == real
        assert lake.query("SELECT step FROM curves").to_pylist() == [{"step": 1}]
        assert not list(stray.glob("*.parquet"))


def test_a_spool_beside_a_link_in_the_lakes_own_folder_is_reported(tmp_path: Path) -> None:
    real, link = tmp_path / "a.duckdb", tmp_path / "link.duckdb"
    with Lakehouse(real) as lake:
        link.symlink_to(real)
        with Spool(tmp_path / "link.duckdb.spool", "nobody", 1) as spool:
            spool.log(1, loss=1.0)
        (problem,) = find_problems(lake).records()
        assert problem["kind"] == "batches in another spool" and problem["subject"] == f"{link}.spool"
    with Lakehouse(real) as lake:
        assert "points without run" in [row["kind"] for row in find_problems(lake).records()]
