"""The last and best value of each metric of an attempt, folded together batch by batch."""

from __future__ import annotations

from isoflop.lakehouse.runs.metrics import is_highest


def finals_statements(points: str, tie: str = "0", *, is_directed: bool = False) -> list[str]:
    """Return the statements that fold the relation `points` into `finals`: last by step, best by value without NaN.

    The first only gathers the rows that change, in the table `_finals`.

    Parameters
    ----------
    points : relation of run_id, attempt, metric, step, value
    tie : of several values at one step the last one logged counts; the column that says which that is
    is_directed : whether `points` has a column is_highest, so that no name is looked into
    """
    carried = ", any_value(is_highest) AS is_highest" if is_directed else ""
    found = "" if is_directed else f", {is_highest()} AS is_highest"
    gather = f"""
        CREATE OR REPLACE TEMP TABLE _finals AS
        WITH fresh AS (
            SELECT run_id::VARCHAR AS run_id, attempt, metric::VARCHAR AS metric,
                   arg_max(value, (step, {tie})) AS last, max(step) AS last_step, count(*) AS count, 1 AS part,
                   max(value) FILTER (NOT isnan(value)) AS highest, min(value) FILTER (NOT isnan(value)) AS lowest,
                   arg_max(step, value) FILTER (NOT isnan(value)) AS highest_step,
                   arg_min(step, value) FILTER (NOT isnan(value)) AS lowest_step
                   {carried}
            FROM {points} GROUP BY run_id, attempt, metric
        ),
        directed AS (SELECT *{found} FROM fresh),
        both_parts AS (
            SELECT run_id, attempt, metric, last, last_step, count, part, is_highest,
                   CASE WHEN is_highest THEN highest ELSE lowest END AS best,
                   CASE WHEN is_highest THEN highest_step ELSE lowest_step END AS best_step
            FROM directed
            UNION ALL BY NAME
            SELECT f.*, 0 AS part, d.is_highest FROM store.finals f
            JOIN directed d ON f.run_id = d.run_id AND f.attempt = d.attempt AND f.metric = d.metric
        )
        SELECT run_id, attempt, metric, arg_max(last, (last_step, part)) AS last, max(last_step) AS last_step,
               CASE WHEN is_highest THEN max(best) ELSE min(best) END AS best,
               CASE WHEN is_highest THEN arg_max(best_step, best) ELSE arg_min(best_step, best) END AS best_step,
               sum(count)::BIGINT AS count
        FROM both_parts GROUP BY run_id, attempt, metric, is_highest
    """
    replace = (
        "DELETE FROM store.finals f USING _finals n "
        "WHERE f.run_id = n.run_id AND f.attempt = n.attempt AND f.metric = n.metric"
    )
    fill = "INSERT INTO store.finals BY NAME SELECT * FROM _finals"
    return [gather, replace, fill, "DROP TABLE _finals"]
