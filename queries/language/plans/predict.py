"""PREDICT and RESIDUALS: a law beside the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.residuals import residuals as unexplained
from isoflop.queries.language.clause_options import IntervalOptions
from isoflop.queries.language.describe import distance_steps, interval_step, usable_steps
from isoflop.queries.language.distance_notes import note_distance
from isoflop.queries.language.numbers import numbers
from isoflop.queries.language.options import read_interval_options
from isoflop.queries.language.own_rows import check_has_rows, with_own_rows
from isoflop.queries.language.prediction import beside, note_change, one_law, predictions, read_beside, read_inputs
from isoflop.queries.language.provenance import statement_of
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.rows import faults_of, first_fault
from isoflop.queries.language.syntax.nodes import FitClause, Name, Predict, ResidualsClause, Source
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]


class PredictPlan:
    """A law, and the rows that its prediction is to stand beside."""

    def __init__(self, question: Question, node: Predict) -> None:
        source, is_given = node.source, node.source is not None
        if source is None and isinstance(node.law, FitClause):
            source = node.law.source
        elif source is None and isinstance(node.law, Name):
            question, node = with_own_rows(question, node, [node.law], "PREDICT", node.law.end)
            source = node.source
        assert source is not None
        self._question, self._source, self._is_own = question, source, isinstance(node.law, Name) and not is_given
        self._options = read_interval_options(question, node.options, "PREDICT")
        self._laws = one_law(question, node.law, "PREDICT")
        self._rows, self._columns = read_beside(question, self._laws, source, needs_target=False)

    def steps(self) -> Steps:
        """Return the law, the rows, and how far beyond its own rows they lie."""
        steps, saved = self._laws.steps(), self._laws.saved
        if saved is None:
            return steps
        steps += beside_steps(self._question, saved, self._source, self._rows, self._columns)
        return [*steps, interval_step(saved, self._options)]

    def run(self) -> pa.Table:
        """Return the rows with the prediction for each."""
        question, place = self._question, self._source.relation
        _, (record,) = self._laws.read()
        table, prediction, fault = predictions(question, record, self._columns, self._options, place)
        usable = fault == ""
        if len(fault) and not usable.all():
            reasons = ", ".join(dict.fromkeys(fault[~usable].tolist()))
            question.note(f"{np.count_nonzero(~usable)} of {len(fault)} rows have no prediction: {reasons}")
        note_distance(question, record, prediction, usable)
        rows = self._rows
        twice = set(map(str.lower, table.column_names)) & set(map(str.lower, rows.column_names))
        if self._is_own and twice:
            rows = rows.select([name for name in rows.column_names if name.lower() not in twice])
            question.note(f"{', '.join(sorted(twice))} of the rows themselves are left out")
        return beside(question, rows, table, place, "PREDICT")


class ResidualsPlan:
    """A law, and the rows of a source or those it was fitted to, with their measured values."""

    def __init__(self, question: Question, node: ResidualsClause) -> None:
        read_interval_options(question, node.options, "RESIDUALS")
        self._question = self._asking = question
        self._laws = one_law(question, node.law, "RESIDUALS")
        self._is_own = node.source is None and self._laws.saved is not None
        if node.source is not None:
            self._source = node.source
        elif isinstance(node.law, FitClause):
            self._source = node.law.source
        else:
            assert self._laws.saved is not None
            check_has_rows(question, self._laws.saved, node.law, "RESIDUALS")
            self._asking, made = statement_of(question, self._laws.saved, is_shown=True)
            self._source = made.fit.source
        self._rows, self._columns = read_beside(self._asking, self._laws, self._source, needs_target=True)

    def steps(self) -> Steps:
        """Return the law, the rows, and how far beyond its own rows they lie."""
        steps, saved = self._laws.steps(), self._laws.saved
        if saved is None:
            return steps
        return steps + beside_steps(self._asking, saved, self._source, self._rows, self._columns[:-1])

    def run(self) -> pa.Table:
        """Return the rows with what the law leaves unexplained of each."""
        question, asking = self._question, self._asking
        _, (record,) = self._laws.read(says_stale=False)  # it says so itself
        *columns, target = self._columns
        table = _residuals(asking, record, self._source, self._rows, columns, target, is_own=self._is_own)
        if asking is not question:
            question.services.hear(asking.services)
            question.units.update(asking.units)
        return table


def beside_steps(
    question: Question, record: LawRecord, source: Source, rows: pa.Table, columns: Sequence[pa.ChunkedArray]
) -> Steps:
    """Return which rows a law is put beside.

    Parameters
    ----------
    columns : the inputs of the law, R values each
    """
    inputs, fault = read_inputs(question, record, columns, source.relation)
    steps = [("rows", f"{rows.num_rows} of {' '.join(source.relation.text.split())}"), *usable_steps(fault)]
    return steps + distance_steps(record, inputs[fault == ""])


def _residuals(
    question: Question,
    record: LawRecord,
    source: Source,
    whole: pa.Table,
    columns: list[pa.ChunkedArray],
    target: pa.ChunkedArray,
    *,
    is_own: bool,
) -> pa.Table:
    """Return rows with prediction, residual, standardized residual and leverage; unusable rows are left out.

    Parameters
    ----------
    whole : the M rows of the source
    columns, target : the law's inputs and its target, computed from them
    is_own : whether these should be the rows that the law was fitted to
    """
    import pyarrow as pa

    place = source.relation
    measured = numbers(question, target, record.target, place)
    needs_positive = not record.fitted.scatter.is_additive
    fault = first_fault({record.target: faults_of(measured, target, needs_positive=needs_positive)}, len(measured))
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
            "leverage": filled(np.full(len(kept), np.nan) if record.is_given else left.leverage),
        }
    )
    return beside(question, rows, added, place, "RESIDUALS")
