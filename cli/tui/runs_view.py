"""Runs: one row a run with its curve, filtered by SQL, kept up to date while others write."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Input, Static

from isoflop.cli.plot.sparkline import sparkline
from isoflop.cli.plot.ticks import write_number
from isoflop.cli.tui.bars import StatementBar
from isoflop.cli.tui.board import SORTS, SPARK_WIDTH, Board, curve_key, read_board, status_word
from isoflop.cli.tui.run_view import RunView
from isoflop.cli.tui.view import View
from isoflop.lakehouse.units import format_count, format_number
from isoflop.lakehouse.visible import visible_line

STATUS_STYLES = {"queued": "dim", "running": "cyan", "finished": "green", "failed": "bold red", "lost": "bold yellow"}
WIDTHS = {
    "status": 9, "run": 12, "curve": SPARK_WIDTH, "loss": 7, "params": 6, "tokens": 6, "step": 7, "flops": 7,
    "rate": 7, "family": 12,
}  # fmt: skip
"""Columns and their widths; fixed, so that nothing moves while runs are followed. `run` grows with its names."""

NUMBERS = ("loss", "params", "tokens", "step", "flops", "rate")
LONGEST_NAME = 32  # cells

NOTHING_YET = """\
No runs yet.

isoflop demo              train a small sweep, fit it, extrapolate it
isoflop sweep FILE        train what a sweep file describes
isoflop import FILE       bring in runs from CSV, Parquet, MLflow, TensorBoard or Weights & Biases

This view follows the lake: what lands in it appears here."""

NOTHING_FOUND = "No run satisfies the filter.\n\n/ changes it; an empty one shows all runs"


class RunTable(DataTable[Text]):
    """The rows; Enter opens a run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Curve", tooltip="open the run: its curve and what is known of it")
    ]


class FilterInput(Input):
    """The condition; it says how to apply and how to leave it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Apply the condition"),
        Binding("escape", "screen.back", "Leave it as it was"),
    ]


class RunsView(View):
    """The table of runs."""

    MODE = "Runs"
    FOLLOWS = True
    DEFAULT_CSS = """
    RunsView #nothing { padding: 2 4; height: 1fr; display: none; }
    RunsView DataTable { height: 1fr; }
    RunsView Input { display: none; }
    RunsView Input.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", tooltip="show the runs that satisfy a condition in SQL"),
        Binding("s", "sort", "Sort", tooltip="sort by time, loss, params, tokens, flops"),
        Binding("j", "move('down')", "Down", show=False, tooltip="next run"),
        Binding("k", "move('up')", "Up", show=False, tooltip="previous run"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.condition = ""
        self.sort = "newest"
        self.board: Board | None = None

    def compose_body(self) -> ComposeResult:
        """Yield the filter, the table, and the page shown when there is nothing to list."""
        yield FilterInput(
            placeholder="SQL over runs, such as: family = 'transformer' AND params > 1e6", compact=True, id="filter"
        )
        table = RunTable(cursor_type="row", zebra_stripes=True, id="runs")
        for name, width in WIDTHS.items():
            heading = Text(name, justify="right" if name in NUMBERS else "left")
            table.add_column(heading, width=width, key=name)
        yield table
        yield Static(NOTHING_YET, id="nothing", markup=False)

    def on_mount(self) -> None:
        """Give the table the keys."""
        super().on_mount()
        self.query_one(RunTable).focus()

    def reload(self) -> None:
        """Ask for the rows, and for the curves that have grown since."""
        condition, sort = self.condition, self.sort
        known = self.board.curves if self.board is not None else None
        self.ask("reload", lambda lake: read_board(lake, condition, sort, known))

    def receive(self, topic: str, value: Any) -> None:
        """Show the rows of an answer."""
        assert isinstance(value, Board)
        self.board = value
        self.query_one(RunTable).display = not value.is_empty
        nothing = self.query_one("#nothing", Static)
        nothing.display = value.is_empty
        nothing.update(NOTHING_FOUND if self.condition else NOTHING_YET)
        self._fill(value)
        shown = (
            f"{value.total:,} runs" if value.total == len(value.rows) else f"{len(value.rows)} of {value.total:,} runs"
        )
        self.query_one(StatementBar).show(value.statement, f"{shown} · by {self.sort}")

    def _fill(self, board: Board) -> None:
        """Change the cells that differ; build the table anew when other runs are listed or in another order."""
        table = self.query_one(RunTable)
        ids = [row["run_id"] for row in board.rows]
        cells = [_cells(row, board, is_ascii=self.interface.is_ascii) for row in board.rows]
        if ids == [key.value for key in table.rows]:
            for number, row in enumerate(cells):
                for column, cell in enumerate(row):
                    if table.get_cell_at((number, column)) != cell:  # type: ignore[arg-type]
                        table.update_cell_at((number, column), cell)  # type: ignore[arg-type]
            return
        chosen = self.chosen_id
        longest = max((len(visible_line(row["name"] or row["run_id"])) for row in board.rows), default=0)
        table.ordered_columns[1].width = min(LONGEST_NAME, max(WIDTHS["run"], longest))
        table.clear()
        for run_id, row in zip(ids, cells, strict=True):
            table.add_row(*row, key=run_id)
        if chosen in ids:
            table.move_cursor(row=ids.index(chosen), animate=False)

    @property
    def chosen_id(self) -> str | None:
        """The run under the cursor."""
        table = self.query_one(RunTable)
        keys = list(table.rows)
        return keys[table.cursor_row].value if 0 <= table.cursor_row < len(keys) else None

    def action_filter(self) -> None:
        """Open the filter."""
        entry = self.query_one("#filter", Input)
        entry.add_class("open")
        entry.focus()

    def action_back(self) -> None:
        """Leave the filter as it was, or drop the question."""
        entry = self.query_one("#filter", Input)
        if entry.has_focus:
            entry.value = self.condition
            self._close_filter()
        else:
            super().action_back()

    @on(Input.Submitted)
    def _filter_with(self, message: Input.Submitted) -> None:
        self.condition = message.value.strip()
        self._close_filter()
        self.reload()

    def _close_filter(self) -> None:
        entry = self.query_one("#filter", Input)
        entry.set_class(bool(self.condition), "open")
        self.query_one(RunTable).focus()

    def action_sort(self) -> None:
        """Step to the next order."""
        orders = list(SORTS)
        self.sort = orders[(orders.index(self.sort) + 1) % len(orders)]
        self.reload()

    def action_move(self, direction: str) -> None:
        """Move the cursor as the arrow keys do."""
        table = self.query_one(RunTable)
        table.action_cursor_down() if direction == "down" else table.action_cursor_up()

    @on(DataTable.RowSelected)
    def _open_row(self, message: DataTable.RowSelected) -> None:
        if message.row_key.value is not None:
            self.app.push_screen(RunView(message.row_key.value))


def _cells(row: dict[str, Any], board: Board, *, is_ascii: bool) -> list[Text]:
    """The cells of one run, numbers to the right."""
    trace = board.curves.get(curve_key(row), ())
    progress = "-" if row["last_step"] is None else f"{row['last_step']:,}"
    if row["steps"] and row["status"] == "running" and row["last_step"] is not None:
        progress = f"{row['last_step'] / row['steps']:.0%}"
    loss = format_number(row["loss"])
    rate = "-" if row["learning_rate"] is None else f"{row['learning_rate']:.3g}"
    flops = "-" if row["flops"] is None else write_number(row["flops"], "power")
    numbers = (loss, format_count(row["params"]), format_count(row["tokens"]), progress, flops, rate)
    return [
        Text(visible_line(status_word(row["status"], row["reason"])), STATUS_STYLES.get(row["status"], "")),
        Text(visible_line(row["name"] or row["run_id"]), no_wrap=True),
        Text(sparkline(trace, is_ascii=is_ascii).ljust(SPARK_WIDTH), "cyan", no_wrap=True),
        *(Text(number, justify="right") for number in numbers),
        Text(visible_line(row["family"] or "-")),
    ]
