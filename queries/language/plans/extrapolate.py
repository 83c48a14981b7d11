"""EXTRAPOLATE: what a law says about points nobody has measured, and how far from the rows they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isoflop.queries.language.options import read_interval_options
from isoflop.queries.language.plans.prediction import beside, distinct_names, laws_of, note_distance, predictions
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.syntax.nodes import Assignment, Extrapolate, ExtrapolateAverage, Span
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws import Law

if TYPE_CHECKING:
    import pyarrow as pa

_TARGETS = "_isoflop_targets"


def extrapolate(question: Question, node: Extrapolate) -> pa.Table:
    """Return the target points with the prediction for each.

    Raises
    ------
    StatementError : when a law or an input is missing, or no point can be predicted
    """
    keys, records = laws_of(question, node.law)
    return extrapolated(question, node, keys, records, "EXTRAPOLATE")


def extrapolated(
    question: Question, node: Extrapolate, keys: pa.Table, records: Sequence[LawRecord], verb: str
) -> pa.Table:
    """Return the target points with the prediction of each law.

    Parameters
    ----------
    keys : the values of GROUP BY, one row for each law and no column without it
    records : the laws
    verb : what the clause is called in errors
    """
    import pyarrow as pa

    options = read_interval_options(question, node.options, verb)
    targets = target_points(question, node)
    found = []
    for position, record in enumerate(records):
        columns = inputs_among(question, node, record, targets)
        table, prediction, fault = predictions(question, record, columns, options, node.target)
        usable = fault == ""
        if not usable.any():
            reason = f": {fault[0]}" if len(fault) else ""
            raise question.error("Data", f"there is no point to predict{reason}", node.target)
        if not usable.all():
            reasons = ", ".join(dict.fromkeys(fault[~usable].tolist()))
            question.note(f"{np.count_nonzero(~usable)} of {len(fault)} points have no prediction: {reasons}")
        note_distance(question, record, prediction, usable)
        whole = beside(question, targets, table, node.target, verb)
        for column in reversed(keys.column_names):
            value = keys.column(column).take(pa.array([position] * len(fault), pa.int64()))
            whole = whole.add_column(0, column, value)
        found.append(whole)
    return distinct_names(pa.concat_tables(found))


def target_points(question: Question, node: Extrapolate | ExtrapolateAverage) -> pa.Table:
    """Return the points of a TO clause, before anything is predicted."""
    if node.query is not None:
        table = distinct_names(question.run(node.query))
        if not table.num_rows:
            raise question.error("Data", "the query after TO has no rows", node.query)
        return table
    return _assigned(question, node.assignments)


def _assigned(question: Question, assignments: Sequence[Assignment]) -> pa.Table:
    """Return the points of `column = value, …`: lists make a row for each value, later values see earlier columns."""
    import pyarrow as pa

    table: pa.Table | None = None
    for assignment in assignments:
        name, value = quote_name(assignment.column.text), assignment.value
        if table is None:
            table = question.run("SELECT (", value, f") AS {name}")
        elif assignment.column.text.lower() in {column.lower() for column in table.column_names}:
            raise question.error("Binder", f"'{assignment.column.text}' is given twice", assignment.column)
        else:
            table = question.run("SELECT *, (", value, f") AS {name} FROM {_TARGETS}", relations={_TARGETS: table})
        if pa.types.is_list(table.column(table.num_columns - 1).type):
            table = question.lake.query(
                f"SELECT * REPLACE (unnest({name}) AS {name}) FROM {_TARGETS}", None, {_TARGETS: table}
            )
        if not table.num_rows:
            raise question.error("Data", f"'{assignment.column.text}' has no values", value)
    assert table is not None
    return table


def inputs_among(question: Question, node: Extrapolate, record: LawRecord, targets: pa.Table) -> list[pa.ChunkedArray]:
    """Return the law's inputs among the columns of the points, or computed from them as the law's own rows were."""
    return columns_for(question, record.law, record.arguments, record.title, targets, node.target)


def columns_for(
    question: Question, law: Law, arguments: Sequence[str], title: str, targets: pa.Table, place: Span
) -> list[pa.ChunkedArray]:
    """Return the inputs of a law among the columns of a table, or computed from them.

    Parameters
    ----------
    arguments : SQL that computes each input
    title : what the law is called in a sentence
    place : where the table stands in the statement

    Raises
    ------
    StatementError : when an input is missing
    """
    import duckdb

    by_name = {name.lower(): name for name in targets.column_names}
    found = []
    missing = []
    for one, argument in zip(law.inputs, arguments, strict=True):
        name = by_name.get(one.name.lower())
        if name is not None:
            found.append(targets.column(name))
            continue
        try:
            computed = question.lake.query(f"SELECT ({argument}) AS x FROM {_TARGETS}", None, {_TARGETS: targets})
        except (duckdb.BinderException, duckdb.CatalogException):
            missing.append(one.name)
            continue
        except duckdb.Error:  # after which the transaction answers nothing more
            missing.append(one.name)
            break
        found.append(computed.column("x"))
    if missing:
        wanted = ", ".join(one.name for one in law.inputs)
        message = f"{title} needs {wanted}, and TO gives {', '.join(targets.column_names)}"
        example = ", ".join(f"{name} = …" for name in missing)
        raise question.error("Binder", message, place, f"add {example}")
    return found


@dataclass(frozen=True)
class ExtrapolatePlan:
    """What extrapolate is to do."""

    question: Question
    node: Extrapolate

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return extrapolate(self.question, self.node)
