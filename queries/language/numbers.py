"""Columns of an answer of DuckDB's as the numbers that laws take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.units import read_size
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import Span

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]

LOOKED_AT = 100  # values of a text column that show what it holds


def numbers(question: Question, column: pa.ChunkedArray, name: str, place: Span, hint: str | None = None) -> Array:
    """Return a column as floats; missing values are NaN.

    Parameters
    ----------
    name : what the column is called in an error
    place : where it stands in the statement
    hint : what to do about text

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
        hint = _of_text(column, hint) if pa.types.is_string(kind) else None
        raise question.error("Binder", f"'{name}' is {_sql_type(kind)}, and a law takes numbers", place, hint)
    values = pc.fill_null(pc.cast(column, pa.float64()), np.nan).to_numpy()
    return np.ascontiguousarray(values, dtype=np.float64)


def _of_text(column: pa.ChunkedArray, hint: str | None) -> str | None:
    """Return what to do about text: sizes such as 7M are no numbers to DuckDB either, which would leave them out."""
    some = column.drop_null().slice(0, LOOKED_AT).to_pylist()
    if any(text.strip()[-1:].isalpha() and read_size(text) is not None for text in some):
        return "isoflop import FILE reads sizes such as 7M or 1.4T as numbers, into the table runs"
    return hint


def _sql_type(kind: pa.DataType) -> str:
    """Return an Arrow type as DuckDB calls it."""
    names = {"string": "VARCHAR", "bool": "BOOLEAN", "date32[day]": "DATE", "binary": "BLOB"}
    text = str(kind)
    if text.startswith("timestamp"):
        return "TIMESTAMP"
    return names.get(text, text.partition("<")[0].upper())
