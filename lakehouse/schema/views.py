"""The views that users query. They are made anew whenever a config key becomes a column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    import duckdb

# Columns of store.runs that open the view, in the order users look for them.
LEADING = ("run_id", "name", "family", "source", "seed", "tags", "config")
HIDDEN = ("created_at",)
ATTEMPT_COLUMNS = (
    "attempt", "reason", "host", "device", "started_at", "heartbeat_at", "finished_at", "validation_loss",
    "irreducible_loss", "corpus_hash", "step_seconds", "step_seconds_min", "contention", "host_load", "train_seconds",
    "compile_seconds", "peak_memory_bytes",
    "hardware", "results", "error", "code_version",
)  # fmt: skip
# A config key with one of these names stays in `config` only: the view has the name already.
RESERVED = frozenset(
    (
        *LEADING,
        *COUNTS,
        *HIDDEN,
        *ATTEMPT_COLUMNS,
        "loss",
        "status",
        "sweep_id",
        "submitted_at",
        "last_step",
        "traceback",
        "step",
        "seconds",
        "point_attempt",
    )
)

# An attempt beats twice a minute; one whose last beat is older than this is shown as lost. What was
# imported never beat, and keeps the status it came with.
SILENT_MINUTES = 10
STATUS = f"""CASE WHEN status = 'running'
                AND heartbeat_at < (now() AT TIME ZONE 'UTC')::TIMESTAMP - INTERVAL {SILENT_MINUTES} MINUTES
           THEN 'lost' ELSE status END"""

NEWEST_ATTEMPT = f"""SELECT * REPLACE ({STATUS} AS status) FROM store.attempts
           QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY attempt DESC) = 1"""

# An attempt that was reserved and never spoke: its driver or machine died before it began.
SILENT = "driver IS NOT NULL AND heartbeat_at IS NULL"

# A resumed attempt takes over after the step it resumed from; a fresh one replaces every earlier step, and a
# silent one nothing.
# One small table of runs and attempts meets the points in one join. Tokens and FLOPs that were logged
# step by step are looked for only in runs whose finals say that there are any.
TAKEN_OVER = f"""
    SELECT run_id AS _run_id, attempt AS _attempt,
           coalesce(min(CASE WHEN NOT ({SILENT}) THEN coalesce(resumed_step, -9223372036854775807) END) OVER (
               PARTITION BY run_id ORDER BY attempt ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING),
               9223372036854775807) AS _last_valid_step
    FROM store.attempts"""

# Every metric as readers of a curve see it: the points that no later attempt has taken the place of.
RESOLVED = f"""SELECT m.* FROM main.metrics m
    JOIN ({TAKEN_OVER}) t ON m.run_id = t._run_id AND m.attempt = t._attempt WHERE m.step <= t._last_valid_step"""


# A value is kept in single precision where that is exact: half the room, and torch computes most in it.
VALUE = "coalesce(value, single)"
# In which order points lie: one metric's values are alike, so they compress together, and a question
# about one metric of all runs reads nothing of the others.
POINT_ORDER = "metric, run_id, attempt, step"


def narrowed(value: str) -> str:
    """Return the two columns of store.metrics that hold the number `value`, a column or an expression."""
    single = f"try_cast({value} AS FLOAT)"
    return (
        f"CASE WHEN {single} IS DISTINCT FROM {value} THEN {value} END AS value, "
        f"CASE WHEN {single} = {value} THEN {single} END AS single"
    )


def _logged(metric: str) -> str:
    return f"""(SELECT run_id, attempt, step, any_value({VALUE}) AS value FROM store.metrics
           WHERE metric = '{metric}' AND run_id IN (SELECT run_id FROM store.finals WHERE metric = '{metric}')
           GROUP BY run_id, attempt, step)"""


CURVES = f"""
CREATE OR REPLACE VIEW main.curves AS
SELECT m.run_id, m.step,
       coalesce(tok.value, m.step * (a.tokens / a.steps)) AS tokens,
       coalesce(fl.value, m.step * (a.flops / a.steps)) AS flops,
       m.seconds, coalesce(m.value, m.single) AS loss,
       a.* EXCLUDE (run_id, tokens, flops, loss, _run_id, _attempt, _last_valid_step), m.attempt AS point_attempt
FROM store.metrics m
JOIN (SELECT * FROM ({TAKEN_OVER}) t JOIN main.runs r ON r.run_id = t._run_id) a
    ON m.run_id = a._run_id AND m.attempt = a._attempt
LEFT JOIN {_logged("tokens")} tok ON tok.run_id = m.run_id AND tok.attempt = m.attempt AND tok.step = m.step
LEFT JOIN {_logged("flops")} fl ON fl.run_id = m.run_id AND fl.attempt = m.attempt AND fl.step = m.step
WHERE m.metric = 'loss' AND m.step <= a._last_valid_step
"""

SWEEPS = """
CREATE OR REPLACE VIEW main.sweeps AS
SELECT s.sweep_id, s.name, s.created_at, count(r.run_id) AS runs,
       count(*) FILTER (r.status = 'queued') AS queued, count(*) FILTER (r.status = 'running') AS running,
       count(*) FILTER (r.status = 'finished') AS finished, count(*) FILTER (r.status = 'failed') AS failed,
       count(*) FILTER (r.status = 'lost') AS lost, s.code_version, s.spec
FROM store.sweeps s
LEFT JOIN store.sweep_runs m USING (sweep_id)
LEFT JOIN main.runs r USING (run_id)
GROUP BY ALL
"""

# Any metric as `curves` has the loss: without the points that a later attempt has taken the place of.
METRIC_CURVES = f"""CREATE OR REPLACE VIEW main.metric_curves AS
SELECT run_id, step, metric, value, seconds, attempt AS point_attempt FROM ({RESOLVED})"""

METRICS = f"""CREATE OR REPLACE VIEW main.metrics AS
SELECT run_id, attempt, metric, step, {VALUE} AS value, seconds FROM store.metrics"""
PLAIN = ("finals", "timings", "logs", "predictions", "calibrations")
VIEWS = frozenset((*PLAIN, "metrics", "metric_curves", "attempts", "laws", "forecasts", "runs", "curves", "sweeps"))
ATTEMPTS = f"""CREATE OR REPLACE VIEW main.attempts AS
SELECT * EXCLUDE (token) REPLACE ({STATUS} AS status) FROM store.attempts"""
# Resamples and residuals are long; they are read from store.laws where they are needed. Whether a law is stale is
# only looked at for its newest version.
LAWS = """
CREATE OR REPLACE VIEW main.laws AS
SELECT * EXCLUDE (draws, residuals, stale),
       CASE WHEN version = max(version) OVER (PARTITION BY lower(name)) THEN stale END AS stale
FROM store.laws
"""
# `inside` is whether the interval held the run, `error` the run's distance from the prediction in logarithms, and
# `coverage` the share of a law's scored intervals of one level that held theirs, which should be the level.
FORECASTS = """
CREATE OR REPLACE VIEW main.forecasts AS
SELECT * REPLACE (coalesce(tolerance, 1e-6) AS tolerance), observed BETWEEN lower AND upper AS inside,
       CASE WHEN observed > 0 AND predicted > 0 THEN ln(observed) - ln(predicted) END AS error,
       avg(CASE WHEN observed BETWEEN lower AND upper THEN 1 WHEN observed IS NOT NULL AND lower IS NOT NULL THEN 0 END)
           OVER (PARTITION BY lower(law), level) AS coverage
FROM store.forecasts
"""


def runs_view(columns: list[str]) -> str:
    """Return the statement of the view `runs` over these columns of store.runs."""
    settings = [name for name in columns if name not in (*LEADING, *COUNTS, *HIDDEN)]
    head = ", ".join(f'r."{name}"' for name in LEADING)
    counts = ", ".join(f'r."{name}"' for name in COUNTS)
    rest = "".join(f", r.{quoted(name)}" for name in settings)
    attempt = ", ".join(f'a."{name}"' for name in ATTEMPT_COLUMNS)
    return f"""
CREATE OR REPLACE VIEW main.runs AS
SELECT {head}, s.sweep_id, coalesce(a.status, 'queued') AS status, coalesce(a.loss, f.last) AS loss,
       {counts}{rest}, f.last_step, r.created_at AS submitted_at, {attempt}
FROM store.runs r
LEFT JOIN ({NEWEST_ATTEMPT}) a USING (run_id)
LEFT JOIN store.finals f ON f.run_id = a.run_id AND f.attempt = a.attempt AND f.metric = 'loss'
LEFT JOIN (SELECT run_id, arg_max(m.sweep_id, c.created_at) AS sweep_id
           FROM store.sweep_runs m JOIN store.sweeps c USING (sweep_id) GROUP BY run_id) s ON s.run_id = r.run_id
"""


def create_views(con: duckdb.DuckDBPyConnection) -> None:
    """Make the views of `main` anew, inside the caller's transaction."""
    for statement in view_statements(run_columns(con)):
        con.execute(statement)


def run_columns(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the columns of store.runs in their order."""
    rows = con.execute(
        "SELECT column_name FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = 'store' AND table_name = 'runs' "
        "ORDER BY column_index"
    ).fetchall()
    return [name for (name,) in rows]


def view_statements(columns: list[str]) -> list[str]:
    """Return the statements that make every view, in an order in which each finds the ones it needs."""
    plain = [f"CREATE OR REPLACE VIEW main.{name} AS SELECT * FROM store.{name}" for name in PLAIN]
    return [*plain, METRICS, METRIC_CURVES, ATTEMPTS, LAWS, FORECASTS, runs_view(columns), CURVES, SWEEPS]


def view_names(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the names of the views of `main` that there are."""
    rows = con.execute(
        "SELECT view_name FROM duckdb_views() "
        "WHERE database_name = current_database() AND schema_name = 'main' AND NOT internal"
    ).fetchall()
    return [name for (name,) in rows]
