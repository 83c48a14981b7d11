"""Laws: the fitted laws, the picture of the chosen one, its coefficients, and what it leaves unexplained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import DataTable, Static

from isoflop.cli.plot.figure import Figure
from isoflop.cli.plot.law_card import LAWS_STATEMENT, LawCard, read_laws
from isoflop.cli.plot.law_figure import law_figure, residual_figure
from isoflop.cli.plot.run_figures import identifier
from isoflop.cli.tui.bars import StatementBar
from isoflop.cli.tui.plot_widget import Plot
from isoflop.cli.tui.view import View
from isoflop.lakehouse.visible import visible, visible_line

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

LEVELS: tuple[float | None, ...] = (0.95, 0.5, 0.8, None)
SETTLE = 0.12  # seconds the cursor must rest on a law before its picture is asked for
WIDTHS = {"law": 12, "form": 10, "rows": 6}
GUTTER = 7  # columns of the vertical scale, so that picture and residuals stand below each other

NOTHING_YET = """\
No laws yet.

A law is fitted to runs by a statement, for example in isoflop shell:

CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM runs

SHOW LAW FORMS lists the forms that have names; any formula may be typed in their place."""


@dataclass(frozen=True)
class LawPictures:
    """The two pictures of one law."""

    law: LawCard
    figure: Figure
    residuals: Figure


def read_pictures(lake: Lakehouse, law: LawCard, level: float | None, held_out: str | None) -> LawPictures:
    """Ask for both pictures of a law."""
    return LawPictures(law, law_figure(lake, law, level=level, held_out=held_out), residual_figure(lake, law))


class LawsView(View):
    """List on the left, picture in the middle, coefficients on the right, residuals below."""

    MODE = "Laws"
    DEFAULT_CSS = """
    LawsView #nothing { padding: 2 4; height: 1fr; display: none; }
    LawsView #list { width: 35; border-right: solid $panel; }
    LawsView #middle { width: 1fr; }
    LawsView #residuals { height: 9; border-top: solid $panel; border-title-color: $text-muted; }
    LawsView #coefficients { width: 36; border-left: solid $panel; padding: 0 1; }
    LawsView.without-residuals #residuals { display: none; }
    LawsView.-narrow #list { width: 100%; height: 4; border-right: none; display: none; }
    LawsView.-narrow #residuals { display: none; }
    LawsView.-narrow #coefficients { display: none; }
    LawsView.-medium #coefficients { display: none; }
    LawsView.details #middle { display: none; }
    LawsView.details #list, LawsView.details #coefficients { display: block; }
    LawsView.details.-narrow #list { width: 35; height: 1fr; }
    LawsView.details #coefficients { width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Next", show=False, tooltip="next law"),
        Binding("k,up", "move(-1)", "Previous", show=False, tooltip="previous law"),
        Binding("l", "log('x')", "Log x", tooltip="horizontal axis logarithmic or linear"),
        Binding("L", "log('y')", "Log y", tooltip="vertical axis logarithmic or linear"),
        Binding("b", "band", "Band", tooltip="interval of 95, 50, 80 per cent, or none"),
        Binding("r", "residuals", "Residuals", tooltip="residuals below the picture"),
        Binding("h", "held_out", "Unseen", tooltip="runs beyond those of the fit, as rings"),
        Binding("i", "details", "Info", tooltip="list and coefficients in place of the picture"),
        Binding("x", "extrapolate", "Extrapolate", tooltip="ask this law beyond its data"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.laws: list[LawCard] = []
        self.pictures: LawPictures | None = None
        self.level: float | None = LEVELS[0]
        self.shows_held_out = False

    @property
    def chosen(self) -> LawCard | None:
        """The law under the cursor."""
        row = self.query_one("#list", DataTable).cursor_row
        return self.laws[row] if 0 <= row < len(self.laws) else None

    @property
    def figure(self) -> Figure | None:
        """The picture of the law on the scales chosen by keys."""
        return self.query_one("#picture", Plot).figure

    def compose_body(self) -> ComposeResult:
        """Yield the list, the two plots and the coefficients."""
        yield Static(NOTHING_YET, id="nothing", markup=False)
        with Horizontal(id="laws"):
            table: DataTable[Text] = DataTable(cursor_type="row", id="list")
            for name, width in WIDTHS.items():
                table.add_column(Text(name, justify="right" if name == "rows" else "left"), width=width, key=name)
            yield table
            with Vertical(id="middle"):
                yield Plot(is_ascii=self.interface.is_ascii, gutter=GUTTER, id="picture")
                residuals = Plot(is_ascii=self.interface.is_ascii, gutter=GUTTER, id="residuals")
                residuals.border_title = "residual"
                yield residuals
            with VerticalScroll(id="coefficients", can_focus=False):
                yield Static("", id="card", markup=False)

    def on_mount(self) -> None:
        """Give the list the keys."""
        super().on_mount()
        self.query_one("#picture", Plot).focus()

    def reload(self) -> None:
        """Ask which laws there are; the picture of the chosen one follows."""
        self.ask("reload", read_laws)

    def receive(self, topic: str, value: Any) -> None:
        """Show the list, or the pictures of a law."""
        if isinstance(value, LawPictures):
            self._show(value)
        else:
            self._list(value)

    def _list(self, laws: list[LawCard]) -> None:
        """Fill the list; ask for a picture when the chosen law is another one or has a new version."""
        self.query_one("#nothing", Static).display = not laws
        self.query_one("#laws").display = bool(laws)
        if not laws:
            self.laws = []
            self.query_one(StatementBar).show(LAWS_STATEMENT, "0 laws")
            return
        is_same = laws == self.laws and self.pictures is not None
        if not is_same:
            chosen = self.chosen.name if self.chosen is not None else self.interface.law_name
            self.laws = laws
            table: DataTable[Text] = self.query_one("#list", DataTable)
            table.clear()
            for law in laws:
                mark = "" if law.is_converged else " !"
                table.add_row(
                    Text(f"{visible_line(law.name)}{mark}", "" if law.is_converged else "bold red"),
                    Text(visible_line(law.form)),
                    Text("" if law.is_given else f"{law.rows:,}", justify="right"),
                )
            table.move_cursor(row=next((n for n, law in enumerate(laws) if law.name == chosen), 0), animate=False)
        if not is_same or self.shows_held_out:
            self._ask_for_pictures()

    def _ask_for_pictures(self) -> None:
        law, level = self.chosen, self.level
        if law is None:
            return
        held_out = unseen_condition(law) if self.shows_held_out else None
        self.ask("pictures", lambda lake: read_pictures(lake, law, level, held_out))

    def _show(self, pictures: LawPictures) -> None:
        """Show both plots and the coefficients."""
        self.pictures = pictures
        self.interface.law_name = pictures.law.name
        self.query_one("#picture", Plot).show(pictures.figure)
        self.query_one("#residuals", Plot).show(pictures.residuals.within(*pictures.figure.limits()[0]))
        self.query_one("#card", Static).update(write_card(pictures.law))
        band = "no band" if self.level is None else f"{self.level:.0%} band"
        place = next((n for n, law in enumerate(self.laws) if law.name == pictures.law.name), 0)
        self.query_one(StatementBar).show(pictures.figure.statement, f"law {place + 1} of {len(self.laws)} · {band}")

    @on(DataTable.RowHighlighted)
    def _chosen(self, message: DataTable.RowHighlighted) -> None:
        law = self.chosen
        if law is not None and self.pictures is not None and law != self.pictures.law:
            self.set_timer(SETTLE, lambda: self._ask_for_pictures() if law == self.chosen else None)

    def action_move(self, step: int) -> None:
        """Choose the next or the previous law."""
        table = self.query_one("#list", DataTable)
        table.move_cursor(row=max(0, min(len(self.laws) - 1, table.cursor_row + step)), animate=False)

    def action_log(self, axis: str) -> None:
        """Turn the logarithmic scale of an axis on or off; both plots share the horizontal one."""
        is_log = self.query_one("#picture", Plot).toggle_log(axis)
        if axis == "x":
            self.query_one("#residuals", Plot).toggle_log("x")
        self.query_one(StatementBar).say(f"{axis} {'logarithmic' if is_log else 'linear'}")

    def action_band(self) -> None:
        """Step through the levels of the interval: 95, 50, 80 per cent, none."""
        self.level = LEVELS[(LEVELS.index(self.level) + 1) % len(LEVELS)]
        self._ask_for_pictures()

    def action_residuals(self) -> None:
        """Show or hide the residuals."""
        self.toggle_class("without-residuals")

    def action_held_out(self) -> None:
        """Show or hide, as rings, the runs beyond those the law was fitted to."""
        self.shows_held_out = not self.shows_held_out
        self._ask_for_pictures()

    def action_details(self) -> None:
        """Show the list and the coefficients in place of the picture, or go back to it."""
        self.toggle_class("details")

    def action_extrapolate(self) -> None:
        """Ask the chosen law about places beyond its data."""
        if self.chosen is not None:
            self.interface.law_name = self.chosen.name
        self.app.switch_mode("extrapolate")


def unseen_condition(law: LawCard) -> str:
    """Return the SQL condition for runs that lie beyond the law's data in some input; all runs where it has none."""
    if law.is_given:
        return "true"
    return (
        " OR ".join(f"{identifier(name)} > {largest:.9g} * (1 + 1e-6)" for name, (_, largest) in law.support.items())
        or "false"
    )


def write_card(law: LawCard) -> Text:
    """Return a law's coefficients with their intervals, and what a reader must know about the fit."""
    text = Text()
    text.append(visible_line(law.name), "bold")
    text.append(f"  version {law.version}\n", "dim")
    text.append(f"{visible(f'{law.target} = {law.formula or law.form}')}\n\n")
    for each in law.coefficients:
        text.append(f"{visible_line(each.name):<7}", "bold")
        text.append(f"{each.estimate:>11.5g}")
        text.append(" at bound\n" if each.is_at_bound else "\n", "yellow")
        if each.lower is not None and each.upper is not None:
            text.append(f"       [{each.lower:.5g}, {each.upper:.5g}]\n", "dim")
    if not law.is_given:
        text.append(f"\n{law.level:.0%} intervals\n", "dim")
        dropped = f", {law.dropped:,} dropped" if law.dropped else ""
        text.append(f"{law.rows:,} {law.row_word}{dropped}\n")
    if law.objective is not None:
        text.append(f"objective {law.objective:.6g}\n")
    text.append(f"{visible(law.status.replace('_', ' '))}\n", "green" if law.is_converged else "bold red")
    for note in law.notes:
        text.append(f"\n! {visible(note)}\n", "yellow")
    return text
