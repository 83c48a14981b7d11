"""The application: three views in front of one lake, and the keys they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from isoflop.cli.tui.extrapolate_view import ExtrapolateView
from isoflop.cli.tui.help_screen import HelpScreen
from isoflop.cli.tui.interface import Interface
from isoflop.cli.tui.laws_view import LawsView
from isoflop.cli.tui.runs_view import RunsView
from isoflop.cli.tui.view import View


class IsoflopApp(Interface):
    """The terminal interface of a lake: its modes and the keys they share."""

    TITLE = "isoflop"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "runs": RunsView, "laws": LawsView, "extrapolate": ExtrapolateView,
    }  # fmt: skip
    DEFAULT_MODE = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "go('runs')", "Runs", show=False, tooltip="the runs"),
        Binding("2", "go('laws')", "Laws", show=False, tooltip="the laws"),
        Binding("3", "go('extrapolate')", "Extrapolate", show=False, tooltip="what a law says beyond its data"),
        Binding("colon", "command_palette", "Commands", show=False, tooltip="all commands, searched by name"),
        Binding("question_mark", "keys", "Keys", tooltip="this page"),
        Binding("q", "quit", "Quit", tooltip="leave"),
    ]

    async def action_go(self, mode: str) -> None:
        """Show one of the three views; from a view opened by another, go back to the one it came from first."""
        if mode == self.current_mode:
            while len(self.screen_stack) > 1:
                await self.pop_screen()
        else:
            await self.switch_mode(mode)

    def action_keys(self) -> None:
        """Show every key of the current view."""
        if isinstance(self.screen, HelpScreen):
            return
        view, focused = self.screen, self.screen.focused
        own = [*_described(type(view).BINDINGS), *_own_keys(focused)]
        shared = [*_described(View.BINDINGS), *_described(self.BINDINGS)]
        sections = [("This view", own), ("Every view", [key for key in shared if key.key not in {k.key for k in own}])]
        self.push_screen(HelpScreen(sections))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Yield the commands of the palette: every key of the current view, then the theme."""
        yield SystemCommand("Change theme", "Pick the colors of the interface", self.action_change_theme)
        for binding in (*_described(type(screen).BINDINGS), *_described(View.BINDINGS), *_described(self.BINDINGS)):
            yield SystemCommand(
                binding.description, f"{binding.tooltip}, key {binding.key}", _performer(screen, binding.action)
            )


def _described(bindings: Iterable[BindingType]) -> list[Binding]:
    """The bindings that are records; all of ours are."""
    return [binding for binding in bindings if isinstance(binding, Binding)]


def _own_keys(widget: Widget | None) -> list[Binding]:
    """The keys of a widget that isoflop defines; those of Textual's own widgets are not worth a line."""
    if widget is None or not type(widget).__module__.startswith("isoflop."):
        return []
    return _described(type(widget).BINDINGS)


def _performer(screen: Screen[Any], action: str) -> Callable[[], Any]:
    """A function that performs an action of a view, or else of the application."""
    name = action.partition("(")[0]
    owner = screen if hasattr(screen, f"action_{name}") else screen.app
    return lambda: owner.run_action(action)
