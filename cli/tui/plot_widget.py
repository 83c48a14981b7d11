"""A figure on the screen: drawn once for its size, then served line by line."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.widget import Widget

from isoflop.cli.plot.figure import Figure
from isoflop.cli.plot.terminal import Page, draw

ZOOM = 1.6  # factor of one key
PAN = 0.15  # share of the width of one key


class Plot(Widget, can_focus=True):
    """Shows one figure; `l` and `L` change its scales, `+`, `-`, `0` and the arrows what part of it is seen."""

    DEFAULT_CSS = """
    Plot { height: 1fr; width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(1)", "Zoom in", show=False, tooltip="show less of the horizontal axis"),
        Binding("minus", "zoom(-1)", "Zoom out", show=False, tooltip="show more of it"),
        Binding("0", "reset", "Whole figure", show=False, tooltip="the whole figure"),
        Binding("left", "pan(-1)", "Pan left", show=False, tooltip="move to the left"),
        Binding("right", "pan(1)", "Pan right", show=False, tooltip="move to the right"),
    ]

    def __init__(self, *, is_ascii: bool = False, gutter: int = 0, id: str | None = None) -> None:
        super().__init__(id=id)
        self.gutter_width = gutter
        self.is_ascii = is_ascii
        self._figure: Figure | None = None
        self._is_log_x: bool | None = None
        self._is_log_y: bool | None = None
        self._window: tuple[float, float] | None = None
        self._strips: list[Strip] = []
        self._drawn: tuple[int, int, int] | None = None
        self._version = 0

    @property
    def figure(self) -> Figure | None:
        """What is shown, on the scales and within the window chosen by keys."""
        if self._figure is None:
            return None
        figure = self._figure.on_axes(is_log_x=self._is_log_x, is_log_y=self._is_log_y)
        return figure if self._window is None else figure.within(*self._window)

    def show(self, figure: Figure | None) -> None:
        """Show another figure; chosen scales stay, a window on another axis does not."""
        if figure is None or self._figure is None or figure.x.label != self._figure.x.label:
            self._window = None
        self._figure = figure
        self._redraw()

    def toggle_log(self, axis: str) -> bool:
        """Turn the logarithmic scale of axis `x` or `y` on or off; return whether it is on now."""
        figure = self.figure
        if figure is None:
            return False
        if axis == "x":
            self._is_log_x = is_log = not figure.x.is_log
        else:
            self._is_log_y = is_log = not figure.y.is_log
        self._redraw()
        return is_log

    def action_zoom(self, direction: int) -> None:
        """Show less (1) or more (-1) of the horizontal axis around its middle."""
        self._move(0.0, ZOOM**-direction)

    def action_pan(self, direction: int) -> None:
        """Move the window to the left (-1) or to the right (1)."""
        self._move(PAN * direction, 1.0)

    def action_reset(self) -> None:
        """Show the whole figure again."""
        self._window = None
        self._redraw()

    def _move(self, shift: float, factor: float) -> None:
        """Shift the window by a share of its width and scale it."""
        figure = self.figure
        if figure is None:
            return
        low, high = (float(end) for end in figure.x.forward(figure.limits()[0]))
        middle, half = (low + high) / 2 + shift * (high - low), (high - low) / 2 * factor
        first, last = figure.x.backward([middle - half, middle + half]).tolist()
        self._window = (first, last)
        self._redraw()

    def _redraw(self) -> None:
        self._version += 1
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one row of the drawn figure."""
        width, height = self.size
        if self._drawn != (width, height, self._version):
            figure = self.figure
            self._strips = (
                _strips(draw(figure, width, height, is_ascii=self.is_ascii, gutter=self.gutter_width))
                if figure is not None
                else []
            )
            self._drawn = (width, height, self._version)
        base = self.rich_style
        if y >= len(self._strips):
            return Strip.blank(width, base)
        return self._strips[y].adjust_cell_length(width, base).crop(0, width).apply_style(base)


def _strips(page: Page) -> list[Strip]:
    """The rows of a page as Textual draws them."""
    return [Strip([Segment(text, Style.parse(style)) for text, style in row]) for row in page.rows]
