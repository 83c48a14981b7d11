"""Runs of one budget side by side: loss over model size, one curve for each budget, and the best size of each.

With a law, the curves are its predictions at equal compute and the best sizes are its own. Without one they are the
parabolas of `queries.planning.profiles`, at the budgets that `COMPARE APPROACHES` finds too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isoflop.cli.plot.figure import Array, Axis, Figure, Line, Mark, PointMarks, ToneScale, floats, tones
from isoflop.cli.plot.law_card import LawCard
from isoflop.cli.plot.law_figure import numbers, seen_runs, target_axis
from isoflop.cli.plot.law_path import held_inputs, middles
from isoflop.cli.plot.run_figures import identifier, number
from isoflop.cli.plot.ticks import write_number
from isoflop.lakehouse.errors import EmptySelection, FitError, UsageError
from isoflop.lakehouse.units import UNITS
from isoflop.queries.planning.isoflop import compare_approaches
from isoflop.queries.planning.profiles import Profiles, assumed_compute, isoflop_profiles, no_minimum

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

NUM_PLACES = 60
"""Sizes at which a curve is drawn."""

BEYOND_SIZES = 1.3
"""A law is drawn this factor beyond the sizes trained with a budget, on either side."""


def isoflop_figure(lake: Lakehouse, law: LawCard | None = None, *, condition: str = "true") -> Figure:
    """Return loss over model size at equal compute.

    Parameters
    ----------
    law : of params and tokens; its runs and predictions are drawn. None draws runs and a parabola for each budget
    condition : SQL over `runs` that chooses them when there is no law

    Raises
    ------
    UsageError : if the law is not one of params and tokens
    EmptySelection : if no budget has four runs of different size
    """
    if law is None:
        size, target = "params", "loss"
        statement = f"SELECT params, tokens, loss, flops FROM runs\nWHERE (\n{condition}\n) AND loss IS NOT NULL"
        table = lake.sql(statement).table
        rows = {name: floats(table.column(name).to_pylist()) for name in table.column_names}
        amount = "tokens"
        found = isoflop_profiles(rows[size], rows[amount], rows[target], rows.get("flops"))
    elif law.compute is not None:
        (size, amount), target = law.compute, law.target
        if law.is_given:
            raise EmptySelection(f"law '{law.name}' is of given coefficients: it has no runs to cut by budget")
        statement, rows = seen_runs(lake, law)
        found = isoflop_profiles(rows[size], rows[amount], rows[target], rows.get("flops"))
    else:
        raise UsageError(f"law '{law.name}' has no isoFLOP view", hint="it needs params and tokens among its inputs")
    statements, notes = [statement], found.notes
    if law is None:
        curves, best = _parabolas(found), (found.params, found.loss)
        notes = (*notes, *parabola_bias(rows, found))
    else:
        curve_statement, curves, best = _law_curves(lake, law, rows, found)
        statements.insert(0, curve_statement)
        assumed = assumed_compute(found.num_assumed, found.num_runs)
        notes = (notes[0], *no_minimum(found.slices.budgets, best[0]), *assumed)
    budgets = found.slices.budgets
    marks: list[Mark] = []
    for budget, (tone, (across, loss)) in enumerate(zip(tones(budgets).tolist(), curves, strict=True)):
        own = found.slices.label == budget
        marks.append(PointMarks(found.slices.params[own], found.slices.loss[own], "", tone=tone))
        marks.append(Line(across, loss, write_number(float(budgets[budget]), "power", digits=2), tone, is_thin=True))
    inside = np.isfinite(best[0])
    if np.count_nonzero(inside) > 1:
        marks.append(Line(best[0][inside], best[1][inside], "best size of a budget"))
    axis = target_axis(law) if law is not None else Axis(target, UNITS.get(target))
    title = f"{law.name} · {target} at equal compute" if law is not None else "loss at equal compute"
    return Figure(
        title, Axis(size), axis, tuple(marks), tuple(statements), notes,
        scale=ToneScale("training compute [FLOP]", float(budgets.min()), float(budgets.max())),
    )  # fmt: skip


def parabola_bias(rows: dict[str, Array], found: Profiles) -> list[str]:
    """Return by how much parabolas are off in runs made from a law fitted to the same ones; nothing where none fits."""
    params, tokens, loss = (rows[name] for name in ("params", "tokens", "loss"))
    try:
        compared = compare_approaches(params, tokens, loss, rows.get("flops"), tolerance=found.tolerance, resamples=0)
    except (EmptySelection, FitError):
        return []
    parabola, largest = compared["isoflop_parabola"], float(found.slices.budgets.max())
    off_params, off_tokens = compared.bias_at(parabola, largest)
    if not np.isfinite(off_params):
        return []
    sizes = f"at {largest:.3g} flop params by {off_params:+.1%} and tokens by {off_tokens:+.1%}"
    law = compared.fit.law.name
    return [
        f"bias: in runs made from the fitted {law}, parabolas are off in the exponent by {parabola.bias:+.4f}, {sizes}"
    ]


def _parabolas(found: Profiles) -> list[tuple[Array, Array]]:
    """The parabola of every budget, over the sizes of its runs."""
    curves = []
    for budget in range(len(found.slices.budgets)):
        params = found.slices.params[found.slices.label == budget]
        size = np.geomspace(params.min(), params.max(), NUM_PLACES)
        curves.append((size, found.curve(budget, size)))
    return curves


def _law_curves(
    lake: Lakehouse, law: LawCard, rows: dict[str, Array], found: Profiles
) -> tuple[str, list[tuple[Array, Array]], tuple[Array, Array]]:
    """The law over size at every budget, around the sizes that were trained with it, and its lowest point on each."""
    assert law.compute is not None
    size, amount = law.compute
    slices = found.slices
    ranges = []
    for budget, flops in enumerate(slices.budgets):
        params = slices.params[slices.label == budget]
        low, high = np.log10(params.min() / BEYOND_SIZES), np.log10(params.max() * BEYOND_SIZES)
        ranges.append(f"({number(flops)}, {number(low)}, {number(high)})")
    statement = (
        f"EXTRAPOLATE {law.sql_name} TO (\n"
        f"    SELECT 10 ** (low + (high - low) * i / {NUM_PLACES - 1}) AS {identifier(size)},\n"
        f"        budget / ({number(slices.per_token)} * {identifier(size)}) AS {identifier(amount)}"
        f"{held_inputs(law, middles(rows))}\n"
        f"    FROM (VALUES {', '.join(ranges)}) b(budget, low, high), range({NUM_PLACES}) t(i)\n)"
    )
    answer = numbers(lake.sql(statement), law)
    compute = slices.per_token * answer[size] * answer[amount]
    curves, best = [], np.full((2, len(slices.budgets)), np.nan)
    for budget, flops in enumerate(slices.budgets):
        mine = np.isclose(compute, flops, rtol=1e-4)
        order = np.argsort(answer[size][mine])
        across, loss = answer[size][mine][order], answer[law.predicted][mine][order]
        curves.append((across, loss))
        lowest = int(np.argmin(loss))
        if 0 < lowest < len(loss) - 1:
            best[:, budget] = across[lowest], loss[lowest]
    return statement, curves, (best[0], best[1])
