"""Draws a figure with matplotlib and writes it as SVG, PNG or PDF.

The same figure gives the same bytes: no date, fixed identifiers, text as outlines of the font that ships with
matplotlib. No global state of pyplot is touched, so a thread may draw while another one does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.cli.plot.figure import Axis, Band, Figure, Floor, Line, PointMarks, split_at
from isoflop.cli.plot.labels import beside, spread
from isoflop.cli.plot.ticks import ticks
from isoflop.lakehouse.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure as Sheet

POWER = re.compile(r"([0-9.]+)e([+-]?[0-9]+)")
SUFFIXES = (".svg", ".png", ".pdf")

INK = "#1f2933"
FAINT = "#7b8794"
DATA = "#c77700"
HELD_OUT = "#c2327c"
LAW = "#0b5d7a"
FLOOR = "#7a4fb5"
GROUND = "#f4f6f8"

LABEL_HEIGHT, LABEL_WIDTH = 0.034, 0.07
"""Shares of the plot's height and width that the name of a line takes, with the room around it."""

SETTINGS: Any = {
    "svg.hashsalt": "isoflop",
    "svg.fonttype": "path",
    "pdf.compression": 6,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "text.color": INK,
    "legend.frameon": False,
    "savefig.facecolor": "white",
}


def save(figure: Figure, path: str | Path, *, width: float = 8.0, height: float = 4.8, dpi: int = 160) -> Path:
    """Write the figure to a file and return its path; the suffix says which kind of file.

    Parameters
    ----------
    figure : what to show
    path : ends in `.svg`, `.png` or `.pdf`
    width, height : size [inch]
    dpi : dots per inch of a PNG

    Raises
    ------
    UsageError : if the suffix is another one, or the folder does not exist
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"cannot write a picture to '{path}'", hint=f"end its name in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise UsageError(f"folder '{path.parent}' does not exist", hint="create it first")
    import matplotlib

    date = {".svg": {"Date": None}, ".pdf": {"CreationDate": None, "ModDate": None}, ".png": {}}[path.suffix.lower()]
    with matplotlib.rc_context(SETTINGS):
        sheet = compose(figure, width=width, height=height)
        sheet.savefig(path, dpi=dpi, metadata={"Title": figure.title, **date})
    return path


def compose(figure: Figure, *, width: float, height: float) -> Sheet:
    """Return the figure as a matplotlib figure of the size given in inches; its look comes from `SETTINGS`."""
    from matplotlib.figure import Figure as Sheet

    sheet = Sheet(figsize=(width, height), layout="constrained")
    axes = sheet.add_subplot()
    (x_low, x_high), (y_low, y_high) = figure.limits()
    _set_axis(axes, figure.x, x_low, x_high, is_upright=False, most=max(3, int(width)))
    _set_axis(axes, figure.y, y_low, y_high, is_upright=True, most=max(3, int(1.6 * height)))
    if figure.data_end is not None and x_low < figure.data_end < x_high:
        low, end, high = figure.x.forward([x_low, figure.data_end, x_high])
        _mark_data_end(axes, figure.data_end, x_high, is_far_right=bool(end > low + 0.6 * (high - low)))
    colors = _colors()
    for band in figure.of(Band):
        lower, upper = np.clip(band.lower, y_low / 2, None), np.clip(band.upper, None, 2 * y_high)
        axes.fill_between(
            band.x, lower, upper, color=LAW, alpha=0.16, linewidth=0, label=_mathtext(band.label), zorder=2
        )
    for floor in figure.of(Floor):
        _mark_floor(axes, floor, y_low, y_high)
    for line in figure.of(Line):
        _draw_line(axes, line, figure.data_end, colors)
    for points in figure.of(PointMarks):
        _draw_points(axes, points, colors)
    _label_thin_lines(axes, figure, colors)
    _finish(sheet, axes, figure, colors)
    return sheet


def _set_axis(axes: Axes, axis: Axis, low: float, high: float, *, is_upright: bool, most: int) -> None:
    """Scale, range, marks and label of one axis."""
    from matplotlib.ticker import FixedLocator, NullLocator

    marked = ticks(low, high, is_log=axis.is_log, most=most, notation=axis.notation)
    target = axes.yaxis if is_upright else axes.xaxis
    (axes.set_yscale if is_upright else axes.set_xscale)("log" if axis.is_log else "linear")
    (axes.set_ylim if is_upright else axes.set_xlim)(low, high)
    target.set_major_locator(FixedLocator([tick.value for tick in marked]))
    target.set_minor_locator(NullLocator())
    target.set_ticklabels([_mathtext(tick.label) for tick in marked])
    (axes.set_ylabel if is_upright else axes.set_xlabel)(axis.title)
    axes.grid(axis="y" if is_upright else "x", color="#e4e7eb", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)


def _mathtext(label: str) -> str:
    """A label as matplotlib reads it: `1e21` with a raised exponent, a dollar sign as itself."""
    power = POWER.fullmatch(label)
    if power is None:
        return label.replace("$", r"\$")
    factor = "" if power[1] == "1" else rf"{power[1]}\times"
    return rf"${factor}10^{{{int(power[2])}}}$"


def _mark_data_end(axes: Axes, data_end: float, x_high: float, *, is_far_right: bool) -> None:
    """Shade the ground beyond the data and name the place where it begins, on the side where the legend is not."""
    axes.axvspan(data_end, x_high, color=GROUND, zorder=0.5)
    axes.axvline(data_end, color=FAINT, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        "data end here", (data_end, 0.985), xycoords=("data", "axes fraction"), xytext=(-5 if is_far_right else 5, 0),
        textcoords="offset points", color=FAINT, fontsize=8.5, va="top", ha="right" if is_far_right else "left",
    )  # fmt: skip


def _mark_floor(axes: Axes, floor: Floor, y_low: float, y_high: float) -> None:
    """A dotted level with its name above it."""
    if not y_low <= floor.y <= y_high:
        return
    axes.axhline(floor.y, color=FLOOR, linewidth=1.0, linestyle=(0, (1, 2.2)), zorder=2)
    axes.annotate(
        _mathtext(floor.label), (0.008, floor.y), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", color=FLOOR, fontsize=8.5, va="bottom",
    )  # fmt: skip


def _draw_line(axes: Axes, line: Line, data_end: float | None, colors: Colormap) -> None:
    """A line whole inside the data and dashed beyond them."""
    color = LAW if line.tone is None else colors(line.tone)
    weight, depth = (0.9, 2.5) if line.is_thin else (2.0, 4.0)
    alpha = 0.75 if line.is_thin else 1.0
    before, beyond = split_at(line, data_end)
    label = "" if line.is_thin else line.label
    axes.plot(
        before.x, before.y, color=color, linewidth=weight, alpha=alpha, label=_mathtext(label) or None, zorder=depth
    )
    if beyond is not None:
        axes.plot(beyond.x, beyond.y, color=color, linewidth=weight, alpha=alpha, linestyle=(0, (4, 2)), zorder=depth)


def _draw_points(axes: Axes, points: PointMarks, colors: Colormap) -> None:
    """Filled dots for data, rings for runs that the law has not seen."""
    if points.is_hollow:
        axes.scatter(
            points.x, points.y, s=34, facecolors="white", edgecolors=HELD_OUT, linewidths=1.5,
            label=_mathtext(points.label) or None, zorder=6,
        )  # fmt: skip
        return
    color = DATA if points.tone is None else colors(np.broadcast_to(points.tone, points.x.shape))
    size = 14 if points.x.size > 150 else 22
    axes.scatter(points.x, points.y, s=size, c=color, edgecolors="white", linewidths=0.35, zorder=5)
    if points.label:
        legend_color = DATA if points.tone is None else FAINT if np.ndim(points.tone) else colors(points.tone)
        axes.scatter(
            [], [], s=22, color=legend_color, edgecolors="white", linewidths=0.35, label=_mathtext(points.label)
        )


def _label_thin_lines(axes: Axes, figure: Figure, colors: Colormap) -> None:
    """Write the name of each thin line beside its last visible position, apart from the names beside it."""
    from matplotlib.patheffects import withStroke

    rim = withStroke(linewidth=2.0, foreground="white")  # [point] so that a name is read over a line
    (x_low, x_high), (y_low, y_high) = figure.limits()
    (left, right), (first, last) = figure.x.forward([x_low, x_high]), figure.y.forward([y_low, y_high])
    ends: list[tuple[Line, float, float]] = []  # each with the share of the plot's width and height where it ends
    for line in figure.of(Line):
        seen = np.flatnonzero((line.x >= x_low) & (line.x <= x_high) & (line.y >= y_low) & (line.y <= y_high))
        if line.is_thin and line.label and seen.size:
            across = float((figure.x.forward(line.x[seen[-1:]])[0] - left) / (right - left))
            ends.append((line, across, float((figure.y.forward(line.y[seen[-1:]])[0] - first) / (last - first))))
    for column in beside([across for _, across, _ in ends], LABEL_WIDTH):
        heights = spread([ends[number][2] for number in column], LABEL_HEIGHT, 0.0, 1.0 - LABEL_HEIGHT)
        for number, height in zip(column, heights, strict=True):
            line, across, _ = ends[number]
            axes.annotate(
                _mathtext(line.label), (across, height), xycoords="axes fraction", xytext=(4, 0),
                textcoords="offset points", color=FAINT if line.tone is None else colors(line.tone), fontsize=8,
                va="center", zorder=7, path_effects=[rim],
            )  # fmt: skip


def _finish(sheet: Sheet, axes: Axes, figure: Figure, colors: Colormap) -> None:
    """Title, legend, the scale of tones and the notes."""
    axes.set_title(_mathtext(figure.title), loc="left", fontsize=11, fontweight="bold", pad=10)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper right", fontsize=8.5, handlelength=1.8)
    if figure.scale is not None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import LogNorm

        shades = ScalarMappable(LogNorm(figure.scale.low, figure.scale.high), colors)
        bar = sheet.colorbar(shades, ax=axes, pad=0.015, aspect=36, shrink=0.94)
        marked = ticks(figure.scale.low, figure.scale.high, is_log=True, most=6)
        bar.set_ticks([tick.value for tick in marked], labels=[_mathtext(tick.label) for tick in marked])
        bar.ax.minorticks_off()
        bar.set_label(figure.scale.name)
        bar.outline.set_visible(False)
    if figure.remarks():
        sheet.supxlabel(_mathtext(" · ".join(figure.remarks())), x=0.01, ha="left", fontsize=7.5, color=FAINT)


def _colors() -> Colormap:
    """The scale of tones, small to large: dark to light, without the palest end."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.02, 0.9, 256)))
