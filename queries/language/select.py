"""Laws to be fitted to the same rows, and how these rows are split: what verbs that judge or average laws share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import EmptySelection, FitError, StatementError, UsageError
from isoflop.queries.fitting.averaging import LawAverage, average_laws, shared_data
from isoflop.queries.fitting.data import usable_rows
from isoflop.queries.fitting.folds import Fold
from isoflop.queries.fitting.splits import KFold, LargestHoldout, LeaveOneOut
from isoflop.queries.fitting.validation import cross_validate
from isoflop.queries.language.bind import Bound, Column, bind_candidate
from isoflop.queries.language.clause_options import ClauseOptions
from isoflop.queries.language.defaults import RESAMPLES
from isoflop.queries.language.mixtures import with_every_form
from isoflop.queries.language.options import read_fit_options
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.rows import CLUSTER, Rows, describe_dropped, no_rows, read_rows
from isoflop.queries.language.syntax.nodes import (
    Candidate,
    CrossValidate,
    Holdout,
    Name,
    Source,
    Span,
)

if TYPE_CHECKING:
    pass

Split = tuple[NDArray[np.int64], NDArray[np.int64]]
BY = "by"


@dataclass(frozen=True)
class Splits:
    """How usable rows are split.

    Parameters
    ----------
    parts : positions to learn from and to judge on, for each fold
    order : (R,) what orders the rows, as it was read; None when nothing does
    """

    parts: tuple[Split, ...]
    order: list[Any] | None


def averaged(
    question: Question,
    names: Sequence[str],
    bounds: Sequence[Bound],
    rows: Sequence[Rows],
    options: ClauseOptions,
    weighing: str,
    *,
    forward: bool = False,
) -> LawAverage:
    """Return laws fitted to the same rows and resamples, with weights.

    Parameters
    ----------
    names : what the laws are called, all different
    bounds, rows : each law, and its columns of the rows that all can use
    weighing : one of `WEIGHINGS`

    Raises
    ------
    StatementError : when none can be fitted
    """
    first = rows[0]
    try:
        laws = [bound.law for bound in bounds]
        inputs = {name: own.inputs for name, own in zip(names, rows, strict=True)}
        groups = first.column(CLUSTER) if CLUSTER in first.extra.column_names else None
        data = shared_data(
            laws,
            inputs,
            first.target,
            names=names,
            sample_weight=first.weight,
            groups=groups,
            label=first.name,
            objective=options.objective,
        )
        return average_laws(laws, data, replace(options, forward=forward), names=names, weighing=weighing)
    except (EmptySelection, FitError, UsageError) as error:
        if isinstance(error, StatementError):
            raise
        raise question.error("Fit", error.message, bounds[0].span, error.hint) from error


# Candidates


def bind_subject(question: Question, subject: Name | Candidate) -> Bound:
    """Return target and law of `target ~ form`, or those of a saved law, to be fitted again."""
    if isinstance(subject, Candidate):
        return bind_candidate(question, subject)
    record: LawRecord = load_law(question, subject)
    if record.is_given:
        hint = f"COMPARE {candidate_text(question, subject)} FROM … scores it as it is"
        raise question.error("Binder", f"{record.title} is of given coefficients: nothing is fitted", subject, hint)
    at = next(index for index, token in enumerate(question.tokens) if token.start == subject.start)
    return bound_of(record, at, subject)


def candidate_text(question: Question, subject: Name | Candidate) -> str:
    """Return a candidate as typed."""
    return question.text[subject.start : subject.end]


def bound_of(record: LawRecord, at: int, span: Span) -> Bound:
    """Return target and law of a saved law, to be fitted again.

    Parameters
    ----------
    at : the token that its columns stand for
    span : where it stands
    """
    columns = tuple(Own(argument, at) for argument in record.arguments)
    return Bound(
        with_every_form(record.law), record.form, True, columns, Own(record.target_sql, at), record.target, span
    )


def candidate_name(question: Question, subject: Name | Candidate) -> str:
    """Return what a candidate is called in an answer: the name of a law, or the form as typed."""
    if isinstance(subject, Name):
        return subject.text
    return question.text[subject.form.start : subject.form.end]


def read_of_each(question: Question, names: Sequence[str], reads: Sequence[Callable[[], Rows]]) -> list[Rows]:
    """Return the rows of several laws; what is said of the rows of some of the laws only is said with their names.

    Parameters
    ----------
    names : what each law is called
    reads : return the rows of each, and say what is to be known of them
    """
    asides = question.services.asides
    before = len(asides)
    found, said = [], []
    for read in reads:
        found.append(read())
        said.append(asides[before:])
        del asides[before:]
    for message in dict.fromkeys(chain.from_iterable(said)):
        whose = [name for name, own in zip(names, said, strict=True) if message in own]
        asides.append(message if len(whose) == len(names) else f"{' and '.join(dict.fromkeys(whose))}: {message}")
    return found


def common_rows(question: Question, source: Source, read: Sequence[Rows], verb: str) -> list[Rows]:
    """Return the rows that every candidate can use."""
    faults = read[0].faults.copy()
    for rows in read[1:]:
        faults = np.where(faults == "", rows.faults, faults)
    common = [replace(rows, faults=faults) for rows in read]
    if not len(common[0].kept):
        raise no_rows(question, verb, source, common[0])
    note = describe_dropped(common[0])
    if note is not None:
        question.note(note)
    return common


# Rows and folds


def fold_options(question: Question, node: CrossValidate, bound: Bound, verb: str) -> ClauseOptions:
    """Return how each fold is fitted: with fewer resamples than a fit has, unless the statement says how many."""
    options = read_fit_options(question, node.options, verb, bound.law, leave_out=("forward", "bootstrap", "intervals"))
    is_said = any(option.key.text.lower() == "resamples" for option in node.options)
    return options if is_said else replace(options, resamples=RESAMPLES)


def read_usable(
    question: Question,
    bound: Bound,
    source: Source,
    holdout: Holdout | None,
    options: ClauseOptions,
    verb: str,
    also: Mapping[str, Column] | None = None,
) -> Rows:
    """Return the rows of a source, those without a value to split by among the unusable.

    Parameters
    ----------
    also : further columns to read along, by the name they get
    """
    extra: dict[str, Column] = dict(also or {})
    if holdout is not None and holdout.by is not None:
        extra[BY] = holdout.by
    if options.cluster is not None:
        extra[CLUSTER] = options.cluster
    rows = read_rows(question, bound, source, extra, options.objective)
    if holdout is not None and holdout.by is not None:
        missing = rows.extra.column(BY).is_null().to_numpy()
        rows = replace(rows, faults=np.where((rows.faults == "") & missing, f"{holdout.by.text} is NULL", rows.faults))
    if not len(rows.kept):
        raise no_rows(question, verb, source, rows)
    if verb == "CROSS VALIDATE":
        note = describe_dropped(rows)
        if note is not None:
            question.note(note)
    return rows


def split_rows(question: Question, holdout: Holdout, rows: Rows, seed: int) -> Splits:
    """Return the folds of usable rows.

    Raises
    ------
    StatementError : when the rows cannot be split so
    """
    amount = None if holdout.amount is None else question.number(holdout.amount, "how much is held out")
    by = rows.column(BY) if holdout.by is not None else None
    count = np.arange(len(rows.kept))
    try:
        match holdout.kind:
            case "kfold":
                return Splits(tuple(KFold(_whole(amount), seed).split(count, groups=_labels(by))), None)
            case "leave one out":
                return Splits(tuple(LeaveOneOut().split(count, groups=_labels(by))), None)
            case kind:
                key = _order(by or [])
                key = -key if kind == "smallest" else key
                if holdout.is_percent:
                    splitter = LargestHoldout(percent=amount, by=key)
                else:
                    splitter = LargestHoldout(n=_whole(amount), by=key)
                return Splits(tuple(splitter.split(count)), by)
    except UsageError as error:
        message = error.message.replace("the largest", f"the {holdout.kind}")
        raise question.error("Data", message, holdout, error.hint) from error


def _whole(amount: float | None) -> int:
    if amount is None or not amount.is_integer():
        raise UsageError(f"{amount:g} is not a whole number; PERCENT takes shares")
    return int(amount)


def _labels(values: list[Any] | None) -> list[Any] | None:
    return None if values is None else [repr(value) if isinstance(value, tuple) else value for value in values]


def _order(values: list[Any]) -> NDArray[np.float64]:
    """Return the rank of each value among the distinct ones; equal values share one."""
    try:
        ranks = {value: rank for rank, value in enumerate(sorted(set(values)))}
    except TypeError as error:
        raise UsageError("rows cannot be ordered by a value of this type") from error
    return np.array([ranks[value] for value in values], dtype=np.float64)


def run_folds(question: Question, bound: Bound, rows: Rows, splits: Splits, options: ClauseOptions) -> list[Fold]:
    """Return what a law makes of each fold.

    Raises
    ------
    StatementError : when there is nothing to fit
    """
    try:
        groups = rows.column(CLUSTER) if options.cluster is not None else None
        data = usable_rows(bound.law, rows.inputs, rows.target, rows.weight, groups, objective=options.objective)
        return cross_validate(bound.law, data, splits.parts, options)
    except (EmptySelection, FitError, UsageError) as error:
        if isinstance(error, StatementError):
            raise
        raise question.error("Fit", error.message, bound.span, error.hint) from error
