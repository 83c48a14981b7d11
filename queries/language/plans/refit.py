"""REFIT LAW: a saved law fitted again as it was, to its rows as they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isoflop.lakehouse.runs.provenance import code_version
from isoflop.queries.language.changing import Change
from isoflop.queries.language.describe import law_steps
from isoflop.queries.language.glance import glance
from isoflop.queries.language.provenance import statement_of
from isoflop.queries.language.question import Question
from isoflop.queries.language.records import LawRecord, load_law
from isoflop.queries.language.saving import PlannedLaw, keep_fit
from isoflop.queries.language.syntax.nodes import RefitLaw
from isoflop.queries.language.verb import Steps

if TYPE_CHECKING:
    import pyarrow as pa

# Options that hold as they were, even where others are usual by now.
KEPT = ("resamples", "level", "forward", "compiled")


class RefitPlan:
    """A saved law that is to be fitted again, in the words of the statement that made it.

    Raises
    ------
    StatementError : when there is no such law, or its statement cannot be asked any more; then with its text
    """

    def __init__(self, question: Question, node: RefitLaw) -> None:
        self._question, self._place = question, node.name
        self._record = record = load_law(question, node.name)
        if record.is_given:
            hint = f"CREATE OR REPLACE LAW {record.name} AS … makes a new version"
            raise question.error("Fit", f"{record.title} is of given coefficients: nothing to refit", node.name, hint)
        self._own, self._made = statement_of(question, record, is_shown=True)
        kept = {key: record.options[key] for key in KEPT if key in record.options}
        self._law = PlannedLaw.of(self._own, self._made, {**kept, "seed": record.seed})

    def steps(self) -> Steps:
        """Return the law as it is, and how it is fitted again."""
        version = (self._record.version or 1) + 1
        keep = ("keep", f"as version {version}, unless it comes out bit for bit as it was")
        return [*law_steps(self._question, self._record), *self._law.fit.steps(), keep]

    def run(self) -> pa.Table:
        """Fit the law; what comes out otherwise is its next version.

        Returns
        -------
        what FIT answers, and `version` of the law now, `rows_changed`, and `bit_equal`: whether coefficients,
        resamples and intervals are those of the version before to the last bit, in which case nothing new is kept

        Raises
        ------
        StatementError : when its statement finds no law any more; then with its text
        """
        import pyarrow as pa

        question, own, record = self._question, self._own, self._record
        name, version = str(record.name), record.version or 1
        fitted = self._law.find()
        ((_, found),), (new,) = fitted.parts, fitted.records
        assert found is not None and new is not None
        rows_changed = found.data.data_hash != record.data_hash
        bit_equal = is_bit_equal(record, new)
        if bit_equal and not rows_changed:
            question.note(
                f"law '{name}' comes out of its {len(found.data)} rows bit for bit as it was: nothing new is kept"
            )
        else:
            change = Change(question, self._place, f"law '{name}'").needs_as_read(record)
            keep_fit(change, own, self._made, fitted, name, self._law.checked)
            question.note(
                f"version {version + 1} of law '{name}' {_difference(record, new, rows_changed=rows_changed)}"
            )
        table = glance(own, fitted, name)
        question.services.hear(own.services)
        question.units.update(own.units)
        after = version if bit_equal and not rows_changed else version + 1
        for column, value in (("version", after), ("rows_changed", rows_changed), ("bit_equal", bit_equal)):
            table = table.append_column(column, pa.array([value]))
        return table


def is_bit_equal(one: LawRecord, other: LawRecord) -> bool:
    """Return whether two fits have the same coefficients, resamples and intervals, to the last bit."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("std_errors", "lower", "upper")]
    names = ("coefficients", "draws", "support", "residual_scale", "edge")
    pairs += [(getattr(one.fitted, name), getattr(other.fitted, name)) for name in names]
    same = all(np.array_equal(_numbers(left), _numbers(right), equal_nan=True) for left, right in pairs)
    return same and one.fitted.widening == other.fitted.widening


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
