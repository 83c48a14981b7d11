"""`--map` for runs of trackers: name a metric or a setting, or write an expression over both.

A bare name renames. An expression is SQL: over settings alone it is worked out once for each run, and
with a metric or `step` in it at each step, where every metric it names has a value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.lakehouse.errors import FileError, did_you_mean
from isoflop.lakehouse.exchange.landing import FoundRun, Landing
from isoflop.lakehouse.exchange.naming import record_of
from isoflop.lakehouse.exchange.points import Points
from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    import pyarrow as pa

AXES = ("step", "seconds")
COLUMNS = ("run", "metric", "step", "value", "seconds")


def mapped(landing: Landing, mapping: Mapping[str, str], path: Path) -> Landing:
    """Return the landing with each of `mapping`, our name -> their name or expression, carried out.

    Raises
    ------
    FileError : if an expression names what no run has, or is not SQL
    """
    for ours, theirs in mapping.items():
        landing = _mapped_once(landing, ours, theirs, path)
    return landing


def _mapped_once(landing: Landing, ours: str, theirs: str, path: Path) -> Landing:
    is_axis = ours in AXES
    if not is_axis and theirs in landing.points.metrics:
        return replace(landing, points=_replacing(landing.points, ours, theirs))
    settings = _settings_table(landing.runs)
    is_name = theirs in landing.points.metrics or theirs in settings.column_names
    named = {theirs} if is_name else names_in(theirs)
    metrics = [metric for metric in landing.points.metrics if metric in named]
    theirs = quoted(theirs) if is_name else theirs
    try:
        if metrics or named & set(AXES) or is_axis:
            return replace(landing, points=_at_each_step(landing.points, settings, metrics, ours, theirs))
        return replace(landing, runs=_for_each_run(landing.runs, settings, ours, theirs))
    except _duckdb_error() as error:
        known = [*landing.points.metrics, *settings.column_names]
        hint = did_you_mean(theirs.strip('"'), known, f"the runs have {', '.join(known[:20])}")
        raise FileError(path, None, f"--map {ours}={theirs}: {str(error).splitlines()[0]}", hint=hint) from error


def _replacing(points: Points, ours: str, theirs: str) -> Points:
    """Rename a metric; points under our name make way where the run has theirs."""
    origin = points.metrics.index(theirs)
    if ours in points.metrics and ours != theirs:
        has_theirs = np.zeros(len(points.run_ids), dtype=bool)
        has_theirs[points.run[points.metric == origin]] = True
        points = points.taken(~((points.metric == points.metrics.index(ours)) & has_theirs[points.run]))
    return points.renamed(ours, theirs)[0]


def names_in(expression: str) -> set[str]:
    """Return the column names of an SQL expression; none when it does not parse."""
    import duckdb

    with duckdb.connect() as con:
        row = con.execute("SELECT json_serialize_sql('SELECT ' || ?)", [expression]).fetchone()
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("class") == "COLUMN_REF":
                found.add(".".join(node["column_names"]))
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(json.loads(row[0]) if row else {})
    return found


def _settings_table(runs: Sequence[FoundRun]) -> pa.Table:
    """Return a row a run: run_id, name, seed, counts and settings, each column of the type its values have."""
    import pyarrow as pa

    rows = [
        {
            "run_id": run.run_id,
            "name": run.record.name,
            "seed": run.record.seed,
            **{count: getattr(run.record, count) for count in COUNTS},
            **{key: value for key, value in run.record.extra.items() if isinstance(value, bool | int | float | str)},
        }
        for run in runs
    ]
    columns: dict[str, Any] = {}
    for name in {key: None for row in rows for key in row}:
        cells = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(cells)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[name] = pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
    return pa.table(columns)


def _for_each_run(runs: Sequence[FoundRun], settings: pa.Table, ours: str, expression: str) -> tuple[FoundRun, ...]:
    import duckdb

    with duckdb.connect() as con:
        con.register("settings", settings)
        values = dict(con.execute(f"SELECT run_id, ({expression}) FROM settings").fetchall())
    changed = []
    for run in runs:
        record = run.record
        known = {**record.extra, **{name: count for name in COUNTS if (count := getattr(record, name)) is not None}}
        seed = {} if record.seed == 0 else {"seed": record.seed}
        again = record_of(
            run.run_id,
            {**known, **seed, ours: values[run.run_id]},
            family=record.family,
            name=record.name,
            tags=record.tags,
        )
        changed.append(replace(run, record=again))
    return tuple(changed)


def _at_each_step(points: Points, settings: pa.Table, metrics: Sequence[str], ours: str, expression: str) -> Points:
    """Work an expression out at each step of each run and return the points with it as metric, step or seconds."""
    import duckdb

    picked = "".join(
        f", any_value(value) FILTER (metric = {points.metrics.index(metric)}) AS {quoted(metric)}" for metric in metrics
    )
    present = " AND ".join(f"{quoted(metric)} IS NOT NULL" for metric in metrics) or "true"
    known = [
        name for name in settings.column_names if name not in {*metrics, *AXES, "run_id", "run", "metric", "value"}
    ]
    columns = "".join(f", settings.{quoted(name)}" for name in known)
    with duckdb.connect() as con:
        con.register("points", _table(points))
        con.register("settings", settings)
        con.register("run_ids", _run_ids(points))
        con.execute(
            "CREATE TABLE worked AS WITH wide AS ("
            f"SELECT run, step, any_value(seconds) FILTER (NOT isnan(seconds)) AS seconds{picked} "
            "FROM points GROUP BY run, step), "
            f"rows AS (SELECT run_id, wide.*{columns} FROM wide JOIN run_ids USING (run) JOIN settings USING (run_id)) "
            f"SELECT run, step, seconds, ({expression})::DOUBLE AS result FROM rows WHERE {present}"
        )
        if ours == "step":
            join = "SELECT p.* REPLACE (w.result::BIGINT AS step) FROM points p JOIN worked w USING (run, step)"
            return _points(points, con.execute(f"{join} WHERE isfinite(w.result)").to_arrow_table())
        if ours == "seconds":
            join = "SELECT p.* REPLACE (w.result AS seconds) FROM points p LEFT JOIN worked w USING (run, step)"
            return _points(points, con.execute(join).to_arrow_table())
        metrics_now = points.metrics if ours in points.metrics else (*points.metrics, ours)
        code = metrics_now.index(ours)
        both = con.execute(
            f"SELECT p.* FROM points p WHERE p.metric <> {code} OR p.run NOT IN (SELECT run FROM worked) "
            f"UNION ALL SELECT run, {code}, step, result, seconds FROM worked WHERE result IS NOT NULL"
        ).to_arrow_table()
        return _points(replace(points, metrics=metrics_now), both)


def _table(points: Points) -> pa.Table:
    import pyarrow as pa

    return pa.table({name: getattr(points, name) for name in COLUMNS})


def _run_ids(points: Points) -> pa.Table:
    import pyarrow as pa

    codes = pa.array(range(len(points.run_ids)), pa.int32())
    return pa.table({"run": codes, "run_id": pa.array(points.run_ids, pa.string())})


def _points(like: Points, table: pa.Table) -> Points:
    """Return the rows of a table as points with the names of `like`; no time is NaN."""
    columns = {name: table[name].to_numpy() for name in COLUMNS}
    kinds = {name: getattr(like, name).dtype for name in COLUMNS}
    return replace(like, **{name: column.astype(kinds[name]) for name, column in columns.items()})


def _duckdb_error() -> type[Exception]:
    import duckdb

    return duckdb.Error
