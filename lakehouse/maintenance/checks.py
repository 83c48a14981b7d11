"""Looking after a lake: what it holds, and whether anything is lost, doubled or left over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from isoflop.lakehouse.address import SharedAddress, parse_address
from isoflop.lakehouse.answers import Answer
from isoflop.lakehouse.errors import DataFileMissing
from isoflop.lakehouse.ingest.batches import UNREADABLE, files_set_aside
from isoflop.lakehouse.ingest.immovable import COMMITTED, LEFT, beginning, file_key
from isoflop.lakehouse.ingest.writer import batch_files
from isoflop.lakehouse.maintenance.beside import problems_beside
from isoflop.lakehouse.rpc.client import SAY_AFTER
from isoflop.lakehouse.runs.metrics import is_highest
from isoflop.lakehouse.saying import say
from isoflop.lakehouse.units import format_bytes

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

COMMITTER_SECONDS = 20.0  # that a check waits for the process which commits a shared lake's spool
CONTENTS = """
SELECT (SELECT max(version) FROM store.schema_migrations) AS schema_version,
       (SELECT count(*) FROM store.runs) AS runs, (SELECT count(*) FROM store.attempts) AS attempts,
       (SELECT count(*) FROM store.sweeps) AS sweeps, (SELECT count(*) FROM store.metrics) AS points,
       (SELECT count(*) FROM store.batches WHERE run_id IS NOT NULL) AS batches,
       (SELECT count(DISTINCT name) FROM store.laws) AS laws
"""

# Each finds rows that cannot be in a whole store: kind, subject, detail.
CHECKS = (
    """SELECT 'run twice' AS kind, run_id AS subject, count(*) || ' rows in runs' AS detail
       FROM store.runs GROUP BY run_id HAVING count(*) > 1""",
    """SELECT 'attempt twice', run_id || '/' || attempt, count(*) || ' rows in attempts'
       FROM store.attempts GROUP BY run_id, attempt HAVING count(*) > 1""",
    """SELECT 'gap in sequence', concat_ws('/', run_id, attempt, stream),
              'batches up to ' || max(sequence) || ', ' || count(*) || ' committed'
       FROM store.batches WHERE run_id IS NOT NULL GROUP BY run_id, attempt, stream
       HAVING max(sequence) + 1 <> count(*)""",
    """SELECT 'batch twice', batch_id, count(*) || ' rows in the ledger'
       FROM store.batches GROUP BY batch_id HAVING count(*) > 1""",
    """SELECT 'attempt without run', a.run_id || '/' || a.attempt, 'status ' || a.status
       FROM store.attempts a ANTI JOIN store.runs r USING (run_id)""",
    """SELECT 'points without run', m.run_id, count(*) || ' points'
       FROM store.metrics m ANTI JOIN store.runs r USING (run_id) GROUP BY m.run_id""",
    """SELECT 'points differ from ledger', b.run_id || '/' || b.attempt,
              b.points || ' in the ledger, ' || coalesce(m.points, 0) || ' stored'
       FROM (SELECT run_id, attempt, sum(points)::BIGINT AS points FROM store.batches
             WHERE run_id IS NOT NULL GROUP BY ALL) b
       LEFT JOIN (SELECT run_id, attempt, count(*) AS points FROM store.metrics GROUP BY ALL) m USING (run_id, attempt)
       WHERE b.points <> coalesce(m.points, 0)""",
    """SELECT 'finals disagree', f.run_id || '/' || f.attempt || ' ' || f.metric,
              f.count || ' counted, ' || coalesce(m.n, 0) || ' stored'
       FROM store.finals f
       LEFT JOIN (SELECT run_id, attempt, metric, count(*) AS n FROM store.metrics GROUP BY ALL) m
       USING (run_id, attempt, metric)
       WHERE f.count <> coalesce(m.n, 0)""",
    # A thinned curve may have lost its best point, never its last; so nothing stored may be better or later.
    f"""SELECT 'finals disagree', f.run_id || '/' || f.attempt || ' ' || f.metric,
              concat('last ', f.last, ' at step ', f.last_step, ', best ', f.best, '; stored up to step ', m.newest,
                     ', from ', m.lowest, ' to ', m.highest)
       FROM store.finals f
       JOIN (SELECT run_id, attempt, metric, max(step) AS newest, arg_max(value, step) AS ending,
                    min(value) FILTER (NOT isnan(value)) AS lowest, max(value) FILTER (NOT isnan(value)) AS highest
             FROM main.metrics GROUP BY ALL) m USING (run_id, attempt, metric)
       WHERE m.newest <> f.last_step OR (f.best IS NULL AND m.lowest IS NOT NULL)
          OR CASE WHEN {is_highest("f.metric")} THEN m.highest > f.best ELSE m.lowest < f.best END
          OR (m.ending IS DISTINCT FROM f.last AND NOT EXISTS (
                SELECT 1 FROM main.metrics p WHERE p.run_id = f.run_id AND p.attempt = f.attempt
                AND p.metric = f.metric AND p.step = f.last_step AND p.value IS NOT DISTINCT FROM f.last))""",
)


def describe(lake: Lakehouse) -> Answer:
    """Return one row about the lake: address, size, schema, how many of everything."""
    waiting = len(list(lake.spool_folder.glob("*.parquet"))) if lake.spool_folder.is_dir() else 0
    table = lake.query(
        f"SELECT ? AS address, ? AS size, c.*, ? AS waiting_batches, version() AS duckdb_version FROM ({CONTENTS}) c",
        [lake.address, format_bytes(size_of(lake)), waiting],
    )
    return Answer(table, statement=CONTENTS.strip())


def size_of(lake: Lakehouse) -> int:
    """Return how much room the lake's data takes [bytes]; of a shared lake, its Parquet files."""
    if lake.is_shared:
        row = lake.query("SELECT coalesce(sum(file_size_bytes), 0)::BIGINT AS size FROM ducklake_table_info('lake')")
        return int(row["size"][0].as_py())
    files = (lake.path, lake.path.with_name(lake.path.name + ".wal"))
    return sum(path.stat().st_size for path in files if path.exists())


def find_problems(lake: Lakehouse) -> Answer:
    """Return a row for everything that is lost, doubled or left over; no rows for a whole store."""
    import pyarrow as pa

    waited = batch_files(lake.spool_folder)  # what comes after this is of scripts that train
    if not lake.is_read_only:
        lake.drain()
        _wait_for_committer(lake, waited)
    statement = " UNION ALL ".join(f"({check})" for check in CHECKS)
    rows = [
        *_files_gone(lake),
        *_lost_or_doubled(lake, statement),
        *_left_in_the_spool(lake, waited),
        *(
            {"kind": "file is not a batch", "subject": name, "detail": f"{reason}; in {lake.spool_folder / UNREADABLE}"}
            for name, reason in files_set_aside(lake.spool_folder).items()
        ),
        *problems_beside(lake),
    ]
    schema = pa.schema([("kind", pa.string()), ("subject", pa.string()), ("detail", pa.string())])
    return Answer(pa.Table.from_pylist(rows, schema=schema), statement=statement)


def _lost_or_doubled(lake: Lakehouse, statement: str) -> list[dict[str, str]]:
    """Return what the checks find; where a table of theirs lacks a file, what those find that do without it."""
    try:
        return list(lake.query(statement).to_pylist())
    except DataFileMissing:
        found = []
        for check in CHECKS:
            with contextlib.suppress(DataFileMissing):
                found += lake.query(check).to_pylist()
        return found


def _files_gone(lake: Lakehouse) -> list[dict[str, str]]:
    """Return a row for every file of a shared lake's tables that is not where its data lie."""
    if not lake.is_shared:
        return []
    from isoflop.lakehouse.shared import SharedStore

    address = parse_address(lake.address)
    assert isinstance(address, SharedAddress)
    with contextlib.closing(SharedStore(address, lake.spool_folder, is_read_only=True)) as store:
        return [{"kind": "data file missing", "subject": name, "detail": lacks} for name, lacks in store.files_gone()]


def _wait_for_committer(lake: Lakehouse, waited: set[str]) -> None:
    """Let the process that commits a shared lake's spool come to what waits in it: a drain leaves that to it."""
    began, has_said = time.monotonic(), False
    while lake.is_shared and waited & batch_files(lake.spool_folder):
        if time.monotonic() - began > COMMITTER_SECONDS:
            return
        if not has_said and time.monotonic() - began > SAY_AFTER:
            has_said = True
            say(f"waiting for the process that commits {lake.spool_folder}")
        time.sleep(0.1)
        lake.drain()


def _left_in_the_spool(lake: Lakehouse, waited: set[str]) -> Iterator[dict[str, str]]:
    """Yield a row for every batch that waits in the spool still, and why it stays there where that is known."""
    waiting = [lake.spool_folder / name for name in sorted(waited & batch_files(lake.spool_folder))]
    if not waiting:
        return
    states = {key: state for _, state, key in (text.split("/", 2) for text in lake.query(LEFT)["batch_id"].to_pylist())}
    for path in waiting:
        kind, detail = "batch left in the spool", "isoflop lake ingest"
        state = states.get(str(file_key(path)))
        if state == COMMITTED:
            detail = f"it is committed and cannot be removed; whoever owns {lake.spool_folder} can"
        elif state is not None:
            said = lake.query(
                "SELECT message FROM store.logs WHERE starts_with(message, ?) ORDER BY logged_at DESC LIMIT 1",
                [f"{beginning(path.name)} was set aside: "],
            )["message"].to_pylist()
            reason = said[0].partition(" was set aside: ")[2] if said else "not a batch of points"
            kind, detail = "file is not a batch", f"{reason}; it cannot be moved out of {lake.spool_folder}"
        yield {"kind": kind, "subject": path.name, "detail": detail}
