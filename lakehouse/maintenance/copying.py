"""Copying a lake to another address, of whichever kind, and proof that the copy is the same."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.address import FileAddress, SharedAddress, parse_address
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.maintenance.rewrite import POINTS, carry_over
from isoflop.lakehouse.sql.quoting import literal

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

TABLES = """
SELECT schema_name, table_name FROM duckdb_tables()
WHERE database_name = current_database() AND NOT internal AND NOT temporary AND table_name <> 'lease' ORDER BY ALL
"""


@dataclass(frozen=True)
class Copied:
    """What was copied and compared."""

    tables: int
    rows: int


def copy_lake(source: str | None, target: str) -> Copied:
    """Copy the lake at address `source`, the usual one when None, to the new lake at address `target`, both ways exact.

    The source may be in use; the copy is as it was at one moment. What still waits in its spool is
    committed first.

    Raises
    ------
    StoreError : if the target holds something, or the copy does not equal the source
    """
    from isoflop.lakehouse.lake import Lakehouse

    place = parse_address(target)
    with Lakehouse(source) as lake:
        lake.drain()
        if isinstance(place, FileAddress):
            lake.snapshot(place.path)
            before = fingerprints(lake) if not _is_in_use(lake) else {}
            with Lakehouse(target, drains=False) as copy:
                return _compared(before, fingerprints(copy), target)
        with tempfile.TemporaryDirectory(prefix="isoflop-copy-") as folder:
            file = Path(folder) / "lake.duckdb"
            lake.snapshot(file)
            with Lakehouse(file, drains=False) as still:
                before = fingerprints(still)
            load_file(file, place)
    with Lakehouse(target, drains=False) as copy:
        return _compared(before, fingerprints(copy), target)


def _is_in_use(lake: Lakehouse) -> bool:
    """Return whether others may write between the snapshot and a look at the source."""
    return lake.is_shared or not lake.is_owner


def load_file(file: Path, place: SharedAddress) -> None:
    """Copy a lake's file into an empty shared catalog.

    Raises
    ------
    StoreError : if the catalog holds runs, laws or tables already
    """
    from isoflop.lakehouse.lake import Lakehouse
    from isoflop.lakehouse.shared import SharedStore

    with Lakehouse(str(place), drains=False) as lake:
        held = lake.query("SELECT (SELECT count(*) FROM store.runs) + (SELECT count(*) FROM store.laws) AS n")
        if held["n"][0].as_py():
            raise StoreError(f"{place} holds runs or laws already; a copy goes into an empty lake")
        store = lake._reach()
        assert isinstance(store, SharedStore)

        def load(cursor: object) -> None:
            import duckdb

            assert isinstance(cursor, duckdb.DuckDBPyConnection)
            cursor.execute(f"ATTACH {literal(str(file))} AS _file (READ_ONLY)")
            try:
                carry_over(cursor, "_file", "lake")
            finally:
                cursor.execute("DETACH _file")

        store.with_cursor(load)
        lake.compact()


def fingerprints(lake: Lakehouse) -> dict[str, tuple[int, int]]:
    """Return for each table how many rows it has and a hash of them all, whatever their order."""
    found = {}
    for row in lake.query(TABLES).to_pylist():
        name = f'"{row["schema_name"]}"."{row["table_name"]}"'
        columns = lake.query(
            "SELECT column_name AS name FROM duckdb_columns() WHERE database_name = current_database() "
            "AND schema_name = ? AND table_name = ? ORDER BY column_name",
            [row["schema_name"], row["table_name"]],
        )["name"].to_pylist()
        listed = ", ".join(f'"{column}"' for column in columns)
        if (row["schema_name"], row["table_name"]) == POINTS:  # in which of two columns a value lies may differ
            name, listed = "main.metrics", "run_id, attempt, metric, step, value, seconds"
        # A sum sees what an exclusive or does not: the same row twice. The shift keeps it from overflowing.
        counted = lake.query(
            f"SELECT count(*) AS n, coalesce(bit_xor(h), 0)::HUGEINT + coalesce(sum(h >> 8), 0) AS h "
            f"FROM (SELECT hash({listed}) AS h FROM {name})"
        ).to_pylist()[0]
        found[name] = (int(counted["n"]), int(counted["h"]))
    return found


def _compared(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], target: str) -> Copied:
    different = [name for name, known in before.items() if after.get(name) != known]
    if different:
        raise StoreError(
            f"the copy {target} differs from its source in {', '.join(different)}", hint="remove it and copy again"
        )
    return Copied(len(after), sum(rows for rows, _ in after.values()))
