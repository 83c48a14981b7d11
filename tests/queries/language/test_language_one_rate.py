"""A fit over widths that trained at one learning rate says so, where the parametrization wants another for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isoflop.lakehouse import Lakehouse
from tests.lakes import open_here

BEGINS = "widths 32 to 256 train at one learning_rate, 0.003, under parametrization standard"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """16 networks of four widths, at one rate; the same with a rate for each width; the same under mup."""
    with open_here(tmp_path_factory.mktemp("rates") / "rates.duckdb") as lake:
        lake.sql(
            "CREATE TABLE one AS SELECT i, i % 2 AS half, 32 * power(2, i % 4) AS width, 12 * width ** 2 AS params, "
            "1e6 * power(2, i // 4) AS tokens, 'standard' AS parametrization, 0.003 AS learning_rate, "
            "(1.7 + 40 / params ** 0.34 + 41 / tokens ** 0.28) * (1 + 0.001 * ((i * 7) % 5)) AS loss, "
            "1e-9 * params * tokens AS step_seconds FROM range(16) r(i)"
        )
        lake.sql("CREATE TABLE each AS SELECT * REPLACE (0.1 / width AS learning_rate) FROM one")
        lake.sql("CREATE TABLE mup AS SELECT * REPLACE ('mup' AS parametrization) FROM one")
        lake.sql("CREATE TABLE unknown AS SELECT * EXCLUDE (parametrization) FROM one")
        yield lake


def said(lake: Lakehouse, statement: str) -> list[str]:
    return [note for note in lake.sql(f"{statement} WITH (resamples = 0)").notes if "one learning_rate" in note]


def test_several_widths_at_one_rate_are_said_with_what_to_do(lake: Lakehouse) -> None:
    [note] = said(lake, "FIT loss ~ chinchilla(params, tokens) FROM one")
    assert note.startswith(BEGINS) and "mup" in note
    [row] = lake.sql("FIT loss ~ chinchilla(params, tokens) FROM one WITH (resamples = 0)").table.to_pylist()[:1]
    assert any(each.startswith("one_rate: ") for each in row["notes"])
    assert said(lake, "FIT loss ~ chinchilla(params, tokens) FROM one GROUP BY half")


@pytest.mark.parametrize(
    "statement",
    [
        "FIT loss ~ chinchilla(params, tokens) FROM each",
        "FIT loss ~ chinchilla(params, tokens) FROM mup",
        "FIT loss ~ chinchilla(params, tokens) FROM unknown",
        "FIT loss ~ power(tokens) FROM one WHERE width = 64",
        "FIT loss ~ power(tokens) FROM one GROUP BY width",
        "FIT step_seconds ~ power(params) FROM one",
        "FIT loss ~ E + A / params ^ alpha + 0 * learning_rate PARAMETERS (E > 0, A > 0, alpha > 0) FROM one",
    ],
)
def test_nothing_is_said_where_rates_follow_or_do_not_matter(lake: Lakehouse, statement: str) -> None:
    assert said(lake, statement) == []
