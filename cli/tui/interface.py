"""What the views of one application share: its lake, how it draws, and the law that was chosen last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import App

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse


class Interface(App[None]):
    """An application in front of one lake.

    Parameters
    ----------
    lake : asked in the background, never from the thread that draws
    is_ascii : draw plots and sparklines without Braille and block characters
    """

    def __init__(self, lake: Lakehouse, *, is_ascii: bool = False) -> None:
        super().__init__()
        self.lake = lake
        self.is_ascii = is_ascii
        self.law_name: str | None = None
