"""What a FIT finds, kept under a name with what is needed to make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.queries.fitting.widening import kept
from isoflop.queries.language.bind import is_plain
from isoflop.queries.language.changing import Change
from isoflop.queries.language.fits import Fitted, PlannedFit
from isoflop.queries.language.macros import macros_of
from isoflop.queries.language.mixtures import forms_of, saved_form
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import BUILT_IN, REWRITTEN, TYPED, LawRecord, known, load_law
from isoflop.queries.language.rows import checksum, checksum_sql
from isoflop.queries.language.saved_laws import law_exists, save_law
from isoflop.queries.language.syntax.nodes import CreateLaw, Name
from isoflop.queries.language.syntax.tokens import quote_name
from isoflop.queries.laws import Coefficient

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class PlannedLaw:
    """The FIT of a clause that keeps what it finds.

    Parameters
    ----------
    fit : the plan of it
    checked : checksum of the rows, by which later looks know whether they are the same
    """

    fit: PlannedFit
    checked: str

    @classmethod
    def of(cls, question: Question, node: CreateLaw, kept: Mapping[str, Any] | None = None) -> PlannedLaw:
        """Return the plan of a clause.

        Parameters
        ----------
        kept : options that hold whatever the clause says

        Raises
        ------
        StatementError : when the clause names what does not exist
        """
        fit = PlannedFit.of(question, node.fit, kept)
        return cls(fit, checksum(question, fit.bound, node.fit.source))

    def find(self) -> Fitted:
        """Return the fit, with numbers to keep.

        Raises
        ------
        StatementError : when it has none
        """
        fitted = self.fit.fit()
        ((_, found),), (record,) = fitted.parts, fitted.records
        if found is None or record is None or not np.isfinite(found.coefficients).all():
            reason = found.reason if found is not None else None
            message = f"there is no law to keep: {reason or 'no usable rows'}"
            raise self.fit.question.error("Fit", message, fitted.bound.span)
        return fitted


def keep_fit(change: Change, question: Question, node: CreateLaw, fitted: Fitted, name: str, checked: str) -> None:
    """Keep the only fit of a clause as the next version of a law, and say so.

    Parameters
    ----------
    change : the transaction
    question, node : the statement that the law is kept with
    name : of the law
    checked : the checksum of its rows

    Raises
    ------
    StatementError : when the laws are not what they were
    """
    ((_, found),), (record,) = fitted.parts, fitted.records
    assert found is not None and record is not None
    record = replace(record, name=name, statement=question.text[node.start : node.end])
    save_law(change, record, _about(question, node, fitted, checked))
    note_saved(question, record)


def note_saved(question: Question, record: LawRecord) -> None:
    """Say that a law is kept, and how it is called."""
    if macros_of(record):
        question.note(f"law '{record.name}' saved; SELECT {_call(record)} computes it in any DuckDB client")
    else:
        question.note(f"law '{record.name}' saved; SQL cannot compute it, so it is no SQL function: use PREDICT")


def spelling_of(question: Question, name: Name) -> str:
    """Return a law's name as it is spelled already, so that versions stay together."""
    if not law_exists(question.lake, name.text):
        return name.text
    return load_law(question, name).name or name.text


def _call(record: LawRecord) -> str:
    """Return how a law is called as an SQL function."""
    function, *inputs = (name if is_plain(name) else quote_name(name) for name in (str(record.name), *record.inputs))
    return f"{function}({', '.join(inputs)})"


def _about(question: Question, node: CreateLaw, fitted: Fitted, checked: str) -> dict[str, Any]:
    """Return what `store.laws` keeps of a fit beyond its numbers."""
    ((_, found),), (record,) = fitted.parts, fitted.records
    assert found is not None and record is not None
    law, search = found.law, found.solution.search
    is_built_in, forms = fitted.bound.is_built_in, forms_of(found.law)
    options = {
        "kind": (BUILT_IN if record.own is None else REWRITTEN) if is_built_in else TYPED,
        "is_changed": is_built_in and law.coefficients != saved_form(fitted.bound.form, forms).coefficients,
        "domains": [domain_of(coefficient) for coefficient in law.coefficients],
        "objective": found.solution.penalty.name,
        "delta": getattr(found.solution.penalty, "delta", 1e-3),
        "resamples": fitted.options.resamples,
        "compiled": fitted.options.compiled,
        "forward": fitted.options.forward,
        "level": fitted.options.level,
        "bootstrap": found.resampled.bootstrap,
        "together": getattr(found.options, "together", None),
        "intervals": found.intervals.kind,
        "arguments": list(record.arguments),
        "own": own_inputs(record),
        "target": record.target_sql,
        "unit": record.unit,
        "values": question.values_in(node.start, node.end),
        **forms,
        "checksum": checked,
        "checksum_sql": checksum_sql(question, fitted.bound, node.fit.source),
    }
    diagnosis = {
        "reason": found.reason,
        "condition": _finite(found.solution.identified.condition),
        "basin_share": _finite(search.share),
        "second_best": search.second_best,
        "starts": search.starts,
        "r2": _finite(found.criteria.r2),
        "rmse_log": _finite(found.criteria.rmse_log),
        "aicc": _finite(found.criteria.aicc),
        "bic": _finite(found.criteria.bic),
        "widening": kept(record.fitted.widening),
        "edge": record.fitted.edge,
        "unit": record.fitted.scatter.unit,
    }
    source = node.fit.source
    return {
        "source": question.text[source.start : source.end],
        "options": json.dumps(options, default=_plain),
        "seed": found.options.seed,
        "objective": known(found.objective),
        "rows": len(found.data),
        "dropped": fitted.rows.matched - len(found.data),
        "data_hash": found.data.data_hash,
        "diagnosis": json.dumps(diagnosis),
    }


def own_inputs(record: LawRecord) -> dict[str, Any] | None:
    """Return what is kept of a law by itself, where it was fitted on expressions."""
    own = record.own
    if own is None:
        return None
    names = [input_.name for input_ in own.law.inputs]
    return {
        "inputs": names, "arguments": list(own.arguments), "support": own.support.tolist(), "edge": own.edge,
        "widening": kept(own.widening),
    }  # fmt: skip


def domain_of(coefficient: Coefficient) -> dict[str, Any]:
    """Return what a coefficient was allowed to be; infinite bounds are null, which JSON has."""
    bounds = {"lower": _finite(coefficient.lower), "upper": _finite(coefficient.upper)}
    return {"name": coefficient.name, **bounds, "init": coefficient.init, "fixed": coefficient.fixed}


def _plain(value: Any) -> Any:
    """Return the value of a parameter as JSON has it: a DECIMAL is a number, a time a text that DuckDB reads."""
    return float(value) if type(value).__name__ == "Decimal" else str(value)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
