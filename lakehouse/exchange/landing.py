"""Bring imported runs into the tables in one transaction, each exactly once.

Every format ends here: runs with what was measured, and the points of their curves. A run that the
lake has with the same content is left alone; one whose curves have only grown since goes on with the
points that are new; one whose content differs otherwise gets a new attempt.
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
from isoflop.lakehouse.ingest.finals import finals_statements
from isoflop.lakehouse.runs.records import RunRecord, canonical_json, digest
from isoflop.lakehouse.runs.registry import write_runs
from isoflop.lakehouse.schema import narrowed

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.backends.backend import Statement
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
TOUCHED = "another process imports one of these runs at this moment"
UNTOUCHED = f"""
SELECT CASE WHEN EXISTS (SELECT 1 FROM store.attempts a JOIN _attempts n USING (run_id, attempt)
                         WHERE (a.results->>'content') IS DISTINCT FROM n.before) THEN error('{TOUCHED}') END"""
FORGET_GROWN = "DELETE FROM store.attempts a USING _attempts n WHERE a.run_id = n.run_id AND a.attempt = n.attempt"
FIELDS = ", ".join((*MEASURED, *PLACES, "reason", "error", "started_at", "finished_at"))
ADD_ATTEMPTS = f"""
INSERT INTO store.attempts (run_id, attempt, status, results, {FIELDS})
SELECT run_id, attempt, status, results::JSON, {FIELDS} FROM _attempts"""
# Equal points are told apart by how many there are; of each the newest attempt has one point less to add.
NTH = "row_number() OVER (PARTITION BY run_id, metric, step, value ORDER BY step) AS nth"
KNOWN = f"""
SELECT f.position
FROM (SELECT position, run_id::VARCHAR AS run_id, metric::VARCHAR AS metric, step, value, {NTH} FROM _found) f
SEMI JOIN (SELECT run_id, metric, step, value, {NTH} FROM metrics SEMI JOIN _newest USING (run_id, attempt)) s
    USING (run_id, metric, step, value, nth)"""
STORED = "SELECT run_id, count(*) AS points FROM metrics SEMI JOIN _newest USING (run_id, attempt) GROUP BY run_id"
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
    RecordError : if a run id belongs to a run of another source, or is being imported elsewhere
    """
    import duckdb
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
    if fresh or changed:
        newest = {run.run_id: int(before[run.run_id]["attempt"] or 0) for run in changed}
        grown, points = _grown(lake, landing.points.of_runs([run.run_id for run in (*fresh, *changed)]), newest)
        attempts = {run.run_id: newest.get(run.run_id, 0) + (run.run_id not in grown) for run in (*fresh, *changed)}
        befores = {run_id: before[run_id]["content"] for run_id in grown}
        relations = {"_attempts": _attempts_table([*fresh, *changed], attempts, contents, befores)}
        statements: list[Statement] = [(UNTOUCHED, None), (FORGET_GROWN, None), (ADD_ATTEMPTS, None)]
        if len(points):
            relations["_points"] = points.arrow(attempts, is_sent=not lake.is_holder)
            stored = f"SELECT * EXCLUDE (value), {narrowed('value')} FROM _points"
            statements.append((f"INSERT INTO store.metrics BY NAME {stored}", None))
            statements += [(text, None) for text in finals_statements("_points")]
        records = [replace(run.record, source=source) for run in (*fresh, *changed)]
        try:
            write_runs(lake, records, statements, relations, replacing=list(newest))
        except duckdb.Error as error:
            if TOUCHED not in str(error):
                raise
            raise RecordError(TOUCHED, hint="import again") from error
    return len(fresh), len(changed), len(runs) - len(fresh) - len(changed)


def _grown(lake: Lakehouse, points: Points, newest: Mapping[str, int]) -> tuple[set[str], Points]:
    """Return which runs still have every point that their newest attempt has in the lake, and the points to add."""
    import numpy as np
    import pyarrow as pa

    if not newest:
        return set(), points
    attempts = pa.array(list(newest.values()), pa.int32())
    found = points.arrow(newest, is_sent=not lake.is_holder)
    relations = {
        "_newest": pa.table({"run_id": pa.array(list(newest), pa.string()), "attempt": attempts}),
        "_found": found.append_column("position", pa.array(np.arange(len(points)))),
    }
    known = lake.query(KNOWN, None, relations)["position"].to_numpy()
    stored = {row["run_id"]: row["points"] for row in lake.query(STORED, None, relations).to_pylist()}
    matches = np.bincount(points.run[known], minlength=len(points.run_ids))
    found_again = dict(zip(points.run_ids, matches.tolist(), strict=True))
    grown = {run_id for run_id, count in stored.items() if found_again.get(run_id, 0) == count}
    is_of_grown = np.array([run_id in grown for run_id in points.run_ids], dtype=bool)
    is_known = np.zeros(len(points), dtype=bool)
    is_known[known] = True
    return grown, points.taken(~(is_known & is_of_grown[points.run]))


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


def _attempts_table(
    runs: Sequence[FoundRun], attempts: Mapping[str, int], contents: Mapping[str, str], befores: Mapping[str, str]
) -> pa.Table:
    """Return the rows of `store.attempts`, with the content of the row that each takes the place of, if any."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        "run_id": pa.array([run.run_id for run in runs], pa.string()),
        "attempt": pa.array([attempts[run.run_id] for run in runs], pa.int32()),
        "before": pa.array([befores.get(run.run_id) for run in runs], pa.string()),
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
