"""Tokens, FLOPs and seconds that were logged, as what a run used in all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from isoflop.lakehouse import Lakehouse, RunRecord
from isoflop.lakehouse.maintenance import find_problems
from tests.lakehouse.spool_files import put

DECLARED = RunRecord(family="mine", config={"width": 64}, tokens=1000.0, flops=5.0)
OPEN = RunRecord(family="mine", config={"width": 64})


def series(
    name: str, *values: float, start: int = 0, each: int = 1
) -> list[tuple[int, float | None, dict[str, float]]]:
    return [(start + each * nth, float(start + nth), {name: value, "loss": 1.0}) for nth, value in enumerate(values)]


def commits(lake: Lakehouse, run: RunRecord, *parts: Sequence[Any], token: str = "abc") -> None:
    """One file and one commit for each part."""
    for sequence, points in enumerate(parts):
        put(lake.spool_folder, run, token, sequence, points)
        lake.drain()


def total(lake: Lakehouse, name: str = "tokens") -> float | None:
    (row,) = lake.query(f"SELECT {name} AS n FROM runs").to_pylist()
    return None if row["n"] is None else float(row["n"])


def notes(lake: Lakehouse) -> list[str]:
    return [
        str(message) for message in lake.query("SELECT message FROM logs ORDER BY logged_at")["message"].to_pylist()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tokens", "Tokens", "flops", "FLOPs"])
def test_a_series_that_grows_is_the_total_and_what_was_declared_loses(address: str, name: str) -> None:
    with Lakehouse(address) as lake:
        commits(lake, DECLARED, series(name, 10, 20), series(name, 30, 30, start=2), series(name, 50, start=4))
        assert total(lake, name.lower()) == 50.0
        other = "flops" if name.lower() == "tokens" else "tokens"
        assert total(lake, other) == getattr(DECLARED, other)
        declared = lake.query(f"SELECT results->>'declared_{name.lower()}' AS d FROM attempts").to_pylist()
        assert declared == [{"d": str(getattr(DECLARED, name.lower()))}] and notes(lake) == []
        assert find_problems(lake).records() == []


def test_in_one_commit_it_is_the_same(lakehouse: Lakehouse) -> None:
    for sequence, points in enumerate((series("tokens", 10, 20), series("tokens", 30, 40, start=2))):
        put(lakehouse.spool_folder, OPEN, "abc", sequence, points)
    lakehouse.drain()
    assert total(lakehouse) == 40.0


def test_one_point_is_a_total(lakehouse: Lakehouse) -> None:
    commits(lakehouse, OPEN, series("tokens", 77))
    assert total(lakehouse) == 77.0


@pytest.mark.parametrize(
    "parts",
    [
        (series("tokens", 512, 512, 512),),
        (series("tokens", 512), series("tokens", 512, start=1), series("tokens", 512, start=2)),
        (series("tokens", 510, 512), series("tokens", 498, start=2), series("tokens", 513, start=3)),
        (series("tokens", 512, 498), series("tokens", 600, 700, start=2)),
        (series("tokens", 510, 512, start=5), series("tokens", 700, start=1)),
    ],
)
@pytest.mark.parametrize("run", [DECLARED, OPEN])
def test_a_series_that_does_not_grow_is_no_total_and_one_line_says_so(
    lakehouse: Lakehouse, run: RunRecord, parts: Any
) -> None:
    commits(lakehouse, run, *parts)
    assert total(lakehouse) == run.tokens
    (note,) = notes(lakehouse)
    left = "is 1000" if run.tokens else "stays unknown"
    assert note.startswith("the metric tokens does not grow with the step") and note.endswith(left)


def test_points_logged_late_and_values_that_are_no_numbers_leave_a_total_one(lakehouse: Lakehouse) -> None:
    commits(
        lakehouse, OPEN, series("tokens", 10, 40, 50, each=3), series("tokens", 20, start=1),
        series("tokens", 60, math.nan, math.inf, 70, start=10),
    )  # fmt: skip
    assert total(lakehouse) == 70.0 and notes(lakehouse) == []


def test_what_the_end_says_wins_in_the_same_commit_and_over_late_points(lakehouse: Lakehouse) -> None:
    ended = {"kind": "ended", "status": "finished", "tokens": 99.0, "train_seconds": 12.0}
    put(lakehouse.spool_folder, DECLARED, "abc", 0, series("tokens", 10, 20))
    put(lakehouse.spool_folder, DECLARED, "abc", 1, series("tokens", 30, start=2), [ended])
    lakehouse.drain()
    assert total(lakehouse) == 99.0 and total(lakehouse, "train_seconds") == 12.0
    put(lakehouse.spool_folder, DECLARED, "abc", 0, series("tokens", 40, start=3), stream="p7")
    lakehouse.drain()
    assert total(lakehouse) == 99.0 and total(lakehouse, "train_seconds") == 12.0 and notes(lakehouse) == []


def test_only_the_newest_attempt_counts(lakehouse: Lakehouse) -> None:
    commits(lakehouse, DECLARED, series("tokens", 10, 20))
    commits(lakehouse, DECLARED, series("tokens", 5), token="new")
    assert total(lakehouse) == 5.0
    put(lakehouse.spool_folder, DECLARED, "abc", 1, series("tokens", 30, start=2))
    lakehouse.drain()
    assert total(lakehouse) == 5.0
    put(lakehouse.spool_folder, DECLARED, "new", 1, series("tokens", 5, start=2))
    lakehouse.drain()
    assert total(lakehouse) == 1000.0 and len(notes(lakehouse)) == 1


def test_the_time_trained_is_that_of_the_last_point_until_the_attempt_says_it(lakehouse: Lakehouse) -> None:
    commits(lakehouse, OPEN, series("x", 1, 1, 1), [(3, math.nan, {"x": 1.0}), (4, None, {"x": 1.0})])
    assert total(lakehouse, "train_seconds") == 2.0
    put(lakehouse.spool_folder, OPEN, "abc", 2, series("x", 1, start=9), [{"kind": "ended", "status": "finished"}])
    lakehouse.drain()
    assert total(lakehouse, "train_seconds") == 9.0
