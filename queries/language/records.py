"""A law with its numbers, and how a saved one comes back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import IsoflopError, UnknownName
from isoflop.lakehouse.units import UNITS
from isoflop.queries.fitting.note import Note
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.fitting.scatter import Scatter
from isoflop.queries.fitting.widening import Widening, from_range, kept_widening
from isoflop.queries.language.bind import unknown_law, with_names
from isoflop.queries.language.mixtures import saved_form
from isoflop.queries.language.over_columns import law_over
from isoflop.queries.language.own_inputs import OwnInputs, is_column
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import Name
from isoflop.queries.language.syntax.parts import PUBLISHED
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.laws import Coefficient, Law, Objective, find_objective, parse_formula
from isoflop.queries.laws.atlas import ATLAS, find_published_law
from isoflop.queries.laws.form_mixture import FormMixture

if TYPE_CHECKING:
    from isoflop.lakehouse import Asked

Array = NDArray[np.float64]
Growth = Callable[[Any, Law, Array, "tuple[float, float] | None"], Widening | None]
BUILT_IN, TYPED, REWRITTEN = "law", "formula", "rewritten"  # what a saved law is made of again
_ROUNDED = "the paper prints these coefficients rounded, and the best sizes hang on the digits that are left away"
GIVEN = "given"  # status of a law whose coefficients were said, not fitted

_NEWEST = """
SELECT * REPLACE ([] AS draws, [] AS residuals) FROM store.laws
WHERE statement IS NOT NULL AND options IS NOT NULL AND list_contains($names, lower(name))
QUALIFY row_number() OVER (PARTITION BY lower(name) ORDER BY version DESC) = 1
"""


@dataclass(frozen=True)
class LawRecord:
    """A law with its numbers, as EXTRAPOLATE and its kin take it: saved, or fitted just now.

    Parameters
    ----------
    name, version : None for one that is not saved
    form : name of the built-in law, or the formula as typed
    target : name of what it predicts
    target_sql : SQL that computes the target, over the columns it was fitted to
    arguments : SQL that computes each input, over the same columns
    fitted : the law, with inputs named as its columns, and what predictions need
    std_errors, lower, upper : (K,) float arrays, NaN where unknown
    at_bound : (K,) whether a coefficient lies on the edge of its domain
    residuals : (R,) of the rows it was fitted to: log residuals [1], or plain ones where the scatter is additive
    level : share that the intervals cover
    penalty : what the fit minimized
    status, notes : how the fit went
    statement : the text that made it, empty when it is not saved
    values : parameters that the text was given
    data_hash : identifies the rows it was fitted to
    matched : how many rows there were, unusable ones among them
    seed : of starts and resamples
    options : how it was fitted, as `store.laws` keeps it
    code_version : of the isoflop that fitted it
    own : the law by itself, where it was fitted on expressions; None for one of columns
    unit : of the target; empty where it is not known
    group : of the rows that it was fitted to; None without GROUP BY
    """

    name: str | None
    version: int | None
    form: str
    target: str
    target_sql: str
    arguments: tuple[str, ...]
    fitted: FittedLaw
    std_errors: Array
    lower: Array
    upper: Array
    at_bound: tuple[bool, ...]
    residuals: Array
    level: float
    penalty: Objective
    status: str
    notes: tuple[str, ...] = ()
    statement: str = ""
    values: Mapping[str, Any] | None = None
    data_hash: str = ""
    matched: int = 0
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    code_version: str = ""
    own: OwnInputs | None = None
    unit: str = ""
    group: str | None = None

    def in_own_inputs(self) -> LawRecord:
        """Return the law as it is by itself, to be asked about values of what it was fitted on."""
        if self.own is None:
            return self
        own = self.own
        fitted = replace(self.fitted, law=own.law, support=own.support, edge=own.edge, widening=own.widening)
        return replace(self, fitted=fitted, arguments=self.own.arguments, own=None)

    @property
    def law(self) -> Law:
        """The law, with inputs named as its columns."""
        return self.fitted.law

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(input_.name for input_ in self.law.inputs)

    @property
    def title(self) -> str:
        """What the law is called in a sentence."""
        return self.common_title if self.group is None else f"{self.common_title} to group '{self.group}'"

    @property
    def common_title(self) -> str:
        """What the law is called in a sentence that holds for the laws of all groups."""
        return f"law '{self.name}'" if self.name else f"the fit of {self.form}"

    @property
    def is_given(self) -> bool:
        """Whether its coefficients were said, not fitted: there are no rows behind it."""
        return self.status == GIVEN

    @property
    def is_published(self) -> bool:
        """Whether it is the law of a paper that no lake keeps."""
        return self.name is not None and self.version is None

    @property
    def label(self) -> str:
        """Its name and version."""
        return str(self.name) if self.version is None else f"{self.name} version {self.version}"

    def fitted_for(self, kind: str) -> FittedLaw:
        """Return what predictions with a kind of interval need: no curves where it is not known how sure they are."""
        is_unsure = self.is_given and kind == "confidence" and not np.isfinite(self.std_errors).any()
        return replace(self.fitted, draws=self.fitted.draws[:0]) if is_unsure else self.fitted


def given_record(
    form: str, target_sql: str, fitted: FittedLaw, std_errors: Array, level: float, notes: Sequence[str] = ()
) -> LawRecord:
    """Return a law of given coefficients, not named yet.

    Parameters
    ----------
    form : name of the built-in law, or the formula as typed
    target_sql : SQL that computes the target
    fitted : the law with its numbers and, where it is known how sure they are, draws of them
    std_errors : (K,) float array, NaN where unknown
    level : share that intervals cover
    notes : what is to be known of it, each `kind: sentence`
    """
    law, values = fitted.law, fitted.coefficients
    reach = NormalDist().inv_cdf((1 + level) / 2) * std_errors
    return LawRecord(
        name=None,
        version=None,
        form=form,
        target=law.target,
        target_sql=target_sql,
        arguments=tuple(quote_name(input_.name) for input_ in law.inputs),
        fitted=fitted,
        std_errors=std_errors,
        lower=np.maximum(values - reach, [each.lower for each in law.coefficients]),
        upper=np.minimum(values + reach, [each.upper for each in law.coefficients]),
        at_bound=(False,) * len(values),
        residuals=np.empty(0),
        level=level,
        penalty=law.objective,
        status=GIVEN,
        notes=tuple(notes),
    )


def no_rows_behind(law: Law) -> Array:
    """Return the support (P, 2) of a law without rows: unknown."""
    return np.full((len(law.inputs), 2), np.nan)


def published_record(question: Question, name: Name) -> LawRecord:
    """Return a law of a paper, by its name behind `published:`.

    Raises
    ------
    UnknownName : when there is none of that name
    """
    try:
        entry = find_published_law(ATLAS, name.text.removeprefix(PUBLISHED))
    except UnknownName as error:
        message = f"published law '{name.text.removeprefix(PUBLISHED)}' does not exist"
        raise UnknownName("Catalog", message, question.text, name.start, name.end, hint=error.hint) from None
    law = entry.law
    fitted = FittedLaw(law, entry.values, np.empty((0, len(entry.coefficients))), np.nan, no_rows_behind(law))
    notes = [f"source: {entry.source}", f"about: {entry.about}"]
    if entry.unrounded:
        notes.append(str(Note("rounded", f"{_ROUNDED}: published:{entry.unrounded} has them")))
    if entry.std_errors:
        notes.append(
            "no_interval: the paper states how sure each coefficient is, not how they move together, which the "
            "interval of a prediction needs"
        )
    record = given_record(entry.form, quote_name(law.target), fitted, entry.errors, 0.95, notes)
    return replace(record, name=PUBLISHED + entry.name)


def saved_names(lake: Asked) -> list[str]:
    """Return the names of the saved laws."""
    names: list[str] = lake.query("SELECT DISTINCT name FROM store.laws ORDER BY name").column("name").to_pylist()
    return names


def newest_laws(lake: Asked, names: Sequence[str]) -> list[tuple[LawRecord, bool | None]]:
    """Return the newest version of some saved laws, without its resamples, and whether it was stale at the last look.

    Laws of a form that is not installed here are left out.
    """
    found = []
    for row in lake.query(_NEWEST, {"names": [name.lower() for name in names]}).to_pylist():
        with contextlib.suppress(IsoflopError):
            found.append((_record(row), row["stale"]))
    return found


def load_law(question: Question, name: Name, version: int | None = None) -> LawRecord:
    """Return a saved law, the newest version unless one is named.

    Raises
    ------
    UnknownName : when there is no such law
    StatementError : when there is no such version
    """
    if name.text.lower().startswith(PUBLISHED) and version is None:
        return published_record(question, name)
    wanted = "" if version is None else "AND version = $version"
    values: dict[str, Any] = {"name": name.text} if version is None else {"name": name.text, "version": version}
    rows = question.lake.query(
        f"FROM store.laws WHERE lower(name) = lower($name) {wanted} ORDER BY version DESC LIMIT 1", values
    ).to_pylist()
    if rows:
        return _record(rows[0])
    known = saved_names(question.lake)
    if version is not None and name.text.lower() in {each.lower() for each in known}:
        raise question.error("Catalog", f"law '{name.text}' has no version {version}", name)
    raise unknown_law(question, name, known)


def _record(row: Mapping[str, Any]) -> LawRecord:
    """Return a row of `store.laws` as a record."""
    options = json.loads(row["options"] or "{}")
    numbers = row["coefficients"]
    coefficients = tuple(
        Coefficient(
            domain["name"],
            lower=-np.inf if domain["lower"] is None else domain["lower"],
            upper=np.inf if domain["upper"] is None else domain["upper"],
            init=domain["init"],
            fixed=domain["fixed"],
        )
        for domain in options["domains"]
    )
    penalty = find_objective(options["objective"], options["delta"])
    law: Law
    if options["kind"] == REWRITTEN:
        law = _rewritten(row, options, coefficients, penalty)
    elif options["kind"] == BUILT_IN:
        # An earlier version called an input after the law's own, also where it was read from an expression.
        pairs = zip(row["inputs"], options["arguments"], strict=True)
        names = [name if is_column(argument) else argument for name, argument in pairs]
        law = with_names(saved_form(row["form"], options), names, row["target"])
        if options["is_changed"]:
            roles = {coefficient.name: coefficient.role for coefficient in law.coefficients}
            law = (
                law.with_coefficients(
                    tuple(replace(coefficient, role=roles[coefficient.name]) for coefficient in coefficients)
                )
                or law
            )
    else:
        law = parse_formula(row["formula"], coefficients, row["inputs"], target=row["target"], objective=penalty)

    def column(key: str) -> Array:
        return np.array([np.nan if number[key] is None else number[key] for number in numbers], dtype=np.float64)

    draws = np.array(row["draws"] or [], dtype=np.float64).reshape(-1, len(numbers))
    support = np.array([[span["lowest"], span["largest"]] for span in row["support"]], dtype=np.float64).reshape(-1, 2)
    scale = np.nan if row["residual_scale"] is None else row["residual_scale"]
    diagnosis = json.loads(row["diagnosis"] or "{}")
    scatter = Scatter(diagnosis.get("unit"))
    edge = _edge(diagnosis.get("edge"))
    estimates, kept = column("estimate"), diagnosis.get("widening")

    def growth(known: Any, law: Law, support: Array, edge: tuple[float, float] | None) -> Widening | None:
        """How intervals grow; a law of an earlier version kept a factor, and what is known of it is its range."""
        if isinstance(known, Mapping):
            return kept_widening(known)
        return from_range(law, estimates, support, edge, scatter) if isinstance(kept, float) and kept > 1 else None

    return LawRecord(
        name=row["name"],
        version=row["version"],
        form=row["form"],
        target=row["target"],
        target_sql=options["target"],
        arguments=tuple(options["arguments"]),
        fitted=FittedLaw(law, estimates, draws, scale, support, growth(kept, law, support, edge), edge, scatter),
        std_errors=column("std_error"),
        lower=column("lower"),
        upper=column("upper"),
        at_bound=tuple(bool(number["at_bound"]) for number in numbers),
        residuals=np.array(row["residuals"] or [], dtype=np.float64),
        level=row["level"],
        penalty=penalty,
        status=row["status"],
        notes=tuple(row["notes"] or ()),
        statement=row["statement"] or "",
        values=options.get("values"),
        data_hash=row["data_hash"] or "",
        matched=(row["rows"] or 0) + (row["dropped"] or 0),
        seed=row["seed"] or 0,
        options=options,
        code_version=row["code_version"] or "",
        own=_own(row, options, law, growth),
        unit=options.get("unit", law.unit or UNITS.get(row["target"], "")),
    )


def _edge(kept: Sequence[float] | None) -> tuple[float, float] | None:
    return None if not kept else (kept[0], kept[1])


def _own(row: Mapping[str, Any], options: Mapping[str, Any], law: Law, growth: Growth) -> OwnInputs | None:
    """Return a law by itself, where it was fitted on expressions."""
    if options["kind"] == REWRITTEN and (kept := options.get("own")):
        form = with_names(saved_form(row["form"], options), kept["inputs"], row["target"])
        edge = _edge(kept["edge"])
        support = np.array(kept["support"], dtype=np.float64).reshape(-1, 2)
        return OwnInputs(
            form, tuple(kept["arguments"]), support, edge, growth(kept.get("widening"), form, support, edge)
        )
    if options["kind"] == BUILT_IN and not all(map(is_column, options["arguments"])):  # of an earlier version
        support = np.array([[span["lowest"], span["largest"]] for span in row["support"]], dtype=np.float64)
        form = with_names(law, row["inputs"], row["target"])
        return OwnInputs(form, tuple(options["arguments"]), support.reshape(-1, 2), None)
    return None


def _rewritten(
    row: Mapping[str, Any], options: Mapping[str, Any], coefficients: Sequence[Coefficient], penalty: Objective
) -> Law:
    """Return a built-in law over the columns of the expressions that it was fitted on."""
    form = saved_form(row["form"], options)
    if isinstance(form, FormMixture) or form.text is None:
        made = law_over(form, [f"({text})" for text in options["own"]["arguments"]], list(row["inputs"]))
        return with_names(made, row["inputs"], row["target"])
    roles = {coefficient.name: coefficient.role for coefficient in form.coefficients}
    kept = [replace(coefficient, role=roles[coefficient.name]) for coefficient in coefficients]
    law = parse_formula(row["formula"], kept, row["inputs"], name=form.name, target=row["target"], objective=penalty)
    units = tuple(replace(given, unit=UNITS.get(given.name, given.unit)) for given in law.inputs)
    unit = form.unit if row["target"] == form.target else UNITS.get(row["target"], "")
    return replace(law, inputs=units, unit=unit, source=form.source)


def known(value: float | np.floating[Any] | None) -> float | None:
    """Return a number as it is kept: what is unknown is None, not NaN."""
    return None if value is None or np.isnan(value) else float(value)
