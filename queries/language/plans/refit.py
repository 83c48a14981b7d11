"""REFIT LAW: a saved law fitted again as it was, to its rows as they are now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isoflop.lakehouse.runs.provenance import code_version
from isoflop.queries.language.plans.create import fitted_once, keep_fit
from isoflop.queries.language.plans.fit import glance
from isoflop.queries.language.provenance import statement_of
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.syntax.nodes import RefitLaw
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa

KEPT = (
    "resamples",
    "level",
    "forward",
    "compiled",
)  # options that hold as they were, even where others are usual by now


def refit_law(question: Question, node: RefitLaw) -> pa.Table:
    """Fit a saved law again from what is kept of how it was made; what comes out otherwise is its next version.

    Returns
    -------
    what FIT answers, and `version` of the law now, `rows_changed`, and `bit_equal`: whether coefficients, resamples
    and intervals are those of the version before to the last bit, in which case nothing new is kept

    Raises
    ------
    StatementError : when there is no such law, or its statement finds no law any more; then with its text
    """
    import pyarrow as pa

    record = load_law(question, node.name)
    name, version = str(record.name), record.version or 1
    own, made = statement_of(question, record)
    kept = {key: record.options[key] for key in KEPT if key in record.options}
    fitted = fitted_once(own, made, {**kept, "seed": record.seed})
    ((_, found),), (new,) = fitted.parts, fitted.records
    assert found is not None and new is not None
    rows_changed = found.data_hash != record.data_hash
    bit_equal = is_bit_equal(record, new)
    if bit_equal and not rows_changed:
        question.note(f"law '{name}' comes out of its {found.rows} rows bit for bit as it was: nothing new is kept")
    else:
        keep_fit(own, made, fitted, name, is_new=False)
        question.note(f"version {version + 1} of law '{name}' {_difference(record, new, rows_changed=rows_changed)}")
    table = glance(own, fitted, name)
    for note in own.notes:
        question.note(note)
    question.units.update(own.units)
    after = version if bit_equal and not rows_changed else version + 1
    for column, value in (("version", after), ("rows_changed", rows_changed), ("bit_equal", bit_equal)):
        table = table.append_column(column, pa.array([value]))
    return table


def is_bit_equal(one: LawRecord, other: LawRecord) -> bool:
    """Return whether two fits have the same coefficients, resamples and intervals, to the last bit."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("std_errors", "lower", "upper")]
    names = ("coefficients", "draws", "support", "residual_scale", "widening", "edge")
    pairs += [(getattr(one.fitted, name), getattr(other.fitted, name)) for name in names]
    return all(np.array_equal(_numbers(left), _numbers(right), equal_nan=True) for left, right in pairs)


def _numbers(value: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray([] if value is None else value, dtype=np.float64)


def _difference(before: LawRecord, now: LawRecord, *, rows_changed: bool) -> str:
    """Return how a law differs from its version before."""
    if rows_changed:
        return f"is fitted to other rows: {len(before.residuals)} then, {len(now.residuals)} now"
    with np.errstate(all="ignore"):
        off = np.abs(now.fitted.coefficients / before.fitted.coefficients - 1.0)
    by = f"its coefficients differ by up to {np.nanmax(off):.1g}" if np.nanmax(off) else "its resamples differ"
    then = before.code_version or "unknown"
    return f"is fitted to the same rows, and {by}: isoflop {then} then, {code_version()} now"


@dataclass(frozen=True)
class RefitPlan:
    """What refit_law is to do."""

    question: Question
    node: RefitLaw

    def steps(self) -> Steps:
        """Return what EXPLAIN shows."""
        from isoflop.queries.language.plans.explain import explained

        return explained(self.question, self.node)

    def run(self) -> pa.Table:
        """Do it."""
        return refit_law(self.question, self.node)
