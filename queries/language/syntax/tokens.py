"""Statement text as tokens that remember where they stood.

DuckDB parses SQL; this only has to know where its strings, names, comments and brackets end, so
that a verb inside a string is not taken for one and every error can point at what was typed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from isoflop.lakehouse.sql.quoting import quoted


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    QUOTED = "quoted name"
    STRING = "string"
    NUMBER = "number"
    PARAMETER = "parameter"
    OPERATOR = "operator"
    UNFINISHED = "unfinished"
    END = "end"


class Token(NamedTuple):
    """A piece of a statement: `text[start:end]`.

    Parameters
    ----------
    kind : what it is; `UNFINISHED` is a string, name or comment that nothing closes
    text : as typed
    start, end : character positions in the statement
    upper : the text in capitals for a word or an operator, else empty: what keywords are compared with
    """

    kind: Kind
    text: str
    start: int
    end: int
    upper: str = ""

    @property
    def is_name(self) -> bool:
        """Whether the token can name something."""
        return self.kind in (Kind.WORD, Kind.QUOTED)

    @property
    def name(self) -> str:
        """What the token names: a word as it is, a quoted name without its quotes."""
        return self.text[1:-1].replace('""', '"') if self.kind is Kind.QUOTED else self.text

    @property
    def value(self) -> str:
        """The text inside a string literal."""
        if self.text.startswith("$"):
            tag = self.text[: self.text.index("$", 1) + 1]
            return self.text[len(tag) : -len(tag)]
        return self.text[self.text.index("'") + 1 : -1].replace("''", "'")


_TOKEN = re.compile(
    r"""
    (?: \s++ | --[^\n\r]*+ )*+
    (?:
      (?P<comment>  /\* )
    | (?P<string>   [eE]'(?:[^'\\]++|\\.|'')*+' | '(?:[^']++|'')*+' | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$ )
    | (?P<quoted>   "(?:[^"]++|"")*+" )
    | (?P<open>     [eE]?' | " | \$(?:[^\W\d]\w*)?\$ )
    | (?P<number>   (?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)? )
    | (?P<parameter>\$\w+ | \?\d* )
    | (?P<word>     [^\W\d][\w$]* )
    | (?P<operator> !~~\*? | ~~~ | ~~\*? | !~ | <=> | <= | >= | <> | != | == | :: | := | => | ->> | -> | \*\* | //
                    | \|\| | << | >> | . )
    | (?P<rest>     \Z )
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_KINDS = {
    "string": Kind.STRING,
    "quoted": Kind.QUOTED,
    "open": Kind.UNFINISHED,
    "number": Kind.NUMBER,
    "parameter": Kind.PARAMETER,
    "word": Kind.WORD,
    "operator": Kind.OPERATOR,
}


def tokenize(text: str) -> list[Token]:
    """Return the tokens of a text, without gaps and comments, and an `END` token after the last.

    Example
    -------
    >>> [token.text for token in tokenize("FIT loss ~ power(x) -- by size")]
    ['FIT', 'loss', '~', 'power', '(', 'x', ')', '']
    """
    found: list[Token] = []
    position, last = 0, len(text)
    while position < last:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:  # the last alternatives take any character, and none
            raise AssertionError(f"no token at {position}")
        group = match.lastgroup
        start, position = match.span(group)
        kind = _KINDS.get(group)
        if kind is Kind.UNFINISHED:
            found.append(Token(kind, text[start:], start, last))
            break
        if kind is not None:
            piece = text[start:position]
            upper = piece.upper() if kind is Kind.WORD or kind is Kind.OPERATOR else ""
            found.append(Token(kind, piece, start, position, upper))
        elif group == "comment":
            position = _comment_end(text, position)
            if position < 0:
                found.append(Token(Kind.UNFINISHED, text[start:], start, last))
                break
    found.append(Token(Kind.END, "", len(text), len(text)))
    return found


def _comment_end(text: str, position: int) -> int:
    """Return where a block comment ends, comments inside it included, or -1."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return -1


_PARTNERS = {")": "(", "]": "[", "}": "{"}


def matching(tokens: Sequence[Token], opening: int) -> int:
    """Return the index of the bracket that closes the one at index `opening`, or of the END token when none does."""
    opened: list[str] = []
    for index in range(opening, len(tokens)):
        token = tokens[index]
        if token.kind is not Kind.OPERATOR:
            continue
        if token.text in "([{":
            opened.append(token.text)
        elif token.text in _PARTNERS:
            if not opened or opened.pop() != _PARTNERS[token.text]:
                break
            if not opened:
                return index
    return len(tokens) - 1


def quote_name(name: str) -> str:
    """Return a name as it can stand in a statement, quoted.

    Example
    -------
    >>> quote_name("final loss")
    '"final loss"'
    """
    return quoted(name)
