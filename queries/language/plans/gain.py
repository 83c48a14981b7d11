"""COMPARE GAIN: how many times the compute one law needs to reach what another reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.language.bind import is_plain
from isoflop.queries.language.distance_notes import note_ratios
from isoflop.queries.language.gain_pairs import Groups, NamedLaws
from isoflop.queries.language.numbers import numbers
from isoflop.queries.language.options import read_plan_options
from isoflop.queries.language.points import assigned_points
from isoflop.queries.language.prediction import ChosenLaws, beside, distinct_names
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, known
from isoflop.queries.language.syntax.nodes import CompareGain, Span
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.language.verb import Steps
from isoflop.queries.planning.gain import PER_TOKEN, SUPPORT_ROUNDING, Gain, Recipe, compute_gain, largest_budget

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]

FLOPS, SIZES = "flops", ("params", "tokens")
WIDE = 3.0  # upper over lower end of a gain [1] beyond which a joint fit is worth a note: recipes seldom differ by more
KEYS = ("level", "seed")
VERB = "COMPARE GAIN"


class GainPlan:
    """Two laws, and the budgets at which they are compared.

    Raises
    ------
    StatementError : when the laws cannot be compared, or AT does not say a budget

    Example
    -------
    `COMPARE GAIN OF new OVER old AT flops = 1e22` answers with a `gain` of 1.8 where the old law needs 1.8e22 flops
    to reach the loss that the new one reaches with 1e22, each at its own best size.
    """

    def __init__(self, question: Question, node: CompareGain) -> None:
        self._question, self._node = question, node
        self._options = read_plan_options(question, node.options, VERB, KEYS)
        self._pair = NamedLaws(question, node) if node.fit is None else Groups(question, node, node.fit)
        self._laws = self._pair.laws
        places = [node.law, node.over] if node.fit is None else [node.fit, node.fit]
        axes = [_axis(question, law, place) for law, place in zip(self._laws, places, strict=True)]
        self._axis = axes[0]
        _check_alike(question, self._laws, axes, places[1])
        self._points = assigned_points(question, node.assignments) if node.assignments else None
        self._budgets, self._ratios = self._read_budgets()

    def steps(self) -> Steps:
        """Return both laws and the budgets."""
        steps = self._pair.steps()
        if self._ratios is not None:
            steps.append(("compute", f"{PER_TOKEN:g} params tokens, spent at the tokens for each parameter of AT"))
        elif any(len(law.inputs) == 2 for law in self._laws):
            steps.append(("compute", f"{PER_TOKEN:g} params tokens, spent as each law says is best"))
        if self._budgets is None:
            steps.append((f"at {self._axis}", "the largest at which both laws stay within their rows"))
        else:
            steps.append((f"at {self._axis}", ", ".join(f"{budget:g}" for budget in self._budgets)))
        return [*steps, ("intervals", f"from pairs of draws of both laws, seed {self._options.seed}")]

    def run(self) -> pa.Table:
        """Return a row for each budget with the gain there."""
        records = self._pair.read()
        first, second = (Recipe(record.fitted) for record in records)
        budgets = self._budgets
        if budgets is None:
            budgets = np.array([largest_budget(first, second)])
            if not np.isfinite(budgets).all():
                message = "both laws are of given coefficients: no rows say up to which compute to compare them"
                raise self._question.error("Binder", message, self._node, f"AT {self._axis} = 1e21 says at which")
        ratios = [None] * len(budgets) if self._ratios is None else self._ratios.tolist()
        level = records[0].level if self._options.level is None else self._options.level
        pairs = self._pair.draws(records, self._options.seed)
        found = [
            compute_gain(first, second, float(budget), ratio=ratio, level=level, pairs=pairs)
            for budget, ratio in zip(budgets, ratios, strict=True)
        ]
        self._note(records, (first, second), found, len(pairs[0]))
        return self._table(records, (first, second), found, level)

    def _read_budgets(self) -> tuple[Array | None, Array | None]:
        """Return the compute of AT and the tokens for each parameter, None for what it does not give."""
        question, node, points = self._question, self._node, self._points
        if points is None:
            return None, None
        given = {name.lower(): name for name in points.column_names}
        has_sizes = any(len(law.inputs) == 2 for law in self._laws)
        if has_sizes:
            self._check_one_budget(set(given))
        if has_sizes and set(SIZES) <= set(given):
            params, tokens = (self._positive(given[name], name) for name in SIZES)
            return PER_TOKEN * params * tokens, tokens / params
        if self._axis.lower() in given:
            return self._positive(given[self._axis.lower()], self._axis), None
        wanted = f"{self._axis}, or params and tokens" if has_sizes else self._axis
        named = self._axis if is_plain(self._axis) else quote_name(self._axis)
        message = f"{VERB} takes {wanted}, and AT gives {', '.join(points.column_names)}"
        raise question.error("Binder", message, node.at, f"AT {named} = [1e21, 1e23]")

    def _check_one_budget(self, given: set[str]) -> None:
        """Check that AT does not say a budget twice.

        Raises
        ------
        StatementError : when flops are given beside params or tokens
        """
        if FLOPS not in given or not given & set(SIZES):
            return
        surplus = {FLOPS} if set(SIZES) <= given else set(SIZES)
        column = next(one.column for one in self._node.assignments if one.column.text.lower() in surplus)
        message = f"{VERB} takes flops, or params and tokens, and AT gives {column.text} as well"
        hint = (
            f"flops alone are {PER_TOKEN:g} params tokens, spent as each law says is best; params and tokens say the "
            "flops and the tokens for each parameter"
        )
        raise self._question.error("Binder", message, column, hint)

    def _positive(self, column: str, name: str) -> Array:
        """Return a column of AT.

        Raises
        ------
        StatementError : when a value is no finite number above 0
        """
        assert self._points is not None
        place = self._node.at
        values = numbers(self._question, self._points.column(column), name, place)
        if not (np.isfinite(values) & (values > 0)).all():
            raise self._question.error("Data", f"'{name}' has a value that is no finite number above 0", place)
        return values

    def _note(self, records: list[LawRecord], recipes: tuple[Recipe, Recipe], found: list[Gain], pairs: int) -> None:
        """Say what the intervals come from, and how far beyond their rows the laws are taken."""
        question = self._question
        computes = ([gain.compute for gain in found], [gain.needed for gain in found])
        titles = self._pair.titles
        for title, recipe, values in zip(titles, recipes, computes, strict=True):
            ratios = np.array(values) / recipe.support[1]
            note_ratios(question, {self._axis: ratios}, np.isfinite(ratios), title)
        if not pairs:
            bare = [title for title, record in zip(titles, records, strict=True) if not len(record.fitted.draws)]
            has = "has" if len(bare) == 1 else "have"
            question.note(f"{' and '.join(bare)} {has} no resamples, so gains have no interval")
        else:
            question.note(self._pair.how(records, pairs, self._options.seed))
            if self._pair.may_share and any(_is_wide(gain) for gain in found):
                question.note("SHARING (…) in the FIT narrows the interval, where recipes have coefficients in common")
        missing = [gain.reason for gain in found if np.isnan(gain.gain)]
        if missing:
            question.note(f"{len(missing)} of {len(found)} budgets have no gain: {missing[0]}")

    def _table(
        self, records: list[LawRecord], recipes: tuple[Recipe, Recipe], found: list[Gain], level: float
    ) -> pa.Table:
        """Return the columns of AT with the gains beside."""
        import pyarrow as pa

        question, axis, target = self._question, self._axis, records[0].target
        has_sizes = [recipe.has_sizes for recipe in recipes]
        rows = []
        for gain in found:
            sizes, needed = (
                dict(zip(SIZES, map(known, pair), strict=True)) for pair in (gain.sizes, gain.needed_sizes)
            )
            inside = [
                low * (1 - SUPPORT_ROUNDING) <= compute <= high * (1 + SUPPORT_ROUNDING)
                for compute, (low, high) in zip((gain.compute, gain.needed), (r.support for r in recipes), strict=True)
            ]
            row: dict[str, Any] = {axis: gain.compute, **(sizes if has_sizes[0] else {})}
            row |= {f"predicted_{target}": known(gain.loss), f"needed_{axis}": known(gain.needed)}
            row |= {f"needed_{name}": value for name, value in needed.items()} if has_sizes[1] else {}
            row |= {"gain": known(gain.gain), "lower": known(gain.lower), "upper": known(gain.upper), "level": level}
            is_known = all(np.isfinite(recipe.support).all() for recipe in recipes)
            rows.append({**row, "in_support": all(inside) if is_known else None, "reason": gain.reason or None})
        types = {"in_support": pa.bool_(), "reason": pa.string()}
        table = pa.Table.from_pylist(rows, pa.schema([(name, types.get(name, pa.float64())) for name in rows[0]]))
        units = _units(records[0], axis)
        question.units.update(
            {name: units[name] for name in table.column_names if units.get(name, "") not in ("", "any")}
        )
        if self._points is None:
            return table
        given = {name.lower() for name in self._points.column_names}
        twice = given & {axis.lower(), *SIZES}
        table = table.select([name for name in table.column_names if name.lower() not in twice])
        return distinct_names(beside(question, self._points, table, self._node.at, VERB))


def _is_wide(gain: Gain) -> bool:
    """Return whether a gain has an interval that spans a large factor, or that has no two ends."""
    return np.isfinite(gain.gain) and not gain.upper <= WIDE * gain.lower


def _axis(question: Question, law: ChosenLaws, reference: Span) -> str:
    """Return the name of the compute that a law is compared in.

    Raises
    ------
    StatementError : when the law is neither of params and tokens nor of one input
    """
    if sorted(law.inputs) == sorted(SIZES):
        return FLOPS
    if len(law.inputs) == 1:
        return law.inputs[0]
    message = f"{VERB} takes laws of params and tokens, or of one input; {law.title} takes {', '.join(law.inputs)}"
    raise question.error("Binder", message, reference, "such as loss ~ chinchilla(params, tokens)")


def _check_alike(question: Question, laws: list[ChosenLaws], axes: list[str], reference: Span) -> None:
    """Check that two laws say the same thing of the same compute."""
    first, second = laws
    if first.target.lower() != second.target.lower():
        message = f"{first.title} predicts {first.target}, and {second.title} predicts {second.target}"
        raise question.error("Binder", message, reference, "a gain compares laws of one target")
    if axes[0].lower() != axes[1].lower():
        message = f"{first.title} is one of {axes[0]}, and {second.title} one of {axes[1]}"
        raise question.error("Binder", message, reference, "a gain compares laws of one kind of compute")


def _units(record: LawRecord, axis: str) -> dict[str, str]:
    """Return the units of the columns."""
    units = {f"predicted_{record.target}": record.law.unit, **dict.fromkeys(SIZES, "count")}
    units[axis] = "flop" if axis == FLOPS else record.law.inputs[0].unit
    units |= {f"needed_{name}": units[name] for name in (*SIZES, axis)}
    return units | dict.fromkeys(("gain", "lower", "upper"), "1")
