"""A law of an expression that has to be positive says nothing where it is not, whatever the formula would give."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from tests.lakes import open_here

FORM = "loss ~ power(log10(tokens)) PARAMETERS (alpha FIXED 2) FROM points WITH (resamples = 20, forward = false)"
WITHIN = 2 + 5 / 9.5**2  # at 10 ** 9.5 tokens


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """Rows of `2 + 5 / log10(tokens) ^ 2` and the law of them."""
    with open_here(tmp_path_factory.mktemp("domain") / "lake.duckdb") as opened:
        opened.sql(
            "CREATE TABLE points AS SELECT 10 ** (3 + i / 3) AS tokens, "
            "(2 + 5 / log10(tokens) ^ 2) * (1 + 0.001 * (i % 3)) AS loss FROM range(30) r(i)"
        )
        opened.sql(f"CREATE LAW logged AS FIT {FORM}")
        yield opened


@pytest.mark.parametrize("tokens", ["0.5", "0.01", "1"])  # 1 / log ^ 2 is a number at the first two
def test_a_point_outside_is_refused_by_name(lake: Lakehouse, tokens: str) -> None:
    for law in ("logged", f"(FIT {FORM})"):
        with pytest.raises(
            StatementError, match=r"no point to predict: log10\(tokens\) is not a positive number there"
        ):
            lake.sql(f"EXTRAPOLATE {law} TO tokens = {tokens}")


def test_of_several_points_those_within_are_predicted(lake: Lakehouse) -> None:
    answer = lake.sql("EXTRAPOLATE logged TO tokens = [0.5, 10 ** 9.5]")
    assert [row["predicted_loss"] for row in answer.records()] == [None, pytest.approx(WITHIN, rel=0.01)]
    assert "1 of 2 points have no prediction: log10(tokens) is not a positive number there" in answer.notes


def test_functions_are_null_outside(lake: Lakehouse) -> None:
    (row,) = lake.sql("SELECT logged(10 ** 9.5), logged(0.5), logged_lower(0.5), logged(1), logged_upper(1)").rows()
    assert row == (pytest.approx(WITHIN, rel=0.01), None, None, None, None)
    assert lake.sql("SELECT logged(0), logged_lower(-1), logged(NULL)").rows() == [(None, None, None)]
