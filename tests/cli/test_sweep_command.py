"""`isoflop sweep`, `status` and `logs` as a person meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isoflop.cli.main import main
from isoflop.lakehouse import Lakehouse
from tests.keepers import has_keeper

FEATURES = """\
name: features
family: plrf
grid: {width: [8, 16], spectrum_exponent: 1.0, target_exponent: 0.8, budget: [1600, 3200]}
derive: {tokens: budget / params}
exclude: width = 16 AND budget > 2000
seeds: 2
"""
TRANSFORMER = """\
name: small
family: transformer
corpus: {source: text}
grid: {width: 32, depth: 1, sequence_length: 16, batch_size: 2, validation_tokens: 0, steps: 2000}
seeds: 3
"""
Run = subprocess.CompletedProcess[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a sweep file of random-feature runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ISOFLOP_LAKE", raising=False)
    (tmp_path / "sweep.yaml").write_text(FEATURES)
    return tmp_path


def isoflop(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["isoflop", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_dry_run_prints_runs_and_costs_and_makes_no_lake(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isoflop(monkeypatch, "sweep", "sweep.yaml", "--dry-run", "--json") == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert len(rows) == 6
    assert {"run_id", "budget", "params", "tokens", "flops", "seconds", "memory_bytes", "status"} <= set(rows[0])
    assert {row["status"] for row in rows} == {"new"}
    assert all(row["seconds"] is None for row in rows)
    assert "6 runs, 0 done, 6 to train, 2 excluded" in err
    assert "no estimate of the time" in err
    assert not list(folder.glob("*.duckdb"))


def test_a_dry_run_shows_what_differs_in_every_sweep_of_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = "grid: {width: 32, depth: 1, sequence_length: 16, batch_size: 2, steps: 9}\nseeds: [1]\n"
    two = "points: [{width: 32, depth: 1, steps: 9}, {width: 64, depth: 2, steps: 9}]\n"
    family = "family: transformer\ncorpus: {source: text}\n"
    (folder / "both.yaml").write_text(f"name: two\n{family}{two}---\nname: one\n{family}{one}")
    assert isoflop(monkeypatch, "sweep", "both.yaml", "--dry-run", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["sweep"], row["width"], row["depth"], row["seed"]) for row in rows] == [
        ("two", 32, 1, 0), ("two", 64, 2, 0), ("one", 32, 1, 1),
    ]  # fmt: skip
    assert all(row["batch_size"] is not None for row in rows)


def test_a_dry_run_knows_what_is_done_and_uses_a_fitted_time_law(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from isoflop.workers.sweep import load_sweep

    sweep = load_sweep("sweep.yaml")
    records = sweep.expand().records
    with Lakehouse("isoflop.duckdb") as lake:
        lake.record_sweep(name=sweep.name, spec=sweep.text, runs=records)
        attempt = lake.begin_attempts([records[0].run_id], "host:1:1")[records[0].run_id]
        lake.end_attempt(records[0].run_id, attempt, "finished")
        prices = ", ".join(
            f"{{'coefficient': '{name}', 'estimate': {value}}}"
            for name, value in (("c_0", 0.5), ("c_f", 1e-9), ("c_m", 0.0), ("c_L", 0.25))
        )
        lake.write(
            [
                (
                    "INSERT INTO store.laws BY NAME SELECT 'step' AS name, 1 AS version, 'step_time' AS form, "
                    f"'converged' AS status, list_transform([{prices}], lambda c: {{'coefficient': c.coefficient, "
                    "'estimate': c.estimate, 'std_error': NULL, 'lower': NULL, 'upper': NULL, 'at_bound': false}) "
                    "AS coefficients, now()::TIMESTAMP AS created_at",
                    None,
                )
            ]
        )
    (folder / "text").write_text("x" * 4096)
    (folder / "deep.yaml").write_text(TRANSFORMER.replace("steps: 2000", "steps: 4"))
    assert isoflop(monkeypatch, "sweep", "sweep.yaml", "--dry-run", "--json") == 0
    out, err = capsys.readouterr()
    assert [row["status"] for row in json.loads(out)].count("finished") == 1
    assert "6 runs, 1 done, 5 to train" in err
    assert isoflop(monkeypatch, "sweep", "deep.yaml", "--dry-run", "--json") == 0
    out, err = capsys.readouterr()
    row = json.loads(out)[0]
    assert row["seconds"] == pytest.approx(4 * (0.5 + 0.25) + 1e-9 * row["flops"], rel=1e-2)
    assert "the law 'step'" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("sweep", "missing.yaml"), 2, "missing.yaml: cannot be read"),
        (("sweep", "sweep.yaml", "--set", "grid.width"), 2, "is not KEY=VALUE"),
        (("sweep", "sweep.yaml", "--set", "famly=x"), 2, "unknown key 'famly'"),
        (("sweep", "sweep.yaml", "--set", "grid.width=0", "--dry-run"), 2, "--set grid.width=0: 'width' is 0"),
        (("sweep", "sweep.yaml", "--format", "tabel"), 2, "there is no format 'tabel'"),
        (("sweep", "sweep.yaml", "--address", "http://head:8265"), 2, "isoflop submit FILE --address http://head:8265"),
        (("status", "nothing"), 2, "there is no sweep 'nothing'"),
        (("logs", "nothing"), 2, "there is no run 'nothing'"),
        (("submit", "sweep.yaml"), 2, "no job server is named"),
        (("submit", "sweep.yaml", "--address", "http://127.0.0.1:9", "--lake", "runs.duckdb"), 2, "is a relative path"),
        (("submit", "missing.yaml", "--address", "http://127.0.0.1:9"), 2, "missing.yaml: cannot be read"),
    ],
)
def test_what_is_wrong_is_said_on_stderr_with_an_exit_code(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    Lakehouse("isoflop.duckdb").close()
    assert isoflop(monkeypatch, *words) == code
    out, err = capsys.readouterr()
    assert (out, message in err) == ("", True), err
    assert "Traceback" not in err


def test_status_and_logs_answer_from_the_lake(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from isoflop.lakehouse.ingest.spool import Spool
    from isoflop.workers.sweep import load_sweep

    sweep = load_sweep("sweep.yaml")
    records = sweep.expand().records
    run_id = records[0].run_id
    with Lakehouse("isoflop.duckdb") as lake:
        sweep_id = lake.record_sweep(name=sweep.name, spec=sweep.text, runs=records)
        with Spool(lake.spool_folder, run_id, lake.begin_attempts([run_id], "host:1:1")[run_id]) as spool:
            spool.started(host="here", device="cpu")
            spool.note("the first line")
            spool.ended("failed", "crash", error="ValueError: no", traceback="Traceback: ValueError: no")
    assert isoflop(monkeypatch, "status", "--json") == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["sweep_id"], row["runs"], row["failed"], row["queued"]) == (sweep_id, 6, 1, 5)
    assert isoflop(monkeypatch, "status", "features", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in rows] == ["failed"] + ["queued"] * 5
    assert isoflop(monkeypatch, "logs", run_id[:6], "--follow") == 0
    out, err = capsys.readouterr()
    assert "the first line" in out and "ValueError: no" in out
    assert f"{run_id}: attempt 1 failed (crash)" in err
    assert isoflop(monkeypatch, "logs", "width=8 budget=1600 seed=1") == 0
    assert "has not been started" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_ctrl_c_stops_cleanly_and_the_second_run_completes(tmp_path: Path) -> None:
    # The folder has a package called `workers`, which a worker process must not take for ours.
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    (tmp_path / "text").write_text("a corpus named by a relative path " * 200)
    (tmp_path / "sweep.yaml").write_text(TRANSFORMER)
    environment = {**os.environ, "ISOFLOP_LAKE": str(tmp_path / "runs.duckdb")}
    command = [sys.executable, "-m", "isoflop", "sweep", "sweep.yaml"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as first:  # fmt: skip
        wait_for(tmp_path / "runs.duckdb", "SELECT 1 FROM runs WHERE status = 'running' AND last_step > 0")
        os.killpg(first.pid, signal.SIGINT)  # as a terminal does: every process of the group
        out, err = first.communicate(timeout=300)
    assert first.returncode == 130, err
    assert "stopping" in err and "Traceback" not in err
    assert "small" in out
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        assert not list(lake.spool_folder.glob("*.parquet"))
        ends = lake.query("SELECT DISTINCT status, reason FROM attempts WHERE status <> 'finished'").to_pylist()
        assert ends == [{"status": "failed", "reason": "stopped"}]
        saved = list((tmp_path / "runs.duckdb.checkpoints").iterdir())
        assert saved
    again = subprocess.run(
        [*command, "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
    )
    assert again.returncode == 0, again.stderr
    [summary] = json.loads(again.stdout)
    assert (summary["finished"] + summary["skipped"], summary["failed"]) == (3, 0)
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        curves = lake.query(
            "SELECT count(*) AS n, count(DISTINCT step) AS steps FROM curves GROUP BY run_id"
        ).to_pylist()
        assert (
            curves == [{"n": 2000, "steps": 2000}] * 3
        )  # what was trained before the stop is not trained again, nor lost
        assert lake.query("SELECT count(*) AS n FROM attempts WHERE resumed_step > 0").to_pylist()[0]["n"] >= 1
    assert not (tmp_path / "runs.duckdb.checkpoints").exists()


@pytest.mark.slow
@pytest.mark.cluster
def test_a_sweep_is_followed_and_stopped_from_another_terminal(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a corpus named by a relative path " * 200)
    (tmp_path / "sweep.yaml").write_text(TRANSFORMER.replace("steps: 2000", "steps: 20000"))
    environment = {**os.environ, "ISOFLOP_LAKE": str(tmp_path / "runs.duckdb")}
    command = [sys.executable, "-m", "isoflop"]

    def run(*words: str) -> Run:
        return subprocess.run(
            [*command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )

    with subprocess.Popen(
        [*command, "sweep", "sweep.yaml"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as sweeping:  # fmt: skip
        wait_for(tmp_path / "runs.duckdb", "SELECT 1 FROM runs WHERE status = 'running' AND last_step > 0")
        with subprocess.Popen(
            [*command, "status", "small", "--follow"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        ) as following:
            assert following.stdout is not None
            first = following.stdout.readline()
            stopped = run("stop", "small", "--json")
            _, err = sweeping.communicate(timeout=300)
            rest = following.communicate(timeout=300)[0]
    assert stopped.returncode == 0, stopped.stderr
    [row] = json.loads(stopped.stdout)
    assert (row["runs"], row["finished"], row["failed"]) == (3, 0, 0) and row["stopped"] >= 1, row
    assert (sweeping.returncode, following.returncode) == (130, 0), err
    assert first.startswith("small: 0 of 3 finished, ") and "running" in first and " left" in first, first
    assert rest.splitlines()[-1].startswith("small: 0 of 3 finished, ") and "stopped" in rest.splitlines()[-1], rest
    nobody = run("stop", "small")
    assert nobody.returncode == 2 and "no process of this machine runs the sweep 'small'" in nobody.stderr


def wait_for(path: Path, query: str) -> None:
    """Wait until a query of a lake, which another process writes, has a row."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        if has_keeper(path):
            with Lakehouse(path) as lake:
                if lake.query(query).num_rows:
                    return
        time.sleep(0.2)
    pytest.fail(f"no row came: {query}")
