"""All keys of a view on one page."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from isoflop.cli.tui.bars import KEY_NAMES


class HelpScreen(ModalScreen[None]):
    """The keys, what each does, and how to leave."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen VerticalScroll { width: 72; max-width: 95%; height: auto; max-height: 95%; padding: 0 2; }
    HelpScreen VerticalScroll { background: $surface; border: round $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss", "Close")]

    def __init__(self, sections: list[tuple[str, list[Binding]]]) -> None:
        super().__init__()
        self.sections = sections

    def compose(self) -> ComposeResult:
        """Lay out one table."""
        with VerticalScroll() as page:
            page.border_title = "Keys"
            page.border_subtitle = "Esc closes"
            yield Static(write_keys(self.sections))


def write_keys(sections: list[tuple[str, list[Binding]]]) -> Table:
    """Return the keys of each section as a table of two columns."""
    table = Table.grid(padding=(0, 2))
    for number, (title, bindings) in enumerate(sections):
        if number:
            table.add_row("", "")
        table.add_row(Text(title, "bold"), "")
        for binding in bindings:
            keys = "  ".join(KEY_NAMES.get(key, key) for key in binding.key.split(","))
            table.add_row(
                Text(keys, "cyan"), Text(binding.tooltip or binding.description)
            )  # in which [list] is no markup
    return table
