"""The way a picture of a law takes through its inputs: one horizontal axis, every input a function of it.

A law of one input needs no choice. A law of params and tokens is drawn over training compute, 6 * params * tokens,
either along the sizes that its own macro finds best for every budget, or along the line that the runs themselves follow
from their smallest to their largest. Over one of its inputs, the others follow the runs as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isoflop.cli.plot.figure import Array, Axis
from isoflop.cli.plot.law_card import LawCard
from isoflop.cli.plot.run_figures import number
from isoflop.lakehouse.errors import UsageError, did_you_mean
from isoflop.lakehouse.units import UNITS

COMPUTE = "flops"
FLOPS_PER_PARAM_TOKEN = 6.0  # multiply-adds of one forward and one backward pass (Kaplan et al. 2020, arXiv:2001.08361, sec. 2.1)
NUM_PLACES = 96
SIZES_PER_DECADE = 60
"""Model sizes tried for every budget when the best one is looked for."""

Columns = Mapping[str, Array]


@dataclass(frozen=True)
class Path:
    """One way through a law's inputs.

    Parameters
    ----------
    axis : what the picture's horizontal axis shows
    column : the column it shows; `flops` is computed where the rows lack it
    query : SELECT with one column for each input and `{low}`, `{step}` left open, decimal logarithms of the axis
    phrase : how the other inputs are chosen, for the title
    """

    axis: Axis
    column: str
    query: str
    phrase: str

    def statement(self, law: str, low: float, high: float, level: float) -> str:
        """Return the statement that asks the law along the path, from `low` to `high` on the axis."""
        step = (np.log10(high) - np.log10(low)) / (NUM_PLACES - 1)
        query = self.query.format(low=number(float(np.log10(low))), step=number(float(step)), places=NUM_PLACES)
        return f"EXTRAPOLATE {law} TO (\n{query}\n) WITH (level = {level:g})"

    def positions(self, columns: Columns) -> Array:
        """Return where rows with these columns lie on the axis."""
        return position(columns, self.column)


def position(columns: Columns, column: str) -> Array:
    """Return a column; training compute is 6 * params * tokens, so that runs and laws share one measure."""
    if column == COMPUTE and "params" in columns and "tokens" in columns:
        return FLOPS_PER_PARAM_TOKEN * columns["params"] * columns["tokens"]
    return columns[column]


def choose_path(law: LawCard, rows: Columns, x: str | None = None, *, is_optimal: bool = True) -> Path:
    """Return the path for a horizontal axis.

    Parameters
    ----------
    rows : columns of the runs that the law was fitted to
    x : one of the law's inputs, or `flops` for a law of params and tokens; None takes what people expect
    is_optimal : over compute, take the best size for every budget rather than the runs' own line

    Raises
    ------
    UsageError : if the law cannot be drawn over `x`
    """
    choices = list(law.inputs)
    if {"params", "tokens"} <= set(choices) and COMPUTE not in choices:
        choices.insert(0, COMPUTE)
    column = x or choices[0]
    if column not in choices:
        hint = did_you_mean(column, choices, f"choose {', '.join(choices)}")
        raise UsageError(f"law '{law.name}' cannot be drawn over '{column}'", hint=hint)
    if column == COMPUTE and COMPUTE not in law.inputs:
        return _over_compute(law, rows, is_optimal=is_optimal)
    return _over_input(law, rows, column)


def axis_of(column: str) -> Axis:
    """Return the axis of a column, with its unit where it has one."""
    if column == COMPUTE:
        return Axis("training compute", "FLOP", notation="power")
    unit = UNITS.get(column)
    return Axis(column, None if unit == "count" else unit)


def _over_input(law: LawCard, rows: Columns, column: str) -> Path:
    """Along one input; the others follow the straight line through the runs in logarithms."""
    others = [name for name in law.inputs if name != column]
    selected = [f"10 ** ({{low}} + {{step}} * i) AS {column}"]
    selected += [f"{_follow(rows, name, column)} AS {name}" for name in others]
    query = "    SELECT " + ", ".join(selected) + " FROM range({places}) t(i)"
    phrase = f"over {column}" + (f", {_list(others)} as in the runs" if others else "")
    return Path(axis_of(column), column, query, phrase)


def _over_compute(law: LawCard, rows: Columns, *, is_optimal: bool) -> Path:
    """Along training compute: the best split of every budget, or the one the runs made."""
    others = [name for name in law.inputs if name not in ("params", "tokens")]
    held = "".join(f", {number(_middle(rows[name]))} AS {name}" for name in others)
    axis = axis_of(COMPUTE)
    with_held = f", {_list(others)} as in the middle run" if others else ""
    if not is_optimal:
        compute = {"params": rows["params"], COMPUTE: position(rows, COMPUTE)}
        query = (
            f"    SELECT {_follow(compute, 'params', COMPUTE)} AS params, flops / (6 * params) AS tokens{held}\n"
            "    FROM (SELECT 10 ** ({low} + {step} * i) AS flops FROM range({places}) t(i))"
        )
        return Path(axis, COMPUTE, query, f"loss along the sizes of the runs{with_held}")
    low, high = np.log10(law.support["params"])
    first, count = low - 3, int((high - low + 9) * SIZES_PER_DECADE)
    arguments = ", ".join(law.inputs)
    query = (
        f"    SELECT arg_min(params, loss) AS params, arg_min(tokens, loss) AS tokens{held} FROM (\n"
        f"        SELECT flops, params, flops / (6 * params) AS tokens{held}, {law.name}({arguments}) AS loss\n"
        "        FROM (SELECT 10 ** ({low} + {step} * i) AS flops FROM range({places}) t(i)),\n"
        f"             (SELECT 10 ** ({number(float(first))} + j / {SIZES_PER_DECADE}) AS params FROM range({count}) t(j))\n"
        "    ) GROUP BY flops ORDER BY flops"
    )
    return Path(axis, COMPUTE, query, f"{law.target} along the compute-optimal sizes{with_held}")


def _follow(rows: Columns, name: str, over: str) -> str:
    """SQL for an input as a power of another, through the runs; their middle where the two do not move together."""
    known = np.isfinite(rows[name]) & np.isfinite(rows[over]) & (rows[name] > 0) & (rows[over] > 0)
    across, along = np.log10(rows[over][known]), np.log10(rows[name][known])
    if across.size < 2 or np.ptp(across) < 1e-9 or np.ptp(along) < 1e-9:
        return number(_middle(rows[name]))
    slope, offset = np.polyfit(across, along, 1)
    return f"10 ** {number(float(offset))} * {over} ** {number(float(slope))}"


def _middle(values: Array) -> float:
    """The geometric middle of positive values, else their median."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 1.0
    return float(np.exp(np.median(np.log(known)))) if np.all(known > 0) else float(np.median(known))


def _list(names: list[str]) -> str:
    return " and ".join(names)


def default_targets(law: LawCard) -> dict[str, str]:
    """Return, for each input, the SQL value that a forecast starts from: ten times the largest run, shaped alike."""
    targets: dict[str, str] = {}
    for name in law.inputs:
        low, high = law.support.get(name, (1.0, 1.0))
        if name == "tokens" and "params" in targets:
            size_low, size_high = law.support["params"]
            ratio = float(np.sqrt(low * high / (size_low * size_high)))
            targets[name] = f"{ratio:.2g} * params"
        else:
            targets[name] = f"{10 * high:.2g}"
    return targets
