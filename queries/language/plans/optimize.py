"""OPTIMIZE: the point that a law says is best under conditions, for each of some values."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.runs.metrics import is_highest, is_said
from isoflop.queries.language.choices import check_used, title_of, variable_of
from isoflop.queries.language.clause_options import PlanOptions
from isoflop.queries.language.describe import interval_step, over_steps
from isoflop.queries.language.distance_notes import note_distance
from isoflop.queries.language.numbers import numbers
from isoflop.queries.language.options import OPTIMIZE_KEYS, read_plan_options
from isoflop.queries.language.prediction import ChosenLaws, predictions, with_keys
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.scope import Scope
from isoflop.queries.language.syntax.nodes import Span
from isoflop.queries.language.syntax.planning import Optimize
from isoflop.queries.language.verb import Steps
from isoflop.queries.planning.optimum import Optimum, optimize
from isoflop.queries.planning.optimum_spread import FEWEST_FOUND, OptimumSpread, optimum_spread
from isoflop.queries.planning.problem import Condition, ConstrainedProblem, Variable

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]

SLOW_RESAMPLES = 20  # of a law that is slow to compute
ADDED = (
    "lower", "upper", "slack", "binding", "multiplier", "status", "optimum", "optimum_lower", "optimum_upper",
)  # fmt: skip


class OptimizePlan:
    """A law, what can be chosen, and the values that it is chosen for."""

    def __init__(self, question: Question, node: Optimize) -> None:
        self._question, self._node = question, node
        self._options = options = read_plan_options(question, node.options, "OPTIMIZE", OPTIMIZE_KEYS)
        self._time_law = load_law(question, options.time_law) if options.time_law else None
        self._laws = ChosenLaws(question, node.law)
        self._variables = tuple(variable_of(question, over) for over in node.ranges)
        self._values = _each_values(question, node)
        _check_names(question, node, self._laws.target)
        self._maximize, self._is_said = node.maximize, True
        if node.maximize is None:
            self._maximize, self._is_said = _best(question, self._laws.target)

    def steps(self) -> Steps:
        """Return what is chosen, within which ranges and under which conditions."""
        node, saved = self._node, self._laws.saved
        what = self._laws.target if node.objective is None else node.objective.text
        steps = [*self._laws.steps(), ("maximize" if self._maximize else "minimize", what)]
        steps += over_steps(self._question, node, self._time_law)
        if node.each is not None:
            steps.append((f"for each {node.each.name.text}", " ".join(node.each.values.text.split())))
        return steps if saved is None else [*steps, interval_step(saved, self._options)]

    def run(self) -> pa.Table:
        """Return one row for each FOR EACH value: the best point, what the law predicts there, which conditions bind.

        `slack` is how far each condition is from its edge, in its own unit; `multiplier` the change of the optimum
        for each unit that a right-hand side is raised by. `status` is `optimal`, `not_converged` or `infeasible`.
        Behind these come the best value itself, `optimum`, and how sure it and each variable are, `…_lower` and
        `…_upper`: the central part of the optima of the law's resamples.

        Raises
        ------
        StatementError : with a caret, for a name in a formula that is none

        Example
        -------
        For a law of runs up to 1e10 params, `OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN
        [1e9, 1e14] LOG SUBJECT TO 6 * params * tokens <= budget FOR EACH budget IN [1e21, 1e22]` answers, with a
        `binding` of `[6 * params * tokens <= budget]` and a `slack` of 0 in both rows,

            budget  params       tokens       predicted_loss  lower    upper    multiplier    status
            1e+21   1.77175e+09  9.4069e+10   2.33536         2.32709  2.34329  -9.68804e-23  optimal
            1e+22   4.99829e+09  3.33447e+11  2.14753         2.13893  2.15527  -6.7971e-24   optimal
        """
        import pyarrow as pa

        question, node = self._question, replace(self._node, maximize=self._maximize)
        if not self._is_said:
            target = self._laws.target
            question.note(f"{target} is taken to be best where it is least; MAXIMIZE {target} asks for the most of it")
        keys, records = self._laws.read()
        for said in dict.fromkeys(note for record in records for note in record.notes if note.startswith("rounded: ")):
            question.note(said)
        found = [
            _solved(question, node, record, self._time_law, self._variables, self._values, self._options)
            for record in records
        ]
        return pa.concat_tables([with_keys(keys, position, table) for position, table in enumerate(found)])


def _best(question: Question, target: str) -> tuple[bool, bool]:
    """Return whether the largest value of what a law predicts is the best one, and whether its name says so."""
    columns = f"{is_highest('metric')} AS is_highest, {is_said('metric')} AS is_said"
    (row,) = question.lake.query(f"SELECT {columns} FROM (SELECT ? AS metric)", [target]).to_pylist()
    return bool(row["is_highest"]), bool(row["is_said"])


def _each_values(question: Question, node: Optimize) -> list[float]:
    """Return the FOR EACH values; without FOR EACH a single one that nothing uses."""
    import pyarrow as pa

    each = node.each
    if each is None:
        return [math.nan]
    if each.is_query:
        table = question.run(each.values)
        if table.num_columns != 1:
            message = f"the query of FOR EACH has {table.num_columns} columns, and '{each.name.text}' is one"
            raise question.error("Binder", message, each.values)
    elif each.is_bare:
        table = question.run("SELECT unnest([", each.values, "]) AS value")
    else:
        table = question.run("SELECT (", each.values, ") AS value")
        if pa.types.is_list(table.column(0).type):
            table = pa.table({"value": table.column(0).combine_chunks().flatten()})
    column = numbers(question, table.column(0), each.name.text, each.values)
    if not len(column):
        raise question.error("Data", f"'{each.name.text}' has no values", each.values)
    if not np.isfinite(column).all():
        raise question.error("Data", f"'{each.name.text}' has a value that is no finite number", each.values)
    found: list[float] = column.tolist()
    return found


def _check_names(question: Question, node: Optimize, target: str) -> None:
    """Check that no name is that of a column of the answer, and no condition is said twice."""
    own = {f"predicted_{target}".lower(), *ADDED}
    own |= {f"{over.name.text.lower()}_{end}" for over in node.ranges for end in ("lower", "upper")}
    names = [over.name for over in node.ranges] + [value.name for value in node.values]
    for name in (*names, *([node.each.name] if node.each else [])):
        if name.text.lower() in own:
            raise question.error("Binder", f"OPTIMIZE answers with a column '{name.text}' of its own", name)
    counts = Counter(title_of(condition) for condition in node.conditions)
    for condition in node.conditions:
        if counts[title_of(condition)] > 1:
            raise question.error("Binder", "the condition is given twice", condition)


def _solved(
    question: Question,
    node: Optimize,
    record: LawRecord,
    time_law: LawRecord | None,
    variables: tuple[Variable, ...],
    values: list[float],
    options: PlanOptions,
) -> pa.Table:
    """Return the rows of one law."""
    import pyarrow as pa

    place = Span(node.ranges[0].name.start, node.ranges[-1].upper.end)
    each = node.each.name.text if node.each else None
    scope = Scope(question, record, [variable.name for variable in variables], each, place, node.values, time_law)
    conditions = tuple(
        Condition(
            title_of(condition), scope.function(condition.left), scope.function(condition.right), condition.relation
        )
        for condition in node.conditions
    )
    aim = scope.prediction() if node.objective is None else scope.function(node.objective)
    problem = ConstrainedProblem(variables, aim, conditions, bool(node.maximize))
    check_used(question, scope, node.ranges, "OPTIMIZE")
    found: list[Optimum] = []
    spreads: list[OptimumSpread] = []
    draws = _some_draws(record, options.resamples)
    level = record.level if options.level is None else options.level
    inputs = np.empty((len(values), len(record.law.inputs)))
    given: dict[str, list[float]] = {name: [] for name in scope.value_names}
    for row, value in enumerate(values):
        scope.each_value = value
        found.append(optimize(problem))
        inputs[row] = scope.inputs(found[-1].point[None])[0]
        for name, computed in scope.values(found[-1].point[None]).items():
            given[name].append(float(computed[0]))
        spreads.append(optimum_spread(problem, found[-1], scope.use, draws, level=level))
        scope.use(record.fitted.coefficients)
    _note_failures(question, record.target if node.objective is None else node.objective.text, found)
    _note_spread(question, found, spreads, draws)
    is_known = np.array([optimum.status != "infeasible" for optimum in found])

    def column(numbers_: Array, kind: pa.DataType | None = None) -> pa.ChunkedArray:
        known = is_known & np.isfinite(numbers_)
        array = pa.array(np.where(known, numbers_, 0.0), pa.float64(), mask=~known)
        return pa.chunked_array([array.cast(kind) if kind is not None else array])

    table: dict[str, Any] = {} if each is None else {each: pa.array(values, pa.float64())}
    for v, chosen in enumerate(variables):
        points = np.array([best.point[v] for best in found])
        table[chosen.name] = column(points, pa.int64() if chosen.is_integer else None)
    for name, computed_ in given.items():
        table[name] = column(np.array(computed_))
    columns = [column(inputs[:, p]) for p in range(inputs.shape[1])]
    predicted, prediction, fault = predictions(question, record, columns, options, place)
    note_distance(question, record, prediction, fault == "")
    if prediction.in_support.size and not prediction.in_support[is_known].all() and len(draws) >= 2:
        ends = ", ".join(f"{name}_lower" for name in ("optimum", *(chosen.name for chosen in variables)))
        question.note(
            f"{ends} and their upper ends come from resamples, as if the law were right: beyond the rows they are too "
            "narrow where it is not, and only lower and upper are widened"
        )
    for name in (f"predicted_{record.target}", "lower", "upper"):
        table[name] = predicted.column(name)
    names = [condition.text for condition in conditions]
    table["slack"] = _by_condition(
        names, [optimum.slack if optimum.status != "infeasible" else None for optimum in found]
    )
    table["binding"] = pa.array([list(optimum.binding) for optimum in found], pa.list_(pa.string()))
    multipliers = [optimum.multipliers if optimum.status != "infeasible" else None for optimum in found]
    table["multiplier"] = _by_condition(names, multipliers)
    table["status"] = pa.array([optimum.status for optimum in found], pa.string())
    table["optimum"] = column(np.array([optimum.value for optimum in found]))
    table["optimum_lower"] = column(np.array([spread.value_lower for spread in spreads]))
    table["optimum_upper"] = column(np.array([spread.value_upper for spread in spreads]))
    for v, chosen in enumerate(variables):
        kind = pa.int64() if chosen.is_integer else None
        table[f"{chosen.name}_lower"] = column(np.array([spread.lower[v] for spread in spreads]), kind)
        table[f"{chosen.name}_upper"] = column(np.array([spread.upper[v] for spread in spreads]), kind)
    return pa.table(table)


def _some_draws(record: LawRecord, count: int) -> Array:
    """Return up to `count` of a law's resamples, spread evenly; the slow laws get fewer."""
    draws = record.fitted.draws[np.isfinite(record.fitted.draws).all(axis=1)]
    count = min(count, SLOW_RESAMPLES) if record.law.is_costly else count
    return draws[np.linspace(0, len(draws) - 1, count).astype(int)] if 0 < count < len(draws) else draws[:count]


def _note_spread(question: Question, found: list[Optimum], spreads: list[OptimumSpread], draws: Array) -> None:
    """Say for how many rows too few resamples have an optimum."""
    missing = sum(
        best.status != "infeasible" and spread.found < FEWEST_FOUND for best, spread in zip(found, spreads, strict=True)
    )
    if missing and len(draws) >= 2:
        question.note(f"{missing} of {len(found)} optima have no interval: resamples have theirs elsewhere, or none")


def _by_condition(names: list[str], rows: list[Array | None]) -> pa.Array:
    """Return one struct for each row with a number for each condition; nulls without conditions."""
    import pyarrow as pa

    if not names:
        return pa.nulls(len(rows))
    kind = pa.struct([(name, pa.float64()) for name in names])
    return pa.array([None if row is None else dict(zip(names, row.tolist(), strict=True)) for row in rows], kind)


def _note_failures(question: Question, aim: str, found: list[Optimum]) -> None:
    """Say which rows have no optimum, and which variables the ranges of OVER stopped."""
    infeasible = [optimum for optimum in found if optimum.status == "infeasible"]
    of = f" for {len(infeasible)} of {len(found)} values" if len(found) > 1 else ""
    if infeasible:
        broken = dict.fromkeys(text for optimum in infeasible for text in optimum.binding)
        reason = f"satisfies {' and '.join(broken)}" if broken else f"has a value of {aim}"
        question.note(f"nothing in OVER {reason}{of}")
    rough = sum(optimum.status == "not_converged" for optimum in found)
    if rough:
        question.note(f"{rough} of {len(found)} optima are not confirmed: the slope does not vanish there")
    edges = Counter(name for optimum in found if optimum.status != "infeasible" for name in optimum.edges)
    for name, count in edges.items():
        question.note(f"'{name}' ends at the edge of its range in {count} of {len(found)} rows: OVER decides there")
