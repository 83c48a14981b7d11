"""Numbers as people write them: `70B` and `1.4T` in a verb, where SQL alone knows `70e9` and `1.4e12`.

A number and a letter right behind it become one number. Only where an expression stands: a query in parentheses is
DuckDB's, to whom `SELECT 70B` is a 70 that is called B, and `70 B` with a blank is no size anywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from isoflop.lakehouse.units import SIZES
from isoflop.queries.language.syntax.clauses import Clause
from isoflop.queries.language.syntax.tokens import Kind, Token, matching, tokenize

_POWERS = {letter: round(math.log10(factor)) for letter, factor in SIZES.items()}
_MANTISSA = re.compile(r"[\d_]+\.?[\d_]*|\.[\d_]+")
# What begins a query inside a parenthesis; a verb there is a clause, and known as one.
_QUERIES = ("SELECT", "FROM", "WITH", "VALUES", "TABLE", "PIVOT", "UNPIVOT", "DESCRIBE", "SUMMARIZE", "SHOW")


def join_sizes(tokens: list[Token], clauses: Mapping[int, Clause]) -> list[Token]:
    """Return the tokens with each size in a verb clause as one number, written as SQL writes it.

    Parameters
    ----------
    tokens : of a text
    clauses : the verb clauses in it by their first token, those inside others among them
    """
    inside: set[int] = set()
    for first in sorted(clauses):  # a clause comes after the one that holds it
        last = clauses[first].last
        inside.update(range(first, last))
        for index in range(first, last - 1):
            is_query = tokens[index].text == "(" and tokens[index + 1].upper in _QUERIES
            if is_query and index + 1 not in clauses:
                inside.difference_update(range(index, matching(tokens, index)))
    return _joined(tokens, inside)


def has_sizes(tokens: Sequence[Token]) -> bool:
    """Return whether a number and the letter of a size stand side by side anywhere."""
    return any(_is_size(tokens, index) for index in range(len(tokens) - 1))


def is_size(token: Token) -> bool:
    """Return whether a number was typed with a letter, so that its text is longer than what was typed."""
    return token.kind is Kind.NUMBER and len(token.text) != token.end - token.start


def number_of(token: Token) -> int | float:
    """Return what a NUMBER token says, an `int` where it is whole and written as a count: `64`, `1_000`, `2K`.

    Example
    -------
    >>> [number_of(token) for token in tokenize("64 1_000 1e3")[:-1]]
    [64, 1000, 1000.0]
    """
    text = token.text.replace("_", "")
    number = int(text) if text.isdigit() else float(text)
    return int(number) if is_size(token) and number == int(number) else number


def with_sizes(expression: str) -> str:
    """Return an SQL expression, such as a condition, with its sizes as SQL writes them; all else as it was.

    Example
    -------
    >>> with_sizes("params >= 1.5B AND name <> '7B'")
    "params >= 1.5e9 AND name <> '7B'"
    """
    tokens = tokenize(expression)
    inside = set(range(len(tokens)))
    for index in range(len(tokens) - 1):
        if tokens[index].text == "(" and tokens[index + 1].upper in _QUERIES:
            inside.difference_update(range(index, matching(tokens, index)))
    parts, position = [], 0
    for token in _joined(tokens, inside):
        parts += [expression[position : token.start], token.text]
        position = token.end
    return "".join((*parts, expression[position:]))


def misread_size(text: str, place: int) -> Token | None:
    """Return the size as one number that DuckDB has read as a number and a name, by where it stumbled over it.

    Parameters
    ----------
    place : the character that it points at: the letter, or what follows

    Example
    -------
    >>> misread_size("SELECT chin(5B, 1)", 13).text, misread_size("SELECT 5B * 2", 10).text
    ('5e9', '5e9')
    >>> misread_size("SELECT 5 B * 2", 11) is None
    True
    """
    tokens = tokenize(text)
    for index in range(len(tokens) - 1):
        if _is_size(tokens, index) and place in (each.start for each in tokens[index + 1 : index + 3]):
            return _joined(tokens[index : index + 2], (0,))[0]
    return None


def _joined(tokens: Sequence[Token], inside: Iterable[int]) -> list[Token]:
    places = set(inside)
    found: list[Token] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if index in places and _is_size(tokens, index):
            letter = tokens[index + 1]
            text = f"{token.text}e{_POWERS[letter.text.lower()]}"
            found.append(Token(Kind.NUMBER, text, token.start, letter.end))
            index += 1
        else:
            found.append(token)
        index += 1
    return found


def _is_size(tokens: Sequence[Token], index: int) -> bool:
    """Return whether a plain number and the letter of a size stand side by side at a place."""
    token, letter = tokens[index], tokens[min(index + 1, len(tokens) - 1)]
    is_pair = token.kind is Kind.NUMBER and letter.kind is Kind.WORD and token.end == letter.start
    return is_pair and letter.text.lower() in SIZES and _MANTISSA.fullmatch(token.text) is not None
