"""What an attempt says beside its points, as rows: how it started and ended, its counts, its phases, its log."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.ingest.batches import Batch

if TYPE_CHECKING:
    import duckdb

ATTEMPT_FIELDS = {
    "status": "VARCHAR", "reason": "VARCHAR", "host": "VARCHAR", "device": "VARCHAR", "hardware": "VARCHAR",
    "code_version": "VARCHAR", "started_at": "TIMESTAMP", "finished_at": "TIMESTAMP", "resumed_step": "BIGINT",
    "loss": "DOUBLE", "validation_loss": "DOUBLE", "irreducible_loss": "DOUBLE", "corpus_hash": "VARCHAR",
    "step_seconds": "DOUBLE", "train_seconds": "DOUBLE", "compile_seconds": "DOUBLE", "peak_memory_bytes": "DOUBLE",
    "error": "VARCHAR", "traceback": "VARCHAR",
}  # fmt: skip
RUN_FIELDS = {
    "params": "DOUBLE", "params_non_embedding": "DOUBLE", "tokens": "DOUBLE", "steps": "BIGINT", "flops": "DOUBLE",
    "memcpy_bytes": "DOUBLE",
}  # fmt: skip
QUANTILES = ("p10", "p50", "p90", "total")
KEY = {"run_id": "VARCHAR", "attempt": "INTEGER"}
LOG_COLUMNS = {**KEY, "logged_at": "TIMESTAMP", "level": "VARCHAR", "message": "VARCHAR"}
TIMING_COLUMNS = {**KEY, "phase": "VARCHAR", "count": "BIGINT", **dict.fromkeys(QUANTILES, "DOUBLE")}


def apply_events(con: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> None:
    """Write the events of batches, in their order, into `attempts`, `logs` and `timings`, and counts into `runs`."""
    changes: dict[tuple[str, int], dict[str, Any]] = {}
    counts: dict[str, dict[str, Any]] = {}
    notes: list[tuple[Any, ...]] = []
    timings: list[tuple[Any, ...]] = []
    for batch in sorted(batches, key=_place):
        key = (batch.run_id, batch.attempt or 0)
        for event in batch.events:
            fields = {name: value for name, value in event.items() if name != "kind"}
            match event.get("kind"):
                case "note":
                    at = _time(fields.get("logged_at")) or batch.written_at
                    notes.append((*key, at, str(fields.get("level")), _text(fields.get("message"))))
                case "timing":
                    numbers = [_number(fields.get(name)) for name in QUANTILES]
                    timings.append((*key, str(fields.get("phase")), int(_number(fields.get("count")) or 0), *numbers))
                case "started" | "ended" as kind:
                    for name in RUN_FIELDS.keys() & fields.keys():
                        if (fitting := _fitting(RUN_FIELDS[name], fields[name])) is not None:
                            counts.setdefault(batch.run_id, {})[name] = fitting
                            del fields[name]
                    _merge(changes.setdefault(key, {}), fields, kind)
    _insert(con, "logs", LOG_COLUMNS, notes)
    _insert(con, "timings", TIMING_COLUMNS, timings)
    for (run_id, attempt), row in changes.items():
        merged = "results = json_merge_patch(coalesce(results, '{}'), ?)"
        assignments = ", ".join(merged if name == "results" else f"{name} = ?::{ATTEMPT_FIELDS[name]}" for name in row)
        con.execute(
            f"UPDATE store.attempts SET {assignments} WHERE run_id = ? AND attempt = ?",
            [*(json.dumps(value) if name == "results" else value for name, value in row.items()), run_id, attempt],
        )
    for run_id, row in counts.items():
        assignments = ", ".join(f"{name} = ?::{RUN_FIELDS[name]}" for name in row)
        con.execute(f"UPDATE store.runs SET {assignments} WHERE run_id = ?", [*row.values(), run_id])


def _place(batch: Batch) -> tuple[str, int, str, int]:
    """Return where a batch stands among others: a run's attempts and their streams one after another."""
    return batch.run_id, batch.attempt or 0, batch.stream or "", batch.sequence


def _merge(row: dict[str, Any], fields: Mapping[str, Any], kind: str) -> None:
    """Add the fields of an event to an attempt's changes; what fits no column goes to its results."""
    results = dict(row.get("results") or {})
    for name, value in fields.items():
        fitting = _fitting(ATTEMPT_FIELDS[name], value) if name in ATTEMPT_FIELDS else None
        if fitting is not None:
            row[name] = fitting
        elif value is not None:
            results[name] = _plain(value)
    if kind == "started":
        row.setdefault("status", "running")
    if results:
        row["results"] = results


def _fitting(kind: str, value: Any) -> Any:
    """Return `value` as its column takes it, or None when it does not fit."""
    match kind:
        case "DOUBLE":
            return _number(value)
        case "BIGINT":
            number = _number(value)
            return int(number) if number is not None and math.isfinite(number) and abs(number) < 2**63 else None
        case "TIMESTAMP":
            return _time(value)
        case _:
            return None if value is None else _text(value)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _time(value: Any) -> str | None:
    try:
        return datetime.fromisoformat(value).isoformat(sep=" ")
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    """Return text that a VARCHAR takes: lone surrogates become question marks."""
    return str(value).encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    """Return a value that JSON has; JSON knows no NaN and no infinity, so those become text."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case bool() | int() | float() | None:
            return value
        case dict():
            return {_text(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return _text(value)


def _insert(
    con: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str], rows: Sequence[tuple[Any, ...]]
) -> None:
    if not rows:
        return
    lists = ", ".join(f"unnest(?::{kind}[]) AS {name}" for name, kind in columns.items())
    con.execute(f"INSERT INTO store.{table} BY NAME SELECT {lists}", [list(cells) for cells in zip(*rows, strict=True)])
