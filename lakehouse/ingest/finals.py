"""The last and best value of each metric of an attempt, folded together batch by batch."""

from __future__ import annotations

HIGHER_IS_BETTER = ("accuracy", "acc", "reward", "score", "bleu", "f1")
HIGHER = " OR ".join(f"metric LIKE '%{word}'" for word in HIGHER_IS_BETTER)


def finals_statements(points: str, tie: str = "0") -> list[str]:
    """Return the statements that fold the relation `points` into `finals`: last by step, best by value without NaN.

    Of several values at one step the last one logged counts; `tie` is the column that says which that is.
    """
    gather = f"""
        CREATE OR REPLACE TEMP TABLE _finals AS
        WITH fresh AS (
            SELECT run_id::VARCHAR AS run_id, attempt, metric::VARCHAR AS metric,
                   arg_max(value, (step, {tie})) AS last, max(step) AS last_step,
                   CASE WHEN {HIGHER} THEN max(value) FILTER (NOT isnan(value))
                        ELSE min(value) FILTER (NOT isnan(value)) END AS best,
                   CASE WHEN {HIGHER} THEN arg_max(step, value) FILTER (NOT isnan(value))
                        ELSE arg_min(step, value) FILTER (NOT isnan(value)) END AS best_step,
                   count(*) AS count, 1 AS part
            FROM {points} GROUP BY run_id, attempt, metric
        ),
        both_parts AS (
            SELECT * FROM fresh
            UNION ALL BY NAME
            SELECT f.*, 0 AS part FROM store.finals f SEMI JOIN fresh USING (run_id, attempt, metric)
        )
        SELECT run_id, attempt, metric, arg_max(last, (last_step, part)) AS last, max(last_step) AS last_step,
               CASE WHEN {HIGHER} THEN max(best) ELSE min(best) END AS best,
               CASE WHEN {HIGHER} THEN arg_max(best_step, best) ELSE arg_min(best_step, best) END AS best_step,
               sum(count)::BIGINT AS count
        FROM both_parts GROUP BY run_id, attempt, metric
    """
    replace = (
        "DELETE FROM store.finals f USING _finals n "
        "WHERE f.run_id = n.run_id AND f.attempt = n.attempt AND f.metric = n.metric"
    )
    return [gather, replace, "INSERT INTO store.finals BY NAME SELECT * FROM _finals", "DROP TABLE _finals"]
