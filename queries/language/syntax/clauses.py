"""Where the verbs are: statements, verb clauses and the WITH queries that a clause can see.

A verb is one at the start of a query or right after a parenthesis that opens one, and only when
what follows reads like its clause; everywhere else `fit`, `predict` or `law` is a name like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isoflop.queries.language.syntax.tokens import Kind, Token, matching
from isoflop.queries.language.syntax.words import Words

# Words after which `(` opens a query or an expression; after any other word it opens arguments or a column list.
_OPENERS = frozenset(
    "FROM JOIN AS MATERIALIZED COPY UNION ALL EXCEPT INTERSECT NAME IN EXISTS ANY SOME LATERAL SELECT WHERE ON AND OR "
    "NOT BY HAVING QUALIFY WHEN THEN ELSE DESCRIBE DESC SUMMARIZE SHOW PIVOT UNPIVOT EXPLAIN ANALYZE TO USING".split()
)
_JOINS = frozenset("JOIN CROSS INNER LEFT RIGHT FULL NATURAL ASOF POSITIONAL SEMI ANTI".split())
# Words that follow a column or a table called like a verb, and that no law or target is called.
_FOLLOWERS = _JOINS | frozenset(
    "AND OR NOT IS IN LIKE ILIKE GLOB SIMILAR BETWEEN AS ASC DESC NULLS ORDER COLLATE ISNULL NOTNULL ON USING WHERE "
    "GROUP HAVING LIMIT OFFSET QUALIFY WINDOW UNION EXCEPT INTERSECT THEN ELSE WHEN END FILTER OVER FROM TO".split()
)


@dataclass(frozen=True)
class Clause:
    """A verb clause, or a call of a table function: tokens `first` up to, without, `last` of its text.

    Parameters
    ----------
    call : the function that is called; None for a verb
    """

    first: int
    last: int
    call: str | None = None


@dataclass(frozen=True)
class WithQuery:
    """One `name AS (query)` of a WITH list: tokens `first` up to, without, `last`."""

    name: str
    first: int
    last: int
    is_recursive: bool


def split_statements(tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """Return the token ranges of the statements between semicolons, empty ones left out."""
    ranges, first = [], 0
    for index, token in enumerate(tokens):
        if token.text == ";" or token.kind is Kind.END:
            if index > first:
                ranges.append((first, index))
            first = index + 1
    return ranges


def find_clauses(words: Words[Any], tokens: Sequence[Token], first: int, last: int) -> dict[int, Clause]:
    """Return the verb clauses of a statement by their first token, those inside others among them.

    A verb may stand at the start of the statement, behind its WITH list, behind `CREATE TABLE … AS`, and wherever a
    parenthesis opens a query.

    Parameters
    ----------
    words : of the verbs there are
    tokens : the tokens of the whole text
    first, last : the range of the statement, without `last`
    """
    starts = _query_starts(tokens, first, last)
    inner = _query_behind(tokens, first, last)
    found: dict[int, Clause] = {}
    for index in range(first, last):
        opening = words.at(tokens, index) if index in starts else None
        if opening is not None and (not opening.verb.is_statement or index == first):
            found[index] = Clause(index, _clause_end(tokens, index, last))
        elif (index in inner or _opens_query(tokens, index - 1)) and reads_like_clause(words, tokens, index):
            found[index] = Clause(index, _clause_end(tokens, index, last))
    return found


def outermost(clauses: Mapping[int, Clause], first: int, last: int) -> list[Clause]:
    """Return the clauses in a token range that are inside no other one of it, in order."""
    found: list[Clause] = []
    index = first
    while index < last:
        clause = clauses.get(index)
        if clause is not None:
            found.append(clause)
            index = clause.last
        index += 1
    return found


def _query_starts(tokens: Sequence[Token], first: int, last: int) -> set[int]:
    """Return where a query begins that no parenthesis opens: statement, after WITH, after CREATE TABLE AS."""
    start = first
    if tokens[first].upper == "CREATE":
        depth = 0
        words = {token.upper for token in tokens[first : min(first + 5, last)]}
        for index in range(first, last):
            depth += {"(": 1, ")": -1}.get(tokens[index].text, 0)
            if depth == 0 and tokens[index].upper == "AS" and "TABLE" in words:
                start = index + 1
                break
    starts = {start}
    if start < last and tokens[start].upper == "WITH":
        starts.add(_read_with(tokens, start)[1])
    return starts


def _query_behind(tokens: Sequence[Token], first: int, last: int) -> tuple[int, ...]:
    """Return where the query begins that a statement describes, or whose rows it inserts, if it is one of these."""
    match tokens[first].upper:
        case "DESCRIBE" | "DESC" | "SUMMARIZE" | "SHOW":
            return (first + 1,)
        case "INSERT":
            into = next((index for index in range(first, min(first + 4, last)) if tokens[index].upper == "INTO"), None)
        case _:
            return ()
    if into is None:
        return ()
    index = into + 2
    while index + 1 < last and tokens[index].text == ".":
        index += 2
    if tokens[index].upper == "AS":
        index += 2
    if index < last and tokens[index].text == "(":
        close = matching(tokens, index)
        index = index + 1 if close + 1 >= last else close + 1
    if index + 1 < last and tokens[index].upper == "BY" and tokens[index + 1].upper in ("NAME", "POSITION"):
        index += 2
    return (index,)


def _opens_query(tokens: Sequence[Token], index: int) -> bool:
    """Return whether the token is a parenthesis in which a query may stand."""
    if index < 0 or tokens[index].text != "(":
        return False
    if index == 0:
        return True
    before = tokens[index - 1]
    if before.kind is Kind.WORD:
        return before.upper in _OPENERS
    return before.kind is Kind.OPERATOR and before.text not in (")", "]", ".")


def reads_like_clause(words: Words[Any], tokens: Sequence[Token], index: int) -> bool:
    """Return whether the tokens after a parenthesis are a verb clause, not an expression over a column called so."""
    opening = words.at(tokens, index)
    if opening is None or opening.verb.is_statement:
        return False
    if not opening.is_single:
        return True
    following, third = tokens[index + 1], tokens[min(index + 2, len(tokens) - 1)]
    if opening.verb.opens is not None:
        return bool(opening.verb.opens(following))
    if following.text == "(":
        after = tokens[min(matching(tokens, index + 1) + 1, len(tokens) - 1)]
        return words.is_single(third.upper) or after.text in ("~", ",") or after.upper in ("AS", "TO", "FROM")
    if following.kind in (Kind.OPERATOR, Kind.END) or following.upper in _FOLLOWERS:
        return False
    is_list = third.text == "," and not opening.verb.takes_list
    return not (following.is_name and (third.upper in _JOINS or is_list))


def _clause_end(tokens: Sequence[Token], index: int, last: int) -> int:
    """Return the index of the token that ends a clause: the bracket it stands in, or the end of the range."""
    depth = 0
    for position in range(index, last):
        text = tokens[position].text if tokens[position].kind is Kind.OPERATOR else ""
        if text in ("(", "[", "{"):
            depth += 1
        elif text in (")", "]", "}"):
            if depth == 0:
                return position
            depth -= 1
    return last


def visible_queries(tokens: Sequence[Token], first: int, position: int) -> list[WithQuery]:
    """Return the WITH queries that a clause at token `position` of the statement at `first` can name, outermost first.

    Those are the finished ones of every WITH list around it; of two with one name the inner one counts.
    """
    scopes: list[list[WithQuery]] = [[]]
    for index in range(first, position):
        token = tokens[index]
        if token.text == "(":
            scopes.append([])
        elif token.text == ")":
            if len(scopes) > 1:
                scopes.pop()
        elif token.upper == "WITH":
            scopes[-1].extend(_read_with(tokens, index)[0])
    by_name = {query.name.lower(): query for scope in scopes for query in scope if query.last <= position}
    return sorted(by_name.values(), key=lambda query: query.first)


def _read_with(tokens: Sequence[Token], index: int) -> tuple[list[WithQuery], int]:
    """Return the queries of the WITH list at a token, and the index behind the list; none when it is no such list."""
    found: list[WithQuery] = []
    last = index
    position = index + 1
    is_recursive = tokens[position].upper == "RECURSIVE"
    position += is_recursive
    while tokens[position].is_name:
        start = position
        body = next(_bodies(tokens, start + 1), None)
        if body is None:
            break
        last = matching(tokens, body) + 1
        if last >= len(tokens):
            break
        found.append(WithQuery(tokens[start].name, start, last, is_recursive))
        if tokens[last].text != ",":
            break
        position = last + 1
    return found, last


def _bodies(tokens: Sequence[Token], index: int) -> Iterator[int]:
    """Yield the index of the parenthesis after `AS`, past a column list, a key and a materialisation word."""
    if tokens[index].text == "(":
        index = matching(tokens, index) + 1
    if index < len(tokens) and tokens[index].upper == "USING" and tokens[index + 1].upper == "KEY":
        index = matching(tokens, index + 2) + 1
    if index >= len(tokens) or tokens[index].upper != "AS":
        return
    index += 1
    while tokens[index].upper in ("NOT", "MATERIALIZED"):
        index += 1
    if tokens[index].text == "(":
        yield index
