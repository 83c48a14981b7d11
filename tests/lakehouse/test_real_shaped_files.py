"""Files as the field writes them: each imports with one command, or with the one that the first one prints."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shaped_files as files
import shaped_tables as tables
from shaped_files import BATCH, SIZES, at, loss
from typer.testing import CliRunner

from isoflop.cli.main import app
from isoflop.lakehouse import Lakehouse

SMALL = SIZES["14M"]
LAST = at(1000, SMALL)  # of the smallest model's curve, nats per token
ENDS = loss(SMALL, 2e10)
# What makes the file, runs, points, a column of the smallest model (the first by params, then name) and its value.
Case = tuple[Callable[[Path], Path], int, int, dict[str, Any]]
CASES: dict[str, Case] = {
    "trainer state": (
        files.trainer_state, 1, 47, {"loss": round(at(1000), 4), "tokens": 1000 * BATCH, "flops": 3.9e17},
    ),
    "evaluation harness": (files.evaluation_harness, 4, 16, {"params": SMALL}),
    "W&B runs": (files.wandb_runs_csv, 4, 0, {"loss": ENDS, "params": SMALL, "tokens": 2e10, "name": "pythia-14M"}),
    "W&B chart": (files.wandb_chart_csv, 4, 40, {"loss": LAST, "steps": 1000, "name": "pythia-14M"}),
    "W&B history": (files.wandb_history, 1, 32, {"loss": at(1000), "tokens": 1000 * BATCH, "train_seconds": 500.0}),
    "MLflow": (files.mlflow_folder, 4, 40, {"loss": LAST, "params": SMALL}),
    "Neptune": (files.neptune_export, 4, 40, {"loss": LAST, "params": SMALL}),
    "TensorBoard": (files.tensorboard_events, 4, 40, {"loss": LAST, "steps": 1000, "name": "pythia-14M"}),
    "Lightning": (files.lightning_logs, 4, 44, {"loss": LAST, "validation_loss": LAST + 0.02, "params": SMALL}),
    "Optuna": (files.optuna_trials, 4, 0, {"loss": loss(SMALL, 2e9), "params": SMALL, "status": "finished"}),
    "Ray Tune": (files.tune_results, 4, 40, {"loss": LAST, "params": SMALL, "steps": 10}),
    "Ray Tune's progress": (files.tune_progress, 1, 20, {"loss": at(1000), "params": SIZES["70M"], "steps": 10}),
    "Excel": (files.spreadsheet, 4, 0, {"loss": loss(SMALL, 3e11), "params": 14e6, "tokens": 300e9}),
    "gzip": (files.compressed, 4, 0, {"loss": ENDS, "params": SMALL, "flops": 6 * SMALL * 2e10}),
    "zst": (files.zstandard, 4, 0, {"loss": ENDS, "params": SMALL}),
    "feather": (files.arrow, 4, 0, {"loss": ENDS, "tokens": 2e10}),
    "Pythia": (tables.pythia, 4, 0, {"loss": round(loss(SMALL, 3e11), 5), "params": 14e6, "tokens": 300e9}),
    "semicolons": (tables.semicolons, 4, 0, {"loss": round(ENDS, 4), "params": SMALL, "tokens": 2e10}),
    "tabs": (tables.tabs, 4, 0, {"validation_loss": ENDS, "params": SMALL, "name": "14M"}),
    "nested JSON": (tables.nested_json, 4, 40, {"loss": LAST, "params": SMALL, "steps": 1000}),
    "JSON lines": (
        tables.json_lines, 1, 22, {"loss": at(1000), "validation_loss": at(1000) + 0.02, "tokens": 1000 * BATCH},
    ),
    "nanoGPT's log": (tables.nanogpt_log, 1, 10, {"loss": round(at(1000), 4), "steps": 1000}),
    "llm.c's log": (tables.llmc_log, 1, 12, {"loss": at(1000), "validation_loss": at(1000) + 0.02, "steps": 1000}),
    "OLMo": (tables.olmo, 4, 80, {"loss": LAST, "tokens": 1000 * BATCH, "name": "OLMo-14M"}),
    "a figure's points": (
        tables.extracted_figure, 4, 0, {"loss": round(ENDS, 6), "params": SMALL, "flops": 6 * SMALL * 2e10},
    ),
    "notable models": (tables.notable_models, 4, 0, {"params": SMALL, "flops": float(f'{6 * SMALL * 3e11:.3e}')}),
    "perplexity": (tables.perplexities, 4, 0, {"loss": ENDS, "params": 14e6}),
    "bits per byte": (tables.bits_per_byte, 4, 0, {"loss": ENDS / 4.4, "params": SMALL}),  # nats per byte: as mapped
    "letters": (tables.letters, 4, 0, {"loss": ENDS, "params": SMALL, "tokens": 2e10, "flops": 6 * SMALL * 2e10}),
    "thousands": (tables.thousands, 4, 0, {"loss": round(ENDS, 5), "params": SMALL, "tokens": 2e10}),
    "statuses": (tables.crashed, 4, 0, {"loss": 3.1, "status": "finished", "name": "14M"}),
    "identical rows": (tables.twice, 4, 0, {"loss": ENDS, "params": SMALL}),
    "a folder a run": (tables.file_a_run, 4, 40, {"loss": LAST, "params": SMALL, "steps": 1000}),
}  # fmt: skip
PUBLISHED_WITHOUT_LOSS = ("evaluation harness", "notable models")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lake") / "runs.duckdb"


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_the_field_comes_in_with_the_first_or_the_printed_command(
    name: str, lake: Path, tmp_path: Path
) -> None:
    make, runs, points, expected = CASES[name]
    words = [str(make(tmp_path))]
    for _ in range(2):
        done = CliRunner().invoke(app, ["import", *words, "--lake", str(lake)])
        printed = re.search(r"isoflop import (.*)", f"{done.stderr}\n{done.exception}")
        if printed is None:
            break
        words = shlex.split(printed[1])
    assert done.exit_code == 0, done.exception
    with Lakehouse(lake) as opened:
        found = opened.query(
            "SELECT * FROM runs WHERE starts_with(results->>'origin', ?) ORDER BY params, name", [f"{tmp_path}/"]
        ).to_pylist()
        (counted,) = opened.query(
            "SELECT count(*) AS n FROM metrics JOIN runs USING (run_id, attempt) "
            "WHERE starts_with(results->>'origin', ?)", [f"{tmp_path}/"]
        ).to_pylist()  # fmt: skip
    assert (len(found), counted["n"]) == (runs, points)
    smallest = {key: found[0][key] for key in expected}
    assert smallest == {
        key: pytest.approx(value, rel=1e-6) if isinstance(value, float) else value for key, value in expected.items()
    }
    if name not in PUBLISHED_WITHOUT_LOSS:
        told = [row for row in found if row["loss"] is not None or row["validation_loss"] is not None]
        assert len(told) == runs - (name == "statuses")
        assert all(row["params"] or row["tokens"] or row["steps"] for row in told)


def test_a_crash_and_a_divergence_are_told_apart(tmp_path: Path) -> None:
    lake = tmp_path / "x.duckdb"
    assert CliRunner().invoke(app, ["import", str(tables.crashed(tmp_path)), "--lake", str(lake)]).exit_code == 0
    with Lakehouse(lake) as opened:
        rows = opened.query("SELECT status, reason, loss FROM runs ORDER BY params").to_pylist()
    assert [(row["status"], row["reason"]) for row in rows] == [
        ("finished", None), ("failed", "crash"), ("failed", "out_of_memory"), ("finished", None),
    ]  # fmt: skip
    assert rows[1]["loss"] is None and math.isnan(rows[2]["loss"])
