"""Candidates of COMPARE that are one model: fitted to the same rows they tie, and a note says what sets them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isoflop.queries.language.bind import Bound
from isoflop.queries.language.question import Own, Question
from isoflop.queries.language.scored import ScoredLaw
from isoflop.queries.laws import Law, Objective

SAME = 1e-9  # of a criterion, below which two candidates tie: fits settle to about this, and 1 is little


def note_same_models(
    question: Question, names: Sequence[str], bounds: Sequence[Bound], objective: Objective | None
) -> None:
    """Say which candidates are the same model of the same columns, and what they differ in.

    Parameters
    ----------
    names, bounds : what the candidates are called, and what they are
    objective : what the statement has all of them minimize; None where each minimizes its own
    """
    first_of: dict[tuple[str, ...], int] = {}
    for position, bound in enumerate(bounds):
        if isinstance(bound.law, ScoredLaw):
            continue
        first = first_of.setdefault(_model(bound), position)
        if first == position:
            continue
        apart = _differences(bounds[first].law, bound.law, objective)
        said = f"differ only in {' and '.join(apart)}" if apart else "tie, however each of them was fitted before"
        both = names[first] if names[first] == names[position] else f"{names[first]} and {names[position]}"
        question.note(f"{both} are the same model, {bound.law.formula}, fitted here to the same rows: they {said}")


def tied_ranks(keys: Sequence[float | None]) -> list[int]:
    """Return the rank of each of some ordered candidates, from one; those with the same key share theirs.

    Example
    -------
    >>> tied_ranks([-3.0, -3.0, 2.0, None, None])
    [1, 1, 3, 4, 5]
    """
    ranks: list[int] = []
    for position, key in enumerate(keys):
        before = keys[position - 1] if position else None
        ties = key is not None and before is not None and math.isclose(key, before, rel_tol=SAME, abs_tol=SAME)
        ranks.append(ranks[-1] if ties else position + 1)
    return ranks


def _model(bound: Bound) -> tuple[str, ...]:
    """Return what a law is and what it reads, however it is fitted."""
    columns = [column.text if isinstance(column, Own) else column.column or column.text for column in bound.columns]
    coefficients = [each.name for each in bound.law.coefficients]
    return (bound.form, str(bound.law.formula), *(column.replace('"', "").lower() for column in columns), *coefficients)


def _differences(first: Law, other: Law, objective: Objective | None) -> list[str]:
    """Return in what two laws of one form differ."""
    found = []
    pairs = list(zip(first.coefficients, other.coefficients, strict=True))
    fixed = [one.name for one, two in pairs if one.fixed != two.fixed]
    if fixed:
        found.append(f"what is fixed ({', '.join(fixed)})")
    domains = [one.name for one, two in pairs if (one.lower, one.upper) != (two.lower, two.upper)]
    if domains:
        found.append(f"where they look for {', '.join(domains)}")
    if objective is None and first.objective != other.objective:
        found.append(f"the objective ({first.objective.name} and {other.objective.name})")
    return found
