"""Write runs as an MLflow file store, which `mlflow ui` shows and `mlflow migrate-filestore` turns into SQLite.

    MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri FOLDER

A family is an experiment, settings and counts are params, tags `key=value` are tags. Writing the same
runs again replaces their files and adds nothing.

Source: mlflow/store/tracking/file_store.py of MLflow 3.17 (layout and meta.yaml of store, experiment and run).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isoflop.lakehouse.exchange.export.runs import Curve, ExportedRun, seconds_since_1970

NAME = "mlflow"
STATUSES = {"queued": 2, "running": 1, "finished": 3, "failed": 4, "lost": 5}  # RunStatus of service.proto
NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")
LONGEST_PARAM = 6000  # characters, MAX_PARAM_VAL_LENGTH


def write(runs: Iterable[ExportedRun], folder: Path) -> int:
    """Write runs into a file store at `folder` and return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    experiments = {str(_told(path).get("name")): path.parent for path in sorted(folder.glob("*/meta.yaml"))}
    count = 0
    for run in runs:
        family = str(run.row["family"])
        if family not in experiments:
            experiments[family] = _new_experiment(folder, family)
        _write_run(run, experiments[family])
        count += 1
    return count


def _new_experiment(folder: Path, name: str) -> Path:
    """Make an experiment; its id follows from its name, as MLflow wants it a number of eighteen digits."""
    number = str(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 9 * 10**17 + 10**17)
    path = folder / number
    path.mkdir()
    _write_meta(
        path,
        {
            "artifact_location": path.resolve().as_uri(),
            "experiment_id": number,
            "lifecycle_stage": "active",
            "name": name,
        },
    )
    return path


def _write_run(run: ExportedRun, experiment: Path) -> None:
    path = experiment / run.run_id
    shutil.rmtree(path, ignore_errors=True)
    for part in ("metrics", "params", "tags", "artifacts"):
        (path / part).mkdir(parents=True)
    started = run.started or seconds_since_1970(run.row["submitted_at"]) or 0.0
    name = str(run.row["name"] or run.run_id)
    _write_meta(
        path,
        {
            "artifact_uri": (path / "artifacts").resolve().as_uri(),
            "end_time": _milliseconds(seconds_since_1970(run.row["finished_at"])),
            "entry_point_name": "",
            "experiment_id": experiment.name,
            "lifecycle_stage": "active",
            "run_id": run.run_id,
            "run_name": name,
            "source_name": "isoflop",
            "source_type": 4,
            "source_version": "",
            "start_time": _milliseconds(started),
            "status": STATUSES[run.row["status"]],
            "tags": [],
            "user_id": "isoflop",
        },
    )
    for key, value in run.settings.items():
        _write(path / "params", key, _param(value))
    for key, value in _tags(run, name).items():
        _write(path / "tags", key, value)
    for metric, curve in run.curves.items():
        _write(path / "metrics", metric, _lines(curve, started))
    ends = {key: value for key, value in run.measured.items() if key not in run.curves}
    for metric, value in ends.items():
        step = int(run.row["steps"] or run.row["last_step"] or 0)
        end = np.array([run.measured.get("train_seconds", 0.0)])
        _write(path / "metrics", metric, _lines(Curve(np.array([step]), np.array([value]), end), started))


def _tags(run: ExportedRun, name: str) -> dict[str, str]:
    tags = {
        "mlflow.runName": name,
        "isoflop.source": str(run.row["source"]),
        "isoflop.status": str(run.row["status"]),
    }
    if run.row.get("code_version"):
        tags["mlflow.source.git.commit"] = str(run.row["code_version"])
    if run.row.get("reason"):
        tags["isoflop.reason"] = str(run.row["reason"])
    for tag in run.row["tags"] or ():
        key, equals, value = tag.partition("=")
        tags[key] = value if equals else "true"
    return tags


def _param(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value) if isinstance(value, dict | list) else str(value)
    return text[:LONGEST_PARAM]


def _lines(curve: Curve, started: float) -> str:
    """Return a metric file: time [ms], value and step of each point; a point without a time has the run's start."""
    times = np.round((started + np.nan_to_num(curve.seconds)) * 1000).astype(np.int64)
    rows = zip(times.tolist(), curve.values.tolist(), curve.steps.tolist(), strict=True)
    return "".join(f"{time} {value!r} {step}\n" for time, value, step in rows)


def _write(folder: Path, key: str, text: str) -> None:
    """Write a param, tag or metric; MLflow refuses other characters in names, and paths that climb."""
    name = "/".join(part for part in NOT_IN_NAMES.sub("_", key).split("/") if part.strip(".")) or "_"
    path = folder / name
    if path.is_dir():  # 'eval' beside 'eval/loss': a file store cannot hold both
        path = folder / f"{name}_"
    for above in path.relative_to(folder).parents:
        if (folder / above).is_file():
            path = folder / name.replace("/", "_")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None or not math.isfinite(seconds) else round(seconds * 1000)


def _write_meta(path: Path, about: Mapping[str, Any]) -> None:
    import yaml

    (path / "meta.yaml").write_text(yaml.safe_dump(dict(about)))


def _told(path: Path) -> dict[str, Any]:
    import yaml

    told = yaml.safe_load(path.read_text())
    return told if isinstance(told, dict) else {}
