"""A law of the loss that knows no epochs says where some of its rows have seen their data many times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from tests.lakes import open_here


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """20 losses, five of them of runs of eight epochs."""
    with open_here(tmp_path_factory.mktemp("repeats") / "repeats.duckdb") as lake:
        lake.sql(
            "CREATE TABLE mixed AS SELECT i, 1e6 * power(2, i % 5) AS params, 1e8 * power(2, i // 5) AS tokens, "
            "if(i // 5 = 3, 8.0, 1.0) AS epochs, tokens / epochs AS unique_tokens, 1e6 * i AS flops, "
            "1.7 + 400 / params ** 0.34 + 410 / tokens ** 0.28 AS loss FROM range(20) r(i)"
        )
        lake.sql("CREATE TABLE few AS SELECT * REPLACE (least(epochs, 4) AS epochs) FROM mixed")
        yield lake


def said(lake: Lakehouse, statement: str) -> list[str]:
    rows = lake.sql(f"{statement} WITH (resamples = 0)").table.to_pylist()
    return [note for note in rows[0]["notes"] if note.startswith("repeated_data: ")]


def test_rows_of_many_epochs_are_said_with_what_to_do(lake: Lakehouse) -> None:
    [note] = said(lake, "FIT loss ~ chinchilla(params, tokens) FROM mixed")
    assert "5 of 20 rows have seen their data more than 4 times, up to 8" in note
    assert "WHERE epochs <= 4" in note and "data_constrained(params, unique_tokens, epochs)" in note


@pytest.mark.parametrize(
    "statement",
    [
        "FIT loss ~ chinchilla(params, tokens) FROM few",
        "FIT loss ~ chinchilla(params, tokens) FROM mixed WHERE epochs <= 4",
        "FIT loss ~ chinchilla(params, unique_tokens) FROM mixed",
        "FIT loss ~ chinchilla(params, tokens) FROM (SELECT * EXCLUDE (epochs) FROM mixed)",
        "FIT flops ~ power(params) FROM mixed WHERE i > 0",
    ],
)
def test_nothing_is_said_of_few_epochs_or_of_what_is_no_loss(lake: Lakehouse, statement: str) -> None:
    assert said(lake, statement) == []


def test_no_rows_at_all_are_said_to_be_none(lake: Lakehouse) -> None:
    with pytest.raises(StatementError, match="no row"):
        lake.sql("FIT loss ~ chinchilla(params, tokens) FROM mixed WHERE false")
