"""A forecast: a law asked beyond its data, with the way that leads there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.cli.plot.figure import Array, Band, Figure, Line, Mark, PointMarks
from isoflop.cli.plot.law_card import LawCard
from isoflop.cli.plot.law_figure import extent, floor_marks, numbers, seen_runs, target_axis
from isoflop.cli.plot.law_path import path_to
from isoflop.cli.plot.run_figures import identifier
from isoflop.lakehouse.errors import EmptySelection

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse


@dataclass(frozen=True)
class ShownForecast:
    """What a law says about one or several places.

    Parameters
    ----------
    statement : the EXTRAPOLATE that asked
    rows : one record a place: the inputs, `predicted_…`, lower, upper, level, interval, ratio, in_support
    notes : what the answer warns of
    figure : the fan from the data to the farthest place
    """

    law: LawCard
    statement: str
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    figure: Figure

    @property
    def farthest(self) -> dict[str, Any]:
        """The place that lies farthest beyond the data."""
        return max(self.rows, key=lambda row: distance(row) or 0.0)

    def sentence(self, row: Mapping[str, Any]) -> str:
        """Return one place in words: `loss 1.981 [1.952, 2.013], 31× beyond the data`."""
        predicted, lower, upper = (row.get(name) for name in (self.law.predicted, "lower", "upper"))
        words = f"{self.law.target} {_digits(predicted)}"
        if lower is not None and upper is not None:
            words += f"  [{_digits(lower)}, {_digits(upper)}]"
        return f"{words}  {beyond(row)}"


def distance(row: Mapping[str, Any]) -> float | None:
    """Return how many times beyond the largest training value the farthest input of a row is; None when unknown."""
    ratio = row.get("ratio")
    if isinstance(ratio, Mapping):
        known = [float(value) for value in ratio.values() if value is not None]
        return max(known) if known else None
    return None if ratio is None else float(ratio)


def beyond(row: Mapping[str, Any]) -> str:
    """Return a row's distance in words.

    Example
    -------
    >>> beyond({"ratio": 31.4, "in_support": False}), beyond({"ratio": 0.5, "in_support": True})
    ('31× beyond the data', 'inside the data')
    """
    ratio = distance(row)
    if "in_support" in row and row["in_support"] is None:
        return "no runs behind it"
    if row.get("in_support") or ratio is None:
        return "inside the data"
    if ratio < 1:
        return "below the data"
    return f"{ratio:.2g}× beyond the data" if ratio < 100 else f"{ratio:,.0f}× beyond the data"


def forecast(lake: Lakehouse, law: LawCard, targets: Mapping[str, str], *, level: float = 0.95) -> ShownForecast:
    """Ask a law about the places that the targets describe, and draw the way to the farthest.

    Parameters
    ----------
    targets : a SQL value for each input; it may be a list, or use an input named before it
    level : of the prediction interval

    Raises
    ------
    StatementError : if a value cannot be read
    EmptySelection : if the targets describe no place
    """
    assigned = ", ".join(f"{identifier(name)} = {value}" for name, value in targets.items())
    statement = f"EXTRAPOLATE {law.sql_name} TO {assigned} WITH (level = {level:g})"
    answer = lake.sql(statement)
    if not len(answer):
        raise EmptySelection("the targets describe no place", hint="give every input a value")
    seen_statement, seen = seen_runs(lake, law)
    places = numbers(answer, law)
    path = path_to(law, _farthest_place(law, places))
    at = path.positions(places)
    first, last = extent(path, path.positions(seen))
    low, high = min(first, float(np.nanmin(at))), max(last, float(np.nanmax(at)))
    fan_statement = path.statement(low / 1.5, high * 2, level)
    fan = numbers(lake.sql(fan_statement), law)
    along = path.positions(fan)
    runs = [] if law.is_given else [PointMarks(path.positions(seen), seen[law.target], law.row_word)]
    is_sure = bool(np.isfinite(fan["lower"]).any())
    marks: list[Mark] = [
        *runs,
        *([Band(along, fan["lower"], fan["upper"], f"{level:.0%} interval")] if is_sure or runs else []),
        Line(along, fan[law.predicted], law.name),
        PointMarks(at, places[law.predicted], "forecast", is_hollow=True),
        *floor_marks(law, float(np.nanmin(fan[law.predicted]))),
    ]
    shown = (seen[law.target], places[law.predicted], *(fan[name] for name in (law.predicted, "lower", "upper")))
    figure = Figure(
        f"{law.name} · {path.phrase}", path.axis, target_axis(law, *shown), tuple(marks),
        tuple(filter(None, (statement, fan_statement, seen_statement))), data_end=None if law.is_given else last,
    )  # fmt: skip
    result = ShownForecast(law, statement, tuple(answer.records()), answer.notes, figure)
    return replace(result, figure=replace(figure, notes=(result.sentence(result.farthest),)))


def _farthest_place(law: LawCard, places: Mapping[str, Array]) -> dict[str, float]:
    """The place whose inputs are largest, as their product goes."""
    names = law.compute or law.inputs[:1]
    largest = int(np.nanargmax(np.prod([places[name] for name in names], axis=0)))
    return {name: float(places[name][largest]) for name in law.inputs}


def _digits(value: float | None) -> str:
    """A loss to four digits, a missing one as a dash."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.4g}"
