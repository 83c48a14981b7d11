"""Pictures of a law: its runs, its curve with an interval, the ground beyond the data, and its residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.cli.plot.figure import Array, Axis, Band, Figure, Floor, Line, Mark, PointMarks, ToneScale, floats, tones
from isoflop.cli.plot.law_card import LawCard
from isoflop.cli.plot.law_path import COMPUTE, Path, choose_path, held_inputs, middles
from isoflop.cli.plot.run_figures import identifier, number
from isoflop.cli.plot.ticks import write_number
from isoflop.lakehouse.errors import EmptySelection, StatementError

if TYPE_CHECKING:
    from isoflop.lakehouse import Answer, Lakehouse

BEYOND = 30.0
"""A picture goes this many times beyond the largest run unless told otherwise."""

SHOWN = ("lower", "upper")  # columns of a curve that decide on its axis beside rows and predictions
ROUNDING = 1e-9  # of the lowest prediction [1] by which a floor may lie above it
NEAREST_FLOOR = 0.4
"""A floor below this share of the lowest prediction is left out of the picture."""

NO_RUNS = "its coefficients are given: there are no runs behind it"

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
    seen_statement, rows = seen_runs(lake, law)
    path = choose_path(law, rows, x)
    across = path.positions(rows)
    first, last = extent(path, across)
    path, statement, answer = _ask_along(
        lake,
        rows,
        path,
        first / 1.5,
        (to or last) if law.is_given else max(to or BEYOND * last, 1.01 * last),
        level or 0.95,
    )
    curve = numbers(answer, law)
    places, predicted = path.positions(curve), curve[law.predicted]
    order = np.argsort(places)

    tone, scale = _by_size(path, rows)
    marks: list[Mark] = [] if law.is_given else [PointMarks(across, rows[law.target], law.row_word, tone=tone)]
    statements = [statement] if law.is_given else [statement, seen_statement]
    if path.is_compute and not law.is_given:
        size_statement, lines = _size_lines(lake, law, rows, first, last)
        statements.append(size_statement)
        marks.extend(lines)
    if level is not None and np.isfinite(curve["lower"]).any():
        marks.append(Band(places[order], curve["lower"][order], curve["upper"][order], f"{level:.0%} interval"))
    marks.append(Line(places[order], predicted[order], law.name))
    notes = [] if law.is_converged else [f"the fit is {law.status.replace('_', ' ')}"]
    if held_out:
        unseen_statement, points, seen = _held_out(lake, path, held_out, rows)
        statements.append(unseen_statement)
        marks.append(points)
        if seen:
            notes.append(f"{seen} run{'s' * (seen != 1)} of --held-out left out: {law.name} was fitted to them")
    marks.extend(floor_marks(law, float(np.nanmin(predicted))))
    axis = target_axis(law, rows[law.target], *(curve[name] for name in SHOWN if name in curve), predicted)
    if law.is_given:
        notes = [NO_RUNS]
    return Figure(
        f"{law.name} · {path.phrase}", path.axis, axis, tuple(marks), tuple(statements),
        tuple(notes), data_end=None if law.is_given else last, scale=None if law.is_given else scale,
    )  # fmt: skip


def residual_figure(lake: Lakehouse, law: LawCard, *, x: str | None = None) -> Figure:
    """Return what the law leaves unexplained of each run, over the same horizontal axis as its picture.

    Raises
    ------
    UsageError : if the law cannot be drawn over `x`
    EmptySelection : if the law has no runs to show
    """
    statement, rows = seen_runs(lake, law)
    path = choose_path(law, rows, x)
    across, residual = path.positions(rows), rows["residual"]
    ends = floats(extent(path, across))
    known = residual[np.isfinite(residual)]
    edge = 1.15 * float(np.max(np.abs(known))) if known.size else 0.0
    if law.is_given:
        axis = Axis("residual", "log", is_log=False, low=-1e-3, high=1e-3)
        zero = Line(ends, np.zeros(2), "", is_thin=True)
        return Figure(f"{law.name} · residuals", path.axis, axis, (zero,), notes=(NO_RUNS,))
    marks: tuple[Mark, ...] = (
        Line(ends, np.zeros(2), "", is_thin=True),
        PointMarks(across, residual, "observed against predicted", tone=_by_size(path, rows)[0]),
    )
    unit = law.unit if law.is_additive else "log"
    y = Axis("residual", unit, is_log=False, low=-(edge or 1e-3), high=edge or 1e-3)
    return Figure(f"{law.name} · residuals", path.axis, y, marks, (statement,))


def seen_runs(lake: Lakehouse, law: LawCard) -> tuple[str, dict[str, Array]]:
    """Return the statement and the columns of the runs that a law was fitted to, with their residuals.

    A law of given coefficients has none: its inputs then go from one end to the other of what it is drawn over, and
    nothing was measured there.
    """
    if law.is_given:
        inputs = {name: np.geomspace(*law.support[name], 2) for name in law.inputs}
        return "", {**inputs, law.target: np.full(2, np.nan), "residual": np.full(2, np.nan)}
    statement = f"RESIDUALS {law.sql_name}"
    return statement, numbers(lake.sql(statement), law)


def extent(path: Path, across: Array) -> tuple[float, float]:
    """Return the smallest and the largest known place of the runs on the axis, and raise EmptySelection for none."""
    known = across[np.isfinite(across) & (across > 0)]
    if not known.size:
        raise EmptySelection(f"law '{path.law.name}' has no runs with a known {path.axis.label}")
    return float(known.min()), float(known.max())


def floor_marks(law: LawCard, lowest: float) -> list[Mark]:
    """Return the law's floor, unless it lies so far below the curve's lowest point that it would flatten it."""
    floor = law.floor
    is_below = floor is not None and floor.estimate <= lowest + ROUNDING * abs(lowest)  # not where it is subtracted
    if floor is None or not is_below or floor.estimate < NEAREST_FLOOR * lowest:
        return []
    return [Floor(floor.estimate, f"{floor.name} = {floor.estimate:.4g}")]


def numbers(answer: Answer, law: LawCard) -> dict[str, Array]:
    """Return the columns of an answer that pictures need, as floats; missing values are NaN."""
    wanted = {*law.inputs, law.target, law.predicted, "params", "flops", "residual", "lower", "upper"}
    table: Any = answer.table
    return {name: floats(table.column(name).to_pylist()) for name in table.column_names if name in wanted}


def target_axis(law: LawCard, *shown: Array) -> Axis:
    """Return the vertical axis of what a law predicts: linear where some of what is shown is zero or less."""
    is_positive = not any(bool((values <= 0).any()) for values in shown)
    return Axis(law.target, law.unit, is_log=is_positive)


def _ask_along(
    lake: Lakehouse, rows: dict[str, Array], path: Path, low: float, high: float, level: float
) -> tuple[Path, str, Answer]:
    """Ask the law along the path; where it has no macro to find the best sizes with, follow the runs instead."""
    import duckdb

    statement = path.statement(low, high, level)
    try:
        return path, statement, lake.sql(statement)
    except (StatementError, duckdb.Error):
        if not path.is_compute:
            raise
    path = choose_path(path.law, rows, COMPUTE, is_optimal=False)
    statement = path.statement(low, high, level)
    return path, statement, lake.sql(statement)


def _size_lines(
    lake: Lakehouse, law: LawCard, rows: dict[str, Array], first: float, last: float
) -> tuple[str, list[Mark]]:
    """The law of a few model sizes over compute, each as far as losses like the observed ones reach."""
    assert law.compute is not None
    size, amount = law.compute
    sizes = np.geomspace(*law.support[size], NUM_SIZES)
    step = (np.log10(last) - np.log10(first)) / (NUM_SIZE_PLACES - 1)
    flops = f"10 ** ({number(np.log10(first))} + {number(step)} * i)"
    statement = (
        f"EXTRAPOLATE {law.sql_name} TO (\n"
        f"    SELECT {identifier(size)}, {flops} / (6 * {identifier(size)}) AS {identifier(amount)}"
        f"{held_inputs(law, middles(rows))}\n"
        f"    FROM range({NUM_SIZE_PLACES}) t(i),\n"
        f"         (SELECT unnest([{', '.join(map(number, sizes))}]) AS {identifier(size)})\n)"
    )
    answer = numbers(lake.sql(statement), law)
    compute, loss = 6 * answer[size] * answer[amount], answer[law.predicted]
    highest = 1.02 * float(np.nanmax(rows[law.target]))
    lines: list[Mark] = []
    for value, tone in zip(sizes, tones(sizes).tolist(), strict=True):
        mine = np.isclose(answer[size], value, rtol=1e-4) & (loss <= highest)
        order = np.argsort(compute[mine])
        lines.append(Line(compute[mine][order], loss[mine][order], write_number(value, digits=2), tone, is_thin=True))
    return statement, lines


def _held_out(lake: Lakehouse, path: Path, condition: str, seen: dict[str, Array]) -> tuple[str, PointMarks, int]:
    """Return runs that satisfy a condition, as rings, and how many of them the law has seen, which are left out.

    A run has been seen when a row that the law was fitted to has its inputs and its target, to the last digit.
    """
    law = path.law
    columns = ", ".join(identifier(name) for name in (*law.inputs, law.target))
    statement = f"SELECT {columns} FROM runs\nWHERE (\n{condition}\n) AND {identifier(law.target)} IS NOT NULL"
    rows = numbers(lake.sql(statement), law)
    names = (*law.inputs, law.target)
    known = set(zip(*(seen[name].tolist() for name in names), strict=True))
    is_new = np.array([row not in known for row in zip(*(rows[name].tolist() for name in names), strict=True)], bool)
    rows = {name: values[is_new] for name, values in rows.items()}
    marks = PointMarks(path.positions(rows), rows[law.target], "held out", is_hollow=True)
    return statement, marks, int(np.count_nonzero(~is_new))


def _by_size(path: Path, rows: dict[str, Array]) -> tuple[Array | None, ToneScale | None]:
    """Place of each run on the scale of sizes, and the scale, where the axis does not show the size already."""
    name = path.law.size or "params"
    sizes = rows.get(name, floats([]))
    known = sizes[np.isfinite(sizes) & (sizes > 0)]
    if path.column == name or not known.size or np.ptp(known) == 0:
        return None, None
    return tones(sizes), ToneScale(name, float(known.min()), float(known.max()))
