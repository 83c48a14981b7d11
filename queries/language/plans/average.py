"""EXTRAPOLATE AVERAGE OF: several laws on the same rows, averaged into one forecast.

`EXTRAPOLATE AVERAGE OF chin, kap TO params = 1e12, tokens = 2e13` takes saved laws that were fitted to the same rows;
`EXTRAPOLATE AVERAGE OF chin, (loss ~ kaplan(params, tokens)) FROM runs TO …` says the rows, so that forms need not be
saved first. An average stands where a law stands, because it is used as one: inside FROM ( ), a CTE, COPY. All laws are
fitted again, to the same resamples; saved coefficients come from resamples of their own and cannot be paired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.language.averages import average_points, average_rows, bound_average
from isoflop.queries.language.describe import interval_steps, search_steps
from isoflop.queries.language.distance_notes import forward_messages, note_ratios
from isoflop.queries.language.fits import record_of
from isoflop.queries.language.options import read_average_options
from isoflop.queries.language.prediction import beside, distinct_names, prediction_columns, read_inputs
from isoflop.queries.language.question import Question
from isoflop.queries.language.select import averaged
from isoflop.queries.language.syntax.nodes import ExtrapolateAverage
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]
VERB = "EXTRAPOLATE AVERAGE"


class AveragePlan:
    """Several laws, the rows that all of them are fitted to again, and the points they are asked about.

    Raises
    ------
    StatementError : when the laws predict different things or were fitted to different rows, or an input is missing
    """

    def __init__(self, question: Question, node: ExtrapolateAverage) -> None:
        self._question, self._node = question, node
        self._names, self._bounds = bound_average(question, node)
        self._targets, self._columns = average_points(question, node, self._names, self._bounds)
        options, self._weighing, self._interval = read_average_options(
            question, node.options, VERB, self._bounds[0].law
        )
        self._options, self._rows = average_rows(question, node, self._bounds, options)

    def steps(self) -> Steps:
        """Return the laws that are averaged, the rows they are fitted to again, and the points."""
        steps: Steps = []
        for name, bound in zip(self._names, self._bounds, strict=True):
            free = sum(coefficient.fixed is None for coefficient in bound.law.coefficients)
            steps.append((f"law {name}", f"{bound.target_name} ~ {bound.law.formula}; {free} free coefficients"))
        source, rows = self._node.source, self._rows[0]
        whose = "those that the laws were fitted to" if source is None else "which every law can use"
        steps.append(("rows", f"{len(rows.kept)} of {rows.matched}, {whose}"))
        if source is not None and source.weight is not None:
            steps.append(("weight by", source.weight.text))
        steps += search_steps(self._bounds[0], rows, self._options)
        steps.append(("points", f"{self._targets.num_rows} with {', '.join(self._targets.column_names)}"))
        steps += [("weighed by", self._weighing), ("interval", self._interval.interval)]
        return steps + interval_steps(self._options)

    def run(self) -> pa.Table:
        """Return the target points with the averaged prediction for each."""
        question, node, names, bounds = self._question, self._node, self._names, self._bounds
        targets, columns, interval = self._targets, self._columns, self._interval
        options, rows, weighing = self._options, self._rows, self._weighing
        average = averaged(question, names, bounds, rows, options, weighing, forward=options.checks_forward)
        for note in average.notes:
            question.note(note.message)
        kept = [names.index(name) for name in average.names]
        records = [record_of(question, bounds[k], fit, rows[0].unit) for k, fit in zip(kept, average.fits, strict=True)]
        for k, record in zip(kept, records, strict=True):
            if record.status != "converged":
                question.note(f"{names[k]} is {record.status.replace('_', ' ')}")

        inputs: dict[str, Array] = {}
        ratios: dict[str, Array] = {}
        fault = np.full(targets.num_rows, "", dtype=object)
        for name, record in zip(average.names, records, strict=True):
            inputs[name], own = read_inputs(question, record, columns[name], node.target)
            fault = np.where(fault == "", own, fault)
            with np.errstate(all="ignore"):
                ratios |= dict(zip(record.inputs, (inputs[name] / record.fitted.support[:, 1]).T, strict=True))
            question.units.update(
                {input_.name: input_.unit for input_ in record.law.inputs if input_.unit not in ("", "any")}
            )
        usable = fault == ""
        if not usable.any():
            raise question.error("Data", f"there is no point to predict: {fault[0]}", node.target)
        if not usable.all():
            reasons = ", ".join(dict.fromkeys(fault[~usable].tolist()))
            question.note(f"{np.count_nonzero(~usable)} of {len(fault)} points have no prediction: {reasons}")
        safe = {
            name: np.where(usable[:, None], inputs[name], record.fitted.support[:, 1])
            for name, record in zip(average.names, records, strict=True)
        }
        with np.errstate(all="ignore"):
            found = average.predict(safe, options.level, interval.interval)
        if not np.isfinite(found.lower).any():
            question.note("the average has no resamples, so its predictions have no interval")
        if note_ratios(question, ratios, usable, "the average"):
            for name, record in zip(average.names, records, strict=True):
                for message in forward_messages(record):
                    question.note(f"{name}: {message}")
        first = bounds[0]
        table = prediction_columns(question, first.target_name, rows[0].unit, found, ratios, usable)
        return distinct_names(beside(question, targets, table, node.target, VERB))
