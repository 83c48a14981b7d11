"""The way back from DuckDB's caret to the token that was typed."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.queries.language.rewrite import Composed
from isoflop.queries.language.syntax.nodes import Span
from isoflop.queries.language.syntax.tokens import tokenize


def composed(text: str) -> Composed:
    """A text sent token by token."""
    tokens = tokenize(text)
    result = Composed(text, tokens)
    for index in range(len(tokens) - 1):
        result.token(index)
    return result


def caret_of(text: str) -> str:
    """What the caret underlines when DuckDB refuses a text."""
    sent = composed(text)
    with pytest.raises(duckdb.Error) as caught:
        duckdb.connect().execute(sent.text)
    error = sent.restate(caught.value, Span(0, 0))
    assert error is not None
    return text[error.start : error.end]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT wrong", "wrong"),
        ("SELECT 1,\n\n  /* a\n b */ wrong -- here\n", "wrong"),
        ("SELECT '日本語', 'é', wrong", "wrong"),
        ("SELECT 'two\nlines', wrong", "wrong"),
        ("SELECT 1,\r\n wrong", "wrong"),
        ("SELECT " + "+".join(["1"] * 200) + "+wrong+" + "+".join(["2"] * 200), "wrong"),
        ("SELECT " + "1, " * 200 + "wrong", "wrong"),
        ("SELECT 1 FORM x y", "x"),
        ("SELECT\t1 FROM\twrong", "wrong"),
        ("SELECT '" + "x" * 300 + "', wrong", "wrong"),
        ("SELECT '" + "日" * 300 + "'||wrong", "wrong"),
    ],
)
def test_the_caret_is_under_the_token_that_was_typed(text: str, expected: str) -> None:
    assert caret_of(text) == expected


def test_an_error_at_the_end_points_behind_the_last_token() -> None:
    text = "SELECT 1 +   -- more\n"
    sent = composed(text)
    with pytest.raises(duckdb.Error) as caught:
        duckdb.connect().execute(sent.text)
    error = sent.restate(caught.value, Span(0, 0))
    assert error is not None and error.start == len("SELECT 1 +")


@pytest.mark.parametrize(("gap", "kept"), [(" ", " "), ("\n", "\n"), (" -- y\n", "\n"), (" /*\n*/ ", " ")])
def test_two_strings_are_one_where_duckdb_reads_one(gap: str, kept: str) -> None:
    assert f"'a'{kept}'b'" in composed(f"SELECT 'a'{gap}'b'").text


NAMES = st.lists(
    st.sampled_from(["1", "2.5", "'x'", "'日本'", '"q"', "NULL", "[1, 2]", "a.b"]), min_size=0, max_size=30
)
GAPS = st.sampled_from([" ", "\n", "  ", " /* x */ ", " -- y\n", "\r\n", "\t"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), NAMES, GAPS)
def test_the_caret_finds_one_wrong_name_among_many(before: int, after: list[str], gap: str) -> None:
    values = [*(["1", "'日'"] * before), "wrong"]
    text = f"SELECT{gap}" + f",{gap}".join([*values, *(each for each in after if each not in ('"q"', "a.b"))])
    assert caret_of(text) == "wrong"


def test_what_is_not_an_error_of_duckdb_is_left_alone() -> None:
    assert composed("SELECT 1").restate(ValueError("no"), Span(0, 1)) is None
