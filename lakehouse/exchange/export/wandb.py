"""Write runs as Weights & Biases keeps them for reading: settings, summary and history, a folder each.

`run-ID/config.yaml` and `wandb-summary.json` are as in a run's `files` folder, `history.jsonl` has a row a
step as `run.scan_history()` gives it, `wandb-metadata.json` says who the run is. A script of three lines
logs them again: `wandb.init(id=…, config=…)`, then `run.log(row, step=row["_step"])`.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isoflop.lakehouse.exchange.export.runs import ExportedRun

NAME = "wandb"
EXIT_CODES = {"finished": 0, "failed": 1}


def write(runs: Iterable[ExportedRun], folder: Path) -> int:
    """Write a folder for each run into `folder`, replacing those of the same runs, and return how many."""
    import yaml

    count = 0
    for run in runs:
        path = folder / f"run-{run.run_id}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        settings = {key: {"value": value} for key, value in run.settings.items()}
        (path / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        (path / "wandb-metadata.json").write_text(json.dumps(_about(run), indent=2) + "\n")
        (path / "wandb-summary.json").write_text(json.dumps(_summary(run), indent=2) + "\n")
        with open(path / "history.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in _history(run))
        count += 1
    return count


def _about(run: ExportedRun) -> dict[str, Any]:
    row, started = run.row, run.row["started_at"]
    return {
        "run_id": run.run_id,
        "name": row["name"],
        "project": row["family"],
        "tags": list(row["tags"] or ()),
        "state": row["status"],
        "reason": row["reason"],
        "exit_code": EXIT_CODES.get(row["status"]),
        "host": row["host"] or "",
        "startedAt": None if started is None else started.isoformat() + "Z",
        "source": row["source"],
    }


def _summary(run: ExportedRun) -> dict[str, float]:
    """Return the last value of each metric and what the run measured."""
    lasts = {metric: float(curve.values[-1]) for metric, curve in run.curves.items() if len(curve.values)}
    return {**lasts, **run.measured}


def _history(run: ExportedRun) -> Iterator[dict[str, Any]]:
    """Yield a row a step; a metric that was logged twice at a step takes a second row."""
    cursors = {metric: 0 for metric in run.curves}
    steps = np.unique(np.concatenate([curve.steps for curve in run.curves.values()])) if run.curves else ()
    columns = {
        metric: (curve.steps.tolist(), curve.values.tolist(), curve.seconds.tolist())
        for metric, curve in run.curves.items()
    }
    started = run.started
    for step in map(int, steps):
        while True:
            row: dict[str, Any] = {}
            seconds = math.nan
            for metric, (at, values, times) in columns.items():
                place = cursors[metric]
                if place < len(at) and at[place] == step:
                    row[metric] = values[place]
                    seconds = times[place] if math.isnan(seconds) else seconds
                    cursors[metric] += 1
            if not row:
                break
            row["_step"] = step
            if not math.isnan(seconds):
                row["_runtime"] = seconds
                if started is not None:
                    row["_timestamp"] = started + seconds
            yield row
