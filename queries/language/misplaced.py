"""A verb where SQL has no place for it: DuckDB's syntax error said in words that name the verb and what to type.

A verb is a query of its own, or stands in a parenthesis that opens one. DuckDB, which knows no verbs, points at
whatever behind the verb it cannot read; what is looked for here is the verb in front of that place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import QuerySyntaxError, StatementError
from isoflop.queries.language.syntax.clauses import reads_like_clause
from isoflop.queries.language.syntax.tokens import Kind, Token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isoflop.queries.language.text import Text

# Words that follow a query, and no expression.
BEHIND_QUERIES = ("UNION", "INTERSECT", "EXCEPT", "LIMIT", "HAVING", "QUALIFY", "OFFSET")
_SET = ("UNION", "INTERSECT", "EXCEPT")
# Words behind which SQL has a query or a table.
_BEFORE_QUERIES = frozenset((*_SET, *"ALL NAME FROM JOIN AS COPY TABLE EXPLAIN ANALYZE ANALYSE VERBOSE INTO".split()))
_KEPT_TEXT = ("VIEW", "MACRO", "FUNCTION")
_SYNTAX = re.compile(r"Parser Error: syntax error at")


def refuse_kept(typed: Text, first: int, index: int) -> StatementError | None:
    """Return the error for a verb in what keeps the text of a query: a view, a macro, a prepared statement.

    Parameters
    ----------
    first : the first token of the statement
    index : the verb's first token, or that of a table function
    """
    opening = typed.words.at(typed.tokens, index)
    kept = _kept(typed.tokens[first:])
    clause = typed.clauses.get(index)
    called = clause.call if clause is not None else None
    if opening is not None and not opening.verb.is_statement:
        called = opening.called
    if kept is None or called is None:
        return None
    message = f"a {kept} cannot hold {called}, which is answered once"
    hint = f"CREATE TABLE … AS {'FROM ' if opening is None else ''}{called} … keeps the answer"
    return typed.error("Binder", message, typed.tokens[index], hint)


def restated(typed: Text, error: Exception) -> StatementError | None:
    """Return what to say in the place of DuckDB's syntax error, or None where no verb has to do with it.

    Parameters
    ----------
    typed : the text that DuckDB could not read
    error : what it raised
    """
    if _SYNTAX.match(str(error)) is None:
        return None
    for first, last in typed.statements:
        for index in range(first + 1, last):
            opening = typed.words.at(typed.tokens, index)
            if opening is None or index in typed.clauses or not _is_query_place(typed.tokens, index):
                continue
            if opening.is_single and not reads_like_clause(typed.words, typed.tokens, index):
                continue
            place = typed.tokens[index]
            if opening.verb.is_statement:
                message = f"{opening.called} is a statement of its own, and no part of another one"
                return typed.error("Parser", message, place, "end the statement before it with a semicolon")
            kept = refuse_kept(typed, first, index)
            if kept is not None:
                return kept
            before = typed.tokens[index - 1]
            if before.upper == "VERBOSE":
                return typed.error("Parser", "EXPLAIN of a verb has no VERBOSE", before, "leave it out")
            message = f"{opening.called} stands in parentheses where it is part of a query"
            return typed.error("Parser", message, place, _in_parentheses(typed.tokens, first, index, opening.called))
    return None


def hinted(typed: Text, error: QuerySyntaxError, first: int, last: int, called: str) -> QuerySyntaxError:
    """Return a syntax error in a clause with a hint, where what is at fault belongs behind a query.

    Parameters
    ----------
    first, last : the range of the clause, without `last`
    called : its verb
    """
    if error.hint is not None:
        return error
    depth = 0
    for token in typed.tokens[first:last]:
        if token.kind is Kind.OPERATOR:
            depth += (token.text in "([{") - (token.text in ")]}")
        if token.start == error.start and depth == 0 and token.upper in ("ORDER", *BEHIND_QUERIES):
            message = f'syntax error at or near "{token.text}"'
            return QuerySyntaxError(
                "Parser", message, typed.text, token.start, token.end, hint=as_relation(called, token)
            )
    return error


def as_relation(called: str, word: Token) -> str:
    """Return the hint for a word that follows a query behind a verb."""
    behind = f" FROM ({called} …)" if word.upper in _SET else " …"
    return f"the verb is a relation: FROM ({called} …) {word.upper}{behind}"


def _is_query_place(tokens: Sequence[Token], index: int) -> bool:
    before = tokens[index - 1]
    return before.text in ("(", ")") or before.upper in _BEFORE_QUERIES


def _in_parentheses(tokens: Sequence[Token], first: int, index: int, called: str) -> str:
    """Return what to type instead, as far as the words before the verb tell."""
    match tokens[index - 1].upper:
        case "COPY":
            return f"COPY ({called} …) TO …"
        case "AS" if tokens[first].upper == "WITH":
            return f"WITH {tokens[index - 2].text} AS ({called} …) …"
        case _:
            return f"FROM ({called} …)"


def _kept(tokens: Sequence[Token]) -> str | None:
    """Return what a statement keeps the text of its query in: a view, a macro, a prepared statement."""
    if tokens[0].upper == "PREPARE":
        return "prepared statement"
    if tokens[0].upper != "CREATE":
        return None
    for token in tokens[1:6]:
        if token.upper in _KEPT_TEXT:
            return token.upper.lower()
        if token.kind is not Kind.WORD or token.upper in ("TABLE", "LAW"):
            return None
    return None
