"""Excel workbooks: sheets with the same headings are one table, another one is chosen by PATH.xlsx#SHEET."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import FileError, did_you_mean
from isoflop.lakehouse.exchange.headings import read_heading
from isoflop.lakehouse.exchange.naming import TABLE_NAMES, plain_name
from isoflop.lakehouse.exchange.repeated import told_apart_names

if TYPE_CHECKING:
    import pyarrow as pa

ENDING = ".xlsx"
MARK = "#"  # between a workbook and the sheet of it
SHEET = "sheet"  # the column that says which sheet a row is from
FITTED = ("loss", "validation_loss", "perplexity", "params", "tokens", "flops")  # what a table of runs has one of


@dataclass(frozen=True)
class Sheet:
    """A sheet that says something: its title, its headings and the rows below them."""

    title: str
    names: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]

    @property
    def headings(self) -> frozenset[str]:
        """The headings, without columns that have none."""
        return frozenset(name.strip() for place, name in enumerate(self.names, 1) if name != f"column{place}")

    @property
    def is_of_runs(self) -> bool:
        """Whether a heading is one of what laws are fitted to."""
        known = {plain_name(other) for ours in FITTED for other in (ours, *TABLE_NAMES.get(ours, ()))}
        readings = {name: read_heading(name) for name in self.headings}
        names = {*readings, *(other for found in readings.values() if found for other in found.names)}
        return bool(self.rows) and bool({plain_name(name) for name in names} & known)


@dataclass(frozen=True)
class Workbook:
    """What is read of a workbook.

    Parameters
    ----------
    table : the rows, with a column `sheet` unless all are of the workbook's first
    headings : as the sheet has them, also where several are the same
    first : title of the workbook's first sheet, whose rows are known by what they say without it
    notes : which sheets were read, and which were not
    """

    table: pa.Table
    headings: tuple[str, ...]
    first: str
    notes: tuple[str, ...]


def with_sheet(path: Path) -> tuple[Path, str | None]:
    """Return the file of PATH.xlsx#SHEET and the sheet; no sheet where the path is a file or no workbook's.

    Example
    -------
    >>> with_sheet(Path("a/runs.xlsx#wide nets")), with_sheet(Path("a/runs.csv"))
    ((PosixPath('a/runs.xlsx'), 'wide nets'), (PosixPath('a/runs.csv'), None))
    """
    head, mark, sheet = path.name.rpartition(f"{ENDING}{MARK}")
    if not mark or path.exists():
        return path, None
    return path.with_name(head + ENDING), sheet


def read_workbook(path: Path, wanted: str | None = None) -> Workbook:
    """Return the sheet called `wanted`, else the first sheet of runs and all others with the same headings.

    Raises
    ------
    FileError : if it cannot be read, says nothing, or has no such sheet
    """
    sheets = _sheets(path)
    titles = [sheet.title for sheet in sheets]
    if wanted is not None:
        read = [sheet for sheet in sheets if sheet.title == wanted] or [
            sheet for sheet in sheets if sheet.title.strip().lower() == wanted.strip().lower()
        ]
        if not read:
            hint = did_you_mean(wanted, titles, f"it has {', '.join(titles)}")
            raise FileError(path, None, f"has no sheet '{wanted}' that says something", hint=hint)
    else:
        leading = next((sheet for sheet in sheets if sheet.is_of_runs), sheets[0])
        read = [sheet for sheet in sheets if sheet is leading or (sheet.rows and sheet.headings == leading.headings)]
    left = [title for title in titles if title not in [sheet.title for sheet in read]]
    is_first_alone = [sheet.title for sheet in read] == titles[:1]
    names = told_apart_names([*read[0].names, *([] if is_first_alone else [SHEET])])
    rows = [cells for sheet in read for cells in _aligned(sheet, read[0], has_title=not is_first_alone)]
    columns = {name: _column([row[place] for row in rows]) for place, name in enumerate(names)}
    import pyarrow as pa

    return Workbook(pa.table(columns), read[0].names, titles[0], tuple(_notes(path, read, left, wanted)))


def _notes(path: Path, read: Sequence[Sheet], left: Sequence[str], wanted: str | None) -> list[str]:
    notes = []
    if len(read) > 1:
        notes.append(f"{len(read)} sheets with the same headings were read as one table; '{SHEET}' says which")
    if left and wanted is None:
        which = ", ".join(f"'{title}'" for title in left)
        notes.append(f"read the sheet '{read[0].title}', not {which}; '{path}{MARK}{left[0]}' reads that one")
    return notes


def _aligned(sheet: Sheet, like: Sheet, *, has_title: bool) -> list[tuple[Any, ...]]:
    """Return the rows of a sheet with their cells in the order of another sheet's headings."""
    title = (sheet.title,) if has_title else ()
    if [name.strip() for name in sheet.names] == [name.strip() for name in like.names]:
        places: list[int | None] = list(range(len(like.names)))
    else:
        left = [name.strip() for name in sheet.names]
        places = []
        for name in (name.strip() for name in like.names):
            places.append(left.index(name) if name in left else None)
            if places[-1] is not None:
                left[places[-1]] = ""  # a heading that stands twice means its next column then
    return [
        (*(None if place is None or place >= len(row) else row[place] for place in places), *title)
        for row in sheet.rows
    ]  # fmt: skip


def _sheets(path: Path) -> list[Sheet]:
    """Return the sheets that say something."""
    try:
        import openpyxl  # type: ignore[import-untyped]
    except ImportError as error:
        raise FileError(
            path, None, "reading Excel files needs openpyxl", hint="pip install 'isoflop[excel]', or save it as CSV"
        ) from error
    sheets = []
    try:
        with contextlib.closing(openpyxl.load_workbook(path, read_only=True, data_only=True)) as book:
            for sheet in book.worksheets:
                rows = [row for row in sheet.iter_rows(values_only=True) if any(cell is not None for cell in row)]
                if rows:
                    head = enumerate(rows[0], 1)
                    names = tuple(str(name) if name is not None else f"column{place}" for place, name in head)
                    sheets.append(Sheet(str(sheet.title), names, rows[1:]))
    except Exception as error:  # whatever a broken workbook makes of its reader
        raise FileError(path, None, f"cannot be read as an Excel file: {error}") from error
    if not sheets:
        raise FileError(path, None, "its sheets are empty")
    return sheets


def _column(cells: list[Any]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(cells)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
