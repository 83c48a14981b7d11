"""Every malformed statement gets one message with its caret in what was typed: `errors.txt` holds both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import IsoflopError

FIXTURE = Path(__file__).parents[2] / "fixtures" / "queries" / "errors.txt"
BETWEEN, ANSWER = "\n====\n", "\n----\n"


def read_cases() -> list[tuple[str, str, str]]:
    """What is wrong, the statement, and the message, of each case."""
    cases = []
    for case in FIXTURE.read_text(encoding="utf-8").strip("\n").split(BETWEEN):
        question, _, message = case.partition(ANSWER)
        title, _, statement = question.partition("\n")
        cases.append((title, statement, message))
    return cases


@pytest.fixture(scope="module")
def messages() -> Iterator[dict[str, str]]:
    """The messages as they come; with ISOFLOP_WRITE_FIXTURES set they are kept, and the difference is for reading."""
    found: dict[str, str] = {}
    yield found
    if "ISOFLOP_WRITE_FIXTURES" in os.environ:
        cases = [f"{title}\n{text}{ANSWER}{found.get(title, message)}" for title, text, message in read_cases()]
        FIXTURE.write_text(BETWEEN.join(cases) + "\n", encoding="utf-8")


@pytest.mark.parametrize(("title", "statement", "message"), [pytest.param(*case, id=case[0]) for case in read_cases()])
def test_the_message_says_what_is_wrong_where_and_what_to_do(
    planted: Lakehouse, messages: dict[str, str], title: str, statement: str, message: str
) -> None:
    with pytest.raises((IsoflopError, duckdb.Error)) as caught:
        planted.sql(statement)
    messages[title] = str(caught.value)
    assert messages[title] == message


def test_no_message_names_what_is_only_ours() -> None:
    text = FIXTURE.read_text(encoding="utf-8")
    assert "_isoflop" not in text and "Traceback" not in text
