"""How rules of the grammar are written and read: what the reference draws, what tests generate statements from.

Each verb brings its rule with it; what rules share stands here. In a rule, CAPITALS are keywords, "quoted" marks stand
for themselves, names are other rules or what DuckDB reads (`SLICES`), `[ … ]` may be left out, `{ … }` may be repeated,
`|` separates alternatives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

# What rules share.
PARTS: Mapping[str, str] = {
    "candidate": (
        'target [ AS name ] "~" form [ LET let { "," let } ] [ PARAMETERS "(" parameter { "," parameter } ")" ]'
    ),
    "let": 'name "=" formula',
    "form": 'law_form [ "(" expression { "," expression } ")" ] | formula',
    "parameter": 'name [ ( ">" | "<" ) value | IN "[" value "," value "]" ] [ ( INIT | FIXED ) value ]',
    "source": "FROM relation [ WHERE condition ]",
    "grouped_fit": (
        'FIT candidate source GROUP BY expression { "," expression } [ SHARING "(" name { "," name } ")" ] '
        "[ WEIGHT BY expression ] [ options ]"
    ),
    "law": 'saved_law | published | "(" fit ")"',
    "published": '"published" ":" published_law',
    "given": (
        '[ target [ AS name ] "~" ] form WITH COEFFICIENTS "(" assigned { "," assigned } ")" '
        '[ STANDARD ERRORS "(" assigned { "," assigned } ")" | COVARIANCE list ] [ options ]'
    ),
    "cell": "expression [ AS name ]",
    "assigned": 'coefficient "=" value',
    "contender": 'saved_law | published | "(" candidate ")"',
    "targets": 'TO ( column "=" value { "," column "=" value } | "(" query ")" )',
    "holdout": (
        "HOLDOUT ( LARGEST | SMALLEST | LAST ) number [ PERCENT ] BY expression "
        "| KFOLD number [ BY expression ] | LEAVE ONE OUT [ BY expression ]"
    ),
    "range": 'column IN "[" value "," value "]" [ LOG ] [ INTEGER ]',
    "chosen": 'range | column "=" formula',
    "planned": 'range | column IN "(" value { "," value } ")" | column "=" formula',
    "limit": 'comparison | SUM "(" formula ")" "<=" formula',
    "comparison": 'formula ( "<=" | ">=" | "=" ) formula',
    "values": 'list | "(" value { "," value } ")" | "(" query ")"',
    "options": 'WITH "(" option "=" value { "," option "=" value } ")"',
}

# What a name in a rule stands for when it is no rule: a token, or a slice of the statement that DuckDB evaluates.
SLICES: Mapping[str, str] = {
    "name": 'a new name: a word that is no reserved one, or anything in `"double quotes"`',
    "saved_law": "the name of a saved law; `SHOW LAWS` lists them",
    "published_law": "the name of a law of a paper; `SHOW PUBLISHED LAWS` lists them",
    "coefficient": "the name of a coefficient of the law",
    "theory": "the name of a theory; docs/theories.md lists them",
    "law_form": "the name of a law form; `SHOW LAW FORMS` lists them",
    "column": "the name of a column that is given a value or a range, often an input of the law",
    "option": "the name of an option, listed with each verb",
    "text": "a string in `'single quotes'`",
    "number": "a whole number, or a parameter",
    "version": "a whole number; every `CREATE OR REPLACE LAW` makes the next one",
    "target": "a DuckDB expression over the rows: what the law predicts",
    "condition": "a DuckDB condition over the rows",
    "expression": "a DuckDB expression over the rows; `$name` and `?` are parameters",
    "value": "a DuckDB expression without columns; after `TO` it sees the columns given before it",
    "list": "a DuckDB expression that is a list: `[1e20, 1e21]`, `$budgets`",
    "formula": "arithmetic: in `FIT` over columns and declared parameters; in `OPTIMIZE` and `DESIGN` over what "
    "`OVER` and `FOR EACH` give, what follows from it (`flops`, `seconds`, the counts of a shape), the law's target, "
    "and other saved laws, called like functions",
    "relation": "what DuckDB takes after `FROM`: a table, a file, joins, a query or a verb in parentheses",
    "query": "a DuckDB query, or a verb",
    "explained": "any other verb of this page, with all that belongs to it",
}


@dataclass(frozen=True)
class Word:
    """A keyword."""

    text: str


@dataclass(frozen=True)
class Mark:
    """A character or two that stand for themselves."""

    text: str


@dataclass(frozen=True)
class Reference:
    """Another rule, or a slice."""

    name: str


@dataclass(frozen=True)
class Sequence:
    """One part after another."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Alternatives:
    """One of several."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Maybe:
    """A part that may be left out."""

    part: Node


@dataclass(frozen=True)
class Listed:
    """A part, once or several times with commas between."""

    part: Node


Node: TypeAlias = Word | Mark | Reference | Sequence | Alternatives | Maybe | Listed

_PIECE = re.compile(r'"[^"]+"|[A-Za-z_]+|[\[\]{}()|]')


class Grammar:
    """The rules of some verbs, and of the parts that they share.

    Parameters
    ----------
    verbs : the rule of each verb by its key
    """

    def __init__(self, verbs: Mapping[str, str]) -> None:
        self.verbs = dict(verbs)
        self.parts = dict(PARTS)

    @property
    def rules(self) -> dict[str, str]:
        """Every rule as it is written, by its name."""
        return {**self.verbs, **self.parts}

    def rule(self, name: str) -> Node:
        """Return a rule as a tree.

        Raises
        ------
        KeyError : when there is no rule of that name
        """
        return read_rule(self.verbs[name] if name in self.verbs else self.parts[name])


@cache
def read_rule(text: str) -> Node:
    """Return a rule as a tree.

    Example
    -------
    >>> read_rule("DROP LAW [ IF EXISTS ] saved_law")
    Sequence(parts=(Word(text='DROP'), Word(text='LAW'), Maybe(part=Sequence(parts=(Word(text='IF'), \
Word(text='EXISTS')))), Reference(name='saved_law')))
    """
    node, rest = _alternatives(_PIECE.findall(text))
    if rest:
        raise ValueError(f"rule {text}: nothing opens {rest[0]}")
    return node


def _alternatives(pieces: list[str]) -> tuple[Node, list[str]]:
    options = []
    while True:
        node, pieces = _sequence(pieces)
        options.append(node)
        if not pieces or pieces[0] != "|":
            break
        pieces = pieces[1:]
    return (options[0] if len(options) == 1 else Alternatives(tuple(options))), pieces


def _sequence(pieces: list[str]) -> tuple[Node, list[str]]:
    parts: list[Node] = []
    while pieces and pieces[0] not in ("|", "]", "}", ")"):
        piece, pieces = pieces[0], pieces[1:]
        if piece in ("[", "(", "{"):
            inner, pieces = _alternatives(pieces)
            pieces = pieces[1:]
            if piece == "{":
                parts = _listed(parts, inner)
            else:
                parts.append(Maybe(inner) if piece == "[" else inner)
        elif piece.startswith('"'):
            parts.append(Mark(piece[1:-1]))
        else:
            parts.append(Word(piece) if piece.isupper() else Reference(piece))
    return (parts[0] if len(parts) == 1 else Sequence(tuple(parts))), pieces


def _listed(parts: list[Node], repeated: Node) -> list[Node]:
    """Return the parts with `x { "," x }` at their end as one list."""
    assert isinstance(repeated, Sequence) and repeated.parts[0] == Mark(",")
    again = repeated.parts[1:]
    before = len(parts) - len(again)
    if tuple(parts[before:]) != again:
        raise ValueError(f"what is repeated is not what stands before it: {again}")
    return [*parts[:before], Listed(again[0] if len(again) == 1 else Sequence(again))]
