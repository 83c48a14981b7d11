"""EXPLAIN and EXPLAIN ANALYZE: what a verb would do, without doing it; or what it did, and how long that took.

EXPLAIN reads the rows that the verb would read, because only they say how many can be used. It fits nothing,
predicts nothing and writes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.lakehouse.units import format_seconds
from isoflop.queries.fitting.problem import planned_starts
from isoflop.queries.language.bind import Bound, bind_candidate
from isoflop.queries.language.options import (
    FitOptions,
    read_approach_options,
    read_average_options,
    read_compare_options,
    read_fit_options,
)
from isoflop.queries.language.parse import Explain
from isoflop.queries.language.plans.approaches import approach_rows, bound_approaches, wanted_budgets
from isoflop.queries.language.plans.average import average_points, average_rows, bound_average
from isoflop.queries.language.plans.explain_predictions import (
    Steps,
    explain_design,
    explain_extrapolation,
    explain_optimum,
    explain_rows,
    law_steps,
)
from isoflop.queries.language.plans.refit import KEPT
from isoflop.queries.language.plans.validate import (
    bind_subject,
    bound_candidates,
    common_rows,
    fold_options,
    read_usable,
    split_rows,
)
from isoflop.queries.language.provenance import statement_of
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import load_law
from isoflop.queries.language.rows import CLUSTER, Rows, group_rows, read_rows
from isoflop.queries.language.syntax.nodes import (
    Compare,
    CompareApproaches,
    CreateLaw,
    CrossValidate,
    Design,
    Expression,
    Extrapolate,
    ExtrapolateAverage,
    Fit,
    Forecast,
    Optimize,
    Predict,
    RefitLaw,
    Residuals,
    Source,
    Span,
)
from isoflop.queries.language.verb import Plan
from isoflop.queries.laws import Coefficient

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_FOLDS = 12


@dataclass(frozen=True)
class ExplainPlan:
    """A verb that is described, or done and described."""

    question: Question
    node: Explain

    def steps(self) -> Steps:
        """Return what the verb behind EXPLAIN would do."""
        return self._plan().steps()

    def _plan(self) -> Plan:
        clause = self.node.clause
        return clause.verb.plan(self.question, clause.node)

    def run(self) -> pa.Table:
        """Return what a verb would do in rows of a step and its detail, among them the SQL that DuckDB would get.

        Raises
        ------
        StatementError : for what the verb itself cannot be asked
        """
        import pyarrow as pa

        question = self.question
        before = len(question.sent)
        if self.node.is_analyzed:
            began = time.perf_counter()
            plan = self._plan()
            table = plan.run()
            seconds = time.perf_counter() - began
            sent = question.sent[before:]
            steps = plan.steps()
            asked = sum(one.seconds for one in sent)
            steps.append(("answer", f"{table.num_rows} rows of {', '.join(table.column_names)}"))
            steps.append(("time in DuckDB", f"{format_seconds(asked)} for {len(sent)} queries"))
            steps.append(("time for the rest", format_seconds(max(seconds - asked, 0.0))))
            steps.append(("time in all", format_seconds(seconds)))
        else:
            steps = self._plan().steps()
            sent = question.sent[before:]
        steps += [("sql", text) for text in dict.fromkeys(one.sql for one in sent)]
        return pa.table({"step": [step for step, _ in steps], "detail": [detail for _, detail in steps]})


def explained(question: Question, node: Span) -> Steps:
    """Return what a verb would do."""
    match node:
        case Fit():
            return explain_fit(question, node)
        case CreateLaw():
            kept = f"as law '{node.name.text}', with its SQL functions, in one transaction"
            return [*explain_fit(question, node.fit), ("keep", kept)]
        case RefitLaw():
            return _refit(question, node)
        case CrossValidate():
            return _cross_validate(question, node)
        case Compare():
            return _compare(question, node)
        case CompareApproaches():
            return _approaches(question, node)
        case Extrapolate():
            return _of_law(question, node) + explain_extrapolation(question, node, "EXTRAPOLATE")
        case ExtrapolateAverage():
            return _average(question, node)
        case Forecast():
            steps = _of_law(question, node.extrapolate)
            return steps + explain_extrapolation(question, node.extrapolate, "FORECAST")
        case Predict() | Residuals():
            return _of_law(question, node) + explain_rows(question, node)
        case Optimize():
            return _of_law(question, node) + explain_optimum(question, node)
        case Design():
            return _of_law(question, node.target) + explain_design(question, node)
        case _:
            return []


def _of_law(question: Question, node: Extrapolate | Predict | Residuals | Optimize) -> Steps:
    """Return what the law of a verb is; for a FIT in parentheses, what would be fitted."""
    if isinstance(node.law, Fit):
        return explain_fit(question, node.law)
    return law_steps(question, load_law(question, node.law))


# Fits


def explain_fit(question: Question, fit: Fit, kept: FitOptions | None = None) -> Steps:
    """Return the law, its coefficients with their domains, the rows and the options of a FIT.

    Parameters
    ----------
    kept : options that hold whatever the clause says
    """
    bound = bind_candidate(question, fit.candidate)
    options = kept or read_fit_options(question, fit.options, "FIT", bound.law)
    extra = {str(position): group for position, group in enumerate(fit.source.groups)}
    if options.cluster is not None:
        extra[CLUSTER] = options.cluster
    rows = read_rows(question, bound, fit.source, extra)
    steps = [*_bound_steps(bound), *_row_steps(fit.source, rows)]
    if fit.source.groups:
        groups = group_rows(rows.extra.select([str(position) for position in range(len(fit.source.groups))]))
        steps += [("group by", group.text) for group in fit.source.groups]
        steps.append(("fits", f"{len(groups)}, one for each group"))
    steps += _search_steps(bound, rows, options)
    steps += _interval_steps(options)
    if options.checks_forward:
        steps.append(("forward check", "the large rows predicted from the small ones widen intervals beyond the rows"))
    return steps


def _bound_steps(bound: Bound) -> Steps:
    law = bound.law
    steps = [("law", f"{bound.target_name} ~ {law.formula}")]
    steps += [
        (f"input {one.name}", column.text + (", above 0" if one.positive else ""))
        for one, column in zip(law.inputs, bound.columns, strict=True)
    ]
    return steps + [(f"coefficient {one.name}", _domain(one)) for one in law.coefficients]


def _row_steps(source: Source, rows: Rows) -> Steps:
    used = f"{len(rows.kept)} of {rows.matched}" + "".join(f", {reason}" for reason in rows.reasons)
    steps = [("rows", used)]
    if source.weight is not None:
        steps.append(("weight by", source.weight.text))
    return steps


def _search_steps(bound: Bound, rows: Rows, options: FitOptions) -> Steps:
    """Return what is minimised, and from how many points the search begins."""
    penalty = options.objective or bound.law.objective
    delta = getattr(penalty, "delta", None)
    steps = [("objective", penalty.name + (f", delta {delta:g}" if delta is not None else ""))]
    if len(rows.kept):
        starts = planned_starts(bound.law, rows.inputs, rows.target, options.objective)
        how = "the best coefficients follow from a formula" if starts == 1 else f"seed {options.seed}"
        steps.append(("starts", f"{starts}: {how}"))
    return steps


def _interval_steps(options: FitOptions) -> Steps:
    kind = f"of whole groups by {options.cluster.text}" if isinstance(options.cluster, Expression) else "of rows"
    steps = [("intervals", f"{options.level:g} from {options.resamples} resamples {kind}, seed {options.seed}")]
    if options.bootstrap is not None:
        steps.append(("bootstrap", options.bootstrap + (", chosen by the residuals" * (options.bootstrap == "auto"))))
    if options.intervals != "percentile":
        steps.append(("intervals of coefficients", options.intervals))
    return steps


def _domain(one: Coefficient) -> str:
    """Return where a coefficient may lie and where its search starts."""
    if one.fixed is not None:
        return f"{one.role.value}, fixed at {one.fixed:g}"
    if math.isinf(one.lower) and math.isinf(one.upper):
        domain = "any number"
    elif math.isinf(one.upper):
        domain = f"{one.lower:g} or more"
    elif math.isinf(one.lower):
        domain = f"{one.upper:g} or less"
    else:
        domain = f"{one.lower:g} to {one.upper:g}"
    return f"{one.role.value}, {domain}" + (f", first tried at {one.init:g}" if one.init is not None else "")


def _refit(question: Question, node: RefitLaw) -> Steps:
    """Return what would be fitted again, in the words of the statement that made the law."""
    from dataclasses import replace

    record = load_law(question, node.name)
    own, made = statement_of(question, record)
    bound = bind_candidate(own, made.fit.candidate)
    kept = {key: record.options[key] for key in KEPT if key in record.options} | {"seed": record.seed}
    options = replace(read_fit_options(own, made.fit.options, "FIT", bound.law), **kept)
    steps = [*law_steps(question, record), *explain_fit(own, made.fit, options)]
    question.sent += own.sent
    return [*steps, ("keep", f"as version {(record.version or 1) + 1}, unless it comes out bit for bit as it was")]


# Laws judged


def _cross_validate(question: Question, node: CrossValidate) -> Steps:
    bound = bind_subject(question, node.subject)
    options = fold_options(question, node, bound, "CROSS VALIDATE")
    rows = read_usable(question, bound, node.source, node.holdout, options, "CROSS VALIDATE")
    parts = split_rows(question, node.holdout, rows, options.seed).parts
    steps = [*_bound_steps(bound), *_row_steps(node.source, rows), *_search_steps(bound, rows, options)]
    steps.append(("folds", f"{len(parts)}: {_text(question, node.holdout.start, node.holdout.end)}"))
    for fold, (train, test) in enumerate(parts[:SHOWN_FOLDS], 1):
        steps.append((f"fold {fold}", f"fitted to {len(train)} rows, judged on {len(test)}"))
    if len(parts) > SHOWN_FOLDS:
        steps.append(("further folds", str(len(parts) - SHOWN_FOLDS)))
    return steps + _interval_steps(options)


def _compare(question: Question, node: Compare) -> Steps:
    names, bounds = bound_candidates(question, node)
    options, weighing = read_compare_options(question, node.options, "COMPARE", bounds[0].law)
    read = [read_usable(question, bound, node.source, node.holdout, options, "COMPARE") for bound in bounds]
    rows = common_rows(question, node.source, read, "COMPARE")
    steps: Steps = []
    for name, bound, own in zip(names, bounds, read, strict=True):
        free = sum(one.fixed is None for one in bound.law.coefficients)
        usable = f"{len(own.kept)} of {own.matched} rows usable"
        detail = f"{bound.target_name} ~ {bound.law.formula}; {free} free coefficients; {usable}"
        steps.append((f"candidate {name}", detail))
    steps.append(("rows", f"{len(rows[0].kept)} of {rows[0].matched}, which every candidate can use"))
    steps += _search_steps(bounds[0], rows[0], options)
    if weighing is not None:
        steps.append(("weighed by", weighing))
    if node.holdout is None:
        return [*steps, ("ranked by", "aicc of fits to all rows")]
    parts = split_rows(question, node.holdout, rows[0], options.seed).parts
    steps.append(("folds", f"{len(parts)}: {_text(question, node.holdout.start, node.holdout.end)}"))
    steps.append(("ranked by", "mean absolute error on the rows held out"))
    return steps + _interval_steps(options)


def _approaches(question: Question, node: CompareApproaches) -> Steps:
    """Return the law of approach 3, the rows that all approaches look at, and the budgets."""
    bound = bound_approaches(question, node)
    options = read_approach_options(question, node.options, "COMPARE APPROACHES", bound.law)
    wanted = wanted_budgets(question, node)
    rows, groups = approach_rows(question, node, bound, options)
    steps = [*_bound_steps(bound), *_row_steps(node.source, rows)]
    steps += [("group by", group.text) for group in node.source.groups]
    if groups:
        keys = rows.extra.select([str(position) for position in range(len(groups))])
        steps.append(("comparisons", f"{len(group_rows(keys))}, one for each group"))
    steps += _search_steps(bound, rows, options.fit)
    steps.append(("slices", f"of {_numbers(options.budgets) or 'the budgets found'}, within {options.tolerance:.0%}"))
    if wanted is not None:
        steps.append(("best sizes at", _numbers(wanted)))
    return steps + _interval_steps(options.fit)


def _numbers(values: Sequence[float] | None) -> str:
    return ", ".join(f"{one:g}" for one in values or ())


def _average(question: Question, node: ExtrapolateAverage) -> Steps:
    """Return the laws that are averaged, the rows they are fitted to again, and the points."""
    names, bounds = bound_average(question, node)
    targets, _ = average_points(question, node, names, bounds)
    options, weighing, interval = read_average_options(question, node.options, "EXTRAPOLATE AVERAGE", bounds[0].law)
    options, rows = average_rows(question, node, bounds, options)
    steps: Steps = []
    for name, bound in zip(names, bounds, strict=True):
        free = sum(one.fixed is None for one in bound.law.coefficients)
        steps.append((f"law {name}", f"{bound.target_name} ~ {bound.law.formula}; {free} free coefficients"))
    whose = "those that the laws were fitted to" if node.source is None else "which every law can use"
    steps.append(("rows", f"{len(rows[0].kept)} of {rows[0].matched}, {whose}"))
    if node.source is not None and node.source.weight is not None:
        steps.append(("weight by", node.source.weight.text))
    steps += _search_steps(bounds[0], rows[0], options)
    steps.append(("points", f"{targets.num_rows} with {', '.join(targets.column_names)}"))
    return [*steps, ("weighed by", weighing), ("interval", interval.interval), *_interval_steps(options)]


def _text(question: Question, start: int, end: int) -> str:
    return " ".join(question.text[start:end].split())
