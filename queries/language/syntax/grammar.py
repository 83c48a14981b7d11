"""The grammar of the verbs, stated once: what the reference draws, what tests generate statements from.

The functions of `parse` read what stands here; a test holds the two together, so a verb that is added there has
its rule here. In a rule, CAPITALS are keywords, "quoted" marks stand for themselves, names are other rules or what
DuckDB reads (`SLICES`), `[ … ]` may be left out, `{ … }` may be repeated, `|` separates alternatives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

# Verb -> its rule. The keywords that a rule begins with are the verb as people know it.
VERBS: Mapping[str, str] = {
    "fit": 'FIT candidate source [ GROUP BY expression { "," expression } ] [ WEIGHT BY expression ] [ options ]',
    "explain": "EXPLAIN [ ANALYZE ] explained",
    "create_law": "CREATE ( LAW [ IF NOT EXISTS ] | OR REPLACE LAW ) name AS fit",
    "refit_law": "REFIT LAW saved_law",
    "drop_law": "DROP LAW [ IF EXISTS ] saved_law",
    "alter_law": "ALTER LAW saved_law RENAME TO name",
    "comment_on_law": "COMMENT ON LAW saved_law IS ( text | NULL )",
    "show_laws": "SHOW LAWS [ LIKE text ]",
    "show_law_forms": "SHOW LAW FORMS [ LIKE text ]",
    "describe_law": "DESCRIBE LAW saved_law [ VERSION version ]",
    "extrapolate": "EXTRAPOLATE law targets [ options ]",
    "extrapolate_average": (
        'EXTRAPOLATE AVERAGE OF ( saved_law "," saved_law { "," saved_law } '
        '| contender "," contender { "," contender } source [ WEIGHT BY expression ] ) targets [ options ]'
    ),
    "predict": "PREDICT law source [ options ]",
    "residuals": "RESIDUALS law [ source ] [ options ]",
    "forecast": "FORECAST saved_law targets [ options ]",
    "show_forecasts": "SHOW FORECASTS [ LIKE text ]",
    "cross_validate": (
        "CROSS VALIDATE ( saved_law | candidate ) source [ WEIGHT BY expression ] holdout [ options ]"
    ),
    "compare": (
        'COMPARE contender { "," contender } source [ WEIGHT BY expression ] [ holdout ] [ options ]'
    ),
    "compare_approaches": (
        'COMPARE APPROACHES [ "(" candidate ")" ] source [ GROUP BY expression { "," expression } ] '
        '[ AT FLOPS "=" value ] [ options ]'
    ),
    "design": (
        'DESIGN number ( RUNS | RUN ) FOR law targets OVER planned { "," planned } '
        '[ SUBJECT TO limit { "," limit } ] [ options ]'
    ),
    "optimize": (
        'OPTIMIZE law ( MINIMIZE | MAXIMIZE ) formula OVER chosen { "," chosen } '
        '[ SUBJECT TO comparison { "," comparison } ] [ FOR EACH name IN values ] [ options ]'
    ),
}  # fmt: skip

# What rules share.
PARTS: Mapping[str, str] = {
    "candidate": 'target [ AS name ] "~" form [ PARAMETERS "(" parameter { "," parameter } ")" ]',
    "form": 'law_form [ "(" expression { "," expression } ")" ] | formula',
    "parameter": 'name [ ( ">" | "<" ) value | IN "[" value "," value "]" ] [ ( INIT | FIXED ) value ]',
    "source": "FROM relation [ WHERE condition ]",
    "law": 'saved_law | "(" fit ")"',
    "contender": 'saved_law | "(" candidate ")"',
    "targets": 'TO ( column "=" value { "," column "=" value } | "(" query ")" )',
    "holdout": (
        "HOLDOUT ( LARGEST | SMALLEST | LAST ) number [ PERCENT ] BY expression "
        "| KFOLD number [ BY expression ] | LEAVE ONE OUT [ BY expression ]"
    ),
    "range": 'column IN "[" value "," value "]" [ LOG ] [ INTEGER ]',
    "chosen": 'range | column "=" formula',
    "planned": 'range | column IN "(" value { "," value } ")" | column "=" formula',
    "limit": 'comparison | SUM "(" formula ")" "<=" formula',
    "explained": (
        "fit | cross_validate | compare | compare_approaches | extrapolate | extrapolate_average | predict | residuals "
        "| forecast | optimize | design | create_law | refit_law"
    ),
    "comparison": 'formula ( "<=" | ">=" | "=" ) formula',
    "values": 'list | "(" value { "," value } ")" | "(" query ")"',
    "options": 'WITH "(" option "=" value { "," option "=" value } ")"',
}

# What a name in a rule stands for when it is no rule: a token, or a slice of the statement that DuckDB evaluates.
SLICES: Mapping[str, str] = {
    "name": 'a new name: a word that is no reserved one, or anything in `"double quotes"`',
    "saved_law": "the name of a saved law; `SHOW LAWS` lists them",
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
class Choice:
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


Node: TypeAlias = Word | Mark | Reference | Sequence | Choice | Maybe | Listed

_PIECE = re.compile(r'"[^"]+"|[A-Za-z_]+|[\[\]{}()|]')


@cache
def rule(name: str) -> Node:
    """Return a rule as a tree.

    Raises
    ------
    KeyError : when there is no rule of that name

    Example
    -------
    >>> rule("drop_law")
    Sequence(parts=(Word(text='DROP'), Word(text='LAW'), Maybe(part=Sequence(parts=(Word(text='IF'), \
Word(text='EXISTS')))), Reference(name='saved_law')))
    """
    text = VERBS[name] if name in VERBS else PARTS[name]
    pieces = _PIECE.findall(text)
    node, rest = _alternatives(pieces)
    if rest:
        raise ValueError(f"rule {name}: nothing opens {rest[0]}")
    return node


def spelling(verb: str) -> str:
    """Return the keywords a verb begins with, as people call it.

    Example
    -------
    >>> spelling("cross_validate"), spelling("create_law")
    ('CROSS VALIDATE', 'CREATE LAW')
    """
    return verb.replace("_", " ").upper()


def _alternatives(pieces: list[str]) -> tuple[Node, list[str]]:
    options = []
    while True:
        node, pieces = _sequence(pieces)
        options.append(node)
        if not pieces or pieces[0] != "|":
            break
        pieces = pieces[1:]
    return (options[0] if len(options) == 1 else Choice(tuple(options))), pieces


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
