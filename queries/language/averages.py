"""The laws of an average, the rows that all of them are fitted to again, and the points they are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.units import UNITS
from isoflop.queries.language.bind import Bound, tidy
from isoflop.queries.language.clause_options import ClauseOptions
from isoflop.queries.language.describe import interval_steps, search_steps
from isoflop.queries.language.fits import arguments_of
from isoflop.queries.language.options import read_average_options
from isoflop.queries.language.points import columns_for, target_points
from isoflop.queries.language.prediction import note_change
from isoflop.queries.language.provenance import statement_of
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.rows import CLUSTER, Rows, no_rows, read_rows
from isoflop.queries.language.select import bind_subject, bound_of, candidate_name, common_rows, read_of_each
from isoflop.queries.language.syntax.nodes import Expression, ExtrapolateAverage, Name, Source
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]


class AskedAverage:
    """Laws of one target, the rows that all of them are fitted to, and the points they are asked about.

    Raises
    ------
    StatementError : when the laws predict different things or were fitted to different rows, or an input is missing
    """

    member: ClassVar[str] = "law"  # what each of the laws is called
    leave_out: ClassVar[tuple[str, ...]] = ()  # options of an average that the verb does not take

    def __init__(self, question: Question, node: ExtrapolateAverage) -> None:
        self._question, self._node = question, node
        self._names, self._bounds = bound_average(question, node)
        self._check()
        self._targets, self._columns = average_points(question, node, self._names, self._bounds)
        options, self._weighing, self._interval = read_average_options(
            question, node.options, node.verb, self._bounds[0].law, self.leave_out
        )
        self._options, self._rows = average_rows(question, node, self._names, self._bounds, options)

    def _check(self) -> None:
        """Check what the verb asks of its laws beyond what every average does, before any row is read."""

    @property
    def _searched(self) -> Bound:
        """The law whose search stands for those of all."""
        return self._bounds[0]

    def steps(self) -> Steps:
        """Return the laws that are averaged, the rows they are fitted to, and the points."""
        steps: Steps = []
        for name, bound in zip(self._names, self._bounds, strict=True):
            free = sum(coefficient.fixed is None for coefficient in bound.law.coefficients)
            said = f"{bound.target_name} ~ {bound.law.formula}; {free} free coefficients"
            steps.append((f"{self.member} {name}", said))
        source, rows = self._node.source, self._rows[0]
        whose = "those that the laws were fitted to" if source is None else f"which every {self.member} can use"
        steps.append(("rows", f"{len(rows.kept)} of {rows.matched}, {whose}"))
        if source is not None and source.weight is not None:
            steps.append(("weight by", source.weight.text))
        steps += search_steps(self._searched, rows, self._options)
        steps.append(("points", f"{self._targets.num_rows} with {', '.join(self._targets.column_names)}"))
        steps += [("weighed by", self._weighing), ("interval", self._interval.interval)]
        return steps + interval_steps(self._options)

    def _note_unusable(self, fault: NDArray[np.object_]) -> NDArray[np.bool_]:
        """Return which points have a prediction, and say why others have none.

        Parameters
        ----------
        fault : (T,) why a point has none, or ""

        Raises
        ------
        StatementError : when no point has one
        """
        usable = np.asarray(fault == "")
        if not usable.any():
            raise self._question.error("Data", f"there is no point to predict: {fault[0]}", self._node.target)
        if not usable.all():
            reasons = ", ".join(dict.fromkeys(fault[~usable].tolist()))
            self._question.note(f"{np.count_nonzero(~usable)} of {len(fault)} points have no prediction: {reasons}")
        return usable


def bound_average(question: Question, node: ExtrapolateAverage) -> tuple[list[str], list[Bound]]:
    """Return what the laws of an average are called, and what they are.

    Raises
    ------
    StatementError : when there is no such law, one stands twice, or they predict different things
    """
    names = [candidate_name(question, subject) for subject in node.subjects]
    _check_names(question, node, names)
    bounds = [bind_subject(question, subject) for subject in node.subjects]
    _check_targets(question, node, bounds)
    return names, bounds


def average_points(
    question: Question, node: ExtrapolateAverage, names: Sequence[str], bounds: Sequence[Bound]
) -> tuple[pa.Table, dict[str, list[pa.ChunkedArray]]]:
    """Return the points that TO asks for, and of them the inputs of each law.

    Raises
    ------
    StatementError : when an input is missing; before any law is fitted, so that it is said at once
    """
    targets = target_points(question, node)
    columns = {
        name: columns_for(question, bound.law, arguments_of(question, bound), _title(name), targets, node.target)
        for name, bound in zip(names, bounds, strict=True)
    }
    return targets, columns


def average_rows(
    question: Question,
    node: ExtrapolateAverage,
    names: Sequence[str],
    bounds: Sequence[Bound],
    options: ClauseOptions,
) -> tuple[ClauseOptions, list[Rows]]:
    """Return how the laws are fitted, and the rows that all of them can use, once for each law.

    Raises
    ------
    StatementError : when there are none, or saved laws were fitted to different ones
    """
    if node.source is not None:
        return options, _rows_of(question, node, names, bounds, node.source, options)
    return _own_rows(question, node, names, options)


def _title(name: str) -> str:
    return f"law '{name}'" if "(" not in name else name


def _check_names(question: Question, node: ExtrapolateAverage, names: Sequence[str]) -> None:
    """Check that no law stands twice."""
    for position, name in enumerate(names):
        if name.lower() in {each.lower() for each in names[:position]}:
            raise question.error("Binder", f"{name} stands twice in the average", node.subjects[position])


def _check_targets(question: Question, node: ExtrapolateAverage, bounds: Sequence[Bound]) -> None:
    """Check that all laws predict one thing, in one unit, read from one column."""
    first = bounds[0]
    hint = "average laws of one target"
    for subject, bound in zip(node.subjects[1:], bounds[1:], strict=True):
        if bound.target_name != first.target_name:
            message = f"the laws of an average predict '{first.target_name}' and '{bound.target_name}'"
            raise question.error("Binder", message, subject, hint)
        units = [candidate.law.unit or UNITS.get(candidate.target_name, "") for candidate in (first, bound)]
        if units[0] != units[1]:
            message = f"the laws of an average predict '{first.target_name}' in {units[0]} and in {units[1]}"
            raise question.error("Binder", message, subject, hint)
        texts = [_read_from(question, candidate) for candidate in (first, bound)]
        if texts[0] != texts[1]:
            message = f"the laws of an average read '{first.target_name}' from {texts[0]} and from {texts[1]}"
            raise question.error("Binder", message, subject, hint)


def _read_from(question: Question, bound: Bound) -> str:
    """Return what a target is read from, one spelling for each."""
    target = bound.target
    return (target.text if isinstance(target, Own) else target.column or tidy(question, target)).replace('"', "")


def _rows_of(
    question: Question,
    node: ExtrapolateAverage,
    names: Sequence[str],
    bounds: Sequence[Bound],
    source: Source,
    options: ClauseOptions,
) -> list[Rows]:
    """Return the rows of a source that every law can use, once for each law."""
    extra = {} if options.cluster is None else {CLUSTER: options.cluster}
    objective = options.objective or bounds[0].law.objective
    reads = [partial(read_rows, question, bound, source, extra, objective) for bound in bounds]
    read = read_of_each(question, names, reads)
    for rows in read:
        if not len(rows.kept):
            raise no_rows(question, node.verb, source, rows)
    return common_rows(question, source, read, node.verb)


def _own_rows(
    question: Question, node: ExtrapolateAverage, names: Sequence[str], options: ClauseOptions
) -> tuple[ClauseOptions, list[Rows]]:
    """Return the rows that saved laws were fitted to, read again as their statements say, and the first's objective.

    Raises
    ------
    StatementError : when they were fitted to different rows, or groups are given without FROM
    """
    if options.cluster is not None:
        hint = f"{node.verb} OF … FROM runs TO … WITH (cluster = …)"
        raise question.error("Binder", "cluster reads rows, and no FROM says which", options.cluster, hint)
    subjects = [subject for subject in node.subjects if isinstance(subject, Name)]
    records = [load_law(question, subject) for subject in subjects]
    own, made = statement_of(question, records[0], is_shown=True)
    source = made.fit.source
    for subject, record in zip(subjects[1:], records[1:], strict=True):
        other, again = statement_of(question, record)
        _check_source(
            question, node.verb, (subjects[0], own, source, records[0]), (subject, other, again.fit.source, record)
        )
    cluster = next((option.value for option in made.fit.options if option.key.text.lower() == "cluster"), None)
    at = source.relation.first
    bounds = [bound_of(record, at, subject) for record, subject in zip(records, subjects, strict=True)]
    options = replace(options, objective=options.objective or records[0].penalty)
    rows = _rows_of(own, node, names, bounds, source, replace(options, cluster=cluster))
    question.services.hear(own.services)
    if source.weight is None:
        for record, part in zip(records, rows, strict=True):
            note_change(question, record, part.inputs, part.target)
    return options, rows


_Made = tuple[Name, Question, Source, LawRecord]


def _check_source(question: Question, verb: str, first: _Made, second: _Made) -> None:
    """Check that two saved laws were fitted to the same rows."""
    (name, one, source, record), (place, other, again, record_again) = first, second

    def text(asked: Question, part: Expression | None) -> str:
        return "" if part is None else tidy(asked, part)

    hint = f"say the rows: {verb} OF {name.text}, {place.text} FROM {text(one, source.relation)} TO …"
    if text(one, source.relation).lower() != text(other, again.relation).lower():
        tables = f"{text(one, source.relation)} and {text(other, again.relation)}"
        raise question.error("Binder", f"the laws of an average were fitted to {tables}", place, hint)
    parts = ((source.where, again.where), (source.weight, again.weight))
    differs = any(text(one, mine) != text(other, theirs) for mine, theirs in parts)
    if differs or (record.values or {}) != (record_again.values or {}):
        message = f"law '{place.text}' was fitted to other rows of {text(one, source.relation)} than '{name.text}'"
        raise question.error("Binder", message, place, hint)
