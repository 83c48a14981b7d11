"""Typed formulas: what is computed, what is refused, and where the caret of the refusal stands."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from isoflop.queries.laws import parse_formula
from isoflop.queries.laws.algebra import evaluate, parse_expression, to_sql
from tests.lakes import open_here

QUICK = "WITH (resamples = 0)"
ROWS = (
    "CREATE TABLE rows AS SELECT 10.0 ^ (6 + i % 5) AS params, 10.0 ^ (8 + i % 4) AS tokens, "
    "1.7 + 400 / (10.0 ^ (6 + i % 5)) ^ 0.34 + 410 / (10.0 ^ (8 + i % 4)) ^ 0.28 + 0.001 * sin(i) AS loss "
    "FROM range(20) t(i)"
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with 20 rows."""
    with open_here(tmp_path_factory.mktemp("formulas") / "lake.duckdb") as lake:
        lake.sql(ROWS)
        yield lake


def fitted(lake: Lakehouse, text: str) -> dict[str, Any]:
    """The only row of a FIT, without a warning on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (row,) = lake.sql(text).records()
    return row


def refused(lake: Lakehouse, text: str) -> tuple[str, str]:
    """What a statement is refused with, and the characters that the caret stands under."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(StatementError) as caught:
            lake.sql(text)
    return f"{caught.value} {caught.value.hint or ''}", text[caught.value.start : caught.value.end]


@pytest.mark.parametrize(
    ("formula", "parameters", "says", "under"),
    [
        ("E * CASE WHEN params > 1e8 THEN 1 ELSE 2 END", "E", "without CASE or IF", "CASE"),
        ("E * if(params > 1e8, 1, 2)", "E", "without CASE or IF", None),
        ("E * (params > 1e8)", "E", "a comparison is true or false", ">"),
        ("E * coalesce(params, 1)", "E", "no COALESCE", None),
        ("E * floor(params)", "E", "'floor' is not a function a formula can use", "floor"),
        ("E * sin(params)", "E", "abs, cbrt, exp, greatest, least, ln", "sin"),
        ("E * (params % 2)", "E", "'%' is not a function", "%"),
        ("E * params::INT", "E", "a cast to INTEGER would change them", None),
        ("E * params**-2", "E", "put a space between", "**-"),
        ("E + A * (params - params)", "E, A", "coefficient 'A' cancels", "E + A * (params - params)"),
        ("E + A * 0 * params", "E, A", "coefficient 'A' cancels", None),
        ("A - A + E * params", "A, E", "coefficient 'A' cancels", None),
        ("A / A * params", "A", "coefficient 'A' cancels", None),
        ("E + A / (params - params)", "E, A", "no finite value", None),
        ("E + A * ln(0 * params)", "E, A", "no finite value", None),
        ("E + A * sqrt(-params)", "E > 0, A > 0", "no finite value", None),
        ("E", "E", "no column in it", "E"),
        ("E + A", "E, A", "no column in it", "E + A"),
        ("E + 1e400 * params", "E", "the number is not finite", "1e400"),
        ("E * params ^ a", "E", "not found in FROM", "a"),
    ],
)
def test_formulas_that_are_refused(
    lake: Lakehouse, formula: str, parameters: str, says: str, under: str | None
) -> None:
    message, marked = refused(lake, f"FIT loss ~ {formula} PARAMETERS ({parameters}) FROM rows {QUICK}")
    assert says in message
    if under is not None:
        assert marked == under


@pytest.mark.parametrize("formula", ["1 / params", "(params)", "3"])
def test_a_formula_without_a_coefficient_is_refused(lake: Lakehouse, formula: str) -> None:
    message, marked = refused(lake, f"FIT loss ~ {formula} FROM rows {QUICK}")
    assert ("leave at least one free" in message or "no column in it" in message) and marked == formula


@pytest.mark.parametrize("formula", ["E + 0 * params", "E + params - params", "E * params / params", "E * params ^ 0"])
def test_a_column_that_cancels_is_noted(lake: Lakehouse, formula: str) -> None:
    answer = lake.sql(f"FIT loss ~ {formula} PARAMETERS (E > 0) FROM rows {QUICK}")
    assert answer.notes[0] == "column 'params' cancels out of the formula, which is the same at every params"
    assert answer.records()[0]["status"] == "converged"


@pytest.mark.parametrize(
    "formula",
    [
        "E + A / params ^ a",
        "E + A * least(params, 1e8) ^ (-a)",
        "E + A * greatest(params, 1e8) ^ (-a)",
        "greatest(E, A * params ^ (-a))",
        "E + exp(-a * ln(params / 1e6)) * A",
        "E + A / (params / 1e12) ^ a / 1e6",
        "E + A * tanh(params / 1e10) + a * params / 1e20",
        "E + abs(A - a * params / 1e8)",
        "E + A * sqrt(params) / 1e7 + a / 1e9 * cbrt(params)",
    ],
)
def test_formulas_that_depend_on_all_they_name_are_taken(lake: Lakehouse, formula: str) -> None:
    query = f"FIT loss ~ {formula} PARAMETERS (E > 0, A > 0, a IN [0, 2]) FROM rows {QUICK}"
    assert fitted(lake, query)["rows"] == 20
    assert not any("cancels" in note for note in lake.sql(query).notes)


@pytest.mark.parametrize("written", ["params^-a", "params ^- a", "params^ -a", "params ^ (-a)", "params ** -a"])
def test_a_sign_may_stand_behind_a_power(lake: Lakehouse, written: str) -> None:
    row = fitted(lake, f"FIT loss ~ E + A * {written} PARAMETERS (E > 0, A > 0, a IN [0, 2]) FROM rows {QUICK}")
    plain = fitted(lake, f"FIT loss ~ E + A / params ^ a PARAMETERS (E > 0, A > 0, a IN [0, 2]) FROM rows {QUICK}")
    assert row["coefficients"] == pytest.approx(plain["coefficients"], rel=1e-6)


def test_carets_stand_where_they_should_behind_such_a_sign(lake: Lakehouse) -> None:
    text = f"FIT loss ~ E + A * params^-a + tokens^+2 * sinn(params) PARAMETERS (E, A, a) FROM rows {QUICK}"
    _, marked = refused(lake, text)
    assert marked == "sinn"


@pytest.mark.parametrize(
    "text", ["FIT loss^-1 AS z ~ power(params) FROM rows", "FIT loss ~ power(params * 1e6^-1) FROM rows"]
)
def test_sql_with_such_a_sign_says_to_put_a_space(lake: Lakehouse, text: str) -> None:
    message, _ = refused(lake, text)
    assert "put a space between: ^ -1" in message


# LET

LET = "LET n = params / 1e6, d = tokens / 1e9"
BOTH = "PARAMETERS (E > 0, A > 0, B > 0, alpha IN [0, 2], beta IN [0, 2])"


@pytest.mark.parametrize("clauses", [f"{LET} {BOTH}", f"{BOTH} {LET}"])
def test_let_is_the_formula_written_out(lake: Lakehouse, clauses: str) -> None:
    named = fitted(lake, f"FIT loss ~ E + A / n ^ alpha + B / d ^ beta {clauses} FROM rows {QUICK}")
    out = "E + A / (params / 1e6) ^ alpha + B / (tokens / 1e9) ^ beta"
    plain = fitted(lake, f"FIT loss ~ {out} {BOTH} FROM rows {QUICK}")
    assert named["coefficients"] == plain["coefficients"] and named["form"] == plain["form"] == out


def test_a_law_with_let_is_one_of_the_columns(lake: Lakehouse) -> None:
    lake.sql(
        "CREATE LAW named AS FIT loss ~ E + t LET m = params / 1e3, n = m / 1e3, t = A / n ^ a "
        "PARAMETERS (E > 0, A > 0, a IN [0, 2]) FROM rows WITH (resamples = 20)"
    )
    (row,) = lake.sql("EXTRAPOLATE named TO params = 1e11").records()
    (sql,) = lake.sql("SELECT named(1e11) AS middle, named_lower(1e11) AS low").records()
    assert sql["middle"] == pytest.approx(row["predicted_loss"], rel=1e-13)
    assert sql["low"] == pytest.approx(row["lower"], rel=1e-12)
    assert lake.sql("REFIT LAW named").records()[0]["bit_equal"]


def test_let_may_name_what_a_column_is_called(lake: Lakehouse) -> None:
    scaled = "LET params = params / 1e6 PARAMETERS (E > 0, A > 0, a IN [0, 2])"
    row = fitted(lake, f"FIT loss ~ E + A / params ^ a {scaled} FROM rows {QUICK}")
    assert row["form"] == "E + A / (params / 1e6) ^ a" and row["support"]["params"]["largest"] == 1e10


def test_a_column_called_let_stays_one(lake: Lakehouse) -> None:
    rows = "(SELECT *, params AS let FROM rows)"
    row = fitted(lake, f"FIT loss ~ E + A / let ^ a PARAMETERS (E > 0, A > 0, a IN [0, 2]) FROM {rows} {QUICK}")
    assert list(row["support"]) == ["let"]


@pytest.mark.parametrize(
    ("let", "says", "under"),
    [
        ("n = params, n = 2", "LET names 'n' twice", "n"),
        ("n = params, k = 2", "LET names 'k', which is not used", "k"),
        ("n = sin(params)", "'sin' is not a function", "sin"),
        ("n = parms", 'Referenced column "parms" not found', "parms"),
        ("n = params, E = 3", "'E' is a parameter, and LET names it again", "E"),
        ("n = params +", "syntax error", None),
        ("n = params**-1", "put a space between", "**-"),
        ("n = params - params", "cancels", None),
        ("n = CASE WHEN params > 1 THEN 1 END", "without CASE or IF", "CASE"),
    ],
)
def test_a_let_that_is_refused(lake: Lakehouse, let: str, says: str, under: str | None) -> None:
    text = f"FIT loss ~ E + A * n ^ 2 LET {let} PARAMETERS (E > 0, A > 0) FROM rows {QUICK}"
    message, marked = refused(lake, text)
    assert says in message
    if under is not None:
        assert marked == under


def test_let_belongs_to_a_formula(lake: Lakehouse) -> None:
    message, marked = refused(lake, "FIT loss ~ power(n) LET n = params / 1e6 FROM rows")
    assert "LET belongs to a formula" in message and "power(params / 1e6, …)" in message and marked == "n"


# Options


@pytest.mark.parametrize(
    "option",
    [
        *(f"delta = {value}" for value in ("nan", "inf", "1e400", "-1", "0", "1e300", "1e-300", "'x'", "NULL", "true")),
        *(f"level = {value}" for value in ("nan", "'nan'::DOUBLE", "-1", "0", "1", "95", "1e-300", "NULL", "true")),
        *(f"resamples = {value}" for value in ("nan", "1e400", "-1", "2.5", "1e9", "NULL", "true", "'5'")),
        *(f"seed = {value}" for value in ("nan", "1e400", "-1", "2.5", "9223372036854775808", "NULL", "true")),
        "forward = 1", "bootstrap = 1", "intervals = NULL", "objective = NULL", "objective = 1",
    ],
)  # fmt: skip
def test_options_outside_their_domain_are_refused(lake: Lakehouse, option: str) -> None:
    _, marked = refused(lake, f"FIT loss ~ power(params) FROM rows WITH ({option})")
    assert marked == option.partition(" = ")[2]


@pytest.mark.parametrize("option", ["delta = 1e-12", "delta = 1e12", "level = 1e-6", "level = 0.999999999", "seed = 0"])
def test_options_at_the_ends_of_their_domain_are_taken(lake: Lakehouse, option: str) -> None:
    assert fitted(lake, f"FIT loss ~ power(params) FROM rows WITH ({option}, resamples = 5)")["rows"] == 20


@pytest.mark.parametrize("weight", ["1e300", "1e308", "1e-300", "params * 1e290", "params * 1e-310"])
def test_weights_count_in_relation_to_each_other(lake: Lakehouse, weight: str) -> None:
    squares = "WITH (objective = 'least_squares_log', resamples = 5)"  # one bowl, which all weights lead into
    by = "params" if "params" in weight else "1"
    row = fitted(lake, f"FIT loss ~ power(params) FROM rows WEIGHT BY {weight} {squares}")
    plain = fitted(lake, f"FIT loss ~ power(params) FROM rows WEIGHT BY {by} {squares}")
    assert row["coefficients"] == pytest.approx(plain["coefficients"], rel=1e-4)


@pytest.mark.parametrize("given_", ["FIXED 1e400", "INIT 1e400", "FIXED 'nan'::DOUBLE", "INIT -1e400"])
def test_a_coefficient_is_a_finite_number(lake: Lakehouse, given_: str) -> None:
    text = f"FIT loss ~ E + A / params ^ a PARAMETERS (E, A {given_}, a IN [0, 2]) FROM rows"
    message, marked = refused(lake, text)
    assert "takes a finite number" in message and marked == given_.partition(" ")[2]


def test_values_that_cannot_be_squared_are_refused(lake: Lakehouse) -> None:
    message, _ = refused(lake, "FIT loss * 1e300 AS y ~ power(params) FROM rows WITH (objective = 'least_squares')")
    assert "too large to be squared" in message and "divide it by a power of ten" in message


# What is computed is the same everywhere

LEAVES = ["x", "y", "A", "2", "0.5", "3.25"]


def formulas() -> st.SearchStrategy[str]:
    """Formulas over x, y and A of every operation that a formula may hold."""

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pair = st.tuples(inner, inner)
        return st.one_of(
            st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
            pair.map(lambda t: f"least({t[0]}, {t[1]})"),
            pair.map(lambda t: f"greatest({t[0]}, {t[1]}, 1)"),
            inner.map(lambda t: f"abs({t})^-0.5"),
            inner.map(lambda t: f"exp(-abs({t}))"),
            inner.map(lambda t: f"ln(1 + abs({t}))"),
            inner.map(lambda t: f"tanh({t})"),
        )  # fmt: skip

    return st.recursive(st.sampled_from(LEAVES), grown, max_leaves=6)


@settings(max_examples=60, deadline=None)
@given(formula=formulas())
def test_a_formula_has_one_value_in_numpy_and_sql(lake: Lakehouse, formula: str) -> None:
    tree = parse_expression(formula, ["A", "x", "y"])
    at = {"A": 1.5, "x": 0.7, "y": 3.0}
    value = float(evaluate(tree, at))
    sql = to_sql(tree, {name: f"{number!r}::DOUBLE" for name, number in at.items()})
    (row,) = lake.sql(f"SELECT ({sql})::DOUBLE AS value").records()
    if np.isfinite(value):
        assert row["value"] == pytest.approx(value, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    "formula", ["E + A * params^-a", "E + A * least(params, 1e9) ^ (-a)", "E + A / n ^ a LET n = params"]
)
def test_the_saved_function_and_predict_agree(lake: Lakehouse, formula: str) -> None:
    lake.sql(
        f"CREATE OR REPLACE LAW same AS FIT loss ~ {formula} PARAMETERS (E > 0, A > 0, a IN [0, 2]) FROM rows {QUICK}"
    )
    for row in lake.sql("SELECT *, same(params) AS own FROM (PREDICT same FROM rows)").records():
        assert row["own"] == pytest.approx(row["predicted_loss"], rel=1e-13)
    law = parse_formula("E + A * x^-a", ["E", "A", "a"], ["x"])
    assert law.predict(np.array([1.0, 8.0, 0.5]), np.array([[4.0]]))[0] == 5.0
