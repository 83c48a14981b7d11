"""Removing what is known: runs for good, points of attempts that nothing shows any more, or most of a curve.

Each call is one transaction, and nothing is removed that was not asked for. The ledger keeps the ids
of removed batches and counts what is left, so that a batch that comes again is still known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.answers import Answer
from isoflop.lakehouse.errors import UsageError
from isoflop.lakehouse.schema.views import SILENT

if TYPE_CHECKING:
    from isoflop.lakehouse.backends.backend import Statement
    from isoflop.lakehouse.lake import Lakehouse

OF_A_RUN = ("metrics", "finals", "timings", "logs", "predictions", "attempts", "batches", "sweep_runs", "runs")

# Attempts of which no point is part of a curve: a later one started before their first step.
SUPERSEDED = f"""
SELECT a.run_id, a.attempt FROM store.attempts a
JOIN (SELECT run_id, attempt, min(step) AS first_step
      FROM store.metrics SEMI JOIN _chosen USING (run_id) GROUP BY ALL) m USING (run_id, attempt)
WHERE EXISTS (SELECT 1 FROM (FROM store.attempts WHERE NOT ({SILENT})) later
              WHERE later.run_id = a.run_id AND later.attempt > a.attempt
              AND later.status NOT IN ('queued') AND coalesce(later.resumed_step, -9223372036854775807) < m.first_step)
"""


@dataclass(frozen=True)
class Removed:
    """What a removal took away, or would."""

    runs: int = 0
    points: int = 0
    running: int = 0  # runs that were left alone because they train


def chosen_runs(lake: Lakehouse, condition: str) -> Answer:
    """Return the runs that a SQL condition over `runs` chooses."""
    statement = (
        "SELECT run_id, name, family, status, params, loss, attempt FROM runs "
        f"WHERE (\n{condition}\n) ORDER BY submitted_at, run_id"
    )
    return Answer(lake.query(statement), statement)


def delete_runs(lake: Lakehouse, condition: str, *, dry_run: bool = False) -> Removed:
    """Delete runs with everything known about them; those that train now are left alone.

    Raises
    ------
    duckdb.Error : if the condition is none
    """
    ids, running = _idle(lake, condition)
    points = _count(lake, "SELECT count(*) AS n FROM store.metrics SEMI JOIN _chosen USING (run_id)", ids)
    if ids and not dry_run:
        lake.drain()
        lake.write(
            [(f"DELETE FROM store.{table} WHERE run_id IN (SELECT run_id FROM _chosen)", None) for table in OF_A_RUN],
            {"_chosen": _relation(ids)},
        )
    return Removed(len(ids), points, running)


def drop_old_attempts(lake: Lakehouse, condition: str = "true", *, dry_run: bool = False) -> Removed:
    """Delete the points of attempts that a later attempt replaced altogether; the attempts stay as rows."""
    ids, running = _idle(lake, condition)
    return _thinned(lake, ids, running, f"(run_id, attempt) IN ({SUPERSEDED})", dry_run)


def thin_curves(lake: Lakehouse, condition: str, keep: int, *, dry_run: bool = False) -> Removed:
    """Keep about `keep` points of each metric of each attempt: the first, the last, and log-spaced ones between.

    Raises
    ------
    UsageError : if fewer than two points would be kept
    """
    if keep < 2:
        raise UsageError(f"thinning keeps at least 2 points of a curve, not {keep}")
    ids, running = _idle(lake, condition)
    # A point stays when it is the first in its cell of a logarithmic scale over the curve's positions.
    position = "row_number() OVER (PARTITION BY run_id, attempt, metric ORDER BY step) - 1"
    scale = f"floor(ln(1 + place) / ln(1 + greatest(n, 2)) * {keep})"
    gone = f"""(run_id, attempt, metric, step) IN (
        SELECT (run_id, attempt, metric, step) FROM (
            SELECT *, row_number() OVER (PARTITION BY run_id, attempt, metric, {scale} ORDER BY step) AS nth
            FROM (SELECT run_id, attempt, metric, step, {position} AS place,
                         count(*) OVER (PARTITION BY run_id, attempt, metric) AS n
                  FROM store.metrics SEMI JOIN _chosen USING (run_id)))
        WHERE n > {keep} AND nth > 1 AND place < n - 1)"""
    return _thinned(lake, ids, running, gone, dry_run)


def _thinned(lake: Lakehouse, ids: list[str], running: int, gone: str, dry_run: bool) -> Removed:
    """Delete the points of idle runs for which `gone` holds, and count the others anew."""
    which = f"run_id IN (SELECT run_id FROM _chosen) AND {gone}"
    points = _count(lake, f"SELECT count(*) AS n FROM store.metrics WHERE {which}", ids)
    runs = _count(lake, f"SELECT count(DISTINCT run_id) AS n FROM store.metrics WHERE {which}", ids)
    if points and not dry_run:
        statements: Sequence[Statement] = [
            (f"DELETE FROM store.metrics WHERE {which}", None),
            # The ledger's first batch of an attempt stands for what is left of all of them.
            (
                "UPDATE store.batches SET points = CASE WHEN sequence = 0 AND stream IS NULL THEN coalesce((SELECT "
                "count(*) FROM store.metrics m WHERE m.run_id = batches.run_id AND m.attempt = batches.attempt), 0) "
                "ELSE 0 END WHERE run_id IN (SELECT run_id FROM _chosen)",
                None,
            ),
            (
                "UPDATE store.finals SET count = coalesce((SELECT count(*) FROM store.metrics m WHERE "
                "m.run_id = finals.run_id AND m.attempt = finals.attempt AND m.metric = finals.metric), 0) "
                "WHERE run_id IN (SELECT run_id FROM _chosen)",
                None,
            ),
        ]
        lake.write(statements, {"_chosen": _relation(ids)})
    return Removed(runs, points, running)


def _idle(lake: Lakehouse, condition: str) -> tuple[list[str], int]:
    """Return the chosen runs that do not train, and how many do."""
    lake.drain()
    rows = chosen_runs(lake, condition).records()
    busy = {str(row["run_id"]) for row in rows if row["status"] in ("running", "queued") and row["attempt"] is not None}
    idle = [str(row["run_id"]) for row in rows if row["run_id"] not in busy]
    return idle, len(rows) - len(idle)


def _count(lake: Lakehouse, statement: str, ids: list[str]) -> int:
    return int(lake.query(statement, None, {"_chosen": _relation(ids)})["n"][0].as_py())


def _relation(ids: list[str]) -> Any:
    import pyarrow as pa

    return pa.table({"run_id": pa.array(ids, pa.string())})
