"""Formulas as trees: reading, computing, writing as SQL."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from isoflop.queries.laws.algebra import FormulaError, evaluate, parse_expression, power_sum, symbols_of, to_sql
from isoflop.queries.laws.algebra.expression import needing_positive, quoted
from isoflop.queries.laws.algebra.scaling import degrees

FORMULAS = [
    "a + b * x - 3 / y",
    "-x ^ 2 + y",
    "2 ^ 3 ^ 2 - x",
    "a * exp(-b * x) + ln(y) + log(y) + log2(y) + log(3, y)",
    "sqrt(x) + cbrt(y) + pow(x, 0.5) + power(y, 2) + x ** 2",
    "greatest(x, y, a) - least(x, b) + abs(-x) + @y + tanh(x)",
    "0.1 + 0.2 + 1e-3 * x + 12345678901234567890123 * 1e-30 + pi()",
    '"a" + CAST(x AS DOUBLE)',
    "+x - -y",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_means_what_duckdb_computes(text: str) -> None:
    values = {"a": 1.7, "b": 0.3, "x": 2.5, "y": 4.25}
    columns = ", ".join(f"{value!r}::DOUBLE AS {name}" for name, value in values.items())
    row = duckdb.connect().execute(f"SELECT {text} FROM (SELECT {columns})").fetchone()
    assert row is not None
    assert float(evaluate(parse_expression(text), values)) == pytest.approx(float(row[0]), rel=1e-14)


@pytest.mark.parametrize("text", FORMULAS)
def test_sql_and_tree_say_the_same(text: str) -> None:
    tree = parse_expression(text)
    values = {"a": 1.7, "b": 0.3, "x": 2.5, "y": 4.25}
    sql = to_sql(tree, {name: f"{value!r}e0" for name, value in values.items()})
    row = duckdb.connect().execute(f"SELECT {sql}").fetchone()
    assert row is not None
    assert float(evaluate(tree, values)) == pytest.approx(float(row[0]), rel=1e-15)


@pytest.mark.parametrize(
    ("text", "at", "reason"),
    [
        ("E + A / params ^", "", "syntax error"),
        ("E + A / parms ^ alpha", "parms", "neither a coefficient nor a column"),
        ("E + foo(params)", "foo", "not a function"),
        ("E + (SELECT 1)", "(", "a formula holds no query"),
        ("E + CASE WHEN A THEN 1 END", "CASE", "without CASE or IF"),
        ("E, A", "A", "one expression"),
        ("E FROM runs", "runs", "without clauses"),
        ("E AS x", "E", "no alias"),
        ("E + 'text'", "'t", "numbers only"),
        ("E + NULL", "NULL", "numbers only"),
        ("E + A / (params / 1e9)::INT", "::", "a cast to INTEGER would change them"),
        ("E + true", "true", "numbers only"),
        ("E + exp(A, 2)", "exp", "takes 1 argument"),
        ("E % 2", "%", "not a function"),
        ("sum(A) OVER ()", "sum", "a window is of several"),
        ("E + 1e999", "1e999", "not finite"),
        ("ln(E) + é", "é", "neither"),
        ("   ", "   ", "empty"),
        ("E; DROP TABLE runs", None, ""),
    ],
)
def test_a_wrong_formula_names_the_characters_at_fault(text: str, at: str | None, reason: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_expression(text, ["E", "A", "alpha", "params"])
    assert reason in caught.value.reason
    if at is not None:
        assert text[caught.value.start : caught.value.end].startswith(at)
        assert caught.value.end > caught.value.start


def test_an_error_moves_into_the_statement_that_holds_the_formula() -> None:
    statement = "FIT loss ~ E + A / parms FROM runs"
    formula = "E + A / parms"
    with pytest.raises(FormulaError) as caught:
        parse_expression(formula, ["E", "A", "params"])
    moved = caught.value.within(statement, statement.index(formula))
    assert statement[moved.start : moved.end] == "parms"
    assert "LINE 1: FIT loss ~ E + A / parms FROM runs" in moved.message
    assert moved.hint == caught.value.hint is not None and "did you mean 'params'?" in moved.hint


def test_names_match_exactly_first_and_then_without_regard_to_case() -> None:
    assert symbols_of(parse_expression("E + e + PARAMS + runs.params", ["E", "e", "params"])) == ("E", "e", "params")


def test_inputs_that_must_be_positive_are_found() -> None:
    assert needing_positive(parse_expression("a * x ^ 2 + ln(y) + z ^ b + sqrt(u * v) + w")) == {"y", "z", "u", "v"}


def test_quoting_survives_quotes_in_names() -> None:
    name = 'we"ird name'
    columns = duckdb.connect().execute(f"SELECT 1 AS {quoted(name)}").description
    assert columns is not None and columns[0][0] == name


@pytest.mark.parametrize(
    ("text", "amplitudes"),
    [
        ("E + A / x ^ a + B / y ^ b", ["E", "A", "B"]),
        ("E + A * x ^ (-a) * y ^ (-b / 2)", ["E", "A"]),
        ("E + (A / x ^ a + B / (3 * y)) * 2", ["E", "A", "B"]),
        ("E + A / sqrt(x) + 2 / x", ["E", "A", None]),
        ("E + A / (x / y) ^ a", ["E", "A"]),
    ],
)
def test_sums_of_powers_are_recognized(text: str, amplitudes: list[str | None]) -> None:
    terms = power_sum(parse_expression(text), ["E", "A", "B", "a", "b"])
    assert terms is not None
    assert [term.amplitude for term in terms] == amplitudes
    values = {"E": 1.5, "A": 3.0, "B": 2.0, "a": 0.4, "b": 0.7, "x": 5.0, "y": 7.0}
    total = 0.0
    for term in terms:
        size = term.number * (values[term.amplitude] if term.amplitude else 1.0)
        for name, power in term.exponents.items():
            size *= values[name] ** (power.constant + sum(w * values[c] for c, w in power.weights.items()))
        total += size
    assert total == pytest.approx(float(evaluate(parse_expression(text), values)), rel=1e-14)


@pytest.mark.parametrize(
    "text",
    ["E + A * exp(-x)", "E - A / x ^ a", "A * x ^ A", "A / x ^ a + A / y ^ b", "E + A / (x + B) ^ a", "E * A / x ^ a"],
)
def test_other_shapes_are_not_sums_of_powers(text: str) -> None:
    assert power_sum(parse_expression(text), ["E", "A", "B", "a", "b"]) is None


@pytest.mark.parametrize(
    "text",
    [
        "E + A / x ^ a + B / y ^ b",
        "E + A / (x + N) ^ a",
        "((N / x) ^ (a / b) + D / y) ^ b",
        "E + A * exp(-k * x) + B / y ^ b",
        "E + A * x ^ (-b) * (1 + (x / d) ^ (1 / f)) ^ (-a * f)",
        "greatest(A / x ^ a, B / y ^ b)",
        "A * B * sqrt(x + N) / cbrt(y)",
    ],
)
def test_a_change_of_units_is_absorbed_by_the_degrees(text: str) -> None:
    tree = parse_expression(text)
    inputs = [name for name in symbols_of(tree) if name in ("x", "y")]
    names = [name for name in symbols_of(tree) if name not in inputs]
    values = dict(zip([*names, *inputs], np.random.default_rng(3).uniform(0.5, 2.0, 20), strict=False))
    before = float(evaluate(tree, values))
    for dimension in [*inputs, None]:
        found = degrees(tree, dimension, names)
        assert found is not None
        moved = dict(values)
        for name, degree in found.items():
            moved[name] = values[name] * 7.0 ** -float(evaluate(degree, values))
        if dimension is not None:
            moved[dimension] = values[dimension] / 7.0
        expected = before if dimension is not None else before / 7.0
        assert float(evaluate(tree, moved)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "dimension"), [("E + A / x ^ a + ln(x)", "x"), ("E + A / x + 1e-3", None), ("x + y", "x")]
)
def test_a_formula_that_fixes_its_units_has_no_degrees(text: str, dimension: str | None) -> None:
    assert degrees(parse_expression(text), dimension, ["E", "A", "a"]) is None
