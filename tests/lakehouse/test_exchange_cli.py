"""`isoflop import` and `isoflop export` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from isoflop.cli.export import export
from isoflop.cli.import_ import import_
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError, UsageError
from tests.lakehouse.exchange_stores import STORES

app = typer.Typer()
app.command("import")(import_)
app.command("export")(export)


@pytest.fixture
def lake_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISOFLOP_LAKE", str(tmp_path / "x.duckdb"))
    return tmp_path / "x.duckdb"


def typed(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_store_comes_in_and_its_curves_go_out(lake_path: Path, tmp_path: Path) -> None:
    first = typed("import", STORES / "mlruns")
    assert first.exit_code == 0 and first.stdout == ""
    assert "mlruns: mlflow, 4 runs, 14 curve points: 4 added, 0 changed, 0 known already" in first.stderr
    assert "0 added, 0 changed, 4 known already" in typed("import", STORES / "mlruns").stderr
    out = typed("export", "curves", "--to", tmp_path / "curves.parquet")
    assert out.exit_code == 0 and "12 rows of" in out.stderr and out.stdout == ""
    table = pq.read_table(tmp_path / "curves.parquet")
    assert table.num_rows == 12 and {"step", "tokens", "flops", "seconds", "loss"} <= set(table.column_names)


def test_a_statement_goes_into_a_file(lake_path: Path, tmp_path: Path) -> None:
    typed("import", STORES / "mlruns")
    typed("export", "SELECT name, width FROM runs WHERE width > 64 ORDER BY width", "--to", tmp_path / "wide.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "wide.jsonl").read_text().splitlines()]
    assert lines == [{"name": "half way", "width": 128}, {"name": "killed", "width": 256}]


def test_chosen_runs_go_out_for_a_tracker(lake_path: Path, tmp_path: Path) -> None:
    typed("import", STORES / "mlruns")
    done = typed("export", "SELECT run_id FROM runs WHERE name = 'smooth'", "--as", "wandb", "--to", tmp_path / "out")
    assert done.exit_code == 0 and len(list((tmp_path / "out").iterdir())) == 1
    refused = typed("export", "SELECT name FROM runs", "--as", "wandb", "--to", tmp_path / "out")
    assert isinstance(refused.exception, UsageError) and "no column run_id" in str(refused.exception)


def test_mapping_and_format_can_be_given(lake_path: Path) -> None:
    done = typed(
        "import", STORES / "tensorboard", "--as", "tensorboard", "--family", "tb", "--source", "mine",
        "--map", "loss=val/loss,tokens=step * 4096", "--map", "params=1e6",
    )  # fmt: skip
    assert done.exit_code == 0 and "source 'import:mine'" in done.stderr
    with Lakehouse(lake_path) as lake:
        (row,) = lake.query("SELECT family, params, tokens FROM runs WHERE name = 'torch'").to_pylist()
    assert row == {"family": "tb", "params": 1e6, "tokens": 70_000 * 4096}


def test_a_path_that_is_not_there_makes_no_lake(lake_path: Path, tmp_path: Path) -> None:
    refused = typed("import", tmp_path / "none")
    assert isinstance(refused.exception, FileError) and not lake_path.exists()


def test_the_published_runs_still_come_by_name(lake_path: Path) -> None:
    assert "245 rows, 245 runs: 245 added" in typed("import", "published:chinchilla_epoch").stderr
