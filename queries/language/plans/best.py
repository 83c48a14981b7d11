"""EXTRAPOLATE BEST OF: given forms on the same rows, averaged as `auto` averages its own.

`EXTRAPOLATE BEST OF (loss ~ power(flops)), (loss ~ bnsl(flops)) FROM runs TO flops = 1e24` is fitted as one mixture:
its forms share the rows, the resamples and the forward check.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from isoflop.queries.language.averages import average_points, average_rows, bound_average
from isoflop.queries.language.bind import Bound, with_names
from isoflop.queries.language.describe import interval_steps, search_steps
from isoflop.queries.language.distance_notes import note_distances
from isoflop.queries.language.fits import arguments_of, fit_rows, record_of
from isoflop.queries.language.options import read_average_options
from isoflop.queries.language.prediction import beside, distinct_names, predictions
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import ExtrapolateBest
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws.form_mixture import FormMixture

if TYPE_CHECKING:
    import pyarrow as pa

VERB = "EXTRAPOLATE BEST"


class BestPlan:
    """The forms, the rows that all of them are fitted to, and the points they are asked about.

    Raises
    ------
    StatementError : when the forms predict different things or read different inputs, or an input is missing
    """

    def __init__(self, question: Question, node: ExtrapolateBest) -> None:
        self._question, self._node = question, node
        self._names, self._bounds = names, bounds = bound_average(question, node)
        _check_inputs(question, node, bounds)
        self._targets, self._columns = average_points(question, node, names, bounds)
        options, _, self._interval = read_average_options(
            question, node.options, VERB, bounds[0].law, leave_out=("weighing",)
        )
        self._options, self._rows = average_rows(question, node, bounds, options)

    @property
    def _bound(self) -> Bound:
        """The mixture in the place of its first form."""
        first = self._bounds[0]
        law = FormMixture("best", [bound.law for bound in self._bounds], self._names)
        named = with_names(law, [given.name for given in first.law.inputs], first.target_name)
        return replace(first, law=named, form=f"the best of {', '.join(self._names)}")

    def steps(self) -> Steps:
        """Return the forms, the rows they are fitted to, and the points."""
        steps: Steps = []
        for name, bound in zip(self._names, self._bounds, strict=True):
            free = sum(coefficient.fixed is None for coefficient in bound.law.coefficients)
            steps.append((f"form {name}", f"{bound.target_name} ~ {bound.law.formula}; {free} free coefficients"))
        source, rows = self._node.source, self._rows[0]
        whose = "those that the laws were fitted to" if source is None else "which every form can use"
        steps.append(("rows", f"{len(rows.kept)} of {rows.matched}, {whose}"))
        if source is not None and source.weight is not None:
            steps.append(("weight by", source.weight.text))
        steps += search_steps(self._bound, rows, self._options)
        steps.append(("points", f"{self._targets.num_rows} with {', '.join(self._targets.column_names)}"))
        steps += [("weighed by", "resamples"), ("interval", self._interval.interval)]
        return steps + interval_steps(self._options)

    def run(self) -> pa.Table:
        """Return the target points with the averaged prediction for each.

        Raises
        ------
        StatementError : when no form can be fitted, or no point can be predicted
        """
        question, place, bound = self._question, self._node.target, self._bound
        found = fit_rows(question, bound, self._rows[0], self._options)
        if not np.isfinite(found.coefficients).all():
            raise question.error("Fit", f"there is no law to predict with: {found.reason}", bound.span)
        for note in found.notes:
            if note.code in ("form_left_out", "weighed_by"):
                question.note(note.message)
        if found.status != "converged":
            question.note(f"the mean is {found.status.replace('_', ' ')}: {found.reason}")
        record = record_of(question, bound, found, self._rows[0].unit)
        columns = self._columns[self._names[0]]
        table, prediction, fault = predictions(question, record, columns, self._interval, place)
        usable = fault == ""
        if not usable.any():
            raise question.error("Data", f"there is no point to predict: {fault[0]}", place)
        if not usable.all():
            reasons = ", ".join(dict.fromkeys(fault[~usable].tolist()))
            question.note(f"{np.count_nonzero(~usable)} of {len(fault)} points have no prediction: {reasons}")
        note_distances(question, [(record, prediction, usable)])
        return distinct_names(beside(question, self._targets, table, place, VERB))


def _check_inputs(question: Question, node: ExtrapolateBest, bounds: list[Bound]) -> None:
    """Check that all forms read the same inputs in the same order."""
    first = arguments_of(question, bounds[0])
    for subject, bound in zip(node.subjects[1:], bounds[1:], strict=True):
        own = arguments_of(question, bound)
        if own != first:
            message = f"the forms of {VERB} read {', '.join(first)} and {', '.join(own)}"
            hint = "EXTRAPOLATE AVERAGE OF … averages laws of different inputs"
            raise question.error("Binder", message, subject, hint)
