"""What is said of a law that was fitted on expressions: changed rows where they have changed, units it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from tests.lakes import open_here

POINTS = (
    "CREATE TABLE points AS SELECT p AS params, d AS tokens, 6 * p * d AS flops, "
    "2 + 100 / p ^ 0.3 + 5 / (d / p) ^ 0.4 AS loss FROM (SELECT unnest([1e7, 3e7, 1e8, 3e8, 1e9]) p), "
    "(SELECT unnest([1e9, 3e9, 1e10, 3e10]) d)"
)
FORMS = {
    "by_flops": "power(flops / 1e18)",
    "scaled": "chinchilla(params / 1e6, tokens / 1e9)",
    "ratio": "overtraining(params, tokens / params)",
    "wrong": "overtraining(params, tokens)",
}


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lakehouse]:
    with open_here(tmp_path / "lake.duckdb") as opened:
        opened.sql(POINTS)
        for name, form in FORMS.items():
            opened.sql(f"CREATE LAW {name} AS FIT loss ~ {form} FROM points WITH (resamples = 0, forward = false)")
        yield opened


def said(lake: Lakehouse, statement: str) -> str:
    return "\n".join(lake.sql(statement).notes)


@pytest.mark.slow
def test_rows_have_changed_only_where_they_have(lake: Lakehouse) -> None:
    for name in FORMS:
        assert "changed" not in said(lake, f"RESIDUALS {name}"), name
    average = "EXTRAPOLATE AVERAGE OF scaled, ratio TO params = 1e9, tokens = 1e10 WITH (resamples = 5)"
    assert "changed" not in said(lake, average)
    lake.write([("UPDATE points SET loss = loss * 1.01 WHERE params = 1e8", None)])
    for name in FORMS:
        assert "changed since it was fitted" in said(lake, f"RESIDUALS {name}"), name
    assert "'scaled' is stale" in said(lake, average)


@pytest.mark.slow
def test_a_ratio_is_not_taken_for_its_columns(lake: Lakehouse) -> None:
    asked = "COMPARE ratio, scaled FROM points"
    assert "column meant" not in said(lake, asked)
    average = "EXTRAPOLATE AVERAGE OF ratio, scaled TO params = 1e9, tokens = 1e10 WITH (resamples = 5)"
    assert "column meant" not in said(lake, average)
    assert "and tokens is in count: is it the column meant?" in said(lake, "COMPARE wrong, scaled FROM points")
