"""What a training script says of its run: numbers as people write them, and one error for what is none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import RecordError


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lakehouse]:
    with isoflop.open(tmp_path / "runs.duckdb") as opened:
        yield opened


def test_counts_are_read_as_people_write_them_and_from_the_settings(lake: Lakehouse) -> None:
    with lake.run("mine", {"width": 1, "tokens": 2e10}, params="7B", flops=np.float32(2.0), steps="1k") as run:
        run.log(step=1, loss=2.0)
    (row,) = lake.query("SELECT params, tokens, flops, steps, config->>'tokens' AS said FROM runs").to_pylist()
    assert row == {"params": 7e9, "tokens": 2e10, "flops": 2.0, "steps": 1000, "said": "20000000000.0"}


@pytest.mark.slow
@pytest.mark.parametrize("value", [math.nan, -3, True, math.inf, "big", [1], np.float64("nan"), {}])
@pytest.mark.parametrize("name", ["params", "flops"])
def test_what_is_no_count_is_one_error_that_names_it(lake: Lakehouse, name: str, value: Any) -> None:
    with pytest.raises(RecordError, match=f"^{name} is .*; expected a"):
        lake.run("mine", **{name: value})


@pytest.mark.parametrize(
    ("config", "counts", "said"),
    [
        ({}, {"steps": 2.5}, "steps is 2.5; expected a whole number"),
        ({}, {"parms": 1}, "a run has no 'parms'\nHint: did you mean 'params'?"),
        ({}, {"lr": 1}, "a run has no 'lr'\nHint: settings go into the config: {'lr': …}"),
        ({"params": 2}, {"params": 1}, "params is 1, and 2 among the settings"),
        ({"Width": 1, "width": 2}, {}, "the settings 'Width' and 'width' differ only in case, and are one column"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_it_trains(
    lake: Lakehouse, config: dict[str, Any], counts: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecordError) as refused:
        lake.run("mine", config, **counts)
    assert str(refused.value).startswith(said)


def test_settings_that_are_no_counts_and_equal_ones_are_kept(lake: Lakehouse) -> None:
    with lake.run("mine", {"tokens": "web", "params": 1e6}, params="1M") as run:
        run.log(step=1, loss=2.0)
    assert lake.query("SELECT params, tokens FROM runs").to_pylist() == [{"params": 1e6, "tokens": None}]


@pytest.mark.parametrize(("resume", "left"), [(np.int64(3), 3), (np.bool_(True), 3), (np.bool_(False), 0)])
def test_a_run_goes_on_after_a_step_of_numpy(lake: Lakehouse, resume: Any, left: int) -> None:
    with lake.run("mine", {"width": 1}) as run:
        for step in range(1, 6):
            run.log(step=step, loss=1.0)
    with lake.run("mine", {"width": 1}, resume=resume) as run:
        run.log(step=4, loss=2.0)
    rows = lake.query("SELECT step FROM curves ORDER BY step").column("step").to_pylist()
    assert rows == [*range(1, left + 1), 4]


@pytest.mark.parametrize("resume", [2.5, "3", np.float64(3), [1]])
def test_a_step_to_go_on_after_that_is_none_is_refused(lake: Lakehouse, resume: Any) -> None:
    with pytest.raises(RecordError, match=r"resume is .*; expected True, False or the step"):
        lake.run("mine", resume=resume)


def test_a_value_that_is_no_number_is_said_once_and_the_rest_goes_on(
    lake: Lakehouse, capfd: pytest.CaptureFixture[str]
) -> None:
    values: list[Any] = ["abc", 1.5, "def", 1.25, None]
    with lake.run("mine", {"width": 1}) as run:
        for step, value in enumerate(values, 1):
            run.log(step=step, loss=value, other=2.0)
        run.log(step=2.5, loss=1.0)  # type: ignore[arg-type]  # no step
    assert lake.query("SELECT step FROM curves ORDER BY step").column("step").to_pylist() == [2, 4]
    said = lake.query("SELECT message FROM logs WHERE level = 'warning' ORDER BY message").column("message").to_pylist()
    assert said == [
        "metric 'loss' at step 1 is 'abc', which is not a number; skipped, as are all its values that are none",
        "step 2.5 is not a whole number below 2^63; its values are skipped",
    ]
    assert capfd.readouterr().err.count("is 'abc', which is not a number") == 1
