"""Sizes such as 70B and 1.4T in verbs: one number each there, and DuckDB's own affair everywhere else."""

from __future__ import annotations

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from isoflop.queries.language.syntax.sizes import number_of, with_sizes
from isoflop.queries.language.syntax.tokens import tokenize
from isoflop.queries.language.text import Text
from isoflop.queries.language.verbs import words

OVER = "OVER params IN [10M, 1T] LOG, tokens IN [1B, 100T] LOG"
PLAIN_OVER = "OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("short", "long"),
    [
        (
            "EXTRAPOLATE chin TO params = [70B, 1.5k, 400M], tokens = 1.4T",
            "EXTRAPOLATE chin TO params = [7e10, 1.5e3, 4e8], tokens = 1.4e12",
        ),
        (
            f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO 6 * params * tokens <= 1e21, params <= 1.5B * 2",
            f"OPTIMIZE chin MINIMIZE loss {PLAIN_OVER} SUBJECT TO 6 * params * tokens <= 1e21, params <= 1.5e9 * 2",
        ),
        (
            f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO flops <= c FOR EACH c IN [1e21, 1000000P]",
            f"OPTIMIZE chin MINIMIZE loss {PLAIN_OVER} SUBJECT TO flops <= c FOR EACH c IN [1e21, 1e21]",
        ),
        (
            "FIT loss ~ E + A / (params / 1M) ^ a PARAMETERS (E > 0, A IN [0, 1K], a > 0) FROM points "
            "WITH (resamples = 0)",
            "FIT loss ~ E + A / (params / 1e6) ^ a PARAMETERS (E > 0, A IN [0, 1000], a > 0) FROM points "
            "WITH (resamples = 0)",
        ),
        (
            "FIT loss ~ power(flops) FROM points WHERE params >= 0.1B AND (tokens < 1T) WITH (resamples = 0.002K)",
            "FIT loss ~ power(flops) FROM points WHERE params >= 1e8 AND (tokens < 1e12) WITH (resamples = 2)",
        ),
        ("PREDICT chin FROM points WHERE params > 1b", "PREDICT chin FROM points WHERE params > 1e9"),
    ],
)
def test_a_size_is_the_number_it_says(planted: Lakehouse, short: str, long: str) -> None:
    answer, wanted = planted.sql(short), planted.sql(long)
    drop = ["slack", "multiplier", "binding"]  # which quote the conditions as they were typed
    kept = [name for name in wanted.columns if name not in drop]
    assert len(wanted) and answer.arrow().select(kept) == wanted.arrow().select(kept)


def test_an_expression_of_a_form_is_kept_as_a_number(planted: Lakehouse) -> None:
    planted.sql("CREATE LAW in_billions AS FIT loss ~ power(params / 1B) FROM points WITH (resamples = 0)")
    (row,) = planted.sql("SELECT * FROM (EXTRAPOLATE in_billions TO params = 70B)").records()
    (same,) = planted.sql("EXTRAPOLATE in_billions TO params = 7e10").records()
    assert row["predicted_loss"] == same["predicted_loss"]
    planted.sql("REFIT LAW in_billions")  # from the statement that was kept


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 70B",  # an alias
        "SELECT 70 B",
        "SELECT 70B FROM (SHOW LAWS) LIMIT 1",
        "SELECT B FROM (EXTRAPOLATE chin TO (SELECT 70B, 7e9 AS params, 1e12 AS tokens))",
        "SELECT B FROM (PREDICT chin FROM (SELECT 70B, params, tokens FROM points)) LIMIT 1",
    ],
)
def test_sql_keeps_its_meaning(planted: Lakehouse, statement: str) -> None:
    (row,) = planted.sql(statement).records()
    assert row == {"B": 70}


@pytest.mark.parametrize("value", ["70X", "70 B", "70BB", "1e9B", "0x1B"])
def test_what_is_no_size_is_an_error_with_its_place(planted: Lakehouse, value: str) -> None:
    statement = f"EXTRAPOLATE chin TO params = {value}, tokens = 1.4T"
    with pytest.raises(StatementError) as raised:
        planted.sql(statement)
    assert value[0] not in ("X",) and statement.index(value) < raised.value.start < statement.index(", tokens")


def test_a_caret_behind_sizes_is_where_it_was_typed(planted: Lakehouse) -> None:
    statement = f"OPTIMIZE chin MINIMIZE loss {OVER} SUBJECT TO 6 * params * 2B * tokns <= 1e21"
    with pytest.raises(StatementError) as raised:
        planted.sql(statement)
    assert raised.value.start == statement.index("tokns")


def test_options_that_count_take_whole_sizes_only(planted: Lakehouse) -> None:
    with pytest.raises(StatementError, match="resamples is"):
        planted.sql("FIT loss ~ power(flops) FROM points WITH (resamples = 0.0015K)")


def test_sizes_in_strings_comments_and_names_stay() -> None:
    text = "EXTRAPOLATE chin TO params = '70B' /* 70B */, \"7B\" = 70B -- 1T"
    numbers = [token.text for token in Text.of(text, words()).tokens if token.text]
    assert "'70B'" in numbers and '"7B"' in numbers and numbers.count("70e9") == 1
    assert with_sizes("a = '7B' AND b IN (1K, 2M) AND c < 3T") == "a = '7B' AND b IN (1e3, 2e6) AND c < 3e12"
    assert with_sizes("x IN (SELECT 7B)") == "x IN (SELECT 7B)"


def test_a_whole_size_is_a_whole_number() -> None:
    tokens = Text.of("EXTRAPOLATE chin TO params = [2K, 1_5.5M, 64]", words()).tokens
    numbers = [number_of(token) for token in tokens if token.text[:1].isdigit()]
    assert numbers == [2000, 15_500_000, 64] and all(isinstance(number, int) for number in numbers)
    assert len(tokenize("2K")) == 3


@pytest.mark.parametrize(
    ("text", "typed", "written"),
    [
        ("SELECT chin(5B, 100B)", "5B", "5e9"),
        ("SELECT chin(5e9, 1.4T)", "1.4T", "1.4e12"),
        ("FROM points WHERE params > 7b", "7b", "7e9"),
        ("SELECT 5B * 2", "5B", "5e9"),
        ("SELECT 1; SELECT params FROM points WHERE params > 1K AND true", "1K", "1e3"),
        ("FROM (EXTRAPOLATE chin TO params = 7B, tokens = 1T) WHERE params > 1M", "1M", "1e6"),
        (
            "FIT loss ~ power(params) FROM points WHERE params IN (FROM points SELECT params WHERE params > 3M)",
            "3M",
            "3e6",
        ),
    ],
)
def test_a_size_where_only_sql_reads_is_said_to_be_one(planted: Lakehouse, text: str, typed: str, written: str) -> None:
    with pytest.raises(StatementError) as raised:
        planted.sql(text)
    error = raised.value
    assert error.text[error.start : error.end] == typed and error.text == text
    assert error.hint == f"sizes such as {typed} are read in verbs only; in SQL write {written}"


@pytest.mark.parametrize("text", ["SELECT chin(5 B, 100)", "SELEC 5B", "SELECT '7B' FORM points"])
def test_other_syntax_errors_speak_of_no_size(planted: Lakehouse, text: str) -> None:
    with pytest.raises(Exception, match="Parser Error") as raised:
        planted.sql(text)
    assert "sizes such as" not in str(raised.value)
