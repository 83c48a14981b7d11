"""Tokens and FLOPs that are logged while a run trains, as the run's totals.

A series that grows with the step counts what was used up to then, and its last value is the total. One that
does not grow says something else, tokens a step perhaps, and is no total.

Whether the earlier batches of a series were a total needs no memory of its own: they were when `runs` has the
last of their values. What was declared before is kept in the `results` of the attempt that overrode it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

TOTALS = ("tokens", "flops")
OF_TOTALS = f"lower(metric) IN {TOTALS}"

STORED = "CASE lower(n.metric) WHEN 'tokens' THEN r.tokens ELSE r.flops END"

# One row a series: the points of this commit in order, what was known of the series and of its run before.
SERIES = f"""
    WITH fresh AS (
        SELECT run_id::VARCHAR AS run_id, attempt, metric::VARCHAR AS metric,
               arg_min(value, (step, position)) AS first, arg_max(value, (step, position)) AS last,
               min(step) AS first_step, max(step) AS last_step, bool_and(coalesce(value >= before, true)) AS never_falls
        FROM (SELECT *, lag(value) OVER (PARTITION BY run_id, attempt, metric ORDER BY step, position) AS before
              FROM _points WHERE {OF_TOTALS} AND isfinite(value))
        GROUP BY ALL
    )
    SELECT n.*, lower(n.metric) AS total, p.last AS known, p.last_step AS known_step, p.best AS lowest,
           {STORED} AS stored,
           (SELECT max(results->>('declared_' || lower(n.metric))) FROM store.attempts d
            WHERE d.run_id = n.run_id)::DOUBLE AS declared,
           EXISTS (SELECT 1 FROM store.finals e WHERE e.run_id = n.run_id AND e.attempt < n.attempt
                   AND e.metric = n.metric AND e.last = {STORED}) AS is_logged
    FROM fresh n JOIN store.runs r ON r.run_id = n.run_id
    LEFT JOIN store.finals p ON p.run_id = n.run_id AND p.attempt = n.attempt AND p.metric = n.metric
    WHERE n.attempt = (SELECT max(attempt) FROM store.attempts a WHERE a.run_id = n.run_id)
    ORDER BY n.run_id, total, n.metric DESC"""  # `tokens` before `Tokens`


def apply_totals(con: duckdb.DuckDBPyConnection, written_at: str) -> None:
    """Take what `_points` says of tokens and FLOPs into `runs`; before these points are in `finals`.

    Parameters
    ----------
    con : connection within the transaction of a commit, where `_finals` lists the series that change
    written_at : time of the lines in the log about series that are no totals
    """
    found = con.execute(f"SELECT count(*) FROM _finals WHERE {OF_TOTALS}").fetchone()
    if not found or not found[0]:
        return
    names = [column[0] for column in con.execute(SERIES).description or ()]
    seen: set[tuple[str, str]] = set()
    for cells in con.fetchall():
        series = dict(zip(names, cells, strict=True))
        if (series["run_id"], series["total"]) not in seen:
            seen.add((series["run_id"], series["total"]))
            _apply(con, series, written_at)


def _apply(con: duckdb.DuckDBPyConnection, series: Mapping[str, Any], written_at: str) -> None:
    name, key = series["total"], [series["run_id"], series["attempt"]]
    is_new = series["known_step"] is None
    if not is_new and series["stored"] != series["known"]:
        return  # it is no total, or the attempt has said another
    if is_total(series):
        last = series["last"] if is_new or series["last_step"] >= series["known_step"] else series["known"]
        _set(con, name, last, key)
        is_declared = is_new and series["stored"] not in (None, last) and not series["is_logged"]
        if is_declared and series["declared"] is None:
            con.execute(
                "UPDATE store.attempts SET results = json_merge_patch(coalesce(results, '{}'), ?) "
                "WHERE run_id = ? AND attempt = ?",
                [json.dumps({f"declared_{name}": series["stored"]}), *key],
            )
        return
    if not is_new:
        _set(con, name, series["declared"], key)
    left = series["stored"] if is_new else series["declared"]
    message = (
        f"the metric {series['metric']} does not grow with the step, so that it is not the total of the run; "
        f"{name} of the run {'stays unknown' if left is None else f'is {left:g}'}"
    )
    con.execute(
        "INSERT INTO store.logs (run_id, attempt, logged_at, level, message) VALUES (?, ?, ?, 'warning', ?)",
        [*key, written_at, message],
    )


def is_total(series: Mapping[str, Any]) -> bool:
    """Return whether a series grows with the step, its new points after those known; one point may be a total."""
    if not series["never_falls"]:
        return False
    if series["known_step"] is None:
        return bool(series["first_step"] == series["last_step"] or series["last"] > series["first"])
    if series["last_step"] <= series["known_step"]:  # points that were logged late
        return bool(series["last"] <= series["known"])
    is_after = series["first_step"] <= series["known_step"] or series["first"] >= series["known"]
    return bool(is_after and series["last"] > min(series["lowest"], series["known"]))


def _set(con: duckdb.DuckDBPyConnection, name: str, value: float | None, key: Sequence[Any]) -> None:
    con.execute(f"UPDATE store.runs SET {name} = ? WHERE run_id = ?", [value, key[0]])
