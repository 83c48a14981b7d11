"""Draws a figure as a part of a page: an SVG that takes the page's colors, with its axes as text beside it.

The plane is stretched to the width there is while strokes and letters keep their size, so that one drawing is read on
a phone, a wide screen and paper. It is whole without a script; page.js adds values under the pointer or the arrow
keys, and zoom, from the numbers that go with it. A library would do the same for a megabyte, draw nothing without a
script, and know neither the page's dark colors nor a keyboard.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np

from isoflop.cli.plot.figure import Array, Axis, Band, Figure, Floor, Line, PointMarks, split_at
from isoflop.cli.plot.ticks import ticks, write_number

SIDE = 1000.0  # of the plane, in its own unit: strokes are in pixels whatever it is stretched to
FAR = 20.0  # sides beyond the plane at which a line is cut off, as browsers draw in single precision
NUM_TONES = 6  # colors of the scale, small to large; page.css has them
MOST_TICKS = 7  # of an axis; a narrow page shows every other one across
MOST_DOTS = 4_000  # of one kind: a page keeps each of them twice, as a dot and as the numbers under the pointer
DIGITS = 7  # significant digits of a number that goes with a drawing


def drawing(figure: Figure, anchor: str) -> str:
    """Return a figure as HTML.

    Parameters
    ----------
    anchor : unique on the page
    """
    figure = thinned(figure)
    (x_low, x_high), (y_low, y_high) = figure.limits()
    plane = _Plane(figure, (x_low, x_high), (y_low, y_high))
    words = f"{figure.title}: {figure.y.title} over {figure.x.title}"
    parts = [
        f'<div class="plot" id="{anchor}" role="group" tabindex="0" aria-label="{escape(words)}">',
        f'<div class="yname">{escape(figure.y.title)}</div>',
        '<div class="plane">',
        f'<svg viewBox="0 0 {SIDE:g} {SIDE:g}" preserveAspectRatio="none" role="img" aria-label="{escape(words)}">',
        f'<g class="marks">{"".join(plane.marks())}</g></svg>',
        *plane.scale_ticks(),
        *plane.labels(),
        "</div>",
        f'<div class="xname">{escape(figure.x.title)}</div>',
        _legend(figure),
        '<p class="readout" aria-live="polite"></p>',
        f'<script type="application/json">{_data(figure, (x_low, x_high), (y_low, y_high))}</script>',
        "</div>",
    ]
    parts += [f'<p class="remark">{escape(remark)}</p>' for remark in figure.remarks()]
    return "\n".join(parts)


def thinned(figure: Figure) -> Figure:
    """Return a figure with no more dots of a kind than can be told apart, and a note that says how many are left out.

    Example
    -------
    >>> from isoflop.cli.plot.figure import floats
    >>> many = PointMarks(floats(range(1, 10_001)), floats(range(1, 10_001)), "runs")
    >>> few = thinned(Figure("t", Axis("x"), Axis("y"), (many,)))
    >>> few.of(PointMarks)[0].x.size, few.notes
    (3334, ('3,334 of 10,000 runs drawn, one in 3',))
    """
    marks, notes = list(figure.marks), list(figure.notes)
    for place, mark in enumerate(marks):
        if not isinstance(mark, PointMarks) or mark.x.size <= MOST_DOTS:
            continue
        stride = -(-mark.x.size // MOST_DOTS)
        tone = mark.tone if mark.tone is None or isinstance(mark.tone, float) else mark.tone[::stride]
        few = replace(mark, x=mark.x[::stride], y=mark.y[::stride], tone=tone)
        notes.append(f"{few.x.size:,} of {mark.x.size:,} {mark.label or 'points'} drawn, one in {stride}")
        marks[place] = few
    return replace(figure, marks=tuple(marks), notes=tuple(notes))


class _Plane:
    """Where the values of a figure lie on the plane, and its marks as SVG."""

    def __init__(self, figure: Figure, across: tuple[float, float], upright: tuple[float, float]) -> None:
        self._figure, self._across, self._upright = figure, across, upright

    def x(self, values: Any) -> Array:
        """Return places from 0, left, to 1, right."""
        return _share(self._figure.x, self._across, values)

    def y(self, values: Any) -> Array:
        """Return places from 0, at the bottom, to 1, at the top."""
        return _share(self._figure.y, self._upright, values)

    def marks(self) -> list[str]:
        """Return the marks from back to front."""
        figure, found = self._figure, []
        if figure.data_end is not None:
            end = SIDE * float(self.x([figure.data_end])[0])
            if 0 <= end <= SIDE:
                far = f"{-FAR * SIDE:g}"
                found.append(f'<path class="ground" d="M{end:.2f} {far}H{FAR * SIDE:g}V{FAR * SIDE:g}H{end:.2f}Z"/>')
                found.append(f'<path class="edge" d="M{end:.2f} {far}V{FAR * SIDE:g}"/>')
        for band in figure.of(Band):
            found += [f'<path class="band" d="{area}"/>' for area in self._areas(band)]
        for floor in figure.of(Floor):
            level = SIDE * (1 - float(self.y([floor.y])[0]))
            found.append(f'<path class="floor" d="M{-FAR * SIDE:g} {level:.2f}H{FAR * SIDE:g}"/>')
        for line in sorted(figure.of(Line), key=lambda line: not line.is_thin):
            before, beyond = split_at(line, figure.data_end)
            kind = f"line{' thin' * line.is_thin}{_tone(line.tone)}"
            found.append(f'<path class="{kind}" d="{self._route(before.x, before.y)}"/>')
            if beyond is not None:
                found.append(f'<path class="{kind} beyond" d="{self._route(beyond.x, beyond.y)}"/>')
        for points in figure.of(PointMarks):
            for group, mine in points.by_tone(NUM_TONES):
                dots = self._dots(mine.x, mine.y)
                if points.is_hollow:
                    found += [f'<path class="dots ring" d="{dots}"/>', f'<path class="dots hole" d="{dots}"/>']
                else:
                    found.append(f'<path class="dots{"" if group is None else f" t{group}"}" d="{dots}"/>')
        return found

    def scale_ticks(self) -> list[str]:
        """Return the marked places of both axes."""
        found = []
        for name, axis, (low, high), share in (
            ("x", self._figure.x, self._across, self.x), ("y", self._figure.y, self._upright, self.y)
        ):  # fmt: skip
            for number, tick in enumerate(
                ticks(low, high, is_log=axis.is_log, most=MOST_TICKS, notation=axis.notation)
            ):
                place, side = 100 * float(share([tick.value])[0]), "left" if name == "x" else "bottom"
                minor = " minor" if number % 2 else ""
                found.append(
                    f'<span class="tick {name}{minor}" style="{side}:{place:.2f}%"><b>{_power(tick.label)}</b></span>'
                )
        return found

    def labels(self) -> list[str]:
        """Return the words on the plane: where the data end, the floor, the names of thin lines."""
        figure, found = self._figure, []
        if figure.data_end is not None:
            found.append(_label("end", float(self.x([figure.data_end])[0]), 1.0, "data end here"))
        for floor in figure.of(Floor):
            found.append(_label("level", 0.0, float(self.y([floor.y])[0]), floor.label))
        taken: list[tuple[float, float]] = []
        for line in figure.of(Line):
            x, y = self.x(line.x), self.y(line.y)
            seen = np.flatnonzero((x >= 0) & (x <= 1) & (y >= 0) & (y <= 1))
            if not (line.is_thin and line.label and seen.size):
                continue
            place = float(x[seen[-1]]), float(y[seen[-1]])
            if any(abs(place[0] - other[0]) < 0.08 and abs(place[1] - other[1]) < 0.06 for other in taken):
                continue  # one would cover the other
            taken.append(place)
            found.append(_label("name", *place, line.label))
        return found

    def _route(self, across: Array, upright: Array) -> str:
        """Return a path through positions, interrupted where one is missing."""
        return "".join(
            f"M{'L'.join(f'{x:.2f} {y:.2f}' for x, y in piece)}" for piece in _pieces(*self._places(across, upright))
        )

    def _areas(self, band: Band) -> list[str]:
        x, lower = self._places(band.x, band.lower)
        _, upper = self._places(band.x, band.upper)
        found = []
        for piece in _pieces(x, lower, upper):
            way = [f"{at:.2f} {low:.2f}" for at, low, _ in piece]
            back = [f"{at:.2f} {high:.2f}" for at, _, high in reversed(piece)]
            found.append(f"M{'L'.join(way + back)}Z")
        return found

    def _dots(self, across: Array, upright: Array) -> str:
        """Return a path of no length at every position: its round ends are the dot, of one size in pixels."""
        return "".join(f"M{x:.2f} {y:.2f}h0" for piece in _pieces(*self._places(across, upright)) for x, y in piece)

    def _places(self, across: Array, upright: Array) -> tuple[Array, Array]:
        ends = -FAR * SIDE, FAR * SIDE
        return np.clip(SIDE * self.x(across), *ends), np.clip(SIDE * (1 - self.y(upright)), *ends)


def _share(axis: Axis, ends: tuple[float, float], values: Any) -> Array:
    first, last = axis.forward(ends)
    share: Array = (axis.forward(values) - first) / (last - first)
    return share


def _pieces(*columns: Array) -> list[list[tuple[float, ...]]]:
    """Return the rows without a missing value, in runs of neighbors."""
    pieces: list[list[tuple[float, ...]]] = [[]]
    for row in zip(*(column.tolist() for column in columns), strict=True):
        if all(map(np.isfinite, row)):
            pieces[-1].append(row)
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _tone(tone: float | None) -> str:
    return "" if tone is None else f" t{min(NUM_TONES - 1, int(tone * NUM_TONES))}"


def _label(kind: str, x: float, y: float, text: str) -> str:
    return (
        f'<span class="label {kind}" data-x="{x:.4f}" data-y="{y:.4f}" style="left:{100 * x:.2f}%;'
        f'bottom:{100 * y:.2f}%">{escape(text)}</span>'
    )


def _power(label: str) -> str:
    """Return the label of a tick, `1e21` with a raised exponent."""
    factor, is_power, exponent = label.partition("e")
    if not is_power or not exponent.lstrip("-").isdigit():
        return escape(label)
    return f"{'' if factor == '1' else f'{escape(factor)}·'}10<sup>{exponent}</sup>"


def _legend(figure: Figure) -> str:
    items = []
    for points in figure.of(PointMarks):
        kind = "ring" if points.is_hollow else "dot" if points.tone is None else "dot toned"
        items += [(kind, points.label)] if points.label else []
    items += [(f"stroke{_tone(line.tone)}", line.label) for line in figure.of(Line) if line.label and not line.is_thin]
    items += [("area", band.label) for band in figure.of(Band)]
    words = [f'<li><i class="key {kind}"></i>{escape(label)}</li>' for kind, label in items]
    if figure.scale is not None:
        scale = figure.scale
        shades = "".join(f'<i class="key dot t{tone}"></i>' for tone in range(NUM_TONES))
        ends = f"{escape(scale.name)} {write_number(scale.low)} {shades} {write_number(scale.high)}"
        words.append(f"<li>{ends}</li>")
    return f'<ul class="legend">{"".join(words)}</ul>' if words else ""


def _data(figure: Figure, across: tuple[float, float], upright: tuple[float, float]) -> str:
    """Return the numbers of a figure as JSON that no HTML can end: axes, and a series for each mark with values."""
    series: list[dict[str, Any]] = []
    bands = figure.of(Band)
    marks: list[PointMarks | Line] = [*figure.of(PointMarks), *figure.of(Line)]
    for mark in marks:
        if isinstance(mark, Line) and not mark.label and mark.is_thin and mark.tone is None:
            continue  # a line to compare with, which has no values of its own
        found: dict[str, Any] = {"label": mark.label, "x": _numbers(mark.x), "y": _numbers(mark.y)}
        found["dots"] = isinstance(mark, PointMarks)
        band = next((each for each in bands if isinstance(mark, Line) and not mark.is_thin
                     and each.x.shape == mark.x.shape and np.array_equal(each.x, mark.x)
                     and (len(bands) == 1 or each.label.endswith(mark.label))), None)  # fmt: skip
        if band is not None:
            found |= {"lower": _numbers(band.lower), "upper": _numbers(band.upper)}
        series.append(found)
    axes = {
        name: {"label": axis.label, "unit": axis.unit or "", "log": axis.is_log, "power": axis.notation == "power",
               "low": ends[0], "high": ends[1]}
        for name, axis, ends in (("x", figure.x, across), ("y", figure.y, upright))
    }  # fmt: skip
    text = json.dumps({**axes, "series": series}, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _numbers(values: Array) -> Sequence[float | None]:
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values.tolist()]
