"""Reading tokens one after another: what the functions of `parse` are written in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from isoflop.lakehouse.errors import QuerySyntaxError, did_you_mean
from isoflop.queries.language.syntax.nodes import Expression, Name, Span
from isoflop.queries.language.syntax.tokens import Kind, Token, matching
from isoflop.queries.language.syntax.words import Words

# DuckDB's reserved words: none of them names anything without quotes.
RESERVED = frozenset(
    (
        "ALL ANALYSE ANALYZE AND ANY ARRAY AS ASC ASYMMETRIC BOTH CASE CAST CHECK COLLATE COLUMN CONSTRAINT "
        "CREATE DEFAULT DEFERRABLE DESC DESCRIBE DISTINCT DO ELSE END EXCEPT FALSE FETCH FOR FOREIGN FROM "
        "GROUP HAVING IN INITIALLY INTERSECT INTO LAMBDA LATERAL LEADING LIMIT NOT NULL OFFSET ON ONLY OR "
        "ORDER PIVOT PIVOT_LONGER PIVOT_WIDER PLACING PRIMARY QUALIFY REFERENCES RETURNING SELECT SHOW SOME "
        "SUMMARIZE SYMMETRIC TABLE THEN TO TRAILING TRUE UNION UNIQUE UNPIVOT USING VARIADIC WHEN WHERE "
        "WINDOW WITH "
    ).split()
)

# DuckDB's words that may name a function or a type, but no column without quotes.
FUNCTION_WORDS = frozenset(
    (
        "ANTI ASOF AT AUTHORIZATION BINARY BY COLLATION COLUMNS CONCURRENTLY CROSS FREEZE FULL GENERATED GLOB ILIKE "
        "INNER IS ISNULL JOIN LEFT LIKE MAP NATURAL NOTNULL OUTER OVERLAPS POSITIONAL RIGHT SEMI SIMILAR STRUCT "
        "TABLESAMPLE TRY_CAST UNPACK VERBOSE"
    ).split()
)

# A stop is a keyword, or two words that only together are one: `GROUP BY`, `WITH (`.
Stop = str

_NO_VERBS: Words[Any] = Words(())


class TokenReader:
    """A position in a range of tokens.

    Parameters
    ----------
    text : the whole statement, for errors
    tokens : all its tokens
    first, last : the range that is read, without `last`; the token at `last` is what ends it
    words : of the verbs that may stand in it
    """

    def __init__(self, text: str, tokens: list[Token], first: int, last: int, words: Words[Any] = _NO_VERBS) -> None:
        self.text, self.tokens, self.index, self.last, self.words = text, tokens, first, last, words

    @property
    def current(self) -> Token:
        """The token that comes next; at the end of the range the one that ends it."""
        return self.tokens[min(self.index, self.last)]

    @property
    def at_end(self) -> bool:
        """Whether the range is read."""
        return self.index >= self.last

    @property
    def end(self) -> int:
        """Where the last token that was read ends in the text."""
        return self.tokens[max(self.index - 1, 0)].end

    def next(self) -> Token:
        """Return the token that comes next and step over it."""
        token = self.current
        self.index += 1
        return token

    def at(self, *stops: Stop) -> bool:
        """Return whether one of the stops comes next."""
        return not self.at_end and any(self._is_stop(self.index, stop) for stop in stops)

    def _is_stop(self, index: int, stop: Stop) -> bool:
        words = stop.split(" ")
        if index + len(words) > self.last:
            return False
        return all(self.tokens[index + step].upper == word for step, word in enumerate(words))

    def accept(self, phrase: str) -> bool:
        """Step over `phrase` and return True when it comes next."""
        if not self.at(phrase):
            return False
        self.index += len(phrase.split(" "))
        return True

    def begin(self, words: str) -> int:
        """Step over the words of a verb and return where they start in the text.

        Raises
        ------
        QuerySyntaxError : when something else comes next
        """
        start = self.current.start
        self.expect(words)
        return start

    def expect(self, phrase: str, hint: str | None = None, *, what: str | None = None) -> Token:
        """Step over `phrase` and return its last token.

        Raises
        ------
        QuerySyntaxError : when something else comes next
        """
        if not self.accept(phrase):
            raise self.expected(what or phrase, hint, words=(phrase,))
        return self.tokens[self.index - 1]

    def expected(self, what: str, hint: str | None = None, *, words: Iterable[str] = ()) -> QuerySyntaxError:
        """Return the error that says what should come next and what does."""
        token = self.current
        seen = f'got "{token.text}"' if not self.at_end else "but the clause ends"
        if token.kind is Kind.WORD and not self.at_end:
            hint = did_you_mean(token.text, words, hint)
        return self.error(f"expected {what}, {seen}", token, hint)

    def error(self, message: str, at: Token | Span | None = None, hint: str | None = None) -> QuerySyntaxError:
        """Return a syntax error with its caret under a token or a part; under the next token when not said."""
        place = at or self.current
        start = self.end if isinstance(place, Token) and place.kind is Kind.END else place.start
        return QuerySyntaxError("Parser", message, self.text, start, max(place.end, start + 1), hint=hint)

    def finish(self, hint: str | None = None) -> None:
        """Check that the range is read to its end.

        Raises
        ------
        QuerySyntaxError : when something is left
        """
        if not self.at_end:
            raise self.error(f'syntax error at or near "{self.current.text}"', hint=hint)

    def name(self, what: str, hint: str | None = None) -> Name:
        """Step over a name and return it.

        Raises
        ------
        QuerySyntaxError : when something else comes next
        """
        if self.at_end or not self.current.is_name or self.current.upper in RESERVED:
            raise self.expected(what, hint)
        token = self.next()
        return Name(token.start, token.end, token.name)

    def value(self, kind: Kind, what: str) -> Expression:
        """Step over a string or a number, or a parameter that stands for one, and return it.

        Raises
        ------
        QuerySyntaxError : when something else comes next
        """
        if self.at_end or self.current.kind not in (kind, Kind.PARAMETER):
            raise self.expected(what)
        self.next()
        return self.slice(self.index - 1, self.index)

    def expression(self, what: str, *stops: Stop, hint: str | None = None) -> Expression:
        """Step over everything up to a stop outside brackets, and return it as one expression.

        Raises
        ------
        QuerySyntaxError : when nothing stands there, or a bracket is closed that was not opened
        """
        first = self.index
        while not self.at_end and not self.at(*stops):
            token = self.current
            if token.kind is Kind.OPERATOR and token.text in "([{":
                close = matching(self.tokens, self.index)
                if close >= self.last:
                    raise self.error(f'"{token.text}" is never closed')
                self.index = close + 1
            elif token.kind is Kind.OPERATOR and token.text in ")]}":
                raise self.error(f'syntax error at or near "{token.text}"')
            else:
                self.index += 1
        if self.index == first:
            raise self.expected(what, hint)
        return self.slice(first, self.index)

    def slice(self, first: int, last: int) -> Expression:
        """Return the tokens `first` up to, without, `last` as an expression."""
        part = self.tokens[first:last]
        names, dots = part[::2], part[1::2]
        is_column = (
            all(token.is_name for token in names) and all(token.text == "." for token in dots) and len(part) % 2 == 1
        )
        column = part[-1].name if is_column else None
        start, end = part[0].start, part[-1].end
        return Expression(start, end, first, last, self.text[start:end], column)

    def inside(self) -> TokenReader:
        """Step over the bracket that comes next with all it holds, and return a reader of what it holds."""
        close = matching(self.tokens, self.index)
        if close >= self.last:
            raise self.error(f'"{self.current.text}" is never closed')
        reader = TokenReader(self.text, self.tokens, self.index + 1, close, self.words)
        self.index = close + 1
        return reader
