"""Draws a figure in character cells: Braille dots by default, plain ASCII on request.

Rows of the page, from the top: title · label of the vertical axis and legend · the plot with its scale on the left ·
horizontal axis · its numbers · its label and the notes. A low page gives up its title and labels before its plot.
"""

from __future__ import annotations

import functools
import locale
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isoflop.cli.plot.canvas import Canvas, Ink
from isoflop.cli.plot.figure import Array, Axis, Band, Figure, Floor, Line, PointMarks, split_at
from isoflop.cli.plot.labels import beside, spread
from isoflop.cli.plot.ticks import Tick, ticks, write_number

if TYPE_CHECKING:
    from rich.text import Text

Row = list[tuple[str, str]]

TONES = ("#5b8cff", "#00a9d4", "#00b58c", "#7cab1c", "#d99a00", "#e8613a")
"""From small to large; each is readable on black and on white."""

DATA = Ink("#d99a00", "*")
HELD_OUT = Ink("bold #e0559b", "o")
LAW = Ink("bold", "-")
BAND = Ink("#6f7b8c", ":")
FLOOR = Ink("#b06be0", "_")
EDGE = Ink("#8a8f98", "|")
BEYOND = Ink("#4a4f57", ".")
FRAME = "dim"
LABEL = Ink("#8a8f98", "?")

DASH = 6
"""Dots drawn and left out in turn where a line leaves the data."""

LINES = {"│": "|", "┤": "+", "└": "+", "─": "-", "┬": "+"}
SAMPLES: Mapping[str, tuple[str, str]] = {
    "points": ("•", "*"), "hollow": ("○", "o"), "line": ("━", "-"), "dashed": ("╍", "-"),
    "band": ("░", ":"), "floor": ("┄", "_"),
}  # fmt: skip


@dataclass(frozen=True)
class Page:
    """A drawn figure: rows of (text, rich style) pieces."""

    rows: tuple[Row, ...]

    @property
    def plain(self) -> str:
        """The page as text without colors, no blanks at line ends."""
        return "\n".join("".join(text for text, _ in row).rstrip() for row in self.rows)

    @property
    def text(self) -> Text:
        """The page as rich text, which a console prints with as many colors as it has."""
        from rich.text import Text

        page = Text(no_wrap=True, overflow="crop")
        for number, row in enumerate(self.rows):
            page.append("\n" if number else "")
            for text, style in row:
                page.append(text, style or None)
        return page


@dataclass(frozen=True)
class Scale:
    """Maps values of one axis to dot positions, 0 to `dots` - 1; upwards values fall in dot rows."""

    axis: Axis
    low: float
    high: float
    dots: int
    is_upright: bool = False

    def at(self, values: Array) -> Array:
        """Return the dot position of each value, NaN where the axis has none."""
        first, last = self.axis.forward([self.low, self.high]).tolist()
        share: Array = (self.axis.forward(values) - first) / (last - first)
        return ((1 - share) if self.is_upright else share) * (self.dots - 1)


def is_plain_terminal() -> bool:
    """Return whether the locale, or stdout, cannot show Braille, so that a plot must keep to ASCII."""
    names = (os.environ.get("LC_ALL"), os.environ.get("LC_CTYPE"), os.environ.get("LANG"))
    declared = next((name for name in names if name), "") or locale.getpreferredencoding(False)
    written = getattr(sys.stdout, "encoding", None) or "utf-8"
    return not all("utf" in encoding.lower() for encoding in (declared, written))


def draw(figure: Figure, width: int, height: int, *, is_ascii: bool = False, gutter: int = 0) -> Page:
    """Return the figure as a page of text.

    Parameters
    ----------
    figure : what to show
    width, height : size of the page in character cells; at least 20 by 6 are used
    is_ascii : keep to ASCII: `*` data, `o` held out, `-` law, `:` band, `|` end of the data
    gutter : columns on the left that the vertical scale takes at least, so that plots below each other line up
    """
    width, height = max(20, width), max(6, height)
    is_roomy = height >= 12
    rows = height - (5 if is_roomy else 2)
    (x_low, x_high), (y_low, y_high) = figure.limits()
    y_ticks = ticks(y_low, y_high, is_log=figure.y.is_log, most=max(3, rows // 3), notation=figure.y.notation)
    gutter = max(gutter, max((len(tick.label) for tick in y_ticks), default=1) + 2)
    canvas = Canvas(width - gutter, rows, is_ascii=is_ascii)
    x_scale = Scale(figure.x, x_low, x_high, canvas.width - canvas.across * _label_room(figure, x_low, x_high))
    y_scale = Scale(figure.y, y_low, y_high, canvas.height, is_upright=True)
    x_ticks = ticks(
        x_low, x_high, is_log=figure.x.is_log, most=max(2, canvas.columns // 10), notation=figure.x.notation
    )

    _paint(figure, canvas, x_scale, y_scale)
    page: list[Row] = []
    if is_roomy:
        page.append([(_cut(figure.title, width), "bold")])
        page.append(_legend(figure, width, is_ascii=is_ascii))
    page.extend(_with_scale(canvas, y_ticks, y_scale, gutter))
    page.extend(_horizontal_axis(canvas, x_ticks, x_scale, gutter))
    if is_roomy:
        page.append(_caption(figure, width, gutter))
    if is_ascii:
        page = [[(_to_ascii(text), style) for text, style in row] for row in page]
    return Page(tuple(page))


def _label_room(figure: Figure, x_low: float, x_high: float) -> int:
    """Columns kept free on the right for the names of thin lines that run up to the border."""
    first, last = figure.x.forward([x_low, x_high])
    named = [line for line in figure.of(Line) if line.is_thin and line.label and line.x.size]
    far = [line.label for line in named if figure.x.forward([line.x[-1]])[0] > last - 0.1 * (last - first)]
    return min(14, max((len(label) for label in far), default=-1) + 1)


def _paint(figure: Figure, canvas: Canvas, x: Scale, y: Scale) -> None:
    """Put every mark on the canvas, from back to front."""
    if figure.data_end is not None:
        _paint_beyond(figure.data_end, canvas, x)
    for band in figure.of(Band):
        canvas.fill(x.at(band.x), y.at(_open_ended(band.lower, y.low)), y.at(_open_ended(band.upper, y.high)), BAND)
    for floor in figure.of(Floor):
        _paint_floor(floor, canvas, y)
    thin = [line for line in figure.of(Line) if line.is_thin]
    for line in (*thin, *(line for line in figure.of(Line) if not line.is_thin)):
        _paint_line(line, figure.data_end, canvas, x, y)
    for points in sorted(figure.of(PointMarks), key=lambda each: each.is_hollow):
        if points.is_hollow:
            canvas.glyphs(x.at(points.x), y.at(points.y), "o" if canvas.is_ascii else "○", HELD_OUT)
        else:
            for group, members in points.by_tone(len(TONES)):
                ink = DATA if group is None else Ink(TONES[group], DATA.glyph)
                canvas.blocks(x.at(members.x), y.at(members.y), ink)
    _label_lines(thin, canvas, x, y)


def _paint_beyond(data_end: float, canvas: Canvas, x: Scale) -> None:
    """Shade the ground beyond the data sparsely and mark where it begins."""
    edge = float(x.at(np.array([data_end]))[0])
    if not 0 <= edge < canvas.width:
        return
    beyond = np.array([edge + 2, canvas.width - 1.0])
    if not canvas.is_ascii:
        canvas.fill(beyond, np.zeros(2), np.full(2, canvas.height - 1.0), BEYOND, across=8, down=4)
    canvas.line(np.full(2, edge), np.array([0.0, canvas.height - 1.0]), EDGE, dash=0 if canvas.is_ascii else 2)
    column = round(edge) // canvas.across
    if not canvas.write(column + 2, 0, "data end here", LABEL):
        canvas.write(column - 14, 0, "data end here", LABEL)


def _paint_floor(floor: Floor, canvas: Canvas, y: Scale) -> None:
    """Draw the level as a dotted line and name it at its left end."""
    level = float(y.at(np.array([floor.y]))[0])
    if not 0 <= level < canvas.height:
        return
    canvas.line(np.array([0.0, canvas.width - 1.0]), np.full(2, level), FLOOR, dash=1 if canvas.is_ascii else 2)
    row = round(level) // canvas.upright
    for near in (row - 1, row + 1):
        if canvas.write(1, near, floor.label, Ink(FLOOR.style, "?")):
            return


def _paint_line(line: Line, data_end: float | None, canvas: Canvas, x: Scale, y: Scale) -> None:
    """Draw a line whole inside the data and dashed beyond them."""
    ink = _toned(LAW, line.tone)
    ink = Ink(ink.style.removeprefix("bold "), "." if line.is_thin else ink.glyph) if line.is_thin else ink
    before, beyond = split_at(line, data_end)
    canvas.line(x.at(before.x), y.at(before.y), ink, dash=0)
    if beyond is not None:
        canvas.line(x.at(beyond.x), y.at(beyond.y), ink, dash=1 if canvas.is_ascii else DASH)


def _label_lines(lines: list[Line], canvas: Canvas, x: Scale, y: Scale) -> None:
    """Write the names of thin lines after their last visible positions, or before them at the border, one a row."""
    ends: list[tuple[Line, int, float]] = []
    for line in lines:
        i, j = x.at(line.x), y.at(line.y)
        seen = np.flatnonzero((i >= 0) & (i < canvas.width) & (j >= 0) & (j < canvas.height))
        if seen.size and line.label:
            column = round(float(i[seen[-1]])) // canvas.across
            at = column + 2 if column + 2 + len(line.label) <= canvas.columns else column - len(line.label)
            ends.append((line, at, round(float(j[seen[-1]])) / canvas.upright))
    widest = max((len(line.label) for line, _, _ in ends), default=0) + 1
    for column_of in beside([at for _, at, _ in ends], widest):
        rows = spread([ends[number][2] for number in column_of], 1.0, 0.0, canvas.rows - 1.0)
        for number, row in zip(column_of, rows, strict=True):
            line, at, _ = ends[number]
            canvas.write(at, math.floor(row), line.label, Ink(_toned(LAW, line.tone).style, "?"))


def _open_ended(values: Array, end: float) -> Array:
    """Replace infinite ends of a band by the end of the axis, so that an unbounded interval fills the picture."""
    return np.where(np.isinf(values), end, values)


def _toned(ink: Ink, tone: float | None) -> Ink:
    """The ink in the color of a place on the scale of tones."""
    return ink if tone is None else Ink(TONES[min(len(TONES) - 1, int(tone * len(TONES)))], ink.glyph)


def _legend(figure: Figure, width: int, *, is_ascii: bool) -> Row:
    """The vertical axis' label on the left, a sample of every named mark on the right."""
    entries: list[tuple[str, str, str]] = []
    for mark in figure.marks:
        if (
            not mark.label
            or (isinstance(mark, Line) and mark.is_thin)
            or any(mark.label == each[2] for each in entries)
        ):
            continue
        match mark:
            case PointMarks(is_hollow=True):
                kind, ink = "hollow", HELD_OUT
            case PointMarks():
                kind, ink = "points", DATA if mark.tone is None else _toned(DATA, float(np.mean(mark.tone)))
            case Line():
                kind, ink = "line", _toned(LAW, mark.tone)
            case Band():
                kind, ink = "band", BAND
            case Floor():
                continue
        entries.append((SAMPLES[kind][is_ascii], ink.style, mark.label))
    row: Row = [(figure.y.title, FRAME)]
    room = width - len(figure.y.title) - sum(len(label) + 4 for _, _, label in entries)
    while entries and room < 1:
        room += len(entries.pop()[2]) + 4
    row.append((" " * max(room, 1), ""))
    for sample, style, label in entries:
        row.extend([(f"{sample} ", style), (f"{label}  ", "")])
    return row


def _with_scale(canvas: Canvas, marked: list[Tick], y: Scale, gutter: int) -> list[Row]:
    """The rows of the canvas, each behind its part of the vertical axis."""
    places = y.at(np.array([tick.value for tick in marked], dtype=np.float64))
    labels = {round(float(place)) // canvas.upright: tick.label for place, tick in zip(places, marked, strict=True)}
    return [
        [(f"{labels.get(number, ''):>{gutter - 2}} {'┤' if number in labels else '│'}", FRAME), *row]
        for number, row in enumerate(canvas.lines())
    ]


def _horizontal_axis(canvas: Canvas, marked: list[Tick], x: Scale, gutter: int) -> list[Row]:
    """The rule under the plot and the numbers under the rule."""
    places = x.at(np.array([tick.value for tick in marked], dtype=np.float64))
    rule, numbers = ["─"] * canvas.columns, [" "] * (canvas.columns + gutter)
    free = 0
    for place, tick in zip(places, marked, strict=True):
        column = round(float(place)) // canvas.across
        rule[column] = "┬"
        start = min(gutter + column - len(tick.label) // 2, len(numbers) - len(tick.label))
        if start >= free:
            numbers[start : start + len(tick.label)] = tick.label
            free = start + len(tick.label) + 1
    return [[(" " * (gutter - 1) + "└" + "".join(rule), FRAME)], [("".join(numbers), FRAME)]]


def _caption(figure: Figure, width: int, gutter: int) -> Row:
    """The horizontal axis' label, and after it what the reader must know."""
    row: Row = [(" " * gutter + figure.x.title, FRAME)]
    if figure.scale is not None:
        row.append((f"   {figure.scale.name} {write_number(figure.scale.low, digits=2)} ", FRAME))
        row.extend(("•", tone) for tone in TONES)
        row.append((f" {write_number(figure.scale.high, digits=2)}", FRAME))
    used = sum(len(text) for text, _ in row)
    notes = " · ".join(figure.remarks())
    if notes and width - used > 12:
        row.append((f"   {_cut(notes, width - used - 3)}", "italic"))
    return row


def _cut(text: str, width: int) -> str:
    """The text, shortened with an ellipsis where it is too long."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


@functools.cache
def _ascii_table() -> dict[int, str]:
    """ASCII stand-ins of the signs used in labels."""
    signs = {"·": "-", "…": "~", "×": "x", "–": "-", "−": "-", "•": "*", "≤": "<=", "≥": ">=", "²": "^2"}
    return str.maketrans(signs | LINES)


def _to_ascii(text: str) -> str:
    """The text in ASCII; a sign without stand-in becomes a question mark."""
    return text.translate(_ascii_table()).encode("ascii", "replace").decode("ascii")
