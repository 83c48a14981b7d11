"""Write an answer's rows to a file whose ending says its format.

Nothing is sampled or rounded. NaN and infinities stay: CSV has `nan` and `inf`, JSON lines the words NaN
and Infinity, which DuckDB, pandas and Python's json read. Lists and structs in CSV are JSON. A file
appears under its name only when it is whole.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import UsageError, did_you_mean
from isoflop.lakehouse.schema.views import RESOLVED

if TYPE_CHECKING:
    import pyarrow as pa

COPIES = {
    ".parquet": "(FORMAT parquet, COMPRESSION zstd)",
    ".csv": "(FORMAT csv, HEADER true)",
    ".tsv": "(FORMAT csv, HEADER true, DELIMITER '\t')",
    ".jsonl": "(FORMAT json)",
    ".ndjson": "(FORMAT json)",
}
ARROW = (".arrow", ".feather")
TABLE_SUFFIXES = (*COPIES, *ARROW)


def statement_of(what: str, *, all_attempts: bool = False) -> str:
    """Return the statement of a view's name; any other text is one already.

    `metrics` are the curves as readers see them, unless `all_attempts` asks for what later attempts replaced too.

    Example
    -------
    >>> statement_of("runs"), statement_of("FROM runs LIMIT 1")
    ('FROM runs', 'FROM runs LIMIT 1')
    """
    name = what.strip()
    if name == "metrics" and not all_attempts:
        return RESOLVED
    return f"FROM {name}" if name.isidentifier() else what


def export_table(table: pa.Table, path: Path) -> int:
    """Write a table to `path`, replacing what is there, and return the number of rows.

    Raises
    ------
    UsageError : if the ending is none that is written
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise UsageError(
            f"'{path.suffix}' is not an ending that is written ({path.name})",
            hint=did_you_mean(suffix, TABLE_SUFFIXES, f"one of {', '.join(TABLE_SUFFIXES)}"),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if suffix in ARROW:
            _write_arrow(table, partial)
        else:
            _copy(table, partial, COPIES[suffix], is_flat=suffix in (".csv", ".tsv"))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return int(table.num_rows)


def _copy(table: pa.Table, path: Path, options: str, *, is_flat: bool) -> None:
    import duckdb

    with duckdb.connect() as con:
        con.register("answer", table)
        kinds = con.execute("SELECT column_name, column_type FROM (DESCRIBE answer)").fetchall()
        nested = [
            name.replace('"', '""') for name, kind in kinds if kind.endswith(("]", ")")) and "DECIMAL" not in kind
        ]
        as_json = ", ".join(f'to_json("{name}") AS "{name}"' for name in nested) if is_flat else ""
        columns = f"* REPLACE ({as_json})" if as_json else "*"
        target = str(path).replace("'", "''")
        con.execute(f"COPY (SELECT {columns} FROM answer) TO '{target}' {options}")


def _write_arrow(table: pa.Table, path: Path) -> None:
    import pyarrow as pa

    with pa.ipc.new_file(str(path), table.schema) as file:
        file.write_table(table)
