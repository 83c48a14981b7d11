"""A law of step times says where its rows mix machines that were shared with machines that were not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isoflop.lakehouse import Lakehouse
from tests.lakes import open_here

LAW = "step_time(flops, memcpy_bytes, depth)"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """24 planted step times: of runs alone, a third beside others, a quarter without a processor now and then."""
    with open_here(tmp_path_factory.mktemp("times") / "times.duckdb") as lake:
        lake.sql(
            "CREATE TABLE alone AS SELECT i, 1e9 * power(2, i % 5) AS flops, 1e8 * power(3, i % 4) AS memcpy_bytes, "
            "1 + i % 6 AS depth, 0.001 + 1e-11 * flops + 1e-10 * memcpy_bytes + 1e-3 * depth AS step_seconds, "
            "step_seconds * 0.9 AS step_seconds_min, 0.002 AS contention, 0.1 AS host_load FROM range(24) r(i)"
        )
        lake.sql("CREATE TABLE crowded AS SELECT * REPLACE (1.0 AS host_load) FROM alone")
        lake.sql("CREATE TABLE mixed AS SELECT * REPLACE (if(i < 8, 1.0, 0.1) AS host_load) FROM alone")
        lake.sql("CREATE TABLE contended AS SELECT * REPLACE (if(i < 6, 0.4, 0.002) AS contention) FROM alone")
        lake.sql("CREATE TABLE unknown AS SELECT * REPLACE (NULL::DOUBLE AS contention) FROM alone")
        lake.sql("CREATE TABLE older AS SELECT * EXCLUDE (contention, host_load) FROM alone")
        yield lake


def said(lake: Lakehouse, statement: str) -> list[str]:
    [*rows] = lake.sql(f"{statement} WITH (resamples = 0)").table.to_pylist()
    return [note for note in rows[0]["notes"] if note.startswith("contended_times: ")]


def test_rows_of_shared_machines_among_others_are_said_with_what_to_do(lake: Lakehouse) -> None:
    [note] = said(lake, f"FIT step_seconds ~ {LAW} FROM contended")
    assert "of 24 rows" in note and "6 of runs that had no processor" in note and "18 of runs alone" in note
    assert "WHERE contention < 0.05 AND host_load < 0.5" in note and "timing: exclusive" in note
    [note] = said(lake, f"FIT step_seconds ~ {LAW} FROM mixed")
    assert "8 of runs beside other work, 16 of runs alone" in note


@pytest.mark.parametrize(
    "statement",
    [
        f"FIT step_seconds ~ {LAW} FROM alone",
        f"FIT step_seconds ~ {LAW} FROM crowded",
        f"FIT step_seconds ~ {LAW} FROM unknown",
        f"FIT step_seconds ~ {LAW} FROM older",
        f"FIT step_seconds ~ {LAW} FROM mixed WHERE host_load < 0.5",
        f"FIT step_seconds_min ~ {LAW} FROM contended",
    ],
)
def test_rows_of_one_kind_and_fastest_steps_are_left_alone(lake: Lakehouse, statement: str) -> None:
    assert said(lake, statement) == []
