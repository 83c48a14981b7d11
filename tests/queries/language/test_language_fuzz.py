"""Broken statements end in an error that a person can read, never in a traceback of ours and never in silence.

Statements are made from the grammar, put where a query may stand, and damaged; so are the statements of the corpus of
plain SQL. What only asks leaves tables, laws, forecasts and the folder as they were.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import IsoflopError, StatementError
from isoflop.queries.language.parse import parse_clause
from isoflop.queries.language.syntax.tokens import quote_name, tokenize
from isoflop.queries.language.verbs import VERBS, words
from tests.lakes import open_here
from tests.queries.language.statements import FITTING, make

PASSTHROUGH = Path(__file__).parents[2] / "fixtures" / "queries" / "passthrough"
# Topics that only read, and read little whatever is swapped in them.
CORPUS = tuple(
    text
    for topic in ("selects", "joins", "windows", "grouping", "pivots", "friendly", "lexical", "names", "errors")
    for text in (PASSTHROUGH / f"{topic}.sql").read_text(encoding="utf-8").strip("\n").split("\n\n")
    if not re.search(r"\b(INSERT|UPDATE|DELETE|DROP|ALTER|CREATE|COPY|SET|PRAGMA|BEGIN)\b|[{]folder", text)
)
SOUND = (
    "FIT loss ~ power(params) FROM points WHERE id < 30 GROUP BY corpus WEIGHT BY id + 1 WITH (resamples = 0)",
    "FIT loss ~ E + A / params ^ a PARAMETERS (E > 0, A IN [0, 1e6] INIT 3, a FIXED 1) FROM holes "
    "WITH (seed = 1, resamples = 2)",
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
    "DESIGN 2 RUNS FOR chin TO params = 1e9, tokens = 2e10 OVER params IN [1e6, 1e9] LOG, tokens IN (1e8, 1e9, 1e10) "
    "SUBJECT TO SUM(6 * params * tokens) <= 1e19, tokens <= 200 * params WITH (seed = 1, per = 'flops')",
    "SELECT run FROM (DESIGN 1 RUN FOR brief TO (SELECT 1e9 AS params) OVER params IN [1e6, 1e8], tokens = 20 * params "
    "WITH (time_law = brief))",
    "COMPARE APPROACHES (loss ~ chinchilla(params, tokens)) FROM points WHERE id < 40 GROUP BY corpus "
    "AT flops = [1e18, 1e19] WITH (resamples = 0, tolerance = 0.2, flops = 6 * params * tokens)",
    "EXTRAPOLATE AVERAGE OF chin, (loss ~ power(params)) FROM points WEIGHT BY id + 1 "
    "TO params = [1e9, 1e10], tokens = 2e10 WITH (resamples = 2, forward = false, weighing = 'aicc')",
    "EXPLAIN DESIGN 2 RUNS FOR chin TO params = 1e9, tokens = 2e10 OVER params IN [1e6, 1e9] LOG, "
    "tokens = 20 * params; "
    "EXPLAIN COMPARE APPROACHES FROM points AT flops = 1e18; EXPLAIN EXTRAPOLATE AVERAGE OF chin, "
    "brief TO params = 1e9, "
    "tokens = 1e10 WITH (resamples = 2)",
    "EXPLAIN ANALYZE REFIT LAW brief; FIT loss ~ power(params) FROM points WITH (resamples = 4, bootstrap = 'auto', "
    "intervals = 'jackknife', forward = false)",
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
LONGEST = 20.0  # processor seconds [s] after which a statement counts as endless; the slowest known takes 3
MOST_GROWN = 2 * 2**30  # bytes [byte] that the process may grow by over all statements of a lake


# Where a verb may stand, and where it may not.
PLACES = (
    "{}", "{}", "{}", "({})", "FROM ({})", "SELECT * FROM ({}) v WHERE 1 = 1", "WITH a AS ({}) SELECT count(*) FROM a",
    "SELECT p.id FROM points p JOIN ({}) v ON true", "{}; SELECT 1", "SELECT 1; {};", "WITH p AS (FROM points) {}",
    "SELECT (SELECT count(*) FROM ({}))", "FIT loss ~ power(params) FROM ({}) WITH (resamples = 0)", "{} {}",
    "EXTRAPOLATE chin TO ({})", "PREDICT chin FROM ({}) v", "({}) UNION ALL ({})", "/* a */ {} -- b", "EXPLAIN {}",
    "SELECT id FROM points WHERE id IN (FROM ({}) SELECT 1)", "SELECT * FROM points, LATERAL ({}) v", "SELECT ({})",
)  # fmt: skip
KEEPING = (
    "CREATE OR REPLACE TABLE kept AS {}", "CREATE TABLE kept AS {}", "COPY ({}) TO 'asked.csv'", "CREATE VIEW v AS {}",
    "PREPARE q AS {}", "CREATE OR REPLACE MACRO m() AS TABLE {}", "INSERT INTO kept {}", "INSERT INTO kept FROM ({})",
    "BEGIN; {}; COMMIT",
)  # fmt: skip
CHIN = "CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 24, forward = false)"
BRIEF = "CREATE LAW brief AS FIT loss ~ power(params) FROM points WITH (resamples = 20, forward = false)"
CHANGING = tuple(verb.key for verb in VERBS if verb.changes)
WRITES = re.compile(
    r"\b(CREATE|REFIT|DROP|ALTER|COMMENT|FORECAST|COPY|INSERT|UPDATE|DELETE|SET|PREPARE|ATTACH|TRUNCATE|BEGIN)\b", re.I
)
STATE = """
SELECT ARRAY(SELECT (schema_name, table_name, estimated_size) FROM duckdb_tables() ORDER BY ALL)::VARCHAR AS tables,
       ARRAY(SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL)::VARCHAR AS views,
       ARRAY(SELECT (name, version, comment) FROM store.laws ORDER BY ALL)::VARCHAR AS laws,
       ARRAY(SELECT forecast_id FROM store.forecasts ORDER BY ALL)::VARCHAR AS forecasts
"""


def mutated(statement: str, chance: random.Random) -> str:
    """A statement with one to four tokens or characters lost, doubled, swapped, exchanged or added."""
    text = statement
    for _ in range(chance.choice((1, 1, 2, 4))):
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


def asking(chance: random.Random) -> str:
    """A statement that only asks, from the grammar or the corpus, most often damaged."""
    while True:
        text = _asking(chance)
        if WRITES.search(text) is None:
            return text


def _asking(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.15:
        return mutated(chance.choice(CORPUS), chance)
    if kind < 0.25:
        return f"SHOW LAWS; {mutated(chance.choice(CORPUS), chance)}"
    if kind < 0.4:
        return mutated(chance.choice(SOUND), chance)
    slow = (*FITTING, "design") if chance.random() < 0.7 else ()
    verb = chance.choice([verb.key for verb in VERBS if verb.key not in (*CHANGING, *slow)])
    text = chance.choice(PLACES).replace("{}", make(verb, chance))
    return mutated(text, chance) if chance.random() < 0.5 else text


def changing(chance: random.Random) -> str:
    """A statement that changes laws, tables or files, often damaged."""
    if chance.random() < 0.5:
        text = make(chance.choice(CHANGING), chance)
    else:
        text = chance.choice(KEEPING).replace("{}", make(chance.choice(VERBS).key, chance))
    return mutated(text, chance) if chance.random() < 0.4 else text


class Watched:
    """A lake whose state is looked at between statements that should leave it alone.

    Parameters
    ----------
    lake : with the tables and the law that statements name
    every : statements between two looks
    """

    def __init__(self, lake: Lakehouse, every: int = 100) -> None:
        self.lake, self.every = lake, every
        self.at_first: int | None = None  # memory [byte] of the process after the first hundred statements
        self.since: list[str] = []
        self.before: tuple[str, list[str]] | None = None

    def state(self) -> tuple[str, list[str]]:
        """What is in the lake and in the folder."""
        return repr(self.lake.query(STATE).to_pylist()), sorted(os.listdir())

    def ask(self, text: str) -> None:
        """A statement is answered or refused in time, and its error points into it."""
        self.since.append(text)
        began = time.process_time()
        try:
            self.lake.sql(text, [1.5] if "$1" in text else None)
        except StatementError as error:
            assert 0 <= error.start <= len(error.text) and "\n\nLINE " in str(error), text
            assert "_isoflop_" not in str(error), text
        except (IsoflopError, duckdb.Error) as error:
            assert str(error).strip() and "_isoflop_" not in str(error), text
        assert time.process_time() - began < LONGEST, text

    def only_asks(self, text: str) -> None:
        """A statement that only asks changes nothing."""
        if self.before is None:
            self.since.clear()
            self.before = self.state()
        self.ask(text)
        if len(self.since) >= self.every:
            self.look()

    def look(self) -> None:
        """Nothing has changed since the last look, and the process has not grown without end."""
        grown = memory()
        self.at_first = self.at_first or grown
        assert grown - self.at_first < MOST_GROWN, (grown, self.at_first)
        assert self.before is None or self.state() == self.before, self.since
        self.since.clear()

    def changes(self, text: str) -> None:
        """A statement that changes something writes no file that it does not name; what it took away comes back."""
        self.before = None
        before = set(os.listdir())
        self.ask(text)
        new = {name for name in set(os.listdir()) - before if name not in text}
        assert not new, (text, new)
        if len(self.since) >= self.every:
            self.look()
            prepare(self.lake)
        elif len(self.since) % 10 == 0 and not len(self.lake.sql("SHOW LAWS LIKE 'chin'")):
            self.lake.sql(CHIN)


def memory() -> int:
    """What the process holds in memory [byte]; nothing where the system does not say."""
    place = Path("/proc/self/statm")
    return int(place.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if place.exists() else 0


def prepare(lake: Lakehouse) -> None:
    """Make the tables and the law that statements name, small so that nothing takes long, and no other laws."""
    for kind, name in (("VIEW", "v"), ("TABLE", "kept"), ("MACRO TABLE", "m")):
        lake.query(f"DROP {kind} IF EXISTS {name}")
    lake.query(
        "CREATE OR REPLACE TABLE points AS SELECT i AS id, 'run ' || i AS name, ['web', 'books'][1 + i % 2] AS corpus, "
        "10.0 ** (6 + i % 3) AS params, 10.0 ** (8 + i // 3) AS tokens, "
        "(1.7 + 400 / params ** 0.34 + 410 / tokens ** 0.28) * (1 + 0.004 * sin(7 * i)) AS loss FROM range(12) t(i)"
    )
    lake.query(
        "CREATE OR REPLACE TABLE holes AS SELECT * REPLACE (CASE id WHEN 0 THEN NULL ELSE loss END AS loss) FROM points"
    )
    lake.query("CREATE OR REPLACE TABLE tree AS SELECT i AS id, i // 2 AS parent, 'n' || i AS label FROM range(5) t(i)")
    for row in lake.sql("SHOW LAWS").records():
        lake.sql(f"DROP LAW {quote_name(row['name'])}")
    lake.query("DELETE FROM store.forecasts")
    lake.sql(CHIN)
    lake.sql(BRIEF)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A small lake, asked from an empty folder."""
    folder, before = tmp_path_factory.mktemp("empty"), Path.cwd()
    with open_here(tmp_path_factory.mktemp("lake") / "fuzzed.duckdb") as lake:
        prepare(lake)
        os.chdir(folder)
        try:
            yield Watched(lake)
        finally:
            os.chdir(before)


@pytest.mark.slow
@pytest.mark.parametrize("statement", SOUND)
def test_the_sound_statements_are_sound(watched: Watched, statement: str) -> None:
    assert watched.lake.sql(statement) is not None
    watched.before = None


CALM = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
SEEDS = st.integers(0, 2**64)


@settings(max_examples=800, derandomize=True, **CALM)
@given(SEEDS)
def test_a_question_is_answered_or_refused_and_changes_nothing(watched: Watched, seed: int) -> None:
    watched.only_asks(asking(random.Random(seed)))


@settings(max_examples=150, derandomize=True, **CALM)
@given(SEEDS)
def test_a_change_is_made_or_refused(watched: Watched, seed: int) -> None:
    watched.changes(changing(random.Random(seed)))


@pytest.mark.long
@settings(max_examples=90_000, **CALM)
@given(SEEDS)
def test_many_questions_are_answered_or_refused_and_change_nothing(watched: Watched, seed: int) -> None:
    watched.only_asks(asking(random.Random(seed)))


@pytest.mark.long
@settings(max_examples=10_000, **CALM)
@given(SEEDS)
def test_many_changes_are_made_or_refused(watched: Watched, seed: int) -> None:
    watched.changes(changing(random.Random(seed)))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=80))
def test_any_text_behind_a_verb_ends_in_a_readable_error(text: str) -> None:
    tokens = tokenize("FIT " + text)
    try:
        parse_clause("FIT " + text, tokens, 0, len(tokens) - 1, words())
    except IsoflopError as error:
        assert str(error)
