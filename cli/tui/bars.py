"""The lines around every view: where you are, and which statement you are looking at."""

from __future__ import annotations

from rich.text import Text
from textual.binding import Binding
from textual.widgets import Static

from isoflop.lakehouse.visible import visible, visible_line

KEY_NAMES = {
    "slash": "/", "colon": ":", "question_mark": "?", "plus": "+", "equals_sign": "=", "minus": "-", "escape": "Esc",
    "left_square_bracket": "[", "right_square_bracket": "]", "enter": "Enter", "backspace": "Backspace", "tab": "Tab",
    "left": "←", "right": "→", "up": "↑", "down": "↓",
}  # fmt: skip
LAST_ACTIONS = ("keys", "quit")

MODES = (("1", "Runs"), ("2", "Laws"), ("3", "Extrapolate"))


class TopBar(Static):
    """Names the modes with the keys that lead to them, the lake, and whether the view follows it."""

    DEFAULT_CSS = """
    TopBar { height: 1; background: $panel; color: $text-muted; }
    """

    def __init__(self, current: str, lake_name: str) -> None:
        super().__init__()
        self.current, self.lake_name = current, lake_name
        self.is_following = False

    def follow(self, is_following: bool) -> None:
        """Say whether the view is kept up to date."""
        self.is_following = is_following
        self.refresh()

    def render(self) -> Text:
        """Return the line for the width there is."""
        left = Text(" ", no_wrap=True)
        for key, name in MODES:
            left.append(f" {key} {name} ", "reverse bold" if name == self.current else "")
        state = "● following" if self.is_following else ""
        right = Text(f"{state}  {visible_line(self.lake_name)} ".strip() + " ", no_wrap=True)
        gap = self.size.width - left.cell_len - right.cell_len
        return left if gap < 1 else left + Text(" " * gap) + right


class StatementBar(Static):
    """Shows the statement that made the view, and whether another one is being answered."""

    DEFAULT_CSS = """
    StatementBar { height: 1; color: $text-muted; background: $surface; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.statement = ""
        self.state = ""

    def show(self, statement: str, state: str = "") -> None:
        """Show a statement with a word on its answer, such as `240 rows`."""
        self.statement, self.state = statement, state
        self.refresh()

    def say(self, state: str) -> None:
        """Keep the statement and change the word beside it."""
        self.state = state
        self.refresh()

    def render(self) -> Text:
        """Return the statement in one line, cut where the room ends."""
        state = f" {visible_line(self.state)} " if self.state else ""
        room = max(0, self.size.width - len(state) - 2)
        text = visible_line(" ".join(self.statement.split()))
        text = text if len(text) <= room else f"{text[: max(0, room - 1)]}…"
        return Text.assemble((f" {text}", "dim"), " " * (room - len(text) + 1), (state, "italic"), no_wrap=True)


class Trouble(Static):
    """Holds what went wrong, with its caret, until the next answer arrives; takes no room otherwise."""

    DEFAULT_CSS = """
    Trouble { height: auto; max-height: 12; padding: 0 1; display: none; }
    Trouble { color: $text-error; border-left: thick $error; }
    """

    def show(self, text: str) -> None:
        """Show an error as it is, line by line."""
        self.update(Text(visible(text)))
        self.display = True

    def clear(self) -> None:
        """Take the error away."""
        self.display = False


class KeyBar(Static):
    """Names the keys that work now; the last two, all keys and quit, are never cut."""

    DEFAULT_CSS = """
    KeyBar { height: 1; background: $panel; }
    """

    def on_mount(self) -> None:
        """Draw anew whenever the focus, and with it the keys, change."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def render(self) -> Text:
        """Return the keys: those of the focused widget first, then the view's, then the application's."""
        shown = [
            active.binding for active in self.screen.active_bindings.values() if active.enabled and active.binding.show
        ]
        entries = [_key_entry(binding) for binding in shown]
        last = [entry for entry, binding in zip(entries, shown, strict=True) if binding.action in LAST_ACTIONS]
        first = [entry for entry in entries if entry not in last]
        room = self.size.width - sum(entry.cell_len for entry in last)
        line = Text(no_wrap=True)
        for entry in first:
            if line.cell_len + entry.cell_len <= room:
                line.append_text(entry)
        for entry in last:
            line.append_text(entry)
        return line


def _key_entry(binding: Binding) -> Text:
    """One key with what it does."""
    key = KEY_NAMES.get(binding.key, binding.key)
    return Text.assemble((f" {key} ", "bold"), (f"{binding.description} ", ""))
