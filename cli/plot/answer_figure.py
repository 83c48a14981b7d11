"""The figure of an answer: its law, or its first two columns of numbers against one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isoflop.cli.plot.figure import Axis, Band, Figure, Line, Mark, PointMarks, floats
from isoflop.lakehouse.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse import Answer, Lakehouse

LOG_FROM = 30.0  # largest over smallest value [1] from which an axis is logarithmic


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


def _numbers_figure(answer: Answer) -> Figure:
    import pyarrow.types as types

    table = answer.arrow()
    names = [
        field.name
        for field in table.schema
        if types.is_integer(field.type) or types.is_floating(field.type) or types.is_decimal(field.type)
    ]
    if len(names) < 2 or not table.num_rows:
        raise UsageError(
            f"the last answer has {len(names)} column{'s' * (len(names) != 1)} of numbers and {table.num_rows} rows",
            hint="a plot takes two columns, the first across",
        )
    predicted = next((name for name in names if name.startswith("predicted_")), None)
    across = names[0]
    upright = predicted if predicted is not None and predicted != across else names[1]
    columns = {
        name: floats([np.nan if value is None else float(value) for value in table.column(name).to_pylist()])
        for name in names
    }
    order = np.argsort(columns[across], kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    marks: list[Mark] = []
    if {"lower", "upper"} <= set(columns) and np.isfinite(columns["lower"]).any():
        marks.append(Band(columns[across], columns["lower"], columns["upper"], "interval"))
        marks.append(Line(columns[across], columns[upright], upright))
    marks.append(PointMarks(columns[across], columns[upright], upright))
    return Figure(
        f"{upright} over {across}",
        Axis(across, answer.units.get(across), is_log=_is_wide(columns[across])),
        Axis(upright, answer.units.get(upright), is_log=_is_wide(columns[upright])),
        tuple(marks),
        (answer.statement,),
    )


def _is_wide(values: np.ndarray) -> bool:
    """Return whether values span so much that only their logarithms can be told apart."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0 and known.max() / known.min() >= LOG_FROM)
