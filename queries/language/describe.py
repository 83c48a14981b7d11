"""What plans say of what they are bound to: laws, rows, points, options, for EXPLAIN."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.problem import planned_starts
from isoflop.queries.fitting.widening import growth
from isoflop.queries.language.bind import Bound
from isoflop.queries.language.clause_options import ClauseOptions, IntervalOptions
from isoflop.queries.language.provenance import staleness
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.rows import Rows
from isoflop.queries.language.syntax.nodes import Source, Span
from isoflop.queries.language.syntax.planning import Design, Optimize, OverRange
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws import Coefficient

Array = NDArray[np.float64]


def law_steps(question: Question, record: LawRecord) -> Steps:
    """Return what a saved law is: its version, its formula, the rows behind it and whether they have changed."""
    if record.is_given:
        return given_steps(record)
    found = staleness(question, record)
    delta = getattr(record.penalty, "delta", None)
    objective = record.penalty.name + (f", delta {delta:g}" if delta is not None else "")
    stale = {True: "yes", False: "no", None: "unknown"}[found.is_stale]
    steps = [
        ("law", f"{record.name} version {record.version}: {record.target} ~ {record.law.formula}"),
        ("status", record.status),
        ("rows behind it", f"{len(record.residuals)} of {record.matched}, fitted by {objective}"),
    ]
    for input_, (low, high) in zip(record.law.inputs, record.fitted.support.tolist(), strict=True):
        steps.append((f"input {input_.name}", f"{low:g} to {high:g} among them"))
    return [*steps, ("stale", stale + (f": {found.reason}" if found.reason else ""))]


def given_steps(record: LawRecord) -> Steps:
    """Return what a law of given coefficients is: its formula, its numbers, and what is known of it."""
    name = "" if record.name is None else f"{record.label}: "
    steps = [("law", f"{name}{record.target} ~ {record.law.formula}"), ("status", "given: nothing is fitted")]
    for coefficient, value, error in zip(
        record.law.coefficients, record.fitted.coefficients.tolist(), record.std_errors.tolist(), strict=True
    ):
        steps.append(
            (f"coefficient {coefficient.name}", f"{value:g}" + (f", standard error {error:g}" if error >= 0 else ""))
        )
    noted = [note.partition(": ") for note in record.notes]
    return [*steps, *((kind, message) for kind, _, message in noted)]


def usable_steps(fault: NDArray[np.object_]) -> Steps:
    """Return how many points cannot be predicted, and why."""
    bad = fault != ""
    if not bad.any():
        return []
    reasons = ", ".join(f"{reason} ({np.count_nonzero(fault == reason)})" for reason in dict.fromkeys(fault[bad]))
    return [("without prediction", f"{np.count_nonzero(bad)} of {len(fault)}: {reasons}")]


def distance_steps(record: LawRecord, inputs: Array) -> Steps:
    """Return how far beyond the largest value among its rows the points take each input of a law."""
    if not len(inputs) or record.is_given:
        return []
    with np.errstate(all="ignore"):
        ratios = (inputs / record.fitted.support[:, 1]).max(axis=0)
    return [
        (f"farthest {input_.name}", f"{ratio:.3g}x the largest among its rows")
        for input_, ratio in zip(record.law.inputs, ratios.tolist(), strict=True)
    ]


def interval_step(record: LawRecord, options: IntervalOptions) -> tuple[str, str]:
    """Return which interval a prediction has, and what it comes from."""
    level = record.level if options.level is None else options.level
    count = len(record.fitted_for(options.interval).draws)
    if record.is_given:
        return "intervals", f"{options.interval} at {level:g}" if why_no_interval(record, options) is None else "none"
    if not count:
        return "intervals", "none, because the law has no resamples"
    widening = record.fitted.widening
    wider = "" if widening is None else f"; beyond the rows {growth(widening, level, record.fitted.scatter)}"
    return "intervals", f"{options.interval} at {level:g} from {count} resamples{wider}"


def why_no_interval(record: LawRecord, options: IntervalOptions) -> str | None:
    """Return why predictions of a law have no interval, or None where they have one."""
    if not record.is_given:
        return (
            None
            if len(record.fitted.draws)
            else f"{record.common_title} has no resamples, so its predictions have no interval"
        )
    if not len(record.fitted_for(options.interval).draws):
        if np.isfinite(record.std_errors).any():
            return f"{record.title} says how sure each coefficient is, not how they move together: no interval"
        stated = "uncertainty" if not len(record.fitted.draws) else "errors of its coefficients"
        return f"{record.title} has no stated {stated}, so its predictions have no interval"
    if options.interval == "prediction" and not np.isfinite(record.fitted.residual_scale):
        return (
            f"{record.title} has no stated residual_scale, so only its curve has an interval: "
            "WITH (interval = 'confidence')"
        )
    return None


def on_one_line(question: Question, span: Span) -> str:
    """Return a part of a statement as typed, on one line."""
    return " ".join(question.text[span.start : span.end].split())


def bound_steps(bound: Bound) -> Steps:
    """Return formula, inputs and coefficients of a law that is to be fitted."""
    law = bound.law
    steps = [("law", f"{bound.target_name} ~ {law.formula}")]
    steps += [
        (f"input {input_.name}", column.text + (", above 0" if input_.positive else ""))
        for input_, column in zip(law.inputs, bound.columns, strict=True)
    ]
    return steps + [(f"coefficient {coefficient.name}", _domain(coefficient)) for coefficient in law.coefficients]


def row_steps(source: Source, rows: Rows) -> Steps:
    """Return how many rows can be used, why others cannot, and what weighs them."""
    used = f"{len(rows.kept)} of {rows.matched}" + "".join(f", {reason}" for reason in rows.reasons)
    steps = [("rows", used)]
    if source.weight is not None:
        steps.append(("weight by", source.weight.text))
    return steps


def search_steps(bound: Bound, rows: Rows, options: ClauseOptions) -> Steps:
    """Return what is minimized, and from how many points the search begins."""
    penalty = options.objective or bound.law.objective
    delta = getattr(penalty, "delta", None)
    steps = [("objective", penalty.name + (f", delta {delta:g}" if delta is not None else ""))]
    if len(rows.kept):
        starts = planned_starts(bound.law, rows.inputs, rows.target, options.objective)
        how = "the best coefficients follow from a formula" if starts == 1 else f"seed {options.seed}"
        steps.append(("starts", f"{starts}: {how}"))
    return steps


def _domain(coefficient: Coefficient) -> str:
    """Return where a coefficient may lie and where its search starts."""
    if coefficient.fixed is not None:
        return f"{coefficient.role.value}, fixed at {coefficient.fixed:g}"
    if math.isinf(coefficient.lower) and math.isinf(coefficient.upper):
        domain = "any number"
    elif math.isinf(coefficient.upper):
        domain = f"{coefficient.lower:g} or more"
    elif math.isinf(coefficient.lower):
        domain = f"{coefficient.upper:g} or less"
    else:
        domain = f"{coefficient.lower:g} to {coefficient.upper:g}"
    return f"{coefficient.role.value}, {domain}" + (
        f", first tried at {coefficient.init:g}" if coefficient.init is not None else ""
    )


def interval_steps(options: ClauseOptions, together: str | None = None) -> Steps:
    """Return what the intervals come from.

    Parameters
    ----------
    together : what rows that are resampled as a whole share; None for what the options name
    """
    shared = options.cluster.text if options.cluster is not None else together
    kind = "of rows" if shared is None else f"of whole groups by {shared}"
    if options.resamples == 0:
        return [("intervals", "none, without resamples")]
    steps = [("intervals", f"{options.level:g} from {options.resamples} resamples {kind}, seed {options.seed}")]
    if options.bootstrap is not None:
        steps.append(("bootstrap", options.bootstrap + (", chosen by the residuals" * (options.bootstrap == "auto"))))
    if options.intervals != "percentile":
        steps.append(("intervals of coefficients", options.intervals))
    return steps


def over_steps(question: Question, node: Optimize | Design, time_law: LawRecord | None) -> Steps:
    """Return what is chosen, what follows from it, which conditions hold, and the law behind `seconds`."""
    steps = []
    for over in node.ranges:
        if isinstance(over, OverRange):
            kind = " on a log scale" * over.is_log + ", whole numbers" * over.is_integer
            steps.append((f"over {over.name.text}", f"{over.lower.text} to {over.upper.text}{kind}"))
        else:
            steps.append((f"over {over.name.text}", f"one of {' '.join(over.values.text.split())}"))
    steps += [(f"over {value.name.text}", f"= {' '.join(value.value.text.split())}") for value in node.values]
    steps += [("subject to", on_one_line(question, condition)) for condition in node.conditions]
    if time_law is not None:
        steps.append(("seconds", f"by law {time_law.name} version {time_law.version}"))
    return steps


def numbers_on_one_line(values: Sequence[float] | None) -> str:
    """Return numbers with commas between."""
    return ", ".join(f"{value:g}" for value in values or ())
