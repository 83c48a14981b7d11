"""JSON in which runs are the values of an object: by their names, or column by column as pandas writes frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange import import_path
from isoflop.lakehouse.exchange.usable import NothingUsable

A, B = {"params": 7e7, "tokens": 1e9, "loss": 3.1}, {"params": 1.7e8, "tokens": 2e9, "loss": 2.9}
COLUMNS = {name: {"0": A[name], "1": B[name]} for name in A}
NAMED = {name: {"a": A[name], "b": B[name]} for name in A}
LISTS = {name: [A[name], B[name]] for name in A}
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
        (NAMED, ["a", "b"]),
        ({"name": {"x": "first", "y": "second"}, **{n: {"x": A[n], "y": B[n]} for n in A}}, ["first", "second"]),
        (LISTS, None),
        ({"name": ["a", "b"], **LISTS}, ["a", "b"]),
        ({"loss": LISTS["loss"], "tokens": LISTS["tokens"], "N": LISTS["params"], "betas": [0.9, 0.95, 1]}, None),
        ({"runs": {"name": ["a", "b"], **LISTS}}, ["a", "b"]),
        ({"lab": "here", "about": {"seeds": 3}, "runs": {"name": ["a", "b"], **LISTS}}, ["a", "b"]),
        ({"seeds": 3, "run": ["a", "b"], **LISTS}, ["a", "b"]),
        ({"name": ["a", "b"], **LISTS, "loss": [3.1, "2.9"]}, ["a", "b"]),
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


def test_a_list_of_texts_is_a_setting_of_each_run(tmp_path: Path) -> None:
    (tmp_path / "given.json").write_text(json.dumps({"model": ["a", "b"], "tokens": [1e9, 2e9], "loss": [3.1, None]}))
    with Lakehouse(tmp_path / "lake.duckdb") as lake:
        import_path(lake, tmp_path / "given.json")
        found = lake.query("SELECT model, tokens, loss FROM runs ORDER BY tokens").to_pylist()
    assert [tuple(row.values()) for row in found] == [("a", 1e9, 3.1), ("b", 2e9, None)]


@pytest.mark.parametrize(
    "one",
    [
        {"name": "a", "params": 7e7, "step": [1, 2, 3], "loss": [4.0, 3.5, 3.1]},
        {"params": 7e7, "step": [1, 2, 3], "loss": [4.0, 3.5, 3.1], "phase": ["warm", "main", "main"]},
        {"tokens": [1e8, 2e8, 3e8], "loss": [4.0, 3.5, 3.1], "data": ["web", "books"]},
        {"tokens": [1e8, 2e8, 3e8], "loss": [4.0, 3.5, 3.1], "tags": ["x", "y", "z"]},
    ],
)
def test_lists_of_one_run_are_curves(tmp_path: Path, one: dict[str, Any]) -> None:
    (found,) = imported(tmp_path, one)
    assert (found["params"], found["loss"]) == (one.get("params"), 3.1)


def test_lists_of_points_with_the_name_of_each_are_curves(tmp_path: Path) -> None:
    points = {"run": ["a", "a", "b", "b"], "step": [1, 2, 1, 2], "loss": [4.0, 3.1, 3.5, 2.9]}
    assert [(row["name"], row["loss"]) for row in imported(tmp_path, points)] == [("a", 3.1), ("b", 2.9)]


def test_a_list_that_lacks_a_run_is_named_with_its_length(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="params and loss of one object have different lengths, 2 and 1"):
        imported(tmp_path, {**LISTS, "loss": [3.1]})


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"index": ["a", "b"]}, ["a", "b"]),
        ({"index": ["a", "a"]}, ["a", "a"]),
        ({"index": ["a", "b"], "index_names": [None], "column_names": [None]}, ["a", "b"]),
    ],
)
def test_an_index_of_texts_beside_rows_is_their_names(tmp_path: Path, more: dict[str, Any], names: list[str]) -> None:
    found = imported(tmp_path, {"columns": list(A), "data": [list(A.values()), list(B.values())], **more})
    assert [row["name"] for row in found] == names and [row["loss"] for row in found] == [3.1, 2.9]


def test_an_index_of_texts_beside_a_schema_is_names_and_the_schema_is_none(tmp_path: Path) -> None:
    fields = [{"name": "index", "type": "string"}, *({"name": name, "type": "number"} for name in A)]
    schema = {"fields": fields, "primaryKey": ["index"], "pandas_version": "1.4.0"}
    found = imported(tmp_path, {"schema": schema, "data": [{"index": "a", **A}, {"index": "b", **B}]})
    assert found == [{"name": "a", **A}, {"name": "b", **B}]
    with Lakehouse(tmp_path / "lake.duckdb") as lake:
        assert not [name for name in lake.query("SELECT * FROM runs").column_names if "schema" in name]


def test_an_index_that_has_a_name_is_a_column_called_so(tmp_path: Path) -> None:
    frame = {"columns": ["params", "loss"], "data": [[7e7, 3.1], [1.7e8, 2.9]], "index": [64, 128]}
    (tmp_path / "given.json").write_text(json.dumps({**frame, "index_names": ["width"], "column_names": [None]}))
    with Lakehouse(tmp_path / "lake.duckdb") as lake:
        import_path(lake, tmp_path / "given.json")
        assert lake.query("SELECT width FROM runs ORDER BY width").to_pylist() == [{"width": 64}, {"width": 128}]


def test_parts_of_one_run_as_columns_are_no_runs(tmp_path: Path) -> None:
    (found,) = imported(tmp_path, {"loss": {"train": 3.0, "eval": 3.2}, "params": {"train": 7e6, "eval": 7e6}})
    assert found["loss"] == 3.0
