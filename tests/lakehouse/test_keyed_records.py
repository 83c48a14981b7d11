"""JSON in which runs are the values of an object: by their names, or column by column as pandas writes frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.exchange import import_path
from isoflop.lakehouse.exchange.usable import NothingUsable

A, B = {"params": 7e7, "tokens": 1e9, "loss": 3.1}, {"params": 1.7e8, "tokens": 2e9, "loss": 2.9}
COLUMNS = {name: {"0": A[name], "1": B[name]} for name in A}
MANY = {f"r{k:03}": {"params": 1e7 * (k + 1), "tokens": 1e9, "loss": 3 - k / 1000} for k in range(300)}


def imported(folder: Path, content: object) -> list[dict[str, Any]]:
    (folder / "given.json").write_text(json.dumps(content))
    with Lakehouse(folder / "lake.duckdb") as lake:
        import_path(lake, folder / "given.json")
        return lake.query("SELECT name, params, tokens, loss FROM runs ORDER BY params").to_pylist()


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"runs": {"a": A, "b": B}}, ["a", "b"]),
        ({"project": "mine", "runs": {"a": A, "b": B}}, ["a", "b"]),
        ({"a": A, "b": B}, ["a", "b"]),
        ({"x": {**A, "name": "first"}, "y": {**B, "name": "second"}}, ["first", "second"]),
        (COLUMNS, None),
    ],
)
def test_a_record_for_each_name_is_a_run_for_each_name(tmp_path: Path, content: object, names: list[str]) -> None:
    found = imported(tmp_path, content)
    assert [{name: row[name] for name in A} for row in found] == [A, B]
    assert names is None or [row["name"] for row in found] == names


@pytest.mark.parametrize("content", [MANY, {"runs": MANY}, {name: {k: MANY[k][name] for k in MANY} for name in A}])
def test_hundreds_of_names_are_hundreds_of_runs(tmp_path: Path, content: dict[str, Any]) -> None:
    if "loss" in content:
        content = {
            name: {str(place): value for place, value in enumerate(cells.values())} for name, cells in content.items()
        }
    found = imported(tmp_path, content)
    assert len(found) == 300 and found[-1]["loss"] == pytest.approx(2.701)


def test_parts_of_one_run_are_no_runs(tmp_path: Path) -> None:
    (found,) = imported(tmp_path, {"train": {"loss": 3.0, "params": 7e6}, "eval": {"loss": 3.2, "params": 7e6}})
    assert (found["params"], found["loss"]) == (7e6, 3.0)


@pytest.mark.parametrize("more", [{}, {"index": [0, 1]}, {"_type": "table", "ncols": 4, "nrows": 2}])
def test_names_beside_rows_are_a_table(tmp_path: Path, more: dict[str, Any]) -> None:
    rows = [["a", *A.values()], ["b", *B.values()]]
    found = imported(tmp_path, {"columns": ["run", *A], "data": rows, **more})
    assert found == [{"name": "a", **A}, {"name": "b", **B}]


def test_rows_of_other_lengths_are_no_table(tmp_path: Path) -> None:
    with pytest.raises(NothingUsable, match="no column is known as loss"):
        imported(tmp_path, {"columns": list(A), "data": [[7e7, 1e9, 3.1], [7e7]]})
