"""A law with its numbers, and how a saved one comes back."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.errors import IsoflopError
from isoflop.lakehouse.units import UNITS
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.language.bind import unknown_law, with_names
from isoflop.queries.language.question import Question
from isoflop.queries.language.syntax.nodes import Name
from isoflop.queries.laws import (
    Coefficient,
    Law,
    Objective,
    find_law,
    find_objective,
    parse_formula,
)

if TYPE_CHECKING:
    from isoflop.lakehouse import Asked

Array = NDArray[np.float64]
BUILT_IN, TYPED, REWRITTEN = "law", "formula", "rewritten"  # what a saved law is made of again

_NEWEST = """
SELECT * REPLACE ([] AS draws, [] AS residuals) FROM store.laws
WHERE statement IS NOT NULL AND options IS NOT NULL AND list_contains($names, lower(name))
QUALIFY row_number() OVER (PARTITION BY lower(name) ORDER BY version DESC) = 1
"""


@dataclass(frozen=True)
class OwnInputs:
    """A law that was fitted on expressions of columns, as it is by itself: `x` for `power(6 * params * tokens)`.

    Parameters
    ----------
    law : with the inputs that its form has; those that were read from a column are called as that is
    arguments : SQL that computes each input
    support : (P, 2) lowest and largest value of each among the rows
    edge : lowest and largest log of their product, or None
    """

    law: Law
    arguments: tuple[str, ...]
    support: Array
    edge: tuple[float, float] | None

    @property
    def names(self) -> frozenset[str]:
        """The inputs that stand for expressions, in lower case, unless a column that they read has the name."""
        pairs = list(zip(self.law.inputs, self.arguments, strict=True))
        read = {word.lower() for _, argument in pairs for word in re.findall(r"\w+", argument)}
        return frozenset(
            input_.name.lower()
            for input_, argument in pairs
            if not is_column(argument) and input_.name.lower() not in read
        )

    def are_asked(self, names: Iterable[str]) -> bool:
        """Return whether points with columns of these names are given in the law's own inputs."""
        return bool(self.names & {name.lower() for name in names})


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
    residuals : (R,) log residuals [1] of the rows it was fitted to
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

    def in_own_inputs(self) -> LawRecord:
        """Return the law as it is by itself, to be asked about values of what it was fitted on."""
        if self.own is None:
            return self
        fitted = replace(self.fitted, law=self.own.law, support=self.own.support, edge=self.own.edge)
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
        return f"law '{self.name}'" if self.name else f"the fit of {self.form}"


def is_column(argument: str) -> bool:
    """Return whether the SQL of an input is a column's name and nothing else."""
    return re.fullmatch(r'"([^"]|"")+"|\w+', argument) is not None


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
        law = _rewritten(row, coefficients, penalty)
    elif options["kind"] == BUILT_IN:
        # An earlier version called an input after the law's own, also where it was read from an expression.
        pairs = zip(row["inputs"], options["arguments"], strict=True)
        names = [name if is_column(argument) else argument for name, argument in pairs]
        law = with_names(find_law(row["form"]), names, row["target"])
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
    widening, edge = diagnosis.get("widening") or 1.0, diagnosis.get("edge")
    return LawRecord(
        name=row["name"],
        version=row["version"],
        form=row["form"],
        target=row["target"],
        target_sql=options["target"],
        arguments=tuple(options["arguments"]),
        fitted=FittedLaw(law, column("estimate"), draws, scale, support, widening, tuple(edge) if edge else None),
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
        own=_own(row, options, law),
    )


def _own(row: Mapping[str, Any], options: Mapping[str, Any], law: Law) -> OwnInputs | None:
    """Return a law by itself, where it was fitted on expressions."""
    if options["kind"] == REWRITTEN and (kept := options.get("own")):
        form = with_names(find_law(row["form"]), kept["inputs"], row["target"])
        edge = None if kept["edge"] is None else (kept["edge"][0], kept["edge"][1])
        support = np.array(kept["support"], dtype=np.float64).reshape(-1, 2)
        return OwnInputs(form, tuple(kept["arguments"]), support, edge)
    if options["kind"] == BUILT_IN and not all(map(is_column, options["arguments"])):  # of an earlier version
        support = np.array([[span["lowest"], span["largest"]] for span in row["support"]], dtype=np.float64)
        form = with_names(law, row["inputs"], row["target"])
        return OwnInputs(form, tuple(options["arguments"]), support.reshape(-1, 2), None)
    return None


def _rewritten(row: Mapping[str, Any], coefficients: Sequence[Coefficient], penalty: Objective) -> Law:
    """Return a built-in law over the columns of the expressions that it was fitted on."""
    form = find_law(row["form"])
    roles = {coefficient.name: coefficient.role for coefficient in form.coefficients}
    kept = [replace(coefficient, role=roles[coefficient.name]) for coefficient in coefficients]
    law = parse_formula(row["formula"], kept, row["inputs"], name=form.name, target=row["target"], objective=penalty)
    units = tuple(replace(given, unit=UNITS.get(given.name, given.unit)) for given in law.inputs)
    unit = form.unit if row["target"] == form.target else UNITS.get(row["target"], "")
    return replace(law, inputs=units, unit=unit, source=form.source)


def known(value: float | np.floating[Any] | None) -> float | None:
    """Return a number as it is kept: what is unknown is None, not NaN."""
    return None if value is None or np.isnan(value) else float(value)
