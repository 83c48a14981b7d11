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
