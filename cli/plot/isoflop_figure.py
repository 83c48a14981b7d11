"""Runs of one budget side by side: loss over model size, one curve for each budget, and the best size of each.

With a law, the curves are its predictions at 6 * params * tokens = budget. Without one they are parabolas in the
logarithm of the size, fitted to the runs of that budget alone (Hoffmann et al. 2022, arXiv:2203.15556, approach 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isoflop.cli.plot.figure import Array, Axis, Figure, Line, Mark, Points, ToneScale, floats, tones
from isoflop.cli.plot.law_card import LawCard
from isoflop.cli.plot.law_figure import numbers, seen_runs, target_axis
from isoflop.cli.plot.law_path import FLOPS_PER_PARAM_TOKEN, held_inputs, middles
from isoflop.cli.plot.run_figures import identifier, number
from isoflop.cli.plot.ticks import write_number
from isoflop.lakehouse.errors import EmptySelection, UsageError

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

APART = 0.1
"""Runs whose compute differs by less than this, in decades, share a budget."""

FEWEST = 4
"""Runs a budget needs to be drawn."""

MOST_BUDGETS = 12
NUM_PLACES = 60


def isoflop_figure(lake: Lakehouse, law: LawCard | None = None, *, condition: str = "true") -> Figure:
    """Return loss over model size at equal compute.

    Parameters
    ----------
    law : of params and tokens; its runs and predictions are drawn. None draws runs and a parabola for each budget
    condition : SQL over `runs` that chooses them when there is no law

    Raises
    ------
    UsageError : if the law is not one of params and tokens
    EmptySelection : if no budget has four runs
    """
    if law is None:
        size, amount, target = "params", "tokens", "loss"
        statement = f"SELECT params, tokens, loss FROM runs\nWHERE (\n{condition}\n) AND loss IS NOT NULL"
        table = lake.sql(statement).table
        rows = {name: floats(table.column(name).to_pylist()) for name in table.column_names}
    elif law.compute is not None:
        (size, amount), target = law.compute, law.target
        statement, rows = seen_runs(lake, law)
    else:
        raise UsageError(f"law '{law.name}' has no isoFLOP view", hint="it needs params and tokens among its inputs")
    known = np.isfinite(rows[size]) & np.isfinite(rows[amount]) & np.isfinite(rows[target])
    rows = {name: values[known] for name, values in rows.items()}
    groups = budgets(FLOPS_PER_PARAM_TOKEN * rows[size] * rows[amount])
    if not groups:
        raise EmptySelection(
            "no budget has four runs of different size", hint="an isoFLOP view compares sizes at equal compute"
        )
    compute = np.array([budget for budget, _ in groups])
    places = tones(compute)
    statements = [statement]
    if law is None:
        curves = [_parabola(rows[size][members], rows[target][members]) for _, members in groups]
    else:
        curve_statement, curves = _law_curves(lake, law, rows, groups)
        statements.insert(0, curve_statement)
    marks: list[Mark] = []
    for (budget, members), tone, (across, loss) in zip(groups, places.tolist(), curves, strict=True):
        marks.append(Points(rows[size][members], rows[target][members], "", tone=tone))
        marks.append(Line(across, loss, write_number(budget, "power", digits=2), tone, is_thin=True))
    lowest = [int(np.argmin(loss)) for _, loss in curves]
    inner = [n for n, at in enumerate(lowest) if 0 < at < len(curves[n][1]) - 1]
    if len(inner) > 1:
        best = [(curves[n][0][lowest[n]], curves[n][1][lowest[n]]) for n in inner]
        marks.append(
            Line(floats([size for size, _ in best]), floats([loss for _, loss in best]), "best size of a budget")
        )
    shown = sum(len(members) for _, members in groups)
    notes = (f"{shown} of {len(known)} runs share a budget",) if shown < len(known) else ()
    title = f"{law.name} · {target} at equal compute" if law is not None else "loss at equal compute"
    return Figure(
        title, Axis(size), target_axis(target), tuple(marks), tuple(statements), notes,
        scale=ToneScale("training compute [FLOP]", float(compute.min()), float(compute.max())),
    )  # fmt: skip


def budgets(compute: Array) -> list[tuple[float, Array]]:
    """Return the budgets that runs share: (geometric mean [FLOP], indices of its runs), smallest first.

    A budget is a stretch of 0.1 decades with at least four runs. The fullest stretch is taken first, then the fullest
    of what is left and not next to a taken one, up to 12.
    """
    order = np.argsort(compute)
    logs = np.log10(compute[order])
    is_free = np.isfinite(logs)
    found: list[tuple[float, Array]] = []
    while len(found) < MOST_BUDGETS:
        counts = np.array([np.count_nonzero(is_free & (logs >= low) & (logs <= low + APART)) for low in logs])
        counts[~is_free] = 0
        best = int(np.argmax(counts)) if counts.size else 0
        if not counts.size or counts[best] < FEWEST:
            break
        members = is_free & (logs >= logs[best]) & (logs <= logs[best] + APART)
        middle = float(logs[members].mean())
        found.append((10.0**middle, order[members]))
        is_free &= np.abs(logs - middle) > APART
    return sorted(found, key=lambda each: each[0])


def _parabola(params: Array, loss: Array) -> tuple[Array, Array]:
    """Loss as a parabola in log size, over the sizes of the runs."""
    across = np.log(params)
    coefficients = np.polyfit(across - across.mean(), loss, 2)
    size = np.geomspace(params.min(), params.max(), NUM_PLACES)
    return size, np.polyval(coefficients, np.log(size) - across.mean())


def _law_curves(
    lake: Lakehouse, law: LawCard, rows: dict[str, Array], groups: list[tuple[float, Array]]
) -> tuple[str, list[tuple[Array, Array]]]:
    """The law over size at every budget, around the sizes that were trained with it."""
    assert law.compute is not None
    size, amount = law.compute
    ranges = ", ".join(
        f"({number(budget)}, {number(np.log10(rows[size][members].min() / 1.3))}, "
        f"{number(np.log10(rows[size][members].max() * 1.3))})"
        for budget, members in groups
    )
    statement = (
        f"EXTRAPOLATE {law.sql_name} TO (\n"
        f"    SELECT 10 ** (low + (high - low) * i / {NUM_PLACES - 1}) AS {identifier(size)},\n"
        f"        budget / (6 * {identifier(size)}) AS {identifier(amount)}{held_inputs(law, middles(rows))}\n"
        f"    FROM (VALUES {ranges}) b(budget, low, high), range({NUM_PLACES}) t(i)\n)"
    )
    answer = numbers(lake.sql(statement), law)
    compute = FLOPS_PER_PARAM_TOKEN * answer[size] * answer[amount]
    curves = []
    for budget, _ in groups:
        mine = np.isclose(compute, budget, rtol=1e-4)
        order = np.argsort(answer[size][mine])
        curves.append((answer[size][mine][order], answer[law.predicted][mine][order]))
    return statement, curves
