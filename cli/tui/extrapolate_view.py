"""Extrapolate: what a law says about a place without a run, and how far from the data that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label, Static

from isoflop.cli.plot.figure import Figure
from isoflop.cli.plot.forecast_figure import ShownForecast, forecast
from isoflop.cli.plot.law_card import LawCard, read_laws
from isoflop.cli.plot.law_path import default_targets
from isoflop.cli.tui.bars import StatementBar
from isoflop.cli.tui.laws_view import LEVELS, NOTHING_YET
from isoflop.cli.tui.plot_widget import Plot
from isoflop.cli.tui.view import View
from isoflop.lakehouse.units import format_count
from isoflop.lakehouse.visible import visible, visible_line

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse


@dataclass(frozen=True)
class LawChoice:
    """The laws there are, and where the chosen one is asked first."""

    laws: tuple[LawCard, ...]
    chosen: LawCard | None
    targets: Mapping[str, str]


def read_choice(lake: Lakehouse, name: str | None) -> LawChoice:
    """Ask which laws there are and settle on the one of this name, else the newest."""
    laws = read_laws(lake)
    chosen = next((law for law in laws if law.name == name), laws[0] if laws else None)
    return LawChoice(tuple(laws), chosen, {} if chosen is None else default_targets(chosen))


class TargetInput(Input):
    """One input of the law, as SQL: `1e12`, `[1e11, 1e12]`, `20 * params`."""

    def __init__(self, column: str, value: str) -> None:
        super().__init__(value, compact=True, classes="target")
        self.column = column


class ExtrapolateView(View):
    """Targets above, the forecast in words, and the fan that leads from the data to it."""

    MODE = "Extrapolate"
    DEFAULT_CSS = """
    ExtrapolateView #nothing { padding: 2 4; height: 1fr; display: none; }
    ExtrapolateView #ask { height: 1; }
    ExtrapolateView #ask Label { padding: 0 1; color: $text-muted; }
    ExtrapolateView #targets { width: 1fr; height: 1; }
    ExtrapolateView .target { width: 1fr; max-width: 24; background: $boost; }
    ExtrapolateView #answer { height: auto; max-height: 8; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "edit", "Targets", tooltip="edit the targets; each is a SQL value or a [list]"),
        Binding("x", "edit", "Targets", show=False, tooltip="edit the targets; each is a SQL value or a [list]"),
        Binding("l", "log('x')", "Log x", tooltip="horizontal axis logarithmic or linear"),
        Binding("L", "log('y')", "Log y", tooltip="vertical axis logarithmic or linear"),
        Binding("b", "band", "Band", tooltip="interval of 95, 50, 80 per cent"),
        Binding("left_square_bracket", "law(-1)", "Law before", show=False, tooltip="previous law"),
        Binding("right_square_bracket", "law(1)", "Next law", tooltip="next law"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.choice = LawChoice((), None, {})
        self.level = 0.95
        self.forecast: ShownForecast | None = None

    @property
    def figure(self) -> Figure | None:
        """The fan on the scales chosen by keys."""
        return self.query_one(Plot).figure

    def compose_body(self) -> ComposeResult:
        """Yield the targets, the answer and the fan."""
        yield Static(NOTHING_YET, id="nothing", markup=False)
        with Horizontal(id="ask"):
            yield Label("EXTRAPOLATE", id="law", markup=False)
            yield Horizontal(id="targets")
        yield Static("", id="answer", markup=False)
        yield Plot(is_ascii=self.interface.is_ascii)

    def on_mount(self) -> None:
        """Give the plot the keys."""
        super().on_mount()
        self.query_one(Plot).focus()

    def on_screen_resume(self) -> None:
        """Take over the law chosen in the other view."""
        if self.choice.chosen is not None and self.interface.law_name not in (None, self.choice.chosen.name):
            self.reload()

    def reload(self) -> None:
        """Ask which laws there are; the forecast of the chosen one follows."""
        name = self.interface.law_name
        self.ask("reload", lambda lake: read_choice(lake, name))

    async def receive_choice(self, choice: LawChoice) -> None:
        """Show the chosen law with an entry for each of its inputs."""
        is_same = choice == self.choice and self.forecast is not None
        is_other = choice.chosen is None or self.choice.chosen is None or choice.chosen.name != self.choice.chosen.name
        self.choice = choice
        self.query_one("#nothing", Static).display = choice.chosen is None
        for part in ("#ask", "#answer", "Plot"):
            self.query_one(part).display = choice.chosen is not None
        if choice.chosen is None:
            return
        if is_other:
            self.interface.law_name = choice.chosen.name
            self.query_one("#law", Label).update(f"EXTRAPOLATE {visible_line(choice.chosen.name)} TO")
            row = self.query_one("#targets", Horizontal)
            await row.remove_children()
            for name, value in choice.targets.items():
                await row.mount(Label(f"{visible_line(name)} =", markup=False), TargetInput(name, value))
        if not is_same:
            self._ask_for_forecast()

    def receive(self, topic: str, value: Any) -> None:
        """Show the choice of laws, or a forecast."""
        if isinstance(value, LawChoice):
            self.call_later(self.receive_choice, value)
        elif isinstance(value, ShownForecast):
            self._show(value)

    def _ask_for_forecast(self) -> None:
        law, level = self.choice.chosen, self.level
        targets = {entry.column: entry.value.strip() for entry in self.query(TargetInput)}
        if law is not None and all(targets.values()):
            self.ask("forecast", lambda lake: forecast(lake, law, targets, level=level))

    def _show(self, answer: ShownForecast) -> None:
        """Show the forecast in words and as a fan."""
        self.forecast = answer
        self.query_one(Plot).show(answer.figure)
        self.query_one("#answer", Static).update(write_forecast(answer))
        self.query_one(StatementBar).show(answer.statement, f"{self.level:.0%} interval")

    @property
    def statement(self) -> str:
        """The EXTRAPOLATE behind the forecast."""
        return f"{self.forecast.statement};" if self.forecast is not None else super().statement

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._ask_for_forecast()
        self.query_one(Plot).focus()

    def action_edit(self) -> None:
        """Go to the first target."""
        entries = list(self.query(TargetInput))
        if entries:
            entries[0].focus()

    def action_back(self) -> None:
        """Leave the targets, or drop the question."""
        if isinstance(self.focused, TargetInput):
            self.query_one(Plot).focus()
        else:
            super().action_back()

    def action_law(self, step: int) -> None:
        """Choose another law."""
        names = [law.name for law in self.choice.laws]
        if self.choice.chosen is not None and len(names) > 1:
            self.interface.law_name = names[(names.index(self.choice.chosen.name) + step) % len(names)]
            self.reload()

    def action_log(self, axis: str) -> None:
        """Turn the logarithmic scale of an axis on or off."""
        is_log = self.query_one(Plot).toggle_log(axis)
        self.query_one(StatementBar).say(f"{axis} {'logarithmic' if is_log else 'linear'}")

    def action_band(self) -> None:
        """Step through the levels of the interval: 95, 50, 80 per cent."""
        levels = [level for level in LEVELS if level is not None]
        self.level = levels[(levels.index(self.level) + 1) % len(levels)]
        self._ask_for_forecast()


def write_forecast(answer: ShownForecast) -> Text:
    """Return a line for each place, then what the answer warns of."""
    text = Text()
    for number, row in enumerate(answer.rows):
        places = ", ".join(f"{name} {format_count(row.get(name))}" for name in answer.law.inputs)
        text.append("\n" if number else "")
        text.append(f"{visible_line(places)}  →  ", "dim")
        text.append(visible(answer.sentence(row)), "bold")
    for note in answer.notes:
        text.append(f"\n! {visible(note)}", "yellow")
    return text
