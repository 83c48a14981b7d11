"""A verb is one record: one that is registered here is known wherever verbs are, with nothing else changed."""

from __future__ import annotations

import dataclasses
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from isoflop.cli.conversation import Conversation
from isoflop.cli.prompt import NameCompleter
from isoflop.cli.verbs import help_on, overview
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import IsoflopError
from isoflop.queries.language import verbs
from isoflop.queries.language.listing import Listing
from isoflop.queries.language.parse import parse_clause
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import Show
from isoflop.queries.language.syntax.parts import read_pattern
from isoflop.queries.language.syntax.tokens import tokenize
from isoflop.queries.language.verb import Brief, Page, Plan, Verb
from isoflop.queries.laws import OBJECTIVES
from tests.lakes import open_here
from tests.queries.language.statements import make

DOCS = Path(__file__).resolve().parents[3] / "docs"


def plan(question: Question, node: Show) -> Plan:
    """The objectives, one row each."""
    objectives = {"_objectives": pa.table({"objective": list(OBJECTIVES)})}
    sql = "FROM _objectives WHERE $pattern IS NULL OR objective ILIKE $pattern ORDER BY objective"
    return Listing(question, node, "what a fit can minimize", sql, objectives)


SHOW_TRIED = Verb(
    words="SHOW TRIED OBJECTIVES",
    rule="SHOW TRIED OBJECTIVES [ LIKE text ]",
    node=Show,
    parse=lambda reader: read_pattern(reader, "SHOW TRIED OBJECTIVES"),
    plan=plan,
    page=Page(
        purpose="Lists what a fit can minimize.",
        sample="SHOW TRIED OBJECTIVES",
        columns={"objective": "its name"},
        examples=("SHOW TRIED OBJECTIVES LIKE 'huber%'",),
    ),
    briefs=(Brief("list what a fit can minimize", "SHOW TRIED OBJECTIVES"),),
)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lakehouse]:
    """A lake of a language with one verb more."""
    monkeypatch.setattr(verbs, "VERBS", (*verbs.VERBS, SHOW_TRIED))
    with open_here(tmp_path / "extended.duckdb") as opened:
        yield opened


def test_it_is_answered_wherever_a_query_may_stand(lake: Lakehouse) -> None:
    assert [name for (name,) in lake.sql("SHOW TRIED OBJECTIVES").rows()] == sorted(OBJECTIVES)
    assert lake.sql("WITH o AS (SHOW TRIED OBJECTIVES LIKE $1) SELECT count(*) > 0 FROM o", ["huber%"]).rows() == [
        (True,)
    ]
    lake.sql("CREATE TABLE kept AS SHOW TRIED OBJECTIVES")
    assert len(lake.sql("FROM kept")) == len(OBJECTIVES)
    with pytest.raises(IsoflopError, match="a view cannot hold SHOW TRIED OBJECTIVES, which is answered once"):
        lake.sql("CREATE VIEW v AS FROM (SHOW TRIED OBJECTIVES)")
    with pytest.raises(IsoflopError, match="a pattern in quotes"):
        lake.sql("SHOW TRIED OBJECTIVES LIKE huber")


def test_it_is_explained(lake: Lakehouse) -> None:
    steps = dict(lake.sql("EXPLAIN SHOW TRIED OBJECTIVES LIKE 'huber%'").rows())
    assert steps["list"] == "what a fit can minimize" and steps["like"] == "huber%"
    assert steps["sql"].startswith("FROM _objectives")
    assert "answer" in dict(lake.sql("EXPLAIN ANALYZE SHOW TRIED OBJECTIVES").rows())


def test_grammar_and_reference_and_diagrams_have_it(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import language

    assert verbs.grammar().rules["show_tried_objectives"] == SHOW_TRIED.rule
    drawn = language.figures()["figures/grammar/show_tried_objectives.svg"]
    assert all(f">{word}</text>" in drawn for word in ("SHOW", "OBJECTIVES", "LIKE", "text"))
    section = language.section(SHOW_TRIED, lambda text: "\n".join(map(str, lake.sql(text).rows())))
    assert re.match(r"## SHOW TRIED OBJECTIVES\n\nLists what a fit can minimize\.", section)
    assert "show_tried_objectives = SHOW TRIED OBJECTIVES [LIKE text]" in section and "('huber_log',)" in section
    assert "language" in sys.modules


def test_the_shell_tells_and_completes_it(lake: Lakehouse, capsys: pytest.CaptureFixture[str]) -> None:
    assert "SHOW TRIED OBJECTIVES" in overview()
    assert str(help_on("show tried objectives")).startswith("SHOW TRIED OBJECTIVES: list what")
    with Conversation(lake, "csv") as conversation:
        conversation.command(".help SHOW TRIED OBJECTIVES")
        conversation.ask(SHOW_TRIED.briefs[0].example)
        completer = NameCompleter(conversation.session)
        found = {
            text: {
                each.text: each.display_meta_text for each in completer.get_completions(Document(text), CompleteEvent())
            }
            for text in ("SHO", "FROM (SHOW tri")
        }
    assert found["SHO"]["SHOW TRIED OBJECTIVES"] == "list what a fit can minimize"
    assert found["FROM (SHOW tri"]["TRIED OBJECTIVES"] == "list what a fit can minimize"
    assert "huber_log" in capsys.readouterr().out


def test_statements_of_tests_are_made_of_it(lake: Lakehouse) -> None:
    chance = random.Random(0)
    for _ in range(30):
        text = make("show_tried_objectives", chance)
        tokens = tokenize(text)
        parsed = parse_clause(text, tokens, 0, len(tokens) - 1, verbs.words())
        assert parsed.verb is SHOW_TRIED and parsed.node.end == len(text)
    assert any("OBJECTIVES" in make("explained", chance) for _ in range(300))


def test_two_verbs_cannot_begin_alike(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "VERBS", (*verbs.VERBS, dataclasses.replace(SHOW_TRIED)))
    with pytest.raises(ValueError, match="two verbs begin with SHOW TRIED OBJECTIVES"):
        verbs.words()
