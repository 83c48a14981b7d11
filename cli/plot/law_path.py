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
from isoflop.cli.plot.run_figures import identifier, number
from isoflop.lakehouse.errors import UsageError, did_you_mean
from isoflop.lakehouse.units import UNITS

COMPUTE = "flops"
FLOPS_PER_PARAM_TOKEN = 6.0  # forward and backward pass (Kaplan et al. 2020, arXiv:2001.08361, sec. 2.1)
NUM_PLACES = 96
SIZES_PER_DECADE = 60
"""Model sizes tried for every budget when the best one is looked for."""

Columns = Mapping[str, Array]


@dataclass(frozen=True)
class Path:
    """One way through a law's inputs.

    Parameters
    ----------
    law : whose inputs they are
    column : what the horizontal axis shows: an input, or `flops`
    query : SELECT with a column for each input; `{low}` and `{step}` stand for decimal logarithms on the axis,
        `{places}` for how many there are
    phrase : what is shown over what, and how the other inputs are chosen
    """

    law: LawCard
    column: str
    query: str
    phrase: str

    @property
    def axis(self) -> Axis:
        """The horizontal axis, with the unit of what it shows."""
        if self.column == COMPUTE:
            return Axis("training compute", "FLOP", notation="power")
        unit = UNITS.get(self.column)
        return Axis(self.column, None if unit == "count" else unit)

    @property
    def is_compute(self) -> bool:
        """Whether the axis is the product of two inputs rather than one of them."""
        return self.column == COMPUTE and self.law.compute is not None

    def statement(self, low: float, high: float, level: float, places: int = NUM_PLACES) -> str:
        """Return the statement that asks the law along the path, at `places` from `low` to `high` on the axis."""
        step = (np.log10(high) - np.log10(low)) / (places - 1)
        query = self.query.replace("{low}", number(np.log10(low))).replace("{step}", number(step))
        query = query.replace("{places}", str(places))
        return f"EXTRAPOLATE {self.law.sql_name} TO (\n{query}\n) WITH (level = {level:g})"

    def positions(self, columns: Columns) -> Array:
        """Return where rows with these columns lie on the axis."""
        if self.is_compute and self.law.compute is not None:
            size, amount = self.law.compute
            return FLOPS_PER_PARAM_TOKEN * columns[size] * columns[amount]
        return columns[self.column]


def choose_path(law: LawCard, rows: Columns, x: str | None = None, *, is_optimal: bool = True) -> Path:
    """Return the path for a horizontal axis.

    Parameters
    ----------
    rows : columns of the runs that the law was fitted to
    x : one of the law's inputs, or `flops` for a law of params and tokens; None takes the usual one
    is_optimal : over compute, take the best size for every budget rather than the runs' own line, where the law
        predicts what is to be low

    Raises
    ------
    UsageError : if the law cannot be drawn over `x`
    """
    choices = [*([COMPUTE] if law.compute is not None else []), *law.inputs]
    column = x or choices[0]
    if column not in choices:
        hint = did_you_mean(column, choices, f"choose {', '.join(choices)}")
        raise UsageError(f"law '{law.name}' cannot be drawn over '{column}'", hint=hint)
    if column == COMPUTE and law.compute is not None:
        is_lowest = is_optimal and not law.is_of_optima
        return _along_best_sizes(law, rows) if is_lowest else _along_runs(law, rows)
    others = [name for name in law.inputs if name != column]
    selected = [f"10 ** ({{low}} + {{step}} * i) AS {identifier(column)}"]
    selected += [f"{_follow(rows, name, column)} AS {identifier(name)}" for name in others]
    query = "    SELECT " + ", ".join(selected) + " FROM range({places}) t(i)"
    as_runs = f", {' and '.join(others)} as in the {law.row_word}" if others else ""
    return Path(law, column, query, f"{law.target} over {column}{as_runs}")


def path_to(law: LawCard, target: Mapping[str, float]) -> Path:
    """Return the path that leads to a place: at its ratio of tokens to params, or along the first input.

    Inputs that do not take part keep the value they have at the place.
    """
    if law.compute is not None:
        size, amount = law.compute
        ratio = target[amount] / target[size]
        held = held_inputs(law, target)
        query = (
            f"    SELECT sqrt(flops / (6 * {number(ratio)})) AS {identifier(size)},\n"
            f"        flops / (6 * {identifier(size)}) AS {identifier(amount)}{held}\n"
            f"    FROM (SELECT 10 ** ({{low}} + {{step}} * i) AS flops FROM range({{places}}) t(i))"
        )
        return Path(law, COMPUTE, query, f"{law.target} at {amount} / {size} = {ratio:.3g}")
    column, *others = law.inputs
    held = "".join(f", {number(target[name])} AS {identifier(name)}" for name in others)
    query = f"    SELECT 10 ** ({{low}} + {{step}} * i) AS {identifier(column)}{held} FROM range({{places}}) t(i)"
    at = f" at {' and '.join(f'{name} = {target[name]:.3g}' for name in others)}" if others else ""
    return Path(law, column, query, f"{law.target} over {column}{at}")


def held_inputs(law: LawCard, values: Mapping[str, float]) -> str:
    """Return `, value AS input` for every input that is neither size nor amount of data."""
    others = [name for name in law.inputs if name not in (law.compute or ())]
    return "".join(f", {number(values[name])} AS {identifier(name)}" for name in others)


def middles(rows: Columns) -> dict[str, float]:
    """Return the middle of each column: the geometric one of positive values, else the median."""
    return {name: _middle(values) for name, values in rows.items()}


def default_targets(law: LawCard) -> dict[str, str]:
    """Return, for each input, the SQL value that a forecast starts from: ten times the largest run, shaped alike."""
    targets: dict[str, str] = {}
    for name in law.inputs:
        low, high = law.support.get(name, (1.0, 1.0))
        if law.compute is not None and name == law.amount and law.size in targets:
            smallest, largest = law.support[law.compute[0]]
            ratio = float(np.sqrt(low * high / (smallest * largest)))
            targets[name] = f"{ratio:.2g} * {identifier(law.compute[0])}"
        else:
            targets[name] = f"{10 * high:.2g}"
    return targets


def _along_best_sizes(law: LawCard, rows: Columns) -> Path:
    """Over compute, at the size for which the law's macro is lowest; a grid of sizes is searched for every budget."""
    assert law.compute is not None
    size, amount = map(identifier, law.compute)
    held = held_inputs(law, middles(rows))
    low, high = np.log10(law.support[law.compute[0]])
    arguments = ", ".join(map(identifier, law.inputs))
    query = (
        f"    SELECT arg_min({size}, lowest) AS {size}, arg_min({amount}, lowest) AS {amount}{held} FROM (\n"
        f"        SELECT flops, {size}, flops / (6 * {size}) AS {amount}{held}, {law.sql_name}({arguments}) AS lowest\n"
        f"        FROM (SELECT 10 ** ({{low}} + {{step}} * i) AS flops FROM range({{places}}) t(i)),\n"
        f"             (SELECT 10 ** ({number(low - 3)} + j / {SIZES_PER_DECADE}) AS {size}\n"
        f"              FROM range({int((high - low + 9) * SIZES_PER_DECADE)}) t(j))\n"
        "    ) GROUP BY flops ORDER BY flops"
    )
    return Path(law, COMPUTE, query, f"{law.target} along the compute-optimal sizes{_with_held(law)}")


def _along_runs(law: LawCard, rows: Columns) -> Path:
    """Over compute, at the sizes that the runs have."""
    assert law.compute is not None
    size, amount = law.compute
    compute = {size: rows[size], COMPUTE: FLOPS_PER_PARAM_TOKEN * rows[size] * rows[amount]}
    query = (
        f"    SELECT {_follow(compute, size, COMPUTE)} AS {identifier(size)},\n"
        f"        flops / (6 * {identifier(size)}) AS {identifier(amount)}{held_inputs(law, middles(rows))}\n"
        f"    FROM (SELECT 10 ** ({{low}} + {{step}} * i) AS flops FROM range({{places}}) t(i))"
    )
    sizes = "usual sizes" if law.is_given else f"the sizes of the {law.row_word}"
    return Path(law, COMPUTE, query, f"{law.target} along {sizes}{_with_held(law)}")


def _with_held(law: LawCard) -> str:
    """Which inputs are kept at their middle, for a title."""
    others = [name for name in law.inputs if name not in (law.compute or ())]
    return f", {' and '.join(others)} as in the middle run" if others else ""


def _follow(rows: Columns, name: str, over: str) -> str:
    """SQL for an input as a power of another, through the runs; their middle where the two do not move together."""
    known = np.isfinite(rows[name]) & np.isfinite(rows[over]) & (rows[name] > 0) & (rows[over] > 0)
    across, along = np.log10(rows[over][known]), np.log10(rows[name][known])
    if across.size < 2 or np.ptp(across) < 1e-9 or np.ptp(along) < 1e-9:
        return number(_middle(rows[name]))
    slope, offset = np.polyfit(across, along, 1)
    return f"10 ** {number(offset)} * {identifier(over)} ** {number(slope)}"


def _middle(values: Array) -> float:
    """The geometric middle of positive values, else their median."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 1.0
    return float(np.exp(np.median(np.log(known)))) if np.all(known > 0) else float(np.median(known))
