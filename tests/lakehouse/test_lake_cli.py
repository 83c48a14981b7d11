"""`isoflop lake` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from isoflop.cli.lake import lake_app
from isoflop.cli.main import app
from isoflop.lakehouse import Lakehouse, Spool
from isoflop.lakehouse.errors import StoreError, UsageError
from isoflop.lakehouse.schema import SCHEMA_VERSION


@pytest.fixture
def lake_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "runs.duckdb"
    monkeypatch.setenv("ISOFLOP_LAKE", str(path))
    with Lakehouse(path) as lake:
        for width in (1, 2, 3):
            with lake.run("mine", {"width": width}) as run:
                for step in range(100):
                    run.log(step=step, loss=1 / (step + 1))
    return path


def typed(*words: object) -> Result:
    return CliRunner().invoke(lake_app, [str(word) for word in words])


def test_the_round_of_looking_after_a_lake(lake_path: Path, tmp_path: Path) -> None:
    assert "the lake is whole" in typed("check").stderr
    assert "| 300" in typed("info", "--format", "markdown").stdout
    assert typed("tag", "width = 1", "--add", "small", "--note", "a word").stderr == "1 run\n"
    dry = typed("gc", "--where", "list_contains(tags, 'small')", "--dry-run")
    assert "would remove 1 run with 100 points" in dry.stderr and "mine" in dry.stdout
    assert "removed 1 run with 100 points" in typed("gc", "--where", "list_contains(tags, 'small')", "--yes").stderr
    assert "removed 0 points" in typed("gc", "--old-attempts").stderr
    assert "of 2 runs" in typed("gc", "--thin", 10).stderr
    saved = lake_path.with_name(f"{lake_path.name}.checkpoints")
    saved.mkdir()
    (saved / "somerun.pt").write_bytes(b"x" * 10)
    assert "would remove 1 checkpoint of 1 run, 10 B" in typed("gc", "--checkpoints", "--dry-run").stderr
    assert "removed 1 checkpoint of 1 run, 10 B" in typed("gc", "--checkpoints").stderr and not list(saved.iterdir())
    assert "before" in typed("compact").stderr
    assert typed("snapshot", tmp_path / "copy.duckdb").exit_code == 0
    assert "tables" in typed("copy", lake_path, tmp_path / "other.duckdb").stderr
    assert "has schema" in typed("migrate").stderr
    assert "committed 0 batches" in typed("ingest").stderr
    with Lakehouse(tmp_path / "other.duckdb") as lake:
        assert lake.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 2}]


def data(*words: object) -> list[dict[str, Any]]:
    done = typed(*words, "--json")
    assert done.exit_code == 0, done.output
    return list(json.loads(done.stdout))


def test_every_command_answers_as_data_when_asked(lake_path: Path, tmp_path: Path) -> None:
    assert data("info")[0]["points"] == 300
    assert data("check") == []
    assert data("ingest") == [{"batches": 0, "points": 0, "repeated": 0, "set_aside": []}]
    assert data("tag", "width = 1", "--add", "small") == [{"runs": 1}]
    rest = {"in_training": 0, "dry_run": True}
    assert data("gc", "--where", "width = 1", "-n") == [{"what": "runs", "runs": 1, "points": 100, **rest}]
    thinned = data("gc", "--thin", 10, "--old-attempts", "-n")
    assert [(row["what"], row["runs"]) for row in thinned] == [
        ("points of replaced attempts", 0),
        ("points between", 3),
    ]
    assert data("compact")[0]["bytes"] == lake_path.stat().st_size
    assert data("snapshot", tmp_path / "copy.duckdb")[0]["snapshot"] == str(tmp_path / "copy.duckdb")
    assert data("copy", lake_path, tmp_path / "other.duckdb")[0]["rows"] > 300
    assert data("migrate")[0]["schema_version"] == SCHEMA_VERSION


def test_what_cannot_be_done_is_said(lake_path: Path, tmp_path: Path) -> None:
    assert isinstance(typed("gc").exception, UsageError)
    assert isinstance(typed("tag", "true").exception, UsageError)
    assert isinstance(typed("snapshot", lake_path).exception, StoreError)
    assert isinstance(typed("copy", lake_path, "postgresql://ann:word@db/runs?data=/x").exception, UsageError)


def test_a_lake_with_a_stray_file_is_not_whole(lake_path: Path) -> None:
    spool = lake_path.with_name("runs.duckdb.spool")
    spool.mkdir(exist_ok=True)
    (spool / "stray.parquet").write_text("no batch")
    done = typed("check", "--format", "csv")
    assert done.exit_code == 1 and "file is not a batch" in done.stdout


def test_a_lake_that_is_not_there_is_not_made_by_looking_after_it(tmp_path: Path) -> None:
    path = tmp_path / "typo.duckdb"
    for words in (["check"], ["info"], ["compact"], ["migrate"], ["snapshot", tmp_path / "to.duckdb"], ["ingest"]):
        error = typed(*words, "--lake", path).exception
        assert isinstance(error, StoreError) and f"there is no lake at {path}" in str(error)
    assert isinstance(typed("copy", path, tmp_path / "to.duckdb").exception, StoreError)
    assert not list(tmp_path.iterdir())
    with Spool(tmp_path / "typo.duckdb.spool", "a", 1) as spool:
        spool.log(1, loss=1.0)
    error = typed("check", "--lake", path).exception
    assert isinstance(error, StoreError) and "1 batch for it in its spool" in str(error) and "ingest" in str(error)
    assert typed("ingest", "--lake", path).exit_code == 0 and path.exists()


def test_an_empty_lake_and_an_empty_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path):
        pass
    done = typed("check", "--lake", path)
    assert done.exit_code == 0 and "and no run yet" in done.stderr
    path.write_bytes(b"")
    error = typed("check", "--lake", path).exception
    assert isinstance(error, StoreError) and "is empty, 0 bytes" in str(error)


@pytest.mark.slow
def test_a_lake_that_another_program_holds_is_named_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    program = f"import sys, duckdb\ncon = duckdb.connect({str(path)!r})\nprint('held', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        error = typed("check", "--lake", path).exception
        holder.communicate("", timeout=240)
    assert isinstance(error, StoreError) and f"held by process {holder.pid}" in str(error)


def test_a_command_that_only_reads_makes_no_lake_of_a_misspelled_name(lake_path: Path) -> None:
    path = lake_path.with_name("rums.duckdb")
    for words in (
        ["runs"],
        ["status"],
        ["laws"],
        ["logs", "abc"],
        ["plot", "chin"],
        ["export", "runs", "--to", "out.csv"],
    ):
        error = CliRunner().invoke(app, [*words, "--lake", str(path)]).exception
        assert isinstance(error, StoreError) and f"there is no lake at {path}" in str(error)
        assert "did you mean 'runs.duckdb'" in str(error)
    assert not path.exists()


def test_runs_are_listed_with_the_settings_that_tell_them_apart(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path) as lake:
        for width in (64, 128):
            with lake.run("net", {"width": width, "activation": "relu"}) as run:
                run.log(step=7, loss=1.0)
    columns = json.loads(CliRunner().invoke(app, ["runs", "--json", "--lake", str(path)]).stdout)[0]
    assert "width" in columns and columns["last_step"] == 7 and "activation" not in columns
