"""Headings that stand several times are named: which column was taken, and what the others are called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.exchange import import_path

REST = ("params", "tokens")
CELLS = (1e7, 2e8)


def text(path: Path, names: list[str], values: list[float], mark: str = ",") -> Path:
    path.write_text("\ufeff" + mark.join([*REST, *names]) + "\n" + mark.join(map(str, [*CELLS, *values])) + "\n")
    return path


def table(names: list[str], values: list[float]) -> pa.Table:
    return pa.Table.from_arrays([pa.array([value]) for value in (*CELLS, *values)], names=[*REST, *names])


def sheet(path: Path, names: list[str], values: list[float]) -> Path:
    book = openpyxl.Workbook()
    book.active.append([*REST, *names])
    book.active.append([*CELLS, *values])
    book.save(path)
    return path


def csv(folder: Path, names: list[str], values: list[float]) -> Path:
    return text(folder / "a.csv", names, values)


def tsv(folder: Path, names: list[str], values: list[float]) -> Path:
    return text(folder / "a.tsv", names, values, "\t")


def semicolons(folder: Path, names: list[str], values: list[float]) -> Path:
    return text(folder / "a.csv", names, values, ";")


def arrow(folder: Path, names: list[str], values: list[float]) -> Path:
    feather.write_feather(table(names, values), folder / "a.feather")
    return folder / "a.feather"


def excel(folder: Path, names: list[str], values: list[float]) -> Path:
    return sheet(folder / "a.xlsx", names, values)


def parquet(folder: Path, names: list[str], values: list[float]) -> Path:
    pq.write_table(table(names, values), folder / "a.parquet")
    return folder / "a.parquet"


def lines(folder: Path, names: list[str], values: list[float]) -> Path:
    (folder / "a.jsonl").write_text(json.dumps(dict(zip((*REST, *names), (*CELLS, *values), strict=True))))
    return folder / "a.jsonl"


def imported(path: Path, columns: str, **options: Any) -> tuple[list[str], dict[str, Any]]:
    with Lakehouse(path.parent / "lake.duckdb") as lake:
        done = import_path(lake, path, **options)
        (found,) = lake.query(f"SELECT {columns} FROM runs").to_pylist()
    return [note for note in done.notes if "columns are called" in note], found


@pytest.mark.parametrize("write", [csv, tsv, semicolons, excel, arrow])
def test_the_first_of_the_same_headings_is_taken_and_the_others_are_named(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    path = write(tmp_path, ["loss", "loss", "loss"], [3.5, 3.25, 3.125])
    (note,), found = imported(path, "loss, loss_1, loss_2")
    assert note == (
        "3 columns are called 'loss': the first is 'loss', the others are 'loss_1', 'loss_2'; "
        "--map OURS=loss_1 takes another"
    )
    assert found == {"loss": 3.5, "loss_1": 3.25, "loss_2": 3.125}
    assert imported(path, "loss", mapping={"loss": "loss_2"})[1] == {"loss": 3.125}


@pytest.mark.parametrize("write", [csv, tsv, semicolons, excel, arrow, parquet, lines])
def test_headings_that_differ_by_capitals_only_are_the_same(tmp_path: Path, write: Callable[..., Path]) -> None:
    (note,), found = imported(write(tmp_path, ["loss", "Loss", "LOSS"], [3.5, 3.25, 3.125]), "loss, Loss_1, LOSS_2")
    assert note.startswith("3 columns are called 'loss' and 'Loss' and 'LOSS': the first is 'loss', the others are ")
    assert found == {"loss": 3.5, "Loss_1": 3.25, "LOSS_2": 3.125}


@pytest.mark.parametrize("write", [csv, excel, arrow, parquet, lines])
def test_headings_with_numbers_of_their_own_are_no_repetition(tmp_path: Path, write: Callable[..., Path]) -> None:
    notes, found = imported(write(tmp_path, ["loss", "loss_1"], [3.5, 3.25]), "loss, loss_1")
    assert notes == [] and found == {"loss": 3.5, "loss_1": 3.25}


def test_cells_of_a_table_without_headings_are_no_headings(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1e7,1e7,3.5\n3e7,3e7,3.25\n")
    mapping = {"params": "column0", "tokens": "column1", "loss": "column2"}
    with Lakehouse(tmp_path / "lake.duckdb") as lake:
        done = import_path(lake, tmp_path / "a.csv", mapping=mapping)
    assert done.runs == 2 and not [note for note in done.notes if "columns are called" in note]
