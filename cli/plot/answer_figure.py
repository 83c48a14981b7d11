"""The figure of an answer: its law, or its first column of numbers and the others.

The first column of numbers goes across. `lower` and `upper` are an interval, a column whose name begins with
`predicted` is a line, others are points; a column of text makes groups, each with its color where there are few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isoflop.cli.plot.figure import Array, Axis, Band, Figure, Line, Mark, PointMarks, floats
from isoflop.lakehouse.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse import Answer, Lakehouse

LOG_FROM = 30.0  # largest over smallest value [1] from which an axis is logarithmic
MOST_GROUPS = 12  # whose colors can be told apart
CURVE_FROM = 10  # points of a group, one at each place, that are drawn as a line


def answer_figure(lake: Lakehouse, answer: Answer | None) -> Figure:
    """Return the figure of an answer: of the saved law it is about, else of its numbers.

    Parameters
    ----------
    lake : where the law is
    answer : the answer; None when nothing was asked yet

    Raises
    ------
    UsageError : when there is nothing to draw
    """
    if answer is None:
        raise UsageError("nothing was asked yet", hint=".plot LAW draws a law, .plot RUN the curve of a run")
    law = _law_of(answer.arrow())
    if law is not None:
        from isoflop.cli.plot.law_card import read_law
        from isoflop.cli.plot.law_figure import law_figure

        return law_figure(lake, read_law(lake, law))
    return _numbers_figure(answer)


def _law_of(table: pa.Table) -> str | None:
    """Return the saved law that a fit was kept as."""
    if "law" not in table.column_names or "coefficients" not in table.column_names or table.num_rows != 1:
        return None
    name: str | None = table.column("law")[0].as_py()
    return name


@dataclass(frozen=True)
class _Group:
    """The rows of an answer that have one text: (R,) columns of numbers in the order of the first, and a color."""

    label: str
    columns: Mapping[str, Array]
    tone: float | None


def _numbers_figure(answer: Answer) -> Figure:
    """Return the first column of numbers across and the others upright, what has another text in another color."""
    table = answer.arrow()
    names, texts = _columns_of(table)
    if len(names) < 2 or not table.num_rows:
        raise UsageError(
            f"the answer has {len(names)} column{'s' * (len(names) != 1)} of numbers and {table.num_rows} rows",
            hint="a plot takes two columns, the first across",
        )
    across, *others = names
    predicted = [name for name in others if name.startswith("predicted")]
    if law_says := [name for name in predicted if name.startswith("predicted_")]:  # of a verb: the rest was asked
        measured, predicted = law_says[:1], law_says[:1] if {"lower", "upper"} <= set(others) else []
    else:
        measured = [name for name in others if name not in (*predicted, "lower", "upper")][: None if texts else 1]
    upright = (*measured, *predicted) or (others[0],)
    labels = _labels(table, texts)
    if (kinds := len(set(labels))) > MOST_GROUPS:  # names of runs, say; whose colors nobody could tell apart
        labels = [""] * len(labels)
    groups = _grouped(table, labels, names)
    marks = [mark for group in groups for mark in _marks(group, across, measured, predicted)]
    shown = [group.columns[name] for group in groups for name in upright]
    return Figure(
        f"{upright[0]} over {across}",
        Axis(across, answer.units.get(across), is_log=_is_wide(np.concatenate([g.columns[across] for g in groups]))),
        Axis(upright[0], answer.units.get(upright[0]), is_log=_is_wide(np.concatenate(shown))),
        tuple(marks),
        (answer.statement,),
        (f"{kinds} groups in one color; {MOST_GROUPS} can be told apart",) if kinds > MOST_GROUPS else (),
    )


def _columns_of(table: pa.Table) -> tuple[list[str], list[str]]:
    """Return the names of the columns of numbers and of those of text."""
    import pyarrow.types as types

    kinds = (types.is_integer, types.is_floating, types.is_decimal)
    numbers = [field.name for field in table.schema if any(is_kind(field.type) for is_kind in kinds)]
    return numbers, [field.name for field in table.schema if types.is_string(field.type)]


def _labels(table: pa.Table, texts: list[str]) -> list[str]:
    """Return the words of each row; rows without any belong together."""
    said = [["" if word is None else str(word) for word in table.column(name).to_pylist()] for name in texts]
    return [" ".join(filter(None, words)) for words in zip(*said, strict=True)] if said else [""] * table.num_rows


def _grouped(table: pa.Table, labels: list[str], names: list[str]) -> list[_Group]:
    columns = {
        name: floats([np.nan if value is None else float(value) for value in table.column(name).to_pylist()])
        for name in names
    }
    owners, kinds = np.asarray(labels, dtype=object), list(dict.fromkeys(labels))
    tones = np.linspace(0, 1, len(kinds)).tolist() if len(kinds) > 1 else [None]
    found = []
    for label, tone in zip(kinds, tones, strict=True):
        mine = np.flatnonzero(owners == label)
        order = mine[np.argsort(columns[names[0]][mine], kind="stable")]
        found.append(_Group(label, {name: values[order] for name, values in columns.items()}, tone))
    return found


def _marks(group: _Group, across: str, measured: list[str], predicted: list[str]) -> list[Mark]:
    """Return an interval, lines of what is predicted, and points of what is not; curves of several groups are lines."""
    x, columns = group.columns[across], group.columns
    marks: list[Mark] = []
    is_alone = group.tone is None
    if {"lower", "upper"} <= set(columns) and np.isfinite(columns["lower"]).any():
        marks.append(Band(x, columns["lower"], columns["upper"], "interval" if is_alone else ""))
    for name in predicted:
        is_named = is_alone or not measured
        marks.append(Line(x, columns[name], (group.label or name) if is_named else "", group.tone))
    is_curve = not is_alone and not predicted and len(x) >= CURVE_FROM and len(np.unique(x)) == len(x)
    for name in measured:
        label = name if is_alone else group.label if len(measured) == 1 else f"{group.label} {name}"
        if is_curve:
            marks.append(Line(x, columns[name], label, group.tone))
        else:
            marks.append(PointMarks(x, columns[name], label, group.tone))
    return marks


def _is_wide(values: np.ndarray) -> bool:
    """Return whether values span so much that only their logarithms can be told apart."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0 and known.max() / known.min() >= LOG_FROM)
