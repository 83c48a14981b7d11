"""The grammar that the reference shows is the one that statements are read with."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import get_args

import pytest

from isoflop.lakehouse.errors import IsoflopError
from isoflop.queries.language.syntax import clauses
from isoflop.queries.language.syntax.clauses import CHANGES, EXPLAINED, RELATION_VERBS, find_clauses, verb_at
from isoflop.queries.language.syntax.grammar import PARTS, SLICES, VERBS, rule, spelling
from isoflop.queries.language.syntax.parse import parse_clause
from isoflop.queries.language.syntax.tokens import tokenize
from isoflop.queries.language.syntax.verb import Verb
from tests.queries.language.statements import SAMPLES, all_names, make

PARSER = Path(clauses.__file__).with_name("parse.py").read_text(encoding="utf-8")


def parsed(text: str) -> Verb:
    """The node of a clause that is a whole statement."""
    tokens = tokenize(text)
    return parse_clause(text, tokens, 0, len(tokens) - 1)


def test_every_name_in_a_rule_is_a_rule_or_a_slice_and_is_used() -> None:
    assert {*PARTS, *SLICES} <= all_names() <= {*PARTS, *SLICES, *VERBS}
    assert set(SAMPLES) == set(SLICES)


def rule_names(name: str) -> set[str]:
    """The verbs that a rule refers to, through its parts."""
    words = set(re.findall(r"[a-z_]+", {**VERBS, **PARTS}[name]))
    return {each for word in words for each in ({word} if word in VERBS else rule_names(word))}


def test_every_verb_that_is_read_has_a_rule() -> None:
    read = set(re.findall(r'^        case "([A-Z ]+)":', PARSER, re.M))
    assert read <= {spelling(name) for name in VERBS}
    assert {*RELATION_VERBS, *CHANGES} <= read
    made = {name: type(next(filter(None, map(_parsed_or_none, made_of(name, 20))))) for name in VERBS}
    assert set(made.values()) == set(get_args(Verb)) and len(set(made.values())) == len(VERBS)


def test_every_verb_that_is_explained_stands_behind_explain() -> None:
    explained = rule_names("explain")
    assert {verb_at(tokenize(made_of(name, 1)[0]), 0) for name in explained} == set(EXPLAINED)


def made_of(verb: str, count: int) -> list[str]:
    """Statements that a rule makes, the same each time."""
    chance = random.Random(verb)
    return [make(verb, chance) for _ in range(count)]


def _parsed_or_none(text: str) -> Verb | None:
    try:
        return parsed(text)
    except IsoflopError:
        return None


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_rule_makes_parses(verb: str) -> None:
    for text in made_of(verb, 60):
        tokens = tokenize(text)
        last = len(tokens) - 1
        spelled = verb_at(tokens, 0) or ""
        assert spelled and (spelled.startswith(spelling(verb)) or spelling(verb).startswith(spelled)), text
        try:
            parse_clause(text, tokens, 0, last)
        except IsoflopError as error:
            # What only a look at more than one part can tell, and the rules do not say.
            assert re.search("is given twice|declared twice|leaves nothing to choose", str(error)), f"{text}\n{error}"
        (clause,) = find_clauses(tokens, 0, last, is_statement=True)
        assert (clause.first, clause.last) == (0, last)


def test_a_rule_is_read_as_it_is_written() -> None:
    with pytest.raises(KeyError):
        rule("nonsense")
