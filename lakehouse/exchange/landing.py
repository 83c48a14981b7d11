"""Bring imported runs into the tables in one transaction, each exactly once.

Every format ends here: runs with what was measured, and the points of their curves. A run that the
lake has with the same content is left alone; one whose content differs gets a new attempt.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.exchange.points import Points
from isoflop.lakehouse.records import RunRecord, canonical_json, digest
from isoflop.lakehouse.registry import insertion
from isoflop.lakehouse.schema import narrowed
from isoflop.lakehouse.writer import finals_statements

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.lake import Lakehouse

COUNTS = ("params", "params_non_embedding", "tokens", "steps", "flops", "memcpy_bytes")
MEASURED = (
    "loss",
    "validation_loss",
    "irreducible_loss",
    "step_seconds",
    "train_seconds",
    "compile_seconds",
    "peak_memory_bytes",
)
PLACES = ("host", "device", "code_version", "corpus_hash")
AXES = ("tokens", "flops")  # what a curve is drawn over, besides step and seconds
SHOWN_COPIES = 10
CONTENT_LENGTH = 24  # base32 characters, 120 bits


@dataclass(frozen=True, kw_only=True)
class FoundRun:
    """A run that some other store knows: its record, how it ended and what it measured.

    Parameters
    ----------
    record : identity, counts and settings; `given_id` is the id the run keeps
    measured : columns of `attempts` among MEASURED and PLACES, where the store has them
    status, reason, error : how it ended; a finished run whose last loss is not finite becomes failed, diverged,
        unless `is_certain`: the store says it in our own words
    started_at, finished_at : UTC, without a zone
    """

    record: RunRecord
    measured: Mapping[str, Any] = field(default_factory=dict)
    status: str = "finished"
    reason: str | None = None
    error: str | None = None
    is_certain: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def run_id(self) -> str:
        """The identity of the run."""
        return self.record.run_id


@dataclass(frozen=True)
class Landing:
    """Runs found in one place, the points of their curves, and what a person should know about them."""

    runs: tuple[FoundRun, ...]
    points: Points = field(default_factory=Points.none)
    notes: tuple[str, ...] = ()

    def completed(self) -> Landing:
        """Return the runs, each once, with what their curves end with: last values, counts and steps; points sorted."""
        points = self.points.sorted()
        runs = {run.run_id: run for run in self.runs}
        notes = self.notes
        if len(runs) < len(self.runs):
            times = Counter(run.run_id for run in self.runs)
            twice = [run_id for run_id, count in times.items() if count > 1]
            points = points.without_copies(twice)
            notes = (*notes, f"found in more than one place and taken once: {', '.join(twice[:SHOWN_COPIES])}")
        points = points.with_one_value_a_step(AXES)
        lasts = points.lasts()
        completed = tuple(_completed(run, lasts.get(run_id, {})) for run_id, run in runs.items())
        return Landing(completed, points, notes)


@dataclass(frozen=True)
class Imported:
    """What an import did, with a sentence for everything a person should know."""

    source: str
    rows: int
    runs: int
    points: int
    added: int
    changed: int
    unchanged: int
    skipped: int
    notes: tuple[str, ...] = ()
    format: str = "table"


def utc(seconds: float | None) -> datetime | None:
    """Return a time [s since 1970] as the lake has it: UTC, without a zone; None for one that no calendar has.

    Example
    -------
    >>> utc(1.7e9), utc(1.7e18), utc(float("nan"))
    (datetime.datetime(2023, 11, 14, 22, 13, 20), None, None)
    """
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    except (OverflowError, ValueError, OSError):
        return None


def land(lake: Lakehouse, landing: Landing, source: str) -> tuple[int, int, int]:
    """Write what the lake does not have of a completed landing and return (added, changed, unchanged) runs.

    Raises
    ------
    RecordError : if a run id belongs to a run of another source
    """
    import pyarrow as pa

    runs = landing.runs
    known = lake.query(
        "SELECT r.run_id, r.source, max(a.attempt) AS attempt, arg_max(a.results->>'content', a.attempt) AS content "
        "FROM store.runs r SEMI JOIN _ids USING (run_id) LEFT JOIN store.attempts a USING (run_id) GROUP BY ALL",
        None,
        {"_ids": pa.table({"run_id": pa.array([run.run_id for run in runs], pa.string())})},
    ).to_pylist()
    before = {row["run_id"]: row for row in known}
    for row in known:
        if row["source"] != source:
            raise RecordError(
                f"run_id {row['run_id']!r} is in the lake already, from {row['source']}",
                hint="give the runs of this file ids of their own: --map \"run_id='mine-' || run_id\"",
            )
    hashes = landing.points.hashes()
    contents = {run.run_id: _content(run, hashes.get(run.run_id)) for run in runs}
    fresh = [run for run in runs if run.run_id not in before]
    changed = [run for run in runs if run.run_id in before and before[run.run_id]["content"] != contents[run.run_id]]
    chosen = [*fresh, *changed]
    if chosen:
        attempts = {run.run_id: int((before.get(run.run_id) or {}).get("attempt") or 0) + 1 for run in chosen}
        records = [replace(run.record, source=source) for run in chosen]
        statements, rows = insertion(lake, records, replacing=[run.run_id for run in changed])
        relations = {"_new_runs": rows, "_attempts": _attempts_table(chosen, attempts, contents)}
        fields = ", ".join((*MEASURED, *PLACES, "reason", "error", "started_at", "finished_at"))
        statements.append(
            (
                f"INSERT INTO store.attempts (run_id, attempt, status, results, {fields}) "
                f"SELECT run_id, attempt, status, results::JSON, {fields} FROM _attempts",
                None,
            )
        )
        points = landing.points.of_runs(list(attempts))
        if len(points):
            relations["_points"] = points.arrow(attempts, is_sent=not lake.is_holder)
            stored = f"SELECT * EXCLUDE (value), {narrowed('value')} FROM _points"
            statements.append((f"INSERT INTO store.metrics BY NAME {stored}", None))
            statements += [(text, None) for text in finals_statements("_points")]
        lake.write(statements, relations)
    return len(fresh), len(changed), len(runs) - len(chosen)


def _completed(run: FoundRun, lasts: Mapping[str, tuple[int, float, float]]) -> FoundRun:
    """Fill what the run's own words leave open from the last points of its curves."""
    record, measured = run.record, dict(run.measured)
    for name in MEASURED:
        if measured.get(name) is None and name in lasts:
            measured[name] = lasts[name][1]
    counts: dict[str, Any] = {
        name: lasts[name][1] for name in COUNTS if getattr(record, name) is None and name in lasts
    }
    if "steps" in counts:
        counts["steps"] = int(counts["steps"])
    elif record.steps is None and lasts:
        last_step = lasts["loss"][0] if "loss" in lasts else max(step for step, _, _ in lasts.values())
        counts["steps"] = last_step if last_step > 0 else None
    if measured.get("train_seconds") is None and "loss" in lasts and not math.isnan(lasts["loss"][2]):
        measured["train_seconds"] = lasts["loss"][2]
    loss = measured.get("loss")
    is_finished = run.status == "finished" and not run.is_certain
    is_diverged = is_finished and loss is not None and not math.isfinite(loss)
    status, reason = ("failed", "diverged") if is_diverged else (run.status, run.reason)
    return replace(run, record=replace(record, **counts), measured=measured, status=status, reason=reason)


def _content(run: FoundRun, curves: str | None) -> str:
    """Return the hash of everything an import would write for a run."""
    record = run.record
    everything = {
        **{name: getattr(record, name) for name in ("family", "seed", "name", *COUNTS)},
        **{name: getattr(run, name) for name in ("status", "reason", "error")},
        **{name: str(value) for name in ("started_at", "finished_at") if (value := getattr(run, name)) is not None},
        "tags": list(record.tags),
        "settings": {k: value for k, value in {**record.config, **record.extra}.items() if value is not None},
        "measured": {name: value for name, value in run.measured.items() if value is not None},
        "curves": curves,
    }
    return digest(canonical_json(everything), CONTENT_LENGTH)


def _attempts_table(runs: Sequence[FoundRun], attempts: Mapping[str, int], contents: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, Any] = {
        "run_id": pa.array([run.run_id for run in runs], pa.string()),
        "attempt": pa.array([attempts[run.run_id] for run in runs], pa.int32()),
        "results": pa.array([json.dumps({"content": contents[run.run_id]}) for run in runs], pa.string()),
    }
    for name in MEASURED:
        values = [run.measured.get(name) for run in runs]
        columns[name] = pa.array([None if value is None else float(value) for value in values], pa.float64())
    for name in PLACES:
        values = [run.measured.get(name) for run in runs]
        columns[name] = pa.array([None if value is None else str(value) for value in values], pa.string())
    for name in ("status", "reason", "error"):
        columns[name] = pa.array([getattr(run, name) for run in runs], pa.string())
    for name in ("started_at", "finished_at"):
        columns[name] = pa.array([getattr(run, name) for run in runs], pa.timestamp("us"))
    return pa.table(columns)
