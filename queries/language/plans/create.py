"""CREATE LAW: what FIT finds, kept under a name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.lakehouse.errors import StatementError
from isoflop.queries.fitting.record import Fit as FitRecord
from isoflop.queries.language.bind import is_plain
from isoflop.queries.language.catalogue import check_name, law_exists, save_law
from isoflop.queries.language.macros import macros_of
from isoflop.queries.language.plans.fit import Fitted, glance, run_fit
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import BUILT_IN, TYPED, LawRecord, known, load_law
from isoflop.queries.language.rows import checksum
from isoflop.queries.language.syntax.nodes import CreateLaw, Name
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.language.verb import Steps
from isoflop.queries.laws import Coefficient, find_law

if TYPE_CHECKING:
    import pyarrow as pa


def create_law(question: Question, node: CreateLaw) -> pa.Table:
    """Fit a law, keep it under its name with its macro, and return the fit.

    Raises
    ------
    StatementError : when the name cannot be a law's or is taken, or the fit has no numbers to keep
    """
    import pyarrow as pa

    check_name(question, node.name)
    if law_exists(question.lake, node.name.text):
        if node.if_not_exists:
            question.note(f"law '{node.name.text}' exists; nothing was fitted")
            return pa.table({})
        if not node.or_replace:
            raise _taken(question, node)
    if node.fit.source.groups:
        message = "CREATE LAW keeps one law, and GROUP BY fits several"
        raise question.error("Binder", message, node.fit.source.groups[0], "choose one group with WHERE")
    fitted = fitted_once(question, node)
    name = _spelling(question, node.name)
    if not keep_fit(question, node, fitted, name, is_new=not node.or_replace):
        raise _taken(question, node)
    return glance(question, fitted, name)


def fitted_once(question: Question, node: CreateLaw, kept: Mapping[str, Any] | None = None) -> Fitted:
    """Return the fit of a clause that has one, with numbers to keep.

    Parameters
    ----------
    kept : options that hold whatever the clause says

    Raises
    ------
    StatementError : when it has none
    """
    fitted = run_fit(question, node.fit, kept)
    ((_, found),), (record,) = fitted.parts, fitted.records
    if found is None or record is None or not np.isfinite(found.coefficients).all():
        reason = found.reason if found is not None else None
        raise question.error("Fit", f"there is no law to keep: {reason or 'no usable rows'}", fitted.bound.span)
    return fitted


def keep_fit(question: Question, node: CreateLaw, fitted: Fitted, name: str, *, is_new: bool) -> bool:
    """Keep the only fit of a clause as the next version of a law, and say so.

    Parameters
    ----------
    question, node : the statement that the law is kept with
    name : of the law
    is_new : whether the name must not be taken

    Returns
    -------
    whether it is kept: False when `is_new` and another process has made a law of this name meanwhile
    """
    ((_, found),), (record,) = fitted.parts, fitted.records
    assert found is not None and record is not None
    record = replace(record, name=name, statement=question.text[node.start : node.end])
    if not save_law(question.lake, record, _about(question, node, fitted, found, record), is_new=is_new):
        return False
    if macros_of(record):
        question.note(f"law '{name}' saved; SELECT {_call(record)} computes it in any DuckDB client")
    else:
        question.note(f"law '{name}' saved; SQL cannot compute it, so it is no SQL function: use PREDICT")
    return True


def _taken(question: Question, node: CreateLaw) -> StatementError:
    hint = f"CREATE OR REPLACE LAW {node.name.text} … makes a new version"
    return question.error("Catalog", f"law '{node.name.text}' exists", node.name, hint)


def _spelling(question: Question, name: Name) -> str:
    """Return a law's name as it is spelled already, so that versions stay together."""
    if not law_exists(question.lake, name.text):
        return name.text
    return load_law(question, name).name or name.text


def _call(record: LawRecord) -> str:
    """Return how a law is called as an SQL function."""
    function, *inputs = (name if is_plain(name) else quote_name(name) for name in (str(record.name), *record.inputs))
    return f"{function}({', '.join(inputs)})"


def _about(question: Question, node: CreateLaw, fitted: Fitted, found: FitRecord, record: LawRecord) -> dict[str, Any]:
    """Return what `store.laws` keeps of a fit beyond its numbers."""
    law = fitted.bound.law
    is_built_in = fitted.bound.is_built_in
    options = {
        "kind": BUILT_IN if is_built_in else TYPED,
        "is_changed": is_built_in and law.coefficients != find_law(fitted.bound.form).coefficients,
        "domains": [_domain(one) for one in law.coefficients],
        "objective": found.penalty.name,
        "delta": getattr(found.penalty, "delta", 1e-3),
        "resamples": fitted.options.resamples,
        "compiled": fitted.options.compiled,
        "forward": fitted.options.forward,
        "level": fitted.options.level,
        "bootstrap": found.bootstrap,
        "intervals": found.intervals,
        "arguments": list(record.arguments),
        "target": record.target_sql,
        "values": question.values_in(node.start, node.end),
        "checksum": checksum(question, fitted.bound, node.fit.source),
    }
    diagnosis = {
        "reason": found.reason,
        "condition": _finite(found.condition),
        "basin_share": _finite(found.basin_share),
        "second_best": found.second_best,
        "starts": found.starts,
        "r2": _finite(found.r2),
        "rmse_log": _finite(found.rmse_log),
        "aicc": _finite(found.aicc),
        "bic": _finite(found.bic),
        "widening": found.fitted.widening,
        "edge": found.edge,
    }
    source = node.fit.source
    return {
        "source": question.text[source.start : source.end],
        "options": json.dumps(options, default=_plain),
        "seed": found.seed,
        "objective": known(found.objective),
        "rows": found.rows,
        "dropped": fitted.rows.matched - found.rows,
        "data_hash": found.data_hash,
        "diagnosis": json.dumps(diagnosis),
    }


def _domain(one: Coefficient) -> dict[str, Any]:
    """Return what a coefficient was allowed to be; infinite bounds are null, which JSON has."""
    bounds = {"lower": _finite(one.lower), "upper": _finite(one.upper)}
    return {"name": one.name, **bounds, "init": one.init, "fixed": one.fixed}


def _plain(value: Any) -> Any:
    """Return the value of a parameter as JSON has it: a DECIMAL is a number, a time a text that DuckDB reads."""
    return float(value) if type(value).__name__ == "Decimal" else str(value)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True)
class CreatePlan:
    """What create_law is to do."""

    question: Question
    node: CreateLaw

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return create_law(self.question, self.node)
