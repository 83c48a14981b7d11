"""Bring imported runs into the tables in one transaction, each exactly once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.records import RunRecord, canonical_json, digest
from isoflop.lakehouse.registry import NOW, insertion
from isoflop.lakehouse.writer import finals_statements

if TYPE_CHECKING:
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
PLACES = ("host", "device")
OWN = ("run_id", "name", "family", "seed", "step", "seconds", *COUNTS, *MEASURED, *PLACES)


@dataclass(frozen=True)
class Landing:
    """Imported runs: their records, what was measured, and the points of their curves."""

    runs: tuple[RunRecord, ...]
    measured: tuple[Mapping[str, Any], ...]
    contents: tuple[str, ...]
    points: tuple[tuple[str, str, int, float, float | None], ...]  # run_id, metric, step, value, seconds

    @classmethod
    def of(cls, groups: Mapping[str, Sequence[Mapping[str, Any]]], family: str, is_curve: bool) -> Landing:
        """Build the runs of row groups; the last step of a curve gives the run's final values."""
        runs, measured, contents, points = [], [], [], []
        for run_id, rows in groups.items():
            ordered = sorted(rows, key=lambda row: row.get("step") or 0)
            last = ordered[-1]
            varying = _varying(ordered) if is_curve else frozenset[str]()
            extra = {name: value for name, value in last.items() if name not in OWN and name not in varying}
            counts: dict[str, Any] = {name: last.get(name) for name in COUNTS}
            if is_curve and counts["steps"] is None and last.get("step") is not None:
                counts["steps"] = int(last["step"])
            counts["steps"] = None if counts["steps"] is None else int(counts["steps"])
            runs.append(
                RunRecord(
                    family=str(last.get("family") or family),
                    seed=int(last.get("seed") or 0),
                    name=_text(last.get("name")) or run_id,
                    extra=_scalars(extra),
                    given_id=run_id,
                    **counts,
                )
            )
            measured.append({name: last.get(name) for name in (*MEASURED, *PLACES)})
            contents.append(digest(canonical_json([_scalars(row) for row in ordered]), 24))
            if is_curve:
                points += _points(run_id, ordered, varying)
        return cls(tuple(runs), tuple(measured), tuple(contents), tuple(points))


def land(lake: Lakehouse, landing: Landing, source: str) -> tuple[int, int, int]:
    """Write what the lake does not have and return (added, changed, unchanged) runs.

    Raises
    ------
    RecordError : if a run id belongs to a run of another source
    """
    import pyarrow as pa

    ids = pa.table({"run_id": [run.run_id for run in landing.runs]})
    known = lake.query(
        "SELECT r.run_id, r.source, max(a.attempt) AS attempt, arg_max(a.results->>'content', a.attempt) AS content "
        "FROM store.runs r SEMI JOIN _ids USING (run_id) LEFT JOIN store.attempts a USING (run_id) GROUP BY ALL",
        None,
        {"_ids": ids},
    ).to_pylist()
    before = {row["run_id"]: row for row in known}
    for row in known:
        if row["source"] != source:
            raise RecordError(
                f"run_id {row['run_id']!r} is in the lake already, from {row['source']}",
                hint="give the runs of this file ids of their own: --map \"run_id='mine-' || run_id\"",
            )
    fresh = [i for i, run in enumerate(landing.runs) if run.run_id not in before]
    changed = [
        i
        for i, run in enumerate(landing.runs)
        if run.run_id in before and before[run.run_id]["content"] != landing.contents[i]
    ]
    chosen = [*fresh, *changed]
    if not chosen:
        return 0, 0, len(landing.runs)
    runs = [replace(landing.runs[i], source=source) for i in chosen]
    replaced = [landing.runs[i].run_id for i in changed]
    statements, rows = insertion(lake, runs, replacing=replaced)
    attempts = {run.run_id: int((before.get(run.run_id) or {}).get("attempt") or 0) + 1 for run in runs}
    relations = {"_new_runs": rows, "_attempts": _attempts_table(landing, chosen, attempts)}
    fields = ", ".join((*MEASURED, *PLACES))
    statements.append(
        (
            f"INSERT INTO store.attempts (run_id, attempt, status, started_at, finished_at, results, {fields}) "
            f"SELECT run_id, attempt, 'finished', {NOW}, {NOW}, results::JSON, {fields} FROM _attempts",
            None,
        )
    )
    points = [point for point in landing.points if point[0] in attempts]
    if points:
        relations["_imported_points"] = _points_table(points, attempts)
        statements.append(
            ("INSERT INTO store.metrics BY NAME SELECT * FROM _imported_points ORDER BY run_id, metric, step", None)
        )
        statements += [(text, None) for text in finals_statements("_imported_points")]
    lake.write(statements, relations)
    return len(fresh), len(changed), len(landing.runs) - len(chosen)


def _attempts_table(landing: Landing, chosen: Sequence[int], attempts: Mapping[str, int]) -> Any:
    import pyarrow as pa

    columns: dict[str, Any] = {
        "run_id": [landing.runs[i].run_id for i in chosen],
        "attempt": pa.array([attempts[landing.runs[i].run_id] for i in chosen], pa.int32()),
        "results": [json.dumps({"content": landing.contents[i]}) for i in chosen],
    }
    for name in MEASURED:
        columns[name] = pa.array([_float(landing.measured[i][name]) for i in chosen], pa.float64())
    for name in PLACES:
        columns[name] = pa.array([_text(landing.measured[i][name]) for i in chosen], pa.string())
    return pa.table(columns)


def _points_table(points: Sequence[tuple[str, str, int, float, float | None]], attempts: Mapping[str, int]) -> Any:
    import pyarrow as pa

    run_ids, metrics, steps, values, seconds = zip(*points, strict=True)
    return pa.table(
        {
            "run_id": pa.array(run_ids),
            "attempt": pa.array([attempts[run_id] for run_id in run_ids], pa.int32()),
            "metric": pa.array(metrics),
            "step": pa.array(steps, pa.int64()),
            "value": pa.array(values, pa.float64()),
            "seconds": pa.array(seconds, pa.float64()),
        }
    )


def _varying(rows: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(
        name for name in rows[0] if name not in ("run_id", "step") and len({str(row.get(name)) for row in rows}) > 1
    )


def _points(
    run_id: str, rows: Sequence[Mapping[str, Any]], varying: frozenset[str]
) -> list[tuple[str, str, int, float, float | None]]:
    """Return a point for each number that varies along the curve; `loss` always is one."""
    names = sorted((varying | ({"loss"} if "loss" in rows[0] else set())) - {"seconds"})
    return [
        (run_id, name, int(row["step"]), float(value), _float(row.get("seconds")))
        for row in rows
        if row.get("step") is not None
        for name in names
        if isinstance(value := row.get(name), bool | int | float)
    ]


def _scalars(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in row.items()
        if value is not None
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
