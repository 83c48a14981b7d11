"""Refusals that name the true reason: a law below zero, a name used before it is defined, groups without quotes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from tests.lakes import open_here
from tests.queries.language.given_laws import message, under

GIVEN = (
    "CREATE LAW {name} AS y ~ a + b * ln(x) WITH COEFFICIENTS (a = {a}, b = -1.5) "
    "STANDARD ERRORS (b = 0.05) WITH (residual_scale = 0.01)"
)
DESIGN = "DESIGN 2 RUNS FOR {name} TO x = 1e5 OVER x IN [1, 1000] LOG SUBJECT TO SUM(x) <= 1e4"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lakehouse]:
    with open_here(tmp_path / "lake.duckdb") as opened:
        yield opened


def test_a_design_for_a_law_below_zero_says_why_not(lake: Lakehouse) -> None:
    lake.sql(GIVEN.format(name="below", a=3))
    text = DESIGN.format(name="below")
    refused = message(lake, text)
    assert "law 'below' says -14.27 there, and its runs scatter by a factor, as only values above zero do" in refused
    assert "residual_scale is the scatter of a logarithm" in refused
    assert under(lake, text) == "TO x = 1e5"


def test_a_design_for_a_law_above_zero_is_made(lake: Lakehouse) -> None:
    lake.sql(GIVEN.format(name="above", a=30))
    rows = lake.sql(DESIGN.format(name="above")).records()
    assert len(rows) == 2 and rows[-1]["width_after"] < rows[0]["width_before"]


def test_a_design_for_a_law_below_zero_that_scatters_by_amounts_is_made(lake: Lakehouse) -> None:
    lake.sql("CREATE TABLE t AS SELECT x, 3 - 1.5 * ln(x) + 0.05 * sin(9 * x) AS y FROM range(2, 40) r(x)")
    form = "y ~ a + b * ln(x) PARAMETERS (a, b)"
    lake.sql(f"CREATE LAW plain AS FIT {form} FROM t WITH (objective = 'huber_plain', resamples = 50)")
    rows = lake.sql(DESIGN.format(name="plain")).records()
    assert rows[0]["predicted_y"] is not None and rows[-1]["width_after"] < rows[0]["width_before"]


def test_a_name_that_is_used_before_it_is_defined(lake: Lakehouse) -> None:
    text = "FIT loss ~ E + A / n ^ a LET n = m / 1e6, m = params PARAMETERS (E > 0, A > 0, a IN [0, 1]) FROM runs"
    refused = message(lake, text)
    assert "LET uses 'm' in 'n' before it is defined" in refused
    assert "define it first: LET m = params, n = …" in refused
    assert under(lake, text) == "m"


def test_groups_without_quotes(lake: Lakehouse) -> None:
    text = "COMPARE GAIN OF a OVER b IN (FIT loss ~ power(flops) FROM runs GROUP BY recipe)"
    assert "the groups of a FIT stand in quotes" in message(lake, text)
    assert under(lake, text) == "a OVER b"


def test_points_are_floats_beside_predictions(lake: Lakehouse) -> None:
    lake.sql(GIVEN.format(name="above", a=30))
    asked = ["x = [1.5, 2.25]", "x = 1.5", "(SELECT 1.5 AS x)", "half = 0.5, x = 3 * half"]
    for verb in ("EXTRAPOLATE", "FORECAST"):
        for points in asked:
            for row in lake.sql(f"{verb} above TO {points}").records():
                assert isinstance(row["x"], float) and isinstance(row["predicted_y"], float), points
    (half,) = lake.sql("EXTRAPOLATE above TO half = 0.5, x = 3 * half").records()
    assert (half["half"], half["x"]) == (0.5, 1.5)
    with pytest.raises(StatementError):
        lake.sql("EXTRAPOLATE above TO x = 'a'")
