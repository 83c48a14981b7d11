"""What the Runs view shows: one statement for the rows, one for their sparklines. Knows no widgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.sql.quoting import literal, natural

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

MOST_ROWS = 300  # of the list; more would be scrolled past, a filter finds them
SPARK_WIDTH = 16  # cells

SORTS = {
    "newest": "coalesce(started_at, submitted_at) DESC NULLS LAST",
    "loss": "loss NULLS LAST",
    "params": "params DESC NULLS LAST",
    "tokens": "tokens DESC NULLS LAST",
    "flops": "flops DESC NULLS LAST",
}
"""Orders a user can step through, each with its ORDER BY; ties are by name."""

COLUMNS = "run_id, name, family, status, reason, attempt, loss, params, tokens, flops, last_step, steps, learning_rate"

STATUS_WORDS = {"queued": "queued", "running": "running", "finished": "done", "failed": "failed", "lost": "lost"}
REASON_WORDS = {
    "diverged": "diverged",
    "out_of_memory": "no memory",
    "crash": "crashed",
    "stopped": "stopped",
    "timeout": "timeout",
}

Trace = tuple[float | None, ...]
CurveKey = tuple[str, int, int]


@dataclass(frozen=True)
class Board:
    """Rows of the Runs view.

    Parameters
    ----------
    statement : what a user can run again to get these rows
    rows : one record a run, with the columns of `COLUMNS`
    total : runs that satisfy the filter, shown or not
    curves : (run, attempt, last step) to at most `SPARK_WIDTH` mean losses, evenly spaced over the steps
    """

    statement: str
    rows: tuple[dict[str, Any], ...]
    total: int
    curves: Mapping[CurveKey, Trace]

    @property
    def is_empty(self) -> bool:
        """Whether the lake holds no run that satisfies the filter."""
        return not self.rows


def board_statement(condition: str = "", sort: str = "newest") -> str:
    """Return the statement behind the Runs view for a SQL condition and one of `SORTS`."""
    where = f"\nWHERE {condition}" if condition.strip() else ""
    return f"SELECT {COLUMNS}\nFROM runs{where}\nORDER BY {SORTS[sort]}, {natural('name')}\nLIMIT {MOST_ROWS}"


def read_board(
    lake: Lakehouse, condition: str = "", sort: str = "newest", known: Mapping[CurveKey, Trace] | None = None
) -> Board:
    """Ask for the rows and for the curves that have grown.

    Parameters
    ----------
    condition : SQL over the columns of `runs`; empty for all runs
    sort : one of `SORTS`
    known : curves of an earlier board; those that did not grow are not read again
    """
    statement = board_statement(condition, sort)
    rows = lake.sql(statement).records()
    total = len(rows)
    if total == MOST_ROWS:
        counted = lake.query(f"SELECT count(*) FROM runs WHERE (\n{condition or 'true'}\n)")
        total = int(counted.column(0)[0].as_py())
    wanted = [curve_key(row) for row in rows if row["last_step"] is not None]
    curves = {key: known[key] for key in wanted if known and key in known}
    missing = [key for key in wanted if key not in curves]
    if missing:
        curves.update(_read_curves(lake, missing))
    return Board(statement, tuple(rows), total, curves)


def curve_key(row: Mapping[str, Any]) -> CurveKey:
    """Return what a curve is known by: it changes whenever the run logs another step."""
    return row["run_id"], row["attempt"] or 0, -1 if row["last_step"] is None else row["last_step"]


def status_word(status: str, reason: str | None) -> str:
    """Return one or two words for how a run stands.

    Example
    -------
    >>> status_word("failed", "out_of_memory"), status_word("finished", None)
    ('no memory', 'done')
    """
    if status == "failed" and reason:
        return REASON_WORDS.get(reason, reason)
    return STATUS_WORDS.get(status, status)


def _read_curves(lake: Lakehouse, wanted: list[CurveKey]) -> dict[CurveKey, Trace]:
    """Mean loss in evenly spaced slots of steps, one list a run."""
    ids = ", ".join(literal(run_id) for run_id, _, _ in wanted)
    table = lake.query(
        f"""
        WITH points AS (
            SELECT run_id, value, {SPARK_WIDTH} * step // (1 + max(step) OVER (PARTITION BY run_id)) AS slot
            FROM metrics SEMI JOIN runs USING (run_id, attempt)
            WHERE metric = 'loss' AND run_id IN ({ids}) AND step >= 0
        ),
        slots AS (SELECT run_id, slot, avg(value) FILTER (isfinite(value)) AS loss FROM points GROUP BY ALL)
        SELECT run_id, list(loss ORDER BY slot) AS losses FROM slots GROUP BY run_id
        """
    )
    traces = dict(zip(table.column("run_id").to_pylist(), table.column("losses").to_pylist(), strict=True))
    return {key: tuple(traces[key[0]]) for key in wanted if key[0] in traces}
