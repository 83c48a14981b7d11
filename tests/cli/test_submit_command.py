"""Sweeps as jobs of a real Ray cluster on this machine, which asks for a token."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.maintenance import find_problems
from tests.keepers import has_keeper, kill_keeper, spool_of

pytestmark = pytest.mark.cluster

BIN = Path(sys.executable).parent
SWEEP = """\
name: features
family: plrf
grid: {width: [8, 16], spectrum_exponent: 1.0, target_exponent: 0.8, tokens: 100}
"""


@dataclass(frozen=True)
class Head:
    """A Ray head of this test run."""

    address: str
    environment: dict[str, str]

    def run(self, *command: str, cwd: Path, **changes: str | None) -> subprocess.CompletedProcess[str]:
        """Run a command with the head's token; `changes` set or (None) remove variables."""
        merged = {**self.environment, **changes}
        environment = {name: value for name, value in merged.items() if value is not None}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Start a head with token authentication, and stop exactly the processes it started."""
    folder = Path(tempfile.mkdtemp(prefix="isoflop-ray-", dir="/tmp"))  # short: sockets have short names
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("RAY_") and name != "ISOFLOP_LAKE"
    }
    environment = {
        **inherited,
        "RAY_AUTH_TOKEN_PATH": str(token),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    port = free_port()
    command = [
        str(BIN / "ray"), "start", "--head", "--block", "--port", str(free_port()), "--temp-dir", str(folder / "ray"),
        "--dashboard-host", "127.0.0.1", "--dashboard-port", str(port), "--num-cpus", "2",
        "--dashboard-agent-listen-port", str(free_port()), "--ray-client-server-port", str(free_port()),
    ]  # fmt: skip
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(command, env={**environment, "RAY_AUTH_MODE": "token"}, stdout=log, stderr=log)
        try:
            started = Head(f"http://127.0.0.1:{port}", environment)
            _wait_until_up(started.address, token.read_text(), process)
            yield started
        finally:
            process.send_signal(signal.SIGTERM)  # with --block Ray ends what it has started
            try:
                process.wait(timeout=300)
            except subprocess.TimeoutExpired:
                process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def _wait_until_up(address: str, token: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until and process.poll() is None:
        request = urllib.request.Request(f"{address}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.5)
    pytest.fail("the Ray head did not come up")


def finished(path: Path) -> list[dict[str, object]]:
    with Lakehouse(path) as lake:
        rows: list[dict[str, object]] = lake.query("SELECT status, count(*) AS runs FROM runs GROUP BY ALL").to_pylist()
    return rows


@pytest.mark.slow
def test_a_submitted_sweep_trains_with_the_code_sent_along(head: Head, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    command = [
        str(BIN / "isoflop"),
        "submit",
        "sweep.yaml",
        "--address",
        head.address,
        "--lake",
        str(tmp_path / "r.duckdb"),
    ]
    done = head.run(*command, "--ship-code", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["status"] == "SUCCEEDED"
    assert "features: 2 of 2 done" in done.stderr
    assert finished(tmp_path / "r.duckdb") == [{"status": "finished", "runs": 2}]


@pytest.mark.slow
def test_a_script_beside_the_sweep_file_is_sent_along(head: Head, tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "helper.py").write_text("def loss(width):\n    return 1 + 1 / width\n")
    (job / "train.py").write_text(
        "import json, os, sys\nfrom helper import loss\nprint(os.getcwd(), os.listdir())\n"
        "print(json.dumps({'step': 1, 'loss': loss(int(sys.argv[1]))}))\n"
    )
    (job / "sweep.yaml").write_text(
        "name: mine\nfamily: command\ncommand: python train.py {width}\ngrid: {width: [1, 2]}\n"
    )
    (job / "old.duckdb").write_text("a lake")
    lake = tmp_path / "r.duckdb"
    done = head.run(
        str(BIN / "isoflop"), "submit", "job/sweep.yaml", "--address", head.address, "--lake", str(lake),
        "--ship-code", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Lakehouse(lake) as opened:
        assert opened.query("SELECT width, loss FROM runs ORDER BY width").to_pylist() == [
            {"width": 1, "loss": 2.0}, {"width": 2, "loss": 1.5},
        ]  # fmt: skip
        said = opened.query("SELECT message FROM logs")["message"].to_pylist()
    assert not any(str(job) in line or "old.duckdb" in line for line in said), said


@pytest.mark.slow
def test_ray_job_submit_runs_the_same_command(head: Head, tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "sweep.yaml").write_text(SWEEP)
    done = head.run(
        str(BIN / "ray"), "job", "submit", "--address", head.address, "--working-dir", str(job), "--",
        "isoflop", "sweep", "sweep.yaml", "--lake", str(tmp_path / "r.duckdb"),
        cwd=tmp_path, RAY_AUTH_MODE="token",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert finished(tmp_path / "r.duckdb") == [{"status": "finished", "runs": 2}]


@pytest.mark.slow
def test_a_job_with_a_failed_run_gives_its_exit_code(head: Head, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "name: broken\nfamily: transformer\ncorpus: /no/such/folder\ngrid: {width: 32, depth: 1, steps: 1}\n"
        "retries: {crash: 0}\n"
    )
    command = [
        str(BIN / "isoflop"),
        "submit",
        "sweep.yaml",
        "--address",
        head.address,
        "--lake",
        str(tmp_path / "r.duckdb"),
    ]
    done = head.run(*command, cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "FAILED" in done.stdout
    assert "/no/such/folder" in done.stderr


@pytest.mark.slow
def test_nothing_is_taken_without_the_token(head: Head, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    command = [
        str(BIN / "isoflop"),
        "submit",
        "sweep.yaml",
        "--address",
        head.address,
        "--lake",
        str(tmp_path / "r.duckdb"),
    ]
    without = head.run(*command, cwd=tmp_path, RAY_AUTH_TOKEN_PATH=None, HOME=str(tmp_path))
    wrong = head.run(*command, cwd=tmp_path, RAY_AUTH_TOKEN_PATH=None, RAY_AUTH_TOKEN="wrong" * 8)
    for refused in (without, wrong):
        assert refused.returncode == 4
        assert "did not take the sweep" in refused.stderr and "RAY_AUTH_TOKEN" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not (tmp_path / "r.duckdb").exists()


# What dies while a submitted sweep trains. The driver is also the lake's writer.
TRAINING = """\
name: small
family: transformer
corpus: {source: builtin}
grid: {width: 32, depth: 1, sequence_length: 16, batch_size: 2, validation_tokens: 64, steps: 3000}
seeds: 2
retries: {crash: 2, preempted: 2}
"""


def submitted(head: Head, folder: Path, lake: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return head.run(
        str(BIN / "ray"), "job", "submit", *options, "--address", head.address, "--working-dir", str(folder), "--",
        "isoflop", "sweep", "sweep.yaml", "--lake", str(lake), cwd=folder, RAY_AUTH_MODE="token",
    )  # fmt: skip


def driver_of(lake: Path) -> int:
    """Return the process that drives a running sweep, once points have arrived in its lake."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        if has_keeper(lake) and list(spool_of(lake).glob("*.parquet")):
            with Lakehouse(lake) as opened:
                drivers = opened.query("SELECT driver FROM attempts WHERE status IN ('queued', 'running')")["driver"]
                if len(drivers):
                    return int(str(drivers[0]).split(":")[1])
        time.sleep(0.02)
    pytest.fail("the sweep did not begin to train")


def assert_whole(lake: Path, attempts: list[dict[str, object]]) -> None:
    with Lakehouse(lake) as opened:
        assert opened.query("SELECT status, count(*) AS n FROM runs GROUP BY ALL").to_pylist() == [
            {"status": "finished", "n": 2}
        ]
        curves = opened.query("SELECT count(*) AS n, count(DISTINCT step) AS d FROM curves GROUP BY run_id")
        assert curves.to_pylist() == [{"n": 3000, "d": 3000}] * 2
        ends = opened.query("SELECT DISTINCT attempt, status, reason FROM attempts ORDER BY attempt").to_pylist()
        assert ends == attempts
        assert find_problems(opened).records() == []
        assert not list(opened.spool_folder.glob("*.parquet"))


@pytest.mark.long
def test_a_submitted_sweep_whose_driver_is_killed_is_completed_by_the_next(head: Head, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "sweep.yaml").write_text(TRAINING)
    lake = tmp_path / "r.duckdb"
    assert submitted(head, tmp_path / "job", lake, "--no-wait").returncode == 0
    os.kill(driver_of(lake), signal.SIGKILL)
    again = submitted(head, tmp_path / "job", lake)
    assert again.returncode == 0, again.stderr
    assert "isoflop: 2 attempts whose process died, marked as lost" in again.stdout + again.stderr
    ends: list[dict[str, object]] = [
        {"attempt": 1, "status": "lost", "reason": "driver_died"},
        {"attempt": 2, "status": "finished", "reason": None},
    ]
    assert_whole(lake, ends)


@pytest.mark.long
def test_a_sweep_goes_on_when_the_process_that_holds_its_lake_is_killed(head: Head, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "sweep.yaml").write_text(TRAINING)
    lake = tmp_path / "r.duckdb"
    holding = f"import isoflop; lake = isoflop.open({str(lake)!r}); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert submitted(head, tmp_path / "job", lake, "--no-wait").returncode == 0
        driver_of(lake)
        holder.kill()
        kill_keeper(lake)
    until = time.monotonic() + 300
    while (now := finished(lake)) != [{"status": "finished", "runs": 2}]:
        assert time.monotonic() < until, now
        time.sleep(1.0)
    assert_whole(lake, [{"attempt": 1, "status": "finished", "reason": None}])
