"""Columns of `runs` that several processes add at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from isoflop.lakehouse import Lakehouse, RunRecord
from isoflop.lakehouse.maintenance import find_problems


class Overtaken(Lakehouse):
    """A lake into which somebody else records a run between the planning and the writing of each of ours."""

    others: Sequence[RunRecord] = ()

    def write(self, *arguments: Any) -> None:
        if self.others:
            other, *self.others = self.others
            self.record_runs([other])
        super().write(*arguments)


@pytest.mark.slow
def test_a_column_that_somebody_else_added_meanwhile_is_kept(address: str) -> None:
    with Overtaken(address) as lake:
        lake.record_runs([RunRecord(family="f", config={"a": 1})])
        lake.others = [RunRecord(family="f", config={"theirs": 2, "mixed": "text", "a": 2.5})]
        lake.record_runs([RunRecord(family="f", config={"ours": 3, "mixed": 4, "a": 3})])
        rows = lake.query("SELECT a, ours, theirs, mixed FROM runs ORDER BY a").to_pylist()
        assert rows == [
            {"a": 1.0, "ours": None, "theirs": None, "mixed": None},
            {"a": 2.5, "ours": None, "theirs": 2, "mixed": "text"},
            {"a": 3.0, "ours": 3, "theirs": None, "mixed": "4"},
        ]
        lake.others = [RunRecord(family="f", config={"late": 1})]
        sweep_id = lake.record_sweep(name="s", spec="", runs=[RunRecord(family="f", config={"swept": 1})])
        assert lake.query("SELECT sweep_id, late FROM runs WHERE swept = 1 OR late = 1 ORDER BY late").to_pylist() == [
            {"sweep_id": None, "late": 1}, {"sweep_id": sweep_id, "late": None},
        ]  # fmt: skip
        assert find_problems(lake).records() == []


@pytest.mark.long
def test_threads_that_add_columns_at_once_all_find_them(shared_address: str) -> None:
    with Lakehouse(shared_address) as lake:
        failures: list[BaseException] = []

        def record(number: int, kind: object) -> None:
            try:
                with Lakehouse(shared_address, drains=False) as own:
                    own.record_runs([RunRecord(family="f", config={f"k{number}": 1, "common": kind})])
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=record, args=pair) for pair in enumerate((7, 1.5, "seven"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert {"k0", "k1", "k2", "common"} <= set(lake.query("FROM runs LIMIT 0").column_names)
        common = {str(value) for value in lake.query("SELECT common FROM runs")["common"].to_pylist()}
        assert {"1.5", "seven"} <= common and common & {"7", "7.0"}
        assert find_problems(lake).records() == []
