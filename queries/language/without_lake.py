"""Whether a text can be answered where there is no lake: it reads no table of one, no saved law, and keeps nothing.

Laws of papers, laws whose numbers are typed, files, and arithmetic need none. In doubt the answer is that it needs one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

from isoflop.lakehouse.errors import StatementError
from isoflop.lakehouse.sql.bare_names import with_as
from isoflop.queries.language.parse import Explain, parse_clause
from isoflop.queries.language.syntax.clauses import Clause
from isoflop.queries.language.syntax.nodes import Expression, LawName, Source
from isoflop.queries.language.syntax.parts import PUBLISHED
from isoflop.queries.language.syntax.tokens import Kind
from isoflop.queries.language.syntax.words import Words
from isoflop.queries.language.text import Text
from isoflop.queries.language.verb import Verb

_ROWS = "SELECT 1"  # stands for the rows of a verb where the query around it is looked at
_QUERIES = frozenset(("SELECT", "FROM", "TABLE", "PIVOT", "DESCRIBE", "SUMMARIZE"))  # behind which tables are named


def needs_no_lake(text: str, words: Words[Verb[Any]]) -> bool:
    """Return whether a text reads nothing that a lake holds and changes nothing.

    Parameters
    ----------
    text : one or more statements; one that does not parse needs none, because it fails whatever there is
    words : of the verbs there are

    Example
    -------
    >>> from isoflop.queries.language.verbs import words
    >>> needs_no_lake("EXTRAPOLATE published:hoffmann_2022 TO params = 70B, tokens = 1.4T", words())
    True
    >>> needs_no_lake("FIT loss ~ power(params) FROM 'points.csv'", words())
    True
    >>> needs_no_lake("EXTRAPOLATE chin TO params = 1e9, tokens = 2e10", words())
    False
    """
    try:
        typed = Text.read(text, words)
        return all(_statement_needs_none(typed, first, last) for first, last in typed.statements)
    except StatementError:
        return True


def _statement_needs_none(typed: Text, first: int, last: int) -> bool:
    """Return whether a statement needs no lake: neither its verbs nor the query around them."""
    clauses = typed.outermost(first, last)
    if not all(_clause_needs_none(typed, clause) for clause in clauses):
        return False
    if len(clauses) == 1 and (clauses[0].first, clauses[0].last) == (first, last):
        return True
    return typed.tokens[first].upper != "SHOW" and _reads_no_table(_around(typed, first, last))


def _clause_needs_none(typed: Text, clause: Clause) -> bool:
    """Return whether a verb, or the call of a table function, asks only what comes with the program, or files."""
    if clause.call is not None:
        return not any(token.upper in _QUERIES for token in typed.tokens[clause.first : clause.last])
    parsed = parse_clause(typed.text, typed.tokens, clause.first, clause.last, typed.words)
    verb, node = parsed.verb, parsed.node
    if isinstance(node, Explain):
        verb, node = node.clause.verb, node.clause.node
    if verb.changes:
        return False
    if verb.is_of_program:
        return True
    parts = list(_parts(node))
    laws = [part for part in parts if isinstance(part, LawName)]
    sources = [part.relation for part in parts if isinstance(part, Source)]
    if not laws and not sources:
        return False
    read = [f"FROM {_around(typed, each.first, each.last)}" for each in sources]
    for part in parts:
        if not isinstance(part, Expression) or part in sources:
            continue
        if any(token.upper in _QUERIES for token in typed.tokens[part.first : part.last]):
            is_query = typed.tokens[part.first].upper in ("WITH", *_QUERIES)
            read.append(f"{'FROM' if is_query else 'SELECT'} ({_around(typed, part.first, part.last)})")
    return all(law.text.lower().startswith(PUBLISHED) for law in laws) and all(map(_reads_no_table, read))


def _parts(node: Any) -> Iterator[Any]:
    """Yield the records that a clause is made of, at every depth."""
    if isinstance(node, tuple):
        for each in node:
            yield from _parts(each)
    elif is_dataclass(node) and not isinstance(node, Verb):
        yield node
        for field in fields(node):
            yield from _parts(getattr(node, field.name))


def _around(typed: Text, first: int, last: int) -> str:
    """Return the SQL of a token range, with rows of nothing in the place of each verb, and NULL of each parameter."""
    cuts = {
        each.first: (each.last, _ROWS if each.call is None else f"({_ROWS})") for each in typed.outermost(first, last)
    }
    parts, index = [], first
    while index < last:
        token = typed.tokens[index]
        behind, text = cuts.get(index, (index + 1, "NULL" if token.kind is Kind.PARAMETER else token.text))
        parts.append(text)
        index = behind
    return "\n".join(parts)  # so that two strings on two lines stay one


def _reads_no_table(sql: str) -> bool:
    """Return whether a query of DuckDB names no table but files; one that does not parse names none."""
    import duckdb

    named = with_as(sql)
    if named is None:
        return True
    reads = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if any(statement.type not in reads for statement in duckdb.extract_statements(named)):
        return False
    try:
        with duckdb.connect() as connection:
            tables = connection.get_table_names(named)
    except duckdb.Error:  # PIVOT is two statements, and a file that it looks into may not be there
        return False
    return all(PurePath(table).suffix for table in tables)
