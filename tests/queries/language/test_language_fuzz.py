"""Broken statements end in an error that a person can read, never in a traceback of ours and never in silence."""

from __future__ import annotations

import random
import time

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import IsoflopError
from isoflop.queries.language.syntax.tokens import tokenize

SOUND = (
    "FIT loss ~ power(params) FROM points WHERE id < 30 GROUP BY corpus WEIGHT BY id + 1 WITH (resamples = 0)",
    "FIT loss ~ E + A / params ^ a PARAMETERS (E > 0, A IN [0, 1e6] INIT 3, a FIXED 1) FROM holes WITH (seed = 1)",
    "SELECT coefficients.E FROM (FIT loss AS y ~ power(params) FROM holes WITH (resamples = 0)) WHERE r2 > 0.1",
    "EXTRAPOLATE chin TO params = [1e9, 1e10], tokens = 20 * params WITH (level = 0.9, interval = 'confidence')",
    "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] SUBJECT TO params * tokens <= c "
    "FOR EACH c IN (SELECT 1e19) WITH (level = 0.9)",
    "FORECAST chin TO params = [1e9, 1e10], tokens = 20 * params; SHOW FORECASTS LIKE 'c%'",
    "EXTRAPOLATE (FIT loss ~ power(params) FROM points WITH (resamples = 2)) TO (SELECT 1e11 AS params)",
    "WITH small AS (FROM points WHERE params < 1e9) "
    "SELECT status FROM (FIT loss ~ power(params) FROM small WITH (resamples = 0)) -- all",
    "SELECT p.id, x.lower FROM points p JOIN (PREDICT chin FROM points WHERE id < 9) x USING (id) ORDER BY 1",
    "CROSS VALIDATE chin FROM points HOLDOUT LARGEST 20 PERCENT BY params WITH (resamples = 2)",
    "CROSS VALIDATE loss ~ power(params) FROM points KFOLD 2 BY corpus WITH (resamples = 0)",
    "COMPARE chin, (loss ~ power(params)) FROM points HOLDOUT LAST 2 BY tokens WITH (resamples = 0)",
    "RESIDUALS chin FROM (FROM holes LIMIT 20); SHOW LAWS LIKE 'c%'; DESCRIBE LAW chin VERSION 1",
    "CREATE OR REPLACE LAW b AS FIT loss ~ power(params) FROM points WITH (resamples = 2); DROP LAW IF EXISTS b",
    "SELECT 'it''s' AS \"größe\", $$FIT$$ FROM (SHOW LAW FORMS) /* FIT */ WHERE form LIKE 'c%'; SELECT chin(1e9, 2e10)",
)
WORDS = [
    "\n", "\r\n", "\t", "\0",
    *r"""
FIT FROM TO ~ ( ) [ ] , ; ' " -- /* */ $$ $x ? = WHERE WITH BY AS NULL loss params chin power
chinchilla 1e9 -1 0 1e400 x.y.z * SELECT HOLDOUT PERCENT KFOLD LAW PREDICT EXTRAPOLATE nope 日本 é {
PARAMETERS IN INIT FIXED level resamples CASE END 1_000 .5 :: 'nan'::DOUBLE UNION GROUP
    """.split(),
]  # fmt: skip
LONGEST = 10.0  # processor seconds [s] that one statement may take


def mutated(statement: str, seed: int) -> str:
    """A statement with one to four tokens or characters lost, doubled, swapped, exchanged or added."""
    chance = random.Random(seed)
    text = statement
    for _ in range(chance.randint(1, 4)):
        tokens = tokenize(text)[:-1]
        if not tokens:
            return text
        token, other = chance.choice(tokens), chance.choice(tokens)
        at = chance.randrange(len(text) + 1)
        match chance.randrange(8):
            case 0:
                text = text[: token.start] + text[token.end :]
            case 1:
                text = text[: token.end] + " " + token.text + text[token.end :]
            case 2:
                text = text[: token.start] + chance.choice(WORDS) + text[token.end :]
            case 3:
                text = text[: token.end] + " " + chance.choice(WORDS) + " " + text[token.end :]
            case 4:
                text = text[: token.start] + other.text + text[token.end :]
            case 5:
                text = text[:at] + text[at + 1 :]
            case 6:
                text = text[:at]
            case _:
                text = text[:at] + chance.choice(WORDS) + text[at:]
    return text


def check(lake: Lakehouse, statement: str) -> None:
    """A statement is answered or refused in time, and what it must not touch is there afterwards."""
    began = time.process_time()
    try:
        lake.sql(statement)
    except (IsoflopError, duckdb.Error) as error:
        assert str(error).strip() and "_isoflop_" not in str(error)
    assert time.process_time() - began < LONGEST


@pytest.fixture(scope="module")
def fuzzed(planted: Lakehouse) -> Lakehouse:
    return planted


@pytest.mark.parametrize("statement", SOUND)
def test_the_sound_statements_are_sound(fuzzed: Lakehouse, statement: str) -> None:
    assert fuzzed.sql(statement) is not None


@pytest.mark.filterwarnings("error")
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.sampled_from(SOUND), st.integers(0, 2**32))
def test_a_broken_statement_ends_in_a_readable_error(fuzzed: Lakehouse, statement: str, seed: int) -> None:
    check(fuzzed, mutated(statement, seed))


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SOUND), st.integers(0, 2**32))
def test_many_broken_statements_end_in_readable_errors(fuzzed: Lakehouse, statement: str, seed: int) -> None:
    check(fuzzed, mutated(statement, seed))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=80))
def test_any_text_behind_a_verb_ends_in_a_readable_error(text: str) -> None:
    from isoflop.queries.language.syntax.parse import parse_clause

    tokens = tokenize("FIT " + text)
    try:
        parse_clause("FIT " + text, tokens, 0, len(tokens) - 1)
    except IsoflopError as error:
        assert str(error)
