"""EXTRAPOLATE … THROUGH: what a law says about points, handed to the law that takes it, with the interval."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.chain import Chained, Link, predict_chain
from isoflop.queries.fitting.intervals import Prediction
from isoflop.queries.language.describe import why_no_interval
from isoflop.queries.language.distance_notes import note_distance
from isoflop.queries.language.options import read_interval_options
from isoflop.queries.language.points import inputs_among, target_points
from isoflop.queries.language.prediction import (
    ChosenLaws,
    beside,
    distinct_names,
    one_law,
    prediction_columns,
    read_inputs,
    with_keys,
)
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.syntax.nodes import Extrapolate, LawReference
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]


class ThroughPlan:
    """Laws one behind another, and the points that the first is asked about.

    Raises
    ------
    StatementError : when a law does not take what the one before predicts, or an input is missing

    Example
    -------
    `EXTRAPOLATE chin THROUGH task TO params = 7e10, tokens = 1.4e12` answers with `predicted_loss`, `loss_lower` and
    `loss_upper` of chin, then with the columns of EXTRAPOLATE for what task predicts.
    """

    def __init__(self, question: Question, node: Extrapolate) -> None:
        self._question, self._node = question, node
        self._options = read_interval_options(question, node.options, "EXTRAPOLATE")
        first = ChosenLaws(question, node.law)
        self._targets = target_points(question, node)
        first.ask_by(self._targets.column_names)
        self._laws = [first]
        self._columns = [inputs_among(question, first, self._targets, node.target)]
        self._takes: list[int | None] = [None]
        known = self._targets
        for reference in node.through:
            before, law = self._laws[-1], one_law(question, reference, "THROUGH")
            known = self._with_stand_in(known, before)
            law.ask_by(known.column_names)
            self._takes.append(_taken(question, law, before, reference))
            self._laws.append(law)
            self._columns.append(inputs_among(question, law, known, node.target))

    def _with_stand_in(self, known: pa.Table, law: ChosenLaws) -> pa.Table:
        """Return the columns that are known with one for what a law predicts, of ones until it has predicted."""
        import pyarrow as pa

        given = {name.lower(): name for name in known.column_names}
        if (taken := given.get(law.target.lower())) is not None:
            message = f"'{taken}' is given, and {law.title} predicts it"
            hint = f"leave it out, or ask the law behind THROUGH alone: EXTRAPOLATE … TO {taken} = …"
            raise self._question.error("Binder", message, self._node.target, hint)
        return known.append_column(law.target, pa.array(np.ones(known.num_rows)))

    def steps(self) -> Steps:
        """Return each law, the points, and what the intervals come from."""
        steps: Steps = []
        for position, law in enumerate(self._laws):
            if position:
                steps.append(("through", f"{self._laws[position - 1].target} as {law.title} takes it"))
            steps += law.steps()
        steps.append(("points", f"{self._targets.num_rows} with {', '.join(self._targets.column_names)}"))
        how = "draws of each law paired with draws of the next"
        return [*steps, ("intervals", f"{self._options.interval}, from {how}")]

    def run(self) -> pa.Table:
        """Return the points with what each law predicts.

        Raises
        ------
        StatementError : when no point can be predicted
        """
        import pyarrow as pa

        keys, firsts = self._laws[0].read()
        behind = [law.read()[1][0] for law in self._laws[1:]]
        found = [with_keys(keys, position, self._answer([first, *behind])) for position, first in enumerate(firsts)]
        return distinct_names(pa.concat_tables(found))

    def _answer(self, records: list[LawRecord]) -> pa.Table:
        """Return the points with what the laws predict."""
        question, place = self._question, self._node.target
        links, faults = [], []
        for record, columns, takes in zip(records, self._columns, self._takes, strict=True):
            inputs, fault = read_inputs(question, record, columns, place)
            links.append(Link(record.fitted_for(self._options.interval), inputs, takes))
            faults.append(fault)
        fault = next_faults(faults)
        usable = fault == ""
        if not usable.any():
            raise question.error("Data", f"there is no point to predict: {fault[0]}", place)
        if not usable.all():
            reasons = ", ".join(dict.fromkeys(fault[~usable].tolist()))
            question.note(f"{np.count_nonzero(~usable)} of {len(fault)} points have no prediction: {reasons}")
        links = [
            replace(link, inputs=np.where(usable[:, None], link.inputs, link.fitted.support[:, 1])) for link in links
        ]
        level = records[-1].level if self._options.level is None else self._options.level
        with np.errstate(all="ignore"):
            chained = predict_chain(links, level, self._options.interval)
        usable &= np.isfinite(chained.predictions[-1].predicted)
        self._note(records, chained, usable)
        return self._table(records, chained.predictions, usable)

    def _table(
        self, records: list[LawRecord], predictions: tuple[Prediction, ...], usable: NDArray[np.bool_]
    ) -> pa.Table:
        """Return the points with the columns of each law, of the last one as EXTRAPOLATE has them."""
        import pyarrow as pa

        question, table = self._question, self._targets
        ratios: dict[str, Array] = {}
        for record, found in zip(records, predictions, strict=True):
            ratios = {**dict(zip(record.inputs, found.ratio.T, strict=True)), **ratios}
        inside = np.logical_and.reduce([found.in_support for found in predictions])
        for position, (record, found) in enumerate(zip(records, predictions, strict=True)):
            is_last = position == len(records) - 1
            whole = prediction_columns(
                question, record.target, record.unit, replace(found, in_support=inside), ratios, usable
            )
            if any(each.is_given for each in records):  # nothing to be inside of
                unknown = pa.nulls(whole.num_rows, pa.bool_())
                whole = whole.set_column(whole.schema.get_field_index("in_support"), "in_support", unknown)
            if not is_last:
                whole = self._handed_on(record, whole)
            table = beside(question, table, whole, self._node.target, "EXTRAPOLATE")
            question.units.update(
                {input_.name: input_.unit for input_ in record.law.inputs if input_.unit not in ("", "any")}
            )
        return table

    def _handed_on(self, record: LawRecord, whole: pa.Table) -> pa.Table:
        """Return what a law before the last says, with ends that are named after its target."""
        units = self._question.units
        names = {f"predicted_{record.target}": f"predicted_{record.target}"}
        for end in ("lower", "upper"):  # these names alone are those of the last law
            names[end] = f"{record.target}_{end}"
            if (unit := units.pop(end, None)) is not None:
                units[names[end]] = unit
        return whole.select(list(names)).rename_columns(list(names.values()))

    def _note(self, records: list[LawRecord], chained: Chained, usable: NDArray[np.bool_]) -> None:
        """Say how far the laws are taken beyond their rows, and what the intervals come from."""
        question, predictions = self._question, chained.predictions
        for position, (record, found) in enumerate(zip(records, predictions, strict=True)):
            note_distance(question, record, found, usable)
            takes = self._takes[position]
            if takes is not None and usable.any():
                low = float(np.min(predictions[position - 1].predicted[usable]))
                smallest = float(record.fitted.support[takes, 0])
                if low < smallest:
                    name = record.inputs[takes]
                    question.note(
                        f"{record.title} is asked about a {name} of {low:.4g}, and the smallest of its rows is "
                        f"{smallest:.4g}"
                    )
        carried = records[: chained.carried]
        if len(carried) < len(records):
            self._note_bare(records)
        if not chained.pairs:
            return
        counts = " and ".join(f"{len(record.fitted.draws)} of {record.title}" for record in carried)
        scatter = " and the scatter of a new run" if self._options.interval == "prediction" else ""
        question.note(
            f"intervals behind THROUGH come from {chained.pairs} pairs of resamples, {counts}{scatter}, seed 0"
        )
        ends = [found.lower for found in predictions[1 : chained.carried]]
        bare_points = np.count_nonzero(usable & ~np.isfinite(ends).all(axis=0))
        if bare_points:
            question.note(
                f"{bare_points} of {np.count_nonzero(usable)} points have no interval behind a law: in some pairs what "
                "is handed on lies where the next law gives no number"
            )

    def _note_bare(self, records: list[LawRecord]) -> None:
        """Say which laws have nothing that an interval comes from."""
        question, options = self._question, self._options
        reasons = {record.common_title: why_no_interval(record, options) for record in records}
        fitted = [record.common_title for record in records if not record.is_given and reasons[record.common_title]]
        if fitted:
            has, it = ("has", "it") if len(fitted) == 1 else ("have", "them")
            question.note(f"{' and '.join(fitted)} {has} no resamples, so what follows from {it} has no interval")
        for title in dict.fromkeys(record.common_title for record in records if record.is_given):
            if reasons[title] is not None:
                question.note(str(reasons[title]))


def next_faults(faults: list[NDArray[np.object_]]) -> NDArray[np.object_]:
    """Return (R,) the first fault of each row, empty for nothing."""
    first = faults[0]
    for others in faults[1:]:
        first = np.where(first == "", others, first)
    return first


def _taken(question: Question, law: ChosenLaws, before: ChosenLaws, reference: LawReference) -> int:
    """Return which input of a law is what the one before predicts.

    Raises
    ------
    StatementError : when none is
    """
    names = [name.lower() for name in law.inputs]
    if before.target.lower() in names:
        return names.index(before.target.lower())
    message = f"{law.title} takes {', '.join(law.inputs)}, and {before.title} predicts {before.target}"
    hint = f"THROUGH takes a law with an input '{before.target}', like FIT task_error ~ task_error({before.target})"
    raise question.error("Binder", message, reference, hint)
