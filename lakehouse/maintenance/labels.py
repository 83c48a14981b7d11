"""Tags and notes: what users say about runs afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoflop.lakehouse.maintenance.removal import chosen_runs
from isoflop.lakehouse.runs.registry import NOW

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse


def tag_runs(lake: Lakehouse, condition: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> int:
    """Add and remove tags of the runs that a SQL condition over `runs` chooses; return how many runs that were.

    Tags are a list in `runs`: SELECT … FROM runs WHERE list_contains(tags, 'baseline').
    """
    ids = [str(row["run_id"]) for row in chosen_runs(lake, condition).records()]
    if ids:
        kept = "list_filter(coalesce(tags, []), tag -> NOT list_contains(?::VARCHAR[], tag))"
        lake.write(
            [
                (
                    f"UPDATE store.runs SET tags = list_concat({kept}, ?::VARCHAR[]) "
                    "WHERE run_id IN (SELECT unnest(?))",
                    [[*remove, *add], list(dict.fromkeys(add)), ids],
                )
            ]
        )
    return len(ids)


def note_runs(lake: Lakehouse, condition: str, text: str) -> int:
    """Write a note into the log of the runs that a SQL condition chooses; return how many runs that were."""
    rows = chosen_runs(lake, condition).records()
    if rows:
        lake.write(
            [
                (
                    "INSERT INTO store.logs (run_id, attempt, logged_at, level, message) "
                    f"SELECT unnest(?), unnest(?)::INTEGER, {NOW}, 'note', ?",
                    [[row["run_id"] for row in rows], [row["attempt"] for row in rows], text],
                )
            ]
        )
    return len(rows)
