"""A person's mistake gets one clear error, the right exit code, and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def isoflop(*arguments: str, folder: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "isoflop", *arguments]
    return subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, timeout=300)


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and not done.stdout
    for word in words:
        assert word in done.stderr


@pytest.fixture
def folder(tmp_path: Path, chinchilla_csv: Path) -> Path:
    """A folder with a lake in it."""
    done = isoflop("import", str(chinchilla_csv), folder=tmp_path)
    assert done.returncode == 0 and "245 added" in done.stderr
    return tmp_path


def test_a_malformed_statement_points_at_the_token(folder: Path) -> None:
    refused(
        isoflop("sql", "FIT loss chinchilla(params, tokens) FROM runs", folder=folder), 1, "Parser Error", "LINE 1", "^"
    )
    refused(isoflop("sql", "SELEC 1", folder=folder), 1, "Parser Error", "LINE 1: SELEC 1", "^")


@pytest.mark.slow
def test_a_missing_column_and_an_unknown_law_are_named(folder: Path) -> None:
    refused(isoflop("sql", "FIT los ~ chinchilla(params, tokens) FROM runs", folder=folder), 1, "los", "^")
    refused(
        isoflop("sql", "FIT loss ~ chinchila(params, tokens) FROM runs", folder=folder), 1, "chinchilla", "^^^^^^^^^"
    )
    refused(isoflop("sql", "EXTRAPOLATE nothing TO params = 1", folder=folder), 1, "nothing", "does not exist")


def test_a_table_with_text_in_loss_is_refused_whole(folder: Path) -> None:
    (folder / "bad.csv").write_text("params,tokens,loss\n1e6,2e7,3.1\n1e6,2e7,nan\n1e6,2e7,high\n")
    refused(isoflop("import", "bad.csv", folder=folder), 1, "1 of 3", "row 3", "'high'", "--skip-bad-rows")
    done = isoflop("sql", "SELECT count(*) AS n FROM runs WHERE source = 'import:bad'", "--json", folder=folder)
    assert json.loads(done.stdout) == [{"n": 0}]


def test_a_typo_in_a_sweep_file_names_file_and_line(folder: Path) -> None:
    (folder / "sweep.yaml").write_text(
        "name: s\nfamily: transformer\ngird: {width: [8]}\nderive: {depth: 1, tokens: 1e4}\n"
    )
    refused(isoflop("sweep", "sweep.yaml", folder=folder), 2, "sweep.yaml:3", "gird", "grid")
    (folder / "sweep.yaml").write_text(
        "name: s\nfamily: transformer\ngrid: {width: [64]}\nderive: {depth: 1, heads: 3, tokens: 1e4}\n"
    )
    refused(isoflop("sweep", "sweep.yaml", folder=folder), 2, "sweep.yaml:4", "'heads' is 3", "1, 2, 4")
    refused(isoflop("sweep", "none.yaml", folder=folder), 2, "none.yaml")


@pytest.mark.slow
def test_a_locked_file_names_its_holder(folder: Path) -> None:
    program = "import duckdb, time; con = duckdb.connect('isoflop.duckdb'); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=folder, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline().strip() == "held"
        refused(isoflop("runs", folder=folder), 3, f"process {holder.pid}", "isoflop.duckdb")
        holder.kill()


def test_a_corrupt_store_is_said_to_be_one(folder: Path) -> None:
    (folder / "junk.duckdb").write_bytes(b"not a database" * 500)
    refused(isoflop("runs", "--lake", "junk.duckdb", folder=folder), 3, "junk.duckdb is not a DuckDB database")


@pytest.mark.slow
def test_usage_errors_exit_with_two(folder: Path) -> None:
    refused(isoflop("runs", "--nope", folder=folder), 2, "--nope")
    refused(isoflop("runs", "--format", "jsno", folder=folder), 2, "did you mean 'json'?")
    refused(isoflop("import", "runs.csv", "--map", "params", folder=folder), 2, "OURS=THEIRS")
    refused(isoflop("runs", "--lake", ".", folder=folder), 2, "is a folder")


@pytest.mark.slow
def test_every_format_carries_the_same_answer(folder: Path) -> None:
    import io

    import pyarrow as pa

    statement = "SELECT run_id, loss, outlier FROM runs ORDER BY loss LIMIT 2"
    rows = json.loads(isoflop("sql", statement, "--json", folder=folder).stdout)
    csv = isoflop("sql", statement, "--format", "csv", folder=folder).stdout.splitlines()
    assert csv[0] == "run_id,loss,outlier" and float(csv[1].split(",")[1]) == rows[0]["loss"]
    markdown = isoflop("sql", statement, "--format", "markdown", folder=folder).stdout.splitlines()
    assert markdown[0] == "| run_id | loss | outlier |" and len(markdown) == 4
    command = [sys.executable, "-m", "isoflop", "sql", statement, "--format", "arrow"]
    raw = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    assert pa.ipc.open_stream(io.BytesIO(raw)).read_all().to_pylist() == rows


def test_a_reader_that_stops_early_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m isoflop runs --limit 0 --format csv | head -1"
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.stdout.startswith("run_id") and "Traceback" not in done.stderr
