"""The grammar that the reference shows is the one that statements are read with."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from isoflop.lakehouse.errors import IsoflopError
from isoflop.queries.language.syntax import clauses, nodes
from isoflop.queries.language.syntax.clauses import CHANGES, RELATION_VERBS, find_clauses, verb_at
from isoflop.queries.language.syntax.grammar import PARTS, SLICES, VERBS, rule, spelling
from isoflop.queries.language.syntax.parse import parse_clause
from isoflop.queries.language.syntax.tokens import tokenize
from tests.queries.language.statements import SAMPLES, all_names, make

PARSER = Path(clauses.__file__).with_name("parse.py").read_text(encoding="utf-8")


def test_every_name_in_a_rule_is_a_rule_or_a_slice_and_is_used() -> None:
    assert all_names() == ({*PARTS, *SLICES}) | ({"fit"} & all_names())
    assert set(SAMPLES) == set(SLICES)


def test_every_verb_that_is_read_has_a_rule() -> None:
    read = set(re.findall(r'^        case "([A-Z ]+)":', PARSER, re.M))
    assert read == {spelling(name) for name in VERBS}
    assert set(RELATION_VERBS) | set(CHANGES) <= read
    assert len(VERBS) == len(nodes.Verb.__args__)


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_rule_makes_parses(verb: str) -> None:
    chance = random.Random(verb)
    for _ in range(60):
        text = make(verb, chance)
        tokens = tokenize(text)
        last = len(tokens) - 1
        assert verb_at(tokens, 0) == spelling(verb), text
        try:
            parse_clause(text, tokens, 0, last)
        except IsoflopError as error:
            # What only a look at more than one part can tell, and the rules do not say.
            assert re.search("is given twice|declared twice", str(error)), f"{text}\n{error}"
        (clause,) = find_clauses(tokens, 0, last, is_statement=True)
        assert (clause.first, clause.last) == (0, last)


def test_a_rule_is_read_as_it_is_written() -> None:
    with pytest.raises(KeyError):
        rule("nonsense")
