"""Points without a measurement: what TO asks for, and what a law says of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from isoflop.queries.language.bind import is_plain
from isoflop.queries.language.clause_options import IntervalOptions
from isoflop.queries.language.describe import distance_steps, interval_step, usable_steps
from isoflop.queries.language.distance_notes import note_distances
from isoflop.queries.language.options import read_interval_options
from isoflop.queries.language.own_inputs import is_column
from isoflop.queries.language.prediction import ChosenLaws, beside, distinct_names, predictions, read_inputs, with_keys
from isoflop.queries.language.question import EXACT, Question
from isoflop.queries.language.reading import read_as_number
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.syntax.nodes import Assignment, Extrapolate, ExtrapolateAverage, Span
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.language.verb import Steps
from isoflop.queries.language.whole_numbers import SourceColumns, with_edits
from isoflop.queries.laws import Law

if TYPE_CHECKING:
    import pyarrow as pa

_TARGETS = "_isoflop_targets"


class Extrapolation:
    """A law, and the points it is asked about.

    Parameters
    ----------
    question, node : the statement, and the clause in it
    laws : the law that the clause names
    verb : what the clause is called in errors
    options : what interval it asks for; those of the clause when None

    Raises
    ------
    StatementError : when an input is missing
    """

    def __init__(
        self,
        question: Question,
        node: Extrapolate,
        laws: ChosenLaws,
        verb: str,
        options: IntervalOptions | None = None,
    ) -> None:
        self._question, self._node, self._laws, self._verb = question, node, laws, verb
        self._options = options or read_interval_options(question, node.options, verb)
        self.targets = target_points(question, node)
        laws.ask_by(self.targets.column_names)
        self.columns = inputs_among(question, laws, self.targets, node.target)

    def steps(self) -> Steps:
        """Return the law, the points, how far off they are, and with which interval they are predicted."""
        steps, saved = self._laws.steps(), self._laws.saved
        steps.append(("points", f"{self.targets.num_rows} with {', '.join(self.targets.column_names)}"))
        if saved is None:
            return steps
        inputs, fault = read_inputs(self._question, saved, self.columns, self._node.target)
        steps += [*usable_steps(fault), *distance_steps(saved, inputs[fault == ""])]
        return [*steps, interval_step(saved, self._options)]

    def predict(self, keys: pa.Table, records: Sequence[LawRecord]) -> pa.Table:
        """Return the target points with the prediction of each law.

        Parameters
        ----------
        keys : the values of GROUP BY, one row for each law and no column without it
        records : the laws with their numbers

        Raises
        ------
        StatementError : when no point can be predicted
        """
        import pyarrow as pa

        question, place = self._question, self._node.target
        found, asked = [], []
        for position, record in enumerate(records):
            table, prediction, fault = predictions(question, record, self.columns, self._options, place)
            usable = fault == ""
            if not usable.any():
                reason = f": {fault[0]}" if len(fault) else ""
                raise question.error("Data", f"there is no point to predict{reason}", place)
            if not usable.all():
                reasons = ", ".join(dict.fromkeys(fault[~usable].tolist()))
                question.note(f"{np.count_nonzero(~usable)} of {len(fault)} points have no prediction: {reasons}")
            asked.append((record, prediction, usable))
            whole = beside(question, self.targets, table, place, self._verb)
            found.append(with_keys(keys, position, whole))
        note_distances(question, asked)
        return distinct_names(pa.concat_tables(found))


def inputs_among(question: Question, laws: ChosenLaws, targets: pa.Table, place: Span) -> list[pa.ChunkedArray]:
    """Return a law's inputs among the columns of points, or computed from them as the law's own rows were."""
    return columns_for(question, laws.law, laws.arguments, laws.title, targets, place)


def target_points(question: Question, node: Extrapolate | ExtrapolateAverage) -> pa.Table:
    """Return the points of a TO clause, before anything is predicted."""
    if node.query is not None:
        table = _without_decimals(distinct_names(question.run(node.query)))
        if not table.num_rows:
            raise question.error("Data", "the query after TO has no rows", node.query)
        return table
    return assigned_points(question, node.assignments)


def assigned_points(question: Question, assignments: Sequence[Assignment]) -> pa.Table:
    """Return the points of `column = value, …`: lists make a row for each value, values see the other columns."""
    import pyarrow as pa

    table: pa.Table | None = None
    for assignment in _in_order(question, assignments):
        name, value = quote_name(assignment.column.text), assignment.value
        known = SourceColumns({}) if table is None else SourceColumns.of_table(table)
        read = read_as_number(question, value, known)
        if table is None:
            table = question.run("SELECT (", *read, f") AS {name}")
        elif assignment.column.text.lower() in {column.lower() for column in table.column_names}:
            raise question.error("Binder", f"'{assignment.column.text}' is given twice", assignment.column)
        else:
            table = question.run("SELECT *, (", *read, f") AS {name} FROM {_TARGETS}", relations={_TARGETS: table})
        if len(read) > 1:
            table = _with_whole_numbers(table)
        if pa.types.is_list(table.column(table.num_columns - 1).type):
            table = question.lake.query(
                f"SELECT * REPLACE (unnest({name}) AS {name}) FROM {_TARGETS}", None, {_TARGETS: table}
            )
        table = _without_decimals(table)
        if not table.num_rows:
            raise question.error("Data", f"'{assignment.column.text}' has no values", value)
    assert table is not None
    return table.select([assignment.column.text for assignment in assignments])


def _in_order(question: Question, assignments: Sequence[Assignment]) -> list[Assignment]:
    """Return assignments so that each value follows what it is computed from, as typed where that is no matter.

    Raises
    ------
    StatementError : when values are computed from each other
    """
    left, found = list(assignments), []
    names = [assignment.column.text.lower() for assignment in left]
    while left:
        waiting = {assignment.column.text.lower() for assignment in left}
        ready = next(
            (each for each in left if not _read(question, each) & (waiting - {each.column.text.lower()})), None
        )
        if ready is None:
            raise question.error("Binder", f"'{left[0].column.text}' is computed from itself", left[0].value)
        left.remove(ready)
        found.append(ready)
    return list(assignments) if len(set(names)) < len(names) else found


def _read(question: Question, assignment: Assignment) -> set[str]:
    """Return the names in a value, in small letters."""
    tokens = question.tokens[assignment.value.first : assignment.value.last]
    return {token.name.lower() for token in tokens if token.is_name}


def _without_decimals(table: pa.Table) -> pa.Table:
    """Return points whose DECIMALs, as DuckDB reads 0.5, are DOUBLEs: a law computes and answers in these."""
    import pyarrow as pa

    for position, column in enumerate(table.columns):
        if pa.types.is_decimal(column.type):
            table = table.set_column(position, table.column_names[position], column.cast(pa.float64()))
    return table


def _with_whole_numbers(table: pa.Table) -> pa.Table:
    """Return points whose last column, computed in DOUBLEs, is of whole numbers where all of it is."""
    import pyarrow as pa

    position = table.num_columns - 1
    column = table.column(position)
    if not pa.types.is_floating(column.type):
        return table
    values = column.to_numpy()
    if not (np.isfinite(values).all() and (values == np.round(values)).all() and (np.abs(values) < EXACT).all()):
        return table
    return table.set_column(position, table.column_names[position], column.cast(pa.int64()))


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
    read = {word.lower() for argument in arguments if not is_column(argument) for word in re.findall(r"\w+", argument)}
    found = []
    missing = []
    for input_, argument in zip(law.inputs, arguments, strict=True):
        is_own = is_column(argument) or input_.name.lower() not in read  # else the word means the column
        name = by_name.get(input_.name.lower() if is_own else argument.lower())
        if name is not None:
            found.append(targets.column(name))
            continue
        try:
            read_so = with_edits(argument, SourceColumns.of_table(targets))
            computed = question.lake.query(f"SELECT ({read_so}) AS x FROM {_TARGETS}", None, {_TARGETS: targets})
        except (duckdb.BinderException, duckdb.CatalogException):
            missing.append(input_.name)
            continue
        except duckdb.Error:  # after which the transaction answers nothing more
            missing.append(input_.name)
            break
        found.append(computed.column("x"))
    if missing:
        wanted = ", ".join(input_.name for input_ in law.inputs)
        message = f"{title} needs {wanted}, and TO gives {', '.join(targets.column_names)}"
        example = ", ".join(f"{name if is_plain(name) else quote_name(name)} = …" for name in missing)
        raise question.error("Binder", message, place, f"add {example}")
    return found
