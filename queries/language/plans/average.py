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

from isoflop.queries.language.averages import AskedAverage
from isoflop.queries.language.distance_notes import forward_messages, note_ratios
from isoflop.queries.language.fits import record_of
from isoflop.queries.language.prediction import beside, distinct_names, prediction_columns, read_inputs
from isoflop.queries.language.select import averaged
from isoflop.queries.language.trouble_notes import trouble_of

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]


class AveragePlan(AskedAverage):
    """Several laws, the rows that all of them are fitted to again, and the points they are asked about."""

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
            for message in trouble_of(record):
                question.note(f"{names[k]}: {message}")

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
        usable = self._note_unusable(fault)
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
        return distinct_names(beside(question, targets, table, node.target, node.verb))
