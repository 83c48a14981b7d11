"""Names and texts as SQL takes any of them."""

from __future__ import annotations


def quoted(name: str) -> str:
    """Return a name as an SQL identifier.

    Example
    -------
    >>> print(quoted('a "b'))
    "a ""b"
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL literal.

    Example
    -------
    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


LONGEST_NUMBER = 20  # digits within a name that count for its place, those of a 64-bit number


def natural(cell: str) -> str:
    """Return the SQL of a text by which lr-2 comes before lr-10: its whole numbers are written with as many digits.

    Example
    -------
    >>> import duckdb
    >>> named = "FROM (VALUES ('lr-10'), ('lr-2'), ('a'), ('lr-2-b')) names(name)"
    >>> [name for (name,) in duckdb.sql(f"SELECT name {named} ORDER BY {natural('name')}").fetchall()]
    ['a', 'lr-2', 'lr-2-b', 'lr-10']
    """
    padded = f"regexp_replace({cell}, '(\\d+)', '{'0' * LONGEST_NUMBER}\\1', 'g')"
    return f"regexp_replace({padded}, '\\d*(\\d{{{LONGEST_NUMBER}}})', '\\1', 'g')"
