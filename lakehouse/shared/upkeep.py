"""Keeping a shared lake quick: many small commits make many small files, and old ones go after a while.

Other sessions read meanwhile, and nothing that they remember may vanish under them. DuckLake keeps few new
rows in tables of the catalog, one for each version of a table's columns, and every session remembers which
there are. A flush drops those that are empty and of an older version, at once, and a session that then asks
for one loses its whole database (duckdb/ducklake issues 1305 and 1413). So `runs`, whose columns change with
every new config key, has no rows there, and where a lake has such tables nevertheless they are kept from
being dropped and only taken off the list.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from isoflop.lakehouse.schema import POINT_ORDER
from isoflop.lakehouse.shared.outage import is_conflict

if TYPE_CHECKING:
    import duckdb

    Turn = Callable[[], contextlib.AbstractContextManager[None]]

KEEP_SECONDS = 3600  # a reader sees the lake as it was when it asked for at least this long
SORTED = {"metrics": POINT_ORDER, "finals": "run_id, attempt, metric", "predictions": "run_id, theory, metric, step"}
TABLES = (  # never `lease`, on which commits meet
    "metrics", "finals", "attempts", "batches", "runs", "logs", "timings", "sweeps", "sweep_runs", "laws", "forecasts",
    "metric_directions", "predictions", "calibrations",
)  # fmt: skip
FORGET_WRITES = (
    "DELETE FROM store.batches WHERE run_id IS NULL "
    "AND committed_at < (now() AT TIME ZONE 'UTC')::TIMESTAMP - INTERVAL 1 DAY"
)
SUPERSEDED = (
    "SELECT table_name FROM ducklake_inlined_data_tables AS older WHERE schema_version < "
    "(SELECT max(schema_version) FROM ducklake_inlined_data_tables AS newer WHERE newer.table_id = older.table_id)"
)
NEVER = 2**63 - 1  # a snapshot that no lake reaches: a row that begins there is seen by no session


def settle_in(con: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Say in which order the points lie after upkeep, when a lake is made or its schema has changed."""
    for table, order in SORTED.items():
        con.execute(f"ALTER TABLE {catalog}.store.{table} SET SORTED BY ({order})")


def keep_runs_in_files(con: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Have every row of `runs` written to a file, unless this session knows that already."""
    is_told = con.execute(
        f"FROM ducklake_options('{catalog}') WHERE option_name = 'data_inlining_row_limit' AND scope = 'TABLE' "
        "AND scope_entry = 'store.runs' AND value = '0'"
    ).fetchone()
    if is_told is None:
        con.execute(f"CALL {catalog}.set_option('data_inlining_row_limit', 0, schema => 'store', table_name => 'runs')")


def compact(con: duckdb.DuckDBPyConnection, catalog: str, turn: Turn) -> None:
    """Write inlined rows out, merge small files in order, drop deleted rows, and remove what no session reads any more.

    Each step is a transaction of its own and may lose against a writer; then the next upkeep does it.

    Parameters
    ----------
    con : connection whose current catalog is the lake
    catalog : name under which it is attached
    turn : keeps the other writers waiting while a step runs
    """
    metadata = f"__ducklake_metadata_{catalog}"
    may_flush = _keep_superseded(con, metadata)
    steps = [FORGET_WRITES]
    for table in TABLES:
        where = f"'{catalog}', '{table}', schema => 'store'"
        if may_flush:
            steps.append(
                f"CALL ducklake_flush_inlined_data('{catalog}', schema_name => 'store', table_name => '{table}')"
            )
        steps += [
            f"CALL ducklake_rewrite_data_files({where}, delete_threshold => 0.1)",
            f"CALL ducklake_merge_adjacent_files({where})",
        ]
    age = f"older_than => now() - INTERVAL {KEEP_SECONDS} SECOND"
    steps += [
        f"CALL ducklake_expire_snapshots('{catalog}', {age})",
        f"CALL ducklake_cleanup_old_files('{catalog}', {age})",
    ]
    for step in steps:
        _unless_others_came_between(con, step, turn)
    _forget_superseded(con, metadata)


def _unless_others_came_between(con: duckdb.DuckDBPyConnection, step: str, turn: Turn) -> None:
    import duckdb

    try:
        with turn():
            con.execute(step)
    except duckdb.Error as error:
        with contextlib.suppress(duckdb.Error):
            con.execute("ROLLBACK")
        if not is_conflict(error):
            raise


def _keep_superseded(con: duckdb.DuckDBPyConnection, metadata: str) -> bool:
    """Give every table of inlined rows of an older version a row that no session sees, so that no flush drops it.

    Returns whether all of them have one.
    """
    import duckdb

    for table in _superseded(con, metadata):
        try:
            _tell_catalog(
                con, metadata,
                f"INSERT INTO {table} (row_id, begin_snapshot) SELECT -1, {NEVER} "
                f"WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE begin_snapshot = {NEVER})",
            )  # fmt: skip
        except duckdb.Error as error:
            if "not-null constraint" not in str(error):
                raise
            return False  # a table of a user's own, whose columns must all be given
    return True


def _forget_superseded(con: duckdb.DuckDBPyConnection, metadata: str) -> None:
    """Take the tables that have been flushed off DuckLake's list; sessions that still ask for one find it empty."""
    for table in _superseded(con, metadata):
        _tell_catalog(
            con, metadata,
            f"DELETE FROM ducklake_inlined_data_tables WHERE table_name = '{table}' "
            f"AND NOT EXISTS (SELECT 1 FROM {table} WHERE begin_snapshot <> {NEVER})",
        )  # fmt: skip


def _superseded(con: duckdb.DuckDBPyConnection, metadata: str) -> list[str]:
    return [name for (name,) in con.execute(f"FROM postgres_query('{metadata}', '{SUPERSEDED}')").fetchall()]


def _tell_catalog(con: duckdb.DuckDBPyConnection, metadata: str, sql: str) -> None:
    con.execute(f"CALL postgres_execute('{metadata}', '{sql.replace(chr(39), chr(39) * 2)}')")
