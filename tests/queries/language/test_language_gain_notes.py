"""COMPARE GAIN: targets of any sign, a budget that is given twice, and what is said of the fits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from tests.lakes import open_here
from tests.queries.language.conftest import planted_points

CHIN = "FIT loss ~ chinchilla(params, tokens)"
LINE = "FIT y ~ a + b * ln(x) PARAMETERS (a IN [-10, 10], b IN [-10, 10])"
SIGNS = "WITH (objective = 'least_squares', resamples = 50)"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with the law `chin`, and `signs` of two groups, of which the second needs twice the x."""
    with open_here(tmp_path_factory.mktemp("lake") / "notes.duckdb") as opened:
        opened.write([("CREATE TABLE points AS FROM _points", None)], {"_points": planted_points()})
        opened.sql("CREATE TABLE once AS SELECT 1.17 ** k AS x, 3 - 1.5 * ln(1.17 ** k) + 0.2 * sin(7 * k) AS y "
                   "FROM range(60) t(k)")  # fmt: skip
        opened.sql("CREATE TABLE signs AS SELECT 'a' AS r, x, y FROM once UNION ALL SELECT 'b', 2 * x, y FROM once")
        opened.sql(f"CREATE LAW chin AS {CHIN} FROM points WITH (resamples = 20)")
        yield opened


def test_a_target_that_falls_through_zero_has_a_gain(lake: Lakehouse) -> None:
    fit = f"{LINE} FROM signs GROUP BY r SHARING (b) {SIGNS}"
    for row in lake.sql(f"COMPARE GAIN OF 'a' OVER 'b' IN ({fit}) AT x = [2, 100]").records():
        assert row["gain"] == pytest.approx(2, rel=1e-6) and row["reason"] is None
        assert row["lower"] < 2 < row["upper"]
    apart = " OVER ".join(f"({LINE} FROM (FROM signs WHERE r = '{r}') {SIGNS})" for r in "ab")
    positive, negative = lake.sql(f"COMPARE GAIN OF {apart} AT x = [2, 100]").records()
    assert positive["predicted_y"] > 0 > negative["predicted_y"]
    assert positive["gain"] == pytest.approx(2, rel=1e-6) and negative["gain"] == pytest.approx(2, rel=1e-6)


@pytest.mark.parametrize(
    ("budget", "under"),
    [
        ("flops = 1e21, params = 1B", "params = 1B"),
        ("Flops = 1e21, Tokens = 5B", "Tokens = 5B"),
        ("params = 1B, tokens = 5B, flops = 1e21", "flops = 1e21"),
    ],
)
def test_a_budget_that_is_given_twice_is_refused(lake: Lakehouse, budget: str, under: str) -> None:
    whole = f"COMPARE GAIN OF chin OVER chin AT {budget}"
    with pytest.raises(StatementError, match="takes flops, or params and tokens, and AT gives") as caught:
        lake.sql(whole)
    assert whole[caught.value.start :].startswith(under)
    assert whole[: caught.value.end].endswith(under.split()[0])


def test_other_columns_of_the_budget_stay_beside_it(lake: Lakehouse) -> None:
    (row,) = lake.sql("COMPARE GAIN OF chin OVER chin AT flops = 1e21, year = 2024").records()
    assert row["year"] == 2024 and row["gain"] == pytest.approx(1)


def test_what_the_fit_says_of_a_group_is_passed_on(lake: Lakehouse) -> None:
    wrong = "(SELECT * REPLACE (CASE WHEN r = 'b' AND x > 20000 THEN 30 ELSE y END AS y) FROM signs)"
    fit = f"{LINE} FROM {wrong} GROUP BY r {SIGNS}"
    notes = lake.sql(f"COMPARE GAIN OF 'a' OVER 'b' IN ({fit}) AT x = 10").notes
    assert any(note.startswith("group 'b': 1 row lies more than 10 times the median residual off") for note in notes)


def test_groups_fitted_apart_with_a_wide_interval_are_told_of_sharing(lake: Lakehouse) -> None:
    rough = "(SELECT r, x, -0.3 * ln(x) + sin(7 * row_number() OVER (ORDER BY r, x)) AS y FROM signs)"
    fit = f"{LINE} FROM {rough} GROUP BY r {{}} {SIGNS}"
    apart = lake.sql(f"COMPARE GAIN OF 'a' OVER 'b' IN ({fit.format('')}) AT x = 10")
    (row,) = apart.records()
    assert row["upper"] > 3 * row["lower"]
    assert any(note.startswith("SHARING (…) in the FIT narrows") for note in apart.notes)
    shared = lake.sql(f"COMPARE GAIN OF 'a' OVER 'b' IN ({fit.format('SHARING (b)')}) AT x = 10")
    near = lake.sql(f"COMPARE GAIN OF 'a' OVER 'b' IN ({LINE} FROM signs GROUP BY r {SIGNS}) AT x = 10")
    assert not any(note.startswith("SHARING (…)") for note in (*shared.notes, *near.notes))


def test_two_laws_without_resamples_have_none(lake: Lakehouse) -> None:
    bare = [f"({CHIN} FROM points WITH (resamples = 0))"] * 2
    notes = lake.sql(f"COMPARE GAIN OF {' OVER '.join(bare)} AT flops = 1e21").notes
    assert any("have no resamples" in note for note in notes)
