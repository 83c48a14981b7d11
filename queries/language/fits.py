"""Laws fitted to the rows of a source, once for each group: what every clause with a FIT in it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.lakehouse.errors import EmptySelection, FitError, StatementError, UsageError
from isoflop.queries.fitting import mixing
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.fit import checked_forward, fit_data
from isoflop.queries.fitting.mistakes import notes_on_curves
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.record import Fit as FitRecord
from isoflop.queries.fitting.solver import compiled
from isoflop.queries.language.bind import Bound, Column, bind_candidate, tidy
from isoflop.queries.language.clause_options import ClauseOptions
from isoflop.queries.language.dependence import inputs_of, notes_on_sources, tells_repeats_apart, together_of
from isoflop.queries.language.describe import bound_steps, interval_steps, row_steps, search_steps
from isoflop.queries.language.mixtures import fewest_free, refuse_mixture, usual_resamples
from isoflop.queries.language.options import read_fit_options
from isoflop.queries.language.over_columns import OverColumns, over_columns, own_law
from isoflop.queries.language.own_inputs import OwnInputs
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.records import LawRecord
from isoflop.queries.language.row_groups import group_rows
from isoflop.queries.language.rows import CLUSTER, RUN, Rows, column_of, describe_dropped, no_rows, read_rows
from isoflop.queries.language.shared_fits import check_sharing, labels_of, shared_parts
from isoflop.queries.language.syntax.nodes import Expression, FitClause
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws.form_mixture import FormMixture
from isoflop.queries.planning.informative import notes_on_informative_run

if TYPE_CHECKING:
    import pyarrow as pa

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
    labels : what the groups are called, in the order of `parts`; none without GROUP BY
    """

    bound: Bound
    rows: Rows
    keys: pa.Table
    parts: tuple[tuple[Rows, FitRecord | None], ...]
    records: tuple[LawRecord | None, ...]
    options: ClauseOptions
    labels: tuple[str, ...] = ()


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
        if node.source.sharing:
            refuse_mixture(
                question, bound.law, node.source.sharing[0], "SHARING holds for the coefficients of one form"
            )
            check_sharing(question, bound.law, node.source, node.options)
            kept = {**(kept or {}), "forward": False}
        options = read_fit_options(question, node.options, "FIT", bound.law)
        options = replace(options, **{**usual_resamples(node.options, bound.law), **(kept or {})})
        groups = group_names(question, node.source.groups, (*GLANCE, *ASKED, "bias"), "FIT")
        extra: dict[str, Column] = {str(position): group for position, group in enumerate(groups.values())}
        if options.cluster is not None:
            extra[CLUSTER] = options.cluster
        elif options.bootstrap == "auto" and (run := column_of(question, node.source, RUN)) is not None:
            extra[CLUSTER] = run
        rows = read_rows(question, bound, node.source, extra, options.objective, with_blocks=options.cluster is None)
        outer = over_columns(question, bound, node.source, options.objective)
        return cls(question, node, bound, options, groups, rows, outer)

    @property
    def keys(self) -> pa.Table:
        """The values of GROUP BY of each row."""
        return self.rows.extra.select([str(position) for position in range(len(self.groups))])

    def steps(self) -> Steps:
        """Return the law, its coefficients with their domains, the rows and the options."""
        steps = [*bound_steps(self.bound), *row_steps(self.node.source, self.rows)]
        if self.groups:
            steps += [("group by", group.text) for group in self.groups.values()]
            how = "one for each group" if not self.node.source.sharing else "of one search"
            steps.append(("fits", f"{len(group_rows(self.keys))}, {how}"))
        if self.node.source.sharing:
            steps.append(("common to all groups", ", ".join(name.text for name in self.node.source.sharing)))
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
        source = self.node.source
        labels = labels_of(self.keys, chosen) if self.groups else []
        with compiled.switched(bool(options.compiled)):
            if source.sharing:
                groups = [*zip(labels, chosen, strict=True)]
                together = groups_of(rows, options)
                parts = shared_parts(question, bound, source, rows, groups, together, options)
            for indices in chosen if not source.sharing else []:
                part = rows.take(indices) if self.groups else rows
                parts.append((part, fit_rows(question, bound, part, options) if len(part.kept) else None))
        whose: list[str | None] = [*labels] or [None]
        found = parts[0][1]
        if not self.groups and found is not None and found.status == "too_few_rows":
            free = fewest_free(bound.law)
            wanted = f"{free} different rows for {free} free coefficients"
            raise no_rows(question, "FIT", self.node.source, rows, wanted)
        return Fitted(
            bound=bound,
            rows=rows,
            keys=self.keys.take(np.array([indices[0] for indices in chosen], dtype=np.int64)).rename_columns(
                list(self.groups)
            ),
            parts=tuple(parts),
            records=tuple(
                None
                if found is None
                else replace(record_of(question, bound, found, rows.unit, self.outer), group=group)
                for group, (_, found) in zip(whose, parts, strict=True)
            ),
            options=options,
            labels=tuple(labels),
        )


def fit_rows(question: Question, bound: Bound, rows: Rows, options: ClauseOptions) -> FitRecord:
    """Return the fit of a law to rows.

    Raises
    ------
    StatementError : when there is nothing to fit
    """
    try:
        groups = groups_of(rows, options)
        data = usable_rows(bound.law, rows.inputs, rows.target, rows.weight, groups, rows.name, options.objective)
        found = mixing.run(bound.law, data, options)
        together = together_of(bound, rows, found, options)
        if together is None:
            found = checked_forward(found)
        else:
            found = fit_data(bound.law, together.data, together.options)
            found = found.without(together.instead_of).noting([together.note])
        found = found.noting(notes_on_informative_run(found))
    except (EmptySelection, FitError, UsageError) as error:
        if isinstance(error, StatementError):
            raise
        raise question.error("Fit", error.message, bound.span, error.hint) from error
    is_said = any(note.code == "unused_column" for note in rows.notes)  # which says better why rows are alike
    is_grouped = found.data.group is not None  # rows of a group are drawn together, and none counts anew
    if is_said or ("repeated_rows" in found.codes and (is_grouped or tells_repeats_apart(rows, found))):
        found = found.without("repeated_rows")
    notes = rows.notes
    if together is not None and together.by == inputs_of(bound):  # which the note on other seeds only advises
        said = [note.message for note in notes if note.code == "repeated_runs"]
        notes = tuple(note for note in notes if note.message not in said)
        question.services.asides[:] = [aside for aside in question.services.asides if aside not in said]
    curves = [*notes_on_dependence(rows, found), *notes_on_sources(rows, found)]
    question.services.asides += [note.message for note in curves]
    return found.noting([*notes, *curves])


def notes_on_dependence(rows: Rows, found: FitRecord) -> list[Note]:
    """Return a note where points of one run are resampled one by one, and lie off to the same side."""
    if found.data.group is not None or not rows.has_runs or not np.isfinite(found.solution.residuals).all():
        return []
    kept = found.data.kept
    runs = rows.labels.take(rows.kept[kept]).to_pylist()
    return notes_on_curves(found.solution.residuals, found.data.inputs, runs, RUN)


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


def record_of(
    question: Question, bound: Bound, found: FitRecord, unit: str, outer: OverColumns | None = None
) -> LawRecord:
    """Return a fit as saved laws and predictions take it.

    Parameters
    ----------
    unit : of the target; empty where it is not known
    outer : the law over columns, where it was fitted on expressions of them
    """
    fitted, own = found.fitted, None
    if outer is not None:
        by_itself = own_law(bound, found.law)
        law = outer.law
        if isinstance(law, FormMixture) and isinstance(by_itself, FormMixture):
            law = law.of_forms(by_itself.titles)
        own = OwnInputs(by_itself, arguments_of(question, bound), fitted.support, fitted.edge, fitted.widening)
        widening = None if fitted.widening is None else fitted.widening.over(outer.hull)
        fitted = replace(fitted, law=law, support=outer.support, edge=outer.edge, widening=widening)
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
        unit=unit,
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
