"""Any formula, written as SQL and read again, is the same function."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.queries.laws.algebra import Call, Expression, Number, Symbol, evaluate, parse_expression, to_sql

LEAVES = st.one_of(
    st.sampled_from([Symbol("E"), Symbol("alpha"), Symbol("params"), Symbol("tokens")]),
    st.floats(1e-6, 1e6).map(Number),
)
VALUES = {"E": 1.7, "alpha": 0.35, "params": np.array([1.5, 20.0]), "tokens": np.array([3.0, 0.2])}


def _negative(inner: Expression) -> Expression:
    """Minus an expression; of a number, the negative number, as the reader has it."""
    return Number(-inner.value) if isinstance(inner, Number) else Call("negate", (inner,))


def _calls(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    functions = st.sampled_from(["exp", "abs", "tanh", "cbrt"])
    unary = st.one_of(st.builds(_negative, inner), st.builds(lambda name, a: Call(name, (a,)), functions, inner))
    names = st.sampled_from(["add", "subtract", "multiply", "divide", "greatest", "least"])
    binary = st.builds(lambda name, a, b: Call(name, (a, b)), names, inner, inner)
    power = st.builds(lambda a, b: Call("power", (Call("abs", (a,)), b)), inner, inner)
    return st.one_of(unary, binary, power)


@settings(deadline=None, max_examples=150)
@given(st.recursive(LEAVES, _calls, max_leaves=12))
def test_reading_what_was_written_gives_the_same_function(tree: Expression) -> None:
    text = to_sql(tree, {name: name for name in VALUES})
    again = parse_expression(text, VALUES)
    assert to_sql(again, {name: name for name in VALUES}) == text
    np.testing.assert_array_equal(evaluate(again, VALUES), evaluate(tree, VALUES))
