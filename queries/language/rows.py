"""The rows a verb works on: read through DuckDB, turned into numbers, the unusable ones counted by reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import StatementError
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.scatter import takes_any_sign
from isoflop.queries.language.bind import Bound, Column
from isoflop.queries.language.block_columns import block_columns
from isoflop.queries.language.input_notes import notes_on_inputs
from isoflop.queries.language.logged_metrics import logged_instead, other_loss
from isoflop.queries.language.numbers import numbers
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.reading import (
    Piece,
    columns_needed,
    columns_of,
    read_as_number,
    reads_flops,
    source_pieces,
)
from isoflop.queries.language.row_groups import hashable, with_named_fields
from isoflop.queries.language.syntax.nodes import Expression, Source, Span
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.language.together import look_together
from isoflop.queries.language.unfinished import note_unfinished
from isoflop.queries.language.whole_numbers import FLOPS, SourceColumns
from isoflop.queries.laws import ANY_SIGN, Objective
from isoflop.queries.planning.profiles import assumed_compute

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]
RUN = "run_id"  # rows that share it are points of one run
NOT_POSITIVE = "zero or less"  # what is wrong with a value that has no logarithm
CLUSTER = "cluster"  # name of the further column whose equal values belong together


@dataclass(frozen=True)
class Rows:
    """The rows of a source, with the fault of each that cannot be used.

    Parameters
    ----------
    law_inputs : (M, P) float array of all M rows, in the law's order
    targets : (M,) float array
    weights : (M,) float array, or None
    extra : further columns by name, M rows
    faults : (M,) texts like `loss is NULL`, empty for a usable row
    labels : (M,) run of each row, or its number in the source, from 1
    wrong_sign : the fault of a target that the objective cannot take, like `loss is zero or less`; None without one
    notes : whether the rows belong together, and their inputs are what the law takes them for
    unit : of the target; empty where it is not known
    """

    law_inputs: Array
    targets: Array
    weights: Array | None
    extra: pa.Table
    faults: NDArray[np.object_]
    labels: pa.ChunkedArray
    wrong_sign: str | None = None
    notes: tuple[Note, ...] = ()
    unit: str = ""

    @property
    def matched(self) -> int:
        """How many rows the source has."""
        return len(self.faults)

    @cached_property
    def kept(self) -> NDArray[np.intp]:
        """(R,) positions of the usable rows."""
        return np.flatnonzero(self.faults == "")

    @property
    def has_runs(self) -> bool:
        """Whether `labels` are runs."""
        import pyarrow as pa

        return not pa.types.is_integer(self.labels.type)

    @property
    def inputs(self) -> Array:
        """(R, P) inputs of the usable rows."""
        return self.law_inputs[self.kept]

    @property
    def target(self) -> Array:
        """(R,) targets of the usable rows."""
        return self.targets[self.kept]

    @property
    def weight(self) -> Array | None:
        """(R,) weights of the usable rows."""
        return None if self.weights is None else self.weights[self.kept]

    @property
    def dropped(self) -> int:
        """How many rows cannot be used."""
        return self.matched - len(self.kept)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why rows were dropped, with counts, the most frequent first."""
        counts = Counter(self.faults[self.faults != ""].tolist())
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return tuple(f"{reason} ({count})" for reason, count in ordered)

    def take(self, chosen: NDArray[np.intp]) -> Rows:
        """Return some of the rows, by position."""
        weights = None if self.weights is None else self.weights[chosen]
        return Rows(
            self.law_inputs[chosen],
            self.targets[chosen],
            weights,
            self.extra.take(chosen),
            self.faults[chosen],
            self.labels.take(chosen),
            self.wrong_sign,
            self.notes,
            self.unit,
        )

    def name(self, position: int) -> str:
        """Return what a user calls one of the usable rows."""
        label = self.labels[int(self.kept[position])].as_py()
        return f"run {label}" if self.has_runs else f"row {label}"

    def column(self, name: str) -> list[Any]:
        """Return a further column of the usable rows."""
        return list(map(hashable, self.extra.column(name).take(self.kept).to_pylist()))


def read_rows(
    question: Question,
    bound: Bound,
    source: Source,
    extra: Mapping[str, Column] | None = None,
    objective: Objective | None = None,
    *,
    with_blocks: bool = False,
) -> Rows:
    """Return the rows of a source as a fit takes them.

    Parameters
    ----------
    bound : the law, its columns and its target
    extra : further expressions to read along, by the name they get
    objective : what is to be minimized, which says whether values must be positive; the law's own when None
    with_blocks : whether columns by which rows may belong together are read along, under the names of `block_columns`

    Raises
    ------
    StatementError : when DuckDB cannot answer, or a column is not made of numbers
    """
    import pyarrow as pa

    known = columns_of(question, source)
    pieces: list[Piece] = ["SELECT "]
    for position, (name, expression) in enumerate((extra or {}).items()):
        is_key = name.isdigit() or name == CLUSTER  # what GROUP BY and cluster name is no number to compute with
        read_so = [expression] if is_key else read_as_number(question, expression, known)
        pieces += ["(", *read_so, f") AS g{position}, "]
    pieces += [*_read_pieces(question, bound, source, known)]
    pieces += [", run_id::VARCHAR AS label" if _has_runs(source, known) else ", row_number() OVER () AS label"]
    follows = known.have_flops and any(
        reads_flops(question, column) for column in (*bound.columns, *(extra or {}).values())
    )
    if follows:
        pieces.append(f", ({FLOPS} IS NULL AND params > 0 AND tokens > 0) AS follows")
    blocks = (
        block_columns(question, source, known) if with_blocks else {}
    )  # last, so that they leave the order of rows as it is
    pieces += [f", {quote_name(name)} AS b{position}" for position, name in enumerate(blocks.values())]
    try:
        # In an order of their own, not the storage's: resamples and splits draw the same rows every time.
        table = question.run(*pieces, *source_pieces(source), " ORDER BY ALL", place=source.relation)
    except StatementError as error:
        instead = logged_instead(question, source, error)
        if instead is not None:
            raise instead from error
        is_undeclared = any(isinstance(each, Expression) and each.start == error.start for each in bound.columns)
        if bound.is_built_in or not is_undeclared or "not found" not in error.message:
            raise
        hint = "a free number of a formula is declared: PARAMETERS (A > 0, alpha IN [0, 1])"
        message = error.message.partition("\n\nLINE ")[0].partition(" Error: ")[2]
        raise question.error(error.kind, message, Span(error.start, error.end), hint) from error
    read = {f"g{position}": value for position, value in enumerate((extra or {}).values())} | {"y": bound.target}
    read |= {f"x{p}": column for p, column in enumerate(bound.columns)}
    _check_single(question, table, read if source.weight is None else read | {"w": source.weight}, source)
    note_unfinished(question, bound, source)
    targets = _column(question, table.column("y"), bound.target)
    inputs = [_column(question, table.column(f"x{p}"), column) for p, column in enumerate(bound.columns)]
    weights = _column(question, table.column("w"), source.weight) if source.weight is not None else None

    any_sign = takes_any_sign(objective or bound.law.objective)
    faults = {bound.target_name: faults_of(targets, table.column("y"), needs_positive=not any_sign)}
    for p, input_ in enumerate(bound.law.inputs[: len(bound.columns)]):
        faults[input_.name] = faults_of(inputs[p], table.column(f"x{p}"), needs_positive=input_.positive)
    if weights is not None:
        faults["the weight"] = faults_of(weights, table.column("w"), needs_positive=True)
    stacked = np.stack(inputs, axis=1) if inputs else np.empty((table.num_rows, 0))
    fault = first_fault(faults, table.num_rows, bound.law.faults(stacked) if inputs else None)
    if follows:
        _note_follows(question, table.column("follows"), fault)
    named = {name: with_named_fields(table.column(f"g{position}")) for position, name in enumerate(extra or {})}
    named |= {name: table.column(f"b{position}") for position, name in enumerate(blocks)}
    usable = stacked[fault == ""]
    together = look_together(
        question, bound, source, known, extra or {}, usable, any_sign=any_sign, is_clustered=CLUSTER in (extra or {})
    )
    notes = (*together.notes, *notes_on_inputs(bound, usable))
    question.services.asides += [note.message for note in notes]
    return Rows(
        law_inputs=stacked,
        targets=targets,
        weights=weights,
        extra=pa.table(named) if named else pa.table({}),
        faults=fault,
        labels=table.column("label"),
        wrong_sign=None if any_sign or not bound.law.coefficients else f"{bound.target_name} is {NOT_POSITIVE}",
        notes=notes,
        unit=together.unit,
    )


def checksum(question: Question, bound: Bound, source: Source) -> str:
    """Return a number that rows of a source with other values have another of, whatever their order; DuckDB's own.

    Much cheaper than reading the rows; another version of DuckDB may have another number for the same rows.

    Raises
    ------
    StatementError : when DuckDB cannot answer
    """
    table = question.run(*_checksum_pieces(question, bound, source), place=source.relation)
    return str(table.column("checksum")[0])


def checksum_sql(question: Question, bound: Bound, source: Source) -> str | None:
    """Return the query of `checksum` as it can be asked later without the statement; None for rows of a verb."""
    if question.typed.outermost(source.relation.first, (source.where or source.relation).last):
        return None
    return question.inlined(*_checksum_pieces(question, bound, source))


def _checksum_pieces(question: Question, bound: Bound, source: Source) -> list[Piece]:
    numbers_read = [bound.target, *bound.columns, *([] if source.weight is None else [source.weight])]
    read = _read_pieces(question, bound, source, columns_needed(question, source, numbers_read))
    return ["SELECT sum(hash(rows))::VARCHAR AS checksum FROM (SELECT ", *read, *source_pieces(source), ") AS rows"]


def _read_pieces(question: Question, bound: Bound, source: Source, known: SourceColumns) -> list[Piece]:
    """Return the target as y, the inputs as x0, x1, … and the weight as w."""
    pieces: list[Piece] = ["(", *read_as_number(question, bound.target, known.without_flops), ") AS y"]
    for position, column in enumerate(bound.columns):
        pieces += [", (", *read_as_number(question, column, known), f") AS x{position}"]
    if source.weight is not None:
        pieces += [", (", *read_as_number(question, source.weight, known), ") AS w"]
    return pieces


def _check_single(question: Question, table: pa.Table, read: Mapping[str, Column], source: Source) -> None:
    """Check that everything read is one column: a star is several."""
    for name, column in read.items():
        count = table.column_names.count(name)
        if count != 1:
            place = column if isinstance(column, Expression) else source.relation
            raise question.error("Binder", f"one value is expected, and this is {count} columns", place)


def _has_runs(source: Source, known: SourceColumns) -> bool:
    """Whether a source is a table that knows the run of each row."""
    is_table = re.fullmatch(r'[\w."]+(\s+(AS\s+)?\w+)?', source.relation.text, re.IGNORECASE)
    return is_table is not None and RUN in known


def _note_follows(question: Question, follows: pa.ChunkedArray, fault: NDArray[np.object_]) -> None:
    """Say for how many usable rows FLOPs were told from params and tokens."""
    count = int(np.count_nonzero(follows.fill_null(False).to_numpy() & (fault == "")))
    for message in assumed_compute(count, int(np.count_nonzero(fault == ""))):
        question.note(message)


def column_of(question: Question, source: Source, name: str) -> Own | None:
    """Return a column of a source by its name, or None where the source has none of that name."""
    column = Own(quote_name(name), source.relation.first)
    try:
        question.run("SELECT ", column, " FROM ", source.relation, " LIMIT 0", place=source.relation)
    except StatementError:
        return None
    return column


def _column(question: Question, column: pa.ChunkedArray, asked: Column) -> Array:
    """Return what was read for a slice of the statement as floats."""
    if isinstance(asked, Expression):
        hint = f"where it holds numbers as text: try_cast({asked.text} AS DOUBLE)"
        return numbers(question, column, asked.text, asked, hint)
    token = question.tokens[asked.stands_for]
    return numbers(question, column, asked.text.strip('"'), Span(token.start, token.end))


def faults_of(values: Array, column: pa.ChunkedArray, *, needs_positive: bool) -> NDArray[np.str_]:
    """Return why each value cannot be used, empty where it can."""
    missing = np.where(column.is_null().to_numpy(), "NULL", "NaN")
    found = np.where(np.isnan(values), missing, np.where(np.isinf(values), "infinite", ""))
    return np.where((found == "") & (values <= 0), NOT_POSITIVE, found) if needs_positive else found


def first_fault(
    faults: Mapping[str, NDArray[np.str_]], num_rows: int, of_law: Sequence[str] | None = None
) -> NDArray[np.object_]:
    """Return the first fault of each row, like `loss is NULL`, else what the law says; empty for a row without one."""
    first = np.full(num_rows, "", dtype=object)
    for name, found in faults.items():
        hit = (first == "") & (found != "")
        first[hit] = [f"{name} is {fault}" for fault in found[hit]]
    return first if of_law is None else np.where(first == "", np.array(of_law, dtype=object), first)


def describe_dropped(rows: Rows) -> str | None:
    """Return a sentence on the rows that are not used, or None when all are."""
    if not rows.dropped:
        return None
    hint = _sign_hint(rows)
    return f"dropped {rows.dropped} of {rows.matched} rows: {', '.join(rows.reasons)}" + (f"; {hint}" if hint else "")


def _sign_hint(rows: Rows) -> str | None:
    """Return what to type where rows are dropped for the sign of their target."""
    if rows.wrong_sign is None or not (rows.faults == rows.wrong_sign).any():
        return None
    return f"WITH (objective = '{ANY_SIGN[0]}') fits a target of any sign"


def no_rows(question: Question, verb: str, source: Source, rows: Rows, needs: str = "rows") -> StatementError:
    """Return the error for a source without enough usable rows."""
    span = source.where or source.relation
    if source.weight is not None and rows.reasons and all("weight" in reason for reason in rows.reasons):
        span = source.weight
    if rows.matched == 0:
        return question.error("Data", f"{verb} needs {needs}, and no row matched", span)
    matched = f"{rows.matched} row{'s' * (rows.matched != 1)} matched"
    dropped = f", {rows.dropped} dropped because {', '.join(rows.reasons)}" if rows.dropped else ""
    message = f"{verb} needs {needs}, got {len(rows.kept)}: {matched}{dropped}"
    return question.error("Data", message, span, _sign_hint(rows) or other_loss(question, source, rows.reasons))
