"""What kind of thing a text of DuckDB statements does."""

from __future__ import annotations


def only_reads(sql: str) -> bool:
    """Return whether a text can be asked again when it is not known whether it ran.

    Example
    -------
    >>> only_reads("FROM range(3); EXPLAIN SELECT 1"), only_reads("SELECT 1; SET threads = 1"), only_reads("SELEC")
    (True, False, True)
    """
    import duckdb

    reads = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.PRAGMA)
    try:
        return all(statement.type in reads for statement in duckdb.extract_statements(sql))
    except duckdb.Error:
        return True  # it does not parse, so it changes nothing
