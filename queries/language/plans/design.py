"""DESIGN: the runs to train next, those after which a law's forecast is narrowest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.intervals import Prediction, predict
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.language.choices import check_used, title_of, variable_of
from isoflop.queries.language.describe import interval_step, over_steps
from isoflop.queries.language.numbers import numbers
from isoflop.queries.language.options import DESIGN_KEYS, read_plan_options
from isoflop.queries.language.points import inputs_among, target_points
from isoflop.queries.language.prediction import ChosenLaws, with_keys
from isoflop.queries.language.question import Question
from isoflop.queries.language.ratio_guard import ratio_guard
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.rows import faults_of, first_fault
from isoflop.queries.language.scope import Scope
from isoflop.queries.language.syntax.nodes import Expression, Span
from isoflop.queries.language.syntax.planning import Design, OverList, OverRange
from isoflop.queries.language.syntax.tokens import Kind
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws import Law
from isoflop.queries.planning.plan import Budget, NothingToChoose, NothingToNarrow, RunPlan, plan_runs
from isoflop.queries.planning.posterior import PosteriorDraws
from isoflop.queries.planning.problem import Condition, Function, Variable

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]

MOST_RUNS = 200  # longer lists are a sweep file's to write
FEWEST_RESAMPLES = 20  # fewer say little of how the coefficients move together
ADDED = ("run", "flops", "seconds", "cost", "width_before", "width_after", "ratio", "level", "interval")


class DesignPlan:
    """A law, the forecast that is to be narrowed, what can be chosen, and the budgets."""

    def __init__(self, question: Question, node: Design) -> None:
        self._question, self._node = question, node
        self._options = options = read_plan_options(question, node.options, "DESIGN", DESIGN_KEYS)
        self._laws = laws = ChosenLaws(question, node.target.law)
        self._count = _count(question, node.count)
        self._variables = tuple(_variable(question, over) for over in node.ranges)
        self._time_law = load_law(question, options.time_law) if options.time_law else None
        self._targets = target_points(question, node.target)
        _check_names(question, node, laws.target)
        self._columns = inputs_among(question, laws, self._targets, node.target.target)
        self._budgets = tuple(
            question.number(condition.right, "a budget") for condition in node.conditions if condition.is_total
        )

    def steps(self) -> Steps:
        """Return what is chosen among, for which forecast, and what a run costs."""
        node, targets, saved = self._node, self._targets, self._laws.saved
        steps = [*self._laws.steps(), ("runs", node.count.text)]
        steps.append(("forecast", f"{targets.num_rows} with {', '.join(targets.column_names)}"))
        steps += over_steps(self._question, node, self._time_law)
        if self._options.per is not None:
            steps.append(("per", self._options.per.text))
        return steps if saved is None else [*steps, interval_step(saved, self._options)]

    def run(self) -> pa.Table:
        """Return one row for each run to train, the one first that narrows the forecast most.

        `width_before` and `width_after` are the widths of the forecast's interval without and with the run and those
        above it, in the target's unit, as they are expected to be; over several targets, the mean. `ratio` is how many
        times narrower the forecast is by then than it was before all of them. `cost` is what SUM(…) or `per` counts.

        Raises
        ------
        StatementError : with a caret, for a law, a name or a range that is none, and when no run is possible

        Example
        -------
        For a law of runs up to 1e10 params, `DESIGN 3 RUNS FOR chin TO params = 1e12, tokens = 2e13 OVER params IN
        [1e8, 1e11] LOG, tokens IN [1e9, 1e12] LOG SUBJECT TO SUM(flops) <= 1e22` answers, some columns left out,

            run  params       tokens     predicted_loss  flops        width_before  width_after  ratio
            1    7.8415e+08   9.995e+11  2.259           4.7026e+21   0.022371      0.020263     1.104
            2    7.8286e+08   1e+12      2.2591          4.6972e+21   0.020263      0.018919     1.1824
            3    1e+11        1e+09      3.0124          6e+20        0.018919      0.017897     1.25
        """
        import pyarrow as pa

        keys, records = self._laws.read()
        forecast = _forecast_inputs(self._question, self._node, self._laws.law, self._columns)
        found = [self._planned(record, forecast) for record in records]
        return pa.concat_tables([with_keys(keys, position, table) for position, table in enumerate(found)])

    def _planned(self, record: LawRecord, forecast: Array) -> pa.Table:
        """Return the runs for one law."""
        question, node, options = self._question, self._node, self._options
        variables, count = self._variables, self._count
        place = Span(node.ranges[0].name.start, node.ranges[-1].name.end)
        fitted = record.fitted
        _check_given(question, node, record)
        if np.isfinite(fitted.draws).all(axis=1).sum() < FEWEST_RESAMPLES:
            message = f"{record.title} has {len(fitted.draws)} resamples, and DESIGN needs to know how sure it is"
            raise question.error("Fit", message, node.target.law, "fit it WITH (resamples = 1000)")
        _check_sign(question, node, record, forecast)
        scope = Scope(
            question, record, [variable.name for variable in variables], None, place, node.values, self._time_law
        )
        conditions = tuple(
            Condition(
                title_of(condition), scope.function(condition.left), scope.function(condition.right), condition.relation
            )
            for condition in node.conditions
            if not condition.is_total
        )
        said = [condition.text for condition in conditions]
        guards, note = ratio_guard(record.inputs, variables, said, forecast)
        budgets = tuple(
            Budget(title_of(condition), scope.function(condition.left), limit)
            for condition, limit in zip(
                (condition for condition in node.conditions if condition.is_total), self._budgets, strict=True
            )
        )
        per = None if options.per is None else _cost(question, scope, options.per)
        check_used(question, scope, node.ranges, "DESIGN")
        try:
            plan = plan_runs(
                lambda places: PosteriorDraws.of(fitted, places), scope.inputs, forecast, variables, count,
                conditions=(*conditions, *guards), budgets=budgets, per=per, seed=options.seed,
                is_slow=record.law.is_costly,
            )  # fmt: skip
        except NothingToNarrow as error:
            raise question.error("Data", str(error), node.target.target) from None
        except NothingToChoose as error:
            at = node.conditions[0] if node.conditions else place
            raise question.error(
                "Data", str(error), Span(at.start, node.end if not node.conditions else at.end)
            ) from None
        if not budgets and per is None:
            question.note(
                "runs are chosen by how much they narrow the forecast, whatever they cost; "
                "SUBJECT TO SUM(6 * params * tokens) <= 1e21 sets a budget"
            )
        if note is not None:
            question.note(note)
        _note_repeats(question, plan)
        level = record.level if options.level is None else options.level
        now = predict(fitted, forecast, level=level, kind=options.interval)
        counted = per or (budgets[0].cost if budgets else None)
        return _table(record, scope, variables, plan, now, counted)


def _note_repeats(question: Question, plan: RunPlan) -> None:
    """Say that runs repeat others, which is what the budget is best spent on."""
    repeats = len(plan.points) - len(np.unique(plan.points, axis=0))
    if repeats:
        said = f"{repeats} of the {len(plan.points)} runs repeat another, and are trained with seeds of their own"
        question.note(str(Note("repeats", f"{said}: what they tell is worth more than one run's scatter lets through")))


def _check_given(question: Question, node: Design, record: LawRecord) -> None:
    """Check that a law of given coefficients says how sure it is, and how far runs scatter about it."""
    is_sure = len(record.fitted.draws) >= FEWEST_RESAMPLES
    if not record.is_given or (is_sure and np.isfinite(record.fitted.residual_scale)):
        return
    message = (
        f"{record.title} does not say how {'far runs scatter about it' if is_sure else 'sure its coefficients are'}"
    )
    if record.is_published:
        hint = "make a law of its coefficients WITH COEFFICIENTS (…) COVARIANCE [[…], …] WITH (residual_scale = 0.01)"
    else:
        hint = "make it with STANDARD ERRORS (…) or COVARIANCE [[…], …], and WITH (residual_scale = 0.01)"
    raise question.error("Fit", message, node.target.law, hint)


def _check_sign(question: Question, node: Design, record: LawRecord, forecast: Array) -> None:
    """Check that a forecast is above zero where runs scatter by a factor: how sure it is, is told by its logarithm.

    Parameters
    ----------
    forecast : (T, P)
    """
    fitted = record.fitted
    if fitted.scatter.is_additive:
        return
    with np.errstate(all="ignore"):
        predicted = np.asarray(record.law.predict(fitted.coefficients, forecast), dtype=np.float64).reshape(-1)
    wrong = predicted[~(predicted > 0)]
    if not len(wrong):
        return
    message = (
        f"{record.title} says {wrong[0]:.4g} there, and its runs scatter by a factor, as only values above zero do: "
        "DESIGN cannot say how much narrower the forecast gets"
    )
    hint = "a FIT with objective = 'huber_plain' is of values of any sign"
    if record.is_given:
        hint = "residual_scale is the scatter of a logarithm; WITH (scatter = 'additive') has it in the target's unit"
    raise question.error("Data", message, node.target.target, hint)


def _count(question: Question, expression: Expression) -> int:
    """Return how many runs are asked for."""
    value = question.constant(expression)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_RUNS:
        message = f"DESIGN chooses 1 to {MOST_RUNS} runs, got {expression.text}"
        raise question.error("Binder", message, expression)
    return value


def _variable(question: Question, over: OverRange | OverList) -> Variable:
    """Return a range or a list of OVER with its numbers."""
    if isinstance(over, OverRange):
        return variable_of(question, over)
    column = question.run("SELECT unnest([", over.values, "]) AS value").column("value")
    values = np.unique(numbers(question, column, over.name.text, over.values))
    if not np.isfinite(values).all():
        raise question.error("Data", f"'{over.name.text}' has a value that is no finite number", over.values)
    is_whole = bool((values == np.rint(values)).all())
    return Variable(
        over.name.text, float(values[0]), float(values[-1]), is_integer=is_whole, values=tuple(values.tolist())
    )


def _check_names(question: Question, node: Design, target: str) -> None:
    """Check that no name is that of a column of the answer, unless it is the same thing."""
    own = {f"predicted_{target}".lower(), *ADDED} - {"flops", "seconds"}
    for part in (*node.ranges, *node.values):
        if part.name.text.lower() in own:
            raise question.error("Binder", f"DESIGN answers with a column '{part.name.text}' of its own", part.name)
    for condition in node.conditions:
        if condition.relation == "=":
            hint = "let OVER compute it: OVER params IN [1e8, 1e10] LOG, tokens = 20 * params"
            raise question.error("Binder", "DESIGN takes conditions with <= and >=", condition, hint)


def _forecast_inputs(question: Question, node: Design, law: Law, columns: list[pa.ChunkedArray]) -> Array:
    """Return the (T, P) inputs of what is forecast."""
    inputs = np.empty((len(columns[0]), len(columns)))
    faults = {}
    for p, (input_, column) in enumerate(zip(law.inputs, columns, strict=True)):
        inputs[:, p] = numbers(question, column, input_.name, node.target.target)
        faults[input_.name] = faults_of(inputs[:, p], column, needs_positive=input_.positive)
    wrong = [fault for fault in first_fault(faults, len(inputs)) if fault]
    if wrong:
        raise question.error("Data", f"there is no forecast to narrow: {wrong[0]}", node.target.target)
    return inputs


def _cost(question: Question, scope: Scope, expression: Expression) -> Function:
    """Return what `per` counts: an expression, or a known name in quotes."""
    token = question.tokens[expression.first]
    if expression.last > expression.first + 1 or token.kind is not Kind.STRING:
        return scope.function(expression)
    known = (*scope.given, *scope.follows)
    if token.value not in known:
        message = f"'{token.value}' is no cost that is known here"
        raise question.error("Binder", message, expression, f"known here: {', '.join(known)}; or write an expression")
    return lambda points: np.asarray(scope.named(points)[token.value], dtype=np.float64)


def _table(
    record: LawRecord,
    scope: Scope,
    variables: tuple[Variable, ...],
    plan: RunPlan,
    now: Prediction,
    cost: Function | None,
) -> pa.Table:
    """Return the rows of a plan."""
    import pyarrow as pa

    points, count = plan.points, len(plan.points)
    named = scope.named(points)

    def column(name: str, values: Any) -> pa.Array:
        known = np.broadcast_to(np.asarray(values, dtype=np.float64), count)
        is_whole = any(variable.name == name and variable.is_integer for variable in variables)
        array = pa.array(known, pa.float64(), mask=~np.isfinite(known))
        return array.cast(pa.int64()) if is_whole else array

    table: dict[str, Any] = {"run": pa.array(range(1, count + 1), pa.int64())}
    for name in (*scope.variables, *scope.value_names):
        table[name] = column(name, named[name])
    with np.errstate(all="ignore"):
        predicted = record.law.predict(record.fitted.coefficients, scope.inputs(points))
    table[f"predicted_{record.target}"] = column("", predicted)
    for name in ("flops", "seconds"):
        is_known = name in scope.given or name in scope.follows
        table[name] = column(name, named[name] if is_known else math.nan)
    table["cost"] = column("", math.nan if cost is None else cost(points))
    widths = _widths(plan.narrowing, now, record.fitted)
    table["width_before"] = column("", widths[:-1])
    table["width_after"] = column("", widths[1:])
    table["ratio"] = column("", widths[0] / widths[1:])
    table["level"] = column("", now.level)
    table["interval"] = pa.array([now.kind] * count, pa.string())
    return pa.table(table)


def _widths(narrowing: Array, now: Prediction, fitted: FittedLaw) -> Array:
    """(n + 1,) mean width of the forecast's interval after each number of runs, in the target's unit.

    The interval of now shrinks, on the scale of the scatter, as the standard deviation does; a new run's noise stays.
    """
    scatter = fitted.scatter
    noise = fitted.residual_scale / scatter.size
    variance = narrowing**2 + (noise**2 if now.kind == "prediction" else 0.0)
    shrunk = np.sqrt(variance / variance[0])
    with np.errstate(all="ignore"):
        lower = scatter.stretched(now.predicted, now.lower, shrunk)
        upper = scatter.stretched(now.predicted, now.upper, shrunk)
    found: Array = (upper - lower).mean(axis=1)
    return found
