"""Table functions: grids of numbers and lists, the rows of a query, where they stand, and what is said otherwise."""

from __future__ import annotations

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from isoflop.queries.language.functions import NAMES, TABLE_FUNCTIONS, TableFunction


def test_lists_make_a_grid(lakehouse: Lakehouse) -> None:
    rows = lakehouse.sql("SELECT alpha, beta, phase FROM phases([0.4, 0.7], [0.3, 0.7 - 0.1])").rows()
    assert rows == [(0.4, 0.3, "Ib"), (0.4, 0.6, "IVa"), (0.7, 0.3, "Ia"), (0.7, 0.6, "II")]


def test_the_exponents_are_those_of_the_theory(lakehouse: Lakehouse) -> None:
    (row,) = lakehouse.sql("FROM phases(beta := 0.7, alpha := 1.0)").records()
    assert (row["eta"], row["xi"]) == (pytest.approx(0.7059, abs=1e-4), pytest.approx(0.4118, abs=1e-4))
    assert row["parts"] == ["F_pp", "F_ac"] and not row["is_boundary"]
    (row,) = lakehouse.sql("FROM phases(0.3, 0.2)").records()
    assert row["phase"] is None and row["eta"] is None and row["meet"] == ["none", "Ib"]
    text = "SELECT lower(phase), len(parts), eta * 2 FROM phases(0.2, 0.2)"
    assert lakehouse.sql(text).rows() == [(None, None, None)]


def test_a_query_gives_a_row_for_each_of_its_rows_and_keeps_its_other_columns(lakehouse: Lakehouse) -> None:
    lakehouse.query("CREATE TABLE places AS FROM (VALUES (0.8, 'm', 0.8), (NULL, 'n', 1.0)) t(Beta, name, alpha)")
    for source in ("(SELECT * FROM places)", "places", "main.places", "(FROM places)"):
        answer = lakehouse.sql(f"SELECT name, phase, is_boundary FROM phases({source}) ORDER BY name")
        assert answer.rows() == [("m", "II", True), ("n", None, None)]
        assert any("1 of 2 rows have no number" in note for note in answer.notes)
    text = "WITH chosen AS (FROM places WHERE beta IS NOT NULL) SELECT p.name FROM phases(chosen) p WHERE eta > 0"
    assert lakehouse.sql(text).rows() == [("m",)]


def test_it_stands_wherever_a_table_does(lakehouse: Lakehouse) -> None:
    for text in (
        "SELECT count(*) FROM range(2) r, phases(0.7, 0.3) p",
        "SELECT count(*) FROM range(2) r JOIN PHASES(0.7, 0.3) p ON true",
        "WITH w AS (FROM phases(0.7, [0.3, 0.4])) SELECT count(*) FROM w",
        "SELECT count(*) FROM (SELECT * FROM phases($1, [$2, 0.4]))",
        "CREATE TABLE kept AS FROM phases(0.7, [0.3, 0.4]); SELECT count(*) FROM kept",
        "INSERT INTO kept FROM phases(0.7, [0.3, 0.4]); SELECT count(*) / 2 FROM kept",
    ):
        assert lakehouse.sql(text, [0.7, 0.3] if "$1" in text else None).rows() == [(2,)], text
    text = "FIT loss ~ power(width) FROM (FROM phase_curves(1.0, 0.3, [100, 200, 400, 800, 1600], 1M))"
    (row,) = lakehouse.sql(f"{text} WITH (resamples = 0)").records()
    assert row["rows"] == 5


def test_names_that_are_no_calls_keep_working(lakehouse: Lakehouse) -> None:
    lakehouse.query("CREATE TABLE phases AS SELECT 1 AS phases")
    assert lakehouse.sql("SELECT phases FROM phases").rows() == [(1,)]
    lakehouse.query("INSERT INTO phases(phases) VALUES (2)")
    assert lakehouse.sql("SELECT 'FROM phases(1, 2)' AS said").rows() == [("FROM phases(1, 2)",)]


def test_a_table_macro_of_the_same_name_goes_first(lakehouse: Lakehouse) -> None:
    lakehouse.query("CREATE MACRO regimes(a, b) AS TABLE SELECT a + b AS total")
    assert lakehouse.sql("FROM regimes(1, 2)").rows() == [(3,)]
    assert lakehouse.sql("SELECT total FROM phases(0.7, 0.3), regimes(1, 2)").rows() == [(3,)]
    lakehouse.query("CREATE MACRO phases(a, b) AS a")  # a law of this name is no table
    assert lakehouse.sql("SELECT phase FROM phases(0.7, 0.3)").rows() == [("Ia",)]


def test_a_curve_is_the_same_however_it_is_asked(lakehouse: Lakehouse) -> None:
    every = lakehouse.sql("FROM phase_curves(0.8, 0.7, [50, 100], [10, 1000, 100000])").records()
    assert [(row["width"], row["step"]) for row in every][:2] == [(50, 10), (50, 1000)]
    assert all(row["ambient"] == 10 * row["width"] and row["batch_size"] == 1 for row in every)
    (one,) = lakehouse.sql("FROM phase_curves(0.8, 0.7, 100, 1000, rate_constant := 0.5)").records()
    assert one["loss"] == pytest.approx(every[4]["loss"], rel=1e-4) and one["compute"] == 1e5


SAID = {
    "FROM phases(0.7)": ("phases needs beta", "phases(0.7)"),
    "FROM phases()": ("phases needs alpha", "phases()"),
    "FROM phases(0.7, 0.3, 0.4)": ("takes 2 arguments, got 3", "0.4"),
    "FROM phases(0.7, 'steep')": ("beta is a number or a list of numbers, got 'steep'", "'steep'"),
    "FROM phases([0.7, -1], 0.3)": ("is a number above 0, got -1", "[0.7, -1]"),
    "FROM phases(0.7, gamma := 0.3)": ("has no argument 'gamma'", "gamma"),
    "FROM phases(0.7, alpha := 0.3)": ("alpha is given twice", "0.3"),
    "FROM phases(0.7, )": ("is empty", ")"),
    "FROM phases((SELECT 0.7 AS alpha))": ("the query has no column 'beta'", "(SELECT 0.7 AS alpha)"),
    "FROM range(3) t(a), phases(t.a, 0.3)": ("answered before the query around it", "t.a"),
    "FROM phases(range(1, 1000), range(1, 1000))": ("asked about 998,001 rows", "phases("),
    "CREATE VIEW v AS FROM phases(0.7, 0.3)": ("a view cannot hold phases", "phases"),
    "FROM phase_curves(0.7, 0.3, 1.5, 10)": ("is a whole number above 0, got 1.5", "1.5"),
    "FROM phase_curves(0.7, 0.3, 9, 10, ambient := 8)": ("ambient 8 is less than width 9", "phase_curves("),
    "FROM phase_curves(0.7, 0.3, 100, 1000, rate_constant := 3)": ("SGD diverges", "phase_curves("),
}


@pytest.mark.parametrize("text", SAID)
def test_what_is_wrong_is_said_where_it_stands(lakehouse: Lakehouse, text: str) -> None:
    said, place = SAID[text]
    with pytest.raises(StatementError) as caught:
        lakehouse.sql(text)
    assert said in str(caught.value)
    assert caught.value.text[caught.value.start :].startswith(place)


RATE = {"learning_rate": "0.1"}  # larger ones make SGD diverge


@pytest.mark.slow
@pytest.mark.parametrize("function", TABLE_FUNCTIONS, ids=lambda function: function.name)
def test_every_function_answers_with_the_columns_it_says(lakehouse: Lakehouse, function: TableFunction) -> None:
    assert function is NAMES[function.name]
    for example in function.examples:
        assert lakehouse.sql(example).table.num_rows
    needed = [each for each in function.arguments if not each.is_optional]
    assert len(needed) > 1, "one argument is a query"
    values = {each.name: "40" if each.is_whole else f"{each.above + 0.6}" for each in needed} | RATE
    row = ", ".join(values[each.name] for each in needed)
    names = [each.name for each in function.arguments]
    found = lakehouse.sql(f"FROM {function.name}({row})")
    assert found.table.column_names == [*names, *function.columns]
    assert found.table.num_rows == 1
    for mistake in function.mistakes:
        with pytest.raises(StatementError):
            lakehouse.sql(mistake)


def test_the_frontier_of_small_budgets_extrapolates_to_a_hundred_times_as_much(lakehouse: Lakehouse) -> None:
    """Phase Ia: a power law fitted to the lowest losses for up to 10^7 says that of 10^9 within a tenth."""
    lakehouse.sql(
        "CREATE TABLE frontier AS SELECT budget, min(loss) AS loss FROM phase_curves((\n"
        "  SELECT 1.0 AS alpha, 0.3 AS beta, width, (budget // width)::BIGINT AS step, budget,\n"
        "  FROM (SELECT unnest([1e5, 3e5, 1e6, 3e6, 1e7, 1e9]) AS budget), "
        "(SELECT (40 * 2 ** (unnest(range(0, 17)) / 2))::BIGINT AS width)\n"
        ")) GROUP BY budget"
    )
    lakehouse.sql(
        "CREATE LAW frontier_law AS FIT loss ~ power(budget) PARAMETERS (E FIXED 0) FROM frontier WHERE budget <= 1e7\n"
        "WITH (resamples = 0)"
    )
    rows = lakehouse.sql(
        "SELECT predicted_loss, loss FROM (PREDICT frontier_law FROM frontier) WHERE budget > 1e8"
    ).rows()
    ((said, found),) = rows
    assert said == pytest.approx(found, rel=0.1)
