"""The rows a verb works on: read through DuckDB, turned into numbers, the unusable ones counted by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import StatementError
from isoflop.queries.language.bind import Bound, Column
from isoflop.queries.language.nodes import Expression, Source, Span
from isoflop.queries.language.question import Own, Question
from isoflop.queries.laws import Law

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]
Piece = str | Own | Expression


@dataclass(frozen=True)
class Rows:
    """The usable rows of a source.

    Parameters
    ----------
    inputs : (R, P) float array, in the law's order
    target : (R,) float array
    weight : (R,) float array >= 0, or None
    extra : further columns by name, R rows
    matched : rows that the source has
    reasons : why rows were dropped, with counts, like `loss is NULL (3)`
    """

    inputs: Array
    target: Array
    weight: Array | None
    extra: pa.Table
    matched: int
    reasons: tuple[str, ...]

    @property
    def dropped(self) -> int:
        """How many rows of the source are not used."""
        return self.matched - len(self.target)

    def take(self, chosen: NDArray[np.intp]) -> Rows:
        """Return some of the rows, by index; what was dropped is no longer counted."""
        weight = None if self.weight is None else self.weight[chosen]
        return Rows(self.inputs[chosen], self.target[chosen], weight, self.extra.take(chosen), len(chosen), ())


def read_rows(
    question: Question,
    bound: Bound,
    source: Source,
    extra: Mapping[str, Expression] | None = None,
) -> Rows:
    """Return the rows of a source as a fit takes them.

    Parameters
    ----------
    bound : the law, its columns and its target
    extra : further expressions to read along, by the name they get

    Raises
    ------
    StatementError : when DuckDB cannot answer, or a column is not made of numbers
    """
    pieces: list[Piece] = ["SELECT (", bound.target, ") AS y"]
    for position, column in enumerate(bound.columns):
        pieces += [", (", column, f") AS x{position}"]
    for position, expression in enumerate((extra or {}).values()):
        pieces += [", (", expression, f") AS g{position}"]
    if source.weight is not None:
        pieces += [", (", source.weight, ") AS w"]
    table = question.run(*pieces, *source_pieces(source))
    target = numbers(question, table.column("y"), bound.target)
    inputs = [numbers(question, table.column(f"x{p}"), column) for p, column in enumerate(bound.columns)]
    weight = numbers(question, table.column("w"), source.weight) if source.weight is not None else None

    faults = {bound.target_name: _faults(target, table.column("y"), needs_positive=True)}
    for p, one in enumerate(bound.law.inputs):
        faults[one.name] = _faults(inputs[p], table.column(f"x{p}"), needs_positive=one.positive)
    if weight is not None:
        found = _faults(weight, table.column("w"), needs_positive=False)
        faults["the weight"] = np.where(weight < 0, "negative", found)
    kept, words = _judge(faults, table.num_rows)
    matched = table.num_rows
    named = {name: table.column(f"g{position}") for position, name in enumerate(extra or {})}
    import pyarrow as pa

    return Rows(
        inputs=np.stack([values[kept] for values in inputs], axis=1) if inputs else np.empty((len(kept), 0)),
        target=target[kept],
        weight=None if weight is None else weight[kept],
        extra=pa.table(named).take(kept) if named else pa.table({}),
        matched=matched,
        reasons=words,
    )


def source_pieces(source: Source) -> list[Piece]:
    """Return the FROM and WHERE of a source as pieces of a query."""
    pieces: list[Piece] = [" FROM ", source.relation]
    if source.where is not None:
        pieces += [" WHERE (", source.where, ")"]
    return pieces


def numbers(question: Question, column: pa.ChunkedArray, asked: Column, verb: str = "a law") -> Array:
    """Return a column as floats; missing values are NaN.

    Raises
    ------
    StatementError : when the column holds something else
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        span = _span(question, asked)
        name = asked.text if isinstance(asked, Expression) else asked.text.strip('"')
        hint = f"cast it: {name}::DOUBLE" if pa.types.is_string(kind) else None
        raise question.error("Binder", f"'{name}' is {_sql_type(kind)}, and {verb} takes numbers", span, hint)
    values = pc.fill_null(pc.cast(column, pa.float64()), np.nan).to_numpy()
    return np.ascontiguousarray(values, dtype=np.float64)


def _span(question: Question, asked: Column) -> Span:
    if isinstance(asked, Expression):
        return asked
    token = question.tokens[asked.stands_for]
    return Span(token.start, token.end)


def _sql_type(kind: pa.DataType) -> str:
    """Return an Arrow type as DuckDB calls it."""
    names = {"string": "VARCHAR", "bool": "BOOLEAN", "date32[day]": "DATE", "binary": "BLOB"}
    text = str(kind)
    if text.startswith("timestamp"):
        return "TIMESTAMP"
    return names.get(text, text.partition("<")[0].upper())


def _faults(values: Array, column: pa.ChunkedArray, *, needs_positive: bool) -> NDArray[np.str_]:
    """Return why each value cannot be used, empty where it can."""
    missing = np.where(column.is_null().to_numpy(), "NULL", "NaN")
    found = np.where(np.isnan(values), missing, np.where(np.isinf(values), "infinite", ""))
    return np.where((found == "") & (values <= 0), "zero or less", found) if needs_positive else found


def _judge(faults: Mapping[str, NDArray[np.str_]], num_rows: int) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return the indices of the rows without fault, and why the others have one, the first fault of each counted."""
    first = np.full(num_rows, "", dtype=object)
    for name, found in faults.items():
        hit = (first == "") & (found != "")
        first[hit] = [f"{name} is {fault}" for fault in found[hit]]
    counts = Counter(first[first != ""].tolist())
    words = tuple(f"{reason} ({count})" for reason, count in counts.most_common())
    return np.flatnonzero(first == ""), words


def describe_dropped(rows: Rows) -> str | None:
    """Return a sentence on the rows that are not used, or None when all are."""
    if not rows.dropped:
        return None
    return f"dropped {rows.dropped} of {rows.matched} rows: {', '.join(rows.reasons)}"


def no_rows(question: Question, verb: str, source: Source, rows: Rows, needed: int = 1) -> StatementError:
    """Return the error for a source without enough usable rows."""
    span = source.where or source.relation
    matched = f"{rows.matched} row{'s' * (rows.matched != 1)} matched"
    if rows.matched == 0:
        return question.error("Data", f"{verb} needs rows, and none matched", span)
    message = f"{verb} needs {needed} or more usable rows, got {len(rows.target)}: {matched}, {rows.dropped} dropped"
    return question.error("Data", f"{message} ({', '.join(rows.reasons)})" if rows.reasons else message, span)


def group_rows(keys: pa.Table) -> list[tuple[tuple[object, ...], NDArray[np.intp]]]:
    """Return the values of each group with the indices of its rows, in the order in which groups appear."""
    if not keys.num_columns:
        return [((), np.arange(keys.num_rows))]
    found: dict[tuple[object, ...], list[int]] = {}
    for index, values in enumerate(zip(*(column.to_pylist() for column in keys.columns), strict=True)):
        found.setdefault(values, []).append(index)
    return [(values, np.asarray(indices, dtype=np.intp)) for values, indices in found.items()]


def law_inputs(law: Law) -> Sequence[str]:
    """Return the names of a law's inputs."""
    return [one.name for one in law.inputs]
