"""The grammar that the reference shows is the one that statements are read with."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from isoflop.lakehouse.errors import IsoflopError
from isoflop.queries.language.parse import Parsed, parse_clause
from isoflop.queries.language.syntax.clauses import find_clauses, outermost
from isoflop.queries.language.syntax.grammar import SLICES
from isoflop.queries.language.syntax.tokens import tokenize
from isoflop.queries.language.verb import Verb
from isoflop.queries.language.verbs import EXPLAIN, VERBS, grammar, words
from tests.queries.language.statements import SAMPLES, all_names, make


def parsed(text: str) -> Parsed:
    """A clause that is a whole statement."""
    tokens = tokenize(text)
    return parse_clause(text, tokens, 0, len(tokens) - 1, words())


def test_every_name_in_a_rule_is_a_rule_or_a_slice_and_is_used() -> None:
    parts = grammar().parts
    assert {*parts, *SLICES} <= all_names() <= {*parts, *SLICES, *grammar().verbs}
    assert set(SAMPLES) == set(SLICES)


def test_no_two_verbs_are_spelled_alike() -> None:
    assert len({verb.key for verb in VERBS}) == len(VERBS)
    starts = [start for verb in VERBS for start in verb.starts or (verb.words,)]
    assert len(set(starts)) == len(starts)
    assert all(
        words().may_be_in(start) for verb in VERBS if not verb.is_prefix for start in verb.starts or (verb.words,)
    )


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.key)
def test_a_rule_is_read_by_its_own_verb(verb: Verb[Any]) -> None:
    found = next(filter(None, map(_parsed_or_none, made_of(verb.key, 20))))
    assert found.verb is verb and isinstance(found.node, verb.node)


def test_explain_stands_before_every_verb_but_itself() -> None:
    for verb in VERBS:
        opening = words().at(tokenize(f"EXPLAIN {made_of(verb.key, 1)[0]}"), 0)
        assert (opening is not None and opening.behind is verb) is (verb is not EXPLAIN)


def made_of(verb: str, count: int) -> list[str]:
    """Statements that a rule makes, the same each time."""
    chance = random.Random(verb)
    return [make(verb, chance) for _ in range(count)]


def _parsed_or_none(text: str) -> Parsed | None:
    try:
        return parsed(text)
    except IsoflopError:
        return None


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.key)
def test_what_a_rule_makes_parses(verb: Verb[Any]) -> None:
    for text in made_of(verb.key, 60):
        tokens = tokenize(text)
        last = len(tokens) - 1
        opening = words().at(tokens, 0)
        assert opening is not None and opening.verb is verb, text
        try:
            parse_clause(text, tokens, 0, last, words())
        except IsoflopError as error:
            # What only a look at more than one part can tell, and the rules do not say.
            assert re.search("is given twice|declared twice|leaves nothing to choose", str(error)), f"{text}\n{error}"
        (clause,) = outermost(find_clauses(words(), tokens, 0, last), 0, last)
        assert (clause.first, clause.last) == (0, last)


def test_a_rule_is_read_as_it_is_written() -> None:
    with pytest.raises(KeyError):
        grammar().rule("nonsense")
