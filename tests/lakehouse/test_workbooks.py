"""Workbooks of several sheets: one table where they have the same headings, else one sheet, and the others named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]
import pytest
from typer.testing import CliRunner

from isoflop.cli.main import app
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange import Imported, Replacing, import_path

HEAD = ("params", "tokens", "loss")
WIDE, DEEP = [HEAD, (1e7, 2e8, 3.5), (3e7, 6e8, 3.1)], [HEAD, (1e8, 2e9, 2.8)]
NOTES = [("what", "says"), ("wide", "nets with 4 layers")]


def book(path: Path, sheets: Mapping[str, Sequence[Sequence[Any]]]) -> Path:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for title, rows in sheets.items():
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    made.save(path)
    return path


def imported(lake: Path, path: Path, columns: str = "params, loss", **options: Any) -> tuple[Imported, list[Any]]:
    with Lakehouse(lake) as opened:
        done = import_path(opened, path, **options)
        found = opened.query(f"SELECT {columns} FROM runs ORDER BY params, loss").to_pylist()
    return done, [tuple(row.values()) for row in found]


def test_sheets_with_the_same_headings_are_one_table(tmp_path: Path) -> None:
    turned = [("loss", " params", "tokens"), (2.8, 1e8, 2e9)]
    path = book(tmp_path / "a.xlsx", {"wide": WIDE, "empty": [], "no rows": [HEAD], "deep": turned})
    done, found = imported(tmp_path / "lake.duckdb", path, "sheet, params, tokens, loss")
    assert found == [("wide", 1e7, 2e8, 3.5), ("wide", 3e7, 6e8, 3.1), ("deep", 1e8, 2e9, 2.8)]
    assert "2 sheets with the same headings were read as one table; 'sheet' says which" in done.notes


def test_the_same_row_in_two_sheets_is_two_runs(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", {"seed 1": WIDE, "seed's 2": WIDE})
    done, found = imported(tmp_path / "lake.duckdb", path)
    assert done.added == 4 and len(found) == 4


@pytest.mark.parametrize(
    ("sheets", "read"), [({"N": NOTES, "wide": WIDE}, "wide"), ({"deep": DEEP, "N": NOTES}, "deep")]
)
def test_the_first_sheet_of_runs_is_read_and_the_others_are_named(
    tmp_path: Path, sheets: dict[str, Any], read: str
) -> None:
    path = book(tmp_path / "a.xlsx", sheets)
    done, found = imported(tmp_path / "lake.duckdb", path)
    assert len(found) == len(sheets[read]) - 1
    assert f"read the sheet '{read}', not 'N'; '{path}#N' reads that one" in done.notes


def test_a_sheet_alone_and_with_others_are_the_same_runs(tmp_path: Path) -> None:
    lake = tmp_path / "lake.duckdb"
    path = book(tmp_path / "a.xlsx", {"wide": WIDE})
    imported(lake, path)
    book(path, {"wide": WIDE, "deep": DEEP})
    done, found = imported(lake, path)
    assert (done.added, done.changed, len(found)) == (1, 2, 3)  # the sheet's name is a setting now
    for sheet in ("deep", "WIDE"):
        done, found = imported(lake, Path(f"{path}#{sheet}"))
        assert done.added == 0 and len(found) == 3


def test_a_sheet_is_chosen_by_its_name(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", {"wide": WIDE, "notes": NOTES, "other": [("N", "L"), (1e9, 2.25)]})
    lake = tmp_path / "lake.duckdb"
    done = CliRunner().invoke(app, ["import", f"{path}#other", "--lake", str(lake), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)[0]["runs"] == 1
    shown = CliRunner().invoke(app, ["import", f"{path}#wide", "--dry-run"])
    assert shown.exit_code == 0 and "2 rows, 2 runs" in shown.output
    with pytest.raises(FileError, match="has no sheet 'wdie'") as refused:
        imported(lake, Path(f"{path}#wdie"))
    assert "wide" in str(refused.value.hint)


def test_a_sheet_that_nothing_is_known_of_is_named_in_what_to_type(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", {"wide": WIDE, "odd": [("weights count", "score loss"), (1e9, 2.25)]})
    done = CliRunner().invoke(app, ["import", f"{path}#odd", "--lake", str(tmp_path / "lake.duckdb")])
    assert f"'{path}#odd' --map" in str(done.exception) or f"{path}#odd --map" in str(done.exception)


def test_replacing_by_a_sheet_leaves_the_runs_of_that_sheet(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", {"wide": WIDE, "deep": DEEP})
    lake = tmp_path / "lake.duckdb"
    imported(lake, path)
    done, found = imported(lake, Path(f"{path}#wide"), replacing=Replacing(path))
    assert done.removed == 1 and [params for params, _ in found] == [1e7, 3e7]


def test_a_file_that_is_called_so_is_no_sheet(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx#1.csv"
    path.write_text("params,tokens,loss\n1e7,2e8,3.5\n")
    done, found = imported(tmp_path / "lake.duckdb", path)
    assert done.runs == 1 and found == [(1e7, 3.5)]
