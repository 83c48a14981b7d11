"""The Parquet files of a shared lake: what a table lacks when one of them is gone.

The catalog says which files a table has now and how many rows each holds; the files lie elsewhere, where a hand, a
bucket's rule or a half restored backup may take one away. DuckDB then names a path, which says nothing to who asked.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import DataFileMissing
from isoflop.lakehouse.sql.quoting import literal

if TYPE_CHECKING:
    import duckdb

    from isoflop.lakehouse.address import SharedAddress

_NAMED = re.compile(r"""["'](?P<path>[^"']*?(?P<file>[^"'/]+\.parquet))["']""")
_GONE = re.compile(r"No such file|404|Not Found|NoSuchKey", re.IGNORECASE)
_CURRENT = """
SELECT CASE s.schema_name WHEN 'main' THEN t.table_name ELSE s.schema_name || '.' || t.table_name END AS name,
       f.rows, sum(f.rows) OVER (PARTITION BY t.table_id) AS of_table, parse_filename(f.path) AS file,
       CASE WHEN NOT f.path_is_relative THEN f.path WHEN NOT t.path_is_relative THEN t.path || f.path
            ELSE concat('{data}/', s.path, t.path, f.path) END AS path
FROM (SELECT table_id, path, path_is_relative, record_count AS rows FROM {catalog}.ducklake_data_file
      WHERE end_snapshot IS NULL
      UNION ALL SELECT table_id, path, path_is_relative, 0 FROM {catalog}.ducklake_delete_file
      WHERE end_snapshot IS NULL) f
JOIN {catalog}.ducklake_table t ON t.table_id = f.table_id AND t.end_snapshot IS NULL
JOIN {catalog}.ducklake_schema s ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL
"""
TODO = (
    "put it back from a backup, under the same name; other tables answer, and isoflop lake check lists every file that "
    "is gone"
)


def _current(address: SharedAddress, catalog: str) -> str:
    """Return the query of the files that tables have now: `name` of the table, `path`, `rows` and rows `of_table`."""
    return _CURRENT.format(catalog=f"__ducklake_metadata_{catalog}", data=address.data.replace("'", "''"))


def files_gone(con: duckdb.DuckDBPyConnection, address: SharedAddress, catalog: str) -> list[tuple[str, str]]:
    """Return the files of tables that are not where the data lie: the table of each, and what it lacks.

    Parameters
    ----------
    con : where the lake is attached as `catalog`
    """
    there = f"SELECT parse_filename(file) FROM glob({literal(address.data + '/**')})"
    query = f"SELECT path, name, rows, of_table FROM ({_current(address, catalog)}) WHERE file NOT IN ({there})"
    found = con.execute(f"{query} ORDER BY name, path").fetchall()
    return [(name, described(path, name, int(rows), int(of_table))) for path, name, rows, of_table in found]


def described(path: str, name: str, rows: int, of_table: int) -> str:
    """Return what is to be said of a file that is gone.

    Example
    -------
    >>> described("/data/main/t/a.parquet", "t", 20000, 30000)
    'table t lacks its data file /data/main/t/a.parquet, which held 20,000 of its 30,000 rows in files'
    """
    held = f"{rows:,} of its {of_table:,} rows in files" if rows else "which of its rows are deleted"
    return f"table {name} lacks its data file {path}, which held {held}"


def missing_file(
    con: duckdb.DuckDBPyConnection, address: SharedAddress, catalog: str, error: Exception
) -> DataFileMissing | None:
    """Return what an error means where it is that a file of a table cannot be read; None for any other.

    A file that another process has rewritten meanwhile is none of the table's any more: asked again, it answers.

    Parameters
    ----------
    con : where the lake is attached as `catalog`
    error : what DuckDB raised
    """
    import duckdb

    if not isinstance(error, duckdb.IOException | duckdb.HTTPException | duckdb.InvalidInputException):
        return None
    named = _NAMED.search(str(error))
    if named is None:
        return None
    query = f"SELECT name, rows, of_table FROM ({_current(address, catalog)}) WHERE file = ?"
    row = None
    with contextlib.suppress(duckdb.Error), con.cursor() as cursor:  # a catalog that is away is another matter
        row = cursor.execute(query, [named["file"]]).fetchone()
    if row is None:
        return None
    name, rows, of_table = row
    if _GONE.search(str(error)):
        return DataFileMissing(described(named["path"], name, int(rows), int(of_table)), hint=TODO)
    reason = str(error).partition("\n")[0].partition(": ")[2]
    message = f"the data file {named['path']} of table {name} of {address}, with {int(rows):,} rows, cannot be read"
    return DataFileMissing(f"{message}: {reason}", hint=TODO)
