"""Import Hugging Face's `trainer_state.json`: the log of a Trainer is a run, its checkpoints are the same run.

`log_history` holds what was logged; entries of evaluations have names that begin with `eval_`, the last one has the
totals of the training. Layout: transformers.TrainerState, versions 4 and 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange.guarded import json_file, number_of, step_of
from isoflop.lakehouse.exchange.landing import FoundRun, Landing
from isoflop.lakehouse.exchange.naming import record_of
from isoflop.lakehouse.exchange.origin import Origin, claim_of, real_path
from isoflop.lakehouse.exchange.points import PointColumns

NAME = "huggingface"
FILE = "trainer_state.json"
CHECKPOINT = re.compile(r"checkpoint-(\d+)")
SETTINGS = ("max_steps", "num_train_epochs", "train_batch_size", "eval_steps", "logging_steps", "save_steps")
TOTALS = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos", "train_loss")
HEAD = 2**16  # bytes in which a file under another name shows what it is


def finds(path: Path, files: list[Path]) -> bool:
    """Return whether there is a trainer's state."""
    if path.is_file() and path.suffix == ".json" and path.name != FILE:
        with open(path, "rb") as opened:
            return b'"log_history"' in opened.read(HEAD)
    return any(file.name == FILE for file in files)


def read(path: Path) -> Landing:
    """Return a run for each output folder; of its checkpoints the last one knows everything.

    Raises
    ------
    FileError : if a file is no trainer's state
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob(FILE) if file.is_file())
    newest: dict[Path, tuple[int, Path]] = {}
    for file in files:
        folder = real_path(file).parent
        number = CHECKPOINT.fullmatch(folder.name)
        home = folder.parent if number else folder
        rank = int(number[1]) if number else 2**62  # the folder itself is written last
        if home not in newest or rank > newest[home][0]:
            newest[home] = rank, file
    columns = PointColumns()
    runs = tuple(_run(home, file, columns) for home, (_, file) in sorted(newest.items()))
    return Landing(runs, columns.points())


def _run(home: Path, file: Path, columns: PointColumns) -> FoundRun:
    state = json_file(file)
    history = state.get("log_history")
    if not isinstance(history, list):
        raise FileError(file, None, "has no log_history, so it is no state of a Trainer")
    name = home.name if file.name == FILE else file.stem
    claim = claim_of(NAME, name)
    origin = Origin(place=str(home if file.name == FILE else real_path(file)), claim=claim, is_named_by_place=True)
    entries = [entry for entry in history if isinstance(entry, dict)]
    totals = {key: value for entry in entries for key, value in entry.items() if key in TOTALS and "loss" not in entry}
    _add_curves(origin.key, entries, columns)
    settings = {key: state[key] for key in SETTINGS if state.get(key) is not None}
    seen = number_of(state.get("num_input_tokens_seen"))
    counts = {"tokens": seen if seen else None, "flops": number_of(state.get("total_flos")) or None}
    counts |= {"steps": step_of(state.get("global_step"))}
    record = record_of(
        origin.key, {**settings, **{key: value for key, value in counts.items() if value}}, family=NAME, name=name
    )
    step, most = step_of(state.get("global_step")), step_of(state.get("max_steps"))
    is_over = step is None or not most or step >= most or bool(totals)
    return FoundRun(
        record=record,
        measured={"train_seconds": number_of(totals.get("train_runtime"))},
        status="finished" if is_over else "lost",
        origin=origin,
    )


def _add_curves(run_id: str, entries: Sequence[Mapping[str, Any]], columns: PointColumns) -> None:
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for entry in entries:
        step = step_of(entry.get("step"))
        for metric, value in entry.items():
            number = number_of(value)
            if step is None or number is None or metric == "step" or (metric in TOTALS and "loss" not in entry):
                continue
            steps, values = curves.setdefault(metric, ([], []))
            steps.append(step)
            values.append(number)
    for metric, (steps, values) in curves.items():
        columns.add(run_id, metric, steps, values)
