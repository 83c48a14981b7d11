"""COMPARE: laws ranked on the same rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.queries.fitting.folds import Fold
from isoflop.queries.fitting.scatter import takes_any_sign
from isoflop.queries.language.bind import Bound, Column
from isoflop.queries.language.clause_options import ClauseOptions
from isoflop.queries.language.describe import interval_steps, on_one_line, search_steps
from isoflop.queries.language.fits import fit_rows, target_of
from isoflop.queries.language.mixtures import most_free
from isoflop.queries.language.options import read_compare_options
from isoflop.queries.language.own_rows import with_own_rows
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import known, load_law
from isoflop.queries.language.rows import Rows
from isoflop.queries.language.same_model import note_same_models, tied_ranks
from isoflop.queries.language.scored import SCORED, GivenCandidate, ScoredLaw, score
from isoflop.queries.language.select import (
    averaged,
    bind_subject,
    bound_of,
    candidate_name,
    common_rows,
    read_of_each,
    read_usable,
    run_folds,
    split_rows,
)
from isoflop.queries.language.syntax.nodes import Candidate, Compare, Name
from isoflop.queries.language.theories import (
    TheoryLaw,
    bind_theory,
    computed_rows,
    places_of,
    theory_named,
)
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws.form_mixture import FormMixture

if TYPE_CHECKING:
    import pyarrow as pa


class ComparePlan:
    """The candidates, and the rows that all of them can use.

    Raises
    ------
    StatementError : when the candidates do not have one target, or leave no common rows
    """

    def __init__(self, question: Question, node: Compare) -> None:
        source = node.source
        if source is None:
            names = [each for each in node.subjects if isinstance(each, Name) and theory_named(question, each) is None]
            question, node = with_own_rows(question, node, names, "COMPARE", node.end_of_subjects)
            source = node.source
        assert source is not None
        self._question, self._node, self._source = question, node, source
        self._names, self._bounds = _candidates(question, node)
        self._options, self._weighing = read_compare_options(question, node.options, "COMPARE", self._bounds[0].law)
        _check_one_scale(question, node, self._bounds, self._options)
        scored = [bound.law for bound in self._bounds if isinstance(bound.law, ScoredLaw)]
        if scored and self._weighing is not None:
            hint = "leave weighing away: Akaike's weights are for all"
            raise question.error("Binder", f"{scored[0].name} is not fitted, so no resamples weigh it", node, hint)
        theories = [law.theory for law in scored if isinstance(law, TheoryLaw)]
        places = places_of(question, source, theories[0]) if theories else None
        reads = [partial(self._read_rows, bound, places) for bound in self._bounds]
        self._read = read_of_each(question, self._names, reads)
        self._rows = common_rows(question, source, self._read, "COMPARE")
        holdout, seed = node.holdout, self._options.seed
        self._splits = [] if holdout is None else [split_rows(question, holdout, own, seed) for own in self._rows]

    def _read_rows(self, bound: Bound, places: Mapping[str, Column] | None) -> Rows:
        """The rows of one candidate: a law's columns, or what a theory says of each."""
        node = self._node
        rows = read_usable(self._question, bound, self._source, node.holdout, self._options, "COMPARE", places)
        return computed_rows(self._question, bound, rows) if isinstance(bound.law, TheoryLaw) else rows

    def steps(self) -> Steps:
        """Return the candidates, the rows, and what ranks them."""
        steps: Steps = []
        for name, bound, own in zip(self._names, self._bounds, self._read, strict=True):
            free = most_free(bound.law)
            usable = f"{len(own.kept)} of {own.matched} rows usable"
            detail = f"{bound.target_name} ~ {bound.law.formula}; {free} free coefficients; {usable}"
            steps.append((f"candidate {name}", detail))
        rows, holdout = self._rows[0], self._node.holdout
        steps.append(("rows", f"{len(rows.kept)} of {rows.matched}, which every candidate can use"))
        laws = [k for k, bound in enumerate(self._bounds) if not isinstance(bound.law, ScoredLaw)]
        if laws:
            steps += search_steps(self._bounds[laws[0]], self._rows[laws[0]], self._options)
        if self._weighing is not None:
            steps.append(("weighed by", self._weighing))
        if holdout is None:
            return [*steps, ("ranked by", "aicc of fits to all rows")]
        parts = self._splits[0].parts
        steps.append(("folds", f"{len(parts)}: {on_one_line(self._question, holdout)}"))
        steps.append(("ranked by", "mean absolute error on the rows held out"))
        return steps + interval_steps(self._options)

    def run(self) -> pa.Table:
        """Return one row for each candidate, the best first, all fitted to the same rows."""
        import pyarrow as pa

        question, node, options = self._question, self._node, self._options
        results = []
        for position, (name, bound, own) in enumerate(zip(self._names, self._bounds, self._rows, strict=True)):
            splits = None if node.holdout is None else self._splits[position]
            free = most_free(bound.law)
            row: dict[str, Any] = {"law": name, "k": free, "cv_mape": None, "cv_coverage": None}
            if isinstance(bound.law, ScoredLaw):
                aicc, folds = score(bound, own, splits, options)
                row |= {"status": bound.law.status, "aicc": known(aicc if np.isfinite(aicc) else np.nan)}
            else:
                found = fit_rows(question, bound, own, replace(options, resamples=0))
                row |= {"status": found.status, "aicc": known(found.criteria.aicc)}
                folds = [] if splits is None else run_folds(question, bound, own, splits, options)
            if splits is not None:
                row |= {"cv_mape": _mean(folds, "mape"), "cv_coverage": _mean(folds, "coverage")}
            results.append(row)
        if given := [str(bound.law.name) for bound in self._bounds if isinstance(bound.law, GivenCandidate)]:
            are = "are" if len(given) > 1 else "is"
            question.note(f"k counts what is fitted here: {' and '.join(given)} {are} scored as given, wherever from")
        note_same_models(question, self._names, self._bounds, options.objective)
        ranked = _ranked(results, by_error=node.holdout is not None)
        means = [
            name for name, bound in zip(self._names, self._bounds, strict=True) if isinstance(bound.law, FormMixture)
        ]
        if means and self._weighing is None:
            ranked = [{**row, "weight": None} if row["law"] in means else row for row in ranked]
            if node.holdout is None:
                how = "HOLDOUT …, or WITH (weighing = 'resamples'), compares it"
                question.note(f"{' and '.join(means)}: a mean of forms has no aicc, so it ranks last; {how}")
        if self._weighing is not None:
            weights = _weights(question, node, self._names, self._bounds, self._rows, options, self._weighing)
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


def _candidates(question: Question, node: Compare) -> tuple[list[str], list[Bound]]:
    """Return what the candidates of COMPARE are called, and what they are.

    Raises
    ------
    StatementError : when they predict different things
    """
    theories = [theory_named(question, subject) for subject in node.subjects]
    laws = {k: _bound(question, node.subjects[k]) for k, theory in enumerate(theories) if theory is None}
    metric = next((bound.target_name for bound in laws.values()), None)
    bounds = [
        laws[k] if theory is None else bind_theory(question, theory, node.subjects[k], metric)
        for k, theory in enumerate(theories)
    ]
    for subject, bound in zip(node.subjects, bounds, strict=True):
        first, other = ((each, _plain(target_of(question, each))) for each in (bounds[0], bound))
        if first[0].target_name.lower() != other[0].target_name.lower() or first[1] != other[1]:
            texts = [each.target_name if each.target_name.lower() == text else text for each, text in (first, other)]
            message = f"the candidates of COMPARE predict '{texts[0]}' and '{texts[1]}'"
            raise question.error("Binder", message, subject, "compare laws of one target")
    return [candidate_name(question, subject) for subject in node.subjects], bounds


def _bound(question: Question, subject: Name | Candidate) -> Bound:
    """Return a law to be fitted again, or one of given coefficients, which is scored as it is."""
    record = load_law(question, subject) if isinstance(subject, Name) else None
    if record is None or not record.is_given:
        return bind_subject(question, subject)
    at = next(index for index, token in enumerate(question.tokens) if token.start == subject.start)
    return replace(bound_of(record, at, subject), law=GivenCandidate(record))


def _check_one_scale(question: Question, node: Compare, bounds: Sequence[Bound], options: ClauseOptions) -> None:
    """Check that not one candidate is judged by logarithms and another by values: criteria would not compare."""
    if options.objective is not None:
        return
    fitted = [
        (subject, bound)
        for subject, bound in zip(node.subjects, bounds, strict=True)
        if bound.law.coefficients or (isinstance(bound.law, GivenCandidate) and bound.law.states_scatter)
    ]
    for subject, bound in fitted[1:]:
        first, other = fitted[0][1].law.objective, bound.law.objective
        if takes_any_sign(first) != takes_any_sign(other):
            message = f"the candidates minimize {first.name} and {other.name}, whose criteria do not compare"
            hint = f"name one for all: WITH (objective = '{first.name}')"
            raise question.error("Binder", message, subject, hint)


def _plain(sql: str) -> str:
    """Return the SQL of a target such that two that say the same are the same text."""
    return re.sub(r'[\s"]', "", sql).lower()


def _weights(
    question: Question,
    node: Compare,
    names: Sequence[str],
    bounds: Sequence[Bound],
    rows: Sequence[Rows],
    options: ClauseOptions,
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


def _ranked(rows: list[dict[str, Any]], *, by_error: bool) -> list[dict[str, Any]]:
    """Return candidates best first: by error on rows held out, else by information criterion."""
    key = "cv_mape" if by_error else "aicc"
    ordered = sorted(
        rows, key=lambda row: (row["status"] not in ("converged", *SCORED), row[key] is None, row[key] or 0.0)
    )
    criteria = [row["aicc"] for row in rows if row["aicc"] is not None]
    least = min(criteria, default=None)
    weights = [0.0 if row["aicc"] is None or least is None else np.exp((least - row["aicc"]) / 2) for row in ordered]
    total = sum(weights)
    ranks = tied_ranks([row[key] if row["status"] in ("converged", *SCORED) else None for row in ordered])
    for rank, row, weight in zip(ranks, ordered, weights, strict=True):
        row["rank"] = rank
        row["delta_aicc"] = None if row["aicc"] is None or least is None else row["aicc"] - least
        row["weight"] = weight / total if total else None
    return ordered


def _mean(folds: Sequence[Fold], name: str) -> float | None:
    """Return the mean of a measure over the rows held out."""
    values = np.array([getattr(fold, name) for fold in folds], dtype=np.float64)
    weights = np.array([fold.n_test for fold in folds], dtype=np.float64)
    is_known = np.isfinite(values)
    return float(np.average(values[is_known], weights=weights[is_known])) if is_known.any() else None
