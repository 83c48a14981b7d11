"""Recording runs, sweeps and attempts: plain statements that work from any process."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.runs.corrected_counts import correct_counts
from isoflop.lakehouse.runs.provenance import code_version, is_running
from isoflop.lakehouse.runs.records import RunRecord, canonical_json, digest
from isoflop.lakehouse.schema.views import RESERVED, view_statements
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.backends.backend import Database, Statement

NOW = "(now() AT TIME ZONE 'UTC')::TIMESTAMP"
WIDER = {("BOOLEAN", "BIGINT"): "BIGINT", ("BIGINT", "DOUBLE"): "DOUBLE", ("BOOLEAN", "DOUBLE"): "DOUBLE"}
COLUMNS = (
    "FROM duckdb_columns() WHERE database_name = current_database() AND schema_name = 'store' AND table_name = 'runs'"
)
# Stops a transaction that was planned on columns which are no longer those of `runs`.
CHANGED = "another process has changed the columns of runs"
UNCHANGED = (
    f"SELECT CASE WHEN (SELECT list(column_name || ' ' || data_type ORDER BY column_index) {COLUMNS}) = ? "
    f"THEN NULL ELSE error('{CHANGED}') END"
)
TRIES = 20  # how often runs are planned anew while other processes add columns


def record_runs(database: Database, runs: Sequence[RunRecord]) -> int:
    """Add the runs that are not known; new config keys become columns. Returns how many were added."""
    return write_runs(database, runs)


def record_sweep(database: Database, *, name: str, spec: str, runs: Sequence[RunRecord], sweep_id: str | None) -> str:
    """Record a sweep, its runs and which run belongs to it, in one transaction."""
    import pyarrow as pa

    sweep_id = sweep_id or digest(canonical_json({"name": name, "spec": spec}))
    members = pa.table({"run_id": [run.run_id for run in runs], "position": pa.array(range(len(runs)), pa.int64())})
    statements = [
        (
            f"INSERT INTO store.sweeps (sweep_id, name, spec, code_version, created_at) SELECT ?, ?, ?, ?, {NOW} "
            "WHERE NOT EXISTS (SELECT 1 FROM store.sweeps WHERE sweep_id = ?)",
            [sweep_id, name, spec, code_version(), sweep_id],
        ),
        (
            "INSERT INTO store.sweep_runs (sweep_id, run_id, position) SELECT ?, m.run_id, m.position FROM _members m "
            "ANTI JOIN (SELECT run_id FROM store.sweep_runs WHERE sweep_id = ?) k USING (run_id)",
            [sweep_id, sweep_id],
        ),
    ]
    write_runs(database, runs, statements, {"_members": members})
    correct_counts(database, runs)
    return sweep_id


def begin_attempts(database: Database, run_ids: Sequence[str], driver: str) -> dict[str, int]:
    """Reserve attempt numbers; the driver's label carries a word that finds them again."""
    import pyarrow as pa

    word = secrets.token_hex(4)
    wanted = pa.table({"run_id": pa.array(list(run_ids), pa.string())})
    database.write(
        [
            (
                "INSERT INTO store.attempts (run_id, attempt, status, driver, results) "
                "SELECT w.run_id, coalesce(max(a.attempt), 0) + 1, 'queued', ?, json_object('reservation', ?::VARCHAR) "
                "FROM _wanted w LEFT JOIN store.attempts a USING (run_id) GROUP BY w.run_id",
                [driver, word],
            )
        ],
        {"_wanted": wanted},
    )
    rows = database.query(
        "SELECT run_id, attempt FROM store.attempts WHERE driver = ? AND (results->>'reservation') = ?", [driver, word]
    ).to_pylist()
    return {row["run_id"]: row["attempt"] for row in rows}


def end_attempt(
    database: Database, run_id: str, attempt: int, status: str, reason: str | None, error: str | None
) -> None:
    """Close an attempt that is still open."""
    database.write(
        [
            (
                f"UPDATE store.attempts SET status = ?, reason = ?, error = ?, finished_at = {NOW} "
                "WHERE run_id = ? AND attempt = ? AND status IN ('queued', 'running')",
                [status, reason, error, run_id, attempt],
            )
        ]
    )


def mark_lost(database: Database) -> int:
    """Mark open attempts whose driver ran on this machine and has gone as lost, and return how many there were."""
    rows = database.query(
        "SELECT DISTINCT driver FROM store.attempts WHERE status IN ('queued', 'running') AND driver IS NOT NULL"
    )
    gone = [driver for driver in rows["driver"].to_pylist() if is_running(driver) is False]
    if not gone:
        return 0
    held = "status IN ('queued', 'running') AND driver IN (SELECT unnest(?))"
    counted = database.query(f"SELECT count(*) AS n FROM store.attempts WHERE {held}", [gone])
    database.write(
        [
            (
                f"UPDATE store.attempts SET status = 'lost', reason = 'driver_died', finished_at = {NOW}, "
                f"error = coalesce(error, 'the process that ran it is gone') WHERE {held}",
                [gone],
            )
        ]
    )
    return int(counted["n"][0].as_py())


def write_runs(
    database: Database,
    runs: Sequence[RunRecord],
    statements: Sequence[Statement] = (),
    relations: Mapping[str, pa.Table] | None = None,
    *,
    replacing: Sequence[str] = (),
) -> int:
    """Add the unknown runs and run `statements` after that, in one transaction; return how many were written.

    Known runs whose ids stand in `replacing` are written anew instead of left alone. Where another
    process changes the columns of `runs` meanwhile, everything starts again from the new ones.
    """
    import duckdb

    for tries in range(TRIES):
        additions, table = _insertion(database, runs, replacing)
        everything = [*additions, *statements]
        try:
            if everything:
                database.write(everything, {**(relations or {}), **({} if table is None else {"_new_runs": table})})
            return 0 if table is None else int(table.num_rows)
        except duckdb.Error as error:
            if CHANGED not in str(error) or tries == TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _insertion(
    database: Database, runs: Sequence[RunRecord], replacing: Sequence[str]
) -> tuple[list[Statement], pa.Table | None]:
    """Return the statements that add the unknown runs, and their rows as relation `_new_runs`."""
    import pyarrow as pa

    unique = {run.run_id: run for run in runs}
    ids = pa.table({"run_id": pa.array(list(unique), pa.string())})
    asked = "SELECT run_id, created_at FROM store.runs SEMI JOIN _ids USING (run_id)"
    held = database.query(asked, None, {"_ids": ids})
    since = dict(zip(held["run_id"].to_pylist(), held["created_at"].to_pylist(), strict=True))
    for run_id in set(since) - set(replacing):
        del unique[run_id]
    if not unique:
        return [], None
    types = _column_types(database)
    settings = [_settings(run, types) for run in unique.values()]
    altered = _altered(types, settings)
    statements: list[Statement] = []
    if altered:
        statements.append((UNCHANGED, [[f"{name} {kind}" for name, kind in types.items()]]))
    for name, (kind, is_new) in altered.items():
        if is_new:
            statements.append((f"ALTER TABLE store.runs ADD COLUMN IF NOT EXISTS {quoted(name)} {kind}", None))
        else:
            statements += [(text, None) for text in _retyping(name, types[name], kind, database.is_shared)]
    if replacing:  # DuckDB commits no rows that are deleted before their table is altered
        statements.append(("DELETE FROM store.runs WHERE run_id IN (SELECT unnest(?))", [list(replacing)]))
    types.update({name: kind for name, (kind, _) in altered.items()})
    table = _rows(list(unique.values()), settings, types)
    came = pa.array([since.get(run_id) for run_id in unique], pa.timestamp("us"))
    table = table.append_column("created_at", came)  # a run that is written anew keeps when it came
    columns = ", ".join(
        f"{quoted(name)}::{types[name]} AS {quoted(name)}"
        for name in table.column_names
        if name in types and name not in ("config", "tags", "created_at")
    )
    statements.append(
        (
            f"INSERT INTO store.runs BY NAME SELECT {columns}, config::JSON AS config, tags, "
            f"coalesce(created_at, {NOW}) AS created_at FROM _new_runs "
            "ANTI JOIN (SELECT run_id FROM store.runs) known USING (run_id)",
            None,
        )
    )
    if altered:
        statements += [(text, None) for text in view_statements(list(types))]
    return statements, table


def _retyping(name: str, old: str, new: str, is_shared: bool) -> list[str]:
    """Return the statements that change a column's type; a shared catalog only widens numbers by itself."""
    if not is_shared or (old, new) == ("BIGINT", "DOUBLE"):
        return [f"ALTER TABLE store.runs ALTER COLUMN {quoted(name)} TYPE {new}"]
    return [
        f'ALTER TABLE store.runs ADD COLUMN "_retyped" {new}',
        f'UPDATE store.runs SET "_retyped" = {quoted(name)}::{new}',
        f"ALTER TABLE store.runs DROP COLUMN {quoted(name)}",
        f'ALTER TABLE store.runs RENAME COLUMN "_retyped" TO {quoted(name)}',
    ]


def _settings(run: RunRecord, types: Mapping[str, str]) -> dict[str, Any]:
    """Return the scalars of a run that become columns; a name that no column can have stays in `config` only.

    So does what the run needs no column for, in a lake that has none for it.
    """
    both = {**run.config, **run.extra}
    known = {name.lower() for name in types} if run.config_only else set()
    return {
        name: value.item() if hasattr(value, "item") else value
        for name, value in both.items()
        if name
        and name.lower() not in RESERVED
        and (name not in run.config_only or name.lower() in known)
        and (hasattr(value, "item") or isinstance(value, bool | int | float | str))
    }


def _column_types(database: Database) -> dict[str, str]:
    rows = database.query(f"SELECT column_name AS name, data_type AS type {COLUMNS} ORDER BY column_index").to_pylist()
    return {row["name"]: row["type"] for row in rows}


def _kind(value: object) -> str:
    match value:
        case bool():
            return "BOOLEAN"
        case int():
            return "BIGINT" if -(2**63) <= value < 2**63 else "DOUBLE"
        case float():
            return "DOUBLE"
        case _:
            return "VARCHAR"


def _widest(kinds: Iterable[str]) -> str:
    current: str | None = None
    for kind in kinds:
        if current is None or current == kind:
            current = kind
        else:
            current = WIDER.get((current, kind)) or WIDER.get((kind, current)) or "VARCHAR"
    return current or "VARCHAR"


def _altered(types: Mapping[str, str], settings: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, bool]]:
    """Return the columns to add or widen: name -> (type, whether it is new)."""
    lower = {name.lower(): name for name in types}
    kinds: dict[str, set[str]] = {}
    for row in settings:
        for name, value in row.items():
            kinds.setdefault(lower.get(name.lower(), name), set()).add(_kind(value))
            lower.setdefault(name.lower(), name)
    changes: dict[str, tuple[str, bool]] = {}
    for name, found in kinds.items():
        old = types.get(name)
        wanted = _widest(sorted(found) if old is None else [old, *sorted(found)])
        if wanted != old:
            changes[name] = (wanted, old is None)
    return changes


def _rows(runs: Sequence[RunRecord], settings: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa

    canonical = {name.lower(): name for name in types}
    columns: dict[str, list[Any]] = {"run_id": [run.run_id for run in runs]}
    for name in ("name", "family", "source", "seed", *COUNTS):
        columns[name] = [getattr(run, name) for run in runs]
    columns["config"] = [json.dumps({**run.config, **run.extra}, default=_jsonable) for run in runs]
    for position, row in enumerate(settings):
        for given, value in row.items():
            name = canonical[given.lower()]
            if name not in columns:
                columns[name] = [None] * len(runs)
            columns[name][position] = value
    arrays = {name: _array(cells, types[name]) for name, cells in columns.items()}
    arrays["tags"] = pa.array([list(run.tags) for run in runs], pa.list_(pa.string()))
    return pa.table(arrays)


def _array(cells: list[Any], kind: str) -> pa.Array:
    import pyarrow as pa

    match kind:
        case "DOUBLE":
            return pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
        case "BIGINT":
            return pa.array([None if cell is None else int(cell) for cell in cells], pa.int64())
        case "BOOLEAN":
            return pa.array(cells, pa.bool_())
        case _:
            return pa.array(
                [None if cell is None else cell if isinstance(cell, str) else json.dumps(cell) for cell in cells],
                pa.string(),
            )


def _jsonable(value: object) -> object:
    return value.item() if hasattr(value, "item") else str(value)
