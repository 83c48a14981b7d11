"""SQL expressions over the rows of a grid."""

from __future__ import annotations

import pytest

from isoflop.workers.expressions import ExpressionError, Grid


@pytest.fixture
def grid() -> Grid:
    return Grid(
        {
            "width": [64, 128],
            "budget": [3e9, 1e10],
            "corpus": [{"kind": "bytes"}, {"kind": "markov"}],
            "p": ["a", None],
        },
        2,
    )


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("width / 32", [2.0, 4.0]),
        ("width // 48", [1, 2]),
        ("0.02 * 64 / width", [0.02, 0.01]),
        ("0.1 * width", [6.4, 12.8]),
        ("1e10 / budget", [10 / 3, 1.0]),
        ("width > 64 AND budget > 1e9", [False, True]),
        ("CASE WHEN width > 64 THEN 1 END", [None, 1]),
        ("width -- the rest is a comment", [64, 128]),
        ("WIDTH", [64, 128]),
        ("corpus ->> 'kind'", ["bytes", "markov"]),
        ("p || 'b'", ["ab", None]),
        ("list_sum(list_transform([1, 2], lambda x: x * width))", [192, 384]),
        ("3", [3, 3]),
    ],
)
def test_an_expression_has_one_plain_value_a_row(grid: Grid, expression: str, values: list[object]) -> None:
    found = grid.evaluate(expression)
    assert found == pytest.approx(values) if isinstance(values[0], float) else found == values


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("widht / 32", "unknown name 'widht' in 'widht / 32'\nHint: did you mean 'width'?"),
        ("width +", "'width +' is not a SQL expression: syntax error"),
        ("sum(width)", "sum() is over many"),
        ("row_number() OVER ()", "it has a window"),
        ("(SELECT 1)", "it has a subquery"),
        ("EXISTS (FROM 'x.csv')", "it has a subquery"),
        ("1), (2", "must be one SQL expression"),
        ("width FROM grid", "syntax error"),
        ("1; SELECT 2", "syntax error"),
        ("*", "it has a star"),
        ("?", "has a parameter"),
        ("random()", "random() changes from call to call"),
        ("now()", "now() changes from call to call"),
        ("to_days(3)", "is a timedelta"),
        ("no_such_function(1)", "no_such_function does not exist"),
        ("9000000000000000000 * width", "Overflow in multiplication"),
        ("width + ['a']", "No function matches"),
        ("{'a': width}", "is a dict"),
        ("getenv('HOME')", "getenv"),
    ],
)
def test_what_is_not_a_value_of_one_row_is_refused(grid: Grid, expression: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        grid.evaluate(expression)
    assert message in str(caught.value)


def test_columns_added_later_can_be_read(grid: Grid) -> None:
    grid.add("heads", [2, 4])
    assert grid.evaluate("width / heads") == [32.0, 32.0]
    assert grid.names_in("heads * width + heads") == ("heads", "width")


def test_a_mixed_column_is_numbers_only_when_every_value_is_one(grid: Grid) -> None:
    grid.add("mixed", [1, 2.5])
    grid.add("large", [2**70, 1])
    assert grid.evaluate("mixed + 1") == [2.0, 3.5]
    assert grid.evaluate("large * 2") == [2.0**71, 2.0]
