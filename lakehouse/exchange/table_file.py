"""A table file read into DuckDB: typed columns under our names, rows in the file's order, bad values found.

CSV columns come as text and get the narrowest type that all their values have, decided over the whole
file in one scan, so that the millionth row cannot change what the first meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import FileError, did_you_mean
from isoflop.lakehouse.exchange.guarded import DEEPEST, is_deep_json
from isoflop.lakehouse.exchange.landing import COUNTS, MEASURED, PLACES

if TYPE_CHECKING:
    import duckdb

ENDINGS = ("status", "reason", "error", "started_at", "finished_at", "tags", "config")
TEXT = ("run_id", "name", "family", *PLACES, "status", "reason", "error")
SHAPE = ("width", "depth", "heads", "vocabulary", "sequence_length", "batch_tokens", "learning_rate")
NUMBERS = (*COUNTS, *MEASURED, *SHAPE, "seed", "step", "seconds")
WHOLE = ("seed", "step", "steps")
KNOWN = (*NUMBERS, *TEXT, *ENDINGS, "metric", "value")
WIDEST = 4096  # columns of a table
LONGEST_HEAD = 2**24  # bytes of a table's first line that are looked at
MISSING = ("", "NA", "N/A", "null", "NULL", "None")
NULLS = ", ".join(f"'{word}'" for word in MISSING)
READERS = {
    ".csv": f"read_csv(?, all_varchar = true, null_padding = false, nullstr = [{NULLS}])",
    ".tsv": f"read_csv(?, all_varchar = true, delim = '\t', nullstr = [{NULLS}])",
    ".parquet": "read_parquet(?)",
    ".jsonl": "read_json(?, format = 'newline_delimited')",
    ".ndjson": "read_json(?, format = 'newline_delimited')",
    ".json": "read_json(?)",
    ".arrow": "arrow_file",
    ".feather": "arrow_file",
}


@dataclass(frozen=True)
class BadRow:
    """A value that cannot be what its column says."""

    row: int
    column: str
    value: str
    why: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.column} is {self.value!r}, {self.why}"


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def load(con: duckdb.DuckDBPyConnection, path: Path, mapping: Mapping[str, str]) -> dict[str, str]:
    """Read a file into the table `rows` of `con` and return its columns, our name -> DuckDB type.

    Raises
    ------
    FileError : if the file cannot be read, or a mapped column is not in it
    """
    import duckdb

    if not path.is_file():
        raise FileError(path, None, "no such file")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise FileError(path, None, f"'{path.suffix}' is not a table we read; give one of {', '.join(READERS)}")
    try:
        _check_shape(path)
        if reader == "arrow_file":
            con.register("arrow_file", _arrow_file(path))
            con.execute("CREATE TABLE file AS SELECT * FROM arrow_file")
        else:
            con.execute(f"CREATE TABLE file AS SELECT * FROM {reader}", [str(path)])
        found = columns_of(con, "file")
        if len(found) > WIDEST:
            raise _too_wide(path, len(found))
        for name in found:
            if name.lower() == "rowid":  # DuckDB's own name for a row's place, which is needed here
                con.execute(f"ALTER TABLE file RENAME {quoted(name)} TO row_id")
        typed = _typed(con, is_text=path.suffix.lower() in (".csv", ".tsv"))
        con.execute(f"CREATE TABLE typed AS SELECT {', '.join(typed.values())} FROM file ORDER BY rowid")
        con.execute("DROP TABLE file")
        selected = _selected(con, path, list(typed), mapping)
        con.execute(f"CREATE TABLE rows AS SELECT {selected} FROM typed ORDER BY rowid")
        con.execute("DROP TABLE typed")
    except duckdb.Error as error:
        raise FileError(path, None, f"cannot be read: {' '.join(str(error).splitlines()[:2])}") from error
    return columns_of(con, "rows")


def _check_shape(path: Path) -> None:
    """Refuse a text table that a reader would take minutes over, or die of, before one reads it."""
    if READERS[path.suffix.lower()].startswith("read_json") and is_deep_json(path):
        raise FileError(
            path,
            None,
            f"nested more than {DEEPEST} deep, which no row of a table is",
            hint="give every run a flat object",
        )
    if path.suffix.lower() in (".csv", ".tsv"):
        with open(path, "rb") as file:
            first = file.readline(LONGEST_HEAD)
        count = 1 + max(first.count(mark) for mark in (b",", b"\t", b";", b"|"))
        if count > WIDEST:
            raise _too_wide(path, count)


def _too_wide(path: Path, count: int) -> FileError:
    return FileError(
        path,
        1,
        f"{count:,} columns, more than the {WIDEST:,} that are read",
        hint="give every point a row with the columns run_id, step, metric and value",
    )


def columns_of(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return a table's columns, name -> type."""
    return dict(con.execute(f"SELECT column_name, column_type FROM (DESCRIBE {table})").fetchall())


def _arrow_file(path: Path) -> object:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid as error:
        raise FileError(path, None, f"cannot be read as an Arrow file: {error}") from error


def _typed(con: duckdb.DuckDBPyConnection, *, is_text: bool) -> dict[str, str]:
    """Return, for each column of `file`, the expression that gives it its type.

    In a text file that is the narrowest type of all its values; other files say what is text, but JSON
    columns of mixed values, NaN written as a word among numbers, are looked at too.
    """
    kinds = columns_of(con, "file")
    looked_at = ("VARCHAR", "JSON") if is_text else ("JSON",)
    text = [name for name, kind in kinds.items() if kind in looked_at and name.lower() not in TEXT]
    words = {name: f"({quoted(name)}->>'$')" if kinds[name] == "JSON" else quoted(name) for name in text}
    counts: list[int] = []
    if text:
        questions = ", ".join(_questions(word) for word in words.values())
        counts = list(con.execute(f"SELECT {questions} FROM file").fetchone() or ())
    chosen = {name: f"{quoted(name)}{_narrowed(con, name, kind)}" for name, kind in kinds.items()}
    for position, name in enumerate(text):
        known, whole, numbers, truths = counts[4 * position : 4 * position + 4]
        matches = (("BIGINT", whole), ("DOUBLE", numbers), ("BOOLEAN", truths))
        wanted = next((kind for kind, count in matches if known and count == known), "VARCHAR")
        chosen[name] = f"{words[name]}::{wanted} AS {quoted(name)}"
    return chosen


def _narrowed(con: duckdb.DuckDBPyConnection, name: str, kind: str) -> str:
    """Return the cast of a wide number, which JSON and SQL expressions make, to the one that a lake holds."""
    if not kind.startswith(("DECIMAL", "HUGEINT", "UHUGEINT", "UBIGINT")):
        return ""
    cell = quoted(name)
    row = con.execute(f"SELECT bool_and(TRY_CAST({cell} AS BIGINT) = {cell}) FROM file").fetchone()
    return f"::{'BIGINT' if row and row[0] and not kind.startswith('DECIMAL') else 'DOUBLE'} AS {cell}"


def _questions(cell: str) -> str:
    """Return the counts of a text column's cells: all that are there, whole numbers, numbers, truths.

    What people write as a code is no number: 007 (between '00' and '0:', which follows '09') and 1_000.
    """
    word = f"trim({cell})"
    is_code = f"contains({word}, '_') OR ({word} >= '00' AND {word} < '0:')"
    return (
        f"count({cell}), "
        f"count(*) FILTER (regexp_full_match({word}, '[+-]?(0|[1-9][0-9]{{0,17}})')), "
        f"count(*) FILTER (TRY_CAST({word} AS DOUBLE) IS NOT NULL AND NOT ({is_code})), "
        f"count(*) FILTER (lower({word}) IN ('true', 'false'))"
    )


def _selected(con: duckdb.DuckDBPyConnection, path: Path, columns: Sequence[str], mapping: Mapping[str, str]) -> str:
    import duckdb

    by_lower = {name.lower(): name for name in columns}
    used: set[str] = set()
    parts: dict[str, str] = {}
    for ours, theirs in mapping.items():
        if theirs.lower() in by_lower:
            used.add(theirs.lower())
            parts[ours] = quoted(by_lower[theirs.lower()])
            continue
        try:
            con.execute(f"SELECT {theirs} FROM typed LIMIT 0")
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            hint = did_you_mean(theirs, columns, f"the file has {', '.join(columns)}")
            raise FileError(
                path, None, f"--map {ours}={theirs}: no column '{theirs}', and not an expression: {first}", hint=hint
            ) from error
        parts[ours] = f"({theirs})"
    for name in columns:
        ours = name.lower() if name.lower() in KNOWN else name
        if name.lower() not in used and ours not in parts:
            parts[ours] = quoted(name)
    return ", ".join(f"{text} AS {quoted(ours)}" for ours, text in parts.items())


def find_bad(con: duckdb.DuckDBPyConnection, columns: Mapping[str, str], *, is_curve: bool) -> int:
    """Fill the table `bad` (row, position, column, value, why) of impossible values and return how many rows have one.

    A point of a curve may be NaN or infinite, that is how a run diverges, and may lie at zero tokens.
    """
    parts = []
    for position, name in enumerate(name for name in NUMBERS if name in columns):
        cell, number = quoted(name), f"TRY_CAST({quoted(name)}::VARCHAR AS DOUBLE)"
        if name in WHOLE:
            wrong = f"WHEN NOT isfinite({number}) OR {number} <> floor({number}) THEN 'not a whole number' "
            wrong += f"WHEN {number} <= 0 THEN 'not a positive number' " if name == "steps" else ""
        elif name in COUNTS or name == "step_seconds":
            least = f"{number} < 0" if is_curve else f"{number} <= 0"
            words = "a finite number from zero up" if is_curve else "a positive finite number"
            wrong = f"WHEN NOT isfinite({number}) OR {least} THEN 'not {words}' "
        elif name in MEASURED and not is_curve:
            wrong = f"WHEN NOT isfinite({number}) THEN 'not finite' "
        else:
            wrong = ""
        why = f"CASE WHEN {cell} IS NULL THEN NULL WHEN {number} IS NULL THEN 'not a number' {wrong}END"
        parts.append(
            f"SELECT rowid + 1 AS row, {position} AS position, '{name}' AS \"column\", {cell}::VARCHAR AS value, "
            f"{why} AS why FROM rows"
        )
    if not parts:
        con.execute('CREATE TABLE bad ("row" BIGINT, position INTEGER, "column" VARCHAR, value VARCHAR, why VARCHAR)')
        return 0
    con.execute(f"CREATE TABLE bad AS SELECT * FROM ({' UNION ALL '.join(parts)}) WHERE why IS NOT NULL")
    (count,) = con.execute("SELECT count(DISTINCT row) FROM bad").fetchone() or (0,)
    return int(count)


def shown_bad(con: duckdb.DuckDBPyConnection, limit: int) -> tuple[list[BadRow], int]:
    """Return the first bad values in the file's order, and how many more there are."""
    rows = con.execute(f'SELECT row, "column", value, why FROM bad ORDER BY row, position LIMIT {limit}').fetchall()
    (count,) = con.execute("SELECT count(*) FROM bad").fetchone() or (0,)
    return [BadRow(*row) for row in rows], int(count) - len(rows)


def drop_bad(con: duckdb.DuckDBPyConnection) -> None:
    """Take the bad rows out of `rows`."""
    con.execute("CREATE TABLE kept AS SELECT * FROM rows WHERE rowid + 1 NOT IN (SELECT row FROM bad) ORDER BY rowid")
    con.execute("DROP TABLE rows")
    con.execute("ALTER TABLE kept RENAME TO rows")


def make_numbers(con: duckdb.DuckDBPyConnection, columns: Mapping[str, str]) -> dict[str, str]:
    """Give our number columns that still are text their numbers; returns the columns anew."""
    wanted = {name: "DOUBLE" for name in NUMBERS if columns.get(name) in ("VARCHAR", "JSON", "BOOLEAN")}
    wanted |= {name: "BIGINT" for name in ("step", "seed")}
    wanted["run_id"] = "VARCHAR"
    for name, kind in wanted.items():
        if columns.get(name, kind) != kind:
            con.execute(f"ALTER TABLE rows ALTER COLUMN {quoted(name)} TYPE {kind}")
    return columns_of(con, "rows")
