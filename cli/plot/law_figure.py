"""Pictures of a law: its runs, its curve with an interval, the ground beyond the data, and its residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.cli.plot.figure import Array, Axis, Band, Figure, Floor, Line, Mark, Points, ToneScale, floats, tones
from isoflop.cli.plot.law_card import LawCard
from isoflop.cli.plot.law_path import COMPUTE, Path, choose_path
from isoflop.cli.plot.run_figures import number
from isoflop.cli.plot.ticks import write_number
from isoflop.lakehouse.errors import EmptySelection, StatementError
from isoflop.lakehouse.units import UNITS

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer, Lakehouse

BEYOND = 30.0
"""A picture goes this many times beyond the largest run unless told otherwise."""

NEAREST_FLOOR = 0.4
"""A floor below this share of the lowest prediction is left out of the picture."""

NUM_SIZES = 6
NUM_SIZE_PLACES = 40


def law_figure(
    lake: Lakehouse,
    law: LawCard,
    *,
    x: str | None = None,
    to: float | None = None,
    level: float | None = 0.95,
    held_out: str | None = None,
) -> Figure:
    """Return the picture of a fitted law.

    Parameters
    ----------
    x : the horizontal axis: an input, or `flops` for a law of params and tokens
    to : how far the axis goes, in its unit; 30 times the largest run by default
    level : of the prediction interval; None leaves the band out
    held_out : SQL condition for runs that the law has not seen; they are drawn hollow

    Raises
    ------
    UsageError : if the law cannot be drawn over `x`
    EmptySelection : if the law has no runs to show
    """
    seen_statement = f"RESIDUALS {law.name}"
    rows = numbers(lake.sql(seen_statement), law)
    path = choose_path(law, rows, x)
    across = path.positions(rows)
    if not np.any(np.isfinite(across)):
        raise EmptySelection(f"law '{law.name}' has no runs with a known {path.column}")
    first, last = float(np.nanmin(across)), float(np.nanmax(across))
    path, statement, answer = _ask_along(lake, law, rows, path, first / 1.5, max(to or BEYOND * last, 1.01 * last), level or 0.95)
    curve = numbers(answer, law)

    marks: list[Mark] = [Points(across, rows[law.target], "runs", tone=_tone_by_size(rows, path))]
    statements = [statement, seen_statement]
    if path.column == COMPUTE and COMPUTE not in law.inputs:
        size_statement, lines = _size_lines(lake, law, rows, first, last)
        statements.append(size_statement)
        marks.extend(lines)
    places = path.positions(curve)
    order = np.argsort(places)
    if level is not None:
        marks.append(Band(places[order], curve["lower"][order], curve["upper"][order], f"{level:.0%} interval"))
    marks.append(Line(places[order], curve[f"predicted_{law.target}"][order], law.name))
    if held_out:
        unseen_statement, points = _held_out(lake, law, path, held_out)
        statements.append(unseen_statement)
        marks.append(points)
    marks.extend(floor_marks(law, float(np.nanmin(curve[f"predicted_{law.target}"]))))
    notes = () if law.is_converged else (f"the fit is {law.status.replace('_', ' ')}",)
    is_toned = "params" in rows and path.column != "params" and np.nanmin(rows["params"]) < np.nanmax(rows["params"])
    scale = ToneScale("params", float(np.nanmin(rows["params"])), float(np.nanmax(rows["params"]))) if is_toned else None
    return Figure(
        f"{law.name} · {path.phrase}", path.axis, target_axis(law.target), tuple(marks), tuple(statements), notes,
        data_end=last, scale=scale,
    )  # fmt: skip


def residual_figure(lake: Lakehouse, law: LawCard, *, x: str | None = None) -> Figure:
    """Return what the law leaves unexplained of each run, over the same horizontal axis as its picture."""
    statement = f"RESIDUALS {law.name}"
    rows = numbers(lake.sql(statement), law)
    path = choose_path(law, rows, x)
    across, residual = path.positions(rows), rows["residual"]
    if not np.any(np.isfinite(across) & np.isfinite(residual)):
        raise EmptySelection(f"law '{law.name}' has no residuals to show")
    edge = float(np.nanmax(np.abs(residual))) * 1.15 or 1e-3
    ends = np.array([np.nanmin(across), np.nanmax(across)])
    marks: tuple[Mark, ...] = (
        Line(ends, np.zeros(2), "", is_thin=True),
        Points(across, residual, "observed against predicted", tone=_tone_by_size(rows, path)),
    )
    y = Axis("residual", "log", is_log=False, low=-edge, high=edge)
    return Figure(f"{law.name} · residuals", path.axis, y, marks, (statement,))


def floor_marks(law: LawCard, lowest: float) -> list[Mark]:
    """Return the law's floor, unless it lies so far below the curve's lowest point that it would flatten it."""
    floor = law.floor
    if floor is None or floor.estimate < NEAREST_FLOOR * lowest:
        return []
    return [Floor(floor.estimate, f"{floor.name} = {floor.estimate:.4g}")]


def numbers(answer: Answer, law: LawCard) -> dict[str, Array]:
    """Return the columns of an answer that pictures need, as floats; missing values are NaN."""
    wanted = {*law.inputs, law.target, f"predicted_{law.target}", "params", "tokens", COMPUTE, "residual", "lower", "upper"}
    table: Any = answer.table
    return {name: floats(table.column(name).to_pylist()) for name in table.column_names if name in wanted}


def target_axis(target: str) -> Axis:
    """Return the vertical axis of what a law predicts."""
    return Axis(target, UNITS.get(target, "nat/token" if "loss" in target else None))


def _ask_along(
    lake: Lakehouse, law: LawCard, rows: dict[str, Array], path: Path, low: float, high: float, level: float
) -> tuple[Path, str, Answer]:
    """Ask the law along the path; where it has no macro to find the best sizes with, follow the runs instead."""
    import duckdb

    statement = path.statement(law.name, low, high, level)
    try:
        return path, statement, lake.sql(statement)
    except (StatementError, duckdb.Error):
        if path.column != COMPUTE or COMPUTE in law.inputs:
            raise
    path = choose_path(law, rows, COMPUTE, is_optimal=False)
    statement = path.statement(law.name, low, high, level)
    return path, statement, lake.sql(statement)


def _size_lines(lake: Lakehouse, law: LawCard, rows: dict[str, Array], first: float, last: float) -> tuple[str, list[Mark]]:
    """The law of a few model sizes over compute, each as far as losses like the observed ones reach."""
    low, high = law.support["params"]
    sizes = np.geomspace(low, high, NUM_SIZES)
    step = (np.log10(last) - np.log10(first)) / (NUM_SIZE_PLACES - 1)
    listed = ", ".join(number(size) for size in sizes)
    others = [name for name in law.inputs if name not in ("params", "tokens")]
    held = "".join(f", {number(float(np.nanmedian(rows[name])))} AS {name}" for name in others)
    statement = (
        f"EXTRAPOLATE {law.name} TO (\n"
        f"    SELECT params, 10 ** ({number(float(np.log10(first)))} + {number(float(step))} * i) / (6 * params) AS tokens{held}\n"
        f"    FROM range({NUM_SIZE_PLACES}) t(i), (SELECT unnest([{listed}]) AS params)\n"
        f"    ORDER BY params, i\n)"
    )
    answer = numbers(lake.sql(statement), law)
    compute, loss = 6 * answer["params"] * answer["tokens"], answer[f"predicted_{law.target}"]
    highest = 1.02 * float(np.nanmax(rows[law.target]))
    lines: list[Mark] = []
    for size, tone in zip(sizes, tones(sizes).tolist(), strict=True):
        mine = np.isclose(answer["params"], size, rtol=1e-4) & (loss <= highest)
        order = np.argsort(compute[mine])
        lines.append(Line(compute[mine][order], loss[mine][order], write_number(size, digits=2), tone, is_thin=True))
    return statement, lines


def _held_out(lake: Lakehouse, law: LawCard, path: Path, condition: str) -> tuple[str, Points]:
    """Runs that satisfy a condition and that the law has not seen, as rings."""
    columns = dict.fromkeys([*law.inputs, law.target, *(["params", "tokens"] if path.column == COMPUTE else [])])
    statement = f"SELECT {', '.join(columns)} FROM runs WHERE ({condition}) AND {law.target} IS NOT NULL"
    rows = numbers(lake.sql(statement), law)
    return statement, Points(path.positions(rows), rows[law.target], "held out", is_hollow=True)


def _tone_by_size(rows: dict[str, Array], path: Path) -> Array | None:
    """Place of each run on the scale of sizes, where the axis does not show the size already."""
    if "params" not in rows or path.column == "params" or np.ptp(rows["params"]) == 0:
        return None
    return tones(rows["params"])
