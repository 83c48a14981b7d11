"""A text as it was typed: its tokens, its statements, the verb clauses in them. Nothing about it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from isoflop.lakehouse.errors import QuerySyntaxError, StatementError
from isoflop.queries.language.functions import NAMES
from isoflop.queries.language.syntax.calls import find_calls, may_call
from isoflop.queries.language.syntax.clauses import Clause, find_clauses, outermost, split_statements
from isoflop.queries.language.syntax.nodes import Span
from isoflop.queries.language.syntax.sizes import has_sizes, join_sizes
from isoflop.queries.language.syntax.tokens import Token, tokenize
from isoflop.queries.language.syntax.words import Words


@dataclass(frozen=True, eq=False)
class Text:
    """What was typed.

    Parameters
    ----------
    text : as typed
    tokens : its tokens
    words : of the verbs that may stand in it
    """

    text: str
    tokens: list[Token]
    words: Words[Any]

    @classmethod
    def of(cls, text: str, words: Words[Any]) -> Text:
        """Return a text; one that can hold neither a verb nor a table function is not split into tokens."""
        is_ours = words.may_be_in(text) or may_call(text, NAMES)
        return cls.read(text, words) if is_ours else cls(text, [], words)

    @classmethod
    def read(cls, text: str, words: Words[Any]) -> Text:
        """Return a text, the sizes in its verbs, such as `70B`, as numbers."""
        made = cls(text, tokenize(text), words)
        return cls(text, join_sizes(made.tokens, made.clauses), words) if has_sizes(made.tokens) else made

    @cached_property
    def statements(self) -> list[tuple[int, int]]:
        """The token ranges of its statements, each without the last token."""
        return split_statements(self.tokens)

    @cached_property
    def clauses(self) -> Mapping[int, Clause]:
        """The verb clauses and the calls of table functions by their first token, at every depth."""
        found: dict[int, Clause] = {}
        for first, last in self.statements:
            found |= find_calls(self.tokens, first, last, NAMES)
            found |= find_clauses(self.words, self.tokens, first, last)
        return found

    def outermost(self, first: int, last: int) -> list[Clause]:
        """Return the clauses in a token range that are inside no other one of it."""
        return outermost(self.clauses, first, last)

    def parameter_name(self, index: int) -> str:
        """Return the name or number of the parameter at a token; `?` are numbered through the text."""
        text = self.tokens[index].text
        if len(text) > 1:
            return text[1:]
        return str(sum(token.text == "?" for token in self.tokens[: index + 1]))

    def error(self, kind: str, message: str, at: Span | Token, hint: str | None = None) -> StatementError:
        """Return an error with its caret under a part of the text."""
        kinds = QuerySyntaxError if kind == "Parser" else StatementError
        return kinds(kind, message, self.text, at.start, at.end, hint=hint)
