"""What EXTRAPOLATE, PREDICT and RESIDUALS share: laws with numbers, and the columns a prediction has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.units import UNITS
from isoflop.queries.fitting.intervals import Prediction, predict
from isoflop.queries.language.options import IntervalOptions
from isoflop.queries.language.plans.fit import note_status, run_fit
from isoflop.queries.language.provenance import note_stale
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.rows import faults_of, first_fault, numbers
from isoflop.queries.language.syntax.nodes import Fit, LawReference, Span

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]
FORWARD_NOTES = ("intervals_widened", "intervals_hold", "no_forward_check")  # what the forward check may have said


def laws_of(
    question: Question, reference: LawReference, *, says_stale: bool = True
) -> tuple[pa.Table, list[LawRecord]]:
    """Return the laws that a verb names: a saved one, or those that a FIT in parentheses finds.

    Parameters
    ----------
    says_stale : whether to look if the rows of a saved law have changed since, and to say so

    Returns
    -------
    the values of GROUP BY, one row for each law and no column without it; the laws

    Raises
    ------
    StatementError : when there is no law, or none with numbers
    """
    import pyarrow as pa

    if not isinstance(reference, Fit):
        record = load_law(question, reference)
        note_status(question, record.status)
        if says_stale:
            note_stale(question, record)
        return pa.table({}), [record]
    fitted = run_fit(question, reference)
    found = [
        (position, record)
        for position, record in enumerate(fitted.records)
        if record is not None and np.isfinite(record.fitted.coefficients).all()
    ]
    if not found:
        raise question.error("Fit", "there is no law to predict with: no fit has numbers", reference)
    for _, record in found:
        note_status(question, record.status)
    if len(found) < len(fitted.parts):
        question.note(f"{len(fitted.parts) - len(found)} groups of {len(fitted.parts)} have no fit and are left out")
    return fitted.keys.take([position for position, _ in found]), [record for _, record in found]


def predictions(
    question: Question,
    record: LawRecord,
    columns: Sequence[pa.ChunkedArray],
    options: IntervalOptions,
    place: Span,
) -> tuple[pa.Table, Prediction, NDArray[np.object_]]:
    """Return the columns of a prediction for each row; what cannot be predicted is null.

    Parameters
    ----------
    columns : P columns, in the order of the law's inputs
    place : where the inputs stand in the statement, for errors

    Returns
    -------
    the columns; the prediction; (R,) what is wrong with a row, empty for nothing
    """
    inputs, fault = read_inputs(question, record, columns, place)
    usable = fault == ""
    level = record.level if options.level is None else options.level
    with np.errstate(all="ignore"):
        safe = np.where(usable[:, None], inputs, record.fitted.support[:, 1])
        found = predict(record.fitted, safe, level=level, kind=options.interval)
    usable &= np.isfinite(found.predicted)
    ratios = dict(zip(record.inputs, found.ratio.T, strict=True))
    table = prediction_columns(question, record.target, record.law.unit, found, ratios, usable)
    question.units.update({one.name: one.unit for one in record.law.inputs if one.unit not in ("", "any")})
    if usable.any() and not np.isfinite(found.lower[usable]).any():
        question.note(f"{record.title} has no resamples, so its predictions have no interval")
    return table, found, fault


def read_inputs(
    question: Question, record: LawRecord, columns: Sequence[pa.ChunkedArray], place: Span
) -> tuple[Array, NDArray[np.object_]]:
    """Return the inputs (R, P) of a law, and what is wrong with each row, empty for nothing.

    Parameters
    ----------
    columns : P columns, in the order of the law's inputs
    place : where the inputs stand in the statement, for errors
    """
    inputs = np.empty((len(columns[0]), len(columns)))
    faults = {}
    for p, (one, column) in enumerate(zip(record.law.inputs, columns, strict=True)):
        inputs[:, p] = numbers(question, column, one.name, place)
        faults[one.name] = faults_of(inputs[:, p], column, needs_positive=one.positive)
    return inputs, first_fault(faults, len(inputs))


def prediction_columns(
    question: Question,
    target: str,
    unit: str,
    found: Prediction,
    ratios: Mapping[str, Array],
    usable: NDArray[np.bool_],
) -> pa.Table:
    """Return the columns that a prediction has; rows that are not usable are null.

    Parameters
    ----------
    target, unit : name of what is predicted; its unit, that of the name when empty
    found : R predictions
    ratios : (R,) of each input to the largest one fitted on
    usable : (R,)
    """
    import pyarrow as pa

    def filled(values: Array) -> pa.Array:
        return pa.array(values, pa.float64(), mask=~usable | ~np.isfinite(values))

    unit = unit or UNITS.get(target, "")
    if unit:
        question.units.update(dict.fromkeys((f"predicted_{target}", "lower", "upper"), unit))
    return pa.table(
        {
            f"predicted_{target}": filled(found.predicted),
            "lower": filled(found.lower),
            "upper": filled(found.upper),
            "level": pa.array(np.full(len(usable), found.level)),
            "interval": pa.array([found.kind] * len(usable), pa.string()),
            "ratio": pa.StructArray.from_arrays([filled(one) for one in ratios.values()], list(ratios)),
            "in_support": pa.array(found.in_support, pa.bool_(), mask=~usable),
        }
    )


def note_distance(question: Question, record: LawRecord, found: Prediction, usable: NDArray[np.bool_]) -> None:
    """Say how far beyond the rows of a law its predictions go, and how well its small rows foretold its large ones."""
    ratios = dict(zip(record.inputs, found.ratio.T, strict=True))
    if note_ratios(question, ratios, usable, record.title):
        for message in forward_messages(record):
            question.note(message)


def forward_messages(record: LawRecord) -> list[str]:
    """Return what the forward check of a law has said."""
    noted = [note.partition(": ") for note in record.notes]
    return [message for code, _, message in noted if code in FORWARD_NOTES]


def note_ratios(question: Question, ratios: Mapping[str, Array], usable: NDArray[np.bool_], title: str) -> bool:
    """Say how far beyond the rows behind a law, or several, some points lie; return whether any does.

    Parameters
    ----------
    ratios : (R,) of each input to the largest one fitted on
    title : what the law is called in a sentence
    """
    beyond = []
    for name, values in ratios.items():
        largest = float(np.max(values[usable], initial=0.0))
        if largest > 1.0 + 1e-9:
            beyond.append(f"{largest:.3g}x beyond the largest {name}")
    if beyond:
        question.note(f"extrapolates {' and '.join(beyond)} of the rows behind {title}")
    return bool(beyond)


def beside(question: Question, table: pa.Table, columns: pa.Table, place: Span, verb: str) -> pa.Table:
    """Return a table with further columns to its right.

    Raises
    ------
    StatementError : when the table has a column of one of these names
    """
    taken = {name.lower(): name for name in table.column_names}
    for name in columns.column_names:
        if name.lower() in taken:
            hint = f"leave it out: (SELECT * EXCLUDE ({taken[name.lower()]}) FROM …)"
            raise question.error("Binder", f"{verb} gives a column '{name}', and there is one already", place, hint)
        table = table.append_column(name, columns.column(name))
    return table


def distinct_names(table: pa.Table) -> pa.Table:
    """Return a table whose columns have different names: of two `x` the second is `x_1`, as in DuckDB."""
    seen: set[str] = set()
    names = []
    for name in table.column_names:
        new, count = name, 0
        while new.lower() in seen:
            count += 1
            new = f"{name}_{count}"
        seen.add(new.lower())
        names.append(new)
    return table.rename_columns(names)
