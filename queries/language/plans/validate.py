"""CROSS VALIDATE and COMPARE: laws judged on rows they have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import EmptySelection, FitError, StatementError, UsageError
from isoflop.queries.fitting.averaging import LawAverage, average_laws
from isoflop.queries.fitting.splits import KFold, LargestHoldout, LeaveOneOut
from isoflop.queries.fitting.validation import Fold, cross_validate
from isoflop.queries.language.bind import Bound, bind_candidate
from isoflop.queries.language.defaults import RESAMPLES
from isoflop.queries.language.options import FitOptions, read_compare_options, read_fit_options
from isoflop.queries.language.plans.fit import fit_rows
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.records import LawRecord, known, load_law
from isoflop.queries.language.rows import CLUSTER, Rows, describe_dropped, no_rows, read_rows
from isoflop.queries.language.syntax.nodes import (
    Candidate,
    Compare,
    CrossValidate,
    Expression,
    Holdout,
    Name,
    Source,
    Span,
)
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa

Split = tuple[NDArray[np.int64], NDArray[np.int64]]
_BY = "by"


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


def cross_validation(question: Question, node: CrossValidate) -> pa.Table:
    """Return one row for each fold: what the law, fitted to the other rows, makes of it."""
    import pyarrow as pa

    bound = bind_subject(question, node.subject)
    options = fold_options(question, node, bound, "CROSS VALIDATE")
    rows = read_usable(question, bound, node.source, node.holdout, options, "CROSS VALIDATE")
    splits = split_rows(question, node.holdout, rows, options.seed)
    folds = run_folds(question, bound, rows, splits, options)
    number = pa.float64()
    order_type = rows.extra.column(_BY).type if splits.order is not None else number
    schema = pa.schema(
        {
            "fold": pa.int64(),
            "n_train": pa.int64(),
            "n_test": pa.int64(),
            "train_max": order_type,
            "test_max": order_type,
            "mape": number,
            "rmse_log": number,
            "bias": number,
            "coverage": number,
            "status": pa.string(),
            "coefficients": pa.struct([(one.name, number) for one in bound.law.coefficients]),
        }
    )
    return pa.Table.from_pylist([_fold_row(bound, splits, fold) for fold in folds], schema=schema)


def compare(question: Question, node: Compare) -> pa.Table:
    """Return one row for each candidate, the best first, all fitted to the same rows.

    Raises
    ------
    StatementError : when the candidates do not have one target, or leave no common rows
    """
    import pyarrow as pa

    names, bounds = bound_candidates(question, node)
    options, weighing = read_compare_options(question, node.options, "COMPARE", bounds[0].law)
    read = [read_usable(question, bound, node.source, node.holdout, options, "COMPARE") for bound in bounds]
    rows = common_rows(question, node.source, read, "COMPARE")
    results = []
    for name, bound, own in zip(names, bounds, rows, strict=True):
        found = fit_rows(question, bound, own, replace(options, resamples=0))
        free = sum(one.fixed is None for one in bound.law.coefficients)
        row: dict[str, Any] = {"law": name, "k": free, "status": found.status, "aicc": known(found.aicc)}
        row |= {"cv_mape": None, "cv_coverage": None}
        if node.holdout is not None:
            folds = run_folds(question, bound, own, split_rows(question, node.holdout, own, options.seed), options)
            row |= {"cv_mape": _mean(folds, "mape"), "cv_coverage": _mean(folds, "coverage")}
        results.append(row)
    ranked = _ranked(results, by_error=node.holdout is not None)
    if weighing is not None:
        weights = _weights(question, node, names, bounds, rows, options, weighing)
        ranked = [{**row, "weight": weights.get(row["law"])} for row in ranked]
    number = pa.float64()
    schema = pa.schema(
        {
            "rank": pa.int64(),
            "law": pa.string(),
            "k": pa.int64(),
            "aicc": number,
            "cv_mape": number,
            "cv_coverage": number,
            "delta_aicc": number,
            "weight": number,
            "status": pa.string(),
        }
    )
    return pa.Table.from_pylist(ranked, schema=schema)


def bound_candidates(question: Question, node: Compare) -> tuple[list[str], list[Bound]]:
    """Return what the candidates of COMPARE are called, and what they are.

    Raises
    ------
    StatementError : when they predict different things
    """
    bounds = [bind_subject(question, subject) for subject in node.subjects]
    for subject, bound in zip(node.subjects, bounds, strict=True):
        if bound.target_name != bounds[0].target_name:
            message = f"the candidates of COMPARE predict '{bounds[0].target_name}' and '{bound.target_name}'"
            raise question.error("Binder", message, subject, "compare laws of one target")
    return [candidate_name(question, subject) for subject in node.subjects], bounds


def _weights(
    question: Question,
    node: Compare,
    names: Sequence[str],
    bounds: Sequence[Bound],
    rows: Sequence[Rows],
    options: FitOptions,
    weighing: str,
) -> dict[str, float]:
    """Return the weight that each candidate has in their average."""
    for position, name in enumerate(names):
        if name in names[:position]:
            raise question.error("Binder", f"{name} stands twice, and weights go by name", node.subjects[position])
    average = averaged(question, names, bounds, rows, options, weighing)
    for note in average.notes:
        question.note(note.message)
    return dict(zip(average.names, average.weights.tolist(), strict=True))


def averaged(
    question: Question,
    names: Sequence[str],
    bounds: Sequence[Bound],
    rows: Sequence[Rows],
    options: FitOptions,
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
        return average_laws(
            [bound.law for bound in bounds],
            {name: own.inputs for name, own in zip(names, rows, strict=True)},
            first.target,
            names=names,
            weighing=weighing,
            sample_weight=first.weight,
            groups=first.column(CLUSTER) if CLUSTER in first.extra.column_names else None,
            objective=options.objective,
            resamples=options.resamples,
            seed=options.seed,
            level=options.level,
            forward=forward,
        )
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
    at = next(index for index, token in enumerate(question.tokens) if token.start == subject.start)
    return bound_of(record, at, subject)


def bound_of(record: LawRecord, at: int, span: Span) -> Bound:
    """Return target and law of a saved law, to be fitted again.

    Parameters
    ----------
    at : the token that its columns stand for
    span : where it stands
    """
    columns = tuple(Own(argument, at) for argument in record.arguments)
    return Bound(record.law, record.form, True, columns, Own(record.target_sql, at), record.target, span)


def candidate_name(question: Question, subject: Name | Candidate) -> str:
    """Return what a candidate is called in an answer: the name of a law, or the form as typed."""
    if isinstance(subject, Name):
        return subject.text
    return question.text[subject.form.start : subject.form.end]


def _ranked(rows: list[dict[str, Any]], *, by_error: bool) -> list[dict[str, Any]]:
    """Return candidates best first: by error on rows held out, else by information criterion."""
    key = "cv_mape" if by_error else "aicc"
    ordered = sorted(rows, key=lambda row: (row["status"] != "converged", row[key] is None, row[key] or 0.0))
    criteria = [row["aicc"] for row in rows if row["aicc"] is not None]
    least = min(criteria, default=None)
    weights = [0.0 if row["aicc"] is None or least is None else np.exp((least - row["aicc"]) / 2) for row in ordered]
    total = sum(weights)
    for rank, (row, weight) in enumerate(zip(ordered, weights, strict=True), 1):
        row["rank"] = rank
        row["delta_aicc"] = None if row["aicc"] is None or least is None else row["aicc"] - least
        row["weight"] = weight / total if total else None
    return ordered


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


def fold_options(question: Question, node: CrossValidate, bound: Bound, verb: str) -> FitOptions:
    """Return how each fold is fitted: with fewer resamples than a fit has, unless the statement says how many."""
    options = read_fit_options(question, node.options, verb, bound.law, leave_out=("forward", "bootstrap", "intervals"))
    is_said = any(option.key.text.lower() == "resamples" for option in node.options)
    return options if is_said else replace(options, resamples=RESAMPLES)


def read_usable(
    question: Question, bound: Bound, source: Source, holdout: Holdout | None, options: FitOptions, verb: str
) -> Rows:
    """Return the rows of a source, those without a value to split by among the unusable."""
    extra: dict[str, Expression] = {}
    if holdout is not None and holdout.by is not None:
        extra[_BY] = holdout.by
    if options.cluster is not None:
        extra[CLUSTER] = options.cluster
    rows = read_rows(question, bound, source, extra)
    if holdout is not None and holdout.by is not None:
        missing = rows.extra.column(_BY).is_null().to_numpy()
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
    by = rows.column(_BY) if holdout.by is not None else None
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
    return None if values is None else [repr(value) if isinstance(value, list | dict) else value for value in values]


def _order(values: list[Any]) -> NDArray[np.float64]:
    """Return the rank of each value among the distinct ones; equal values share one."""
    try:
        ranks = {value: rank for rank, value in enumerate(sorted(set(values)))}
    except TypeError as error:
        raise UsageError("rows cannot be ordered by a value of this type") from error
    return np.array([ranks[value] for value in values], dtype=np.float64)


def run_folds(question: Question, bound: Bound, rows: Rows, splits: Splits, options: FitOptions) -> list[Fold]:
    """Return what a law makes of each fold.

    Raises
    ------
    StatementError : when there is nothing to fit
    """
    try:
        return cross_validate(
            bound.law,
            rows.inputs,
            rows.target,
            splits.parts,
            sample_weight=rows.weight,
            objective=options.objective,
            groups=rows.column(CLUSTER) if options.cluster is not None else None,
            resamples=options.resamples,
            seed=options.seed,
            level=options.level,
        )
    except (EmptySelection, FitError, UsageError) as error:
        if isinstance(error, StatementError):
            raise
        raise question.error("Fit", error.message, bound.span, error.hint) from error


def _fold_row(bound: Bound, splits: Splits, fold: Fold) -> dict[str, Any]:
    def largest(positions: NDArray[np.int64]) -> Any:
        if splits.order is None or not len(positions):
            return None
        return max(splits.order[int(position)] for position in positions)

    row: dict[str, Any] = {"fold": fold.fold, "n_train": fold.n_train, "n_test": fold.n_test, "status": fold.status}
    row |= {"train_max": largest(fold.train), "test_max": largest(fold.test)}
    row |= {name: known(getattr(fold, name)) for name in ("mape", "rmse_log", "bias", "coverage")}
    values = zip(bound.law.coefficients, fold.coefficients, strict=True)
    return {**row, "coefficients": {one.name: known(value) for one, value in values}}


def _mean(folds: Sequence[Fold], name: str) -> float | None:
    """Return the mean of a measure over the rows held out."""
    values = np.array([getattr(fold, name) for fold in folds], dtype=np.float64)
    weights = np.array([fold.n_test for fold in folds], dtype=np.float64)
    is_known = np.isfinite(values)
    return float(np.average(values[is_known], weights=weights[is_known])) if is_known.any() else None


@dataclass(frozen=True)
class CrossValidatePlan:
    """What cross_validation is to do."""

    question: Question
    node: CrossValidate

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return cross_validation(self.question, self.node)


@dataclass(frozen=True)
class ComparePlan:
    """What compare is to do."""

    question: Question
    node: Compare

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return compare(self.question, self.node)
