"""What a picture shows, before anything decides how it is drawn.

A figure is two axes and a tuple of marks: points, lines, bands and one floor. It knows where the data end;
whoever draws it dashes the lines and shades the ground beyond that place. The terminal and matplotlib draw the
same record, so both show the same thing.

Color never carries meaning alone: a mark also has a shape (hollow, dashed, dithered) or a label beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.lakehouse.visible import visible_line

Array: TypeAlias = NDArray[np.float64]

PADDING = 0.04
"""Share of the range left free at each end of an axis."""

BAND_ROOM = 0.5
"""A band widens the vertical range by at most this share of what points and lines need."""


def floats(values: ArrayLike) -> Array:
    """Return the values as one float vector, missing ones as NaN."""
    return np.asarray(values, dtype=np.float64).reshape(-1)


@dataclass(frozen=True)
class Axis:
    """One axis: what it counts, in which unit, and how far it reaches.

    Parameters
    ----------
    label : what is measured, such as `loss`
    unit : such as `nat/token`; None for a plain number
    is_log : equal ratios take equal room
    low, high : ends of the axis in its unit; None lets the marks decide
    notation : `short` writes 1e9 as 1B, `power` always as 1e9
    """

    label: str
    unit: str | None = None
    is_log: bool = True
    low: float | None = None
    high: float | None = None
    notation: str = "short"

    @property
    def title(self) -> str:
        """Label and unit, as users write them: `loss [nat/token]`."""
        return self.label if self.unit is None else f"{self.label} [{self.unit}]"

    def forward(self, values: ArrayLike) -> Array:
        """Return the values on a straight scale: their decimal logarithm when the axis is logarithmic, else themselves.

        A value the axis cannot show (not finite, or not positive on a logarithmic axis) becomes NaN.
        """
        numbers = floats(values).copy()
        numbers[~np.isfinite(numbers)] = np.nan
        if self.is_log:
            numbers[~(numbers > 0)] = np.nan
            return np.log10(numbers)
        return numbers

    def backward(self, positions: ArrayLike) -> Array:
        """Undo `forward`."""
        numbers = floats(positions)
        return np.power(10.0, numbers) if self.is_log else numbers


@dataclass(frozen=True, eq=False)
class PointMarks:
    """Measured values, one dot each.

    Parameters
    ----------
    x, y : (R,) float arrays, in the units of the axes
    label : their name in the legend; empty to leave them out of it
    tone : place on the color scale, 0 to 1, of all of them or (R,) of each; None for the color of data
    is_hollow : drawn as rings: runs that the law has not seen
    """

    x: Array
    y: Array
    label: str
    tone: float | Array | None = None
    is_hollow: bool = False

    def by_tone(self, count: int) -> list[tuple[int | None, PointMarks]]:
        """Return the points in at most `count` groups of like tone, each with the number of its group."""
        if self.tone is None or isinstance(self.tone, float):
            return [(None if self.tone is None else min(count - 1, int(self.tone * count)), self)]
        groups = np.clip((self.tone * count).astype(int), 0, count - 1)
        return [
            (int(group), replace(self, x=self.x[groups == group], y=self.y[groups == group], tone=None))
            for group in np.unique(groups)
        ]


@dataclass(frozen=True, eq=False)
class Line:
    """A curve through ordered positions; it is interrupted where a value is missing.

    Parameters
    ----------
    x, y : (S,) float arrays, in the units of the axes
    label : its name in the legend, or beside its right end when it is thin
    tone : place on the color scale, 0 to 1; None for the color of laws
    is_thin : a line of the background, such as one model size among many
    """

    x: Array
    y: Array
    label: str
    tone: float | None = None
    is_thin: bool = False


@dataclass(frozen=True, eq=False)
class Band:
    """The room between two curves: an interval at every position.

    Parameters
    ----------
    x, lower, upper : (S,) float arrays, in the units of the axes
    label : its name in the legend, such as `95% prediction`
    """

    x: Array
    lower: Array
    upper: Array
    label: str


@dataclass(frozen=True)
class Floor:
    """A level that a curve approaches and never passes, such as the irreducible loss."""

    y: float
    label: str


@dataclass(frozen=True)
class ToneScale:
    """What the tones of a figure stand for: a quantity from tone 0 (`low`) to tone 1 (`high`), logarithmically."""

    name: str
    low: float
    high: float


Mark: TypeAlias = PointMarks | Line | Band | Floor
OneMark = TypeVar("OneMark", PointMarks, Line, Band, Floor)
Worded = TypeVar("Worded", Axis, Mark)


def _worded(part: Worded) -> Worded:
    """Return a mark or an axis with a label that can be shown."""
    label = visible_line(part.label)
    return part if label == part.label else replace(part, label=label)


@dataclass(frozen=True, eq=False)
class Figure:
    """A picture that is not drawn yet.

    Parameters
    ----------
    title : one line above the picture
    x, y : the two axes
    marks : what is drawn, from back to front within each kind
    statements : the statements that answered it, in the order they were asked
    notes : sentences for the reader, such as how many points were left out
    data_end : x beyond which nothing was measured; lines are dashed and the ground shaded from there on
    scale : what the tones of points and lines stand for

    What it says in words is made visible: names of runs and columns come from strangers.
    """

    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    statements: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    data_end: float | None = None
    scale: ToneScale | None = None

    def __post_init__(self) -> None:
        words: dict[str, object] = {
            "title": visible_line(self.title),
            "x": _worded(self.x),
            "y": _worded(self.y),
            "marks": tuple(_worded(mark) for mark in self.marks),
            "notes": tuple(map(visible_line, self.notes)),
            "scale": self.scale and replace(self.scale, name=visible_line(self.scale.name)),
        }
        for name, value in words.items():
            object.__setattr__(self, name, value)  # the record is frozen

    @property
    def statement(self) -> str:
        """Every statement that made the figure, ready to be run again."""
        return "\n".join(f"{text.rstrip().rstrip(';')};" for text in self.statements)

    def of(self, kind: type[OneMark]) -> list[OneMark]:
        """Return the marks of one kind, in order."""
        return [mark for mark in self.marks if isinstance(mark, kind)]

    def on_axes(self, *, is_log_x: bool | None = None, is_log_y: bool | None = None) -> Figure:
        """Return the figure on other scales; None keeps the scale of that axis."""
        x = self.x if is_log_x is None else replace(self.x, is_log=is_log_x)
        y = self.y if is_log_y is None else replace(self.y, is_log=is_log_y)
        return replace(self, x=x, y=y)

    def within(self, low: float, high: float) -> Figure:
        """Return the figure with a horizontal axis from `low` to `high`, in its unit."""
        return replace(self, x=replace(self.x, low=low, high=high))

    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return ((low, high), (low, high)) of both axes in their units, wide enough for every mark.

        The floor is part of the vertical range, and a band may widen it by half at most, so that an interval
        without bounds does not flatten the curve it belongs to.
        """
        across = [self.x.forward(mark.x) for mark in self.marks if not isinstance(mark, Floor)]
        if self.data_end is not None:
            across.append(self.x.forward([self.data_end]))
        upright = [self.y.forward(mark.y) for mark in self.marks if not isinstance(mark, Band)]
        bands = [
            self.y.forward(edge) for mark in self.marks if isinstance(mark, Band) for edge in (mark.lower, mark.upper)
        ]
        low, high = _extent(upright)
        room = BAND_ROOM * (high - low)
        band_low, band_high = _extent(bands, otherwise=(low, high))
        low, high = max(min(low, band_low), low - room), min(max(high, band_high), high + room)
        return _padded(self.x, *_extent(across)), _padded(self.y, low, high)

    def num_undrawn(self) -> int:
        """Return how many measured points no axis of this figure can show: missing, infinite, or not positive."""
        return sum(
            int(np.count_nonzero(~(np.isfinite(self.x.forward(mark.x)) & np.isfinite(self.y.forward(mark.y)))))
            for mark in self.of(PointMarks)
        )

    def remarks(self) -> tuple[str, ...]:
        """Return the notes, with one more when points could not be drawn."""
        missing = self.num_undrawn()
        total = sum(mark.x.size for mark in self.of(PointMarks))
        if not missing:
            return self.notes
        return (*self.notes, f"{missing:,} of {total:,} points cannot be drawn on these axes")


def split_at(line: Line, data_end: float | None) -> tuple[Line, Line | None]:
    """Return the part of a line inside the data and the part beyond them, which meet at `data_end`."""
    if data_end is None or not line.x.size or not np.any(line.x > data_end):
        return line, None
    if np.all(line.x > data_end):
        return replace(line, x=line.x[:0], y=line.y[:0]), line
    inside = line.x <= data_end
    joint = float(np.interp(data_end, line.x, line.y))
    before = replace(line, x=np.append(line.x[inside], data_end), y=np.append(line.y[inside], joint))
    beyond = replace(line, x=np.insert(line.x[~inside], 0, data_end), y=np.insert(line.y[~inside], 0, joint))
    return before, beyond


def tones(values: ArrayLike) -> Array:
    """Return each value's place between the smallest (0) and the largest (1) on a logarithmic scale; unknown is 0.

    Example
    -------
    >>> tones([1e6, 1e7, 1e8]).tolist()
    [0.0, 0.5, 1.0]
    """
    numbers = floats(values)
    positions = np.full_like(numbers, np.nan)
    is_known = np.isfinite(numbers) & (numbers > 0)
    positions[is_known] = np.log(numbers[is_known])
    if not is_known.any() or np.ptp(positions[is_known]) == 0:
        return np.zeros_like(numbers)
    low, high = np.nanmin(positions), np.nanmax(positions)
    return np.nan_to_num((positions - low) / (high - low))


def _extent(parts: list[Array], otherwise: tuple[float, float] = (0.0, 1.0)) -> tuple[float, float]:
    """Smallest and largest finite value of all parts."""
    known = np.concatenate([part[np.isfinite(part)] for part in parts]) if parts else np.empty(0)
    return (float(known.min()), float(known.max())) if known.size else otherwise


def _padded(axis: Axis, low: float, high: float) -> tuple[float, float]:
    """Ends of an axis in its unit: what a user set, else the extent with a little room around it."""
    if high - low < 1e-9 * max(1.0, abs(low)):
        low, high = (
            (low - 0.5, high + 0.5)
            if axis.is_log
            else (low - max(0.5, 0.1 * abs(low)), high + max(0.5, 0.1 * abs(high)))
        )
    room = PADDING * (high - low)
    first, last = (float(end) for end in axis.backward([low - room, high + room]))
    if axis.low is not None and not (axis.is_log and axis.low <= 0):
        first = axis.low
    if axis.high is not None and not (axis.is_log and axis.high <= 0):
        last = axis.high
    return (first, last) if last > first else (first, first + abs(first) or 1.0)
