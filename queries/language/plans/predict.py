"""PREDICT and RESIDUALS: a law beside the rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import StatementError
from isoflop.queries.fitting.residuals import residuals as unexplained
from isoflop.queries.fitting.rows import usable_rows
from isoflop.queries.language.options import IntervalOptions, read_interval_options
from isoflop.queries.language.plans.prediction import (
    beside,
    distinct_names,
    laws_of,
    note_distance,
    predictions,
)
from isoflop.queries.language.provenance import statement_of
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.rows import Piece, faults_of, first_fault, numbers, source_pieces
from isoflop.queries.language.syntax.nodes import Fit, Name, Predict, Residuals, Source, Span
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]


def predict_rows(question: Question, node: Predict) -> pa.Table:
    """Return the rows of a source with the prediction for each."""
    options = read_interval_options(question, node.options, "PREDICT")
    record = _one_law(question, node.law, "PREDICT")
    whole, columns = read_beside(question, record, node.source, needs_target=False)
    table, prediction, fault = predictions(question, record, columns, options, node.source.relation)
    usable = fault == ""
    if len(fault) and not usable.all():
        reasons = ", ".join(dict.fromkeys(fault[~usable].tolist()))
        question.note(f"{np.count_nonzero(~usable)} of {len(fault)} rows have no prediction: {reasons}")
    note_distance(question, record, prediction, usable)
    return beside(question, whole, table, node.source.relation, "PREDICT")


def residuals(question: Question, node: Residuals) -> pa.Table:
    """Return the rows of a source, or those the law was fitted to, with what the law leaves unexplained of each."""
    read_interval_options(question, node.options, "RESIDUALS")
    record = _one_law(question, node.law, "RESIDUALS")
    source = node.source
    if source is None and isinstance(node.law, Fit):
        source = node.law.source
    if source is not None:
        return _residuals(question, record, source)
    return _own_residuals(question, record)


def _own_residuals(question: Question, record: LawRecord) -> pa.Table:
    """Return the residuals of the rows that a saved law was fitted to, read again as its statement says."""
    own, made = statement_of(question, record)
    table = _residuals(own, record, made.fit.source, is_own=True)
    for note in own.notes:
        question.note(note)
    question.units.update(own.units)
    return table


def note_change(question: Question, record: LawRecord, inputs: Array, measured: Array) -> None:
    """Say when the rows behind a law are not what they were."""
    if record.data_hash and usable_rows(record.law, inputs, measured).data_hash != record.data_hash:
        counts = f"{len(record.residuals)} then, {len(measured)} now"
        question.note(f"the rows behind {record.title} have changed since it was fitted: {counts}")


def _residuals(question: Question, record: LawRecord, source: Source, *, is_own: bool = False) -> pa.Table:
    """Return rows with prediction, residual, standardised residual and leverage; unusable rows are left out.

    Parameters
    ----------
    is_own : whether these should be the rows that the law was fitted to
    """
    import pyarrow as pa

    whole, columns = read_beside(question, record, source, needs_target=True)
    place = source.relation
    target = columns.pop()
    measured = numbers(question, target, record.target, place)
    fault = first_fault({record.target: faults_of(measured, target, needs_positive=True)}, len(measured))
    table, found, input_fault = predictions(question, record, columns, IntervalOptions(), place)
    fault = np.where(fault == "", input_fault, fault)
    kept = np.flatnonzero((fault == "") & np.isfinite(found.predicted))
    if not len(kept):
        reasons = ", ".join(dict.fromkeys(fault[fault != ""].tolist()))
        raise question.error(
            "Data", f"RESIDUALS needs rows, got 0 of {len(fault)}" + (f": {reasons}" if reasons else ""), place
        )
    if len(kept) < len(fault):
        reasons = ", ".join(dict.fromkeys(fault[fault != ""].tolist()))
        question.note(f"dropped {len(fault) - len(kept)} of {len(fault)} rows: {reasons}")
    values = [numbers(question, column, name, place) for column, name in zip(columns, record.inputs, strict=True)]
    inputs = np.stack(values, axis=1)[kept]
    left = unexplained(record.fitted, inputs, measured[kept])
    if is_own and source.weight is None:
        note_change(question, record, inputs, measured[kept])

    def filled(values: Array) -> pa.Array:
        return pa.array(values, pa.float64(), mask=~np.isfinite(values))

    rows = whole.take(kept)
    for name, column in ((record.target, target), *zip(record.inputs, columns, strict=True)):
        if name.lower() not in {each.lower() for each in rows.column_names}:
            rows = rows.append_column(name, column.take(kept))
    name = f"predicted_{record.target}"
    added = pa.table(
        {
            name: table.column(name).take(kept),
            "residual": filled(left.residual),
            "std_residual": filled(left.std_residual),
            "leverage": filled(left.leverage),
        }
    )
    return beside(question, rows, added, place, "RESIDUALS")


def _one_law(question: Question, reference: Name | Fit, verb: str) -> LawRecord:
    """Return the law that a verb names, which is one."""
    if isinstance(reference, Fit) and reference.source.groups:
        raise question.error(
            "Binder", f"{verb} takes one law, and GROUP BY fits several", reference.source.groups[0],
            "choose one group with WHERE",
        )  # fmt: skip
    _, (record,) = laws_of(question, reference, says_stale=verb != "RESIDUALS")  # which says so itself
    return record


def read_beside(
    question: Question, record: LawRecord, source: Source, *, needs_target: bool
) -> tuple[pa.Table, list[pa.ChunkedArray]]:
    """Return the rows of a source, and the law's inputs computed from them; with the target as the last if needed."""
    at = source.relation.first
    wanted = [*record.arguments, *([record.target_sql] if needs_target else [])]
    pieces: list[Piece] = ["SELECT *"]
    for position, sql in enumerate(wanted):
        pieces += [", (", Own(sql, at), f") AS _isoflop_x{position}"]
    try:
        table = question.run(*pieces, *source_pieces(source), place=source.relation)
    except StatementError as error:
        if error.start != source.relation.start or "not found" not in error.message or error.hint:
            raise
        message = error.message.partition("\n\nLINE ")[0].partition(" Error: ")[2]
        hint = f"{record.title} takes {', '.join(record.inputs)}"
        raise question.error(error.kind, message, Span(error.start, error.end), hint) from error
    rest = table.num_columns - len(wanted)
    columns = [table.column(rest + position) for position in range(len(wanted))]
    return distinct_names(table.select(list(range(rest)))), columns


@dataclass(frozen=True)
class PredictPlan:
    """What predict_rows is to do."""

    question: Question
    node: Predict

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return predict_rows(self.question, self.node)


@dataclass(frozen=True)
class ResidualsPlan:
    """What residuals is to do."""

    question: Question
    node: Residuals

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return residuals(self.question, self.node)
