"""Theories among the candidates of COMPARE: they say what runs measure at their steps, and nothing is fitted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import EmptySelection, UnknownName, UsageError
from isoflop.queries.language.bind import Bound, Column
from isoflop.queries.language.numbers import numbers
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.rows import Rows, column_of
from isoflop.queries.language.saved_laws import law_exists
from isoflop.queries.language.scored import COMPUTED, ScoredLaw
from isoflop.queries.language.syntax.nodes import Candidate, Name, Source
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.laws.law import Input

if TYPE_CHECKING:
    from isoflop.queries.theory import Theory

Array = NDArray[np.float64]

RUN, STEP = "run", "step"  # names of the further columns that a theory is asked about
MOST_STEPS = 2**53  # to which every whole number is a double


class TheoryLaw(ScoredLaw):
    """What a theory says of rows, in the place of a law: nothing to fit, and two inputs that it has computed.

    Parameters
    ----------
    theory : says it
    metric : which of its metrics
    """

    inputs = (Input("mean"), Input("deviation", positive=False))
    status = COMPUTED

    def __init__(self, theory: Theory, metric: str) -> None:
        self.theory, self.target, self.name = theory, metric, theory.name
        self.unit, self.source = theory.metrics[metric], theory.source

    @property
    def formula(self) -> str:
        """What the theory reads of a run."""
        return f"{self.name}({', '.join(self.theory.fields)}), {self.source}"

    def ends(self, inputs: Array, level: float) -> tuple[Array, Array, Array]:
        """Return mean (R,), and the ends about it that hold runs scattering normally with the theory's deviation."""
        mean, deviation = inputs.T
        reach = NormalDist().inv_cdf(0.5 + level / 2) * deviation
        return mean, mean - reach, mean + reach


def theory_named(question: Question, subject: Name | Candidate) -> Theory | None:
    """Return the theory that a candidate names; None for a law. A saved law goes before a theory of its name."""
    from isoflop.queries.theory import find_theory

    if isinstance(subject, Candidate):
        return None
    try:
        theory = find_theory(subject.text)
    except UnknownName:
        return None
    return None if law_exists(question.lake, subject.text) else theory


def bind_theory(question: Question, theory: Theory, subject: Name | Candidate, metric: str | None) -> Bound:
    """Return a theory and the column it is compared with.

    Parameters
    ----------
    subject : where it stands
    metric : that the other candidates predict; None when there are none but theories, which predict their first metric

    Raises
    ------
    StatementError : when it does not predict the metric
    """
    metric = next(iter(theory.metrics)) if metric is None else metric
    predicted = next((name for name in theory.metrics if name.lower() == metric.lower()), None)
    if predicted is None:
        message = f"theory {theory.name} predicts {', '.join(theory.metrics)}, not '{metric}'"
        raise question.error("Binder", message, subject, "compare what predicts one metric")
    at = next(index for index, token in enumerate(question.tokens) if token.start == subject.start)
    return Bound(TheoryLaw(theory, predicted), theory.name, True, (), Own(quote_name(metric), at), metric, subject)


def places_of(question: Question, source: Source, theory: Theory) -> dict[str, Column]:
    """Return the columns that say of which run a row is, and at which step.

    Raises
    ------
    StatementError : when the source has none
    """
    run = column_of(question, source, "run_id")
    step = column_of(question, source, "step") or column_of(question, source, "steps")
    if run is None or step is None:
        missing = "run_id" if run is None else "step or steps"
        hint = (
            "compare it on runs, which are predicted at their last step, or on points: FROM (SELECT run_id, step, "
            "value AS loss FROM metric_curves WHERE metric = 'loss')"
        )
        message = f"theory {theory.name} predicts runs at steps, and the source has no column {missing}"
        raise question.error("Binder", message, source.relation, hint)
    return {RUN: run, STEP: step}


def computed_rows(question: Question, bound: Bound, rows: Rows) -> Rows:
    """Return rows with what a theory says of each as its inputs; those that it says nothing of are not usable.

    Raises
    ------
    StatementError : when steps are no numbers
    """
    assert isinstance(bound.law, TheoryLaw)
    theory, metric = bound.law.theory, bound.law.target
    steps = numbers(question, rows.extra.column(STEP), "the step", bound.span)
    runs = rows.extra.column(RUN).to_pylist()
    reasons = np.full(rows.matched, f"{theory.name} predicts runs of family {theory.family} only", dtype=object)
    reasons[[run is None for run in runs]] = "run_id is NULL"
    is_step = np.isfinite(steps) & (steps >= 0) & (steps == np.rint(steps)) & (steps < MOST_STEPS)
    reasons[~is_step] = f"the step is no whole number from 0 to {MOST_STEPS:g}"
    wanted: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position in np.flatnonzero(is_step).tolist():
        if runs[position] is not None:
            wanted[str(runs[position])][int(steps[position])].append(position)
    said = np.full((rows.matched, 2), np.nan)
    for run, places in _predicted(question, theory, metric, wanted).items():
        for step, positions in wanted[run].items():
            if isinstance(places, str):
                reasons[positions] = places
            else:
                said[positions] = places[step]
                reasons[positions] = f"what {theory.name} predicts is not finite"
    faults = np.where((rows.faults == "") & ~np.isfinite(said[:, 0]), reasons, rows.faults)
    return replace(rows, law_inputs=said, faults=faults)


def _predicted(
    question: Question, theory: Theory, metric: str, wanted: Mapping[str, Mapping[int, Any]]
) -> dict[str, dict[int, tuple[float, float]] | str]:
    """Mean and deviation of each run at the steps that are wanted of it, or why it cannot be predicted."""
    from isoflop.queries.theory.predictions import chosen_runs, predict_run

    found: dict[str, dict[int, tuple[float, float]] | str] = {}
    try:
        chosen = chosen_runs(question.lake, theory, sorted(wanted))
    except EmptySelection:
        return {}
    for run in chosen:
        at = np.array(sorted(wanted[run["run_id"]]), dtype=np.int64)
        try:
            curves = predict_run(theory, run, at)
        except UsageError as error:
            found[run["run_id"]] = error.message.replace(f"run {run['run_id']}", "the run")
            continue
        pairs = zip(curves.mean[metric].tolist(), curves.deviation[metric].tolist(), strict=True)
        found[run["run_id"]] = dict(zip(at.tolist(), pairs, strict=True))
    return found
