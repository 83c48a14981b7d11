"""Counts that a sweep file says otherwise than the lake has them, as after `given` in it was mended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.runs.records import RunRecord
from isoflop.lakehouse.saying import say

if TYPE_CHECKING:
    from isoflop.lakehouse.backends.backend import Database

SCRIPTS = "command"  # the family of whom nothing but the sweep file, or the script itself, tells the counts
# What trained may have said its own counts since, which nobody can tell from those of a file.
_OTHERWISE = f"""
SELECT
    r.run_id,
    EXISTS (SELECT 1 FROM store.attempts a WHERE a.run_id = r.run_id AND a.started_at IS NOT NULL) AS began,
    c.is_told AND c.params IS DISTINCT FROM r.params AS is_other
FROM store.runs r JOIN _counts c USING (run_id)
WHERE {" OR ".join(f"(c.{name} IS NOT NULL AND c.{name} IS DISTINCT FROM r.{name})" for name in COUNTS)}"""
_CORRECT = f"""
UPDATE store.runs SET {", ".join(f"{name} = coalesce(c.{name}, runs.{name})" for name in COUNTS)}
FROM _counts c WHERE runs.run_id = c.run_id
AND runs.run_id NOT IN (SELECT a.run_id FROM store.attempts a WHERE a.started_at IS NOT NULL)"""


def correct_counts(database: Database, runs: Sequence[RunRecord]) -> None:
    """Give runs that have not begun the counts that are said now, and say of how many others the lake has other ones.

    Parameters
    ----------
    runs : in the lake
    """
    import pyarrow as pa

    # Of scripts the file tells the params; families of ours count theirs, and what was counted otherwise is no mistake.
    fields = [("run_id", pa.string()), ("is_told", pa.bool_()), *((name, pa.float64()) for name in COUNTS)]
    rows = [
        {
            "run_id": run.run_id,
            "is_told": run.family == SCRIPTS and run.params is not None,
            **{name: getattr(run, name) for name in COUNTS},
        }
        for run in runs
        if any(getattr(run, name) is not None for name in COUNTS)
    ]
    if not rows:
        return
    counts = pa.Table.from_pylist(rows, pa.schema(fields))
    found = database.query(_OTHERWISE, None, {"_counts": counts}).to_pylist()
    waiting = {row["run_id"] for row in found if not row["began"]}
    if waiting:
        chosen = counts.filter(pa.array([run_id in waiting for run_id in counts.column("run_id").to_pylist()]))
        database.write([(_CORRECT, None)], {"_counts": chosen})
    kept = sum(row["began"] and row["is_other"] for row in found)
    if kept:
        who = "1 run that began before keeps its" if kept == 1 else f"{kept} runs that began before keep their"
        how = "isoflop lake gc --where removes runs, so that they train again"
        say(f"{who} params, which the sweep file says otherwise now; {how}")
