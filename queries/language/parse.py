"""From the tokens of a clause to its verb and its node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isoflop.lakehouse.errors import QuerySyntaxError
from isoflop.queries.language.misplaced import BEHIND_QUERIES, as_relation
from isoflop.queries.language.syntax.nodes import Span
from isoflop.queries.language.syntax.parts import HOLDOUTS
from isoflop.queries.language.syntax.reader import TokenReader
from isoflop.queries.language.syntax.tokens import Kind, Token
from isoflop.queries.language.syntax.words import Words
from isoflop.queries.language.verb import Verb

_ANALYZE = ("ANALYZE", "ANALYSE")  # DuckDB reads both


@dataclass(frozen=True)
class Parsed:
    """A clause: its verb, and what it says."""

    verb: Verb[Any]
    node: Span


@dataclass(frozen=True)
class Explain(Span):
    """`EXPLAIN [ANALYZE] verb …`: what the verb would do, or what it did and how long that took."""

    clause: Parsed
    is_analyzed: bool = False


def parse_clause(text: str, tokens: list[Token], first: int, last: int, words: Words[Verb[Any]]) -> Parsed:
    """Return verb and node of the clause in tokens `first` up to, without, `last`.

    Parameters
    ----------
    words : of the verbs there are

    Raises
    ------
    QuerySyntaxError : when it does not parse, with a caret under the token that does not fit
    """
    reader = TokenReader(text, tokens, first, last, words)
    for token in tokens[first : last + 1]:
        if token.kind is Kind.UNFINISHED:
            raise unfinished(text, token)
    if tokens[last].text in (")", "]", "}") and (first == 0 or tokens[first - 1].text != "("):
        raise reader.error(f'syntax error at or near "{tokens[last].text}"', tokens[last])
    return read_clause(reader)


def read_clause(reader: TokenReader) -> Parsed:
    """Read the clause that begins at the next token, to the end of the range."""
    opening = reader.words.at(reader.tokens, reader.index)
    if opening is None:
        raise reader.error(f'syntax error at or near "{reader.current.text}"')
    node: Span = opening.verb.parse(reader)
    reader.finish(_after_clause(reader, opening.called))
    return Parsed(opening.verb, node)


def read_explain(reader: TokenReader) -> Explain:
    """Read `EXPLAIN [ANALYZE] verb …`, or with DuckDB's list, `EXPLAIN (ANALYZE) verb …`."""
    start = reader.begin("EXPLAIN")
    is_analyzed = _is_analyzed(reader.inside()) if reader.at("(") else any(map(reader.accept, _ANALYZE))
    clause = read_clause(reader)
    return Explain(start, clause.node.end, clause, is_analyzed)


def _is_analyzed(listed: TokenReader) -> bool:
    """Return whether the list behind EXPLAIN says ANALYZE.

    Raises
    ------
    QuerySyntaxError : for what only plans of DuckDB have
    """
    found = False
    while not listed.at_end:
        option = listed.current
        if any(map(listed.accept, _ANALYZE)):
            found = not listed.at("FALSE", "OFF")
            if listed.at("TRUE", "ON", "FALSE", "OFF"):
                listed.next()
        elif listed.at("FORMAT"):
            message = "the plan of a verb is a table of steps, and has no FORMAT"
            raise listed.error(message, option, "EXPLAIN FIT …; isoflop sql --format json prints any table so")
        else:
            raise listed.error(f"EXPLAIN of a verb has no option {option.text}", option, "it has ANALYZE")
        if not listed.at_end:
            listed.expect(",")
    return found


def unfinished(text: str, token: Token) -> QuerySyntaxError:
    """Return the error for a string, name or comment that nothing closes."""
    what = {'"': "quoted name", "/": "comment"}.get(token.text[0], "string")
    return QuerySyntaxError("Parser", f"unterminated {what}", text, token.start, token.start + 1)


def _after_clause(reader: TokenReader, verb: str) -> str | None:
    """Return a hint for what users write behind a clause that does not take it."""
    if reader.at("ORDER BY", "SELECT", "WHERE", "GROUP BY", *BEHIND_QUERIES):
        return as_relation(verb, reader.current)
    if reader.at("INTO"):
        return f"CREATE TABLE … AS {verb} … keeps the answer, INSERT INTO … {verb} … adds it"
    if reader.at(*HOLDOUTS) and verb == "COMPARE":
        return (
            "the approaches are compared on all rows; COMPARE law, law FROM runs HOLDOUT … judges laws on held-out ones"
        )
    if reader.at(*HOLDOUTS):
        return "CROSS VALIDATE splits rows: CROSS VALIDATE loss ~ chinchilla(params, tokens) FROM runs HOLDOUT …"
    return None
