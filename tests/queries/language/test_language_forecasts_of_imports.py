"""Runs that an import brought, which do not say when they finished, answer the forecasts made before they came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.exchange import import_path
from tests.lakes import open_here

LAW = (
    "CREATE LAW mine AS chinchilla(params, tokens) "
    "WITH COEFFICIENTS (E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28)"
)
FORECAST = "FORECAST mine TO params = 3M, tokens = 20M"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lakehouse]:
    with open_here(tmp_path / "lake.duckdb") as opened:
        opened.sql(LAW)
        yield opened


def bring(lake: Lakehouse, path: Path, row: str = "y,3000000,20000000,7.9", names: str = "name") -> None:
    """Import a file of one run."""
    path.write_text(f"{names},params,tokens,loss\n{row}\n")
    import_path(lake, path)


def shown(lake: Lakehouse) -> tuple[dict[str, object], tuple[str, ...]]:
    answer = lake.sql("SHOW FORECASTS")
    (row,) = answer.records()
    return row, answer.notes


def test_a_run_imported_after_a_forecast_answers_it_and_that_it_has_no_time_is_said(
    lake: Lakehouse, tmp_path: Path
) -> None:
    lake.sql(FORECAST)
    bring(lake, tmp_path / "runs.csv")
    ((run, finished),) = lake.sql("SELECT run_id, finished_at FROM runs").rows()
    assert finished is None
    row, notes = shown(lake)
    assert (row["run_id"], row["observed"]) == (run, 7.9)
    assert notes == (
        "1 forecast scored now",
        f"1 forecast is answered by a run that does not say when it finished, such as {run}: it came into the lake "
        "after the forecast was made",
    )
    bring(lake, tmp_path / "more.csv", "z,3000000,20000000,7.0")
    again, notes = shown(lake)
    assert again == row and len(notes) == 1  # the first to come counts, and is written once


def test_a_run_that_was_there_before_does_not_answer_and_that_is_said(lake: Lakehouse, tmp_path: Path) -> None:
    bring(lake, tmp_path / "runs.csv")
    ((run,),) = lake.sql("SELECT run_id FROM runs").rows()
    (kept,) = lake.sql(FORECAST).records()
    row, notes = shown(lake)
    assert row["run_id"] is None and row["observed"] is None
    assert notes == (
        f"run {run} has the inputs of forecast {kept['forecast_id']} and does not answer it: it was in the lake before "
        "the forecast was made, and does not say when it finished",
    )


def test_a_run_that_is_imported_again_keeps_when_it_came(lake: Lakehouse, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    bring(lake, path, "a,3000000,20000000,7.9", names="run_id")
    before = lake.sql("SELECT run_id, submitted_at FROM runs").rows()
    lake.sql(FORECAST)
    bring(lake, path, "a,3000000,20000000,7.8", names="run_id")
    ((loss,),) = lake.sql("SELECT loss FROM runs").rows()
    assert loss == 7.8
    assert lake.sql("SELECT run_id, submitted_at FROM runs").rows() == before
    assert shown(lake)[0]["run_id"] is None


def test_a_run_with_a_time_is_judged_by_that(lake: Lakehouse, tmp_path: Path) -> None:
    lake.sql(FORECAST)
    path = tmp_path / "old.csv"
    path.write_text("name,params,tokens,loss,finished_at\ny,3000000,20000000,7.9,2020-01-02 03:04:05\n")
    import_path(lake, path)
    ((finished,),) = lake.sql("SELECT finished_at FROM runs").rows()
    assert finished.year == 2020
    row, notes = shown(lake)
    assert row["run_id"] is None and notes == ()
