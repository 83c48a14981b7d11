"""A law that is fitted on expressions of columns answers in the columns, in every verb, function and picture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isoflop.cli.plot.command import figure_of
from isoflop.cli.plot.figure import Line, PointMarks
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from tests.lakes import open_here

POINTS = (
    "CREATE TABLE points AS SELECT p AS params, d AS tokens, 6 * p * d AS flops, "
    "1.8 + 480 / p ^ 0.35 + 2000 / d ^ 0.37 AS loss, 2.5 + 300 / (6 * p * d) ^ 0.15 AS l2, "
    "2 + 100 / p ^ 0.3 + 5 / (d / p) ^ 0.4 AS l3, "
    "2 + 2.4 / (6 * p * d / 1e18 + 1.2) AS l4 FROM (SELECT unnest([1e7, 3e7, 1e8, 3e8, 1e9, 3e9]) p), "
    "(SELECT unnest([1e9, 3e9, 1e10, 3e10, 1e11]) d)"
)
# name, how it is fitted, and what is right at params = 7e10, tokens = 1.4e12
LAWS = {
    "plain": ("loss ~ chinchilla(params, tokens)", 1.8 + 480 / 7e10**0.35 + 2000 / 1.4e12**0.37),
    "scaled": ("loss ~ chinchilla(params / 1e6, tokens / 1e9)", 1.8 + 480 / 7e10**0.35 + 2000 / 1.4e12**0.37),
    "halved": ("loss ~ chinchilla(params, flops / (6 * params))", 1.8 + 480 / 7e10**0.35 + 2000 / 1.4e12**0.37),
    "by_flops": ("l2 ~ power(6 * params * tokens)", 2.5 + 300 / (6 * 7e10 * 1.4e12) ** 0.15),
    "averaged": ("loss ~ auto(params / 1e6, tokens / 1e9)", 1.8 + 480 / 7e10**0.35 + 2000 / 1.4e12**0.37),
    "averaged_by_flops": ("l2 ~ auto(6 * params * tokens / 1e18)", 2.5 + 300 / (6 * 7e10 * 1.4e12) ** 0.15),
    "bounded": ("l4 ~ bounded_power(flops / 1e18)", 2.0),
    "ratio": ("l3 ~ chinchilla(params, tokens / params)", 2 + 100 / 7e10**0.3 + 5 / 20**0.4),
}
EXPRESSIONS = [name for name in LAWS if name != "plain"]
TO = "params = 7e10, tokens = 1.4e12, flops = 6 * params * tokens"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """Thirty points without noise, with every law saved."""
    with open_here(str(tmp_path_factory.mktemp("scaled") / "lake.duckdb")) as opened:
        opened.sql(POINTS)
        for name, (form, _) in LAWS.items():
            opened.sql(f"CREATE LAW {name} AS FIT {form} FROM points WITH (resamples = 20, forward = false)")
        yield opened


def predicted(lake: Lakehouse, text: str) -> list[float]:
    answer = lake.sql(text)
    (name,) = [column for column in answer.columns if column.startswith("predicted_")]
    return [row[name] for row in answer.records()]


@pytest.mark.parametrize("name", LAWS)
def test_what_is_asked_in_columns_is_answered_in_columns(lake: Lakehouse, name: str) -> None:
    form, right = LAWS[name]
    fit = f"(FIT {form} FROM points WITH (resamples = 0))"
    ways = [f"EXTRAPOLATE {name} TO {TO}", f"EXTRAPOLATE {fit} TO {TO}", f"FORECAST {name} TO {TO}"]
    ways.append(f"PREDICT {name} FROM (SELECT 7e10 AS params, 1.4e12 AS tokens, 6 * 7e10 * 1.4e12 AS flops)")
    for way in ways:
        (value,) = predicted(lake, way)
        assert value == pytest.approx(right, abs=2e-4), way
    assert max(abs(row["residual"]) for row in lake.sql(f"RESIDUALS {name}").records()) < 1e-4


def test_an_average_of_laws_of_several_scales_is_one_number(lake: Lakehouse) -> None:
    average = f"EXTRAPOLATE AVERAGE OF plain, scaled, halved FROM points TO {TO} WITH (resamples = 10)"
    assert predicted(lake, average) == [pytest.approx(LAWS["plain"][1], abs=2e-4)]


@pytest.mark.parametrize("name", LAWS)
def test_its_functions_take_the_columns(lake: Lakehouse, name: str) -> None:
    (row,) = lake.sql(f"EXTRAPOLATE {name} TO {TO}").records()
    inputs = {"params": 7e10, "tokens": 1.4e12, "flops": 6 * 7e10 * 1.4e12}
    (names,) = lake.sql(f"SELECT inputs FROM laws WHERE name = '{name}'").rows()[0]
    arguments = ", ".join(repr(inputs[given]) for given in names)
    found = lake.sql(f"SELECT {name}({arguments}), {name}_lower({arguments}), {name}_upper({arguments})").rows()[0]
    target = next(column for column in row if column.startswith("predicted_"))
    assert found == tuple(pytest.approx(row[key], rel=1e-9) for key in (target, "lower", "upper"))


def test_the_best_size_is_that_of_the_plain_law(lake: Lakehouse) -> None:
    over = "OVER params IN [1e7, 1e13] LOG, tokens IN [1e8, 1e15] LOG SUBJECT TO 6 * params * tokens <= 1e21"
    sizes = [lake.sql(f"OPTIMIZE {name} MINIMIZE loss {over}").records()[0]["params"] for name in ("plain", "scaled")]
    right = (0.35 * 480 / (0.37 * 2000)) ** (1 / 0.72) * (1e21 / 6) ** (0.37 / 0.72)
    assert sizes == [pytest.approx(right, rel=0.01)] * 2
    noisy = "FROM (SELECT params, tokens, loss * (1 + 0.01 * sin(1e3 * ln(params * tokens ^ 2))) AS loss FROM points)"
    fit = f"(FIT loss ~ chinchilla(params / 1e6, tokens / 1e9) {noisy} WITH (resamples = 50, forward = false))"
    runs = f"DESIGN 2 RUNS FOR {fit} TO {TO} OVER params IN [1e8, 1e10] LOG, tokens IN [1e9, 1e11] LOG"
    assert all(1e8 <= row["params"] <= 1e10 for row in lake.sql(runs).records())


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_support_and_refits_are_in_columns(lake: Lakehouse, name: str) -> None:
    (row,) = lake.sql(f"EXTRAPOLATE {name} TO params = 1e8, tokens = 1e10, flops = 6e18").records()
    assert row["in_support"]
    (row,) = lake.sql(f"EXTRAPOLATE {name} TO {TO}").records()
    assert not row["in_support"]
    refitted = lake.sql(f"REFIT LAW {name}").records()[0]
    assert refitted["bit_equal"] is True
    compared = lake.sql(f"COMPARE {name}, ({LAWS[name][0]}) FROM points WITH (resamples = 0)").records()
    assert [row["status"] for row in compared] == ["converged"] * 2


@pytest.mark.parametrize("name", ["by_flops", "halved"])
def test_it_may_be_asked_by_its_own_inputs_too(lake: Lakehouse, name: str) -> None:
    own = {"by_flops": "x = 6 * 7e10 * 1.4e12", "halved": "params = 7e10, tokens = 1.4e12"}[name]
    (value,) = predicted(lake, f"EXTRAPOLATE {name} TO {own}")
    assert value == pytest.approx(LAWS[name][1], abs=2e-4)
    fit = f"(FIT {LAWS[name][0]} FROM points WITH (resamples = 0))"
    (value,) = predicted(lake, f"EXTRAPOLATE {fit} TO {own}")
    assert value == pytest.approx(LAWS[name][1], abs=2e-4)


def test_a_column_that_is_missing_is_one_clear_error(lake: Lakehouse) -> None:
    with pytest.raises(StatementError, match="law 'scaled' needs params, tokens, and TO gives params"):
        lake.sql("EXTRAPOLATE scaled TO params = 7e10")
    with pytest.raises(StatementError, match="law 'by_flops' needs params, tokens, and TO gives flops"):
        lake.sql("EXTRAPOLATE by_flops TO flops = 1e21")


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_picture_goes_through_its_points(lake: Lakehouse, name: str) -> None:
    figure = figure_of(lake, [name])
    (points,) = [mark for mark in figure.of(PointMarks) if mark.label]
    curve = next(mark for mark in figure.of(Line) if len(mark.x) > 10)
    inside = (curve.x >= points.x.min()) & (curve.x <= points.x.max())
    assert inside.any() and 0.5 * points.y.min() < curve.y[inside].min() < 1.2 * points.y.max()
