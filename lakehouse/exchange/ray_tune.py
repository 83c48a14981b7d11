"""Import Ray Tune results: each trial folder with a `result.json` or `progress.csv` is a run.

`result.json` has every report; `progress.csv` only the metrics of the first one, so it is the second
choice. Settings come from `params.json`, how a trial ended from the experiment's state file.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isoflop.lakehouse.exchange.guarded import LONGEST_LINE, json_of, number_of, step_of
from isoflop.lakehouse.exchange.landing import FoundRun, Landing, utc
from isoflop.lakehouse.exchange.naming import flat, record_of, setting
from isoflop.lakehouse.exchange.origin import Origin, claim_of, older_claims, real_path
from isoflop.lakehouse.exchange.points import PointColumns

NAME = "ray-tune"
RESULTS = ("result.json", "progress.csv")
STEP, SECONDS = "training_iteration", "time_total_s"
STATUSES = {"PENDING": "queued", "RUNNING": "running", "PAUSED": "running", "TERMINATED": "finished", "ERROR": "failed"}
# What Tune adds to every report.
OWN = frozenset((
    STEP, SECONDS, "config", "timestamp", "checkpoint_dir_name", "done", "trial_id", "date", "time_this_iter_s", "pid",
    "hostname", "node_ip", "time_since_restore", "iterations_since_restore", "timesteps_total", "episodes_total",
    "timesteps_since_restore", "experiment_id", "experiment_tag", "should_checkpoint", "warmup_time",
))  # fmt: skip


def finds(path: Path, files: list[Path]) -> bool:
    """Return whether there is a trial folder: results beside a params.json, or results that Tune numbered."""
    if path.is_file():
        return path.name in RESULTS and _is_trial(path.parent)
    return any(file.name in RESULTS and _is_trial(file.parent) for file in files)


def _is_trial(folder: Path) -> bool:
    if (folder / "params.json").is_file():
        return True
    file = folder / RESULTS[0]
    if not file.is_file():
        return False
    with open(file, encoding="utf-8") as opened:
        return f'"{STEP}"' in opened.readline(LONGEST_LINE)


def read(path: Path) -> Landing:
    """Return the trials below a folder, or the one that a result file belongs to."""
    root = path.parent if path.is_file() else path
    trials = {_real_folder(folder): folder for folder in reversed(_trial_folders(root))}
    columns, runs, notes = PointColumns(), [], list[str]()
    states = {real.parent: _states(real.parent) for real in trials}
    for real, folder in sorted(trials.items()):
        origin = _origin(real, folder)
        runs.append(_run(real, origin, states[real.parent], columns, notes))
    return Landing(tuple(runs), columns.points(), tuple(notes))


def _trial_folders(root: Path) -> list[Path]:
    return sorted({file.parent for name in RESULTS for file in root.rglob(name) if _is_trial(file.parent)})


def _real_folder(folder: Path) -> Path:
    """Return the folder that a trial's results really lie in, links followed."""
    results = next(folder / name for name in RESULTS if (folder / name).is_file())
    return real_path(results).parent


def _origin(real: Path, folder: Path) -> Origin:
    claim = claim_of(NAME, real.name)
    return Origin(place=str(real), claim=claim, older=older_claims(claim, [claim_of(NAME, folder.name)]))


def _states(experiment: Path) -> dict[str, str]:
    """Return trial id -> status of an experiment's newest state file."""
    found: dict[str, str] = {}
    states = [file for file in sorted(experiment.glob("experiment_state-*.json")) if file.is_file()]
    for file in states[-1:]:
        try:
            for trial, *_ in json_of(file.read_text())["trial_data"]:
                about = json_of(trial) if isinstance(trial, str) else trial
                found[str(about["trial_id"])] = str(about["status"])
        except (ValueError, KeyError, TypeError):
            continue  # another version's layout; the trials say whether they were done
    return found


def _run(folder: Path, origin: Origin, states: Mapping[str, str], columns: PointColumns, notes: list[str]) -> FoundRun:
    curves: dict[str, tuple[list[int], list[float], list[float]]] = {}
    last: Mapping[str, Any] = {}
    first: Mapping[str, Any] = {}
    for report in _reports(folder, notes):
        first, last = first or report, report
        step, seconds = step_of(report.get(STEP) or 0), number_of(report.get(SECONDS))
        if step is None:
            notes.append(f"{folder.name}: '{STEP}' is {str(report.get(STEP))[:40]!r}, no step; that report is left out")
            continue
        for name, value in report.items():
            if name in OWN or name.startswith(("config/", "perf/")) or (number := number_of(value)) is None:
                continue
            curve = curves.setdefault(name, ([], [], []))
            curve[0].append(step)
            curve[1].append(number)
            curve[2].append(seconds or math.nan)
    for name, (steps, values, at) in curves.items():
        columns.add(origin.key, name, steps, values, at)
    trial = str(last.get("trial_id") or folder.name)
    state = states.get(trial, "ERROR" if (folder / "error.txt").is_file() else "TERMINATED")
    status = STATUSES.get(state, "finished")
    began: Any = first.get("timestamp")
    ended, total = last.get("timestamp"), number_of(last.get(SECONDS))
    return FoundRun(
        record=record_of(origin.key, _params(folder), family=folder.parent.name, name=trial),
        measured={"train_seconds": total, "host": last.get("hostname")},
        status=status,
        reason="crash" if status == "failed" else None,
        error=_last_line(folder / "error.txt"),
        started_at=utc(began - (number_of(first.get(SECONDS)) or 0)) if _is_number(began) else None,
        finished_at=utc(ended) if _is_number(ended) and status not in ("running", "queued") else None,
        origin=origin,
    )


def _reports(folder: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the reports of a trial, nested metrics joined by slashes."""
    file = folder / RESULTS[0]
    if file.is_file() and file.stat().st_size:
        with open(file, encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    report = json_of(line)
                except ValueError as error:
                    why = "nested too deep" if "nested" in str(error) else "cut off"
                    notes.append(f"{folder.name}: line {number} of {file.name} is {why}; left out")
                    continue
                if isinstance(report, dict):
                    report.pop("config", None)
                    yield flat(report, "/")
        return
    file = folder / RESULTS[1]
    if file.is_file():
        with open(file, encoding="utf-8", newline="") as lines:
            try:
                for row in csv.DictReader(lines):
                    yield {name: setting(cell) for name, cell in row.items() if name is not None and cell is not None}
            except csv.Error as error:
                notes.append(f"{folder.name}: {file.name} is read up to where it is no table: {error}")


def _params(folder: Path) -> dict[str, Any]:
    if not (folder / "params.json").is_file():
        return {}
    try:
        told = json_of((folder / "params.json").read_text())
    except (OSError, ValueError):
        return {}
    return flat(told, "/") if isinstance(told, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _last_line(path: Path) -> str | None:
    if not path.is_file():
        return None
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else None
