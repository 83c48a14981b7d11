"""EXPLAIN FIT: what would be fitted to what, without fitting it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from isoflop.queries.language.bind import bind_candidate
from isoflop.queries.language.options import read_fit_options
from isoflop.queries.language.question import Question
from isoflop.queries.language.rows import read_rows
from isoflop.queries.language.syntax.nodes import ExplainFit, Expression
from isoflop.queries.laws import Coefficient

if TYPE_CHECKING:
    import pyarrow as pa


def explain_fit(question: Question, node: ExplainFit) -> pa.Table:
    """Return the law, its coefficients with their domains, the rows and the options of a FIT, one line each."""
    import pyarrow as pa

    fit = node.fit
    bound = bind_candidate(question, fit.candidate)
    options = read_fit_options(question, fit.options, "FIT", bound.law)
    rows = read_rows(question, bound, fit.source)
    law, penalty = bound.law, options.objective or bound.law.objective
    steps = [("law", f"{bound.target_name} ~ {law.formula}")]
    steps += [
        (f"input {one.name}", column.text + (", above 0" if one.positive else ""))
        for one, column in zip(law.inputs, bound.columns, strict=True)
    ]
    steps += [(f"coefficient {one.name}", _domain(one)) for one in law.coefficients]
    steps.append(("rows", f"{len(rows.kept)} of {rows.matched}" + "".join(f", {reason}" for reason in rows.reasons)))
    steps += [("group by", group.text) for group in fit.source.groups]
    if fit.source.weight is not None:
        steps.append(("weight by", fit.source.weight.text))
    delta = getattr(penalty, "delta", None)
    steps.append(("objective", penalty.name + (f", delta {delta:g}" if delta is not None else "")))
    kind = f"of whole groups by {options.cluster.text}" if isinstance(options.cluster, Expression) else "of rows"
    steps.append(("intervals", f"{options.level:g} from {options.resamples} resamples {kind}, seed {options.seed}"))
    if options.bootstrap is not None:
        steps.append(("bootstrap", options.bootstrap + (", chosen by the residuals" * (options.bootstrap == "auto"))))
    if options.intervals != "percentile":
        steps.append(("intervals of coefficients", options.intervals))
    if options.checks_forward:
        steps.append(("forward check", "the large rows predicted from the small ones widen intervals beyond the rows"))
    return pa.table({"step": [step for step, _ in steps], "detail": [detail for _, detail in steps]})


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
