"""Columns of a table file under our names: typed, mapped by the user or recognized by their usual names.

Text columns get the narrowest type that all their values have, decided over the whole file in one scan, so that the
millionth row cannot change what the first meant. Columns that become numbers of ours are read as users write numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import FileError, did_you_mean, nearest
from isoflop.lakehouse.exchange.mapping import names_in
from isoflop.lakehouse.exchange.recognizing import IS_TEXT, KNOWN, NUMBERS, TEXT, recognized
from isoflop.lakehouse.exchange.values import as_number, is_nothing
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    import duckdb

RAW = "_isoflop_raw"  # the column that knows a row by what the file says in it, whatever is made of that
TYPO = 0.8  # likeness of a name to one of ours, by difflib [1], from which it is taken for a slip


@dataclass(frozen=True)
class Chosen:
    """What the columns of a table became.

    Parameters
    ----------
    columns : our name -> SQL over the table `typed`
    notes : which columns were recognized by their usual names
    taken : the same as a mapping, our name -> column or expression
    """

    columns: Mapping[str, str]
    notes: tuple[str, ...] = ()
    taken: Mapping[str, str] = field(default_factory=dict)


def columns_of(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return a table's columns, name -> type."""
    return dict(con.execute(f"SELECT column_name, column_type FROM (DESCRIBE {table})").fetchall())


def typed(con: duckdb.DuckDBPyConnection, *, is_text: bool, has_commas: bool) -> dict[str, str]:
    """Return, for each column of `file`, the expression that gives it its type.

    In a text file that is the narrowest type of all its values; other files say what is text, but JSON
    columns of mixed values, NaN written as a word among numbers, are looked at too.
    """
    kinds = columns_of(con, "file")
    kinds.pop(RAW, None)
    looked_at = IS_TEXT if is_text else ("JSON",)
    text = [name for name, kind in kinds.items() if kind in looked_at and name.lower() not in TEXT]
    words = {name: f"({quoted(name)}->>'$')" if kinds[name] == "JSON" else quoted(name) for name in text}
    counts: list[int] = []
    if text:
        questions = ", ".join(_questions(word, has_commas) for word in words.values())
        counts = list(con.execute(f"SELECT {questions} FROM file").fetchone() or ())
    chosen = {name: f"{quoted(name)}{_narrowed(con, name, kind)}" for name, kind in kinds.items()}
    for position, name in enumerate(text):
        known, whole, numbers, truths = counts[4 * position : 4 * position + 4]
        word, cell = words[name], quoted(name)
        there = f"CASE WHEN NOT ({is_nothing(word)}) THEN {word} END"
        if known and known == whole:
            chosen[name] = f"({there})::BIGINT AS {cell}"
        elif known and known == numbers:
            read = as_number(word, has_commas=True) if has_commas else f"({there})::DOUBLE"
            chosen[name] = f"{read} AS {cell}"
        elif known and known == truths:
            chosen[name] = f"({there})::BOOLEAN AS {cell}"
        else:
            chosen[name] = f"{word}::VARCHAR AS {cell}"
    return chosen


def _narrowed(con: duckdb.DuckDBPyConnection, name: str, kind: str) -> str:
    """Return the cast of a wide number, which JSON and SQL expressions make, to the one that a lake holds."""
    if not kind.startswith(("DECIMAL", "HUGEINT", "UHUGEINT", "UBIGINT")):
        return ""
    cell = quoted(name)
    row = con.execute(f"SELECT bool_and(TRY_CAST({cell} AS BIGINT) = {cell}) FROM file").fetchone()
    return f"::{'BIGINT' if row and row[0] and not kind.startswith('DECIMAL') else 'DOUBLE'} AS {cell}"


def _questions(cell: str, has_commas: bool) -> str:
    """Return the counts of a text column's cells: all that say something, whole numbers, numbers, truths.

    What users write as a code is no number: 007 (between '00' and '0:', which follows '09') and 1_000.
    """
    word = f"trim({cell})"
    is_code = f"contains({word}, '_') OR ({word} >= '00' AND {word} < '0:')"
    number = f"TRY_CAST({word} AS DOUBLE) IS NOT NULL"
    if has_commas:
        number = f"({number} OR (contains({word}, ',') AND {as_number(word, has_commas=True)} IS NOT NULL))"
    return (
        f"count({cell}) FILTER (NOT ({is_nothing(cell)})), "
        f"count(*) FILTER (regexp_full_match({word}, '[+-]?(0|[1-9][0-9]{{0,17}})')), "
        f"count(*) FILTER ({number} AND NOT ({is_code})), "
        f"count(*) FILTER (lower({word}) IN ('true', 'false'))"
    )


def chosen(con: duckdb.DuckDBPyConnection, path: Path, mapping: Mapping[str, str], *, has_commas: bool) -> Chosen:
    """Return our columns of the table `typed`, and fill the table `unread` of cells that an expression could not use.

    Raises
    ------
    FileError : if a mapped name is no column, and no expression over columns and what was mapped before it
    """
    con.execute('CREATE TABLE unread ("row" BIGINT, "column" VARCHAR, value VARCHAR, why VARCHAR)')
    kinds = columns_of(con, "typed")
    kinds.pop(RAW, None)
    by_lower = {name.lower(): name for name in kinds}
    used: set[str] = set()
    parts: dict[str, str] = {}
    for ours, theirs in mapping.items():
        if theirs.lower() in by_lower:
            column = by_lower[theirs.lower()]
            used.add(column)
            parts[ours] = _as_ours(ours, quoted(column), kinds[column], has_commas)
        else:
            parts[ours] = _worked_out(con, path, ours, theirs, kinds, parts, has_commas)
    for name in kinds:
        ours = name.lower() if name.lower() in KNOWN else name
        if name not in used and ours not in parts:
            parts[ours] = _as_ours(ours, quoted(name), kinds[name], has_commas)
    found = recognized(con, kinds, parts, used, has_commas)
    notes, taken = _near_misses(mapping, by_lower), {}
    is_curve = "step" in parts or any(one.ours == "step" for one in found)
    for one in found:
        ours, theirs = one.ours, one.theirs
        taken[ours] = one.expression or theirs
        parts[ours] = one.sql or _as_ours(ours, quoted(theirs), kinds[theirs], has_commas)
        if one.sql is None and is_curve:
            parts.pop(theirs, None)  # else it would be a second metric; a setting keeps its own name too
        notes.append(f"took '{one.expression or theirs}' as {ours}; --map {ours}=COLUMN takes another")
    return Chosen(parts, tuple(notes), taken)


def _near_misses(mapping: Mapping[str, str], columns: Collection[str]) -> list[str]:
    """Return a note for each name of a mapping that is none of the lake's, but almost one: a setting of its own."""
    notes = []
    for ours, theirs in mapping.items():
        near = None if ours.lower() in KNOWN or ours.lower() in columns else nearest(ours, KNOWN, TYPO)
        if near is not None and near not in mapping:
            notes.append(f"'{ours}' is a setting of its own; did you mean --map {near}={theirs}?")
    return notes


def _as_ours(ours: str, cell: str, kind: str, has_commas: bool) -> str:
    """Return the SQL of a column under our name: a number of ours is read as users write it; what is none stays."""
    if ours not in NUMBERS or kind not in IS_TEXT:
        return cell
    word = f"({cell}->>'$')" if kind == "JSON" else cell
    number = as_number(word, has_commas=has_commas)
    return f"CASE WHEN {is_nothing(word)} THEN NULL ELSE coalesce(({number})::VARCHAR, {word}) END"


def _worked_out(
    con: duckdb.DuckDBPyConnection,
    path: Path,
    ours: str,
    expression: str,
    kinds: Mapping[str, str],
    before: Mapping[str, str],
    has_commas: bool,
) -> str:
    """Return the SQL of an expression over columns, and over names that were mapped before it.

    Text is read as numbers where the expression needs numbers; a row for which it cannot be worked out is put
    into `unread`.
    """
    import duckdb

    named = names_in(expression)
    earlier = [name for name in before if name in named and name not in kinds]
    text = [name for name in kinds if name in named and kinds[name] in IS_TEXT]
    sources = ["SELECT rowid AS _row, * FROM typed"] if not earlier else []
    if text or earlier:
        as_numbers = ", ".join(f"{as_number(quoted(name), has_commas=has_commas)} AS {quoted(name)}" for name in text)
        replaced = f" REPLACE ({as_numbers})" if as_numbers else ""
        added = "".join(f", {_mapped_before(name, before[name])} AS {quoted(name)}" for name in earlier)
        sources += [f"SELECT rowid AS _row, *{added} FROM typed"] if earlier else []
        sources += [f"SELECT rowid AS _row, *{replaced}{added} FROM typed"] if text else []
    first: duckdb.Error | None = None
    for source in sources:
        for tried in (f"({expression})", f"TRY({expression})"):
            try:
                kind = con.execute(f"SELECT typeof({tried}) FROM ({source}) LIMIT 1").fetchone()
                con.execute(f"SELECT count(c) FROM (SELECT {tried} AS c FROM ({source}))")
            except duckdb.Error as error:
                first = first or error
                continue
            if source == sources[0] and not earlier and not tried.startswith("TRY"):
                return tried
            cell = _kept(con, f"worked_{ours}", f"SELECT _row, {tried} AS c FROM ({source})", kind)
            _note_unread(con, ours, cell, [name for name in kinds if name in named])
            return cell
    known = list(kinds)
    hint = did_you_mean(expression, known, f"the file has {', '.join(known)}")
    raise FileError(
        path, None,
        f"--map {ours}={expression}: no column '{expression}', and not an expression: {str(first).splitlines()[0]}",
        hint=hint,
    ) from first  # fmt: skip


def _mapped_before(name: str, text: str) -> str:
    """Return the SQL of a column that was mapped already, a number where it is one of ours."""
    return f"TRY_CAST(({text})::VARCHAR AS DOUBLE)" if name in NUMBERS else text


def _kept(con: duckdb.DuckDBPyConnection, name: str, query: str, kind: tuple[str, ...] | None) -> str:
    """Keep what a query says of each row of `typed` as a further column, and return its SQL name."""
    column = quoted(f"_isoflop_{name}")
    con.execute(f"ALTER TABLE typed ADD COLUMN {column} {kind[0] if kind else 'VARCHAR'}")
    con.execute(f"UPDATE typed SET {column} = worked.c FROM ({query}) worked WHERE typed.rowid = worked._row")
    return column


def _note_unread(con: duckdb.DuckDBPyConnection, ours: str, cell: str, needed: Sequence[str]) -> None:
    """Remember the rows that say something in every column of an expression, and of which it makes nothing."""
    if not needed:
        return
    said = " AND ".join(
        f"{quoted(name)} IS NOT NULL AND NOT ({is_nothing(quoted(name) + '::VARCHAR')})" for name in needed
    )
    value = " || ', ' || ".join(f"{quoted(name)}::VARCHAR" for name in needed)
    con.execute(
        f"INSERT INTO unread SELECT rowid + 1, ?, {value}, ? FROM typed WHERE {said} AND {cell} IS NULL",
        [", ".join(needed), f"of which {ours} cannot be worked out"],
    )
