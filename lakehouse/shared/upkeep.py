"""Keeping a shared lake quick: many small commits make many small files, and old ones go after a while."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from isoflop.lakehouse.schema import POINT_ORDER
from isoflop.lakehouse.shared.outage import is_conflict

if TYPE_CHECKING:
    import duckdb

KEEP_SECONDS = 3600  # a reader sees the lake as it was when it asked for at least this long
SORTED = {"metrics": POINT_ORDER, "finals": "run_id, attempt, metric"}
TABLES = (  # never `lease`, on which commits meet
    "metrics", "finals", "attempts", "batches", "runs", "logs", "timings", "sweeps", "sweep_runs", "laws", "forecasts",
)  # fmt: skip
FORGET_WRITES = (
    "DELETE FROM store.batches WHERE run_id IS NULL "
    "AND committed_at < (now() AT TIME ZONE 'UTC')::TIMESTAMP - INTERVAL 1 DAY"
)


def settle_in(con: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Say in which order the points lie after upkeep, when a lake is made or its schema has changed."""
    for table, order in SORTED.items():
        con.execute(f"ALTER TABLE {catalog}.store.{table} SET SORTED BY ({order})")


def compact(con: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Write inlined rows out, merge small files in order, drop deleted rows, and remove what nobody reads any more.

    Each step is a transaction of its own and may lose against a writer; then the next upkeep does it.
    """
    import duckdb

    steps = [FORGET_WRITES]
    for table in TABLES:
        one = f"'{catalog}', '{table}', schema => 'store'"
        steps += [
            f"CALL ducklake_flush_inlined_data('{catalog}', schema_name => 'store', table_name => '{table}')",
            f"CALL ducklake_rewrite_data_files({one}, delete_threshold => 0.1)",
            f"CALL ducklake_merge_adjacent_files({one})",
        ]
    age = f"older_than => now() - INTERVAL {KEEP_SECONDS} SECOND"
    steps += [
        f"CALL ducklake_expire_snapshots('{catalog}', {age})",
        f"CALL ducklake_cleanup_old_files('{catalog}', {age})",
    ]
    for step in steps:
        try:
            con.execute(step)
        except duckdb.Error as error:
            with contextlib.suppress(duckdb.Error):
                con.execute("ROLLBACK")
            if not is_conflict(error):
                raise
