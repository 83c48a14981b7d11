"""A sweep file whose counts were mended: runs that have not begun get them, others keep theirs with a word."""

from __future__ import annotations

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.runs.records import RunRecord


def test_runs_that_have_not_begun_get_the_counts_of_the_file(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    def records(factor: float) -> list[RunRecord]:
        return [
            RunRecord(family="command", config={"width": width}, params=factor * width, flops=10 * factor)
            for width in (8, 16, 32)
        ]

    with Lakehouse(address) as lake:
        lake.record_sweep(name="mine", spec="one", runs=records(1.0))
        with lake.run("command", {"width": 8}) as run:
            run.log(step=1, loss=2.0)
        assert capsys.readouterr().err == ""
        lake.record_sweep(name="mine", spec="two", runs=records(12.0))
        rows = lake.query("SELECT width, params, flops FROM runs ORDER BY width").to_pylist()
        assert [tuple(row.values()) for row in rows] == [(8, 8.0, 10.0), (16, 192.0, 120.0), (32, 384.0, 120.0)]
        said = "1 run that began before keeps its params, which the sweep file says otherwise now"
        assert said in capsys.readouterr().err
