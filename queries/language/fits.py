"""Laws fitted to the rows of a source, once for each group: what every clause with a FIT in it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import EmptySelection, FitError, StatementError, UsageError
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.fit import fit_data
from isoflop.queries.fitting.record import Fit as FitRecord
from isoflop.queries.fitting.solver import compiled
from isoflop.queries.language.bind import Bound, Column, bind_candidate, tidy
from isoflop.queries.language.describe import bound_steps, interval_steps, row_steps, search_steps
from isoflop.queries.language.options import ClauseOptions, read_fit_options
from isoflop.queries.language.over_columns import OverColumns, over_columns, own_law
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.records import LawRecord, OwnInputs, known
from isoflop.queries.language.rows import CLUSTER, Rows, column_of, describe_dropped, group_rows, no_rows, read_rows
from isoflop.queries.language.syntax.nodes import Expression, FitClause
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws import Law
from isoflop.queries.planning.informative import notes_on_informative_run

if TYPE_CHECKING:
    import pyarrow as pa

RUN = "run_id"  # rows that share it are points of one run
ASKED = ("bootstrap", "intervals", "std_error", "lower", "upper")  # columns of an answer that was asked for them
GLANCE = (
    "law", "form", "rows", "dropped", "objective", "r2", "rmse_log", "aicc", "bic", "condition", "status", "notes",
    "coefficients", "support",
)  # fmt: skip


@dataclass(frozen=True)
class Fitted:
    """What one FIT clause found.

    Parameters
    ----------
    bound : target and law
    rows : the rows it read
    keys : the values of GROUP BY, one row for each part
    parts : the rows of each group with their fit; None where no row is usable
    records : the laws with their numbers, in the order of `parts`
    options : how they were fitted
    """

    bound: Bound
    rows: Rows
    keys: pa.Table
    parts: tuple[tuple[Rows, FitRecord | None], ...]
    records: tuple[LawRecord | None, ...]
    options: ClauseOptions


@dataclass(frozen=True)
class PlannedFit:
    """A FIT clause bound to its law and its rows, before anything is fitted.

    Parameters
    ----------
    question, node : the statement, and the clause in it
    bound : target and law
    options : how it is fitted
    groups : the columns of GROUP BY by name
    rows : of the source
    outer : the law over columns, where it is fitted on expressions of them
    """

    question: Question
    node: FitClause
    bound: Bound
    options: ClauseOptions
    groups: Mapping[str, Expression]
    rows: Rows
    outer: OverColumns | None

    @classmethod
    def of(cls, question: Question, node: FitClause, kept: Mapping[str, Any] | None = None) -> PlannedFit:
        """Return the plan of a clause.

        Parameters
        ----------
        kept : options that hold whatever the clause says and whatever is usual, by their names in `ClauseOptions`

        Raises
        ------
        StatementError : when the clause names what does not exist
        """
        bound = bind_candidate(question, node.candidate)
        options = replace(read_fit_options(question, node.options, "FIT", bound.law), **(kept or {}))
        groups = group_names(question, node.source.groups, (*GLANCE, *ASKED, "bias"), "FIT")
        extra: dict[str, Column] = {str(position): group for position, group in enumerate(groups.values())}
        if options.cluster is not None:
            extra[CLUSTER] = options.cluster
        elif options.bootstrap == "auto" and (run := column_of(question, node.source, RUN)) is not None:
            extra[CLUSTER] = run
        rows = read_rows(question, bound, node.source, extra)
        return cls(question, node, bound, options, groups, rows, over_columns(question, bound, node.source))

    @property
    def keys(self) -> pa.Table:
        """The values of GROUP BY of each row."""
        return self.rows.extra.select([str(position) for position in range(len(self.groups))])

    def steps(self) -> Steps:
        """Return the law, its coefficients with their domains, the rows and the options."""
        steps = [*bound_steps(self.bound), *row_steps(self.node.source, self.rows)]
        if self.groups:
            steps += [("group by", group.text) for group in self.groups.values()]
            steps.append(("fits", f"{len(group_rows(self.keys))}, one for each group"))
        steps += search_steps(self.bound, self.rows, self.options)
        steps += interval_steps(self.options, RUN if groups_of(self.rows, self.options) is not None else None)
        if self.options.checks_forward:
            how = "the large rows predicted from the small ones widen intervals beyond the rows"
            steps.append(("forward check", how))
        return steps

    def fit(self) -> Fitted:
        """Fit the law, once for each group.

        Raises
        ------
        StatementError : when there are too few rows to fit
        """
        question, bound, rows, options = self.question, self.bound, self.rows, self.options
        if not len(rows.kept):
            raise no_rows(question, "FIT", self.node.source, rows)
        note = describe_dropped(rows)
        if note is not None:
            question.note(note)
        chosen = group_rows(self.keys) if self.groups else [np.arange(rows.matched)]
        if options.compiled is None:
            options = replace(options, compiled=compiled.pays(len(rows.kept) * options.resamples))
        parts: list[tuple[Rows, FitRecord | None]] = []
        with compiled.switched(bool(options.compiled)):
            for indices in chosen:
                part = rows.take(indices) if self.groups else rows
                parts.append((part, fit_rows(question, bound, part, options) if len(part.kept) else None))
        found = parts[0][1]
        if not self.groups and found is not None and found.status == "too_few_rows":
            free = sum(coefficient.fixed is None for coefficient in bound.law.coefficients)
            wanted = f"{free} different rows for {free} free coefficients"
            raise no_rows(question, "FIT", self.node.source, rows, wanted)
        return Fitted(
            bound=bound,
            rows=rows,
            keys=self.keys.take([int(indices[0]) for indices in chosen]).rename_columns(list(self.groups)),
            parts=tuple(parts),
            records=tuple(
                None if found is None else record_of(question, bound, found, self.outer) for _, found in parts
            ),
            options=options,
        )


def fit_rows(question: Question, bound: Bound, rows: Rows, options: ClauseOptions) -> FitRecord:
    """Return the fit of a law to rows.

    Raises
    ------
    StatementError : when there is nothing to fit
    """
    try:
        data = usable_rows(bound.law, rows.inputs, rows.target, rows.weight, groups_of(rows, options), rows.name)
        found = fit_data(bound.law, data, options)
        return found.noting(notes_on_informative_run(found))
    except (EmptySelection, FitError, UsageError) as error:
        if isinstance(error, StatementError):
            raise
        raise question.error("Fit", error.message, bound.span, error.hint) from error


def groups_of(rows: Rows, options: ClauseOptions) -> list[Any] | None:
    """Return the label of the group of each usable row: `cluster`, or its run where several rows share one."""
    if CLUSTER not in rows.extra.column_names:
        return None
    labels = rows.column(CLUSTER)
    if options.cluster is not None:
        return labels
    is_shared = None not in labels and len(set(labels)) < len(labels)
    return labels if is_shared else None


def group_names(
    question: Question, groups: Sequence[Expression], taken: Sequence[str], verb: str
) -> dict[str, Expression]:
    """Return the columns of GROUP BY by name: a column's own, else the expression as typed.

    Parameters
    ----------
    taken : columns that the verb answers with itself

    Raises
    ------
    StatementError : for a name that stands twice or is taken
    """
    found: dict[str, Expression] = {}
    for group in groups:
        name = group.column or group.text
        if name in found:
            raise question.error("Binder", f"GROUP BY names '{name}' twice", group)
        if name.lower() in taken:
            hint = f"give it another name: FROM (SELECT *, {group.text} AS … FROM …)"
            raise question.error("Binder", f"{verb} answers with a column '{name}' of its own", group, hint)
        found[name] = group
    return found


def record_of(question: Question, bound: Bound, found: FitRecord, outer: OverColumns | None = None) -> LawRecord:
    """Return a fit as saved laws and predictions take it.

    Parameters
    ----------
    outer : the law over columns, where it was fitted on expressions of them
    """
    fitted, own = found.fitted, None
    if outer is not None:
        own = OwnInputs(own_law(bound), arguments_of(question, bound), fitted.support, fitted.edge)
        fitted = replace(fitted, law=outer.law, support=outer.support, edge=outer.edge)
    return LawRecord(
        name=None,
        version=None,
        form=bound.form,
        target=bound.target_name,
        target_sql=target_of(question, bound),
        arguments=arguments_of(question, bound) if outer is None else outer.arguments,
        fitted=fitted,
        std_errors=found.std_errors,
        lower=found.lower,
        upper=found.upper,
        at_bound=tuple(bool(touches) for touches in found.solution.at_bound),
        residuals=found.solution.residuals,
        level=found.level,
        penalty=found.solution.penalty,
        status=found.status,
        notes=tuple(str(note) for note in found.notes),
        own=own,
    )


def arguments_of(question: Question, bound: Bound) -> tuple[str, ...]:
    """Return SQL that computes each input of a law again, from a table that has the same columns."""
    return tuple(_sql(question, column) for column in bound.columns)


def target_of(question: Question, bound: Bound) -> str:
    """Return SQL that computes the target of a law again, from a table that has the same columns."""
    return _sql(question, bound.target)


def _sql(question: Question, column: Column) -> str:
    """Return SQL that reads a column again, from a table that has the same columns."""
    if isinstance(column, Own):
        return column.text
    return quote_name(column.column) if column.column is not None else tidy(question, column)


# The answer


def glance(question: Question, fitted: Fitted, name: str | None) -> pa.Table:
    """Return one row for each fit of a clause, as FIT answers it.

    Where the clause names a bootstrap or intervals, further columns show which were taken and what they give.

    Parameters
    ----------
    name : of the law it was saved as, or None
    """
    import pyarrow as pa

    law = fitted.bound.law
    number, text = pa.float64(), pa.string()
    span = pa.struct([("lowest", number), ("largest", number)])
    types = dict.fromkeys(GLANCE, number) | {
        "law": text,
        "form": text,
        "rows": pa.int64(),
        "dropped": pa.int64(),
        "status": text,
        "notes": pa.list_(text),
        "coefficients": pa.struct([(coefficient.name, number) for coefficient in law.coefficients]),
        "support": pa.struct([(input_.name, span) for input_ in law.inputs]),
    }
    if fitted.options.is_asked:
        types |= {name: text if name in ("bootstrap", "intervals") else types["coefficients"] for name in ASKED}
        if fitted.options.intervals == "jackknife":
            types["bias"] = types["coefficients"]
    schema = pa.schema(types)
    rows = [_glance_row(fitted, part, found, name) for part, found in fitted.parts]
    _note_health(question, fitted)
    table = pa.Table.from_pylist(rows, schema=schema)
    for position, column in enumerate(fitted.keys.column_names):
        table = table.add_column(position, column, fitted.keys.column(column))
    return table


def _note_health(question: Question, fitted: Fitted) -> None:
    """Say what is wrong with a fit, or how many of several are not to be relied on."""
    if len(fitted.parts) == 1:
        _, found = fitted.parts[0]
        if found is not None:
            note_status(question, found.status, found.reason)
            for note in found.notes:
                question.note(note.message)
        return
    failed = sum(found is None or not found.is_converged for _, found in fitted.parts)
    if failed:
        question.note(f"{failed} of {len(fitted.parts)} groups have no fit to rely on; status says why")


def note_status(question: Question, status: str, reason: str | None = None) -> None:
    """Say that a fit is not to be relied on, when it is not."""
    if status != "converged":
        question.note(f"the fit is {status.replace('_', ' ')}" + (f": {reason}" if reason else ""))


def _glance_row(fitted: Fitted, rows: Rows, found: FitRecord | None, name: str | None) -> dict[str, Any]:
    """Return the columns of one fit."""
    law = fitted.bound.law
    row: dict[str, Any] = {"law": name, "form": fitted.bound.form, "rows": len(rows.kept), "dropped": rows.dropped}
    if found is None:
        return {**row, "status": "too_few_rows", "notes": [f"rows_dropped: {reason}" for reason in rows.reasons]}
    row["objective"] = known(found.solution.objective)
    row |= {key: known(getattr(found.criteria, key)) for key in ("r2", "rmse_log", "aicc", "bic")}
    row["condition"] = known(found.solution.identified.condition)
    row |= {"status": found.status, "notes": [str(note) for note in found.notes]}
    row["coefficients"] = _by_name(law, found.coefficients)
    if fitted.options.is_asked:
        ends = found.intervals
        row |= {"bootstrap": found.resampled.bootstrap, "intervals": ends.kind}
        numbers = {"std_error": ends.std_errors, "lower": ends.lower, "upper": ends.upper, "bias": ends.bias}
        row |= {name: _by_name(law, values) for name, values in numbers.items() if values is not None}
    row["support"] = {
        input_.name: {"lowest": known(low), "largest": known(high)}
        for input_, (low, high) in zip(law.inputs, found.data.support, strict=True)
    }
    return row


def _by_name(law: Law, values: NDArray[np.float64]) -> dict[str, float | None]:
    """Return the numbers of a law's coefficients by name."""
    return {coefficient.name: known(value) for coefficient, value in zip(law.coefficients, values, strict=True)}
