"""Columns named without AS by a word that DuckDB has a use for: `min(name) first`, `max(step) last`, `1 year`.

SQL lets such a word name a column where it is not reserved, and PostgreSQL takes it; DuckDB asks for AS.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from isoflop.lakehouse.sql.execution import place_of

if TYPE_CHECKING:
    import pyarrow as pa

_AT = re.compile(r'syntax error at or near "(\w+)"')
_ENDS_EXPRESSION = re.compile(r"[\w)\]\"']\s*\Z")
MOST_NAMES = 1_000  # columns of one text; the text is parsed once for each


def run_named(sql: str, run: Callable[[str], pa.Table]) -> pa.Table:
    """Run a text; where DuckDB misses nothing but AS before the names of columns, run it with them.

    Raises
    ------
    duckdb.ParserException : as DuckDB words it for the text as it is, when AS does not mend it
    """
    import duckdb

    try:
        return run(sql)
    except duckdb.ParserException:
        named = with_as(sql)
        if named is None or named == sql:  # a text that parses may have run in part before it failed otherwise
            raise
    return run(named)


def with_as(sql: str) -> str | None:
    """Return a text with AS before the names of columns that DuckDB takes for its own words, or None if it still fails.

    Example
    -------
    >>> with_as("SELECT min(name) first, 2 AS b, max(step) last FROM t")
    'SELECT min(name) AS first, 2 AS b, max(step) AS last FROM t'
    >>> with_as("SELECT 1 first second"), with_as("SELECT a FRM t")
    (None, None)
    """
    import duckdb

    reached = -1
    for _ in range(MOST_NAMES):
        try:
            duckdb.extract_statements(sql)
            return sql
        except duckdb.Error as error:
            near, place = _AT.search(str(error)), place_of(error, sql)
            if near is None or place is None or place <= reached:
                return None
            word = sql[place : place + len(near[1])]
            if word.lower() not in _names() or not _ENDS_EXPRESSION.search(sql[:place]):
                return None
            sql = f"{sql[:place]}AS {sql[place:]}"
            reached = place + len("AS ")
    return None


@cache
def _names() -> frozenset[str]:
    """Return DuckDB's words that may name a column."""
    import duckdb

    with duckdb.connect() as con:
        rows = con.execute(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('unreserved', 'column_name')"
        ).fetchall()
    return frozenset(name for (name,) in rows)
