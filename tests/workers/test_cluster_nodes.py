"""Workers on another node than the lake's."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.workers.cluster.inbox import Inbox

SWEEP = """\
name: small
family: transformer
corpus: {source: builtin}
grid: {width: 32, depth: 1, sequence_length: 16, batch_size: 2, validation_tokens: 64, steps: 1500}
seeds: 2
retries: {preempted: 1, crash: 0}
"""


@pytest.mark.slow
@pytest.mark.cluster
def test_what_another_node_measures_arrives_and_a_lost_node_is_made_up_for(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    script = Path(__file__).with_name("on_two_nodes.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"finished": 2, "retried": 2, "is_elsewhere": True}
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        ends = lake.query("SELECT DISTINCT attempt, status, reason FROM attempts ORDER BY attempt").to_pylist()
        assert ends == [
            {"attempt": 1, "status": "lost", "reason": "preempted"},
            {"attempt": 2, "status": "finished", "reason": None},
        ]
        curves = lake.query(
            "SELECT count(*) AS n, count(DISTINCT step) AS steps FROM curves GROUP BY run_id"
        ).to_pylist()
        assert curves == [{"n": 1500, "steps": 1500}] * 2


@pytest.mark.slow
@pytest.mark.cluster
def test_a_run_holds_its_cpu_while_its_checkpoint_is_handed_over(tmp_path: Path) -> None:
    """Two runs of 60 s, each with a checkpoint at 30 s, on one CPU of another node than the lake's."""
    (tmp_path / "sweep.yaml").write_text(f"{SWEEP.replace('1500', '400_000')}timeout: 60 s\n")
    script = Path(__file__).with_name("on_one_cpu.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        attempts = lake.query("SELECT reason, started_at, finished_at FROM attempts ORDER BY started_at").to_pylist()
        checkpoints = lake.query("SELECT count FROM timings WHERE phase = 'checkpoint'").to_pylist()
    assert [attempt["reason"] for attempt in attempts] == ["timeout"] * 2
    assert all(row["count"] >= 2 for row in checkpoints)  # at 30 s, and when time is over
    overlaps = sum(later["started_at"] < earlier["finished_at"] for earlier, later in pairwise(attempts))
    assert overlaps == 0


def test_the_inbox_writes_whole_files_and_takes_nothing_else(tmp_path: Path) -> None:
    inbox = Inbox(str(tmp_path / "spool"))
    name = "abcdefghijkl.0001.00000000.parquet"
    assert inbox.put(name, b"content") == 7
    assert inbox.put(name, b"content") == 7  # handed over twice, there once
    assert [path.name for path in (tmp_path / "spool").iterdir()] == [name]
    for wrong in ("../x.parquet", "x.txt", "/etc/x.parquet", "a/b.parquet", ""):
        with pytest.raises(ValueError, match="not the name of a spool file"):
            inbox.put(wrong, b"")
