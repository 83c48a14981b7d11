"""What every view does: ask in the background, show and copy its statement, export its picture, follow the lake."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from isoflop.cli.plot.figure import Figure
from isoflop.cli.tui.asking import Answered, Failed, Question, ask, give_up, is_waiting
from isoflop.cli.tui.bars import KeyBar, StatementBar, TopBar, Trouble

if TYPE_CHECKING:
    from isoflop.cli.tui.interface import Interface
    from isoflop.lakehouse import Lakehouse

FOLLOW_EVERY = 1.0  # seconds between two looks at the lake while a view follows it


class View(Screen[None]):
    """One mode of the interface.

    A view says in `reload` what it asks, and in `receive` what it does with an answer. Its widgets change nowhere else.
    """

    MODE: ClassVar[str] = ""
    FOLLOWS: ClassVar[bool] = False
    AUTO_FOCUS = ""  # each view gives the keys to one of its widgets itself
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-medium"), (130, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "follow", "Follow", tooltip="keep the view up to date, or stop"),
        Binding("y", "copy", "Copy", tooltip="copy the statement of the view, also over SSH"),
        Binding("e", "export", "Export", tooltip="write the picture to an SVG file"),
        Binding("escape", "back", "Back", show=False, tooltip="cancel the question, or go back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.is_following = self.FOLLOWS
        self._is_looking = False

    @property
    def interface(self) -> Interface:
        """The application this view belongs to."""
        return cast("Interface", self.app)

    @property
    def lake(self) -> Lakehouse:
        """The lake that is asked."""
        return self.interface.lake

    @property
    def statement(self) -> str:
        """The statement that made what is shown; empty before the first answer."""
        return self.query_one(StatementBar).statement

    @property
    def figure(self) -> Figure | None:
        """The picture that is shown, or None where there is none."""
        return None

    def compose(self) -> ComposeResult:
        """Lay out the bars around what the view shows."""
        yield TopBar(self.MODE, Path(self.lake.address).name)
        yield from self.compose_body()
        yield Trouble()
        yield StatementBar()
        yield KeyBar()

    def compose_body(self) -> ComposeResult:
        """Yield the widgets between the bars."""
        raise NotImplementedError

    def reload(self) -> None:
        """Ask for everything that is shown, in the background."""
        raise NotImplementedError

    def receive(self, topic: str, value: Any) -> None:
        """Show an answer."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Ask for the first time and begin to follow."""
        self.query_one(TopBar).follow(self.is_following)
        self.set_interval(FOLLOW_EVERY, self._look_again)
        self.reload()

    def ask(self, topic: str, question: Question) -> None:
        """Ask the lake in the background; the answer comes to `receive`."""
        if not self._is_looking:
            self.query_one(StatementBar).say("asking …")
        ask(self, self.lake, topic, question)

    def _look_again(self) -> None:
        """Ask again while the view follows the lake and nothing is being answered."""
        if self.is_following and self.is_current and not is_waiting(self, "reload"):
            self._is_looking = True
            self.reload()
            self._is_looking = False

    @on(Answered)
    def _answered(self, message: Answered) -> None:
        message.stop()
        if message.topic == "export":
            self.notify(f"wrote {message.value}", markup=False)
            return
        self.query_one(Trouble).clear()
        if self.query_one(StatementBar).state == "asking …":
            self.query_one(StatementBar).say("")
        self.receive(message.topic, message.value)

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        message.stop()
        self.query_one(StatementBar).say("error")
        self.query_one(Trouble).show(message.text)

    def action_back(self) -> None:
        """Drop the question that is being answered, else leave for the view this one was opened from."""
        if give_up(self):
            self.query_one(StatementBar).say("canceled")
        elif len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def action_follow(self) -> None:
        """Keep the view up to date, or stop."""
        self.is_following = not self.is_following
        self.query_one(TopBar).follow(self.is_following)

    def action_copy(self) -> None:
        """Put the statement of the view on the clipboard, through the terminal."""
        if self.statement:
            self.app.copy_to_clipboard(self.statement)
            self.notify("copied the statement of this view")

    def action_export(self) -> None:
        """Write the picture, or the screen where there is none, to an SVG file in the current folder."""
        figure = self.figure
        if figure is None:
            self.notify(f"wrote {self.app.save_screenshot(path='.')}", markup=False)
            return
        from isoflop.cli.plot.image import save

        path = Path(f"{_file_name(figure.title)}.svg")
        ask(self, self.lake, "export", lambda _: save(figure, path))


def _file_name(title: str) -> str:
    """The title in letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower() or "figure"
