"""A table file read into DuckDB: typed columns under our names, rows in the file's order.

CSV and TSV with any delimiter, Parquet, Arrow, JSON and JSON lines, Excel; CSV and JSON also compressed. Lists of
numbers in a record and the charts that Weights & Biases exports become rows of curves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange.guarded import DEEPEST, check_text, chunks_of, has_many_keys, is_deep_json
from isoflop.lakehouse.exchange.keyed_records import columns_unfolded, keyed_unfolded
from isoflop.lakehouse.exchange.line_ends import alike, unread
from isoflop.lakehouse.exchange.repeated import headings_before, headings_of_text, repeated, told_apart_names
from isoflop.lakehouse.exchange.table_columns import RAW, Chosen, chosen, columns_of, typed
from isoflop.lakehouse.exchange.table_shapes import (
    charts_unfolded,
    lists_unfolded,
    records_unfolded,
    structs_opened,
    trials_renamed,
)
from isoflop.lakehouse.exchange.workbook import read_workbook
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

WIDEST = 4096  # columns of a table
LONGEST_HEAD = 2**24  # bytes of a table's first line that are looked at
MISSING = ("", "NA", "N/A", "null", "NULL", "None")
NULLS = ", ".join(f"'{word}'" for word in MISSING)
CSV = f"read_csv(?, all_varchar = true, null_padding = false, nullstr = [{NULLS}]"
READERS = {
    ".csv": f"{CSV})",
    ".tsv": f"{CSV}, delim = '\t')",
    ".txt": f"{CSV})",
    ".parquet": "read_parquet(?)",
    ".jsonl": "read_json(?, format = 'newline_delimited')",
    ".ndjson": "read_json(?, format = 'newline_delimited')",
    ".json": "read_json(?)",
    ".arrow": "arrow_file",
    ".feather": "arrow_file",
    ".xlsx": "workbook",
}
COMPRESSED = (".gz", ".zst")
IS_CSV = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class TableFile:
    """A file that was read into the table `rows` of a connection.

    Parameters
    ----------
    columns : our name -> DuckDB type
    chosen : which of the file's columns they are
    """

    columns: Mapping[str, str]
    chosen: Chosen


def ending(path: Path) -> str:
    """Return the ending that says what a file is, whether it is compressed or not.

    Example
    -------
    >>> ending(Path("runs.csv.gz")), ending(Path("runs.CSV"))
    ('.csv', '.csv')
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in COMPRESSED), "")


def stem(path: Path) -> str:
    """Return a file's name without its endings.

    Example
    -------
    >>> stem(Path("a/runs.csv.gz")), stem(Path("v1.5.csv"))
    ('runs', 'v1.5')
    """
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return inner.stem


def load(con: duckdb.DuckDBPyConnection, path: Path, mapping: Mapping[str, str], sheet: str | None = None) -> TableFile:
    """Read a file, of a workbook the sheet, into the table `rows` of `con`.

    Raises
    ------
    FileError : if the file cannot be read, or a mapped column is not in it
    """
    import duckdb

    if not path.is_file():
        raise FileError(path, None, "no such file")
    kind = ending(path)
    reader = READERS.get(kind)
    if reader is None:
        raise FileError(path, None, f"'{path.suffix}' is not a table we read; give one of {', '.join(READERS)}")
    try:
        has_commas = _check_shape(path, kind)
        notes, raw_of = _read(con, path, kind, sheet)
        found = columns_of(con, "file")
        if len(found) > WIDEST:
            raise _too_wide(path, len(found))
        for name in found:
            if name.lower() == "rowid":  # DuckDB's own name for a row's place, which is needed here
                con.execute(f"ALTER TABLE file RENAME {quoted(name)} TO row_id")
        notes += [*records_unfolded(con), *keyed_unfolded(con), *columns_unfolded(con, path), *charts_unfolded(con)]
        con.execute(f"CREATE TABLE raw AS SELECT *, {raw_of(list(columns_of(con, 'file')))} AS {RAW} FROM file")
        con.execute("DROP TABLE file")
        con.execute("ALTER TABLE raw RENAME TO file")
        structs_opened(con, mapping, WIDEST)
        if (count := len(columns_of(con, "file"))) > WIDEST:
            raise _too_wide(path, count)
        notes += [*lists_unfolded(con, path, mapping), *trials_renamed(con)]
        picked = typed(con, is_text=kind in IS_CSV, has_commas=has_commas)
        con.execute(f"CREATE TABLE typed AS SELECT {', '.join(picked.values())}, {RAW} FROM file ORDER BY rowid")
        con.execute("DROP TABLE file")
        found_columns = chosen(con, path, mapping, has_commas=has_commas)
        selected = ", ".join(f"{text} AS {quoted(ours)}" for ours, text in found_columns.columns.items())
        con.execute(f"CREATE TABLE rows AS SELECT {selected}, {RAW} FROM typed ORDER BY rowid")
        con.execute("DROP TABLE typed")
    except duckdb.Error as error:
        said = " ".join(str(error).splitlines()[:2])
        is_text = kind in IS_CSV or reader.startswith("read_json")
        raise unread(path, said) if is_text else FileError(path, None, f"cannot be read: {said}") from error
    columns = columns_of(con, "rows")
    del columns[RAW]
    return TableFile(columns, Chosen(found_columns.columns, (*notes, *found_columns.notes), found_columns.taken))


def _read(
    con: duckdb.DuckDBPyConnection, path: Path, kind: str, sheet: str | None
) -> tuple[list[str], Callable[[list[str]], str]]:
    """Read a file into the table `file`; returns notes on sheets and headings, and what makes the SQL of checksums."""
    reader = READERS[kind]
    if reader == "workbook":
        book = read_workbook(path, sheet)
        con.register("given", book.table)
        con.execute("CREATE TABLE file AS SELECT * FROM given")
        columns = book.table.column_names[: len(book.headings)]
        title = book.table.column_names[-1] if len(columns) < book.table.num_columns else None
        return [*book.notes, *repeated(book.headings, columns)], partial(_raw, title=title, first=book.first)
    if reader == "arrow_file":
        table = _arrow_file(path)
        headings = list(table.column_names)
        con.register("given", table.rename_columns(told_apart_names(headings)))
        con.execute("CREATE TABLE file AS SELECT * FROM given")
    else:
        _read_text(con, path, reader, kind)
        headings = []
    columns = list(columns_of(con, "file"))
    if kind in IS_CSV:
        headings = headings_of_text(_first_line(path).decode(errors="replace"))
    elif not headings:
        headings = headings_before(columns)
    return repeated(headings, columns), _raw


def _read_text(con: duckdb.DuckDBPyConnection, path: Path, reader: str, kind: str) -> None:
    """Read a file with DuckDB's reader into the table `file`, a text table whatever the mixture of its line ends."""
    import duckdb

    statement = f"CREATE TABLE file AS SELECT * FROM {reader}"
    try:
        con.execute(statement, [str(path)])
    except duckdb.Error:
        if kind not in IS_CSV:
            raise
        with alike(path) as copy:
            if copy is None:
                raise
            con.execute(statement, [str(copy)])


def _raw(names: list[str], title: str | None = None, first: str = "") -> str:
    """Return the SQL of a checksum of everything that the file says in a row.

    A row is the same whether the workbook's `first` sheet is read alone or with others, whose `title` is a column then.
    """
    cells = ", ".join(f"coalesce({quoted(name)}::VARCHAR, chr(1))" for name in names if name != title)
    if title is None:
        return f"md5(concat_ws(chr(31), {cells}))"
    place = f"CASE WHEN {quoted(title)} <> '{first.replace(chr(39), chr(39) * 2)}' THEN {quoted(title)} END"
    return f"md5(concat_ws(chr(31), {cells}, {place}))"  # concat_ws leaves NULL out


def _check_shape(path: Path, kind: str) -> bool:
    """Refuse a text table that a reader would take minutes over, or die of, before one reads it.

    Returns whether it is a spreadsheet's CSV, which writes 3,5 for 3.5 because semicolons stand between its cells.
    """
    is_json = READERS[kind].startswith("read_json")
    if kind in IS_CSV or is_json:
        check_text(path, has_lines=kind != ".json")
    if is_json and is_deep_json(path):
        raise FileError(
            path,
            None,
            f"nested more than {DEEPEST} deep, which no row of a table is",
            hint="give every run a flat object",
        )
    if is_json and has_many_keys(path):
        raise FileError(
            path, None, f"names more fields than the {WIDEST:,} columns that are read",
            hint="give every point a row with the columns run_id, step, metric and value",
        )  # fmt: skip
    if kind not in IS_CSV:
        return False
    first = _first_line(path)
    count = 1 + max(first.count(mark) for mark in (b",", b"\t", b";", b"|"))
    if count > WIDEST:
        raise _too_wide(path, count)
    return first.count(b";") > first.count(b",") or (first.count(b"\t") > 0 and b"," not in first)


def _first_line(path: Path) -> bytes:
    with contextlib.closing(chunks_of(path)) as chunks:
        head = b""
        for chunk in chunks:
            head += chunk
            if b"\n" in chunk or len(head) > LONGEST_HEAD:
                break
    return head.partition(b"\n")[0]


def _too_wide(path: Path, count: int) -> FileError:
    return FileError(
        path,
        1,
        f"{count:,} columns, more than the {WIDEST:,} that are read",
        hint="give every point a row with the columns run_id, step, metric and value",
    )


def _arrow_file(path: Path) -> pa.Table:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid as error:
        raise FileError(path, None, f"cannot be read as an Arrow file: {error}") from error
