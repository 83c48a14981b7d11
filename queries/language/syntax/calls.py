"""Where the table functions are: `phases(…)` behind FROM or JOIN, and in the list of tables behind FROM.

They are found among the clauses of a text, because they are answered as verbs are; SQL knows no functions of ours.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from isoflop.queries.language.syntax.clauses import Clause
from isoflop.queries.language.syntax.tokens import Kind, Token, matching

# Words that begin a part of a query; the nearest one before a comma says whether tables or columns are listed.
_PARTS = frozenset("SELECT FROM WHERE BY HAVING QUALIFY ON USING VALUES SET LIMIT WITH RETURNING".split())


def may_call(text: str, names: Collection[str]) -> bool:
    """Return whether a text can hold a call of one of these functions; a cheap test that lets plain SQL through."""
    return re.search(rf"\b(?:{'|'.join(names)})\s*\(", text, re.IGNORECASE) is not None


def find_calls(tokens: Sequence[Token], first: int, last: int, names: Collection[str]) -> dict[int, Clause]:
    """Return the calls of table functions in a statement by their first token.

    Parameters
    ----------
    tokens : the tokens of the whole text
    first, last : the range of the statement, without `last`
    names : of the functions, in lower case
    """
    found: dict[int, Clause] = {}
    for index in range(first + 1, last - 1):
        token = tokens[index]
        if token.text.lower() in names and tokens[index + 1].text == "(" and _lists_tables(tokens, index - 1, first):
            close = matching(tokens, index + 1)
            if close < last:  # one that is not closed is DuckDB's to complain of
                found[index] = Clause(index, close + 1, call=token.text.lower())
    return found


def arguments_of(tokens: Sequence[Token], call: Clause) -> list[tuple[int, int]]:
    """Return the token range of each argument of a call, without its last token; one may be empty."""
    inside = range(call.first + 2, call.last - 1)
    if not inside:
        return []
    found, start, depth = [], inside.start, 0
    for index in inside:
        text = tokens[index].text if tokens[index].kind is Kind.OPERATOR else ""
        depth += (text in ("(", "[", "{")) - (text in (")", "]", "}"))
        if text == "," and depth == 0:
            found.append((start, index))
            start = index + 1
    return [*found, (start, inside.stop)]


def _lists_tables(tokens: Sequence[Token], before: int, first: int) -> bool:
    """Return whether what follows a token is a table: behind FROM, JOIN or LATERAL, or a comma of a list of tables."""
    if tokens[before].text != ",":
        return tokens[before].upper in ("FROM", "JOIN", "LATERAL")
    depth = 0
    for index in range(before - 1, first - 1, -1):
        text = tokens[index].text if tokens[index].kind is Kind.OPERATOR else ""
        depth += (text in (")", "]", "}")) - (text in ("(", "[", "{"))
        if depth < 0:
            return False
        if depth == 0 and tokens[index].upper in _PARTS:
            return tokens[index].upper == "FROM"
    return False
