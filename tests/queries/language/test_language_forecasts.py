"""FORECAST keeps predictions, SHOW FORECASTS scores them once when their runs land."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError, UnknownName
from tests.lakes import open_here


def land(lake: Lakehouse, width: int, loss: float | None = None) -> None:
    """Record a finished run of `width`, on the planted curve unless a loss is given."""
    params = 12.0 * width**2
    with lake.run("net", {"width": width, "take": 0 if loss is None else loss}, params=params) as run:
        run.log(step=1, loss=1.5 + 40 / params**0.4 if loss is None else loss)
    lake.drain()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lakehouse]:
    with open_here(tmp_path / "lake.duckdb") as lake:
        for width in (16, 24, 32, 48, 64, 96, 128):
            land(lake, width)
        lake.sql("CREATE LAW size AS FIT loss ~ power(params) FROM runs WITH (resamples = 20)")
        yield lake


def test_a_forecast_is_an_extrapolation_with_an_id(lake: Lakehouse) -> None:
    answer = lake.sql("FORECAST size TO params = [1e6, 1e7]")
    assert answer.columns[-1] == "forecast_id"
    assert answer.table.drop_columns(["forecast_id"]) == lake.sql("EXTRAPOLATE size TO params = [1e6, 1e7]").table
    kept = lake.sql("SHOW FORECASTS").records()
    assert [row["forecast_id"] for row in answer.records()] == sorted(
        (row["forecast_id"] for row in kept), key=[row["forecast_id"] for row in answer.records()].index
    )
    assert all(row["run_id"] is None and row["observed"] is None and row["inside"] is None for row in kept)


def test_the_same_forecast_is_kept_once_with_its_first_time(lake: Lakehouse) -> None:
    (first,) = lake.sql("FORECAST size TO params = 1e7").records()
    (kept,) = lake.sql("SHOW FORECASTS").records()
    (again,) = lake.sql("FORECAST size TO params = [1e7, 1e7] WITH (level = 0.95)").records()[:1]
    assert first["forecast_id"] == again["forecast_id"]
    assert lake.sql("SHOW FORECASTS").records() == [kept]
    lake.sql("FORECAST size TO params = 1e7 WITH (level = 0.5)")
    assert len(lake.sql("SHOW FORECASTS")) == 2


def test_a_run_that_lands_scores_the_forecasts_of_its_inputs_once(lake: Lakehouse) -> None:
    lake.sql("FORECAST size TO params = [12 * 256 ** 2, 12 * 512 ** 2]")
    land(lake, 256)
    answer = lake.sql("SHOW FORECASTS LIKE 'si%'")
    assert answer.notes == ("1 forecast scored now",)
    scored, open_ = sorted(answer.records(), key=lambda row: row["predicted"], reverse=True)
    assert scored["observed"] == pytest.approx(1.5 + 40 / (12 * 256**2) ** 0.4)
    assert scored["inside"] is (scored["lower"] <= scored["observed"] <= scored["upper"])
    assert open_["run_id"] is None
    land(lake, 256, loss=9.0)
    after = lake.sql("SHOW FORECASTS")
    assert after.notes == () and scored in after.records()


def test_a_run_that_was_finished_before_scores_nothing(lake: Lakehouse) -> None:
    lake.sql("FORECAST size TO params = 12 * 128 ** 2")
    assert lake.sql("SHOW FORECASTS").records()[0]["run_id"] is None


def test_a_miss_is_outside(lake: Lakehouse) -> None:
    lake.sql("FORECAST size TO params = 12 * 256 ** 2")
    land(lake, 256, loss=9.0)
    (row,) = lake.sql("SHOW FORECASTS").records()
    assert row["observed"] == 9.0 and row["inside"] is False


def test_a_law_of_an_expression_is_scored_by_the_expression(lake: Lakehouse) -> None:
    lake.sql("CREATE LAW area AS FIT loss * 2 AS twice ~ power(width * width) FROM runs WITH (resamples = 5)")
    lake.sql("FORECAST area TO width = 256")
    land(lake, 256)
    (row,) = lake.sql("SHOW FORECASTS").records()
    assert row["observed"] == pytest.approx(2 * (1.5 + 40 / (12 * 256**2) ** 0.4))


def test_forecasts_follow_a_renamed_law_and_outlive_a_dropped_one(lake: Lakehouse) -> None:
    lake.sql("FORECAST size TO params = 12 * 256 ** 2; ALTER LAW size RENAME TO extent")
    land(lake, 256)
    (row,) = lake.sql("SHOW FORECASTS").records()
    assert row["law"] == "extent" and row["run_id"] is not None
    lake.sql("DROP LAW extent")
    assert lake.sql("SHOW FORECASTS").records() == [row]


def test_points_without_a_prediction_are_not_kept(lake: Lakehouse) -> None:
    answer = lake.sql("FORECAST size TO params = [1e7, 0]")
    assert [row["forecast_id"] is None for row in answer.records()] == [False, True]
    assert len(lake.sql("SHOW FORECASTS")) == 1


def test_forecasts_stand_in_queries(lake: Lakehouse) -> None:
    assert lake.sql("SELECT count(*) FROM (FORECAST size TO params = [1e7, 1e8])").rows() == [(2,)]
    assert lake.sql("SELECT count(*), count(run_id) FROM (SHOW FORECASTS)").rows() == [(2, 0)]


def test_a_forecast_needs_a_saved_law(lake: Lakehouse) -> None:
    with pytest.raises(StatementError, match="a forecast is made with a saved law"):
        lake.sql("FORECAST (FIT loss ~ power(params) FROM runs) TO params = 1e9")
    with pytest.raises(UnknownName, match="did you mean 'size'"):
        lake.sql("FORECAST siz TO params = 1e9")
    with pytest.raises(StatementError, match="needs params, and TO gives width"):
        lake.sql("FORECAST size TO width = 3")
    assert np.isfinite(lake.sql("EXTRAPOLATE size TO params = 1e9").records()[0]["predicted_loss"])


def landed(lake: Lakehouse, tokens: float) -> None:
    """Record a finished run of some tokens."""
    with lake.run("long", {"wanted": tokens}, params=1e6, tokens=tokens) as run:
        run.log(step=1, loss=2.0)
    lake.drain()


@pytest.fixture
def long(tmp_path: Path) -> Iterator[Lakehouse]:
    """A lake with a law of tokens."""
    with open_here(tmp_path / "long.duckdb") as lake:
        lake.sql(
            "CREATE TABLE t AS SELECT x AS tokens, 2 + 9 / x ** 0.3 AS loss "
            "FROM (SELECT 10.0 ** unnest([6, 7, 8, 9, 10]) x)"
        )
        lake.sql("CREATE LAW long AS FIT loss ~ power(tokens) FROM t WITH (resamples = 0)")
        yield lake


@pytest.mark.parametrize(
    ("option", "tokens", "is_answered"),
    [
        ("", 200_000_500_000, True),  # the last batch was whole
        ("", 199_990_000_000, True),
        ("", 200_300_000_000, False),
        ("WITH (tolerance = 0.002)", 200_300_000_000, True),
        ("WITH (tolerance = 1e-6)", 200_000_500_000, False),
    ],
)
def test_a_run_answers_within_the_tolerance(long: Lakehouse, option: str, tokens: int, is_answered: bool) -> None:
    answer = long.sql(f"FORECAST long TO tokens = 2e11 {option}")
    tolerance = float(option.partition("= ")[2].rstrip(")") or 0.001)
    assert any(f"to {tolerance:g} of each" in note for note in answer.notes)
    landed(long, tokens)
    (row,) = long.sql("SHOW FORECASTS").records()
    assert (row["tolerance"], row["run_id"] is not None) == (tolerance, is_answered)


def test_a_near_miss_is_said(long: Lakehouse) -> None:
    (kept,) = long.sql("FORECAST long TO tokens = 2e11").records()
    landed(long, 3e11)
    assert long.sql("SHOW FORECASTS").notes == ()
    landed(long, 2.06e11)
    landed(long, 1.9e11)
    answer = long.sql("SHOW FORECASTS")
    (said,) = answer.notes
    run = long.sql("SELECT run_id FROM runs WHERE tokens = 2.06e11").rows()[0][0]
    assert said == f"run {run} is near forecast {kept['forecast_id']} without answering it: " + (
        "its tokens are 3 % more than forecast"
    )
    assert answer.records()[0]["run_id"] is None
    landed(long, 2e11)
    assert long.sql("SHOW FORECASTS").notes == ("1 forecast scored now",)


@pytest.mark.parametrize("value", ["0", "-1", "1", "2.5", "'x'", "'nan'::DOUBLE"])
def test_a_tolerance_outside_its_domain_is_refused(long: Lakehouse, value: str) -> None:
    with pytest.raises(StatementError, match="tolerance"):
        long.sql(f"FORECAST long TO tokens = 2e11 WITH (tolerance = {value})")
    assert not len(long.sql("SHOW FORECASTS"))
