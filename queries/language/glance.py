"""What FIT answers: one row for each fit of a clause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting.record import Fit as FitRecord
from isoflop.queries.language.fits import ASKED, GLANCE, Fitted
from isoflop.queries.language.group_notes import note_health
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, known
from isoflop.queries.language.rows import Rows
from isoflop.queries.language.saved_laws import coefficient_rows
from isoflop.queries.laws import Law

if TYPE_CHECKING:
    import pyarrow as pa


def glance(question: Question, fitted: Fitted, name: str | None) -> pa.Table:
    """Return one row for each fit of a clause, as FIT answers it.

    Where the clause names a bootstrap or intervals, further columns show which were taken and what they give. The
    coefficients with their intervals are set beside the answer, for who reads it.

    Parameters
    ----------
    name : of the law it was saved as, or None
    """
    import pyarrow as pa

    law = fitted.bound.law
    text = pa.string()
    types = _glance_types(law)
    if fitted.options.is_asked:
        types |= {name: text if name in ("bootstrap", "intervals") else types["coefficients"] for name in ASKED}
        if fitted.options.intervals == "jackknife":
            types["bias"] = types["coefficients"]
    schema = pa.schema(types)
    rows = [_glance_row(fitted, part, found, name) for part, found in fitted.parts]
    note_health(question, fitted)
    question.services.beside = _how_sure(fitted)
    table = pa.Table.from_pylist(rows, schema=schema)
    for position, column in enumerate(fitted.keys.column_names):
        table = table.add_column(position, column, fitted.keys.column(column))
    return table


def _how_sure(fitted: Fitted) -> pa.Table | None:
    """Return a row for each coefficient of each fit, with its interval; None where nothing says how sure they are."""
    import pyarrow as pa

    number = pa.float64()
    columns = {
        "coefficient": pa.string(),
        **dict.fromkeys(("estimate", "std_error", "lower", "upper", "level"), number),
    }
    if fitted.labels:
        columns = {"group": pa.string(), **columns}
    rows = [
        {**row, "group": record.group, "level": record.level}
        for record in fitted.records
        if record is not None and np.isfinite(record.std_errors).any()
        for row in coefficient_rows(record)
    ]
    schema = pa.schema({**columns, "at_bound": pa.bool_()})
    return pa.Table.from_pylist(rows, schema=schema) if rows else None


def given_glance(record: LawRecord) -> pa.Table:
    """Return a law of given coefficients as FIT answers; what only rows can say is null."""
    import pyarrow as pa

    values = dict(
        zip((each.name for each in record.law.coefficients), record.fitted.coefficients.tolist(), strict=True)
    )
    row: dict[str, Any] = {
        "law": record.name,
        "form": record.form,
        "status": record.status,
        "notes": list(record.notes),
    }
    row |= {"coefficients": values, "support": dict.fromkeys(record.inputs)}
    return pa.Table.from_pylist([row], schema=pa.schema(_glance_types(record.law)))


def _glance_types(law: Law) -> dict[str, pa.DataType]:
    """Return the types of the columns that FIT answers with for a law."""
    import pyarrow as pa

    number, text = pa.float64(), pa.string()
    span = pa.struct([("lowest", number), ("largest", number)])
    return dict.fromkeys(GLANCE, number) | {
        "law": text,
        "form": text,
        "rows": pa.int64(),
        "dropped": pa.int64(),
        "status": text,
        "notes": pa.list_(text),
        "coefficients": pa.struct([(coefficient.name, number) for coefficient in law.coefficients]),
        "support": pa.struct([(input_.name, span) for input_ in law.inputs]),
    }


def _glance_row(fitted: Fitted, rows: Rows, found: FitRecord | None, name: str | None) -> dict[str, Any]:
    """Return the columns of one fit."""
    law = fitted.bound.law
    row: dict[str, Any] = {"law": name, "form": fitted.bound.form, "rows": len(rows.kept), "dropped": rows.dropped}
    if found is None:
        return {**row, "status": "too_few_rows", "notes": [f"rows_dropped: {reason}" for reason in rows.reasons]}
    row["objective"] = known(found.objective)
    row |= {key: known(getattr(found.criteria, key)) for key in ("r2", "rmse_log", "aicc", "bic")}
    row["condition"] = known(found.solution.identified.condition)
    row |= {"status": found.status, "notes": [str(note) for note in found.notes]}
    row["coefficients"] = _by_name(found.law, found.coefficients)
    if fitted.options.is_asked:
        ends = found.intervals
        row |= {"bootstrap": found.resampled.bootstrap, "intervals": ends.kind}
        numbers = {"std_error": ends.std_errors, "lower": ends.lower, "upper": ends.upper, "bias": ends.bias}
        row |= {name: _by_name(found.law, values) for name, values in numbers.items() if values is not None}
    row["support"] = {
        input_.name: {"lowest": known(low), "largest": known(high)}
        for input_, (low, high) in zip(law.inputs, found.data.support, strict=True)
    }
    return row


def _by_name(law: Law, values: NDArray[np.float64]) -> dict[str, float | None]:
    """Return the numbers of a law's coefficients by name."""
    return {coefficient.name: known(value) for coefficient, value in zip(law.coefficients, values, strict=True)}
