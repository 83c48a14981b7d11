"""One run: its curve over steps, tokens, flops or seconds, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Static

from isoflop.cli.plot.figure import Figure
from isoflop.cli.plot.run_figures import POSITIONS, curves_figure, find_runs
from isoflop.cli.tui.bars import StatementBar
from isoflop.cli.tui.board import status_word
from isoflop.cli.tui.plot_widget import Plot
from isoflop.cli.tui.view import View
from isoflop.lakehouse.answers import plain
from isoflop.lakehouse.errors import EmptySelection
from isoflop.lakehouse.sql.quoting import literal
from isoflop.lakehouse.units import format_bytes, format_count, format_seconds
from isoflop.lakehouse.visible import visible, visible_line

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

FACTS = (
    "family", "status", "loss", "validation_loss", "params", "tokens", "flops", "steps", "step_seconds",
    "train_seconds", "peak_memory_bytes", "host", "device", "attempt", "seed",
)  # fmt: skip
"""Columns shown first, in this order."""

UNLISTED = (
    "run_id", "name", "config", "reason", "tags", "hardware", "results", "error", "corpus_hash", "heartbeat_at",
    "submitted_at", "code_version", "last_step", "source",
)  # fmt: skip
"""Columns that are not listed after the first ones."""

NUM_LINES = 8


@dataclass(frozen=True)
class RunCard:
    """A run's row, the last lines of its log, and its curve when it has logged one."""

    row: dict[str, Any]
    lines: tuple[str, ...]
    figure: Figure | None


def read_run(lake: Lakehouse, run_id: str, x: str) -> RunCard:
    """Ask for everything the view shows of one run."""
    row = lake.query(f"FROM runs WHERE run_id = {literal(run_id)}").to_pylist()[0]
    lines = lake.query(
        f"SELECT level, message FROM logs WHERE run_id = {literal(run_id)} ORDER BY logged_at DESC LIMIT {NUM_LINES}"
    ).to_pylist()
    try:
        figure = curves_figure(lake, find_runs(lake, [run_id]), x=x)
    except EmptySelection:
        figure = None
    return RunCard(row, tuple(f"{line['level']}: {line['message']}" for line in reversed(lines)), figure)


class RunView(View):
    """The curve of one run beside its facts."""

    MODE = "Runs"
    FOLLOWS = True
    DEFAULT_CSS = """
    RunView #facts { width: 38; border-left: solid $panel; padding: 0 1; }
    RunView #note { height: auto; padding: 1 2; display: none; }
    RunView.-narrow #facts { display: none; }
    RunView.facts-only #facts { display: block; width: 1fr; }
    RunView.facts-only Plot { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "axis", "Axis", tooltip="over steps, tokens, compute or time"),
        Binding("l", "log('x')", "Log x", tooltip="horizontal axis logarithmic or linear"),
        Binding("L", "log('y')", "Log y", tooltip="vertical axis logarithmic or linear"),
        Binding("i", "facts", "Info", tooltip="what is known of the run"),
        Binding("escape,backspace", "back", "Back", tooltip="go back to the runs"),
    ]

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id
        self.x = "step"

    @property
    def figure(self) -> Figure | None:
        """The curve on the scales chosen by keys."""
        return self.query_one(Plot).figure

    def compose_body(self) -> ComposeResult:
        """Yield the plot and the facts beside it."""
        yield Static("", id="note", markup=False)
        with Horizontal():
            yield Plot(is_ascii=self.interface.is_ascii)
            with VerticalScroll(id="facts", can_focus=False):
                yield Static("", id="table", markup=False)

    def on_mount(self) -> None:
        """Give the plot the keys."""
        super().on_mount()
        self.query_one(Plot).focus()

    def reload(self) -> None:
        """Ask for the run's row, log and curve."""
        run_id, x = self.run_id, self.x
        self.ask("reload", lambda lake: read_run(lake, run_id, x))

    def receive(self, topic: str, value: Any) -> None:
        """Show the run."""
        assert isinstance(value, RunCard)
        self.query_one(Plot).show(value.figure)
        note = self.query_one("#note", Static)
        note.display = value.figure is None
        note.update(f"{visible_line(value.row['name'] or self.run_id)} has not logged a loss over {self.x} yet")
        self.query_one("#table", Static).update(_facts(value))
        statement = (
            value.figure.statement if value.figure is not None else f"FROM runs WHERE run_id = {literal(self.run_id)}"
        )
        self.query_one(StatementBar).show(statement, status_word(value.row["status"], value.row["reason"]))

    def action_axis(self) -> None:
        """Step to the next horizontal axis."""
        names = list(POSITIONS)
        self.x = names[(names.index(self.x) + 1) % len(names)]
        self.reload()

    def action_log(self, axis: str) -> None:
        """Turn the logarithmic scale of an axis on or off."""
        is_log = self.query_one(Plot).toggle_log(axis)
        self.query_one(StatementBar).say(f"{axis} {'logarithmic' if is_log else 'linear'}")

    def action_facts(self) -> None:
        """Show the facts in place of the curve, or go back to it; for narrow terminals."""
        self.toggle_class("facts-only")


def _facts(card: RunCard) -> Text:
    """What is known of a run, one line each; what is not known is left out."""
    row = card.row
    shown: list[tuple[str, str]] = []
    for name in FACTS:
        if row.get(name) is not None:
            shown.append((name, _write(name, row)))
    shown += [
        (name, plain(value)) for name, value in row.items() if value is not None and name not in (*FACTS, *UNLISTED)
    ]
    text = Text()
    for name, value in shown:
        text.append(f"{visible_line(name.replace('_', ' ')):<18}", "dim")
        text.append(f"{visible(value)}\n")
    if row.get("error"):
        text.append(f"\n{visible(row['error'])}\n", "bold red")
    for line in card.lines:
        text.append(f"\n{visible(line)}", "italic")
    return text


def _write(name: str, row: dict[str, Any]) -> str:
    """One fact as users read it."""
    value = row[name]
    if name == "status":
        return status_word(value, row["reason"])
    if name in ("params", "tokens", "flops"):
        return format_count(value)
    if name.endswith("_seconds"):
        return format_seconds(value)
    if name.endswith("_bytes"):
        return format_bytes(value)
    return plain(value)
