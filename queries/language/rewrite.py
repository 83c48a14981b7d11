"""Text for DuckDB made of slices of the statement, and the way back for its carets.

A verb clause cannot be sent as it is: it becomes `FROM name` of a relation. The rest is sent token by
token, one on each line, so that DuckDB's line number and caret name one token even where it would
shorten a long line; comments are left out. `Composed.locate` turns its answer into a place in the original.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from isoflop.lakehouse.errors import QuerySyntaxError, StatementError
from isoflop.lakehouse.sql.execution import find_place
from isoflop.queries.language.syntax.nodes import Span
from isoflop.queries.language.syntax.tokens import Kind, Token

_MESSAGE = re.compile(
    r"(?P<kind>[A-Z][A-Za-z -]*?) Error: (?P<message>.*?)"
    r"(?:\n\nLINE (?P<line>\d+): (?P<shown>[^\n]*)\n(?P<caret> *)\^.*)?",
    re.DOTALL,
)
_JOINS_STRINGS = re.compile(r"(?:\s|--[^\n\r]*)*[\n\r](?:\s|--[^\n\r]*)*")
OVERFLOW = "the product is larger than a whole number can be: begin with a DOUBLE, such as 6e0 * params * tokens"
_SIGNED = re.compile(r"\^[-+]")
_OWN_NAME = r'"(?:[^"\n]*\.)?_isoflop_[^"\n]*"'  # a relation of ours, which nobody typed
_OWN_CANDIDATES = re.compile(
    rf"\nDid you mean {_OWN_NAME}\?|, {_OWN_NAME}"
    r'|\nDid you mean "(?:pg|duckdb|sqlite)_[^"\n]*"\?'  # nor is DuckDB's own catalog meant
    rf"|\nCandidate (?:tables|bindings): {_OWN_NAME}(?:, {_OWN_NAME})*(?=\n|$)"
)
_NEAR = re.compile(r'syntax error at or near "[^\n]*"|syntax error at end of input')


@dataclass(frozen=True)
class _Piece:
    """Characters `start` to `end` of the composed text, which are token `token` of the statement or our own words."""

    start: int
    end: int
    token: int | None


@dataclass
class Composed:
    """A text for DuckDB in the making.

    Parameters
    ----------
    statement : the text that the user typed
    tokens : its tokens
    relations : names of the relations that the text reads
    parameters : values of the parameters that the text uses, by name or by number from one
    """

    statement: str
    tokens: list[Token]
    relations: set[str] = field(default_factory=set)
    parameters: dict[str, Any] = field(default_factory=dict)
    _parts: list[str] = field(default_factory=list)
    _pieces: list[_Piece] = field(default_factory=list)
    _length: int = 0

    @property
    def text(self) -> str:
        """What is sent."""
        return "".join(self._parts)

    @property
    def line(self) -> str:
        """What is sent, on one line, for display."""
        return "".join(" " if part == "\n" else part for part in self._parts).strip()

    def own(self, text: str, stands_for: int | None = None) -> None:
        """Add words of our own; an error in them is shown under the token they stand for, or under the next one."""
        self._add(text, stands_for)

    def token(self, index: int, text: str | None = None) -> None:
        """Add a token of the statement, set off from the one before as it was typed."""
        token = self.tokens[index]
        previous = self._pieces[-1].token if self._pieces else None
        if previous is not None:
            before = self.tokens[previous]
            gap = self.statement[before.end : token.start]
            if gap:
                # Two strings on two lines are one string, on one line they are a string and its name.
                is_one_line = before.kind is token.kind is Kind.STRING and not _JOINS_STRINGS.fullmatch(gap)
                self._space(" " if is_one_line else "\n")
        else:
            self._space("\n")
        self._add(text or token.text, index)

    def _space(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def _add(self, text: str, token: int | None) -> None:
        self._parts.append(text)
        self._pieces.append(_Piece(self._length, self._length + len(text), token))
        self._length += len(text)

    def restate(self, error: Exception, otherwise: Span, correlation_hint: str | None = None) -> StatementError | None:
        """Return DuckDB's error with its caret in the statement, or None when it is not of DuckDB's usual form.

        Parameters
        ----------
        error : what DuckDB raised for `text`
        otherwise : where the caret goes when DuckDB names no place
        correlation_hint : what to say when the text names a table that stands around it
        """
        found = _MESSAGE.fullmatch(str(error))
        if found is None:
            return None
        kind, message = found["kind"], found["message"].rstrip()
        position = (
            find_place(self.text, int(found["line"]), found["shown"], len(found["caret"])) if found["line"] else None
        )
        span, near = (otherwise, None) if position is None else self._locate(position, otherwise)
        if position is None and "end of input" in message:
            span, near = self._locate(self._length)
        if near is not None:
            message = _NEAR.sub(lambda _: near, message)
        message = _OWN_CANDIDATES.sub("", message)
        kinds = QuerySyntaxError if kind == "Parser" else StatementError
        hint = correlation_hint if message.startswith("Referenced table") else None
        hint = OVERFLOW if message.startswith("Overflow in") else hint
        if _SIGNED.search(message) and message.startswith("Scalar Function"):
            message = message.partition("\n")[0]
            hint = "DuckDB reads ^- as one operator; put a space between: ^ -1"
        return kinds(kind, message, self.statement, span.start, span.end, hint=hint)

    def _locate(self, position: int, otherwise: Span | None = None) -> tuple[Span, str | None]:
        """Return the place in the statement of a character of `text`, and what is near it when it is our own word."""
        last = -1
        for piece in self._pieces:
            if piece.end <= position:
                last = piece.token if piece.token is not None else last
                continue
            if piece.token is None or piece.start > position:
                break
            token = self.tokens[piece.token]
            start = token.start + (position - piece.start if piece.end - piece.start == token.end - token.start else 0)
            return Span(start, token.end), None
        if last < 0 and otherwise is not None:  # in our own words before any of the statement's
            return otherwise, None
        following = self.tokens[min(last + 1, len(self.tokens) - 1)]
        if following.kind is Kind.END:
            end = self.tokens[last].end if last >= 0 else 0
            return Span(end, end + 1), "syntax error at end of input"
        return Span(following.start, following.end), f'syntax error at or near "{following.text}"'
