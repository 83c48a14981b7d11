"""EXTRAPOLATE BEST OF: given forms on the same rows, averaged as `auto` averages its own.

`EXTRAPOLATE BEST OF (loss ~ power(flops)), (loss ~ bnsl(flops)) FROM runs TO flops = 1e24` is fitted as one mixture:
its forms share the rows, the resamples and the forward check.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from isoflop.queries.language.averages import AskedAverage
from isoflop.queries.language.bind import Bound, with_names
from isoflop.queries.language.distance_notes import note_distances
from isoflop.queries.language.fits import arguments_of, fit_rows, record_of
from isoflop.queries.language.prediction import beside, distinct_names, predictions
from isoflop.queries.language.trouble_notes import note_trouble
from isoflop.queries.laws.form_mixture import FormMixture

if TYPE_CHECKING:
    import pyarrow as pa


class BestPlan(AskedAverage):
    """The forms, the rows that all of them are fitted to, and the points they are asked about.

    Raises
    ------
    StatementError : when the forms predict different things or read different inputs, or an input is missing
    """

    member = "form"
    leave_out = ("weighing",)

    def _check(self) -> None:
        """Check that all forms read the same inputs in the same order."""
        question, node = self._question, self._node
        first = arguments_of(question, self._bounds[0])
        for subject, bound in zip(node.subjects[1:], self._bounds[1:], strict=True):
            own = arguments_of(question, bound)
            if own != first:
                message = f"the forms of {node.verb} read {', '.join(first)} and {', '.join(own)}"
                hint = "EXTRAPOLATE AVERAGE OF … averages laws of different inputs"
                raise question.error("Binder", message, subject, hint)

    @property
    def _searched(self) -> Bound:
        """The mixture in the place of its first form."""
        first = self._bounds[0]
        law = FormMixture("best", [bound.law for bound in self._bounds], self._names)
        named = with_names(law, [given.name for given in first.law.inputs], first.target_name)
        return replace(first, law=named, form=f"the best of {', '.join(self._names)}")

    def run(self) -> pa.Table:
        """Return the target points with the averaged prediction for each.

        Raises
        ------
        StatementError : when no form can be fitted, or no point can be predicted
        """
        question, place, bound = self._question, self._node.target, self._searched
        found = fit_rows(question, bound, self._rows[0], self._options)
        if not np.isfinite(found.coefficients).all():
            raise question.error("Fit", f"there is no law to predict with: {found.reason}", bound.span)
        for note in found.notes:
            if note.code in ("form_left_out", "weighed_by"):
                question.note(note.message)
        if found.status != "converged":
            question.note(f"the mean is {found.status.replace('_', ' ')}: {found.reason}")
        record = record_of(question, bound, found, self._rows[0].unit)
        note_trouble(question, [record])
        columns = self._columns[self._names[0]]
        table, prediction, fault = predictions(question, record, columns, self._interval, place)
        usable = self._note_unusable(fault)
        note_distances(question, [(record, prediction, usable)])
        return distinct_names(beside(question, self._targets, table, place, self._node.verb))
