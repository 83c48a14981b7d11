"""What a command prints: answers on stdout, everything else on stderr.

Values, notes and errors quote what strangers wrote. Whatever is made for display goes through `visible` here, before it
is styled; csv, json and arrow keep values as they are.
"""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from isoflop.cli.cells import markdown_rows, table_cells
from isoflop.cli.widths import fit, natural_width, on_its_side
from isoflop.lakehouse.visible import visible

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console, ConsoleOptions, RenderableType

    from isoflop.lakehouse import Answer

FOR_PROGRAMS = ("json", "csv", "arrow")  # formats that hold an answer's own rows and nothing beside them
MAX_TABLE_ROWS = 200  # of a table on a terminal; a note counts the rest


def say(text: str) -> None:
    """Print an answer that is text."""
    print(visible(text))


def note(text: str, *, end: str = "\n") -> None:
    """Say something that is not the answer."""
    print(visible(text), end=end, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Say something that a reader must not overlook, in yellow where there is color."""
    stderr_console().print(visible(text), style="yellow", markup=False, highlight=False, soft_wrap=True)


def stdout_console() -> Console:
    """Return a console for answers; as wide as $COLUMNS says, or wide, when the output is not a terminal."""
    given = os.environ.get("COLUMNS", "")
    width = int(given) if given.isdigit() and int(given) > 0 else 200
    return _console()(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else width)


def stderr_console() -> Console:
    """Return a console for progress and notes."""
    return _console()(stderr=True, highlight=False)


@functools.cache
def _console() -> type[Console]:
    """Return rich's console, with no control character in a text that a caller has forgotten."""
    from rich.console import Console
    from rich.segment import Segment

    class VisibleConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(visible(segment.text), segment.style)

    return VisibleConsole


def show(answer: Answer, format: str | None = None, *, title: str | None = None, is_paged: bool = False) -> None:
    """Print an answer on stdout in `format`, its notes on stderr; page by page where it is longer than a terminal.

    What stands beside an answer follows it in the formats that people read.
    """
    match format or "table":
        case "json":
            print(json.dumps(_objects(answer.arrow()), indent=2, ensure_ascii=False))
        case "csv":
            _write_csv(answer.arrow())
        case "arrow":
            _write_arrow(answer.arrow())
        case "lines":
            _print_records(answer)
        case "markdown":
            print(_markdown(answer))
        case _:
            _print_table(answer, title, is_paged)
    if answer.beside is not None and format not in FOR_PROGRAMS:
        print()
        show(type(answer)(answer.beside), "markdown" if format == "markdown" else "table", is_paged=is_paged)
    for line in answer.notes:
        warn(line)


def _objects(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows as objects; columns of one name are told apart as `loss`, `loss_1`."""
    from isoflop.lakehouse.answers import unique_names

    names = unique_names(table.column_names)
    return [dict(zip(names, map(_plain, row), strict=True)) for row in _rows(table)]


def _plain(value: Any) -> Any:
    """Return a value that JSON has: NaN, infinities and decimals of more than 16 digits as text, times as ISO text."""
    from isoflop.lakehouse.answers import plain

    match value:
        case dict():
            return {key if isinstance(key, str) else plain(key): _plain(item) for key, item in value.items()}
        case list() | tuple() if not hasattr(value, "nanoseconds"):  # which an interval has
            return [_plain(item) for item in value]
        case float() if not math.isfinite(value):
            return str(value)
        case bool() | int() | float() | str() | None:
            return value
        case Decimal() if value == value.to_integral_value():
            return int(value)
        case Decimal():
            return float(value) if Decimal(repr(float(value))) == value else str(value)  # text keeps every digit
        case _:
            return value.isoformat(sep=" ") if isinstance(value, datetime) else plain(value)


def _flat(table: pa.Table) -> tuple[list[str], list[list[str]]]:
    from isoflop.lakehouse.answers import plain, unique_names

    names = [visible(name) for name in unique_names(table.column_names)]
    return names, [[visible(plain(value)) for value in row] for row in _rows(table)]


def _rows(table: pa.Table) -> Iterable[tuple[Any, ...]]:
    """Return the values of each row in the order of the columns, of which several may have one name."""
    from isoflop.lakehouse.answers import values_of

    return zip(*(values_of(column) for column in table.columns), strict=True)


class _Lines:
    """Stdout, to which rows that end with a carriage return are written without it."""

    def write(self, row: str) -> None:
        sys.stdout.write(row.removesuffix("\r\n") + "\n")


def _write_csv(table: pa.Table) -> None:
    import csv

    from isoflop.lakehouse.answers import plain, unique_names

    writer = csv.writer(_Lines(), lineterminator="\r\n")  # so that a value with either of them is quoted
    writer.writerow(unique_names(table.column_names))
    for row in _rows(table):
        writer.writerow(
            [
                ""
                if value is None
                else json.dumps(_plain(value), ensure_ascii=False)
                if isinstance(value, dict | list)
                else plain(value)
                if isinstance(value, bytes | tuple)
                else value
                for value in row
            ]
        )


def _write_arrow(table: pa.Table) -> None:
    import pyarrow as pa

    with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
        stream.write_table(table)


def _markdown(answer: Answer) -> str:
    columns, rows = _flat(answer.arrow())
    return "\n".join(markdown_rows(columns, rows, lambda cell: cell.replace("|", "\\|").replace("\n", " ")))


def _print_table(answer: Answer, title: str | None, is_paged: bool = False) -> None:
    """Print a table as wide as the terminal; a single wide row stands on its side, one line a column."""
    from rich import box
    from rich.table import Table

    columns, rows = table_cells(answer)
    if not columns:
        return
    console = stdout_console()
    if len(rows) == 1 and natural_width(columns, rows) > console.width:
        fitted = on_its_side(columns, rows[0])
        rows = fitted.rows
    else:
        fitted = fit(columns, rows[: MAX_TABLE_ROWS if not is_paged else None], console.width)
    table = Table(
        box=box.SIMPLE_HEAD, title=title and visible(title), title_justify="left", pad_edge=False, show_edge=False
    )
    for name, is_number in zip(fitted.columns, fitted.are_numbers, strict=True):
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    pages = is_paged and console.is_terminal and len(rows) > console.height - 4
    shown = fitted.rows if pages else fitted.rows[:MAX_TABLE_ROWS]
    for row in shown:
        table.add_row(*(_safe(cell) for cell in row))
    if pages:
        os.environ.setdefault("LESS", "-RFXS")  # colors, no page for what fits, nothing wrapped
        with console.pager(styles=True):
            console.print(table)
    else:
        console.print(table)
    for line in fitted.under:
        print(line)
    if len(rows) > len(shown):
        note(f"{MAX_TABLE_ROWS} of {len(rows)} rows shown; --format csv prints them all")


def _print_records(answer: Answer) -> None:
    """Print each row as a block, a line a column; columns without a value are left out."""
    columns, rows = _flat(answer.arrow())
    width = max((len(name) for name in columns), default=0)
    for number, row in enumerate(rows, 1):
        print(f"── {number} of {len(rows)} ──")
        for name, cell in zip(columns, row, strict=True):
            if cell != "-":
                print(f"{name:{width}}  {cell}")


def _safe(cell: str) -> str:
    from rich.markup import escape

    return escape(cell)
