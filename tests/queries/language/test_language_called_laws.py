"""A law called as an SQL function says below the answer what EXTRAPOLATE says of it, once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import isoflop
from isoflop.lakehouse import Lakehouse

MISFIT = "law 'deaf': the law explains 0% of how loss varies among most rows"
NARROW = "params spans only a factor of 1.2"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """Laws of losses that params says nothing of, of hardly varied ones, and of ones that follow it exactly."""
    with isoflop.open(tmp_path_factory.mktemp("called") / "called.duckdb") as opened:
        opened.sql(
            "CREATE TABLE noise AS SELECT 1e6 * power(1.5, i % 20) AS params, 2 + 0.5 * ((i * 7) % 11) / 11 AS loss "
            "FROM range(40) r(i)"
        )
        opened.sql(
            "CREATE TABLE tame AS SELECT 1e6 * power(1.5, i) AS params, "
            "(2 + 300 / params ** 0.4) * (1 + 0.0005 * ((i * 7) % 5)) AS loss FROM range(20) r(i)"
        )
        opened.sql("CREATE TABLE narrow AS SELECT 1e6 * (1 + i / 95) AS params, 2 + 3e3 / params ** 0.5 AS loss "
                   "FROM range(20) r(i)")  # fmt: skip
        for law, rows in (("deaf", "noise"), ("sound", "tame"), ("near", "narrow")):
            opened.sql(f"CREATE LAW {law} AS FIT loss ~ power(params) FROM {rows} WITH (resamples = 20)")
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT deaf(1e7)",
        "SELECT deaf(params), deaf_lower(params), deaf_upper(params) FROM noise",
        "SELECT DEAF (params) FROM tame WHERE deaf_upper(params) > 0",
        "WITH a AS (SELECT deaf(params) AS x FROM noise) SELECT max(x) FROM a",
        "SELECT 1; SELECT \"deaf\"(2e6)",
        "SELECT p, deaf(p) FROM (SELECT params AS p FROM (EXTRAPOLATE sound TO params = 1e7))",
    ],
)  # fmt: skip
def test_what_the_fit_found_is_said_once_below_a_plain_answer(lake: Lakehouse, statement: str) -> None:
    notes = lake.sql(statement).notes
    assert len([note for note in notes if note.startswith(MISFIT)]) == 1
    with lake.session() as session:
        assert session.sql(statement).notes == notes


def test_numbers_are_asked_how_far_beyond_the_rows_they_lie(lake: Lakehouse) -> None:
    far = lake.sql("SELECT sound(1e6), sound_lower(2 * 5e9)").notes
    assert far == lake.sql("EXTRAPOLATE sound TO params = [1e6, 1e10]").notes
    assert far[0].startswith("extrapolates 4.51x beyond the largest params of the rows behind law 'sound'")
    assert lake.sql("SELECT sound(1e7)").notes == ()
    assert [note[:9] for note in lake.sql("SELECT near(1e9)").notes if note.startswith("not_known")] == ["not_known"]


def test_columns_of_unknown_values_bring_what_the_rows_leave_open(lake: Lakehouse) -> None:
    assert any(NARROW in note for note in lake.sql("SELECT near(params) FROM narrow").notes)
    assert lake.sql("SELECT sound(params) FROM noise").notes == ()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'deaf(1)'",
        "SELECT 1 -- deaf(1)",
        "WITH deaf(x) AS (SELECT 1) SELECT count(*) FROM deaf",
        "CREATE OR REPLACE TEMP TABLE deaf(x INT)",
        "SELECT greatest(1, 2)",
    ],
)
def test_what_calls_no_law_says_nothing(lake: Lakehouse, statement: str) -> None:
    assert lake.sql(statement).notes == ()
