"""Files that a statement names without saying where they lie: in the folder of who asks, whoever runs the statement."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from isoflop.lakehouse.sql.quoting import literal

if TYPE_CHECKING:
    import duckdb

_asked_from: ContextVar[str | None] = ContextVar("asked_from", default=None)
# What names a file to write, or a database to attach, for which DuckDB does not search folders.
_WRITES = re.compile(r"\b(?:COPY|ATTACH|EXPORT|IMPORT)\b", re.IGNORECASE)
# What can name a file to read: quotes with a dot, a folder or a star between, or a function. Setting the
# folder costs a quarter of a millisecond, which other statements are spared.
_MAY_READ = re.compile(r"""['"][^'"]*[./*\\][^'"]*['"]|(?:read|scan|glob|sniff|parquet)\w*"?\s*\(""", re.IGNORECASE)
_STATEMENTS = ("COPY", "ATTACH", "EXPORT", "IMPORT")
_PREFIXES = ("PREPARE", "EXPLAIN")  # behind which one of them stands
_ELSEWHERE = re.compile(r"[A-Za-z0-9_+.-]*:|[/~\\]|$")  # s3://…, postgres:…, :memory:, absolute, at home, none


def here() -> str | None:
    """Return the folder that this process works in; None when it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return None


@contextlib.contextmanager
def asked_from(folder: str | None) -> Iterator[None]:
    """Have statements that are run in the block find files in a folder; None for where this process works."""
    token = _asked_from.set(folder)
    try:
        yield
    finally:
        _asked_from.reset(token)


def search_files(cursor: duckdb.DuckDBPyConnection, text: str) -> None:
    """Have a connection look for the files of a text where it was asked from."""
    import duckdb

    folder = _asked_from.get()
    if folder is None or _MAY_READ.search(text) is None:
        return
    if "," in folder:
        folder = _linked(folder)
    with contextlib.suppress(duckdb.Error):  # an aborted transaction, which what follows says; a locked configuration
        cursor.execute(f"SET SESSION file_search_path = {literal(folder)}")


@functools.cache
def _linked(folder: str) -> str:
    """Return a link to a folder whose name DuckDB would take for several, for as long as this process lives."""
    links = tempfile.mkdtemp(prefix="isoflop-")
    atexit.register(shutil.rmtree, links, ignore_errors=True)
    link = os.path.join(links, "folder")
    os.symlink(folder, link)
    return link


def with_whole_paths(text: str, folder: str | None) -> str:
    """Return a text in which the files of COPY, ATTACH, EXPORT and IMPORT have whole paths.

    A file that COPY is given by a variable, a parameter or another expression is put into the folder when it is run.

    Example
    -------
    >>> with_whole_paths("COPY (SELECT 'a' AS x) TO 'out.csv' (FORMAT csv)", "/home/me")
    "COPY (SELECT 'a' AS x) TO '/home/me/out.csv' (FORMAT csv)"
    >>> with_whole_paths("ATTACH 'old.duckdb' AS old; FROM 'runs.csv'", "/home/me")
    "ATTACH '/home/me/old.duckdb' AS old; FROM 'runs.csv'"
    """
    if folder is None or _WRITES.search(text) is None:
        return text
    import duckdb

    try:
        starts = [start for start, kind in duckdb.tokenize(text) if kind != duckdb.token_type.comment]
    except duckdb.Error:
        return text
    pieces: list[str] = []
    statement, before, depth = "", "", 0
    spans = [text[start:end] for start, end in zip([0, *starts], [*starts, len(text)], strict=True)]
    index = 0
    while index < len(spans):
        last = index + 1
        piece = spans[index]
        word = piece.strip().upper()
        if not statement or (statement in _PREFIXES and word in _STATEMENTS):  # PREPARE p AS COPY …
            statement = word
        depth += (word == "(") - (word == ")")
        if word == ";":
            statement = ""
        elif _is_place(statement, before, depth - (word == "(")):
            if word.startswith("'") and word.endswith("'"):
                place = piece.strip()[1:-1].replace("''", "'")
                if _ELSEWHERE.match(place) is None:
                    piece = piece.replace(piece.strip(), literal(os.path.join(folder, place)), 1)
            elif statement == "COPY" and word[:1] in ("(", "$", "?"):
                last = _end_of_expression(spans, index)
                piece = _joined("".join(spans[index:last]), folder)
                word, depth = "…", 0
        before = word or before
        pieces.append(piece)
        index = last
    return "".join(pieces)


def _end_of_expression(spans: list[str], first: int) -> int:
    """Return where an expression in parentheses, or a parameter, ends among the tokens of a text."""
    if not spans[first].startswith("("):
        return first + (2 if spans[first].strip() == "$" else 1)
    depth = 0
    for index in range(first, len(spans)):
        word = spans[index].strip()
        depth += (word == "(") - (word == ")")
        if depth == 0:
            return index + 1
    return len(spans)


def _joined(expression: str, folder: str) -> str:
    """Return SQL that computes a file's place from an expression: in a folder where that does not say where it lies."""
    rest = expression[len(expression.rstrip()) :]
    whole = f"CASE WHEN regexp_matches(p, {literal('^(' + _ELSEWHERE.pattern + ')')}) THEN p ELSE "
    whole += f"{literal(os.path.join(folder, ''))} || p END"
    return f"(list_transform([({expression.strip()})::VARCHAR], lambda p: {whole})[1]){rest}"


def _is_place(statement: str, before: str, depth: int) -> bool:
    """Return whether what stands behind a word of a statement is a file."""
    if depth or before == "(":
        return False
    if statement == "COPY":
        return before in ("TO", "FROM")
    if statement == "ATTACH":
        return before in ("ATTACH", "DATABASE", "EXISTS")
    return statement in ("EXPORT", "IMPORT") and before in ("DATABASE", "TO")
