"""Laws whose numbers are said, not fitted: bound, checked, and kept as any other law."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import UnknownName, did_you_mean
from isoflop.lakehouse.units import UNITS
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.fitting.scatter import MULTIPLICATIVE, Scatter
from isoflop.queries.language.bind import Bound, bind_candidate
from isoflop.queries.language.clause_options import GivenOptions
from isoflop.queries.language.fits import arguments_of, target_of
from isoflop.queries.language.options import read_given_options
from isoflop.queries.language.over_columns import law_over_columns, own_law
from isoflop.queries.language.own_inputs import OwnInputs
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import (
    BUILT_IN,
    REWRITTEN,
    TYPED,
    LawRecord,
    given_record,
    no_rows_behind,
    published_record,
)
from isoflop.queries.language.saving import domain_of, own_inputs
from isoflop.queries.language.syntax.given import GivenLaw
from isoflop.queries.language.syntax.nodes import (
    Assignment,
    Candidate,
    Expression,
    LawForm,
    Name,
    ParameterRange,
)
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.laws import Law, known_laws
from isoflop.queries.laws.algebra.parser import match_name
from isoflop.queries.laws.law import coefficient_names

Array = NDArray[np.float64]

MOST_ROUNDS = 200  # of drawing coefficients again that lay outside their domains
ROUGHLY_SYMMETRIC = 1e-9  # relative difference [1] of two covariances that are taken for the same number
USAGE = "WITH COEFFICIENTS (E = 1.69, A = 406.4, …)"


@dataclass(frozen=True)
class PlannedGiven:
    """A law of given coefficients, bound and checked.

    Parameters
    ----------
    record : the law, not named yet
    kind : what it is made of again
    options : what its statement says beyond the numbers; None for a published law
    """

    record: LawRecord
    kind: str
    options: GivenOptions | None

    @classmethod
    def of(cls, question: Question, node: GivenLaw | Name) -> PlannedGiven:
        """Return the plan of a clause.

        Raises
        ------
        UnknownName : for a law or a coefficient that does not exist
        StatementError : for numbers that are missing, doubled or outside their domains
        """
        if isinstance(node, Name):
            record = published_record(question, node)
            return cls(record, BUILT_IN if record.form in known_laws() else TYPED, None)
        return _planned(question, node)

    def about(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return what `store.laws` keeps of it beyond its numbers.

        Parameters
        ----------
        values : parameters that the statement was given
        """
        record = self.record
        law = record.law if record.own is None else record.own.law
        options = {
            "kind": self.kind,
            "is_changed": False,
            "domains": [domain_of(coefficient) for coefficient in law.coefficients],
            "objective": record.penalty.name,
            "delta": getattr(record.penalty, "delta", 1e-3),
            "level": record.level,
            "resamples": len(record.fitted.draws),
            "arguments": list(record.arguments),
            "own": own_inputs(record),
            "target": record.target_sql,
            "values": values,
        }
        return {
            "source": "",
            "options": json.dumps(options, default=str),
            "seed": 0 if self.options is None else self.options.seed,
            "objective": None,
            "rows": None,
            "dropped": None,
            "data_hash": "",
            "diagnosis": json.dumps({"unit": record.fitted.scatter.unit} if record.fitted.scatter.is_additive else {}),
        }


def _planned(question: Question, node: GivenLaw) -> PlannedGiven:
    """Return the plan of a law whose numbers are typed."""
    bound = _bound(question, node)
    law = bound.law
    values = _coefficients(question, node, law)
    options = read_given_options(question, node.options)
    errors, draws = _uncertainty(question, node, law, values, options)
    scale = np.nan if options.residual_scale is None else options.residual_scale
    outer = law_over_columns(question, bound)
    over: Law = law if outer is None else outer[0]
    scatter = Scatter(1.0) if options.scatter == "additive" else MULTIPLICATIVE
    fitted = FittedLaw(over, values, draws, scale, no_rows_behind(over), scatter=scatter)
    notes = _notes(node, law, errors, options)
    record = given_record(bound.form, target_of(question, bound), fitted, errors, options.level, notes)
    if outer is None:
        record = replace(record, arguments=arguments_of(question, bound))
    else:
        own = OwnInputs(own_law(bound), arguments_of(question, bound), no_rows_behind(law), None)
        record = replace(record, arguments=tuple(map(quote_name, outer[1])), own=own)
    _note_inputs(question, node, bound)
    kind = TYPED if not bound.is_built_in else BUILT_IN if record.own is None else REWRITTEN
    return PlannedGiven(record, kind, options)


def _bound(question: Question, node: GivenLaw) -> Bound:
    """Return target and law of a clause, with the domains that the form has."""
    form = node.form
    if form.parameters:
        hint = f"say what they are instead: {USAGE}"
        raise question.error("Binder", "given coefficients have no PARAMETERS", form.parameters[0].name, hint)
    law = known_laws().get(form.name.text.lower()) if isinstance(form, LawForm) else None
    target = node.target or _usual_target(form.expression, law)
    named = replace(form, parameters=tuple(ParameterRange(number.column) for number in node.numbers))
    bound = bind_candidate(question, Candidate(node.start, node.end, target, node.alias, named))
    if node.target is None and not bound.is_built_in:
        hint = "write the target first: CREATE LAW … AS loss ~ E + A / params ^ a WITH COEFFICIENTS (…)"
        raise question.error("Binder", "a formula does not say what it predicts", form, hint)
    return bound


def _usual_target(place: Expression, law: Law | None) -> Expression:
    """Return what a law predicts unless told otherwise, as a column at its form."""
    name = "loss" if law is None else law.target
    return replace(place, text=name, column=name)


def _coefficients(question: Question, node: GivenLaw, law: Law) -> Array:
    """Return the coefficients (K,) in the law's order.

    Raises
    ------
    StatementError : when one is missing, given twice, or outside its domain
    """
    found = _by_name(question, node.numbers, law, "value")
    missing = [name for name in coefficient_names(law) if name not in found]
    if missing:
        message = f"{_title(law)} needs {_all_of(missing)} too"
        hint = f"its coefficients are {', '.join(coefficient_names(law))}"
        raise question.error("Binder", message, node.listed, hint)
    for coefficient in law.coefficients:
        value, place = found[coefficient.name]
        lower, upper = coefficient.lower, coefficient.upper
        if not (lower <= value <= upper and np.isfinite(value)):
            message = f"{coefficient.name} = {value:g} lies outside [{lower:g}, {upper:g}]"
            raise question.error("Binder", message, place.value, f"where {law.name} has {coefficient.name}")
    return np.array([found[name][0] for name in coefficient_names(law)])


def _by_name(
    question: Question, given: Sequence[Assignment], law: Law, what: str
) -> dict[str, tuple[float, Assignment]]:
    """Return numbers by the coefficient that each belongs to, with where they stand.

    Raises
    ------
    UnknownName : for a coefficient that the law has not
    StatementError : for one that stands twice, or is no number
    """
    names = coefficient_names(law)
    found: dict[str, tuple[float, Assignment]] = {}
    for number in given:
        place = number.column
        name = match_name(place.text, names)
        if name is None:
            hint = did_you_mean(place.text, names, f"its coefficients are {', '.join(names)}")
            message = f"{_title(law)} has no coefficient '{place.text}'"
            raise UnknownName("Binder", message, question.text, place.start, place.end, hint=hint)
        if name in found:
            raise question.error("Binder", f"the {what} of '{name}' is given twice", place)
        found[name] = question.number(number.value, f"the {what} of '{name}'"), number
    return found


def _uncertainty(
    question: Question, node: GivenLaw, law: Law, values: Array, options: GivenOptions
) -> tuple[Array, Array]:
    """Return standard errors (K,), NaN where unknown, and draws (B, K) of the coefficients.

    A law whose coefficients are taken as exact, and about which runs scatter, has one draw: itself.
    """
    count = len(values)
    if node.covariance is not None:
        covariance = _covariance(question, node, law)
    elif node.errors:
        covariance = np.zeros((count, count))
        for name, (error, place) in _by_name(question, node.errors, law, "standard error").items():
            if not (error >= 0 and np.isfinite(error)):
                raise question.error("Binder", f"a standard error is 0 or more, got {place.value.text}", place.value)
            k = coefficient_names(law).index(name)
            covariance[k, k] = error**2
    else:
        exact = values[None] if options.residual_scale is not None else np.empty((0, count))
        return np.full(count, np.nan), exact
    draws = _drawn(question, node, law, values, covariance, options)
    return np.sqrt(np.diag(covariance)), draws


def _covariance(question: Question, node: GivenLaw, law: Law) -> Array:
    """Return the covariance (K, K) in the law's order; it is typed in that of COEFFICIENTS."""
    place = node.covariance
    assert place is not None
    count = len(node.numbers)
    message = f"COVARIANCE is {count} lists of {count} numbers, in the order of COEFFICIENTS"
    try:
        typed = np.array(question.constant(place), dtype=np.float64)
    except (TypeError, ValueError):
        raise question.error("Binder", message, place) from None
    if typed.shape != (count, count) or not np.isfinite(typed).all():
        raise question.error("Binder", message, place)
    size = float(np.abs(typed).max())
    if np.abs(typed - typed.T).max() > ROUGHLY_SYMMETRIC * size:
        raise question.error("Binder", "COVARIANCE is not symmetric", place)
    scale = np.sqrt(np.clip(np.diag(typed), 0.0, None))
    scale[scale == 0] = 1.0  # coefficients that are exact
    if np.linalg.eigvalsh(typed / np.outer(scale, scale)).min() < -np.sqrt(ROUGHLY_SYMMETRIC):
        message = "COVARIANCE has a negative eigenvalue: no numbers vary together so"
        raise question.error("Binder", message, place, "a covariance is at most the product of two standard errors")
    names = [match_name(number.column.text, coefficient_names(law)) for number in node.numbers]
    order = [names.index(name) for name in coefficient_names(law)]
    return np.asarray(typed[np.ix_(order, order)])


def _drawn(
    question: Question, node: GivenLaw, law: Law, values: Array, covariance: Array, options: GivenOptions
) -> Array:
    """Return normal draws (B, K) about the coefficients, those outside the domains drawn again.

    Raises
    ------
    StatementError : when nearly all lie outside
    """
    lower = np.array([coefficient.lower for coefficient in law.coefficients])
    upper = np.array([coefficient.upper for coefficient in law.coefficients])
    scale = np.sqrt(np.diag(covariance))
    safe = np.where(scale > 0, scale, 1.0)
    sizes, directions = np.linalg.eigh(covariance / np.outer(safe, safe))  # amplitudes and exponents differ in size
    factor = directions * np.sqrt(np.clip(sizes, 0.0, None))
    generator = np.random.default_rng(options.seed)
    kept = np.empty((0, len(values)))
    for _ in range(MOST_ROUNDS):
        if len(kept) >= options.resamples:
            return kept[: options.resamples]
        normal = generator.standard_normal((options.resamples, len(values)))
        drawn = values + safe * (normal @ factor.T)
        drawn[:, scale == 0] = values[scale == 0]
        kept = np.concatenate([kept, drawn[((drawn >= lower) & (drawn <= upper)).all(axis=1)]])
    message = "with these errors nearly all coefficients would lie outside their domains"
    raise question.error("Data", message, node.covariance or node.errors[0].value, "the errors are too large")


def _notes(node: GivenLaw, law: Law, errors: Array, options: GivenOptions) -> list[str]:
    """Return what is to be known of the law, each `kind: sentence`."""
    notes = []
    is_unsure = np.isfinite(errors).any()
    if not is_unsure and options.residual_scale is None:
        notes.append("no_interval: no errors and no residual_scale are stated, so predictions have no interval")
    elif not is_unsure:
        notes.append("exact: no errors are stated, so intervals hold the scatter of a run and nothing else")
    elif options.residual_scale is None:
        notes.append(
            "no_scatter: no residual_scale is stated, so only the curve has an interval: WITH (interval = 'confidence')"
        )
    if options.scatter == "additive":
        notes.append("additive: residuals, scatter and intervals are differences in the target's unit, not ratios")
    if node.errors:
        notes.append(
            "independent: the errors are drawn independently; those of a fit move together, and COVARIANCE says how"
        )
        exact = [name for name, error in zip(coefficient_names(law), errors.tolist(), strict=True) if error == 0]
        if exact:
            notes.append(f"taken_exactly: no error of {_all_of(exact)} is stated, or it is 0")
    return notes


def _note_inputs(question: Question, node: GivenLaw, bound: Bound) -> None:
    """Say which inputs of a formula are no columns of runs: they may be coefficients without a number."""
    if bound.is_built_in:
        return
    known = {name.lower() for name in question.lake.query("FROM runs LIMIT 0").column_names} | set(UNITS)
    strange = [input_.name for input_ in bound.law.inputs if input_.name.lower() not in known]
    if strange:
        are = "is an input" if len(strange) == 1 else "are inputs"
        question.note(f"{_all_of(strange)} {are} of the law, since no coefficient is called so")


def _title(law: Law) -> str:
    return f"law '{law.name}'" if law.name in known_laws() else "the formula"


def _all_of(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1]) if len(names) > 1 else names)
