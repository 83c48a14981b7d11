"""What EXTRAPOLATE, PREDICT and RESIDUALS share: laws with numbers, and the columns a prediction has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import StatementError
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.intervals import Prediction, predict
from isoflop.queries.language.clause_options import IntervalOptions
from isoflop.queries.language.describe import law_steps, why_no_interval
from isoflop.queries.language.fits import Fitted, PlannedFit, arguments_of, target_of
from isoflop.queries.language.group_notes import note_status, note_statuses
from isoflop.queries.language.numbers import numbers
from isoflop.queries.language.over_columns import own_law
from isoflop.queries.language.own_domain import outside
from isoflop.queries.language.own_inputs import OwnInputs
from isoflop.queries.language.provenance import note_stale
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.reading import Piece, columns_needed, read_as_number, source_pieces
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.rows import faults_of, first_fault
from isoflop.queries.language.syntax.nodes import FitClause, LawReference, Source, Span
from isoflop.queries.language.trouble_notes import note_trouble
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws import Law

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]


class ChosenLaws:
    """The law that a clause names, or the FIT in parentheses that is to find it; nothing is fitted yet.

    Parameters
    ----------
    question, reference : the statement, and the name or the FIT in it

    Raises
    ------
    StatementError : when there is no such law, or the FIT names what does not exist
    """

    def __init__(self, question: Question, reference: LawReference) -> None:
        self._question, self._reference = question, reference
        self.fit = PlannedFit.of(question, reference) if isinstance(reference, FitClause) else None
        self.saved = None if isinstance(reference, FitClause) else load_law(question, reference)
        self._is_by_own = False
        self.fitted: Fitted | None = None  # what the FIT found, once it is read

    @property
    def law(self) -> Law:
        """The law, with inputs named as its columns."""
        if self.saved is not None:
            return self.saved.law
        assert self.fit is not None
        if self.fit.outer is None:
            return self.fit.bound.law
        return own_law(self.fit.bound) if self._is_by_own else self.fit.outer.law

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(input_.name for input_ in self.law.inputs)

    @property
    def target(self) -> str:
        """The name of what it predicts."""
        if self.saved is not None:
            return self.saved.target
        assert self.fit is not None
        return self.fit.bound.target_name

    @property
    def target_sql(self) -> str:
        """SQL that computes the target, over the columns it is fitted to."""
        if self.saved is not None:
            return self.saved.target_sql
        assert self.fit is not None
        return target_of(self._question, self.fit.bound)

    @property
    def arguments(self) -> tuple[str, ...]:
        """SQL that computes each input, over the same columns."""
        if self.saved is not None:
            return self.saved.arguments
        assert self.fit is not None
        outer = self.fit.outer
        if outer is None or self._is_by_own:
            return arguments_of(self._question, self.fit.bound)
        return outer.arguments

    def ask_by(self, names: Iterable[str]) -> None:
        """Take the inputs that points with columns of these names are given in.

        A law that was fitted on expressions of columns is asked by the columns, or else by its own inputs.
        """
        own = self._own
        if own is not None and own.are_asked(names):
            self._is_by_own = True
            self.saved = None if self.saved is None else self.saved.in_own_inputs()

    @property
    def _own(self) -> OwnInputs | None:
        if self.saved is not None:
            return self.saved.own
        assert self.fit is not None
        if self.fit.outer is None:
            return None
        arguments = arguments_of(self._question, self.fit.bound)
        return OwnInputs(own_law(self.fit.bound), arguments, np.empty((0, 2)), None)

    @property
    def title(self) -> str:
        """What the law is called in a sentence."""
        if self.saved is not None:
            return self.saved.title
        assert self.fit is not None
        return f"the fit of {self.fit.bound.form}"

    def steps(self) -> Steps:
        """Return what the law is; for a FIT in parentheses, what is to be fitted."""
        if self.saved is not None:
            return law_steps(self._question, self.saved)
        assert self.fit is not None
        return self.fit.steps()

    def read(self, *, says_stale: bool = True, says_trouble: bool = True) -> tuple[pa.Table, list[LawRecord]]:
        """Return the law with its numbers, or those that the FIT finds.

        Parameters
        ----------
        says_stale : whether to look if the rows of a saved law have changed since, and to say so
        says_trouble : whether to say what the fit has found against its predictions

        Returns
        -------
        the values of GROUP BY, one row for each law and no column without it; the laws

        Raises
        ------
        StatementError : when there is none with numbers
        """
        import pyarrow as pa

        question = self._question
        if self.saved is not None:
            note_status(question, self.saved.status)
            if says_trouble:
                note_trouble(question, [self.saved])
            if says_stale:
                note_stale(question, self.saved)
            return pa.table({}), [self.saved]
        assert self.fit is not None
        fitted = self.fitted = self.fit.fit()
        found = [
            (position, record)
            for position, record in enumerate(fitted.records)
            if record is not None and np.isfinite(record.fitted.coefficients).all()
        ]
        if not found:
            raise question.error("Fit", "there is no law to predict with: no fit has numbers", self._reference)
        fits = [fit for _, fit in fitted.parts]
        if fitted.labels:
            note_statuses(question, [*zip(fitted.labels, fits, strict=True)])
        elif fits[0] is not None:
            note_status(question, fits[0].status)
        if len(found) < len(fitted.parts):
            missing = len(fitted.parts) - len(found)
            are = "has no numbers and is" if missing == 1 else "have no numbers and are"
            question.note(f"{missing} of {len(fitted.parts)} groups {are} left out")
        records = [record.in_own_inputs() if self._is_by_own else record for _, record in found]
        if says_trouble:
            note_trouble(question, records)
        return fitted.keys.take(np.array([position for position, _ in found], dtype=np.int64)), records


def one_law(question: Question, reference: LawReference, verb: str) -> ChosenLaws:
    """Return the law that a verb names, which is one.

    Raises
    ------
    StatementError : when GROUP BY would fit several
    """
    if isinstance(reference, FitClause) and reference.source.groups:
        raise question.error(
            "Binder", f"{verb} takes one law, and GROUP BY fits several", reference.source.groups[0],
            "choose one group with WHERE",
        )  # fmt: skip
    return ChosenLaws(question, reference)


def with_keys(keys: pa.Table, position: int, table: pa.Table) -> pa.Table:
    """Return a table with the values of GROUP BY of one law to the left."""
    import pyarrow as pa

    for column in reversed(keys.column_names):
        value = keys.column(column).take(pa.array([position] * table.num_rows, pa.int64()))
        table = table.add_column(0, column, value)
    return table


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
    import pyarrow as pa

    inputs, fault = read_inputs(question, record, columns, place)
    usable = fault == ""
    level = record.level if options.level is None else options.level
    with np.errstate(all="ignore"):
        usual = np.nan_to_num(record.fitted.support[:, 1], nan=1.0)  # without rows any value will do
        safe = np.where(usable[:, None], inputs, usual)
        found = predict(record.fitted_for(options.interval), safe, level=level, kind=options.interval)
    has_interval = np.isfinite(found.lower)
    found = _without_shares(question, record, found, usable)
    fault = np.where(usable & ~np.isfinite(found.predicted), f"{record.common_title} is not finite there", fault)
    usable = fault == ""
    ratios = dict(zip(record.inputs, found.ratio.T, strict=True))
    table = prediction_columns(question, record.target, record.unit, found, ratios, usable)
    if record.is_given:  # nothing to be inside of
        unknown = pa.nulls(len(usable), pa.bool_())
        table = table.set_column(table.schema.get_field_index("in_support"), "in_support", unknown)
        question.note(f"{record.title} is of given coefficients: how far beyond its rows a point lies is not known")
    question.units.update({input_.name: input_.unit for input_ in record.law.inputs if input_.unit not in ("", "any")})
    if usable.any() and not has_interval[usable].any():
        reason = why_no_interval(record, options)
        question.note(reason or f"{record.common_title} has no resamples, so its predictions have no interval")
    return table, found, fault


def _without_shares(question: Question, record: LawRecord, found: Prediction, usable: NDArray[np.bool_]) -> Prediction:
    """Return predictions of a law of given coefficients without intervals that would be a share of zero or less."""
    if not record.is_given or record.fitted.scatter.is_additive:
        return found
    wrong = usable & np.isfinite(found.lower) & (found.predicted <= 0)
    if not wrong.any():
        return found
    question.note(
        f"{np.count_nonzero(wrong)} of {len(wrong)} predictions of {record.title} are zero or less, and runs scatter "
        "about it by a share of it: no interval; WITH (residual_scale = …, scatter = 'additive') says it in its unit"
    )
    lower, upper = (np.where(wrong, np.nan, end) for end in (found.lower, found.upper))
    return replace(found, lower=lower, upper=upper)


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
    for p, (input_, column) in enumerate(zip(record.law.inputs, columns, strict=True)):
        inputs[:, p] = numbers(question, column, input_.name, place)
        faults[input_.name] = faults_of(inputs[:, p], column, needs_positive=input_.positive)
    faults |= outside(record, inputs)
    return inputs, first_fault(faults, len(inputs), record.law.faults(inputs))


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
    target, unit : name of what is predicted; its unit, empty where it is not known
    found : R predictions
    ratios : (R,) of each input to the largest one fitted on
    usable : (R,)
    """
    import pyarrow as pa

    def filled(values: Array) -> pa.Array:
        return pa.array(values, pa.float64(), mask=~usable | ~np.isfinite(values))

    if unit:
        question.units.update(dict.fromkeys((f"predicted_{target}", "lower", "upper"), unit))
    return pa.table(
        {
            f"predicted_{target}": filled(found.predicted),
            "lower": filled(found.lower),
            "upper": filled(found.upper),
            "level": pa.array(np.full(len(usable), found.level)),
            "interval": pa.array([found.kind] * len(usable), pa.string()),
            "ratio": pa.StructArray.from_arrays([filled(value) for value in ratios.values()], list(ratios)),
            "in_support": pa.array(found.in_support, pa.bool_(), mask=~usable),
        }
    )


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


def note_change(question: Question, record: LawRecord, inputs: Array, measured: Array) -> None:
    """Say when the rows behind a law are not what they were.

    Parameters
    ----------
    inputs : (R, P) of the law's columns
    measured : (R,)
    """
    if record.own is not None:  # its rows are known by what its expressions give, and these are the columns
        note_stale(question, record)
    elif (
        record.data_hash
        and usable_rows(record.law, inputs, measured, objective=record.penalty).data_hash != record.data_hash
    ):
        counts = f"{len(record.residuals)} then, {len(measured)} now"
        question.note(f"the rows behind {record.title} have changed since it was fitted: {counts}")


def read_beside(
    question: Question, laws: ChosenLaws, source: Source, *, needs_target: bool
) -> tuple[pa.Table, list[pa.ChunkedArray]]:
    """Return the rows of a source, and the law's inputs computed from them; with the target as the last if needed."""
    at = source.relation.first
    wanted = [*laws.arguments, *([laws.target_sql] if needs_target else [])]
    pieces: list[Piece] = ["SELECT *"]
    known = columns_needed(question, source, [Own(sql, at) for sql in wanted])
    for position, sql in enumerate(wanted):
        names = known if position < len(laws.arguments) else known.without_flops
        pieces += [", (", *read_as_number(question, Own(sql, at), names), f") AS _isoflop_x{position}"]
    try:
        table = question.run(*pieces, *source_pieces(source), place=source.relation)
    except StatementError as error:
        if error.start != source.relation.start or "not found" not in error.message or error.hint:
            raise
        message = error.message.partition("\n\nLINE ")[0].partition(" Error: ")[2]
        hint = f"{laws.title} takes {', '.join(laws.inputs)}"
        if needs_target:
            hint += f", and it is compared with {laws.target_sql}"
        raise question.error(error.kind, message, Span(error.start, error.end), hint) from error
    rest = table.num_columns - len(wanted)
    columns = [table.column(rest + position) for position in range(len(wanted))]
    return distinct_names(table.select(list(range(rest)))), columns
