"""Import results of the LM Evaluation Harness: a `results_*.json` is a run of scores, a metric a task and score.

The model and the settings of the evaluation become columns. Layout: lm-eval 0.4, keys results, config, model_name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange.guarded import json_file, number_of
from isoflop.lakehouse.exchange.landing import FoundRun, Landing, utc
from isoflop.lakehouse.exchange.naming import record_of
from isoflop.lakehouse.exchange.origin import Origin, claim_of, real_path
from isoflop.lakehouse.exchange.points import PointColumns

NAME = "lm-eval"
HEAD = 2**16  # bytes in which a file shows what it is
MARKS = (b'"results"', b'"alias"')


def finds(path: Path, files: list[Path]) -> bool:
    """Return whether there are results of an evaluation."""
    return any(
        _is_result(file) for file in files if file.suffix == ".json" and (file == path or "results" in file.name)
    )


def _is_result(file: Path) -> bool:
    try:
        with open(file, "rb") as opened:
            head = opened.read(HEAD)
    except OSError:
        return False
    return all(mark in head for mark in MARKS) or (b'"results"' in head and b"acc,none" in head)


def read(path: Path) -> Landing:
    """Return a run for each result file below a folder.

    Raises
    ------
    FileError : if a file holds no results
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*.json") if _is_result(file))
    columns = PointColumns()
    return Landing(tuple(_run(file, columns) for file in files), columns.points())


def _run(file: Path, columns: PointColumns) -> FoundRun:
    told = json_file(file)
    results = told.get("results")
    if not isinstance(results, dict):
        raise FileError(file, None, "holds no results of an evaluation")
    given = told.get("config")
    config: dict[str, Any] = given if isinstance(given, dict) else {}
    model = str(told.get("model_name") or config.get("model_args") or file.parent.name)
    origin = Origin(place=str(real_path(file)), claim=claim_of(NAME, model, file.stem))
    scores = _scores(results)
    for metric, value in scores.items():
        columns.add(origin.key, metric, [0], [value])
    settings: dict[str, Any] = {
        key: value
        for key, value in config.items()
        if isinstance(value, bool | int | float | str) and key != "model_args"
    }
    settings |= _arguments(config.get("model_args")) | {"model": model}
    params = number_of(config.get("model_num_parameters"))
    settings |= {"params": params} if params and params > 0 else {}
    settings |= {metric.replace("/", "_"): value for metric, value in scores.items()}
    date = number_of(told.get("date"))
    return FoundRun(
        record=record_of(origin.key, settings, family=NAME, name=model.rpartition("/")[2] or model),
        started_at=utc(file.stat().st_mtime if date is None else date),
        origin=origin,
    )


def _scores(results: Mapping[str, Any]) -> dict[str, float]:
    """Return `task/score` -> value; the filter is named where it is not the usual one."""
    found = {}
    for task, scores in results.items():
        for name, value in scores.items() if isinstance(scores, dict) else ():
            number = number_of(value)
            score, _, chosen = name.partition(",")
            if number is not None:
                found[f"{task}/{score}" + (f"/{chosen}" if chosen not in ("", "none") else "")] = number
    return found


def _arguments(text: Any) -> dict[str, str]:
    """Return the settings in `pretrained=gpt2,dtype=float16`."""
    if not isinstance(text, str):
        return {}
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip()}
