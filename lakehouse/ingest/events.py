"""What an attempt says beside its points, as rows: how it started and ended, its counts, its phases, its log."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from isoflop.lakehouse.ingest.batches import Batch
from isoflop.lakehouse.runs.records import STATUSES

if TYPE_CHECKING:
    import duckdb

Key: TypeAlias = tuple[str, int]  # run and attempt

ATTEMPT_FIELDS = {
    "status": "VARCHAR", "reason": "VARCHAR", "host": "VARCHAR", "device": "VARCHAR", "hardware": "VARCHAR",
    "code_version": "VARCHAR", "started_at": "TIMESTAMP", "finished_at": "TIMESTAMP", "resumed_step": "BIGINT",
    "loss": "DOUBLE", "validation_loss": "DOUBLE", "irreducible_loss": "DOUBLE", "corpus_hash": "VARCHAR",
    "step_seconds": "DOUBLE", "step_seconds_min": "DOUBLE", "contention": "DOUBLE", "host_load": "DOUBLE",
    "train_seconds": "DOUBLE", "compile_seconds": "DOUBLE", "peak_memory_bytes": "DOUBLE",
    "error": "VARCHAR", "traceback": "VARCHAR",
}  # fmt: skip
RUN_FIELDS = {
    "params": "DOUBLE", "params_non_embedding": "DOUBLE", "tokens": "DOUBLE", "steps": "BIGINT", "flops": "DOUBLE",
    "memcpy_bytes": "DOUBLE", "unique_tokens": "DOUBLE", "epochs": "DOUBLE",
}  # fmt: skip
QUANTILES = ("p10", "p50", "p90", "total", "lowest")
LONGEST_SHOWN = 1000  # characters of an event that makes no sense in the line about it
KEY = {"run_id": "VARCHAR", "attempt": "INTEGER"}
LOG_COLUMNS = {**KEY, "logged_at": "TIMESTAMP", "level": "VARCHAR", "message": "VARCHAR"}
TIMING_COLUMNS = {**KEY, "phase": "VARCHAR", "count": "BIGINT", **dict.fromkeys(QUANTILES, "DOUBLE")}


@dataclass
class Changes:
    """What the events of batches change: attempts, counts of runs as they start and end, log lines, phases."""

    attempts: dict[Key, dict[str, Any]] = field(default_factory=dict)
    counts_at_start: dict[str, dict[str, Any]] = field(default_factory=dict)
    counts_at_end: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[tuple[Any, ...]] = field(default_factory=list)
    timings: list[tuple[Any, ...]] = field(default_factory=list)

    def take(self, key: Key, event: Mapping[str, Any], written_at: str) -> None:
        """Add one event of an attempt."""
        fields = {name: value for name, value in event.items() if name != "kind"}
        match event.get("kind"):
            case "note":
                at = _time(fields.get("logged_at")) or written_at
                self.notes.append((*key, at, _text(fields.get("level")), _text(fields.get("message"))))
            case "timing":
                numbers = [_number(fields.get(name)) for name in QUANTILES]
                count = _whole(fields.get("count")) or 0
                self.timings.append((*key, _text(fields.get("phase")), count, *numbers))
            case "resumed":
                step = _whole(fields.get("resumed_step"))
                if step is None:
                    raise ValueError(f"resumed_step is {fields.get('resumed_step')!r}; expected a step")
                self.attempts.setdefault(key, {})["resumed_step"] = step
            case "started" | "ended" as kind:
                counts = self.counts_at_start if kind == "started" else self.counts_at_end
                self._note_what_does_not_fit(key, fields, written_at)
                for name in RUN_FIELDS.keys() & fields.keys():
                    if (fitting := _fitting(RUN_FIELDS[name], fields[name])) is not None:
                        counts.setdefault(key[0], {})[name] = fitting
                        del fields[name]
                _merge(self.attempts.setdefault(key, {}), fields, kind)
            case kind:
                raise ValueError(f"kind is {kind!r}; expected started, resumed, note, timing or ended")

    def _note_what_does_not_fit(self, key: Key, fields: Mapping[str, Any], written_at: str) -> None:
        """Say which values a column does not take; they are kept among the results."""
        for name, value in fields.items():
            column = RUN_FIELDS.get(name) or ATTEMPT_FIELDS.get(name)
            is_taken = _fitting(RUN_FIELDS[name], value) if name in RUN_FIELDS else _fitting_attempt(name, value)
            if column is not None and value is not None and is_taken is None:
                message = f"'{name}' is {_shown(value)}, which its column ({column}) does not take; it is in `results`"
                self.notes.append((*key, written_at, "warning", message))


def changes_of(batches: Sequence[Batch]) -> Changes:
    """Read the events of batches in their order; one that makes no sense leaves a line in the log instead."""
    changes = Changes()
    for batch in sorted(batches, key=_place):
        key = (batch.run_id, batch.attempt or 0)
        for event in batch.events:
            try:
                changes.take(key, event, batch.written_at)
            except Exception as error:
                message = f"an event of batch {batch.sequence} was passed over: {error}; it was {_shown(event)}"
                changes.notes.append((*key, batch.written_at, "error", message))
    return changes


def apply_changes(con: duckdb.DuckDBPyConnection, changes: Changes) -> None:
    """Write what events change into `attempts`, `logs` and `timings`."""
    _insert(con, "logs", LOG_COLUMNS, changes.notes)
    _insert(con, "timings", TIMING_COLUMNS, changes.timings)
    for (run_id, attempt), row in changes.attempts.items():
        if not row:
            continue
        merged = "results = json_merge_patch(coalesce(results, '{}'), ?)"
        assignments = ", ".join(merged if name == "results" else f"{name} = ?::{ATTEMPT_FIELDS[name]}" for name in row)
        con.execute(
            f"UPDATE store.attempts SET {assignments} WHERE run_id = ? AND attempt = ?",
            [*(json.dumps(value) if name == "results" else value for name, value in row.items()), run_id, attempt],
        )


def apply_counts(con: duckdb.DuckDBPyConnection, counts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write counts that attempts have said into `runs`."""
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
        fitting = _fitting_attempt(name, value)
        if fitting is not None:
            row[name] = fitting
        elif name == "results" and isinstance(value, dict):
            results.update(_plain(value))
        elif value is not None:
            results[_text(name)] = _plain(value)
    if kind == "started":
        row.setdefault("status", "running")
    if results:
        row["results"] = results


def _fitting_attempt(name: str, value: Any) -> Any:
    """Return `value` as the column `name` of `attempts` takes it, or None when there is none or it does not fit."""
    match name:
        case "status":
            return value if value in STATUSES else None
        case "hardware":
            return value if _is_json(value) else None
        case _:
            return _fitting(ATTEMPT_FIELDS[name], value) if name in ATTEMPT_FIELDS else None


def _fitting(kind: str, value: Any) -> Any:
    """Return `value` as its column takes it, or None when it does not fit."""
    match kind:
        case "DOUBLE":
            return _number(value)
        case "BIGINT":
            return _whole(value)
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


def _whole(value: Any) -> int | None:
    """Return a number as a BIGINT holds it, to the last digit."""
    if not isinstance(value, int):
        number = _number(value)
        if number is None or not math.isfinite(number):
            return None
        value = int(number)
    return int(value) if -(2**63) <= value < 2**63 else None


def _is_json(value: Any) -> bool:
    """Return whether a text is JSON as the store takes it, which knows no NaN."""
    try:
        json.dumps(json.loads(value), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _shown(event: Any) -> str:
    """Return an event, or a value of one, as a line of the log shows it."""
    return json.dumps(event, default=str)[:LONGEST_SHOWN]


def _time(value: Any) -> str | None:
    """Return a time as the store has it, UTC without a zone; None for what is none."""
    try:
        when = datetime.fromisoformat(value)
        when = when if when.tzinfo is None else when.astimezone(UTC).replace(tzinfo=None)
    except (TypeError, ValueError, OverflowError):
        return None
    return when.isoformat(sep=" ")


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
