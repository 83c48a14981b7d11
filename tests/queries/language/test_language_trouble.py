"""What a fit found against itself follows its law into every answer that rests on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isoflop.lakehouse import Lakehouse
from tests.lakes import open_here

FIT = "FIT loss ~ chinchilla(params, tokens) FROM wild WITH (resamples = 20)"
BOX = "params IN [1e7, 1e9] LOG, tokens IN [1e9, 1e11] LOG SUBJECT TO 6 * params * tokens <= 1e18"
POINT = "TO params = 1e9, tokens = 1e11"
SAID = (
    "1 row lies more than 10 times the median residual off (row 14); intervals count it as scatter; "
    "leave out with WHERE what was measured wrong"
)


@pytest.fixture(scope="module")
def wild(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """24 rows of which the one at position 14 is seven times too large, and the law `bad` of them."""
    with open_here(tmp_path_factory.mktemp("wild") / "wild.duckdb") as lake:
        lake.sql(
            "CREATE TABLE tame AS SELECT i, i % 2 AS half, 1e6 * power(2, i % 6) AS params, "
            "1e8 * power(3, i // 6) AS tokens, "
            "(1.7 + 400 / params ** 0.34 + 410 / tokens ** 0.28) * (1 + 0.001 * ((i * 7) % 5)) AS loss "
            "FROM range(24) r(i)"
        )
        lake.sql("CREATE TABLE wild AS SELECT * REPLACE (CASE i WHEN 13 THEN 40 ELSE loss END AS loss) FROM tame")
        lake.sql(f"CREATE LAW bad AS {FIT}")
        yield lake


def test_a_fit_in_parentheses_says_which_row_makes_the_interval_wide(wild: Lakehouse) -> None:
    assert f"the fit of chinchilla: {SAID}" in wild.sql(f"EXTRAPOLATE ({FIT}) {POINT}").notes


@pytest.mark.parametrize(
    "statement",
    [
        f"EXTRAPOLATE bad {POINT}",
        "PREDICT bad FROM wild",
        "RESIDUALS bad",
        f"OPTIMIZE bad MINIMIZE loss OVER {BOX}",
    ],
)
def test_a_saved_law_says_so_wherever_it_is_used(wild: Lakehouse, statement: str) -> None:
    assert f"law 'bad': {SAID}" in wild.sql(statement).notes


def test_of_groups_only_the_one_with_the_row_says_so(wild: Lakehouse) -> None:
    answer = wild.sql(f"EXTRAPOLATE ({FIT.replace('WITH', 'GROUP BY half WITH')}) {POINT}")
    about = [note for note in answer.notes if "times the median residual off" in note]
    assert len(about) == 1 and about[0].startswith("the fit of chinchilla to group '1': ")


def test_nothing_is_said_of_rows_that_lie_where_they_should(wild: Lakehouse) -> None:
    answer = wild.sql(f"EXTRAPOLATE ({FIT.replace('wild', 'tame')}) TO params = 4e6, tokens = 3e8")
    assert not [note for note in answer.notes if "residual off" in note]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """40 losses that params and tokens say nothing of, and the law `deaf` of them."""
    with open_here(tmp_path_factory.mktemp("noisy") / "noisy.duckdb") as lake:
        lake.sql(
            "CREATE TABLE noise AS SELECT 1e6 * power(1.5, i % 20) AS params, 2 + 0.5 * ((i * 7) % 11) / 11 AS loss "
            "FROM range(40) r(i)"
        )
        lake.sql("CREATE LAW deaf AS FIT loss ~ power(params) FROM noise WITH (resamples = 20)")
        yield lake


MISFIT = "the law explains 0% of how loss varies among most rows"
ASKED = "TO params = 1e7"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "title"),
    [
        (f"EXTRAPOLATE deaf {ASKED}", "law 'deaf'"),
        (f"EXTRAPOLATE (FIT loss ~ power(params) FROM noise WITH (resamples = 20)) {ASKED}", "the fit of power"),
        (f"EXTRAPOLATE (FIT loss ~ auto(params) FROM noise WITH (resamples = 20)) {ASKED}", "the fit of auto"),
        ("PREDICT deaf FROM noise", "law 'deaf'"),
        ("OPTIMIZE deaf MINIMIZE loss OVER params IN [1e6, 1e9] LOG", "law 'deaf'"),
        (f"EXTRAPOLATE AVERAGE OF deaf, (loss ~ plain_power(params)) FROM noise {ASKED}", "deaf"),
        (
            f"EXTRAPOLATE BEST OF (loss ~ power(params)), (loss ~ plain_power(params)) FROM noise {ASKED}",
            "the fit of the best of power(params), plain_power(params)",
        ),
    ],
)
def test_a_law_that_does_not_fit_says_so_wherever_it_is_asked(noisy: Lakehouse, statement: str, title: str) -> None:
    about = [note for note in noisy.sql(statement).notes if note.startswith(f"{title}: {MISFIT}")]
    assert len(about) == 1
