"""What EXPLAIN says of the verbs that use a law with numbers: which law, which points, which intervals."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.language.options import (
    DESIGN_KEYS,
    OPTIMIZE_KEYS,
    IntervalOptions,
    PlanOptions,
    read_interval_options,
    read_plan_options,
)
from isoflop.queries.language.plans.extrapolate import inputs_among, target_points
from isoflop.queries.language.plans.predict import read_beside
from isoflop.queries.language.plans.prediction import read_inputs
from isoflop.queries.language.provenance import staleness, statement_of
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.syntax.nodes import (
    Design,
    Extrapolate,
    Fit,
    Name,
    Optimize,
    OverRange,
    Predict,
    Residuals,
    Span,
)

Steps: TypeAlias = list[tuple[str, str]]
Array = NDArray[np.float64]


def law_steps(question: Question, record: LawRecord) -> Steps:
    """Return what a saved law is: its version, its formula, the rows behind it and whether they have changed."""
    found = staleness(question, record)
    delta = getattr(record.penalty, "delta", None)
    objective = record.penalty.name + (f", delta {delta:g}" if delta is not None else "")
    stale = {True: "yes", False: "no", None: "unknown"}[found.is_stale]
    steps = [
        ("law", f"{record.name} version {record.version}: {record.target} ~ {record.law.formula}"),
        ("status", record.status),
        ("rows behind it", f"{len(record.residuals)} of {record.matched}, fitted by {objective}"),
    ]
    for one, (low, high) in zip(record.law.inputs, record.fitted.support.tolist(), strict=True):
        steps.append((f"input {one.name}", f"{low:g} to {high:g} among them"))
    return [*steps, ("stale", stale + (f": {found.reason}" if found.reason else ""))]


def explain_extrapolation(question: Question, node: Extrapolate, verb: str) -> Steps:
    """Return which points EXTRAPOLATE or FORECAST would predict, how far off they are, and with which interval."""
    options = read_interval_options(question, node.options, verb)
    targets = target_points(question, node)
    steps = [("points", f"{targets.num_rows} with {', '.join(targets.column_names)}")]
    record = _saved(question, node.law)
    if record is not None:
        columns = inputs_among(question, node, record, targets)
        inputs, fault = read_inputs(question, record, columns, node.target)
        steps += [*_usable_steps(fault), *_distance_steps(record, inputs[fault == ""])]
        steps.append(_interval_step(record, options))
    if verb == "FORECAST":
        steps.append(("keep", "each point in forecasts, scored once a run with its inputs has finished"))
    return steps


def explain_rows(question: Question, node: Predict | Residuals) -> Steps:
    """Return which rows PREDICT or RESIDUALS would put a law beside."""
    verb = "PREDICT" if isinstance(node, Predict) else "RESIDUALS"
    options = read_interval_options(question, node.options, verb)
    record = _saved(question, node.law)
    if record is None:
        return []
    asking, source = question, node.source
    if source is None:
        asking, made = statement_of(question, record)
        source = made.fit.source
    table, columns = read_beside(asking, record, source, needs_target=False)
    if asking is not question:
        question.sent += asking.sent
    inputs, fault = read_inputs(asking, record, columns, source.relation)
    steps = [("rows", f"{table.num_rows} of {' '.join(source.relation.text.split())}"), *_usable_steps(fault)]
    steps += _distance_steps(record, inputs[fault == ""])
    return [*steps, _interval_step(record, options)] if verb == "PREDICT" else steps


def explain_optimum(question: Question, node: Optimize) -> Steps:
    """Return what OPTIMIZE would choose, within which ranges and under which conditions."""
    options = read_plan_options(question, node.options, "OPTIMIZE", OPTIMIZE_KEYS)
    steps = [("maximize" if node.maximize else "minimize", node.objective.text)]
    steps += _over_steps(question, node, options)
    if node.each is not None:
        steps.append((f"for each {node.each.name.text}", " ".join(node.each.values.text.split())))
    record = _saved(question, node.law)
    return steps if record is None else [*steps, _interval_step(record, options)]


def explain_design(question: Question, node: Design) -> Steps:
    """Return what DESIGN would choose among, for which forecast, and what a run costs."""
    options = read_plan_options(question, node.options, "DESIGN", DESIGN_KEYS)
    targets = target_points(question, node.target)
    record = _saved(question, node.target.law)
    if record is not None:
        inputs_among(question, node.target, record, targets)
    steps = [("runs", node.count.text), ("forecast", f"{targets.num_rows} with {', '.join(targets.column_names)}")]
    steps += _over_steps(question, node, options)
    if options.per is not None:
        steps.append(("per", options.per.text))
    return steps if record is None else [*steps, _interval_step(record, options)]


def _over_steps(question: Question, node: Optimize | Design, options: PlanOptions) -> Steps:
    """Return what is chosen, what follows from it, which conditions hold, and the law behind `seconds`."""
    steps = []
    for one in node.ranges:
        if isinstance(one, OverRange):
            kind = " on a log scale" * one.is_log + ", whole numbers" * one.is_integer
            steps.append((f"over {one.name.text}", f"{one.lower.text} to {one.upper.text}{kind}"))
        else:
            steps.append((f"over {one.name.text}", f"one of {' '.join(one.values.text.split())}"))
    steps += [(f"over {one.name.text}", f"= {' '.join(one.value.text.split())}") for one in node.values]
    steps += [("subject to", _text(question, one)) for one in node.conditions]
    if options.time_law is not None:
        record = load_law(question, options.time_law)
        steps.append(("seconds", f"by law {record.name} version {record.version}"))
    return steps


def _saved(question: Question, reference: Name | Fit) -> LawRecord | None:
    return None if isinstance(reference, Fit) else load_law(question, reference)


def _usable_steps(fault: NDArray[np.object_]) -> Steps:
    """Return how many points cannot be predicted, and why."""
    bad = fault != ""
    if not bad.any():
        return []
    reasons = ", ".join(f"{reason} ({np.count_nonzero(fault == reason)})" for reason in dict.fromkeys(fault[bad]))
    return [("without prediction", f"{np.count_nonzero(bad)} of {len(fault)}: {reasons}")]


def _distance_steps(record: LawRecord, inputs: Array) -> Steps:
    """Return how far beyond the largest value among its rows the points take each input of a law."""
    if not len(inputs):
        return []
    with np.errstate(all="ignore"):
        ratios = (inputs / record.fitted.support[:, 1]).max(axis=0)
    return [
        (f"farthest {one.name}", f"{ratio:.3g}x the largest among its rows")
        for one, ratio in zip(record.law.inputs, ratios.tolist(), strict=True)
    ]


def _interval_step(record: LawRecord, options: IntervalOptions) -> tuple[str, str]:
    level = record.level if options.level is None else options.level
    count = len(record.fitted.draws)
    if not count:
        return "intervals", "none, because the law has no resamples"
    wider = f", up to {record.fitted.widening:.3g}x wider beyond the rows" if record.fitted.widening > 1 else ""
    return "intervals", f"{options.interval} at {level:g} from {count} resamples{wider}"


def _text(question: Question, span: Span) -> str:
    return " ".join(question.text[span.start : span.end].split())
